// weir (BSL-1.0). stat_shards: a block for each thread that writes, found by one load, and spare ones for those without a lane.
#ifndef WEIR_DATA_DETAIL_STAT_SHARDS_HPP
#define WEIR_DATA_DETAIL_STAT_SHARDS_HPP
#include <weir/base/detail/cache_line.hpp>
#include <weir/data/detail/stat_lanes.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

// Each thread's cell holds the address of its block, made when it first writes and kept until the object ends; a thread that
// later gets the same slot goes on with it. Who has no cell claims a spare block for the time of one write: the first that
// nobody has claimed, or a new one. So a block has one writer at any time, and all writes are plain stores.
// If there is no memory for a block, a spare one that is there is claimed; if there is none, the write is counted as lost.
//
// Invariant: a block is written by the owner of its slot or by who has claimed it, never by two at once.
// Invariant: there are about as many spare blocks as threads have been writing without a lane at the same time; a few more if
//            they claim and give back while others look.
//
// Edges (who hands what to whom):
//   E1  the owner stores the address of its block, which is whole -> whoever reads all blocks follows it
//   E2  a spare block is linked                                  -> whoever claims one or reads all follows the link
//   E3  who has written gives a spare block back                 -> the next one claims it, and sees all that is in it

namespace weir::inline v0 {
namespace detail {

// What every block begins with.
struct stat_block {
    std::atomic<bool> claimed{false};  // spare blocks: somebody writes
    stat_block* next = nullptr;        // spare blocks: constant once linked
};

// A Block, then `tail` words, in memory that no other block shares a line with; null if there is none. The words are zero.
template <class Block, class... Args>
[[nodiscard]] Block* make_stat_block(std::size_t tail, Args&&... args) noexcept {
    static_assert(std::is_nothrow_constructible_v<Block, Args...> && std::is_trivially_destructible_v<Block>);
    static_assert(sizeof(Block) % sizeof(stat_word) == 0);
    void* const raw =
        ::operator new(sizeof(Block) + tail * sizeof(stat_word), std::align_val_t{cache_line_size}, std::nothrow);
    if (raw == nullptr) {
        return nullptr;
    }
    auto* const words = reinterpret_cast<stat_word*>(static_cast<std::byte*>(raw) + sizeof(Block));
    std::uninitialized_value_construct_n(words, tail);
    return ::new (raw) Block(std::forward<Args>(args)...);
}

template <class Block>
[[nodiscard]] stat_word* tail_of(Block* block) noexcept {
    return reinterpret_cast<stat_word*>(block + 1);
}
template <class Block>
[[nodiscard]] stat_word const* tail_of(Block const* block) noexcept {
    return reinterpret_cast<stat_word const*>(block + 1);
}

/// Blocks of one statistic. Block derives from stat_block.
/// Threads:  everything but the destructor from any thread at once.
/// Memory:   40 bytes, and a block for each slot of a thread that has written.
template <class Block>
class stat_shards {
public:
    /// Throws: std::bad_alloc, std::length_error.
    stat_shards() : cell_(stat_cell::acquire()) {}
    stat_shards(stat_shards const&) = delete;
    stat_shards& operator=(stat_shards const&) = delete;
    /// Nobody may be writing or reading.
    ~stat_shards();

    /// The calling thread's block, to be written by plain load and store; null if it has none, or not yet.
    /// Progress: wait-free.
    [[nodiscard]] Block* own() const noexcept {
        auto* const word = cell_.own();
        // relaxed: stored by this thread, or by an earlier owner of its slot
        return word != nullptr ? to_block(word->load(std::memory_order_relaxed)) : nullptr;
    }

    /// write(block), once, for a block that nobody else writes, where own() has none. make() gives a new block, or null.
    /// False: nothing was written, there is no memory.
    /// Progress: wait-free for a thread that can have a lane, lock-free for others; but for make().
    /// Cost:     for a thread without a lane, two read-modify-writes and a scan over the spare blocks.
    template <class Make, class Write>
    bool write_first(Make const& make, Write const& write) noexcept;

    /// read(block) for each block that exists. Progress: wait-free, but for `read` and blocks added meanwhile.
    template <class Read>
    void for_each(Read read) const {
        cell_.for_each([&](stat_word& word) noexcept(false) {
            if (auto const* const block = to_block(word.load(std::memory_order_acquire))) {  // E1 acquire
                read(*block);
            }
        });
        auto const* spare = spare_.load(std::memory_order_acquire);  // E2 acquire
        for (; spare != nullptr; spare = static_cast<Block*>(spare->next)) {
            read(*spare);
        }
    }

    /// Writes that found no memory.
    [[nodiscard]] std::uint64_t lost() const noexcept {
        return lost_.load(std::memory_order_relaxed);  // relaxed: a number, publishes nothing
    }

private:
    static Block* to_block(std::uint64_t word) noexcept {
        return reinterpret_cast<Block*>(static_cast<std::uintptr_t>(word));
    }

    // A spare block that nobody else has; null if there is none and no memory for one.
    template <class Make>
    Block* claim(Make const& make) noexcept;

    static void destroy(Block* block) noexcept {
        ::operator delete(static_cast<void*>(block), std::align_val_t{cache_line_size});
    }

    stat_cell cell_;                     // each thread's word: the address of its block
    std::atomic<Block*> spare_{nullptr};  // any thread; only grows
    stat_word lost_{0};                  // any thread
};

template <class Block>
template <class Make, class Write>
bool stat_shards<Block>::write_first(Make const& make, Write const& write) noexcept {
    if (auto* const word = cell_.make()) {
        // relaxed: as in write(). The thread is new to its lane, but an earlier owner may have left a block.
        if (auto* const block = to_block(word->load(std::memory_order_relaxed))) {
            write(*block);
            return true;
        }
        if (Block* const block = make()) {
            // Whole before it is linked: who reads all blocks meanwhile sees this write or does not.
            write(*block);
            word->store(static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(block)),
                        std::memory_order_release);  // E1 release
            return true;
        }
    }
    if (auto* const block = claim(make)) {
        write(*block);
        block->claimed.store(false, std::memory_order_release);  // E3 release
        return true;
    }
    lost_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a number, publishes nothing
    return false;
}

template <class Block>
template <class Make>
Block* stat_shards<Block>::claim(Make const& make) noexcept {
    auto* first = spare_.load(std::memory_order_acquire);  // E2 acquire
    for (auto* block = first; block != nullptr; block = static_cast<Block*>(block->next)) {
        // relaxed: a look before the exchange, which decides
        if (!block->claimed.load(std::memory_order_relaxed) &&
            !block->claimed.exchange(true, std::memory_order_acquire)) {  // E3 acquire
            return block;
        }
    }
    Block* const block = make();
    if (block == nullptr) {
        return nullptr;
    }
    block->claimed.store(true, std::memory_order_relaxed);  // relaxed: not linked yet
    do {
        block->next = first;
    } while (!spare_.compare_exchange_weak(first, block, std::memory_order_release,  // E2 release
                                           std::memory_order_relaxed));              // relaxed: not followed
    return block;
}

template <class Block>
stat_shards<Block>::~stat_shards() {
    // relaxed: nobody writes any more, and whoever destroys has been told so
    cell_.for_each([](stat_word& word) noexcept { destroy(to_block(word.load(std::memory_order_relaxed))); });
    auto* spare = spare_.load(std::memory_order_relaxed);  // relaxed: as above
    while (spare != nullptr) {
        destroy(std::exchange(spare, static_cast<Block*>(spare->next)));
    }
    cell_.release();
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
