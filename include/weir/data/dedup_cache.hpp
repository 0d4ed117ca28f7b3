// weir (BSL-1.0). dedup_cache: says of each key once in a while that it is new, in memory that never grows.
#ifndef WEIR_DATA_DEDUP_CACHE_HPP
#define WEIR_DATA_DEDUP_CACHE_HPP
#include <weir/base/clock.hpp>
#include <weir/base/concepts.hpp>
#include <weir/base/hash.hpp>
#include <weir/data/detail/dedup_set.hpp>
#include <weir/data/detail/stat_counter.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

// When:     messages come more than once (retries, several paths, at-least-once queues), and each shall be handled once.
// When not: each must be handled exactly once whatever happens (that takes a store that survives); or every key must be remembered
//           for good (weir::lock_free_map).
// Source:   set-associative tables of fingerprints as in B. Fan et al., "Cuckoo Filter", CoNEXT 2014, with a time in each mark and
//           no moving about; detail/dedup_set.hpp has the algorithm, its edges and why there is one winner.
//
//     weir::dedup_cache<std::string_view> seen{{.capacity = 100'000, .ttl = 10min}};     // keys are not kept: a view will do
//     if (seen.check_and_mark(message.id)) { handle(message); }
//
// Promise: a key that is new for one call is a duplicate for all others until its TTL is over, unless it had to make room. Of
//          calls at the same time one is told that it is new.
// Promise: it makes room only if all places of its set are taken by keys that are not to be forgotten yet, of which there are 8.
//          If the keys of one TTL are half of the capacity 1 in 20 goes early; a quarter: 1 in 900; an eighth: 1 in 100 000.
//          stats() counts them.
// Times are rounded up to ms: a key is remembered for its TTL, and for less than a ms longer.
// Clocks:  a clock that steps back does not make a key new; it is remembered for at most one TTL (and a ms) from the next call
//          that marks a key of its set.

namespace weir::inline v0 {

struct dedup_cache_options {
    std::size_t capacity = 65536;                           // keys, 1 to 2^36; rounded up to whole sets: at most by a seventh
    std::chrono::nanoseconds ttl = std::chrono::minutes{1};  // how long a key is remembered, (0, 49 days]
    bool sliding = false;                                   // from when it was last marked; else from when it was new
    dedup_full when_full = dedup_full::evict_oldest;
    std::optional<std::uint64_t> seed{};                    // of the hash; none: random, so that nobody can choose keys that collide
};

struct dedup_cache_stats {
    std::uint64_t fresh = 0;         // calls of check, check_and_mark and mark, by what they found
    std::uint64_t duplicates = 0;
    std::uint64_t refused = 0;
    std::uint64_t evicted_live = 0;  // keys that had to make room: a duplicate of one may have passed
    std::size_t capacity = 0;
};

/// What a dedup_cache keeps of a key.
enum class dedup_storage : unsigned char {
    fingerprints,  // 32 bits: a new key is taken for a duplicate about once in 500 million times
    keys,          // all of it: never
};

/// A key that can be kept whole: its bytes say which one it is, and there are at most 64.
template <class K>
concept storable_key = std::is_trivially_copyable_v<K> && std::has_unique_object_representations_v<K> && sizeof(K) <= 64;

/// Remembers keys for a while.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Progress: a duplicate is found without waiting, unless its set changes meanwhile. Else may block, on a thread that is between two
///           of the few instructions that change a set of eight keys; no code of the user runs there but the clock.
/// Memory:   9 bytes for each key of the capacity, and the keys if they are kept; allocates nothing after construction, but for
///           the counters of a thread's first calls, see data/stats.hpp.
/// Throws:   what Hash throws; then nothing has happened.
template <class Key, class Hash = std::hash<Key>, clock_source Clock = std::chrono::steady_clock,
          dedup_storage Storage = dedup_storage::fingerprints>
    requires hasher_of<Hash, Key> && (Storage == dedup_storage::fingerprints || storable_key<Key>)
class dedup_cache {
    static constexpr std::size_t key_words = Storage == dedup_storage::keys ? (sizeof(Key) + 7) / 8 : 0;
    using table = detail::dedup_sets<key_words>;

public:
    using options = dedup_cache_options;

    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit dedup_cache(options o = {}, Clock clock = {}, Hash hash = {})
        : clock_(std::move(clock)),
          epoch_(clock_.now()),
          hash_(std::move(hash), o.seed ? *o.seed : random_seed()),
          sets_(checked(o)) {}
    dedup_cache(dedup_cache const&) = delete;
    dedup_cache& operator=(dedup_cache const&) = delete;

    /// Whether the key is new; it is marked now. A key that was refused is not new: whoever cannot remember it must not handle it.
    [[nodiscard]] bool check_and_mark(Key const& key) { return check(key) == dedup_answer::fresh; }
    /// The same, and tells refused keys from duplicates.
    [[nodiscard]] dedup_answer check(Key const& key) {
        auto const again = [this]() noexcept { return now(); };
        auto const m = sets_.mark(name_of(key), now(), again);
        if (m.evicted) {
            evicted_.add();
        }
        (m.answer == dedup_answer::fresh ? fresh_ : m.answer == dedup_answer::duplicate ? duplicates_ : refused_).add();
        return m.answer;
    }
    /// Marks the key, new or not. False if it was refused.
    bool mark(Key const& key) { return check(key) != dedup_answer::refused; }
    /// Whether the key is marked. Changes nothing: between this and a mark() another thread can mark it.
    [[nodiscard]] bool seen(Key const& key) const { return sets_.seen(name_of(key), now()); }

    /// Forgets keys whose time is over, in so many sets of eight, and says how many; goes on where the last call ended. Need not be
    /// called: marking does it.
    std::size_t cleanup(std::size_t sets = std::numeric_limits<std::size_t>::max()) noexcept {
        return sets_.clean(sets, [this]() noexcept { return now(); });
    }
    /// Keys that are remembered now. Cost: O(capacity).
    [[nodiscard]] std::size_t live() const noexcept { return sets_.live(now()); }
    [[nodiscard]] std::size_t capacity() const noexcept { return sets_.capacity(); }
    /// fresh + duplicates + refused is the number of calls that have ended; exact at rest.
    [[nodiscard]] dedup_cache_stats stats() const noexcept {
        return {fresh_.value(), duplicates_.value(), refused_.value(), evicted_.value(), sets_.capacity()};
    }

private:
    [[nodiscard]] detail::dedup_moment now() const noexcept {
        return detail::dedup_moment::at(saturating_between(epoch_, clock_.now()).count());
    }
    [[nodiscard]] typename table::key name_of(Key const& key) const {
        typename table::key k{hash_(key), {}};
        if constexpr (key_words > 0) {
            std::memcpy(k.words.data(), &key, sizeof(Key));
        }
        return k;
    }
    static detail::dedup_rules checked(options const& o) {
        if (o.capacity < 1 || o.capacity > std::size_t{1} << 36) {
            throw std::invalid_argument{"weir::dedup_cache: capacity must be in [1, 2^36]"};
        }
        if (o.ttl.count() <= 0 || o.ttl > std::chrono::hours{24 * 49}) {
            throw std::invalid_argument{"weir::dedup_cache: ttl must be in (0, 49 days]"};
        }
        if (o.when_full != dedup_full::evict_oldest && o.when_full != dedup_full::refuse_new) {
            throw std::invalid_argument{"weir::dedup_cache: when_full is unknown"};
        }
        constexpr std::int64_t ms = 1'000'000;
        return {o.capacity, (o.ttl.count() + ms - 1) / ms, o.sliding, o.when_full == dedup_full::evict_oldest};
    }

    [[no_unique_address]] Clock clock_;
    time_point_of<Clock> epoch_;
    seeded_hash<Hash> hash_;
    table sets_;
    counter fresh_;
    counter duplicates_;
    counter refused_;
    counter evicted_;
};

/// A dedup_cache that keeps its keys: no key is ever taken for another.
template <storable_key Key, class Hash = std::hash<Key>, clock_source Clock = std::chrono::steady_clock>
using exact_dedup_cache = dedup_cache<Key, Hash, Clock, dedup_storage::keys>;

}  // namespace weir::inline v0
#endif
