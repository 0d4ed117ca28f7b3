// weir (BSL-1.0). object_pool_magazine: what stands in front of each object of a pool, and the parcels in which they change threads.
#ifndef WEIR_DATA_DETAIL_OBJECT_POOL_MAGAZINE_HPP
#define WEIR_DATA_DETAIL_OBJECT_POOL_MAGAZINE_HPP
#include <weir/base/detail/cache_line.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <utility>

// Invariant: a magazine whose state says that it is in a stack belongs to nobody; who changes that owns it and what is in it.
// Invariant: an item is in one block or magazine at a time, or in nobody's: then it is handed out.

namespace weir::inline v0 {
namespace detail {

struct object_home;

/// Stands in front of an object.
struct object_item {
    object_home* home;            // the pool; none: the object has been detached
    object_item* next = nullptr;  // in a list of one owner
    std::size_t bytes = 0;      // what it counts for while it is idle
    bool idle = false;          // to find a second put; written by who has the object
};

/// What a handle knows of a pool. The functions are the pool's.
struct object_home {
    void (*give)(object_home*, object_item*) noexcept;
    void (*discard)(object_home*, object_item*) noexcept;
    void (*detach)(object_home*, object_item*) noexcept;
};

inline constexpr std::size_t object_magazine_size = 16;

struct alignas(cache_line_size) object_magazine {
    std::atomic<unsigned char> state{0};  // the stack that it is in, see object_pool_store.hpp; 0: somebody has it
    std::size_t count = 0;            // the owner's, as the rest
    std::size_t bytes = 0;            // the sum over the items
    object_magazine* next_made = nullptr;
    std::array<object_item*, object_magazine_size> items{};
};

/// Items in a list, to be destroyed when nothing is held any more.
struct object_chain {
    object_item* first = nullptr;
    std::size_t count = 0;

    void push(object_item* item) noexcept {
        item->next = std::exchange(first, item);
        ++count;
    }
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
