// weir (BSL-1.0). lock_free_map_memory_test: how much memory the map holds, and how much one operation may ask for.
#include <weir/data/lock_free_map.hpp>

#include "support/costs.hpp"
#include "support/counting_allocator.hpp"
#include "support/faults.hpp"
#include "support/hostile_keys.hpp"
#include "support/map_storages.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"
#include "support/values.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace weir_test;
using number = std::uint64_t;

// The bounds, all in one place.
namespace bound {
// What is retired and not yet freed, with any number of readers stopped for good and a handful of writers.
constexpr std::size_t garbage_bytes = std::size_t{4} << 20;
// After a churn, against a fresh map of the same size.
constexpr double after_churn = 1.2;
// What is left of a map when all is erased: a table that has become small, and what a map needs whatever is in it.
constexpr std::size_t bytes_per_bucket = 128;
constexpr std::size_t least_buckets = 256;
constexpr std::size_t empty_bytes = std::size_t{64} << 10;
// The work of one insert, erase or find while the map grows to a million.
constexpr costs one_operation{.hashes = 1024, .comparisons = 256, .bytes = std::size_t{256} << 10, .largest = std::size_t{128} << 10};
}  // namespace bound

using numbers = weir::lock_free_map<number, number, counted_hash<number>, counted_equal<number>>;          // in slots
using node_numbers = weir::lock_free_map<number, node_number, counted_hash<number>, counted_equal<number>>;  // in nodes
using stamped_numbers = weir::lock_free_map<node_number, number, counted_hash<number>, counted_equal<number>>;  // that change
static_assert(in_slots<numbers> && in_nodes<node_numbers> && in_stamped_nodes<stamped_numbers>);

/// The fixture of the tests that go through all storages.
template <class Map>
class lock_free_map_memory : public testing::Test {};
using storages = testing::Types<numbers, node_numbers, stamped_numbers>;
TYPED_TEST_SUITE(lock_free_map_memory, storages);

template <class Map>
std::size_t bytes_of_fresh_map(number entries) {
    booked<Map> fresh;
    for (number key = 0; key < entries; ++key) {
        fresh.map.insert(key, key);
    }
    fresh.map.quiesce();
    return fresh.book.live_bytes();
}

template <class Map>
void expect_only_tables(booked<Map> const& b) {
    const auto s = b.map.stats();
    EXPECT_EQ(s.size, 0U);
    EXPECT_EQ(s.pending_objects, 0U);
    EXPECT_LE(b.book.live_bytes(), s.buckets * bound::bytes_per_bucket + bound::empty_bytes);
}

}  // namespace

TYPED_TEST(lock_free_map_memory, a_churn_leaves_what_a_fresh_map_needs) {
    // WEIR_TEST_CHURN=100000000 is the promise to the letter; a twentieth of it, and less under sanitizers, is the daily check.
    const char* const asked = std::getenv("WEIR_TEST_CHURN");
    const std::size_t churn =
        asked == nullptr ? scaled(under_thread_sanitizer || !in_slots<TypeParam> ? 1'500'000 : 5'000'000) : std::strtoull(asked, nullptr, 10);
    constexpr number live = 100'000;
    const auto fresh = static_cast<double>(bytes_of_fresh_map<TypeParam>(live));
    booked<TypeParam> b;
    number next = 0;
    for (; next < live; ++next) {
        ASSERT_TRUE(b.map.insert(next, next));
    }
    std::size_t most = 0;
    for (const number end = next + churn; next < end; ++next) {
        ASSERT_TRUE(b.map.insert(next, next));
        ASSERT_TRUE(b.map.erase(next - live));
        if (next % 1024 == 0) {
            most = std::max(most, b.book.live_bytes());
        }
    }
    EXPECT_EQ(b.map.size(), live);
    EXPECT_LE(static_cast<double>(b.book.live_bytes()), fresh * bound::after_churn) << "fresh: " << fresh;
    EXPECT_LE(static_cast<double>(most), fresh * bound::after_churn) << "meanwhile; fresh: " << fresh;
    b.map.quiesce();
    EXPECT_LE(static_cast<double>(b.book.live_bytes()), fresh * bound::after_churn);
    EXPECT_EQ(b.map.stats().pending_objects, 0U);
}

TYPED_TEST(lock_free_map_memory, a_churn_of_many_threads_leaves_what_a_fresh_map_needs) {
    constexpr number live = 100'000;
    constexpr std::size_t threads = 4;
    const auto fresh = static_cast<double>(bytes_of_fresh_map<TypeParam>(live));
    const std::size_t churn = scaled(200'000);
    booked<TypeParam> b;
    run_together(threads, [&](std::size_t i) {
        const number first = i << 40;
        constexpr number mine = live / threads;
        for (number n = 0; n < mine + churn; ++n) {
            b.map.insert(first + n, n);
            if (n >= mine) {
                b.map.erase(first + n - mine);
                b.map.assign(first + n - mine / 2, n);
            }
        }
    });
    EXPECT_EQ(b.map.size(), live);
    EXPECT_LE(static_cast<double>(b.book.live_bytes()), fresh * bound::after_churn + static_cast<double>(bound::garbage_bytes));
    b.map.quiesce();
    EXPECT_LE(static_cast<double>(b.book.live_bytes()), fresh * bound::after_churn) << "fresh: " << fresh;
}

TYPED_TEST(lock_free_map_memory, one_key_that_comes_and_goes_needs_no_more_than_one_entry) {
    booked<TypeParam> b;
    for (number n = 0; n < scaled(500'000); ++n) {
        b.map.insert(n % 2, n);
        b.map.insert_or_assign(n % 2, n);
        b.map.erase(n % 2);
    }
    EXPECT_LE(b.book.peak_bytes(), bound::garbage_bytes);
    EXPECT_LE(b.map.stats().buckets, 64U);
    b.map.quiesce();
    expect_only_tables(b);
}

TYPED_TEST(lock_free_map_memory, erasing_everything_leaves_only_tables) {
    const number count = scaled(200'000, 20'000);
    booked<TypeParam> b;
    std::size_t first = 0;
    for (int round = 0; round < 6; ++round) {
        for (number key = 0; key < count; ++key) {
            ASSERT_TRUE(b.map.insert(key + static_cast<number>(round) * count, key));
        }
        switch (round % 3) {
        case 0:
            for (number key = 0; key < count; ++key) {
                ASSERT_TRUE(b.map.erase(key + static_cast<number>(round) * count));
            }
            break;
        case 1: b.map.clear(); break;
        default: EXPECT_EQ(b.map.erase_if([](number, number) { return true; }), count); break;
        }
        b.map.quiesce();
        expect_only_tables(b);
        EXPECT_LE(b.map.stats().buckets, bound::least_buckets) << "round " << round;
        first = round == 0 ? b.book.live_bytes() : first;
        EXPECT_LE(b.book.live_bytes(), first + first / 5) << "round " << round;
    }
}

// A size that goes up and down keeps the map moving: neither tables nor blocks may pile up on the way.
TYPED_TEST(lock_free_map_memory, a_size_that_goes_up_and_down_leaves_no_old_tables_behind) {
    const number large = scaled(100'000, 10'000);
    const auto fresh = static_cast<double>(bytes_of_fresh_map<TypeParam>(large));
    booked<TypeParam> b;
    for (int round = 0; round < 5; ++round) {
        for (number key = 0; key < large; ++key) {
            ASSERT_TRUE(b.map.insert(key, key));
        }
        EXPECT_LE(static_cast<double>(b.book.live_bytes()), fresh * bound::after_churn + static_cast<double>(bound::garbage_bytes) / 4);
        for (number key = 100; key < large; ++key) {
            ASSERT_TRUE(b.map.erase(key));
        }
        for (number key = 0; key < 100; ++key) {
            ASSERT_EQ(b.map.extract(key), key);
        }
    }
    // While a table is moved there are two of them: the larger one, and one half or twice as large.
    EXPECT_LE(static_cast<double>(b.book.peak_bytes()), 2 * fresh + static_cast<double>(bound::garbage_bytes) / 4);
    EXPECT_GE(b.map.stats().shrinks, 20U);
    b.map.quiesce();
    expect_only_tables(b);
}

TYPED_TEST(lock_free_map_memory, a_destroyed_map_has_given_all_back) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{100}, scaled(100'000, 10'000)}) {
        using value = typename TypeParam::mapped_type;
        ledger book;
        {
            with_allocator<TypeParam, counting_allocator> map({.capacity = count / 2}, {}, {},
                                                              counting_allocator<typename TypeParam::value_type>(book));
            run_together(3, [&](std::size_t i) {
                random_numbers dice(i);
                for (std::size_t n = 0; n < count; ++n) {
                    map.insert_or_assign(dice.below(count), n);
                    map.erase(dice.below(count));
                    (void)map.find_or_create(dice.below(count), [&] { return value(n); });
                }
            });
        }
        EXPECT_TRUE(book.settled()) << book;
    }
}

// Readers that are stopped for good.

namespace {

struct seen_tag {};
using seen_value = tracked<seen_tag>;
using watched = booked<weir::lock_free_map<number, seen_value>>;

/// Threads that look at something in the map until the test is over: one in each kind of callback.
class stopped_readers {
public:
    explicit stopped_readers(watched::map_type& map) {
        const auto stop = [this](seen_value const& v) {
            const number first = v.number();
            stopped_.arrive();
            EXPECT_TRUE(go_on_.wait()) << "the writers did not get on";
            EXPECT_EQ(v.number(), first);
        };
        const auto once = [stop](auto&& call) {
            bool done = false;
            call([stop, &done](seen_value const& v) {
                if (!std::exchange(done, true)) {
                    stop(v);
                }
            });
        };
        start([&map, once] { once([&](auto f) { EXPECT_TRUE(map.visit(0, f)); }); });
        start([&map, once] { once([&](auto f) { map.for_each([&](number, seen_value const& v) { f(v); }); }); });
        start([&map, once] { once([&](auto f) { map.for_each_relaxed([&](number, seen_value const& v) { f(v); }); }); });
        start([&map, once] { once([&](auto f) { EXPECT_FALSE(map.try_emplace_or_visit(1, 0U, f)); }); });
        start([&map, once] { once([&](auto f) { map.erase_if([&](number, seen_value const& v) { return f(v), false; }); }); });
        start([&map, once] { once([&](auto f) {
            map.update(2, [&](seen_value const& v) {
                f(v);
                return seen_value(v.number());
            });
        }); });
        start([&map, once] { once([&](auto f) {
            map.compute(3, [&](seen_value const* v) {
                if (v != nullptr) {
                    f(*v);
                }
                return weir::decision<seen_value>::keep();
            });
        }); });
        EXPECT_TRUE(stopped_.wait_for(count_));
    }
    ~stopped_readers() {
        go_on_.open();
        threads_.join();
    }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }

private:
    template <class F>
    void start(F f) {
        ++count_;
        threads_.start(std::move(f));
    }
    arrivals stopped_;
    gate go_on_;
    std::size_t count_ = 0;
    crew threads_;
};

}  // namespace

TEST(lock_free_map_memory, readers_stopped_for_good_keep_little_however_long_others_write) {
    census<seen_tag>::reset();
    {
        watched b;
        constexpr number keys = 1000;
        for (number key = 0; key < keys; ++key) {
            ASSERT_TRUE(b.map.try_emplace(key, key));
        }
        const std::size_t filled = b.book.live_bytes();
        const stopped_readers readers(b.map);
        const std::size_t each = scaled(500'000);
        std::atomic<std::size_t> most_pending{0};
        run_together(3, [&](std::size_t i) {
            random_numbers dice(i);
            for (std::size_t n = 0; n < each; ++n) {
                const number key = dice.below(keys);
                switch (dice.below(4)) {
                case 0: b.map.erase(key); break;
                case 1: b.map.try_emplace(key, n); break;
                default: b.map.insert_or_assign(key, seen_value(n)); break;
                }
                if (n % 4096 == 0 && i == 0) {
                    most_pending = std::max(most_pending.load(), b.map.stats().pending_bytes);
                }
            }
        });
        EXPECT_LE(b.book.peak_bytes(), 2 * filled + bound::garbage_bytes);
        EXPECT_LE(most_pending.load(), bound::garbage_bytes);
        // quiesce waits for no reader, and frees all but what they look at: one value each, for_each those of a bucket.
        b.map.quiesce();
        const auto extra = census<seen_tag>::alive.load() - static_cast<std::int64_t>(b.map.size());
        EXPECT_LE(extra, static_cast<std::int64_t>(readers.count() + 2 * 24));
        EXPECT_LE(b.map.stats().pending_objects, readers.count() + 2 * 24 + 8);
    }
    EXPECT_EQ(census<seen_tag>::alive.load(), 0);
    EXPECT_EQ(census<seen_tag>::misuses.load(), 0);
}

TEST(lock_free_map_memory, readers_stopped_for_good_keep_no_old_tables_but_their_own) {
    census<seen_tag>::reset();
    {
        const number count = scaled(200'000, 20'000);
        std::size_t fresh = 0;
        {
            watched undisturbed;
            for (number key = 0; key < count; ++key) {
                undisturbed.map.try_emplace(key, key);
            }
            undisturbed.map.quiesce();
            fresh = undisturbed.book.live_bytes();
        }
        watched b;
        for (number key = 0; key < 100; ++key) {
            ASSERT_TRUE(b.map.try_emplace(key, key));
        }
        const stopped_readers readers(b.map);
        run_together(2, [&](std::size_t i) {
            for (number key = 100 + i; key < count; key += 2) {
                b.map.try_emplace(key, key);
            }
        });
        EXPECT_LE(b.book.live_bytes(), fresh + fresh / 5 + bound::garbage_bytes);
        b.map.quiesce();
        EXPECT_LE(b.book.live_bytes(), fresh + fresh / 5 + bound::empty_bytes);
        b.map.clear();
        b.map.quiesce();
        EXPECT_LE(b.book.live_bytes(), b.map.stats().buckets * bound::bytes_per_bucket + 2 * bound::empty_bytes);
    }
    EXPECT_EQ(census<seen_tag>::alive.load(), 0);
    EXPECT_EQ(census<seen_tag>::misuses.load(), 0);
}

// The work of one operation.

namespace {

void expect_within_bounds(costs const& worst) {
    EXPECT_LE(worst.hashes, bound::one_operation.hashes);
    EXPECT_LE(worst.comparisons, bound::one_operation.comparisons);
    EXPECT_LE(worst.bytes, bound::one_operation.bytes);
    EXPECT_LE(worst.largest, bound::one_operation.largest);
    testing::Test::RecordProperty("hashes", std::to_string(worst.hashes));
    testing::Test::RecordProperty("comparisons", std::to_string(worst.comparisons));
    testing::Test::RecordProperty("bytes", std::to_string(worst.bytes));
    testing::Test::RecordProperty("largest", std::to_string(worst.largest));
}

}  // namespace

TYPED_TEST(lock_free_map_memory, no_single_operation_does_the_work_of_a_growth) {
    const number count = scaled(1'000'000, 50'000);
    booked<TypeParam> b;
    costs worst;
    random_numbers dice(run_seed());
    for (number key = 0; key < count; ++key) {
        worst.raise_to(cost_of([&] { b.map.insert(key, key); }));
        const number other = dice.below(key + 1);
        if (key % 4 == 0) {
            worst.raise_to(cost_of([&] { (void)b.map.find(other); }));
        } else if (key % 4 == 1) {
            worst.raise_to(cost_of([&] { b.map.upsert(other, 0, [](number v) { return v + 1; }); }));
        } else if (key % 64 == 2) {
            worst.raise_to(cost_of([&] { b.map.erase(other); }));
        }
    }
    EXPECT_GT(b.map.stats().growths, 8U);
    expect_within_bounds(worst);
}

TYPED_TEST(lock_free_map_memory, no_single_operation_of_many_threads_does_the_work_of_a_growth) {
    const number each = scaled(150'000, 10'000);
    booked<TypeParam> b;
    std::mutex mutex;
    costs worst;
    run_together(4, [&](std::size_t i) {
        costs mine;
        random_numbers dice(i);
        for (number n = 0; n < each; ++n) {
            mine.raise_to(cost_of([&] { b.map.insert((i << 40) + n, n); }));
            mine.raise_to(cost_of([&] { (void)b.map.contains((dice.below(4) << 40) + n); }));
            if (n % 16 == 0) {
                mine.raise_to(cost_of([&] { b.map.erase((i << 40) + dice.below(n + 1)); }));
            }
        }
        const std::lock_guard hold(mutex);
        worst.raise_to(mine);
    });
    expect_within_bounds(worst);
}

TYPED_TEST(lock_free_map_memory, no_single_operation_does_the_work_of_a_shrinking) {
    const number count = scaled(1'000'000, 50'000);
    booked<TypeParam> b;
    for (number key = 0; key < count; ++key) {
        b.map.insert(key, key);
    }
    b.map.quiesce();
    costs worst;
    random_numbers dice(run_seed());
    for (number key = 0; key < count; ++key) {
        worst.raise_to(cost_of([&] { EXPECT_TRUE(b.map.erase(key)); }));
        if (key % 4 == 0) {
            worst.raise_to(cost_of([&] { (void)b.map.find(dice.below(count)); }));
        } else if (key % 64 == 1) {
            worst.raise_to(cost_of([&] { b.map.insert_or_assign(dice.below(key + 1) + count, key); }));
        }
    }
    EXPECT_GT(b.map.stats().shrinks, 3U);
    expect_within_bounds(worst);
}

TEST(lock_free_map_memory, growth_calls_no_hash_that_may_throw) {
    using may_throw = throwing_hash<std::string, std::hash<std::string>>;  // and its key is not trivial: the hash must be kept
    using texts = weir::lock_free_map<std::string, number, counted_hash<std::string, may_throw>, counted_equal<std::string>>;
    booked<texts> b;
    costs worst;
    for (number key = 0; key < scaled(50'000, 5'000); ++key) {
        std::string text = "key " + std::to_string(key);
        worst.raise_to(cost_of([&] { b.map.try_emplace(std::move(text), key); }));
    }
    for (number key = 0; key < scaled(50'000, 5'000); ++key) {
        worst.raise_to(cost_of([&] { EXPECT_TRUE(b.map.erase("key " + std::to_string(key))); }));
    }
    EXPECT_GT(b.map.stats().shrinks, 3U);
    EXPECT_EQ(worst.hashes, 1U) << "a hash that throws in the middle of a growth would have nowhere to go";
    expect_within_bounds(worst);
}

// Keys that somebody chose badly, or well.

namespace {

/// The worst that an insertion, a lookup and an erasure of these keys cost.
template <class Map>
costs worst_of(booked<Map>& b, std::vector<number> const& keys) {
    costs worst;
    for (const number key : keys) {
        worst.raise_to(cost_of([&] { EXPECT_TRUE(b.map.insert(key, key)); }));
    }
    EXPECT_LE(b.map.stats().longest_chain, 32U);
    for (const number key : keys) {
        worst.raise_to(cost_of([&] { EXPECT_EQ(b.map.find(key), key); }));
    }
    for (const number key : keys) {
        worst.raise_to(cost_of([&] { EXPECT_TRUE(b.map.erase(key)); }));
    }
    return worst;
}

}  // namespace

TYPED_TEST(lock_free_map_memory, no_pattern_of_keys_makes_one_operation_dear) {
    for (key_pattern const& pattern : key_patterns) {
        SCOPED_TRACE(pattern.name);
        std::vector<number> keys;
        for (number i = 0; i < scaled(50'000, 5'000); ++i) {
            keys.push_back(pattern.key(i));
        }
        booked<TypeParam> b;
        const costs worst = worst_of(b, keys);
        expect_within_bounds(worst);
        EXPECT_LE(worst.comparisons, 16U);
    }
}

TYPED_TEST(lock_free_map_memory, keys_that_flood_one_seed_do_not_make_an_operation_dear_under_another) {
    for (const number guessed : {number{0}, number{1}, number{0x1234'5678}}) {
        SCOPED_TRACE(guessed);
        booked<TypeParam> b;
        const costs worst = worst_of(b, flooding_keys<std::hash<number>>(scaled(20'000, 5'000), guessed, 16, 8));
        expect_within_bounds(worst);
        EXPECT_LE(worst.comparisons, 16U);
    }
}

TYPED_TEST(lock_free_map_memory, keys_of_one_hash_cost_what_a_list_of_them_would_and_no_table) {
    constexpr number count = 1000;
    using alike = map_like<TypeParam, counted_hash<number, colliding_hash<number>>, counted_equal<number>>;
    booked<alike> b;
    costs worst;
    for (number key = 0; key < count; ++key) {
        worst.raise_to(cost_of([&] { EXPECT_TRUE(b.map.insert(key, key)); }));
    }
    EXPECT_LE(worst.comparisons, 2 * count) << "the keys are compared in vain";
    EXPECT_LE(worst.largest, 64 * count);
    EXPECT_LE(b.map.stats().buckets, 4 * count) << "it grew and grew, to no avail";
    for (number key = 0; key < count; ++key) {
        ASSERT_EQ(b.map.extract(key), key);
    }
    b.map.quiesce();
    expect_only_tables(b);
    EXPECT_EQ(b.map.stats().longest_chain, 0U);
}
