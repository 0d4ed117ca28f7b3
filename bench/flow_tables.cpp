// weir (BSL-1.0). bench flow tables: the suites of the flow bench, their goals, and figures measured elsewhere.
#include "chapters.hpp"
#include "flow_catalog.hpp"
#include "flow_peers.hpp"

#include <utility>
#include <vector>

namespace bench {
namespace flow {
namespace {

std::vector<chapter> chapters() {
    return {
        {"circuit_breaker",
         add_circuit_breaker,
         {&closed_calls, &failing_calls, &open_calls},
         &refusal_parts,
         &refusal_instructions,
         "What a refusal consists of",
         "An open breaker, whose clock says what somebody has looked up before. question: would_admit(), which counts "
         "nothing and says only yes or no. counter: one addition to a weir::counter. answer: an expected that holds "
         "why and when to come again, made by a function of its own: so the parts are more than the whole, if that "
         "does "
         "without one."},
        {"rate_limiter",
         add_rate_limiter,
         {&allowed, &denied, &allowed_given, &denied_given, &keys, &skewed, &key_bytes, &keys_1e7, &key_bytes_1e7},
         &denial_parts,
         &denial_instructions,
         "What a denial consists of",
         "An empty token bucket; the time is given. ticks: what makes a number of a time: a difference of two that "
         "saturates, and a bound."},
        {"retry",
         add_retry,
         {&first_try, &full_budget, &used_budget},
         &budget_parts,
         &budget_instructions,
         "What a success consists of that is told to a full budget",
         "one_load: one relaxed load and nothing else."},
        {"bulkhead",
         add_bulkhead,
         {&permits},
         &permit_parts,
         &permit_instructions,
         "What a permit consists of",
         "counting: the row atomic, and one addition to a weir::counter. counting_exact: by a compare-exchange too, so "
         "that there are never more in it than its limit, not even for a moment."},
        {"dedup_cache", add_dedup_cache, {&repeated, &fresh, &repeated_1e7, &mark_bytes_1e7}},
        {"pipeline", add_pipeline, {&layers, &clocks}},
    };
}

// A limit in ns was set on a machine where one thread took 67.6 ns with the mutex breaker, and so on: it stands for the ratio of
// the two. A look at the clock took 18.8 ns there; who may take x and a look has x + 18.8.
std::vector<goal> goals() {
    return {
        {&closed_calls, 1, "weir", "mutex", 0.03, "2 ns where that took 67.6"},
        {&closed_calls, 2, "weir", itself_alone, 1.1, "nothing shared is written; a tenth for noise"},
        {&closed_calls, 1, "weir_count_window", "mutex", 0.37, "25 ns where that took 67.6"},
        {&closed_calls, 1, "weir_time_window_injected", "mutex", 0.18, "12 ns where that took 67.6"},
        {&closed_calls, 1, "weir_time_window", "mutex", 0.46, "12 ns and a clock where that took 67.6",
         "The row is weir_time_window_injected and a look at the clock. Where the goal was set, a look took 18.8 ns of "
         "the "
         "other's 67.6."},
        {&closed_calls, 2, "weir_time_window_injected", itself_alone, 1.1, "no more per core; a tenth for noise"},
        {&open_calls, 1, "weir_injected", "floor", 0.053, "1 ns where a look at the clock took 18.8",
         "A refusal is counted, and says why and when to come again. The question alone does neither. See "
         "what a refusal consists of."},
        {&open_calls, 1, "weir", "floor", 1.05, "1 ns and a clock",
         "The row is a look at the clock and weir_injected. A twentieth of a look is all that the goal leaves for the "
         "rest."},
        {&allowed_given, 1, "weir", "folly_like", 0.61, "12 ns where folly's took 19.6"},
        {&allowed, 1, "weir", "folly_like", 0.79, "12 ns and a clock where folly's took 39"},
        {&allowed, 2, "weir", "folly_like", 0.99, "60 ns of all where folly's took 60.9"},
        {&allowed_given, 2, "weir_16_at_once", "folly_like", 0.092, "4 ns of all where folly's took 43.6"},
        {&denied_given, 1, "weir", "floor", 0.053, "1 ns where a look at the clock took 18.8",
         "A token bucket makes a number of a time in a way that saturates, and before it denies it looks whether the "
         "clock "
         "was set back; folly_like does neither. See what a denial consists of."},
        {&denied, 1, "weir", "folly_like", 0.7, "1 ns and a clock where folly's took 28.1",
         "Both rows look at the clock. Where the goal was set, a look took 18.8 ns of the other's 28.1."},
        {&keys, 1, "weir", "mutex_log", 0.31, "70 ns and a clock where that took 287"},
        {&keys, 2, "weir", "mutex_log", 0.25, "four times as fast"},
        {&keys, 1, "weir", "shared_mutex_bucket", 0.5, "twice as fast"},
        {&keys, 2, "weir", "shared_mutex_bucket", 0.5, "twice as fast"},
        {&key_bytes, 1, "weir", "", 16, "16 bytes for each key that there is room for",
         "The hash of a key and its time take them. Eight keys share a latch and a mark besides: without the latch a "
         "key and "
         "its time could not change together, without the mark a key that had to go would come back with a full "
         "bucket."},
        {&full_budget, 1, "weir", "atomic", 0.031, "0.34 ns where that took 11.1",
         "The row is a load, a comparison and the loop, and writes nothing; the other is a compare-exchange, which "
         "took 11.1 "
         "ns where the goal was set. See what a success consists of."},
        {&permits, 1, "weir", "atomic", 1, "10 ns where that took 10.1",
         "weir counts whom it lets in, never has more in it than its limit, not even for a moment, and looks whether "
         "somebody "
         "waits when a permit comes back; the other does none of this. See what a permit consists of."},
        {&repeated, 1, "weir", "mutex_map", 0.48, "90 ns where that took 186"},
        {&repeated, 2, "weir", "mutex_map", 0.14, "90 ns of each processor where that took 654"},
        {&layers, 1, "weir", "by_hand", 1.05, "no more than by hand; a twentieth for noise"},
        {&layers, 1, "weir_empty", "plain", 1.1, "the call alone; a tenth for noise"},
    };
}

// As they were found. A figure of `measured elsewhere` is the wall time divided by the operations of all threads, with 1, 2, 4 and 8.
std::vector<figure> figures() {
    return {
        {"circuit_breaker", "gobreaker 0.5, Execute, closed", "117.8, 136.8, 256.6, 307.2", two_cores},
        {"circuit_breaker", "gobreaker 0.5, refused", "58.6, 66.6, 120.0, 142.5", two_cores},
        {"circuit_breaker", "brpc, OnCallEnd(success)", "16.5, 73.4, 70.0, 74.4", two_cores},
        {"circuit_breaker", "Polly v8, breaker", "137.7", "published: its benchmarks, i7-13700H, .NET 9"},
        {"rate_limiter", "x/time/rate, one key, allowed", "80.2, 98.6, 144.4, 145.8", two_cores},
        {"rate_limiter", "x/time/rate, one key, denied", "84.3, 94.2, 119.4, 127.0", two_cores},
        {"rate_limiter", "folly::TokenBucket, allowed, steady_clock", "39.0, 60.9, 61.5, 61.6", two_cores},
        {"rate_limiter", "folly::TokenBucket, allowed, time given", "19.6, 43.6, 49.8, 47.4", two_cores},
        {"rate_limiter", "folly::TokenBucket, denied, steady_clock", "28.1, 14.1, 14.0, 14.0", two_cores},
        {"rate_limiter", "userver TokenBucket, allowed", "31.3, 62.2, 67.1, 67.3", two_cores},
        {"rate_limiter", "userver TokenBucket, denied", "25.1, 12.5, 12.5, 12.5", two_cores},
        {"rate_limiter", "x/time/rate, 1e5 keys, sync.Map", "282, 147, 148, 148", two_cores},
        {"rate_limiter", "x/time/rate, 1e5 keys, RWMutex and map", "208, 130, 133, 132", two_cores},
        {"rate_limiter", "Polly v8, rate limiter", "128.4", "published: its benchmarks, i7-13700H, .NET 9"},
        {"retry", "Polly v8, retry", "109.5", "published: its benchmarks, i7-13700H, .NET 9"},
        {"pipeline", "Polly v8, pipeline of 1, 2, 5", "43.8, 59.6, 159",
         "published: its benchmarks, i7-13700H, .NET 9"},
        {"pipeline", "Go, time.Now", "41.5, 20.8, 20.8, 20.7", two_cores},
    };
}

// Dead ends: what looked good and was rejected, with the figure that did it. Each has two lines in the report.
std::vector<std::pair<const char*, const char*>> dead_ends() {
    return {
        {"Counting allocations from a thread's first operation on",
         "A counter of weir's makes room for a thread's number when it first writes, so the count would say how many "
         "threads there were."},
    };
}

std::vector<std::pair<const char*, const char*>> rows() {
    std::vector<std::pair<const char*, const char*>> all;
    for_each_description([&]<class Peer>() { all.emplace_back(Peer::id, Peer::about); });
    return all;
}

}  // namespace
}  // namespace flow

std::vector<suite> flow_suites() {
    static const book all{
        .name = "flow",
        .chapters = flow::chapters(),
        .goals = flow::goals(),
        .figures = flow::figures(),
        .rows = flow::rows(),
        .dead_ends = flow::dead_ends(),
        .goals_note =
            "Those that were set in ns on another machine stand for the ratio to what a peer took there; `of "
            "all`: wall time divided by the operations of all threads.",
        .allocations_note =
            "By all threads together, from when each had been through all its inputs, in the worst round and with the "
            "worst number of threads. A row of weir's that allocates is an error of the run, but for one counter of "
            "each thread, when it evicts a key for the first time. Rows that were too slow to get there are missing.",
        .figures_note =
            "With several figures: 1, 2, 4 and 8 threads, wall time divided by all operations, unless it "
            "says otherwise.",
    };
    return suites_of(all);
}

}  // namespace bench
