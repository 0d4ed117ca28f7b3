// weir (BSL-1.0). Kernels of run/detail/pool_core.hpp: no wake-up is lost, each item comes to one end, threads come and go.
#include <weir/run/detail/pool_core.hpp>

#include "kernels.hpp"
#include "mutation.hpp"
#include "stats_kernel.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>

// A lost wake-up is a deadlock here: no deadline ends these waits, but where a kernel is about deadlines. What a pool does when it
// is stopped wakes everybody, and would hide one: so each kernel waits for its items before that.
// The orders of these headers are few, and the mutants look after them. What else keeps the pool right is broken instead:
//
//   what is broken                                  noticed by
//   a submit wakes nobody                           a_submit_meets_a_worker_that_goes_to_sleep
//   seek() sleeps without a look at the queue       the same
//   a sleeper prepares to wait without m_           the same
//   rest() does not look whether all is done        the same
//   rest() does not look at the locals              a_push_meets_a_worker_that_goes_to_sleep
//   a push does not look at wanted_                 the same
//   fall_asleep(), cease_search() leave wanted_     the same
//   take_shared() does not pass on                  who_was_woken_wakes_the_next
//   a thief does not pass on                        a_thief_wakes_the_next
//   help_until() does not look at the locals        who_helps_sees_what_another_worker_pushes
//   who helps is notified after m_                  who_helps_leaves_while_it_is_woken
//   who helps and leaves does not pass on           who_helps_passes_on_what_it_was_woken_for
//   who helps and leaves stays in searching_        the same
//   a take does not notify the blocked              a_blocked_submitter_gets_in_when_something_is_taken
//   who is blocked prepares to wait without m_      the same
//   a stop does not notify the blocked              a_blocked_submitter_is_released_by_a_stop
//   room() or take_shared() forgets what is handed  what_was_handed_over_counts_against_the_bound
//   the destructor does not wait for guests         goes_while_a_submitter_is_blocked, as a use after free
//   who was blocked notifies without m_             the same
//   a stop is no guest                              goes_while_somebody_stops_it
//   idle() without in_callers_                      is_not_idle_while_an_item_runs_in_its_caller
//   run_here() does not look whether all is done    the same
//   launch() does not look whether all is done      a_thread_that_cannot_be_made_leaves_it_idle
//   who is sent off stays counted                   a_submit_meets_a_worker_that_leaves
//
// Not noticed: wake_one() that wakes though somebody searches (it costs a wake-up, and is right); a discard that leaves the locals
// open (what a worker pushes then is run: worker_pool_test notices); dismiss() that does not pass on, or does not look whether all
// is done (where there are too many workers none sleeps); depart() that does not look at spawning_ (the destructor joins then).
// That a capacity's worth of items taken wakes the blocked: the stress test notices.

namespace weir_model {
namespace {

using weir::expected;
using weir::refusal;
using weir::stop_mode;
using weir::when_full;
using weir::worker_pool_options;
using weir::detail::await;
using weir::detail::event_count;
using weir::detail::pool_end;
using weir::detail::pool_terms;

using clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;
using namespace std::chrono_literals;
constexpr auto never = clock::time_point::max();

constexpr int items = 10;

/// What has become of the items. Plain: that one item is run by two threads is a race, too.
struct ledger {
    int ran[items] = {};
    int dropped[items] = {};

    [[nodiscard]] bool all_ran_once(int n) const {
        for (int i = 0; i < n; ++i) {
            if (ran[i] != 1) {
                return false;
            }
        }
        return true;
    }
};

using body_type = weir::detail::unique_function<void(int, std::stop_token const&)>;

struct runner {
    body_type* body;
    ledger* books;

    pool_end run(int& item, std::stop_token const& stop, std::size_t) const {
        ++books->ran[item];
        if (*body) {
            (*body)(item, stop);
        }
        return pool_end::completed;
    }
    void abandon(int& item, refusal) const noexcept { ++books->dropped[item]; }
};

/// Makes threads, but those that it is told not to.
struct spawner {
    int* refuse_from = nullptr;  // counts down; the one after 0 and all later ones fail

    template <class F>
    std::thread operator()(F&& f) const {
        if (refuse_from != nullptr && (*refuse_from)-- <= 0) {
            throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
        }
        return std::thread(std::forward<F>(f));
    }
};

using core = weir::detail::pool_core<int, runner, clock, spawner>;

/// A pool and its books.
class pool_of_a_body {
public:
    explicit pool_of_a_body(worker_pool_options o, body_type body = {}, spawner spawn = {})
        : body_(std::move(body)), pool_(new core(std::move(o), runner{&body_, &books_}, clock{}, {}, spawn)) {}

    core& operator*() noexcept { return *pool_; }
    core* operator->() noexcept { return &*pool_; }
    ledger books_;

    expected<void, refusal> submit(int item) { return pool_->submit(item, pool_->terms()); }
    /// A submit that must be accepted.
    void give(int item) { WEIR_MODEL_REQUIRE(submit(item).has_value()); }
    void wait_idle() { WEIR_MODEL_REQUIRE(pool_->wait_idle_until(never, {}).has_value()); }
    void destroy() { pool_.reset(); }

private:
    lanes_of_a_body lanes_;
    body_type body_;
    std::unique_ptr<core> pool_;  // memory of its own: so that use after free is seen
};

worker_pool_options workers(std::size_t n, std::size_t capacity = 16) {
    return {.min_workers = n, .max_workers = n, .capacity = capacity};
}

/// Opens once; who passes sees what was done before.
class door {
public:
    void open() {
        open_.store(true);
        events_.notify_all();
    }
    void pass() {
        static_cast<void>(await(events_, [this] { return open_.load(); }, never));
    }

private:
    std::atomic<bool> open_{false};
    event_count events_;
};

/// Where no deadline passes early, time goes on when all threads wait.
void until_all_wait() { std::this_thread::sleep_for(nanoseconds{1}); }

bool books_balance(weir::worker_pool_stats const& s) {
    return s.submitted == s.completed + s.failed + s.cancelled + s.dropped + s.expired + s.discarded + s.queued + s.running &&
           s.running <= s.submitted;
}

// ---- each item once

WEIR_MODEL_KERNEL(worker_pool, two_workers_run_each_item_of_two_submitters_once, {.preemptions = 1, .stale_reads = 1}) {
    pool_of_a_body pool(workers(2));
    together([&] { pool.give(0); }, [&] { pool.give(1); });
    pool.wait_idle();
    pool.destroy();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(2));
}

// ---- no wake-up is lost

WEIR_MODEL_KERNEL(worker_pool, a_submit_meets_a_worker_that_goes_to_sleep, {.preemptions = 3, .stale_reads = 1}) {
    pool_of_a_body pool(workers(1));
    pool.give(0);
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(1));
}

WEIR_MODEL_KERNEL(worker_pool, a_push_meets_a_worker_that_goes_to_sleep, {.preemptions = 1, .stale_reads = 1}) {
    door ran;
    core* p = nullptr;
    pool_of_a_body pool(workers(2), [&](int item, std::stop_token const&) {
        if (item == 0) {
            int own = 1;
            WEIR_MODEL_REQUIRE(p->submit(own, p->terms()).has_value());
            ran.pass();  // only the other worker can run it
        } else {
            ran.open();
        }
    });
    p = &*pool;
    pool.give(0);
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(2));
}

WEIR_MODEL_KERNEL(worker_pool, who_was_woken_wakes_the_next, {.preemptions = 1, .stale_reads = 1}) {
    door ran;
    pool_of_a_body pool(workers(2), [&](int item, std::stop_token const&) {
        if (item == 0) {
            ran.pass();  // the other worker has to run what was submitted while this one was on its way
        } else {
            ran.open();
        }
    });
    pool.wait_idle();
    pool.give(0);
    pool.give(1);
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(2));
}

// Three workers: one has pushed two items and waits for the second, who steals the first does too.
WEIR_MODEL_KERNEL(worker_pool, a_thief_wakes_the_next, {.preemptions = 0, .stale_reads = 0, .timeouts = 0}) {
    door ran;
    core* p = nullptr;
    pool_of_a_body pool(workers(3), [&](int item, std::stop_token const&) {
        if (item == 2) {
            ran.open();
            return;
        }
        for (int own = 1; item == 0 && own < 3; ++own) {
            int mine = own;
            WEIR_MODEL_REQUIRE(p->submit(mine, p->terms()).has_value());
        }
        ran.pass();
    });
    p = &*pool;
    until_all_wait();
    pool.give(0);
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(3));
}

// What was handed to a worker in advance goes to the other, when the first has work for long.
WEIR_MODEL_KERNEL(worker_pool, what_a_busy_worker_was_handed_is_stolen, {.preemptions = 1, .stale_reads = 1}) {
    door begin;
    door ran;
    pool_of_a_body pool({.min_workers = 1, .max_workers = 2, .capacity = 16, .grow_after = 1h, .grow_depth = 100},
                        [&](int item, std::stop_token const&) {
                            if (item == 0) {
                                begin.pass();
                            } else if (item == 1) {
                                ran.pass();
                            } else if (item == 2) {
                                ran.open();
                            }
                        });
    for (int i = 0; i < 5; ++i) {
        pool.give(i);
    }
    begin.open();
    pool->resize(2, 2);
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(5));
}

WEIR_MODEL_KERNEL(worker_pool, what_workers_submit_and_steal_runs_once, {.preemptions = 1, .stale_reads = 1}) {
    core* p = nullptr;
    pool_of_a_body pool(workers(2), [&](int item, std::stop_token const&) {
        if (item == 0) {
            for (int own = 1; own < 3; ++own) {
                int mine = own;
                WEIR_MODEL_REQUIRE(p->submit(mine, p->terms()).has_value());
            }
        }
    });
    p = &*pool;
    pool.give(0);
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(3));
}

// ---- the bound

WEIR_MODEL_KERNEL(worker_pool, a_blocked_submitter_gets_in_when_something_is_taken, {.preemptions = 2, .stale_reads = 1}) {
    pool_of_a_body pool(workers(1, 1));
    for (int i = 0; i < 3; ++i) {
        pool.give(i);
    }
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(3));
}

WEIR_MODEL_KERNEL(worker_pool, two_blocked_submitters_get_in, {.preemptions = 1, .stale_reads = 1}) {
    pool_of_a_body pool(workers(1, 1));
    together([&] { pool.give(0); }, [&] { pool.give(1); }, [&] { pool.give(2); });
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(3));
}

// A worker takes several at once. What it has not begun still waits.
WEIR_MODEL_KERNEL(worker_pool, what_was_handed_over_counts_against_the_bound, {.preemptions = 1, .stale_reads = 1}) {
    door begun;
    door go_on;
    pool_of_a_body pool(workers(1, 4), [&](int item, std::stop_token const&) {
        if (item == 0) {
            begun.open();
            go_on.pass();
        }
    });
    pool.give(0);
    begun.pass();
    for (int i = 1; i < 5; ++i) {
        pool.give(i);
    }
    go_on.open();
    for (int i = 5; i < 7; ++i) {
        pool.give(i);
        WEIR_MODEL_REQUIRE(pool->stats().queued <= 4);
    }
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(7));
}

WEIR_MODEL_KERNEL(worker_pool, two_classes_wait_for_one_worker, {.preemptions = 1, .stale_reads = 1}) {
    auto o = workers(1, 2);
    o.priorities = 2;
    core* p = nullptr;
    pool_of_a_body pool(std::move(o), [&](int item, std::stop_token const&) {
        if (item == 0) {
            int own = 3;
            WEIR_MODEL_REQUIRE(p->submit(own, {.priority = 1}).has_value());
        }
    });
    p = &*pool;
    for (int i = 0; i < 3; ++i) {
        int item = i;
        WEIR_MODEL_REQUIRE(pool->submit(item, {.priority = i == 1 ? 1U : 0U}).has_value());
    }
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(4));
}

/// A queue that is full, a worker that is busy until the submit has its answer, and a submit that meets a stop.
void stop_meets_a_blocked_submit(stop_mode mode) {
    door go_on;
    pool_of_a_body pool(workers(1, 1), [&](int item, std::stop_token const&) {
        if (item == 0) {
            go_on.pass();
        }
    });
    pool.give(0);
    until_all_wait();
    pool.give(1);
    bool accepted = false;
    std::size_t given_back = 0;
    together(
        [&] {
            auto const answer = pool.submit(2);
            accepted = answer.has_value();
            WEIR_MODEL_REQUIRE(accepted || answer.error() == refusal::closed);
            go_on.open();
        },
        [&] {
            auto const stopped = pool->stop_until(never, mode, {});
            WEIR_MODEL_REQUIRE(stopped.has_value() && stopped->stopped && stopped->queued == 0 && stopped->running == 0);
            given_back = stopped->not_run.size();
            for (int const each : stopped->not_run) {
                ++pool.books_.ran[each];
            }
        });
    WEIR_MODEL_REQUIRE(!accepted && pool.books_.all_ran_once(2) && pool.books_.ran[2] == 0);
    auto const s = pool->stats();
    WEIR_MODEL_REQUIRE(books_balance(s) && s.queued == 0 && s.running == 0 && s.discarded == given_back);
}
WEIR_MODEL_KERNEL(worker_pool, a_blocked_submitter_is_released_by_a_stop, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    stop_meets_a_blocked_submit(stop_mode::drain);
}
WEIR_MODEL_KERNEL(worker_pool, a_blocked_submitter_is_released_by_a_stop_that_discards,
                  {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    stop_meets_a_blocked_submit(stop_mode::discard);
}

/// A pool is destroyed while somebody is in it: it has to wait until they have left.
template <class Call>
void goes_during(Call call) {
    door go_on;
    pool_of_a_body pool(workers(1, 1), [&](int item, std::stop_token const&) {
        if (item == 0) {
            go_on.pass();
        }
    });
    pool.give(0);
    pool.give(1);
    core& there = *pool;
    bool accepted = false;
    together([&] { accepted = call(there); },
             [&] {
                 until_all_wait();
                 go_on.open();
                 pool.destroy();
             });
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(2) && pool.books_.ran[2] == (accepted ? 1 : 0));
}
WEIR_MODEL_KERNEL(worker_pool, goes_while_a_submitter_is_blocked, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    goes_during([](core& pool) {
        int item = 2;
        return pool.submit(item, pool.terms()).has_value();
    });
}
WEIR_MODEL_KERNEL(worker_pool, goes_while_somebody_waits_for_idleness, {.preemptions = 1, .stale_reads = 1, .timeouts = 0}) {
    goes_during([](core& pool) {
        WEIR_MODEL_REQUIRE(pool.wait_idle_until(never, {}).has_value());
        return false;
    });
}
WEIR_MODEL_KERNEL(worker_pool, goes_while_somebody_stops_it, {.preemptions = 1, .stale_reads = 1, .timeouts = 0}) {
    goes_during([](core& pool) {
        WEIR_MODEL_REQUIRE(pool.stop_until(never, stop_mode::drain, {})->stopped);
        return false;
    });
}

WEIR_MODEL_KERNEL(worker_pool, who_waited_too_long_leaves_its_item_where_it_was,
                  {.preemptions = 1, .stale_reads = 1, .timeouts = 1}) {
    pool_of_a_body pool(workers(1, 1));
    pool.give(0);
    pool.give(1);
    int last = 2;
    auto terms = pool->terms();
    terms.until = clock::now() + nanoseconds{5};
    auto const answer = pool->submit(last, terms);
    WEIR_MODEL_REQUIRE(answer.has_value() || answer.error() == refusal::timed_out);
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(2) && pool.books_.ran[2] == (answer.has_value() ? 1 : 0));
}

WEIR_MODEL_KERNEL(worker_pool, drops_or_runs_each_item_once, {.preemptions = 2, .stale_reads = 1}) {
    auto o = workers(1, 1);
    o.full = when_full::drop_oldest;
    pool_of_a_body pool(std::move(o));
    for (int i = 0; i < 3; ++i) {
        pool.give(i);
    }
    pool.wait_idle();
    for (int i = 0; i < 3; ++i) {
        WEIR_MODEL_REQUIRE(pool.books_.ran[i] + pool.books_.dropped[i] == 1);
    }
    WEIR_MODEL_REQUIRE(books_balance(pool->stats()));
}

WEIR_MODEL_KERNEL(worker_pool, is_not_idle_while_an_item_runs_in_its_caller,
                  {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    auto o = workers(1, 1);
    o.full = when_full::run_in_caller;
    door go_on;
    bool ran = false;
    pool_of_a_body pool(std::move(o), [&](int item, std::stop_token const&) {
        if (item == 0) {
            go_on.pass();
        } else if (item == 2) {
            go_on.open();
            std::this_thread::sleep_for(nanoseconds{10});  // the worker has come to rest, and the other has begun to wait
            ran = true;
        }
    });
    pool.give(0);
    until_all_wait();
    pool.give(1);
    together([&] { pool.give(2); },
             [&] {
                 until_all_wait();
                 pool.wait_idle();
                 WEIR_MODEL_REQUIRE(ran && books_balance(pool->stats()));
             });
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(3));
}

// ---- stop

/// Whatever a stop meets, what was accepted is run or given back.
void stop_meets_submits(stop_mode mode, int submits) {
    pool_of_a_body pool(workers(1));
    bool accepted[items] = {};
    together(
        [&] {
            for (int i = 0; i < submits; ++i) {
                accepted[i] = pool.submit(i).has_value();
            }
        },
        [&] {
            auto const stopped = pool->stop_until(never, mode, {});
            WEIR_MODEL_REQUIRE(stopped.has_value() && stopped->stopped);
            for (int const each : stopped->not_run) {
                ++pool.books_.ran[each];
            }
        });
    for (int i = 0; i < submits; ++i) {
        WEIR_MODEL_REQUIRE(pool.books_.ran[i] == (accepted[i] ? 1 : 0));
    }
}
WEIR_MODEL_KERNEL(worker_pool, what_was_accepted_before_a_stop_is_run, {.preemptions = 2, .stale_reads = 1}) {
    stop_meets_submits(stop_mode::drain, 2);
}
WEIR_MODEL_KERNEL(worker_pool, what_was_accepted_before_a_stop_is_run_or_given_back, {.preemptions = 2, .stale_reads = 1}) {
    stop_meets_submits(stop_mode::discard, 2);
}

WEIR_MODEL_KERNEL(worker_pool, a_stop_that_discards_takes_what_a_worker_pushes, {.preemptions = 2, .stale_reads = 1}) {
    bool accepted[2] = {};
    core* p = nullptr;
    pool_of_a_body pool(workers(1), [&](int item, std::stop_token const&) {
        if (item == 0) {
            for (int i = 0; i < 2; ++i) {
                int own = i + 1;
                accepted[i] = p->submit(own, p->terms()).has_value();
            }
        }
    });
    p = &*pool;
    pool.give(0);
    auto const stopped = pool->stop_until(never, stop_mode::discard, {});
    WEIR_MODEL_REQUIRE(stopped.has_value() && stopped->stopped);
    for (int const each : stopped->not_run) {
        ++pool.books_.ran[each];
    }
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(1));
    for (int i = 0; i < 2; ++i) {
        WEIR_MODEL_REQUIRE(pool.books_.ran[i + 1] == (accepted[i] ? 1 : 0));
    }
    WEIR_MODEL_REQUIRE(books_balance(pool->stats()));
}

WEIR_MODEL_KERNEL(worker_pool, two_stops_and_a_wait_for_idleness_end, {.preemptions = 1, .stale_reads = 1}) {
    pool_of_a_body pool(workers(1));
    pool.give(0);
    auto const stopper = [&](stop_mode mode) {
        auto const stopped = pool->stop_until(never, mode, {});
        WEIR_MODEL_REQUIRE(stopped.has_value() && stopped->stopped);
        for (int const each : stopped->not_run) {
            ++pool.books_.ran[each];
        }
    };
    together([&] { stopper(stop_mode::drain); }, [&] { stopper(stop_mode::discard); }, [&] { pool.wait_idle(); });
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(1));
}

WEIR_MODEL_KERNEL(worker_pool, a_stop_that_runs_out_of_time_is_continued, {.preemptions = 1, .stale_reads = 1, .timeouts = 1}) {
    pool_of_a_body pool(workers(1));
    pool.give(0);
    auto const first = pool->stop_until(clock::now() + nanoseconds{5}, stop_mode::drain, {});
    WEIR_MODEL_REQUIRE(first.has_value() && (first->stopped || first->queued + first->running <= 1));
    auto const second = pool->stop_until(never, stop_mode::drain, {});
    WEIR_MODEL_REQUIRE(second.has_value() && second->stopped && pool.books_.all_ran_once(1));
}

WEIR_MODEL_KERNEL(worker_pool, starts_again, {.preemptions = 1, .stale_reads = 1}) {
    pool_of_a_body pool(workers(1));
    pool.give(0);
    WEIR_MODEL_REQUIRE(pool->stop_until(never, stop_mode::drain, {})->stopped);
    bool accepted = false;
    bool started = false;
    together([&] { started = pool->start().has_value(); },
             [&] { accepted = pool.submit(1).has_value(); },
             [&] {
                 auto const stopped = pool->stop_until(never, stop_mode::drain, {});
                 WEIR_MODEL_REQUIRE(stopped.has_value() && stopped->stopped);
             });
    WEIR_MODEL_REQUIRE(started);
    pool.destroy();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(1) && pool.books_.ran[1] == (accepted ? 1 : 0));
}

// ---- workers come and go

worker_pool_options elastic(std::size_t min, std::size_t max) {
    return {.min_workers = min,
            .max_workers = max,
            .capacity = 16,
            .grow_after = 1h,
            .grow_depth = 1,
            .keep_alive = 1h,
            .shrink_interval = 1h};
}

WEIR_MODEL_KERNEL(worker_pool, a_worker_on_its_way_meets_a_stop, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    pool_of_a_body pool(elastic(1, 2));
    bool accepted[3] = {};
    together(
        [&] {
            for (int i = 0; i < 3; ++i) {
                accepted[i] = pool.submit(i).has_value();
            }
        },
        [&] {
            auto const stopped = pool->stop_until(never, stop_mode::drain, {});
            WEIR_MODEL_REQUIRE(stopped.has_value() && stopped->stopped);
        });
    for (int i = 0; i < 3; ++i) {
        WEIR_MODEL_REQUIRE(pool.books_.ran[i] == (accepted[i] ? 1 : 0));
    }
    WEIR_MODEL_REQUIRE(pool->stats().workers == 0);
}

WEIR_MODEL_KERNEL(worker_pool, grows_for_who_waits, {.preemptions = 1, .stale_reads = 1, .timeouts = 0}) {
    door ran;
    pool_of_a_body pool(elastic(1, 2), [&](int item, std::stop_token const&) {
        if (item == 0) {
            ran.pass();  // a second worker must come for the others
        } else if (item == 2) {
            ran.open();
        }
    });
    for (int i = 0; i < 3; ++i) {
        pool.give(i);
    }
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(3) && pool->stats().workers <= 2);
}

WEIR_MODEL_KERNEL(worker_pool, a_worker_that_takes_what_has_waited_long_adds_one,
                  {.preemptions = 1, .stale_reads = 1, .timeouts = 0}) {
    door ran;
    auto o = elastic(1, 2);
    o.grow_after = nanoseconds{1};
    o.grow_depth = 100;
    pool_of_a_body pool(std::move(o), [&](int item, std::stop_token const&) {
        if (item == 0) {
            std::this_thread::sleep_for(nanoseconds{10});
        } else if (item == 1) {
            ran.pass();  // who took it had seen how long it has waited
        } else {
            ran.open();
        }
    });
    for (int i = 0; i < 3; ++i) {
        pool.give(i);
    }
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(3) && pool->workers_hint() <= 2);
}

WEIR_MODEL_KERNEL(worker_pool, a_thread_that_cannot_be_made_stops_nothing, {.preemptions = 1, .stale_reads = 1, .timeouts = 0}) {
    int threads = 1;
    pool_of_a_body pool(elastic(1, 2), {}, spawner{&threads});
    for (int i = 0; i < 3; ++i) {
        pool.give(i);
    }
    auto const stopped = pool->stop_until(never, stop_mode::drain, {});
    WEIR_MODEL_REQUIRE(stopped.has_value() && stopped->stopped && pool.books_.all_ran_once(3));
}

WEIR_MODEL_KERNEL(worker_pool, a_thread_that_cannot_be_made_leaves_it_idle, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    int threads = 1;
    pool_of_a_body pool(workers(1), {}, spawner{&threads});
    together([&] { pool.wait_idle(); },
             [&] {
                 bool failed = false;
                 try {
                     pool->resize(2, 2);
                 } catch (std::system_error const&) {
                     failed = true;
                 }
                 WEIR_MODEL_REQUIRE(failed);
             });
    WEIR_MODEL_REQUIRE(pool->stats().workers == 1);
}

WEIR_MODEL_KERNEL(worker_pool, a_submit_meets_a_worker_that_leaves, {.preemptions = 2, .stale_reads = 1, .timeouts = 2}) {
    pool_of_a_body pool(workers(2));
    pool->resize(1, 1);
    pool.give(0);
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(1));
    auto const s = pool->stats();
    WEIR_MODEL_REQUIRE(s.workers == 1);
}

WEIR_MODEL_KERNEL(worker_pool, a_submit_meets_a_worker_that_has_slept_too_long,
                  {.preemptions = 1, .stale_reads = 1, .timeouts = 1}) {
    auto o = elastic(2, 2);
    o.keep_alive = nanoseconds{1};
    o.shrink_interval = nanoseconds{1};
    pool_of_a_body pool(std::move(o));
    pool->resize(1, 2);
    pool.give(0);
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(1));
    auto const s = pool->stats();
    WEIR_MODEL_REQUIRE(s.workers == 1 || s.workers == 2);
}

WEIR_MODEL_KERNEL(worker_pool, a_resize_meets_a_stop, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    pool_of_a_body pool(workers(1));
    together([&] { pool->resize(2, 2); },
             [&] {
                 auto const stopped = pool->stop_until(never, stop_mode::drain, {});
                 WEIR_MODEL_REQUIRE(stopped.has_value() && stopped->stopped);
             });
    WEIR_MODEL_REQUIRE(pool->stats().workers == 0);
}

WEIR_MODEL_KERNEL(worker_pool, a_thief_meets_a_worker_that_is_added, {.preemptions = 2, .stale_reads = 1, .timeouts = 0}) {
    pool_of_a_body pool(workers(1));
    pool->resize(2, 2);
    pool.wait_idle();
}

// ---- a wait that helps

/// What an item waits for. Way 2 of parking.hpp, so that who has seen it may destroy it.
class completion {
public:
    void finish() {
        std::lock_guard const hold{m_};
        done_ = true;
        events_.notify_all();
    }
    [[nodiscard]] bool done() {
        std::lock_guard const hold{m_};
        return done_;
    }
    event_count& events() noexcept { return events_; }

private:
    std::mutex m_;
    bool done_ = false;
    event_count events_;
};

bool help(core& pool, completion& c) {
    return pool.help_until([&c]() noexcept { return c.done(); }, c.events(), never, {});
}

WEIR_MODEL_KERNEL(worker_pool, the_only_worker_runs_what_it_waits_for, {.preemptions = 2, .stale_reads = 1}) {
    core* p = nullptr;
    completion* c = nullptr;
    pool_of_a_body pool(workers(1), [&](int item, std::stop_token const&) {
        if (item == 0) {
            WEIR_MODEL_REQUIRE(help(*p, *c));
            delete c;
        } else {
            c->finish();
        }
    });
    p = &*pool;
    c = new completion;
    pool.give(0);
    pool.give(1);  // from outside, perhaps when the worker waits already
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(2));
}

// The answer comes from outside, while a submit wakes who waits for it: it has left when the submit looks, or stays until then.
WEIR_MODEL_KERNEL(worker_pool, who_helps_leaves_while_it_is_woken, {.preemptions = 2, .stale_reads = 1}) {
    core* p = nullptr;
    auto* const c = new completion;
    pool_of_a_body pool(workers(1), [&](int item, std::stop_token const&) {
        if (item == 0) {
            WEIR_MODEL_REQUIRE(help(*p, *c));
            delete c;
        }
    });
    p = &*pool;
    pool.give(0);
    together([&] { c->finish(); }, [&] { pool.give(1); });
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(2));
}

// One worker helps, the other sleeps: who was woken for work, and has its answer, passes the work on.
WEIR_MODEL_KERNEL(worker_pool, who_helps_passes_on_what_it_was_woken_for, {.preemptions = 1, .stale_reads = 1, .timeouts = 0}) {
    core* p = nullptr;
    completion c;
    door ran;
    pool_of_a_body pool(workers(2), [&](int item, std::stop_token const&) {
        if (item == 0) {
            WEIR_MODEL_REQUIRE(help(*p, c));
            ran.pass();
        } else {
            ran.open();
        }
    });
    p = &*pool;
    pool.give(0);
    until_all_wait();
    together([&] { c.finish(); }, [&] { pool.give(1); });
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(2));
}

WEIR_MODEL_KERNEL(worker_pool, who_helps_sees_what_another_worker_pushes, {.preemptions = 1, .stale_reads = 1}) {
    core* p = nullptr;
    completion c;
    pool_of_a_body pool(workers(2), [&](int item, std::stop_token const&) {
        if (item == 0) {
            WEIR_MODEL_REQUIRE(help(*p, c));
        } else if (item == 1) {
            int own = 2;
            WEIR_MODEL_REQUIRE(p->submit(own, p->terms()).has_value());
            // It does not return to its list until this is over.
            static_cast<void>(await(c.events(), [&] { return c.done(); }, never));
        } else {
            c.finish();
        }
    });
    p = &*pool;
    pool.give(0);
    pool.give(1);
    pool.wait_idle();
    WEIR_MODEL_REQUIRE(pool.books_.all_ran_once(3));
}

// ---- numbers

WEIR_MODEL_KERNEL(worker_pool, every_snapshot_balances, {.preemptions = 1, .stale_reads = 1}) {
    core* p = nullptr;
    pool_of_a_body pool(workers(2), [&](int item, std::stop_token const&) {
        if (item == 0) {
            int own = 1;
            WEIR_MODEL_REQUIRE(p->submit(own, p->terms()).has_value());
        }
    });
    p = &*pool;
    pool.give(0);
    auto const s = pool->stats();
    WEIR_MODEL_REQUIRE(books_balance(s) && s.submitted >= 1);
    auto const later = pool->stats();
    WEIR_MODEL_REQUIRE(books_balance(later) && later.submitted >= s.submitted && later.completed >= s.completed);
    pool.wait_idle();
}

TEST(mutants_of_worker_pool, every_weakened_order_is_noticed) {
    check_mutants({"weir/run/detail/pool_core.hpp", "weir/run/detail/pool_latch.hpp", "weir/run/detail/pool_local.hpp",
                   "weir/run/detail/pool_submit.hpp", "weir/run/detail/pool_take.hpp", "weir/run/detail/pool_threads.hpp"},
                  {}, {{"weir/run/detail/pool_take.hpp", "wants_growth(s.local.size())) {", "every 61st take"}},
                  {{"weir/run/detail/pool_take.hpp", "victim->next", "a_thief_meets_a_worker_that_is_added"},
                   {"weir/run/detail/pool_threads.hpp", "link.store(place", "a_thief_meets_a_worker_that_is_added"}});
}

}  // namespace
}  // namespace weir_model
