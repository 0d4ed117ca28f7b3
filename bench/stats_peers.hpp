// weir (BSL-1.0). bench stats peers: one interface over weir's statistics and what others write instead of them.
#ifndef WEIR_BENCH_STATS_PEERS_HPP
#define WEIR_BENCH_STATS_PEERS_HPP
#include <weir/data/stats.hpp>

#include "harness.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif
#ifdef WEIR_BENCH_PROMETHEUS
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#endif

// A peer has
//   id, about                          its name in the tables; what it really does
// and, by what it stands for,
//   add(thread), value()               a counter
//   change(n), value()                 a gauge
//   record(thread, ns), count()        a histogram of durations
//   record(ns, bytes, failed), count() statistics of requests
//   read()                             what a reader does: a number that depends on all that was read
// `thread` is the number of the writing thread, for the peer that wants to be told.

namespace bench::stats {

using i64 = std::int64_t;

constexpr std::size_t line_size = 64;  // as this bench's peers have it, on every machine
constexpr auto relaxed = std::memory_order_relaxed;

// Counters.

struct weir_counter {
    static constexpr const char* id = ours;
    static constexpr const char* about = "weir's counter, histogram or request_stats, whichever the table is about.";
    weir::counter it;
    void add(int) { it.add(); }
    u64 value() const { return it.value(); }
    u64 read() const { return it.value(); }
};

struct atomic_counter {
    static constexpr const char* id = "atomic";
    static constexpr const char* about = "One std::atomic, fetch_add, relaxed.";
    std::atomic<u64> it{0};
    void add(int) { it.fetch_add(1, relaxed); }
    u64 value() const { return it.load(relaxed); }
    u64 read() const { return value(); }
};

struct alignas(line_size) padded_atomic {
    std::atomic<u64> it{0};
};

/// 64 atomics, each on a cache line of its own. Place says which one a thread adds to.
template <class Place>
struct striped_counter : Place {
    std::array<padded_atomic, 64> stripes;
    void add(int) { stripes[Place::here() % stripes.size()].it.fetch_add(1, relaxed); }
    u64 value() const {
        u64 sum = 0;
        for (const padded_atomic& s : stripes) {
            sum += s.it.load(relaxed);
        }
        return sum;
    }
    u64 read() const { return value(); }
};
struct by_slot {
    static constexpr const char* id = "striped_slot";
    static constexpr const char* about =
        "64 padded std::atomics, fetch_add on that of the thread's slot (a number no other live thread has).";
    static std::size_t here() { return weir::detail::this_thread_slot(); }
};
#ifdef __linux__
struct by_cpu {
    static constexpr const char* id = "striped_cpu";
    static constexpr const char* about = "64 padded std::atomics, fetch_add on that of sched_getcpu().";
    static std::size_t here() { return static_cast<std::size_t>(sched_getcpu()); }
};
#endif

struct mutex_counter {
    static constexpr const char* id = "mutex";
    static constexpr const char* about = "A std::mutex and what it guards: a number, some sums, or log-linear buckets.";
    mutable std::mutex lock;
    u64 it = 0;
    void add(int) {
        const std::lock_guard hold(lock);
        ++it;
    }
    u64 value() const {
        const std::lock_guard hold(lock);
        return it;
    }
    u64 read() const { return value(); }
};

#ifdef WEIR_BENCH_PROMETHEUS
struct prometheus_counter {
    static constexpr const char* id = "prometheus";
    static constexpr const char* about =
        "prometheus-cpp: Counter::Increment, Gauge::Increment and Decrement, Histogram::Observe with 11 buckets; for "
        "requests three counters and a histogram. Read by Value, or by Collect where there are buckets.";
    prometheus::Counter it;
    void add(int) { it.Increment(); }
    u64 value() const { return static_cast<u64>(it.Value()); }
    u64 read() const { return value(); }
};
#endif

// Gauges.

struct weir_gauge {
    static constexpr const char* id = ours;
    weir::gauge it;
    void change(i64 n) { it.add(n); }
    i64 value() const { return it.value(); }
};
struct atomic_gauge {
    static constexpr const char* id = "atomic";
    std::atomic<i64> it{0};
    void change(i64 n) { it.fetch_add(n, relaxed); }
    i64 value() const { return it.load(relaxed); }
};
struct mutex_gauge {
    static constexpr const char* id = "mutex";
    std::mutex lock;
    i64 it = 0;
    void change(i64 n) {
        const std::lock_guard hold(lock);
        it += n;
    }
    i64 value() const { return it; }
};
#ifdef WEIR_BENCH_PROMETHEUS
struct prometheus_gauge {
    static constexpr const char* id = "prometheus";
    prometheus::Gauge it;
    void change(i64 n) {
        if (n > 0) {
            it.Increment();
        } else {
            it.Decrement();
        }
    }
    i64 value() const { return static_cast<i64>(it.Value()); }
};
#endif

// Histograms. All log-linear ones have the same buckets for the same InverseError.

template <unsigned InverseError>
struct range {
    std::chrono::nanoseconds highest;
    weir::detail::stat_layout<InverseError> layout{1, static_cast<u64>(highest.count())};
};
/// To within 1/64 up to an hour, and what makes 4096 buckets: to within 1/256 up to 274 s.
inline const range<64> fine{std::chrono::hours{1}};
inline const range<256> finest{std::chrono::nanoseconds{(i64{255} << 30U) - 1}};

template <unsigned InverseError>
struct weir_histogram {
    static constexpr const char* id = ours;
    explicit weir_histogram(const range<InverseError>& r) : it({.highest = r.highest}) {}
    weir::histogram<std::chrono::nanoseconds, InverseError> it;
    void record(int, i64 ns) { it.record(std::chrono::nanoseconds{ns}); }
    u64 count() const { return it.snapshot().count(); }
    u64 read() const { return it.snapshot().count(); }
};

template <unsigned InverseError>
struct log_linear_atomic {
    static constexpr const char* id = "log_linear_atomic";
    static constexpr const char* about =
        "What hdr_record_value_atomic of HdrHistogram_c does: a bucket and the count by fetch_add, least and most by "
        "compare-exchange; no sum. weir's buckets, shared by all threads.";
    explicit log_linear_atomic(const range<InverseError>& r) : layout(r.layout), buckets(layout.size) {}

    void record(int, i64 ns) {
        const u64 v = static_cast<u64>(ns);
        buckets[layout.bucket(v)].fetch_add(1, relaxed);
        counted.fetch_add(1, relaxed);
        for (u64 seen = least.load(relaxed); v < seen && !least.compare_exchange_weak(seen, v, relaxed);) {
        }
        for (u64 seen = most.load(relaxed); v > seen && !most.compare_exchange_weak(seen, v, relaxed);) {
        }
    }
    u64 count() const { return counted.load(relaxed); }
    u64 read() const {
        std::vector<u64> copy(buckets.size());
        u64 sum = 0;
        for (std::size_t i = 0; i != copy.size(); ++i) {
            copy[i] = buckets[i].load(relaxed);
            sum += copy[i];
        }
        return sum + least.load(relaxed) + most.load(relaxed);
    }

    weir::detail::stat_layout<InverseError> layout;
    std::vector<std::atomic<u64>> buckets;
    std::atomic<u64> counted{0};
    std::atomic<u64> least{std::numeric_limits<u64>::max()};
    std::atomic<u64> most{0};
};

template <unsigned InverseError>
struct log_linear_mutex {
    static constexpr const char* id = "log_linear_mutex";
    static constexpr const char* about = "A std::mutex around log-linear buckets, their count and sum, least and most.";
    explicit log_linear_mutex(const range<InverseError>& r) : layout(r.layout), buckets(layout.size) {}

    void record(int, i64 ns) {
        const u64 v = static_cast<u64>(ns);
        const std::size_t bucket = layout.bucket(v);
        const std::lock_guard hold(lock);
        ++buckets[bucket];
        ++counted;
        sum += v;
        least = std::min(least, v);
        most = std::max(most, v);
    }
    u64 count() const {
        const std::lock_guard hold(lock);
        return counted;
    }
    u64 read() const {
        std::vector<u64> copy(buckets.size());
        u64 all = 0;
        {
            const std::lock_guard hold(lock);
            copy = buckets;
            all = sum + least + most;
        }
        for (const u64 n : copy) {
            all += n;
        }
        return all;
    }

    weir::detail::stat_layout<InverseError> layout;
    mutable std::mutex lock;
    std::vector<u64> buckets;
    u64 counted = 0;
    u64 sum = 0;
    u64 least = std::numeric_limits<u64>::max();
    u64 most = 0;
};

template <unsigned InverseError>
struct log_linear_per_thread {
    static constexpr const char* id = "log_linear_per_thread";
    static constexpr const char* about =
        "Log-linear buckets for each thread, made before and handed to it, written by plain loads and stores: bucket, "
        "count, sum, least, most. Nobody has to find them, and no sum is read whole.";
    explicit log_linear_per_thread(const range<InverseError>& r) : layout(r.layout) {
        for (part& p : parts) {
            p.buckets = std::vector<std::atomic<u64>>(layout.size);
        }
    }

    void record(int thread, i64 ns) {
        const u64 v = static_cast<u64>(ns);
        part& p = parts[static_cast<std::size_t>(thread)];
        add(p.buckets[layout.bucket(v)], 1);
        add(p.counted, 1);
        add(p.sum, v);
        if (v < p.least.load(relaxed)) {
            p.least.store(v, relaxed);
        }
        if (v > p.most.load(relaxed)) {
            p.most.store(v, relaxed);
        }
    }
    u64 count() const {
        u64 all = 0;
        for (const part& p : parts) {
            all += p.counted.load(relaxed);
        }
        return all;
    }

private:
    static void add(std::atomic<u64>& word, u64 n) { word.store(word.load(relaxed) + n, relaxed); }
    struct alignas(line_size) part {
        std::vector<std::atomic<u64>> buckets;
        std::atomic<u64> counted{0};
        std::atomic<u64> sum{0};
        std::atomic<u64> least{std::numeric_limits<u64>::max()};
        std::atomic<u64> most{0};
    };
    weir::detail::stat_layout<InverseError> layout;
    std::array<part, 8> parts;
};

#ifdef WEIR_BENCH_PROMETHEUS
inline double in_seconds(i64 ns) { return static_cast<double>(ns) * 1e-9; }

template <unsigned InverseError>
struct prometheus_histogram {
    static constexpr const char* id = prometheus_counter::id;
    // Bounds as a user sets them who expects 100 us, 11 as in the clients' defaults.
    prometheus_histogram() : it({1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2}) {}
    explicit prometheus_histogram(const range<InverseError>&) : prometheus_histogram() {}
    prometheus::Histogram it;
    void record(int, i64 ns) { it.Observe(in_seconds(ns)); }
    u64 count() const { return it.Collect().histogram.sample_count; }
    u64 read() const { return count(); }
};
#endif

// Requests.

struct weir_requests {
    static constexpr const char* id = ours;
    weir::request_stats<> it;
    void record(i64 ns, u64 bytes, bool failed) {
        it.record(std::chrono::nanoseconds{ns}, bytes,
                  failed ? weir::request_outcome::error : weir::request_outcome::success);
    }
    u64 count() const { return it.snapshot().requests; }
    u64 read() const {
        const auto s = it.snapshot();
        return s.requests + s.errors + s.success.count();
    }
};

struct two_atomics {
    static constexpr const char* id = "two_atomics";
    static constexpr const char* about = "Two std::atomics on one cache line, requests and their time: an average.";
    alignas(line_size) std::atomic<u64> counted{0};
    std::atomic<u64> time{0};
    void record(i64 ns, u64, bool) {
        counted.fetch_add(1, relaxed);
        time.fetch_add(static_cast<u64>(ns), relaxed);
    }
    u64 count() const { return counted.load(relaxed); }
    u64 read() const { return count() + time.load(relaxed); }
};

struct four_atomics {
    static constexpr const char* id = "four_atomics";
    static constexpr const char* about =
        "Four std::atomics on one cache line: requests, errors, time, bytes. No distribution; a reader may mix "
        "requests.";
    alignas(line_size) std::atomic<u64> counted{0};
    std::atomic<u64> errors{0};
    std::atomic<u64> time{0};
    std::atomic<u64> moved{0};
    void record(i64 ns, u64 bytes, bool failed) {
        counted.fetch_add(1, relaxed);
        if (failed) {
            errors.fetch_add(1, relaxed);
        }
        time.fetch_add(static_cast<u64>(ns), relaxed);
        moved.fetch_add(bytes, relaxed);
    }
    u64 count() const { return counted.load(relaxed); }
    u64 read() const { return count() + errors.load(relaxed) + time.load(relaxed) + moved.load(relaxed); }
};

struct mutex_requests {
    static constexpr const char* id = "mutex";
    struct sums {
        u64 counted = 0;
        u64 errors = 0;
        u64 time = 0;
        u64 moved = 0;
    };
    mutable std::mutex lock;
    sums it;
    void record(i64 ns, u64 bytes, bool failed) {
        const std::lock_guard hold(lock);
        ++it.counted;
        it.errors += failed ? 1U : 0U;
        it.time += static_cast<u64>(ns);
        it.moved += bytes;
    }
    sums copy() const {
        const std::lock_guard hold(lock);
        return it;
    }
    u64 count() const { return copy().counted; }
    u64 read() const {
        const sums s = copy();
        return s.counted + s.errors + s.time + s.moved;
    }
};

/// All that weir's request_stats knows, under a mutex.
struct mutex_histogram {
    static constexpr const char* id = "mutex_histogram";
    static constexpr const char* about =
        "A std::mutex around the four sums and log-linear buckets for each outcome: all that weir's row knows.";
    static constexpr weir::detail::stat_layout<32> layout{1, 3'600'000'000'000};
    mutable std::mutex lock;
    mutex_requests::sums it;
    std::array<std::vector<u64>, 2> buckets{std::vector<u64>(layout.size), std::vector<u64>(layout.size)};
    void record(i64 ns, u64 bytes, bool failed) {
        const std::size_t bucket = layout.bucket(static_cast<u64>(ns));
        const std::lock_guard hold(lock);
        ++it.counted;
        it.errors += failed ? 1U : 0U;
        it.time += static_cast<u64>(ns);
        it.moved += bytes;
        ++buckets[failed ? 1 : 0][bucket];
    }
    u64 count() const {
        const std::lock_guard hold(lock);
        return it.counted;
    }
    u64 read() const {
        mutex_requests::sums sums;
        std::array<std::vector<u64>, 2> copy{std::vector<u64>(layout.size), std::vector<u64>(layout.size)};
        {
            const std::lock_guard hold(lock);
            sums = it;
            copy = buckets;
        }
        u64 all = sums.counted + sums.errors + sums.time + sums.moved;
        for (const u64 n : copy[0]) {
            all += n;
        }
        return all;
    }
};

#ifdef WEIR_BENCH_PROMETHEUS
struct prometheus_requests {
    static constexpr const char* id = prometheus_counter::id;
    prometheus::Counter counted;
    prometheus::Counter errors;
    prometheus::Counter moved;
    prometheus_histogram<32> times;
    void record(i64 ns, u64 bytes, bool failed) {
        counted.Increment();
        if (failed) {
            errors.Increment();
        }
        moved.Increment(static_cast<double>(bytes));
        times.record(0, ns);
    }
    u64 count() const { return static_cast<u64>(counted.Value()); }
    u64 read() const { return count() + static_cast<u64>(errors.Value() + moved.Value()) + times.read(); }
};
#endif

template <class F>
void for_each_counter(F f) {
    f.template operator()<weir_counter>();
    f.template operator()<atomic_counter>();
    f.template operator()<striped_counter<by_slot>>();
#ifdef __linux__
    f.template operator()<striped_counter<by_cpu>>();
#endif
    f.template operator()<mutex_counter>();
#ifdef WEIR_BENCH_PROMETHEUS
    f.template operator()<prometheus_counter>();
#endif
}
template <class F>
void for_each_gauge(F f) {
    f.template operator()<weir_gauge>();
    f.template operator()<atomic_gauge>();
    f.template operator()<mutex_gauge>();
#ifdef WEIR_BENCH_PROMETHEUS
    f.template operator()<prometheus_gauge>();
#endif
}
template <unsigned InverseError, class F>
void for_each_histogram(F f) {
    f.template operator()<weir_histogram<InverseError>>();
    f.template operator()<log_linear_atomic<InverseError>>();
    f.template operator()<log_linear_mutex<InverseError>>();
    if constexpr (InverseError == 64) {
#ifdef WEIR_BENCH_PROMETHEUS
        f.template operator()<prometheus_histogram<InverseError>>();
#endif
    }
}
template <class F>
void for_each_requests(F f) {
    f.template operator()<weir_requests>();
    f.template operator()<two_atomics>();
    f.template operator()<four_atomics>();
    f.template operator()<mutex_requests>();
    f.template operator()<mutex_histogram>();
#ifdef WEIR_BENCH_PROMETHEUS
    f.template operator()<prometheus_requests>();
#endif
}

}  // namespace bench::stats
#endif
