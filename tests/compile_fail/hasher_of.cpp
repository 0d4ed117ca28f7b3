// weir (BSL-1.0). hasher_of: a key without a hash.
#include <weir/base/concepts.hpp>

#include <functional>

struct unhashed {};

template <class Key, weir::hasher_of<Key> Hash>
class table {};

table<int, std::hash<int>> right;
#ifdef WEIR_MUST_FAIL
table<unhashed, std::hash<unhashed>> wrong;
#endif
