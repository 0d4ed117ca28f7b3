// weir (BSL-1.0). bench plots: charts as SVG text, for the report's page and for files of their own.
#ifndef WEIR_BENCH_PLOT_HPP
#define WEIR_BENCH_PLOT_HPP
#include <string>
#include <vector>

namespace bench {

/// A measured point with its spread; `at` is its place on the other axis.
struct mark {
    double at = 0;
    double low = 0;
    double middle = 0;
    double high = 0;
};

/// What belongs together: one row of the tables. Its name decides how it looks, in every chart alike.
struct line {
    std::string name;
    std::vector<mark> marks;
};

struct panel {
    std::string title;
    std::vector<line> lines;
};

struct tick {
    double at = 0;
    std::string text;
};

/// Panels side by side, values upwards, each with its spread.
struct line_chart {
    std::string about;  // what is seen, for those who do not see it
    std::string x_label;
    std::string y_label;
    std::vector<tick> x_ticks;  // evenly spaced numbers are not needed: see log_x
    bool log_x = true;
    bool log_y = false;
    int columns = 2;
    std::vector<panel> panels;
};

/// Rows of dots over an axis of ratios, logarithmic: what is left of 1 is better than the base.
struct dot_chart {
    std::string about;
    std::string x_label;
    std::string left;   // what it means to stand left of 1
    std::string right;  // and right
    std::vector<std::string> rows;
    std::vector<panel> panels;  // `at` is the number of the row
};

/// Empty if there is nothing to draw. Colours come from plot_style().
std::string to_svg(const line_chart& chart);
std::string to_svg(const dot_chart& chart);

/// The style sheet of all charts, for light and dark surroundings.
std::string plot_style();
/// Charts of to_svg, one below the other, as a file that stands alone. Empty ones are left out; empty if all are.
std::string svg_file(const std::vector<std::string>& charts);

}  // namespace bench
#endif
