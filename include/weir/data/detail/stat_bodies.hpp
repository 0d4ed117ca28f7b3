// weir (BSL-1.0). stat_bodies: what the members of stats.hpp do.
#ifndef WEIR_DATA_DETAIL_STAT_BODIES_HPP
#define WEIR_DATA_DETAIL_STAT_BODIES_HPP
#include <weir/data/stats.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <stdexcept>
#include <utility>

// Edges (who hands what to whom):
//   E1  a request's end that found no block is counted aside -> who reads that count sees that the request has begun
// All others stand in the headers that hold the words.

namespace weir::inline v0 {

inline void gauge::raise(std::atomic<std::int64_t>& mark, std::int64_t n) noexcept {
    auto seen = mark.load(std::memory_order_relaxed);  // relaxed: publishes nothing, as all of a gauge
    while (seen < n && !mark.compare_exchange_weak(seen, n, std::memory_order_relaxed)) {  // relaxed: as above
    }
}
inline void gauge::lower(std::atomic<std::int64_t>& mark, std::int64_t n) noexcept {
    auto seen = mark.load(std::memory_order_relaxed);  // relaxed: publishes nothing
    while (seen > n && !mark.compare_exchange_weak(seen, n, std::memory_order_relaxed)) {  // relaxed: as above
    }
}
inline void gauge::set(std::int64_t n) noexcept {
    value_.store(n, std::memory_order_relaxed);  // relaxed: publishes nothing
    raise(high_, n);
    lower(low_, n);
}
inline std::int64_t gauge::add(std::int64_t n) noexcept {
    auto const now = value_.fetch_add(n, std::memory_order_relaxed) + n;  // relaxed: publishes nothing
    raise(high_, now);
    lower(low_, now);
    return now;
}
inline std::int64_t gauge::sub(std::int64_t n) noexcept {
    auto const now = value_.fetch_sub(n, std::memory_order_relaxed) - n;  // relaxed: publishes nothing
    raise(high_, now);
    lower(low_, now);
    return now;
}
inline std::int64_t gauge::value() const noexcept {
    auto const now = value_.load(std::memory_order_relaxed);  // relaxed: publishes nothing
    raise(high_, now);  // who has changed it may not have come to its mark yet
    lower(low_, now);
    return now;
}
inline std::int64_t gauge::high_water() const noexcept {
    static_cast<void>(value());
    return high_.load(std::memory_order_relaxed);  // relaxed: publishes nothing
}
inline std::int64_t gauge::low_water() const noexcept {
    static_cast<void>(value());
    return low_.load(std::memory_order_relaxed);  // relaxed: publishes nothing
}
inline gauge_guard gauge::guard() noexcept { return gauge_guard{*this}; }

namespace detail {

// A value, `times` times, into one recorder.
template <class Value, unsigned InverseError>
[[gnu::always_inline]] inline void record_value(stat_layout<InverseError> const& layout, stat_recorder& recorder,
                                                stat_word* buckets, Value v, std::uint64_t times) noexcept {
    using convert = stat_value<Value>;
    if (times == 0) [[unlikely]] {
        return;  // would otherwise count as least or most
    }
    if (convert::negative(v)) [[unlikely]] {
        recorder.below(times);
        v = Value{0};
    }
    auto const ticks = convert::ticks(v);
    recorder.record(buckets[layout.bucket(ticks)], ticks, ticks, times, stat_wide{ticks} * times);
}

}  // namespace detail

template <histogram_value Value, unsigned InverseError>
void histogram<Value, InverseError>::record(Value v, std::uint64_t n) noexcept {
    auto* const block = shards_.own();
    if (block == nullptr) [[unlikely]] {
        record_first(v, n);
        return;
    }
    detail::record_value(layout_, block->recorder, detail::tail_of(block), v, n);
}

template <histogram_value Value, unsigned InverseError>
void histogram<Value, InverseError>::record_first(Value v, std::uint64_t n) noexcept {
    shards_.write_first([&] { return detail::make_stat_block<detail::histogram_block>(layout_.size); },
                        [&](auto& block) { detail::record_value(layout_, block.recorder, detail::tail_of(&block), v, n); });
}

template <histogram_value Value, unsigned InverseError>
void histogram<Value, InverseError>::record_corrected(Value v, Value interval) noexcept {
    using convert = detail::stat_value<Value>;
    record(v);
    if (convert::negative(interval) || interval == Value{0} || v <= interval) {
        return;
    }
    auto const count = [&](auto& block) {
        // v - k * interval for k from 1 on while it is not below interval: a bucket at a time.
        auto const step = convert::ticks(interval);
        for (auto rest = convert::ticks(v) - step; rest >= step;) {
            auto const bucket = layout_.bucket(rest);
            auto const times = (rest - std::max(layout_.begin(bucket), step)) / step + 1;
            auto const last = rest - (times - 1) * step;
            block.recorder.record(detail::tail_of(&block)[bucket], last, rest, times,
                                  (detail::stat_wide{rest} + last) * times / 2);
            rest = last - step;
        }
    };
    if (auto* const block = shards_.own()) {
        count(*block);
    } else {
        shards_.write_first([&] { return detail::make_stat_block<detail::histogram_block>(layout_.size); }, count);
    }
}

template <histogram_value Value, unsigned InverseError>
auto histogram<Value, InverseError>::snapshot() const -> snapshot_type {
    detail::stat_counts total(layout_.size);
    shards_.for_each([&](detail::histogram_block const& block) { block.recorder.read(detail::tail_of(&block), total); });
    return {layout_, std::move(total), shards_.lost()};
}

template <unsigned InverseError>
std::chrono::nanoseconds request_snapshot<InverseError>::quantile(double q) const {
    auto all = success;
    all.merge(error);
    return all.quantile(q);
}

template <unsigned InverseError>
void request_snapshot<InverseError>::subtract(request_snapshot const& earlier) {
    if (requests < earlier.requests || errors < earlier.errors || bytes < earlier.bytes || duration < earlier.duration ||
        lost < earlier.lost || age < earlier.age) {
        throw std::invalid_argument{"weir::request_snapshot: what is subtracted must be an earlier snapshot"};
    }
    auto ok = success;
    auto bad = error;
    ok.subtract(earlier.success);
    bad.subtract(earlier.error);
    success = std::move(ok);
    error = std::move(bad);
    requests -= earlier.requests;
    errors -= earlier.errors;
    bytes -= earlier.bytes;
    duration -= earlier.duration;
    lost -= earlier.lost;
    age -= earlier.age;
}

template <unsigned InverseError, clock_source Clock>
void request_stats<InverseError, Clock>::record(std::chrono::nanoseconds duration, std::uint64_t bytes,
                                                request_outcome outcome) noexcept {
    auto* const block = shards_.own();
    if (block == nullptr) [[unlikely]] {
        record_first(duration, bytes, outcome);
        return;
    }
    record_in(*block, duration, bytes, outcome);
}

template <unsigned InverseError, clock_source Clock>
void request_stats<InverseError, Clock>::record_first(std::chrono::nanoseconds duration, std::uint64_t bytes,
                                                      request_outcome outcome) noexcept {
    shards_.write_first(&make, [&](auto& block) { record_in(block, duration, bytes, outcome); });
}

template <unsigned InverseError, clock_source Clock>
void request_stats<InverseError, Clock>::record_in(detail::request_block& block, std::chrono::nanoseconds duration,
                                                   std::uint64_t bytes, request_outcome outcome) noexcept {
    bool const error = outcome == request_outcome::error;
    auto* const buckets = detail::tail_of(&block) + (error ? layout.size : 0);
    auto& spread = block.spreads[error ? 1 : 0];
    if (duration.count() < 0) [[unlikely]] {
        spread.below(1);
        duration = std::chrono::nanoseconds{0};
    }
    auto const ticks = static_cast<std::uint64_t>(duration.count());
    spread.count(buckets[layout.bucket(ticks)], ticks, ticks, 1);
    block.record(ticks, bytes, error);
}

template <unsigned InverseError, clock_source Clock>
bool request_stats<InverseError, Clock>::start() noexcept {
    auto* const block = shards_.own();
    if (block == nullptr) [[unlikely]] {
        return shards_.write_first(&make, [](auto& first) { first.start(); });
    }
    block->start();
    return true;
}

template <unsigned InverseError, clock_source Clock>
void request_stats<InverseError, Clock>::finish() noexcept {
    auto* const block = shards_.own();
    if (block != nullptr) [[likely]] {
        block->finish();
    } else if (!shards_.write_first(&make, [](auto& first) { first.finish(); })) {
        ended_elsewhere_.fetch_add(1, std::memory_order_release);  // E1 release
    }
}

template <unsigned InverseError, clock_source Clock>
auto request_stats<InverseError, Clock>::snapshot() const -> snapshot_type {
    detail::stat_counts success(layout.size);
    detail::stat_counts error(layout.size);
    detail::request_sums sums;
    shards_.for_each([&](detail::request_block const& block) {
        block.read(sums);  // before the durations, which are recorded first
        block.spreads[0].read(detail::tail_of(&block), success);
        block.spreads[1].read(detail::tail_of(&block) + layout.size, error);
    });
    success.counted = sums.requests - sums.errors;
    success.sum = sums.ticks - sums.error_ticks;
    error.counted = sums.errors;
    error.sum = sums.error_ticks;
    auto const age = std::chrono::duration<double>(saturating_between(start_, clock_.now()));
    return {.requests = sums.requests,
            .errors = sums.errors,
            .bytes = static_cast<double>(sums.bytes),
            .duration = std::chrono::duration<double>(static_cast<double>(sums.ticks) * 1e-9),
            .in_flight = under_way(),
            .lost = shards_.lost(),
            .age = std::max(age, std::chrono::duration<double>{0}),
            .success = {layout, std::move(success), 0},
            .error = {layout, std::move(error), 0}};
}

template <unsigned InverseError, clock_source Clock>
std::uint64_t request_stats<InverseError, Clock>::under_way() const noexcept {
    // All ends before any start, or there would be more of them. What starts while that is read is counted too, so it is read
    // again if a request has ended meanwhile; not for ever.
    auto const ended = [&] {
        auto count = ended_elsewhere_.load(std::memory_order_acquire);  // E1 acquire
        shards_.for_each([&](detail::request_block const& block) { count += block.finished(); });
        return count;
    };
    auto before = ended();
    auto least = std::numeric_limits<std::uint64_t>::max();
    for (int tries = 8;; --tries) {
        std::uint64_t started = 0;
        shards_.for_each([&](detail::request_block const& block) { started += block.started(); });
        least = std::min(least, started - before);
        auto const after = ended();
        if (before == after || tries == 0) {
            return least;
        }
        before = after;
    }
}

template <clock_source Clock>
void meter<Clock>::mark(std::uint64_t n) noexcept {
    auto const now = static_cast<std::uint64_t>(seconds());
    auto* const block = shards_.own();
    if (block == nullptr) [[unlikely]] {
        mark_first(now, n);
        return;
    }
    block->mark(now, n);
}

template <clock_source Clock>
void meter<Clock>::mark_first(std::uint64_t now, std::uint64_t n) noexcept {
    shards_.write_first([] { return detail::make_stat_block<detail::decay_block>(0); },
                        [&](auto& block) { block.mark(now, n); });
}

template <clock_source Clock>
auto meter<Clock>::read() const noexcept -> rates {
    auto const now = seconds();
    std::array<double, 3> weights{};
    rates r;
    shards_.for_each([&](detail::decay_block const& block) { block.read(now, weights, r.count); });
    // The weight of all time since the start: what one event a second would have come to.
    auto const rate = [&](std::size_t i) {
        auto const span = detail::decay_seconds[i];
        auto const full = span * -std::expm1(-std::max(now, 1.0) / span);
        return weights[i] / full;
    };
    r.mean = static_cast<double>(r.count) / std::max(now, 1.0);
    r.one_minute = rate(0);
    r.five_minutes = rate(1);
    r.fifteen_minutes = rate(2);
    r.lost = shards_.lost();
    return r;
}

template <clock_source Clock>
windowed<counter, Clock>::windowed(options o, Clock clock) : window_(o.window, o.slices, std::move(clock)) {}

template <clock_source Clock>
void windowed<counter, Clock>::add(std::uint64_t n) noexcept {
    auto const number = window_.advance();
    if (auto* const own = shards_.own()) [[likely]] {
        add_in(*own, number, n);
    } else {
        add_first(number, n);
    }
}

template <clock_source Clock>
void windowed<counter, Clock>::add_first(std::uint64_t number, std::uint64_t n) noexcept {
    shards_.write_first([&] { return block::make(window_.ring(), 0); }, [&](block& b) { add_in(b, number, n); });
}

template <clock_source Clock>
void windowed<counter, Clock>::add_in(block& b, std::uint64_t number, std::uint64_t n) noexcept {
    auto& slice = b.slice(number % window_.ring(), 0);
    slice.enter(number, [&] { slice.clear(); });
    slice.add(n);
}

template <clock_source Clock>
std::uint64_t windowed<counter, Clock>::value() const noexcept {
    std::uint64_t total = 0;
    auto const end = window_.latest();
    shards_.for_each([&](block const& b) {
        for (std::size_t i = 0; i < window_.ring(); ++i) {
            auto const& slice = b.slice(i, 0);
            std::uint64_t seen = 0;
            if (slice.read(end, window_.slices(), [&] { seen = slice.count(); })) {
                total += seen;
            }
        }
    });
    return total;
}

template <histogram_value Value, unsigned InverseError, clock_source Clock>
windowed<histogram<Value, InverseError>, Clock>::windowed(options o, histogram_options<Value> range, Clock clock)
    : layout_(detail::checked_layout<InverseError>(range)), window_(o.window, o.slices, std::move(clock)) {}

template <histogram_value Value, unsigned InverseError, clock_source Clock>
void windowed<histogram<Value, InverseError>, Clock>::record(Value v, std::uint64_t n) noexcept {
    auto const number = window_.advance();
    if (auto* const own = shards_.own()) [[likely]] {
        record_in(*own, number, v, n);
    } else {
        record_first(number, v, n);
    }
}

template <histogram_value Value, unsigned InverseError, clock_source Clock>
void windowed<histogram<Value, InverseError>, Clock>::record_first(std::uint64_t number, Value v, std::uint64_t n) noexcept {
    shards_.write_first([&] { return block::make(window_.ring(), layout_.size); },
                        [&](block& b) { record_in(b, number, v, n); });
}

template <histogram_value Value, unsigned InverseError, clock_source Clock>
void windowed<histogram<Value, InverseError>, Clock>::record_in(block& b, std::uint64_t number, Value v,
                                                                std::uint64_t n) noexcept {
    auto& slice = b.slice(number % window_.ring(), layout_.size);
    auto* const buckets = detail::tail_of(&slice);
    slice.enter(number, [&] { slice.recorder.clear(buckets, layout_.size); });
    detail::record_value(layout_, slice.recorder, buckets, v, n);
}

template <histogram_value Value, unsigned InverseError, clock_source Clock>
auto windowed<histogram<Value, InverseError>, Clock>::snapshot() const -> snapshot_type {
    detail::stat_counts total(layout_.size);
    detail::stat_counts seen(layout_.size);
    auto const end = window_.latest();
    shards_.for_each([&](block const& b) {
        for (std::size_t i = 0; i < window_.ring(); ++i) {
            auto const& slice = b.slice(i, layout_.size);
            auto const read = [&] {
                seen.clear();
                slice.recorder.read(detail::tail_of(&slice), seen);
            };
            if (slice.read(end, window_.slices(), read)) {
                total.add(seen);
            }
        }
    });
    return {layout_, std::move(total), shards_.lost()};
}

template <duration_recorder Sink, clock_source Clock>
void stopwatch<Sink, Clock>::stop() {
    auto* const sink = std::exchange(sink_, nullptr);
    if (sink == nullptr) {
        return;
    }
    if constexpr (of_requests) {
        sink->record(elapsed(), bytes_, error_ ? request_outcome::error : request_outcome::success);
    } else {
        sink->record(std::chrono::duration_cast<detail::recorded_duration<Sink>>(elapsed()));
    }
}

// What a container hands out as T&.
template <>
inline constexpr bool is_internally_synchronized<gauge> = true;
template <class Value, unsigned InverseError>
inline constexpr bool is_internally_synchronized<histogram<Value, InverseError>> = true;
template <unsigned InverseError, class Clock>
inline constexpr bool is_internally_synchronized<request_stats<InverseError, Clock>> = true;
template <class Clock>
inline constexpr bool is_internally_synchronized<meter<Clock>> = true;
template <class Stat, class Clock>
inline constexpr bool is_internally_synchronized<windowed<Stat, Clock>> = true;

}  // namespace weir::inline v0
#endif
