// weir (BSL-1.0). described_stats: statistics that nobody has described.
#include <weir/base/metrics.hpp>

#include <tuple>

struct described {
    int length = 0;
};
template <>
inline constexpr auto weir::stats_fields<described> = std::tuple{weir::gauge_field("length", "", &described::length)};
struct silent {
    int length = 0;
};

template <weir::described_stats Stats>
class page {};

page<described> right;
#ifdef WEIR_MUST_FAIL
page<silent> wrong;
#endif
