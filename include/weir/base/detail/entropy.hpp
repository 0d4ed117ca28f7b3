// weir (BSL-1.0). entropy: where unpredictable 64-bit numbers come from, and the integer arithmetic under seeded_hash.
#ifndef WEIR_BASE_DETAIL_ENTROPY_HPP
#define WEIR_BASE_DETAIL_ENTROPY_HPP
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ctime>

#if defined(__linux__) && __has_include(<sys/random.h>)
#include <sys/random.h>
#define WEIR_DETAIL_HAS_GETRANDOM 1
#else
#include <random>  // dearer to include, so only where there is nothing else
#define WEIR_DETAIL_HAS_GETRANDOM 0
#endif

// Source: SplitMix64: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

namespace weir::inline v0 {
namespace detail {

/// The index-th number of the SplitMix64 sequence that starts at state.
constexpr std::uint64_t splitmix64(std::uint64_t state, std::uint64_t index = 1) noexcept {
    std::uint64_t z = state + index * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/// The upper half of a 64 x 64 bit product, from four 32 x 32 bit ones: for compilers without a 128-bit type.
constexpr std::uint64_t multiply_high_by_parts(std::uint64_t a, std::uint64_t b) noexcept {
    std::uint64_t const a_low = a & 0xffffffffu;
    std::uint64_t const b_low = b & 0xffffffffu;
    std::uint64_t const cross = (a >> 32) * b_low + ((a_low * b_low) >> 32);  // cannot overflow
    std::uint64_t const carry = a_low * (b >> 32) + (cross & 0xffffffffu);
    return (a >> 32) * (b >> 32) + (cross >> 32) + (carry >> 32);
}

constexpr std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) noexcept {
#if defined(__SIZEOF_INT128__)
    __extension__ using wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<wide>(a) * b) >> 64);
#else
    return multiply_high_by_parts(a, b);
#endif
}

/// What this process knows and nobody else does. Two words, so that one number drawn does not give away the next.
struct process_secret {
    std::uint64_t first;
    std::uint64_t second;
};

/// Asks the system for random bytes; false or an exception if it has none.
inline bool system_entropy(process_secret& out) {
#if WEIR_DETAIL_HAS_GETRANDOM
    return ::getrandom(&out, sizeof out, 0) == static_cast<ssize_t>(sizeof out);
#else
    std::random_device device;
    out.first = std::uint64_t{device()} << 32 ^ device();
    out.second = std::uint64_t{device()} << 32 ^ device();
    return true;
#endif
}

/// What is left where the system has nothing: the places it put our stack and code at, and two clocks.
inline process_secret weak_entropy() noexcept {
    std::timespec now{};
    (void)std::timespec_get(&now, TIME_UTC);
    int here = 0;
    std::uint64_t state = splitmix64(static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&here)));
    state = splitmix64(state ^ static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&weak_entropy)));
    state = splitmix64(state ^ static_cast<std::uint64_t>(now.tv_sec));
    state = splitmix64(state ^ static_cast<std::uint64_t>(now.tv_nsec));
    state = splitmix64(state ^ static_cast<std::uint64_t>(std::clock()));
    return {splitmix64(state, 1), splitmix64(state, 2)};
}

/// A secret from source (filling a process_secret, returning whether it could), or the weak one where that fails.
template <class Source>
process_secret draw_secret(Source source) noexcept {
    process_secret const weak = weak_entropy();
    process_secret strong{};
    try {
        if (source(strong)) {
            return {strong.first ^ weak.first, strong.second ^ weak.second};
        }
    } catch (...) {  // a source that throws has nothing to give, and a table without a seed would be worse
    }
    return weak;
}

inline constinit std::atomic<std::uint64_t> secrets_drawn{0};

/// The next unpredictable number: each call of the process gets its own.
inline std::uint64_t next_secret() noexcept {
    static process_secret const secret = draw_secret(system_entropy);
    // relaxed: only the count matters, and it goes up by one for each caller whatever the order
    std::uint64_t const turn = secrets_drawn.fetch_add(1, std::memory_order_relaxed);
    return splitmix64(splitmix64(secret.first, turn) ^ secret.second);
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
