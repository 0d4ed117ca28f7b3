// weir (BSL-1.0). call_context: what the layers around a call tell each other, and the call.
#ifndef WEIR_BASE_CALL_CONTEXT_HPP
#define WEIR_BASE_CALL_CONTEXT_HPP
#include <weir/base/clock.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <stop_token>
#include <utility>

// When:     you write a policy of your own, or a call that looks at its deadline.

namespace weir::inline v0 {

/// Handed through all layers of a pipeline to the call. A layer may make the deadline earlier for what is below it, and puts it
/// back afterwards.
/// Threads: one at a time.
template <clock_source Clock = std::chrono::steady_clock>
struct call_context {
    using time_point = time_point_of<Clock>;

    std::stop_token stop{};                 // triggered: come back soon
    std::optional<time_point> deadline{};   // when the result is no longer wanted; none: no limit
    unsigned attempt = 1;                   // of the innermost retry
    bool late = false;                      // the result came after a timeout's deadline
    [[no_unique_address]] Clock clock{};

    /// Until the deadline; 0 if it has passed, the largest duration if there is none.
    [[nodiscard]] std::chrono::nanoseconds left() const {
        if (!deadline) {
            return std::chrono::nanoseconds::max();
        }
        return std::max(saturating_between(clock.now(), *deadline), std::chrono::nanoseconds{0});
    }
    [[nodiscard]] bool expired() const { return deadline && clock.now() >= *deadline; }
    /// d, or what is left.
    [[nodiscard]] std::chrono::nanoseconds at_most(std::chrono::nanoseconds d) const { return std::min(d, left()); }
};

}  // namespace weir::inline v0
#endif
