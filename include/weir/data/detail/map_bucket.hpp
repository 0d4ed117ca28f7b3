// weir (BSL-1.0). detail::map_bucket: some cache lines of the lock-free map, and the word that decides about them.
#ifndef WEIR_DATA_DETAIL_MAP_BUCKET_HPP
#define WEIR_DATA_DETAIL_MAP_BUCKET_HPP
#include <weir/base/detail/double_word.hpp>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

// The header word:   | a state for each slot | version | overflow | moved |
//   state     0: the slot is free. 1: reserved by a thread that is filling it, invisible. Else published, with a tag of its
//             key's hash. All ones never occur, so that no header but `done` is all ones.
//   version   counts what takes a key out of its place: the clearing of a slot and each change of the overflow block.
//             0 in a bucket that a move has not filled yet; once it is more, it is never 0 again.
//   overflow  the overflow pointer is not null.
//   moved     no compare-exchange of this header may succeed any more, but for the one that sets `done`.
//   orphaned  the overflow bit alone: a bucket that a move has not filled yet, and whose slots nobody is going to fill.
//   done      all ones: the entries live in the next table.
//
// What rests on the version alone is the order of events and, where the pair stands in the slot, that a copy of it is whole;
// never the safety of memory: nodes and blocks are protected by hazard pointers that are validated by the words that lead to
// them. A thread would have to sleep between two loads for an exact multiple of 2^32 changes of its bucket to be deceived.

namespace weir::inline v0 {
namespace detail {

/// What a header word says, of so many slots with so many bits for the state of each. All functions are pure.
template <int Slots, int StateBits>
struct map_header {
    static constexpr int slots = Slots;
    static constexpr std::uint64_t moved = 1;
    static constexpr std::uint64_t overflow = 2;
    static constexpr std::uint64_t one_version = 4;
    static constexpr int first_state = 64 - Slots * StateBits;
    static_assert(first_state >= 2 + 32, "a version has 32 bits at least");
    static constexpr std::uint64_t version_bits = (1ULL << first_state) - one_version;
    static constexpr std::uint64_t done = ~0ULL;
    static constexpr std::uint64_t orphaned = overflow;
    static constexpr std::uint64_t reserved = 1;
    static constexpr std::uint64_t last_state = (1ULL << StateBits) - 1;
    static constexpr std::uint64_t tags = last_state - 2;

    [[nodiscard]] static constexpr int shift(int slot) noexcept { return first_state + StateBits * slot; }
    [[nodiscard]] static constexpr std::uint64_t put(std::uint64_t state, int slot) noexcept { return state << shift(slot); }
    /// The same state in each of the first `count` slots.
    [[nodiscard]] static constexpr std::uint64_t put_in_first(std::uint64_t state, std::size_t count) noexcept {
        std::uint64_t all = 0;
        for (int i = 0; i < static_cast<int>(count); ++i) {
            all |= put(state, i);
        }
        return all;
    }
    static constexpr std::uint64_t each_one = put_in_first(1, Slots);        // the lowest bit of each state
    static constexpr std::uint64_t each_high = each_one << (StateBits - 1);  // the highest bit of each state
    static constexpr std::uint64_t each_low = each_high - each_one;          // the bits below it
    static constexpr std::uint64_t all_states = each_one * last_state;

    /// The tag of a hash: 2 or more, from bits that no table of less than 2^32 buckets uses as an index.
    [[nodiscard]] static constexpr std::uint64_t tag(std::uint64_t hash) noexcept {
        return 2 + (((hash & 0xffffffffU) * tags) >> 32);
    }

    [[nodiscard]] static constexpr std::uint64_t state(std::uint64_t header, int slot) noexcept {
        return (header >> shift(slot)) & last_state;
    }
    [[nodiscard]] static constexpr bool published(std::uint64_t header, int slot) noexcept {
        return state(header, slot) > reserved;
    }
    [[nodiscard]] static constexpr std::uint64_t without(std::uint64_t header, int slot) noexcept {
        return header & ~put(last_state, slot);
    }

    /// The published slots, as match() shows slots.
    [[nodiscard]] static constexpr std::uint64_t all_published(std::uint64_t header) noexcept {
        const std::uint64_t but_reserved = header & (each_low << 1);  // 0 and 1 are the states without a bit there
        return (((but_reserved & each_low) + each_low) | but_reserved) & each_high;
    }

    /// The slots whose state is `state`: the highest bit of each such state is set.
    [[nodiscard]] static constexpr std::uint64_t match(std::uint64_t header, std::uint64_t state) noexcept {
        const std::uint64_t x = header ^ (state * each_one);  // a state of zero where they agree
        return ~(((x & each_low) + each_low) | x) & each_high;
    }

    /// The first slot of a match, which must not be empty; `m & (m - 1)` goes to the next.
    [[nodiscard]] static constexpr int first(std::uint64_t match) noexcept {
        return static_cast<int>((static_cast<unsigned>(std::countr_zero(match)) - first_state) / StateBits);
    }

    [[nodiscard]] static constexpr std::uint64_t bump(std::uint64_t header) noexcept {
        const std::uint64_t next = (header + one_version) & version_bits;
        return (header & ~version_bits) | (next == 0 ? one_version : next);
    }
    [[nodiscard]] static constexpr bool started(std::uint64_t header) noexcept { return (header & version_bits) != 0; }

    /// Whether what was seen under `before` may be out of date under `now`.
    [[nodiscard]] static constexpr bool changed(std::uint64_t before, std::uint64_t now) noexcept {
        return ((before ^ now) & version_bits) != 0 || now == done;
    }
};

/// The word beside the header: the address of the overflow block, and in its low bits a set of what is in there, so that few
/// who look for something else have to read the block. Zero: there is none.
namespace map_overflow {
using word = std::uintptr_t;
inline constexpr std::size_t alignment = 16;  // what every allocator gives without being asked
inline constexpr word set = alignment - 1;

/// The bit of an entry; from bits of the hash that choose neither tag nor, in most tables, the bucket.
[[nodiscard]] constexpr word bit(std::uint64_t hash) noexcept {
    constexpr unsigned bits = std::countr_zero(alignment);
    return word{1} << (((hash >> 16) & 0xffU) * bits >> 8);
}
template <class Block>
[[nodiscard]] word of(Block* block, word bits) noexcept {
    return reinterpret_cast<word>(block) | bits;
}
template <class Block>
[[nodiscard]] Block* block(word w) noexcept {
    return reinterpret_cast<Block*>(w & ~set);
}
}  // namespace map_overflow

/// One bucket. All zero is a bucket with nothing in it.
template <class Header, class Slot>
struct alignas(64) map_bucket {
    std::atomic<std::uint64_t> header{0};
    std::atomic<map_overflow::word> overflow{0};
    Slot slot[Header::slots]{};

    /// Replaces header and overflow word in one step, which is what keeps a key unique across both.
    bool exchange_both(std::uint64_t header_seen, map_overflow::word overflow_seen, std::uint64_t new_header,
                       map_overflow::word new_overflow) noexcept {
        static_assert(sizeof(map_overflow::word) == 8 && sizeof(map_bucket) % 64 == 0);
        return compare_exchange_16(this, header_seen, overflow_seen, new_header, new_overflow);
    }
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
