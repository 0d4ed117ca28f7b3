// weir (BSL-1.0). rate_gcra: the token bucket as one number, the time at which it will be full again.
#ifndef WEIR_FLOW_DETAIL_RATE_GCRA_HPP
#define WEIR_FLOW_DETAIL_RATE_GCRA_HPP
#include <weir/flow/detail/rate_decision.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

// Source: generic cell rate algorithm, ITU-T I.371, 1993 (its theoretical arrival time, TAT), as in brandur's throttled and in
//         governor. Ours: 1/16 ns, so that 300 times a 300th of a second is a second; rounded against the caller.
//
// In ticks of 1/16 ns since the limiter was made: a token takes T = ceil(16 * period / limit), a full bucket cap = burst * T.
//   debt = max(0, TAT - now): what is missing until the bucket is full
//   n tokens may go if debt + n * T <= cap; then TAT = now + debt + n * T
// Invariant: TAT <= cap + reserve + the latest `now` it was made with. So a TAT beyond that means that the clock was set back, and
//         it is taken for now + cap: a step of any size costs no more than the time that the bucket takes to fill.
// Times beyond time_max_ (9 to 18 years since the limiter was made) stand still.

namespace weir::inline v0 {

struct token_bucket_options;

namespace detail {

[[nodiscard]] inline std::int64_t gcra_token(std::chrono::nanoseconds period, double limit) noexcept;

class gcra_rule {
public:
    using options = token_bucket_options;
    static constexpr unsigned scale_bits = 4;
    static constexpr std::int64_t scale = 1 << scale_bits;  // ticks in a ns

    inline explicit gcra_rule(token_bucket_options const& o);

    [[nodiscard]] static constexpr std::size_t words() noexcept { return 1; }
    [[nodiscard]] std::int64_t time(std::int64_t ns) const noexcept {
        std::int64_t twice = 0;
        if (!__builtin_mul_overflow(ns, 2 * scale, &twice)) [[likely]] {  // then it is within 2^58, and so within time_max_
            return twice >> 1;
        }
        return std::clamp(ns, -time_max_, time_max_) * scale;
    }
    [[nodiscard]] std::int64_t time_max() const noexcept { return time_max_; }
    void time_max(std::int64_t ns) noexcept { time_max_ = ns; }
    [[nodiscard]] static constexpr std::chrono::nanoseconds to_ns(std::int64_t ticks) noexcept {
        return std::chrono::nanoseconds{(ticks >> scale_bits) + ((ticks & (scale - 1)) != 0 ? 1 : 0)};  // rounded up
    }

    // -- On numbers
    [[nodiscard]] std::int64_t token() const noexcept { return token_; }
    [[nodiscard]] std::int64_t cap() const noexcept { return cap_; }
    [[nodiscard]] std::int64_t burst() const noexcept { return burst_; }
    [[nodiscard]] std::int64_t reserve() const noexcept { return reserve_; }
    [[nodiscard]] std::int64_t initial() const noexcept { return initial_; }
    [[nodiscard]] bool ever(std::int64_t n) const noexcept {
        return n == 1 || static_cast<std::uint64_t>(n) <= static_cast<std::uint64_t>(burst_);  // a negative n is a large one
    }
    [[nodiscard]] static std::int64_t debt(std::int64_t tat, std::int64_t now) noexcept {
        return std::max(ahead(tat, now), std::int64_t{0});
    }
    // The same, but below 0 if the bucket has been full for a while. For fits() and stepped_back() that makes no difference.
    [[nodiscard]] static std::int64_t ahead(std::int64_t tat, std::int64_t now) noexcept {
        std::int64_t difference = 0;
        if (__builtin_sub_overflow(tat, now, &difference)) [[unlikely]] {
            return tat < now ? INT64_MIN : INT64_MAX;
        }
        return difference;
    }
    [[nodiscard]] bool fits(std::int64_t debt, std::int64_t n) const noexcept { return ever(n) && debt <= cap_ - n * token_; }
    [[nodiscard]] bool stepped_back(std::int64_t debt) const noexcept { return debt > cap_ + reserve_; }
    [[nodiscard]] std::int64_t tokens(std::int64_t debt) const noexcept {  // rounded down, also below zero
        auto const left = cap_ - debt;
        return left / token_ - (left % token_ < 0 ? 1 : 0);
    }
    [[nodiscard]] rate_decision describe(std::int64_t debt, std::int64_t n, bool allowed) const noexcept {
        auto const left = cap_ - debt;
        return {allowed, left < token_ ? 0 : left / token_,  // no division for most refusals
                allowed || !ever(n) ? rate_decision::never : to_ns(debt - (cap_ - n * token_)), to_ns(debt)};
    }

    // -- On the words of a key
    template <class Words>
    [[nodiscard]] bool admits(Words const& w, std::int64_t n, std::int64_t now) const noexcept {
        return fits(debt(w.at(0), now), n);
    }
    template <class Words>
    void commit(Words const& w, std::int64_t n, std::int64_t now) const noexcept {
        w.set(0, now + debt(w.at(0), now) + n * token_);
    }
    template <class Words>
    [[nodiscard]] rate_decision describe(Words const& w, std::int64_t n, std::int64_t now, bool allowed) const noexcept {
        return describe(debt(w.at(0), now), n, allowed);
    }
    template <class Words>
    [[nodiscard]] bool impossible(Words const& w, std::int64_t now) const noexcept {
        return stepped_back(debt(w.at(0), now));
    }
    template <class Words>
    void heal(Words const& w, std::int64_t now) const noexcept {
        w.set(0, now + cap_);
    }

    // -- On keys that come and go
    [[nodiscard]] bool keyed() const noexcept { return initial_ == burst_; }
    /// As good as one that is not there.
    template <class Words>
    [[nodiscard]] bool fresh(Words const& w, std::int64_t now) const noexcept {
        return w.at(0) <= now;
    }
    /// The smaller, the less a key loses by going.
    template <class Words>
    [[nodiscard]] std::int64_t rank(Words const& w, std::int64_t) const noexcept {
        return w.at(0);
    }
    /// Words of a key that nothing is known of, but that it was at most `mark` if it has been here before.
    [[nodiscard]] std::int64_t start(std::size_t, std::int64_t mark, std::int64_t now) const noexcept {
        return std::min(mark, now + cap_);
    }
    /// A mark that only a step back can explain, and the one to put in its place.
    [[nodiscard]] bool impossible_mark(std::int64_t mark, std::int64_t now) const noexcept { return stepped_back(debt(mark, now)); }
    [[nodiscard]] std::int64_t healed_mark(std::int64_t now) const noexcept { return now + cap_; }

private:
    std::int64_t token_ = 0;    // T
    std::int64_t cap_ = 0;
    std::int64_t reserve_ = 0;  // debt beyond cap that reserve() may make
    std::int64_t burst_ = 0;
    std::int64_t initial_ = 0;
    std::int64_t time_max_ = 0;  // ns
};

/// Several buckets: what one of them refuses is taken from none.
class gcra_all_rule {
public:
    using options = std::vector<token_bucket_options>;

    inline explicit gcra_all_rule(std::vector<token_bucket_options> const& limits);

    [[nodiscard]] std::size_t words() const noexcept { return rules_.size(); }
    [[nodiscard]] std::int64_t time(std::int64_t ns) const noexcept { return rules_.front().time(ns); }
    [[nodiscard]] std::int64_t initial(std::size_t i) const noexcept {
        return (rules_[i].burst() - rules_[i].initial()) * rules_[i].token();
    }

    template <class Words>
    [[nodiscard]] bool admits(Words const& w, std::int64_t n, std::int64_t now) const noexcept {
        return all([&](gcra_rule const& r, std::size_t i) { return r.fits(gcra_rule::debt(w.at(i), now), n); });
    }
    template <class Words>
    void commit(Words const& w, std::int64_t n, std::int64_t now) const noexcept {
        for (std::size_t i = 0; i < rules_.size(); ++i) {
            w.set(i, now + gcra_rule::debt(w.at(i), now) + n * rules_[i].token());
        }
    }
    template <class Words>
    [[nodiscard]] rate_decision describe(Words const& w, std::int64_t n, std::int64_t now, bool allowed) const noexcept {
        rate_decision total{allowed, INT64_MAX, rate_decision::never, std::chrono::nanoseconds{0}};
        bool possible = true;
        for (std::size_t i = 0; i < rules_.size(); ++i) {
            auto const debt = gcra_rule::debt(w.at(i), now);
            auto const one = rules_[i].describe(debt, n, rules_[i].fits(debt, n));
            total.remaining = std::min(total.remaining, one.remaining);
            total.retry_after = std::max(total.retry_after, one.retry_after);
            total.reset_after = std::max(total.reset_after, one.reset_after);
            possible = possible && rules_[i].ever(n);
        }
        if (allowed || !possible) {
            total.retry_after = rate_decision::never;
        }
        return total;
    }
    template <class Words>
    [[nodiscard]] bool impossible(Words const& w, std::int64_t now) const noexcept {
        return !all([&](gcra_rule const& r, std::size_t i) { return !r.stepped_back(gcra_rule::debt(w.at(i), now)); });
    }
    template <class Words>
    void heal(Words const& w, std::int64_t now) const noexcept {
        for (std::size_t i = 0; i < rules_.size(); ++i) {
            w.set(i, std::min(w.at(i), now + rules_[i].cap()));
        }
    }

    [[nodiscard]] bool keyed() const noexcept {
        return all([](gcra_rule const& r, std::size_t) { return r.keyed(); });
    }
    template <class Words>
    [[nodiscard]] bool fresh(Words const& w, std::int64_t now) const noexcept {
        return rank(w, now) <= now;
    }
    template <class Words>
    [[nodiscard]] std::int64_t rank(Words const& w, std::int64_t) const noexcept {
        auto latest = w.at(0);
        for (std::size_t i = 1; i < rules_.size(); ++i) {
            latest = std::max(latest, w.at(i));
        }
        return latest;
    }
    // No bucket of a key that has gone was emptier than empty.
    [[nodiscard]] std::int64_t start(std::size_t i, std::int64_t mark, std::int64_t now) const noexcept {
        return rules_[i].start(0, mark, now);
    }
    [[nodiscard]] bool impossible_mark(std::int64_t mark, std::int64_t now) const noexcept {
        return all([&](gcra_rule const& r, std::size_t) { return r.impossible_mark(mark, now); });
    }
    [[nodiscard]] std::int64_t healed_mark(std::int64_t now) const noexcept {
        std::int64_t most = 0;
        for (auto const& r : rules_) {
            most = std::max(most, r.cap());
        }
        return now + most;
    }

private:
    template <class F>
    [[nodiscard]] bool all(F&& f) const noexcept {
        for (std::size_t i = 0; i < rules_.size(); ++i) {
            if (!f(rules_[i], i)) {
                return false;
            }
        }
        return true;
    }

    std::vector<gcra_rule> rules_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
