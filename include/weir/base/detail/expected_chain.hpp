// weir (BSL-1.0). expected_chain: what expected does with the functions it is given, for values and references alike.
#ifndef WEIR_BASE_DETAIL_EXPECTED_CHAIN_HPP
#define WEIR_BASE_DETAIL_EXPECTED_CHAIN_HPP
#include <weir/base/detail/expected_storage.hpp>
#include <weir/base/detail/expected_traits.hpp>

#include <type_traits>
#include <utility>

namespace weir::inline v0 {
namespace detail {

/// A struct for the sake of friendship: transform begins its result inside a private constructor, without a move.
struct expected_chain {
    template <class Self, class F>
    static constexpr auto and_then(Self&& self, F&& f) {
        using next = std::remove_cvref_t<decltype(on_value(std::forward<Self>(self), std::forward<F>(f)))>;
        static_assert(is_expected<next>, "and_then: f must return a weir::expected");
        static_assert(std::is_same_v<typename next::error_type, typename std::remove_cvref_t<Self>::error_type>,
                      "and_then: f must keep the type of the error");
        if (self.has_value()) {
            return static_cast<next>(on_value(std::forward<Self>(self), std::forward<F>(f)));
        }
        return next(unexpect, std::forward<Self>(self).error());
    }

    template <class Self, class F>
    static constexpr auto or_else(Self&& self, F&& f) {
        using next = std::remove_cvref_t<decltype(detail::call(std::forward<F>(f), std::forward<Self>(self).error()))>;
        static_assert(is_expected<next>, "or_else: f must return a weir::expected");
        static_assert(std::is_same_v<typename next::value_type, typename std::remove_cvref_t<Self>::value_type>,
                      "or_else: f must keep the type of the value");
        if (!self.has_value()) {
            return static_cast<next>(detail::call(std::forward<F>(f), std::forward<Self>(self).error()));
        }
        return same_value<next>(std::forward<Self>(self));
    }

    template <class Self, class F>
    static constexpr auto transform(Self&& self, F&& f) {
        using result = std::remove_cv_t<decltype(on_value(std::forward<Self>(self), std::forward<F>(f)))>;
        static_assert(expected_value<result>, "transform: f must return void or an object type");
        using next = expected<result, typename std::remove_cvref_t<Self>::error_type>;
        if (!self.has_value()) {
            return next(unexpect, std::forward<Self>(self).error());
        }
        if constexpr (std::is_void_v<result>) {
            on_value(std::forward<Self>(self), std::forward<F>(f));
            return next();
        } else if constexpr (std::is_void_v<typename std::remove_cvref_t<Self>::value_type>) {
            return next(value_of_call{}, std::forward<F>(f));
        } else {
            return next(value_of_call{}, std::forward<F>(f), *std::forward<Self>(self));
        }
    }

    template <class Self, class F>
    static constexpr auto transform_error(Self&& self, F&& f) {
        using result = std::remove_cv_t<decltype(detail::call(std::forward<F>(f), std::forward<Self>(self).error()))>;
        static_assert(expected_error<result>, "transform_error: f must return an object type");
        using next = expected<typename std::remove_cvref_t<Self>::value_type, result>;
        if (!self.has_value()) {
            return next(error_of_call{}, std::forward<F>(f), std::forward<Self>(self).error());
        }
        return same_value<next>(std::forward<Self>(self));
    }

    template <class A, class B>
    static constexpr bool equal(A const& a, B const& b) {
        if (a.has_value() != b.has_value()) {
            return false;
        }
        if (!a.has_value()) {
            return static_cast<bool>(a.error() == b.error());
        }
        if constexpr (std::is_void_v<typename A::value_type>) {
            return true;
        } else {
            return static_cast<bool>(*a == *b);
        }
    }

private:
    template <class Self, class F>
    static constexpr decltype(auto) on_value(Self&& self, F&& f) {
        if constexpr (std::is_void_v<typename std::remove_cvref_t<Self>::value_type>) {
            return detail::call(std::forward<F>(f));
        } else {
            return detail::call(std::forward<F>(f), *std::forward<Self>(self));
        }
    }

    template <class Next, class Self>
    static constexpr Next same_value(Self&& self) {
        if constexpr (std::is_void_v<typename Next::value_type>) {
            return Next();
        } else {
            return Next(std::in_place, *std::forward<Self>(self));
        }
    }
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
