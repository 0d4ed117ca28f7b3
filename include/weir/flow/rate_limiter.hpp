// weir (BSL-1.0). rate_limiter: how many calls may go in how much time, for one key or for millions in memory that never grows.
#ifndef WEIR_FLOW_RATE_LIMITER_HPP
#define WEIR_FLOW_RATE_LIMITER_HPP
#include <weir/base/clock.hpp>
#include <weir/base/concepts.hpp>
#include <weir/base/expected.hpp>
#include <weir/base/hash.hpp>
#include <weir/base/outcome.hpp>
#include <weir/base/sleeper.hpp>
#include <weir/data/stats.hpp>
#include <weir/flow/detail/rate_cached.hpp>
#include <weir/flow/detail/rate_decision.hpp>
#include <weir/flow/detail/rate_gcra.hpp>
#include <weir/flow/detail/rate_latched.hpp>
#include <weir/flow/detail/rate_stats.hpp>
#include <weir/flow/detail/rate_table.hpp>
#include <weir/flow/detail/rate_window.hpp>

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

// Which:    token_bucket    a steady rate and a burst, in one word: the usual choice
//           rate_limits     several of them at once: 10 a second, but 1000 a day
//           sliding_log     exactly N in any window; memory for N times
//           sliding_counter nearly N in a window, in one word: at worst, twice as many, less one, around one moment
//           keyed_rate_limiter<Key, one of these with its clock>   the same for each key
//           cached_limiter  who is refused gets the last answer instead
// When not: what is limited is how many are under way at once: weir::bulkhead. Several processes share the limit.
// Source:   detail/rate_gcra.hpp, rate_window.hpp and rate_table.hpp name theirs.
//
//     weir::token_bucket limit{{.limit = 100, .burst = 20}};                                   // 100 a second, 20 at once
//     weir::keyed_rate_limiter<std::string> clients{{.limit = 10, .burst = 5}, {.capacity = 100'000}};
//     if (auto const d = clients.allow(address); !d) { answer_429(d.retry_after); }
//
// Promise: in any interval of length t, a bucket lets through no more than burst + rate * t. So `burst = N` is not "N in a window":
//          take sliding_log, or token_bucket_options::for_window.
// A refusal leaves no trace, and asking again after `retry_after` succeeds if nobody else came; a nanosecond earlier it does not.
// Clocks:  a clock that steps back delays calls by the time that a bucket takes to fill, or by three windows, at most.
// Each function that has to know the time has a form that takes it, `now`, so that a chain of them looks at the clock once. It has
// to be a recent reading of the limiter's own clock.
// token_bucket and sliding_counter decide on one word that nothing else is read by: their orders are relaxed. The others change
// several words under a latch, see detail/rate_latch.hpp.

namespace weir::inline v0 {

struct token_bucket_options {
    double limit = 100;                                       // tokens in a period, > 0; above 16 in a ns: 16
    std::chrono::nanoseconds period = std::chrono::seconds{1};  // (0, 2^60] ns
    std::int64_t burst = 1;                                   // tokens that may be saved up, >= 1; they and max_reserve must be
                                                              // made within 2^58 ns (9 years)
    std::optional<std::int64_t> initial_tokens{};             // 0 to burst; none: burst
    std::chrono::nanoseconds max_reserve = std::chrono::hours{24};  // how far ahead tokens may be reserved, [0, 2^60] ns

    /// At most n in any window, `burst` of them at once. 1 <= burst < n. Throws: std::invalid_argument naming the argument.
    [[nodiscard]] static token_bucket_options for_window(std::int64_t n, std::chrono::nanoseconds window, std::int64_t burst);
};

struct sliding_log_options {
    std::int64_t limit = 100;                                 // calls in a window, 1 to 2^20: 8 bytes each
    std::chrono::nanoseconds window = std::chrono::seconds{1};  // (0, 2^60] ns
};

struct sliding_counter_options {
    std::int64_t limit = 100;                                 // calls in a window, 1 to 2^20 - 1
    std::chrono::nanoseconds window = std::chrono::seconds{1};  // (0, 2^60] ns
};

/// A bucket of tokens that fills at a steady rate. n, in all members: >= 0; a negative one, as one above burst, is never allowed.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Progress: lock-free; a refusal wait-free. wait_for and wait_until block.
/// Cost:     allowed: one compare-exchange; refused: one load, no store. And the clock.
/// Memory:   some 100 bytes; allocates nothing after construction, but for a thread's first heal (data/stats.hpp).
template <clock_source Clock = std::chrono::steady_clock>
class token_bucket {
public:
    using options = token_bucket_options;
    using rule = detail::gcra_rule;  // for keyed_rate_limiter
    using clock_type = Clock;
    using time_point = time_point_of<Clock>;
    class reservation;  // movable; at(): when its tokens may be used; tokens(): how many

    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit token_bucket(options o = {}, Clock clock = {});
    token_bucket(token_bucket const&) = delete;
    token_bucket& operator=(token_bucket const&) = delete;

    /// Takes n tokens, all or none, and says how it stands. allow(0) is a look.
    rate_decision allow(std::int64_t n = 1) noexcept { return allow(n, now()); }
    rate_decision allow(std::int64_t n, time_point now) noexcept;
    /// The same without the particulars.
    [[nodiscard]] bool try_acquire(std::int64_t n = 1) noexcept { return try_acquire(n, now()); }
    [[nodiscard]] bool try_acquire(std::int64_t n, time_point now) noexcept;
    /// Takes as many as there are, at most n.
    rate_grant allow_at_most(std::int64_t n) noexcept { return allow_at_most(n, now()); }
    rate_grant allow_at_most(std::int64_t n, time_point now) noexcept;
    /// What allow(n) would answer.
    [[nodiscard]] rate_decision check(std::int64_t n = 1) const noexcept { return check(n, now()); }
    [[nodiscard]] rate_decision check(std::int64_t n, time_point now) const noexcept;
    /// Tokens that are there; below zero: that were reserved ahead.
    [[nodiscard]] std::int64_t balance() const noexcept { return balance(now()); }
    [[nodiscard]] std::int64_t balance(time_point now) const noexcept { return rule_.tokens(debt(now)); }

    /// Takes n tokens now, to be used from a later time on: not later than `longest` nor than max_reserve from now. Refused:
    /// retry_after is until it would do.
    [[nodiscard]] expected<reservation, rejected> reserve(
        std::int64_t n = 1, std::chrono::nanoseconds longest = std::chrono::nanoseconds::max()) noexcept {
        return reserve(n, longest, now());
    }
    [[nodiscard]] expected<reservation, rejected> reserve(std::int64_t n, std::chrono::nanoseconds longest, time_point now) noexcept;
    /// Gives the tokens of a reservation back, and says how many: all of them if it was the last one, nothing was taken after it,
    /// and its time has not passed; else none. (To give back a part would exceed the rate in some orders.)
    std::int64_t cancel(reservation r) noexcept;
    std::int64_t cancel(reservation r, time_point now) noexcept;

    /// Waits its turn for n tokens, if that comes within `longest`. Else, and if stopped, refused: rate_limited, over_capacity,
    /// stopped, timed_out (the deadline has passed already); what it had reserved is cancelled.
    /// Progress: blocks until then. Throws: what the sleeper throws.
    template <sleeper Sleeper = thread_sleeper>
    [[nodiscard]] expected<void, rejected> wait_for(std::int64_t n, std::chrono::nanoseconds longest, std::stop_token const& stop = {},
                                                    Sleeper const& sleeper = Sleeper{});
    template <sleeper Sleeper = thread_sleeper>
    [[nodiscard]] expected<void, rejected> wait_until(std::int64_t n, time_point deadline, std::stop_token const& stop = {},
                                                      Sleeper const& sleeper = Sleeper{});

    /// For a pipeline: each call takes n tokens or is refused. The bucket must outlive it.
    [[nodiscard]] auto policy(std::int64_t n = 1) noexcept;

    /// All that it knows: when it will be full, in 1/16 ns since it was made.
    [[nodiscard]] std::int64_t state() const noexcept { return tat_.load(std::memory_order_relaxed); }  // relaxed: see above
    [[nodiscard]] token_bucket_stats stats() const noexcept;
    [[nodiscard]] time_point now() const noexcept { return clock_.now(); }

private:
    [[nodiscard]] std::int64_t ticks(time_point t) const noexcept { return rule_.time(saturating_between(epoch_, t).count()); }
    [[nodiscard]] std::int64_t debt(time_point t) const noexcept { return rule::debt(state(), ticks(t)); }
    [[gnu::noinline, gnu::cold]] std::int64_t heal() noexcept;
    [[gnu::noinline, gnu::cold]] bool try_acquire_again(std::int64_t n) noexcept;
    template <class Cost>
    std::int64_t take(std::int64_t& now, Cost const& cost) noexcept;

    std::atomic<std::int64_t> tat_;  // any thread
    rule rule_;
    [[no_unique_address]] Clock clock_;
    time_point epoch_;
    counter heals_;
};

/// Several token buckets for one thing: a call takes from all of them or from none. max_reserve says only how far the clock may
/// step back before that is noticed. Memory: 56 bytes a limit.
template <clock_source Clock = std::chrono::steady_clock>
class rate_limits : public detail::latched_limiter<detail::gcra_all_rule, Clock> {
public:
    /// One limit at least.
    explicit rate_limits(std::vector<token_bucket_options> const& limits, Clock clock = {});
    rate_limits(std::initializer_list<token_bucket_options> limits, Clock clock = {})
        : rate_limits(std::vector<token_bucket_options>(limits), std::move(clock)) {}
    [[nodiscard]] rate_limits_stats stats() const noexcept;
};

/// At most `limit` calls in any window: a call that is exactly one window old does not count any more.
/// Memory: 8 bytes for each of them.
template <clock_source Clock = std::chrono::steady_clock>
class sliding_log : public detail::latched_limiter<detail::log_rule, Clock> {
public:
    explicit sliding_log(sliding_log_options o = {}, Clock clock = {})
        : detail::latched_limiter<detail::log_rule, Clock>(o, std::move(clock)) {}
    [[nodiscard]] sliding_log_stats stats() const noexcept;
};

/// About `limit` calls in any window: those in the windows that follow each other from the start, and of the last one such a part
/// as still lies in the window that ends now. Never 2 * limit in a window. n: as for token_bucket.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Progress: lock-free; a refusal wait-free. Allocates nothing.
template <clock_source Clock = std::chrono::steady_clock>
class sliding_counter {
public:
    using options = sliding_counter_options;
    using rule = detail::counter_rule;  // for keyed_rate_limiter
    using clock_type = Clock;
    using time_point = time_point_of<Clock>;

    /// Throws: std::invalid_argument naming the option.
    explicit sliding_counter(options o = {}, Clock clock = {}) : rule_(o), clock_(std::move(clock)), epoch_(clock_.now()) {}
    sliding_counter(sliding_counter const&) = delete;
    sliding_counter& operator=(sliding_counter const&) = delete;

    rate_decision allow(std::int64_t n = 1) noexcept { return allow(n, now()); }
    rate_decision allow(std::int64_t n, time_point now) noexcept;
    [[nodiscard]] bool try_acquire(std::int64_t n = 1) noexcept { return try_acquire(n, now()); }
    [[nodiscard]] bool try_acquire(std::int64_t n, time_point now) noexcept;
    [[nodiscard]] rate_decision check(std::int64_t n = 1) const noexcept { return check(n, now()); }
    [[nodiscard]] rate_decision check(std::int64_t n, time_point now) const noexcept;
    /// How many calls it counts in the window that ends now.
    [[nodiscard]] std::int64_t estimate() const noexcept { return estimate(now()); }
    [[nodiscard]] std::int64_t estimate(time_point now) const noexcept { return rule_.estimate(rule_.read(load(), time(now))); }
    [[nodiscard]] sliding_counter_stats stats() const noexcept;
    /// For a pipeline, as token_bucket::policy.
    [[nodiscard]] auto policy(std::int64_t n = 1) noexcept;
    [[nodiscard]] time_point now() const noexcept { return clock_.now(); }

private:
    [[nodiscard]] std::int64_t time(time_point t) const noexcept { return rule::time(saturating_between(epoch_, t).count()); }
    [[nodiscard]] std::int64_t load() const noexcept { return word_.load(std::memory_order_relaxed); }  // relaxed: see above
    bool take(std::int64_t n, std::int64_t& now, rule::counts& counts) noexcept;

    std::atomic<std::int64_t> word_{0};  // any thread
    rule rule_;
    [[no_unique_address]] Clock clock_;
    time_point epoch_;
    gauge heals_;  // any thread; too rare for a counter, which takes memory of each
};

/// What a keyed_rate_limiter can apply to each key: one of the above, with its clock.
template <class A>
concept rate_algorithm = requires {
    typename A::rule;
    typename A::options;
    typename A::clock_type;
};

struct keyed_rate_limiter_options {
    std::size_t capacity = 1024;  // keys that it remembers at most, 1 to 2^32; rounded up to a multiple of 8
    std::optional<std::uint64_t> seed{};  // of the hash; none: random, so that nobody can choose keys that collide
};

/// One of the above for each key, in memory that never grows and is never searched through. Keys are not kept, but their hashes, 64
/// bits with a secret seed; they cannot be listed.
/// Each key has a place in one set of eight. While no more than eight keys of a set are in use, each has exactly what it would have
/// alone: let capacity be twice the number of keys in use (8 in 1000 find their set full) or four times (1 in 7000). Beyond that, the
/// key that loses least has to go, and keys that come (not those that stay) start with no more than those that went had left: floods
/// of keys delay each other, and reset nobody's limit.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Progress: a refusal and peek() do not wait, unless the set changes meanwhile; else may block, on a thread that is between two of
///           the few instructions that change the set.
/// Memory:   a token bucket or counter takes 18 bytes a key, a log 18 + 8 * limit. Allocates nothing after construction, but for the
///           counters of a thread's first new key, see data/stats.hpp.
/// Throws:   what Hash throws.
template <class Key, rate_algorithm Algorithm = token_bucket<>, class Hash = std::hash<Key>>
    requires hasher_of<Hash, Key>
class keyed_rate_limiter {
public:
    using clock_type = typename Algorithm::clock_type;
    using options = keyed_rate_limiter_options;
    using limit_options = typename Algorithm::options;
    using time_point = time_point_of<clock_type>;
    template <class K>
    static constexpr bool is_key = detail::rate_key<K, Key, Hash>;

    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit keyed_rate_limiter(limit_options limit, options o = {}, clock_type clock = {}, Hash hash = {});
    keyed_rate_limiter(keyed_rate_limiter const&) = delete;
    keyed_rate_limiter& operator=(keyed_rate_limiter const&) = delete;

    /// Counts n calls of the key, all or none, and says how it stands.
    template <class K> requires is_key<K>
    rate_decision allow(K const& key, std::int64_t n = 1) { return allow(key, n, now()); }
    template <class K> requires is_key<K>
    rate_decision allow(K const& key, std::int64_t n, time_point now) {
        return table_.template take<true>(hash(key), n, time(now), again());
    }
    /// The same without the particulars.
    template <class K> requires is_key<K>
    [[nodiscard]] bool try_acquire(K const& key, std::int64_t n = 1) { return try_acquire(key, n, now()); }
    template <class K> requires is_key<K>
    [[nodiscard]] bool try_acquire(K const& key, std::int64_t n, time_point now) {
        return table_.template take<false>(hash(key), n, time(now), again()).allowed;
    }
    /// What allow(key, n) would answer; changes nothing.
    template <class K> requires is_key<K>
    [[nodiscard]] rate_decision peek(K const& key, std::int64_t n = 1) const { return peek(key, n, now()); }
    template <class K> requires is_key<K>
    [[nodiscard]] rate_decision peek(K const& key, std::int64_t n, time_point now) const {
        return table_.look(hash(key), n, time(now));
    }
    /// For a pipeline, as token_bucket::policy.
    [[nodiscard]] auto policy(Key key, std::int64_t n = 1);

    /// Forgets keys that have been quiet long enough to be as good as new, in `budget` sets, going on where the last call ended;
    /// returns how many. Never needed: their places are free to take anyway. It only makes stats().live smaller.
    std::size_t cleanup(std::size_t budget = SIZE_MAX) noexcept { return table_.clean(budget, time(now())); }
    [[nodiscard]] keyed_rate_limiter_stats stats() const noexcept { return table_.stats(); }
    [[nodiscard]] time_point now() const noexcept { return clock_.now(); }

private:
    template <class K>
    [[nodiscard]] std::uint64_t hash(K const& key) const;
    [[nodiscard]] std::int64_t time(time_point t) const noexcept { return table_.rule().time(saturating_between(epoch_, t).count()); }
    [[nodiscard]] auto again() const noexcept {
        return [this]() noexcept { return time(clock_.now()); };
    }

    [[no_unique_address]] clock_type clock_;
    time_point epoch_;
    seeded_hash<Hash> hash_;
    detail::rate_table<typename Algorithm::rule> table_;
};

struct cached_limiter_options {
    std::int64_t limit = 1;                                   // calls of a key in any window, 1 to 2^20
    std::chrono::nanoseconds window = std::chrono::minutes{1};  // (0, 2^60] ns
    std::size_t capacity = 1024;                              // keys, and answers, that it remembers at most, 1 to 2^32
    std::optional<std::chrono::nanoseconds> max_age{};        // of an answer, (0, 2^60] ns; none: as long as there is no newer one
    std::optional<std::uint64_t> seed{};                      // of the hash; none: random
};

/// Lets a few calls of each key through, and gives the last answer to the others.
///
///     auto answer = pings.try_acquire(name);
///     if (answer.admitted()) { answer.permit().commit(ping(name)); }
///     else if (answer.cached()) { use(answer.value(), answer.age()); }     // else: answer.why().retry_after
///
/// Limits are kept as by keyed_rate_limiter<Key, sliding_log>: evicting an answer resets no limit.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Progress: may block, on a thread that looks up or changes one of the same eight keys: a mutex, never held while the user's code
///           runs, but for Hash and KeyEqual, and copies and moves of keys.
/// Memory:   for `capacity` keys: 18 + 8 * limit bytes, a Key and 80 bytes each, and the answers. A call that is admitted
///           allocates what those who join it wait on; a commit allocates the answer.
/// Lifetime: must outlive its permits. Values live as long as somebody holds them.
template <class Key, class V, class Hash = std::hash<Key>, class KeyEqual = detail::equal_keys,
          clock_source Clock = std::chrono::steady_clock>
    requires hasher_of<Hash, Key> && equivalence_of<KeyEqual, Key> && std::copy_constructible<Key>
class cached_limiter {
    using table = detail::cached_table<Key, V, KeyEqual>;

public:
    using options = cached_limiter_options;
    using time_point = time_point_of<Clock>;
    class permit;  // commit(V): whether it was stored, which it is unless a newer call's answer is there; dropped: no answer
    class answer;  // admitted(): permit(); cached(): value(), age(); denied(): why()

    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit cached_limiter(options o = {}, Clock clock = {}, Hash hash = {}, KeyEqual equal = {});
    cached_limiter(cached_limiter const&) = delete;
    cached_limiter& operator=(cached_limiter const&) = delete;

    /// Never waits for an answer. Throws: std::bad_alloc, what Hash, KeyEqual and copying a Key throw; then nothing has happened.
    [[nodiscard]] answer try_acquire(Key const& key) { return ask(key, now(), nullptr); }
    /// The same; but while a call of this key is under way, waits for its answer. Denied also as stopped, and as timed_out. Who
    /// holds a permit of the key must not call it: it would wait for itself.
    /// Progress: blocks until the permit of the call under way is gone, the deadline, or the stop.
    [[nodiscard]] answer acquire(Key const& key, time_point deadline = time_point::max(), std::stop_token const& stop = {});
    /// For a pipeline of calls that give an outcome<V>: see try_acquire. V must be copyable.
    [[nodiscard]] auto policy(Key key);

    [[nodiscard]] cached_limiter_stats stats() const noexcept;
    [[nodiscard]] time_point now() const noexcept { return clock_.now(); }

private:
    using flight = typename table::flight;
    [[nodiscard]] answer ask(Key const& key, time_point now, std::shared_ptr<flight>* under_way);
    bool commit(permit& p, V value);
    [[nodiscard]] std::int64_t time(time_point t) const noexcept { return saturating_between(epoch_, t).count(); }

    std::int64_t max_age_;  // ns
    [[no_unique_address]] Clock clock_;
    time_point epoch_;
    seeded_hash<Hash> hash_;
    detail::rate_table<detail::log_rule> limits_;
    table answers_;
    std::atomic<std::uint64_t> sequence_{0};  // of admissions
    counter admitted_;
    counter cached_;
    counter denied_;
    counter joined_;
    counter stored_;
    counter outdated_;
};

}  // namespace weir::inline v0

#include <weir/flow/detail/rate_bodies.hpp>
#include <weir/flow/detail/rate_cached_bodies.hpp>

#endif
