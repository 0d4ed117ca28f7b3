// weir (BSL-1.0). bench run tables: the suites of pools and queues, their goals, and figures measured elsewhere.
#include "chapters.hpp"
#include "object_pool_catalog.hpp"
#include "run_catalog.hpp"

#include <utility>
#include <vector>

namespace bench {
namespace pools {
namespace {

// The limits against a peer are those that the pool was designed for. A limit that was set in us or ns on another machine stands
// for the ratio to what the pool written by hand took there.
std::vector<goal> goals() {
    std::vector<goal> all;
    constexpr const char* in_ns = "In ns the goal was 90 where that took 79; the ratio asks for more.";
    for (const int producers : {1, 4}) {
        all.push_back({&posting, producers, "weir", "mutex", 0.9, "faster than what is written by hand",
                       producers == 4 ? in_ns : ""});
        all.push_back({&posting, producers, "weir", "moodycamel", 0.9, "faster than a lock-free queue of functions"});
        all.push_back({&posting, producers, "weir", "asio", 0.5, "twice as fast"});
        all.push_back({&posting, producers, "weir", "oneTBB_arena", 0.5, "twice as fast"});
    }
    all.push_back({&posting, 1, "weir_typed", "mutex", 0.66, "100 ns where that took 151"});
    all.push_back({&posting, 4, "weir_typed", "mutex", 1.27, "100 ns where that took 79"});
    all.push_back({&futures, 1, "weir", "mutex", 0.4, "its own future, and the other's std::future"});
    for (const char* other : {"mutex", "asio", "oneTBB_arena", "moodycamel"}) {
        all.push_back({&tree, 1, "weir", other, 0.5, "twice as fast"});
    }
    all.push_back(
        {&tree, 1, "weir", "oneTBB_group", 0.5, "twice as fast",
         "Its tasks are not handed to a pool: the thread that spawns one keeps it in a deque that only thieves "
         "synchronise with, and the thread that waits is one of the two that work."});
    all.push_back({&wake_median, 1, "weir", "mutex", 1.07, "1.8 us where that took 1.69"});
    all.push_back({&wake_late, 1, "weir", "mutex", 1.6, "5 us where that took 3.2"});
    all.push_back({&idle, 1, "weir", "", 0.02, "nobody looks for work that is not there"});
    all.push_back({&allocated, 1, "weir", "", 0, "small tasks are stored in line"});
    all.push_back({&objects::one_small, 1, "weir", "glibc", 0.47, "6 ns where that took 12.7"});
    all.push_back({&objects::some_small, 1, "weir", "glibc", 0.34, "6 ns where that took 17.9"});
    all.push_back({&objects::one_large, 1, "weir", "glibc", 0.17, "6 ns where that took 35"});
    for (const int threads : {1, 2}) {
        all.push_back({&objects::some_large, threads, "weir", "glibc_alone", 0.01, "100 times as fast",
                       "How much malloc gives back to the system and fetches anew depends on the heap's past."});
    }
    all.push_back({&objects::across_small, 1, "weir", "glibc", 0.39, "80 ns where that took 205"});
    all.push_back({&objects::across_large, 1, "weir", "glibc", 0.03, "80 ns where that took 2833"});
    all.push_back({&objects::steady, 1, "weir", "", 0, "magazines and objects are used again"});
    return all;
}

// As they were found: wall time divided by all tasks or items.
std::vector<figure> figures() {
    return {
        {"worker_pool", "Go, pool of one type over a channel: post, 1 and 4 producers", "90, 201", two_cores},
        {"worker_pool", "Go, the same, answers by a second channel, 1 producer", "210", two_cores},
        {"worker_pool", "Go, the same, from a post to an idle pool until the task begins: median, 99th of 100",
         "2150, 13700", two_cores},
        {"worker_pool", "Go, a go statement for each task", "400", two_cores},
        {"worker_pool", "BS::thread_pool 5.1: post, 1 and 4 producers; future; tree", "453, 244; 991; 273", two_cores},
        {"worker_pool", "Taskflow async: post, 1 and 4 producers; future; tree", "371, 245; 957; 104", two_cores},
        {"worker_pool", "dp::thread_pool: post, 1 and 4 producers; future; tree", "263, 245; 1024; 184", two_cores},
        {"object_pool", "Go, sync.Pool, one 64-byte object: 1, 2 and 8 threads", "11.5, 8.1, 5.9", two_cores},
        {"object_pool", "Go, sync.Pool, 16 objects of 64 bytes: 1, 2 and 8 threads", "29, 16, 16", two_cores},
        {"object_pool", "Go, sync.Pool, one 32 KiB object: 1, 2 and 8 threads", "11.4, 6.1, 5.8", two_cores},
        {"queue", "Go, channel of capacity 1024: 1, 2, 4 and 8 pairs", "54, 74, 74, 74", two_cores},
    };
}

std::vector<std::pair<const char*, const char*>> dead_ends() {
    return {
        {"A std::mutex for the list that each worker has of its own",
         "It has two read-modify-writes where a latch has one, and a task that a task submits passes it twice: the "
         "tree of tasks took half as long again."},
        {"Waking a submitter that waits for room at each batch that is taken",
         "It finds room for a few, sleeps again, and the next batch wakes it: with four producers threads slept and "
         "woke more than they worked. Now all who wait are woken once, when half of the room is free."},
        {"Room for everything, so that nobody waits (weir_roomy)",
         "The row of that name: a producer that has to wait now and then is faster. Most likely the queue, which then "
         "grows as long as the producer is ahead, outgrows the caches and the places that are kept for use again."},
    };
}

std::vector<std::pair<const char*, const char*>> rows() {
    return {
        {"mutex",
         "Pool: a std::deque of std::function, a std::mutex and a condition variable. Queue: a std::deque of "
         "1024 at most, a std::mutex and two condition variables."},
        {"asio", "boost::asio::thread_pool, with boost::asio::post."},
        {"oneTBB_arena", "tbb::task_arena::enqueue, no place of the arena being kept for threads that post."},
        {"oneTBB_group", "tbb::task_group::run in an arena of two threads, one of which is the one that waits."},
        {"moodycamel",
         "Pool: moodycamel::BlockingConcurrentQueue of std::function, and threads that wait on it. Queue: "
         "moodycamel::ConcurrentQueue, without producer tokens, with try_enqueue into what was allocated "
         "before, which is some more than 1024."},
        {"moodycamel_blocking", "moodycamel::BlockingConcurrentQueue, in the same way, but who pops sleeps."},
        {"glibc", "malloc and free of the program, which nothing replaces."},
        {"glibc_alone",
         "The same in a process that does nothing else: there the top of the heap is free, so malloc gives memory "
         "back to the system, and fetches it anew."},
        {"jemalloc", "malloc and free of libjemalloc.so.2, loaded before the C library, in a process of its own."},
        {"mimalloc", "mi_malloc and mi_free of libmimalloc.so.2, opened beside the program's own."},
        {"oneTBB_malloc", "scalable_malloc and scalable_free."},
        {"boost_pool", "boost::pool with a std::mutex."},
        {"boost_object_pool", "boost::object_pool with a std::mutex."},
        {"boost_spsc", "boost::lockfree::spsc_queue."},
        {"boost_queue", "boost::lockfree::queue of fixed size."},
        {"boost_stack", "boost::lockfree::stack of fixed size."},
        {"oneTBB", "tbb::concurrent_bounded_queue."},
        {"xenium", "xenium::vyukov_bounded_queue."},
    };
}

}  // namespace
}  // namespace pools

std::vector<suite> run_suites() {
    static const book all{
        .name = "run",
        .chapters = {{.name = "worker_pool",
                      .add = pools::add_worker_pool,
                      .loads = {&pools::posting, &pools::many_workers, &pools::futures, &pools::tree, &pools::micro,
                                &pools::wake_median, &pools::wake_late, &pools::post_idle, &pools::idle,
                                &pools::allocated},
                      .plotted = {1, 4}},
                     {.name = "queue", .add = pools::add_queue, .loads = {&pools::handing_over}, .plotted = {1, 2, 4}},
                     {.name = "object_pool",
                      .add = objects::add_object_pool,
                      .loads = {&objects::one_small, &objects::some_small, &objects::one_large, &objects::some_large,
                                &objects::across_small, &objects::across_large, &objects::steady}}},
        .goals = pools::goals(),
        .figures = pools::figures(),
        .rows = pools::rows(),
        .dead_ends = pools::dead_ends(),
        .goals_note =
            "Those that were set in ns or us on another machine stand for the ratio to what the pool written by "
            "hand took there.",
        .figures_note = "Wall time divided by all tasks or items, with two workers.",
    };
    return suites_of(all);
}

}  // namespace bench
