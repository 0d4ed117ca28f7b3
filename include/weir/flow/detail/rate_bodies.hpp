// weir (BSL-1.0). rate_bodies: what the members of the rate limiters do.
#ifndef WEIR_FLOW_DETAIL_RATE_BODIES_HPP
#define WEIR_FLOW_DETAIL_RATE_BODIES_HPP
#include <weir/flow/rate_limiter.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <exception>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <vector>

// Orders: see rate_limiter.hpp.

namespace weir::inline v0 {

namespace detail {

// ceil(16 * period / limit), exactly, and at least 1; 0 if that is more than 2^62.
inline std::int64_t gcra_token(std::chrono::nanoseconds period, double limit) noexcept {
    constexpr int digits = 53;
    int exponent = 0;
    auto factor = static_cast<std::uint64_t>(std::ldexp(std::frexp(limit, &exponent), digits));
    exponent -= digits;
    auto const even = std::countr_zero(factor);
    factor >>= even;
    exponent += even;  // limit == factor * 2^exponent, factor is odd
    auto ticks = static_cast<rate_wide>(period.count()) * gcra_rule::scale;
    auto per = static_cast<rate_wide>(factor);
    if (exponent >= 0) {
        if (exponent > 66) {
            return 1;
        }
        per <<= exponent;
    } else {
        auto const width = 4 + static_cast<int>(std::bit_width(static_cast<std::uint64_t>(period.count())));
        if (width - exponent > 126) {
            return 0;
        }
        ticks <<= -exponent;
    }
    auto const token = (ticks + per - 1) / per;
    return token > static_cast<rate_wide>(std::int64_t{1} << 62) ? 0 : static_cast<std::int64_t>(token);
}

inline gcra_rule::gcra_rule(token_bucket_options const& o) {
    rate_need(o.limit > 0 && std::isfinite(o.limit), "weir::token_bucket: limit must be > 0, and finite");
    rate_need(rate_time(o.period), "weir::token_bucket: period must be in (0, 2^60] ns");
    rate_need(o.burst >= 1, "weir::token_bucket: burst must be >= 1");
    auto const start = o.initial_tokens.value_or(o.burst);
    rate_need(start >= 0 && start <= o.burst, "weir::token_bucket: initial_tokens must be in [0, burst]");
    rate_need(o.max_reserve.count() >= 0 && o.max_reserve <= rate_time_max,
              "weir::token_bucket: max_reserve must be in [0, 2^60] ns");
    constexpr auto most = std::int64_t{1} << 62;
    token_ = gcra_token(o.period, o.limit);
    rate_need(token_ > 0 && o.burst <= most / token_, "weir::token_bucket: burst must take no more than 2^58 ns to fill");
    cap_ = token_ * o.burst;
    rate_need(o.max_reserve.count() <= (most - cap_) / scale,
              "weir::token_bucket: max_reserve must be no more than 2^58 ns, with the time that burst takes to fill");
    reserve_ = o.max_reserve.count() * scale;
    burst_ = o.burst;
    initial_ = start;
    time_max_ = (INT64_MAX - cap_ - reserve_) / scale;
}

inline gcra_all_rule::gcra_all_rule(std::vector<token_bucket_options> const& limits) : rules_(limits.begin(), limits.end()) {
    rate_need(!limits.empty(), "weir::rate_limits: limits must be one at least");
    auto common = rules_.front().time_max();
    for (auto const& r : rules_) {
        common = std::min(common, r.time_max());
    }
    for (auto& r : rules_) {
        r.time_max(common);
    }
}

inline log_rule::log_rule(sliding_log_options const& o) : limit_(o.limit), window_(o.window.count()) {
    rate_need(o.limit >= 1 && o.limit <= (1 << 20), "weir::sliding_log: limit must be in [1, 2^20]");
    rate_need(rate_time(o.window), "weir::sliding_log: window must be in (0, 2^60] ns");
}

inline counter_rule::counter_rule(sliding_counter_options const& o) : limit_(o.limit), window_(o.window.count()) {
    rate_need(o.limit >= 1 && o.limit <= limit_max, "weir::sliding_counter: limit must be in [1, 2^20)");
    rate_need(rate_time(o.window), "weir::sliding_counter: window must be in (0, 2^60] ns");
    index_ = divisor{window_};
}

template <class Rule>
[[nodiscard]] Rule keyed_rule(typename Rule::options const& o) {
    Rule rule(o);
    rate_need(rule.keyed(), "weir::keyed_rate_limiter: initial_tokens must be left out: keys that come back start full");
    return rule;
}

// A layer of a pipeline: `ask()` gives nothing, or why the call is refused.
template <class Ask>
class rate_policy {
public:
    using is_policy = void;
    explicit rate_policy(Ask ask) noexcept(std::is_nothrow_move_constructible_v<Ask>) : ask_(std::move(ask)) {}

    template <class Context, class Next>
    auto operator()(Context& context, Next&& next) const -> std::invoke_result_t<Next, Context&> {
        if (auto why = refusal_of()) {
            return unexpected<failure>{*std::move(why)};
        }
        return std::forward<Next>(next)(context);
    }

private:
    // What asking throws (a Hash, say) is a failure: no layer throws.
    [[nodiscard]] std::optional<failure> refusal_of() const noexcept {
        if constexpr (noexcept(ask_())) {
            return ask_();
        } else {
            try {
                return ask_();
            } catch (...) {
                return failure{std::current_exception()};
            }
        }
    }

    Ask ask_;
};

// The way that is taken most often needs no particulars.
template <class Try, class Look>
[[nodiscard]] std::optional<rejected> rate_refusal(Try const& attempt, Look const& look) {
    if (attempt()) [[likely]] {
        return std::nullopt;
    }
    auto const d = look();
    return d.allowed ? rejected{refusal::rate_limited, std::chrono::nanoseconds{0}} : d.rejection();
}

template <class Limiter>
[[nodiscard]] auto plain_rate_policy(Limiter& limiter, std::int64_t n) noexcept {
    return rate_policy{[&limiter, n]() noexcept {
        auto const now = limiter.now();
        return rate_refusal([&] { return limiter.try_acquire(n, now); }, [&] { return limiter.check(n, now); });
    }};
}

template <class Rule, clock_source Clock>
auto latched_limiter<Rule, Clock>::policy(std::int64_t n) noexcept {
    return plain_rate_policy(*this, n);
}

}  // namespace detail

inline token_bucket_options token_bucket_options::for_window(std::int64_t n, std::chrono::nanoseconds window, std::int64_t burst) {
    detail::rate_need(burst >= 1 && burst < n, "weir::token_bucket: for_window: burst must be in [1, n)");
    detail::rate_need(n <= std::int64_t{1} << 53, "weir::token_bucket: for_window: n must be <= 2^53");
    return {.limit = static_cast<double>(n - burst), .period = window, .burst = burst};
}

// -- token_bucket

template <clock_source Clock>
token_bucket<Clock>::token_bucket(options o, Clock clock)
    : tat_(0), rule_(o), clock_(std::move(clock)), epoch_(clock_.now()) {
    // relaxed: nobody else knows it yet
    tat_.store((rule_.burst() - rule_.initial()) * rule_.token(), std::memory_order_relaxed);
}

/// Tokens to be used at a time to come. Goes to cancel(), or is just dropped.
template <clock_source Clock>
class token_bucket<Clock>::reservation {
public:
    reservation(reservation&& other) noexcept
        : at_(other.at_), tat_(other.tat_), act_(other.act_), tokens_(std::exchange(other.tokens_, 0)) {}
    reservation& operator=(reservation&& other) noexcept {
        at_ = other.at_;
        tat_ = other.tat_;
        act_ = other.act_;
        tokens_ = std::exchange(other.tokens_, 0);
        return *this;
    }
    /// When they may be used.
    [[nodiscard]] time_point at() const noexcept { return at_; }
    [[nodiscard]] std::int64_t tokens() const noexcept { return tokens_; }

private:
    friend token_bucket;
    reservation(time_point at, std::int64_t tat, std::int64_t act, std::int64_t tokens) noexcept
        : at_(at), tat_(tat), act_(act), tokens_(tokens) {}

    time_point at_;
    std::int64_t tat_;     // that it has made
    std::int64_t act_;     // `at_` in ticks
    std::int64_t tokens_;  // 0: moved from
};

// Takes what cost(debt) says, if that is not below 0; returns it.
template <clock_source Clock>
template <class Cost>
std::int64_t token_bucket<Clock>::take(std::int64_t& now, Cost const& cost) noexcept {
    auto seen = tat_.load(std::memory_order_relaxed);  // relaxed: see above
    for (bool healed = false;;) {
        auto const debt = rule::debt(seen, now);
        auto const price = cost(debt);
        if (price <= 0) {
            if (price < 0 && rule_.stepped_back(debt) && !healed) [[unlikely]] {
                now = heal();
                healed = true;
                seen = tat_.load(std::memory_order_relaxed);  // relaxed: see above
                continue;
            }
            return price;
        }
        if (tat_.compare_exchange_weak(seen, now + debt + price, std::memory_order_relaxed)) {  // relaxed: see above
            return price;
        }
    }
}

// A debt that is too large: the clock was set back, or the caller was suspended for long after it had looked at it. Returns the
// time as it is now.
template <clock_source Clock>
std::int64_t token_bucket<Clock>::heal() noexcept {
    auto const now = ticks(clock_.now());
    auto seen = tat_.load(std::memory_order_relaxed);  // relaxed: see above
    while (rule_.stepped_back(rule::debt(seen, now))) {
        if (tat_.compare_exchange_weak(seen, now + rule_.cap(), std::memory_order_relaxed)) {  // relaxed: see above
            heals_.add();
            break;
        }
    }
    return now;
}

template <clock_source Clock>
bool token_bucket<Clock>::try_acquire(std::int64_t n, time_point now) noexcept {
    auto const time = ticks(now);
    auto seen = tat_.load(std::memory_order_relaxed);  // relaxed: see above
    for (;;) {
        auto const ahead = rule::ahead(seen, time);
        if (!rule_.fits(ahead, n)) {
            return rule_.stepped_back(ahead) && try_acquire_again(n);
        }
        auto const next = std::max(seen, time) + n * rule_.token();
        if (n == 0 || tat_.compare_exchange_weak(seen, next, std::memory_order_relaxed)) {  // relaxed: see above
            return true;
        }
    }
}

template <clock_source Clock>
bool token_bucket<Clock>::try_acquire_again(std::int64_t n) noexcept {
    auto time = heal();
    return take(time, [&](std::int64_t debt) { return rule_.fits(debt, n) ? n * rule_.token() : -1; }) >= 0;
}

template <clock_source Clock>
rate_decision token_bucket<Clock>::allow(std::int64_t n, time_point now) noexcept {
    auto time = ticks(now);
    std::int64_t found = 0;
    auto const price = take(time, [&](std::int64_t debt) {
        found = debt;
        return rule_.fits(debt, n) ? n * rule_.token() : -1;
    });
    return rule_.describe(found + std::max(price, std::int64_t{0}), n, price >= 0);
}

template <clock_source Clock>
rate_grant token_bucket<Clock>::allow_at_most(std::int64_t n, time_point now) noexcept {
    auto time = ticks(now);
    std::int64_t found = 0;
    auto const price = take(time, [&](std::int64_t debt) {
        found = debt;
        auto const granted = std::min(n, rule_.tokens(debt));
        return granted > 0 ? granted * rule_.token() : n > 0 ? -1 : 0;
    });
    auto const granted = std::max(price, std::int64_t{0}) / rule_.token();
    auto const d = rule_.describe(found + granted * rule_.token(), 1, granted > 0 || n <= 0);
    return {granted, d.remaining, d.retry_after, d.reset_after};
}

template <clock_source Clock>
rate_decision token_bucket<Clock>::check(std::int64_t n, time_point now) const noexcept {
    auto const found = debt(now);
    return rule_.describe(found, n, rule_.fits(found, n));
}

template <clock_source Clock>
auto token_bucket<Clock>::reserve(std::int64_t n, std::chrono::nanoseconds longest, time_point now) noexcept
    -> expected<reservation, rejected> {
    using std::chrono::nanoseconds;
    if (!rule_.ever(n)) {
        return unexpected{rejected{refusal::over_capacity}};
    }
    longest = std::clamp(longest, nanoseconds{0}, rule::to_ns(rule_.reserve()));
    auto time = ticks(now);
    nanoseconds wait{0};
    std::int64_t tat = 0;
    auto const cost = n * rule_.token();
    auto const price = take(time, [&](std::int64_t debt) {
        auto const ahead = debt - (rule_.cap() - cost);
        wait = rule::to_ns(std::max(ahead, std::int64_t{0}));
        tat = time + debt + cost;
        return wait <= longest && !rule_.stepped_back(debt) ? cost : -1;
    });
    if (price < 0) {
        return unexpected{rejected{refusal::rate_limited, wait - longest}};
    }
    // After a heal the time is not the one that was given.
    auto const from = time == ticks(now) ? now : clock_.now();
    return reservation{saturating_add(from, wait), tat, std::max(tat - rule_.cap(), time), n};
}

template <clock_source Clock>
std::int64_t token_bucket<Clock>::cancel(reservation r) noexcept {
    return cancel(std::move(r), now());
}

template <clock_source Clock>
std::int64_t token_bucket<Clock>::cancel(reservation r, time_point now) noexcept {
    auto seen = r.tat_;
    if (r.tokens_ == 0 || ticks(now) > r.act_) {
        return 0;
    }
    auto const before = seen - r.tokens_ * rule_.token();
    return tat_.compare_exchange_strong(seen, before, std::memory_order_relaxed) ? r.tokens_ : 0;  // relaxed: see above
}

template <clock_source Clock>
template <sleeper Sleeper>
expected<void, rejected> token_bucket<Clock>::wait_for(std::int64_t n, std::chrono::nanoseconds longest, std::stop_token const& stop,
                                                       Sleeper const& sleeper) {
    using std::chrono::nanoseconds;
    if (stop.stop_requested()) {
        return unexpected{rejected{refusal::stopped}};
    }
    auto const start = now();
    auto turn = reserve(n, longest, start);
    if (!turn.has_value()) {
        return unexpected{turn.error()};
    }
    struct cancels {
        token_bucket* bucket;
        reservation& turn;
        ~cancels() {
            if (bucket != nullptr) {
                bucket->cancel(std::move(turn));
            }
        }
    } guard{this, *turn};
    auto const at = turn->at();
    auto time = start;
    do {
        auto const left = saturating_between(time, at);
        if (left.count() <= 0) {
            break;
        }
        if (!sleeper.sleep_for(left, stop)) {
            return unexpected{rejected{refusal::stopped}};
        }
        time = now();
    } while (time > start);  // else the clock is too coarse, or was set back: what was slept has to do
    guard.bucket = nullptr;
    return {};
}

template <clock_source Clock>
template <sleeper Sleeper>
expected<void, rejected> token_bucket<Clock>::wait_until(std::int64_t n, time_point deadline, std::stop_token const& stop,
                                                         Sleeper const& sleeper) {
    auto const left = deadline == time_point::max() ? std::chrono::nanoseconds::max() : saturating_between(now(), deadline);
    if (left.count() < 0) {
        return unexpected{rejected{refusal::timed_out}};
    }
    return wait_for(n, left, stop, sleeper);
}

template <clock_source Clock>
auto token_bucket<Clock>::policy(std::int64_t n) noexcept {
    return detail::plain_rate_policy(*this, n);
}

template <clock_source Clock>
token_bucket_stats token_bucket<Clock>::stats() const noexcept {
    auto const found = debt(now());
    return {rule_.tokens(found), rule::to_ns(found), heals_.value()};
}

// -- rate_limits

template <clock_source Clock>
rate_limits<Clock>::rate_limits(std::vector<token_bucket_options> const& limits, Clock clock)
    : detail::latched_limiter<detail::gcra_all_rule, Clock>(limits, std::move(clock)) {
    for (std::size_t i = 0; i < limits.size(); ++i) {
        this->cell_.words().set(i, this->cell_.rule().initial(i));
    }
}

template <clock_source Clock>
rate_limits_stats rate_limits<Clock>::stats() const noexcept {
    auto const d = this->check(0);
    return {this->cell_.rule().words(), d.remaining, d.reset_after, this->cell_.heals()};
}

// -- sliding_log

template <clock_source Clock>
sliding_log_stats sliding_log<Clock>::stats() const noexcept {
    auto const d = this->check(0);
    auto const limit = this->cell_.rule().limit();
    return {limit, limit - d.remaining, d.remaining, d.reset_after, this->cell_.heals()};
}

// -- sliding_counter

template <clock_source Clock>
bool sliding_counter<Clock>::take(std::int64_t n, std::int64_t& now, rule::counts& counts) noexcept {
    auto seen = load();
    for (bool healed = false;;) {
        counts = rule_.read(seen, now);
        if (n == 0) {
            return true;
        }
        if (!rule_.fits(counts, n)) {
            if (healed || !rule_.stepped_back(counts, now)) [[likely]] {
                return false;
            }
            now = time(clock_.now());  // the caller may have been suspended after it looked at the clock
            healed = true;
            if (rule_.stepped_back(rule_.read(seen, now), now)) {
                // relaxed: see above; if it fails, another word stands there
                if (word_.compare_exchange_strong(seen, rule_.healed(seen, now), std::memory_order_relaxed)) {
                    heals_.add();
                }
                seen = load();
            }
            continue;
        }
        counts.current += n;
        if (word_.compare_exchange_weak(seen, rule::pack(counts), std::memory_order_relaxed)) {  // relaxed: see above
            return true;
        }
    }
}

template <clock_source Clock>
rate_decision sliding_counter<Clock>::allow(std::int64_t n, time_point now) noexcept {
    auto t = time(now);
    rule::counts counts{};
    bool const allowed = take(n, t, counts);
    return rule_.describe(counts, n, t, allowed);
}

template <clock_source Clock>
bool sliding_counter<Clock>::try_acquire(std::int64_t n, time_point now) noexcept {
    auto t = time(now);
    rule::counts counts{};
    return take(n, t, counts);
}

template <clock_source Clock>
rate_decision sliding_counter<Clock>::check(std::int64_t n, time_point now) const noexcept {
    auto const t = time(now);
    auto const counts = rule_.read(load(), t);
    return rule_.describe(counts, n, t, n == 0 || rule_.fits(counts, n));
}

template <clock_source Clock>
sliding_counter_stats sliding_counter<Clock>::stats() const noexcept {
    auto const t = time(now());
    auto const counts = rule_.read(load(), t);
    auto const d = rule_.describe(counts, 0, t, true);
    return {rule_.limit(), rule_.estimate(counts), d.remaining, d.reset_after, static_cast<std::uint64_t>(heals_.value())};
}

template <clock_source Clock>
auto sliding_counter<Clock>::policy(std::int64_t n) noexcept {
    return detail::plain_rate_policy(*this, n);
}

// -- keyed_rate_limiter

template <class Key, rate_algorithm Algorithm, class Hash>
    requires hasher_of<Hash, Key>
keyed_rate_limiter<Key, Algorithm, Hash>::keyed_rate_limiter(limit_options limit, options o, clock_type clock, Hash hash)
    : clock_(std::move(clock)),
      epoch_(clock_.now()),
      hash_(std::move(hash), o.seed ? *o.seed : random_seed()),
      table_(detail::keyed_rule<typename Algorithm::rule>(limit),
             detail::checked_rate_capacity(o.capacity, "weir::keyed_rate_limiter: capacity must be in [1, 2^32]")) {}

template <class Key, rate_algorithm Algorithm, class Hash>
    requires hasher_of<Hash, Key>
template <class K>
std::uint64_t keyed_rate_limiter<Key, Algorithm, Hash>::hash(K const& key) const {
    if constexpr (hasher_of<Hash, K> && (std::same_as<K, Key> || requires { typename Hash::is_transparent; })) {
        return hash_(key);
    } else {
        return hash_(static_cast<Key const&>(key));
    }
}

template <class Key, rate_algorithm Algorithm, class Hash>
    requires hasher_of<Hash, Key>
auto keyed_rate_limiter<Key, Algorithm, Hash>::policy(Key key, std::int64_t n) {
    return detail::rate_policy{[this, key = std::move(key), n] {
        auto const time = now();
        return detail::rate_refusal([&] { return try_acquire(key, n, time); }, [&] { return peek(key, n, time); });
    }};
}

}  // namespace weir::inline v0
#endif
