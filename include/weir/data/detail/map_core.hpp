// weir (BSL-1.0). detail::map_core: the algorithm of the lock-free map.
#ifndef WEIR_DATA_DETAIL_MAP_CORE_HPP
#define WEIR_DATA_DETAIL_MAP_CORE_HPP
#include <weir/base/concepts.hpp>
#include <weir/base/detail/stripe.hpp>
#include <weir/base/hash.hpp>
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/detail/map_bucket.hpp>
#include <weir/data/detail/map_garbage.hpp>
#include <weir/data/detail/map_table.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// A bucket is changed in four ways, each decided by one compare-exchange; nobody ever waits for another thread.
//   insert   reserve a free slot (header), store the node, publish its tag (header). The publishing exchange is from a
//            header under which the key was seen to be absent, so it decides uniqueness: a key can only be added by
//            changing a state of that header, and an erased entry never comes back. No free slot: the overflow block
//            is replaced together with the header by one exchange of 16 bytes.
//   replace  exchange the slot word from the old node to the new one. The header does not move.
//   erase    mark the slot word dead: the entry is gone. Then free the slot (header, version + 1), which anybody may do.
//   move     set `moved` (header), then freeze the word of each published slot: what the bucket holds is now fixed, so
//            every helper computes the same two children. A child's slots go from zero to their node, then its header
//            from zero to its first value; both steps succeed once, whoever takes them. Then the header becomes `done`.
//            Threads use a child only after its source is done. A helper that wakes up late fails at every step.
// A lookup loads the header, protects the node of each slot whose tag fits, and loads word and header again: the word shows
// that the node was not retired when it was protected, the header that the slot was published all the time. Entries never
// change their place while they live in a table, so that a key which is not where the header showed it has been erased
// meanwhile: a miss needs no second look.
//
// Invariants:
//   I1  A key is in at most one published slot with a live word, or in the overflow block, of one bucket that is not done.
//   I2  A node is retired once: by whoever took it out of its slot word or block; a node that was ever in a slot and was
//       not published is retired too, not freed, since a late reader may have seen its address.
//   I3  A table is retired when the root has left it, a block when it was replaced or its bucket is done.
//   I4  The table after next does not exist: growth begins in the root only.
// Edges:
//   E1  a node is filled, its address stored in a slot or block; or a slot marked dead
//       -> whoever loads that word or block reads the node; or knows what was done before it was erased
//   E2  a slot word is stored, then the header publishes it  -> whoever sees the tag sees at least that word
//   E3  a header freed the slot, its next owner stores a word -> whoever sees that word sees the new version
//   E4  a header freed a slot, became moved or done       -> whoever sees it sees what was decided before
//   E5  a table is filled, root or next points to it      -> whoever loads the pointer uses the table
//   E6  the bins are filled, their pointer is published   -> whoever loads the pointer uses them
// Every change of a header is a read-modify-write: who acquires a header acquires all that was released in it before, whatever
// the order of the changes in between. Header and overflow block together are changed seq_cst, so that needs no mark.

namespace weir::inline v0 {
namespace detail {

template <class Key, class T, class Hash, class KeyEqual, class Allocator>
class map_core {
public:
    using value_type = std::pair<Key const, T>;
    // Moving a bucket needs each entry's hash and must not fail: kept in the node unless it is cheap and cannot throw.
    static constexpr bool keeps_hash = !(std::is_nothrow_invocable_v<Hash const&, Key const&> &&
                                         std::is_trivially_copyable_v<Key> && sizeof(Key) <= 2 * sizeof(void*));
    using node = map_node<value_type, keeps_hash>;
    using block = map_block<node>;
    using table = map_table<node>;
    using bucket = typename table::bucket;
    using bin = map_garbage_bin<node>;

    /// A node that is being prepared; not yet in the map, or taken back.
    class draft {
    public:
        explicit draft(map_core& core) noexcept : core_(core) {}
        draft(draft const&) = delete;
        draft& operator=(draft const&) = delete;
        ~draft() { drop(); }

        template <class K, class... Args>
        void make(std::uint64_t hash, K&& key, Args&&... args) {
            drop();
            node_ = core_.make_node(hash, std::forward<K>(key), std::forward<Args>(args)...);
        }
        [[nodiscard]] node* get() const noexcept { return node_; }
        [[nodiscard]] bool empty() const noexcept { return node_ == nullptr; }
        void mark_seen() noexcept { seen_ = true; }  // its address was in a slot
        void release() noexcept {
            node_ = nullptr;
            seen_ = false;
        }
        void drop() noexcept {
            if (node_ != nullptr) {
                seen_ ? core_.retire(node_) : core_.destroy(node_);
                release();
            }
        }

    private:
        map_core& core_;
        node* node_ = nullptr;
        bool seen_ = false;
    };

    enum class action : unsigned char { keep, put, erase };
    struct decision {
        action what = action::keep;
        draft* with = nullptr;  // for put
    };

    map_core(std::uint64_t seed, Hash hash, KeyEqual equal, Allocator allocator)
        : hash_(std::move(hash), seed), equal_(std::move(equal)), allocator_(std::move(allocator)) {}
    map_core(map_core const&) = delete;
    map_core& operator=(map_core const&) = delete;
    ~map_core();

    [[nodiscard]] static constexpr std::size_t max_size() noexcept { return std::size_t{1} << 38; }
    [[nodiscard]] auto const& hasher() const noexcept { return hash_; }
    [[nodiscard]] KeyEqual const& equal() const noexcept { return equal_; }
    [[nodiscard]] Allocator const& allocator() const noexcept { return allocator_; }

    /// Calls `use(node const&)` with the entry `same(key)` accepts, protected meanwhile. Whether there is one.
    template <class Same, class Use>
    bool look_up(std::uint64_t hash, Same const& same, Use&& use) const;

    /// Has the processor fetch what look-ups of these hashes are going to read. A hint: whatever changes meanwhile is looked up
    /// as ever.
    void bring_near(std::span<std::uint64_t const> hashes) const;

    /// Asks `decide(node const*)` what to do with the entry, null if absent, until it is done as decided in one step.
    template <class Same, class Decide>
    void mutate(std::uint64_t hash, Same const& same, Decide&& decide);

    /// Calls `use(node const&)` for each entry, in the order of hashes. Exact: a bucket is seen at one moment, so that no
    /// entry comes twice; otherwise with one protected entry at a time, and a bucket that changes is begun again.
    template <bool Exact, class Use>
    void walk(Use&& use) const;

    [[nodiscard]] std::size_t size() const noexcept;
    void reserve(std::size_t entries);
    void quiesce();
    struct map_shape {
        std::size_t buckets = 0;
        std::size_t overflowed = 0;  // entries outside of slots
        std::size_t longest = 0;     // entries of the fullest bucket
    };
    [[nodiscard]] map_shape measure() const;  // O(buckets); not exact beside writers
    [[nodiscard]] std::uint64_t growths() const noexcept {
        return growths_.load(std::memory_order_relaxed);  // relaxed: a count
    }
    [[nodiscard]] std::uint64_t failed_growths() const noexcept {
        return failed_growths_.load(std::memory_order_relaxed);  // relaxed: a count
    }
    [[nodiscard]] map_pending pending() const noexcept;

private:
    template <class U>
    using rebound = typename std::allocator_traits<Allocator>::template rebind_alloc<U>;
    using nodes_of = std::allocator_traits<rebound<node>>;
    static_assert(std::is_same_v<typename nodes_of::pointer, node*>, "weir::lock_free_map: the allocator must use plain pointers");

    // What an operation protects. The table and the node always, the others when they are needed.
    struct pins {
        explicit pins(hazard_pointer_domain& d) : domain(d), root(make_hazard_pointer(d)), entry(make_hazard_pointer(d)) {}
        hazard_pointer& next() { return lazily(next_); }
        hazard_pointer& overflow() { return lazily(overflow_); }
        /// Goes on to the next table. The protections change hands: copied, both could be missed by one sweep.
        void step() noexcept { root.swap(next_); }

        hazard_pointer_domain& domain;
        hazard_pointer root;   // the table of the operation
        hazard_pointer entry;  // the node in hand

    private:
        hazard_pointer& lazily(hazard_pointer& h) {
            if (h.empty()) {
                h = make_hazard_pointer(domain);
            }
            return h;
        }
        hazard_pointer next_;      // the table after it
        hazard_pointer overflow_;  // the overflow block in hand
    };

    // A table that this operation finished moving is protected by its own pins: sweep when those are gone.
    struct after_pins {
        explicit after_pins(map_core& c) noexcept : core(c) {}
        after_pins(after_pins const&) = delete;
        after_pins& operator=(after_pins const&) = delete;
        ~after_pins() {
            if (sweep) {
                core.my_bin().sweep_rest(*core.domain_, core);
            }
        }
        map_core& core;
        bool sweep = false;
    };

    struct sight {  // what a search found
        node* found = nullptr;
        map_slot::word word = 0;
        int slot = -1;             // map_header::slots: in the overflow block
        block* overflow = nullptr;  // protected, if the header shows one
        std::size_t at = 0;         // where in the overflow block
    };
    enum class search_end : unsigned char { absent, present, changed };
    enum class who : unsigned char { reader, writer };

    class reservation;  // a slot that is being filled

    [[nodiscard]] table* pin_root(pins& pin) const;
    [[nodiscard]] table* pin_next(pins& pin, table* from) const;
    template <who Who, class Same>
    search_end search(bucket& b, std::uint64_t header, std::uint64_t hash, Same const& same, pins& pin, sight& out) const;
    template <class Same, class Decide>
    bool mutate_bucket(table& t, bucket& b, std::uint64_t hash, Same const& same, Decide& decide, pins& pin);
    bool change_slot(bucket& b, sight const& seen, decision const& d) noexcept;
    bool change_overflow(bucket& b, std::uint64_t header, std::uint64_t hash, sight const& seen, decision const& d);
    [[nodiscard]] static bool free_any_dead_slot(bucket& b, std::uint64_t header) noexcept;
    static void free_dead_slot(bucket& b, int slot) noexcept;
    class held_entries;
    bool hold_entries(bucket& b, std::uint64_t header, pins& pin, held_entries& held) const;
    template <class Use>
    bool visit_entries(bucket& b, std::uint64_t header, pins& pin, Use& use) const;

    void create_root(std::size_t entries);
    void after_insert(table& t, bool spilled) noexcept;
    void grow(table& t);
    void help(table& from, table& to, pins& pin, after_pins& later);
    bool try_move(table& from, table& to, std::size_t index, bool help_too, pins& pin, after_pins& later);
    void move_bucket(table& from, table& to, std::size_t index, pins& pin);
    void move_frozen(bucket& source, std::uint64_t frozen, bucket* children, int child_bits, pins& pin);
    struct inheritance;
    template <class Side>
    void spill(block& old, inheritance& left, inheritance& right, Side const& side);
    void settle(bucket& child, inheritance const& heir) noexcept;
    void destroy_entries(bucket& b) noexcept;
    [[nodiscard]] static int bits_for(std::size_t entries) noexcept;
    // Entries that a table of 2^bits buckets holds before the map grows: 4 for 6 slots. Then one bucket in nine overflows.
    [[nodiscard]] static constexpr std::size_t room(int bits) noexcept { return std::size_t{4} << bits; }

    [[nodiscard]] std::uint64_t hash_of(node const& n) const noexcept {
        if constexpr (keeps_hash) {
            return n.hash;
        } else {
            return hash_(n.value.first);
        }
    }
    template <class K, class... Args>
    [[nodiscard]] node* make_node(std::uint64_t hash, K&& key, Args&&... args);
    void destroy(node* n) noexcept;
    void drop_block(block* b) noexcept {
        rebound<map_unit> units(allocator_);
        block::drop(units, b);
    }
    void drop_table(table* t) noexcept {
        rebound<map_unit> units(allocator_);
        rebound<bucket> buckets(allocator_);
        table::drop(units, buckets, t);
    }
    void retire(node* n) noexcept { my_bin().retire(*n, *domain_, *this); }
    void retire(map_garbage* g) noexcept { my_bin().retire(*g, *domain_, *this); }
    friend bin;
    void reclaim(node* n) noexcept { destroy(n); }
    void reclaim(map_garbage* g) noexcept {
        g->what == map_garbage::kind::block ? drop_block(static_cast<block*>(g)) : drop_table(static_cast<table*>(g));
    }
    [[nodiscard]] bin& my_bin() const noexcept {
        return bins_.load(std::memory_order_acquire)[this_thread_slot() & (bin_count_ - 1)];  // E6 acquire
    }

    std::atomic<table*> root_{nullptr};
    std::atomic<bin*> bins_{nullptr};  // allocated before the first table
    std::size_t const bin_count_ = bin::count_for_this_machine();
    hazard_pointer_domain* domain_ = &hazard_pointer_default_domain();
    std::atomic<std::uint64_t> growths_{0};
    std::atomic<std::uint64_t> failed_growths_{0};  // a larger table that could not be allocated
    [[no_unique_address]] seeded_hash<Hash> hash_;
    [[no_unique_address]] KeyEqual equal_;
    [[no_unique_address]] Allocator allocator_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
