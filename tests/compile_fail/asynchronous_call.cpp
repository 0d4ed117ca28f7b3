// weir (BSL-1.0). asynchronous_call: one without the argument that its function wants.
#include <weir/run/worker_pool.hpp>

template <class F, class... Args>
    requires weir::detail::asynchronous_call<F, Args...>
class caller {};

caller<int (*)(int), int> right;
#ifdef WEIR_MUST_FAIL
caller<int (*)(int)> wrong;
#endif
