// weir (BSL-1.0). expected_storage: one of two objects and which, and the change from one to the other.
#ifndef WEIR_BASE_DETAIL_EXPECTED_STORAGE_HPP
#define WEIR_BASE_DETAIL_EXPECTED_STORAGE_HPP
#include <type_traits>
#include <utility>

#if __has_include(<bits/stl_construct.h>)
#include <bits/stl_construct.h>  // libstdc++'s construct_at and destroy_at alone: <memory> costs more than all the rest
#else
#include <memory>
#endif

namespace weir::inline v0 {
namespace detail {

struct no_value {};  // what an expected<void, E> holds while it holds no error

// How to begin: with a value or an error made of arguments, or of what a call returns, or as another expected did.
struct value_from {};
struct error_from {};
struct value_of_call {};
struct error_of_call {};
struct same_as {};

template <class M, class C, class A>
constexpr decltype(auto) call_member(M C::*member, A&& object) {
    if constexpr (std::is_function_v<M>) {
        return (std::forward<A>(object).*member)();
    } else {
        return (std::forward<A>(object).*member);
    }
}

/// Calls f as std::invoke would, with no or one argument; <functional> would cost more than all the rest.
template <class F, class... A>
constexpr std::invoke_result_t<F, A...> call(F&& f, A&&... a) {
    return std::forward<F>(f)(std::forward<A>(a)...);
}
template <class M, class C, class A>
constexpr std::invoke_result_t<M C::*, A> call(M C::*member, A&& a) {
    if constexpr (std::is_base_of_v<C, std::remove_cvref_t<A>>) {
        return detail::call_member(member, std::forward<A>(a));
    } else if constexpr (requires { *std::forward<A>(a); }) {
        return detail::call_member(member, *std::forward<A>(a));
    } else {
        return detail::call_member(member, a.get());  // a std::reference_wrapper
    }
}

/// The union, without memory of who lives in it. Its destructor is trivial where those of both members are.
template <class T, class E, bool Trivial>
union expected_slot {
    constexpr expected_slot() noexcept {}
    template <class... F>
    constexpr explicit expected_slot(value_of_call, F&&... f) : value(detail::call(std::forward<F>(f)...)) {}
    template <class... F>
    constexpr explicit expected_slot(error_of_call, F&&... f) : error(detail::call(std::forward<F>(f)...)) {}

    T value;
    E error;
};
template <class T, class E>
union expected_slot<T, E, false> {
    constexpr expected_slot() noexcept {}
    template <class... F>
    constexpr explicit expected_slot(value_of_call, F&&... f) : value(detail::call(std::forward<F>(f)...)) {}
    template <class... F>
    constexpr explicit expected_slot(error_of_call, F&&... f) : error(detail::call(std::forward<F>(f)...)) {}
    constexpr ~expected_slot() {}  // expected_storage knows whom to destroy

    T value;
    E error;
};

/// The union and the memory. What a constructor here has begun is not destroyed when it throws, as it should be.
template <class T, class E, bool Trivial>
struct expected_state {
    template <class... A>
    constexpr explicit expected_state(value_from, A&&... a) : has_value(true) {
        std::construct_at(std::addressof(slot.value), std::forward<A>(a)...);
    }
    template <class... A>
    constexpr explicit expected_state(error_from, A&&... a) : has_value(false) {
        std::construct_at(std::addressof(slot.error), std::forward<A>(a)...);
    }
    template <class... F>
    constexpr explicit expected_state(value_of_call how, F&&... f)
        : slot(how, std::forward<F>(f)...), has_value(true) {}
    template <class... F>
    constexpr explicit expected_state(error_of_call how, F&&... f)
        : slot(how, std::forward<F>(f)...), has_value(false) {}
    template <class Other>
    constexpr explicit expected_state(same_as, Other&& other) : has_value(other.has_value()) {
        if (!has_value) {
            std::construct_at(std::addressof(slot.error), std::forward<Other>(other).error());
        } else if constexpr (std::is_same_v<T, no_value>) {
            std::construct_at(std::addressof(slot.value));
        } else {
            std::construct_at(std::addressof(slot.value), *std::forward<Other>(other));
        }
    }

    expected_slot<T, E, Trivial> slot;
    bool has_value;
};

/// The whole, with its end. (Two classes, because clang before 16 does not choose between constrained destructors.)
template <class T, class E, bool Trivial = std::is_trivially_destructible_v<T>&& std::is_trivially_destructible_v<E>>
struct expected_storage : expected_state<T, E, Trivial> {
    using expected_state<T, E, Trivial>::expected_state;
};
template <class T, class E>
struct expected_storage<T, E, false> : expected_state<T, E, false> {
    using expected_state<T, E, false>::expected_state;
    expected_storage(expected_storage const&) = delete;
    expected_storage& operator=(expected_storage const&) = delete;
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12 at -O1 loses sight of has_value
#endif
    constexpr ~expected_storage() {
        if (this->has_value) {
            std::destroy_at(std::addressof(this->slot.value));
        } else {
            std::destroy_at(std::addressof(this->slot.error));
        }
    }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
};

/// Ends *old and begins *fresh in its place, from a...; if that throws, *old is as it was.
/// One of the two must move without throwing, unless *fresh begins without throwing.
template <class New, class Old, class... A>
constexpr void replace(New* fresh, Old* old, A&&... a) {
    if constexpr (std::is_nothrow_constructible_v<New, A...>) {
        std::destroy_at(old);
        std::construct_at(fresh, std::forward<A>(a)...);
    } else if constexpr (std::is_nothrow_move_constructible_v<New>) {
        New made(std::forward<A>(a)...);
        std::destroy_at(old);
        std::construct_at(fresh, std::move(made));
    } else {
        static_assert(std::is_nothrow_move_constructible_v<Old>);
        Old kept(std::move(*old));
        std::destroy_at(old);
        try {
            std::construct_at(fresh, std::forward<A>(a)...);
        } catch (...) {
            std::construct_at(old, std::move(kept));
            throw;
        }
    }
}

/// Makes state hold a value, or an error, made of a: by assignment if it holds one already.
template <class State, class... A>
constexpr void assign_value(State& state, A&&... a) {
    if (!state.has_value) {
        detail::replace(std::addressof(state.slot.value), std::addressof(state.slot.error), std::forward<A>(a)...);
        state.has_value = true;
    } else {
        ((state.slot.value = std::forward<A>(a)), ...);
    }
}
template <class State, class A>
constexpr void assign_error(State& state, A&& a) {
    if (state.has_value) {
        detail::replace(std::addressof(state.slot.error), std::addressof(state.slot.value), std::forward<A>(a));
        state.has_value = false;
    } else {
        state.slot.error = std::forward<A>(a);
    }
}
template <class State, class Other>
constexpr void assign_state(State& state, Other&& other) {
    if (other.has_value) {
        detail::assign_value(state, std::forward<Other>(other).slot.value);
    } else {
        detail::assign_error(state, std::forward<Other>(other).slot.error);
    }
}

/// Ends what state holds and begins a value, which must not throw.
template <class State, class... A>
constexpr void restart_value(State& state, A&&... a) noexcept {
    if (state.has_value) {
        std::destroy_at(std::addressof(state.slot.value));
    } else {
        std::destroy_at(std::addressof(state.slot.error));
        state.has_value = true;
    }
    std::construct_at(std::addressof(state.slot.value), std::forward<A>(a)...);
}

/// Exchanges the value of full with the error of failed; if that throws, both are as they were.
template <class State>
constexpr void swap_value_with_error(State& full, State& failed) {
    using value = decltype(full.slot.value);
    using error = decltype(full.slot.error);
    if constexpr (std::is_nothrow_move_constructible_v<error>) {
        error kept(std::move(failed.slot.error));
        std::destroy_at(std::addressof(failed.slot.error));
        try {
            std::construct_at(std::addressof(failed.slot.value), std::move(full.slot.value));
        } catch (...) {
            std::construct_at(std::addressof(failed.slot.error), std::move(kept));
            throw;
        }
        std::destroy_at(std::addressof(full.slot.value));
        std::construct_at(std::addressof(full.slot.error), std::move(kept));
    } else {
        value kept(std::move(full.slot.value));
        std::destroy_at(std::addressof(full.slot.value));
        try {
            std::construct_at(std::addressof(full.slot.error), std::move(failed.slot.error));
        } catch (...) {
            std::construct_at(std::addressof(full.slot.value), std::move(kept));
            throw;
        }
        std::destroy_at(std::addressof(failed.slot.error));
        std::construct_at(std::addressof(failed.slot.value), std::move(kept));
    }
    full.has_value = false;
    failed.has_value = true;
}

template <class State>
constexpr void swap_states(State& a, State& b) {
    using std::swap;
    if (a.has_value != b.has_value) {
        detail::swap_value_with_error(a.has_value ? a : b, a.has_value ? b : a);
    } else if (a.has_value) {
        swap(a.slot.value, b.slot.value);
    } else {
        swap(a.slot.error, b.slot.error);
    }
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
