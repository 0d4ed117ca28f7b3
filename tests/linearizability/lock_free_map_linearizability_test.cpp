// weir (BSL-1.0). lock_free_map_linearizability_test: recorded calls of many threads on few keys, judged.
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/lock_free_map.hpp>

#include "linearizability.hpp"
#include "map_history.hpp"
#include "support/interruptions.hpp"
#include "support/map_calls.hpp"
#include "support/map_storages.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"
#include "support/values.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

// Each round has a new, empty map: eight threads call everything on a few hot keys, others fill in other keys so that the table
// grows all the while, or take them out again and have it shrink, again and again. In each of the storages. Hash, comparison and
// copies stumble, signals interrupt at any instruction: a thread is often stopped in the middle of a call.

namespace {

using namespace weir_test;

constexpr std::uint64_t filler = 1'000'000;  // keys from here on are never hot

/// A value of 64 bytes whose copies stumble.
class wide_number {
public:
    explicit wide_number(std::uint64_t n) : body_(n), number_(n) {}
    wide_number(wide_number const& other) : body_(other.body_), number_(other.number_) { stumble(8); }
    wide_number(wide_number&&) noexcept = default;
    wide_number& operator=(wide_number const&) = default;
    wide_number& operator=(wide_number&&) noexcept = default;
    ~wide_number() = default;

    /// A number that nobody stored if the value is torn.
    [[nodiscard]] std::uint64_t number() const noexcept {
        return body_ == wide_value(number_) ? number_ : 0xbadbadbadULL;
    }
    friend bool operator==(wide_number const& a, wide_number const& b) { return a.number() == b.number(); }

private:
    wide_value body_;
    std::uint64_t number_;
};

/// Spreads the keys, or has all hot keys in one bucket, whatever its size.
struct hot_hash {
    bool crowded = false;
    std::size_t operator()(std::uint64_t key) const noexcept {
        stumble(16);
        return crowded && key < filler ? 7 : std::hash<std::uint64_t>{}(key);
    }
};
constexpr hot_hash spread{};
constexpr hot_hash crowded{.crowded = true};

template <class Key, class Value>
using hot_map = weir::lock_free_map<Key, Value, hot_hash, stumbling_equal<std::uint64_t>>;
using numbers = hot_map<std::uint64_t, std::uint64_t>;
using wide_numbers = hot_map<std::uint64_t, wide_number>;
using node_numbers = hot_map<std::uint64_t, node_number>;
using stamped_numbers = hot_map<node_number, std::uint64_t>;
static_assert(in_slots<numbers> && in_stamped_nodes<stamped_numbers> && in_nodes<node_numbers> && in_nodes<wide_numbers>);

struct plan_of_round {
    std::uint64_t hot_keys;
    std::size_t threads;
    std::size_t calls;           // per thread
    std::size_t fillers;         // threads that make the table grow
    std::uint64_t filler_keys;   // each
    std::size_t shakers = 0;     // threads that make it grow and shrink, until the calls are over
};

struct judged_so_far {
    std::size_t calls = 0;
    std::size_t configurations = 0;
    std::uint64_t shrinks = 0;
};

/// Makes the table larger and smaller, by what is in it or by order, until nobody is playing any more.
template <class Map>
void shake(Map& map, std::uint64_t first, random_numbers& dice, std::atomic<std::size_t> const& playing) {
    for (std::size_t cycle = 0; playing.load() != 0 && cycle < 20'000; ++cycle) {
        const std::uint64_t end = first + 10 + dice.below(70);
        if (cycle % 3 == 0) {
            map.reserve(std::size_t{32} << dice.below(3));
        } else {
            for (std::uint64_t key = first; key < end; ++key) {
                map.try_emplace(key, key);
            }
            for (std::uint64_t key = first; key < end; ++key) {
                map.erase(key);
            }
        }
        if (cycle % 3 != 2) {
            map.shrink_to_fit();
        }
    }
}

template <class Map>
void play(plan_of_round const& round, hot_hash hash, std::uint64_t seed, judged_so_far& total) {
    Map map({.capacity = seed % 4, .seed = seed, .shrink_at = seed % 2 == 0 ? 0.25 : 0.125}, hash);
    std::atomic<std::size_t> playing{round.threads};
    interruptions often;
    std::vector<std::vector<map_timed_call>> recorded(round.threads + 1);
    run_together(round.threads + round.fillers + round.shakers, [&](std::size_t i) {
        const interruptions::subject me(often);
        random_numbers dice(seed * 1000 + i);
        if (i >= round.threads + round.fillers) {
            shake(map, filler + (i << 32), dice, playing);
            return;
        }
        if (i >= round.threads) {
            const std::uint64_t first = filler + i * round.filler_keys;
            for (std::uint64_t key = first; key < first + round.filler_keys; ++key) {
                map.try_emplace(key, key);
                if (dice.one_in(4)) {  // and takes some away, so that slots are used again
                    map.erase(first + dice.below(key - first + 1));
                }
            }
            return;
        }
        auto& mine = recorded[i];
        mine.reserve(round.calls);
        std::uint64_t last_seen = 0;
        for (std::size_t n = 0; n < round.calls; ++n) {
            const std::uint64_t key = dice.below(round.hot_keys);
            const std::uint64_t fresh = (i + 1) * 1'000'000 + n;
            mine.push_back(timed(map, static_cast<std::uint32_t>(i), any_action(dice, key, fresh, last_seen)));
            last_seen = mine.back().action.seen.value_or(last_seen);
        }
        playing.fetch_sub(1);
    });
    for (std::uint64_t key = 0; key < round.hot_keys; ++key) {  // what is left must fit as well
        map_action last;
        last.key = key;
        recorded.back().push_back(timed(map, static_cast<std::uint32_t>(round.threads), last));
    }
    std::vector<map_timed_call> all;
    for (auto const& each : recorded) {
        all.insert(all.end(), each.begin(), each.end());
    }
    const auto judged = judge_each_key(all, map_entry{}, [](map_action const& a) { return a.key; });
    total.calls += all.size();
    total.configurations += judged.configurations;
    total.shrinks += map.stats().shrinks;
    ASSERT_EQ(judged.found.is, verdict::linearizable) << "WEIR_TEST_SEED=" << seed << '\n' << judged;
    std::vector<int> times(round.hot_keys, 0);
    map.for_each([&](std::uint64_t key, auto const&) { times[key < round.hot_keys ? key : 0] += key < round.hot_keys ? 1 : 0; });
    for (std::uint64_t key = 0; key < round.hot_keys; ++key) {
        ASSERT_EQ(times[key], map.contains(key) ? 1 : 0) << "key " << key;
    }
}

template <class Map>
void play_all(hot_hash hash, std::size_t rounds) {
    const std::array<plan_of_round, 7> plans{{
        {1, 8, 60, 2, 400},
        {1, 8, 80, 0, 0, 1},
        {2, 8, 100, 2, 800},
        {4, 8, 150, 0, 0, 1},
        {16, 8, 300, 2, 1500},
        {16, 8, 300, 1, 800, 1},
        {16, 3, 600, 0, 0, 1},
    }};
    judged_so_far total;
    for (std::size_t i = 0; i < scaled(rounds, plans.size()); ++i) {
        play<Map>(plans[i % plans.size()], hash, run_seed() + i, total);
        if (testing::Test::HasFatalFailure()) {
            return;
        }
    }
    EXPECT_GT(total.shrinks, scaled(rounds, plans.size()) / 2) << "hardly a table shrank";
    testing::Test::RecordProperty("calls", std::to_string(total.calls));
    testing::Test::RecordProperty("configurations", std::to_string(total.configurations));
}

class lock_free_map_linearizability : public testing::TestWithParam<weir::hazard_pointer_mode> {
protected:
    void SetUp() override {
        if (!weir::hazard_pointer_domain::supports(GetParam())) {
            GTEST_SKIP() << "this system does not know the mode";
        }
        weir::hazard_pointer_default_domain().reset(GetParam());
    }
    void TearDown() override {
        weir::hazard_pointer_default_domain().reset(weir::hazard_pointer_domain::default_mode());
    }
};
INSTANTIATE_TEST_SUITE_P(mode, lock_free_map_linearizability,
                         testing::Values(weir::hazard_pointer_mode::membarrier, weir::hazard_pointer_mode::seq_cst),
                         [](auto const& tested) {
                             return std::string(tested.param == weir::hazard_pointer_mode::membarrier ? "membarrier" : "seq_cst");
                         });

}  // namespace

TEST_P(lock_free_map_linearizability, calls_on_hot_keys_take_effect_one_after_the_other_while_the_table_grows) {
    play_all<numbers>(spread, 56);
}

TEST_P(lock_free_map_linearizability, calls_on_hot_nodes_take_effect_one_after_the_other_while_the_table_grows) {
    play_all<node_numbers>(spread, 42);
}

TEST_P(lock_free_map_linearizability, calls_on_hot_values_in_place_take_effect_one_after_the_other_while_the_table_grows) {
    play_all<stamped_numbers>(spread, 42);
}

TEST_P(lock_free_map_linearizability, calls_with_values_of_many_words_take_effect_one_after_the_other) {
    play_all<wide_numbers>(spread, 28);
}

TEST_P(lock_free_map_linearizability, calls_on_keys_of_one_hash_take_effect_one_after_the_other) {
    play_all<numbers>(crowded, 42);
}

TEST_P(lock_free_map_linearizability, calls_on_nodes_of_one_hash_take_effect_one_after_the_other) {
    play_all<node_numbers>(crowded, 35);
}

TEST_P(lock_free_map_linearizability, calls_on_values_in_place_of_one_hash_take_effect_one_after_the_other) {
    play_all<stamped_numbers>(crowded, 42);
}
