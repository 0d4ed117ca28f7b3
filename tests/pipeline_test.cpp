// weir (BSL-1.0). Tests of flow/pipeline.hpp: layers around a call, in every order.
#include <weir/flow/bulkhead.hpp>
#include <weir/flow/circuit_breaker.hpp>
#include <weir/flow/pipeline.hpp>
#include <weir/flow/rate_limiter.hpp>
#include <weir/flow/retry.hpp>

#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using ns = std::chrono::nanoseconds;
using weir::failure;
using weir::manual_clock;
using weir::outcome;
using weir::refusal;
using weir::rejected;
using weir::verdict;

using manual_context = weir::call_context<manual_clock>;

std::string what_of(failure const& f) {
    try {
        f.rethrow();
    } catch (std::exception const& e) {
        return e.what();
    }
}
failure error(char const* what) { return failure{std::make_exception_ptr(std::runtime_error{what})}; }
failure refused(refusal r) { return failure{rejected{r}}; }

// The failure of a fallback that has failed.
weir::fallback_error both_of(failure const& f) {
    try {
        f.rethrow();
    } catch (weir::fallback_error const& e) {
        return e;
    } catch (...) {
    }
    ADD_FAILURE() << "not a fallback_error";
    return {f, f};
}

// ---- calls

TEST(pipeline, without_layers_it_is_the_call) {
    constexpr weir::pipeline<> p;
    EXPECT_EQ(p([](int a, int b) { return a - b; }, 5, 3).value(), 2);
    auto const bad = p([]() -> int { throw std::runtime_error{"lost"}; });
    EXPECT_EQ(what_of(bad.error()), "lost");
    static_assert(std::is_same_v<decltype(p([] { return 1; })), outcome<int>>);
}

TEST(pipeline, a_call_takes_the_context_or_not) {
    auto const p = weir::pipeline<>{};
    EXPECT_EQ(p([](auto& context, int a) { return context.attempt + static_cast<unsigned>(a); }, 2).value(), 3u);
    EXPECT_EQ(p([](weir::call_context<>&) { return 4; }).value(), 4);
    EXPECT_EQ(p([](int a) { return a; }, 5).value(), 5);
    static constexpr auto doubled = +[](int a) { return 2 * a; };
    EXPECT_EQ(p(*doubled, 5).value(), 10) << "a function";
}

TEST(pipeline, results_may_be_nothing_or_cannot_be_copied_or_are_references_or_outcomes) {
    auto const p = weir::fallback([] {}) | weir::timeout(1h);
    int calls = 0;
    EXPECT_TRUE(p([&] { ++calls; }).has_value());
    EXPECT_TRUE(p([] { throw 1; }).has_value()) << "the fallback gives nothing too";

    auto const q = weir::fallback([] { return std::make_unique<int>(2); }) | weir::timeout(1h);
    EXPECT_EQ(*q([] { return std::make_unique<int>(1); }).value(), 1);
    EXPECT_EQ(*q([]() -> std::unique_ptr<int> { throw 1; }).value(), 2);

    int number = 1;
    auto const r = (weir::timeout(1h) | weir::timeout(2h))([&]() -> int& { return number; });
    static_assert(std::is_same_v<decltype(r), outcome<int> const>);
    EXPECT_EQ(r.value(), 1);

    auto const o = q([]() -> outcome<std::unique_ptr<int>> { return weir::unexpected{error("lost")}; });
    EXPECT_EQ(*o.value(), 2);
    EXPECT_EQ(calls, 1);
}

TEST(pipeline, arguments_are_passed_as_they_are_and_may_be_changed) {
    auto const p = weir::timeout(1h) | weir::timeout(2h);
    auto owner = std::make_unique<int>(1);
    EXPECT_TRUE(p([](std::unique_ptr<int>& o) { *o = 7; }, owner).has_value());
    EXPECT_EQ(*owner, 7);
    EXPECT_EQ(p([](std::unique_ptr<int> const& o) { return *o; }, std::make_unique<int>(8)).value(), 8);
    auto counting = [n = 0]() mutable { return ++n; };
    static_cast<void>(p(counting));
    EXPECT_EQ(p(counting).value(), 2) << "the function is not copied";
}

TEST(pipeline, a_context_of_the_callers_is_handed_through) {
    manual_clock clock;
    std::stop_source stop;
    manual_context context{.stop = stop.get_token(), .deadline = clock.now() + 5s, .clock = clock};
    context.late = true;  // from a call before
    context.attempt = 9;
    auto const p = weir::timeout(1h) | weir::timeout(3s);
    auto const r = p.run(context, [&](manual_context& c) {
        EXPECT_EQ(c.left(), 3s);
        EXPECT_EQ(c.attempt, 1u);
        EXPECT_TRUE(c.stop.stop_possible());
        return 1;
    });
    EXPECT_EQ(r.value(), 1);
    EXPECT_EQ(context.left(), 5s) << "each layer puts back the deadline";
    EXPECT_FALSE(context.late);
}

// Writes down what comes back to it.
struct spy {
    using is_policy = void;
    std::vector<std::string>* log;
    char const* name;

    template <class Context, class Next>
    auto operator()(Context& context, Next&& next) const {
        log->push_back(std::string{"+"} + name);
        auto result = next(context);
        log->push_back(std::string{result.has_value() ? "-" : "!"} + name);
        return result;
    }
};

TEST(pipeline, layers_of_the_callers_own_are_some_and_the_first_is_the_outermost) {
    std::vector<std::string> log;
    spy const a{&log, "a"};
    spy const b{&log, "b"};
    spy const c{&log, "c"};
    spy const d{&log, "d"};
    using weir::operator|;
    auto const left = a | b;
    auto const right = c | d;
    std::vector<std::string> const expected{"+a", "+b", "+c", "+d", "!d", "!c", "!b", "!a"};
    auto const fail = [] { throw 1; };
    static_cast<void>((left | right)(fail));
    EXPECT_EQ(log, expected);
    log.clear();
    static_cast<void>((a | (b | right))(fail));
    EXPECT_EQ(log, expected);
    log.clear();
    static_cast<void>((left | c | d)(fail));
    EXPECT_EQ(log, expected);
    log.clear();
    static_cast<void>((weir::pipeline<>{} | left | right | weir::pipeline<>{})(fail));
    EXPECT_EQ(log, expected);
}

TEST(pipeline, layers_need_not_be_copied) {
    auto const p =
        weir::fallback([own = std::make_unique<int>(3)] { return *own; }) | weir::timeout(1h) | weir::timeout(2h);
    EXPECT_EQ(p([]() -> int { throw 1; }).value(), 3);
    auto const q =
        weir::timeout(1h) | (weir::fallback([own = std::make_unique<int>(4)] { return *own; }) | weir::timeout(2h));
    EXPECT_EQ(q([]() -> int { throw 1; }).value(), 4);
}

// ---- fallback

TEST(fallback, answers_for_every_kind_of_failure_and_is_told_which) {
    std::string seen;
    auto const p = weir::fallback([&](failure const& f) {
                       seen = what_of(f);
                       return 7;
                   }) |
                   weir::timeout(1h);
    EXPECT_EQ(p([] { return 1; }).value(), 1);
    EXPECT_EQ(seen, "");
    EXPECT_EQ(p([]() -> int { throw std::runtime_error{"lost"}; }).value(), 7);
    EXPECT_EQ(seen, "lost");
    EXPECT_EQ(p([]() -> outcome<int> { return weir::unexpected{refused(refusal::rate_limited)}; }).value(), 7);
    EXPECT_EQ(seen, to_string(refusal::rate_limited));
}

TEST(fallback, what_it_gives_becomes_a_result_of_the_call) {
    auto const p = weir::fallback([] { return "unknown"; }) | weir::timeout(1h);
    auto const r = p([]() -> std::string { throw 1; });
    static_assert(std::is_same_v<decltype(r), outcome<std::string> const>);
    EXPECT_EQ(r.value(), "unknown");
}

TEST(fallback, keeps_both_errors_if_it_fails_too) {
    auto const lose = []() -> int { throw std::runtime_error{"first"}; };
    auto const thrown = weir::fallback([]() -> int { throw std::runtime_error{"second"}; }) | weir::timeout(1h);
    auto e = both_of(thrown(lose).error());
    EXPECT_EQ(what_of(e.first()), "first");
    EXPECT_EQ(what_of(e.second()), "second");
    EXPECT_NE(std::string{e.what()}, "");

    auto const refuse =
        weir::fallback([]() -> outcome<int> { return weir::unexpected{refused(refusal::bulkhead_full)}; });
    e = both_of((refuse | weir::timeout(1h))(lose).error());
    EXPECT_EQ(what_of(e.first()), "first");
    EXPECT_EQ(e.second().rejection().reason, refusal::bulkhead_full);

    e = both_of(thrown([]() -> outcome<int> { return weir::unexpected{refused(refusal::breaker_open)}; }).error());
    EXPECT_EQ(e.first().rejection().reason, refusal::breaker_open);
    EXPECT_EQ(what_of(e.second()), "second");

    auto const nested = weir::fallback([]() -> int { throw std::runtime_error{"third"}; }) | thrown;
    e = both_of(nested(lose).error());
    EXPECT_EQ(what_of(e.second()), "third");
    EXPECT_EQ(what_of(both_of(e.first()).first()), "first");
}

TEST(fallback, of_two_refusals_the_second_is_the_result) {
    auto const p = weir::fallback([]() -> outcome<int> { return weir::unexpected{refused(refusal::bulkhead_full)}; }) |
                   weir::timeout(1h);
    auto const r = p([]() -> outcome<int> { return weir::unexpected{refused(refusal::breaker_open)}; });
    EXPECT_EQ(r.error().rejection().reason, refusal::bulkhead_full);
}

TEST(fallback, a_failure_that_it_hands_back_stays_as_it_is) {
    auto const lose = []() -> int { throw std::runtime_error{"first"}; };
    auto const refuse = []() -> outcome<int> { return weir::unexpected{refused(refusal::over_capacity)}; };
    auto const back =
        weir::fallback([](failure const& f) -> outcome<int> { return weir::unexpected{f}; }) | weir::timeout(1h);
    EXPECT_EQ(what_of(back(lose).error()), "first");
    EXPECT_EQ(back(refuse).error().rejection().reason, refusal::over_capacity);
    auto const thrown = weir::fallback([](failure const& f) -> int { f.rethrow(); }) | weir::timeout(1h);
    EXPECT_EQ(what_of(thrown(lose).error()), "first");
}

TEST(fallback, what_the_conversion_of_its_answer_throws_is_not_lost) {
    struct picky {
        picky() = default;
        picky(int) { throw std::runtime_error{"no int"}; }  // NOLINT: implicit on purpose
    };
    auto const p = weir::fallback([] { return 1; }) | weir::timeout(1h);
    auto const e = both_of(p([]() -> picky { throw std::runtime_error{"first"}; }).error());
    EXPECT_EQ(what_of(e.first()), "first");
    EXPECT_EQ(what_of(e.second()), "no int");
}

// ---- timeout

TEST(timeout, hands_on_a_late_value_and_says_so) {
    manual_clock clock;
    manual_context context{.clock = clock};
    auto const p = weir::pipeline<>{} | weir::timeout(10ns);
    auto const in_time = p.run(context, [&] {
        clock.advance(9ns);
        return 1;
    });
    EXPECT_EQ(in_time.value(), 1);
    EXPECT_FALSE(context.late);
    auto const late = p.run(context, [&] {
        clock.advance(10ns);
        return 2;
    });
    EXPECT_EQ(late.value(), 2);
    EXPECT_TRUE(context.late);
}

TEST(timeout, a_late_failure_is_timed_out) {
    manual_clock clock;
    manual_context context{.clock = clock};
    auto const r = (weir::pipeline<>{} | weir::timeout(10ns)).run(context, [&]() -> int {
        clock.advance(1h);
        throw 1;
    });
    EXPECT_EQ(r.error().rejection().reason, refusal::timed_out);
    EXPECT_TRUE(context.late);
}

TEST(timeout, calls_nothing_after_the_callers_deadline) {
    manual_clock clock;
    manual_context context{.deadline = clock.now(), .clock = clock};
    bool called = false;
    auto const r = (weir::pipeline<>{} | weir::timeout(10ns)).run(context, [&] { called = true; });
    EXPECT_EQ(r.error().rejection().reason, refusal::timed_out);
    EXPECT_FALSE(called);
}

TEST(timeout, must_be_longer_than_nothing) {
    for (auto const bad : {0ns, -1ns, ns::min()}) {
        EXPECT_THROW(static_cast<void>(weir::timeout(bad)), std::invalid_argument);
    }
    EXPECT_EQ((weir::pipeline<>{} | weir::timeout(ns::max()))([] { return 1; }).value(), 1);
}

// ---- every order: pipelines of up to four layers against a few lines that say what each of them does

constexpr ns retry_delay = 10ns;
constexpr ns time_limit = 25ns;
constexpr unsigned retry_attempts = 3;

enum class kind : unsigned char { fallback, retry, breaker, open_breaker, limiter, bulkhead, full_bulkhead, timeout };
constexpr std::size_t kinds = 8;
constexpr char const* kind_names[] = {"fallback", "retry",    "breaker",       "open_breaker",
                                      "limiter",  "bulkhead", "full_bulkhead", "timeout"};

struct one_call {
    ns takes;
    bool good;
};

// How a pipeline's call went: in the model and in fact.
struct account {
    std::optional<refusal> refused;  // none: a value or an exception
    bool value = false;
    bool late = false;
    std::size_t calls = 0;
    ns took = 0ns;
    std::vector<verdict> verdicts;  // that breakers were told, in this order
    std::size_t most_in_use = 0;    // permits of the bulkheads
};

struct plan {
    std::vector<kind> layers;
    std::vector<one_call> script;
    std::int64_t tokens = 0;  // of the limiter

    [[nodiscard]] std::string text() const {
        std::string s;
        for (auto const k : layers) {
            s += std::string{kind_names[static_cast<std::size_t>(k)]} + " | ";
        }
        for (auto const& c : script) {
            s += std::to_string(c.takes.count()) + (c.good ? "+ " : "! ");
        }
        return s + "tokens " + std::to_string(tokens);
    }
};

class model {
public:
    explicit model(plan const& p) : plan_(p), tokens_(p.tokens) {}
    account run() {
        call(0, ns::max());
        return a_;
    }

private:
    void refuse(refusal r) {
        a_.value = false;
        a_.refused = r;
    }
    [[nodiscard]] bool passes() const { return !a_.value && (!a_.refused || a_.refused == refusal::timed_out); }

    void call(std::size_t i, ns deadline) {
        if (i == plan_.layers.size()) {
            auto const& c = plan_.script[a_.calls++ % plan_.script.size()];
            a_.took += c.takes;
            a_.value = c.good;
            a_.refused.reset();
            a_.most_in_use = std::max(a_.most_in_use, in_use_);
            return;
        }
        switch (plan_.layers[i]) {
            case kind::fallback:
                call(i + 1, deadline);
                a_.value = true;
                a_.refused.reset();
                return;
            case kind::retry:
                for (unsigned n = 1;; ++n) {
                    a_.late = false;
                    call(i + 1, deadline);
                    if (!passes() || n == retry_attempts ||
                        (deadline != ns::max() && a_.took + retry_delay >= deadline)) {
                        return;
                    }
                    a_.took += retry_delay;
                }
            case kind::breaker:
                call(i + 1, deadline);
                a_.verdicts.push_back(a_.value && !a_.late   ? verdict::success
                                      : a_.value || passes() ? verdict::failure
                                                             : verdict::ignore);
                return;
            case kind::open_breaker:
                return refuse(refusal::breaker_open);
            case kind::limiter:
                if (tokens_ == 0) {
                    return refuse(refusal::rate_limited);
                }
                --tokens_;
                return call(i + 1, deadline);
            case kind::bulkhead:
                ++in_use_;
                call(i + 1, deadline);
                --in_use_;
                return;
            case kind::full_bulkhead:
                return refuse(refusal::bulkhead_full);
            case kind::timeout: {
                auto const mine = std::min(deadline, a_.took + time_limit);
                if (a_.took >= mine) {
                    return refuse(refusal::timed_out);
                }
                call(i + 1, mine);
                if (a_.took >= mine) {
                    a_.late = true;
                    if (!a_.value) {
                        refuse(refusal::timed_out);
                    }
                }
                return;
            }
        }
    }

    plan const& plan_;
    account a_;
    std::int64_t tokens_;
    std::size_t in_use_ = 0;
};

// A layer of any kind, so that pipelines of all orders are one type.
struct any_layer {
    using is_policy = void;
    using next_type = std::function<outcome<int>(manual_context&)>;
    std::function<outcome<int>(manual_context&, next_type const&)> layer;

    template <class Next>
    outcome<int> operator()(manual_context& c, Next&& next) const {
        return layer(c, next_type{next});
    }
};

struct nothing_layer {
    using is_policy = void;
    template <class Context, class Next>
    auto operator()(Context& c, Next&& next) const {
        return next(c);
    }
};

// The real thing.
account measure(plan const& p) {
    using breaker = weir::circuit_breaker<weir::count_window, manual_clock>;
    account a;
    manual_clock clock;
    weir::retry<manual_clock, weir::manual_sleeper> again{
        {.attempts = retry_attempts,
         .delay = {.base = retry_delay, .multiplier = 1, .jitter = weir::backoff_jitter::none}},
        clock,
        weir::manual_sleeper{clock}};
    breaker closed{{.calls = 1000, .rates = {.min_calls = 1000}}, {}, clock};
    breaker open{{}, {}, clock};
    open.trip();
    weir::token_bucket<manual_clock> limit{{.limit = 1, .period = 24h, .burst = std::max<std::int64_t>(p.tokens, 1)},
                                           clock};
    if (p.tokens == 0) {
        EXPECT_TRUE(limit.try_acquire());
    }
    weir::bulkhead room{{.max_concurrent = 8}};
    weir::bulkhead full{{.max_concurrent = 1}};
    auto const last = full.try_acquire();
    // Records what the breaker is told, as its window counts it.
    auto const guarded = [&](manual_context& c, any_layer::next_type const& next) {
        auto const layer = closed.policy();
        // Layers below may be breakers too: only what is added after they are through is this one's.
        weir::circuit_breaker_stats before;
        auto r = layer(c, [&](manual_context& inner) {
            auto result = next(inner);
            before = closed.stats();
            return result;
        });
        auto const after = closed.stats();
        EXPECT_LE(after.calls, before.calls + 1);
        a.verdicts.push_back(after.calls == before.calls     ? verdict::ignore
                             : after.failed == before.failed ? verdict::success
                                                             : verdict::failure);
        return r;
    };
    auto const make = [&](kind k) -> any_layer {
        switch (k) {
            case kind::fallback:
                return {weir::fallback([] { return 0; })};
            case kind::retry:
                return {again.policy()};
            case kind::breaker:
                return {guarded};
            case kind::open_breaker:
                return {open.policy()};
            case kind::limiter:
                return {limit.policy()};
            case kind::bulkhead:
                return {room.policy()};
            case kind::full_bulkhead:
                return {full.policy()};
            case kind::timeout:
                return {weir::timeout(time_limit)};
        }
        return {};
    };
    auto const at = [&](std::size_t i) { return i < p.layers.size() ? make(p.layers[i]) : any_layer{nothing_layer{}}; };
    using weir::operator|;
    auto const all = at(0) | at(1) | at(2) | at(3);
    manual_context context{.clock = clock};
    auto const begin = clock.now();
    auto const r = all.run(context, [&]() -> int {
        auto const& c = p.script[a.calls++ % p.script.size()];
        clock.advance(c.takes);
        a.most_in_use = std::max(a.most_in_use, room.stats().in_use);
        if (!c.good) {
            throw 1;
        }
        return 1;
    });
    a.value = r.has_value();
    if (!r.has_value() && r.error().is_rejection()) {
        a.refused = r.error().rejection().reason;
    }
    a.late = context.late;
    a.took = clock.now() - begin;
    EXPECT_EQ(room.stats().in_use, 0u) << "no permit outlives the call";
    EXPECT_FALSE(context.deadline.has_value());
    return a;
}

void expect_as_planned(plan const& p) {
    auto const expected = model{p}.run();
    auto const found = measure(p);
    EXPECT_EQ(found.calls, expected.calls) << p.text();
    EXPECT_EQ(found.value, expected.value) << p.text();
    EXPECT_EQ(found.refused, expected.refused) << p.text();
    EXPECT_EQ(found.late, expected.late) << p.text();
    EXPECT_EQ(found.took, expected.took) << p.text();
    EXPECT_EQ(found.most_in_use, expected.most_in_use) << p.text();
    EXPECT_EQ(found.verdicts, expected.verdicts) << p.text();
}

TEST(pipeline, each_pair_of_layers_does_what_its_order_says) {
    std::vector<std::vector<one_call>> const scripts{{{1ns, true}},
                                                     {{1ns, false}},
                                                     {{30ns, true}},
                                                     {{30ns, false}},
                                                     {{1ns, false}, {30ns, true}},
                                                     {{30ns, false}, {1ns, true}}};
    for (std::size_t a = 0; a < kinds; ++a) {
        for (std::size_t b = 0; b < kinds; ++b) {
            for (auto const& script : scripts) {
                for (std::int64_t tokens = 0; tokens < 3; ++tokens) {
                    expect_as_planned({{static_cast<kind>(a), static_cast<kind>(b)}, script, tokens});
                    if (testing::Test::HasFailure()) {
                        return;
                    }
                }
            }
        }
    }
}

TEST(pipeline, up_to_four_layers_do_what_their_order_says) {
    random_numbers random{run_seed()};
    for (std::size_t round = scaled(6000); round != 0 && !testing::Test::HasFailure(); --round) {
        plan p;
        for (auto n = 1 + random.below(4); n != 0; --n) {
            p.layers.push_back(static_cast<kind>(random.below(kinds)));
        }
        for (auto n = 1 + random.below(4); n != 0; --n) {
            p.script.push_back({ns{static_cast<std::int64_t>(random.below(30))}, random.one_in(2)});
        }
        p.tokens = static_cast<std::int64_t>(random.below(5));
        expect_as_planned(p);
    }
}

TEST(pipeline, a_late_value_is_a_failure_to_a_breaker_above_the_timeout) {
    manual_clock clock;
    weir::circuit_breaker<weir::consecutive_failures, manual_clock> breaker{{.failures = 2}, {}, clock};
    auto const p = breaker.policy() | weir::timeout(10ns);
    manual_context context{.clock = clock};
    for (int i = 0; i < 2; ++i) {
        EXPECT_TRUE(p.run(context, [&] { clock.advance(10ns); }).has_value());
    }
    EXPECT_EQ(breaker.current(), weir::breaker_state::open);
}

TEST(pipeline, a_retry_shows_each_attempt_to_the_breaker_below_it_and_one_result_to_the_breaker_above) {
    manual_clock clock;
    weir::retry<manual_clock, weir::manual_sleeper> again{{.attempts = 4}, clock, weir::manual_sleeper{clock}};
    weir::circuit_breaker<weir::consecutive_failures, manual_clock> outer{{.failures = 99}, {}, clock};
    weir::circuit_breaker<weir::consecutive_failures, manual_clock> inner{{.failures = 99}, {}, clock};
    auto const p = outer.policy() | again.policy() | inner.policy();
    std::vector<unsigned> attempts;
    manual_context context{.clock = clock};
    static_cast<void>(p.run(context, [&](manual_context& c) {
        attempts.push_back(c.attempt);
        throw 1;
    }));
    EXPECT_EQ(attempts, (std::vector<unsigned>{1, 2, 3, 4}));
    EXPECT_EQ(inner.stats().calls, 4u);
    EXPECT_EQ(outer.stats().calls, 1u);
    EXPECT_EQ(context.attempt, 4u);
}

TEST(pipeline, a_retry_ends_with_the_callers_stop_and_within_a_timeout_above_it) {
    manual_clock clock;
    weir::retry<manual_clock, weir::manual_sleeper> again{
        {.attempts = 9, .delay = {.base = 10ns, .multiplier = 1, .jitter = weir::backoff_jitter::none}},
        clock,
        weir::manual_sleeper{clock}};
    manual_context context{.clock = clock};
    int calls = 0;
    auto const lose = [&] {
        ++calls;
        throw 1;
    };
    static_cast<void>((weir::timeout(25ns) | again.policy()).run(context, lose));
    EXPECT_EQ(calls, 3);  // at 0, 10 and 20 ns
    std::stop_source stop;
    stop.request_stop();
    context.stop = stop.get_token();
    calls = 0;
    static_cast<void>((weir::timeout(25ns) | again.policy()).run(context, lose));
    EXPECT_EQ(calls, 1);
}

TEST(pipeline, retries_what_is_refused_below_if_told_to) {
    manual_clock clock;
    weir::retry<manual_clock, weir::manual_sleeper> again{
        {.attempts = 3, .delay = {.base = 1ms, .max = 1min}}, clock, weir::manual_sleeper{clock}};
    weir::token_bucket<manual_clock> limit{{.limit = 1, .period = 10s, .burst = 1}, clock};
    manual_context context{.clock = clock};
    auto const p = again.policy(weir::default_retry_advice{.rejections = true}) | limit.policy();
    auto const begin = clock.now();
    EXPECT_TRUE(p.run(context, [] {}).has_value());
    EXPECT_TRUE(p.run(context, [] {}).has_value());
    EXPECT_EQ(clock.now() - begin, 10s) << "it came again when the limiter had said";
}

TEST(pipeline, one_object_serves_many_threads) {
    weir::retry again{{.attempts = 3, .delay = {.base = 1ns, .max = 1ns}}};
    weir::circuit_breaker<weir::consecutive_failures> breaker{{.failures = 1'000'000}};
    weir::bulkhead room{{.max_concurrent = 2, .max_waiting = 8}};
    std::atomic<int> in{0};
    findings wrong;
    auto const p =
        weir::fallback([] { return -1; }) | weir::timeout(1h) | again.policy() | breaker.policy() | room.policy(1h);
    run_together(4, [&](std::size_t i) {
        for (std::size_t n = scaled(2000); n != 0; --n) {
            unsigned calls = 0;
            auto const r = p([&] {
                ++calls;
                wrong.expect(in.fetch_add(1) < 2, "too many at once");
                in.fetch_sub(1);
                if ((n + i) % 4 > calls) {
                    throw 1;
                }
                return static_cast<int>(calls);
            });
            auto const needed = std::max(1, static_cast<int>((n + i) % 4));
            wrong.expect(r.value() == needed, "another result");
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(room.stats().in_use, 0u);
}

// ---- executors

// Each task in a thread of its own; joined at the end.
class thread_executor {
public:
    template <class Task>
    void execute(Task task) {
        threads_.start(std::move(task));
    }

private:
    crew threads_;
};

// Keeps tasks until somebody runs them.
class hand_executor {
public:
    template <class Task>
    void execute(Task task) {
        tasks_.emplace_back(std::move(task));
    }
    [[nodiscard]] std::size_t size() const { return tasks_.size(); }
    void run_one() {
        auto const task = std::move(tasks_.front());
        tasks_.pop_front();
        task();
    }

private:
    std::deque<std::function<void()>> tasks_;
};

struct inline_executor {
    std::size_t refuse_from = 1000;  // tasks before it throws
    std::size_t tasks = 0;
    template <class Task>
    void execute(Task task) {
        if (tasks++ >= refuse_from) {
            throw std::runtime_error{"no more tasks"};
        }
        task();
    }
};

TEST(timeout_on_an_executor, hands_on_what_comes_in_time) {
    thread_executor threads;
    auto const p = weir::pipeline<>{} | weir::timeout(1h, threads);
    EXPECT_EQ(p([](int a) { return a; }, 7).value(), 7);
    EXPECT_EQ(*p([] { return std::make_unique<int>(8); }).value(), 8);
    EXPECT_EQ(what_of(p([]() -> int { throw std::runtime_error{"lost"}; }).error()), "lost");
    EXPECT_TRUE(p([] {}).has_value());
    EXPECT_EQ(p([](std::unique_ptr<int>& a) { return *a; }, std::make_unique<int>(9)).value(), 9)
        << "it keeps the arguments";
    for (auto const bad : {0ns, -1ns}) {
        EXPECT_THROW(static_cast<void>(weir::timeout(bad, threads)), std::invalid_argument);
    }
}

TEST(timeout_on_an_executor, returns_when_time_is_up_and_the_call_keeps_its_permits_until_it_ends) {
    weir::bulkhead above{{.max_concurrent = 1}};
    weir::bulkhead below{{.max_concurrent = 1}};
    gate go_on;
    arrivals seen;
    std::atomic<bool> stopped{false};
    {
        thread_executor threads;
        auto const p = above.policy() | weir::timeout(1ms, threads) | below.policy();
        weir::call_context<> context;
        auto const begin = std::chrono::steady_clock::now();
        auto const r = p.run(context, [&, own = std::string(100, 'x')](weir::call_context<>& c) {
            seen.arrive();
            EXPECT_TRUE(go_on.wait());
            stopped = c.stop.stop_requested();
            EXPECT_EQ(own, std::string(100, 'x')) << "what it needs lives as long as it does";
        });
        EXPECT_GE(std::chrono::steady_clock::now() - begin, 1ms);
        EXPECT_EQ(r.error().rejection().reason, refusal::timed_out);
        EXPECT_TRUE(context.late);
        EXPECT_TRUE(seen.wait_for(1));
        EXPECT_EQ(above.stats().in_use, 0u);
        EXPECT_EQ(below.stats().in_use, 1u);
        go_on.open();
    }
    EXPECT_TRUE(stopped) << "and it was told to stop";
    EXPECT_EQ(below.stats().in_use, 0u);
}

TEST(timeout_on_an_executor, a_call_that_begins_too_late_does_no_harm) {
    hand_executor later;
    weir::bulkhead below{{.max_concurrent = 1}};
    int calls = 0;
    {
        auto const p = weir::timeout(1ns, later) | weir::timeout(1ns) | below.policy();
        EXPECT_EQ(p([&] { ++calls; }).error().rejection().reason, refusal::timed_out);
        EXPECT_EQ(below.stats().in_use, 0u);
    }
    ASSERT_EQ(later.size(), 1u);
    later.run_one();  // after the pipeline is gone: it has what it needs
    EXPECT_EQ(calls, 0) << "the timeout below saw that it was too late";
}

TEST(timeout_on_an_executor, a_stop_of_the_callers_leaves_the_call_alone) {
    hand_executor later;
    std::stop_source stop;
    weir::call_context<> context{.stop = stop.get_token()};
    stop.request_stop();
    bool told = false;
    auto const r = (weir::pipeline<>{} | weir::timeout(1h, later)).run(context, [&](weir::call_context<>& c) {
        told = c.stop.stop_requested();
    });
    EXPECT_EQ(r.error().rejection().reason, refusal::stopped);
    later.run_one();
    EXPECT_TRUE(told);
}

TEST(timeout_on_an_executor, calls_nothing_after_the_callers_deadline) {
    inline_executor here;
    weir::call_context<> context{.deadline = std::chrono::steady_clock::now()};
    EXPECT_EQ((weir::pipeline<>{} | weir::timeout(1h, here)).run(context, [] {}).error().rejection().reason,
              refusal::timed_out);
    EXPECT_EQ((weir::pipeline<>{} | weir::hedge(here, 1h)).run(context, [] {}).error().rejection().reason,
              refusal::timed_out);
    EXPECT_EQ(here.tasks, 0u);
}

TEST(timeout_on_an_executor, what_the_executor_throws_is_the_outcome) {
    inline_executor none{.refuse_from = 0};
    auto const r = (weir::pipeline<>{} | weir::timeout(1h, none))([] { return 1; });
    EXPECT_EQ(what_of(r.error()), "no more tasks");
}

// Moves so often, then throws.
struct seldom_movable {
    int* moves_left;
    explicit seldom_movable(int* left) noexcept : moves_left(left) {}
    seldom_movable(seldom_movable&& other) : moves_left(other.moves_left) {
        if ((*moves_left)-- == 0) {
            throw std::runtime_error{"not again"};
        }
    }
    seldom_movable& operator=(seldom_movable&&) = delete;
};

TEST(timeout_on_an_executor, a_result_whose_move_throws_is_a_failure) {
    inline_executor here;
    auto const p = weir::pipeline<>{} | weir::timeout(1h, here);
    auto const value_after = [&](int moves) {
        int left = moves;
        return p([&] { return seldom_movable{&left}; }).has_value();
    };
    int enough = 0;
    while (enough != 20 && !value_after(enough)) {
        ++enough;
    }
    EXPECT_GT(enough, 1);
    EXPECT_LT(enough, 20);
}

TEST(timeout_on_an_executor, stands_beside_any_other_layer) {
    inline_executor here;
    weir::bulkhead room{{.max_concurrent = 2}};
    auto const first = weir::timeout(1h, here) | weir::hedge(here, 1h);
    auto const second = weir::hedge(here, 1h) | room.policy() | weir::timeout(1h, here);
    EXPECT_EQ(first([] { return 1; }).value(), 1);
    EXPECT_EQ(second([] { return 2; }).value(), 2);
}

TEST(timeout_on_an_executor, what_copying_the_call_throws_is_the_outcome) {
    struct heavy {
        heavy() = default;
        heavy(heavy const&) { throw std::runtime_error{"too heavy"}; }
        heavy& operator=(heavy const&) = default;
        ~heavy() = default;
        int operator()() const { return 1; }
    };
    inline_executor here;
    heavy const f;
    EXPECT_EQ(what_of((weir::pipeline<>{} | weir::timeout(1h, here))(f).error()), "too heavy");
    EXPECT_EQ(here.tasks, 0u);
}

TEST(timeout_on_an_executor, late_values_and_attempts_below_it_are_seen_above) {
    inline_executor here;
    manual_clock clock;
    manual_context context{.clock = clock};
    weir::retry<manual_clock, weir::manual_sleeper> again{{.attempts = 3}, clock, weir::manual_sleeper{clock}};
    auto const p = weir::timeout(1h, here) | again.policy() | weir::timeout(10ns);
    auto const r = p.run(context, [&](manual_context& c) {
        clock.advance(20ns);
        if (c.attempt < 3) {
            throw 1;
        }
        return 1;
    });
    EXPECT_EQ(r.value(), 1);
    EXPECT_TRUE(context.late);
    EXPECT_EQ(context.attempt, 3u);
}

TEST(timeout_on_an_executor, retries_above_it_begin_a_call_of_their_own) {
    hand_executor later;
    weir::retry again{{.attempts = 3, .delay = {.base = 1ns, .max = 1ns}}};
    auto const p = again.policy() | weir::timeout(1ns, later);
    EXPECT_EQ(p([] {}).error().rejection().reason, refusal::timed_out);
    EXPECT_EQ(later.size(), 3u);
    while (later.size() != 0) {
        later.run_one();
    }
}

// ---- hedge

TEST(hedge, a_first_call_that_is_quick_enough_stays_alone) {
    inline_executor here;
    auto const p = weir::pipeline<>{} | weir::hedge(here, 24h, 3);
    EXPECT_EQ(p([](auto& c) { return c.attempt; }).value(), 1u);
    EXPECT_EQ(what_of(p([]() -> int { throw std::runtime_error{"lost"}; }).error()), "lost")
        << "a failure is quick too";
    EXPECT_EQ(here.tasks, 2u);
}

TEST(hedge, the_first_value_wins_and_the_others_are_told_to_stop) {
    std::atomic<int> stopped{0};
    weir::bulkhead room{{.max_concurrent = 3}};
    {
        thread_executor threads;
        auto const p = weir::hedge(threads, 0ns, 2) | room.policy();
        auto const r = p([&](weir::call_context<>& c) {
            if (c.attempt == 3) {
                return c.attempt;
            }
            if (!weir::thread_sleeper{}.sleep_for(patience, c.stop)) {
                ++stopped;
            }
            return 0u;
        });
        EXPECT_EQ(r.value(), 3u);
    }
    EXPECT_EQ(stopped, 2);
    EXPECT_EQ(room.stats().in_use, 0u);
    EXPECT_EQ(room.stats().admitted, 3u);
}

TEST(hedge, a_failure_waits_for_the_others) {
    thread_executor threads;
    arrivals failed;
    auto const p = weir::pipeline<>{} | weir::hedge(threads, 0ns, 1);
    auto const r = p([&](weir::call_context<>& c) {
        if (c.attempt == 2) {
            failed.arrive();
            throw 1;
        }
        EXPECT_TRUE(failed.wait_for(1));
        return c.attempt;
    });
    EXPECT_EQ(r.value(), 1u);
}

TEST(hedge, if_all_fail_the_last_failure_is_the_result) {
    thread_executor threads;
    arrivals second;
    gate first_may_fail;
    auto const p = weir::pipeline<>{} | weir::hedge(threads, 0ns, 1);
    std::atomic<int> calls{0};
    auto const r = p([&](weir::call_context<>& c) {
        ++calls;
        if (c.attempt == 1) {
            EXPECT_TRUE(second.wait_for(1));
            throw std::runtime_error{"lost"};
        }
        second.arrive();
        throw std::runtime_error{"lost"};
    });
    EXPECT_EQ(what_of(r.error()), "lost");
    EXPECT_EQ(calls, 2);
}

TEST(hedge, calls_no_more_often_than_it_may) {
    for (unsigned const more : {1u, 3u, 15u}) {
        hand_executor later;
        weir::call_context<> context{.deadline = std::chrono::steady_clock::now() + 50ms};
        auto const r = (weir::pipeline<>{} | weir::hedge(later, 0ns, more)).run(context, [] { return 1; });
        EXPECT_EQ(r.error().rejection().reason, refusal::timed_out);
        EXPECT_EQ(later.size(), more + 1);
        while (later.size() != 0) {
            later.run_one();
        }
    }
    inline_executor here;
    for (unsigned const bad : {0u, 16u, ~0u}) {
        EXPECT_THROW(static_cast<void>(weir::hedge(here, 1ms, bad)), std::invalid_argument);
    }
}

struct mean_budget {
    arrivals asked;
    bool try_retry() noexcept {
        asked.arrive();
        return false;
    }
};

TEST(hedge, an_exhausted_budget_only_keeps_it_from_calling_again) {
    thread_executor threads;
    mean_budget budget;
    std::atomic<int> calls{0};
    auto const p = weir::pipeline<>{} | weir::hedge(threads, 0ns, 3, &budget);
    auto const r = p([&](weir::call_context<>& c) {
        ++calls;
        EXPECT_TRUE(budget.asked.wait_for(1));
        EXPECT_FALSE(c.stop.stop_requested());
        return 7;
    });
    EXPECT_EQ(r.value(), 7);
    EXPECT_EQ(calls, 1);
    weir::token_retry_budget tokens;
    EXPECT_EQ((weir::pipeline<>{} | weir::hedge(threads, 24h, 1, &tokens))([] { return 1; }).value(), 1)
        << "a retry's will do";
}

// Runs tasks, but the second one is refused.
struct full_executor {
    thread_executor threads;
    arrivals refused;
    int tasks = 0;
    template <class Task>
    void execute(Task task) {
        if (++tasks > 1) {
            refused.arrive();
            throw std::runtime_error{"no more tasks"};
        }
        threads.execute(std::move(task));
    }
};

TEST(hedge, an_executor_that_refuses_only_keeps_it_from_calling_again) {
    full_executor full;
    auto const p = weir::pipeline<>{} | weir::hedge(full, 0ns, 3);
    auto const r = p([&] {
        EXPECT_TRUE(full.refused.wait_for(1));
        return 7;
    });
    EXPECT_EQ(r.value(), 7);
    EXPECT_EQ(full.tasks, 2);
    inline_executor none{.refuse_from = 0};
    EXPECT_EQ(what_of((weir::pipeline<>{} | weir::hedge(none, 0ns))([] { return 1; }).error()), "no more tasks");
}

TEST(hedge, its_delay_may_be_a_function) {
    inline_executor here;
    int asked = 0;
    auto const p = weir::pipeline<>{} | weir::hedge(here, [&asked] {
                       ++asked;
                       return 24h;
                   });
    EXPECT_EQ(p([] { return 1; }).value(), 1);
    EXPECT_EQ(asked, 1);
}

TEST(hedge, what_the_delay_throws_is_the_outcome_and_the_call_is_told_to_stop) {
    hand_executor later;
    auto const bad = []() -> ns { throw std::runtime_error{"no delay"}; };
    bool told = false;
    auto const r = (weir::pipeline<>{} |
                    weir::hedge(later, bad))([&](weir::call_context<>& c) { told = c.stop.stop_requested(); });
    EXPECT_EQ(what_of(r.error()), "no delay");
    later.run_one();
    EXPECT_TRUE(told);
}

TEST(hedge, a_stop_of_the_callers_leaves_the_calls_alone) {
    hand_executor later;
    std::stop_source stop;
    weir::call_context<> context{.stop = stop.get_token()};
    stop.request_stop();
    auto const r = (weir::pipeline<>{} | weir::hedge(later, 24h)).run(context, [] { return 1; });
    EXPECT_EQ(r.error().rejection().reason, refusal::stopped);
    EXPECT_EQ(later.size(), 1u);
    later.run_one();
}

TEST(hedge, many_at_once_lose_no_result) {
    std::atomic<std::size_t> calls{0};
    auto const rounds = scaled(300, 30);
    findings wrong;
    for (std::size_t n = 0; n < rounds; ++n) {
        thread_executor threads;
        auto const p = weir::pipeline<>{} | weir::hedge(threads, 0ns, 3);
        auto const r = p([&](weir::call_context<>& c) {
            ++calls;
            if (c.attempt != 1 + n % 4) {
                throw 1;
            }
            return c.attempt;
        });
        // All have failed before the good one began: then that is the result.
        wrong.expect(r.has_value() ? r.value() == 1 + n % 4 : !r.error().is_rejection(), "another result");
    }
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_LE(calls, 4 * rounds);
}

}  // namespace
}  // namespace weir_test
