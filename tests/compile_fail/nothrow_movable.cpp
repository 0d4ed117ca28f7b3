// weir (BSL-1.0). nothrow_movable: a value whose move may throw.
#include <weir/base/concepts.hpp>

#include <string>

struct throwing {
    throwing(throwing&&) noexcept(false) {}
};

template <weir::nothrow_movable T>
class cell {};

cell<std::string> right;
#ifdef WEIR_MUST_FAIL
cell<throwing> wrong;
#endif
