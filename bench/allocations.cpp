// weir (BSL-1.0). bench allocations: an operator new for the whole program that counts, by one addition to a thread's number.
#include "allocations.hpp"

#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>

#ifdef __GLIBC__
#include <malloc.h>
#if __GLIBC_PREREQ(2, 33)
#define WEIR_BENCH_HAS_MALLINFO2 1
#endif
#endif

// With clang, a sanitizer's own operator new cannot be replaced: then none is counted.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define WEIR_BENCH_NEW_IS_NOT_OURS
#endif
#endif

double bench::bytes_in_use() noexcept {
#ifdef WEIR_BENCH_HAS_MALLINFO2
    const auto m = mallinfo2();
    return static_cast<double>(m.uordblks) + static_cast<double>(m.hblkhd);
#else
    return std::numeric_limits<double>::quiet_NaN();
#endif
}

#ifdef WEIR_BENCH_NEW_IS_NOT_OURS

std::uint64_t bench::allocations() noexcept { return 0; }

#else

namespace bench {
namespace {

thread_local std::uint64_t calls = 0;

void* allocate(std::size_t size, std::size_t alignment) {
    ++calls;
    void* const p = alignment <= alignof(std::max_align_t)
                        ? std::malloc(size == 0 ? 1 : size)
                        : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (p == nullptr) {
        throw std::bad_alloc{};
    }
    return p;
}

}  // namespace

std::uint64_t allocations() noexcept { return calls; }

}  // namespace bench

// The forms for arrays and those that do not throw call these, by the standard.
void* operator new(std::size_t size) { return bench::allocate(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return bench::allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

#endif
