// weir (BSL-1.0). Tests of circuit_breaker: each promise, a model that keeps every call, and many threads.
#include <weir/base/call_context.hpp>
#include <weir/flow/circuit_breaker.hpp>
#include <weir/with/prometheus.hpp>

#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using weir::breaker_reason;
using weir::breaker_state;
using weir::breaker_transition;
using weir::circuit_breaker_options;
using weir::consecutive_failures;
using weir::count_window;
using weir::half_open_options;
using weir::manual_clock;
using weir::probe_timeout;
using weir::probe_verdict;
using weir::refusal;
using weir::rejected;
using weir::time_window;
using weir::verdict;

using transitions = std::vector<breaker_transition>;

/// Writes down what it is told. Copies write into the same list.
struct recorder {
    struct list {
        std::mutex mutex;
        transitions all;
    };
    std::shared_ptr<list> told = std::make_shared<list>();

    void on_transition(breaker_transition const& t) const noexcept {
        const std::lock_guard hold(told->mutex);
        told->all.push_back(t);
    }
    [[nodiscard]] transitions all() const {
        const std::lock_guard hold(told->mutex);
        return told->all;
    }
};

/// A breaker with a clock that the test moves, and a list of its transitions.
template <class Mode = consecutive_failures>
struct rig {
    using breaker_type = weir::circuit_breaker<Mode, manual_clock, recorder>;
    using permit = typename breaker_type::permit;

    manual_clock clock;
    manual_clock::time_point start = clock.now();
    recorder told;
    breaker_type breaker;

    explicit rig(Mode mode = {}, circuit_breaker_options o = {}) : breaker(mode, o, clock, told) {}

    void at(nanoseconds t) const { clock.set(start + t); }
    /// Makes a call that takes no time; whether it went through.
    bool call(verdict v = verdict::success, nanoseconds takes = 0ns) {
        auto p = breaker.acquire();
        if (p.has_value()) {
            clock.advance(takes);
            p->report(v);
        }
        return p.has_value();
    }
    bool fail() { return call(verdict::failure); }
    void fail(int times) {
        for (int i = 0; i < times; ++i) {
            EXPECT_TRUE(fail());
        }
    }
    [[nodiscard]] permit must_acquire() { return std::move(breaker.acquire().value()); }
    [[nodiscard]] std::optional<rejected> refused() {
        auto p = breaker.acquire();
        return p.has_value() ? std::nullopt : std::optional{p.error()};
    }
    [[nodiscard]] breaker_state state() const { return breaker.current(); }
};

std::string name_of(breaker_state s) {
    constexpr std::array names{"closed", "open", "half_open", "forced_open", "disabled", "metrics_only"};
    return names[static_cast<std::size_t>(s)];
}
std::string name_of(breaker_transition const& t) {
    return std::to_string(t.generation) + ": " + name_of(t.from) + " -> " + name_of(t.to) + " (" +
           std::to_string(static_cast<int>(t.reason)) + ")";
}
bool same(breaker_transition const& a, breaker_transition const& b) {
    return a.from == b.from && a.to == b.to && a.generation == b.generation && a.reason == b.reason;
}

// -- As in the README

TEST(circuit_breaker, opens_after_failures_in_a_row_and_closes_after_a_good_probe) {
    manual_clock clock;
    weir::circuit_breaker<consecutive_failures, manual_clock> breaker{{.failures = 2}, {.open = 30s}, clock};
    int calls = 0;
    bool down = true;
    auto const client = [&] {
        ++calls;
        if (down) {
            throw std::runtime_error("no answer");
        }
        return std::string("200");
    };

    EXPECT_TRUE(breaker.try_call(client).error().exception() != nullptr);
    EXPECT_TRUE(breaker.try_call(client).error().exception() != nullptr);
    auto const refused = breaker.try_call(client);
    ASSERT_TRUE(refused.error().is_rejection());
    EXPECT_EQ(refused.error().rejection(), (rejected{refusal::breaker_open, 30s}));
    EXPECT_EQ(calls, 2);

    clock.advance(30s);
    down = false;
    EXPECT_EQ(breaker.try_call(client).value(), "200");
    EXPECT_EQ(breaker.current(), breaker_state::closed);
}

TEST(circuit_breaker, takes_no_options_and_then_goes_by_the_steady_clock) {
    weir::circuit_breaker breaker;
    static_assert(
        std::is_same_v<decltype(breaker), weir::circuit_breaker<consecutive_failures, std::chrono::steady_clock>>);
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(breaker.current(), breaker_state::closed);
        breaker.acquire()->failure();
    }
    auto const refused = breaker.acquire();
    ASSERT_FALSE(refused.has_value());
    EXPECT_GT(refused.error().retry_after, 0ns);
    EXPECT_LE(refused.error().retry_after, 1min + 1ms);
}

// -- Options

template <class Mode>
void expect_refused(Mode mode, circuit_breaker_options const& o, std::string const& option) {
    try {
        weir::circuit_breaker<Mode, manual_clock> const breaker{mode, o};
        ADD_FAILURE() << option << " was let through";
    } catch (std::invalid_argument const& e) {
        EXPECT_EQ(std::string(e.what()).rfind("weir::circuit_breaker: " + option + " ", 0), 0U) << e.what();
    }
}
template <class Mode>
void expect_taken(Mode mode, circuit_breaker_options const& o) {
    EXPECT_NO_THROW((weir::circuit_breaker<Mode, manual_clock>{mode, o}));
}
// Sets one option to each value in turn.
template <class Set, class... Values>
void expect_refused_all(std::string const& option, Set const& set, Values... values) {
    (
        [&] {
            circuit_breaker_options o;
            set(o, values);
            expect_refused(consecutive_failures{}, o, option);
        }(),
        ...);
}
template <class Set, class... Values>
void expect_taken_all(Set const& set, Values... values) {
    (
        [&] {
            circuit_breaker_options o;
            set(o, values);
            expect_taken(consecutive_failures{}, o);
        }(),
        ...);
}

constexpr nanoseconds longest{std::int64_t{1} << 60};
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinite = std::numeric_limits<double>::infinity();

TEST(circuit_breaker, refuses_times_that_make_no_sense_by_their_names) {
    auto const open = [](auto& o, nanoseconds v) {
        o.open = v;
        o.max_open = std::max(v, nanoseconds{1h});
    };
    expect_refused_all("open", open, 0ns, -1ns, nanoseconds::min(), longest + 1ns, nanoseconds::max());
    expect_taken_all(open, 1ns, longest);

    auto const max_open = [](auto& o, nanoseconds v) { o.max_open = v; };
    expect_refused_all("max_open", max_open, 0ns, -1ns, 1min - 1ns, longest + 1ns, nanoseconds::max());
    expect_taken_all(max_open, nanoseconds{1min}, longest);

    auto const reset = [](auto& o, nanoseconds v) { o.backoff_reset_after = v; };
    expect_refused_all("backoff_reset_after", reset, 0ns, -1ns, nanoseconds::min(), longest + 1ns, nanoseconds::max());
    expect_taken_all(reset, 1ns, longest);

    auto const timeout = [](auto& o, nanoseconds v) { o.half_open.timeout = v; };
    expect_refused_all("half_open.timeout", timeout, -1ns, nanoseconds::min(), longest + 1ns, nanoseconds::max());
    expect_taken_all(timeout, 0ns, 1ns, longest);
}

TEST(circuit_breaker, refuses_numbers_that_make_no_sense_by_their_names) {
    auto const multiplier = [](auto& o, double v) { o.open_multiplier = v; };
    expect_refused_all("open_multiplier", multiplier, 0.0, -1.0, 0.999, 1000.001, infinite, -infinite, nan_value,
                       std::numeric_limits<double>::max());
    expect_taken_all(multiplier, 1.0, 1000.0);

    auto const jitter = [](auto& o, double v) { o.open_jitter = v; };
    expect_refused_all("open_jitter", jitter, -0.001, 1.0, infinite, -infinite, nan_value);
    expect_taken_all(jitter, 0.0, 0.999);

    auto const permits = [](auto& o, unsigned v) { o.half_open.permits = v; };
    expect_refused_all("half_open.permits", permits, 0U, 1024U, std::numeric_limits<unsigned>::max());
    expect_taken_all(permits, 1U, 1023U);

    auto const required = [](auto& o, unsigned v) {
        o.half_open.permits = 3;
        o.half_open.required_successes = v;
    };
    expect_refused_all("half_open.required_successes", required, 4U, std::numeric_limits<unsigned>::max());
    expect_taken_all(required, 0U, 1U, 3U);

    expect_refused_all(
        "half_open.verdict", [](auto& o, int v) { o.half_open.verdict = static_cast<probe_verdict>(v); }, 2, 255);
    expect_refused_all(
        "half_open.on_timeout", [](auto& o, int v) { o.half_open.on_timeout = static_cast<probe_timeout>(v); }, 3, 255);
    expect_taken_all([](auto& o, std::uint64_t v) { o.seed = v; }, std::uint64_t{0}, ~std::uint64_t{0});
}

TEST(circuit_breaker, refuses_modes_that_make_no_sense_by_their_names) {
    constexpr auto most = std::numeric_limits<unsigned>::max();
    expect_refused(consecutive_failures{0}, {}, "failures");
    expect_taken(consecutive_failures{1}, {});
    expect_taken(consecutive_failures{most}, {});

    for (std::size_t const calls : {std::size_t{0}, std::size_t{8193}, std::numeric_limits<std::size_t>::max()}) {
        expect_refused(count_window{.calls = calls, .rates = {.min_calls = 1}}, {}, "calls");
    }
    expect_taken(count_window{.calls = 1, .rates = {.min_calls = 1}}, {});
    expect_taken(count_window{.calls = 8192, .rates = {.min_calls = 8192}}, {});
    expect_refused(count_window{.calls = 10, .rates = {.min_calls = 11}}, {}, "min_calls");

    for (std::size_t const buckets : {std::size_t{0}, std::size_t{1025}, std::numeric_limits<std::size_t>::max()}) {
        expect_refused(time_window{.window = 10s, .buckets = buckets}, {}, "buckets");
    }
    for (nanoseconds const window : {nanoseconds{0}, nanoseconds{-1}, nanoseconds::min(), nanoseconds{10ms - 1ns},
                                     longest + 1ns, nanoseconds::max()}) {
        expect_refused(time_window{.window = window, .buckets = 10}, {}, "window");
    }
    expect_taken(time_window{.window = 10ms, .buckets = 10}, {});
    expect_taken(time_window{.window = longest, .buckets = 1}, {});
    expect_taken(time_window{.window = 1024ms, .buckets = 1024}, {});

    auto const refused = [](weir::call_rates const& r, char const* option) {
        expect_refused(count_window{.calls = 8192, .rates = r}, {}, option);
        expect_refused(time_window{.rates = r}, {}, option);
    };
    for (unsigned const v : {0U, 8193U, most}) {
        refused({.min_calls = v}, "min_calls");
    }
    for (unsigned const v : {0U, 102U, most}) {
        refused({.failure_rate = v}, "failure_rate");
        refused({.slow_call = 1s, .slow_rate = v}, "slow_rate");
    }
    refused({.slow_rate = 50}, "slow_rate");  // of what?
    for (nanoseconds const v : {nanoseconds{-1}, nanoseconds::min(), longest + 1ns, nanoseconds::max()}) {
        refused({.slow_call = v}, "slow_call");
    }
    for (unsigned const v : {1U, 100U, 101U}) {
        expect_taken(time_window{.rates = {.min_calls = 8192, .failure_rate = v, .slow_call = longest, .slow_rate = v}},
                     {});
    }
}

// -- Permits

static_assert(!std::is_copy_constructible_v<rig<>::permit> && !std::is_copy_assignable_v<rig<>::permit>);
static_assert(std::is_nothrow_move_constructible_v<rig<>::permit> && std::is_nothrow_move_assignable_v<rig<>::permit>);

TEST(circuit_breaker_permit, counts_what_it_is_told_first) {
    rig<> r{{.failures = 2}};
    auto p = r.must_acquire();
    p.failure();
    p.failure();
    p.success();
    EXPECT_EQ(r.breaker.stats().failed, 1U);
    { auto const dies = std::move(p); }
    EXPECT_EQ(r.breaker.stats().failed, 1U);
}

TEST(circuit_breaker_permit, is_no_result_when_it_is_dropped) {
    rig<> r{{.failures = 2}};
    r.fail();
    { auto const p = r.must_acquire(); }
    EXPECT_EQ(r.breaker.stats().failed, 1U);
    EXPECT_EQ(r.breaker.stats().late_results, 0U);
}

TEST(circuit_breaker_permit, is_a_failure_when_an_exception_drops_it) {
    rig<> r{{.failures = 2}};
    try {
        auto const p = r.must_acquire();
        throw std::runtime_error("no answer");
    } catch (std::runtime_error const&) {
        auto const p = r.must_acquire();  // in a handler nothing is under way any more
    }
    EXPECT_EQ(r.breaker.stats().failed, 1U);
}

TEST(circuit_breaker_permit, reports_once_wherever_it_was_moved) {
    rig<> r{{.failures = 10}};
    auto a = r.must_acquire();
    auto b = std::move(a);
    a.failure();  // NOLINT: moved from, says nothing
    EXPECT_EQ(r.breaker.stats().failed, 0U);
    b.failure();
    EXPECT_EQ(r.breaker.stats().failed, 1U);

    auto c = r.must_acquire();
    auto& same_c = c;
    c = std::move(same_c);
    c.failure();
    EXPECT_EQ(r.breaker.stats().failed, 2U);

    std::vector<rig<>::permit> many;
    for (int i = 0; i < 5; ++i) {
        many.push_back(r.must_acquire());
    }
    for (auto& each : many) {
        each.failure();
    }
    EXPECT_EQ(r.breaker.stats().failed, 7U);
}

TEST(circuit_breaker_permit, gives_up_its_own_call_when_another_is_moved_into_it) {
    rig<> r{{.failures = 1}, {.open = 1s, .half_open = {.permits = 2}}};
    r.fail();
    r.at(1s);
    auto a = r.must_acquire();
    auto b = r.must_acquire();
    EXPECT_EQ(r.breaker.stats().probes, 2U);
    a = std::move(b);
    EXPECT_EQ(r.breaker.stats().probes, 1U);
    auto c = r.must_acquire();
    a.swap(c);
    a.success();
    c.success();
    EXPECT_EQ(r.state(), breaker_state::closed);
}

TEST(circuit_breaker_permit, does_nothing_if_it_is_later_than_its_generation) {
    for (auto const late : {verdict::success, verdict::failure, verdict::ignore}) {
        rig<> r{{.failures = 2}, {.open = 1s, .half_open = {.permits = 2}}};
        auto of_closed = r.must_acquire();
        r.fail(2);
        auto of_closed_too = [&] {
            r.at(1s);
            return r.must_acquire();  // a probe
        }();
        auto const before = r.breaker.stats();
        of_closed.report(late);  // now half open
        auto after = r.breaker.stats();
        EXPECT_EQ(after.late_results, before.late_results + 1);
        EXPECT_EQ(after.probes, before.probes);
        EXPECT_EQ(after.calls, before.calls);
        EXPECT_EQ(after.generation, before.generation);
        r.fail();  // open
        of_closed_too.report(late);
        EXPECT_EQ(r.state(), breaker_state::open);
        EXPECT_EQ(r.breaker.stats().late_results, 2U);
        EXPECT_EQ(r.breaker.stats().generation, 3U);
    }
}

// -- Calls

TEST(circuit_breaker, call_returns_what_the_function_does) {
    rig<> r;
    int value = 7;
    EXPECT_EQ(&r.breaker.call([&]() -> int& { return value; }), &value);
    static_assert(std::is_same_v<decltype(r.breaker.call([&]() -> int& { return value; })), int&>);
    static_assert(std::is_same_v<decltype(r.breaker.call([&]() -> int&& { return std::move(value); })), int&&>);
    static_assert(std::is_same_v<decltype(r.breaker.call([] { return 1; })), int>);
    static_assert(std::is_void_v<decltype(r.breaker.call([] {}))>);
    EXPECT_EQ(r.breaker.call([&]() -> int&& { return std::move(value); }), 7);
    EXPECT_EQ(*r.breaker.call([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(3)), 3);
    r.breaker.call([&] { value = 8; });
    EXPECT_EQ(value, 8);
}

TEST(circuit_breaker, call_passes_on_what_is_thrown_and_counts_it) {
    rig<> r{{.failures = 2}};
    auto const fails = [] { throw std::runtime_error("no answer"); };
    EXPECT_THROW(r.breaker.call(fails), std::runtime_error);
    EXPECT_EQ(r.breaker.stats().failed, 1U);
    r.breaker.call([] {});
    EXPECT_EQ(r.breaker.stats().failed, 0U);
    EXPECT_THROW(r.breaker.call(fails), std::runtime_error);
    EXPECT_THROW(r.breaker.call(fails), std::runtime_error);
    EXPECT_EQ(r.state(), breaker_state::open);
    bool called = false;
    try {
        r.breaker.call([&] { called = true; });
        ADD_FAILURE() << "called";
    } catch (weir::rejected_error const& e) {
        EXPECT_EQ(e.why(), (rejected{refusal::breaker_open, 1min}));
    }
    EXPECT_FALSE(called);
}

TEST(circuit_breaker, call_takes_a_refusal_on_the_way_for_no_result) {
    rig<> r{{.failures = 1}};
    auto const refuses = [](refusal why) { throw weir::rejected_error{rejected{why}}; };
    EXPECT_THROW(r.breaker.call(refuses, refusal::rate_limited), weir::rejected_error);
    EXPECT_THROW(r.breaker.call(refuses, refusal::bulkhead_full), weir::rejected_error);
    EXPECT_THROW(r.breaker.call(refuses, refusal::stopped), weir::rejected_error);
    EXPECT_EQ(r.state(), breaker_state::closed);
    EXPECT_THROW(r.breaker.call(refuses, refusal::timed_out), weir::rejected_error);
    EXPECT_EQ(r.state(), breaker_state::open);
}

TEST(circuit_breaker, try_call_puts_everything_into_the_outcome) {
    rig<> r{{.failures = 2}};
    EXPECT_EQ(r.breaker.try_call([](int a, int b) { return a + b; }, 1, 2).value(), 3);
    EXPECT_TRUE(r.breaker.try_call([] {}).has_value());
    auto const thrown = r.breaker.try_call([]() -> int { throw std::runtime_error("no answer"); });
    ASSERT_FALSE(thrown.has_value());
    EXPECT_THROW(thrown.error().rethrow(), std::runtime_error);
    EXPECT_EQ(r.breaker.stats().failed, 1U);
    // An outcome that the function returns is passed on and judged.
    auto const limited = r.breaker.try_call([]() -> weir::outcome<int> {
        return weir::unexpected<weir::failure>{weir::failure{rejected{refusal::rate_limited, 5ms}}};
    });
    EXPECT_EQ(limited.error().rejection(), (rejected{refusal::rate_limited, 5ms}));
    EXPECT_EQ(r.breaker.stats().failed, 1U);
    auto const timed_out = r.breaker.try_call([]() -> weir::outcome<int> {
        return weir::unexpected<weir::failure>{weir::failure{rejected{refusal::timed_out}}};
    });
    EXPECT_FALSE(timed_out.has_value());
    EXPECT_EQ(r.state(), breaker_state::open);
    EXPECT_EQ(r.breaker.try_call([] { return 1; }).error().rejection(), (rejected{refusal::breaker_open, 1min}));
}

struct bad_answers_are_failures {
    weir::verdict operator()(weir::outcome<int> const& o) const noexcept {
        return !o.has_value() || *o < 0 ? verdict::failure : *o == 0 ? verdict::ignore : verdict::success;
    }
};

TEST(circuit_breaker, guard_lets_the_caller_say_what_a_result_shows) {
    rig<> r{{.failures = 2}};
    bad_answers_are_failures const judge;
    auto const give = [&](int v) { return r.breaker.guard(judge, [v]() -> weir::outcome<int> { return v; }); };
    EXPECT_EQ(give(-1).value(), -1);
    EXPECT_EQ(r.breaker.stats().failed, 1U);
    EXPECT_EQ(give(0).value(), 0);
    EXPECT_EQ(r.breaker.stats().failed, 1U);
    EXPECT_EQ(give(1).value(), 1);
    EXPECT_EQ(r.breaker.stats().failed, 0U);
    static_cast<void>(give(-1));
    static_cast<void>(give(-1));
    EXPECT_TRUE(give(1).error().is_rejection());
}

TEST(circuit_breaker, policy_guards_the_layers_below) {
    rig<> r{{.failures = 1}};
    auto const usual = r.breaker.policy();
    auto const strict = r.breaker.policy(bad_answers_are_failures{});
    static_assert(weir::policy<decltype(usual)> && weir::policy<decltype(strict)>);
    weir::call_context<> context{.attempt = 5};
    auto const next = [](weir::call_context<>& c) -> weir::outcome<int> { return -static_cast<int>(c.attempt); };
    EXPECT_EQ(usual(context, next).value(), -5);
    EXPECT_EQ(r.state(), breaker_state::closed);
    EXPECT_EQ(strict(context, next).value(), -5);
    EXPECT_EQ(r.state(), breaker_state::open);
    EXPECT_EQ(usual(context, next).error().rejection().reason, refusal::breaker_open);
}

// -- States, results and hands

constexpr std::array all_states{breaker_state::closed,      breaker_state::open,     breaker_state::half_open,
                                breaker_state::forced_open, breaker_state::disabled, breaker_state::metrics_only};

template <class R>
void bring_to(R& r, breaker_state s) {
    switch (s) {
        case breaker_state::closed:
            r.breaker.reset();
            break;
        case breaker_state::open:
            r.breaker.trip();
            break;
        case breaker_state::half_open:
            r.breaker.trip();
            ASSERT_TRUE(r.breaker.half_open());
            break;
        case breaker_state::forced_open:
            r.breaker.force_open();
            break;
        case breaker_state::disabled:
            r.breaker.disable();
            break;
        case breaker_state::metrics_only:
            r.breaker.metrics_only();
            break;
    }
    ASSERT_EQ(r.state(), s);
}

TEST(circuit_breaker, goes_by_hand_from_every_state_to_every_other) {
    using breaker = rig<>::breaker_type;
    struct hand {
        void (breaker::*go)() noexcept;
        breaker_state to;
    };
    for (auto const from : all_states) {
        for (auto const& [go, to] :
             {hand{&breaker::trip, breaker_state::open}, hand{&breaker::reset, breaker_state::closed},
              hand{&breaker::force_open, breaker_state::forced_open}, hand{&breaker::disable, breaker_state::disabled},
              hand{&breaker::metrics_only, breaker_state::metrics_only}}) {
            rig<> r;
            bring_to(r, from);
            auto const before = r.breaker.stats();
            (r.breaker.*go)();
            auto const after = r.breaker.stats();
            EXPECT_EQ(after.state, to);
            EXPECT_EQ(after.generation, before.generation + 1);
            EXPECT_EQ(after.trips, to == breaker_state::closed ? 0
                                   : to == breaker_state::open ? before.trips + 1
                                                               : before.trips);
            ASSERT_FALSE(r.told.all().empty());
            EXPECT_TRUE(same(r.told.all().back(), {from, to, after.generation, breaker_reason::manual}));
        }
        rig<> r;
        bring_to(r, from);
        auto const before = r.breaker.stats();
        EXPECT_EQ(r.breaker.half_open(), from == breaker_state::open);
        EXPECT_EQ(r.breaker.stats().generation, before.generation + (from == breaker_state::open ? 1 : 0));
        EXPECT_EQ(r.state(), from == breaker_state::open ? breaker_state::half_open : from);
    }
}

template <class Mode>
void every_state_and_result(Mode mode) {
    for (auto const s : all_states) {
        for (auto const v : {verdict::success, verdict::failure, verdict::ignore}) {
            rig<Mode> r{mode};
            bring_to(r, s);
            auto const before = r.breaker.stats();
            bool const admits = s != breaker_state::open && s != breaker_state::forced_open;
            EXPECT_EQ(r.breaker.would_admit(), admits) << name_of(s);
            auto const refused = [&]() -> std::optional<rejected> {
                auto p = r.breaker.acquire();
                if (p.has_value()) {
                    p->report(v);
                    return std::nullopt;
                }
                return p.error();
            }();
            EXPECT_EQ(!refused, admits) << name_of(s);
            auto const after = r.breaker.stats();
            EXPECT_EQ(after.refused, before.refused + (admits ? 0 : 1));
            EXPECT_EQ(after.late_results, 0U);
            auto const decided = [&](breaker_state to) {
                EXPECT_EQ(after.state, to) << name_of(s);
                EXPECT_EQ(after.generation, before.generation + (to == s ? 0 : 1));
            };
            switch (s) {
                case breaker_state::closed:
                    decided(v == verdict::failure ? breaker_state::open : breaker_state::closed);
                    break;
                case breaker_state::half_open:
                    decided(v == verdict::failure   ? breaker_state::open
                            : v == verdict::success ? breaker_state::closed
                                                    : breaker_state::half_open);
                    EXPECT_EQ(after.probes, 0U);
                    break;
                case breaker_state::open:
                    decided(s);
                    EXPECT_EQ(refused.value(), (rejected{refusal::breaker_open, 1min}));
                    break;
                case breaker_state::forced_open:
                    decided(s);
                    EXPECT_EQ(refused.value(), (rejected{refusal::breaker_forced_open, rejected::unknown}));
                    break;
                case breaker_state::disabled:
                    decided(s);
                    EXPECT_EQ(after.calls, 0U);
                    break;
                case breaker_state::metrics_only:
                    decided(s);
                    EXPECT_EQ(after.thresholds, v == verdict::failure ? 1U : 0U);
                    EXPECT_EQ(after.failed, v == verdict::failure ? 1U : 0U);
                    break;
            }
        }
    }
}
TEST(circuit_breaker, does_in_each_state_what_each_result_asks_for) {
    every_state_and_result(consecutive_failures{.failures = 1});
    every_state_and_result(count_window{.calls = 4, .rates = {.min_calls = 1}});
    every_state_and_result(time_window{.rates = {.min_calls = 1}});
}

TEST(circuit_breaker, opens_only_on_failures_that_no_success_parts) {
    rig<> r{{.failures = 3}};
    for (int i = 0; i < 100; ++i) {
        r.fail(2);
        EXPECT_TRUE(r.call());
        EXPECT_TRUE(r.call(verdict::ignore));
    }
    EXPECT_EQ(r.state(), breaker_state::closed);
    r.fail(2);
    EXPECT_TRUE(r.call(verdict::ignore));  // parts nothing
    r.fail(1);
    EXPECT_EQ(r.state(), breaker_state::open);
    EXPECT_EQ(r.breaker.stats().opened, 1U);
}

TEST(circuit_breaker, metrics_only_says_once_in_each_generation_that_it_would_have_opened) {
    rig<> r{{.failures = 2}};
    r.breaker.metrics_only();
    r.fail(1000);
    EXPECT_EQ(r.breaker.stats().failed, 1000U);
    EXPECT_EQ(r.breaker.stats().thresholds, 1U);
    EXPECT_TRUE(r.call());
    EXPECT_EQ(r.breaker.stats().failed, 0U);
    r.fail(5);
    EXPECT_EQ(r.breaker.stats().failed, 5U);
    EXPECT_EQ(r.breaker.stats().thresholds, 1U);
    r.breaker.metrics_only();
    EXPECT_EQ(r.breaker.stats().failed, 0U);
    r.fail(3);
    EXPECT_EQ(r.breaker.stats().thresholds, 2U);
    EXPECT_EQ(r.breaker.stats().opened, 0U);

    rig<count_window> w{{.calls = 10, .rates = {.min_calls = 4}}};
    w.breaker.metrics_only();
    w.fail(100);
    EXPECT_EQ(w.breaker.stats().thresholds, 1U);
    EXPECT_EQ(w.breaker.stats().failure_rate, 100.0);
    EXPECT_EQ(w.state(), breaker_state::metrics_only);
}

TEST(circuit_breaker, a_question_changes_nothing) {
    rig<> r{{.failures = 1}, {.open = 1s, .half_open = {.timeout = 1s, .on_timeout = probe_timeout::close}}};
    r.fail();
    for (auto const t : {0ns, nanoseconds{1s - 1ns}, nanoseconds{1s}, nanoseconds{1h}}) {
        r.at(t);
        EXPECT_EQ(r.breaker.would_admit(), t >= 1s);
    }
    EXPECT_EQ(r.state(), breaker_state::open);
    r.at(1s);
    auto const probe = r.must_acquire();
    EXPECT_FALSE(r.breaker.would_admit());
    r.at(2s);
    EXPECT_TRUE(r.breaker.would_admit());  // expired, and then it closes
    EXPECT_EQ(r.state(), breaker_state::half_open);
    EXPECT_EQ(r.breaker.stats().generation, 2U);
    EXPECT_EQ(r.breaker.stats().refused, 0U);
}

// -- Half open

// All orders of results of P probes of which S must succeed, against counting.
TEST(circuit_breaker, early_verdict_comes_as_soon_as_it_is_certain) {
    for (unsigned permits = 1; permits <= 6; ++permits) {
        for (unsigned required = 1; required <= permits; ++required) {
            for (unsigned order = 0; order < 1U << permits; ++order) {
                rig<> r{{.failures = 1}, {.half_open = {.permits = permits, .required_successes = required}}};
                r.breaker.trip();
                ASSERT_TRUE(r.breaker.half_open());
                std::vector<rig<>::permit> probes;
                for (unsigned i = 0; i < permits; ++i) {
                    probes.push_back(r.must_acquire());
                }
                EXPECT_EQ(r.refused().value().reason, refusal::breaker_half_open);
                unsigned good = 0;
                unsigned bad = 0;
                for (unsigned i = 0; i < permits; ++i) {
                    if (r.state() == breaker_state::half_open) {
                        ++((order >> i & 1U) != 0 ? good : bad);
                    }
                    probes[i].report((order >> i & 1U) != 0 ? verdict::success : verdict::failure);
                    auto const expected = good >= required           ? breaker_state::closed
                                          : permits - bad < required ? breaker_state::open
                                                                     : breaker_state::half_open;
                    ASSERT_EQ(r.state(), expected) << permits << " " << required << " " << order << " " << i;
                }
                EXPECT_NE(r.state(), breaker_state::half_open);
                EXPECT_EQ(r.breaker.stats().late_results, permits - good - bad);
            }
        }
    }
}

// Each probe: well, failed, slow, failed and slow.
TEST(circuit_breaker, full_verdict_compares_the_rates_of_all_probes) {
    for (unsigned permits = 1; permits <= 4; ++permits) {
        for (unsigned const failure_rate : {1U, 34U, 50U, 100U, 101U}) {
            for (unsigned const slow_rate : {25U, 100U, 101U}) {
                for (unsigned order = 0; order < 1U << (2 * permits); ++order) {
                    rig<count_window> r{
                        {.rates =
                             {.min_calls = 100, .failure_rate = failure_rate, .slow_call = 1s, .slow_rate = slow_rate}},
                        {.half_open = {.permits = permits, .verdict = probe_verdict::full, .timeout = 0ns}}};
                    r.breaker.trip();
                    ASSERT_TRUE(r.breaker.half_open());
                    unsigned failed = 0;
                    unsigned slow = 0;
                    for (unsigned i = 0; i < permits; ++i) {
                        ASSERT_EQ(r.state(), breaker_state::half_open);
                        unsigned const how = order >> (2 * i) & 3U;
                        failed += how & 1U;
                        slow += how >> 1;
                        ASSERT_TRUE(r.call((how & 1U) != 0 ? verdict::failure : verdict::success,
                                           (how & 2U) != 0 ? 1s + 1ns : 1s));
                    }
                    bool const ill = failed * 100 >= failure_rate * permits || slow * 100 >= slow_rate * permits;
                    ASSERT_EQ(r.state(), ill ? breaker_state::open : breaker_state::closed)
                        << permits << " " << failure_rate << " " << slow_rate << " " << order;
                }
            }
        }
    }
}

TEST(circuit_breaker, full_verdict_without_a_window_waits_for_all_probes_and_then_counts_them) {
    for (unsigned bad = 0; bad <= 4; ++bad) {
        rig<> r{{.failures = 1},
                {.half_open = {.permits = 4, .required_successes = 2, .verdict = probe_verdict::full}}};
        r.breaker.trip();
        ASSERT_TRUE(r.breaker.half_open());
        for (unsigned i = 0; i < 4; ++i) {
            EXPECT_EQ(r.state(), breaker_state::half_open);
            EXPECT_TRUE(r.call(i < bad ? verdict::failure : verdict::success));
        }
        EXPECT_EQ(r.state(), bad > 2 ? breaker_state::open : breaker_state::closed) << bad;
    }
}

TEST(circuit_breaker, an_ignored_probe_is_given_back) {
    rig<> r{{.failures = 1}, {.open = 1s, .half_open = {.permits = 2}}};
    r.fail();
    r.at(1s);
    for (int i = 0; i < 100; ++i) {
        auto const a = r.must_acquire();
        auto b = r.must_acquire();
        EXPECT_EQ(r.refused().value(), (rejected{refusal::breaker_half_open, 1min}));
        b.ignore();
    }
    EXPECT_EQ(r.breaker.stats().probes, 0U);
    EXPECT_TRUE(r.call());
    EXPECT_EQ(r.breaker.stats().probes, 1U);
    EXPECT_EQ(r.breaker.stats().calls, 1U);
    EXPECT_TRUE(r.call());
    EXPECT_EQ(r.state(), breaker_state::closed);
}

TEST(circuit_breaker, takes_back_probes_that_hang) {
    for (auto const on : {probe_timeout::reopen, probe_timeout::reissue, probe_timeout::close}) {
        rig<> r{{.failures = 1}, {.open = 1s, .half_open = {.permits = 2, .timeout = 5s, .on_timeout = on}}};
        r.fail();
        r.at(1s);
        auto hangs = r.must_acquire();
        auto hangs_too = r.must_acquire();
        r.at(6s - 1ns);
        EXPECT_FALSE(r.breaker.would_admit());
        EXPECT_EQ(r.refused().value(), (rejected{refusal::breaker_half_open, 1ns}));
        r.at(6s);
        EXPECT_EQ(r.breaker.would_admit(), on != probe_timeout::reopen);
        EXPECT_EQ(r.state(), breaker_state::half_open);
        auto const told = r.told.all().size();
        auto const refused = r.refused();
        ASSERT_EQ(r.told.all().size(), told + 1);
        auto const expected = on == probe_timeout::reopen    ? breaker_state::open
                              : on == probe_timeout::reissue ? breaker_state::half_open
                                                             : breaker_state::closed;
        EXPECT_TRUE(
            same(r.told.all().back(), {breaker_state::half_open, expected, 3, breaker_reason::probes_timed_out}));
        if (on == probe_timeout::reopen) {
            EXPECT_EQ(refused.value(), (rejected{refusal::breaker_open, 1s}));
        } else {
            EXPECT_FALSE(refused.has_value());
        }
        hangs.failure();
        hangs_too.success();
        EXPECT_EQ(r.state(), expected);
        EXPECT_EQ(r.breaker.stats().late_results, 2U);
        r.at(7s);
        EXPECT_TRUE(r.call());  // back in service
    }
}

TEST(circuit_breaker, waits_for_a_hanging_probe_for_ever_if_told_so) {
    rig<> r{{.failures = 1}, {.open = 1s, .half_open = {.timeout = 0ns}}};
    r.fail();
    r.at(1s);
    auto probe = r.must_acquire();
    r.at(24h * 365);
    EXPECT_FALSE(r.breaker.would_admit());
    EXPECT_EQ(r.refused().value(), (rejected{refusal::breaker_half_open, rejected::unknown}));
    probe.success();
    EXPECT_EQ(r.state(), breaker_state::closed);
}

// -- How long it stays open

TEST(circuit_breaker, lets_nothing_through_before_its_time_and_the_first_at_it) {
    // To 1 ms, rounded up.
    for (auto const& [open, until] :
         {std::pair<nanoseconds, nanoseconds>{1ns, 1ms}, {1ms, 1ms}, {1ms + 1ns, 2ms}, {1500us, 2ms}, {1s, 1s}}) {
        rig<> r{{.failures = 1}, {.open = open}};
        r.fail();
        EXPECT_EQ(r.refused().value(), (rejected{refusal::breaker_open, until}));
        r.at(until - 1ns);
        EXPECT_EQ(r.refused().value(), (rejected{refusal::breaker_open, 1ns}));
        r.at(until);
        EXPECT_TRUE(r.call());
    }
    rig<> late{{.failures = 1}, {.open = 1ms}};
    late.at(1ns);  // the end, too, is rounded
    late.fail();
    EXPECT_EQ(late.refused().value(), (rejected{refusal::breaker_open, 2ms - 1ns}));
}

// Fails a probe at the end of each open time; how long these are.
template <class R>
std::vector<nanoseconds> open_times(R& r, std::size_t n) {
    std::vector<nanoseconds> times;
    while (times.size() < n) {
        EXPECT_TRUE(r.fail());
        times.push_back(r.refused().value_or(rejected{refusal::stopped, 0ns}).retry_after);
        r.clock.advance(times.back());
    }
    return times;
}

TEST(circuit_breaker, stays_open_longer_with_each_trip_up_to_a_limit) {
    rig<> r{{.failures = 1}, {.open = 100ms, .open_multiplier = 2, .max_open = 1s}};
    EXPECT_EQ(open_times(r, 6), (std::vector<nanoseconds>{100ms, 200ms, 400ms, 800ms, 1s, 1s}));
    rig<> steady{{.failures = 1}, {.open = 100ms, .max_open = 1s}};
    EXPECT_EQ(open_times(steady, 3), (std::vector<nanoseconds>{100ms, 100ms, 100ms}));
    rig<> huge{{.failures = 1}, {.open = 1ms, .open_multiplier = 1000, .max_open = nanoseconds{1h}}};
    EXPECT_EQ(open_times(huge, 40).back(), 1h);
    EXPECT_EQ(huge.breaker.stats().trips, 31U);
}

TEST(circuit_breaker, counts_trips_up_to_31) {
    rig<> r{{.failures = 1}, {.open = 1s, .open_multiplier = 1.1, .max_open = 1h}};
    auto const times = open_times(r, 40);
    for (std::size_t i = 0; i < times.size(); ++i) {
        auto const exact = 1e9 * std::pow(1.1, static_cast<double>(std::min<std::size_t>(i, 30)));
        EXPECT_NEAR(static_cast<double>(times[i].count()), exact, 2e6) << i;
    }
}

TEST(circuit_breaker, forgets_trips_only_after_it_was_well_for_long_enough) {
    for (auto const well : {999ms, 1000ms}) {
        rig<> r{{.failures = 1}, {.open = 100ms, .open_multiplier = 2, .max_open = 10s, .backoff_reset_after = 1s}};
        EXPECT_EQ(open_times(r, 3).back(), 400ms);
        EXPECT_TRUE(r.call());
        EXPECT_EQ(r.breaker.stats().trips, 3U);
        r.clock.advance(well);
        r.fail();
        EXPECT_EQ(r.breaker.stats().trips, well == 1000ms ? 1U : 4U);
        EXPECT_EQ(r.refused().value().retry_after, well == 1000ms ? 100ms : 800ms);
    }
    // Unless told otherwise, that is max_open.
    for (auto const well : {9999ms, 10000ms}) {
        rig<> r{{.failures = 1}, {.open = 100ms, .open_multiplier = 2, .max_open = 10s}};
        static_cast<void>(open_times(r, 2));
        EXPECT_TRUE(r.call());
        r.clock.advance(well);
        r.fail();
        EXPECT_EQ(r.breaker.stats().trips, well == 10000ms ? 1U : 3U);
    }
}

TEST(circuit_breaker, forgets_trips_as_soon_as_it_closes_if_told_so) {
    for (bool const by_timeout : {false, true}) {
        rig<> r{{.failures = 1},
                {.open = 100ms,
                 .open_multiplier = 2,
                 .reset_trips_on_close = true,
                 .half_open = {.timeout = 1s, .on_timeout = probe_timeout::close}}};
        static_cast<void>(open_times(r, 3));
        auto probe = r.must_acquire();
        if (by_timeout) {
            r.clock.advance(1s);
            EXPECT_TRUE(r.call());
        } else {
            probe.success();
        }
        EXPECT_EQ(r.state(), breaker_state::closed);
        EXPECT_EQ(r.breaker.stats().trips, 0U);
    }
}

TEST(circuit_breaker, open_times_spread_by_chance_within_their_bounds) {
    auto const times = [](std::optional<std::uint64_t> seed) {
        rig<> r{{.failures = 1}, {.open = 1s, .max_open = 1200ms, .open_jitter = 0.5, .seed = seed}};
        return open_times(r, 200);
    };
    auto const a = times(1);
    EXPECT_EQ(a, times(1));
    EXPECT_NE(a, times(2));
    EXPECT_NE(times(std::nullopt), times(std::nullopt));
    auto const [least, most] = std::minmax_element(a.begin(), a.end());
    EXPECT_GE(*least, 500ms);
    EXPECT_LT(*least, 550ms);
    EXPECT_EQ(*most, 1200ms);  // not beyond max_open
    auto const above = std::count_if(a.begin(), a.end(), [](nanoseconds t) { return t > 1s; });
    EXPECT_GT(above, 60);
    EXPECT_LT(above, 140);
}

TEST(circuit_breaker, trip_for_opens_for_as_long_as_it_is_told) {
    rig<> r;
    r.breaker.trip_for(5s);
    EXPECT_EQ(r.refused().value().retry_after, 5s);
    r.breaker.trip_for(1s);  // shorter, too
    EXPECT_EQ(r.refused().value().retry_after, 1s);
    r.breaker.trip_for(0s);
    EXPECT_TRUE(r.call());
    r.breaker.trip_for(nanoseconds::min());
    EXPECT_TRUE(r.call());
    r.breaker.trip_for(nanoseconds::max());
    auto const refused = r.refused().value().retry_after;
    EXPECT_GT(refused, 24h * 365 * 34);
    r.at(24h * 365 * 34);
    EXPECT_FALSE(r.call());
}

TEST(circuit_breaker, huge_times_saturate) {
    rig<time_window> r{
        {.window = longest, .buckets = 1024, .rates = {.min_calls = 1, .slow_call = longest, .slow_rate = 1}},
        {.open = longest,
         .open_multiplier = 1000,
         .max_open = longest,
         .open_jitter = 0.9,
         .backoff_reset_after = longest,
         .half_open = {.timeout = longest}}};
    EXPECT_TRUE(r.call(verdict::failure, 1s));
    EXPECT_FALSE(r.call());
    auto const end = r.refused().value().retry_after;
    EXPECT_GT(end, 0ns);
    r.clock.advance(end);
    auto probe = r.must_acquire();
    EXPECT_FALSE(r.call());
    r.clock.set(manual_clock::time_point::max());
    EXPECT_TRUE(r.call());  // later than any end of an open time
    probe.success();
    EXPECT_EQ(r.breaker.stats().late_results, 1U);
    r.breaker.reset();
    EXPECT_TRUE(r.call(verdict::success));
    r.breaker.trip_for(nanoseconds::max());
    r.clock.set(manual_clock::time_point::min());
    EXPECT_FALSE(r.call());
    r.breaker.reset();
    EXPECT_TRUE(r.call());
    static_cast<void>(r.breaker.stats());
}

TEST(circuit_breaker, a_clock_from_before_it_was_made_is_taken_for_that_time) {
    rig<> r{{.failures = 1}, {.open = 1s}};
    r.fail();
    for (auto const at : {0ns, nanoseconds{-1}, nanoseconds{-24h}, nanoseconds{-24h * 365}}) {
        r.at(at);
        EXPECT_EQ(r.refused().value(), (rejected{refusal::breaker_open, 1s})) << at.count();
    }
    r.clock.set(manual_clock::time_point::min());
    EXPECT_EQ(r.refused().value(), (rejected{refusal::breaker_open, 1s}));
    EXPECT_EQ(r.breaker.stats().refused, 5U);
    r.clock.set(manual_clock::time_point::max());
    EXPECT_TRUE(r.call());
}

TEST(circuit_breaker, a_clock_that_steps_back_only_delays) {
    rig<> r{{.failures = 1}, {.open = 1s, .half_open = {.timeout = 1s}}};
    r.at(5s);
    r.fail();
    r.at(-24h);
    EXPECT_FALSE(r.call());
    EXPECT_EQ(r.refused().value().retry_after, 6s);
    r.at(6s - 1ns);
    EXPECT_FALSE(r.call());
    r.at(6s);
    auto const probe = r.must_acquire();
    r.at(0s);
    EXPECT_FALSE(r.call());
    EXPECT_EQ(r.state(), breaker_state::half_open);
    r.at(24h);
    EXPECT_FALSE(r.call());
    EXPECT_EQ(r.state(), breaker_state::open);
}

// -- Windows

TEST(circuit_breaker, a_call_is_slow_if_it_takes_longer_than_slow_call) {
    rig<count_window> r{
        {.calls = 4, .rates = {.min_calls = 2, .failure_rate = 101, .slow_call = 1s, .slow_rate = 100}}};
    r.at(2h);
    EXPECT_TRUE(r.call(verdict::success, 1s));
    EXPECT_TRUE(r.call(verdict::failure, 1s));
    EXPECT_EQ(r.breaker.stats().slow, 0U);
    EXPECT_TRUE(r.call(verdict::success, -1h));  // a clock that steps back
    EXPECT_EQ(r.breaker.stats().slow, 0U);
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(r.call(verdict::success, 1s + 1ns));
        EXPECT_EQ(r.state(), breaker_state::closed);
    }
    EXPECT_EQ(r.breaker.stats().slow_rate, 75.0);
    EXPECT_TRUE(r.call(verdict::failure, 1s + 1ns));
    EXPECT_EQ(r.state(), breaker_state::open);
}

template <class Mode>
void success_fills_min_calls(Mode mode) {
    rig<Mode> r{mode};
    r.fail(3);
    EXPECT_TRUE(r.call());
    EXPECT_EQ(r.state(), breaker_state::closed);
    EXPECT_EQ(r.breaker.stats().failure_rate, -1.0);
    EXPECT_TRUE(r.call());
    EXPECT_EQ(r.state(), breaker_state::open);
    EXPECT_EQ(r.breaker.stats().calls, 5U);
    EXPECT_EQ(r.breaker.stats().failure_rate, 60.0);
}
TEST(circuit_breaker, opens_on_the_success_that_fills_min_calls) {
    success_fills_min_calls(count_window{.rates = {.min_calls = 5}});
    success_fills_min_calls(time_window{.rates = {.min_calls = 5}});
}

TEST(circuit_breaker, min_calls_do_not_matter_to_probes) {
    rig<count_window> r{{.rates = {.min_calls = 100}}, {.open = 1s}};
    r.breaker.trip();
    r.at(1s);
    r.fail(1);
    EXPECT_EQ(r.state(), breaker_state::open);
    r.at(2s);
    EXPECT_TRUE(r.call());
    EXPECT_EQ(r.state(), breaker_state::closed);
}

// Transitions that are not followed by any call in the window.
template <class Mode>
void long_outage(Mode mode, int cycles) {
    rig<Mode> r{mode, {.open = 1ms}};
    r.fail(2);
    for (int i = 0; i < cycles; ++i) {
        r.clock.advance(1ms);
        ASSERT_TRUE(r.fail());
    }
    r.clock.advance(1ms);
    ASSERT_TRUE(r.call());
    ASSERT_EQ(r.state(), breaker_state::closed);
    EXPECT_EQ(r.breaker.stats().calls, 0U);
    EXPECT_TRUE(r.fail());
    EXPECT_EQ(r.breaker.stats().calls, 1U);
    EXPECT_TRUE(r.fail());
    EXPECT_EQ(r.state(), breaker_state::open) << cycles;
}
TEST(circuit_breaker, still_works_after_an_outage_of_many_generations) {
    for (int const cycles : {0, 10'000, 20'000, 30'000, 32'000}) {
        long_outage(consecutive_failures{.failures = 2}, cycles);
        long_outage(count_window{.calls = 8, .rates = {.min_calls = 2}}, cycles);
        long_outage(time_window{.rates = {.min_calls = 2}}, cycles);
    }
}

TEST(circuit_breaker, a_time_window_keeps_its_rates_when_there_are_more_calls_than_it_can_count) {
    rig<time_window> r{{.window = 1s, .buckets = 1, .rates = {.min_calls = 8192, .failure_rate = 50}}};
    auto& clock = r.clock;
    for (int i = 0; i < 60'000; ++i) {
        ASSERT_TRUE(r.call(i % 4 == 0 ? verdict::failure : verdict::success));
    }
    auto const s = r.breaker.stats();
    EXPECT_GE(s.calls, 8192U);
    EXPECT_LE(s.calls, 16383U);
    EXPECT_NEAR(s.failure_rate, 25.0, 0.1);
    clock.advance(1s);
    EXPECT_EQ(r.breaker.stats().calls, 0U);
}

// A ring has places for a power of two, but only as many buckets as it was told count.
TEST(circuit_breaker, a_time_window_counts_as_many_buckets_as_it_was_told) {
    for (std::size_t const buckets : {1U, 2U, 3U, 15U, 16U, 17U, 33U, 100U, 1023U, 1024U}) {
        rig<time_window> r{{.window = static_cast<int>(buckets) * 1ms, .buckets = buckets, .rates = {.min_calls = 8192}}};
        for (std::size_t i = 0; i < 3 * buckets; ++i) {
            r.at(static_cast<int>(i) * 1ms);
            EXPECT_TRUE(r.call(i % 2 == 0 ? verdict::success : verdict::failure));
            auto const last = std::min(i + 1, buckets);
            ASSERT_EQ(r.breaker.stats().calls, last) << buckets << " " << i;
            ASSERT_EQ(r.breaker.stats().failed, (last + i % 2) / 2) << buckets << " " << i;
        }
        r.clock.advance(static_cast<int>(buckets) * 1ms);
        EXPECT_EQ(r.breaker.stats().calls, 0U) << buckets;
    }
}

TEST(circuit_breaker, shows_its_stats_to_prometheus) {
    rig<> r{{.failures = 1}};
    r.fail();
    static_cast<void>(r.refused());
    weir::prometheus_writer out;
    out.add("part", "", {}, r.breaker);
    auto const text = out.text();
    for (auto const* const line : {"part_state 1\n", "part_trips 1\n", "part_refused_total 1\n", "part_opened_total 1\n"}) {
        EXPECT_NE(text.find(line), std::string::npos) << line << text;
    }
}

TEST(circuit_breaker, a_time_window_forgets_all_of_a_long_time_ago) {
    for (auto const idle : {nanoseconds{10s}, nanoseconds{1h}, nanoseconds{24h * 40}, nanoseconds{24h * 365}}) {
        rig<time_window> r{{.window = 10s, .buckets = 10, .rates = {.min_calls = 3}}};
        r.fail(2);
        r.clock.advance(idle);
        EXPECT_EQ(r.breaker.stats().calls, 0U);
        r.fail(2);
        EXPECT_EQ(r.breaker.stats().calls, 2U);
        EXPECT_EQ(r.state(), breaker_state::closed);
        r.fail(1);
        EXPECT_EQ(r.state(), breaker_state::open);
    }
}

// -- A model that keeps everything, beside the breaker, on random calls

struct model_call {
    std::int64_t bucket;
    std::uint16_t generation;
    bool failed;
    bool slow;
};

template <class Mode>
class model {
public:
    struct ticket {
        std::uint16_t generation;
        std::int64_t start;
    };

    model(Mode mode, circuit_breaker_options const& o) : mode_(mode), o_(o) {}

    std::int64_t now = 0;  // ns
    breaker_state state = breaker_state::closed;
    std::uint16_t generation = 0;
    unsigned trips = 0;
    unsigned issued = 0, good = 0, bad = 0, slow_probes = 0;
    std::uint64_t failures = 0;
    std::uint64_t refused = 0, base = 0, late = 0, opened = 0, thresholds = 0;
    transitions told;

    std::optional<ticket> acquire(rejected& why) {
        for (;;) {
            switch (state) {
                case breaker_state::closed:
                case breaker_state::disabled:
                case breaker_state::metrics_only:
                    return ticket{generation, now};
                case breaker_state::forced_open:
                    return refuse(why, refusal::breaker_forced_open, -1);
                case breaker_state::open:
                    if (now < deadline_) {
                        return refuse(why, refusal::breaker_open, deadline_ - now);
                    }
                    go(breaker_state::half_open, breaker_reason::open_time_over);
                    break;
                case breaker_state::half_open: {
                    auto const limit = o_.half_open.timeout.count();
                    if (issued < o_.half_open.permits) {
                        ++issued;
                        return ticket{generation, now};
                    }
                    if (limit == 0) {
                        return refuse(why, refusal::breaker_half_open, -1);
                    }
                    if (now < entered_ + limit) {
                        return refuse(why, refusal::breaker_half_open, entered_ + limit - now);
                    }
                    switch (o_.half_open.on_timeout) {
                        case probe_timeout::reopen:
                            open(breaker_reason::probes_timed_out);
                            break;
                        case probe_timeout::reissue:
                            go(breaker_state::half_open, breaker_reason::probes_timed_out);
                            break;
                        case probe_timeout::close:
                            close(breaker_reason::probes_timed_out);
                            break;
                    }
                    break;
                }
            }
        }
    }

    void report(ticket const& t, verdict v) {
        if (t.generation != generation) {
            ++late;
            return;
        }
        bool const failed = v == verdict::failure;
        bool slow = false;
        if constexpr (Mode::has_window) {
            slow = mode_.rates.counts_slow() && now - t.start > mode_.rates.slow_call.count();
        }
        if (state == breaker_state::half_open) {
            probe(v, slow);
        } else if (v != verdict::ignore && (state == breaker_state::closed || state == breaker_state::metrics_only)) {
            bool const passed = record(failed, slow);
            if (passed && state == breaker_state::closed) {
                open(breaker_reason::failures);
            } else if (passed && !passed_) {
                passed_ = true;
                ++thresholds;
            }
        }
    }

    void open(breaker_reason why, std::optional<std::int64_t> d = {}) {
        auto const reset_after = o_.backoff_reset_after.value_or(o_.max_open).count();
        trips = state == breaker_state::closed && now - entered_ >= reset_after ? 1 : std::min(31U, trips + 1);
        double length = static_cast<double>(o_.open.count()) * std::pow(o_.open_multiplier, trips - 1);
        length = std::min(length, static_cast<double>(o_.max_open.count()));
        auto const end = now + d.value_or(static_cast<std::int64_t>(length));
        go(breaker_state::open, why);
        deadline_ = up(end);
        ++opened;
    }
    void close(breaker_reason why) {
        if (o_.reset_trips_on_close) {
            trips = 0;
        }
        go(breaker_state::closed, why);
    }
    void go(breaker_state to, breaker_reason why) {
        ++generation;
        told.push_back({state, to, generation, why});
        state = to;
        entered_ = up(now);
        issued = good = bad = slow_probes = 0;
        failures = 0;
        passed_ = pending_ = false;
        base = refused;
    }

    [[nodiscard]] std::array<std::uint32_t, 3> totals(std::uint16_t of) const {
        std::array<std::uint32_t, 3> sum{};
        std::int64_t from = std::numeric_limits<std::int64_t>::min();
        if constexpr (std::is_same_v<Mode, time_window>) {
            from = std::max(latest_, now / length()) - static_cast<std::int64_t>(mode_.buckets);
        }
        for (auto const& c : window_) {
            if (c.generation == of && c.bucket > from) {
                ++sum[0];
                sum[1] += c.failed ? 1U : 0U;
                sum[2] += c.slow ? 1U : 0U;
            }
        }
        return sum;
    }
    [[nodiscard]] bool would_admit() const {
        auto copy = *this;
        rejected ignored{refusal::stopped};
        return copy.acquire(ignored).has_value();
    }

private:
    static std::int64_t up(std::int64_t ns) { return (ns + 999'999) / 1'000'000 * 1'000'000; }
    [[nodiscard]] std::int64_t length() const {
        return mode_.window.count() / static_cast<std::int64_t>(mode_.buckets);
    }

    std::optional<ticket> refuse(rejected& why, refusal reason, std::int64_t retry_after) {
        ++refused;
        why = {reason, nanoseconds{retry_after}};
        return std::nullopt;
    }
    [[nodiscard]] bool exceeded(unsigned total, unsigned failed, unsigned slow) const {
        return failed * 100 >= mode_.rates.failure_rate * total || slow * 100 >= mode_.rates.slow_rate * total;
    }
    bool record(bool failed, bool slow) {
        if constexpr (!Mode::has_window) {
            failures = failed ? failures + 1 : 0;
            return failures >= mode_.failures;
        } else {
            std::int64_t bucket = 0;
            if constexpr (std::is_same_v<Mode, time_window>) {
                bucket = latest_ = std::max(latest_, now / length());
            }
            window_.push_back({bucket, generation, failed, slow});
            if constexpr (std::is_same_v<Mode, count_window>) {
                while (window_.size() > mode_.calls) {
                    window_.pop_front();
                }
            } else {
                while (window_.front().bucket <= bucket - static_cast<std::int64_t>(mode_.buckets)) {
                    window_.pop_front();
                }
            }
            auto const sum = totals(generation);
            bool const enough = sum[0] >= mode_.rates.min_calls;
            bool const looks = failed || slow || pending_;
            if (looks) {
                pending_ = !enough;
            }
            return looks && enough && exceeded(sum[0], sum[1], sum[2]);
        }
    }
    void probe(verdict v, bool slow) {
        if (v == verdict::ignore) {
            --issued;
            return;
        }
        ++(v == verdict::failure ? bad : good);
        slow_probes += slow ? 1U : 0U;
        auto const& h = o_.half_open;
        auto const required = h.required_successes == 0 ? h.permits : h.required_successes;
        if (h.verdict == probe_verdict::early) {
            if (bad > h.permits - required) {
                open(breaker_reason::probes_failed);
            } else if (good >= required) {
                close(breaker_reason::probes_succeeded);
            }
        } else if (good + bad == h.permits) {
            bool ill = bad > h.permits - required;
            if constexpr (Mode::has_window) {
                ill = exceeded(h.permits, bad, slow_probes);
            }
            ill ? open(breaker_reason::probes_failed) : close(breaker_reason::probes_succeeded);
        }
    }

    Mode mode_;
    circuit_breaker_options o_;
    std::int64_t deadline_ = 0;
    std::int64_t entered_ = 0;
    std::int64_t latest_ = 0;
    bool pending_ = false;
    bool passed_ = false;
    std::deque<model_call> window_;
};

circuit_breaker_options random_options(random_numbers& chance) {
    circuit_breaker_options o;
    o.open = nanoseconds{1 + static_cast<std::int64_t>(chance.below(3'000'000'000))};
    o.open_multiplier = chance.one_in(2) ? 1.0 : 1.0 + static_cast<double>(chance.below(4));
    o.max_open = o.open * (1 + static_cast<int>(chance.below(9)));
    if (chance.one_in(2)) {
        o.backoff_reset_after = nanoseconds{1 + static_cast<std::int64_t>(chance.below(5'000'000'000))};
    }
    o.reset_trips_on_close = chance.one_in(3);
    o.half_open.permits = 1 + static_cast<unsigned>(chance.below(5));
    o.half_open.required_successes = static_cast<unsigned>(chance.below(o.half_open.permits + 1));
    o.half_open.verdict = chance.one_in(2) ? probe_verdict::early : probe_verdict::full;
    o.half_open.timeout = nanoseconds{chance.one_in(4) ? 0 : static_cast<std::int64_t>(chance.below(3'000'000'000))};
    o.half_open.on_timeout = static_cast<probe_timeout>(chance.below(3));
    return o;
}

weir::call_rates random_rates(random_numbers& chance, unsigned most) {
    weir::call_rates r;
    r.min_calls = 1 + static_cast<unsigned>(chance.below(most));
    r.failure_rate = chance.one_in(5) ? 101 : 1 + static_cast<unsigned>(chance.below(100));
    if (chance.one_in(2)) {
        r.slow_call = nanoseconds{1 + static_cast<std::int64_t>(chance.below(500'000'000))};
        r.slow_rate = 1 + static_cast<unsigned>(chance.below(101));
    }
    return r;
}

template <class Mode>
Mode random_mode(random_numbers& chance) {
    if constexpr (std::is_same_v<Mode, consecutive_failures>) {
        return {1 + static_cast<unsigned>(chance.below(5))};
    } else if constexpr (std::is_same_v<Mode, count_window>) {
        auto const calls = 1 + static_cast<unsigned>(chance.below(20));
        return {calls, random_rates(chance, calls)};
    } else {
        Mode m;
        m.buckets = 1 + chance.below(12);
        m.window = nanoseconds{static_cast<std::int64_t>(m.buckets) *
                               (1'000'000 + static_cast<std::int64_t>(chance.below(1'000'000'000)))};
        m.rates = random_rates(chance, 12);
        return m;
    }
}

template <class Mode>
void beside_the_model(std::uint64_t seed, int steps) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_numbers chance(seed);
    auto const mode = random_mode<Mode>(chance);
    auto const o = random_options(chance);
    rig<Mode> r{mode, o};
    model<Mode> m{mode, o};
    struct pair {
        typename rig<Mode>::permit permit;
        typename model<Mode>::ticket ticket;
    };
    std::vector<pair> out;
    auto const set = [&](std::int64_t t) {
        m.now = std::max<std::int64_t>(t, 0);
        r.at(nanoseconds{t});
    };
    unsigned const bad_luck = 1 + static_cast<unsigned>(chance.below(9));  // tenths
    for (int step = 0; step < steps; ++step) {
        auto const what = chance.below(100);
        if (what < 40) {
            rejected why{refusal::stopped};
            ASSERT_EQ(r.breaker.would_admit(), m.would_admit()) << step;
            auto p = r.breaker.acquire();
            auto const t = m.acquire(why);
            ASSERT_EQ(p.has_value(), t.has_value()) << step;
            if (p.has_value()) {
                out.push_back({std::move(*p), *t});
            } else {
                ASSERT_EQ(p.error().reason, why.reason) << step;
                ASSERT_EQ(p.error().retry_after, why.retry_after) << step;
            }
        } else if (what < 75) {
            if (!out.empty()) {
                auto const i = chance.below(out.size());
                auto const v = chance.one_in(10)             ? verdict::ignore
                               : chance.below(10) < bad_luck ? verdict::failure
                                                             : verdict::success;
                out[i].permit.report(v);
                m.report(out[i].ticket, v);
                out.erase(out.begin() + static_cast<std::ptrdiff_t>(i));
            }
        } else if (what < 97) {
            constexpr std::array<std::int64_t, 5> reach{1'000'000, 100'000'000, 1'000'000'000, 4'000'000'000,
                                                        86'400'000'000'000};
            auto const by = static_cast<std::int64_t>(
                chance.below(static_cast<std::uint64_t>(reach[chance.one_in(50) ? 4 : chance.below(4)])));
            set(m.now + (chance.one_in(10) ? -by : by));
        } else if (chance.one_in(4)) {
            switch (chance.below(7)) {
                case 0:
                    r.breaker.trip();
                    m.open(breaker_reason::manual);
                    break;
                case 1: {
                    auto const d = static_cast<std::int64_t>(chance.below(2'000'000'000)) - 500'000'000;
                    r.breaker.trip_for(nanoseconds{d});
                    m.open(breaker_reason::manual, std::max<std::int64_t>(d, 0));
                    break;
                }
                case 2:
                    r.breaker.reset();
                    m.trips = 0;
                    m.go(breaker_state::closed, breaker_reason::manual);
                    break;
                case 3:
                    r.breaker.force_open();
                    m.go(breaker_state::forced_open, breaker_reason::manual);
                    break;
                case 4:
                    r.breaker.disable();
                    m.go(breaker_state::disabled, breaker_reason::manual);
                    break;
                case 5:
                    r.breaker.metrics_only();
                    m.go(breaker_state::metrics_only, breaker_reason::manual);
                    break;
                default:
                    ASSERT_EQ(r.breaker.half_open(), m.state == breaker_state::open);
                    if (m.state == breaker_state::open) {
                        m.go(breaker_state::half_open, breaker_reason::manual);
                    }
            }
        } else if (m.state != breaker_state::half_open && m.state != breaker_state::open) {
            r.breaker.reset();
            m.trips = 0;
            m.go(breaker_state::closed, breaker_reason::manual);
        }

        auto const s = r.breaker.stats();
        ASSERT_EQ(s.state, m.state) << step;
        ASSERT_EQ(r.state(), m.state) << step;
        ASSERT_EQ(s.generation, m.generation) << step;
        ASSERT_EQ(s.trips, m.trips) << step;
        ASSERT_EQ(s.refused, m.refused) << step;
        ASSERT_EQ(s.not_permitted, m.refused - m.base) << step;
        ASSERT_EQ(s.late_results, m.late) << step;
        ASSERT_EQ(s.opened, m.opened) << step;
        ASSERT_EQ(s.thresholds, m.thresholds) << step;
        ASSERT_EQ(s.probes, m.issued) << step;
        if (m.state == breaker_state::half_open) {
            ASSERT_EQ(s.calls, m.good + m.bad) << step;
            ASSERT_EQ(s.failed, m.bad) << step;
            ASSERT_EQ(s.slow, m.slow_probes) << step;
        } else if constexpr (Mode::has_window) {
            bool const over = m.state == breaker_state::open || m.state == breaker_state::forced_open;
            auto const sum = m.totals(static_cast<std::uint16_t>(m.generation - (over ? 1 : 0)));
            ASSERT_EQ(s.calls, sum[0]) << step;
            ASSERT_EQ(s.failed, sum[1]) << step;
            ASSERT_EQ(s.slow, sum[2]) << step;
            if (sum[0] >= mode.rates.min_calls) {
                ASSERT_DOUBLE_EQ(s.failure_rate, 100.0 * sum[1] / sum[0]) << step;
                ASSERT_DOUBLE_EQ(s.slow_rate, 100.0 * sum[2] / sum[0]) << step;
            } else {
                ASSERT_EQ(s.failure_rate, -1.0) << step;
                ASSERT_EQ(s.slow_rate, -1.0) << step;
            }
        } else {
            ASSERT_EQ(s.failed, m.failures) << step;
            ASSERT_EQ(s.calls, m.failures) << step;
        }
        ASSERT_GE(s.probes, s.state == breaker_state::half_open ? s.calls : 0) << step;
    }
    auto const told = r.told.all();
    ASSERT_EQ(told.size(), m.told.size());
    for (std::size_t i = 0; i < told.size(); ++i) {
        ASSERT_TRUE(same(told[i], m.told[i])) << name_of(told[i]) << ", not " << name_of(m.told[i]);
    }
}

template <class Mode>
void beside_the_model() {
    std::size_t const runs = scaled(300, 20);
    for (std::size_t i = 0; i < runs && !testing::Test::HasFatalFailure(); ++i) {
        beside_the_model<Mode>(run_seed() + i, 1500);
    }
}
TEST(circuit_breaker_model, failures_in_a_row_are_as_in_a_model_that_keeps_everything) {
    beside_the_model<consecutive_failures>();
}
TEST(circuit_breaker_model, a_count_window_is_as_in_a_model_that_keeps_everything) { beside_the_model<count_window>(); }
TEST(circuit_breaker_model, a_time_window_is_as_in_a_model_that_keeps_everything) { beside_the_model<time_window>(); }

// -- Many threads

TEST(circuit_breaker_threads, exactly_as_many_probes_as_are_permitted_get_through) {
    constexpr std::size_t threads = 6;
    for (unsigned const permits : {1U, 3U, 5U}) {
        auto const rounds = scaled(300, 20);
        for (std::size_t round = 0; round < rounds; ++round) {
            rig<> r{{.failures = 1}, {.open = 1s, .half_open = {.permits = permits, .timeout = 0ns}}};
            r.fail();
            r.at(1s);
            std::array<std::optional<rig<>::permit>, threads> held;
            std::atomic<unsigned> admitted{0};
            run_together(threads, [&](std::size_t i) {
                for (int tries = 0; tries < 3 && !held[i]; ++tries) {
                    if (auto p = r.breaker.acquire(); p.has_value()) {
                        admitted.fetch_add(1);
                        held[i].emplace(std::move(*p));
                    }
                }
            });
            ASSERT_EQ(admitted.load(), permits);
            ASSERT_EQ(r.breaker.stats().probes, permits);
            run_together(threads, [&](std::size_t i) {
                if (held[i]) {
                    held[i]->success();
                }
            });
            ASSERT_EQ(r.state(), breaker_state::closed);
            ASSERT_EQ(r.told.all().size(), 3U);
            ASSERT_EQ(r.breaker.stats().late_results, 0U);
        }
    }
}

TEST(circuit_breaker_threads, every_refusal_is_counted) {
    rig<> r{{.failures = 1}, {.open = 1s}};
    r.fail();
    constexpr std::size_t each = 5000;
    run_together(4, [&](std::size_t) {
        for (std::size_t i = 0; i < each; ++i) {
            EXPECT_EQ(r.refused(), (rejected{refusal::breaker_open, 1s}));
        }
    });
    EXPECT_EQ(r.breaker.stats().refused, 4 * each);
    EXPECT_EQ(r.breaker.stats().not_permitted, 4 * each);
}

TEST(circuit_breaker_threads, probes_that_are_given_back_never_make_too_many) {
    constexpr int permits = 3;
    rig<> r{{.failures = 1}, {.open = 1s, .half_open = {.permits = permits, .timeout = 0ns}}};
    r.fail();
    r.at(1s);
    std::atomic<int> out{0};
    findings wrong;
    run_together(4, [&](std::size_t) {
        auto const n = scaled(100'000);
        for (std::size_t i = 0; i < n; ++i) {
            if (auto p = r.breaker.acquire(); p.has_value()) {
                wrong.expect(out.fetch_add(1) < permits, "too many probes are out");
                out.fetch_sub(1);
                p->ignore();
            } else {
                wrong.expect(p.error().reason == refusal::breaker_half_open, "refused for another reason");
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(r.breaker.stats().probes, 0U);
    EXPECT_EQ(r.breaker.stats().generation, 2U);
}

bool legal(breaker_transition const& t) {
    using s = breaker_state;
    switch (t.reason) {
        case breaker_reason::failures:
            return t.from == s::closed && t.to == s::open;
        case breaker_reason::open_time_over:
            return t.from == s::open && t.to == s::half_open;
        case breaker_reason::probes_succeeded:
            return t.from == s::half_open && t.to == s::closed;
        case breaker_reason::probes_failed:
            return t.from == s::half_open && t.to == s::open;
        case breaker_reason::probes_timed_out:
            return t.from == s::half_open && (t.to == s::open || t.to == s::half_open || t.to == s::closed);
        case breaker_reason::manual:
            return t.to != s::half_open || t.from == s::open;
    }
    return false;
}

template <class Mode>
void storm(Mode mode, probe_timeout on_timeout, bool hands) {
    rig<Mode> r{
        mode,
        {.open = 2ms, .half_open = {.permits = 3, .required_successes = 2, .timeout = 5ms, .on_timeout = on_timeout}}};
    std::atomic<std::uint64_t> admitted{0};
    std::atomic<std::uint64_t> refused{0};
    run_together(4, [&](std::size_t thread) {
        random_numbers chance(run_seed() * 7 + thread);
        std::vector<typename rig<Mode>::permit> hanging;
        std::uint64_t in = 0;
        std::uint64_t not_in = 0;
        auto const n = scaled(250'000, 25'000);
        for (std::size_t i = 0; i < n; ++i) {
            // Generations must not come twice here.
            if (i % 256 == 0 && r.breaker.stats().generation > 50'000) {
                break;
            }
            auto p = r.breaker.acquire();
            if (p.has_value()) {
                ++in;
                auto const how = chance.below(100);
                if (how < 3) {
                    hanging.push_back(std::move(*p));
                } else {
                    unsigned const failing = i / 64 % 4 == 0 ? 90 : 20;
                    p->report(how < 7 ? verdict::ignore : how < failing ? verdict::failure : verdict::success);
                }
            } else {
                ++not_in;
            }
            if (hanging.size() > 20) {
                hanging.erase(hanging.begin(), hanging.begin() + 10);  // late, most of them
            }
            if (chance.one_in(20)) {
                r.clock.advance(200us);
            }
            if (hands && chance.one_in(500)) {
                switch (chance.below(7)) {
                    case 0:
                        r.breaker.trip();
                        break;
                    case 1:
                        r.breaker.trip_for(1ms);
                        break;
                    case 2:
                        r.breaker.force_open();
                        break;
                    case 3:
                        r.breaker.disable();
                        break;
                    case 4:
                        r.breaker.metrics_only();
                        break;
                    case 5:
                        static_cast<void>(r.breaker.half_open());
                        break;
                    default:
                        r.breaker.reset();
                }
            } else if (hands && chance.one_in(100)) {
                auto const s = r.breaker.current();
                if (s == breaker_state::forced_open || s == breaker_state::disabled ||
                    s == breaker_state::metrics_only) {
                    r.breaker.reset();
                }
            }
        }
        admitted.fetch_add(in);
        refused.fetch_add(not_in);
    });

    auto told = r.told.all();
    auto const stats = r.breaker.stats();
    ASSERT_EQ(told.size(), stats.generation);  // exactly one for each
    std::sort(told.begin(), told.end(), [](auto const& a, auto const& b) { return a.generation < b.generation; });
    auto state = breaker_state::closed;
    std::uint64_t opened = 0;
    std::uint16_t next = 1;
    for (auto const& t : told) {
        ASSERT_EQ(t.generation, next++);
        ASSERT_EQ(t.from, state) << name_of(t);
        ASSERT_TRUE(legal(t)) << name_of(t);
        ASSERT_TRUE(hands || t.reason != breaker_reason::manual) << name_of(t);
        state = t.to;
        opened += t.to == breaker_state::open ? 1U : 0U;
    }
    EXPECT_EQ(stats.state, state);
    EXPECT_EQ(stats.opened, opened);
    EXPECT_EQ(stats.refused, refused.load());
    EXPECT_GT(stats.late_results, 0U);
    EXPECT_LE(stats.late_results, admitted.load());
    EXPECT_GT(opened, 10U);

    // Nobody who has gone without a word keeps it out of service.
    if (state == breaker_state::half_open || state == breaker_state::open) {
        for (int i = 0; i < 4 && r.breaker.current() != breaker_state::closed; ++i) {
            r.clock.advance(10ms);
            r.call();
            r.call();
        }
        EXPECT_EQ(r.breaker.current(), breaker_state::closed);
    }
}
TEST(circuit_breaker_threads, generations_follow_each_other_by_legal_steps) {
    storm(consecutive_failures{.failures = 3}, probe_timeout::reopen, false);
    storm(consecutive_failures{.failures = 3}, probe_timeout::reissue, true);
}
TEST(circuit_breaker_threads, generations_of_a_count_window_follow_each_other_by_legal_steps) {
    storm(count_window{.calls = 20, .rates = {.min_calls = 5, .failure_rate = 40}}, probe_timeout::close, false);
    storm(count_window{.calls = 20, .rates = {.min_calls = 5, .failure_rate = 40}}, probe_timeout::reopen, true);
}
TEST(circuit_breaker_threads, generations_of_a_time_window_follow_each_other_by_legal_steps) {
    storm(time_window{.window = 10ms, .buckets = 5, .rates = {.min_calls = 5, .failure_rate = 40}},
          probe_timeout::reopen, false);
    storm(time_window{.window = 10ms, .buckets = 5, .rates = {.min_calls = 5, .failure_rate = 40}},
          probe_timeout::close, true);
}

// However threads came between, and whatever generation their calls were of: at rest the sums are those of the last calls.
TEST(circuit_breaker_threads, the_sums_of_a_count_window_are_exact_at_rest) {
    constexpr std::size_t size = 16;
    for (std::size_t round = 0; round < scaled(60, 5); ++round) {
        rig<count_window> r{{.calls = size, .rates = {.min_calls = size, .failure_rate = 101}}};
        run_together(4, [&](std::size_t thread) {
            random_numbers chance(run_seed() + 100 * round + thread);
            for (int i = 0; i < 3000; ++i) {
                EXPECT_TRUE(r.call(chance.one_in(2) ? verdict::failure : verdict::success));
                if (thread == 0 && i < 2900 && chance.one_in(20)) {
                    r.breaker.reset();  // the calls of the others are late, in all places that there are
                }
            }
        });
        // The last reset may have come late; what follows fills the ring.
        for (std::size_t i = 0; i < size; ++i) {
            EXPECT_TRUE(r.call());
        }
        ASSERT_EQ(r.breaker.stats().calls, size);
        ASSERT_EQ(r.breaker.stats().failed, 0U);
        for (std::size_t i = 1; i <= size; ++i) {
            EXPECT_TRUE(r.fail());
            ASSERT_EQ(r.breaker.stats().failed, i);
            ASSERT_EQ(r.breaker.stats().calls, size);
        }
    }
}

TEST(circuit_breaker_threads, a_time_window_loses_no_call_within_a_bucket) {
    rig<time_window> r{{.window = 10s, .buckets = 10, .rates = {.min_calls = 8192, .failure_rate = 101}}};
    constexpr std::uint32_t each = 1500;
    run_together(4, [&](std::size_t) {
        for (std::uint32_t i = 0; i < each; ++i) {
            EXPECT_TRUE(r.call(i % 3 == 0 ? verdict::failure : verdict::success));
        }
    });
    EXPECT_EQ(r.breaker.stats().calls, 4 * each);
    EXPECT_EQ(r.breaker.stats().failed, 4 * each / 3);
}

// A failure is below min_calls, and successes of others fill them: whoever is the last opens it.
TEST(circuit_breaker_threads, no_success_that_fills_min_calls_misses_a_failure) {
    for (std::size_t round = 0; round < scaled(2000, 100); ++round) {
        rig<time_window> r{{.rates = {.min_calls = 4, .failure_rate = 25}}};
        run_together(4, [&](std::size_t i) { EXPECT_TRUE(r.call(i == 0 ? verdict::failure : verdict::success)); });
        ASSERT_EQ(r.state(), breaker_state::open) << round;
    }
}

TEST(circuit_breaker_threads, metrics_only_passes_its_threshold_once) {
    for (std::size_t round = 0; round < scaled(200, 20); ++round) {
        rig<> r{{.failures = 3}};
        r.breaker.metrics_only();
        run_together(4, [&](std::size_t) { r.fail(10); });
        ASSERT_EQ(r.breaker.stats().thresholds, 1U);
        ASSERT_EQ(r.breaker.stats().failed, 40U);
    }
}

}  // namespace
}  // namespace weir_test
