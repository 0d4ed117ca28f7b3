// weir (BSL-1.0). arena_allocator: memory without a lock, for threads that are stopped wherever they happen to be.
#ifndef WEIR_TESTS_SUPPORT_ARENA_ALLOCATOR_HPP
#define WEIR_TESTS_SUPPORT_ARENA_ALLOCATOR_HPP
#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>

namespace weir_test {

/// malloc takes locks, so a thread stopped inside it would stop the others there. This takes none, and gives nothing back
/// before `reset`, when nobody uses any of it.
class arena {
public:
    [[nodiscard]] static void* take(std::size_t bytes, std::size_t alignment) {
        const std::size_t at = used_.fetch_add(bytes + alignment) + alignment - 1;
        if (memory_ == nullptr || at + bytes > size) {
            std::abort();
        }
        return memory_ + at / alignment * alignment;
    }
    static void reset() noexcept { used_ = 0; }

private:
    static constexpr std::size_t size = std::size_t{1} << 32;  // of addresses: pages come when they are touched
    static char* reserve() noexcept {
        void* const p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        return p == MAP_FAILED ? nullptr : static_cast<char*>(p);
    }
    inline static char* const memory_ = reserve();  // before main: the first use of a local static may take a lock
    inline static std::atomic<std::size_t> used_{0};
};

template <class T>
struct arena_allocator {
    using value_type = T;
    arena_allocator() = default;
    template <class U>
    arena_allocator(arena_allocator<U> const&) noexcept {}
    [[nodiscard]] T* allocate(std::size_t n) { return static_cast<T*>(arena::take(n * sizeof(T), alignof(T))); }
    void deallocate(T*, std::size_t) noexcept {}
    template <class U>
    friend bool operator==(arena_allocator const&, arena_allocator<U> const&) noexcept {
        return true;
    }
};

}  // namespace weir_test
#endif
