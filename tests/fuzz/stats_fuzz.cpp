// weir (BSL-1.0). stats_fuzz: any operations on a histogram and a window beside lists of all that was recorded.
#include <weir/data/stats.hpp>

#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace weir_test;
using std::chrono::nanoseconds;
__extension__ using wide = unsigned __int128;
using value = std::int64_t;
constexpr unsigned inverse_error = 8;
using histogram = weir::histogram<value, inverse_error>;

/// A value of any size, now and then below zero.
value some(fuzz_bytes& in) {
    const auto size = static_cast<value>(in.number(in.below(9)) >> 1);
    return in.below(16) == 0 ? -size : size;
}

/// A value, and how many times it came.
using entry = std::pair<value, std::uint64_t>;

/// All that a snapshot says, from a list of what it should hold.
void check(histogram::snapshot_type const& s, std::vector<entry> list, weir::histogram_options<value> const& range) {
    std::uint64_t below = 0;
    std::uint64_t above = 0;
    std::uint64_t count = 0;
    wide sum = 0;
    for (auto& [v, n] : list) {
        below += v < 0 ? n : 0;
        above += v > range.highest ? n : 0;
        v = std::max<value>(v, 0);
        count += n;
        sum += static_cast<wide>(v) * n;
    }
    list.erase(std::remove_if(list.begin(), list.end(), [](entry const& e) { return e.second == 0; }), list.end());
    std::sort(list.begin(), list.end());
    expect_same(s.count(), count, "count");
    expect_same(s.below(), below, "below");
    expect_same(s.above(), above, "above");
    expect_same(s.sum(), static_cast<double>(sum), "sum");
    expect_same(s.min(), list.empty() ? 0 : list.front().first, "min");
    expect_same(s.max(), list.empty() ? 0 : list.back().first, "max");
    std::uint64_t in_buckets = 0;
    auto at = list.begin();
    s.for_each([&](value first, value last, std::uint64_t n) {
        std::uint64_t exact = 0;
        for (; at != list.end() && at->first <= last; ++at) {
            expect_that(at->first >= first, "a value between two buckets");
            exact += at->second;
        }
        expect_same(n, exact, "bucket from " + std::to_string(first));
        in_buckets += n;
    });
    expect_same(in_buckets, count, "sum of buckets");
    value before = 0;
    for (const double q : {0.0, 0.1, 0.5, 0.9, 1.0}) {
        const auto rank = static_cast<std::uint64_t>(std::max(1.0, std::ceil(q * static_cast<double>(count))));
        std::uint64_t passed = 0;
        const auto exact = std::find_if(list.begin(), list.end(), [&](entry const& e) { return (passed += e.second) >= rank; });
        const auto came = s.quantile(q);
        expect_that(came >= before, "quantiles ascend");
        before = came;
        const value v = exact == list.end() ? 0 : exact->first;
        if (v <= range.highest) {
            const auto allowed = std::max(v / static_cast<value>(inverse_error), range.lowest);
            expect_that(came >= v - allowed && came - v <= allowed, "quantile " + std::to_string(q) + " is " + std::to_string(came) + " instead of " + std::to_string(v));
        } else {
            expect_same(came, s.max(), "quantile above the range");
        }
    }
}

void spread(fuzz_bytes& in) {
    weir::histogram_options<value> range;
    range.lowest = 1 + static_cast<value>(in.byte() >> in.below(8));
    range.highest = std::max(range.lowest, some(in));
    histogram one(range);
    histogram two(range);
    std::vector<entry> list;
    auto early = one.snapshot();
    std::size_t first_late = 0;
    for (int i = 0; i < 100 && !in.empty(); ++i) {
        const auto v = some(in);
        switch (in.below(5)) {
        case 0: {
            const auto n = in.number(in.below(3));
            two.record(v, n);
            list.emplace_back(v, n);
            break;
        }
        case 1: {
            const auto interval = std::max<value>(some(in), v / 50);
            one.record_corrected(v, interval);
            list.emplace_back(v, 1);
            for (auto rest = v; interval > 0 && rest > interval && rest - interval >= interval;) {
                list.emplace_back(rest -= interval, 1);
            }
            break;
        }
        case 2: {
            early = one.snapshot();
            early.merge(two.snapshot());
            first_late = list.size();
            break;
        }
        default:
            one.record(v);
            list.emplace_back(v, 1);
            break;
        }
    }
    auto s = one.snapshot();
    s.merge(two.snapshot());
    check(s, list, range);
    s.subtract(early);
    std::uint64_t late = 0;
    for (auto i = first_late; i < list.size(); ++i) {
        late += list[i].second;
    }
    expect_same(s.count(), late, "count after subtract");
    s.merge(early);
    expect_same(s.count(), one.snapshot().count() + two.snapshot().count(), "count after merging again");
}

/// Time never goes back for a window: what was added counts as added no earlier than what had been added before.
void pass_time(fuzz_bytes& in) {
    weir::manual_clock clock;
    const auto slices = 1 + in.below(20);
    const nanoseconds slice{1 + static_cast<std::int64_t>(in.number(in.below(5)))};
    const auto window = slice * static_cast<std::int64_t>(slices);
    weir::windowed<weir::counter, weir::manual_clock> w({.window = window, .slices = slices}, clock);
    auto latest = clock.now();
    std::vector<std::pair<weir::manual_clock::time_point, std::uint64_t>> list;
    for (int i = 0; i < 200 && !in.empty(); ++i) {
        switch (in.below(8)) {
        case 0: clock.advance(nanoseconds{some(in)}); break;
        case 1: clock.advance(-nanoseconds{some(in)}); break;
        case 2: clock.advance(slice * static_cast<std::int64_t>(in.below(40))); break;
        case 3: clock.advance(slice - nanoseconds{1}); break;
        default: {
            const std::uint64_t n = in.byte();
            w.add(n);
            latest = std::max(latest, clock.now());
            list.emplace_back(latest, n);
            break;
        }
        }
        std::uint64_t least = 0;
        std::uint64_t most = 0;
        for (auto const& [when, n] : list) {
            const auto age = weir::saturating_between(when, std::max(latest, clock.now()));
            least += age <= window - slice ? n : 0;
            most += age < window ? n : 0;
        }
        const auto came = w.value();
        expect_that(least <= came && came <= most, "the window shows " + std::to_string(came) + ", not " + std::to_string(least) + " to " + std::to_string(most));
    }
}

}  // namespace

int fuzz_one(std::uint8_t const* data, std::size_t size) {
    fuzz_bytes in(data, size);
    if (in.flag()) {
        spread(in);
    } else {
        pass_time(in);
    }
    return 0;
}
