// weir (BSL-1.0). pipeline: breakers, limiters, retries, timeouts and fallbacks around a call, put together at compile time.
#ifndef WEIR_FLOW_PIPELINE_HPP
#define WEIR_FLOW_PIPELINE_HPP
#include <weir/base/call_context.hpp>
#include <weir/base/outcome.hpp>
#include <weir/flow/detail/pipeline_detached.hpp>
#include <weir/flow/detail/pipeline_state.hpp>

#include <chrono>
#include <concepts>
#include <exception>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

// When:     a call needs more than one of the parts of flow/, or a timeout, a fallback or a hedge.
// When not: one part is enough: each has a call of its own.
// Source:   the order of the layers is the caller's, as in Polly and failsafe; nothing is type-erased, so that the layers inline.
//
//     auto p = weir::fallback(cached) | weir::timeout(2s) | again.policy() | breaker.policy() | limit.policy(user);
//     outcome<answer> a = p([&](auto& context) { return client.get(url, context.stop); });
//
// The outermost layer comes first. What each of them sees is the outcome of all that is below it:
//   fallback   every failure, whoever it comes from
//   retry      each attempt once; refusals of layers below only if told to (default_retry_advice)
//   breaker    each attempt that reaches it; refusals of limiters and bulkheads below say nothing to it, a timeout is a failure
//   timeout    a result that comes too late is flagged in the context (late), and a breaker above counts it as a failure
// Permits are given back from the inside out, before an outer layer goes on.

namespace weir::inline v0 {

/// Layers around calls. Calling it calls f(context, args...), or f(args...), through all of them.
/// It passes args as lvalues: a call may be made several times.
/// Threads: any number of calls at once, if the layers and f allow it.
/// Memory:  that of the layers; no allocation, but for layers that detach calls (timeout and hedge with an executor): one for
///          each call and each detaching layer; they keep copies of the layers, of f and of args until they end.
/// Throws:  nothing of f or of the layers, nor std::bad_alloc of detaching ones: that is in the outcome. What moving a result
///          throws.
template <policy... Layers>
class pipeline {
public:
    using is_policies = void;

    explicit constexpr pipeline(std::tuple<Layers...> layers) : layers_(std::move(layers)) {}
    constexpr pipeline() requires(sizeof...(Layers) == 0) = default;

    /// outcome<T>, T being what f returns; an outcome that f returns is passed on.
    template <class F, class... Args>
    auto operator()(F&& f, Args&&... args) const {
        call_context<> context;
        return run(context, std::forward<F>(f), std::forward<Args>(args)...);
    }
    /// The same in a context of the caller's: its stop token, deadline and clock; afterwards context.late and context.attempt say
    /// how the call went.
    template <class Clock, class F, class... Args>
    auto run(call_context<Clock>& context, F&& f, Args&&... args) const {
        context.attempt = 1;
        context.late = false;
        if constexpr ((detail::detaching<Layers> || ...)) {
            using state = detail::owned_call<std::tuple<Layers...>, std::decay_t<F>, std::decay_t<Args>...>;
            using first = detail::next_layer<0, std::shared_ptr<state const>>;
            auto const made = [&]() -> outcome<std::shared_ptr<state const>> {
                try {
                    return std::make_shared<state const>(layers_, std::forward<F>(f), std::forward<Args>(args)...);
                } catch (...) {  // no memory, or no copy of what is needed
                    return unexpected<failure>{failure{std::current_exception()}};
                }
            }();
            using result = decltype(first{*made}(context));
            return made.has_value() ? first{*made}(context) : result{unexpected<failure>{made.error()}};
        } else {
            using state = detail::borrowed_call<std::tuple<Layers...>, std::remove_reference_t<F>, std::remove_reference_t<Args>...>;
            state const call{layers_, f, args...};
            return detail::next_layer<0, state const*>{&call}(context);
        }
    }

    [[nodiscard]] std::tuple<Layers...> const& layers() const& noexcept { return layers_; }
    [[nodiscard]] std::tuple<Layers...>&& layers() && noexcept { return std::move(layers_); }

private:
    std::tuple<Layers...> layers_;
};

template <policy A, policy B>
[[nodiscard]] constexpr auto operator|(A a, B b) {
    return pipeline<A, B>{std::tuple<A, B>{std::move(a), std::move(b)}};
}
template <class... A, policy B>
[[nodiscard]] constexpr auto operator|(pipeline<A...> a, B b) {
    return pipeline<A..., B>{std::tuple_cat(std::move(a).layers(), std::tuple<B>{std::move(b)})};
}
template <policy A, class... B>
[[nodiscard]] constexpr auto operator|(A a, pipeline<B...> b) {
    return pipeline<A, B...>{std::tuple_cat(std::tuple<A>{std::move(a)}, std::move(b).layers())};
}
template <class... A, class... B>
[[nodiscard]] constexpr auto operator|(pipeline<A...> a, pipeline<B...> b) {
    return pipeline<A..., B...>{std::tuple_cat(std::move(a).layers(), std::move(b).layers())};
}

namespace detail {
using v0::operator|;  // for layers whose classes are details: a name is looked for where their classes are
}  // namespace detail

/// The failure of a fallback does not replace the first one: both are here.
class fallback_error : public std::exception {
public:
    fallback_error(failure first, failure second) noexcept : first_(std::move(first)), second_(std::move(second)) {}
    [[nodiscard]] char const* what() const noexcept override { return "weir: the fallback failed too"; }
    /// Why the fallback was called.
    [[nodiscard]] failure const& first() const noexcept { return first_; }
    /// Why it gave no value either.
    [[nodiscard]] failure const& second() const noexcept { return second_; }

private:
    failure first_;
    failure second_;
};

/// Answers instead of a call that gives no value: f(failure) or f(), which gives a T, an outcome<T>, or throws. What it throws, or
/// a failure that it gives, is in a fallback_error, with the first one; but the first failure handed back stays as it is, and of two
/// refusals the second one is the result, so that those above still see that nothing was called.
template <class F>
class fallback {
public:
    using is_policy = void;
    explicit constexpr fallback(F f) : f_(std::move(f)) {}

    template <class Context, class Next>
    auto operator()(Context& context, Next&& next) const -> decltype(next(context)) {
        using result = decltype(next(context));
        result first = next(context);
        if (first.has_value()) {
            return first;
        }
        auto const& why = std::as_const(first).error();
        // With the conversion to T, which may throw too.
        result second = outcome_of([&]() -> result {
            if constexpr (std::invocable<F const&, failure const&>) {
                return outcome_of(f_, why);
            } else {
                return outcome_of(f_);
            }
        });
        if (second.has_value() || (why.is_rejection() && second.error().is_rejection())) {
            return second;
        }
        if (!why.is_rejection() && second.error().exception() == why.exception()) {
            return first;
        }
        return unexpected<failure>{
            failure{std::make_exception_ptr(fallback_error{std::move(first.error()), std::move(second.error())})}};
    }

private:
    F f_;
};

/// A deadline for what is below, which has to look at it: the call is not interrupted. A result that comes later is handed on and
/// context.late is set; a failure that comes later is timed_out. If the deadline has passed before, nothing is called.
class timeout_layer {
public:
    using is_policy = void;
    explicit timeout_layer(std::chrono::nanoseconds d) noexcept : limit_(d) {}

    template <class Context, class Next>
    auto operator()(Context& context, Next&& next) const -> decltype(next(context)) {
        auto const now = context.clock.now();
        auto const outer = context.deadline;
        auto const mine = saturating_add(now, limit_);
        auto const deadline = outer && *outer < mine ? *outer : mine;
        if (now >= deadline) {
            return unexpected<failure>{failure{rejected{refusal::timed_out}}};
        }
        context.deadline = deadline;
        auto result = next(context);
        context.deadline = outer;
        if (context.clock.now() >= deadline) {
            context.late = true;
            if (!result.has_value()) {
                return unexpected<failure>{failure{rejected{refusal::timed_out}}};
            }
        }
        return result;
    }

private:
    std::chrono::nanoseconds limit_;
};

/// Throws: std::invalid_argument if d <= 0.
[[nodiscard]] inline timeout_layer timeout(std::chrono::nanoseconds d) { return timeout_layer{detail::checked_limit(d)}; }

/// A deadline that is kept: the call runs on the executor, and if it has not ended after d its stop token is triggered and the
/// caller gets timed_out. The call then goes on alone, with its permits, until it ends. It is also left alone if the caller's stop
/// is requested.
/// If the deadline has passed before, nothing is called.
/// Throws: std::invalid_argument if d <= 0. The executor must outlive the pipeline and its calls, and run every task that it takes.
template <detail::call_executor Executor>
[[nodiscard]] auto timeout(std::chrono::nanoseconds d, Executor& executor) {
    return detail::detached_timeout<Executor>{detail::checked_limit(d), executor};
}

/// Calls once more, at the same time, when there is no result after `delay` (a duration, or a function that gives one: the 95th
/// percentile of a histogram, say); at most `more` times. The first value wins and the others' stop tokens are triggered; they go
/// on alone until they end. If all fail, the last failure is the result. The budget may keep it from calling again, no more.
/// Throws: std::invalid_argument if more is not in [1, 15]. Executor and budget must outlive the pipeline and its calls; the
///         executor must run every task that it takes.
template <detail::call_executor Executor, class Delay, hedge_budget Budget = no_hedge_budget>
[[nodiscard]] auto hedge(Executor& executor, Delay delay, unsigned more = 1, Budget* budget = nullptr) {
    return detail::hedge_layer<Executor, Delay, Budget>{executor, std::move(delay), more, budget};
}

}  // namespace weir::inline v0
#endif
