// weir (BSL-1.0). parking_portable: a counter to sleep on, for systems without a futex.
#ifndef WEIR_BASE_DETAIL_PARKING_PORTABLE_HPP
#define WEIR_BASE_DETAIL_PARKING_PORTABLE_HPP

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

// When:     parking.hpp takes it where there is no futex; its tests take it everywhere.
// When not: on Linux: it is larger, and including it costs more than the rest of parking.hpp.
// Invariant: the counter changes under the mutex only, so a sleeper that compared under the mutex cannot miss the
//            change.
//
// Why not std::atomic::wait: it has no deadline.
//
// Edges (who hands what to whom):
//   E1  who counts up hands over what it changed before -> who reads the new value

namespace weir::inline v0 {
namespace detail {

/// What futex_word is, by a mutex and a condition variable.
/// Progress: bump and sleep block on the mutex, which is held for a few instructions only.
class portable_parking_word {
public:
    [[nodiscard]] std::uint32_t load() const noexcept { return value_.load(std::memory_order_acquire); }  // E1 acquire
    /// The value before.
    std::uint32_t bump() noexcept {
        const std::lock_guard hold{mutex_};
        return value_.fetch_add(1, std::memory_order_release);  // E1 release
    }

    /// Sleeps while the counter is `seen`; false when the deadline has passed instead. May return early.
    bool sleep(std::uint32_t seen, std::chrono::steady_clock::time_point deadline) const noexcept {
        std::unique_lock hold{mutex_};
        if (load() != seen) {
            return true;
        }
        if (deadline != std::chrono::steady_clock::time_point::max()) {
            return changed_.wait_until(hold, deadline) == std::cv_status::no_timeout;
        }
        changed_.wait(hold);
        return true;
    }

    void wake_one() noexcept { changed_.notify_one(); }
    void wake_all() noexcept { changed_.notify_all(); }

private:
    std::atomic<std::uint32_t> value_{0};  // changed under the mutex, read by all
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;  // sleepers
};

}  // namespace detail
}  // namespace weir::inline v0

#endif
