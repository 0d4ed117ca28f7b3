// weir (BSL-1.0). bulkhead: at most so many calls at once, and at most so many that wait their turn.
#ifndef WEIR_FLOW_BULKHEAD_HPP
#define WEIR_FLOW_BULKHEAD_HPP
#include <weir/base/clock.hpp>
#include <weir/base/detail/parking.hpp>
#include <weir/base/expected.hpp>
#include <weir/base/metrics.hpp>
#include <weir/base/outcome.hpp>
#include <weir/data/stats.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <stop_token>
#include <tuple>
#include <utility>

// When:     one slow dependency must not take all threads, connections or memory of the service.
// When not: calls per second are what must be bounded (token_bucket), or work is to be queued (worker_pool).
// Source:   M. Nygard, "Release It!", 2007; a counting semaphore with a bounded queue, as in resilience4j.
//
// Invariant: permits in use are at most max_concurrent, threads waiting at most max_waiting.
// Why no wake-up is lost: permits are given back, and looked for, by seq_cst operations, way 1 of detail/parking.hpp.
// Edges (who hands what to whom):
//   E1  give_back() releases what was done under a permit -> take() acquires it; takers in between hand it on
// Not fair: who comes when a permit is given back may take it before a thread that waits.

namespace weir::inline v0 {

struct bulkhead_options {
    std::size_t max_concurrent = 64;  // permits, 1 to 2^31
    std::size_t max_waiting = 0;      // threads that may wait for one; further ones are refused at once; at most 2^31
};

struct bulkhead_stats {
    std::size_t in_use = 0;
    std::size_t waiting = 0;
    std::uint64_t admitted = 0;
    std::uint64_t refused = 0;    // full, and none or too many were waiting
    std::uint64_t timed_out = 0;  // waited in vain
    std::uint64_t stopped = 0;
};
// A template so that only who shows the numbers pays for the tuple.
template <std::same_as<bulkhead_stats> S>
inline constexpr auto stats_fields<S> = std::tuple{
    gauge_field("in_use", "calls under way", &S::in_use),
    gauge_field("waiting", "calls that wait", &S::waiting),
    counter_field("admitted", "calls let through", &S::admitted),
    counter_field("refused", "calls refused", &S::refused, metric_unit::none, {"reason", "full"}),
    counter_field("refused", "calls refused", &S::timed_out, metric_unit::none, {"reason", "timed_out"}),
    counter_field("refused", "calls refused", &S::stopped, metric_unit::none, {"reason", "stopped"})};

/// Threads:  every member but constructor and destructor, from any thread at once.
/// Memory:   some 200 bytes; nothing is allocated but the counters of a thread's first calls, see data/stats.hpp.
/// Lifetime: must outlive its permits.
class bulkhead {
public:
    using options = bulkhead_options;
    class permit;
    class policy_type;

    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit bulkhead(options o = {});
    bulkhead(bulkhead const&) = delete;
    bulkhead& operator=(bulkhead const&) = delete;

    /// A permit, or bulkhead_full.
    /// Progress: lock-free. Order: what was done under a permit is visible to whoever gets one later.
    [[nodiscard]] expected<permit, rejected> try_acquire() noexcept;
    /// A permit, or: bulkhead_full at once if max_waiting threads wait already; timed_out at the deadline; stopped.
    /// Progress: blocks, on permits given back, until the deadline or the stop.
    [[nodiscard]] expected<permit, rejected> acquire_until(std::chrono::steady_clock::time_point deadline,
                                                           std::stop_token const& stop = {}) noexcept;
    [[nodiscard]] expected<permit, rejected> acquire_for(std::chrono::nanoseconds wait, std::stop_token const& stop = {}) noexcept;

    /// For a pipeline; must outlive it. Waits up to `wait` for a permit, no longer than the pipeline's deadline.
    [[nodiscard]] policy_type policy(std::chrono::nanoseconds wait = std::chrono::nanoseconds{0}) noexcept;

    /// admitted + refused + timed_out + stopped is the number of calls that have ended; exact at rest.
    [[nodiscard]] bulkhead_stats stats() const noexcept;

private:
    [[nodiscard]] bool take() noexcept;
    void give_back() noexcept;

    std::uint32_t most_;
    std::uint32_t most_waiting_;
    std::atomic<std::uint32_t> used_{0};     // any thread
    std::atomic<std::uint32_t> waiting_{0};  // any thread
    detail::event_count returned_;           // a permit was given back
    counter admitted_;
    counter refused_;
    counter timed_out_;
    counter stopped_;
};

/// Leave to make one call, until it goes out of scope.
class bulkhead::permit {
public:
    permit(permit&& other) noexcept : bulkhead_(std::exchange(other.bulkhead_, nullptr)) {}
    permit& operator=(permit&& other) noexcept {
        permit taken{std::move(other)};
        std::swap(bulkhead_, taken.bulkhead_);
        return *this;
    }
    ~permit() { release(); }
    void release() noexcept {
        if (auto* const b = std::exchange(bulkhead_, nullptr)) {
            b->give_back();
        }
    }

private:
    friend bulkhead;
    explicit permit(bulkhead& b) noexcept : bulkhead_(&b) {}
    bulkhead* bulkhead_;  // none: given back, or moved from
};

/// A bulkhead as a layer of a pipeline.
class bulkhead::policy_type {
public:
    using is_policy = void;
    explicit policy_type(bulkhead& b, std::chrono::nanoseconds wait) noexcept : bulkhead_(&b), wait_(wait) {}

    template <class Context, class Next>
    auto operator()(Context& context, Next&& next) const -> decltype(next(context)) {
        auto leave = wait_.count() <= 0 ? bulkhead_->try_acquire() : bulkhead_->acquire_for(context.at_most(wait_), context.stop);
        if (!leave.has_value()) {
            return unexpected<failure>{failure{leave.error()}};
        }
        return next(context);
    }

private:
    bulkhead* bulkhead_;
    std::chrono::nanoseconds wait_;
};

inline bulkhead::bulkhead(options o)
    : most_(static_cast<std::uint32_t>(o.max_concurrent)), most_waiting_(static_cast<std::uint32_t>(o.max_waiting)) {
    constexpr std::size_t limit = std::size_t{1} << 31;
    if (o.max_concurrent < 1 || o.max_concurrent > limit) {
        throw std::invalid_argument{"weir::bulkhead: max_concurrent must be in [1, 2^31]"};
    }
    if (o.max_waiting > limit) {
        throw std::invalid_argument{"weir::bulkhead: max_waiting must be at most 2^31"};
    }
}

inline bool bulkhead::take() noexcept {
    auto seen = used_.load();  // seq_cst: after prepare_wait(), it decides between a waiter and give_back()
    while (seen < most_) {
        // E1 acquire. relaxed if it fails: then it sees nothing older than the load above has.
        if (used_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire, std::memory_order_relaxed)) {
            admitted_.add();
            return true;
        }
    }
    return false;
}

inline void bulkhead::give_back() noexcept {
    used_.fetch_sub(1);  // E1 release
    returned_.notify_one();
}

inline expected<bulkhead::permit, rejected> bulkhead::try_acquire() noexcept {
    if (take()) {
        return permit{*this};
    }
    refused_.add();
    return unexpected{rejected{refusal::bulkhead_full}};
}

inline expected<bulkhead::permit, rejected> bulkhead::acquire_until(std::chrono::steady_clock::time_point deadline,
                                                                    std::stop_token const& stop) noexcept {
    if (take()) {
        return permit{*this};
    }
    auto before = waiting_.load(std::memory_order_relaxed);  // relaxed: a bound on a number, nothing is read because of it
    do {
        if (before >= most_waiting_) {
            refused_.add();
            return unexpected{rejected{refusal::bulkhead_full}};
        }
    } while (!waiting_.compare_exchange_weak(before, before + 1, std::memory_order_relaxed));  // relaxed: as above
    auto answer = detail::wait_result::notified;
    bool taken = false;
    while (answer == detail::wait_result::notified && !taken) {
        auto const key = returned_.prepare_wait();
        taken = take();
        if (taken) {
            returned_.cancel_wait();
        } else {
            answer = returned_.wait_until(key, deadline, stop);
            taken = take();  // also after the last moment: a permit that is there is not left lying
        }
    }
    waiting_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: as above
    if (taken) {
        return permit{*this};
    }
    bool const late = answer == detail::wait_result::timed_out;
    (late ? timed_out_ : stopped_).add();
    return unexpected{rejected{late ? refusal::timed_out : refusal::stopped}};
}

inline expected<bulkhead::permit, rejected> bulkhead::acquire_for(std::chrono::nanoseconds wait,
                                                                  std::stop_token const& stop) noexcept {
    return acquire_until(saturating_add(std::chrono::steady_clock::now(), wait), stop);
}

inline bulkhead::policy_type bulkhead::policy(std::chrono::nanoseconds wait) noexcept { return policy_type{*this, wait}; }

inline bulkhead_stats bulkhead::stats() const noexcept {
    bulkhead_stats s;
    s.in_use = used_.load(std::memory_order_relaxed);      // relaxed: a number, as is the next
    s.waiting = waiting_.load(std::memory_order_relaxed);  // relaxed: as above
    s.admitted = admitted_.value();
    s.refused = refused_.value();
    s.timed_out = timed_out_.value();
    s.stopped = stopped_.value();
    return s;
}

}  // namespace weir::inline v0
#endif
