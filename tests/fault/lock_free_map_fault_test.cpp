// weir (BSL-1.0). lock_free_map_fault_test: whatever fails, at whatever moment, loses nothing and leaves nothing behind.
#include <weir/data/lock_free_map.hpp>

#include "linearizability/map_history.hpp"
#include "support/counting_allocator.hpp"
#include "support/failing_new.hpp"
#include "support/faults.hpp"
#include "support/map_calls.hpp"
#include "support/map_storages.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/sweep.hpp"
#include "support/threads.hpp"
#include "support/values.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

// Three kinds of faults. planned_fault: the n-th time that the calling thread runs the user's code (hash, comparison, copy,
// callback). bad_alloc: the n-th allocation, through the map's allocator or through operator new.
// For each n, until the call gets through: what the call threw, the map is what it was before; then the call is made again,
// without a fault, and must do what it should.

namespace {

using namespace weir_test;
using number = std::uint64_t;

struct key_tag {};
struct value_tag {};
using faulty_key = tracked<key_tag, on_copy::throws>;
using faulty_value = tracked<value_tag, on_copy::throws>;
using rigid_value = tracked<value_tag, on_copy::throws, on_move::throws>;  // copied where others are moved

struct number_or_seven {
    bool constant = false;
    std::size_t operator()(faulty_key const& key) const noexcept { return constant ? 7 : key.number(); }
    std::size_t operator()(number key) const noexcept { return constant ? 7 : key; }
};
using faulty_hash = throwing_hash<faulty_key, number_or_seven>;
using faulty_equal = throwing_equal<faulty_key>;
template <class Value>
using faulty_map = weir::lock_free_map<faulty_key, Value, faulty_hash, faulty_equal,
                                       counting_allocator<std::pair<faulty_key const, Value>>>;
/// Pairs in slots: their hash and copies throw nothing, their comparison may.
using pair_map = weir::lock_free_map<number, number, number_or_seven, throwing_equal<number>,
                                     counting_allocator<std::pair<number const, number>>>;
using node_map = faulty_map<faulty_value>;
/// Values that are changed in place, in nodes: only their keys are copied.
using stamped_map = faulty_map<number>;
static_assert(in_slots<pair_map> && in_nodes<node_map> && in_stamped_nodes<stamped_map>);

/// Calls `f` with a type for each storage.
template <class Map>
struct storage {
    using map = Map;
};
template <class F>
void for_all_storages(F f) {
    {
        SCOPED_TRACE("nodes");
        f(storage<node_map>{});
    }
    {
        SCOPED_TRACE("stamped nodes");
        f(storage<stamped_map>{});
    }
    {
        SCOPED_TRACE("pairs");
        f(storage<pair_map>{});
    }
}

template <class Map>
Map on_book(ledger& book, bool constant_hash, double shrink_at = 0.125) {
    typename Map::hasher hash;
    if constexpr (in_slots<Map>) {
        hash.constant = constant_hash;
    } else {
        hash.inner.constant = constant_hash;
    }
    return Map({.seed = 3, .shrink_at = shrink_at}, hash, {}, counting_allocator<typename Map::value_type>(book));
}

/// What a map holds when the call under test comes.
struct setting {
    const char* name;
    std::size_t others;      // keys 1, 2, ... are there
    bool constant_hash;      // all in one bucket
    bool target_first;       // key 0 went in before the others, or after them
    std::size_t gone = 0;    // so many more keys were there, and are erased
};

/// How many insertions of 1, 2, ... make the table grow for the n-th time, under the seed that the tests use.
template <class Map>
std::size_t insertions_until_growth(std::uint64_t nth) {
    ledger book;
    Map map = on_book<Map>(book, false);
    for (number key = 1; key < 100'000; ++key) {
        map.try_emplace(typename Map::key_type(key), key);
        if (map.stats().growths >= nth) {
            return key;
        }
    }
    throw std::logic_error("the map does not grow");
}

template <class Map>
std::vector<setting> const& settings() {
    static const std::vector<setting> all = [] {
        const std::size_t grows = insertions_until_growth<Map>(3);
        const std::size_t grows_again = insertions_until_growth<Map>(4);
        return std::vector<setting>{
            {"empty", 0, false, true},
            {"few", 5, false, true},
            {"crowded, target among the first", 14, true, true},
            {"crowded, target among the last", 14, true, false},
            {"two before growth", grows - 2, false, true},
            {"one before growth", grows - 1, false, true},
            {"just growing", grows, false, false},
            {"growing", grows + 3, false, true},
            {"before the next growth", grows_again - 1, false, false},
            {"one before shrinking", 5, false, true, grows},
            {"just shrinking", 4, false, true, grows},
            {"shrinking, crowded", 17, true, false, grows},
        };
    }();
    return all;
}

/// One sweep's map, and all that there is to check about it.
template <class Map>
class patient {
public:
    using map_type = Map;
    using key_type = typename Map::key_type;
    using value_type = typename Map::mapped_type;

    patient(setting const& s, bool target_present) : map_(on_book<Map>(book_, s.constant_hash, s.gone == 0 ? 0.125 : 0.25)) {
        if (target_present && s.target_first) {
            map_.try_emplace(key_type(0), 1U);
        }
        for (number key = 1; key <= s.others + s.gone; ++key) {
            map_.try_emplace(key_type(key), key * 10);
        }
        for (number key = s.others + s.gone; key > s.others; --key) {
            map_.erase(key_type(key));
        }
        if (target_present && !s.target_first) {
            map_.try_emplace(key_type(0), 1U);
        }
        before_ = contents();
    }

    map_type& map() { return map_; }
    ledger& book() { return book_; }
    [[nodiscard]] std::map<number, number> const& before() const { return before_; }

    [[nodiscard]] std::map<number, number> contents() {
        std::map<number, number> all;
        map_.for_each([&](key_type const& key, value_type const& value) {
            EXPECT_TRUE(all.emplace(number_in(key), number_in(value)).second) << "twice: " << number_in(key);
        });
        EXPECT_EQ(map_.size(), all.size());
        const auto shape = map_.stats();
        EXPECT_LE(shape.longest_chain, all.size()) << "something erased still has its place";
        EXPECT_LE(shape.overflowed, all.size()) << "something erased is still in an overflow block";
        return all;
    }
    void expect_unchanged() {
        EXPECT_EQ(contents(), before_);
        EXPECT_EQ(map_.contains(key_type(0)), before_.contains(0));
        EXPECT_TRUE(map_.visit(key_type(1), [](value_type const& v) { EXPECT_EQ(number_in(v), 10U); }) || !before_.contains(1));
    }

private:
    ledger book_;
    map_type map_;
    std::map<number, number> before_;
};

void reset_census() {
    census<key_tag>::reset();
    census<value_tag>::reset();
}
void expect_nobody_alive() {
    EXPECT_EQ(census<key_tag>::alive.load(), 0) << "keys leaked";
    EXPECT_EQ(census<value_tag>::alive.load(), 0) << "values leaked";
    EXPECT_EQ(census<key_tag>::misuses.load(), 0) << "dead keys were used";
    EXPECT_EQ(census<value_tag>::misuses.load(), 0) << "dead values were used";
}

/// One run of the sweep: the map is as it was, or as the call should leave it, and works on.
template <class Map>
void fail_once(sweep_run& run, setting const& s, bool present, map_action const& action) {
    reset_census();
    {
        patient<Map> p(s, present);
        map_entry entry{present ? std::optional<number>(1) : std::nullopt};
        map_action first = action;
        if (run.threw([&] { make_call(p.map(), first); })) {
            p.expect_unchanged();
            map_action second = action;
            make_call(p.map(), second);
            EXPECT_TRUE(entry.step(second)) << second;
        } else {
            EXPECT_TRUE(entry.step(first)) << first;
        }
        std::map<number, number> after = p.before();
        after.erase(0);
        if (entry.value) {
            after[0] = *entry.value;
        }
        EXPECT_EQ(p.contents(), after);
        for (number key = 5000; key < 5030; ++key) {  // and it works on
            EXPECT_TRUE(p.map().try_emplace(typename Map::key_type(key), key));
        }
        EXPECT_EQ(p.contents().size(), after.size() + 30);
    }
    expect_nobody_alive();
}

/// Makes `call` on key 0 with the fault at every point, in every setting. Returns how often the call threw.
template <class Map>
std::size_t sweep(fault kind, map_call call) {
    std::size_t thrown = 0;
    for (setting const& s : settings<Map>()) {
        for (const bool present : {false, true}) {
            for (const plan asked : {plan::keep, plan::assign, plan::erase}) {
                if (call != map_call::compute && asked != plan::keep) {
                    continue;
                }
                SCOPED_TRACE(std::string(s.name) + (present ? ", key present" : ", key absent"));
                map_action action;
                action.call = call;
                action.value = 1001;
                action.expected = 1;
                action.asked = asked;
                thrown += for_each_fault(kind, [&](sweep_run& run) { fail_once<Map>(run, s, present, action); }).thrown;
                if (testing::Test::HasFailure()) {
                    return thrown;
                }
            }
        }
    }
    return thrown;
}

/// Whether a call must allocate when its key is absent.
bool inserts(map_call call) {
    using enum map_call;
    return call == insert || call == insert_or_assign || call == insert_or_visit || call == exchange || call == upsert ||
           call == compute || call == find_or_create;
}

class lock_free_map_fault : public testing::TestWithParam<std::uint64_t> {};
const char* const call_names[] = {"find", "contains", "visit", "insert", "insert_or_assign", "assign", "insert_or_visit",
    "exchange", "compare_exchange", "erase", "extract", "compare_erase", "erase_if", "update", "upsert", "compute",
    "find_or_create"};
INSTANTIATE_TEST_SUITE_P(call, lock_free_map_fault, testing::Range<std::uint64_t>(0, map_calls),
                         [](auto const& tested) { return std::string(call_names[tested.param]); });

}  // namespace

TEST_P(lock_free_map_fault, user_code_that_throws_anywhere_leaves_the_map_as_it_was) {
    EXPECT_GE(sweep<node_map>(fault::user_code, static_cast<map_call>(GetParam())), 2 * settings<node_map>().size())
        << "each call needs the hash at least";
    EXPECT_GE(sweep<stamped_map>(fault::user_code, static_cast<map_call>(GetParam())), 2 * settings<stamped_map>().size());
}

TEST_P(lock_free_map_fault, values_whose_moves_throw_leave_the_map_as_it_was) {
    EXPECT_GE(sweep<faulty_map<rigid_value>>(fault::user_code, static_cast<map_call>(GetParam())), 2 * settings<node_map>().size());
}

TEST_P(lock_free_map_fault, an_allocation_that_fails_anywhere_leaves_the_map_as_it_was) {
    const auto call = static_cast<map_call>(GetParam());
    EXPECT_GE(sweep<node_map>(fault::allocator, call), inserts(call) ? settings<node_map>().size() : 0U);
    EXPECT_GE(sweep<stamped_map>(fault::allocator, call), inserts(call) ? settings<stamped_map>().size() / 2 : 0U);
    // A pair needs memory where there is no table yet, its bucket is full, or the table is growing.
    EXPECT_GE(sweep<pair_map>(fault::allocator, call), inserts(call) ? 3U : 0U);
}

TEST_P(lock_free_map_fault, comparisons_of_pairs_that_throw_anywhere_leave_the_map_as_it_was) {
    EXPECT_GE(sweep<pair_map>(fault::user_code, static_cast<map_call>(GetParam())), settings<pair_map>().size())
        << "a key that is there is compared";
}

TEST_P(lock_free_map_fault, an_operator_new_that_fails_anywhere_leaves_the_map_as_it_was) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    const auto call = static_cast<map_call>(GetParam());
    EXPECT_GE(sweep<node_map>(fault::operator_new, call), inserts(call) ? settings<node_map>().size() : 0U);
    EXPECT_GE(sweep<pair_map>(fault::operator_new, call), inserts(call) ? 3U : 0U);
}

// The calls that a thread makes first find nothing prepared for the thread.
TEST_P(lock_free_map_fault, the_first_call_of_a_thread_may_fail_for_lack_of_memory) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    const auto call = static_cast<map_call>(GetParam());
    for_each_fault(fault::operator_new, [&](sweep_run& run) {
        reset_census();
        {
            patient<node_map> p(settings<node_map>()[1], true);
            map_action action;
            action.call = call;
            action.value = 1001;
            action.expected = 1;
            crew one;
            one.start([&] { run.threw([&] { make_call(p.map(), action); }); });
            one.join();
            if (run.let_out()) {
                p.expect_unchanged();
            }
            map_action again = action;
            make_call(p.map(), again);
            EXPECT_EQ(p.contents().size(), p.before().size() - (p.contents().contains(0) ? 0U : 1U));
        }
        expect_nobody_alive();
    });
}

namespace {

/// Inserts 1, 2, ... `count`, again and again until each is in; `prepare` is called before each insertion.
template <class Map, class Prepare>
std::size_t insert_all(Map& map, std::size_t count, Prepare prepare) {
    std::size_t failures = 0;
    for (number key = 1; key <= count; ++key) {
        for (bool in = false; !in;) {
            prepare(key);
            try {
                in = map.try_emplace(typename Map::key_type(key), key * 10);
                EXPECT_TRUE(in) << key << " was there although its insertion failed";
            } catch (std::bad_alloc const&) {
                ++failures;
                EXPECT_FALSE(map.contains(typename Map::key_type(key))) << key;
                EXPECT_EQ(map.size(), key - 1);
            }
            if (testing::Test::HasFailure()) {
                return failures;
            }
        }
    }
    return failures;
}

/// Inserts from + 1 ... to, with nothing to fail.
template <class Map>
void insert_all_again(Map& map, number from, number to) {
    for (number key = from + 1; key <= to; ++key) {
        ASSERT_TRUE(map.try_emplace(typename Map::key_type(key), key * 10)) << key;
    }
}

template <class Map>
void expect_all(Map const& map, std::size_t count) {
    std::size_t seen = 0;
    map.for_each([&](auto const& key, auto const& value) {
        EXPECT_EQ(number_in(value), number_in(key) * 10);
        ++seen;
    });
    EXPECT_EQ(seen, count);
    for (number key = 1; key <= count; ++key) {
        ASSERT_TRUE(map.contains(typename Map::key_type(key))) << key;
    }
}

}  // namespace

TEST(lock_free_map_fault, growth_survives_the_failure_of_each_single_allocation) {
    for_all_storages([](auto of) {
        using map_type = typename decltype(of)::map;
        const std::size_t count = scaled(300, 100);
        bool came = true;
        for (std::size_t nth = 1; came; ++nth) {
            SCOPED_TRACE("allocation " + std::to_string(nth));
            reset_census();
            {
                patient<map_type> p({"empty", 0, false, true}, false);
                p.book().refuse(nth);
                insert_all(p.map(), count, [](number) {});
                came = p.book().refusals() != 0;
                p.book().refuse(0);
                expect_all(p.map(), count);
                p.map().quiesce();
                EXPECT_EQ(census<value_tag>::alive.load(), !in_nodes<map_type> ? 0 : static_cast<std::int64_t>(count));
            }
            expect_nobody_alive();
            ASSERT_FALSE(testing::Test::HasFailure());
        }
    });
}

TEST(lock_free_map_fault, every_other_allocation_may_fail_for_as_long_as_it_likes) {
    for_all_storages([](auto of) {
        using map_type = typename decltype(of)::map;
        using key_type = typename map_type::key_type;
        reset_census();
        {
            const std::size_t count = scaled(5000, 500);
            patient<map_type> p({"empty", 0, false, true}, false);
            random_numbers dice(run_seed());
            const std::size_t failures = insert_all(p.map(), count, [&](number) { p.book().refuse(dice.below(4)); });
            EXPECT_GT(failures, in_slots<map_type> ? count / 100 : count / 10);
            p.book().refuse(0);
            expect_all(p.map(), count);
            for (number key = 1; key <= count; ++key) {
                for (bool gone = false; !gone;) {
                    p.book().refuse(dice.below(3));
                    try {
                        gone = p.map().erase(key_type(key));
                        EXPECT_TRUE(gone) << key;
                    } catch (std::bad_alloc const&) {
                        EXPECT_TRUE(p.map().contains(key_type(key))) << key;
                    }
                }
            }
            p.book().refuse(0);
            EXPECT_TRUE(p.map().empty());
        }
        expect_nobody_alive();
    });
}

TEST(lock_free_map_fault, lookups_and_iteration_work_while_there_is_no_memory_at_all) {
    for_all_storages([](auto of) {
        using map_type = typename decltype(of)::map;
        using key_type = typename map_type::key_type;
        reset_census();
        {
            const std::size_t count = insertions_until_growth<map_type>(6);
            patient<map_type> p({"growing", count, false, true}, false);
            p.book().refuse(1, true);
            if constexpr (!in_slots<map_type>) {
                EXPECT_THROW((void)p.map().try_emplace(key_type(1'000'000), 0U), std::bad_alloc);
            }
            expect_all(p.map(), count);
            EXPECT_TRUE(p.map().visit(key_type(1), [](auto const& v) { EXPECT_EQ(number_in(v), 10U); }));
            EXPECT_EQ(number_in(*p.map().find(key_type(2))), 20U);
            EXPECT_FALSE(p.map().contains(key_type(1'000'000)));
            EXPECT_EQ(p.map().stats().size, count);
            p.book().refuse(0);
            EXPECT_TRUE(p.map().try_emplace(key_type(1'000'000), 10'000'000U));
            EXPECT_EQ(p.map().size(), count + 1);
        }
        expect_nobody_alive();
    });
}

TEST(lock_free_map_fault, a_table_that_cannot_be_paid_for_is_put_off_and_counted) {
    for_all_storages([](auto of) {
        using map_type = typename decltype(of)::map;
        using key_type = typename map_type::key_type;
        reset_census();
        {
            patient<map_type> p({"empty", 0, false, true}, false);
            const std::size_t before = scaled(2000, 500);
            insert_all(p.map(), before, [](number) {});
            EXPECT_EQ(p.map().stats().failed_growths, 0U);
            p.book().refuse_above(2048);  // enough for an entry, not for a piece of a table
            std::size_t in = before;
            for (number key = before + 1; key <= 2 * before; ++key) {
                try {
                    EXPECT_TRUE(p.map().try_emplace(key_type(key), key * 10));
                    in = key;
                } catch (std::bad_alloc const&) {
                    EXPECT_FALSE(p.map().contains(key_type(key)));
                    break;
                }
            }
            EXPECT_EQ(in, 2 * before) << "an insertion failed although only the growth could not be paid for";
            EXPECT_GT(p.map().stats().failed_growths, 0U);
            expect_all(p.map(), in);
            p.book().refuse_above(~std::size_t{0});
            for (number key = in + 1; key <= 8 * before; ++key) {
                ASSERT_TRUE(p.map().try_emplace(key_type(key), key * 10));
            }
            expect_all(p.map(), 8 * before);
            EXPECT_LE(p.map().stats().longest_chain, 32U) << "it never caught up";
        }
        expect_nobody_alive();
    });
}

TEST(lock_free_map_fault, reserve_that_fails_leaves_the_map_as_it_was) {
    for_all_storages([](auto of) {
        using map_type = typename decltype(of)::map;
        using key_type = typename map_type::key_type;
        for (const fault kind : {fault::allocator, fault::operator_new}) {
            for_each_fault(kind, [](sweep_run& run) {
                reset_census();
                {
                    patient<map_type> p(settings<map_type>()[4], true);
                    run.threw([&] { p.map().reserve(3000); });
                    p.expect_unchanged();
                    for (number key = 10'000; key < 11'000; ++key) {
                        EXPECT_TRUE(p.map().try_emplace(key_type(key), key));
                    }
                    EXPECT_EQ(p.contents().size(), p.before().size() + 1000);
                }
                expect_nobody_alive();
            }, 2000);
        }
    });
}

TEST(lock_free_map_fault, shrinking_survives_the_failure_of_each_single_allocation) {
    for_all_storages([](auto of) {
        using map_type = typename decltype(of)::map;
        using key_type = typename map_type::key_type;
        const number count = scaled(300, 150);
        constexpr number left = 10;
        bool came = true;
        for (std::size_t nth = 1; came; ++nth) {
            SCOPED_TRACE("allocation " + std::to_string(nth));
            reset_census();
            {
                patient<map_type> p({"shrinking", left, false, true, 1}, false);  // gone: it shrinks eagerly
                for (number key = left + 1; key <= count; ++key) {
                    ASSERT_TRUE(p.map().try_emplace(key_type(key), key * 10));
                }
                p.map().quiesce();
                p.book().refuse(nth);
                for (number key = count; key > left; --key) {
                    for (bool gone = false; !gone;) {
                        try {
                            gone = p.map().erase(key_type(key));
                            EXPECT_TRUE(gone) << key;
                        } catch (std::bad_alloc const&) {
                            EXPECT_TRUE(p.map().contains(key_type(key))) << key;
                            EXPECT_EQ(p.map().size(), key);
                        }
                        ASSERT_FALSE(testing::Test::HasFailure());
                    }
                }
                came = p.book().refusals() != 0;
                p.book().refuse(0);
                p.map().quiesce();
                expect_all(p.map(), left);
                EXPECT_GT(p.map().stats().shrinks, 0U);
                EXPECT_EQ(census<value_tag>::alive.load(), !in_nodes<map_type> ? 0 : static_cast<std::int64_t>(left));
                insert_all_again(p.map(), left, count);
                expect_all(p.map(), count);
            }
            expect_nobody_alive();
            ASSERT_FALSE(testing::Test::HasFailure());
        }
    });
}

TEST(lock_free_map_fault, shrink_to_fit_that_fails_leaves_the_map_as_it_was) {
    for_all_storages([](auto of) {
        using map_type = typename decltype(of)::map;
        using key_type = typename map_type::key_type;
        for (const bool crowded : {false, true}) {
            for (const fault kind : {fault::allocator, fault::operator_new}) {
                if (kind == fault::operator_new && !news_can_fail) {
                    continue;
                }
                std::size_t shrinks = 0;
                const auto swept = for_each_fault(kind, [&](sweep_run& run) {
                    reset_census();
                    {
                        patient<map_type> p({"large", 60, crowded, true}, true);
                        p.map().reserve(3000);
                        run.threw([&] { p.map().shrink_to_fit(); });
                        p.expect_unchanged();
                        for (number key = 10'000; key < 10'100; ++key) {
                            EXPECT_TRUE(p.map().try_emplace(key_type(key), key));
                        }
                        EXPECT_EQ(p.contents().size(), p.before().size() + 100);
                        for (number key = 10'000; key < 10'100; ++key) {
                            EXPECT_TRUE(p.map().erase(key_type(key)));
                        }
                        p.map().shrink_to_fit();
                        p.expect_unchanged();
                        EXPECT_LE(p.map().stats().buckets, 32U);
                        shrinks += p.map().stats().shrinks;
                    }
                    expect_nobody_alive();
                }, 2000);
                EXPECT_GT(swept.points, 5U);
                EXPECT_GT(shrinks, swept.points);
            }
        }
    });
}

TEST(lock_free_map_fault, a_crowded_bucket_whose_move_fails_keeps_its_slots) {
    for_all_storages([](auto of) {
        using map_type = typename decltype(of)::map;
        using key_type = typename map_type::key_type;
        constexpr number two_tables = 19;  // more than four buckets hold, fewer than eight do
        for (const bool grows : {true, false}) {
            SCOPED_TRACE(grows ? "growing" : "shrinking");
            for (const fault kind : {fault::allocator, fault::operator_new}) {
                if (kind == fault::operator_new && !news_can_fail) {
                    continue;
                }
                std::size_t in_the_move = 0;
                for_each_fault(kind, [&](sweep_run& run) {
                    reset_census();
                    {
                        patient<map_type> p({"crowded", 14, true, true}, false);
                        const auto resize = [&](bool to_more) { to_more ? p.map().reserve(two_tables) : p.map().shrink_to_fit(); };
                        if (!grows) {
                            resize(true);
                        }
                        const auto tables = [&] { return p.map().stats().growths + p.map().stats().shrinks; };
                        const auto before = tables();
                        bool threw = false;
                        crew one;  // a thread of its own has to allocate its hazard pointers
                        one.start([&] { threw = run.threw([&] { resize(grows); }); });
                        one.join();
                        in_the_move += threw && tables() > before ? 1U : 0U;
                        p.expect_unchanged();
                        resize(grows);
                        EXPECT_EQ(tables(), before + 1);
                        p.expect_unchanged();
                        for (auto const& each : p.before()) {
                            EXPECT_TRUE(p.map().erase(key_type(each.first)));
                        }
                        for (number key = 1; key <= 6; ++key) {
                            EXPECT_TRUE(p.map().try_emplace(key_type(key), key));
                        }
                        EXPECT_EQ(p.map().stats().overflowed, 0U) << "slots are lost";
                    }
                    expect_nobody_alive();
                }, 2000);
                EXPECT_TRUE(in_the_move > 0 || kind == fault::operator_new || testing::Test::HasFailure());
            }
        }
    });
}

TEST(lock_free_map_fault, a_smaller_table_that_cannot_be_paid_for_is_put_off_and_counted) {
    for_all_storages([](auto of) {
        using map_type = typename decltype(of)::map;
        using key_type = typename map_type::key_type;
        reset_census();
        {
            patient<map_type> p({"shrinking", 0, false, true, 1}, false);
            const number count = scaled(4000, 2000);
            insert_all_again(p.map(), 0, count);
            p.map().quiesce();
            const auto before = p.map().stats();
            p.book().refuse(1, true);
            number key = count;
            for (; key > count / 8; --key) {
                try {
                    EXPECT_TRUE(p.map().erase(key_type(key)));
                } catch (std::bad_alloc const&) {  // it stood in an overflow block
                    EXPECT_TRUE(p.map().contains(key_type(key)));
                    p.book().refuse(0);
                    EXPECT_TRUE(p.map().erase(key_type(key)));
                    p.book().refuse(1, true);
                }
            }
            EXPECT_GT(p.map().stats().failed_growths, before.failed_growths);
            p.book().refuse(0);
            expect_all(p.map(), key);
            for (; key > 10; --key) {
                ASSERT_TRUE(p.map().erase(key_type(key)));
            }
            p.map().quiesce();
            expect_all(p.map(), key);
            EXPECT_GE(p.map().stats().shrinks, before.shrinks + 3);
            EXPECT_LE(p.map().stats().buckets, before.buckets / 8) << "it never caught up";
        }
        expect_nobody_alive();
    });
}

TEST(lock_free_map_fault, a_constructor_that_cannot_get_its_capacity_leaves_nothing) {
    const auto swept = for_each_fault(fault::allocator, [](sweep_run& run) {
        ledger book;
        run.threw([&] {
            node_map({.capacity = 5000}, {}, {}, counting_allocator<node_map::value_type>(book));
        });
        EXPECT_TRUE(book.settled()) << book;
    }, 1000);
    EXPECT_GE(swept.thrown, 1U);
}

TEST(lock_free_map_fault, whole_map_calls_that_throw_lose_nothing_that_they_had_not_accepted) {
    reset_census();
    for (std::size_t nth = 1; nth <= 40; ++nth) {
        SCOPED_TRACE(nth);
        patient<node_map> p({"some", 40, false, true}, false);
        std::size_t calls = 0;
        const auto at_nth = [&](auto const&...) {
            if (++calls == nth) {
                throw planned_fault{};
            }
            return true;
        };
        EXPECT_THROW(p.map().for_each(at_nth), planned_fault);
        EXPECT_EQ(calls, nth);
        calls = 0;
        EXPECT_THROW(p.map().for_each_relaxed(at_nth), planned_fault);
        p.expect_unchanged();
        calls = 0;
        std::map<number, number> accepted;
        EXPECT_THROW(p.map().erase_if([&](faulty_key const& key, faulty_value const& value) {
            at_nth();
            accepted[key.number()] = value.number();
            return true;
        }), planned_fault);
        std::map<number, number> left = p.before();
        for (auto const& each : accepted) {
            left.erase(each.first);
        }
        EXPECT_EQ(p.contents(), left);
        EXPECT_EQ(left.size(), 40 - (nth - 1));
        p.map().clear();
        EXPECT_TRUE(p.map().empty());
    }
    expect_nobody_alive();
}

TEST(lock_free_map_fault, a_waiting_creator_survives_the_failure_of_the_one_it_waits_for) {
    for (int round = 0; round < 50; ++round) {
        reset_census();
        {
            patient<node_map> p(settings<node_map>()[1], false);
            gate inside;
            std::atomic<int> made{0};
            crew two;
            two.start([&] {
                EXPECT_THROW((void)p.map().find_or_create(faulty_key(0), [&]() -> faulty_value {
                    inside.open();
                    stumble(2);
                    throw planned_fault{};
                }), planned_fault);
            });
            two.start([&] {
                EXPECT_TRUE(inside.wait());
                EXPECT_EQ(p.map().find_or_create(faulty_key(0), [&] {
                    made += 1;
                    return faulty_value(5);
                }).number(), 5U);
            });
            two.join();
            EXPECT_EQ(made.load(), 1);
            EXPECT_EQ(p.contents().at(0), 5U);
        }
        expect_nobody_alive();
    }
}

TEST(lock_free_map_fault, faults_of_many_threads_at_once_lose_nothing) {
    reset_census();
    {
        patient<node_map> p({"empty", 0, false, true}, false);
        constexpr number keys = 20;
        std::array<std::atomic<number>, keys> counted{};
        std::atomic<std::size_t> thrown{0};
        std::atomic<std::size_t> fillers{0};
        const std::size_t each = scaled(20000);
        run_together(6, [&](std::size_t i) {
            random_numbers dice(run_seed() + i);
            for (std::size_t n = 0; n < each; ++n) {
                const number key = dice.below(keys);
                const std::uint64_t luck = dice.below(8);
                if (luck == 0) {
                    faults::arm(1 + dice.below(6));
                } else if (luck == 1) {
                    faults::arm(1 + dice.below(3), fault::operator_new);
                } else if (luck == 2) {
                    p.book().refuse(1 + dice.below(3));  // of whoever comes third
                }
                try {
                    if (n % 8 == 7) {
                        fillers += p.map().try_emplace(faulty_key(1000 + dice.below(20000)), n) ? 1U : 0U;
                    } else {
                        p.map().upsert(faulty_key(key), faulty_value(1),
                                       throwing_callback([](faulty_value const& v) { return faulty_value(v.number() + 1); }));
                        counted[key] += 1;
                    }
                } catch (planned_fault const&) {
                    thrown += 1;
                } catch (std::bad_alloc const&) {
                    thrown += 1;
                }
                faults::disarm();
            }
        });
        p.book().refuse(0);
        EXPECT_GT(thrown.load(), each / 10);
        for (number key = 0; key < keys; ++key) {
            EXPECT_TRUE(p.map().visit(faulty_key(key), [&](faulty_value const& v) {
                EXPECT_EQ(v.number(), counted[key].load());
            }));
        }
        EXPECT_EQ(p.contents().size(), keys + fillers.load());
        p.map().quiesce();
        EXPECT_EQ(census<value_tag>::alive.load(), static_cast<std::int64_t>(keys + fillers.load()));
    }
    expect_nobody_alive();
}
