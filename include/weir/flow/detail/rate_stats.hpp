// weir (BSL-1.0). rate_stats: what the rate limiters say of themselves, and how metrics show it.
#ifndef WEIR_FLOW_DETAIL_RATE_STATS_HPP
#define WEIR_FLOW_DETAIL_RATE_STATS_HPP
#include <weir/base/metrics.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <tuple>

// None of them counts calls: a refusal writes nothing. Who wants calls counted has weir::counter, or the pipeline's outcome.
// Descriptions are templates so that only who shows numbers pays for their tuples.

namespace weir::inline v0 {

struct token_bucket_stats {
    std::int64_t tokens = 0;                  // at most burst; < 0: reserved ahead
    std::chrono::nanoseconds reset_after{0};  // until it is full; 0 if and only if it is
    std::uint64_t heals = 0;                  // times that the clock was found to have been set back too far
};

/// A call for `remaining` would be allowed, one for more would not.
struct rate_limits_stats {
    std::size_t limits = 0;                   // how many there are
    std::int64_t remaining = 0;               // tokens of the one that has the fewest
    std::chrono::nanoseconds reset_after{0};  // until all are full; 0 if and only if they are
    std::uint64_t heals = 0;                  // as above
};

/// used + remaining == limit. (A counter whose clock stands before a time that it had shown may have used more: then nothing
/// remains.)
struct rate_window_stats {
    std::int64_t limit = 0;                   // calls in a window
    std::int64_t used = 0;                    // calls that count in the window that ends now
    std::int64_t remaining = 0;               // that would be allowed at once now
    std::chrono::nanoseconds reset_after{0};  // until nothing counts any more; 0 if and only if nothing does
    std::uint64_t heals = 0;                  // as above
};
using sliding_log_stats = rate_window_stats;
using sliding_counter_stats = rate_window_stats;

/// live <= capacity.
struct keyed_rate_limiter_stats {
    std::size_t live = 0;                 // keys that have a place, quiet ones too
    std::size_t capacity = 0;             // places
    std::uint64_t evictions_live = 0;     // keys that lost theirs while it mattered
    std::uint64_t watermark_denials = 0;  // new keys refused for what an evicted one may have used up
};

struct cached_limiter_stats {
    std::uint64_t admitted = 0;   // calls, each of which ended in one of the first three ways
    std::uint64_t cached = 0;
    std::uint64_t denied = 0;
    std::uint64_t joined = 0;     // of the cached: who waited for an answer that was under way
    std::uint64_t stored = 0;     // commits
    std::uint64_t outdated = 0;   // commits of an answer that was older than what was there
    std::uint64_t evictions = 0;  // answers that had to make room for those of other keys
    keyed_rate_limiter_stats keys{};
};

template <std::same_as<token_bucket_stats> S>
inline constexpr auto stats_fields<S> = std::tuple{
    gauge_field("tokens", "tokens there are, below zero if reserved ahead", &S::tokens),
    gauge_field("reset_after", "time until it is full", &S::reset_after),
    counter_field("heals", "times that the clock was found set back", &S::heals)};

template <std::same_as<rate_limits_stats> S>
inline constexpr auto stats_fields<S> = std::tuple{
    gauge_field("limits", "limits that apply at once", &S::limits),
    gauge_field("remaining", "calls that would be allowed at once", &S::remaining),
    gauge_field("reset_after", "time until all limits are as new", &S::reset_after),
    counter_field("heals", "times that the clock was found set back", &S::heals)};

template <std::same_as<rate_window_stats> S>
inline constexpr auto stats_fields<S> = std::tuple{
    gauge_field("limit", "calls allowed in a window", &S::limit),
    gauge_field("used", "calls that count now", &S::used),
    gauge_field("remaining", "calls that would be allowed at once", &S::remaining),
    gauge_field("reset_after", "time until no call counts any more", &S::reset_after),
    counter_field("heals", "times that the clock was found set back", &S::heals)};

template <std::same_as<keyed_rate_limiter_stats> S>
inline constexpr auto stats_fields<S> = std::tuple{
    gauge_field("live", "keys that have a place", &S::live),
    gauge_field("capacity", "places for keys", &S::capacity),
    counter_field("evictions_live", "keys that lost their place while it mattered", &S::evictions_live),
    counter_field("watermark_denials", "new keys refused for what evicted ones may have used up", &S::watermark_denials)};

template <std::same_as<cached_limiter_stats> S>
inline constexpr auto stats_fields<S> = std::tuple{
    counter_field("calls", "calls", &S::admitted, metric_unit::none, {"answer", "admitted"}),
    counter_field("calls", "calls", &S::cached, metric_unit::none, {"answer", "cached"}),
    counter_field("calls", "calls", &S::denied, metric_unit::none, {"answer", "denied"}),
    counter_field("joined", "calls that waited for an answer under way", &S::joined),
    counter_field("stored", "answers stored", &S::stored),
    counter_field("outdated", "answers that came after a newer one", &S::outdated),
    counter_field("evictions", "answers that had to make room", &S::evictions),
    gauge_field("live", "keys that have a place", [](S const& s) { return s.keys.live; })};

}  // namespace weir::inline v0
#endif
