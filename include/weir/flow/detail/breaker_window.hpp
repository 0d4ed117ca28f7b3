// weir (BSL-1.0). breaker_window: how many of the last calls have failed or were slow.
#ifndef WEIR_FLOW_DETAIL_BREAKER_WINDOW_HPP
#define WEIR_FLOW_DETAIL_BREAKER_WINDOW_HPP
#include <weir/base/detail/cache_line.hpp>
#include <weir/base/detail/stripe.hpp>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

// Everything here belongs to a generation of the breaker's word, and is void in the next one: nothing is ever cleared. Which of
// two generations is the newer one can be said as long as they are less than 2^15 apart.
//
// The last N calls: a ring of N words, generation:16 | outcome:2, and their sums in one word, generation:16 | total:16 |
// failed:16 | slow:16. A call takes the next place in the ring, exchanges what is there, and adds the difference to the sums.
// Invariant: the sums are those of the places that carry their generation, but for calls between exchange and addition. What
//            such calls still have to add may be missing where others subtract it, so each sum has a bias.
// For that, who takes the place of a newer call begins its generation too, and each transition does so (enter): the sums' generation
// is never far behind.
// Known limit: a place that nobody has taken for exactly k * 2^16 generations is subtracted once more.
//
// The calls of the last B buckets of time: for each of 16 stripes of threads a ring of B words, or more, to the next power of two,
// tick:22 | total:14 | failed:14 | slow:14. The tick is the number of the bucket of time, plus B + 1 for each generation: so calls of an earlier generation are
// out of the window from the start. A word of an older tick is overwritten. Before a sum would overflow all three are halved.
// Known limits: a thread that comes with a tick while others are a bucket ahead loses its call; a word that nobody has touched for
// exactly k * 2^22 ticks counts once more, and one that was left a little less long ago takes no calls until that time has come.
//
// Accesses are relaxed: every word stands for itself, and nothing else is read because of it. Only to record and to sum up calls
// of buckets is seq_cst, for whoever records a call and then looks at something else, see breaker_mode.hpp.

namespace weir::inline v0 {
namespace detail {

struct call_totals {
    std::uint32_t total = 0;
    std::uint32_t failed = 0;
    std::uint32_t slow = 0;
};

/// The last calls, exactly.
/// Progress: lock-free.
class last_calls {
    static constexpr std::uint64_t bias = std::uint64_t{1} << 14;
    static constexpr std::uint64_t none = bias << 32 | bias << 16 | bias;

public:
    static constexpr std::size_t most = 1U << 13;

    explicit last_calls(std::size_t size)
        : places_(std::make_unique<std::atomic<std::uint32_t>[]>(size)), size_(size) {}

    /// Forgets the calls of earlier generations.
    void enter(std::uint16_t generation) noexcept {
        auto const none_yet = empty(generation);
        auto seen = sums_.load(std::memory_order_relaxed);  // relaxed: see above
        while (newer(generation, seen)) {
            if (sums_.compare_exchange_weak(seen, none_yet, std::memory_order_relaxed)) {  // relaxed: see above
                return;
            }
        }
    }

    /// Records a call and returns the sums with it: none if a newer generation has begun.
    call_totals record(std::uint16_t generation, bool failed, bool slow) noexcept {
        auto const mine = std::uint32_t{generation} << 16 | 4U | (failed ? 2U : 0U) | (slow ? 1U : 0U);
        auto const place = next_.fetch_add(1, std::memory_order_relaxed) % size_;   // relaxed: see above
        auto const old = places_[place].exchange(mine, std::memory_order_relaxed);  // relaxed: see above
        auto const replaced = static_cast<std::uint16_t>(old >> 16);
        bool const replaced_newer = (old & 4U) != 0 && static_cast<std::uint16_t>(replaced - generation - 1U) < late_by;
        auto seen = sums_.load(std::memory_order_relaxed);  // relaxed: see above
        for (;;) {
            auto now = newer(generation, seen) ? empty(generation) : seen;
            if (replaced_newer && newer(replaced, now)) {
                now = empty(replaced);  // that call is still to be added, and is taken away here
            }
            if (generation_of(now) == generation) {
                now += weight(mine);
            }
            if ((old & 4U) != 0 && generation_of(now) == replaced) {
                now -= weight(old);
            }
            if (sums_.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {  // relaxed: see above
                return generation_of(now) == generation ? totals(now) : call_totals{};
            }
        }
    }

    [[nodiscard]] call_totals read(std::uint16_t generation) const noexcept {
        auto const now = sums_.load(std::memory_order_relaxed);  // relaxed: see above
        return generation_of(now) == generation ? totals(now) : call_totals{};
    }

private:
    static constexpr unsigned late_by =
        1U << 10;  // generations that a call can be late; more: what it replaces is an old one

    static std::uint16_t generation_of(std::uint64_t sums) noexcept { return static_cast<std::uint16_t>(sums >> 48); }
    static std::uint64_t empty(std::uint16_t generation) noexcept { return std::uint64_t{generation} << 48 | none; }
    static bool newer(std::uint16_t generation, std::uint64_t sums) noexcept {
        return static_cast<std::int16_t>(static_cast<std::uint16_t>(generation - generation_of(sums))) > 0;
    }
    static std::uint64_t weight(std::uint32_t place) noexcept {
        return std::uint64_t{1} << 32 | std::uint64_t{place >> 1 & 1U} << 16 | (place & 1U);
    }
    static call_totals totals(std::uint64_t sums) noexcept {
        auto const field = [sums](unsigned shift) {
            auto const value = sums >> shift & 0xffff;
            return static_cast<std::uint32_t>(value < bias ? 0 : value - bias);
        };
        return {field(32), field(16), field(0)};
    }

    std::unique_ptr<std::atomic<std::uint32_t>[]> places_;  // any thread
    std::size_t size_;
    alignas(destructive_size) std::atomic<std::uint64_t> next_{0};  // any thread
    std::atomic<std::uint64_t> sums_{none};                         // any thread
};

/// The calls of the last buckets of time.
/// Progress: lock-free.
class recent_calls {
    static constexpr std::size_t stripes = 16;
    static constexpr unsigned tick_bits = 22;
    static constexpr std::uint32_t tick_mask = (1U << tick_bits) - 1;
    static constexpr std::uint64_t count_max = (1U << 14) - 1;

public:
    explicit recent_calls(std::size_t buckets)
        : buckets_(buckets),
          places_(std::bit_ceil(buckets)),
          far_(8 * static_cast<std::uint32_t>(buckets + 1)),
          lines_((places_ + line::words - 1) / line::words),
          words_(std::make_unique<line[]>(lines_ * stripes)) {}

    /// Calls that are counted exactly, or found to be at least as many.
    static constexpr std::uint32_t exact = 1U << 13;

    /// Records a call in bucket `bucket` of time.
    void record(std::uint16_t generation, std::uint64_t bucket, bool failed, bool slow) noexcept {
        auto const turn = turn_of(generation, bucket);
        auto const tick = static_cast<std::uint32_t>(turn) & tick_mask;
        auto& w = at(this_thread_slot() % stripes, turn & (places_ - 1));
        auto seen = w.load(std::memory_order_relaxed);  // relaxed: see above
        for (;;) {
            auto const ahead = (static_cast<std::uint32_t>(seen >> 42) - tick) & tick_mask;
            if (ahead != 0 && ahead < far_) {
                return;  // others are in a later round already
            }
            auto now = ahead == 0 ? seen : std::uint64_t{tick} << 42;
            if ((now >> 28 & count_max) == count_max) {
                now = (now & ~((std::uint64_t{1} << 42) - 1)) | (now >> 29 & (count_max >> 1)) << 28 |
                      (now >> 15 & (count_max >> 1)) << 14 | (now >> 1 & (count_max >> 1));
            }
            now += std::uint64_t{1} << 28 | std::uint64_t{failed} << 14 | std::uint64_t{slow};
            if (w.compare_exchange_weak(seen, now, std::memory_order_seq_cst,
                                        std::memory_order_relaxed)) {  // relaxed: see above
                return;
            }
        }
    }

    /// Cost: stripes * buckets loads.
    [[nodiscard]] call_totals read(std::uint16_t generation, std::uint64_t bucket) const noexcept {
        auto const turn = turn_of(generation, bucket);
        auto const tick = static_cast<std::uint32_t>(turn) & tick_mask;
        call_totals sum;
        for (std::size_t stripe = 0; stripe < stripes; ++stripe) {
            for (std::size_t i = 0; i < buckets_; ++i) {
                auto const seen = at(stripe, (turn - i) & (places_ - 1)).load();
                if (((tick - static_cast<std::uint32_t>(seen >> 42)) & tick_mask) < buckets_) {
                    sum.total += static_cast<std::uint32_t>(seen >> 28 & count_max);
                    sum.failed += static_cast<std::uint32_t>(seen >> 14 & count_max);
                    sum.slow += static_cast<std::uint32_t>(seen & count_max);
                }
            }
        }
        return sum;
    }

private:
    struct alignas(destructive_size) line {
        static constexpr std::size_t words = destructive_size / sizeof(std::uint64_t);
        std::atomic<std::uint64_t> word[words]{};
    };

    // The number that a bucket of time has in this generation. From buckets_ on, so that the words' first tick, 0, is out of the
    // window.
    [[nodiscard]] std::uint64_t turn_of(std::uint16_t generation, std::uint64_t bucket) const noexcept {
        return bucket + buckets_ + std::uint64_t{generation} * (buckets_ + 1);
    }
    [[nodiscard]] std::atomic<std::uint64_t>& at(std::size_t stripe, std::size_t i) const noexcept {
        return words_[stripe * lines_ + i / line::words].word[i % line::words];
    }

    std::size_t buckets_;
    std::size_t places_;             // of a ring
    std::uint32_t far_;              // ticks that threads can be apart; more: the word is an old one
    std::size_t lines_;              // of a stripe
    std::unique_ptr<line[]> words_;  // any thread
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
