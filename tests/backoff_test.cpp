// weir (BSL-1.0). Tests of base/detail/backoff.hpp.
#include <weir/base/detail/backoff.hpp>

#include <gtest/gtest.h>

#include <vector>

namespace {

unsigned pauses = 0;
void count_a_pause() noexcept { ++pauses; }
using counted = weir::detail::basic_backoff<count_a_pause>;

/// The pauses of each round until it refuses; no more than 100 rounds.
template <class Backoff>
std::vector<unsigned> rounds(Backoff& wait) {
    std::vector<unsigned> found;
    for (pauses = 0; found.size() < 100 && wait.spin(); pauses = 0) {
        found.push_back(pauses);
    }
    return found;
}

TEST(backoff, rounds_double_and_end) {
    counted wait;
    const auto found = rounds(wait);
    ASSERT_GT(found.size(), 1U);
    ASSERT_LT(found.size(), 100U) << "an unbounded busy wait";
    unsigned expected = 1;
    unsigned total = 0;
    for (const auto round : found) {
        EXPECT_EQ(round, expected);
        expected *= 2;
        total += round;
    }
    EXPECT_EQ(found.back(), counted::longest);
    EXPECT_EQ(total, counted::pauses_at_most);
}

TEST(backoff, once_used_up_it_refuses_without_a_pause) {
    counted wait;
    static_cast<void>(rounds(wait));
    for (int i = 0; i < 10; ++i) {
        EXPECT_FALSE(wait.spin());
    }
    EXPECT_EQ(pauses, 0U);
}

TEST(backoff, reset_starts_again_with_one_pause) {
    counted wait;
    const auto first = rounds(wait);
    wait.reset();
    EXPECT_EQ(rounds(wait), first);
    wait.reset();
    EXPECT_TRUE(wait.spin());
    EXPECT_EQ(pauses, 1U);
}

TEST(backoff, the_bound_is_small) { EXPECT_LE(weir::detail::backoff::pauses_at_most, 100U); }

TEST(backoff, pausing_the_core_returns) {
    weir::detail::backoff wait;
    unsigned spun = 0;
    while (wait.spin() && spun < 100) {
        ++spun;
    }
    EXPECT_LT(spun, 100U);
}

}  // namespace
