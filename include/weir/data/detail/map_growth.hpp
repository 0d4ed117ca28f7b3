// weir (BSL-1.0). detail::map_core, its memory: nodes, the first table, growing, moving, the end.
#ifndef WEIR_DATA_DETAIL_MAP_GROWTH_HPP
#define WEIR_DATA_DETAIL_MAP_GROWTH_HPP
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/detail/map_bucket.hpp>
#include <weir/data/detail/map_core.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

// Edges: see map_core.hpp, which declares these functions.

namespace weir::inline v0 {
namespace detail {

template <class K, class T, class H, class E, class A>
template <class Q, class... Args>
auto map_core<K, T, H, E, A>::make_node(std::uint64_t hash, Q&& key, Args&&... args) -> node* {
    rebound<node> nodes(allocator_);
    node* const made = ::new (static_cast<void*>(nodes_of::allocate(nodes, 1))) node();
    try {
        nodes_of::construct(nodes, std::addressof(made->value), std::piecewise_construct,
                            std::forward_as_tuple(std::forward<Q>(key)),
                            std::forward_as_tuple(std::forward<Args>(args)...));
    } catch (...) {
        made->~node();
        nodes_of::deallocate(nodes, made, 1);
        throw;
    }
    if constexpr (keeps_hash) {
        made->hash = hash;
    }
    return made;
}

template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::destroy(node* n) noexcept {
    rebound<node> nodes(allocator_);
    nodes_of::destroy(nodes, std::addressof(n->value));
    n->~node();
    nodes_of::deallocate(nodes, n, 1);
}

template <class K, class T, class H, class E, class A>
int map_core<K, T, H, E, A>::bits_for(std::size_t entries) noexcept {
    int bits = table::least_bits;
    while (room(bits) < entries) {
        ++bits;
    }
    return bits;
}

/// Makes the first table; another thread may have been faster.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::create_root(std::size_t entries) {
    if (bins_.load(std::memory_order_relaxed) == nullptr) {  // relaxed: loaded again with acquire where it is used
        rebound<bin> bins(allocator_);
        bin* const made = std::allocator_traits<rebound<bin>>::allocate(bins, bin_count_);
        std::uninitialized_default_construct_n(made, bin_count_);
        bin* none = nullptr;
        if (!bins_.compare_exchange_strong(none, made, std::memory_order_release,  // E6 release
                                           std::memory_order_relaxed)) {  // relaxed: loaded again with acquire where it is used
            std::allocator_traits<rebound<bin>>::deallocate(bins, made, bin_count_);
        }
    }
    rebound<map_unit> units(allocator_);
    table* const made = table::make(units, bits_for(entries));
    table* none = nullptr;
    if (!root_.compare_exchange_strong(none, made, std::memory_order_release,  // E5 release
                                       std::memory_order_relaxed)) {  // relaxed: loaded again with acquire where it is used
        drop_table(made);
    }
}

/// Counts an entry. Looks at the size of the map only now and then, and when a bucket was full.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::after_insert(table& t, bool spilled) noexcept {
    bin& mine = my_bin();
    const auto share = static_cast<std::uint64_t>(mine.add(1));
    if (spilled || (share & (t.bits() < 8 ? 7U : 63U)) == 0) [[unlikely]] {
        if (root_.load(std::memory_order_relaxed) == &t &&        // relaxed: a hint, grow() decides
            t.next.load(std::memory_order_relaxed) == nullptr &&  // relaxed: a hint, grow() decides
            size() > room(t.bits())) {
            try {
                grow(t);
            } catch (...) {  // the entry is stored, its table is only fuller than it should be
                failed_growths_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a count
            }
        }
        if ((share & 1023U) == 0 && mine.has_rest()) {
            mine.sweep_rest(*domain_, *this);
        }
    }
}

/// Links a table of twice the size behind the root. The root cannot leave `t`, which has no next, before it succeeds.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::grow(table& t) {
    if (root_.load(std::memory_order_acquire) != &t) {  // E5 acquire
        return;
    }
    rebound<map_unit> units(allocator_);
    table* const made = table::make(units, t.bits() + 1);
    table* none = nullptr;
    if (t.next.compare_exchange_strong(none, made, std::memory_order_release,  // E5 release
                                       std::memory_order_relaxed)) {  // relaxed: loaded again with acquire where it is used
        growths_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a count
    } else {
        drop_table(made);
    }
}

/// Moves a chunk of buckets; makes the next table the root when nothing is left.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::help(table& from, table& to, pins& pin, after_pins& later) {
    const std::size_t chunk = from.claim_chunk();
    if (chunk < from.chunks()) {
        const std::size_t first = chunk * from.chunk_buckets();
        for (std::size_t i = first; i < first + from.chunk_buckets(); ++i) {
            move_bucket(from, to, i, pin);
        }
        from.mark_moved(chunk);
    }
    if (from.all_chunks_moved()) {
        table* root = &from;
        if (root_.compare_exchange_strong(root, &to, std::memory_order_release,  // E5 release
                                          std::memory_order_relaxed)) {          // relaxed: somebody else did it
            retire(&from);
            later.sweep = true;
        }
    }
}

/// Moves a bucket, and a chunk of others. False: memory ran out before the bucket was touched, so it may be used as it is.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::try_move(table& from, table& to, std::size_t index, bool help_too, pins& pin,
                                       after_pins& later) {
    try {
        if (help_too) {
            help(from, to, pin, later);
        }
        move_bucket(from, to, index, pin);
        return true;
    } catch (...) {
        failed_growths_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a count
        bucket* const b = from.peek(index);
        const auto header = b == nullptr ? 0 : b->header.load(std::memory_order_acquire);  // E4 acquire
        if (header != map_header::done && (header & map_header::moved) != 0) {
            throw;
        }
        return header == map_header::done;
    }
}

template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::move_bucket(table& from, table& to, std::size_t index, pins& pin) {
    rebound<bucket> buckets(allocator_);
    bucket& source = from.touch(buckets, index);
    std::uint64_t header = source.header.load(std::memory_order_acquire);  // E4 acquire
    if (header == map_header::done) {
        return;
    }
    bucket* const children = &to.touch(buckets, 2 * index);  // both memory and pointer before anything is frozen
    while ((header & map_header::moved) == 0) {
        if (source.header.compare_exchange_weak(header, header | map_header::moved,
                                                std::memory_order_release,     // E4 release: `next`, for who meets `moved`
                                                std::memory_order_acquire)) {  // E4 acquire
            header |= map_header::moved;
        }
    }
    if (header != map_header::done) {
        move_frozen(source, header, children, to.bits(), pin);
    }
}

/// What one child of a moved bucket gets: the same for every thread that computes it.
template <class K, class T, class H, class E, class A>
struct map_core<K, T, H, E, A>::inheritance {
    std::array<node*, map_header::slots> nodes;
    std::uint64_t header = map_header::one_version;
    std::size_t in_slots = 0;
    std::size_t from_slots = 0;  // how many of them stood in slots of the source
    std::size_t spilled = 0;
    block* overflow = nullptr;

    void add(node* n, std::uint64_t hash) noexcept {
        if (in_slots == nodes.size()) {
            ++spilled;
            return;
        }
        header |= map_header::put(map_header::tag(hash), static_cast<int>(in_slots));
        nodes[in_slots++] = n;
    }
};

/// Fills both children of a bucket whose header is final. Any number of threads may do so at once, and stop anywhere.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::move_frozen(bucket& source, std::uint64_t frozen, bucket* children, int child_bits,
                                          pins& pin) {
    std::array<inheritance, 2> heirs;
    const auto side = [&](std::uint64_t hash) { return (hash >> (64 - child_bits)) & 1U; };
    const auto too_late = [&] {  // the children may be in use, and what was in the source erased and freed
        return source.header.load(std::memory_order_acquire) == map_header::done;  // E4 acquire
    };
    for (int i = 0; i < map_header::slots; ++i) {
        if (map_header::state(frozen, i) > map_header::reserved) {
            const auto w = source.slot[i].fetch_or(map_slot::frozen, std::memory_order_acquire);  // E1 acquire
            if ((w & map_slot::dead) == 0) {
                node* const n = map_slot::node<node>(w);
                pin.entry.reset_protection(n);
                if (too_late()) {
                    return;
                }
                const auto hash = hash_of(*n);
                heirs[side(hash)].add(n, hash);
            }
        }
    }
    block* old = nullptr;
    if ((frozen & map_header::overflow) != 0) {
        old = source.overflow.load(std::memory_order_relaxed);  // relaxed: it came with the header, and both are final
        pin.overflow().reset_protection(old);
        if (too_late()) {
            return;
        }
        heirs[0].from_slots = heirs[0].in_slots;
        heirs[1].from_slots = heirs[1].in_slots;
        for (auto const& e : *old) {
            heirs[side(e.hash)].add(e.entry, e.hash);
        }
        spill(*old, heirs[0], heirs[1], side);
    }
    settle(children[0], heirs[0]);
    settle(children[1], heirs[1]);
    if (source.header.compare_exchange_strong(frozen, map_header::done, std::memory_order_release,  // E4 release
                                              std::memory_order_relaxed) &&  // relaxed: somebody else did it
        old != nullptr) {
        retire(old);
    }
}

/// Makes the overflow blocks of children that inherit more than fits into their slots.
template <class K, class T, class H, class E, class A>
template <class Side>
void map_core<K, T, H, E, A>::spill(block& old, inheritance& left, inheritance& right, Side const& side) {
    rebound<map_unit> units(allocator_);
    left.overflow = left.spilled == 0 ? nullptr : block::make(units, left.spilled);
    try {
        right.overflow = right.spilled == 0 ? nullptr : block::make(units, right.spilled);
    } catch (...) {
        drop_block(left.overflow);
        throw;
    }
    std::array<std::size_t, 2> seen{left.from_slots, right.from_slots};
    for (auto const& e : old) {
        const std::size_t nth = seen[side(e.hash)]++;
        if (nth >= map_header::slots) {
            (side(e.hash) == 0 ? left : right).overflow->begin()[nth - map_header::slots] = e;
        }
    }
}

/// Starts a child. A slot word leaves zero once and the header leaves zero once, so whoever comes late changes nothing.
/// Each helper goes through all of it before it says that the source is done, and so has read or written every word: whoever
/// acquires that (E4) sees them all, whichever helper it was.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::settle(bucket& child, inheritance const& heir) noexcept {
    for (std::size_t i = 0; i < heir.in_slots; ++i) {
        map_slot::word untouched = 0;
        child.slot[i].compare_exchange_strong(untouched, map_slot::of(heir.nodes[i]),
                                              std::memory_order_relaxed,   // relaxed: the source being done tells of it
                                              std::memory_order_relaxed);  // relaxed: somebody else did it
    }
    if (heir.overflow == nullptr) {
        std::uint64_t untouched = 0;
        child.header.compare_exchange_strong(untouched, heir.header,
                                             std::memory_order_relaxed,   // relaxed: the source being done tells of it
                                             std::memory_order_relaxed);  // relaxed: somebody else did it
    } else if (!child.exchange_both(0, nullptr, heir.header | map_header::overflow, heir.overflow)) {
        drop_block(heir.overflow);
    }
}

template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::reserve(std::size_t entries) {
    const int bits = bits_for(entries);
    after_pins later(*this);
    pins pin(*domain_);
    for (;;) {
        table* const t = pin_root(pin);
        if (t == nullptr) {
            create_root(entries);
        } else if (table* const to = pin_next(pin, t)) {
            help(*t, *to, pin, later);
        } else if (t->bits() >= bits) {
            return;
        } else {
            grow(*t);
        }
    }
}

/// Ends a growth that is under way, and frees what nothing protects.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::quiesce() {
    {
        after_pins later(*this);
        pins pin(*domain_);
        while (table* const t = pin_root(pin)) {
            table* const to = pin_next(pin, t);
            if (to == nullptr && t->next.load(std::memory_order_relaxed) == nullptr) {  // relaxed: any moment will do
                break;
            }
            if (to != nullptr) {
                help(*t, *to, pin, later);
            }
        }
    }
    if (bin* const all = bins_.load(std::memory_order_acquire)) {  // E6 acquire
        for (std::size_t i = 0; i < bin_count_; ++i) {
            all[i].sweep(*domain_, *this);
        }
    }
}

template <class K, class T, class H, class E, class A>
std::size_t map_core<K, T, H, E, A>::size() const noexcept {
    std::int64_t sum = 0;
    if (bin const* const all = bins_.load(std::memory_order_acquire)) {  // E6 acquire
        for (std::size_t i = 0; i < bin_count_; ++i) {
            sum += all[i].share();
        }
    }
    return static_cast<std::size_t>(std::max<std::int64_t>(sum, 0));
}

template <class K, class T, class H, class E, class A>
map_pending map_core<K, T, H, E, A>::pending() const noexcept {
    map_pending sum;
    if (bin const* const all = bins_.load(std::memory_order_acquire)) {  // E6 acquire
        for (std::size_t i = 0; i < bin_count_; ++i) {
            const auto one = all[i].pending();
            sum.objects += one.objects;
            sum.bytes += one.bytes;
        }
    }
    return sum;
}

template <class K, class T, class H, class E, class A>
auto map_core<K, T, H, E, A>::measure() const -> map_shape {
    map_shape shape;
    pins pin(*domain_);
    while (table* const root = pin_root(pin)) {
        shape = {.buckets = root->buckets()};
        bool whole = true;
        const auto look = [&](bucket& b, std::uint64_t header) {
            std::size_t in_overflow = 0;
            if ((header & map_header::overflow) != 0) {
                block* const o = pin.overflow().protect(b.overflow);
                const auto now = b.header.load(std::memory_order_relaxed);  // relaxed: only compared. Done: it may be gone
                in_overflow = o == nullptr || now == map_header::done ? 0 : o->count;
            }
            std::size_t in_slots = 0;
            for (int i = 0; i < map_header::slots; ++i) {
                in_slots += map_header::state(header, i) > map_header::reserved ? 1U : 0U;
            }
            shape.overflowed += in_overflow;
            shape.longest = std::max(shape.longest, in_slots + in_overflow);
        };
        for (std::size_t i = 0; whole && i < root->buckets(); ++i) {
            bucket* const b = root->peek(i);
            const auto header = b == nullptr ? 0 : b->header.load(std::memory_order_acquire);  // E4 acquire
            if (header != map_header::done) {
                header == 0 ? void() : look(*b, header);
                continue;
            }
            table* const to = pin_next(pin, root);
            whole = to != nullptr;
            for (std::size_t c = 2 * i; whole && c < 2 * i + 2; ++c) {
                bucket& child = *to->peek(c);
                look(child, child.header.load(std::memory_order_relaxed));  // relaxed: counted only
            }
        }
        if (whole) {
            break;
        }
    }
    return shape;
}

template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::destroy_entries(bucket& b) noexcept {
    const auto header = b.header.load(std::memory_order_relaxed);  // relaxed: the map is at rest
    for (int i = 0; i < map_header::slots; ++i) {
        const auto w = b.slot[i].load(std::memory_order_relaxed);  // relaxed: the map is at rest
        if (map_header::state(header, i) > map_header::reserved && (w & map_slot::dead) == 0) {
            destroy(map_slot::node<node>(w));
        }
    }
    if ((header & map_header::overflow) != 0) {
        block* const o = b.overflow.load(std::memory_order_relaxed);  // relaxed: the map is at rest
        for (auto const& e : *o) {
            destroy(e.entry);
        }
        drop_block(o);
    }
}

template <class K, class T, class H, class E, class A>
map_core<K, T, H, E, A>::~map_core() {
    if (table* const root = root_.load(std::memory_order_relaxed)) {        // relaxed: the map is at rest
        table* const next = root->next.load(std::memory_order_relaxed);  // relaxed: the map is at rest
        for (std::size_t i = 0; i < root->buckets(); ++i) {
            bucket* const b = root->peek(i);
            if (b != nullptr && b->header.load(std::memory_order_relaxed) != map_header::done) {  // relaxed: the map is at rest
                destroy_entries(*b);
            } else if (b != nullptr) {
                destroy_entries(*next->peek(2 * i));
                destroy_entries(*next->peek(2 * i + 1));
            }
        }
        drop_table(root);
        if (next != nullptr) {
            drop_table(next);
        }
    }
    if (bin* const all = bins_.load(std::memory_order_relaxed)) {  // relaxed: the map is at rest
        for (std::size_t i = 0; i < bin_count_; ++i) {
            all[i].clear(*this);
        }
        std::destroy_n(all, bin_count_);
        rebound<bin> bins(allocator_);
        std::allocator_traits<rebound<bin>>::deallocate(bins, all, bin_count_);
    }
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
