// weir (BSL-1.0). lock_free_map_shrink_test: tables that become smaller: when, how far, and that nothing is lost on the way.
#include <weir/data/lock_free_map.hpp>

#include "support/counting_allocator.hpp"
#include "support/map_storages.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"
#include "support/values.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace weir_test;
using number = std::uint64_t;
using weir::lock_free_map_options;

struct hash_that_may_throw {  // kept in the node
    std::size_t operator()(number n) const { return std::hash<number>{}(n); }
};
using numbers = weir::lock_free_map<number, number>;
using small_numbers = weir::lock_free_map<std::uint32_t, std::uint32_t>;
using node_numbers = weir::lock_free_map<number, node_number>;
using kept_hashes = weir::lock_free_map<number, number, hash_that_may_throw>;

template <class Map>
class lock_free_map_shrink : public testing::Test {};
using storages = testing::Types<numbers, small_numbers, node_numbers, kept_hashes>;
TYPED_TEST_SUITE(lock_free_map_shrink, storages);

template <class Map>
auto key(number n) {
    return static_cast<typename Map::key_type>(n);
}
template <class Map>
auto value(number n) {
    return typename Map::mapped_type(static_cast<typename Map::key_type>(n * 3));
}

template <class Map>
void fill(Map& map, number from, number to) {
    for (number n = from; n < to; ++n) {
        ASSERT_TRUE(map.insert(key<Map>(n), value<Map>(n))) << n;
    }
}
template <class Map>
void empty_out(Map& map, number from, number to) {
    for (number n = from; n < to; ++n) {
        ASSERT_TRUE(map.erase(key<Map>(n))) << n;
    }
}
/// Exactly the numbers from..to are there, and the lookups agree with the walks.
template <class Map>
void expect_exactly(Map const& map, number from, number to) {
    EXPECT_EQ(map.size(), to - from);
    std::vector<int> times(to - from, 0);
    map.for_each([&](auto const& k, auto const& v) {
        ASSERT_TRUE(k >= from && k < to) << k;
        ++times[k - from];
        EXPECT_EQ(v, value<Map>(k));
    });
    EXPECT_TRUE(std::all_of(times.begin(), times.end(), [](int t) { return t == 1; }));
    for (number n = from; n < to; ++n) {
        ASSERT_EQ(map.find(key<Map>(n)).has_value(), true) << n;
        ASSERT_EQ(*map.find(key<Map>(n)), value<Map>(n)) << n;
    }
    EXPECT_FALSE(map.contains(key<Map>(to + 1)));
}
template <class Map>
std::size_t buckets_for(number entries) {
    Map map;
    map.reserve(entries);
    return map.stats().buckets;
}

}  // namespace

// When.

TYPED_TEST(lock_free_map_shrink, halves_the_table_whenever_the_entries_need_less_than_the_part_asked_for) {
    for (const double at : {0.125, 0.25, 0.05}) {
        SCOPED_TRACE(at);
        TypeParam map({.shrink_at = at});
        const number count = scaled(20'000, 3000);
        fill(map, 0, count);
        map.quiesce();
        std::size_t buckets = map.stats().buckets;
        ASSERT_GE(buckets * 6, count);
        std::uint64_t shrinks = 0;
        for (number n = 0; n < count; ++n) {
            ASSERT_TRUE(map.erase(key<TypeParam>(n)));
            if (n % 32 != 0) {
                continue;
            }
            map.quiesce();
            const auto s = map.stats();
            const auto entries = static_cast<double>(s.size);
            if (s.buckets != buckets) {
                ASSERT_EQ(s.buckets, buckets / 2);
                ASSERT_EQ(s.shrinks, ++shrinks);
                ASSERT_LT(entries, at * 4.5 * static_cast<double>(buckets)) << "too early";
                buckets = s.buckets;
            }
            // 64 erasures at most before one looks at the size, and as many until this test does; four entries a bucket fit.
            ASSERT_LE(at * 4 * static_cast<double>(s.buckets), std::max(entries + 128, 4 * at * 4)) << "too late";
        }
        EXPECT_GE(shrinks, 2U);
        EXPECT_EQ(map.stats().failed_growths, 0U);
    }
}

TYPED_TEST(lock_free_map_shrink, a_map_at_rest_in_size_never_changes_its_table) {
    TypeParam map({.shrink_at = 0.25});
    constexpr number live = 1000;
    fill(map, 0, live);
    map.quiesce();
    const auto before = map.stats();
    const number last = live * scaled(50, 10);
    for (number n = live; n < last; ++n) {
        ASSERT_TRUE(map.insert(key<TypeParam>(n), value<TypeParam>(n)));
        ASSERT_TRUE(map.erase(key<TypeParam>(n - live)));
    }
    EXPECT_LE(map.stats().growths, before.growths + 1);  // it may have been just before a growth
    EXPECT_EQ(map.stats().shrinks, 0U);
    expect_exactly(map, last - live, last);
}

TYPED_TEST(lock_free_map_shrink, never_shrinks_below_its_capacity_by_itself) {
    constexpr number capacity = 5000;
    TypeParam map({.capacity = capacity});
    const std::size_t asked = map.stats().buckets;
    EXPECT_EQ(asked, buckets_for<TypeParam>(capacity));
    fill(map, 0, capacity);
    empty_out(map, 0, capacity);
    map.clear();
    map.quiesce();
    EXPECT_EQ(map.stats().buckets, asked);
    EXPECT_EQ(map.stats().shrinks, 0U);
    fill(map, 0, 8 * capacity);
    EXPECT_GT(map.stats().buckets, asked);
    empty_out(map, 0, 8 * capacity);
    map.quiesce();
    EXPECT_EQ(map.stats().buckets, asked) << "it goes back to its capacity";
    EXPECT_EQ(map.stats().growths, map.stats().shrinks);
}

TYPED_TEST(lock_free_map_shrink, never_shrinks_below_what_was_reserved) {
    TypeParam map;
    fill(map, 0, 100);
    map.reserve(5000);
    map.reserve(10);  // less is no step back
    const std::size_t asked = buckets_for<TypeParam>(5000);
    EXPECT_EQ(map.stats().buckets, asked);
    empty_out(map, 0, 100);
    map.quiesce();
    EXPECT_EQ(map.stats().buckets, asked);
    fill(map, 0, 40'000);
    empty_out(map, 0, 40'000);
    map.quiesce();
    EXPECT_EQ(map.stats().buckets, asked);
}

namespace {

/// What the n-th allocation from now on does before anything else.
struct interlude {
    inline static std::size_t left = 0;
    inline static std::function<void()> call;
};
template <class T>
struct interrupted_allocator : std::allocator<T> {
    interrupted_allocator() = default;
    template <class U>
    interrupted_allocator(interrupted_allocator<U> const&) noexcept {}
    template <class U>
    struct rebind {
        using other = interrupted_allocator<U>;
    };
    [[nodiscard]] T* allocate(std::size_t n) {
        if (interlude::left != 0 && --interlude::left == 0) {
            interlude::call();
        }
        return std::allocator<T>::allocate(n);
    }
};

}  // namespace

TYPED_TEST(lock_free_map_shrink, an_erasure_that_is_about_to_make_a_smaller_table_heeds_what_is_reserved_meanwhile) {
    constexpr number most = 200;
    bool shrunk = false;
    for (std::size_t nth = 1; !shrunk; ++nth) {  // the last but one allocates the smaller table
        SCOPED_TRACE(nth);
        with_allocator<TypeParam, interrupted_allocator> map({.seed = 5, .shrink_at = 0.25});
        fill(map, 0, most);
        map.quiesce();
        const auto before = map.stats();
        bool asked = false;
        interlude::left = nth;
        interlude::call = [&] {
            asked = true;
            shrunk = map.stats().shrinks != 0;
            map.reserve(most);
        };
        empty_out(map, 0, most);
        interlude::left = 0;
        ASSERT_TRUE(asked) << "it never shrinks";
        map.quiesce();
        if (!shrunk) {
            EXPECT_EQ(map.stats().buckets, before.buckets);
            ASSERT_EQ(map.stats().shrinks, 0U);
        }
    }
}

TYPED_TEST(lock_free_map_shrink, a_map_that_only_grows_shrinks_when_it_is_told_to) {
    TypeParam map({.shrink_at = 0});
    fill(map, 0, 10'000);
    map.quiesce();
    const std::size_t grown = map.stats().buckets;
    empty_out(map, 100, 10'000);
    map.quiesce();
    EXPECT_EQ(map.stats().buckets, grown);
    EXPECT_EQ(map.stats().shrinks, 0U);
    map.shrink_to_fit();
    EXPECT_EQ(map.stats().buckets, buckets_for<TypeParam>(100));
    EXPECT_GT(map.stats().shrinks, 0U);
    expect_exactly(map, 0, 100);
}

TYPED_TEST(lock_free_map_shrink, shrink_to_fit_leaves_the_smallest_table_that_holds_the_entries) {
    for (const number left : {0U, 1U, 16U, 17U, 100U, 1000U, 9000U}) {
        SCOPED_TRACE(left);
        TypeParam map({.capacity = 20'000, .shrink_at = 0});
        fill(map, 0, 10'000);
        empty_out(map, left, 10'000);
        map.shrink_to_fit();
        EXPECT_EQ(map.stats().buckets, buckets_for<TypeParam>(std::max<number>(left, 1)));
        const auto shrinks = map.stats().shrinks;
        map.shrink_to_fit();
        EXPECT_EQ(map.stats().shrinks, shrinks) << "there was nothing to do";
        EXPECT_EQ(map.stats().growths, 0U) << "its capacity was enough";
        expect_exactly(map, 0, left);
        fill(map, left, 10'000);
        expect_exactly(map, 0, 10'000);
    }
}

TYPED_TEST(lock_free_map_shrink, shrink_to_fit_forgets_what_was_reserved) {
    TypeParam map({.capacity = 10'000, .shrink_at = 0.25});
    map.shrink_to_fit();
    EXPECT_EQ(map.stats().buckets, buckets_for<TypeParam>(1));
    fill(map, 0, 20'000);
    empty_out(map, 0, 20'000);
    map.quiesce();
    EXPECT_LT(map.stats().buckets, buckets_for<TypeParam>(10'000));
}

TYPED_TEST(lock_free_map_shrink, shrink_to_fit_of_a_map_without_a_table_allocates_nothing) {
    booked<TypeParam> b;
    b.map.shrink_to_fit();
    EXPECT_EQ(b.book.allocations(), 0U);
    EXPECT_EQ(b.map.stats().shrinks, 0U);
}

TYPED_TEST(lock_free_map_shrink, refuses_a_part_that_makes_no_sense_by_name_and_before_it_allocates) {
    using limits = std::numeric_limits<double>;
    for (const double bad : {-1.0, -1e-9, 0.2500001, 0.5, 1.0, 100.0, limits::infinity(), -limits::infinity(), limits::quiet_NaN()}) {
        try {
            const TypeParam map({.capacity = 1000, .shrink_at = bad});
            ADD_FAILURE() << bad << " was taken";
        } catch (std::invalid_argument const& e) {
            EXPECT_NE(std::string_view(e.what()).find("lock_free_map"), std::string_view::npos) << e.what();
            EXPECT_NE(std::string_view(e.what()).find("shrink_at"), std::string_view::npos) << e.what();
        }
        ledger book;
        using counted = with_allocator<TypeParam, counting_allocator>;
        EXPECT_THROW(counted({.capacity = 1000, .shrink_at = bad}, {}, {}, counting_allocator<typename counted::value_type>(book)),
                     std::invalid_argument);
        EXPECT_EQ(book.allocations(), 0U);
    }
    for (const double good : {0.0, -0.0, limits::denorm_min(), 0.125, 0.25}) {
        TypeParam map({.shrink_at = good});
        EXPECT_TRUE(map.insert(key<TypeParam>(1), value<TypeParam>(1)));
    }
    EXPECT_EQ(lock_free_map_options{}.shrink_at, 0.125);
}

// Nothing is lost.

TYPED_TEST(lock_free_map_shrink, keeps_what_is_left_through_cycles_of_growing_and_shrinking) {
    TypeParam map({.shrink_at = 0.25});
    std::unordered_map<number, number> model;
    random_numbers dice(run_seed());
    const number most = scaled(6000, 2000);
    for (int cycle = 0; cycle < 6; ++cycle) {
        while (model.size() < most) {
            const number n = dice.below(1'000'000);
            ASSERT_EQ(map.insert(key<TypeParam>(n), value<TypeParam>(n)), model.emplace(n, n * 3).second);
        }
        const number least = dice.below(60);
        for (auto at = model.begin(); model.size() > least;) {
            ASSERT_TRUE(map.erase(key<TypeParam>(at->first)));
            at = model.erase(at);
            if (dice.one_in(16)) {  // one that is replaced while its bucket moves
                const number n = dice.below(1'000'000);
                ASSERT_EQ(map.update(key<TypeParam>(n), [](auto v) { return v; }), model.contains(n));
            }
        }
        if (cycle % 2 == 1) {
            map.shrink_to_fit();
        }
        ASSERT_EQ(map.size(), model.size());
        std::unordered_map<number, number> seen;
        map.for_each([&](auto const& k, auto const& v) { ASSERT_TRUE(seen.emplace(k, v).second); });
        ASSERT_EQ(seen, model);
        for (auto const& [n, v] : model) {
            ASSERT_TRUE(map.visit(key<TypeParam>(n), [wanted = v](auto const& there) { EXPECT_EQ(there, wanted); }));
        }
    }
    EXPECT_GE(map.stats().shrinks, 12U);
    EXPECT_GE(map.stats().growths, 12U);
}

TYPED_TEST(lock_free_map_shrink, moves_crowded_buckets_into_one) {
    // All in one bucket of any table, so that two full buckets with overflow never meet; and all in two, which do.
    struct few_hashes {
        number count = 1;
        std::size_t operator()(number n) const noexcept { return n % count; }
    };
    for (const number count : {1U, 2U, 3U, 40U}) {
        SCOPED_TRACE(count);
        using value_type = typename TypeParam::mapped_type;
        weir::lock_free_map<typename TypeParam::key_type, value_type, few_hashes> map({.shrink_at = 0}, few_hashes{count});
        for (int cycle = 0; cycle < 3; ++cycle) {
            map.reserve(4000);
            fill(map, 0, 300);
            map.shrink_to_fit();
            expect_exactly(map, 0, 300);
            empty_out(map, 100, 300);
            map.shrink_to_fit();
            expect_exactly(map, 0, 100);
            empty_out(map, 0, 100);
            map.shrink_to_fit();
            EXPECT_EQ(map.stats().longest_chain, 0U);
        }
    }
}

TYPED_TEST(lock_free_map_shrink, a_walk_whose_callback_shrinks_the_table_sees_each_lasting_entry_once) {
    TypeParam map({.shrink_at = 0.25});
    constexpr number all = 4000;
    fill(map, 0, all);
    std::vector<int> times(all, 0);
    number next = 100;  // 0..99 last
    map.for_each([&](auto const& k, auto const&) {
        ++times[k];
        for (int i = 0; i < 60 && next < all; ++i, ++next) {
            map.erase(key<TypeParam>(next));
        }
        if (times[k] == 1 && k % 16 == 0) {
            map.shrink_to_fit();
        }
    });
    EXPECT_GE(map.stats().shrinks, 3U);
    for (number n = 0; n < all; ++n) {
        EXPECT_EQ(times[n], n < 100 ? 1 : times[n] & 1) << n;
    }
    expect_exactly(map, 0, 100);
    std::vector<int> again(all, 0);
    number grown = all;
    map.for_each([&](auto const& k, auto const&) {
        if (k < 100) {
            ++again[k];
            fill(map, grown, grown + 100);
            grown += 100;
            if (k % 8 == 0) {
                empty_out(map, all, grown);
                grown = all;
                map.shrink_to_fit();
            }
        }
    });
    EXPECT_TRUE(std::all_of(again.begin(), again.begin() + 100, [](int t) { return t == 1; }));
}

TYPED_TEST(lock_free_map_shrink, visitors_may_shrink_the_map_that_they_look_at) {
    TypeParam map({.shrink_at = 0});
    fill(map, 0, 3000);
    EXPECT_TRUE(map.visit(key<TypeParam>(7), [&](auto const& v) {
        empty_out(map, 10, 3000);
        map.shrink_to_fit();
        map.quiesce();
        EXPECT_EQ(v, value<TypeParam>(7));
    }));
    int calls = 0;
    EXPECT_TRUE(map.update(key<TypeParam>(8), [&](auto const& v) {
        if (++calls == 1) {  // moves the entry away from under the update, which begins again
            map.reserve(2000);
            map.shrink_to_fit();
        }
        return v;
    }));
    EXPECT_LE(calls, 2);
    expect_exactly(map, 0, 10);
}

TEST(lock_free_map_shrink, destroys_each_value_once) {
    struct tag {};
    using value = tracked<tag>;
    census<tag>::reset();
    {
        weir::lock_free_map<number, value> map({.shrink_at = 0.25});
        for (int cycle = 0; cycle < 4; ++cycle) {
            for (number n = 0; n < 3000; ++n) {
                ASSERT_TRUE(map.try_emplace(n, n));
            }
            for (number n = 20; n < 3000; ++n) {
                ASSERT_EQ(map.extract(n)->number(), n);
            }
            map.shrink_to_fit();
            map.quiesce();
            EXPECT_EQ(census<tag>::alive.load(), 20);
            EXPECT_EQ(map.stats().pending_objects, 0U);
            for (number n = 0; n < 20; ++n) {
                ASSERT_TRUE(map.erase(n));
            }
        }
        EXPECT_GE(map.stats().shrinks, 8U);
    }
    EXPECT_EQ(census<tag>::alive.load(), 0);
    EXPECT_EQ(census<tag>::misuses.load(), 0);
}

// Memory.

TYPED_TEST(lock_free_map_shrink, gives_back_what_it_needed_when_it_was_large) {
    const auto fresh_of = [](number entries) {
        booked<TypeParam> fresh;
        fill(fresh.map, 0, entries);
        fresh.map.quiesce();
        return fresh.book.live_bytes();
    };
    const number large = scaled(1'000'000, 100'000);
    constexpr number left = 1000;
    const std::size_t fresh = fresh_of(left);
    booked<TypeParam> b;
    fill(b.map, 0, large);
    const std::size_t full = b.book.live_bytes();
    empty_out(b.map, left, large);
    b.map.quiesce();
    EXPECT_LE(b.book.live_bytes(), 8 * fresh) << "full: " << full << ", fresh: " << fresh;
    EXPECT_LE(b.book.live_bytes(), full / (large / left) * 50) << "full: " << full;  // an eighth of a table may be all there is
    b.map.shrink_to_fit();
    b.map.quiesce();
    EXPECT_LE(b.book.live_bytes(), fresh + fresh / 5) << "full: " << full << ", fresh: " << fresh;
    expect_exactly(b.map, 0, left);
}

// Many threads.

TYPED_TEST(lock_free_map_shrink, many_threads_that_empty_it_leave_a_small_table) {
    TypeParam map;
    constexpr number each = 5000;
    run_together(4, [&](std::size_t i) {
        for (int cycle = 0; cycle < 3; ++cycle) {
            fill(map, i * each, (i + 1) * each);
            empty_out(map, i * each, (i + 1) * each);
        }
    });
    map.quiesce();
    EXPECT_TRUE(map.empty());
    EXPECT_GT(map.stats().shrinks, 0U);
    map.shrink_to_fit();
    EXPECT_EQ(map.stats().buckets, buckets_for<TypeParam>(1));
}
