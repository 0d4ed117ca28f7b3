// weir (BSL-1.0). parking: how a thread sleeps until another has changed something, and never misses the news.
#ifndef WEIR_BASE_DETAIL_PARKING_HPP
#define WEIR_BASE_DETAIL_PARKING_HPP

#if !defined(__linux__)
#include <weir/base/detail/parking_portable.hpp>
#endif

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stop_token>
#include <utility>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#endif

// When:     a lock-free structure needs a blocking call: empty queue, full queue, nothing due yet.
// When not: the news comes within some hundred instructions (backoff.hpp).
// Source:   Dmitry Vyukov's eventcount (1024cores.net, "Eventcounts"), as in folly::EventCount; before them Reed and
//           Kanodia, "Synchronization with eventcounts and sequencers", CACM 22 (1979). Ours keeps waiters and epoch in
//           two words, so that a notifier that finds nobody writes nothing, and adds stop tokens.
//
//   waiter                                       notifier
//     auto k = ec.prepare_wait();                  change the condition;
//     if (condition) ec.cancel_wait();             ec.notify_one();
//     else ec.wait_until(k, deadline, stop);
//     ... look at the condition again
//
// Invariant: waiters_ is at least the number of threads between prepare_wait and the end of cancel_wait or of a wait.
// Invariant: a wait returns `notified` only if epoch_ has changed since its key, or a wake of this event_count ended its
//            sleep; it returns `timed_out` only if neither.
//
// Why no news is lost. Two threads, a waiter W and a notifier N; either N sees W or W sees what N changed:
//   W: waiters_ + 1       then reads the condition            (between them: epoch_ is read, the key)
//   N: changes condition  then reads waiters_
//
// This is a store followed by a load on both sides, which only seq_cst operations keep in order: prepare_wait and the
// load in notify_one are, and the caller does its part in one of three ways:
//   1. the condition is changed and read by seq_cst operations: notify_one, notify_all (without waiters: one load);
//   2. it is changed and read under one mutex: notify_one, notify_all after the change, under the mutex or after it
//      (the lock orders both sides: whose critical section is later sees what the other wrote before its own);
//   3. it is changed with less (release, say): notify_one_fenced, notify_all_fenced. They read waiters_ by a
//      read-modify-write, and of two of these one comes first. If it is W's, N counts it. If it is N's, W acquires from
//      it and sees the condition (E2).
// If N sees W, it changes epoch_ and then wakes. W's key is either from before the change: then the kernel, which
// compares under its own lock, does not let W sleep, or N's wake finds it asleep. Or the key is the new epoch: then W
// sees the condition (E1).
//
// Edges (who hands what to whom):
//   E1  the notifier's change of epoch_ hands over the condition -> the waiter who reads the new epoch, as its key or
//       after its sleep
//   E2  notify_one_fenced, notify_all_fenced hand over the condition -> a prepare_wait that comes later in the order of
//       waiters_
//
// Fine print, safe to forget for whoever looks at the condition again:
// * `notified` may be spurious: a notify_one also lets those pass who were about to sleep, may wake one that has seen
//   the news already, and the stop of one waiter wakes all;
// * a waiter that gives up (timed_out, stopped) has not swallowed a notification: where in doubt the answer is
//   `notified`;
// * notify_one wakes one waiter, perhaps one that prepared after it instead of one that did before. That one has seen
//   the news, or will look: so all who wait on one event_count must be served by the same change, or by notify_all;
// * 2^32 notifications that fall between one prepare_wait and its wait look like none; the next one, or the deadline,
//   ends that wait;
// * the event_count must outlive every call on it: a notifier still touches it after the waiter may have seen the
//   condition.
//
// Fork: the child may go on using it; waiters that exist only in the parent cost it a wasted wake per notification.

namespace weir::inline v0 {
namespace detail {

/// Why a wait ended. Whatever it says, the condition decides.
enum class wait_result {
    notified,   // perhaps; look at the condition
    timed_out,  // the deadline passed and nobody notified
    stopped,    // the stop token was triggered and nobody notified
};

#if defined(__linux__)
/// A counter that threads can sleep on while it keeps its value.
class futex_word {
public:
    [[nodiscard]] std::uint32_t load() const noexcept { return value_.load(std::memory_order_acquire); }  // E1 acquire
    /// The value before.
    std::uint32_t bump() noexcept { return value_.fetch_add(1, std::memory_order_release); }  // E1 release

    /// Sleeps while the counter is `seen`; false when the deadline has passed instead. May return early.
    /// Progress: blocks until a wake or the deadline.
    bool sleep(std::uint32_t seen, std::chrono::steady_clock::time_point deadline) const noexcept {
        using std::chrono::nanoseconds;
        const bool forever = deadline == std::chrono::steady_clock::time_point::max();
        const auto left = deadline.time_since_epoch();
        const auto at =
            left > left.zero() ? std::chrono::duration_cast<nanoseconds>(left).count() : 0;  // the kernel refuses < 0
        constexpr std::int64_t second = 1'000'000'000;
        const std::timespec when{static_cast<std::time_t>(at / second), static_cast<long>(at % second)};
        const int errno_before = errno;
        long answer = 0;
        do {
            // BITSET for its absolute deadline, on CLOCK_MONOTONIC, which is the clock that steady_clock reads on Linux.
            answer = ::syscall(SYS_futex, &value_, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, seen,
                               forever ? nullptr : &when, nullptr, FUTEX_BITSET_MATCH_ANY);
        } while (answer != 0 && errno == EINTR);
        const bool in_time = answer == 0 || errno != ETIMEDOUT;
        errno = errno_before;
        return in_time;
    }

    void wake_one() noexcept { wake(1); }
    void wake_all() noexcept { wake(0x7fffffff); }

private:
    void wake(int count) noexcept {
        static_cast<void>(::syscall(SYS_futex, &value_, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count));
    }

    std::atomic<std::uint32_t> value_{0};  // notifiers and stop callbacks count up, waiters sleep on it
    static_assert(sizeof(std::atomic<std::uint32_t>) == 4);
};
using parking_word = futex_word;
#else
using parking_word = portable_parking_word;
#endif

/// Threads that wait for something to change, and how to tell them. `Word` is what they sleep on.
/// Threads: everything from any thread.
/// Memory:  8 bytes on Linux; allocates nothing.
template <class Word = parking_word>
class basic_event_count {
public:
    using time_point = std::chrono::steady_clock::time_point;

    /// What a wait compares with; good for the one wait or cancel that follows.
    class key {
        friend basic_event_count;
        explicit key(std::uint32_t epoch) noexcept : epoch_(epoch) {}
        std::uint32_t epoch_;
    };

    basic_event_count() noexcept = default;
    basic_event_count(const basic_event_count&) = delete;
    basic_event_count& operator=(const basic_event_count&) = delete;

    /// Announces a waiter: changes of the condition from here on end its wait. Look at the condition next.
    /// Progress: wait-free.
    [[nodiscard]] key prepare_wait() noexcept {
        waiters_.fetch_add(1);  // E2 acquire
        return key{epoch_.load()};
    }

    /// Takes the announcement back, for one who found the condition true.
    /// Progress: wait-free.
    void cancel_wait() noexcept { leave(); }

    /// Waits, without a way out: only where a notification is certain to come. May return early, as all waits.
    /// Progress: blocks until notified.
    void wait(key seen) noexcept { static_cast<void>(wait_until(seen, time_point::max())); }

    /// Waits until notified or the token is triggered.
    /// Progress: blocks until then.
    wait_result wait(key seen, const std::stop_token& stop) noexcept {
        return wait_until(seen, time_point::max(), stop);
    }

    /// Waits until notified or `now >= deadline`; time_point::max() is never.
    /// Progress: blocks until then.
    wait_result wait_until(key seen, time_point deadline) noexcept {
        const auto result = sleep(seen, deadline);
        leave();
        return result;
    }

    /// Waits until notified, `now >= deadline` or the token is triggered.
    /// Progress: blocks until then; registering with the token takes the token's own short lock.
    wait_result wait_until(key seen, time_point deadline, const std::stop_token& stop) noexcept;

    /// Wakes one waiter at least. The condition was changed by a seq_cst operation or under a mutex, see above.
    /// Progress: wait-free; one system call if somebody waits.
    /// Cost:     without waiters one load.
    void notify_one() noexcept {
        if (waiters_.load() != 0) {
            wake_one();
        }
    }

    /// Wakes all. As notify_one.
    void notify_all() noexcept {
        if (waiters_.load() != 0) {
            wake_all();
        }
    }

    /// Wakes one waiter at least, however the condition was changed.
    /// Progress: wait-free; one system call if somebody waits.
    /// Cost:     without waiters one read-modify-write.
    void notify_one_fenced() noexcept {
        const auto waiters = waiters_.fetch_add(0, std::memory_order_release);  // E2 release
        if (waiters != 0) {
            wake_one();
        }
    }

    /// Wakes all, however the condition was changed. As notify_one_fenced.
    void notify_all_fenced() noexcept {
        const auto waiters = waiters_.fetch_add(0, std::memory_order_release);  // E2 release
        if (waiters != 0) {
            wake_all();
        }
    }

    /// How many threads have announced themselves and not yet left: a hint.
    [[nodiscard]] std::uint32_t waiters() const noexcept {
        return waiters_.load(std::memory_order_relaxed);  // relaxed: a hint
    }

private:
    [[gnu::noinline]] void wake_one() noexcept {
        epoch_.bump();
        epoch_.wake_one();
    }
    [[gnu::noinline]] void wake_all() noexcept {
        epoch_.bump();
        epoch_.wake_all();
    }
    // relaxed: who leaves has nothing to say; a notifier that still counts it wakes nobody
    void leave() noexcept { waiters_.fetch_sub(1, std::memory_order_relaxed); }
    // One sleep, not until the epoch changes: with the newest epoch as its key, a waiter may be woken in the place of one
    // that prepared before it. It cannot tell, so it does not sleep on.
    wait_result sleep(key seen, time_point deadline) const noexcept {
        if (epoch_.load() != seen.epoch_) {
            return wait_result::notified;
        }
        const bool in_time = epoch_.sleep(seen.epoch_, deadline);
        const bool changed = epoch_.load() != seen.epoch_;  // in any case: it hands over the condition
        return changed || in_time ? wait_result::notified : wait_result::timed_out;
    }

    std::atomic<std::uint32_t> waiters_{0};  // each waiter adds and takes away its own 1
    Word epoch_;                             // notifiers
};

using event_count = basic_event_count<>;

template <class Word>
wait_result basic_event_count<Word>::wait_until(key seen, time_point deadline, const std::stop_token& stop) noexcept {
    wait_result result{};
    if (stop.stop_requested()) {
        result = epoch_.load() == seen.epoch_ ? wait_result::stopped : wait_result::notified;
    } else if (!stop.stop_possible()) {
        result = sleep(seen, deadline);
    } else {
        bool stopped = false;      // the callback's until it is destroyed, which waits for it if it runs
        std::uint32_t before = 0;  // likewise
        {
            // The epoch must change: a mere wake would miss a waiter that has looked but does not sleep yet.
            const std::stop_callback callback{stop, [&]() noexcept {
                                                  stopped = true;
                                                  before = epoch_.bump();
                                                  epoch_.wake_all();
                                              }};
            result = sleep(seen, deadline);
        }
        // Only if nobody but our own callback changed the epoch; else a notification may have been meant for us.
        if (stopped && before == seen.epoch_ && epoch_.load() == before + 1) {
            result = wait_result::stopped;
        }
    }
    leave();
    return result;
}

/// Waits until `ready()` is true, `now >= deadline` or the token is triggered. `notified` means that ready() was true
/// when called last; it is called once more before giving up, so that a waiter never leaves with a change that was
/// meant for it unseen. `ready` reads what it reads as the notifier's way of notifying demands, see above.
/// Progress: blocks until then.
/// Throws:   what ready() throws.
template <class Word, class Ready>
wait_result await(basic_event_count<Word>& events, Ready&& ready, std::chrono::steady_clock::time_point deadline,
                  const std::stop_token& stop = {}) {
    struct announcement {
        basic_event_count<Word>& events;
        bool open = true;
        ~announcement() {
            if (open) {
                events.cancel_wait();
            }
        }
    };
    if (ready()) {
        return wait_result::notified;
    }
    for (;;) {
        const auto key = events.prepare_wait();
        announcement mine{events};
        if (ready()) {
            return wait_result::notified;
        }
        mine.open = false;
        const auto result = events.wait_until(key, deadline, stop);
        if (ready()) {
            return wait_result::notified;
        }
        if (result != wait_result::notified) {
            return result;
        }
    }
}

/// Waits until `ready()` is true or the token is triggered.
template <class Word, class Ready>
wait_result await(basic_event_count<Word>& events, Ready&& ready, const std::stop_token& stop) {
    return await(events, std::forward<Ready>(ready), std::chrono::steady_clock::time_point::max(), stop);
}

}  // namespace detail
}  // namespace weir::inline v0

#endif
