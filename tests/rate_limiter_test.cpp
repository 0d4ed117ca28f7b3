// weir (BSL-1.0). Tests of the rate limiters: each promise, against oracles that keep every call.
#include <weir/flow/detail/divisor.hpp>
#include <weir/flow/rate_limiter.hpp>
#include <weir/with/prometheus.hpp>

#include "support/failing_new.hpp"
#include "support/faults.hpp"
#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using weir::manual_clock;
using weir::rate_decision;
using weir::refusal;

using bucket = weir::token_bucket<manual_clock>;
using logged = weir::sliding_log<manual_clock>;
using counted = weir::sliding_counter<manual_clock>;
using limits = weir::rate_limits<manual_clock>;
using pings = weir::cached_limiter<std::string, int, std::hash<std::string>, std::equal_to<std::string>, manual_clock>;
template <class Key, class Algorithm = bucket>
using keyed = weir::keyed_rate_limiter<Key, Algorithm>;

// A limiter whose clock reads as many ns since it was made as we say.
struct timed {
    manual_clock clock;
    manual_clock::time_point start = clock.now();
    void at(nanoseconds t) const { clock.set(start + t); }
};

// -- As in the README

TEST(token_bucket, lets_a_burst_through_and_then_a_steady_rate) {
    timed t;
    bucket b{{.limit = 10, .burst = 3}, t.clock};
    EXPECT_TRUE(b.allow() && b.allow() && b.allow());
    auto const refused = b.allow();
    EXPECT_EQ(refused, (rate_decision{false, 0, 100ms, 300ms}));
    EXPECT_EQ(refused.rejection(), (weir::rejected{refusal::rate_limited, 100ms}));
    t.at(100ms);
    EXPECT_EQ(b.allow(), (rate_decision{true, 0, rate_decision::never, 300ms}));
}

TEST(keyed_rate_limiter, gives_each_key_a_bucket_of_its_own) {
    timed t;
    keyed<std::string> clients{{.limit = 2, .burst = 2}, {.capacity = 8}, t.clock};
    for (std::string const key : {"1", "2"}) {
        auto const from = key == "1" ? 0ms : 2000ms;
        for (auto const& [at, allowed] : {std::pair{0ms, true}, {1ms, true}, {2ms, false}, {1002ms, true}, {1003ms, true}, {1004ms, false}}) {
            t.at(from + at);
            EXPECT_EQ(clients.allow(key).allowed, allowed) << key << " " << at.count();
        }
    }
}

// -- The scenarios of the peers: token bucket

struct step {
    nanoseconds at;
    std::int64_t n;
    bool allowed;
    std::int64_t tokens;  // before; -1000: not looked at
};

void follow(bucket& b, timed const& t, std::vector<step> const& steps) {
    for (auto const& s : steps) {
        t.at(s.at);
        if (s.tokens != -1000) {
            EXPECT_EQ(b.balance(), s.tokens) << s.at.count();
        }
        EXPECT_EQ(b.check(s.n).allowed, s.allowed) << s.at.count();
        EXPECT_EQ(b.allow(s.n).allowed, s.allowed) << s.at.count();
    }
}

TEST(token_bucket, xt_burst1) {
    timed t;
    bucket b{{.limit = 10, .burst = 1}, t.clock};
    follow(b, t, {{0ms, 1, true, 1}, {0ms, 1, false, 0}, {0ms, 1, false, 0}, {100ms, 1, true, 1}, {100ms, 1, false, 0},
                  {100ms, 1, false, 0}, {200ms, 2, false, 1}, {200ms, 1, true, 1}, {200ms, 1, false, 0}});
}

TEST(token_bucket, xt_burst3) {
    timed t;
    bucket b{{.limit = 10, .burst = 3}, t.clock};
    follow(b, t, {{0ms, 2, true, 3}, {0ms, 2, false, 1}, {0ms, 1, true, 1}, {0ms, 1, false, 0}, {100ms, 4, false, 1}, {200ms, 1, true, 2},
                  {300ms, 1, true, 2}, {400ms, 1, true, 2}, {400ms, 1, true, 1}, {400ms, 1, false, 0}, {900ms, 3, true, 3}, {900ms, 0, true, 0}});
}

TEST(token_bucket, xt_jump_backwards_mints_nothing) {
    timed t;
    bucket b{{.limit = 10, .burst = 3}, t.clock};
    follow(b, t, {{100ms, 1, true, -1000}, {0ms, 1, true, -1000}, {0ms, 1, false, -1000}, {100ms, 1, true, -1000}, {100ms, 1, false, -1000},
                  {200ms, 1, true, -1000}, {200ms, 1, false, -1000}});
}

nanoseconds act(bucket& b, timed const& t, std::int64_t n) {
    auto const r = b.reserve(n);
    return r.has_value() ? r->at() - t.start : -1ns;
}

TEST(token_bucket, xt_simple_reserve) {
    timed t;
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    EXPECT_EQ(act(b, t, 2), 0ms);
    EXPECT_EQ(act(b, t, 2), 200ms);
    EXPECT_EQ(b.balance(), -2);
    t.at(300ms);
    EXPECT_EQ(act(b, t, 2), 400ms);
}

TEST(token_bucket, xt_cancel_too_late_gives_nothing_back) {
    timed t;
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    EXPECT_EQ(act(b, t, 2), 0ms);
    auto r = b.reserve(2);
    EXPECT_EQ(r->at() - t.start, 200ms);
    t.at(300ms);
    EXPECT_EQ(b.cancel(std::move(*r)), 0);
    EXPECT_EQ(act(b, t, 2), 400ms);
}

TEST(token_bucket, xt_cancel_0_only_the_newest_is_undone) {
    timed t;
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    EXPECT_EQ(act(b, t, 2), 0ms);
    auto r = b.reserve(1);
    EXPECT_EQ(r->at() - t.start, 100ms);
    EXPECT_EQ(act(b, t, 1), 200ms);
    EXPECT_EQ(b.cancel(std::move(*r)), 0);
    EXPECT_EQ(act(b, t, 1), 300ms);
}

TEST(token_bucket, xt_cancel_1) {
    timed t;
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    EXPECT_EQ(act(b, t, 2), 0ms);
    auto r = b.reserve(2);
    EXPECT_EQ(act(b, t, 1), 300ms);
    t.at(200ms);
    EXPECT_EQ(b.cancel(std::move(*r)), 0);
    EXPECT_EQ(act(b, t, 2), 500ms);
}

TEST(token_bucket, xt_cancel_multi) {
    timed t;
    bucket b{{.limit = 10, .burst = 4}, t.clock};
    EXPECT_EQ(act(b, t, 4), 0ms);
    auto a = b.reserve(3);
    EXPECT_EQ(a->at() - t.start, 300ms);
    EXPECT_EQ(act(b, t, 1), 400ms);
    auto c = b.reserve(1);
    EXPECT_EQ(c->at() - t.start, 500ms);
    t.at(100ms);
    EXPECT_EQ(b.cancel(std::move(*c)), 1);
    EXPECT_EQ(b.cancel(std::move(*a)), 0);
    EXPECT_EQ(act(b, t, 3), 700ms);
}

TEST(token_bucket, xt_cancel_invalid) {
    timed t;
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    EXPECT_EQ(act(b, t, 2), 0ms);
    auto const r = b.reserve(3);
    ASSERT_FALSE(r.has_value());
    EXPECT_EQ(r.error(), (weir::rejected{refusal::over_capacity, -1ns}));
    EXPECT_EQ(act(b, t, 2), 200ms);
}

TEST(token_bucket, xt_reserve_max) {
    timed t;
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    EXPECT_EQ(b.reserve(2, 100ms)->at() - t.start, 0ms);
    EXPECT_EQ(b.reserve(1, 100ms)->at() - t.start, 100ms);
    auto const refused = b.reserve(1, 100ms);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error(), (weir::rejected{refusal::rate_limited, 100ms}));
    EXPECT_FALSE(b.reserve(1, -1h).has_value());
    t.at(100ms);
    EXPECT_TRUE(b.reserve(1, 100ms).has_value());
}

TEST(token_bucket, xt_long_run_qps) {
    timed t;
    bucket b{{.limit = 100, .burst = 100}, t.clock};
    int admitted = 0;
    for (auto at = 0ms; at < 5000ms; at += 2ms) {
        t.at(at);
        admitted += b.try_acquire() ? 1 : 0;
    }
    EXPECT_GE(admitted, 599);
    EXPECT_LE(admitted, 601);
}

TEST(token_bucket, gov_burst_2_and_n_of_2) {
    timed t;
    bucket b{{.limit = 2, .burst = 2}, t.clock};
    follow(b, t, {{0ms, 1, true, -1000}, {1ms, 1, true, -1000}, {2ms, 1, false, -1000}, {1002ms, 1, true, -1000}, {1003ms, 1, true, -1000},
                  {1004ms, 1, false, -1000}});
    timed u;
    bucket c{{.limit = 4, .burst = 4}, u.clock};
    follow(c, u, {{0ms, 2, true, -1000}, {0ms, 2, true, -1000}, {1ms, 2, false, -1000}, {1001ms, 2, true, -1000}, {1002ms, 2, true, -1000},
                  {1003ms, 2, false, -1000}});
}

TEST(token_bucket, gov_wait_time_is_exact) {
    timed t;
    bucket b{{.limit = 5, .burst = 5}, t.clock};
    int conforming = 0;
    for (int i = 0; i < 20; ++i) {
        t.clock.advance(1ms);
        auto d = b.allow();
        if (!d) {
            t.clock.advance(d.retry_after - 1ns);
            EXPECT_FALSE(b.allow());
            t.clock.advance(1ns);
            d = b.allow();
        }
        conforming += d ? 1 : 0;
    }
    EXPECT_EQ(conforming, 20);
}

TEST(token_bucket, gov_20_threads) {
    timed t;
    bucket b{{.limit = 20, .burst = 20}, t.clock};
    std::atomic<int> admitted{0};
    run_together(20, [&](std::size_t) { admitted += b.allow() ? 1 : 0; });
    EXPECT_EQ(admitted, 20);
    follow(b, t, {{2ms, 1, false, 0}, {1000ms, 1, true, 20}});
}

TEST(token_bucket, gov_over_1e9_per_second) {
    timed t;
    bucket b{{.limit = 1'000'000'001, .burst = 1'000'000'001}, t.clock};
    follow(b, t, std::vector<step>(5, {0ms, 1, true, -1000}));
}

TEST(token_bucket, thr_table_of_16) {
    struct row {
        nanoseconds at;
        std::int64_t n;
        rate_decision expected;
    };
    timed t;
    bucket b{{.limit = 1, .burst = 5}, t.clock};
    auto const never = rate_decision::never;
    for (auto const& r : std::vector<row>{
             {0s, 6, {false, 5, never, 0s}},      {0s, 1, {true, 4, never, 1s}},         {0s, 1, {true, 3, never, 2s}},
             {0s, 1, {true, 2, never, 3s}},       {0s, 1, {true, 1, never, 4s}},         {0s, 1, {true, 0, never, 5s}},
             {0s, 1, {false, 0, 1s, 5s}},         {3s, 1, {true, 2, never, 3s}},         {3100ms, 1, {true, 1, never, 3900ms}},
             {4s, 1, {true, 1, never, 4s}},       {8s, 1, {true, 4, never, 1s}},         {9500ms, 1, {true, 4, never, 1s}},
             {9500ms, 0, {true, 4, never, 1s}},   {9500ms, 2, {true, 2, never, 3s}},     {9500ms, 5, {false, 2, 3s, 3s}},
             {15s, 6, {false, 5, never, 0s}}}) {
        t.at(r.at);
        EXPECT_EQ(b.allow(r.n), r.expected) << r.at.count() << " " << r.n;
    }
}

TEST(token_bucket, rr_peek_0_and_at_most) {
    timed t;
    bucket b{{.limit = 10, .burst = 10}, t.clock};
    EXPECT_EQ(b.allow(0), (rate_decision{true, 10, rate_decision::never, 0ns}));
    EXPECT_EQ(b.allow(1), (rate_decision{true, 9, rate_decision::never, 100ms}));
    EXPECT_EQ(b.allow(0), (rate_decision{true, 9, rate_decision::never, 100ms}));
    auto const expect = [&](std::int64_t n, std::int64_t granted, std::int64_t remaining, nanoseconds retry) {
        auto const g = b.allow_at_most(n);
        EXPECT_EQ(g.granted, granted);
        EXPECT_EQ(g.remaining, remaining);
        EXPECT_EQ(g.retry_after, retry);
    };
    expect(2, 2, 7, -1ns);
    expect(10, 7, 0, -1ns);
    expect(1000, 0, 0, 100ms);
    expect(0, 0, 0, -1ns);
    expect(-5, 0, 0, -1ns);
}

TEST(token_bucket, folly_reverse_time) {
    timed t;
    bucket b{{.limit = 1000, .burst = 10}, t.clock};
    follow(b, t, std::vector<step>(10, {100ms, 1, true, -1000}));
    follow(b, t, {{100ms, 1, false, -1000}, {100ms - 10ns, 1, false, -1000}, {100ms, 1, false, 0}});
}

TEST(token_bucket, folly_borrow_queue) {
    timed t;
    bucket b{{.limit = 10, .burst = 10}, t.clock};
    follow(b, t, {{1s, 10, true, -1000}, {1s, 1, false, -1000}});
    for (auto at = 2s; at <= 11s; at += 1s) {
        EXPECT_EQ(act(b, t, 10), at);
    }
    follow(b, t, {{11s, 1, false, 0}});
}

TEST(token_bucket, folly_2430_low_rate_starts_full) {
    timed t;
    for (weir::token_bucket_options const& o : {weir::token_bucket_options{.limit = 1, .period = 10'000s}, {.limit = 0.0001}}) {
        bucket b{o, t.clock};
        EXPECT_EQ(act(b, t, 1), 0s);
        EXPECT_EQ(act(b, t, 1), 10'000s);
    }
}

TEST(token_bucket, userver_refills) {
    timed t;
    bucket b{{.limit = 1, .burst = 3}, t.clock};
    follow(b, t, {{0s, 1, true, 3}, {0s, 1, true, 2}, {0s, 1, true, 1}, {0s, 1, false, 0}, {2s, 1, true, 2}, {2s, 1, true, 1}, {2s, 1, false, 0}});
    timed u;
    bucket c{{.limit = 1, .period = 2s}, u.clock};
    follow(c, u, {{0s, 1, true, 1}, {0s, 1, false, 0}, {1s, 1, false, 0}, {2s, 1, true, 1}, {2s, 1, false, 0}});
    timed v;
    bucket d{{.limit = 1, .period = 2s, .burst = 2}, v.clock};
    follow(d, v, {{0s, 2, true, 2}, {0s, 1, false, 0}, {100s, 1, true, 2}, {100s, 1, true, 1}, {100s, 1, false, 0}});
}

TEST(token_bucket, b4_remainder_not_lost) {
    timed t;
    bucket b{{.limit = 10, .period = 100ns, .burst = 10, .initial_tokens = 0}, t.clock};
    follow(b, t, {{97ns, 9, true, 9}, {97ns, 1, false, 0}, {100ns, 1, true, 1}, {100ns, 1, false, 0}});
}

TEST(token_bucket, b4_partial_refill_and_estimates) {
    timed t;
    bucket b{{.limit = 1, .burst = 4, .initial_tokens = 1}, t.clock};
    EXPECT_EQ(b.allow_at_most(4).granted, 1);
    t.at(200ms);
    EXPECT_EQ(b.allow().retry_after, 800ms);
    EXPECT_EQ(b.allow(3).retry_after, 2800ms);
    bucket c{{.limit = 100, .period = 100ns, .burst = 100, .initial_tokens = 100}, t.clock};
    EXPECT_EQ(c.allow(49).retry_after, -1ns);
    bucket d{{.limit = 100, .period = 100ns, .burst = 100, .initial_tokens = 1}, t.clock};
    EXPECT_TRUE(d.allow());
    EXPECT_FALSE(d.allow());
}

TEST(token_bucket, fs_smooth_100ns) {
    timed t;
    bucket b{{.limit = 1, .period = 100ns}, t.clock};
    follow(b, t, {{0ns, 1, true, 1}, {0ns, 1, false, 0}, {150ns, 1, true, 1}, {150ns, 1, false, 0}, {210ns, 1, false, 0}, {250ns, 1, true, 1}});
}

TEST(token_bucket, r4j_cycle_edge_does_not_admit_twice) {
    timed t;
    bucket b{{.limit = 2, .burst = 2}, t.clock};
    follow(b, t, {{999ms, 1, true, 2}, {999ms, 1, true, 1}, {1000ms, 1, false, 0}, {1000ms, 1, false, 0}, {1499ms, 1, true, 1}});
}

TEST(rate_limits, b4_three_limits_12h_idle) {
    timed t;
    limits all{{{.limit = 700'000, .period = 1h, .burst = 700'000}, {.limit = 14'500, .period = 1min, .burst = 14'500}, {.limit = 300, .burst = 300}},
               t.clock};
    t.at(12h);
    EXPECT_TRUE(all.allow(1));
    EXPECT_TRUE(all.allow(299));
    EXPECT_FALSE(all.allow(1));
}

TEST(keyed_rate_limiter, own_flood_cannot_reset_a_key) {
    timed t;
    keyed<std::string> k{{.limit = 5, .period = 60s, .burst = 5}, {.capacity = 8}, t.clock};
    for (int i = 0; i < 5; ++i) {
        EXPECT_TRUE(k.allow("victim"));
    }
    EXPECT_FALSE(k.allow("victim"));
    t.at(1ms);
    for (int i = 0; i < 1000; ++i) {
        k.allow("x" + std::to_string(i));
    }
    t.at(2ms);
    EXPECT_FALSE(k.allow("victim"));
    EXPECT_GT(k.stats().evictions_live, 0U);
    EXPECT_GT(k.stats().watermark_denials, 0U);
    EXPECT_EQ(k.stats().live, 8U);
}

// -- Sliding windows

TEST(sliding_log, seed2_observation_limit_10_per_5min) {
    timed t;
    logged l{{.limit = 10, .window = 5min}, t.clock};
    for (auto at = 0s; at < 10s; at += 1s) {
        t.at(at);
        EXPECT_TRUE(l.allow());
    }
    auto const expect = [&](nanoseconds at, bool allowed, nanoseconds retry) {
        t.at(at);
        auto const d = l.allow();
        EXPECT_EQ(d.allowed, allowed) << at.count();
        EXPECT_EQ(d.retry_after, retry) << at.count();
    };
    expect(10s, false, 290s);
    expect(299'999ms, false, 1ms);
    expect(300s, true, -1ns);
    expect(300s, false, 1s);
    expect(301s, true, -1ns);
}

TEST(sliding_log, seed2_check_does_not_record) {
    timed t;
    logged l{{.limit = 1}, t.clock};
    for (int i = 0; i < 5; ++i) {
        EXPECT_TRUE(l.check());
    }
    EXPECT_TRUE(l.allow());
    EXPECT_FALSE(l.check());
    t.at(999ms);
    EXPECT_FALSE(l.check());
    t.at(1s);
    EXPECT_TRUE(l.check());
}

TEST(sliding_log, own_log_no_edge_doubling) {
    timed t;
    logged l{{.limit = 2}, t.clock};
    for (auto const& [at, allowed] : {std::pair{999ms, true}, {999ms, true}, {1000ms, false}, {1998ms, false}, {1999ms, true}}) {
        t.at(at);
        EXPECT_EQ(l.allow().allowed, allowed) << at.count();
    }
}

TEST(sliding_log, own_log_allow_n) {
    timed t;
    logged l{{.limit = 5}, t.clock};
    EXPECT_EQ(l.allow(3), (rate_decision{true, 2, -1ns, 1s}));
    t.at(100ms);
    EXPECT_EQ(l.allow(3), (rate_decision{false, 2, 900ms, 900ms}));
    EXPECT_EQ(l.allow(2), (rate_decision{true, 0, -1ns, 1s}));
    EXPECT_EQ(l.allow(6).retry_after, -1ns);
    EXPECT_EQ(l.allow(6).rejection().reason, refusal::over_capacity);
    t.at(1s);
    EXPECT_TRUE(l.allow(3));
}

TEST(sliding_counter, own_counter_weighted) {
    timed t;
    counted c{{.limit = 10, .window = 60s}, t.clock};
    EXPECT_TRUE(c.allow(7));
    t.at(60s);
    EXPECT_TRUE(c.allow(3));
    t.at(78s);
    EXPECT_EQ(c.estimate(), 8);
    EXPECT_TRUE(c.allow(2));
    EXPECT_FALSE(c.allow());
    t.at(180s);
    EXPECT_EQ(c.estimate(), 0);
}

TEST(sliding_counter, lets_through_less_than_twice_its_limit_in_a_window) {
    timed t;
    counted c{{.limit = 20}, t.clock};
    t.at(1s - 1ns);  // the last moment of a window, and the whole of the next
    int admitted = 0;
    while (c.try_acquire()) {
        ++admitted;
    }
    EXPECT_EQ(admitted, 20);
    for (auto at = 1s - 1ns; at < 2s - 1ns; at += 1ms) {
        t.at(at);
        admitted += c.try_acquire() ? 1 : 0;
    }
    EXPECT_LT(admitted, 40);
    EXPECT_GT(admitted, 30) << "the bound is nearly reached: the documentation says so";
}

// -- P1: no interval has more than it may

struct call {
    std::int64_t at;
    std::int64_t n;
};

// Most calls in any closed interval of calls, less what the interval may have.
template <class Allowed>
double worst_excess(std::vector<call> const& calls, Allowed const& allowed) {
    double worst = -1e300;
    for (std::size_t i = 0; i < calls.size(); ++i) {
        std::int64_t sum = 0;
        for (std::size_t j = i; j < calls.size(); ++j) {
            sum += calls[j].n;
            worst = std::max(worst, static_cast<double>(sum) - allowed(calls[j].at - calls[i].at));
        }
    }
    return worst;
}

TEST(token_bucket, no_interval_has_more_than_the_burst_and_the_rate) {
    std::mt19937_64 random(1);
    for (int run = 0; run < 60; ++run) {
        auto const limit = static_cast<double>(1 + random() % 1000) / (run % 2 == 0 ? 1 : 7);
        auto const burst = static_cast<std::int64_t>(1 + random() % 20);
        auto const period = nanoseconds{static_cast<std::int64_t>(1000 + random() % 10'000)};
        timed t;
        bucket b{{.limit = limit, .period = period, .burst = burst}, t.clock};
        std::vector<call> calls;
        std::optional<bucket::reservation> held;
        std::int64_t at = 0;
        for (int i = 0; i < 400; ++i) {
            at += static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(1 + 3.0 * static_cast<double>(period.count()) / limit));
            t.at(nanoseconds{at});
            auto const n = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(burst + 2));
            if (run % 3 != 0 || i % 3 != 0) {
                if (b.try_acquire(n)) {
                    calls.push_back({at, n});
                }
                continue;
            }
            // Reserve, and cancel the one before or let it stand.
            if (held && random() % 2 == 0) {
                auto const tokens = held->tokens();
                auto const when = (held->at() - t.start).count();
                if (auto const back = b.cancel(std::move(*held)); back == 0) {
                    calls.push_back({when, tokens});
                } else {
                    EXPECT_EQ(back, tokens);
                }
                held.reset();
            } else if (auto r = b.reserve(n); r.has_value()) {
                if (held) {
                    calls.push_back({(held->at() - t.start).count(), held->tokens()});
                }
                held.emplace(std::move(*r));
            }
        }
        std::sort(calls.begin(), calls.end(), [](call const& a, call const& b2) { return a.at < b2.at; });
        auto const excess = worst_excess(calls, [&](std::int64_t length) {
            return static_cast<double>(burst) + limit * static_cast<double>(length) / static_cast<double>(period.count());
        });
        // A reservation's time is rounded up to a ns, so that it may seem to be used up to one ns late.
        EXPECT_LE(excess, (run % 3 == 0 ? limit / static_cast<double>(period.count()) : 0) + 1e-9) << run;
        ASSERT_GT(calls.size(), 20U);
    }
}

TEST(token_bucket, for_window_never_exceeds_n_in_a_window) {
    timed t;
    bucket b{bucket::options::for_window(10, 1ms, 4), t.clock};
    std::mt19937_64 random(2);
    std::vector<call> calls;
    for (std::int64_t at = 0; at < 20'000'000; at += static_cast<std::int64_t>(random() % 60'000)) {
        t.at(nanoseconds{at});
        if (b.try_acquire()) {
            calls.push_back({at, 1});
        }
    }
    EXPECT_GT(calls.size(), 100U);
    EXPECT_LE(worst_excess(calls, [](std::int64_t length) { return length <= 1'000'000 ? 10.0 : 1e9; }), 0.0);
    EXPECT_THROW(static_cast<void>(bucket::options::for_window(10, 1s, 10)), std::invalid_argument);
    EXPECT_THROW(static_cast<void>(bucket::options::for_window(10, 1s, 0)), std::invalid_argument);
    EXPECT_THROW(static_cast<void>(bucket::options::for_window(INT64_MAX, 1s, 1)), std::invalid_argument);
}

// The seed's semantics: all calls, with those that left the window dropped.
struct log_oracle {
    std::int64_t limit;
    std::int64_t window;
    std::deque<std::int64_t> times{};
    bool allow(std::int64_t n, std::int64_t now) {
        while (!times.empty() && times.front() <= now - window) {
            times.pop_front();
        }
        if (n > limit - static_cast<std::int64_t>(times.size())) {
            return false;
        }
        times.insert(times.end(), static_cast<std::size_t>(n), now);
        return true;
    }
};

TEST(sliding_log, agrees_with_a_list_of_all_calls) {
    std::mt19937_64 random(3);
    for (std::int64_t const limit : {1, 2, 7, 64}) {
        timed t;
        logged l{{.limit = limit, .window = 1us}, t.clock};
        log_oracle oracle{limit, 1000};
        std::int64_t at = 0;
        for (int i = 0; i < 20'000; ++i) {
            at += static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(2000 / limit));
            t.at(nanoseconds{at});
            auto const n = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(limit + 2) / (i % 2 == 0 ? 1 : 2));
            auto const before = l.check(n);
            auto const expected = oracle.allow(n, at);
            ASSERT_EQ(before.allowed, expected) << i;
            auto const d = l.allow(n);
            ASSERT_EQ(d.allowed, expected) << i;
            ASSERT_EQ(d.remaining, limit - static_cast<std::int64_t>(oracle.times.size()));
            ASSERT_EQ(d.reset_after.count(), oracle.times.empty() ? 0 : oracle.times.back() + 1000 - at);
        }
    }
}

TEST(sliding_log, n_and_one_calls_span_a_window_even_if_callers_disagree_on_the_time) {
    timed t;
    logged l{{.limit = 5, .window = 1us}, t.clock};
    std::mt19937_64 random(4);
    std::vector<std::int64_t> noted;
    std::int64_t at = 0;
    std::int64_t newest = 0;
    for (int i = 0; i < 20'000; ++i) {
        at += static_cast<std::int64_t>(random() % 100);
        auto const mine = at - static_cast<std::int64_t>(random() % 500);
        t.at(nanoseconds{at});
        if (l.try_acquire(1, t.start + nanoseconds{mine})) {
            newest = std::max(newest, mine);
            noted.push_back(mine);
            if (noted.size() > 5) {
                ASSERT_GE(mine - noted[noted.size() - 6], 1000) << i;
            }
        }
    }
    EXPECT_GT(noted.size(), 1000U);
}

TEST(sliding_counter, agrees_with_counts_per_window) {
    std::mt19937_64 random(5);
    timed t;
    std::int64_t const limit = 9;
    std::int64_t const window = 1000;
    counted c{{.limit = limit, .window = nanoseconds{window}}, t.clock};
    std::map<std::int64_t, std::int64_t> calls;
    std::int64_t at = 0;
    for (int i = 0; i < 50'000; ++i) {
        at += static_cast<std::int64_t>(random() % (i % 50 == 0 ? 3000 : 200));
        t.at(nanoseconds{at});
        auto const index = at / window;
        auto const weighted = calls[index - 1] * (window - at % window);
        auto const estimate = (weighted + window - 1) / window + calls[index];
        ASSERT_EQ(c.estimate(), estimate);
        auto const n = static_cast<std::int64_t>(random() % 4);
        auto const d = c.allow(n);
        ASSERT_EQ(d.allowed, n == 0 || estimate + n <= limit) << i;
        calls[index] += d ? n : 0;
    }
}

// -- What they say of themselves

TEST(rate_limits, stats_say_how_many_would_be_allowed_by_all) {
    timed t;
    limits all{{{.limit = 10, .burst = 5}, {.limit = 1, .burst = 3}}, t.clock};
    EXPECT_EQ(all.stats().limits, 2U);
    EXPECT_EQ(all.stats().remaining, 3);
    EXPECT_EQ(all.stats().reset_after, 0ns);
    ASSERT_TRUE(all.try_acquire(2));
    EXPECT_EQ(all.stats().remaining, 1);
    EXPECT_EQ(all.stats().reset_after, 2s) << "the slower one";
    std::mt19937_64 random(11);
    for (int i = 0; i < 2000; ++i) {
        t.clock.advance(nanoseconds{static_cast<std::int64_t>(random() % 400'000'000)});
        static_cast<void>(all.try_acquire(static_cast<std::int64_t>(random() % 4)));
        auto const s = all.stats();
        ASSERT_TRUE(all.check(s.remaining).allowed) << i;
        ASSERT_FALSE(all.check(s.remaining + 1).allowed) << i;
        ASSERT_EQ(s.reset_after, all.check(0).reset_after) << i;
    }
    EXPECT_EQ(all.stats().heals, 0U);
}

template <class Limiter>
void used_and_remaining_are_the_limit(Limiter& l, timed const& t) {
    EXPECT_EQ(l.stats().limit, 7);
    EXPECT_EQ(l.stats().used, 0);
    ASSERT_TRUE(l.try_acquire(3));
    EXPECT_EQ(l.stats().used, 3);
    EXPECT_EQ(l.stats().remaining, 4);
    bool was_full = false;
    std::mt19937_64 random(13);
    for (int i = 0; i < 2000; ++i) {
        t.clock.advance(nanoseconds{static_cast<std::int64_t>(random() % 400)});
        static_cast<void>(l.try_acquire(static_cast<std::int64_t>(random() % 4)));
        auto const s = l.stats();
        ASSERT_EQ(s.used + s.remaining, s.limit) << i;
        ASSERT_EQ(s.used == 0 && s.reset_after == 0ns, s.reset_after == 0ns) << i;
        ASSERT_TRUE(l.check(s.remaining).allowed) << i;
        ASSERT_FALSE(l.check(s.remaining + 1).allowed) << i;
        was_full = was_full || s.remaining == 0;
    }
    EXPECT_TRUE(was_full);
    EXPECT_EQ(l.stats().heals, 0U);
    t.clock.advance(1ms);
    EXPECT_EQ(l.stats().used, 0);
    EXPECT_EQ(l.stats().reset_after, 0ns);
}

TEST(sliding_log, of_its_stats_used_and_remaining_are_the_limit) {
    timed t;
    logged l{{.limit = 7, .window = 1us}, t.clock};
    used_and_remaining_are_the_limit(l, t);
}

TEST(sliding_counter, of_its_stats_used_and_remaining_are_the_limit) {
    timed t;
    counted c{{.limit = 7, .window = 1us}, t.clock};
    used_and_remaining_are_the_limit(c, t);
}

TEST(sliding_counter, stats_of_a_clock_that_was_set_back_show_nothing_that_remains) {
    timed t;
    counted c{{.limit = 10, .window = 1s}, t.clock};
    ASSERT_TRUE(c.try_acquire(10));
    t.at(1999ms);
    ASSERT_TRUE(c.try_acquire(9));
    t.at(1s);
    EXPECT_EQ(c.stats().used, 19) << "all of both windows";
    EXPECT_EQ(c.stats().remaining, 0);
}

TEST(sliding_counter, a_clock_set_back_into_the_window_before_is_waited_for_and_further_is_healed) {
    timed t;
    counted c{{.limit = 10, .window = 1s}, t.clock};
    t.at(5s);
    ASSERT_TRUE(c.try_acquire(10));
    t.at(4s);
    EXPECT_FALSE(c.try_acquire());
    EXPECT_EQ(c.stats().heals, 0U);
    t.at(4s - 1ns);
    EXPECT_FALSE(c.try_acquire()) << "what was used is taken for used in this window";
    EXPECT_EQ(c.stats().heals, 1U);
}

template <class... Part>
std::string prometheus_text(Part const&... part) {
    weir::prometheus_writer out;
    (out.add("part", "", {}, part), ...);
    return out.text();
}

TEST(rate_limiters, show_their_stats_to_prometheus) {
    timed t;
    bucket b{{.limit = 10, .burst = 3}, t.clock};
    ASSERT_TRUE(b.try_acquire());
    auto const of_bucket = prometheus_text(b);
    EXPECT_NE(of_bucket.find("part_tokens 2\n"), std::string::npos) << of_bucket;
    EXPECT_NE(of_bucket.find("part_reset_after_seconds 0.1\n"), std::string::npos) << of_bucket;
    EXPECT_NE(of_bucket.find("part_heals_total 0\n"), std::string::npos) << of_bucket;
    limits all{{{.limit = 10, .burst = 5}, {.limit = 1, .burst = 3}}, t.clock};
    auto const of_limits = prometheus_text(all);
    EXPECT_NE(of_limits.find("part_limits 2\n"), std::string::npos) << of_limits;
    EXPECT_NE(of_limits.find("part_remaining 3\n"), std::string::npos) << of_limits;
    logged l{{.limit = 7}, t.clock};
    counted c{{.limit = 7}, t.clock};
    ASSERT_TRUE(l.try_acquire(2) && c.try_acquire(2));
    for (auto const& text : {prometheus_text(l), prometheus_text(c)}) {
        EXPECT_NE(text.find("part_limit 7\n"), std::string::npos) << text;
        EXPECT_NE(text.find("part_used 2\n"), std::string::npos) << text;
        EXPECT_NE(text.find("part_remaining 5\n"), std::string::npos) << text;
    }
    keyed<int> k{{.limit = 1}, {.capacity = 8}, t.clock};
    ASSERT_TRUE(k.try_acquire(1));
    auto const of_keyed = prometheus_text(k);
    EXPECT_NE(of_keyed.find("part_live 1\n"), std::string::npos) << of_keyed;
    EXPECT_NE(of_keyed.find("part_capacity 8\n"), std::string::npos) << of_keyed;
    pings p{{}, t.clock};
    static_cast<void>(p.try_acquire("a"));
    static_cast<void>(p.try_acquire("a"));
    auto const of_cached = prometheus_text(p);
    EXPECT_NE(of_cached.find("part_calls_total{answer=\"admitted\"} 1\n"), std::string::npos) << of_cached;
    EXPECT_NE(of_cached.find("part_calls_total{answer=\"denied\"} 1\n"), std::string::npos) << of_cached;
}

// -- Division by an option

TEST(divisor, is_the_division_rounded_down_for_all_windows_and_times) {
    constexpr auto most = std::int64_t{1} << 60;
    auto const check = [](std::int64_t n, std::int64_t d) {
        auto const floor = n / d - (n % d < 0 ? 1 : 0);
        ASSERT_EQ(weir::detail::divisor{d}.floor(n), floor) << n << " / " << d;
    };
    std::mt19937_64 random(17);
    std::vector<std::int64_t> divisors{1, 2, 3, 5, 7, 10, 1'000'000, 1'000'000'000, 3'600'000'000'000, most, most - 1};
    for (int bit = 1; bit < 60; ++bit) {
        auto const power = std::int64_t{1} << bit;
        divisors.insert(divisors.end(), {power - 1, power, power + 1, power + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(power))});
    }
    for (auto const d : divisors) {
        auto const whole = most / d;
        for (int i = 0; i < 40; ++i) {
            auto const q = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(whole + 1)) * d;
            for (auto const n : {q - 1, q, q + 1, q + d - 1, static_cast<std::int64_t>(random() >> (3 + random() % 61))}) {
                check(n, d);
                check(-n, d);
            }
        }
        for (auto const n : {std::int64_t{0}, std::int64_t{1}, d - 1, d, d + 1, most, most - 1, INT64_MAX}) {
            check(n, d);
            check(-n, d);
        }
    }
}

// -- P2, P3

TEST(token_bucket, a_fresh_one_lets_exactly_the_burst_through_at_any_rate) {
    for (double const limit : {1.0, 3.0, 10.0, 1e3, 1e6, 999'999'937.0, 1e9, 1.6e10, 1e12, 1e300}) {
        timed t;
        bucket one{{.limit = limit, .burst = 100}, t.clock};
        bucket whole{{.limit = limit, .burst = 100}, t.clock};
        for (int i = 0; i < 100; ++i) {
            ASSERT_TRUE(one.try_acquire()) << limit;
        }
        EXPECT_FALSE(one.try_acquire()) << limit;
        EXPECT_TRUE(whole.try_acquire(100)) << limit;
        EXPECT_FALSE(whole.try_acquire()) << limit;
        EXPECT_EQ(one.state(), whole.state());
    }
}

TEST(token_bucket, gives_what_was_asked_for_to_within_a_sixteenth_of_a_ns) {
    for (double const limit : {1.0, 3.0, 7.5, 1e3, 1e6, 3e7, 999'999'937.0, 1e9}) {
        timed t;
        bucket b{{.limit = limit, .burst = INT64_C(1) << 20}, t.clock};
        ASSERT_TRUE(b.try_acquire(INT64_C(1) << 20));
        auto const token = b.state() >> 20;
        EXPECT_GE(static_cast<double>(token) * limit, 16e9 * (1 - 1e-15)) << limit;
        EXPECT_LT((static_cast<double>(token) - 1) * limit, 16e9) << limit;
    }
}

TEST(token_bucket, tokens_of_fractional_limits_are_rounded_up_exactly) {
    auto const token = [](nanoseconds period, double limit) { return weir::detail::gcra_token(period, limit); };
    EXPECT_EQ(token(1s, 3), 5'333'333'334);
    EXPECT_EQ(token(1s, 0.5), 32'000'000'000);
    EXPECT_EQ(token(1ns, 16), 1);
    EXPECT_EQ(token(1ns, 15), 2);
    EXPECT_EQ(token(1ns, 17), 1);
    EXPECT_EQ(token(1ns, 0x1p200), 1);
    EXPECT_EQ(token(1ns, 0x1p-58), INT64_C(1) << 62);
    EXPECT_EQ(token(1ns, 0x1p-59), 0);
    EXPECT_EQ(token(1ns, std::nextafter(0x1p-58, 0.0)), 0);
    EXPECT_EQ(token(nanoseconds{INT64_C(1) << 60}, 5e-324), 0);
    // 0.1 is a little more than a tenth: 160 / 0.1 is a little less than 1600.
    EXPECT_EQ(token(10ns, 0.1), 1600);
    EXPECT_EQ(token(10ns, std::nextafter(0.1, 0.0)), 1601);
}

template <class Limiter>
void retries_exactly(Limiter& l, timed const& t, std::int64_t most, unsigned seed) {
    std::mt19937_64 random(seed);
    int refused = 0;
    for (int i = 0; i < 3000; ++i) {
        t.clock.advance(nanoseconds{static_cast<std::int64_t>(random() % 300)});
        auto const n = static_cast<std::int64_t>(1 + random() % static_cast<std::uint64_t>(most));
        auto d = l.allow(n);
        if (d) {
            continue;
        }
        ++refused;
        ASSERT_GT(d.retry_after.count(), 0);
        t.clock.advance(d.retry_after - 1ns);
        ASSERT_FALSE(l.allow(n)) << i;
        ASSERT_EQ(l.check(n).retry_after, 1ns);
        t.clock.advance(1ns);
        ASSERT_TRUE(l.allow(n)) << i;
    }
    EXPECT_GT(refused, 100);
}

TEST(rate_limiters, let_through_after_retry_after_and_not_a_nanosecond_earlier) {
    timed t;
    bucket b{{.limit = 7, .period = 1us, .burst = 9}, t.clock};
    retries_exactly(b, t, 9, 1);
    logged l{{.limit = 9, .window = 1us}, t.clock};
    retries_exactly(l, t, 9, 2);
    counted c{{.limit = 9, .window = 1us}, t.clock};
    retries_exactly(c, t, 9, 3);
    limits all{{{.limit = 7, .period = 1us, .burst = 9}, {.limit = 60, .period = 10us, .burst = 12}}, t.clock};
    retries_exactly(all, t, 9, 4);
}

TEST(rate_limiters, are_as_new_after_reset_after) {
    timed t;
    auto const check = [&](auto& l, std::int64_t n) {
        ASSERT_TRUE(l.allow(n));
        auto const reset = l.check(0).reset_after;
        t.clock.advance(reset - 1ns);
        EXPECT_GT(l.check(0).reset_after, 0ns);
        t.clock.advance(1ns);
        EXPECT_EQ(l.check(0).reset_after, 0ns);
        EXPECT_TRUE(l.allow(9));
        EXPECT_FALSE(l.allow());
    };
    bucket b{{.limit = 7, .period = 1us, .burst = 9}, t.clock};
    check(b, 5);
    logged l{{.limit = 9, .window = 1us}, t.clock};
    check(l, 5);
    counted c{{.limit = 9, .window = 1us}, t.clock};
    check(c, 5);
}

TEST(rate_limits, take_from_all_or_from_none) {
    timed t;
    limits all{{{.limit = 1, .burst = 10}, {.limit = 1, .period = 1h, .burst = 3}}, t.clock};
    EXPECT_EQ(all.allow(4), (rate_decision{false, 3, -1ns, 0s}));
    EXPECT_EQ(all.allow(3), (rate_decision{true, 0, -1ns, 3h}));
    for (int i = 0; i < 100; ++i) {
        EXPECT_FALSE(all.allow());
    }
    t.at(1h);
    EXPECT_TRUE(all.allow()) << "refusals took nothing from the first";
    EXPECT_EQ(all.check(1), (rate_decision{false, 0, 1h, 3h}));
    limits late{{{.limit = 1, .burst = 10, .initial_tokens = 0}, {.limit = 1, .burst = 10}}, t.clock};
    EXPECT_EQ(late.check(2).retry_after, 2s);
    EXPECT_THROW(limits(std::vector<weir::token_bucket_options>{}, t.clock), std::invalid_argument);
}

// -- P4: threads

template <class Limiter>
void adds_up(Limiter& l, std::int64_t expected) {
    std::atomic<std::int64_t> admitted{0};
    run_together(4, [&](std::size_t i) {
        std::int64_t mine = 0;
        for (int k = 0; k < 20'000; ++k) {
            auto const n = static_cast<std::int64_t>(1 + (i + static_cast<std::size_t>(k)) % 2);
            mine += l.try_acquire(n) ? n : 0;
            mine += l.allow(1).allowed ? 1 : 0;
        }
        admitted += mine;
    });
    EXPECT_EQ(admitted, expected);
}

TEST(rate_limiters, let_as_many_through_for_many_threads_as_for_one) {
    timed t;
    bucket b{{.limit = 1, .burst = 100'000}, t.clock};
    adds_up(b, 100'000);
    logged l{{.limit = 5000}, t.clock};
    adds_up(l, 5000);
    counted c{{.limit = 100'000}, t.clock};
    adds_up(c, 100'000);
    limits all{{{.limit = 1, .burst = 100'000}, {.limit = 1, .burst = 70'000}}, t.clock};
    adds_up(all, 70'000);
}

TEST(token_bucket, threads_on_a_running_clock_get_no_more_than_the_rate) {
    timed t;
    bucket b{{.limit = 1, .period = 1us, .burst = 10}, t.clock};
    std::atomic<std::int64_t> admitted{0};
    findings wrong;
    run_together(4, [&](std::size_t i) {
        for (int k = 0; k < 20'000; ++k) {
            if (i == 0) {
                t.clock.advance(30ns);
            }
            switch (k % 4) {
                case 0: admitted += b.allow_at_most(3).granted; break;
                case 1: {
                    auto r = b.reserve(2, 5us);
                    if (r.has_value()) {
                        admitted += 2;
                        if (k % 8 == 1) {
                            admitted -= b.cancel(std::move(*r));
                        }
                    }
                    break;
                }
                default: admitted += b.try_acquire() ? 1 : 0;
            }
            if (i == 0) {  // who moves the clock knows the time
                wrong.expect(b.balance() >= -5, "reserved too far ahead");
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    auto const length = (t.clock.now() - t.start).count();
    EXPECT_EQ(length, 600'000);
    EXPECT_LE(admitted, 10 + 600 + 5);
    EXPECT_GE(admitted, 600);
}

TEST(keyed_rate_limiter, threads_on_the_same_keys_get_what_one_would) {
    timed t;
    keyed<std::uint64_t> k{{.limit = 1, .burst = 50}, {.capacity = 4096}, t.clock};
    keyed<std::uint64_t, logged> l{{.limit = 50}, {.capacity = 4096}, t.clock};
    std::vector<std::atomic<int>> admitted(256);
    std::vector<std::atomic<int>> logged_too(256);
    findings wrong;
    run_together(4, [&](std::size_t i) {
        std::mt19937_64 random(i);
        for (int n = 0; n < 40'000; ++n) {
            auto const key = random() % admitted.size();
            auto const seen = k.peek(key);
            wrong.expect(seen.remaining >= 0 && seen.remaining <= 50, "peek shows what never was");
            admitted[key] += k.try_acquire(key) ? 1 : 0;
            logged_too[key] += l.allow(key).allowed ? 1 : 0;
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    ASSERT_EQ(k.stats().evictions_live, 0U);
    for (auto const& a : admitted) {
        EXPECT_EQ(a, 50);
    }
    for (auto const& a : logged_too) {
        EXPECT_EQ(a, 50);
    }
    EXPECT_EQ(k.stats().live, 256U);
}

TEST(keyed_rate_limiter, threads_that_push_each_other_out_never_exceed_a_key) {
    timed t;
    keyed<std::uint64_t> k{{.limit = 1, .burst = 3}, {.capacity = 16}, t.clock};
    std::vector<std::atomic<int>> admitted(200);
    run_together(4, [&](std::size_t i) {
        std::mt19937_64 random(i);
        for (int n = 0; n < 40'000; ++n) {
            auto const key = random() % admitted.size();
            admitted[key] += k.try_acquire(key) ? 1 : 0;
            if (n % 1000 == 0) {
                k.cleanup(1);
            }
        }
    });
    for (auto const& a : admitted) {
        EXPECT_LE(a, 3);  // the clock stands still
    }
    EXPECT_GT(k.stats().evictions_live, 0U);
}

// -- P5, P7, and the store against one that forgets nothing

template <class Algorithm>
void never_exceeds_the_oracle(typename Algorithm::options const& o, std::size_t capacity, std::size_t keys, bool identical) {
    timed t;
    keyed<std::uint64_t, Algorithm> k{o, {.capacity = capacity, .seed = 7}, t.clock};
    std::map<std::uint64_t, std::unique_ptr<Algorithm>> oracle;
    std::mt19937_64 random(6);
    int over = 0;
    int under = 0;
    for (int i = 0; i < 120'000; ++i) {
        t.clock.advance(nanoseconds{static_cast<std::int64_t>(random() % 200)});
        auto const key = random() % keys;
        auto const n = static_cast<std::int64_t>(random() % 4);
        auto& own = oracle[key];
        if (own == nullptr) {
            own = std::make_unique<Algorithm>(o, t.clock);
        }
        if (i % 1000 == 0) {
            k.cleanup(1 + random() % 3);
        }
        auto const looked = k.peek(key, n);
        auto const d = k.allow(key, n);
        ASSERT_EQ(looked.allowed, d.allowed);
        auto const could = own->check(n).allowed;
        over += d.allowed && !could ? 1 : 0;
        under += !d.allowed && could ? 1 : 0;
        if (d.allowed) {
            // What the store let through is all that the key has had.
            ASSERT_TRUE(own->allow(n)) << i;
            if (identical) {
                ASSERT_EQ(d, own->check(0)) << i;
            }
        }
    }
    EXPECT_EQ(over, 0);
    if (identical) {
        EXPECT_EQ(under, 0);
        EXPECT_EQ(k.stats().evictions_live, 0U);
    } else {
        EXPECT_GT(under, 0);
        EXPECT_GT(k.stats().evictions_live, 0U);
    }
}

TEST(keyed_rate_limiter, is_the_same_as_a_bucket_for_each_key_while_they_fit) {
    never_exceeds_the_oracle<bucket>({.limit = 3, .period = 1us, .burst = 5}, 8, 8, true);
    never_exceeds_the_oracle<bucket>({.limit = 3, .period = 1us, .burst = 5}, 400, 40, true);
}

TEST(keyed_rate_limiter, never_lets_a_key_exceed_its_limit_when_they_do_not_fit) {
    never_exceeds_the_oracle<bucket>({.limit = 3, .period = 20us, .burst = 5}, 16, 200, false);
}

TEST(keyed_rate_limiter, of_logs_is_the_same_as_a_log_for_each_key_while_they_fit) {
    never_exceeds_the_oracle<logged>({.limit = 5, .window = 2us}, 8, 8, true);
}

TEST(keyed_rate_limiter, of_logs_never_lets_a_key_exceed_its_limit_when_they_do_not_fit) {
    never_exceeds_the_oracle<logged>({.limit = 3, .window = 20us}, 16, 200, false);
}

TEST(keyed_rate_limiter, of_several_limits_never_lets_a_key_exceed_them) {
    std::vector<weir::token_bucket_options> const o{{.limit = 3, .period = 2us, .burst = 3}, {.limit = 8, .period = 20us, .burst = 8}};
    never_exceeds_the_oracle<limits>(o, 8, 8, true);
    never_exceeds_the_oracle<limits>(o, 16, 200, false);
}

TEST(keyed_rate_limiter, of_counters_lets_no_evicted_key_have_a_window_anew) {
    timed t;
    std::int64_t const window = 10'000;
    keyed<std::uint64_t, counted> k{{.limit = 3, .window = nanoseconds{window}}, {.capacity = 16, .seed = 7}, t.clock};
    std::map<std::pair<std::uint64_t, std::int64_t>, std::int64_t> calls;
    std::mt19937_64 random(8);
    for (int i = 0; i < 120'000; ++i) {
        t.clock.advance(nanoseconds{static_cast<std::int64_t>(random() % 200)});
        auto const at = (t.clock.now() - t.start).count();
        auto const key = random() % 200;
        auto& current = calls[{key, at / window}];
        auto const before = calls[{key, at / window - 1}];
        if (k.try_acquire(key)) {
            ++current;
            auto const weighted = (before * (window - at % window) + window - 1) / window;
            ASSERT_LE(current + weighted, 3) << i;
        }
    }
    EXPECT_GT(k.stats().evictions_live, 0U);
}

TEST(keyed_rate_limiter, keeps_its_memory_and_its_promise_for_a_million_keys) {
    timed t;
    keyed<std::uint64_t> k{{.limit = 1, .burst = 2}, {.capacity = 1000}, t.clock};
    EXPECT_TRUE(k.allow(UINT64_MAX, 2));
    std::size_t admitted = 0;
    for (std::uint64_t i = 0; i < 1'000'000; ++i) {
        t.clock.advance(100ns);  // all of it is less than one refill
        admitted += k.try_acquire(i) ? 1U : 0U;
        if (i % 50'000 == 0) {
            ASSERT_FALSE(k.try_acquire(UINT64_MAX)) << "somebody else freed it";
        }
    }
    auto const s = k.stats();
    EXPECT_EQ(s.capacity, 1000U);
    EXPECT_EQ(s.live, 1000U);
    EXPECT_EQ(admitted, s.live - 1 + s.evictions_live);
    EXPECT_GT(s.watermark_denials, 0U);
}

TEST(keyed_rate_limiter, a_flood_of_keys_takes_nothing_from_those_who_have_used_more) {
    timed t;
    keyed<std::uint64_t> k{{.limit = 1, .burst = 100}, {.capacity = 8}, t.clock};
    for (std::uint64_t i = 0; i < 7; ++i) {
        ASSERT_TRUE(k.allow(i, 50));
    }
    std::int64_t last = 99;
    for (std::uint64_t i = 100; i < 140; ++i) {
        auto const d = k.allow(i);
        EXPECT_TRUE(d);
        EXPECT_LE(d.remaining, last) << "newcomers do not start full";
        last = d.remaining;
    }
    EXPECT_EQ(last, 80) << "each starts with what the last but one had left";
    for (std::uint64_t i = 0; i < 7; ++i) {
        EXPECT_EQ(k.peek(i).remaining, 50);
    }
}

TEST(keyed_rate_limiter, cleanup_forgets_what_is_as_good_as_new_and_nothing_else) {
    timed t;
    keyed<int> k{{.limit = 1, .burst = 2}, {.capacity = 64}, t.clock};
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(k.allow(i, i < 10 ? 1 : 2));
    }
    EXPECT_EQ(k.stats().live, 20U);
    EXPECT_EQ(k.cleanup(), 0U);
    t.at(1s);
    std::size_t gone = 0;
    for (std::size_t i = 0; i < k.stats().capacity / 8; ++i) {
        gone += k.cleanup(1);
    }
    EXPECT_EQ(gone, 10U);
    EXPECT_EQ(k.stats().live, 10U);
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(k.peek(i).remaining, i < 10 ? 2 : 1) << i;
    }
}

TEST(keyed_rate_limiter, a_look_gives_no_place_to_a_key) {
    timed t;
    keyed<int> k{{.limit = 1, .burst = 2}, {.capacity = 64}, t.clock};
    EXPECT_EQ(k.peek(1), (rate_decision{true, 2, -1ns, 0ns}));
    EXPECT_TRUE(k.allow(1, 0));
    EXPECT_EQ(k.allow(1, 3), (rate_decision{false, 2, -1ns, 0ns}));
    EXPECT_FALSE(k.try_acquire(1, -1));
    EXPECT_EQ(k.stats().live, 0U);
    EXPECT_EQ(k.stats().watermark_denials, 0U) << "three are never allowed";
}

struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>{}(s); }
};

TEST(keyed_rate_limiter, takes_whatever_has_the_hash_of_a_key) {
    timed t;
    weir::keyed_rate_limiter<std::string, bucket, text_hash> k{{.limit = 1}, {}, t.clock};
    EXPECT_TRUE(k.allow(std::string_view("a")));
    EXPECT_FALSE(k.allow("a"));
    EXPECT_FALSE(k.allow(std::string("a")));
    weir::keyed_rate_limiter<std::string, bucket> plain{{.limit = 1}, {}, t.clock};
    EXPECT_TRUE(plain.allow("a"));
    EXPECT_FALSE(plain.allow(std::string("a")));
}

// -- P6

TEST(token_bucket, looks_and_refusals_leave_no_trace) {
    timed t;
    bucket b{{.limit = 10, .burst = 3}, t.clock};
    std::mt19937_64 random(9);
    for (int i = 0; i < 1000; ++i) {
        t.clock.advance(nanoseconds{static_cast<std::int64_t>(random() % 50'000'000)});
        b.allow(static_cast<std::int64_t>(random() % 3));
        auto const before = b.state();
        auto const d = b.check(1);
        static_cast<void>(b.check(7));
        static_cast<void>(b.balance());
        static_cast<void>(b.stats());
        EXPECT_TRUE(b.allow(0));
        EXPECT_TRUE(b.try_acquire(0));
        EXPECT_FALSE(b.allow(4));
        EXPECT_FALSE(b.allow(-1));
        EXPECT_FALSE(b.try_acquire(INT64_MAX));
        EXPECT_FALSE(b.try_acquire(INT64_MIN));
        EXPECT_FALSE(b.reserve(4).has_value());
        EXPECT_EQ(b.allow_at_most(0).granted, 0);
        if (!d) {
            EXPECT_FALSE(b.try_acquire());
            EXPECT_EQ(b.allow_at_most(2).granted, 0);
            EXPECT_FALSE(b.reserve(3, 1ns).has_value());
        }
        ASSERT_EQ(b.state(), before) << i;
    }
}

// -- Memory

TEST(rate_limiters, allocate_nothing_after_construction) {
    timed t;
    bucket b{{.limit = 10, .burst = 3}, t.clock};
    logged l{{.limit = 3}, t.clock};
    counted c{{.limit = 3}, t.clock};
    limits all{{{.limit = 10, .burst = 3}, {.limit = 20, .burst = 3}}, t.clock};
    keyed<int> k{{.limit = 10, .burst = 3}, {.capacity = 8}, t.clock};
    keyed<int, logged> kl{{.limit = 3}, {.capacity = 8}, t.clock};
    for (int i = 0; i < 1000; ++i) {
        k.allow(i);  // the counters of this thread
        kl.allow(i);
    }
    k.cleanup();
    t.at(1h);
    k.cleanup();
    faults::arm(1, fault::operator_new);
    for (int i = 0; i < 2000; ++i) {
        b.allow();
        l.allow();
        c.allow();
        all.allow();
        k.allow(i);
        kl.allow(i);
        static_cast<void>(b.reserve(1, 1s));
        static_cast<void>(k.peek(i));
        static_cast<void>(k.stats());
        k.cleanup(1);
        t.clock.advance(1ms);
    }
    bool const none = !news_can_fail || faults::armed();
    faults::disarm();
    EXPECT_TRUE(none);
}

TEST(cached_limiter, uses_nothing_up_when_memory_runs_out) {
    if (!news_can_fail) {
        GTEST_SKIP() << "this program cannot make new fail";
    }
    // A counter's first use in a thread may find no memory; it then counts in a word that all share.
    bool failed = true;
    for (std::size_t nth = 1; failed; ++nth) {
        timed t;
        pings p{{}, t.clock};
        std::string const key = "a key that is too long to be stored in a small string";
        faults::arm(nth, fault::operator_new);
        try {
            auto a = p.try_acquire(key);
            ASSERT_TRUE(a.admitted());
            EXPECT_TRUE(a.permit().commit(1));
        } catch (std::bad_alloc const&) {
        }
        failed = !faults::armed();
        faults::disarm();
        // Either it was not admitted, then this is; or it was, and then its answer may be missing, but nobody waits for it.
        auto const a = p.acquire(key);
        EXPECT_EQ(p.stats().admitted, 1U) << nth;
        ASSERT_LT(nth, 100U);
    }
}

// -- Clocks

template <class Limiter>
void survives_a_step_back(Limiter& l, timed const& t, nanoseconds step, nanoseconds at_most) {
    t.at(step + 1h);
    while (l.try_acquire()) {
    }
    t.at(1h);
    EXPECT_FALSE(l.try_acquire()) << "it minted something";
    auto waited = 0ns;
    while (!l.try_acquire() && waited < 10 * at_most) {
        t.clock.advance(at_most / 100);
        waited += at_most / 100;
    }
    EXPECT_LE(waited, at_most);
    t.clock.advance(2 * at_most);
    EXPECT_EQ(l.check(0).reset_after, 0ns);
}

TEST(rate_limiters, a_clock_set_back_by_days_costs_a_burst_or_three_windows) {
    for (auto const step : {nanoseconds{50h}, nanoseconds{24h * 400}}) {
        timed t;
        bucket b{{.limit = 10, .burst = 10}, t.clock};
        survives_a_step_back(b, t, step, 1s);
        EXPECT_EQ(b.stats().heals, 1U);
        logged l{{.limit = 10}, t.clock};
        survives_a_step_back(l, t, step, 2s);
        EXPECT_EQ(l.stats().heals, 1U);
        counted c{{.limit = 10}, t.clock};
        survives_a_step_back(c, t, step, 2s);
        EXPECT_EQ(c.stats().heals, 1U);
        limits all{{{.limit = 10, .burst = 10}, {.limit = 20, .burst = 20}}, t.clock};
        survives_a_step_back(all, t, step, 1s);
        EXPECT_EQ(all.stats().heals, 1U);
    }
}

TEST(rate_limiters, a_clock_set_back_a_little_only_delays) {
    timed t;
    bucket b{{.limit = 10, .burst = 10}, t.clock};
    ASSERT_TRUE(b.try_acquire(10));
    t.at(-1h);
    EXPECT_FALSE(b.try_acquire());
    EXPECT_EQ(b.stats().heals, 0U) << "max_reserve is a day";
    EXPECT_EQ(b.check().retry_after, 1h + 100ms);
    t.at(100ms);
    EXPECT_TRUE(b.try_acquire());
}

TEST(keyed_rate_limiter, a_clock_set_back_by_days_delays_present_and_new_keys_by_a_burst) {
    timed t;
    keyed<int> k{{.limit = 10, .burst = 10}, {.capacity = 8}, t.clock};
    keyed<int, logged> l{{.limit = 10}, {.capacity = 8}, t.clock};
    keyed<int, counted> c{{.limit = 10}, {.capacity = 8}, t.clock};
    auto const check = [&](auto& each, nanoseconds at_most) {
        t.at(1000h);
        for (int i = 0; i < 100; ++i) {
            each.allow(i, 10);  // the mark is a burst ahead
        }
        t.at(1h);
        EXPECT_FALSE(each.try_acquire(0));
        EXPECT_FALSE(each.try_acquire(1000));
        t.clock.advance(at_most);
        EXPECT_TRUE(each.try_acquire(0));
        EXPECT_TRUE(each.try_acquire(1001));
    };
    check(k, 1s);
    check(l, 2s);
    check(c, 2s);
}

TEST(token_bucket, a_caller_that_was_suspended_after_its_look_at_the_clock_frees_nothing) {
    timed t;
    bucket b{{.limit = 1000, .burst = 10, .max_reserve = 0ns}, t.clock};
    logged l{{.limit = 10, .window = 10ms}, t.clock};
    counted c{{.limit = 10, .window = 10ms}, t.clock};
    auto const old = t.clock.now();
    t.at(1h);
    ASSERT_TRUE(b.try_acquire(10));
    ASSERT_TRUE(l.try_acquire(10));
    ASSERT_TRUE(c.try_acquire(10));
    EXPECT_FALSE(b.try_acquire(1, old));
    EXPECT_FALSE(l.try_acquire(1, old));
    EXPECT_FALSE(c.try_acquire(1, old));
    EXPECT_EQ(b.stats().heals, 0U);
    EXPECT_FALSE(b.try_acquire());
    EXPECT_FALSE(l.try_acquire());
    EXPECT_FALSE(c.try_acquire());
    EXPECT_EQ(b.check().retry_after, 1ms);
    EXPECT_EQ(l.check().retry_after, 10ms);
}

// Makes a limiter of ten calls at `from`, and goes to the ends of time and back.
template <class Limiter, class Options>
void goes_to_the_ends_of_time(Options const& o, manual_clock::time_point from) {
    using time_point = manual_clock::time_point;
    manual_clock const clock(from);
    Limiter l{o, clock};
    for (auto const end : {time_point::min(), time_point::max(), time_point::min(), from}) {
        clock.set(end);
        int admitted = 0;
        while (admitted < 100 && l.try_acquire()) {
            ++admitted;
        }
        EXPECT_LE(admitted, 10);
        auto const d = l.check();
        EXPECT_FALSE(d);
        EXPECT_GT(d.retry_after.count(), 0);
    }
    clock.set(from + 3s);
    EXPECT_TRUE(l.try_acquire());
}

TEST(rate_limiters, survive_the_ends_of_time) {
    using time_point = manual_clock::time_point;
    for (auto const from : {time_point{}, time_point{1000h}, time_point::min(), time_point::max() - 3s}) {
        goes_to_the_ends_of_time<bucket>(weir::token_bucket_options{.limit = 10, .burst = 10}, from);
        goes_to_the_ends_of_time<logged>(weir::sliding_log_options{.limit = 10}, from);
        goes_to_the_ends_of_time<counted>(weir::sliding_counter_options{.limit = 10}, from);
        goes_to_the_ends_of_time<limits>(std::vector<weir::token_bucket_options>{{.limit = 10, .burst = 10}, {.limit = 20, .burst = 20}}, from);
    }
}

TEST(sliding_counter, words_of_long_ago_delay_by_three_windows_at_most) {
    timed t;
    counted c{{.limit = 10, .window = 1ms}, t.clock};
    for (std::int64_t const windows : {(1 << 23) + 5, 1 << 24, (1 << 24) - 1, (1 << 24) + 1, 3 << 23}) {
        ASSERT_TRUE(c.try_acquire(10)) << windows;
        t.clock.advance(windows * 1ms);
        static_cast<void>(c.try_acquire());
        t.clock.advance(3ms);
        EXPECT_TRUE(c.try_acquire()) << windows;
        t.clock.advance(3ms);
        EXPECT_EQ(c.estimate(), 0) << windows;
    }
}

// -- Reservations and waits

TEST(token_bucket, a_reservation_is_given_back_once) {
    timed t;
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    auto first = b.reserve(2);
    auto moved = std::move(*first);
    EXPECT_EQ(first->tokens(), 0);
    EXPECT_EQ(b.cancel(std::move(*first)), 0);
    EXPECT_EQ(b.cancel(std::move(moved)), 2);
    auto second = b.reserve(2);
    EXPECT_EQ(b.balance(), 0);
    EXPECT_EQ(b.cancel(std::move(moved)), 0) << "it would take the second one's tokens";
    EXPECT_EQ(b.balance(), 0);
    EXPECT_EQ(b.cancel(std::move(*second)), 2);
    EXPECT_EQ(b.balance(), 2);
}

TEST(token_bucket, reserves_no_further_than_max_reserve) {
    timed t;
    bucket b{{.limit = 1, .burst = 1, .max_reserve = 2s}, t.clock};
    EXPECT_EQ(act(b, t, 1), 0s);
    EXPECT_EQ(act(b, t, 1), 1s);
    EXPECT_EQ(act(b, t, 1), 2s);
    auto const refused = b.reserve();
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error(), (weir::rejected{refusal::rate_limited, 1s}));
    EXPECT_EQ(b.balance(), -2);
    EXPECT_EQ(b.check().retry_after, 3s);
    EXPECT_FALSE(b.allow(0)) << "a look shows the debt";
    bucket none{{.limit = 1, .max_reserve = 0s}, t.clock};
    EXPECT_EQ(act(none, t, 1), 0s);
    EXPECT_FALSE(none.reserve().has_value());
}

TEST(token_bucket, waits_its_turn) {
    timed t;
    weir::manual_sleeper const sleeper(t.clock);
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    EXPECT_TRUE(b.wait_for(2, 0s, {}, sleeper).has_value());
    EXPECT_EQ(t.clock.now() - t.start, 0s);
    EXPECT_TRUE(b.wait_for(1, 1s, {}, sleeper).has_value());
    EXPECT_EQ(t.clock.now() - t.start, 100ms);
    EXPECT_TRUE(b.wait_until(1, t.start + 200ms, {}, sleeper).has_value());
    EXPECT_EQ(t.clock.now() - t.start, 200ms);

    auto const too_long = b.wait_for(1, 99ms, {}, sleeper);
    ASSERT_FALSE(too_long.has_value());
    EXPECT_EQ(too_long.error(), (weir::rejected{refusal::rate_limited, 1ms}));
    EXPECT_EQ(b.wait_until(1, t.start, {}, sleeper).error().reason, refusal::timed_out);
    EXPECT_EQ(b.wait_for(3, 1h, {}, sleeper).error().reason, refusal::over_capacity);
    EXPECT_EQ(t.clock.now() - t.start, 200ms) << "who is refused does not sleep";
    EXPECT_EQ(b.balance(), 0);
    EXPECT_TRUE(b.wait_until(1, manual_clock::time_point::max(), {}, sleeper).has_value());
    EXPECT_EQ(t.clock.now() - t.start, 300ms);
}

// Asks for a stop when it is told to sleep.
struct stopping_sleeper {
    std::stop_source source;
    bool sleep_for(nanoseconds, std::stop_token const& stop) const {
        auto copy = source;
        copy.request_stop();
        return !stop.stop_requested();
    }
};

TEST(token_bucket, a_wait_that_is_stopped_gives_its_tokens_back) {
    timed t;
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    ASSERT_TRUE(b.try_acquire(2));
    auto const before = b.state();
    stopping_sleeper const sleeper{};
    auto const r = b.wait_for(1, 1s, sleeper.source.get_token(), sleeper);
    ASSERT_FALSE(r.has_value());
    EXPECT_EQ(r.error().reason, refusal::stopped);
    EXPECT_EQ(b.state(), before);
    EXPECT_EQ(b.wait_for(1, 1s, sleeper.source.get_token(), sleeper).error().reason, refusal::stopped);
    EXPECT_EQ(b.state(), before);
}

struct throwing_sleeper {
    bool sleep_for(nanoseconds, std::stop_token const&) const { throw std::runtime_error("woken"); }
};

TEST(token_bucket, a_wait_whose_sleeper_throws_gives_its_tokens_back) {
    timed t;
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    ASSERT_TRUE(b.try_acquire(2));
    auto const before = b.state();
    EXPECT_THROW(static_cast<void>(b.wait_for(1, 1s, {}, throwing_sleeper{})), std::runtime_error);
    EXPECT_EQ(b.state(), before);
}

// Sleeps too short, and moves the clock in other ways than asked.
struct odd_sleeper {
    timed const* t;
    nanoseconds step;
    int* calls;
    bool sleep_for(nanoseconds, std::stop_token const&) const {
        ++*calls;
        t->clock.advance(step);
        return true;
    }
};

TEST(token_bucket, a_wait_ends_when_the_clock_says_so_or_when_the_clock_does_not_go) {
    timed t;
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    ASSERT_TRUE(b.try_acquire(2));
    int calls = 0;
    EXPECT_TRUE(b.wait_for(1, 1s, {}, odd_sleeper{&t, 30ms, &calls}).has_value());
    EXPECT_EQ(calls, 4);
    calls = 0;
    EXPECT_TRUE(b.wait_for(2, 1s, {}, odd_sleeper{&t, 0ms, &calls}).has_value());
    EXPECT_EQ(calls, 1);
    calls = 0;
    EXPECT_TRUE(b.wait_for(2, 1s, {}, odd_sleeper{&t, -1h, &calls}).has_value());
    EXPECT_EQ(calls, 1);
}

TEST(token_bucket, a_real_wait_is_ended_by_a_stop) {
    weir::token_bucket<> b{{.limit = 1, .period = 1h}};
    ASSERT_TRUE(b.try_acquire());
    std::stop_source source;
    arrivals started;
    crew all;
    std::optional<weir::rejected> why;
    all.start([&] {
        started.arrive();
        auto const r = b.wait_until(1, std::chrono::steady_clock::time_point::max(), source.get_token());
        if (!r.has_value()) {
            why = r.error();
        }
    });
    ASSERT_TRUE(started.wait_for(1));
    source.request_stop();
    all.join();
    ASSERT_TRUE(why.has_value());
    EXPECT_EQ(why->reason, refusal::stopped);
    EXPECT_EQ(b.balance(), 0);
}

// -- Options

template <class F>
std::string complaint(F&& make) {
    try {
        make();
    } catch (std::invalid_argument const& e) {
        return e.what();
    }
    return "none";
}

TEST(token_bucket, refuses_options_that_make_no_sense_by_name) {
    auto const made = [](weir::token_bucket_options o) { return complaint([&] { bucket{o}; }); };
    auto const names = [](std::string const& text, std::string const& option) {
        return text.find("weir::token_bucket: " + option + " must") != std::string::npos;
    };
    double const nan = std::numeric_limits<double>::quiet_NaN();
    double const infinite = std::numeric_limits<double>::infinity();
    for (double const limit : {0.0, -0.0, -1.0, nan, infinite, -infinite}) {
        EXPECT_TRUE(names(made({.limit = limit}), "limit")) << limit << made({.limit = limit});
    }
    nanoseconds const longest{INT64_C(1) << 60};
    for (auto const period : {0ns, -1ns, nanoseconds::min(), nanoseconds::max(), longest + 1ns}) {
        EXPECT_TRUE(names(made({.period = period}), "period")) << period.count();
    }
    for (std::int64_t const burst : {INT64_C(0), INT64_C(-1), INT64_MIN}) {
        EXPECT_TRUE(names(made({.burst = burst}), "burst")) << burst;
    }
    EXPECT_TRUE(names(made({.burst = INT64_MAX}), "burst"));
    EXPECT_TRUE(names(made({.limit = std::numeric_limits<double>::denorm_min()}), "burst"));
    EXPECT_TRUE(names(made({.limit = 1, .period = longest}), "burst"));
    EXPECT_EQ(made({.limit = 16, .period = longest / 64, .max_reserve = 0ns}), "none");
    for (std::int64_t const initial : {INT64_C(-1), INT64_C(2), INT64_MAX}) {
        EXPECT_TRUE(names(made({.initial_tokens = initial}), "initial_tokens")) << initial;
    }
    for (auto const reserve : {-1ns, nanoseconds::min(), nanoseconds::max(), longest, nanoseconds{INT64_C(1) << 58}}) {
        EXPECT_TRUE(names(made({.max_reserve = reserve}), "max_reserve")) << reserve.count();
    }
    // 16e9 ticks a token: 2^62 / 16e9 tokens are the most.
    auto const most = (INT64_C(1) << 62) / 16'000'000'000;
    EXPECT_EQ(made({.limit = 1, .burst = most, .max_reserve = 0ns}), "none");
    EXPECT_TRUE(names(made({.limit = 1, .burst = most + 1, .max_reserve = 0ns}), "burst"));
    EXPECT_EQ(made({.limit = 1e300, .burst = INT64_C(1) << 62, .max_reserve = 0ns}), "none");
    EXPECT_EQ(made({.limit = 1, .max_reserve = nanoseconds{(INT64_C(1) << 58) - 1'000'000'000}}), "none");
}

TEST(rate_limiters, refuse_options_that_make_no_sense_by_name) {
    auto const names = [](std::string const& text, std::string const& option) { return text.find(option + " must") != std::string::npos; };
    nanoseconds const longest{INT64_C(1) << 60};
    for (auto const window : {0ns, -1ns, longest + 1ns, nanoseconds::max(), nanoseconds::min()}) {
        EXPECT_TRUE(names(complaint([&] { logged{{.window = window}}; }), "weir::sliding_log: window"));
        EXPECT_TRUE(names(complaint([&] { counted{{.window = window}}; }), "weir::sliding_counter: window"));
        EXPECT_TRUE(names(complaint([&] { pings{{.window = window}}; }), "weir::cached_limiter: window"));
        EXPECT_TRUE(names(complaint([&] { pings{{.max_age = window}}; }), "weir::cached_limiter: max_age"));
    }
    EXPECT_EQ(complaint([&] { logged{{.window = longest}}; }), "none");
    EXPECT_EQ(complaint([&] { counted{{.window = longest}}; }), "none");
    for (std::int64_t const limit : {INT64_C(0), INT64_C(-1), INT64_C(1) << 21, INT64_MAX, INT64_MIN}) {
        EXPECT_TRUE(names(complaint([&] { logged{{.limit = limit}}; }), "weir::sliding_log: limit"));
        EXPECT_TRUE(names(complaint([&] { counted{{.limit = limit}}; }), "weir::sliding_counter: limit"));
        EXPECT_TRUE(names(complaint([&] { pings{{.limit = limit}}; }), "weir::cached_limiter: limit"));
    }
    EXPECT_TRUE(names(complaint([&] { counted{{.limit = 1 << 20}}; }), "weir::sliding_counter: limit"));
    EXPECT_EQ(complaint([&] { counted{{.limit = (1 << 20) - 1}}; }), "none");
    EXPECT_EQ(complaint([&] { logged{{.limit = 1 << 20}}; }), "none");
    for (std::size_t const capacity : {std::size_t{0}, (std::size_t{1} << 32) + 1, SIZE_MAX}) {
        EXPECT_TRUE(names(complaint([&] { keyed<int>{{}, {.capacity = capacity}}; }), "weir::keyed_rate_limiter: capacity"));
        EXPECT_TRUE(names(complaint([&] { pings{{.capacity = capacity}}; }), "weir::cached_limiter: capacity"));
    }
    EXPECT_NE(complaint([&] { keyed<int>{{.initial_tokens = 0}, {}}; }).find("initial_tokens must"), std::string::npos);
    EXPECT_TRUE(names(complaint([&] { keyed<int>{{.limit = 0}, {}}; }), "limit"));
}

TEST(sliding_counter, counts_up_to_its_largest_limit) {
    timed t;
    std::int64_t const most = (1 << 20) - 1;
    counted c{{.limit = most, .window = nanoseconds{INT64_C(1) << 60}}, t.clock};
    EXPECT_TRUE(c.try_acquire(most));
    EXPECT_FALSE(c.try_acquire());
    EXPECT_EQ(c.estimate(), most);
    t.clock.advance(nanoseconds{INT64_C(1) << 60});
    EXPECT_EQ(c.estimate(), most);
    EXPECT_FALSE(c.try_acquire());
    EXPECT_EQ(c.check().retry_after, nanoseconds{(INT64_C(1) << 60) - static_cast<std::int64_t>((INT64_C(1) << 60) / most * (most - 1)) - (((INT64_C(1) << 60) % most) * (most - 1)) / most});
}

// -- In a pipeline

struct context {};

template <class Layer>
weir::outcome<int> call_through(Layer const& layer, int& calls) {
    context c;
    return layer(c, [&](context&) -> weir::outcome<int> { return ++calls; });
}

template <class Layer>
void admits_two_and_refuses(Layer const& layer, refusal why, nanoseconds retry) {
    static_assert(weir::policy<Layer>);
    int calls = 0;
    EXPECT_EQ(call_through(layer, calls).value(), 1);
    EXPECT_EQ(call_through(layer, calls).value(), 2);
    auto const refused = call_through(layer, calls);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().rejection(), (weir::rejected{why, retry}));
    EXPECT_EQ(calls, 2);
}

TEST(rate_limiters, are_layers_of_a_pipeline) {
    timed t;
    bucket b{{.limit = 10, .burst = 2}, t.clock};
    admits_two_and_refuses(b.policy(), refusal::rate_limited, 100ms);
    logged l{{.limit = 4}, t.clock};
    admits_two_and_refuses(l.policy(2), refusal::rate_limited, 1s);
    counted c{{.limit = 2}, t.clock};
    admits_two_and_refuses(c.policy(), refusal::rate_limited, 1500ms);
    keyed<std::string> k{{.limit = 10, .burst = 2}, {}, t.clock};
    admits_two_and_refuses(k.policy("a"), refusal::rate_limited, 100ms);
    admits_two_and_refuses(k.policy("b"), refusal::rate_limited, 100ms);
    int calls = 0;
    EXPECT_EQ(call_through(b.policy(3), calls).error().rejection(), (weir::rejected{refusal::over_capacity, -1ns}));
    EXPECT_EQ(calls, 0);
}

// -- cached_limiter

TEST(cached_limiter, seed2_verify_ping_cached) {
    timed t;
    pings p{{}, t.clock};
    auto a = p.try_acquire("x");
    ASSERT_TRUE(a.admitted());
    EXPECT_TRUE(a.permit().commit(1));
    t.at(30s);
    auto again = p.try_acquire("x");
    ASSERT_TRUE(again.cached());
    EXPECT_EQ(again.value(), 1);
    EXPECT_EQ(again.age(), 30s);
    t.at(60s);
    auto b = p.try_acquire("x");
    ASSERT_TRUE(b.admitted());
    t.at(60'001ms);
    EXPECT_EQ(p.try_acquire("x").value(), 1);
    t.at(60'002ms);
    EXPECT_TRUE(b.permit().commit(0));
    t.at(60'003ms);
    EXPECT_EQ(p.try_acquire("x").value(), 0);
    auto const s = p.stats();
    EXPECT_EQ(s.admitted, 2U);
    EXPECT_EQ(s.cached, 3U);
    EXPECT_EQ(s.denied, 0U);
    EXPECT_EQ(s.stored, 2U);
}

TEST(cached_limiter, own_cached_older_result_never_overwrites) {
    timed t;
    pings p{{.limit = 2}, t.clock};
    auto old = p.try_acquire("x");
    t.at(1ms);
    auto fresh = p.try_acquire("x");
    t.at(2ms);
    EXPECT_TRUE(fresh.permit().commit(2));
    t.at(3ms);
    EXPECT_FALSE(old.permit().commit(1));
    EXPECT_FALSE(old.permit().commit(1)) << "the first counts";
    t.at(4ms);
    auto const a = p.try_acquire("x");
    EXPECT_EQ(a.value(), 2);
    EXPECT_EQ(a.age(), 2ms);
    EXPECT_EQ(p.stats().outdated, 1U);
}

TEST(cached_limiter, takes_keys_that_compare_equal_for_one_unless_told_otherwise) {
    weir::cached_limiter<std::string, int> p{{.limit = 1}};
    ASSERT_TRUE(p.try_acquire("a").permit().commit(1));
    EXPECT_EQ(p.try_acquire(std::string("a")).value(), 1);
    EXPECT_TRUE(p.try_acquire("b").admitted());
}

TEST(cached_limiter, denies_while_there_is_no_answer) {
    timed t;
    pings p{{}, t.clock};
    {
        auto const dropped = p.try_acquire("x");
        ASSERT_TRUE(dropped.admitted());
        t.at(20s);
        auto const d = p.try_acquire("x");
        ASSERT_TRUE(d.denied());
        EXPECT_EQ(d.why(), (weir::rejected{refusal::rate_limited, 40s}));
    }
    EXPECT_TRUE(p.try_acquire("x").denied()) << "a permit that is dropped leaves no answer";
    EXPECT_TRUE(p.acquire("x").denied()) << "nor anybody to wait for";
    EXPECT_TRUE(p.try_acquire("y").admitted()) << "keys have nothing to do with each other";
}

TEST(cached_limiter, gives_no_answer_that_is_too_old) {
    timed t;
    pings p{{.max_age = 10s}, t.clock};
    EXPECT_TRUE(p.try_acquire("x").permit().commit(1));
    t.at(10s - 1ns);
    EXPECT_TRUE(p.try_acquire("x").cached());
    t.at(10s);
    auto const a = p.try_acquire("x");
    ASSERT_TRUE(a.denied());
    EXPECT_EQ(a.why().retry_after, 50s);
}

TEST(cached_limiter, remembers_no_more_keys_than_it_was_told_and_resets_nobodys_limit) {
    timed t;
    pings p{{.capacity = 8}, t.clock};
    EXPECT_TRUE(p.try_acquire("x").permit().commit(1));
    for (int i = 0; i < 1000; ++i) {
        t.clock.advance(1us);
        auto a = p.try_acquire(std::to_string(i));
        if (a.admitted()) {
            EXPECT_TRUE(a.permit().commit(i));
        }
    }
    EXPECT_FALSE(p.try_acquire("x").admitted());
    EXPECT_GT(p.stats().evictions, 0U);
    EXPECT_EQ(p.stats().keys.live, 8U);
}

TEST(cached_limiter, an_answer_lives_as_long_as_somebody_holds_it) {
    timed t;
    weir::cached_limiter<int, std::unique_ptr<int>, std::hash<int>, std::equal_to<int>, manual_clock> p{{}, t.clock};
    EXPECT_TRUE(p.try_acquire(1).permit().commit(std::make_unique<int>(7)));
    auto const held = p.try_acquire(1).shared();
    t.at(60s);
    EXPECT_TRUE(p.try_acquire(1).permit().commit(std::make_unique<int>(8)));
    EXPECT_EQ(**held, 7);
    EXPECT_EQ(*p.try_acquire(1).value(), 8);
}

TEST(cached_limiter, who_asks_while_a_call_is_under_way_gets_its_answer) {
    timed t;
    pings p{{.limit = 100}, t.clock};
    auto first = p.acquire("x");
    ASSERT_TRUE(first.admitted());
    findings wrong;
    arrivals asked;
    crew all;
    for (int i = 0; i < 4; ++i) {
        all.start([&] {
            asked.arrive();
            auto const a = p.acquire("x");
            // Who comes after the commit may make a call of its own: the limit allows it.
            wrong.expect(a.admitted() || (a.cached() && a.value() == 42), "another answer");
        });
    }
    ASSERT_TRUE(asked.wait_for(4));
    EXPECT_TRUE(first.permit().commit(42));
    all.join();
    EXPECT_TRUE(wrong.none()) << wrong;
}

TEST(cached_limiter, makes_one_call_at_a_time_for_those_who_acquire) {
    weir::cached_limiter<int, int> p{{.limit = 12'000, .capacity = 8}};
    std::vector<std::atomic<int>> under_way(3);
    std::atomic<int> newest{0};
    findings wrong;
    run_together(4, [&](std::size_t thread) {
        for (int i = 0; i < 3000; ++i) {
            auto const key = static_cast<int>((thread + static_cast<std::size_t>(i)) % under_way.size());
            auto& here = under_way[static_cast<std::size_t>(key)];
            auto a = p.acquire(key);
            if (a.admitted()) {
                wrong.expect(here.fetch_add(1) == 0, "two calls at once");
                auto const value = ++newest;
                here.fetch_sub(1);
                if (i % 5 != 0) {
                    wrong.expect(a.permit().commit(value), "newer answers there");
                }
            } else {
                wrong.expect(a.cached() && a.value() <= newest, "neither admitted nor answered");
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    auto const s = p.stats();
    EXPECT_EQ(s.admitted + s.cached + s.denied, 12'000U);
    EXPECT_EQ(s.denied, 0U);
    EXPECT_EQ(s.joined, s.cached);
}

TEST(cached_limiter, a_waiter_goes_on_when_the_call_comes_to_nothing) {
    pings p{{.limit = 2}, timed{}.clock};
    std::optional<pings::answer> first(p.acquire("x"));
    arrivals asked;
    crew all;
    std::atomic<bool> admitted{false};
    all.start([&] {
        asked.arrive();
        admitted = p.acquire("x").admitted();
    });
    ASSERT_TRUE(asked.wait_for(1));
    first.reset();
    all.join();
    EXPECT_TRUE(admitted);
}

TEST(cached_limiter, a_waiter_gives_up_at_its_deadline_or_when_stopped) {
    timed t;
    pings p{{}, t.clock};
    auto const first = p.acquire("x");
    ASSERT_TRUE(first.admitted());
    EXPECT_EQ(p.acquire("x", t.start).why().reason, refusal::timed_out);
    EXPECT_EQ(p.acquire("x", t.start - 1h).why().reason, refusal::timed_out);
    std::stop_source source;
    crew all;
    std::optional<refusal> why;
    all.start([&] { why = p.acquire("x", manual_clock::time_point::max(), source.get_token()).why().reason; });
    source.request_stop();
    all.join();
    EXPECT_EQ(why, refusal::stopped);
    EXPECT_EQ(p.stats().denied, 3U);
}

TEST(cached_limiter, is_a_layer_of_a_pipeline) {
    timed t;
    pings p{{}, t.clock};
    auto const layer = p.policy("x");
    static_assert(weir::policy<decltype(layer)>);
    context c;
    int calls = 0;
    bool fails = true;
    auto const next = [&](context&) -> weir::outcome<int> {
        ++calls;
        if (fails) {
            return weir::unexpected<weir::failure>{weir::failure{weir::rejected{refusal::bulkhead_full}}};
        }
        return calls;
    };
    EXPECT_FALSE(layer(c, next).has_value());
    EXPECT_EQ(layer(c, next).error().rejection().reason, refusal::rate_limited) << "a failure is no answer";
    fails = false;
    t.at(60s);
    EXPECT_EQ(layer(c, next).value(), 2);
    EXPECT_EQ(layer(c, next).value(), 2);
    EXPECT_EQ(calls, 2);
}

// A layer must not throw: below a timeout on an executor nobody could catch it.
TEST(cached_limiter, as_a_layer_makes_a_failure_of_what_it_throws_itself) {
    if (!weir_test::news_can_fail) {
        return;
    }
    timed t;
    pings p{{}, t.clock};
    auto const layer = p.policy("x");
    context c;
    int calls = 0;
    auto const next = [&](context&) -> weir::outcome<int> { return ++calls; };
    std::size_t nth = 0;
    for (bool failed = true; failed;) {
        ASSERT_LT(++nth, 50U);
        t.at(nth * 1h);
        faults::arm(nth, fault::operator_new);
        auto const result = layer(c, next);
        faults::disarm();
        failed = !result.has_value();
        if (failed) {
            ASSERT_FALSE(result.error().is_rejection());
            EXPECT_THROW(result.error().rethrow(), std::bad_alloc);
        }
    }
    EXPECT_GT(nth, 1U);
}

struct no_hash {
    std::size_t operator()(int) const { throw std::runtime_error("no hash"); }
};

TEST(keyed_rate_limiter, as_a_layer_makes_a_failure_of_what_the_hash_throws) {
    weir::keyed_rate_limiter<int, bucket, no_hash> k{{}, {}, manual_clock{}};
    int calls = 0;
    auto const result = call_through(k.policy(1), calls);
    ASSERT_FALSE(result.has_value());
    ASSERT_FALSE(result.error().is_rejection());
    EXPECT_THROW(result.error().rethrow(), std::runtime_error);
    EXPECT_EQ(calls, 0);
}

struct fussy {
    int n;
    static inline int copies_left = 1000;
    explicit fussy(int i) : n(i) {}
    fussy(fussy const& other) : n(other.n) {
        if (copies_left-- <= 0) {
            throw std::runtime_error("no copy");
        }
    }
    fussy(fussy&& other) noexcept : n(other.n) {}
    fussy& operator=(fussy&&) noexcept = default;
    bool operator==(fussy const& other) const { return n == other.n; }
};
struct fussy_hash {
    std::size_t operator()(fussy const& f) const noexcept { return static_cast<std::size_t>(f.n); }
};

TEST(cached_limiter, a_key_that_cannot_be_copied_uses_up_nothing) {
    timed t;
    weir::cached_limiter<fussy, int, fussy_hash, std::equal_to<fussy>, manual_clock> p{{}, t.clock};
    fussy const key(1);
    for (int allowed = 0; allowed < 2; ++allowed) {
        fussy::copies_left = allowed;
        EXPECT_THROW(static_cast<void>(p.try_acquire(key)), std::runtime_error);
    }
    fussy::copies_left = 1000;
    EXPECT_TRUE(p.try_acquire(key).admitted());
}

}  // namespace
}  // namespace weir_test
