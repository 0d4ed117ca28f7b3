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
#include <optional>
#include <span>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// A bucket is changed in four ways, each decided by one compare-exchange; nobody ever waits for another thread.
//   insert   reserve a free slot (header), store the entry, publish its tag (header). The publishing exchange is from a
//            header under which the key was seen to be absent, so it decides uniqueness: a key can only be added by
//            changing a state of that header, and an erased entry never comes back. No free slot: the overflow block
//            is replaced together with the header by one exchange of 16 bytes.
//   replace  nodes: exchange the slot word from the old node to the new one. The header does not move.
//            stamped nodes: exchange value and stamp. Wherever the node is linked, alive means in the map.
//            pairs: as an insert, whose publishing exchange frees the old slot too (version + 1).
//   erase    nodes: mark the slot word dead: the entry is gone. Then free the slot (header, version + 1), which anybody may do.
//            stamped nodes: mark the stamp dead: the entry is gone. Then any writer of its key, or that needs its slot, takes it
//            out as above, the eraser until it is out; a move carries it along.
//            pairs: free the slot (header, version + 1).
//   move     set `moved` (header); nodes: then freeze the word of each published slot. What the bucket holds is now fixed, so
//            every helper computes the same children: two of one bucket in a table that grows, one of two buckets in one that
//            shrinks. Only the thread that set `moved` of the first bucket may write the slots of a child, and it does so
//            before it gives the child's header its first version. Who cannot wait for that starts the child with all its
//            entries in an overflow block, which takes one exchange, and all slots as reserved: the other will give them back.
//            If it gets no memory it leaves the child orphaned instead, to be started with free slots.
//            The first version comes once, whoever gives it. When all children have it, the headers of the sources become `done`.
//            Threads use a child only after its source is done. A helper that wakes up late fails at every step.
// A lookup loads the header and looks at each slot whose tag fits. A pair it copies, and loads the header again: the version
// shows that the slot was published all the time, so that the copy is whole. A node it protects, and loads word and header
// again: the word shows that the node was not retired when it was protected. Entries change their place in a table only with
// the version, so that a key which is not where the header showed it has been erased meanwhile: a miss needs no second look.
//
// Invariants:
//   I1  A key is in at most one published slot (nodes: with a live word, stamped: and alive), or in the overflow block, of one
//       bucket that is not done.
//   I2  A node is retired once: by whoever took it out of its slot word or block; a node that was ever in a slot and was
//       not published is retired too, not freed, since a late reader may have seen its address.
//   I3  A table is retired when the root has left it, a block when it was replaced or its bucket is done.
//   I4  The table after next does not exist: growing and shrinking begin in the root only.
//   I5  A reserved slot is written by the thread that reserved it alone; in a bucket with version 0 of a child table, all slots
//       are the mover's, who set `moved` of its first source; or nobody's, if it is orphaned.
// Edges:
//   E1  a node is filled, its address stored in a slot or block; or a slot marked dead
//       -> whoever loads that word or block reads the node; or knows what was done before it was erased
//   E2  the words of a slot are stored, then the header publishes it  -> whoever sees the tag sees at least those words
//   E3  a header freed the slot, its next owner stores a word -> whoever sees that word sees the new version
//   E4  a header freed a slot, became moved or done       -> whoever sees it sees what was decided before
//   E5  a table is filled, root or next points to it      -> whoever loads the pointer uses the table
//   E6  the bins are filled, their pointer is published   -> whoever loads the pointer uses them
//   E7  value and stamp of a node are changed (seq_cst)   -> whoever loads one of them sees what was done before
// Every change of a header is a read-modify-write: who acquires a header acquires all that was released in it before, whatever
// the order of the changes in between. Header and overflow block together are changed seq_cst, so that needs no mark.

namespace weir::inline v0 {
namespace detail {

template <class Key, class T, class Hash, class KeyEqual, class Allocator>
class map_core {
public:
    using storage = map_storage<Key, T, Hash>;
    using entry = typename storage::entry;
    using node = typename storage::node;
    using item = typename storage::item;
    using layout = typename storage::header;
    using table = map_table<storage>;
    using block = typename table::block;
    using bucket = typename table::bucket;
    using bin = map_garbage_bin<node>;
    static constexpr bool in_slots = storage::in_slots;
    static constexpr bool stamped = storage::stamped;
    static constexpr bool keeps_hash = storage::keeps_hash;
    static constexpr int slots = layout::slots;

    /// A node that is being prepared; not yet in the map, or taken back. Or, stamped, a new value alone.
    class node_draft {
    public:
        explicit node_draft(map_core& core) noexcept : core_(core) {}
        node_draft(node_draft const&) = delete;
        node_draft& operator=(node_draft const&) = delete;
        ~node_draft() { drop(); }

        template <class K, class... Args>
        void make(std::uint64_t hash, K&& key, Args&&... args) {
            drop();
            node_ = core_.make_node(hash, std::forward<K>(key), std::forward<Args>(args)...);
            if constexpr (stamped) {
                word_ = node_->value.load(std::memory_order_relaxed);  // relaxed: nobody else sees it yet
            }
        }
        /// For the place of an entry with this key, unless that can be changed in place: then only the value is needed.
        template <class K, class V>
        void make_instead(std::uint64_t hash, K&& key, V&& value) {
            if constexpr (stamped) {
                word_ = map_word(std::make_from_tuple<T>(std::forward_as_tuple(std::forward<V>(value))));
            } else {
                make(hash, std::forward<K>(key), std::forward<V>(value));
            }
        }
        [[nodiscard]] node* get() const noexcept { return node_; }
        [[nodiscard]] Key const& key() const noexcept { return storage::key_of(*node_); }
        [[nodiscard]] item as_item(std::uint64_t hash) const noexcept { return {hash, node_}; }
        [[nodiscard]] std::uint64_t word() const noexcept { return word_; }
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
        std::uint64_t word_ = 0;
        bool seen_ = false;
    };

    /// A pair that is being prepared.
    class pair_draft {
    public:
        explicit pair_draft(map_core&) noexcept {}
        pair_draft(pair_draft const&) = delete;
        pair_draft& operator=(pair_draft const&) = delete;

        template <class K, class... Args>
        void make(std::uint64_t, K&& key, Args&&... args) {
            // As std::pair does it, where conversions are the caller's business.
            item_ = storage::pack(std::make_from_tuple<Key>(std::forward_as_tuple(std::forward<K>(key))),
                                  std::make_from_tuple<T>(std::forward_as_tuple(std::forward<Args>(args)...)));
            storage::unpack(item_, shown_);
            empty_ = false;
        }
        template <class K, class V>
        void make_instead(std::uint64_t hash, K&& key, V&& value) {
            make(hash, std::forward<K>(key), std::forward<V>(value));
        }
        [[nodiscard]] Key const& key() const noexcept { return shown_.value.first; }
        [[nodiscard]] item const& as_item(std::uint64_t) const noexcept { return item_; }
        [[nodiscard]] bool empty() const noexcept { return empty_; }
        void release() noexcept {}

    private:
        entry shown_;
        item item_;
        bool empty_ = true;
    };
    using draft = std::conditional_t<in_slots, pair_draft, node_draft>;

    struct decision {  // neither: it stays as it is
        bool erase = false;
        draft* put = nullptr;
    };

    /// `shrink_at`: the part of its room below which a table is halved; 0: never.
    map_core(std::uint64_t seed, double shrink_at, Hash hash, KeyEqual equal, Allocator allocator)
        : shrink_at_(shrink_at), hash_(std::move(hash), seed), equal_(std::move(equal)), allocator_(std::move(allocator)) {}
    map_core(map_core const&) = delete;
    map_core& operator=(map_core const&) = delete;
    ~map_core();

    [[nodiscard]] static constexpr std::size_t max_size() noexcept { return std::size_t{1} << 38; }
    [[nodiscard]] auto const& hasher() const noexcept { return hash_; }
    [[nodiscard]] KeyEqual const& equal() const noexcept { return equal_; }
    [[nodiscard]] Allocator const& allocator() const noexcept { return allocator_; }

    /// Calls `use(entry const&)` with the entry `same(key)` accepts, protected meanwhile. Whether there is one.
    template <class Same, class Use>
    bool look_up(std::uint64_t hash, Same const& same, Use&& use) const;

    /// Has the processor fetch what look-ups of these hashes are going to read. A hint: whatever changes meanwhile is looked up
    /// as ever.
    void bring_near(std::span<std::uint64_t const> hashes) const;

    /// Asks `decide(entry const*)` what to do with the entry, null if absent, until it is done as decided in one step.
    template <class Same, class Decide>
    void mutate(std::uint64_t hash, Same const& same, Decide&& decide);

    /// Calls `use(entry const&)` for each entry, in the order of hashes. Exact: a bucket is seen at one moment, so that no
    /// entry comes twice; otherwise, of nodes, one protected entry at a time, and a bucket that changes is begun again.
    template <bool Exact, class Use>
    void walk(Use&& use) const;

    [[nodiscard]] std::size_t size() const noexcept;
    /// Grows until so many entries fit; never shrinks below that by itself from now on.
    void reserve(std::size_t entries);
    /// Shrinks to what the present entries need, however much was reserved.
    void shrink_to_fit();
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
    [[nodiscard]] std::uint64_t shrinks() const noexcept {
        return shrinks_.load(std::memory_order_relaxed);  // relaxed: a count
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

    // What an operation protects: the table always, the others when they are needed.
    struct no_pin {
        explicit no_pin(hazard_pointer_domain&) noexcept {}
    };
    struct entry_pin : hazard_pointer {
        explicit entry_pin(hazard_pointer_domain& d) : hazard_pointer(make_hazard_pointer(d)) {}
    };
    using pin_of_entry = std::conditional_t<in_slots, no_pin, entry_pin>;
    struct pins {
        explicit pins(hazard_pointer_domain& d) : domain(d), root(make_hazard_pointer(d)), entry(d) {}
        hazard_pointer& next() { return lazily(&rare::next); }
        hazard_pointer& overflow() { return lazily(&rare::overflow); }
        hazard_pointer& second_overflow() { return lazily(&rare::second_overflow); }
        /// Goes on to the next table. The protections change hands: copied, both could be missed by one sweep.
        void step() noexcept { root.swap(rare_->next); }

        hazard_pointer_domain& domain;
        hazard_pointer root;                        // the table of the operation
        [[no_unique_address]] pin_of_entry entry;  // the node in hand

    private:
        struct rare {
            hazard_pointer next;             // the table after it
            hazard_pointer overflow;         // the overflow block in hand
            hazard_pointer second_overflow;  // that of a neighbour
        };
        hazard_pointer& lazily(hazard_pointer rare::*which) {
            if (!rare_) {
                rare_.emplace();
            }
            hazard_pointer& h = (*rare_).*which;
            if (h.empty()) {
                h = make_hazard_pointer(domain);
            }
            return h;
        }
        std::optional<rare> rare_;
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

    struct seen_pair {
        bool there = false;
        entry copy;
    };
    struct seen_node {
        bool there = false;
        node* at = nullptr;        // protected
        map_slot::word word = 0;  // of its slot
    };
    struct seen_stamped : seen_node {
        std::uint64_t value = 0;
        std::uint64_t stamp = 0;
        std::optional<entry> view;
    };
    struct sight : std::conditional_t<in_slots, seen_pair, std::conditional_t<stamped, seen_stamped, seen_node>> {
        int slot = slots;           // slots: in the overflow block
        map_overflow::word overflow = 0;  // its block is protected; 0: it was not needed
        std::size_t at_in_block = 0;

        [[nodiscard]] entry const& shown() const noexcept {
            if constexpr (in_slots) {
                return this->copy;
            } else if constexpr (stamped) {
                return *this->view;
            } else {
                return *this->at;
            }
        }
        /// Takes a node that is protected. False: it is dead.
        bool take(node* n) noexcept {
            this->at = n;
            if constexpr (stamped) {
                this->stamp = n->stamp.load(std::memory_order_acquire);  // E7 acquire
                if ((this->stamp & node::dead) != 0) {
                    return false;
                }
                this->value = n->value.load(std::memory_order_acquire);  // E7 acquire
                this->view.emplace(n->key, this->value);
            }
            return true;
        }
        [[nodiscard]] bool in_slot() const noexcept { return this->there && slot < slots; }
        [[nodiscard]] bool in_block() const noexcept { return this->there && slot >= slots; }
    };
    enum class search_end : unsigned char { absent, present, dead, changed };  // dead: a node that writers have to bury
    enum class who : unsigned char { reader, writer };

    class reservation;  // a slot that is being filled

    /// Has the processor fetch what a bucket has behind its first cache line, while it waits for that one.
    static void bring_rest_near(bucket const& b) noexcept {
        for (std::size_t at = 64; at < sizeof(bucket); at += 64) {
            __builtin_prefetch(reinterpret_cast<std::byte const*>(&b) + at);
        }
    }

    [[nodiscard]] table* pin_root(pins& pin) const;
    [[nodiscard]] table* pin_next(pins& pin, table* from) const;
    template <who Who, class Same>
    search_end search(bucket& b, std::uint64_t header, std::uint64_t hash, Same const& same, pins& pin, sight& out) const;
    [[nodiscard]] static bool overflow_changed(bucket& b, std::uint64_t header, map_overflow::word w) noexcept;
    [[nodiscard]] static map_overflow::word pin_overflow(bucket& b, std::uint64_t header, hazard_pointer& hazard);
    template <who Who, class Same, class Hazard>
    static search_end search_overflow(bucket& b, std::uint64_t header, std::uint64_t hash, Same const& same, pin_of_entry& pin,
                                      Hazard const& hazard, sight& out);
    template <class Same, class Use>
    search_end look_up_in_overflow(bucket& b, std::uint64_t header, std::uint64_t hash, Same const& same, Use&& use) const;
    enum class slot_end : unsigned char { gone, there, dead, changed };
    template <who Who>
    slot_end look_at_slot(bucket& b, int slot, std::uint64_t header, pin_of_entry& pin, sight& out) const;
    template <who Who, class Same>
    search_end search_slots(bucket& b, std::uint64_t header, std::uint64_t hash, Same const& same, pin_of_entry& pin,
                            sight& out) const;
    [[nodiscard]] static bool same_hash(sight const& seen, std::uint64_t hash) noexcept;
    template <class Same, class Use>
    bool look_up_again(std::uint64_t hash, Same const& same, Use&& use) const;
    template <class Same, class Decide>
    bool mutate_bucket(table& t, bucket& b, std::uint64_t hash, Same const& same, Decide& decide, pins& pin, bool& killed);
    bool change(table& t, bucket& b, std::uint64_t header, std::uint64_t hash, sight const& seen, decision const& d, pins& pin,
                bool& killed);
    bool change_stamped(sight const& seen, decision const& d) noexcept;
    bool bury(table& t, bucket& b, std::uint64_t header, std::uint64_t hash, sight const& seen, pins& pin);
    bool replace_node(bucket& b, sight const& seen, draft& d) noexcept;
    bool erase_node(bucket& b, sight const& seen) noexcept;
    bool erase_pair(bucket& b, sight const& seen, std::uint64_t header) noexcept;
    static constexpr auto at_once = [] { return true; };
    template <class Before>
    bool change_overflow(table& t, bucket& b, std::uint64_t header, std::uint64_t hash, sight const& seen, decision const& d,
                         pins& pin, Before const& before);
    [[nodiscard]] bool free_any_dead_slot(table const& t, bucket& b, std::uint64_t header, std::uint64_t hash, pins& pin) noexcept;
    static void free_dead_slot(bucket& b, int slot) noexcept;
    class held_nodes;
    class held_pairs;
    using held_entries = std::conditional_t<in_slots, held_pairs, held_nodes>;
    bool hold_nodes(bucket& b, std::uint64_t header, pins& pin, held_nodes& held) const;
    bool hold_pairs(bucket& b, std::uint64_t header, pins& pin, held_pairs& held) const;
    template <class Use>
    bool visit_nodes(bucket& b, std::uint64_t header, pins& pin, Use& use) const;

    void create_root(std::size_t entries);
    void after_insert(table& t, bool spilled) noexcept;
    void after_erase(table& t) noexcept;
    [[nodiscard]] bool may_resize(table const& t) const noexcept;
    void try_resize(table& t, int bits) noexcept;
    void resize(table& t, int bits);
    void help(table& from, table& to, pins& pin, after_pins& later);
    bool try_move(table& from, table& to, std::size_t index, bool help_too, pins& pin, after_pins& later);
    struct source;
    class heir;
    class new_block;
    void move_bucket(table& from, table& to, std::size_t index, pins& pin);
    template <class Give>
    bool take_slots(source const& from, pins& pin, Give const& give) const;
    bool start_all(std::span<source> sources, std::span<bucket> children, table const& to, std::size_t first_child, bool mine,
                   pins& pin);
    void start(bucket& child, heir const& from, new_block& spilled, bool mine) noexcept;
    static void orphan(bucket& child) noexcept;
    template <class F>
    static void for_each_child(table const& from, table& to, std::size_t index, F const& f);
    void destroy_entries(bucket& b) noexcept;
    [[nodiscard]] static int bits_for(std::size_t entries) noexcept;
    /// Entries that a table of 2^bits buckets holds before the map grows.
    [[nodiscard]] static constexpr std::size_t room(int bits) noexcept {
        return (storage::doubled_load << bits) / 2;
    }

    [[nodiscard]] std::uint64_t hash_of(node const& n) const noexcept
        requires(!in_slots)
    {
        if constexpr (keeps_hash) {
            return n.hash;
        } else {
            return hash_(storage::key_of(n));
        }
    }
    [[nodiscard]] std::uint64_t hash_of(item const& i) const noexcept {
        if constexpr (in_slots) {
            entry e;
            storage::unpack(i, e);
            return hash_(e.value.first);
        } else {
            return i.hash;
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
    void reclaim([[maybe_unused]] node* n) noexcept {
        if constexpr (!in_slots) {
            destroy(n);
        }
    }
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
    std::atomic<int> least_bits_{table::least_bits};  // of the smallest table to shrink to
    double const shrink_at_;
    std::atomic<std::uint64_t> growths_{0};
    std::atomic<std::uint64_t> shrinks_{0};
    std::atomic<std::uint64_t> failed_growths_{0};  // a table, or a piece of one, that could not be allocated
    [[no_unique_address]] seeded_hash<Hash> hash_;
    [[no_unique_address]] KeyEqual equal_;
    [[no_unique_address]] Allocator allocator_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
