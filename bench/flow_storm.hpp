// weir (BSL-1.0). bench flow storm: inputs, threads that call one operation for a common time, and the rows of a load.
#ifndef WEIR_BENCH_FLOW_STORM_HPP
#define WEIR_BENCH_FLOW_STORM_HPP
#include <weir/data/stats.hpp>

#include "allocations.hpp"
#include "flow_catalog.hpp"
#include "flow_peers.hpp"
#include "harness.hpp"
#include "instructions.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

// What keeps the tables honest:
// * every row of a load gets the same inputs, drawn before, and each call's answer is counted: all are allowed, or none;
// * what a row knows at the end (tokens left, calls in the window, permits given) is what was done;
// * a compiler barrier follows each operation, so nothing is merged or kept in a register over it;
// * threads run until one common time is over, so that all rows are measured as long, however slow;
// * once a thread has been through all its inputs its allocations are counted: weir's have to be none, but for the counter of a
//   thread's first eviction.

namespace bench::flow {

inline constexpr std::size_t batch = 4096;  // operations between two looks at the clock
inline constexpr std::size_t most_threads = 8;

// The inputs. A smoke run has few keys, so that every thread sees all of them more than once.

inline std::size_t number_of_keys(const run& r) { return r.opt().smoke ? 2 * batch : 100'000; }

struct inputs {
    std::vector<unsigned char> failed;  // 64 in each batch
    std::vector<u64> keys;              // all different
    std::vector<u64> shuffled;          // all of them in another order, then some again to make whole batches
    std::vector<u64> zipf;
};

inline std::vector<u64> by_zipf(const std::vector<u64>& all, std::size_t size, random_numbers& random) {
    std::vector<double> sums(all.size());
    double sum = 0;
    for (std::size_t i = 0; i != all.size(); ++i) {
        sums[i] = sum += 1 / static_cast<double>(i + 1);
    }
    std::vector<u64> drawn(size);
    for (u64& key : drawn) {
        const double at = static_cast<double>(random() >> 11U) * 0x1p-53 * sum;
        const auto found = static_cast<std::size_t>(std::upper_bound(sums.begin(), sums.end(), at) - sums.begin());
        key = all[std::min(found, all.size() - 1)];
    }
    return drawn;
}

inline inputs draw(std::size_t n) {
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

inline const inputs& all_inputs(const run& r) {
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

inline std::chrono::milliseconds usual_span(int threads) {
    return std::chrono::milliseconds{threads > cores() ? 60 : 30};
}

/// Threads call op(i) for one input after the other, each from another place on, until the time is over.
template <class Op>
counted storm(const run& r, int threads, std::size_t inputs, Op op, std::chrono::milliseconds usual) {
    const std::chrono::milliseconds span = r.opt().smoke ? std::chrono::milliseconds{0} : usual;
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

template <class Op>
counted storm(const run& r, int threads, std::size_t inputs, Op op) {
    return storm(r, threads, inputs, op, usual_span(threads));
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

/// What is called: the compiler does not know what it does, but that it may throw.
[[gnu::noinline]] inline u64 work(u64 x) {
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
inline counted call_plainly(const run& r, int threads) {
    return call_through(r, threads, [](std::size_t i) { return work(i); });
}

// What a call consists of: each part alone, in ns and in instructions.

class parts {
public:
    /// The names of both loads' rows are the same.
    parts(run& r, const char* suite, const load& ns, const load& instructions, int round)
        : run_(r), suite_(suite), instructions_(instructions), round_(round), rows_(r, suite, ns, 1, round) {}

    /// `make` gives what has to live as long, op(*it) does the part.
    template <class Make, class Op>
    void add(const char* part, Make make, Op op) {
        rows_.add(part, [make, op](const run& r, int threads) {
            const auto it = make();
            const auto one = [p = it.get(), op](std::size_t) {
                benchmark::DoNotOptimize(op(*p));
                return true;
            };
            return storm(r, threads, batch, one, usual_span(threads) / 3);
        });
        if (round_ == 0) {
            run_.add_value(suite_, instructions_, 1, part, 0, [make, op] {
                const auto it = make();
                return instructions_of([p = it.get(), op] { return op(*p); });
            });
        }
    }
    /// What all of them have in common.
    void add_loop() {
        add(
            "loop", [] { return std::make_unique<u64>(0); }, [](u64&) { return true; });
    }
    /// The least that anything takes which threads share.
    void add_one_load() {
        add(
            "one_load", [] { return std::make_unique<std::atomic<u64>>(0); },
            [](std::atomic<u64>& word) { return word.load(relaxed); });
    }
    /// One addition to a counter of weir's.
    void add_counter() {
        add(
            "counter", [] { return std::make_unique<weir::counter>(); },
            [](weir::counter& c) {
                c.add();
                return true;
            });
    }

private:
    run& run_;
    const char* suite_;
    const load& instructions_;
    int round_;
    rows rows_;
};

/// Few rounds are enough for what is not compared, or takes long.
inline bool early(int round) { return round < 3; }

// Very many keys: no room for them all in a list, and each thread goes through them in another order than they came in.

inline std::size_t number_of_very_many(const run& r) { return r.opt().smoke ? number_of_keys(r) : 10'000'000; }

class key_walk {
public:
    key_walk(std::size_t n, std::atomic<std::size_t>& begun) : all_(n), step_(n / 13 * 8 | 1U), begun_(&begun) {
        while (std::gcd(step_, all_) != 1) {
            step_ += 2;
        }
    }
    /// Starts elsewhere.
    key_walk(const key_walk& o)
        : all_(o.all_),
          step_(o.step_),
          begun_(o.begun_),
          at_(begun_->fetch_add(1) % most_threads * (all_ / most_threads)) {}
    key_walk& operator=(const key_walk&) = delete;
    ~key_walk() = default;

    u64 next() {
        at_ += step_;
        at_ -= at_ >= all_ ? all_ : 0;
        return key(at_);
    }
    static u64 key(std::size_t i) { return (i + 1) * 0x9e3779b97f4a7c15U; }

private:
    std::size_t all_;
    std::size_t step_;
    std::atomic<std::size_t>* begun_;  // walks that were made
    std::size_t at_ = 0;
};

/// Asks for one key of very many after the other.
template <class Peer>
counted walk_through(const run& r, int threads, Peer& it, std::size_t n) {
    struct op {
        Peer* it;
        key_walk walk;
        bool operator()(std::size_t) { return it->take(walk.next()); }
    };
    std::atomic<std::size_t> begun{0};
    return storm(r, threads, (n + batch - 1) / batch * batch, op{&it, key_walk(n, begun)});
}

/// A peer that make() gives, with all of them in it.
template <class Make>
auto full_of_very_many(std::size_t n, Make make) {
    auto it = make();
    std::size_t known = 0;  // fingerprints may be the same
    for (std::size_t i = 0; i != n; ++i) {
        known += it->take(key_walk::key(i)) ? 0U : 1U;
    }
    need(known <= 3, "not even the first");
    return it;
}

/// Bytes that make() has taken and what it gave still has, for each of n.
template <class Make>
double bytes_for_each(std::size_t n, Make make) {
    const double before = bytes_in_use();
    const auto it = make();
    return (bytes_in_use() - before) / static_cast<double>(n);
}

}  // namespace bench::flow
#endif
