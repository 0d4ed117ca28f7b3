// weir (BSL-1.0). outcome: how a guarded call can end: a value, a refusal with its reason, or what it threw.
#ifndef WEIR_BASE_OUTCOME_HPP
#define WEIR_BASE_OUTCOME_HPP
#include <weir/base/expected.hpp>

#include <cassert>
#include <chrono>
#include <concepts>
#include <exception>
#include <stdexcept>
#include <type_traits>
#include <utility>

// When:     a call goes through a breaker, a limiter, a bulkhead, a retry or a pipeline of them.
// When not: the call has an error type of its own that says it all: let it return that, and tell the policies what counts as
//           a failure (verdict_of).

namespace weir::inline v0 {

/// Why a call was not made, or not waited for.
enum class refusal : unsigned char {
    breaker_open,         // the breaker is open; retry_after: until it lets a probe through
    breaker_half_open,    // as many probes are out as it allows
    breaker_forced_open,  // somebody forced it open
    rate_limited,         // retry_after: until there are permits
    over_capacity,        // asks for more than the limiter can ever give at once
    bulkhead_full,        // as many calls are under way as it allows
    timed_out,            // the deadline has passed
    stopped,              // the stop token was triggered
    budget_exhausted,     // no retry: too many calls are retries already
    queue_full,           // as many items wait as the queue takes
    closed,               // whoever was to do it takes nothing more
    cancelled,            // taken back before it began
    expired,              // it was due to begin, too late to be of use
    dropped,              // it made room for another, or there was none for it
    inside_worker,        // a worker cannot wait for itself
};

[[nodiscard]] constexpr char const* to_string(refusal r) noexcept {
    switch (r) {
        case refusal::breaker_open: return "circuit breaker is open";
        case refusal::breaker_half_open: return "circuit breaker is half open and has its probes out";
        case refusal::breaker_forced_open: return "circuit breaker is forced open";
        case refusal::rate_limited: return "rate limit is reached";
        case refusal::over_capacity: return "more permits than the limiter ever has";
        case refusal::bulkhead_full: return "bulkhead is full";
        case refusal::timed_out: return "deadline has passed";
        case refusal::stopped: return "stop was requested";
        case refusal::budget_exhausted: return "retry budget is exhausted";
        case refusal::queue_full: return "queue is full";
        case refusal::closed: return "closed, takes nothing more";
        case refusal::cancelled: return "cancelled before it began";
        case refusal::expired: return "expired before it began";
        case refusal::dropped: return "dropped from a full queue";
        case refusal::inside_worker: return "called by a worker that it would wait for";
    }
    return "unknown refusal";
}

/// A refusal, and when it makes sense to come again.
struct rejected {
    static constexpr std::chrono::nanoseconds unknown{-1};  // nobody knows, or never

    refusal reason;
    std::chrono::nanoseconds retry_after = unknown;

    friend bool operator==(rejected const&, rejected const&) = default;
};

/// What is thrown where a refusal has to be an exception.
class rejected_error : public std::runtime_error {
public:
    explicit rejected_error(rejected r) : std::runtime_error(to_string(r.reason)), why_(r) {}
    [[nodiscard]] rejected why() const noexcept { return why_; }

private:
    rejected why_;
};

/// Why there is no value: a refusal, or an exception.
class failure {
public:
    failure(rejected r) noexcept : why_(r) {}                                   // NOLINT: an error is made where it is returned
    failure(std::exception_ptr e) noexcept : error_(std::move(e)) { assert(error_ != nullptr); }  // NOLINT

    [[nodiscard]] bool is_rejection() const noexcept { return error_ == nullptr; }
    /// Only if it is a rejection.
    [[nodiscard]] rejected rejection() const noexcept {
        assert(is_rejection());
        return why_;
    }
    /// Null if it is a rejection.
    [[nodiscard]] std::exception_ptr const& exception() const noexcept { return error_; }
    /// Throws: what the call threw, or rejected_error.
    [[noreturn]] void rethrow() const {
        if (error_ != nullptr) {
            std::rethrow_exception(error_);
        }
        throw rejected_error{why_};
    }

private:
    std::exception_ptr error_;
    rejected why_{refusal::stopped};
};

/// A T, or why there is none.
template <class T>
using outcome = expected<T, failure>;

template <class T>
inline constexpr bool is_outcome = false;
template <class T>
inline constexpr bool is_outcome<expected<T, failure>> = true;

/// What a call has shown of the health of what it called.
enum class verdict : unsigned char {
    success,
    failure,
    ignore,  // says nothing: it was cancelled, or refused on the way there
};

/// The usual verdict: a value is a success, an exception a failure; refusals by others and cancellation say nothing, a call
/// that ran out of time is a failure.
struct default_verdict {
    template <class T>
    [[nodiscard]] verdict operator()(outcome<T> const& o) const noexcept {
        if (o.has_value()) {
            return verdict::success;
        }
        if (!o.error().is_rejection()) {
            return verdict::failure;
        }
        return o.error().rejection().reason == refusal::timed_out ? verdict::failure : verdict::ignore;
    }
};

/// Says what an outcome<T> shows. Must not throw.
template <class V, class T>
concept verdict_of = requires(V const& judge, outcome<T> const& o) {
    { judge(o) } noexcept -> std::same_as<verdict>;
};

/// A layer around calls: `policy(context, next)` calls next(context), which gives an outcome<T>, never throws, and may be called
/// no time, once or several times; and gives an outcome<T> itself. Its type says so by a member type `is_policy`.
template <class P>
concept policy = std::move_constructible<std::remove_cvref_t<P>> && requires { typename std::remove_cvref_t<P>::is_policy; };

namespace detail {

// Neither f nor taking over what it returns throws.
template <class F, class... Args>
inline constexpr bool nothrow_outcome = [] {
    using result = std::invoke_result_t<F, Args...>;
    if constexpr (std::is_void_v<result>) {
        return std::is_nothrow_invocable_v<F, Args...>;
    } else {
        return std::is_nothrow_invocable_v<F, Args...> && std::is_nothrow_constructible_v<std::remove_cvref_t<result>, result>;
    }
}();

}  // namespace detail

/// outcome<T> of calling f(args...): its value, or what it threw. An outcome that f returns is passed on; what a reference that f
/// returns refers to is copied.
template <class F, class... Args>
    requires std::invocable<F, Args...>
[[nodiscard]] auto outcome_of(F&& f, Args&&... args) noexcept(detail::nothrow_outcome<F, Args...>) {
    using result = std::remove_cvref_t<std::invoke_result_t<F, Args...>>;
    using type = std::conditional_t<is_outcome<result>, std::type_identity<result>, std::type_identity<outcome<result>>>;
    return [&]() -> typename type::type {
        if constexpr (detail::nothrow_outcome<F, Args...>) {
            if constexpr (std::is_void_v<result>) {
                std::forward<F>(f)(std::forward<Args>(args)...);
                return {};
            } else {
                return std::forward<F>(f)(std::forward<Args>(args)...);
            }
        } else {
            try {
                if constexpr (std::is_void_v<result>) {
                    std::forward<F>(f)(std::forward<Args>(args)...);
                    return {};
                } else {
                    return std::forward<F>(f)(std::forward<Args>(args)...);
                }
            } catch (...) {
                return unexpected<failure>{failure{std::current_exception()}};
            }
        }
    }();
}

}  // namespace weir::inline v0
#endif
