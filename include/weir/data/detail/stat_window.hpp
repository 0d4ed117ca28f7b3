// weir (BSL-1.0). stat_window: the last slices of time, each forgotten as a whole.
#ifndef WEIR_DATA_DETAIL_STAT_WINDOW_HPP
#define WEIR_DATA_DETAIL_STAT_WINDOW_HPP
#include <weir/base/clock.hpp>
#include <weir/data/detail/stat_buckets.hpp>
#include <weir/data/detail/stat_lanes.hpp>
#include <weir/data/detail/stat_shards.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <utility>

// Time is cut into slices, numbered from 1 for the one in which the object was made. Each thread's block has a ring of
// slices + 1 of them: the thread that writes first in a slice clears the oldest of its ring and puts the new number on it.
// A reader takes the slices that carry one of the last `slices` numbers, the running one among them. The one slice more is for
// readers that are slow: what they read is not cleared before the slice after the next begins.
// The number never falls back, for no thread, also when the clock does: all follow the highest that any has seen.
//
// Invariant: what a slice holds was recorded while its number was the highest, or by a thread stopped since then.
//
// Edges (who hands what to whom):
//   E1  the owner takes the number off a slice, then stores in it -> who loads that sees, when it looks again, that the number
//       has changed. In a histogram each store releases and each load acquires by the edges of stat_buckets and stat_latch
//   E2  the owner puts the new number on a slice                 -> who reads that number reads nothing older than it

namespace weir::inline v0 {
namespace detail {

/// The clock, and the highest slice that any thread has seen.
template <class Clock>
class stat_window {
    using time_point = time_point_of<Clock>;

public:
    // Throws: std::invalid_argument.
    stat_window(std::chrono::nanoseconds window, std::size_t slices, Clock clock)
        : slices_(slices), clock_(std::move(clock)), start_(clock_.now()) {
        if (slices < 1 || slices > 3600) {
            throw std::invalid_argument{"weir::windowed: slices must be in [1, 3600]"};
        }
        auto const count = static_cast<std::int64_t>(slices);
        if (window.count() < count) {
            throw std::invalid_argument{"weir::windowed: window must be at least 1 ns a slice"};
        }
        length_ = window / count + std::chrono::nanoseconds{window.count() % count == 0 ? 0 : 1};
    }

    /// Slices of a ring.
    [[nodiscard]] std::size_t ring() const noexcept { return slices_ + 1; }
    [[nodiscard]] std::uint64_t slices() const noexcept { return slices_; }

    /// The number of the slice of this moment, or the highest that any thread has seen.
    /// Progress: wait-free, but lock-free for the first threads that see a new slice.
    [[nodiscard]] std::uint64_t advance() noexcept {
        auto const number = running();
        auto seen = highest_.load(std::memory_order_relaxed);  // relaxed: a number, publishes nothing
        while (seen < number) {
            if (highest_.compare_exchange_weak(seen, number, std::memory_order_relaxed)) {  // relaxed: as above
                return number;
            }
        }
        return seen;
    }
    [[nodiscard]] std::uint64_t latest() const noexcept {
        return std::max(running(), highest_.load(std::memory_order_relaxed));  // relaxed: as above
    }

private:
    [[nodiscard]] std::uint64_t running() const noexcept {
        auto const past = saturating_between(start_, clock_.now());
        return past < length_ ? 1 : 1 + static_cast<std::uint64_t>(past / length_);
    }

    std::size_t slices_;
    std::chrono::nanoseconds length_{};  // of a slice
    [[no_unique_address]] Clock clock_;
    time_point start_;
    stat_word highest_{1};  // any thread that writes
};

/// The number on a slice.
class stat_slice {
public:
    /// Makes the slice that of `number`, for which it is cleared if it was an older one's. It stays a newer one's: the thread
    /// that comes with `number` has then been stopped for a whole round. For the owner only.
    template <class Clear>
    void enter(std::uint64_t number, Clear clear) noexcept {
        if (number_.load(std::memory_order_relaxed) < number) [[unlikely]] {  // relaxed: ours
            number_.store(0, std::memory_order_relaxed);                       // relaxed: the stores of clear() release it
            clear();
            number_.store(number, std::memory_order_release);  // E2 release
        }
    }
    /// read() if the slice's number is one of (end - slices, end]; again if it has become another's meanwhile.
    /// True if what the last read() saw is to be taken. Progress: lock-free.
    template <class Read>
    [[nodiscard]] bool read(std::uint64_t end, std::uint64_t slices, Read read) const {
        for (;;) {
            auto const number = number_.load(std::memory_order_acquire);  // E2 acquire
            if (number == 0 || number > end || number + slices <= end) {
                return false;
            }
            read();
            if (number_.load(std::memory_order_relaxed) == number) {  // relaxed: after the loads of read(), which acquire
                return true;
            }
        }
    }

private:
    stat_word number_{0};
};

/// A slice of a counter.
class counter_slice : public stat_slice {
public:
    /// For the owner only.
    void add(std::uint64_t n) noexcept { put(count_.load(std::memory_order_relaxed) + n); }  // relaxed: ours
    void clear() noexcept { put(0); }
    [[nodiscard]] std::uint64_t count() const noexcept {
        return count_.load(std::memory_order_acquire);  // E1 acquire
    }

private:
    void put(std::uint64_t n) noexcept {
        count_.store(n, std::memory_order_release);  // E1 release
    }
    stat_word count_{0};
};

/// A slice of a histogram. Its buckets follow it in memory.
struct histogram_slice : stat_slice {
    stat_recorder recorder;
};

/// One thread's ring of slices, which follow it in memory, each with `buckets` words behind it.
template <class Slice>
struct window_block : stat_block {
    static constexpr std::size_t words_for(std::size_t buckets) noexcept { return sizeof(Slice) / sizeof(stat_word) + buckets; }

    [[nodiscard]] static window_block* make(std::size_t ring, std::size_t buckets) noexcept {
        auto* const block = make_stat_block<window_block>(ring * words_for(buckets));
        for (std::size_t i = 0; block != nullptr && i < ring; ++i) {
            ::new (static_cast<void*>(tail_of(block) + i * words_for(buckets))) Slice;
        }
        return block;
    }
    [[nodiscard]] Slice& slice(std::size_t i, std::size_t buckets) noexcept {
        return *std::launder(reinterpret_cast<Slice*>(tail_of(this) + i * words_for(buckets)));
    }
    [[nodiscard]] Slice const& slice(std::size_t i, std::size_t buckets) const noexcept {
        return const_cast<window_block*>(this)->slice(i, buckets);
    }
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
