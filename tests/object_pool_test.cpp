// weir (BSL-1.0). Tests of data/object_pool.hpp: objects come back, bounds hold, nothing is lost, doubled or kept for ever.
#include <weir/data/object_pool.hpp>

#include "support/failing_new.hpp"
#include "support/no_lanes.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/sweep.hpp"
#include "support/threads.hpp"
#include "support/values.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using weir::object_pool;
using weir::object_pool_stats;

struct tag {};
/// Cannot move; knows whether it is alive, and in whose hands.
class thing {
public:
    thing() : life_(0) {}
    thing(thing const&) = delete;
    thing& operator=(thing const&) = delete;

    /// False: somebody else has it.
    [[nodiscard]] bool take() noexcept { return !held_.exchange(true); }
    [[nodiscard]] bool let_go() noexcept { return held_.exchange(false) && life_.number() == 0; }

    int wiped = 0;
    std::size_t size = 0;

private:
    tracked<tag> life_;
    std::atomic<bool> held_{false};
};
using people = census<tag>;

/// All things are destroyed, each once, when a test ends.
class object_pool_test : public testing::Test {
protected:
    void SetUp() override { people::reset(); }
    void TearDown() override {
        EXPECT_EQ(people::alive.load(), 0);
        EXPECT_EQ(people::misuses.load(), 0);
    }
};
using object_pool_bounds = object_pool_test;
using object_pool_lifetime = object_pool_test;
using object_pool_cap = object_pool_test;

void expect_laws(object_pool_stats const& s) {
    EXPECT_EQ(s.acquired, s.hits + s.misses);
    EXPECT_EQ(s.released, s.kept + s.discarded);
    EXPECT_EQ(s.objects, s.idle + s.live);
    EXPECT_EQ(s.live, s.acquired - s.released - s.detached);
    EXPECT_EQ(s.idle, s.kept + s.prewarmed - s.hits - s.trimmed);
    EXPECT_GE(s.high_water, s.objects);
}

template <class Pool>
std::vector<weir::pooled<thing>> take_many(Pool& pool, std::size_t n) {
    std::vector<weir::pooled<thing>> all;
    for (std::size_t i = 0; i < n; ++i) {
        all.push_back(pool.acquire());
        EXPECT_TRUE(all.back()->take());
    }
    return all;
}
void give_all(std::vector<weir::pooled<thing>>& all) {
    for (auto& each : all) {
        EXPECT_TRUE(each->let_go());
    }
    all.clear();
}
void in_another_thread(std::function<void()> const& work) {
    crew one;
    one.start(work);
    one.join();
}
/// Waits for what other threads do; false: it did not happen.
template <class F>
bool soon(F happened) {
    auto const end = std::chrono::steady_clock::now() + patience;
    while (!happened()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

// ---- what the README shows

TEST_F(object_pool_test, hands_out_again_what_was_given_back) {
    object_pool<thing> pool;
    thing* first = nullptr;
    {
        auto const a = pool.acquire();
        first = a.get();
    }
    auto const again = pool.acquire();
    EXPECT_EQ(again.get(), first);
    auto const s = pool.stats();
    EXPECT_EQ(s.hits, 1U);
    EXPECT_EQ(s.misses, 1U);
    EXPECT_EQ(s.live, 1U);
    expect_laws(s);
}

TEST_F(object_pool_test, resets_an_object_when_it_is_given_back_and_on_that_thread) {
    std::atomic<int> resets{0};
    std::thread::id where{};
    object_pool pool(weir::object_pool_options<thing>{}, [] { return thing(); },
                     [&](thing& t) {
                         ++t.wiped;
                         ++resets;
                         where = std::this_thread::get_id();
                     });
    auto one = pool.acquire();
    EXPECT_EQ(resets.load(), 0);
    in_another_thread([&] {
        auto const mine = std::move(one);
        EXPECT_FALSE(one);
    });
    EXPECT_EQ(resets.load(), 1);
    EXPECT_NE(where, std::this_thread::get_id());
}

TEST_F(object_pool_test, makes_objects_by_the_factory_and_in_place) {
    struct numbered {
        explicit numbered(int n) : number(n), self(this) {}
        numbered(numbered const&) = delete;
        int number;
        numbered* self;
    };
    std::atomic<int> made{0};
    object_pool pool(weir::object_pool_options<numbered>{}, [&made] { return numbered(++made); });
    auto const a = pool.acquire();
    auto const b = pool.acquire();
    EXPECT_EQ(a->number + b->number, 3);
    EXPECT_EQ(a->self, a.get());
    EXPECT_EQ((*b).self, b.get());
}

TEST_F(object_pool_test, aligns_objects_that_ask_for_more_than_others) {
    struct alignas(256) wide {
        char bytes[300];
    };
    object_pool<wide> pool;
    auto const a = pool.acquire();
    auto const b = pool.acquire();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.get()) % 256, 0U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.get()) % 256, 0U);
}

// ---- handles

TEST_F(object_pool_test, handles_move_and_give_back_once) {
    static_assert(!std::is_copy_constructible_v<weir::pooled<thing>> && sizeof(weir::pooled<thing>) == sizeof(void*));
    object_pool<thing> pool;
    auto a = pool.acquire();
    auto b = std::move(a);
    EXPECT_FALSE(a);
    EXPECT_TRUE(b);
    a = pool.acquire();
    b = std::move(a);  // what b had goes back
    EXPECT_EQ(pool.stats().idle, 1U);
    b.reset();
    b.reset();
    auto const s = pool.stats();
    EXPECT_EQ(s.idle, 2U);
    EXPECT_EQ(s.released, 2U);
    expect_laws(s);
}

TEST_F(object_pool_test, a_detached_object_is_the_callers_and_outlives_the_pool) {
    weir::pooled<thing>::detached mine;
    {
        object_pool<thing> pool;
        mine = pool.acquire().release();
        auto const s = pool.stats();
        EXPECT_EQ(s.live, 0U);
        EXPECT_EQ(s.objects, 0U);
        EXPECT_EQ(s.detached, 1U);
        expect_laws(s);
    }
    EXPECT_EQ(people::alive.load(), 1);
    EXPECT_TRUE(mine->take());
    EXPECT_EQ(weir::pooled<thing>{}.release(), nullptr);
}

TEST_F(object_pool_test, a_discarded_object_is_destroyed_at_once) {
    object_pool<thing> pool;
    auto a = pool.acquire();
    a.discard();
    EXPECT_FALSE(a);
    a.discard();
    EXPECT_EQ(people::alive.load(), 0);
    auto* const raw = pool.get();
    pool.discard(raw);
    auto const s = pool.stats();
    EXPECT_EQ(s.discarded, 2U);
    EXPECT_EQ(s.idle, 0U);
    expect_laws(s);
}

TEST_F(object_pool_test, get_and_put_do_without_handles) {
    object_pool<thing> pool;
    thing* const a = pool.get();
    thing* const b = pool.try_get();
    EXPECT_NE(a, b);
    pool.put(a);
    EXPECT_EQ(pool.get(), a);
    pool.put(a);
    pool.put(b);
    EXPECT_EQ(pool.stats().idle, 2U);
}

// ---- what is kept

TEST_F(object_pool_bounds, keeps_exactly_as_many_idle_objects_as_it_may) {
    for (std::size_t const most : {1U, 2U, 15U, 63U, 64U, 65U, 200U, 1023U, 1024U, 3000U}) {
        weir::object_pool_options<thing> o;
        o.max_idle = most;
        object_pool<thing> pool(o);
        auto all = take_many(pool, most + 40);
        give_all(all);
        auto const s = pool.stats();
        EXPECT_EQ(s.idle, most);
        EXPECT_EQ(s.discarded, 40U);
        EXPECT_EQ(people::alive.load(), static_cast<std::int64_t>(most));
        EXPECT_EQ(s.high_water, most + 40);
        expect_laws(s);
        all = take_many(pool, most);
        EXPECT_EQ(pool.stats().hits, most);
    }
}

TEST_F(object_pool_bounds, keeps_no_more_bytes_than_it_may) {
    weir::object_pool_options<thing> o;
    o.max_idle_bytes = 1000;
    o.size_of = [](thing const& t) { return t.size; };
    for (std::size_t const each : {1U, 7U, 100U, 333U, 999U, 1000U}) {
        object_pool<thing> pool(o);
        auto all = take_many(pool, 1010 / each + 3);
        for (auto& one : all) {
            one->size = each;
        }
        give_all(all);
        EXPECT_EQ(pool.stats().bytes, std::min<std::size_t>(1000 / each, 1024) * each) << each;
        EXPECT_EQ(pool.stats().idle, std::min<std::size_t>(1000 / each, 1024)) << each;
        auto const taken = take_many(pool, 1000 / each);
        EXPECT_EQ(pool.stats().bytes, 0U);
    }
    object_pool<thing> pool(o);
    auto huge = take_many(pool, 1);
    huge[0]->size = 1001;
    give_all(huge);
    EXPECT_EQ(people::alive.load(), 0);
}

// Bytes that a thread has reserved go back when it takes the objects out: another can use them.
TEST_F(object_pool_bounds, a_thread_that_empties_its_block_gives_its_bytes_back) {
    weir::object_pool_options<thing> o;
    o.max_idle_bytes = 64'000;
    o.size_of = [](thing const& t) { return t.size; };
    object_pool<thing> pool(o);
    auto mine = take_many(pool, 4);
    for (auto& one : mine) {
        one->size = 16'000;
    }
    give_all(mine);
    mine = take_many(pool, 4);
    in_another_thread([&] {
        auto theirs = take_many(pool, 3);
        for (auto& one : theirs) {
            one->size = 16'000;
        }
        give_all(theirs);
    });
    EXPECT_EQ(pool.stats().bytes, 48'000U);
    EXPECT_EQ(pool.stats().idle, 3U);
}

TEST_F(object_pool_bounds, keeps_only_what_is_worth_it) {
    weir::object_pool_options<thing> o;
    o.keep = [](thing const& t) { return t.size <= 64; };
    object_pool<thing> pool(o);
    auto two = take_many(pool, 2);
    two[0]->size = 65;
    two[1]->size = 64;
    give_all(two);
    EXPECT_EQ(pool.stats().idle, 1U);
    EXPECT_EQ(pool.stats().discarded, 1U);
}

TEST_F(object_pool_bounds, an_object_whose_reset_throws_is_destroyed_and_its_error_reported) {
    for (int const who : {0, 1, 2}) {
        std::vector<std::string> seen;
        weir::object_pool_options<thing> o;
        auto const fail = [who](int me) {
            if (who == me) {
                throw std::runtime_error("no " + std::to_string(me));
            }
        };
        o.size_of = [&](thing const&) { return fail(1), std::size_t{1}; };
        o.keep = [&](thing const&) { return fail(2), true; };
        o.on_error = [&](std::exception_ptr const& e) {
            try {
                std::rethrow_exception(e);
            } catch (std::exception const& what) {
                seen.emplace_back(what.what());
            }
        };
        object_pool pool(o, weir::default_factory<thing>{}, [&](thing&) { fail(0); });
        pool.acquire().reset();
        EXPECT_EQ(people::alive.load(), 0);
        EXPECT_EQ(seen, std::vector<std::string>{"no " + std::to_string(who)});
        auto const s = pool.stats();
        EXPECT_EQ(s.errors, 1U);
        EXPECT_EQ(s.discarded, 1U);
        expect_laws(s);
    }
}

TEST_F(object_pool_bounds, what_the_factory_throws_reaches_the_caller_and_nothing_is_counted) {
    int calls = 0;
    object_pool pool(weir::object_pool_options<thing>{}, [&calls] {
        if (++calls % 2 == 1) {
            throw std::domain_error("no thing");
        }
        return thing();
    });
    EXPECT_THROW(static_cast<void>(pool.acquire()), std::domain_error);
    EXPECT_EQ(pool.stats().acquired, 0U);
    EXPECT_EQ(pool.stats().objects, 0U);
    EXPECT_TRUE(pool.acquire());
    EXPECT_THROW(pool.prewarm(5), std::domain_error);
    EXPECT_EQ(pool.stats().idle, 1U);
    expect_laws(pool.stats());
}

TEST_F(object_pool_bounds, prewarm_makes_as_many_as_are_missing_and_fit) {
    weir::object_pool_options<thing> o;
    o.max_idle = 100;
    object_pool<thing> pool(o);
    EXPECT_EQ(pool.prewarm(10), 10U);
    EXPECT_EQ(pool.prewarm(10), 0U);
    EXPECT_EQ(pool.prewarm(1000), 90U);
    auto const s = pool.stats();
    EXPECT_EQ(s.idle, 100U);
    EXPECT_EQ(s.prewarmed, 100U);
    EXPECT_EQ(s.kept, 0U);
    expect_laws(s);
    auto const all = take_many(pool, 100);
    EXPECT_EQ(pool.stats().misses, 0U);
    in_another_thread([&] { EXPECT_EQ(pool.prewarm(50), 50U); });
}

TEST_F(object_pool_bounds, trim_takes_from_the_depot_and_from_the_hands_of_every_thread) {
    for (std::size_t const left : {500U, 401U, 400U, 399U, 300U, 41U, 7U, 1U, 0U}) {
        object_pool<thing> pool;
        gate done;
        arrivals put;
        crew others;
        for (int i = 0; i < 2; ++i) {
            others.start([&] {
                auto mine = take_many(pool, 20);
                give_all(mine);
                put.arrive();
                EXPECT_TRUE(done.wait());
                EXPECT_TRUE(pool.acquire());  // it can go on
            });
        }
        ASSERT_TRUE(put.wait_for(2));
        auto mine = take_many(pool, 400);
        give_all(mine);
        auto const before = pool.stats().idle;
        EXPECT_EQ(before, people::alive.load() + 0U);
        EXPECT_EQ(pool.trim(left), before > left ? before - left : 0);
        EXPECT_EQ(pool.stats().idle, std::min(before, left));
        EXPECT_EQ(people::alive.load(), static_cast<std::int64_t>(std::min(before, left)));
        expect_laws(pool.stats());
        done.open();
        others.join();
    }
}

TEST_F(object_pool_bounds, after_clear_there_is_room_for_as_many_as_before) {
    weir::object_pool_options<thing> o;
    o.max_idle = 128;
    object_pool<thing> pool(o);
    for (int round = 0; round < 5; ++round) {
        auto all = take_many(pool, 128);
        give_all(all);
        EXPECT_EQ(pool.stats().idle, 128U);
        EXPECT_EQ(pool.clear(), 128U);
        EXPECT_EQ(people::alive.load(), 0);
    }
}

TEST_F(object_pool_bounds, what_nobody_needed_for_long_enough_goes) {
    weir::manual_clock clock;
    weir::object_pool_options<thing> o;
    o.shrink_after = 10s;
    object_pool pool(o, weir::default_factory<thing>{}, weir::no_reset{}, clock);
    auto many = take_many(pool, 300);
    give_all(many);
    gate done;
    arrivals put;
    crew other;
    other.start([&] {
        auto mine = take_many(pool, 20);
        give_all(mine);
        put.arrive();
        EXPECT_TRUE(done.wait());
    });
    ASSERT_TRUE(put.wait_for(1));
    EXPECT_EQ(pool.stats().idle, 300U);
    clock.advance(9s);
    pool.acquire().reset();
    EXPECT_EQ(pool.stats().idle, 300U) << "too early";
    clock.advance(2s);
    pool.acquire().reset();  // ends the first span, in which all of it was needed
    auto const needed = pool.stats().idle;
    clock.advance(10s);
    pool.acquire().reset();  // ends a span in which this thread alone did something, with one object
    auto const s = pool.stats();
    EXPECT_LT(s.idle, 33U);
    EXPECT_GE(s.idle, 1U);
    EXPECT_LE(s.idle, needed);
    expect_laws(s);
    done.open();
    other.join();
}

TEST_F(object_pool_bounds, what_is_needed_all_the_time_stays) {
    weir::manual_clock clock;
    weir::object_pool_options<thing> o;
    o.shrink_after = 10s;
    object_pool pool(o, weir::default_factory<thing>{}, weir::no_reset{}, clock);
    for (int round = 0; round < 20; ++round) {
        auto many = take_many(pool, 300);
        give_all(many);
        clock.advance(6s);
    }
    EXPECT_EQ(pool.stats().misses, 300U);
    EXPECT_EQ(pool.stats().trimmed, 0U);
}

// ---- threads

TEST_F(object_pool_test, what_a_thread_had_at_hand_goes_to_others_when_it_is_gone) {
    object_pool<thing> pool;
    gate begin;
    gate done;
    crew two;  // at once, so that they have slots that this thread does not get
    arrivals put;
    for (int i = 0; i < 2; ++i) {
        two.start([&] {
            auto mine = take_many(pool, 20);
            put.arrive();
            EXPECT_TRUE(done.wait());
            give_all(mine);
        });
    }
    ASSERT_TRUE(put.wait_for(2));
    done.open();
    two.join();
    EXPECT_EQ(pool.stats().idle, 40U);
    auto const all = take_many(pool, 40);
    EXPECT_EQ(pool.stats().hits, 40U);
    EXPECT_EQ(pool.stats().misses, 40U);
    expect_laws(pool.stats());
}

TEST_F(object_pool_test, room_that_a_thread_had_goes_to_others_when_it_is_gone) {
    weir::object_pool_options<thing> o;
    o.max_idle = 1024;
    object_pool<thing> pool(o);
    auto all = take_many(pool, 1024);
    in_another_thread([&] {
        auto one = take_many(pool, 1);
        give_all(one);
        one = take_many(pool, 1);
        give_all(one);
    });
    give_all(all);
    EXPECT_EQ(pool.stats().idle, 1024U);
}

TEST_F(object_pool_test, objects_given_back_in_another_thread_come_round) {
    object_pool<thing> pool;
    for (int round = 0; round < 4; ++round) {
        auto all = take_many(pool, 200);
        in_another_thread([&] { give_all(all); });
    }
    auto const s = pool.stats();
    EXPECT_EQ(s.misses, 200U);
    EXPECT_EQ(s.hits, 600U);
    expect_laws(s);
}

TEST_F(object_pool_test, threads_without_a_lane_share_what_is_in_the_depot) {
    object_pool<thing> pool;
    all_slots_taken const none_left;
    in_another_thread([&] {
        EXPECT_GE(weir::detail::this_thread_slot(), weir::detail::unique_thread_slots);
        for (int round = 0; round < 3; ++round) {
            auto all = take_many(pool, 1024);
            give_all(all);
            EXPECT_EQ(pool.stats().idle, 1024U);
        }
        EXPECT_EQ(pool.stats().misses, 1024U);
    });
    expect_laws(pool.stats());
    EXPECT_EQ(pool.clear(), 1024U);
}

TEST_F(object_pool_test, a_thread_gives_back_in_its_last_destructors) {
    object_pool<thing> pool;
    in_another_thread([&] {
        auto& last = last_act::of_this_thread();
        last.what = [kept = std::make_shared<weir::pooled<thing>>(pool.acquire()), &pool] {
            kept->reset();
            EXPECT_TRUE(pool.acquire());
        };
    });
    EXPECT_EQ(pool.stats().idle, 1U);
    expect_laws(pool.stats());
}

TEST_F(object_pool_test, many_threads_never_share_an_object_and_lose_none) {
    for (std::size_t const cap : {0U, 20U}) {
        weir::object_pool_options<thing> o;
        o.max_idle = 128;
        o.max_live = cap;
        object_pool<thing> pool(o);
        findings wrong;
        run_together(4, [&](std::size_t me) {
            random_numbers dice(run_seed() + me);
            std::vector<weir::pooled<thing>> mine;
            for (std::size_t i = 0; i < scaled(20'000); ++i) {
                if (mine.size() < 40 && dice.below(2) == 0) {
                    auto one = pool.try_acquire();
                    wrong.expect(one || cap != 0, "no object");
                    if (one) {
                        wrong.expect(one->take(), "in two hands");
                        mine.push_back(std::move(one));
                    }
                } else if (!mine.empty()) {
                    wrong.expect(mine.back()->let_go(), "not mine");
                    switch (dice.below(50)) {
                        case 0: mine.back().discard(); break;
                        case 1: static_cast<void>(mine.back().release()); break;
                        case 2: pool.trim(dice.below(64)); break;
                        default: break;
                    }
                    mine.pop_back();
                }
                wrong.expect(cap == 0 || people::alive.load() <= static_cast<std::int64_t>(cap) + 4,
                             "more than may exist, and one detached by each thread");
            }
            for (auto& each : mine) {
                wrong.expect(each->let_go(), "not mine at the end");
            }
        });
        EXPECT_TRUE(wrong.none()) << wrong;
        auto const s = pool.stats();
        EXPECT_EQ(s.live, 0U);
        EXPECT_LE(s.idle, 128U);
        EXPECT_EQ(static_cast<std::int64_t>(s.idle), people::alive.load());
        expect_laws(s);
        EXPECT_TRUE(cap == 0 || s.high_water <= cap) << s.high_water;
    }
}

// ---- who dies first

TEST_F(object_pool_lifetime, handles_outlive_the_pool_and_destroy_their_objects) {
    std::vector<weir::pooled<thing>> left;
    int resets = 0;
    {
        object_pool pool(weir::object_pool_options<thing>{}, weir::default_factory<thing>{}, [&resets](thing&) { ++resets; });
        left = take_many(pool, 50);
        auto back = take_many(pool, 50);
        give_all(back);
    }
    EXPECT_EQ(people::alive.load(), 50);
    EXPECT_EQ(resets, 50);
    left[0].discard();
    auto const mine = left[1].release();
    in_another_thread([&] { left.clear(); });
    EXPECT_EQ(people::alive.load(), 1);
    EXPECT_EQ(resets, 50) << "there is no next use to get ready for";
}

TEST_F(object_pool_lifetime, the_pool_dies_with_objects_in_the_hands_of_threads_that_live_on) {
    auto pool = std::make_unique<object_pool<thing>>();
    gate gone;
    arrivals put;
    crew threads;
    for (int i = 0; i < 3; ++i) {
        threads.start([&] {
            auto mine = take_many(*pool, 40);
            auto last = std::move(mine.back());
            mine.pop_back();
            give_all(mine);
            put.arrive();
            EXPECT_TRUE(gone.wait());
            last.reset();
            object_pool<thing> another;  // its lane words may be those of the pool that is gone
            auto more = take_many(another, 3);
            give_all(more);
        });
    }
    ASSERT_TRUE(put.wait_for(3));
    pool.reset();
    EXPECT_EQ(people::alive.load(), 3);
    gone.open();
    threads.join();
}

TEST_F(object_pool_lifetime, the_pool_dies_while_handles_come_back) {
    for (std::size_t round = 0; round < scaled(300, 30); ++round) {
        for (std::size_t const cap : {0U, 64U}) {
            weir::object_pool_options<thing> o;
            o.max_live = cap;
            auto pool = std::make_unique<object_pool<thing>>(o);
            gate begin;
            arrivals ready;
            crew threads;
            for (int i = 0; i < 3; ++i) {
                threads.start([&] {
                    auto mine = take_many(*pool, 20);
                    ready.arrive();
                    EXPECT_TRUE(begin.wait());
                    give_all(mine);
                });
            }
            ASSERT_TRUE(ready.wait_for(3));
            begin.open();
            pool.reset();
            threads.join();
            ASSERT_EQ(people::alive.load(), 0);
        }
    }
}

TEST_F(object_pool_lifetime, threads_that_are_gone_leave_nothing_behind) {
    {
        object_pool<thing> pool;
        for (int i = 0; i < 10; ++i) {
            in_another_thread([&] {
                auto mine = take_many(pool, 30);
                give_all(mine);
            });
        }
        EXPECT_EQ(pool.stats().misses, 30U);
    }
    EXPECT_EQ(people::alive.load(), 0);
}

TEST_F(object_pool_lifetime, an_object_may_hold_another_of_its_pool) {
    struct node {
        tracked<tag> life{0};
        weir::pooled<node> child;
    };
    object_pool pool(weir::object_pool_options<node>{}, weir::default_factory<node>{}, [](node& n) { n.child.reset(); });
    auto root = pool.acquire();
    root->child = pool.acquire();
    root->child->child = pool.acquire();
    root.reset();
    EXPECT_EQ(pool.stats().idle, 3U);
    root = pool.acquire();
    root->child = pool.acquire();
    root.discard();
    EXPECT_EQ(pool.stats().idle, 2U);
}

// ---- a cap

TEST_F(object_pool_cap, there_are_no_more_objects_than_may_live) {
    weir::object_pool_options<thing> o;
    o.max_live = 3;
    object_pool<thing> pool(o);
    auto all = take_many(pool, 3);
    EXPECT_FALSE(pool.try_acquire());
    EXPECT_FALSE(pool.acquire_until(std::chrono::steady_clock::now() - 1s));
    EXPECT_FALSE(pool.acquire_for(0ns));
    EXPECT_EQ(pool.prewarm(3), 0U);
    EXPECT_EQ(pool.stats().refused, 3U);
    give_all(all);
    EXPECT_EQ(pool.stats().idle, 3U);
    all = take_many(pool, 3);
    EXPECT_EQ(pool.stats().misses, 3U);
    all[0].discard();
    EXPECT_TRUE(pool.try_acquire());
    static_cast<void>(all[1].release());
    EXPECT_TRUE(pool.try_acquire());
    expect_laws(pool.stats());
    EXPECT_EQ(pool.stats().high_water, 3U);
}

TEST_F(object_pool_cap, whoever_waits_gets_the_object_that_comes_back) {
    weir::object_pool_options<thing> o;
    o.max_live = 1;
    object_pool<thing> pool(o);
    auto one = pool.acquire();
    thing* const same = one.get();
    crew other;
    other.start([&] { EXPECT_EQ(pool.acquire().get(), same); });
    EXPECT_TRUE(soon([&] { return pool.stats().waiting == 1; }));
    one.reset();
    other.join();
    EXPECT_EQ(pool.stats().waiting, 0U);
}

TEST_F(object_pool_cap, waiters_are_served_in_the_order_in_which_they_came) {
    weir::object_pool_options<thing> o;
    o.max_live = 1;
    object_pool<thing> pool(o);
    auto one = pool.acquire();
    std::vector<std::size_t> order;
    crew others;
    for (std::size_t i = 0; i < 5; ++i) {
        others.start([&, i] {
            auto const mine = pool.acquire();
            order.push_back(i);  // one at a time has the object
        });
        EXPECT_TRUE(soon([&] { return pool.stats().waiting == i + 1; }));
    }
    EXPECT_FALSE(pool.try_acquire());
    one.reset();
    others.join();
    EXPECT_EQ(order, (std::vector<std::size_t>{0, 1, 2, 3, 4}));
}

TEST_F(object_pool_cap, a_stop_or_a_deadline_ends_a_wait_and_the_others_keep_their_places) {
    weir::object_pool_options<thing> o;
    o.max_live = 1;
    object_pool<thing> pool(o);
    auto one = pool.acquire();
    std::stop_source stop;
    crew others;
    std::atomic<bool> served{false};
    others.start([&] { EXPECT_FALSE(pool.acquire(stop.get_token())); });
    EXPECT_TRUE(soon([&] { return pool.stats().waiting == 1; }));
    others.start([&] { served = static_cast<bool>(pool.acquire_for(patience)); });
    EXPECT_TRUE(soon([&] { return pool.stats().waiting == 2; }));
    stop.request_stop();
    EXPECT_TRUE(soon([&] { return pool.stats().waiting == 1; }));
    EXPECT_FALSE(pool.acquire_for(1ms));
    one.reset();
    others.join();
    EXPECT_TRUE(served.load());
    EXPECT_EQ(pool.stats().refused, 2U);
    expect_laws(pool.stats());
}

// The waiter of a pool whose factory fails once must not wait for ever.
TEST_F(object_pool_cap, a_factory_that_throws_passes_its_turn_on) {
    std::atomic<int> calls{0};
    weir::object_pool_options<thing> o;
    o.max_live = 1;
    gate fail;
    object_pool pool(o, [&] {
        if (calls.fetch_add(1) == 0) {
            static_cast<void>(fail.wait());
            throw std::domain_error("no thing");
        }
        return thing();
    });
    crew others;
    others.start([&] { EXPECT_THROW(static_cast<void>(pool.acquire()), std::domain_error); });
    EXPECT_TRUE(soon([&] { return calls.load() == 1; }));
    others.start([&] { EXPECT_TRUE(pool.acquire_for(patience / 4)) << "waited in vain"; });
    EXPECT_TRUE(soon([&] { return pool.stats().waiting == 1; }));
    fail.open();
    others.join();
}

// ---- options, contracts

TEST_F(object_pool_test, refuses_options_that_make_no_sense_by_name) {
    auto const refused = [](auto change) {
        weir::object_pool_options<thing> o;
        change(o);
        try {
            object_pool<thing> const pool(o);
        } catch (std::invalid_argument const& e) {
            return std::string(e.what());
        }
        return std::string("taken");
    };
    constexpr auto most = std::numeric_limits<std::size_t>::max();
    auto const size = [](thing const& t) { return t.size; };
    EXPECT_EQ(refused([](auto& o) { o.max_idle = 0; }), "weir::object_pool: max_idle must be in [1, 1000000]");
    EXPECT_EQ(refused([](auto& o) { o.max_idle = 1'000'001; }), "weir::object_pool: max_idle must be in [1, 1000000]");
    EXPECT_EQ(refused([](auto& o) { o.max_idle = most; }), "weir::object_pool: max_idle must be in [1, 1000000]");
    EXPECT_EQ(refused([](auto& o) { o.max_live = 60'001; }), "weir::object_pool: max_live must be at most 60000");
    EXPECT_EQ(refused([](auto& o) { o.max_live = 1, o.max_idle = 60'001; }),
              "weir::object_pool: max_idle must be at most 60000 with max_live");
    EXPECT_EQ(refused([](auto& o) { o.max_idle_bytes = 1; }), "weir::object_pool: max_idle_bytes must come with size_of");
    EXPECT_EQ(refused([&](auto& o) { o.max_idle_bytes = most, o.size_of = size; }),
              "weir::object_pool: max_idle_bytes must be at most 2^62");
    EXPECT_EQ(refused([](auto& o) { o.shrink_after = -1ns; }), "weir::object_pool: shrink_after must be >= 0");
    EXPECT_EQ(refused([](auto& o) { o.max_idle = 1'000'000; }), "taken");
    EXPECT_EQ(refused([](auto& o) { o.max_idle = 60'000, o.max_live = 60'000; }), "taken");
    EXPECT_EQ(refused([&](auto& o) { o.shrink_after = 1ns, o.size_of = size; }), "taken");
}

#if defined(GTEST_HAS_DEATH_TEST) && !defined(NDEBUG)
TEST(object_pool_death, asserts_that_an_object_is_given_back_once_and_to_its_pool) {
    testing::GTEST_FLAG(death_test_style) = "threadsafe";
    object_pool<int> pool;
    object_pool<int> other;
    int* const one = pool.get();
    EXPECT_DEATH(other.put(one), "an object of another pool");
    pool.put(one);
    EXPECT_DEATH(pool.put(one), "an object given back twice");
}
#endif

// ---- against a model

TEST_F(object_pool_test, does_what_a_model_of_it_does_in_any_order_of_calls) {
    for (std::size_t round = 0; round < scaled(60, 10); ++round) {
        random_numbers dice(run_seed() + round);
        auto const most = std::size_t{1} << dice.below(11);
        weir::object_pool_options<thing> o;
        o.max_idle = most;
        o.max_live = dice.one_in(3) ? 1 + dice.below(200) : 0;
        auto const cap = o.max_live == 0 ? std::numeric_limits<std::size_t>::max() : o.max_live;
        object_pool<thing> pool(o);
        std::vector<thing*> held;
        std::set<thing*> idle;
        std::size_t made = 0, gone = 0;
        for (int step = 0; step < 2000; ++step) {
            auto const burst = 1 + dice.below(40);
            switch (dice.below(10)) {
                case 0:
                    if (dice.one_in(4)) {
                        auto const n = dice.below(most + 1);
                        auto const cut = pool.trim(n);
                        ASSERT_EQ(cut, idle.size() > n ? idle.size() - n : 0);
                        gone += cut;
                        idle.clear();  // which ones it was is the pool's business: learn it anew
                        for (auto left = std::min<std::size_t>(n, pool.stats().idle); left > 0; --left) {
                            auto* const t = pool.get();
                            ASSERT_TRUE(t->take());
                            held.push_back(t);
                        }
                        ASSERT_EQ(pool.stats().idle, 0U);
                    }
                    break;
                case 1:
                    if (dice.one_in(4)) {
                        auto const n = dice.below(most + 10);
                        auto const room = cap - held.size() - idle.size();
                        auto const expected = std::min({n > idle.size() ? n - idle.size() : 0, most - idle.size(), room});
                        ASSERT_EQ(pool.prewarm(n), expected);
                        made += expected;
                        for (std::size_t i = idle.size() + expected; i > 0; --i) {
                            auto* const t = pool.get();
                            ASSERT_TRUE(t->take());
                            held.push_back(t);
                        }
                        idle.clear();
                    }
                    break;
                case 2: case 3: case 4: case 5:
                    for (std::size_t i = 0; i < burst && held.size() < 1500; ++i) {
                        auto* const t = pool.try_get();
                        ASSERT_EQ(t != nullptr, held.size() < cap);
                        if (t == nullptr) {
                            break;
                        }
                        ASSERT_TRUE(t->take());
                        if (idle.empty()) {
                            ++made;
                        } else {
                            ASSERT_EQ(idle.erase(t), 1U) << "there was an idle one";
                        }
                        held.push_back(t);
                    }
                    break;
                default:
                    for (std::size_t i = 0; i < burst && !held.empty(); ++i) {
                        std::swap(held[dice.below(held.size())], held.back());
                        ASSERT_TRUE(held.back()->let_go());
                        auto const before = pool.stats().kept;
                        pool.put(held.back());
                        if (idle.size() < most) {
                            ASSERT_EQ(pool.stats().kept, before + 1);
                            idle.insert(held.back());
                        } else {
                            ASSERT_EQ(pool.stats().kept, before);
                            ++gone;
                        }
                        held.pop_back();
                    }
                    break;
            }
            auto const s = pool.stats();
            ASSERT_EQ(s.idle, idle.size());
            ASSERT_EQ(s.live, held.size());
            ASSERT_EQ(s.objects, made - gone);
            ASSERT_EQ(people::alive.load(), static_cast<std::int64_t>(s.objects));
        }
        expect_laws(pool.stats());
        for (auto* const t : held) {
            ASSERT_TRUE(t->let_go());
            pool.put(t);
        }
    }
}

// ---- memory

TEST_F(object_pool_test, allocates_nothing_once_it_is_warm) {
    object_pool<thing> pool;
    std::vector<thing*> held(500);
    auto const round = [&] {
        for (auto& each : held) {
            each = pool.get();
        }
        for (auto* const each : held) {
            pool.put(each);
        }
    };
    round();
    round();
    faults::arm(1, fault::operator_new);
    for (int i = 0; i < 50; ++i) {
        round();
    }
    EXPECT_TRUE(faults::armed() || !news_can_fail);
    faults::disarm();
}

TEST_F(object_pool_test, any_allocation_may_fail_and_nothing_is_lost) {
    for (std::size_t const most : {8U, 128U}) {
        auto const swept = for_each_fault(fault::operator_new, [&](sweep_run& run) {
            in_another_thread([&] {
                weir::object_pool_options<thing> o;
                o.max_idle = most;
                std::unique_ptr<object_pool<thing>> pool;
                std::vector<thing*> held;
                held.reserve(100);
                run.threw([&] {
                    pool = std::make_unique<object_pool<thing>>(o);
                    for (int i = 0; i < 70; ++i) {
                        held.push_back(pool->get());
                    }
                    for (int i = 0; i < 60; ++i) {
                        pool->put(held.back());
                        held.pop_back();
                    }
                    static_cast<void>(pool->prewarm(most));
                    pool->trim(3);
                });
                if (pool != nullptr) {
                    expect_laws(pool->stats());
                    EXPECT_EQ(pool->stats().live, held.size());
                }
                for (auto* const each : held) {
                    pool->put(each);
                }
            });
            EXPECT_EQ(people::alive.load(), 0);
        });
        EXPECT_TRUE(swept.thrown >= 70 || !news_can_fail) << "each object, and what the pool itself takes";
    }
}

// A stack whose tags have gone round may hand out an address that it has handed out before, and forget another.
struct faulty_depot {
    std::vector<weir::detail::object_magazine*> in;
    std::vector<weir::detail::object_magazine*> old;
    random_numbers dice{7};

    explicit faulty_depot(std::size_t) {}
    [[nodiscard]] bool try_push(weir::detail::object_magazine* m) {
        if (dice.one_in(10)) {
            return false;
        }
        if (!dice.one_in(10)) {
            in.push_back(m);
        }
        return true;
    }
    [[nodiscard]] std::optional<weir::detail::object_magazine*> try_pop() {
        if (!old.empty() && dice.one_in(3)) {
            return old[dice.below(old.size())];
        }
        if (in.empty()) {
            return std::nullopt;
        }
        auto* const m = in.back();
        in.pop_back();
        old.push_back(m);
        return m;
    }
};

TEST_F(object_pool_test, a_damaged_depot_puts_no_object_into_two_hands) {
    static_assert(weir::queue_of<faulty_depot, weir::detail::object_magazine*>);
    for (std::size_t const most : {20U, 1024U}) {
        weir::object_pool_options<thing> o;
        o.max_idle = most;
        object_pool<thing, weir::default_factory<thing>, weir::no_reset, weir::coarse_clock, faulty_depot> pool(o);
        random_numbers dice(run_seed());
        std::vector<thing*> held;
        for (int step = 0; step < 20'000; ++step) {
            if (held.size() < 300 && dice.below(2) == 0) {
                held.push_back(pool.get());
                ASSERT_TRUE(held.back()->take());
            } else if (!held.empty()) {
                ASSERT_TRUE(held.back()->let_go());
                pool.put(held.back());
                held.pop_back();
            }
            ASSERT_LE(pool.stats().idle, most);
        }
        for (auto* const each : held) {
            ASSERT_TRUE(each->let_go());
            pool.put(each);
        }
        expect_laws(pool.stats());
        EXPECT_EQ(static_cast<std::size_t>(people::alive.load()), pool.stats().idle);
    }
}

}  // namespace
}  // namespace weir_test
