// weir (BSL-1.0). metric_callback: a function that gives text where a number is to be shown.
#include <weir/data/stats_registry.hpp>

template <weir::metric_callback F>
class observed {};

observed<double (*)()> right;
#ifdef WEIR_MUST_FAIL
observed<char const* (*)()> wrong;
#endif
