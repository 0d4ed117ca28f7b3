// weir (BSL-1.0). pool_mutex: a mutex that is tried for a moment before its waiters sleep.
#ifndef WEIR_RUN_DETAIL_POOL_MUTEX_HPP
#define WEIR_RUN_DETAIL_POOL_MUTEX_HPP
#include <weir/base/detail/backoff.hpp>

#include <mutex>

// When:     it is held for some dozen instructions, and several threads want it at once: to sleep and to be woken costs fifty times
//           as long as to wait.
// When not: it is held across anything that can take long.

namespace weir::inline v0 {
namespace detail {

/// Meets the standard's BasicLockable.
class pool_mutex {
public:
    /// Progress: blocks while another thread holds it.
    void lock() {
        if (!mutex_.try_lock()) [[unlikely]] {
            wait();
        }
    }
    void unlock() { mutex_.unlock(); }

private:
    [[gnu::noinline]] void wait() {
        for (backoff pause; pause.spin();) {
            if (mutex_.try_lock()) {
                return;
            }
        }
        mutex_.lock();
    }

    std::mutex mutex_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
