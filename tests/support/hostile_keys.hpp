// weir (BSL-1.0). hostile_keys: keys that a hash table would rather not meet, and the attack that makes them to measure.
#ifndef WEIR_TESTS_SUPPORT_HOSTILE_KEYS_HPP
#define WEIR_TESTS_SUPPORT_HOSTILE_KEYS_HPP
#include <weir/base/detail/entropy.hpp>
#include <weir/base/hash.hpp>

#include "random.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace weir_test {

/// What an attacker does who has read seeded_hash and knows or guesses its seed: runs the hash backwards.
class preimages {
public:
    // Solves  a * x mod 2^128  in  [y * 2^64, (y + 1) * 2^64)  for x.  The pairs (x, a * x mod 2^128) are a lattice in the
    // plane; Euclid's algorithm, stopped half-way, is a short basis of it, and the wanted point is near the target's rounding.
    explicit preimages(std::uint64_t seed) : seed_(seed) {
        const wide a = wide{weir::detail::splitmix64(seed, 1)} << 64 | weir::detail::splitmix64(seed, 2);
        wide rest = a;             // rest == a * factor
        wide next = (~a + 1) % a;  // next == a * next_factor, both modulo 2^128
        std::uint64_t factor = 1;
        std::uint64_t next_factor = quotient_of_all(a);
        bool positive = true;
        while (next >> 64 != 0) {
            const wide times = rest / next;
            const std::uint64_t further = factor + static_cast<std::uint64_t>(times) * next_factor;
            factor = std::exchange(next_factor, further);
            rest = std::exchange(next, rest % next);
            positive = !positive;
        }
        near_ = factor;
        far_ = next_factor;
        positive_ = positive;
        offset_ = static_cast<std::uint64_t>(rest >> 65);
    }

    /// A number that Hash with the seed sends to `result`, if there is one: for one result in three to nearly all, as the seed has
    /// it. Hash must leave numbers as they are, as std::hash does.
    template <class Hash>
    [[nodiscard]] std::optional<std::uint64_t> of(std::uint64_t result, Hash hash = {}) const {
        const weir::seeded_hash<Hash> seeded(hash, seed_);
        const std::uint64_t y = (weir::is_avalanching<Hash> ? result : unmixed(result)) - seed_;
        const std::uint64_t u = weir::detail::multiply_high(y, far_);
        const std::uint64_t v = weir::detail::multiply_high(y, near_) + (positive_ ? 0 - offset_ : offset_);
        for (std::uint64_t i = 0; i < 25; ++i) {
            const std::uint64_t first = (u + i % 5 - 2) * near_;
            const std::uint64_t second = (v + i / 5 - 2) * far_;
            const std::uint64_t key = positive_ ? first - second : second - first;
            if (seeded(key) == result) {
                return key;
            }
        }
        return std::nullopt;
    }

private:
    __extension__ using wide = unsigned __int128;

    static std::uint64_t quotient_of_all(wide a) {  // 2^128 / a, rounded down
        return static_cast<std::uint64_t>((~a + 1) / a + 1);
    }
    static std::uint64_t unmixed(std::uint64_t y) {
        constexpr std::uint64_t multiplier = 0x9fb21c651e98df25u;
        std::uint64_t inverse = multiplier;  // right in the lowest 3 bits; each step doubles that
        for (int i = 0; i < 5; ++i) {
            inverse *= 2 - multiplier * inverse;
        }
        y ^= y >> 32;
        y *= inverse;
        return y ^ (y >> 32);
    }

    std::uint64_t seed_;
    std::uint64_t near_;  // the factors of the two basis vectors; their signs differ
    std::uint64_t far_;
    bool positive_;         // the sign of near_
    std::uint64_t offset_;  // from the corner of the target to its middle
};

/// `count` different numbers, arbitrary but for this: under `seed` their hashes agree in the highest `top` bits, which choose the
/// bucket, and in the lowest `low` ones, which make the tag. At most 48 bits in all.
template <class Hash>
std::vector<std::uint64_t> flooding_keys(std::size_t count, std::uint64_t seed, unsigned top, unsigned low, Hash hash = {}) {
    const preimages attack(seed);
    const std::uint64_t upper = top == 0 ? 0 : ~std::uint64_t{0} << (64 - top);
    const std::uint64_t lower = (std::uint64_t{1} << low) - 1;
    random_numbers dice(seed + 4);
    std::vector<std::uint64_t> keys;
    for (std::size_t trial = 0; trial < 16 * count + 1000 && keys.size() < count; ++trial) {
        const std::uint64_t arbitrary = dice.next() & ~upper & ~lower;
        const std::uint64_t wanted = arbitrary | (0xbad5'bad5'bad5'bad5u & upper) | (0x5aa5'5aa5'5aa5'5aa5u & lower);
        if (const auto key = attack.of<Hash>(wanted, hash)) {
            keys.push_back(*key);
        }
    }
    if (keys.size() < count) {
        throw std::logic_error("the attack on seeded_hash does not work: has its formula changed?");
    }
    return keys;
}

/// A hash under which all keys are equal, and one under which `N` remain. No seed helps against these.
template <class Key, std::size_t N = 1>
struct colliding_hash {
    std::size_t operator()(Key const& key) const noexcept { return static_cast<std::size_t>(key) % N; }
};

/// Sets of keys without malice that have broken tables: what counters, sizes and addresses look like.
struct key_pattern {
    char const* name;
    std::uint64_t (*key)(std::uint64_t i);  // the i-th key; different for each i below 2^20
};
inline constexpr key_pattern key_patterns[] = {
    {"1, 2, 3, ...", [](std::uint64_t i) { return i + 1; }},
    {"downwards from 2^64", [](std::uint64_t i) { return ~i; }},
    {"stride 2^20", [](std::uint64_t i) { return i << 20; }},
    {"stride 2^44: only the highest bits differ", [](std::uint64_t i) { return i << 44; }},
    {"addresses of cache lines", [](std::uint64_t i) { return std::uint64_t{0x7f00'0000'0000} + i * 64; }},
    {"multiples of the golden ratio", [](std::uint64_t i) { return i * std::uint64_t{0x9e37'79b9'7f4a'7c15}; }},
    {"bits reversed", [](std::uint64_t i) {
         std::uint64_t reversed = 0;
         for (unsigned bit = 0; bit < 64; ++bit) {
             reversed |= (i >> bit & 1) << (63 - bit);
         }
         return reversed;
     }},
    {"equal halves", [](std::uint64_t i) { return i << 32 | i; }},
};

}  // namespace weir_test
#endif
