// weir (BSL-1.0). divisor: division by a number that stays the same, without a division.
#ifndef WEIR_FLOW_DETAIL_DIVISOR_HPP
#define WEIR_FLOW_DETAIL_DIVISOR_HPP

#include <cstdint>

// When:     times are cut into windows or buckets on every call, and their length is an option: a division takes as long as the rest.
// When not: the divisor is known to the compiler, which does it better.
// Source:   T. Granlund, P. Montgomery, "Division by invariant integers using multiplication", PLDI 1994. Ours: the reciprocal is
//           rounded down, and the quotient put right after it; so one word does for all divisors.
// Why one step is enough: reciprocal = 2^64 / d - e with 0 <= e < 1 (e = 1 for d = 1), so that n * reciprocal / 2^64 = n / d - e * n / 2^64
//           with e * n / 2^64 < 1: rounded down, that is the quotient or one less.

namespace weir::inline v0 {
namespace detail {

/// Threads: any number, none of which changes it.
class divisor {
public:
    /// d > 0.
    constexpr explicit divisor(std::int64_t d) noexcept
        : value_(d), reciprocal_(d == 1 ? UINT64_MAX : static_cast<std::uint64_t>((wide{1} << 64) / static_cast<std::uint64_t>(d))) {}

    [[nodiscard]] constexpr std::int64_t value() const noexcept { return value_; }
    /// n / d, rounded down.
    [[nodiscard]] constexpr std::int64_t floor(std::int64_t n) const noexcept {
        if (n < 0) [[unlikely]] {
            return -1 - positive(-1 - n);
        }
        return positive(n);
    }

private:
    __extension__ typedef unsigned __int128 wide;

    [[nodiscard]] constexpr std::int64_t positive(std::int64_t n) const noexcept {
        auto const q = static_cast<std::int64_t>(wide{static_cast<std::uint64_t>(n)} * reciprocal_ >> 64);
        return n - q * value_ >= value_ ? q + 1 : q;
    }

    std::int64_t value_;
    std::uint64_t reciprocal_;  // 2^64 / value_, rounded down; of 1: as near as can be
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
