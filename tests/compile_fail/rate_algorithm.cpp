// weir (BSL-1.0). rate_algorithm: a limit for each key that is no limiter, but its options.
#include <weir/flow/rate_limiter.hpp>

#include <string>

using right = weir::keyed_rate_limiter<std::string, weir::sliding_log<>>;
[[maybe_unused]] constexpr auto size = sizeof(right);
#ifdef WEIR_MUST_FAIL
using wrong = weir::keyed_rate_limiter<std::string, weir::sliding_log_options>;
#endif
