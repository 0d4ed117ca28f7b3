// weir (BSL-1.0). Tests of flow/bulkhead.hpp: at most so many calls at once, and who waits for how long.
#include <weir/flow/bulkhead.hpp>
#include <weir/with/prometheus.hpp>

#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using weir::bulkhead;
using weir::refusal;

constexpr auto never = std::chrono::steady_clock::time_point::max();

std::string complaint(weir::bulkhead_options o) {
    try {
        bulkhead b(o);
    } catch (std::invalid_argument const& e) {
        return e.what();
    }
    return "none";
}

// Returns when so many threads wait, or false.
bool until_waiting(bulkhead const& b, std::size_t threads) {
    auto const end = std::chrono::steady_clock::now() + patience;
    while (b.stats().waiting != threads) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

// ---- without waiting

TEST(bulkhead, lets_through_as_many_calls_at_once_as_it_has_permits) {
    bulkhead b{{.max_concurrent = 2}};
    auto first = b.try_acquire();
    auto second = b.try_acquire();
    ASSERT_TRUE(first && second);
    auto const third = b.try_acquire();
    ASSERT_FALSE(third.has_value());
    EXPECT_EQ(third.error().reason, refusal::bulkhead_full);
    first->release();
    EXPECT_TRUE(b.try_acquire().has_value());
    EXPECT_EQ(b.stats().in_use, 1u);
}

TEST(bulkhead, a_permit_is_given_back_once) {
    bulkhead b{{.max_concurrent = 3}};
    {
        auto p = b.try_acquire();
        auto other = b.try_acquire();
        p->release();
        p->release();
        EXPECT_EQ(b.stats().in_use, 1u);
    }
    EXPECT_EQ(b.stats().in_use, 0u);
}

TEST(bulkhead, a_permit_moves_with_its_right) {
    static_assert(!std::is_copy_constructible_v<bulkhead::permit> &&
                  std::is_nothrow_move_constructible_v<bulkhead::permit> &&
                  std::is_nothrow_move_assignable_v<bulkhead::permit>);
    bulkhead b{{.max_concurrent = 3}};
    bulkhead other{{.max_concurrent = 3}};
    {
        auto first = b.try_acquire().value();
        bulkhead::permit moved{std::move(first)};
        EXPECT_EQ(b.stats().in_use, 1u);
        first.release();  // NOLINT: has nothing to give back any more
        EXPECT_EQ(b.stats().in_use, 1u);
        moved = other.try_acquire().value();
        EXPECT_EQ(b.stats().in_use, 0u) << "an assigned permit gives the old one back";
        EXPECT_EQ(other.stats().in_use, 1u);
        auto& same = moved;
        moved = std::move(same);
        EXPECT_EQ(other.stats().in_use, 1u) << "to itself";
        std::vector<bulkhead::permit> many;
        many.push_back(std::move(moved));
        many.push_back(b.try_acquire().value());
        many.push_back(b.try_acquire().value());
        EXPECT_EQ(b.stats().in_use, 2u);
    }
    EXPECT_EQ(b.stats().in_use, 0u);
    EXPECT_EQ(other.stats().in_use, 0u);
}

TEST(bulkhead, an_exception_gives_the_permit_back) {
    bulkhead b{{.max_concurrent = 1}};
    try {
        auto const p = b.try_acquire();
        throw 1;
    } catch (int) {
    }
    EXPECT_EQ(b.stats().in_use, 0u);
}

TEST(bulkhead, options_that_make_no_sense_are_refused_by_name) {
    constexpr std::size_t limit = std::size_t{1} << 31;
    for (std::size_t const bad : {std::size_t{0}, limit + 1, (std::size_t{1} << 32) + 1, SIZE_MAX}) {
        EXPECT_EQ(complaint({.max_concurrent = bad}), "weir::bulkhead: max_concurrent must be in [1, 2^31]") << bad;
    }
    for (std::size_t const bad : {limit + 1, std::size_t{1} << 32, SIZE_MAX}) {
        EXPECT_EQ(complaint({.max_waiting = bad}), "weir::bulkhead: max_waiting must be at most 2^31") << bad;
    }
    EXPECT_EQ(complaint({.max_concurrent = limit, .max_waiting = limit}), "none");
    EXPECT_EQ(complaint({.max_concurrent = 1, .max_waiting = 0}), "none");
}

// ---- waiting

TEST(bulkhead, whoever_may_wait_gets_a_permit_that_is_free_whatever_the_time) {
    bulkhead b{{.max_concurrent = 1}};
    std::stop_source stop;
    stop.request_stop();
    EXPECT_TRUE(b.acquire_until(std::chrono::steady_clock::time_point::min(), stop.get_token()).has_value());
    EXPECT_TRUE(b.acquire_for(-1h).has_value());
    EXPECT_TRUE(b.acquire_for(std::chrono::nanoseconds::max()).has_value());
}

TEST(bulkhead, nobody_waits_unless_told_to) {
    bulkhead b{{.max_concurrent = 1}};
    auto const p = b.try_acquire();
    auto const no = b.acquire_until(never);
    ASSERT_FALSE(no.has_value());
    EXPECT_EQ(no.error().reason, refusal::bulkhead_full);
}

TEST(bulkhead, a_deadline_ends_a_wait) {
    bulkhead b{{.max_concurrent = 1, .max_waiting = 1}};
    auto const p = b.try_acquire();
    auto const deadline = std::chrono::steady_clock::now() + 2ms;
    auto const no = b.acquire_until(deadline);
    EXPECT_GE(std::chrono::steady_clock::now(), deadline);
    ASSERT_FALSE(no.has_value());
    EXPECT_EQ(no.error().reason, refusal::timed_out);
    EXPECT_EQ(b.acquire_for(-1h).error().reason, refusal::timed_out);
    EXPECT_EQ(b.stats().waiting, 0u);
    EXPECT_EQ(b.stats().timed_out, 2u);
}

TEST(bulkhead, a_stop_ends_a_wait) {
    bulkhead b{{.max_concurrent = 1, .max_waiting = 1}};
    auto const p = b.try_acquire();
    std::stop_source stop;
    crew one;
    one.start([&] {
        auto const no = b.acquire_until(never, stop.get_token());
        ASSERT_FALSE(no.has_value());
        EXPECT_EQ(no.error().reason, refusal::stopped);
    });
    EXPECT_TRUE(until_waiting(b, 1));
    stop.request_stop();
    one.join();
    EXPECT_EQ(b.acquire_until(never, stop.get_token()).error().reason, refusal::stopped) << "nor does one begin";
    EXPECT_EQ(b.stats().waiting, 0u);
    EXPECT_EQ(b.stats().stopped, 2u);
}

TEST(bulkhead, a_permit_that_is_given_back_goes_to_a_thread_that_waits) {
    bulkhead b{{.max_concurrent = 1, .max_waiting = 1}};
    auto p = b.try_acquire();
    crew one;
    int shared = 0;
    one.start([&] {
        auto const mine = b.acquire_until(never);
        ASSERT_TRUE(mine.has_value());
        EXPECT_EQ(shared, 1) << "what was done under the permit before is visible";
    });
    EXPECT_TRUE(until_waiting(b, 1));
    shared = 1;
    p->release();
    one.join();
    EXPECT_EQ(b.stats().in_use, 0u);
}

TEST(bulkhead, no_more_threads_wait_than_may) {
    bulkhead b{{.max_concurrent = 1, .max_waiting = 2}};
    auto p = b.try_acquire();
    crew two;
    for (int i = 0; i < 2; ++i) {
        two.start([&] { EXPECT_TRUE(b.acquire_until(never).has_value()); });
    }
    EXPECT_TRUE(until_waiting(b, 2));
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(b.acquire_until(never).error().reason, refusal::bulkhead_full);
    }
    EXPECT_EQ(b.stats().refused, 3u);
    p->release();
    two.join();
    EXPECT_EQ(b.stats().admitted, 3u);
    EXPECT_EQ(b.stats().waiting, 0u);
}

TEST(bulkhead, all_permits_given_back_reach_all_who_wait) {
    for (std::size_t round = scaled(200, 20); round != 0; --round) {
        bulkhead b{{.max_concurrent = 3, .max_waiting = 3}};
        std::vector<bulkhead::permit> all;
        for (int i = 0; i < 3; ++i) {
            all.push_back(b.try_acquire().value());
        }
        arrivals in;
        gate out;
        crew three;
        for (int i = 0; i < 3; ++i) {
            three.start([&] {
                auto const mine = b.acquire_until(never);
                in.arrive();
                EXPECT_TRUE(out.wait());  // so each needs a permit of its own
            });
        }
        if (round % 2 == 0) {
            EXPECT_TRUE(until_waiting(b, 3));
        }
        all.clear();
        EXPECT_TRUE(in.wait_for(3));
        out.open();
        three.join();
    }
}

// ---- threads

// Threads that try, wait, wait a little, and are stopped.
TEST(bulkhead, never_lets_more_through_than_it_has_and_every_call_is_counted_once) {
    constexpr std::size_t threads = 6;
    for (std::size_t const most : {std::size_t{1}, std::size_t{2}, std::size_t{4}}) {
        bulkhead b{{.max_concurrent = most, .max_waiting = 3}};
        std::atomic<std::size_t> in{0};
        std::atomic<std::uint64_t> calls{0};
        std::atomic<std::uint64_t> admitted{0};
        findings wrong;
        run_together(threads, [&](std::size_t i) {
            random_numbers random{run_seed() + i};
            std::stop_source stopped;
            stopped.request_stop();
            for (std::size_t n = scaled(3000); n != 0; --n) {
                calls.fetch_add(1);
                auto const way = random.below(4);
                auto p = way == 0   ? b.try_acquire()
                         : way == 1 ? b.acquire_until(never)
                         : way == 2 ? b.acquire_for(std::chrono::microseconds{random.below(50)})
                                    : b.acquire_until(never, stopped.get_token());
                if (p) {
                    admitted.fetch_add(1);
                    wrong.expect(in.fetch_add(1) < most, "too many at once");
                    if (random.one_in(8)) {
                        std::this_thread::yield();
                    }
                    in.fetch_sub(1);
                    if (random.one_in(2)) {
                        p->release();
                    }
                } else {
                    auto const why = p.error().reason;
                    wrong.expect(why == refusal::bulkhead_full || (way == 2 && why == refusal::timed_out) ||
                                     (way == 3 && why == refusal::stopped),
                                 "a reason that cannot be");
                }
                auto const s = b.stats();
                wrong.expect(s.in_use <= most && s.waiting <= 3, "stats out of range");
            }
        });
        EXPECT_TRUE(wrong.none()) << wrong;
        auto const s = b.stats();
        EXPECT_EQ(s.admitted, admitted);
        EXPECT_EQ(s.admitted + s.refused + s.timed_out + s.stopped, calls);
        EXPECT_EQ(s.in_use, 0u);
        EXPECT_EQ(s.waiting, 0u);
    }
}

// If a wake-up is lost, this does not end.
TEST(bulkhead, every_thread_that_waits_without_a_deadline_gets_its_turn) {
    for (std::size_t const most : {std::size_t{1}, std::size_t{3}}) {
        bulkhead b{{.max_concurrent = most, .max_waiting = 100}};
        std::uint64_t guarded = 0;  // written under the only permit
        constexpr std::size_t threads = 5;
        auto const each = scaled(3000);
        run_together(threads, [&](std::size_t) {
            for (std::size_t n = 0; n < each; ++n) {
                auto const p = b.acquire_until(never);
                ASSERT_TRUE(p.has_value());
                if (most == 1) {
                    ++guarded;
                }
            }
        });
        EXPECT_EQ(b.stats().admitted, threads * each);
        EXPECT_EQ(guarded, most == 1 ? threads * each : 0u);
    }
}

// A thread that gives up at the moment of its wake-up passes it on: the other one waits without a deadline.
TEST(bulkhead, a_thread_that_gives_up_takes_no_wake_up_along) {
    for (std::size_t round = scaled(1500); round != 0; --round) {
        bulkhead b{{.max_concurrent = 1, .max_waiting = 2}};
        auto p = b.try_acquire();
        std::stop_source stop;
        arrivals done;
        crew three;
        three.start([&] { static_cast<void>(b.acquire_until(never, stop.get_token())); });
        three.start([&] {
            EXPECT_TRUE(b.acquire_until(never).has_value());
            done.arrive();
        });
        three.start([&] { stop.request_stop(); });
        p->release();
        ASSERT_TRUE(done.wait_for(1)) << "a wake-up was lost";
        three.join();
    }
}

TEST(bulkhead, shows_its_stats_to_prometheus) {
    bulkhead b{{.max_concurrent = 1}};
    auto const p = b.try_acquire();
    EXPECT_FALSE(b.try_acquire().has_value());
    weir::prometheus_writer out;
    out.add("part", "", {}, b);
    auto const text = out.text();
    for (auto const* const line : {"part_in_use 1\n", "part_admitted_total 1\n", "part_refused_total{reason=\"full\"} 1\n"}) {
        EXPECT_NE(text.find(line), std::string::npos) << line << text;
    }
}

// ---- as a layer

struct small_context {
    std::stop_token stop{};
    std::chrono::nanoseconds left = 1h;
    [[nodiscard]] std::chrono::nanoseconds at_most(std::chrono::nanoseconds d) const { return std::min(d, left); }
};

TEST(bulkhead, as_a_layer_it_holds_a_permit_for_the_length_of_a_call) {
    bulkhead b{{.max_concurrent = 1}};
    auto const layer = b.policy();
    static_assert(weir::policy<decltype(layer)>);
    small_context context;
    auto const r = layer(context, [&](small_context& c) -> weir::outcome<int> {
        EXPECT_EQ(b.stats().in_use, 1u);
        auto const inner = layer(c, [](small_context&) { return weir::outcome<int>{2}; });
        EXPECT_EQ(inner.error().rejection().reason, refusal::bulkhead_full);
        return 1;
    });
    EXPECT_EQ(r.value(), 1);
    EXPECT_EQ(b.stats().in_use, 0u);
}

TEST(bulkhead, as_a_layer_it_waits_no_longer_than_the_deadline_of_the_call) {
    bulkhead b{{.max_concurrent = 1, .max_waiting = 1}};
    auto const p = b.try_acquire();
    small_context context{.left = 1ms};
    auto const next = [](small_context&) { return weir::outcome<int>{1}; };
    EXPECT_EQ(b.policy(24h)(context, next).error().rejection().reason, refusal::timed_out);
    context.left = 24h;
    EXPECT_EQ(b.policy(1ms)(context, next).error().rejection().reason, refusal::timed_out);
    std::stop_source stop;
    stop.request_stop();
    context.stop = stop.get_token();
    EXPECT_EQ(b.policy(24h)(context, next).error().rejection().reason, refusal::stopped);
}

}  // namespace
}  // namespace weir_test
