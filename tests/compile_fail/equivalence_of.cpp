// weir (BSL-1.0). equivalence_of: keys that cannot be compared.
#include <weir/base/concepts.hpp>

#include <functional>

struct unequal {};

template <class Key, weir::equivalence_of<Key> Equal>
class table {};

table<int, std::equal_to<>> right;
#ifdef WEIR_MUST_FAIL
table<unequal, std::equal_to<>> wrong;
#endif
