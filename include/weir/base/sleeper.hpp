// weir (BSL-1.0). sleeper: how a part waits for time to pass, so that tests need not.
#ifndef WEIR_BASE_SLEEPER_HPP
#define WEIR_BASE_SLEEPER_HPP
#include <weir/base/clock.hpp>
#include <weir/base/detail/parking.hpp>

#include <chrono>
#include <concepts>
#include <stop_token>
#include <utility>

// When:     code that retries or waits its turn shall be stopped at once, and be tested without waiting.

namespace weir::inline v0 {

/// An object `s` whose `s.sleep_for(d, stop)` returns after d, true, or as soon as `stop` is triggered, false. From any thread.
template <class S>
concept sleeper = std::move_constructible<S> && requires(S const& s, std::chrono::nanoseconds d, std::stop_token stop) {
    { s.sleep_for(d, stop) } -> std::same_as<bool>;
};

/// Puts the calling thread to sleep.
/// Progress: blocks for d; returns at once if d <= 0 or a stop was requested.
struct thread_sleeper {
    bool sleep_for(std::chrono::nanoseconds d, std::stop_token const& stop = {}) const {
        if (stop.stop_requested()) {
            return false;
        }
        if (d.count() <= 0) {
            return true;
        }
        detail::event_count nobody;  // that is ever notified: only the deadline or the stop end the wait
        auto const deadline = saturating_add(std::chrono::steady_clock::now(), d);
        while (std::chrono::steady_clock::now() < deadline) {
            auto const key = nobody.prepare_wait();
            if (nobody.wait_until(key, deadline, stop) == detail::wait_result::stopped || stop.stop_requested()) {
                return false;
            }
        }
        return true;
    }
};

/// Moves a manual_clock on instead of sleeping, for tests.
class manual_sleeper {
public:
    explicit manual_sleeper(manual_clock clock) noexcept : clock_(std::move(clock)) {}
    bool sleep_for(std::chrono::nanoseconds d, std::stop_token const& stop = {}) const {
        if (stop.stop_requested()) {
            return false;
        }
        if (d.count() > 0) {
            clock_.advance(d);
        }
        return true;
    }

private:
    manual_clock clock_;
};

}  // namespace weir::inline v0
#endif
