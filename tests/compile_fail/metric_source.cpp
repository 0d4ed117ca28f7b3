// weir (BSL-1.0). metric_source: a part that cannot say what it has counted.
#include <weir/base/metrics.hpp>

#include <tuple>

struct length {
    int now = 0;
};
template <>
inline constexpr auto weir::stats_fields<length> = std::tuple{weir::gauge_field("", "", &length::now)};
struct queue {
    length stats() const { return {}; }
};
struct silent {
    int stats() const { return 0; }
};

template <weir::metric_source Part>
class shown {};

shown<length> itself;
shown<queue> right;
#ifdef WEIR_MUST_FAIL
shown<silent> wrong;
#endif
