// weir (BSL-1.0). task_group: tasks that are waited for, and cancelled, together.
#ifndef WEIR_RUN_DETAIL_POOL_GROUP_HPP
#define WEIR_RUN_DETAIL_POOL_GROUP_HPP
#include <weir/base/clock.hpp>
#include <weir/base/detail/parking.hpp>
#include <weir/base/expected.hpp>
#include <weir/base/outcome.hpp>
#include <weir/run/detail/pool_job.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

// When:     a piece of work is split into parts, which may be split again, and goes on when all are done.
// When not: the parts give values (task_pool::map, or a future for each).
//
// How the group may go as soon as its wait has ended, though the last part still notifies: whoever may be the last counts itself
// down with m_ held, and notifies before it lets go; the wait takes m_ after it has seen that nothing is pending.
//
// Edges (who hands what to whom):
//   E1  the end of a part that is not the last hands over what it did -> the wait that sees that none is left

namespace weir::inline v0 {

/// Parts of one piece of work, on a pool.
/// Threads:  everything but constructor and destructor from any thread at once, from its own parts too.
/// Memory:   one allocation, and one for each part.
/// Lifetime: before the pool. The destructor cancels, and waits for the parts that run; in a part of its own it would never end.
template <class Pool>
class task_group {
public:
    using time_point = std::chrono::steady_clock::time_point;

    explicit task_group(Pool& pool) : core_(detail::pool_access::core(pool)) {}
    task_group(task_group const&) = delete;
    task_group& operator=(task_group const&) = delete;
    ~task_group();

    /// Hands a part to the pool, or says why it does not take it: cancelled, or as the pool's submit. It is called with the
    /// group's stop token if it takes one, which the pool's stop triggers too.
    /// Progress: as the pool's submit. Cost: one allocation. Throws: std::bad_alloc, what copying f throws.
    template <class F>
        requires task_function<std::decay_t<F>> && std::constructible_from<std::decay_t<F>, F>
    [[nodiscard]] expected<void, refusal> run(F&& f);

    /// Waits until no part is left: a value if all were done, else the first failure: what a part threw, or why one was not run;
    /// each is reported once. Or timed_out, stopped: pending() then says how many are left.
    /// Progress: blocks until then; on a worker of the pool runs other tasks meanwhile.
    outcome<void> wait_until(time_point deadline, std::stop_token const& stop = {});
    outcome<void> wait_for(std::chrono::nanoseconds d, std::stop_token const& stop = {}) {
        return wait_until(saturating_add(std::chrono::steady_clock::now(), d), stop);
    }
    /// Without a deadline; the token must be named.
    outcome<void> wait(std::stop_token const& stop) { return wait_until(time_point::max(), stop); }

    /// From now on no part begins, and those that run see their stop token. For good.
    void cancel() noexcept { stop_.request_stop(); }
    [[nodiscard]] bool cancelled() const noexcept { return stop_.stop_requested(); }
    /// How many parts have not ended: a hint.
    [[nodiscard]] std::size_t pending() const noexcept {
        return pending_.load(std::memory_order_relaxed);  // relaxed: a hint
    }

private:
    template <class F>
    class part;

    [[nodiscard]] bool all_done() const noexcept { return pending_.load(std::memory_order_acquire) == 0; }  // E1 acquire
    [[nodiscard]] bool help_until(time_point deadline, std::stop_token const& stop) {
        return core_.help_until([this]() noexcept { return all_done(); }, done_, deadline, stop);
    }
    void note(failure const& f) noexcept {
        std::lock_guard const hold{m_};
        if (!first_) {
            first_ = f;
        }
    }
    void count_down() noexcept;

    std::remove_reference_t<decltype(detail::pool_access::core(std::declval<Pool&>()))>& core_;
    std::stop_source stop_;
    std::atomic<std::size_t> pending_{0};  // run() adds, the parts take away
    std::mutex m_;
    std::optional<failure> first_;  // m_
    detail::event_count done_;      // no part is left
};

template <class Pool>
template <class F>
class task_group<Pool>::part final : public detail::job {
public:
    template <class G>
    part(task_group& group, G&& f) : group_(group), f_(std::forward<G>(f)) {}

    detail::pool_end run(std::stop_token const& stop) override {
        if (group_.cancelled()) {
            refuse(refusal::cancelled);
            return detail::pool_end::cancelled;
        }
        auto const o = call(stop);
        auto& group = group_;
        delete this;  // what the callable holds has gone when the wait ends
        if (!o.has_value()) {
            group.note(o.error());
        }
        group.count_down();
        return o.has_value() ? detail::pool_end::completed : detail::pool_end::failed;
    }
    void refuse(refusal why) noexcept override {
        auto& group = group_;
        bool const told = told_;
        delete this;
        if (!told) {
            group.note(failure{rejected{why}});
        }
        group.count_down();
    }
    /// Whoever has submitted it knows already that it is not run.
    void tell() noexcept { told_ = true; }

private:
    ~part() = default;

    outcome<void> call([[maybe_unused]] std::stop_token const& stop) {
        return outcome_of([&] {
            if constexpr (std::is_invocable_v<F&, std::stop_token const&>) {
                std::stop_callback const link{stop, [this]() noexcept { group_.cancel(); }};
                auto const token = group_.stop_.get_token();
                static_cast<void>(f_(token));
            } else {
                static_cast<void>(f_());
            }
        });
    }

    task_group& group_;
    F f_;
    bool told_ = false;
};

template <class Pool>
template <class F>
    requires task_function<std::decay_t<F>> && std::constructible_from<std::decay_t<F>, F>
expected<void, refusal> task_group<Pool>::run(F&& f) {
    if (cancelled()) {
        return unexpected{refusal::cancelled};
    }
    auto* const mine = new part<std::decay_t<F>>(*this, std::forward<F>(f));
    pending_.fetch_add(1, std::memory_order_relaxed);  // relaxed: the queue hands over the part
    task t{detail::job_entry{*mine}};
    try {
        auto const accepted = core_.submit(t, core_.terms());
        if (!accepted.has_value() && t) {  // if the pool has taken it to drop it, it is gone
            mine->tell();
            t.abandon(accepted.error());
        }
        return accepted;
    } catch (...) {
        if (t) {
            mine->tell();  // it goes with t
        }
        throw;
    }
}

// A part that is not the last one does not touch the group after it has counted itself down.
template <class Pool>
void task_group<Pool>::count_down() noexcept {
    auto left = pending_.load(std::memory_order_relaxed);  // relaxed: a first guess
    while (left > 1) {
        // relaxed: looks again
        if (pending_.compare_exchange_weak(left, left - 1, std::memory_order_release, std::memory_order_relaxed)) {  // E1 release
            return;
        }
    }
    std::lock_guard const hold{m_};
    if (pending_.fetch_sub(1, std::memory_order_relaxed) == 1) {  // relaxed: m_, which the wait takes, hands over what it did
        done_.notify_all_fenced();
    }
}

template <class Pool>
outcome<void> task_group<Pool>::wait_until(time_point deadline, std::stop_token const& stop) {
    if (!help_until(deadline, stop)) {
        return unexpected<failure>{failure{rejected{stop.stop_requested() ? refusal::stopped : refusal::timed_out}}};
    }
    std::lock_guard const hold{m_};
    if (auto const first = std::exchange(first_, std::nullopt)) {
        return unexpected<failure>{*first};
    }
    return {};
}

template <class Pool>
task_group<Pool>::~task_group() {
    cancel();
    while (!help_until(time_point::max(), {})) {
    }
    std::lock_guard const hold{m_};
}

}  // namespace weir::inline v0
#endif
