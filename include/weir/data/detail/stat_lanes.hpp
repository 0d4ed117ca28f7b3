// weir (BSL-1.0). stat_lanes: words of which each thread has its own, so that writing one is a plain store.
#ifndef WEIR_DATA_DETAIL_STAT_LANES_HPP
#define WEIR_DATA_DETAIL_STAT_LANES_HPP
#include <weir/base/detail/cache_line.hpp>
#include <weir/base/detail/stripe.hpp>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>

// When:     an object is written by many threads far more often than it is read: counters, and blocks of counters.
// When not: the value must be known when it is written (a limit, a high-water mark); take one atomic.
// Source:   one variable per CPU at one offset for all, as in Linux' percpu allocator (T. Heo, 2009); here per thread, as in
//           folly's ThreadCachedInt, with the thread's number from base/detail/stripe.
//
// A lane is an endless array of words, all zero, and every thread has one. A stat_cell is an index into all of them: each
// thread's copy of one word. The copies of different cells in one lane stand side by side, and only one thread writes there:
// a cell takes 8 bytes per thread, not a cache line. A lane is in segments of 64, 128, 256 ... words, made when its thread first
// writes there, kept for the next thread with the same number, and never freed.
//
// Invariant: only the thread that owns the slot stores in its lane, but for release(), which nobody may be writing beside.
// Invariant: an index that is free has zero in every lane.
// A thread without a lane of its own (too many threads, no memory, in its last destructors, in a library that has a registry
// of its own) gets no word, and has to write elsewhere, by read-modify-write.
//
// Edges (who hands what to whom):
//   E1  the owner links a lane, all zero        -> whoever sums up follows the link
//   E2  the owner links a segment, all zero     -> whoever sums up follows the link
//   E3  release() gives back an index, now zero -> acquire() takes it
//   E4  a set of free indices is linked         -> whoever looks for a free one
// A lane goes from an exiting thread to the next owner of its slot by stripe's own edge.

namespace weir::inline v0 {
namespace detail {

using stat_word = std::atomic<std::uint64_t>;

// Segment k holds the indices [64 * (2^k - 1), 64 * (2^(k+1) - 1)).
inline constexpr std::size_t stat_segments = 24;
inline constexpr std::size_t stat_first_segment = 64;
constexpr std::size_t stat_segment_size(std::size_t k) noexcept { return stat_first_segment << k; }
constexpr std::size_t stat_segment_begin(std::size_t k) noexcept { return stat_segment_size(k) - stat_first_segment; }
constexpr std::size_t stat_segment_of(std::size_t index) noexcept {
    return static_cast<std::size_t>(std::bit_width(index / stat_first_segment + 1)) - 1;
}

// Zeroed atomics apart from everybody else's memory, or null. Kept for ever, so that any thread may come at any time.
template <class T>
[[nodiscard]] T* make_stat_words(std::size_t count) noexcept {
    void* const raw = ::operator new(count * sizeof(T), std::align_val_t{destructive_size}, std::nothrow);
    if (raw == nullptr) {
        return nullptr;
    }
    auto* const words = static_cast<T*>(raw);
    std::uninitialized_value_construct_n(words, count);
    return words;
}

struct stat_lane {
    std::atomic<stat_word*> segments[stat_segments]{};  // stored by the owner
};

class stat_cell;

// All lanes, and which indices are taken. Initialised before any code runs and never destroyed.
struct [[gnu::visibility("default")]] stat_lane_registry {
    std::atomic<stat_lane*> lanes[unique_thread_slots]{};           // by slot; stored by the slot's owner
    std::atomic<std::size_t> lanes_end{0};                          // no slot from here on has had a lane
    std::atomic<std::atomic<std::uint64_t>*> taken[stat_segments]{};  // a bit per index
    std::atomic<std::size_t> first_free{0};                         // hint: the indices below are taken, most likely

    static stat_lane_registry instance;
    static stat_lane nobody;  // the lane of who has none; it has no segment, ever
    // What the calling thread writes into. Only ever touched by its own thread.
    static thread_local stat_lane* mine;
    static thread_local bool leaving;  // its hook has run, so it can own no lane any more
};

inline constinit stat_lane_registry stat_lane_registry::instance{};
inline constinit stat_lane stat_lane_registry::nobody{};
inline constinit thread_local stat_lane* stat_lane_registry::mine = &stat_lane_registry::nobody;
inline constinit thread_local bool stat_lane_registry::leaving = false;

// Takes the lane from a thread that exits, before stripe gives its slot to another.
class [[gnu::visibility("default")]] stat_lane_hook {
public:
    stat_lane_hook() noexcept = default;
    stat_lane_hook(stat_lane_hook const&) = delete;
    stat_lane_hook& operator=(stat_lane_hook const&) = delete;
    ~stat_lane_hook() {
        stat_lane_registry::mine = &stat_lane_registry::nobody;
        stat_lane_registry::leaving = true;
    }
    void arm() const noexcept {}  // naming the object is what has it constructed, and so destroyed
};

// Gives the calling thread a lane; false if it can have none.
[[gnu::noinline, gnu::cold, gnu::visibility("default")]] inline bool enter_stat_lane() noexcept {
    using registry = stat_lane_registry;
    auto& all = registry::instance;
    if (registry::leaving) {
        return false;
    }
    auto const slot = this_thread_slot();  // first: its hook then runs after ours
    if (slot >= unique_thread_slots) {
        return false;
    }
    auto* lane = all.lanes[slot].load(std::memory_order_relaxed);  // relaxed: of this slot's owners, before us or us
    if (lane == nullptr) {
        lane = make_stat_words<stat_lane>(1);
        if (lane == nullptr) {
            return false;
        }
        all.lanes[slot].store(lane, std::memory_order_release);  // E1 release
    }
    auto end = all.lanes_end.load(std::memory_order_relaxed);  // relaxed: a bound that only grows, see sum()
    while (end <= slot &&
           // relaxed: as above
           !all.lanes_end.compare_exchange_weak(end, slot + 1, std::memory_order_relaxed)) {
    }
    static thread_local const stat_lane_hook hook;
    hook.arm();
    registry::mine = lane;
    return true;
}

/// One word of each lane.
/// Threads:  own() is for the calling thread's word; everything else from any thread at once.
/// Lifetime: nobody may be writing when release() begins.
class stat_cell {
    using registry = stat_lane_registry;

public:
    /// Progress: lock-free. Cost: a scan over the indices that are taken, from a hint on.
    /// Throws:   std::bad_alloc; std::length_error after 64 * (2^24 - 1) cells.
    [[nodiscard]] static stat_cell acquire();

    /// The calling thread's word, to be written by plain load and store; null if it has none, or not yet.
    [[nodiscard]] stat_word* own() const noexcept {
        if (home_ != &registry::instance) [[unlikely]] {
            return nullptr;
        }
        // relaxed: stored by this thread, or by an earlier owner of its slot
        auto* const segment = registry::mine->segments[segment_].load(std::memory_order_relaxed);
        return segment != nullptr ? segment + offset_ : nullptr;
    }
    /// The same, but makes one. Null if that cannot be. Progress: wait-free, but for the allocator.
    [[nodiscard]] stat_word* make() const noexcept;

    /// f(word) for each thread's word that exists. All that was written before the call, by whoever, is seen: a lane that this
    /// thread cannot see yet holds nothing that happened before. Progress: wait-free.
    template <class F>
    void for_each(F&& f) const noexcept(noexcept(f(std::declval<stat_word&>())));

    /// The sum of all words, modulo 2^64. Progress: wait-free.
    [[nodiscard]] std::uint64_t sum() const noexcept;

    /// Makes all words zero and gives the index away.
    void release() const noexcept;

private:
    stat_cell(std::size_t segment, std::size_t offset) noexcept
        : home_(&registry::instance),
          segment_(static_cast<std::uint32_t>(segment)),
          offset_(static_cast<std::uint32_t>(offset)) {}

    static stat_cell acquire_from(std::size_t start);
    // Makes the set of a segment's free indices, or finds that another thread has.
    static std::atomic<std::uint64_t>* open(std::size_t segment);
    // Takes the first free index from the word of `from` on; `size` if there is none.
    static std::size_t take_from(std::atomic<std::uint64_t>* taken, std::size_t from, std::size_t size) noexcept;

    registry* home_;  // the lanes that it is an index into: there may be others in a library opened by dlopen
    std::uint32_t segment_;
    std::uint32_t offset_;
};

inline stat_word* stat_cell::make() const noexcept {
    if (home_ != &registry::instance || (registry::mine == &registry::nobody && !enter_stat_lane())) {
        return nullptr;
    }
    auto& link = registry::mine->segments[segment_];
    auto* segment = link.load(std::memory_order_relaxed);  // relaxed: as in own()
    if (segment == nullptr) {
        segment = make_stat_words<stat_word>(stat_segment_size(segment_));
        if (segment == nullptr) {
            return nullptr;
        }
        link.store(segment, std::memory_order_release);  // E2 release
    }
    return segment + offset_;
}

template <class F>
void stat_cell::for_each(F&& f) const noexcept(noexcept(f(std::declval<stat_word&>()))) {
    auto const end = home_->lanes_end.load(std::memory_order_relaxed);  // relaxed: what was written before is below it
    for (std::size_t slot = 0; slot < end; ++slot) {
        auto const* const lane = home_->lanes[slot].load(std::memory_order_acquire);  // E1 acquire
        if (lane == nullptr) {
            continue;
        }
        auto* const segment = lane->segments[segment_].load(std::memory_order_acquire);  // E2 acquire
        if (segment != nullptr) {
            f(segment[offset_]);
        }
    }
}

inline std::uint64_t stat_cell::sum() const noexcept {
    std::uint64_t total = 0;
    for_each([&](stat_word& word) noexcept {
        total += word.load(std::memory_order_relaxed);  // relaxed: a number, publishes nothing
    });
    return total;
}

inline std::size_t stat_cell::take_from(std::atomic<std::uint64_t>* taken, std::size_t from, std::size_t size) noexcept {
    for (std::size_t word = from / 64; word < size / 64; ++word) {
        auto seen = taken[word].load(std::memory_order_relaxed);  // relaxed: a hint, the exchange below decides
        while (~seen != 0) {
            auto const free = static_cast<std::size_t>(std::countr_one(seen));
            auto const bit = std::uint64_t{1} << free;
            seen = taken[word].fetch_or(bit, std::memory_order_acquire);  // E3 acquire
            if ((seen & bit) == 0) {
                return word * 64 + free;
            }
        }
    }
    return size;
}

inline stat_cell stat_cell::acquire() {
    return acquire_from(registry::instance.first_free.load(std::memory_order_relaxed));  // relaxed: a hint
}

inline std::atomic<std::uint64_t>* stat_cell::open(std::size_t segment) {
    auto& link = registry::instance.taken[segment];
    auto* const made = make_stat_words<std::atomic<std::uint64_t>>(stat_segment_size(segment) / 64);
    if (made == nullptr) {
        throw std::bad_alloc{};
    }
    std::atomic<std::uint64_t>* other = nullptr;
    if (link.compare_exchange_strong(other, made, std::memory_order_release,  // E4 release
                                     std::memory_order_acquire)) {            // E4 acquire
        return made;
    }
    ::operator delete(static_cast<void*>(made), std::align_val_t{destructive_size});
    return other;
}

inline stat_cell stat_cell::acquire_from(std::size_t start) {
    auto& all = registry::instance;
    for (std::size_t segment = stat_segment_of(start); segment < stat_segments; ++segment) {
        auto const size = stat_segment_size(segment);
        auto* taken = all.taken[segment].load(std::memory_order_acquire);  // E4 acquire
        if (taken == nullptr) {
            if (start != 0) {  // the hint may have been too high: look everywhere before there are more
                return acquire_from(0);
            }
            taken = open(segment);
        }
        auto const begin = stat_segment_begin(segment);
        auto const offset = take_from(taken, start > begin ? start - begin : 0, size);
        if (offset != size) {
            // Only if no release has lowered it meanwhile: what that gave back may be behind us.
            all.first_free.compare_exchange_strong(start, begin + offset + 1, std::memory_order_relaxed);  // relaxed: a hint
            return {segment, offset};
        }
    }
    throw std::length_error{"weir: more than 1073741760 statistics at once"};
}

inline void stat_cell::release() const noexcept {
    for_each([](stat_word& word) noexcept {
        // relaxed: nobody writes beside us, and E3 hands it on
        if (word.load(std::memory_order_relaxed) != 0) {
            word.store(0, std::memory_order_relaxed);  // relaxed: as above
        }
    });
    auto* const taken = home_->taken[segment_].load(std::memory_order_relaxed);  // relaxed: acquire() of this cell saw it
    taken[offset_ / 64].fetch_and(~(std::uint64_t{1} << (offset_ % 64)), std::memory_order_release);  // E3 release
    auto const index = stat_segment_begin(segment_) + offset_;
    auto hint = home_->first_free.load(std::memory_order_relaxed);  // relaxed: a hint
    // relaxed: a hint
    while (index < hint && !home_->first_free.compare_exchange_weak(hint, index, std::memory_order_relaxed)) {
    }
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
