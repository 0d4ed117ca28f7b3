// weir (BSL-1.0). bench stats catalog: the loads of the statistics' bench, and the goals of weir's.
#ifndef WEIR_BENCH_STATS_CATALOG_HPP
#define WEIR_BENCH_STATS_CATALOG_HPP
#include "harness.hpp"

#include <array>
#include <string>
#include <vector>

namespace bench::stats {

inline const load counting{
    .id = "counter",
    .title = "adding 1 to a counter",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note =
        "All threads add to the same counter. As in all tables of this bench, a compiler barrier "
        "follows each operation: nothing that leads to the counter stays in a register."};
inline const load recording{
    .id = "histogram",
    .title = "recording a duration in a histogram",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note =
        "The same 16384 durations for all rows, drawn before: lognormal, median 100 us, from 3 us "
        "to 4 ms. weir's and the log-linear rows have buckets to within 1/64 from 1 ns to 1 h."};
inline const load requests{
    .id = "requests",
    .title = "recording a request",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note =
        "Duration, bytes and outcome, drawn before; one of 32 fails. Without the clock. The rows "
        "know very different things about the requests, see the last table."};
inline const load gauging{.id = "gauge",
                          .title = "moving a gauge up and down",
                          .threads = {1, 2},
                          .more_threads = {4, 8},
                          .note = "Add 1, take 1 away, and so on. weir's keeps its highest and lowest value besides."};
inline const load timing{.id = "timing",
                         .title = "timing a scope into a histogram",
                         .threads = {1, 2},
                         .more_threads = {4, 8},
                         .note =
                             "weir: a stopwatch with steady_clock; weir_coarse: with coarse_clock. The others look at "
                             "steady_clock twice and record; floor looks and records nothing."};
inline const load parts{
    .id = "parts",
    .title = "what a write to each part of weir takes",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note =
        "weir: a counter. Windows have 6 slices in a minute; windows and meter look at coarse_clock, "
        "floor looks at it and does nothing else.",
    .compared = false};
inline const load many{.id = "many_counters",
                       .title = "1e5 counters, written in random order",
                       .threads = {1, 2},
                       .more_threads = {4, 8},
                       .note =
                           "All are alive. Each thread adds 1 to each, in one shuffled order, each from another place "
                           "on. atomic: side by side in an array; "
                           "atomic_padded: a cache line each."};

// In a process of its own: how many threads have lived decides what a read costs. `threads` is that number here.
inline const load value_read{
    .id = "read_counter", .title = "value of a counter", .threads = {2, 64}, .unit = "ns/read"};
inline const load taken{.id = "take", .title = "take of a counter", .threads = {2, 64}, .unit = "ns/read"};
inline const load snapshot{
    .id = "snapshot", .title = "snapshot of a histogram to within 1/64", .threads = {2, 64}, .unit = "ns/read"};
inline const load large_snapshot{
    .id = "snapshot_4096", .title = "snapshot of a histogram with 4096 buckets", .threads = {2, 64}, .unit = "ns/read"};
inline const load requests_read{
    .id = "read_requests", .title = "snapshot of statistics of requests", .threads = {2, 64}, .unit = "ns/read"};
inline const std::array<const load*, 5> reads{&value_read, &taken, &snapshot, &large_snapshot, &requests_read};

// The same: the first write of a thread that is new. Its number is new too, or was an earlier thread's.
inline const load first_counter{
    .id = "first_counter", .title = "a thread's first write: counter", .threads = {1}, .unit = "ns"};
inline const load first_histogram{
    .id = "first_histogram", .title = "a thread's first write: histogram", .threads = {1}, .unit = "ns"};
inline const load first_requests{
    .id = "first_requests", .title = "a thread's first write: requests", .threads = {1}, .unit = "ns"};
inline const load next_counter{
    .id = "next_counter", .title = "a follower's first write: counter", .threads = {1}, .unit = "ns"};
inline const load next_histogram{
    .id = "next_histogram", .title = "a follower's first write: histogram", .threads = {1}, .unit = "ns"};
inline const load next_requests{
    .id = "next_requests", .title = "a follower's first write: requests", .threads = {1}, .unit = "ns"};
inline const std::array<const load*, 6> firsts{&first_counter, &first_histogram, &first_requests,
                                               &next_counter,  &next_histogram,  &next_requests};

inline const load idle_counter{
    .id = "idle_counter", .title = "bytes of an idle counter", .threads = {1}, .unit = "bytes"};
inline const load idle_histogram{
    .id = "idle_histogram", .title = "bytes of an idle histogram", .threads = {1}, .unit = "bytes"};
inline const load idle_requests{
    .id = "idle_requests", .title = "bytes of idle statistics of requests", .threads = {1}, .unit = "bytes"};
inline const load busy_counter{
    .id = "busy_counter", .title = "bytes of a counter with 4 writers", .threads = {1}, .unit = "bytes"};
inline const load busy_histogram{
    .id = "busy_histogram", .title = "bytes of a histogram with 4 writers", .threads = {1}, .unit = "bytes"};
inline const load busy_requests{
    .id = "busy_requests", .title = "bytes of statistics of requests with 4 writers", .threads = {1}, .unit = "bytes"};
inline const std::array<const load*, 6> sizes{&idle_counter,   &busy_counter,  &idle_histogram,
                                              &busy_histogram, &idle_requests, &busy_requests};

/// A limit for weir's figure divided by that of `base` in the same round; of the figure itself if there is no base.
struct goal {
    const load* what;
    int threads;
    std::string base;  // a row; itself_alone: weir's own with one thread
    double limit;
    const char* reason;  // where the limit comes from
};
inline constexpr const char* itself_alone = "itself with 1";
const std::vector<goal>& goals();

// What is made of the results: stats_tables.cpp.

std::vector<table> tables_of(const results& out);
/// For a file that a README takes in.
std::vector<table> summary_of(const results& out);
/// Each row as a multiple of weir's time. Empty if nothing was measured.
std::string overview_of(const results& out);

}  // namespace bench::stats
#endif
