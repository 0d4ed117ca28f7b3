// weir (BSL-1.0). bench map tables: goals, tables and plots of the map's bench, from the results of a run.
#include "map_catalog.hpp"
#include "map_peers.hpp"
#include "shapes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

namespace bench {

const std::vector<curve_size>& curve_sizes() {
    static const auto all = [] {
        std::vector<curve_size> sizes;
        std::size_t entries = 1000;
        for (const char* name : {"1e3", "1e4", "1e5", "1e6", "1e7"}) {
            const std::string end = std::string(", ") + name + " entries";
            const auto made = [&](const char* kind, const std::string& title, const load& like) {
                return load{.id = std::string(kind) + '_' + name,
                            .title = title,
                            .threads = entries < 10'000'000 ? std::vector{1, 2} : std::vector{2},  // as it takes long
                            .note = like.note,
                            .extra = true};
            };
            curve_size s{entries, name, made("hit", "hit" + end, bench::hit),
                         made("95_5", "95/5" + end, bench::reads95),
                         made("growth", std::string("growth from empty to ") + name + " entries", bench::growth)};
            if (s.hit.id == hit_small.id) {
                s.hit = hit_small;
                s.shared_hit = true;
            }
            if (entries == 1'000'000) {
                s.hit = bench::hit;
                s.reads95 = bench::reads95;
                s.growth = bench::growth;
                s.shared_hit = s.shared_rest = true;
            }
            sizes.push_back(std::move(s));
            entries *= 10;
        }
        return sizes;
    }();
    return all;
}

const std::vector<map_goal>& goals() {
    using enum against;
    static const std::vector<map_goal> all{
        {&hit, 1, floor, 1.35},
        {&hit, 1, boost_concurrent, 0.70},
        {&hit, 2, boost_concurrent, 0.60},
        {&hit, 1, best_packaged, 0.70},
        {&hit, 2, best_packaged, 0.70},
        {&hit_small, 1, floor, 1.8},
        {&hit_small, 1, boost_concurrent, 0.35},
        {&hit_small, 2, boost_concurrent, 0.25},
        {&hit_small, 1, best_packaged, 0.55},
        {&hit_small, 2, best_packaged, 0.55},
        {&miss, 1, floor, 2.2},
        {&miss, 1, boost_concurrent, 1.0},
        {&miss, 2, boost_concurrent, 1.0},
        {&miss, 1, best_packaged, 0.60},
        {&miss, 2, best_packaged, 0.60},
        {&reads95, 1, floor, 1.5},
        {&reads95, 1, boost_concurrent, 0.80},
        {&reads95, 2, boost_concurrent, 0.75},
        {&reads95, 1, best_packaged, 0.70},
        {&reads95, 2, best_packaged, 0.70},
        {&mixed, 1, floor, 2.0},
        {&mixed, 1, boost_concurrent, 1.1},
        {&mixed, 2, boost_concurrent, 0.90},
        {&mixed, 1, best_packaged, 0.90},
        {&mixed, 2, best_packaged, 0.90},
        {&growth, 1, floor, 2.4},
        {&growth, 1, boost_concurrent, 1.1},
        {&growth, 2, boost_concurrent, 0.85},
        {&growth, 1, best_packaged, 0.70},
        {&growth, 2, best_packaged, 0.70},
        {&upsert, 1, floor, 2.0},
        {&upsert, 1, boost_concurrent, 1.1},
        {&upsert, 2, boost_concurrent, 1.0},
        {&upsert, 1, best_packaged, 0.60},
        {&upsert, 2, best_packaged, 0.60},
        {&string_hit, 1, floor, 1.2},
        {&string_hit, 1, boost_concurrent, 0.95},
        {&string_hit, 2, boost_concurrent, 0.95},
        {&string_hit, 1, best_packaged, 0.60},
        {&string_hit, 2, best_packaged, 0.60},
        {&string_upsert, 1, floor, 1.3},
        {&string_upsert, 1, boost_concurrent, 1.1},
        {&string_upsert, 2, boost_concurrent, 1.1},
        {&string_upsert, 1, best_packaged, 0.60},
        {&string_upsert, 2, best_packaged, 0.60},
        {&hit_64, 1, boost_concurrent, 1.0},
        {&hit_64, 2, boost_concurrent, 1.0},
        {&hit_64, 1, best_packaged, 0.85},
        {&hit_64, 2, best_packaged, 0.85},
        {&hit, 8, itself_at_two, 1.2},
        {&reads95, 8, itself_at_two, 1.2},
        {&mixed, 8, itself_at_two, 1.2},
        {&growth, 8, itself_at_two, 1.2},
        {&upsert, 8, itself_at_two, 1.2},
        {&zipf_hit, 8, itself_at_two, 1.2},
        {&zipf_reads95, 8, itself_at_two, 1.2},
        {&zipf_mixed, 8, itself_at_two, 1.2},
        {&growth_reserved, 8, itself_at_two, 1.2},
        {&iteration, 1, nothing, 6.0},
        {&beside, 2, nothing, 0.60, true},
        {&at_once, 1, nothing, 2.0, true},
        {&bytes, 1, boost_concurrent, 1.1},
        {&bytes, 1, nothing, 40},
    };
    return all;
}

namespace {

#ifdef WEIR_BENCH_HAS_BOOST_CONCURRENT
constexpr bool has_boost_concurrent = true;
#else
constexpr bool has_boost_concurrent = false;
#endif

/// Whether this run was to measure it at all.
bool planned(const results& out, const map_goal& g) {
    const load* l = g.base == against::boost_concurrent && !has_boost_concurrent ? nullptr : out.find(g.what->id);
    return l != nullptr && std::find(l->threads.begin(), l->threads.end(), g.threads) != l->threads.end();
}

std::string best_packaged(const results& out, const std::string& load, int threads) {
    std::string best;
    double least = 0;
    for (const std::string& peer : out.peers(load)) {
        const spread s = out.value(load, threads, peer);
        if (packaged_peer(peer) && s && (best.empty() || s.median < least)) {
            best = peer;
            least = s.median;
        }
    }
    return best;
}

struct judged {
    std::string base;
    spread measured;
};
judged judge(const results& out, const map_goal& g) {
    const auto against_peer = [&](const std::string& peer) {
        return judged{peer, out.ratio(g.what->id, g.threads, ours, peer)};
    };
    switch (g.base) {
        case against::floor:
            return against_peer("floor");
        case against::boost_concurrent:
            return against_peer("boost_concurrent");
        case against::best_packaged: {
            judged j = against_peer(best_packaged(out, g.what->id, g.threads));
            j.base = j.base.empty() ? "best packaged peer" : "best packaged peer: " + j.base;
            return j;
        }
        case against::itself_at_two:
            return {"itself with 2", out.ratio(g.what->id, g.threads, ours, 2, ours)};
        case against::nothing:
            break;
    }
    return {g.what->unit, out.value(g.what->id, g.threads, ours)};
}
bool reached(const map_goal& g, const spread& measured) {
    return g.at_least ? measured.median >= g.limit : measured.median <= g.limit;
}
std::string limit_of(const map_goal& g) { return (g.at_least ? ">= " : "<= ") + number(g.limit); }
cell verdict(const map_goal& g, const spread& measured) {
    return !measured              ? cell("not measured")
           : reached(g, measured) ? cell("met", mood::good)
                                  : cell("missed", mood::bad);
}

std::string tally_of_goals(const results& out) {
    int met = 0;
    int missed = 0;
    int open = 0;
    for (const map_goal& g : goals()) {
        if (planned(out, g)) {
            const spread measured = judge(out, g).measured;
            (!measured ? open : reached(g, measured) ? met : missed) += 1;
        }
    }
    return std::to_string(met) + " met, " + std::to_string(missed) + " missed, " + std::to_string(open) +
           " not measured (no such row in this run)";
}

table goals_table(const results& out) {
    table t{"Goals of weir::lock_free_map", {}, {}, {}, {}, rank::goals};
    t.head = {"load", "threads", "against", "goal", "measured", "min .. max", "verdict"};
    for (const map_goal& g : goals()) {
        if (!planned(out, g)) {
            continue;
        }
        const auto [base, measured] = judge(out, g);
        t.rows.push_back({g.what->title, std::to_string(g.threads), base, limit_of(g),
                          measured ? number(measured.median) : "-",
                          measured && measured.rounds > 1 ? range_of(measured) : std::string{}, verdict(g, measured)});
    }
    t.note = tally_of_goals(out) +
             ". A goal is a limit for weir's time divided by the other's, in the same round, unless a unit stands "
             "there. Packaged peers: std_shards, onetbb, libcuckoo, xenium, libcds.";
    if (!has_boost_concurrent) {
        t.note += " The Boost of this build has no concurrent_flat_map, so the goals against it are not shown.";
    }
    return t;
}

/// The loads of the curves, a kind after the other.
struct curve {
    const char* title;
    const load curve_size::*kind;
};
constexpr std::array<curve, 3> curves{
    {{"hit", &curve_size::hit}, {"95/5", &curve_size::reads95}, {"growth from empty", &curve_size::growth}}};

void add_curve_tables(const results& out, std::vector<table>& all) {
    for (const curve& c : curves) {
        for (const int threads : {1, 2}) {
            std::vector<column> columns;
            for (const curve_size& s : curve_sizes()) {
                if (out.has((s.*c.kind).id, threads, ours)) {
                    columns.push_back({&(s.*c.kind), threads, s.name + ", ns/op"});
                }
            }
            if (columns.size() > 2) {
                all.push_back(side_by_side(
                    out,
                    std::string(c.title) + " over sizes, " + std::to_string(threads) +
                        (threads == 1 ? " thread" : " threads"),
                    "Entries in the map: 1e3 to 1e7. Small maps grow in a row of many, so that there is something to "
                    "measure.",
                    columns));
            }
        }
    }
}

// The plots.

std::string size_plot(const results& out) {
    line_chart chart{.about = "Time per operation over the number of entries, for hit, 95/5 and growth, by peer",
                     .x_label = "entries in the map",
                     .y_label = "ns per operation",
                     .x_ticks = {},
                     .log_y = true,
                     .columns = 3,
                     .panels = {}};
    for (const curve_size& s : curve_sizes()) {
        chart.x_ticks.push_back({static_cast<double>(s.entries), s.name});
    }
    std::size_t most = 0;
    for (const int threads : {1, 2}) {
        for (const curve& c : curves) {
            const auto marks = [&](const std::string& peer) {
                std::vector<mark> all;
                for (const curve_size& s : curve_sizes()) {
                    if (const spread v = out.value((s.*c.kind).id, threads, peer)) {
                        all.push_back({static_cast<double>(s.entries), v.low, v.median, v.high});
                    }
                }
                most = std::max(most, all.size());
                return all;
            };
            chart.panels.push_back(panel_of(
                c.title + (threads == 1 ? std::string(", 1 thread") : ", " + std::to_string(threads) + " threads"),
                out.peers(bench::hit.id), marks));
        }
    }
    return most > 2 ? to_svg(chart) : std::string{};
}

std::string threads_plot(const results& out) {
    return over_threads(
        out, {&hit, &reads95, &mixed, &growth, &upsert, &zipf_hit, &zipf_reads95, &zipf_mixed, &growth_reserved});
}

/// The loads that stand for all, in the order of the summary.
std::vector<std::pair<std::string, std::string>> main_loads() {
    std::vector<std::pair<std::string, std::string>> all;
    for (const load* l :
         {&hit, &hit_small, &miss, &reads95, &mixed, &growth, &churn, &upsert, &string_hit, &string_upsert, &hit_64}) {
        all.emplace_back(l->id, l->title);
    }
    all.emplace_back("count", "counting the words of real files");
    return all;
}

constexpr std::array<int, 2> main_threads{1, 2};

}  // namespace

std::string map_overview(const results& out) { return beside_ours(out, main_loads()); }

std::vector<table> map_tables(const results& out) {
    std::vector<table> all;
    for (const load* l :
         {&hit,    &hit_small,  &miss,         &reads95,    &mixed,      &growth,      &growth_reserved, &churn,
          &upsert, &zipf_hit,   &zipf_reads95, &zipf_mixed, &string_hit, &string_miss, &string_reads95,  &string_upsert,
          &hit_64, &reads95_64, &mixed_64,     &iteration,  &beside,     &at_once}) {
        if (!out.peers(l->id).empty()) {
            all.push_back(load_table(out, *l));
        }
    }
    add_curve_tables(out, all);
    constexpr const char* worst_note =
        "One thread inserts, another reads what is there; the longest operation of each in a round. It includes what "
        "the machine did to the threads.";
    if (!out.peers(worst_insert.id).empty()) {
        all.push_back(side_by_side(out, "The worst single operation while growing to 1e6 entries", worst_note,
                                   {{&worst_insert, 2, "insert, us"}, {&worst_read, 2, "read, us"}}));
    }
    if (!out.peers(worst_insert_large.id).empty()) {
        all.push_back(side_by_side(out, "The worst single operation while growing to 1e7 entries", worst_note,
                                   {{&worst_insert_large, 2, "insert, us"}, {&worst_read_large, 2, "read, us"}}));
    }
    if (!out.peers(bytes.id).empty()) {
        all.push_back(
            side_by_side(out, "Bytes per entry, 1e6 entries u64 -> u64",
                         "Growth of the resident set of a fresh process that fills the map: when all entries are "
                         "in, and at the worst moment on the way.",
                         {{&bytes, 1, "when all are in"}, {&peak_bytes, 1, "at the worst moment"}}));
    }
    if (all.empty()) {
        return all;
    }
    all.push_back(goals_table(out));
    add_plot(all, "All main loads at once",
             "Each mark is a peer's time divided by weir's in the same round: the median, and a bar from the smallest "
             "to the largest. floor does without any synchronisation, on one thread.",
             map_overview(out));
    add_plot(all, "Over threads",
             "Operations per second of all threads together; a bar from the smallest round to the largest. floor is "
             "one thread without synchronisation. More threads than processors show who waits for a thread that does "
             "not run.",
             threads_plot(out));
    add_plot(all, "Over sizes",
             "Time per operation against the number of entries; both axes are logarithmic, a bar goes from the "
             "smallest round to the largest.",
             size_plot(out));
    return all;
}

std::vector<table> map_summary(const results& out) {
    if (out.peers(hit.id).empty()) {
        return {};
    }
    table t{"weir::lock_free_map beside its peers", {}, {}, {}, {}};
    t.note = "Goals of this run: " + tally_of_goals(out) +
             ". Ratios are weir's time divided by the other's in the same round: the median, the smallest and the "
             "largest. floor is boost::unordered_flat_map on one thread without synchronisation.";
    t.head = {"load", "threads", "weir", "best packaged peer", "weir / it", "goal", "weir / floor", "goal"};
    const auto in_words = [](const spread& s) {
        return s ? number(s.median) + (s.rounds > 1 ? " (" + range_of(s) + ')' : std::string{}) : std::string("-");
    };
    const auto goal_cell = [&](const std::string& id, int threads, against base, const spread& measured) {
        for (const map_goal& g : goals()) {
            if (g.what->id == id && g.threads == threads && g.base == base && measured) {
                const cell v = verdict(g, measured);
                return cell(limit_of(g) + ' ' + v.text, v.look);
            }
        }
        return cell("-");
    };
    for (const auto& [id, title] : main_loads()) {
        for (const int threads : main_threads) {
            const spread own = out.value(id, threads, ours);
            if (!own) {
                continue;
            }
            const std::string best = best_packaged(out, id, threads);
            const spread to_best = out.ratio(id, threads, ours, best);
            const spread to_floor = out.ratio(id, threads, ours, "floor");
            const std::string unit = out.find(id)->unit;
            const std::string its = best.empty() ? "-" : best + ", " + number(out.value(id, threads, best).median);
            t.rows.push_back({title, std::to_string(threads), number(own.median) + ' ' + unit, its, in_words(to_best),
                              goal_cell(id, threads, against::best_packaged, to_best), in_words(to_floor),
                              goal_cell(id, threads, against::floor, to_floor)});
        }
    }
    table rest{"What is not measured against a peer", {}, {"what", "threads", "measured", "goal"}, {}, {}};
    for (const map_goal& g : goals()) {
        if ((g.base == against::nothing || g.base == against::itself_at_two) && planned(out, g)) {
            const auto [base, measured] = judge(out, g);
            if (measured) {
                const cell v = verdict(g, measured);
                const std::string unit = g.base == against::nothing ? g.what->unit : "times its time with 2 threads";
                rest.rows.push_back({g.what->title, std::to_string(g.threads), in_words(measured) + ' ' + unit,
                                     cell(limit_of(g) + ' ' + v.text, v.look)});
            }
        }
    }
    std::vector<table> all{std::move(t)};
    if (!rest.rows.empty()) {
        all.push_back(std::move(rest));
    }
    return all;
}

}  // namespace bench
