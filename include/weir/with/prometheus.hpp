// weir (BSL-1.0). prometheus: a registry, or any described statistics, as text that Prometheus scrapes.
#ifndef WEIR_WITH_PROMETHEUS_HPP
#define WEIR_WITH_PROMETHEUS_HPP
#include <weir/base/detail/metric_names.hpp>
#include <weir/base/metrics.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// When:     somebody scrapes the program. It needs no library; what serves the text over HTTP is yours.
// When not: people read it: weir/with/fmt.hpp. For OpenMetrics or protobuf: derive from weir::metric_sink.
// Source:   "Exposition formats", prometheus.io: the text format, version 0.0.4.
//
// A histogram's buckets are weir's fine ones summed up to the bounds given here; so is what stands at a bound, to the error of the
// histogram. Whole numbers are written with all their digits, others with as many as tell them from their neighbours.

namespace weir::inline v0 {

/// What to answer as Content-Type.
inline constexpr std::string_view prometheus_content_type = "text/plain; version=0.0.4; charset=utf-8";

struct prometheus_options {
    std::string prefix{};  // stands before all names, with a `_` between: empty, or as a name
    // Upper bounds of the buckets, strictly ascending, without infinity: it is always there. In seconds those of Prometheus' own
    // clients; else powers of 4, from 1 to 2^30.
    std::vector<double> seconds_bounds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
    std::vector<double> bounds = {1,     4,      16,      64,      256,      1024,      4096,      16384,
                                  65536, 262144, 1048576, 4194304, 16777216, 67108864, 268435456, 1073741824};
    std::vector<double> quantiles = {0.5, 0.9, 0.99, 0.999};  // of windowed histograms; in [0, 1], strictly ascending
};

/// Collects samples, and puts those of one name together, as the format wants them.
/// For a single registry or snapshot write_prometheus() below is shorter.
/// Threads: one at a time.
class prometheus_writer final : public metric_sink {
public:
    using options = prometheus_options;
    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit prometheus_writer(options o = {}) : options_(checked(std::move(o))) {}

    /// Adds all that a registry has.
    /// Throws: std::invalid_argument if one series comes twice or a name in two kinds; what collecting throws.
    template <metric_collection Collection>
    void add(Collection const& collection) {
        collection.collect(*this);
    }
    /// Adds a part or a snapshot under a name.
    /// Throws: std::invalid_argument also if a name or label is none, or text is not UTF-8.
    template <metric_source Source>
    void add(std::string_view name, std::string_view help, metric_labels labels, Source const& source) {
        write_metrics(metric_series{name, help, labels}, source, *this);
    }

    /// Writes the text to `out`: names in ascending order, the series of a name in the order of their coming.
    template <std::output_iterator<char> Out>
    Out write(Out out) const {
        for (auto const& [name, family] : families_) {
            auto const head = head_of(name, family);
            out = std::copy(head.begin(), head.end(), std::move(out));
            out = std::copy(family.samples.begin(), family.samples.end(), std::move(out));
        }
        return out;
    }
    [[nodiscard]] std::string text() const {
        std::string all;
        append_to(all);
        return all;
    }
    /// The same at the end of a string. If it throws, `out` is as it was.
    void append_to(std::string& out) const;

    void number(metric_series const& series, metric_field const& field, metric_number value) override;
    void distribution(metric_series const& series, metric_field const& field, metric_distribution const& value) override;

private:
    struct family_text {
        metric_kind kind{};
        std::string help;     // the first one that is not empty
        std::string samples;  // whole lines
        std::map<std::string, bool, std::less<>> series;  // labels that have come
    };

    static options checked(options o);
    static void check_series(metric_series const& series, metric_field const& field);
    static std::string head_of(std::string_view name, family_text const& family);
    // The family of this field, and its full name; notes the series.
    std::pair<family_text*, std::string> enter(metric_series const& series, metric_field const& field, std::string const& labels);

    options options_;  // constant
    std::map<std::string, family_text, std::less<>> families_;
    std::map<std::string, std::string, std::less<>> sample_names_;  // of distributions, and the family that they belong to
};

namespace detail {

inline void append_escaped(std::string& out, std::string_view text, bool quotes) {
    for (char const c : text) {
        if (c == '\\') {
            out += "\\\\";
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '"' && quotes) {
            out += "\\\"";
        } else {
            out += c;
        }
    }
}

inline void append_number(std::string& out, double value) {
    if (std::isnan(value)) {
        out += "NaN";
    } else if (std::isinf(value)) {
        out += value > 0 ? "+Inf" : "-Inf";
    } else {
        char digits[32];
        auto const end = std::to_chars(digits, digits + sizeof digits, value).ptr;  // the shortest that reads back the same
        out.append(digits, end);
    }
}
inline void append_number(std::string& out, metric_number value) {
    if (!value.whole()) {
        append_number(out, value.value());
        return;
    }
    if (value.negative()) {
        out += '-';
    }
    out += std::to_string(value.magnitude());
}

// a="b",c="d", without braces.
inline std::string label_text(metric_series const& series, metric_field const& field) {
    std::string text;
    auto const add = [&](metric_label const& label) {
        if (!text.empty()) {
            text += ',';
        }
        text += label.name;
        text += "=\"";
        append_escaped(text, label.value, true);
        text += '"';
    };
    for (auto const& label : series.labels) {
        if (!label.value.empty()) {
            add(label);
        }
    }
    if (!field.label.name.empty()) {
        add(field.label);
    }
    return text;
}

template <class Number>
void append_sample(std::string& out, std::string_view name, std::string_view suffix, std::string_view labels, Number value) {
    out += name;
    out += suffix;
    if (!labels.empty()) {
        out += '{';
        out += labels;
        out += '}';
    }
    out += ' ';
    append_number(out, value);
    out += '\n';
}

}  // namespace detail

inline prometheus_options prometheus_writer::checked(options o) {
    if (!o.prefix.empty() && !detail::is_metric_name(o.prefix)) {
        throw std::invalid_argument{"weir::prometheus_writer: prefix must match [a-zA-Z_:][a-zA-Z0-9_:]*"};
    }
    auto const ascend = [](std::vector<double> const& numbers, char const* what) {
        bool const finite = std::all_of(numbers.begin(), numbers.end(), [](double b) { return std::isfinite(b); });
        if (!finite || std::adjacent_find(numbers.begin(), numbers.end(), std::greater_equal<>{}) != numbers.end()) {
            throw std::invalid_argument{what};
        }
    };
    ascend(o.seconds_bounds, "weir::prometheus_writer: seconds_bounds must be finite and ascend");
    ascend(o.bounds, "weir::prometheus_writer: bounds must be finite and ascend");
    ascend(o.quantiles, "weir::prometheus_writer: quantiles must be finite and ascend");
    if (!o.quantiles.empty() && (o.quantiles.front() < 0 || o.quantiles.back() > 1)) {
        throw std::invalid_argument{"weir::prometheus_writer: quantiles must be in [0, 1]"};
    }
    return o;
}

inline std::string prometheus_writer::head_of(std::string_view name, family_text const& family) {
    std::string head;
    if (!family.help.empty()) {
        head.append("# HELP ").append(name) += ' ';
        detail::append_escaped(head, family.help, false);
        head += '\n';
    }
    constexpr std::string_view kinds[] = {"counter", "gauge", "histogram", "summary"};
    head.append("# TYPE ").append(name).append(" ").append(kinds[static_cast<std::size_t>(family.kind)]) += '\n';
    return head;
}

inline void prometheus_writer::append_to(std::string& out) const {
    std::string all;
    for (auto const& [name, family] : families_) {
        all += head_of(name, family);
        all += family.samples;
    }
    out += all;
}

inline void prometheus_writer::check_series(metric_series const& series, metric_field const& field) {
    auto const refuse = [&](std::string_view what, std::string_view name) {
        throw std::invalid_argument{std::string("weir::prometheus_writer: ").append(series.name).append(what).append(name)};
    };
    if (!detail::is_metric_name(series.name)) {
        refuse(" is no name", "");
    }
    if (!detail::is_utf8(series.help)) {
        refuse(": its help text is not UTF-8", "");
    }
    for (auto const& label : series.labels) {
        if (!detail::is_label_name(label.name)) {
            refuse(": no name for a label: ", label.name);
        }
        if (!detail::is_utf8(label.value)) {
            refuse(" has a value that is not UTF-8: label ", label.name);
        }
        auto const same = [&](metric_label const& other) { return other.name == label.name; };
        bool const reserved = (field.kind == metric_kind::histogram && label.name == "le") ||
                              (field.kind == metric_kind::summary && label.name == "quantile") || same(field.label);
        if (reserved || std::count_if(series.labels.begin(), series.labels.end(), same) != 1) {
            refuse(" would have a label twice: ", label.name);
        }
    }
}

inline auto prometheus_writer::enter(metric_series const& series, metric_field const& field, std::string const& labels)
    -> std::pair<family_text*, std::string> {
    check_series(series, field);
    auto name = options_.prefix.empty() ? detail::metric_name(series.name, field)
                                        : options_.prefix + '_' + detail::metric_name(series.name, field);
    auto at = families_.find(name);
    if (at == families_.end()) {
        auto const refuse = [&] {
            throw std::invalid_argument{"weir::prometheus_writer: a sample of another name would be called " + name};
        };
        if (sample_names_.contains(name)) {
            refuse();
        }
        if (detail::is_distribution(field.kind)) {
            for (auto const suffix : detail::distribution_suffixes) {
                auto sample = name + std::string(suffix);
                if (families_.contains(sample) || !sample_names_.emplace(std::move(sample), name).second) {
                    refuse();
                }
            }
        }
        at = families_.emplace(name, family_text{.kind = field.kind, .help = {}, .samples = {}, .series = {}}).first;
    }
    if (at->second.kind != field.kind) {
        throw std::invalid_argument{"weir::prometheus_writer: " + name + " comes in two kinds"};
    }
    if (!at->second.series.emplace(labels, true).second) {
        throw std::invalid_argument{"weir::prometheus_writer: " + name + "{" + labels + "} comes twice"};
    }
    if (auto& help = at->second.help; help.empty()) {
        help.append(series.help).append(series.help.empty() || field.help.empty() ? "" : ": ").append(field.help);
    }
    return {&at->second, std::move(name)};
}

inline void prometheus_writer::number(metric_series const& series, metric_field const& field, metric_number value) {
    auto const labels = detail::label_text(series, field);
    auto const [family, name] = enter(series, field, labels);
    detail::append_sample(family->samples, name, "", labels, value);
}

inline void prometheus_writer::distribution(metric_series const& series, metric_field const& field,
                                            metric_distribution const& value) {
    auto const labels = detail::label_text(series, field);
    auto const [family, name] = enter(series, field, labels);
    auto& out = family->samples;
    auto const with = [&](std::string_view label, double number) {
        auto text = labels;
        text.append(labels.empty() ? "" : ",").append(label) += "=\"";
        detail::append_number(text, number);
        return text += '"';
    };
    if (field.kind == metric_kind::summary) {
        for (auto const q : options_.quantiles) {
            // No answer is better than a wrong one.
            auto const answer = value.count() == 0 ? std::numeric_limits<double>::quiet_NaN() : value.quantile(q);
            detail::append_sample(out, name, "", with("quantile", q), answer);
        }
    } else {
        auto const& bounds = field.unit == metric_unit::seconds ? options_.seconds_bounds : options_.bounds;
        std::vector<std::uint64_t> counts(bounds.size());
        value.cumulative(bounds, counts);
        for (std::size_t i = 0; i < bounds.size(); ++i) {
            detail::append_sample(out, name, "_bucket", with("le", bounds[i]), metric_number(counts[i]));
        }
        detail::append_sample(out, name, "_bucket", with("le", std::numeric_limits<double>::infinity()),
                              metric_number(value.count()));
    }
    detail::append_sample(out, name, "_sum", labels, value.sum());
    detail::append_sample(out, name, "_count", labels, metric_number(value.count()));
}

/// Appends a registry to `out`. If it throws, `out` is as it was.
template <metric_collection Collection>
void write_prometheus(std::string& out, Collection const& collection, prometheus_options options = {}) {
    prometheus_writer writer(std::move(options));
    writer.add(collection);
    writer.append_to(out);
}
/// Appends one part or snapshot: `write_prometheus(out, map.stats(), "sessions", "open sessions")`.
template <metric_source Source>
void write_prometheus(std::string& out, Source const& source, std::string_view name, std::string_view help,
                      metric_labels labels = {}, prometheus_options options = {}) {
    prometheus_writer writer(std::move(options));
    writer.add(name, help, labels, source);
    writer.append_to(out);
}
/// The same into any output iterator of char. Returns its end.
template <std::output_iterator<char> Out, metric_collection Collection>
Out write_prometheus(Out out, Collection const& collection, prometheus_options options = {}) {
    prometheus_writer writer(std::move(options));
    writer.add(collection);
    return writer.write(std::move(out));
}
template <std::output_iterator<char> Out, metric_source Source>
Out write_prometheus(Out out, Source const& source, std::string_view name, std::string_view help, metric_labels labels = {},
                     prometheus_options options = {}) {
    prometheus_writer writer(std::move(options));
    writer.add(name, help, labels, source);
    return writer.write(std::move(out));
}

}  // namespace weir::inline v0
#endif
