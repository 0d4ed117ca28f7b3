// weir (BSL-1.0). stats_property_test: histograms, windows and rates beside what they stand for, computed the long way.
#include <weir/data/stats.hpp>

#include "support/no_lanes.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <ratio>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

namespace weir_test {

// For stats_test.cpp, the other file of this program.
weir::counter& counter_of_another_file();
std::uint64_t value_in_another_file();
weir::counter& counter_of_another_file() {
    static weir::counter c;
    return c;
}
std::uint64_t value_in_another_file() { return counter_of_another_file().value(); }

}  // namespace weir_test

namespace {

using namespace std::chrono_literals;
using namespace weir_test;
using std::chrono::nanoseconds;
using weir::histogram;
using weir::histogram_snapshot;
using weir::manual_clock;
using weir::detail::stat_layout;

constexpr auto most = std::numeric_limits<std::uint64_t>::max();

/// A number of any size: each count of bits as likely as the others.
std::uint64_t any_size(random_numbers& dice) { return dice.next() >> dice.below(64); }

/// Runs f here, or now and then in another thread, of one kind or another.
template <class F>
void somewhere(random_numbers& dice, F f) {
    if (dice.one_in(32)) {
        std::thread(std::ref(f)).join();
    } else if (dice.one_in(64)) {
        const all_slots_taken here;
        std::thread(std::ref(f)).join();
    } else {
        f();
    }
}

// Layouts

/// Zero, each power of two, each with its neighbours, and the same around `highest`.
std::vector<std::uint64_t> edges(std::uint64_t highest) {
    std::vector<std::uint64_t> all{0, highest - 1, highest, highest + 1, most};
    for (unsigned bit = 0; bit < 64; ++bit) {
        const auto power = std::uint64_t{1} << bit;
        all.insert(all.end(), {power - 1, power, power + 1});
    }
    std::sort(all.begin(), all.end());
    return all;
}

template <unsigned InverseError>
void check_layout(std::uint64_t lowest, std::uint64_t highest) {
    SCOPED_TRACE("1/" + std::to_string(InverseError) + " of " + std::to_string(lowest) + " to " + std::to_string(highest));
    const stat_layout<InverseError> layout(lowest, highest);
    const auto unit = std::uint64_t{1} << layout.shift;
    ASSERT_LE(unit, lowest);
    ASSERT_GT(unit, lowest / 2);
    ASSERT_EQ(layout.begin(0), 0U);
    ASSERT_EQ(layout.last(layout.size - 1), most);
    ASSERT_EQ(layout.last(layout.size - 2), highest);
    for (std::size_t i = 0; i + 1 < layout.size; ++i) {
        const auto begin = layout.begin(i);
        const auto last = layout.last(i);
        ASSERT_LE(begin, last) << i;
        ASSERT_EQ(layout.bucket(begin), i);
        ASSERT_EQ(layout.bucket(last), i);
        if (last != most) {
            ASSERT_EQ(layout.begin(i + 1), last + 1) << i;
            ASSERT_EQ(layout.bucket(last + 1), i + 1);
        }
        const auto middle = layout.middle(i);
        const auto allowed = std::max(begin / InverseError, unit);
        ASSERT_LE(middle - begin, allowed) << i;
        ASSERT_LE(last - middle, std::max(last / InverseError, unit)) << i;
        if (begin / InverseError >= unit && i + 1 < layout.size - 1) {
            ASSERT_LE(last - begin + 1, begin / InverseError * 2 + 1) << "the bucket is too wide";
        }
    }
    std::size_t before = 0;
    for (const auto value : edges(highest)) {
        const auto bucket = layout.bucket(value);
        ASSERT_LT(bucket, layout.size);
        ASSERT_GE(bucket, before);
        ASSERT_LE(layout.begin(bucket), value);
        ASSERT_GE(layout.last(bucket), value);
        ASSERT_EQ(bucket == layout.size - 1, value > highest) << value;
        before = bucket;
    }
}

TEST(stat_layout, covers_every_number_once_in_buckets_of_the_width_it_states) {
    random_numbers dice(run_seed());
    for (const std::uint64_t highest : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}, std::uint64_t{127}, std::uint64_t{128},
                                        std::uint64_t{3'600'000'000'000}, std::uint64_t{1} << 40, most / 2, most / 2 + 1, most - 1, most}) {
        for (const std::uint64_t lowest : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}, std::uint64_t{1000}, highest / 2 + 1, highest}) {
            if (lowest <= highest) {
                check_layout<4>(lowest, highest);
                check_layout<64>(lowest, highest);
                check_layout<1024>(lowest, highest);
                ASSERT_FALSE(HasFatalFailure());
            }
        }
    }
    for (std::size_t i = 0; i < scaled(200, 20); ++i) {
        const auto highest = std::max<std::uint64_t>(any_size(dice), 1);
        check_layout<32>(1 + any_size(dice) % highest, highest);
        ASSERT_FALSE(HasFatalFailure());
    }
}

// Quantiles

enum class shape { constant, uniform, exponential, bimodal, pareto };

std::vector<std::uint64_t> values_of(shape s, std::size_t count) {
    random_numbers dice(run_seed() + static_cast<std::uint64_t>(s));
    const auto unit = [&] { return (static_cast<double>(dice.next() >> 11) + 1) / 0x1p53; };  // (0, 1]
    std::vector<std::uint64_t> values(count);
    for (auto& v : values) {
        switch (s) {
        case shape::constant: v = 123'457; break;
        case shape::uniform: v = dice.below(1'000'003); break;
        case shape::exponential: v = static_cast<std::uint64_t>(-50'000 * std::log(unit())); break;
        case shape::bimodal: v = dice.one_in(10) ? 9'000'000 + dice.below(2'000'000) : 900 + dice.below(200); break;
        case shape::pareto: v = static_cast<std::uint64_t>(std::min(1000 * std::pow(unit(), -1 / 1.1), 0x1p61)); break;
        }
    }
    return values;
}

template <unsigned InverseError>
void check_quantiles(std::vector<std::uint64_t> const& values, std::vector<std::uint64_t> const& sorted) {
    SCOPED_TRACE("1/" + std::to_string(InverseError));
    histogram<std::uint64_t, InverseError> h({.lowest = 1, .highest = std::uint64_t{1} << 62});
    double sum = 0;
    for (const auto v : values) {
        h.record(v);
        sum += static_cast<double>(v);
    }
    const auto s = h.snapshot();
    const auto count = static_cast<double>(values.size());
    EXPECT_EQ(s.count(), values.size());
    EXPECT_EQ(s.min(), sorted.front());
    EXPECT_EQ(s.max(), sorted.back());
    EXPECT_NEAR(s.sum(), sum, sum * 1e-12);
    EXPECT_NEAR(s.mean(), sum / count, sum / count * 1e-12);
    double squares = 0;
    double from_zero = 0;
    for (const auto v : values) {
        const auto x = static_cast<double>(v);
        squares += (x - sum / count) * (x - sum / count);
        from_zero += x * x;
    }
    // By the triangle inequality it is off by no more than the root of the mean square of all errors, each below x/InverseError.
    EXPECT_NEAR(s.stddev(), std::sqrt(squares / count), std::sqrt(from_zero / count) / InverseError + 1e-6);
    for (const double q : {0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.89, 0.9, 0.91, 0.99, 0.999, 0.9999, 0.99999, 1.0}) {
        const auto rank = static_cast<std::size_t>(std::max(1.0, std::ceil(q * count)));
        const auto exact = sorted[rank - 1];
        const auto came = s.quantile(q);
        const auto off = came > exact ? came - exact : exact - came;
        EXPECT_LE(off, exact / InverseError) << came << " instead of " << exact << " at " << q;
        const auto at_most = static_cast<std::uint64_t>(std::upper_bound(sorted.begin(), sorted.end(), exact) - sorted.begin());
        const auto reach = exact / InverseError * 2 + 1;  // a bucket
        const auto low = std::upper_bound(sorted.begin(), sorted.end(), exact - std::min(exact, reach)) - sorted.begin();
        const auto high = std::upper_bound(sorted.begin(), sorted.end(), exact + reach) - sorted.begin();
        EXPECT_GE(s.cumulative(exact), static_cast<std::uint64_t>(exact == 0 ? 0 : low)) << at_most;
        EXPECT_LE(s.cumulative(exact), static_cast<std::uint64_t>(high)) << at_most;
    }
}

void check_quantiles_of(shape s) {
    const auto values = values_of(s, under_thread_sanitizer || under_address_sanitizer ? 100'000 : 1'000'000);
    auto sorted = values;
    std::sort(sorted.begin(), sorted.end());
    check_quantiles<4>(values, sorted);
    check_quantiles<32>(values, sorted);
    check_quantiles<64>(values, sorted);
    check_quantiles<1024>(values, sorted);
}

TEST(histogram_quantiles, of_a_constant_are_within_the_stated_error) { check_quantiles_of(shape::constant); }
TEST(histogram_quantiles, of_uniform_values_are_within_the_stated_error) { check_quantiles_of(shape::uniform); }
TEST(histogram_quantiles, of_exponential_values_are_within_the_stated_error) { check_quantiles_of(shape::exponential); }
TEST(histogram_quantiles, of_two_humps_are_within_the_stated_error) { check_quantiles_of(shape::bimodal); }
TEST(histogram_quantiles, of_a_pareto_tail_are_within_the_stated_error) { check_quantiles_of(shape::pareto); }

// Merging, subtracting, correcting

template <class Value>
using buckets = std::vector<std::tuple<Value, Value, std::uint64_t>>;
template <class Value, unsigned InverseError>
buckets<Value> buckets_of(histogram_snapshot<Value, InverseError> const& s) {
    buckets<Value> all;
    s.for_each([&](Value first, Value last, std::uint64_t n) { all.emplace_back(first, last, n); });
    return all;
}

using numbers = histogram<std::int64_t>;

void expect_same(numbers::snapshot_type const& a, numbers::snapshot_type const& b) {
    EXPECT_EQ(a.count(), b.count());
    EXPECT_EQ(a.below(), b.below());
    EXPECT_EQ(a.above(), b.above());
    EXPECT_EQ(a.sum(), b.sum());
    EXPECT_EQ(a.mean(), b.mean());
    EXPECT_EQ(buckets_of(a), buckets_of(b));
}

/// Any number, mostly within the range, sometimes below or above.
std::int64_t any_value(random_numbers& dice) {
    const auto size = static_cast<std::int64_t>(any_size(dice) >> 2);
    return dice.one_in(16) ? -size : size;
}

TEST(histogram_snapshot, that_is_merged_is_as_if_all_had_been_recorded_in_one) {
    random_numbers dice(run_seed());
    for (std::size_t round = 0; round < scaled(60, 10); ++round) {
        numbers together;
        std::array<numbers, 3> parts;
        for (auto n = dice.below(100); n > 0; --n) {
            const auto v = any_value(dice);
            const auto times = dice.below(4);
            auto& part = parts[dice.below(3)];
            somewhere(dice, [&] {
                together.record(v, times);
                part.record(v, times);
            });
        }
        auto s = parts[0].snapshot();
        s.merge(parts[1].snapshot());
        s.merge(parts[2].snapshot());
        const auto whole = together.snapshot();
        expect_same(s, whole);
        EXPECT_EQ(s.min(), whole.min());
        EXPECT_EQ(s.max(), whole.max());
        EXPECT_EQ(s.stddev(), whole.stddev());
        for (const double q : {0.0, 0.3, 0.5, 0.9, 1.0}) {
            EXPECT_EQ(s.quantile(q), whole.quantile(q));
        }
        ASSERT_FALSE(HasFailure()) << "round " << round;
    }
}

TEST(histogram_snapshot, less_an_earlier_one_is_what_was_recorded_between) {
    random_numbers dice(run_seed());
    for (std::size_t round = 0; round < scaled(60, 10); ++round) {
        numbers all;
        numbers later;
        for (auto n = dice.below(50); n > 0; --n) {
            all.record(any_value(dice), 1 + dice.below(3));
        }
        const auto earlier = all.snapshot();
        for (auto n = dice.below(50); n > 0; --n) {
            const auto v = any_value(dice);
            all.record(v);
            later.record(v);
        }
        auto s = all.snapshot();
        s.subtract(earlier);
        const auto between = later.snapshot();
        expect_same(s, between);
        if (!between.empty()) {
            // To a bucket, but never beyond what was recorded at all.
            EXPECT_LE(s.min(), between.min());
            EXPECT_GE(s.max(), between.max());
            if (between.count() > between.above()) {
                EXPECT_GE(s.min(), between.min() - between.min() / 32 - 1);
            }
            EXPECT_GE(s.min(), all.snapshot().min());
            EXPECT_LE(s.max(), all.snapshot().max());
            if (between.above() == 0) {
                EXPECT_LE(s.max(), between.max() + between.max() / 32 + 1);
            }
        }
        ASSERT_FALSE(HasFailure()) << "round " << round;
    }
}

TEST(histogram, corrects_as_the_loop_of_its_definition_would) {
    random_numbers dice(run_seed());
    for (std::size_t round = 0; round < scaled(600, 60); ++round) {
        using wide_range = histogram<std::uint64_t, 32>;
        const weir::histogram_options<std::uint64_t> range{.lowest = 1 + dice.below(5), .highest = std::max<std::uint64_t>(any_size(dice), 5)};
        wide_range corrected(range);
        wide_range naive(range);
        const auto v = dice.one_in(8) ? most - dice.below(3) : any_size(dice);
        const auto interval = std::max(dice.one_in(2) ? any_size(dice) : std::uint64_t{1}, v / 1000 + dice.below(3));
        corrected.record_corrected(v, interval);
        naive.record(v);
        if (interval > 0) {
            for (auto missing = v; missing > interval && missing - interval >= interval;) {
                missing -= interval;
                naive.record(missing);
            }
        }
        const auto a = corrected.snapshot();
        const auto b = naive.snapshot();
        EXPECT_EQ(a.count(), b.count());
        EXPECT_EQ(a.sum(), b.sum());
        EXPECT_EQ(a.mean(), b.mean());
        EXPECT_EQ(a.min(), b.min());
        EXPECT_EQ(a.max(), b.max());
        EXPECT_EQ(buckets_of(a), buckets_of(b));
        ASSERT_FALSE(HasFailure()) << v << " every " << interval << " up to " << range.highest;
    }
    // More values than could ever be recorded one by one.
    histogram<std::uint64_t> h;
    h.record_corrected(most, 1);
    EXPECT_EQ(h.snapshot().count(), most);
    EXPECT_NEAR(h.snapshot().mean() / 0x1p63, 1.0, 1e-15);
}

// Kinds of values

template <class Value>
class histogram_of : public testing::Test {};
template <class Rep, class Period>
using span_of = std::chrono::duration<Rep, Period>;
using kinds = testing::Types<std::int8_t, std::uint8_t, std::int16_t, std::int64_t, std::uint64_t, nanoseconds, std::chrono::microseconds,
                             std::chrono::seconds, std::chrono::hours, std::chrono::days, span_of<std::uint64_t, std::nano>,
                             span_of<std::int32_t, std::nano>, span_of<std::int32_t, std::micro>, span_of<std::int8_t, std::milli>>;
TYPED_TEST_SUITE(histogram_of, kinds, );

template <class Value>
Value value_of(std::uint64_t n) {
    return static_cast<Value>(n);
}
template <class Value>
    requires requires { typename Value::period; }
Value value_of(std::uint64_t n) {
    return Value{static_cast<typename Value::rep>(n)};
}

TYPED_TEST(histogram_of, any_kind_counts_the_whole_range_of_it) {
    using value = TypeParam;
    using convert = weir::detail::stat_value<value>;
    for (const bool all : {false, true}) {
        weir::histogram_options<value> range;
        if (all) {
            range.highest = value_of<value>(convert::most);
        }
        EXPECT_GE(range.highest, range.lowest);
        EXPECT_LE(convert::ticks(range.highest), convert::most);
        histogram<value> h(range);
        std::uint64_t count = 0;
        std::uint64_t above = 0;
        std::uint64_t below = 0;
        for (const auto n : edges(convert::most)) {
            const auto v = value_of<value>(n);
            h.record(v);
            ++count;
            above += v > range.highest ? 1U : 0U;
            below += v < value{0} ? 1U : 0U;
        }
        const auto s = h.snapshot();
        EXPECT_EQ(s.count(), count);
        EXPECT_EQ(s.above(), above);
        EXPECT_EQ(s.below(), below);
        EXPECT_EQ(s.min(), value{0});
        EXPECT_EQ(s.max(), value_of<value>(convert::most));
        EXPECT_EQ(s.quantile(1), s.max());
        EXPECT_EQ(s.cumulative(s.max()), count);
        EXPECT_FALSE(all && above != 0);
    }
}

// Windows

/// What a window shows at least and at most, from a list of all that was recorded. Time never goes back for a window: what was
/// recorded counts as recorded no earlier than what had been recorded before.
class window_model {
public:
    window_model(nanoseconds window, nanoseconds slice, manual_clock::time_point start)
        : window_(window), slice_(slice), latest_(start) {}

    void add(manual_clock::time_point now, std::uint64_t n) {
        latest_ = std::max(latest_, now);
        all_.emplace_back(latest_, n);
    }
    [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> at(manual_clock::time_point now) const {
        std::uint64_t least = 0;
        std::uint64_t at_most = 0;
        for (auto const& [when, n] : all_) {
            const auto age = std::max(now, latest_) - when;
            least += age <= window_ - slice_ ? n : 0;
            at_most += age < window_ ? n : 0;
        }
        return {least, at_most};
    }

private:
    nanoseconds window_;
    nanoseconds slice_;
    manual_clock::time_point latest_;
    std::vector<std::pair<manual_clock::time_point, std::uint64_t>> all_;
};

TEST(windowed, shows_everything_for_its_time_and_nothing_for_longer) {
    random_numbers dice(run_seed());
    for (std::size_t round = 0; round < scaled(150, 20); ++round) {
        const std::array<std::size_t, 5> counts{1, 2, 6, 17, 60};
        const auto slices = counts[dice.below(counts.size())];
        const auto slice = nanoseconds{1 + static_cast<std::int64_t>(dice.below(dice.one_in(3) ? 3 : 2'000'000'000))};
        const auto window = slice * static_cast<std::int64_t>(slices);
        manual_clock clock;
        const auto start = clock.now();
        const bool steady = dice.one_in(2);
        weir::windowed<weir::counter, manual_clock> c({.window = window, .slices = slices}, clock);
        weir::windowed<histogram<std::int64_t, 4>, manual_clock> h({.window = window, .slices = slices}, {.highest = 7}, clock);
        window_model model(window, slice, start);
        const auto check = [&] {
            const auto [least, at_most] = model.at(clock.now());
            const auto came = c.value();
            EXPECT_GE(came, least);
            EXPECT_LE(came, at_most);
            const auto s = h.snapshot();
            EXPECT_EQ(s.sum(), static_cast<double>(came));
            EXPECT_EQ(s.empty(), came == 0);
            EXPECT_LE(s.count(), came);
        };
        for (int step = 0; step < 60; ++step) {
            const auto some = nanoseconds{static_cast<std::int64_t>(dice.below(static_cast<std::uint64_t>(slice.count()) + 1))};
            switch (dice.below(steady ? 5 : 8)) {
            case 0:
            case 1: break;  // it stands still
            case 2: clock.advance(some); break;
            case 3: clock.advance(slice * static_cast<std::int64_t>(dice.below(slices + 2))); break;
            case 4: clock.advance(dice.one_in(4) ? nanoseconds{24h} * 365 : some + slice); break;
            case 5: clock.advance(-slice * static_cast<std::int64_t>(dice.below(2 * slices + 2))); break;
            case 6: clock.set(start - some); break;
            default: clock.advance(-some); break;
            }
            check();
            const auto n = 1 + dice.below(20);
            somewhere(dice, [&] {
                c.add(n);
                h.record(static_cast<std::int64_t>(n));
            });
            model.add(clock.now(), n);
            check();
            ASSERT_FALSE(HasFailure()) << "round " << round << ", step " << step << ", " << slices << " slices of " << slice.count()
                                       << " ns";
        }
        clock.set(manual_clock::time_point::max());
        check();
        c.add(9);
        h.record(9);
        EXPECT_EQ(c.value(), 9U) << "at the end of time";
        EXPECT_EQ(h.snapshot().max(), 9);
        ASSERT_FALSE(HasFailure()) << "round " << round;
    }
}

TEST(windowed, may_begin_before_the_epoch_and_end_at_the_end_of_time) {
    manual_clock clock(manual_clock::time_point::min());
    weir::windowed<weir::counter, manual_clock> c({}, clock);
    weir::meter m(clock);
    c.add(1);
    m.mark(1);
    clock.set(manual_clock::time_point::max());
    EXPECT_EQ(c.value(), 0U);
    c.add(2);
    m.mark(2);
    EXPECT_EQ(c.value(), 2U);
    EXPECT_EQ(m.read().count, 3U);
    EXPECT_LT(m.read().mean, 1e-6);
}

// Rates

TEST(meter, is_as_far_from_the_exact_rates_as_half_a_second_makes_it) {
    random_numbers dice(run_seed());
    constexpr std::array<double, 3> spans{60, 300, 900};
    for (std::size_t round = 0; round < scaled(40, 8); ++round) {
        manual_clock clock;
        weir::meter m(clock);
        const auto start = clock.now();
        std::vector<std::pair<double, double>> events;
        double count = 0;
        for (int step = 0; step < 80; ++step) {
            const auto pause = dice.one_in(20) ? dice.below(600'000) : dice.below(4'000);
            clock.advance(std::chrono::milliseconds{pause});
            const double now = std::chrono::duration<double>(clock.now() - start).count();
            const auto n = dice.below(1000);
            somewhere(dice, [&] { m.mark(n); });
            events.emplace_back(now, static_cast<double>(n));
            count += static_cast<double>(n);
            const auto r = m.read();
            const std::array<double, 3> came{r.one_minute, r.five_minutes, r.fifteen_minutes};
            EXPECT_EQ(static_cast<double>(r.count), count);
            EXPECT_NEAR(r.mean, count / std::max(now, 1.0), 1e-9 * count);
            for (std::size_t i = 0; i < spans.size(); ++i) {
                double weight = 0;
                for (auto const& [when, times] : events) {
                    weight += times * std::exp(-(now - when) / spans[i]);
                }
                const auto exact = weight / (spans[i] * (1 - std::exp(-std::max(now, 1.0) / spans[i])));
                // The events of a second count as if they had come in its middle: each is taken for at most 0.5 s older or younger
                // than it is, which changes its weight by a factor of at most exp(0.5 / span).
                EXPECT_NEAR(came[i], exact, exact * std::expm1(0.5 / spans[i]) + 1e-9) << spans[i];
            }
            ASSERT_FALSE(HasFailure()) << "round " << round << ", step " << step;
        }
    }
}

TEST(meter, stands_a_clock_that_jumps) {
    random_numbers dice(run_seed());
    for (std::size_t round = 0; round < scaled(40, 8); ++round) {
        manual_clock clock;
        weir::meter m(clock);
        std::uint64_t count = 0;
        for (int step = 0; step < 60; ++step) {
            const auto n = dice.below(3);
            const auto much = std::chrono::milliseconds{dice.below(dice.one_in(2) ? 2'000 : 1'000'000'000)};
            clock.advance(dice.one_in(2) ? much : -much);
            m.mark(n);
            count += n;
            const auto r = m.read();
            EXPECT_EQ(r.count, count);
            for (const double rate : {r.mean, r.one_minute, r.five_minutes, r.fifteen_minutes}) {
                EXPECT_GE(rate, 0);
                EXPECT_LE(rate, static_cast<double>(count) + 1);  // a second at least: no rate is above all events at once
            }
            ASSERT_FALSE(HasFailure()) << "round " << round << ", step " << step;
        }
    }
}

}  // namespace
