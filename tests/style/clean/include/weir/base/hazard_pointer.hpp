// weir (BSL-1.0). hazard_pointer: the one family of headers with a fence.
#ifndef WEIR_BASE_HAZARD_POINTER_HPP
#define WEIR_BASE_HAZARD_POINTER_HPP
#include <weir/base/concepts.hpp>

#include <atomic>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

inline void barrier() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
}
#endif
