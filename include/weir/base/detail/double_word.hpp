// weir (BSL-1.0). double_word: compare and exchange two adjacent 64-bit words as one.
#ifndef WEIR_BASE_DETAIL_DOUBLE_WORD_HPP
#define WEIR_BASE_DETAIL_DOUBLE_WORD_HPP

#include <cassert>
#include <cstdint>
#include <cstdlib>

// When:     two words must change together or not at all, and each of them is also used alone as a
//           std::atomic<std::uint64_t>.
// When not: the two fit into one word; that is several times cheaper and exists everywhere.
// Source:   x86-64 CMPXCHG16B; aarch64 CASP, or LDXP and STXP.
// Invariant: the 16-byte change and 8-byte atomic operations on either half are atomic towards each other.
//
// Everything here is seq_cst. Each edge runs through one of the halves: a successful exchange releases to whoever then
// reads either half with acquire, and acquires what the last writers of both halves released; a failed one acquires
// only.
//
// Why it looks like this:
// * the old __sync builtin: it becomes the instruction itself, where the __atomic ones call libatomic (g++) or warn
//   (clang);
// * a function target and no inlining: a user need not pass -mcx16. Every x86-64 CPU but the first of 2003-2005 has the
//   instruction;
// * the answer is a bool: without the exclusive store behind it, what LDXP read may be a mix of two moments, so a
//   failure could report values that never stood there together. "They differed" is true in any case;
// * thread sanitizer builds: the runtimes of g++ and clang carry out a 16-byte exchange under a mutex of their own,
//   which is NOT atomic towards 8-byte operations: these get lost. So there the instruction is hidden from the
//   sanitizer, and instrumented 8-byte operations tell it what happened. A model checker that brings its own runtime
//   for the instrumented calls defines WEIR_MODEL_CHECK and receives the 16-byte call itself.

#if defined(__SANITIZE_THREAD__)
#define WEIR_DETAIL_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEIR_DETAIL_THREAD_SANITIZER 1
#endif
#endif

#if defined(__x86_64__)
#define WEIR_DETAIL_CX16 __attribute__((target("cx16")))
#else
#define WEIR_DETAIL_CX16
#endif

#if defined(WEIR_DETAIL_THREAD_SANITIZER) && !defined(WEIR_MODEL_CHECK)
#if defined(__clang__)
#define WEIR_DETAIL_HIDDEN __attribute__((disable_sanitizer_instrumentation))
#else
#define WEIR_DETAIL_HIDDEN __attribute__((no_sanitize("thread")))
#endif
// Of the sanitizer's runtime: the caller now sees what was released at this address.
extern "C" void __tsan_acquire(void* at);
#else
#define WEIR_DETAIL_HIDDEN
#endif

namespace weir::inline v0 {
namespace detail {

// Whether this target can do it. Where it is false the function below exists, for code that is compiled but never
// reached, and aborts.
#if (defined(__x86_64__) || defined(__aarch64__)) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
inline constexpr bool has_compare_exchange_16 = true;

// may_alias: the halves are objects of their own.
__extension__ typedef unsigned __int128 __attribute__((may_alias)) double_word;

[[gnu::noinline]] WEIR_DETAIL_CX16 WEIR_DETAIL_HIDDEN inline bool compare_exchange_16_instruction(
    void* at, std::uint64_t expected_low, std::uint64_t expected_high, std::uint64_t desired_low,
    std::uint64_t desired_high) noexcept {
    const auto expected = (static_cast<double_word>(expected_high) << 64) | expected_low;
    const auto desired = (static_cast<double_word>(desired_high) << 64) | desired_low;
    return __sync_bool_compare_and_swap(static_cast<double_word*>(at), expected, desired);
}
#else
inline constexpr bool has_compare_exchange_16 = false;

inline bool compare_exchange_16_instruction(void*, std::uint64_t, std::uint64_t, std::uint64_t,
                                            std::uint64_t) noexcept {
    std::abort();
}
#endif

/// Replaces {low, high} at `at`, the word at the lower address first, if both still have the expected values.
/// `at` is aligned to 16 bytes and writable: a failing exchange may write back what it read.
/// Progress: lock-free; wait-free where the CPU has it as one instruction (x86-64, aarch64 with LSE).
/// Order:    seq_cst; a failure orders as a load.
/// Cost:     one locked instruction behind a call.
[[nodiscard]] inline bool compare_exchange_16(void* at, std::uint64_t expected_low, std::uint64_t expected_high,
                                              std::uint64_t desired_low, std::uint64_t desired_high) noexcept {
    assert(reinterpret_cast<std::uintptr_t>(at) % 16 == 0);
#if defined(WEIR_DETAIL_THREAD_SANITIZER) && !defined(WEIR_MODEL_CHECK)
    auto* const low = static_cast<std::uint64_t*>(at);
    auto* const high = low + 1;
    // A difference seen at any moment is a failed exchange at that moment, and released nothing.
    if (__atomic_load_n(low, __ATOMIC_SEQ_CST) != expected_low ||
        __atomic_load_n(high, __ATOMIC_SEQ_CST) != expected_high) {
        return false;
    }
    // Shown before it happens: whoever sees the new words must find our release already there.
    (void)__atomic_fetch_or(low, std::uint64_t{0}, __ATOMIC_SEQ_CST);
    (void)__atomic_fetch_or(high, std::uint64_t{0}, __ATOMIC_SEQ_CST);
    const bool done = compare_exchange_16_instruction(at, expected_low, expected_high, desired_low, desired_high);
    // Not by loads: after success another thread may already have freed the words.
    __tsan_acquire(low);
    __tsan_acquire(high);
    return done;
#else
    return compare_exchange_16_instruction(at, expected_low, expected_high, desired_low, desired_high);
#endif
}

}  // namespace detail
}  // namespace weir::inline v0

#undef WEIR_DETAIL_HIDDEN
#undef WEIR_DETAIL_CX16
#undef WEIR_DETAIL_THREAD_SANITIZER

#endif
