// weir (BSL-1.0). sweep: a scenario again and again, with a fault at its 1st, its 2nd, ... its last point that can fail.
#ifndef WEIR_TESTS_SUPPORT_SWEEP_HPP
#define WEIR_TESTS_SUPPORT_SWEEP_HPP
#include "faults.hpp"

#include <cstddef>
#include <new>
#include <string>

#include <gtest/gtest.h>

// A whole sweep test, for a container whose keys are tracked<tag, on_copy::throws> (values.hpp):
//
//     TEST(my_set, an_insertion_that_fails_anywhere_changes_nothing) {
//         const auto swept = for_each_fault(fault::user_code | fault::allocator, [](sweep_run& run) {
//             ledger book;
//             {
//                 my_set<key, throwing_hash<key>, throwing_equal<key>, counting_allocator<key>> set(book);
//                 set.insert(key(1));                                       // nothing fails out here
//                 if (run.threw([&] { set.insert(key(2)); })) {             // one fault in here
//                     EXPECT_EQ(set.size(), 1U);
//                     set.insert(key(2));
//                 }
//                 EXPECT_EQ(set.size(), 2U);
//             }
//             EXPECT_TRUE(book.settled()) << book;
//         });
//         EXPECT_GE(swept.thrown, 2U);                                      // a hash and an allocation at least
//     }

namespace weir_test {

/// One run of a scenario, with one fault planned.
class sweep_run {
public:
    sweep_run(std::size_t nth, fault kinds) noexcept : nth_(nth), kinds_(kinds) {}
    sweep_run(sweep_run const&) = delete;
    sweep_run& operator=(sweep_run const&) = delete;

    /// Calls `f` with the fault planned, once in a run. True: f let a fault out. In the thread whose code is to fail.
    template <class F>
    bool threw(F&& f) {
        EXPECT_FALSE(asked_) << "one fault a run: the sweep would not know which call it belongs to";
        asked_ = true;
        struct planned {
            sweep_run& run;
            explicit planned(sweep_run& r) noexcept : run(r) { faults::arm(r.nth_, r.kinds_); }
            ~planned() {
                run.came_ = !faults::armed();
                faults::disarm();
            }
        };
        try {
            const planned here(*this);
            f();
        } catch (planned_fault const&) {
            threw_ = true;
        } catch (std::bad_alloc const&) {
            threw_ = true;
        }
        return threw_;
    }

    [[nodiscard]] std::size_t nth() const noexcept { return nth_; }
    /// Whether the call got as far as the fault. If it threw nothing then, it coped with it.
    [[nodiscard]] bool came() const noexcept { return came_; }
    [[nodiscard]] bool let_out() const noexcept { return threw_; }
    [[nodiscard]] bool asked() const noexcept { return asked_; }

private:
    std::size_t nth_;
    fault kinds_;
    bool asked_ = false;
    bool came_ = false;
    bool threw_ = false;
};

struct swept {
    std::size_t points = 0;  // that can fail
    std::size_t thrown = 0;  // of which the call let this many out; it coped with the others
};

/// Calls `scenario(run)` with the fault at the 1st point, at the 2nd, ..., until a run does not get as far as its fault, or a
/// test fails. The scenario builds all that it needs anew each time. More than `most` points are a failure.
template <class Scenario>
swept for_each_fault(fault kinds, Scenario scenario, std::size_t most = 500) {
    swept so_far;
    for (std::size_t nth = 1; nth <= most; ++nth) {
        SCOPED_TRACE("fault " + std::to_string(nth));
        sweep_run run(nth, kinds);
        scenario(run);
        if (!run.asked()) {
            ADD_FAILURE() << "the scenario planned no fault: call run.threw(...)";
            return so_far;
        }
        if (!run.came()) {
            EXPECT_FALSE(run.let_out()) << "it failed without our doing";
            return so_far;
        }
        ++so_far.points;
        so_far.thrown += run.let_out() ? 1U : 0U;
        if (testing::Test::HasFailure()) {
            return so_far;
        }
    }
    ADD_FAILURE() << "still failing after " << most << " points: the call never gets through";
    return so_far;
}

}  // namespace weir_test
#endif
