// weir (BSL-1.0). bench chapters: suites that consist of loads, goals and figures, and the tables that are made of them.
#ifndef WEIR_BENCH_CHAPTERS_HPP
#define WEIR_BENCH_CHAPTERS_HPP
#include "harness.hpp"

#include <string>
#include <utility>
#include <vector>

namespace bench {

/// A suite, and what belongs to it. Its name is that of the component.
struct chapter {
    const char* name;
    void (*add)(run& r, const char* suite, int round);  // one round, in <name>_bench.cpp
    std::vector<const load*> loads;
    const load* parts = nullptr;  // in ns
    const load* instructions = nullptr;
    const char* parts_title = "";
    const char* parts_note = "";
    std::vector<int> plotted = {1, 2};  // these numbers of threads, in the plot of all loads at once
};

/// A limit for the time of one of weir's rows divided by that of `base` in the same load and round; of the figure itself if
/// there is no base.
struct goal {
    const load* what;
    int threads;
    std::string row;
    std::string base;  // a row; itself_alone: the same row with one thread
    double limit;
    const char* reason;    // where the limit comes from
    const char* why = "";  // it is missed, if it is
};
inline constexpr const char* itself_alone = "itself with 1";

/// Measured, but not by this program.
struct figure {
    const char* chapter;
    const char* what;
    const char* value;
    const char* source;
};
inline constexpr const char* two_cores = "measured elsewhere: 2 cores, Xeon VM, Go 1.19.8, g++ 12 -O2";

/// The chapters of one part of the library.
struct book {
    const char* name;
    std::vector<chapter> chapters;
    std::vector<goal> goals;
    std::vector<figure> figures;
    std::vector<std::pair<const char*, const char*>> rows;       // and what each really does
    std::vector<std::pair<const char*, const char*>> dead_ends;  // and why: two lines in the report
    // The ends of the notes of these tables.
    const char* goals_note;
    const char* allocations_note = "";
    const char* figures_note = "";
    const char* figures_unit = "ns";
};
/// They refer to the book.
std::vector<suite> suites_of(const book& b);

/// Under this id stand the allocations of each row of a load, once it has been through all its inputs.
inline std::string allocations_of(const load& l) { return l.id + ".allocations"; }

}  // namespace bench
#endif
