// weir (BSL-1.0). detail::map_bucket: one cache line of the lock-free map, and the word that decides about it.
#ifndef WEIR_DATA_DETAIL_MAP_BUCKET_HPP
#define WEIR_DATA_DETAIL_MAP_BUCKET_HPP
#include <weir/base/detail/double_word.hpp>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

// The header word:   | 6 states of 5 bits | version, 32 bits | overflow | moved |
//   state     0: the slot is free. 1: reserved by a thread that is filling it, invisible. 2..30: published, with a
//             tag of its key's hash. 31 never occurs, so that no header but `done` is all ones.
//   version   counts what takes a key out of its place: the clearing of a slot and each change of the overflow block.
//             A version is never 0 after the first change, so a header of a started bucket never becomes 0 again.
//   overflow  the overflow pointer is not null.
//   moved     no compare-exchange of this header may succeed any more, but for the one that sets `done`.
//   done      all ones: the entries live in the next table.
//
// The version has 32 bits. What rests on it alone is the order of events, never memory safety: nodes are protected by
// hazard pointers that are validated by the slot word itself. A reader would have to sleep between two loads for an exact
// multiple of 2^32 removals in its bucket to accept an entry that is not published yet.

namespace weir::inline v0 {
namespace detail {

/// Where a slot stands in its header word, and what a header says. All functions are pure.
namespace map_header {
inline constexpr int slots = 6;
inline constexpr std::uint64_t moved = 1;
inline constexpr std::uint64_t overflow = 2;
inline constexpr std::uint64_t one_version = 4;
inline constexpr std::uint64_t version_bits = 0xffffffffULL << 2;
inline constexpr std::uint64_t done = ~0ULL;
inline constexpr int state_bits = 5;
inline constexpr int first_state = 34;
inline constexpr std::uint64_t each_one = 0x02108421ULL << first_state;   // the lowest bit of each state
inline constexpr std::uint64_t each_high = each_one << (state_bits - 1);  // the highest bit of each state
inline constexpr std::uint64_t each_low = each_high - each_one;           // the bits below it
inline constexpr std::uint64_t reserved = 1;
inline constexpr std::uint64_t tags = 29;

/// The tag of a hash: 2..30, from bits that no table of less than 2^32 buckets uses as an index.
[[nodiscard]] constexpr std::uint64_t tag(std::uint64_t hash) noexcept {
    return 2 + (((hash & 0xffffffffU) * tags) >> 32);
}

[[nodiscard]] constexpr int shift(int slot) noexcept { return first_state + state_bits * slot; }
[[nodiscard]] constexpr std::uint64_t state(std::uint64_t header, int slot) noexcept {
    return (header >> shift(slot)) & 31U;
}
[[nodiscard]] constexpr std::uint64_t put(std::uint64_t state, int slot) noexcept { return state << shift(slot); }
[[nodiscard]] constexpr std::uint64_t without(std::uint64_t header, int slot) noexcept {
    return header & ~put(31, slot);
}

/// The slots whose state is `state`: the highest bit of each such state is set.
[[nodiscard]] constexpr std::uint64_t match(std::uint64_t header, std::uint64_t state) noexcept {
    const std::uint64_t x = header ^ (state * each_one);  // a state of zero where they agree
    return ~(((x & each_low) + each_low) | x) & each_high;
}

/// The first slot of a match, which must not be empty; `m & (m - 1)` goes to the next.
[[nodiscard]] constexpr int first(std::uint64_t match) noexcept {
    return (std::countr_zero(match) - first_state) / state_bits;
}

[[nodiscard]] constexpr std::uint64_t bump(std::uint64_t header) noexcept {
    const std::uint64_t next = (header + one_version) & version_bits;
    return (header & ~version_bits) | (next == 0 ? one_version : next);
}

/// Whether what was seen under `before` may be out of date under `now`.
[[nodiscard]] constexpr bool changed(std::uint64_t before, std::uint64_t now) noexcept {
    return ((before ^ now) & version_bits) != 0 || now == done;
}
}  // namespace map_header

/// A slot: the address of a node and two marks in its low bits. Zero until the slot is filled first, never zero again.
///   dead    the entry is erased; the address means nothing any more
///   frozen  the bucket is being moved; the word never changes again
namespace map_slot {
using word = std::uintptr_t;
inline constexpr word dead = 1;
inline constexpr word frozen = 2;
inline constexpr word marks = dead | frozen;

template <class Node>
[[nodiscard]] Node* node(word w) noexcept {
    return reinterpret_cast<Node*>(w & ~marks);
}
template <class Node>
[[nodiscard]] word of(Node* n) noexcept {
    return reinterpret_cast<word>(n);
}
}  // namespace map_slot

/// One bucket. All zero is a bucket with nothing in it.
template <class Block>
struct alignas(64) map_bucket {
    std::atomic<std::uint64_t> header{0};
    std::atomic<Block*> overflow{nullptr};
    std::atomic<map_slot::word> slot[map_header::slots]{};

    /// Replaces header and overflow block in one step, which is what keeps a key unique across both.
    bool exchange_both(std::uint64_t header_seen, Block* block_seen, std::uint64_t new_header, Block* new_block) noexcept {
        static_assert(sizeof(Block*) == 8 && sizeof(map_bucket) == 64);
        return compare_exchange_16(this, header_seen, map_slot::of(block_seen), new_header, map_slot::of(new_block));
    }
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
