// weir (BSL-1.0). bench flow peers: one interface over weir's breakers, limiters and budgets and what others write instead.
#ifndef WEIR_BENCH_FLOW_PEERS_HPP
#define WEIR_BENCH_FLOW_PEERS_HPP
#include <weir/base/call_context.hpp>
#include <weir/base/clock.hpp>
#include <weir/base/outcome.hpp>
#include <weir/data/dedup_cache.hpp>
#include <weir/flow/bulkhead.hpp>
#include <weir/flow/circuit_breaker.hpp>
#include <weir/flow/pipeline.hpp>
#include <weir/flow/rate_limiter.hpp>
#include <weir/flow/retry.hpp>

#include "harness.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

// A peer has
//   id, about            its name in the tables; what it really does
// and, by what it stands for,
//   call(failed)         a breaker: asks, and tells how it went; whether it was let through
//   take()               a limiter of one key
//   take(key)            a limiter of many keys, a cache of known ones: whether it is allowed, or new
//   use()                a bulkhead: a permit, and back
//   succeeded(), failed()  a retry budget
// check(...) throws if what it knows at the end is not what was done.

namespace bench::flow {

using i64 = std::int64_t;
using steady = std::chrono::steady_clock;
using std::chrono::nanoseconds;
constexpr auto relaxed = std::memory_order_relaxed;
constexpr nanoseconds an_hour = std::chrono::hours{1};

/// What somebody has looked up before.
inline steady::time_point given_moment = steady::now();  // not constant: it is read each time
struct given_clock {
    steady::time_point now() const noexcept { return given_moment; }
};

inline void need(bool right, const char* what) {
    if (!right) {
        throw wrong_result(what);
    }
}

// Breakers. They open after 1000 failures in a row, or when half of the calls in a window fail.

constexpr unsigned too_many = 1000;

template <class Mode>
Mode patient() {
    if constexpr (std::is_same_v<Mode, weir::consecutive_failures>) {
        return {.failures = too_many};
    } else {
        return {};
    }
}

template <class Mode = weir::consecutive_failures, class Clock = steady>
struct weir_breaker {
    weir::circuit_breaker<Mode, Clock> it{patient<Mode>(), {.open = an_hour}};

    void open() { it.trip(); }
    bool call(bool failed) {
        auto leave = it.acquire();
        if (!leave.has_value()) {
            return false;
        }
        leave->report(failed ? weir::verdict::failure : weir::verdict::success);
        return true;
    }
    void check_open(u64 calls) {
        must_be("refused", it.stats().refused, calls);
        need(it.current() == weir::breaker_state::open, "the breaker is not open any more");
    }
    void check_closed(u64 calls, u64 failed) {
        need(it.current() == weir::breaker_state::closed, "the breaker is not closed any more");
        const auto seen = it.stats();
        if constexpr (std::is_same_v<Mode, weir::consecutive_failures>) {
            call(false);
            fails(too_many);
        } else if constexpr (std::is_same_v<Mode, weir::count_window>) {
            must_be("calls in the window", seen.calls, std::min<u64>(calls, 100));
            for (int i = 0; i != 100; ++i) {
                call(false);
            }
            fails(50);
        } else {
            // Each stripe forgets half when a bucket is full, rounded down: so the rate is not exact.
            const double percent = 100 * static_cast<double>(failed) / static_cast<double>(calls);
            need(seen.calls > 0 && seen.failure_rate > percent - 0.5 && seen.failure_rate < percent + 0.5,
                 "the window of time has another rate of failures");
        }
    }
    /// So many failures open it, and one less does not.
    void fails(unsigned n) {
        for (unsigned i = 0; i != n; ++i) {
            need(it.current() == weir::breaker_state::closed, "the breaker has opened too early");
            call(true);
        }
        need(it.current() == weir::breaker_state::open, "the breaker has not opened");
    }
};

/// The algorithm of sony/gobreaker: a mutex, taken before and after each call; each time a look at the clock.
struct mutex_breaker {
    static constexpr const char* id = "mutex";
    static constexpr const char* about =
        "A std::mutex. Breaker: the algorithm of gobreaker, with the mutex and the clock before and after each call. "
        "Budget: a "
        "number. Bulkhead: a number and a condition variable.";
    enum class state { closed, half_open, open };

    std::mutex lock;
    state now_in = state::closed;
    u64 generation = 0;
    u64 requests = 0;
    u64 failures = 0;
    u64 in_a_row = 0;
    steady::time_point expiry{};

    void change(state to) {
        now_in = to;
        ++generation;
        requests = failures = in_a_row = 0;
        expiry = steady::now() + an_hour;
    }
    state current(steady::time_point now) {
        if (now_in == state::open && now >= expiry) {
            change(state::half_open);
        }
        return now_in;
    }
    void open() {
        const std::lock_guard hold(lock);
        change(state::open);
    }
    bool before(u64& mine) {
        const std::lock_guard hold(lock);
        const state s = current(steady::now());
        mine = generation;
        if (s == state::open || (s == state::half_open && requests >= 1)) {
            return false;
        }
        ++requests;
        return true;
    }
    void after(u64 mine, bool failed) {
        const std::lock_guard hold(lock);
        const state s = current(steady::now());
        if (generation != mine) {
            return;
        }
        if (!failed) {
            in_a_row = 0;
            if (s == state::half_open) {
                change(state::closed);
            }
        } else {
            ++failures;
            if (s == state::half_open || ++in_a_row >= too_many) {
                change(state::open);
            }
        }
    }
    bool call(bool failed) {
        u64 mine = 0;
        if (!before(mine)) {
            return false;
        }
        after(mine, failed);
        return true;
    }
    void check_open(u64) { need(now_in == state::open, "the breaker is not open any more"); }
    void check_closed(u64 calls, u64 failed) {
        must_be("requests", requests, calls);
        must_be("failures", failures, failed);
    }
};

struct seed_breaker {
    static constexpr const char* id = "atomics";
    static constexpr const char* about =
        "Three std::atomics: state, failures, time of the last one. One load lets a call through; a success is not "
        "recorded, so "
        "failures add up for ever; half open lets all through; it never closes. Does less than the others.";
    std::atomic<int> state{0};
    std::atomic<i64> failures{0};
    std::atomic<i64> last_failure{0};
    i64 threshold = i64{1} << 40U;

    static i64 now() { return steady::now().time_since_epoch().count(); }
    void open() {
        last_failure.store(now());
        state.store(1);
    }
    bool can_pass() {
        if (state.load() != 1) {
            return true;
        }
        if (now() - last_failure.load() <= an_hour.count()) {
            return false;
        }
        int seen = 1;
        if (state.compare_exchange_strong(seen, 2)) {
            failures.store(0);
        }
        return true;
    }
    bool call(bool failed) {
        if (!can_pass()) {
            return false;
        }
        if (failed) {
            const i64 n = failures.fetch_add(1) + 1;
            last_failure.store(now());
            int seen = 0;
            if (n >= threshold) {
                state.compare_exchange_strong(seen, 1);
            }
        }
        return true;
    }
    void check_open(u64) { need(state.load() == 1, "the breaker is not open any more"); }
    void check_closed(u64, u64 failed) { must_be("failures", static_cast<u64>(failures.load()), failed); }
};

/// One look at the clock.
struct floor_row {
    static constexpr const char* id = "floor";
    static void look() { benchmark::DoNotOptimize(steady::now()); }
};

// Limiters of one key.

enum class stock { plenty, none };

struct token_numbers {
    double per_second;
    i64 burst;
};
constexpr token_numbers numbers_of(stock s) {
    return s == stock::plenty ? token_numbers{10, 1'000'000'000} : token_numbers{1.0 / 3600, 1000};
}
struct log_numbers {
    i64 limit;
    nanoseconds window;
};
constexpr log_numbers log_of(stock s) {
    return s == stock::plenty ? log_numbers{1000, std::chrono::microseconds{5}} : log_numbers{10, an_hour};
}
/// Tokens that may have come while a case ran, and have to be left out of a check. A second brings 10.
constexpr u64 come_meanwhile = 1000;

/// A log of a window of time lets through all but who was suspended between a look at the clock and the log.
inline void nearly_all(u64 yes, u64 calls) {
    need(yes <= calls && yes * 100 >= calls * 99, "too few were let through");
}

struct exactly_all {
    static void check_yes(u64 yes, u64 calls) { must_be("let through", yes, calls); }
};
struct nearly_all_of_them {
    static void check_yes(u64 yes, u64 calls) { nearly_all(yes, calls); }
};

enum class way { ask, decide, given };

/// Takes N tokens at once.
template <class Clock = steady, way How = way::ask, i64 N = 1>
struct weir_bucket : exactly_all {
    static constexpr i64 tokens = N;
    weir::token_bucket<Clock> it;
    stock kind;
    typename weir::token_bucket<Clock>::time_point first = it.now();

    explicit weir_bucket(stock s) : it({.limit = numbers_of(s).per_second, .burst = numbers_of(s).burst}), kind(s) {
        need(it.try_acquire(s == stock::plenty ? 1 : numbers_of(s).burst, first), "not even the first");
    }
    bool take() {
        if constexpr (How == way::given) {
            return it.try_acquire(N, given_moment);
        } else if constexpr (How == way::decide) {
            const auto d = it.allow(N);
            benchmark::DoNotOptimize(d);
            return d.allowed;
        } else {
            return it.try_acquire(N);
        }
    }
    void check(u64 taken) {
        const i64 left = it.balance(first);
        must_be("tokens left", static_cast<u64>(left),
                kind == stock::plenty ? static_cast<u64>(numbers_of(kind).burst - 1) - taken : 0);
    }
};

template <class Log, class Options>
struct weir_window
    : std::conditional_t<std::is_same_v<Options, weir::sliding_log_options>, nearly_all_of_them, exactly_all> {
    static constexpr i64 tokens = 1;
    Log it;
    explicit weir_window(stock s) : it(options_of(s)) {
        for (int i = 0; s == stock::none && i != 10; ++i) {
            need(it.try_acquire(), "fewer than there are");
        }
    }
    static Options options_of(stock s) {
        if constexpr (std::is_same_v<Options, weir::sliding_log_options>) {
            return {.limit = log_of(s).limit, .window = log_of(s).window};
        } else {
            return s == stock::plenty ? Options{.limit = 1'000'000, .window = std::chrono::milliseconds{1}}
                                      : Options{.limit = 10, .window = an_hour};
        }
    }
    bool take() { return it.try_acquire(); }
    void check(u64) {}
};
using weir_log = weir_window<weir::sliding_log<>, weir::sliding_log_options>;
using weir_sliding_counter = weir_window<weir::sliding_counter<>, weir::sliding_counter_options>;

/// The algorithm of Go's x/time/rate: tokens as a double, brought up to date under a mutex.
class mutex_bucket {
public:
    explicit mutex_bucket(token_numbers n)
        : rate_(n.per_second), burst_(static_cast<double>(n.burst)), tokens_(burst_) {}
    bool take(double n, steady::time_point now) {
        const std::lock_guard hold(lock_);
        const steady::time_point last = std::min(last_, now);
        double tokens = std::min(burst_, tokens_ + std::chrono::duration<double>(now - last).count() * rate_);
        tokens -= n;
        if (n > burst_ || tokens < 0) {
            return false;
        }
        last_ = now;
        tokens_ = tokens;
        return true;
    }
    double left() const { return tokens_; }

private:
    std::mutex lock_;
    double rate_;
    double burst_;
    double tokens_;
    steady::time_point last_ = steady::now();
};

template <bool Injected>
struct one_mutex_bucket : exactly_all {
    static constexpr const char* id = "mutex_bucket";
    static constexpr const char* about =
        "The algorithm of Go's x/time/rate in C++: a std::mutex, tokens as a double, brought up to date by each call.";
    static constexpr i64 tokens = 1;
    mutex_bucket it;
    stock kind;
    explicit one_mutex_bucket(stock s) : it(numbers_of(s)), kind(s) {
        it.take(kind == stock::none ? static_cast<double>(numbers_of(s).burst) : 1, steady::now());
    }
    bool take() { return it.take(1, Injected ? given_moment : steady::now()); }
    void check(u64 taken) {
        const double gone = static_cast<double>(numbers_of(kind).burst) - it.left();
        need(kind == stock::none ||
                 (gone < static_cast<double>(taken) + 2 && gone + come_meanwhile > static_cast<double>(taken)),
             "the bucket has lost count");
    }
};

/// One std::atomic<double>: when the bucket was empty last.
template <bool Injected>
struct atomic_bucket : exactly_all {
    static constexpr const char* id = "folly_like";
    static constexpr const char* about =
        "A token bucket in one std::atomic<double>, the time at which it was empty, changed by a compare-exchange: the "
        "idea of folly::TokenBucket, written for this bench.";
    static constexpr i64 tokens = 1;
    std::atomic<double> empty_at;
    double rate;
    double burst;
    stock kind;

    static double seconds(steady::time_point t) { return std::chrono::duration<double>(t.time_since_epoch()).count(); }
    explicit atomic_bucket(stock s)
        : empty_at(0), rate(numbers_of(s).per_second), burst(static_cast<double>(numbers_of(s).burst)), kind(s) {
        const double now = seconds(Injected ? given_moment : steady::now());
        empty_at = kind == stock::none ? now : now - burst / rate;
    }
    bool take() {
        const double now = seconds(Injected ? given_moment : steady::now());
        double seen = empty_at.load(relaxed);
        double next = 0;
        do {
            const double there = std::min((now - seen) * rate, burst);
            if (there < 1) {
                return false;
            }
            next = now - (there - 1) / rate;
        } while (!empty_at.compare_exchange_weak(seen, next, relaxed));
        return true;
    }
    void check(u64 taken) {
        const double now = seconds(Injected ? given_moment : steady::now());
        const double gone = burst - (now - empty_at.load()) * rate;
        need(kind == stock::none ||
                 (gone < static_cast<double>(taken) + 10 && gone + come_meanwhile > static_cast<double>(taken)),
             "the bucket has lost count");
    }
};

/// A table of vectors of times under one mutex.
class mutex_logs {
public:
    explicit mutex_logs(log_numbers n) : limit_(static_cast<std::size_t>(n.limit)), window_(n.window) {}
    bool take(u64 key) {
        const std::lock_guard hold(lock_);
        const auto now = steady::now();
        std::vector<steady::time_point>& log = logs_[key];
        const auto begin = std::find_if(log.begin(), log.end(), [&](auto t) { return t > now - window_; });
        log.erase(log.begin(), begin);
        if (log.size() >= limit_) {
            return false;
        }
        log.push_back(now);
        return true;
    }

private:
    std::mutex lock_;
    std::size_t limit_;
    nanoseconds window_;
    std::unordered_map<u64, std::vector<steady::time_point>> logs_;
};

struct one_mutex_log : nearly_all_of_them {
    static constexpr const char* id = "mutex_log";
    static constexpr const char* about =
        "One std::mutex, a std::unordered_map, and for each key a std::vector of the times of its calls, from which "
        "each call takes "
        "those that have left the window.";
    static constexpr i64 tokens = 1;
    mutex_logs it;
    explicit one_mutex_log(stock s) : it(log_of(s)) {
        for (int i = 0; s == stock::none && i != 10; ++i) {
            need(it.take(1), "fewer than there are");
        }
    }
    bool take() { return it.take(1); }
    void check(u64) {}
};

// Limiters of many keys. A key gets 1e7 tokens a second and has a stock that lasts; logs let 100 through in 1 us.

constexpr token_numbers key_tokens{1e7, 100'000'000};
constexpr log_numbers key_log{100, std::chrono::microseconds{1}};

template <std::size_t Room, class Clock = steady>
struct weir_keys : exactly_all {
    static constexpr bool injected = std::is_same_v<Clock, given_clock>;
    weir::keyed_rate_limiter<u64, weir::token_bucket<Clock>> it;
    explicit weir_keys(std::size_t n)
        : it({.limit = key_tokens.per_second, .burst = key_tokens.burst}, {.capacity = Room * n}) {}
    bool take(u64 key) { return it.try_acquire(key); }
    /// Where time stands still, what the keys have used is what was taken. A key that had to go and has come again may count more.
    void check(const std::vector<u64>& all, u64 taken) {
        if constexpr (injected) {
            u64 used = 0;
            for (const u64 key : all) {
                used += static_cast<u64>(key_tokens.burst - it.peek(key).remaining);
            }
            need(used >= taken, "keys have forgotten calls");
            need(used <= taken + taken / 2, "keys have counted calls that were not made");
        }
    }
};

struct mutex_log_keys : nearly_all_of_them {
    static constexpr const char* id = one_mutex_log::id;
    mutex_logs it{key_log};
    explicit mutex_log_keys(std::size_t) {}
    bool take(u64 key) { return it.take(key); }
    void check(const std::vector<u64>&, u64) {}
};

/// A value for each key, found under a shared lock, and never moved.
template <class Value>
class shared_table {
public:
    template <class Make>
    Value& at(u64 key, Make make) {
        {
            const std::shared_lock hold(lock_);
            if (const auto found = all_.find(key); found != all_.end()) {
                return *found->second;
            }
        }
        const std::lock_guard hold(lock_);
        auto& place = all_[key];
        if (!place) {
            place = make();
        }
        return *place;
    }

private:
    std::shared_mutex lock_;
    std::unordered_map<u64, std::unique_ptr<Value>> all_;
};

struct shared_gcra_keys : exactly_all {
    static constexpr const char* id = "shared_mutex_gcra";
    static constexpr const char* about =
        "std::shared_mutex, std::unordered_map, and for each key one std::atomic: the generic cell rate algorithm.";
    shared_table<std::atomic<i64>> it;
    explicit shared_gcra_keys(std::size_t) {}
    bool take(u64 key) {
        constexpr i64 token = static_cast<i64>(1e9 / key_tokens.per_second);
        auto& word = it.at(key, [] { return std::make_unique<std::atomic<i64>>(0); });
        const i64 now = steady::now().time_since_epoch().count();
        i64 seen = word.load(relaxed);
        i64 next = 0;
        do {
            next = std::max(seen, now) + token;
            if (next - now > token * key_tokens.burst) {
                return false;
            }
        } while (!word.compare_exchange_weak(seen, next, relaxed));
        return true;
    }
    void check(const std::vector<u64>&, u64) {}
};

struct shared_bucket_keys : exactly_all {
    static constexpr const char* id = "shared_mutex_bucket";
    static constexpr const char* about =
        "std::shared_mutex, std::unordered_map, and for each key a mutex_bucket: what Go's users write.";
    shared_table<mutex_bucket> it;
    explicit shared_bucket_keys(std::size_t) {}
    bool take(u64 key) {
        return it.at(key, [] { return std::make_unique<mutex_bucket>(key_tokens); }).take(1, steady::now());
    }
    void check(const std::vector<u64>&, u64) {}
};

// Retry.

struct weir_budget {
    weir::token_retry_budget it{{.max_tokens = 100, .token_ratio = 1}};
    void succeeded() { it.succeeded(); }
    void failed() { it.failed(); }
    void check() { need(it.tokens() > 99.999, "the budget is not full"); }
};
struct weir_window_budget {
    weir::window_retry_budget<> it{};
    void succeeded() { it.started(); }
    void check() { need(it.balance() >= 100, "the budget has lost its reserve"); }
};
struct mutex_budget {
    static constexpr const char* id = mutex_breaker::id;
    std::mutex lock;
    double tokens = 100;
    void succeeded() {
        const std::lock_guard hold(lock);
        tokens = std::min(100.0, tokens + 1);
    }
    void failed() {
        const std::lock_guard hold(lock);
        tokens = std::max(0.0, tokens - 1);
    }
    void check() { need(tokens > 99.999, "the budget is not full"); }
};
struct atomic_budget {
    static constexpr const char* id = "atomic";
    static constexpr const char* about =
        "One std::atomic. Budget: changed by a compare-exchange, also when it is full. Bulkhead: fetch_add and "
        "fetch_sub; nobody "
        "can wait.";
    std::atomic<i64> tokens{100};
    void add(i64 n) {
        i64 seen = tokens.load(relaxed);
        while (!tokens.compare_exchange_weak(seen, std::clamp<i64>(seen + n, 0, 100), relaxed)) {
        }
    }
    void succeeded() { add(1); }
    void failed() { add(-1); }
    void check() { need(tokens == 100, "the budget is not full"); }
};

// Bulkheads, of 64 permits.

struct weir_bulkhead {
    weir::bulkhead it{{.max_concurrent = 64}};
    bool use() { return it.try_acquire().has_value(); }
    void check(u64 calls) {
        must_be("admitted", it.stats().admitted, calls);
        must_be("in use", it.stats().in_use, 0);
    }
};
struct mutex_semaphore {
    static constexpr const char* id = mutex_breaker::id;
    std::mutex lock;
    std::condition_variable returned;
    int left = 64;
    void acquire() {
        std::unique_lock hold(lock);
        returned.wait(hold, [&] { return left > 0; });
        --left;
    }
    void release() {
        {
            const std::lock_guard hold(lock);
            ++left;
        }
        returned.notify_one();
    }
    bool use() {
        acquire();
        benchmark::ClobberMemory();
        release();
        return true;
    }
    void check(u64) { must_be("permits left", static_cast<u64>(left), 64); }
};
struct atomic_bulkhead {
    static constexpr const char* id = atomic_budget::id;
    std::atomic<int> used{0};
    bool use() {
        const bool mine = used.fetch_add(1) < 64;
        benchmark::ClobberMemory();
        used.fetch_sub(1);
        return mine;
    }
    void check(u64) { must_be("in use", static_cast<u64>(used.load()), 0); }
};

// Caches of known keys.

template <class Cache>
struct weir_dedup {
    Cache it;
    weir_dedup(std::size_t room, nanoseconds ttl) : it({.capacity = room, .ttl = ttl}) {}
    bool take(u64 key) { return it.check_and_mark(key); }
    void check(u64 calls) {
        const auto s = it.stats();
        must_be("answers", s.fresh + s.duplicates + s.refused, calls);
    }
};
using weir_fingerprints = weir_dedup<weir::dedup_cache<u64>>;
using weir_exact_keys = weir_dedup<weir::exact_dedup_cache<u64>>;

struct mutex_dedup {
    static constexpr const char* id = "mutex_map";
    static constexpr const char* about =
        "One std::mutex, a std::unordered_map from key to time, and a std::deque of the keys in the order of their "
        "times.";
    std::mutex lock;
    nanoseconds ttl;
    std::unordered_map<u64, steady::time_point> known;
    std::deque<std::pair<steady::time_point, u64>> order;

    mutex_dedup(std::size_t, nanoseconds t) : ttl(t) {}
    bool take(u64 key) {
        const std::lock_guard hold(lock);
        const auto now = steady::now();
        while (!order.empty() && now >= order.front().first) {
            known.erase(order.front().second);
            order.pop_front();
        }
        const bool first = known.try_emplace(key, now + ttl).second;
        if (first) {
            order.emplace_back(now + ttl, key);
        }
        return first;
    }
    void check(u64) { must_be("keys in order", order.size(), known.size()); }
};

template <class F>
void for_each_description(F f) {
    f.template operator()<mutex_breaker>();
    f.template operator()<seed_breaker>();
    f.template operator()<one_mutex_bucket<false>>();
    f.template operator()<atomic_bucket<false>>();
    f.template operator()<one_mutex_log>();
    f.template operator()<shared_gcra_keys>();
    f.template operator()<shared_bucket_keys>();
    f.template operator()<atomic_budget>();
    f.template operator()<mutex_dedup>();
}

}  // namespace bench::flow
#endif
