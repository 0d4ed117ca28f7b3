// weir (BSL-1.0). object_pool_depot: where the threads of an object_pool exchange magazines: a stack of Boost.Lockfree.
#ifndef WEIR_DATA_DETAIL_OBJECT_POOL_DEPOT_HPP
#define WEIR_DATA_DETAIL_OBJECT_POOL_DEPOT_HPP
#include <weir/base/detail/unwatched.hpp>
#include <weir/data/detail/object_pool_magazine.hpp>

#include <boost/lockfree/stack.hpp>

#include <cstddef>
#include <optional>

// Source:   the stack is R. K. Treiber's, "Systems Programming: Coping with Parallelism", 1986, as in Boost.Lockfree, with nodes
//           that are allocated once and have numbers of 16 bits: hence the bound of 65 535 on what a depot can hold.
// What we do not rely on: Boost's guard against ABA is a tag of 16 bits. A thread that is suspended in the middle of a pop while
// others pop a multiple of 65 536 times, and then finds the old top on top again, leaves the stack with a top that is somebody
// else's. object_magazine::state says whose it is, so no object gets into two hands; see object_pool_store.hpp.

namespace weir::inline v0 {
namespace detail {

class object_pool_depot {
public:
    /// Throws: std::bad_alloc.
    explicit object_pool_depot(std::size_t capacity) : stack_(capacity) {}

    [[nodiscard]] bool try_push(object_magazine* m) {
        unwatched const boosts_own_races;
        return stack_.bounded_push(m);
    }
    [[nodiscard]] std::optional<object_magazine*> try_pop() {
        unwatched const boosts_own_races;
        object_magazine* m = nullptr;
        return stack_.pop(m) ? std::optional<object_magazine*>{m} : std::nullopt;
    }

private:
    boost::lockfree::stack<object_magazine*, boost::lockfree::fixed_sized<true>> stack_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
