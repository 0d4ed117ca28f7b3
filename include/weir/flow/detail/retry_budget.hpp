// weir (BSL-1.0). retry_budget: keeps retries from making an overload worse.
#ifndef WEIR_FLOW_DETAIL_RETRY_BUDGET_HPP
#define WEIR_FLOW_DETAIL_RETRY_BUDGET_HPP
#include <weir/base/clock.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

// The orders are relaxed where one word decides: a budget is a number, and nothing else is read because of it. Only a withdrawal
// from a window looks at several words; see window_retry_budget::try_retry.

namespace weir::inline v0 {

/// What a retry asks before a second attempt. One budget is meant for all calls to one service. First attempts never ask.
template <class B>
concept retry_budget = requires(B& budget) {
    { budget.started() } noexcept;                          // a call, by its first attempt
    { budget.succeeded() } noexcept;                        // an attempt has
    { budget.failed() } noexcept;                           // an attempt has
    { budget.try_retry() } noexcept -> std::same_as<bool>;  // one more attempt may go, and is counted
};

/// Every retry may go.
struct no_retry_budget {
    void started() noexcept {}
    void succeeded() noexcept {}
    void failed() noexcept {}
    bool try_retry() noexcept { return true; }
};

struct token_retry_budget_options {
    double max_tokens = 10;    // (0, 1e6]; to 0.001
    double token_ratio = 0.1;  // (0, max_tokens]: what a success gives back; a failure takes 1
};

/// Retries while more than half of the tokens are there.
/// Source:   gRPC's retry throttling, proposal A6.
/// Threads:  every member from any thread at once. Progress: lock-free; nothing is written while the bucket is full.
class token_retry_budget {
public:
    using options = token_retry_budget_options;
    /// Throws: std::invalid_argument naming the option.
    explicit token_retry_budget(options o = {})
        : most_(milli(o.max_tokens, 1e6, "weir::token_retry_budget: max_tokens must be in (0, 1e6]")),
          gain_(milli(o.token_ratio, o.max_tokens, "weir::token_retry_budget: token_ratio must be in (0, max_tokens]")),
          tokens_(most_) {}

    void started() noexcept {}
    void succeeded() noexcept {
        auto seen = tokens_.load(std::memory_order_relaxed);  // relaxed: see above
        while (seen < most_) {
            auto const next = most_ - seen < gain_ ? most_ : seen + gain_;
            if (tokens_.compare_exchange_weak(seen, next, std::memory_order_relaxed)) {  // relaxed: see above
                return;
            }
        }
    }
    void failed() noexcept {
        auto seen = tokens_.load(std::memory_order_relaxed);  // relaxed: see above
        while (seen > 0) {
            if (tokens_.compare_exchange_weak(seen, seen > 1000 ? seen - 1000 : 0, std::memory_order_relaxed)) {  // relaxed: see above
                return;
            }
        }
    }
    [[nodiscard]] bool try_retry() noexcept {
        return 2 * tokens_.load(std::memory_order_relaxed) > most_;  // relaxed: see above
    }
    [[nodiscard]] double tokens() const noexcept {
        return static_cast<double>(tokens_.load(std::memory_order_relaxed)) / 1000;  // relaxed: see above
    }

private:
    static std::int64_t milli(double tokens, double most, char const* what) {
        if (!(tokens > 0 && tokens <= most)) {
            throw std::invalid_argument{what};
        }
        auto const count = static_cast<std::int64_t>(tokens * 1000 + 0.5);
        return count == 0 ? 1 : count;
    }

    std::int64_t most_;  // thousandths of a token, as are the next two
    std::int64_t gain_;
    std::atomic<std::int64_t> tokens_;  // any thread
};

namespace detail {

// Amounts of the last N slots of time: word i holds that of a slot whose number is i modulo N. Threads: any.
template <std::size_t N>
class slot_sums {
public:
    /// Adds to a slot, or to a later one that has its place already. None, and nothing happens: the sum would not fit.
    /// Order: seq_cst, if it adds.
    std::optional<std::uint32_t> add(std::uint32_t slot, std::uint32_t amount) noexcept {
        auto& w = words_[slot % N];
        auto seen = w.load(std::memory_order_relaxed);  // relaxed: a guess
        for (;;) {
            if (later(slot_of(seen), slot)) {
                slot = slot_of(seen);
            }
            auto const sum = slot_of(seen) == slot ? sum_of(seen) : 0;
            if (sum > std::numeric_limits<std::uint32_t>::max() - amount) {
                return std::nullopt;
            }
            auto const next = pack(slot, sum + amount);
            // relaxed: if it fails, a guess
            if (w.compare_exchange_weak(seen, next, std::memory_order_seq_cst, std::memory_order_relaxed)) {
                return slot;
            }
        }
    }
    /// Takes back what was added to a slot, unless that is over.
    void take_back(std::uint32_t slot, std::uint32_t amount) noexcept {
        auto& w = words_[slot % N];
        auto seen = w.load(std::memory_order_relaxed);  // relaxed: one word
        while (slot_of(seen) == slot &&
               !w.compare_exchange_weak(seen, pack(slot, sum_of(seen) - amount), std::memory_order_relaxed)) {  // relaxed: as above
        }
    }
    /// Of the N slots that end with `now`. Order: seq_cst.
    [[nodiscard]] std::int64_t sum(std::uint32_t now) const noexcept {
        std::int64_t total = 0;
        for (auto const& w : words_) {
            auto const seen = w.load();
            if (later(slot_of(seen) + static_cast<std::uint32_t>(N), now)) {
                total += sum_of(seen);
            }
        }
        return total;
    }

private:
    // slot:32 | sum:32
    static std::uint64_t pack(std::uint32_t slot, std::uint32_t sum) noexcept { return std::uint64_t{slot} << 32 | sum; }
    static std::uint32_t slot_of(std::uint64_t w) noexcept { return static_cast<std::uint32_t>(w >> 32); }
    static std::uint32_t sum_of(std::uint64_t w) noexcept { return static_cast<std::uint32_t>(w); }
    // Modulo 2^32. What is further ahead than any clock steps back was left behind long ago.
    static bool later(std::uint32_t a, std::uint32_t b) noexcept { return a - b - 1 < std::uint32_t{1} << 20; }

    std::atomic<std::uint64_t> words_[N]{};  // any thread
};

}  // namespace detail

struct window_retry_budget_options {
    std::chrono::nanoseconds ttl = std::chrono::seconds{10};  // how long an attempt counts, in tenths; [10 ns, 2^60 ns]
    double min_per_second = 10;                               // retries that may always go, [0, 1e6]
    double retry_ratio = 0.2;                                 // further ones for each attempt of the last ttl, [0, 1000]
};

/// Retries while they are at most a part of all calls of the last ttl, and a few more: in any interval of length ttl, no more than
/// min_per_second * ttl and retry_ratio for each call of that interval.
/// Source:   Finagle's RetryBudget (leaky token bucket). Ours counts retries for a tenth longer than calls, which makes the
///           bound hold for any interval, not only for one that begins with a slot.
/// Threads:  every member from any thread at once. Progress: lock-free.
template <clock_source Clock = coarse_clock>
class window_retry_budget {
    static constexpr std::int64_t slots = 10;

public:
    using options = window_retry_budget_options;
    /// Throws: std::invalid_argument naming the option.
    explicit window_retry_budget(options o = {}, Clock clock = {})
        : length_((checked(o).ttl.count() + slots - 1) / slots),
          gain_(static_cast<std::uint32_t>(o.retry_ratio * one + 0.5)),
          reserve_(static_cast<std::int64_t>(o.min_per_second * (static_cast<double>(o.ttl.count()) * 1e-9) * one)),
          clock_(std::move(clock)),
          start_(clock_.now()) {}

    void started() noexcept { static_cast<void>(deposits_.add(slot_now(), gain_)); }
    void succeeded() noexcept {}
    void failed() noexcept {}
    /// Takes one retry, if there is one. Threads that come at once may all be refused the last one; never more than there are
    /// go.
    [[nodiscard]] bool try_retry() noexcept {
        auto const now = slot_now();
        auto const taken = withdrawals_.add(now, one);
        if (!taken) {
            return false;
        }
        // seq_cst, all of it: of two threads that take at once, in two slots, at least one sees what the other has taken.
        if (left(now) >= 0) {
            return true;
        }
        withdrawals_.take_back(*taken, one);
        return false;
    }
    /// Retries that could go now.
    [[nodiscard]] double balance() const noexcept { return static_cast<double>(left(slot_now())) / one; }

private:
    static constexpr std::uint32_t one = 1000;  // a retry, in the units of the sums

    [[nodiscard]] std::uint32_t slot_now() const noexcept {
        auto const past = saturating_between(start_, clock_.now()).count();
        return static_cast<std::uint32_t>((past < 0 ? 0 : past / length_) + 2 * slots);  // behind the words, which begin in slot 0
    }
    [[nodiscard]] std::int64_t left(std::uint32_t now) const noexcept {
        return deposits_.sum(now) - withdrawals_.sum(now) + reserve_;
    }
    static options checked(options o) {
        if (o.ttl.count() < slots || o.ttl.count() > std::int64_t{1} << 60) {
            throw std::invalid_argument{"weir::window_retry_budget: ttl must be in [10, 2^60] ns"};
        }
        if (!(o.min_per_second >= 0 && o.min_per_second <= 1e6)) {
            throw std::invalid_argument{"weir::window_retry_budget: min_per_second must be in [0, 1e6]"};
        }
        if (!(o.retry_ratio >= 0 && o.retry_ratio <= 1000)) {
            throw std::invalid_argument{"weir::window_retry_budget: retry_ratio must be in [0, 1000]"};
        }
        return o;
    }

    std::int64_t length_;   // of a slot, ns
    std::uint32_t gain_;    // for a deposit
    std::int64_t reserve_;  // what is always there
    [[no_unique_address]] Clock clock_;
    time_point_of<Clock> start_;
    detail::slot_sums<static_cast<std::size_t>(slots)> deposits_;         // of less than ttl ago
    detail::slot_sums<static_cast<std::size_t>(slots) + 1> withdrawals_;  // of at least the last ttl
};

}  // namespace weir::inline v0
#endif
