// weir (BSL-1.0). detail::map_core, changes: an entry is inserted, replaced or erased.
#ifndef WEIR_DATA_DETAIL_MAP_CHANGE_HPP
#define WEIR_DATA_DETAIL_MAP_CHANGE_HPP
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/detail/map_bucket.hpp>
#include <weir/data/detail/map_core.hpp>
#include <weir/data/detail/map_move.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

// Edges: see map_core.hpp, which declares these functions.

namespace weir::inline v0 {
namespace detail {

template <class K, class T, class H, class E, class A>
template <class Same, class Decide>
void map_core<K, T, H, E, A>::mutate(std::uint64_t hash, Same const& same, Decide&& decide) {
    after_pins later(*this);
    pins pin(*domain_);
    bool helped = false;
    bool killed = false;  // stamped: the entry is erased, its node is still to be buried
    for (;;) {
        table* t = pin_root(pin);
        if (t == nullptr) {
            if (decide(nullptr).put == nullptr) {
                return;
            }
            create_root(0);
            continue;
        }
        while (t != nullptr) {
            const auto i = t->index(hash);
            try {
                if (t->next.load(std::memory_order_relaxed) != nullptr) {  // relaxed: only compared, pin_next loads it again
                    table* const to = pin_next(pin, t);
                    if (to == nullptr || try_move(*t, *to, i, !std::exchange(helped, true), pin, later)) {
                        t = to;
                        pin.step();
                        continue;
                    }
                }
                rebound<bucket> buckets(allocator_);
                if (mutate_bucket(*t, t->touch(buckets, i), hash, same, decide, pin, killed)) {
                    return;
                }
            } catch (...) {
                if (killed) {  // done; the bucket changed just then. A writer of its key, or who needs its slot, will bury it
                    return;
                }
                throw;
            }
        }
    }
}

/// False: the bucket is being moved, and nothing was changed.
template <class K, class T, class H, class E, class A>
template <class Same, class Decide>
bool map_core<K, T, H, E, A>::mutate_bucket(table& t, bucket& b, std::uint64_t hash, Same const& same, Decide& decide,
                                            pins& pin, [[maybe_unused]] bool& killed) {
    bring_rest_near(b);
    reservation mine(b);
    std::uint64_t header = b.header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
    for (;;) {
        if ((header & layout::moved) != 0) {
            mine.abandon();
            return false;
        }
        sight seen;
        const auto end = search<who::writer>(b, header, hash, same, pin, seen);
        if (end == search_end::changed) {
            header = b.header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
            continue;
        }
        if constexpr (stamped) {
            if (end == search_end::dead) {
                bury(t, b, header, hash, seen, pin);
                header = b.header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
                continue;
            }
            if (killed) {
                return true;
            }
        }
        const decision d = decide(seen.there ? &seen.shown() : nullptr);
        if (d.put == nullptr && !(d.erase && seen.there)) {
            return true;
        }
        if (seen.there && (!in_slots || (seen.in_slot() && d.put == nullptr))) {
            if (change(t, b, header, hash, seen, d, pin, killed)) {
                return true;
            }
            header = b.header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
            continue;
        }
        if (seen.in_block() || (!mine.held() && layout::match(header, 0) == 0)) {
            if (change_overflow(t, b, header, hash, seen, d, pin, at_once)) {
                if (d.put == nullptr) {
                    after_erase(t);
                } else if (!seen.there) {
                    after_insert(t, true);
                }
                return true;
            }
            header = b.header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
            continue;
        }
        if (d.put == nullptr) {
            __builtin_unreachable();  // whatever is there is in a slot or in the block. Compilers cannot know
        }
        if (!mine.held()) {
            const int slot = layout::first(layout::match(header, 0));
            const auto with_mine = header | layout::put(layout::reserved, slot);
            if (!b.header.compare_exchange_strong(header, with_mine, std::memory_order_acquire,  // E4 acquire
                                                  std::memory_order_acquire)) {  // E2 acquire, E4 acquire
                continue;
            }
            header = with_mine;
            mine.take(slot);
        }
        mine.store(*d.put, hash);
        auto published = layout::without(header, mine.slot()) | layout::put(layout::tag(hash), mine.slot());
        if (seen.in_slot()) {  // a pair is replaced
            published = layout::bump(layout::without(published, seen.slot));
        }
        if (b.header.compare_exchange_strong(header, published, std::memory_order_release,  // E2 release, E4 release
                                             std::memory_order_acquire)) {  // E2 acquire, E4 acquire
            mine.published();
            d.put->release();
            if (!seen.there) {
                after_insert(t, false);
            }
            return true;
        }
        mine.blank();
    }
}

/// Replaces or erases an entry that is there, without a slot of its own; false if it has changed.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::change(table& t, bucket& b, std::uint64_t header, [[maybe_unused]] std::uint64_t hash,
                                     sight const& seen, decision const& d, [[maybe_unused]] pins& pin,
                                     [[maybe_unused]] bool& killed) {
    bool changed = false;
    if constexpr (stamped) {
        if (d.put != nullptr) {
            return change_stamped(seen, d);
        }
        const auto kill = [&] {
            killed = change_stamped(seen, d);
            if (killed) {
                after_erase(t);
            }
            return killed;
        };
        return seen.in_slot() ? kill() && erase_node(b, seen) : change_overflow(t, b, header, hash, seen, d, pin, kill);
    } else if constexpr (in_slots) {
        changed = erase_pair(b, seen, header);
    } else if (seen.in_block()) {
        changed = change_overflow(t, b, header, hash, seen, d, pin, at_once);
    } else {
        changed = d.put == nullptr ? erase_node(b, seen) : replace_node(b, seen, *d.put);
    }
    if (changed && d.put == nullptr) {
        after_erase(t);
    }
    return changed;
}

/// Changes the value of a node, or kills it; false if it has changed.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::change_stamped(sight const& seen, decision const& d) noexcept {
    const std::uint64_t value = d.put == nullptr ? seen.value : d.put->word();
    const std::uint64_t stamp = d.put == nullptr ? seen.stamp | node::dead : seen.stamp + node::one_change;
    return seen.at->exchange(seen.value, seen.stamp, value, stamp);  // E7 release: seq_cst, as all exchanges of 16 bytes
}

/// Takes a dead node out of its place, as anybody may do; false if the bucket has changed, and perhaps moved.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::bury(table& t, bucket& b, std::uint64_t header, std::uint64_t hash, sight const& seen,
                                   pins& pin) {
    return seen.in_slot() ? erase_node(b, seen) : change_overflow(t, b, header, hash, seen, {.erase = true}, pin, at_once);
}

/// Replaces the node that was seen in a slot; false if its word has changed.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::replace_node(bucket& b, sight const& seen, draft& d) noexcept {
    map_slot::word expected = seen.word;
    if (!b.slot[seen.slot].compare_exchange_strong(expected, map_slot::of(d.get()),
                                                   std::memory_order_release,     // E1 release
                                                   std::memory_order_relaxed)) {  // relaxed: looked at again from the header
        return false;
    }
    d.release();
    retire(seen.at);
    return true;
}

/// Takes the node that was seen out of its slot; false if its word has changed.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::erase_node(bucket& b, sight const& seen) noexcept {
    map_slot::word expected = seen.word;
    if (!b.slot[seen.slot].compare_exchange_strong(expected, seen.word | map_slot::dead,
                                                   std::memory_order_release,     // E1 release
                                                   std::memory_order_relaxed)) {  // relaxed: looked at again from the header
        return false;
    }
    free_dead_slot(b, seen.slot);
    retire(seen.at);
    return true;
}

/// Erases the pair that was seen in a slot; false if the bucket has changed.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::erase_pair(bucket& b, sight const& seen, std::uint64_t header) noexcept {
    return b.header.compare_exchange_strong(header, layout::bump(layout::without(header, seen.slot)),
                                            std::memory_order_release,   // E4 release
                                            std::memory_order_relaxed);  // relaxed: looked at again
}

/// Adds to, replaces in or erases from the overflow block, or replaces there a pair of a slot; false if the bucket has changed.
/// Before it does so, but when nothing can throw any more, calls `before()`, which may refuse.
template <class K, class T, class H, class E, class A>
template <class Before>
[[gnu::noinline]] bool map_core<K, T, H, E, A>::change_overflow([[maybe_unused]] table& t, bucket& b, std::uint64_t header,
                                                                std::uint64_t hash, sight const& seen, decision const& d,
                                                                pins& pin, Before const& before) {
    if constexpr (!in_slots) {
        if (!seen.in_block() && free_any_dead_slot(t, b, header, hash, pin)) {
            return false;
        }
    }
    const bool puts = d.put != nullptr;
    const bool has_block = (header & layout::overflow) != 0;
    const map_overflow::word seen_word = !has_block ? 0 : seen.overflow != 0 ? seen.overflow : pin_overflow(b, header, pin.overflow());
    if (has_block && seen_word == 0) {
        return false;
    }
    block* const old = map_overflow::block<block>(seen_word);
    const std::size_t count = old == nullptr ? 0 : old->count;
    const std::size_t after = count - (seen.in_block() ? 1 : 0) + (puts ? 1 : 0);
    new_block made(*this);
    if (after != 0) {
        item* to = made.make(after).begin();
        for (std::size_t i = 0; i < count; ++i) {
            if (!seen.in_block() || i != seen.at_in_block) {
                *to++ = old->begin()[i];
            }
        }
        if (puts) {
            *to = d.put->as_item(hash);
        }
    }
    const auto changed = [&](std::uint64_t from) {
        const auto to = layout::bump(seen.in_slot() ? layout::without(from, seen.slot) : from) & ~layout::overflow;
        return to | (after == 0 ? 0 : layout::overflow);
    };
    if (!before()) {
        return false;
    }
    while (!b.exchange_both(header, seen_word, changed(header), made.word())) {
        // To take an entry out, only the block must be the same, and `made` serves again.
        const auto now = b.header.load(std::memory_order_relaxed);  // relaxed: only compared
        if (puts || now == header || (now & layout::moved) != 0) {
            return false;
        }
        header = now;
    }
    made.linked();
    if (old != nullptr) {
        retire(old);
    }
    if (puts) {
        d.put->release();
    }
    if constexpr (!in_slots) {
        if (seen.in_block()) {
            retire(seen.at);
        }
    }
    return true;
}

/// Makes room in a full bucket whose erasers were suspended, or got no memory, before they freed their slot. True: look again.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::free_any_dead_slot([[maybe_unused]] table const& t, bucket& b, std::uint64_t header,
                                                 [[maybe_unused]] std::uint64_t hash, [[maybe_unused]] pins& pin) noexcept {
    for (int i = 0; i < slots; ++i) {
        if (!layout::published(header, i)) {
            continue;
        }
        const auto w = b.slot[i].load(std::memory_order_relaxed);  // relaxed: loaded again before it counts
        if ((w & map_slot::dead) != 0) {
            free_dead_slot(b, i);
            return true;
        }
        if constexpr (stamped) {
            __builtin_prefetch(map_slot::node<node>(w));
        }
    }
    if constexpr (stamped) {
        for (int i = 0; i < slots; ++i) {
            sight seen;
            const auto end = layout::published(header, i) ? look_at_slot<who::writer>(b, i, header, pin.entry, seen)
                                                          : slot_end::there;
            if (end == slot_end::there || (end == slot_end::dead && !t.same_half(hash_of(*seen.at), hash))) {
                continue;  // in use; or of the other of two buckets that became this one, see search_slots
            }
            if (end == slot_end::dead) {
                erase_node(b, seen);
            }
            return true;
        }
    }
    return false;
}

/// Frees a published slot whose word is dead. The exchange is from a header older than the word that was seen, so the dead
/// word belongs to the slot as the header shows it.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::free_dead_slot(bucket& b, int slot) noexcept {
    std::uint64_t header = b.header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
    while ((header & layout::moved) == 0 && layout::published(header, slot) &&
           (b.slot[slot].load(std::memory_order_acquire) & map_slot::dead) != 0 &&  // E1 acquire
           !b.header.compare_exchange_weak(header, layout::bump(layout::without(header, slot)),
                                           std::memory_order_release,     // E4 release
                                           std::memory_order_acquire)) {  // E2 acquire, E4 acquire
    }
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
