// weir (BSL-1.0). stops_test: threads are stopped at every point of user code, and elsewhere; what is half done is seen then.
#include "support/stops.hpp"

#include "support/threads.hpp"

#include <atomic>
#include <cstddef>
#include <set>
#include <utility>

#include <gtest/gtest.h>

using namespace weir_test;

TEST(stops, hold_a_call_at_each_of_its_points_while_others_go_on) {
    std::set<std::pair<int, int>> seen;
    std::size_t nth = 1;
    for (bool stopped = true; stopped; ++nth) {
        std::atomic<int> first{0};
        std::atomic<int> second{0};
        const auto call = [&] {
            stops::point();
            first = 1;
            stops::point();
            second = 1;
            stops::point();
        };
        stopped = stop_at_point(nth, call, [&] { seen.emplace(first, second); });
        EXPECT_EQ(first + second, 2) << "the call was not let go";
        ASSERT_LT(nth, 10U);
    }
    EXPECT_EQ(nth - 2, 3U) << "points";
    EXPECT_EQ(seen, (std::set<std::pair<int, int>>{{0, 0}, {1, 0}, {1, 1}}));
}

TEST(stops, hold_nobody_else) {
    EXPECT_FALSE(stop_at_point(1, [] {}, [] { stops::point(); }));
    stops::point();
}
