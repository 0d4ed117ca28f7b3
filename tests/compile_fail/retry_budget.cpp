// weir (BSL-1.0). retry_budget: a budget that cannot be asked.
#include <weir/flow/retry.hpp>

struct purse {
    void started() noexcept {}
    void succeeded() noexcept {}
    void failed() noexcept {}
};

using right = weir::retry<std::chrono::steady_clock, weir::thread_sleeper, weir::token_retry_budget>;
static_assert(sizeof(right) != 0);
#ifdef WEIR_MUST_FAIL
using wrong = weir::retry<std::chrono::steady_clock, weir::thread_sleeper, purse>;
static_assert(sizeof(wrong) != 0);
#endif
