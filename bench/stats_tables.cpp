// weir (BSL-1.0). bench stats tables: goals, tables and plots of the statistics' bench, from the results of a run.
#include "shapes.hpp"
#include "stats_catalog.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace bench::stats {

// A limit in ns was set on a machine where an atomic took 5.1 ns, and so on: it stands for the ratio of the two.
const std::vector<goal>& goals() {
    static const std::vector<goal> all{
        {&counting, 1, "atomic", 0.39, "2 ns where that took 5.1"},
        {&counting, 2, itself_alone, 1.1, "no more per core; a tenth for noise"},
        {&counting, 2, "prometheus", 0.05, "20 times as fast"},
        {&recording, 1, "log_linear_atomic", 0.31, "4 ns where hdr_record_value_atomic took 12.8"},
        {&recording, 1, "prometheus", 0.1, "10 times as fast"},
        {&recording, 2, "prometheus", 0.1, "10 times as fast"},
        {&requests, 1, "two_atomics", 0.55, "6 ns where that took 11"},
        {&large_snapshot, 2, "", 20'000, "20 us"},
        {&idle_counter, 1, "", 64, "64 bytes"},
        {&idle_histogram, 1, "", 256, "256 bytes"},
    };
    return all;
}

namespace {

bool planned(const results& out, const goal& g) {
    const load* l = out.find(g.what->id);
    return l != nullptr && std::find(l->threads.begin(), l->threads.end(), g.threads) != l->threads.end();
}

spread judge(const results& out, const goal& g) {
    if (g.base.empty()) {
        return out.value(g.what->id, g.threads, ours);
    }
    return g.base == itself_alone ? out.ratio(g.what->id, g.threads, ours, 1, ours)
                                  : out.ratio(g.what->id, g.threads, ours, g.base);
}

table goals_table(const results& out) {
    table t{"Goals of weir's statistics", {}, {}, {}, {}, rank::goals};
    t.head = {"load", "threads", "weir", "against", "goal", "measured", "min .. max", "verdict", "the goal stands for"};
    int met = 0;
    int missed = 0;
    for (const goal& g : goals()) {
        if (!planned(out, g)) {
            continue;
        }
        const spread own = out.value(g.what->id, g.threads, ours);
        const spread measured = judge(out, g);
        const bool reached = measured.median <= g.limit;
        met += measured && reached ? 1 : 0;
        missed += measured && !reached ? 1 : 0;
        t.rows.push_back({g.what->title, std::to_string(g.threads), own ? number(own.median) + ' ' + g.what->unit : "-",
                          g.base.empty() ? g.what->unit : g.base, "<= " + number(g.limit),
                          measured ? number(measured.median) : "-",
                          measured && measured.rounds > 1 ? range_of(measured) : std::string{},
                          !measured ? cell("not measured")
                          : reached ? cell("met", mood::good)
                                    : cell("missed", mood::bad),
                          g.reason});
    }
    t.note =
        std::to_string(met) + " met, " + std::to_string(missed) +
        " missed. A goal is a limit for weir's time divided by the other's, in the same round, unless a unit stands "
        "there. Those that were set in ns on another machine stand for the ratio to what a peer took there. For "
        "snapshots, threads are those that had lived at once and written.";
    return t;
}

std::vector<column> columns_of(const results& out, const std::vector<std::pair<const load*, std::string>>& loads) {
    std::vector<column> all;
    for (const auto& [l, head] : loads) {
        for (const int threads : out.threads(l->id)) {
            all.push_back({l, threads, head.empty() ? std::to_string(threads) + " threads, " + l->unit : head});
        }
    }
    return all;
}

void add_reads(const results& out, std::vector<table>& all) {
    for (const load* l : reads) {
        if (!out.peers(l->id).empty()) {
            all.push_back(side_by_side(
                out, "Reading: " + l->title,
                "While one thread writes to it without pause. Threads: those that had lived at once and written to it; "
                "weir looks at what each of them has left. prometheus has 11 buckets.",
                columns_of(out, {{l, {}}})));
        }
    }
}

void add_rest(const results& out, std::vector<table>& all) {
    if (!out.peers(first_counter.id).empty()) {
        all.push_back(
            side_by_side(out, "The first write of a new thread",
                         "ns, with one look at the clock, the median of 12 threads that have allocated memory before. "
                         "new: nobody had the "
                         "thread's number before, "
                         "and weir makes room for it; next: an earlier thread had that number and wrote there.",
                         columns_of(out, {{&first_counter, "counter, new"},
                                          {&next_counter, "counter, next"},
                                          {&first_histogram, "histogram, new"},
                                          {&next_histogram, "histogram, next"},
                                          {&first_requests, "requests, new"},
                                          {&next_requests, "requests, next"}})));
    }
    if (!out.peers(idle_counter.id).empty()) {
        all.push_back(side_by_side(
            out, "Bytes",
            "Of 10000 counters, 500 histograms, 500 statistics of requests in an array: the object and what it has "
            "allocated, as malloc counts it, idle: before anybody has written; then when 4 threads that live at once "
            "have written to each.",
            columns_of(out, {{&idle_counter, "counter, idle"},
                             {&busy_counter, "4 writers"},
                             {&idle_histogram, "histogram, idle"},
                             {&busy_histogram, "4 writers"},
                             {&idle_requests, "requests, idle"},
                             {&busy_requests, "4 writers"}})));
    }
}

}  // namespace

std::vector<table> tables_of(const results& out) {
    std::vector<table> all;
    for (const load* l : {&counting, &recording, &requests, &gauging, &timing, &parts, &many}) {
        if (!out.peers(l->id).empty()) {
            all.push_back(load_table(out, *l));
        }
    }
    add_reads(out, all);
    add_rest(out, all);
    if (all.empty()) {
        return all;
    }
    all.push_back(goals_table(out));
    add_plot(all, "Statistics: all writes at once",
             "Each mark is a peer's time divided by weir's in the same round: the median, and a bar from the smallest "
             "to the largest.",
             overview_of(out));
    add_plot(all, "Statistics over threads",
             "Operations per second of all threads together; a bar from the smallest round to the largest. More "
             "threads than processors show who waits for a thread that does not run.",
             over_threads(out, {&counting, &recording, &requests, &gauging, &timing, &many}));
    return all;
}

std::vector<table> summary_of(const results& out) {
    std::vector<table> all;
    if (out.peers(counting.id).empty()) {
        return all;
    }
    all.push_back(goals_table(out));
    for (const load* l : {&counting, &recording, &requests, &gauging, &timing, &parts, &many}) {
        all.push_back(load_table(out, *l));
    }
    add_reads(out, all);
    add_rest(out, all);
    return all;
}

std::string overview_of(const results& out) {
    std::vector<std::pair<std::string, std::string>> loads;
    for (const load* l : {&counting, &recording, &requests, &gauging, &timing, &many}) {
        loads.emplace_back(l->id, l->title);
    }
    return beside_ours(out, loads);
}

}  // namespace bench::stats
