// weir (BSL-1.0). stat_histogram: what a histogram takes for a value, and what can be asked of its counts.
#ifndef WEIR_DATA_DETAIL_STAT_HISTOGRAM_HPP
#define WEIR_DATA_DETAIL_STAT_HISTOGRAM_HPP
#include <weir/base/clock.hpp>
#include <weir/data/detail/stat_buckets.hpp>
#include <weir/data/detail/stat_shards.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::inline v0 {

namespace detail {

template <class V>
struct stat_value {};

template <std::integral V>
    requires(!std::same_as<V, bool>)
struct stat_value<V> {
    using mean_type = double;
    static constexpr std::uint64_t most = static_cast<std::uint64_t>(std::numeric_limits<V>::max());
    static constexpr V highest = most < std::uint64_t{1} << 40 ? std::numeric_limits<V>::max()
                                                               : static_cast<V>(std::uint64_t{1} << 40);
    static constexpr bool negative(V v) noexcept { return v < 0; }
    static constexpr std::uint64_t ticks(V v) noexcept { return static_cast<std::uint64_t>(v); }
    static constexpr V value(std::uint64_t ticks) noexcept { return static_cast<V>(std::min(ticks, most)); }
    static constexpr mean_type mean(double ticks) noexcept { return ticks; }
};

template <std::integral Rep, class Period>
struct stat_value<std::chrono::duration<Rep, Period>> {
    using type = std::chrono::duration<Rep, Period>;
    using mean_type = std::chrono::duration<double, Period>;
    static constexpr std::uint64_t most = static_cast<std::uint64_t>(std::numeric_limits<Rep>::max());
    static constexpr auto hour = saturating_count<std::chrono::duration<std::int64_t, Period>>(std::chrono::hours{1});
    static constexpr type highest{std::cmp_less(hour, std::numeric_limits<Rep>::max()) ? static_cast<Rep>(hour)
                                                                                         : std::numeric_limits<Rep>::max()};
    static constexpr bool negative(type v) noexcept { return v.count() < 0; }
    static constexpr std::uint64_t ticks(type v) noexcept { return static_cast<std::uint64_t>(v.count()); }
    static constexpr type value(std::uint64_t ticks) noexcept { return type{static_cast<Rep>(std::min(ticks, most))}; }
    static constexpr mean_type mean(double ticks) noexcept { return mean_type{ticks}; }
};

}  // namespace detail

/// What a histogram can count: a whole number, or a std::chrono::duration of whole ticks.
template <class V>
concept histogram_value = requires { typename detail::stat_value<V>::mean_type; };

/// The counts of a histogram at one time: a plain value, to be kept, merged and asked.
/// Every answer that is a value lies within 1/InverseError of the exact one (or within `lowest`, if that is more); count, sum
/// and mean are exact. Values above `highest` have one bucket: where an answer lies there, it is max().
/// Memory:   8 bytes a bucket. Throws: std::bad_alloc on copying.
template <histogram_value Value, unsigned InverseError>
class histogram_snapshot {
    using convert = detail::stat_value<Value>;

public:
    using value_type = Value;
    using mean_type = typename convert::mean_type;  // double, or a duration of doubles
    using layout_type = detail::stat_layout<InverseError>;

    /// For the histograms themselves.
    histogram_snapshot(layout_type layout, detail::stat_counts counts, std::uint64_t lost)
        : layout_(layout), counts_(std::move(counts)), lost_(lost) {
        for (auto const n : counts_.buckets) {
            count_ += n;
        }
    }

    /// Values recorded, those out of range among them: the sum of all buckets.
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    /// Of those: values below zero, counted and summed up as zero.
    [[nodiscard]] std::uint64_t below() const noexcept { return counts_.below; }
    /// Of those: values above the range.
    [[nodiscard]] std::uint64_t above() const noexcept { return counts_.buckets.back(); }
    /// Calls of record that found no memory for their thread's buckets: in no other number.
    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

    /// The sum of all values. Of a snapshot taken while others record: of the first count() or fewer of each thread.
    [[nodiscard]] mean_type sum() const noexcept { return convert::mean(static_cast<double>(counts_.sum)); }
    /// The sum divided by the number of values in that sum; zero if there are none.
    [[nodiscard]] mean_type mean() const noexcept { return convert::mean(mean_ticks()); }
    [[nodiscard]] mean_type stddev() const noexcept;
    /// The smallest and the largest value; exact, also out of range; zero if there are none. After subtract: to a bucket.
    [[nodiscard]] Value min() const noexcept { return convert::value(empty() ? 0 : counts_.least); }
    [[nodiscard]] Value max() const noexcept { return convert::value(empty() ? 0 : counts_.most); }

    /// The smallest value that at least q of all values do not exceed; 0.5: the median. Zero if there are none.
    /// Cost: O(buckets). Throws: std::invalid_argument if q is not in [0, 1].
    [[nodiscard]] Value quantile(double q) const;
    /// How many values are at most `bound`, to the bucket: one that the bound cuts is counted if its middle is not above it.
    /// Cost: O(buckets).
    [[nodiscard]] std::uint64_t cumulative(Value bound) const noexcept;
    /// The same for bounds in ascending order, in one pass. Throws: std::invalid_argument if they do not ascend, std::bad_alloc.
    [[nodiscard]] std::vector<std::uint64_t> cumulative(std::span<Value const> bounds) const;

    /// Adds what another one counted, as if all had been recorded here.
    /// Throws: std::invalid_argument if its range is another.
    void merge(histogram_snapshot const& other);
    /// Takes away what an earlier snapshot of the same histogram holds: what is left was recorded between the two.
    /// Throws: std::invalid_argument if its range is another, or it holds what this one does not; nothing is changed then.
    void subtract(histogram_snapshot const& earlier);

    /// f(first, last, count) for each bucket that is not empty, in ascending order; last is its largest value.
    template <std::invocable<Value, Value, std::uint64_t> F>
    void for_each(F f) const {
        for (std::size_t i = 0; i < counts_.buckets.size(); ++i) {
            if (counts_.buckets[i] != 0) {
                f(convert::value(layout_.begin(i)), convert::value(layout_.last(i)), counts_.buckets[i]);
            }
        }
    }

private:
    [[nodiscard]] double mean_ticks() const noexcept {
        return counts_.counted == 0 ? 0.0 : static_cast<double>(counts_.sum) / static_cast<double>(counts_.counted);
    }
    // A value that stands for all of its bucket.
    [[nodiscard]] std::uint64_t middle(std::size_t bucket) const noexcept {
        auto const m = bucket + 1 == counts_.buckets.size() ? counts_.most : layout_.middle(bucket);
        return std::clamp(m, std::min(counts_.least, counts_.most), counts_.most);
    }
    // Values up to the bound, from bucket `next` on, which is moved to the first bucket beyond it.
    [[nodiscard]] std::uint64_t count_up_to(Value bound, std::size_t& next) const noexcept;
    void check_layout(histogram_snapshot const& other, char const* what) const {
        if (!(layout_ == other.layout_)) {
            throw std::invalid_argument{what};
        }
    }

    layout_type layout_;
    detail::stat_counts counts_;
    std::uint64_t count_ = 0;
    std::uint64_t lost_;
};

template <histogram_value Value, unsigned InverseError>
auto histogram_snapshot<Value, InverseError>::stddev() const noexcept -> mean_type {
    if (empty()) {
        return convert::mean(0.0);
    }
    auto const mean = mean_ticks();
    double squares = 0;
    for (std::size_t i = 0; i < counts_.buckets.size(); ++i) {
        if (counts_.buckets[i] != 0) {
            auto const away = static_cast<double>(middle(i)) - mean;
            squares += away * away * static_cast<double>(counts_.buckets[i]);
        }
    }
    return convert::mean(std::sqrt(squares / static_cast<double>(count_)));
}

template <histogram_value Value, unsigned InverseError>
Value histogram_snapshot<Value, InverseError>::quantile(double q) const {
    if (!(q >= 0.0 && q <= 1.0)) {
        throw std::invalid_argument{"weir::histogram_snapshot: a quantile must be in [0, 1]"};
    }
    if (empty()) {
        return convert::value(0);
    }
    if (q == 1.0) {
        return max();
    }
    auto const exact = std::ceil(q * static_cast<double>(count_));
    auto const rank = std::clamp(static_cast<std::uint64_t>(exact), std::uint64_t{1}, count_);
    std::uint64_t passed = 0;
    for (std::size_t i = 0; i < counts_.buckets.size(); ++i) {
        passed += counts_.buckets[i];
        if (passed >= rank) {
            return convert::value(middle(i));
        }
    }
    return max();
}

template <histogram_value Value, unsigned InverseError>
std::uint64_t histogram_snapshot<Value, InverseError>::count_up_to(Value bound, std::size_t& next) const noexcept {
    if (convert::negative(bound)) {
        return 0;
    }
    std::uint64_t sum = 0;
    for (; next < counts_.buckets.size(); ++next) {
        if (counts_.buckets[next] != 0 && middle(next) > convert::ticks(bound)) {
            break;
        }
        sum += counts_.buckets[next];
    }
    return sum;
}

template <histogram_value Value, unsigned InverseError>
std::uint64_t histogram_snapshot<Value, InverseError>::cumulative(Value bound) const noexcept {
    std::size_t next = 0;
    return count_up_to(bound, next);
}

template <histogram_value Value, unsigned InverseError>
std::vector<std::uint64_t> histogram_snapshot<Value, InverseError>::cumulative(std::span<Value const> bounds) const {
    if (!std::is_sorted(bounds.begin(), bounds.end())) {
        throw std::invalid_argument{"weir::histogram_snapshot: bounds must ascend"};
    }
    std::vector<std::uint64_t> counts;
    counts.reserve(bounds.size());
    std::size_t next = 0;
    std::uint64_t sum = 0;
    for (auto const bound : bounds) {
        sum += count_up_to(bound, next);
        counts.push_back(sum);
    }
    return counts;
}

template <histogram_value Value, unsigned InverseError>
void histogram_snapshot<Value, InverseError>::merge(histogram_snapshot const& other) {
    check_layout(other, "weir::histogram_snapshot: only histograms of the same range can be merged");
    counts_.add(other.counts_);
    count_ += other.count_;
    lost_ += other.lost_;
}

template <histogram_value Value, unsigned InverseError>
void histogram_snapshot<Value, InverseError>::subtract(histogram_snapshot const& earlier) {
    check_layout(earlier, "weir::histogram_snapshot: only histograms of the same range can be subtracted");
    auto& mine = counts_;
    auto const& other = earlier.counts_;
    if (!std::equal(mine.buckets.begin(), mine.buckets.end(), other.buckets.begin(), std::greater_equal<>{}) ||
        mine.counted < other.counted || mine.sum < other.sum || mine.below < other.below || lost_ < earlier.lost_) {
        throw std::invalid_argument{"weir::histogram_snapshot: what is subtracted must be an earlier snapshot"};
    }
    mine.counted -= other.counted;
    mine.sum -= other.sum;
    mine.below -= other.below;
    lost_ -= earlier.lost_;
    count_ -= earlier.count_;
    auto const least = mine.least;
    auto const most = mine.most;
    mine.least = std::numeric_limits<std::uint64_t>::max();
    mine.most = 0;
    for (std::size_t i = 0; i < mine.buckets.size(); ++i) {
        mine.buckets[i] -= other.buckets[i];
        if (mine.buckets[i] != 0) {
            mine.least = std::min(mine.least, std::max(least, layout_.begin(i)));
            mine.most = std::max(mine.most, std::min(most, layout_.last(i)));
        }
    }
}

template <histogram_value Value>
struct histogram_options {
    Value lowest{1};                                     // values below this are not told apart; >= 1
    Value highest = detail::stat_value<Value>::highest;  // 1 h (at least a tick), or 2^40; above are counted together; >= lowest
};

namespace detail {

template <class S>
struct recorded_duration_of {
    using type = std::chrono::nanoseconds;
};
template <class S>
    requires requires { typename S::value_type::period; }
struct recorded_duration_of<S> {
    using type = typename S::value_type;
};
// What a recorder of durations takes.
template <class S>
using recorded_duration = typename recorded_duration_of<S>::type;

template <unsigned InverseError, class Value>
stat_layout<InverseError> checked_layout(histogram_options<Value> const& o) {
    if (o.lowest < Value{1}) {
        throw std::invalid_argument{"weir::histogram: lowest must be >= 1"};
    }
    if (o.highest < o.lowest) {
        throw std::invalid_argument{"weir::histogram: highest must be >= lowest"};
    }
    return {stat_value<Value>::ticks(o.lowest), stat_value<Value>::ticks(o.highest)};
}

/// One thread's part of a histogram: the buckets follow it in memory.
struct histogram_block : stat_block {
    stat_recorder recorder;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
