// weir (BSL-1.0). version: which weir this is, for the preprocessor and for the program.
#ifndef WEIR_BASE_VERSION_HPP
#define WEIR_BASE_VERSION_HPP
#include <compare>

// When: your code must build against several versions of weir, or report the one it was built with.
// The three numbers stand here and nowhere else: CMake and pkg-config read them from this file.

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0
/// One number for `#if`: two decimal digits each for minor and patch, so 0.1.0 is 100.
#define WEIR_VERSION (WEIR_VERSION_MAJOR * 10000 + WEIR_VERSION_MINOR * 100 + WEIR_VERSION_PATCH)

namespace weir::inline v0 {

/// Three numbers that compare in the order of releases.
struct version_number {
    int major;
    int minor;
    int patch;

    friend constexpr auto operator<=>(version_number const&, version_number const&) noexcept = default;
};

/// The version of the headers that this program was compiled with.
inline constexpr version_number version{WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH};

}  // namespace weir::inline v0

#endif
