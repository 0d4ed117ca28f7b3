// weir (BSL-1.0). linearizability_test: the judge of histories accepts what it must and refuses what it must.
#include "support/linearizability.hpp"
#include "support/map_history.hpp"
#include "support/random.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace weir_test;
using history = std::vector<map_timed_call>;

map_timed_call call(std::uint32_t thread, std::uint64_t called, std::uint64_t returned, map_action action) {
    return {called, returned, thread, action};
}
map_action find(std::optional<std::uint64_t> seen) { return {.call = map_call::find, .seen = seen}; }
map_action insert(std::uint64_t value, bool yes) { return {.call = map_call::insert, .value = value, .yes = yes}; }
map_action assign(std::uint64_t value, bool yes) { return {.call = map_call::assign, .value = value, .yes = yes}; }
map_action erase(bool yes) { return {.call = map_call::erase, .yes = yes}; }
map_action update(std::uint64_t seen, std::uint64_t value) {
    return {.call = map_call::update, .value = value, .yes = true, .seen = seen};
}
map_action swap(std::uint64_t expected, std::uint64_t value, bool yes) {
    return {.call = map_call::compare_exchange, .value = value, .expected = expected, .yes = yes};
}

verdict judged(history const& h) { return judge(h, map_entry{}).is; }

}  // namespace

TEST(linearizability, accepts_an_empty_history) {
    EXPECT_EQ(judged({}), verdict::linearizable);
}

TEST(linearizability, accepts_calls_that_follow_one_another) {
    EXPECT_EQ(judged({call(0, 0, 1, insert(7, true)), call(1, 2, 3, find(7)), call(0, 4, 5, erase(true)),
                      call(1, 6, 7, find(std::nullopt))}),
              verdict::linearizable);
}

TEST(linearizability, accepts_either_order_of_overlapping_calls) {
    EXPECT_EQ(judged({call(0, 0, 10, insert(7, true)), call(1, 1, 9, find(7))}), verdict::linearizable);
    EXPECT_EQ(judged({call(0, 0, 10, insert(7, true)), call(1, 1, 9, find(std::nullopt))}), verdict::linearizable);
}

TEST(linearizability, accepts_calls_whose_readings_are_equal_in_either_order) {
    EXPECT_EQ(judged({call(0, 0, 5, insert(7, true)), call(1, 5, 9, find(std::nullopt))}), verdict::linearizable);
    EXPECT_EQ(judged({call(0, 0, 5, insert(7, true)), call(1, 5, 9, find(7))}), verdict::linearizable);
}

TEST(linearizability, goes_back_on_a_first_choice_that_leads_nowhere) {
    // Only find -> assign -> erase -> insert works out, and the calls are given in another order.
    EXPECT_EQ(judged({call(9, 0, 1, insert(1, true)), call(0, 10, 50, insert(4, true)), call(1, 10, 50, erase(true)),
                      call(2, 10, 50, assign(2, true)), call(3, 10, 50, find(1)), call(9, 60, 61, find(4))}),
              verdict::linearizable);
}

TEST(linearizability, refuses_a_stale_read) {
    EXPECT_EQ(judged({call(0, 0, 1, insert(7, true)), call(0, 2, 3, assign(8, true)), call(1, 4, 5, find(7))}),
              verdict::refuted);
}

TEST(linearizability, refuses_a_value_that_nobody_stored) {
    EXPECT_EQ(judged({call(0, 0, 10, insert(7, true)), call(1, 1, 9, find(6))}), verdict::refuted);
}

TEST(linearizability, refuses_two_winners_of_one_insertion) {
    EXPECT_EQ(judged({call(0, 0, 10, insert(7, true)), call(1, 1, 9, insert(8, true))}), verdict::refuted);
}

TEST(linearizability, refuses_two_winners_of_one_erasure) {
    EXPECT_EQ(judged({call(0, 0, 1, insert(7, true)), call(0, 2, 10, erase(true)), call(1, 2, 10, erase(true))}),
              verdict::refuted);
}

TEST(linearizability, refuses_a_lost_update) {
    EXPECT_EQ(judged({call(0, 0, 1, insert(7, true)), call(0, 2, 10, update(7, 8)), call(1, 3, 9, update(7, 8))}),
              verdict::refuted);
    EXPECT_EQ(judged({call(0, 0, 1, insert(7, true)), call(0, 2, 10, update(7, 8)), call(1, 3, 9, update(8, 9))}),
              verdict::linearizable);
}

TEST(linearizability, refuses_a_compare_exchange_that_fails_though_the_value_never_differed) {
    EXPECT_EQ(judged({call(0, 0, 1, insert(7, true)), call(1, 2, 3, swap(7, 8, false))}), verdict::refuted);
    EXPECT_EQ(judged({call(0, 0, 1, insert(7, true)), call(1, 2, 3, swap(7, 8, true))}), verdict::linearizable);
}

TEST(linearizability, refuses_an_erased_entry_that_comes_back) {
    EXPECT_EQ(judged({call(0, 0, 1, insert(7, true)), call(0, 2, 3, erase(true)), call(1, 4, 5, find(std::nullopt)),
                      call(2, 6, 7, find(7))}),
              verdict::refuted);
}

TEST(linearizability, refuses_two_readers_that_disagree_about_the_order_of_two_writes) {
    EXPECT_EQ(judged({call(0, 0, 1, insert(1, true)), call(0, 10, 50, assign(2, true)), call(1, 10, 50, assign(3, true)),
                      call(2, 11, 12, find(2)), call(2, 13, 14, find(3)), call(3, 11, 12, find(3)),
                      call(3, 13, 14, find(2))}),
              verdict::refuted);
}

TEST(linearizability, knows_what_each_call_of_a_map_may_do) {
    struct example {
        std::optional<std::uint64_t> before;
        map_action action;
        bool allowed;
        std::optional<std::uint64_t> after;
    };
    using enum map_call;
    const std::vector<example> examples{
        {{}, {.call = contains, .yes = false}, true, {}},
        {5, {.call = contains, .yes = false}, false, 5},
        {5, {.call = visit, .yes = true, .seen = 5}, true, 5},
        {5, {.call = visit, .yes = true, .seen = 4}, false, 5},
        {5, {.call = map_call::insert, .value = 6, .yes = false}, true, 5},
        {{}, {.call = map_call::insert, .value = 6, .yes = false}, false, {}},
        {5, {.call = insert_or_assign, .value = 6, .yes = false}, true, 6},
        {{}, {.call = insert_or_assign, .value = 6, .yes = true}, true, 6},
        {5, {.call = insert_or_assign, .value = 6, .yes = true}, false, 5},
        {{}, {.call = map_call::assign, .value = 6, .yes = false}, true, {}},
        {5, {.call = insert_or_visit, .value = 6, .yes = false, .seen = 5}, true, 5},
        {5, {.call = insert_or_visit, .value = 6, .yes = false, .seen = 6}, false, 5},
        {{}, {.call = insert_or_visit, .value = 6, .yes = true}, true, 6},
        {{}, {.call = exchange, .value = 6}, true, 6},
        {5, {.call = exchange, .value = 6, .seen = 5}, true, 6},
        {5, {.call = exchange, .value = 6}, false, 5},
        {{}, {.call = compare_exchange, .value = 6, .expected = 5, .yes = false}, true, {}},
        {{}, {.call = compare_exchange, .value = 6, .expected = 5, .yes = true}, false, {}},
        {5, {.call = extract, .seen = 5}, true, {}},
        {5, {.call = extract}, false, 5},
        {5, {.call = compare_erase, .expected = 4, .yes = false}, true, 5},
        {5, {.call = compare_erase, .expected = 5, .yes = true}, true, {}},
        {5, {.call = compare_erase, .expected = 5, .yes = false}, false, 5},
        {5, {.call = erase_if_odd, .yes = true}, true, {}},
        {4, {.call = erase_if_odd, .yes = false}, true, 4},
        {4, {.call = erase_if_odd, .yes = true}, false, 4},
        {{}, {.call = map_call::update, .yes = false}, true, {}},
        {{}, {.call = upsert, .value = 6, .yes = true}, true, 6},
        {5, {.call = upsert, .value = 6, .yes = false, .seen = 5}, true, 6},
        {5, {.call = upsert, .value = 6, .yes = true}, false, 5},
        {5, {.call = compute, .value = 6, .seen = 5, .asked = plan::assign, .done = effect::assigned}, true, 6},
        {{}, {.call = compute, .value = 6, .asked = plan::assign, .done = effect::inserted}, true, 6},
        {5, {.call = compute, .seen = 5, .asked = plan::erase, .done = effect::erased}, true, {}},
        {{}, {.call = compute, .asked = plan::erase, .done = effect::unchanged}, true, {}},
        {5, {.call = compute, .seen = 5, .asked = plan::keep, .done = effect::unchanged}, true, 5},
        {5, {.call = compute, .seen = 5, .asked = plan::keep, .done = effect::erased}, false, 5},
        {5, {.call = compute, .asked = plan::keep, .done = effect::unchanged}, false, 5},
        {5, {.call = find_or_create, .value = 6, .seen = 5}, true, 5},
        {5, {.call = find_or_create, .value = 6, .seen = 6}, false, 5},
        {{}, {.call = find_or_create, .value = 6, .seen = 6}, true, 6},
        {{}, {.call = find_or_create, .value = 6, .seen = 5}, false, {}},
    };
    for (auto const& each : examples) {
        map_entry entry{each.before};
        const bool allowed = entry.step(each.action);
        EXPECT_EQ(allowed, each.allowed) << each.action;
        if (allowed) {
            EXPECT_EQ(entry.value, each.after) << each.action;
        }
    }
}

TEST(linearizability, says_where_no_order_could_be_continued) {
    const history h{call(0, 0, 1, insert(7, true)), call(0, 2, 3, assign(8, true)), call(1, 4, 5, find(7))};
    const auto found = judge(h, map_entry{});
    EXPECT_EQ(found.deepest, (std::vector<std::size_t>{0, 1}));
}

TEST(linearizability, gives_up_when_its_budget_is_spent) {
    history h;
    for (std::uint32_t t = 0; t < 10; ++t) {
        h.push_back(call(t, 0, 100, assign(t, false)));
    }
    h.push_back(call(99, 0, 100, find(5)));
    EXPECT_EQ(judge(h, map_entry{}, 50).is, verdict::undecided);
    EXPECT_EQ(judge(h, map_entry{}).is, verdict::refuted);
}

TEST(linearizability, refuses_to_judge_a_thread_that_was_in_two_places) {
    EXPECT_THROW((void)judge(history{call(0, 0, 5, insert(7, true)), call(0, 4, 9, find(7))}, map_entry{}),
                 std::invalid_argument);
    EXPECT_THROW((void)judge(history{call(0, 5, 4, insert(7, true))}, map_entry{}), std::invalid_argument);
}

TEST(linearizability, judges_each_key_on_its_own_and_names_the_bad_one) {
    history h;
    for (std::uint64_t key = 0; key < 5; ++key) {
        auto store = insert(key, true);
        auto look = find(key == 3 ? 99 : key);
        store.key = look.key = key;
        h.push_back(call(0, key * 10, key * 10 + 1, store));
        h.push_back(call(1, key * 10 + 2, key * 10 + 3, look));
    }
    const auto bad = judge_each_key(h, map_entry{}, [](map_action const& a) { return a.key; });
    EXPECT_EQ(bad.found.is, verdict::refuted);
    EXPECT_EQ(bad.key, 3U);
    h[7].action.seen = 3;
    EXPECT_EQ(judge_each_key(h, map_entry{}, [](map_action const& a) { return a.key; }).found.is, verdict::linearizable);
}

// Small random calls with random outcomes, most of them impossible: the search must say what trying every order says.
TEST(linearizability, agrees_with_trying_every_order_of_small_histories) {
    random_numbers dice(run_seed());
    std::size_t accepted = 0;
    for (int round = 0; round < 4000; ++round) {
        SCOPED_TRACE("seed " + std::to_string(run_seed()) + ", round " + std::to_string(round));
        history h;
        for (std::uint32_t t = 0; t < 3; ++t) {
            std::uint64_t clock = dice.below(4);
            for (std::uint64_t n = dice.below(3); n > 0; --n) {
                const std::uint64_t called = clock + dice.below(4);
                clock = called + dice.below(6);
                const std::uint64_t v = dice.below(2);
                const bool yes = dice.one_in(2);
                const map_action some[] = {find(yes ? std::optional(v) : std::nullopt), insert(v, yes), assign(v, yes),
                                           erase(yes), update(v, 1 - v), swap(v, 1 - v, yes)};
                h.push_back(call(t, called, clock, some[dice.below(6)]));
            }
        }
        std::vector<std::size_t> order(h.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        bool possible = false;
        do {
            map_entry entry;
            bool good = true;
            for (std::size_t i = 0; i < order.size() && good; ++i) {
                for (std::size_t j = i + 1; j < order.size(); ++j) {  // real time: none of the later ones returned before
                    good = good && h[order[j]].returned >= h[order[i]].called &&
                           (h[order[j]].thread != h[order[i]].thread || order[j] > order[i]);
                }
                good = good && entry.step(h[order[i]].action);
            }
            possible = good;
        } while (!possible && std::next_permutation(order.begin(), order.end()));
        ASSERT_EQ(judged(h) == verdict::linearizable, possible);
        accepted += possible ? 1U : 0U;
    }
    EXPECT_GT(accepted, 200U);
    EXPECT_LT(accepted, 3800U);
}

// Histories made from a true order: each call's interval is stretched around the moment it took effect, so that they must
// be accepted; then one outcome is falsified in a way that no order explains.
TEST(linearizability, tells_true_random_histories_from_falsified_ones) {
    random_numbers dice(run_seed());
    std::size_t refuted = 0;
    for (int round = 0; round < 300; ++round) {
        SCOPED_TRACE("seed " + std::to_string(run_seed()) + ", round " + std::to_string(round));
        constexpr std::uint32_t threads = 6;
        std::vector<std::uint64_t> free_from(threads, 0);
        std::uint64_t value = 0;
        history h;
        std::optional<std::uint64_t> state;
        for (std::uint64_t moment = 100; moment < 100 + 120 * 10; moment += 10) {
            const auto t = static_cast<std::uint32_t>(dice.below(threads));
            map_action a;
            switch (dice.below(5)) {
            case 0:
                a = find(state);
                break;
            case 1:
                a = insert(++value, !state);
                state = state ? state : value;
                break;
            case 2:
                a = assign(++value, state.has_value());
                state = state ? std::optional(value) : state;
                break;
            case 3:
                a = state ? update(*state, *state + 1000) : erase(false);
                state = state ? std::optional(*state + 1000) : state;
                break;
            default:
                a = erase(state.has_value());
                state.reset();
                break;
            }
            if (moment < free_from[t]) {  // its thread is still in an earlier call: a thread of its own does it
                h.push_back(call(threads + static_cast<std::uint32_t>(h.size()), moment, moment, a));
                continue;
            }
            const std::uint64_t called = std::max(free_from[t], moment - dice.below(60));
            const std::uint64_t returned = moment + dice.below(60);
            free_from[t] = returned + 1;
            h.push_back(call(t, called, returned, a));
        }
        const auto fair = judge(h, map_entry{});
        ASSERT_EQ(fair.is, verdict::linearizable);
        history forged = h;
        auto& victim = forged[forged.size() / 2 + static_cast<std::size_t>(dice.below(20))];
        if (victim.action.seen) {
            victim.action.seen = 123456789;
        } else {
            victim.action.yes = !victim.action.yes;
            victim.action.seen = victim.action.call == map_call::find ? std::optional<std::uint64_t>(123456789) : std::nullopt;
        }
        refuted += judge(forged, map_entry{}).is == verdict::refuted ? 1U : 0U;
    }
    EXPECT_GT(refuted, 200U);  // a flipped answer may still be explained by an overlap; a made-up value never is
}
