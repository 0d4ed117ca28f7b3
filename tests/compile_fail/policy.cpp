// weir (BSL-1.0). policy: a component where its layer is meant.
#include <weir/flow/bulkhead.hpp>
#include <weir/flow/pipeline.hpp>

#include <chrono>

weir::bulkhead room;
auto right = weir::timeout(std::chrono::seconds{1}) | room.policy();
#ifdef WEIR_MUST_FAIL
weir::pipeline<weir::bulkhead> wrong;  // without .policy()
#endif
