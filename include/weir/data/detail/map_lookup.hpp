// weir (BSL-1.0). detail::map_core, look-ups: an entry is found, or is not there.
#ifndef WEIR_DATA_DETAIL_MAP_LOOKUP_HPP
#define WEIR_DATA_DETAIL_MAP_LOOKUP_HPP
#include <weir/base/detail/hazard_brief.hpp>
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/detail/map_bucket.hpp>
#include <weir/data/detail/map_core.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

// Edges: see map_core.hpp, which declares these functions.

namespace weir::inline v0 {
namespace detail {

template <class K, class T, class H, class E, class A>
auto map_core<K, T, H, E, A>::pin_root(pins& pin) const -> table* {
    return pin.root.protect(root_);
}

/// The table after `from`, protected; null if the root has left `from`, whose successor may be gone already.
template <class K, class T, class H, class E, class A>
auto map_core<K, T, H, E, A>::pin_next(pins& pin, table* from) const -> table* {
    table* const to = from->next.load(std::memory_order_acquire);  // E5 acquire
    pin.next().reset_protection(to);
    return root_.load(std::memory_order_relaxed) == from ? to : nullptr;  // relaxed: the second look, which is only compared
}

/// Whether the word beside the header belongs to it no more; then a block, or a node of it, may have been protected too late.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::overflow_changed(bucket& b, std::uint64_t header, map_overflow::word w) noexcept {
    return b.overflow.load(std::memory_order_acquire) != w ||                   // E1 acquire
           layout::changed(header, b.header.load(std::memory_order_relaxed));  // relaxed: only compared
}

/// The overflow word of a header that shows one, its block protected by `hazard`; 0 if the bucket has changed.
template <class K, class T, class H, class E, class A>
auto map_core<K, T, H, E, A>::pin_overflow(bucket& b, std::uint64_t header, hazard_pointer& hazard) -> map_overflow::word {
    const auto w = b.overflow.load(std::memory_order_relaxed);  // relaxed: announced; followed after the second look only
    hazard.reset_protection(map_overflow::block<block>(w));
    return overflow_changed(b, header, w) ? 0 : w;
}

/// Shows the entry of a published slot in `out`, protected or copied. Gone: it is erased. Changed: it may have come after the
/// header, or is being moved, which is no matter for readers.
template <class K, class T, class H, class E, class A>
template <typename map_core<K, T, H, E, A>::who Who>
[[gnu::always_inline]] inline auto map_core<K, T, H, E, A>::look_at_slot(bucket& b, int slot, std::uint64_t header, [[maybe_unused]] pin_of_entry& pin,
                                           sight& out) const -> slot_end {
    if constexpr (in_slots) {
        const auto words = storage::read(b.slot[slot]);
        if (layout::changed(header, b.header.load(std::memory_order_relaxed))) {  // relaxed: only compared
            return slot_end::changed;
        }
        storage::unpack(words, out.copy);
        out.slot = slot;
        return slot_end::there;
    } else {
        map_slot::word w = b.slot[slot].load(std::memory_order_acquire);  // E1 acquire, E3 acquire
        while ((w & map_slot::dead) == 0) {
            if (Who == who::writer && (w & map_slot::frozen) != 0) {
                return slot_end::changed;
            }
            node* const n = map_slot::node<node>(w);
            pin.reset_protection(n);
            const auto again = b.slot[slot].load(std::memory_order_acquire);  // E1 acquire, E3 acquire
            if (again != w) {
                w = again;
                continue;
            }
            if (layout::changed(header, b.header.load(std::memory_order_relaxed))) {  // relaxed: only compared
                return slot_end::changed;
            }
            out.word = w;
            out.slot = slot;
            return out.take(n) ? slot_end::there : slot_end::dead;
        }
        return slot_end::gone;
    }
}

/// Looks for the entry that `same` accepts in the slots. Present: it is in `out`, and was in the map at the last load of the header.
template <class K, class T, class H, class E, class A>
template <typename map_core<K, T, H, E, A>::who Who, class Same>
[[gnu::always_inline]] inline auto map_core<K, T, H, E, A>::search_slots(bucket& b, std::uint64_t header, std::uint64_t hash, Same const& same,
                                           pin_of_entry& pin, sight& out) const -> search_end {
    for (auto m = layout::match(header, layout::tag(hash)); m != 0; m &= m - 1) {
        const slot_end end = look_at_slot<Who>(b, layout::first(m), header, pin, out);
        if (end == slot_end::changed) {
            return search_end::changed;
        }
        if constexpr (Who == who::writer && stamped) {
            // Of its own key only: a neighbour's node in the child of two buckets may still be read through the one not yet done.
            if (end == slot_end::dead && same_hash(out, hash) && same(out.at->key)) {
                out.there = true;
                return search_end::dead;
            }
        }
        if (end == slot_end::there && same_hash(out, hash) && same(out.shown().value.first)) {
            out.there = true;
            return search_end::present;
        }
    }
    return search_end::absent;
}

template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::same_hash([[maybe_unused]] sight const& seen, [[maybe_unused]] std::uint64_t hash) noexcept {
    if constexpr (keeps_hash) {
        return seen.at->hash == hash;
    } else {
        return true;  // as good as: the key tells
    }
}

/// Looks in the overflow block too. Absent: the entry was not in the map at some moment of the search; a writer that succeeds
/// with a compare-exchange from this header knows that it still is not.
template <class K, class T, class H, class E, class A>
template <typename map_core<K, T, H, E, A>::who Who, class Same>
auto map_core<K, T, H, E, A>::search(bucket& b, std::uint64_t header, std::uint64_t hash, Same const& same, pins& pin,
                                     sight& out) const -> search_end {
    if (const auto end = search_slots<Who>(b, header, hash, same, pin.entry, out); end != search_end::absent) {
        return end;
    }
    if ((header & layout::overflow) == 0) [[likely]] {
        return search_end::absent;
    }
    return search_overflow<Who>(b, header, hash, same, pin.entry, [&]() -> hazard_pointer& { return pin.overflow(); }, out);
}

/// Looks for the entry that `same` accepts in the overflow block that the header shows, as search() does. `hazard()` is a hazard
/// pointer for the block.
template <class K, class T, class H, class E, class A>
template <typename map_core<K, T, H, E, A>::who Who, class Same, class Hazard>
[[gnu::noinline]] auto map_core<K, T, H, E, A>::search_overflow(bucket& b, std::uint64_t header, std::uint64_t hash, Same const& same,
                                              [[maybe_unused]] pin_of_entry& pin, Hazard const& hazard, sight& out) -> search_end {
    if (const auto w = b.overflow.load(std::memory_order_acquire); (w & map_overflow::bit(hash)) == 0) {  // E1 acquire
        return layout::changed(header, b.header.load(std::memory_order_relaxed)) ? search_end::changed   // relaxed: only compared
                                                                                 : search_end::absent;
    }
    out.overflow = pin_overflow(b, header, hazard());
    if (out.overflow == 0) {
        return search_end::changed;
    }
    block& o = *map_overflow::block<block>(out.overflow);
    out.slot = slots;
    for (std::size_t at = 0; at < o.count; ++at) {
        auto const& i = o.begin()[at];
        if constexpr (in_slots) {
            storage::unpack(i, out.copy);
        } else {
            if (i.hash != hash) {
                continue;
            }
            pin.reset_protection(i.at);
            if (overflow_changed(b, header, out.overflow)) {
                return search_end::changed;
            }
            if (!out.take(i.at)) {
                if (Who == who::reader) {
                    continue;
                }
                out.at_in_block = at;
                out.there = true;
                return search_end::dead;
            }
        }
        if (same(out.shown().value.first)) {
            out.at_in_block = at;
            out.there = true;
            return search_end::present;
        }
    }
    return search_end::absent;
}

// As a rule there is neither an overflow block nor another table to look at, nor a change of the bucket. Few instructions matter
// here even where memory is what takes time, and fewer branches that depend on it: the fewer, the more look-ups a core has under
// way at once.
template <class K, class T, class H, class E, class A>
template <class Same, class Use>
bool map_core<K, T, H, E, A>::look_up(std::uint64_t hash, Same const& same, Use&& use) const {
    {
        brief_hazard root(*domain_);
        if (root.empty()) [[unlikely]] {  // a look-up within the comparison of another one
            return look_up_again(hash, Same(same), std::remove_cvref_t<Use>(use));
        }
        table* const t = root.protect(root_);
        if (t == nullptr) {
            return false;
        }
        bucket* const b = t->peek(t->index(hash));
        if (b == nullptr) {
            return false;
        }
        bring_rest_near(*b);
        const auto header = b->header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
        search_end end = search_end::absent;
        if constexpr (in_slots) {
            entry copy;
            for (auto m = layout::match(header, layout::tag(hash)); m != 0; m &= m - 1) {
                const auto words = storage::read(b->slot[layout::first(m)]);
                if (b->header.load(std::memory_order_relaxed) != header) [[unlikely]] {  // relaxed: only compared
                    end = search_end::changed;
                    break;
                }
                storage::unpack(words, copy);
                if (same(copy.value.first)) {
                    root.end();
                    use(std::as_const(copy));
                    return true;
                }
            }
        } else {
            pin_of_entry pin(*domain_);
            sight seen;
            end = search_slots<who::reader>(*b, header, hash, same, pin, seen);
            if (end == search_end::present) {
                root.end();
                use(seen.shown());
                return true;
            }
        }
        if (end == search_end::absent && (header & layout::overflow) == 0) [[likely]] {  // `done` has this bit, and no entry
            return false;
        }
        if (end == search_end::absent && header != layout::done) {
            end = look_up_in_overflow(*b, header, hash, Same(same), std::remove_cvref_t<Use>(use));
            if (end != search_end::changed) {
                return end == search_end::present;
            }
        }
    }
    return look_up_again(hash, Same(same), std::remove_cvref_t<Use>(use));  // copies: these need not be in memory here
}

/// Present: it was used.
template <class K, class T, class H, class E, class A>
template <class Same, class Use>
[[gnu::noinline]] auto map_core<K, T, H, E, A>::look_up_in_overflow(bucket& b, std::uint64_t header, std::uint64_t hash,
                                                                    Same const& same, Use&& use) const -> search_end {
    hazard_pointer of_block;
    pin_of_entry pin(*domain_);
    sight seen;
    const auto hazard = [&]() -> hazard_pointer& { return of_block = make_hazard_pointer(*domain_); };
    const auto end = search_overflow<who::reader>(b, header, hash, same, pin, hazard, seen);
    if (end == search_end::present) {
        use(seen.shown());
    }
    return end;
}

template <class K, class T, class H, class E, class A>
template <class Same, class Use>
[[gnu::noinline]] bool map_core<K, T, H, E, A>::look_up_again(std::uint64_t hash, Same const& same, Use&& use) const {
    pins pin(*domain_);
    while (table* t = pin_root(pin)) {
        while (t != nullptr) {
            bucket* const b = t->peek(t->index(hash));
            if (b == nullptr) {
                return false;
            }
            const auto header = b->header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
            if (header == layout::done) {
                t = pin_next(pin, t);
                pin.step();
                continue;
            }
            sight seen;
            switch (search<who::reader>(*b, header, hash, same, pin, seen)) {
            case search_end::absent:
            case search_end::dead: return false;
            case search_end::present: use(seen.shown()); return true;
            case search_end::changed: break;
            }
        }
    }
    return false;
}

// All buckets first, then all nodes: so that the processor waits for many of them at once. What has moved on to the next table
// is not worth the way there.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::bring_near(std::span<std::uint64_t const> hashes) const {
    brief_hazard root(*domain_);
    table* const t = root.empty() ? nullptr : root.protect(root_);
    if (t == nullptr) {
        return;
    }
    for (const std::uint64_t hash : hashes) {
        if (bucket* const b = t->peek(t->index(hash))) {
            __builtin_prefetch(b);
            bring_rest_near(*b);
        }
    }
    if constexpr (!in_slots) {
        for (const std::uint64_t hash : hashes) {
            if (bucket* const b = t->peek(t->index(hash))) {
                const auto header = b->header.load(std::memory_order_relaxed);  // relaxed: a guess where to look
                if (const auto m = layout::match(header, layout::tag(hash)); m != 0) {
                    const auto w = b->slot[layout::first(m)].load(std::memory_order_relaxed);  // relaxed: never followed
                    __builtin_prefetch(map_slot::node<node>(w));
                }
            }
        }
    }
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
