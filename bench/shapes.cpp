// weir (BSL-1.0). bench shapes: columns of loads, rows of peers, and their plots.
#include "shapes.hpp"

#include <algorithm>

namespace bench {

table side_by_side(const results& out, std::string title, std::string note, const std::vector<column>& columns) {
    table t{std::move(title), std::move(note), {"peer"}, {}, {}};
    std::vector<std::string> peers;
    bool ranges = false;
    for (const column& c : columns) {
        for (const std::string& peer : out.peers(c.what->id)) {
            const spread s = out.value(c.what->id, c.threads, peer);
            if (s && std::find(peers.begin(), peers.end(), peer) == peers.end()) {
                peers.push_back(peer);
            }
            ranges = ranges || s.rounds > 1;
        }
    }
    for (const column& c : columns) {
        t.head.emplace_back(c.head);
        if (ranges) {
            t.head.emplace_back("min .. max");
        }
    }
    for (const std::string& peer : peers) {
        if (peer == ours) {
            t.strong.push_back(t.rows.size());
        }
        std::vector<cell> row{peer};
        for (const column& c : columns) {
            const spread s = out.value(c.what->id, c.threads, peer);
            row.emplace_back(s ? number(s.median) : "-");
            if (ranges) {
                row.emplace_back(s && s.rounds > 1 ? range_of(s) : std::string{});
            }
        }
        t.rows.push_back(std::move(row));
    }
    return t;
}

void add_plot(std::vector<table>& all, const char* title, const char* note, std::string svg) {
    if (!svg.empty()) {
        all.push_back({title, note, {}, {}, {}, rank::plots, std::move(svg)});
    }
}

std::string over_threads(const results& out, const std::vector<const load*>& loads) {
    line_chart chart{.about = "Operations per second over the number of threads, by load and peer",
                     .x_label = "threads, on " + std::to_string(cores()) + " processors",
                     .y_label = "million operations per second",
                     .x_ticks = {{1, "1"}, {2, "2"}, {4, "4"}, {8, "8"}},
                     .columns = 3,
                     .panels = {}};
    for (const load* l : loads) {
        if (out.threads(l->id).size() < 2 || out.peers(l->id).empty()) {
            continue;
        }
        const auto marks = [&](const std::string& peer) {
            std::vector<mark> all;
            for (const int threads : out.threads(l->id)) {
                if (const spread v = out.value(l->id, threads, peer)) {
                    const double whole = 1e3 * std::min(threads, cores());  // stored is time per operation and core
                    all.push_back({static_cast<double>(threads), whole / v.high, whole / v.median, whole / v.low});
                }
            }
            return all;
        };
        chart.panels.push_back(panel_of(l->title, out.peers(l->id), marks));
    }
    return to_svg(chart);
}

std::string beside_ours(const results& out, const std::vector<std::pair<std::string, std::string>>& loads,
                        const std::vector<int>& numbers, const std::string& counted) {
    dot_chart chart{.about = "Time of each peer as a multiple of weir's, by load",
                    .x_label = "time, as a multiple of weir's in the same round",
                    .left = "faster than weir",
                    .right = "slower",
                    .rows = {},
                    .panels = {}};
    std::vector<std::string> ids;
    std::vector<std::string> peers{ours};
    for (const auto& [id, title] : loads) {
        if (std::any_of(numbers.begin(), numbers.end(), [&](int n) { return out.has(id, n, ours); })) {
            ids.push_back(id);
            chart.rows.push_back(title);
            for (const std::string& peer : out.peers(id)) {
                if (peer != "plain" && std::find(peers.begin(), peers.end(), peer) == peers.end()) {
                    peers.push_back(peer);
                }
            }
        }
    }
    for (const int threads : numbers) {
        const auto marks = [&](const std::string& peer) {
            std::vector<mark> all;
            for (std::size_t row = 0; row != ids.size(); ++row) {
                if (const spread v = out.ratio(ids[row], threads, peer, ours)) {
                    all.push_back({static_cast<double>(row), v.low, v.median, v.high});
                }
            }
            return all;
        };
        panel p = panel_of(std::to_string(threads) + ' ' + counted + (threads == 1 ? "" : "s"), peers, marks);
        if (!p.lines.empty()) {
            chart.panels.push_back(std::move(p));
        }
    }
    return chart.panels.empty() ? std::string{} : to_svg(chart);
}

}  // namespace bench
