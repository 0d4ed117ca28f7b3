// weir (BSL-1.0). threads: what tests with several threads share: a common start, a wait that ends, a list of findings.
#ifndef WEIR_TESTS_SUPPORT_THREADS_HPP
#define WEIR_TESTS_SUPPORT_THREADS_HPP
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace weir_test {

/// How long a test waits for what must happen before it says that it did not.
inline constexpr std::chrono::seconds patience{60};

/// A door that is opened once.
class gate {
public:
    void open() {
        const std::lock_guard hold(mutex_);
        open_ = true;
        opened_.notify_all();
    }
    /// Waits until the gate is open; false if it is still shut when patience ends.
    [[nodiscard]] bool wait() {
        std::unique_lock hold(mutex_);
        return opened_.wait_for(hold, patience, [this] { return open_; });
    }

private:
    std::mutex mutex_;
    std::condition_variable opened_;
    bool open_ = false;
};

/// Counts arrivals; one waits for all.
class arrivals {
public:
    void arrive() {
        const std::lock_guard hold(mutex_);
        ++count_;
        arrived_.notify_all();
    }
    [[nodiscard]] bool wait_for(std::size_t expected) {
        std::unique_lock hold(mutex_);
        return arrived_.wait_for(hold, patience, [&] { return count_ >= expected; });
    }

private:
    std::mutex mutex_;
    std::condition_variable arrived_;
    std::size_t count_ = 0;
};

/// What threads found wrong: the first few in words, the rest counted. Use: EXPECT_TRUE(wrong.none()) << wrong;
class findings {
public:
    void add(std::string what) {
        const std::lock_guard hold(mutex_);
        if (first_.size() < 5) {
            first_.push_back(std::move(what));
        }
        count_.fetch_add(1);
    }
    void expect(bool good, const char* what) {
        if (!good) {
            add(what);
        }
    }
    [[nodiscard]] bool none() const noexcept { return count_.load() == 0; }

    friend std::ostream& operator<<(std::ostream& out, findings const& f) {
        const std::lock_guard hold(f.mutex_);
        out << f.count_.load() << " finding(s)";
        for (auto const& each : f.first_) {
            out << "\n  " << each;
        }
        return out;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::string> first_;
    std::atomic<std::size_t> count_{0};
};

/// Joins its threads; an exception that one of them let out is thrown again by `join`.
class crew {
public:
    crew() = default;
    crew(crew const&) = delete;
    crew& operator=(crew const&) = delete;
    ~crew() { join_all(); }

    void start(std::function<void()> work) {
        threads_.emplace_back([this, work = std::move(work)] {
            try {
                work();
            } catch (...) {
                const std::lock_guard hold(mutex_);
                if (!thrown_) {
                    thrown_ = std::current_exception();
                }
            }
        });
    }
    void join() {
        join_all();
        if (std::exception_ptr const thrown = std::exchange(thrown_, nullptr)) {
            std::rethrow_exception(thrown);
        }
    }

private:
    void join_all() noexcept {
        for (auto& each : threads_) {
            each.join();
        }
        threads_.clear();
    }

    std::mutex mutex_;
    std::exception_ptr thrown_;
    std::vector<std::thread> threads_;
};

/// Runs `work(0) ... work(count - 1)` in threads that begin together, and waits for them.
inline void run_together(std::size_t count, std::function<void(std::size_t)> const& work) {
    gate begin;
    crew all;
    for (std::size_t i = 0; i < count; ++i) {
        all.start([&begin, &work, i] {
            if (begin.wait()) {
                work(i);
            }
        });
    }
    begin.open();
    all.join();
}

}  // namespace weir_test
#endif
