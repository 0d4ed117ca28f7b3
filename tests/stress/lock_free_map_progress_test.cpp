// weir (BSL-1.0). lock_free_map_progress_test: a thread that is stopped at any instruction stops no other, on no key.
#include <weir/data/lock_free_map.hpp>

#include "support/arena_allocator.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/stopped_thread.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

namespace {

using namespace weir_test;
using key = std::uint64_t;
using map_type = weir::lock_free_map<key, std::uint64_t, std::hash<key>, std::equal_to<key>,
                                     arena_allocator<std::pair<key const, std::uint64_t>>>;

constexpr key hot_keys = 24;

void use(map_type& map, random_numbers& random, key filler) {
    const key k = random.below(hot_keys);
    switch (random.below(8)) {
    case 0: map.insert(k, 1); break;
    case 1: map.erase(k); break;
    case 2: map.insert_or_assign(k, 2); break;
    case 3: map.upsert(k, 1, [](std::uint64_t v) { return v + 1; }); break;
    case 4: static_cast<void>(map.find(k)); break;
    case 5: map.for_each_relaxed([](key, std::uint64_t) {}); break;
    default: map.insert(hot_keys + filler, filler); break;
    }
}

// Everything that is named lock-free, on every hot key.
void use_hot_keys(map_type& map) {
    for (key k = 0; k < hot_keys; ++k) {
        map.insert(k, 1);
        map.insert_or_assign(k, 2);
        map.update(k, [](std::uint64_t v) { return v + 1; });
        static_cast<void>(map.extract(k));
        map.compute(k, [](std::uint64_t const*) { return weir::decision<std::uint64_t>::assign(7); });
        EXPECT_LE(map.find(k).value_or(0), 1000U);
    }
}

// The same, and enough new keys for so many growths, and a look at all of it.
void use_everything(map_type& map, key first_filler, std::uint64_t growths) {
    use_hot_keys(map);
    const auto wanted = map.stats().growths + growths;
    for (key k = first_filler; map.stats().growths < wanted;) {  // stats looks at every bucket: not too often
        for (const key end = k + std::max<key>(16, map.size() / 8); k < end; ++k) {
            map.insert(k, k);
        }
    }
    std::size_t seen = 0;
    map.for_each([&](key, std::uint64_t) { ++seen; });
    EXPECT_GT(seen, std::size_t{0});
    for (key k = 0; k < hot_keys; ++k) {
        map.erase(k);
    }
    map.reserve(4 * map.size());
}

void warm_up() {  // whatever a thread allocates once by malloc
    map_type map;
    random_numbers random(1);
    for (key i = 0; i < 50; ++i) {
        use(map, random, i);
    }
}

}  // namespace

TEST(lock_free_map_progress, a_thread_stopped_at_any_instruction_stops_no_other) {
    const std::size_t rounds = scaled(100, 20);
    for (std::size_t round = 0; round < rounds; ++round) {
        arena::reset();
        map_type map;
        random_numbers steps(round);
        stopped_thread victim([&](std::size_t i) { use(map, steps, i); }, warm_up);
        victim.stop_after(random_numbers(round + 1000).below(400));
        must_end([&] {
            std::thread other([&] { use_everything(map, key{1} << 32, 3); });
            use_everything(map, key{1} << 33, 3);
            other.join();
        });
    }
}

namespace {

/// A call, and whether its key is there before it.
struct step_case {
    const char* name;
    bool present;
    void (*call)(map_type&);
};

constexpr key target = 3;
constexpr step_case cases[] = {
    {"find", true, [](map_type& m) { static_cast<void>(m.find(target)); }},
    {"find nothing", false, [](map_type& m) { static_cast<void>(m.find(target)); }},
    {"insert", false, [](map_type& m) { m.insert(target, 1); }},
    {"insert in vain", true, [](map_type& m) { m.insert(target, 1); }},
    {"insert_or_assign", true, [](map_type& m) { m.insert_or_assign(target, 2); }},
    {"upsert", true, [](map_type& m) { m.upsert(target, 1, [](std::uint64_t v) { return v + 1; }); }},
    {"compare_exchange", true, [](map_type& m) { m.compare_exchange(target, 7, 8); }},
    {"erase", true, [](map_type& m) { m.erase(target); }},
    {"extract", true, [](map_type& m) { static_cast<void>(m.extract(target)); }},
    {"compute that erases", true, [](map_type& m) {
         m.compute(target, [](std::uint64_t const*) { return weir::decision<std::uint64_t>::erase(); });
     }},
};

/// How many entries the map of `stop_everywhere` takes until one more makes it grow.
key entries_before_growth() {
    map_type map({.seed = 3});
    key k = 0;
    for (; map.stats().growths < 3; ++k) {
        map.insert(hot_keys + k, k);
    }
    return k - 1;
}

/// Stops `call`, on a map of so many other entries, before its 1st instruction, its (1 + stride)th, ... Returns how many it has.
std::size_t stop_everywhere(step_case const& c, key others, std::size_t stride) {
    constexpr std::size_t most = 50'000;
    for (std::size_t n = 1; n < most; n += stride) {
        arena::reset();
        map_type map({.seed = 3});
        for (key k = 0; k < others; ++k) {
            map.insert(hot_keys + k, k);
        }
        if (c.present) {
            map.insert(target, 7);
        }
        const bool stopped = stop_at_step(n, [&] { c.call(map); }, [&] { use_everything(map, key{1} << 32, 1); }, warm_up);
        EXPECT_LE(map.find(target).value_or(0), 8U) << c.name << " stopped before instruction " << n;
        if (!stopped || testing::Test::HasFailure()) {
            return n - 1;
        }
    }
    ADD_FAILURE() << c.name << " takes too many instructions";
    return most;
}

}  // namespace

TEST(lock_free_map_progress, a_thread_stopped_before_each_instruction_of_a_call_stops_no_other) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    for (step_case const& c : cases) {
        const std::size_t steps = stop_everywhere(c, 5, 1);
        EXPECT_GT(steps, 100U) << c.name;
        RecordProperty(c.name, std::to_string(steps));
    }
}

TEST(lock_free_map_progress, a_thread_stopped_throughout_the_insertion_that_begins_a_growth_stops_no_other) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    constexpr step_case grows{"insert that grows", false, [](map_type& m) { m.insert(target, 1); }};
    const std::size_t steps = stop_everywhere(grows, entries_before_growth(), 3);
    EXPECT_GT(steps, 700U) << "the insertion begins no growth";
    RecordProperty(grows.name, std::to_string(steps));
}
