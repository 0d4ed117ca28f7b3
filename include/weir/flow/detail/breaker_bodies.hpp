// weir (BSL-1.0). breaker_bodies: what the members of circuit_breaker do.
#ifndef WEIR_FLOW_DETAIL_BREAKER_BODIES_HPP
#define WEIR_FLOW_DETAIL_BREAKER_BODIES_HPP
#include <weir/base/hash.hpp>
#include <weir/flow/circuit_breaker.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

// All orders are relaxed, see circuit_breaker.hpp: each decision is made on one word, and nothing else is read because of it.

namespace weir::inline v0 {

namespace detail {

inline constexpr std::int64_t breaker_tick = 1'000'000;  // ns in the ms that times are kept in

// Rounded up, so that nothing is early.
[[nodiscard]] constexpr std::uint64_t breaker_ms(std::int64_t ns) noexcept {
    return static_cast<std::uint64_t>(ns / breaker_tick + (ns % breaker_tick != 0 ? 1 : 0));
}

inline circuit_breaker_options checked_breaker(circuit_breaker_options o) {
    auto const need = [](bool good, char const* what) {
        if (!good) {
            throw std::invalid_argument{what};
        }
    };
    auto const time = [](std::chrono::nanoseconds d) { return d.count() > 0 && d <= breaker_time_max; };
    auto const& h = o.half_open;
    need(time(o.open), "weir::circuit_breaker: open must be in (0, 2^60] ns");
    need(o.open_multiplier >= 1 && o.open_multiplier <= 1000,
         "weir::circuit_breaker: open_multiplier must be in [1, 1000]");
    need(time(o.max_open) && o.max_open >= o.open,
         "weir::circuit_breaker: max_open must be >= open, and at most 2^60 ns");
    need(o.open_jitter >= 0 && o.open_jitter < 1, "weir::circuit_breaker: open_jitter must be in [0, 1)");
    need(!o.backoff_reset_after || time(*o.backoff_reset_after),
         "weir::circuit_breaker: backoff_reset_after must be in (0, 2^60] ns");
    need(h.permits >= 1 && h.permits <= breaker_word::probes_max,
         "weir::circuit_breaker: half_open.permits must be in [1, 1023]");
    need(h.required_successes <= h.permits,
         "weir::circuit_breaker: half_open.required_successes must be at most permits");
    need(h.timeout.count() >= 0 && h.timeout <= breaker_time_max,
         "weir::circuit_breaker: half_open.timeout must be in [0, 2^60] ns");
    need(h.verdict == probe_verdict::early || h.verdict == probe_verdict::full,
         "weir::circuit_breaker: half_open.verdict is unknown");
    need(h.on_timeout == probe_timeout::reopen || h.on_timeout == probe_timeout::reissue ||
             h.on_timeout == probe_timeout::close,
         "weir::circuit_breaker: half_open.on_timeout is unknown");
    return o;
}

template <class Mode>
Mode checked_mode(Mode mode) {
    mode.check();
    return mode;
}

}  // namespace detail

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
circuit_breaker<Mode, Clock, Listener>::circuit_breaker(Mode mode, options o, Clock clock, Listener listener)
    : options_(detail::checked_breaker(o)),
      reset_after_(o.backoff_reset_after.value_or(o.max_open).count()),
      seed_(o.seed              ? *o.seed
            : o.open_jitter > 0 ? random_seed()
                                : 0),
      clock_(std::move(clock)),
      epoch_(clock_.now()),
      listener_(std::move(listener)),
      mode_(detail::checked_mode(mode)),
      window_(mode_) {}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
auto circuit_breaker<Mode, Clock, Listener>::acquire() noexcept -> expected<permit, rejected> {
    auto const seen = load();
    if (seen.state() == state::closed) [[likely]] {
        std::int64_t start = 0;
        if constexpr (has_window) {
            start = mode_.rates.counts_slow() ? now() : 0;
        }
        return permit{*this, seen.generation(), start};
    }
    if (auto const left = left_open(seen); left != 0) {
        refused_.add();
        return unexpected{rejected{refusal::breaker_open, std::chrono::nanoseconds{left}}};
    }
    auto const a = acquire_slowly(seen);
    if (a.admitted) [[likely]] {
        return permit{*this, a.generation, a.ns};
    }
    return unexpected{rejected{a.why, std::chrono::nanoseconds{a.ns}}};
}

// How long it is still open, in ns; 0: it is not, or the clock stands before the time when it was made.
template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
std::int64_t circuit_breaker<Mode, Clock, Listener>::left_open(word seen) const noexcept {
    if (seen.state() != state::open) {
        return 0;
    }
    auto const past = saturating_between(epoch_, clock_.now()).count();
    auto const end = static_cast<std::int64_t>(seen.payload()) * detail::breaker_tick;
    return static_cast<std::uint64_t>(past) < static_cast<std::uint64_t>(end) ? end - past : 0;
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
auto circuit_breaker<Mode, Clock, Listener>::acquire_slowly(word seen) noexcept -> answer {
    for (;;) {
        auto const time = now();  // not before `seen`: entered() tells it as the time of the generation
        auto const admit = [time](word w) { return answer{time, w.generation(), refusal{}, true}; };
        switch (seen.state()) {
            case state::closed:
            case state::disabled:
            case state::metrics_only:
                return admit(seen);
            case state::forced_open:
                return refuse(refusal::breaker_forced_open, -1);
            case state::open: {
                auto const left = static_cast<std::int64_t>(seen.payload()) * detail::breaker_tick - time;
                if (left > 0) {
                    return refuse(refusal::breaker_open, left);
                }
                auto const next = seen.next(state::half_open, seen.trips(), 0).issue();
                if (transition(seen, next, breaker_reason::open_time_over, time)) {
                    return admit(next);
                }
                break;
            }
            case state::half_open: {
                if (seen.issued() < options_.half_open.permits) {
                    if (change(seen, seen.issue())) {
                        return admit(seen);
                    }
                    break;
                }
                auto const limit = options_.half_open.timeout.count();
                if (limit == 0) {
                    return refuse(refusal::breaker_half_open, -1);
                }
                auto const left = entered(seen, time) + limit - time;
                if (left > 0) {
                    return refuse(refusal::breaker_half_open, left);
                }
                if (options_.half_open.on_timeout == probe_timeout::reopen) {
                    open(seen, breaker_reason::probes_timed_out, time);
                } else if (options_.half_open.on_timeout == probe_timeout::close) {
                    transition(seen, closed_after(seen), breaker_reason::probes_timed_out, time);
                } else {
                    transition(seen, seen.next(state::half_open, seen.trips(), 0), breaker_reason::probes_timed_out,
                               time);
                }
                break;
            }
        }
    }
}

// -- Changes of the word. `seen` is then what stands: the new word, or another thread's.

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
bool circuit_breaker<Mode, Clock, Listener>::change(word& seen, word next) noexcept {
    auto bits = seen.bits();
    bool const done =
        word_.compare_exchange_strong(bits, next.bits(), std::memory_order_relaxed);  // relaxed: see above
    seen = done ? next : word{bits};
    return done;
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
bool circuit_breaker<Mode, Clock, Listener>::transition(word& seen, word next, breaker_reason why,
                                                        std::int64_t time) noexcept {
    auto const from = seen.state();
    if (!change(seen, next)) {
        return false;
    }
    static_cast<void>(entered(next, time));
    if constexpr (has_window) {
        // While it is open, what has opened it can still be seen.
        bool const over = next.state() == state::open || next.state() == state::forced_open;
        window_.enter(static_cast<std::uint16_t>(next.generation() - (over ? 1 : 0)));
    }
    not_permitted_base_.store(refused_.value(), std::memory_order_relaxed);  // relaxed: a number
    if (next.state() == state::open) {
        opened_.add();
    }
    listener_.on_transition({from, next.state(), next.generation(), why});
    return true;
}

// When the generation of w began, in ns. The winner of a transition says so a little after it; who comes earlier does it for it.
template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
std::int64_t circuit_breaker<Mode, Clock, Listener>::entered(word w, std::int64_t time) noexcept {
    using detail::breaker_moment;
    breaker_moment const mine{w.generation(), detail::breaker_ms(time)};
    auto bits = entered_.load(std::memory_order_relaxed);  // relaxed: see above
    while (breaker_moment{bits}.before(w.generation())) {
        if (entered_.compare_exchange_weak(bits, mine.bits(), std::memory_order_relaxed)) {  // relaxed: see above
            bits = mine.bits();
        }
    }
    // Of a later generation: then w no longer stands, and nothing that follows from the answer will be done.
    return static_cast<std::int64_t>(breaker_moment{bits}.ms()) * detail::breaker_tick;
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
std::chrono::nanoseconds circuit_breaker<Mode, Clock, Listener>::open_time(unsigned trips,
                                                                           std::uint16_t generation) const noexcept {
    auto const most = static_cast<double>(options_.max_open.count());
    auto time = static_cast<double>(options_.open.count());
    for (unsigned i = 1; i < trips && time < most; ++i) {
        time *= options_.open_multiplier;
    }
    time = std::min(time, most);
    if (options_.open_jitter > 0) {
        auto const chance = static_cast<double>(detail::splitmix64(seed_, generation) >> 11) * 0x1p-53;  // [0, 1)
        time = std::min(most, time * (1 + options_.open_jitter * (2 * chance - 1)));
    }
    return std::chrono::nanoseconds{static_cast<std::int64_t>(std::max(1.0, time))};
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
bool circuit_breaker<Mode, Clock, Listener>::open(word& seen, breaker_reason why, std::int64_t time,
                                                  std::optional<std::chrono::nanoseconds> d) noexcept {
    auto trips = seen.trips();
    if (seen.state() == state::closed && time - entered(seen, time) >= reset_after_) {
        trips = 0;  // it has been well for long enough
    }
    trips = std::min(trips + 1, word::trips_max);
    auto const length = d ? *d : open_time(trips, static_cast<std::uint16_t>(seen.generation() + 1));
    auto const end = detail::breaker_ms(length.count() > INT64_MAX - time ? INT64_MAX : time + length.count());
    return transition(seen, seen.next(state::open, trips, end), why, time);
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
auto circuit_breaker<Mode, Clock, Listener>::refuse(refusal why, std::int64_t retry_after) noexcept -> answer {
    refused_.add();
    return {retry_after, 0, why, false};
}

// -- Results

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::report(std::uint16_t generation, std::int64_t start, verdict v) noexcept {
    auto const seen = load();
    if (v == verdict::success && seen.closed_and_well(generation)) [[likely]] {
        if constexpr (has_window) {
            report_closed(seen, false, start);
        }
        return;
    }
    report_to(seen, generation, start, v);
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::report_to(word seen, std::uint16_t generation, std::int64_t start,
                                                       verdict v) noexcept {
    if (seen.generation() != generation) {
        late_.add();
        return;
    }
    switch (seen.state()) {
        case state::closed:
            if (v != verdict::ignore) {
                report_closed(seen, v == verdict::failure, start);
            }
            break;
        case state::half_open:
            report_probe(seen, v, start);
            break;
        case state::metrics_only:
            if (v != verdict::ignore) {
                report_metrics(seen, v == verdict::failure, start);
            }
            break;
        case state::open:
        case state::forced_open:
        case state::disabled:
            break;
    }
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::report_closed(word seen, bool failed, std::int64_t start) noexcept {
    auto const generation = seen.generation();
    if constexpr (has_window) {
        auto const time = std::is_same_v<Mode, time_window> || mode_.rates.counts_slow() ? now() : 0;
        bool const slow = mode_.rates.counts_slow() && time - start > mode_.rates.slow_call.count();
        if (window_.record(generation, time, failed, slow, mode_.rates)) {
            open(seen, breaker_reason::failures, now());  // fails only if another thread has made a transition
        }
    } else {
        static_cast<void>(start);
        while (seen.generation() == generation) {
            auto const failures = failed ? seen.failures() + 1 : 0;
            if (failures == seen.failures()) {
                return;
            }
            if (failures >= mode_.failures ? open(seen, breaker_reason::failures, now())
                                           : change(seen, seen.with_failures(failures))) {
                return;
            }
        }
        late_.add();
    }
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
unsigned circuit_breaker<Mode, Clock, Listener>::successes_needed() const noexcept {
    auto const& h = options_.half_open;
    return h.required_successes == 0 ? h.permits : h.required_successes;
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
auto circuit_breaker<Mode, Clock, Listener>::closed_after(word probes) const noexcept -> word {
    return probes.next(state::closed, options_.reset_trips_on_close ? 0 : probes.trips(), 0);
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::report_probe(word seen, verdict v, std::int64_t start) noexcept {
    auto const generation = seen.generation();
    auto const time = now();
    auto const permits = options_.half_open.permits;
    auto const failures_left = permits - successes_needed();
    bool slow = false;
    if constexpr (has_window) {
        slow = mode_.rates.counts_slow() && time - start > mode_.rates.slow_call.count();
    }
    while (seen.generation() == generation) {
        if (v == verdict::ignore) {
            if (change(seen, seen.take_back())) {
                return;
            }
            continue;
        }
        auto const next = seen.count(v == verdict::failure, slow);
        bool well = next.succeeded() >= successes_needed();
        bool ill = next.failed() > failures_left;
        if (options_.half_open.verdict == probe_verdict::full) {
            bool const all = next.succeeded() + next.failed() >= permits;
            if constexpr (has_window) {
                ill = mode_.rates.exceeded(permits, next.failed(), next.slow());
            }
            well = all && !ill;
            ill = all && ill;
        }
        bool const done = ill    ? open(seen, breaker_reason::probes_failed, time)
                          : well ? transition(seen, closed_after(seen), breaker_reason::probes_succeeded, time)
                                 : change(seen, next);
        if (done) {
            return;
        }
    }
    late_.add();
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::report_metrics(word seen, bool failed, std::int64_t start) noexcept {
    auto const generation = seen.generation();
    bool passed = false;
    if constexpr (has_window) {
        auto const time = now();
        bool const slow = mode_.rates.counts_slow() && time - start > mode_.rates.slow_call.count();
        passed = window_.record(generation, time, failed, slow, mode_.rates);
    } else {
        static_cast<void>(start);
    }
    while (seen.generation() == generation) {
        auto next = seen;
        if constexpr (!has_window) {
            next = seen.with_failures(failed ? seen.failures() + 1 : 0);
            passed = next.failures() >= mode_.failures;
        }
        next = passed ? next.pass() : next;
        bool const first = next.passed() && !seen.passed();
        if (next == seen || change(seen, next)) {
            if (first) {
                thresholds_.add();
            }
            return;
        }
    }
    if constexpr (!has_window) {
        late_.add();
    }
}

// -- By hand

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::move_to(breaker_state to, unsigned trips_kept) noexcept {
    auto seen = load();
    while (!transition(seen, seen.next(to, std::min(trips_kept, seen.trips()), 0), breaker_reason::manual, now())) {
    }
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::trip() noexcept {
    auto seen = load();
    while (!open(seen, breaker_reason::manual, now())) {
    }
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::trip_for(std::chrono::nanoseconds d) noexcept {
    auto seen = load();
    while (!open(seen, breaker_reason::manual, now(), std::max(d, std::chrono::nanoseconds{0}))) {
    }
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::reset() noexcept {
    move_to(state::closed, 0);
}
template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::force_open() noexcept {
    move_to(state::forced_open, detail::breaker_word::trips_max);
}
template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::disable() noexcept {
    move_to(state::disabled, detail::breaker_word::trips_max);
}
template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
void circuit_breaker<Mode, Clock, Listener>::metrics_only() noexcept {
    move_to(state::metrics_only, detail::breaker_word::trips_max);
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
bool circuit_breaker<Mode, Clock, Listener>::half_open() noexcept {
    auto seen = load();
    while (seen.state() == state::open) {
        if (transition(seen, seen.next(state::half_open, seen.trips(), 0), breaker_reason::manual, now())) {
            return true;
        }
    }
    return false;
}

// -- Questions

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
bool circuit_breaker<Mode, Clock, Listener>::would_admit() const noexcept {
    auto const seen = load();
    switch (seen.state()) {
        case state::closed:
        case state::disabled:
        case state::metrics_only:
            return true;
        case state::forced_open:
            return false;
        case state::open:
            return now() >= static_cast<std::int64_t>(seen.payload()) * detail::breaker_tick;
        case state::half_open:
            break;
    }
    auto const& h = options_.half_open;
    return seen.issued() < h.permits ||
           (h.on_timeout != probe_timeout::reopen && h.timeout.count() != 0 && probes_expired(seen, now()));
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
bool circuit_breaker<Mode, Clock, Listener>::probes_expired(word w, std::int64_t time) const noexcept {
    detail::breaker_moment const began{entered_.load(std::memory_order_relaxed)};  // relaxed: see above
    return began.generation() == w.generation() &&
           time >= static_cast<std::int64_t>(began.ms()) * detail::breaker_tick + options_.half_open.timeout.count();
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
circuit_breaker_stats circuit_breaker<Mode, Clock, Listener>::stats() const noexcept {
    auto const seen = load();
    circuit_breaker_stats s;
    s.state = seen.state();
    s.generation = seen.generation();
    s.trips = seen.trips();
    if (s.state == state::half_open) {
        s.calls = seen.succeeded() + seen.failed();
        s.failed = seen.failed();
        s.slow = seen.slow();
        s.probes = seen.issued();
    } else if constexpr (has_window) {
        // What has opened it is still to be seen while it is open.
        bool const over = s.state == state::open || s.state == state::forced_open;
        auto const in = static_cast<std::uint16_t>(over ? seen.generation() - 1 : seen.generation());
        auto const sums = window_.read(in, now());
        s.calls = sums.total;
        s.failed = sums.failed;
        s.slow = sums.slow;
        if (s.calls >= mode_.rates.min_calls) {
            s.failure_rate = 100.0 * s.failed / s.calls;
            s.slow_rate = 100.0 * s.slow / s.calls;
        }
    } else if (s.state == state::closed || s.state == state::metrics_only) {
        s.calls = s.failed = static_cast<std::uint32_t>(seen.failures());
    }
    s.refused = refused_.value();
    s.not_permitted =
        s.refused - std::min(s.refused, not_permitted_base_.load(std::memory_order_relaxed));  // relaxed: a number
    s.late_results = late_.value();
    s.opened = opened_.value();
    s.thresholds = thresholds_.value();
    return s;
}

// -- Calls

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
template <class Verdict, class Next>
auto circuit_breaker<Mode, Clock, Listener>::guard(Verdict const& judge, Next&& next) -> std::invoke_result_t<Next> {
    auto leave = acquire();
    if (!leave.has_value()) {
        return unexpected<failure>{failure{leave.error()}};
    }
    auto result = std::forward<Next>(next)();
    leave->report(judge(result));
    return result;
}

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
template <class F, class... Args>
decltype(auto) circuit_breaker<Mode, Clock, Listener>::call(F&& f, Args&&... args) {
    auto leave = acquire();
    if (!leave.has_value()) {
        throw rejected_error{leave.error()};
    }
    // Any other exception leaves by the permit's destructor, which counts it as a failure.
    try {
        if constexpr (std::is_void_v<std::invoke_result_t<F, Args...>>) {
            std::forward<F>(f)(std::forward<Args>(args)...);
            leave->success();
        } else {
            decltype(auto) result = std::forward<F>(f)(std::forward<Args>(args)...);
            leave->success();
            if constexpr (std::is_reference_v<decltype(result)>) {
                return static_cast<decltype(result)>(result);
            } else {
                return result;
            }
        }
    } catch (rejected_error const& e) {
        leave->report(default_verdict{}(outcome<void>{unexpected<failure>{failure{e.why()}}}));
        throw;
    }
}

/// A breaker as a layer of a pipeline.
template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
template <class Verdict>
class circuit_breaker<Mode, Clock, Listener>::policy_type {
public:
    using is_policy = void;
    explicit policy_type(circuit_breaker& breaker, Verdict judge) noexcept
        : breaker_(&breaker), judge_(std::move(judge)) {}

    template <class Context, class Next>
    auto operator()(Context& context, Next&& next) const {
        auto const judge = [&](auto const& o) noexcept {
            auto const v = judge_(o);
            return v == verdict::success && context.late ? verdict::failure : v;  // a value that came too late
        };
        return breaker_->guard(judge, [&] { return next(context); });
    }

private:
    circuit_breaker* breaker_;
    [[no_unique_address]] Verdict judge_;
};

template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
template <class Verdict>
auto circuit_breaker<Mode, Clock, Listener>::policy(Verdict judge) noexcept {
    return policy_type<Verdict>{*this, std::move(judge)};
}

}  // namespace weir::inline v0
#endif
