// weir (BSL-1.0). factory_of: a factory of a pool returns its object by value; it does not hand out a pointer.
#include <weir/data/object_pool.hpp>

struct makes {
    int operator()() const { return 1; }
};
struct allocates {
    int* operator()() const { return nullptr; }
};

using right = weir::object_pool<int, makes>;
static_assert(sizeof(right) != 0);
#ifdef WEIR_MUST_FAIL
using wrong = weir::object_pool<int, allocates>;
static_assert(sizeof(wrong) != 0);
#endif
