// weir (BSL-1.0). arithmetic_fuzz: saturating_add and the products under seeded_hash against 128-bit integers.
#include <weir/base/clock.hpp>
#include <weir/base/detail/entropy.hpp>
#include <weir/base/hash.hpp>

#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <ratio>
#include <string>
#include <type_traits>

namespace {

using namespace weir_test;
__extension__ using wide = __int128;

/// A number at an end of its type, near one, or of any size.
template <class T>
T some(fuzz_bytes& in) {
    const unsigned how = in.below(6);
    const auto any = static_cast<T>(in.number(sizeof(T)));
    const auto small = static_cast<T>(any % 4);
    switch (how) {
    case 0: return static_cast<T>(std::numeric_limits<T>::max() - (small < 0 ? T{0} : small));
    case 1: return static_cast<T>(std::numeric_limits<T>::min() + (small < 0 ? T{0} : small));
    case 2: return small;
    case 3: return any;
    default: return static_cast<T>(any >> in.below(8 * sizeof(T)));
    }
}

/// What the comment of saturating_add says, in a wider type.
template <class Ticks, class TickPeriod, class Rep, class Period>
void add(fuzz_bytes& in) {
    using tick = std::chrono::duration<Ticks, TickPeriod>;
    using time = std::chrono::time_point<std::chrono::steady_clock, tick>;
    using ratio = std::ratio_divide<Period, TickPeriod>;
    const auto t = some<Ticks>(in);
    const auto d = some<Rep>(in);
    const wide most = std::numeric_limits<Ticks>::max();
    const wide least = std::numeric_limits<Ticks>::min();

    // |d| < 2^64 and num < 2^53 for the periods below, so nothing overflows here.
    const wide scaled = static_cast<wide>(d) * ratio::num;
    const wide step = scaled / ratio::den + (scaled > 0 && scaled % ratio::den != 0 ? 1 : 0);
    const wide sum = step >= most ? most : step <= least ? least : std::clamp(static_cast<wide>(t) + step, least, most);

    const auto came = weir::saturating_add(time{tick{t}}, std::chrono::duration<Rep, Period>{d}).time_since_epoch().count();
    expect_same(static_cast<wide>(came), sum,
                "saturating_add(" + std::to_string(t) + ", " + std::to_string(d) + " * " + std::to_string(ratio::num) + "/" +
                    std::to_string(ratio::den) + ") == " + std::to_string(came));
}

template <class Ticks, class TickPeriod, class Rep>
void add_any_period(fuzz_bytes& in) {
    switch (in.below(7)) {
    case 0: return add<Ticks, TickPeriod, Rep, std::nano>(in);
    case 1: return add<Ticks, TickPeriod, Rep, std::micro>(in);
    case 2: return add<Ticks, TickPeriod, Rep, std::milli>(in);
    case 3: return add<Ticks, TickPeriod, Rep, std::ratio<1>>(in);
    case 4: return add<Ticks, TickPeriod, Rep, std::ratio<3600>>(in);
    case 5: return add<Ticks, TickPeriod, Rep, std::ratio<1, 60>>(in);
    default: return add<Ticks, TickPeriod, Rep, std::ratio<1001, 30000>>(in);
    }
}
template <class Ticks, class TickPeriod>
void add_any_count(fuzz_bytes& in) {
    switch (in.below(5)) {
    case 0: return add_any_period<Ticks, TickPeriod, std::int8_t>(in);
    case 1: return add_any_period<Ticks, TickPeriod, std::int32_t>(in);
    case 2: return add_any_period<Ticks, TickPeriod, std::uint32_t>(in);
    case 3: return add_any_period<Ticks, TickPeriod, std::uint64_t>(in);
    default: return add_any_period<Ticks, TickPeriod, std::int64_t>(in);
    }
}

/// Fractions of seconds in floating point: never early by more than rounding, in order, and at the ends where they must be.
void add_fractions(fuzz_bytes& in) {
    using time = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;
    const time t{std::chrono::nanoseconds{some<std::int64_t>(in)}};
    const std::array<double, 8> sizes{0.0, 1e-12, 0.5, 1e9, 9.3e9, 1e300, std::numeric_limits<double>::infinity(),
                                      std::numeric_limits<double>::quiet_NaN()};
    const double size = sizes[in.below(8)] * (in.flag() ? -1.0 : 1.0) * (1.0 + in.byte() / 256.0);
    const time came = weir::saturating_add(t, std::chrono::duration<double>{size});
    const std::string what = "saturating_add of " + std::to_string(size) + " s";
    if (std::isnan(size)) {
        expect_that(came == t, what);
        return;
    }
    expect_that(size < 0 ? came <= t : came >= t, what + " goes the wrong way");
    expect_that(size * 1e9 < 0x1p63 || came == time::max(), what + " is not for ever");
    expect_that(size * 1e9 > -0x1p63 || came == time::min(), what + " is not since ever");
    const time later = weir::saturating_add(t, std::chrono::duration<double>{size < 0 ? size / 2 : size * 2});
    expect_that(later >= came, what + " is later than a larger one");
}

void multiply(fuzz_bytes& in) {
    const std::uint64_t a = some<std::uint64_t>(in);
    const std::uint64_t b = some<std::uint64_t>(in);
    __extension__ using product = unsigned __int128;
    const auto exact = static_cast<std::uint64_t>((static_cast<product>(a) * b) >> 64);
    expect_same(weir::detail::multiply_high(a, b), exact, "multiply_high of " + std::to_string(a) + " and " + std::to_string(b));
    expect_same(weir::detail::multiply_high_by_parts(a, b), exact,
                "multiply_high_by_parts of " + std::to_string(a) + " and " + std::to_string(b));
}

}  // namespace

int fuzz_one(std::uint8_t const* data, std::size_t size) {
    fuzz_bytes in(data, size);
    for (int i = 0; i < 500 && !in.empty(); ++i) {
        switch (in.below(9)) {
        case 0: add_any_count<std::int64_t, std::nano>(in); break;
        case 1: add_any_count<std::int64_t, std::milli>(in); break;
        case 2: add_any_count<std::int64_t, std::ratio<1, 44100>>(in); break;
        case 3: add_any_count<std::int32_t, std::ratio<1>>(in); break;
        case 4: add_any_count<std::int16_t, std::ratio<60>>(in); break;
        case 5: add_any_count<std::int16_t, std::nano>(in); break;
        case 6: add_any_count<std::int16_t, std::ratio<1, 7>>(in); break;
        case 7: add_fractions(in); break;
        default: multiply(in); break;
        }
    }
    return 0;
}
