// weir (BSL-1.0). Kernels of manual_clock.
#include <weir/base/clock.hpp>

#include "kernels.hpp"

#include <chrono>

using namespace std::chrono_literals;

WEIR_MODEL_KERNEL(manual_clock, no_advance_is_lost, {.spurious_failures = 1}) {
    const weir::manual_clock clock;
    const auto start = clock.now();
    weir_model::together([&] { clock.advance(1s); },
                         [&] { clock.advance(2s); });
    WEIR_MODEL_REQUIRE(clock.now() == start + 3s);
}

WEIR_MODEL_KERNEL(manual_clock, the_last_handle_frees_the_time, {.preemptions = weir_model::options::unbounded}) {
    weir::manual_clock mine;
    weir_model::together([other = mine]() mutable { other.set(other.now() + 1s); },
                         [&] { mine = weir::manual_clock(); });
}
