// weir (BSL-1.0). bench worker_pool: what it costs to hand a task to a pool of threads, and how soon it runs.
#include "allocations.hpp"
#include "harness.hpp"
#include "pool_peers.hpp"
#include "run_catalog.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace bench::pools {
namespace {

constexpr int workers = 2;

// Tasks count themselves: each thread on a line of its own, as they would not stand in each other's way in a service.
struct alignas(64) tally {
    std::atomic<u64> n{0};
};
std::array<tally, 64> tallies;
std::atomic<u64> taken{0};  // a bit for each

class own_tally {
public:
    own_tally() {
        u64 seen = taken.load();
        do {
            at_ = static_cast<unsigned>(std::countr_one(seen));
            if (at_ == tallies.size()) {
                throw wrong_result("more threads than tallies");
            }
        } while (!taken.compare_exchange_weak(seen, seen | u64{1} << at_));
    }
    own_tally(const own_tally&) = delete;
    own_tally& operator=(const own_tally&) = delete;
    ~own_tally() { taken &= ~(u64{1} << at_); }
    void add_one() { tallies[at_].n.fetch_add(1, std::memory_order_release); }

private:
    unsigned at_ = 0;
};

void count_one() {
    thread_local own_tally mine;
    mine.add_one();
}
u64 counted() {
    u64 sum = 0;
    for (const tally& t : tallies) {
        sum += t.n.load(std::memory_order_acquire);
    }
    return sum;
}

/// Sleeps until so many tasks have counted themselves: whoever looked without a pause would take a processor from the workers.
void await(u64 n) {
    const auto end = clock::now() + std::chrono::seconds(60);
    while (counted() < n) {
        if (clock::now() > end) {
            throw wrong_result("tasks that were posted have not run in a minute");
        }
        std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    must_be("tasks that ran", counted(), n);
}

/// A task of 16 bytes.
struct small_task {
    u64 seed;
    u64 salt;
    void operator()() const {
        benchmark::DoNotOptimize(seed ^ salt);
        count_one();
    }
};

template <class Pool>
double post_all(const run& r, int producers, int n_workers) {
    const u64 share = (r.opt().smoke ? 500U : 300'000U) / static_cast<u64>(producers);
    const u64 all = share * static_cast<u64>(producers);
    Pool pool(n_workers);
    const u64 before = counted();
    const double seconds = parallel<no_scope>(producers, [&](int producer) {
        for (u64 i = 0; i != share; ++i) {
            pool.post(small_task{i, share});
        }
        if (producer == 0) {
            await(before + all);
        }
    });
    return seconds * 1e9 / static_cast<double>(all);
}

/// A pool for one kind of item.
struct weir_typed_peer {
    struct item {
        u64 seed;
        u64 salt;
    };
    struct run_one {
        void operator()(item i) const { small_task{i.seed, i.salt}(); }
    };
    explicit weir_typed_peer(int n) : pool(options(n), run_one{}) {}
    void post(small_task t) {
        if (!pool.submit(item{t.seed, t.salt})) {
            throw std::runtime_error("weir::worker_pool refused an item");
        }
    }
    static weir::worker_pool_options options(int n) {
        weir::worker_pool_options o;
        o.min_workers = o.max_workers = static_cast<std::size_t>(n);
        return o;
    }
    weir::worker_pool<item, run_one> pool;
};

constexpr std::size_t window = 64;

template <class Pool, class Take>
double ask_all(const run& r, int producers, Take take) {
    const u64 share = (r.opt().smoke ? 512U : 32'768U) / static_cast<u64>(producers) / window * window;
    Pool pool(workers);
    std::atomic<u64> sum{0};
    using future = decltype(pool.async(std::declval<u64 (*)()>()));
    const double seconds = parallel<no_scope>(producers, [&](int) {
        std::array<std::optional<future>, window> asked;
        u64 mine = 0;
        for (u64 i = 0; i != share; i += window) {
            for (std::size_t k = 0; k != window; ++k) {
                asked[k].emplace(pool.async([x = i + k] { return x; }));
            }
            for (std::optional<future>& f : asked) {
                mine += take(*f);
                f.reset();
            }
        }
        sum += mine;
    });
    must_be("sum of the answers", sum, share * (share - 1) / 2 * static_cast<u64>(producers));
    return seconds * 1e9 / static_cast<double>(share * static_cast<u64>(producers));
}

template <class Pool>
double ask_all(const run& r, int producers) {
    return ask_all<Pool>(r, producers, [](auto& f) { return Pool::get_value(f); });
}

template <class Pool>
struct node {
    Pool* pool;
    int depth;
    void operator()() const {
        if (depth != 0) {
            pool->post(node{pool, depth - 1});
            pool->post(node{pool, depth - 1});
        }
        count_one();
    }
};

template <class Pool>
double grow_tree(const run& r) {
    const int depth = r.opt().smoke ? 8 : r.opt().full ? 19 : 17;
    const u64 all = (u64{2} << static_cast<unsigned>(depth)) - 1;
    Pool pool(workers);
    const u64 before = counted();
    const auto begin = clock::now();
    if constexpr (requires { pool.run_whole([](Pool&) {}); }) {
        pool.run_whole([&](Pool& p) { p.post(node<Pool>{&p, depth}); });
    } else {
        pool.post(node<Pool>{&pool, depth});
    }
    await(before + all);
    return seconds_since(begin) * 1e9 / static_cast<double>(all);
}

struct short_work {
    u64 seed;
    u64 salt;
    void operator()() const {
        const auto end = clock::now() + std::chrono::microseconds(1);
        while (clock::now() < end) {
        }
        small_task{seed, salt}();
    }
};

template <class Pool>
double work_all(const run& r, int producers) {
    const u64 share = (r.opt().smoke ? 200U : 20'000U) / static_cast<u64>(producers);
    const u64 all = share * static_cast<u64>(producers);
    Pool pool(workers);
    const u64 before = counted();
    const double seconds = parallel<no_scope>(producers, [&](int producer) {
        for (u64 i = 0; i != share; ++i) {
            pool.post(short_work{i, share});
        }
        if (producer == 0) {
            await(before + all);
        }
    });
    return seconds * 1e9 / static_cast<double>(all);
}

struct latencies {
    double wake_p50, wake_p99, post_p50;  // ns
};

double nth(std::vector<double>& v, double share) {
    const auto at = v.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(v.size() - 1));
    std::nth_element(v.begin(), at, v.end());
    return *at;
}

template <class Pool>
latencies wake_up(const run& r) {
    Pool pool(workers);
    std::vector<double> wakes;
    std::vector<double> posts;
    for (int i = 0, n = r.opt().smoke ? 5 : 400; i != n; ++i) {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        std::atomic<clock::rep> began{0};
        const auto before = clock::now();
        pool.post([&began] { began = clock::now().time_since_epoch().count(); });
        const auto after = clock::now();
        clock::rep at = 0;
        while ((at = began.load()) == 0) {
        }
        wakes.push_back(static_cast<double>(at - before.time_since_epoch().count()));
        posts.push_back(static_cast<double>((after - before).count()));
    }
    return {nth(wakes, 0.5), nth(wakes, 0.99), nth(posts, 0.5)};
}

/// Of all threads but this one.
double processor_seconds() {
    const auto of = [](clockid_t which) {
        std::timespec t{};
        clock_gettime(which, &t);
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
    };
    return of(CLOCK_PROCESS_CPUTIME_ID) - of(CLOCK_THREAD_CPUTIME_ID);
}

template <class Pool>
double rest(const run& r) {
    Pool pool(workers);
    const u64 before = counted();
    pool.post(small_task{1, 2});
    await(before + 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const double used = processor_seconds();
    const auto begin = clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(r.opt().smoke ? 1 : 100));
    return std::max(0.0, processor_seconds() - used) / seconds_since(begin) *
           100;  // the two clocks are not read at once
}

template <class Pool>
double allocations_of_posts() {
    constexpr u64 n = 500;
    Pool pool(workers);
    u64 before = counted();
    std::atomic<bool> go{false};
    for (int i = 0; i != workers; ++i) {
        pool.post([&go] {
            go.wait(false);
            count_one();
        });
    }
    for (u64 i = 0; i != 2 * n; ++i) {
        pool.post(small_task{i, n});
    }
    go = true;
    go.notify_all();
    await(before += 2 * n + workers);
    const u64 own = allocations();
    for (u64 i = 0; i != n; ++i) {
        pool.post(small_task{i, n});
    }
    const u64 made = allocations() - own;
    await(before + n);
    return static_cast<double>(made);
}

/// Calls f.template operator()<Pool>(name) for every pool that there is, weir's first.
template <class F>
void for_each_pool(F f) {
    f.template operator()<weir_peer>(ours);
    f.template operator()<mutex_peer>("mutex");
#ifdef WEIR_BENCH_BOOST
    f.template operator()<asio_peer>("asio");
#endif
#ifdef WEIR_BENCH_TBB
    f.template operator()<tbb_arena_peer>("oneTBB_arena");
#endif
#ifdef WEIR_BENCH_MOODYCAMEL
    f.template operator()<moodycamel_peer>("moodycamel");
#endif
}

}  // namespace

void add_worker_pool(run& r, const char* suite, int round) {
    turns rows;
    const auto value = [&](const load& l, int threads, const char* peer, std::function<double()> f) {
        rows.add([&r, suite, &l, threads, peer, round, f = std::move(f)] {
            r.add_value(suite, l, threads, peer, round, f);
        });
    };
    for (const int threads : r.threads(posting)) {
        for_each_pool([&]<class Pool>(const char* name) {
            value(posting, threads, name, [&r, threads] { return post_all<Pool>(r, threads, workers); });
        });
        value(posting, threads, "weir_roomy", [&r, threads] { return post_all<weir_roomy_peer>(r, threads, workers); });
        value(posting, threads, "weir_typed", [&r, threads] { return post_all<weir_typed_peer>(r, threads, workers); });
        rows.take(round);
    }
    for (const int threads : r.threads(many_workers)) {
        for_each_pool([&]<class Pool>(const char* name) {
            value(many_workers, threads, name, [&r, threads] { return post_all<Pool>(r, threads, 4 * workers); });
        });
        rows.take(round);
    }
    for (const int threads : r.threads(futures)) {
        for_each_pool([&]<class Pool>(const char* name) {
            value(futures, threads, name, [&r, threads] { return ask_all<Pool>(r, threads); });
        });
        value(futures, threads, "weir_std_future", [&r, threads] {
            return ask_all<weir_peer>(r, threads, [](weir::future<u64>& f) { return std::move(f).to_std().get(); });
        });
        rows.take(round);
    }
    for_each_pool([&]<class Pool>(const char* name) { value(tree, 1, name, [&r] { return grow_tree<Pool>(r); }); });
#ifdef WEIR_BENCH_TBB
    value(tree, 1, "oneTBB_group", [&r] { return grow_tree<tbb_group_peer>(r); });
#endif
    rows.take(round);
    for (const int threads : r.threads(micro)) {
        for_each_pool([&]<class Pool>(const char* name) {
            value(micro, threads, name, [&r, threads] { return work_all<Pool>(r, threads); });
        });
        rows.take(round);
    }
    for_each_pool([&]<class Pool>(const char* name) {
        // One storm gives three figures; the first of them to be asked for makes it.
        const auto once = std::make_shared<std::optional<latencies>>();
        const auto part = [&r, once](double latencies::*which) {
            if (!*once) {
                *once = wake_up<Pool>(r);
            }
            return (**once).*which;
        };
        value(wake_median, 1, name, [part] { return part(&latencies::wake_p50); });
        value(wake_late, 1, name, [part] { return part(&latencies::wake_p99); });
        value(post_idle, 1, name, [part] { return part(&latencies::post_p50); });
    });
    rows.take(round);
    if (round < 2) {
        for_each_pool([&]<class Pool>(const char* name) { value(idle, 1, name, [&r] { return rest<Pool>(r); }); });
        rows.take(round);
    }
    for_each_pool([&]<class Pool>(const char* name) {
        value(allocated, 1, name, [name] {
            const double made = allocations_of_posts<Pool>();
            if (name == ours) {
                must_be("allocations of weir's posts", static_cast<u64>(made), 0);
            }
            return made;
        });
    });
    rows.take(round);
}

}  // namespace bench::pools
