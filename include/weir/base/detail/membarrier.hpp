// weir (BSL-1.0). membarrier: a full fence in every running thread of the process, paid by the one that asks for it.
#ifndef WEIR_BASE_DETAIL_MEMBARRIER_HPP
#define WEIR_BASE_DETAIL_MEMBARRIER_HPP

#include <atomic>
#include <cerrno>

#if defined(__linux__) && __has_include(<linux/membarrier.h>)
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(SYS_membarrier)
#define WEIR_HAS_MEMBARRIER 1
#endif
#endif
#ifndef WEIR_HAS_MEMBARRIER
#define WEIR_HAS_MEMBARRIER 0
#endif

// When:     one side of a store-then-load race runs millions of times per second, the other rarely: the frequent side
//           then needs only the compiler's order, the rare side calls membarrier_everywhere().
// When not: both sides are frequent; take sequentially consistent operations.
// Source:   membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED (Linux 4.14); D. Goldblatt, "P1202: Asymmetric fences".
//
// The kernel wants a process to register before its first barrier. Doing so twice is harmless, so there is no lock:
// threads that come at the same time each register. Registering costs a system call, and some milliseconds once other
// threads run. A child made by fork() inherits it; should a kernel think otherwise, the barrier registers again.

namespace weir::inline v0 {
namespace detail {

#if WEIR_HAS_MEMBARRIER

enum class membarrier_answer : unsigned char { not_asked, yes, no };
inline constinit std::atomic<membarrier_answer> membarrier_known{membarrier_answer::not_asked};

// errno is the caller's: a function that fences must not change it.
inline long membarrier_call(int command) noexcept {
    const int saved = errno;
    const long result = ::syscall(SYS_membarrier, command, 0, 0);
    errno = saved;
    return result;
}

/// Whether this process can use membarrier_everywhere(). The first call asks the kernel and registers.
/// Progress: wait-free but for the kernel.
inline bool membarrier_available() noexcept {
    const auto known = membarrier_known.load(std::memory_order_relaxed);  // relaxed: an answer, it publishes nothing
    if (known != membarrier_answer::not_asked) {
        return known == membarrier_answer::yes;
    }
    const long commands = membarrier_call(MEMBARRIER_CMD_QUERY);
    const bool yes = commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0 &&
                     membarrier_call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
    membarrier_known.store(yes ? membarrier_answer::yes : membarrier_answer::no,
                           std::memory_order_relaxed);  // relaxed: every thread that asks finds the same answer
    return yes;
}

/// Acts as a sequentially consistent fence in this thread and, at some moment during the call, in every thread of the
/// process. Returns false if the kernel refuses (a sandbox closed after the start): then there was no barrier.
/// Progress: may wait for the kernel, never for another thread's user code.
/// Cost:     one system call; an interrupt to each processor that runs a thread of this process.
[[nodiscard]] inline bool membarrier_everywhere() noexcept {
    return membarrier_call(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0 ||
           (membarrier_call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 &&
            membarrier_call(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0);
}

#else

inline bool membarrier_available() noexcept { return false; }
[[nodiscard]] inline bool membarrier_everywhere() noexcept { return false; }

#endif

}  // namespace detail
}  // namespace weir::inline v0

#endif
