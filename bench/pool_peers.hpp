// weir (BSL-1.0). bench pool peers: thread pools behind one face: post a task, ask for a future, end.
#ifndef WEIR_BENCH_POOL_PEERS_HPP
#define WEIR_BENCH_POOL_PEERS_HPP
#include <weir/run/worker_pool.hpp>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#ifdef WEIR_BENCH_BOOST
#include <boost/asio/packaged_task.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#endif
#ifdef WEIR_BENCH_TBB
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#endif
#ifdef WEIR_BENCH_MOODYCAMEL
#include <blockingconcurrentqueue.h>
#endif

// Each has a constructor from a number of workers, post(f), async(f) with get_value(future) for its answer, and a destructor that
// may be called when everything that was posted has run. post and async may be called by the workers too.

namespace bench::pools {

struct weir_peer {
    static constexpr std::size_t much = std::size_t{1} << 22U;

    explicit weir_peer(int workers, std::size_t capacity = weir::worker_pool_options{}.capacity)
        : pool(options(workers, capacity)) {}
    template <class F>
    void post(F f) {
        if (!pool.submit(std::move(f))) {
            throw std::runtime_error("weir::task_pool refused a task");
        }
    }
    template <class F>
    auto async(F f) {
        return pool.async(std::move(f));
    }
    template <class R>
    static R get_value(weir::future<R>& f) {
        return f.get(std::stop_token{}).value();
    }

    weir::task_pool pool;

private:
    static weir::worker_pool_options options(int workers, std::size_t capacity) {
        weir::worker_pool_options o;
        o.min_workers = o.max_workers = static_cast<std::size_t>(workers);
        o.capacity = capacity;
        return o;
    }
};

/// The same, with a bound that no load here reaches, as the others have none.
struct weir_roomy_peer : weir_peer {
    explicit weir_roomy_peer(int workers) : weir_peer(workers, much) {}
};

/// What is written by hand: a deque of std::function, a mutex and a condition variable.
class mutex_peer {
public:
    explicit mutex_peer(int workers) {
        for (int i = 0; i != workers; ++i) {
            threads_.emplace_back([this] { work(); });
        }
    }
    mutex_peer(mutex_peer const&) = delete;
    mutex_peer& operator=(mutex_peer const&) = delete;
    ~mutex_peer() {
        {
            std::lock_guard const lock{mutex_};
            ended_ = true;
        }
        news_.notify_all();
        for (std::thread& t : threads_) {
            t.join();
        }
    }
    template <class F>
    void post(F f) {
        {
            std::lock_guard const lock{mutex_};
            tasks_.emplace_back(std::move(f));
        }
        news_.notify_one();
    }
    template <class F>
    auto async(F f) {
        auto task =
            std::make_shared<std::packaged_task<std::invoke_result_t<F&>()>>(std::move(f));  // std::function copies
        auto answer = task->get_future();
        post([task = std::move(task)] { (*task)(); });
        return answer;
    }
    template <class R>
    static R get_value(std::future<R>& f) {
        return f.get();
    }

private:
    void work() {
        std::unique_lock lock{mutex_};
        for (;;) {
            news_.wait(lock, [&] { return ended_ || !tasks_.empty(); });
            if (tasks_.empty()) {
                return;
            }
            auto task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            task();
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable news_;
    std::deque<std::function<void()>> tasks_;
    bool ended_ = false;
    std::vector<std::thread> threads_;
};

#ifdef WEIR_BENCH_BOOST
class asio_peer {
public:
    explicit asio_peer(int workers) : pool_(static_cast<std::size_t>(workers)) {}
    asio_peer(asio_peer const&) = delete;
    asio_peer& operator=(asio_peer const&) = delete;
    ~asio_peer() { pool_.join(); }
    template <class F>
    void post(F f) {
        boost::asio::post(pool_, std::move(f));
    }
    template <class F>
    auto async(F f) {
        return boost::asio::post(pool_, std::packaged_task<std::invoke_result_t<F&>()>(std::move(f)));
    }
    template <class R>
    static R get_value(std::future<R>& f) {
        return f.get();
    }

private:
    boost::asio::thread_pool pool_;
};
#endif

#ifdef WEIR_BENCH_TBB
/// An arena in which no place is kept for the threads that post: its workers alone run tasks.
class tbb_arena_peer {
public:
    explicit tbb_arena_peer(int workers)
        : limit_(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(workers) + 1),
          arena_(workers, 0) {}
    template <class F>
    void post(F f) {
        arena_.enqueue(std::move(f));
    }
    template <class F>
    auto async(F f) {
        auto task = std::make_shared<std::packaged_task<std::invoke_result_t<F&>()>>(std::move(f));  // it copies
        auto answer = task->get_future();
        post([task = std::move(task)] { (*task)(); });
        return answer;
    }
    template <class R>
    static R get_value(std::future<R>& f) {
        return f.get();
    }

private:
    tbb::global_control limit_;
    tbb::task_arena arena_;
};

/// Tasks of a group, run in an arena of as many threads. The thread that waits is one of them.
class tbb_group_peer {
public:
    explicit tbb_group_peer(int workers)
        : limit_(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(workers)), arena_(workers) {}
    template <class F>
    void post(F f) {
        group_.run(std::move(f));
    }
    /// Runs f(*this) in the arena, and then all that it has posted.
    template <class F>
    void run_whole(F f) {
        arena_.execute([&] {
            f(*this);
            group_.wait();
        });
    }

private:
    tbb::global_control limit_;
    tbb::task_arena arena_;
    tbb::task_group group_;
};
#endif

#ifdef WEIR_BENCH_MOODYCAMEL
/// moodycamel::BlockingConcurrentQueue of std::function, and threads that wait on it.
class moodycamel_peer {
public:
    explicit moodycamel_peer(int workers) {
        for (int i = 0; i != workers; ++i) {
            threads_.emplace_back([this] {
                std::function<void()> task;
                for (tasks_.wait_dequeue(task); task; tasks_.wait_dequeue(task)) {
                    task();
                }
            });
        }
    }
    moodycamel_peer(moodycamel_peer const&) = delete;
    moodycamel_peer& operator=(moodycamel_peer const&) = delete;
    ~moodycamel_peer() {
        for (std::size_t i = 0; i != threads_.size(); ++i) {
            tasks_.enqueue({});
        }
        for (std::thread& t : threads_) {
            t.join();
        }
    }
    template <class F>
    void post(F f) {
        tasks_.enqueue(std::move(f));
    }
    template <class F>
    auto async(F f) {
        auto task = std::make_shared<std::packaged_task<std::invoke_result_t<F&>()>>(std::move(f));
        auto answer = task->get_future();
        post([task = std::move(task)] { (*task)(); });
        return answer;
    }
    template <class R>
    static R get_value(std::future<R>& f) {
        return f.get();
    }

private:
    moodycamel::BlockingConcurrentQueue<std::function<void()>> tasks_;
    std::vector<std::thread> threads_;
};
#endif

}  // namespace bench::pools
#endif
