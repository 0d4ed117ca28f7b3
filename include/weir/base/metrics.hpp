// weir (BSL-1.0). metrics: the words in which a part says what it has counted, and a reader asks for it.
#ifndef WEIR_BASE_METRICS_HPP
#define WEIR_BASE_METRICS_HPP
#include <array>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

// When:     a type of yours is to be shown by weir's registry, its Prometheus text or its tables; or you write another output.
// When not: you only want to count: take weir/data/stats.hpp.
//
// A type is described once, by the list of its numbers, and then any output can show it:
//
//     template <>
//     inline constexpr auto weir::stats_fields<queue_stats> = std::tuple{
//         weir::counter_field("pushed", "elements pushed", &queue_stats::pushed),
//         weir::gauge_field("length", "elements waiting", &queue_stats::length)};
//
// Names follow one rule for all outputs: see detail/metric_names.hpp.

namespace weir::inline v0 {

/// counter: only grows. gauge: goes up and down. histogram: how values spread, since the start. summary: how they spread now.
enum class metric_kind : unsigned char { counter, gauge, histogram, summary };
/// What one of it is. Durations are shown in seconds, whatever their type counts in.
enum class metric_unit : unsigned char { none, seconds, bytes };

struct metric_label {
    std::string_view name;
    std::string_view value;

    friend constexpr auto operator<=>(metric_label const&, metric_label const&) noexcept = default;
    friend constexpr bool operator==(metric_label const&, metric_label const&) noexcept = default;
};

/// Labels that stand somewhere else: `{{"method", "get"}, {"code", "200"}}` in a call, or a vector of them.
/// Lifetime: a view. Where a function takes it, the labels need to live until the call ends.
class metric_labels {
public:
    constexpr metric_labels() noexcept = default;
    constexpr metric_labels(std::initializer_list<metric_label> labels) noexcept : labels_(labels.begin(), labels.size()) {}
    template <class Range>
        requires std::convertible_to<Range const&, std::span<metric_label const>>
    constexpr metric_labels(Range const& labels) noexcept : labels_(labels) {}

    [[nodiscard]] constexpr auto begin() const noexcept { return labels_.begin(); }
    [[nodiscard]] constexpr auto end() const noexcept { return labels_.end(); }
    [[nodiscard]] constexpr std::size_t size() const noexcept { return labels_.size(); }
    [[nodiscard]] constexpr bool empty() const noexcept { return labels_.empty(); }

private:
    std::span<metric_label const> labels_;
};

/// One number of a described type, but for where to get it.
struct metric_field {
    std::string_view name;  // what is added to the name of the whole; empty: nothing
    std::string_view help;
    metric_kind kind = metric_kind::gauge;
    metric_unit unit = metric_unit::none;
    metric_label label{};  // tells it from fields of the same name; none if its name is empty
};

/// One number of a described type. `get`: a pointer to a member, or a callable that takes the object.
template <class Get>
struct stat_field {
    metric_field what;
    Get get;
};

template <class Get>
[[nodiscard]] constexpr stat_field<Get> counter_field(std::string_view name, std::string_view help, Get get,
                                                      metric_unit unit = metric_unit::none, metric_label label = {}) {
    return {{name, help, metric_kind::counter, unit, label}, get};
}
template <class Get>
[[nodiscard]] constexpr stat_field<Get> gauge_field(std::string_view name, std::string_view help, Get get,
                                                    metric_unit unit = metric_unit::none, metric_label label = {}) {
    return {{name, help, metric_kind::gauge, unit, label}, get};
}
template <class Get>
[[nodiscard]] constexpr stat_field<Get> histogram_field(std::string_view name, std::string_view help, Get get,
                                                        metric_unit unit = metric_unit::none, metric_label label = {}) {
    return {{name, help, metric_kind::histogram, unit, label}, get};
}
template <class Get>
[[nodiscard]] constexpr stat_field<Get> summary_field(std::string_view name, std::string_view help, Get get,
                                                      metric_unit unit = metric_unit::none, metric_label label = {}) {
    return {{name, help, metric_kind::summary, unit, label}, get};
}

namespace detail {

struct undescribed {};

// The object itself, where it is its own only number.
struct itself {
    template <class T>
    constexpr T const& operator()(T const& object) const noexcept {
        return object;
    }
};

// A std::chrono::duration, without its header: what only describes its numbers should not have to wait for it.
template <class T>
concept duration_value = requires(T const& d) {
    typename T::rep;
    { T::period::num } -> std::convertible_to<double>;
    { T::period::den } -> std::convertible_to<double>;
    { d.count() } -> std::same_as<typename T::rep>;
    T::zero();
};

template <class Get, class T>
concept readable_field = requires(Get const& get, T const& object) { object.*get; } ||
    requires(Get const& get, T const& object) { (object.*get)(); } || requires(Get const& get, T const& object) { get(object); };

template <class Get, class T>
    requires readable_field<Get, T>
constexpr decltype(auto) read_field(Get const& get, T const& object) {
    if constexpr (std::is_member_object_pointer_v<Get>) {
        return (object.*get);
    } else if constexpr (std::is_member_function_pointer_v<Get>) {
        return (object.*get)();
    } else {
        return get(object);
    }
}

}  // namespace detail

/// The numbers of T: a std::tuple of stat_field. Specialise it for a type of your own, as above.
template <class T>
inline constexpr auto stats_fields = detail::undescribed{};

/// How values spread, at one moment: what weir::histogram::snapshot() gives.
template <class D>
concept distribution_snapshot = requires(D const& d, std::span<typename D::value_type const> bounds) {
    { d.count() } -> std::convertible_to<std::uint64_t>;
    { d.quantile(0.5) } -> std::same_as<typename D::value_type>;
    { d.min() } -> std::same_as<typename D::value_type>;
    { d.max() } -> std::same_as<typename D::value_type>;
    d.sum();
    d.mean();
    { d.cumulative(bounds)[0] } -> std::convertible_to<std::uint64_t>;
};

/// What one field can be: a number, a duration or a distribution_snapshot.
template <class V>
concept metric_value = std::is_arithmetic_v<V> || detail::duration_value<V> || distribution_snapshot<V>;

namespace detail {

template <class Get, class T>
concept field_of_type = readable_field<Get, T> &&
    metric_value<std::remove_cvref_t<decltype(detail::read_field(std::declval<Get const&>(), std::declval<T const&>()))>>;

template <class T, class... Get>
constexpr bool fields_fit(std::tuple<stat_field<Get>...> const*) noexcept {
    return (... && field_of_type<Get, T>);
}
template <class T>
constexpr bool fields_fit(void const*) noexcept {
    return false;
}

}  // namespace detail

/// A type with a specialisation of stats_fields, each of whose fields gives a metric_value.
template <class T>
concept described_stats = detail::fields_fit<std::remove_cv_t<T>>(&stats_fields<std::remove_cv_t<T>>);

namespace detail {

template <class P>
concept has_snapshot = requires(P const& part) { requires described_stats<std::remove_cvref_t<decltype(part.snapshot())>>; };
template <class P>
concept has_stats = requires(P const& part) { requires described_stats<std::remove_cvref_t<decltype(part.stats())>>; };
template <class P>
concept has_read = requires(P const& part) { requires described_stats<std::remove_cvref_t<decltype(part.read())>>; };

template <class P>
decltype(auto) snapshot_of(P const& part) {
    if constexpr (has_snapshot<P>) {
        return part.snapshot();
    } else if constexpr (has_stats<P>) {
        return part.stats();
    } else {
        return part.read();
    }
}

}  // namespace detail

/// What can say what it has counted: described_stats, or an object whose snapshot(), stats() or read() gives some.
template <class P>
concept metric_source = described_stats<P> || detail::has_snapshot<P> || detail::has_stats<P> || detail::has_read<P>;

/// A whole number of 64 bits, exactly, or a double.
class metric_number {
public:
    template <std::unsigned_integral N>
    constexpr metric_number(N n) noexcept : real_(static_cast<double>(n)), magnitude_(n), whole_(true) {}
    template <std::signed_integral N>
    constexpr metric_number(N n) noexcept
        : real_(static_cast<double>(n)), magnitude_(n < 0 ? 0 - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n)),
          whole_(true), negative_(n < 0) {}
    template <std::floating_point N>
    constexpr metric_number(N n) noexcept : real_(static_cast<double>(n)) {}

    [[nodiscard]] constexpr double value() const noexcept { return real_; }
    [[nodiscard]] constexpr bool whole() const noexcept { return whole_; }
    /// If it is whole: it without its sign.
    [[nodiscard]] constexpr std::uint64_t magnitude() const noexcept { return magnitude_; }
    [[nodiscard]] constexpr bool negative() const noexcept { return negative_; }

private:
    double real_;
    std::uint64_t magnitude_ = 0;
    bool whole_ = false;
    bool negative_ = false;
};

/// A distribution, in the base unit of its field. Lives for the call that it is given to.
class metric_distribution {
public:
    [[nodiscard]] virtual std::uint64_t count() const = 0;
    [[nodiscard]] virtual double sum() const = 0;
    [[nodiscard]] virtual double mean() const = 0;
    [[nodiscard]] virtual double min() const = 0;
    [[nodiscard]] virtual double max() const = 0;
    /// Throws: std::invalid_argument if q is not in [0, 1].
    [[nodiscard]] virtual double quantile(double q) const = 0;
    /// counts[i] becomes the number of values of at most bounds[i], which ascend and are no NaN; equally many of both.
    virtual void cumulative(std::span<double const> bounds, std::span<std::uint64_t> counts) const = 0;

protected:
    ~metric_distribution() = default;
};

/// What a field belongs to.
struct metric_series {
    std::string_view name;
    std::string_view help;
    metric_labels labels;
};

/// Where parts write their numbers. Derive from it to make another output.
class metric_sink {
public:
    virtual void number(metric_series const& series, metric_field const& field, metric_number value) = 0;
    virtual void distribution(metric_series const& series, metric_field const& field, metric_distribution const& value) = 0;

protected:
    ~metric_sink() = default;
};

/// Something that writes all it knows into a sink: weir::stats_registry, or a type of yours.
template <class C>
concept metric_collection = requires(C const& collection, metric_sink& sink) { collection.collect(sink); };

/// What the fields of T say of themselves, the units of durations among it.
template <metric_source T>
[[nodiscard]] constexpr std::span<metric_field const> metric_shape() noexcept;

/// Writes every number of `source`, in the order of its description. Throws: what reading it or the sink throws.
template <metric_source T>
void write_metrics(metric_series const& series, T const& source, metric_sink& sink);

/// Writes one value as a field of its own. Throws: what the sink throws.
template <metric_value V>
void write_metric(metric_series const& series, metric_field field, V const& value, metric_sink& sink);

}  // namespace weir::inline v0

#include <weir/base/detail/metric_write.hpp>

#endif
