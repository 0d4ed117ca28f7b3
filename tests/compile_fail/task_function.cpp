// weir (BSL-1.0). task_function: one that wants an argument.
#include <weir/run/worker_pool.hpp>

template <weir::task_function F>
class part {};

part<void (*)()> right;
#ifdef WEIR_MUST_FAIL
part<void (*)(int)> wrong;
#endif
