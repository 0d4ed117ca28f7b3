// weir (BSL-1.0). Tests of flow/retry.hpp: attempts, delays, budgets, and when to stop.
#include <weir/flow/retry.hpp>

#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using ns = std::chrono::nanoseconds;
using weir::backoff;
using weir::backoff_jitter;
using weir::backoff_options;
using weir::backoff_shape;
using weir::failure;
using weir::manual_clock;
using weir::manual_sleeper;
using weir::outcome;
using weir::refusal;
using weir::rejected;
using weir::retry_options;
using weir::retry_stop;

using manual_retry = weir::retry<manual_clock, manual_sleeper>;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinite = std::numeric_limits<double>::infinity();
constexpr backoff_jitter jitters[] = {backoff_jitter::none, backoff_jitter::full, backoff_jitter::equal,
                                      backoff_jitter::factor, backoff_jitter::decorrelated};

[[noreturn]] void lose(unsigned n) { throw std::runtime_error{"lost " + std::to_string(n)}; }

std::string what_of(failure const& f) {
    try {
        f.rethrow();
    } catch (std::exception const& e) {
        return e.what();
    }
}

template <class Make>
std::string complaint(Make make) {
    try {
        make();
    } catch (std::invalid_argument const& e) {
        return e.what();
    }
    return "none";
}

// A retry that sleeps on paper.
struct desk {
    manual_clock clock;
    manual_retry again;

    explicit desk(retry_options o) : again(o, clock, manual_sleeper{clock}) {}
};

// ---- attempts

TEST(retry, calls_until_it_works) {
    desk d{{.attempts = 5}};
    auto const r = d.again.run([](unsigned n) {
        if (n < 3) {
            lose(n);
        }
        return n;
    });
    EXPECT_EQ(r.last.value(), 3u);
    EXPECT_EQ(r.attempts, 3u);
    EXPECT_EQ(r.why, retry_stop::success);
}

TEST(retry, a_success_at_once_looks_at_no_clock_and_does_not_sleep) {
    desk d{{}};
    auto const before = d.clock.now();
    auto const r = d.again.run([] { return 1; });
    EXPECT_EQ(r.attempts, 1u);
    EXPECT_EQ(r.slept, 0ns);
    EXPECT_EQ(d.clock.now(), before);
}

TEST(retry, attempts_are_counted_in_all_and_the_last_error_is_kept) {
    for (unsigned most = 1; most <= 6; ++most) {
        desk d{{.attempts = most}};
        std::vector<unsigned> numbers;
        auto const r = d.again.run([&](unsigned n) {
            numbers.push_back(n);
            lose(n);
        });
        ASSERT_EQ(numbers.size(), most);
        for (unsigned i = 0; i < most; ++i) {
            EXPECT_EQ(numbers[i], i + 1);
        }
        EXPECT_EQ(r.attempts, most);
        EXPECT_EQ(r.why, retry_stop::attempts);
        EXPECT_EQ(what_of(r.last.error()), "lost " + std::to_string(most));
    }
}

TEST(retry, results_may_be_nothing_or_cannot_be_copied_or_are_outcomes) {
    desk d{{}};
    EXPECT_TRUE(d.again.run([] {}).last.has_value());
    EXPECT_EQ(*d.again.run([] { return std::make_unique<int>(3); }).last.value(), 3);
    int calls = 0;
    auto const r = d.again.run([&]() -> outcome<int> {
        if (++calls == 1) {
            return weir::unexpected{failure{rejected{refusal::timed_out}}};
        }
        return calls;
    });
    EXPECT_EQ(r.last.value(), 2);
}

TEST(retry, may_be_used_without_a_manual_clock) {
    weir::retry again{{.attempts = 2, .delay = {.base = 1ns, .max = 1ns}}};
    auto const r = again.run([](unsigned n) -> unsigned {
        if (n == 1) {
            lose(n);
        }
        return n;
    });
    EXPECT_EQ(r.last.value(), 2u);
}

// ---- what passes

TEST(retry, usual_advice_is_that_refusals_do_not_pass) {
    constexpr weir::default_retry_advice usual;
    constexpr weir::default_retry_advice eager{.rejections = true};
    auto const refused = [](refusal r, ns after = rejected::unknown) -> outcome<int> {
        return weir::unexpected{failure{rejected{r, after}}};
    };
    EXPECT_TRUE(usual(outcome<int>{weir::unexpected{failure{std::make_exception_ptr(1)}}}).again);
    EXPECT_TRUE(usual(refused(refusal::timed_out)).again);
    for (auto const r :
         {refusal::breaker_open, refusal::breaker_half_open, refusal::rate_limited, refusal::bulkhead_full, refusal::queue_full}) {
        EXPECT_FALSE(usual(refused(r)).again) << to_string(r);
        EXPECT_TRUE(eager(refused(r, 5ms)).again) << to_string(r);
        EXPECT_EQ(eager(refused(r, 5ms)).hint, 5ms) << to_string(r);
        EXPECT_EQ(eager(refused(r)).hint, 0ns) << to_string(r);
    }
    for (auto const r :
         {refusal::breaker_forced_open, refusal::over_capacity, refusal::stopped, refusal::budget_exhausted,
          refusal::closed, refusal::cancelled, refusal::expired, refusal::dropped, refusal::inside_worker}) {
        EXPECT_FALSE(eager(refused(r)).again) << to_string(r);
    }
}

TEST(retry, what_does_not_pass_is_not_tried_again) {
    desk d{{.attempts = 5}};
    auto const advise = [](outcome<void> const& o) noexcept {
        return weir::retry_advice{.again = what_of(o.error()) == "lost 1"};
    };
    auto const r = d.again.run(lose, {}, {}, advise);
    EXPECT_EQ(r.attempts, 2u);
    EXPECT_EQ(r.why, retry_stop::not_retryable);
    EXPECT_EQ(what_of(r.last.error()), "lost 2");
}

TEST(retry, waits_as_long_as_the_callee_wants) {
    desk d{{.attempts = 2, .delay = {.base = 1ms, .max = 1s}}};
    auto const r = d.again.run(lose, {}, {}, [](outcome<void> const&) noexcept {
        return weir::retry_advice{true, 1s};
    });
    EXPECT_EQ(r.slept, 1s);
    EXPECT_EQ(r.why, retry_stop::attempts);
}

TEST(retry, gives_up_if_the_callee_wants_more_than_the_longest_delay) {
    desk d{{.attempts = 2, .delay = {.base = 1ms, .max = 1s}}};
    auto const r = d.again.run(lose, {}, {}, [](outcome<void> const&) noexcept {
        return weir::retry_advice{true, 1s + 1ns};
    });
    EXPECT_EQ(r.slept, 0ns);
    EXPECT_EQ(r.attempts, 1u);
    EXPECT_EQ(r.why, retry_stop::hint_too_far);
}

TEST(retry, a_hint_does_not_shorten_a_delay) {
    desk d{{.attempts = 2, .delay = {.base = 5ms, .jitter = backoff_jitter::none}}};
    for (auto const hint : {1ns, -5ns, ns::min()}) {
        auto const r = d.again.run(lose, {}, {}, [hint](outcome<void> const&) noexcept {
            return weir::retry_advice{true, hint};
        });
        EXPECT_EQ(r.slept, 5ms);
    }
}

// ---- deadlines

TEST(retry, does_not_sleep_towards_an_attempt_that_would_come_too_late) {
    retry_options const o{.attempts = 9, .delay = {.base = 10ms, .multiplier = 1, .jitter = backoff_jitter::none}};
    desk d{o};
    auto const begin = d.clock.now();
    auto const r = d.again.run(lose, {}, begin + 30ms);
    EXPECT_EQ(r.attempts, 3u);  // at 0, 10 and 20 ms; at 30 it would be too late
    EXPECT_EQ(r.slept, 20ms);
    EXPECT_EQ(d.clock.now() - begin, 20ms);
    EXPECT_EQ(r.why, retry_stop::deadline);
    EXPECT_EQ(desk{o}.again.run(lose, {}, begin + 30ms + 1ns).attempts, 4u);
}

TEST(retry, the_earlier_of_two_deadlines_counts) {
    retry_options const o{
        .attempts = 99, .delay = {.base = 10ms, .multiplier = 1, .jitter = backoff_jitter::none}, .deadline = 50ms};
    desk d{o};
    EXPECT_EQ(d.again.run(lose).attempts, 5u);
    EXPECT_EQ(d.again.run(lose).attempts, 5u) << "each call has its own";
    EXPECT_EQ(d.again.run(lose, {}, d.clock.now() + 20ms).attempts, 2u);
    EXPECT_EQ(d.again.run(lose, {}, d.clock.now() + 1h).attempts, 5u);
}

TEST(retry, the_first_attempt_is_made_however_late_it_is) {
    desk d{{}};
    auto const r = d.again.run(lose, {}, d.clock.now() - 1h);
    EXPECT_EQ(r.attempts, 1u);
    EXPECT_EQ(r.why, retry_stop::deadline);
}

// A sleeper that oversleeps.
struct deep_sleeper {
    manual_clock clock;
    bool sleep_for(ns d, std::stop_token const&) const {
        clock.advance(2 * d);
        return true;
    }
};
static_assert(weir::sleeper<deep_sleeper>);

TEST(retry, no_attempt_begins_after_the_deadline_even_if_the_sleep_was_too_long) {
    manual_clock clock;
    weir::retry<manual_clock, deep_sleeper> again{
        {.attempts = 9, .delay = {.base = 10ms, .jitter = backoff_jitter::none}}, clock, deep_sleeper{clock}};
    auto const deadline = clock.now() + 15ms;
    auto const r = again.run(
        [&](unsigned n) {
            EXPECT_LT(clock.now(), deadline);
            lose(n);
        },
        {}, deadline);
    EXPECT_EQ(r.attempts, 1u);
    EXPECT_EQ(r.why, retry_stop::deadline);
    EXPECT_EQ(what_of(r.last.error()), "lost 1");
}

TEST(retry, total_sleep_stays_below_any_deadline_and_attempts_below_their_number) {
    random_numbers random{run_seed()};
    for (int i = 0; i < 3000; ++i) {
        retry_options o;
        o.attempts = 1 + static_cast<unsigned>(random.below(30));
        o.delay.base = ns{1 + static_cast<std::int64_t>(random.below(1000))};
        o.delay.max = o.delay.base + ns{static_cast<std::int64_t>(random.below(100'000))};
        o.delay.multiplier = 1 + static_cast<double>(random.below(40)) / 10;
        o.delay.jitter = jitters[random.below(std::size(jitters))];
        o.delay.shape = random.one_in(2) ? backoff_shape::linear : backoff_shape::exponential;
        o.seed = random.next();
        ns const limit{1 + static_cast<std::int64_t>(random.below(50'000))};
        bool const own = random.one_in(2);
        if (own) {
            o.deadline = limit;
        }
        desk d{o};
        auto const begin = d.clock.now();
        unsigned calls = 0;
        auto const r = d.again.run(
            [&] {
                ++calls;
                ASSERT_LT(d.clock.now() - begin, limit);
                d.clock.advance(ns{static_cast<std::int64_t>(random.below(5))});
                throw 1;
            },
            {}, own ? std::nullopt : std::optional{begin + limit});
        ASSERT_LT(r.slept, limit);
        ASSERT_LE(calls, o.attempts);
        ASSERT_EQ(calls, r.attempts);
        ASSERT_EQ(r.why, calls == o.attempts ? retry_stop::attempts : retry_stop::deadline);
    }
}

// ---- stops

TEST(retry, a_stop_ends_it_after_the_attempt_that_runs) {
    std::stop_source stop;
    desk d{{.attempts = 9}};
    auto const r = d.again.run(
        [&](unsigned n) {
            if (n == 2) {
                stop.request_stop();
            }
            lose(n);
        },
        stop.get_token());
    EXPECT_EQ(r.attempts, 2u);
    EXPECT_EQ(r.why, retry_stop::stopped);
    EXPECT_EQ(what_of(r.last.error()), "lost 2");
}

TEST(retry, a_stop_wakes_the_sleep_at_once) {
    std::stop_source stop;
    weir::retry again{{.delay = {.base = 24h, .max = 24h, .jitter = backoff_jitter::none}}};
    arrivals tried;
    crew one;
    one.start([&] {
        auto const r = again.run(
            [&](unsigned n) {
                tried.arrive();
                lose(n);
            },
            stop.get_token());
        EXPECT_EQ(r.attempts, 1u);
        EXPECT_EQ(r.why, retry_stop::stopped);
        EXPECT_EQ(r.slept, 0ns);
        EXPECT_EQ(what_of(r.last.error()), "lost 1");
    });
    EXPECT_TRUE(tried.wait_for(1));
    stop.request_stop();
    one.join();
}

// ---- delays

TEST(backoff, the_usual_shapes) {
    backoff doubled({.base = 100ms, .multiplier = 2, .max = 1s, .jitter = backoff_jitter::none}, 1);
    for (auto const expected : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
        EXPECT_EQ(doubled.next(), expected);
    }
    backoff straight({.base = 100ms, .max = 350ms, .shape = backoff_shape::linear, .jitter = backoff_jitter::none}, 1);
    for (auto const expected : {100ms, 200ms, 300ms, 350ms, 350ms}) {
        EXPECT_EQ(straight.next(), expected);
    }
    backoff odd({.base = 100ms, .multiplier = 1.15, .max = 1s, .jitter = backoff_jitter::none}, 1);
    EXPECT_EQ(odd.next(), 100ms);
    EXPECT_EQ(odd.next(), 115ms) << "to the nearest nanosecond";
}

TEST(backoff, no_delay_leaves_its_bounds_in_2000_attempts) {
    struct sizes {
        ns base, max;
        double multiplier;
    };
    sizes const all[] = {{1ns, 1ns, 2},
                         {1ns, ns::max(), 1000},
                         {ns::max(), ns::max(), 2},
                         {100ms, 10s, 1.1},
                         {ns::max() / 2, ns::max(), 2.1},
                         {1ns, 30s, 1},
                         {1ns, ns::max(), 1.0001},
                         {3ns, 7ns, 1.5},
                         {ns{std::int64_t{1} << 53}, ns{(std::int64_t{1} << 53) + 1}, 1.0000001}};
    for (auto const& s : all) {
        for (auto const shape : {backoff_shape::exponential, backoff_shape::linear}) {
            for (auto const jitter : jitters) {
                for (double const factor : {0.0, 0.1, 1.0}) {
                    backoff_options const o{s.base, s.multiplier, s.max, shape, jitter, factor};
                    backoff delays(o, run_seed());
                    for (std::uint64_t k = 1; k <= 2000; ++k) {
                        auto const d = delays.next();
                        auto const range = backoff::bounds(o, k);
                        ASSERT_GE(d, 0ns);
                        ASSERT_LE(d, s.max);
                        ASSERT_GE(d, range.least) << k << " " << static_cast<int>(jitter);
                        ASSERT_LE(d, range.most) << k << " " << static_cast<int>(jitter);
                        ASSERT_LE(range.most, s.max);
                    }
                }
            }
        }
    }
}

TEST(backoff, jitter_spreads_over_all_of_its_range) {
    for (auto const jitter : jitters) {
        backoff_options const o{.base = 1000ns, .multiplier = 2, .max = 1ms, .jitter = jitter, .factor = 0.5};
        auto const range = backoff::bounds(o, 2);
        ns least = ns::max();
        ns most = 0ns;
        double sum = 0;
        constexpr int many = 4000;
        for (std::uint64_t seed = 0; seed < many; ++seed) {
            backoff delays(o, seed);
            static_cast<void>(delays.next());
            auto const d = delays.next();
            least = std::min(least, d);
            most = std::max(most, d);
            sum += static_cast<double>(d.count());
        }
        auto const width = range.most - range.least;
        EXPECT_LE(least - range.least, width / 20) << static_cast<int>(jitter);
        EXPECT_LE(range.most - most, width / 20) << static_cast<int>(jitter);
        if (jitter != backoff_jitter::decorrelated) {  // which is not uniform
            auto const middle = static_cast<double>((range.least + range.most).count()) / 2;
            EXPECT_NEAR(sum / many, middle, static_cast<double>(width.count()) / 20 + 1) << static_cast<int>(jitter);
        }
    }
}

TEST(backoff, the_same_seed_gives_the_same_delays) {
    for (auto const jitter : jitters) {
        backoff one({.jitter = jitter}, 7);
        backoff same({.jitter = jitter}, 7);
        backoff other({.jitter = jitter}, 8);
        int differences = 0;
        for (int i = 0; i < 20; ++i) {
            auto const d = one.next();
            EXPECT_EQ(d, same.next());
            differences += d != other.next() ? 1 : 0;
        }
        EXPECT_EQ(differences > 0, jitter != backoff_jitter::none) << static_cast<int>(jitter);
    }
}

TEST(retry, a_manual_clock_and_a_fixed_seed_make_a_run_that_can_be_repeated) {
    auto const record = [](std::optional<std::uint64_t> seed) {
        desk d{{.attempts = 6, .seed = seed}};
        std::vector<ns> times;
        auto const begin = d.clock.now();
        for (int call = 0; call < 3; ++call) {
            static_cast<void>(d.again.run([&] {
                times.push_back(d.clock.now() - begin);
                throw 1;
            }));
        }
        return times;
    };
    EXPECT_EQ(record(42), record(42));
    EXPECT_NE(record(42), record(43));
    EXPECT_NE(record({}), record({})) << "without one, each retry has its own";
}

TEST(retry, calls_that_fail_together_do_not_come_again_together) {
    desk d{{.attempts = 2, .seed = 1}};
    auto const first = d.again.run(lose).slept;
    EXPECT_NE(d.again.run(lose).slept, first);
}

// ---- options

TEST(retry, options_that_make_no_sense_are_refused_by_name) {
    auto const with = [](retry_options o) { return complaint([&] { manual_retry r{o, {}, manual_sleeper{{}}}; }); };
    EXPECT_EQ(with({.attempts = 0}), "weir::retry: attempts must be >= 1");
    EXPECT_EQ(with({.deadline = 0ns}), "weir::retry: deadline must be > 0");
    EXPECT_EQ(with({.deadline = ns::min()}), "weir::retry: deadline must be > 0");
    EXPECT_EQ(with({.attempts = std::numeric_limits<unsigned>::max(), .deadline = ns::max()}), "none");

    auto const delay = [&](backoff_options o) {
        auto const text = with({.delay = o});
        EXPECT_EQ(text, complaint([&] { backoff b(o, 1); }));
        EXPECT_EQ(text, complaint([&] { static_cast<void>(backoff::bounds(o, 1)); }));
        return text;
    };
    constexpr char const* base = "weir::backoff: base must be > 0";
    constexpr char const* max = "weir::backoff: max must be >= base";
    constexpr char const* multiplier = "weir::backoff: multiplier must be in [1, 1000]";
    constexpr char const* factor = "weir::backoff: factor must be in [0, 1]";
    EXPECT_EQ(delay({.base = 0ns}), base);
    EXPECT_EQ(delay({.base = ns::min()}), base);
    EXPECT_EQ(delay({.base = 2ns, .max = 1ns}), max);
    EXPECT_EQ(delay({.base = 2ns, .max = ns::min()}), max);
    EXPECT_EQ(delay({.base = ns::max(), .max = ns::max()}), "none");
    for (double const bad : {0.0, -1.0, 0.999, 1000.1, nan, infinite, -infinite}) {
        EXPECT_EQ(delay({.multiplier = bad}), multiplier) << bad;
    }
    for (double const bad : {-0.001, 1.001, nan, infinite}) {
        EXPECT_EQ(delay({.factor = bad}), factor) << bad;
    }
    for (double const good : {1.0, 1000.0}) {
        EXPECT_EQ(delay({.multiplier = good, .factor = good / 1000}), "none");
    }
    EXPECT_EQ(delay({.shape = static_cast<backoff_shape>(2)}), "weir::backoff: shape is unknown");
    EXPECT_EQ(delay({.jitter = static_cast<backoff_jitter>(5)}), "weir::backoff: jitter is unknown");
}

TEST(retry_budget, options_that_make_no_sense_are_refused_by_name) {
    auto const token = [](double most, double ratio) {
        return complaint([&] { weir::token_retry_budget b({.max_tokens = most, .token_ratio = ratio}); });
    };
    for (double const bad : {0.0, -1.0, 1e6 + 1, nan, infinite}) {
        EXPECT_EQ(token(bad, 0.1), "weir::token_retry_budget: max_tokens must be in (0, 1e6]") << bad;
    }
    for (double const bad : {0.0, -1.0, 10.1, nan, infinite}) {
        EXPECT_EQ(token(10, bad), "weir::token_retry_budget: token_ratio must be in (0, max_tokens]") << bad;
    }
    EXPECT_EQ(token(1e6, 1e6), "none");
    EXPECT_EQ(token(1e-9, 1e-9), "none");

    auto const window = [](weir::window_retry_budget_options o) {
        return complaint([&] { weir::window_retry_budget<manual_clock> b(o); });
    };
    for (auto const bad : {0ns, 9ns, ns::min(), ns::max(), ns{(std::int64_t{1} << 60) + 1}}) {
        EXPECT_EQ(window({.ttl = bad}), "weir::window_retry_budget: ttl must be in [10, 2^60] ns") << bad.count();
    }
    for (double const bad : {-1.0, 1e6 + 1, nan, infinite}) {
        EXPECT_EQ(window({.min_per_second = bad}), "weir::window_retry_budget: min_per_second must be in [0, 1e6]")
            << bad;
    }
    for (double const bad : {-0.1, 1000.1, nan, infinite}) {
        EXPECT_EQ(window({.retry_ratio = bad}), "weir::window_retry_budget: retry_ratio must be in [0, 1000]") << bad;
    }
    EXPECT_EQ(window({.ttl = ns{std::int64_t{1} << 60}, .min_per_second = 1e6, .retry_ratio = 1000}), "none");
    EXPECT_EQ(window({.ttl = 10ns, .min_per_second = 0, .retry_ratio = 0}), "none");
}

// ---- budgets

static_assert(weir::retry_budget<weir::no_retry_budget> && weir::retry_budget<weir::token_retry_budget> &&
              weir::retry_budget<weir::window_retry_budget<>>);

TEST(retry_budget, ends_retries_but_never_a_first_attempt) {
    manual_clock clock;
    weir::token_retry_budget budget({.max_tokens = 4, .token_ratio = 1});
    weir::retry<manual_clock, manual_sleeper, weir::token_retry_budget> again{
        {.attempts = 9}, budget, clock, manual_sleeper{clock}};
    auto const first = again.run(lose);
    EXPECT_EQ(first.attempts, 2u);  // 3 tokens are more than half, 2 are not
    EXPECT_EQ(first.why, retry_stop::budget);
    EXPECT_EQ(what_of(first.last.error()), "lost 2");
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(again.run(lose).attempts, 1u);
    }
    EXPECT_EQ(budget.tokens(), 0);
    for (int i = 0; i < 9; ++i) {
        EXPECT_TRUE(again.run([] {}).last.has_value());
    }
    EXPECT_EQ(budget.tokens(), 4);
    EXPECT_EQ(again.run(lose).attempts, 2u);
}

TEST(retry_budget, does_not_pay_for_a_retry_that_is_not_made_for_another_reason) {
    manual_clock clock;
    weir::window_retry_budget<manual_clock> budget({.ttl = 10s, .min_per_second = 1, .retry_ratio = 0}, clock);
    weir::retry<manual_clock, manual_sleeper, weir::window_retry_budget<manual_clock>> again{
        {.attempts = 2}, budget, clock, manual_sleeper{clock}};
    std::stop_source stop;
    stop.request_stop();
    static_cast<void>(again.run(lose, stop.get_token()));
    static_cast<void>(again.run(lose, {}, clock.now()));
    static_cast<void>(again.run(lose, {}, {}, [](outcome<void> const&) noexcept { return weir::retry_advice{false}; }));
    static_cast<void>(again.run(lose, {}, {}, [](outcome<void> const&) noexcept {
        return weir::retry_advice{true, 24h};
    }));
    EXPECT_EQ(budget.balance(), 10);
    static_cast<void>(again.run(lose));
    EXPECT_EQ(budget.balance(), 9);
}

TEST(token_retry_budget, fractions_of_a_token_add_up) {
    weir::token_retry_budget budget({.max_tokens = 2, .token_ratio = 0.1});
    budget.failed();
    EXPECT_FALSE(budget.try_retry()) << "half is not more than half";
    budget.succeeded();
    EXPECT_TRUE(budget.try_retry());
    EXPECT_DOUBLE_EQ(budget.tokens(), 1.1);
}

TEST(token_retry_budget, tokens_stay_within_their_bounds) {
    weir::token_retry_budget budget({.max_tokens = 3.5, .token_ratio = 0.7});
    run_together(4, [&](std::size_t i) {
        random_numbers random{run_seed() + i};
        for (std::size_t n = scaled(20'000); n != 0; --n) {
            random.one_in(3) ? budget.failed() : budget.succeeded();
            auto const t = budget.tokens();
            if (t < 0 || t > 3.5) {
                ADD_FAILURE() << t;
                return;
            }
        }
    });
}

TEST(token_retry_budget, nothing_is_lost_between_threads) {
    weir::token_retry_budget budget({.max_tokens = 1e6, .token_ratio = 1});
    constexpr std::size_t threads = 4;
    auto const each = scaled(20'000);
    run_together(threads, [&](std::size_t) {
        for (std::size_t n = 0; n < each; ++n) {
            budget.failed();
        }
    });
    EXPECT_EQ(budget.tokens(), 1e6 - static_cast<double>(threads * each));
    run_together(threads, [&](std::size_t) {
        for (std::size_t n = 0; n + 1 < each; ++n) {
            budget.succeeded();
        }
    });
    EXPECT_EQ(budget.tokens(), 1e6 - static_cast<double>(threads));
}

TEST(window_retry_budget, lets_through_a_part_of_all_calls_and_a_few_more) {
    manual_clock clock;
    weir::window_retry_budget<manual_clock> budget({.ttl = 10s, .min_per_second = 0.2, .retry_ratio = 0.5}, clock);
    EXPECT_EQ(budget.balance(), 2);
    for (int i = 0; i < 4; ++i) {
        budget.started();
    }
    EXPECT_EQ(budget.balance(), 4);
    for (int i = 0; i < 4; ++i) {
        EXPECT_TRUE(budget.try_retry());
    }
    EXPECT_FALSE(budget.try_retry());
    EXPECT_EQ(budget.balance(), 0);
    clock.advance(11s);
    EXPECT_EQ(budget.balance(), 2);
}

TEST(window_retry_budget, calls_count_for_about_one_ttl) {
    manual_clock clock;
    weir::window_retry_budget<manual_clock> budget({.ttl = 1s, .min_per_second = 0, .retry_ratio = 1}, clock);
    clock.advance(50ms);
    budget.started();
    clock.advance(949ms);
    EXPECT_EQ(budget.balance(), 1);
    clock.advance(1ms);
    EXPECT_EQ(budget.balance(), 0);
    EXPECT_FALSE(budget.try_retry());
}

TEST(window_retry_budget, a_clock_that_steps_back_makes_no_retries) {
    manual_clock clock;
    weir::window_retry_budget<manual_clock> budget({.ttl = 1s, .min_per_second = 2, .retry_ratio = 0}, clock);
    clock.advance(5s);
    EXPECT_TRUE(budget.try_retry());
    EXPECT_TRUE(budget.try_retry());
    for (auto const back : {100ms, 1000ms, 2000ms}) {
        clock.advance(-back);
        EXPECT_FALSE(budget.try_retry()) << back.count();
    }
    clock.advance(-24h);
    EXPECT_FALSE(budget.try_retry());
}

// The bound, against a list of everything that happened: no interval (t - ttl, t] has more retries than its calls allow.
TEST(window_retry_budget, no_interval_of_a_ttl_has_more_retries_than_its_calls_allow) {
    random_numbers random{run_seed()};
    for (int round = 0; round < 200; ++round) {
        manual_clock clock;
        ns const ttl{10 + static_cast<std::int64_t>(random.below(1000))};
        double const ratio = static_cast<double>(random.below(30)) / 10;
        auto const reserve = static_cast<double>(random.below(8));
        weir::window_retry_budget<manual_clock> budget(
            {.ttl = ttl,
             .min_per_second = std::min(1e6, reserve / (static_cast<double>(ttl.count()) * 1e-9)),
             .retry_ratio = ratio},
            clock);
        double const free = budget.balance();
        std::vector<manual_clock::time_point> calls;
        std::vector<manual_clock::time_point> retries;
        auto const recent = [&](std::vector<manual_clock::time_point> const& all, ns length) {
            return std::count_if(all.begin(), all.end(), [&](auto t) { return t > clock.now() - length; });
        };
        std::int64_t const slot = (ttl.count() + 9) / 10;
        for (int i = 0; i < 400; ++i) {
            if (random.one_in(3)) {
                clock.advance(
                    ns{static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(ttl.count() / 4 + 2)))});
            }
            if (random.one_in(3)) {
                budget.started();
                calls.push_back(clock.now());
            } else if (budget.try_retry()) {
                retries.push_back(clock.now());
                // Slots are whole nanoseconds, so ten of them may be longer than the ttl by less than ten.
                auto const allowed = free + ratio * static_cast<double>(recent(calls, ns{10 * slot}));
                ASSERT_LE(static_cast<double>(recent(retries, ttl)), allowed + 1e-6)
                    << "ttl " << ttl.count() << " ratio " << ratio;
            } else {
                // And a refusal has a reason, however the slots fall.
                auto const sure = free + ratio * static_cast<double>(recent(calls, ns{9 * slot}));
                ASSERT_GT(static_cast<double>(recent(retries, ns{11 * slot})) + 1, sure - 1e-6);
            }
        }
    }
}

TEST(window_retry_budget, threads_together_take_no_more_than_there_are) {
    for (std::size_t round = scaled(60, 5); round != 0; --round) {
        manual_clock clock;
        weir::window_retry_budget<manual_clock> budget({.ttl = 1s, .min_per_second = 20, .retry_ratio = 0.5}, clock);
        std::atomic<int> taken{0};
        run_together(4, [&](std::size_t i) {
            for (int n = 0; n < 20; ++n) {
                if (i == 0 && n % 4 == 0) {
                    clock.advance(20ms);  // into other slots, but not so far that one is forgotten
                }
                if (n % 2 == 0) {
                    budget.started();
                }
                if (budget.try_retry()) {
                    taken.fetch_add(1);
                }
            }
        });
        int alone = 0;
        while (budget.try_retry()) {
            ++alone;
        }
        ASSERT_EQ(taken + alone, 20 + 40 / 2) << "20 always, and half of 40 calls";
    }
}

TEST(window_retry_budget, a_sum_that_is_full_takes_no_more) {
    weir::detail::slot_sums<2> sums;
    constexpr auto most = std::numeric_limits<std::uint32_t>::max();
    EXPECT_EQ(sums.add(5, most), 5u);
    EXPECT_EQ(sums.add(5, 1), std::nullopt);
    EXPECT_EQ(sums.sum(5), most);
    EXPECT_EQ(sums.add(6, 3), 6u);
    EXPECT_EQ(sums.sum(6), std::int64_t{most} + 3);
    EXPECT_EQ(sums.add(7, 1), 7u) << "the place of slot 5";
    EXPECT_EQ(sums.sum(7), 4);
    EXPECT_EQ(sums.add(5, 1), 7u) << "which is over";
    sums.take_back(5, 1);
    EXPECT_EQ(sums.sum(7), 5);
    sums.take_back(7, 2);
    EXPECT_EQ(sums.sum(7), 3);
}

TEST(window_retry_budget, slots_may_be_counted_beyond_their_last_number) {
    weir::detail::slot_sums<2> sums;
    constexpr auto last = std::numeric_limits<std::uint32_t>::max();
    EXPECT_EQ(sums.add(last / 2, 9), last / 2);
    EXPECT_EQ(sums.add(last / 2 + 1, 9), last / 2 + 1);
    EXPECT_EQ(sums.sum(last), 0) << "nothing of long ago comes back";
    EXPECT_EQ(sums.add(last - 1, 1), last - 1);
    EXPECT_EQ(sums.add(last, 2), last);
    EXPECT_EQ(sums.sum(last), 3);
    EXPECT_EQ(sums.add(0, 4), 0u);
    EXPECT_EQ(sums.sum(0), 6);
}

// ---- threads

TEST(retry, one_object_serves_many_threads) {
    weir::token_retry_budget budget({.max_tokens = 1e6, .token_ratio = 1});
    manual_clock clock;
    weir::retry<manual_clock, manual_sleeper, weir::token_retry_budget> again{
        {.attempts = 4}, budget, clock, manual_sleeper{clock}};
    findings wrong;
    run_together(4, [&](std::size_t i) {
        for (std::size_t n = scaled(2000); n != 0; --n) {
            auto const good = static_cast<unsigned>(1 + (n + i) % 6);
            unsigned calls = 0;
            auto const r = again.run([&] {
                if (++calls < good) {
                    throw 1;
                }
                return calls;
            });
            wrong.expect(calls == std::min(good, 4u) && r.attempts == calls, "attempts");
            wrong.expect(r.last.has_value() == (good <= 4), "result");
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
}

}  // namespace
}  // namespace weir_test
