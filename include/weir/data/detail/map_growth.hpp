// weir (BSL-1.0). detail::map_core, its memory: nodes, tables, growing and shrinking, the end.
#ifndef WEIR_DATA_DETAIL_MAP_GROWTH_HPP
#define WEIR_DATA_DETAIL_MAP_GROWTH_HPP
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/detail/map_bucket.hpp>
#include <weir/data/detail/map_core.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
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
        if constexpr (stamped) {
            made->value.store(map_word(std::make_from_tuple<T>(std::forward_as_tuple(std::forward<Args>(args)...))),
                              std::memory_order_relaxed);  // relaxed: nobody sees it yet
            nodes_of::construct(nodes, std::addressof(made->key), std::forward<Q>(key));
        } else {
            nodes_of::construct(nodes, std::addressof(made->value), std::piecewise_construct,
                                std::forward_as_tuple(std::forward<Q>(key)),
                                std::forward_as_tuple(std::forward<Args>(args)...));
        }
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
    if constexpr (stamped) {
        nodes_of::destroy(nodes, std::addressof(n->key));
    } else {
        nodes_of::destroy(nodes, std::addressof(n->value));
    }
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
        if (may_resize(t) && size() > room(t.bits())) {
            try_resize(t, t.bits() + 1);
        }
        if ((share & 1023U) == 0 && mine.has_rest()) {
            mine.sweep_rest(*domain_, *this);
        }
    }
}

/// The same for an entry that is gone.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::after_erase(table& t) noexcept {
    const auto share = static_cast<std::uint64_t>(my_bin().add(-1));
    if ((share & (t.bits() < 8 ? 7U : 63U)) == 0) [[unlikely]] {
        if (t.bits() > least_bits_.load(std::memory_order_relaxed) &&  // relaxed: a policy, orders nothing
            may_resize(t) && static_cast<double>(size()) < shrink_at_ * static_cast<double>(room(t.bits()))) {
            try_resize(t, t.bits() - 1);
        }
    }
}

/// Whether it is worth while to look at the size; resize() decides.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::may_resize(table const& t) const noexcept {
    return root_.load(std::memory_order_relaxed) == &t &&        // relaxed: a hint
           t.next.load(std::memory_order_relaxed) == nullptr;  // relaxed: a hint
}

template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::try_resize(table& t, int bits) noexcept {
    try {
        resize(t, bits);
    } catch (...) {  // nothing is lost, the table is only fuller or emptier than it should be
        failed_growths_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a count
    }
}

/// Links a table of another size behind the root. The root cannot leave `t`, which has no next, before it succeeds.
template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::resize(table& t, int bits) {
    if (root_.load(std::memory_order_acquire) != &t) {  // E5 acquire
        return;
    }
    rebound<map_unit> units(allocator_);
    table* const made = table::make(units, bits);
    table* none = nullptr;
    const bool reserved = bits < t.bits() &&
                          bits < least_bits_.load(std::memory_order_relaxed);  // relaxed: a policy, orders nothing
    if (!reserved &&
        t.next.compare_exchange_strong(none, made, std::memory_order_release,  // E5 release
                                       std::memory_order_relaxed)) {  // relaxed: loaded again with acquire where it is used
        (bits > t.bits() ? growths_ : shrinks_).fetch_add(1, std::memory_order_relaxed);  // relaxed: a count
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
[[gnu::noinline]] bool map_core<K, T, H, E, A>::try_move(table& from, table& to, std::size_t index, bool help_too, pins& pin,
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
        if (header != layout::done && (header & layout::moved) != 0) {
            throw;
        }
        return header == layout::done;
    }
}

template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::reserve(std::size_t entries) {
    const int bits = bits_for(entries);
    int least = least_bits_.load(std::memory_order_relaxed);  // relaxed: a policy, orders nothing
    while (least < bits &&
           !least_bits_.compare_exchange_weak(least, bits, std::memory_order_relaxed)) {  // relaxed: a policy, orders nothing
    }
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
            resize(*t, t->bits() + 1);
        }
    }
}

template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::shrink_to_fit() {
    least_bits_.store(table::least_bits, std::memory_order_relaxed);  // relaxed: a policy, orders nothing
    const int bits = bits_for(size());
    int seen = std::numeric_limits<int>::max();  // each table but the first is smaller: who grows meanwhile ends this
    after_pins later(*this);
    pins pin(*domain_);
    while (table* const t = pin_root(pin)) {
        if (table* const to = pin_next(pin, t)) {
            help(*t, *to, pin, later);
        } else if (t->bits() <= bits || t->bits() >= seen) {
            return;
        } else {
            seen = t->bits();
            resize(*t, seen - 1);
        }
    }
}

/// Ends a growth or a shrinking that is under way, and frees what nothing protects.
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
            if ((header & layout::overflow) != 0) {
                const auto w = pin_overflow(b, header, pin.overflow());
                in_overflow = w == 0 ? 0 : map_overflow::block<block>(w)->count;
            }
            std::size_t in_slots_of_it = 0;
            for (int i = 0; i < slots; ++i) {
                in_slots_of_it += layout::published(header, i) ? 1U : 0U;
            }
            shape.overflowed += in_overflow;
            shape.longest = std::max(shape.longest, in_slots_of_it + in_overflow);
        };
        for (std::size_t i = 0; whole && i < root->buckets(); ++i) {
            bucket* const b = root->peek(i);
            const auto header = b == nullptr ? 0 : b->header.load(std::memory_order_acquire);  // E4 acquire
            if (header != layout::done) {
                header == 0 ? void() : look(*b, header);
                continue;
            }
            table* const to = pin_next(pin, root);
            whole = to != nullptr;
            if (whole) {
                for_each_child(*root, *to, i, [&](bucket& child) {
                    look(child, child.header.load(std::memory_order_relaxed));  // relaxed: counted only
                });
            }
        }
        if (whole) {
            break;
        }
    }
    return shape;
}

/// Calls f(child) for the children of a bucket that is done; for the one child of two buckets, when it is asked for the first.
template <class K, class T, class H, class E, class A>
template <class F>
void map_core<K, T, H, E, A>::for_each_child(table const& from, table& to, std::size_t index, F const& f) {
    if (to.bits() > from.bits()) {
        f(*to.peek(2 * index));
        f(*to.peek(2 * index + 1));
    } else if (index % 2 == 0) {
        f(*to.peek(index / 2));
    }
}

template <class K, class T, class H, class E, class A>
void map_core<K, T, H, E, A>::destroy_entries(bucket& b) noexcept {
    const auto header = b.header.load(std::memory_order_relaxed);  // relaxed: the map is at rest
    block* const o = map_overflow::block<block>(b.overflow.load(std::memory_order_relaxed));  // relaxed: the map is at rest
    if constexpr (!in_slots) {
        for (int i = 0; i < slots; ++i) {
            const auto w = b.slot[i].load(std::memory_order_relaxed);  // relaxed: the map is at rest
            if (layout::published(header, i) && (w & map_slot::dead) == 0) {
                destroy(map_slot::node<node>(w));
            }
        }
        if (o != nullptr) {
            for (item const& i : *o) {
                destroy(i.at);
            }
        }
    }
    drop_block(o);
}

template <class K, class T, class H, class E, class A>
map_core<K, T, H, E, A>::~map_core() {
    if (table* const root = root_.load(std::memory_order_relaxed)) {        // relaxed: the map is at rest
        table* const next = root->next.load(std::memory_order_relaxed);  // relaxed: the map is at rest
        for (std::size_t i = 0; i < root->buckets(); ++i) {
            bucket* const b = root->peek(i);
            if (b != nullptr && b->header.load(std::memory_order_relaxed) != layout::done) {  // relaxed: the map is at rest
                destroy_entries(*b);
            } else if (b != nullptr) {
                for_each_child(*root, *next, i, [&](bucket& child) { destroy_entries(child); });
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
