// weir (BSL-1.0). lock_free_map_test: what each function promises, one thread at a time; the storms are in stress/.
#include <weir/base/concepts.hpp>
#include <weir/base/expected.hpp>
#include <weir/base/hash.hpp>
#include <weir/data/lock_free_map.hpp>

#include "support/counting_allocator.hpp"
#include "support/hostile_keys.hpp"
#include "support/map_storages.hpp"
#include "support/random.hpp"
#include "support/threads.hpp"
#include "support/values.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <new>
#include <optional>
#include <set>
#include <sstream>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace weir_test;
using slot_numbers = weir::lock_free_map<std::uint64_t, std::uint64_t>;            // in slots
using node_numbers = weir::lock_free_map<std::uint64_t, node_number>;          // in nodes
using stamped_numbers = weir::lock_free_map<node_number, std::uint64_t, std::hash<std::uint64_t>>;  // in nodes that change
static_assert(in_slots<slot_numbers> && in_nodes<node_numbers> && in_stamped_nodes<stamped_numbers>);
using texts = weir::lock_free_map<std::string, std::string>;
using weir::compute_result;

struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};
using words = weir::lock_free_map<std::string, int, text_hash, std::equal_to<>>;

/// The fixture of the tests that go through all storages. Such a test calls its type `numbers` again.
template <class Map>
class lock_free_map : public testing::Test {};
using storages = testing::Types<slot_numbers, node_numbers, stamped_numbers>;
TYPED_TEST_SUITE(lock_free_map, storages);

template <class T>
using plain = std::conditional_t<std::is_same_v<T, node_number>, std::uint64_t, T>;

/// Everything in the map, by for_each; a key that comes twice is an error.
template <class Map>
auto contents(Map const& map) {
    std::map<plain<typename Map::key_type>, plain<typename Map::mapped_type>> all;
    map.for_each([&](auto const& key, auto const& value) {
        EXPECT_TRUE(all.emplace(key, value).second) << "a key came twice";
    });
    return all;
}

}  // namespace

// What the README shows.

TEST(lock_free_map, counts_words_from_several_threads) {
    words count;
    run_together(4, [&](std::size_t) {
        std::istringstream text("the map that the readers of the map read");
        for (std::string word; text >> word;) {
            count.upsert(word, 1, [](int n) { return n + 1; });
        }
    });
    EXPECT_EQ(count.find("the"), 12);
    EXPECT_EQ(count.find("map"), 8);
    EXPECT_EQ(count.find("read"), 4);
    EXPECT_EQ(count.find("writers"), std::nullopt);
    EXPECT_EQ(count.size(), 6U);
}

TEST(lock_free_map, is_a_registry_that_builds_a_connection_once_per_key) {
    struct connection {
        std::string address;
    };
    weir::lock_free_map<std::string, std::shared_ptr<connection>, text_hash, std::equal_to<>> registry;
    std::atomic<int> built{0};
    const auto connect = [&](std::string_view name) {
        return registry.find_or_create(name, [&] {
            built.fetch_add(1);
            return std::make_shared<connection>(connection{"tcp://" + std::string(name)});
        });
    };
    std::array<std::shared_ptr<connection>, 4> got;
    run_together(4, [&](std::size_t i) { got[i] = connect("billing"); });
    EXPECT_EQ(built.load(), 1);
    for (auto const& each : got) {
        EXPECT_EQ(each, got[0]);
    }
    EXPECT_EQ(got[0]->address, "tcp://billing");
    EXPECT_TRUE(registry.erase("billing"));
    EXPECT_NE(connect("billing"), got[0]);
    EXPECT_EQ(built.load(), 2);
}

// Each promise.

TEST(lock_free_map, is_neither_copied_nor_moved_and_takes_256_bytes_at_most) {
    static_assert(!std::is_copy_constructible_v<slot_numbers> && !std::is_move_constructible_v<slot_numbers>);
    static_assert(!std::is_copy_assignable_v<slot_numbers> && !std::is_move_assignable_v<slot_numbers>);
    static_assert(sizeof(slot_numbers) <= 256 && sizeof(node_numbers) <= 256 && sizeof(stamped_numbers) <= 256 && sizeof(texts) <= 256);
    static_assert(std::is_same_v<slot_numbers::key_type, std::uint64_t> && std::is_same_v<slot_numbers::mapped_type, std::uint64_t>);
    static_assert(std::is_same_v<slot_numbers::value_type, std::pair<std::uint64_t const, std::uint64_t>>);
    static_assert(std::is_same_v<slot_numbers::size_type, std::size_t>);
    static_assert(std::is_same_v<words::hasher, text_hash> && std::is_same_v<words::key_equal, std::equal_to<>>);
    static_assert(std::is_same_v<slot_numbers::allocator_type, std::allocator<std::pair<std::uint64_t const, std::uint64_t>>>);
    static_assert(std::is_same_v<slot_numbers::options, weir::lock_free_map_options>);
    static_assert(!std::is_convertible_v<weir::lock_free_map_options, slot_numbers>, "the constructor is explicit");
    SUCCEED();
}

TYPED_TEST(lock_free_map, allocates_nothing_before_the_first_insertion) {
    using numbers = TypeParam;
    ledger book;
    using counted = with_allocator<numbers, counting_allocator>;
    using pair = typename numbers::value_type;
    {
        counted map({}, {}, {}, counting_allocator<pair>(book));
        EXPECT_TRUE(map.empty());
        EXPECT_EQ(map.size(), 0U);
        EXPECT_EQ(map.find(1), std::nullopt);
        EXPECT_FALSE(map.contains(1));
        EXPECT_FALSE(map.visit(1, [](std::uint64_t) { ADD_FAILURE(); }));
        EXPECT_FALSE(map.erase(1));
        EXPECT_FALSE(map.assign(1, 1));
        EXPECT_FALSE(map.update(1, [](std::uint64_t v) { return v; }));
        EXPECT_FALSE(map.compare_exchange(1, 1, 1));
        EXPECT_EQ(map.extract(1), std::nullopt);
        map.for_each([](std::uint64_t, std::uint64_t) { ADD_FAILURE(); });
        map.for_each_relaxed([](std::uint64_t, std::uint64_t) { ADD_FAILURE(); });
        map.clear();
        map.shrink_to_fit();
        map.quiesce();
        const auto s = map.stats();
        EXPECT_EQ(s.size, 0U);
        EXPECT_EQ(s.buckets, 0U);
        EXPECT_EQ(s.longest_chain, 0U);
        EXPECT_EQ(book.allocations(), 0U);
        EXPECT_TRUE(map.insert(1, 2));
        EXPECT_GT(book.allocations(), 0U);
    }
    EXPECT_TRUE(book.settled()) << book;
}

TYPED_TEST(lock_free_map, refuses_an_absurd_capacity_before_it_allocates) {
    using numbers = TypeParam;
    ledger book;
    using counted = with_allocator<numbers, counting_allocator>;
    using pair = typename numbers::value_type;
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
    for (const std::size_t absurd : {most, most - 1, most / 2, most / 2 + 1, most / 16, std::size_t{1} << 50}) {
        EXPECT_THROW(counted({.capacity = absurd}, {}, {}, counting_allocator<pair>(book)), std::length_error) << absurd;
        counted map({}, {}, {}, counting_allocator<pair>(book));
        EXPECT_THROW(map.reserve(absurd), std::length_error) << absurd;
    }
    try {
        const numbers map({.capacity = most});
    } catch (std::length_error const& e) {
        EXPECT_NE(std::string_view(e.what()).find("lock_free_map"), std::string_view::npos) << e.what();
        EXPECT_NE(std::string_view(e.what()).find("capacity"), std::string_view::npos) << e.what();
    }
    EXPECT_EQ(book.allocations(), 0U);
    EXPECT_TRUE(book.settled()) << book;
}

TYPED_TEST(lock_free_map, grows_no_more_while_the_capacity_that_was_asked_for_lasts) {
    using numbers = TypeParam;
    for (const std::size_t n : {1U, 3U, 7U, 100U, 1000U, 20000U}) {
        numbers asked({.capacity = n});
        numbers reserved;
        reserved.reserve(n);
        const auto before = asked.stats();
        const auto before_too = reserved.stats();
        for (std::uint64_t i = 0; i < n; ++i) {
            EXPECT_TRUE(asked.insert(i, i));
            EXPECT_TRUE(reserved.insert(i, i));
        }
        EXPECT_EQ(asked.stats().growths, before.growths) << n;
        EXPECT_EQ(reserved.stats().growths, before_too.growths) << n;
    }
}

TYPED_TEST(lock_free_map, keeps_its_entries_when_it_is_reserved_later) {
    using numbers = TypeParam;
    numbers map;
    for (std::uint64_t i = 0; i < 100; ++i) {
        EXPECT_TRUE(map.insert(i, i * 3));
    }
    map.reserve(50000);
    map.reserve(0);
    map.reserve(10);
    EXPECT_EQ(map.size(), 100U);
    for (std::uint64_t i = 0; i < 100; ++i) {
        EXPECT_EQ(map.find(i), i * 3);
    }
    EXPECT_EQ(contents(map).size(), 100U);
}

TEST(lock_free_map, finds_a_copy_of_what_was_inserted) {
    texts map;
    EXPECT_TRUE(map.insert("one", "a text that is too long for a small string"));
    const std::optional<std::string> found = std::as_const(map).find(std::string("one"));
    EXPECT_EQ(found, "a text that is too long for a small string");
    EXPECT_EQ(map.find(std::string("two")), std::nullopt);
    EXPECT_TRUE(std::as_const(map).contains(std::string("one")));
    EXPECT_FALSE(map.contains(std::string("two")));
}

TEST(lock_free_map, visits_the_very_value_that_is_stored) {
    texts map;
    EXPECT_TRUE(map.insert("one", "eins"));
    std::string const* first = nullptr;
    EXPECT_TRUE(map.visit(std::string("one"), [&](std::string const& v) { first = &v; }));
    EXPECT_TRUE(std::as_const(map).visit(std::string("one"), [&](auto& v) {
        static_assert(std::is_same_v<decltype(v), std::string const&>, "values are immutable");
        EXPECT_EQ(&v, first);
        EXPECT_EQ(v, "eins");
    }));
    EXPECT_FALSE(map.visit(std::string("two"), [](std::string const&) { ADD_FAILURE(); }));
}

TEST(lock_free_map, visits_many_keys_at_once_in_their_order) {
    weir::lock_free_map<int, int> map;
    std::vector<int> keys;  // more than are fetched at once; every third one is not there, some come twice
    std::vector<std::pair<int, int>> expected;
    for (int i = 0; i < 100; ++i) {
        if (i % 3 != 0) {
            EXPECT_TRUE(map.insert(i, -i));
        }
        keys.insert(keys.end(), {99 - i, i});
    }
    for (const int key : keys) {
        if (key % 3 != 0) {
            expected.emplace_back(key, -key);
        }
    }
    std::vector<std::pair<int, int>> seen;
    EXPECT_EQ(std::as_const(map).visit(keys, [&](int key, int value) { seen.emplace_back(key, value); }), expected.size());
    EXPECT_EQ(seen, expected);
    EXPECT_EQ(map.visit(std::span<int const>(), [](int, int) { ADD_FAILURE(); }), 0U);
    EXPECT_EQ((weir::lock_free_map<int, int>().visit(keys, [](int, int) { ADD_FAILURE(); })), 0U);
}

TEST(lock_free_map, a_visitor_of_many_keys_may_change_the_map_and_throw) {
    weir::lock_free_map<std::string, int> map;
    std::vector<std::string> keys;
    for (int i = 0; i < 40; ++i) {
        keys.push_back("a key that does not fit into the string itself " + std::to_string(i));
        EXPECT_TRUE(map.insert(keys.back(), i));
    }
    int visits = 0;
    EXPECT_EQ(map.visit(keys, [&](std::string const& key, int) {
        ++visits;
        EXPECT_TRUE(map.erase(key));
        EXPECT_TRUE(map.insert(key + "!", 0));
    }),
              40U);
    EXPECT_EQ(map.visit(keys, [](std::string const&, int) { ADD_FAILURE(); }), 0U);
    for (auto& key : keys) {
        key += '!';
    }
    EXPECT_THROW(map.visit(keys,
                           [&](std::string const&, int) {
                               if (++visits == 50) {
                                   throw std::runtime_error("enough");
                               }
                           }),
                 std::runtime_error);
    EXPECT_EQ(visits, 50);
}

TEST(lock_free_map, gives_copies_of_all_entries_to_loop_over) {
    texts map;
    EXPECT_TRUE(std::as_const(map).snapshot().empty());
    EXPECT_TRUE(map.insert("one", "eins"));
    EXPECT_TRUE(map.insert("two", "zwei"));
    std::map<std::string, std::string> seen;
    for (auto& [key, value] : std::as_const(map).snapshot()) {
        EXPECT_TRUE(map.erase(key));
        EXPECT_TRUE(seen.emplace(std::move(key), std::move(value)).second);
    }
    EXPECT_EQ(seen, (std::map<std::string, std::string>{{"one", "eins"}, {"two", "zwei"}}));
    EXPECT_TRUE(map.empty());
}

TEST(lock_free_map, insert_keeps_what_is_there) {
    texts map;
    EXPECT_TRUE(map.insert("one", "eins"));
    EXPECT_FALSE(map.insert("one", "uno"));
    EXPECT_FALSE(map.insert(texts::value_type("one", "un")));
    EXPECT_EQ(map.find(std::string("one")), "eins");
    EXPECT_TRUE(map.insert(texts::value_type("two", "zwei")));
    EXPECT_TRUE(map.insert({"three", "drei"}));
    EXPECT_EQ(map.find(std::string("two")), "zwei");
    EXPECT_EQ(map.find(std::string("three")), "drei");
    EXPECT_EQ(map.size(), 3U);
}

TEST(lock_free_map, try_emplace_builds_the_value_in_place_and_only_if_the_key_is_new) {
    weir::lock_free_map<int, std::pair<std::string, std::unique_ptr<int>>> map;
    EXPECT_TRUE(map.try_emplace(1, "eins", std::make_unique<int>(11)));
    auto untouched = std::make_unique<int>(12);
    EXPECT_FALSE(map.try_emplace(1, "uno", std::move(untouched)));
    ASSERT_NE(untouched, nullptr) << "an argument was taken although the key was there";
    EXPECT_TRUE(map.visit(1, [](auto const& v) {
        EXPECT_EQ(v.first, "eins");
        EXPECT_EQ(*v.second, 11);
    }));
    weir::lock_free_map<std::string, std::string> defaulted;
    std::string key = "a key that is too long for a small string";
    EXPECT_TRUE(defaulted.try_emplace(key));
    EXPECT_EQ(key, "a key that is too long for a small string");
    EXPECT_EQ(defaulted.find(key), "");
    EXPECT_FALSE(defaulted.try_emplace(std::move(key), std::size_t{3}, 'x'));
    EXPECT_EQ(key, "a key that is too long for a small string") << "a key was taken although it was there";
    EXPECT_TRUE(defaulted.try_emplace(std::string("x"), std::size_t{3}, 'x'));
    EXPECT_EQ(defaulted.find(std::string("x")), "xxx");
}

TEST(lock_free_map, insert_or_assign_replaces_and_says_whether_it_inserted) {
    texts map;
    EXPECT_TRUE(map.insert_or_assign(std::string("one"), "eins"));
    EXPECT_FALSE(map.insert_or_assign(std::string("one"), "uno"));
    EXPECT_EQ(map.find(std::string("one")), "uno");
    EXPECT_EQ(map.size(), 1U);
}

TEST(lock_free_map, assign_replaces_only_what_is_there) {
    texts map;
    EXPECT_FALSE(map.assign(std::string("one"), "eins"));
    EXPECT_TRUE(map.empty());
    EXPECT_TRUE(map.insert("one", "eins"));
    EXPECT_TRUE(map.assign(std::string("one"), "uno"));
    EXPECT_EQ(map.find(std::string("one")), "uno");
    EXPECT_EQ(map.size(), 1U);
}

TEST(lock_free_map, or_visit_forms_show_what_was_in_the_way) {
    texts map;
    EXPECT_TRUE(map.insert_or_visit({"one", "eins"}, [](std::string const&) { ADD_FAILURE(); }));
    std::string seen;
    EXPECT_FALSE(map.insert_or_visit({"one", "uno"}, [&](std::string const& v) { seen = v; }));
    EXPECT_EQ(seen, "eins");
    EXPECT_TRUE(map.try_emplace_or_visit(std::string("two"), std::size_t{2}, 'z', [](std::string const&) { ADD_FAILURE(); }));
    EXPECT_FALSE(map.try_emplace_or_visit(std::string("two"), std::size_t{3}, 'y', [&](std::string const& v) { seen = v; }));
    EXPECT_EQ(seen, "zz");
    EXPECT_TRUE(map.try_emplace_or_visit(std::string("three"), [](std::string const&) { ADD_FAILURE(); }));
    EXPECT_EQ(map.find(std::string("three")), "");
    EXPECT_EQ(map.size(), 3U);
}

TEST(lock_free_map, exchange_returns_what_was_there_and_inserts_when_nothing_was) {
    texts map;
    EXPECT_EQ(map.exchange(std::string("one"), "eins"), std::nullopt);
    EXPECT_EQ(map.exchange(std::string("one"), "uno"), "eins");
    EXPECT_EQ(map.find(std::string("one")), "uno");
    EXPECT_EQ(map.size(), 1U);
}

TEST(lock_free_map, compare_exchange_replaces_only_the_expected_value) {
    texts map;
    EXPECT_FALSE(map.compare_exchange(std::string("one"), "eins", "uno"));
    EXPECT_TRUE(map.empty());
    EXPECT_TRUE(map.insert("one", "eins"));
    EXPECT_FALSE(map.compare_exchange(std::string("one"), "un", "uno"));
    EXPECT_EQ(map.find(std::string("one")), "eins");
    EXPECT_TRUE(map.compare_exchange(std::string("one"), "eins", "uno"));
    EXPECT_EQ(map.find(std::string("one")), "uno");
    EXPECT_TRUE(map.compare_exchange(std::string("one"), "uno", "uno"));
    EXPECT_EQ(map.size(), 1U);
}

TEST(lock_free_map, erase_removes_once) {
    texts map;
    EXPECT_FALSE(map.erase(std::string("one")));
    EXPECT_TRUE(map.insert("one", "eins"));
    EXPECT_TRUE(map.erase(std::string("one")));
    EXPECT_FALSE(map.erase(std::string("one")));
    EXPECT_FALSE(map.contains(std::string("one")));
    EXPECT_TRUE(map.empty());
    EXPECT_TRUE(map.insert("one", "uno"));
    EXPECT_EQ(map.find(std::string("one")), "uno");
}

TEST(lock_free_map, extract_takes_the_value_out) {
    texts map;
    EXPECT_EQ(map.extract(std::string("one")), std::nullopt);
    EXPECT_TRUE(map.insert("one", "eins"));
    EXPECT_EQ(map.extract(std::string("one")), "eins");
    EXPECT_EQ(map.extract(std::string("one")), std::nullopt);
    EXPECT_TRUE(map.empty());
}

TYPED_TEST(lock_free_map, erase_if_asks_about_the_value) {
    using numbers = TypeParam;
    numbers map;
    EXPECT_FALSE(map.erase_if(std::uint64_t{1}, [](std::uint64_t) { return true; }));
    EXPECT_TRUE(map.insert(1, 10));
    EXPECT_FALSE(map.erase_if(std::uint64_t{1}, [](std::uint64_t v) { return v > 10; }));
    EXPECT_TRUE(map.contains(1));
    EXPECT_TRUE(map.erase_if(std::uint64_t{1}, [](std::uint64_t v) { return v == 10; }));
    EXPECT_FALSE(map.contains(1));
}

TYPED_TEST(lock_free_map, compare_erase_removes_only_the_expected_value) {
    using numbers = TypeParam;
    numbers map;
    EXPECT_FALSE(map.compare_erase(1, 10));
    EXPECT_TRUE(map.insert(1, 10));
    EXPECT_FALSE(map.compare_erase(1, 11));
    EXPECT_EQ(map.find(1), 10U);
    EXPECT_TRUE(map.compare_erase(1, 10));
    EXPECT_TRUE(map.empty());
}

TYPED_TEST(lock_free_map, update_replaces_by_a_function_of_what_is_there) {
    using numbers = TypeParam;
    numbers map;
    EXPECT_FALSE(map.update(1, [](std::uint64_t) -> std::uint64_t {
        ADD_FAILURE();
        return 0;
    }));
    EXPECT_TRUE(map.insert(1, 10));
    EXPECT_TRUE(map.update(1, [](std::uint64_t const& v) { return v * 2; }));
    EXPECT_EQ(map.find(1), 20U);
}

TYPED_TEST(lock_free_map, upsert_inserts_or_replaces) {
    using numbers = TypeParam;
    numbers map;
    const auto twice = [](std::uint64_t const& v) { return v * 2; };
    EXPECT_TRUE(map.upsert(1, 5, twice));
    EXPECT_EQ(map.find(1), 5U);
    EXPECT_FALSE(map.upsert(1, 5, twice));
    EXPECT_EQ(map.find(1), 10U);
    EXPECT_EQ(map.size(), 1U);
}

TYPED_TEST(lock_free_map, compute_keeps_assigns_or_erases_as_it_is_told) {
    using numbers = TypeParam;
    using value = typename numbers::mapped_type;
    using answer = weir::decision<value>;
    numbers map;
    EXPECT_EQ(map.compute(1, [](value const* v) {
        EXPECT_EQ(v, nullptr);
        return answer::keep();
    }), compute_result::unchanged);
    EXPECT_EQ(map.compute(1, [](value const* v) {
        EXPECT_EQ(v, nullptr);
        return answer::erase();
    }), compute_result::unchanged);
    EXPECT_TRUE(map.empty());
    EXPECT_EQ(map.compute(1, [](value const* v) {
        EXPECT_EQ(v, nullptr);
        return answer::assign(10);
    }), compute_result::inserted);
    EXPECT_EQ(map.find(1), 10U);
    EXPECT_EQ(map.compute(1, [](value const* v) { return answer::assign(*v + 1); }), compute_result::assigned);
    EXPECT_EQ(map.find(1), 11U);
    EXPECT_EQ(map.compute(1, [](value const* v) {
        EXPECT_EQ(*v, 11U);
        return answer::keep();
    }), compute_result::unchanged);
    EXPECT_EQ(map.find(1), 11U);
    EXPECT_EQ(map.compute(1, [](value const* v) {
        EXPECT_EQ(*v, 11U);
        return answer::erase();
    }), compute_result::erased);
    EXPECT_TRUE(map.empty());
}

TEST(lock_free_map, find_or_create_runs_the_factory_only_for_a_key_that_is_not_there) {
    texts map;
    int runs = 0;
    const auto factory = [&] {
        ++runs;
        return std::string("made");
    };
    const std::string made = map.find_or_create(std::string("one"), factory);
    EXPECT_EQ(made, "made");
    EXPECT_EQ(map.find_or_create(std::string("one"), factory), "made");
    EXPECT_EQ(runs, 1);
    EXPECT_TRUE(map.insert("two", "was there"));
    EXPECT_EQ(map.find_or_create(std::string("two"), factory), "was there");
    EXPECT_EQ(runs, 1);
    EXPECT_EQ(map.size(), 2U);
}

TEST(lock_free_map, find_or_create_passes_on_the_reason_why_the_factory_failed) {
    using result = weir::expected<std::string, int>;
    texts map;
    const result failed = map.find_or_create(std::string("one"), []() -> result { return weir::unexpected<int>(7); });
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error(), 7);
    EXPECT_TRUE(map.empty());
    EXPECT_FALSE(map.contains(std::string("one")));
    const result made = map.find_or_create(std::string("one"), []() -> result { return std::string("made"); });
    ASSERT_TRUE(made.has_value());
    EXPECT_EQ(*made, "made");
    const result again = map.find_or_create(std::string("one"), []() -> result {
        ADD_FAILURE();
        return weir::unexpected<int>(8);
    });
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(*again, "made");
}

TEST(lock_free_map, a_factory_that_throws_leaves_nothing_behind) {
    texts map;
    for (int i = 0; i < 3; ++i) {
        EXPECT_THROW((void)map.find_or_create(std::string("one"), []() -> std::string { throw std::runtime_error("no"); }),
                     std::runtime_error);
        EXPECT_TRUE(map.empty());
        EXPECT_FALSE(map.contains(std::string("one")));
    }
    EXPECT_EQ(map.find_or_create(std::string("one"), [] { return std::string("made"); }), "made");
}

TEST(lock_free_map, a_factory_that_asks_for_its_own_key_is_told_of_the_deadlock) {
    texts map;
    const auto code_of = [&](auto&& call) {
        try {
            (void)call();
        } catch (std::system_error const& e) {
            return e.code();
        }
        return std::error_code{};
    };
    const auto inner = [&] { return map.find_or_create(std::string("one"), [] { return std::string("inner"); }); };
    EXPECT_EQ(code_of([&] { return map.find_or_create(std::string("one"), inner); }),
              std::errc::resource_deadlock_would_occur);
    EXPECT_TRUE(map.empty());
    // Caught inside, it does no harm; nor does a detour by another key's factory hide it.
    EXPECT_EQ(map.find_or_create(std::string("one"), [&] {
        EXPECT_EQ(code_of(inner), std::errc::resource_deadlock_would_occur);
        return std::string("outer");
    }), "outer");
    EXPECT_EQ(code_of([&] {
        return map.find_or_create(std::string("two"), [&] {
            return map.find_or_create(std::string("three"), [&] {
                return map.find_or_create(std::string("two"), [] { return std::string("never"); });
            });
        });
    }), std::errc::resource_deadlock_would_occur);
    EXPECT_EQ(contents(map), (std::map<std::string, std::string>{{"one", "outer"}}));
    EXPECT_EQ(map.find_or_create(std::string("two"), [] { return std::string("now"); }), "now");
}

TYPED_TEST(lock_free_map, a_factory_may_create_other_keys) {
    using numbers = TypeParam;
    numbers map;
    // Each number is made from the one below it: 40 factories run inside each other.
    const std::function<std::uint64_t(std::uint64_t)> make = [&](std::uint64_t n) {
        return map.find_or_create(n, [&]() -> typename numbers::mapped_type { return n == 0 ? 1 : make(n - 1) + 1; });
    };
    EXPECT_EQ(make(40), 41U);
    EXPECT_EQ(map.size(), 41U);
    EXPECT_EQ(map.find(17), 18U);
}

TEST(lock_free_map, a_key_in_creation_is_not_there_for_anybody) {
    texts map;
    const std::string made = map.find_or_create(std::string("one"), [&] {
        EXPECT_FALSE(map.contains(std::string("one")));
        EXPECT_EQ(map.find(std::string("one")), std::nullopt);
        EXPECT_FALSE(map.erase(std::string("one")));
        EXPECT_FALSE(map.assign(std::string("one"), "x"));
        EXPECT_TRUE(map.empty());
        EXPECT_TRUE(contents(map).empty());
        return std::string("made");
    });
    EXPECT_EQ(made, "made");
}

TEST(lock_free_map, find_or_create_gives_up_waiting_when_it_is_told_to_stop) {
    texts map;
    std::stop_source stop;
    gate inside;
    gate finish;
    crew creator;
    creator.start([&] {
        EXPECT_EQ(map.find_or_create(std::string("one"), [&] {
            inside.open();
            EXPECT_TRUE(finish.wait());
            return std::string("made");
        }), "made");
    });
    ASSERT_TRUE(inside.wait());
    const auto never = [] {
        ADD_FAILURE() << "two factories for one key at once";
        return std::string("never");
    };
    crew waiter;
    waiter.start([&] { EXPECT_EQ(map.find_or_create(std::string("one"), never, stop.get_token()), std::nullopt); });
    stop.request_stop();
    waiter.join();
    EXPECT_EQ(map.find_or_create(std::string("two"), [] { return std::string("zwei"); }, stop.get_token()), "zwei")
        << "there was nothing to wait for";
    finish.open();
    creator.join();
    EXPECT_EQ(map.find_or_create(std::string("one"), never, stop.get_token()), "made");
}

TEST(lock_free_map, find_or_create_returns_what_another_put_there_while_the_factory_ran) {
    texts map;
    EXPECT_EQ(map.find_or_create(std::string("one"), [&] {
        EXPECT_TRUE(map.insert("one", "first"));
        return std::string("made");
    }), "first");
    EXPECT_EQ(map.find(std::string("one")), "first");
    EXPECT_EQ(map.size(), 1U);
}

TYPED_TEST(lock_free_map, for_each_sees_each_entry_once) {
    using numbers = TypeParam;
    numbers map;
    std::map<std::uint64_t, std::uint64_t> expected;
    for (std::uint64_t i = 0; i < 5000; ++i) {
        EXPECT_TRUE(map.insert(i * i, i));
        expected[i * i] = i;
    }
    EXPECT_EQ(contents(map), expected);
    std::map<std::uint64_t, std::uint64_t> relaxed;
    std::as_const(map).for_each_relaxed([&](std::uint64_t const& key, std::uint64_t const& value) { relaxed[key] = value; });
    EXPECT_EQ(relaxed, expected);
}

TYPED_TEST(lock_free_map, erase_if_of_all_removes_what_is_accepted_and_counts_it) {
    using numbers = TypeParam;
    numbers map;
    for (std::uint64_t i = 0; i < 1000; ++i) {
        EXPECT_TRUE(map.insert(i, i * 2));
    }
    EXPECT_EQ(map.erase_if([](std::uint64_t const& key, std::uint64_t const& value) {
        EXPECT_EQ(value, key * 2);
        return key % 3 == 0;
    }), 334U);
    EXPECT_EQ(map.size(), 666U);
    for (std::uint64_t i = 0; i < 1000; ++i) {
        EXPECT_EQ(map.contains(i), i % 3 != 0);
    }
    EXPECT_EQ(map.erase_if([](std::uint64_t, std::uint64_t) { return false; }), 0U);
    EXPECT_EQ(map.erase_if([](std::uint64_t, std::uint64_t) { return true; }), 666U);
    EXPECT_TRUE(map.empty());
}

TYPED_TEST(lock_free_map, clear_empties_and_the_map_goes_on) {
    using numbers = TypeParam;
    numbers map;
    for (int round = 0; round < 3; ++round) {
        for (std::uint64_t i = 0; i < 1000; ++i) {
            EXPECT_TRUE(map.insert(i, i));
        }
        EXPECT_EQ(map.size(), 1000U);
        map.clear();
        EXPECT_TRUE(map.empty());
        EXPECT_EQ(map.size(), 0U);
        EXPECT_TRUE(contents(map).empty());
        EXPECT_FALSE(map.contains(17));
    }
}

TYPED_TEST(lock_free_map, size_counts_exactly_at_rest) {
    using numbers = TypeParam;
    numbers map;
    std::size_t expected = 0;
    random_numbers dice(run_seed());
    for (int i = 0; i < 20000; ++i) {
        const std::uint64_t key = dice.below(3000);
        if (dice.one_in(2)) {
            expected += map.insert(key, key) ? 1U : 0U;
        } else {
            expected -= map.erase(key) ? 1U : 0U;
        }
        ASSERT_EQ(map.size(), expected);
        ASSERT_EQ(map.empty(), expected == 0);
    }
    EXPECT_EQ(contents(map).size(), expected);
}

TYPED_TEST(lock_free_map, stats_tell_size_buckets_load_and_growths) {
    using numbers = TypeParam;
    numbers map;
    std::uint64_t growths = 0;
    for (std::uint64_t i = 1; i <= 20000; ++i) {
        EXPECT_TRUE(map.insert(i, i));
        if (i % 1000 == 0) {
            const auto s = map.stats();
            EXPECT_EQ(s.size, i);
            EXPECT_GT(s.buckets, 0U);
            EXPECT_GT(s.load, 0.1);
            EXPECT_LT(s.load, 1.0);
            EXPECT_GE(s.longest_chain * s.buckets, i) << "some bucket has at least the mean";
            EXPECT_LE(s.longest_chain, 24U);
            EXPECT_LT(s.overflowed, i / 4);
            EXPECT_GE(s.growths, growths);
            EXPECT_EQ(s.failed_growths, 0U);
            growths = s.growths;
        }
    }
    EXPECT_GT(growths, 5U);
}

TYPED_TEST(lock_free_map, is_the_same_each_time_when_the_seed_is_fixed) {
    using numbers = TypeParam;
    const auto filled = [](std::uint64_t seed) {
        numbers map({.seed = seed});
        std::vector<std::uint64_t> order;
        for (std::uint64_t i = 0; i < 3000; ++i) {
            EXPECT_TRUE(map.insert(i, i));
        }
        map.for_each([&](std::uint64_t key, std::uint64_t) { order.push_back(key); });
        return std::pair(order, map.stats().longest_chain);
    };
    EXPECT_EQ(filled(1), filled(1));
    EXPECT_NE(filled(1).first, filled(2).first) << "the seed changes nothing";
}

TYPED_TEST(lock_free_map, draws_another_seed_for_each_map) {
    using numbers = TypeParam;
    std::set<std::vector<std::uint64_t>> orders;
    for (int i = 0; i < 4; ++i) {
        numbers map;
        std::vector<std::uint64_t> order;
        for (std::uint64_t k = 0; k < 100; ++k) {
            EXPECT_TRUE(map.insert(k, k));
        }
        map.for_each([&](std::uint64_t key, std::uint64_t) { order.push_back(key); });
        orders.insert(order);
    }
    EXPECT_EQ(orders.size(), 4U);
}

TEST(lock_free_map, takes_any_type_that_the_hash_knows_wherever_it_takes_a_key) {
    words map;
    const std::string_view one = "one";
    EXPECT_TRUE(map.try_emplace(one, 1));
    EXPECT_FALSE(map.try_emplace("one", 2));
    EXPECT_EQ(map.find(one), 1);
    EXPECT_EQ(map.find("one"), 1);
    EXPECT_TRUE(map.contains(one));
    EXPECT_TRUE(map.visit(one, [](int v) { EXPECT_EQ(v, 1); }));
    EXPECT_FALSE(map.insert_or_assign(one, 2));
    EXPECT_TRUE(map.assign(one, 3));
    EXPECT_FALSE(map.try_emplace_or_visit(one, 9, [](int v) { EXPECT_EQ(v, 3); }));
    EXPECT_EQ(map.exchange(one, 4), 3);
    EXPECT_TRUE(map.compare_exchange(one, 4, 5));
    EXPECT_TRUE(map.update(one, [](int v) { return v + 1; }));
    EXPECT_FALSE(map.upsert(one, 0, [](int v) { return v + 1; }));
    EXPECT_EQ(map.compute(one, [](int const* v) { return weir::decision<int>::assign(*v + 1); }), compute_result::assigned);
    EXPECT_EQ(map.find_or_create(one, [] { return 0; }), 8);
    EXPECT_FALSE(map.erase_if(one, [](int v) { return v == 0; }));
    EXPECT_FALSE(map.compare_erase(one, 0));
    EXPECT_EQ(map.extract(one), 8);
    EXPECT_FALSE(map.erase(one));
    EXPECT_EQ(map.find_or_create(one, [] { return 1; }), 1);
    EXPECT_TRUE(map.upsert("two", 2, [](int v) { return v; }));
    EXPECT_EQ(map.exchange(std::string_view("three"), 3), std::nullopt);
    EXPECT_EQ(map.compute("four", [](int const*) { return weir::decision<int>::assign(4); }), compute_result::inserted);
    EXPECT_TRUE(map.insert_or_assign("five", 5));
    EXPECT_EQ(contents(map), (std::map<std::string, int>{{"one", 1}, {"two", 2}, {"three", 3}, {"four", 4}, {"five", 5}}));
}

namespace {
struct counters {
    std::atomic<int> hits{0};
    explicit counters(int start) : hits(start) {}
};
}  // namespace
template <>
inline constexpr bool weir::is_internally_synchronized<counters> = true;

TEST(lock_free_map, takes_what_converts_to_a_key) {
    texts map;
    EXPECT_TRUE(map.try_emplace("one", "eins"));
    EXPECT_EQ(map.find("one"), "eins");
    EXPECT_TRUE(map.contains("one"));
    EXPECT_FALSE(map.upsert("one", "", [](std::string const& v) { return v + "s"; }));
    EXPECT_EQ(map.find_or_create("one", [] { return std::string(); }), "einss");
    EXPECT_EQ(map.extract("one"), "einss");
    EXPECT_FALSE(map.erase("one"));
    weir::lock_free_map<std::uint64_t, int> small;
    EXPECT_TRUE(small.try_emplace(1, 2));
    EXPECT_EQ(small.find(1U), 2);
}

namespace {
struct by_value_hash {
    int id;
    std::size_t operator()(int n) const noexcept { return static_cast<std::size_t>(n); }
};
struct by_value_equal {
    int id;
    bool operator()(int a, int b) const noexcept { return a == b; }
};
}  // namespace

TEST(lock_free_map, tells_what_it_was_made_with) {
    ledger book;
    using pair = std::pair<int const, int>;
    using made = weir::lock_free_map<int, int, by_value_hash, by_value_equal, counting_allocator<pair>>;
    const made map({}, by_value_hash{7}, by_value_equal{8}, counting_allocator<pair>(book));
    EXPECT_EQ(map.hash_function().id, 7);
    EXPECT_EQ(map.key_eq().id, 8);
    EXPECT_EQ(&map.get_allocator().book(), &book);
    EXPECT_THROW(slot_numbers({.capacity = slot_numbers::max_size() + 1}), std::length_error);
}

TEST(lock_free_map, hands_out_values_that_synchronise_themselves_for_changing) {
    weir::lock_free_map<std::string, counters, text_hash, std::equal_to<>> map;
    EXPECT_TRUE(map.try_emplace("one", 5));
    EXPECT_TRUE(std::as_const(map).visit("one", [](counters& c) { c.hits.fetch_add(1); }));
    map.for_each([](std::string const&, counters& c) { c.hits.fetch_add(10); });
    map.for_each_relaxed([](std::string const&, counters& c) { c.hits.fetch_add(100); });
    EXPECT_FALSE(map.try_emplace_or_visit("one", 0, [](counters& c) { c.hits.fetch_add(1000); }));
    int seen = 0;
    EXPECT_TRUE(map.visit("one", [&](counters const& c) { seen = c.hits.load(); }));
    EXPECT_EQ(seen, 1116);
    weir::lock_free_map<int, std::atomic<int>> atoms;
    EXPECT_TRUE(atoms.try_emplace(1, 2));
    EXPECT_TRUE(atoms.visit(1, [](std::atomic<int>& a) { a += 3; }));
    EXPECT_TRUE(atoms.visit(1, [](std::atomic<int> const& a) { EXPECT_EQ(a.load(), 5); }));
}

namespace {
struct rooted {  // neither copied nor moved
    rooted(int a, int b) : sum(a + b) {}
    rooted(rooted const&) = delete;
    rooted& operator=(rooted const&) = delete;
    int sum;
};
}  // namespace

TEST(lock_free_map, holds_values_that_can_be_neither_copied_nor_moved) {
    weir::lock_free_map<int, rooted> map;
    EXPECT_TRUE(map.try_emplace(1, 2, 3));
    EXPECT_FALSE(map.try_emplace(1, 4, 5));
    EXPECT_FALSE(map.try_emplace_or_visit(1, 4, 5, [](rooted const& r) { EXPECT_EQ(r.sum, 5); }));
    EXPECT_TRUE(map.visit(1, [](rooted const& r) { EXPECT_EQ(r.sum, 5); }));
    for (int i = 2; i < 1000; ++i) {
        EXPECT_TRUE(map.try_emplace(i, i, i));
    }
    map.for_each([](int key, rooted const& r) { EXPECT_EQ(r.sum, key == 1 ? 5 : 2 * key); });
    EXPECT_TRUE(map.erase_if(2, [](rooted const& r) { return r.sum == 4; }));
    EXPECT_TRUE(map.erase(1));
    EXPECT_EQ(map.erase_if([](int, rooted const&) { return true; }), 997U);
}

namespace {
using owner = std::unique_ptr<int>;
struct by_number {
    using is_transparent = void;
    std::size_t operator()(int n) const { return static_cast<std::size_t>(n); }
    std::size_t operator()(owner const& p) const { return static_cast<std::size_t>(*p); }
};
struct same_number {
    using is_transparent = void;
    static int of(int n) { return n; }
    static int of(owner const& p) { return *p; }
    bool operator()(auto const& a, auto const& b) const { return of(a) == of(b); }
};
}  // namespace

TEST(lock_free_map, holds_keys_and_values_that_can_only_be_moved) {
    weir::lock_free_map<owner, owner, by_number, same_number> map;
    for (int i = 0; i < 1000; ++i) {
        EXPECT_TRUE(map.insert(std::make_unique<int>(i), std::make_unique<int>(i * 2)));
    }
    EXPECT_FALSE(map.insert(std::make_unique<int>(7), std::make_unique<int>(0)));
    EXPECT_FALSE(map.insert_or_assign(std::make_unique<int>(7), std::make_unique<int>(1)));
    EXPECT_TRUE(map.insert_or_assign(std::make_unique<int>(1000), std::make_unique<int>(1)));
    EXPECT_FALSE(map.try_emplace(std::make_unique<int>(7), std::make_unique<int>(0)));
    EXPECT_FALSE(map.try_emplace_or_visit(std::make_unique<int>(7), std::make_unique<int>(0),
                                          [](owner const& p) { EXPECT_EQ(*p, 1); }));
    EXPECT_TRUE(map.visit(7, [](owner const& p) { EXPECT_EQ(*p, 1); }));
    int seen = 0;
    map.for_each([&](owner const& key, owner const&) { seen += *key >= 0 ? 1 : 0; });
    EXPECT_EQ(seen, 1001);
    EXPECT_TRUE(map.erase(7));
    EXPECT_TRUE(map.erase_if(8, [](owner const& p) { return *p == 16; }));
    EXPECT_FALSE(map.contains(8));
    EXPECT_EQ(map.size(), 999U);

    weir::lock_free_map<int, owner> plain;
    EXPECT_TRUE(plain.insert(1, std::make_unique<int>(1)));
    EXPECT_TRUE(plain.assign(1, std::make_unique<int>(2)));
    EXPECT_TRUE(plain.update(1, [](owner const& p) { return std::make_unique<int>(*p + 1); }));
    EXPECT_FALSE(plain.upsert(1, nullptr, [](owner const& p) { return std::make_unique<int>(*p + 1); }));
    EXPECT_EQ(plain.compute(1, [](owner const* p) {
        return weir::decision<owner>::assign(std::make_unique<int>(**p + 1));
    }), compute_result::assigned);
    EXPECT_TRUE(plain.visit(1, [](owner const& p) { EXPECT_EQ(*p, 5); }));
}

TEST(lock_free_map, keeps_over_aligned_values_aligned) {
    struct alignas(128) line {
        std::uint64_t n;
    };
    weir::lock_free_map<int, line> map;
    for (int i = 0; i < 500; ++i) {
        EXPECT_TRUE(map.try_emplace(i, line{static_cast<std::uint64_t>(i)}));
    }
    map.for_each([](int key, line const& v) {
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&v) % 128, 0U);
        EXPECT_EQ(v.n, static_cast<std::uint64_t>(key));
    });
    EXPECT_EQ(map.find(17)->n, 17U);
}

TEST(lock_free_map, takes_hash_and_equal_as_objects_with_a_state) {
    struct salted final {
        std::size_t salt;
        std::size_t operator()(int n) const noexcept { return static_cast<std::size_t>(n) ^ salt; }
    };
    struct modulo final {
        int base;
        bool operator()(int a, int b) const noexcept { return a % base == b % base; }
    };
    struct residue final {
        int base;
        std::size_t operator()(int n) const noexcept { return static_cast<std::size_t>(n % base); }
    };
    weir::lock_free_map<int, int, salted> map({}, salted{77});
    EXPECT_TRUE(map.insert(1, 2));
    EXPECT_EQ(map.find(1), 2);
    weir::lock_free_map<int, int, residue, modulo> classes({}, residue{10}, modulo{10});
    EXPECT_TRUE(classes.insert(3, 1));
    EXPECT_FALSE(classes.insert(13, 2));
    EXPECT_EQ(classes.find(123), 1);
    EXPECT_EQ(classes.size(), 1U);
}

TEST(lock_free_map, gets_all_its_memory_from_its_allocator_and_gives_all_of_it_back) {
    ledger book;
    using pair = std::pair<std::string const, std::string>;
    {
        weir::lock_free_map<std::string, std::string, std::hash<std::string>, std::equal_to<std::string>,
                            counting_allocator<pair>>
            map({}, {}, {}, counting_allocator<pair>(book));
        for (int i = 0; i < 3000; ++i) {
            EXPECT_TRUE(map.insert(std::to_string(i), "first"));
            EXPECT_FALSE(map.insert_or_assign(std::to_string(i), "second"));
        }
        EXPECT_GE(book.live_bytes(), 3000 * sizeof(pair));
        for (int i = 0; i < 3000; i += 2) {
            EXPECT_TRUE(map.erase(std::to_string(i)));
        }
    }
    EXPECT_TRUE(book.settled()) << book;
}

TEST(lock_free_map, is_done_with_a_memory_resource_when_its_destructor_returns) {
    using pair = std::pair<std::uint64_t const, std::string>;
    using on_resource = weir::lock_free_map<std::uint64_t, std::string, std::hash<std::uint64_t>,
                                            std::equal_to<std::uint64_t>, std::pmr::polymorphic_allocator<pair>>;
    ledger book;
    {
        counting_resource counted(book);
        auto resource = std::make_unique<std::pmr::unsynchronized_pool_resource>(&counted);
        {
            on_resource map({}, {}, {}, resource.get());
            for (std::uint64_t i = 0; i < 2000; ++i) {
                EXPECT_TRUE(map.insert(i % 500, "x") == (i < 500));
                EXPECT_TRUE(map.assign(i % 500, "y"));
            }
            EXPECT_EQ(map.size(), 500U);
        }
        resource.reset();
    }
    EXPECT_TRUE(book.settled()) << book;
    {
        std::array<std::byte, 4096> first{};
        std::pmr::monotonic_buffer_resource arena(first.data(), first.size());
        on_resource map({}, {}, {}, &arena);
        for (std::uint64_t i = 0; i < 500; ++i) {
            EXPECT_TRUE(map.insert(i, std::to_string(i)));
        }
        EXPECT_EQ(map.find(321), "321");
    }
}

TEST(lock_free_map, quiesce_destroys_what_was_replaced_and_erased) {
    struct tag {};
    using value = tracked<tag>;
    census<tag>::reset();
    {
        weir::lock_free_map<std::uint64_t, value> map;
        for (std::uint64_t i = 0; i < 1000; ++i) {
            EXPECT_TRUE(map.try_emplace(i, i));
            EXPECT_TRUE(map.assign(i, value(i + 1)));
        }
        for (std::uint64_t i = 0; i < 500; ++i) {
            EXPECT_TRUE(map.erase(i));
        }
        map.quiesce();
        EXPECT_EQ(census<tag>::alive.load(), 500);
        EXPECT_EQ(map.stats().pending_objects, 0U);
        EXPECT_EQ(map.stats().pending_bytes, 0U);
        map.quiesce();
        EXPECT_EQ(census<tag>::alive.load(), 500);
        map.for_each([](std::uint64_t key, value const& v) { EXPECT_EQ(v.number(), key + 1); });
    }
    EXPECT_EQ(census<tag>::alive.load(), 0);
    EXPECT_EQ(census<tag>::misuses.load(), 0);
}

// Edges.

TYPED_TEST(lock_free_map, takes_the_least_and_the_greatest_keys) {
    using numbers = TypeParam;
    numbers map;
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    const std::vector<std::uint64_t> keys{0, 1, 2, most, most - 1, most / 2, 1ULL << 63, 1ULL << 32, 3};
    for (const std::uint64_t key : keys) {
        EXPECT_TRUE(map.insert(key, ~key));
    }
    for (const std::uint64_t key : keys) {
        EXPECT_EQ(map.find(key), ~key);
    }
    EXPECT_EQ(map.size(), keys.size());
    texts empty;
    EXPECT_TRUE(empty.insert("", ""));
    EXPECT_EQ(empty.find(std::string()), "");
}

TEST(lock_free_map, keeps_values_of_many_kilobytes_whole) {
    struct page {
        std::array<std::uint64_t, 1024> word;
    };
    weir::lock_free_map<int, page> map;
    for (int i = 0; i < 100; ++i) {
        page p{};
        p.word.fill(static_cast<std::uint64_t>(i));
        EXPECT_TRUE(map.insert(i, p));
    }
    for (int i = 0; i < 100; ++i) {
        EXPECT_TRUE(map.visit(i, [&](page const& p) {
            EXPECT_TRUE(std::all_of(p.word.begin(), p.word.end(), [&](auto w) { return w == static_cast<std::uint64_t>(i); }));
        }));
    }
}

TYPED_TEST(lock_free_map, keeps_patterned_keys_in_short_chains) {
    using numbers = TypeParam;
    const auto longest = [](auto key_of) {
        numbers map;
        for (std::uint64_t i = 0; i < 20000; ++i) {
            EXPECT_TRUE(map.insert(key_of(i), i));
        }
        return map.stats().longest_chain;
    };
    EXPECT_LE(longest([](std::uint64_t i) { return i; }), 24U);
    EXPECT_LE(longest([](std::uint64_t i) { return i << 20; }), 24U);
    EXPECT_LE(longest([](std::uint64_t i) { return i << 44; }), 24U);
    EXPECT_LE(longest([](std::uint64_t i) { return 0x7f0000000000ULL + i * 64; }), 24U);
    EXPECT_LE(longest([](std::uint64_t i) { return i * 0x9e3779b97f4a7c15ULL; }), 24U);
}

TYPED_TEST(lock_free_map, is_not_slowed_down_by_keys_crafted_against_its_mixing) {
    using numbers = TypeParam;
    for (const unsigned top : {10U, 0U}) {  // agreeing top bits would fill few buckets, agreeing low bits share one tag
        const auto keys = flooding_keys<std::hash<std::uint64_t>>(20000, 0, top, 10 - top);
        numbers map;
        for (const std::uint64_t key : keys) {
            EXPECT_TRUE(map.insert(key, key));
        }
        EXPECT_EQ(map.size(), keys.size());
        EXPECT_LE(map.stats().longest_chain, 32U) << "agreeing bits at the top: " << top;
        for (const std::uint64_t key : keys) {
            ASSERT_EQ(map.find(key), key);
        }
    }
}

TYPED_TEST(lock_free_map, survives_crafted_keys_even_if_the_seed_is_known) {
    using numbers = TypeParam;
    std::size_t longest = 0;
    for (const unsigned top : {10U, 0U}) {
        const auto keys = flooding_keys<std::hash<std::uint64_t>>(3000, 0, top, 10 - top);
        numbers map({.seed = 0});
        for (const std::uint64_t key : keys) {
            EXPECT_TRUE(map.insert(key, key));
        }
        longest = std::max(longest, map.stats().longest_chain);
        EXPECT_EQ(contents(map).size(), keys.size());
        EXPECT_LE(map.stats().buckets, 4 * keys.size()) << "it grew and grew, to no avail";
        for (std::size_t i = 0; i < keys.size(); i += 2) {
            EXPECT_TRUE(map.erase(keys[i]));
        }
        for (std::size_t i = 0; i < keys.size(); ++i) {
            EXPECT_EQ(map.contains(keys[i]), i % 2 == 1);
        }
    }
    EXPECT_GE(longest, 300U) << "the keys are harmless: they do not show that the seed protects";
}

TYPED_TEST(lock_free_map, works_when_every_key_has_the_same_hash) {
    struct constant {
        std::size_t operator()(std::uint64_t) const noexcept { return 42; }
    };
    map_like<TypeParam, constant> map;
    for (std::uint64_t i = 0; i < 500; ++i) {
        EXPECT_TRUE(map.insert(i, i));
        EXPECT_FALSE(map.insert(i, ~i));
    }
    EXPECT_EQ(map.size(), 500U);
    EXPECT_EQ(map.stats().longest_chain, 500U);
    EXPECT_LE(map.stats().buckets, 4096U) << "it grew and grew, to no avail";
    for (std::uint64_t i = 0; i < 500; ++i) {
        EXPECT_EQ(map.find(i), i);
        EXPECT_TRUE(map.update(i, [](std::uint64_t v) { return v + 1; }));
    }
    EXPECT_EQ(contents(map).size(), 500U);
    for (std::uint64_t i = 0; i < 500; i += 3) {
        EXPECT_TRUE(map.erase(i));
        EXPECT_FALSE(map.erase(i));
    }
    for (std::uint64_t i = 0; i < 500; ++i) {
        EXPECT_EQ(map.find(i).value_or(0), i % 3 == 0 ? 0 : i + 1);
    }
    map.clear();
    EXPECT_TRUE(map.empty());
    EXPECT_EQ(map.stats().longest_chain, 0U);
}

TEST(lock_free_map, keeps_a_visited_value_alive_while_the_visitor_erases_it) {
    struct tag {};
    using value = tracked<tag>;
    census<tag>::reset();
    weir::lock_free_map<int, value> map;
    EXPECT_TRUE(map.try_emplace(1, 11U));
    EXPECT_TRUE(map.visit(1, [&](value const& v) {
        EXPECT_TRUE(map.erase(1));
        EXPECT_FALSE(map.contains(1));
        EXPECT_TRUE(map.try_emplace(1, 12U));
        for (std::uint64_t i = 0; i < 1000; ++i) {  // enough garbage that something is reclaimed meanwhile
            EXPECT_TRUE(map.assign(1, value(i)));
        }
        EXPECT_EQ(v.number(), 11U);
    }));
    EXPECT_EQ(map.find(1)->number(), 999U);
    EXPECT_EQ(census<tag>::misuses.load(), 0);
}

TYPED_TEST(lock_free_map, lets_visitors_visit) {
    using numbers = TypeParam;
    numbers map;
    for (std::uint64_t i = 0; i <= 40; ++i) {
        EXPECT_TRUE(map.insert(i, i + 1));
    }
    // Each visitor goes on to the next key: forty values are held at once, and all of them are still what they were.
    const std::function<std::uint64_t(std::uint64_t)> follow = [&](std::uint64_t key) {
        std::uint64_t depth = 0;
        map.visit(key, [&](std::uint64_t const& next) {
            EXPECT_TRUE(map.assign(key, 1000));
            depth = 1 + follow(next);
            EXPECT_EQ(next, key + 1);
        });
        return depth;
    };
    EXPECT_EQ(follow(0), 41U);
    EXPECT_EQ(map.find(0), 1000U);
}

TYPED_TEST(lock_free_map, lets_every_callback_use_the_map) {
    using numbers = TypeParam;
    using value = typename numbers::mapped_type;
    numbers map;
    for (std::uint64_t i = 0; i < 10; ++i) {
        EXPECT_TRUE(map.insert(i, i));
    }
    EXPECT_TRUE(map.update(1, [&](std::uint64_t v) { return v + *map.find(2); }));
    EXPECT_EQ(map.find(1), 3U);
    EXPECT_FALSE(map.upsert(1, 0, [&](std::uint64_t v) {
        map.insert(100, 7);  // in the same bucket perhaps: then this runs again
        return v + 1;
    }));
    EXPECT_EQ(map.find(100), 7U);
    EXPECT_EQ(map.find(1), 4U);
    EXPECT_EQ(map.compute(1, [&](value const* v) {
        map.erase(std::uint64_t{100});
        return weir::decision<value>::assign(*v + 1);
    }), compute_result::assigned);
    EXPECT_EQ(map.find(1), 5U);
    EXPECT_TRUE(map.erase_if(std::uint64_t{2}, [&](std::uint64_t) { return map.contains(3); }));
    EXPECT_FALSE(map.insert_or_visit({3, 0}, [&](std::uint64_t) { EXPECT_TRUE(map.erase(std::uint64_t{3})); }));
    EXPECT_FALSE(map.contains(3));
    EXPECT_EQ(map.erase_if([&](std::uint64_t key, std::uint64_t) { return key % 2 == 0 && map.contains(key); }), 4U);
}

TYPED_TEST(lock_free_map, an_update_whose_own_function_changes_the_key_begins_again) {
    using numbers = TypeParam;
    using value = typename numbers::mapped_type;
    numbers map;
    EXPECT_TRUE(map.insert(1, 10));
    int calls = 0;
    EXPECT_TRUE(map.update(1, [&](std::uint64_t v) {
        if (++calls == 1) {
            EXPECT_TRUE(map.assign(1, 20));
        }
        return v + 1;
    }));
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(map.find(1), 21U);
    calls = 0;
    EXPECT_FALSE(map.update(1, [&](std::uint64_t v) {
        ++calls;
        EXPECT_TRUE(map.erase(std::uint64_t{1}));
        return v + 1;
    }));
    EXPECT_EQ(calls, 1);
    EXPECT_TRUE(map.empty());
    calls = 0;
    EXPECT_EQ(map.compute(1, [&](value const* v) {
        if (++calls == 1) {
            EXPECT_EQ(v, nullptr);
            EXPECT_TRUE(map.insert(1, 5));
        }
        return v == nullptr ? weir::decision<value>::assign(0) : weir::decision<value>::erase();
    }), compute_result::erased);
    EXPECT_EQ(calls, 2);
}

TYPED_TEST(lock_free_map, an_iteration_may_change_the_map_that_it_walks) {
    using numbers = TypeParam;
    numbers map;
    for (std::uint64_t i = 0; i < 1000; ++i) {
        EXPECT_TRUE(map.insert(i, i));
    }
    std::map<std::uint64_t, int> seen;
    map.for_each([&](std::uint64_t const& key, std::uint64_t const& value) {
        if (key < 1000) {
            ++seen[key];
            EXPECT_EQ(map.find(key), value);
            EXPECT_TRUE(map.insert(key + 1000000, key));  // the table grows several times meanwhile
            EXPECT_TRUE(map.insert(key + 2000000, key));
            EXPECT_TRUE(map.insert(key + 3000000, key));
        }
    });
    EXPECT_EQ(seen.size(), 1000U);
    for (auto const& [key, times] : seen) {
        EXPECT_EQ(times, 1) << key;
    }
    EXPECT_EQ(map.size(), 4000U);
    map.for_each([&](std::uint64_t const& key, std::uint64_t const&) { EXPECT_TRUE(map.erase(key)); });
    EXPECT_TRUE(map.empty());
    EXPECT_TRUE(map.insert(1, 1));
    map.for_each([&](std::uint64_t const&, std::uint64_t const&) { map.clear(); });
    EXPECT_TRUE(map.empty());
    std::size_t pairs = 0;
    for (std::uint64_t i = 0; i < 20; ++i) {
        EXPECT_TRUE(map.insert(i, i));
    }
    map.for_each([&](std::uint64_t, std::uint64_t) { map.for_each([&](std::uint64_t, std::uint64_t) { ++pairs; }); });
    EXPECT_EQ(pairs, 400U);
}

TYPED_TEST(lock_free_map, passes_on_what_a_callback_throws_and_changes_nothing) {
    using numbers = TypeParam;
    using value = typename numbers::mapped_type;
    numbers map;
    EXPECT_TRUE(map.insert(1, 10));
    const auto fail = [](auto const&...) -> value { throw planned_fault{}; };
    const auto refuse = [](auto const&...) -> bool { throw planned_fault{}; };
    EXPECT_THROW(map.visit(1, fail), planned_fault);
    EXPECT_THROW(map.update(1, fail), planned_fault);
    EXPECT_THROW(map.upsert(1, 0, fail), planned_fault);
    EXPECT_THROW(map.insert_or_visit({1, 0}, fail), planned_fault);
    EXPECT_THROW(map.try_emplace_or_visit(1, 0, fail), planned_fault);
    EXPECT_THROW(map.erase_if(std::uint64_t{1}, refuse), planned_fault);
    EXPECT_THROW(map.compute(1, [](auto const*) -> weir::decision<value> { throw planned_fault{}; }), planned_fault);
    EXPECT_THROW(map.compute(2, [](auto const*) -> weir::decision<value> { throw planned_fault{}; }), planned_fault);
    EXPECT_THROW(map.for_each(fail), planned_fault);
    EXPECT_THROW(map.for_each_relaxed(fail), planned_fault);
    EXPECT_THROW(map.erase_if(refuse), planned_fault);
    EXPECT_THROW((void)map.find_or_create(2, fail), planned_fault);
    EXPECT_EQ(contents(map), (std::map<std::uint64_t, std::uint64_t>{{1, 10}}));
}

TYPED_TEST(lock_free_map, stays_right_when_one_key_comes_and_goes_for_long) {
    using numbers = TypeParam;
    numbers map({.capacity = 4});
    for (std::uint64_t i = 0; i < 200000; ++i) {
        ASSERT_TRUE(map.insert(1, i));
        ASSERT_EQ(map.find(1), i);
        ASSERT_TRUE(map.erase(std::uint64_t{1}));
    }
    EXPECT_TRUE(map.empty());
    EXPECT_LE(map.stats().buckets, 64U) << "it grew although it never held more than one entry";
}

// Many threads.

TYPED_TEST(lock_free_map, lets_exactly_one_of_many_insertions_win) {
    using numbers = TypeParam;
    numbers map;
    std::array<std::atomic<int>, 1000> winners{};
    run_together(4, [&](std::size_t thread) {
        for (std::uint64_t key = 0; key < winners.size(); ++key) {
            winners[key] += map.insert(key, thread) ? 1 : 0;
        }
    });
    for (auto const& each : winners) {
        EXPECT_EQ(each.load(), 1);
    }
    EXPECT_EQ(map.size(), winners.size());
    EXPECT_EQ(contents(map).size(), winners.size());
}

TYPED_TEST(lock_free_map, lets_exactly_one_of_many_erasures_win) {
    using numbers = TypeParam;
    numbers map;
    for (std::uint64_t key = 0; key < 2000; ++key) {
        EXPECT_TRUE(map.insert(key, key));
    }
    std::atomic<std::size_t> erased{0};
    std::atomic<std::uint64_t> sum{0};
    run_together(4, [&](std::size_t thread) {
        for (std::uint64_t key = 0; key < 2000; ++key) {
            if (thread % 2 == 0) {
                erased += map.erase(key) ? 1U : 0U;
            } else if (const auto value = map.extract(key)) {
                erased += 1;
                sum += *value == key ? 0 : 1;
            }
        }
    });
    EXPECT_EQ(erased.load(), 2000U);
    EXPECT_EQ(sum.load(), 0U);
    EXPECT_TRUE(map.empty());
}

TYPED_TEST(lock_free_map, loses_no_update) {
    using numbers = TypeParam;
    numbers map;
    run_together(4, [&](std::size_t) {
        for (std::uint64_t i = 0; i < 4000; ++i) {
            map.upsert(i % 16, 1, [](std::uint64_t v) { return v + 1; });
        }
    });
    for (std::uint64_t key = 0; key < 16; ++key) {
        EXPECT_EQ(map.find(key), 1000U);
    }
}
