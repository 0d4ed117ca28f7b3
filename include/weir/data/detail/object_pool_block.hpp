// weir (BSL-1.0). object_pool_block: the idle objects that one thread has at hand, and the gate through which others may take them away.
#ifndef WEIR_DATA_DETAIL_OBJECT_POOL_BLOCK_HPP
#define WEIR_DATA_DETAIL_OBJECT_POOL_BLOCK_HPP
#include <weir/base/detail/backoff.hpp>
#include <weir/base/detail/cache_line.hpp>
#include <weir/base/detail/hazard_record.hpp>
#include <weir/base/detail/membarrier.hpp>
#include <weir/data/detail/object_pool_magazine.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

// Source:   J. Bonwick and J. Adams, "Magazines and Vmem", USENIX 2001: two magazines per CPU over a depot. Here per thread, and
//           the two are one array from which the colder half goes to the depot, and into which a magazine comes.
//
// The owner is the thread with the block's slot, see base/detail/stripe.hpp; or who has adopted the slot of a thread that is gone.
// It works within the gate: enter, some loads and stores, leave. No code of the user runs there.
// Whoever wants to work on the blocks of others shuts their gates, waits until nobody is inside, and opens them again. A
// store followed by a load on both sides: it is the protocol of hazard pointers, with `shut` for the unlinking, so the gate is a
// hazard_record, and its two ways to order these (membarrier, or a handshake by read-modify-writes) are that header's.
//
// Invariant: between enter, if it was true, and leave nobody else reads or writes what is the owner's; likewise between
//            wait_until_empty and open for who shut the gate.
//
// Edges (who hands what to whom):
//   E1  the owner leaves (the user's release: withdraw() in hazard_record.hpp) -> who has shut the gate finds nobody inside
//   E2  who has shut the gate opens it again                                         -> the owner enters
//   E3  handshake: who shuts the gate, by its read-modify-write of `turn`            -> and the owner, by announce(), and back

namespace weir::inline v0 {
namespace detail {

struct alignas(destructive_size) object_block {
    static constexpr std::size_t capacity = 2 * object_magazine_size;

    explicit object_block(bool asymmetric, std::atomic<std::uint64_t>* word, std::size_t thread_slot) noexcept
        : gate(nullptr, asymmetric, 0), slot_word(word), slot(thread_slot) {}

    /// Items taken from here, ever: what came and is neither here nor gone to the depot. Exact at rest.
    [[nodiscard]] std::uint64_t hits() const noexcept {
        return kept.load(std::memory_order_relaxed) + moved.load(std::memory_order_relaxed) -  // relaxed: figures
               count.load(std::memory_order_relaxed);                                          // relaxed: as above
    }
    /// Changes with each call of the owner.
    [[nodiscard]] std::uint64_t activity() const noexcept {
        return hits() + kept.load(std::memory_order_relaxed);  // relaxed: figures
    }
    /// False: somebody else has the block, and nobody is inside. Progress: wait-free.
    [[nodiscard]] bool enter() noexcept {
        announce(gate.slots[0], 1);
        if (shut.load(std::memory_order_acquire)) [[unlikely]] {  // E2 acquire
            leave();
            return false;
        }
        return true;
    }
    void leave() noexcept { withdraw(gate.slots[0]); }

    /// Before a barrier, see pool_gates below.
    void close() noexcept {
        shut.store(true, std::memory_order_relaxed);  // relaxed: the barrier, or `turn`, orders it before the look inside
    }
    /// Progress: blocks while the owner is inside; it yields when that takes long.
    void wait_until_empty() noexcept {
        if (!gate.asymmetric) {
            gate.turn.fetch_add(1, std::memory_order_acq_rel);  // E3 release, E3 acquire
        }
        for (backoff wait; gate.slots[0].load(std::memory_order_acquire) != 0;) {  // E1 acquire
            if (!wait.spin()) {
                std::this_thread::yield();
            }
        }
    }
    void open() noexcept {
        shut.store(false, std::memory_order_release);  // E2 release
    }

    hazard_record gate;            // slots[0]: the owner is inside
    std::atomic<bool> shut{false};  // who has all blocks
    object_block* next = nullptr;    // constant once linked
    std::atomic<std::uint64_t>* const slot_word;  // where stripe has the bit of this slot
    std::size_t const slot;
    std::uint64_t seen_activity = 0;  // of who has all blocks

    // From here on the owner's, within the gate. Atomics, because statistics read them at any time.
    alignas(cache_line_size) std::atomic<std::size_t> count{0};  // items
    std::atomic<std::size_t> limit{0};                           // slots reserved for them, count <= limit <= capacity
    std::atomic<std::uint64_t> kept{0};                          // items put here, ever
    std::atomic<std::uint64_t> moved{0};                         // items that came from the depot, less those that went there
    std::atomic<std::size_t> bytes{0};                           // of the items
    std::atomic<std::size_t> bytes_limit{0};                     // reserved for them
    std::array<object_item*, capacity> items{};
};

/// A fence in every thread that may be entering, after close() of all; false: there is none to be had.
[[nodiscard]] inline bool object_barrier(bool asymmetric) noexcept { return !asymmetric || membarrier_everywhere(); }

// An owner's number: only it writes, anybody may read. relaxed: a number; the items themselves go by the gate's edges
template <class N>
[[nodiscard]] N object_read(std::atomic<N> const& word) noexcept {
    return word.load(std::memory_order_relaxed);  // relaxed: as above
}
template <class N>
void object_write(std::atomic<N>& word, N n) noexcept {
    word.store(n, std::memory_order_relaxed);  // relaxed: as above
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
