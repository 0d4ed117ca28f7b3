// weir (BSL-1.0). bench harness: cases in interleaved rounds, their samples, and ratios between rows of one run.
#ifndef WEIR_BENCH_HARNESS_HPP
#define WEIR_BENCH_HARNESS_HPP
#include "report.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

// How a run is laid out: every case (a load, a number of threads, a peer) is one Google Benchmark per round. They are
// registered round by round, so that the rows of a table are measured in turns (A B C A B C ...) and a disturbance of
// the machine hits them all. A ratio is taken inside one round; what is printed is the median of the rounds' ratios.

namespace bench {

using clock = std::chrono::steady_clock;
using u64 = std::uint64_t;

inline double seconds_since(clock::time_point begin) {
    return std::chrono::duration<double>(clock::now() - begin).count();
}

struct options {
    bool smoke = false;                   // tiny sizes, one round, every load and every check
    bool full = false;                    // every load, size and number of threads
    int rounds = 5;                       // interleaved rounds, >= 1
    std::string report = "bench-report";  // the folder of index.html
    std::size_t max_bytes = 384U << 20U;  // at most so much text is counted
    double max_seconds = 270;             // no further round is begun that would likely end later
    std::string markdown;                 // a file for the main rows, goals and losses; empty: none
    std::string svg;                      // a file for the main plots; empty: none
    std::vector<std::string> only;        // suites; empty: all
    std::vector<std::string> files;       // what to count; empty: /usr/include
};

struct random_numbers {
    u64 state;
    u64 operator()() {
        state = state * 6364136223846793005U + 1442695040888963407U;
        return state ^ (state >> 29U);
    }
    u64 below(u64 n) { return ((*this)() >> 32U) * n >> 32U; }
};

template <class T>
void shuffle(std::vector<T>& v, u64 seed) {
    random_numbers random{seed};
    for (std::size_t i = v.size(); i > 1; --i) {
        std::swap(v[i - 1], v[random.below(i)]);
    }
}

/// Somebody did wrong, and no figure of that case counts.
struct wrong_result : std::runtime_error {
    using std::runtime_error::runtime_error;
};
inline void must_be(const char* what, u64 seen, u64 right) {
    if (seen != right) {
        throw wrong_result(std::string(what) + ": " + std::to_string(seen) + " instead of " + std::to_string(right));
    }
}

/// What one case did in one round.
struct sample {
    double seconds = 0;     // from the first worker's start to the last worker's end
    double operations = 0;  // of all workers together
};

/// A load: one table of the report.
struct load {
    std::string id;                   // short, part of the benchmark's name
    std::string title;                // a table's heading
    std::vector<int> threads;         // its columns
    std::vector<int> more_threads{};  // and those of a full run, in ascending order
    std::string note{};               // what exactly is done
    std::string unit = "ns/op";       // of the stored values
    bool compared = true;             // takes part in "where weir loses"
    bool more_is_better = false;      // times and sizes: less is
    std::string counted = "thread";   // what `threads` are
    bool extra = false;               // measured when all rounds of the other loads are done
    std::string part{};               // of the program, see suite; filled in when it is declared
};

struct spread {
    double median = 0;
    double low = 0;
    double high = 0;
    int rounds = 0;  // 0: not measured

    explicit operator bool() const { return rounds > 0; }
};
spread spread_of(std::vector<double> values);

/// All samples of the run, and everything that went wrong. Used by the main thread alone.
class results {
public:
    void declare(load l);
    const std::vector<load>& loads() const { return loads_; }
    /// What was declared for this run; its `threads` are those of this run.
    const load* find(const std::string& id) const;

    void add(const std::string& load, int threads, const std::string& peer, int round, double value);
    bool has(const std::string& load, int threads, const std::string& peer) const;
    spread value(const std::string& load, int threads, const std::string& peer) const;
    /// Row over base, round by round.
    spread ratio(const std::string& load, int threads, const std::string& row, int base_threads,
                 const std::string& base) const;
    spread ratio(const std::string& load, int threads, const std::string& row, const std::string& base) const {
        return ratio(load, threads, row, threads, base);
    }
    /// The peers that have a sample in this load, in the order of their first one.
    std::vector<std::string> peers(const std::string& load) const;
    /// The numbers of threads that somebody has a sample with, in ascending order.
    std::vector<int> threads(const std::string& load) const;

    /// Seconds that went into a load, its preparation and its checks too.
    void spend(const std::string& load, double seconds) { spent_[load] += seconds; }
    const std::map<std::string, double>& spent() const { return spent_; }

    void fail(const std::string& what);  // a wrong result: printed at once, and the program ends with status 1
    const std::vector<std::string>& failures() const { return failures_; }

private:
    using key = std::tuple<std::string, int, std::string>;
    std::vector<load> loads_;
    std::map<key, std::map<int, double>> samples_;  // by round
    std::map<std::string, std::vector<std::string>> peers_;
    std::map<std::string, double> spent_;
    std::vector<std::string> failures_;
};

/// For threads that need nothing.
struct no_scope {};

/// Runs f(index) on `threads` fresh threads that start together; the wall time by the workers' own clocks.
/// `Scope` lives in each worker around f: some peers want their threads attached.
template <class Scope, class F>
double parallel(int threads, F f) {
    struct times {
        clock::time_point begin, end;
        std::exception_ptr error;
    };
    const auto n = static_cast<std::size_t>(threads);
    std::vector<times> each(n);
    std::atomic<int> ready{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> workers;
    for (std::size_t i = 0; i != n; ++i) {
        workers.emplace_back([&, i] {
            try {
                [[maybe_unused]] Scope scope;
                ++ready;
                while (!go) {
                    std::this_thread::yield();
                }
                each[i].begin = clock::now();
                f(static_cast<int>(i));
                each[i].end = clock::now();
            } catch (...) {
                each[i].error = std::current_exception();
                each[i].end = clock::now();
                ready += each[i].begin == clock::time_point{} ? 1 : 0;
            }
        });
    }
    while (ready != threads) {
        std::this_thread::yield();
    }
    go = true;
    for (std::thread& w : workers) {
        w.join();
    }
    auto begin = clock::time_point::max();
    auto end = clock::time_point::min();
    for (const times& t : each) {
        if (t.error) {
            std::rethrow_exception(t.error);
        }
        begin = std::min(begin, t.begin);
        end = std::max(end, t.end);
    }
    return std::chrono::duration<double>(end - begin).count();
}

/// The number of processors this program may use.
int cores();

/// What this program prints when it is run anew with that one argument: for what depends on all that a process has done.
/// `variable`: "NAME=value" for its environment, or empty.
/// Throws: std::runtime_error if the child failed, or there can be none.
std::string output_of_child(const std::string& argument, const std::string& variable = {});

/// The run: its options, its results, and the way to add cases to it.
class run {
public:
    explicit run(options o) : options_(std::move(o)) {}

    const options& opt() const { return options_; }
    results& out() { return results_; }
    const results& out() const { return results_; }
    int rounds() const { return options_.smoke ? 1 : options_.rounds; }
    /// Whether every load is wanted, also those that a short run leaves out.
    bool everything() const { return options_.full || options_.smoke; }

    /// The loads that are declared from here on belong to this part of the program.
    void begin_part(std::string part) { part_ = std::move(part); }
    /// Adds a load to this run's, with the numbers of threads that this run wants of it.
    void declare(const load& l);
    std::vector<int> threads(const load& l) const;

    /// The cases of a suite that share rounds and a time limit: its extra loads are a part of their own.
    static std::string part_of(const std::string& suite, bool extra) { return suite + (extra ? ", extra loads" : ""); }
    /// Lets the later rounds of a part fall away where they would likely end after this share of the time limit.
    void stop_after(const std::string& part, double share) { progress_[part].limit = share * options_.max_seconds; }
    /// Asked by every case: whether its round is still run. All cases of a round get the same answer.
    bool admits(const std::string& part, int round);
    /// Empty, or what was not run for lack of time.
    std::string left_out() const;

    /// Registers one case of one round. The stored value is the time per operation and core: wall time *
    /// min(threads, cores) / operations. So a perfectly scaling row shows the same figure at 1 and 2 threads.
    void add(const std::string& suite, const load& l, int threads, const std::string& peer, int round,
             std::function<sample()> f);
    /// The same, but f's own value is stored: not a time per operation.
    void add_value(const std::string& suite, const load& l, int threads, const std::string& peer, int round,
                   std::function<double()> f);

private:
    struct progress {
        double limit = 0;           // seconds after the start; 0: none
        int planned = 0;            // rounds
        int round = -1;             // that began last
        clock::time_point begin{};  // of that round
        double longest = 0;         // seconds, of the rounds before
        int refused = -1;           // the first round that was not run
    };
    void plan(const std::string& part, int round) {
        progress_[part].planned = std::max(progress_[part].planned, round + 1);
    }

    options options_;
    results results_;
    std::map<std::string, progress> progress_;
    std::string part_;
    clock::time_point begin_ = clock::now();
};

/// Registers the rows of one table in one round: each row once, another one first in every round.
class turns {
public:
    void add(std::function<void()> one) { each_.push_back(std::move(one)); }
    void take(int round) {
        for (std::size_t i = 0; i != each_.size(); ++i) {
            each_[(i + static_cast<std::size_t>(round)) % each_.size()]();
        }
        each_.clear();
    }

private:
    std::vector<std::function<void()>> each_;
};

/// The table of a load: a row per peer, and per number of threads its time, spread and ratio to weir's time.
table load_table(const results& r, const load& l);

/// Every row that does better than weir in the same load with the same number of threads, in one part of the program:
/// first those that threads may share, the worst for weir first.
table losses_table(const results& r, const std::string& part);

/// How the time of the run was spent.
table spent_table(const results& r);

/// "0.71 .. 0.85"
std::string range_of(const spread& s);

/// One part of the program: it adds its cases, and turns their results into tables.
struct suite {
    std::string name;  // the first part of its benchmarks' names
    std::function<void(run&)> add;
    std::function<std::vector<table>(const run&)> tables;
    std::function<std::vector<table>(const results&)> summary{};  // for a file that a README takes in
    std::function<std::string(const results&)> overview{};        // its main plot, or empty
    std::string part = "maps and their memory";                   // suites of one part have one table of losses
};
suite word_count_suite();
suite stats_suite();
suite stats_registry_suite();
std::vector<suite> flow_suites();
std::vector<suite> run_suites();
suite lock_free_map_suite();
suite hazard_pointer_suite();
/// In the child process that measures the memory of one peer: "peer,entries". False: no such peer.
bool measure_memory(const std::string& what);
/// In the child process that measures what depends on the threads that have lived: "reads,2,0", "firsts", "sizes".
bool measure_stats(const std::string& what);
/// In the child process that has its malloc to itself: "peer size held threads smoke full". False: it has another malloc.
bool measure_malloc(const std::string& what);

/// The name of our row.
inline constexpr const char* ours = "weir";

}  // namespace bench
#endif
