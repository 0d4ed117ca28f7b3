// weir (BSL-1.0). maps: a function that cannot take what is in the range.
#include <weir/run/worker_pool.hpp>

#include <string>
#include <vector>

template <class Range, weir::detail::maps<Range> F>
class mapper {};

mapper<std::vector<int>, int (*)(int)> right;
#ifdef WEIR_MUST_FAIL
mapper<std::vector<std::string>, int (*)(int)> wrong;
#endif
