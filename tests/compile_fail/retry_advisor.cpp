// weir (BSL-1.0). retry_advisor: advice that may throw.
#include <weir/flow/retry.hpp>

inline int call(weir::retry<>& again) {
    auto const right = [](weir::outcome<int> const&) noexcept { return weir::retry_advice{.again = false}; };
    static_cast<void>(again.run([] { return 1; }, {}, {}, right));
#ifdef WEIR_MUST_FAIL
    auto const wrong = [](weir::outcome<int> const&) { return weir::retry_advice{.again = false}; };
    static_cast<void>(again.run([] { return 1; }, {}, {}, wrong));
#endif
    return 0;
}
