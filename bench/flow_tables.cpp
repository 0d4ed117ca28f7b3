// weir (BSL-1.0). bench flow tables: the suites of the flow bench, their goals, tables, plots, and figures measured elsewhere.
#include "flow_catalog.hpp"
#include "flow_peers.hpp"
#include "shapes.hpp"

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench::flow {

const std::vector<chapter>& chapters() {
    static const std::vector<chapter> all{
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
    return all;
}

// A limit in ns was set on a machine where one thread took 67.6 ns with the mutex breaker, and so on: it stands for the ratio of
// the two. A look at the clock took 18.8 ns there; who may take x and a look has x + 18.8.
const std::vector<goal>& goals() {
    static const std::vector<goal> all{
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
    return all;
}

namespace {

// Dead ends: what looked good and was rejected, with the figure that did it. Each has two lines in the report.
const std::vector<std::pair<const char*, const char*>> dead_ends{
    {"Counting allocations from a thread's first operation on",
     "A counter of weir's makes room for a thread's number when it first writes, so the count would say how many "
     "threads there were."},
};

bool measured_in(const results& out, const chapter& c) {
    return std::any_of(c.loads.begin(), c.loads.end(), [&](const load* l) { return !out.peers(l->id).empty(); });
}

spread judge(const results& out, const goal& g) {
    if (g.base.empty()) {
        return out.value(g.what->id, g.threads, g.row);
    }
    return g.base == itself_alone ? out.ratio(g.what->id, g.threads, g.row, 1, g.row)
                                  : out.ratio(g.what->id, g.threads, g.row, g.base);
}

/// Goals are as small as 0.03: two digits that count.
std::string small(double value) {
    if (value >= 0.1 || value <= 0) {
        return number(value);
    }
    char text[16];
    std::snprintf(text, sizeof text, "%.3f", value);
    return text;
}

/// How many of weir's rows were seen to allocate nothing, or how much they allocated.
std::string allocations_said(const results& out, const chapter& c) {
    int rows = 0;
    double most = 0;
    for (const load* l : c.loads) {
        const std::string id = allocations_of(*l);
        for (const std::string& peer : out.peers(id)) {
            if (peer.rfind(ours, 0) != 0) {
                continue;
            }
            ++rows;
            for (const int threads : out.threads(id)) {
                most = std::max(most, out.value(id, threads, peer).high);
            }
        }
    }
    return " Allocations in the steady state of weir's " + std::to_string(rows) + " rows: " + grouped(most) +
           " at most.";
}

table goals_table(const results& out, const chapter& c) {
    table t{std::string("Goals: ") + c.name, {}, {}, {}, {}, rank::goals};
    t.head = {"load", "threads",  "row",        "time",    "against",
              "goal", "measured", "min .. max", "verdict", "the goal stands for"};
    int met = 0;
    int missed = 0;
    for (const goal& g : goals()) {
        if (std::find(c.loads.begin(), c.loads.end(), g.what) == c.loads.end()) {
            continue;
        }
        const spread own = out.value(g.what->id, g.threads, g.row);
        const spread measured = judge(out, g);
        const bool reached = measured.median <= g.limit;
        met += measured && reached ? 1 : 0;
        missed += measured && !reached ? 1 : 0;
        t.rows.push_back(
            {g.what->title, std::to_string(g.threads), g.row, own ? number(own.median) + ' ' + g.what->unit : "-",
             g.base.empty() ? g.what->unit : g.base, "<= " + small(g.limit), measured ? small(measured.median) : "-",
             measured && measured.rounds > 1 ? small(measured.low) + " .. " + small(measured.high) : std::string{},
             !measured ? cell("not measured")
             : reached ? cell("met", mood::good)
                       : cell("missed", mood::bad),
             g.reason});
    }
    t.note = std::to_string(met) + " met, " + std::to_string(missed) +
             " missed. A goal is a limit for the row's time divided by the other's, in the same round, unless a unit "
             "stands there. "
             "Those that were set in ns on another machine stand for the ratio to what a peer took there; `of all`: "
             "wall time "
             "divided by the operations of all threads." +
             allocations_said(out, c);
    return t;
}

/// What a goal stands for that this run has missed, in its own figures, and why.
std::string reason_of(const results& out, const chapter& c, const goal& g) {
    const bool by_itself = g.base == itself_alone;
    const spread base = g.base.empty() ? spread{1, 1, 1, 1}
                                       : out.value(g.what->id, by_itself ? 1 : g.threads, by_itself ? g.row : g.base);
    const double limit = g.limit * base.median;
    std::string said = number(out.value(g.what->id, g.threads, g.row).median) + ' ' + g.what->unit +
                       ", and the goal stands for " + number(limit) +
                       (judge(out, g).low <= g.limit ? "; the best round reached it. " : ". ");
    const spread clock = out.value(g.what->id, g.threads, floor_row::id);
    if (clock && g.base != floor_row::id) {
        said += "A look at the clock alone takes " + number(clock.median) + ", " + number(clock.median / base.median) +
                " of the other's time. ";
    }
    if (c.parts != nullptr) {
        const spread loop = out.value(c.parts->id, 1, "loop");
        said += loop && loop.median > limit ? "An empty loop takes " + number(loop.median) + ". " : "";
    }
    return said + g.why;
}

void add_reasons(const results& out, const chapter& c, std::vector<table>& all) {
    table t{std::string("Why goals are missed: ") + c.name, {}, {}, {}, {}, rank::goals};
    for (const goal& g : goals()) {
        const bool of_chapter = std::find(c.loads.begin(), c.loads.end(), g.what) != c.loads.end();
        const spread measured = judge(out, g);
        if (of_chapter && *g.why != '\0' && measured && measured.median > g.limit) {
            t.rows.push_back({g.what->title + ": " + g.row, reason_of(out, c, g)});
        }
    }
    if (!t.rows.empty()) {
        all.push_back(std::move(t));
    }
}

void add_parts(const results& out, const chapter& c, std::vector<table>& all) {
    if (c.parts != nullptr && !out.peers(c.parts->id).empty()) {
        all.push_back(
            side_by_side(out, c.parts_title,
                         std::string(c.parts_note) +
                             " loop: what all rows have in common. Instructions: one by one, of a process that "
                             "its parent steps.",
                         {{c.parts, 1, "ns"}, {c.instructions, 1, "instructions"}}));
    }
}

table allocations_table(const results& out, const chapter& c) {
    table t{std::string("Allocations: ") + c.name,
            "By all threads together, from when each had been through all its inputs, in the worst round and with the "
            "worst number of "
            "threads. A row of weir's that allocates is an error of the run, but for one counter of each thread, when "
            "it evicts a key "
            "for the first time. Rows that were too slow to get there are missing.",
            {"load", "row", "allocations"},
            {},
            {}};
    for (const load* l : c.loads) {
        const std::string id = allocations_of(*l);
        for (const std::string& peer : out.peers(id)) {
            double most = 0;
            for (const int threads : out.threads(id)) {
                most = std::max(most, out.value(id, threads, peer).high);
            }
            t.rows.push_back({l->title, peer, grouped(most)});
        }
    }
    return t;
}

struct figure {
    std::string_view chapter;
    const char* what;
    const char* ns;
    const char* source;
};

constexpr const char* two_core = "measured elsewhere: 2 cores, Xeon VM, Go 1.19.8, g++ 12 -O2";

// As they were found. A figure of `measured elsewhere` is the wall time divided by the operations of all threads, with 1, 2, 4 and 8.
constexpr figure figures[]{
    {"circuit_breaker", "gobreaker 0.5, Execute, closed", "117.8, 136.8, 256.6, 307.2", two_core},
    {"circuit_breaker", "gobreaker 0.5, refused", "58.6, 66.6, 120.0, 142.5", two_core},
    {"circuit_breaker", "brpc, OnCallEnd(success)", "16.5, 73.4, 70.0, 74.4", two_core},
    {"circuit_breaker", "Polly v8, breaker", "137.7", "published: its benchmarks, i7-13700H, .NET 9"},
    {"rate_limiter", "x/time/rate, one key, allowed", "80.2, 98.6, 144.4, 145.8", two_core},
    {"rate_limiter", "x/time/rate, one key, denied", "84.3, 94.2, 119.4, 127.0", two_core},
    {"rate_limiter", "folly::TokenBucket, allowed, steady_clock", "39.0, 60.9, 61.5, 61.6", two_core},
    {"rate_limiter", "folly::TokenBucket, allowed, time given", "19.6, 43.6, 49.8, 47.4", two_core},
    {"rate_limiter", "folly::TokenBucket, denied, steady_clock", "28.1, 14.1, 14.0, 14.0", two_core},
    {"rate_limiter", "userver TokenBucket, allowed", "31.3, 62.2, 67.1, 67.3", two_core},
    {"rate_limiter", "userver TokenBucket, denied", "25.1, 12.5, 12.5, 12.5", two_core},
    {"rate_limiter", "x/time/rate, 1e5 keys, sync.Map", "282, 147, 148, 148", two_core},
    {"rate_limiter", "x/time/rate, 1e5 keys, RWMutex and map", "208, 130, 133, 132", two_core},
    {"rate_limiter", "Polly v8, rate limiter", "128.4", "published: its benchmarks, i7-13700H, .NET 9"},
    {"retry", "Polly v8, retry", "109.5", "published: its benchmarks, i7-13700H, .NET 9"},
    {"pipeline", "Polly v8, pipeline of 1, 2, 5", "43.8, 59.6, 159", "published: its benchmarks, i7-13700H, .NET 9"},
    {"pipeline", "Go, time.Now", "41.5, 20.8, 20.8, 20.7", two_core},
};

void add_figures(const chapter& c, std::vector<table>& all) {
    table t{std::string("Published, or measured elsewhere: ") + c.name,
            "Not of this run and not of this machine: no ratio is made of them. With several figures: 1, 2, 4 and 8 "
            "threads, wall time "
            "divided by all operations, unless it says otherwise.",
            {"what", "ns", "where"},
            {},
            {}};
    for (const figure& f : figures) {
        if (f.chapter == c.name) {
            t.rows.push_back({f.what, f.ns, f.source});
        }
    }
    if (!t.rows.empty()) {
        all.push_back(std::move(t));
    }
}

void add_loads(const results& out, const chapter& c, std::vector<table>& all) {
    for (const load* l : c.loads) {
        if (!out.peers(l->id).empty()) {
            all.push_back(load_table(out, *l));
        }
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

std::vector<table> tables_of(const results& out, const chapter& c) {
    std::vector<table> all;
    if (!measured_in(out, c)) {
        return all;
    }
    add_loads(out, c, all);
    add_parts(out, c, all);
    all.push_back(goals_table(out, c));
    add_reasons(out, c, all);
    all.push_back(allocations_table(out, c));
    add_figures(c, all);
    add_plot(
        all, (std::string(c.name) + ": all loads at once").c_str(),
        "Each mark is a row's time divided by weir's in the same round: the median, and a bar from the smallest to the "
        "largest.",
        overview_of(out, c));
    return all;
}

std::vector<table> summary_of(const results& out, const chapter& c) {
    std::vector<table> all;
    if (measured_in(out, c)) {
        all.push_back(goals_table(out, c));
        add_reasons(out, c, all);
        add_loads(out, c, all);
        add_parts(out, c, all);
        add_figures(c, all);
    }
    return all;
}

std::string overview_of(const results& out, const chapter& c) {
    std::vector<std::pair<std::string, std::string>> loads;
    for (const load* l : c.loads) {
        if (l->compared) {
            loads.emplace_back(l->id, l->title);
        }
    }
    return beside_ours(out, loads);
}

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
            for (const load* l : {c.parts, c.instructions}) {
                if (l != nullptr) {
                    r.declare(*l);
                }
            }
            r.stop_after(run::part_of(c.name, false), 1);
            for (int round = 0; round != r.rounds(); ++round) {
                c.add(r, c.name, round);
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
