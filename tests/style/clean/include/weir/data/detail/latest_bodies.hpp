// weir (BSL-1.0). detail::latest, its bodies: half of a header, so it includes the other half. Edges: see latest_edges.hpp.
#ifndef WEIR_DATA_DETAIL_LATEST_BODIES_HPP
#define WEIR_DATA_DETAIL_LATEST_BODIES_HPP
#include <weir/data/detail/latest_edges.hpp>
#include <weir/data/latest.hpp>

inline bool latest::closing() {
    latest_flag.store(true, std::memory_order_release);  // E1 release
    return true;
}
#endif
