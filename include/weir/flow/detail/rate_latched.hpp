// weir (BSL-1.0). latched_limiter: what limiters have in common whose words change together.
#ifndef WEIR_FLOW_DETAIL_RATE_LATCHED_HPP
#define WEIR_FLOW_DETAIL_RATE_LATCHED_HPP
#include <weir/base/clock.hpp>
#include <weir/flow/detail/rate_decision.hpp>
#include <weir/flow/detail/rate_table.hpp>

#include <cstdint>
#include <utility>

namespace weir::inline v0 {
namespace detail {

/// Limits whose words change together: rate_limits and sliding_log. n: as for token_bucket.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Progress: a refusal and check() do not wait, unless the words change meanwhile; else may block, on a thread that is between
///           two of the few instructions that change them.
template <class Rule, clock_source Clock>
class latched_limiter {
public:
    using options = typename Rule::options;
    using rule = Rule;  // for keyed_rate_limiter
    using clock_type = Clock;
    using time_point = time_point_of<Clock>;

    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit latched_limiter(options const& o, Clock clock) : cell_(Rule(o)), clock_(std::move(clock)), epoch_(clock_.now()) {}

    /// Counts n calls, all or none, and says how it stands. allow(0) is a look.
    rate_decision allow(std::int64_t n = 1) noexcept { return allow(n, now()); }
    rate_decision allow(std::int64_t n, time_point now) noexcept { return cell_.template take<true>(n, time(now), again()); }
    /// The same without the particulars.
    [[nodiscard]] bool try_acquire(std::int64_t n = 1) noexcept { return try_acquire(n, now()); }
    [[nodiscard]] bool try_acquire(std::int64_t n, time_point now) noexcept {
        return cell_.template take<false>(n, time(now), again()).allowed;
    }
    /// What allow(n) would answer.
    [[nodiscard]] rate_decision check(std::int64_t n = 1) const noexcept { return check(n, now()); }
    [[nodiscard]] rate_decision check(std::int64_t n, time_point now) const noexcept { return cell_.look(n, time(now)); }
    /// For a pipeline, as token_bucket::policy.
    [[nodiscard]] auto policy(std::int64_t n = 1) noexcept;
    [[nodiscard]] time_point now() const noexcept { return clock_.now(); }

protected:
    detail::rate_cell<Rule> cell_;

private:
    [[nodiscard]] std::int64_t time(time_point t) const noexcept {
        return cell_.rule().time(saturating_between(epoch_, t).count());
    }
    [[nodiscard]] auto again() const noexcept {
        return [this]() noexcept { return time(clock_.now()); };
    }
    [[no_unique_address]] Clock clock_;
    time_point epoch_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
