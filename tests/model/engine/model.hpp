// weir (BSL-1.0). model: runs a small concurrent program in every way that the C++ memory model allows, within bounds.
#ifndef WEIR_TESTS_MODEL_MODEL_HPP
#define WEIR_TESTS_MODEL_MODEL_HPP
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

// The program under test is compiled with -fsanitize=thread and linked with the engine in place of the sanitizer's runtime,
// so that every atomic operation and every plain access of unmodified code passes through the engine. See the README beside.
//
// A body uses std::thread, std::mutex, std::condition_variable, clocks, thread_local and operator new as always. It must
// depend on nothing but its own choices: no input, no random numbers, no addresses of the host. What it writes to globals and
// statics is undone after each execution, so that each begins in the same state; statics constructed within an execution are
// destroyed at its end. GoogleTest's macros are not for bodies: use WEIR_MODEL_REQUIRE.

namespace weir_model {

enum class strategy {
    exhaustive,  // all executions within the bounds, but those that differ from another only in the order of independent steps
    random,      // a fair choice at each point
    pct,         // random priorities with a few changes: Burckhardt et al., "A randomized scheduler", ASPLOS 2010
};

/// One weakened memory order; see mutation.hpp.
struct mutation {
    std::vector<std::uintptr_t> sites{};  // return addresses of the instrumented calls
    char kind = 0;                        // as in `site`; 0: nothing is mutated
    int order = 0;                        // the order used instead, as in __ATOMIC_*; dropped: no fence, no barrier
    static constexpr int dropped = 6;
};

/// An atomic operation that some execution reached.
struct site {
    std::uintptr_t pc;  // return address of the instrumented call
    char kind;          // L load, S store, R read-modify-write, C compare-exchange, c its failure, F fence, G signal fence, M membarrier(2)
    int order;          // as in __ATOMIC_*

    friend bool operator==(site const&, site const&) = default;
};

struct options {
    strategy how = strategy::exhaustive;
    int preemptions = 2;          // switches away from a thread that could have gone on, per execution; unbounded: any number
    int stale_reads = 2;          // loads that return another value than the newest, per execution
    int spurious_failures = 0;    // of compare_exchange_weak, per execution
    int timeouts = 1;             // deadlines that pass while another thread could still run, per execution
    int allocation_failures = 0;  // per execution
    int freezes = 0;              // threads that are suspended for ever, at any step, per execution: 0 or 1; never the first
    std::uint64_t max_executions = 20'000'000;
    double max_seconds = 20.0;
    std::uint32_t max_steps = 20'000;  // of one execution; a longer one is cut, and the search is then not complete
    bool reduce = true;                // leave out executions that differ in the order of independent steps only
    bool reuse_memory = true;          // freed memory is handed out again at once: shows ABA
    bool check_leaks = true;           // memory that is live at the end of an execution is a failure
    int pct_depth = 3;
    std::uint64_t seed = 1;            // random, pct
    std::string replay{};              // of a report: runs that one execution again and traces it
    mutation mutant{};

    static constexpr int unbounded = 1'000'000;
};

struct report {
    bool failed = false;
    bool complete = false;             // everything within the bounds was explored
    std::string message;               // what failed
    std::string replay;                // how to see it again
    std::string trace;                 // the execution that failed, or was replayed, step by step
    std::set<std::string> outcomes;    // what bodies passed to observe()
    std::vector<site> sites;           // atomic operations that were reached
    std::uint64_t executions = 0;
    std::uint64_t lessons = 0;         // random executions beforehand, from which the reduction learned what threads share
    std::uint64_t known = 0;           // of the executions, given up in a state from which all was explored before
    std::uint64_t cut = 0;             // of the executions, given up at max_steps
    std::uint64_t steps = 0;
    std::size_t most_live_bytes = 0;   // over all executions
    std::uint64_t most_steps = 0;      // that count_steps() returned
    double seconds = 0;
};

/// Runs `body` in all ways that the options ask for, or until one fails.
report explore(std::function<void()> const& body, options const& with = {});

/// A report as text: verdict, figures, and for a failure its message, replay string and trace.
std::string to_string(report const& r);

// ---- for bodies

/// Fails the execution if `good` is false.
void require(bool good, char const* what);
#define WEIR_MODEL_REQUIRE(condition) ::weir_model::require(static_cast<bool>(condition), #condition)

/// Adds to the outcomes of the report.
void observe(std::string const& outcome);

/// The number of the last step of the execution. Takes no step itself.
std::uint64_t now();

/// The first and the last step of a call: its time in histories. No two steps have the same number.
struct interval {
    std::uint64_t first = 0, last = 0;
};
void begin_interval();
interval end_interval();
template <class Call>
interval timed(Call&& call) {
    begin_interval();
    std::forward<Call>(call)();
    return end_interval();
}

/// The steps that the calling thread has taken: visible operations, that is atomic ones and calls that the engine answers.
std::uint64_t steps();

/// The steps of one call, which go into report::most_steps.
std::uint64_t count_steps(std::function<void()> const& call);

/// While one of these lives, the calling thread runs outside of the model: nothing is a step, no access is checked, memory
/// comes from the host's heap, and globals keep what is written. For recording and judging; must not touch what other
/// threads of the model change.
class outside {
public:
    outside();
    ~outside();
    outside(outside const&) = delete;
    outside& operator=(outside const&) = delete;

private:
    bool before_;
};

/// A thread that may be frozen. std::thread serves where options::freezes is 0.
class thread {
public:
    explicit thread(std::function<void()> body);
    thread(thread const&) = delete;
    thread& operator=(thread const&) = delete;
    ~thread();

    /// Waits until the thread has ended: true; or will never, because it is frozen: false. Call it once.
    bool join();

private:
    int id_;
    bool joined_ = false;
};

/// Runs each function in a thread of its own, but the last one in the calling thread. Whether all have ended: where options
/// ask for no freezing they have.
template <class... Functions>
bool together(Functions&&... functions) {
    bool all = true;
    std::unique_ptr<thread> threads[sizeof...(functions)];
    std::size_t next = 0;
    const auto start = [&](auto&& f) {
        if (next + 1 == sizeof...(functions)) {
            f();
        } else {
            threads[next++] = std::make_unique<thread>(std::function<void()>(std::ref(f)));
        }
    };
    (start(functions), ...);
    for (std::size_t i = 0; i < next; ++i) {
        all = threads[i]->join() && all;
    }
    return all;
}

}  // namespace weir_model
#endif
