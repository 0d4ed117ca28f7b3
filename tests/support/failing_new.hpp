// weir (BSL-1.0). failing_new: an operator new for the whole program that fails when faults.hpp says so.
#ifndef WEIR_TESTS_SUPPORT_FAILING_NEW_HPP
#define WEIR_TESTS_SUPPORT_FAILING_NEW_HPP
#include "faults.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

// It defines functions that a program has once: include it in exactly one source of a program, that of the test.
// With clang, the thread sanitizer's own operator new cannot be replaced: then none fails, and `news_can_fail` is false.

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEIR_TESTS_NEW_IS_NOT_OURS
#endif
#endif

namespace weir_test {

#ifdef WEIR_TESTS_NEW_IS_NOT_OURS
inline constexpr bool news_can_fail = false;
#else
inline constexpr bool news_can_fail = true;

namespace detail {

inline void* new_or_null(std::size_t size, std::size_t alignment) noexcept {
    if (faults::due(fault::operator_new)) {
        return nullptr;
    }
    return alignment <= alignof(std::max_align_t) ? std::malloc(size == 0 ? 1 : size)
                                                  : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
inline void* new_or_throw(std::size_t size, std::size_t alignment) {
    if (void* const p = new_or_null(size, alignment)) {
        return p;
    }
    throw std::bad_alloc{};
}

}  // namespace detail
#endif

}  // namespace weir_test

#ifndef WEIR_TESTS_NEW_IS_NOT_OURS

// noinline: g++ takes malloc and free for a mismatch when it sees only one of them through a call
[[gnu::noinline]] void* operator new(std::size_t n) { return weir_test::detail::new_or_throw(n, 0); }
[[gnu::noinline]] void* operator new[](std::size_t n) { return weir_test::detail::new_or_throw(n, 0); }
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a) {
    return weir_test::detail::new_or_throw(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new[](std::size_t n, std::align_val_t a) {
    return weir_test::detail::new_or_throw(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new(std::size_t n, std::nothrow_t const&) noexcept { return weir_test::detail::new_or_null(n, 0); }
[[gnu::noinline]] void* operator new[](std::size_t n, std::nothrow_t const&) noexcept { return weir_test::detail::new_or_null(n, 0); }
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a, std::nothrow_t const&) noexcept {
    return weir_test::detail::new_or_null(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new[](std::size_t n, std::align_val_t a, std::nothrow_t const&) noexcept {
    return weir_test::detail::new_or_null(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::nothrow_t const&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::nothrow_t const&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t, std::nothrow_t const&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::align_val_t, std::nothrow_t const&) noexcept { std::free(p); }

#endif
#endif
