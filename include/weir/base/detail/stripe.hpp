// weir (BSL-1.0). stripe: a small number for each live thread, to spread what threads share.
#ifndef WEIR_BASE_DETAIL_STRIPE_HPP
#define WEIR_BASE_DETAIL_STRIPE_HPP

#include <atomic>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>

// When:     a counter, a list or a cache has a copy per thread: `copies[this_thread_slot() & (copies_count - 1)]`.
// When not: the number must identify a thread for longer than it lives; slots are used again.
// Source:   smallest free name by a scan of test-and-set bits: Afek and Merritt, "Fast, wait-free (2k-1)-renaming",
//           PODC 1999; here 64 bits of one word are tested at once.
// Invariant: a number below unique_thread_slots belongs to one live thread (of those that share this registry) at a
//            time: its bit is set from before the first answer until after the last one.
// Invariant: every thread gets the smallest number that was free while it looked, so k live threads stay near 0..k-1.
//
// Edges (who hands what to whom):
//   E1  an exiting thread gives its bit back -> the next owner of the bit takes it, and sees all that was written under
//       this slot
//
// Shared numbers, unique_thread_slots and above. They are valid and fit every mask, but other threads may have the same
// one, so whoever writes under a slot by plain load and store has to ask `slot < unique_thread_slots` first. They are
// given
// * while more than unique_thread_slots threads live at once, to those that find no free one, for their whole life;
// * to a thread that asks after its exit hook ran: from destructors of thread_locals that were constructed before its
//   first question, and on the main thread from destructors of statics. The number is then its old one +
//   unique_thread_slots.
//
// Several shared libraries: the registry has default visibility even under -fvisibility=hidden, so that a program and
// the libraries it was linked with have one. A library opened by dlopen may have one of its own (beside a program
// linked without -rdynamic, or with RTLD_LOCAL where clang built it), and so may one linked with -Bsymbolic or a
// version script. Each copy numbers the threads that come through it, and two threads may then have the same number
// even below unique_thread_slots. What is written under a slot and handed from one such library to another therefore
// needs atomic read-modify-write.
//
// Fork: the child goes on with the number of the forking thread. The numbers of threads that exist only in the parent
// stay taken. Signal handlers: only on threads that have asked before.

namespace weir::inline v0 {
namespace detail {

inline constexpr std::size_t unique_thread_slots = 4096;

// One bit for each unique slot; set: taken. Initialised before any code runs and never destroyed, so that any thread
// may come and go.
struct [[gnu::visibility("default")]] thread_slot_registry {
    static constexpr std::size_t word_bits = 64;
    static constexpr std::size_t words = unique_thread_slots / word_bits;

    // The smallest free slot, or a shared one. Lock-free: a bit is missed only when another thread took it.
    static std::size_t take() noexcept {
        for (std::size_t word = 0; word < words; ++word) {
            auto seen = taken[word].load(std::memory_order_relaxed);  // relaxed: a hint, the exchange below decides
            while (~seen != 0) {
                const auto free = static_cast<std::size_t>(std::countr_one(seen));
                const auto bit = std::uint64_t{1} << free;
                seen = taken[word].fetch_or(bit, std::memory_order_acquire);  // E1 acquire
                if ((seen & bit) == 0) {
                    return word * word_bits + free;
                }
            }
        }
        // relaxed: spreads the threads that must share, orders nothing
        return unique_thread_slots + overflow.fetch_add(1, std::memory_order_relaxed) % unique_thread_slots;
    }

    static void give_back(std::size_t slot) noexcept {
        assert(slot < unique_thread_slots);
        taken[slot / word_bits].fetch_and(~(std::uint64_t{1} << (slot % word_bits)),
                                          std::memory_order_release);  // E1 release
    }

    inline static constinit std::atomic<std::uint64_t> taken[words]{};
    inline static constinit std::atomic<std::size_t> overflow{0};
    // The calling thread's slot + 1; 0: it has not asked yet. Only ever touched by its own thread.
    inline static constinit thread_local std::size_t mine = 0;
};

// Gives the slot back when its thread exits.
class [[gnu::visibility("default")]] thread_slot_hook {
public:
    thread_slot_hook() noexcept = default;
    thread_slot_hook(const thread_slot_hook&) = delete;
    thread_slot_hook& operator=(const thread_slot_hook&) = delete;
    ~thread_slot_hook() {
        const auto slot = thread_slot_registry::mine - 1;
        thread_slot_registry::mine += unique_thread_slots;  // from now on shared: this hook does not run again
        thread_slot_registry::give_back(slot);
    }
    void arm() const noexcept {}  // naming the object is what has it constructed, and so destroyed
};

[[gnu::noinline, gnu::cold, gnu::visibility("default")]] inline std::size_t take_thread_slot() noexcept {
    const auto slot = thread_slot_registry::take();
    thread_slot_registry::mine = slot + 1;
    if (slot < unique_thread_slots) {
        static thread_local const thread_slot_hook hook;
        hook.arm();
    }
    return slot;
}

/// The calling thread's slot: the same one at every call until the thread exits, then another thread's.
/// Progress: wait-free; lock-free the first time on a thread.
/// Order:    what one owner of a unique slot wrote is visible to the next owner.
/// Cost:     one thread_local read; the first time a scan of 512 bytes at most and the registration of an exit hook.
[[nodiscard]] inline std::size_t this_thread_slot() noexcept {
    const auto known = thread_slot_registry::mine;
    if (known != 0) [[likely]] {
        return known - 1;
    }
    return take_thread_slot();
}

}  // namespace detail
}  // namespace weir::inline v0

#endif
