// weir (BSL-1.0). pool_latch: a byte to lock by one exchange and to unlock by one store, for some ten instructions.
#ifndef WEIR_RUN_DETAIL_POOL_LATCH_HPP
#define WEIR_RUN_DETAIL_POOL_LATCH_HPP
#include <weir/base/detail/backoff.hpp>

#include <atomic>
#include <chrono>
#include <thread>

// When:     one thread takes it nearly always, and pays for it with each item: half the price of a mutex.
// When not: several threads want it at once, or what is done under it can take long.
// Edges (who hands what to whom):
//   E1  unlock hands over what it guards -> the next lock of another thread

namespace weir::inline v0 {
namespace detail {

/// Meets the standard's BasicLockable.
class pool_latch {
public:
    /// Progress: blocks while another thread holds it. When that takes long, that thread has lost its core: then this one yields, and
    ///           naps at last, so that it uses no processor, and one of lower priority has its turn.
    void lock() noexcept {
        if (held_.exchange(true, std::memory_order_acquire)) [[unlikely]] {  // E1 acquire
            wait();
        }
    }
    void unlock() noexcept { held_.store(false, std::memory_order_release); }  // E1 release

private:
    [[gnu::noinline]] void wait() noexcept {
        backoff pause;
        unsigned yields = 0;
        do {
            if (pause.spin()) {
                continue;
            }
            if (yields++ < 32) {
                std::this_thread::yield();
            } else {
                std::this_thread::sleep_for(std::chrono::microseconds{50});
            }
        } while (held_.load(std::memory_order_relaxed) ||              // relaxed: a hint, the exchange decides
                 held_.exchange(true, std::memory_order_acquire));     // E1 acquire
    }

    std::atomic<bool> held_{false};  // who holds it
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
