// weir (BSL-1.0). bench allocations: how often a thread has allocated, and what the process has.
#ifndef WEIR_BENCH_ALLOCATIONS_HPP
#define WEIR_BENCH_ALLOCATIONS_HPP
#include <cstdint>

namespace bench {

/// Calls of operator new by this thread so far, of all its forms.
std::uint64_t allocations() noexcept;

/// Of the heap, as malloc counts them; NaN where it does not.
double bytes_in_use() noexcept;

}  // namespace bench
#endif
