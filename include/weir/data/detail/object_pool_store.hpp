// weir (BSL-1.0). object_pool_store: the idle objects of a pool: magazines per thread, a depot between them, and bounds that hold exactly.
#ifndef WEIR_DATA_DETAIL_OBJECT_POOL_STORE_HPP
#define WEIR_DATA_DETAIL_OBJECT_POOL_STORE_HPP
#include <weir/base/detail/backoff.hpp>
#include <weir/base/detail/stripe.hpp>
#include <weir/data/detail/object_pool_block.hpp>
#include <weir/data/detail/object_pool_magazine.hpp>
#include <weir/data/detail/stat_counter.hpp>
#include <weir/data/detail/stat_lanes.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <new>
#include <optional>
#include <thread>

// Source:   magazines and depot as in object_pool_block.hpp; the thread's word that finds its block is a lane of stat_lanes.hpp.
//
// Bounds without a shared counter in every call. A slot is the right to hold one idle item. Slots are reserved from one number,
// `reserved_`, up to a magazine's worth at a time; a block has its `limit` of them whether it holds items or not, and a magazine in
// the depot has as many as items. They move with the items from blocks to the depot and back. So items <= reserved <= bound
// at any moment; and what a thread may have reserved and not used is two magazines. Bytes are reserved likewise, in
// units of 1/64 of the bound or what an item needs.
// A magazine is 1/64 of the bound, at most 16: a thread keeps at most 1/32 of it to itself. If that is less than one item (or
// `alone` says so), there are no blocks, and each item goes to the depot in a magazine of its own.
//
// Threads that are gone: a block stays with its slot (stripe.hpp), and the next thread with this slot goes on with it. Who finds no
// item, or no slot, looks for blocks whose slot nobody has, takes the slot for a moment, and moves the items to the depot.
//
// A depot is two stacks of magazines, full and empty ones. A magazine that comes out of one is ours only if its state says that
// it was in there and we were the one to change that: so a stack that hands out an address twice, or too late, does no harm but
// that items in a magazine it has forgotten wait for the next trim.
//
// Invariant: sum of limits of blocks + sum of counts of full magazines <= reserved_ <= most_items.
// Invariant: an idle item is in exactly one block or full magazine.
//
// Edges (who hands what to whom):
//   E1  a block is linked, whole                                   -> whoever walks over all blocks
//   E2  a magazine is put into a stack, its state set              -> who changes its state takes it out
//   E3  a visitor (a thread without a block) has left              -> who has shut the store finds no visitor
//   E4  an exiting thread has given its slot back (stripe.hpp)      -> who adopts its block; who has adopted gives it back ->
//       the next owner

namespace weir::inline v0 {
namespace detail {

struct object_bounds {
    std::size_t items;
    std::size_t bytes;  // 0: items have no size
    bool alone;         // each item by itself through the depot
    bool asymmetric;    // gates by membarrier
};

struct object_holdings {
    std::uint64_t hits = 0;
    std::uint64_t kept = 0;
    std::size_t items = 0;
    std::size_t bytes = 0;
};

/// Threads: everything from any thread at once.
template <class Depot>
class object_store {
public:
    static constexpr std::size_t most_magazines = 64'000;  // a depot's numbers have 16 bits; the rest is for those under way

    /// Throws: std::bad_alloc, std::length_error.
    explicit object_store(object_bounds b)
        : bounds_(b),
          magazine_(b.alone ? 0 : std::min(object_magazine_size, b.items / 64)),
          bytes_unit_(b.bytes / 64 + 1),
          cell_(stat_cell::acquire()),
          full_(nodes(b, magazine_)),
          empty_(nodes(b, magazine_)) {}
    object_store(object_store const&) = delete;
    object_store& operator=(object_store const&) = delete;
    /// Nobody may be using it, and it is empty: closed.
    ~object_store();

    /// An idle item, or null.
    /// Progress: lock-free; wait-free but once per magazine. Cost: about ten loads and stores, mostly.
    [[nodiscard]] object_item* take() noexcept {
        if (auto* const b = own(); b != nullptr && b->enter()) [[likely]] {
            if (auto const n = object_read(b->count); n != 0 && !sized()) [[likely]] {
                auto* const item = pop_from(*b, n);
                b->leave();
                return item;
            }
            return take_within(*b);
        }
        return take_otherwise();
    }

    /// False: there is no room, and nothing has happened. If true, the caller has no right to touch the store any more
    /// unless something else keeps it alive.
    /// Progress, cost: as take().
    [[nodiscard]] bool keep(object_item* item) noexcept {
        if (auto* const b = own(); b != nullptr && b->enter()) [[likely]] {
            if (auto const n = object_read(b->count); n < object_read(b->limit) && !sized()) [[likely]] {
                push_to(*b, n, item);
                b->leave();
                return true;
            }
            return keep_within(*b, item);
        }
        return keep_otherwise(item);
    }

    /// A stay in which the store is not closed under the caller.
    class visit {
    public:
        explicit visit(object_store& s) noexcept : store_(s) {
            store_.visitors_.fetch_add(1);  // seq_cst, with shut_: of a visitor and who shuts, one sees the other
            open_ = !store_.shut_.load();
        }
        visit(visit const&) = delete;
        visit& operator=(visit const&) = delete;
        ~visit() { store_.visitors_.fetch_sub(1, std::memory_order_release); }  // E3 release
        [[nodiscard]] bool open() const noexcept { return open_; }

    private:
        object_store& store_;
        bool open_;
    };
    /// take() and keep() through the depot, within a visit that is open.
    [[nodiscard]] object_item* take_visiting() noexcept;
    [[nodiscard]] bool keep_visiting(object_item* item) noexcept;

    /// Takes out items until at most n are left. Blocks of other threads are shut meanwhile: those find no item and no room.
    /// Progress: blocks while another thread is inside its block or trims.
    [[nodiscard]] object_chain trim(std::size_t n) noexcept;
    /// Takes out what nobody has needed since the last call: as many items as there always were in the depot, and all
    /// that is in blocks which nobody has used.
    [[nodiscard]] object_chain shrink() noexcept;
    /// Takes out all items; from now on there is none and no room.
    [[nodiscard]] object_chain close() noexcept;
    [[nodiscard]] bool closed() const noexcept {
        return closed_.load(std::memory_order_relaxed);  // relaxed: a hint, the gates decide
    }

    /// Exact at rest.
    [[nodiscard]] object_holdings holdings() const noexcept;
    [[nodiscard]] bool has_blocks() const noexcept { return magazine_ != 0; }

private:
    enum place : unsigned char { nowhere, in_full, in_empty };

    static std::size_t nodes(object_bounds const& b, std::size_t magazine) noexcept {
        return std::min(b.items / std::max<std::size_t>(magazine, 1) + 512, most_magazines + 512);
    }
    static object_block* to_block(std::uint64_t word) noexcept {
        return reinterpret_cast<object_block*>(static_cast<std::uintptr_t>(word));
    }
    [[nodiscard]] object_block* own() const noexcept {
        auto* const word = cell_.own();
        // relaxed: stored by this thread, or by an earlier owner of its slot
        return word != nullptr ? to_block(word->load(std::memory_order_relaxed)) : nullptr;
    }
    [[nodiscard]] bool sized() const noexcept { return bounds_.bytes != 0; }
    [[nodiscard]] bool has_room(object_block const& b, std::size_t bytes) const noexcept {
        return object_read(b.count) < object_read(b.limit) &&
               (!sized() || object_read(b.bytes_limit) - object_read(b.bytes) >= bytes);
    }

    // Of the owner of a block, within its gate.
    static object_item* pop_from(object_block& b, std::size_t n) noexcept {
        object_write(b.count, n - 1);
        return b.items[n - 1];
    }
    static void push_to(object_block& b, std::size_t n, object_item* item) noexcept {
        b.items[n] = item;
        object_write(b.count, n + 1);
        object_write(b.kept, object_read(b.kept) + 1);
    }
    object_item* take_within(object_block& b) noexcept;
    bool keep_within(object_block& b, object_item* item) noexcept;
    bool refill(object_block& b) noexcept;
    bool make_room(object_block& b, std::size_t bytes) noexcept;
    bool unload(object_block& b, std::size_t n) noexcept;
    void settle(object_block& b) noexcept;

    object_item* take_otherwise() noexcept;
    bool keep_otherwise(object_item* item) noexcept;
    object_block* make_own() noexcept;
    bool adopt_exited() noexcept;
    bool adopt(object_block& b) noexcept;

    // Slots and bytes. relaxed, all of them: numbers within a bound, they publish nothing
    static std::size_t reserve(std::atomic<std::size_t>& from, std::size_t most, std::size_t least, std::size_t wanted) noexcept;
    static void give_back(std::atomic<std::size_t>& to, std::size_t n) noexcept {
        if (n != 0) {
            to.fetch_sub(n, std::memory_order_relaxed);  // relaxed: as above
        }
    }

    // The depot.
    static object_magazine* take_out(Depot& stack, place where) noexcept;
    static bool claim(object_magazine& m, place where) noexcept {
        auto seen = static_cast<unsigned char>(where);
        return m.state.compare_exchange_strong(seen, nowhere, std::memory_order_acquire,  // E2 acquire
                                               std::memory_order_relaxed);               // relaxed: not ours, not looked at
    }
    object_magazine* empty_magazine() noexcept;
    void put_back_empty(object_magazine& m) noexcept;
    void put_full(object_magazine& m) noexcept;
    object_magazine* take_full() noexcept;

    // With all gates shut.
    bool shut_all() noexcept;
    void open_all() noexcept;
    void drain_depot(object_chain& out, std::size_t n) noexcept;
    void drain(object_magazine& m, object_chain& out, std::size_t n) noexcept;
    void drain(object_block& b, object_chain& out, std::size_t n) noexcept;
    template <class F>
    void for_each_block(F f) const;

    object_bounds const bounds_;
    std::size_t const magazine_;    // items, 0: there are no blocks
    std::size_t const bytes_unit_;
    stat_cell cell_;                // each thread's word: the address of its block
    std::atomic<bool> closed_{false};
    std::atomic<object_block*> blocks_{nullptr};  // only grows; linked under the mutex
    std::mutex mutex_;              // who shuts gates, or links a block
    alignas(destructive_size) std::atomic<std::size_t> reserved_{0};  // any thread
    std::atomic<std::size_t> bytes_reserved_{0};
    std::atomic<std::size_t> in_depot_{0};        // items in full magazines: counted before they go in, and after they are out
    std::atomic<std::size_t> bytes_in_depot_{0};
    std::atomic<std::size_t> low_{0};             // the least in_depot_ since the last shrink
    std::atomic<object_magazine*> made_{nullptr};   // all magazines, until the end
    std::atomic<std::uint32_t> visitors_{0};
    std::atomic<bool> shut_{false};               // who has all blocks
    counter hits_;                                // of visitors
    counter kept_;
    Depot full_;
    Depot empty_;
};

}  // namespace detail
}  // namespace weir::inline v0

#include <weir/data/detail/object_pool_store_bodies.hpp>

#endif
