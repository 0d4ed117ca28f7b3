// weir (BSL-1.0). dedup_set: a few marks that expire, in one line of words behind a latch that readers need not take.
#ifndef WEIR_DATA_DETAIL_DEDUP_SET_HPP
#define WEIR_DATA_DETAIL_DEDUP_SET_HPP
#include <weir/base/detail/backoff.hpp>
#include <weir/base/detail/cache_line.hpp>
#include <weir/base/detail/entropy.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

// Source:   sequence locks, with the orders of H. Boehm, "Can seqlocks get along with programming language memory models?",
//           MSPC 2012: the words are atomics, read by acquire and set by release.
//
// A mark is one word, fingerprint:32 | expiry:32; 0: a free place. Times are ms, 40 bits, see dedup_moment.
// The head of a set is time:40 | version:24: when a thread last had the latch, and, odd, that one has it now.
//
// Invariant: between two holders of the latch, every mark of the set expires in (time, time + span], span < 2^32. So the low half of
//         an expiry is enough, however long ago that was: who holds the latch forgets what has expired before it sets the time, and
//         who does not, counts from the time that is there.
// Invariant: a key has at most one mark in its set. Only the holder of the latch makes one, after it has found none.
// Hence exactly one of several threads that mark a key at once is the first: each of them that was not told `duplicate` by a mark
// that was there takes the latch, and they do so one after another.
//
// Edges (who hands what to whom):
//   E1  unlock hands the words over                     -> the next lock, or begin, of another thread
//   E2  who holds the latch sets a word -> who reads it without the latch sees that the latch was taken
// Known limit: a reader that is suspended while its set is changed 2^23 times within one ms of the clock takes the two for one.

namespace weir::inline v0 {

/// What a dedup_cache says of a key.
enum class dedup_answer : unsigned char {
    fresh,      // not seen for as long as keys are remembered; it is marked now
    duplicate,
    refused,    // it would be fresh, but there is no place (dedup_full::refuse_new)
};

/// What happens to a new key if all the places that it could have are taken by keys that are not to be forgotten yet.
enum class dedup_full : unsigned char {
    evict_oldest,  // the one that would be forgotten first goes at once: a duplicate of it may pass
    refuse_new,    // the new key is not taken for one
};

namespace detail {

// What the clock said, in ms, rounded down and up.
struct dedup_moment {
    static constexpr std::int64_t zero = std::int64_t{1} << 39;   // when the cache was made; there are 17 years before and after it
    static constexpr std::int64_t far = zero - 1;

    std::int64_t now;
    std::int64_t next;

    [[nodiscard]] static constexpr dedup_moment at(std::int64_t ns) noexcept {
        constexpr std::int64_t ms = 1'000'000;
        auto const whole = ns / ms - (ns % ms < 0 ? 1 : 0);
        auto const kept = std::clamp(whole, -far, far);
        return {zero + kept, zero + kept + (kept == whole && ns % ms != 0 ? 1 : 0)};
    }
};

class dedup_head {
    static constexpr unsigned version_bits = 24;
    static constexpr std::uint64_t version_mask = (std::uint64_t{1} << version_bits) - 1;

public:
    [[nodiscard]] static bool free(std::uint64_t head) noexcept { return head % 2 == 0; }
    [[nodiscard]] static std::int64_t time(std::uint64_t head) noexcept { return static_cast<std::int64_t>(head >> version_bits); }

    /// What stood there. Progress: blocks while another thread is between lock and unlock; it yields when that takes long.
    [[nodiscard]] std::uint64_t lock() noexcept {
        for (backoff wait;;) {
            auto seen = word_.load(std::memory_order_relaxed);  // relaxed: a hint, the exchange decides
            if (free(seen) && word_.compare_exchange_weak(seen, seen + 1,
                                                          std::memory_order_acquire,     // E1 acquire
                                                          std::memory_order_relaxed)) {  // relaxed: tries again
                return seen;
            }
            if (!wait.spin()) {
                std::this_thread::yield();
            }
        }
    }
    /// With what lock() said, and the time up to which the marks have been looked at.
    void unlock(std::uint64_t locked, std::int64_t time) noexcept {
        word_.store(static_cast<std::uint64_t>(time) << version_bits | ((locked + 2) & version_mask),
                    std::memory_order_release);  // E1 release
    }
    /// Nothing was changed.
    void unlock(std::uint64_t locked) noexcept {
        word_.store(locked, std::memory_order_release);  // E1 release
    }

    // Reading without it: `v = begin(); free(v)`, read, `same(v)`: then what was read stood there at one moment.
    [[nodiscard]] std::uint64_t begin() const noexcept { return word_.load(std::memory_order_acquire); }  // E1 acquire
    [[nodiscard]] bool same(std::uint64_t head) const noexcept {
        return word_.load(std::memory_order_relaxed) == head;  // relaxed: after the words, which were read by acquire
    }

private:
    std::atomic<std::uint64_t> word_{0};  // who holds it
};

struct dedup_rules {
    std::size_t capacity;
    std::int64_t ttl;  // ms, < 2^32 - 1
    bool sliding;
    bool evict;
};

// The sets. A key is its hash and KeyWords words; without words, who has its fingerprint is taken for it.
template <std::size_t KeyWords>
class dedup_sets {
    static constexpr std::size_t line_ways = 8;
    struct alignas(cache_line_size) line {
        std::array<std::atomic<std::uint64_t>, line_ways> marks{};
    };

public:
    struct key {
        std::uint64_t hash;
        std::array<std::uint64_t, KeyWords> words;
    };
    struct marked {
        dedup_answer answer;
        bool evicted;
    };

    explicit dedup_sets(dedup_rules r)
        : rules_(r),
          heads_(r.capacity / line_ways + (r.capacity % line_ways != 0 ? 1U : 0U)),
          lines_(heads_.size()),
          ways_(r.capacity / heads_.size() + (r.capacity % heads_.size() != 0 ? 1U : 0U)),
          words_(heads_.size() * ways_ * KeyWords) {}

    [[nodiscard]] std::size_t capacity() const noexcept { return heads_.size() * ways_; }
    [[nodiscard]] std::size_t sets() const noexcept { return heads_.size(); }

    /// `again` looks at the clock once more: a caller that was suspended after it did must not be taken for a clock that was set back.
    template <class Again>
    [[nodiscard]] marked mark(key const& k, dedup_moment t, Again const& again) noexcept {
        auto const set = set_of(k.hash);
        if (!rules_.sliding && stands(set, k, t)) {
            return {dedup_answer::duplicate, false};
        }
        auto const held = heads_[set].lock();
        t = renew(set, held, t, again);
        auto const result = mark_held(set, k, t);
        heads_[set].unlock(held, t.now);
        return result;
    }

    [[nodiscard]] bool seen(key const& k, dedup_moment t) const noexcept {
        auto const set = set_of(k.hash);
        return look(set, [&](std::uint64_t head) {
            auto const way = find(set, k);
            return way != ways_ && expiry(mark_at(set, way), head) > t.now;
        });
    }

    /// Marks that have not expired.
    [[nodiscard]] std::size_t live(dedup_moment t) const noexcept {
        std::size_t total = 0;
        for (std::size_t set = 0; set < heads_.size(); ++set) {
            total += look(set, [&](std::uint64_t head) {
                std::size_t here = 0;
                for (std::size_t way = 0; way < ways_; ++way) {
                    auto const m = mark_at(set, way);
                    here += m != 0 && expiry(m, head) > t.now ? 1U : 0U;
                }
                return here;
            });
        }
        return total;
    }

    /// Forgets what has expired in so many sets, and says how much that was; goes on where the last call ended.
    template <class Clock>
    std::size_t clean(std::size_t budget, Clock const& clock) noexcept {
        std::size_t gone = 0;
        for (auto left = std::min(budget, heads_.size()); left > 0; --left) {
            // relaxed: says where to look, hands over nothing
            auto const set = static_cast<std::size_t>(next_.fetch_add(1, std::memory_order_relaxed) % heads_.size());
            auto const held = heads_[set].lock();
            auto const before = taken(set);
            auto const t = renew(set, held, clock(), clock);
            gone += before - taken(set);
            heads_[set].unlock(held, t.now);
        }
        return gone;
    }

private:
    [[nodiscard]] std::int64_t span() const noexcept { return rules_.ttl + 1; }  // both ends of a mark's life are rounded
    [[nodiscard]] std::size_t set_of(std::uint64_t hash) const noexcept {
        return static_cast<std::size_t>(multiply_high(hash, heads_.size()));
    }
    [[nodiscard]] static std::uint64_t fingerprint(std::uint64_t hash) noexcept {
        auto const low = hash & 0xffffffffu;
        return low == 0 ? 1 : low;
    }
    [[nodiscard]] static std::int64_t expiry(std::uint64_t mark, std::uint64_t head) noexcept {
        auto const from = dedup_head::time(head);
        return from + static_cast<std::uint32_t>(static_cast<std::uint32_t>(mark) - static_cast<std::uint32_t>(from));
    }
    [[nodiscard]] static std::uint64_t make(std::uint64_t fingerprint, std::int64_t expiry) noexcept {
        return fingerprint << 32 | static_cast<std::uint32_t>(expiry);
    }

    [[nodiscard]] std::uint64_t mark_at(std::size_t set, std::size_t way) const noexcept {
        return lines_[set].marks[way].load(std::memory_order_acquire);  // E2 acquire
    }
    void set_mark(std::size_t set, std::size_t way, std::uint64_t m) noexcept {
        lines_[set].marks[way].store(m, std::memory_order_release);  // E2 release
    }
    [[nodiscard]] std::size_t word_of(std::size_t set, std::size_t way) const noexcept { return (set * ways_ + way) * KeyWords; }

    [[nodiscard]] std::size_t find(std::size_t set, key const& k) const noexcept {
        auto const mine = fingerprint(k.hash);
        for (std::size_t way = 0; way < ways_; ++way) {
            if (mark_at(set, way) >> 32 == mine && same_words(set, way, k)) {
                return way;
            }
        }
        return ways_;
    }
    [[nodiscard]] bool same_words(std::size_t set, std::size_t way, key const& k) const noexcept {
        for (std::size_t i = 0; i < KeyWords; ++i) {
            if (words_[word_of(set, way) + i].load(std::memory_order_acquire) != k.words[i]) {  // E2 acquire
                return false;
            }
        }
        return true;
    }

    // What `question` finds in a set at one moment.
    template <class Question>
    [[nodiscard]] auto look(std::size_t set, Question const& question) const noexcept {
        auto& head = heads_[set];
        if (auto const seen = head.begin(); dedup_head::free(seen)) {
            auto const answer = question(seen);
            if (head.same(seen)) {
                return answer;
            }
        }
        auto const held = head.lock();
        auto const answer = question(held);
        head.unlock(held);
        return answer;
    }

    // Whether the key is marked beyond doubt; no doubt about the clock either.
    [[nodiscard]] bool stands(std::size_t set, key const& k, dedup_moment t) const noexcept {
        auto const head = heads_[set].begin();
        auto const way = dedup_head::free(head) ? find(set, k) : ways_;
        if (way == ways_) {
            return false;
        }
        auto const end = expiry(mark_at(set, way), head);
        return end > t.now && end - t.now <= span() && heads_[set].same(head);
    }

    // -- Under the latch

    // Makes it so that all marks expire in (t, t + span], and says what t is.
    template <class Again>
    dedup_moment renew(std::size_t set, std::uint64_t held, dedup_moment t, Again const& again) noexcept {
        if (t.now < dedup_head::time(held)) [[unlikely]] {
            t = again();  // after the last holder did; if it is still earlier, the clock was set back
        }
        for (std::size_t way = 0; way < ways_; ++way) {
            auto const m = mark_at(set, way);
            if (m == 0) {
                continue;
            }
            auto const end = expiry(m, held);
            if (end <= t.now) {
                set_mark(set, way, 0);
            } else if (end - t.now > span()) [[unlikely]] {
                set_mark(set, way, make(m >> 32, t.now + span()));
            }
        }
        return t;
    }

    [[nodiscard]] marked mark_held(std::size_t set, key const& k, dedup_moment t) noexcept {
        auto const end = t.next + rules_.ttl;
        auto const left = [&](std::size_t way) {
            return static_cast<std::uint32_t>(static_cast<std::uint32_t>(mark_at(set, way)) - static_cast<std::uint32_t>(t.now));
        };
        if (auto const way = find(set, k); way != ways_) {
            if (rules_.sliding && static_cast<std::int64_t>(left(way)) < end - t.now) {
                set_mark(set, way, make(fingerprint(k.hash), end));
            }
            return {dedup_answer::duplicate, false};
        }
        std::size_t oldest = 0;
        for (std::size_t way = 0; way < ways_; ++way) {
            if (mark_at(set, way) == 0) {
                return put(set, way, k, end, false);
            }
            if (left(way) < left(oldest)) {
                oldest = way;
            }
        }
        return rules_.evict ? put(set, oldest, k, end, true) : marked{dedup_answer::refused, false};
    }
    marked put(std::size_t set, std::size_t way, key const& k, std::int64_t end, bool evicted) noexcept {
        for (std::size_t i = 0; i < KeyWords; ++i) {
            words_[word_of(set, way) + i].store(k.words[i], std::memory_order_release);  // E2 release
        }
        set_mark(set, way, make(fingerprint(k.hash), end));
        return {dedup_answer::fresh, evicted};
    }
    [[nodiscard]] std::size_t taken(std::size_t set) const noexcept {
        std::size_t n = 0;
        for (std::size_t way = 0; way < ways_; ++way) {
            n += mark_at(set, way) != 0 ? 1U : 0U;
        }
        return n;
    }

    dedup_rules rules_;
    mutable std::vector<dedup_head> heads_;
    std::vector<line> lines_;                         // who holds the latch of the set, as the next one
    std::size_t ways_;                                // of a set, at most 8
    std::vector<std::atomic<std::uint64_t>> words_;   // of keys
    std::atomic<std::uint64_t> next_{0};              // who cleans
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
