// weir (BSL-1.0). Kernels of flow/rate_limiter.hpp: nobody goes through who should not, in whatever order they come.
#include <weir/flow/rate_limiter.hpp>

#include "kernels.hpp"
#include "mutation.hpp"
#include "stats_kernel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

// Who kills what:
//
//   edge               site                          weakened   killed by
//   rate_latch E1      unlock; lock                  rel; acq   three_come_and_two_go
//   rate_latch E1      begin                         acquire    what_is_seen_is_of_one_moment
//   rate_decision E2   a word is set; read           rel; acq   what_is_seen_is_of_one_moment, a_refusal_is_of_one_moment
//   rate_decision E2   the mark of a set: set; read  rel; acq   a_newcomer_is_seen_before_it_came_or_after
//   rate_cached E1     over: set; read by a waiter   seq_cst    who_waits_gets_the_answer

namespace weir_model {
namespace {

using weir::token_bucket_options;
using weir::detail::gcra_rule;
using weir::detail::log_rule;
using weir::detail::rate_table;

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

using bucket = weir::token_bucket<hand_clock>;
using counted = weir::sliding_counter<hand_clock>;
using logged = weir::sliding_log<hand_clock>;
using limits = weir::rate_limits<hand_clock>;
using several = std::vector<token_bucket_options>;
using time = hand_clock::time_point;

constexpr std::int64_t tick = gcra_rule::scale;  // of a ns

constexpr time at(std::int64_t ns) { return time{nanoseconds{ns}}; }

/// One token in `ns` nanoseconds.
token_bucket_options one_in(std::int64_t ns, std::int64_t burst) {
    return {.limit = 1, .period = nanoseconds{ns}, .burst = burst, .initial_tokens = {}, .max_reserve = 1us};
}

int as_int(bool b) { return b ? 1 : 0; }

// ---- token_bucket

WEIR_MODEL_KERNEL(token_bucket, two_come_for_one_token_and_one_gets_it, {.preemptions = 4, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    const std::atomic<std::int64_t> now{0};
    bucket b(one_in(10, 1), hand_clock{&now});
    int one = 0, other = 0;
    together([&] { one = as_int(b.try_acquire(1, at(0))); },
             [&] {
                 auto const d = b.allow(1, at(0));
                 other = as_int(d.allowed);
                 WEIR_MODEL_REQUIRE(d.remaining == 0 && d.reset_after == 10ns && d.retry_after == (d.allowed ? -1ns : 10ns));
             });
    WEIR_MODEL_REQUIRE(one + other == 1);
    WEIR_MODEL_REQUIRE(b.state() == 10 * tick);
}

// Their clocks differ: if the last one comes first, nothing is left at the time of the others.
WEIR_MODEL_KERNEL(token_bucket, three_come_for_two_tokens_at_different_times, {.preemptions = 3, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    const std::atomic<std::int64_t> now{0};
    bucket b(one_in(10, 2), hand_clock{&now});
    int n[3] = {};
    together([&] { n[0] = as_int(b.try_acquire(1, at(0))); }, [&] { n[1] = as_int(b.try_acquire(1, at(3))); },
             [&] { n[2] = as_int(b.try_acquire(1, at(9))); });
    const int all = n[0] + n[1] + n[2];
    WEIR_MODEL_REQUIRE(all == 2 || (all == 1 && n[2] == 1));
}

WEIR_MODEL_KERNEL(token_bucket, who_takes_what_there_is_gets_no_more, {.preemptions = 4, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    const std::atomic<std::int64_t> now{0};
    bucket b(one_in(10, 3), hand_clock{&now});
    std::int64_t one = 0, other = 0;
    together([&] { one = b.allow_at_most(2, at(0)).granted; },
             [&] {
                 auto const g = b.allow_at_most(2, at(0));
                 other = g.granted;
                 WEIR_MODEL_REQUIRE(g.remaining == (other == 2 ? 1 : 0) || g.remaining == 0);
             });
    WEIR_MODEL_REQUIRE(one + other == 3 && one >= 1 && other >= 1);
    WEIR_MODEL_REQUIRE(b.state() == 30 * tick);
}

WEIR_MODEL_KERNEL(token_bucket, what_is_cancelled_is_not_reserved_again_as_well, {.preemptions = 4, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    const std::atomic<std::int64_t> now{0};
    bucket b(one_in(10, 1), hand_clock{&now});
    auto first = b.reserve(1, 1us, at(0));
    std::int64_t back = 0;
    std::optional<bucket::reservation> second;
    together([&] { back = b.cancel(std::move(*first), at(0)); },
             [&] {
                 auto r = b.reserve(1, 1us, at(0));
                 WEIR_MODEL_REQUIRE(r.has_value());
                 second.emplace(std::move(*r));
             });
    WEIR_MODEL_REQUIRE(second->at() == at(back == 1 ? 0 : 10));
    WEIR_MODEL_REQUIRE(b.state() == (2 - back) * 10 * tick);
}

WEIR_MODEL_KERNEL(token_bucket, two_cancel_and_none_gives_back_what_is_not_last, {.preemptions = 4}) {
    const lanes_of_a_body lanes;
    const std::atomic<std::int64_t> now{0};
    bucket b(one_in(10, 1), hand_clock{&now});
    auto first = b.reserve(1, 1us, at(0));
    auto second = b.reserve(1, 1us, at(0));
    std::int64_t of_first = 0, of_second = 0;
    together([&] { of_first = b.cancel(std::move(*first), at(0)); }, [&] { of_second = b.cancel(std::move(*second), at(0)); });
    WEIR_MODEL_REQUIRE(of_second == 1);
    WEIR_MODEL_REQUIRE(b.state() == (1 - of_first) * 10 * tick);
}

// The clock was set back by more than all that can be reserved. Who finds that out first empties the bucket, once.
WEIR_MODEL_KERNEL(token_bucket, a_clock_that_was_set_back_costs_one_filling, {.preemptions = 3, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    std::atomic<std::int64_t> now{0};
    bucket b(one_in(10, 1), hand_clock{&now});
    WEIR_MODEL_REQUIRE(b.try_acquire(1, at(100'000)));
    int one = 0, other = 0;
    together([&] { one = as_int(b.try_acquire(1, at(0))); }, [&] { other = as_int(b.try_acquire(1, at(0))); });
    WEIR_MODEL_REQUIRE(one + other == 0);
    WEIR_MODEL_REQUIRE(b.state() == 10 * tick && b.stats().heals == 1);
}

// Meanwhile somebody goes through by the clock as it was before: what that one took is not put back.
WEIR_MODEL_KERNEL(token_bucket, healing_takes_back_nothing_that_went_through, {.preemptions = 3, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    std::atomic<std::int64_t> now{0};
    bucket b(one_in(10, 2), hand_clock{&now});
    WEIR_MODEL_REQUIRE(b.try_acquire(1, at(100'000)));
    bool early = false, late = false;
    together([&] { early = b.try_acquire(1, at(0)); }, [&] { late = b.try_acquire(1, at(100'000)); });
    WEIR_MODEL_REQUIRE(late && !early);
    const auto left = b.state();
    WEIR_MODEL_REQUIRE(left == 20 * tick || left == 100'010 * tick);
}

WEIR_MODEL_KERNEL(token_bucket, a_suspended_caller_delays_nobody, {.preemptions = 3, .freezes = 1, .check_leaks = false}) {
    const std::atomic<std::int64_t> now{0};
    bucket b(one_in(10, 2), hand_clock{&now});
    together([&] { static_cast<void>(b.try_acquire(1, at(0))); },
             [&] {
                 const bool first = b.try_acquire(1, at(0));
                 static_cast<void>(b.try_acquire(1, at(0)));
                 WEIR_MODEL_REQUIRE(first);
                 // Empty now: one look.
                 WEIR_MODEL_REQUIRE(count_steps([&] { WEIR_MODEL_REQUIRE(!b.try_acquire(1, at(0))); }) == 1);
             });
}

// ---- token_bucket, waiting

/// Moves the clock on instead of sleeping, unless a stop comes first.
struct hand_sleeper {
    std::atomic<std::int64_t>* ticks;
    bool sleep_for(nanoseconds d, std::stop_token const& stop = {}) const {
        if (stop.stop_requested()) {
            return false;
        }
        ticks->fetch_add(d.count(), std::memory_order_relaxed);
        return true;
    }
};

/// A bucket whose only token is gone; the next ones come at 10 ns, at 20 ns, ...
struct empty_bucket {
    std::atomic<std::int64_t> now{0};
    bucket b{one_in(10, 1), hand_clock{&now}};
    empty_bucket() { WEIR_MODEL_REQUIRE(b.try_acquire(1, at(0))); }

    /// Tokens that were ever taken and not given back.
    [[nodiscard]] std::int64_t taken() const { return b.state() / (10 * tick); }
    [[nodiscard]] weir::expected<void, weir::rejected> wait(std::stop_token const& stop = {}) {
        return b.wait_for(1, 1us, stop, hand_sleeper{&now});
    }
};

// The token of 10 ns is reserved by the one or taken by the other, and who waits comes no sooner than at the time of its own.
WEIR_MODEL_KERNEL(token_bucket_wait, a_token_that_is_waited_for_is_taken_by_nobody_else, {.preemptions = 4, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    empty_bucket e;
    bool taken = false;
    time woke{};
    together([&] { taken = e.b.try_acquire(1, at(10)); },
             [&] {
                 WEIR_MODEL_REQUIRE(e.wait().has_value());
                 woke = e.b.now();
             });
    WEIR_MODEL_REQUIRE(woke >= at(taken ? 20 : 10));
    WEIR_MODEL_REQUIRE(e.taken() == 2 + as_int(taken));
}

WEIR_MODEL_KERNEL(token_bucket_wait, two_who_wait_have_a_token_each, {.preemptions = 3, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    empty_bucket e;
    time woke[2] = {};
    const auto wait = [&](time& end) {
        WEIR_MODEL_REQUIRE(e.wait().has_value());
        end = e.b.now();
    };
    together([&] { wait(woke[0]); }, [&] { wait(woke[1]); });
    WEIR_MODEL_REQUIRE(std::min(woke[0], woke[1]) >= at(10) && std::max(woke[0], woke[1]) >= at(20));
    WEIR_MODEL_REQUIRE(e.taken() == 3);
}

// A stop gives the token back if it comes in time; the other sees it as taken, or as there, and nobody gets two.
WEIR_MODEL_KERNEL(token_bucket_wait, a_token_of_one_who_was_stopped_is_not_lost, {.preemptions = 3, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    empty_bucket e;
    std::stop_source source;
    bool taken = false, waited = false;
    together([&] { source.request_stop(); }, [&] { taken = e.b.try_acquire(1, at(10)); },
             [&] {
                 const auto end = e.wait(source.get_token());
                 waited = end.has_value();
                 WEIR_MODEL_REQUIRE(waited || end.error().reason == weir::refusal::stopped);
             });
    WEIR_MODEL_REQUIRE(e.taken() == 1 + as_int(taken) + as_int(waited));
}

// Who comes after it has its place: then the token that is given up is nobody's, as giving it back would break the rate.
WEIR_MODEL_KERNEL(token_bucket_wait, who_waits_behind_one_who_was_stopped_comes_no_sooner, {.preemptions = 2, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    empty_bucket e;
    std::stop_source source;
    bool first = false;
    time woke{};
    together([&] { source.request_stop(); }, [&] { first = e.wait(source.get_token()).has_value(); },
             [&] {
                 WEIR_MODEL_REQUIRE(e.wait().has_value());
                 woke = e.b.now();
             });
    const auto taken = e.taken();
    WEIR_MODEL_REQUIRE(taken == 3 || (taken == 2 && !first));
    WEIR_MODEL_REQUIRE(first || woke == at(10 * (taken - 1)));  // what it has waited for is the last that was taken
}

WEIR_MODEL_KERNEL(token_bucket_wait, one_token_until_the_deadline_has_one_taker, {.preemptions = 4, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    empty_bucket e;
    bool taken = false, waited = false;
    together([&] { taken = e.b.try_acquire(1, at(10)); },
             [&] {
                 const auto end = e.b.wait_until(1, at(10), {}, hand_sleeper{&e.now});
                 waited = end.has_value();
                 WEIR_MODEL_REQUIRE(waited || end.error() == (weir::rejected{weir::refusal::rate_limited, 10ns}));
             });
    WEIR_MODEL_REQUIRE(taken != waited && e.taken() == 2);
}

// Asleep in earnest. No time passes here before the stop has come, so that a stop which wakes nobody would end in a token.
WEIR_MODEL_KERNEL(token_bucket_wait, a_stop_wakes_who_waits, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    const lanes_of_a_body lanes;
    weir::token_bucket<> b({.limit = 1, .period = 1h, .burst = 1, .initial_tokens = 0});
    const auto before = b.state();
    std::stop_source source;
    together([&] { source.request_stop(); },
             [&] {
                 const auto end = b.wait_for(1, 2h, source.get_token());
                 WEIR_MODEL_REQUIRE(!end.has_value() && end.error().reason == weir::refusal::stopped);
             });
    WEIR_MODEL_REQUIRE(b.state() == before);
}

WEIR_MODEL_KERNEL(token_bucket_wait, a_suspended_waiter_delays_nobody, {.preemptions = 3, .freezes = 1, .check_leaks = false}) {
    auto* const e = new empty_bucket;
    together([&] { static_cast<void>(e->wait()); },
             [&] {
                 // At most one token is waited for: at 20 ns there is another.
                 WEIR_MODEL_REQUIRE(e->b.try_acquire(1, at(20)));
                 WEIR_MODEL_REQUIRE(count_steps([&] { WEIR_MODEL_REQUIRE(!e->b.try_acquire(1, at(20))); }) == 1);
             });
}

// ---- sliding_counter

// By one clock it is a window later than by the other.
WEIR_MODEL_KERNEL(sliding_counter, no_more_go_where_two_windows_meet, {.preemptions = 4, .spurious_failures = 1}) {
    const std::atomic<std::int64_t> now{0};
    counted c({.limit = 2, .window = 10ns}, hand_clock{&now});
    int one = 0, other = 0;
    together(
        [&] {
            one += as_int(c.try_acquire(1, at(9)));
            one += as_int(c.try_acquire(1, at(9)));
        },
        [&] {
            other += as_int(c.try_acquire(1, at(10)));
            other += as_int(c.allow(1, at(10)).allowed);
        });
    WEIR_MODEL_REQUIRE(one + other == 2);
    WEIR_MODEL_REQUIRE(c.estimate(at(10)) == 2);
}

// Five windows ahead all was used up, and the clock was set back. Somebody goes through seven windows ahead: that stays counted.
WEIR_MODEL_KERNEL(sliding_counter, healing_forgets_nothing_that_went_through, {.preemptions = 4, .spurious_failures = 1}) {
    std::atomic<std::int64_t> now{0};
    counted c({.limit = 3, .window = 10ns}, hand_clock{&now});
    WEIR_MODEL_REQUIRE(c.try_acquire(3, at(50)));
    bool late = false, early = false;
    together([&] { early = c.try_acquire(1, at(0)); }, [&] { late = c.try_acquire(1, at(70)); });
    WEIR_MODEL_REQUIRE(late && c.estimate(at(70)) == 1 + as_int(early));
}

WEIR_MODEL_KERNEL(sliding_counter, a_suspended_caller_delays_nobody, {.preemptions = 3, .freezes = 1}) {
    const std::atomic<std::int64_t> now{0};
    counted c({.limit = 2, .window = 10ns}, hand_clock{&now});
    together([&] { static_cast<void>(c.try_acquire(1, at(0))); },
             [&] {
                 WEIR_MODEL_REQUIRE(c.try_acquire(1, at(0)));
                 static_cast<void>(c.try_acquire(1, at(0)));
                 WEIR_MODEL_REQUIRE(count_steps([&] { WEIR_MODEL_REQUIRE(!c.try_acquire(1, at(0))); }) == 1);
             });
}

// ---- rate_latch

WEIR_MODEL_KERNEL(rate_latch, three_come_and_two_go, {.preemptions = 1, .stale_reads = 1}) {
    const std::atomic<std::int64_t> now{0};
    logged l({.limit = 2, .window = 10ns}, hand_clock{&now});
    int n[3] = {};
    // The last is early by 1 ns for the place of the first.
    together([&] { n[0] = as_int(l.try_acquire(1, at(0))); }, [&] { n[1] = as_int(l.try_acquire(1, at(0))); },
             [&] { n[2] = as_int(l.try_acquire(1, at(9))); });
    WEIR_MODEL_REQUIRE(n[0] + n[1] + n[2] == 2);
    WEIR_MODEL_REQUIRE(l.check(1, at(9)).remaining == 0);
}

// Two at once go both or none.
WEIR_MODEL_KERNEL(rate_latch, calls_that_come_together_go_together, {.preemptions = 3}) {
    const std::atomic<std::int64_t> now{0};
    logged l({.limit = 3, .window = 10ns}, hand_clock{&now});
    int one = 0, other = 0;
    together([&] { one = as_int(l.try_acquire(2, at(0))); }, [&] { other = as_int(l.try_acquire(2, at(0))); });
    WEIR_MODEL_REQUIRE(one + other == 1);
    WEIR_MODEL_REQUIRE(l.check(1, at(0)).remaining == 1);
}

// Of two buckets one says how many are left, the other how long it takes: 10 ns for each that went.
several two_buckets() { return {one_in(1, 4), one_in(10, 100)}; }
void check_both(weir::rate_decision const& d) {
    WEIR_MODEL_REQUIRE(d.reset_after == 10ns * (4 - d.remaining));
}

WEIR_MODEL_KERNEL(rate_latch, what_is_seen_is_of_one_moment, {.preemptions = 2, .stale_reads = 3}) {
    const std::atomic<std::int64_t> now{0};
    limits l(two_buckets(), hand_clock{&now});
    together(
        [&] {
            check_both(l.allow(1, at(0)));
            check_both(l.allow(1, at(0)));
        },
        [&] {
            const auto first = l.check(1, at(0));
            check_both(first);
            const auto second = l.check(1, at(0));
            check_both(second);
            WEIR_MODEL_REQUIRE(second.remaining <= first.remaining);
        });
    WEIR_MODEL_REQUIRE(l.check(1, at(0)).remaining == 2);
}

WEIR_MODEL_KERNEL(rate_latch, a_refusal_is_of_one_moment, {.preemptions = 2, .stale_reads = 3}) {
    const std::atomic<std::int64_t> now{0};
    limits l(two_buckets(), hand_clock{&now});
    WEIR_MODEL_REQUIRE(l.try_acquire(1, at(0)));
    together(
        [&] {
            WEIR_MODEL_REQUIRE(l.try_acquire(1, at(0)));
            WEIR_MODEL_REQUIRE(l.try_acquire(1, at(0)));
        },
        [&] {
            const auto d = l.allow(4, at(0));
            check_both(d);
            WEIR_MODEL_REQUIRE(!d.allowed && d.retry_after == 1ns * (4 - d.remaining));
        });
}

// Nothing changes, so nobody takes the latch: twice the version, and the ring two times: its first place and one time.
WEIR_MODEL_KERNEL(rate_latch, a_refusal_waits_for_no_suspended_refusal, {.freezes = 1, .check_leaks = false}) {
    const std::atomic<std::int64_t> now{0};
    auto* const l = new logged({.limit = 2, .window = 10ns}, hand_clock{&now});
    WEIR_MODEL_REQUIRE(l->try_acquire(2, at(0)));
    together([&] { static_cast<void>(l->allow(1, at(0))); },
             [&] {
                 WEIR_MODEL_REQUIRE(count_steps([&] { WEIR_MODEL_REQUIRE(!l->try_acquire(1, at(0))); }) <= 2 + 2 + 2);
                 WEIR_MODEL_REQUIRE(l->check(1, at(0)).retry_after == 10ns);
             });
}

// ---- rate_table

using table = rate_table<gcra_rule>;

/// One set, of buckets that hold ten tokens of 1 ns each. A key is its hash.
struct small_table {
    table keys{gcra_rule(one_in(1, 10)), 8};

    weir::rate_decision take(std::uint64_t key, std::int64_t n, std::int64_t ns = 0) {
        return keys.take<true>(key, n, ns * tick, [ns] { return ns * tick; });
    }
    [[nodiscard]] weir::rate_decision look(std::uint64_t key, std::int64_t ns = 0) const { return keys.look(key, 1, ns * tick); }
    /// Tokens that are missing.
    [[nodiscard]] std::int64_t missing(std::uint64_t key) const { return look(key).reset_after.count(); }

    /// The key 1 has used 2, and those from 2 to `last` 5. Its place is the second.
    void fill(std::uint64_t last) {
        WEIR_MODEL_REQUIRE(take(2, 5).allowed);
        WEIR_MODEL_REQUIRE(take(1, 2).allowed);
        for (std::uint64_t key = 3; key <= last; ++key) {
            WEIR_MODEL_REQUIRE(take(key, 5).allowed);
        }
    }
};

WEIR_MODEL_KERNEL(rate_table, two_come_for_the_last_place, {.preemptions = 3, .stale_reads = 1}) {
    const lanes_of_a_body lanes;
    small_table t;
    t.fill(7);
    together([&] { WEIR_MODEL_REQUIRE(t.take(20, 3).allowed); }, [&] { WEIR_MODEL_REQUIRE(t.take(30, 3).allowed); });
    // One found it free; for the other the key 1 had to go.
    WEIR_MODEL_REQUIRE(t.missing(20) == 3 && t.missing(30) == 3);
    WEIR_MODEL_REQUIRE(t.missing(1) == 2 && t.missing(2) == 5 && t.missing(7) == 5);
    const auto s = t.keys.stats();
    WEIR_MODEL_REQUIRE(s.live == 8 && s.evictions_live == 1 && s.watermark_denials == 0);
}

WEIR_MODEL_KERNEL(rate_table, the_same_new_key_twice_has_one_place, {.preemptions = 3, .stale_reads = 1}) {
    const lanes_of_a_body lanes;
    small_table t;
    int one = 0, other = 0;
    together([&] { one = as_int(t.take(1, 6).allowed); }, [&] { other = as_int(t.take(1, 6).allowed); });
    WEIR_MODEL_REQUIRE(one + other == 1);
    WEIR_MODEL_REQUIRE(t.missing(1) == 6 && t.keys.stats().live == 1);
}

// A key has to go while it takes one more. Whatever comes first, it has taken three, and never looks as if it had less.
WEIR_MODEL_KERNEL(rate_table, a_key_that_goes_comes_back_with_no_more, {.preemptions = 3, .stale_reads = 2}) {
    const lanes_of_a_body lanes;
    small_table t;
    t.fill(8);
    together([&] { WEIR_MODEL_REQUIRE(t.take(20, 1).allowed); },
             [&] {
                 const auto d = t.take(1, 1);
                 WEIR_MODEL_REQUIRE(d.allowed && d.reset_after >= 3ns && d.remaining <= 7);
             });
    WEIR_MODEL_REQUIRE(t.missing(1) >= 3 && t.missing(20) >= 1 && t.missing(2) == 5);
}

// While it goes, and after that, it is refused by what it has taken itself, not by what its successor takes in the same place.
WEIR_MODEL_KERNEL(rate_table, a_key_that_goes_is_refused_for_its_own, {.preemptions = 3, .stale_reads = 2}) {
    const lanes_of_a_body lanes;
    small_table t;
    t.fill(8);
    together([&] { WEIR_MODEL_REQUIRE(t.take(20, 1).allowed); },
             [&] {
                 const auto d = t.take(1, 9);
                 WEIR_MODEL_REQUIRE(!d.allowed && d.retry_after == 1ns && d.remaining == 8);
                 WEIR_MODEL_REQUIRE(t.missing(1) == 2);
             });
}

WEIR_MODEL_KERNEL(rate_table, a_newcomer_is_seen_before_it_came_or_after, {.preemptions = 3, .stale_reads = 2}) {
    const lanes_of_a_body lanes;
    small_table t;
    t.fill(8);
    together([&] { WEIR_MODEL_REQUIRE(t.take(20, 1).allowed); },
             [&] {
                 const auto seen = t.missing(20);
                 WEIR_MODEL_REQUIRE(seen == 0 || seen == 1);  // 2: what the key 1 has left
             });
}

// The key 1 has too little left for what the newcomer asks. That is no reason to refuse it, in whatever state the place is seen.
// A refusal looks at a word twice; with its particulars three times, and the engine shows an old value twice in a row only.
WEIR_MODEL_KERNEL(rate_table, a_newcomer_is_not_refused_for_another, {.preemptions = 2, .stale_reads = 3}) {
    const lanes_of_a_body lanes;
    small_table t;
    t.fill(8);
    together([&] { WEIR_MODEL_REQUIRE(t.take(20, 1).allowed); },
             [&] { WEIR_MODEL_REQUIRE(t.keys.take<false>(20, 9, 0, [] { return std::int64_t{0}; }).allowed); });
    WEIR_MODEL_REQUIRE(!t.take(20, 1).allowed);
}

// The same of keys with several words: two calls in 10 ns. The key 1 has made `used` at 1 ns, seven others two at 2 ns.
struct small_logs {
    rate_table<log_rule> keys{log_rule({.limit = 2, .window = 10ns}), 8};
    explicit small_logs(std::int64_t used) {
        WEIR_MODEL_REQUIRE(take(2, 2, 2));
        WEIR_MODEL_REQUIRE(take(1, used, 1));
        for (std::uint64_t key = 3; key <= 8; ++key) {
            WEIR_MODEL_REQUIRE(take(key, 2, 2));
        }
    }
    bool take(std::uint64_t key, std::int64_t n, std::int64_t ns) {
        auto const now = log_rule::time(ns);
        return keys.take<false>(key, n, now, [now]() noexcept { return now; }).allowed;
    }
};

WEIR_MODEL_KERNEL(rate_table, a_log_that_goes_is_seen_before_it_went_or_after, {.preemptions = 3, .stale_reads = 2}) {
    const lanes_of_a_body lanes;
    small_logs t(1);
    together([&] { WEIR_MODEL_REQUIRE(t.take(20, 1, 2)); },
             [&] {
                 auto const d = t.keys.look(1, 1, log_rule::time(2));
                 WEIR_MODEL_REQUIRE((d.remaining == 1 || d.remaining == 0) && d.reset_after == 9ns);
             });
}

WEIR_MODEL_KERNEL(rate_table, a_new_log_is_not_refused_for_another, {.preemptions = 2, .stale_reads = 3}) {
    const lanes_of_a_body lanes;
    small_logs t(2);
    together([&] { WEIR_MODEL_REQUIRE(t.take(20, 1, 2)); }, [&] { WEIR_MODEL_REQUIRE(t.take(20, 1, 2)); });
    WEIR_MODEL_REQUIRE(!t.take(20, 1, 2));
}

// Its two tokens are back at 2 ns. Then it may be forgotten, but not what it takes then.
WEIR_MODEL_KERNEL(rate_table, cleaning_forgets_nothing_that_counts, {.preemptions = 3, .stale_reads = 1}) {
    const lanes_of_a_body lanes;
    small_table t;
    WEIR_MODEL_REQUIRE(t.take(1, 2).allowed);
    std::size_t gone = 0;
    together([&] { gone = t.keys.clean(1, 2 * tick); },
             [&] {
                 const auto d = t.take(1, 4, 2);
                 WEIR_MODEL_REQUIRE(d.allowed && d.remaining == 6);
             });
    WEIR_MODEL_REQUIRE(t.look(1, 2).reset_after == 4ns);
    WEIR_MODEL_REQUIRE(gone <= 1 && t.keys.stats().live == 1);
}

WEIR_MODEL_KERNEL(rate_table, two_clean_and_each_key_goes_once, {.preemptions = 3, .stale_reads = 1}) {
    const lanes_of_a_body lanes;
    small_table t;
    t.fill(2);
    std::size_t one = 0, other = 0;
    together([&] { one = t.keys.clean(1, 9 * tick); }, [&] { other = t.keys.clean(1, 9 * tick); });
    WEIR_MODEL_REQUIRE(one + other == 2 && t.keys.stats().live == 0);
}

// The clock was set back by more than can be reserved: the mark of the set means nothing any more, and nobody waits for it.
WEIR_MODEL_KERNEL(rate_table, a_mark_from_a_time_to_come_is_healed, {.preemptions = 3, .stale_reads = 1}) {
    const lanes_of_a_body lanes;
    small_table t;
    for (std::uint64_t key = 1; key <= 9; ++key) {
        WEIR_MODEL_REQUIRE(t.take(key, 5, 100'000).allowed);
    }
    together(
        [&] {
            const auto d = t.take(20, 1);
            WEIR_MODEL_REQUIRE(!d.allowed && d.retry_after == 1ns);
        },
        [&] {
            const auto d = t.look(30);
            WEIR_MODEL_REQUIRE(!d.allowed && d.retry_after == 1ns);
        });
    WEIR_MODEL_REQUIRE(t.missing(9) == 10);  // as if it had taken all
    WEIR_MODEL_REQUIRE(t.take(20, 1, 1).allowed);
}

WEIR_MODEL_KERNEL(rate_table, a_refusal_waits_for_no_suspended_refusal, {.freezes = 1, .check_leaks = false}) {
    auto* const t = new small_table;
    t->fill(2);
    together([&] { static_cast<void>(t->take(1, 9)); },
             [&] {
                 // Twice the version, two names, its word three times at most.
                 WEIR_MODEL_REQUIRE(count_steps([&] { WEIR_MODEL_REQUIRE(!t->take(1, 9).allowed); }) <= 2 + 2 + 3);
                 WEIR_MODEL_REQUIRE(t->missing(1) == 2);
             });
}

// The front door.
WEIR_MODEL_KERNEL(keyed_rate_limiter, each_key_has_its_own_limit, {.preemptions = 1, .stale_reads = 1}) {
    const lanes_of_a_body lanes;
    const std::atomic<std::int64_t> now{0};
    weir::keyed_rate_limiter<int, bucket> l(one_in(10, 1), {.capacity = 8, .seed = 1}, hand_clock{&now});
    int n[3] = {};
    together(
        [&] {
            n[0] = as_int(l.try_acquire(7, 1, at(0)));
            n[2] = as_int(l.allow(8, 1, at(0)).allowed);
        },
        [&] { n[1] = as_int(l.allow(7, 1, at(0)).allowed); });
    WEIR_MODEL_REQUIRE(n[0] + n[1] == 1 && n[2] == 1);
}

// ---- cached_limiter

using cached = weir::cached_limiter<int, int, std::hash<int>, std::equal_to<int>, hand_clock>;

struct small_cache {
    std::atomic<std::int64_t> now{0};
    cached answers;
    explicit small_cache(std::int64_t limit)
        : answers({.limit = limit, .window = 10ns, .capacity = 8, .max_age = {}, .seed = 1}, hand_clock{&now}) {}
};

WEIR_MODEL_KERNEL(cached_limiter, an_older_answer_replaces_no_newer_one, {.preemptions = 3, .stale_reads = 2}) {
    const lanes_of_a_body lanes;
    small_cache c(2);
    auto first = c.answers.try_acquire(7);
    auto second = c.answers.try_acquire(7);
    bool stored = false;
    together([&] { stored = first.permit().commit(1); }, [&] { WEIR_MODEL_REQUIRE(second.permit().commit(2)); });
    const auto last = c.answers.try_acquire(7);
    WEIR_MODEL_REQUIRE(last.cached() && last.value() == 2);
    const auto s = c.answers.stats();
    WEIR_MODEL_REQUIRE(s.stored == (stored ? 2U : 1U) && s.outdated == (stored ? 0U : 1U));
}

// Both were let through, and the order in which they were is the order of their answers.
WEIR_MODEL_KERNEL(cached_limiter, the_last_who_was_let_through_has_the_last_word, {.preemptions = 3, .stale_reads = 2}) {
    const lanes_of_a_body lanes;
    small_cache c(2);
    std::atomic<bool> done{false};
    std::optional<cached::answer> first;
    bool after = false;  // it comes after the first
    together(
        [&] {
            first.emplace(c.answers.try_acquire(7));
            done.store(true, std::memory_order_relaxed);
        },
        [&] {
            after = done.load(std::memory_order_relaxed);
            auto mine = c.answers.try_acquire(7);
            static_cast<void>(mine.permit().commit(2));
        });
    const bool stored = first->permit().commit(1);
    WEIR_MODEL_REQUIRE(!after || !stored);
    const auto last = c.answers.try_acquire(7);
    WEIR_MODEL_REQUIRE(last.cached() && last.value() == (stored ? 1 : 2));
}

WEIR_MODEL_KERNEL(cached_limiter, who_waits_gets_the_answer, {.preemptions = 2, .stale_reads = 2, .timeouts = 0}) {
    const lanes_of_a_body lanes;
    small_cache c(1);
    auto under_way = c.answers.try_acquire(7);
    together([&] { static_cast<void>(under_way.permit().commit(5)); },
             [&] {
                 const auto got = c.answers.acquire(7);
                 WEIR_MODEL_REQUIRE(got.cached() && got.value() == 5);
             });
}

// Of two who wait, one may call then, and the other gets the answer of that call.
WEIR_MODEL_KERNEL(cached_limiter, a_call_that_comes_to_nothing_leaves_nobody_waiting,
                  {.preemptions = 1, .stale_reads = 1, .timeouts = 0}) {
    const lanes_of_a_body lanes;
    small_cache c(2);
    std::optional<cached::answer> under_way;
    under_way.emplace(c.answers.try_acquire(7));
    int admitted[2] = {};
    const auto wait = [&](int& calls) {
        auto mine = c.answers.acquire(7);
        if (mine.admitted()) {
            ++calls;
            static_cast<void>(mine.permit().commit(5));
        } else {
            WEIR_MODEL_REQUIRE(mine.cached() && mine.value() == 5);
        }
    };
    together([&] { wait(admitted[0]); }, [&] { wait(admitted[1]); }, [&] { under_way.reset(); });
    WEIR_MODEL_REQUIRE(admitted[0] + admitted[1] == 1);
}

WEIR_MODEL_KERNEL(cached_limiter, who_waits_in_vain_is_told_so, {.preemptions = 3, .stale_reads = 2, .timeouts = 0}) {
    const lanes_of_a_body lanes;
    small_cache c(1);
    std::optional<cached::answer> under_way;
    under_way.emplace(c.answers.try_acquire(7));
    together([&] { under_way.reset(); },
             [&] {
                 const auto got = c.answers.acquire(7);
                 WEIR_MODEL_REQUIRE(got.denied() && got.why().retry_after == 10ns);
             });
}

WEIR_MODEL_KERNEL(cached_limiter, who_waits_goes_when_the_time_is_up, {.preemptions = 1, .stale_reads = 1, .timeouts = 1}) {
    const lanes_of_a_body lanes;
    small_cache c(1);
    auto under_way = c.answers.try_acquire(7);
    together([&] { static_cast<void>(under_way.permit().commit(5)); },
             [&] {
                 const auto got = c.answers.acquire(7, at(100));
                 WEIR_MODEL_REQUIRE(got.cached() ? got.value() == 5 : got.why().reason == weir::refusal::timed_out);
             });
}

WEIR_MODEL_KERNEL(cached_limiter, who_waits_goes_when_stopped, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    const lanes_of_a_body lanes;
    small_cache c(1);
    auto under_way = c.answers.try_acquire(7);
    std::stop_source source;
    together([&] { source.request_stop(); },
             [&] {
                 const auto got = c.answers.acquire(7, time::max(), source.get_token());
                 WEIR_MODEL_REQUIRE(got.denied() && got.why().reason == weir::refusal::stopped);
             });
    WEIR_MODEL_REQUIRE(under_way.permit().commit(5));
}

// Its entry has to go while the call is under way. Who waits already gets the answer; who comes later may find nothing.
WEIR_MODEL_KERNEL(cached_limiter, who_waits_gets_the_answer_of_a_key_that_had_to_go, {.stale_reads = 1, .timeouts = 0}) {
    const lanes_of_a_body lanes;
    small_cache c(1);
    std::vector<cached::answer> under_way;
    for (int key = 1; key <= 8; ++key) {
        under_way.push_back(c.answers.try_acquire(key));
    }
    together(
        [&] {
            WEIR_MODEL_REQUIRE(c.answers.try_acquire(20).admitted());
            WEIR_MODEL_REQUIRE(under_way[0].permit().commit(5));
        },
        [&] {
            auto const got = c.answers.acquire(1);
            WEIR_MODEL_REQUIRE(got.cached() ? got.value() == 5 : got.denied());
        });
    WEIR_MODEL_REQUIRE(c.answers.stats().evictions >= 1);
}

// A value lives as long as somebody has it, whatever comes after it.
WEIR_MODEL_KERNEL(cached_limiter, a_value_that_is_replaced_lives_on, {.preemptions = 3, .stale_reads = 2}) {
    const lanes_of_a_body lanes;
    small_cache c(2);
    auto second = [&] {
        auto first = c.answers.try_acquire(7);
        auto next = c.answers.try_acquire(7);
        static_cast<void>(first.permit().commit(1));
        return next;
    }();
    together([&] { static_cast<void>(second.permit().commit(2)); },
             [&] {
                 const auto got = c.answers.try_acquire(7);
                 WEIR_MODEL_REQUIRE(got.cached() && (got.value() == 1 || got.value() == 2));
             });
}

TEST(mutants_of_rate_limiter, every_weakened_order_is_noticed) {
    check_mutants({"weir/flow/rate_limiter.hpp", "weir/flow/detail/rate_latch.hpp", "weir/flow/detail/rate_decision.hpp",
                   "weir/flow/detail/rate_table.hpp", "weir/flow/detail/rate_cached.hpp",
                   "weir/flow/detail/rate_cached_bodies.hpp", "weir/flow/detail/rate_bodies.hpp"});
}

}  // namespace
}  // namespace weir_model
