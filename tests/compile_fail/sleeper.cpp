// weir (BSL-1.0). sleeper: one that does not say whether it was stopped.
#include <weir/flow/retry.hpp>

#include <chrono>
#include <stop_token>

struct forgetful {
    void sleep_for(std::chrono::nanoseconds, std::stop_token const&) const {}
};

using right = weir::retry<std::chrono::steady_clock, weir::thread_sleeper>;
static_assert(sizeof(right) != 0);
#ifdef WEIR_MUST_FAIL
using wrong = weir::retry<std::chrono::steady_clock, forgetful>;
static_assert(sizeof(wrong) != 0);
#endif
