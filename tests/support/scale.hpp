// weir (BSL-1.0). scale: how much a test does, so that one number suits a plain run and a sanitizer's.
#ifndef WEIR_TESTS_SUPPORT_SCALE_HPP
#define WEIR_TESTS_SUPPORT_SCALE_HPP
#include <algorithm>
#include <cstddef>
#include <cstdlib>

// WEIR_TEST_SCALE multiplies the work of every test that asks: 10 for a long run over night, 0.1 for a quick look.

namespace weir_test {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool under_thread_sanitizer = true;
inline constexpr bool under_address_sanitizer = false;
#elif defined(__SANITIZE_ADDRESS__)
inline constexpr bool under_thread_sanitizer = false;
inline constexpr bool under_address_sanitizer = true;
#elif defined(__has_feature)
inline constexpr bool under_thread_sanitizer = __has_feature(thread_sanitizer);
inline constexpr bool under_address_sanitizer = __has_feature(address_sanitizer);
#else
inline constexpr bool under_thread_sanitizer = false;
inline constexpr bool under_address_sanitizer = false;
#endif

inline double scale_factor() {
    static const double factor = [] {
        const char* const text = std::getenv("WEIR_TEST_SCALE");
        const double asked = text == nullptr ? 1.0 : std::strtod(text, nullptr);
        const double slow_down = under_thread_sanitizer ? 6.0 : under_address_sanitizer ? 4.0 : 1.0;
        return (asked > 0.0 ? asked : 1.0) / slow_down;
    }();
    return factor;
}

/// `n`, less under a sanitizer, times WEIR_TEST_SCALE; never below `least`.
inline std::size_t scaled(std::size_t n, std::size_t least = 1) {
    return std::max(least, static_cast<std::size_t>(static_cast<double>(n) * scale_factor()));
}

}  // namespace weir_test
#endif
