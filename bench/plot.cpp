// weir (BSL-1.0). bench plots: scales, marks and the legend, written as SVG.
#include "plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <sstream>
#include <utility>

namespace bench {
namespace {

// Each row has a colour and a shape, so that it is found without colours too. Ours is the thick one.
struct look {
    const char* name;
    const char* light;
    const char* dark;
    const char* shape;  // of a mark, around 0 0
};
constexpr std::array<look, 19> looks{{
    {"weir", "#c2410c", "#ff9153", "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z"},
    {"std_shards", "#6b7280", "#a3aab5", "M-3.5-3.5h7v7h-7z"},
    {"onetbb", "#2563eb", "#79aefc", "M0-4.5L4.5 3.5H-4.5z"},
    {"libcuckoo", "#15803d", "#54c878", "M0-5L4.5 0L0 5L-4.5 0z"},
    {"xenium", "#7c3aed", "#b99bf8", "M0 4.5L4.5-3.5H-4.5z"},
    {"libcds", "#a16207", "#d9b13b", "M-4-2.5L-2.5-4L0-1.5L2.5-4L4-2.5L1.5 0L4 2.5L2.5 4L0 1.5L-2.5 4L-4 2.5L-1.5 0z"},
    {"boost_concurrent", "#be185d", "#f27bb0", "M-1.4-4.5h2.8v3.1h3.1v2.8h-3.1v3.1h-2.8v-3.1h-3.1v-2.8h3.1z"},
    {"floor", "#24292f", "#d8dee6", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0zM-2 0a2 2 0 1 1 4 0a2 2 0 1 1 -4 0z"},
    // Of the statistics' bench, which has none of the above but the first and floor.
    {"atomic", "#2563eb", "#79aefc", "M0-4.5L4.5 3.5H-4.5z"},
    {"striped_slot", "#15803d", "#54c878", "M0-5L4.5 0L0 5L-4.5 0z"},
    {"striped_cpu", "#7c3aed", "#b99bf8", "M0 4.5L4.5-3.5H-4.5z"},
    {"mutex", "#6b7280", "#a3aab5", "M-3.5-3.5h7v7h-7z"},
    {"prometheus", "#be185d", "#f27bb0", "M-1.4-4.5h2.8v3.1h3.1v2.8h-3.1v3.1h-2.8v-3.1h-3.1v-2.8h3.1z"},
    {"log_linear_atomic", "#a16207", "#d9b13b", "M0-5L4.5 0L0 5L-4.5 0z"},
    {"log_linear_mutex", "#44403c", "#d6d3d1", "M-3.5-3.5h7v7h-7zM-1.8-1.8v3.6h3.6v-3.6z"},
    {"log_linear_per_thread", "#0f766e", "#2dd4bf", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"},
    {"four_atomics", "#1e40af", "#93b4fd",
     "M-4-2.5L-2.5-4L0-1.5L2.5-4L4-2.5L1.5 0L4 2.5L2.5 4L0 1.5L-2.5 4L-4 2.5L-1.5 0z"},
    {"mutex_histogram", "#78716c", "#a8a29e", "M-4.5-1.5h9v3h-9z"},
    {"", "#0e7490", "#4cc3dd", "M-4-1h8v2h-8z"},  // anybody else
}};

std::size_t look_of(const std::string& name) {
    std::size_t i = 0;
    while (i + 1 != looks.size() && looks[i].name != name) {
        ++i;
    }
    return i;
}
std::string class_of(const std::string& name) { return std::string("s").append(std::to_string(look_of(name))); }

std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : std::string(1, c);
    }
    return out;
}

std::string with_digits(const char* format, double v) {
    char text[32];
    std::snprintf(text, sizeof text, format, v);
    return text;
}
std::string coordinate(double v) { return with_digits("%.1f", v); }
std::string plain(double v) { return with_digits("%g", v); }

/// From values to coordinates.
struct scale {
    double from = 0;
    double to = 1;
    double begin = 0;  // the coordinate of `from`
    double end = 1;
    bool log = false;

    double operator()(double v) const {
        const auto f = [this](double x) { return log ? std::log(std::max(x, 1e-9)) : x; };
        return begin + (end - begin) * (f(v) - f(from)) / (f(to) - f(from));
    }
};

struct range {
    double low = std::numeric_limits<double>::infinity();
    double high = 0;
    void take(double v) {
        low = std::min(low, v);
        high = std::max(high, v);
    }
    explicit operator bool() const { return low <= high; }
};
range range_of(const std::vector<panel>& panels, double mark::*low, double mark::*high) {
    range all;
    for (const panel& p : panels) {
        for (const line& l : p.lines) {
            for (const mark& m : l.marks) {
                all.take(m.*low);
                all.take(m.*high);
            }
        }
    }
    return all;
}

/// 1, 2, 5, 10, ... around the range, or 0 and some even steps up to its end.
std::vector<tick> ticks_for(const range& r, bool log) {
    std::vector<tick> all;
    constexpr std::array<double, 3> parts{1, 2, 5};
    if (log) {
        for (double decade = std::pow(10, std::floor(std::log10(std::max(r.low, 1e-9))));
             all.empty() || all.back().at < r.high; decade *= 10) {
            for (const double part : parts) {
                const double at = decade * part;
                if (at * 2.5 >= r.low && (all.empty() || all.back().at < r.high)) {
                    all.push_back({at, plain(at)});
                }
            }
        }
        while (all.size() > 1 && all[1].at <= r.low) {
            all.erase(all.begin());
        }
        return all;
    }
    constexpr double wanted = 5;
    const double decade = std::pow(10, std::floor(std::log10(r.high / wanted)));
    double step = decade * 10;
    for (const double part : {5.0, 2.0, 1.0}) {
        step = decade * part * wanted >= r.high ? decade * part : step;
    }
    for (int i = 0; i == 0 || all.back().at < r.high; ++i) {
        all.push_back({i * step, plain(i * step)});
    }
    return all;
}

class drawing {
public:
    drawing(double width, double height, const std::string& about) {
        out_ << "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" width=\"" << plain(width) << "\" height=\""
             << plain(height) << "\" viewBox=\"0 0 " << plain(width) << ' ' << plain(height)
             << "\" role=\"img\" aria-label=\"" << escaped(about) << "\">\n";
    }
    void text(double x, double y, const std::string& what, const char* kind = "", const char* more = "") {
        out_ << "<text class=\"" << kind << "\" x=\"" << coordinate(x) << "\" y=\"" << coordinate(y) << "\" " << more
             << '>' << escaped(what) << "</text>\n";
    }
    void segment(double x1, double y1, double x2, double y2, const std::string& kind) {
        out_ << "<line class=\"" << kind << "\" x1=\"" << coordinate(x1) << "\" y1=\"" << coordinate(y1) << "\" x2=\""
             << coordinate(x2) << "\" y2=\"" << coordinate(y2) << "\"/>\n";
    }
    void path(const std::vector<std::pair<double, double>>& points, const std::string& kind) {
        out_ << "<polyline class=\"" << kind << "\" points=\"";
        for (const auto& [x, y] : points) {
            out_ << coordinate(x) << ',' << coordinate(y) << ' ';
        }
        out_ << "\"/>\n";
    }
    void shape(double x, double y, const std::string& name, const std::string& says) {
        out_ << "<path class=\"" << class_of(name) << "\" fill-rule=\"evenodd\" transform=\"translate(" << coordinate(x)
             << ' ' << coordinate(y) << ")\" d=\"" << looks[look_of(name)].shape << "\"><title>" << escaped(says)
             << "</title></path>\n";
    }
    /// Who is who, in rows from the left, `row_height` apart.
    void legend(const std::vector<std::vector<std::string>>& rows, double left, double y) {
        for (const auto& row : rows) {
            double x = left;
            for (const std::string& name : row) {
                shape(x, y - 4, name, name);
                text(x + 9, y, name, name == looks[0].name ? "ours" : "");
                x += width_of(name);
            }
            y += row_height;
        }
    }
    static constexpr double row_height = 16;
    static double width_of(const std::string& name) { return 26 + 7 * static_cast<double>(name.size()); }
    std::string done() {
        out_ << "</svg>\n";
        return out_.str();
    }

private:
    std::ostringstream out_;
};

/// All names of the panels, ours first, broken into rows of this width.
std::vector<std::vector<std::string>> legend_of(const std::vector<panel>& panels, double width) {
    std::vector<std::string> said;
    for (const panel& p : panels) {
        for (const line& l : p.lines) {
            if (!l.marks.empty() && std::find(said.begin(), said.end(), l.name) == said.end()) {
                said.push_back(l.name);
            }
        }
    }
    std::sort(said.begin(), said.end(), [](const std::string& a, const std::string& b) {
        return std::pair(look_of(a), a) < std::pair(look_of(b), b);
    });
    std::vector<std::vector<std::string>> rows(1);
    double used = 0;
    for (const std::string& name : said) {
        const double wide = drawing::width_of(name);
        if (used > 0 && used + wide > width) {
            rows.emplace_back();
            used = 0;
        }
        rows.back().push_back(name);
        used += wide;
    }
    return rows;
}
/// The room above the panels.
double head_of(const std::vector<std::vector<std::string>>& legend) {
    return 12 + drawing::row_height * static_cast<double>(legend.size());
}

constexpr const char* middle = "text-anchor=\"middle\"";
constexpr const char* at_end = "text-anchor=\"end\"";

std::string said_of(const std::string& name, const mark& m) {
    const auto three = [](double v) { return with_digits("%.3g", v); };
    return name + ": " + three(m.middle) + " (" + three(m.low) + " .. " + three(m.high) + ')';
}

/// Ours last, so that nothing lies over it.
std::vector<const line*> back_to_front(const panel& p) {
    std::vector<const line*> all;
    for (const line& l : p.lines) {
        all.push_back(&l);
    }
    std::sort(all.begin(), all.end(), [](const line* a, const line* b) { return look_of(a->name) > look_of(b->name); });
    return all;
}

}  // namespace

std::string to_svg(const line_chart& chart) {
    const range x_range = range_of(chart.panels, &mark::at, &mark::at);
    const range y_all = range_of(chart.panels, &mark::low, &mark::high);
    if (!x_range || !y_all || x_range.low == x_range.high) {
        return {};
    }
    constexpr double left = 58, right = 14, top = 30, bottom = 46, inner_height = 210, whole = 980;
    const auto legend = legend_of(chart.panels, whole - 20);
    const double head = head_of(legend);
    const int columns = std::min(chart.columns, static_cast<int>(chart.panels.size()));
    const double width = whole / columns;
    constexpr double height = top + inner_height + bottom;
    const int rows = (static_cast<int>(chart.panels.size()) + columns - 1) / columns;
    drawing d(whole, head + rows * height, chart.about);
    d.legend(legend, 20, 18);
    for (std::size_t i = 0; i != chart.panels.size(); ++i) {
        const panel& p = chart.panels[i];
        const range y_range = range_of({p}, &mark::low, &mark::high);
        if (!y_range) {
            continue;
        }
        const auto at = static_cast<int>(i);
        const double x0 = at % columns * width + left;
        const double x1 = at % columns * width + width - right;
        const double y0 = head + at / columns * height + top + inner_height;
        const double y1 = y0 - inner_height;
        const std::vector<tick> y_ticks = ticks_for(y_range, chart.log_y);
        const scale x{x_range.low, x_range.high, x0 + 14, x1 - 14, chart.log_x};
        const scale y{y_ticks.front().at, y_ticks.back().at, y0, y1, chart.log_y};
        d.text((x0 + x1) / 2, y1 - 10, p.title, "title", middle);
        for (const tick& t : y_ticks) {
            d.segment(x0, y(t.at), x1, y(t.at), "grid");
            d.text(x0 - 6, y(t.at) + 4, t.text, "", at_end);
        }
        for (const tick& t : chart.x_ticks) {
            if (t.at >= x_range.low && t.at <= x_range.high) {
                d.segment(x(t.at), y0, x(t.at), y0 + 4, "axis");
                d.text(x(t.at), y0 + 18, t.text, "", middle);
            }
        }
        d.segment(x0, y0, x1, y0, "axis");
        d.text((x0 + x1) / 2, y0 + 35, chart.x_label, "", middle);
        const std::string turned = "text-anchor=\"middle\" transform=\"rotate(-90 " + coordinate(x0 - 42) + ' ' +
                                   coordinate((y0 + y1) / 2) + ")\"";
        d.text(x0 - 42, (y0 + y1) / 2, chart.y_label, "", turned.c_str());
        for (const line* l : back_to_front(p)) {
            std::vector<std::pair<double, double>> points;
            for (const mark& m : l->marks) {
                points.emplace_back(x(m.at), y(m.middle));
                d.segment(x(m.at), y(m.low), x(m.at), y(m.high), "spread " + class_of(l->name));
            }
            d.path(points, "line " + class_of(l->name));
            for (const mark& m : l->marks) {
                d.shape(x(m.at), y(m.middle), l->name, said_of(l->name, m));
            }
        }
    }
    return d.done();
}

std::string to_svg(const dot_chart& chart) {
    const range values = range_of(chart.panels, &mark::low, &mark::high);
    if (!values || chart.rows.empty()) {
        return {};
    }
    constexpr double left = 270, gap = 26, top = 44, bottom = 44, row_height = 26, whole = 980;
    const auto legend = legend_of(chart.panels, whole - 20);
    const double head = head_of(legend);
    const auto panels = static_cast<double>(chart.panels.size());
    const double width = (whole - left - gap * (panels - 1) - 14) / panels;
    const double height = row_height * static_cast<double>(chart.rows.size());
    const double low = std::exp2(std::floor(std::log2(std::min(values.low, 0.9))));
    const double high = std::exp2(std::ceil(std::log2(std::max(values.high, 1.1))));
    drawing d(whole, head + top + height + bottom, chart.about);
    d.legend(legend, 20, 18);
    const double y1 = head + top;
    const double y0 = y1 + height;
    for (std::size_t r = 0; r != chart.rows.size(); ++r) {
        d.text(left - 12, y1 + row_height * (static_cast<double>(r) + 0.5) + 4, chart.rows[r], "", at_end);
    }
    for (std::size_t i = 0; i != chart.panels.size(); ++i) {
        const panel& p = chart.panels[i];
        const double x0 = left + static_cast<double>(i) * (width + gap);
        const double x1 = x0 + width;
        const scale x{low, high, x0 + 8, x1 - 8, true};
        d.text((x0 + x1) / 2, y1 - 26, p.title, "title", middle);
        d.text(x(1) - 8, y1 - 8, chart.left, "soft", at_end);
        d.text(x(1) + 8, y1 - 8, chart.right, "soft");
        const int step = high / low > 600 ? 2 : 1;
        for (int power = static_cast<int>(std::log2(low)); power <= static_cast<int>(std::log2(high)); ++power) {
            if (power % step == 0) {
                const double at = std::exp2(power);
                const std::string text = power < 0 ? std::string("1/").append(plain(1 / at)) : plain(at);
                d.segment(x(at), y1, x(at), y0, power == 0 ? "axis" : "grid");
                d.text(x(at), y0 + 16, text, "", middle);
            }
        }
        for (std::size_t r = 0; r <= chart.rows.size(); ++r) {
            const double y = y1 + row_height * static_cast<double>(r);
            d.segment(x0, y, x1, y, "grid");
        }
        d.text((x0 + x1) / 2, y0 + 34, chart.x_label, "", middle);
        for (const line* l : back_to_front(p)) {
            for (const mark& m : l->marks) {
                const double y = y1 + row_height * (m.at + 0.5);
                d.segment(x(m.low), y, x(m.high), y, "spread " + class_of(l->name));
                d.shape(x(m.middle), y, l->name, said_of(l->name, m));
            }
        }
    }
    return d.done();
}

std::string plot_style() {
    std::string light;
    std::string dark;
    for (std::size_t i = 0; i != looks.size(); ++i) {
        const std::string name = std::string(".plot .s").append(std::to_string(i));
        light += name + " { fill: " + looks[i].light + "; stroke: " + looks[i].light + "; }\n";
        dark += name + " { fill: " + looks[i].dark + "; stroke: " + looks[i].dark + "; }\n";
    }
    return R"(.plot { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
.plot text { fill: #24292f; } .plot .title, .plot .ours { font-weight: 600; } .plot .soft { opacity: .75; }
.plot .grid { stroke: #d6dbe1; } .plot .axis { stroke: #57606a; } .plot .back { fill: #ffffff; }
)" + light +
           R"(@media (prefers-color-scheme: dark) {
.plot text { fill: #d8dee6; }
.plot .grid { stroke: #363d47; } .plot .axis { stroke: #9aa4b0; } .plot .back { fill: #0d1117; }
)" + dark + R"(}
.plot path { stroke: none; }
.plot .line { fill: none; stroke-width: 1.5; } .plot .line.s0 { stroke-width: 3; }
.plot .spread { stroke-width: 4; opacity: .3; }
)";
}

std::string svg_file(const std::vector<std::string>& charts) {
    std::string inside;
    double width = 0;
    double height = 0;
    for (const std::string& chart : charts) {
        double w = 0;
        double h = 0;
        const std::size_t box = chart.find("viewBox=");
        const std::size_t first = chart.find('\n');  // what stands between the <svg> and the </svg>
        const std::size_t last = chart.rfind("</svg>");
        if (box == std::string::npos || std::sscanf(chart.c_str() + box, "viewBox=\"0 0 %lf %lf\"", &w, &h) != 2) {
            continue;
        }
        inside += "<g transform=\"translate(0 " + plain(height) + ")\">" + chart.substr(first, last - first) + "</g>\n";
        width = std::max(width, w);
        height += h;
    }
    if (inside.empty()) {
        return {};
    }
    const std::string size = "width=\"" + plain(width) + "\" height=\"" + plain(height) + '"';
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" " + size + " viewBox=\"0 0 " + plain(width) + ' ' +
           plain(height) + "\">\n<style>\n" + plot_style() + "</style>\n<rect class=\"back\" width=\"100%\" " +
           "height=\"100%\"/>\n" + inside + "</svg>\n";
}

}  // namespace bench
