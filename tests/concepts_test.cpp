// weir (BSL-1.0). concepts: each says yes to what it means and no to what lacks one thing. Messages: see compile_fail.
#include <weir/base/clock.hpp>
#include <weir/base/concepts.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <memory_resource>
#include <string>
#include <string_view>

namespace {

struct plain {};
struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return text.size(); }
};
struct opaque_hash {  // takes a string_view, but does not say that it may be used so
    std::size_t operator()(std::string_view text) const { return text.size(); }
};
struct half_equal {  // compares a string_view on the right only
    using is_transparent = void;
    bool operator()(std::string const& a, std::string_view b) const { return a == b; }
    bool operator()(std::string_view, std::string const&) const = delete;
};
struct incomparable {  // an allocator, but for ==
    using value_type = int;
    int* allocate(std::size_t);
    void deallocate(int*, std::size_t);
};
struct keeping {  // an allocator that never takes anything back
    using value_type = int;
    int* allocate(std::size_t);
    bool operator==(keeping const&) const = default;
};

TEST(hasher_of, wants_a_call_on_a_const_object_that_returns_a_number) {
    struct changing {
        std::size_t operator()(int) { return 0; }
    };
    struct wordy {
        std::string operator()(int) const { return {}; }
    };
    struct consuming {
        std::size_t operator()(std::unique_ptr<int>) const { return 0; }
    };
    EXPECT_TRUE((weir::hasher_of<std::hash<int>, int>));
    EXPECT_TRUE((weir::hasher_of<std::hash<std::string>, std::string>));
    EXPECT_TRUE((weir::hasher_of<std::size_t (*)(int), int>));
    EXPECT_FALSE((weir::hasher_of<std::hash<plain>, plain>)) << "std::hash of a type that has none";
    EXPECT_FALSE((weir::hasher_of<changing, int>));
    EXPECT_FALSE((weir::hasher_of<wordy, int>));
    EXPECT_FALSE((weir::hasher_of<consuming, std::unique_ptr<int>>)) << "a key is lent, not given";
    EXPECT_FALSE((weir::hasher_of<int, int>));
}

TEST(equivalence_of, wants_a_predicate_of_two_keys_on_a_const_object) {
    struct changing {
        bool operator()(int, int) { return true; }
    };
    struct silent {
        void operator()(int, int) const {}
    };
    EXPECT_TRUE((weir::equivalence_of<std::equal_to<int>, int>));
    EXPECT_TRUE((weir::equivalence_of<std::equal_to<>, std::string>));
    EXPECT_FALSE((weir::equivalence_of<std::equal_to<plain>, std::string>));
    EXPECT_FALSE((weir::equivalence_of<changing, int>));
    EXPECT_FALSE((weir::equivalence_of<silent, int>));
}

TEST(transparent_for, wants_both_to_say_so_and_both_to_take_it) {
    using key = std::string;
    using view = std::string_view;
    EXPECT_TRUE((weir::transparent_for<view, key, text_hash, std::equal_to<>>));
    EXPECT_TRUE((weir::transparent_for<char const*, key, text_hash, std::equal_to<>>));
    EXPECT_FALSE((weir::transparent_for<view, key, opaque_hash, std::equal_to<>>));
    EXPECT_FALSE((weir::transparent_for<view, key, text_hash, std::equal_to<key>>));
    EXPECT_FALSE((weir::transparent_for<int, key, text_hash, std::equal_to<>>));
    EXPECT_FALSE((weir::transparent_for<view, key, text_hash, half_equal>)) << "either order may be called";
}

TEST(lookup_key, takes_the_key_itself_however_it_is_passed_and_else_only_the_transparent) {
    using key = std::string;
    using view = std::string_view;
    EXPECT_TRUE((weir::lookup_key<key, key, std::hash<key>, std::equal_to<key>>));
    EXPECT_TRUE((weir::lookup_key<key const&, key, std::hash<key>, std::equal_to<key>>));
    EXPECT_TRUE((weir::lookup_key<key&&, key, std::hash<key>, std::equal_to<key>>));
    EXPECT_FALSE((weir::lookup_key<view, key, std::hash<key>, std::equal_to<key>>));
    EXPECT_TRUE((weir::lookup_key<view, key, text_hash, std::equal_to<>>));
    EXPECT_TRUE((weir::lookup_key<view const&, key, text_hash, std::equal_to<>>));
}

TEST(key_argument, takes_also_what_converts_to_a_key) {
    using key = std::string;
    EXPECT_TRUE((weir::key_argument<key const&, key, std::hash<key>, std::equal_to<key>>));
    EXPECT_TRUE((weir::key_argument<char const*, key, std::hash<key>, std::equal_to<key>>));
    EXPECT_TRUE((weir::key_argument<std::string_view, key, text_hash, std::equal_to<>>));
    EXPECT_FALSE((weir::key_argument<std::string_view, key, std::hash<key>, std::equal_to<key>>)) << "explicit only";
    EXPECT_FALSE((weir::key_argument<plain, key, text_hash, std::equal_to<>>));
}

TEST(allocator_for, wants_what_gives_and_takes_back_memory_and_compares) {
    EXPECT_TRUE(weir::allocator_for<std::allocator<int>>);
    EXPECT_TRUE(weir::allocator_for<std::pmr::polymorphic_allocator<plain>>);
    EXPECT_FALSE(weir::allocator_for<incomparable>);
    EXPECT_FALSE(weir::allocator_for<keeping>);
    EXPECT_FALSE(weir::allocator_for<int>);
}

TEST(nothrow_movable, asks_for_moves_and_the_end_without_exceptions_but_not_for_assignment) {
    struct throwing_move {
        throwing_move(throwing_move&&) noexcept(false) {}
    };
    struct throwing_end {
        throwing_end(throwing_end&&) = default;
        ~throwing_end() noexcept(false) {}
    };
    struct unassignable {
        int const value;
    };
    EXPECT_TRUE(weir::nothrow_movable<std::unique_ptr<int>>);
    EXPECT_TRUE(weir::nothrow_movable<unassignable>);
    EXPECT_FALSE(weir::nothrow_movable<throwing_move>);
    EXPECT_FALSE(weir::nothrow_movable<throwing_end>);
    EXPECT_FALSE(weir::nothrow_movable<std::atomic<int>>);
}

struct own_counters {
    std::atomic<int> hits;
};

}  // namespace

template <>
inline constexpr bool weir::is_internally_synchronized<own_counters> = true;

namespace {

TEST(is_internally_synchronized, holds_for_atomics_and_for_those_who_say_so) {
    EXPECT_TRUE(weir::is_internally_synchronized<std::atomic<int>>);
    EXPECT_TRUE(weir::is_internally_synchronized<std::atomic_flag>);
    EXPECT_TRUE(weir::is_internally_synchronized<own_counters>);
    EXPECT_FALSE(weir::is_internally_synchronized<int>);
    EXPECT_FALSE(weir::is_internally_synchronized<std::string>);
}

TEST(clock_source, takes_every_object_whose_now_returns_a_time_point) {
    struct by_lambda_like {
        std::chrono::sys_seconds now() const { return {}; }
    };
    struct changing {
        std::chrono::sys_seconds now() { return {}; }
    };
    struct counting {
        long now() const { return 0; }
    };
    EXPECT_TRUE(weir::clock_source<std::chrono::steady_clock>);
    EXPECT_TRUE(weir::clock_source<weir::coarse_clock>);
    EXPECT_TRUE(weir::clock_source<weir::manual_clock>);
    EXPECT_TRUE(weir::clock_source<by_lambda_like>);
    EXPECT_FALSE(weir::clock_source<changing>);
    EXPECT_FALSE(weir::clock_source<counting>);
    EXPECT_FALSE(weir::clock_source<int>);
}

}  // namespace
