// weir (BSL-1.0). dedup_cache_test: one winner for each key and TTL, in memory that stays, whatever clocks, keys and threads do.
#include <weir/data/dedup_cache.hpp>

#include "support/failing_new.hpp"
#include "support/hostile_keys.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using number = std::uint64_t;
using weir::dedup_answer;
using weir::dedup_cache_options;
using weir::manual_clock;

using numbers = weir::dedup_cache<number, std::hash<number>, manual_clock>;
using exact_numbers = weir::exact_dedup_cache<number, std::hash<number>, manual_clock>;
using names = weir::dedup_cache<std::string_view, std::hash<std::string_view>, manual_clock>;

constexpr auto wrap = milliseconds{std::int64_t{1} << 32};  // after which the times in the marks repeat

// -- What the README shows

TEST(dedup_cache, a_key_is_new_once_until_its_time_is_over) {
    manual_clock clock;
    names cache{{.capacity = 100, .ttl = 1s}, clock};
    EXPECT_TRUE(cache.check_and_mark("a"));
    EXPECT_FALSE(cache.check_and_mark("a"));
    EXPECT_TRUE(cache.check_and_mark("b"));
    clock.advance(999ms);
    EXPECT_FALSE(cache.check_and_mark("a"));
    clock.advance(1ms);
    EXPECT_TRUE(cache.check_and_mark("a"));
    EXPECT_FALSE(cache.check_and_mark("a"));
}

TEST(dedup_cache, seen_says_whether_a_key_is_marked_and_marks_nothing) {
    manual_clock clock;
    names cache{{.ttl = 1s}, clock};
    EXPECT_FALSE(cache.seen("a"));
    EXPECT_FALSE(cache.seen("a"));
    EXPECT_TRUE(cache.check_and_mark("a"));
    EXPECT_TRUE(cache.seen("a"));
    clock.advance(999ms);
    EXPECT_TRUE(cache.seen("a"));
    clock.advance(1ms);
    EXPECT_FALSE(cache.seen("a"));
    EXPECT_EQ(cache.stats().fresh, 1U);
    EXPECT_EQ(cache.stats().duplicates, 0U);
}

TEST(dedup_cache, marks_a_key_without_asking) {
    manual_clock clock;
    names cache{{.ttl = 1s}, clock};
    EXPECT_TRUE(cache.mark("a"));
    EXPECT_TRUE(cache.mark("a"));
    EXPECT_TRUE(cache.seen("a"));
    EXPECT_EQ(cache.check("a"), dedup_answer::duplicate);
    EXPECT_EQ(cache.check("b"), dedup_answer::fresh);
}

// -- Time

TEST(dedup_cache, a_second_sight_does_not_make_the_time_longer) {
    manual_clock clock;
    names cache{{.ttl = 1s}, clock};
    EXPECT_TRUE(cache.check_and_mark("a"));
    clock.advance(600ms);
    EXPECT_FALSE(cache.check_and_mark("a"));
    EXPECT_TRUE(cache.mark("a"));
    clock.advance(400ms);
    EXPECT_TRUE(cache.check_and_mark("a"));
}

TEST(dedup_cache, a_second_sight_makes_the_time_longer_where_it_slides) {
    manual_clock clock;
    names cache{{.ttl = 1s, .sliding = true}, clock};
    EXPECT_TRUE(cache.check_and_mark("a"));
    for (int i = 0; i < 20; ++i) {
        clock.advance(999ms);
        EXPECT_TRUE(cache.seen("a"));  // does not make it longer
        EXPECT_FALSE(cache.check_and_mark("a")) << i;
    }
    clock.advance(1s);
    EXPECT_FALSE(cache.seen("a"));
    EXPECT_TRUE(cache.check_and_mark("a"));
}

TEST(dedup_cache, a_key_is_remembered_for_its_ttl_and_less_than_a_ms_longer) {
    for (nanoseconds const ttl : {1ns, 400'000ns, 999'999ns, 1'000'000ns, 1'000'001ns, 7'300'000ns}) {
        for (nanoseconds const start : {0ns, 1ns, 300'000ns, 999'999ns, 1'000'000ns}) {
            for (nanoseconds const later : {0ns, 100'000ns, 999'999ns}) {
                manual_clock clock;
                numbers cache{{.ttl = ttl}, clock};
                clock.advance(start);
                ASSERT_TRUE(cache.check_and_mark(1));
                clock.advance(ttl - 1ns);
                EXPECT_FALSE(cache.check_and_mark(1)) << "early: ttl " << ttl.count() << ", start " << start.count();
                clock.advance(1ns + later + 1ms - 1ns);
                bool const again = cache.check_and_mark(1);
                EXPECT_TRUE(again || later < 999'999ns) << "late: ttl " << ttl.count() << ", start " << start.count();
            }
        }
    }
}

TEST(dedup_cache, whole_ms_are_exact) {
    manual_clock clock;
    numbers cache{{.ttl = 7ms}, clock};
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(cache.check_and_mark(1));
        clock.advance(7ms - 1ns);
        ASSERT_FALSE(cache.check_and_mark(1));
        clock.advance(1ns);
    }
}

TEST(dedup_cache, the_longest_ttl_is_kept_to_the_ms) {
    constexpr nanoseconds ttl = 24h * 49;
    manual_clock clock;
    numbers cache{{.ttl = ttl}, clock};
    clock.advance(5h);
    EXPECT_TRUE(cache.check_and_mark(1));
    clock.advance(ttl - 1ms);
    EXPECT_TRUE(cache.seen(1));
    EXPECT_FALSE(cache.check_and_mark(1));
    clock.advance(1ms);
    EXPECT_FALSE(cache.seen(1));
    EXPECT_TRUE(cache.check_and_mark(1));
}

TEST(dedup_cache, a_mark_is_not_taken_for_a_new_one_when_the_times_in_it_repeat) {
    for (nanoseconds const ttl : {nanoseconds{1s}, nanoseconds{24h * 40}}) {
        for (int turns = 1; turns <= 5; ++turns) {
            for (milliseconds const off : {-1001ms, -1000ms, -1ms, 0ms, 1ms, 999ms, 1000ms}) {
                manual_clock clock;
                numbers cache{{.ttl = ttl}, clock};
                ASSERT_TRUE(cache.check_and_mark(1));
                clock.advance(turns * wrap + off);
                EXPECT_FALSE(cache.seen(1)) << turns << ", " << off.count();
                EXPECT_EQ(cache.live(), 0U);
                EXPECT_TRUE(cache.check_and_mark(1)) << turns << ", " << off.count();
                EXPECT_FALSE(cache.check_and_mark(1));
            }
        }
    }
}

TEST(dedup_cache, a_set_that_others_keep_busy_forgets_too) {
    manual_clock clock;
    exact_numbers cache{{.capacity = 8, .ttl = 1s}, clock};
    ASSERT_TRUE(cache.check_and_mark(1));
    for (int hour = 0; hour < 24 * 120; ++hour) {  // longer than two turns of the times in the marks
        clock.advance(1h);
        ASSERT_FALSE(cache.seen(1)) << hour;
        ASSERT_TRUE(cache.check_and_mark(2)) << hour;
    }
}

TEST(dedup_cache, a_clock_that_steps_back_makes_no_key_new) {
    for (nanoseconds const step : {nanoseconds{1ms}, nanoseconds{999ms}, nanoseconds{1s}, nanoseconds{2s}, nanoseconds{24h},
                                   nanoseconds{24h * 400}, nanoseconds{24h * 4000}}) {
        manual_clock clock;
        numbers cache{{.ttl = 1s}, clock};
        clock.advance(10s);
        ASSERT_TRUE(cache.check_and_mark(1));
        clock.advance(-step);
        EXPECT_TRUE(cache.seen(1));
        EXPECT_FALSE(cache.check_and_mark(1)) << step.count();
        clock.advance(999ms);
        if (step >= 1s) {
            EXPECT_FALSE(cache.check_and_mark(1)) << step.count();
        }
        clock.advance(2ms);
        EXPECT_TRUE(cache.check_and_mark(1)) << "remembered for more than a TTL since the step, " << step.count();
        EXPECT_FALSE(cache.check_and_mark(1));
        clock.advance(999ms);
        EXPECT_FALSE(cache.check_and_mark(1));
        clock.advance(1ms);
        EXPECT_TRUE(cache.check_and_mark(1));
    }
}

TEST(dedup_cache, a_clock_that_stands_still_is_no_matter) {
    manual_clock clock;
    exact_numbers cache{{.capacity = 8, .ttl = 1ms}, clock};
    for (number k = 0; k < 8; ++k) {
        EXPECT_TRUE(cache.check_and_mark(k));
    }
    for (int i = 0; i < 1000; ++i) {
        ASSERT_FALSE(cache.check_and_mark(static_cast<number>(i % 8)));
    }
    EXPECT_TRUE(cache.check_and_mark(8));
    EXPECT_EQ(cache.stats().evicted_live, 1U);
}

TEST(dedup_cache, a_clock_that_jumps_ahead_and_back_costs_one_ttl) {
    manual_clock clock;
    numbers cache{{.ttl = 1s}, clock};
    clock.advance(24h * 365 * 30);  // further than it counts: time stands still there
    EXPECT_TRUE(cache.check_and_mark(1));
    EXPECT_FALSE(cache.check_and_mark(1));
    clock.advance(24h * -365 * 30);
    EXPECT_FALSE(cache.check_and_mark(1));
    clock.advance(1001ms);
    EXPECT_TRUE(cache.check_and_mark(1));
}

// -- Room

TEST(dedup_cache, the_oldest_makes_room_and_what_has_expired_before_it) {
    manual_clock clock;
    names cache{{.capacity = 2, .ttl = 1s}, clock};
    EXPECT_TRUE(cache.check_and_mark("a"));
    clock.advance(1ms);
    EXPECT_TRUE(cache.check_and_mark("b"));
    clock.advance(1ms);
    EXPECT_TRUE(cache.check_and_mark("c"));
    EXPECT_EQ(cache.stats().evicted_live, 1U);
    EXPECT_FALSE(cache.check_and_mark("b"));
    EXPECT_TRUE(cache.check_and_mark("a"));
    EXPECT_EQ(cache.stats().evicted_live, 2U);
    clock.advance(1s);
    EXPECT_TRUE(cache.check_and_mark("d"));
    EXPECT_EQ(cache.stats().evicted_live, 2U);
}

TEST(dedup_cache, the_one_not_marked_for_longest_makes_room_where_time_slides) {
    manual_clock clock;
    names cache{{.capacity = 2, .ttl = 1s, .sliding = true}, clock};
    EXPECT_TRUE(cache.check_and_mark("a"));
    clock.advance(1ms);
    EXPECT_TRUE(cache.check_and_mark("b"));
    clock.advance(1ms);
    EXPECT_FALSE(cache.check_and_mark("a"));
    EXPECT_TRUE(cache.check_and_mark("c"));
    EXPECT_TRUE(cache.seen("a"));
    EXPECT_FALSE(cache.seen("b"));
}

TEST(dedup_cache, may_refuse_new_keys_instead) {
    manual_clock clock;
    names cache{{.capacity = 2, .ttl = 1s, .when_full = weir::dedup_full::refuse_new}, clock};
    EXPECT_TRUE(cache.check_and_mark("a"));
    EXPECT_TRUE(cache.check_and_mark("b"));
    EXPECT_FALSE(cache.check_and_mark("c"));
    EXPECT_EQ(cache.check("c"), dedup_answer::refused);
    EXPECT_FALSE(cache.mark("c"));
    EXPECT_FALSE(cache.seen("c"));
    EXPECT_EQ(cache.check("a"), dedup_answer::duplicate);
    EXPECT_TRUE(cache.mark("a"));
    EXPECT_EQ(cache.stats().refused, 3U);
    EXPECT_EQ(cache.stats().evicted_live, 0U);
    clock.advance(1s);
    EXPECT_TRUE(cache.check_and_mark("c"));
}

TEST(dedup_cache, has_the_capacity_asked_for_and_at_most_a_seventh_more) {
    for (std::size_t asked = 1; asked <= 1000; ++asked) {
        numbers const cache{{.capacity = asked}, manual_clock{}};
        EXPECT_GE(cache.capacity(), asked);
        EXPECT_LE(cache.capacity(), asked + asked / 7 + 1);
        EXPECT_EQ(cache.stats().capacity, cache.capacity());
        if (asked <= 8) {
            EXPECT_EQ(cache.capacity(), asked);
        }
    }
}

TEST(dedup_cache, one_set_remembers_as_many_keys_as_it_has_places) {
    for (std::size_t places = 1; places <= 8; ++places) {
        manual_clock clock;
        exact_numbers cache{{.capacity = places, .ttl = 1s}, clock};
        for (number k = 0; k < places; ++k) {
            EXPECT_TRUE(cache.check_and_mark(k));
            clock.advance(1ms);
        }
        for (number k = 0; k < places; ++k) {
            EXPECT_FALSE(cache.check_and_mark(k));
        }
        EXPECT_EQ(cache.live(), places);
        EXPECT_EQ(cache.stats().evicted_live, 0U);
        EXPECT_TRUE(cache.check_and_mark(100));
        EXPECT_FALSE(cache.seen(0));
        EXPECT_EQ(cache.live(), places);
    }
}

TEST(dedup_cache, few_keys_make_room_early_in_a_quarter_full_cache) {
    manual_clock clock;
    numbers cache{{.capacity = 4096, .ttl = 1024ms, .seed = run_seed()}, clock};
    auto const steps = scaled(200'000, 20'000);
    for (number k = 0; k < steps; ++k) {  // 1024 in a TTL
        ASSERT_TRUE(cache.check_and_mark(k));
        clock.advance(1ms);
    }
    EXPECT_LT(cache.stats().evicted_live, steps / 300);
}

TEST(dedup_cache, cleanup_forgets_what_has_expired_and_nothing_else) {
    manual_clock clock;
    numbers cache{{.capacity = 4096, .ttl = 1s}, clock};
    for (number k = 0; k < 100; ++k) {
        ASSERT_TRUE(cache.check_and_mark(k));
    }
    clock.advance(500ms);
    for (number k = 100; k < 200; ++k) {
        ASSERT_TRUE(cache.check_and_mark(k));
    }
    EXPECT_EQ(cache.cleanup(), 0U);
    clock.advance(500ms);
    EXPECT_EQ(cache.live(), 100U);
    std::size_t gone = 0;
    for (std::size_t i = 0; i < 4096 / 8; ++i) {
        gone += cache.cleanup(1);
    }
    EXPECT_LE(gone, 100U);  // marks of the second hundred have swept their own sets already
    EXPECT_GE(gone, 60U);
    EXPECT_EQ(cache.cleanup(), 0U);
    for (number k = 100; k < 200; ++k) {
        EXPECT_TRUE(cache.seen(k));
    }
    EXPECT_EQ(cache.live(), 100U);
}

// -- Against a model without sets, words and rounding: what is in the one set of a cache is what a list says.

TEST(dedup_cache, does_what_a_list_of_keys_and_times_would_do) {
    struct entry {
        number key;
        std::int64_t expiry;
    };
    for (unsigned round = 0; round < scaled(40, 8); ++round) {
        random_numbers dice(run_seed() + round);
        bool const sliding = dice.one_in(2);
        bool const refuse = dice.one_in(3);
        auto const places = 1 + static_cast<std::size_t>(dice.below(8));
        auto const ttl = static_cast<std::int64_t>(dice.one_in(4) ? 1 + dice.below(4'000'000'000) : 1 + dice.below(50));
        manual_clock clock;
        exact_numbers cache{{.capacity = places,
                             .ttl = milliseconds{ttl},
                             .sliding = sliding,
                             .when_full = refuse ? weir::dedup_full::refuse_new : weir::dedup_full::evict_oldest},
                            clock};
        std::vector<entry> model;
        std::int64_t now = 0;
        for (int step = 0; step < 4000; ++step) {
            switch (dice.below(12)) {
                case 0: now += ttl; break;
                case 1: now += ttl - 1; break;
                case 2: now += static_cast<std::int64_t>(dice.below(static_cast<std::uint64_t>(2 * ttl))); break;
                case 3: now += dice.one_in(20) ? (std::int64_t{1} << 32) * static_cast<std::int64_t>(dice.below(3)) - 1 : 0; break;
                case 4: now -= dice.one_in(10) ? static_cast<std::int64_t>(dice.below(static_cast<std::uint64_t>(3 * ttl))) : 0; break;
                default: now += dice.one_in(2) ? 1U : 0U;
            }
            now = std::clamp<std::int64_t>(now, -100'000'000'000, 400'000'000'000);
            clock.set(manual_clock::time_point{1000h + milliseconds{now}});
            auto const key = dice.below(12);
            auto const it = std::find_if(model.begin(), model.end(), [&](entry const& e) { return e.key == key; });
            bool const live = it != model.end() && now < it->expiry;
            ASSERT_EQ(cache.seen(key), live) << "round " << round << ", step " << step;
            if (dice.one_in(3)) {
                continue;
            }
            auto const answer = cache.check(key);
            if (!live || it->expiry > now + ttl + 1 || sliding) {  // looks at all of its set
                std::erase_if(model, [&](entry const& e) { return e.expiry <= now; });
                for (auto& e : model) {
                    e.expiry = std::min(e.expiry, now + ttl + 1);
                }
            }
            if (live) {
                ASSERT_EQ(answer, dedup_answer::duplicate) << "round " << round << ", step " << step;
                auto& mine = *std::find_if(model.begin(), model.end(), [&](entry const& e) { return e.key == key; });
                mine.expiry = sliding ? std::max(mine.expiry, now + ttl) : mine.expiry;
            } else if (model.size() < places) {
                ASSERT_EQ(answer, dedup_answer::fresh) << "round " << round << ", step " << step;
                model.push_back({key, now + ttl});
            } else if (refuse) {
                ASSERT_EQ(answer, dedup_answer::refused) << "round " << round << ", step " << step;
            } else {
                ASSERT_EQ(answer, dedup_answer::fresh) << "round " << round << ", step " << step;
                auto const sooner = [](entry const& a, entry const& b) { return a.expiry < b.expiry; };
                auto const least = std::min_element(model.begin(), model.end(), sooner);
                // Of several that expire at once any may go: which one, the cache says.
                auto const end = least->expiry;
                auto const went = [&](entry const& e) { return e.expiry == end && !cache.seen(e.key); };
                auto const gone = std::find_if(model.begin(), model.end(), went);
                ASSERT_NE(gone, model.end()) << "not the oldest went, round " << round << ", step " << step;
                *gone = {key, now + ttl};
            }
            for (auto const& e : model) {
                ASSERT_EQ(cache.seen(e.key), now < e.expiry) << "round " << round << ", step " << step;
            }
        }
    }
}

// -- Keys

TEST(dedup_cache, stored_keys_are_told_apart_where_their_hashes_are_not) {
    weir::exact_dedup_cache<number, colliding_hash<number>, manual_clock> exact{{.capacity = 8}};
    weir::dedup_cache<number, colliding_hash<number>, manual_clock> fingerprints{{.capacity = 8}};
    for (number k = 0; k < 8; ++k) {
        EXPECT_TRUE(exact.check_and_mark(k));
        EXPECT_EQ(fingerprints.check_and_mark(k), k == 0);
    }
    EXPECT_FALSE(exact.seen(8));
    EXPECT_TRUE(fingerprints.seen(8));
}

struct wide_key {
    std::uint64_t high;
    std::uint64_t low;
    std::uint32_t tenant;
    std::uint32_t kind;
};
struct hash_of_wide_key {
    std::size_t operator()(wide_key const& k) const noexcept { return static_cast<std::size_t>(k.high); }  // a poor one
};

TEST(dedup_cache, stored_keys_are_compared_by_all_their_bytes) {
    weir::exact_dedup_cache<wide_key, hash_of_wide_key, manual_clock> cache{{.capacity = 8}};
    EXPECT_TRUE(cache.check_and_mark({1, 2, 3, 4}));
    EXPECT_FALSE(cache.check_and_mark({1, 2, 3, 4}));
    EXPECT_TRUE(cache.check_and_mark({1, 9, 3, 4}));
    EXPECT_TRUE(cache.check_and_mark({1, 2, 9, 4}));
    EXPECT_TRUE(cache.check_and_mark({1, 2, 3, 9}));
    EXPECT_FALSE(cache.check_and_mark({1, 2, 3, 9}));
    EXPECT_TRUE(cache.seen({1, 2, 3, 4}));
}

TEST(dedup_cache, stored_keys_may_be_bytes_of_odd_number) {
    struct odd {
        unsigned char bytes[11];
    };
    auto const hash = [](odd const& k) { return std::size_t{k.bytes[0]}; };
    weir::exact_dedup_cache<odd, decltype(hash), manual_clock> cache{{.capacity = 8}, {}, hash};
    odd a{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
    odd b = a;
    b.bytes[10] = 12;
    EXPECT_TRUE(cache.check_and_mark(a));
    EXPECT_TRUE(cache.check_and_mark(b));
    EXPECT_FALSE(cache.check_and_mark(a));
}

static_assert(weir::storable_key<number> && weir::storable_key<wide_key>);
static_assert(!weir::storable_key<std::string> && !weir::storable_key<double>);
struct too_large {
    unsigned char bytes[65];
};
static_assert(!weir::storable_key<too_large>);

TEST(dedup_cache, regular_keys_spread_like_random_ones) {
    for (auto const& pattern : key_patterns) {
        for (number seed = 1; seed <= 3; ++seed) {
            numbers cache{{.capacity = 65536, .ttl = 1h, .seed = seed}, manual_clock{}};
            constexpr number count = 8192;  // an eighth: one set in a hundred thousand is too full
            number fresh = 0;
            for (number i = 0; i < count; ++i) {
                fresh += cache.check_and_mark(pattern.key(i)) ? 1U : 0U;
            }
            EXPECT_EQ(fresh, count) << pattern.name << ", seed " << seed;
            EXPECT_LE(cache.stats().evicted_live, 3U) << pattern.name << ", seed " << seed;
        }
    }
}

TEST(dedup_cache, keys_chosen_against_one_seed_do_not_fill_a_set_under_another) {
    auto const keys = flooding_keys<std::hash<number>>(2000, 77, 13, 0);
    auto const evicted = [&](number seed) {
        numbers cache{{.capacity = 65536, .ttl = 1h, .seed = seed}, manual_clock{}};
        for (auto const k : keys) {
            static_cast<void>(cache.check_and_mark(k));
        }
        return cache.stats().evicted_live;
    };
    EXPECT_EQ(evicted(77), keys.size() - 8);  // who knows the seed can
    EXPECT_LE(evicted(78), 20U);
    numbers one{{.capacity = 65536, .ttl = 1h}, manual_clock{}};
    for (auto const k : keys) {
        static_cast<void>(one.check_and_mark(k));
    }
    EXPECT_LE(one.stats().evicted_live, 20U);
}

TEST(dedup_cache, memory_stays_the_same_over_millions_of_keys) {
    manual_clock clock;
    numbers cache{{.capacity = 10'000, .ttl = 1s}, clock};
    static_cast<void>(cache.check_and_mark(0));  // counters of this thread
    static_cast<void>(cache.check_and_mark(0));
    for (number k = 1; cache.stats().evicted_live == 0; ++k) {
        static_cast<void>(cache.check_and_mark(k << 40));
    }
    faults::arm(1, fault::operator_new);
    auto const count = scaled(10'000'000, 1'000'000);
    number fresh = 0;
    for (number k = 1; k <= count; ++k) {
        fresh += cache.check_and_mark(k) ? 1U : 0U;
        if (k % 8192 == 0) {
            clock.advance(100ms);
        }
    }
    bool const none_allocated = !news_can_fail || faults::armed();
    faults::disarm();
    EXPECT_TRUE(none_allocated);
    EXPECT_GE(fresh, count - 3);  // 10^7 fingerprints beside at most 8 others each: 0.02 are expected to be equal
    EXPECT_LE(cache.live(), cache.capacity());
    EXPECT_EQ(cache.capacity(), 10'000U);
}

// -- Options

template <class F>
std::string thrown_by(F&& f) {
    try {
        f();
    } catch (std::invalid_argument const& e) {
        return e.what();
    }
    return "nothing";
}

TEST(dedup_cache, options_that_make_no_sense_are_refused_by_name) {
    auto const error = [](dedup_cache_options o) { return thrown_by([&] { numbers{o, manual_clock{}}; }); };
    EXPECT_EQ(error({.capacity = 0}), "weir::dedup_cache: capacity must be in [1, 2^36]");
    EXPECT_EQ(error({.capacity = (std::size_t{1} << 36) + 1}), "weir::dedup_cache: capacity must be in [1, 2^36]");
    EXPECT_EQ(error({.capacity = std::numeric_limits<std::size_t>::max()}), "weir::dedup_cache: capacity must be in [1, 2^36]");
    for (nanoseconds const bad : {0ns, -1ns, nanoseconds::min(), nanoseconds{24h * 49} + 1ns, nanoseconds::max()}) {
        EXPECT_EQ(error({.ttl = bad}), "weir::dedup_cache: ttl must be in (0, 49 days]");
    }
    EXPECT_EQ(error({.when_full = static_cast<weir::dedup_full>(2)}), "weir::dedup_cache: when_full is unknown");
    EXPECT_EQ(error({.capacity = 1, .ttl = 1ns}), "nothing");
    EXPECT_EQ(error({.ttl = 24h * 49}), "nothing");
    EXPECT_EQ(error({}), "nothing");
}

TEST(dedup_cache, what_the_hash_throws_changes_nothing) {
    struct throwing {
        std::size_t operator()(number k) const {
            faults::point();
            return static_cast<std::size_t>(k);
        }
    };
    weir::dedup_cache<number, throwing, manual_clock> cache;
    faults::arm(1);
    EXPECT_THROW(static_cast<void>(cache.check_and_mark(1)), planned_fault);
    faults::disarm();
    EXPECT_FALSE(cache.seen(1));
    EXPECT_TRUE(cache.check_and_mark(1));
    EXPECT_EQ(cache.stats().fresh, 1U);
}

// -- Threads

constexpr std::size_t crowd = 4;

TEST(dedup_cache, of_threads_that_mark_the_same_keys_at_once_one_wins_each) {
    auto const keys = scaled(20'000, 2000);
    for (bool const sliding : {false, true}) {
        manual_clock clock;
        exact_numbers cache{{.capacity = 16 * keys, .ttl = 1s, .sliding = sliding}, clock};
        for (int round = 0; round < 3; ++round) {
            std::vector<std::atomic<unsigned>> wins(keys);
            run_together(crowd, [&](std::size_t who) {
                for (std::size_t i = 0; i < keys; ++i) {
                    auto const k = who % 2 == 0 ? i : keys - 1 - i;  // they meet in the middle, and follow each other
                    wins[k] += cache.check_and_mark(k) ? 1U : 0U;
                }
            });
            auto const wrong = std::count_if(wins.begin(), wins.end(), [](auto const& w) { return w != 1; });
            ASSERT_EQ(wrong, 0) << "keys with none or several winners, round " << round;
            ASSERT_EQ(cache.stats().evicted_live, 0U);
            clock.advance(1s);
        }
    }
}

TEST(dedup_cache, one_wins_where_all_keys_are_in_one_set) {
    for (std::size_t round = 0; round < scaled(600, 60); ++round) {
        exact_numbers cache{{.capacity = 8, .ttl = 1s}, manual_clock{}};
        std::atomic<unsigned> wins[8]{};
        run_together(crowd, [&](std::size_t who) {
            for (number i = 0; i < 8; ++i) {
                auto const k = (i + who) % 8;
                wins[k] += cache.check_and_mark(k) ? 1U : 0U;
                wins[k] += cache.check_and_mark(k) ? 1U : 0U;
            }
        });
        for (auto const& w : wins) {
            ASSERT_EQ(w, 1U);
        }
    }
}

TEST(dedup_cache, no_key_is_new_twice_within_a_ttl_while_the_clock_runs) {
    constexpr number keys = 8;
    constexpr std::int64_t ttl = 20;
    manual_clock clock;
    auto const start = clock.now();
    exact_numbers cache{{.capacity = keys, .ttl = milliseconds{ttl}}, clock};
    std::atomic<unsigned> wins[keys]{};
    auto const calls = scaled(100'000, 10'000);
    findings wrong;
    run_together(crowd, [&](std::size_t who) {
        std::int64_t won_at[keys];
        std::fill(std::begin(won_at), std::end(won_at), std::int64_t{-ttl});
        auto const time = [&] { return std::chrono::duration_cast<milliseconds>(clock.now() - start).count(); };
        for (std::size_t i = 0; i < calls; ++i) {
            if (who == 0 && i % 16 == 0) {
                clock.advance(1ms);
            }
            auto const k = (i + who) % keys;
            auto const before = time();
            if (cache.check_and_mark(k)) {
                wrong.expect(time() - won_at[k] >= ttl, "one thread won a key twice within its TTL");
                won_at[k] = before;
                ++wins[k];
            }
        }
    });
    auto const ticks = calls / 16 + 1;
    EXPECT_TRUE(wrong.none()) << wrong;
    for (auto const& w : wins) {
        EXPECT_LE(w, ticks / static_cast<std::size_t>(ttl) + 1);
    }
    EXPECT_EQ(cache.stats().evicted_live, 0U);
}

TEST(dedup_cache, numbers_add_up_while_keys_push_each_other_out) {
    for (auto const full : {weir::dedup_full::evict_oldest, weir::dedup_full::refuse_new}) {
        manual_clock clock;
        numbers cache{{.capacity = 64, .ttl = 5ms, .when_full = full}, clock};
        auto const calls = scaled(50'000, 5000);
        std::atomic<number> fresh{0};
        run_together(crowd, [&](std::size_t who) {
            random_numbers dice(run_seed() + who);
            for (std::size_t i = 0; i < calls; ++i) {
                fresh += cache.check_and_mark(dice.below(200)) ? 1U : 0U;
                static_cast<void>(cache.seen(dice.below(200)));
                if (who == 0 && i % 64 == 0) {
                    clock.advance(1ms);
                    static_cast<void>(cache.cleanup(1));
                    static_cast<void>(cache.live());
                }
            }
        });
        auto const s = cache.stats();
        EXPECT_EQ(s.fresh + s.duplicates + s.refused, crowd * calls);
        EXPECT_EQ(s.fresh, fresh);
        EXPECT_EQ(full == weir::dedup_full::refuse_new, s.evicted_live == 0);
        EXPECT_EQ(full == weir::dedup_full::refuse_new, s.refused > 0);
        EXPECT_LE(cache.live(), cache.capacity());
    }
}

TEST(dedup_cache, no_key_is_put_together_from_two_others) {
    struct poor_hash {
        std::size_t operator()(wide_key const&) const noexcept { return 1; }
    };
    weir::exact_dedup_cache<wide_key, poor_hash, manual_clock> cache{{.capacity = 1, .ttl = 1h}};
    std::atomic<bool> done{false};
    findings wrong;
    run_together(2, [&](std::size_t who) {
        if (who == 0) {
            for (std::size_t i = 0; i < scaled(400'000, 20'000); ++i) {
                auto const n = i % 2;
                wrong.expect(cache.check_and_mark({n, n, 0, static_cast<std::uint32_t>(n)}), "the other key was still there");
            }
            done = true;
            return;
        }
        while (!done) {
            wrong.expect(!cache.seen({0, 0, 0, 1}), "a key was seen that was never marked");
            wrong.expect(!cache.seen({1, 1, 0, 0}), "a key was seen that was never marked");
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
}

TEST(dedup_cache, a_key_that_is_marked_is_seen_while_others_come_and_go) {
    manual_clock clock;
    exact_numbers cache{{.capacity = 8, .ttl = 1h, .when_full = weir::dedup_full::refuse_new}, clock};
    ASSERT_TRUE(cache.check_and_mark(1));
    clock.advance(30min);
    std::atomic<bool> done{false};
    findings wrong;
    run_together(2, [&](std::size_t who) {
        if (who == 0) {
            for (number i = 0; i < scaled(20'000, 2000); ++i) {
                static_cast<void>(cache.check(100 + i % 50));
                static_cast<void>(cache.cleanup(1));
            }
            done = true;
            return;
        }
        while (!done) {
            wrong.expect(cache.seen(1), "a marked key was not seen");
            wrong.expect(!cache.seen(99), "a key was seen that was never marked");
            wrong.expect(!cache.check_and_mark(1), "a marked key was new");
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
}

}  // namespace
}  // namespace weir_test
