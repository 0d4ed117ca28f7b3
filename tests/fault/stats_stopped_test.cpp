// weir (BSL-1.0). stats_stopped_test: threads stopped for good in the middle of writing to a statistic.
#include <weir/data/stats.hpp>

#include "support/no_lanes.hpp"
#include "support/stopped_thread.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

using namespace std::chrono_literals;
using namespace weir_test;
using weir::counter;
using weir::gauge;
using weir::windowed;
using requests = weir::request_stats<4>;
using small = weir::histogram<int, 4>;

namespace {

/// Stops a thread before each instruction of `call`, or before one in `stride`, and has `others` look meanwhile; returns how often
/// it was called.
template <class Call, class Others, class Prepare>
std::size_t at_each_step(Call call, Others others, Prepare prepare, std::size_t stride = 1) {
    std::size_t calls = 1;
    while (stop_at_step(1 + (calls - 1) * stride, call, others, prepare) && calls < 5000) {
        ++calls;
    }
    return calls;
}

}  // namespace

// Others read and write on, whatever the stopped thread was about to do, and never see half of it.
TEST(stats_stopped, a_writer_may_be_stopped_anywhere) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    counter c;
    requests r;
    windowed<small> w({.window = std::chrono::hours{100}, .slices = 2});
    std::atomic<std::uint64_t> taken{0};
    std::uint64_t calls = 0;
    const auto look = [&] {
        taken += c.take();
        EXPECT_EQ(c.value() % 5, 0U);
        const auto s = r.snapshot();
        EXPECT_DOUBLE_EQ(s.bytes, 2e9 * s.duration.count());
        EXPECT_LE(s.errors, s.requests);
        EXPECT_GE(s.success.count(), s.requests - s.errors);
        EXPECT_GE(s.error.count(), s.errors);
        EXPECT_LE(s.in_flight, 1U);
        EXPECT_EQ(w.snapshot().max(), 3);
    };
    const auto sweep = [&](auto write) {
        const auto steps = at_each_step(write, look, [&] {
            c.add(5);  // once before, for what a thread does once
            { const auto guard = r.in_flight(); }
            w.record(3);
            r.record(5ns, 10);
            r.record(7ns, 14, weir::request_outcome::error);
            calls += 1;
        });
        EXPECT_GT(steps, 10U);
        EXPECT_LT(steps, 5000U) << "recording is not wait-free";
        return steps;
    };
    const auto adds = sweep([&] { c.add(5); });
    sweep([&] { const auto guard = r.in_flight(); });
    const auto good = sweep([&] { r.record(5ns, 10); });
    const auto bad = sweep([&] { r.record(7ns, 14, weir::request_outcome::error); });
    const auto records = sweep([&] { w.record(3); });
    taken += c.take();
    EXPECT_EQ(taken, c.value());
    EXPECT_EQ(c.value(), 5 * (calls + adds));
    EXPECT_EQ(r.snapshot().requests, 2 * calls + good + bad);
    EXPECT_EQ(r.snapshot().errors, calls + bad);
    EXPECT_EQ(r.snapshot().in_flight, 0U);
    EXPECT_EQ(w.snapshot().count(), calls + records);
}

TEST(stats_stopped, a_taker_may_be_stopped_anywhere) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    counter c;
    std::atomic<std::uint64_t> taken{0};
    std::uint64_t added = 0;
    const auto steps = at_each_step([&] { taken += c.take(); },
                                    [&] {
                                        c.add(3);
                                        added += 3;
                                        taken += c.take();
                                        EXPECT_LE(taken, added);
                                    },
                                    [&] {
                                        c.add(2);
                                        added += 2;
                                    });
    EXPECT_GT(steps, 10U);
    taken += c.take();
    EXPECT_EQ(taken, added);
    EXPECT_EQ(c.value(), added);
}

// Those without a lane share blocks: two of them must never be in one.
TEST(stats_stopped, writers_without_a_lane_may_be_stopped_anywhere) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    requests r;
    std::uint64_t calls = 0;
    const auto give_up_lane = [] {
        const all_slots_taken here;
        static_cast<void>(weir::detail::this_thread_slot());
    };
    const auto write = [&] { r.record(5ns, 10); };
    const auto steps = at_each_step(write,
                                    [&] {
                                        give_up_lane();
                                        for (int i = 0; i < 3; ++i) {
                                            write();
                                        }
                                        calls += 3;
                                    },
                                    [&] {
                                        give_up_lane();
                                        write();
                                        calls += 1;
                                    });
    EXPECT_EQ(r.snapshot().requests, calls + steps);
    EXPECT_EQ(r.snapshot().success.count(), calls + steps);
    EXPECT_EQ(r.snapshot().bytes, 10.0 * static_cast<double>(calls + steps));
}

TEST(stats_stopped, a_reader_may_be_stopped_anywhere_and_still_sees_one_moment) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    // All events are of one second, so that each rate is a fixed part of their number.
    const weir::manual_clock clock;
    weir::meter m(clock);
    m.mark(1);
    const auto part = m.read().one_minute;
    const auto steps = at_each_step(
        [&] {
            const auto seen = m.read();
            EXPECT_NEAR(seen.one_minute, part * static_cast<double>(seen.count), 1e-6);
        },
        [&] {
            m.mark(10);
            m.mark(100);
            m.mark(1000);
        },
        [] {}, 7);
    EXPECT_GT(steps, 20U);
}

TEST(stats_stopped, a_reader_of_a_window_that_is_stopped_takes_no_new_slice_for_an_old_one) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    const weir::manual_clock clock;
    windowed<counter, weir::manual_clock> w({.window = 2s, .slices = 2}, clock);
    // Before: at most 2 in the window. Meanwhile a round of the ring passes, and there are 1000 in each slice. Nobody adds in the
    // thread that reads: who adds has the same slot each time.
    const auto steps = at_each_step(
        [&] {
            const auto seen = w.value();
            EXPECT_TRUE(seen <= 2 || seen == 2000) << seen;
        },
        [&] {
            for (int i = 0; i < 3; ++i) {
                clock.advance(1s);
                w.add(1000);
            }
        },
        [&] {
            clock.advance(2s);
            std::thread([&] {
                w.add(1);
                clock.advance(1s);
                w.add(1);
            }).join();
        });
    EXPECT_GT(steps, 20U);
}

TEST(stats_stopped, the_marks_of_a_gauge_are_beyond_what_was_seen_wherever_a_writer_is_stopped) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    // Another thread sees what a stopped one has changed but not marked yet, and a third takes it back.
    std::unique_ptr<gauge> g;
    for (const std::int64_t n : {5, -5}) {
        const auto steps = at_each_step([&] { g->add(n); },
                                        [&] {
                                            const auto seen = g->value();
                                            g->sub(seen);
                                            EXPECT_GE(g->high_water(), seen);
                                            EXPECT_LE(g->low_water(), seen);
                                            g->set(100 * n);
                                            EXPECT_EQ(g->high_water(), n > 0 ? 100 * n : 0);
                                            EXPECT_EQ(g->low_water(), n < 0 ? 100 * n : 0);
                                        },
                                        [&] { g = std::make_unique<gauge>(); });
        EXPECT_GT(steps, 5U);
    }
}
