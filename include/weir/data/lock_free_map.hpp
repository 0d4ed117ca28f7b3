// weir (BSL-1.0). lock_free_map: a hash map that any number of threads read, change and iterate at once; nobody waits.
#ifndef WEIR_DATA_LOCK_FREE_MAP_HPP
#define WEIR_DATA_LOCK_FREE_MAP_HPP
#include <weir/base/concepts.hpp>
#include <weir/base/hash.hpp>
#include <weir/base/metrics.hpp>
#include <weir/data/detail/map_actions.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// When:     threads share a map of which most keys are read more often than written, or which must not stall while it grows.
// When not: one thread at a time uses it (take a plain map); a value must be changed in place (make it internally
//           synchronised, or replace it); several keys must change together.
// Source:   tags beside slots in one cache line as in the CLHT (David, Guerraoui, Trigonakis, ASPLOS 2015) and xsync's MapOf;
//           copies validated by a version as in a sequence lock (Boehm, MSPC 2012, has its orders); cooperative growth as in
//           Click, "A Lock-Free Hash Table", 2007; ours: reserve, publish and move by one header word, order by hash. detail/map_core.hpp has the algorithm with its invariants and edges.
//
// Linearizable: each operation on one key takes effect in one step between its call and its return. An operation that sees the
// effect of another, as a value or as a missing key, also sees all that the other thread did before it.
// Lock-free: a thread that is suspended anywhere inside an operation named lock-free stops no other thread, on no key. The
// allocator is the one exception: the map asks it for nodes, now and then for a piece of a table.
// Nobody sees half of a value, or one that changes while it is looked at: small ones are copied out, all others are replaced whole.
// Storage: small pairs that can be copied as bytes (numbers, enums, pointers, plain structs; 16 bytes together) stand in the table;
// all others in a node each, that of a value of at most 8 such bytes changed in place. detail/map_storage.hpp has the rules.

namespace weir::inline v0 {

struct lock_free_map_options {
    std::size_t capacity = 0;             // entries to hold without growing, <= max_size(); 0 allocates nothing
    std::optional<std::uint64_t> seed{};  // of the hash; none: random, so that nobody can choose keys that collide
    // The table is halved when the entries need less than this part of it, but never below `capacity` or what was reserved.
    // 0: it only grows. At most 1/4, so that a table which has just been halved is not soon to be doubled again.
    double shrink_at = 0.125;
};

struct lock_free_map_stats {
    std::size_t size = 0;              // entries; exact at rest
    std::size_t buckets = 0;           // of the table in use, six or seven slots each
    double load = 0;                   // entries per slot
    std::size_t longest_chain = 0;     // entries of the fullest bucket
    std::size_t overflowed = 0;        // entries that found no free slot in their bucket
    std::uint64_t growths = 0;         // larger tables made
    std::uint64_t shrinks = 0;         // smaller tables made
    std::uint64_t failed_growths = 0;  // tables, or pieces of them, that could not be allocated when first tried
    std::size_t pending_objects = 0;   // unlinked, not yet freed
    std::size_t pending_bytes = 0;     // and their size, without what the values own
};

template <>
inline constexpr auto stats_fields<lock_free_map_stats> = std::tuple{
    gauge_field("size", "entries", &lock_free_map_stats::size),
    gauge_field("buckets", "buckets of the table", &lock_free_map_stats::buckets),
    gauge_field("load", "entries per slot", &lock_free_map_stats::load),
    gauge_field("longest_chain", "entries of the fullest bucket", &lock_free_map_stats::longest_chain),
    gauge_field("overflowed", "entries that found no free slot", &lock_free_map_stats::overflowed),
    counter_field("growths", "larger tables made", &lock_free_map_stats::growths),
    counter_field("shrinks", "smaller tables made", &lock_free_map_stats::shrinks),
    counter_field("failed_growths", "pieces of tables that could not be allocated", &lock_free_map_stats::failed_growths),
    gauge_field("pending_objects", "objects unlinked and not yet freed", &lock_free_map_stats::pending_objects),
    gauge_field("pending", "size of these", &lock_free_map_stats::pending_bytes, metric_unit::bytes)};

enum class compute_result : unsigned char { unchanged, inserted, assigned, erased };

/// What `lock_free_map::compute` shall do with an entry.
template <class T>
class decision {
public:
    [[nodiscard]] static decision keep() { return {}; }
    [[nodiscard]] static decision assign(T value) {
        decision d;
        d.value_.emplace(std::move(value));
        return d;
    }
    [[nodiscard]] static decision erase() {
        decision d;
        d.erase_ = true;
        return d;
    }

    [[nodiscard]] bool erases() const noexcept { return erase_; }
    [[nodiscard]] std::optional<T>& value() noexcept { return value_; }  // empty unless it assigns

private:
    decision() noexcept {}  // not defaulted: compilers then take the empty value for one that is not initialised
    std::optional<T> value_;
    bool erase_ = false;
};

/// A concurrent hash map.
/// Threads:  every member but constructor and destructor, from any thread at once, also from callbacks of the map itself.
/// Memory:   256 bytes at most while empty, nothing allocated. An entry takes 28 to 57 bytes of table where pairs stand in the
///           table (14 to 29 if they have at most 8 bytes), else a node and 16 to 32 bytes of table; from shrink_at on, more the
///           fewer are left. Erased and replaced values are destroyed soon, by some thread that uses the map; quiesce() does it
///           now. Kept back at any time: a batch (64 KiB of nodes, at most 1024, or 256 KiB of overflow blocks) for each of 4 to
///           64 bins and for each thread suspended within a sweep, and what readers are looking at: a stopped reader keeps one
///           value, one overflow block and two tables, whatever others write.
/// Lifetime: no operation may be running when the destructor begins; it frees everything. Key, T and the allocator may be used
///           by whichever thread frees a node, so nothing in them may depend on the thread.
/// Throws:   what Hash, KeyEqual, the allocator and the constructors of Key and T throw, and std::bad_alloc for a hazard pointer;
///           then the map is as if the call had not been made. Destructors must not throw.
///           A growth that cannot be paid for is put off, and counted in stats().
/// K:        a Key, what converts to one, or what Hash and KeyEqual take if both are transparent.
template <class Key, class T, class Hash = std::hash<Key>, class KeyEqual = std::equal_to<Key>,
          class Allocator = std::allocator<std::pair<Key const, T>>>
    requires hasher_of<Hash, Key> && equivalence_of<KeyEqual, Key> && allocator_for<Allocator>
class lock_free_map {
    using everything = detail::map_actions<Key, T, Hash, KeyEqual, Allocator>;

public:
    using key_type = Key;
    using mapped_type = T;
    using value_type = std::pair<Key const, T>;
    using size_type = std::size_t;
    using hasher = Hash;
    using key_equal = KeyEqual;
    using allocator_type = Allocator;
    using options = lock_free_map_options;
    using reference = typename everything::reference;  // what visitors are handed: T const&, or T& if is_internally_synchronized
    template <class K>
    static constexpr bool is_key = key_argument<K, Key, Hash, KeyEqual>;
    template <class F>
    static constexpr bool makes = everything::template makes<F>;  // a T, an expected<T, E>, or what converts to a T

    /// Throws: std::length_error if the capacity exceeds max_size(), std::invalid_argument if shrink_at is not in [0, 1/4]; both
    ///         before anything is allocated.
    explicit lock_free_map(options o = {}, Hash hash = {}, KeyEqual equal = {}, Allocator allocator = {})
        : all_(o.seed ? *o.seed : random_seed(), checked(o.shrink_at), std::move(hash), std::move(equal), std::move(allocator)) {
        all_.make_room(o.capacity, "weir::lock_free_map: capacity must be <= max_size()");
    }
    lock_free_map(lock_free_map const&) = delete;
    lock_free_map& operator=(lock_free_map const&) = delete;

    // -- Look up. Progress: lock-free; no lock, no read-modify-write and, where membarrier(2) exists, no fence.

    /// A copy of the value.
    template <class K>
    [[nodiscard]] std::optional<T> find(K const& key) const
        requires is_key<K> && std::copy_constructible<T>
    {
        return all_.find(key);
    }
    template <class K>
    [[nodiscard]] bool contains(K const& key) const
        requires is_key<K>
    {
        return all_.visit(key, [](reference) {});
    }
    /// Calls `f(value)` with the stored value or a copy of it, valid meanwhile, even if it is erased. Whether there was one.
    template <class K, class F>
    bool visit(K const& key, F&& f) const
        requires is_key<K> && std::invocable<F&, reference>
    {
        return all_.visit(key, f);
    }

    /// Calls `f(key, value)` for each of the keys that is there, in their order; returns how many. Each is looked up as by itself,
    /// but the memory of sixteen is fetched at once: faster where the map does not fit into the caches, else a little slower.
    template <class F>
    size_type visit(std::span<Key const> keys, F&& f) const
        requires std::invocable<F&, Key const&, reference>
    {
        return all_.visit(keys, f);
    }

    // -- Insert. True: it was absent and is stored now. False: nothing changed; the arguments are untouched unless another
    //    thread stored the key while we were about to. Progress: lock-free.

    /// Stores T(args...) under the key.
    template <class K, class... Args>
    bool try_emplace(K&& key, Args&&... args)
        requires is_key<K> && std::constructible_from<T, Args...>
    {
        return all_.emplace_or(std::forward<K>(key), [](reference) {}, std::forward<Args>(args)...);
    }
    bool insert(value_type entry)
        requires std::copy_constructible<Key>
    {
        return all_.emplace_or(entry.first, [](reference) {}, std::move(entry.second));
    }
    bool insert(Key key, T value) { return all_.emplace_or(std::move(key), [](reference) {}, std::move(value)); }
    /// As insert; if the key is there, calls `f(value)` with what is stored.
    template <class F>
    bool insert_or_visit(value_type entry, F&& f)
        requires std::copy_constructible<Key> && std::invocable<F&, reference>
    {
        return all_.emplace_or(entry.first, f, std::move(entry.second));
    }
    /// As try_emplace; if the key is there, calls the last argument with what is stored.
    template <class K, class... ArgsAndF>
    bool try_emplace_or_visit(K&& key, ArgsAndF&&... args_and_f)
        requires is_key<K> && (sizeof...(ArgsAndF) > 0)
    {
        return all_.emplace_or_last(std::forward<K>(key), std::forward_as_tuple(std::forward<ArgsAndF>(args_and_f)...),
                                    std::make_index_sequence<sizeof...(ArgsAndF) - 1>());
    }
    /// The value of the key; if it is absent, what `factory()` makes of it: a T, or an expected<T, E> of which only a value is
    /// stored. A throwing or failing factory leaves nothing behind, and the next caller tries its own.
    /// Progress: may block, on the factory of another caller for the same key. Readers, other keys and other operations never wait.
    /// Throws:   also std::system_error (resource_deadlock_would_occur) if the factory asks for its own key.
    template <class K, class F>
    auto find_or_create(K&& key, F&& factory) -> typename everything::template created<F>
        requires is_key<K> && std::copyable<T> && std::copy_constructible<Key> && makes<F>
    {
        return all_.find_or_create(std::forward<K>(key), factory);
    }
    /// The same, but waits no longer than `stop` allows: then nothing.
    template <class K, class F>
    auto find_or_create(K&& key, F&& factory, std::stop_token stop) -> std::optional<typename everything::template created<F>>
        requires is_key<K> && std::copyable<T> && std::copy_constructible<Key> && makes<F>
    {
        return all_.find_or_create(std::forward<K>(key), factory, stop);
    }

    // -- Replace. Which of two equal keys stays is not specified. Progress: lock-free.

    /// True if it inserted, false if it replaced.
    template <class K>
    bool insert_or_assign(K&& key, T value)
        requires is_key<K>
    {
        return !all_.put_when(std::forward<K>(key), std::move(value), [](T const*) { return true; }).was_there;
    }
    /// Replaces; false if the key is absent, and then stores nothing.
    template <class K>
    bool assign(K const& key, T value)
        requires is_key<K>
    {
        return all_.put_when(key, std::move(value), [](T const* old) { return old != nullptr; }).was_there;
    }
    /// Stores the value and returns the one before, if there was one.
    template <class K>
    std::optional<T> exchange(K&& key, T value)
        requires is_key<K> && std::copy_constructible<T>
    {
        return all_.exchange(std::forward<K>(key), std::move(value));
    }
    /// Replaces the value if it equals `wanted`.
    template <class K>
    bool compare_exchange(K const& key, T const& wanted, T value)
        requires is_key<K> && std::equality_comparable<T>
    {
        return all_.put_when(key, std::move(value), [&](T const* old) { return old != nullptr && *old == wanted; }).stored;
    }
    /// Replaces the value by `f(value)`; false if the key is absent. f must be pure: after a lost race it runs again.
    template <class K, class F>
    bool update(K const& key, F&& f)
        requires is_key<K> && std::copy_constructible<Key> && std::convertible_to<std::invoke_result_t<F&, T const&>, T>
    {
        return all_.update(key, f);
    }
    /// Stores `init` if the key is absent (true), else replaces the value by `f(value)` (false). f must be pure, see update.
    template <class K, class F>
    bool upsert(K&& key, T init, F&& f)
        requires is_key<K> && std::copy_constructible<Key> && std::convertible_to<std::invoke_result_t<F&, T const&>, T>
    {
        return all_.upsert(std::forward<K>(key), std::move(init), f);
    }
    /// Does what `f(T const*)`, null if absent, decides: decision<T>::keep(), assign(value) or erase(). f must be pure, see update.
    template <class K, class F>
    compute_result compute(K&& key, F&& f)
        requires is_key<K> && std::copy_constructible<Key> && std::same_as<std::invoke_result_t<F&, T const*>, decision<T>>
    {
        return all_.template compute<compute_result>(std::forward<K>(key), f);
    }

    // -- Erase. True: this call erased it. Progress: lock-free.

    template <class K>
    bool erase(K const& key)
        requires is_key<K>
    {
        return all_.erase_when(key, [](T const&) { return true; });
    }
    /// Erases and returns a copy of exactly the value that it erased.
    template <class K>
    std::optional<T> extract(K const& key)
        requires is_key<K> && std::copy_constructible<T>
    {
        return all_.extract(key);
    }
    /// Erases the entry if `p(value)`; p must be pure, see update.
    template <class K, class P>
    bool erase_if(K const& key, P&& p)
        requires is_key<K> && std::predicate<P&, T const&>
    {
        return all_.erase_when(key, p);
    }
    template <class K>
    bool compare_erase(K const& key, T const& wanted)
        requires is_key<K> && std::equality_comparable<T>
    {
        return all_.erase_when(key, [&](T const& value) { return value == wanted; });
    }

    // -- All entries. Nobody is blocked; callbacks may use the map. Progress: lock-free.

    /// Calls `f(key, value)` once for each key that is there all the time; for one that comes or goes meanwhile at most once.
    /// Each bucket is seen at one moment, the map as a whole is not. Cost: O(buckets); a hazard pointer for each node of a bucket.
    template <class F>
    void for_each(F&& f) const
        requires std::invocable<F&, Key const&, reference>
    {
        all_.template for_each<true>(f);
    }
    /// Copies of all entries, as for_each shows them: for loops, sorting and algorithms.
    /// Cost:     memory for all entries.
    [[nodiscard]] std::vector<std::pair<Key, T>> snapshot() const
        requires std::copy_constructible<Key> && std::copy_constructible<T>
    {
        std::vector<std::pair<Key, T>> all;
        all.reserve(size());
        for_each([&](Key const& key, T const& value) { all.emplace_back(key, value); });
        return all;
    }
    /// As for_each with two hazard pointers in all; a key may come twice while the table grows or shrinks, or writers crowd its
    /// bucket.
    template <class F>
    void for_each_relaxed(F&& f) const
        requires std::invocable<F&, Key const&, reference>
    {
        all_.template for_each<false>(f);
    }
    /// Erases each entry with `p(key, value)`, pure; returns how many. An entry that changes meanwhile is judged again.
    template <class P>
    size_type erase_if(P&& p)
        requires std::predicate<P&, Key const&, T const&>
    {
        return all_.erase_all(p);
    }
    /// Erases what was there at the call; entries that others store meanwhile may stay. Not one step.
    void clear() {
        erase_if([](Key const&, T const&) { return true; });
    }

    // -- The whole.

    /// Progress: wait-free, O(bins). Exact at rest, else off by what is under way.
    [[nodiscard]] size_type size() const noexcept { return all_.core().size(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] static constexpr size_type max_size() noexcept { return everything::max_size(); }
    /// Grows until `entries` fit, and does the work of it; others go on meanwhile. The map does not shrink below that by itself,
    /// but for an erase that had already decided to.
    /// Throws: std::length_error if entries > max_size().
    void reserve(size_type entries) { all_.make_room(entries, "weir::lock_free_map: reserve: entries must be <= max_size()"); }
    /// Shrinks until no smaller table would hold the present entries, whatever was reserved; others go on meanwhile.
    void shrink_to_fit() { all_.core().shrink_to_fit(); }
    /// Cost: O(buckets).
    [[nodiscard]] lock_free_map_stats stats() const { return all_.template stats<lock_free_map_stats>(); }
    /// Destroys every erased or replaced value that no reader looks at, and ends a growth or shrinking that is under way.
    void quiesce() { all_.core().quiesce(); }
    [[nodiscard]] hasher hash_function() const { return all_.core().hasher().inner(); }
    [[nodiscard]] key_equal key_eq() const { return all_.core().equal(); }
    [[nodiscard]] allocator_type get_allocator() const { return all_.core().allocator(); }

private:
    static double checked(double shrink_at) {
        if (!(shrink_at >= 0 && shrink_at <= 0.25)) {
            throw std::invalid_argument("weir::lock_free_map: shrink_at must be in [0, 1/4]");
        }
        return shrink_at;
    }

    everything all_;
};

}  // namespace weir::inline v0
#endif
