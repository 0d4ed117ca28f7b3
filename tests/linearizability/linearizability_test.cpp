// weir (BSL-1.0). linearizability_test: the judge of histories accepts what it must and refuses what it must.
#include "fifo_history.hpp"
#include "history_text.hpp"
#include "linearizability.hpp"
#include "map_history.hpp"
#include "support/random.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
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

map_action set(std::uint64_t value, bool fresh) {
    return {.call = map_call::insert_or_assign, .value = value, .yes = fresh};
}
std::uint64_t key_of(map_action const& a) { return a.key; }

verdict judged(history const& h) { return judge(h, map_entry{}).is; }

fifo_timed_call fifo(std::uint32_t thread, std::uint64_t called, std::uint64_t returned, fifo_call what, std::uint64_t value,
                     bool done = true) {
    return {called, returned, thread, {what, value, done}};
}

/// A map_entry that keeps to itself which calls only look.
struct silent_entry {
    map_entry entry{};

    friend bool operator==(silent_entry const&, silent_entry const&) = default;
    [[nodiscard]] std::size_t hash() const noexcept { return entry.hash(); }
    bool step(map_action const& a) { return entry.step(a); }
};

constexpr std::uint64_t nobody_stored = 123456789;

/// Any call with an outcome that it may have in this state, which is changed.
map_action any_call(random_numbers& dice, map_entry& entry, std::uint64_t fresh, std::uint64_t guess) {
    map_action a;
    a.call = static_cast<map_call>(dice.below(map_calls));
    a.value = fresh;
    a.expected = guess;
    a.asked = static_cast<plan>(dice.below(3));
    for (const auto seen : {std::optional<std::uint64_t>{}, entry.value, std::optional(fresh)}) {
        for (const bool yes : {false, true}) {
            for (const auto done : {effect::unchanged, effect::inserted, effect::assigned, effect::erased}) {
                a.seen = seen;
                a.yes = yes;
                a.done = done;
                map_entry next = entry;
                if (next.step(a)) {
                    entry = next;
                    return a;
                }
            }
        }
    }
    throw std::logic_error("any_call: the model allows no outcome");
}

/// Stretches the moments at which calls took effect, one after the other, to intervals that overlap. A call that would
/// overlap another of its own thread is given to a thread that makes no other.
class stretched {
public:
    stretched(random_numbers& dice, std::uint32_t threads, std::uint64_t reach) : dice_(dice), free_(threads, 0), reach_(reach) {}

    /// One call in `rarely` takes a hundred times as long: its thread was not running.
    template <class Action>
    timed_call<Action> call(std::uint64_t moment, Action const& a, std::uint64_t rarely = 0) {
        const auto thread = static_cast<std::uint32_t>(dice_.below(free_.size()));
        if (moment < free_[thread]) {
            return {moment, moment, static_cast<std::uint32_t>(free_.size()) + others_++, a};
        }
        const std::uint64_t reach = rarely != 0 && dice_.one_in(rarely) ? reach_ * 100 : reach_;
        const std::uint64_t called = std::max(free_[thread], moment - std::min(moment, dice_.below(reach + 1)));
        free_[thread] = moment + dice_.below(reach + 1);
        return {called, free_[thread], thread, a};
    }

private:
    random_numbers& dice_;
    std::vector<std::uint64_t> free_;  // per thread: when its latest call returned
    std::uint32_t others_ = 0;
    std::uint64_t reach_;
};

/// What eight threads record that call everything on one key, some of them stopped for long now and then.
history of_eight_threads(random_numbers& dice, std::uint64_t calls) {
    stretched threads(dice, 8, 40);
    map_entry entry;
    history h;
    for (std::uint64_t n = 1; n <= calls; ++n) {
        h.push_back(threads.call(n * 10, any_call(dice, entry, n, entry.value.value_or(0)), 100));
    }
    return h;
}

/// Tries every order, and nothing else.
template <class Action, class Model>
bool some_order_is_allowed(std::vector<timed_call<Action>> const& h, Model const& model, std::vector<bool>& placed,
                           std::size_t count = 0) {
    if (count == h.size()) {
        return true;
    }
    for (std::size_t i = 0; i < h.size(); ++i) {
        bool may_come = !placed[i];
        for (std::size_t j = 0; j < h.size() && may_come; ++j) {
            may_come = placed[j] || (h[j].returned >= h[i].called && (h[j].thread != h[i].thread || j >= i));
        }
        Model next = model;
        if (may_come && next.step(h[i].action)) {
            placed[i] = true;
            if (some_order_is_allowed(h, next, placed, count + 1)) {
                return true;
            }
            placed[i] = false;
        }
    }
    return false;
}
template <class Action, class Model>
bool some_order_is_allowed(std::vector<timed_call<Action>> const& h, Model const& model) {
    std::vector<bool> placed(h.size(), false);
    return some_order_is_allowed(h, model, placed);
}

/// True if `deepest` is an order of all calls that keeps to real time and that the model allows.
bool proves(judgement const& found, history const& h, map_entry entry = {}) {
    std::uint64_t latest_call = 0;
    std::vector<bool> placed(h.size(), false);
    for (const std::size_t i : found.deepest) {
        latest_call = std::max(latest_call, h[i].called);
        if (placed[i] || h[i].returned < latest_call || !entry.step(h[i].action)) {
            return false;
        }
        placed[i] = true;
    }
    return found.deepest.size() == h.size();
}

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
        h.push_back(call(t, 0, 100, set(t, false)));
    }
    h.push_back(call(10, 0, 100, set(10, true)));
    h.push_back(call(11, 0, 100, find(nobody_stored)));
    EXPECT_EQ(judge(h, map_entry{}, 50).is, verdict::undecided);
    EXPECT_EQ(judge(h, map_entry{}).is, verdict::refuted);
}

TEST(linearizability, refuses_to_judge_a_thread_that_was_in_two_places) {
    EXPECT_THROW((void)judge(history{call(0, 0, 5, insert(7, true)), call(0, 4, 9, find(7))}, map_entry{}),
                 std::invalid_argument);
    EXPECT_THROW((void)judge(history{call(0, 5, 4, insert(7, true))}, map_entry{}), std::invalid_argument);
}

TEST(linearizability, keeps_the_order_of_a_thread_for_which_the_clock_stood_still) {
    EXPECT_EQ(judged({call(0, 5, 5, insert(7, true)), call(0, 5, 5, find(std::nullopt))}), verdict::refuted);
    EXPECT_EQ(judged({call(0, 5, 5, insert(7, true)), call(1, 5, 5, find(std::nullopt))}), verdict::linearizable);
    EXPECT_EQ(judged({call(0, 5, 5, insert(7, true)), call(0, 5, 9, set(8, true))}), verdict::refuted);
    EXPECT_EQ(judged({call(0, 5, 5, insert(7, true)), call(1, 5, 9, set(8, true)), call(2, 5, 9, erase(true))}),
              verdict::linearizable);
}

TEST(linearizability, judges_hundreds_of_calls_that_all_overlap) {
    for (const std::uint32_t calls : {63U, 64U, 65U, 500U, 1024U}) {
        history h{call(0, 0, 100, insert(0, true))};
        for (std::uint32_t t = calls - 1; t > 0; --t) {  // the only order is that of the values
            h.push_back(call(t, 0, 100, update(t - 1, t)));
        }
        const auto found = judge(h, map_entry{});
        EXPECT_EQ(found.is, verdict::linearizable) << calls;
        EXPECT_TRUE(proves(found, h)) << calls;
        h[h.size() / 2].action.seen = nobody_stored;
        EXPECT_EQ(judged(h), verdict::refuted) << calls;
        history any{call(0, 0, 100, update(nobody_stored - 1 + calls, 0))};  // comes last, the others in any order
        for (std::uint32_t t = 1; t < calls; ++t) {
            any.push_back(call(t, 0, 100, set(nobody_stored + t, false)));
        }
        const auto ordered = judge(any, map_entry{0});
        EXPECT_TRUE(proves(ordered, any, map_entry{0})) << calls;
        EXPECT_EQ(ordered.configurations, calls);
    }
    history h;
    for (std::uint32_t t = 0; t < 1025; ++t) {
        h.push_back(call(t, 0, 100, find(std::nullopt)));
    }
    EXPECT_THROW((void)judged(h), std::invalid_argument);
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
    const auto bad = judge_each_key(h, map_entry{}, key_of);
    EXPECT_EQ(bad.found.is, verdict::refuted);
    EXPECT_EQ(bad.key, 3U);
    ASSERT_EQ(bad.calls.size(), 2U);
    EXPECT_EQ(bad.calls[1], h[7]);
    EXPECT_EQ(bad.found.deepest, (std::vector<std::size_t>{0}));
    h[7].action.seen = 3;
    const auto good = judge_each_key(h, map_entry{}, key_of);
    EXPECT_EQ(good.found.is, verdict::linearizable);
    EXPECT_EQ(good.configurations, h.size());
    EXPECT_EQ(judge_each_key(history{}, map_entry{}, key_of).found.is, verdict::linearizable);
}

// The search places a call that only looks as soon as it can, so this had better be true.
TEST(linearizability, believes_of_no_call_of_a_map_that_it_only_looks_if_it_can_change_an_entry) {
    std::size_t looks = 0;
    const std::optional<std::uint64_t> values[] = {std::nullopt, 0, 1, 2};
    map_action a;
    for (std::uint64_t n = 0; n < map_calls * 4 * 2 * 3 * 4; ++n) {
        std::uint64_t left = n;
        const auto pick = [&left](std::uint64_t of) { return std::exchange(left, left / of) % of; };
        a.call = static_cast<map_call>(pick(map_calls));
        a.seen = values[pick(4)];
        a.yes = pick(2) == 1;
        a.asked = static_cast<plan>(pick(3));
        a.done = static_cast<effect>(pick(4));
        for (a.value = 0; a.value < 3; ++a.value) {
            for (a.expected = 0; a.expected < 3; ++a.expected) {
                for (const auto& before : values) {
                    map_entry entry{before};
                    if (map_entry::only_looks(a) && entry.step(a)) {
                        ++looks;
                        ASSERT_EQ(entry.value, before) << a;
                    }
                }
            }
        }
    }
    EXPECT_GT(looks, 1000U);
}

// Random small histories that are true, and the same with an outcome or two falsified: the search must say what trying every
// order says, with and without its knowledge of who only looks.
TEST(linearizability, agrees_with_trying_every_order_of_small_histories) {
    random_numbers dice(run_seed());
    std::size_t accepted = 0;
    constexpr int rounds = 8000;
    for (int round = 0; round < rounds; ++round) {
        SCOPED_TRACE("seed " + std::to_string(run_seed()) + ", round " + std::to_string(round));
        stretched threads(dice, 1 + static_cast<std::uint32_t>(dice.below(5)), dice.below(8));
        map_entry entry;
        history h;
        for (std::uint64_t n = 1 + dice.below(7); n > 0; --n) {
            h.push_back(threads.call(20 - n * 2, any_call(dice, entry, dice.below(3), dice.below(3))));
        }
        for (std::uint64_t lies = dice.below(3); lies > 0; --lies) {
            map_action& a = h[dice.below(h.size())].action;
            if (dice.one_in(2)) {
                a.yes = !a.yes;
            }
            if (dice.one_in(2)) {
                a.seen = dice.one_in(4) ? std::nullopt : std::optional(dice.below(3));
            }
            if (dice.one_in(4)) {
                a.done = static_cast<effect>(dice.below(4));
            }
        }
        const bool possible = some_order_is_allowed(h, map_entry{});
        const auto found = judge(h, map_entry{});
        ASSERT_EQ(found.is, possible ? verdict::linearizable : verdict::refuted) << explain(h, found);
        ASSERT_EQ(judge(h, silent_entry{}).is, found.is) << explain(h, found);
        ASSERT_EQ(proves(found, h), possible) << explain(h, found);
        accepted += possible ? 1U : 0U;
    }
    EXPECT_GT(accepted, rounds / 4U);
    EXPECT_LT(accepted, rounds - rounds / 4U);
}

TEST(linearizability, tells_true_random_histories_from_falsified_ones) {
    random_numbers dice(run_seed());
    for (int round = 0; round < 200; ++round) {
        SCOPED_TRACE("seed " + std::to_string(run_seed()) + ", round " + std::to_string(round));
        history h = of_eight_threads(dice, 400);
        const auto found = judge(h, map_entry{});
        ASSERT_EQ(found.is, verdict::linearizable) << explain(h, found);
        ASSERT_TRUE(proves(found, h));
        h[h.size() / 2 + dice.below(h.size() / 2)].action = find(nobody_stored);
        ASSERT_EQ(judged(h), verdict::refuted);
    }
}

// The bounds that keep histories of a million calls possible. How long it takes is measured elsewhere.
TEST(linearizability, enters_few_more_configurations_than_there_are_calls) {
    random_numbers dice(run_seed());
    history h = of_eight_threads(dice, 20'000);
    const auto found = judge(h, map_entry{});
    RecordProperty("configurations_of_20000_calls", std::to_string(found.configurations));
    EXPECT_EQ(found.is, verdict::linearizable);
    EXPECT_LT(found.configurations, 2 * h.size());
    h[h.size() - h.size() / 4].action = find(nobody_stored);
    const auto refuted = judge(h, map_entry{});
    RecordProperty("configurations_of_20000_calls_refuted", std::to_string(refuted.configurations));
    EXPECT_EQ(refuted.is, verdict::refuted);
    EXPECT_LT(refuted.configurations, 40 * h.size());
}

TEST(linearizability, enters_a_set_of_placed_calls_once_for_each_value_that_it_may_leave) {
    constexpr std::size_t calls = 12;  // 12! orders
    history h{call(calls, 0, 1, insert(nobody_stored, true))};
    for (std::uint32_t t = 0; t < calls; ++t) {
        h.push_back(call(t, 10, 100, set(t, false)));
    }
    h.push_back(call(calls, 10, 100, erase(false)));
    const auto found = judge(h, map_entry{});
    EXPECT_EQ(found.is, verdict::refuted);
    EXPECT_LE(found.configurations, 1 + calls * calls * (std::size_t{1} << (calls - 1)));
}

TEST(linearizability, explains_where_no_order_could_be_continued) {
    const history h{call(0, 100, 101, insert(7, true)), call(0, 102, 103, assign(8, true)), call(1, 104, 105, find(7)),
                    call(2, 106, 107, erase(true))};
    EXPECT_EQ(explain(h, judge(h, map_entry{})),
              "refuted: 2 of 4 calls could be put in order, 2 configurations\n"
              "the last in this order:\n"
              "  thread 0 from 100 to 101 : insert key 0 value 7 expected 0 asked keep -> true saw nothing did unchanged\n"
              "  thread 0 from 102 to 103 : assign key 0 value 8 expected 0 asked keep -> true saw nothing did unchanged\n"
              "could come next:\n"
              "  thread 1 from 104 to 105 : find key 0 value 0 expected 0 asked keep -> false saw 7 did unchanged\n"
              "were called later:\n"
              "  thread 2 from 106 to 107 : erase key 0 value 0 expected 0 asked keep -> true saw nothing did unchanged\n");
}

TEST(linearizability, reads_back_the_history_that_it_wrote_and_judges_it_alike) {
    random_numbers dice(run_seed());
    history h = of_eight_threads(dice, 1000);
    h[900].action = find(nobody_stored);
    const auto found = judge_each_key(h, map_entry{}, key_of);
    ASSERT_EQ(found.found.is, verdict::refuted);
    std::ostringstream text;
    text << found;
    const std::string whole = text.str();
    std::istringstream calls(whole.substr(0, whole.rfind("# key")));  // what follows explains
    const auto again = read_history<map_action>(calls);
    EXPECT_EQ(again, from_zero(h));
    EXPECT_EQ(judge(again, map_entry{}).deepest, found.found.deepest);
}

TEST(linearizability, refuses_to_read_what_is_no_history) {
    const std::string good = "thread 0 from 1 to 2 : find key 0 value 0 expected 0 asked keep -> true saw 5 did unchanged";
    std::istringstream fine("# a remark\n\n" + good + "\n");
    ASSERT_EQ(read_history<map_action>(fine).size(), 1U);
    for (const std::string& bad : {good + " too", good.substr(0, good.size() - 1), "thread x" + good.substr(8),
                                   "thread 0 from 1 to 2 : look" + good.substr(27), std::string("thread 0")}) {
        std::istringstream text(good + "\n" + bad + "\n");
        try {
            (void)read_history<map_action>(text);
            ADD_FAILURE() << "was read: " << bad;
        } catch (std::invalid_argument const& error) {
            EXPECT_EQ(std::string(error.what()).rfind("read_history: line 2 ", 0), 0U) << error.what();
        }
    }
}

TEST(fifo_history, values_come_in_order_and_each_once) {
    using enum fifo_call;
    const std::vector<fifo_timed_call> pushed{fifo(0, 0, 1, push, 1), fifo(0, 2, 3, push, 2)};
    const auto then = [&](fifo_timed_call const& a, fifo_timed_call const& b) {
        auto all = pushed;
        all.push_back(a);
        all.push_back(b);
        return judge(all, fifo_queue{}).is;
    };
    EXPECT_EQ(then(fifo(0, 4, 5, pop, 1), fifo(0, 6, 7, pop, 2)), verdict::linearizable);
    EXPECT_EQ(then(fifo(0, 4, 5, pop, 2), fifo(0, 6, 7, pop, 1)), verdict::refuted);
    EXPECT_EQ(then(fifo(0, 4, 7, pop, 2), fifo(1, 4, 7, pop, 1)), verdict::linearizable);
    EXPECT_EQ(then(fifo(0, 4, 7, pop, 1), fifo(1, 4, 7, pop, 1)), verdict::refuted);
}

TEST(fifo_history, may_say_empty_or_full_only_when_it_is_unless_it_is_weak) {
    using enum fifo_call;
    const std::vector<fifo_timed_call> empty{fifo(0, 0, 1, push, 1), fifo(0, 2, 3, pop, 0, false), fifo(0, 4, 5, pop, 1)};
    EXPECT_EQ(judge(empty, fifo_queue{}).is, verdict::refuted);
    EXPECT_EQ(judge(empty, fifo_queue{.weak_empty = true}).is, verdict::linearizable);
    const std::vector<fifo_timed_call> full{fifo(0, 0, 1, push, 1), fifo(0, 2, 3, push, 2, false), fifo(0, 4, 5, pop, 1)};
    EXPECT_EQ(judge(full, fifo_queue{.capacity = 2}).is, verdict::refuted);
    EXPECT_EQ(judge(full, fifo_queue{.capacity = 1}).is, verdict::linearizable);
    EXPECT_EQ(judge(full, fifo_queue{.capacity = 2, .weak_full = true}).is, verdict::linearizable);
    EXPECT_EQ(judge(std::vector<fifo_timed_call>{fifo(0, 0, 1, push, 1), fifo(0, 2, 3, push, 2)}, fifo_queue{.capacity = 1}).is,
              verdict::refuted);
}

TEST(fifo_history, is_judged_as_by_trying_every_order_and_can_be_read_back) {
    random_numbers dice(run_seed());
    std::size_t accepted = 0;
    constexpr int rounds = 4000;
    for (int round = 0; round < rounds; ++round) {
        SCOPED_TRACE("seed " + std::to_string(run_seed()) + ", round " + std::to_string(round));
        stretched threads(dice, 1 + static_cast<std::uint32_t>(dice.below(4)), dice.below(8));
        const fifo_queue start{.capacity = 1 + static_cast<std::size_t>(dice.below(3)), .weak_empty = dice.one_in(2)};
        std::vector<fifo_timed_call> h;
        for (std::uint64_t n = 1 + dice.below(7); n > 0; --n) {
            const fifo_action a{static_cast<fifo_call>(dice.below(2)), dice.below(3), !dice.one_in(5)};
            h.push_back(threads.call(20 - n * 2, a));
        }
        const bool possible = some_order_is_allowed(h, start);
        ASSERT_EQ(judge(h, start).is, possible ? verdict::linearizable : verdict::refuted);
        accepted += possible ? 1U : 0U;
        std::stringstream text;
        write_history(text, h);
        ASSERT_EQ(read_history<fifo_action>(text), h);
    }
    EXPECT_GT(accepted, rounds / 10U);
    EXPECT_LT(accepted, rounds - rounds / 10U);
}
