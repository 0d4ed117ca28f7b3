// weir (BSL-1.0). bench chapters: goals, reasons, allocations, figures and plots of a suite, and the suites of a book.
#include "chapters.hpp"
#include "shapes.hpp"

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {
namespace {

constexpr const char* floor_row = "floor";  // a look at the clock, where a load has it

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
    return rows == 0 ? std::string{}
                     : " Allocations in the steady state of weir's " + std::to_string(rows) +
                           " rows: " + grouped(most) + " at most.";
}

void add_goals(const results& out, const book& b, const chapter& c, std::vector<table>& all) {
    table t{std::string("Goals: ") + c.name, {}, {}, {}, {}, rank::goals};
    t.head = {"load",    c.loads.front()->counted + 's', "row", "time", "against", "goal", "measured", "min .. max",
              "verdict", "the goal stands for"};
    int met = 0;
    int missed = 0;
    for (const goal& g : b.goals) {
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
             "stands there. " +
             b.goals_note + allocations_said(out, c);
    if (!t.rows.empty()) {
        all.push_back(std::move(t));
    }
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
    const spread clock = out.value(g.what->id, g.threads, floor_row);
    if (clock && g.base != floor_row) {
        said += "A look at the clock alone takes " + number(clock.median) + ", " + number(clock.median / base.median) +
                " of the other's time. ";
    }
    if (c.parts != nullptr) {
        const spread loop = out.value(c.parts->id, 1, "loop");
        said += loop && loop.median > limit ? "An empty loop takes " + number(loop.median) + ". " : "";
    }
    return said + g.why;
}

void add_reasons(const results& out, const book& b, const chapter& c, std::vector<table>& all) {
    table t{std::string("Why goals are missed: ") + c.name, {}, {}, {}, {}, rank::goals};
    for (const goal& g : b.goals) {
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

void add_allocations(const results& out, const book& b, const chapter& c, std::vector<table>& all) {
    table t{std::string("Allocations: ") + c.name, b.allocations_note, {"load", "row", "allocations"}, {}, {}};
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
    if (!t.rows.empty()) {
        all.push_back(std::move(t));
    }
}

void add_figures(const book& b, const chapter& c, std::vector<table>& all) {
    table t{std::string("Published, or measured elsewhere: ") + c.name,
            std::string("Not of this run and not of this machine: no ratio is made of them. ") + b.figures_note,
            {"what", b.figures_unit, "where"},
            {},
            {}};
    for (const figure& f : b.figures) {
        if (std::string_view(f.chapter) == c.name) {
            t.rows.push_back({f.what, f.value, f.source});
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

/// What rows do, and dead ends.
void add_last(const book& b, std::vector<table>& all) {
    const auto add = [&](std::string title, const char* note, const auto& lines) {
        table t{std::move(title), note, {}, {}, {}};
        for (const auto& [subject, said] : lines) {
            t.rows.push_back({subject, said});
        }
        if (!t.rows.empty()) {
            all.push_back(std::move(t));
        }
    };
    add(std::string("What each row of the ") + b.name + " bench really does", "", b.rows);
    add(std::string("Dead ends of the ") + b.name + " bench", "What looked good and was rejected.", b.dead_ends);
}

/// Each row as a multiple of weir's time. Empty if nothing was measured.
std::string overview_of(const results& out, const chapter& c) {
    std::vector<std::pair<std::string, std::string>> loads;
    for (const load* l : c.loads) {
        if (l->compared) {
            loads.emplace_back(l->id, l->title);
        }
    }
    return beside_ours(out, loads, c.plotted, c.loads.front()->counted);
}

std::vector<table> tables_of(const results& out, const book& b, const chapter& c) {
    std::vector<table> all;
    if (!measured_in(out, c)) {
        return all;
    }
    add_loads(out, c, all);
    add_parts(out, c, all);
    add_goals(out, b, c, all);
    add_reasons(out, b, c, all);
    add_allocations(out, b, c, all);
    add_figures(b, c, all);
    add_plot(
        all, (std::string(c.name) + ": all loads at once").c_str(),
        "Each mark is a row's time divided by weir's in the same round: the median, and a bar from the smallest to the "
        "largest.",
        overview_of(out, c));
    if (&c == &b.chapters.back()) {
        add_last(b, all);
    }
    return all;
}

/// For a file that a README takes in.
std::vector<table> summary_of(const results& out, const book& b, const chapter& c) {
    std::vector<table> all;
    if (measured_in(out, c)) {
        add_goals(out, b, c, all);
        add_reasons(out, b, c, all);
        add_loads(out, c, all);
        add_parts(out, c, all);
        add_figures(b, c, all);
    }
    return all;
}

void add_cases(run& r, const chapter& c) {
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
}

}  // namespace

std::vector<suite> suites_of(const book& b) {
    std::vector<suite> all;
    for (const chapter& c : b.chapters) {
        all.push_back({c.name, [&c](run& r) { add_cases(r, c); },
                       [&b, &c](const run& r) { return tables_of(r.out(), b, c); },
                       [&b, &c](const results& out) { return summary_of(out, b, c); },
                       [&c](const results& out) { return overview_of(out, c); }, b.name});
    }
    return all;
}

}  // namespace bench
