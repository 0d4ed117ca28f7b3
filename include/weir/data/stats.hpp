// weir (BSL-1.0). stats: counters, gauges, histograms and rates that cost a nanosecond to write and are exact to read.
#ifndef WEIR_DATA_STATS_HPP
#define WEIR_DATA_STATS_HPP
#include <weir/base/clock.hpp>
#include <weir/base/concepts.hpp>
#include <weir/data/detail/stat_counter.hpp>
#include <weir/data/detail/stat_decay.hpp>
#include <weir/data/detail/stat_histogram.hpp>
#include <weir/data/detail/stat_lanes.hpp>
#include <weir/data/detail/stat_requests.hpp>
#include <weir/data/detail/stat_shards.hpp>
#include <weir/data/detail/stat_window.hpp>

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

// When:     many threads count or time what they do, all the time, and somebody looks now and then.
// When not: what is counted decides what happens next (a limit, a turn): take an atomic, or weir::gauge.
// Source:   words per thread as in folly's ThreadCachedInt, buckets as in HdrHistogram, consistent reads by Linux' seqcount latch;
//           detail/stat_lanes.hpp, stat_shards.hpp, stat_latch.hpp and stat_buckets.hpp have the algorithms and their edges.
//
// Each thread writes words of its own by plain loads and stores; who reads sums them up. What an exiting thread wrote stays, and
// its words go to the next thread. Threads that can have no words of their own (more than 4096 at once, those in their
// last destructors) write into shared ones by read-modify-write: nothing is lost, it only takes longer.
// Nothing that is recorded publishes anything else. No recording function throws; none allocates but for the first time that a
// thread writes to an object.
// fork: the child has the numbers of the parent at that moment. Signal handlers: only on objects that the thread has written to.

namespace weir::inline v0 {

class gauge_guard;

/// A number that goes up and down, with the highest and lowest it has been. One atomic: exact at any moment.
/// Threads:  every member but constructor and destructor, from any thread at once. Progress: lock-free.
class gauge {
public:
    explicit gauge(std::int64_t start = 0) noexcept : value_(start), high_(start), low_(start) {}
    gauge(gauge const&) = delete;
    gauge& operator=(gauge const&) = delete;

    void set(std::int64_t n) noexcept;
    /// The result must fit in 64 bits. Returns it.
    std::int64_t add(std::int64_t n = 1) noexcept;
    std::int64_t sub(std::int64_t n = 1) noexcept;
    [[nodiscard]] std::int64_t value() const noexcept;
    /// The highest and the lowest value since the start: at least as far out as any value() this thread has seen.
    [[nodiscard]] std::int64_t high_water() const noexcept;
    [[nodiscard]] std::int64_t low_water() const noexcept;
    /// Adds 1 until the guard goes out of scope.
    [[nodiscard]] gauge_guard guard() noexcept;

private:
    static void raise(std::atomic<std::int64_t>& mark, std::int64_t n) noexcept;
    static void lower(std::atomic<std::int64_t>& mark, std::int64_t n) noexcept;

    std::atomic<std::int64_t> value_;
    mutable std::atomic<std::int64_t> high_;  // who changes value_, and who reads a value beyond it
    mutable std::atomic<std::int64_t> low_;
};

/// Takes back what gauge::guard() added. Must not outlive the gauge.
class gauge_guard {
public:
    gauge_guard(gauge_guard&& other) noexcept : gauge_(std::exchange(other.gauge_, nullptr)) {}
    gauge_guard& operator=(gauge_guard&&) = delete;
    ~gauge_guard() {
        if (gauge_ != nullptr) {
            gauge_->sub();
        }
    }

private:
    friend gauge;
    explicit gauge_guard(gauge& g) noexcept : gauge_(&g) { g.add(); }
    gauge* gauge_;
};

/// The distribution of values: how many, their sum, and how they spread, to within 1/InverseError of each value.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Memory:   64 bytes; 10 KiB for each number of threads that have lived at once and recorded, if it is for durations of 1 ns to
///           1 h to within 1/64: 8 * InverseError / 2 bytes for each power of two between lowest and highest.
/// Lifetime: nobody may be using it when the destructor begins.
template <histogram_value Value = std::chrono::nanoseconds, unsigned InverseError = 64>
class histogram {
public:
    using value_type = Value;
    using options = histogram_options<Value>;
    using snapshot_type = histogram_snapshot<Value, InverseError>;

    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit histogram(options o = {}) : layout_(detail::checked_layout<InverseError>(o)) {}

    /// Counts a value n times. One out of range is counted too, see snapshot().
    /// Progress: wait-free. Cost: about 8 plain stores.
    void record(Value v, std::uint64_t n = 1) noexcept;
    /// Counts a value that was measured by a loop that waits for it, and those that the loop would have measured meanwhile, had it
    /// gone on every `interval`: v, v - interval, v - 2 * interval ... down to interval ("coordinated omission", G. Tene).
    /// With an interval of zero or less: v alone.
    /// Progress: wait-free. Cost: O(v / interval), at most O(buckets).
    void record_corrected(Value v, Value interval) noexcept;
    /// All that was recorded before, and perhaps some of what is being recorded now; then buckets may be ahead of the sum.
    /// Progress: lock-free. Cost: O(buckets * most threads that have lived at once). Throws: std::bad_alloc.
    [[nodiscard]] snapshot_type snapshot() const;

private:
    [[gnu::noinline, gnu::cold]] void record_first(Value v, std::uint64_t n) noexcept;

    detail::stat_layout<InverseError> layout_;
    detail::stat_shards<detail::histogram_block> shards_;
};

enum class request_outcome : unsigned char { success, error };

/// What a request_stats has seen.
template <unsigned InverseError>
struct request_snapshot {
    using latency_type = histogram_snapshot<std::chrono::nanoseconds, InverseError>;
    using seconds = std::chrono::duration<double>;

    std::uint64_t requests = 0;   // that were recorded; of one moment with errors, bytes and duration
    std::uint64_t errors = 0;     // of these
    double bytes = 0;             // in all of them
    seconds duration{0};          // the sum of all of them
    std::uint64_t in_flight = 0;  // guards alive
    std::uint64_t lost = 0;       // calls that found no memory: in no other number, but for ends of requests
    seconds age{0};               // since the object was made, or reset by subtract()
    latency_type success;         // durations by outcome; may be ahead of `requests` by those recorded meanwhile
    latency_type error;

    /// Zero if there are no requests.
    [[nodiscard]] seconds mean() const noexcept {
        return requests == 0 ? seconds{0} : duration / static_cast<double>(requests);
    }
    [[nodiscard]] double error_rate() const noexcept {
        return requests == 0 ? 0.0 : static_cast<double>(errors) / static_cast<double>(requests);
    }
    /// Requests and bytes per second of age; zero if that is zero.
    [[nodiscard]] double throughput() const noexcept {
        return age.count() > 0 ? static_cast<double>(requests) / age.count() : 0.0;
    }
    [[nodiscard]] double bytes_per_second() const noexcept { return age.count() > 0 ? bytes / age.count() : 0.0; }
    /// Of all requests, whatever their outcome. Throws: std::invalid_argument if q is not in [0, 1], std::bad_alloc.
    [[nodiscard]] std::chrono::nanoseconds quantile(double q) const;
    /// Takes away an earlier snapshot: what is left, but for in_flight, happened between the two.
    /// Throws: std::invalid_argument if it is not an earlier one of the same object, std::bad_alloc.
    void subtract(request_snapshot const& earlier);
};

/// Requests: how many, how many failed, how long they took, how much they moved, how many are under way.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Memory:   112 bytes; 10 KiB for each number of threads that have lived at once and recorded, in proportion to InverseError.
/// Lifetime: nobody may be using it, and no guard may be left, when the destructor begins.
template <unsigned InverseError = 32, clock_source Clock = std::chrono::steady_clock>
class request_stats {
public:
    using snapshot_type = request_snapshot<InverseError>;
    class in_flight_guard;

    /// Throws: std::bad_alloc.
    explicit request_stats(Clock clock = {}) : clock_(std::move(clock)), start_(clock_.now()) {}

    /// A request is over. A duration below zero counts as zero.
    /// Progress: wait-free. Cost: about 9 plain stores.
    void record(std::chrono::nanoseconds duration, std::uint64_t bytes = 0,
                request_outcome outcome = request_outcome::success) noexcept;
    /// A request is under way until the guard goes out of scope; may be moved to another thread.
    /// Progress: wait-free.
    [[nodiscard]] in_flight_guard in_flight() noexcept { return in_flight_guard{*this}; }
    /// Requests, errors, bytes and duration are of one moment for each thread: no request is in one and not in another.
    /// Progress: lock-free. Throws: std::bad_alloc.
    [[nodiscard]] snapshot_type snapshot() const;

private:
    static constexpr detail::stat_layout<InverseError> layout{1, 3'600'000'000'000};  // 1 ns to 1 h

    static detail::request_block* make() noexcept {
        return detail::make_stat_block<detail::request_block>(2 * layout.size);
    }
    [[gnu::noinline, gnu::cold]] void record_first(std::chrono::nanoseconds d, std::uint64_t bytes, request_outcome o) noexcept;
    static void record_in(detail::request_block& block, std::chrono::nanoseconds d, std::uint64_t bytes, request_outcome o) noexcept;
    bool start() noexcept;
    void finish() noexcept;
    [[nodiscard]] std::uint64_t under_way() const noexcept;

    detail::stat_shards<detail::request_block> shards_;
    detail::stat_word ended_elsewhere_{0};  // requests, by threads that found no memory
    [[no_unique_address]] Clock clock_;
    time_point_of<Clock> start_;
};

/// One request under way. Must not outlive the request_stats.
template <unsigned InverseError, clock_source Clock>
class request_stats<InverseError, Clock>::in_flight_guard {
public:
    in_flight_guard(in_flight_guard&& other) noexcept : stats_(std::exchange(other.stats_, nullptr)) {}
    in_flight_guard& operator=(in_flight_guard&&) = delete;
    ~in_flight_guard() {
        if (stats_ != nullptr) {
            stats_->finish();
        }
    }

private:
    friend request_stats;
    explicit in_flight_guard(request_stats& stats) noexcept
        : stats_(stats.start() ? &stats : nullptr) {}
    request_stats* stats_;  // none: moved from, or no memory to count it in
};

/// Events per second over the last 1, 5 and 15 minutes, weighted by exp(-age / span). No ticker: an idle meter costs nothing.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Memory:   64 bytes, and 192 for each number of threads that have lived at once and marked.
/// Lifetime: nobody may be using it when the destructor begins.
template <clock_source Clock = coarse_clock>
class meter {
public:
    struct rates {
        std::uint64_t count = 0;  // of all events
        double mean = 0;          // events per second since the start
        double one_minute = 0;    // events per second, as are the next two
        double five_minutes = 0;
        double fifteen_minutes = 0;
        std::uint64_t lost = 0;  // calls of mark that found no memory
    };

    /// Throws: std::bad_alloc.
    explicit meter(Clock clock = {}) : clock_(std::move(clock)), start_(clock_.now()) {}

    /// Progress: wait-free. Cost: a look at the clock and 6 plain stores; once a second and thread, three exponentials.
    void mark(std::uint64_t n = 1) noexcept;
    /// Progress: lock-free. Cost: O(most threads that have lived at once).
    [[nodiscard]] rates read() const noexcept;

private:
    [[gnu::noinline, gnu::cold]] void mark_first(std::uint64_t now, std::uint64_t n) noexcept;
    [[nodiscard]] double seconds() const noexcept {
        return std::max(0.0, std::chrono::duration<double>(saturating_between(start_, clock_.now())).count());
    }

    detail::stat_shards<detail::decay_block> shards_;
    [[no_unique_address]] Clock clock_;
    time_point_of<Clock> start_;
};

struct window_options {
    std::chrono::nanoseconds window = std::chrono::minutes{1};  // what a reader sees, >= 1 ns a slice
    std::size_t slices = 6;                                     // it is forgotten in so many steps, 1 to 3600
};

/// A counter or a histogram of the last `window`. What was recorded is seen for at least window - window / slices and at most
/// window (rounded up to `slices` times a whole nanosecond), then forgotten; if the clock stands still or steps back, for longer.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Lifetime: nobody may be using it when the destructor begins.
template <class Stat, clock_source Clock = coarse_clock>
class windowed;

/// Memory: 96 bytes, and 16 * (slices + 2) for each number of threads that have lived at once and added.
template <clock_source Clock>
class windowed<counter, Clock> {
public:
    using options = window_options;
    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit windowed(options o = {}, Clock clock = {});

    /// Progress: as advance() in detail/stat_window.hpp: lock-free once per thread and slice, else wait-free.
    void add(std::uint64_t n = 1) noexcept;
    /// Progress: lock-free. Cost: O(slices * most threads that have lived at once).
    [[nodiscard]] std::uint64_t value() const noexcept;
    /// Calls of add that found no memory.
    [[nodiscard]] std::uint64_t lost() const noexcept { return shards_.lost(); }

private:
    using block = detail::window_block<detail::counter_slice>;
    [[gnu::noinline, gnu::cold]] void add_first(std::uint64_t number, std::uint64_t n) noexcept;
    void add_in(block& b, std::uint64_t number, std::uint64_t n) noexcept;

    detail::stat_window<Clock> window_;
    detail::stat_shards<block> shards_;
};

/// Memory: 112 bytes, and slices + 1 times what a histogram takes for each number of threads that have lived at once and
/// recorded.
template <histogram_value Value, unsigned InverseError, clock_source Clock>
class windowed<histogram<Value, InverseError>, Clock> {
public:
    using options = window_options;
    using value_type = Value;
    using snapshot_type = histogram_snapshot<Value, InverseError>;
    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit windowed(options o = {}, histogram_options<Value> range = {}, Clock clock = {});

    /// Progress: as for windowed<counter>. Cost: as histogram, and once per thread and slice O(buckets).
    void record(Value v, std::uint64_t n = 1) noexcept;
    /// Progress: lock-free. Cost: O(slices * buckets * most threads that have lived at once). Throws: std::bad_alloc.
    [[nodiscard]] snapshot_type snapshot() const;

private:
    using block = detail::window_block<detail::histogram_slice>;
    [[gnu::noinline, gnu::cold]] void record_first(std::uint64_t number, Value v, std::uint64_t n) noexcept;
    void record_in(block& b, std::uint64_t number, Value v, std::uint64_t n) noexcept;

    detail::stat_layout<InverseError> layout_;
    detail::stat_window<Clock> window_;
    detail::stat_shards<block> shards_;
};

/// What a stopwatch can write to: record(duration), in nanoseconds or in its value_type. Every histogram of durations,
/// windowed or not, and request_stats.
template <class S>
concept duration_recorder = requires(S& sink, detail::recorded_duration<S> d) { sink.record(d); };

/// Records the time from its construction to its end. In a request_stats it counts as an error if its scope is left by an
/// exception, or if it was told so.
/// Threads: one at a time. Must not outlive what it records into.
template <duration_recorder Sink, clock_source Clock = std::chrono::steady_clock>
class stopwatch {
    static constexpr bool of_requests = requires(Sink& sink, std::chrono::nanoseconds d) {
        sink.record(d, std::uint64_t{0}, request_outcome::error);
    };

public:
    explicit stopwatch(Sink& sink, Clock clock = {})
        : sink_(&sink), clock_(std::move(clock)), thrown_(std::uncaught_exceptions()), start_(clock_.now()) {}
    stopwatch(stopwatch const&) = delete;
    stopwatch& operator=(stopwatch const&) = delete;
    ~stopwatch() {
        if (std::uncaught_exceptions() > thrown_) {
            error_ = true;
        }
        stop();
    }

    /// Since the start.
    [[nodiscard]] std::chrono::nanoseconds elapsed() const {
        return saturating_between(start_, clock_.now());
    }
    /// Records now instead of at the end; nothing if it has recorded already, or was cancelled.
    void stop();
    /// Records nothing.
    void cancel() noexcept { sink_ = nullptr; }
    /// What the request moved, and that it failed.
    void bytes(std::uint64_t n) noexcept requires of_requests { bytes_ = n; }
    void failed() noexcept requires of_requests { error_ = true; }

private:
    Sink* sink_;  // none: has recorded, or shall not
    [[no_unique_address]] Clock clock_;
    int thrown_;  // exceptions under way at the start
    bool error_ = false;
    std::uint64_t bytes_ = 0;
    time_point_of<Clock> start_;
};

}  // namespace weir::inline v0

#include <weir/data/detail/stat_bodies.hpp>
#include <weir/data/detail/stat_metrics.hpp>

#endif
