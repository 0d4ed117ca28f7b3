// weir (BSL-1.0). object_pool: the header that may include Boost.Lockfree.
#ifndef WEIR_DATA_OBJECT_POOL_HPP
#define WEIR_DATA_OBJECT_POOL_HPP
#include <boost/lockfree/stack.hpp>
#endif
