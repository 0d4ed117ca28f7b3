// weir (BSL-1.0). metric_field_name: a described number whose name no output could show.
#include <weir/base/metrics.hpp>

#include <tuple>

struct described {
    int length = 0;
};
template <>
inline constexpr auto weir::stats_fields<described> = std::tuple{weir::gauge_field("length", "", &described::length)};
struct misnamed {
    int length = 0;
};
#ifdef WEIR_MUST_FAIL
template <>
inline constexpr auto weir::stats_fields<misnamed> = std::tuple{weir::gauge_field("its length", "", &misnamed::length)};
#else
template <>
inline constexpr auto weir::stats_fields<misnamed> = std::tuple{weir::gauge_field("its_length", "", &misnamed::length)};
#endif

void use(weir::metric_sink& sink) {
    weir::write_metrics({"queue", "", {}}, described{}, sink);
    weir::write_metrics({"queue", "", {}}, misnamed{}, sink);
}
