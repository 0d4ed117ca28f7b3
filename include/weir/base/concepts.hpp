// weir (BSL-1.0). concepts: the abilities that weir asks of your types, by name.
#ifndef WEIR_BASE_CONCEPTS_HPP
#define WEIR_BASE_CONCEPTS_HPP
#include <atomic>
#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

// When:     you write a template of your own over weir's, or an error message named one of these.
// Note: a concept tests what can be written, not what it means. Where meaning matters, the comment states it.

namespace weir::inline v0 {

/// A hash function object for keys of type Key.
/// Equal keys must give equal results, and the call must be safe from several threads at once. Quality does not
/// matter: see weir::seeded_hash.
template <class H, class Key>
concept hasher_of = requires(H const& hash, Key const& key) {
    { hash(key) } -> std::convertible_to<std::size_t>;
};

/// A predicate that says whether two keys are the same; must be an equivalence relation, safe from several threads.
template <class E, class Key>
concept equivalence_of = requires(E const& equal, Key const& a, Key const& b) {
    { equal(a, b) } -> std::convertible_to<bool>;
};

/// Hash and Equal both declare `is_transparent` and take a Q, so that a Q can be looked up without making a Key of it.
/// A Q equal to a key must have the key's hash.
template <class Q, class Key, class Hash, class Equal>
concept transparent_for = hasher_of<Hash, Q> && requires(Equal const& equal, Q const& q, Key const& key) {
    typename Hash::is_transparent;
    typename Equal::is_transparent;
    { equal(key, q) } -> std::convertible_to<bool>;
    { equal(q, key) } -> std::convertible_to<bool>;
};

/// What a container of Key can look up: a Key (by value or any reference), or a type transparent to Hash and Equal.
template <class Q, class Key, class Hash, class Equal>
concept lookup_key =
    std::same_as<std::remove_cvref_t<Q>, Key> || transparent_for<std::remove_cvref_t<Q>, Key, Hash, Equal>;

/// What a function of such a container takes for a key: what it can look up, or what converts to a Key first.
template <class Q, class Key, class Hash, class Equal>
concept key_argument = lookup_key<Q, Key, Hash, Equal> || std::convertible_to<Q, Key>;

/// An allocator in the sense of [allocator.requirements]: the part that a compiler can look at.
/// Two copies of one allocator can free each other's memory, from any thread.
template <class A>
concept allocator_for = std::copy_constructible<A> && std::equality_comparable<A> &&
    requires(A& allocator, std::size_t count) {
    typename A::value_type;
    allocator.deallocate(allocator.allocate(count), count);
};

/// A value that can move to a new place without throwing. Assignment is not asked for: weir destroys and builds anew.
template <class T>
concept nothrow_movable = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>;

/// True for a type whose members may be changed by several threads at once (it holds atomics, or locks by itself).
/// Containers hand such a value out as `T&`, every other one as `T const&`. Specialise it for your own type:
/// `template <> inline constexpr bool weir::is_internally_synchronized<my_counters> = true;`
template <class T>
inline constexpr bool is_internally_synchronized = false;
template <class T>
inline constexpr bool is_internally_synchronized<std::atomic<T>> = true;
template <>
inline constexpr bool is_internally_synchronized<std::atomic_flag> = true;

}  // namespace weir::inline v0
#endif
