// weir (BSL-1.0). detail::map_core, moves: buckets go to the next table.
#ifndef WEIR_DATA_DETAIL_MAP_MOVE_HPP
#define WEIR_DATA_DETAIL_MAP_MOVE_HPP
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/detail/map_bucket.hpp>
#include <weir/data/detail/map_core.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

// Edges: see map_core.hpp, which declares these functions.

namespace weir::inline v0 {
namespace detail {

/// A slot that this thread has reserved. Gives it back unless it was published or its bucket moved away.
template <class K, class T, class H, class E, class A>
class map_core<K, T, H, E, A>::reservation {
public:
    explicit reservation(bucket& b) noexcept : bucket_(b) {}
    reservation(reservation const&) = delete;
    reservation& operator=(reservation const&) = delete;
    ~reservation() {
        if (held()) {
            blank();
            give_back(bucket_, layout::put(layout::last_state, slot_));
        }
    }

    [[nodiscard]] bool held() const noexcept { return slot_ >= 0; }
    [[nodiscard]] int slot() const noexcept { return slot_; }
    void take(int slot) noexcept { slot_ = slot; }
    void published() noexcept { slot_ = -1; }
    void abandon() noexcept {  // the bucket is frozen, reserved slots of it mean nothing any more
        if (held()) {
            blank();
            slot_ = -1;
        }
    }
    void store(draft& d, std::uint64_t hash) noexcept {
        if constexpr (in_slots) {
            storage::write(bucket_.slot[slot_], d.as_item(hash));
        } else {
            d.mark_seen();
            bucket_.slot[slot_].store(map_slot::of(d.get()), std::memory_order_release);  // E1 release, E3 release
        }
    }
    /// Before the stored node may be retired: nobody who loads the word from here on can take it for a live one.
    void blank() noexcept {
        if constexpr (!in_slots) {
            bucket_.slot[slot_].store(map_slot::dead, std::memory_order_release);  // E3 release
        }
    }
    /// Frees reserved slots, those whose states are in `mask`, unless the bucket is being moved.
    static void give_back(bucket& b, std::uint64_t mask) noexcept {
        std::uint64_t h = b.header.load(std::memory_order_relaxed);  // relaxed: only compared
        while ((h & layout::moved) == 0 && !b.header.compare_exchange_weak(h, h & ~mask,
                                                                           std::memory_order_release,     // E4 release
                                                                           std::memory_order_relaxed)) {  // relaxed: only compared
        }
    }

private:
    bucket& bucket_;
    int slot_ = -1;
};

/// A bucket that is being moved, and its last header before it is done.
template <class K, class T, class H, class E, class A>
struct map_core<K, T, H, E, A>::source {
    bucket* at = nullptr;
    std::uint64_t frozen = 0;
    std::span<item> overflow{};  // protected

    /// Whether the children may be in use, and what stood here erased and freed. After a protection, which is what makes a `no`
    /// reliable; after a `yes` nothing is read but by who looks at this header again, or at a child's, with acquire.
    [[nodiscard]] bool done() const noexcept {
        return at->header.load(std::memory_order_relaxed) == layout::done;  // relaxed: see above
    }
};

/// Moves one bucket into two of a larger table, or it and its neighbour into one of a smaller table. If it throws, others can.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::move_bucket(table& from, table& to, std::size_t index, pins& pin) {
    rebound<bucket> buckets(allocator_);
    if (from.touch(buckets, index).header.load(std::memory_order_acquire) == layout::done) {  // E4 acquire
        return;
    }
    const bool grows = to.bits() > from.bits();
    const std::size_t first = grows ? index : index & ~std::size_t{1};
    const std::size_t first_child = grows ? 2 * index : index / 2;
    std::array<source, 2> both;
    const auto sources = std::span(both).first(grows ? 1 : 2);
    for (std::size_t i = 0; i < sources.size(); ++i) {
        sources[i].at = &from.touch(buckets, first + i);
    }
    const std::span children(&to.touch(buckets, first_child), grows ? 2 : 1);  // all memory, before anything is frozen
    bool mine = false;
    bool done = false;
    for (source& s : sources) {
        s.frozen = s.at->header.load(std::memory_order_acquire);  // E4 acquire
        while ((s.frozen & layout::moved) == 0) {
            if (s.at->header.compare_exchange_weak(s.frozen, s.frozen | layout::moved,
                                                   std::memory_order_release,     // E4 release: `next`, for who meets `moved`
                                                   std::memory_order_acquire)) {  // E4 acquire
                s.frozen |= layout::moved;
                mine = mine || &s == sources.data();
            }
        }
        done = done || s.frozen == layout::done;
    }
    try {
        if ((done || !start_all(sources, children, to, first_child, mine, pin)) && mine) {
            for (bucket& child : children) {
                reservation::give_back(child, layout::all_states);
            }
        }
    } catch (...) {  // no memory, and no child is started by us
        for (bucket& child : mine ? children : std::span<bucket>()) {
            orphan(child);
        }
        throw;
    }
    for (source& s : sources) {
        const bool has_block = (s.frozen & layout::overflow) != 0 && s.frozen != layout::done;
        if (s.frozen != layout::done &&
            s.at->header.compare_exchange_strong(s.frozen, layout::done, std::memory_order_release,  // E4 release
                                                 std::memory_order_relaxed) &&  // relaxed: somebody else did it
            has_block) {
            // relaxed: it came with the header, and both are final
            retire(map_overflow::block<block>(s.at->overflow.load(std::memory_order_relaxed)));
        }
    }
}

/// What one child of moved buckets gets: the same for every thread that computes it.
template <class K, class T, class H, class E, class A>
class map_core<K, T, H, E, A>::heir {
public:
    void add_of_slot(item const& i, std::uint64_t hash) noexcept { keep(i, hash); }
    void add_of_block(item const& i, std::uint64_t hash) noexcept {
        if (kept_ < std::size_t{slots}) {
            keep(i, hash);
            ++kept_of_blocks_;
        } else {
            ++rest_;
        }
    }
    [[nodiscard]] std::size_t entries() const noexcept { return kept_ + rest_; }
    /// Those that fit into the slots of the child, and what its header says of them.
    [[nodiscard]] std::span<item const> first_ones() const noexcept {
        return std::span(kept_items_).first(std::min(kept_, std::size_t{slots}));
    }
    [[nodiscard]] std::uint64_t states() const noexcept { return states_; }

    /// Fills an overflow block with the entries from the nth on. `each_of_blocks(f)` calls f(item) for each entry of this child
    /// that comes from a block, in the order in which they were added.
    template <class EachOfBlocks>
    void fill(block& to, std::size_t nth, EachOfBlocks const& each_of_blocks) const {
        item* out = std::copy(kept_items_.begin() + static_cast<std::ptrdiff_t>(nth),
                              kept_items_.begin() + static_cast<std::ptrdiff_t>(kept_), to.begin());
        std::size_t seen = 0;
        each_of_blocks([&](item const& i) {
            if (seen++ >= kept_of_blocks_) {
                *out++ = i;
            }
        });
    }

private:
    void keep(item const& i, std::uint64_t hash) noexcept {
        if (kept_ < std::size_t{slots}) {
            states_ |= layout::put(layout::tag(hash), static_cast<int>(kept_));
        }
        kept_items_[kept_++] = i;
    }

    std::array<item, 2 * std::size_t{slots}> kept_items_;  // all that come from slots, and from blocks while a slot is left
    std::size_t kept_ = 0;
    std::size_t kept_of_blocks_ = 0;
    std::size_t rest_ = 0;  // more, in blocks
    std::uint64_t states_ = 0;
};

/// An overflow block that is not linked yet.
template <class K, class T, class H, class E, class A>
class map_core<K, T, H, E, A>::new_block {
public:
    explicit new_block(map_core& core) noexcept : core_(core) {}
    new_block(new_block const&) = delete;
    new_block& operator=(new_block const&) = delete;
    ~new_block() { core_.drop_block(block_); }
    block& make(std::size_t entries) {
        rebound<map_unit> units(core_.allocator_);
        block_ = block::make(units, entries);
        return *block_;
    }
    [[nodiscard]] bool empty() const noexcept { return block_ == nullptr; }
    /// What links it to a bucket; 0 if it is empty.
    [[nodiscard]] map_overflow::word word() const noexcept {
        map_overflow::word set = 0;
        if (block_ != nullptr) {
            for (item const& i : *block_) {
                set |= map_overflow::bit(core_.hash_of(i));
            }
        }
        return map_overflow::of(block_, set);
    }
    void linked() noexcept { block_ = nullptr; }

private:
    map_core& core_;
    block* block_ = nullptr;
};

/// Calls give(item, hash) for each entry in a slot of a bucket whose header is final. False: too late, the bucket is done.
template <class K, class T, class H, class E, class A>
template <class Give>
bool map_core<K, T, H, E, A>::take_slots(source const& from, [[maybe_unused]] pins& pin, Give const& give) const {
    for (int i = 0; i < slots; ++i) {
        if (!layout::published(from.frozen, i)) {
            continue;
        }
        if constexpr (in_slots) {
            const auto words = storage::read(from.at->slot[i]);
            give(words, hash_of(words));
        } else {
            const auto w = from.at->slot[i].fetch_or(map_slot::frozen, std::memory_order_acquire);  // E1 acquire
            if ((w & map_slot::dead) == 0) {
                node* const n = map_slot::node<node>(w);
                pin.entry.reset_protection(n);
                if (from.done()) {
                    return false;
                }
                const auto hash = hash_of(*n);
                give(item{hash, n}, hash);
            }
        }
    }
    return true;
}

/// Starts the children of buckets whose headers are final. Any number of threads may do so at once, and stop anywhere. False: too
/// late, others have done it.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::start_all(std::span<source> sources, std::span<bucket> children, table const& to,
                                        std::size_t first_child, bool mine, pins& pin) {
    const auto started = [](bucket& b) {
        return layout::started(b.header.load(std::memory_order_relaxed));  // relaxed: the source being done tells of it
    };
    if (!mine && std::all_of(children.begin(), children.end(), started)) {
        return false;
    }
    const auto side = [&](std::uint64_t hash) { return to.index(hash) - first_child; };
    std::array<heir, 2> heirs;
    for (source const& s : sources) {
        const auto inherit = [&](item const& i, std::uint64_t hash) { heirs[side(hash)].add_of_slot(i, hash); };
        if (!take_slots(s, pin, inherit)) {
            return false;
        }
    }
    for (source& s : sources) {
        if ((s.frozen & layout::overflow) != 0) {
            // relaxed: it came with the header, and both are final
            block* const o = map_overflow::block<block>(s.at->overflow.load(std::memory_order_relaxed));
            (&s == sources.data() ? pin.overflow() : pin.second_overflow()).reset_protection(o);
            if (s.done()) {
                return false;
            }
            s.overflow = {o->begin(), o->end()};
            for (item const& i : s.overflow) {
                const auto hash = hash_of(i);
                heirs[side(hash)].add_of_block(i, hash);
            }
        }
    }
    std::array<new_block, 2> spilled{new_block(*this), new_block(*this)};  // both, before a child is started
    for (std::size_t c = 0; c < children.size(); ++c) {
        const std::size_t to_slots = mine ? heirs[c].first_ones().size() : 0;
        if (heirs[c].entries() > to_slots) {
            heirs[c].fill(spilled[c].make(heirs[c].entries() - to_slots), to_slots, [&](auto const& take) {
                for (source const& s : sources) {
                    for (item const& i : s.overflow) {
                        if (side(hash_of(i)) == c) {
                            take(i);
                        }
                    }
                }
            });
        }
    }
    for (std::size_t c = 0; c < children.size(); ++c) {
        start(children[c], heirs[c], spilled[c], mine);
    }
    return true;
}

/// Gives a child its first version. Whoever comes late changes nothing but slots that are reserved for it: all of them, so that
/// it can give them back without knowing what is in the child.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::start(bucket& child, heir const& from, new_block& spilled, bool mine) noexcept {
    const auto start_from = [&](std::uint64_t untouched, std::uint64_t states) {
        const auto first = layout::one_version | (spilled.empty() ? 0 : layout::overflow) | states;
        return spilled.empty()
                   ? child.header.compare_exchange_strong(untouched, first,
                                                          std::memory_order_release,    // E2 release
                                                          std::memory_order_relaxed)  // relaxed: the source being done tells of it
                   : child.exchange_both(untouched, 0, first, spilled.word());
    };
    if (mine) {
        const auto first_ones = from.first_ones();
        for (std::size_t i = 0; i < first_ones.size(); ++i) {
            storage::fill(child.slot[i], first_ones[i]);
        }
        start_from(0, from.states()) ? spilled.linked() : reservation::give_back(child, layout::all_states);
    } else if (start_from(0, layout::put_in_first(layout::reserved, slots)) || start_from(layout::orphaned, 0)) {
        spilled.linked();
    }
}

/// Leaves a child to others, who cannot know that its slots are not being filled; what they kept for us is given back.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::orphan(bucket& child) noexcept {
    std::uint64_t untouched = 0;
    if (!child.header.compare_exchange_strong(untouched, layout::orphaned,
                                              std::memory_order_relaxed,    // relaxed: nothing was stored
                                              std::memory_order_relaxed)) {  // relaxed: it is started
        reservation::give_back(child, layout::all_states);
    }
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
