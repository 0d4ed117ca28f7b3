// weir (BSL-1.0). expected<T, E>: a T, or an E that says why there is none.
#ifndef WEIR_BASE_EXPECTED_HPP
#define WEIR_BASE_EXPECTED_HPP
#include <weir/base/detail/expected_chain.hpp>
#include <weir/base/detail/expected_storage.hpp>
#include <weir/base/detail/expected_traits.hpp>
#include <weir/base/detail/unexpected.hpp>

#include <cassert>
#include <initializer_list>
#include <type_traits>
#include <utility>

// When:     a caller is to be told why, and the reason is an ordinary one.
// When not: there is only one reason (std::optional), or the caller broke the contract (assert).
// Source:   V. J. Botet Escriba, J. Wakely et al., "std::expected", P0323R12, and J. Maiorana, "Monadic functions for
//           std::expected", P2505R5: C++23's [expected] with LWG 3836, 3886, 3938 and 4222. It is this type under every
//           -std, so that no signature depends on one. Ours: an unused result warns, a broken contract asserts, and
//           assignment is trivial where that of T and E is.
// Invariant: it holds exactly one of the two, also after an exception.

namespace weir::inline v0 {

/// A T, or an E that says why there is none. T may be void.
/// Threads: as for int: one thread changes it, or any number read it.
/// Memory:  the larger of both and a flag, no allocation; trivially copyable and destructible where both are.
template <expected_value T, expected_error E>
class [[nodiscard]] expected {
    static constexpr bool has_object = !std::is_void_v<T>;
    using held = std::conditional_t<has_object, T, detail::no_value>;
    template <class R>
    using or_void = std::conditional_t<has_object, R, void>;
    using is = detail::expected_traits<held, E>;

public:
    using value_type = T;
    using error_type = E;
    using unexpected_type = unexpected<E>;
    template <class U>
    using rebind = expected<U, E>;

    constexpr expected() noexcept(
        std::is_nothrow_default_constructible_v<held>) requires std::is_default_constructible_v<held>
        : data_(detail::value_from{}) {}

    constexpr expected(expected const&) requires is::copied_trivially = default;
    constexpr expected(expected const& other) noexcept(is::copied_nothrow) requires(is::copied && !is::copied_trivially)
        : data_(detail::same_as{}, other) {}
    expected(expected const&) = delete;

    constexpr expected(expected&&) requires is::moved_trivially = default;
    constexpr expected(expected&& other) noexcept(is::moved_nothrow) requires(is::moved && !is::moved_trivially)
        : data_(detail::same_as{}, std::move(other)) {}

    template <class U, class G>
    requires detail::converts_when_copied<T, E, U, G>
    constexpr explicit(!detail::converts_implicitly<std::add_lvalue_reference_t<U const>, T, G const&, E>)
        expected(expected<U, G> const& other)
        : data_(detail::same_as{}, other) {}
    template <class U, class G>
    requires detail::converts_when_moved<T, E, U, G>
    constexpr explicit(!detail::converts_implicitly<U, T, G, E>) expected(expected<U, G>&& other)
        : data_(detail::same_as{}, std::move(other)) {}

    template <class U = std::remove_cv_t<held>>
    requires detail::begins_expected<expected, U>
    constexpr explicit(!std::is_convertible_v<U, T>) expected(U&& value) noexcept(std::is_nothrow_constructible_v<T, U>)
        : data_(detail::value_from{}, std::forward<U>(value)) {}

    template <class G>
    requires std::is_constructible_v<E, G const&>
    constexpr explicit(!std::is_convertible_v<G const&, E>)
        expected(unexpected<G> const& e) noexcept(std::is_nothrow_constructible_v<E, G const&>)
        : data_(detail::error_from{}, e.error()) {}
    template <class G>
    requires std::is_constructible_v<E, G>
    constexpr explicit(!std::is_convertible_v<G, E>)
        expected(unexpected<G>&& e) noexcept(std::is_nothrow_constructible_v<E, G>)
        : data_(detail::error_from{}, std::move(e).error()) {}

    template <class... A>
    requires std::is_constructible_v<held, A...>
    constexpr explicit expected(std::in_place_t, A&&... a) noexcept(std::is_nothrow_constructible_v<held, A...>)
        : data_(detail::value_from{}, std::forward<A>(a)...) {}
    template <class X, class... A>
    requires detail::begins_with_list<held, X, A...>
    constexpr explicit expected(std::in_place_t, std::initializer_list<X> list, A&&... a)
        : data_(detail::value_from{}, list, std::forward<A>(a)...) {}
    template <class... A>
    requires std::is_constructible_v<E, A...>
    constexpr explicit expected(unexpect_t, A&&... a) noexcept(std::is_nothrow_constructible_v<E, A...>)
        : data_(detail::error_from{}, std::forward<A>(a)...) {}
    template <class X, class... A>
    requires detail::begins_with_list<E, X, A...>
    constexpr explicit expected(unexpect_t, std::initializer_list<X> list, A&&... a)
        : data_(detail::error_from{}, list, std::forward<A>(a)...) {}

    /// All assignments: strong, whatever throws; one of T and E must move without throwing.
    constexpr expected& operator=(expected const&) requires is::copy_assigned_trivially = default;
    constexpr expected& operator=(expected const& other) noexcept(is::copy_assigned_nothrow) requires(
        is::copy_assigned && !is::copy_assigned_trivially) {
        return assign(other);
    }
    expected& operator=(expected const&) = delete;
    constexpr expected& operator=(expected&&) requires is::move_assigned_trivially = default;
    constexpr expected& operator=(expected&& other) noexcept(is::move_assigned_nothrow) requires(
        is::move_assigned && !is::move_assigned_trivially) {
        return assign(std::move(other));
    }

    template <class U = std::remove_cv_t<held>>
    requires detail::assigned_to_expected<expected, U>
    constexpr expected& operator=(U&& value) {
        detail::assign_value(data_, std::forward<U>(value));
        return *this;
    }
    template <class G>
    requires detail::assigned_over<E, G const&, held>
    constexpr expected& operator=(unexpected<G> const& e) {
        detail::assign_error(data_, e.error());
        return *this;
    }
    template <class G>
    requires detail::assigned_over<E, G, held>
    constexpr expected& operator=(unexpected<G>&& e) {
        detail::assign_error(data_, std::move(e).error());
        return *this;
    }

    template <class... A>
    requires std::is_nothrow_constructible_v<held, A...>
    constexpr or_void<held&> emplace(A&&... a) noexcept {
        return detail::restart_value(data_, std::forward<A>(a)...), **this;
    }
    template <class X, class... A>
    requires detail::begins_with_list_nothrow<held, X, A...>
    constexpr or_void<held&> emplace(std::initializer_list<X> list, A&&... a) noexcept {
        return detail::restart_value(data_, list, std::forward<A>(a)...), **this;
    }

    constexpr void swap(expected& other) noexcept(is::swapped_nothrow) requires is::swapped {
        detail::swap_states(data_, other.data_);
    }
    friend constexpr void swap(expected& a, expected& b) noexcept(is::swapped_nothrow) requires is::swapped {
        a.swap(b);
    }

    [[nodiscard]] constexpr bool has_value() const noexcept { return data_.has_value; }
    [[nodiscard]] constexpr explicit operator bool() const noexcept { return data_.has_value; }

    /// The value; there must be one.
    constexpr or_void<held const&> operator*() const& noexcept { return raw(*this); }
    constexpr or_void<held&> operator*() & noexcept { return raw(*this); }
    constexpr or_void<held const&&> operator*() const&& noexcept { return raw(std::move(*this)); }
    constexpr or_void<held&&> operator*() && noexcept { return raw(std::move(*this)); }
    constexpr held const* operator->() const noexcept requires has_object { return std::addressof(raw(*this)); }
    constexpr held* operator->() noexcept requires has_object { return std::addressof(raw(*this)); }

    /// The value.
    /// Throws: bad_expected_access<E> with the error, if there is none.
    constexpr or_void<held const&> value() const& { return checked(*this); }
    constexpr or_void<held&> value() & { return checked(*this); }
    constexpr or_void<held const&&> value() const&& { return checked(std::move(*this)); }
    constexpr or_void<held&&> value() && { return checked(std::move(*this)); }

    /// The error; there must be one.
    [[nodiscard]] constexpr E const& error() const& noexcept { return raw_error(*this); }
    [[nodiscard]] constexpr E& error() & noexcept { return raw_error(*this); }
    [[nodiscard]] constexpr E const&& error() const&& noexcept { return raw_error(std::move(*this)); }
    [[nodiscard]] constexpr E&& error() && noexcept { return raw_error(std::move(*this)); }

    /// The value, or other.
    template <class U = std::remove_cv_t<held>>
    requires has_object [[nodiscard]] constexpr std::remove_cv_t<held> value_or(U&& other) const& {
        return has_value() ? **this : static_cast<std::remove_cv_t<held>>(std::forward<U>(other));
    }
    template <class U = std::remove_cv_t<held>>
    requires has_object [[nodiscard]] constexpr std::remove_cv_t<held> value_or(U&& other) && {
        return has_value() ? *std::move(*this) : static_cast<std::remove_cv_t<held>>(std::forward<U>(other));
    }

    /// The error, or other.
    template <class G = E>
    [[nodiscard]] constexpr E error_or(G&& other) const& {
        return has_value() ? static_cast<E>(std::forward<G>(other)) : error();
    }
    template <class G = E>
    [[nodiscard]] constexpr E error_or(G&& other) && {
        return has_value() ? static_cast<E>(std::forward<G>(other)) : std::move(*this).error();
    }

    /// f(value), which must return an expected with this type of error; or the error.
    template <class F>
    requires std::is_constructible_v<E, E&>
    constexpr auto and_then(F&& f) & { return detail::expected_chain::and_then(*this, std::forward<F>(f)); }
    template <class F>
    requires std::is_constructible_v<E, E const&>
    constexpr auto and_then(F&& f) const& { return detail::expected_chain::and_then(*this, std::forward<F>(f)); }
    template <class F>
    requires std::is_constructible_v<E, E>
    constexpr auto and_then(F&& f) && { return detail::expected_chain::and_then(std::move(*this), std::forward<F>(f)); }
    template <class F>
    requires std::is_constructible_v<E, E const>
    constexpr auto and_then(F&& f) const&& {
        return detail::expected_chain::and_then(std::move(*this), std::forward<F>(f));
    }

    /// The value; or f(error), which must return an expected with this type of value.
    template <class F>
    requires std::is_constructible_v<held, held&>
    constexpr auto or_else(F&& f) & { return detail::expected_chain::or_else(*this, std::forward<F>(f)); }
    template <class F>
    requires std::is_constructible_v<held, held const&>
    constexpr auto or_else(F&& f) const& { return detail::expected_chain::or_else(*this, std::forward<F>(f)); }
    template <class F>
    requires std::is_constructible_v<held, held>
    constexpr auto or_else(F&& f) && { return detail::expected_chain::or_else(std::move(*this), std::forward<F>(f)); }
    template <class F>
    requires std::is_constructible_v<held, held const>
    constexpr auto or_else(F&& f) const&& {
        return detail::expected_chain::or_else(std::move(*this), std::forward<F>(f));
    }

    /// An expected of f(value); or the error.
    template <class F>
    requires std::is_constructible_v<E, E&>
    constexpr auto transform(F&& f) & { return detail::expected_chain::transform(*this, std::forward<F>(f)); }
    template <class F>
    requires std::is_constructible_v<E, E const&>
    constexpr auto transform(F&& f) const& { return detail::expected_chain::transform(*this, std::forward<F>(f)); }
    template <class F>
    requires std::is_constructible_v<E, E>
    constexpr auto transform(F&& f) && {
        return detail::expected_chain::transform(std::move(*this), std::forward<F>(f));
    }
    template <class F>
    requires std::is_constructible_v<E, E const>
    constexpr auto transform(F&& f) const&& {
        return detail::expected_chain::transform(std::move(*this), std::forward<F>(f));
    }

    /// The value; or an expected whose error is f(error).
    template <class F>
    requires std::is_constructible_v<held, held&>
    constexpr auto transform_error(F&& f) & {
        return detail::expected_chain::transform_error(*this, std::forward<F>(f));
    }
    template <class F>
    requires std::is_constructible_v<held, held const&>
    constexpr auto transform_error(F&& f) const& {
        return detail::expected_chain::transform_error(*this, std::forward<F>(f));
    }
    template <class F>
    requires std::is_constructible_v<held, held>
    constexpr auto transform_error(F&& f) && {
        return detail::expected_chain::transform_error(std::move(*this), std::forward<F>(f));
    }
    template <class F>
    requires std::is_constructible_v<held, held const>
    constexpr auto transform_error(F&& f) const&& {
        return detail::expected_chain::transform_error(std::move(*this), std::forward<F>(f));
    }

    template <class U, class G>
    requires detail::both_or_neither_void<T, U>
    [[nodiscard]] friend constexpr bool operator==(expected const& a, expected<U, G> const& b) {
        return detail::expected_chain::equal(a, b);
    }
    template <class U>
    requires detail::compared_as_value<T, U>
    [[nodiscard]] friend constexpr bool operator==(expected const& a, U const& value) {
        return a.has_value() && static_cast<bool>(*a == value);
    }
    template <class G>
    [[nodiscard]] friend constexpr bool operator==(expected const& a, unexpected<G> const& e) {
        return !a.has_value() && static_cast<bool>(a.error() == e.error());
    }

private:
    template <expected_value, expected_error>
    friend class expected;
    friend detail::expected_chain;

    template <class... F>
    constexpr explicit expected(detail::value_of_call how, F&&... f) : data_(how, std::forward<F>(f)...) {}
    template <class... F>
    constexpr explicit expected(detail::error_of_call how, F&&... f) : data_(how, std::forward<F>(f)...) {}

    template <class Other>
    constexpr expected& assign(Other&& other) {
        detail::assign_state(data_, std::forward<Other>(other).data_);
        return *this;
    }

    template <class Self>
    static constexpr decltype(auto) raw(Self&& self) noexcept {
        assert(self.has_value() && "weir::expected: there is no value");
        if constexpr (has_object) {
            return (std::forward<Self>(self).data_.slot.value);
        }
    }

    template <class Self>
    static constexpr decltype(auto) raw_error(Self&& self) noexcept {
        assert(!self.has_value() && "weir::expected: there is no error");
        return (std::forward<Self>(self).data_.slot.error);
    }

    template <class Self>
    static constexpr decltype(auto) checked(Self&& self) {
        if (!self.has_value()) {
            using source = std::conditional_t<std::is_lvalue_reference_v<Self>, expected const&, Self>;
            throw bad_expected_access<E>(static_cast<source&&>(self).error());
        }
        return raw(std::forward<Self>(self));
    }

    detail::expected_storage<held, E> data_;
};

}  // namespace weir::inline v0
#endif
