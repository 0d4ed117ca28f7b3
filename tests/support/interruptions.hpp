// weir (BSL-1.0). interruptions: takes the processor away from threads at any instruction, thousands of times a second.
#ifndef WEIR_TESTS_SUPPORT_INTERRUPTIONS_HPP
#define WEIR_TESTS_SUPPORT_INTERRUPTIONS_HPP
#include "random.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__unix__)
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#endif
#if defined(__linux__)
#include <sys/prctl.h>
#endif

// A scheduler stops a thread some hundred times a second, and hardly ever between the two instructions that matter. Here a
// signal is sent again and again to each thread that asked for it; the handler sleeps, now shortly, now for longer. Elsewhere
// than on Unix, and under thread sanitizers, which deliver signals at calls only, there is less of it, but nothing breaks.

namespace weir_test {

#if defined(__unix__)

class interruptions {
public:
    interruptions() {
        struct sigaction action {};
        action.sa_handler = &pause;
        action.sa_flags = SA_RESTART;
        ::sigemptyset(&action.sa_mask);
        ::sigaction(SIGUSR2, &action, &before_);
        driver_ = std::thread([this] { drive(); });
    }
    interruptions(interruptions const&) = delete;
    interruptions& operator=(interruptions const&) = delete;
    ~interruptions() {
        stop_ = true;
        driver_.join();
        ::sigaction(SIGUSR2, &before_, nullptr);
    }

    /// While it lives, its thread is interrupted.
    class subject {
    public:
        explicit subject(interruptions& owner) : owner_(owner) {
            const std::lock_guard hold(owner_.mutex_);
            owner_.subjects_.push_back(::pthread_self());
        }
        subject(subject const&) = delete;
        subject& operator=(subject const&) = delete;
        ~subject() {
            const std::lock_guard hold(owner_.mutex_);  // the driver signals under the same lock: never a thread that is gone
            auto& all = owner_.subjects_;
            all.erase(std::find_if(all.begin(), all.end(), [](pthread_t t) { return ::pthread_equal(t, ::pthread_self()) != 0; }));
        }

    private:
        interruptions& owner_;
    };

    [[nodiscard]] std::size_t count() const noexcept { return count_.load(); }

private:
    static void pause(int) {
        const int saved = errno;
        static std::atomic<unsigned> calls{0};
        const unsigned n = calls.fetch_add(1);
        const timespec shortly{0, n % 32 == 0 ? 1'000'000 : n % 4 == 0 ? 50'000 : 1'000};
        ::nanosleep(&shortly, nullptr);
        errno = saved;
    }

    void drive() {
        random_numbers dice(run_seed());
#if defined(__linux__)
        ::prctl(PR_SET_TIMERSLACK, 1UL);  // ns; sleeps are 50 us longer than asked otherwise
#endif
        while (!stop_.load()) {
            {
                const std::lock_guard hold(mutex_);
                if (!subjects_.empty()) {
                    ::pthread_kill(subjects_[dice.below(subjects_.size())], SIGUSR2);
                    count_.fetch_add(1);
                }
            }
            const timespec shortly{0, 20'000};  // so that not all of them sleep all the time
            ::nanosleep(&shortly, nullptr);
        }
    }

    struct sigaction before_ {};
    std::mutex mutex_;
    std::vector<pthread_t> subjects_;
    std::atomic<std::size_t> count_{0};
    std::atomic<bool> stop_{false};
    std::thread driver_;
};

#else

class interruptions {
public:
    class subject {
    public:
        explicit subject(interruptions&) {}
    };
    [[nodiscard]] std::size_t count() const noexcept { return 0; }
};

#endif

}  // namespace weir_test
#endif
