// weir (BSL-1.0). bench flow: circuit breakers, rate limiters, retries, bulkheads, dedup caches and pipelines beside their peers.
#include "flow_peers.hpp"

#include "allocations.hpp"
#include "flow_catalog.hpp"
#include "harness.hpp"
#include "shapes.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#ifdef __GLIBC__
#include <malloc.h>
#if __GLIBC_PREREQ(2, 33)
#define WEIR_BENCH_HAS_MALLINFO2 1
#endif
#endif

// What keeps the tables honest:
// * every row of a load gets the same inputs, drawn before, and each call's answer is counted: all are allowed, or none;
// * what a row knows at the end (tokens left, calls in the window, permits given) is what was done;
// * a compiler barrier follows each operation, so nothing is merged or kept in a register over it;
// * threads run until one common time is over, so that all rows are measured as long, however slow;
// * once a thread has been through all its inputs its allocations are counted: weir's have to be none, but for the counter of a
//   thread's first eviction.
//
// Dead ends: what looked good and was rejected, with the figure that did it. Each has two lines in the report.

namespace bench::flow {
namespace {

const std::vector<std::pair<const char*, const char*>> dead_ends{
    {"Counting allocations from a thread's first operation on",
     "A counter of weir's makes room for a thread's number when it first writes, so the count would say how many "
     "threads there "
     "were."},
};

constexpr std::size_t batch = 4096;  // operations between two looks at the clock
constexpr std::size_t most_threads = 8;

// The inputs. A smoke run has few keys, so that every thread sees all of them more than once.

std::size_t number_of_keys(const run& r) { return r.opt().smoke ? 2 * batch : 100'000; }

struct inputs {
    std::vector<unsigned char> failed;  // 64 in each batch
    std::vector<u64> keys;              // all different
    std::vector<u64> shuffled;          // all of them in another order, then some again to make whole batches
    std::vector<u64> zipf;
};

std::vector<u64> by_zipf(const std::vector<u64>& keys, std::size_t size, random_numbers& random) {
    std::vector<double> sums(keys.size());
    double sum = 0;
    for (std::size_t i = 0; i != keys.size(); ++i) {
        sums[i] = sum += 1 / static_cast<double>(i + 1);
    }
    std::vector<u64> drawn(size);
    for (u64& key : drawn) {
        const double at = static_cast<double>(random() >> 11U) * 0x1p-53 * sum;
        const auto found = static_cast<std::size_t>(std::upper_bound(sums.begin(), sums.end(), at) - sums.begin());
        key = keys[std::min(found, keys.size() - 1)];
    }
    return drawn;
}

inputs draw(std::size_t n) {
    inputs in;
    random_numbers random{2025};
    for (u64 part = 0; part != 4; ++part) {
        std::vector<unsigned char> one(batch);
        std::fill(one.begin(), one.begin() + 64, static_cast<unsigned char>(1));
        shuffle(one, random());
        in.failed.insert(in.failed.end(), one.begin(), one.end());
    }
    for (u64 i = 0; i != n; ++i) {
        in.keys.push_back((random() & ~u64{0xfffff}) | i);
    }
    in.shuffled = in.keys;
    shuffle(in.shuffled, 7);
    while (in.shuffled.size() % batch != 0) {
        in.shuffled.push_back(in.shuffled[in.shuffled.size() - n]);
    }
    in.zipf = by_zipf(in.keys, in.shuffled.size() / batch * batch, random);
    return in;
}

const inputs& all_inputs(const run& r) {
    static const inputs made = draw(number_of_keys(r));
    return made;
}

// The operations.

struct counted : sample {
    u64 calls = 0;
    u64 yes = 0;              // calls that said so
    double allocations = -1;  // of threads that had been through their inputs before; < 0: none had
    u64 may_allocate = 0;     // for the first event of a kind that is too rare to have been seen by then
};

/// Threads call op(i) for one input after the other, each from another place on, until the time is over.
template <class Op>
counted storm(const run& r, int threads, std::size_t inputs, Op op) {
    const std::chrono::milliseconds span{r.opt().smoke ? 0 : threads > cores() ? 60 : 30};
    const u64 least = r.opt().smoke ? 2 * inputs : batch;
    std::atomic<clock::rep> over{0};  // of all threads: set by the first
    std::atomic<u64> done{0};
    std::atomic<u64> agreed{0};
    std::atomic<u64> allocated{0};
    std::atomic<bool> steady_state{false};
    counted all;
    all.seconds = parallel<no_scope>(threads, [&](int thread) {
        clock::rep end = 0;
        const clock::rep own_end = (clock::now() + span).time_since_epoch().count();
        if (over.compare_exchange_strong(end, own_end)) {
            end = own_end;
        }
        Op mine = op;  // its address goes nowhere, so the barrier does not touch it
        std::size_t at = inputs / batch * static_cast<std::size_t>(thread) / most_threads * batch;
        u64 count = 0;
        u64 yes = 0;
        u64 before = 0;
        do {
            u64 said = 0;  // in a register: a batch has no calls but op's
            for (std::size_t i = at; i != at + batch; ++i) {
                said += mine(i) ? 1U : 0U;
                benchmark::ClobberMemory();
            }
            yes += said;
            count += batch;
            at = at + batch == inputs ? 0 : at + batch;
            if (count == inputs) {
                before = bench::allocations();
            }
        } while (count < least || clock::now().time_since_epoch().count() < end);
        if (count > inputs) {
            allocated += bench::allocations() - before;
            steady_state = true;
        }
        done += count;
        agreed += yes;
    });
    all.calls = done;
    all.yes = agreed;
    all.operations = static_cast<double>(all.calls);
    all.allocations = steady_state ? static_cast<double>(allocated) : -1;
    return all;
}

/// The rows of one load with so many threads: each says its name and how it is measured.
class rows {
public:
    rows(run& r, const char* suite, const load& l, int threads, int round)
        : run_(r), suite_(suite), load_(l), threads_(threads), round_(round) {}
    ~rows() { turns_.take(round_); }
    rows(const rows&) = delete;
    rows& operator=(const rows&) = delete;

    /// f(run, threads) gives a `counted`.
    template <class F>
    void add(const char* peer, F f) {
        turns_.add(
            [&r = run_, suite = suite_, l = load_, threads = threads_, round = round_, peer = std::string(peer), f] {
                r.add(suite, l, threads, peer, round, [&r, l, threads, peer, round, f]() -> sample {
                    const counted c = f(r, threads);
                    if (c.allocations >= 0) {
                        r.out().add(allocations_of(l), threads, peer, round, c.allocations);
                        const auto n = static_cast<u64>(c.allocations);
                        if (peer.rfind(ours, 0) == 0 && n > c.may_allocate) {
                            must_be("allocations", n, 0);
                        }
                    }
                    return c;
                });
            });
    }
    template <class Peer, class Job>
    void add(const char* peer, Job job) {
        add(peer, [job](const run& r, int threads) { return job.template measure<Peer>(r, threads); });
    }
    template <class Peer, class Job>
    void add(Job job) {
        add<Peer>(Peer::id, job);
    }
    void add_floor() {
        add(floor_row::id, [](const run& r, int threads) {
            return storm(r, threads, batch, [](std::size_t) {
                floor_row::look();
                return true;
            });
        });
    }

private:
    run& run_;
    const char* suite_;
    const load& load_;
    int threads_;
    int round_;
    turns turns_;
};

// Breakers.

struct through_closed {
    bool some_fail;
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        const auto& failed = all_inputs(r).failed;
        const counted c = some_fail
                              ? storm(r, threads, failed.size(),
                                      [p = it.get(), f = failed.data()](std::size_t i) { return p->call(f[i] != 0); })
                              : storm(r, threads, batch, [p = it.get()](std::size_t) { return p->call(false); });
        must_be("let through", c.yes, c.calls);
        it->check_closed(c.calls, some_fail ? c.calls / 64 : 0);
        return c;
    }
};

struct refused_by_open {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        it->open();
        const counted c = storm(r, threads, batch, [p = it.get()](std::size_t) { return p->call(false); });
        must_be("let through", c.yes, 0);
        it->check_open(c.calls);
        return c;
    }
};

/// weir's own way to make a call, instead of a permit by hand.
struct weir_calls : weir_breaker<> {
    bool call(bool) {
        return it.try_call([] { return 1; }).has_value();
    }
    void check_closed(u64, u64) {
        need(it.current() == weir::breaker_state::closed, "the breaker is not closed any more");
    }
};

void add_breakers(run& r, const char* suite, int round) {
    using weir::count_window;
    using weir::time_window;
    for (const int threads : r.threads(closed)) {
        rows all(r, suite, closed, threads, round);
        const through_closed job{false};
        all.add<weir_breaker<>>(ours, job);
        all.add<weir_calls>("weir_try_call", job);
        all.add<weir_breaker<count_window>>("weir_count_window", job);
        all.add<weir_breaker<time_window>>("weir_time_window", job);
        all.add<weir_breaker<time_window, given_clock>>("weir_time_window_injected", job);
        all.add<mutex_breaker>(job);
        all.add<seed_breaker>(job);
        all.add_floor();
    }
    for (const int threads : r.threads(failing)) {
        rows all(r, suite, failing, threads, round);
        const through_closed job{true};
        all.add<weir_breaker<>>(ours, job);
        all.add<weir_breaker<count_window>>("weir_count_window", job);
        all.add<weir_breaker<time_window>>("weir_time_window", job);
        all.add<weir_breaker<time_window, given_clock>>("weir_time_window_injected", job);
        all.add<mutex_breaker>(job);
        all.add<seed_breaker>(job);
    }
    for (const int threads : r.threads(open)) {
        rows all(r, suite, open, threads, round);
        all.add<weir_breaker<>>(ours, refused_by_open{});
        all.add<weir_breaker<weir::consecutive_failures, given_clock>>("weir_injected", refused_by_open{});
        all.add<mutex_breaker>(refused_by_open{});
        all.add<seed_breaker>(refused_by_open{});
        all.add_floor();
    }
}

// Limiters of one key.

struct ask_one {
    stock kind;
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>(kind);
        counted c = storm(r, threads, batch, [p = it.get()](std::size_t) { return p->take(); });
        if (kind == stock::plenty) {
            Peer::check_yes(c.yes, c.calls);
        } else {
            must_be("let through", c.yes, 0);
        }
        it->check(c.yes * static_cast<u64>(Peer::tokens));
        c.operations *= static_cast<double>(Peer::tokens);
        return c;
    }
};

void add_one_key(run& r, const char* suite, int round, const load& l, stock kind) {
    const ask_one job{kind};
    for (const int threads : r.threads(l)) {
        rows all(r, suite, l, threads, round);
        all.add<weir_bucket<>>(ours, job);
        all.add<weir_bucket<weir::coarse_clock>>("weir_coarse", job);
        all.add<weir_bucket<steady, way::decide>>("weir_decision", job);
        all.add<weir_log>("weir_sliding_log", job);
        all.add<weir_sliding_counter>("weir_sliding_counter", job);
        all.add<one_mutex_bucket<false>>(job);
        all.add<atomic_bucket<false>>(job);
        all.add<one_mutex_log>(job);
        all.add_floor();
    }
}

void add_given_time(run& r, const char* suite, int round, const load& l, stock kind) {
    const ask_one job{kind};
    for (const int threads : r.threads(l)) {
        rows all(r, suite, l, threads, round);
        all.add<weir_bucket<given_clock, way::given>>(ours, job);
        if (kind == stock::plenty) {
            all.add<weir_bucket<given_clock, way::given, 16>>("weir_16_at_once", job);
        }
        all.add<one_mutex_bucket<true>>(job);
        all.add<atomic_bucket<true>>(job);
        all.add_floor();
    }
}

// Limiters of many keys.

struct ask_many {
    bool by_zipf;
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const inputs& in = all_inputs(r);
        const auto it = std::make_unique<Peer>(in.keys.size());
        for (const u64 key : in.keys) {
            need(it->take(key), "not even the first");
        }
        const auto& order = by_zipf ? in.zipf : in.shuffled;
        counted c =
            storm(r, threads, order.size(), [p = it.get(), o = order.data()](std::size_t i) { return p->take(o[i]); });
        c.may_allocate = static_cast<u64>(threads);
        Peer::check_yes(c.yes, c.calls);
        it->check(in.keys, c.yes + in.keys.size());
        return c;
    }
};

void add_many_keys(run& r, const char* suite, int round, const load& l, bool by_zipf) {
    const ask_many job{by_zipf};
    for (const int threads : r.threads(l)) {
        rows all(r, suite, l, threads, round);
        all.add<weir_keys<2>>(ours, job);
        all.add<weir_keys<4>>("weir_4x", job);
        all.add<weir_keys<2, given_clock>>("weir_injected", job);
        all.add<weir_keys<4, given_clock>>("weir_4x_injected", job);
        all.add<shared_gcra_keys>(job);
        all.add<shared_bucket_keys>(job);
        all.add<mutex_log_keys>(job);
        all.add_floor();
    }
}

#ifdef WEIR_BENCH_HAS_MALLINFO2
double bytes_in_use() {
    const auto m = mallinfo2();
    return static_cast<double>(m.uordblks) + static_cast<double>(m.hblkhd);
}

template <class Peer>
double weigh(const run& r, std::size_t places_per_key) {
    const inputs& in = all_inputs(r);
    const double before = bytes_in_use();
    const auto it = std::make_unique<Peer>(in.keys.size());
    for (const u64 key : in.keys) {
        need(it->take(key), "not even the first");
    }
    return (bytes_in_use() - before) / static_cast<double>(in.keys.size() * places_per_key);
}

void add_bytes(run& r, const char* suite) {
    const auto row = [&](const char* peer, auto f) { r.add_value(suite, key_bytes, 1, peer, 0, f); };
    row(ours, [&r] { return weigh<weir_keys<2>>(r, 2); });
    row(shared_gcra_keys::id, [&r] { return weigh<shared_gcra_keys>(r, 1); });
    row(shared_bucket_keys::id, [&r] { return weigh<shared_bucket_keys>(r, 1); });
    row(mutex_log_keys::id, [&r] { return weigh<mutex_log_keys>(r, 1); });
}
#else
void add_bytes(run&, const char*) {}
#endif

void add_limiters(run& r, const char* suite, int round) {
    add_one_key(r, suite, round, allowed, stock::plenty);
    add_one_key(r, suite, round, denied, stock::none);
    add_given_time(r, suite, round, allowed_given, stock::plenty);
    add_given_time(r, suite, round, denied_given, stock::none);
    add_many_keys(r, suite, round, keys, false);
    add_many_keys(r, suite, round, skewed, true);
    if (round == 0) {
        add_bytes(r, suite);
    }
}

// Retry.

struct tell_success {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        const counted c = storm(r, threads, batch, [p = it.get()](std::size_t) {
            p->succeeded();
            return true;
        });
        it->check();
        return c;
    }
};
struct tell_both {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        const counted c = storm(r, threads, batch, [p = it.get()](std::size_t) {
            p->failed();
            benchmark::ClobberMemory();
            p->succeeded();
            return true;
        });
        it->check();
        return c;
    }
};

/// What is called: the compiler does not know what it does, but that it may throw.
[[gnu::noinline]] u64 work(u64 x) {
    if (x == ~u64{0}) {
        throw wrong_result("the work was given too much");
    }
    return x + 1;
}

template <class F>
counted call_through(const run& r, int threads, F f) {
    const counted c = storm(r, threads, batch, [f](std::size_t i) { return f(i) == i + 1; });
    must_be("right answers", c.yes, c.calls);
    return c;
}
counted call_plainly(const run& r, int threads) {
    return call_through(r, threads, [](std::size_t i) { return work(i); });
}

/// What people write: three attempts, and a sleep that grows.
u64 retry_by_hand(u64 x) {
    for (int attempt = 1;; ++attempt) {
        try {
            return work(x);
        } catch (...) {
            if (attempt == 3) {
                throw;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds{10 << attempt});
        }
    }
}

void add_retries(run& r, const char* suite, int round) {
    for (const int threads : r.threads(first_try)) {
        rows all(r, suite, first_try, threads, round);
        all.add(ours, [](const run& run_, int n) {
            weir::retry again;
            return call_through(run_, n, [p = &again](std::size_t i) { return *p->run([i] { return work(i); }).last; });
        });
        all.add("weir_budget", [](const run& run_, int n) {
            weir::token_retry_budget budget;
            weir::retry<steady, weir::thread_sleeper, weir::token_retry_budget> again{{}, budget};
            return call_through(run_, n, [p = &again](std::size_t i) { return *p->run([i] { return work(i); }).last; });
        });
        all.add("by_hand", [](const run& run_, int n) {
            return call_through(run_, n, [](std::size_t i) { return retry_by_hand(i); });
        });
        all.add("plain", call_plainly);
    }
    for (const int threads : r.threads(full_budget)) {
        rows all(r, suite, full_budget, threads, round);
        all.add<weir_budget>(ours, tell_success{});
        all.add<weir_window_budget>("weir_window", tell_success{});
        all.add<mutex_budget>(tell_success{});
        all.add<atomic_budget>(tell_success{});
    }
    for (const int threads : r.threads(used_budget)) {
        rows all(r, suite, used_budget, threads, round);
        all.add<weir_budget>(ours, tell_both{});
        all.add<mutex_budget>(tell_both{});
        all.add<atomic_budget>(tell_both{});
    }
}

// Bulkheads.

struct take_and_return {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        const counted c = storm(r, threads, batch, [p = it.get()](std::size_t) { return p->use(); });
        must_be("let in", c.yes, c.calls);
        it->check(c.calls);
        return c;
    }
};

void add_bulkheads(run& r, const char* suite, int round) {
    for (const int threads : r.threads(permits)) {
        rows all(r, suite, permits, threads, round);
        all.add<weir_bulkhead>(ours, take_and_return{});
        all.add<mutex_semaphore>(take_and_return{});
        all.add<atomic_bulkhead>(take_and_return{});
    }
}

// Caches of known keys.

struct all_known {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const inputs& in = all_inputs(r);
        Peer it(4 * in.keys.size(), an_hour);
        for (const u64 key : in.keys) {
            it.take(key);
        }
        const auto& order = in.shuffled;
        counted c =
            storm(r, threads, order.size(), [p = &it, o = order.data()](std::size_t i) { return p->take(o[i]); });
        c.may_allocate = 2 * static_cast<u64>(threads);  // of the first key that is new, too
        // Few keys have more than seven others in their set; who has to go is new when it comes again.
        need(c.yes * 100 <= c.calls, "known keys are new");
        it.check(in.keys.size() + c.calls);
        return c;
    }
};

struct all_new {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        Peer it(weir::dedup_cache_options{}.capacity, std::chrono::milliseconds{1});
        std::atomic<u64> begun{0};
        struct op {
            Peer* it;
            std::atomic<u64>* begun;
            u64 next = 0;
            op(Peer* p, std::atomic<u64>* b) : it(p), begun(b) {}
            op(const op& o)
                : it(o.it), begun(o.begun), next(begun->fetch_add(1) << 40U) {}  // each thread has its own keys
            bool operator()(std::size_t) { return it->take(++next * 0x9e3779b97f4a7c15U); }
        };
        counted c = storm(r, threads, batch, op{&it, &begun});
        c.may_allocate = static_cast<u64>(threads);
        // One in 500 million is taken for another.
        need(c.yes <= c.calls && c.calls - c.yes <= 3, "new keys were known");
        it.check(c.calls);
        return c;
    }
};

void add_dedup(run& r, const char* suite, int round) {
    for (const int threads : r.threads(repeated)) {
        rows all(r, suite, repeated, threads, round);
        all.add<weir_fingerprints>(ours, all_known{});
        all.add<weir_exact_keys>("weir_exact", all_known{});
        all.add<mutex_dedup>(all_known{});
        all.add_floor();
    }
    for (const int threads : r.threads(fresh)) {
        rows all(r, suite, fresh, threads, round);
        all.add<weir_fingerprints>(ours, all_new{});
        all.add<weir_exact_keys>("weir_exact", all_new{});
        all.add<mutex_dedup>(all_new{});
        all.add_floor();
    }
}

// Pipelines.

template <class Clock>
struct guards {
    weir::circuit_breaker<> breaker{{.failures = too_many}};
    weir::token_bucket<Clock> bucket{{.limit = 10, .burst = 1'000'000'000}};
    typename weir::token_bucket<Clock>::time_point first = bucket.now();
    weir::bulkhead places{{.max_concurrent = 64}};

    guards() { need(bucket.try_acquire(1, first), "not even the first"); }
    void check(u64 calls) {
        must_be("admitted", places.stats().admitted, calls);
        must_be("tokens left", static_cast<u64>(bucket.balance(first)), 1'000'000'000 - 1 - calls);
        need(breaker.current() == weir::breaker_state::closed, "the breaker is not closed any more");
    }
};

template <class Clock>
counted call_through_pipeline(const run& r, int threads) {
    guards<Clock> g;
    const auto p = g.breaker.policy() | g.bucket.policy() | g.places.policy();
    const counted c = call_through(r, threads, [&p](std::size_t i) { return *p([i] { return work(i); }); });
    g.check(c.calls);
    return c;
}

weir::outcome<u64> nested_by_hand(guards<steady>& g, u64 x) {
    auto leave = g.breaker.acquire();
    if (!leave.has_value()) {
        return weir::unexpected<weir::failure>{weir::failure{leave.error()}};
    }
    if (const auto d = g.bucket.allow(); !d) {
        leave->ignore();
        return weir::unexpected<weir::failure>{weir::failure{d.rejection()}};
    }
    auto place = g.places.try_acquire();
    if (!place.has_value()) {
        leave->ignore();
        return weir::unexpected<weir::failure>{weir::failure{place.error()}};
    }
    auto result = weir::outcome_of(work, x);
    place->release();
    leave->report(weir::default_verdict{}(result));
    return result;
}

/// What people write who have a mutex in each part.
struct mutex_guards {
    mutex_breaker breaker;
    one_mutex_bucket<false> bucket{stock::plenty};
    mutex_semaphore places;

    weir::outcome<u64> call(u64 x) {
        u64 generation = 0;
        if (!breaker.before(generation)) {
            return weir::unexpected<weir::failure>{weir::failure{weir::rejected{weir::refusal::breaker_open}}};
        }
        if (!bucket.take()) {
            return weir::unexpected<weir::failure>{weir::failure{weir::rejected{weir::refusal::rate_limited}}};
        }
        places.acquire();
        auto result = weir::outcome_of(work, x);
        places.release();
        breaker.after(generation, !result.has_value());
        return result;
    }
};

void add_pipelines(run& r, const char* suite, int round) {
    for (const int threads : r.threads(layers)) {
        rows all(r, suite, layers, threads, round);
        all.add(ours, call_through_pipeline<steady>);
        all.add("weir_coarse", call_through_pipeline<weir::coarse_clock>);
        all.add("weir_empty", [](const run& run_, int n) {
            constexpr weir::pipeline<> p;
            return call_through(run_, n, [&p](std::size_t i) { return *p([i] { return work(i); }); });
        });
        all.add("by_hand", [](const run& run_, int n) {
            guards<steady> g;
            const counted c = call_through(run_, n, [&g](std::size_t i) { return *nested_by_hand(g, i); });
            g.check(c.calls);
            return c;
        });
        all.add("mutexes", [](const run& run_, int n) {
            mutex_guards g;
            const counted c = call_through(run_, n, [&g](std::size_t i) { return *g.call(i); });
            g.breaker.check_closed(c.calls, 0);
            g.bucket.check(c.calls);
            g.places.check(c.calls);
            return c;
        });
        all.add("plain", call_plainly);
    }
    for (const int threads : r.threads(clocks)) {
        rows all(r, suite, clocks, threads, round);
        const auto look = [](auto now) {
            return [now](const run& run_, int n) {
                return storm(run_, n, batch, [now](std::size_t) {
                    benchmark::DoNotOptimize(now());
                    return true;
                });
            };
        };
        all.add("steady_clock", look([] { return steady::now(); }));
        all.add("weir_coarse_clock", look([] { return weir::coarse_clock::now(); }));
        all.add("injected", look([] { return given_clock{}.now(); }));
    }
}

void add_round(run& r, const char* suite, int round) {
    const std::string name = suite;
    if (name == "circuit_breaker") {
        add_breakers(r, suite, round);
    } else if (name == "rate_limiter") {
        add_limiters(r, suite, round);
    } else if (name == "retry") {
        add_retries(r, suite, round);
    } else if (name == "bulkhead") {
        add_bulkheads(r, suite, round);
    } else if (name == "dedup_cache") {
        add_dedup(r, suite, round);
    } else {
        add_pipelines(r, suite, round);
    }
}

std::vector<table> last_tables() {
    table peers{"What each row of the flow bench really does", {}, {}, {}, {}};
    for_each_description([&]<class Peer>() { peers.rows.push_back({Peer::id, Peer::about}); });
    table dead{"Dead ends of the flow bench", "What looked good and was rejected.", {}, {}, {}};
    for (const auto& [idea, verdict] : dead_ends) {
        dead.rows.push_back({idea, verdict});
    }
    return {std::move(peers), std::move(dead)};
}

}  // namespace
}  // namespace bench::flow

namespace bench {

std::vector<suite> flow_suites() {
    using namespace flow;
    std::vector<suite> all;
    for (const chapter& c : chapters()) {
        const auto add = [&c](run& r) {
            for (const load* l : c.loads) {
                r.declare(*l);
            }
            r.stop_after(run::part_of(c.name, false), 1);
            for (int round = 0; round != r.rounds(); ++round) {
                add_round(r, c.name, round);
            }
        };
        const auto tables = [&c, last = &c == &chapters().back()](const run& r) {
            std::vector<table> made = flow::tables_of(r.out(), c);
            if (last && !made.empty()) {
                for (table& t : last_tables()) {
                    made.push_back(std::move(t));
                }
            }
            return made;
        };
        all.push_back({c.name, add, tables, [&c](const results& out) { return flow::summary_of(out, c); },
                       [&c](const results& out) { return flow::overview_of(out, c); }, "flow"});
    }
    return all;
}

}  // namespace bench
