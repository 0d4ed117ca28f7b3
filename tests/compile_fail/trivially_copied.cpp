// weir (BSL-1.0). trivially_copied: a lock-free node cannot hold a value that owns memory.
#include <weir/with/boost_lockfree.hpp>

#include <string>

using right = weir::boost_queue<char const*>;
static_assert(sizeof(right) != 0);
#ifdef WEIR_MUST_FAIL
using wrong = weir::boost_queue<std::string>;
static_assert(sizeof(wrong) != 0);
#endif
