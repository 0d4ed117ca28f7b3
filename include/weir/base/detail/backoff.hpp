// weir (BSL-1.0). backoff: a short, growing, bounded wait for a thread that needs a few instructions more.
#ifndef WEIR_BASE_DETAIL_BACKOFF_HPP
#define WEIR_BASE_DETAIL_BACKOFF_HPP

// When:     a compare-exchange lost, or another core holds something for a few instructions.
// When not: the other thread may be doing anything longer; park at once (parking.hpp).
// Source:   Agarwal and Cherian, "Adaptive backoff synchronization techniques", ISCA 1989: doubling; the bound is ours,
//           because the other thread may have lost its core, and then every further pause is wasted.
//
//   for (backoff wait; !try_it();) {
//       if (!wait.spin()) { /* used up: yield or park here */ }
//   }

namespace weir::inline v0 {
namespace detail {

/// Tells the core that this is a waiting loop: it saves power and leaves the pipeline to its sibling thread.
inline void cpu_relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    // `yield` does nothing on most aarch64 cores; this waits for about as long as x86's pause.
    asm volatile("isb" ::: "memory");
#endif
}

/// 1, 2, 4 ... pauses, pauses_at_most in all: some microseconds at the worst. Then it refuses: yield or park.
/// Threads: one object per waiting thread.
template <void (*Relax)() noexcept = cpu_relax>
class basic_backoff {
public:
    static constexpr unsigned longest = 32;  // pauses in the last round, a power of two
    static constexpr unsigned pauses_at_most = 2 * longest - 1;

    /// Pauses for the next round; false, at once, when all rounds are used up.
    /// Progress: wait-free.
    [[nodiscard]] bool spin() noexcept {
        if (round_ > longest) {
            return false;
        }
        for (unsigned i = 0; i < round_; ++i) {
            Relax();
        }
        round_ *= 2;
        return true;
    }

    /// Starts again: something changed, so that waiting briefly makes sense once more.
    void reset() noexcept { round_ = 1; }

private:
    unsigned round_ = 1;  // pauses in the next round
};

using backoff = basic_backoff<>;

}  // namespace detail
}  // namespace weir::inline v0

#endif
