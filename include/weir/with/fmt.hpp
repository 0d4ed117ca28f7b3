// weir (BSL-1.0). fmt: statistics as text for people, by the {fmt} library: a line for a snapshot, a table for a registry.
#ifndef WEIR_WITH_FMT_HPP
#define WEIR_WITH_FMT_HPP
#include <weir/base/detail/metric_names.hpp>
#include <weir/base/metrics.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// When:     somebody reads it: a log line, a status page, the end of a test.
// When not: a program reads it: weir/with/prometheus.hpp.
//
//     fmt::print("{}\n", latency.snapshot());       count=1000 mean=1.02 ms p50=1.01 ms p90=1.42 ms p99=1.98 ms p99.9=2.21 ms max=2.40 ms
//     fmt::print("{}", weir::stats_table(registry));
//
// Durations are shown in ns, us, ms or s, sizes in B, KiB ..., to three digits; whole numbers with all of theirs.
// Needs fmt 8 or later. What is no printable text in labels is shown as \x and two digits.

namespace weir::inline v0 {
namespace detail {

// Three digits, or all those before the point; a whole number of the smallest unit without one.
inline std::string three_digits(double value, bool smallest) {
    auto const size = std::abs(value);
    bool const whole = value == 0 || (smallest && value == std::floor(value));
    return fmt::format("{:.{}f}", value, whole || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

inline std::string for_people(double value, metric_unit unit) {
    if (!std::isfinite(value)) {
        return fmt::format("{}", value);
    }
    struct step {
        double from;
        double size;
        std::string_view name;
    };
    // From where it would be rounded to four digits of the smaller unit.
    static constexpr std::array<step, 4> times{{{0.9995, 1, "s"}, {0.9995e-3, 1e-3, "ms"}, {0.9995e-6, 1e-6, "us"}, {0, 1e-9, "ns"}}};
    static constexpr std::array<step, 5> sizes{{{0x1p40 * 0.9995, 0x1p40, "TiB"},
                                                {0x1p30 * 0.9995, 0x1p30, "GiB"},
                                                {0x1p20 * 0.9995, 0x1p20, "MiB"},
                                                {0x1p10 * 0.9995, 0x1p10, "KiB"},
                                                {0, 1, "B"}}};
    auto const scaled = [&](auto const& steps) {
        for (auto const& s : steps) {
            if (std::abs(value) >= s.from) {
                return fmt::format("{} {}", three_digits(value / s.size, s.from == 0), s.name);
            }
        }
        return std::string{};
    };
    return unit == metric_unit::seconds ? scaled(times) : unit == metric_unit::bytes ? scaled(sizes) : fmt::format("{:.4g}", value);
}

inline std::string for_people(metric_number value, metric_unit unit) {
    if (unit != metric_unit::none || !value.whole()) {
        return for_people(value.value(), unit);
    }
    return fmt::format("{}{}", value.negative() ? "-" : "", value.magnitude());
}

// The value of a label in quotes. Control characters would play with a terminal, those of Latin-1 behind 0xc2 too.
inline std::string for_people(std::string_view text) {
    std::string out = "\"";
    bool const readable = is_utf8(text);
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto const c = static_cast<unsigned char>(text[i]);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += text[i];
        } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !readable)) {
            fmt::format_to(std::back_inserter(out), "\\x{:02x}", c);
        } else if (c == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
            fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(text[++i]));
        } else {
            out += text[i];
        }
    }
    return out += '"';
}

// name_field{label="value"}
inline std::string title_of(metric_series const& series, metric_field const& field) {
    auto title = std::string(series.name);
    title.append(series.name.empty() || field.name.empty() ? "" : "_").append(field.name);
    char open = '{';
    auto const add = [&](metric_label const& label) {
        title.append(1, std::exchange(open, ',')).append(label.name).append(1, '=').append(for_people(label.value));
    };
    for (auto const& label : series.labels) {
        add(label);
    }
    if (!field.label.name.empty()) {
        add(field.label);
    }
    return open == '{' ? title : title + '}';
}

struct column {
    std::string_view name;
    double quantile;
};
inline constexpr std::array<column, 4> quantile_columns{{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}};

// One line: name=value name=value; a distribution that is not alone in brackets.
class line_sink final : public metric_sink {
public:
    explicit line_sink(std::size_t fields) : alone_(fields == 1) {}

    void number(metric_series const& series, metric_field const& field, metric_number value) override {
        begin(series, field);
        text_ += for_people(value, field.unit);
    }
    void distribution(metric_series const& series, metric_field const& field, metric_distribution const& value) override {
        begin(series, field);
        fmt::format_to(std::back_inserter(text_), "{}count={}", alone_ ? "" : "[", value.count());
        auto const add = [&](std::string_view name, double v) {
            fmt::format_to(std::back_inserter(text_), " {}={}", name, for_people(v, field.unit));
        };
        if (value.count() != 0) {
            add("mean", value.mean());
            for (auto const& q : quantile_columns) {
                add(q.name, value.quantile(q.quantile));
            }
            add("max", value.max());
        }
        text_ += alone_ ? "" : "]";
    }
    [[nodiscard]] std::string const& text() const noexcept { return text_; }

private:
    void begin(metric_series const& series, metric_field const& field) {
        auto const title = title_of(series, field);
        text_ += text_.empty() ? "" : " ";
        text_ += title;
        text_ += title.empty() ? "" : "=";
    }
    bool alone_;
    std::string text_;
};

}  // namespace detail

/// Rows for what a registry, or several parts and snapshots, have counted; first numbers, then distributions.
/// Threads: one at a time.
class stats_table final : public metric_sink {
public:
    stats_table() = default;
    /// Throws: what collecting throws.
    template <metric_collection Collection>
    explicit stats_table(Collection const& collection) {
        add(collection);
    }

    template <metric_collection Collection>
    void add(Collection const& collection) {
        collection.collect(*this);
    }
    template <metric_source Source>
    void add(std::string_view name, Source const& source, metric_labels labels = {}) {
        write_metrics(metric_series{name, {}, labels}, source, *this);
    }

    /// Lines of equal columns, in the order of adding.
    [[nodiscard]] std::string text() const {
        std::string out;
        print(numbers_, out);
        if (numbers_.size() > 1 && distributions_.size() > 1) {
            out += '\n';
        }
        print(distributions_, out);
        return out;
    }

    void number(metric_series const& series, metric_field const& field, metric_number value) override {
        numbers_.push_back({detail::title_of(series, field), detail::for_people(value, field.unit)});
    }
    void distribution(metric_series const& series, metric_field const& field, metric_distribution const& value) override {
        row cells{detail::title_of(series, field), std::to_string(value.count())};
        auto const add = [&](double v) { cells.push_back(value.count() == 0 ? "-" : detail::for_people(v, field.unit)); };
        add(value.mean());
        for (auto const& q : detail::quantile_columns) {
            add(value.quantile(q.quantile));
        }
        add(value.max());
        distributions_.push_back(std::move(cells));
    }

private:
    using row = std::vector<std::string>;

    static std::size_t width(std::string const& cell) noexcept {
        // code points
        return static_cast<std::size_t>(std::count_if(cell.begin(), cell.end(), [](char c) { return (c & 0xc0) != 0x80; }));
    }
    static void print(std::vector<row> const& rows, std::string& out) {
        if (rows.size() < 2) {
            return;  // the heading alone
        }
        std::vector<std::size_t> widths(rows.front().size());
        for (auto const& cells : rows) {
            for (std::size_t i = 0; i < cells.size(); ++i) {
                widths[i] = std::max(widths[i], width(cells[i]));
            }
        }
        for (auto const& cells : rows) {
            for (std::size_t i = 0; i < cells.size(); ++i) {
                auto const gap = widths[i] - width(cells[i]);
                if (i == 0) {
                    out.append(cells[i]).append(gap, ' ');
                } else {
                    out.append(2 + gap, ' ').append(cells[i]);
                }
            }
            out += '\n';
        }
    }

    std::vector<row> numbers_{{"name", "value"}};
    std::vector<row> distributions_{{"name", "count", "mean", "p50", "p90", "p99", "p99.9", "max"}};
};

}  // namespace weir::inline v0

/// Any described statistics as a line of name=value; a single one without a name as its value alone. The specification is {}.
template <weir::described_stats Stats>
struct fmt::formatter<Stats, char> {
    constexpr auto parse(format_parse_context& context) {
        if (context.begin() != context.end() && *context.begin() != '}') {
            throw format_error("weir: statistics take no format but {}");
        }
        return context.begin();
    }
    template <class Context>
    auto format(Stats const& stats, Context& context) const {
        weir::detail::line_sink line(weir::metric_shape<Stats>().size());
        weir::write_metrics(weir::metric_series{}, stats, line);
        return std::copy(line.text().begin(), line.text().end(), context.out());
    }
};

/// The table.
template <>
struct fmt::formatter<weir::stats_table, char> : fmt::formatter<std::string_view, char> {
    template <class Context>
    auto format(weir::stats_table const& table, Context& context) const {
        return fmt::formatter<std::string_view, char>::format(table.text(), context);
    }
};
#endif
