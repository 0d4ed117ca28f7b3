// weir (BSL-1.0). bench report: tables once, as text on a terminal, as one self-contained HTML page, as Markdown.
#ifndef WEIR_BENCH_REPORT_HPP
#define WEIR_BENCH_REPORT_HPP
#include <string>
#include <utility>
#include <vector>

namespace bench {

enum class mood { plain, good, bad };

struct cell {
    std::string text;
    mood look = mood::plain;
    // A bar behind the text in the page: low <= middle <= high, as parts of the widest bar (0..1). high == 0: no bar.
    double low = 0;
    double middle = 0;
    double high = 0;

    cell() = default;
    cell(std::string t, mood m = mood::plain) : text(std::move(t)), look(m) {}  // NOLINT: cells are written as text
    cell(const char* t) : text(t) {}                                            // NOLINT
};

/// Where a table stands in the page. On the terminal it comes when it is measured.
enum class rank { main_job, goals, plots, losses, detail };

struct table {
    std::string title;
    std::string note;               // what was measured, and how to read it
    std::vector<std::string> head;  // empty: a list of sentences, each with its subject
    std::vector<std::vector<cell>> rows;
    std::vector<std::size_t> strong{};  // rows to stand out: ours
    rank place = rank::detail;
    std::string figure{};  // SVG, shown above the rows; the page alone has it
};

struct report {
    std::string title;
    std::vector<std::pair<std::string, std::string>> facts;  // machine, compiler, ...
    std::vector<table> tables;
};

std::string to_text(const table& t);
std::string to_html(const report& r);
/// A heading, the note and the rows.
std::string to_markdown(const table& t);

/// `significant` digits, never an exponent: 12.3, 0.71, 1840.
std::string number(double value, int significant = 3);
/// 1234567 -> 1 234 567
std::string grouped(double value);

}  // namespace bench
#endif
