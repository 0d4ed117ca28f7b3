// weir (BSL-1.0). Kernels of flow/bulkhead.hpp and of the budgets of flow/retry.hpp: permits, waits, and retries that there are.
#include <weir/flow/bulkhead.hpp>
#include <weir/flow/retry.hpp>

#include "kernels.hpp"
#include "mutation.hpp"
#include "stats_kernel.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stop_token>

// A lost wake-up is a deadlock here: no deadline ends these waits, but where a kernel is about deadlines. The edges of the wait
// are those of detail/parking.hpp, and parking_model_test.cpp kills them.
//
//   site                              weakened     killed by
//   bulkhead E1, give_back()          release      what_is_done_under_a_permit_is_seen_under_the_next
//   bulkhead E1, take()               acquire      the same
//   give_back(), and the look before  seq_cst      a_thread_that_waits_gets_what_is_given_back
//   a withdrawal and the sums         seq_cst      two_slots_of_time_have_one_retry_between_them

namespace weir_model {
namespace {

using weir::bulkhead;
using weir::refusal;

constexpr auto never = std::chrono::steady_clock::time_point::max();

/// A plain variable that only the holder of the one permit may touch.
void work(int& guarded) { ++guarded; }

// ---- bulkhead

WEIR_MODEL_KERNEL(bulkhead, of_two_who_try_at_once_one_gets_the_permit, {.preemptions = 3}) {
    lanes_of_a_body const lanes;
    bulkhead b{{.max_concurrent = 1}};
    std::atomic<int> in{0};
    std::atomic<int> got{0};
    auto const taker = [&] {
        leave_lanes();
        if (auto const p = b.try_acquire()) {
            WEIR_MODEL_REQUIRE(in.fetch_add(1) == 0);
            got.fetch_add(1);
            in.fetch_sub(1);
        } else {
            WEIR_MODEL_REQUIRE(p.error().reason == refusal::bulkhead_full);
        }
    };
    together(taker, taker);
    auto const s = b.stats();
    WEIR_MODEL_REQUIRE(got.load() >= 1 && s.admitted == static_cast<std::uint64_t>(got.load()));
    WEIR_MODEL_REQUIRE(s.admitted + s.refused == 2 && s.in_use == 0);
}

WEIR_MODEL_KERNEL(bulkhead, what_is_done_under_a_permit_is_seen_under_the_next, {.preemptions = 3}) {
    lanes_of_a_body const lanes;
    bulkhead b{{.max_concurrent = 1}};
    int guarded = 0;
    auto const taker = [&] {
        leave_lanes();
        if (auto const p = b.try_acquire()) {
            work(guarded);
        }
    };
    together(taker, taker);
    WEIR_MODEL_REQUIRE(static_cast<std::uint64_t>(guarded) == b.stats().admitted);
}

WEIR_MODEL_KERNEL(bulkhead, a_thread_that_waits_gets_what_is_given_back, {.preemptions = 3}) {
    lanes_of_a_body const lanes;
    bulkhead b{{.max_concurrent = 1, .max_waiting = 1}};
    int guarded = 0;
    auto first = b.try_acquire();
    WEIR_MODEL_REQUIRE(first.has_value());
    together(
        [&] {
            leave_lanes();
            auto const p = b.acquire_until(never);
            WEIR_MODEL_REQUIRE(p.has_value());
            work(guarded);
        },
        [&] {
            leave_lanes();
            work(guarded);
            first->release();
        });
    auto const s = b.stats();
    WEIR_MODEL_REQUIRE(guarded == 2 && s.in_use == 0 && s.waiting == 0 && s.admitted == 2);
}

WEIR_MODEL_KERNEL(bulkhead, two_who_wait_pass_on_one_permit, {.preemptions = 2}) {
    lanes_of_a_body const lanes;
    bulkhead b{{.max_concurrent = 1, .max_waiting = 2}};
    int guarded = 0;
    auto first = b.try_acquire();
    auto const waiter = [&] {
        leave_lanes();
        auto const p = b.acquire_until(never);
        WEIR_MODEL_REQUIRE(p.has_value());
        work(guarded);
    };
    together(waiter, waiter, [&] { first->release(); });
    WEIR_MODEL_REQUIRE(guarded == 2 && b.stats().in_use == 0 && b.stats().waiting == 0);
}

WEIR_MODEL_KERNEL(bulkhead, a_stop_or_a_permit_ends_a_wait, {.preemptions = 3}) {
    lanes_of_a_body const lanes;
    bulkhead b{{.max_concurrent = 1, .max_waiting = 1}};
    std::stop_source stop;
    auto first = b.try_acquire();
    bool taken = false;
    together(
        [&] {
            leave_lanes();
            auto const p = b.acquire_until(never, stop.get_token());
            taken = p.has_value();
            WEIR_MODEL_REQUIRE(taken || p.error().reason == refusal::stopped);
        },
        [&] {
            leave_lanes();
            first->release();
            stop.request_stop();
        });
    WEIR_MODEL_REQUIRE(taken);  // the permit was there before the stop
    WEIR_MODEL_REQUIRE(b.stats().in_use == 0 && b.stats().waiting == 0);
}

WEIR_MODEL_KERNEL(bulkhead, no_more_wait_than_may, {.preemptions = 2}) {
    lanes_of_a_body const lanes;
    bulkhead b{{.max_concurrent = 1, .max_waiting = 1}};
    auto const first = b.try_acquire();
    auto const waiter = [&] {
        leave_lanes();
        auto const p = b.acquire_until({});
        WEIR_MODEL_REQUIRE(!p.has_value());
        WEIR_MODEL_REQUIRE(p.error().reason == refusal::timed_out || p.error().reason == refusal::bulkhead_full);
    };
    together(waiter, waiter, [&] { WEIR_MODEL_REQUIRE(b.stats().waiting <= 1); });
    auto const s = b.stats();
    WEIR_MODEL_REQUIRE(s.timed_out >= 1 && s.timed_out + s.refused == 2 && s.waiting == 0);
}

// Suspended wherever it is, it has one permit at most, and the other is there for everybody else.
WEIR_MODEL_KERNEL(bulkhead, a_suspended_caller_delays_nobody, {.preemptions = 3, .freezes = 1, .check_leaks = false}) {
    auto* const b = new bulkhead{{.max_concurrent = 2}};
    bool const all = together(
        [&] {
            leave_lanes();
            static_cast<void>(b->try_acquire());
        },
        [&] {
            leave_lanes();
            auto p = b->try_acquire();
            WEIR_MODEL_REQUIRE(p.has_value());
            auto const second = b->try_acquire();
            // A permit is given back by two operations: the number, and whether anybody waits.
            WEIR_MODEL_REQUIRE(count_steps([&] { p->release(); }) <= 2);
        });
    auto const in_use = b->stats().in_use;
    WEIR_MODEL_REQUIRE(in_use == 0 || (!all && in_use == 1));
}

// It is counted among those who wait, and sleeps perhaps: permits come and go all the same.
WEIR_MODEL_KERNEL(bulkhead, a_suspended_waiter_delays_nobody_who_tries,
                  {.preemptions = 2, .timeouts = 0, .freezes = 1, .check_leaks = false}) {
    auto* const b = new bulkhead{{.max_concurrent = 1, .max_waiting = 1}};
    auto first = b->try_acquire();
    together(
        [&] {
            leave_lanes();
            static_cast<void>(b->acquire_until(never));
        },
        [&] {
            leave_lanes();
            WEIR_MODEL_REQUIRE(b->stats().in_use == 1);
            WEIR_MODEL_REQUIRE(!b->try_acquire().has_value());
            first->release();
            static_cast<void>(b->try_acquire());
            WEIR_MODEL_REQUIRE(b->stats().waiting <= 1);
        });
}

// ---- budgets

// The clock of each thread says what the body wants: so two threads can be in two slots at once.
thread_local std::int64_t time_here = 0;
struct thread_clock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<thread_clock, duration>;
    [[nodiscard]] static time_point now() noexcept { return time_point{duration{time_here}}; }
};

// One retry in 1000 ns, slots of 100 ns.
constexpr weir::window_retry_budget_options one_retry{
    .ttl = std::chrono::nanoseconds{1000}, .min_per_second = 1e6, .retry_ratio = 1};

void one_between_them(std::int64_t time_of_other) {
    weir::window_retry_budget<thread_clock> budget{one_retry};
    bool mine = false;
    bool other = false;
    together([&] { mine = budget.try_retry(); },
             [&] {
                 time_here = time_of_other;
                 other = budget.try_retry();
             });
    WEIR_MODEL_REQUIRE(!(mine && other));
    WEIR_MODEL_REQUIRE((mine || other) == (budget.balance() == 0));
}
WEIR_MODEL_KERNEL(retry_budget, one_slot_of_time_has_one_retry, {.preemptions = 3}) { one_between_them(0); }
WEIR_MODEL_KERNEL(retry_budget, two_slots_of_time_have_one_retry_between_them, {.preemptions = 3}) {
    one_between_them(100);
}

WEIR_MODEL_KERNEL(retry_budget, a_call_in_between_adds_its_part_once, {.preemptions = 3}) {
    weir::window_retry_budget<thread_clock> budget{one_retry};
    int taken = 0;
    together([&] { budget.started(); },
             [&] {
                 taken += budget.try_retry() ? 1 : 0;
                 taken += budget.try_retry() ? 1 : 0;
             });
    WEIR_MODEL_REQUIRE(taken >= 1);
    WEIR_MODEL_REQUIRE(budget.balance() == 2 - taken);
}

WEIR_MODEL_KERNEL(retry_budget, tokens_are_neither_lost_nor_made, {.preemptions = 3}) {
    weir::token_retry_budget budget{{.max_tokens = 2, .token_ratio = 0.5}};
    budget.failed();
    together([&] { budget.failed(); }, [&] { budget.succeeded(); },
             [&] {
                 auto const t = budget.tokens();
                 WEIR_MODEL_REQUIRE(t >= 0 && t <= 2);
             });
    // 1, less 1 and then 0.5 more, or 0.5 more and then 1 less
    WEIR_MODEL_REQUIRE(budget.tokens() == 0.5);
}

// What they see is theirs alone: each gets the tokens that it finds, and no more.
WEIR_MODEL_KERNEL(retry_budget, who_asks_at_half_is_refused, {.preemptions = 3, .spurious_failures = 1}) {
    weir::token_retry_budget budget{{.max_tokens = 2, .token_ratio = 1}};
    bool before = false;
    together([&] { budget.failed(); },
             [&] {
                 budget.failed();
                 before = budget.try_retry();
             });
    WEIR_MODEL_REQUIRE(!before && budget.tokens() == 0 && !budget.try_retry());
}

// It has taken one retry at most, and may have been about to give that back.
WEIR_MODEL_KERNEL(retry_budget, a_suspended_withdrawal_costs_one_retry, {.preemptions = 3, .freezes = 1}) {
    weir::window_retry_budget<thread_clock> budget{one_retry};
    together([&] { static_cast<void>(budget.try_retry()); },
             [&] {
                 time_here = 100;
                 static_cast<void>(budget.try_retry());
                 budget.started();
                 budget.started();
                 WEIR_MODEL_REQUIRE(budget.try_retry());
             });
}

WEIR_MODEL_KERNEL(retry_budget, a_suspended_caller_keeps_no_token_back, {.preemptions = 3, .freezes = 1}) {
    weir::token_retry_budget budget{{.max_tokens = 4, .token_ratio = 1}};
    together([&] { budget.failed(); },
             [&] {
                 budget.failed();
                 budget.failed();
                 budget.succeeded();
                 auto const left = budget.tokens();
                 WEIR_MODEL_REQUIRE(left == 3 || left == 2);
                 WEIR_MODEL_REQUIRE(budget.try_retry() == (left == 3) || left == 3);
             });
}

TEST(mutants_of_bulkhead, every_weakened_order_is_noticed) {
    check_mutants({"weir/flow/bulkhead.hpp", "weir/flow/detail/retry_budget.hpp"});
}

}  // namespace
}  // namespace weir_model
