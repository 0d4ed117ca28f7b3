// weir (BSL-1.0). breaker_word: all that a circuit breaker decides on, in one word.
#ifndef WEIR_FLOW_DETAIL_BREAKER_WORD_HPP
#define WEIR_FLOW_DETAIL_BREAKER_WORD_HPP

#include <algorithm>
#include <cstdint>

// state:3 | trips:5 | generation:16 | payload:40. Every transition is one exchange of the word and begins a new generation;
// a permit carries the generation that it was given in, so that its result is not taken for one of another time.
//
// The payload, by state:
//   closed      consecutive failures; with a window: 0
//   open        when probes may be let through, in ms since the breaker was made (34 years), rounded up
//   half_open   issued:10 | succeeded:10 | failed:10 | slow:10
//   metrics     passed:1 | consecutive failures:39
//   else        0

namespace weir::inline v0 {

enum class breaker_state : unsigned char {
    closed,        // calls go through
    open,          // no call goes through until the open time is over
    half_open,     // a few calls go through and decide what comes next
    forced_open,   // no call goes through until somebody says otherwise
    disabled,      // all calls go through, nothing is recorded
    metrics_only,  // all calls go through and are recorded, nothing follows from it
};

namespace detail {

class breaker_word {
    static constexpr unsigned payload_bits = 40;
    static constexpr unsigned probe_bits = 10;
    static constexpr std::uint64_t probe_mask = (1U << probe_bits) - 1;
    static constexpr std::uint64_t passed_bit = std::uint64_t{1} << (payload_bits - 1);
    static constexpr std::uint64_t failures_max = 0xffff'ffff;

public:
    static constexpr std::uint64_t payload_max = (std::uint64_t{1} << payload_bits) - 1;
    static constexpr unsigned trips_max = 31;
    static constexpr unsigned probes_max = 1023;

    constexpr breaker_word() noexcept = default;
    constexpr explicit breaker_word(std::uint64_t bits) noexcept : bits_(bits) {}
    constexpr breaker_word(breaker_state state, unsigned trips, std::uint16_t generation,
                           std::uint64_t payload) noexcept
        : bits_(std::uint64_t{static_cast<unsigned char>(state)} << 61 |
                std::uint64_t{std::min(trips, trips_max)} << 56 | std::uint64_t{generation} << payload_bits |
                std::min(payload, payload_max)) {}

    [[nodiscard]] constexpr std::uint64_t bits() const noexcept { return bits_; }
    [[nodiscard]] constexpr breaker_state state() const noexcept { return static_cast<breaker_state>(bits_ >> 61); }
    [[nodiscard]] constexpr unsigned trips() const noexcept { return static_cast<unsigned>(bits_ >> 56) & trips_max; }
    [[nodiscard]] constexpr std::uint16_t generation() const noexcept {
        return static_cast<std::uint16_t>(bits_ >> payload_bits);
    }
    [[nodiscard]] constexpr std::uint64_t payload() const noexcept { return bits_ & payload_max; }

    // Closed, in generation g, with nothing in the payload.
    [[nodiscard]] constexpr bool closed_and_well(std::uint16_t g) const noexcept {
        return (bits_ & ~(std::uint64_t{trips_max} << 56)) == std::uint64_t{g} << payload_bits;
    }

    [[nodiscard]] constexpr breaker_word next(breaker_state state, unsigned trips,
                                              std::uint64_t payload) const noexcept {
        return {state, trips, static_cast<std::uint16_t>(generation() + 1), payload};
    }

    // Metrics only: whether it would have opened.
    [[nodiscard]] constexpr bool passed() const noexcept { return (bits_ & passed_bit) != 0; }
    [[nodiscard]] constexpr breaker_word pass() const noexcept { return breaker_word{bits_ | passed_bit}; }
    // Closed or metrics only.
    [[nodiscard]] constexpr std::uint64_t failures() const noexcept { return bits_ & payload_max & ~passed_bit; }
    [[nodiscard]] constexpr breaker_word with_failures(std::uint64_t n) const noexcept {
        return breaker_word{(bits_ & ~(payload_max & ~passed_bit)) | std::min(n, failures_max)};
    }

    // Half open.
    [[nodiscard]] constexpr unsigned issued() const noexcept { return field(0); }
    [[nodiscard]] constexpr unsigned succeeded() const noexcept { return field(1); }
    [[nodiscard]] constexpr unsigned failed() const noexcept { return field(2); }
    [[nodiscard]] constexpr unsigned slow() const noexcept { return field(3); }
    [[nodiscard]] constexpr breaker_word issue() const noexcept { return breaker_word{bits_ + one(0)}; }
    [[nodiscard]] constexpr breaker_word take_back() const noexcept { return breaker_word{bits_ - one(0)}; }
    [[nodiscard]] constexpr breaker_word count(bool failure, bool was_slow) const noexcept {
        return breaker_word{bits_ + one(failure ? 2 : 1) + (was_slow ? one(3) : 0)};
    }

    friend constexpr bool operator==(breaker_word, breaker_word) noexcept = default;

private:
    [[nodiscard]] constexpr unsigned field(unsigned i) const noexcept {
        return static_cast<unsigned>(bits_ >> (i * probe_bits) & probe_mask);
    }
    static constexpr std::uint64_t one(unsigned i) noexcept { return std::uint64_t{1} << (i * probe_bits); }

    std::uint64_t bits_ = 0;
};

/// A moment of a generation: generation:16 | ms:48 since the breaker was made, rounded up.
class breaker_moment {
public:
    constexpr explicit breaker_moment(std::uint64_t bits) noexcept : bits_(bits) {}
    constexpr breaker_moment(std::uint16_t generation, std::uint64_t ms) noexcept
        : bits_(std::uint64_t{generation} << 48 | std::min(ms, ms_max)) {}
    [[nodiscard]] constexpr std::uint64_t bits() const noexcept { return bits_; }
    [[nodiscard]] constexpr std::uint16_t generation() const noexcept {
        return static_cast<std::uint16_t>(bits_ >> 48);
    }
    [[nodiscard]] constexpr std::uint64_t ms() const noexcept { return bits_ & ms_max; }
    // Of a generation before g, as far as 16 bits can say.
    [[nodiscard]] constexpr bool before(std::uint16_t g) const noexcept {
        return static_cast<std::int16_t>(static_cast<std::uint16_t>(g - generation())) > 0;
    }

private:
    static constexpr std::uint64_t ms_max = (std::uint64_t{1} << 48) - 1;
    std::uint64_t bits_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
