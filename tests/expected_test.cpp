// weir (BSL-1.0). expected: C++23's std::expected in every mode, with its constraints, and whole after any exception.
#include <weir/base/expected.hpp>

#include <gtest/gtest.h>

#include <array>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using weir::bad_expected_access;
using weir::expected;
using weir::unexpect;
using weir::unexpected;

// clang before 16 takes a type with a constrained special function for a non-trivial one.
#if defined(__clang__)
constexpr bool sees_triviality = __clang_major__ >= 16;
#else
constexpr bool sees_triviality = true;
#endif

enum class refusal { open, busy };

// --- What the documentation shows ------------------------------------------------------------------------------------

expected<int, refusal> half(int n) {
    if (n % 2 != 0) {
        return unexpected{refusal::busy};
    }
    return n / 2;
}

TEST(expected, holds_a_value_or_the_reason_why_there_is_none) {
    auto const good = half(8);
    ASSERT_TRUE(good);
    EXPECT_EQ(*good, 4);
    auto const bad = half(7);
    ASSERT_FALSE(bad.has_value());
    EXPECT_EQ(bad.error(), refusal::busy);
    EXPECT_EQ(bad.value_or(-1), -1);
}

TEST(expected, passes_values_and_errors_through_a_chain_of_functions) {
    auto const eighth = [](int n) { return half(n).and_then(half).and_then(half); };
    EXPECT_EQ(eighth(16), 2);
    EXPECT_EQ(eighth(20), unexpected{refusal::busy});
    auto const text = eighth(24).transform([](int n) { return std::to_string(n); });
    static_assert(std::is_same_v<decltype(text), expected<std::string, refusal> const>);
    EXPECT_EQ(text, "3");
}

TEST(expected, of_void_tells_success_from_the_reason_of_failure) {
    auto const check = [](int n) -> expected<void, std::string> {
        if (n < 0) {
            return unexpected{"negative"};
        }
        return {};
    };
    EXPECT_TRUE(check(1));
    EXPECT_EQ(check(-1).error(), "negative");
    EXPECT_EQ(check(-1).error_or("none"), "negative");
    EXPECT_EQ(check(1).error_or("none"), "none");
}

TEST(expected, throws_the_error_to_those_who_insist_on_a_value) {
    expected<int, std::string> const bad(unexpect, "broken");
    try {
        (void)bad.value();
        FAIL() << "value() of an error";
    } catch (bad_expected_access<std::string> const& e) {
        EXPECT_EQ(e.error(), "broken");
        EXPECT_STREQ(e.what(), "weir::expected: value() of an error");
    }
    EXPECT_THROW((void)bad.value(), std::exception);
    EXPECT_THROW((void)bad.value(), bad_expected_access<void>);
    expected<void, int> const nothing(unexpect, 3);
    EXPECT_THROW(nothing.value(), bad_expected_access<int>);
    EXPECT_NO_THROW((expected<void, int>().value()));
}

TEST(expected, moves_the_error_into_the_exception_when_it_is_on_its_way_out) {
    expected<int, std::vector<int>> vector(unexpect, {1, 2, 3});
    try {
        (void)std::move(vector).value();
        FAIL();
    } catch (bad_expected_access<std::vector<int>>& e) {
        EXPECT_EQ(e.error().size(), 3u);
        EXPECT_TRUE(vector.error().empty());
        std::vector<int> const taken = std::move(e).error();
        EXPECT_EQ(taken.size(), 3u);
    }
}

// --- Types: what is trivial, what exists -----------------------------------------------------------------------------

struct no_default {
    explicit no_default(int) {}
};
struct move_only {
    explicit move_only(int n) : value(n) {}
    move_only(move_only&&) = default;
    move_only& operator=(move_only&&) = default;
    int value;
};
struct immovable {
    explicit immovable(int n) : value(n) {}
    immovable(immovable const&) = delete;
    int value;
};
struct throwing_move {
    throwing_move() = default;
    throwing_move(throwing_move const&) noexcept(false) {}
    throwing_move& operator=(throwing_move const&) noexcept(false) { return *this; }
};
struct assigned_only {  // trivially assignable, but neither to be copied nor moved
    assigned_only() = default;
    assigned_only(assigned_only const&) = delete;
    assigned_only& operator=(assigned_only const&) = default;
};
struct odd_end {
    ~odd_end() {}
};

TEST(expected, is_as_trivial_as_what_it_holds) {
    using small = expected<int, refusal>;
    static_assert(std::is_trivially_destructible_v<small>);
    static_assert(std::is_trivially_destructible_v<expected<void, int>>);
    static_assert(!std::is_trivially_destructible_v<expected<std::string, int>>);
    static_assert(!std::is_trivially_destructible_v<expected<void, std::string>>);
    if constexpr (sees_triviality) {
        static_assert(!sees_triviality || std::is_trivially_copyable_v<small>);
        static_assert(!sees_triviality || std::is_trivially_copy_constructible_v<small>);
        static_assert(!sees_triviality || std::is_trivially_move_assignable_v<small>);
        static_assert(!sees_triviality || std::is_trivially_copyable_v<expected<void, int>>);
    }
    static_assert(!std::is_trivially_copyable_v<expected<std::string, int>>);
    static_assert(!std::is_trivially_copyable_v<expected<int, std::string>>);
    static_assert(!std::is_trivially_copyable_v<expected<int, odd_end>>);
    static_assert(std::is_copy_constructible_v<expected<int, odd_end>>);
    static_assert(sizeof(small) == 2 * sizeof(int));
}

TEST(expected, can_be_copied_and_moved_exactly_when_both_can) {
    static_assert(std::is_copy_constructible_v<expected<std::string, int>>);
    static_assert(std::is_move_constructible_v<expected<move_only, int>>);
    static_assert(!std::is_copy_constructible_v<expected<move_only, int>>);
    static_assert(!std::is_copy_constructible_v<expected<int, move_only>>);
    static_assert(!std::is_copy_constructible_v<expected<void, move_only>>);
    static_assert(!std::is_move_constructible_v<expected<immovable, int>>);
    static_assert(std::is_nothrow_move_constructible_v<expected<std::string, move_only>>);
    static_assert(!std::is_nothrow_move_constructible_v<expected<throwing_move, int>>);
}

TEST(expected, can_be_assigned_exactly_when_both_can_and_one_moves_without_throwing) {
    static_assert(std::is_copy_assignable_v<expected<std::string, int>>);
    static_assert(std::is_move_assignable_v<expected<move_only, int>>);
    static_assert(!std::is_copy_assignable_v<expected<move_only, int>>);
    static_assert(!std::is_copy_assignable_v<expected<int const, int>>);
    static_assert(!std::is_move_assignable_v<expected<int const, int>>);
    static_assert(!std::is_move_assignable_v<expected<immovable, int>>);
    static_assert(std::is_copy_assignable_v<expected<throwing_move, int>>);
    static_assert(std::is_copy_assignable_v<expected<int, throwing_move>>);
    static_assert(!std::is_copy_assignable_v<expected<throwing_move, throwing_move>>);
    static_assert(!std::is_move_assignable_v<expected<throwing_move, throwing_move>>);
    static_assert(!std::is_copy_assignable_v<expected<assigned_only, int>>);
    static_assert(std::is_copy_assignable_v<expected<void, throwing_move>>);
    static_assert(std::is_nothrow_move_assignable_v<expected<std::string, int>>);
    static_assert(!std::is_nothrow_copy_assignable_v<expected<std::string, int>>);
    static_assert(!std::is_nothrow_move_assignable_v<expected<throwing_move, int>>);
}

struct throwing_from_int : throwing_move {
    throwing_from_int(int) noexcept(false) {}
};
struct from_int_explicitly {
    explicit from_int_explicitly(int n) : value(n) {}
    int value;
};

TEST(expected, takes_a_new_value_or_error_exactly_where_that_can_be_assigned_and_fails_whole) {
    static_assert(std::is_assignable_v<expected<std::string, int>&, char const*>);
    static_assert(!std::is_assignable_v<expected<from_int_explicitly, int>&, int>);
    static_assert(!std::is_assignable_v<expected<int, from_int_explicitly>&, unexpected<int>>);
    static_assert(std::is_assignable_v<expected<throwing_from_int, int>&, int>);
    static_assert(!std::is_assignable_v<expected<throwing_from_int, throwing_move>&, int>);
    static_assert(!std::is_assignable_v<expected<throwing_move, throwing_from_int>&, unexpected<int>>);
    static_assert(std::is_assignable_v<expected<void, throwing_from_int>&, unexpected<int>>);
    static_assert(!std::is_assignable_v<expected<void, int>&, int>);
}

TEST(expected, swaps_exactly_when_both_do_and_one_moves_without_throwing) {
    static_assert(std::is_swappable_v<expected<std::string, int>>);
    static_assert(std::is_nothrow_swappable_v<expected<std::string, int>>);
    static_assert(std::is_swappable_v<expected<throwing_move, int>>);
    static_assert(!std::is_nothrow_swappable_v<expected<throwing_move, int>>);
    static_assert(!std::is_swappable_v<expected<throwing_move, throwing_move>>);
    static_assert(!std::is_swappable_v<expected<immovable, int>>);
    static_assert(std::is_swappable_v<expected<void, throwing_move>>);
}

TEST(expected, begins_with_a_value_where_there_is_a_default) {
    static_assert(!std::is_default_constructible_v<expected<no_default, int>>);
    static_assert(std::is_nothrow_default_constructible_v<expected<void, no_default>>);
    EXPECT_EQ((expected<int, int>()), 0);
    EXPECT_EQ((expected<std::string, int>().value()), "");
}

template <class T, class E>
constexpr bool can_name = requires {
    typename expected<T, E>;
};

TEST(expected, refuses_what_cannot_be_a_value_or_an_error) {
    static_assert(can_name<void, int> && can_name<void const, int> && can_name<int const, int>);
    static_assert(!can_name<int&, int> && !can_name<int[2], int> && !can_name<int(), int>);
    static_assert(!can_name<unexpected<int>, int> && !can_name<std::in_place_t, int> &&
                  !can_name<weir::unexpect_t, int>);
    static_assert(!can_name<int, void> && !can_name<int, int const> && !can_name<int, int&> && !can_name<int, int[2]>);
    static_assert(!can_name<int, unexpected<int>>);
}

TEST(expected, can_be_named_before_its_value_is_complete) {
    struct node {
        expected<node, int> (*next)();
    };
    static_assert(can_name<node, int>);
}

struct from_int_implicitly {
    from_int_implicitly(int n) : value(n) {}
    int value;
};

TEST(expected, converts_implicitly_exactly_where_its_parts_do) {
    static_assert(std::is_convertible_v<int, expected<from_int_implicitly, char>>);
    static_assert(!std::is_convertible_v<int, expected<from_int_explicitly, char>>);
    static_assert(std::is_constructible_v<expected<from_int_explicitly, char>, int>);
    static_assert(std::is_convertible_v<unexpected<int>, expected<char, from_int_implicitly>>);
    static_assert(!std::is_convertible_v<unexpected<int>, expected<char, from_int_explicitly>>);
    static_assert(std::is_constructible_v<expected<char, from_int_explicitly>, unexpected<int>>);
    static_assert(!std::is_constructible_v<expected<char, int>, unexpected<std::string>>);
    using source = expected<int, int>;
    static_assert(std::is_convertible_v<source, expected<from_int_implicitly, from_int_implicitly>>);
    static_assert(!std::is_convertible_v<source, expected<from_int_explicitly, from_int_implicitly>>);
    static_assert(!std::is_convertible_v<source, expected<from_int_implicitly, from_int_explicitly>>);
    static_assert(std::is_constructible_v<expected<from_int_explicitly, from_int_explicitly>, source const&>);
    static_assert(!std::is_constructible_v<expected<std::string, int>, source>);
    static_assert(!std::is_constructible_v<expected<void, int>, source>);
    static_assert(!std::is_constructible_v<source, expected<void, int>>);
    static_assert(std::is_convertible_v<expected<void, int>, expected<void const, long>>);
    EXPECT_EQ((expected<from_int_explicitly, long>(source(4))->value), 4);
    EXPECT_EQ((expected<from_int_explicitly, long>(source(unexpect, 4)).error()), 4);
    source const kept(7);
    EXPECT_EQ((expected<long, long>(kept)), 7);
    EXPECT_EQ((expected<void, long>(expected<void, int>(unexpect, 9)).error()), 9);
    EXPECT_TRUE((expected<void, long>(expected<void, int>())));
}

struct from_anything {
    template <class X>
    from_anything(X const&) {}
    from_anything() = default;
};

TEST(expected, is_itself_the_value_of_one_that_takes_anything) {
    // Its value can be made of the whole expected, so that is what happens: nothing is unwrapped.
    static_assert(std::is_constructible_v<expected<from_anything, int>, expected<int, int>>);
    EXPECT_TRUE((expected<from_anything, int>(expected<int, int>(unexpect, 1)).has_value()));
    // Nor is one unwrapped whose error could be made of the whole.
    static_assert(!std::is_constructible_v<expected<int, from_anything>, expected<long, int>>);
}

TEST(expected, of_bool_takes_no_other_expected_for_a_bool) {
    expected<int, int> const zero(0);
    expected<bool, int> const unwrapped(zero);
    EXPECT_FALSE(*unwrapped) << "the value of the other, not whether it has one";
    expected<int, int> const failed(unexpect, 3);
    EXPECT_EQ((expected<bool, int>(failed).error()), 3);
}

TEST(expected, makes_its_parts_in_place) {
    expected<std::string, int> const text(std::in_place, 3u, 'x');
    EXPECT_EQ(text, "xxx");
    expected<std::vector<int>, int> const list(std::in_place, {1, 2, 3});
    EXPECT_EQ(list->size(), 3u);
    expected<int, std::string> const error(unexpect, 3u, 'y');
    EXPECT_EQ(error.error(), "yyy");
    expected<int, std::vector<int>> const errors(unexpect, {1, 2});
    EXPECT_EQ(errors.error().size(), 2u);
    expected<immovable, int> const fixed(std::in_place, 5);
    EXPECT_EQ(fixed->value, 5);
    expected<void, int> const nothing(std::in_place);
    EXPECT_TRUE(nothing);
    static_assert(!std::is_constructible_v<expected<void, int>, std::in_place_t, int>);
    static_assert(std::is_constructible_v<expected<from_anything, int>, weir::unexpect_t>);
    static_assert(!std::is_constructible_v<expected<from_anything, no_default>, weir::unexpect_t>,
                  "the tag is no value");
    EXPECT_FALSE((expected<from_anything, int>(unexpect)));
}

TEST(unexpected, is_made_of_an_error_in_every_way_that_expected_is) {
    static_assert(std::is_same_v<decltype(unexpected(5)), unexpected<int>>);
    EXPECT_EQ(unexpected(std::string("a")).error(), "a");
    EXPECT_EQ((unexpected<std::string>(std::in_place, 2u, 'b').error()), "bb");
    EXPECT_EQ((unexpected<std::vector<int>>(std::in_place, {1, 2}).error().size()), 2u);
    static_assert(!std::is_convertible_v<int, unexpected<int>>);
    unexpected<int> one(1);
    unexpected<int> two(2);
    swap(one, two);
    EXPECT_EQ(one, unexpected(2));
    EXPECT_NE(one, two);
    EXPECT_EQ(unexpected(2), unexpected(2L));
    static_assert(!std::is_swappable_v<unexpected<immovable>>);
    static_assert(std::is_same_v<decltype(std::move(one).error()), int&&>);
    static_assert(std::is_same_v<decltype(std::as_const(one).error()), int const&>);
}

// --- Observers -------------------------------------------------------------------------------------------------------

TEST(expected, hands_out_its_parts_as_it_is_itself) {
    using string = expected<std::string, std::string>;
    string e("v");
    string const c("v");
    static_assert(std::is_same_v<decltype(*e), std::string&>);
    static_assert(std::is_same_v<decltype(*c), std::string const&>);
    static_assert(std::is_same_v<decltype(*std::move(e)), std::string&&>);
    static_assert(std::is_same_v<decltype(*std::move(c)), std::string const&&>);
    static_assert(std::is_same_v<decltype(e.value()), std::string&>);
    static_assert(std::is_same_v<decltype(std::move(e).value()), std::string&&>);
    static_assert(std::is_same_v<decltype(std::move(c).value()), std::string const&&>);
    static_assert(std::is_same_v<decltype(e.error()), std::string&>);
    static_assert(std::is_same_v<decltype(std::move(e).error()), std::string&&>);
    static_assert(std::is_same_v<decltype(std::move(c).error()), std::string const&&>);
    static_assert(std::is_same_v<decltype(e.operator->()), std::string*>);
    static_assert(std::is_same_v<decltype(c.operator->()), std::string const*>);
    static_assert(std::is_void_v<decltype(*std::declval<expected<void, int>&>())>);
    static_assert(std::is_void_v<decltype(std::declval<expected<void, int>&>().value())>);
    static_assert(noexcept(*e)&& noexcept(e.error())&& noexcept(e.has_value()) && !noexcept(e.value()));
    std::string const taken = *std::move(e);
    EXPECT_EQ(taken, "v");
    EXPECT_EQ(c->size(), 1u);
}

TEST(expected, gives_the_other_where_there_is_none_and_moves_if_it_may) {
    expected<std::unique_ptr<int>, int> full(std::make_unique<int>(1));
    EXPECT_EQ(*std::move(full).value_or(nullptr), 1);
    EXPECT_EQ((expected<std::unique_ptr<int>, int>(unexpect, 1).value_or(nullptr)), nullptr);
    expected<int, std::unique_ptr<int>> failed(unexpect, std::make_unique<int>(2));
    EXPECT_EQ(*std::move(failed).error_or(nullptr), 2);
    expected<std::string, std::string> const value("v");
    EXPECT_EQ(value.value_or("w"), "v");
    EXPECT_EQ(value.error_or("w"), "w");
    EXPECT_EQ((expected<std::string, int>(unexpect, 1).value_or({})), "");
}

TEST(expected, compares_by_what_it_holds) {
    expected<int, long> const one(1);
    EXPECT_EQ(one, (expected<long, int>(1)));
    EXPECT_NE(one, (expected<int, long>(2)));
    EXPECT_NE(one, (expected<int, long>(unexpect, 1)));
    EXPECT_EQ((expected<int, long>(unexpect, 1)), (expected<char, int>(unexpect, 1)));
    EXPECT_NE((expected<int, long>(unexpect, 1)), (expected<int, long>(unexpect, 2)));
    EXPECT_EQ(one, 1);
    EXPECT_EQ(1, one);
    EXPECT_NE(one, 2);
    EXPECT_NE(one, unexpected(1));
    EXPECT_EQ(unexpected(1), (expected<int, long>(unexpect, 1)));
    EXPECT_EQ((expected<void, int>()), (expected<void, long>()));
    EXPECT_NE((expected<void, int>()), (expected<void, int>(unexpect, 0)));
    EXPECT_EQ((expected<void, int>(unexpect, 1)), (expected<void, long>(unexpect, 1)));
    EXPECT_EQ((expected<void, int>(unexpect, 1)), unexpected(1));
}

// --- Change ----------------------------------------------------------------------------------------------------------

// Counts those alive, and throws when told to.
struct tracked {
    static inline int alive = 0;
    static inline int throw_in = 0;  // the how-manieth copy or move throws; 0: none

    explicit tracked(int n) : value(n) { ++alive; }
    tracked(tracked const& other) : value(other.value) {
        may_throw();
        ++alive;
    }
    tracked& operator=(tracked const& other) {
        may_throw();
        value = other.value;
        return *this;
    }
    ~tracked() { --alive; }
    bool operator==(tracked const& other) const { return value == other.value; }
    static void may_throw() {
        if (throw_in != 0 && --throw_in == 0) {
            throw value_lost{};
        }
    }
    struct value_lost {};

    int value;
};

TEST(expected, changes_between_value_and_error_in_all_directions) {
    using either = expected<std::string, std::vector<int>>;
    for (either const& before : {either("old"), either(unexpect, {1})}) {
        for (either const& after : {either("new"), either(unexpect, {2, 3})}) {
            either copied = before;
            copied = after;
            EXPECT_EQ(copied, after);
            either source = after;
            either moved = before;
            moved = std::move(source);
            EXPECT_EQ(moved, after);
            either left = before;
            either right = after;
            swap(left, right);
            EXPECT_EQ(left, after);
            EXPECT_EQ(right, before);
        }
        either assigned = before;
        assigned = "text";
        EXPECT_EQ(assigned, "text");
        assigned = unexpected(std::vector<int>{4});
        EXPECT_EQ(assigned, unexpected(std::vector<int>{4}));
        unexpected const error(std::vector<int>{5});
        assigned = error;
        EXPECT_EQ(assigned, error);
        auto& self = assigned;
        assigned = self;
        EXPECT_EQ(assigned, error);
    }
}

TEST(expected, of_void_changes_between_success_and_error_in_all_directions) {
    using either = expected<void, std::string>;
    for (either const& before : {either(), either(unexpect, "old")}) {
        for (either const& after : {either(), either(unexpect, "new")}) {
            either copied = before;
            copied = after;
            EXPECT_EQ(copied, after);
            either source = after;
            either moved = before;
            moved = std::move(source);
            EXPECT_EQ(moved, after);
            either left = before;
            either right = after;
            left.swap(right);
            EXPECT_EQ(left, after);
            EXPECT_EQ(right, before);
        }
        either assigned = before;
        assigned = unexpected("text");
        EXPECT_EQ(assigned.error(), "text");
        assigned.emplace();
        EXPECT_TRUE(assigned);
    }
}

template <class X, class... A>
constexpr bool can_emplace = requires(X& x, A&&... a) {
    x.emplace(std::forward<A>(a)...);
};

TEST(expected, puts_a_new_value_in_place_of_whatever_was_there) {
    struct careful {
        explicit careful(int n) noexcept : value(n) {}
        explicit careful(std::initializer_list<int> list) noexcept : value(static_cast<int>(list.size())) {}
        int value;
    };
    expected<careful, std::string> c(unexpect, "error");
    EXPECT_EQ(c.emplace(3).value, 3);
    EXPECT_EQ(c.emplace(4).value, 4);
    EXPECT_EQ(c.emplace({1, 2}).value, 2);
    EXPECT_TRUE(c);
    static_assert(can_emplace<expected<careful, int>, int>);
    static_assert(!can_emplace<expected<careful, int>, char const*>);
    static_assert(!can_emplace<expected<std::string, int>, char const*>);  // may throw and leave nothing
    static_assert(!can_emplace<expected<void, int>, int>);
}

// Every change from every state with an exception at every copy and move: afterwards it is as it was, and nothing leaks.
template <class Either>
void expect_strong(Either const& before, Either const& after) {
    int const alive = tracked::alive;
    auto const attempt = [&](auto change) {
        for (int n = 1; n <= 10; ++n) {
            Either left = before;
            Either right = after;
            tracked::throw_in = n;
            bool thrown = false;
            try {
                change(left, right);
            } catch (tracked::value_lost const&) {
                thrown = true;
            }
            tracked::throw_in = 0;
            if (!thrown) {
                EXPECT_EQ(left, after);
                return;
            }
            EXPECT_EQ(left, before);
            EXPECT_EQ(right, after);
        }
        FAIL() << "throws for ever";
    };
    attempt([](Either& left, Either& right) { left = right; });
    attempt([](Either& left, Either& right) { left = std::move(right); });
    if (before.has_value() != after.has_value()) {  // else it is the swap of T or E, and keeps what that promises
        attempt([](Either& left, Either& right) { left.swap(right); });
        attempt([](Either& left, Either& right) { right.swap(left); });
    }
    EXPECT_EQ(tracked::alive, alive);
}

TEST(expected, is_as_it_was_when_a_change_throws) {
    using fragile_value = expected<tracked, int>;
    using fragile_error = expected<int, tracked>;
    using fragile_void = expected<void, tracked>;
    for (auto const& before : {fragile_value(std::in_place, 1), fragile_value(unexpect, 2)}) {
        for (auto const& after : {fragile_value(std::in_place, 3), fragile_value(unexpect, 4)}) {
            expect_strong(before, after);
        }
    }
    for (auto const& before : {fragile_error(1), fragile_error(unexpect, 2)}) {
        for (auto const& after : {fragile_error(3), fragile_error(unexpect, 4)}) {
            expect_strong(before, after);
        }
    }
    for (auto const& before : {fragile_void(), fragile_void(unexpect, 2)}) {
        for (auto const& after : {fragile_void(), fragile_void(unexpect, 4)}) {
            expect_strong(before, after);
        }
    }
}

TEST(expected, is_as_it_was_when_a_value_or_an_error_given_to_it_throws) {
    tracked const fresh(9);
    expected<tracked, int> value(unexpect, 1);
    tracked::throw_in = 1;
    EXPECT_THROW(value = fresh, tracked::value_lost);
    EXPECT_EQ(value, unexpected(1));
    expected<int, tracked> error(1);
    tracked::throw_in = 1;
    EXPECT_THROW(error = unexpected<tracked>(std::in_place, 7), tracked::value_lost);
    EXPECT_EQ(error, 1);
    tracked::throw_in = 0;
}

TEST(expected, leaves_nothing_behind_when_it_cannot_even_begin) {
    int const alive = tracked::alive;
    {
        expected<tracked, std::string> const source(std::in_place, 1);
        tracked::throw_in = 1;
        EXPECT_THROW((void)(expected<tracked, std::string>(source)), tracked::value_lost);
        expected<std::string, tracked> const failed(unexpect, 1);
        tracked::throw_in = 1;
        EXPECT_THROW((void)(expected<std::string, tracked>(failed)), tracked::value_lost);
        EXPECT_THROW((void)source.transform([](tracked const&) -> std::string { throw 1; }), int);
        tracked::throw_in = 0;
    }
    EXPECT_EQ(tracked::alive, alive);
}

// --- Chains ----------------------------------------------------------------------------------------------------------

TEST(expected, calls_with_the_value_as_it_is_itself) {
    using string = expected<std::string, int>;
    string e("v");
    auto const kind = [](auto&& x) -> expected<int, int> {
        using type = decltype(x);
        return (std::is_lvalue_reference_v<type> ? 0 : 1) + (std::is_const_v<std::remove_reference_t<type>> ? 2 : 0);
    };
    EXPECT_EQ(e.and_then(kind), 0);
    EXPECT_EQ(std::move(e).and_then(kind), 1);
    EXPECT_EQ(std::as_const(e).and_then(kind), 2);
    EXPECT_EQ(std::move(std::as_const(e)).and_then(kind), 3);
    auto const count = [&](auto&& x) { return *kind(std::forward<decltype(x)>(x)); };
    EXPECT_EQ(e.transform(count), 0);
    EXPECT_EQ(std::move(e).transform(count), 1);
    EXPECT_EQ(std::as_const(e).transform(count), 2);
    EXPECT_EQ(std::move(std::as_const(e)).transform(count), 3);
    expected<int, std::string> f(unexpect, "e");
    EXPECT_EQ(f.or_else(kind), 0);
    EXPECT_EQ(std::move(f).or_else(kind), 1);
    EXPECT_EQ(std::as_const(f).or_else(kind), 2);
    EXPECT_EQ(std::move(std::as_const(f)).or_else(kind), 3);
    EXPECT_EQ(f.transform_error(count), unexpected(0));
    EXPECT_EQ(std::move(f).transform_error(count), unexpected(1));
    EXPECT_EQ(std::as_const(f).transform_error(count), unexpected(2));
    EXPECT_EQ(std::move(std::as_const(f)).transform_error(count), unexpected(3));
}

TEST(expected, calls_nothing_on_the_side_that_is_empty) {
    auto const never = [](auto&&...) -> expected<int, int> { throw 1; };
    auto const number = [](auto&&...) -> int { throw 1; };
    EXPECT_EQ((expected<int, int>(unexpect, 5).and_then(never)), unexpected(5));
    EXPECT_EQ((expected<int, int>(unexpect, 5).transform(number)), unexpected(5));
    EXPECT_EQ((expected<int, int>(5).or_else(never)), 5);
    EXPECT_EQ((expected<int, int>(5).transform_error(number)), 5);
}

TEST(expected, of_void_calls_without_an_argument) {
    using either = expected<void, int>;
    EXPECT_EQ(either().and_then([] { return expected<int, int>(1); }), 1);
    EXPECT_EQ(either().transform([] { return 2; }), 2);
    EXPECT_TRUE(either().transform([] {}));
    EXPECT_EQ(either(unexpect, 3).transform([] { return 2; }), unexpected(3));
    EXPECT_TRUE(either(unexpect, 3).or_else([](int) { return either(); }));
    EXPECT_TRUE(either().or_else([](int) { return either(unexpect, 1); }));
    EXPECT_EQ(either(unexpect, 3).transform_error([](int n) { return n + 1; }), unexpected(4));
    EXPECT_TRUE(either().transform_error([](int n) { return n + 1; }));
    static_assert(std::is_same_v<decltype(expected<int, int>().transform([](int) {})), expected<void, int>>);
}

TEST(expected, takes_member_functions_and_does_not_move_what_they_return) {
    struct maker {
        int n;
        immovable make() const { return immovable(n); }
        expected<int, int> ask() const { return n; }
    };
    expected<maker, int> const e(maker{4});
    EXPECT_EQ(e.transform(&maker::make)->value, 4);
    EXPECT_EQ(e.and_then(&maker::ask), 4);
    maker m{5};
    EXPECT_EQ((expected<maker*, int>(&m).and_then(&maker::ask)), 5);
    EXPECT_EQ((expected<std::reference_wrapper<maker>, int>(m).and_then(&maker::ask)), 5);
    EXPECT_EQ((expected<int, maker>(unexpect, m).transform_error(&maker::make).error().value), 5);
}

template <class X, class F>
constexpr bool can_transform = requires(X&& x, F f) {
    std::forward<X>(x).transform(f);
};
template <class X, class F>
constexpr bool can_transform_error = requires(X&& x, F f) {
    std::forward<X>(x).transform_error(f);
};
template <class X, class F>
constexpr bool can_and_then = requires(X&& x, F f) {
    std::forward<X>(x).and_then(f);
};
template <class X, class F>
constexpr bool can_or_else = requires(X&& x, F f) {
    std::forward<X>(x).or_else(f);
};

TEST(expected, chains_only_where_the_other_side_can_come_along) {
    using number = int (*)(int);
    using error_stays = expected<int, immovable>;
    static_assert(!can_transform<error_stays, number> && !can_transform<error_stays&, number>);
    static_assert(can_transform_error<error_stays&, int (*)(immovable&)>);
    using error_moves = expected<int, move_only>;
    static_assert(!can_and_then<error_moves&, error_moves (*)(int)>);
    static_assert(can_and_then<error_moves, error_moves (*)(int)>);
    using value_moves = expected<move_only, int>;
    static_assert(!can_or_else<value_moves const&, value_moves (*)(int)>);
    static_assert(can_or_else<value_moves, value_moves (*)(int)>);
    static_assert(!can_transform_error<value_moves&, number> && can_transform_error<value_moves, number>);
}

// --- Before the program runs -----------------------------------------------------------------------------------------

constexpr int computed() {
    expected<int, long> e;
    e = unexpected(3L);
    expected<int, long> f(5);
    swap(e, f);
    e.emplace(*e + 1);
    f = e;
    expected<void, int> v(unexpect, 1);
    v.emplace();
    expected<void, int> w = v;
    w = unexpected(2);
    return f.transform([](int n) { return n * 10; }).value_or(0) + w.error() + e.value();
}

TEST(expected, works_in_constant_expressions) {
    static_assert(computed() == 68);
    static_assert(expected<int, int>(unexpect, 4).error_or(0) == 4);
    static_assert(!expected<void, int>(unexpect, 4));
}

#if defined(GTEST_HAS_DEATH_TEST) && !defined(NDEBUG)
TEST(expected_death, asserts_that_what_is_asked_for_is_there) {
    expected<int, int> const value(1);
    expected<int, int> const error(unexpect, 1);
    EXPECT_DEATH((void)value.error(), "there is no error");
    EXPECT_DEATH((void)*error, "there is no value");
}
#endif

}  // namespace

// Every member, whether used above or not. (clang before 16 instantiates those whose constraints fail, too.)
#if !defined(__clang__) || __clang_major__ >= 16
template class weir::expected<int, int>;
template class weir::expected<int const, int>;
template class weir::expected<std::string, std::string>;
template class weir::expected<void, std::string>;
template class weir::expected<void const, int>;
template class weir::unexpected<std::string>;
template class weir::bad_expected_access<std::string>;
#endif
