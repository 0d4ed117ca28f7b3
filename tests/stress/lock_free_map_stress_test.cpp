// weir (BSL-1.0). lock_free_map_stress_test: invariants of every value seen while many threads change the map.
#include <weir/base/expected.hpp>
#include <weir/data/lock_free_map.hpp>

#include "linearizability/linearizability.hpp"
#include "linearizability/map_history.hpp"
#include "support/counting_allocator.hpp"
#include "support/interruptions.hpp"
#include "support/map_calls.hpp"
#include "support/map_storages.hpp"
#include "support/quarantine_allocator.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/stops.hpp"
#include "support/threads.hpp"
#include "support/values.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace weir_test;
using number = std::uint64_t;

/// What a map is made with, so that a storage needs one type only: how many keys in a row share a hash, and whether the threads
/// stumble in the middle of hashing and comparing.
struct number_hash {
    number together = 1;
    bool stumbles = true;
    std::size_t operator()(number key) const noexcept {
        const std::size_t hash = std::hash<number>{}(key / together);
        if (stumbles) {
            stumble(16);
        }
        return hash;
    }
};
struct number_equal {
    bool stumbles = true;
    bool operator()(number a, number b) const noexcept {
        const bool same = a == b;
        if (stumbles) {
            stumble(8);
        }
        return same;
    }
};
constexpr number_hash in_threes{.together = 3};
constexpr number_hash all_the_same{.together = std::numeric_limits<number>::max()};
constexpr number_hash calm_hash{.stumbles = false};
constexpr number_equal calm_equal{.stumbles = false};

using slot_numbers = weir::lock_free_map<number, number, number_hash, number_equal>;
using node_numbers = weir::lock_free_map<number, node_number, number_hash, number_equal>;
using stamped_numbers = weir::lock_free_map<node_number, number, number_hash, number_equal>;
static_assert(in_slots<slot_numbers> && in_nodes<node_numbers> && in_stamped_nodes<stamped_numbers>);

/// The fixture of the tests that go through all storages. Such a test calls its type `numbers` again.
template <class Map>
class lock_free_map_stress : public testing::Test {};
using storages = testing::Types<slot_numbers, node_numbers, stamped_numbers>;
TYPED_TEST_SUITE(lock_free_map_stress, storages);

number plus_one(number v) { return v + 1; }

/// Calls `step()` in this thread while `work(i, round)` runs again and again in `threads` others: until there were `steps` steps
/// and each of the others did `rounds` rounds.
void beside(std::size_t threads, std::size_t steps, std::size_t rounds, std::function<void()> const& step,
            std::function<void(std::size_t, std::size_t)> const& work) {
    std::atomic<bool> stop{false};
    std::atomic<std::size_t> not_yet{threads};
    crew others;
    for (std::size_t i = 0; i < threads; ++i) {
        others.start([&, i] {
            for (std::size_t round = 0; !stop.load(); ++round) {
                work(i, round);
                if (round + 1 == rounds) {
                    not_yet.fetch_sub(1);
                }
            }
        });
    }
    const auto end = std::chrono::steady_clock::now() + patience;
    for (std::size_t done = 0; done < steps || not_yet.load() != 0; ++done) {
        step();
        if (std::chrono::steady_clock::now() > end) {
            ADD_FAILURE() << "the others did not get on";
            break;
        }
    }
    stop = true;
    others.join();
}

}  // namespace

// What a reader sees.

TEST(lock_free_map_stress, readers_never_see_half_of_a_value) {
    weir::lock_free_map<number, wide_value, stumbling_hash<number>> map;
    findings wrong;
    const auto look = [&](wide_value const& v) { wrong.expect(v.whole(), "a torn value"); };
    const std::size_t rounds = scaled(300000);
    run_together(6, [&](std::size_t i) {
        random_numbers dice(i);
        for (std::size_t n = 0; n < rounds; ++n) {
            const number key = dice.below(8);
            switch (i < 3 ? dice.below(7) : 7 + dice.below(4)) {
            case 0: map.insert_or_assign(key, wide_value(dice.next())); break;
            case 1: map.assign(key, wide_value(dice.next())); break;
            case 2: map.upsert(key, wide_value(n), [&](wide_value const& v) {
                look(v);
                return wide_value(v.number() + 1);
            }); break;
            case 3:
                if (const auto old = map.exchange(key, wide_value(n))) {
                    look(*old);
                }
                break;
            case 4: map.erase(key); break;
            case 5: map.try_emplace(key, n); break;
            case 6: map.try_emplace(100 + dice.below(4000), n); break;  // makes the table grow
            case 7:
                if (const auto v = map.find(key)) {
                    look(*v);
                }
                break;
            case 8: map.visit(key, look); break;
            case 9:
                if (const auto v = map.extract(key)) {
                    look(*v);
                }
                break;
            default:
                if (n % 64 == 0) {
                    map.for_each([&](number, wide_value const& v) { look(v); });
                }
                break;
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
}

TEST(lock_free_map_stress, a_value_stays_alive_and_the_same_while_somebody_looks_at_it) {
    struct tag {};
    using value = tracked<tag>;
    census<tag>::reset();
    findings wrong;
    {
        weir::lock_free_map<number, value> map;
        const auto look = [&](value const& v) {
            const number first = v.number();
            std::this_thread::yield();
            wrong.expect(v.number() == first, "the value changed under the reader's eyes");
        };
        const std::size_t rounds = scaled(100000);
        run_together(6, [&](std::size_t i) {
            random_numbers dice(i);
            for (std::size_t n = 0; n < rounds; ++n) {
                const number key = dice.below(4);
                if (i < 3) {
                    switch (dice.below(4)) {
                    case 0: map.insert_or_assign(key, value(dice.next())); break;
                    case 1: map.erase(key); break;
                    case 2: map.try_emplace(key, dice.next()); break;
                    default: map.try_emplace(100 + dice.below(2000), dice.next()); break;
                    }
                } else if (dice.one_in(50)) {
                    map.for_each_relaxed([&](number, value const& v) { (void)v.number(); });
                    map.for_each([&](number, value const& v) { (void)v.number(); });
                } else if (dice.one_in(4)) {
                    map.visit(key, look);
                } else if (const auto copy = map.find(key)) {
                    (void)copy->number();
                }
            }
        });
    }
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(census<tag>::misuses.load(), 0) << "dead values were used, or destroyed again";
    EXPECT_EQ(census<tag>::alive.load(), 0);
}

TYPED_TEST(lock_free_map_stress, a_reader_never_sees_an_older_value_after_a_newer_one) {
    using numbers = TypeParam;
    numbers map;
    constexpr number keys = 4;
    findings wrong;
    const std::size_t rounds = scaled(150000);
    run_together(6, [&](std::size_t i) {
        std::array<number, keys> newest{};
        for (std::size_t n = 1; n <= rounds; ++n) {
            const number key = n % keys;
            if (i == 0) {  // the only writer of these keys
                map.insert_or_assign(key, n);
            } else if (i == 1) {
                map.try_emplace(1000 + n, n);
            } else {
                const number now = map.find(key).value_or(0);
                wrong.expect(now >= newest[key], "an older value came back");
                newest[key] = now;
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
}

TYPED_TEST(lock_free_map_stress, what_was_inserted_is_there_for_everybody_at_once_while_the_table_grows) {
    using numbers = TypeParam;
    struct alignas(64) progress {
        std::atomic<number> done{0};
    };
    constexpr std::size_t writers = 4;
    const number each = scaled(50000, 4000);
    numbers map;
    std::array<progress, writers> inserted;
    std::array<progress, writers> erased;
    findings wrong;
    const auto key_of = [&](std::size_t writer, number n) { return writer * 1'000'000'000 + n; };
    run_together(writers + 3, [&](std::size_t i) {
        if (i < writers) {
            for (number n = 1; n <= each; ++n) {
                wrong.expect(map.insert(key_of(i, n), n), "a new key was refused");
                inserted[i].done.store(n, std::memory_order_release);
                if (n > 100) {
                    wrong.expect(map.erase(key_of(i, n - 100)), "an old key was lost");
                    if (n % 2 == 0) {
                        wrong.expect(map.insert(key_of(i, n - 100) + 500'000'000, n), "a new key was refused");
                    }
                    erased[i].done.store(n - 100, std::memory_order_release);
                }
            }
            return;
        }
        random_numbers dice(i);
        for (number n = 0; n < each; ++n) {
            const auto writer = static_cast<std::size_t>(dice.below(writers));
            const number newest = inserted[writer].done.load(std::memory_order_acquire);
            if (newest > 0) {
                const bool there = map.contains(key_of(writer, newest));
                // It may have been erased since: then the eraser is at least a hundred keys ahead.
                wrong.expect(there || inserted[writer].done.load() >= newest + 99, "an inserted key was not found");
            }
            const number gone = erased[writer].done.load(std::memory_order_acquire);
            if (gone > 0) {
                const number old = 1 + dice.below(gone);
                wrong.expect(!map.contains(key_of(writer, old)), "an erased key came back");
                if (old % 2 == 0) {
                    wrong.expect(map.contains(key_of(writer, old) + 500'000'000), "a key that is never erased was not found");
                }
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(map.size(), writers * (100 + (each - 100) / 2));
    EXPECT_GT(map.stats().growths, 3U);
}

// Pairs in slots, which are written while others read them.

namespace {

/// A key and a value that fill two words in some uneven way; the value follows from the key and from a number of its own.
struct even_pair {
    using key_type = number;
    using value_type = number;
    using key_functions = std::hash<number>;
    static key_type key(number k) { return k; }
    static value_type value(number k, number n) {
        return (n << 32) | static_cast<std::uint32_t>((k + 1) * 0x9e3779b97f4a7c15ULL + (n & 0xffffffffU) * 31);
    }
    static bool fits(key_type k, value_type v) { return v == value(k, v >> 32); }
};
struct three_and_one {  // the value lies in both words
    using key_type = std::uint32_t;
    struct value_type {
        std::uint32_t n, of_key, of_both;
        friend bool operator==(value_type const&, value_type const&) = default;
    };
    using key_functions = std::hash<std::uint32_t>;
    static key_type key(number k) { return static_cast<key_type>(k); }
    static value_type value(number k, number n) {
        const auto small = static_cast<std::uint32_t>(n);
        const auto of_key = static_cast<std::uint32_t>(k * 0x85ebca6bU + 7);
        return {small, of_key, (small ^ of_key) * 0xc2b2ae35U};
    }
    static bool fits(key_type k, value_type const& v) { return v == value(k, v.n); }
};
struct one_and_a_half {  // one word
    using key_type = std::uint16_t;
    using value_type = std::uint32_t;
    using key_functions = std::hash<std::uint16_t>;
    static key_type key(number k) { return static_cast<key_type>(k); }
    static value_type value(number k, number n) {
        return static_cast<value_type>(((n & 0xffffU) << 16) | ((k * 77 + n * 3) & 0xffffU));
    }
    static bool fits(key_type k, value_type v) { return v == value(k, v >> 16); }
};

template <class Pair>
class lock_free_map_stress_pairs : public testing::Test {};
using pair_kinds = testing::Types<even_pair, three_and_one, one_and_a_half>;
TYPED_TEST_SUITE(lock_free_map_stress_pairs, pair_kinds);

}  // namespace

TYPED_TEST(lock_free_map_stress_pairs, nobody_sees_half_of_a_pair_nor_parts_of_two) {
    using key_type = typename TypeParam::key_type;
    using value_type = typename TypeParam::value_type;
    weir::lock_free_map<key_type, value_type> map({.shrink_at = 0.25});
    static_assert(in_slots<decltype(map)>);
    findings wrong;
    interruptions often;
    constexpr number hot = 6;
    const std::size_t rounds = scaled(500'000);
    std::atomic<std::size_t> writing{3};
    const auto look = [&](key_type const& k, value_type const& v) { wrong.expect(TypeParam::fits(k, v), "a torn pair"); };
    std::vector<key_type> keys;
    for (number k = 0; k < hot; ++k) {
        keys.push_back(TypeParam::key(k));
    }
    run_together(6, [&](std::size_t i) {
        const interruptions::subject me(often);
        random_numbers dice(run_seed() + i);
        for (std::size_t n = 0; i < 3 && n < rounds; ++n) {
            const number k = dice.below(hot);
            const key_type key = TypeParam::key(k);
            const value_type fresh = TypeParam::value(k, dice.next());
            const auto look_here = [&](value_type const& v) { look(key, v); };
            switch (dice.below(9)) {
            case 0: map.erase(key); break;
            case 1: map.insert(key, fresh); break;
            case 2: map.assign(key, fresh); break;
            case 3: map.upsert(key, fresh, [&](value_type const& v) {
                look_here(v);
                return fresh;
            }); break;
            case 4:
                if (const auto old = map.exchange(key, fresh)) {
                    look_here(*old);
                }
                break;
            case 5:
                if (const auto old = map.extract(key)) {
                    look_here(*old);
                }
                break;
            case 6: map.erase_if(key, [&](value_type const& v) {
                look_here(v);
                return true;
            }); break;
            default: map.insert_or_assign(key, fresh); break;
            }
            if (n % 2048 == 0) {  // others beside them, so that buckets move
                for (number other = 1000; other < 1200; ++other) {
                    map.insert_or_assign(TypeParam::key(other), TypeParam::value(other, n));
                }
                for (number other = 1000; other < 1200; ++other) {
                    map.erase(TypeParam::key(other));
                }
            }
        }
        if (i < 3) {
            writing.fetch_sub(1);
            return;
        }
        for (std::size_t n = 0; writing.load() != 0 && n < 1000 * rounds; ++n) {
            const key_type key = TypeParam::key(dice.below(hot));
            switch (n % 4) {
            case 0: map.visit(key, [&](value_type const& v) { look(key, v); }); break;
            case 1:
                if (const auto v = map.find(key)) {
                    look(key, *v);
                }
                break;
            case 2: map.visit(std::span<key_type const>(keys), look); break;
            default:
                n % 8 == 3 ? map.for_each(look) : map.for_each_relaxed(look);
                break;
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
}

// Tables that grow and shrink.

namespace {

/// Has the table grow and shrink, by what is in it and by order, again and again.
template <class Map>
void grow_and_shrink(Map& map, number first, std::size_t round, findings& wrong) {
    const number end = first + 300 + round * 131 % 1500;
    for (number n = first; n < end; ++n) {
        wrong.expect(map.insert(n, n), "a new key was refused");
    }
    if (round % 4 == 1) {
        map.reserve(4000);
    }
    for (number n = first; n < end; ++n) {
        wrong.expect(map.extract(n) == n, "an own key was lost");
    }
    if (round % 2 == 1) {
        map.shrink_to_fit();
    }
}

}  // namespace

TYPED_TEST(lock_free_map_stress, lookups_find_what_is_there_while_the_table_grows_and_shrinks) {
    TypeParam map({.shrink_at = 0.25}, {}, calm_equal);
    constexpr number lasting = 60;
    std::vector<typename TypeParam::key_type> keys;
    for (number n = 0; n < lasting; ++n) {
        ASSERT_TRUE(map.insert(n, n * 3));
        keys.push_back(n);
    }
    findings wrong;
    interruptions often;
    number next = 0;
    beside(3, scaled(40'000, 2000), scaled(60, 6),
        [&] {
            const number key = next++ % lasting;
            wrong.expect(map.find(key) == key * 3, "a lasting key was not found");
            wrong.expect(!map.contains(lasting + key), "a key that was never there");
            if (next % 16 == 0) {
                number seen = 0;
                wrong.expect(map.visit(keys, [&](number k, number v) { wrong.expect(k == seen++ && v == k * 3, "a wrong value"); }) ==
                                 lasting,
                             "not all of many");
            }
            if (next % 8 == 0) {
                wrong.expect(map.update(key, [](number v) { return v; }), "a lasting key was not updated");
            }
        },
        [&](std::size_t thread, std::size_t round) {
            const interruptions::subject me(often);
            grow_and_shrink(map, (thread + 1) * 1'000'000, round, wrong);
        });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(map.size(), lasting);
    EXPECT_GT(map.stats().growths, 10U);
    EXPECT_GT(map.stats().shrinks, 10U);
}

TYPED_TEST(lock_free_map_stress, walks_see_every_lasting_key_while_the_table_grows_and_shrinks) {
    TypeParam map({.shrink_at = 0.25}, calm_hash, calm_equal);
    constexpr number lasting = 100;
    for (number n = 0; n < lasting; ++n) {
        ASSERT_TRUE(map.insert(n, n));
    }
    findings wrong;
    interruptions often;
    beside(3, scaled(400, 40), scaled(60, 6),
        [&] {
            std::array<int, lasting> times{};
            std::vector<number> others;
            map.for_each([&](number key, number v) {
                wrong.expect(key == v, "a value of another key");
                key < lasting ? static_cast<void>(++times[key]) : others.push_back(key);
            });
            wrong.expect(std::all_of(times.begin(), times.end(), [](int t) { return t == 1; }),
                         "for_each: a lasting key was not seen exactly once");
            std::sort(others.begin(), others.end());
            wrong.expect(std::adjacent_find(others.begin(), others.end()) == others.end(), "for_each: a key was seen twice");
            times = {};
            map.for_each_relaxed([&](number key, number v) {
                wrong.expect(key == v, "a value of another key");
                if (key < lasting) {
                    ++times[key];
                }
            });
            wrong.expect(std::all_of(times.begin(), times.end(), [](int t) { return t >= 1; }),
                         "for_each_relaxed: a lasting key was not seen");
        },
        [&](std::size_t thread, std::size_t round) {
            const interruptions::subject me(often);
            grow_and_shrink(map, (thread + 1) * 1'000'000, round, wrong);
        });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(map.size(), lasting);
    EXPECT_GT(map.stats().growths, 10U);
    EXPECT_GT(map.stats().shrinks, 10U);
}

TYPED_TEST(lock_free_map_stress, no_entry_is_lost_nor_doubled_while_the_table_grows_and_shrinks) {
    TypeParam map({.shrink_at = 0.25}, in_threes);
    constexpr number hot = 12;
    std::array<std::atomic<std::int64_t>, hot> balance{};
    std::array<std::atomic<number>, hot> counted{};
    findings wrong;
    interruptions often;
    beside(4, scaled(60, 6), scaled(20'000, 1000), [&] {
            grow_and_shrink(map, 1'000'000, 7, wrong);
            map.shrink_to_fit();
        },
        [&](std::size_t thread, std::size_t round) {
            const interruptions::subject me(often);
            random_numbers dice(thread * 1'000'003 + round);
            const number key = dice.below(hot);
            if (key % 2 == 0) {  // comes and goes
                switch (dice.below(3)) {
                case 0: balance[key] += map.insert(key, round) ? 1 : 0; break;
                case 1: balance[key] -= map.erase(key) ? 1 : 0; break;
                default: balance[key] -= map.extract(key) ? 1 : 0; break;
                }
            } else {  // counts
                map.upsert(key, 1, plus_one);
                counted[key] += 1;
            }
        });
    EXPECT_TRUE(wrong.none()) << wrong;
    for (number key = 0; key < hot; ++key) {
        if (key % 2 == 0) {
            EXPECT_EQ(balance[key].load(), map.contains(key) ? 1 : 0) << key;
        } else {
            EXPECT_EQ(map.find(key).value_or(0), counted[key].load()) << key;
        }
    }
    std::size_t seen = 0;
    map.for_each([&](number key, number) {
        wrong.expect(key < hot, "a key that was taken out");
        ++seen;
    });
    EXPECT_EQ(seen, map.size());
    EXPECT_GT(map.stats().shrinks, 10U);
}

// The same with threads that are interrupted at any instruction, freed memory that is poisoned, and a thread that has
// garbage freed at once: what the races of a few instructions need to be seen.

namespace {

struct few_hash {
    bool few_share_one = true;  // those below 100
    std::size_t operator()(number key) const noexcept { return few_share_one && key < 100 ? 1 : key; }
};
/// Half of it follows from the other half and, of a pair with a number, all from the number that it was made of.
struct checked_value {
    std::uint32_t first;
    std::uint32_t check;

    explicit checked_value(std::uint64_t n) noexcept : first(static_cast<std::uint32_t>(n)), check(first * 0x9e3779b9U + 1) {}
    [[nodiscard]] std::uint64_t number() const noexcept { return first; }
    [[nodiscard]] bool whole() const noexcept { return check == first * 0x9e3779b9U + 1; }
    friend bool operator==(checked_value const&, checked_value const&) = default;
};
struct changing_value : checked_value {  // of nodes in which it is changed in place
    using checked_value::checked_value;
};
template <class Value>
using quarantined_key = std::conditional_t<std::is_same_v<Value, changing_value>, node_number, number>;
template <class Value>
using quarantined = weir::lock_free_map<quarantined_key<Value>, Value, few_hash, std::equal_to<number>,
                                        quarantine_allocator<std::pair<quarantined_key<Value> const, Value>>>;
static_assert(in_slots<quarantined<checked_value>> && in_nodes<quarantined<wide_value>>);
static_assert(in_stamped_nodes<quarantined<changing_value>>);

/// scaled(), and less where signals come late: a thread sanitizer delivers them at calls only, so that rounds find less.
std::size_t scaled_interruptions(std::size_t n) { return scaled(n / (under_thread_sanitizer ? 4 : 1)); }

template <class Value>
class lock_free_map_stress_interrupted : public testing::Test {};
using whole_values = testing::Types<checked_value, changing_value, wide_value>;
TYPED_TEST_SUITE(lock_free_map_stress_interrupted, whole_values);

/// Keys that are only ever replaced are there at each look, whole, and never older than before.
template <class Value>
void replace_and_look(number keys, bool grow, few_hash hash, std::size_t looks) {
    quarantined<Value> map({}, hash);
    for (number key = 0; key < keys; ++key) {
        ASSERT_TRUE(map.try_emplace(key, 0U));
    }
    findings wrong;
    std::atomic<bool> stop{false};
    interruptions often;
    crew writers;
    for (std::size_t i = 0; i < 3; ++i) {
        writers.start([&, i] {
            const interruptions::subject me(often);
            for (number n = 1; !stop.load(); ++n) {
                const number key = n % keys;
                if (i == 0) {  // the only one who changes the values
                    map.insert_or_assign(key, Value(n));
                } else if (i == 1) {  // the others replace them by their like
                    map.update(key, [&](Value const& v) {
                        wrong.expect(v.whole(), "update saw a torn or dead value");
                        return v;
                    });
                } else if (grow && n < 50'000) {
                    map.try_emplace(1000 + n, n);
                } else {
                    map.quiesce();
                }
            }
        });
    }
    run_together(3, [&](std::size_t) {
        const interruptions::subject me(often);
        std::vector<number> newest(keys, 0);
        for (std::size_t n = 0; n < looks; ++n) {
            const number key = n % keys;
            number now = 0;
            const bool there = map.visit(key, [&](Value const& v) {
                now = v.number();
                wrong.expect(v.whole(), "a torn or dead value");
            });
            wrong.expect(there, "a key that is only ever replaced was not there");
            wrong.expect(now >= newest[key], "an older value came back");
            newest[key] = now;
        }
    });
    stop = true;
    writers.join();
    EXPECT_TRUE(wrong.none()) << wrong;
}

}  // namespace

TYPED_TEST(lock_free_map_stress_interrupted, interrupted_readers_find_a_key_that_is_only_ever_replaced) {
    replace_and_look<TypeParam>(1, false, {.few_share_one = false}, scaled_interruptions(3'000'000));
    replace_and_look<TypeParam>(3, true, {.few_share_one = false}, scaled_interruptions(3'000'000));
}

TYPED_TEST(lock_free_map_stress_interrupted, interrupted_readers_find_keys_in_an_overflowing_bucket) {
    replace_and_look<TypeParam>(12, false, {}, scaled_interruptions(2'000'000));
    replace_and_look<TypeParam>(12, true, {}, scaled_interruptions(2'000'000));
}

TYPED_TEST(lock_free_map_stress_interrupted, an_interrupted_walk_sees_a_crowded_bucket_as_it_was_at_one_moment) {
    struct bucket_of {
        number lasting;  // more than seven: with overflow
        bool replaced;   // they are only replaced, so that nothing else betrays that one of them was freed
    };
    for (bucket_of const& of : {bucket_of{2, false}, bucket_of{9, false}, bucket_of{4, true}}) {
        const number lasting = of.lasting;
        const bool replaced = of.replaced;
        quarantined<TypeParam> map;
        for (number key = 0; key < lasting; ++key) {
            ASSERT_TRUE(map.try_emplace(key, key));
        }
        findings wrong;
        interruptions often;
        std::atomic<bool> stop{false};
        crew storm;
        for (std::size_t i = 0; i < 3; ++i) {
            storm.start([&, i] {
                const interruptions::subject me(often);
                random_numbers dice(i);
                for (number n = 0; !stop.load(); ++n) {
                    const number key = lasting + dice.below(3);
                    switch (replaced ? 2 : dice.below(4)) {
                    case 0: map.try_emplace(key, key); break;
                    case 1: map.erase(key); break;
                    default: map.assign(n % lasting, TypeParam(n % lasting)); break;  // replaced by its like
                    }
                    if (n % 64 == 0) {
                        map.quiesce();
                    }
                }
            });
        }
        run_together(2, [&](std::size_t) {
            const interruptions::subject me(often);
            for (std::size_t n = 0; n < scaled_interruptions(250'000); ++n) {
                std::array<int, 16> times{};
                map.for_each([&](number key, TypeParam const& v) {
                    wrong.expect(key < 16 && v == TypeParam(key), "a dead entry");
                    ++times[key % 16];
                });
                for (number key = 0; key < 16; ++key) {
                    wrong.expect(key >= lasting || times[key] == 1, "a lasting key was not seen exactly once");
                    wrong.expect(times[key] <= 1, "a key was seen twice");
                }
                number seen = 0;  // a bit for each lasting key
                map.for_each_relaxed([&](number key, TypeParam const& v) {
                    wrong.expect(key < 16 && v == TypeParam(key), "a dead entry");
                    seen |= key < lasting ? number{1} << key : 0;
                });
                wrong.expect(seen == (number{1} << lasting) - 1, "a lasting key was not seen by for_each_relaxed");
            }
        });
        stop = true;
        storm.join();
        EXPECT_TRUE(wrong.none()) << wrong;
    }
}

TYPED_TEST(lock_free_map_stress_interrupted, interrupted_insertions_of_a_key_never_both_win) {
    quarantined<TypeParam> map;
    constexpr number keys = 3;
    std::array<std::atomic<int>, keys> owners{};
    findings wrong;
    interruptions often;
    run_together(6, [&](std::size_t i) {
        const interruptions::subject me(often);
        random_numbers dice(i);
        for (std::size_t n = 0; n < scaled_interruptions(500'000); ++n) {
            const number key = dice.below(keys);
            if (map.try_emplace(key, key)) {  // the key is ours until we erase it
                wrong.expect(owners[key].fetch_add(1) == 0, "two insertions of one key won");
                wrong.expect(map.contains(key), "an own key is gone");
                owners[key].fetch_sub(1);
                wrong.expect(map.erase(key), "an own key is gone");
            }
            if (n % 256 == 0) {
                map.quiesce();
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_TRUE(map.empty());
    for (number key = 0; key < keys; ++key) {
        EXPECT_FALSE(map.contains(key)) << "it was there twice";
    }
    constexpr number slots = in_slots<decltype(map)> ? 7 : 6;
    for (number key = 10; key < 10 + slots; ++key) {  // all slots of the bucket are free again
        EXPECT_TRUE(map.try_emplace(key, key));
    }
    EXPECT_EQ(map.stats().overflowed, 0U) << "a slot was reserved and never given back";
}

// Nothing is lost, nothing is done twice.

TYPED_TEST(lock_free_map_stress, every_upsert_counts) {
    using numbers = TypeParam;
    const std::size_t each = scaled(30000);
    numbers few;
    numbers crowded({}, in_threes);
    weir::lock_free_map<std::string, number> many;
    run_together(8, [&](std::size_t i) {
        random_numbers dice(i);
        for (std::size_t n = 0; n < each; ++n) {
            few.upsert(dice.below(3), 1, plus_one);
            many.upsert("key number " + std::to_string(dice.below(3000)), 1, plus_one);
            crowded.upsert(dice.below(60), 1, plus_one);
        }
    });
    const auto sum = [](auto const& map) {
        number total = 0;
        map.for_each([&](auto const&, number n) { total += n; });
        return total;
    };
    EXPECT_EQ(sum(few), 8 * each);
    EXPECT_EQ(sum(many), 8 * each);
    EXPECT_EQ(sum(crowded), 8 * each);
    EXPECT_EQ(few.size(), 3U);
}

TYPED_TEST(lock_free_map_stress, every_kind_of_increment_counts) {
    using numbers = TypeParam;
    using value = typename TypeParam::mapped_type;
    numbers map;
    const std::size_t each = scaled(30000);
    std::array<std::atomic<number>, 2> done{};
    run_together(8, [&](std::size_t i) {
        for (std::size_t n = 0; n < each; ++n) {
            const number key = n % 2;
            switch (i % 4) {
            case 0:
                done[key] += map.compare_exchange(key, n, n + 1) ? 1 : 0;  // mostly fails
                if (const auto now = map.find(key)) {
                    done[key] += map.compare_exchange(key, *now, *now + 1) ? 1 : 0;
                }
                break;
            case 1: done[key] += map.update(key, plus_one) ? 1 : 0; break;
            case 2:
                map.compute(key, [](value const* v) { return weir::decision<value>::assign(v == nullptr ? 1 : *v + 1); });
                done[key] += 1;
                break;
            default:
                map.upsert(key, 1, plus_one);
                done[key] += 1;
                break;
            }
            map.try_emplace(1000 + (n * 8 + i) % 5000, n);
        }
    });
    EXPECT_EQ(map.find(0), done[0].load());
    EXPECT_EQ(map.find(1), done[1].load());
}

TYPED_TEST(lock_free_map_stress, insertions_and_erasures_of_a_key_alternate) {
    constexpr number keys = 24;
    TypeParam map({}, in_threes);
    std::array<std::atomic<std::int64_t>, keys> balance{};
    findings wrong;
    const std::size_t each = scaled(100000);
    run_together(8, [&](std::size_t i) {
        random_numbers dice(i);
        for (std::size_t n = 0; n < each; ++n) {
            const number key = dice.below(keys);
            switch (dice.below(6)) {
            case 0: balance[key] += map.insert(key, n) ? 1 : 0; break;
            case 1: balance[key] += map.try_emplace(key, n) ? 1 : 0; break;
            case 2: balance[key] -= map.erase(key) ? 1 : 0; break;
            case 3: balance[key] -= map.extract(key) ? 1 : 0; break;
            case 4: balance[key] += map.upsert(key, 1, plus_one) ? 1 : 0; break;
            default:
                if (dice.one_in(40)) {
                    map.try_emplace(1'000'000 + dice.below(100'000), n);
                }
                break;
            }
        }
    });
    std::array<int, keys> times{};
    map.for_each([&](number key, number) {
        if (key < keys) {
            ++times[key];
        }
    });
    for (number key = 0; key < keys; ++key) {
        EXPECT_EQ(balance[key].load(), map.contains(key) ? 1 : 0) << key;
        EXPECT_EQ(times[key], map.contains(key) ? 1 : 0) << key;
    }
}

TYPED_TEST(lock_free_map_stress, each_value_is_extracted_once) {
    using numbers = TypeParam;
    numbers map;
    constexpr std::size_t threads = 8;
    const std::size_t each = scaled(50000);
    std::vector<std::atomic<int>> taken(threads * each);
    findings wrong;
    const auto take = [&](std::optional<number> const& v) {
        if (v) {
            wrong.expect(*v < taken.size() && taken[*v].fetch_add(1) == 0, "a value came out twice");
        }
    };
    run_together(threads, [&](std::size_t i) {
        random_numbers dice(i);
        for (std::size_t n = 0; n < each; ++n) {
            const number mine = i * each + n;
            const number key = dice.below(16);
            switch (dice.below(3)) {
            case 0: take(map.exchange(key, mine)); break;
            case 1:
                if (!map.insert(key, mine)) {
                    take(mine);  // never went in
                }
                break;
            default:
                take(mine);
                take(map.extract(key));
                break;
            }
        }
    });
    map.for_each([&](number, number v) { take(v); });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_TRUE(std::all_of(taken.begin(), taken.end(), [](auto const& t) { return t.load() == 1; })) << "a value was lost";
}

TYPED_TEST(lock_free_map_stress, compare_erase_and_insert_pass_a_token_to_one_holder_at_a_time) {
    using numbers = TypeParam;
    numbers map;
    EXPECT_TRUE(map.insert(1, 0));
    std::atomic<int> holders{0};
    std::atomic<number> turns{0};
    findings wrong;
    const std::size_t each = scaled(50000);
    run_together(6, [&](std::size_t) {
        for (std::size_t n = 0; n < each; ++n) {
            const auto token = map.find(1);
            if (token && map.compare_erase(1, *token)) {
                wrong.expect(holders.fetch_add(1) == 0, "two threads hold the token");
                turns += 1;
                stumble(4);
                holders.fetch_sub(1);
                wrong.expect(map.insert(1, *token + 1), "somebody made a second token");
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(map.find(1), turns.load());
}

TYPED_TEST(lock_free_map_stress, many_keys_at_once_are_found_while_the_table_grows) {
    TypeParam map({}, calm_hash, calm_equal);
    constexpr number lasting = 100;
    std::vector<typename TypeParam::key_type> keys;
    for (number n = 0; n < lasting; ++n) {
        map.insert(n, n * 3);
        keys.push_back(n);
    }
    const number fillers = scaled(50000, 5000);
    run_together(4, [&](std::size_t i) {
        for (number n = 0; n < (i < 2 ? fillers : fillers / 50); ++n) {
            if (i < 2) {
                map.insert(lasting + n * 2 + i, n);
                continue;
            }
            number next = 0;
            EXPECT_EQ(map.visit(keys, [&](number key, number value) {
                EXPECT_EQ(key, next++);
                EXPECT_EQ(value, key * 3);
            }),
                      lasting);
        }
    });
    EXPECT_EQ(map.size(), lasting + 2 * fillers);
}

// Iteration.

TYPED_TEST(lock_free_map_stress, for_each_sees_every_lasting_key_once_beside_a_storm_on_the_others) {
    TypeParam map({}, in_threes, calm_equal);
    constexpr number lasting = 3000;  // every third key, so that each shares its hash with two that come and go
    for (number i = 0; i < lasting; ++i) {
        ASSERT_TRUE(map.insert(3 * i, i));
    }
    findings wrong;
    std::size_t walks = 0;
    beside(4, scaled(30, 6), scaled(300, 100),
        [&] {
            ++walks;
            std::vector<int> times(lasting, 0);
            std::vector<number> others;
            map.for_each([&](number const& key, number const& value) {
                if (key % 3 != 0) {
                    others.push_back(key);
                    return;
                }
                wrong.expect(key < 3 * lasting && value % lasting == key / 3, "a value of another key");
                ++times[key / 3];
            });
            wrong.expect(std::all_of(times.begin(), times.end(), [](int t) { return t == 1; }),
                         "for_each: a lasting key was not seen exactly once");
            std::sort(others.begin(), others.end());
            wrong.expect(std::adjacent_find(others.begin(), others.end()) == others.end(),
                         "for_each: a key that comes and goes was seen twice");
            std::fill(times.begin(), times.end(), 0);
            map.for_each_relaxed([&](number const& key, number const& value) {
                if (key % 3 == 0) {
                    wrong.expect(value % lasting == key / 3, "a value of another key");
                    ++times[key / 3];
                }
            });
            wrong.expect(std::all_of(times.begin(), times.end(), [](int t) { return t >= 1; }),
                         "for_each_relaxed: a lasting key was not seen");
            if (walks % 8 == 7) {
                map.erase_if([&](number const& key, number const&) { return key >= 10 * lasting && key % 3 != 0; });
            }
        },
        [&](std::size_t thread, std::size_t round) {
            random_numbers dice(thread * 1'000'003 + round);
            for (number n = 0; n < 100; ++n) {
                const number key = 3 * dice.below(lasting) + 1 + dice.below(2);
                switch (dice.below(5)) {
                case 0: map.insert_or_assign(key, n); break;
                case 1: map.erase(key); break;
                case 2: map.assign(3 * (key / 3), key / 3 + lasting * dice.below(5)); break;  // replaced, so still there
                case 3: map.update(3 * (key / 3), [&](number v) { return v + lasting; }); break;
                default:
                    if (map.size() < 20 * lasting) {  // grows, within reason
                        map.try_emplace(3 * (10 * lasting + dice.below(50 * lasting)) + 1, n);
                    }
                    break;
                }
            }
        });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_GE(walks, 6U);
    EXPECT_GT(map.stats().growths, 2U);
}

TYPED_TEST(lock_free_map_stress, iterations_may_use_the_map_beside_writers) {
    using numbers = TypeParam;
    numbers map;
    for (number i = 0; i < 500; ++i) {
        ASSERT_TRUE(map.insert(i, 0));
    }
    findings wrong;
    std::atomic<number> own{0};
    beside(3, scaled(30, 4), scaled(10000),
        [&] {
            run_together(2, [&](std::size_t) {
                map.for_each([&](number const& key, number const&) {
                    if (key < 500) {
                        wrong.expect(map.contains(key), "a lasting key is not there");
                        wrong.expect(map.update(key, plus_one), "a lasting key was not updated");
                        own += 1;
                    } else if (key % 7 == 0) {
                        map.erase(key);
                    }
                });
            });
        },
        [&](std::size_t thread, std::size_t round) {
            map.try_emplace(1000 + (round * 3 + thread) % 50000, round);
            map.erase(1000 + (round * 7 + thread) % 50000);
        });
    number sum = 0;
    map.for_each([&](number const& key, number const& value) { sum += key < 500 ? value : 0; });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(sum, own.load());
}

TYPED_TEST(lock_free_map_stress, erase_if_of_all_erases_only_what_it_judged) {
    using numbers = TypeParam;
    numbers map;  // even values are to go, odd ones to stay; a value changes its key's fate all the time
    findings wrong;
    std::atomic<std::int64_t> balance{0};
    beside(4, scaled(150, 20), scaled(50),
        [&] { balance -= static_cast<std::int64_t>(map.erase_if([](number const&, number const& v) { return v % 2 == 0; })); },
        [&](std::size_t thread, std::size_t) {
            for (number key = thread * 1000; key < thread * 1000 + 200; ++key) {
                if (map.insert(key, 1)) {
                    balance += 1;
                }
                // Ours alone, and never even: nobody may take it.
                wrong.expect(map.contains(key), "an entry was erased that the predicate never accepted");
                wrong.expect(map.assign(key, 2), "an entry was erased that the predicate never accepted");
                stumble(8);
                if (!map.assign(key, 3)) {
                    balance += map.insert(key, 3) ? 1 : 0;
                }
            }
        });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(static_cast<std::int64_t>(map.size()), balance.load());
}

TYPED_TEST(lock_free_map_stress, clear_and_reserve_disturb_nobody) {
    using numbers = TypeParam;
    numbers map;
    findings wrong;
    std::size_t step = 0;
    beside(4, scaled(30, 10), scaled(15000),
        [&] {
            if (++step % 4 == 0) {
                map.clear();
            } else if (step < 100) {
                map.reserve(1000 * step);
            }
            map.quiesce();
            (void)map.stats();
            (void)map.size();
        },
        [&](std::size_t thread, std::size_t round) {
            const number key = thread * 1'000'000 + round % 3000;
            map.upsert(key, round, [round](number) { return round; });
            if (const auto v = map.find(key)) {
                wrong.expect(*v == round, "another's value");
            }
        });
    EXPECT_TRUE(wrong.none()) << wrong;
    std::size_t seen = 0;
    map.for_each([&](number, number) { ++seen; });
    EXPECT_EQ(map.size(), seen);
    map.clear();
    EXPECT_TRUE(map.empty());
    EXPECT_EQ(map.size(), 0U);
}

// find_or_create.

TEST(lock_free_map_stress, find_or_create_runs_each_factory_once) {
    const number keys = scaled(20000, 1000);
    slot_numbers map({}, in_threes);
    std::vector<std::atomic<int>> runs(keys);
    findings wrong;
    run_together(8, [&](std::size_t i) {
        for (number n = 0; n < keys; ++n) {
            const number key = i % 2 == 0 ? n : keys - 1 - n;
            const number got = map.find_or_create(key, [&]() -> number {
                runs[key] += 1;
                stumble(2);
                return key * 100 + i;
            });
            wrong.expect(got / 100 == key && got == map.find(key), "not the value that is stored");
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_TRUE(std::all_of(runs.begin(), runs.end(), [](auto const& r) { return r.load() == 1; }));
    EXPECT_EQ(map.size(), keys);
}

TEST(lock_free_map_stress, every_created_value_is_stored_when_only_creators_and_erasers_work) {
    slot_numbers map;
    std::atomic<number> made{0};
    std::atomic<number> erased{0};
    const std::size_t each = scaled(80000);
    run_together(8, [&](std::size_t i) {
        random_numbers dice(i);
        for (std::size_t n = 0; n < each; ++n) {
            const number key = dice.below(6);
            if (i < 5) {
                (void)map.find_or_create(key, [&]() -> number {
                    stumble(4);
                    return made.fetch_add(1);
                });
            } else {
                erased += map.erase(key) ? 1 : 0;
            }
        }
    });
    EXPECT_EQ(made.load(), erased.load() + map.size());
}

TEST(lock_free_map_stress, a_factory_never_keeps_other_keys_waiting) {
    // All keys share one hash. Each factory with an even number waits until the key above it was created by another thread.
    constexpr number pairs = 40;
    slot_numbers map({}, all_the_same);
    std::array<gate, pairs> created;
    findings wrong;
    run_together(2, [&](std::size_t i) {
        for (number n = 0; n < pairs; ++n) {
            if (i == 0) {
                (void)map.find_or_create(2 * n, [&] {
                    wrong.expect(created[n].wait(), "the factory of one key kept another key waiting");
                    return n;
                });
            } else {
                (void)map.find_or_create(2 * n + 1, [&] { return n; });
                created[n].open();
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(map.size(), 2 * pairs);
}

TEST(lock_free_map_stress, a_factory_at_work_stops_no_other_operation_even_on_its_key) {
    slot_numbers map({}, in_threes, calm_equal);
    gate inside;
    gate finish;
    findings wrong;
    crew creator;
    creator.start([&] {
        const number got = map.find_or_create(1, [&] {
            inside.open();
            wrong.expect(finish.wait(), "the others did not get on");
            return number{10};
        });
        wrong.expect(got == 77, "not the value that somebody else stored meanwhile");
    });
    ASSERT_TRUE(inside.wait());
    crew others;  // if one of these waits for the factory, the gate is opened by nobody
    others.start([&] {
        wrong.expect(!map.contains(1) && !map.find(1), "the key is there before it is made");
        wrong.expect(!map.erase(1) && !map.update(1, plus_one) && !map.assign(1, 5), "the key is there before it is made");
        wrong.expect(map.empty(), "the key counts before it is made");
        for (number key = 2; key < 2000; ++key) {  // growth, and the neighbours in its bucket
            wrong.expect(map.insert(key, key) && map.find_or_create(key + 10000, [] { return number{1}; }) == 1, "a neighbour");
        }
        std::size_t seen = 0;
        map.for_each([&](number, number) { ++seen; });
        wrong.expect(seen == 2 * 1998, "for_each");
        wrong.expect(map.insert(1, 5) && map.erase(1) && map.upsert(1, 76, plus_one) && !map.upsert(1, 0, plus_one), "its key");
        wrong.expect(map.find_or_create(1, [] { return number{0}; }) == 77, "a key that is there needs no factory");
        finish.open();
    });
    others.join();
    creator.join();
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(map.find(1), 77U);
}

TEST(lock_free_map_stress, a_factory_that_fails_fails_only_for_its_own_caller) {
    struct mine : std::runtime_error {
        explicit mine(std::size_t t) : std::runtime_error("a factory failed"), thread(t) {}
        std::size_t thread;
    };
    using result = weir::expected<number, std::size_t>;
    const number keys = scaled(4000, 200);
    slot_numbers map;
    std::vector<std::atomic<int>> successes(keys);
    findings wrong;
    run_together(8, [&](std::size_t i) {
        random_numbers dice(i);
        for (number key = 0; key < keys; ++key) {
            for (bool done = false; !done;) {
                const std::uint64_t luck = dice.below(4);
                bool ran = false;
                try {
                    const result got = map.find_or_create(key, [&]() -> result {
                        ran = true;
                        stumble(2);
                        if (luck == 0) {
                            throw mine(i);
                        }
                        if (luck == 1) {
                            return weir::unexpected<std::size_t>(i);
                        }
                        successes[key] += 1;
                        return key;
                    });
                    if (got) {
                        wrong.expect(*got == key, "a wrong value");
                        done = true;
                    } else {
                        wrong.expect(ran && luck == 1 && got.error() == i, "the failure of another caller");
                    }
                } catch (mine const& e) {
                    wrong.expect(ran && luck == 0 && e.thread == i, "the exception of another caller");
                }
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_TRUE(std::all_of(successes.begin(), successes.end(), [](auto const& s) { return s.load() == 1; }));
    EXPECT_EQ(map.size(), keys);
}

// Threads that stop, come and go.

namespace {

using stopping_nodes = weir::lock_free_map<number, stopping_value, stopping_hash, stopping_equal,
                                           stopping_allocator<std::pair<number const, stopping_value>>>;
using stopping_stamped = weir::lock_free_map<node_number, number, stopping_hash, stopping_equal,
                                             stopping_allocator<std::pair<node_number const, number>>>;
struct stopping_hash_of_pairs : stopping_hash {  // which throws nothing, and is called whenever a pair moves
    std::size_t operator()(number key) const noexcept { return stopping_hash::operator()(key); }
};
using stopping_pairs = weir::lock_free_map<number, number, stopping_hash_of_pairs, stopping_equal,
                                           stopping_allocator<std::pair<number const, number>>>;
static_assert(in_nodes<stopping_nodes> && in_stamped_nodes<stopping_stamped> && in_slots<stopping_pairs>);

/// One thread makes the call and is stopped at the n-th point where it runs the user's code; meanwhile another makes every
/// call on the same key and its neighbours, and lets the table grow. False: the call has fewer points.
template <class Map>
bool others_get_on_beside(map_call call, bool present, std::size_t nth, findings& wrong) {
    Map map({.seed = 5, .shrink_at = 0.25});
    arrivals stopped;
    gate go_on;
    bool never_stopped = false;
    std::vector<map_timed_call> history;
    map_action first;
    first.call = map_call::insert;
    first.value = 1;
    for (number key = 1; key < 12; ++key) {  // neighbours: keys 1 and 2 have the hash of key 0
        map.try_emplace(key, key);
    }
    if (present) {
        history.push_back(timed(map, 0, first));
    }
    map_timed_call slow;
    crew sleeper;
    sleeper.start([&] {
        map_action a;
        a.call = call;
        a.value = 1001;
        a.expected = 1;
        a.asked = nth % 2 == 0 ? plan::assign : plan::erase;
        stops::arm(nth, stopped, go_on);
        slow = timed(map, 1, a);
        never_stopped = stops::disarm();
        if (never_stopped) {
            stopped.arrive();
        }
    });
    if (!stopped.wait_for(1)) {
        wrong.add("the call neither came to its stop nor to its end");
    }
    arrivals done;
    crew others;
    others.start([&] {
        random_numbers dice(nth);
        for (number n = 0; n < 3 * map_calls; ++n) {
            map_action a = any_action(dice, 0, 2000 + n, 1);
            a.call = static_cast<map_call>(n % map_calls);
            if (a.call != map_call::find_or_create || call != map_call::find_or_create) {  // these may wait for each other
                history.push_back(timed(map, 2, a));
            }
        }
        for (number key = 100; key < 400; ++key) {
            wrong.expect(map.try_emplace(key, key), "a new key was refused");
        }
        number seen = 0;
        map.for_each([&](number key, auto const&) { seen += key != 0 ? 1 : 0; });
        wrong.expect(seen == 311, "for_each did not see the others");
        for (number key = 110; key < 400; ++key) {
            wrong.expect(map.erase(key), "a key was lost");
        }
        map.shrink_to_fit();
        wrong.expect(map.stats().growths > 0 && map.stats().shrinks > 0, "the table did not grow and shrink");
        for (number n = 0; n < map_calls; ++n) {
            map_action a = any_action(dice, 0, 3000 + n, 1);
            a.call = static_cast<map_call>(n);
            if (a.call != map_call::find_or_create || call != map_call::find_or_create) {
                history.push_back(timed(map, 2, a));
            }
        }
        done.arrive();
    });
    if (!done.wait_for(1)) {
        wrong.add("a thread that is stopped inside call " + std::to_string(static_cast<int>(call)) + " at point " +
                  std::to_string(nth) + " stops another");
    }
    go_on.open();
    others.join();
    sleeper.join();
    history.push_back(slow);
    history.push_back(timed(map, 3, map_action{}));
    const auto judged = judge(history, map_entry{});
    if (judged.is != verdict::linearizable) {
        wrong.add("call " + std::to_string(static_cast<int>(call)) + " stopped at point " + std::to_string(nth) +
                  (present ? ", key present" : ", key absent") + ": what it did in the end fits nowhere");
    }
    return !never_stopped;
}

}  // namespace

TYPED_TEST(lock_free_map_stress, a_thread_that_is_stopped_in_the_middle_of_any_call_stops_nobody) {
    using stopping = std::conditional_t<in_slots<TypeParam>, stopping_pairs,
                                        std::conditional_t<in_nodes<TypeParam>, stopping_nodes, stopping_stamped>>;
    constexpr std::size_t most = 60;
    findings wrong;
    std::size_t points = 0;
    for (std::uint64_t call = 0; call < map_calls && wrong.none(); ++call) {
        for (const bool present : {false, true}) {
            std::size_t nth = 1;
            while (nth < most && wrong.none() && others_get_on_beside<stopping>(static_cast<map_call>(call), present, nth, wrong)) {
                ++nth;
            }
            EXPECT_LT(nth, most) << "call " << call << " runs the user's code too often";
            points += nth - 1;
        }
    }
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_GT(points, 2 * map_calls) << "hardly anything was stopped";
}

TEST(lock_free_map_stress, works_with_a_hundred_threads) {
    slot_numbers map;
    const std::size_t each = scaled(2000, 100);
    std::atomic<number> inserted{0};
    findings wrong;
    run_together(100, [&](std::size_t i) {
        random_numbers dice(i);
        for (std::size_t n = 0; n < each; ++n) {
            map.upsert(0, 1, plus_one);
            const number mine = 1000 + i * each + n;
            wrong.expect(map.insert(mine, mine), "a new key was refused");
            inserted += map.try_emplace(1 + dice.below(500), n) ? 1 : 0;
            wrong.expect(map.find(mine) == mine, "an own key was not found");
            if (n % 2 == 0) {
                wrong.expect(map.extract(mine) == mine, "an own key was lost");
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(map.find(0), 100 * each);
    EXPECT_EQ(map.size(), 1 + inserted.load() + 100 * (each / 2));
}

namespace {

struct tag {};
using value = tracked<tag>;
using pair = std::pair<number const, value>;
using counted = weir::lock_free_map<number, value, std::hash<number>, std::equal_to<number>, counting_allocator<pair>>;

}  // namespace

TEST(lock_free_map_stress, threads_may_come_and_go) {
    census<tag>::reset();
    ledger book;
    {
        counted map({}, {}, {}, counting_allocator<pair>(book));
        const std::size_t generations = scaled(300, 30);
        std::size_t most_bytes = 0;
        for (std::size_t g = 0; g < generations; ++g) {
            crew short_lived;
            for (std::size_t i = 0; i < 8; ++i) {
                short_lived.start([&map, g, i] {
                    random_numbers dice(g * 8 + i);
                    for (int n = 0; n < 50; ++n) {
                        const number key = dice.below(64);
                        map.insert_or_assign(key, value(key));
                        map.visit(dice.below(64), [](value const& v) { (void)v.number(); });
                        map.erase(dice.below(64));
                    }
                });
            }
            short_lived.join();
            most_bytes = std::max(most_bytes, book.live_bytes());
        }
        map.quiesce();
        EXPECT_EQ(census<tag>::alive.load(), static_cast<std::int64_t>(map.size())) << "garbage of dead threads is left";
        EXPECT_LE(most_bytes, 2U << 20) << "the garbage of threads that ended piled up";
        map.for_each([](number key, value const& v) { EXPECT_EQ(v.number(), key); });
    }
    EXPECT_EQ(census<tag>::alive.load(), 0);
    EXPECT_EQ(census<tag>::misuses.load(), 0);
    EXPECT_TRUE(book.settled()) << book;
}

TEST(lock_free_map_stress, maps_may_be_destroyed_while_the_threads_that_used_them_exit) {
    census<tag>::reset();
    for (std::size_t round = 0; round < scaled(150, 15); ++round) {
        auto one_book = std::make_unique<ledger>();
        auto other_book = std::make_unique<ledger>();
        auto one = std::make_unique<counted>(weir::lock_free_map_options{}, std::hash<number>{}, std::equal_to<number>{},
                                             counting_allocator<pair>(*one_book));
        auto other = std::make_unique<counted>(weir::lock_free_map_options{}, std::hash<number>{}, std::equal_to<number>{},
                                               counting_allocator<pair>(*other_book));
        arrivals finished;
        crew users;
        for (std::size_t i = 0; i < 4; ++i) {
            users.start([&one, &other, &finished, i] {
                for (number n = 0; n < 200; ++n) {
                    one->insert_or_assign((n * 7 + i) % 50, value(n));
                    other->insert_or_assign((n * 3 + i) % 50, value(n));
                    one->erase((n + i) % 50);
                    other->visit(n % 50, [](value const& v) { (void)v.number(); });
                }
                finished.arrive();  // from here on the thread exits beside the destructors below
            });
        }
        ASSERT_TRUE(finished.wait_for(4));
        one.reset();
        EXPECT_TRUE(one_book->settled()) << *one_book;
        one_book.reset();
        other.reset();
        EXPECT_TRUE(other_book->settled()) << *other_book;
        other_book.reset();
        users.join();
    }
    EXPECT_EQ(census<tag>::alive.load(), 0);
    EXPECT_EQ(census<tag>::misuses.load(), 0);
}

TEST(lock_free_map_stress, the_destructors_of_a_thread_may_still_use_a_map) {
    static slot_numbers map;
    struct registration {
        number key = 0;
        ~registration() {
            map.upsert(0, 1, plus_one);
            EXPECT_TRUE(map.erase(key));
        }
    };
    const std::size_t generations = scaled(40, 5);
    for (std::size_t g = 0; g < generations; ++g) {
        run_together(8, [&](std::size_t i) {
            const number key = 1 + i;
            if (i % 2 == 0) {  // made before, or after, what the map itself keeps for each thread: destroyed after, or before
                (void)map.contains(key);
            }
            thread_local registration mine;
            mine.key = key;
            EXPECT_TRUE(map.insert(key, 0));
        });
    }
    EXPECT_EQ(map.find(0), 8 * generations);
    EXPECT_EQ(map.size(), 1U);
}
