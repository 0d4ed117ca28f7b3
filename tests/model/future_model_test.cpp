// weir (BSL-1.0). Kernels of run/detail/future.hpp, pool_group.hpp and pool_map.hpp: who has the call, who frees the state, who wakes.
#include <weir/run/detail/future.hpp>
#include <weir/run/detail/pool_group.hpp>
#include <weir/run/detail/pool_map.hpp>

#include "kernels.hpp"
#include "mutation.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

// A lost wake-up is a deadlock here: no deadline ends these waits, but where a kernel is about deadlines. A state that nobody
// frees is a leak, one that both free a double free; each body ends with none left.
//
// Who kills what.
//
//   edge  site                                weakened           killed by
//   E1    done(), the load                    acquire            the_answer_reaches_who_waits
//   E1    complete(), done                    release            the same
//   E1    cancel(), done                      release            what_a_cancel_destroys_is_seen_to_be_gone
//   E1    drop(), the load; dropped           acquire            a_future_that_goes_leaves_the_state_to_the_last
//   E2    drop(), dropped                     release            an_answer_finds_the_link_of_a_future_that_goes
//   E2    complete(), done                    acquire            the same
//   E2    complete(), leave(): left           acquire            .. of_one_who_has_waited, .. of_a_cancelled_call
//   E3    complete(), leave(): left           release            a_future_that_was_waited_for_goes, a_cancelled_call_goes
//   E3    drop(), the load; dropped           acquire            the same
//   E1    task_group, count_down(), not last  release            the_parts_are_seen_when_the_wait_ends
//   E1    task_group, all_done()              acquire            the same

namespace weir_model {
namespace {

using namespace std::chrono_literals;
using weir::future;
using weir::outcome;
using weir::refusal;
using weir::detail::await;
using weir::detail::event_count;
using weir::detail::job_entry;
using weir::detail::make_async;
using weir::detail::pool_end;
using weir::detail::wait_result;

using clock = std::chrono::steady_clock;
constexpr auto never = clock::time_point::max();
constexpr auto at_once = clock::time_point::min();

template <class T>
bool is(outcome<T> const& o, refusal why) {
    return !o.has_value() && o.error().is_rejection() && o.error().rejection().reason == why;
}

/// A plain variable that says whether its owner has gone.
class mark {
public:
    explicit mark(int& gone) : gone_(&gone) {}
    mark(mark&& other) noexcept : gone_(std::exchange(other.gone_, nullptr)) {}
    mark& operator=(mark&&) = delete;
    ~mark() {
        if (gone_ != nullptr) {
            ++*gone_;
        }
    }

private:
    int* gone_;
};

// ---- wait and complete

WEIR_MODEL_KERNEL(future, the_answer_reaches_who_waits, {.preemptions = 3}) {
    int work = 0;
    auto call = make_async([&work] { return ++work; });
    together(
        [&] {
            WEIR_MODEL_REQUIRE(call.result.wait_until(never));
            WEIR_MODEL_REQUIRE(work == 1);
            WEIR_MODEL_REQUIRE(call.result.get({}).value() == 1);
        },
        [&] { WEIR_MODEL_REQUIRE(call.entry({}) == pool_end::completed); });
}

WEIR_MODEL_KERNEL(future, all_who_wait_are_woken, {.preemptions = 2}) {
    int work = 0;
    auto call = make_async([&work] { ++work; });
    auto const waiter = [&] {
        WEIR_MODEL_REQUIRE(call.result.wait_until(never));
        WEIR_MODEL_REQUIRE(work == 1);
    };
    together(waiter, waiter, [&] { WEIR_MODEL_REQUIRE(call.entry({}) == pool_end::completed); });
}

WEIR_MODEL_KERNEL(future, one_who_gave_up_waiting_may_wait_again, {.preemptions = 2}) {
    auto call = make_async([] { return 7; });
    together(
        [&] {
            auto const first = call.result.get_until(at_once);
            if (!first.has_value()) {
                WEIR_MODEL_REQUIRE(is(first, refusal::timed_out));
                WEIR_MODEL_REQUIRE(call.result.get({}).value() == 7);
            }
        },
        [&] { WEIR_MODEL_REQUIRE(call.entry({}) == pool_end::completed); });
}

WEIR_MODEL_KERNEL(future, a_stop_or_the_answer_ends_a_wait, {.preemptions = 2}) {
    auto call = make_async([] { return 7; });
    std::stop_source stop;
    together(
        [&] {
            auto const o = call.result.get(stop.get_token());
            WEIR_MODEL_REQUIRE(o.has_value() || (is(o, refusal::stopped) && call.result.valid()));
        },
        [&] {
            stop.request_stop();
            WEIR_MODEL_REQUIRE(call.entry({}) == pool_end::completed);
        });
}

// ---- who frees

WEIR_MODEL_KERNEL(future, a_future_that_goes_leaves_the_state_to_the_last, {.preemptions = 3}) {
    int gone = 0;
    auto call = make_async([&gone] { return mark{gone}; });
    together([&] { call.result = {}; }, [&] { WEIR_MODEL_REQUIRE(call.entry({}) == pool_end::completed); });
    WEIR_MODEL_REQUIRE(gone == 1);
}

WEIR_MODEL_KERNEL(future, a_future_that_was_waited_for_goes, {.preemptions = 2}) {
    int gone = 0;
    auto call = make_async([&gone] { return mark{gone}; });
    together(
        [&] {
            static_cast<void>(call.result.wait_until(at_once));
            call.result = {};
        },
        [&] { WEIR_MODEL_REQUIRE(call.entry({}) == pool_end::completed); });
    WEIR_MODEL_REQUIRE(gone == 1);
}

WEIR_MODEL_KERNEL(future, a_future_goes_once_it_is_ready, {.preemptions = 3}) {
    int gone = 0;
    auto call = make_async([&gone] { return mark{gone}; });
    together(
        [&] {
            if (call.result.ready()) {
                WEIR_MODEL_REQUIRE(gone == 0);
                call.result = {};
                WEIR_MODEL_REQUIRE(gone == 1);
            }
        },
        [&] { WEIR_MODEL_REQUIRE(call.entry({}) == pool_end::completed); });
}

/// Counts what it is given, in a plain variable.
class counting_link final : public weir::detail::future_link<int> {
public:
    explicit counting_link(int& sum) : sum_(&sum) {}
    void take(outcome<int>&& result) noexcept override {
        *sum_ += result.has_value() ? *result : -1;
        delete this;
    }

private:
    int* sum_;
};

/// As to_std() does, without its mutexes.
template <class F>
void link_meets(bool has_waited, F&& other_side) {
    int sum = 0;
    auto* const call = new weir::detail::future_call<int, int (*)()>(std::in_place, [] { return 7; });
    job_entry entry{*call};
    auto* const link = new counting_link{sum};
    together(
        [&] {
            if (has_waited) {
                static_cast<void>(call->wait_until(at_once, {}));
            }
            call->chain(*link);
        },
        [&] { other_side(entry); });
    WEIR_MODEL_REQUIRE(sum == 7);
}
WEIR_MODEL_KERNEL(future, an_answer_finds_the_link_of_a_future_that_goes, {.preemptions = 3}) {
    link_meets(false, [](job_entry& entry) { static_cast<void>(entry({})); });
}
WEIR_MODEL_KERNEL(future, an_answer_finds_the_link_of_one_who_has_waited, {.preemptions = 2}) {
    link_meets(true, [](job_entry& entry) { static_cast<void>(entry({})); });
}

WEIR_MODEL_KERNEL(future, an_answer_finds_the_link_of_a_cancelled_call, {.preemptions = 3}) {
    int sum = 0;
    auto* const call = new weir::detail::future_call<int, int (*)()>(std::in_place, [] { return 7; });
    job_entry entry{*call};
    auto* const link = new counting_link{sum};
    bool won = false;
    together(
        [&] {
            won = call->cancel();
            call->chain(*link);
        },
        [&] { static_cast<void>(entry({})); });
    WEIR_MODEL_REQUIRE(sum == (won ? -1 : 7));
}

// ---- cancel and break

WEIR_MODEL_KERNEL(future, a_cancel_and_the_worker_agree_on_who_was_first, {.preemptions = 3}) {
    int work = 0;
    int gone = 0;
    auto call = make_async([&work, held = mark{gone}] { ++work; });
    bool won = false;
    pool_end end{};
    together(
        [&] {
            won = call.result.cancel();
            auto const o = call.result.get({});
            WEIR_MODEL_REQUIRE(won ? is(o, refusal::cancelled) : o.has_value());
            WEIR_MODEL_REQUIRE(gone == 1);
        },
        [&] { end = call.entry({}); });
    WEIR_MODEL_REQUIRE(work == (won ? 0 : 1));
    WEIR_MODEL_REQUIRE(end == (won ? pool_end::cancelled : pool_end::completed));
}

WEIR_MODEL_KERNEL(future, a_cancelled_call_goes, {.preemptions = 3}) {
    int gone = 0;
    auto call = make_async([held = mark{gone}] {});
    WEIR_MODEL_REQUIRE(call.result.cancel());
    WEIR_MODEL_REQUIRE(gone == 1);
    together([&] { call.result = {}; }, [&] { WEIR_MODEL_REQUIRE(call.entry({}) == pool_end::cancelled); });
}

WEIR_MODEL_KERNEL(future, what_a_cancel_destroys_is_seen_to_be_gone, {.preemptions = 3}) {
    int gone = 0;
    auto call = make_async([held = mark{gone}] {});
    together(
        [&] {
            if (call.result.ready()) {
                WEIR_MODEL_REQUIRE(gone == 1);
            }
        },
        [&] { WEIR_MODEL_REQUIRE(call.result.cancel()); });
}

WEIR_MODEL_KERNEL(future, a_cancel_wakes_who_waits, {.preemptions = 2}) {
    int gone = 0;
    auto call = make_async([held = mark{gone}] {});
    together(
        [&] {
            WEIR_MODEL_REQUIRE(call.result.wait_until(never));
            WEIR_MODEL_REQUIRE(gone == 1);
        },
        [&] { WEIR_MODEL_REQUIRE(call.result.cancel()); });
}

WEIR_MODEL_KERNEL(future, a_refusal_meets_a_cancel, {.preemptions = 3}) {
    int gone = 0;
    auto call = make_async([held = mark{gone}] {});
    bool won = false;
    together(
        [&] {
            won = call.result.cancel();
            WEIR_MODEL_REQUIRE(is(call.result.get({}), won ? refusal::cancelled : refusal::dropped));
        },
        [&] { call.entry.refuse(refusal::dropped); });
    WEIR_MODEL_REQUIRE(gone == 1);
}

WEIR_MODEL_KERNEL(future, a_broken_call_wakes_who_waits, {.preemptions = 3}) {
    int gone = 0;
    auto call = make_async([held = mark{gone}] { return 1; });
    together([&] { WEIR_MODEL_REQUIRE(is(call.result.get({}), refusal::closed) && gone == 1); },
             [&] { job_entry const dies{std::move(call.entry)}; });
}

// ---- progress: suspended anywhere, one side never stops the other

WEIR_MODEL_KERNEL(future, a_suspended_worker_stops_no_look_and_no_cancel, {.freezes = 1, .check_leaks = false}) {
    auto* const call = new auto(make_async([] { return 7; }));
    together([&] { static_cast<void>(call->entry({})); },
             [&] {
                 WEIR_MODEL_REQUIRE(count_steps([&] { static_cast<void>(call->result.ready()); }) <= 1);
                 bool won = false;
                 // The callable, done, the look at who waits.
                 WEIR_MODEL_REQUIRE(count_steps([&] { won = call->result.cancel(); }) <= 3);
                 WEIR_MODEL_REQUIRE(!won || call->result.ready());
             });
}

WEIR_MODEL_KERNEL(future, a_suspended_cancel_stops_no_worker, {.freezes = 1, .check_leaks = false}) {
    auto* const call = new auto(make_async([] { return 7; }));
    together([&] { static_cast<void>(call->result.cancel()); },
             [&] {
                 // The callable, done or left, and where somebody has waited the look at who waits, and left.
                 WEIR_MODEL_REQUIRE(count_steps([&] { static_cast<void>(call->entry({})); }) <= 4);
             });
}

WEIR_MODEL_KERNEL(future, a_suspended_waiter_stops_no_worker, {.freezes = 1, .check_leaks = false}) {
    auto* const call = new auto(make_async([] { return 7; }));
    bool ended = false;
    together([&] { static_cast<void>(call->result.wait_until(never)); },
             [&] {
                 ended = call->entry({}) == pool_end::completed;
             });
    WEIR_MODEL_REQUIRE(ended);
}

// ---- groups and maps, on a pool without threads: the bodies are its workers

class hand_pool {
public:
    using time_point = clock::time_point;
    hand_pool& core() noexcept { return *this; }
    [[nodiscard]] int terms() const noexcept { return 0; }
    [[nodiscard]] bool inside() const noexcept { return true; }
    [[nodiscard]] std::size_t max_workers_hint() const noexcept { return 1; }
    weir::expected<void, refusal> submit(weir::task& t, int) { return submit_until(t, never, {}); }
    weir::expected<void, refusal> submit_until(weir::task& t, time_point, std::stop_token const&) {
        std::lock_guard const hold{m_};
        for (auto& each : queue_) {
            if (!each) {
                each.emplace(std::move(t));
                return {};
            }
        }
        return weir::unexpected{refusal::queue_full};
    }
    template <class Done>
    bool help_until(Done&& done, event_count& events, time_point deadline, std::stop_token const& stop) {
        return await(events, done, deadline, stop) == wait_result::notified;
    }
    bool run_one() {
        std::optional<weir::task> mine;
        {
            std::lock_guard const hold{m_};
            for (auto& each : queue_) {
                if (each) {
                    mine.emplace(std::move(*each));
                    each.reset();
                    break;
                }
            }
        }
        if (mine) {
            static_cast<void>(mine->run({}));
        }
        return mine.has_value();
    }
    void refuse_one() {
        std::optional<weir::task> mine;
        {
            std::lock_guard const hold{m_};
            std::swap(mine, queue_[0]);
        }
        if (mine) {
            mine->abandon(refusal::dropped);
        }
    }

private:
    std::mutex m_;
    std::optional<weir::task> queue_[3];
};

WEIR_MODEL_KERNEL(task_group, the_parts_are_seen_when_the_wait_ends, {.preemptions = 2, .stale_reads = 1}) {
    hand_pool pool;
    int work[2] = {};
    {
        weir::task_group group{pool};
        WEIR_MODEL_REQUIRE(group.run([&work] { ++work[0]; }).has_value());
        WEIR_MODEL_REQUIRE(group.run([&work] { ++work[1]; }).has_value());
        auto const worker = [&] { WEIR_MODEL_REQUIRE(pool.run_one()); };
        together(worker, worker, [&] {
            WEIR_MODEL_REQUIRE(group.wait({}).has_value());
            WEIR_MODEL_REQUIRE(work[0] == 1 && work[1] == 1);
        });
    }
}

WEIR_MODEL_KERNEL(task_group, goes_as_soon_as_its_wait_has_ended, {.preemptions = 2, .stale_reads = 1}) {
    hand_pool pool;
    auto* group = new weir::task_group<hand_pool>{pool};
    int work = 0;
    WEIR_MODEL_REQUIRE(group->run([&work] { ++work; }).has_value());
    together([&] { WEIR_MODEL_REQUIRE(pool.run_one()); },
             [&] {
                 WEIR_MODEL_REQUIRE(group->wait({}).has_value());
                 WEIR_MODEL_REQUIRE(work == 1);
                 delete group;
             });
}

WEIR_MODEL_KERNEL(task_group, a_cancel_meets_a_part, {.preemptions = 2, .stale_reads = 1}) {
    hand_pool pool;
    int work = 0;
    weir::task_group group{pool};
    WEIR_MODEL_REQUIRE(group.run([&work] { ++work; }).has_value());
    together([&] { static_cast<void>(pool.run_one()); },
             [&] {
                 group.cancel();
                 auto const o = group.wait({});
                 WEIR_MODEL_REQUIRE(work == (o.has_value() ? 1 : 0));
                 WEIR_MODEL_REQUIRE(o.has_value() || is(o, refusal::cancelled));
                 WEIR_MODEL_REQUIRE(group.pending() == 0);
             });
}

template <class Other>
void map_meets(std::size_t in_flight, Other const& other) {
    hand_pool pool;
    int items[2] = {1, 2};
    together([&] { other(pool); },
             [&] {
                 auto const all = weir::detail::map_on(
                     pool, items, [](int n) { return n * 10; },
                     {.in_flight = in_flight, .deadline = clock::now() + 1ms});
                 for (int i = 0; i < 2; ++i) {
                     auto const& o = all[static_cast<std::size_t>(i)];
                     WEIR_MODEL_REQUIRE(o.has_value() ? *o == 10 * (i + 1)
                                                      : is(o, refusal::timed_out) || is(o, refusal::dropped));
                 }
             });
    // What is left in the pool goes with it, or runs late.
    static_cast<void>(pool.run_one());
}
WEIR_MODEL_KERNEL(map, a_worker_answers_or_comes_late, {.preemptions = 1, .stale_reads = 1}) {
    map_meets(1, [](hand_pool& pool) {
        for (int i = 0; i < 3; ++i) {
            static_cast<void>(pool.run_one());
        }
    });
}
WEIR_MODEL_KERNEL(map, a_runner_is_dropped, {.preemptions = 1, .stale_reads = 1}) {
    map_meets(2, [](hand_pool& pool) {
        pool.refuse_one();
        static_cast<void>(pool.run_one());
    });
}

TEST(mutants_of_future, every_weakened_order_is_noticed) {
    check_mutants({"weir/run/detail/future.hpp", "weir/run/detail/pool_group.hpp"});
}

}  // namespace
}  // namespace weir_model
