// weir (BSL-1.0). stopped_thread_test: a thread can be stopped before each of its instructions, and at any moment.
#include "support/stopped_thread.hpp"

#include <atomic>
#include <cstddef>
#include <set>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

using namespace weir_test;

TEST(stopped_thread, stays_where_a_signal_finds_it_until_it_is_let_go) {
    std::atomic<std::size_t> calls{0};
    std::atomic<bool> prepared{false};
    {
        stopped_thread victim(
            [&](std::size_t i) {
                EXPECT_TRUE(prepared);
                calls = i;
            },
            [&] { prepared = true; });
        stopped_thread another([](std::size_t) {});
        victim.stop_after(10);
        another.stop_after(10);
        const std::size_t then = calls;
        EXPECT_GE(then, 10U);
        for (int i = 0; i < 1000; ++i) {
            std::this_thread::yield();
            ASSERT_EQ(calls, then) << "it runs";
        }
    }
    EXPECT_TRUE(prepared);
}

TEST(stopped_thread, ends_also_if_nobody_stops_it) {
    std::atomic<std::size_t> calls{0};
    { const stopped_thread idle([&](std::size_t) { calls += 1; }); }
    const std::size_t then = calls;
    EXPECT_EQ(calls, then);
}

TEST(stop_at_step, stops_before_every_instruction_in_turn) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    std::set<std::pair<int, int>> seen;
    std::size_t n = 1;
    for (bool stopped = true; stopped; ++n) {
        std::atomic<int> first{0};
        std::atomic<int> second{0};
        const auto call = [&] {
            first = 1;
            second = 1;
        };
        stopped = stop_at_step(n, call, [&] { seen.emplace(first, second); });
        EXPECT_EQ(first + second, 2) << "the call was not let go";
        ASSERT_LT(n, 2000U);
    }
    EXPECT_GT(n, 5U);
    EXPECT_EQ(seen, (std::set<std::pair<int, int>>{{0, 0}, {1, 0}, {1, 1}}));
}

// What such a sweep is for: somewhere within this call, nobody else gets on.
TEST(stop_at_step, finds_the_lock_in_a_call_that_claims_to_have_none) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    std::size_t refused = 0;
    std::size_t n = 1;
    for (bool stopped = true; stopped; ++n) {
        std::atomic<bool> locked{false};
        const auto call = [&] {
            while (locked.exchange(true)) {
            }
            locked = false;
        };
        stopped = stop_at_step(n, call, [&] { refused += locked.exchange(true) ? 1U : std::size_t{(locked = false)}; });
        ASSERT_LT(n, 2000U);
    }
    EXPECT_GT(refused, 0U);
    EXPECT_LT(refused, n - 2);
}
