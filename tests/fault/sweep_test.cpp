// weir (BSL-1.0). sweep_test: a sweep comes to every point that can fail, once, and finds code that does not clean up.
#include "support/sweep.hpp"

#include "support/costs.hpp"
#include "support/counting_allocator.hpp"
#include "support/failing_new.hpp"
#include "support/faults.hpp"
#include "support/threads.hpp"
#include "support/values.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <new>
#include <utility>
#include <vector>

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

namespace {

using namespace weir_test;

struct tag {};
using value = tracked<tag, on_copy::throws, on_move::throws>;

}  // namespace

// What a sweep test looks like: the example of sweep.hpp on a container whose promise is known.
TEST(sweep, shows_that_push_back_of_a_vector_has_no_effect_when_it_throws) {
    const auto done = for_each_fault(fault::user_code | fault::allocator, [](sweep_run& run) {
        census<tag>::reset();
        ledger book;
        {
            std::vector<value, counting_allocator<value>> all((counting_allocator<value>(book)));
            all.emplace_back(1U);
            const value second(2);
            if (run.threw([&] { all.push_back(second); })) {
                EXPECT_EQ(all.size(), 1U);
                all.push_back(second);
            }
            EXPECT_EQ(all.back(), second);
        }
        EXPECT_TRUE(book.settled()) << book;
        EXPECT_EQ(census<tag>::alive.load(), 0);
    });
    EXPECT_EQ(done.points, 3U) << "one allocation, the copy, and the copy of what was there";
    EXPECT_EQ(done.thrown, done.points);
}

TEST(sweep, comes_to_each_point_of_the_kinds_that_are_asked_for_and_to_no_other) {
    const auto points_of = [](fault kinds) {
        ledger book;
        counting_allocator<char> memory(book);
        return for_each_fault(kinds, [&](sweep_run& run) {
            run.threw([&] {
                faults::point();
                memory.deallocate(memory.allocate(1), 1);
                faults::point();
            });
        }).points;
    };
    const std::size_t news = news_can_fail ? 1 : 0;
    EXPECT_EQ(points_of(fault::user_code), 2U);
    EXPECT_EQ(points_of(fault::allocator), 1U);
    EXPECT_EQ(points_of(fault::operator_new), news) << "that of the ledger";
    EXPECT_EQ(points_of(fault::any), 3U + news);
}

TEST(sweep, plans_its_fault_for_the_call_alone_and_for_its_thread_alone) {
    const auto done = for_each_fault(fault::any, [](sweep_run& run) {
        faults::point();
        crew other;
        const bool threw = run.threw([&] {
            other.start([] { faults::point(); });
            other.join();
        });
        EXPECT_EQ(threw, run.let_out());
        faults::point();
        EXPECT_FALSE(faults::armed());
    });
    EXPECT_LE(done.points, 10U) << "the few allocations that start a thread";
}

TEST(sweep, tells_a_fault_that_was_coped_with_from_one_that_was_let_out) {
    const auto done = for_each_fault(fault::user_code, [](sweep_run& run) {
        const bool threw = run.threw([] {
            try {
                faults::point();
            } catch (planned_fault const&) {
            }
            faults::point();
        });
        EXPECT_EQ(threw, run.nth() == 2);
        EXPECT_EQ(run.came(), run.nth() <= 2);
    });
    EXPECT_EQ(done.points, 2U);
    EXPECT_EQ(done.thrown, 1U);
}

TEST(sweep, finds_a_call_that_leaves_something_behind) {
    EXPECT_NONFATAL_FAILURE(for_each_fault(fault::user_code, [](sweep_run& run) {
        int changes = 0;
        if (run.threw([&] {
                faults::point();
                ++changes;
                faults::point();
            })) {
            EXPECT_EQ(changes, 0) << "not undone";
        }
    }), "fault 2");
}

TEST(sweep, does_not_go_on_for_ever_and_not_without_a_fault) {
    EXPECT_NONFATAL_FAILURE(for_each_fault(fault::user_code, [](sweep_run& run) {
        run.threw([] {
            for (int i = 0; i < 100; ++i) {
                faults::point();
            }
        });
    }, 10), "never gets through");
    EXPECT_NONFATAL_FAILURE(for_each_fault(fault::any, [](sweep_run&) {}), "planned no fault");
    EXPECT_NONFATAL_FAILURE(for_each_fault(fault::any, [](sweep_run& run) { run.threw([] { throw std::bad_alloc{}; }); }),
                            "without our doing");
}

TEST(failing_new, fails_every_form_of_new) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    constexpr std::align_val_t line{64};
    const auto done = for_each_fault(fault::operator_new, [&](sweep_run& run) {
        void* made[8] = {};
        const bool threw = run.threw([&] {  // calls, not expressions: compilers may leave those out
            made[0] = ::operator new(1, std::nothrow);
            made[1] = ::operator new[](1, std::nothrow);
            made[2] = ::operator new(1, line, std::nothrow);
            made[3] = ::operator new[](1, line, std::nothrow);
            made[4] = ::operator new(1);
            made[5] = ::operator new[](1);
            made[6] = ::operator new(1, line);
            made[7] = ::operator new[](1, line);
        });
        EXPECT_EQ(threw, run.nth() > 4 && run.came());
        for (std::size_t i = 0; i < 8; ++i) {
            EXPECT_EQ(made[i] == nullptr, i + 1 == run.nth() || (threw && i + 1 > run.nth())) << i;
        }
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(made[2]) % 64, 0U);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(made[7]) % 64, 0U);
        ::operator delete(made[0], std::nothrow);
        ::operator delete[](made[1], std::nothrow);
        ::operator delete(made[2], line, std::nothrow);
        ::operator delete[](made[3], line, std::nothrow);
        ::operator delete(made[4]);
        ::operator delete[](made[5]);
        ::operator delete(made[6], line);
        ::operator delete[](made[7], line);
    });
    EXPECT_EQ(done.points, 8U);
    EXPECT_EQ(done.thrown, 4U);
}

TEST(costs, are_those_of_the_calling_thread) {
    ledger book;
    std::map<int, int, std::less<>, counting_allocator<std::pair<int const, int>>> all((counting_allocator<std::pair<int const, int>>(book)));
    const costs one = cost_of([&] {
        all.emplace(1, 1);
        (void)counted_hash<int>{}(1);
        (void)counted_equal<int>{}(1, 1);
        run_together(1, [&](std::size_t) { (void)counted_hash<int>{}(1); });
    });
    EXPECT_EQ(one.hashes, 1U);
    EXPECT_EQ(one.comparisons, 1U);
    EXPECT_EQ(one.bytes, one.largest);
    EXPECT_EQ(one.bytes, book.live_bytes());
}
