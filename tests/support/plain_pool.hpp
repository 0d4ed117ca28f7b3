// weir (BSL-1.0). plain_pool: the least that maps and groups ask of a pool, for tests that want to decide what it does.
#ifndef WEIR_TESTS_SUPPORT_PLAIN_POOL_HPP
#define WEIR_TESTS_SUPPORT_PLAIN_POOL_HPP
#include <weir/base/detail/parking.hpp>
#include <weir/base/expected.hpp>
#include <weir/base/outcome.hpp>
#include <weir/run/detail/pool_job.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace weir_test {

/// A queue under a mutex, and threads, or none: then the test runs what is in it. A waiter helps wherever it waits on a worker.
class plain_pool {
public:
    using time_point = std::chrono::steady_clock::time_point;
    using answer = weir::expected<void, weir::refusal>;
    struct terms_type {};

    explicit plain_pool(std::size_t threads, std::size_t capacity = 1000) : capacity_(capacity) {
        for (std::size_t i = 0; i < threads; ++i) {
            threads_.emplace_back([this] { work(); });
        }
    }
    plain_pool(plain_pool const&) = delete;
    plain_pool& operator=(plain_pool const&) = delete;
    ~plain_pool() {
        finish();
        discard(weir::refusal::closed);
    }

    plain_pool& core() noexcept { return *this; }
    [[nodiscard]] terms_type terms() const noexcept { return {}; }
    [[nodiscard]] std::size_t max_workers_hint() const noexcept { return threads_.empty() ? 1 : threads_.size(); }
    [[nodiscard]] bool inside() const noexcept { return here_ == this; }

    answer submit(weir::task& t, terms_type) { return submit_until(t, time_point::min(), {}); }
    answer submit_until(weir::task& t, time_point, std::stop_token const&) {
        if (refuse_this && refuse_this()) {
            return weir::unexpected{weir::refusal::queue_full};
        }
        std::unique_lock hold(mutex_);
        if (refuse_all_) {
            return weir::unexpected{*refuse_all_};
        }
        if (!inside() && queue_.size() >= capacity_) {
            if (!run_in_caller_) {
                return weir::unexpected{weir::refusal::queue_full};
            }
            hold.unlock();
            weir::task mine{std::move(t)};
            run(mine);
            return {};
        }
        queue_.push_back(std::move(t));
        changed_.notify_one();
        return {};
    }
    template <class Done>
    bool help_until(Done&& done, weir::detail::event_count& events, time_point deadline, std::stop_token const& stop) {
        while (inside() && !done()) {
            if (!run_one()) {
                if (std::chrono::steady_clock::now() >= deadline || stop.stop_requested()) {
                    return done();
                }
                std::this_thread::yield();
            }
        }
        return weir::detail::await(events, done, deadline, stop) == weir::detail::wait_result::notified;
    }

    // -- What a test decides
    /// Lets the threads run what is queued, and end. After it, the counters are exact.
    void finish() {
        {
            std::lock_guard const hold(mutex_);
            over_ = true;
            changed_.notify_all();
        }
        for (auto& each : threads_) {
            each.join();
        }
        threads_.clear();
    }
    void refuse_all(std::optional<weir::refusal> why) {
        std::lock_guard const hold(mutex_);
        refuse_all_ = why;
    }
    void run_in_caller() {
        std::lock_guard const hold(mutex_);
        run_in_caller_ = true;
    }
    /// Refuses what is queued.
    std::size_t discard(weir::refusal why) {
        std::deque<weir::task> gone;
        {
            std::lock_guard const hold(mutex_);
            gone.swap(queue_);
        }
        for (auto& each : gone) {
            each.abandon(why);
        }
        return gone.size();
    }
    /// Runs one task here, as a worker would.
    bool run_one() {
        std::optional<weir::task> mine;
        {
            std::lock_guard const hold(mutex_);
            if (queue_.empty()) {
                return false;
            }
            mine.emplace(std::move(queue_.front()));
            queue_.pop_front();
        }
        auto const* const before = std::exchange(here_, this);
        run(*mine);
        here_ = before;
        return true;
    }
    [[nodiscard]] std::size_t queued() {
        std::lock_guard const hold(mutex_);
        return queue_.size();
    }
    void request_stop() { stop_.request_stop(); }

    /// Asked at each submit, if there is one. Set before there are any.
    std::function<bool()> refuse_this;
    std::atomic<std::size_t> completed{0};
    std::atomic<std::size_t> failed{0};
    std::atomic<std::size_t> cancelled{0};
    std::atomic<std::size_t> thrown{0};

private:
    void run(weir::task& t) {
        try {
            switch (t.run(stop_.get_token())) {
                case weir::detail::pool_end::completed: ++completed; break;
                case weir::detail::pool_end::failed: ++failed; break;
                case weir::detail::pool_end::cancelled: ++cancelled; break;
            }
        } catch (...) {
            ++thrown;
        }
    }
    void work() {
        here_ = this;
        for (;;) {
            {
                std::unique_lock hold(mutex_);
                changed_.wait(hold, [this] { return over_ || !queue_.empty(); });
                if (queue_.empty()) {
                    return;
                }
            }
            static_cast<void>(run_one());
        }
    }

    static inline thread_local plain_pool const* here_ = nullptr;

    std::size_t const capacity_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<weir::task> queue_;
    std::optional<weir::refusal> refuse_all_;
    bool run_in_caller_ = false;
    bool over_ = false;
    std::stop_source stop_;
    std::vector<std::thread> threads_;
};

}  // namespace weir_test
#endif
