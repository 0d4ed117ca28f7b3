// weir (BSL-1.0). Tests of base/detail/double_word.hpp.
#include <weir/base/detail/double_word.hpp>

#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>

namespace {

using weir::detail::compare_exchange_16;

struct alignas(16) words {
    std::atomic<std::uint64_t> low{0};
    std::atomic<std::uint64_t> high{0};
};
static_assert(sizeof(words) == 16);
static_assert(noexcept(compare_exchange_16(nullptr, 0, 0, 0, 0)));

/// Tries until `done` says so; false when patience ends first.
template <class Done>
bool eventually(Done done) {
    const auto end = std::chrono::steady_clock::now() + weir_test::patience;
    while (!done()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

class double_word : public testing::Test {
protected:
    void SetUp() override {
        if (!weir::detail::has_compare_exchange_16) {
            GTEST_SKIP() << "this target has no 16-byte compare-exchange";
        }
    }
};

TEST_F(double_word, exchanges_both_halves_when_both_are_as_expected) {
    words w{1, 2};
    EXPECT_TRUE(compare_exchange_16(&w, 1, 2, 3, 4));
    EXPECT_EQ(w.low.load(), 3U);
    EXPECT_EQ(w.high.load(), 4U);
}

TEST_F(double_word, changes_nothing_when_either_half_differs) {
    words w{1, 2};
    EXPECT_FALSE(compare_exchange_16(&w, 0, 2, 3, 4));
    EXPECT_FALSE(compare_exchange_16(&w, 1, 0, 3, 4));
    EXPECT_FALSE(compare_exchange_16(&w, 2, 1, 3, 4));
    EXPECT_EQ(w.low.load(), 1U);
    EXPECT_EQ(w.high.load(), 2U);
}

TEST_F(double_word, uses_every_bit_of_both_halves) {
    for (int bit = 0; bit < 64; ++bit) {
        const auto one = std::uint64_t{1} << bit;
        words w{~one, one};
        EXPECT_FALSE(compare_exchange_16(&w, ~std::uint64_t{0}, one, 0, 0)) << bit;
        EXPECT_FALSE(compare_exchange_16(&w, ~one, 0, 0, 0)) << bit;
        EXPECT_TRUE(compare_exchange_16(&w, ~one, one, one, ~one)) << bit;
        EXPECT_EQ(w.low.load(), one);
        EXPECT_EQ(w.high.load(), ~one);
    }
}

TEST_F(double_word, leaves_its_neighbours_alone) {
    struct alignas(16) row {
        std::uint64_t before[2];
        std::uint64_t middle[2];
        std::uint64_t after[2];
    } r{{11, 12}, {0, 0}, {13, 14}};
    EXPECT_TRUE(compare_exchange_16(r.middle, 0, 0, 1, 2));
    EXPECT_EQ(r.before[1], 12U);
    EXPECT_EQ(r.after[0], 13U);
    EXPECT_EQ(r.middle[0], 1U);
    EXPECT_EQ(r.middle[1], 2U);
}

TEST_F(double_word, two_threads_incrementing_both_halves_lose_nothing_and_tear_nothing) {
    constexpr std::uint64_t rounds = 20'000;
    words w{0, 1000};
    std::barrier start{2};
    const auto work = [&] {
        start.arrive_and_wait();
        for (std::uint64_t i = 0; i < rounds; ++i) {
            // The high half is never read: the exchange itself must find the two in step.
            const bool done = eventually([&] {
                const auto low = w.low.load();
                return compare_exchange_16(&w, low, low + 1000, low + 1, low + 1001);
            });
            if (!done) {
                break;
            }
        }
    };
    std::thread other{work};
    work();
    other.join();
    EXPECT_EQ(w.low.load(), 2 * rounds);
    EXPECT_EQ(w.high.load(), 2 * rounds + 1000);
}

// The sanitizers' own 16-byte exchange fails this one: it loses 8-byte additions that come in between.
TEST_F(double_word, additions_to_one_half_are_never_lost_to_exchanges_of_both) {
    constexpr std::uint64_t rounds = 50'000;
    words w;
    std::barrier start{3};
    const auto add = [&](std::atomic<std::uint64_t>& half) {
        start.arrive_and_wait();
        for (std::uint64_t i = 0; i < rounds; ++i) {
            half.fetch_add(1);
        }
    };
    std::thread lower{add, std::ref(w.low)};
    std::thread upper{add, std::ref(w.high)};
    start.arrive_and_wait();
    std::uint64_t exchanged = 0;
    for (std::uint64_t i = 0; i < rounds; ++i) {
        const auto low = w.low.load();
        const auto high = w.high.load();
        if (compare_exchange_16(&w, low, high, low + 1, high + 1)) {
            ++exchanged;
        }
    }
    lower.join();
    upper.join();
    EXPECT_EQ(w.low.load(), rounds + exchanged);
    EXPECT_EQ(w.high.load(), rounds + exchanged);
    EXPECT_GT(exchanged, 0U);
}

// In the two below a plain variable changes hands through the pair: a thread sanitizer reports a missing edge.
TEST_F(double_word, what_was_written_before_an_exchange_is_seen_by_who_reads_either_half) {
    constexpr std::uint64_t rounds = 2'000;
    words w;
    std::uint64_t plain = 0;  // the main thread's while the halves are even, the other's while they are odd
    const auto play = [&](std::uint64_t first) {
        for (std::uint64_t turn = first; turn < 2 * rounds; turn += 2) {
            auto& half = turn / 2 % 2 == 0 ? w.low : w.high;
            if (!eventually([&] { return half.load(std::memory_order_acquire) == turn; })) {
                return;
            }
            EXPECT_EQ(plain, turn);
            ++plain;
            EXPECT_TRUE(compare_exchange_16(&w, turn, turn, turn + 1, turn + 1));
        }
    };
    std::thread other{play, std::uint64_t{1}};
    play(0);
    other.join();
    EXPECT_EQ(plain, 2 * rounds);
}

TEST_F(double_word, an_exchange_sees_what_was_released_into_either_half) {
    constexpr std::uint64_t rounds = 2'000;
    words w;
    std::uint64_t plain_low = 0;
    std::uint64_t plain_high = 0;
    const auto give = [](std::atomic<std::uint64_t>& half, std::uint64_t& plain) {
        for (std::uint64_t turn = 0; turn < 2 * rounds; turn += 2) {
            if (!eventually([&] { return half.load(std::memory_order_acquire) == turn; })) {
                return;
            }
            ++plain;
            half.store(turn + 1, std::memory_order_release);
        }
    };
    std::thread lower{give, std::ref(w.low), std::ref(plain_low)};
    std::thread upper{give, std::ref(w.high), std::ref(plain_high)};
    for (std::uint64_t turn = 0; turn < 2 * rounds; turn += 2) {
        // Knows both by the exchange alone, having loaded neither; `taken` keeps the givers out until both were looked
        // at.
        constexpr auto taken = ~std::uint64_t{0};
        const bool mine = eventually([&] { return compare_exchange_16(&w, turn + 1, turn + 1, taken, taken); });
        EXPECT_TRUE(mine);
        if (!mine) {
            break;
        }
        EXPECT_EQ(plain_low, turn / 2 + 1);
        EXPECT_EQ(plain_high, turn / 2 + 1);
        EXPECT_TRUE(compare_exchange_16(&w, taken, taken, turn + 2, turn + 2));
    }
    lower.join();
    upper.join();
}

}  // namespace
