// weir (BSL-1.0). rate_window: two ways to count calls in a window that slides: exactly, and in one word.
#ifndef WEIR_FLOW_DETAIL_RATE_WINDOW_HPP
#define WEIR_FLOW_DETAIL_RATE_WINDOW_HPP
#include <weir/flow/detail/divisor.hpp>
#include <weir/flow/detail/rate_decision.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace weir::inline v0 {

struct sliding_log_options;
struct sliding_counter_options;

namespace detail {

// The times of the last N calls in a ring: word 0 is the place of the oldest, words 1 to N are times. A call may go if the oldest
// is W old; it takes its place. So the (i+N)-th call stands where the i-th stood, and comes W later at least.
// Invariant: from the oldest on, times do not decrease: a call is noted as no earlier than the one before it.
// Times are ns since the limiter was made, moved up by 2^62 so that 0 is earlier than any of them.
// A newest time of more than now + W means that the clock was set back: all that lies ahead is then taken for now.
class log_rule {
public:
    using options = sliding_log_options;
    static constexpr std::int64_t zero = std::int64_t{1} << 62;

    inline explicit log_rule(sliding_log_options const& o);

    [[nodiscard]] std::size_t words() const noexcept { return 1 + static_cast<std::size_t>(limit_); }
    [[nodiscard]] std::int64_t limit() const noexcept { return limit_; }
    [[nodiscard]] static std::int64_t time(std::int64_t ns) noexcept {
        return std::clamp(ns, -rate_time_max.count(), rate_time_max.count()) + zero;
    }

    template <class Words>
    [[nodiscard]] bool admits(Words const& w, std::int64_t n, std::int64_t now) const noexcept {
        return n == 0 || (ever(n) && nth(w, n - 1) <= now - window_);
    }
    template <class Words>
    void commit(Words const& w, std::int64_t n, std::int64_t now) const noexcept {
        auto const when = std::max(now, newest(w));
        auto place = w.at(0);
        for (std::int64_t i = 0; i < n; ++i) {
            w.set(static_cast<std::size_t>(place) + 1, when);
            place = place + 1 == limit_ ? 0 : place + 1;
        }
        w.set(0, place);
    }
    template <class Words>
    [[nodiscard]] rate_decision describe(Words const& w, std::int64_t n, std::int64_t now, bool allowed) const noexcept {
        using std::chrono::nanoseconds;
        std::int64_t low = 0;
        for (auto high = limit_; low < high;) {  // the first that has not left the window
            auto const middle = low + (high - low) / 2;
            if (nth(w, middle) <= now - window_) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        auto const retry = allowed || !ever(n) ? rate_decision::never : nanoseconds{nth(w, n - 1) + window_ - now};
        return {allowed, low, retry, nanoseconds{std::max(std::int64_t{0}, newest(w) + window_ - now)}};
    }
    template <class Words>
    [[nodiscard]] bool impossible(Words const& w, std::int64_t now) const noexcept {
        return newest(w) > now + window_;
    }
    template <class Words>
    void heal(Words const& w, std::int64_t now) const noexcept {
        for (std::size_t i = 1; i < words(); ++i) {
            w.set(i, std::min(w.at(i), now));
        }
    }

    [[nodiscard]] static bool keyed() noexcept { return true; }
    template <class Words>
    [[nodiscard]] bool fresh(Words const& w, std::int64_t now) const noexcept {
        return newest(w) <= now - window_;
    }
    template <class Words>
    [[nodiscard]] std::int64_t rank(Words const& w, std::int64_t) const noexcept {
        return newest(w);
    }
    [[nodiscard]] std::int64_t start(std::size_t i, std::int64_t mark, std::int64_t) const noexcept {
        return i == 0 || mark == rate_no_mark ? 0 : mark;
    }
    [[nodiscard]] bool impossible_mark(std::int64_t mark, std::int64_t now) const noexcept { return mark > now + window_; }
    [[nodiscard]] static std::int64_t healed_mark(std::int64_t now) noexcept { return now; }

private:
    [[nodiscard]] bool ever(std::int64_t n) const noexcept { return n >= 0 && n <= limit_; }
    template <class Words>
    [[nodiscard]] std::int64_t nth(Words const& w, std::int64_t n) const noexcept {  // from the oldest, n < N
        auto const place = w.at(0) + n;
        return w.at(static_cast<std::size_t>(place >= limit_ ? place - limit_ : place) + 1);
    }
    template <class Words>
    [[nodiscard]] std::int64_t newest(Words const& w) const noexcept {
        return nth(w, limit_ - 1);
    }

    std::int64_t limit_ = 0;   // N
    std::int64_t window_ = 0;  // W, ns
};

// index:24 | calls in the window before:20 | calls in this one:20. Windows are W long and begin when the limiter is made. What
// counts of the one before is the part of it that a window reaching back from now would cover.
// Known limit: indices are compared modulo 2^24. A word that was left alone for so many windows may be taken for a newer one, and
// then delays calls by three windows at most.
// A clock that was set back stands still at the beginning of the word's window; by more than a window: the word's counts are
// taken for those of the present window.
class counter_rule {
public:
    using options = sliding_counter_options;
    static constexpr std::int64_t limit_max = (std::int64_t{1} << 20) - 1;

    inline explicit counter_rule(sliding_counter_options const& o);

    [[nodiscard]] static constexpr std::size_t words() noexcept { return 1; }
    [[nodiscard]] std::int64_t limit() const noexcept { return limit_; }
    [[nodiscard]] static std::int64_t time(std::int64_t ns) noexcept {
        return std::clamp(ns, -rate_time_max.count(), rate_time_max.count());
    }

    // -- On numbers
    /// A word as of now.
    struct counts {
        std::int64_t index;
        std::int64_t before;
        std::int64_t current;
        std::int64_t elapsed;  // of the window `index`
    };
    [[nodiscard]] counts read(std::int64_t word, std::int64_t now) const noexcept {
        auto const index = index_of(now);
        auto const before = word >> bits & limit_max;
        auto const current = word & limit_max;
        auto const newer = newer_by(word, index);
        if (newer > 1 || (before == 0 && current == 0)) {
            return {index, 0, 0, now - index * window_};
        }
        if (newer == 1) {
            return {index, current, 0, now - index * window_};
        }
        return {index - newer, before, current, newer == 0 ? now - index * window_ : 0};
    }
    [[nodiscard]] static std::int64_t pack(counts const& c) noexcept {
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(c.index) << (2 * bits)) | c.before << bits | c.current;
    }
    [[nodiscard]] std::int64_t estimate(counts const& c) const noexcept {
        auto const part = static_cast<rate_wide>(c.before) * static_cast<rate_wide>(window_ - c.elapsed);
        auto const whole = static_cast<rate_wide>(window_);
        return static_cast<std::int64_t>((part + whole - 1) / whole) + c.current;
    }
    [[nodiscard]] bool fits(counts const& c, std::int64_t n) const noexcept { 
        // As estimate(c) <= limit_ - n, without the division.
        auto const room = ever(n) ? limit_ - n - c.current : -1;
        return room >= 0 && static_cast<rate_wide>(c.before) * static_cast<rate_wide>(window_ - c.elapsed) <=
                                static_cast<rate_wide>(room) * static_cast<rate_wide>(window_);
    }
    [[nodiscard]] inline rate_decision describe(counts const& c, std::int64_t n, std::int64_t now, bool allowed) const noexcept;
    // c: as of now. Where the clock was set back nothing of the window has elapsed.
    [[nodiscard]] bool stepped_back(counts const& c, std::int64_t now) const noexcept {
        return c.elapsed == 0 && c.index > index_of(now) + 1;
    }
    [[nodiscard]] std::int64_t healed(std::int64_t word, std::int64_t now) const noexcept {
        auto c = read(word, now);
        c.index = index_of(now);
        return pack(c);
    }

    // -- On the word of a key
    template <class Words>
    [[nodiscard]] bool admits(Words const& w, std::int64_t n, std::int64_t now) const noexcept {
        return n == 0 || fits(read(w.at(0), now), n);
    }
    template <class Words>
    void commit(Words const& w, std::int64_t n, std::int64_t now) const noexcept {
        auto c = read(w.at(0), now);
        c.current += n;
        w.set(0, pack(c));
    }
    template <class Words>
    [[nodiscard]] rate_decision describe(Words const& w, std::int64_t n, std::int64_t now, bool allowed) const noexcept {
        return describe(read(w.at(0), now), n, now, allowed);
    }
    template <class Words>
    [[nodiscard]] bool impossible(Words const& w, std::int64_t now) const noexcept {
        return stepped_back(read(w.at(0), now), now);
    }
    template <class Words>
    void heal(Words const& w, std::int64_t now) const noexcept {
        w.set(0, healed(w.at(0), now));
    }

    [[nodiscard]] static bool keyed() noexcept { return true; }
    template <class Words>
    [[nodiscard]] bool fresh(Words const& w, std::int64_t now) const noexcept {
        auto const c = read(w.at(0), now);
        return c.before == 0 && c.current == 0;
    }
    template <class Words>
    [[nodiscard]] std::int64_t rank(Words const& w, std::int64_t now) const noexcept {  // the last window with a call
        auto const c = read(w.at(0), now);
        return c.current > 0 ? c.index : c.index - 1;
    }
    [[nodiscard]] std::int64_t start(std::size_t, std::int64_t mark, std::int64_t now) const noexcept {
        return mark == rate_no_mark || mark < index_of(now) - 1 ? 0 : pack({mark, 0, limit_, 0});
    }
    [[nodiscard]] bool impossible_mark(std::int64_t mark, std::int64_t now) const noexcept { return mark > index_of(now) + 1; }
    [[nodiscard]] std::int64_t healed_mark(std::int64_t now) const noexcept { return index_of(now); }

private:
    static constexpr unsigned bits = 20;
    [[nodiscard]] bool ever(std::int64_t n) const noexcept { return n >= 0 && n <= limit_; }
    [[nodiscard]] std::int64_t index_of(std::int64_t now) const noexcept {
        return index_.floor(now);
    }
    // By how many windows `index` is later than the word; negative: earlier.
    [[nodiscard]] static std::int64_t newer_by(std::int64_t word, std::int64_t index) noexcept {
        auto const apart = static_cast<std::uint64_t>(index) - (static_cast<std::uint64_t>(word) >> (2 * bits));
        return static_cast<std::int64_t>(apart << (2 * bits)) >> (2 * bits);  // 24 bits and their sign
    }

    std::int64_t limit_ = 0;   // N
    std::int64_t window_ = 0;  // W, ns
    divisor index_{1};         // by it
};

inline rate_decision counter_rule::describe(counts const& c, std::int64_t n, std::int64_t now, bool allowed) const noexcept {
    using std::chrono::nanoseconds;
    auto const left = window_ - c.elapsed;
    // 0, unless the clock was set back.
    auto const until = [&](std::int64_t from_then) {
        __extension__ using wide = __int128;
        auto const t = static_cast<wide>(c.index) * window_ + c.elapsed - now + from_then;
        return nanoseconds{t > INT64_MAX ? INT64_MAX : static_cast<std::int64_t>(t)};
    };
    // How far into a window after one of `calls` calls all but `room` of them have gone.
    auto const gone = [&](std::int64_t calls, std::int64_t room) {
        return calls <= room ? 0
                             : window_ - static_cast<std::int64_t>(static_cast<rate_wide>(room) * static_cast<rate_wide>(window_) /
                                                                   static_cast<rate_wide>(calls));
    };
    rate_decision d{allowed, std::max(std::int64_t{0}, limit_ - estimate(c)), rate_decision::never, nanoseconds{0}};
    if (c.current > 0 || c.before > 0) {
        d.reset_after = until(c.current > 0 ? left + window_ : left);
    }
    if (!allowed && ever(n)) {
        auto const room = limit_ - n - c.current;
        d.retry_after = until(room >= 0 ? std::max(gone(c.before, room), c.elapsed) - c.elapsed : left + gone(c.current, limit_ - n));
    }
    return d;
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
