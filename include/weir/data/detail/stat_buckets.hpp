// weir (BSL-1.0). stat_buckets: where a value goes in a log-linear histogram, and one thread's counts.
#ifndef WEIR_DATA_DETAIL_STAT_BUCKETS_HPP
#define WEIR_DATA_DETAIL_STAT_BUCKETS_HPP
#include <weir/data/detail/stat_latch.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

// Source:   G. Tene, HdrHistogram (2012): each power of two is cut into the same number of buckets. Here that number is half of
//           the inverse error, for what is read is the middle of a bucket.
//
// Edges (who hands what to whom):
//   E1  the owner stores any word -> who loads it sees all that the owner did before: least and most that are at least as wide
//       as any value in the buckets; and, where a recorder is cleared for another use, that its use has changed
// The sums go by stat_latch's edges.

namespace weir::inline v0 {
namespace detail {

__extension__ using stat_wide = unsigned __int128;

constexpr stat_wide wide_of(std::uint64_t high, std::uint64_t low) noexcept { return stat_wide{high} << 64 | low; }

/// Buckets for whole numbers from 0 to `highest`, and one more for all above it.
/// Values of less than 2^shift are not told apart; from 2^shift * InverseError on a bucket is at most value * 2 / InverseError
/// wide, below that 2^shift.
template <unsigned InverseError>
struct stat_layout {
    static_assert(std::has_single_bit(InverseError) && InverseError >= 4 && InverseError <= 4096,
                  "the inverse of the relative error must be a power of two from 4 to 4096");
    static constexpr unsigned bits = static_cast<unsigned>(std::countr_zero(InverseError)) - 1;  // log2(buckets per octave)

    unsigned shift;         // of the unit: 2^shift
    std::uint64_t highest;  // the last value that is in range
    std::size_t size;       // buckets; the last one holds what is above

    constexpr stat_layout(std::uint64_t lowest, std::uint64_t last) noexcept
        : shift(static_cast<unsigned>(std::bit_width(lowest)) - 1), highest(last), size(place(last) + 2) {}

    // The bucket of a value that is in range.
    [[nodiscard]] constexpr std::size_t place(std::uint64_t value) const noexcept {
        auto const units = value >> shift;
        // The low bit makes octaves of the first 2^(bits + 1) units, which have a bucket each, without a branch.
        auto const width = static_cast<unsigned>(std::bit_width(units | std::uint64_t{1} << bits));
        auto const octave = width - (bits + 1);
        return (std::size_t{octave} << bits) + static_cast<std::size_t>(units >> octave);
    }
    [[nodiscard]] constexpr std::size_t bucket(std::uint64_t value) const noexcept {
        return value <= highest ? place(value) : size - 1;
    }
    // The smallest value of a bucket. That of the last one is highest + 1.
    [[nodiscard]] constexpr std::uint64_t begin(std::size_t bucket) const noexcept {
        if (bucket == size - 1) {
            return highest == std::numeric_limits<std::uint64_t>::max() ? highest : highest + 1;
        }
        auto const octave = bucket < (std::size_t{2} << bits) ? 0 : (bucket >> bits) - 1;
        return static_cast<std::uint64_t>(bucket - (octave << bits)) << octave << shift;
    }
    // The largest value of a bucket.
    [[nodiscard]] constexpr std::uint64_t last(std::size_t bucket) const noexcept {
        if (bucket == size - 1) {
            return std::numeric_limits<std::uint64_t>::max();
        }
        return bucket == size - 2 ? highest : begin(bucket + 1) - 1;
    }
    [[nodiscard]] constexpr std::uint64_t middle(std::size_t bucket) const noexcept {
        return begin(bucket) + (last(bucket) - begin(bucket)) / 2;
    }

    friend constexpr bool operator==(stat_layout const&, stat_layout const&) noexcept = default;
};

/// What has been counted, by one thread or by all: plain numbers.
struct stat_counts {
    std::uint64_t counted = 0;      // values in the sums; at rest that in the buckets
    stat_wide sum = 0;              // of these
    std::uint64_t least = std::numeric_limits<std::uint64_t>::max();  // of all values
    std::uint64_t most = 0;
    std::uint64_t below = 0;        // values under zero, which are taken for zero
    std::vector<std::uint64_t> buckets;

    // Throws: std::bad_alloc.
    explicit stat_counts(std::size_t size) : buckets(size) {}

    void clear() noexcept {
        counted = 0;
        sum = 0;
        least = std::numeric_limits<std::uint64_t>::max();
        most = 0;
        below = 0;
        std::fill(buckets.begin(), buckets.end(), 0);
    }
    void add(stat_counts const& other) noexcept {
        counted += other.counted;
        sum += other.sum;
        least = std::min(least, other.least);
        most = std::max(most, other.most);
        below += other.below;
        for (std::size_t i = 0; i < buckets.size(); ++i) {
            buckets[i] += other.buckets[i];
        }
    }
};

/// How one thread's values spread: the buckets stand elsewhere.
class stat_spread {
public:
    /// Counts `times` values from `least` to `most` that go into one bucket. For the owner only.
    /// Progress: wait-free, one plain store, or three.
    [[gnu::always_inline]] void count(stat_word& bucket, std::uint64_t least, std::uint64_t most, std::uint64_t times) noexcept {
        if (least < own(least_)) [[unlikely]] {
            put(least_, least);
        }
        if (most > own(most_)) [[unlikely]] {
            put(most_, most);
        }
        put(bucket, own(bucket) + times);
    }
    void below(std::uint64_t times) noexcept { put(below_, own(below_) + times); }

    /// Adds what is there to `total`, but for the sums. Progress: wait-free.
    void read(stat_word const* buckets, stat_counts& total) const noexcept {
        auto* const counts = total.buckets.data();
        auto const size = total.buckets.size();
        for (std::size_t i = 0; i < size; ++i) {
            counts[i] += buckets[i].load(std::memory_order_acquire);  // E1 acquire
        }
        total.least = std::min(total.least, least_.load(std::memory_order_acquire));  // E1 acquire
        total.most = std::max(total.most, most_.load(std::memory_order_acquire));     // E1 acquire
        total.below += below_.load(std::memory_order_acquire);                        // E1 acquire
    }

    /// Forgets everything. For the owner only.
    void clear(stat_word* buckets, std::size_t size) noexcept {
        for (std::size_t i = 0; i < size; ++i) {
            put(buckets[i], 0);
        }
        put(least_, std::numeric_limits<std::uint64_t>::max());
        put(most_, 0);
        put(below_, 0);
    }

private:
    static std::uint64_t own(stat_word const& word) noexcept {
        return word.load(std::memory_order_relaxed);  // relaxed: ours
    }
    static void put(stat_word& word, std::uint64_t value) noexcept {
        word.store(value, std::memory_order_release);  // E1 release
    }

    stat_word least_{std::numeric_limits<std::uint64_t>::max()};
    stat_word most_{0};
    stat_word below_{0};
};

/// One thread's counts and their sums.
class stat_recorder {
    enum : std::size_t { counted, sum_low, sum_high, words };

public:
    /// Counts `times` values from `least` to `most` that go into one bucket and make `sum`. For the owner only.
    /// Progress: wait-free, about 8 plain stores.
    [[gnu::always_inline]] void record(stat_word& bucket, std::uint64_t least, std::uint64_t most, std::uint64_t times,
                                       stat_wide sum) noexcept {
        spread_.count(bucket, least, most, times);
        auto const more = sum + sums_.own(sum_low);
        auto const low = static_cast<std::uint64_t>(more);
        auto const carry = static_cast<std::uint64_t>(more >> 64);
        auto const count = sums_.own(counted) + times;
        if (carry == 0) [[likely]] {
            sums_.set(std::index_sequence<counted, sum_low>{}, count, low);
        } else {
            sums_.set(std::index_sequence<counted, sum_low, sum_high>{}, count, low, sums_.own(sum_high) + carry);
        }
    }
    void below(std::uint64_t times) noexcept { spread_.below(times); }

    /// Adds what is there to `total`. Progress: lock-free, see stat_latch.
    void read(stat_word const* buckets, stat_counts& total) const noexcept {
        auto const seen = sums_.read();  // first: who is in the sums is then in the buckets too
        total.counted += seen[counted];
        total.sum += wide_of(seen[sum_high], seen[sum_low]);
        spread_.read(buckets, total);
    }

    /// Forgets everything. For the owner only.
    void clear(stat_word* buckets, std::size_t size) noexcept {
        spread_.clear(buckets, size);
        sums_.set(std::index_sequence<counted, sum_low, sum_high>{}, std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{0});
    }

private:
    stat_latch<words> sums_;
    stat_spread spread_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
