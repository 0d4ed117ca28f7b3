// weir (BSL-1.0). clock: what weir takes for a clock, a cheap one, and one that tests move by hand.
#ifndef WEIR_BASE_CLOCK_HPP
#define WEIR_BASE_CLOCK_HPP
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <ratio>
#include <type_traits>
#include <utility>

#if defined(__linux__)
#include <time.h>
#endif

// When:     std::chrono::steady_clock{} wherever nothing speaks against it; weir::coarse_clock where a clock is read
//           on every call and a few milliseconds do not matter; weir::manual_clock in tests.
// When not: std::chrono::system_clock: it jumps when somebody sets the date. weir never reads it.

namespace weir::inline v0 {

namespace detail {

template <class T>
inline constexpr bool is_time_point = false;
template <class Clock, class Duration>
inline constexpr bool is_time_point<std::chrono::time_point<Clock, Duration>> = true;

template <class Duration, class Rep, class Period>
constexpr typename Duration::rep saturating_count(std::chrono::duration<Rep, Period> d) noexcept;

}  // namespace detail

/// An object `c` whose `c.now()` returns a std::chrono::time_point, from any thread. Every standard clock is one.
/// It need not be steady: deadlines compare `now >= deadline`, so a clock that steps back only delays.
template <class C>
concept clock_source = requires(C const& clock) {
    requires detail::is_time_point<std::remove_cvref_t<decltype(clock.now())>>;
};

/// What a clock's now() returns.
template <clock_source C>
using time_point_of = std::remove_cvref_t<decltype(std::declval<C const&>().now())>;

/// t + d, or the largest or smallest time point where that would overflow. A d that the clock's own duration can at best
/// just count, such as any duration::max(), is "for ever": it gives the largest time point whatever t is.
/// A d finer than the ticks of t is rounded up, so that no wait is cut short; a NaN counts as zero.
template <class Clock, class Duration, class Rep, class Period>
[[nodiscard]] constexpr std::chrono::time_point<Clock, Duration> saturating_add(
    std::chrono::time_point<Clock, Duration> t, std::chrono::duration<Rep, Period> d) noexcept;

/// b - a in nanoseconds, or the largest or smallest number of them where that would overflow; for any clock's ticks.
template <class Clock, class Duration>
[[nodiscard]] constexpr std::chrono::nanoseconds saturating_between(std::chrono::time_point<Clock, Duration> a,
                                                                    std::chrono::time_point<Clock, Duration> b) noexcept;

/// The system's monotonic clock as of its last timer tick: a plain memory read, several times cheaper than
/// std::chrono::steady_clock, with the same epoch and time points, so that the two compare.
/// It stands still between ticks (1 to 4 ms apart on Linux, see CONFIG_HZ) and so lags steady_clock by up to one tick:
/// a deadline is seen late by that much, never early. Where the system has no such clock, it is steady_clock.
/// Threads: all functions from any thread.
struct coarse_clock {
    using time_point = std::chrono::steady_clock::time_point;
    using duration = time_point::duration;
    using rep = duration::rep;
    using period = duration::period;
    static constexpr bool is_steady = true;

    /// Progress: wait-free.
    /// Cost:     on Linux no system call.
    [[nodiscard]] static time_point now() noexcept;
};

/// A clock that moves when told to, for tests; backwards too. Copies are handles on one and the same time.
/// It starts at an arbitrary time that is not zero, so that code which takes `time_point{}` for "never" is found out.
/// Threads:  all functions from any thread, on copies or on one object; only assignment needs the object to itself.
///           No function waits.
/// Memory:   one allocation per clock that is not a copy.
/// Lifetime: the time lives as long as the last handle.
class manual_clock {
public:
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<manual_clock, duration>;
    static constexpr bool is_steady = false;

    /// Throws: std::bad_alloc.
    manual_clock() : manual_clock(time_point{std::chrono::hours{1000}}) {}
    explicit manual_clock(time_point start) : state_(new shared_time{start.time_since_epoch().count()}) {}

    manual_clock(manual_clock const& other) noexcept : state_(other.state_) { state_->handles.fetch_add(1); }
    manual_clock& operator=(manual_clock other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~manual_clock() {
        if (state_->handles.fetch_sub(1) == 1) {
            delete state_;
        }
    }

    [[nodiscard]] time_point now() const noexcept { return time_point{duration{state_->ticks.load()}}; }

    /// Sets the time, to an earlier one if you like.
    void set(time_point t) const noexcept { state_->ticks.store(t.time_since_epoch().count()); }

    /// Moves the time by d, backwards if d is negative; stops at the ends of the range.
    template <class Rep, class Period>
    void advance(std::chrono::duration<Rep, Period> d) const noexcept;

private:
    struct shared_time {
        std::atomic<rep> ticks;                 // any handle
        std::atomic<std::uint64_t> handles{1};  // any handle; the one that takes it to 0 frees the whole
    };

    shared_time* state_;  // owned together with the copies
};

template <class Duration, class Rep, class Period>
constexpr typename Duration::rep detail::saturating_count(std::chrono::duration<Rep, Period> d) noexcept {
    using rep = typename Duration::rep;
    using ratio = std::ratio_divide<Period, typename Duration::period>;
    static_assert(std::is_arithmetic_v<Rep> && std::signed_integral<rep>, "durations must count in built-in numbers");
    constexpr rep most = std::numeric_limits<rep>::max();
    constexpr rep least = std::numeric_limits<rep>::min();
    if constexpr (std::is_floating_point_v<Rep>) {
        constexpr auto num = static_cast<double>(ratio::num);
        constexpr auto den = static_cast<double>(ratio::den);
        constexpr double reach = 2.0 * static_cast<double>(most) / num * den;  // out of range, yet safe to compute with
        auto const size = static_cast<double>(d.count());
        if (size != size) {
            return 0;
        }
        double const exact = (size < -reach ? -reach : size > reach ? reach : size) * num / den;
        if (exact >= static_cast<double>(most)) {
            return most;
        }
        if (exact <= static_cast<double>(least)) {
            return least;
        }
        auto const whole = static_cast<rep>(exact);
        return static_cast<rep>(whole + (static_cast<double>(whole) < exact ? 1 : 0));
    } else {
        using wide = std::uintmax_t;  // sizes without their sign: here even the smallest rep has a negative
        constexpr auto num = static_cast<wide>(ratio::num);
        constexpr auto den = static_cast<wide>(ratio::den);
        static_assert(num <= std::numeric_limits<wide>::max() / den, "these two periods have no common measure");
        bool const negative = d.count() < 0;
        wide const size = negative ? wide{0} - static_cast<wide>(d.count()) : static_cast<wide>(d.count());
        wide const bound = negative ? wide{0} - static_cast<wide>(least) : static_cast<wide>(most);
        wide const rest = size % den * num;
        wide const tail = rest / den + (!negative && rest % den != 0 ? 1 : 0);
        if (size / den > bound / num || tail > bound || size / den * num > bound - tail) {
            return negative ? least : most;
        }
        wide const count = size / den * num + tail;
        return static_cast<rep>(negative ? wide{0} - count : count);
    }
}

template <class Clock, class Duration, class Rep, class Period>
constexpr std::chrono::time_point<Clock, Duration> saturating_add(std::chrono::time_point<Clock, Duration> t,
                                                                  std::chrono::duration<Rep, Period> d) noexcept {
    using rep = typename Duration::rep;
    using time_point = std::chrono::time_point<Clock, Duration>;
    if constexpr (std::is_floating_point_v<rep>) {
        return t + Duration{d};  // knows infinity
    } else {
        constexpr rep most = std::numeric_limits<rep>::max();
        constexpr rep least = std::numeric_limits<rep>::min();
        rep const start = t.time_since_epoch().count();
        rep const step = detail::saturating_count<Duration>(d);
        if (step == most || (step > 0 && start > most - step)) {
            return time_point::max();
        }
        if (step == least || (step < 0 && start < least - step)) {
            return time_point::min();
        }
        return time_point{Duration{static_cast<rep>(start + step)}};
    }
}

template <class Clock, class Duration>
constexpr std::chrono::nanoseconds saturating_between(std::chrono::time_point<Clock, Duration> a,
                                                      std::chrono::time_point<Clock, Duration> b) noexcept {
    using std::chrono::nanoseconds;
    const auto count = [](std::chrono::time_point<Clock, Duration> t) noexcept {
        if constexpr (std::is_same_v<Duration, nanoseconds>) {
            return t.time_since_epoch().count();
        } else {
            return detail::saturating_count<nanoseconds>(t.time_since_epoch());
        }
    };
    nanoseconds::rep difference = 0;
    if (__builtin_sub_overflow(count(b), count(a), &difference)) [[unlikely]] {
        return a < b ? nanoseconds::max() : nanoseconds::min();
    }
    return nanoseconds{difference};
}

inline coarse_clock::time_point coarse_clock::now() noexcept {
#if defined(__linux__) && defined(CLOCK_MONOTONIC_COARSE)
    ::timespec t{};
    if (::clock_gettime(CLOCK_MONOTONIC_COARSE, &t) == 0) {
        return time_point{std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec}};
    }
#endif
    return std::chrono::steady_clock::now();
}

template <class Rep, class Period>
void manual_clock::advance(std::chrono::duration<Rep, Period> d) const noexcept {
    auto const moved = [d](rep old) { return saturating_add(time_point{duration{old}}, d).time_since_epoch().count(); };
    rep old = state_->ticks.load();
    while (!state_->ticks.compare_exchange_weak(old, moved(old))) {
    }
}

}  // namespace weir::inline v0
#endif
