// weir (BSL-1.0). linearizability: decides whether recorded calls can be put in an order that a sequential model allows.
#ifndef WEIR_TESTS_LINEARIZABILITY_LINEARIZABILITY_HPP
#define WEIR_TESTS_LINEARIZABILITY_LINEARIZABILITY_HPP
#include "search.hpp"

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir_test {

enum class verdict { linearizable, refuted, undecided };

struct judgement {
    verdict is = verdict::linearizable;
    std::size_t configurations = 0;    // calls placed during the search, those that were taken back included
    std::vector<std::size_t> deepest;  // indices of calls, in the longest order that was found to be allowed
};

namespace linearizability_detail {

template <class Action, sequential_model<Action> Model>
judgement judge_these(std::pmr::vector<timed_call<Action> const*> const& calls, Model const& model, std::size_t budget,
                      std::pmr::memory_resource& memory) {
    const timetable<Action, Model> times(calls, memory);
    judgement result;
    const auto with_words = [&]<std::size_t Words>(std::integral_constant<std::size_t, Words>) {
        search<Action, Model, Words> find(times, model, memory);
        const outcome found = find.run(budget);
        result.is = found == outcome::order_found ? verdict::linearizable
                    : found == outcome::no_order  ? verdict::refuted
                                                  : verdict::undecided;
        result.configurations = find.configurations();
        result.deepest = find.longest_order();
    };
    if (times.slots() <= 64) {
        with_words(std::integral_constant<std::size_t, 1>{});
    } else if (times.slots() <= 1024) {
        with_words(std::integral_constant<std::size_t, 16>{});
    } else {
        throw std::invalid_argument("judge: more than 1024 calls overlap");
    }
    return result;
}

/// Memory that costs nothing for a history of a few calls: the model checker has one judged after every execution.
class scratch {
public:
    scratch() = default;
    scratch(scratch const&) = delete;
    scratch& operator=(scratch const&) = delete;
    [[nodiscard]] std::pmr::memory_resource& memory() noexcept { return all_; }

private:
    alignas(std::max_align_t) std::byte first_[6 * 1024];
    std::pmr::monotonic_buffer_resource all_{first_, sizeof first_};
};

}  // namespace linearizability_detail

/// Searches for an order of all `calls` that starts in `model`, respects real time and is allowed at each step.
/// Gives up as undecided after `budget` configurations. Throws std::invalid_argument if a thread's calls overlap, or if more
/// than 1024 calls do.
template <class Action, sequential_model<Action> Model>
judgement judge(std::vector<timed_call<Action>> const& calls, Model const& model, std::size_t budget = 5'000'000) {
    linearizability_detail::scratch scratch;
    std::pmr::vector<timed_call<Action> const*> all(&scratch.memory());
    all.reserve(calls.size());
    for (auto const& call : calls) {
        all.push_back(&call);
    }
    return linearizability_detail::judge_these(all, model, budget, scratch.memory());
}

/// The calls of one key and what was decided about them.
template <class Key, class Action>
struct keyed_judgement {
    Key key{};
    std::vector<timed_call<Action>> calls;
    judgement found;
    std::size_t configurations = 0;  // of all keys that were judged
};

/// Judges the calls of each key on their own, which is enough when no call touches two keys. Returns the first key that is
/// not linearizable, or any key if all are. `key_of` takes an action.
template <class Action, sequential_model<Action> Model, class KeyOf>
auto judge_each_key(std::vector<timed_call<Action>> const& calls, Model const& model, KeyOf key_of,
                    std::size_t budget = 5'000'000) {
    using namespace linearizability_detail;
    using key = std::decay_t<decltype(key_of(std::declval<Action const&>()))>;
    using keyed = std::pair<key, timed_call<Action> const*>;
    keyed_judgement<key, Action> result;
    scratch outer;
    std::pmr::vector<keyed> by_key(&outer.memory());
    by_key.reserve(calls.size());
    for (auto const& call : calls) {
        by_key.emplace_back(key_of(call.action), &call);
    }
    const auto earlier_key = [](keyed const& a, keyed const& b) { return a.first < b.first; };
    if (!std::is_sorted(by_key.begin(), by_key.end(), earlier_key)) {
        std::sort(by_key.begin(), by_key.end(), [](keyed const& a, keyed const& b) {
            return a.first < b.first || (!(b.first < a.first) && a.second < b.second);  // else as they were recorded
        });
    }
    for (auto at = by_key.begin(); at != by_key.end();) {
        scratch inner;
        std::pmr::vector<timed_call<Action> const*> of_key(&inner.memory());
        const auto end = std::upper_bound(at, by_key.end(), *at, earlier_key);
        of_key.reserve(static_cast<std::size_t>(end - at));
        std::for_each(at, end, [&](keyed const& k) { of_key.push_back(k.second); });
        result.found = judge_these(of_key, model, budget, inner.memory());
        result.configurations += result.found.configurations;
        if (result.found.is != verdict::linearizable || end == by_key.end()) {
            result.key = at->first;
            result.calls.reserve(of_key.size());
            for (auto const* const call : of_key) {
                result.calls.push_back(*call);
            }
            break;
        }
        at = end;
    }
    return result;
}

}  // namespace weir_test
#endif
