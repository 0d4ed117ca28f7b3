// weir (BSL-1.0). bench shapes: the tables and plots that more than one suite shows.
#ifndef WEIR_BENCH_SHAPES_HPP
#define WEIR_BENCH_SHAPES_HPP
#include "harness.hpp"
#include "plot.hpp"

#include <string>
#include <utility>
#include <vector>

namespace bench {

struct column {
    const load* what;
    int threads;
    std::string head;
};

/// A table with one column per load: the median, and the range where there are several rounds.
table side_by_side(const results& out, std::string title, std::string note, const std::vector<column>& columns);

/// One line per peer: f(peer) gives its marks.
template <class Marks>
panel panel_of(const std::string& title, const std::vector<std::string>& peers, Marks marks) {
    panel p{title, {}};
    for (const std::string& peer : peers) {
        if (line l{peer, marks(peer)}; !l.marks.empty()) {
            p.lines.push_back(std::move(l));
        }
    }
    return p;
}

/// As a table without rows, unless it is empty.
void add_plot(std::vector<table>& all, const char* title, const char* note, std::string svg);

/// Operations per second over the number of threads, a panel for each load that has several.
std::string over_threads(const results& out, const std::vector<const load*>& loads);

/// Every row of these loads (id, title) with so many threads (or what is counted), as a multiple of weir's time. Or empty.
std::string beside_ours(const results& out, const std::vector<std::pair<std::string, std::string>>& loads,
                        const std::vector<int>& numbers = {1, 2}, const std::string& counted = "thread");

}  // namespace bench
#endif
