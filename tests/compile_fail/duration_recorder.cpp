// weir (BSL-1.0). duration_recorder: a stopwatch into what does not take times.
#include <weir/data/stats.hpp>

void right(weir::histogram<>& h) { weir::stopwatch<weir::histogram<>> watch(h); }
#ifdef WEIR_MUST_FAIL
void wrong(weir::counter& c) { weir::stopwatch<weir::counter> watch(c); }
#endif
