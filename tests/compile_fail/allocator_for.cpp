// weir (BSL-1.0). allocator_for: something that gives memory, but never takes it back.
#include <weir/base/concepts.hpp>

#include <cstddef>
#include <memory>

struct leaking {
    using value_type = int;
    int* allocate(std::size_t);
    bool operator==(leaking const&) const = default;
};

template <weir::allocator_for Allocator>
class table {};

table<std::allocator<int>> right;
#ifdef WEIR_MUST_FAIL
table<leaking> wrong;
#endif
