// weir (BSL-1.0). metrics: described types say their numbers, under names that follow one rule.
#include <weir/base/detail/metric_names.hpp>
#include <weir/base/metrics.hpp>
#include <weir/data/stats.hpp>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace weir_test {
namespace {

struct tank {
    std::int64_t level = -3;
    std::uint64_t poured = 18'446'744'073'709'551'615u;
    bool open = true;
    std::chrono::milliseconds age{1500};
    double warmth() const { return 21.5; }
};
struct plain {
    int n = 0;
};
struct half_described {
    std::string text;
};
struct with_stats {
    tank stats() const { return {}; }
};
struct double_level {
    std::int64_t operator()(tank const& t) const { return 2 * t.level; }
};

}  // namespace
}  // namespace weir_test

template <>
inline constexpr auto weir::stats_fields<weir_test::tank> = std::tuple{
    weir::gauge_field("level", "how full", &weir_test::tank::level),
    weir::counter_field("poured", "what came", &weir_test::tank::poured, weir::metric_unit::bytes),
    weir::gauge_field("open", "whether it is", &weir_test::tank::open),
    weir::gauge_field("age", "since it was built", &weir_test::tank::age),
    weir::gauge_field("warmth", "of the water", &weir_test::tank::warmth, weir::metric_unit::none, {"side", "left"}),
    weir::gauge_field("double", "twice the level", weir_test::double_level{})};
template <>
inline constexpr auto weir::stats_fields<weir_test::half_described> =
    std::tuple{weir::gauge_field("text", "", &weir_test::half_described::text)};

namespace weir_test {
namespace {

struct line {
    std::string name;
    weir::metric_kind kind{};
    double value = 0;
    bool whole = false;
    std::uint64_t magnitude = 0;
    std::vector<std::uint64_t> counts{};
    friend bool operator==(line const&, line const&) = default;
};
class recorder final : public weir::metric_sink {
public:
    std::vector<double> bounds{};
    std::vector<line> lines{};
    void number(weir::metric_series const& s, weir::metric_field const& f, weir::metric_number n) override {
        lines.push_back({weir::detail::metric_name(s.name, f), f.kind, n.value(), n.whole(), n.magnitude()});
    }
    void distribution(weir::metric_series const& s, weir::metric_field const& f, weir::metric_distribution const& d) override {
        lines.push_back({weir::detail::metric_name(s.name, f), f.kind, d.sum(), false, d.count(),
                         std::vector<std::uint64_t>(bounds.size())});
        d.cumulative(bounds, lines.back().counts);
    }
};
template <class Source>
std::vector<line> lines_of(Source const& source, std::vector<double> bounds = {}) {
    recorder r;
    r.bounds = std::move(bounds);
    weir::write_metrics({"x", "", {}}, source, r);
    return r.lines;
}
std::string name_of(std::string_view whole, weir::metric_field const& field) { return weir::detail::metric_name(whole, field); }

using weir::metric_kind;
using weir::metric_unit;

TEST(metrics, a_described_type_writes_all_its_numbers_in_their_order) {
    auto const seen = lines_of(tank{});
    std::vector<line> const expected{
        {"x_level", metric_kind::gauge, -3, true, 3},
        {"x_poured_bytes_total", metric_kind::counter, 18446744073709551616.0, true, 18'446'744'073'709'551'615u},
        {"x_open", metric_kind::gauge, 1, true, 1},
        {"x_age_seconds", metric_kind::gauge, 1.5, false, 0},
        {"x_warmth", metric_kind::gauge, 21.5, false, 0},
        {"x_double", metric_kind::gauge, -6, true, 6}};
    EXPECT_EQ(seen, expected);
}

TEST(metrics, an_object_with_described_stats_writes_those) { EXPECT_EQ(lines_of(with_stats{}), lines_of(tank{})); }

TEST(metrics, the_shape_of_a_type_is_known_without_an_object) {
    constexpr auto shape = weir::metric_shape<with_stats>();
    ASSERT_EQ(shape.size(), 6U);
    EXPECT_EQ(shape[3].unit, metric_unit::seconds) << "it is a duration";
    EXPECT_EQ(shape[4].label, (weir::metric_label{"side", "left"}));
}

TEST(metrics, concepts_tell_what_can_be_shown) {
    EXPECT_TRUE(weir::described_stats<tank>);
    EXPECT_TRUE(weir::described_stats<tank const>);
    EXPECT_FALSE(weir::described_stats<plain>);
    EXPECT_FALSE(weir::described_stats<half_described>) << "a field that is text";
    EXPECT_FALSE(weir::described_stats<with_stats>);
    EXPECT_TRUE(weir::metric_source<with_stats>);
    EXPECT_FALSE(weir::metric_source<plain>);
    EXPECT_FALSE(weir::metric_source<std::string>);
    EXPECT_TRUE(weir::metric_value<int>);
    EXPECT_TRUE(weir::metric_value<std::chrono::hours>);
    EXPECT_TRUE(weir::metric_value<weir::histogram<>::snapshot_type>);
    EXPECT_FALSE(weir::metric_value<std::string>);
    EXPECT_FALSE(weir::distribution_snapshot<std::vector<int>>);
}

TEST(metrics, a_histogram_counts_up_to_bounds_in_seconds) {
    weir::histogram<> h;
    for (int ms : {1, 2, 3, 40, 5000}) {
        h.record(std::chrono::milliseconds(ms));
    }
    h.record(std::chrono::hours(100));  // out of range
    auto const inf = std::numeric_limits<double>::infinity();
    auto const seen = lines_of(h, {-1, 0, 0.0021, 0.041, 10, 1e300, inf}).at(0);
    EXPECT_EQ(seen.name, "x_seconds");
    EXPECT_EQ(seen.kind, metric_kind::histogram);
    EXPECT_EQ(seen.magnitude, 6U);
    EXPECT_DOUBLE_EQ(seen.value, 5.046 + 360'000);
    EXPECT_EQ(seen.counts, (std::vector<std::uint64_t>{0, 0, 2, 4, 5, 6, 6}));
}

TEST(metrics, more_bounds_than_are_converted_at_a_time_count_the_same) {
    weir::histogram<std::uint64_t, 4096> h({.lowest = 1, .highest = 4000});
    std::vector<double> bounds;
    std::vector<std::uint64_t> expected;
    for (std::uint64_t i = 1; i <= 100; ++i) {
        h.record(i);
        bounds.push_back(static_cast<double>(i) + 0.5);
        expected.push_back(i);
    }
    EXPECT_EQ(lines_of(h, bounds).at(0).counts, expected);
}

TEST(metrics, seconds_become_the_ticks_they_stand_for) {
    using weir::detail::from_base_unit;
    using std::chrono::nanoseconds;
    EXPECT_EQ(from_base_unit<nanoseconds>(0.005), nanoseconds(5'000'000));
    EXPECT_EQ(from_base_unit<nanoseconds>(0.3), nanoseconds(300'000'000)) << "0.3 is a little less than 3/10";
    EXPECT_EQ(from_base_unit<nanoseconds>(1e-10), nanoseconds(0));
    EXPECT_EQ(from_base_unit<nanoseconds>(1.5e-9), nanoseconds(1));
    EXPECT_EQ(from_base_unit<nanoseconds>(1e300), nanoseconds::max());
    EXPECT_EQ(from_base_unit<std::chrono::hours>(7199.0), std::chrono::hours(1));
    EXPECT_EQ(from_base_unit<std::chrono::hours>(7200.0), std::chrono::hours(2));
    EXPECT_EQ(from_base_unit<std::uint8_t>(300.0), 255);
    EXPECT_EQ(weir::detail::in_base_unit(std::chrono::milliseconds(5)), 0.005);
    EXPECT_EQ(weir::detail::in_base_unit(std::chrono::hours(-1)), -3600.0);
}

TEST(metrics, every_part_of_stats_says_what_it_has) {
    weir::counter c;
    c.add(3);
    EXPECT_EQ(lines_of(c), (std::vector<line>{{"x_total", metric_kind::counter, 3, true, 3}}));
    weir::gauge g(-2);
    EXPECT_EQ(lines_of(g), (std::vector<line>{{"x", metric_kind::gauge, -2, true, 2}}));
    weir::windowed<weir::counter> w;
    w.add(5);
    EXPECT_EQ(lines_of(w), (std::vector<line>{{"x", metric_kind::gauge, 5, true, 5}}));
    weir::windowed<weir::histogram<>> wh;
    wh.record(std::chrono::seconds(2));
    EXPECT_EQ(lines_of(wh), (std::vector<line>{{"x_seconds", metric_kind::summary, 2, false, 1}}));
    weir::request_stats<> r;
    r.record(std::chrono::seconds(1), 10);
    r.record(std::chrono::seconds(2), 20, weir::request_outcome::error);
    EXPECT_EQ(lines_of(r), (std::vector<line>{{"x_requests_total", metric_kind::counter, 2, true, 2},
                                              {"x_errors_total", metric_kind::counter, 1, true, 1},
                                              {"x_bytes_total", metric_kind::counter, 30, false, 0},
                                              {"x_in_flight", metric_kind::gauge, 0, true, 0},
                                              {"x_lost_total", metric_kind::counter, 0, true, 0},
                                              {"x_duration_seconds", metric_kind::histogram, 1, false, 1},
                                              {"x_duration_seconds", metric_kind::histogram, 2, false, 1}}));
    weir::meter<> m;
    m.mark(7);
    auto const rates = lines_of(m);
    ASSERT_EQ(rates.size(), 5U);
    EXPECT_EQ(rates[0], (line{"x_total", metric_kind::counter, 7, true, 7}));
    EXPECT_EQ(rates[1].name, "x_per_second");
}

TEST(metrics, names_end_in_their_unit_and_counters_in_total_once) {
    weir::metric_field const counter{"", "", metric_kind::counter};
    weir::metric_field const bytes{"sent", "", metric_kind::counter, metric_unit::bytes};
    weir::metric_field const seconds{"", "", metric_kind::histogram, metric_unit::seconds};
    EXPECT_EQ(name_of("hits", counter), "hits_total");
    EXPECT_EQ(name_of("hits_total", counter), "hits_total");
    EXPECT_EQ(name_of("net", bytes), "net_sent_bytes_total");
    EXPECT_EQ(name_of("sent_bytes_total", {"", "", metric_kind::counter, metric_unit::bytes}), "sent_bytes_total");
    EXPECT_EQ(name_of("sent_total", {"", "", metric_kind::counter, metric_unit::bytes}), "sent_bytes_total");
    EXPECT_EQ(name_of("latency", seconds), "latency_seconds");
    EXPECT_EQ(name_of("latency_seconds", seconds), "latency_seconds");
    EXPECT_EQ(name_of("temperature", {}), "temperature");
    EXPECT_EQ(name_of("in_total", {}), "in_total") << "a gauge keeps it";
}

TEST(metrics, names_of_metrics_and_labels_are_those_of_the_exposition_format) {
    using weir::detail::is_label_name;
    using weir::detail::is_metric_name;
    for (auto const* good : {"a", "_", ":", "A9", "a:b_c9", "__a"}) {
        EXPECT_TRUE(is_metric_name(good)) << good;
    }
    for (auto const* bad : {"", "9a", "a-b", "a b", "a\n", "\xc3\xa4", "a.b", "a{"}) {
        EXPECT_FALSE(is_metric_name(bad)) << bad;
    }
    EXPECT_FALSE(is_metric_name(std::string_view("a\0b", 3)));
    for (auto const* good : {"a", "_", "_a", "A9", "le"}) {
        EXPECT_TRUE(is_label_name(good)) << good;
    }
    for (auto const* bad : {"", "9a", "a:b", "__a", "__", "a-b", "\xc3\xa4"}) {
        EXPECT_FALSE(is_label_name(bad)) << bad;
    }
}

// By decoding and encoding again: slower, and written another way.
bool is_utf8_by_decoding(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        auto const c = static_cast<unsigned char>(text[i]);
        std::size_t const size = c < 0x80 ? 1 : (c >> 5) == 6 ? 2 : (c >> 4) == 14 ? 3 : (c >> 3) == 30 ? 4 : 0;
        if (size == 0 || i + size > text.size()) {
            return false;
        }
        std::uint32_t code = size == 1 ? c : c & (0xffU >> (size + 1));
        for (std::size_t k = 1; k < size; ++k) {
            auto const next = static_cast<unsigned char>(text[i + k]);
            if ((next & 0xc0) != 0x80) {
                return false;
            }
            code = code << 6 | (next & 0x3fU);
        }
        std::uint32_t const least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (code < least[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
            return false;
        }
        i += size;
    }
    return true;
}

TEST(metrics, utf8_is_told_from_other_bytes_as_by_decoding) {
    std::string text(4, 'a');
    // Bytes at every border of the encoding, in every combination of four.
    std::array<unsigned char, 19> const bytes{0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0,
                                              0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xf0, 0xf4, 0xf5, 0xff};
    std::size_t right = 0;
    for (auto a : bytes) {
        for (auto b : bytes) {
            for (auto c : bytes) {
                for (auto d : bytes) {
                    text = {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c), static_cast<char>(d)};
                    bool const expected = is_utf8_by_decoding(text);
                    ASSERT_EQ(weir::detail::is_utf8(text), expected) << +a << ' ' << +b << ' ' << +c << ' ' << +d;
                    right += expected ? 1 : 0;
                }
            }
        }
    }
    EXPECT_GT(right, 81U);
    EXPECT_TRUE(weir::detail::is_utf8(""));
    EXPECT_FALSE(weir::detail::is_utf8("a\xe2\x82")) << "cut short";
}

}  // namespace
}  // namespace weir_test
