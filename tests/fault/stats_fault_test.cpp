// weir (BSL-1.0). stats_fault_test: statistics of threads that get no memory or have no lane.
#include <weir/data/stats.hpp>

#include "support/no_lanes.hpp"
#include "support/scarce_new.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace std::chrono_literals;
using namespace weir_test;
using std::chrono::nanoseconds;
using weir::counter;
using weir::histogram;
using weir::manual_clock;
using weir::windowed;
using requests = weir::request_stats<4>;
using small = histogram<int, 4>;

/// Runs f in a thread whose slot nobody has had before, so that it has no lane yet.
template <class F>
void in_a_new_lane(F f) {
    using registry = weir::detail::thread_slot_registry;
    auto const& all = weir::detail::stat_lane_registry::instance;
    std::vector<std::size_t> held;
    while (held.empty() || all.lanes[held.back()].load() != nullptr) {
        held.push_back(registry::take());
    }
    registry::give_back(held.back());
    held.pop_back();
    std::thread(std::ref(f)).join();
    for (auto const slot : held) {
        registry::give_back(slot);
    }
}

template <class F>
void in_a_thread_without_a_lane(F f) {
    const all_slots_taken here;
    std::thread(std::ref(f)).join();
}

#define WEIR_TESTS_NEED_OUR_NEW()                                             \
    if (!scarce_new::is_ours) {                                               \
        GTEST_SKIP() << "the sanitizer's operator new cannot be replaced";    \
    }                                                                         \
    static_cast<void>(0)

/// Each statistic, how to write to it once, and how many of these writes it has counted or lost.
struct of_counter {
    counter stat;
    void write() noexcept { stat.add(); }
    std::uint64_t counted() const { return stat.value(); }
    static std::uint64_t lost() { return 0; }
};
struct of_histogram {
    small stat;
    void write() noexcept { stat.record(5); }
    std::uint64_t counted() const { return stat.snapshot().count(); }
    std::uint64_t lost() const { return stat.snapshot().lost(); }
};
struct of_requests {
    requests stat;
    void write() noexcept { stat.record(5ns, 10); }
    std::uint64_t counted() const { return stat.snapshot().requests; }
    std::uint64_t lost() const { return stat.snapshot().lost; }
};
struct of_meter {
    weir::meter<> stat;
    void write() noexcept { stat.mark(); }
    std::uint64_t counted() const { return stat.read().count; }
    std::uint64_t lost() const { return stat.read().lost; }
};
struct of_windowed_counter {
    windowed<counter> stat{{.window = std::chrono::hours{100}, .slices = 2}};
    void write() noexcept { stat.add(); }
    std::uint64_t counted() const { return stat.value(); }
    std::uint64_t lost() const { return stat.lost(); }
};
struct of_windowed_histogram {
    windowed<small> stat{{.window = std::chrono::hours{100}, .slices = 2}};
    void write() noexcept { stat.record(5); }
    std::uint64_t counted() const { return stat.snapshot().count(); }
    std::uint64_t lost() const { return stat.snapshot().lost(); }
};

template <class Stat>
class stats_fault : public testing::Test {};
using stats = testing::Types<of_counter, of_histogram, of_requests, of_meter, of_windowed_counter, of_windowed_histogram>;
TYPED_TEST_SUITE(stats_fault, stats, );

}  // namespace

TYPED_TEST(stats_fault, what_finds_no_memory_is_counted_or_said_to_be_lost) {
    WEIR_TESTS_NEED_OUR_NEW();
    constexpr bool loses_nothing = std::is_same_v<TypeParam, of_counter>;
    bool short_of_it = true;
    for (std::size_t left = 0; short_of_it; ++left) {
        SCOPED_TRACE("after " + std::to_string(left) + " allocations");
        ASSERT_LT(left, 20U);
        TypeParam fresh;
        std::size_t refused = 0;
        in_a_new_lane([&] {
            {
                const scarce_new::shortage none(left);
                fresh.write();
                fresh.write();
                refused = scarce_new::shortage::refused();
            }
            EXPECT_EQ(fresh.counted() + fresh.lost(), 2U);
            if (loses_nothing || refused == 0) {
                EXPECT_EQ(fresh.lost(), 0U);
            }
            if (left == 0) {
                EXPECT_EQ(fresh.lost(), loses_nothing ? 0U : 2U);
            }
            const auto before = fresh.lost();
            fresh.write();  // there is memory again
            EXPECT_EQ(fresh.counted() + before, 3U);
            EXPECT_EQ(fresh.lost(), before);
        });
        short_of_it = refused > 0;
    }
}

TYPED_TEST(stats_fault, a_spare_block_serves_who_finds_no_memory) {
    WEIR_TESTS_NEED_OUR_NEW();
    TypeParam fresh;
    in_a_thread_without_a_lane([&] { fresh.write(); });
    in_a_new_lane([&] {
        const scarce_new::shortage none;
        fresh.write();
        fresh.write();
    });
    EXPECT_EQ(fresh.counted(), 3U);
    EXPECT_EQ(fresh.lost(), 0U);
}

TYPED_TEST(stats_fault, memory_is_taken_once_for_each_lane_and_given_back) {
    WEIR_TESTS_NEED_OUR_NEW();
    {
        TypeParam warm_up;
        warm_up.write();  // a segment of this thread's lane stays
    }
    const auto alive = scarce_new::alive();
    {
        const auto idle = scarce_new::made();
        TypeParam fresh;
        EXPECT_EQ(scarce_new::made(), idle) << "an idle one takes none";
        fresh.write();
        const auto first = scarce_new::made();
        for (int i = 0; i < 1000; ++i) {
            fresh.write();
        }
        EXPECT_EQ(scarce_new::made(), first);
        in_a_thread_without_a_lane([&] { fresh.write(); });
        const auto without_lane = scarce_new::alive();
        for (int i = 0; i < 5; ++i) {
            in_a_thread_without_a_lane([&] {
                for (int j = 0; j < 100; ++j) {
                    fresh.write();
                }
            });
        }
        EXPECT_EQ(scarce_new::alive(), without_lane) << "one of them at a time needs one spare block";
        EXPECT_EQ(fresh.counted(), 1502U);
    }
    EXPECT_EQ(scarce_new::alive(), alive);
}

TEST(stats_fault, a_statistic_that_cannot_be_made_leaves_no_trace) {
    WEIR_TESTS_NEED_OUR_NEW();
    std::vector<std::unique_ptr<counter>> all;
    all.reserve(100'000);
    std::size_t refused = 0;
    // Each segment of indices takes memory once, in the constructor of the first that is to stand in it.
    while (refused < 3) {
        ASSERT_LT(all.size(), all.capacity());
        alignas(counter) std::array<std::byte, sizeof(counter)> place;
        counter* made = nullptr;
        try {
            const scarce_new::shortage none;
            made = ::new (static_cast<void*>(place.data())) counter;
        } catch (std::bad_alloc const&) {
            ++refused;
        }
        if (made != nullptr) {
            made->~counter();
        }
        all.push_back(std::make_unique<counter>());
        all.back()->add(all.size());
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        ASSERT_EQ(all[i]->value(), i + 1);
    }
}

TEST(stats_fault, a_snapshot_that_finds_no_memory_says_so_and_changes_nothing) {
    WEIR_TESTS_NEED_OUR_NEW();
    small h;
    requests r;
    windowed<small> w;
    h.record(5);
    r.record(5ns);
    w.record(5);
    for (std::size_t left = 0; left < 2; ++left) {
        const scarce_new::shortage none(left);
        EXPECT_EQ(left == 0, [&] {
            try {
                static_cast<void>(h.snapshot());
                return false;
            } catch (std::bad_alloc const&) {
                return true;
            }
        }());
        const scarce_new::shortage again(left);
        EXPECT_THROW(static_cast<void>(r.snapshot()), std::bad_alloc);
        const scarce_new::shortage once_more(left);
        EXPECT_THROW(static_cast<void>(w.snapshot()), std::bad_alloc);
    }
    EXPECT_EQ(h.snapshot().count(), 1U);
    EXPECT_EQ(r.snapshot().requests, 1U);
    EXPECT_EQ(w.snapshot().count(), 1U);
}

TEST(stats_fault, a_guard_that_finds_no_memory_is_not_counted_and_not_taken_back) {
    WEIR_TESTS_NEED_OUR_NEW();
    requests r;
    in_a_new_lane([&] {
        const scarce_new::shortage none;
        const auto guard = r.in_flight();
    });
    EXPECT_EQ(r.snapshot().in_flight, 0U);
    EXPECT_EQ(r.snapshot().lost, 1U);
    // And one that was counted goes down wherever it ends.
    auto guard = std::make_unique<requests::in_flight_guard>(r.in_flight());
    EXPECT_EQ(r.snapshot().in_flight, 1U);
    in_a_new_lane([&] {
        const scarce_new::shortage none;
        guard.reset();
    });
    EXPECT_EQ(r.snapshot().in_flight, 0U);
}

namespace {

manual_clock* shared_clock = nullptr;
windowed<counter, manual_clock>* shared_window = nullptr;

}  // namespace

TEST(stats_fault, who_comes_late_to_a_shared_block_takes_nothing_of_a_newer_slice) {
    WEIR_TESTS_NEED_OUR_NEW();
    manual_clock clock;
    windowed<counter, manual_clock> w({.window = 2s, .slices = 2}, clock);
    shared_clock = &clock;
    shared_window = &w;
    in_a_thread_without_a_lane([] { shared_window->add(100); });
    in_a_new_lane([] {
        // It has looked at the clock and asks for memory, in vain. Meanwhile three slices pass, a round of the ring, and another
        // thread adds. Then it takes the spare block that the other one has written into.
        scarce_new::on_refusal([] {
            shared_clock->advance(3s);
            in_a_thread_without_a_lane([] { shared_window->add(7); });
        });
        const scarce_new::shortage none;
        shared_window->add(1);
    });
    EXPECT_GE(w.value(), 7U) << "what was added in this slice is gone";
    EXPECT_LE(w.value(), 8U);
    EXPECT_EQ(w.lost(), 0U);
}
