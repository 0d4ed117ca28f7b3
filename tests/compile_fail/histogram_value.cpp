// weir (BSL-1.0). histogram_value: a histogram of fractions.
#include <weir/data/stats.hpp>

weir::histogram<int> right;
#ifdef WEIR_MUST_FAIL
weir::histogram<double> wrong;
#endif
