// weir (BSL-1.0). scarce_new: an operator new for the whole program that counts what is alive, and that a thread can exhaust.
#ifndef WEIR_TESTS_SUPPORT_SCARCE_NEW_HPP
#define WEIR_TESTS_SUPPORT_SCARCE_NEW_HPP
#include "scale.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

// Where failing_new.hpp has one allocation fail, here all fail from some moment on, as they do when memory has run out.
// It defines functions that a program has once: include it in exactly one source of a program, and not beside failing_new.hpp.
// With clang, the thread sanitizer's own operator new cannot be replaced: then nothing fails or is counted, see `is_ours`.

namespace weir_test {

class scarce_new {
public:
#if defined(__clang__)
    static constexpr bool is_ours = !under_thread_sanitizer;
#else
    static constexpr bool is_ours = true;
#endif

    /// Allocations that have not been given back, and those made at all, by any thread.
    [[nodiscard]] static std::size_t alive() noexcept { return made_ - freed_; }
    [[nodiscard]] static std::size_t made() noexcept { return made_; }

    /// While it lives the calling thread gets `left` allocations and no more.
    class shortage {
    public:
        explicit shortage(std::size_t left = 0) noexcept : before_(std::exchange(left_, left)) { refused_ = 0; }
        shortage(shortage const&) = delete;
        shortage& operator=(shortage const&) = delete;
        ~shortage() { left_ = before_; }
        [[nodiscard]] static std::size_t refused() noexcept { return refused_; }

    private:
        std::size_t before_;
    };

    /// Called by the calling thread's next allocation that is refused, once.
    static void on_refusal(void (*call)()) noexcept { call_ = call; }

    static void* take(std::size_t size, std::size_t alignment) noexcept {
        if (left_ == 0) {
            ++refused_;
            if (auto* const call = std::exchange(call_, nullptr)) {
                auto const none = std::exchange(left_, unlimited);
                call();
                left_ = none;
            }
            return nullptr;
        }
        left_ -= left_ == unlimited ? 0U : 1U;
        made_.fetch_add(1);
        return alignment <= alignof(std::max_align_t) ? std::malloc(size == 0 ? 1 : size)
                                                      : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    }
    static void* take_or_throw(std::size_t size, std::size_t alignment) {
        if (void* const p = take(size, alignment)) {
            return p;
        }
        throw std::bad_alloc{};
    }
    static void give_back(void* p) noexcept {
        freed_.fetch_add(p == nullptr ? 0U : 1U);
        std::free(p);
    }

private:
    static constexpr std::size_t unlimited = ~std::size_t{0};
    inline static std::atomic<std::size_t> made_{0};
    inline static std::atomic<std::size_t> freed_{0};
    inline static thread_local std::size_t left_ = unlimited;
    inline static thread_local std::size_t refused_ = 0;
    inline static thread_local void (*call_)() = nullptr;
};

}  // namespace weir_test

#if !defined(__clang__) || !defined(__has_feature)
#define WEIR_TESTS_NEW_IS_OURS
#elif !__has_feature(thread_sanitizer)
#define WEIR_TESTS_NEW_IS_OURS
#endif

#ifdef WEIR_TESTS_NEW_IS_OURS
// noinline: g++ takes malloc and free for a mismatch when it sees only one of them through a call
[[gnu::noinline]] void* operator new(std::size_t n) { return weir_test::scarce_new::take_or_throw(n, 0); }
[[gnu::noinline]] void* operator new[](std::size_t n) { return weir_test::scarce_new::take_or_throw(n, 0); }
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a) {
    return weir_test::scarce_new::take_or_throw(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new(std::size_t n, std::nothrow_t const&) noexcept { return weir_test::scarce_new::take(n, 0); }
[[gnu::noinline]] void* operator new[](std::size_t n, std::nothrow_t const&) noexcept { return weir_test::scarce_new::take(n, 0); }
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a, std::nothrow_t const&) noexcept {
    return weir_test::scarce_new::take(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void operator delete(void* p) noexcept { weir_test::scarce_new::give_back(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { weir_test::scarce_new::give_back(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { weir_test::scarce_new::give_back(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { weir_test::scarce_new::give_back(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { weir_test::scarce_new::give_back(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { weir_test::scarce_new::give_back(p); }
[[gnu::noinline]] void operator delete(void* p, std::nothrow_t const&) noexcept { weir_test::scarce_new::give_back(p); }
[[gnu::noinline]] void operator delete[](void* p, std::nothrow_t const&) noexcept { weir_test::scarce_new::give_back(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t, std::nothrow_t const&) noexcept {
    weir_test::scarce_new::give_back(p);
}
#endif
#endif
