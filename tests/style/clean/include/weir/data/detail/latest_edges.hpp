// weir (BSL-1.0). detail::latest_edges: a table that another header shares.
#ifndef WEIR_DATA_DETAIL_LATEST_EDGES_HPP
#define WEIR_DATA_DETAIL_LATEST_EDGES_HPP
#include <atomic>

// Edges:
//   E1  the flag is set  -> who sees it
inline std::atomic<bool> latest_flag{false};
inline bool latest_flag_set() { return latest_flag.load(std::memory_order_acquire); }  // E1 acquire
#endif
