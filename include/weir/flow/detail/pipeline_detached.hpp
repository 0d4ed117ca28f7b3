// weir (BSL-1.0). pipeline_detached: layers below which calls run on an executor and may outlive their caller.
#ifndef WEIR_FLOW_DETAIL_PIPELINE_DETACHED_HPP
#define WEIR_FLOW_DETAIL_PIPELINE_DETACHED_HPP
#include <weir/base/call_context.hpp>
#include <weir/base/detail/parking.hpp>
#include <weir/base/outcome.hpp>

#include <chrono>
#include <concepts>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace weir::inline v0 {

/// What a hedge asks before it calls once more; the retry budgets of retry.hpp are some.
template <class B>
concept hedge_budget = requires(B& budget) {
    { budget.try_retry() } noexcept -> std::same_as<bool>;
};

/// Every hedge may go.
struct no_hedge_budget {
    bool try_retry() noexcept { return true; }
};

namespace detail {

struct any_task {
    void operator()() noexcept;
};

// Runs a copyable function object, once, some time; or throws, and does not.
template <class E>
concept call_executor = requires(E& executor, any_task task) { executor.execute(task); };

inline std::chrono::nanoseconds checked_limit(std::chrono::nanoseconds d) {
    if (d.count() <= 0) {
        throw std::invalid_argument{"weir::timeout: the time must be > 0"};
    }
    return d;
}

// What came out of a branch. Written by the branch alone until it has ended, read by the caller alone after that.
template <class Result>
struct branch_end {
    std::optional<Result> result;
    bool good = false;  // whether the result has a value, said where the caller may be moving it away
    bool late = false;  // of the branch's context, as is the next
    unsigned attempt = 1;

    /// Keeps what f gives; a failure, if it cannot be moved here.
    template <class F>
    void keep(F f) noexcept {
        try {
            result.emplace(f());
        } catch (...) {
            result.emplace(unexpected<failure>{failure{std::current_exception()}});
        }
        good = result->has_value();
    }
};

// Where branches of a call leave what came out, and the caller waits for it. Under the mutex pointers change hands and nothing of
// the user's runs: a caller whose deadline has come waits for no move of a result.
template <class Result>
class branch_results {
public:
    using end = std::shared_ptr<branch_end<Result>>;

    /// A branch has ended; the first value stays, or the last failure.
    void put(end one) noexcept {
        {
            std::lock_guard const lock{mutex_};
            ++ended_;
            if (!best_ || !best_->good) {
                best_.swap(one);
            }
        }
        news_.notify_all();
    }

    /// Waits for a value, or until `branches` have ended, for `wait` at most.
    /// True: there is something to take.
    wait_result wait(unsigned branches, std::chrono::nanoseconds wait, std::stop_token const& stop) {
        auto const deadline = saturating_add(std::chrono::steady_clock::now(), wait);
        for (;;) {
            auto const key = news_.prepare_wait();
            if (ready(branches)) {
                news_.cancel_wait();
                return wait_result::notified;
            }
            auto const answer = news_.wait_until(key, deadline, stop);
            if (ready(branches)) {
                return wait_result::notified;
            }
            if (answer != wait_result::notified) {
                return answer;
            }
        }
    }
    /// Throws: what moving a result throws.
    template <class Context>
    [[nodiscard]] Result take(Context& context) {
        auto const best = [this] {
            std::lock_guard const lock{mutex_};
            return best_;
        }();
        context.late = best->late;
        context.attempt = best->attempt;
        return std::move(*best->result);
    }

private:
    [[nodiscard]] bool ready(unsigned branches) {
        std::lock_guard const lock{mutex_};
        return (best_ && best_->good) || ended_ >= branches;
    }

    std::mutex mutex_;  // guards the next two
    unsigned ended_ = 0;
    end best_;
    event_count news_;  // changed under the mutex: way 2 of parking.hpp
};

// What all branches of one call share, and keep alive.
template <class Context, class Next>
struct branch_state {
    using result = std::decay_t<decltype(std::declval<Next const&>()(std::declval<Context&>()))>;

    branch_state(Context const& c, Next const& n) : context(c), next(n) { context.stop = stop.get_token(); }

    std::stop_source stop;
    Context context;  // the branches' copy it
    Next next;
    branch_results<result> results;

    // Throws: std::bad_alloc, what the executor throws; then there is no branch.
    template <class Executor>
    static void start(std::shared_ptr<branch_state> const& self, Executor& executor, unsigned attempt) {
        auto end = std::make_shared<branch_end<result>>();
        executor.execute([self, end = std::move(end), attempt]() noexcept {
            auto mine = self->context;
            mine.attempt = attempt;
            end->keep([&] { return self->next(mine); });
            end->late = mine.late;
            end->attempt = mine.attempt;
            self->results.put(end);
        });
    }
};

/// See timeout(d, executor).
template <class Executor>
class detached_timeout {
public:
    using is_policy = void;
    using detaches = void;
    detached_timeout(std::chrono::nanoseconds d, Executor& executor) noexcept : limit_(d), executor_(&executor) {}

    template <class Context, class Next>
    auto operator()(Context& context, Next const& next) const -> std::decay_t<decltype(next(context))> {
        using state = branch_state<Context, Next>;
        try {
            auto const limit = context.at_most(limit_);
            if (limit.count() <= 0) {
                return unexpected<failure>{failure{rejected{refusal::timed_out}}};
            }
            auto const branch = std::make_shared<state>(context, next);
            auto const deadline = saturating_add(context.clock.now(), limit);
            branch->context.deadline = deadline;
            state::start(branch, *executor_, context.attempt);
            auto const answer = branch->results.wait(1, limit, context.stop);
            if (answer == wait_result::notified) {
                return branch->results.take(context);
            }
            branch->stop.request_stop();
            if (answer == wait_result::stopped) {
                return unexpected<failure>{failure{rejected{refusal::stopped}}};
            }
            context.late = true;
            return unexpected<failure>{failure{rejected{refusal::timed_out}}};
        } catch (...) {  // no memory, or the executor refuses
            return unexpected<failure>{failure{std::current_exception()}};
        }
    }

private:
    std::chrono::nanoseconds limit_;
    Executor* executor_;
};

/// See hedge().
template <class Executor, class Delay, class Budget>
class hedge_layer {
public:
    using is_policy = void;
    using detaches = void;
    hedge_layer(Executor& executor, Delay delay, unsigned more, Budget* budget)
        : executor_(&executor), delay_(std::move(delay)), more_(more), budget_(budget) {
        if (more < 1 || more > 15) {
            throw std::invalid_argument{"weir::hedge: more must be in [1, 15]"};
        }
    }

    template <class Context, class Next>
    auto operator()(Context& context, Next const& next) const -> std::decay_t<decltype(next(context))> {
        using state = branch_state<Context, Next>;
        std::shared_ptr<state> branch;
        if (context.expired()) {
            return unexpected<failure>{failure{rejected{refusal::timed_out}}};
        }
        try {
            branch = std::make_shared<state>(context, next);
            state::start(branch, *executor_, 1);
            unsigned started = 1;
            bool may = true;
            for (;;) {
                auto const wait = may ? context.at_most(delay()) : context.left();
                auto const answer = branch->results.wait(started, wait, context.stop);
                if (answer == wait_result::notified) {
                    branch->stop.request_stop();
                    return branch->results.take(context);
                }
                if (answer == wait_result::stopped || context.expired()) {
                    branch->stop.request_stop();
                    return unexpected<failure>{
                        failure{rejected{answer == wait_result::stopped ? refusal::stopped : refusal::timed_out}}};
                }
                may = may && start_next(branch, started);
            }
        } catch (...) {
            if (branch) {
                branch->stop.request_stop();
            }
            return unexpected<failure>{failure{std::current_exception()}};
        }
    }

private:
    // One more branch; false: there will be no further one. If the executor refuses it, those that run are waited for.
    template <class State>
    bool start_next(std::shared_ptr<State> const& branch, unsigned& started) const {
        if (budget_ != nullptr && !budget_->try_retry()) {
            return false;
        }
        try {
            State::start(branch, *executor_, started + 1);
        } catch (...) {
            return false;
        }
        return started++ < more_;
    }
    [[nodiscard]] std::chrono::nanoseconds delay() const {
        if constexpr (std::invocable<Delay const&>) {
            return delay_();
        } else {
            return delay_;
        }
    }

    Executor* executor_;
    Delay delay_;
    unsigned more_;
    Budget* budget_;  // null: none
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
