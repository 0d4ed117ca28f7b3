// weir (BSL-1.0). breaker_mode: when a circuit breaker opens.
#ifndef WEIR_FLOW_DETAIL_BREAKER_MODE_HPP
#define WEIR_FLOW_DETAIL_BREAKER_MODE_HPP
#include <weir/flow/detail/breaker_window.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <type_traits>

namespace weir::inline v0 {

/// What of the calls in a window opens the breaker: either rate, once there are min_calls.
struct call_rates {
    static constexpr unsigned never = 101;

    unsigned min_calls = 20;                // 1 to 8192
    unsigned failure_rate = 50;             // percent that have failed, 1 to 100; 101: never
    std::chrono::nanoseconds slow_call{0};  // a call that takes longer is slow; 0: time is not measured
    unsigned slow_rate = never;             // percent that are slow, 1 to 100; 101: never

    [[nodiscard]] bool counts_slow() const noexcept { return slow_call.count() > 0; }
    [[nodiscard]] constexpr bool exceeded(std::uint64_t total, std::uint64_t failed,
                                          std::uint64_t slow) const noexcept {
        return failed * 100 >= failure_rate * total || slow * 100 >= slow_rate * total;
    }
};

/// Opens when so many calls in a row have failed.
struct consecutive_failures {
    static constexpr bool has_window = false;
    struct window_type {
        explicit window_type(consecutive_failures const&) noexcept {}
    };

    unsigned failures = 5;  // >= 1

    void check() const {
        if (failures < 1) {
            throw std::invalid_argument{"weir::circuit_breaker: failures must be >= 1"};
        }
    }
};

/// Opens on the rates among the last calls, exactly.
struct count_window {
    static constexpr bool has_window = true;
    class window_type;

    std::size_t calls = 100;  // 1 to 8192
    call_rates rates{};       // min_calls at most `calls`

    void check() const;
};

/// Opens on the rates among the calls of the last `window`, which is forgotten in `buckets` steps.
struct time_window {
    static constexpr bool has_window = true;
    class window_type;

    std::chrono::nanoseconds window = std::chrono::seconds{10};  // >= 1 ms a bucket, <= 2^60 ns
    std::size_t buckets = 10;                                    // 1 to 1024
    call_rates rates{};

    void check() const;
};

/// When a breaker opens: one of the three above.
template <class M>
concept breaker_mode =
    std::same_as<M, consecutive_failures> || std::same_as<M, count_window> || std::same_as<M, time_window>;

namespace detail {

inline constexpr std::chrono::nanoseconds breaker_time_max{std::int64_t{1} << 60};
inline constexpr std::int64_t breaker_now_max = std::int64_t{1} << 62;  // ns: any option can be added to it

inline void check_rates(call_rates const& r) {
    if (r.min_calls < 1 || r.min_calls > recent_calls::exact) {
        throw std::invalid_argument{"weir::circuit_breaker: min_calls must be in [1, 8192]"};
    }
    if (r.failure_rate < 1 || r.failure_rate > call_rates::never) {
        throw std::invalid_argument{
            "weir::circuit_breaker: failure_rate must be in [1, 100] percent, or 101 for never"};
    }
    if (r.slow_rate < 1 || r.slow_rate > call_rates::never) {
        throw std::invalid_argument{"weir::circuit_breaker: slow_rate must be in [1, 100] percent, or 101 for never"};
    }
    if (r.slow_call.count() < 0 || r.slow_call > breaker_time_max) {
        throw std::invalid_argument{"weir::circuit_breaker: slow_call must be in [0, 2^60] ns"};
    }
    if (r.slow_rate != call_rates::never && !r.counts_slow()) {
        throw std::invalid_argument{"weir::circuit_breaker: slow_rate needs a slow_call"};
    }
}

}  // namespace detail

inline void count_window::check() const {
    if (calls < 1 || calls > detail::last_calls::most) {
        throw std::invalid_argument{"weir::circuit_breaker: calls must be in [1, 8192]"};
    }
    detail::check_rates(rates);
    if (rates.min_calls > calls) {
        throw std::invalid_argument{"weir::circuit_breaker: min_calls must be at most the calls of the window"};
    }
}

inline void time_window::check() const {
    if (buckets < 1 || buckets > 1024) {
        throw std::invalid_argument{"weir::circuit_breaker: buckets must be in [1, 1024]"};
    }
    if (window / static_cast<std::int64_t>(buckets) < std::chrono::milliseconds{1} ||
        window > detail::breaker_time_max) {
        throw std::invalid_argument{
            "weir::circuit_breaker: window must be at least 1 ms a bucket, and at most 2^60 ns"};
    }
    detail::check_rates(rates);
}

/// The last calls. The answer to record() is what decides.
class count_window::window_type {
public:
    explicit window_type(count_window const& mode) : calls_(mode.calls) {}
    void enter(std::uint16_t generation) noexcept { calls_.enter(generation); }
    bool record(std::uint16_t generation, std::int64_t, bool failed, bool slow, call_rates const& limits) noexcept {
        auto const now = calls_.record(generation, failed, slow);
        return now.total >= limits.min_calls && limits.exceeded(now.total, now.failed, now.slow);
    }
    [[nodiscard]] detail::call_totals read(std::uint16_t generation, std::int64_t) const noexcept {
        return calls_.read(generation);
    }

private:
    detail::last_calls calls_;
};

/// The calls of the last buckets of time. They are summed up when a call has failed or was slow; on a success only if one has
/// failed before there were min_calls, for then the success may be the one that fills them.
class time_window::window_type {
public:
    explicit window_type(time_window const& mode)
        : calls_(mode.buckets), length_(mode.window.count() / static_cast<std::int64_t>(mode.buckets)) {}

    void enter(std::uint16_t) noexcept {}
    bool record(std::uint16_t generation, std::int64_t time, bool failed, bool slow,
                call_rates const& limits) noexcept {
        auto const bucket = bucket_of(time);
        calls_.record(generation, bucket, failed, slow);
        // seq_cst on pending_ and on the words of the window decides between one who looks at the mark, and then sums up, and one
        // who records, and then looks at the mark. Who changes the mark sums up again: so there is a mark, or somebody has seen
        // the whole.
        auto const mark = pending_.load();
        return (failed || slow || marks(mark, generation)) && sum_up(mark, generation, bucket, limits);
    }
    [[nodiscard]] detail::call_totals read(std::uint16_t generation, std::int64_t time) const noexcept {
        auto const bucket = static_cast<std::uint64_t>(time / length_);
        return calls_.read(generation, std::max(bucket, latest_.load(std::memory_order_relaxed)));  // relaxed: a number
    }

private:
    // generation:16 | 1 | bucket:47. A later bucket has to be marked again, so that who has seen the earlier one does not take the
    // mark away.
    static constexpr std::uint64_t bucket_mask = (std::uint64_t{1} << 47) - 1;
    static std::uint64_t mark_of(std::uint16_t generation, std::uint64_t bucket) noexcept {
        return std::uint64_t{generation} << 48 | std::uint64_t{1} << 47 | (bucket & bucket_mask);
    }
    static std::uint16_t generation_of(std::uint64_t mark) noexcept { return static_cast<std::uint16_t>(mark >> 48); }
    static bool marks(std::uint64_t mark, std::uint16_t generation) noexcept {
        return mark != 0 && generation_of(mark) == generation;
    }
    static constexpr unsigned late_by = 1U << 10;  // generations that a call can be late; more: the mark is an old one

    [[gnu::noinline]] bool sum_up(std::uint64_t mark, std::uint16_t generation, std::uint64_t bucket,
                                  call_rates const& limits) noexcept {
        for (;; mark = pending_.load()) {
            bool const marked = marks(mark, generation);
            bucket = marked ? std::max(bucket, mark & bucket_mask) : bucket;
            auto const now = calls_.read(generation, bucket);
            bool const enough = now.total >= limits.min_calls;
            if (enough && limits.exceeded(now.total, now.failed, now.slow)) {
                return true;
            }
            auto const wanted = enough ? 0 : mark_of(generation, bucket);
            bool const late = mark != 0 && static_cast<std::uint16_t>(generation_of(mark) - generation - 1U) < late_by;
            if ((enough ? !marked : mark == wanted) || late) {
                return false;
            }
            pending_.compare_exchange_strong(mark, wanted,
                                             std::memory_order_relaxed);  // relaxed: the load above follows
        }
    }

    // The bucket of `time`, or the latest that any thread has seen: a clock that steps back does not reopen one.
    std::uint64_t bucket_of(std::int64_t time) noexcept {
        auto const latest = latest_.load(std::memory_order_relaxed);  // relaxed: a number
        return time - static_cast<std::int64_t>(latest) * length_ < length_ ? latest : advance(time, latest);
    }
    [[gnu::noinline]] std::uint64_t advance(std::int64_t time, std::uint64_t latest) noexcept {
        auto const bucket = static_cast<std::uint64_t>(time / length_);
        while (latest < bucket) {
            if (latest_.compare_exchange_weak(latest, bucket, std::memory_order_relaxed)) {  // relaxed: a number
                return bucket;
            }
        }
        return latest;
    }

    detail::recent_calls calls_;
    std::int64_t length_;                    // ns of a bucket
    std::atomic<std::uint64_t> latest_{0};   // any thread: the latest bucket
    std::atomic<std::uint64_t> pending_{0};  // any thread: where a call has failed below min_calls; 0: nowhere
};

}  // namespace weir::inline v0
#endif
