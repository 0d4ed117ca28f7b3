// weir (BSL-1.0). prometheus: what is written can be read again, by a parser of our own and by Prometheus' own tool.
#include <weir/data/stats.hpp>
#include <weir/data/stats_registry.hpp>
#include <weir/with/prometheus.hpp>

#include "support/random.hpp"

#include <gtest/gtest.h>

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <unistd.h>

namespace weir_test {
namespace {

using label_map = std::map<std::string, std::string>;
struct sample {
    std::string name;
    label_map labels;
    double value = 0;
    std::string text{};  // of the value
};
struct metric_family {
    std::string help;
    std::string type;
    std::vector<sample> samples;
};
using families = std::map<std::string, metric_family>;

// Reads the text format, version 0.0.4, as strictly as its description allows: a family is one group of lines, HELP and TYPE
// stand before its samples, no series comes twice, names and escapes are right. Histograms must also add up.
class exposition_reader {
public:
    explicit exposition_reader(std::string_view text) : rest_(text) {
        while (!rest_.empty()) {
            line();
        }
        check_distributions();
    }
    [[nodiscard]] families const& result() const { return families_; }

private:
    [[noreturn]] void fail(std::string const& what) const { throw std::runtime_error(what + " at: " + std::string(rest_.substr(0, 80))); }
    void want(std::string_view text) {
        if (!rest_.starts_with(text)) {
            fail("no `" + std::string(text) + "`");
        }
        rest_.remove_prefix(text.size());
    }
    bool has(std::string_view text) const { return rest_.starts_with(text); }
    char take() {
        if (rest_.empty()) {
            fail("the end");
        }
        char const c = rest_.front();
        rest_.remove_prefix(1);
        return c;
    }
    std::string name(bool colon) {
        std::string n;
        while (!rest_.empty()) {
            char const c = rest_.front();
            bool const letter = std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_").find(c) != std::string_view::npos;
            bool const digit = c >= '0' && c <= '9';
            if (!(letter || (colon && c == ':') || (digit && !n.empty()))) {
                break;
            }
            n += take();
        }
        if (n.empty()) {
            fail("no name");
        }
        return n;
    }
    std::string to_end_of(char end, bool quote_is_escaped) {
        std::string text;
        for (char c = take(); c != end; c = take()) {
            if (c == '\n') {
                fail("a line that ends too early");
            }
            if (c == '\\') {
                c = take();
                if (c != '\\' && c != 'n' && !(c == '"' && quote_is_escaped)) {
                    fail("no escape");
                }
                c = c == 'n' ? '\n' : c;
            }
            text += c;
        }
        return text;
    }
    metric_family& open(std::string const& n) {
        if (n != current_) {
            if (families_.contains(n)) {
                fail("a family in two pieces: " + n);
            }
            current_ = n;
        }
        return families_[n];
    }
    void line() {
        if (has("# HELP ")) {
            want("# HELP ");
            auto const n = name(true);
            auto& f = open(n);
            if (!f.samples.empty() || !f.type.empty() || !f.help.empty()) {
                fail("HELP out of place");
            }
            want(" ");
            f.help = to_end_of('\n', false);
            return;
        }
        if (has("# TYPE ")) {
            want("# TYPE ");
            auto& f = open(name(true));
            if (!f.samples.empty() || !f.type.empty()) {
                fail("TYPE out of place");
            }
            want(" ");
            f.type = to_end_of('\n', false);
            if (f.type != "counter" && f.type != "gauge" && f.type != "histogram" && f.type != "summary") {
                fail("no type: " + f.type);
            }
            return;
        }
        sample s;
        s.name = name(true);
        if (has("{")) {
            for (want("{"); !has("}"); has(",") ? want(",") : void()) {
                auto const n = name(false);
                want("=\"");
                if (!s.labels.emplace(n, to_end_of('"', true)).second) {
                    fail("a label twice");
                }
            }
            want("}");
        }
        want(" ");
        s.text = to_end_of('\n', false);
        s.value = number(s.text);
        if (!seen_.emplace(s.name, s.labels).second) {
            fail("a series twice: " + s.name);
        }
        auto& f = families_[current_];
        if (f.type.empty()) {
            fail("a sample without TYPE");
        }
        bool const distribution = f.type == "histogram" || f.type == "summary";
        bool fits = s.name == current_ && f.type != "histogram";
        fits = fits || (distribution && (s.name == current_ + "_sum" || s.name == current_ + "_count"));
        fits = fits || (f.type == "histogram" && s.name == current_ + "_bucket" && s.labels.contains("le"));
        if (!fits) {
            fail(s.name + " is no sample of " + current_);
        }
        f.samples.push_back(std::move(s));
    }
    double number(std::string const& text) const {
        if (text == "NaN") {
            return std::numeric_limits<double>::quiet_NaN();
        }
        if (text == "+Inf" || text == "-Inf") {
            return text[0] == '+' ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
        }
        double value = 0;
        auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
            fail("no number: " + text);
        }
        return value;
    }
    void check_distributions() const {
        for (auto const& [n, f] : families_) {
            if (f.type != "histogram") {
                continue;
            }
            std::map<label_map, std::vector<std::pair<double, double>>> buckets;
            std::map<label_map, double> counts;
            std::set<label_map> sums;
            for (auto const& s : f.samples) {
                auto labels = s.labels;
                labels.erase("le");
                if (s.name == n + "_bucket") {
                    buckets[labels].emplace_back(number(s.labels.at("le")), s.value);
                } else if (s.name == n + "_count") {
                    counts[labels] = s.value;
                } else {
                    sums.insert(labels);
                }
            }
            for (auto const& [labels, bounds] : buckets) {
                for (std::size_t i = 1; i < bounds.size(); ++i) {
                    if (bounds[i].first <= bounds[i - 1].first || bounds[i].second < bounds[i - 1].second) {
                        throw std::runtime_error("buckets that do not ascend: " + n);
                    }
                }
                if (!std::isinf(bounds.back().first) || bounds.back().second != counts.at(labels) || !sums.contains(labels)) {
                    throw std::runtime_error("a histogram that does not add up: " + n);
                }
            }
            if (buckets.size() != counts.size()) {
                throw std::runtime_error("a histogram without buckets: " + n);
            }
        }
    }

    std::string_view rest_;
    std::string current_;
    families families_;
    std::set<std::pair<std::string, label_map>> seen_;
};

families parsed(std::string const& text) { return exposition_reader(text).result(); }
template <class Collection>
std::string exposed(Collection const& collection, weir::prometheus_options options = {}) {
    std::string text;
    weir::write_prometheus(text, collection, std::move(options));
    return text;
}

struct rates {
    double good = 0.1;
    double bad = std::numeric_limits<double>::quiet_NaN();
    double up = std::numeric_limits<double>::infinity();
    double down = -std::numeric_limits<double>::infinity();
    double tiny = 5e-324;
    double third = 1.0 / 3;
    std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    std::int64_t least = std::numeric_limits<std::int64_t>::min();
};

}  // namespace
}  // namespace weir_test

template <>
inline constexpr auto weir::stats_fields<weir_test::rates> = std::tuple{
    weir::gauge_field("good", "", &weir_test::rates::good),   weir::gauge_field("bad", "", &weir_test::rates::bad),
    weir::gauge_field("up", "", &weir_test::rates::up),       weir::gauge_field("down", "", &weir_test::rates::down),
    weir::gauge_field("tiny", "", &weir_test::rates::tiny),   weir::gauge_field("third", "", &weir_test::rates::third),
    weir::counter_field("most", "", &weir_test::rates::most), weir::gauge_field("least", "", &weir_test::rates::least)};

namespace weir_test {
namespace {

TEST(prometheus, a_registry_becomes_this_text) {
    weir::stats_registry registry;
    registry.get<weir::counter>("http_requests", "Requests, by path.", {{"path", "/"}, {"method", "get"}}).add(3);
    registry.get<weir::counter>("http_requests", "", {{"path", "/a"}, {"method", "get"}}).add(4);
    registry.get<weir::gauge>("temperature", "In the room.").set(-4);
    auto& latency = registry.get<weir::histogram<>>("latency", "How long it takes.");
    latency.record(std::chrono::milliseconds(20));
    latency.record(std::chrono::hours(2));
    EXPECT_EQ(exposed(registry, {.seconds_bounds = {0.01, 0.025}}),
              "# HELP http_requests_total Requests, by path.\n"
              "# TYPE http_requests_total counter\n"
              "http_requests_total{method=\"get\",path=\"/\"} 3\n"
              "http_requests_total{method=\"get\",path=\"/a\"} 4\n"
              "# HELP latency_seconds How long it takes.\n"
              "# TYPE latency_seconds histogram\n"
              "latency_seconds_bucket{le=\"0.01\"} 0\n"
              "latency_seconds_bucket{le=\"0.025\"} 1\n"
              "latency_seconds_bucket{le=\"+Inf\"} 2\n"
              "latency_seconds_sum 7200.02\n"
              "latency_seconds_count 2\n"
              "# HELP temperature In the room.\n"
              "# TYPE temperature gauge\n"
              "temperature -4\n");
}

TEST(prometheus, a_snapshot_of_its_own_becomes_a_family_for_each_number) {
    rates const r;
    std::string text = "# before\n";
    weir::write_prometheus(text, r, "rate", "of change", {{"of", "it"}}, {.prefix = "app"});
    ASSERT_TRUE(text.starts_with("# before\n"));
    auto const seen = parsed(text.substr(9));
    ASSERT_EQ(seen.size(), 8U);
    EXPECT_EQ(seen.at("app_rate_good").help, "of change");
    EXPECT_EQ(seen.at("app_rate_good").samples.at(0).labels, (label_map{{"of", "it"}}));
    EXPECT_EQ(seen.at("app_rate_most_total").type, "counter");
}

TEST(prometheus, numbers_read_back_as_they_were) {
    rates const r;
    std::string text;
    weir::write_prometheus(std::back_inserter(text), r, "r", "");
    auto const seen = parsed(text);
    auto const text_of = [&](char const* name) { return seen.at(name).samples.at(0).text; };
    EXPECT_EQ(text_of("r_good"), "0.1");
    EXPECT_EQ(text_of("r_bad"), "NaN");
    EXPECT_EQ(text_of("r_up"), "+Inf");
    EXPECT_EQ(text_of("r_down"), "-Inf");
    EXPECT_EQ(text_of("r_tiny"), "5e-324");
    EXPECT_EQ(seen.at("r_third").samples.at(0).value, 1.0 / 3);
    EXPECT_EQ(text_of("r_most_total"), "18446744073709551615");
    EXPECT_EQ(text_of("r_least"), "-9223372036854775808");
}

TEST(prometheus, hostile_label_values_and_help_texts_come_through) {
    // Pieces that a careless writer or reader trips over.
    std::vector<std::string> const pieces{"\\", "\"", "\n", "}", "{", ",", "=", " ", "#", "n", "\\n", "\\\\", "\"} 1\n", "\r", "\t",
                                          "le", "+Inf", "\xc3\xa4", "\xf0\x9f\x8e\x89", "\x01", "\x7f", "# TYPE a gauge\n", "'"};
    random_numbers numbers(20);
    weir::stats_registry registry({.max_series = 2000, .max_series_per_name = 1000});
    std::map<std::string, double> expected;
    std::string help;
    for (int i = 0; i < 500; ++i) {
        std::string value;
        for (std::size_t k = 1 + numbers.below(5); k > 0; --k) {
            value += pieces[numbers.below(pieces.size())];
        }
        if (i < 20) {
            help += value;
        }
        if (expected.emplace(value, i).second) {
            registry.get<weir::gauge>("a", "", {{"x", value}}).set(i);
        }
    }
    registry.get<weir::gauge>("b", help).set(1);
    auto const seen = parsed(exposed(registry));
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(seen.at("b").help, help);
    std::map<std::string, double> came;
    for (auto const& s : seen.at("a").samples) {
        came.emplace(s.labels.at("x"), s.value);
    }
    EXPECT_EQ(came, expected);
}

TEST(prometheus, buckets_hold_what_was_recorded_up_to_their_bounds) {
    weir::stats_registry registry;
    auto& h = registry.get<weir::histogram<>>("t", "");
    auto& sizes = registry.get<weir::histogram<std::uint64_t>>("s", "");
    random_numbers numbers(7);
    std::vector<double> seconds;
    double sum = 0;
    for (int i = 0; i < 5000; ++i) {
        auto const ns = numbers.below(std::uint64_t{1} << (10 + numbers.below(26)));
        h.record(std::chrono::nanoseconds(ns));
        sizes.record(ns);
        seconds.push_back(static_cast<double>(ns) * 1e-9);
        sum += seconds.back();
    }
    auto const seen = parsed(exposed(registry));
    auto const& samples = seen.at("t_seconds").samples;
    ASSERT_EQ(samples.size(), 14U);
    for (auto const& s : samples) {
        if (s.name == "t_seconds_bucket") {
            auto const& le = s.labels.at("le");
            auto const bound = le == "+Inf" ? std::numeric_limits<double>::infinity() : std::stod(le);
            // The value that stands at the bound may be off by the histogram's error.
            auto const at_most = [&](double b) { return std::count_if(seconds.begin(), seconds.end(), [&](double v) { return v <= b; }); };
            EXPECT_LE(s.value, static_cast<double>(at_most(bound * 65 / 64))) << le;
            EXPECT_GE(s.value, static_cast<double>(at_most(bound * 63 / 64))) << le;
        }
    }
    EXPECT_NEAR(samples[12].value, sum, sum * 1e-9);
    EXPECT_EQ(samples[13].value, 5000);
    EXPECT_EQ(seen.at("s").samples.size(), 19U);
    EXPECT_EQ(seen.at("s").samples[15].labels.at("le"), "1073741824");
}

TEST(prometheus, what_falls_out_of_a_window_is_a_summary) {
    weir::stats_registry registry;
    auto& w = registry.get<weir::windowed<weir::histogram<>>>("recent", "");
    registry.get<weir::windowed<weir::histogram<>>>("silent", "");
    w.record(std::chrono::seconds(2), 10);
    auto const seen = parsed(exposed(registry, {.quantiles = {0, 0.5, 1}}));
    auto const& f = seen.at("recent_seconds");
    EXPECT_EQ(f.type, "summary");
    ASSERT_EQ(f.samples.size(), 5U);
    EXPECT_EQ(f.samples[1].labels, (label_map{{"quantile", "0.5"}}));
    EXPECT_EQ(f.samples[2].value, 2);
    EXPECT_EQ(f.samples[3].value, 20);
    EXPECT_EQ(f.samples[4].value, 10);
    EXPECT_TRUE(std::isnan(seen.at("silent_seconds").samples[0].value)) << "nothing is known, and zero would be a claim";
}

TEST(prometheus, families_that_come_in_pieces_are_put_together) {
    weir::stats_registry registry;
    registry.get<weir::request_stats<>>("http", "Requests.", {{"peer", "a"}}).record(std::chrono::seconds(1));
    registry.get<weir::request_stats<>>("http", "", {{"peer", "b"}});
    registry.get<weir::meter<>>("events", "");
    weir::request_stats<> other;
    weir::prometheus_writer writer;
    writer.add(registry);
    writer.add("http", "", {{"peer", "c"}}, other);
    auto const seen = parsed(writer.text());
    EXPECT_EQ(seen.at("http_requests_total").samples.size(), 3U);
    EXPECT_EQ(seen.at("http_requests_total").help, "Requests.: requests finished");
    EXPECT_EQ(seen.at("http_duration_seconds").samples.size(), 3U * 2 * 14);
    EXPECT_EQ(seen.at("events_per_second").samples.size(), 3U);
}

TEST(prometheus, the_help_text_of_a_name_is_found_also_if_its_first_series_has_none) {
    weir::stats_registry registry;
    registry.get<weir::counter>("a", "what it is", {{"x", "2"}});
    registry.get<weir::counter>("a", "", {{"x", "1"}});
    EXPECT_EQ(parsed(exposed(registry)).at("a_total").help, "what it is");
}

TEST(prometheus, refuses_what_would_make_a_text_that_nobody_can_read) {
    weir::counter c;
    weir::gauge g;
    weir::histogram<std::uint64_t> h;
    auto const throws = [&](auto add) {
        weir::prometheus_writer writer;
        writer.add("a", "", {{"x", "1"}}, c);
        writer.add("h", "", {}, h);
        EXPECT_THROW(add(writer), std::invalid_argument);
        EXPECT_EQ(parsed(writer.text()).size(), 2U) << "what is there stays whole";
    };
    throws([&](auto& w) { w.add("a", "", {{"x", "1"}}, c); });
    throws([&](auto& w) { w.add("a_total", "", {{"x", "2"}}, g); });
    throws([&](auto& w) { w.add("h_count", "", {{"x", "2"}}, g); });
    throws([&](auto& w) { w.add("a b", "", {}, g); });
    throws([&](auto& w) { w.add("b", "\xff", {}, g); });
    throws([&](auto& w) { w.add("b", "", {{"x", "\xff"}}, g); });
    throws([&](auto& w) { w.add("b", "", {{"__x", "1"}}, g); });
    throws([&](auto& w) { w.add("b", "", {{"x", "1"}, {"x", "2"}}, g); });
    throws([&](auto& w) { w.add("k", "", {{"le", "1"}}, h); });
    weir::prometheus_writer writer;
    writer.add("h_count", "", {}, g);
    EXPECT_THROW(writer.add("h", "", {}, h), std::invalid_argument);
}

TEST(prometheus, options_that_make_no_sense_are_refused_by_name) {
    auto const what = [](weir::prometheus_options o) -> std::string {
        try {
            weir::prometheus_writer{std::move(o)};
        } catch (std::invalid_argument const& e) {
            return e.what();
        }
        return {};
    };
    auto const nan = std::numeric_limits<double>::quiet_NaN();
    auto const inf = std::numeric_limits<double>::infinity();
    EXPECT_EQ(what({.prefix = "a-b"}), "weir::prometheus_writer: prefix must match [a-zA-Z_:][a-zA-Z0-9_:]*");
    EXPECT_EQ(what({.seconds_bounds = {1, 1}}), "weir::prometheus_writer: seconds_bounds must be finite and ascend");
    EXPECT_EQ(what({.seconds_bounds = {1, inf}}), "weir::prometheus_writer: seconds_bounds must be finite and ascend");
    EXPECT_EQ(what({.bounds = {nan}}), "weir::prometheus_writer: bounds must be finite and ascend");
    EXPECT_EQ(what({.quantiles = {0.5, 1.5}}), "weir::prometheus_writer: quantiles must be in [0, 1]");
    EXPECT_EQ(what({.seconds_bounds = {}, .bounds = {}, .quantiles = {}}), "");
}

TEST(prometheus, without_bounds_a_histogram_still_adds_up) {
    weir::stats_registry registry;
    registry.get<weir::histogram<>>("t", "").record(std::chrono::seconds(1));
    auto const seen = parsed(exposed(registry, {.seconds_bounds = {}}));
    EXPECT_EQ(seen.at("t_seconds").samples.size(), 3U);
}

// Everything there is, for the tool below.
std::string everything() {
    weir::stats_registry registry;
    registry.get<weir::counter>("requests", "What came.", {{"path", "/\"a\\b\"\n{}"}, {"method", "get"}}).add(3);
    registry.get<weir::gauge>("temperature", "In the room\\\nupstairs.").set(-4);
    registry.get<weir::histogram<>>("latency", "How long it takes.").record(std::chrono::milliseconds(20));
    registry.get<weir::histogram<std::uint64_t>>("answer_bytes", "How long it is.").record(20);
    registry.get<weir::windowed<weir::histogram<>>>("recent", "How long it took of late.");
    registry.get<weir::windowed<weir::counter>>("burst", "What came of late.");
    registry.get<weir::request_stats<>>("http", "Requests", {{"peer", "a"}}).record(std::chrono::seconds(1), 7);
    registry.get<weir::request_stats<>>("http", "Requests", {{"peer", "b"}});
    registry.get<weir::meter<>>("events", "Events");
    auto const self = registry.observe("registry", "The registry itself", {}, [&] { return registry.stats(); });
    auto const ratio = registry.observe("ratio", "Of something.", {}, [] { return std::numeric_limits<double>::quiet_NaN(); });
    return exposed(registry, {.prefix = "weir"});
}

TEST(prometheus, everything_that_can_be_registered_reads_back) {
    auto const seen = parsed(everything());
    EXPECT_EQ(seen.size(), 19U);
    EXPECT_EQ(seen.at("weir_requests_total").samples.at(0).labels.at("path"), "/\"a\\b\"\n{}");
}

TEST(prometheus, promtool_finds_nothing_to_complain_about) {
    std::string const promtool = WEIR_TEST_PROMTOOL;
    if (promtool.empty()) {
        GTEST_SKIP() << "there is no promtool here (Debian: prometheus)";
    }
    auto const file = testing::TempDir() + "weir_prometheus_" + std::to_string(::getpid());
    std::FILE* const out = std::fopen(file.c_str(), "wb");
    ASSERT_NE(out, nullptr);
    auto const text = everything();
    EXPECT_EQ(std::fwrite(text.data(), 1, text.size(), out), text.size());
    EXPECT_EQ(std::fclose(out), 0);
    EXPECT_EQ(std::system(("'" + promtool + "' check metrics < '" + file + "'").c_str()), 0) << text;
    std::remove(file.c_str());
}

// The parser is an oracle only if it says no.
TEST(prometheus, the_reader_of_these_tests_refuses_what_is_wrong) {
    std::string const head = "# TYPE a gauge\n";
    EXPECT_EQ(parsed(head + "a 1\na{x=\"1\"} 2\n").at("a").samples.size(), 2U);
    for (auto const* wrong : {"a 1", "a 1\na 2\n", "a{x=\"1} 1\n", "a{x=\"\\x\"} 1\n", "a{x=\"1\",x=\"2\"} 1\n", "a nan\n", "a 1 \n",
                              "b 1\n", "a{9=\"1\"} 1\n", "a 1\n# TYPE a gauge\n", "a 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\na{x=\"1\"} 1\n"}) {
        EXPECT_THROW(parsed(head + wrong), std::runtime_error) << wrong;
    }
    std::string const h = "# TYPE h histogram\n";
    EXPECT_NO_THROW(parsed(h + "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n"));
    for (auto const* wrong : {"h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 3\n",
                              "h_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n",
                              "h_bucket{le=\"1\"} 2\nh_sum 3\nh_count 2\n", "h_bucket{le=\"+Inf\"} 2\nh_count 2\n", "h 1\n", "h_count 1\n"}) {
        EXPECT_THROW(parsed(h + wrong), std::runtime_error) << wrong;
    }
}

}  // namespace
}  // namespace weir_test
