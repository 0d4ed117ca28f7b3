// weir (BSL-1.0). stat_requests: what one thread, or all, have recorded of requests.
#ifndef WEIR_DATA_DETAIL_STAT_REQUESTS_HPP
#define WEIR_DATA_DETAIL_STAT_REQUESTS_HPP
#include <weir/data/detail/stat_buckets.hpp>
#include <weir/data/detail/stat_latch.hpp>
#include <weir/data/detail/stat_shards.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

// The numbers of a request stand in one latch, so that a reader has all of a request or nothing of it; how the durations spread
// stands beside it, for each outcome, and may be some requests ahead of the latch while it is read.
//
// Edges (who hands what to whom):
//   E1  a thread counts the end of a request -> who reads that count sees that the request has begun

namespace weir::inline v0 {
namespace detail {

/// Sums over requests: of one moment, for each thread.
struct request_sums {
    std::uint64_t requests = 0;
    std::uint64_t errors = 0;
    stat_wide bytes = 0;
    stat_wide ticks = 0;
    stat_wide error_ticks = 0;  // of these
};

/// One thread's part. Two arrays of buckets follow it in memory: successes, then errors.
class request_block : public stat_block {
    enum : std::size_t {
        requests,
        bytes_low,
        ticks_low,
        bytes_high,
        ticks_high,
        errors,
        error_ticks_low,
        error_ticks_high,
        words,
    };

public:
    stat_spread spreads[2];  // by outcome

    /// Progress: wait-free. For the owner only.
    [[gnu::always_inline]] void record(std::uint64_t ticks, std::uint64_t bytes, bool error) noexcept {
        auto const b = stat_wide{sums_.own(bytes_low)} + bytes;
        auto const t = stat_wide{sums_.own(ticks_low)} + ticks;
        auto const count = sums_.own(requests) + 1;
        if (!error && high(b) == 0 && high(t) == 0) [[likely]] {
            sums_.set(std::index_sequence<requests, bytes_low, ticks_low>{}, count, low(b), low(t));
        } else {
            record_all(count, b, t, error ? ticks : 0, error ? 1 : 0);
        }
    }
    void start() noexcept {
        started_.store(started_.load(std::memory_order_relaxed) + 1,  // relaxed: ours
                       std::memory_order_relaxed);                    // relaxed: finish() publishes it
    }
    void finish() noexcept {
        finished_.store(finished_.load(std::memory_order_relaxed) + 1,  // relaxed: ours
                        std::memory_order_release);                     // E1 release
    }

    /// Progress: lock-free, see stat_latch.
    void read(request_sums& total) const noexcept {
        auto const seen = sums_.read();
        total.requests += seen[requests];
        total.errors += seen[errors];
        total.bytes += wide_of(seen[bytes_high], seen[bytes_low]);
        total.ticks += wide_of(seen[ticks_high], seen[ticks_low]);
        total.error_ticks += wide_of(seen[error_ticks_high], seen[error_ticks_low]);
    }
    [[nodiscard]] std::uint64_t finished() const noexcept {
        return finished_.load(std::memory_order_acquire);  // E1 acquire
    }
    // To be read after all ends, or there may be fewer.
    [[nodiscard]] std::uint64_t started() const noexcept {
        return started_.load(std::memory_order_relaxed);  // relaxed: E1
    }

private:
    static std::uint64_t low(stat_wide w) noexcept { return static_cast<std::uint64_t>(w); }
    static std::uint64_t high(stat_wide w) noexcept { return static_cast<std::uint64_t>(w >> 64); }

    [[gnu::noinline]] void record_all(std::uint64_t count, stat_wide b, stat_wide t, std::uint64_t error_ticks,
                                      std::uint64_t error) noexcept {
        auto const e = stat_wide{sums_.own(error_ticks_low)} + error_ticks;
        sums_.set(std::make_index_sequence<words>{}, count, low(b), low(t), sums_.own(bytes_high) + high(b),
                  sums_.own(ticks_high) + high(t), sums_.own(errors) + error, low(e), sums_.own(error_ticks_high) + high(e));
    }

    stat_latch<words> sums_;
    stat_word started_{0};
    stat_word finished_{0};
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
