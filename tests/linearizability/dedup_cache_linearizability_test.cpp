// weir (BSL-1.0). dedup_cache_linearizability_test: recorded calls of many threads on few keys, judged.
#include <weir/data/dedup_cache.hpp>

#include "dedup_history.hpp"
#include "linearizability.hpp"
#include "map_history.hpp"
#include "support/interruptions.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

// All keys are in one set of eight. Signals interrupt at any instruction: a thread is often stopped while it has the latch, or
// between a look at the clock and what it does then.

namespace {

using namespace std::chrono_literals;
using namespace weir_test;
using std::chrono::nanoseconds;

constexpr std::int64_t ms = 1'000'000;

/// Shows what the test says.
struct shared_clock {
    using duration = nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<shared_clock, duration>;

    std::atomic<std::int64_t> const* ns;
    [[nodiscard]] time_point now() const noexcept { return time_point{duration{ns->load()}}; }
};

using key = std::array<std::uint64_t, 8>;
/// A number; or eight, one for each of its bits: all with one hash, and what is read of two of them is often a third.
struct any_key_hash {
    std::size_t operator()(std::uint64_t n) const noexcept { return std::hash<std::uint64_t>{}(n); }
    std::size_t operator()(key const&) const noexcept { return 7; }
};
void make(std::uint64_t n, std::uint64_t& out) { out = n; }
void make(std::uint64_t n, key& out) {
    for (std::size_t i = 0; i < out.size(); ++i) {
        out[out.size() - 1 - i] = n >> i & 1;
    }
}

template <class Key>
using prints = weir::dedup_cache<Key, any_key_hash, shared_clock>;
template <class Key>
using exact = weir::exact_dedup_cache<Key, any_key_hash, shared_clock>;

template <class Cache, class Key>
dedup_timed_call timed(Cache& cache, shared_clock clock, std::size_t thread, dedup_call call, std::uint64_t number) {
    Key k{};
    make(number, k);
    dedup_action a{call, number, false, clock.now().time_since_epoch().count(), 0};
    const std::uint64_t called = tick();
    a.yes = call == dedup_call::seen ? cache.seen(k) : cache.check_and_mark(k);
    const std::uint64_t returned = tick();
    a.after = clock.now().time_since_epoch().count();
    return {called, returned, static_cast<std::uint32_t>(thread), a};
}

struct plan_of_round {
    std::uint64_t keys;
    std::size_t threads;
    std::size_t calls;  // per thread
};

struct figures {
    std::size_t calls = 0;
    std::size_t fresh = 0;
};

/// What the threads saw, each of whom calls check_and_mark() and seen(), and `between` before each call.
template <class Key, class Cache, class Between>
std::vector<dedup_timed_call> play(Cache& cache, shared_clock clock, plan_of_round const& round, std::uint64_t seed, Between between) {
    interruptions often;
    std::vector<std::vector<dedup_timed_call>> recorded(round.threads);
    run_together(round.threads, [&](std::size_t i) {
        random_numbers dice(seed * 1000 + i);
        const interruptions::subject me(often);
        recorded[i].reserve(round.calls);
        for (std::size_t n = 0; n < round.calls; ++n) {
            between(dice);
            const auto call = dice.one_in(3) ? dedup_call::seen : dedup_call::check;
            recorded[i].push_back(timed<Cache, Key>(cache, clock, i, call, 1 + dice.below(round.keys)));
        }
    });
    std::vector<dedup_timed_call> all;
    for (auto const& each : recorded) {
        all.insert(all.end(), each.begin(), each.end());
    }
    return all;
}

std::size_t fresh_in(std::vector<dedup_timed_call> const& calls) {
    std::size_t fresh = 0;
    for (auto const& call : calls) {
        fresh += call.action.call == dedup_call::check && call.action.yes ? 1U : 0U;
    }
    return fresh;
}

/// Threads move the clock on by a ms now and then: a key is new many times, once in each of its times.
template <class Cache, class Key>
void judge_with_time(std::size_t rounds) {
    constexpr std::int64_t ttl = 3 * ms;
    constexpr std::array<plan_of_round, 3> plans{{{1, 8, 2000}, {3, 6, 3000}, {6, 8, 3000}}};
    figures total;
    for (std::size_t r = 0; r < scaled(rounds, plans.size()); ++r) {
        auto const& round = plans[r % plans.size()];
        const std::uint64_t seed = run_seed() + r;
        std::atomic<std::int64_t> now{0};
        Cache cache({.capacity = 8, .ttl = nanoseconds{ttl}, .seed = seed}, shared_clock{&now});
        auto const all = play<Key>(cache, shared_clock{&now}, round, seed, [&](random_numbers& dice) {
            if (dice.one_in(50)) {
                now.fetch_add(ms);
            }
            if (dice.one_in(200)) {
                cache.cleanup();
            }
        });
        const auto judged = judge_each_key(all, dedup_entry{.ttl = ttl}, [](dedup_action const& a) { return a.key; });
        ASSERT_EQ(judged.found.is, verdict::linearizable) << "WEIR_TEST_SEED=" << seed << '\n' << judged;
        ASSERT_EQ(cache.stats().fresh, fresh_in(all));
        ASSERT_EQ(cache.stats().evicted_live, 0U);
        ASSERT_GT(fresh_in(all), round.keys) << "no key was new a second time";
        total.calls += all.size();
        total.fresh += fresh_in(all);
    }
    testing::Test::RecordProperty("calls", std::to_string(total.calls));
    testing::Test::RecordProperty("fresh", std::to_string(total.fresh));
}

/// Each key has to go for the next one.
template <class Cache, class Key>
void judge_one_place(std::size_t rounds) {
    constexpr std::array<plan_of_round, 3> plans{{{2, 8, 1000}, {3, 6, 1500}, {7, 8, 1500}}};
    for (std::size_t r = 0; r < scaled(rounds, plans.size()); ++r) {
        auto const& round = plans[r % plans.size()];
        const std::uint64_t seed = run_seed() + r;
        const std::atomic<std::int64_t> now{0};
        Cache cache({.capacity = 1, .ttl = 1h, .seed = seed}, shared_clock{&now});
        auto const all = play<Key>(cache, shared_clock{&now}, round, seed, [](random_numbers&) {});
        const auto judged = judge(all, dedup_place{});
        ASSERT_EQ(judged.is, verdict::linearizable) << "WEIR_TEST_SEED=" << seed << '\n' << explain(all, judged);
        ASSERT_GT(fresh_in(all), 1U);
    }
}

// What such a history looks like, and what is none.
TEST(dedup_history, two_are_not_told_that_one_key_is_new) {
    const auto judged = [](char const* text) {
        std::istringstream in(text);
        return judge(read_history<dedup_action>(in), dedup_entry{.ttl = 5}).is;
    };
    EXPECT_EQ(judged("thread 0 from 1 to 9 : check key 7 at 0 to 0 -> yes\n"
                     "thread 1 from 2 to 8 : check key 7 at 0 to 1 -> yes\n"), verdict::refuted);
    EXPECT_EQ(judged("thread 0 from 1 to 9 : check key 7 at 0 to 0 -> yes\n"
                     "thread 1 from 2 to 8 : check key 7 at 0 to 1 -> no\n"
                     "thread 2 from 3 to 4 : seen key 7 at 0 to 0 -> no\n"), verdict::linearizable);
    EXPECT_EQ(judged("thread 0 from 1 to 2 : check key 7 at 0 to 0 -> yes\n"
                     "thread 1 from 3 to 4 : seen key 7 at 4 to 4 -> no\n"), verdict::refuted);
    EXPECT_EQ(judged("thread 0 from 1 to 2 : check key 7 at 0 to 0 -> yes\n"
                     "thread 1 from 3 to 4 : seen key 7 at 5 to 5 -> yes\n"), verdict::refuted);
    EXPECT_EQ(judged("thread 0 from 1 to 2 : check key 7 at 0 to 0 -> yes\n"
                     "thread 1 from 3 to 4 : check key 7 at 4 to 5 -> yes\n"
                     "thread 1 from 5 to 6 : seen key 7 at 9 to 9 -> yes\n"), verdict::linearizable);
    EXPECT_EQ(judged("thread 0 from 1 to 2 : check key 7 at 0 to 0 -> no\n"), verdict::refuted);
}

TEST(dedup_history, one_place_has_one_key) {
    const auto judged = [](char const* text) {
        std::istringstream in(text);
        return judge(read_history<dedup_action>(in), dedup_place{}).is;
    };
    EXPECT_EQ(judged("thread 0 from 1 to 4 : check key 7 at 0 to 0 -> yes\n"
                     "thread 1 from 2 to 3 : check key 8 at 0 to 0 -> yes\n"
                     "thread 1 from 5 to 6 : seen key 7 at 0 to 0 -> yes\n"), verdict::linearizable);
    EXPECT_EQ(judged("thread 0 from 1 to 4 : check key 7 at 0 to 0 -> yes\n"
                     "thread 1 from 2 to 3 : check key 8 at 0 to 0 -> yes\n"
                     "thread 1 from 5 to 6 : seen key 7 at 0 to 0 -> yes\n"
                     "thread 0 from 5 to 6 : seen key 8 at 0 to 0 -> yes\n"), verdict::refuted);
}

}  // namespace

TEST(dedup_cache_linearizability, a_key_is_new_once_in_each_of_its_times) {
    judge_with_time<prints<std::uint64_t>, std::uint64_t>(30);
}

TEST(dedup_cache_linearizability, a_key_that_is_kept_whole_is_new_once_in_each_of_its_times) {
    judge_with_time<exact<key>, key>(30);
}

TEST(dedup_cache_linearizability, keys_that_make_room_for_each_other_do_so_one_after_the_other) {
    judge_one_place<prints<std::uint64_t>, std::uint64_t>(30);
}

TEST(dedup_cache_linearizability, keys_of_many_words_make_room_for_each_other_one_after_the_other) {
    judge_one_place<exact<key>, key>(30);
}
