// weir (BSL-1.0). weir: the umbrella of a small tree that breaks no rule.
#ifndef WEIR_WEIR_HPP
#define WEIR_WEIR_HPP
#include <weir/base/concepts.hpp>
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/latest.hpp>
#include <weir/data/object_pool.hpp>
#include <weir/flow/gate.hpp>

#endif
