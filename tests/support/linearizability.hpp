// weir (BSL-1.0). linearizability: decides whether recorded calls can be put in an order that a sequential model allows.
#ifndef WEIR_TESTS_SUPPORT_LINEARIZABILITY_HPP
#define WEIR_TESTS_SUPPORT_LINEARIZABILITY_HPP
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <stdexcept>
#include <unordered_set>
#include <utility>
#include <vector>

// Source: Wing and Gong, "Testing and verifying concurrent objects", JPDC 17 (1993): depth-first search over the calls that
//   may come next. Lowe, "Testing for linearizability", CCPE 29 (2017): a configuration that led nowhere is not entered
//   again. Horn and Kroening, "Faster linearizability checking via P-compositionality", FORTE 2015: one search per key.
// A thread's calls follow one another, so that the set of calls already placed is told by one position per thread.

namespace weir_test {

/// One finished call. `called` and `returned` are readings of one clock that all threads share.
template <class Action>
struct timed_call {
    std::uint64_t called = 0;
    std::uint64_t returned = 0;
    std::uint32_t thread = 0;
    Action action{};
};

/// The object as one thread would see it. `step` says whether a call with this outcome may happen now, and does it;
/// what `step` leaves behind after a refusal is thrown away.
template <class Model, class Action>
concept sequential_model = std::copyable<Model> && std::equality_comparable<Model> &&
                           requires(Model m, Model const c, Action const& a) {
                               { m.step(a) } -> std::same_as<bool>;
                               { c.hash() } -> std::convertible_to<std::size_t>;
                           };

enum class verdict { linearizable, refuted, undecided };

struct judgement {
    verdict is = verdict::linearizable;
    std::size_t configurations = 0;    // entered during the search
    std::vector<std::size_t> deepest;  // indices of calls, in the longest order that was found to be allowed
};

namespace linearizability_detail {

template <class Model>
struct configuration {
    std::vector<std::uint32_t> position;  // per lane: how many of its calls are placed
    Model model;

    friend bool operator==(configuration const&, configuration const&) = default;
};
template <class Model>
struct configuration_hash {
    std::size_t operator()(configuration<Model> const& c) const noexcept {
        std::size_t h = c.model.hash();
        for (const std::uint32_t p : c.position) {
            h = (h ^ p) * 0x9e3779b97f4a7c15ULL;
            h ^= h >> 29;
        }
        return h;
    }
};

}  // namespace linearizability_detail

/// Searches for an order of all `calls` that starts in `model`, respects real time and is allowed at each step.
/// Gives up as undecided after `budget` configurations. Throws std::invalid_argument if a thread's calls overlap.
template <class Action, sequential_model<Action> Model>
judgement judge(std::vector<timed_call<Action>> const& calls, Model model, std::size_t budget = 5'000'000) {
    using namespace linearizability_detail;
    std::map<std::uint32_t, std::vector<std::size_t>> by_thread;
    for (std::size_t i = 0; i < calls.size(); ++i) {
        if (calls[i].returned < calls[i].called) {
            throw std::invalid_argument("judge: a call returned before it was called");
        }
        by_thread[calls[i].thread].push_back(i);
    }
    std::vector<std::vector<std::size_t>> lanes;
    for (auto& [thread, lane] : by_thread) {
        std::sort(lane.begin(), lane.end(), [&](std::size_t a, std::size_t b) { return calls[a].called < calls[b].called; });
        for (std::size_t i = 1; i < lane.size(); ++i) {
            if (calls[lane[i]].called < calls[lane[i - 1]].returned) {
                throw std::invalid_argument("judge: two calls of one thread overlap");
            }
        }
        lanes.push_back(std::move(lane));
    }

    struct choice {
        std::size_t lane;  // the lane whose call was placed
        Model before;
    };
    judgement result;
    configuration<Model> now{std::vector<std::uint32_t>(lanes.size(), 0), std::move(model)};
    std::unordered_set<configuration<Model>, configuration_hash<Model>> seen;
    std::vector<choice> path;
    std::vector<std::size_t> order;
    std::size_t lane = 0;  // the first lane not tried yet in this configuration
    for (;;) {
        if (order.size() > result.deepest.size() || calls.empty()) {
            result.deepest = order;
        }
        if (order.size() == calls.size()) {
            return result;
        }
        // Whatever is placed next must have been called before every call that is still to be placed returned.
        std::uint64_t first_return = std::numeric_limits<std::uint64_t>::max();
        for (std::size_t l = 0; l < lanes.size(); ++l) {
            if (now.position[l] < lanes[l].size()) {
                first_return = std::min(first_return, calls[lanes[l][now.position[l]]].returned);
            }
        }
        bool placed = false;
        for (; lane < lanes.size() && !placed; ++lane) {
            if (now.position[lane] == lanes[lane].size()) {
                continue;
            }
            const std::size_t call = lanes[lane][now.position[lane]];
            if (calls[call].called > first_return) {
                continue;
            }
            Model before = now.model;
            ++now.position[lane];
            if (now.model.step(calls[call].action) && seen.insert(now).second) {
                path.push_back({lane, std::move(before)});
                order.push_back(call);
                placed = true;
            } else {
                --now.position[lane];
                now.model = std::move(before);
            }
        }
        if (placed) {
            if (++result.configurations > budget) {
                result.is = verdict::undecided;
                return result;
            }
            lane = 0;
        } else if (path.empty()) {
            result.is = verdict::refuted;
            return result;
        } else {
            lane = path.back().lane + 1;
            --now.position[path.back().lane];
            now.model = std::move(path.back().before);
            path.pop_back();
            order.pop_back();
        }
    }
}

/// The calls of one key and what was decided about them.
template <class Key, class Action>
struct keyed_judgement {
    Key key{};
    std::vector<timed_call<Action>> calls;
    judgement found;
};

/// Judges the calls of each key on their own, which is enough when no call touches two keys. Returns the first key that is
/// not linearizable, or any key if all are. `key_of` takes an action.
template <class Action, sequential_model<Action> Model, class KeyOf>
auto judge_each_key(std::vector<timed_call<Action>> const& calls, Model const& model, KeyOf key_of,
                    std::size_t budget = 5'000'000) {
    using key = std::decay_t<decltype(key_of(std::declval<Action const&>()))>;
    std::map<key, std::vector<timed_call<Action>>> by_key;
    for (auto const& call : calls) {
        by_key[key_of(call.action)].push_back(call);
    }
    keyed_judgement<key, Action> result;
    for (auto& [k, of_key] : by_key) {
        judgement found = judge(of_key, model, budget);
        const bool good = found.is == verdict::linearizable;
        result = {k, std::move(of_key), std::move(found)};
        if (!good) {
            break;
        }
    }
    return result;
}

}  // namespace weir_test
#endif
