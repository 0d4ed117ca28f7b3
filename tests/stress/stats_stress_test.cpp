// weir (BSL-1.0). stats_stress_test: many threads write while others read; whatever is read must make sense at that moment.
#include <weir/data/stats.hpp>

#include "support/no_lanes.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/scarce_new.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace std::chrono_literals;
using namespace weir_test;
using std::chrono::nanoseconds;
using weir::counter;
using weir::gauge;
using weir::histogram;
using weir::manual_clock;
using weir::meter;
using weir::detail::stat_lane_registry;
using weir::request_outcome;
using weir::windowed;

/// What goes on while a test reads: so many threads call work(i) for i in [0, calls). Some of them, from the last one down, have no
/// lane. reading() is true until they are done, at least once.
class storm {
public:
    template <class Work>
    storm(std::size_t threads, std::size_t without_lane, std::size_t calls, Work work) : running_(threads) {
        const auto body = [this, work, calls](std::size_t me) {
            static_cast<void>(begin_.wait());
            for (std::size_t i = 0; i < calls; ++i) {
                work(me, i);
                if (i % 128 == 127) {
                    std::this_thread::yield();  // or each would be done before the next one begins
                }
            }
            running_.fetch_sub(1);
        };
        for (std::size_t me = 0; me + without_lane < threads; ++me) {
            all_.start([body, me] { body(me); });
        }
        if (without_lane > 0) {
            const all_slots_taken here;
            arrivals asked;
            for (std::size_t me = threads - without_lane; me < threads; ++me) {
                all_.start([body, me, &asked] {
                    static_cast<void>(weir::detail::this_thread_slot());
                    asked.arrive();
                    body(me);
                });
            }
            EXPECT_TRUE(asked.wait_for(without_lane));
        }
        begin_.open();
    }
    storm(storm const&) = delete;
    storm& operator=(storm const&) = delete;

    /// Whether the test is to look once more.
    [[nodiscard]] bool going_on() {
        const bool more = running_ > 0 || !looked_;
        looked_ = true;
        return more;
    }
    void join() { all_.join(); }

private:
    gate begin_;
    std::atomic<std::size_t> running_;
    bool looked_ = false;
    crew all_;
};

constexpr std::size_t writers = 6;
constexpr std::size_t lane_less = 2;  // of them

}  // namespace

TEST(stats_stress, a_counter_never_runs_ahead_of_its_writers_nor_backwards) {
    counter c;
    std::atomic<std::uint64_t> begun{0};
    const auto calls = scaled(60'000);
    storm s(writers, lane_less, calls, [&](std::size_t, std::size_t i) {
        const auto n = i % 3;
        begun.fetch_add(n);
        c.add(n);
    });
    std::uint64_t last = 0;
    while (s.going_on()) {
        const auto done = c.value();
        ASSERT_GE(done, last);
        ASSERT_LE(done, begun.fetch_add(0)) << "more than was begun";
        last = done;
    }
    s.join();
    EXPECT_EQ(c.value(), begun.load());
}

TEST(stats_stress, every_unit_is_taken_by_one_of_several_takers) {
    counter c;
    const auto calls = scaled(120'000);
    std::atomic<std::uint64_t> added{0};
    std::atomic<std::uint64_t> taken{0};
    // Two threads of eight only take; all others take now and then too.
    storm s(8, lane_less, calls, [&](std::size_t me, std::size_t i) {
        if (me < 2) {
            const auto got = c.take();
            taken.fetch_add(got);
            if (got > writers * calls) {
                ADD_FAILURE() << "more than was ever added";
            }
        } else {
            c.add(1 + i % 2);
            added.fetch_add(1 + i % 2, std::memory_order_relaxed);
            if (i % 64 == me) {
                taken.fetch_add(c.take());
            }
        }
    });
    while (s.going_on()) {
        taken.fetch_add(c.take());
    }
    s.join();
    taken.fetch_add(c.take());
    EXPECT_EQ(taken, added);
    EXPECT_EQ(c.value(), added);
    EXPECT_EQ(c.take(), 0U);
}

TEST(stats_stress, short_threads_lose_nothing_and_leave_no_memory_behind) {
    counter c;
    histogram<std::uint32_t, 4> h({.lowest = 1, .highest = 1000});
    weir::request_stats<4> r;
    meter<> m;
    windowed<counter> w({.window = std::chrono::hours{100}, .slices = 2});
    const auto record = [&](std::size_t i) {
        c.add(2);
        h.record(static_cast<std::uint32_t>(i % 1000));
        const auto guard = r.in_flight();
        r.record(nanoseconds{i % 1000}, 2 * (i % 1000));
        m.mark();
        w.add();
    };
    const auto some_at_once = [&](std::size_t from) {
        crew all;
        for (std::size_t i = from; i < from + 4; ++i) {
            all.start([&record, i] {
                if (i % 50 == 0) {
                    last_act::of_this_thread().what = [&record, i] { record(i); };
                } else {
                    record(i);
                }
            });
        }
        all.join();
    };
    const auto rounds = scaled(10'000) / 4;
    std::size_t alive = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
        some_at_once(4 * i);
        if (i == rounds / 10) {
            alive = scarce_new::alive();
        }
    }
    // Ten blocks a thread: whether the four did live at once is chance, as is how many were without a lane at once.
    EXPECT_LE(scarce_new::alive(), alive + 60) << "memory grows with the number of threads";
    const auto threads = 4 * rounds;
    EXPECT_EQ(c.value(), 2 * threads);
    EXPECT_EQ(c.take(), 2 * threads);
    EXPECT_EQ(h.snapshot().count(), threads);
    EXPECT_EQ(m.read().count, threads);
    EXPECT_EQ(w.value(), threads);
    const auto s = r.snapshot();
    EXPECT_EQ(s.requests, threads);
    EXPECT_EQ(s.success.count(), threads);
    EXPECT_EQ(s.in_flight, 0U);
    EXPECT_EQ(s.lost + h.snapshot().lost() + m.read().lost + w.lost(), 0U);
    EXPECT_DOUBLE_EQ(s.bytes, 2e9 * s.duration.count());
}

TEST(stats_stress, counters_come_and_go_in_any_order_in_several_threads) {
    // A hundred thousand alive, of which each thread replaces its own in a random order: new ones are zero, others keep their sum.
    const auto each = scaled(50'000);
    constexpr std::size_t threads = 2;
    struct counted {
        counter c;
        std::uint64_t sum = 0;
    };
    std::vector<std::unique_ptr<counted>> all(threads * each);
    findings wrong;
    for (int round = 0; round < 2; ++round) {
        run_together(threads, [&](std::size_t me) {
            random_numbers dice(run_seed() + me);
            std::vector<std::size_t> order(each);
            for (std::size_t i = 0; i < each; ++i) {
                order[i] = me * each + i;
                std::swap(order[i], order[dice.below(i + 1)]);
            }
            for (const auto i : order) {
                auto& one = all[i];
                if (one != nullptr && !dice.one_in(3)) {
                    wrong.expect(one->c.value() == one->sum, "an old one lost or gained something");
                    one.reset();
                }
                if (one == nullptr) {
                    one = std::make_unique<counted>();
                    wrong.expect(one->c.value() == 0, "a new one is not zero");
                    wrong.expect(one->c.take() == 0, "a new one has something to take");
                }
                const auto n = dice.below(1000);
                one->c.add(n);
                one->sum += n;
            }
        });
        // What one thread has made, another writes to in the next round.
        std::rotate(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(each), all.end());
    }
    for (auto const& one : all) {
        wrong.expect(one->c.value() == one->sum, "at the end, one lost or gained something");
    }
    EXPECT_TRUE(wrong.none()) << wrong;
}

namespace {

/// Segments of indices that there are.
std::size_t segments() {
    std::size_t n = 0;
    while (stat_lane_registry::instance.taken[n].load() != nullptr) {
        ++n;
    }
    return n;
}

}  // namespace

TEST(stats_stress, indices_that_are_given_back_are_used_again) {
    // The number of counters alive stays the same, so segments of lanes must not become more: 120 at once need two.
    constexpr std::size_t alive = 40;
    const auto before = std::max<std::size_t>(segments(), 2);
    const auto rounds = scaled(20'000);
    run_together(3, [&](std::size_t me) {
        random_numbers dice(run_seed() + me);
        std::vector<std::unique_ptr<counter>> mine(alive);
        for (std::size_t i = 0; i < rounds; ++i) {
            auto& one = mine[dice.below(alive)];
            one.reset();
            one = std::make_unique<counter>();
            one->add();
        }
    });
    EXPECT_EQ(std::max<std::size_t>(segments(), 2), before) << "indices get lost";
}

TEST(stats_stress, a_free_index_is_found_before_there_are_more_also_if_the_hint_is_too_high) {
    const counter one;
    const auto before = segments();
    stat_lane_registry::instance.first_free = weir::detail::stat_segment_begin(before);  // as a race of two might leave it
    const counter two;
    stat_lane_registry::instance.first_free = weir::detail::stat_segment_begin(before);
    const counter three;
    EXPECT_EQ(segments(), before);
}

TEST(stats_stress, a_gauge_at_rest_is_the_sum_of_its_changes_and_its_marks_are_beyond_what_was_seen) {
    gauge g;
    const auto calls = scaled(50'000);
    storm s(4, 0, calls, [&](std::size_t, std::size_t i) {
        const auto up = g.add(static_cast<std::int64_t>(1 + i % 7));
        if (g.high_water() < up) {
            ADD_FAILURE() << "the high water mark is below what add() returned";
        }
        const auto down = g.sub(static_cast<std::int64_t>(1 + i % 7));
        if (g.low_water() > down) {
            ADD_FAILURE() << "the low water mark is above what sub() returned";
        }
    });
    while (s.going_on()) {
        const auto seen = g.value();
        ASSERT_GE(g.high_water(), seen);
        ASSERT_LE(g.low_water(), seen);
    }
    s.join();
    EXPECT_EQ(g.value(), 0);
    EXPECT_LE(g.high_water(), 4 * 7);
    EXPECT_EQ(g.low_water(), 0);
}

TEST(stats_stress, every_snapshot_of_a_histogram_makes_sense_in_itself) {
    constexpr std::int64_t value = 1000;  // always the same: then the sum tells how many values it is of
    histogram<std::int64_t, 8> h({.lowest = 1, .highest = 1 << 20});
    histogram<std::int64_t, 8> any({.lowest = 1, .highest = 1 << 20});
    const auto calls = scaled(60'000);
    storm s(writers, lane_less, calls, [&](std::size_t me, std::size_t i) {
        h.record(value, 1 + i % 2);
        any.record(static_cast<std::int64_t>((i * 7919 + me) % (1 << 21)) - 1000);
    });
    auto before = any.snapshot();
    std::uint64_t last = 0;
    while (s.going_on()) {
        auto const seen = h.snapshot();
        ASSERT_GE(seen.count(), last);
        last = seen.count();
        if (!seen.empty()) {
            const auto in_sum = static_cast<std::uint64_t>(seen.sum()) / value;
            ASSERT_EQ(static_cast<double>(in_sum * value), seen.sum());
            ASSERT_GE(seen.count(), in_sum) << "buckets may be ahead of the sum, never behind";
            ASSERT_EQ(seen.min(), value);
            ASSERT_EQ(seen.max(), value);
            ASSERT_TRUE(in_sum == 0 || seen.mean() == value);
            ASSERT_EQ(seen.quantile(0.5), value);
        }
        auto const whole = any.snapshot();
        std::uint64_t sum = 0;
        std::int64_t lowest = whole.min();
        whole.for_each([&](std::int64_t first, std::int64_t end, std::uint64_t n) {
            sum += n;
            ASSERT_LE(lowest, end) << "the smallest value is above one that was counted";
            ASSERT_GE(whole.max(), first) << "the largest value is below one that was counted";
        });
        ASSERT_EQ(sum, whole.count());
        ASSERT_LE(whole.below() + whole.above(), whole.count());
        auto between = whole;
        ASSERT_NO_THROW(between.subtract(before)) << "what was read later is not all that was read before, and more";
        ASSERT_EQ(between.count(), whole.count() - before.count());
        before = whole;
    }
    s.join();
    const auto total = writers * (calls + calls / 2);
    EXPECT_EQ(h.snapshot().count(), total);
    EXPECT_EQ(h.snapshot().sum(), static_cast<double>(total) * value);
    EXPECT_EQ(any.snapshot().count(), writers * calls);
    EXPECT_EQ(h.snapshot().lost(), 0U);
}

TEST(stats_stress, no_snapshot_of_requests_mixes_two_of_them) {
    weir::request_stats<8> r;
    const auto calls = scaled(60'000);
    // Each moves twice as many bytes as it takes nanoseconds; the fourth, the eighth ... of a thread fails, and takes 3 ns.
    storm s(writers, lane_less, calls, [&](std::size_t me, std::size_t i) {
        std::optional<weir::request_stats<8>::in_flight_guard> guard;
        if (me + lane_less < writers) {  // without a lane begin and end may be in two blocks, seen at two moments
            guard.emplace(r.in_flight());
        }
        const auto error = i % 4 == 3;
        const auto d = error ? 3U : 4 + (i + me) % 1000;
        r.record(nanoseconds{d}, 2 * d, error ? request_outcome::error : request_outcome::success);
    });
    std::uint64_t last = 0;
    auto before = r.snapshot();
    while (s.going_on()) {
        const auto seen = r.snapshot();
        ASSERT_GE(seen.requests, last);
        last = seen.requests;
        ASSERT_DOUBLE_EQ(seen.bytes, 2e9 * seen.duration.count());
        // Each thread has had between (n - 3) / 4 and n / 4 errors. Those without a lane go from one spare block to another, so
        // that it holds for their sum, not for a block.
        ASSERT_LE(seen.errors, seen.requests / 4 + lane_less);
        ASSERT_GE(seen.errors + 3 * writers, seen.requests / 4);
        ASSERT_LE(seen.in_flight, writers);
        ASSERT_GE(seen.success.count() + seen.error.count(), seen.requests) << "the durations are behind";
        ASSERT_GE(seen.error.count(), seen.errors);
        ASSERT_TRUE(seen.error.empty() || seen.error.max() == nanoseconds{3});
        auto between = seen;
        ASSERT_NO_THROW(between.subtract(before));
        ASSERT_NEAR(between.bytes, 2e9 * between.duration.count(), 0.5);
        before = seen;
    }
    s.join();
    const auto end = r.snapshot();
    EXPECT_EQ(end.requests, writers * calls);
    EXPECT_EQ(end.errors, writers * (calls / 4));
    EXPECT_EQ(end.success.count() + end.error.count(), end.requests);
    EXPECT_EQ(end.in_flight, 0U);
    EXPECT_EQ(end.lost, 0U);
    EXPECT_DOUBLE_EQ(end.bytes, 2e9 * end.duration.count());
}

TEST(stats_stress, threads_without_a_lane_never_write_into_one_block_at_once) {
    weir::request_stats<4> r;
    const auto calls = scaled(500'000);
    storm s(2, 2, calls, [&](std::size_t, std::size_t) { r.record(nanoseconds{1}, 2); });
    s.join();
    EXPECT_EQ(r.snapshot().requests, 2 * calls);
    EXPECT_EQ(r.snapshot().success.count(), 2 * calls);
}

TEST(stats_stress, requests_under_way_are_never_less_than_none) {
    using stats = weir::request_stats<4>;
    stats r;
    const auto calls = scaled(40'000);
    // Guards begin in one thread and end in another: each thread leaves one behind and ends what it finds.
    std::array<std::atomic<stats::in_flight_guard*>, 3> places{};
    storm s(5, lane_less, calls, [&](std::size_t me, std::size_t i) {
        auto* const mine = new stats::in_flight_guard(r.in_flight());
        delete places[(me + i) % places.size()].exchange(mine);
    });
    while (s.going_on()) {
        ASSERT_LE(r.snapshot().in_flight, 5 * calls) << "less than none";
    }
    s.join();
    EXPECT_EQ(r.snapshot().in_flight, places.size());
    for (auto& place : places) {
        delete place.exchange(nullptr);
    }
    EXPECT_EQ(r.snapshot().in_flight, 0U);
}

TEST(stats_stress, a_window_shows_what_every_thread_put_into_the_last_slices) {
    manual_clock clock;
    constexpr std::size_t slices = 4;
    windowed<counter, manual_clock> c({.window = 4s, .slices = slices}, clock);
    windowed<histogram<std::int64_t, 4>, manual_clock> h({.window = 4s, .slices = slices}, {.highest = 100}, clock);
    std::atomic<std::uint64_t> begun{0};
    std::atomic<std::uint64_t> done{0};
    const auto calls = scaled(20'000);
    storm s(writers, lane_less, calls, [&](std::size_t, std::size_t) {
        begun.fetch_add(1);
        c.add();
        h.record(10);
        done.fetch_add(1);
    });
    // Only this thread moves the clock. What was done by the end of a second must be seen three seconds on, and what was begun
    // after it is all that can be seen four seconds on and later.
    std::array<std::uint64_t, slices> done_at{};
    std::array<std::uint64_t, slices> begun_at{};
    std::uint64_t second = 0;
    while (s.going_on()) {
        const auto done_before = done.load();
        const auto came = c.value();
        const auto snapshot = h.snapshot();
        const auto begun_after = begun.load();
        // done_at[k % slices] is of the moment before second k began; those of the second - 3 are the oldest that must be there.
        const auto must = second >= slices - 1 ? done_before - std::min(done_before, begun_at[(second - (slices - 1)) % slices]) : done_before;
        const auto may = second >= slices - 1 ? begun_after - done_at[(second - (slices - 1)) % slices] + writers : begun_after;
        ASSERT_GE(came, must) << "second " << second;
        ASSERT_GE(snapshot.count(), must);
        ASSERT_LE(came, may) << "second " << second;
        ASSERT_LE(snapshot.count(), may);
        ASSERT_TRUE(snapshot.empty() || (snapshot.max() == 10 && snapshot.min() == 10));
        ++second;
        done_at[second % slices] = done.load();
        clock.advance(1s);
        begun_at[second % slices] = begun.load();
    }
    s.join();
    clock.advance(3s);
    EXPECT_LE(c.value(), begun.load());
    clock.advance(1s);
    EXPECT_EQ(c.value(), 0U);
    EXPECT_TRUE(h.snapshot().empty());
    EXPECT_EQ(c.lost() + h.snapshot().lost(), 0U);
}

TEST(stats_stress, a_meter_counts_every_event_while_time_goes_on) {
    manual_clock clock;
    meter m(clock);
    const auto calls = scaled(40'000);
    storm s(writers, lane_less, calls, [&](std::size_t me, std::size_t i) {
        m.mark(2);
        if (me == 0 && i % 50 == 0) {
            clock.advance(100ms);
        }
    });
    std::uint64_t last = 0;
    while (s.going_on()) {
        const auto r = m.read();
        ASSERT_GE(r.count, last);
        ASSERT_LE(r.count, 2 * writers * calls);
        ASSERT_GE(r.one_minute, 0);
        ASSERT_LE(r.one_minute, static_cast<double>(2 * writers * calls));
        last = r.count;
    }
    s.join();
    EXPECT_EQ(m.read().count, 2 * writers * calls);
    EXPECT_EQ(m.read().lost, 0U);
}

TEST(stats_stress, statistics_come_and_go_while_others_are_written) {
    // Blocks go back to the allocator and lanes' words to the next statistic, beside threads that write to their neighbours.
    counter neighbour;
    histogram<int, 4> other({.highest = 100});
    const auto calls = scaled(2'000);
    storm s(4, 1, calls, [&](std::size_t me, std::size_t i) {
        neighbour.add();
        other.record(5);
        if (me < 3) {
            histogram<int, 4> h({.highest = 100});
            counter c;
            h.record(static_cast<int>(i % 100));
            c.add(3);
            std::optional<weir::request_stats<4>> r(std::in_place);
            r->record(5ns, 10);
            if (h.snapshot().count() != 1 || c.value() != 3 || r->snapshot().requests != 1) {
                ADD_FAILURE() << "a new one has more or less than was put in";
            }
        }
    });
    while (s.going_on()) {
        ASSERT_LE(neighbour.value(), 4 * calls);
    }
    s.join();
    EXPECT_EQ(neighbour.value(), 4 * calls);
    EXPECT_EQ(other.snapshot().count(), 4 * calls);
}
