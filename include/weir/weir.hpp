// weir (BSL-1.0). weir: every part of the library but the bridges of with/, which are opt in.
#ifndef WEIR_WEIR_HPP
#define WEIR_WEIR_HPP
#include <weir/base/clock.hpp>
#include <weir/base/concepts.hpp>
#include <weir/base/expected.hpp>
#include <weir/base/hash.hpp>
#include <weir/base/hazard_pointer.hpp>
#include <weir/base/metrics.hpp>
#include <weir/base/version.hpp>
#include <weir/data/lock_free_map.hpp>
#include <weir/data/stats.hpp>
#include <weir/data/stats_registry.hpp>

#endif
