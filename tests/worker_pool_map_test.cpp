// weir (BSL-1.0). Tests of run/detail/pool_map.hpp and pool_group.hpp: many calls at once, each with its answer; parts of one piece.
#include <weir/run/detail/pool_group.hpp>
#include <weir/run/detail/pool_map.hpp>
#include <weir/run/worker_pool.hpp>

#include "support/failing_new.hpp"
#include "support/faults.hpp"
#include "support/plain_pool.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <numeric>
#include <optional>
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
using weir::map_options;
using weir::outcome;
using weir::refusal;
using weir::task_group;
using weir::detail::map_completed_on;
using weir::detail::map_on;
using clock_type = std::chrono::steady_clock;

std::vector<int> numbers(int n) {
    std::vector<int> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), 0);
    return all;
}

template <class T>
bool is(outcome<T> const& o, refusal why) {
    return !o.has_value() && o.error().is_rejection() && o.error().rejection().reason == why;
}

template <class T>
std::string words_of(outcome<T> const& o) {
    if (o.has_value()) {
        return "value";
    }
    try {
        o.error().rethrow();
    } catch (std::exception const& e) {
        return e.what();
    }
}

template <class T>
std::size_t values_in(std::vector<outcome<T>> const& all) {
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](auto const& o) { return o.has_value(); }));
}
template <class T>
std::size_t count_of(std::vector<outcome<T>> const& all, refusal why) {
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](auto const& o) { return is(o, why); }));
}

/// How many are inside at once, and the most that ever were.
class crowd {
public:
    void enter() {
        auto const now = here_.fetch_add(1) + 1;
        auto seen = most_.load();
        while (seen < now && !most_.compare_exchange_weak(seen, now)) {
        }
    }
    void leave() { here_.fetch_sub(1); }
    [[nodiscard]] std::size_t most() const { return most_.load(); }

private:
    std::atomic<std::size_t> here_{0};
    std::atomic<std::size_t> most_{0};
};

// ---- map

TEST(map, gives_each_item_its_answer_in_the_order_of_the_range) {
    plain_pool pool(3);
    auto const all = map_on(pool, numbers(500), [](int n) { return n * n; });
    ASSERT_EQ(all.size(), 500U);
    for (std::size_t i = 0; i < all.size(); ++i) {
        ASSERT_EQ(all[i].value(), static_cast<int>(i * i));
    }
    pool.finish();
    EXPECT_EQ(pool.completed, 500U);
}

TEST(map, of_nothing_is_nothing) {
    plain_pool pool(1);
    EXPECT_TRUE(map_on(pool, numbers(0), [](int n) { return n; }).empty());
    map_completed_on(pool, numbers(0), [](int n) { return n; }, [](std::size_t, outcome<int>) { FAIL(); });
}

TEST(map, an_item_that_throws_spoils_only_its_own_answer) {
    plain_pool pool(2);
    auto const all = map_on(pool, numbers(20), [](int n) {
        if (n % 5 == 0) {
            throw std::runtime_error{std::to_string(n)};
        }
        return n;
    });
    for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(words_of(all[i]), i % 5 == 0 ? std::to_string(i) : "value");
    }
    pool.finish();
    EXPECT_EQ(pool.failed, 4U);
    EXPECT_EQ(pool.completed, 16U);
}

TEST(map, takes_ranges_and_functions_of_all_kinds) {
    plain_pool pool(2);
    // A list that stays as it is
    std::list<std::string> const words{"a", "bb", "ccc"};
    auto const sizes = map_on(pool, words, [](std::string const& s) { return s.size(); });
    EXPECT_EQ(sizes[2].value(), 3U);
    EXPECT_EQ(words.size(), 3U);
    EXPECT_EQ(words.front(), "a");
    // A vector that is given away, of items that cannot be copied
    std::vector<std::unique_ptr<int>> owned;
    owned.push_back(std::make_unique<int>(4));
    auto const taken = map_on(pool, std::move(owned), [](std::unique_ptr<int> p) { return p; });
    EXPECT_EQ(*taken[0].value(), 4);
    // One that changes the item, which is not the range's
    std::array<int, 2> pair{1, 2};
    EXPECT_EQ(map_on(pool, pair, [](int& n) { return ++n; })[1].value(), 3);
    EXPECT_EQ(pair[1], 2);
    // Bits, nothing for an answer, an outcome for an answer, a reference for an answer
    EXPECT_TRUE(map_on(pool, std::vector<bool>{true, false}, [](bool b) { return b; })[0].value());
    EXPECT_TRUE(map_on(pool, pair, [](int) {})[1].has_value());
    EXPECT_TRUE(is(map_on(pool, pair, [](int) -> outcome<int> {
                       return weir::unexpected{weir::failure{weir::rejected{refusal::rate_limited}}};
                   })[0],
                   refusal::rate_limited));
    EXPECT_EQ(map_on(pool, pair, [&](int n) -> int& { return pair[static_cast<std::size_t>(n - 1)]; })[1].value(), &pair[1]);
    // An array, and a function that cannot be copied
    int const plain[3] = {1, 2, 3};
    EXPECT_EQ(map_on(pool, plain, [p = std::make_unique<int>(10)](int n) { return n + *p; })[2].value(), 13);
    auto const no_map = [](std::string const&) {};
    static_assert(!weir::detail::maps<decltype(no_map), std::vector<int>>);
}

TEST(map, never_has_more_in_flight_than_asked_for) {
    plain_pool pool(6);
    for (std::size_t const bound : {std::size_t{1}, std::size_t{2}, std::size_t{3}}) {
        crowd inside;
        auto const all = map_on(
            pool, numbers(200),
            [&](int n) {
                inside.enter();
                std::this_thread::yield();
                inside.leave();
                return n;
            },
            {.in_flight = bound});
        EXPECT_EQ(values_in(all), 200U);
        EXPECT_LE(inside.most(), bound);
    }
}

TEST(map, uses_what_it_may_have_in_flight) {
    plain_pool pool(3);
    // Each of three waits for the others: with fewer at once, this does not end well.
    arrivals all_here;
    auto const all = map_on(
        pool, numbers(3),
        [&](int) {
            all_here.arrive();
            return all_here.wait_for(3);
        },
        {.in_flight = 3});
    for (auto const& o : all) {
        EXPECT_TRUE(o.value());
    }
}

TEST(map, queues_no_more_than_it_may_have_in_flight) {
    plain_pool pool(0);
    std::size_t most = 0;
    crew one;
    std::vector<outcome<int>> all;
    std::atomic<bool> done{false};
    one.start([&] {
        all = map_on(pool, numbers(50), [](int n) { return n; }, {.in_flight = 4});
        done = true;
    });
    while (!done) {
        most = std::max(most, pool.queued());
        static_cast<void>(pool.run_one());
        std::this_thread::yield();
    }
    one.join();
    EXPECT_EQ(values_in(all), 50U);
    EXPECT_LE(most, 4U);
    EXPECT_GE(most, 1U);
}

TEST(map, begins_nothing_more_after_the_first_error_if_told_so) {
    plain_pool pool(0);
    std::atomic<int> calls{0};
    std::vector<outcome<int>> all;
    std::atomic<bool> done{false};
    crew one;
    one.start([&] {
        all = map_on(
            pool, numbers(30),
            [&](int n) {
                ++calls;
                if (n == 3) {
                    throw std::runtime_error{"third"};
                }
                return n;
            },
            {.in_flight = 2, .stop_at_first_error = true});
        done = true;
    });
    while (!done) {
        static_cast<void>(pool.run_one());
        std::this_thread::yield();
    }
    one.join();
    EXPECT_EQ(calls, 4);
    EXPECT_EQ(values_in(all), 3U);
    EXPECT_EQ(words_of(all[3]), "third");
    EXPECT_EQ(count_of(all, refusal::cancelled), 26U);
}

TEST(map, waits_after_the_first_error_for_what_has_begun) {
    plain_pool pool(2);
    gate failed;
    auto const all = map_on(
        pool, numbers(10),
        [&](std::stop_token const& stop, int n) {
            if (n == 1) {
                failed.open();
                throw std::runtime_error{"first"};
            }
            EXPECT_TRUE(failed.wait());
            while (!stop.stop_requested()) {  // the error asks this one to come back
                std::this_thread::yield();
            }
            return n;
        },
        {.in_flight = 2, .stop_at_first_error = true});
    EXPECT_EQ(all[0].value(), 0);
    EXPECT_EQ(words_of(all[1]), "first");
    EXPECT_EQ(count_of(all, refusal::cancelled), 8U);
}

TEST(map, a_deadline_leaves_what_runs_behind_safely) {
    auto const begun = std::make_shared<arrivals>();
    auto const open = std::make_shared<gate>();
    plain_pool pool(2);
    auto const all = map_on(
        pool, std::vector<std::string>(20, std::string(100, 'x')),
        [begun, open](std::string& s) {
            begun->arrive();
            EXPECT_TRUE(open->wait());
            s += 'y';  // the item and the function are there still
            return s;
        },
        {.in_flight = 5, .deadline = clock_type::now() + 5ms});
    EXPECT_EQ(count_of(all, refusal::timed_out), 20U);
    EXPECT_TRUE(begun->wait_for(2));
    open->open();
}

TEST(map, a_deadline_holds_though_answers_keep_coming) {
    plain_pool pool(0);
    crew one;
    one.start([&] {
        for (auto const end = clock_type::now() + patience; !pool.run_one() && clock_type::now() < end;) {
            std::this_thread::yield();
        }
    });
    std::size_t seen = 0;
    std::size_t late = 0;
    auto const deadline = clock_type::now() + 50ms;
    map_completed_on(
        pool, numbers(100), [](int n) { return n; },
        [&](std::size_t, outcome<int> const& o) {
            seen += o.has_value() ? 1U : 0U;
            late += is(o, refusal::timed_out) ? 1U : 0U;
            while (o.has_value() && clock_type::now() < deadline) {
            }
            static_cast<void>(pool.run_one());  // so an answer always waits, and nobody has to sleep
        },
        {.in_flight = 1, .deadline = deadline});
    one.join();
    EXPECT_EQ(seen + late, 100U);
    EXPECT_LE(seen, 3U);
}

TEST(map, a_stop_ends_it) {
    plain_pool pool(0);
    std::stop_source stop;
    crew one;
    one.start([&] {
        static_cast<void>(pool.run_one());
        stop.request_stop();
    });
    auto const all = map_on(pool, numbers(20), [](int n) { return n; }, {.in_flight = 3, .stop = stop.get_token()});
    one.join();
    EXPECT_EQ(count_of(all, refusal::stopped) + values_in(all), 20U);
    EXPECT_GE(count_of(all, refusal::stopped), 17U);
    // What is left in the queue finds nothing to do, though its caller is gone.
    while (pool.run_one()) {
    }
    EXPECT_GE(pool.cancelled, 1U);
}

TEST(map, the_pools_stop_reaches_the_calls) {
    plain_pool pool(1);
    gate begun;
    crew one;
    one.start([&] {
        EXPECT_TRUE(begun.wait());
        pool.request_stop();
    });
    auto const all = map_on(pool, numbers(1), [&](std::stop_token const& stop, int) {
        begun.open();
        while (!stop.stop_requested()) {
            std::this_thread::yield();
        }
        return 1;
    });
    one.join();
    EXPECT_EQ(all[0].value(), 1);
}

TEST(map, says_why_a_pool_takes_nothing) {
    plain_pool pool(1);
    for (auto const why : {refusal::closed, refusal::queue_full, refusal::timed_out}) {
        pool.refuse_all(why);
        EXPECT_EQ(count_of(map_on(pool, numbers(7), [](int n) { return n; }), why), 7U);
    }
}

TEST(map, says_why_a_pool_has_dropped_the_last_of_it) {
    plain_pool pool(0);
    crew one;
    std::vector<outcome<int>> all;
    std::atomic<bool> done{false};
    one.start([&] {
        all = map_on(pool, numbers(10), [](int n) { return n; }, {.in_flight = 2});
        done = true;
    });
    std::size_t ran = 0;
    while (ran < 4) {
        ran += pool.run_one() ? 1U : 0U;
        std::this_thread::yield();
    }
    while (!done) {
        static_cast<void>(pool.discard(refusal::dropped));
        pool.refuse_all(refusal::closed);
        std::this_thread::yield();
    }
    one.join();
    EXPECT_EQ(values_in(all), 4U);
    EXPECT_EQ(count_of(all, refusal::dropped) + count_of(all, refusal::closed), 6U);
}

TEST(map, makes_do_with_the_room_there_is) {
    plain_pool narrow(2, 1);
    auto const all = map_on(narrow, numbers(300), [](int n) { return n; }, {.in_flight = 50});
    EXPECT_EQ(values_in(all), 300U);
}

TEST(map, tries_again_when_the_last_runner_ends_while_another_is_refused) {
    plain_pool pool(0);
    gate again;
    std::size_t submits = 0;
    pool.refuse_this = [&] {
        ++submits;
        if (submits == 2) {  // the second runner: the first one answers its item meanwhile, and ends
            EXPECT_TRUE(pool.run_one());
            return true;
        }
        if (submits == 3) {
            again.open();
        }
        return false;
    };
    crew one;
    one.start([&] {
        EXPECT_TRUE(again.wait());
        for (auto const end = clock_type::now() + patience; !pool.run_one() && clock_type::now() < end;) {
            std::this_thread::yield();
        }
    });
    EXPECT_EQ(values_in(map_on(pool, numbers(2), [](int n) { return n; }, {.in_flight = 2})), 2U);
    again.open();
    one.join();
}

TEST(map, runs_in_the_caller_if_the_pool_says_so) {
    plain_pool pool(0, 0);
    pool.run_in_caller();
    auto const me = std::this_thread::get_id();
    auto const all = map_on(pool, numbers(2000), [&](int n) {
        EXPECT_EQ(std::this_thread::get_id(), me);
        return n;
    });
    EXPECT_EQ(values_in(all), 2000U);
}

TEST(map, of_a_map_does_not_wait_for_itself) {
    plain_pool pool(2);
    auto const all = map_on(pool, numbers(6), [&](int n) {
        auto const inner = map_on(pool, numbers(n), [](int m) { return m; });
        return values_in(inner);
    });
    for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(all[i].value(), i);
    }
}

TEST(map, gives_answers_as_they_come_on_the_calling_thread) {
    plain_pool pool(2);
    gate later;
    auto const me = std::this_thread::get_id();
    std::vector<std::size_t> order;
    map_completed_on(
        pool, numbers(5),
        [&](int n) {
            if (n == 0) {
                EXPECT_TRUE(later.wait());  // opened by the answer of another
            }
            return n;
        },
        [&](std::size_t i, outcome<int> o) {
            EXPECT_EQ(std::this_thread::get_id(), me);
            EXPECT_EQ(o.value(), static_cast<int>(i));
            order.push_back(i);
            later.open();
        });
    ASSERT_EQ(order.size(), 5U);
    EXPECT_NE(order.front(), 0U);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, (std::vector<std::size_t>{0, 1, 2, 3, 4}));
}

TEST(map, a_sink_that_throws_ends_it) {
    std::atomic<int> calls{0};
    plain_pool pool(2);
    EXPECT_THROW(map_completed_on(
                     pool, numbers(100),
                     [&](std::stop_token const& stop, int n) {
                         ++calls;
                         while (n > 0 && !stop.stop_requested()) {
                             std::this_thread::yield();
                         }
                         return n;
                     },
                     [](std::size_t, outcome<int> const&) { throw std::runtime_error{"enough"}; }, {.in_flight = 2}),
                 std::runtime_error);
    pool.finish();
    EXPECT_LE(calls, 3);
}

TEST(map, gives_each_item_one_answer_whatever_happens) {
    // Deadlines, errors and refusals at all times; what is left behind runs in the pool's destructor.
    for (int round = 0; round < 60; ++round) {
        plain_pool pool(2, 4);
        std::vector<int> seen(40);
        crew one;
        one.start([&] {
            std::this_thread::yield();
            if (round % 3 == 0) {
                static_cast<void>(pool.discard(refusal::dropped));
            }
        });
        map_completed_on(
            pool, numbers(40),
            [&](int n) {
                if (round % 4 == 0 && n == round % 40) {
                    throw n;
                }
                return std::make_unique<int>(n);
            },
            [&](std::size_t i, outcome<std::unique_ptr<int>> o) {
                ++seen[i];
                if (o.has_value()) {
                    EXPECT_EQ(**o, static_cast<int>(i));
                }
            },
            {.in_flight = static_cast<std::size_t>(round % 5),
             .stop_at_first_error = round % 2 == 0,
             .deadline = clock_type::now() + std::chrono::microseconds{round * 10}});
        one.join();
        EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), 40);
    }
}

TEST(map, an_allocation_that_fails_leaves_nothing_behind) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    std::size_t failed = 0;
    for (std::size_t n = 1; n < 1000; ++n) {
        auto const held = std::make_shared<int>(1);
        {
            plain_pool pool(1);
            std::vector<std::shared_ptr<int>> const items(10, held);
            faults::arm(n, fault::operator_new);  // of this thread
            try {
                auto const all = map_on(pool, items, [held](std::stop_token const&, std::shared_ptr<int> const& p) { return *p; });
                faults::disarm();
                EXPECT_EQ(values_in(all), 10U);
                n = 1000;
            } catch (std::bad_alloc const&) {
                faults::disarm();
                ++failed;
            }
        }
        ASSERT_EQ(held.use_count(), 1) << n;
    }
    EXPECT_GE(failed, 4U);  // the state, its items, what is ready, the stop state
}

// ---- task_group

TEST(task_group, waits_for_all_of_its_parts) {
    plain_pool pool(3);
    std::atomic<int> done{0};
    task_group group{pool};
    for (int i = 0; i < 100; ++i) {
        EXPECT_TRUE(group.run([&] { ++done; }).has_value());
    }
    EXPECT_TRUE(group.wait({}).has_value());
    EXPECT_EQ(done, 100);
    EXPECT_EQ(group.pending(), 0U);
    // and again
    EXPECT_TRUE(group.run([&](std::stop_token const&) { ++done; }).has_value());
    EXPECT_TRUE(group.wait({}).has_value());
    EXPECT_EQ(done, 101);
}

TEST(task_group, an_empty_one_has_nothing_to_wait_for) {
    plain_pool pool(0);
    task_group group{pool};
    EXPECT_TRUE(group.wait_until(clock_type::time_point::min()).has_value());
}

TEST(task_group, a_wait_ends_at_its_deadline_or_stop) {
    plain_pool pool(0);
    {
        task_group group{pool};
        EXPECT_TRUE(group.run([] {}).has_value());
        EXPECT_TRUE(is(group.wait_for(1us), refusal::timed_out));
        EXPECT_EQ(group.pending(), 1U);
        std::stop_source stop;
        stop.request_stop();
        EXPECT_TRUE(is(group.wait(stop.get_token()), refusal::stopped));
        EXPECT_TRUE(pool.run_one());
        EXPECT_TRUE(group.wait(stop.get_token()).has_value());
    }
}

TEST(task_group, reports_the_first_failure_once) {
    plain_pool pool(0);
    task_group group{pool};
    for (auto const* const what : {"first", "second"}) {
        EXPECT_TRUE(group.run([what] { throw std::runtime_error{what}; }).has_value());
    }
    while (pool.run_one()) {
    }
    EXPECT_EQ(words_of(group.wait({})), "first");
    EXPECT_TRUE(group.wait({}).has_value());
    EXPECT_EQ(pool.failed, 2U);
}

TEST(task_group, what_a_part_holds_has_gone_when_the_wait_ends) {
    plain_pool pool(2);
    for (int i = 0; i < 200; ++i) {
        auto const held = std::make_shared<int>(i);
        task_group group{pool};
        EXPECT_TRUE(group.run([held] {}).has_value());
        EXPECT_TRUE(group.wait({}).has_value());
        ASSERT_EQ(held.use_count(), 1);
    }
}

TEST(task_group, parts_may_add_parts) {
    plain_pool pool(3);
    std::atomic<int> done{0};
    task_group group{pool};
    struct splitter {
        task_group<plain_pool>& group;
        std::atomic<int>& done;
        void split(int depth) const {
            ++done;
            for (int i = 0; depth > 0 && i < 2; ++i) {
                EXPECT_TRUE(group.run([*this, depth] { split(depth - 1); }).has_value());
            }
        }
    };
    splitter{group, done}.split(8);
    EXPECT_TRUE(group.wait({}).has_value());
    EXPECT_EQ(done, (1 << 9) - 1);
}

TEST(task_group, groups_in_parts_of_groups_help_each_other) {
    plain_pool pool(2);
    std::atomic<int> done{0};
    struct nest {
        plain_pool& pool;
        std::atomic<int>& done;
        void operator()(int depth) const {
            if (depth == 0) {
                ++done;
                return;
            }
            task_group inner{pool};
            for (int i = 0; i < 3; ++i) {
                EXPECT_TRUE(inner.run([*this, depth] { (*this)(depth - 1); }).has_value());
            }
            EXPECT_TRUE(inner.wait({}).has_value());
        }
    };
    task_group outer{pool};
    EXPECT_TRUE(outer.run([&] { nest{pool, done}(4); }).has_value());
    EXPECT_TRUE(outer.wait({}).has_value());
    EXPECT_EQ(done, 81);
}

TEST(task_group, a_cancelled_one_runs_no_further_part) {
    plain_pool pool(0);
    int calls = 0;
    task_group group{pool};
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(group.run([&] { ++calls; }).has_value());
    }
    EXPECT_TRUE(pool.run_one());
    group.cancel();
    EXPECT_TRUE(group.cancelled());
    EXPECT_EQ(group.run([&] { ++calls; }).error(), refusal::cancelled);
    while (pool.run_one()) {
    }
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(pool.cancelled, 2U);
    EXPECT_TRUE(is(group.wait({}), refusal::cancelled));
}

TEST(task_group, a_part_that_runs_sees_the_cancel_and_the_pools_stop) {
    for (bool const by_pool : {false, true}) {
        plain_pool pool(1);
        task_group group{pool};
        gate begun;
        EXPECT_TRUE(group.run([&](std::stop_token const& stop) {
                             begun.open();
                             while (!stop.stop_requested()) {
                                 std::this_thread::yield();
                             }
                         })
                        .has_value());
        EXPECT_TRUE(begun.wait());
        by_pool ? pool.request_stop() : group.cancel();
        EXPECT_TRUE(group.wait({}).has_value());
    }
}

TEST(task_group, its_destructor_cancels_and_waits) {
    plain_pool pool(1);
    std::atomic<bool> ended{false};
    std::atomic<int> calls{0};
    {
        task_group group{pool};
        gate begun;
        EXPECT_TRUE(group.run([&](std::stop_token const& stop) {
                             begun.open();
                             while (!stop.stop_requested()) {
                                 std::this_thread::yield();
                             }
                             ended = true;
                         })
                        .has_value());
        EXPECT_TRUE(group.run([&] { ++calls; }).has_value());
        EXPECT_TRUE(begun.wait());
    }
    EXPECT_TRUE(ended);
    EXPECT_EQ(calls, 0);
}

TEST(task_group, says_what_the_pool_does_not_take) {
    plain_pool pool(0);
    auto const held = std::make_shared<int>(1);
    task_group group{pool};
    pool.refuse_all(refusal::queue_full);
    EXPECT_EQ(group.run([held] {}).error(), refusal::queue_full);
    EXPECT_EQ(held.use_count(), 1);
    EXPECT_EQ(group.pending(), 0U);
    EXPECT_TRUE(group.wait({}).has_value());  // known already
    pool.refuse_all({});
    EXPECT_TRUE(group.run([held] {}).has_value());
    EXPECT_EQ(pool.discard(refusal::dropped), 1U);
    EXPECT_EQ(held.use_count(), 1);
    EXPECT_TRUE(is(group.wait({}), refusal::dropped));
}

TEST(task_group, an_allocation_that_fails_leaves_nothing_behind) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    auto const held = std::make_shared<int>(1);
    plain_pool pool(0);
    {
        task_group group{pool};
        std::size_t failed = 0;
        for (std::size_t n = 1; n < 100; ++n) {
            faults::arm(n, fault::operator_new);
            try {
                EXPECT_TRUE(group.run([held] {}).has_value());
                n = 100;
            } catch (std::bad_alloc const&) {
                ++failed;
            }
            faults::disarm();
            ASSERT_EQ(held.use_count(), n == 100 ? 2 : 1);
        }
        EXPECT_GE(failed, 1U);
        EXPECT_TRUE(pool.run_one());
        EXPECT_TRUE(group.wait({}).has_value());
    }
}

TEST(task_group, may_go_as_soon_as_its_wait_has_ended) {
    plain_pool pool(2);
    for (int i = 0; i < 500; ++i) {
        auto group = std::make_unique<task_group<plain_pool>>(pool);
        EXPECT_TRUE(group->run([] {}).has_value());
        EXPECT_TRUE(group->run([] {}).has_value());
        EXPECT_TRUE(group->wait({}).has_value());
    }
}

// ---- on a task_pool

bool conserved(weir::worker_pool_stats const& s) {
    return s.submitted == s.completed + s.failed + s.cancelled + s.dropped + s.expired + s.discarded + s.queued + s.running;
}

weir::worker_pool_options workers(std::size_t n) {
    weir::worker_pool_options o;
    o.min_workers = o.max_workers = n;
    return o;
}

TEST(task_pool_map, gives_each_item_its_answer_and_holds_its_bound) {
    weir::task_pool pool{workers(4)};
    for (std::size_t const bound : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
        crowd inside;
        auto const all = pool.map(
            numbers(300),
            [&](int n) {
                inside.enter();
                std::this_thread::yield();
                inside.leave();
                if (n == 100) {
                    throw std::runtime_error{"hundred"};
                }
                return n;
            },
            {.in_flight = bound});
        ASSERT_EQ(all.size(), 300U);
        EXPECT_EQ(values_in(all), 299U);
        EXPECT_EQ(words_of(all[100]), "hundred");
        EXPECT_EQ(all[299].value(), 299);
        EXPECT_LE(inside.most(), bound == 0 ? 8U : bound);
    }
    EXPECT_TRUE(pool.wait_idle_for(patience).has_value());
    auto const s = pool.stats();
    EXPECT_EQ(s.submitted, 900U);
    EXPECT_EQ(s.failed, 3U);
    EXPECT_TRUE(conserved(s));
}

TEST(task_pool_map, of_maps_on_one_worker_ends) {
    weir::task_pool pool{workers(1)};
    auto const all = pool.map(numbers(4), [&](int n) {
        return values_in(pool.map(numbers(5), [&, n](int m) {
            return values_in(pool.map(numbers(m), [n](int k) { return n * k; }));
        }));
    });
    for (auto const& o : all) {
        EXPECT_EQ(o.value(), 5U);
    }
}

TEST(task_pool_map, goes_on_through_a_queue_of_one) {
    auto o = workers(2);
    o.capacity = 1;
    weir::task_pool pool{std::move(o)};
    EXPECT_EQ(values_in(pool.map(numbers(200), [](int n) { return n; }, {.in_flight = 20})), 200U);
}

TEST(task_pool_map, runs_in_the_caller_if_the_queue_is_full_and_the_policy_says_so) {
    auto o = workers(1);
    o.capacity = 1;
    o.full = weir::when_full::run_in_caller;
    weir::task_pool pool{std::move(o)};
    gate open;
    gate begun;
    EXPECT_TRUE(pool.submit([&] {
                        begun.open();
                        EXPECT_TRUE(open.wait());
                    })
                    .has_value());
    EXPECT_TRUE(begun.wait());
    EXPECT_TRUE(pool.submit([] {}).has_value());
    auto const me = std::this_thread::get_id();
    auto const all = pool.map(numbers(3000), [&](int n) {
        EXPECT_EQ(std::this_thread::get_id(), me);
        return n;
    });
    EXPECT_EQ(values_in(all), 3000U);
    open.open();
}

TEST(task_pool_map, a_deadline_leaves_what_runs_to_the_pool) {
    auto const open = std::make_shared<gate>();
    weir::task_pool pool{workers(2)};
    auto const all = pool.map(
        std::vector<std::string>(30, std::string(100, 'x')),
        [open](std::string& s) {
            EXPECT_TRUE(open->wait());
            return s += 'y';
        },
        {.in_flight = 6, .deadline = clock_type::now() + 3ms});
    EXPECT_EQ(count_of(all, refusal::timed_out), 30U);
    open->open();
    EXPECT_TRUE(pool.wait_idle_for(patience).has_value());
    auto const s = pool.stats();
    EXPECT_TRUE(conserved(s));
    EXPECT_EQ(s.completed + s.cancelled, s.submitted);
    EXPECT_LE(s.submitted, 8U);  // what was in flight, and no more
}

TEST(task_pool_map, a_pool_that_discards_closes_what_was_not_done) {
    weir::task_pool pool{workers(2)};
    arrivals begun;
    crew one;
    one.start([&] {
        EXPECT_TRUE(begun.wait_for(2));
        EXPECT_TRUE(pool.stop(weir::stop_mode::discard).has_value());
    });
    auto const all = pool.map(
        numbers(50),
        [&](std::stop_token const& stop, int n) {
            begun.arrive();
            while (!stop.stop_requested()) {
                std::this_thread::yield();
            }
            return n;
        },
        {.in_flight = 4});
    one.join();
    EXPECT_GE(values_in(all), 2U);
    EXPECT_EQ(values_in(all) + count_of(all, refusal::closed) + count_of(all, refusal::cancelled), 50U);
    EXPECT_GT(count_of(all, refusal::closed), 40U);
    EXPECT_EQ(count_of(pool.map(numbers(3), [](int n) { return n; }), refusal::closed), 3U);
}

TEST(task_pool_map, gives_answers_as_they_come) {
    weir::task_pool pool{workers(2)};
    gate later;
    std::vector<std::size_t> order;
    pool.map_completed(
        numbers(10),
        [&](int n) {
            if (n == 0) {
                EXPECT_TRUE(later.wait());
            }
            return n;
        },
        [&](std::size_t i, outcome<int> const& o) {
            EXPECT_EQ(o.value(), static_cast<int>(i));
            order.push_back(i);
            later.open();
        });
    EXPECT_EQ(order.size(), 10U);
    EXPECT_NE(order.front(), 0U);
}

TEST(task_pool_group, parts_of_parts_end_on_one_worker) {
    weir::task_pool pool{workers(1)};
    std::atomic<int> done{0};
    struct nest {
        weir::task_pool& pool;
        std::atomic<int>& done;
        void operator()(int depth) const {
            ++done;
            if (depth == 0) {
                return;
            }
            task_group inner{pool};
            for (int i = 0; i < 2; ++i) {
                EXPECT_TRUE(inner.run([*this, depth] { (*this)(depth - 1); }).has_value());
            }
            EXPECT_TRUE(inner.wait({}).has_value());
        }
    };
    task_group outer{pool};
    EXPECT_TRUE(outer.run([&] { nest{pool, done}(7); }).has_value());
    EXPECT_TRUE(outer.wait({}).has_value());
    EXPECT_EQ(done, (1 << 8) - 1);
}

TEST(task_pool_group, a_group_of_groups_is_cancelled_from_within) {
    weir::task_pool pool{workers(2)};
    std::atomic<int> calls{0};
    task_group outer{pool};
    for (int i = 0; i < 100; ++i) {
        EXPECT_TRUE(outer.run([&] {
                             task_group inner{pool};
                             EXPECT_TRUE(inner.run([&] { ++calls; }).has_value());
                             EXPECT_TRUE(inner.wait({}).has_value());
                             outer.cancel();
                         })
                        .has_value() ||
                    outer.cancelled());
    }
    auto const o = outer.wait({});
    EXPECT_TRUE(is(o, refusal::cancelled) || o.has_value());
    EXPECT_GE(calls, 1);
    EXPECT_EQ(outer.pending(), 0U);
    EXPECT_TRUE(conserved(pool.stats()));
}

TEST(task_pool_group, what_the_pool_discards_is_reported) {
    weir::task_pool pool{workers(1)};
    gate begun;
    task_group group{pool};
    EXPECT_TRUE(group.run([&](std::stop_token const& stop) {
                         begun.open();
                         while (!stop.stop_requested()) {
                             std::this_thread::yield();
                         }
                     })
                    .has_value());
    EXPECT_TRUE(group.run([] { FAIL() << "was discarded"; }).has_value());
    EXPECT_TRUE(begun.wait());
    auto const stopped = pool.stop(weir::stop_mode::discard);
    ASSERT_TRUE(stopped.has_value());
    EXPECT_EQ(stopped->not_run.size(), 1U);
    auto const o = group.wait({});
    EXPECT_TRUE(is(o, refusal::closed));
}

TEST(task_pool_group, what_a_full_pool_drops_is_reported) {
    for (auto const how : {weir::when_full::drop_oldest, weir::when_full::drop_newest}) {
        auto o = workers(1);
        o.capacity = 2;
        o.full = how;
        weir::task_pool pool{std::move(o)};
        gate begun;
        gate open;
        EXPECT_TRUE(pool.submit([&] {
                            begun.open();
                            EXPECT_TRUE(open.wait());
                        })
                        .has_value());
        EXPECT_TRUE(begun.wait());
        std::atomic<int> calls{0};
        task_group group{pool};
        int accepted = 0;
        for (int i = 0; i < 5; ++i) {
            auto const r = group.run([&] { ++calls; });
            accepted += r.has_value() ? 1 : 0;
            EXPECT_TRUE(r.has_value() || r.error() == refusal::dropped);
        }
        EXPECT_EQ(accepted, how == weir::when_full::drop_oldest ? 5 : 2);
        open.open();
        EXPECT_TRUE(is(group.wait({}), refusal::dropped));
        EXPECT_EQ(calls, 2);
    }
}

}  // namespace
}  // namespace weir_test
