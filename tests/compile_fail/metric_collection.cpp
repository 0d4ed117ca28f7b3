// weir (BSL-1.0). metric_collection: what is to be exposed collects nothing.
#include <weir/base/metrics.hpp>

struct everything {
    void collect(weir::metric_sink&) const {}
};
struct nothing {
    void collect() const {}
};

template <weir::metric_collection Collection>
class page {};

page<everything> right;
#ifdef WEIR_MUST_FAIL
page<nothing> wrong;
#endif
