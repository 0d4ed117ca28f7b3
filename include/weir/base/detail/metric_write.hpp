// weir (BSL-1.0). metric_write: from a described object to the numbers that a sink takes.
#ifndef WEIR_BASE_DETAIL_METRIC_WRITE_HPP
#define WEIR_BASE_DETAIL_METRIC_WRITE_HPP
#include <weir/base/metrics.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir::inline v0 {
namespace detail {

template <duration_value D>
inline constexpr double seconds_per_tick = static_cast<double>(D::period::num) / static_cast<double>(D::period::den);
template <duration_value D>
inline constexpr double ticks_per_second = static_cast<double>(D::period::den) / static_cast<double>(D::period::num);

// A number or a duration in its base unit. Divides where that is exact and a product would not be: 5 ms are 0.005 s.
template <class N>
constexpr double in_base_unit(N n) noexcept {
    if constexpr (!duration_value<N>) {
        return static_cast<double>(n);
    } else if constexpr (N::period::num < N::period::den) {
        return static_cast<double>(n.count()) / ticks_per_second<N>;
    } else {
        return static_cast<double>(n.count()) * seconds_per_tick<N>;
    }
}

// A whole number of ticks that a double >= 0 stands for, rounded down; one next to a whole number is that number.
template <class Number>
constexpr Number whole_ticks(double ticks) noexcept {
    constexpr auto most = std::numeric_limits<Number>::max();
    if (ticks >= static_cast<double>(most)) {
        return most;
    }
    auto const down = static_cast<Number>(ticks);
    auto const short_of_next = static_cast<double>(down) + 1 - ticks;
    return down < most && short_of_next <= ticks * 4 * std::numeric_limits<double>::epsilon() ? static_cast<Number>(down + 1) : down;
}
template <class Value>
constexpr Value from_base_unit(double b) noexcept {
    if constexpr (duration_value<Value>) {
        return Value{whole_ticks<typename Value::rep>(b * ticks_per_second<Value>)};
    } else {
        return whole_ticks<Value>(b);
    }
}

template <distribution_snapshot D>
class distribution_of final : public metric_distribution {
    using value_type = typename D::value_type;

public:
    explicit distribution_of(D const& snapshot) noexcept : snapshot_(snapshot) {}

    [[nodiscard]] std::uint64_t count() const override { return snapshot_.count(); }
    [[nodiscard]] double sum() const override { return in_base_unit(snapshot_.sum()); }
    [[nodiscard]] double mean() const override { return in_base_unit(snapshot_.mean()); }
    [[nodiscard]] double min() const override { return in_base_unit(snapshot_.min()); }
    [[nodiscard]] double max() const override { return in_base_unit(snapshot_.max()); }
    [[nodiscard]] double quantile(double q) const override { return in_base_unit(snapshot_.quantile(q)); }
    void cumulative(std::span<double const> bounds, std::span<std::uint64_t> counts) const override {
        std::array<value_type, 32> values;  // so many at a time
        while (!bounds.empty()) {
            auto const n = bounds.size() < values.size() ? bounds.size() : values.size();
            for (std::size_t i = 0; i < n; ++i) {
                values[i] = from_base_unit<value_type>(bounds[i] > 0 ? bounds[i] : 0);
            }
            auto const seen = snapshot_.cumulative(std::span<value_type const>(values.data(), n));
            for (std::size_t i = 0; i < n; ++i) {
                // Nothing is below zero. All of it is up to infinity, also what no value_type can name.
                counts[i] = bounds[i] < 0 ? 0 : bounds[i] > std::numeric_limits<double>::max() ? count() : seen[i];
            }
            bounds = bounds.subspan(n);
            counts = counts.subspan(n);
        }
    }

private:
    D const& snapshot_;
};

template <class V>
constexpr bool counts_durations() noexcept {
    if constexpr (duration_value<V>) {
        return true;
    } else if constexpr (distribution_snapshot<V>) {
        return duration_value<typename V::value_type>;
    } else {
        return false;
    }
}
template <class V>
constexpr metric_unit unit_of(metric_unit stated) noexcept {
    return counts_durations<V>() ? metric_unit::seconds : stated;
}

template <class T, class Get>
using field_value = std::remove_cvref_t<decltype(read_field(std::declval<Get const&>(), std::declval<T const&>()))>;

template <class T, class Get>
constexpr metric_field field_of(stat_field<Get> const& field) noexcept {
    auto what = field.what;
    what.unit = unit_of<field_value<T, Get>>(what.unit);
    return what;
}

constexpr bool is_metric_name(std::string_view name, bool whole = true) noexcept {
    if (whole && (name.empty() || (name.front() >= '0' && name.front() <= '9'))) {
        return false;
    }
    for (char const c : name) {
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':')) {
            return false;
        }
    }
    return true;
}
// Those that begin with two underscores belong to the one who scrapes.
constexpr bool is_label_name(std::string_view name) noexcept {
    return is_metric_name(name) && name.find(':') == name.npos && !name.starts_with("__");
}

constexpr bool names_are_right(std::span<metric_field const> fields) noexcept {
    for (auto const& field : fields) {
        if (!is_metric_name(field.name, false) || (!field.label.name.empty() && !is_label_name(field.label.name))) {
            return false;
        }
    }
    return true;
}

template <class T>
inline constexpr auto shape_of = std::apply(
    []<class... Get>(stat_field<Get> const&... field) { return std::array<metric_field, sizeof...(Get)>{field_of<T>(field)...}; },
    stats_fields<T>);

template <class T, bool = described_stats<T>>
struct described_type_of {
    using type = std::remove_cv_t<T>;
};
template <class T>
struct described_type_of<T, false> {
    using type = std::remove_cvref_t<decltype(snapshot_of(std::declval<T const&>()))>;
};
template <class T>
using described_type = typename described_type_of<T>::type;

template <class V>
void write_value(metric_series const& series, metric_field const& field, V const& value, metric_sink& sink) {
    if constexpr (distribution_snapshot<V>) {
        sink.distribution(series, field, distribution_of<V>(value));
    } else if constexpr (duration_value<V>) {
        sink.number(series, field, in_base_unit(value));
    } else if constexpr (std::same_as<V, bool>) {
        sink.number(series, field, value ? 1U : 0U);
    } else {
        sink.number(series, field, value);
    }
}

template <class T, class Get>
void write_field(metric_series const& series, stat_field<Get> const& field, T const& object, metric_sink& sink) {
    constexpr auto is_distribution = distribution_snapshot<field_value<T, Get>>;
    auto const what = field_of<T>(field);
    if constexpr (is_distribution) {
        auto const& value = read_field(field.get, object);
        write_value(series, what, value, sink);
    } else {
        write_value(series, what, read_field(field.get, object), sink);
    }
}

}  // namespace detail

template <metric_source T>
constexpr std::span<metric_field const> metric_shape() noexcept {
    constexpr auto const& shape = detail::shape_of<detail::described_type<T>>;
    static_assert(detail::names_are_right(shape),
                  "names of fields must match [a-zA-Z0-9_:]*, those of their labels [a-zA-Z_][a-zA-Z0-9_]* without __ at the beginning");
    return shape;
}

template <metric_source T>
void write_metrics(metric_series const& series, T const& source, metric_sink& sink) {
    static_assert(detail::names_are_right(detail::shape_of<detail::described_type<T>>), "names of fields: see metric_shape");
    if constexpr (described_stats<T>) {
        std::apply([&](auto const&... field) { (detail::write_field(series, field, source, sink), ...); }, stats_fields<T>);
    } else {
        write_metrics(series, detail::snapshot_of(source), sink);
    }
}

template <metric_value V>
void write_metric(metric_series const& series, metric_field field, V const& value, metric_sink& sink) {
    field.unit = detail::unit_of<V>(field.unit);
    detail::write_value(series, field, value, sink);
}

}  // namespace weir::inline v0
#endif
