// weir (BSL-1.0). resetter_of: what wipes an object of a pool takes it by reference, and is called from several threads.
#include <weir/data/object_pool.hpp>

struct wipes {
    void operator()(int& n) const { n = 0; }
};
struct counts_its_calls {
    int calls = 0;
    void operator()(int& n) { n = ++calls; }
};

using right = weir::object_pool<int, weir::default_factory<int>, wipes>;
static_assert(sizeof(right) != 0);
#ifdef WEIR_MUST_FAIL
using wrong = weir::object_pool<int, weir::default_factory<int>, counts_its_calls>;
static_assert(sizeof(wrong) != 0);
#endif
