// weir (BSL-1.0). stat_latch: a few words that one thread writes and any thread reads as one; neither ever waits.
#ifndef WEIR_DATA_DETAIL_STAT_LATCH_HPP
#define WEIR_DATA_DETAIL_STAT_LATCH_HPP
#include <weir/data/detail/stat_lanes.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

// Source:   a sequence count over two copies: M. Desnoyers' "latch" in Linux' seqlock.h (2014); the orders without fences as in
//           H. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012.
//
// The version says which copy stands still. While it is odd copy 0 is written and copy 1 is the state before; while it is even
// copy 1 is written (or nothing is) and copy 0 is the state. So there is a whole state to read at each step of the writer,
// also where it has been stopped for good, which a plain sequence lock does not have.
//
// Invariant: one thread writes at a time, and each owner sees what the last one wrote.
// Invariant: while the version is v, nobody stores in copy[v & 1].
//
// Edges (who hands what to whom):
//   E1  the writer sets the version -> a reader takes it, and sees the copy that it names whole
//   E2  the writer stores a word    -> a reader that loads it sees, when it looks again, that the version has moved on

namespace weir::inline v0 {
namespace detail {

template <std::size_t N>
class stat_latch {
public:
    using words = std::array<std::uint64_t, N>;

    /// Sets words I... to the values, all in one step for whoever reads. For the owner only.
    /// Progress: wait-free, 2 * sizeof...(I) + 2 plain stores.
    template <std::size_t... I, class... Values>
        requires(sizeof...(I) == sizeof...(Values))
    void set(std::index_sequence<I...>, Values... values) noexcept {
        auto const version = version_.load(std::memory_order_relaxed);  // relaxed: ours
        version_.store(version + 1, std::memory_order_release);         // E1 release: copy 1 holds the state before
        (copy_[0][I].store(values, std::memory_order_release), ...);    // E2 release
        version_.store(version + 2, std::memory_order_release);         // E1 release: copy 0 holds the new one
        (copy_[1][I].store(values, std::memory_order_release), ...);    // E2 release
    }

    /// Word i as it was written last. For the owner only.
    [[nodiscard]] std::uint64_t own(std::size_t i) const noexcept {
        return copy_[0][i].load(std::memory_order_relaxed);  // relaxed: ours
    }

    /// A state that was there at one moment between call and return.
    /// Progress: lock-free: looks again only if the owner has finished half a write meanwhile.
    [[nodiscard]] words read() const noexcept {
        for (;;) {
            auto const version = version_.load(std::memory_order_acquire);  // E1 acquire
            words seen;
            for (std::size_t i = 0; i < N; ++i) {
                seen[i] = copy_[version & 1][i].load(std::memory_order_acquire);  // E2 acquire
            }
            // relaxed: after the loads above, which acquire
            if (version_.load(std::memory_order_relaxed) == version) {
                return seen;
            }
        }
    }

private:
    stat_word version_{0};
    stat_word copy_[2][N]{};
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
