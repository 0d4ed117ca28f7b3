// weir (BSL-1.0). rate_latch: a byte to spin on while a key's words change, that readers need not take.
#ifndef WEIR_FLOW_DETAIL_RATE_LATCH_HPP
#define WEIR_FLOW_DETAIL_RATE_LATCH_HPP
#include <weir/base/detail/backoff.hpp>

#include <atomic>
#include <cstdint>
#include <thread>

// When:     several words change together, within some ten instructions and by no code of the user.
// When not: a compare-exchange of one word will do.
// Source:   sequence locks, with the orders of H. Boehm, "Can seqlocks get along with programming language memory models?",
//           MSPC 2012: the words are atomics, read by acquire and set by release.
// Invariant: the version is odd exactly while a thread holds the latch.
// Edges (who hands what to whom):
//   E1  unlock hands the words over -> the next lock, or begin, of another thread
//
// A reader that saw a word which was set under a latch also sees, by that word's own edge, that the latch was taken: then same()
// is false, for its load comes after that of the word.
// Known limit: a reader that is suspended while the words change 2^31 times may take the two states for one.

namespace weir::inline v0 {
namespace detail {

class rate_latch {
public:
    /// Progress: blocks while another thread is between lock and unlock; it yields when that takes long.
    void lock() noexcept {
        for (backoff wait;;) {
            auto seen = version_.load(std::memory_order_relaxed);  // relaxed: a hint, the exchange decides
            if (free(seen) && version_.compare_exchange_weak(seen, seen + 1,
                                                             std::memory_order_acquire,       // E1 acquire
                                                             std::memory_order_relaxed)) {    // relaxed: tries again
                return;
            }
            if (!wait.spin()) {
                std::this_thread::yield();
            }
        }
    }
    void unlock() noexcept {
        auto const mine = version_.load(std::memory_order_relaxed);  // relaxed: nobody else changes it now
        version_.store(mine + 1, std::memory_order_release);         // E1 release
    }

    // Reading without taking it: `v = begin(); free(v)`, read, `same(v)`: then what was read stood there at one moment.
    [[nodiscard]] std::uint32_t begin() const noexcept { return version_.load(std::memory_order_acquire); }  // E1 acquire
    [[nodiscard]] static bool free(std::uint32_t version) noexcept { return version % 2 == 0; }
    [[nodiscard]] bool same(std::uint32_t version) const noexcept {
        return version_.load(std::memory_order_relaxed) == version;  // relaxed: after the words, which were read by acquire
    }

private:
    std::atomic<std::uint32_t> version_{0};  // who holds it
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
