// weir (BSL-1.0). weir: every part of the library but the bridges of with/, which are opt in.
#ifndef WEIR_WEIR_HPP
#define WEIR_WEIR_HPP
#include <weir/base/call_context.hpp>
#include <weir/base/clock.hpp>
#include <weir/base/concepts.hpp>
#include <weir/base/expected.hpp>
#include <weir/base/hash.hpp>
#include <weir/base/hazard_pointer.hpp>
#include <weir/base/metrics.hpp>
#include <weir/base/outcome.hpp>
#include <weir/base/queue.hpp>
#include <weir/base/sleeper.hpp>
#include <weir/base/version.hpp>
#include <weir/data/dedup_cache.hpp>
#include <weir/data/lock_free_map.hpp>
#if __has_include(<boost/lockfree/stack.hpp>)
#include <weir/data/object_pool.hpp>
#endif
#include <weir/data/stats.hpp>
#include <weir/data/stats_registry.hpp>
#include <weir/flow/bulkhead.hpp>
#include <weir/flow/circuit_breaker.hpp>
#include <weir/flow/pipeline.hpp>
#include <weir/flow/rate_limiter.hpp>
#include <weir/flow/retry.hpp>
#include <weir/run/worker_pool.hpp>

#endif
