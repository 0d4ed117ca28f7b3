// weir (BSL-1.0). Kernels of flow/pipeline.hpp: calls that go on alone, and callers who have left or are about to.
#include <weir/base/call_context.hpp>
#include <weir/base/sleeper.hpp>
#include <weir/flow/bulkhead.hpp>
#include <weir/flow/pipeline.hpp>

#include "kernels.hpp"
#include "stats_kernel.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>

// A caller waits for a mutex that branches have for a few instructions: a thread that is suspended there would keep it, so that no
// kernel freezes threads. Calls that never end by themselves do not keep it.
// No atomic operation stands in these headers, so there is no mutant: what the branches of a call and its caller share is under a
// mutex, and waiting is that of detail/parking.hpp. Each line of that is broken instead:
//
//   what is broken                                  noticed by
//   put() does not notify                           a_result_wakes_the_caller
//   put() notifies before it has put                the same
//   put() lets go of the mutex before best_         the same, as a race
//   ready() without the mutex                       the_caller_gets_a_whole_result_or_none, the_first_of_two_results_is_kept
//   a later value replaces the first                a_hedge_stops_the_one_that_it_overtook
//   a failure replaces a value                      a_failure_is_no_answer_while_another_may_come
//   the caller's stop is not passed on              a_caller_who_is_stopped_stops_the_call
//   the deadline does not stop the call             a_deadline_stops_the_call
//   a value does not stop the others                a_hedge_stops_the_one_that_it_overtook
//   the state is the caller's, on its stack         the_caller_gets_a_whole_result_or_none, as a use after free

namespace weir_model {
namespace {

using weir::call_context;
using weir::refusal;

using namespace std::chrono_literals;

constexpr auto never = std::chrono::nanoseconds::max();

/// Runs each task in a thread of its own, and waits for all of them in the end.
class threads_of_a_body {
public:
    threads_of_a_body() = default;
    threads_of_a_body(threads_of_a_body const&) = delete;
    threads_of_a_body& operator=(threads_of_a_body const&) = delete;
    ~threads_of_a_body() { join(); }

    template <class Task>
    void execute(Task task) {
        threads_[count_++] = std::thread(std::move(task));
    }
    void join() {
        for (auto& each : threads_) {
            if (each.joinable()) {
                each.join();
            }
        }
    }

private:
    std::array<std::thread, 3> threads_;
    std::size_t count_ = 0;
};

/// A call that ends when it is stopped, and not before.
bool until_stopped(std::stop_token const& stop) { return !weir::thread_sleeper{}.sleep_for(never, stop); }

// ---- timeout with an executor

WEIR_MODEL_KERNEL(detached_timeout, a_result_wakes_the_caller, {.preemptions = 4, .timeouts = 0}) {
    threads_of_a_body threads;
    auto const p = weir::pipeline<>{} | weir::timeout(never, threads);
    int written = 0;
    auto const a = p([&] {
        written = 7;
        return 5;
    });
    WEIR_MODEL_REQUIRE(a.has_value() && *a == 5 && written == 7);
}

WEIR_MODEL_KERNEL(detached_timeout, the_caller_gets_a_whole_result_or_none, {.preemptions = 3}) {
    int written = 0;
    threads_of_a_body threads;
    auto const p = weir::pipeline<>{} | weir::timeout(1s, threads);
    call_context<> context;
    auto const a = p.run(context, [&written] {
        written = 7;
        return std::make_unique<int>(5);
    });
    if (a.has_value()) {
        WEIR_MODEL_REQUIRE(**a == 5 && written == 7 && !context.late);
    } else {
        WEIR_MODEL_REQUIRE(a.error().rejection().reason == refusal::timed_out && context.late);
    }
}

WEIR_MODEL_KERNEL(detached_timeout, a_deadline_stops_the_call, {.preemptions = 2}) {
    threads_of_a_body threads;
    auto const p = weir::pipeline<>{} | weir::timeout(1s, threads);
    auto const a = p([](auto& context) { return until_stopped(context.stop); });
    WEIR_MODEL_REQUIRE(!a.has_value() && a.error().rejection().reason == refusal::timed_out);
}

WEIR_MODEL_KERNEL(detached_timeout, a_caller_who_is_stopped_stops_the_call, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    std::stop_source source;
    threads_of_a_body threads;
    auto const p = weir::pipeline<>{} | weir::timeout(never, threads);
    together([&] { source.request_stop(); },
             [&] {
                 call_context<> context;
                 context.stop = source.get_token();
                 auto const a = p.run(context, [](auto& inner) { return until_stopped(inner.stop); });
                 WEIR_MODEL_REQUIRE(!a.has_value() && a.error().rejection().reason == refusal::stopped);
             });
}

// It has what it needs, and gives its permit back, when its caller has left and the pipeline is gone.
WEIR_MODEL_KERNEL(detached_timeout, a_call_that_goes_on_alone_gives_its_permit_back, {.preemptions = 2, .stale_reads = 1}) {
    const lanes_of_a_body lanes;
    weir::bulkhead b{{.max_concurrent = 1}};
    threads_of_a_body threads;
    bool const answered = [&] {
        auto const p = weir::timeout(1s, threads) | b.policy();
        auto const a = p([kept = std::make_shared<int>(5)] {
            leave_lanes();
            return *kept;
        });
        return a.has_value();
    }();
    // The permit is given back before the result is there.
    WEIR_MODEL_REQUIRE(!answered || b.stats().in_use == 0);
    threads.join();
    WEIR_MODEL_REQUIRE(b.stats().in_use == 0 && b.stats().admitted == 1);
}

// ---- hedge

WEIR_MODEL_KERNEL(hedge, the_first_of_two_results_is_kept, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    threads_of_a_body threads;
    auto const p = weir::pipeline<>{} | weir::hedge(threads, 0ns);
    call_context<> context;
    auto const a = p.run(context, [](auto& mine) { return std::make_unique<unsigned>(mine.attempt); });
    WEIR_MODEL_REQUIRE(a.has_value() && **a == context.attempt);
}

WEIR_MODEL_KERNEL(hedge, a_hedge_stops_the_one_that_it_overtook, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    threads_of_a_body threads;
    auto const p = weir::pipeline<>{} | weir::hedge(threads, 0ns);
    auto const a = p([](auto& context) {
        if (context.attempt == 1) {
            until_stopped(context.stop);
        }
        return context.attempt;
    });
    WEIR_MODEL_REQUIRE(a.has_value() && *a == 2);
}

WEIR_MODEL_KERNEL(hedge, a_failure_is_no_answer_while_another_may_come, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    threads_of_a_body threads;
    auto const p = weir::pipeline<>{} | weir::hedge(threads, 0ns);
    auto const a = p([](auto& context) -> weir::outcome<unsigned> {
        if (context.attempt == 2) {
            return weir::unexpected<weir::failure>{weir::failure{weir::rejected{refusal::over_capacity}}};
        }
        return context.attempt;
    });
    WEIR_MODEL_REQUIRE(a.has_value() && *a == 1);
}

}  // namespace
}  // namespace weir_model
