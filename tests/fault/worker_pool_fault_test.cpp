// weir (BSL-1.0). Pools of workers without memory: each allocation of a call fails in turn, and nothing is lost or left.
#include <weir/run/worker_pool.hpp>

#include "support/failing_new.hpp"
#include "support/sweep.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

namespace weir_test {
namespace {

using namespace std::chrono_literals;

constexpr weir::when_full policies[]{weir::when_full::wait, weir::when_full::reject, weir::when_full::run_in_caller,
                                     weir::when_full::drop_oldest, weir::when_full::drop_newest};

weir::worker_pool_options one_worker() {
    weir::worker_pool_options o;
    o.min_workers = o.max_workers = 1;
    return o;
}

/// Whatever was accepted has ended, and the numbers say so.
void expect_at_rest(weir::worker_pool_stats const& s) {
    EXPECT_EQ(s.queued, 0U);
    EXPECT_EQ(s.running, 0U);
    EXPECT_EQ(s.submitted, s.completed + s.failed + s.cancelled + s.dropped + s.expired + s.discarded);
}

/// A callable too large to be held in line, which shows whether it has been left behind.
struct large {
    std::shared_ptr<int> kept;
    std::array<std::uint64_t, 16> more{};
    int operator()() const { return *kept; }
};

}  // namespace

TEST(worker_pool_fault, a_pool_that_cannot_be_made_leaves_nothing) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    const auto done = for_each_fault(fault::operator_new, [](sweep_run& run) {
        std::optional<weir::task_pool> pool;
        auto o = one_worker();
        o.min_workers = o.max_workers = 3;
        if (run.threw([&] { pool.emplace(std::move(o)); })) {
            EXPECT_FALSE(pool.has_value());
            return;
        }
        EXPECT_EQ(pool->stats().workers, 3U);
    });
    EXPECT_GE(done.thrown, 6U) << "a place and a thread for each worker";
}

TEST(worker_pool_fault, a_submit_without_memory_leaves_the_task_with_its_owner) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    for (auto const full : policies) {
        SCOPED_TRACE(static_cast<int>(full));
        auto const kept = std::make_shared<int>(7);
        const auto done = for_each_fault(fault::operator_new, [&](sweep_run& run) {
            auto o = one_worker();
            o.full = full;
            weir::task_pool pool{std::move(o)};
            weir::task mine{large{kept}};
            if (run.threw([&] { static_cast<void>(pool.submit(std::move(mine))); })) {
                EXPECT_TRUE(static_cast<bool>(mine)) << "moved from, though it was not taken";
                ASSERT_TRUE(pool.submit(std::move(mine)).has_value());
            }
            ASSERT_TRUE(pool.wait_idle_for(60s).has_value());
            expect_at_rest(pool.stats());
            EXPECT_EQ(pool.stats().completed, 1U);
            EXPECT_EQ(kept.use_count(), 1);
        });
        EXPECT_GE(done.thrown, 1U) << "places in the queue";
    }
}

TEST(worker_pool_fault, an_async_call_without_memory_was_not_made) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    auto const kept = std::make_shared<int>(7);
    const auto done = for_each_fault(fault::operator_new, [&](sweep_run& run) {
        weir::task_pool pool{one_worker()};
        std::optional<weir::future<int>> answer;
        bool const threw = run.threw([&] { answer.emplace(pool.async(large{kept})); });
        EXPECT_EQ(threw, !answer.has_value());
        if (answer) {
            EXPECT_EQ(answer->get_for(60s).value(), 7);
        }
        ASSERT_TRUE(pool.wait_idle_for(60s).has_value());
        expect_at_rest(pool.stats());
        answer.reset();
        EXPECT_EQ(kept.use_count(), 1);
    });
    EXPECT_GE(done.thrown, 2U) << "the call, and a place in the queue";
}

TEST(worker_pool_fault, a_map_without_memory_leaves_nothing_behind) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    auto const kept = std::make_shared<int>(7);
    std::vector<int> const items{1, 2, 3, 4, 5};
    const auto done = for_each_fault(fault::operator_new, [&](sweep_run& run) {
        weir::task_pool pool{one_worker()};
        std::size_t values = 0;
        bool const threw = run.threw([&] {
            for (auto const& each : pool.map(items, [kept](int i) { return i + *kept; })) {
                values += each.has_value() ? 1U : 0U;
            }
        });
        EXPECT_EQ(values, threw ? 0U : items.size());
        ASSERT_TRUE(pool.stop_for(60s)->stopped);
        expect_at_rest(pool.stats());
        EXPECT_EQ(kept.use_count(), 1);
    });
    EXPECT_GE(done.points, 3U);
}

TEST(worker_pool_fault, a_pool_that_cannot_grow_or_give_back_goes_on_as_it_was) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    const auto grown = for_each_fault(fault::operator_new, [](sweep_run& run) {
        weir::task_pool pool{one_worker()};
        if (run.threw([&] { pool.resize(3, 3); })) {
            EXPECT_LT(pool.stats().workers, 3U);
            pool.resize(3, 3);
        }
        EXPECT_EQ(pool.stats().workers, 3U);
        EXPECT_EQ(pool.async([] { return 1; }).get_for(60s).value(), 1);
    });
    EXPECT_GE(grown.thrown, 4U) << "a place and a thread for each worker";

    const auto stopped = for_each_fault(fault::operator_new, [](sweep_run& run) {
        weir::task_pool pool{one_worker()};
        auto begun = pool.async([](std::stop_token const& stop) {
            while (!stop.stop_requested()) {
                std::this_thread::yield();
            }
        });
        while (pool.stats().running == 0) {
            std::this_thread::yield();
        }
        auto waiting = pool.async([] { return 1; });
        std::size_t given_back = 0;
        auto const stop = [&] { given_back = pool.stop_for(60s, weir::stop_mode::discard)->not_run.size(); };
        if (run.threw(stop)) {
            EXPECT_FALSE(waiting.ready()) << "it was taken out all the same";
            stop();
        }
        EXPECT_EQ(given_back, 1U);
        EXPECT_EQ(waiting.get_for(60s).error().rejection().reason, weir::refusal::closed);
        EXPECT_TRUE(begun.get_for(60s).has_value());
        expect_at_rest(pool.stats());
    });
    EXPECT_GE(stopped.thrown, 1U) << "the list of what was not run";

    const auto begun_again = for_each_fault(fault::operator_new, [](sweep_run& run) {
        weir::task_pool pool{one_worker()};
        ASSERT_TRUE(pool.stop_for(60s)->stopped);
        if (run.threw([&] { static_cast<void>(pool.start()); })) {
            EXPECT_EQ(pool.submit([] {}).error(), weir::refusal::closed);
            ASSERT_TRUE(pool.start().has_value());
        }
        EXPECT_EQ(pool.async([] { return 1; }).get_for(60s).value(), 1);
    });
    EXPECT_GE(begun_again.thrown, 2U) << "the stop source and the thread";
}

}  // namespace weir_test
