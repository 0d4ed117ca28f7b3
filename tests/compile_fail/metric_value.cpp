// weir (BSL-1.0). metric_value: text is no value of a metric.
#include <weir/base/metrics.hpp>

#include <chrono>
#include <string_view>

template <weir::metric_value Value>
class shown {};

shown<std::chrono::milliseconds> right;
#ifdef WEIR_MUST_FAIL
shown<std::string_view> wrong;
#endif
