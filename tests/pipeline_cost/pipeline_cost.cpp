// weir (BSL-1.0). pipeline_cost: a call, and the same call through a pipeline without layers.
#include <weir/flow/pipeline.hpp>

extern "C" int callee(int, int) noexcept;
extern "C" void quiet_callee(int) noexcept;

extern "C" int plain_value(int a, int b) { return callee(a, b) + 1; }
extern "C" int layered_value(int a, int b) { return *weir::pipeline<>{}(callee, a, b) + 1; }

extern "C" bool plain_nothing(int a) {
    quiet_callee(a);
    return true;
}
extern "C" bool layered_nothing(int a) { return weir::pipeline<>{}(quiet_callee, a).has_value(); }
