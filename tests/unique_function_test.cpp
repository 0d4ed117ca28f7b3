// weir (BSL-1.0). Tests of base/detail/unique_function.hpp: what it holds, where, and what becomes of it.
#include <weir/base/detail/unique_function.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <gtest/gtest.h>

namespace weir_test {
namespace {

using weir::detail::unique_function;

// Counts itself.
struct tracked {
    static inline int alive = 0;
    static inline int moves = 0;
    int value;

    explicit tracked(int v) : value(v) { ++alive; }
    tracked(tracked&& other) noexcept : value(std::exchange(other.value, -1)) {
        ++alive;
        ++moves;
    }
    tracked(tracked const&) = delete;
    tracked& operator=(tracked&&) = delete;
    ~tracked() { --alive; }
    int operator()() { return value; }
};

template <std::size_t Bytes>
struct sized {
    std::array<char, Bytes> bytes{};
    tracked t{7};
    int operator()() { return t.value + bytes[0]; }
};

struct throws_when_moved : tracked {
    throws_when_moved() : tracked(3) {}
    throws_when_moved(throws_when_moved&& other) noexcept(false) : tracked(std::move(other)) {}
};

struct wants_to_know {
    int* told;
    void operator()() {}
    void abandoned(unsigned char why) noexcept { *told = why; }
};

TEST(unique_function, calls_what_it_holds_with_the_arguments) {
    unique_function<int(int, std::string const&)> f = [n = 1](int a, std::string const& s) mutable {
        return a + static_cast<int>(s.size()) + n++;
    };
    EXPECT_EQ(f(10, "abc"), 14);
    EXPECT_EQ(f(10, "abc"), 15);
}

TEST(unique_function, hands_a_move_only_argument_through) {
    unique_function<std::unique_ptr<int>(std::unique_ptr<int>)> f = [](std::unique_ptr<int> p) {
        ++*p;
        return p;
    };
    EXPECT_EQ(*f(std::make_unique<int>(4)), 5);
}

TEST(unique_function, holds_what_cannot_be_copied) {
    unique_function<int()> f = [p = std::make_unique<int>(9)] { return *p; };
    auto g = std::move(f);
    EXPECT_EQ(g(), 9);
    EXPECT_FALSE(f);  // NOLINT: it is empty
    static_assert(!std::is_copy_constructible_v<unique_function<int()>>);
    static_assert(std::is_nothrow_move_constructible_v<unique_function<int()>>);
    static_assert(std::is_nothrow_move_assignable_v<unique_function<int()>>);
}

TEST(unique_function, is_empty_until_told_otherwise) {
    unique_function<void()> none;
    unique_function<void()> null = nullptr;
    EXPECT_FALSE(none);
    EXPECT_FALSE(null);
    none = [] {};
    EXPECT_TRUE(none);
    none.reset();
    EXPECT_FALSE(none);
    none.abandon(1);  // nobody is there
}

TEST(unique_function, throws_away_a_result_that_nobody_wants) {
    int calls = 0;
    unique_function<void()> f = [&] { return ++calls; };
    f();
    EXPECT_EQ(calls, 1);
}

TEST(unique_function, passes_on_what_the_callable_throws) {
    unique_function<void()> f = [] { throw std::runtime_error("so"); };
    EXPECT_THROW(f(), std::runtime_error);
    EXPECT_THROW(f(), std::runtime_error);
}

TEST(unique_function, destroys_what_it_holds_exactly_once) {
    {
        unique_function<int()> f = tracked{5};
        EXPECT_EQ(tracked::alive, 1);
        unique_function<int()> g = std::move(f);
        EXPECT_EQ(tracked::alive, 1);
        EXPECT_EQ(g(), 5);
        f = tracked{6};
        EXPECT_EQ(tracked::alive, 2);
        g = std::move(f);
        EXPECT_EQ(tracked::alive, 1);
        EXPECT_EQ(g(), 6);
        auto& same = g;
        g = std::move(same);
        EXPECT_EQ(g(), 6);
    }
    EXPECT_EQ(tracked::alive, 0);
}

TEST(unique_function, moves_a_large_callable_by_its_pointer) {
    {
        unique_function<int()> f = sized<100>{};
        auto const before = tracked::moves;
        unique_function<int()> g = std::move(f);
        f = std::move(g);
        EXPECT_EQ(tracked::moves, before);
        EXPECT_EQ(f(), 7);
    }
    EXPECT_EQ(tracked::alive, 0);
}

TEST(unique_function, allocates_what_might_throw_when_moved) {
    {
        unique_function<int()> f = throws_when_moved{};
        auto const before = tracked::moves;
        auto g = std::move(f);
        EXPECT_EQ(tracked::moves, before);
        EXPECT_EQ(g(), 3);
    }
    EXPECT_EQ(tracked::alive, 0);
}

TEST(unique_function, tells_a_callable_that_wants_to_know_that_it_is_abandoned) {
    int told = -1;
    unique_function<void()> f = wants_to_know{&told};
    f.abandon(42);
    EXPECT_EQ(told, 42);
    f = [] {};
    f.abandon(43);
    EXPECT_EQ(told, 42);
}

TEST(unique_function, takes_only_what_can_be_called_so) {
    struct throws_at_its_end {
        ~throws_at_its_end() noexcept(false) {}
        void operator()() {}
    };
    static_assert(std::is_constructible_v<unique_function<void()>, void (*)()>);
    static_assert(!std::is_constructible_v<unique_function<void()>, void (*)(int)>);
    static_assert(!std::is_constructible_v<unique_function<int()>, void (*)()>);
    static_assert(!std::is_constructible_v<unique_function<void()>, throws_at_its_end>);
    static_assert(!std::is_constructible_v<unique_function<void()>, int>);
}

}  // namespace
}  // namespace weir_test
