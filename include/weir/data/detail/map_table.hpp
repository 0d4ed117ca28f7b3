// weir (BSL-1.0). detail::map_table: overflow blocks and tables of the lock-free map, and the memory they live in.
#ifndef WEIR_DATA_DETAIL_MAP_TABLE_HPP
#define WEIR_DATA_DETAIL_MAP_TABLE_HPP
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/detail/map_storage.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>

// A table has 2^bits buckets; the highest bits of a hash are the index, so that the children of bucket i in a table twice
// as large are 2i and 2i+1, its child in one half as large is i/2, and an order by hash outlives every change of size.
// Buckets come in pieces of at most 64 KiB that are allocated and zeroed when a writer first needs them: no single operation
// clears a whole table.
//
// Edges:
//   E1  a piece's buckets are zeroed, its pointer is published  -> whoever loads the pointer sees empty buckets
//   E2  the buckets of a chunk are moved, its bit is set        -> whoever finds all bits set may retire the table

namespace weir::inline v0 {
namespace detail {

/// What is retired seldom and has a size of its own: overflow blocks and tables.
struct map_garbage : hazard_link {
    enum class kind : unsigned char { block, table };
    kind what;
    std::size_t bytes;

    map_garbage(kind k, std::size_t b) noexcept : hazard_link{}, what(k), bytes(b) {}
};

/// What blocks and tables are measured in, so that one rebound allocator serves both.
struct alignas(map_overflow::alignment) map_unit {
    std::byte bytes[map_overflow::alignment];
};

[[nodiscard]] constexpr std::size_t map_units(std::size_t bytes) noexcept {
    return (bytes + sizeof(map_unit) - 1) / sizeof(map_unit);
}

/// The entries of a bucket that found no free slot: an immutable list, replaced whole.
template <class Item>
struct map_block : map_garbage {
    std::size_t count;

    explicit map_block(std::size_t n) noexcept : map_garbage(kind::block, bytes_for(n)), count(n) {}

    [[nodiscard]] Item* begin() noexcept { return std::launder(reinterpret_cast<Item*>(this + 1)); }
    [[nodiscard]] Item* end() noexcept { return begin() + count; }

    [[nodiscard]] static constexpr std::size_t bytes_for(std::size_t n) noexcept {
        static_assert(alignof(Item) <= 16 && sizeof(map_block) % 16 == 0);
        return map_units(sizeof(map_block) + n * sizeof(Item)) * sizeof(map_unit);
    }

    template <class Units>
    [[nodiscard]] static map_block* make(Units& units, std::size_t n) {
        map_unit* const raw = std::allocator_traits<Units>::allocate(units, bytes_for(n) / sizeof(map_unit));
        auto* const made = ::new (static_cast<void*>(raw)) map_block(n);
        std::uninitialized_value_construct_n(made->begin(), n);
        return made;
    }
    template <class Units>
    static void drop(Units& units, map_block* block) noexcept {
        if (block != nullptr) {
            std::allocator_traits<Units>::deallocate(units, reinterpret_cast<map_unit*>(block),
                                                     block->bytes / sizeof(map_unit));
        }
    }
};

/// One generation of buckets.
template <class Storage>
class alignas(16) map_table : public map_garbage {
public:
    using block = map_block<typename Storage::item>;
    using bucket = map_bucket<typename Storage::header, typename Storage::slot>;

    static constexpr int least_bits = 2;
    static constexpr int piece_bits = 16 - std::bit_width(sizeof(bucket) - 1);  // buckets of a full piece: 64 KiB at most
    static constexpr int chunk_count_bits = 6;

    struct alignas(16) piece {
        std::atomic<bucket*> buckets{nullptr};
        std::atomic<std::uint64_t> moved{0};  // a bit for each chunk whose buckets are all moved to the next table
    };

    std::atomic<map_table*> next{nullptr};
    std::atomic<std::size_t> claimed{0};   // chunks that somebody started to move
    std::atomic<std::size_t> finished{0};  // leading pieces of which every chunk is moved

    [[nodiscard]] int bits() const noexcept { return bits_; }
    [[nodiscard]] std::size_t buckets() const noexcept { return std::size_t{1} << bits_; }
    [[nodiscard]] std::size_t pieces() const noexcept { return std::size_t{1} << (bits_ - in_piece_); }
    [[nodiscard]] std::size_t piece_buckets() const noexcept { return std::size_t{1} << in_piece_; }
    [[nodiscard]] int chunks_in_piece_bits() const noexcept { return std::min(in_piece_, chunk_count_bits); }
    [[nodiscard]] std::size_t chunks() const noexcept { return pieces() << chunks_in_piece_bits(); }
    [[nodiscard]] std::size_t chunk_buckets() const noexcept { return piece_buckets() >> chunks_in_piece_bits(); }
    [[nodiscard]] std::uint64_t all_moved() const noexcept { return ~0ULL >> (64 - (1 << chunks_in_piece_bits())); }

    [[nodiscard]] std::size_t index(std::uint64_t hash) const noexcept { return hash >> shift_; }
    /// Whether two hashes of one bucket would also be of one bucket in a table twice as large.
    [[nodiscard]] bool same_half(std::uint64_t a, std::uint64_t b) const noexcept { return ((a ^ b) >> (shift_ - 1) & 1) == 0; }
    [[nodiscard]] std::uint64_t span() const noexcept { return 1ULL << (64 - bits_); }  // hashes of one bucket
    [[nodiscard]] piece& piece_at(std::size_t i) noexcept { return reinterpret_cast<piece*>(this + 1)[i]; }

    /// The bucket, or null while no writer has needed its piece: then it is empty.
    [[nodiscard]] bucket* peek(std::size_t index) noexcept {
        bucket* const first = piece_at(index >> in_piece_).buckets.load(std::memory_order_acquire);  // E1 acquire
        return first == nullptr ? nullptr : first + (index & piece_mask_);
    }

    /// The bucket; allocates its piece when it is the first to need it.
    template <class Buckets>
    [[nodiscard]] bucket& touch(Buckets& allocator, std::size_t index) {
        if (bucket* const there = peek(index)) {
            return *there;
        }
        piece& p = piece_at(index >> in_piece_);
        bucket* const made = std::allocator_traits<Buckets>::allocate(allocator, piece_buckets());
        std::uninitialized_value_construct_n(made, piece_buckets());
        bucket* none = nullptr;
        if (!p.buckets.compare_exchange_strong(none, made, std::memory_order_release,  // E1 release
                                               std::memory_order_acquire)) {           // E1 acquire
            std::allocator_traits<Buckets>::deallocate(allocator, made, piece_buckets());
            return none[index & piece_mask_];
        }
        return made[index & piece_mask_];
    }

    /// Notes that every bucket of a chunk is moved.
    void mark_moved(std::size_t chunk) noexcept {
        const int in = chunks_in_piece_bits();
        piece_at(chunk >> in).moved.fetch_or(1ULL << (chunk & ((std::size_t{1} << in) - 1)),
                                             std::memory_order_release);  // E2 release
    }

    /// Whether every bucket is moved. Any thread may find out, so that none is waited for.
    [[nodiscard]] bool all_chunks_moved() noexcept {
        std::size_t known = finished.load(std::memory_order_acquire);  // E2 acquire
        std::size_t now = known;
        while (now < pieces() && piece_at(now).moved.load(std::memory_order_acquire) == all_moved()) {  // E2 acquire
            ++now;
        }
        while (known < now && !finished.compare_exchange_weak(known, now, std::memory_order_release,  // E2 release
                                                              std::memory_order_acquire)) {           // E2 acquire
        }
        return now == pieces() || known == pieces();
    }

    /// A chunk worth moving: the next that nobody has started, else one that is not finished; `chunks()` if none is left.
    [[nodiscard]] std::size_t claim_chunk() noexcept {
        if (claimed.load(std::memory_order_relaxed) < chunks()) {  // relaxed: only spreads the work
            const std::size_t mine = claimed.fetch_add(1, std::memory_order_relaxed);  // relaxed: only spreads the work
            if (mine < chunks()) {
                return mine;
            }
        }
        const std::size_t at = finished.load(std::memory_order_relaxed);  // relaxed: a hint where to look
        if (at >= pieces()) {
            return chunks();
        }
        const std::uint64_t left =
            ~piece_at(at).moved.load(std::memory_order_relaxed) & all_moved();  // relaxed: a hint, moving twice is harmless
        return left == 0 ? chunks() : (at << chunks_in_piece_bits()) + static_cast<std::size_t>(std::countr_zero(left));
    }

    template <class Units>
    [[nodiscard]] static map_table* make(Units& units, int bits) {
        const int in_piece = std::min(bits, piece_bits);
        const std::size_t count = std::size_t{1} << (bits - in_piece);
        const std::size_t bytes = sizeof(map_table) + count * sizeof(piece);
        static_assert(sizeof(map_table) % alignof(piece) == 0);
        map_unit* const raw = std::allocator_traits<Units>::allocate(units, map_units(bytes));
        auto* const made = ::new (static_cast<void*>(raw)) map_table(bits, in_piece, bytes);
        std::uninitialized_value_construct_n(&made->piece_at(0), count);
        return made;
    }

    /// Gives the memory of the table back, not that of nodes and overflow blocks.
    template <class Units, class Buckets>
    static void drop(Units& units, Buckets& buckets, map_table* table) noexcept {
        for (std::size_t i = 0; i < table->pieces(); ++i) {
            // relaxed: nobody else uses the table any more
            if (bucket* const first = table->piece_at(i).buckets.load(std::memory_order_relaxed)) {
                std::allocator_traits<Buckets>::deallocate(buckets, first, table->piece_buckets());
            }
        }
        const std::size_t size = map_units(sizeof(map_table) + table->pieces() * sizeof(piece));
        std::allocator_traits<Units>::deallocate(units, reinterpret_cast<map_unit*>(table), size);
    }

private:
    map_table(int bits, int in_piece, std::size_t own_bytes) noexcept
        : map_garbage(kind::table, own_bytes + (sizeof(bucket) << bits)),
          bits_(bits),
          in_piece_(in_piece),
          shift_(static_cast<unsigned>(64 - bits)),
          piece_mask_((1U << in_piece) - 1) {}

    int bits_;
    int in_piece_;
    unsigned shift_;       // of a hash to an index
    unsigned piece_mask_;  // of an index to its place in a piece
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
