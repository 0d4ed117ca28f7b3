// weir (BSL-1.0). Tests of run/worker_pool.hpp: what it promises, word by word; storms; threads, hooks and items that fail.
#include <weir/flow/pipeline.hpp>
#include <weir/run/worker_pool.hpp>

#include "support/failing_new.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#endif

#include <gtest/gtest.h>

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using weir::refusal;
using weir::stop_mode;
using weir::task;
using weir::task_pool;
using weir::when_full;
using weir::worker_pool_options;
using weir::worker_pool_stats;
using manual_pool = weir::basic_task_pool<weir::manual_clock>;

constexpr auto never = std::chrono::steady_clock::time_point::max();

std::uint64_t ended(worker_pool_stats const& s) {
    return s.completed + s.failed + s.cancelled + s.dropped + s.expired + s.discarded;
}
bool adds_up(worker_pool_stats const& s) { return s.submitted == ended(s) + s.queued + s.running && s.running < (1U << 31); }

// Looks until it is so, or patience ends.
template <class Question>
bool eventually(Question&& question) {
    auto const end = std::chrono::steady_clock::now() + patience;
    while (!question()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

template <class Pool>
bool until_idle(Pool& pool) {
    return pool.wait_idle_for(patience).has_value();
}

// A task that keeps its worker until `door` opens; says when it has begun.
auto blocker(gate& door, arrivals& begun) {
    return [&door, &begun] {
        begun.arrive();
        EXPECT_TRUE(door.wait());
    };
}

// A pool of one worker, which is busy until open(); destroyed in the right order.
template <class Pool = task_pool>
struct busy_pool {
    gate door;
    arrivals begun;
    Pool pool;

    template <class... Args>
    explicit busy_pool(worker_pool_options o, Args&&... args)
        : pool([&o]() -> worker_pool_options&& {
              o.min_workers = o.max_workers = 1;
              return std::move(o);
          }(), std::forward<Args>(args)...) {
        EXPECT_TRUE(pool.submit(blocker(door, begun)));
        EXPECT_TRUE(begun.wait_for(1));
    }
    ~busy_pool() { door.open(); }
};

struct order_list {
    std::mutex mutex;
    std::vector<int> seen;
    void add(int i) {
        std::lock_guard const hold(mutex);
        seen.push_back(i);
    }
    std::vector<int> get() {
        std::lock_guard const hold(mutex);
        return seen;
    }
};

std::string complaint(worker_pool_options o) {
    try {
        task_pool pool(std::move(o));
    } catch (std::invalid_argument const& e) {
        return e.what();
    }
    return "none";
}

// ---- what it is for

TEST(task_pool, runs_what_is_submitted_and_hands_back_what_it_returns) {
    task_pool pool{{.min_workers = 2, .max_workers = 2}};
    std::atomic<int> runs{0};
    ASSERT_TRUE(pool.submit([&] { ++runs; }));
    ASSERT_TRUE(pool.submit([&](std::stop_token const& stop) { runs += stop.stop_requested() ? 100 : 1; }));
    auto sum = pool.async([](int a, int b) { return a + b; }, 2, 3);
    EXPECT_EQ(sum.get_for(patience).value(), 5);
    ASSERT_TRUE(until_idle(pool));
    EXPECT_EQ(runs.load(), 2);
    auto const s = pool.stats();
    EXPECT_EQ(s.submitted, 3U);
    EXPECT_EQ(s.completed, 3U);
    EXPECT_EQ(s.workers, 2U);
}

TEST(worker_pool, gives_each_item_to_its_function_once) {
    struct request {
        std::unique_ptr<int> number;
    };
    std::vector<std::atomic<int>> seen(500);
    weir::worker_pool<request> pool{{.min_workers = 3, .max_workers = 3, .capacity = 16},
                                    [&](request&& r) { ++seen[static_cast<std::size_t>(*r.number)]; }};
    for (int i = 0; i < 500; ++i) {
        ASSERT_TRUE(pool.submit({std::make_unique<int>(i)}));
    }
    ASSERT_TRUE(until_idle(pool));
    for (auto const& each : seen) {
        EXPECT_EQ(each.load(), 1);
    }
}

TEST(worker_pool, gives_its_function_the_stop_token_if_it_wants_it) {
    std::atomic<bool> asked{false};
    arrivals begun;
    weir::worker_pool<int> pool{{.min_workers = 1, .max_workers = 1}, [&](int&&, std::stop_token const& stop) {
                                    begun.arrive();
                                    asked = eventually([&] { return stop.stop_requested(); });
                                }};
    ASSERT_TRUE(pool.submit(1));
    ASSERT_TRUE(begun.wait_for(1));
    auto const r = pool.stop_for(patience, stop_mode::discard);
    ASSERT_TRUE(r && r->stopped);
    EXPECT_TRUE(asked.load());
}

TEST(worker_pool, takes_a_function_that_captures_nothing) {
    static std::atomic<int> sum;
    sum = 0;
    weir::worker_pool<std::unique_ptr<int>> pool{{.min_workers = 1, .max_workers = 1}, [](std::unique_ptr<int>&& p) { sum += *p; }};
    ASSERT_TRUE(pool.submit(std::make_unique<int>(3)));
    ASSERT_TRUE(until_idle(pool));
    EXPECT_EQ(sum.load(), 3);
}

TEST(worker_pool, can_name_the_type_of_its_function) {
    struct doubler {
        std::atomic<int>* sum;
        void operator()(int i) const { *sum += 2 * i; }
    };
    std::atomic<int> sum{0};
    weir::worker_pool<int, doubler> pool{{.min_workers = 1, .max_workers = 1}, doubler{&sum}};
    ASSERT_TRUE(pool.submit(4));
    ASSERT_TRUE(until_idle(pool));
    EXPECT_EQ(sum.load(), 8);
}

// ---- options

TEST(worker_pool_options, that_make_no_sense_are_refused_by_name) {
    auto const with = [](auto change) {
        worker_pool_options o{.min_workers = 1, .max_workers = 1};
        change(o);
        return complaint(std::move(o));
    };
    using o = worker_pool_options;
    EXPECT_EQ(with([](o&) {}), "none");
    EXPECT_EQ(with([](o& x) { x.min_workers = 0; }), "weir::worker_pool: min_workers must be >= 1");
    EXPECT_EQ(with([](o& x) { x.min_workers = 2; }), "weir::worker_pool: max_workers must be >= min_workers");
    EXPECT_EQ(with([](o& x) { x.max_workers = 16385; }), "weir::worker_pool: max_workers must be <= 16384");
    EXPECT_EQ(with([](o& x) { x.max_workers = 16384; }), "none");
    EXPECT_EQ(with([](o& x) { x.capacity = 0; }), "weir::worker_pool: capacity must be 1 to 2^32");
    EXPECT_EQ(with([](o& x) { x.capacity = (std::size_t{1} << 32) + 1; }), "weir::worker_pool: capacity must be 1 to 2^32");
    EXPECT_EQ(with([](o& x) { x.capacity = std::size_t{1} << 32; }), "none");
    EXPECT_EQ(with([](o& x) { x.full = static_cast<when_full>(9); }), "weir::worker_pool: full must be a when_full");
    EXPECT_EQ(with([](o& x) { x.submit_timeout = -1ns; }), "weir::worker_pool: submit_timeout must be >= 0");
    EXPECT_EQ(with([](o& x) { x.submit_timeout = 0ns; }), "none");
    EXPECT_EQ(with([](o& x) { x.priorities = 0; }), "weir::worker_pool: priorities must be 1 to 4");
    EXPECT_EQ(with([](o& x) { x.priorities = 5; }), "weir::worker_pool: priorities must be 1 to 4");
    EXPECT_EQ(with([](o& x) { x.grow_after = 0ns; }), "weir::worker_pool: grow_after must be > 0");
    EXPECT_EQ(with([](o& x) { x.keep_alive = 0ns; }), "weir::worker_pool: keep_alive must be > 0");
    EXPECT_EQ(with([](o& x) { x.shrink_interval = 0ns; }), "weir::worker_pool: shrink_interval must be > 0");
    EXPECT_EQ(with([](o& x) { x.help_depth = 0; }), "weir::worker_pool: help_depth must be >= 1");
    EXPECT_EQ(with([](o& x) { x.name = "0123456789"; }), "weir::worker_pool: name must be at most 9 bytes");
    EXPECT_EQ(with([](o& x) {
                  x.grow_after = x.keep_alive = x.shrink_interval = std::chrono::nanoseconds::max();
                  x.grow_depth = ~0U;
                  x.help_depth = ~0U;
              }),
              "none");
}

// ---- the bound

TEST(task_pool, holds_as_many_as_its_capacity_and_not_one_more) {
    busy_pool<> b{{.capacity = 3, .full = when_full::reject}};
    std::atomic<int> runs{0};
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(b.pool.submit([&] { ++runs; }));
    }
    auto const no = b.pool.submit([&] { ++runs; });
    ASSERT_FALSE(no);
    EXPECT_EQ(no.error(), refusal::queue_full);
    auto s = b.pool.stats();
    EXPECT_EQ(s.queued, 3U);
    EXPECT_EQ(s.running, 1U);
    EXPECT_EQ(s.was_full, 1U);
    EXPECT_EQ(s.refused, 1U);
    EXPECT_EQ(s.high_water, 3U);
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_EQ(runs.load(), 3);
    s = b.pool.stats();
    EXPECT_EQ(s.submitted, 4U);
    EXPECT_TRUE(adds_up(s));
}

// What a worker was handed and has not begun counts too.
TEST(task_pool, counts_what_a_worker_has_taken_in_advance_against_the_bound) {
    constexpr std::size_t capacity = 64;
    gate door;
    gate second;
    arrivals begun;
    task_pool pool{{.min_workers = 1, .max_workers = 1, .capacity = capacity, .full = when_full::reject}};
    ASSERT_TRUE(pool.submit(blocker(door, begun)));
    ASSERT_TRUE(begun.wait_for(1));
    for (std::size_t i = 0; i < capacity; ++i) {
        ASSERT_TRUE(i == 0 ? pool.submit(blocker(second, begun)) : pool.submit([] {}));
    }
    door.open();
    ASSERT_TRUE(begun.wait_for(2));  // it took a batch, and stands in its first
    EXPECT_EQ(pool.stats().queued, capacity - 1);
    EXPECT_TRUE(pool.submit([] {}));
    EXPECT_FALSE(pool.submit([] {}));
    EXPECT_EQ(pool.stats().queued, capacity);
    second.open();
    ASSERT_TRUE(until_idle(pool));
}

TEST(task_pool, leaves_a_refused_task_with_its_owner) {
    busy_pool<> b{{.capacity = 1}};
    ASSERT_TRUE(b.pool.submit([] {}));
    auto token = std::make_shared<int>(1);
    int got = 0;
    task mine{[&got, token] { got = *token; }};
    EXPECT_EQ(b.pool.try_submit(std::move(mine)).error(), refusal::queue_full);
    ASSERT_TRUE(mine);  // NOLINT: it was not moved from
    EXPECT_EQ(b.pool.submit_for(0ns, std::move(mine)).error(), refusal::timed_out);
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(b.pool.submit(std::move(mine), {}, stop.get_token()).error(), refusal::stopped);
    ASSERT_TRUE(mine);  // NOLINT: nor was it now
    mine();
    EXPECT_EQ(got, 1);
}

TEST(task_pool, makes_a_submitter_wait_until_there_is_room) {
    busy_pool<> b{{.capacity = 1}};
    ASSERT_TRUE(b.pool.submit([] {}));
    std::atomic<bool> ran{false};
    crew other;
    other.start([&] { EXPECT_TRUE(b.pool.submit([&] { ran = true; })); });
    ASSERT_TRUE(eventually([&] { return b.pool.stats().blocked == 1; }));
    b.door.open();
    other.join();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_TRUE(ran.load());
}

TEST(task_pool, ends_the_wait_of_a_submitter_by_its_options_timeout_and_by_its_token) {
    busy_pool<> b{{.capacity = 1, .submit_timeout = 1ms}};
    ASSERT_TRUE(b.pool.submit([] {}));
    EXPECT_EQ(b.pool.submit([] {}).error(), refusal::timed_out);
    EXPECT_EQ(b.pool.submit_until(never, [] {}).error(), refusal::timed_out);
    busy_pool<> c{{.capacity = 1}};
    ASSERT_TRUE(c.pool.submit([] {}));
    std::stop_source stop;
    crew other;
    other.start([&] { EXPECT_EQ(c.pool.submit([] {}, {}, stop.get_token()).error(), refusal::stopped); });
    ASSERT_TRUE(eventually([&] { return c.pool.stats().blocked == 1; }));
    stop.request_stop();
    other.join();
    EXPECT_EQ(c.pool.stats().blocked, 0U);
}

TEST(task_pool, lets_every_blocked_submitter_in_at_last) {
    task_pool pool{{.min_workers = 2, .max_workers = 2, .capacity = 2}};
    std::atomic<std::size_t> runs{0};
    std::size_t const each = scaled(500, 50);
    run_together(20, [&](std::size_t) {
        for (std::size_t i = 0; i < each; ++i) {
            EXPECT_TRUE(pool.submit([&] { ++runs; }));
        }
    });
    ASSERT_TRUE(until_idle(pool));
    EXPECT_EQ(runs.load(), 20 * each);
}

// The queue never becomes half empty here, for somebody else takes each place at once.
TEST(task_pool, lets_a_blocked_submitter_in_although_others_are_quicker) {
    std::atomic<int> allowed{0};
    std::atomic<int> begun{0};
    task_pool pool{{.min_workers = 1, .max_workers = 1, .capacity = 3}};
    auto const step = [&] {
        int const mine = begun++;
        EXPECT_TRUE(eventually([&] { return allowed.load() > mine; }));
    };
    ASSERT_TRUE(pool.submit(step));
    ASSERT_TRUE(eventually([&] { return begun.load() == 1; }));
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(pool.submit(step));
    }
    std::atomic<bool> in{false};
    crew other;
    other.start([&] {
        EXPECT_TRUE(pool.submit(step));
        in = true;
    });
    ASSERT_TRUE(eventually([&] { return pool.stats().blocked == 1; }));
    int steps = 0;
    for (; steps < 1000 && !in.load(); ++steps) {
        allowed = steps + 1;
        ASSERT_TRUE(eventually([&] { return begun.load() == steps + 2; }));
        for (int i = 0; i < 100 && !in.load(); ++i) {  // quicker, but not always
            std::this_thread::yield();
        }
        static_cast<void>(pool.try_submit(step));
    }
    EXPECT_TRUE(in.load());
    allowed = 1 << 30;
    other.join();
}

TEST(task_pool, runs_in_the_caller_what_finds_no_room_if_told_so) {
    busy_pool<> b{{.capacity = 1, .full = when_full::run_in_caller}};
    ASSERT_TRUE(b.pool.submit([] {}));
    std::thread::id where;
    EXPECT_TRUE(b.pool.submit([&] { where = std::this_thread::get_id(); }));
    EXPECT_EQ(where, std::this_thread::get_id());
    EXPECT_TRUE(b.pool.submit([] { throw std::runtime_error("here"); }));
    auto const s = b.pool.stats();
    EXPECT_EQ(s.completed, 1U);
    EXPECT_EQ(s.failed, 1U);
    EXPECT_TRUE(adds_up(s));
}

TEST(task_pool, drops_the_oldest_and_tells_with_the_task_itself) {
    order_list ran;
    std::vector<task> dropped;
    busy_pool<> b{{.capacity = 2, .full = when_full::drop_oldest}, [&](task&& t, refusal why) {
                      EXPECT_EQ(why, refusal::dropped);
                      dropped.push_back(std::move(t));
                  }};
    for (int i = 0; i < 4; ++i) {
        EXPECT_TRUE(b.pool.submit([&ran, i] { ran.add(i); }));
    }
    auto const s = b.pool.stats();
    EXPECT_EQ(s.dropped, 2U);
    EXPECT_EQ(s.high_water, 2U);
    EXPECT_TRUE(adds_up(s));
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_EQ(ran.get(), (std::vector<int>{2, 3}));
    ASSERT_EQ(dropped.size(), 2U);
    dropped[0]();
    dropped[1]();
    EXPECT_EQ(ran.get(), (std::vector<int>{2, 3, 0, 1}));
}

TEST(task_pool, drops_the_newest_and_says_so) {
    order_list ran;
    std::vector<task> dropped;
    busy_pool<> b{{.capacity = 1, .full = when_full::drop_newest},
                  [&](task&& t, refusal) { dropped.push_back(std::move(t)); }};
    EXPECT_TRUE(b.pool.submit([&] { ran.add(0); }));
    auto const no = b.pool.submit([&] { ran.add(1); });
    ASSERT_FALSE(no);
    EXPECT_EQ(no.error(), refusal::dropped);
    EXPECT_EQ(b.pool.stats().dropped, 1U);
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_EQ(ran.get(), std::vector<int>{0});
    ASSERT_EQ(dropped.size(), 1U);
    dropped[0]();
    EXPECT_EQ(ran.get(), (std::vector<int>{0, 1}));
}

TEST(task_pool, tells_the_future_of_a_dropped_call_why_it_has_no_answer) {
    busy_pool<> b{{.capacity = 1, .full = when_full::drop_oldest}};
    auto first = b.pool.async([] { return 1; });
    auto second = b.pool.async([] { return 2; });
    ASSERT_TRUE(first.ready());
    EXPECT_EQ(first.get_for(0ns).error().rejection().reason, refusal::dropped);
    b.door.open();
    EXPECT_EQ(second.get_for(patience).value(), 2);
}

TEST(task_pool, never_makes_a_worker_wait_for_room) {
    task_pool pool{{.min_workers = 1, .max_workers = 1, .capacity = 1, .priorities = 2}};
    std::atomic<int> runs{0};
    ASSERT_TRUE(pool.submit([&] {
        for (unsigned i = 0; i < 100; ++i) {
            EXPECT_TRUE(pool.submit([&] { ++runs; }, {.priority = i % 2}));
        }
    }));
    ASSERT_TRUE(until_idle(pool));
    EXPECT_EQ(runs.load(), 100);
    EXPECT_TRUE(adds_up(pool.stats()));
}

TEST(task_pool, takes_a_range_until_one_is_refused) {
    busy_pool<> b{{.capacity = 3, .full = when_full::reject}};
    std::atomic<int> runs{0};
    std::vector<task> many;
    for (int i = 0; i < 5; ++i) {
        many.emplace_back([&] { ++runs; });
    }
    auto const answer = b.pool.submit_bulk(many);
    EXPECT_EQ(answer.accepted, 3U);
    EXPECT_EQ(answer.why, refusal::queue_full);
    EXPECT_FALSE(many[2]);
    ASSERT_TRUE(many[3]);
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_EQ(runs.load(), 3);
    EXPECT_EQ(b.pool.submit_bulk(std::vector<task>{}).why, std::nullopt);
}

TEST(task_pool, allocates_nothing_for_a_small_task_once_it_is_warm) {
    if constexpr (!news_can_fail) {
        GTEST_SKIP() << "the sanitizer has taken operator new";
    }
    busy_pool<> b{{.capacity = 1000}};
    std::atomic<int> runs{0};
    auto const some = [&](int n) {
        for (int i = 0; i < n; ++i) {
            ASSERT_TRUE(b.pool.submit([&runs, p = 1L, q = 2L, r = 3L, s = 4L] { runs += static_cast<int>(p + q + r + s) / 10; }));
        }
    };
    some(1000);
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    for (int i = 0; i < 100; ++i) {
        faults::arm(1, fault::operator_new);
        some(100);
        ASSERT_TRUE(faults::armed()) << "something was allocated";
        faults::disarm();
        ASSERT_TRUE(until_idle(b.pool));
    }
    EXPECT_EQ(runs.load(), 11000);
}

TEST(task_pool, that_finds_no_memory_leaves_the_task_with_its_owner) {
    if constexpr (!news_can_fail) {
        GTEST_SKIP() << "the sanitizer has taken operator new";
    }
    busy_pool<> b{{.capacity = 1000}};
    std::atomic<int> runs{0};
    int failures = 0;
    for (int i = 0; i < 200; ++i) {
        task t{[&runs] { ++runs; }};
        faults::arm(1, fault::operator_new);
        try {
            EXPECT_TRUE(b.pool.submit(std::move(t)));
        } catch (std::bad_alloc const&) {
            ++failures;
            ASSERT_TRUE(t);  // NOLINT: it was not moved from
            EXPECT_TRUE(b.pool.submit(std::move(t)));
        }
        faults::disarm();
    }
    EXPECT_GE(failures, 2);
    EXPECT_EQ(b.pool.stats().queued, 200U);
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_EQ(runs.load(), 200);
}

// ---- order

TEST(task_pool, of_one_worker_keeps_the_order_of_each_submitter) {
    task_pool pool{{.min_workers = 1, .max_workers = 1, .capacity = 100}};
    constexpr std::size_t submitters = 4;
    std::vector<std::size_t> next(submitters, 0);  // the only worker's
    findings wrong;
    std::size_t const each = scaled(5000, 500);
    run_together(submitters, [&](std::size_t who) {
        for (std::size_t i = 0; i < each; ++i) {
            EXPECT_TRUE(pool.submit([&, who, i] { wrong.expect(next[who]++ == i, "out of order"); }));
        }
    });
    ASSERT_TRUE(until_idle(pool));
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(next, std::vector<std::size_t>(submitters, each));
}

TEST(task_pool, begins_last_what_its_worker_has_submitted_first) {
    order_list ran;
    task_pool pool{{.min_workers = 1, .max_workers = 1}};
    ASSERT_TRUE(pool.submit([&] {
        for (int i = 0; i < 3; ++i) {
            EXPECT_TRUE(pool.submit([&ran, i] { ran.add(i); }));
        }
    }));
    ASSERT_TRUE(until_idle(pool));
    EXPECT_EQ(ran.get(), (std::vector<int>{2, 1, 0}));
}

TEST(task_pool, gives_what_comes_from_outside_its_turn_however_much_its_workers_submit) {
    for (int waiting : {1, 20}) {
        busy_pool<> b{{}};
        std::atomic<int> ran{0};
        std::atomic<int> links{0};
        std::function<void()> chain = [&] {
            if (ran.load() != waiting && ++links < 100000) {
                EXPECT_TRUE(b.pool.submit([&] { chain(); }));
            }
        };
        ASSERT_TRUE(b.pool.submit([&] { chain(); }));
        for (int i = 0; i < waiting; ++i) {
            ASSERT_TRUE(b.pool.submit([&] { ++ran; }));
        }
        b.door.open();
        ASSERT_TRUE(until_idle(b.pool));
        EXPECT_EQ(ran.load(), waiting);
        EXPECT_LE(links.load(), 100 * waiting);
    }
}

TEST(task_pool, wakes_as_many_workers_as_there_is_work_for) {
    task_pool pool{{.min_workers = 4, .max_workers = 4}};
    for (std::size_t i = 0; i < scaled(300, 50); ++i) {
        ASSERT_TRUE(until_idle(pool));
        gate door;
        arrivals begun;
        for (int k = 0; k < 4; ++k) {
            ASSERT_TRUE(pool.submit(blocker(door, begun)));
        }
        ASSERT_TRUE(begun.wait_for(4)) << i;
        door.open();
        ASSERT_TRUE(until_idle(pool));
    }
}

TEST(task_pool, lets_others_take_what_a_busy_worker_has_submitted) {
    task_pool pool{{.min_workers = 4, .max_workers = 4}};
    for (std::size_t i = 0; i < scaled(300, 50); ++i) {
        ASSERT_TRUE(until_idle(pool));
        gate door;
        arrivals begun;
        ASSERT_TRUE(pool.submit([&] {
            for (int k = 0; k < 3; ++k) {
                EXPECT_TRUE(pool.submit(blocker(door, begun)));
            }
            EXPECT_TRUE(begun.wait_for(3));  // without helping
            door.open();
        }));
        ASSERT_TRUE(until_idle(pool)) << i;
    }
}

TEST(task_pool, lets_others_take_what_a_busy_worker_was_handed) {
    gate door;
    gate second;
    arrivals begun;
    task_pool pool{{.min_workers = 1, .max_workers = 1, .capacity = 64}};
    ASSERT_TRUE(pool.submit(blocker(door, begun)));
    ASSERT_TRUE(begun.wait_for(1));
    std::atomic<int> runs{0};
    ASSERT_TRUE(pool.submit(blocker(second, begun)));
    for (int i = 0; i < 63; ++i) {
        ASSERT_TRUE(pool.submit([&] { ++runs; }));
    }
    door.open();
    ASSERT_TRUE(begun.wait_for(2));
    pool.resize(2, 2);
    EXPECT_TRUE(eventually([&] { return runs.load() == 63; }));
    second.open();
}

// ---- priorities

TEST(priorities, let_the_urgent_go_first) {
    order_list ran;
    busy_pool<> b{{.priorities = 3}};
    for (int i = 0; i < 6; ++i) {
        ASSERT_TRUE(b.pool.submit([&ran, i] { ran.add(i); }, {.priority = static_cast<unsigned>(i % 3)}));
    }
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_EQ(ran.get(), (std::vector<int>{2, 5, 1, 4, 0, 3}));
}

TEST(priorities, let_each_class_that_waits_have_one_in_eight) {
    order_list ran;
    busy_pool<> b{{.priorities = 4}};
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(b.pool.submit([&ran] { ran.add(3); }, {.priority = 3}));
    }
    for (unsigned c = 0; c < 3; ++c) {
        for (int i = 0; i < 5; ++i) {
            ASSERT_TRUE(b.pool.submit([&ran, c] { ran.add(static_cast<int>(c)); }, {.priority = c}));
        }
    }
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    auto const seen = ran.get();
    for (int c = 0; c < 3; ++c) {
        int gap = 0;
        int found = 0;
        for (std::size_t i = 0; i < seen.size() && found < 5; ++i) {
            gap = seen[i] == c ? 0 : gap + 1;
            found += seen[i] == c ? 1 : 0;
            EXPECT_LE(gap, 7 + 2) << "class " << c << " at " << i;  // two others may be due at once
        }
        EXPECT_EQ(found, 5);
    }
    EXPECT_EQ(seen[0], 3);
}

TEST(priorities, let_the_urgent_pass_what_a_worker_has_submitted_itself) {
    order_list ran;
    busy_pool<> b{{.priorities = 2}};
    ASSERT_TRUE(b.pool.submit([&] {
        EXPECT_TRUE(b.pool.submit([&ran] { ran.add(1); }));
        EXPECT_TRUE(b.pool.submit([&ran] { ran.add(2); }, {.priority = 1}));
    }));
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_EQ(ran.get(), (std::vector<int>{2, 1}));
}

TEST(priorities, do_not_starve_what_a_worker_has_submitted_itself) {
    order_list ran;
    busy_pool<> b{{.priorities = 2}};
    ASSERT_TRUE(b.pool.submit([&] { EXPECT_TRUE(b.pool.submit([&ran] { ran.add(0); })); }, {.priority = 1}));
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(b.pool.submit([&ran] { ran.add(1); }, {.priority = 1}));
    }
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    auto const seen = ran.get();
    auto const at = std::find(seen.begin(), seen.end(), 0) - seen.begin();
    EXPECT_LE(at, 8);
}

TEST(priorities, that_do_not_exist_are_refused_by_name) {
    task_pool pool{{.min_workers = 1, .max_workers = 1, .priorities = 2}};
    task t{[] {}};
    EXPECT_THROW(static_cast<void>(pool.submit(std::move(t), {.priority = 2})), std::invalid_argument);
    EXPECT_TRUE(t);  // NOLINT: it was not moved from
    EXPECT_TRUE(pool.submit(std::move(t), {.priority = 1}));
}

TEST(priorities, decide_who_is_dropped) {
    order_list ran;
    order_list gone;
    busy_pool<> b{{.capacity = 2, .full = when_full::drop_oldest, .priorities = 2}, [](task&& t, refusal) { t(); }};
    auto const sent = [&](int i, unsigned priority) {
        auto const here = std::this_thread::get_id();
        return b.pool.submit([&, i, here] { (here == std::this_thread::get_id() ? gone : ran).add(i); }, {.priority = priority});
    };
    EXPECT_TRUE(sent(1, 0));
    EXPECT_TRUE(sent(2, 1));
    EXPECT_TRUE(sent(3, 1));  // drops 1
    EXPECT_EQ(gone.get(), std::vector<int>{1});
    EXPECT_EQ(sent(4, 0).error(), refusal::dropped);  // all that wait are more urgent
    EXPECT_EQ(gone.get(), (std::vector<int>{1, 4}));
    EXPECT_TRUE(sent(5, 1));  // drops 2
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_EQ(gone.get(), (std::vector<int>{1, 4, 2}));
    EXPECT_EQ(ran.get(), (std::vector<int>{3, 5}));
}

// ---- expiry and cancel

TEST(expiry, keeps_stale_work_from_being_begun) {
    weir::manual_clock clock;
    std::vector<refusal> told;
    busy_pool<manual_pool> b{{}, [&](task&&, refusal why) { told.push_back(why); }, clock};
    std::atomic<int> runs{0};
    ASSERT_TRUE(b.pool.submit([&] { runs += 1; }, {.expires = clock.now() + 5s}));
    ASSERT_TRUE(b.pool.submit([&] { runs += 10; }, {.expires = clock.now() + 6s}));
    ASSERT_TRUE(b.pool.submit([&] { runs += 100; }));
    clock.advance(5s);
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_EQ(runs.load(), 110);
    EXPECT_EQ(told, std::vector<refusal>{refusal::expired});
    auto const s = b.pool.stats();
    EXPECT_EQ(s.expired, 1U);
    EXPECT_EQ(s.completed, 3U);
    EXPECT_TRUE(adds_up(s));
}

TEST(cancel, keeps_a_queued_call_from_being_made_and_completes_its_future) {
    busy_pool<> b{{}};
    std::atomic<int> runs{0};
    auto doomed = b.pool.async([&] { return ++runs; });
    auto other = b.pool.async([&] { return 10 + ++runs; });
    EXPECT_TRUE(doomed.cancel());
    EXPECT_EQ(doomed.get_for(0ns).error().rejection().reason, refusal::cancelled);
    b.door.open();
    EXPECT_EQ(other.get_for(patience).value(), 11);
    ASSERT_TRUE(until_idle(b.pool));
    auto const s = b.pool.stats();
    EXPECT_EQ(s.cancelled, 1U);
    EXPECT_EQ(s.completed, 2U);
    EXPECT_TRUE(adds_up(s));
}

// ---- items and hooks that throw

TEST(task_pool, lives_on_when_a_task_throws_and_tells_its_hook) {
    std::atomic<int> told{0};
    worker_pool_options o{.min_workers = 1, .max_workers = 1};
    o.on_error = [&](std::exception_ptr e) {
        try {
            std::rethrow_exception(e);
        } catch (std::runtime_error const& what) {
            told += what.what() == std::string("so") ? 1 : 100;
        }
    };
    task_pool pool{std::move(o)};
    ASSERT_TRUE(pool.submit([] { throw std::runtime_error("so"); }));
    ASSERT_TRUE(pool.submit([] {}));
    ASSERT_TRUE(until_idle(pool));
    EXPECT_EQ(told.load(), 1);
    auto const s = pool.stats();
    EXPECT_EQ(s.failed, 1U);
    EXPECT_EQ(s.completed, 1U);
}

TEST(task_pool, keeps_the_last_error_for_who_asks) {
    task_pool pool{{.min_workers = 1, .max_workers = 1}};
    EXPECT_EQ(pool.last_error(), nullptr);
    ASSERT_TRUE(pool.submit([] { throw 7; }));
    ASSERT_TRUE(until_idle(pool));
    auto const e = pool.last_error();
    ASSERT_NE(e, nullptr);
    try {
        std::rethrow_exception(e);
    } catch (int i) {
        EXPECT_EQ(i, 7);
    }
}

TEST(task_pool, survives_hooks_that_throw_and_counts_them) {
    worker_pool_options o{.min_workers = 1, .max_workers = 1, .capacity = 1, .full = when_full::drop_newest};
    o.on_error = [](std::exception_ptr) { throw 1; };
    o.on_start = [](std::size_t) { throw 2; };
    o.on_exit = [](std::size_t) { throw 3; };
    gate door;
    arrivals begun;
    task_pool pool{std::move(o), [](task&&, refusal) { throw 4; }};
    ASSERT_TRUE(pool.submit(blocker(door, begun)));
    ASSERT_TRUE(begun.wait_for(1));
    ASSERT_TRUE(pool.submit([] { throw 5; }));
    EXPECT_EQ(pool.submit([] {}).error(), refusal::dropped);
    door.open();
    ASSERT_TRUE(until_idle(pool));
    ASSERT_TRUE(pool.stop());
    auto const s = pool.stats();
    EXPECT_EQ(s.hook_failures, 4U);
    EXPECT_EQ(s.failed, 1U);
    EXPECT_NE(pool.last_error(), nullptr);
}

TEST(task_pool, calls_the_hooks_of_each_worker_once_with_its_number) {
    std::mutex mutex;
    std::vector<std::size_t> started;
    std::vector<std::size_t> left;
    worker_pool_options o{.min_workers = 3, .max_workers = 3};
    o.on_start = [&](std::size_t i) {
        std::lock_guard const hold(mutex);
        started.push_back(i);
    };
    o.on_exit = [&](std::size_t i) {
        std::lock_guard const hold(mutex);
        left.push_back(i);
    };
    task_pool pool{std::move(o)};
    ASSERT_TRUE(pool.stop());
    std::sort(started.begin(), started.end());
    std::sort(left.begin(), left.end());
    EXPECT_EQ(started, (std::vector<std::size_t>{0, 1, 2}));
    EXPECT_EQ(left, started);
}

#if defined(__linux__)
TEST(task_pool, names_its_threads) {
    task_pool pool{{.min_workers = 1, .max_workers = 1, .name = "loaders"}};
    char name[32] = {};
    ASSERT_TRUE(pool.submit([&] { pthread_getname_np(pthread_self(), name, sizeof(name)); }));
    ASSERT_TRUE(until_idle(pool));
    EXPECT_STREQ(name, "loaders-0");
}
#endif

// Were any lock held, these would hang.
TEST(task_pool, may_be_used_by_its_hooks_and_by_the_destructors_of_its_tasks) {
    struct uses_the_pool {
        task_pool* pool;
        explicit uses_the_pool(task_pool& p) : pool(&p) {}
        uses_the_pool(uses_the_pool&& other) noexcept : pool(std::exchange(other.pool, nullptr)) {}
        uses_the_pool& operator=(uses_the_pool&&) = delete;
        ~uses_the_pool() {
            if (pool != nullptr) {
                static_cast<void>(pool->stats());
                static_cast<void>(pool->try_submit([] {}));
            }
        }
        void operator()() const { throw 1; }
    };
    task_pool* itself = nullptr;
    std::atomic<int> errors{0};
    worker_pool_options o{.min_workers = 1, .max_workers = 1, .capacity = 2, .full = when_full::drop_oldest};
    o.on_error = [&](std::exception_ptr) {
        ++errors;
        static_cast<void>(itself->stats());
        static_cast<void>(itself->try_submit([] {}));
    };
    task_pool pool{std::move(o), [&](task&&, refusal) { static_cast<void>(itself->stats()); }};
    itself = &pool;
    for (int i = 0; i < 100; ++i) {
        static_cast<void>(pool.submit(uses_the_pool{pool}));
    }
    ASSERT_TRUE(until_idle(pool));
    ASSERT_TRUE(pool.submit(uses_the_pool{pool}));
    auto const r = pool.stop(stop_mode::discard);
    ASSERT_TRUE(r);
    EXPECT_GT(errors.load(), 0);
    EXPECT_TRUE(adds_up(pool.stats()));
}

// ---- elastic

TEST(elastic_pool, grows_when_more_wait_than_its_depth_allows) {
    gate door;
    arrivals begun;
    task_pool pool{{.min_workers = 1, .max_workers = 4, .grow_after = 1h, .grow_depth = 2}};
    ASSERT_TRUE(pool.submit(blocker(door, begun)));
    ASSERT_TRUE(begun.wait_for(1));
    ASSERT_TRUE(pool.submit(blocker(door, begun)));
    ASSERT_TRUE(pool.submit(blocker(door, begun)));
    EXPECT_EQ(pool.stats().workers, 1U);
    ASSERT_TRUE(pool.submit(blocker(door, begun)));  // three wait for one worker
    EXPECT_EQ(pool.stats().workers, 2U);
    EXPECT_TRUE(begun.wait_for(2));
    EXPECT_EQ(pool.stats().growths, 1U);
    door.open();
}

TEST(elastic_pool, grows_when_the_queue_is_full) {
    gate door;
    arrivals begun;
    task_pool pool{{.min_workers = 1, .max_workers = 2, .capacity = 2, .grow_after = 1h, .grow_depth = 1000}};
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(pool.submit(blocker(door, begun)));
        ASSERT_TRUE(begun.wait_for(1));
    }
    EXPECT_EQ(pool.stats().workers, 1U);
    ASSERT_TRUE(pool.submit_for(patience, blocker(door, begun)));
    EXPECT_TRUE(begun.wait_for(2));
    door.open();
}

TEST(elastic_pool, grows_when_the_oldest_has_waited_too_long) {
    weir::manual_clock clock;
    gate door;
    arrivals begun;
    manual_pool pool{{.min_workers = 1, .max_workers = 4, .grow_after = 1s, .grow_depth = 1000}, {}, clock};
    ASSERT_TRUE(pool.submit(blocker(door, begun)));
    ASSERT_TRUE(begun.wait_for(1));
    ASSERT_TRUE(pool.submit(blocker(door, begun)));
    clock.advance(1s);
    ASSERT_TRUE(pool.submit(blocker(door, begun)));  // not longer than a second
    EXPECT_EQ(pool.stats().workers, 1U);
    clock.advance(1ms);
    ASSERT_TRUE(pool.submit(blocker(door, begun)));
    EXPECT_EQ(pool.stats().workers, 2U);
    EXPECT_TRUE(begun.wait_for(2));
    door.open();
}

TEST(elastic_pool, grows_when_a_worker_meets_what_has_waited_too_long) {
    weir::manual_clock clock;
    gate first;
    gate door;
    arrivals begun;
    manual_pool pool{{.min_workers = 1, .max_workers = 2, .grow_after = 1s, .grow_depth = 1000}, {}, clock};
    ASSERT_TRUE(pool.submit(blocker(first, begun)));
    ASSERT_TRUE(begun.wait_for(1));
    ASSERT_TRUE(pool.submit(blocker(door, begun)));
    clock.advance(2s);
    first.open();
    EXPECT_TRUE(eventually([&] { return pool.stats().workers == 2; }));
    door.open();
}

TEST(elastic_pool, grows_for_what_its_workers_submit_too) {
    gate door;
    arrivals begun;
    task_pool pool{{.min_workers = 1, .max_workers = 3, .grow_after = 1h}};
    ASSERT_TRUE(pool.submit([&] {
        for (int i = 0; i < 10; ++i) {
            EXPECT_TRUE(pool.submit(blocker(door, begun)));
        }
    }));
    EXPECT_TRUE(begun.wait_for(3));
    EXPECT_EQ(pool.stats().workers, 3U);
    door.open();
}

TEST(elastic_pool, never_exceeds_its_maximum_and_returns_to_its_minimum) {
    std::atomic<int> at_once{0};
    std::atomic<int> most{0};
    task_pool pool{{.min_workers = 1, .max_workers = 3, .grow_after = 1us, .keep_alive = 1ms, .shrink_interval = 1ms}};
    for (std::size_t round = 0; round < 3; ++round) {
        for (int i = 0; i < 300; ++i) {
            ASSERT_TRUE(pool.submit([&] {
                int const now = ++at_once;
                for (int seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
                }
                std::this_thread::yield();
                --at_once;
            }));
            ASSERT_LE(pool.stats().workers, 3U);
        }
        ASSERT_TRUE(until_idle(pool));
        EXPECT_TRUE(eventually([&] { return pool.stats().workers == 1; }));
    }
    EXPECT_LE(most.load(), 3);
    EXPECT_GE(pool.stats().growths, 2U);
    EXPECT_EQ(pool.stats().completed, 900U);
}

TEST(elastic_pool, does_not_grow_while_a_worker_sleeps) {
    task_pool pool{{.min_workers = 2, .max_workers = 8, .grow_after = 1h}};
    for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(until_idle(pool));
        ASSERT_TRUE(pool.submit([] {}));
        ASSERT_EQ(pool.stats().workers, 2U);
    }
}

// ---- resize

TEST(resize, adds_workers_at_once) {
    gate door;
    arrivals begun;
    task_pool pool{{.min_workers = 1, .max_workers = 1}};
    for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(pool.submit(blocker(door, begun)));
    }
    pool.resize(4, 5);
    EXPECT_TRUE(begun.wait_for(4));
    auto const s = pool.stats();
    EXPECT_EQ(s.workers, 4U);
    EXPECT_EQ(s.min_workers, 4U);
    EXPECT_EQ(s.max_workers, 5U);
    door.open();
}

TEST(resize, sends_home_who_is_too_many) {
    task_pool pool{{.min_workers = 4, .max_workers = 4}};
    ASSERT_TRUE(until_idle(pool));
    pool.resize(1, 1);
    EXPECT_EQ(pool.stats().workers, 1U);
    gate door;
    arrivals begun;
    pool.resize(3, 3);
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(pool.submit(blocker(door, begun)));
    }
    ASSERT_TRUE(begun.wait_for(3));
    std::atomic<int> runs{0};
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(pool.submit([&] { ++runs; }));
    }
    pool.resize(1, 2);
    EXPECT_EQ(pool.stats().workers, 3U);  // all are busy
    door.open();
    ASSERT_TRUE(until_idle(pool));
    EXPECT_LE(pool.stats().workers, 2U);
    EXPECT_EQ(runs.load(), 100);

    pool.resize(3, 3);
    gate second;
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(pool.submit(blocker(second, begun)));
    }
    ASSERT_TRUE(begun.wait_for(6));
    pool.resize(1, 1);
    second.open();  // nothing waits: they leave when they find nothing
    ASSERT_TRUE(until_idle(pool));
    EXPECT_EQ(pool.stats().workers, 1U);
}

TEST(resize, sends_home_who_is_too_many_though_there_is_work) {
    gate door;
    arrivals begun;
    task_pool pool{{.min_workers = 3, .max_workers = 3}};
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(pool.submit(blocker(door, begun)));
    }
    ASSERT_TRUE(begun.wait_for(3));
    arrivals last;
    gate hold;
    for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(pool.submit([] {}));
    }
    ASSERT_TRUE(pool.submit(blocker(hold, last)));
    ASSERT_TRUE(pool.submit([] {}));
    pool.resize(1, 1);
    door.open();
    ASSERT_TRUE(last.wait_for(1));
    EXPECT_EQ(pool.stats().workers, 1U);
    EXPECT_GE(pool.stats().queued, 1U);  // nobody has been idle
    hold.open();
    ASSERT_TRUE(until_idle(pool));
}

TEST(resize, to_a_lower_minimum_lets_the_idle_leave) {
    task_pool pool{{.min_workers = 3, .max_workers = 3, .keep_alive = 1ms, .shrink_interval = 1ms}};
    ASSERT_TRUE(until_idle(pool));
    pool.resize(1, 3);
    EXPECT_TRUE(eventually([&] { return pool.stats().workers == 1; }));
    ASSERT_TRUE(pool.submit([] {}));
    ASSERT_TRUE(until_idle(pool));
}

TEST(resize, to_bounds_that_make_no_sense_is_refused_by_name) {
    task_pool pool{{.min_workers = 1, .max_workers = 2}};
    EXPECT_THROW(pool.resize(0, 2), std::invalid_argument);
    EXPECT_THROW(pool.resize(3, 2), std::invalid_argument);
    EXPECT_THROW(pool.resize(1, 20000), std::invalid_argument);
    EXPECT_EQ(pool.stats().max_workers, 2U);
}

// ---- helping

TEST(helping_wait, lets_the_only_worker_wait_for_what_is_queued_behind_it) {
    task_pool pool{{.min_workers = 1, .max_workers = 1}};
    auto outer = pool.async([&] {
        auto inner = pool.async([&] {
            auto innermost = pool.async([] { return 1; });
            return 1 + pool.wait_for(innermost, patience).value();
        });
        return 1 + pool.wait_for(inner, patience).value();
    });
    EXPECT_EQ(outer.get_for(patience).value(), 3);
}

TEST(helping_wait, is_woken_by_work_and_by_the_answer) {
    task_pool pool{{.min_workers = 2, .max_workers = 2}};
    gate door;
    arrivals begun;
    auto slow = pool.async([&] {
        begun.arrive();
        EXPECT_TRUE(door.wait());
        return 5;
    });
    ASSERT_TRUE(begun.wait_for(1));
    auto waiting = pool.async([&] {
        begun.arrive();
        return pool.wait_for(slow, patience).value();
    });
    ASSERT_TRUE(begun.wait_for(2));
    for (int i = 0; i < 100; ++i) {  // one worker stands at the door, the other waits: it has to do these
        std::atomic<bool> ran{false};
        ASSERT_TRUE(pool.submit([&] { ran = true; }));
        ASSERT_TRUE(eventually([&] { return ran.load(); }));
    }
    door.open();
    EXPECT_EQ(waiting.get_for(patience).value(), 5);
}

TEST(helping_wait, begins_no_more_inside_each_other_than_its_depth) {
    busy_pool<> b{{.help_depth = 2}};
    std::vector<weir::future<int>> chain;  // each waits for the next, which is queued behind it
    std::atomic<int> depth{0};
    std::atomic<int> most{0};
    constexpr std::size_t links = 6;
    chain.reserve(links);
    for (std::size_t i = 0; i < links; ++i) {
        chain.push_back(b.pool.async([&, i] {
            int const now = ++depth;
            most = std::max(most.load(), now);
            if (i + 1 < links) {
                static_cast<void>(b.pool.wait_for(chain[i + 1], 5ms));  // too deep down, it only waits
            }
            --depth;
            return now;
        }));
    }
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_EQ(most.load(), 3);
}

TEST(helping_wait, deeper_than_its_depth_begins_what_the_worker_has_submitted_itself) {
    task_pool pool{{.min_workers = 1, .max_workers = 1, .help_depth = 2}};
    std::function<int(int)> descend = [&](int left) -> int {
        if (left == 0) {
            return 0;
        }
        auto next = pool.async([&descend, left] { return descend(left - 1); });
        return 1 + pool.wait_for(next, patience).value();
    };
    auto all = pool.async([&] { return descend(50); });
    EXPECT_EQ(all.get_for(patience).value(), 50);
}

TEST(helping_wait, ends_by_its_deadline_and_its_token) {
    task_pool pool{{.min_workers = 2, .max_workers = 2}};
    gate door;
    auto slow = pool.async([&] { EXPECT_TRUE(door.wait()); });
    auto waiting = pool.async([&] { return pool.wait_for(slow, 1ms).error().rejection().reason; });
    EXPECT_EQ(waiting.get_for(patience).value(), refusal::timed_out);
    std::stop_source stop;
    arrivals begun;
    auto stopped = pool.async([&] {
        begun.arrive();
        return pool.wait_for(slow, patience, stop.get_token()).error().rejection().reason;
    });
    ASSERT_TRUE(begun.wait_for(1));
    stop.request_stop();
    EXPECT_EQ(stopped.get_for(patience).value(), refusal::stopped);
    door.open();
    EXPECT_TRUE(slow.get_for(patience).has_value());
}

TEST(helping_wait, brings_a_pool_through_in_which_every_worker_submits_and_waits) {
    task_pool pool{{.min_workers = 2, .max_workers = 2, .capacity = 4, .help_depth = 64}};
    std::function<long(int)> fibonacci = [&](int n) -> long {
        if (n < 2) {
            return n;
        }
        auto one = pool.async([&fibonacci, n] { return fibonacci(n - 1); });
        long const other = fibonacci(n - 2);
        return other + pool.wait_for(one, patience).value();
    };
    auto all = pool.async([&] { return fibonacci(15); });
    EXPECT_EQ(all.get_for(patience).value(), 610);
    ASSERT_TRUE(until_idle(pool));
    EXPECT_TRUE(adds_up(pool.stats()));
}

TEST(helping_wait, that_was_woken_for_work_and_has_its_answer_passes_the_work_on) {
    task_pool elsewhere{{.min_workers = 1, .max_workers = 1}};
    task_pool pool{{.min_workers = 2, .max_workers = 2}};
    for (std::size_t i = 0; i < scaled(1000, 100); ++i) {
        std::atomic<bool> answer{false};
        gate ran;
        auto slow = elsewhere.async([&] { return eventually([&] { return answer.load(); }); });
        auto waiting = pool.async([&] {
            auto const got = pool.wait_for(slow, patience);
            return ran.wait() && got.has_value();  // without helping: the other worker has to run what opens it
        });
        ASSERT_TRUE(eventually([&] {
            auto const s = pool.stats();
            return s.queued == 0 && s.sleeping == 1;
        }));
        answer = true;
        ASSERT_TRUE(pool.submit([&] { ran.open(); }));
        ASSERT_TRUE(waiting.get_for(patience).value()) << i;
        ASSERT_TRUE(until_idle(pool));
    }
}

// ---- waiting for idleness

TEST(wait_idle, ends_by_its_deadline_and_its_token_and_is_refused_to_workers) {
    busy_pool<> b{{}};
    EXPECT_EQ(b.pool.wait_idle_for(0ns).error(), refusal::timed_out);
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(b.pool.wait_idle_until(never, stop.get_token()).error(), refusal::stopped);
    auto inside = b.pool.async([&] { return b.pool.wait_idle_for(patience).error(); });
    b.door.open();
    EXPECT_EQ(inside.get_for(patience).value(), refusal::inside_worker);
    EXPECT_TRUE(until_idle(b.pool));
}

TEST(wait_idle, sees_nothing_left_behind) {
    task_pool pool{{.min_workers = 2, .max_workers = 2}};
    for (std::size_t i = 0; i < scaled(1000, 100); ++i) {
        std::atomic<int> runs{0};
        ASSERT_TRUE(pool.submit([&] {
            EXPECT_TRUE(pool.submit([&] {
                EXPECT_TRUE(pool.submit([&] { ++runs; }));
                ++runs;
            }));
            ++runs;
        }));
        ASSERT_TRUE(until_idle(pool));
        ASSERT_EQ(runs.load(), 3);
        auto const s = pool.stats();
        ASSERT_EQ(s.running + s.queued, 0U);
    }
}

// ---- stop

TEST(stop, with_drain_runs_all_that_was_accepted) {
    for (std::size_t workers : {1U, 3U}) {
        std::atomic<int> runs{0};
        task_pool pool{{.min_workers = workers, .max_workers = workers}};
        for (int i = 0; i < 1000; ++i) {
            ASSERT_TRUE(pool.submit([&] { ++runs; }));
        }
        auto const r = pool.stop();
        ASSERT_TRUE(r);
        EXPECT_TRUE(r->stopped);
        EXPECT_TRUE(r->not_run.empty());
        EXPECT_EQ(runs.load(), 1000);
        EXPECT_EQ(pool.submit([] {}).error(), refusal::closed);
        EXPECT_EQ(pool.async([] {}).get_for(0ns).error().rejection().reason, refusal::closed);
        EXPECT_EQ(pool.stats().workers, 0U);
    }
}

TEST(stop, with_discard_gives_back_what_was_not_run) {
    busy_pool<> b{{.priorities = 2}};
    std::atomic<int> runs{0};
    for (unsigned i = 0; i < 10; ++i) {
        ASSERT_TRUE(b.pool.submit([&] { ++runs; }, {.priority = i % 2}));
    }
    auto promised = b.pool.async([] { return 1; });
    auto r = b.pool.stop_for(0ns, stop_mode::discard);
    ASSERT_TRUE(r);
    EXPECT_FALSE(r->stopped);
    EXPECT_EQ(r->running, 1U);
    EXPECT_EQ(r->queued, 0U);
    ASSERT_EQ(r->not_run.size(), 11U);
    EXPECT_EQ(promised.get_for(0ns).error().rejection().reason, refusal::closed);
    for (auto& each : r->not_run) {
        each();
    }
    EXPECT_EQ(runs.load(), 10);
    b.door.open();
    r = b.pool.stop_for(patience, stop_mode::discard);
    ASSERT_TRUE(r && r->stopped);
    auto const s = b.pool.stats();
    EXPECT_EQ(s.discarded, 11U);
    EXPECT_TRUE(adds_up(s));
}

TEST(stop, with_discard_takes_what_workers_have_in_their_lists_and_refuses_them_more) {
    task_pool pool{{.min_workers = 1, .max_workers = 1}};
    arrivals begun;
    std::atomic<int> runs{0};
    std::optional<refusal> later;
    ASSERT_TRUE(pool.submit([&](std::stop_token const& stop) {
        for (int i = 0; i < 5; ++i) {
            EXPECT_TRUE(pool.submit([&] { ++runs; }));
        }
        begun.arrive();
        EXPECT_TRUE(eventually([&] { return stop.stop_requested(); }));
        later = pool.submit([&] { ++runs; }).error();
    }));
    ASSERT_TRUE(begun.wait_for(1));
    auto const r = pool.stop_for(patience, stop_mode::discard);
    ASSERT_TRUE(r && r->stopped);
    EXPECT_EQ(r->not_run.size(), 5U);
    EXPECT_EQ(runs.load(), 0);
    EXPECT_EQ(later, refusal::closed);
}

TEST(stop, reports_a_task_that_does_not_end) {
    busy_pool<> b{{}};
    ASSERT_TRUE(b.pool.submit([] {}));
    auto r = b.pool.stop_for(1ms);
    ASSERT_TRUE(r);
    EXPECT_FALSE(r->stopped);
    EXPECT_EQ(r->queued, 1U);
    EXPECT_EQ(r->running, 1U);
    EXPECT_EQ(b.pool.submit([] {}).error(), refusal::closed);
    EXPECT_EQ(b.pool.start().error(), refusal::closed);
    std::stop_source stop;
    stop.request_stop();
    EXPECT_FALSE(b.pool.stop_until(never, stop_mode::drain, stop.get_token())->stopped);
    b.door.open();
    r = b.pool.stop_for(patience);
    ASSERT_TRUE(r && r->stopped);
    EXPECT_EQ(b.pool.stats().completed, 2U);
}

TEST(stop, is_refused_to_a_worker) {
    task_pool pool{{.min_workers = 1, .max_workers = 1}};
    auto stop = pool.async([&] { return pool.stop().error(); });
    EXPECT_EQ(stop.get_for(patience).value(), refusal::inside_worker);
    auto start = pool.async([&] { return pool.start().error(); });
    EXPECT_EQ(start.get_for(patience).value(), refusal::inside_worker);
    EXPECT_TRUE(pool.stop()->stopped);
}

TEST(stop, may_be_called_twice_and_by_many_at_once) {
    for (std::size_t i = 0; i < scaled(100, 20); ++i) {
        task_pool pool{{.min_workers = 2, .max_workers = 2}};
        std::atomic<int> runs{0};
        std::atomic<std::size_t> given_back{0};
        for (int k = 0; k < 20; ++k) {
            ASSERT_TRUE(pool.submit([&] { ++runs; }));
        }
        run_together(4, [&](std::size_t who) {
            auto const r = pool.stop_for(patience, who % 2 == 0 ? stop_mode::drain : stop_mode::discard);
            EXPECT_TRUE(r && r->stopped);
            given_back += r->not_run.size();
        });
        EXPECT_EQ(static_cast<std::size_t>(runs.load()) + given_back.load(), 20U);
        EXPECT_TRUE(pool.stop()->stopped);
        EXPECT_TRUE(pool.stop(stop_mode::discard)->stopped);
    }
}

TEST(stop, releases_who_waits_to_submit) {
    busy_pool<> b{{.capacity = 1}};
    ASSERT_TRUE(b.pool.submit([] {}));
    crew others;
    for (int i = 0; i < 3; ++i) {
        others.start([&] { EXPECT_EQ(b.pool.submit([] {}).error(), refusal::closed); });
    }
    ASSERT_TRUE(eventually([&] { return b.pool.stats().blocked == 3; }));
    EXPECT_FALSE(b.pool.stop_for(0ns)->stopped);
    others.join();
    b.door.open();
}

TEST(stop, runs_what_tasks_submit_while_it_drains) {
    task_pool pool{{.min_workers = 2, .max_workers = 2, .capacity = 2}};
    gate door;
    arrivals begun;
    std::atomic<int> runs{0};
    std::function<void(int)> chain = [&](int left) {
        ++runs;
        if (left != 0) {
            EXPECT_TRUE(pool.submit([&chain, left] { chain(left - 1); }));
        }
    };
    ASSERT_TRUE(pool.submit([&] {
        begun.arrive();
        EXPECT_TRUE(door.wait());
        chain(500);
    }));
    ASSERT_TRUE(begun.wait_for(1));
    EXPECT_FALSE(pool.stop_for(0ns)->stopped);
    door.open();
    ASSERT_TRUE(pool.stop_for(patience)->stopped);
    EXPECT_EQ(runs.load(), 501);
}

TEST(stop, can_be_followed_by_a_new_start) {
    task_pool pool{{.min_workers = 2, .max_workers = 2}};
    EXPECT_TRUE(pool.start());  // it runs
    for (int i = 0; i < 10; ++i) {
        auto const mode = i % 2 == 0 ? stop_mode::drain : stop_mode::discard;
        ASSERT_TRUE(pool.stop_for(patience, mode)->stopped);
        ASSERT_TRUE(pool.start());
        auto fresh = pool.async([](std::stop_token const& stop) { return stop.stop_requested(); });
        EXPECT_EQ(fresh.get_for(patience).value(), false);
        auto nested = pool.async([&] {
            auto inner = pool.async([] { return 3; });
            return pool.wait_for(inner, patience).value();
        });
        EXPECT_EQ(nested.get_for(patience).value(), 3);
    }
}

TEST(destructor, runs_what_is_queued) {
    std::atomic<int> runs{0};
    {
        task_pool pool{{.min_workers = 2, .max_workers = 2}};
        for (int i = 0; i < 100; ++i) {
            ASSERT_TRUE(pool.submit([&] { ++runs; }));
        }
    }
    EXPECT_EQ(runs.load(), 100);
}

TEST(destructor, releases_who_waits_to_submit_and_waits_until_they_have_left) {
    for (int round = 0; round < 20; ++round) {
        gate door;
        arrivals begun;
        crew others;
        {
            auto pool = std::make_unique<task_pool>(worker_pool_options{.min_workers = 1, .max_workers = 1, .capacity = 1});
            ASSERT_TRUE(pool->submit(blocker(door, begun)));
            ASSERT_TRUE(begun.wait_for(1));
            ASSERT_TRUE(pool->submit([] {}));
            for (int i = 0; i < 4; ++i) {
                others.start([&p = *pool, &begun] {
                    EXPECT_EQ(p.submit([] {}).error(), refusal::closed);
                    begun.arrive();
                });
            }
            ASSERT_TRUE(eventually([&] { return pool->stats().blocked == 4; }));
            crew opener;
            opener.start([&] {
                EXPECT_TRUE(begun.wait_for(2));  // the others may be on their way out
                door.open();
            });
            pool.reset();
        }
        others.join();
    }
}

// ---- threads that cannot be made

struct no_hooks {
    static weir::detail::pool_end run(task& t, std::stop_token const& stop, std::size_t) { return t.run(stop); }
    static void abandon(task& t, refusal why) noexcept { t.abandon(why); }
};
struct scarce_threads {
    int* left;
    template <class F>
    std::thread operator()(F&& f) const {
        if (*left == 0) {
            throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
        }
        --*left;
        return std::thread(std::forward<F>(f));
    }
};
using scarce_core = weir::detail::pool_core<task, no_hooks, std::chrono::steady_clock, scarce_threads>;

TEST(thread_creation, that_fails_in_the_constructor_leaves_nothing_behind) {
    for (int n = 0; n < 5; ++n) {
        int left = n;
        std::atomic<int> started{0};
        std::atomic<int> ended_threads{0};
        worker_pool_options o{.min_workers = 5, .max_workers = 5};
        o.on_start = [&](std::size_t) { ++started; };
        o.on_exit = [&](std::size_t) { ++ended_threads; };
        EXPECT_THROW(scarce_core(std::move(o), {}, {}, {}, scarce_threads{&left}), std::system_error);
        EXPECT_EQ(started.load(), n);
        EXPECT_EQ(ended_threads.load(), n);
    }
}

TEST(thread_creation, that_fails_at_a_start_leaves_the_pool_stopped) {
    int left = 3;
    scarce_core core({.min_workers = 3, .max_workers = 3}, {}, {}, {}, scarce_threads{&left});
    for (int n = 0; n < 3; ++n) {
        ASSERT_TRUE(core.stop_until(never, stop_mode::drain, {})->stopped);
        left = n;
        EXPECT_THROW(static_cast<void>(core.start()), std::system_error);
        task t{[] {}};
        EXPECT_EQ(core.submit(t, core.terms()).error(), refusal::closed);
        EXPECT_EQ(core.stats().workers, 0U);
        left = 3;
        ASSERT_TRUE(core.start());
        std::atomic<bool> ran{false};
        t = task{[&] { ran = true; }};
        ASSERT_TRUE(core.submit(t, core.terms()));
        ASSERT_TRUE(core.wait_idle_until(never, {}));
        EXPECT_TRUE(ran.load());
    }
}

TEST(thread_creation, that_fails_under_load_is_counted_and_the_pool_goes_on) {
    int left = 1;
    scarce_core core({.min_workers = 1, .max_workers = 4, .grow_after = 1h}, {}, {}, {}, scarce_threads{&left});
    std::atomic<int> runs{0};
    gate door;
    arrivals begun;
    task t{blocker(door, begun)};
    ASSERT_TRUE(core.submit(t, core.terms()));
    ASSERT_TRUE(begun.wait_for(1));
    for (int i = 0; i < 100; ++i) {
        t = task{[&] { ++runs; }};
        ASSERT_TRUE(core.submit(t, core.terms()));
    }
    EXPECT_GE(core.stats().spawn_failures, 1U);
    EXPECT_LE(core.stats().spawn_failures, 99U);  // it does not try at each submit
    EXPECT_EQ(core.stats().workers, 1U);
    EXPECT_THROW(core.resize(2, 2), std::system_error);
    door.open();
    ASSERT_TRUE(core.wait_idle_until(never, {}));
    EXPECT_EQ(runs.load(), 100);
}

// ---- measurements

TEST(task_pool, measures_waits_and_runs_if_told_to) {
    busy_pool<> b{{.measure = true}};
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(b.pool.submit([] {}));
    }
    b.door.open();
    ASSERT_TRUE(until_idle(b.pool));
    EXPECT_EQ(b.pool.wait_times().snapshot().count(), 11U);
    EXPECT_EQ(b.pool.run_times().snapshot().count(), 11U);
    task_pool quiet{{.min_workers = 1, .max_workers = 1}};
    ASSERT_TRUE(quiet.submit([] {}));
    ASSERT_TRUE(until_idle(quiet));
    EXPECT_EQ(quiet.run_times().snapshot().count(), 0U);
}

TEST(task_pool, describes_its_numbers_to_whoever_collects_them) {
    static_assert(weir::metric_source<task_pool>);
    static_assert(weir::metric_source<worker_pool_stats>);
    EXPECT_GE(weir::metric_shape<worker_pool_stats>().size(), 15U);
}

TEST(task_pool, knows_its_workers) {
    task_pool pool{{.min_workers = 1, .max_workers = 1}};
    task_pool other{{.min_workers = 1, .max_workers = 1}};
    EXPECT_FALSE(pool.inside());
    auto f = pool.async([&] { return pool.inside() && !other.inside(); });
    EXPECT_TRUE(f.get_for(patience).value());
}

// ---- many threads

TEST(task_pool, is_an_executor_for_timeouts_and_hedges) {
    weir::task_pool pool{{.min_workers = 2, .max_workers = 2}};
    auto const guarded = weir::hedge(pool, std::chrono::hours{1}) | weir::timeout(std::chrono::hours{1}, pool);
    EXPECT_EQ(guarded([] { return 7; }).value(), 7);
    auto const impatient = weir::pipeline<>{} | weir::timeout(std::chrono::milliseconds{1}, pool);
    std::atomic<bool> go_on{false};
    auto const late = impatient([&go_on] {
        while (!go_on) {
            std::this_thread::yield();
        }
        return 8;
    });
    go_on = true;
    ASSERT_FALSE(late.has_value());
    EXPECT_EQ(late.error().rejection().reason, weir::refusal::timed_out);
    ASSERT_TRUE(pool.stop().has_value());
    auto const refused = guarded([] { return 9; });
    ASSERT_FALSE(refused.has_value());
    try {
        refused.error().rethrow();
    } catch (weir::rejected_error const& e) {
        EXPECT_EQ(e.why().reason, weir::refusal::closed);
    }
}

TEST(task_pool, takes_from_a_hundred_submitters_at_once) {
    task_pool pool{{.min_workers = 2, .max_workers = 2, .capacity = 64}};
    std::size_t const each = scaled(200, 20);
    std::vector<std::atomic<std::size_t>> seen(100);
    run_together(100, [&](std::size_t who) {
        for (std::size_t i = 0; i < each; ++i) {
            EXPECT_TRUE(pool.submit([&seen, who] { ++seen[who]; }));
        }
    });
    ASSERT_TRUE(until_idle(pool));
    for (auto const& n : seen) {
        EXPECT_EQ(n.load(), each);
    }
}

TEST(task_pool, runs_a_whole_tree_of_tasks_that_submit_tasks) {
    task_pool pool{{.min_workers = 3, .max_workers = 3, .capacity = 8}};
    std::atomic<std::size_t> leaves{0};
    std::function<void(unsigned)> node = [&](unsigned depth) {
        if (depth == 0) {
            ++leaves;
            return;
        }
        for (int i = 0; i < 2; ++i) {
            EXPECT_TRUE(pool.submit([&node, depth] { node(depth - 1); }));
        }
    };
    unsigned const depth = scale_factor() < 1 ? 11 : 14;
    ASSERT_TRUE(pool.submit([&] { node(depth); }));
    ASSERT_TRUE(until_idle(pool));
    EXPECT_EQ(leaves.load(), std::size_t{1} << depth);
}

// Each task is counted when it runs, is dropped, comes back or is cancelled: exactly once, whatever happens to the pool meanwhile;
// and each snapshot adds up.
TEST(task_pool, brings_every_accepted_task_to_exactly_one_end_in_a_storm) {
    random_numbers seeds(run_seed());
    std::size_t const rounds = scaled(30, 6);
    for (std::size_t round = 0; round < rounds; ++round) {
        random_numbers r(seeds.next());
        worker_pool_options o{.min_workers = 1 + r.below(2),
                              .max_workers = 2 + r.below(3),
                              .capacity = 1 + r.below(100),
                              .full = static_cast<when_full>(r.below(5)),
                              .priorities = 1 + static_cast<unsigned>(r.below(3)),
                              .grow_after = 1us,
                              .keep_alive = 10us,
                              .shrink_interval = 10us};
        unsigned const classes = o.priorities;
        constexpr std::size_t submitters = 3;
        constexpr std::size_t each = 300;
        std::vector<std::atomic<int>> ends(submitters * each * 2);  // the second half: what tasks submit
        struct marked {
            std::atomic<int>* end;
            task_pool* pool;
            std::atomic<int>* child;
            explicit marked(std::atomic<int>& e, task_pool* p, std::atomic<int>* c) : end(&e), pool(p), child(c) {}
            marked(marked&& other) noexcept : end(std::exchange(other.end, nullptr)), pool(other.pool), child(other.child) {}
            marked& operator=(marked&&) = delete;
            ~marked() {
                if (end != nullptr) {
                    ++*end;  // once, with the task
                }
            }
            void operator()() {
                if (child != nullptr) {
                    static_cast<void>(pool->submit(marked{*std::exchange(child, nullptr), nullptr, nullptr}));
                }
            }
        };
        findings wrong;
        std::uint64_t before = 0;
        {
            task_pool pool{std::move(o), [](task&&, refusal) {}};
            std::atomic<std::size_t> done{0};
            run_together(submitters + 2, [&](std::size_t who) {
                random_numbers mine(run_seed() + who + round * 100);
                if (who < submitters) {
                    for (std::size_t i = 0; i < each; ++i) {
                        std::size_t const id = who * each + i;
                        task t{marked{ends[id], &pool, &ends[submitters * each + id]}};
                        unsigned const priority = static_cast<unsigned>(mine.below(classes));
                        for (int tries = 0; tries < 1000; ++tries) {  // it may be stopped just now
                            auto const given = pool.submit_for(1ms, std::move(t), {.priority = priority});
                            if (given || given.error() != refusal::closed) {
                                break;
                            }
                            std::this_thread::yield();
                        }
                    }
                    ++done;
                } else if (who == submitters) {
                    while (done.load() != submitters) {
                        switch (mine.below(4)) {
                            case 0: {
                                auto const mode = mine.one_in(2) ? stop_mode::drain : stop_mode::discard;
                                wrong.expect(pool.stop_for(patience, mode)->stopped, "not stopped");
                                wrong.expect(pool.start().has_value(), "not started");
                                break;
                            }
                            case 1: pool.resize(1 + mine.below(2), 2 + mine.below(3)); break;
                            case 2: {
                                auto f = pool.async([] { return 1; });
                                f.cancel();
                                break;
                            }
                            default: std::this_thread::yield();
                        }
                    }
                } else {
                    while (done.load() != submitters) {
                        auto const s = pool.stats();
                        wrong.expect(adds_up(s), "the books do not add up");
                        wrong.expect(s.workers <= 4, "too many workers");
                        std::this_thread::yield();
                    }
                }
            });
            wrong.expect(until_idle(pool), "not idle");
            auto const s = pool.stats();
            wrong.expect(adds_up(s) && s.queued == 0 && s.running == 0, "the last books do not add up");
            before = s.submitted;
        }
        ASSERT_TRUE(wrong.none()) << wrong << " in round " << round << ", seed " << run_seed();
        ASSERT_GT(before, 0U);
        for (std::size_t i = 0; i < ends.size(); ++i) {
            ASSERT_LE(ends[i].load(), 1) << "task " << i << " in round " << round;
            ASSERT_TRUE(i >= submitters * each || ends[i].load() == 1) << "task " << i << " in round " << round;
        }
    }
}

TEST(task_pool, loses_no_wake_up_when_single_tasks_come_and_go) {
    task_pool pool{{.min_workers = 2, .max_workers = 2}};
    for (std::size_t i = 0; i < scaled(20000, 1000); ++i) {
        std::atomic<bool> ran{false};
        ASSERT_TRUE(pool.submit([&] { ran.store(true); }));
        ASSERT_TRUE(eventually([&] { return ran.load(); })) << i;
    }
}

// The other worker is about to sleep when this one submits, and has to see it.
TEST(task_pool, loses_no_wake_up_when_workers_submit_while_others_go_to_sleep) {
    task_pool pool{{.min_workers = 2, .max_workers = 2}};
    for (std::size_t i = 0; i < scaled(20000, 1000); ++i) {
        std::atomic<bool> done{false};
        ASSERT_TRUE(pool.submit([&, i] {
            std::atomic<bool> ran{false};
            for (std::size_t k = 0; k < i % 512; ++k) {
                weir::detail::cpu_relax();
            }
            EXPECT_TRUE(pool.submit([&] { ran = true; }));
            EXPECT_TRUE(eventually([&] { return ran.load(); }));
            done = true;
        }));
        ASSERT_TRUE(eventually([&] { return done.load(); })) << i;
    }
}

}  // namespace
}  // namespace weir_test
