// weir (BSL-1.0). clock_source: a clock that counts, but does not say what.
#include <weir/base/clock.hpp>

struct counter {
    long now() const { return 0; }
};

template <weir::clock_source Clock>
class timer {};

timer<std::chrono::steady_clock> right;
#ifdef WEIR_MUST_FAIL
timer<counter> wrong;
#endif
