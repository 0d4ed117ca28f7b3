// weir (BSL-1.0). Kernels of flow/circuit_breaker.hpp: its word, when a generation began, and the windows of calls.
#include <weir/flow/circuit_breaker.hpp>

#include "kernels.hpp"
#include "mutation.hpp"
#include "stats_kernel.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

// All orders of the breaker's word, of the sums of the last calls and of the time of a generation are relaxed already. What can be
// weakened are the buckets of time and the mark beside them, who must be seen in one order by all:
//
//   site                          killed by
//   recent_calls::record, w       a_failure_and_the_success_that_fills_min_calls
//   recent_calls::read            the same
//   time_window, pending_         the same

namespace weir_model {
namespace {

using namespace std::chrono_literals;
using weir::breaker_reason;
using weir::breaker_state;
using weir::breaker_transition;
using weir::call_rates;
using weir::circuit_breaker_options;
using weir::consecutive_failures;
using weir::count_window;
using weir::probe_timeout;
using weir::probe_verdict;
using weir::refusal;
using weir::time_window;
using weir::verdict;
using weir::detail::last_calls;
using weir::detail::recent_calls;

/// Counts how often each generation is told, and what it began with.
struct chain {
    static constexpr std::size_t most = 12;
    std::array<std::atomic<int>, most> told{};
    std::array<std::atomic<int>, most> edge{};  // from * 8 + to

    /// Generations 1 to `last` were told once each, and each begins as the one before it ends.
    void check(std::uint16_t last, breaker_state now) const {
        int state = 0;
        for (std::size_t g = 1; g < most; ++g) {
            WEIR_MODEL_REQUIRE(told[g].load() == (g <= last ? 1 : 0));
            if (g <= last) {
                WEIR_MODEL_REQUIRE(edge[g].load() / 8 == state);
                state = edge[g].load() % 8;
            }
        }
        WEIR_MODEL_REQUIRE(state == static_cast<int>(now));
    }
};
struct teller {
    chain* into;
    void on_transition(breaker_transition const& t) const noexcept {
        WEIR_MODEL_REQUIRE(t.generation < chain::most);
        into->told[t.generation].fetch_add(1, std::memory_order_relaxed);
        into->edge[t.generation].store(static_cast<int>(t.from) * 8 + static_cast<int>(t.to),
                                       std::memory_order_relaxed);
    }
};

/// A breaker whose clock the body moves, and what it told.
template <class Mode = consecutive_failures>
struct rig {
    using breaker_type = weir::circuit_breaker<Mode, hand_clock, teller>;
    using permit = typename breaker_type::permit;

    const lanes_of_a_body lanes{};
    std::atomic<std::int64_t> now{0};
    chain told{};
    breaker_type breaker;

    explicit rig(Mode mode = {}, circuit_breaker_options o = {}) : breaker(mode, o, hand_clock{&now}, teller{&told}) {}

    void at(std::chrono::nanoseconds t) { now.store(t.count(), std::memory_order_relaxed); }
    std::optional<permit> acquire() {
        auto p = breaker.acquire();
        return p.has_value() ? std::optional<permit>{std::move(*p)} : std::nullopt;
    }
    bool call(verdict v) {
        auto p = breaker.acquire();
        if (p.has_value()) {
            p->report(v);
        }
        return p.has_value();
    }
    [[nodiscard]] bool refused_for(std::chrono::nanoseconds d) {
        auto const p = breaker.acquire();
        return !p.has_value() && p.error().retry_after == d;
    }
    [[nodiscard]] breaker_state state() const { return breaker.current(); }
    /// At rest.
    void check_chain() const { told.check(breaker.stats().generation, state()); }
};

/// Open, and 1 ms later as good as half open.
circuit_breaker_options probing(unsigned permits, unsigned required = 0) {
    circuit_breaker_options o;
    o.open = 1ms;
    o.half_open.permits = permits;
    o.half_open.required_successes = required;
    o.half_open.timeout = 0ns;
    return o;
}

// ---- the word

// Whoever comes first makes it half open, and has a probe; of all together exactly as many have one as are permitted.
void callers_come_at_once(unsigned permits) {
    rig r{consecutive_failures{1}, probing(permits)};
    r.breaker.trip();
    r.at(1ms);
    std::array<std::optional<rig<>::permit>, 3> held{};
    together([&] { held[0] = r.acquire(); }, [&] { held[1] = r.acquire(); }, [&] { held[2] = r.acquire(); });
    unsigned admitted = 0;
    for (auto const& each : held) {
        admitted += each.has_value() ? 1U : 0U;
    }
    WEIR_MODEL_REQUIRE(admitted == permits);
    auto const s = r.breaker.stats();
    WEIR_MODEL_REQUIRE(s.generation == 2 && s.probes == permits && s.refused == 3 - permits);
    r.check_chain();
}
WEIR_MODEL_KERNEL(breaker_word, one_of_three_callers_has_the_only_probe, {}) { callers_come_at_once(1); }
WEIR_MODEL_KERNEL(breaker_word, two_of_three_callers_have_the_two_probes, {}) { callers_come_at_once(2); }

// Both results count; the second decides, if the first has not.
void two_probes_are_reported(verdict a, verdict b, unsigned required, probe_verdict how, breaker_state expected,
                             std::uint64_t late) {
    auto o = probing(2, required);
    o.half_open.verdict = how;
    rig r{consecutive_failures{1}, o};
    r.breaker.trip();
    r.at(1ms);
    auto first = r.acquire();
    auto second = r.acquire();
    together([&] { first->report(a); }, [&] { second->report(b); });
    auto const s = r.breaker.stats();
    WEIR_MODEL_REQUIRE(s.state == expected && s.late_results == late);
    WEIR_MODEL_REQUIRE(s.generation == (expected == breaker_state::half_open ? 2 : 3));
    r.check_chain();
}
WEIR_MODEL_KERNEL(breaker_word, two_good_probes_close_it, {.preemptions = 4}) {
    two_probes_are_reported(verdict::success, verdict::success, 2, probe_verdict::early, breaker_state::closed, 0);
}
WEIR_MODEL_KERNEL(breaker_word, of_two_good_probes_one_is_enough, {.preemptions = 4}) {
    two_probes_are_reported(verdict::success, verdict::success, 1, probe_verdict::early, breaker_state::closed, 1);
}
WEIR_MODEL_KERNEL(breaker_word, a_good_and_a_bad_probe_are_one_of_each, {.preemptions = 4}) {
    two_probes_are_reported(verdict::success, verdict::failure, 1, probe_verdict::full, breaker_state::closed, 0);
}
WEIR_MODEL_KERNEL(breaker_word, a_probe_that_is_given_back_leaves_the_other, {.preemptions = 4}) {
    two_probes_are_reported(verdict::success, verdict::ignore, 2, probe_verdict::early, breaker_state::half_open, 0);
}

// One gives its probe back while others ask: never are more out than permitted.
WEIR_MODEL_KERNEL(breaker_word, a_probe_that_is_given_back_goes_to_one_other, {}) {
    rig r{consecutive_failures{1}, probing(1)};
    r.breaker.trip();
    r.at(1ms);
    auto probe = r.acquire();
    std::array<std::optional<rig<>::permit>, 2> held{};
    together([&] { probe->ignore(); }, [&] { held[0] = r.acquire(); }, [&] { held[1] = r.acquire(); });
    WEIR_MODEL_REQUIRE(!(held[0].has_value() && held[1].has_value()));
    WEIR_MODEL_REQUIRE(r.breaker.stats().probes == (held[0].has_value() || held[1].has_value() ? 1 : 0));
}

// The time for the probe is over while it reports: either it is late, or it decides; and somebody is told of one only.
void expiry_against_a_report(probe_timeout on, verdict v) {
    auto o = probing(1);
    o.half_open.timeout = 1ms;
    o.half_open.on_timeout = on;
    rig r{consecutive_failures{1}, o};
    r.breaker.trip();
    r.at(1ms);
    auto probe = r.acquire();
    r.at(2ms);
    together([&] { probe->report(v); }, [&] { auto const next = r.acquire(); });
    auto const s = r.breaker.stats();
    if (s.late_results == 0) {
        WEIR_MODEL_REQUIRE(s.generation == 3);
        WEIR_MODEL_REQUIRE(s.state == (v == verdict::success ? breaker_state::closed : breaker_state::open));
    } else {
        WEIR_MODEL_REQUIRE(s.late_results == 1 && s.generation == 3);
        WEIR_MODEL_REQUIRE(s.state == (on == probe_timeout::reopen    ? breaker_state::open
                                       : on == probe_timeout::reissue ? breaker_state::half_open
                                                                      : breaker_state::closed));
        WEIR_MODEL_REQUIRE(s.probes == 0);  // the new one was dropped
    }
    r.check_chain();
}
WEIR_MODEL_KERNEL(breaker_word, a_probe_is_good_or_late, {.preemptions = 4}) {
    expiry_against_a_report(probe_timeout::reopen, verdict::success);
}
WEIR_MODEL_KERNEL(breaker_word, a_probe_is_bad_or_late, {.preemptions = 4}) {
    expiry_against_a_report(probe_timeout::reissue, verdict::failure);
}
WEIR_MODEL_KERNEL(breaker_word, a_probe_is_bad_or_given_up, {.preemptions = 4}) {
    expiry_against_a_report(probe_timeout::close, verdict::failure);
}

// By hand, both ways at once: one after the other.
WEIR_MODEL_KERNEL(breaker_word, hands_against_each_other_follow_each_other, {}) {
    rig r{consecutive_failures{1}, probing(1)};
    together([&] { r.breaker.trip(); }, [&] { r.breaker.reset(); }, [&] { r.breaker.force_open(); });
    WEIR_MODEL_REQUIRE(r.breaker.stats().generation == 3);
    r.check_chain();
}
WEIR_MODEL_KERNEL(breaker_word, a_trip_against_the_probe_that_closes, {.preemptions = 4}) {
    rig r{consecutive_failures{1}, probing(1)};
    r.breaker.trip();
    r.at(1ms);
    auto probe = r.acquire();
    together([&] { probe->success(); }, [&] { r.breaker.trip(); });
    auto const s = r.breaker.stats();
    WEIR_MODEL_REQUIRE(s.state == breaker_state::open);
    WEIR_MODEL_REQUIRE(s.generation == 3 + (s.late_results == 0 ? 1 : 0));
    r.check_chain();
}

// Two failures and a success: it opens if and only if the failures follow each other.
WEIR_MODEL_KERNEL(breaker_word, opens_only_on_failures_that_no_success_parts, {}) {
    rig r{consecutive_failures{2}, probing(1)};
    auto a = r.acquire();
    auto b = r.acquire();
    auto c = r.acquire();
    bool parted = false;
    together([&] { a->failure(); }, [&] { b->failure(); },
             [&] {
                 c->success();
                 parted = r.state() == breaker_state::closed;
             });
    auto const s = r.breaker.stats();
    // Parted: one failure, or none, is left. The success came first or last: open, and then it may have come late.
    WEIR_MODEL_REQUIRE(s.opened <= 1);
    WEIR_MODEL_REQUIRE(s.opened == 1 || (s.failed == 1 && s.late_results == 0));
    WEIR_MODEL_REQUIRE(parted || s.opened == 1);
    WEIR_MODEL_REQUIRE(s.opened == 0 || r.refused_for(1ms));
    r.check_chain();
}

// Who is late to fail, or to succeed, changes nothing: neither the generation, nor how long it stays open.
void a_failure_that_opens_against(verdict v) {
    rig r{consecutive_failures{1}, probing(1)};
    auto a = r.acquire();
    auto b = r.acquire();
    together([&] { a->failure(); }, [&] { b->report(v); });
    auto const s = r.breaker.stats();
    WEIR_MODEL_REQUIRE(s.state == breaker_state::open && s.generation == 1 && s.opened == 1);
    WEIR_MODEL_REQUIRE(s.late_results == 1 || (v == verdict::success && s.late_results == 0));
    WEIR_MODEL_REQUIRE(r.refused_for(1ms));
    r.check_chain();
}
WEIR_MODEL_KERNEL(breaker_word, of_two_failures_one_opens_and_one_is_late, {.preemptions = 4}) {
    a_failure_that_opens_against(verdict::failure);
}
WEIR_MODEL_KERNEL(breaker_word, a_success_comes_before_a_failure_or_is_late, {.preemptions = 4}) {
    a_failure_that_opens_against(verdict::success);
}

// As many failures as there are calls: none is lost, and one opens it.
WEIR_MODEL_KERNEL(breaker_word, every_failure_counts, {}) {
    rig r{consecutive_failures{3}, probing(1)};
    std::array<std::optional<rig<>::permit>, 3> p{r.acquire(), r.acquire(), r.acquire()};
    together([&] { p[0]->failure(); }, [&] { p[1]->failure(); }, [&] { p[2]->failure(); });
    auto const s = r.breaker.stats();
    WEIR_MODEL_REQUIRE(s.state == breaker_state::open && s.generation == 1 && s.late_results == 0 && s.opened == 1);
}
WEIR_MODEL_KERNEL(breaker_word, a_threshold_is_passed_once, {}) {
    rig r{consecutive_failures{2}};
    r.breaker.metrics_only();
    std::array<std::optional<rig<>::permit>, 3> p{r.acquire(), r.acquire(), r.acquire()};
    together([&] { p[0]->failure(); }, [&] { p[1]->failure(); }, [&] { p[2]->failure(); });
    auto const s = r.breaker.stats();
    WEIR_MODEL_REQUIRE(s.failed == 3 && s.thresholds == 1 && s.generation == 1);
}

// ---- when a generation began

// Whoever asks before the winner has said so says it: no probe expires before its time, whatever was said of generations before.
WEIR_MODEL_KERNEL(breaker_entered, no_probe_expires_before_its_time, {}) {
    auto o = probing(1);
    o.half_open.timeout = 5ms;
    rig r{consecutive_failures{1}, o};
    r.breaker.trip();
    r.at(10ms);
    std::array<std::optional<rig<>::permit>, 2> held{};
    const auto ask = [&](std::size_t i) {
        auto p = r.breaker.acquire();
        if (p.has_value()) {
            held[i].emplace(std::move(*p));
        } else {
            WEIR_MODEL_REQUIRE(p.error() == (weir::rejected{refusal::breaker_half_open, 5ms}));
        }
    };
    together([&] { ask(0); }, [&] { ask(1); }, [&] { static_cast<void>(r.breaker.would_admit()); });
    WEIR_MODEL_REQUIRE(held[0].has_value() != held[1].has_value());
    r.at(15ms - 1ns);
    WEIR_MODEL_REQUIRE(!r.acquire().has_value() && r.state() == breaker_state::half_open);
    r.at(15ms);
    WEIR_MODEL_REQUIRE(!r.acquire().has_value() && r.state() == breaker_state::open);
}

// Who only asks sees no probe expire either, and leaves it to others to say when its generation began.
WEIR_MODEL_KERNEL(breaker_entered, a_question_expires_nothing, {}) {
    auto o = probing(1);
    o.half_open.timeout = 5ms;
    o.half_open.on_timeout = probe_timeout::reissue;
    rig r{consecutive_failures{1}, o};
    r.breaker.trip();
    r.at(10ms);
    std::optional<rig<>::permit> probe;
    together([&] { probe = r.acquire(); },
             [&] {
                 bool const seen = r.state() == breaker_state::half_open;
                 WEIR_MODEL_REQUIRE(!seen || !r.breaker.would_admit());
             });
    WEIR_MODEL_REQUIRE(probe.has_value() && !r.breaker.would_admit());
    r.at(15ms - 1ns);
    WEIR_MODEL_REQUIRE(!r.breaker.would_admit());
    r.at(15ms);
    WEIR_MODEL_REQUIRE(r.breaker.would_admit() && r.breaker.stats().generation == 2);
}

// The winner is stopped before it has said when: the probe is given up all the same.
WEIR_MODEL_KERNEL(breaker_entered, a_winner_that_stops_does_not_keep_it_half_open,
                  {.freezes = 1, .check_leaks = false}) {
    auto o = probing(1);
    o.half_open.timeout = 5ms;
    auto* const r = new rig{consecutive_failures{1}, o};
    r->breaker.trip();
    r->at(10ms);
    together(
        [&] {
            if (auto p = r->breaker.acquire(); p.has_value()) {
                static_cast<void>(new rig<>::permit(std::move(*p)));  // never comes back
            }
        },
        [&] {
            for (int i = 0; i < 3 && r->state() != breaker_state::closed; ++i) {
                r->at(20ms + i * 10ms);
                r->call(verdict::success);
            }
            WEIR_MODEL_REQUIRE(r->state() == breaker_state::closed);
        });
}

// ---- progress

// A thread that is suspended anywhere keeps nobody waiting. Attempts: one for each change by the other.
template <class Mode>
void nobody_waits_for_another(Mode mode) {
    auto* const r = new rig<Mode>{mode, probing(1)};
    together(
        [&] {
            r->call(verdict::failure);
            r->breaker.reset();
        },
        [&] {
            constexpr std::uint64_t bound = 600;  // steps; some 200 of them are sums over a window of time
            WEIR_MODEL_REQUIRE(count_steps([&] { r->call(verdict::failure); }) < bound);
            r->at(1ms);
            WEIR_MODEL_REQUIRE(count_steps([&] { r->call(verdict::success); }) < bound);
        });
}
WEIR_MODEL_KERNEL(breaker_progress, nobody_waits_without_a_window,
                  {.preemptions = 1, .stale_reads = 1, .freezes = 1, .check_leaks = false}) {
    nobody_waits_for_another(consecutive_failures{1});
}
WEIR_MODEL_KERNEL(breaker_progress, nobody_waits_with_a_count_window,
                  {.preemptions = 1, .stale_reads = 1, .freezes = 1, .check_leaks = false}) {
    nobody_waits_for_another(count_window{2, {.min_calls = 1}});
}
WEIR_MODEL_KERNEL(breaker_progress, nobody_waits_with_a_time_window,
                  {.preemptions = 1, .stale_reads = 0, .freezes = 1, .check_leaks = false}) {
    nobody_waits_for_another(time_window{1ms, 1, {.min_calls = 1}});
}

// A call that goes well takes two loads where nothing is recorded.
WEIR_MODEL_KERNEL(breaker_progress, a_good_call_is_two_loads, {}) {
    rig r{consecutive_failures{3}};
    WEIR_MODEL_REQUIRE(count_steps([&] { r.call(verdict::success); }) == 2);
}

// ---- the last calls

/// The sums are those of the last calls: what is in the ring is pushed out by calls that went well, one by one.
void check_ring(last_calls& calls, std::uint16_t generation, std::uint32_t size) {
    auto before = calls.read(generation);
    WEIR_MODEL_REQUIRE(before.total <= size && before.failed <= before.total && before.slow <= before.total);
    for (std::uint32_t i = 0; i < size; ++i) {
        auto const now = calls.record(generation, false, false);
        WEIR_MODEL_REQUIRE(now.total <= size && now.failed <= before.failed && now.slow <= before.slow);
        WEIR_MODEL_REQUIRE(now.total >= before.total);
        before = now;
    }
    WEIR_MODEL_REQUIRE(before.total == size && before.failed == 0 && before.slow == 0);
}

WEIR_MODEL_KERNEL(last_calls, sums_are_exact_at_rest, {.preemptions = 3, .spurious_failures = 1}) {
    last_calls calls(2);
    calls.record(0, true, false);
    together(
        [&] {
            calls.record(0, true, false);
            calls.record(0, false, true);
        },
        [&] { calls.record(0, true, true); });
    // Two of the four are left, and the first is not among them.
    auto const s = calls.read(0);
    WEIR_MODEL_REQUIRE(s.total == 2 && s.failed >= 1 && s.failed <= 2 && s.slow >= 1 && s.slow <= 2);
    check_ring(calls, 0, 2);
}

WEIR_MODEL_KERNEL(last_calls, three_come_round_the_ring_at_once, {}) {
    last_calls calls(1);
    const auto fail = [&] { calls.record(0, true, true); };
    together(fail, fail, fail);
    WEIR_MODEL_REQUIRE(calls.read(0).total == 1 && calls.read(0).failed == 1 && calls.read(0).slow == 1);
    check_ring(calls, 0, 1);
}

// A late call of the generation before takes a place of the new one, or the other way round: none of the old one counts.
WEIR_MODEL_KERNEL(last_calls, of_two_generations_only_the_newer_counts, {.preemptions = 4, .stale_reads = 3}) {
    last_calls calls(1);
    calls.record(3, true, false);
    together([&] { calls.record(3, true, false); }, [&] { calls.record(4, false, true); });
    auto const s = calls.read(4);
    WEIR_MODEL_REQUIRE(s.total <= 1 && s.failed == 0 && s.slow == s.total);
    WEIR_MODEL_REQUIRE(calls.read(3).total == 0);
    check_ring(calls, 4, 1);
}
WEIR_MODEL_KERNEL(last_calls, late_calls_and_a_new_generation_that_nobody_has_called_in, {.preemptions = 3}) {
    last_calls calls(2);
    calls.record(3, true, true);
    together(
        [&] {
            calls.record(3, true, false);
            calls.record(4, true, false);
        },
        [&] { calls.enter(4); }, [&] { calls.record(4, true, false); });
    auto const s = calls.read(4);
    WEIR_MODEL_REQUIRE(s.total >= 1 && s.total <= 2 && s.failed == s.total && s.slow == 0);
    check_ring(calls, 4, 2);
}

// Whoever fills min_calls, or is the failure that is one too many, opens it.
WEIR_MODEL_KERNEL(count_window, one_of_the_last_calls_opens_it, {.preemptions = 3}) {
    rig<count_window> r{count_window{4, {.min_calls = 3, .failure_rate = 34}}};
    r.call(verdict::success);
    auto a = r.acquire();
    auto b = r.acquire();
    together([&] { a->failure(); }, [&] { b->failure(); });
    WEIR_MODEL_REQUIRE(r.state() == breaker_state::open && r.breaker.stats().generation == 1);
    WEIR_MODEL_REQUIRE(r.breaker.stats().failed == 2 && r.breaker.stats().calls == 3);
    r.check_chain();
}

// ---- the calls of buckets of time

using window = time_window::window_type;

constexpr time_window one_bucket{.window = 1ms, .buckets = 1, .rates = {}};
constexpr std::int64_t bucket = 1'000'000;  // ns

// A failure below min_calls and the success that fills them: the failure has seen both, or the success has seen the mark.
WEIR_MODEL_KERNEL(time_window, a_failure_and_the_success_that_fills_min_calls, {.preemptions = 3}) {
    window w(one_bucket);
    const call_rates limits{.min_calls = 2, .failure_rate = 50};
    bool opens = false, opens_too = false;
    together([&] { opens = w.record(0, 0, true, false, limits); },
             [&] { opens_too = w.record(0, 0, false, false, limits); });
    WEIR_MODEL_REQUIRE(opens || opens_too);
}

// One has seen enough calls, and takes the mark away; another has failed meanwhile, and relies on it.
WEIR_MODEL_KERNEL(time_window, nobody_takes_away_the_mark_of_another, {}) {
    window w(one_bucket);
    const call_rates limits{.min_calls = 3, .failure_rate = 25};
    WEIR_MODEL_REQUIRE(!w.record(0, 0, false, true, limits));  // slow, which marks, and nothing else
    std::array<bool, 3> opens{};
    together([&] { opens[0] = w.record(0, 0, false, false, limits); },
             [&] { opens[1] = w.record(0, 0, true, false, limits); },
             [&] { opens[2] = w.record(0, 0, false, false, limits); });
    WEIR_MODEL_REQUIRE(opens[0] || opens[1] || opens[2]);
}

// The same, one bucket later: what was enough then is not enough now.
WEIR_MODEL_KERNEL(time_window, nobody_takes_away_the_mark_of_a_later_bucket, {.preemptions = 3}) {
    window w(one_bucket);
    const call_rates limits{.min_calls = 2, .failure_rate = 50};
    WEIR_MODEL_REQUIRE(!w.record(0, 0, false, true, limits));
    bool opens = false;
    bool opens_too = false;
    // The one who is late comes from the thread whose word has the call above, which so stays.
    together([&] { opens_too = w.record(0, bucket, true, false, limits); },
             [&] { opens = w.record(0, 0, false, false, limits); });
    if (w.read(0, bucket).total == 1) {
        WEIR_MODEL_REQUIRE(!opens && !opens_too && w.record(0, bucket, false, false, limits));
    } else {  // the other came after the clock had moved
        WEIR_MODEL_REQUIRE(opens || opens_too);
    }
}

// One is late by a generation: its mark is not in the way of the new one's.
WEIR_MODEL_KERNEL(time_window, a_late_call_does_not_take_away_the_mark_of_a_new_generation, {.preemptions = 3}) {
    window w(one_bucket);
    const call_rates limits{.min_calls = 2, .failure_rate = 50};
    together([&] { static_cast<void>(w.record(0, 0, true, false, limits)); },
             [&] { WEIR_MODEL_REQUIRE(!w.record(1, 0, true, false, limits)); });
    WEIR_MODEL_REQUIRE(w.read(1, 0).total == 1);
    WEIR_MODEL_REQUIRE(w.record(1, 0, false, false, limits));
}

// No call is lost within a bucket, nor counted after it.
WEIR_MODEL_KERNEL(time_window, calls_of_a_bucket_are_all_counted, {.preemptions = 3, .spurious_failures = 1}) {
    recent_calls calls(1);
    together(
        [&] {
            calls.record(0, 0, true, false);
            calls.record(0, 0, false, true);
        },
        [&] { calls.record(0, 0, true, true); });
    auto const s = calls.read(0, 0);
    WEIR_MODEL_REQUIRE(s.total == 3 && s.failed == 2 && s.slow == 2);
    WEIR_MODEL_REQUIRE(calls.read(0, 1).total == 0 && calls.read(1, 0).total == 0);
}

// Two share a stripe, and one is a bucket ahead: none of the earlier bucket counts in the later one.
WEIR_MODEL_KERNEL(time_window, a_bucket_has_nothing_of_the_one_before, {.preemptions = 3, .spurious_failures = 1}) {
    recent_calls calls(1);
    for (auto& word : weir::detail::thread_slot_registry::taken) {
        word.store(~std::uint64_t{0});
    }
    weir::detail::thread_slot_registry::overflow.store(15);
    calls.record(0, 0, true, true);
    together(
        [&] {
            for (int i = 0; i < 2; ++i) {
                calls.record(0, 0, true, true);
            }
        },
        [&] { calls.record(0, 1, false, false); });
    auto const s = calls.read(0, 1);
    WEIR_MODEL_REQUIRE(s.total == 1 && s.failed == 0 && s.slow == 0);
}

TEST(mutants_of_circuit_breaker, every_weakened_order_is_noticed) {
    check_mutants({"weir/flow/circuit_breaker.hpp", "weir/flow/detail/breaker_bodies.hpp",
                   "weir/flow/detail/breaker_mode.hpp", "weir/flow/detail/breaker_window.hpp"});
}

}  // namespace
}  // namespace weir_model
