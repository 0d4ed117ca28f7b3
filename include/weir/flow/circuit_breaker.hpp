// weir (BSL-1.0). circuit_breaker: stops calling what fails, and finds out by a few probes when it is well again.
#ifndef WEIR_FLOW_CIRCUIT_BREAKER_HPP
#define WEIR_FLOW_CIRCUIT_BREAKER_HPP
#include <weir/base/clock.hpp>
#include <weir/base/expected.hpp>
#include <weir/base/hash.hpp>
#include <weir/base/metrics.hpp>
#include <weir/base/outcome.hpp>
#include <weir/data/stats.hpp>
#include <weir/flow/detail/breaker_mode.hpp>
#include <weir/flow/detail/breaker_word.hpp>

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

// When:     a service that others depend on can fail or hang, and calling it then costs time, or keeps it from recovering.
// When not: the callee says itself when to come again (weir::retry), or a call costs nothing.
// Source:   M. Nygard, "Release It!", 2007; windows and states as in resilience4j, generations as in sony/gobreaker. Ours: each
//           decision is one exchange of one word, with the number of the generation in it.
//
//     weir::circuit_breaker breaker{weir::consecutive_failures{.failures = 5}, {.open = 30s}};
//     auto answer = breaker.try_call([&] { return client.get(url); });     // or: acquire(), and tell the permit how it went
//
// Invariant: words follow each other by legal steps, and each transition adds one to the generation.
// Invariant: in a generation that is half open, probes issued less those taken back are at most `permits`.
// Invariant: only a permit of the word's generation changes it. A later one is counted (late_results) and does nothing.
// Invariant: while it is open, nothing is let through before the time in the word.
// There is nothing but the word to agree upon, so all orders are relaxed: a permit publishes nothing.
// Known limits: a permit that is kept over exactly k * 65536 transitions counts as one of the present. From 34 years after it was
// made on, open times are over at once.

namespace weir::inline v0 {

/// What is decided when a probe is over.
enum class probe_verdict : unsigned char {
    early,  // closes at required_successes, opens as soon as they cannot be reached any more
    full,   // waits for all probes, then compares the rates with those of the mode
};

/// What follows if probes are out for longer than half_open.timeout; found out by the next call that asks.
enum class probe_timeout : unsigned char {
    reopen,   // a hanging probe is a failed one
    reissue,  // as many new probes
    close,
};

struct half_open_options {
    unsigned permits = 1;             // probes that may be out at once, 1 to 1023
    unsigned required_successes = 0;  // to close, at most `permits`; 0: all of them
    probe_verdict verdict = probe_verdict::early;
    std::chrono::nanoseconds timeout =
        std::chrono::minutes{1};  // for a probe, >= 0; 0: none, then a lost probe keeps it half open
    probe_timeout on_timeout = probe_timeout::reopen;
};

struct circuit_breaker_options {
    std::chrono::nanoseconds open = std::chrono::minutes{1};  // before probes are let through, > 0, to 1 ms
    double open_multiplier = 1;  // each further trip makes it so many times longer, 1 to 1000
    std::chrono::nanoseconds max_open = std::chrono::hours{1};  // but no longer than this, >= open
    double open_jitter = 0;                                     // and so much of it longer or shorter by chance, [0, 1)
    // After so long a time closed the next trip counts as the first. None: max_open.
    std::optional<std::chrono::nanoseconds> backoff_reset_after{};
    bool reset_trips_on_close = false;  // or as soon as it closes
    half_open_options half_open{};
    std::optional<std::uint64_t> seed{};  // of the jitter; none: random
};

/// Why a breaker went from one state to another.
enum class breaker_reason : unsigned char {
    failures,  // too many calls failed, or were slow
    open_time_over,
    probes_succeeded,
    probes_failed,
    probes_timed_out,
    manual,
};

struct breaker_transition {
    breaker_state from;
    breaker_state to;
    std::uint16_t
        generation;  // that begins with it; transitions are told by several threads, and may come out of order
    breaker_reason reason;
};

/// Is told of transitions, after them, by the thread that made them; no lock is held.
template <class L>
concept breaker_listener = std::move_constructible<L> && requires(L& listener, breaker_transition const& t) {
    { listener.on_transition(t) }
    noexcept;
};

struct no_breaker_listener {
    void on_transition(breaker_transition const&) noexcept {}
};

struct circuit_breaker_stats {
    breaker_state state = breaker_state::closed;
    std::uint16_t generation = 0;  // transitions since the start, modulo 2^16
    unsigned trips = 0;            // in a row, at most 31
    std::uint32_t calls = 0;   // in the window, or of the probes; in a breaker without a window, consecutive failures
    std::uint32_t failed = 0;  // of these
    std::uint32_t slow = 0;    // of these
    double failure_rate = -1;  // percent of the calls; below min_calls: -1
    double slow_rate = -1;     // as above
    unsigned probes = 0;       // half open: issued and not taken back
    std::uint64_t not_permitted = 0;  // refused since the last transition, about
    std::uint64_t refused = 0;        // ever
    std::uint64_t late_results = 0;   // of permits of an earlier generation
    std::uint64_t opened = 0;         // times that it opened
    std::uint64_t thresholds = 0;     // times that it would have opened, had it not been metrics_only
};
// A template so that only who shows the numbers pays for the tuple.
template <std::same_as<circuit_breaker_stats> S>
inline constexpr auto stats_fields<S> = std::tuple{
    gauge_field("state", "0: closed, 1: open, 2: half open, 3: forced open, 4: disabled, 5: metrics only",
                [](S const& s) { return static_cast<unsigned>(s.state); }),
    gauge_field("trips", "trips in a row", &S::trips),
    gauge_field("window_calls", "calls that are looked at", &S::calls),
    gauge_field("window_failed", "of these, calls that failed", &S::failed),
    gauge_field("window_slow", "of these, calls that were slow", &S::slow),
    gauge_field("probes", "probes that are out", &S::probes),
    counter_field("refused", "calls refused", &S::refused),
    counter_field("late_results", "results that came after a transition", &S::late_results),
    counter_field("opened", "times that it opened", &S::opened),
    counter_field("thresholds", "times that it would have opened, while in metrics only", &S::thresholds)};

/// A circuit breaker.
/// Mode:     consecutive_failures, count_window or time_window: when it opens.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Progress: lock-free, all of it.
/// Memory:   300 to 650 bytes and the window: 4 bytes a call, or 2 KiB for 10 buckets; nothing is allocated later, but for the
///           counters of a thread's first refusals, see data/stats.hpp.
/// Lifetime: must outlive its permits, and calls under way.
template <breaker_mode Mode = consecutive_failures, clock_source Clock = std::chrono::steady_clock,
          breaker_listener Listener = no_breaker_listener>
class circuit_breaker {
    using word = detail::breaker_word;
    using state = breaker_state;
    static constexpr bool has_window = Mode::has_window;

public:
    using mode_type = Mode;
    using options = circuit_breaker_options;
    class permit;
    template <class Verdict>
    class policy_type;

    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit circuit_breaker(Mode mode = {}, options o = {}, Clock clock = {}, Listener listener = {});
    circuit_breaker(circuit_breaker const&) = delete;
    circuit_breaker& operator=(circuit_breaker const&) = delete;

    /// Lets a call through, or says why not. The permit must be told how the call went.
    /// Cost: closed: one load, and a look at the clock if slow calls are counted. Refused: a look at the clock, a counter.
    [[nodiscard]] expected<permit, rejected> acquire() noexcept;

    /// Calls f(args...) if it may. What f throws is in the outcome; default_verdict says what that shows, guard() takes another.
    template <class F, class... Args>
    [[nodiscard]] auto try_call(F&& f, Args&&... args) {
        return guard(default_verdict{}, [&] { return outcome_of(std::forward<F>(f), std::forward<Args>(args)...); });
    }
    /// The same, and what f returns. What f throws is a failure, but for a rejected_error, which default_verdict judges.
    /// Throws: what f throws; rejected_error if it was not called.
    template <class F, class... Args>
    decltype(auto) call(F&& f, Args&&... args);
    /// next(), which gives an outcome, if it may; what that shows is for judge(outcome) to say.
    template <class Verdict, class Next>
    [[nodiscard]] auto guard(Verdict const& judge, Next&& next) -> std::invoke_result_t<Next>;

    /// For a pipeline. The breaker must outlive it.
    template <class Verdict = default_verdict>
    [[nodiscard]] auto policy(Verdict judge = {}) noexcept;

    // -- Questions: change nothing.
    [[nodiscard]] breaker_state current() const noexcept { return load().state(); }
    /// Whether acquire() would let a call through now.
    [[nodiscard]] bool would_admit() const noexcept;
    /// Cost: for a window of time, all of it is summed up.
    [[nodiscard]] circuit_breaker_stats stats() const noexcept;

    // -- By hand. Each begins a new generation.
    void trip() noexcept;                                // open, as if calls had failed
    void trip_for(std::chrono::nanoseconds d) noexcept;  // open, for d
    void reset() noexcept;                               // closed, with no trips and an empty window
    void force_open() noexcept;
    void disable() noexcept;
    void metrics_only() noexcept;
    /// Lets probes through at once. False, and nothing happens, if it is not open.
    bool half_open() noexcept;

private:
    using window_type = typename Mode::window_type;

    // What acquire() answers, in two registers.
    struct answer {
        std::int64_t ns;           // admitted: now; else when to come again
        std::uint16_t generation;  // if admitted
        refusal why;               // if not
        bool admitted;
    };

    [[nodiscard]] std::int64_t now() const noexcept {
        auto const past = saturating_between(epoch_, clock_.now()).count();
        return past < 0 ? 0 : past > detail::breaker_now_max ? detail::breaker_now_max : past;
    }
    [[nodiscard]] word load() const noexcept {
        return word{word_.load(std::memory_order_relaxed)};  // relaxed: nothing else is read because of it
    }
    bool change(word& seen, word next) noexcept;
    bool transition(word& seen, word next, breaker_reason why, std::int64_t time) noexcept;
    void move_to(breaker_state to, unsigned trips_kept) noexcept;
    bool open(word& seen, breaker_reason why, std::int64_t time,
              std::optional<std::chrono::nanoseconds> d = {}) noexcept;
    [[nodiscard]] std::chrono::nanoseconds open_time(unsigned trips, std::uint16_t generation) const noexcept;
    [[nodiscard]] std::int64_t entered(word w, std::int64_t time) noexcept;
    [[nodiscard]] bool probes_expired(word w, std::int64_t time) const noexcept;
    [[nodiscard]] unsigned successes_needed() const noexcept;
    [[nodiscard]] word closed_after(word probes) const noexcept;
    [[nodiscard]] std::int64_t left_open(word seen) const noexcept;
    [[nodiscard]] answer refuse(refusal why, std::int64_t retry_after) noexcept;
    [[nodiscard, gnu::noinline]] answer acquire_slowly(word seen) noexcept;
    void report(std::uint16_t generation, std::int64_t start, verdict v) noexcept;
    [[gnu::noinline]] void report_to(word seen, std::uint16_t generation, std::int64_t start, verdict v) noexcept;
    [[gnu::noinline]] void report_closed(word seen, bool failed, std::int64_t start) noexcept;
    void report_probe(word seen, verdict v, std::int64_t start) noexcept;
    void report_metrics(word seen, bool failed, std::int64_t start) noexcept;

    std::atomic<std::uint64_t> word_{0};     // any thread: what stands
    std::atomic<std::uint64_t> entered_{0};  // any thread: when closed or half open began; behind the word for a moment
    std::atomic<std::uint64_t> not_permitted_base_{0};  // any thread: refused_ at the last transition
    options options_;
    std::int64_t reset_after_;
    std::uint64_t seed_;
    [[no_unique_address]] Clock clock_;
    time_point_of<Clock> epoch_;
    [[no_unique_address]] Listener listener_;
    Mode mode_;
    [[no_unique_address]] window_type window_;
    counter refused_;
    counter late_;
    counter opened_;
    counter thresholds_;
};

/// Leave to make one call. Tell it how the call went; if it goes without, that was no result, or, while an exception is under way
/// in its thread, a failure.
template <breaker_mode Mode, clock_source Clock, breaker_listener Listener>
class circuit_breaker<Mode, Clock, Listener>::permit {
public:
    permit(permit&& other) noexcept
        : breaker_(std::exchange(other.breaker_, nullptr)), start_(other.start_), generation_(other.generation_) {}
    permit& operator=(permit&& other) noexcept {
        permit(std::move(other)).swap(*this);
        return *this;
    }
    ~permit() {
        if (breaker_ != nullptr) {
            report(std::uncaught_exceptions() > 0 ? verdict::failure : verdict::ignore);
        }
    }

    /// How the call went; the first time counts.
    void report(verdict v) noexcept {
        if (auto* const breaker = std::exchange(breaker_, nullptr)) {
            breaker->report(generation_, start_, v);
        }
    }
    void success() noexcept { report(verdict::success); }
    void failure() noexcept { report(verdict::failure); }
    void ignore() noexcept { report(verdict::ignore); }

    void swap(permit& other) noexcept {
        std::swap(breaker_, other.breaker_);
        std::swap(start_, other.start_);
        std::swap(generation_, other.generation_);
    }

private:
    friend circuit_breaker;
    permit(circuit_breaker& breaker, std::uint16_t generation, std::int64_t start) noexcept
        : breaker_(&breaker), start_(start), generation_(generation) {}

    circuit_breaker* breaker_;  // none: has reported, or was moved from
    std::int64_t start_;        // ns since the breaker was made; only if slow calls are counted
    std::uint16_t generation_;
};

}  // namespace weir::inline v0

#include <weir/flow/detail/breaker_bodies.hpp>

#endif
