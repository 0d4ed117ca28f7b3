// weir (BSL-1.0). lock_free_map_progress_test: a thread that is stopped at any instruction stops no other, on no key.
#include <weir/base/hash.hpp>
#include <weir/data/lock_free_map.hpp>

#include "support/arena_allocator.hpp"
#include "support/map_storages.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/stopped_thread.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace weir_test;
using key = std::uint64_t;
using pairs = with_allocator<weir::lock_free_map<key, std::uint64_t>, arena_allocator>;
using nodes = with_allocator<weir::lock_free_map<key, node_number>, arena_allocator>;
using stamped = with_allocator<weir::lock_free_map<node_number, std::uint64_t, std::hash<key>>, arena_allocator>;
static_assert(in_slots<pairs> && in_nodes<nodes> && in_stamped_nodes<stamped>);

template <class Map>
class lock_free_map_progress : public testing::Test {};
using storages = testing::Types<pairs, nodes, stamped>;
TYPED_TEST_SUITE(lock_free_map_progress, storages);

constexpr key hot_keys = 24;

template <class Map>
void use(Map& map, random_numbers& random, key filler) {
    const key k = random.below(hot_keys);
    switch (random.below(9)) {
    case 0: map.insert(k, 1); break;
    case 1: map.erase(k); break;
    case 2: map.insert_or_assign(k, 2); break;
    case 3: map.upsert(k, 1, [](std::uint64_t v) { return v + 1; }); break;
    case 4: static_cast<void>(map.find(k)); break;
    case 5: map.for_each_relaxed([](key, std::uint64_t) {}); break;
    case 6:
        for (key n = 0; n < 20; ++n) {  // enough for a smaller table, now and then
            map.erase(hot_keys + filler - n);
        }
        map.shrink_to_fit();
        break;
    default: map.insert(hot_keys + filler, filler); break;
    }
}

// Everything that is named lock-free, on every hot key.
template <class Map>
void use_hot_keys(Map& map) {
    using value = typename Map::mapped_type;
    for (key k = 0; k < hot_keys; ++k) {
        map.insert(k, 1);
        map.insert_or_assign(k, 2);
        map.update(k, [](std::uint64_t v) { return v + 1; });
        static_cast<void>(map.extract(k));
        map.compute(k, [](value const*) { return weir::decision<value>::assign(7); });
        EXPECT_LE(map.find(k).value_or(0), 1000U);
    }
}

// The same, and enough new keys for so many growths, and a look at all of it; then most of it is erased and the table shrinks.
template <class Map>
void use_everything(Map& map, key first_filler, std::uint64_t growths, bool alone = true) {
    use_hot_keys(map);
    const auto wanted = map.stats().growths + growths;
    key k = first_filler;
    while (map.stats().growths < wanted) {  // stats looks at every bucket: not too often
        for (const key end = k + std::max<key>(16, map.size() / 8); k < end; ++k) {
            map.insert(k, k);
        }
    }
    std::size_t seen = 0;
    map.for_each([&](key, std::uint64_t) { ++seen; });
    EXPECT_GT(seen, std::size_t{0});
    for (key hot = 0; hot < hot_keys; ++hot) {
        map.erase(hot);
    }
    map.reserve(4 * map.size());
    while (k-- > first_filler) {
        EXPECT_TRUE(map.erase(k));
    }
    const auto shrinks = map.stats().shrinks;
    map.shrink_to_fit();
    EXPECT_TRUE(map.stats().shrinks > shrinks || !alone);  // another one may just have reserved more
}

template <class Map>
void warm_up() {  // whatever a thread allocates once by malloc
    Map map;
    random_numbers random(1);
    for (key i = 0; i < 50; ++i) {
        use(map, random, i);
    }
    map.shrink_to_fit();
}

}  // namespace

TYPED_TEST(lock_free_map_progress, a_thread_stopped_at_any_instruction_stops_no_other) {
    const std::size_t rounds = scaled(40, 20);
    for (std::size_t round = 0; round < rounds; ++round) {
        arena::reset();
        TypeParam map({.shrink_at = 0.25});
        random_numbers steps(round);
        stopped_thread victim([&](std::size_t i) { use(map, steps, i); }, warm_up<TypeParam>);
        victim.stop_after(random_numbers(round + 1000).below(400));
        must_end([&] {
            std::thread other([&] { use_everything(map, key{1} << 32, 3, false); });
            use_everything(map, key{1} << 33, 3, false);
            other.join();
        });
    }
}

namespace {

/// A call, and whether its key is there before it.
template <class Map>
struct step_case {
    const char* name;
    bool present;
    void (*call)(Map&);
};

constexpr key target = 3;
template <class Map>
constexpr step_case<Map> cases[] = {
    {"find", true, [](Map& m) { static_cast<void>(m.find(target)); }},
    {"find nothing", false, [](Map& m) { static_cast<void>(m.find(target)); }},
    {"insert", false, [](Map& m) { m.insert(target, 1); }},
    {"insert in vain", true, [](Map& m) { m.insert(target, 1); }},
    {"insert_or_assign", true, [](Map& m) { m.insert_or_assign(target, 2); }},
    {"upsert", true, [](Map& m) { m.upsert(target, 1, [](std::uint64_t v) { return v + 1; }); }},
    {"compare_exchange", true, [](Map& m) { m.compare_exchange(target, 7, 8); }},
    {"erase", true, [](Map& m) { m.erase(target); }},
    {"extract", true, [](Map& m) { static_cast<void>(m.extract(target)); }},
    {"compute that erases", true, [](Map& m) {
         m.compute(target, [](typename Map::mapped_type const*) { return weir::decision<typename Map::mapped_type>::erase(); });
     }},
};

/// How many entries the map of `stop_everywhere` takes until one more makes it grow.
template <class Map>
key entries_before_growth() {
    Map map({.seed = 3});
    key k = 0;
    for (; map.stats().growths < 3; ++k) {
        map.insert(hot_keys + k, k);
    }
    return k - 1;
}

/// How the map comes to be what it is when the call is stopped.
struct step_setting {
    key others = 5;  // entries beside the target
    key gone = 0;    // more that were there before
    double shrink_at = 0.125;
};

/// Stops `call`, before its 1st instruction, its (1 + stride)th, ... Returns how many it has.
template <class Map>
std::size_t stop_everywhere(step_case<Map> const& c, step_setting const& s, std::size_t stride) {
    constexpr std::size_t most = 50'000;
    for (std::size_t n = 1; n < most; n += stride) {
        arena::reset();
        Map map({.seed = 3, .shrink_at = s.shrink_at});
        for (key k = 0; k < s.others + s.gone; ++k) {
            map.insert(hot_keys + k, k);
        }
        for (key k = s.others; k < s.others + s.gone; ++k) {
            map.erase(hot_keys + k);
        }
        if (c.present) {
            map.insert(target, 7);
        }
        const bool stopped = stop_at_step(n, [&] { c.call(map); }, [&] { use_everything(map, key{1} << 32, 1); }, warm_up<Map>);
        EXPECT_LE(map.find(target).value_or(0), 8U) << c.name << " stopped before instruction " << n;
        if (!stopped || testing::Test::HasFailure()) {
            return n - 1;
        }
    }
    ADD_FAILURE() << c.name << " takes too many instructions";
    return most;
}

}  // namespace

TYPED_TEST(lock_free_map_progress, a_thread_stopped_before_each_instruction_of_a_call_stops_no_other) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    // A run costs a trap for each instruction before the stop: of nodes, one stop in three must do.
    const std::size_t stride = in_slots<TypeParam> ? 1 : 3;
    for (auto const& c : cases<TypeParam>) {
        const std::size_t steps = stop_everywhere(c, {}, stride);
        EXPECT_GT(steps, 100U) << c.name;
        testing::Test::RecordProperty(c.name, std::to_string(steps));
    }
}

namespace {

/// So many keys that share a bucket of eight, and so also one of four.
template <class Map>
std::vector<key> neighbours(std::size_t count) {
    const weir::seeded_hash<typename Map::hasher> hash(typename Map::hasher{}, 3);
    std::vector<key> found;
    for (key k = 1'000'000; found.size() < count; ++k) {
        if (hash(k) >> 61 == 0) {
            found.push_back(k);
        }
    }
    return found;
}

template <class Map>
constexpr std::size_t slots = std::size_t{weir_test::detail::storage_of<Map>::header::slots};

enum class inserted : unsigned char { nothing, a_reservation, a_key };

/// What is in the bucket of an insertion that is stopped before its n-th instruction.
template <class Map>
inserted what_is_there(std::size_t n) {
    const auto keys = neighbours<Map>(slots<Map> + 1);
    arena::reset();
    Map map({.seed = 3, .shrink_at = 0});
    map.insert(target, 1);
    inserted there = inserted::a_key;
    stop_at_step(n, [&] { map.insert(keys.back(), 1); }, [&] {
        const bool visible = map.contains(keys.back());
        for (std::size_t i = 0; i < slots<Map>; ++i) {
            map.insert(keys[i], 1);
        }
        there = visible ? inserted::a_key : map.stats().overflowed == 0 ? inserted::nothing : inserted::a_reservation;
    }, warm_up<Map>);
    return there;
}

/// Stops an insertion of each of the keys before its n-th instruction, then calls `then`, then lets all of them end.
template <class Map>
void with_stopped_insertions(Map& map, std::size_t n, std::span<key const> keys, std::function<void()> const& then) {
    if (keys.empty()) {
        then();
        return;
    }
    const bool stopped = stop_at_step(n, [&] { map.insert(keys.front(), 1); },
                                      [&] { with_stopped_insertions(map, n, keys.subspan(1), then); }, warm_up<Map>);
    EXPECT_TRUE(stopped);
}

}  // namespace

TYPED_TEST(lock_free_map_progress, writers_stopped_with_a_reservation_in_every_slot_of_a_bucket_stop_no_other) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    std::size_t first = 1;
    for (std::size_t step = std::size_t{1} << 12; step != 0; step /= 2) {  // the last instruction before which there is nothing
        first += what_is_there<TypeParam>(first + step) == inserted::nothing ? step : 0;
    }
    ++first;
    std::size_t end = first;
    while (what_is_there<TypeParam>(end) == inserted::a_reservation) {
        ++end;
    }
    ASSERT_GT(end, first) << "no insertion has a reservation that it has not published yet";
    testing::Test::RecordProperty("instructions with a reservation", std::to_string(end - first));
    std::size_t all_reserved = 0;
    for (std::size_t n = first; n < end; ++n) {
        const bool shrinks = (n - first) % 2 == 1;
        SCOPED_TRACE("stopped before instruction " + std::to_string(n) + (shrinks ? ", shrinking" : ", growing"));
        const auto keys = neighbours<TypeParam>(slots<TypeParam> + 1);
        const auto victims = std::span(keys).first(slots<TypeParam>);
        arena::reset();
        TypeParam map({.seed = 3, .shrink_at = 0});
        map.insert(target, 1);
        if (shrinks) {
            map.reserve(19);  // eight buckets
        }
        with_stopped_insertions(map, n, victims, [&] {
            for (const key k : victims) {
                EXPECT_FALSE(map.contains(k));
            }
            EXPECT_TRUE(map.insert(keys.back(), 1));
            all_reserved += map.stats().overflowed;
            if (shrinks) {
                map.shrink_to_fit();
                EXPECT_EQ(map.stats().buckets, 4U);
            }
            for (std::size_t i = 0; i < victims.size(); ++i) {
                EXPECT_TRUE(map.insert(victims[i], 5));
                EXPECT_EQ(map.find(victims[i]), 5U);
                EXPECT_TRUE(i % 2 == 0 || map.erase(victims[i]));
            }
            std::thread other([&] { use_everything(map, key{1} << 32, 2, false); });
            use_everything(map, key{1} << 33, 2, false);
            other.join();
        });
        for (std::size_t i = 0; i < victims.size(); ++i) {
            EXPECT_EQ(map.find(victims[i]), i % 2 == 0 ? 5U : 1U);
        }
        EXPECT_EQ(map.find(keys.back()), 1U);
        ASSERT_FALSE(testing::Test::HasFailure());
    }
    EXPECT_GE(all_reserved, 2U) << "a slot of the bucket was free each time";
}

TYPED_TEST(lock_free_map_progress, a_thread_stopped_throughout_the_insertion_that_begins_a_growth_stops_no_other) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    constexpr step_case<TypeParam> grows{"insert that grows", false, [](TypeParam& m) { m.insert(target, 1); }};
    const std::size_t steps = stop_everywhere(grows, {.others = entries_before_growth<TypeParam>()}, 7);
    EXPECT_GT(steps, 700U) << "the insertion begins no growth";
    testing::Test::RecordProperty(grows.name, std::to_string(steps));
}

TYPED_TEST(lock_free_map_progress, a_thread_stopped_throughout_a_shrinking_stops_no_other) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    constexpr step_case<TypeParam> shrinks{"shrink_to_fit", true, [](TypeParam& m) { m.shrink_to_fit(); }};
    const std::size_t steps = stop_everywhere(shrinks, {.others = 12, .gone = 12, .shrink_at = 0}, 149);
    EXPECT_GT(steps, 700U) << "there is nothing to shrink";
    testing::Test::RecordProperty(shrinks.name, std::to_string(steps));
}

TYPED_TEST(lock_free_map_progress, a_thread_stopped_throughout_a_call_that_meets_a_shrinking_stops_no_other) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    // One erasure after the others begins a smaller table: which one, and which call then moves buckets, is found by trying.
    constexpr key gone = 60;
    key others = 16;
    for (; others > 0; --others) {
        arena::reset();
        TypeParam map({.seed = 3, .shrink_at = 0.25});
        for (key k = 0; k < others + gone; ++k) {
            map.insert(hot_keys + k, k);
        }
        map.quiesce();
        const auto before = map.stats().shrinks;
        for (key k = others; k < others + gone; ++k) {
            map.erase(hot_keys + k);
        }
        if (map.stats().shrinks > before) {
            break;
        }
    }
    ASSERT_GT(others, 0U) << "no erasure begins a smaller table";
    constexpr step_case<TypeParam> calls[] = {
        {"erase beside a shrinking", true, [](TypeParam& m) { m.erase(target); }},
        {"insert_or_assign beside a shrinking", true, [](TypeParam& m) { m.insert_or_assign(target, 2); }},
        {"find beside a shrinking", true, [](TypeParam& m) { static_cast<void>(m.find(target)); }},
    };
    for (auto const& c : calls) {
        const std::size_t steps = stop_everywhere(c, {.others = others, .gone = gone, .shrink_at = 0.25}, 11);
        EXPECT_GT(steps, 50U) << c.name;
        testing::Test::RecordProperty(c.name, std::to_string(steps));
    }
}
