// weir (BSL-1.0). clock: time points that compare, time that tests move, sums that do not overflow.
#include <weir/base/clock.hpp>

#include <gtest/gtest.h>

#include <barrier>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <ratio>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using std::chrono::duration;
using std::chrono::nanoseconds;
using steady = std::chrono::steady_clock;
using weir::coarse_clock;
using weir::manual_clock;
using weir::saturating_add;

// What the components do: hold a clock, ask whether a deadline has come.
template <weir::clock_source Clock>
class timer {
public:
    timer(Clock clock, nanoseconds delay) : clock_(clock), deadline_(saturating_add(clock_.now(), delay)) {}
    bool due() const { return clock_.now() >= deadline_; }

private:
    [[no_unique_address]] Clock clock_;
    weir::time_point_of<Clock> deadline_;
};

TEST(manual_clock, moves_only_when_told_and_for_all_its_copies) {
    manual_clock clock;
    timer<manual_clock> const timer(clock, 10s);
    EXPECT_FALSE(timer.due());
    clock.advance(9s);
    EXPECT_FALSE(timer.due());
    clock.advance(1s);
    EXPECT_TRUE(timer.due());
}

TEST(manual_clock, starts_somewhere_that_nobody_takes_for_never) {
    EXPECT_NE(manual_clock().now(), manual_clock::time_point{});
    EXPECT_EQ(manual_clock(manual_clock::time_point{5s}).now(), manual_clock::time_point{5s});
}

TEST(manual_clock, may_be_set_back) {
    manual_clock clock;
    auto const start = clock.now();
    clock.advance(-1h);
    EXPECT_EQ(clock.now(), start - 1h);
    clock.set(start - 3h);
    EXPECT_EQ(clock.now(), start - 3h);
}

TEST(manual_clock, stops_at_the_ends_of_time) {
    manual_clock clock;
    clock.advance(std::chrono::hours::max());
    EXPECT_EQ(clock.now(), manual_clock::time_point::max());
    clock.advance(1ns);
    EXPECT_EQ(clock.now(), manual_clock::time_point::max());
    clock.set(manual_clock::time_point::min());
    clock.advance(-1ns);
    EXPECT_EQ(clock.now(), manual_clock::time_point::min());
}

TEST(manual_clock, keeps_its_time_while_one_handle_is_left) {
    std::optional<manual_clock> first(std::in_place);
    manual_clock second = *first;
    manual_clock third;
    third = second;
    manual_clock fourth = std::move(second);
    auto const start = fourth.now();
    first->advance(1s);
    first.reset();
    third.advance(1s);
    EXPECT_EQ(fourth.now(), start + 2s);
    EXPECT_EQ(second.now(), start + 2s) << "moving is copying: there is no empty clock";
    auto& self = third;
    third = self;
    EXPECT_EQ(third.now(), start + 2s);
}

TEST(manual_clock, is_another_time_than_that_of_a_second_one) {
    manual_clock one;
    manual_clock other;
    auto const start = other.now();
    one.advance(1s);
    EXPECT_EQ(other.now(), start);
}

TEST(manual_clock, cannot_be_mixed_up_with_real_time) {
    static_assert(!std::is_convertible_v<manual_clock::time_point, steady::time_point>);
    static_assert(!std::is_convertible_v<steady::time_point, manual_clock::time_point>);
}

TEST(manual_clock, loses_no_step_when_threads_move_it_together) {
    constexpr int threads = 4;
    constexpr int steps = 200000;
    manual_clock clock;
    auto const start = clock.now();
    std::barrier together(threads);
    {
        std::vector<std::jthread> running;
        running.reserve(threads);
        for (int t = 0; t < threads; ++t) {
            running.emplace_back([clock, &together] {
                together.arrive_and_wait();
                auto last = clock.now();
                for (int i = 0; i < steps; ++i) {
                    manual_clock const copy = clock;
                    clock.advance(1us);
                    auto const now = copy.now();
                    EXPECT_GE(now, last + 1us);
                    last = now;
                }
            });
        }
    }
    EXPECT_EQ(clock.now(), start + threads * steps * 1us);
}

TEST(coarse_clock, shows_the_time_of_the_steady_clock_as_of_its_last_tick) {
    static_assert(std::is_same_v<coarse_clock::time_point, steady::time_point>);
    for (int i = 0; i < 1000; ++i) {
        auto const coarse = coarse_clock::now();
        auto const fine = steady::now();
        ASSERT_LE(coarse, fine);
        ASSERT_GT(coarse, fine - 1min) << "not the same epoch";
    }
}

TEST(coarse_clock, never_goes_back_and_does_go_on) {
    auto const start = coarse_clock::now();
    auto last = start;
    auto const limit = steady::now() + 30s;
    while (last == start && steady::now() < limit) {
        auto const now = coarse_clock::now();
        ASSERT_GE(now, last);
        last = now;
    }
    EXPECT_GT(last, start);
}

TEST(coarse_clock, costs_no_space_where_it_is_held) {
    EXPECT_EQ(sizeof(timer<coarse_clock>), sizeof(coarse_clock::time_point));
    EXPECT_EQ(sizeof(timer<steady>), sizeof(steady::time_point));
}

using point = std::chrono::time_point<steady, nanoseconds>;
constexpr point at(std::int64_t ns) { return point{nanoseconds{ns}}; }
constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();

TEST(saturating_add, adds_where_the_sum_can_be_held) {
    static_assert(saturating_add(at(5), 7ns) == at(12));
    static_assert(saturating_add(at(5), -7ns) == at(-2));
    static_assert(saturating_add(at(5), 2s) == at(2'000'000'005));
    static_assert(saturating_add(at(most - 1), 1ns) == at(most));
    static_assert(saturating_add(at(least + 1), -1ns) == at(least));
    static_assert(saturating_add(at(least), nanoseconds{most - 1}) == at(-2));
    static_assert(saturating_add(at(most), nanoseconds{least + 1}) == at(0));
}

TEST(saturating_add, stops_at_the_ends_where_it_cannot) {
    static_assert(saturating_add(at(1), nanoseconds::max()) == point::max());
    static_assert(saturating_add(at(most), 1ns) == point::max());
    static_assert(saturating_add(at(-1), nanoseconds::min()) == point::min());
    static_assert(saturating_add(at(least), -1ns) == point::min());
}

TEST(saturating_add, survives_durations_too_long_for_the_clock_to_count) {
    static_assert(saturating_add(at(0), std::chrono::hours::max()) == point::max());
    static_assert(saturating_add(at(0), std::chrono::hours::min()) == point::min());
    static_assert(saturating_add(at(least), std::chrono::seconds::max()) == point::max());
    static_assert(saturating_add(at(most), std::chrono::seconds::min()) == point::min());
}

TEST(saturating_add, takes_the_longest_duration_for_ever_from_wherever_it_starts) {
    static_assert(saturating_add(at(least), nanoseconds::max()) == point::max());
    static_assert(saturating_add(at(-1), nanoseconds::max()) == point::max());
    static_assert(saturating_add(at(most), nanoseconds::min()) == point::min());
}

TEST(saturating_add, rounds_up_what_is_finer_than_the_ticks_of_the_clock) {
    using picoseconds = duration<std::int64_t, std::pico>;
    static_assert(saturating_add(at(0), picoseconds{1}) == at(1));
    static_assert(saturating_add(at(0), picoseconds{1000}) == at(1));
    static_assert(saturating_add(at(0), picoseconds{1001}) == at(2));
    static_assert(saturating_add(at(0), picoseconds{-1999}) == at(-1));
    static_assert(saturating_add(at(0), duration<std::int64_t, std::ratio<1, 3>>{1}) == at(333'333'334));
    static_assert(saturating_add(at(0), duration<double>{0.5e-9}) == at(1));
    static_assert(saturating_add(at(0), duration<double>{-0.5e-9}) == at(0));
}

TEST(saturating_add, takes_every_number_that_durations_are_counted_in) {
    static_assert(saturating_add(at(0), duration<std::int8_t>{-128}) == at(-128'000'000'000));
    static_assert(saturating_add(at(0), duration<std::uint8_t>{255}) == at(255'000'000'000));
    static_assert(saturating_add(at(0), duration<std::uint64_t, std::nano>{~std::uint64_t{0}}) == point::max());
    static_assert(saturating_add(at(0), duration<std::uint64_t, std::pico>{~std::uint64_t{0}}) ==
                  at(18446744073709552));
    static_assert(saturating_add(at(0), duration<float>{0.5f}) == at(500'000'000));
    static_assert(saturating_add(at(0), duration<double, std::ratio<3600>>{1.5}) == at(5'400'000'000'000));
    static_assert(saturating_add(at(0), duration<double>{1e300}) == point::max());
    static_assert(saturating_add(at(0), duration<double>{-1e300}) == point::min());
}

TEST(saturating_add, makes_sense_of_infinity_and_of_what_is_no_number) {
    using limits = std::numeric_limits<double>;
    EXPECT_EQ(saturating_add(at(0), duration<double>{limits::infinity()}), point::max());
    EXPECT_EQ(saturating_add(at(0), duration<double>{-limits::infinity()}), point::min());
    EXPECT_EQ(saturating_add(at(0), duration<double>{limits::max()}), point::max());
    EXPECT_EQ(saturating_add(at(0), duration<double>{limits::lowest()}), point::min());
    EXPECT_EQ(saturating_add(at(0), duration<double>{9223372036.854775807}), point::max());
    EXPECT_EQ(saturating_add(at(7), duration<double>{limits::quiet_NaN()}), at(7));
}

TEST(saturating_add, works_on_clocks_that_count_little_or_in_fractions) {
    using small = std::chrono::time_point<steady, duration<std::int32_t, std::milli>>;
    static_assert(saturating_add(small{}, 24h * 24) == small{24h * 24});
    static_assert(saturating_add(small{}, 24h * 25) == small::max());
    static_assert(saturating_add(small{}, -24h * 25) == small::min());
    static_assert(saturating_add(small{}, 1ns) == small{std::chrono::milliseconds{1}});
    using fractional = std::chrono::time_point<steady, duration<double>>;
    static_assert(saturating_add(fractional{}, std::chrono::hours::max()) > fractional{1h});
    using tiny = std::chrono::time_point<steady, duration<std::int8_t, std::ratio<7, 3>>>;
    static_assert(saturating_add(tiny{}, duration<int, std::ratio<5000, 11>>{1}) == tiny::max());
}

}  // namespace
