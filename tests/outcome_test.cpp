// weir (BSL-1.0). Tests of base/outcome.hpp, base/call_context.hpp and base/sleeper.hpp: what the parts around a call share.
#include <weir/base/call_context.hpp>
#include <weir/base/outcome.hpp>
#include <weir/base/sleeper.hpp>

#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <gtest/gtest.h>

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using weir::failure;
using weir::outcome;
using weir::outcome_of;
using weir::refusal;
using weir::rejected;
using weir::verdict;

constexpr refusal all_refusals[] = {refusal::breaker_open, refusal::breaker_half_open, refusal::breaker_forced_open,
                                    refusal::rate_limited, refusal::over_capacity,     refusal::bulkhead_full,
                                    refusal::timed_out,    refusal::stopped,           refusal::budget_exhausted,
                                    refusal::queue_full,   refusal::closed,            refusal::cancelled,
                                    refusal::expired,      refusal::dropped,           refusal::inside_worker};

outcome<int> thrown(char const* what) {
    return weir::unexpected{failure{std::make_exception_ptr(std::runtime_error{what})}};
}
outcome<int> refused(refusal r) { return weir::unexpected{failure{rejected{r}}}; }

std::string what_of(failure const& f) {
    try {
        f.rethrow();
    } catch (std::exception const& e) {
        return e.what();
    }
}

// ---- outcome

TEST(outcome, every_refusal_has_words_of_its_own) {
    std::set<std::string_view> words;
    for (auto const r : all_refusals) {
        words.insert(to_string(r));
    }
    EXPECT_EQ(words.size(), std::size(all_refusals));
    EXPECT_FALSE(words.contains("unknown refusal"));
    EXPECT_STREQ(to_string(static_cast<refusal>(200)), "unknown refusal");
}

TEST(outcome, a_failure_is_a_rejection_or_an_exception) {
    failure const no{rejected{refusal::rate_limited, 3ms}};
    EXPECT_TRUE(no.is_rejection());
    EXPECT_EQ(no.rejection(), (rejected{refusal::rate_limited, 3ms}));
    EXPECT_EQ(no.exception(), nullptr);
    failure const error{std::make_exception_ptr(std::runtime_error{"lost"})};
    EXPECT_FALSE(error.is_rejection());
    EXPECT_NE(error.exception(), nullptr);
    EXPECT_EQ(rejected{refusal::stopped}.retry_after, rejected::unknown);
}

TEST(outcome, a_failure_can_be_thrown_again) {
    EXPECT_EQ(what_of(thrown("lost").error()), "lost");
    try {
        failure{rejected{refusal::rate_limited, 3ms}}.rethrow();
    } catch (weir::rejected_error const& e) {
        EXPECT_EQ(e.why(), (rejected{refusal::rate_limited, 3ms}));
        EXPECT_STREQ(e.what(), to_string(refusal::rate_limited));
    }
}

TEST(outcome, a_call_gives_its_value_or_what_it_threw) {
    auto const good = outcome_of([](int a, int b) { return a + b; }, 2, 3);
    static_assert(std::is_same_v<decltype(good), outcome<int> const>);
    EXPECT_EQ(good.value(), 5);
    auto const bad = outcome_of([]() -> int { throw std::runtime_error{"lost"}; });
    ASSERT_FALSE(bad.has_value());
    EXPECT_EQ(what_of(bad.error()), "lost");
    auto const odd = outcome_of([]() -> int { throw 7; });  // NOLINT: not only exceptions are thrown
    EXPECT_THROW(odd.error().rethrow(), int);
}

TEST(outcome, a_call_may_give_nothing_or_what_cannot_be_copied_or_a_reference) {
    int calls = 0;
    auto const none = outcome_of([&] { ++calls; });
    static_assert(std::is_same_v<decltype(none), outcome<void> const>);
    EXPECT_TRUE(none.has_value());
    auto const quiet = outcome_of([&]() noexcept { ++calls; });
    EXPECT_TRUE(quiet.has_value());
    EXPECT_EQ(calls, 2);
    EXPECT_FALSE(outcome_of([] { throw 1; }).has_value());

    auto owned = outcome_of([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(7));
    EXPECT_EQ(*owned.value(), 7);

    int number = 1;
    auto copy = outcome_of([&]() -> int& { return number; });
    static_assert(std::is_same_v<decltype(copy), outcome<int>>);
    number = 2;
    EXPECT_EQ(copy.value(), 1);
}

TEST(outcome, an_outcome_that_a_call_gives_is_passed_on) {
    auto const o = outcome_of([] { return refused(refusal::rate_limited); });
    static_assert(std::is_same_v<decltype(o), outcome<int> const>);
    EXPECT_EQ(o.error().rejection().reason, refusal::rate_limited);
}

TEST(outcome, what_taking_over_a_value_throws_is_in_it_too) {
    struct heavy {
        heavy() = default;
        heavy(heavy const&) { throw std::runtime_error{"too heavy"}; }
        heavy(heavy&&) noexcept = default;
        heavy& operator=(heavy const&) = default;
        heavy& operator=(heavy&&) noexcept = default;
        ~heavy() = default;
    };
    heavy const one;
    auto const o = outcome_of([&]() noexcept -> heavy const& { return one; });
    ASSERT_FALSE(o.has_value());
    EXPECT_EQ(what_of(o.error()), "too heavy");
}

TEST(outcome, a_call_that_does_not_throw_makes_one_that_does_not) {
    auto const quiet = []() noexcept { return 1; };
    auto const loud = [] { return 1; };
    static_assert(noexcept(outcome_of(quiet)));
    static_assert(!noexcept(outcome_of(loud)));
    EXPECT_EQ(outcome_of(quiet).value(), outcome_of(loud).value());
}

TEST(outcome, the_usual_verdict) {
    constexpr weir::default_verdict judge;
    static_assert(weir::verdict_of<weir::default_verdict, int> && weir::verdict_of<weir::default_verdict, void>);
    EXPECT_EQ(judge(outcome<int>{1}), verdict::success);
    EXPECT_EQ(judge(thrown("lost")), verdict::failure);
    for (auto const r : all_refusals) {
        EXPECT_EQ(judge(refused(r)), r == refusal::timed_out ? verdict::failure : verdict::ignore) << to_string(r);
    }
}

TEST(outcome, what_may_throw_or_judges_something_else_is_no_verdict) {
    struct loud {
        verdict operator()(outcome<int> const&) const { return verdict::success; }
    };
    struct number {
        int operator()(outcome<int> const&) const noexcept { return 0; }
    };
    static_assert(!weir::verdict_of<loud, int> && !weir::verdict_of<number, int>);
    struct layer {
        using is_policy = void;
    };
    static_assert(weir::policy<layer> && weir::policy<layer const&> && !weir::policy<loud>);
}

// ---- call_context

TEST(call_context, without_a_deadline_all_time_is_left) {
    weir::call_context<> const c;
    EXPECT_EQ(c.left(), std::chrono::nanoseconds::max());
    EXPECT_FALSE(c.expired());
    EXPECT_EQ(c.at_most(5s), 5s);
    EXPECT_EQ(c.attempt, 1u);
    EXPECT_FALSE(c.late);
    EXPECT_FALSE(c.stop.stop_possible());
}

TEST(call_context, time_that_is_left_runs_down_to_zero) {
    weir::manual_clock clock;
    weir::call_context<weir::manual_clock> c{.clock = clock};
    c.deadline = clock.now() + 10ns;
    EXPECT_EQ(c.left(), 10ns);
    EXPECT_EQ(c.at_most(3ns), 3ns);
    EXPECT_EQ(c.at_most(30ns), 10ns);
    clock.advance(9ns);
    EXPECT_FALSE(c.expired());
    clock.advance(1ns);
    EXPECT_TRUE(c.expired());
    EXPECT_EQ(c.left(), 0ns);
    clock.advance(1h);
    EXPECT_EQ(c.left(), 0ns);
    EXPECT_EQ(c.at_most(5s), 0ns);
}

TEST(call_context, a_deadline_at_the_end_of_time_is_as_good_as_none) {
    weir::manual_clock clock{weir::manual_clock::time_point{-5ns}};
    weir::call_context<weir::manual_clock> c{.clock = clock};
    c.deadline = weir::manual_clock::time_point::max();
    EXPECT_EQ(c.left(), std::chrono::nanoseconds::max());
    EXPECT_FALSE(c.expired());
}

// ---- sleeper

TEST(sleeper, both_of_ours_are_some) {
    static_assert(weir::sleeper<weir::thread_sleeper> && weir::sleeper<weir::manual_sleeper>);
    struct forgetful {
        void sleep_for(std::chrono::nanoseconds, std::stop_token) const {}
    };
    static_assert(!weir::sleeper<forgetful>);
}

TEST(sleeper, a_thread_sleeps_at_least_as_long_as_told) {
    weir::thread_sleeper const sleep;
    auto const begin = std::chrono::steady_clock::now();
    EXPECT_TRUE(sleep.sleep_for(2ms));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 2ms);
    EXPECT_TRUE(sleep.sleep_for(0ns));
    EXPECT_TRUE(sleep.sleep_for(std::chrono::nanoseconds::min()));
}

TEST(sleeper, a_stop_that_was_requested_before_leaves_no_sleep) {
    std::stop_source stop;
    stop.request_stop();
    EXPECT_FALSE(weir::thread_sleeper{}.sleep_for(std::chrono::nanoseconds::max(), stop.get_token()));
    EXPECT_FALSE(weir::thread_sleeper{}.sleep_for(0ns, stop.get_token()));
    weir::manual_clock clock;
    auto const before = clock.now();
    EXPECT_FALSE(weir::manual_sleeper{clock}.sleep_for(1h, stop.get_token()));
    EXPECT_EQ(clock.now(), before);
}

// That it ends at all shows that the stop has woken it.
TEST(sleeper, a_stop_wakes_a_thread_that_sleeps_for_ever) {
    for (int i = 0; i < 20; ++i) {
        std::stop_source stop;
        arrivals begun;
        std::atomic<bool> whole{true};
        crew one;
        one.start([&] {
            begun.arrive();
            whole = weir::thread_sleeper{}.sleep_for(std::chrono::nanoseconds::max(), stop.get_token());
        });
        EXPECT_TRUE(begun.wait_for(1));
        stop.request_stop();
        one.join();
        EXPECT_FALSE(whole);
    }
}

TEST(sleeper, a_manual_one_moves_its_clock) {
    weir::manual_clock clock;
    weir::manual_sleeper const sleep{clock};
    auto const before = clock.now();
    EXPECT_TRUE(sleep.sleep_for(3h));
    EXPECT_EQ(clock.now() - before, 3h);
    EXPECT_TRUE(sleep.sleep_for(-3h));
    EXPECT_EQ(clock.now() - before, 3h);
}

}  // namespace
}  // namespace weir_test
