// weir (BSL-1.0). rate_decision: what a rate limiter answers, and the arithmetic that all of them share.
#ifndef WEIR_FLOW_DETAIL_RATE_DECISION_HPP
#define WEIR_FLOW_DETAIL_RATE_DECISION_HPP
#include <weir/base/outcome.hpp>

#include <atomic>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

// Edges (who hands what to whom):
//   E2  who holds the latch sets a word -> who reads words without it sees that the latch was taken, see rate_latch.hpp

namespace weir::inline v0 {

/// What a limiter answers.
struct rate_decision {
    static constexpr std::chrono::nanoseconds never{-1};

    bool allowed = false;
    std::int64_t remaining = 0;               // that would be allowed at once now
    // Until the same would be allowed, if nobody else comes. -1: it was allowed, or never will be.
    std::chrono::nanoseconds retry_after = never;
    std::chrono::nanoseconds reset_after{0};  // until nothing that was allowed counts any more

    [[nodiscard]] explicit operator bool() const noexcept { return allowed; }
    /// The same as a refusal. Only if it was not allowed.
    [[nodiscard]] rejected rejection() const noexcept {
        assert(!allowed);
        return {retry_after == never ? refusal::over_capacity : refusal::rate_limited, retry_after};
    }
    friend bool operator==(rate_decision const&, rate_decision const&) = default;
};

/// What a limiter gives to one who takes what there is.
struct rate_grant {
    std::int64_t granted = 0;
    std::int64_t remaining = 0;
    std::chrono::nanoseconds retry_after = rate_decision::never;  // until there is one, if nothing was granted
    std::chrono::nanoseconds reset_after{0};
};

namespace detail {

inline constexpr std::chrono::nanoseconds rate_time_max{std::int64_t{1} << 60};  // 36 years
inline constexpr std::int64_t rate_no_mark = INT64_MIN;                          // of a set that has evicted nothing

inline void rate_need(bool good, char const* what) {
    if (!good) {
        throw std::invalid_argument{what};
    }
}

[[nodiscard]] inline bool rate_time(std::chrono::nanoseconds d) noexcept { return d.count() > 0 && d <= rate_time_max; }

[[nodiscard]] inline std::size_t checked_rate_capacity(std::size_t capacity, char const* what) {
    rate_need(capacity >= 1 && capacity <= std::size_t{1} << 32, what);
    return capacity;
}

__extension__ typedef unsigned __int128 rate_wide;

/// The words of one key, as a rule sees them. Who changes them holds the latch that stands before them.
struct rate_words {
    std::atomic<std::int64_t>* first;

    [[nodiscard]] std::int64_t at(std::size_t i) const noexcept {
        return first[i].load(std::memory_order_acquire);  // E2 acquire
    }
    void set(std::size_t i, std::int64_t word) const noexcept {
        first[i].store(word, std::memory_order_release);  // E2 release
    }
};

/// The words of a key that nothing is known of but its set's watermark.
template <class Rule>
struct rate_unknown_key {
    Rule const& rule;
    std::int64_t mark;
    std::int64_t now;
    [[nodiscard]] std::int64_t at(std::size_t i) const noexcept { return rule.start(i, mark, now); }
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
