// weir (BSL-1.0). object_pool_turns: so many may go at once; the others wait in the order in which they came.
#ifndef WEIR_DATA_DETAIL_OBJECT_POOL_TURNS_HPP
#define WEIR_DATA_DETAIL_OBJECT_POOL_TURNS_HPP
#include <weir/base/detail/parking.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stop_token>

// Source:   a counting semaphore that hands its permits over: who gives one back gives it to the first in the queue, so nobody who
//           comes later can take it before ("baton passing", G. Andrews, 1989).
// Invariant: permits out <= most. If somebody waits, all permits are out.
// Invariant: the upper half of word_ is the number of waiters in the list; it changes under the mutex only.
// Why no wake-up is lost: `granted` is set and read by seq_cst operations, way 1 of base/detail/parking.hpp. The event_count of a
// waiter stands on its stack; who grants does so under the mutex, and the waiter takes the mutex once more before it goes.
//
// Edges (who hands what to whom):
//   E1  what was done under a permit, by who gives it back -> whoever takes a permit later

namespace weir::inline v0 {
namespace detail {

class object_turns {
public:
    using time_point = std::chrono::steady_clock::time_point;

    explicit object_turns(std::uint32_t most) noexcept : most_(most) {}

    /// Progress: lock-free.
    [[nodiscard]] bool try_take() noexcept {
        auto seen = word_.load(std::memory_order_relaxed);  // relaxed: a hint, the exchange decides
        while (seen < most_) {                              // nobody waits, then
            if (word_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,  // E1 acquire
                                            std::memory_order_relaxed)) {               // relaxed: tries again
                return true;
            }
        }
        return false;
    }

    /// False: the deadline has passed, or a stop was requested, and there was no permit.
    /// Progress: blocks until then.
    [[nodiscard]] bool take_until(time_point deadline, std::stop_token const& stop) noexcept;

    /// Progress: lock-free if nobody waits; else it takes a lock that is held for a few instructions.
    void give_back() noexcept;

    [[nodiscard]] std::size_t waiting() const noexcept {
        return static_cast<std::size_t>(word_.load(std::memory_order_relaxed) / one_waiter);  // relaxed: a figure
    }

private:
    static constexpr std::uint64_t one_waiter = std::uint64_t{1} << 32;

    struct waiter {
        event_count told;
        std::atomic<bool> granted{false};
        waiter* before = nullptr;
        waiter* after = nullptr;
    };

    void append(waiter& w) noexcept;
    void unlink(waiter& w) noexcept;

    std::uint64_t most_;
    std::atomic<std::uint64_t> word_{0};  // any thread: permits out, and above them the waiters
    std::mutex mutex_;
    waiter* first_ = nullptr;  // under the mutex, as last_
    waiter* last_ = nullptr;
};

inline void object_turns::append(waiter& w) noexcept {
    w.before = last_;
    (last_ != nullptr ? last_->after : first_) = &w;
    last_ = &w;
}

inline void object_turns::unlink(waiter& w) noexcept {
    (w.before != nullptr ? w.before->after : first_) = w.after;
    (w.after != nullptr ? w.after->before : last_) = w.before;
    word_.fetch_sub(one_waiter, std::memory_order_relaxed);  // relaxed: permits do not change, the mutex orders the list
}

inline bool object_turns::take_until(time_point deadline, std::stop_token const& stop) noexcept {
    if (try_take()) {
        return true;
    }
    waiter me;
    {
        std::lock_guard const hold(mutex_);
        auto seen = word_.load(std::memory_order_relaxed);  // relaxed: a hint, the exchange decides
        for (;;) {
            auto const goes = seen < most_;
            if (word_.compare_exchange_weak(seen, seen + (goes ? 1 : one_waiter), std::memory_order_acquire,  // E1 acquire
                                            std::memory_order_relaxed)) {  // relaxed: tries again
                if (goes) {
                    return true;
                }
                append(me);
                break;
            }
        }
    }
    auto const why = await(me.told, [&me]() noexcept { return me.granted.load(); }, deadline, stop);
    std::lock_guard const hold(mutex_);  // whoever granted is done with `me` when it lets go of the mutex
    if (why != wait_result::notified && !me.granted.load(std::memory_order_relaxed)) {  // relaxed: under the mutex
        unlink(me);
        return false;
    }
    return true;
}

inline void object_turns::give_back() noexcept {
    auto seen = word_.load(std::memory_order_relaxed);  // relaxed: a hint, the exchange decides
    while (seen < one_waiter) {
        if (word_.compare_exchange_weak(seen, seen - 1, std::memory_order_release,  // E1 release
                                        std::memory_order_relaxed)) {               // relaxed: tries again
            return;
        }
    }
    std::lock_guard const hold(mutex_);
    if (auto* const next = first_) {
        unlink(*next);
        next->granted.store(true);
        next->told.notify_one();
    } else {
        word_.fetch_sub(1, std::memory_order_release);  // E1 release
    }
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
