// weir (BSL-1.0). bench queue: what it costs to hand 8 bytes from thread to thread through a bounded queue.
#include "harness.hpp"
#include "run_catalog.hpp"

#include <array>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif
#ifdef WEIR_BENCH_BOOST
#include <weir/with/boost_lockfree.hpp>

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <boost/lockfree/stack.hpp>
#endif
#ifdef WEIR_BENCH_TBB
#include <tbb/concurrent_queue.h>
#endif
#ifdef WEIR_BENCH_MOODYCAMEL
#include <blockingconcurrentqueue.h>
#endif
#ifdef WEIR_BENCH_XENIUM
#include <xenium/vyukov_bounded_queue.hpp>
#endif

namespace bench::pools {
namespace {

constexpr std::size_t room = 1024;

template <class Try>
void until(Try once) {
    for (int tries = 0; !once(); ++tries) {
        if (tries >= 32) {
            std::this_thread::yield();
        }
    }
}

// Each has push(value) and pop(), which come back when it is done.

/// Of a queue that says whether it could.
template <class Queue>
struct trying {
    Queue it;
    void push(u64 value) {
        until([&] { return it.try_push(value); });
    }
    u64 pop() {
        u64 value = 0;
        until([&] { return it.try_pop(value); });
        return value;
    }
};

struct mutex_queue {
    void push(u64 value) {
        {
            std::unique_lock lock(mutex);
            not_full.wait(lock, [&] { return items.size() < room; });
            items.push_back(value);
        }
        not_empty.notify_one();
    }
    u64 pop() {
        u64 value = 0;
        {
            std::unique_lock lock(mutex);
            not_empty.wait(lock, [&] { return !items.empty(); });
            value = items.front();
            items.pop_front();
        }
        not_full.notify_one();
        return value;
    }
    std::mutex mutex;
    std::condition_variable not_empty;
    std::condition_variable not_full;
    std::deque<u64> items;
};

#ifdef WEIR_BENCH_BOOST
struct boost_spsc {
    boost::lockfree::spsc_queue<u64> it{room};
    bool try_push(u64 value) { return it.push(value); }
    bool try_pop(u64& value) { return it.pop(value); }
};
template <class Container>
struct boost_shared {
    Container it{room};
    bool try_push(u64 value) { return it.bounded_push(value); }
    bool try_pop(u64& value) { return it.pop(value); }
};
template <class Adaptor>
struct weir_adaptor {
    Adaptor it{room};
    bool try_push(u64 value) { return it.try_push(value); }
    bool try_pop(u64& value) {
        const auto popped = it.try_pop();
        value = popped ? *popped : 0;
        return popped.has_value();
    }
};
#endif

#ifdef WEIR_BENCH_TBB
struct tbb_queue {
    tbb_queue() { it.set_capacity(static_cast<std::ptrdiff_t>(room)); }
    void push(u64 value) { it.push(value); }
    u64 pop() {
        u64 value = 0;
        it.pop(value);
        return value;
    }
    tbb::concurrent_bounded_queue<u64> it;
};
#endif

#ifdef WEIR_BENCH_MOODYCAMEL
struct moodycamel_queue {
    moodycamel::ConcurrentQueue<u64> it{room};
    bool try_push(u64 value) { return it.try_enqueue(value); }
    bool try_pop(u64& value) { return it.try_dequeue(value); }
};
struct moodycamel_waiting {
    moodycamel::BlockingConcurrentQueue<u64> it{room};
    void push(u64 value) {
        until([&] { return it.try_enqueue(value); });
    }
    u64 pop() {
        u64 value = 0;
        it.wait_dequeue(value);
        return value;
    }
};
#endif

#ifdef WEIR_BENCH_XENIUM
struct xenium_queue {
    xenium::vyukov_bounded_queue<u64> it{room};
    bool try_push(u64 value) { return it.try_push(value); }
    bool try_pop(u64& value) { return it.try_pop(value); }
};
#endif

/// Holds the calling thread on one of the processors that it may use.
void stay_on(std::size_t which) {
#ifdef __linux__
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return;
    }
    std::vector<std::size_t> each;
    for (std::size_t i = 0; i != CPU_SETSIZE; ++i) {
        if (CPU_ISSET(i, &allowed)) {
            each.push_back(i);
        }
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(each[which % each.size()], &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
#else
    static_cast<void>(which);
#endif
}

template <class Queue>
double hand_over(const run& r, int pairs) {
    const auto n = static_cast<u64>(pairs);
    const u64 share = (r.opt().smoke ? 4096U : r.opt().full ? 1'000'000U : 50'000U) / n;
    const auto queue = std::make_unique<Queue>();
    std::vector<u64> sums(n);
    const double seconds = parallel<no_scope>(2 * pairs, [&](int thread) {
        const auto at = static_cast<u64>(thread) / 2;
        if (thread % 2 == 0) {
            stay_on(at);
            for (u64 i = 0; i != share; ++i) {
                queue->push(at * share + i + 1);
            }
        } else {
            stay_on(at + 1);
            u64 sum = 0;
            for (u64 i = 0; i != share; ++i) {
                sum += queue->pop();
            }
            sums[at] = sum;
        }
    });
    const u64 all = n * share;
    must_be("sum of the items", std::accumulate(sums.begin(), sums.end(), u64{0}), all * (all + 1) / 2);
    return seconds * 1e9 / static_cast<double>(all);
}

}  // namespace

void add_queue(run& r, const char* suite, int round) {
    for (const int pairs : r.threads(handing_over)) {
        turns rows;
        const auto row = [&]<class Queue>(const char* peer) {
            rows.add([&r, suite, pairs, peer, round] {
                r.add_value(suite, handing_over, pairs, peer, round,
                            [&r, pairs] { return hand_over<Queue>(r, pairs); });
            });
        };
#ifdef WEIR_BENCH_BOOST
        using boost::lockfree::fixed_sized;
        if (pairs == 1) {
            row.operator()<trying<weir_adaptor<weir::boost_spsc_queue<u64>>>>("weir_boost_spsc");
            row.operator()<trying<boost_spsc>>("boost_spsc");
        }
        row.operator()<trying<weir_adaptor<weir::boost_queue<u64>>>>("weir_boost_queue");
        row.operator()<trying<boost_shared<boost::lockfree::queue<u64, fixed_sized<true>>>>>("boost_queue");
        row.operator()<trying<weir_adaptor<weir::boost_stack<u64>>>>("weir_boost_stack");
        row.operator()<trying<boost_shared<boost::lockfree::stack<u64, fixed_sized<true>>>>>("boost_stack");
#endif
#ifdef WEIR_BENCH_MOODYCAMEL
        row.operator()<trying<moodycamel_queue>>("moodycamel");
        row.operator()<moodycamel_waiting>("moodycamel_blocking");
#endif
#ifdef WEIR_BENCH_TBB
        row.operator()<tbb_queue>("oneTBB");
#endif
#ifdef WEIR_BENCH_XENIUM
        row.operator()<trying<xenium_queue>>("xenium");
#endif
        row.operator()<mutex_queue>("mutex");
        rows.take(round);
    }
}

}  // namespace bench::pools
