// weir (BSL-1.0). fmt: numbers as people like them, lines for snapshots, tables with straight columns.
#include <weir/data/stats.hpp>
#include <weir/data/stats_registry.hpp>
#include <weir/with/fmt.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace weir_test {
namespace {

struct cellar {
    int bottles = 12;
    std::uint64_t drunk = 18'446'744'073'709'551'615u;
    std::chrono::microseconds oldest{2500};
    double share = 0.123456;
    std::uint64_t volume = 9000;
};

}  // namespace
}  // namespace weir_test

template <>
inline constexpr auto weir::stats_fields<weir_test::cellar> = std::tuple{
    weir::gauge_field("bottles", "", &weir_test::cellar::bottles), weir::counter_field("drunk", "", &weir_test::cellar::drunk),
    weir::gauge_field("oldest", "", &weir_test::cellar::oldest), weir::gauge_field("share", "", &weir_test::cellar::share),
    weir::gauge_field("volume", "", &weir_test::cellar::volume, weir::metric_unit::bytes, {"in", "cask"})};

namespace weir_test {
namespace {

std::string seconds(double s) { return weir::detail::for_people(s, weir::metric_unit::seconds); }
std::string bytes(double b) { return weir::detail::for_people(b, weir::metric_unit::bytes); }

TEST(fmt, durations_have_three_digits_and_the_unit_that_fits) {
    EXPECT_EQ(seconds(0), "0 ns");
    EXPECT_EQ(seconds(1e-9), "1 ns");
    EXPECT_EQ(seconds(1.5e-9), "1.50 ns");
    EXPECT_EQ(seconds(999e-9), "999 ns");
    EXPECT_EQ(seconds(999.4e-9), "999 ns");
    EXPECT_EQ(seconds(999.6e-9), "1.00 us") << "not 1000 ns";
    EXPECT_EQ(seconds(1.234e-6), "1.23 us");
    EXPECT_EQ(seconds(0.0125), "12.5 ms");
    EXPECT_EQ(seconds(0.9999), "1.00 s");
    EXPECT_EQ(seconds(123.4), "123 s");
    EXPECT_EQ(seconds(7200), "7200 s");
    EXPECT_EQ(seconds(-0.002), "-2.00 ms");
    EXPECT_EQ(seconds(std::numeric_limits<double>::quiet_NaN()), "nan");
    EXPECT_EQ(seconds(std::numeric_limits<double>::infinity()), "inf");
}

TEST(fmt, no_duration_is_off_by_more_than_its_digits_say) {
    for (double s = 1.01e-9; s < 1e4; s *= 1.0173) {
        auto const text = seconds(s);
        double number = 0;
        std::string unit;
        std::istringstream(text) >> number >> unit;
        auto const scale = unit == "ns" ? 1e-9 : unit == "us" ? 1e-6 : unit == "ms" ? 1e-3 : unit == "s" ? 1.0 : 0.0;
        EXPECT_NEAR(number * scale, s, s * 0.0051) << text;
        EXPECT_LT(number, unit == "s" ? 1e5 : 1000) << text;
    }
}

TEST(fmt, sizes_have_binary_units) {
    EXPECT_EQ(bytes(0), "0 B");
    EXPECT_EQ(bytes(1000), "1000 B");
    EXPECT_EQ(bytes(1024), "1.00 KiB");
    EXPECT_EQ(bytes(1536), "1.50 KiB");
    EXPECT_EQ(bytes(5.0 * 1024 * 1024), "5.00 MiB");
    EXPECT_EQ(bytes(3e12), "2.73 TiB");
}

TEST(fmt, a_described_snapshot_is_a_line_of_names_and_values) {
    EXPECT_EQ(fmt::format("{}", cellar{}),
              "bottles=12 drunk=18446744073709551615 oldest=2.50 ms share=0.1235 volume{in=\"cask\"}=8.79 KiB");
}

TEST(fmt, a_histogram_is_a_line_of_its_quantiles) {
    weir::histogram<std::uint64_t, 4096> sizes;
    EXPECT_EQ(fmt::format("{}", sizes.snapshot()), "count=0");
    for (std::uint64_t i = 1; i <= 1000; ++i) {
        sizes.record(i);
    }
    EXPECT_EQ(fmt::format("[{}]", sizes.snapshot()), "[count=1000 mean=500.5 p50=500 p90=900 p99=990 p99.9=999 max=1000]");
    weir::histogram<> times;
    times.record(std::chrono::milliseconds(7));
    EXPECT_EQ(fmt::format("{}", times.snapshot()),
              "count=1 mean=7.00 ms p50=7.00 ms p90=7.00 ms p99=7.00 ms p99.9=7.00 ms max=7.00 ms");
}

TEST(fmt, parts_and_their_snapshots_can_be_formatted) {
    weir::counter c;
    c.add(3);
    EXPECT_EQ(fmt::format("{}", c), "3");
    EXPECT_EQ(fmt::format("{}", weir::gauge(-4)), "-4");
    weir::request_stats<> r;
    EXPECT_EQ(fmt::format("{}", r.snapshot()),
              "requests=0 errors=0 bytes=0 B in_flight=0 lost=0 duration{outcome=\"success\"}=[count=0] "
              "duration{outcome=\"error\"}=[count=0]");
    weir::meter<> m;
    EXPECT_TRUE(fmt::format("{}", m.read()).starts_with("0 per_second{window=\"1m\"}=0 "));
}

TEST(fmt, a_specification_is_refused) {
    weir::counter const c;
    EXPECT_THROW(static_cast<void>(fmt::format(fmt::runtime("{:x}"), c)), fmt::format_error);
}

TEST(fmt, a_registry_is_a_table_of_numbers_and_one_of_distributions) {
    weir::stats_registry registry;
    registry.get<weir::counter>("hits", "", {{"path", "/"}}).add(12345);
    registry.get<weir::gauge>("level", "").set(-4);
    registry.get<weir::histogram<>>("latency", "").record(std::chrono::milliseconds(7), 10);
    registry.get<weir::histogram<std::uint64_t>>("none", "");
    EXPECT_EQ(fmt::format("{}", weir::stats_table(registry)),
              "name            value\n"
              "hits{path=\"/\"}  12345\n"
              "level              -4\n"
              "\n"
              "name     count     mean      p50      p90      p99    p99.9      max\n"
              "latency     10  7.00 ms  7.00 ms  7.00 ms  7.00 ms  7.00 ms  7.00 ms\n"
              "none         0        -        -        -        -        -        -\n");
}

TEST(fmt, a_table_can_be_put_together_from_snapshots) {
    weir::stats_table table;
    EXPECT_EQ(table.text(), "");
    table.add("cellar", cellar{}, {{"of", "mine"}});
    auto const text = table.text();
    EXPECT_NE(text.find("cellar_bottles{of=\"mine\"}"), std::string::npos);
    EXPECT_NE(text.find("cellar_volume{of=\"mine\",in=\"cask\"}"), std::string::npos);
}

TEST(fmt, columns_stay_straight_and_terminals_unharmed_whatever_stands_in_labels) {
    weir::stats_registry registry;
    registry.get<weir::counter>("a", "", {{"x", "\xc3\xa4\xc3\xb6"}});
    registry.get<weir::counter>("a", "", {{"x", "\x1b[2J\n\"\\"}});
    registry.get<weir::counter>("a", "", {{"x", "\xc2\x9b" "2J"}});  // the same in Latin-1
    auto const text = fmt::format("{}", weir::stats_table(registry));
    EXPECT_EQ(text, "name                    value\n"
                    "a{x=\"\\x1b[2J\\x0a\\\"\\\\\"}      0\n"
                    "a{x=\"\\x9b2J\"}               0\n"
                    "a{x=\"\xc3\xa4\xc3\xb6\"}                   0\n");
    weir::counter const c;
    weir::stats_table table;
    table.add("a", c, {{"x", "\xff\xc3"}});
    EXPECT_NE(table.text().find("\"\\xff\\xc3\""), std::string::npos);
}

}  // namespace
}  // namespace weir_test
