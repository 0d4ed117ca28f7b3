// weir (BSL-1.0). random: numbers that are the same in every run, from a seed that a failure can be repeated with.
#ifndef WEIR_TESTS_SUPPORT_RANDOM_HPP
#define WEIR_TESTS_SUPPORT_RANDOM_HPP
#include <cstdint>
#include <cstdlib>

// Source: Sebastiano Vigna's public-domain splitmix64, after Steele, Lea and Flood, "Fast splittable pseudorandom number
// generators", OOPSLA 2014.

namespace weir_test {

class random_numbers {
public:
    explicit constexpr random_numbers(std::uint64_t seed) noexcept : state_(seed) {}

    constexpr std::uint64_t next() noexcept {
        std::uint64_t x = (state_ += 0x9e3779b97f4a7c15ULL);
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
        return x ^ (x >> 31);
    }
    /// A number in [0, bound); `bound` must be > 0 and small against 2^64.
    constexpr std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }
    constexpr bool one_in(std::uint64_t n) noexcept { return below(n) == 0; }

private:
    std::uint64_t state_;
};

/// The seed of this run: WEIR_TEST_SEED, or always the same one. Tests print it when they fail.
inline std::uint64_t run_seed() {
    static const std::uint64_t seed = [] {
        const char* const text = std::getenv("WEIR_TEST_SEED");
        return text == nullptr ? 20240229ULL : std::strtoull(text, nullptr, 0);
    }();
    return seed;
}

}  // namespace weir_test
#endif
