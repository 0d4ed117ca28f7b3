// weir (BSL-1.0). Tests of base/detail/parking.hpp and parking_portable.hpp.
#include <weir/base/detail/cache_line.hpp>
#include <weir/base/detail/parking.hpp>
#include <weir/base/detail/parking_portable.hpp>

#include "support/scale.hpp"
#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <ostream>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <cerrno>
#include <csignal>
#include <pthread.h>
#endif

namespace weir::inline v0::detail {
void PrintTo(wait_result r, std::ostream* out) {
    *out << (r == wait_result::notified ? "notified" : r == wait_result::timed_out ? "timed_out" : "stopped");
}
}  // namespace weir::inline v0::detail

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using weir::detail::await;
using weir::detail::basic_event_count;
using weir::detail::wait_result;

constexpr auto never = steady_clock::time_point::max();

/// The end of a test's patience: no wait in this file lasts longer, so that a lost wake-up is a failure and not a hang.
steady_clock::time_point soon() { return steady_clock::now() + 20s; }

template <class Events>
bool reaches(const Events& events, std::uint32_t waiters) {
    for (const auto end = soon(); events.waiters() != waiters; std::this_thread::yield()) {
        if (steady_clock::now() > end) {
            return false;
        }
    }
    return true;
}

/// Waits until `ready()`; false when the news had to be found out by the deadline, which `await` would forgive.
template <class Events, class Ready>
bool is_told(Events& events, Ready ready) {
    for (;;) {
        if (ready()) {
            return true;
        }
        const auto key = events.prepare_wait();
        if (ready()) {
            events.cancel_wait();
            return true;
        }
        if (events.wait_until(key, soon()) == wait_result::timed_out) {
            return false;
        }
    }
}

template <class Word>
class parking : public testing::Test {
protected:
    basic_event_count<Word> events;
};
struct word_names {
    template <class Word>
    static std::string GetName(int) {
        return std::is_same_v<Word, weir::detail::portable_parking_word> ? "portable" : "native";
    }
};
using words = testing::Types<weir::detail::parking_word, weir::detail::portable_parking_word>;
TYPED_TEST_SUITE(parking, words, word_names);

TYPED_TEST(parking, a_waiter_goes_on_when_the_condition_was_changed_and_notified) {
    std::atomic<bool> ready{false};
    std::thread waiter{[&] {
        EXPECT_EQ(await(
                      this->events, [&] { return ready.load(); }, never),
                  wait_result::notified);
    }};
    EXPECT_TRUE(reaches(this->events, 1));
    ready = true;
    this->events.notify_one();
    waiter.join();
    EXPECT_EQ(this->events.waiters(), 0U);
}

TYPED_TEST(parking, a_notification_between_prepare_and_wait_is_not_lost) {
    const auto one = this->events.prepare_wait();
    this->events.notify_one();
    EXPECT_EQ(this->events.wait_until(one, soon()), wait_result::notified);
    const auto all = this->events.prepare_wait();
    this->events.notify_all();
    EXPECT_EQ(this->events.wait_until(all, soon()), wait_result::notified);
    const auto one_fenced = this->events.prepare_wait();
    this->events.notify_one_fenced();
    EXPECT_EQ(this->events.wait_until(one_fenced, soon()), wait_result::notified);
    const auto all_fenced = this->events.prepare_wait();
    this->events.notify_all_fenced();
    EXPECT_EQ(this->events.wait_until(all_fenced, soon()), wait_result::notified);
    const auto plain = this->events.prepare_wait();
    this->events.notify_one();
    this->events.wait(plain);  // returns
}

TYPED_TEST(parking, a_notification_before_prepare_ends_no_wait) {
    this->events.notify_all();
    this->events.notify_all_fenced();
    const auto key = this->events.prepare_wait();
    EXPECT_EQ(this->events.wait_until(key, steady_clock::now() + 2ms), wait_result::timed_out);
}

TYPED_TEST(parking, who_cancels_or_returns_waits_no_longer) {
    static_cast<void>(this->events.prepare_wait());
    EXPECT_EQ(this->events.waiters(), 1U);
    this->events.cancel_wait();
    EXPECT_EQ(this->events.waiters(), 0U);
    static_cast<void>(this->events.wait_until(this->events.prepare_wait(), steady_clock::time_point{}));
    EXPECT_EQ(this->events.waiters(), 0U);
    std::stop_source stop;
    static_cast<void>(
        this->events.wait_until(this->events.prepare_wait(), steady_clock::time_point{}, stop.get_token()));
    EXPECT_EQ(this->events.waiters(), 0U);
    stop.request_stop();
    static_cast<void>(this->events.wait(this->events.prepare_wait(), stop.get_token()));
    EXPECT_EQ(this->events.waiters(), 0U);
}

TYPED_TEST(parking, a_deadline_in_the_past_ends_the_wait_at_once) {
    for (const auto deadline : {steady_clock::now(), steady_clock::time_point{}, steady_clock::time_point{-1s},
                                steady_clock::time_point::min()}) {
        EXPECT_EQ(this->events.wait_until(this->events.prepare_wait(), deadline), wait_result::timed_out);
    }
}

TYPED_TEST(parking, no_wait_ends_before_its_deadline) {
    for (const auto d : {1us, 999us, 3000us}) {
        const auto deadline = steady_clock::now() + d;
        EXPECT_EQ(await(
                      this->events, [] { return false; }, deadline),
                  wait_result::timed_out);
        EXPECT_GE(steady_clock::now(), deadline);
    }
}

TYPED_TEST(parking, the_latest_deadlines_do_not_overflow) {
    for (const auto deadline : {never, never - 1ns, never - std::chrono::hours{24}}) {
        std::atomic<bool> ready{false};
        std::thread waiter{[&] {
            EXPECT_EQ(await(
                          this->events, [&] { return ready.load(); }, deadline),
                      wait_result::notified);
        }};
        EXPECT_TRUE(reaches(this->events, 1));
        ready = true;
        this->events.notify_one();
        waiter.join();
    }
}

TYPED_TEST(parking, a_stop_requested_before_the_wait_ends_it_at_once) {
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(this->events.wait(this->events.prepare_wait(), stop.get_token()), wait_result::stopped);
    EXPECT_EQ(this->events.wait_until(this->events.prepare_wait(), soon(), stop.get_token()), wait_result::stopped);
    EXPECT_EQ(await(
                  this->events, [] { return false; }, stop.get_token()),
              wait_result::stopped);
    EXPECT_EQ(await(
                  this->events, [] { return true; }, stop.get_token()),
              wait_result::notified)
        << "the condition comes first";
}

TYPED_TEST(parking, a_stop_requested_during_the_wait_ends_it) {
    for (const auto deadline : {never, soon()}) {
        std::stop_source stop;
        wait_result result{};
        std::thread waiter{[&] {
            result = await(
                this->events, [] { return false; }, deadline, stop.get_token());
        }};
        EXPECT_TRUE(reaches(this->events, 1));
        stop.request_stop();
        waiter.join();
        EXPECT_EQ(result, wait_result::stopped);
    }
}

TYPED_TEST(parking, a_stop_that_races_with_the_wait_ends_it) {
    for (std::size_t i = 0; i < weir_test::scaled(2'000, 200); ++i) {
        std::stop_source stop;
        std::atomic<bool> waiting{false};
        wait_result result{};
        std::thread waiter{[&] {
            waiting = true;
            result = await(
                this->events, [] { return false; }, soon(), stop.get_token());
        }};
        while (!waiting) {
            std::this_thread::yield();
        }
        stop.request_stop();
        waiter.join();
        ASSERT_EQ(result, wait_result::stopped);
    }
}

TYPED_TEST(parking, one_stop_ends_the_waits_of_all_who_hold_its_token_and_of_nobody_else) {
    std::stop_source stop;
    std::atomic<bool> ready{false};
    std::atomic<int> stopped{0};
    std::vector<std::thread> waiters;
    for (int i = 0; i < 6; ++i) {
        waiters.emplace_back([&] {
            if (await(
                    this->events, [] { return false; }, soon(), stop.get_token()) == wait_result::stopped) {
                ++stopped;
            }
        });
    }
    std::thread other{[&] { EXPECT_TRUE(is_told(this->events, [&] { return ready.load(); })); }};
    EXPECT_TRUE(reaches(this->events, 7));
    stop.request_stop();
    for (auto& each : waiters) {
        each.join();
    }
    EXPECT_EQ(stopped, 6);
    ready = true;
    this->events.notify_all();
    other.join();
}

TYPED_TEST(parking, a_notification_wins_over_a_stop_and_over_a_deadline) {
    std::stop_source stop;
    const auto before = this->events.prepare_wait();
    this->events.notify_one();
    EXPECT_EQ(this->events.wait_until(before, steady_clock::time_point{}, stop.get_token()), wait_result::notified);
    const auto after = this->events.prepare_wait();
    stop.request_stop();
    this->events.notify_one();
    EXPECT_EQ(this->events.wait_until(after, steady_clock::time_point{}, stop.get_token()), wait_result::notified);
}

TYPED_TEST(parking, a_token_that_nobody_can_trigger_leaves_the_deadline) {
    EXPECT_EQ(await(
                  this->events, [] { return false; }, steady_clock::now() + 2ms, std::stop_token{}),
              wait_result::timed_out);
    std::stop_source idle;
    EXPECT_EQ(await(
                  this->events, [] { return false; }, steady_clock::now() + 2ms, idle.get_token()),
              wait_result::timed_out);
}

TYPED_TEST(parking, await_looks_once_more_before_it_gives_up) {
    int looks = 0;
    const auto third_time = [&] { return ++looks == 3; };
    EXPECT_EQ(await(this->events, third_time, steady_clock::time_point{}), wait_result::notified);
    std::stop_source stop;
    stop.request_stop();
    looks = 0;
    EXPECT_EQ(await(this->events, third_time, stop.get_token()), wait_result::notified);
}

TYPED_TEST(parking, a_condition_that_throws_leaves_no_waiter_behind) {
    for (int at = 1; at <= 3; ++at) {
        int looks = 0;
        const auto throws = [&]() -> bool {
            if (++looks == at) {
                throw at;
            }
            return false;
        };
        EXPECT_THROW(static_cast<void>(await(this->events, throws, steady_clock::time_point{})), int);
        EXPECT_EQ(this->events.waiters(), 0U);
    }
}

TYPED_TEST(parking, notify_all_ends_every_wait) {
    for (const bool fenced : {false, true}) {
        std::atomic<bool> ready{false};
        std::atomic<int> gone{0};
        std::vector<std::thread> waiters;
        for (int i = 0; i < 8; ++i) {
            waiters.emplace_back([&] {
                if (is_told(this->events, [&] { return ready.load(); })) {
                    ++gone;
                }
            });
        }
        EXPECT_TRUE(reaches(this->events, 8));
        ready = true;
        fenced ? this->events.notify_all_fenced() : this->events.notify_all();
        for (auto& each : waiters) {
            each.join();
        }
        EXPECT_EQ(gone, 8);
    }
}

/// Permits that are taken by one thread each.
class permits {
public:
    void add() { count_.fetch_add(1); }
    bool take() {
        auto seen = count_.load();
        while (seen > 0) {
            if (count_.compare_exchange_weak(seen, seen - 1)) {
                return true;
            }
        }
        return false;
    }

private:
    std::atomic<std::int64_t> count_{0};
};

TYPED_TEST(parking, each_notify_one_wakes_one_waiter_at_least) {
    constexpr std::uint32_t count = 8;
    for (const bool fenced : {false, true}) {
        permits available;
        std::vector<std::thread> waiters;
        for (std::uint32_t i = 0; i < count; ++i) {
            waiters.emplace_back([&] { EXPECT_TRUE(is_told(this->events, [&] { return available.take(); })); });
        }
        EXPECT_TRUE(reaches(this->events, count));
        for (std::uint32_t left = count; left > 0; --left) {
            available.add();
            fenced ? this->events.notify_one_fenced() : this->events.notify_one();
            // The one who got the permit leaves before the next is given: no later notification can make up for a lost
            // one.
            EXPECT_TRUE(reaches(this->events, left - 1));
        }
        for (auto& each : waiters) {
            each.join();
        }
    }
}

/// Two threads take turns `rounds` times; `pass` makes it the other's turn and notifies, `mine` asks whose it is.
template <class Events, class Pass, class Mine>
void ping_pong(Events& events, std::uint64_t rounds, Pass pass, Mine mine) {
    weir_test::findings wrong;
    std::uint64_t plain = 0;  // owned by whose turn it is
    const auto play = [&](std::uint64_t first) {
        for (auto turn = first; turn < 2 * rounds; turn += 2) {
            if (!is_told(events, [&] { return mine(turn); })) {
                return wrong.add("lost at turn " + std::to_string(turn));
            }
            wrong.expect(plain == turn, "not my turn");
            ++plain;
            pass(turn + 1);
        }
    };
    std::thread other{play, std::uint64_t{1}};
    play(0);
    other.join();
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(plain, 2 * rounds);
    EXPECT_EQ(events.waiters(), 0U);
}

TYPED_TEST(parking, no_wake_up_is_lost_on_a_condition_of_seq_cst_operations) {
    std::atomic<std::uint64_t> turn{0};
    ping_pong(
        this->events, weir_test::scaled(10'000, 500),
        [&](std::uint64_t next) {
            turn.store(next);
            this->events.notify_one();
        },
        [&](std::uint64_t wanted) { return turn.load() == wanted; });
}

TYPED_TEST(parking, no_wake_up_is_lost_on_a_condition_under_a_mutex) {
    std::mutex mutex;
    std::uint64_t turn = 0;
    ping_pong(
        this->events, weir_test::scaled(10'000, 500),
        [&](std::uint64_t next) {
            {
                const std::lock_guard hold{mutex};
                turn = next;
            }
            this->events.notify_one();
        },
        [&](std::uint64_t wanted) {
            const std::lock_guard hold{mutex};
            return turn == wanted;
        });
}

TYPED_TEST(parking, no_wake_up_is_lost_on_a_condition_of_release_and_acquire) {
    std::atomic<std::uint64_t> turn{0};
    ping_pong(
        this->events, weir_test::scaled(10'000, 500),
        [&](std::uint64_t next) {
            turn.store(next, std::memory_order_release);
            this->events.notify_one_fenced();
        },
        [&](std::uint64_t wanted) { return turn.load(std::memory_order_acquire) == wanted; });
}

/// One waiter and one notifier who meet at the same moment, again and again, a little earlier or later each time: the
/// notifier must see the waiter or the waiter the change. Nobody sleeps unless a wake-up is due.
template <class Events, class Change>
void meet(Events& events, std::size_t rounds, Change change_and_notify, std::memory_order looks) {
    weir::detail::padded<std::atomic<std::size_t>> asked;
    weir::detail::padded<std::atomic<std::size_t>> condition;
    std::atomic<bool> lost{false};
    const auto wander = [](std::size_t steps) {  // up to some hundred nanoseconds
        volatile std::size_t done = 0;
        while (done < steps) {
            const auto before = done;
            done = before + 1;
        }
    };
    std::thread waiter{[&] {
        for (std::size_t round = 1; round <= rounds && !lost; ++round) {
            asked.value.store(round);
            wander(round % 503);
            if (!is_told(events, [&] { return condition.value.load(looks) >= round; })) {
                lost = true;
            }
        }
    }};
    for (std::size_t round = 1; round <= rounds && !lost; ++round) {
        for (std::size_t spins = 0; asked.value.load() < round && !lost; ++spins) {
            if (spins > 1000) {
                std::this_thread::yield();
            }
        }
        wander(round % 499);
        change_and_notify(condition.value, round);
    }
    waiter.join();
    EXPECT_FALSE(lost);
}

TYPED_TEST(parking, who_comes_at_the_moment_of_a_seq_cst_change_sees_it_or_is_seen) {
    meet(
        this->events, weir_test::scaled(100'000, 10'000),
        [&](std::atomic<std::size_t>& condition, std::size_t round) {
            condition.store(round);
            this->events.notify_one();
        },
        std::memory_order_seq_cst);
}

// With notify_one in place of notify_one_fenced one run of a few loses a wake-up here, on x86-64 too: its load
// overtakes the store.
TYPED_TEST(parking, who_comes_at_the_moment_of_a_release_sees_it_or_is_seen) {
    meet(
        this->events, weir_test::scaled(100'000, 10'000),
        [&](std::atomic<std::size_t>& condition, std::size_t round) {
            condition.store(round, std::memory_order_release);
            this->events.notify_one_fenced();
        },
        std::memory_order_acquire);
}

TYPED_TEST(parking, producers_and_consumers_lose_nothing) {
    constexpr std::size_t producers = 3;
    constexpr std::size_t consumers = 4;
    const auto each = weir_test::scaled(8'000, 400) * consumers;
    permits items;
    weir_test::findings wrong;
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < consumers; ++i) {
        threads.emplace_back([&] {
            for (std::size_t n = 0; n < each * producers / consumers; ++n) {
                if (!is_told(this->events, [&] { return items.take(); })) {
                    return wrong.add("a wake-up was lost");
                }
            }
        });
    }
    for (std::size_t i = 0; i < producers; ++i) {
        threads.emplace_back([&] {
            for (std::size_t n = 0; n < each; ++n) {
                items.add();
                this->events.notify_one();
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_FALSE(items.take());
}

TYPED_TEST(parking, waiters_that_give_up_swallow_no_notification) {
    // Half of the waiters have deadlines and tokens that fire all the time; the others must get every permit that is
    // left.
    const auto rounds = weir_test::scaled(2'000, 100);
    permits items;
    std::atomic<std::size_t> taken{0};
    std::atomic<bool> over{false};
    weir_test::findings wrong;
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] {
            while (!over) {
                std::stop_source stop;
                if (taken.load() % 3 == 0) {
                    stop.request_stop();
                }
                const auto got = await(
                    this->events, [&] { return items.take(); }, steady_clock::now() + 20us, stop.get_token());
                if (got == wait_result::notified) {
                    ++taken;
                }
            }
        });
        threads.emplace_back([&] {
            for (;;) {
                if (!is_told(this->events, [&] { return over.load() || items.take(); })) {
                    return wrong.add("a notification was swallowed");
                }
                if (over) {
                    return;
                }
                ++taken;
            }
        });
    }
    for (std::size_t i = 0; i < rounds && wrong.none(); ++i) {
        items.add();
        this->events.notify_one();
        for (const auto end = soon(); taken.load() <= i; std::this_thread::yield()) {
            if (steady_clock::now() > end) {
                wrong.add("nobody took the permit");
                break;
            }
        }
    }
    over = true;
    this->events.notify_all();
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_TRUE(wrong.none()) << wrong;
}

/// A word that counts its sleeps and lets the test act at the worst moment: after the last look, before the sleep.
class scripted_word {
public:
    [[nodiscard]] std::uint32_t load() const noexcept { return real_.load(); }
    std::uint32_t bump() noexcept { return real_.bump(); }
    bool sleep(std::uint32_t seen, steady_clock::time_point deadline) const noexcept {
        ++sleeps;
        if (const auto act = std::exchange(before_sleep, nullptr)) {
            act();
        }
        const bool in_time = real_.sleep(seen, deadline);
        if (const auto act = std::exchange(after_sleep, nullptr)) {
            act();
        }
        return in_time;
    }
    void wake_one() noexcept { real_.wake_one(); }
    void wake_all() noexcept { real_.wake_all(); }

    inline static thread_local int sleeps = 0;
    inline static thread_local std::function<void()> before_sleep;
    inline static thread_local std::function<void()> after_sleep;

private:
    weir::detail::parking_word real_;
};

class scripted_parking : public testing::Test {
protected:
    void SetUp() override { scripted_word::sleeps = 0; }
    basic_event_count<scripted_word> events;
    std::stop_source stop;
};

TEST_F(scripted_parking, an_idle_waiter_sleeps_once_and_does_not_poll) {
    EXPECT_EQ(await(
                  events, [] { return false; }, steady_clock::now() + 30ms, stop.get_token()),
              wait_result::timed_out);
    EXPECT_GE(scripted_word::sleeps, 1);
    EXPECT_LE(scripted_word::sleeps, 3) << "but for a signal or two";
}

TEST_F(scripted_parking, a_notification_between_the_last_look_and_the_sleep_is_not_lost) {
    scripted_word::before_sleep = [&] { events.notify_one(); };
    EXPECT_EQ(events.wait_until(events.prepare_wait(), soon()), wait_result::notified);
    EXPECT_EQ(scripted_word::sleeps, 1);
}

TEST_F(scripted_parking, a_stop_between_the_last_look_and_the_sleep_is_not_lost) {
    scripted_word::before_sleep = [&] { stop.request_stop(); };
    EXPECT_EQ(events.wait_until(events.prepare_wait(), soon(), stop.get_token()), wait_result::stopped);
    EXPECT_EQ(scripted_word::sleeps, 1);
}

TEST_F(scripted_parking, a_notification_at_the_moment_of_the_deadline_is_reported) {
    scripted_word::after_sleep = [&] { events.notify_one(); };
    EXPECT_EQ(events.wait_until(events.prepare_wait(), steady_clock::now()), wait_result::notified);
}

TEST_F(scripted_parking, a_notification_on_either_side_of_a_stop_is_reported) {
    scripted_word::before_sleep = [&] {
        stop.request_stop();
        events.notify_one();
    };
    EXPECT_EQ(events.wait_until(events.prepare_wait(), soon(), stop.get_token()), wait_result::notified);
    stop = std::stop_source{};
    scripted_word::before_sleep = [&] {
        events.notify_one();
        stop.request_stop();
    };
    EXPECT_EQ(events.wait_until(events.prepare_wait(), soon(), stop.get_token()), wait_result::notified);
}

#if defined(__linux__)
TEST(parking_on_linux, waiting_and_notifying_leave_errno_alone) {
    weir::detail::event_count events;
    errno = 4711;
    EXPECT_EQ(events.wait_until(events.prepare_wait(), steady_clock::now() + 1ms), wait_result::timed_out);
    EXPECT_EQ(errno, 4711);
    EXPECT_EQ(events.wait_until(events.prepare_wait(), steady_clock::time_point::min()), wait_result::timed_out);
    static_cast<void>(events.prepare_wait());
    events.notify_all();
    events.cancel_wait();
    EXPECT_EQ(errno, 4711);
}

TEST(parking_on_linux, a_signal_ends_no_wait) {
    struct sigaction ignore {};
    struct sigaction before {};
    ignore.sa_handler = [](int) {};
    ASSERT_EQ(sigaction(SIGUSR1, &ignore, &before), 0);
    weir::detail::event_count events;
    std::atomic<bool> signalled{false};
    wait_result result{};
    std::thread waiter{[&] {
        result = events.wait_until(events.prepare_wait(), soon());
        EXPECT_TRUE(signalled);
    }};
    EXPECT_TRUE(reaches(events, 1));
    for (int i = 0; i < 50; ++i) {
        pthread_kill(waiter.native_handle(), SIGUSR1);
        std::this_thread::yield();
    }
    signalled = true;
    events.notify_one();
    waiter.join();
    EXPECT_EQ(result, wait_result::notified);
    sigaction(SIGUSR1, &before, nullptr);
}
#endif

}  // namespace
