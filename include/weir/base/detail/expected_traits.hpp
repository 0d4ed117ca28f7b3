// weir (BSL-1.0). expected_traits: which operations an expected<T, E> has, from those of T and E.
#ifndef WEIR_BASE_DETAIL_EXPECTED_TRAITS_HPP
#define WEIR_BASE_DETAIL_EXPECTED_TRAITS_HPP
#include <weir/base/detail/unexpected.hpp>

#include <type_traits>
#include <utility>

namespace weir::inline v0 {

template <expected_value T, expected_error E>
class expected;

namespace detail {

template <class X>
inline constexpr bool is_expected = false;
template <class T, class E>
inline constexpr bool is_expected<expected<T, E>> = true;

/// T is what is held: no_value in place of void.
template <class T, class E>
struct expected_traits {
    static constexpr bool destroyed_trivially =
        std::is_trivially_destructible_v<T> && std::is_trivially_destructible_v<E>;

    static constexpr bool copied = std::is_copy_constructible_v<T> && std::is_copy_constructible_v<E>;
    static constexpr bool copied_trivially =
        std::is_trivially_copy_constructible_v<T> && std::is_trivially_copy_constructible_v<E>;
    static constexpr bool copied_nothrow =
        std::is_nothrow_copy_constructible_v<T> && std::is_nothrow_copy_constructible_v<E>;

    static constexpr bool moved = std::is_move_constructible_v<T> && std::is_move_constructible_v<E>;
    static constexpr bool moved_trivially =
        std::is_trivially_move_constructible_v<T> && std::is_trivially_move_constructible_v<E>;
    static constexpr bool moved_nothrow =
        std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_constructible_v<E>;

    // One of the two must be able to step aside and back, or a throw in between would leave neither.
    static constexpr bool exchangeable =
        std::is_nothrow_move_constructible_v<T> || std::is_nothrow_move_constructible_v<E>;

    static constexpr bool copy_assigned =
        copied && exchangeable && std::is_copy_assignable_v<T> && std::is_copy_assignable_v<E>;
    static constexpr bool copy_assigned_trivially = copy_assigned && copied_trivially && destroyed_trivially &&
                                                    std::is_trivially_copy_assignable_v<T> &&
                                                    std::is_trivially_copy_assignable_v<E>;
    static constexpr bool copy_assigned_nothrow =
        copied_nothrow && std::is_nothrow_copy_assignable_v<T> && std::is_nothrow_copy_assignable_v<E>;

    static constexpr bool move_assigned =
        moved && exchangeable && std::is_move_assignable_v<T> && std::is_move_assignable_v<E>;
    static constexpr bool move_assigned_trivially = move_assigned && moved_trivially && destroyed_trivially &&
                                                    std::is_trivially_move_assignable_v<T> &&
                                                    std::is_trivially_move_assignable_v<E>;
    static constexpr bool move_assigned_nothrow =
        moved_nothrow && std::is_nothrow_move_assignable_v<T> && std::is_nothrow_move_assignable_v<E>;

    static constexpr bool swapped = moved && exchangeable && std::is_swappable_v<T> && std::is_swappable_v<E>;
    static constexpr bool swapped_nothrow =
        moved_nothrow && std::is_nothrow_swappable_v<T> && std::is_nothrow_swappable_v<E>;
};

template <class T, class From>
concept made_of_any =
    std::is_constructible_v<T, From&> || std::is_constructible_v<T, From> || std::is_constructible_v<T, From const&> ||
    std::is_constructible_v<T, From const> || std::is_convertible_v<From&, T> || std::is_convertible_v<From, T> ||
    std::is_convertible_v<From const&, T> || std::is_convertible_v<From const, T>;

template <class E, class From>
concept wrapped_by_any =
    std::is_constructible_v<unexpected<E>, From&> || std::is_constructible_v<unexpected<E>, From> ||
    std::is_constructible_v<unexpected<E>, From const&> || std::is_constructible_v<unexpected<E>, From const>;

/// An expected<T, E> can begin as an expected<U, G> did, whose value is passed as UF and whose error as GF; and neither T
/// nor E would rather have the expected<U, G> itself. (A bool could always be made of that, so it is not asked.)
template <class T, class E, class U, class G, class UF, class GF>
concept converts_to_expected = std::is_constructible_v<E, GF> && !wrapped_by_any<E, expected<U, G>> &&
                               ((std::is_void_v<T> && std::is_void_v<U>) ||
                                (std::is_constructible_v<T, UF> &&
                                 (std::is_same_v<std::remove_cv_t<T>, bool> || !made_of_any<T, expected<U, G>>)));

template <class T, class E, class U, class G>
concept converts_when_copied = converts_to_expected<T, E, U, G, std::add_lvalue_reference_t<U const>, G const&>;
template <class T, class E, class U, class G>
concept converts_when_moved = converts_to_expected<T, E, U, G, U, G>;

template <class UF, class T, class GF, class E>
inline constexpr bool converts_implicitly = (std::is_convertible_v<UF, T> && std::is_convertible_v<GF, E>);

/// A U given to an expected is meant as its value: it is none of expected's own words.
template <class Expected, class U>
concept meant_as_value =
    !std::is_void_v<typename Expected::value_type> && !is_or_refers_to<U, Expected> &&
    !is_or_refers_to<U, unexpect_t> && !is_or_refers_to<U, std::in_place_t> && !is_unexpected<std::remove_cvref_t<U>>;

template <class Expected, class U>
concept begins_expected = meant_as_value<Expected, U> && std::is_constructible_v<typename Expected::value_type, U> &&
    !(std::is_same_v<std::remove_cv_t<typename Expected::value_type>, bool> && is_expected<std::remove_cvref_t<U>>);

/// An A can be assigned to a T, and can begin one where an Other has been.
template <class T, class A, class Other>
concept assigned_over = std::is_constructible_v<T, A> && std::is_assignable_v<T&, A> &&
    (std::is_nothrow_constructible_v<T, A> || std::is_nothrow_move_constructible_v<T> ||
     std::is_nothrow_move_constructible_v<Other>);

template <class Expected, class U>
concept assigned_to_expected =
    meant_as_value<Expected, U> && assigned_over<typename Expected::value_type, U, typename Expected::error_type>;

template <class T, class U>
concept both_or_neither_void = (std::is_void_v<T> == std::is_void_v<U>);
template <class T, class U>
concept compared_as_value = !std::is_void_v<T> && !is_expected<U>;

}  // namespace detail
}  // namespace weir::inline v0
#endif
