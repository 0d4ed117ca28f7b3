// weir (BSL-1.0). Kernels of base/detail/parking.hpp: no order of a waiter and a notifier loses the news.
#include <weir/base/detail/parking.hpp>
#include <weir/base/detail/parking_portable.hpp>

#include "kernels.hpp"
#include "mutation.hpp"

#include <atomic>
#include <chrono>
#include <mutex>
#include <stop_token>

// A lost wake-up is a deadlock here: no deadline ends these waits, but where a kernel is about deadlines.
//
// Who kills what.
//
//   edge  site                                  weakened             killed by
//         prepare_wait, waiters_ + 1            seq_cst              a_seq_cst_change_reaches (both ways to notify)
//         notify_one, the look                  seq_cst              a_seq_cst_change_reaches .. by_notify_one
//         notify_all, the look                  seq_cst              a_seq_cst_change_reaches .. by_notify_all
//   E2    prepare_wait, waiters_ + 1            acquire              a_weak_change_reaches (both)
//   E2    notify_one_fenced                     release              a_weak_change_reaches .. by_notify_one_fenced
//   E2    notify_all_fenced                     release              a_weak_change_reaches .. by_notify_all_fenced
//   E1    futex_word, bump; load                release; acquire     a_weak_change_reaches (both)
//   E1    portable_parking_word, bump; load     release; acquire     a_weak_change_reaches .. without_a_futex

namespace weir_model {
namespace {

using weir::detail::await;
using weir::detail::basic_event_count;
using weir::detail::event_count;
using weir::detail::portable_parking_word;
using weir::detail::wait_result;

using clock = std::chrono::steady_clock;
constexpr auto never = clock::time_point::max();

template <class Word>
using notification = void (basic_event_count<Word>::*)() noexcept;

// ---- one waiter, one notifier, three ways to change the condition

template <class Word>
void seq_cst_change(notification<Word> notify) {
    basic_event_count<Word> events;
    std::atomic<bool> ready{false};
    together(
        [&] {
            WEIR_MODEL_REQUIRE(await(
                                   events, [&] { return ready.load(); }, never) == wait_result::notified);
        },
        [&] {
            ready.store(true);
            (events.*notify)();
        });
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
}
WEIR_MODEL_KERNEL(parking, a_seq_cst_change_reaches_a_waiter_by_notify_one, {}) {
    seq_cst_change(&event_count::notify_one);
}
WEIR_MODEL_KERNEL(parking, a_seq_cst_change_reaches_a_waiter_by_notify_all, {}) {
    seq_cst_change(&event_count::notify_all);
}
WEIR_MODEL_KERNEL(parking, a_seq_cst_change_reaches_a_waiter_without_a_futex, {}) {
    seq_cst_change(&basic_event_count<portable_parking_word>::notify_one);
}

template <class Word>
void change_under_a_mutex(notification<Word> notify, bool notify_under_it) {
    basic_event_count<Word> events;
    std::mutex mutex;
    bool ready = false;
    together(
        [&] {
            const auto look = [&] {
                const std::lock_guard hold{mutex};
                return ready;
            };
            WEIR_MODEL_REQUIRE(await(events, look, never) == wait_result::notified);
        },
        [&] {
            std::unique_lock hold{mutex};
            ready = true;
            if (!notify_under_it) {
                hold.unlock();
            }
            (events.*notify)();
        });
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
}
WEIR_MODEL_KERNEL(parking, a_change_under_a_mutex_reaches_a_waiter_by_notify_one, {}) {
    change_under_a_mutex(&event_count::notify_one, true);
}
WEIR_MODEL_KERNEL(parking, a_change_under_a_mutex_reaches_a_waiter_by_notify_all_after_it, {}) {
    change_under_a_mutex(&event_count::notify_all, false);
}
WEIR_MODEL_KERNEL(parking, a_change_under_a_mutex_reaches_a_waiter_without_a_futex, {}) {
    change_under_a_mutex(&basic_event_count<portable_parking_word>::notify_one, false);
}

// The condition orders nothing by itself: all that hands it over are the edges.
template <class Word>
void weak_change(notification<Word> notify) {
    basic_event_count<Word> events;
    std::atomic<bool> ready{false};
    together(
        [&] {
            const auto look = [&] { return ready.load(std::memory_order_relaxed); };
            WEIR_MODEL_REQUIRE(await(events, look, never) == wait_result::notified);
        },
        [&] {
            ready.store(true, std::memory_order_relaxed);
            (events.*notify)();
        });
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
}
WEIR_MODEL_KERNEL(parking, a_weak_change_reaches_a_waiter_by_notify_one_fenced, {}) {
    weak_change(&event_count::notify_one_fenced);
}
WEIR_MODEL_KERNEL(parking, a_weak_change_reaches_a_waiter_by_notify_all_fenced, {}) {
    weak_change(&event_count::notify_all_fenced);
}
WEIR_MODEL_KERNEL(parking, a_weak_change_reaches_a_waiter_without_a_futex, {}) {
    weak_change(&basic_event_count<portable_parking_word>::notify_one_fenced);
}

// Plain wait, without await around it.
WEIR_MODEL_KERNEL(parking, a_plain_wait_ends_when_notified, {}) {
    event_count events;
    std::atomic<bool> ready{false};
    together(
        [&] {
            while (!ready.load()) {
                const auto key = events.prepare_wait();
                if (ready.load()) {
                    events.cancel_wait();
                } else {
                    events.wait(key);
                }
            }
        },
        [&] {
            ready.store(true);
            events.notify_one();
        });
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
}

// ---- several waiters

/// Items that waiters take one by one.
class items {
public:
    void add() noexcept { count_.fetch_add(1); }
    bool take() noexcept {
        int seen = count_.load();
        while (seen > 0) {
            if (count_.compare_exchange_strong(seen, seen - 1)) {
                return true;
            }
        }
        return false;
    }

private:
    std::atomic<int> count_{0};
};

void two_takers(void (*give)(items&, event_count&)) {
    event_count events;
    items there;
    const auto taker = [&] {
        WEIR_MODEL_REQUIRE(await(
                               events, [&] { return there.take(); }, never) == wait_result::notified);
    };
    together(taker, taker, [&] { give(there, events); });
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
}
WEIR_MODEL_KERNEL(parking, each_notify_one_ends_a_wait, {}) {
    two_takers([](items& there, event_count& events) {
        there.add();
        events.notify_one();
        there.add();
        events.notify_one();
    });
}
WEIR_MODEL_KERNEL(parking, one_notify_all_ends_all_waits, {}) {
    two_takers([](items& there, event_count& events) {
        there.add();
        there.add();
        events.notify_all();
    });
}

// Each thread waits for the other's change and makes its own: nobody's announcement hides the other one's.
WEIR_MODEL_KERNEL(parking, two_threads_may_wait_for_each_other_in_turn, {}) {
    event_count events;
    std::atomic<int> turn{0};
    const auto wait_for = [&](int value) {
        WEIR_MODEL_REQUIRE(await(
                               events, [&] { return turn.load() == value; }, never) == wait_result::notified);
    };
    together(
        [&] {
            wait_for(1);
            turn.store(2);
            events.notify_all();
        },
        [&] {
            turn.store(1);
            events.notify_all();
            wait_for(2);
        });
}

// ---- deadlines and stops

WEIR_MODEL_KERNEL(parking, a_deadline_ends_a_wait, {}) {
    event_count events;
    const auto key = events.prepare_wait();
    const auto deadline = clock::now() + std::chrono::milliseconds(1);
    WEIR_MODEL_REQUIRE(events.wait_until(key, deadline) == wait_result::timed_out);
    WEIR_MODEL_REQUIRE(clock::now() >= deadline);
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
}

WEIR_MODEL_KERNEL(parking, a_deadline_that_has_passed_does_not_wait, {}) {
    event_count events;
    together([&] { events.notify_all(); },
             [&] {
                 const auto key = events.prepare_wait();
                 static_cast<void>(events.wait_until(key, clock::time_point{}));
             });
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
}

// One of two waiters needs nothing: told that it was notified, it passes the notification on. Told that it was not, it
// has swallowed none, or the other waiter sleeps for ever beside its item.
template <class Wait>
void one_gives_up(Wait&& wait, std::stop_source& source) {
    event_count events;
    items there;
    together(
        [&] {
            if (wait(events, events.prepare_wait()) == wait_result::notified) {
                events.notify_one();
            }
        },
        [&] {
            WEIR_MODEL_REQUIRE(await(
                                   events, [&] { return there.take(); }, never) == wait_result::notified);
        },
        [&] {
            there.add();
            events.notify_one();
            source.request_stop();
        });
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
}
WEIR_MODEL_KERNEL(parking, who_runs_out_of_time_swallows_no_notification, {}) {
    std::stop_source unused{std::nostopstate};
    const auto deadline = clock::now() + std::chrono::milliseconds(1);
    one_gives_up([&](event_count& events, event_count::key key) { return events.wait_until(key, deadline); }, unused);
}
WEIR_MODEL_KERNEL(parking, who_is_stopped_swallows_no_notification, {.stale_reads = 1}) {
    std::stop_source source;
    one_gives_up([&](event_count& events, event_count::key key) { return events.wait(key, source.get_token()); },
                 source);
}

// Whether the waiter sleeps already or finds the stop when it comes.
WEIR_MODEL_KERNEL(parking, a_notification_before_the_stop_is_reported, {}) {
    event_count events;
    std::stop_source source;
    const auto key = events.prepare_wait();
    together([&] { WEIR_MODEL_REQUIRE(events.wait(key, source.get_token()) == wait_result::notified); },
             [&] {
                 events.notify_one();
                 source.request_stop();
             });
}

// The same with await: who takes the item though its time is over brings another one.
WEIR_MODEL_KERNEL(parking, who_leaves_late_may_still_take_an_item, {}) {
    event_count events;
    items there;
    const auto deadline = clock::now() + std::chrono::milliseconds(1);
    together(
        [&] {
            if (await(
                    events, [&] { return there.take(); }, deadline) == wait_result::notified) {
                there.add();
                events.notify_one();
            }
        },
        [&] {
            WEIR_MODEL_REQUIRE(await(
                                   events, [&] { return there.take(); }, never) == wait_result::notified);
        },
        [&] {
            there.add();
            events.notify_one();
        });
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
    WEIR_MODEL_REQUIRE(!there.take());
}

// The change is made while the waiter sleeps, and the notification does not come in time: the last look finds it.
WEIR_MODEL_KERNEL(parking, the_condition_is_looked_at_before_giving_up, {}) {
    event_count events;
    std::atomic<bool> ready{false};
    bool last_look = false;
    const auto deadline = clock::now() + std::chrono::milliseconds(1);
    wait_result result{};
    together(
        [&] {
            int looks = 0;
            result = await(
                events,
                [&] {
                    ++looks;
                    last_look = ready.load();
                    return last_look;
                },
                deadline);
            WEIR_MODEL_REQUIRE(last_look || looks >= 3);  // before it announces itself, after that, after the wait
        },
        [&] { ready.store(true); });
    WEIR_MODEL_REQUIRE((result == wait_result::notified) == last_look);
}

WEIR_MODEL_KERNEL(parking, a_stop_ends_a_wait, {}) {
    event_count events;
    std::stop_source source;
    together(
        [&] {
            WEIR_MODEL_REQUIRE(await(
                                   events, [] { return false; }, source.get_token()) == wait_result::stopped);
        },
        [&] { source.request_stop(); });
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
}

WEIR_MODEL_KERNEL(parking, news_count_more_than_a_stop, {}) {
    event_count events;
    std::stop_source source;
    std::atomic<bool> ready{false};
    together(
        [&] {
            const auto result = await(
                events, [&] { return ready.load(); }, source.get_token());
            WEIR_MODEL_REQUIRE(result == wait_result::notified);  // the news came before the stop
        },
        [&] {
            ready.store(true);
            events.notify_one();
            source.request_stop();
        });
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
}

WEIR_MODEL_KERNEL(parking, a_wait_after_the_stop_does_not_sleep, {}) {
    event_count events;
    std::stop_source source;
    source.request_stop();
    together([&] { events.notify_all(); },
             [&] {
                 const auto key = events.prepare_wait();
                 const auto result = events.wait(key, source.get_token());
                 WEIR_MODEL_REQUIRE(result != wait_result::timed_out);
             });
    WEIR_MODEL_REQUIRE(events.waiters() == 0);
}

// ---- progress

// Announcing, taking it back and notifying wait for nobody, wherever the others are suspended.
WEIR_MODEL_KERNEL(parking, whoever_is_suspended_delays_no_announcement_and_no_notification, {.freezes = 1}) {
    event_count events;
    std::atomic<bool> ready{false};
    const auto deadline = clock::now() + std::chrono::milliseconds(1);
    together(
        [&] {
            static_cast<void>(await(
                events, [&] { return ready.load(); }, deadline));
        },
        [&] {
            WEIR_MODEL_REQUIRE(count_steps([&] { static_cast<void>(events.prepare_wait()); }) <= 2);
            WEIR_MODEL_REQUIRE(count_steps([&] { events.cancel_wait(); }) <= 1);
            ready.store(true);
            WEIR_MODEL_REQUIRE(count_steps([&] { events.notify_one(); }) <= 3);
            WEIR_MODEL_REQUIRE(count_steps([&] { events.notify_all(); }) <= 3);
            WEIR_MODEL_REQUIRE(count_steps([&] { events.notify_one_fenced(); }) <= 3);
            WEIR_MODEL_REQUIRE(count_steps([&] { events.notify_all_fenced(); }) <= 3);
        });
}

WEIR_MODEL_KERNEL(parking, a_suspended_notifier_delays_no_deadline, {.freezes = 1}) {
    event_count events;
    std::atomic<bool> ready{false};
    const auto deadline = clock::now() + std::chrono::milliseconds(1);
    together(
        [&] {
            ready.store(true);
            events.notify_one();
        },
        [&] {
            static_cast<void>(await(
                events, [&] { return ready.load(); }, deadline));
        });
}

TEST(mutants_of_parking, every_weakened_order_is_noticed) {
    check_mutants({"weir/base/detail/parking.hpp", "weir/base/detail/parking_portable.hpp"}, {},
                  {{"weir/base/detail/parking.hpp", "epoch_.load()",
                    "the operation is in the word's own load(), which is reached"}});
}

}  // namespace
}  // namespace weir_model
