// weir (BSL-1.0). poolable: an object that may throw when it is destroyed cannot be pooled.
#include <weir/data/object_pool.hpp>

struct calm {};
struct explosive {
    ~explosive() noexcept(false) {}
};

using right = weir::object_pool<calm>;
static_assert(sizeof(right) != 0);
#ifdef WEIR_MUST_FAIL
using wrong = weir::object_pool<explosive>;
static_assert(sizeof(wrong) != 0);
#endif
