// weir (BSL-1.0). pool_task: what a task pool queues: a callable with or without a stop_token.
#ifndef WEIR_RUN_DETAIL_POOL_TASK_HPP
#define WEIR_RUN_DETAIL_POOL_TASK_HPP
#include <weir/base/detail/unique_function.hpp>
#include <weir/base/outcome.hpp>

#include <concepts>
#include <stop_token>
#include <type_traits>
#include <utility>

// Invariant: what holds a task and will not run it says so (abandon) before it destroys it, so that a future can say why.

namespace weir::inline v0 {
namespace detail {

/// How the run of an item ended, for the pool's books.
enum class pool_end : unsigned char { completed, failed, cancelled };

}  // namespace detail

/// Can be run by a task pool: callable with a std::stop_token const& or with nothing. Its result is not looked at.
template <class F>
concept task_function = std::move_constructible<F> && std::is_nothrow_destructible_v<F> &&
                        (std::invocable<F&, std::stop_token const&> || std::invocable<F&>);

/// A piece of work. A callable of up to 48 bytes that moves without throwing is held in line, any other is allocated once.
/// Threads: one at a time.
class task {
public:
    task() noexcept = default;

    /// Throws: what copying or moving f throws, std::bad_alloc if it is not held in line.
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, task> && std::constructible_from<std::decay_t<F>, F> &&
                 task_function<std::decay_t<F>>)
    task(F&& f) : body_(body<std::decay_t<F>>{std::forward<F>(f)}) {}  // NOLINT: a callable is a task

    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(body_); }

    /// Runs it; it must not be empty. Throws: what it throws.
    void operator()(std::stop_token const& stop = {}) { static_cast<void>(run(stop)); }

    // -- For the pool.
    detail::pool_end run(std::stop_token const& stop) { return body_(stop); }
    void abandon(refusal why) noexcept { body_.abandon(static_cast<unsigned char>(why)); }

private:
    template <class F>
    struct body {
        F f;

        // A callable that keeps its own books says how it ended.
        detail::pool_end operator()(std::stop_token const& stop) {
            if constexpr (std::invocable<F&, std::stop_token const&>) {
                if constexpr (std::same_as<std::invoke_result_t<F&, std::stop_token const&>, detail::pool_end>) {
                    return f(stop);
                } else {
                    static_cast<void>(f(stop));
                }
            } else {
                static_cast<void>(f());
            }
            return detail::pool_end::completed;
        }
        void abandoned(unsigned char why) noexcept
            requires detail::abandonable<F>
        {
            f.abandoned(why);
        }
    };

    detail::unique_function<detail::pool_end(std::stop_token const&)> body_;
};

}  // namespace weir::inline v0
#endif
