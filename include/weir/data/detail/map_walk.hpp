// weir (BSL-1.0). detail::map_core, walks: all entries, one after the other.
#ifndef WEIR_DATA_DETAIL_MAP_WALK_HPP
#define WEIR_DATA_DETAIL_MAP_WALK_HPP
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/detail/map_bucket.hpp>
#include <weir/data/detail/map_core.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

// Edges: see map_core.hpp, which declares these functions.

namespace weir::inline v0 {
namespace detail {

/// The nodes of one bucket, each protected by a hazard pointer of its own.
template <class K, class T, class H, class E, class A>
class map_core<K, T, H, E, A>::held_nodes {
public:
    explicit held_nodes(hazard_pointer_domain& d) noexcept : domain_(d) {}
    void clear() noexcept { count_ = 0; }
    void add(node* n) {
        if (count_ == nodes_.size()) {
            nodes_.emplace_back();
            nodes_.back().protection = make_hazard_pointer(domain_);
        }
        nodes_[count_].protection.reset_protection(n);
        nodes_[count_++].seen.at = n;
    }
    /// Looks at the values of all, which are known to be protected.
    void look() noexcept {
        for (std::size_t i = 0; i < count_; ++i) {
            nodes_[i].seen.there = nodes_[i].seen.take(nodes_[i].seen.at);
        }
    }
    /// Whether they still are what they were.
    [[nodiscard]] bool unchanged() const noexcept {
        if constexpr (stamped) {
            for (std::size_t i = 0; i < count_; ++i) {
                sight const& s = nodes_[i].seen;
                if (s.at->stamp.load(std::memory_order_relaxed) != s.stamp) {  // relaxed: only compared
                    return false;
                }
            }
        }
        return true;
    }
    template <class Use>
    void each(Use& use) const {
        for (std::size_t i = 0; i < count_; ++i) {
            if (nodes_[i].seen.there) {
                use(nodes_[i].seen.shown());
            }
        }
    }

private:
    struct held {
        hazard_pointer protection;
        sight seen;
    };
    hazard_pointer_domain& domain_;
    std::vector<held> nodes_;
    std::size_t count_ = 0;
};

/// Copies of the pairs of one bucket.
template <class K, class T, class H, class E, class A>
class map_core<K, T, H, E, A>::held_pairs {
public:
    explicit held_pairs(hazard_pointer_domain&) noexcept {}
    void hold(bucket& b, std::uint64_t header) noexcept {
        published_ = layout::all_published(header);
        for (std::size_t i = 0; i < items_.size(); ++i) {  // all: fewer branches than slots
            items_[i] = storage::read(b.slot[i]);
        }
        more_.clear();
    }
    void hold(block& more) { more_.assign(more.begin(), more.end()); }
    template <class Use>
    void each(Use& use) const {
        entry e;
        for (auto m = published_; m != 0; m &= m - 1) {
            storage::unpack(items_[static_cast<std::size_t>(layout::first(m))], e);
            use(std::as_const(e));
        }
        for (item const& i : more_) {
            storage::unpack(i, e);
            use(std::as_const(e));
        }
    }

private:
    std::uint64_t published_ = 0;
    std::array<item, std::size_t{slots}> items_;
    std::vector<item> more_;  // of the overflow block
};

/// Copies what the bucket holds at one moment; false if there was no such moment.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::hold_pairs(bucket& b, std::uint64_t header, pins& pin, held_pairs& held) const {
    held.hold(b, header);
    if ((header & layout::overflow) != 0) {
        const auto w = pin_overflow(b, header, pin.overflow());
        if (w == 0) {
            return false;
        }
        held.hold(*map_overflow::block<block>(w));
    }
    // The whole header: an insertion leaves the version as it is, and what came after it must not be shown without it.
    return b.header.load(std::memory_order_relaxed) == header;  // relaxed: only compared
}

/// Protects what the bucket holds at one moment; false if there was no such moment.
template <class K, class T, class H, class E, class A>
bool map_core<K, T, H, E, A>::hold_nodes(bucket& b, std::uint64_t header, pins& pin, held_nodes& held) const {
    std::array<map_slot::word, std::size_t{slots}> words{};
    held.clear();
    const auto published = [&](int i) { return layout::published(header, i); };
    for (int i = 0; i < slots; ++i) {
        if (published(i)) {
            words[static_cast<std::size_t>(i)] = b.slot[i].load(std::memory_order_acquire);  // E1 acquire, E3 acquire
            if (const auto w = words[static_cast<std::size_t>(i)]; (w & map_slot::dead) == 0) {
                held.add(map_slot::node<node>(w));
            }
        }
    }
    map_overflow::word w = 0;
    if ((header & layout::overflow) != 0) {
        w = pin_overflow(b, header, pin.overflow());
        if (w == 0) {
            return false;
        }
        for (item const& i : *map_overflow::block<block>(w)) {
            held.add(i.at);
        }
    }
    const auto whole = [&] {
        for (int i = 0; i < slots; ++i) {
            if (published(i) &&
                b.slot[i].load(std::memory_order_acquire) != words[static_cast<std::size_t>(i)]) {  // E1 acquire, E3 acquire
                return false;
            }
        }
        // The whole header: an insertion leaves the version as it is, and what came after it must not be shown without it.
        return (w == 0 || b.overflow.load(std::memory_order_relaxed) == w) &&  // relaxed: only compared
               b.header.load(std::memory_order_relaxed) == header;             // relaxed: only compared
    };
    if (!whole()) {
        return false;
    }
    held.look();
    return !stamped || (whole() && held.unchanged());  // all was so when the last of the values had been looked at
}

/// Uses the nodes of a bucket one after the other; false if it was moved or its overflow block changed meanwhile.
template <class K, class T, class H, class E, class A>
template <class Use>
bool map_core<K, T, H, E, A>::visit_nodes(bucket& b, std::uint64_t header, pins& pin, Use& use) const {
    for (int i = 0; i < slots; ++i) {
        for (;;) {
            const auto w = b.slot[i].load(std::memory_order_acquire);  // E1 acquire, E3 acquire
            if (!layout::published(header, i) || (w & map_slot::dead) != 0) {
                break;
            }
            pin.entry.reset_protection(map_slot::node<node>(w));
            const auto again = b.slot[i].load(std::memory_order_acquire);  // E1 acquire, E3 acquire
            const auto now = b.header.load(std::memory_order_acquire);     // E2 acquire, E4 acquire
            if (now == layout::done) {
                return false;
            }
            if (again == w && !layout::changed(header, now)) {
                if (sight seen; seen.take(map_slot::node<node>(w))) {
                    use(seen.shown());
                }
                break;
            }
            header = now;  // an entry that was there all the time is in the same slot still
        }
    }
    header = b.header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
    if (header == layout::done) {
        return false;
    }
    if ((header & layout::overflow) == 0) {
        return true;
    }
    const auto w = pin_overflow(b, header, pin.overflow());
    if (w == 0) {
        return false;
    }
    for (item const& i : *map_overflow::block<block>(w)) {
        pin.entry.reset_protection(i.at);
        if (overflow_changed(b, header, w)) {
            return false;
        }
        if (sight seen; seen.take(i.at)) {
            use(seen.shown());
        }
    }
    return true;
}

template <class K, class T, class H, class E, class A>
template <bool Exact, class Use>
void map_core<K, T, H, E, A>::walk(Use&& use) const {
    pins pin(*domain_);
    held_entries held(*domain_);
    std::uint64_t at = 0;  // every entry whose hash is below has been used
    const auto use_new = [&](entry const& e) {  // a bucket of a table that shrank may begin before
        std::uint64_t hash = 0;
        if constexpr (in_slots || stamped) {
            hash = hash_(e.value.first);
        } else {
            hash = hash_of(e);
        }
        if (hash >= at) {
            use(e);
        }
    };
    while (table* const root = pin_root(pin)) {
        for (table* t = root; t != nullptr;) {
            const auto i = t->index(at);
            if (bucket* const b = t->peek(i)) {
                const auto header = b->header.load(std::memory_order_acquire);  // E2 acquire, E4 acquire
                if (header == layout::done) {
                    t = t == root ? pin_next(pin, root) : nullptr;  // null: the root has moved on, begin with the new one
                    continue;
                }
                const bool begun = at != i * t->span();
                if constexpr (in_slots) {
                    if (!hold_pairs(*b, header, pin, held)) {
                        continue;
                    }
                    begun ? held.each(use_new) : held.each(use);
                } else if constexpr (Exact) {
                    if (!hold_nodes(*b, header, pin, held)) {
                        continue;
                    }
                    begun ? held.each(use_new) : held.each(use);
                } else if (!(begun ? visit_nodes(*b, header, pin, use_new) : visit_nodes(*b, header, pin, use))) {
                    continue;
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
