// weir (BSL-1.0). stat_metrics: the parts of stats.hpp described, for registries, Prometheus text and tables.
#ifndef WEIR_DATA_DETAIL_STAT_METRICS_HPP
#define WEIR_DATA_DETAIL_STAT_METRICS_HPP
#include <weir/base/metrics.hpp>
#include <weir/data/stats.hpp>

#include <concepts>
#include <cstdint>
#include <tuple>

namespace weir::inline v0 {

template <>
inline constexpr auto stats_fields<counter> = std::tuple{counter_field("", "", &counter::value)};
template <>
inline constexpr auto stats_fields<gauge> = std::tuple{gauge_field("", "", &gauge::value)};

template <class Value, unsigned InverseError>
inline constexpr auto stats_fields<histogram_snapshot<Value, InverseError>> =
    std::tuple{histogram_field("", "", detail::itself{})};

template <unsigned InverseError>
inline constexpr auto stats_fields<request_snapshot<InverseError>> = std::tuple{
    counter_field("requests", "requests finished", &request_snapshot<InverseError>::requests),
    counter_field("errors", "requests that failed", &request_snapshot<InverseError>::errors),
    counter_field("bytes", "bytes moved by requests", &request_snapshot<InverseError>::bytes, metric_unit::bytes),
    gauge_field("in_flight", "requests under way", &request_snapshot<InverseError>::in_flight),
    counter_field("lost", "requests that could not be recorded for want of memory", &request_snapshot<InverseError>::lost),
    histogram_field("duration", "how long requests took", &request_snapshot<InverseError>::success, metric_unit::seconds,
                    {"outcome", "success"}),
    histogram_field("duration", "how long requests took", &request_snapshot<InverseError>::error, metric_unit::seconds,
                    {"outcome", "error"})};

namespace detail {

// meter<Clock>::rates, for any Clock: its name does not tell the clock.
template <class R>
concept meter_rates = requires(R const& r) {
    { (r.one_minute) } -> std::same_as<double const&>;
    { (r.five_minutes) } -> std::same_as<double const&>;
    { (r.fifteen_minutes) } -> std::same_as<double const&>;
    { (r.count) } -> std::same_as<std::uint64_t const&>;
    { (r.lost) } -> std::same_as<std::uint64_t const&>;
};

struct window_value {
    std::uint64_t operator()(auto const& window) const noexcept { return window.value(); }
};
struct window_snapshot {
    auto operator()(auto const& window) const { return window.snapshot(); }
};

}  // namespace detail

template <detail::meter_rates R>
inline constexpr auto stats_fields<R> = std::tuple{
    counter_field("", "events", &R::count),
    gauge_field("per_second", "events per second, of late", &R::one_minute, metric_unit::none, {"window", "1m"}),
    gauge_field("per_second", "events per second, of late", &R::five_minutes, metric_unit::none, {"window", "5m"}),
    gauge_field("per_second", "events per second, of late", &R::fifteen_minutes, metric_unit::none, {"window", "15m"}),
    counter_field("lost", "events that could not be recorded for want of memory", &R::lost)};

// What falls out of the window makes these smaller, so they are a gauge and a summary.
template <class Clock>
inline constexpr auto stats_fields<windowed<counter, Clock>> = std::tuple{gauge_field("", "", detail::window_value{})};
template <class Value, unsigned InverseError, class Clock>
inline constexpr auto stats_fields<windowed<histogram<Value, InverseError>, Clock>> =
    std::tuple{summary_field("", "", detail::window_snapshot{})};

}  // namespace weir::inline v0
#endif
