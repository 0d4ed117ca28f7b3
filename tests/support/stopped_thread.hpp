// weir (BSL-1.0). stopped_thread: a thread stopped at whatever instruction a signal finds it, or before its n-th instruction.
#ifndef WEIR_TESTS_SUPPORT_STOPPED_THREAD_HPP
#define WEIR_TESTS_SUPPORT_STOPPED_THREAD_HPP
#include "threads.hpp"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <time.h>
#if defined(__linux__) && defined(__x86_64__)
#include <ucontext.h>
#endif

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <thread>
#include <utility>

// Who claims that a function is lock-free says that its threads may be stopped for ever anywhere within it and all others go on.
// Here they are stopped: the handler of a signal stays where it is until the test lets it go. Sanitizers put signals off to a
// better moment, so such tests are labelled `static`. What a stopped thread does must not take locks of its own: keep malloc out
// with arena_allocator.hpp, and let the thread do once, before, what threads do once.
//
//     stopped_thread victim([&](std::size_t i) { map.insert(i % 8, i); });   // again and again
//     victim.stop_after(100);                                               // anywhere within a call after the 100th
//     must_end([&] { use_everything(map); });
//
//     for (std::size_t n = 1; stop_at_step(n, [&] { map.insert(1, 1); }, [&] { use_everything(map); }); ++n) {}

namespace weir_test {

/// Ends the test program with a failure when `work` does not end: its threads cannot be taken back.
template <class Work>
void must_end(Work work, char const* otherwise = "a stopped thread stops others") {
    auto end = std::async(std::launch::async, std::move(work));
    if (end.wait_for(patience) != std::future_status::ready) {
        std::fprintf(stderr, "%s\n", otherwise);
        std::_Exit(1);
    }
    end.get();
}

namespace detail {

/// Where a thread stays until it is let go. What `here` does may be done in the handler of a signal.
class stay {
public:
    stay() { ::sem_init(&news_, 0, 0); }
    stay(stay const&) = delete;
    stay& operator=(stay const&) = delete;
    ~stay() { ::sem_destroy(&news_); }

    void here() noexcept {
        const int saved = errno;
        stopped_ = true;
        ::sem_post(&news_);
        while (!released_) {
            const timespec shortly{0, 100'000};
            ::nanosleep(&shortly, nullptr);
        }
        errno = saved;
    }
    /// The thread will not come any more.
    void never() noexcept { ::sem_post(&news_); }
    /// Waits for here or never; whether it was here.
    [[nodiscard]] bool wait() noexcept {
        while (::sem_wait(&news_) != 0) {
        }
        return stopped_;
    }
    void release() noexcept { released_ = true; }
    [[nodiscard]] bool released() const noexcept { return released_; }

private:
    ::sem_t news_;
    std::atomic<bool> stopped_{false};
    std::atomic<bool> released_{false};
};

inline void handle(int signal, void (*handler)(int, siginfo_t*, void*)) {
    struct sigaction action {};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(signal, &action, nullptr);
}

}  // namespace detail

/// A thread that makes a call again and again until it is stopped. Any number may be stopped at once.
class stopped_thread {
public:
    /// Calls `prepare()`, then `call(0)`, `call(1)`, ...
    template <class Call, class Prepare = void (*)()>
    explicit stopped_thread(Call call, Prepare prepare = [] {}) {
        detail::handle(SIGUSR1, [](int, siginfo_t*, void*) {
            if (detail::stay* const where = stay_here_) {
                where->here();
            }
        });
        thread_ = std::thread([this, call = std::move(call), prepare = std::move(prepare)]() mutable {
            prepare();
            stay_here_ = &stay_;
            for (std::size_t i = 0; !stay_.released(); ++i) {
                call(i);
                calls_ = i + 1;
            }
            stay_here_ = nullptr;
        });
    }
    stopped_thread(stopped_thread const&) = delete;
    stopped_thread& operator=(stopped_thread const&) = delete;
    /// Lets it go, and waits for it.
    ~stopped_thread() {
        stay_.release();
        thread_.join();
    }

    /// Lets it make so many calls, then stops it at some instruction. Comes back when it is stopped, once in its life.
    void stop_after(std::size_t calls) {
        while (calls_ < calls + 1) {  // one more: only then the address of stay_ is known to be set
            std::this_thread::yield();
        }
        ::pthread_kill(thread_.native_handle(), SIGUSR1);
        static_cast<void>(stay_.wait());
    }

private:
    inline static thread_local std::atomic<detail::stay*> stay_here_{nullptr};  // atomic: also its signal handler's
    detail::stay stay_;
    std::atomic<std::size_t> calls_{0};
    std::thread thread_;
};

#if defined(__linux__) && defined(__x86_64__)

namespace detail {

/// Lets the processor trap after each instruction of the calling thread.
class single_steps {
public:
    /// From now on; at the n-th the thread stays.
    static void begin(std::size_t nth, stay& where) noexcept {
        left_ = nth;
        where_ = &where;
        over_ = false;
        ::raise(SIGUSR2);  // its handler alters what the thread goes on with
    }
    static void end() noexcept { over_ = true; }

    static void install() {
        handle(SIGUSR2, [](int, siginfo_t*, void* context) { flags(context) |= trap; });
        handle(SIGTRAP, [](int, siginfo_t*, void* context) {
            if (over_) {
                flags(context) &= ~trap;
            } else if (--left_ == 0) {
                flags(context) &= ~trap;
                where_.load()->here();
            }
        });
    }

private:
    static constexpr greg_t trap = 0x100;
    static greg_t& flags(void* context) noexcept { return static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL]; }

    inline static thread_local std::atomic<std::size_t> left_{0};  // atomic: also its signal handlers'
    inline static thread_local std::atomic<bool> over_{true};
    inline static thread_local std::atomic<stay*> where_{nullptr};
};

}  // namespace detail

inline constexpr bool can_stop_at_steps = true;

/// Runs `prepare` and `call` in a thread of their own, which is stopped before the n-th instruction of `call`; then `others`; then
/// lets the thread go on to its end. False: the call ended before, and `others` were not run. The first few instructions are
/// those that start the stepping.
template <class Call, class Others, class Prepare = void (*)()>
bool stop_at_step(std::size_t nth, Call call, Others others, Prepare prepare = [] {}) {
    detail::single_steps::install();
    detail::stay where;
    std::thread victim([&] {
        prepare();
        detail::single_steps::begin(nth, where);
        call();
        detail::single_steps::end();
        where.never();
    });
    const bool stopped = where.wait();
    if (stopped) {
        must_end(std::move(others));
    }
    where.release();
    victim.join();
    return stopped;
}

#else

inline constexpr bool can_stop_at_steps = false;

template <class Call, class Others, class Prepare = void (*)()>
bool stop_at_step(std::size_t, Call, Others, Prepare = [] {}) {
    return false;
}

#endif

}  // namespace weir_test
#endif
