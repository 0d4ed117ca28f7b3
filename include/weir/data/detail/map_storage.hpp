// weir (BSL-1.0). detail::map_storage: where the entries of the lock-free map live, in its slots or in nodes.
#ifndef WEIR_DATA_DETAIL_MAP_STORAGE_HPP
#define WEIR_DATA_DETAIL_MAP_STORAGE_HPP
#include <weir/base/concepts.hpp>
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/detail/map_bucket.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

// Small pairs that are copied as bytes stand in the slots themselves: a look-up reads the bucket and nothing else. All others
// stand in nodes, to which the slots point: these can be large, need destructors, and are handed out where they are. A node with
// a small value that is copied as bytes is changed in place, together with a stamp that says whether it is dead: neither memory
// nor a copy of the key is needed, and the bucket is not touched, nor does it matter whether it is being moved.
//
//                a slot is             a bucket has              an entry is replaced by         an entry is erased by
//   map_pairs    the words of a pair   7 slots, 128 bytes (*)    publishing it in another slot   clearing its state
//   map_nodes    a marked address      6 slots, 64 bytes         exchanging the address          marking the address dead
//     stamped                                                    exchanging value and stamp      marking the stamp dead
//   (*) pairs of one word: 6 slots, 64 bytes
//
// Edges: see map_core.hpp.

namespace weir::inline v0 {
namespace detail {

/// A value of at most eight bytes, and the word that has them.
template <class T>
[[nodiscard]] std::uint64_t map_word(T const& value) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, std::addressof(value), sizeof(T));
    return word;
}

/// An entry. The pair never changes once another thread can see the node.
template <class Value, bool KeepsHash>
struct map_node : hazard_link {
    struct no_hash {};
    [[no_unique_address]] std::conditional_t<KeepsHash, std::uint64_t, no_hash> hash{};
    union {
        Value value;
    };

    map_node() noexcept : hazard_link{} {}
    map_node(map_node const&) = delete;
    map_node& operator=(map_node const&) = delete;
    ~map_node() {}  // the core destroys the value, through the allocator
};

/// An entry whose value changes with its stamp by one exchange of 16 bytes, until it is dead. The key never changes.
template <class Key, bool KeepsHash>
struct map_stamped_node : hazard_link {
    struct no_hash {};
    [[no_unique_address]] std::conditional_t<KeepsHash, std::uint64_t, no_hash> hash{};
    union {
        Key key;
    };
    alignas(16) std::atomic<std::uint64_t> value{0};
    std::atomic<std::uint64_t> stamp{0};  // twice the number of changes; odd: dead, and value is the last one
    static constexpr std::uint64_t dead = 1;
    static constexpr std::uint64_t one_change = 2;

    map_stamped_node() noexcept : hazard_link{} {}
    map_stamped_node(map_stamped_node const&) = delete;
    map_stamped_node& operator=(map_stamped_node const&) = delete;
    ~map_stamped_node() {}  // the core destroys the key, through the allocator

    bool exchange(std::uint64_t value_seen, std::uint64_t stamp_seen, std::uint64_t new_value, std::uint64_t new_stamp) noexcept {
        return compare_exchange_16(&value, value_seen, stamp_seen, new_value, new_stamp);
    }
};

/// What is shown of a stamped node: its key, and a copy of a value.
template <class Key, class T>
struct map_view {
    struct both {
        Key const& first;
        T second;
    };
    both value;

    map_view(Key const& key, std::uint64_t word) noexcept : value{key, from(word)} {}

private:
    static T from(std::uint64_t word) noexcept {
        union {  // T needs no default constructor
            T value;
            std::byte bytes[sizeof(T)];
        } copy{.bytes = {}};
        std::memcpy(static_cast<void*>(copy.bytes), &word, sizeof(T));
        return copy.value;
    }
};

/// The word of a slot with a node: its address and two marks in the low bits. Never zero again once it was filled.
///   dead    the entry is erased; the address means nothing any more
///   frozen  the bucket is being moved; the word never changes again
namespace map_slot {
using word = std::uintptr_t;
inline constexpr word dead = 1;
inline constexpr word frozen = 2;
inline constexpr word marks = dead | frozen;

template <class Node>
[[nodiscard]] Node* node(word w) noexcept {
    return reinterpret_cast<Node*>(w & ~marks);
}
template <class Node>
[[nodiscard]] word of(Node* n) noexcept {
    return reinterpret_cast<word>(n);
}
}  // namespace map_slot

/// Whether values may be changed in place, by readers' copies of a word.
template <class T>
inline constexpr bool map_stamps = std::is_trivially_copyable_v<T> && std::is_move_constructible_v<T> && sizeof(T) <= 8 &&
                                   !is_internally_synchronized<T>;

template <class Key, class T, bool KeepsHash>
struct map_nodes {
    static constexpr bool in_slots = false;
    static constexpr bool stamped = map_stamps<T>;
    static constexpr bool keeps_hash = KeepsHash;
    using node = std::conditional_t<stamped, map_stamped_node<Key, KeepsHash>, map_node<std::pair<Key const, T>, KeepsHash>>;
    using entry = std::conditional_t<stamped, map_view<Key, T>, node>;  // what look-ups and decisions are shown
    using slot = std::atomic<map_slot::word>;
    using header = map_header<6, 5>;
    struct item {  // what overflow blocks hold and moves carry
        std::uint64_t hash;
        node* at;
    };
    static constexpr std::size_t doubled_load = 8;  // the map grows at 4 entries for the 6 slots of a bucket: one in nine overflows

    [[nodiscard]] static Key const& key_of(node const& n) noexcept {
        if constexpr (stamped) {
            return n.key;
        } else {
            return n.value.first;
        }
    }
    static void fill(slot& of_mine, item const& i) noexcept {
        of_mine.store(map_slot::of(i.at), std::memory_order_relaxed);  // relaxed: the header that publishes it releases
    }
};

/// A copy of an entry of map_pairs. Made of bytes, so that Key and T need no default constructor.
template <class Key, class T>
struct map_pair {
    struct both {
        Key first;
        T second;
    };
    union {
        both value;
    };

    map_pair() noexcept {}
    map_pair(map_pair const&) = delete;
    map_pair& operator=(map_pair const&) = delete;
    ~map_pair() {}  // trivial for such types
};

template <class Key, class T>
struct map_pairs {
    static constexpr bool in_slots = true;
    static constexpr bool stamped = false;
    static constexpr bool keeps_hash = false;
    using entry = map_pair<Key, T>;
    using both = typename entry::both;
    static constexpr std::size_t words = (sizeof(both) + 7) / 8;
    using item = std::array<std::uint64_t, words>;
    using slot = std::array<std::atomic<std::uint64_t>, words>;
    using header = std::conditional_t<words == 1, map_header<6, 5>, map_header<7, 4>>;
    static constexpr std::size_t doubled_load = words == 1 ? 8 : 9;  // 4.5 entries for 7 slots
    struct node : hazard_link {};  // there are none

    /// The bytes of a pair; those between and behind Key and T are zero.
    [[nodiscard]] static item pack(Key const& key, T const& value) noexcept {
        item bytes{};
        std::memcpy(bytes.data(), std::addressof(key), sizeof(Key));
        std::memcpy(reinterpret_cast<std::byte*>(bytes.data()) + (sizeof(Key) + alignof(T) - 1) / alignof(T) * alignof(T),
                    std::addressof(value), sizeof(T));
        return bytes;
    }
    static void unpack(item const& bytes, entry& to) noexcept {
        std::memcpy(static_cast<void*>(std::addressof(to.value)), bytes.data(), sizeof(both));
    }
    [[nodiscard]] static item read(slot const& from) noexcept {
        item copy;
        for (std::size_t i = 0; i < words; ++i) {
            copy[i] = from[i].load(std::memory_order_acquire);  // E3 acquire
        }
        return copy;
    }
    static void fill(slot& of_mine, item const& bytes) noexcept {
        for (std::size_t i = 0; i < words; ++i) {
            of_mine[i].store(bytes[i], std::memory_order_relaxed);  // relaxed: the header that publishes it releases
        }
    }
    static void write(slot& to, item const& bytes) noexcept {
        for (std::size_t i = 0; i < words; ++i) {
            to[i].store(bytes[i], std::memory_order_release);  // E3 release
        }
    }
};

/// Whether a pair may be copied word by word, while others write it, and thrown away if it was.
template <class Key, class T>
inline constexpr bool map_copies_bytes = std::is_trivially_copyable_v<Key> && std::is_trivially_copyable_v<T> &&
                                         std::is_move_constructible_v<Key> && std::is_move_constructible_v<T> &&
                                         sizeof(typename map_pair<Key, T>::both) <= 16 && !is_internally_synchronized<T>;

/// Moving a bucket needs the hash of each entry and must not fail: kept in the node unless it is cheap and cannot throw.
template <class Key, class Hash>
inline constexpr bool map_hashes_again = std::is_nothrow_invocable_v<Hash const&, Key const&> &&
                                         std::is_trivially_copyable_v<Key> && sizeof(Key) <= 2 * sizeof(void*);

template <class Key, class T, class Hash>
using map_storage = std::conditional_t<map_copies_bytes<Key, T> && map_hashes_again<Key, Hash>, map_pairs<Key, T>,
                                       map_nodes<Key, T, !map_hashes_again<Key, Hash>>>;

}  // namespace detail
}  // namespace weir::inline v0
#endif
