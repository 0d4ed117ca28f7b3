// weir (BSL-1.0). detail::map_garbage_bin: what a lock-free map has unlinked and not yet freed, and its share of the size.
#ifndef WEIR_DATA_DETAIL_MAP_GARBAGE_HPP
#define WEIR_DATA_DETAIL_MAP_GARBAGE_HPP
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/detail/map_table.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>

// A map keeps its own garbage, so that its destructor frees all of it, with an allocator that may die right afterwards.
// Threads are spread over bins by their slot number. A list is only ever pushed to or taken whole, so there is no ABA.
// What stays unfreed is bounded: a batch for each bin, a batch for each thread suspended while it sweeps, and what hazard
// pointers protect.
//
// Edges:
//   E1  an object is linked, the list's head is stored  -> the thread that takes the list walks it

namespace weir::inline v0 {
namespace detail {

/// Garbage of a map: objects and bytes that wait for hazard pointers to leave them.
struct map_pending {
    std::size_t objects = 0;
    std::size_t bytes = 0;
};

/// One of a map's bins. `Owner` knows how to free: `owner.reclaim(Node*)`, `owner.reclaim(map_garbage*)`.
template <class Node>
class alignas(64) map_garbage_bin {
public:
    // A sweep costs a system call and a walk of all hazard pointers; a batch of 128 nodes made erase churn 60 % slower.
    static constexpr std::uint64_t batch = std::clamp<std::uint64_t>(std::bit_floor(65536 / sizeof(Node)), 64, 1024);
    static constexpr std::size_t batch_bytes = 256 * 1024;  // of blocks

    [[nodiscard]] static std::size_t count_for_this_machine() noexcept {
        static const std::size_t count =
            std::clamp<std::size_t>(std::bit_ceil(std::size_t{std::thread::hardware_concurrency()}), 4, 64);
        return count;
    }

    /// Adds to this bin's share of the size and returns the new share, which may be negative.
    std::int64_t add(std::int64_t entries) noexcept {
        return share_.fetch_add(entries, std::memory_order_relaxed) + entries;  // relaxed: a count
    }
    [[nodiscard]] std::int64_t share() const noexcept { return share_.load(std::memory_order_relaxed); }  // relaxed: a count

    template <class Owner>
    void retire(Node& n, hazard_pointer_domain& domain, Owner& owner) noexcept {
        push(nodes_, &n, &n);
        const auto before = retired_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a count
        if ((before + 1) % batch == 0) {
            sweep_nodes(domain, owner);
        }
    }

    template <class Owner>
    void retire(map_garbage& g, hazard_pointer_domain& domain, Owner& owner) noexcept {
        const std::size_t bytes = g.what == map_garbage::kind::table ? 0 : g.bytes;  // tables are swept by whoever retires them
        rest_count_.fetch_add(1, std::memory_order_relaxed);      // relaxed: a count
        rest_bytes_.fetch_add(g.bytes, std::memory_order_relaxed);  // relaxed: a count
        push(rest_, &g, &g);
        const auto since = since_.fetch_add(bytes, std::memory_order_relaxed) + bytes;  // relaxed: a count
        if (since >= batch_bytes) {
            since_.store(0, std::memory_order_relaxed);  // relaxed: a count
            sweep_rest(domain, owner);
        }
    }

    template <class Owner>
    void sweep(hazard_pointer_domain& domain, Owner& owner) noexcept {
        sweep_nodes(domain, owner);
        sweep_rest(domain, owner);
    }

    /// Frees the blocks and tables that nothing protects.
    template <class Owner>
    void sweep_rest(hazard_pointer_domain& domain, Owner& owner) noexcept {
        put_back(rest_, domain.sweep(take(rest_), [&](hazard_link* l) {
            auto* const g = static_cast<map_garbage*>(l);
            rest_count_.fetch_sub(1, std::memory_order_relaxed);         // relaxed: a count
            rest_bytes_.fetch_sub(g->bytes, std::memory_order_relaxed);  // relaxed: a count
            owner.reclaim(g);
        }));
    }

    /// Frees everything; nobody else may be using the map.
    template <class Owner>
    void clear(Owner& owner) noexcept {
        for (hazard_link* at = take(nodes_); at != nullptr;) {
            owner.reclaim(static_cast<Node*>(std::exchange(at, at->next_retired)));
        }
        for (hazard_link* at = take(rest_); at != nullptr;) {
            owner.reclaim(static_cast<map_garbage*>(std::exchange(at, at->next_retired)));
        }
    }

    [[nodiscard]] bool has_rest() const noexcept {
        return rest_count_.load(std::memory_order_relaxed) != 0;  // relaxed: a count
    }
    [[nodiscard]] map_pending pending() const noexcept {
        const auto freed = reclaimed_.load(std::memory_order_relaxed);  // relaxed: a count
        const auto retired = retired_.load(std::memory_order_relaxed);  // relaxed: a count
        const auto nodes = static_cast<std::size_t>(retired > freed ? retired - freed : 0);
        return {nodes + rest_count_.load(std::memory_order_relaxed),                  // relaxed: a count
                nodes * sizeof(Node) + rest_bytes_.load(std::memory_order_relaxed)};  // relaxed: a count
    }

private:
    static void push(std::atomic<hazard_link*>& list, hazard_link* first, hazard_link* last) noexcept {
        hazard_link* head = list.load(std::memory_order_relaxed);  // relaxed: only compared, never followed
        do {
            last->next_retired = head;
        } while (!list.compare_exchange_weak(head, first, std::memory_order_release,  // E1 release
                                             std::memory_order_relaxed));             // relaxed: only compared
    }
    static hazard_link* take(std::atomic<hazard_link*>& list) noexcept {
        return list.exchange(nullptr, std::memory_order_acquire);  // E1 acquire
    }
    static void put_back(std::atomic<hazard_link*>& list, hazard_link* kept) noexcept {
        if (kept != nullptr) {
            hazard_link* last = kept;
            while (last->next_retired != nullptr) {
                last = last->next_retired;
            }
            push(list, kept, last);
        }
    }

    template <class Owner>
    void sweep_nodes(hazard_pointer_domain& domain, Owner& owner) noexcept {
        put_back(nodes_, domain.sweep(take(nodes_), [&](hazard_link* l) {
            owner.reclaim(static_cast<Node*>(l));
            reclaimed_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a count
        }));
    }
    std::atomic<std::int64_t> share_{0};           // entries inserted minus erased through this bin
    std::atomic<hazard_link*> nodes_{nullptr};     // retired nodes
    std::atomic<hazard_link*> rest_{nullptr};      // retired blocks and tables
    std::atomic<std::uint64_t> retired_{0};        // nodes ever retired here
    std::atomic<std::uint64_t> reclaimed_{0};      // of them freed
    std::atomic<std::size_t> rest_count_{0};       // blocks and tables in rest_
    std::atomic<std::size_t> rest_bytes_{0};       // and their bytes
    std::atomic<std::size_t> since_{0};            // bytes retired since the last sweep of rest_
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
