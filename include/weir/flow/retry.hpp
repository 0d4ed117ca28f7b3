// weir (BSL-1.0). retry: calls again what failed, later each time, and knows when to stop.
#ifndef WEIR_FLOW_RETRY_HPP
#define WEIR_FLOW_RETRY_HPP
#include <weir/base/clock.hpp>
#include <weir/base/hash.hpp>
#include <weir/base/outcome.hpp>
#include <weir/base/sleeper.hpp>
#include <weir/flow/detail/retry_backoff.hpp>
#include <weir/flow/detail/retry_budget.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <type_traits>
#include <utility>

// When:     a failure passes by itself (a lost packet, a leader election), and calling twice does no harm.
// When not: the callee is overloaded (a budget helps, a circuit breaker helps more), or the call is not idempotent.
// Source:   M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015; budgets as in gRPC (A6) and Finagle.
//
//     weir::retry again{{.attempts = 4}};
//     auto r = again.run([&] { return client.get(url); }, stop);     // r.last: the value, or why there is none

namespace weir::inline v0 {

/// Why no further attempt was made.
enum class retry_stop : unsigned char {
    success,
    not_retryable,  // the failure is not one that passes
    attempts,       // as many as allowed
    budget,         // too many retries already, see retry_budget
    deadline,       // the next attempt would have come too late; if that was to be foreseen, there was no sleep before it
    stopped,        // the stop token was triggered
    hint_too_far,   // the callee wants to be left alone for longer than the largest delay
};

/// What to do about an attempt that has not succeeded.
struct retry_advice {
    bool again = true;
    std::chrono::nanoseconds hint{0};  // not before this
};

/// Exceptions and calls that ran out of time pass; refusals do not: whoever refuses would do it again.
struct default_retry_advice {
    bool rejections = false;  // refusals of breakers, limiters and bulkheads below pass too, after their retry_after

    template <class T>
    [[nodiscard]] retry_advice operator()(outcome<T> const& o) const noexcept {
        if (!o.error().is_rejection()) {
            return {};
        }
        auto const why = o.error().rejection();
        switch (why.reason) {
            case refusal::timed_out: return {};
            case refusal::breaker_open:
            case refusal::breaker_half_open:
            case refusal::rate_limited:
            case refusal::bulkhead_full:
            case refusal::queue_full:
                return {rejections, std::max(why.retry_after, std::chrono::nanoseconds{0})};
            case refusal::breaker_forced_open:
            case refusal::over_capacity:
            case refusal::stopped:
            case refusal::budget_exhausted:
            case refusal::closed:
            case refusal::cancelled:
            case refusal::expired:
            case refusal::dropped:
            case refusal::inside_worker: break;
        }
        return {false};
    }
};

/// Says of an outcome<T> without a value whether to try again. Must not throw.
template <class A, class T>
concept retry_advisor = requires(A const& advise, outcome<T> const& o) {
    { advise(o) } noexcept -> std::same_as<retry_advice>;
};

struct retry_options {
    unsigned attempts = 3;                                      // in all, >= 1
    backoff_options delay{};                                    // between them
    std::optional<std::chrono::nanoseconds> deadline{};         // no attempt begins so long after the first, > 0; none: no limit
    std::optional<std::uint64_t> seed{};                        // of the jitter; none: random
};

/// How the attempts went.
template <class T>
struct retry_result {
    outcome<T> last;  // of the last attempt
    unsigned attempts;
    std::chrono::nanoseconds slept;  // in all
    retry_stop why;
};

/// Calls again what failed.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Progress: run() blocks while it sleeps, no longer than the largest delay at a time, and not once a stop is requested.
/// Memory:   no allocation.
/// Lifetime: the budget must outlive it.
template <clock_source Clock = std::chrono::steady_clock, sleeper Sleeper = thread_sleeper, class Budget = no_retry_budget>
class retry {
    static_assert(retry_budget<Budget>);

public:
    using options = retry_options;
    using time_point = time_point_of<Clock>;
    template <class Advisor>
    class policy_type;

    /// Throws: std::invalid_argument naming the option.
    explicit retry(options o = {}, Clock clock = {}, Sleeper sleep = {}) requires std::same_as<Budget, no_retry_budget>
        : retry(std::move(o), nullptr, std::move(clock), std::move(sleep)) {}
    explicit retry(options o, Budget& budget, Clock clock = {}, Sleeper sleep = {})
        : retry(std::move(o), &budget, std::move(clock), std::move(sleep)) {}
    retry(retry const&) = delete;
    retry& operator=(retry const&) = delete;

    /// Calls f(), or f(attempt) with the number of the attempt from 1 on, until it gives a value or a reason to stop.
    /// No attempt begins at or after `deadline`, if there is one, or that of the options; the first one always does.
    template <class F, class Advisor = default_retry_advice>
    [[nodiscard]] auto run(F&& f, std::stop_token const& stop = {}, std::optional<time_point> deadline = {},
                           Advisor const& advise = {});

    /// For a pipeline; must outlive it. Retries within the pipeline's deadline and until its stop is requested.
    template <class Advisor = default_retry_advice>
    [[nodiscard]] auto policy(Advisor advise = {}) noexcept {
        return policy_type<Advisor>{*this, std::move(advise)};
    }

private:
    explicit retry(options o, Budget* budget, Clock clock, Sleeper sleep)
        : options_(checked(o)),
          seed_(o.seed ? *o.seed : random_seed()),
          budget_(budget),
          clock_(std::move(clock)),
          sleep_(std::move(sleep)) {}

    static options checked(options o) {
        if (o.attempts < 1) {
            throw std::invalid_argument{"weir::retry: attempts must be >= 1"};
        }
        if (o.deadline && o.deadline->count() <= 0) {
            throw std::invalid_argument{"weir::retry: deadline must be > 0"};
        }
        static_cast<void>(backoff::checked(o.delay));
        return o;
    }

    template <class Attempt, class Advisor>
    [[nodiscard]] auto run_attempts(Attempt&& attempt, std::stop_token const& stop, std::optional<time_point> deadline,
                                    Advisor const& advise);

    options options_;
    std::uint64_t seed_;
    std::atomic<std::uint64_t> calls_{0};  // any thread: calls that have failed once; each draws numbers of its own
    Budget* budget_;                       // not ours; null: none
    [[no_unique_address]] Clock clock_;
    [[no_unique_address]] Sleeper sleep_;
};

template <clock_source Clock, sleeper Sleeper, class Budget>
template <class Attempt, class Advisor>
auto retry<Clock, Sleeper, Budget>::run_attempts(Attempt&& attempt, std::stop_token const& stop,
                                                 std::optional<time_point> deadline, Advisor const& advise) {
    using nanoseconds = std::chrono::nanoseconds;
    using result = decltype(attempt(1U));
    using value = typename result::value_type;
    auto const own = options_.deadline ? saturating_add(clock_.now(), *options_.deadline) : time_point::max();
    auto const limit = std::min(own, deadline.value_or(time_point::max()));
    auto const too_late = [&](nanoseconds later) {
        return limit != time_point::max() && saturating_add(clock_.now(), later) >= limit;
    };
    std::optional<backoff> delays;
    nanoseconds slept{0};
    if (budget_ != nullptr) {
        budget_->started();
    }
    for (unsigned n = 1;; ++n) {
        result last = attempt(n);
        auto const end = [&](retry_stop why) { return retry_result<value>{std::move(last), n, slept, why}; };
        if (last.has_value()) {
            if (budget_ != nullptr) {
                budget_->succeeded();
            }
            return end(retry_stop::success);
        }
        if (budget_ != nullptr) {
            budget_->failed();
        }
        auto const advice = advise(last);
        if (!advice.again) {
            return end(retry_stop::not_retryable);
        }
        if (n >= options_.attempts) {
            return end(retry_stop::attempts);
        }
        if (stop.stop_requested()) {
            return end(retry_stop::stopped);
        }
        if (advice.hint > options_.delay.max) {
            return end(retry_stop::hint_too_far);
        }
        if (!delays) {
            // relaxed: numbers that differ, nothing else
            auto const call = calls_.fetch_add(1, std::memory_order_relaxed);
            delays.emplace(options_.delay, detail::splitmix64(seed_, call));
        }
        auto const delay = std::max(delays->next(), advice.hint);
        if (too_late(delay)) {
            return end(retry_stop::deadline);
        }
        if (budget_ != nullptr && !budget_->try_retry()) {
            return end(retry_stop::budget);
        }
        if (!sleep_.sleep_for(delay, stop)) {
            return end(retry_stop::stopped);
        }
        slept = slept > nanoseconds::max() - delay ? nanoseconds::max() : slept + delay;
        if (too_late(nanoseconds{0})) {  // it was a longer sleep than it should have been
            return end(retry_stop::deadline);
        }
    }
}

template <clock_source Clock, sleeper Sleeper, class Budget>
template <class F, class Advisor>
auto retry<Clock, Sleeper, Budget>::run(F&& f, std::stop_token const& stop, std::optional<time_point> deadline,
                                        Advisor const& advise) {
    auto const attempt = [&f](unsigned n) {
        if constexpr (std::invocable<F&, unsigned>) {
            return outcome_of(f, n);
        } else {
            return outcome_of(f);
        }
    };
    static_assert(retry_advisor<Advisor, typename decltype(attempt(1U))::value_type>, "it must judge this outcome, noexcept");
    return run_attempts(attempt, stop, deadline, advise);
}

/// Retries as a layer of a pipeline. It sets the number of the attempt in the context, and what is late is the last attempt.
template <clock_source Clock, sleeper Sleeper, class Budget>
template <class Advisor>
class retry<Clock, Sleeper, Budget>::policy_type {
public:
    using is_policy = void;
    explicit policy_type(retry& r, Advisor advise) noexcept : retry_(&r), advise_(std::move(advise)) {}

    template <class Context, class Next>
    auto operator()(Context& context, Next&& next) const {
        auto const attempt = [&](unsigned n) {
            context.attempt = n;
            context.late = false;
            return next(context);
        };
        static_assert(retry_advisor<Advisor, typename decltype(attempt(1U))::value_type>, "it must judge this outcome, noexcept");
        return retry_->run_attempts(attempt, context.stop, context.deadline, advise_).last;
    }

private:
    retry* retry_;
    [[no_unique_address]] Advisor advise_;
};

}  // namespace weir::inline v0
#endif
