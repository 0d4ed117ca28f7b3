// weir (BSL-1.0). retry_backoff: how long to wait before the next attempt.
#ifndef WEIR_FLOW_DETAIL_RETRY_BACKOFF_HPP
#define WEIR_FLOW_DETAIL_RETRY_BACKOFF_HPP
#include <weir/base/hash.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <stdexcept>

// Source:   M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015; random numbers by splitmix64 (Steele, Lea,
//           Flood, OOPSLA 2014).

namespace weir::inline v0 {

enum class backoff_shape : unsigned char { exponential, linear };

/// How the delay d is spread by chance, so that those who failed together do not come again together.
enum class backoff_jitter : unsigned char {
    none,
    full,          // [0, d]
    equal,         // [d / 2, d]
    factor,        // [d * (1 - f), d * (1 + f)], at most max
    decorrelated,  // [base, 3 * the delay before], at most max
};

struct backoff_options {
    std::chrono::nanoseconds base = std::chrono::milliseconds{100};  // before the second attempt, > 0
    double multiplier = 2;                                           // of each further delay, 1 to 1000; linear: not used
    std::chrono::nanoseconds max = std::chrono::seconds{10};         // of every delay, >= base
    backoff_shape shape = backoff_shape::exponential;                // linear: base, 2 * base, 3 * base ...
    backoff_jitter jitter = backoff_jitter::full;
    double factor = 0.1;  // of jitter::factor, [0, 1]
};

/// The delays of one call.
/// Threads: one at a time.
class backoff {
public:
    struct range {
        std::chrono::nanoseconds least;
        std::chrono::nanoseconds most;
    };

    /// Throws: std::invalid_argument naming the option.
    explicit backoff(backoff_options o, std::uint64_t seed)
        : options_(checked(o)), previous_(o.base.count()), seed_(seed) {}

    /// The delay before the next attempt: the first call gives that before the second attempt.
    [[nodiscard]] std::chrono::nanoseconds next() noexcept;

    /// Between what the delay before attempt k + 1 lies. k >= 1. Cost: O(1).
    /// Throws: std::invalid_argument naming the option.
    [[nodiscard]] static range bounds(backoff_options const& o, std::uint64_t k);

    static backoff_options checked(backoff_options o);

private:
    [[nodiscard]] std::int64_t clamped(double ns) const noexcept {
        // Compared as doubles first: what is too large for an integer never becomes one.
        return ns >= static_cast<double>(options_.max.count()) ? options_.max.count() : static_cast<std::int64_t>(ns + 0.5);
    }
    // Before attempt k + 1, without jitter.
    [[nodiscard]] std::int64_t raw(std::uint64_t k) const noexcept {
        auto const base = static_cast<double>(options_.base.count());
        auto const times = static_cast<double>(k);
        return clamped(options_.shape == backoff_shape::linear ? base * times : base * std::pow(options_.multiplier, times - 1));
    }
    // jitter::factor's least and most.
    [[nodiscard]] range spread(std::int64_t d) const noexcept {
        auto const exact = static_cast<double>(d);
        auto const least = clamped(exact * (1 - options_.factor));
        return {std::chrono::nanoseconds{least}, std::chrono::nanoseconds{std::max(least, clamped(exact * (1 + options_.factor)))}};
    }
    // In [0, n].
    [[nodiscard]] std::int64_t up_to(std::int64_t n) noexcept {
        auto const span = static_cast<std::uint64_t>(n) + 1;
        return static_cast<std::int64_t>(detail::multiply_high(detail::splitmix64(seed_, ++drawn_), span));
    }

    backoff_options options_;
    std::int64_t previous_;  // ns, for decorrelated
    std::uint64_t seed_;
    std::uint64_t given_ = 0;  // delays so far
    std::uint64_t drawn_ = 0;  // random numbers so far
};

inline backoff_options backoff::checked(backoff_options o) {
    auto const need = [](bool good, char const* what) {
        if (!good) {
            throw std::invalid_argument{what};
        }
    };
    need(o.base.count() > 0, "weir::backoff: base must be > 0");
    need(o.max >= o.base, "weir::backoff: max must be >= base");
    need(o.multiplier >= 1 && o.multiplier <= 1000, "weir::backoff: multiplier must be in [1, 1000]");
    need(o.factor >= 0 && o.factor <= 1, "weir::backoff: factor must be in [0, 1]");
    need(o.shape == backoff_shape::exponential || o.shape == backoff_shape::linear, "weir::backoff: shape is unknown");
    need(o.jitter <= backoff_jitter::decorrelated, "weir::backoff: jitter is unknown");
    return o;
}

inline std::chrono::nanoseconds backoff::next() noexcept {
    auto const base = options_.base.count();
    auto const most = options_.max.count();
    auto const d = raw(++given_);
    switch (options_.jitter) {
        case backoff_jitter::none: return std::chrono::nanoseconds{d};
        case backoff_jitter::full: return std::chrono::nanoseconds{up_to(d)};
        case backoff_jitter::equal: return std::chrono::nanoseconds{d - d / 2 + up_to(d / 2)};
        case backoff_jitter::factor: {
            auto const [least, top] = spread(d);
            return least + std::chrono::nanoseconds{up_to((top - least).count())};
        }
        case backoff_jitter::decorrelated: {
            auto const top = std::max(base, previous_ > most / 3 ? most : 3 * previous_);
            previous_ = base + up_to(top - base);
            return std::chrono::nanoseconds{previous_};
        }
    }
    return std::chrono::nanoseconds{d};
}

inline auto backoff::bounds(backoff_options const& o, std::uint64_t k) -> range {
    backoff one(o, 0);
    auto const d = one.raw(k);
    using ns = std::chrono::nanoseconds;
    switch (o.jitter) {
        case backoff_jitter::none: return {ns{d}, ns{d}};
        case backoff_jitter::full: return {ns{0}, ns{d}};
        case backoff_jitter::equal: return {ns{d - d / 2}, ns{d}};
        case backoff_jitter::factor: return one.spread(d);
        case backoff_jitter::decorrelated:
            return {o.base, ns{one.clamped(static_cast<double>(o.base.count()) * std::pow(3.0, static_cast<double>(k)))}};
    }
    return {ns{d}, ns{d}};
}

}  // namespace weir::inline v0
#endif
