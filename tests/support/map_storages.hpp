// weir (BSL-1.0). map_storages: numbers that live in the nodes of a lock_free_map, and which of its storages a map has.
#ifndef WEIR_TESTS_SUPPORT_MAP_STORAGES_HPP
#define WEIR_TESTS_SUPPORT_MAP_STORAGES_HPP
#include <weir/data/lock_free_map.hpp>

#include "counting_allocator.hpp"

#include <concepts>
#include <cstdint>
#include <functional>
#include <utility>

namespace weir_test {

/// A number that is not copied as bytes, so that a map of it has nodes: as a value they are replaced, as a key beside a small value
/// they are stamped. Otherwise as good as std::uint64_t.
class node_number {
public:
    constexpr node_number() noexcept = default;
    template <std::integral N>
    constexpr node_number(N n) noexcept : number_(static_cast<std::uint64_t>(n)) {}
    constexpr node_number(node_number const& other) noexcept : number_(other.number_) {}
    constexpr node_number& operator=(node_number const& other) noexcept {
        number_ = other.number_;
        return *this;
    }
    constexpr operator std::uint64_t() const noexcept { return number_; }
    [[nodiscard]] constexpr std::uint64_t number() const noexcept { return number_; }

private:
    std::uint64_t number_ = 0;
};

namespace detail {
template <class Map>
using storage_of = weir::detail::map_storage<typename Map::key_type, typename Map::mapped_type, typename Map::hasher>;
}  // namespace detail

/// Whether the entries of a map of these types stand in its slots; if not, in nodes.
template <class Map>
inline constexpr bool in_slots = detail::storage_of<Map>::in_slots;
/// Whether they stand in nodes whose values are changed in place.
template <class Map>
inline constexpr bool in_stamped_nodes = detail::storage_of<Map>::stamped;
/// Whether they stand in nodes that are replaced.
template <class Map>
inline constexpr bool in_nodes = !in_slots<Map> && !in_stamped_nodes<Map>;

/// A map with the keys and values of another.
template <class Map, class Hash = std::hash<std::uint64_t>, class KeyEqual = std::equal_to<std::uint64_t>>
using map_like = weir::lock_free_map<typename Map::key_type, typename Map::mapped_type, Hash, KeyEqual>;

namespace detail {
template <class Map, template <class> class Allocator>
struct with_allocator;
template <class Key, class T, class Hash, class KeyEqual, class Old, template <class> class Allocator>
struct with_allocator<weir::lock_free_map<Key, T, Hash, KeyEqual, Old>, Allocator> {
    using type = weir::lock_free_map<Key, T, Hash, KeyEqual, Allocator<std::pair<Key const, T>>>;
};
}  // namespace detail

/// The same map with another allocator.
template <class Map, template <class> class Allocator>
using with_allocator = typename detail::with_allocator<Map, Allocator>::type;

/// A map with a ledger of its own.
template <class Map>
struct booked {
    using map_type = with_allocator<Map, counting_allocator>;
    explicit booked(weir::lock_free_map_options o = {})
        : map(o, {}, {}, counting_allocator<typename Map::value_type>(book)) {}

    ledger book;
    map_type map;
};

}  // namespace weir_test
#endif
