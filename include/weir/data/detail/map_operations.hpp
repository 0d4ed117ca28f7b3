// weir (BSL-1.0). detail::map_core, the operations on entries: look up, change, walk.
#ifndef WEIR_DATA_DETAIL_MAP_OPERATIONS_HPP
#define WEIR_DATA_DETAIL_MAP_OPERATIONS_HPP
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/detail/map_bucket.hpp>
#include <weir/data/detail/map_core.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <utility>
#include <vector>

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
            std::uint64_t h = bucket_.header.load(std::memory_order_relaxed);  // relaxed: only compared
            while ((h & map_header::moved) == 0 &&
                   !bucket_.header.compare_exchange_weak(h, map_header::without(h, slot_),
                                                         std::memory_order_release,     // E4 release
                                                         std::memory_order_relaxed)) {  // relaxed: only compared
            }
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
    void store(draft& d) noexcept {
        d.mark_seen();
        bucket_.slot[slot_].store(map_slot::of(d.get()), std::memory_order_release);  // E1 release, E3 release
    }
    /// Before the stored node may be retired: nobody who loads the word from here on can take it for a live one.
    void blank() noexcept { bucket_.slot[slot_].store(map_slot::dead, std::memory_order_release); }  // E3 release

private:
    bucket& bucket_;
    int slot_ = -1;
};

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

/// Looks for the entry that `same` accepts. Present: it is protected by pin.entry and was in the map at the last load of
/// the header. Absent: it was not in the map at some moment of the search; a writer that succeeds with a compare-exchange
/// from this header knows that it still is not.
template <class K, class T, class H, class E, class A>
template <typename map_core<K, T, H, E, A>::who Who, class Same>
auto map_core<K, T, H, E, A>::search(bucket& b, std::uint64_t header, std::uint64_t hash, Same const& same, pins& pin,
                                     sight& out) const -> search_end {
    for (auto m = map_header::match(header, map_header::tag(hash)); m != 0; m &= m - 1) {
        const int i = map_header::first(m);
        map_slot::word w = b.slot[i].load(std::memory_order_acquire);  // E1 acquire, E3 acquire
        while ((w & map_slot::dead) == 0) {
            if (Who == who::writer && (w & map_slot::frozen) != 0) {
                return search_end::changed;
            }
            node* const n = map_slot::node<node>(w);
            pin.entry.reset_protection(n);
            const auto again = b.slot[i].load(std::memory_order_acquire);  // E1 acquire, E3 acquire
            if (again != w) {
                w = again;
                continue;
            }
            if (map_header::changed(header, b.header.load(std::memory_order_relaxed))) {  // relaxed: only compared
                return search_end::changed;
            }
            if ((!keeps_hash || hash_of(*n) == hash) && same(n->value.first)) {
                out = {.found = n, .word = w, .slot = i};
                return search_end::present;
            }
            break;
        }
    }
    if ((header & map_header::overflow) == 0) {
        return search_end::absent;
    }
    block* const o = b.overflow.load(std::memory_order_relaxed);  // relaxed: announced; followed after the second look only
    const auto stale = [&] {  // also a block or node that was protected too late
        return b.overflow.load(std::memory_order_acquire) != o ||                       // E1 acquire
               map_header::changed(header, b.header.load(std::memory_order_relaxed));  // relaxed: only compared
    };
    pin.overflow().reset_protection(o);
    if (stale()) {
        return search_end::changed;
    }
    out = {.overflow = o};
    for (std::size_t i = 0; i < o->count; ++i) {
        auto const& e = o->begin()[i];
        if (e.hash == hash) {
            pin.entry.reset_protection(e.entry);
            if (stale()) {
                return search_end::changed;
            }
            if (same(e.entry->value.first)) {
                out = {.found = e.entry, .slot = map_header::slots, .overflow = o, .at = i};
                return search_end::present;
            }
        }
    }
    return search_end::absent;
}

template <class K, class T, class H, class E, class A>
template <class Same, class Use>
bool map_core<K, T, H, E, A>::look_up(std::uint64_t hash, Same const& same, Use&& use) const {
    pins pin(*domain_);
    while (table* t = pin_root(pin)) {
        while (t != nullptr) {
            bucket* const b = t->peek(t->index(hash));
            if (b == nullptr) {
                return false;
            }
            const auto header = b->header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
            if (header == map_header::done) [[unlikely]] {
                t = pin_next(pin, t);
                pin.step();
                continue;
            }
            sight seen;
            switch (search<who::reader>(*b, header, hash, same, pin, seen)) {
            case search_end::absent: return false;
            case search_end::present: use(*seen.found); return true;
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
    pins pin(*domain_);
    table* const t = pin_root(pin);
    if (t == nullptr) {
        return;
    }
    for (const std::uint64_t hash : hashes) {
        if (bucket* const b = t->peek(t->index(hash))) {
            __builtin_prefetch(b);
        }
    }
    for (const std::uint64_t hash : hashes) {
        if (bucket* const b = t->peek(t->index(hash))) {
            const auto header = b->header.load(std::memory_order_relaxed);  // relaxed: a guess where to look
            if (const auto m = map_header::match(header, map_header::tag(hash)); m != 0) {
                const auto w = b->slot[map_header::first(m)].load(std::memory_order_relaxed);  // relaxed: never followed
                __builtin_prefetch(map_slot::node<node>(w));
            }
        }
    }
}

template <class K, class T, class H, class E, class A>
template <class Same, class Decide>
void map_core<K, T, H, E, A>::mutate(std::uint64_t hash, Same const& same, Decide&& decide) {
    after_pins later(*this);
    pins pin(*domain_);
    bool helped = false;
    for (;;) {
        table* t = pin_root(pin);
        if (t == nullptr) {
            if (decide(nullptr).what != action::put) {
                return;
            }
            create_root(0);
            continue;
        }
        while (t != nullptr) {
            const auto i = t->index(hash);
            if (t->next.load(std::memory_order_relaxed) != nullptr) {  // relaxed: only compared, pin_next loads it again
                table* const to = pin_next(pin, t);
                if (to == nullptr || try_move(*t, *to, i, !std::exchange(helped, true), pin, later)) {
                    t = to;
                    pin.step();
                    continue;
                }
            }
            rebound<bucket> buckets(allocator_);
            if (mutate_bucket(*t, t->touch(buckets, i), hash, same, decide, pin)) {
                return;
            }
        }
    }
}

/// False: the bucket is being moved, and nothing was changed.
template <class K, class T, class H, class E, class A>
template <class Same, class Decide>
bool map_core<K, T, H, E, A>::mutate_bucket(table& t, bucket& b, std::uint64_t hash, Same const& same, Decide& decide,
                                            pins& pin) {
    reservation mine(b);
    std::uint64_t header = b.header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
    for (;;) {
        if ((header & map_header::moved) != 0) {
            mine.abandon();
            return false;
        }
        sight seen;
        if (search<who::writer>(b, header, hash, same, pin, seen) == search_end::changed) {
            header = b.header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
            continue;
        }
        const decision d = decide(seen.found);
        if (d.what == action::keep || (d.what == action::erase && seen.found == nullptr)) {
            return true;
        }
        const bool in_slot = seen.found != nullptr && seen.slot < map_header::slots;
        if (seen.found != nullptr || (!mine.held() && map_header::match(header, 0) == 0)) {
            if (in_slot ? change_slot(b, seen, d) : change_overflow(b, header, hash, seen, d)) {
                if (seen.found == nullptr) {
                    after_insert(t, true);
                }
                return true;
            }
            header = b.header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
            continue;
        }
        if (!mine.held()) {
            const int slot = map_header::first(map_header::match(header, 0));
            const auto with_mine = header | map_header::put(map_header::reserved, slot);
            if (!b.header.compare_exchange_strong(header, with_mine, std::memory_order_acquire,  // E4 acquire
                                                  std::memory_order_acquire)) {  // E2 acquire, E4 acquire
                continue;
            }
            header = with_mine;
            mine.take(slot);
        }
        mine.store(*d.with);
        const auto published =
            map_header::without(header, mine.slot()) | map_header::put(map_header::tag(hash), mine.slot());
        if (b.header.compare_exchange_strong(header, published, std::memory_order_release,  // E2 release
                                             std::memory_order_acquire)) {  // E2 acquire, E4 acquire
            mine.published();
            d.with->release();
            after_insert(t, false);
            return true;
        }
        mine.blank();
    }
}

/// Replaces or erases the entry that was seen in a slot; false if its word has changed.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::change_slot(bucket& b, sight const& seen, decision const& d) noexcept {
    const bool erases = d.what == action::erase;
    map_slot::word expected = seen.word;
    if (!b.slot[seen.slot].compare_exchange_strong(
            expected, erases ? seen.word | map_slot::dead : map_slot::of(d.with->get()),
            std::memory_order_release,     // E1 release
            std::memory_order_relaxed)) {  // relaxed: looked at again from the header
        return false;
    }
    if (erases) {
        my_bin().add(-1);
        free_dead_slot(b, seen.slot);
    } else {
        d.with->release();
    }
    retire(seen.found);
    return true;
}

/// Adds to, replaces in or erases from the overflow block; false if the bucket has changed.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::change_overflow(bucket& b, std::uint64_t header, std::uint64_t hash, sight const& seen,
                                              decision const& d) {
    if (seen.found == nullptr && free_any_dead_slot(b, header)) {
        return false;
    }
    block* const old = seen.overflow;
    const std::size_t before = old == nullptr ? 0 : old->count;
    const std::size_t after = before + (seen.found == nullptr ? 1 : 0) - (d.what == action::erase ? 1 : 0);
    rebound<map_unit> units(allocator_);
    block* const made = after == 0 ? nullptr : block::make(units, after);
    std::size_t to = 0;
    for (std::size_t i = 0; i < before; ++i) {
        const bool this_one = seen.found != nullptr && i == seen.at;
        if (!this_one) {
            made->begin()[to++] = old->begin()[i];
        } else if (d.what == action::put) {
            made->begin()[to++] = {hash, d.with->get()};
        }
    }
    if (seen.found == nullptr) {
        made->begin()[to] = {hash, d.with->get()};
    }
    const auto flag = made == nullptr ? 0 : map_header::overflow;
    if (!b.exchange_both(header, old, (map_header::bump(header) & ~map_header::overflow) | flag, made)) {
        drop_block(made);
        return false;
    }
    if (d.what == action::put) {
        d.with->release();
    } else {
        my_bin().add(-1);
    }
    if (old != nullptr) {
        retire(old);
    }
    if (seen.found != nullptr) {
        retire(seen.found);
    }
    return true;
}

/// Makes room in a full bucket whose erasers were suspended before they freed their slot. True: look at it again.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::free_any_dead_slot(bucket& b, std::uint64_t header) noexcept {
    for (int i = 0; i < map_header::slots; ++i) {
        if (map_header::state(header, i) > map_header::reserved &&
            (b.slot[i].load(std::memory_order_relaxed) & map_slot::dead) != 0) {  // relaxed: loaded again before it counts
            free_dead_slot(b, i);
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
    while ((header & map_header::moved) == 0 && map_header::state(header, slot) > map_header::reserved &&
           (b.slot[slot].load(std::memory_order_acquire) & map_slot::dead) != 0 &&  // E1 acquire
           !b.header.compare_exchange_weak(header, map_header::bump(map_header::without(header, slot)),
                                           std::memory_order_release,     // E4 release
                                           std::memory_order_acquire)) {  // E2 acquire, E4 acquire
    }
}

/// The entries of one bucket, each protected by a hazard pointer of its own.
template <class K, class T, class H, class E, class A>
class map_core<K, T, H, E, A>::held_entries {
public:
    explicit held_entries(hazard_pointer_domain& d) noexcept : domain_(d) {}
    void clear() noexcept { count_ = 0; }
    void add(node* n) {
        if (count_ == entries_.size()) {
            entries_.push_back({make_hazard_pointer(domain_), nullptr});
        }
        entries_[count_].protection.reset_protection(n);
        entries_[count_++].entry = n;
    }
    template <class Use>
    void each(Use& use) const {
        for (std::size_t i = 0; i < count_; ++i) {
            use(*entries_[i].entry);
        }
    }

private:
    struct held {
        hazard_pointer protection;
        node* entry;
    };
    hazard_pointer_domain& domain_;
    std::vector<held> entries_;
    std::size_t count_ = 0;
};

/// Protects what the bucket holds at one moment; false if there was no such moment.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::hold_entries(bucket& b, std::uint64_t header, pins& pin, held_entries& held) const {
    std::array<map_slot::word, map_header::slots> words{};
    held.clear();
    const auto published = [&](int i) { return map_header::state(header, i) > map_header::reserved; };
    for (int i = 0; i < map_header::slots; ++i) {
        if (published(i)) {
            words[static_cast<std::size_t>(i)] = b.slot[i].load(std::memory_order_acquire);  // E1 acquire, E3 acquire
            if (const auto w = words[static_cast<std::size_t>(i)]; (w & map_slot::dead) == 0) {
                held.add(map_slot::node<node>(w));
            }
        }
    }
    block* o = nullptr;
    if ((header & map_header::overflow) != 0) {
        o = b.overflow.load(std::memory_order_relaxed);  // relaxed: announced; followed after the second look only
        pin.overflow().reset_protection(o);
        if (b.overflow.load(std::memory_order_acquire) != o ||                          // E1 acquire
            map_header::changed(header, b.header.load(std::memory_order_relaxed))) {  // relaxed: only compared
            return false;
        }
        for (auto const& e : *o) {
            held.add(e.entry);
        }
    }
    for (int i = 0; i < map_header::slots; ++i) {
        if (published(i) &&
            b.slot[i].load(std::memory_order_acquire) != words[static_cast<std::size_t>(i)]) {  // E1 acquire, E3 acquire
            return false;
        }
    }
    // The whole header: an insertion leaves the version as it is, and what came after it must not be shown without it.
    return (o == nullptr || b.overflow.load(std::memory_order_relaxed) == o) &&  // relaxed: only compared
           b.header.load(std::memory_order_relaxed) == header;                   // relaxed: only compared
}

/// Uses the entries of a bucket one after the other; false if it was moved or its overflow block changed meanwhile.
template <class K, class T, class H, class E, class A>
template <class Use>
bool map_core<K, T, H, E, A>::visit_entries(bucket& b, std::uint64_t header, pins& pin, Use& use) const {
    for (int i = 0; i < map_header::slots; ++i) {
        for (;;) {
            const auto w = b.slot[i].load(std::memory_order_acquire);  // E1 acquire, E3 acquire
            if (map_header::state(header, i) <= map_header::reserved || (w & map_slot::dead) != 0) {
                break;
            }
            pin.entry.reset_protection(map_slot::node<node>(w));
            const auto again = b.slot[i].load(std::memory_order_acquire);  // E1 acquire, E3 acquire
            const auto now = b.header.load(std::memory_order_acquire);     // E2 acquire, E4 acquire
            if (now == map_header::done) {
                return false;
            }
            if (again == w && !map_header::changed(header, now)) {
                use(*map_slot::node<node>(w));
                break;
            }
            header = now;  // an entry that was there all the time is in the same slot still
        }
    }
    header = b.header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
    if (header == map_header::done) {
        return false;
    }
    if ((header & map_header::overflow) == 0) {
        return true;
    }
    block* const o = b.overflow.load(std::memory_order_relaxed);  // relaxed: announced; followed after the second look only
    pin.overflow().reset_protection(o);
    const auto stale = [&] {
        return b.overflow.load(std::memory_order_acquire) != o ||                       // E1 acquire
               map_header::changed(header, b.header.load(std::memory_order_relaxed));  // relaxed: only compared
    };
    if (stale()) {
        return false;
    }
    for (auto const& e : *o) {
        pin.entry.reset_protection(e.entry);
        if (stale()) {
            return false;
        }
        use(*e.entry);
    }
    return true;
}

template <class K, class T, class H, class E, class A>
template <bool Exact, class Use>
void map_core<K, T, H, E, A>::walk(Use&& use) const {
    pins pin(*domain_);
    held_entries held(*domain_);
    std::uint64_t at = 0;  // every entry whose hash is below has been used
    while (table* const root = pin_root(pin)) {
        for (table* t = root; t != nullptr;) {
            const auto i = t->index(at);
            if (bucket* const b = t->peek(i)) {
                const auto header = b->header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
                if (header == map_header::done) {
                    t = t == root ? pin_next(pin, root) : nullptr;  // null: the root has moved on, begin with the new one
                    continue;
                }
                if constexpr (Exact) {
                    if (!hold_entries(*b, header, pin, held)) {
                        continue;
                    }
                    held.each(use);
                } else {
                    if (!visit_entries(*b, header, pin, use)) {
                        continue;
                    }
                }
            }
            if (i + 1 == t->buckets()) {
                return;
            }
            at = (i + 1) * t->span();
            t = root;
        }
    }
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
