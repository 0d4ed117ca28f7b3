// weir (BSL-1.0). bench object pool: getting and putting back objects, beside allocators and other free lists.
#include "allocations.hpp"
#include "harness.hpp"
#include "object_pool_catalog.hpp"

#if __has_include(<boost/lockfree/stack.hpp>)
#define WEIR_BENCH_OBJECT_POOL 1
#include <weir/data/object_pool.hpp>

#include <boost/lockfree/spsc_queue.hpp>
#include <boost/lockfree/stack.hpp>
#include <boost/pool/object_pool.hpp>
#include <boost/pool/pool.hpp>
#endif
#ifdef WEIR_BENCH_MOODYCAMEL
#include <concurrentqueue.h>
#endif
#ifdef WEIR_BENCH_TBB
#include <tbb/scalable_allocator.h>
#endif

#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#ifdef __linux__
#include <dlfcn.h>
#endif

// What keeps the tables honest:
// * each row hands out what a pointer reaches, and the same two bytes of it are written; no row clears anything;
// * a get that gives nothing ends the run;
// * threads run until one common time is over, so that all rows are measured as long, however slow;
// * mimalloc is opened beside the program's own malloc, so that no other row is changed by it; jemalloc, which cannot be, is
//   malloc in a process of its own. So is glibc once more: what malloc gives back to the system depends on the heap's past.

namespace bench::objects {

#ifndef WEIR_BENCH_OBJECT_POOL

void add_object_pool(run&, const char*, int) {}

#else

namespace {

constexpr std::size_t most_objects = 8192;

/// As malloc leaves it: nothing is written before the user writes.
template <std::size_t Size>
struct blank {
    blank() noexcept {}  // NOLINT: not `= default`, which would write zeros
    char bytes[Size];
};

// Each has get() and put(p), for any number of threads.

template <std::size_t Size>
struct ours_raw {
    weir::object_pool<blank<Size>> it;
    void* get() { return it.get(); }
    void put(void* p) { it.put(static_cast<blank<Size>*>(p)); }
};

template <std::size_t Size>
struct glibc {
    void* get() { return std::malloc(Size); }
    void put(void* p) { std::free(p); }
};

/// The functions of an allocator that is not this program's own; none if it cannot be had beside it.
struct opened {
    void* (*get)(std::size_t) = nullptr;
    void (*put)(void*) = nullptr;

    opened(const char* library, const char* get_name, const char* put_name) {
#ifdef __linux__
        if (void* const handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL)) {
            get = reinterpret_cast<decltype(get)>(::dlsym(handle, get_name));
            put = reinterpret_cast<decltype(put)>(::dlsym(handle, put_name));
        }
#else
        static_cast<void>(library), static_cast<void>(get_name), static_cast<void>(put_name);
#endif
    }
    explicit operator bool() const { return get != nullptr && put != nullptr; }
};
const opened& mimalloc() {
    static const opened it{"libmimalloc.so.2", "mi_malloc", "mi_free"};
    return it;
}
template <std::size_t Size>
struct mimalloc_peer {
    void* get() { return mimalloc().get(Size); }
    void put(void* p) { mimalloc().put(p); }
};

#ifdef WEIR_BENCH_TBB_MALLOC
template <std::size_t Size>
struct tbb_malloc {
    void* get() { return scalable_malloc(Size); }
    void put(void* p) { scalable_free(p); }
};
#endif

template <std::size_t Size>
struct boost_pool {
    std::mutex mutex;
    boost::pool<> it{Size};
    void* get() {
        const std::lock_guard hold{mutex};
        return it.malloc();
    }
    void put(void* p) {
        const std::lock_guard hold{mutex};
        it.free(p);
    }
};
template <std::size_t Size>
struct boost_object_pool {
    std::mutex mutex;
    boost::object_pool<blank<Size>> it;
    void* get() {
        const std::lock_guard hold{mutex};
        return it.malloc();
    }
    void put(void* p) {
        const std::lock_guard hold{mutex};
        it.free(static_cast<blank<Size>*>(p));
    }
};

// Free lists of objects that came from malloc.

template <std::size_t Size>
struct boost_stack {
    boost::lockfree::stack<void*, boost::lockfree::fixed_sized<true>> free{most_objects};
    ~boost_stack() {
        for (void* p = nullptr; free.pop(p);) {
            std::free(p);
        }
    }
    void* get() {
        void* p = nullptr;
        return free.pop(p) ? p : std::malloc(Size);
    }
    void put(void* p) {
        if (!free.bounded_push(p)) {
            std::free(p);
        }
    }
};
template <std::size_t Size>
struct mutex_vector {
    std::mutex mutex;
    std::vector<void*> free;
    mutex_vector() { free.reserve(most_objects); }
    ~mutex_vector() {
        for (void* const p : free) {
            std::free(p);
        }
    }
    void* get() {
        {
            const std::lock_guard hold{mutex};
            if (!free.empty()) {
                void* const p = free.back();
                free.pop_back();
                return p;
            }
        }
        return std::malloc(Size);
    }
    void put(void* p) {
        const std::lock_guard hold{mutex};
        free.push_back(p);
    }
};
#ifdef WEIR_BENCH_MOODYCAMEL
template <std::size_t Size>
struct moodycamel_queue {
    moodycamel::ConcurrentQueue<void*> free{most_objects};
    ~moodycamel_queue() {
        for (void* p = nullptr; free.try_dequeue(p);) {
            std::free(p);
        }
    }
    void* get() {
        void* p = nullptr;
        return free.try_dequeue(p) ? p : std::malloc(Size);
    }
    void put(void* p) { free.enqueue(p); }
};
#endif

void touch(void* p, std::size_t size) {
    if (p == nullptr) {
        throw wrong_result("no object");
    }
    static_cast<char*>(p)[0] = 1;
    static_cast<char*>(p)[size - 1] = 1;
    benchmark::ClobberMemory();
}

/// Threads call once() again and again until the time is over; it says how many objects it got.
template <class Once>
sample storm(const run& r, int threads, Once once) {
    const std::chrono::milliseconds span{r.opt().smoke ? 1 : threads > cores() ? 60 : 30};
    std::atomic<clock::rep> over{0};  // of all threads: set by the first
    std::atomic<u64> done{0};
    const double seconds = parallel<no_scope>(threads, [&](int) {
        clock::rep end = 0;
        const clock::rep own_end = (clock::now() + span).time_since_epoch().count();
        if (over.compare_exchange_strong(end, own_end)) {
            end = own_end;
        }
        u64 count = 0;
        do {
            for (int i = 0; i != 256; ++i) {
                count += once();
            }
        } while (clock::now().time_since_epoch().count() < end);
        done += count;
    });
    return {seconds, static_cast<double>(done)};
}

template <std::size_t Size, std::size_t Held, class Pool>
u64 hold(Pool& pool) {
    std::array<void*, Held> held;
    for (void*& p : held) {
        p = pool.get();
        touch(p, Size);
    }
    for (void* const p : held) {
        pool.put(p);
        benchmark::ClobberMemory();
    }
    return Held;
}

template <std::size_t Size, std::size_t Held, class Pool>
sample held(const run& r, int threads) {
    const auto pool = std::make_unique<Pool>();
    return storm(r, threads, [p = pool.get()] { return hold<Size, Held>(*p); });
}
template <std::size_t Size, std::size_t Held>
sample held_by_handles(const run& r, int threads) {
    using pool_type = weir::object_pool<blank<Size>>;
    const auto pool = std::make_unique<pool_type>();
    return storm(r, threads, [p = pool.get()] {
        std::array<typename pool_type::handle, Held> handles;
        for (auto& each : handles) {
            each = p->acquire();
            touch(each.get(), Size);
        }
        return u64{Held};
    });
}

/// The same object every time.
template <std::size_t Size>
struct nothing {
    std::unique_ptr<blank<Size>> one = std::make_unique<blank<Size>>();
    void* get() { return one.get(); }
    void put(void*) {}
};

template <std::size_t Size, class Pool>
sample across(const run& r, int pairs) {
    const auto n = static_cast<std::size_t>(pairs);
    const u64 share = (r.opt().smoke ? 2048U : r.opt().full ? 1'000'000U : 200'000U) / n;
    const auto pool = std::make_unique<Pool>();
    using ring = boost::lockfree::spsc_queue<void*>;
    std::vector<std::unique_ptr<ring>> rings;
    for (std::size_t i = 0; i != n; ++i) {
        rings.push_back(std::make_unique<ring>(Size > 4096 ? 64 : 1024));
    }
    std::atomic<u64> arrived{0};
    const double seconds = parallel<no_scope>(2 * pairs, [&](int thread) {
        ring& way = *rings[static_cast<std::size_t>(thread) / 2];
        for (u64 i = 0; i != share; ++i) {
            void* p = nullptr;
            if (thread % 2 == 0) {
                p = pool->get();
                touch(p, Size);
                for (int tries = 0; !way.push(p); ++tries) {
                    if (tries >= 32) {
                        std::this_thread::yield();
                    }
                }
            } else {
                for (int tries = 0; !way.pop(p); ++tries) {
                    if (tries >= 32) {
                        std::this_thread::yield();
                    }
                }
                pool->put(p);
            }
        }
        arrived += thread % 2 == 0 ? 0 : share;
    });
    must_be("objects", arrived.load(), share * n);
    return {seconds, static_cast<double>(share * n)};
}

/// row(<type>, name) for each kind of pool of objects of that size.
template <std::size_t Size, class Row>
void each_pool(Row row) {
    row.template operator()<ours_raw<Size>>(ours);
    row.template operator()<glibc<Size>>("glibc");
    if (mimalloc()) {
        row.template operator()<mimalloc_peer<Size>>("mimalloc");
    }
#ifdef WEIR_BENCH_TBB_MALLOC
    row.template operator()<tbb_malloc<Size>>("oneTBB_malloc");
#endif
    row.template operator()<boost_pool<Size>>("boost_pool");
    row.template operator()<boost_object_pool<Size>>("boost_object_pool");
    row.template operator()<boost_stack<Size>>("boost_stack");
#ifdef WEIR_BENCH_MOODYCAMEL
    row.template operator()<moodycamel_queue<Size>>("moodycamel");
#endif
    row.template operator()<mutex_vector<Size>>("mutex");
}

/// A malloc that a process of its own has instead of the program's. `preload` is empty, or what the loader is told to load first.
struct process {
    const char* peer;
    const char* preload;
};
constexpr std::array<process, 2> processes{{{"glibc_alone", ""}, {"jemalloc", "LD_PRELOAD=libjemalloc.so.2"}}};

/// What measure_malloc prints there: seconds and objects.
sample in_a_process(const run& r, const process& p, std::size_t size, std::size_t held, int threads) {
    std::ostringstream what;
    what << "--measure-malloc=" << p.peer << ' ' << size << ' ' << held << ' ' << threads << ' ' << r.opt().smoke << ' '
         << r.opt().full;
    std::istringstream answer(output_of_child(what.str(), p.preload));
    sample s;
    if (!(answer >> s.seconds >> s.operations)) {
        throw std::runtime_error(std::string("no figures from the process of ") + p.peer);
    }
    return s;
}

/// Whether this process has the malloc that it should have.
bool is_right(const std::string& peer) {
#ifdef __linux__
    return (::dlsym(RTLD_DEFAULT, "mallctl") != nullptr) == (peer == "jemalloc");
#else
    return peer == "glibc_alone";
#endif
}

/// f(process) for each that can be had.
template <class F>
void each_process(F f) {
    static const bool jemalloc_is_there = [] {
        try {
            return output_of_child("--measure-malloc=jemalloc 0 0 0 0 0", processes[1].preload) == "yes\n";
        } catch (const std::runtime_error&) {
            std::puts("weir_bench: without jemalloc, which could not be loaded");
            return false;
        }
    }();
    f(processes[0]);
    if (jemalloc_is_there) {
        f(processes[1]);
    }
}

template <std::size_t Size, std::size_t Held>
void add_held(run& r, const char* suite, int round, const load& l) {
    for (const int threads : r.threads(l)) {
        turns rows;
        each_pool<Size>([&]<class Pool>(const char* peer) {
            rows.add([&r, &l, suite, threads, peer, round] {
                r.add(suite, l, threads, peer, round, [&r, threads] { return held<Size, Held, Pool>(r, threads); });
            });
        });
        each_process([&](const process& p) {
            rows.add([&r, &l, &p, suite, threads, round] {
                r.add(suite, l, threads, p.peer, round, [&r, &p, threads] { return in_a_process(r, p, Size, Held, threads); });
            });
        });
        rows.add([&r, &l, suite, threads, round] {
            r.add(suite, l, threads, "weir_handle", round, [&r, threads] { return held_by_handles<Size, Held>(r, threads); });
        });
        rows.take(round);
    }
}

template <std::size_t Size>
void add_across(run& r, const char* suite, int round, const load& l) {
    for (const int pairs : r.threads(l)) {
        turns rows;
        const auto row = [&]<class Pool>(const char* peer) {
            rows.add([&r, &l, suite, pairs, peer, round] {
                r.add_value(suite, l, pairs, peer, round, [&r, pairs] {
                    const sample s = across<Size, Pool>(r, pairs);
                    return s.seconds * 1e9 / s.operations;
                });
            });
        };
        each_pool<Size>(row);
        each_process([&](const process& p) {
            rows.add([&r, &l, &p, suite, pairs, round] {
                r.add_value(suite, l, pairs, p.peer, round, [&r, &p, pairs] {
                    const sample s = in_a_process(r, p, Size, 0, pairs);
                    return s.seconds * 1e9 / s.operations;
                });
            });
        });
        row.template operator()<nothing<Size>>("nothing");
        rows.take(round);
    }
}

double allocations_when_warm() {
    ours_raw<64> pool;
    const auto go = [&] {
        for (int i = 0; i != 100'000 / 16; ++i) {
            hold<64, 16>(pool);
        }
    };
    go();
    const u64 before = allocations();
    go();
    const u64 made = allocations() - before;
    must_be("allocations of a warm pool", made, 0);
    return static_cast<double>(made);
}

}  // namespace

void add_object_pool(run& r, const char* suite, int round) {
    add_held<64, 1>(r, suite, round, one_small);
    add_held<64, 16>(r, suite, round, some_small);
    add_held<32768, 1>(r, suite, round, one_large);
    add_held<32768, 16>(r, suite, round, some_large);
    add_across<64>(r, suite, round, across_small);
    add_across<32768>(r, suite, round, across_large);
    for (const int threads : r.threads(steady)) {
        r.add_value(suite, steady, threads, ours, round, [] { return allocations_when_warm(); });
    }
}

#endif

}  // namespace bench::objects

namespace bench {

bool measure_malloc([[maybe_unused]] const std::string& what) {
#ifdef WEIR_BENCH_OBJECT_POOL
    using namespace objects;
    std::istringstream in(what);
    std::string peer;
    std::size_t size = 0;
    std::size_t held_at_once = 0;
    int threads = 0;
    options o;
    if (!(in >> peer >> size >> held_at_once >> threads >> o.smoke >> o.full) || !is_right(peer)) {
        return false;
    }
    if (threads == 0) {
        std::puts("yes");
        return true;
    }
    const run r(o);
    const auto measure = [&]<std::size_t Size>() {
        return held_at_once == 0   ? across<Size, glibc<Size>>(r, threads)
               : held_at_once == 1 ? held<Size, 1, glibc<Size>>(r, threads)
                                   : held<Size, 16, glibc<Size>>(r, threads);
    };
    const sample s = size == 64 ? measure.template operator()<64>() : measure.template operator()<32768>();
    std::printf("%.9f %.0f\n", s.seconds, s.operations);
    return true;
#else
    return false;
#endif
}

}  // namespace bench
