// weir (BSL-1.0). seeded_hash: makes any hash function fit for power-of-two tables, and flooding a matter of luck.
#ifndef WEIR_BASE_HASH_HPP
#define WEIR_BASE_HASH_HPP
#include <weir/base/concepts.hpp>
#include <weir/base/detail/entropy.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

// When:     a table picks its bucket from the top bits of a hash and a tag from the low ones.
// When not: results leave the process or outlive it: they differ from object to object by design. This is no
//           cryptographic hash either: whoever can read the results can work out the seed.
// Source:   step 1 is M. Dietzfelbinger, "Universal hashing and k-wise independent random variables via integer
//           arithmetic without primes", STACS 1996 (multiply-add-shift, 64 bits to 64 bits by a 128-bit multiplier);
//           step 2 is a xorshift-multiply-xorshift round as in D. Stafford, "Better bit mixing", 2011, its constant
//           from P. Evensen, "Moremur and rrmxmx", 2018. That one wide multiplication mixes well and costs little
//           was shown by V. Makarov (mum-hash) and Wang Yi (wyhash); we keep their instruction and take a sum where
//           they fold, because the sum has a proof.
//
//   y = top 64 bits of (a * x + b * 2^64) mod 2^128      x: the user's hash; a: 128 bits and b: 64 bits, from the seed
//   y ^= y >> 32;  y *= odd constant;  y ^= y >> 32      left out for hashes marked avalanching
//
// Why nobody can flood it without the seed. Take two different x. Their difference is an odd number times 2^t, t < 64,
// so a times it is uniform over the multiples of 2^t, and the top half of that over all 64-bit numbers; b makes y
// itself uniform. So each pair (y, y') has at most twice the chance of two random numbers (twice: the carry from
// below). Step 2 is one fixed bijection and cannot change that. Hence any two keys that the user's own hash tells apart
// agree in any chosen k bits, bucket or tag, with probability <= 2 / 2^k, however they were picked. (As far as
// SplitMix64 spreads a random 64-bit seed into a and b.) Keys whose x are equal stay equal: no mixing can repair that.
// Why step 2. y is linear in x: for a fixed seed, sequential x may bunch together and some output bits hardly depend on
// some input bits. Step 2 ends that: under each seed, each input bit flips each output bit half of the time.
// A hash marked avalanching has no such patterns left, so step 1 alone will do: it changes which keys share bits.
// Whoever marks an identity function gets what step 1 gives: few collisions on average, but with bad luck a long chain.

namespace weir::inline v0 {

static_assert(sizeof(void*) == 8 && sizeof(std::size_t) == 8, "weir needs a 64-bit platform");

namespace detail {

template <class H>
constexpr bool marked_avalanching() noexcept {
    if constexpr (requires { H::is_avalanching::value; }) {
        return static_cast<bool>(H::is_avalanching::value);
    } else {
        return requires { typename H::is_avalanching; };
    }
}

}  // namespace detail

/// True for a hash whose every result bit already depends on every key bit, so that mixing it again would be waste.
/// A hash says so as for Boost: by a member type `is_avalanching`, void or with a `value`. For a hash that you
/// cannot change, specialise this.
template <class H>
inline constexpr bool is_avalanching = detail::marked_avalanching<H>();

/// A seed that cannot be guessed, different from call to call.
/// Progress: lock-free, one atomic addition; the first calls of a process wait for one of them to ask the system.
/// Cost:     one system call per process: getrandom(2), or std::random_device where that is not to be had. If it fails,
///           the seed comes from addresses and clocks.
/// A forked child goes on from its parent's state: the two may draw equal seeds, equally secret to everybody else.
[[nodiscard]] inline std::uint64_t random_seed() noexcept { return detail::next_secret(); }

/// Hash with a seed mixed in: top bits choose buckets, low bits make tags.
/// Threads: calls on a const object may run at once if those of Hash may.
/// Memory:  24 bytes and Hash.
template <class Hash>
class seeded_hash {
public:
    explicit constexpr seeded_hash(Hash hash, std::uint64_t seed) noexcept(std::is_nothrow_move_constructible_v<Hash>)
        : hash_(std::move(hash)), seed_(seed), high_(detail::splitmix64(seed, 1)), low_(detail::splitmix64(seed, 2)) {}

    explicit seeded_hash(Hash hash = Hash()) noexcept(std::is_nothrow_move_constructible_v<Hash>)
        : seeded_hash(std::move(hash), random_seed()) {}

    /// The seeded hash of key; noexcept exactly when Hash is.
    /// Cost:   that of Hash, and two independent multiplications; one more unless Hash is avalanching.
    /// Throws: what Hash throws.
    template <class K>
    requires hasher_of<Hash, K>
    [[nodiscard]] constexpr std::uint64_t operator()(K const& key) const
        noexcept(std::is_nothrow_invocable_r_v<std::size_t, Hash const&, K const&>) {
        return scatter(static_cast<std::size_t>(hash_(key)));
    }

    /// The value to give to another object that shall agree with this one. Keep it from those who choose the keys.
    [[nodiscard]] constexpr std::uint64_t seed() const noexcept { return seed_; }
    [[nodiscard]] constexpr Hash const& inner() const noexcept { return hash_; }

private:
    constexpr std::uint64_t scatter(std::uint64_t x) const noexcept {
        std::uint64_t y = detail::multiply_high(low_, x) + high_ * x + seed_;
        if constexpr (!is_avalanching<Hash>) {
            y = (y ^ (y >> 32)) * 0x9fb21c651e98df25u;
            y ^= y >> 32;
        }
        return y;
    }

    [[no_unique_address]] Hash hash_;  // all set once, by the constructor
    std::uint64_t seed_;               // b
    std::uint64_t high_;               // upper half of a
    std::uint64_t low_;                // lower half of a
};

}  // namespace weir::inline v0
#endif
