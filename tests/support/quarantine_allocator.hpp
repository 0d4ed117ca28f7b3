// weir (BSL-1.0). quarantine_allocator: poisons what is freed and keeps it for long, so that late readers see the poison.
#ifndef WEIR_TESTS_SUPPORT_QUARANTINE_ALLOCATOR_HPP
#define WEIR_TESTS_SUPPORT_QUARANTINE_ALLOCATOR_HPP
#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <new>

namespace weir_test {

/// Freed blocks leave in the order in which they came, thousands of frees later. An ordinary allocator hands a freed node
/// out again at once, with the same key in it, and a late reader is never noticed.
class quarantine {
public:
    static constexpr std::align_val_t alignment{64};  // of all blocks

    static void put(void* block, std::size_t bytes) noexcept {
        std::memset(block, 0xdb, bytes);
        static quarantine all;
        if (void* const oldest = all.blocks_[all.next_.fetch_add(1) % all.blocks_.size()].exchange(block)) {
            ::operator delete(oldest, alignment);
        }
    }

private:
    quarantine() = default;
    ~quarantine() {
        for (auto& each : blocks_) {
            if (void* const left = each.load()) {
                ::operator delete(left, alignment);
            }
        }
    }
    std::array<std::atomic<void*>, 16384> blocks_{};
    std::atomic<std::size_t> next_{0};
};

template <class T>
struct quarantine_allocator {
    using value_type = T;
    static_assert(alignof(T) <= static_cast<std::size_t>(quarantine::alignment));

    quarantine_allocator() = default;
    template <class U>
    quarantine_allocator(quarantine_allocator<U> const&) noexcept {}

    [[nodiscard]] T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), quarantine::alignment)); }
    void deallocate(T* p, std::size_t n) noexcept { quarantine::put(p, n * sizeof(T)); }

    template <class U>
    friend bool operator==(quarantine_allocator const&, quarantine_allocator<U> const&) noexcept {
        return true;
    }
};

}  // namespace weir_test
#endif
