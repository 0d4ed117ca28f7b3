// weir (BSL-1.0). bench report: the three forms of a table.
#include "report.hpp"

#include "plot.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

namespace bench {
namespace {

std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '&':
                out += "&amp;";
                break;
            case '"':
                out += "&quot;";
                break;
            default:
                out += c;
        }
    }
    return out;
}

/// The number of columns on a terminal: continuation bytes of UTF-8 take none.
std::size_t columns(const std::string& text) {
    const auto starts_one = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; };
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), starts_one));
}

void pad(std::string& line, const std::string& text, std::size_t width, bool left) {
    const std::string blank(width - std::min(width, columns(text)), ' ');
    line += left ? text + blank : blank + text;
}

std::string wrapped(const std::string& text, const std::string& indent, std::size_t width) {
    std::istringstream words(text);
    std::string out = indent;
    std::size_t used = 0;
    for (std::string word; words >> word; used += columns(word) + 1) {
        if (used != 0 && used + columns(word) > width) {
            out += '\n' + indent;
            used = 0;
        }
        out += (used != 0 ? " " : "") + word;
    }
    return out + '\n';
}

std::string percent(double part) { return number(100 * std::clamp(part, 0.0, 1.0), 4); }

/// A bar with its spread as a line over it.
std::string bar(const cell& c) {
    if (c.high <= 0) {
        return {};
    }
    std::string out = "<svg class=bar width=100 height=6 viewBox=\"0 0 100 6\" aria-hidden=true>";
    out += "<rect width=\"" + percent(c.middle) + "\" height=6 />";
    out += "<line x1=\"" + percent(c.low) + "\" x2=\"" + percent(c.high) + "\" y1=3 y2=3 /></svg>";
    return out;
}

const char* class_of(mood m) { return m == mood::good ? " class=good" : m == mood::bad ? " class=bad" : ""; }

constexpr const char* style = R"(
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --bar: #4a7fb5; --good: #1a7f37; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --bar: #5b93cc; --good: #4cc26b; --bad: #ff7b72; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; }
p.note { margin: .2rem 0 .6rem; max-width: 60rem; opacity: .8; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
table.words td, table.facts td { text-align: left; white-space: normal; }
tr.strong td { background: var(--soft); font-weight: 600; }
td.good { color: var(--good); } td.bad { color: var(--bad); }
svg.bar { display: block; margin-left: auto; } svg.bar rect { fill: var(--bar); opacity: .55; }
svg.bar line { stroke: currentColor; stroke-width: 1.5; }
nav a { margin-right: 1rem; }
)";

}  // namespace

std::string number(double value, int significant) {
    if (!std::isfinite(value)) {
        return "-";
    }
    const double size = std::abs(value);
    const int before = size < 1 ? 1 : static_cast<int>(std::floor(std::log10(size))) + 1;
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", std::max(0, significant - before), value);
    return text;
}

std::string grouped(double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%.0f", value);
    std::string out(text);
    for (auto at = static_cast<std::ptrdiff_t>(out.size()) - 3; at > 0; at -= 3) {
        out.insert(static_cast<std::size_t>(at), 1, ' ');
    }
    return out;
}

std::string to_text(const table& t) {
    if (t.rows.empty() && !t.figure.empty()) {
        return {};  // nothing to read
    }
    std::string out = "\n== " + t.title + '\n';
    if (!t.note.empty()) {
        out += wrapped(t.note, "   ", 110);
    }
    if (t.head.empty()) {
        for (const auto& row : t.rows) {
            std::string sentence;
            for (const cell& c : row) {
                sentence += (sentence.empty() ? "" : ": ") + c.text;
            }
            out += wrapped(sentence, "   ", 110);
        }
        return out;
    }
    std::vector<std::size_t> width(t.head.size());
    for (std::size_t i = 0; i != width.size(); ++i) {
        width[i] = columns(t.head[i]);
        for (const auto& row : t.rows) {
            width[i] = std::max(width[i], i < row.size() ? columns(row[i].text) : 0);
        }
    }
    const auto write = [&](auto text_of) {
        std::string line = "  ";
        for (std::size_t i = 0; i != width.size(); ++i) {
            line += ' ';
            pad(line, text_of(i), width[i] + (i == 0 ? 0 : 1), i == 0);
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + '\n';
    };
    write([&](std::size_t i) { return t.head[i]; });
    for (const auto& row : t.rows) {
        write([&](std::size_t i) { return i < row.size() ? row[i].text : std::string{}; });
    }
    return out;
}

std::string to_html(const report& r) {
    std::ostringstream out;
    out << "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        << "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n<title>" << escaped(r.title)
        << "</title>\n<style>" << style << plot_style() << "</style>\n</head>\n<body>\n<h1>" << escaped(r.title)
        << "</h1>\n";
    out << "<table class=facts>\n<tbody>\n";
    for (const auto& [name, text] : r.facts) {
        out << "<tr><td>" << escaped(name) << "</td><td>" << escaped(text) << "</td></tr>\n";
    }
    out << "</tbody>\n</table>\n<nav>\n";
    for (std::size_t i = 0; i != r.tables.size(); ++i) {
        out << "<a href=\"#t" << i << "\">" << escaped(r.tables[i].title) << "</a>\n";
    }
    out << "</nav>\n";
    for (std::size_t i = 0; i != r.tables.size(); ++i) {
        const table& t = r.tables[i];
        out << "<section id=\"t" << i << "\">\n<h2>" << escaped(t.title) << "</h2>\n";
        if (!t.note.empty()) {
            out << "<p class=note>" << escaped(t.note) << "</p>\n";
        }
        out << t.figure;
        if (t.rows.empty() && !t.figure.empty()) {
            out << "</section>\n";
            continue;
        }
        out << "<div class=wide>\n<table" << (t.head.empty() ? " class=words" : "") << ">\n";
        if (!t.head.empty()) {
            out << "<thead>\n<tr>";
            for (const std::string& h : t.head) {
                out << "<th>" << escaped(h) << "</th>";
            }
            out << "</tr>\n</thead>\n";
        }
        out << "<tbody>\n";
        for (std::size_t row = 0; row != t.rows.size(); ++row) {
            const bool strong = std::find(t.strong.begin(), t.strong.end(), row) != t.strong.end();
            out << (strong ? "<tr class=strong>" : "<tr>");
            for (const cell& c : t.rows[row]) {
                out << "<td" << class_of(c.look) << '>' << escaped(c.text) << bar(c) << "</td>";
            }
            out << "</tr>\n";
        }
        out << "</tbody>\n</table>\n</div>\n</section>\n";
    }
    out << "</body>\n</html>\n";
    return out.str();
}

std::string to_markdown(const table& t) {
    const auto in_cell = [](const std::string& text) {
        std::string out;
        for (const char c : text) {
            if (c == '|' || c == '<' || c == '>' || c == '_' || c == '*') {
                out += '\\';
            }
            out += c;
        }
        return out;
    };
    std::string out = "**" + in_cell(t.title) + "**\n\n";
    if (!t.note.empty()) {
        out += in_cell(t.note) + "\n\n";
    }
    const auto write = [&](std::size_t width, auto text_of) {
        out += '|';
        for (std::size_t i = 0; i != width; ++i) {
            out += ' ' + text_of(i) + " |";
        }
        out += '\n';
    };
    if (!t.head.empty()) {
        write(t.head.size(), [&](std::size_t i) { return in_cell(t.head[i]); });
        write(t.head.size(), [](std::size_t i) -> std::string { return i == 0 ? "---" : "---:"; });
    }
    for (std::size_t row = 0; row != t.rows.size(); ++row) {
        if (t.head.empty()) {
            for (const cell& c : t.rows[row]) {
                out += (&c == t.rows[row].data() ? "* " : ": ") + in_cell(c.text);
            }
            out += '\n';
            continue;
        }
        write(t.head.size(), [&](std::size_t i) {
            const std::string text = i < t.rows[row].size() ? in_cell(t.rows[row][i].text) : std::string{};
            return i < t.rows[row].size() && t.rows[row][i].look == mood::bad ? "**" + text + "**" : text;
        });
    }
    return out + '\n';
}

}  // namespace bench
