// weir (BSL-1.0). pipeline_fault_test: calls that detach when memory runs out, at every allocation of theirs.
#include <weir/base/call_context.hpp>
#include <weir/base/sleeper.hpp>
#include <weir/flow/bulkhead.hpp>
#include <weir/flow/circuit_breaker.hpp>
#include <weir/flow/pipeline.hpp>
#include <weir/flow/rate_limiter.hpp>
#include <weir/flow/retry.hpp>

#include "support/failing_new.hpp"
#include "support/faults.hpp"
#include "support/sweep.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <utility>

#include <gtest/gtest.h>

// Each test counts who has the value `kept`, of which the call has a copy: state that leaks is one too many. What leaks besides
// is for the address sanitizer to find.

namespace {

using namespace std::chrono_literals;
using namespace weir_test;
using weir::outcome;

/// Whether it says that there was no memory.
template <class T>
bool is_no_memory(outcome<T> const& a) {
    if (a.has_value() || a.error().is_rejection()) {
        return false;
    }
    try {
        a.error().rethrow();
    } catch (std::bad_alloc const&) {
        return true;
    } catch (...) {
        return false;
    }
}

/// Runs each task where it is asked to, from a copy on the heap.
struct here {
    template <class Task>
    void execute(Task task) {
        std::function<void()> const copy(std::move(task));
        copy();
    }
};

/// Runs each task in a thread of its own.
class own_threads {
public:
    template <class Task>
    void execute(Task task) {
        threads_.start(std::move(task));
    }
    void join() { threads_.join(); }

private:
    crew threads_;
};

/// Lets every hedge go, and says that one was asked for, whether there is memory for it or not.
class asked_for {
public:
    bool try_retry() noexcept {
        asked_.open();
        return true;
    }
    [[nodiscard]] bool wait() { return asked_.wait(); }

private:
    gate asked_;
};

/// Each task in a thread of its own, the first one with the fault that is planned.
class faulty_thread {
public:
    explicit faulty_thread(sweep_run& run) : run_(&run) {}
    template <class Task>
    void execute(Task task) {
        thread_.start([run = std::exchange(run_, nullptr), task = std::move(task)] {
            if (run != nullptr) {
                EXPECT_FALSE(run->threw([&] { task(); }));
            } else {
                task();
            }
        });
    }
    void join() { thread_.join(); }

private:
    sweep_run* run_;  // null: the first task is under way
    crew thread_;
};

struct nothing_to_wait_for {
    bool sleep_for(std::chrono::nanoseconds, std::stop_token const& = {}) const { return true; }
};
using again = weir::retry<std::chrono::steady_clock, nothing_to_wait_for>;

/// What a call gives that allocates itself.
std::unique_ptr<int> made(std::shared_ptr<int> const& kept) { return std::make_unique<int>(*kept); }

}  // namespace

TEST(pipeline_fault, a_timeout_says_that_there_was_no_memory_or_gives_the_value) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    auto const kept = std::make_shared<int>(7);
    std::size_t failed = 0;
    const auto done = for_each_fault(fault::operator_new, [&](sweep_run& run) {
        here executor;
        weir::bulkhead b{{.max_concurrent = 1}};
        auto const p = weir::timeout(1h, executor) | b.policy();
        std::optional<outcome<std::unique_ptr<int>>> a;
        EXPECT_FALSE(run.threw([&] { a.emplace(p([kept] { return made(kept); })); })) << "it belongs into the outcome";
        EXPECT_TRUE(a->has_value() ? ***a == 7 : is_no_memory(*a) && run.came());
        failed += a->has_value() ? 0U : 1U;
        EXPECT_EQ(kept.use_count(), 1) << "something of the call is left";
        EXPECT_EQ(b.stats().in_use, 0U);
        EXPECT_TRUE(p([kept] { return made(kept); }).has_value()) << "there is memory again";
    });
    EXPECT_GE(failed, 5U) << "the call, the branch, its stop source, the executor's task and the value";
    EXPECT_GE(done.points, failed);
}

TEST(pipeline_fault, a_timeout_with_a_thread_leaves_nobody_waiting) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    auto const kept = std::make_shared<int>(7);
    const auto done = for_each_fault(fault::operator_new, [&](sweep_run& run) {
        own_threads executor;
        auto const p = weir::pipeline<>{} | weir::timeout(1h, executor);
        std::optional<outcome<std::unique_ptr<int>>> a;
        EXPECT_FALSE(run.threw([&] { a.emplace(p([kept] { return made(kept); })); }));
        executor.join();
        EXPECT_EQ(a->has_value(), !run.came());
        EXPECT_TRUE(a->has_value() ? ***a == 7 : is_no_memory(*a));
        EXPECT_EQ(kept.use_count(), 1);
    });
    EXPECT_GE(done.points, 4U);
}

TEST(pipeline_fault, a_hedge_that_finds_no_memory_leaves_the_first_call_alone) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    auto const kept = std::make_shared<int>(7);
    std::size_t answered = 0;
    const auto done = for_each_fault(fault::operator_new, [&](sweep_run& run) {
        own_threads executor;
        asked_for hedges;
        auto const p = weir::pipeline<>{} | weir::hedge(executor, 0ns, 1, &hedges);
        std::optional<outcome<int>> a;
        EXPECT_FALSE(run.threw([&] {
            a.emplace(p([kept, &hedges] { return hedges.wait() ? *kept : 0; }));
        }));
        executor.join();
        EXPECT_TRUE(a->has_value() ? **a == 7 : is_no_memory(*a) && run.came());
        answered += run.came() && a->has_value() ? 1U : 0U;
        EXPECT_EQ(kept.use_count(), 1);
    });
    EXPECT_GE(done.points, 5U);
    EXPECT_GE(answered, 1U) << "the hedge alone failed at least once";
    EXPECT_LT(answered, done.points) << "the first call could not be made at least once";
}

// Nobody waits for a hedge that was never made.
TEST(pipeline_fault, a_failure_is_the_answer_when_there_is_no_memory_for_a_hedge) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    std::size_t alone = 0;
    const auto done = for_each_fault(fault::operator_new, [&](sweep_run& run) {
        own_threads executor;
        asked_for hedges;
        auto const p = weir::pipeline<>{} | weir::hedge(executor, 0ns, 1, &hedges);
        weir::call_context<> context;
        context.deadline = std::chrono::steady_clock::now() + patience;
        std::atomic<unsigned> calls{0};
        std::optional<outcome<int>> a;
        EXPECT_FALSE(run.threw([&] {
            a.emplace(p.run(context, [&]() -> outcome<int> {
                EXPECT_TRUE(hedges.wait());
                calls.fetch_add(1);
                return weir::unexpected<weir::failure>{weir::failure{weir::rejected{weir::refusal::over_capacity}}};
            }));
        }));
        executor.join();
        EXPECT_FALSE(a->has_value());
        EXPECT_TRUE(calls == 0 ? is_no_memory(*a) : a->error().is_rejection());
        EXPECT_TRUE(calls == 0 || a->error().rejection().reason == weir::refusal::over_capacity) << "it waited in vain";
        alone += run.came() && calls == 1U ? 1U : 0U;
    });
    EXPECT_GE(alone, 1U) << "the hedge alone failed at least once";
    EXPECT_GE(done.points, 5U);
}

TEST(pipeline_fault, layers_above_see_that_there_was_no_memory_and_go_on) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    auto const kept = std::make_shared<int>(7);
    std::size_t again_and_good = 0;
    std::size_t fell_back = 0;
    const auto done = for_each_fault(fault::operator_new, [&](sweep_run& run) {
        here executor;
        again twice{{.attempts = 2}};
        weir::circuit_breaker<> breaker{weir::consecutive_failures{1}};
        weir::token_bucket<> limit{{.limit = 1, .burst = 10}};
        weir::cached_limiter<int, int> cache{{}};
        auto const p = weir::fallback([](weir::failure const&) { return 8; }) | weir::timeout(1h, executor) | twice.policy() |
                       limit.policy() | cache.policy(7) | weir::timeout(1h, executor) | breaker.policy();
        std::optional<outcome<int>> a;
        EXPECT_FALSE(run.threw([&] { a.emplace(p([kept] { return *made(kept); })); }));
        EXPECT_TRUE(a->has_value() ? **a == 7 || **a == 8 : is_no_memory(*a));
        if (!run.came()) {
            EXPECT_EQ(**a, 7);
        } else if (a->has_value()) {
            (**a == 7 ? again_and_good : fell_back) += 1;
        }
        EXPECT_EQ(kept.use_count(), 1);
        EXPECT_LE(breaker.stats().failed, 1U);
    });
    EXPECT_GE(again_and_good, 1U);
    EXPECT_GE(fell_back, 1U);
    EXPECT_GE(done.points, 7U);
}

// The thread of the branch is the one that gets no memory.
TEST(pipeline_fault, a_branch_that_finds_no_memory_says_so_to_its_caller) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    auto const kept = std::make_shared<int>(7);
    const auto done = for_each_fault(fault::operator_new, [&](sweep_run& run) {
        faulty_thread executor(run);
        here inner;
        auto const p = weir::pipeline<>{} | weir::timeout(1h, executor) | weir::timeout(1h, inner);
        outcome<std::unique_ptr<int>> const a = p([kept] { return made(kept); });
        executor.join();
        EXPECT_EQ(a.has_value(), !run.came());
        EXPECT_TRUE(a.has_value() ? **a == 7 : is_no_memory(a));
        EXPECT_EQ(kept.use_count(), 1);
    });
    EXPECT_GE(done.points, 4U) << "the inner branch, its stop source, its task and the value";
}

TEST(pipeline_fault, a_hedge_is_answered_by_the_branch_that_finds_memory) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    auto const kept = std::make_shared<int>(7);
    const auto done = for_each_fault(fault::operator_new, [&](sweep_run& run) {
        faulty_thread executor(run);
        asked_for hedges;
        auto const p = weir::pipeline<>{} | weir::hedge(executor, [] { return 0ns; }, 1, &hedges);
        outcome<std::unique_ptr<int>> const a =
            p([kept, &hedges]() -> std::unique_ptr<int> { return hedges.wait() ? made(kept) : nullptr; });
        executor.join();
        EXPECT_TRUE(a.has_value() && **a == 7) << "the other one had memory";
        EXPECT_EQ(kept.use_count(), 1);
    });
    EXPECT_EQ(done.points, 1U) << "the value";
}
