// weir (BSL-1.0). stats_test: what each statistic promises, one after the other.
#include <weir/data/lock_free_map.hpp>
#include <weir/data/stats.hpp>

#include "support/no_lanes.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#if __has_include(<sys/wait.h>)
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace weir_test {
weir::counter& counter_of_another_file();  // stats_property_test.cpp
std::uint64_t value_in_another_file();
}  // namespace weir_test

namespace {

using namespace std::chrono_literals;
using namespace weir_test;
using std::chrono::nanoseconds;
using weir::counter;
using weir::gauge;
using weir::histogram;
using weir::manual_clock;
using weir::meter;
using weir::request_outcome;
using weir::stopwatch;
using weir::windowed;
using requests = weir::request_stats<32, manual_clock>;
using numbers = histogram<std::int64_t>;

constexpr auto most = std::numeric_limits<std::uint64_t>::max();

// What the doc comments say of memory, and what is meant to be affordable per key.
static_assert(sizeof(counter) <= 32);
static_assert(sizeof(histogram<>) <= 64);
static_assert(sizeof(weir::request_stats<>) <= 112);
static_assert(sizeof(meter<>) <= 64);
static_assert(sizeof(windowed<counter>) <= 96);
static_assert(sizeof(windowed<histogram<>>) <= 112);

template <class T>
inline constexpr bool stays_where_it_is = !std::is_copy_constructible_v<T> && !std::is_move_constructible_v<T> &&
                                          !std::is_copy_assignable_v<T> && !std::is_move_assignable_v<T>;
static_assert(stays_where_it_is<counter> && stays_where_it_is<gauge> && stays_where_it_is<histogram<>> &&
              stays_where_it_is<requests> && stays_where_it_is<meter<>> && stays_where_it_is<windowed<counter>> &&
              stays_where_it_is<windowed<histogram<>>> && stays_where_it_is<stopwatch<histogram<>>>);

template <class T>
inline constexpr bool shared = weir::is_internally_synchronized<T>;
static_assert(shared<counter> && shared<gauge> && shared<histogram<>> && shared<requests> && shared<meter<>> &&
              shared<windowed<counter>> && shared<windowed<histogram<>>>);

static_assert(weir::histogram_value<int> && weir::histogram_value<std::uint8_t> && weir::histogram_value<std::chrono::hours>);
static_assert(!weir::histogram_value<bool> && !weir::histogram_value<double> && !weir::histogram_value<std::string> &&
              !weir::histogram_value<std::chrono::duration<double>>);
static_assert(weir::duration_recorder<histogram<>> && weir::duration_recorder<windowed<histogram<>>> &&
              weir::duration_recorder<requests>);
static_assert(!weir::duration_recorder<counter> && !weir::duration_recorder<numbers>);

constexpr nanoseconds tick{1};
static_assert(noexcept(std::declval<counter&>().add()) && noexcept(std::declval<counter&>().take()) &&
              noexcept(std::declval<histogram<>&>().record(tick)) && noexcept(std::declval<requests&>().record(tick)) &&
              noexcept(std::declval<histogram<>&>().record_corrected(tick, tick)) &&
              noexcept(std::declval<requests&>().in_flight()) && noexcept(std::declval<meter<>&>().mark()) &&
              noexcept(std::declval<windowed<counter>&>().add()) &&
              noexcept(std::declval<windowed<histogram<>>&>().record(tick)));

/// What an exception says; "" if there is none.
template <class F>
std::string refusal(F f) {
    try {
        f();
    } catch (std::invalid_argument const& e) {
        return e.what();
    }
    return "";
}

/// Runs f in a thread of its own, to its end.
template <class F>
void in_a_thread(F f) {
    std::thread(std::move(f)).join();
}
/// The same, with a thread that can have no lane.
template <class F>
void in_a_thread_without_a_lane(F f) {
    const all_slots_taken here;
    std::thread(std::move(f)).join();
}

/// Threads of every kind that writes, one after the other: `f` is called once in each. Returns how many.
template <class F>
std::uint64_t in_threads_of_every_kind(F f) {
    f();
    in_a_thread(f);
    in_a_thread(f);  // goes on in the lane of the last one
    in_a_thread_without_a_lane(f);
    in_a_thread_without_a_lane(f);
    in_a_thread([&] {
        last_act::of_this_thread().what = f;  // after the lane has gone
        f();
    });
    in_a_thread([&] { last_act::of_this_thread().what = f; });  // the first word of this thread, when it ends
    run_together(3, [&](std::size_t) { f(); });
    return 11;
}

}  // namespace

TEST(counter, adds_up_what_all_threads_added_before) {
    counter c;
    EXPECT_EQ(c.value(), 0U);
    c.add();
    c.add(41);
    EXPECT_EQ(c.value(), 42U);
    c.add(0);
    EXPECT_EQ(c.value(), 42U);
    const auto writers = in_threads_of_every_kind([&] { c.add(1000); });
    EXPECT_EQ(c.value(), 42 + 1000 * writers);
}

TEST(counter, hands_out_each_unit_once) {
    counter c;
    EXPECT_EQ(c.take(), 0U);
    c.add(5);
    EXPECT_EQ(c.take(), 5U);
    EXPECT_EQ(c.take(), 0U);
    EXPECT_EQ(c.value(), 5U) << "value() goes on";
    const auto writers = in_threads_of_every_kind([&] { c.add(7); });
    EXPECT_EQ(c.take(), 7 * writers);
    EXPECT_EQ(c.take(), 0U);
    EXPECT_EQ(c.value(), 5 + 7 * writers);
}

TEST(counter, is_modulo_two_to_the_64) {
    counter c;
    c.add(most);
    EXPECT_EQ(c.take(), most);
    in_a_thread([&] { c.add(3); });
    EXPECT_EQ(c.value(), 2U);
    EXPECT_EQ(c.take(), 3U);
}

TEST(counter, that_is_new_is_zero_whatever_its_words_held_before) {
    for (int round = 0; round < 200; ++round) {
        const auto c = std::make_unique<counter>();
        const auto d = std::make_unique<counter>();
        ASSERT_EQ(c->value(), 0U);
        ASSERT_EQ(d->take(), 0U);
        c->add(17);
        in_a_thread([&] {
            c->add(18);
            d->add(19);
        });
        if (round == 100) {
            in_a_thread_without_a_lane([&] { c->add(20); });
        }
        ASSERT_EQ(c->value(), round == 100 ? 55U : 35U);
        ASSERT_EQ(d->value(), 19U);
    }
}

TEST(counter, does_not_touch_its_neighbours) {
    std::vector<std::unique_ptr<counter>> all;
    for (std::size_t i = 0; i < 1000; ++i) {  // several segments of a lane
        all.push_back(std::make_unique<counter>());
    }
    run_together(3, [&](std::size_t me) {
        for (std::size_t i = me; i < all.size(); ++i) {
            all[i]->add(i * i + 1);
        }
    });
    for (std::size_t i = 0; i < all.size(); i += 3) {
        all[i].reset();
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (all[i]) {
            ASSERT_EQ(all[i]->value(), std::min<std::size_t>(i + 1, 3) * (i * i + 1)) << i;
        }
    }
}

TEST(counter, is_not_written_by_plain_stores_when_the_lane_has_gone_to_others) {
    using registry = weir::detail::stat_lane_registry;
    counter c;
    in_a_thread([&] {
        last_act::of_this_thread().what = [&] {
            c.add(2);
            EXPECT_EQ(registry::mine, &registry::nobody);
            in_a_thread([&] { c.add(4); });  // whose lane this is now
        };
        c.add(1);
        EXPECT_NE(registry::mine, &registry::nobody);
    });
    EXPECT_EQ(c.value(), 7U);
}

TEST(counter, is_one_in_two_files_of_a_program) {
    const auto before = value_in_another_file();
    counter_of_another_file().add(6);
    in_a_thread([] { counter_of_another_file().add(7); });
    EXPECT_EQ(value_in_another_file() - before, 13U);
}

TEST(gauge, knows_where_it_is_and_how_far_it_has_been) {
    gauge g(10);
    EXPECT_EQ(g.value(), 10);
    EXPECT_EQ(g.high_water(), 10);
    EXPECT_EQ(g.low_water(), 10);
    EXPECT_EQ(g.add(5), 15);
    EXPECT_EQ(g.sub(7), 8);
    EXPECT_EQ(g.add(), 9);
    EXPECT_EQ(g.sub(), 8);
    g.set(-4);
    g.set(3);
    EXPECT_EQ(g.value(), 3);
    EXPECT_EQ(g.high_water(), 15);
    EXPECT_EQ(g.low_water(), -4);
    EXPECT_EQ(g.add(-10), -7);
    EXPECT_EQ(g.low_water(), -7);
    EXPECT_EQ(g.sub(-30), 23);
    EXPECT_EQ(g.high_water(), 23);
    g.set(std::numeric_limits<std::int64_t>::max());
    EXPECT_EQ(g.high_water(), std::numeric_limits<std::int64_t>::max());
    g.set(std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(g.low_water(), std::numeric_limits<std::int64_t>::min());
}

TEST(gauge, counts_guards_whatever_thread_they_end_in) {
    gauge g;
    {
        auto one = g.guard();
        const auto two = g.guard();
        EXPECT_EQ(g.value(), 2);
        in_a_thread([moved = std::move(one), &g] { EXPECT_EQ(g.value(), 2); });
        EXPECT_EQ(g.value(), 1) << "the thread's end was its end";
    }
    EXPECT_EQ(g.value(), 0);
    EXPECT_EQ(g.high_water(), 2);
    EXPECT_EQ(g.low_water(), 0);
}

TEST(histogram, tells_how_durations_spread) {
    histogram<> h;
    for (int i = 1; i <= 1000; ++i) {
        h.record(std::chrono::microseconds{i});
    }
    const auto s = h.snapshot();
    EXPECT_EQ(s.count(), 1000U);
    EXPECT_EQ(s.min(), 1us);
    EXPECT_EQ(s.max(), 1ms);
    EXPECT_DOUBLE_EQ(s.sum().count(), 500'500'000.0);
    EXPECT_DOUBLE_EQ(s.mean().count(), 500'500.0);
    EXPECT_NEAR(s.stddev().count(), 288'675.0, 288'675.0 / 64);
    EXPECT_NEAR(static_cast<double>(s.quantile(0.5).count()), 500e3, 500e3 / 64);
    EXPECT_NEAR(static_cast<double>(s.quantile(0.99).count()), 990e3, 990e3 / 64);
    EXPECT_EQ(s.quantile(1), 1ms);
    EXPECT_NEAR(static_cast<double>(s.quantile(0).count()), 1000, 1000.0 / 64);
    EXPECT_NEAR(static_cast<double>(s.cumulative(250us)), 250, 250.0 / 64);
    EXPECT_EQ(s.below() + s.above() + s.lost(), 0U);
}

TEST(histogram, that_is_empty_answers_zero) {
    const numbers h;
    const auto s = h.snapshot();
    EXPECT_TRUE(s.empty());
    EXPECT_EQ(s.count(), 0U);
    EXPECT_EQ(s.sum(), 0.0);
    EXPECT_EQ(s.mean(), 0.0);
    EXPECT_EQ(s.stddev(), 0.0);
    EXPECT_EQ(s.min(), 0);
    EXPECT_EQ(s.max(), 0);
    for (const double q : {0.0, 0.5, 1.0}) {
        EXPECT_EQ(s.quantile(q), 0);
    }
    EXPECT_EQ(s.cumulative(std::numeric_limits<std::int64_t>::max()), 0U);
    s.for_each([](std::int64_t, std::int64_t, std::uint64_t) { ADD_FAILURE() << "no bucket has anything"; });
}

TEST(histogram, counts_what_is_out_of_range) {
    numbers h({.lowest = 1, .highest = 1000});
    h.record(-5);
    h.record(std::numeric_limits<std::int64_t>::min(), 2);
    h.record(0);
    h.record(1000);
    h.record(1001);
    h.record(1'000'000, 3);
    const auto s = h.snapshot();
    EXPECT_EQ(s.count(), 9U);
    EXPECT_FALSE(s.empty());
    EXPECT_EQ(s.below(), 3U);
    EXPECT_EQ(s.above(), 4U);
    EXPECT_EQ(s.lost(), 0U);
    EXPECT_EQ(s.min(), 0) << "what is below zero counts as zero";
    EXPECT_EQ(s.max(), 1'000'000) << "exact, also out of range";
    EXPECT_EQ(s.sum(), 1000 + 1001 + 3e6);
    EXPECT_EQ(s.quantile(0.9), 1'000'000) << "above the range it is max()";
    EXPECT_NEAR(static_cast<double>(s.quantile(0.5)), 1000, 1000.0 / 64);
    EXPECT_EQ(s.cumulative(-1), 0U);
    EXPECT_EQ(s.cumulative(0), 4U);
    EXPECT_EQ(s.cumulative(std::numeric_limits<std::int64_t>::max()), 9U);
}

TEST(histogram, counts_a_value_n_times_and_none_for_zero) {
    numbers h;
    h.record(77, 0);
    EXPECT_TRUE(h.snapshot().empty());
    h.record(5, 3);
    h.record(1'000, 0);
    h.record(-1, 0);
    const auto s = h.snapshot();
    EXPECT_EQ(s.count(), 3U);
    EXPECT_EQ(s.sum(), 15.0);
    EXPECT_EQ(s.min(), 5);
    EXPECT_EQ(s.max(), 5);
    EXPECT_EQ(s.below(), 0U);
}

TEST(histogram, adds_up_beyond_64_bits) {
    histogram<std::uint64_t> h({.lowest = 1, .highest = most});
    h.record(most, most / 2);
    in_a_thread([&] { h.record(most, 1000); });
    h.record(1);
    h.record(most);
    const auto s = h.snapshot();
    EXPECT_EQ(s.count(), most / 2 + 1002);
    const auto exact = std::ldexp(1.0, 64) * (std::ldexp(1.0, 63) + 1000);
    EXPECT_NEAR(s.sum() / exact, 1.0, 1e-15);
    EXPECT_NEAR(s.mean() / std::ldexp(1.0, 64), 1.0, 1e-15);
    EXPECT_EQ(s.max(), most);
    EXPECT_EQ(s.min(), 1U);
    EXPECT_EQ(s.above(), 0U);
}

TEST(histogram, takes_what_every_kind_of_thread_records) {
    histogram<int> h;
    const auto writers = in_threads_of_every_kind([&] {
        h.record(3);
        h.record(100'000);
    });
    const auto s = h.snapshot();
    EXPECT_EQ(s.count(), 2 * writers);
    EXPECT_EQ(s.sum(), static_cast<double>(writers) * 100'003);
    EXPECT_EQ(s.cumulative(50), writers);
    EXPECT_EQ(s.lost(), 0U);
}

TEST(histogram, that_is_new_is_empty_whatever_its_words_held_before) {
    for (int round = 0; round < 50; ++round) {
        histogram<int> h;
        ASSERT_TRUE(h.snapshot().empty());
        in_a_thread([&] { h.record(5); });
        h.record(6);
        ASSERT_EQ(h.snapshot().count(), 2U);
    }
}

TEST(histogram, refuses_options_by_name) {
    using options = weir::histogram_options<nanoseconds>;
    const auto said = [](options o) { return refusal([&] { histogram<> h(o); }); };
    EXPECT_NE(said({.lowest = 0ns}).find("weir::histogram: lowest"), std::string::npos);
    EXPECT_NE(said({.lowest = -1ns}).find("weir::histogram: lowest"), std::string::npos);
    EXPECT_NE(said({.lowest = 5ns, .highest = 4ns}).find("weir::histogram: highest"), std::string::npos);
    EXPECT_NE(said({.highest = -5ns}).find("weir::histogram: highest"), std::string::npos);
    EXPECT_EQ(said({.lowest = 5ns, .highest = 5ns}), "");
    EXPECT_EQ(said({.lowest = nanoseconds::max(), .highest = nanoseconds::max()}), "");
    EXPECT_EQ(said({.highest = nanoseconds::max()}), "");
    EXPECT_NE(refusal([] { windowed<histogram<>> w({}, {.lowest = 0ns}); }).find("weir::histogram: lowest"), std::string::npos);
}

TEST(histogram_snapshot, refuses_questions_that_make_no_sense) {
    histogram<int> h;
    h.record(1);
    auto s = h.snapshot();
    for (const double q : {-0.1, 1.1, std::nan(""), -std::numeric_limits<double>::infinity()}) {
        EXPECT_NE(refusal([&] { (void)s.quantile(q); }).find("quantile"), std::string::npos) << q;
    }
    const std::array<int, 3> unsorted{1, 3, 2};
    EXPECT_NE(refusal([&] { (void)s.cumulative(unsorted); }).find("ascend"), std::string::npos);
}

TEST(histogram_snapshot, counts_up_to_bounds_in_one_pass_as_one_by_one) {
    histogram<int> h({.lowest = 1, .highest = 10'000});
    for (int i = -3; i < 20'000; i += 7) {
        h.record(i);
    }
    const auto s = h.snapshot();
    const std::vector<int> bounds{-10, -1, 0, 0, 1, 5, 63, 64, 65, 1000, 9'999, 10'000, 10'001, 19'999, 20'000, 2'000'000'000};
    const auto all = s.cumulative(bounds);
    ASSERT_EQ(all.size(), bounds.size());
    for (std::size_t i = 0; i < bounds.size(); ++i) {
        EXPECT_EQ(all[i], s.cumulative(bounds[i])) << bounds[i];
    }
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
    EXPECT_EQ(all.back(), s.count());
    EXPECT_EQ(all[0], 0U);
    EXPECT_TRUE(s.cumulative(std::span<int const>{}).empty());
}

TEST(histogram_snapshot, shows_its_buckets_in_ascending_order) {
    histogram<std::uint8_t> h;
    for (unsigned v = 0; v <= 255; ++v) {
        h.record(static_cast<std::uint8_t>(v), v + 1);
    }
    std::uint64_t count = 0;
    unsigned next = 0;
    h.snapshot().for_each([&](std::uint8_t first, std::uint8_t last, std::uint64_t n) {
        EXPECT_EQ(first, next) << "no gap";
        EXPECT_LE(first, last);
        std::uint64_t exact = 0;
        for (; next <= last; ++next) {
            exact += next + 1;
        }
        EXPECT_EQ(n, exact);
        count += n;
    });
    EXPECT_EQ(next, 256U);
    EXPECT_EQ(count, h.snapshot().count());
}

TEST(histogram_snapshot, merges_and_subtracts_only_what_belongs_together) {
    histogram<int> h;
    histogram<int> wider({.lowest = 1, .highest = 2'000'000'000});
    h.record(3);
    auto const first = h.snapshot();
    h.record(5, 4);
    auto s = h.snapshot();
    EXPECT_NE(refusal([&] { s.merge(wider.snapshot()); }).find("same range"), std::string::npos);
    EXPECT_NE(refusal([&] { s.subtract(wider.snapshot()); }).find("same range"), std::string::npos);
    auto early = first;
    EXPECT_NE(refusal([&] { early.subtract(s); }).find("earlier"), std::string::npos);
    EXPECT_EQ(early.count(), 1U) << "nothing is changed";
    EXPECT_EQ(early.sum(), 3.0);
    EXPECT_EQ(early.max(), 3);
    s.subtract(first);
    EXPECT_EQ(s.count(), 4U);
    EXPECT_EQ(s.sum(), 20.0);
    EXPECT_EQ(s.mean(), 5.0);
    EXPECT_EQ(s.min(), 5);
    EXPECT_EQ(s.max(), 5);
    s.merge(first);
    EXPECT_EQ(s.count(), 5U);
    EXPECT_EQ(s.sum(), 23.0);
    EXPECT_EQ(s.min(), 3);
    s.subtract(s);
    EXPECT_TRUE(s.empty());
    EXPECT_EQ(s.min(), 0);
    EXPECT_EQ(s.max(), 0);
    EXPECT_EQ(s.quantile(1), 0);
}

TEST(histogram, corrects_for_a_loop_that_waited) {
    histogram<> h;
    h.record_corrected(100ms, 10ms);
    const auto s = h.snapshot();
    EXPECT_EQ(s.count(), 10U);  // 100, 90, ..., 10
    EXPECT_DOUBLE_EQ(s.sum().count(), 550e6);
    EXPECT_EQ(s.min(), 10ms);
    EXPECT_EQ(s.max(), 100ms);
    for (const nanoseconds interval : {nanoseconds{0}, nanoseconds{-1}, nanoseconds::min(), nanoseconds::max(), nanoseconds{100ms}}) {
        histogram<> alone;
        alone.record_corrected(100ms, interval);
        EXPECT_EQ(alone.snapshot().count(), 1U) << interval.count();
        EXPECT_EQ(alone.snapshot().max(), 100ms);
    }
    histogram<> below;
    below.record_corrected(-100ms, 10ms);
    EXPECT_EQ(below.snapshot().count(), 1U);
    EXPECT_EQ(below.snapshot().below(), 1U);
}

TEST(windowed, refuses_options_by_name) {
    const auto said = [](weir::window_options o) {
        const auto of_counter = refusal([&] { windowed<counter> w(o); });
        EXPECT_EQ(of_counter, refusal([&] { windowed<histogram<>> w(o); }));
        return of_counter;
    };
    EXPECT_NE(said({.window = 0ns}).find("weir::windowed: window"), std::string::npos);
    EXPECT_NE(said({.window = -1min}).find("weir::windowed: window"), std::string::npos);
    EXPECT_NE(said({.window = 5ns, .slices = 6}).find("weir::windowed: window"), std::string::npos);
    EXPECT_NE(said({.slices = 0}).find("weir::windowed: slices"), std::string::npos);
    EXPECT_NE(said({.slices = 3601}).find("weir::windowed: slices"), std::string::npos);
    EXPECT_NE(said({.slices = std::numeric_limits<std::size_t>::max()}).find("weir::windowed: slices"), std::string::npos);
    EXPECT_EQ(said({.window = 6ns, .slices = 6}), "");
    EXPECT_EQ(said({.window = nanoseconds::max(), .slices = 1}), "");
    EXPECT_EQ(said({.slices = 3600}), "");
}

TEST(windowed, forgets_what_is_older_than_the_window_and_nothing_younger) {
    manual_clock clock;
    windowed<counter, manual_clock> c({.window = 60s, .slices = 6}, clock);
    windowed<histogram<int>, manual_clock> h({.window = 60s, .slices = 6}, {}, clock);
    c.add(5);
    h.record(5);
    clock.advance(55s);
    c.add(2);
    h.record(2);
    EXPECT_EQ(c.value(), 7U);
    EXPECT_EQ(h.snapshot().sum(), 7.0);
    clock.advance(5s - 1ns);
    EXPECT_EQ(c.value(), 7U);
    clock.advance(1ns);  // 60 s
    EXPECT_EQ(c.value(), 2U);
    EXPECT_EQ(h.snapshot().count(), 1U);
    EXPECT_EQ(h.snapshot().max(), 2) << "the old values' marks are forgotten too";
    clock.advance(50s - 1ns);
    EXPECT_EQ(c.value(), 2U);
    clock.advance(1ns);
    EXPECT_EQ(c.value(), 0U);
    EXPECT_TRUE(h.snapshot().empty());
    EXPECT_EQ(c.lost() + h.snapshot().lost(), 0U);
}

TEST(windowed, takes_what_every_kind_of_thread_records) {
    manual_clock clock;
    windowed<counter, manual_clock> c({}, clock);
    windowed<histogram<int>, manual_clock> h({}, {}, clock);
    std::uint64_t writers = 0;
    for (int round = 0; round < 3; ++round) {
        writers = in_threads_of_every_kind([&] {
            c.add(3);
            h.record(3);
        });
        EXPECT_EQ(c.value(), 3 * writers);
        EXPECT_EQ(h.snapshot().count(), writers);
        clock.advance(1min);
        EXPECT_EQ(c.value(), 0U);
        EXPECT_TRUE(h.snapshot().empty());
    }
}

TEST(meter, shows_a_steady_rate_from_the_start_on) {
    manual_clock clock;
    meter m(clock);
    EXPECT_EQ(m.read().count, 0U);
    EXPECT_EQ(m.read().one_minute, 0.0);
    std::uint64_t marked = 0;
    for (int second = 1; second <= 1800; ++second) {
        m.mark(60);
        clock.advance(500ms);
        m.mark(40);
        clock.advance(500ms);
        marked += 100;
        const auto r = m.read();
        ASSERT_EQ(r.count, marked);
        ASSERT_NEAR(r.mean, 100, 1e-9);
        ASSERT_NEAR(r.one_minute, 100, 1) << second;
        ASSERT_NEAR(r.five_minutes, 100, 1) << second;
        ASSERT_NEAR(r.fifteen_minutes, 100, 1) << second;
    }
    EXPECT_EQ(m.read().lost, 0U);
}

TEST(meter, that_is_idle_fades) {
    manual_clock clock;
    meter m(clock);
    for (int second = 0; second < 3600; ++second) {
        m.mark(10);
        clock.advance(1s);
    }
    const auto before = m.read();
    for (const int minutes : {1, 5, 15, 60}) {
        clock.set(manual_clock::time_point{std::chrono::hours{1001} + std::chrono::minutes{minutes}});
        const auto r = m.read();
        EXPECT_EQ(r.count, 36'000U);
        EXPECT_NEAR(r.one_minute / before.one_minute, std::exp(-minutes / 1.0), 0.01 * std::exp(-minutes / 1.0));
        EXPECT_NEAR(r.five_minutes / before.five_minutes, std::exp(-minutes / 5.0), 0.02 * std::exp(-minutes / 5.0));
        EXPECT_NEAR(r.fifteen_minutes / before.fifteen_minutes, std::exp(-minutes / 15.0), 0.02 * std::exp(-minutes / 15.0));
    }
}

TEST(meter, takes_what_every_kind_of_thread_marks) {
    manual_clock clock;
    meter m(clock);
    const auto writers = in_threads_of_every_kind([&] { m.mark(7); });
    EXPECT_EQ(m.read().count, 7 * writers);
    EXPECT_EQ(m.read().lost, 0U);
}

TEST(request_stats, tells_requests_errors_bytes_and_how_long_they_took) {
    manual_clock clock;
    requests r(clock);
    r.record(10ms, 100);
    r.record(20ms, 300, request_outcome::error);
    r.record(30ms);
    clock.advance(2s);
    const auto s = r.snapshot();
    EXPECT_EQ(s.requests, 3U);
    EXPECT_EQ(s.errors, 1U);
    EXPECT_EQ(s.bytes, 400.0);
    EXPECT_DOUBLE_EQ(s.duration.count(), 0.060);
    EXPECT_DOUBLE_EQ(s.mean().count(), 0.020);
    EXPECT_DOUBLE_EQ(s.error_rate(), 1.0 / 3);
    EXPECT_DOUBLE_EQ(s.throughput(), 1.5);
    EXPECT_DOUBLE_EQ(s.bytes_per_second(), 200);
    EXPECT_EQ(s.age, 2s);
    EXPECT_EQ(s.in_flight, 0U);
    EXPECT_EQ(s.lost, 0U);
    EXPECT_EQ(s.success.count(), 2U);
    EXPECT_EQ(s.success.max(), 30ms);
    EXPECT_EQ(s.error.count(), 1U);
    EXPECT_EQ(s.error.min(), 20ms);
    EXPECT_NEAR(static_cast<double>(s.quantile(0.5).count()), 20e6, 20e6 / 32);
    EXPECT_EQ(s.quantile(1), 30ms);
    EXPECT_NE(refusal([&] { (void)s.quantile(2); }).find("quantile"), std::string::npos);
}

TEST(request_stats, that_is_new_answers_zero) {
    const weir::request_stats<> r;
    const auto s = r.snapshot();
    EXPECT_EQ(s.mean().count(), 0.0);
    EXPECT_EQ(s.error_rate(), 0.0);
    EXPECT_EQ(s.throughput(), 0.0);
    EXPECT_EQ(s.bytes_per_second(), 0.0);
    EXPECT_EQ(s.quantile(0.5), 0ns);
    const weir::request_snapshot<32> nothing{.success = s.success, .error = s.error};
    EXPECT_EQ(nothing.throughput(), 0.0);
}

TEST(request_stats, takes_durations_and_bytes_of_any_size) {
    manual_clock clock;
    requests r(clock);
    r.record(-5ns, most);
    r.record(nanoseconds::min(), most);
    r.record(nanoseconds::max(), most, request_outcome::error);
    r.record(nanoseconds::max(), 1);
    r.record(nanoseconds::max(), 2, request_outcome::error);
    const auto s = r.snapshot();
    EXPECT_EQ(s.requests, 5U);
    EXPECT_EQ(s.errors, 2U);
    EXPECT_EQ(s.bytes, 3 * std::ldexp(1.0, 64));
    EXPECT_DOUBLE_EQ(s.duration.count(), 3 * std::ldexp(1.0, 63) * 1e-9) << "below zero counts as zero";
    EXPECT_EQ(s.success.below(), 2U);
    EXPECT_EQ(s.success.above(), 1U);
    EXPECT_EQ(s.error.above(), 2U);
    EXPECT_EQ(s.quantile(0.99), nanoseconds::max());
}

TEST(request_stats, takes_what_every_kind_of_thread_records) {
    requests r;
    const auto writers = in_threads_of_every_kind([&] {
        const auto guard = r.in_flight();
        r.record(1ms, 10);
        r.record(2ms, 20, request_outcome::error);
    });
    const auto s = r.snapshot();
    EXPECT_EQ(s.requests, 2 * writers);
    EXPECT_EQ(s.errors, writers);
    EXPECT_EQ(s.bytes, 30.0 * static_cast<double>(writers));
    EXPECT_EQ(s.success.count(), writers);
    EXPECT_EQ(s.in_flight, 0U);
}

TEST(request_stats, counts_guards_whatever_thread_they_end_in) {
    requests r;
    EXPECT_EQ(r.snapshot().in_flight, 0U);
    {
        auto one = r.in_flight();
        const auto two = r.in_flight();
        EXPECT_EQ(r.snapshot().in_flight, 2U);
        in_a_thread([moved = std::move(one), &r] { EXPECT_EQ(r.snapshot().in_flight, 2U); });
        EXPECT_EQ(r.snapshot().in_flight, 1U);
        in_a_thread_without_a_lane([&] {
            const auto three = r.in_flight();
            EXPECT_EQ(r.snapshot().in_flight, 2U);
        });
    }
    EXPECT_EQ(r.snapshot().in_flight, 0U);
    EXPECT_EQ(r.snapshot().requests, 0U);
}

TEST(request_snapshot, less_an_earlier_one_is_what_happened_between) {
    manual_clock clock;
    requests r(clock);
    r.record(10ms, 100, request_outcome::error);
    clock.advance(10s);
    const auto earlier = r.snapshot();
    r.record(30ms, 50);
    const auto guard = r.in_flight();
    clock.advance(5s);
    auto s = r.snapshot();
    auto wrong = earlier;
    EXPECT_NE(refusal([&] { wrong.subtract(s); }).find("earlier"), std::string::npos);
    EXPECT_EQ(wrong.requests, 1U) << "nothing is changed";
    EXPECT_EQ(wrong.age, 10s);
    s.subtract(earlier);
    EXPECT_EQ(s.requests, 1U);
    EXPECT_EQ(s.errors, 0U);
    EXPECT_EQ(s.bytes, 50.0);
    EXPECT_NEAR(s.mean().count(), 0.030, 1e-12);
    EXPECT_EQ(s.age, 5s);
    EXPECT_EQ(s.in_flight, 1U);
    EXPECT_EQ(s.error.count(), 0U);
    EXPECT_NEAR(static_cast<double>(s.quantile(0.5).count()), 30e6, 30e6 / 32);
}

TEST(stopwatch, records_the_time_to_its_end) {
    manual_clock clock;
    histogram<> h;
    windowed<histogram<>, manual_clock> w({}, {}, clock);
    {
        const stopwatch in_histogram(h, clock);
        const stopwatch in_window(w, clock);
        clock.advance(3ms);
        EXPECT_EQ(in_histogram.elapsed(), 3ms);
        EXPECT_TRUE(h.snapshot().empty());
    }
    EXPECT_EQ(h.snapshot().count(), 1U);
    EXPECT_EQ(h.snapshot().max(), 3ms);
    EXPECT_EQ(w.snapshot().max(), 3ms);
}

TEST(stopwatch, records_once_or_never) {
    manual_clock clock;
    histogram<> h;
    {
        stopwatch watch(h, clock);
        clock.advance(1ms);
        watch.stop();
        clock.advance(1ms);
        watch.stop();
        watch.cancel();
    }
    EXPECT_EQ(h.snapshot().count(), 1U);
    EXPECT_EQ(h.snapshot().max(), 1ms);
    {
        stopwatch watch(h, clock);
        watch.cancel();
        watch.stop();
    }
    EXPECT_EQ(h.snapshot().count(), 1U);
}

TEST(stopwatch, of_a_request_knows_its_bytes_and_whether_it_failed) {
    manual_clock clock;
    requests r(clock);
    {
        stopwatch watch(r, clock);
        clock.advance(1ms);
        watch.bytes(70);
    }
    {
        stopwatch watch(r, clock);
        watch.failed();
    }
    EXPECT_THROW(
        {
            stopwatch watch(r, clock);
            clock.advance(5ms);
            throw std::runtime_error("no");
        },
        std::runtime_error);
    const auto s = r.snapshot();
    EXPECT_EQ(s.requests, 3U);
    EXPECT_EQ(s.errors, 2U);
    EXPECT_EQ(s.bytes, 70.0);
    EXPECT_EQ(s.error.max(), 5ms);
    EXPECT_EQ(s.success.max(), 1ms);
}

TEST(stopwatch, takes_no_exception_but_its_own_scopes_for_a_failure) {
    requests r;
    struct works_while_unwinding {
        requests& r;
        ~works_while_unwinding() { const stopwatch watch(r); }
    };
    EXPECT_THROW(
        {
            const works_while_unwinding inner{r};
            throw std::runtime_error("no");
        },
        std::runtime_error);
    EXPECT_EQ(r.snapshot().requests, 1U);
    EXPECT_EQ(r.snapshot().errors, 0U);
}

TEST(stats, are_values_of_a_map_that_are_changed_where_they_stand) {
    weir::lock_free_map<std::string, counter> hits;
    weir::lock_free_map<int, requests> calls;
    run_together(3, [&](std::size_t me) {
        for (int i = 0; i < 100; ++i) {
            for (auto const* const key : {"a", "b"}) {
                hits.try_emplace(key);
                EXPECT_TRUE(hits.visit(key, [](counter& c) { c.add(); }));
            }
            calls.try_emplace(i % 2);
            EXPECT_TRUE(calls.visit(i % 2, [&](requests& r) { r.record(1ms, me); }));
        }
    });
    EXPECT_TRUE(hits.visit("b", [](counter& c) { EXPECT_EQ(c.value(), 300U); }));
    EXPECT_TRUE(calls.visit(1, [](requests& r) { EXPECT_EQ(r.snapshot().bytes, 150.0); }));
    EXPECT_TRUE(hits.erase("a"));
}

#if __has_include(<sys/wait.h>)
TEST(stats, in_a_forked_child_go_on_from_what_the_parent_had) {
    counter c;
    histogram<int> h;
    requests r;
    in_a_thread([&] { c.add(5); });
    c.add(1);
    h.record(7);
    const auto guard = r.in_flight();
    const auto child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        c.add(10);
        h.record(9);
        r.record(1ms);
        const auto s = h.snapshot();
        const auto q = r.snapshot();
        _exit(c.value() != 16   ? 1
              : c.take() != 16  ? 2
              : s.count() != 2  ? 3
              : s.sum() != 16.0 ? 4
              : q.requests != 1 || q.in_flight != 1 ? 5
                                                    : 0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_EQ(c.value(), 6U) << "the child's are its own";
    EXPECT_EQ(h.snapshot().count(), 1U);
}
#endif

namespace {

// The main thread's lane is gone when statics are destroyed.
struct writes_and_reads_last {
    counter c;
    histogram<> h;
    writes_and_reads_last() {
        c.add(3);
        h.record(3ns);
    }
    ~writes_and_reads_last() {
        c.add(4);
        h.record(4ns);
        counter fresh;
        fresh.add(5);
        if (c.value() != 7 || c.take() != 7 || h.snapshot().count() != 2 || fresh.value() != 5) {
            std::fprintf(stderr, "stats: something was lost in the destructor of a static\n");
            std::_Exit(1);
        }
    }
    writes_and_reads_last(writes_and_reads_last const&) = delete;
    writes_and_reads_last& operator=(writes_and_reads_last const&) = delete;
} last;

}  // namespace
