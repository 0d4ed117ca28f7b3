// weir (BSL-1.0). Stress of the keyed rate limiter: more keys than there will ever be room for.
#include <weir/flow/rate_limiter.hpp>

#include "support/failing_new.hpp"
#include "support/faults.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>

namespace weir_test {
namespace {

// Ten million keys pass by two threads, while a hundred others, all of whose permits are gone, come again and again.
TEST(keyed_rate_limiter_stress, ten_million_keys_allocate_nothing_and_no_key_gets_more_than_its_limit) {
    weir::manual_clock clock;
    weir::keyed_rate_limiter<std::uint64_t, weir::token_bucket<weir::manual_clock>> limit{
        {.limit = 1, .burst = 2}, {.capacity = 10'000}, clock};
    constexpr std::uint64_t spent = 100;
    std::array<std::atomic<std::uint64_t>, spent> admitted{};
    for (std::uint64_t key = 0; key < spent; ++key) {
        ASSERT_TRUE(limit.allow(key, 2));
    }
    std::uint64_t const keys = scaled(5'000'000, 100'000);  // of each thread
    std::atomic<std::uint64_t> strangers{0};
    std::atomic<bool> allocated{false};
    run_together(2, [&](std::size_t me) {
        std::uint64_t mine = limit.try_acquire(me) ? 1U : 0U;  // with what a thread's first call allocates
        std::uint64_t const first = (me + 1) << 40U;
        faults::arm(1, fault::operator_new);
        try {
            for (std::uint64_t i = 0; i < keys; ++i) {
                mine += limit.try_acquire(first + i) ? 1U : 0U;
                if (i % 64 == 0 && limit.try_acquire(i / 64 % spent)) {
                    ++admitted[i / 64 % spent];
                }
            }
        } catch (std::bad_alloc const&) {
            allocated = true;
        }
        faults::disarm();
        strangers += mine;
    });
    EXPECT_FALSE(allocated);
    for (auto const& n : admitted) {
        EXPECT_EQ(n, 0U) << "others' traffic gave back what was spent";
    }
    auto const s = limit.stats();
    EXPECT_LE(s.live, s.capacity);
    EXPECT_LE(strangers, 2 * (s.live + s.evictions_live)) << "two for each key that had a place";
}

}  // namespace
}  // namespace weir_test
