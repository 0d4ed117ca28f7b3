// weir (BSL-1.0). gate: a header that looks down.
#ifndef WEIR_FLOW_GATE_HPP
#define WEIR_FLOW_GATE_HPP
#include <weir/base/concepts.hpp>
#include <weir/data/latest.hpp>

#include <chrono>
#endif
