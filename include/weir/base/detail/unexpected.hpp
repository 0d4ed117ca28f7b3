// weir (BSL-1.0). unexpected<E>: the error side of expected: its wrapper, its tag and its exception.
#ifndef WEIR_BASE_DETAIL_UNEXPECTED_HPP
#define WEIR_BASE_DETAIL_UNEXPECTED_HPP
#include <exception>
#include <initializer_list>
#include <type_traits>
#include <utility>

namespace weir::inline v0 {

/// Says that the arguments behind it make the error: `weir::expected<int, std::string> e(weir::unexpect, 3, 'x');`
struct unexpect_t {
    explicit unexpect_t() = default;
};
inline constexpr unexpect_t unexpect{};

template <class E>
class unexpected;

namespace detail {

template <class X>
inline constexpr bool is_unexpected = false;
template <class E>
inline constexpr bool is_unexpected<unexpected<E>> = true;

template <class X, class Y>
inline constexpr bool is_or_refers_to = std::is_same_v<std::remove_cvref_t<X>, Y>;

template <class Unexpected, class E, class G>
concept begins_unexpected =
    !is_or_refers_to<G, Unexpected> && !is_or_refers_to<G, std::in_place_t> && std::is_constructible_v<E, G>;

template <class T, class X, class... A>
concept begins_with_list = std::is_constructible_v < T,
        std::initializer_list<X>
&, A... > ;
template <class T, class X, class... A>
concept begins_with_list_nothrow = std::is_nothrow_constructible_v < T,
        std::initializer_list<X>
&, A... > ;

}  // namespace detail

/// What can be an error of expected: an object type, neither const, nor an array, nor itself an unexpected.
template <class E>
concept expected_error =
    std::is_object_v<E> && !std::is_array_v<E> && std::is_same_v<E, std::remove_cv_t<E>> && !detail::is_unexpected<E>;

/// What can be a value of expected: void, or an object type that is neither an array nor one of expected's own words.
template <class T>
concept expected_value = std::is_void_v<T> ||
    (std::is_object_v<T> && !std::is_array_v<T> && !std::is_same_v<std::remove_cv_t<T>, std::in_place_t> &&
     !std::is_same_v<std::remove_cv_t<T>, unexpect_t> && !detail::is_unexpected<std::remove_cv_t<T>>);

/// An error on its way into an expected: `return weir::unexpected{refusal::open};`
template <class E>
class unexpected {
    static_assert(expected_error<E>, "E must be an object type, not const, no array, no unexpected");

public:
    unexpected(unexpected const&) = default;
    unexpected(unexpected&&) = default;
    unexpected& operator=(unexpected const&) = default;
    unexpected& operator=(unexpected&&) = default;
    ~unexpected() = default;

    template <class G = E>
    requires detail::begins_unexpected<unexpected, E, G>
    constexpr explicit unexpected(G&& error) noexcept(std::is_nothrow_constructible_v<E, G>)
        : error_(std::forward<G>(error)) {}

    template <class... A>
    requires std::is_constructible_v<E, A...>
    constexpr explicit unexpected(std::in_place_t, A&&... a) noexcept(std::is_nothrow_constructible_v<E, A...>)
        : error_(std::forward<A>(a)...) {}

    template <class X, class... A>
    requires detail::begins_with_list<E, X, A...>
    constexpr explicit unexpected(std::in_place_t, std::initializer_list<X> list, A&&... a)
        : error_(list, std::forward<A>(a)...) {}

    constexpr E const& error() const& noexcept { return error_; }
    constexpr E& error() & noexcept { return error_; }
    constexpr E const&& error() const&& noexcept { return std::move(error_); }
    constexpr E&& error() && noexcept { return std::move(error_); }

    constexpr void swap(unexpected& other) noexcept(std::is_nothrow_swappable_v<E>) {
        using std::swap;
        swap(error_, other.error_);
    }
    friend constexpr void swap(unexpected& a,
                               unexpected& b) noexcept(std::is_nothrow_swappable_v<E>) requires std::is_swappable_v<E> {
        a.swap(b);
    }

    template <class G>
    [[nodiscard]] friend constexpr bool operator==(unexpected const& a, unexpected<G> const& b) {
        return static_cast<bool>(a.error() == b.error());
    }

private:
    E error_;
};

template <class E>
unexpected(E) -> unexpected<E>;

template <class E>
class bad_expected_access;

/// The base of all that expected::value() throws.
template <>
class bad_expected_access<void> : public std::exception {
public:
    [[nodiscard]] char const* what() const noexcept override { return "weir::expected: value() of an error"; }

protected:
    bad_expected_access() noexcept = default;
    bad_expected_access(bad_expected_access const&) = default;
    bad_expected_access(bad_expected_access&&) = default;
    bad_expected_access& operator=(bad_expected_access const&) = default;
    bad_expected_access& operator=(bad_expected_access&&) = default;
    ~bad_expected_access() override = default;
};

/// Thrown by expected::value() when there is none; carries the error.
template <class E>
class bad_expected_access : public bad_expected_access<void> {
public:
    explicit bad_expected_access(E error) noexcept(std::is_nothrow_move_constructible_v<E>)
        : error_(std::move(error)) {}

    [[nodiscard]] E const& error() const& noexcept { return error_; }
    [[nodiscard]] E& error() & noexcept { return error_; }
    [[nodiscard]] E const&& error() const&& noexcept { return std::move(error_); }
    [[nodiscard]] E&& error() && noexcept { return std::move(error_); }

private:
    E error_;
};

}  // namespace weir::inline v0
#endif
