// weir (BSL-1.0). bench run catalog: the loads of the bench of thread pools and of the queues between threads.
#ifndef WEIR_BENCH_RUN_CATALOG_HPP
#define WEIR_BENCH_RUN_CATALOG_HPP
#include "chapters.hpp"
#include "harness.hpp"

namespace bench::pools {

// There are two workers besides the producers, unless the title says otherwise.

inline const load posting{
    .id = "post",
    .title = "posting a small task",
    .threads = {1, 4},
    .more_threads = {2, 8},
    .note =
        "From the first post to the end of the last task, wall time divided by the tasks. A task captures 16 bytes and "
        "counts itself. weir: 4096 may wait, its default, so that its producers have to wait now and then; weir_roomy: "
        "all may wait, as in the others; weir_typed: a worker_pool whose items are those 16 bytes.",
    .unit = "ns/task",
    .counted = "producer"};
inline const load many_workers{.id = "post_8_workers",
                               .title = "posting a small task to 8 workers",
                               .threads = {4},
                               .more_threads = {1, 8},
                               .note = "The same, with four times as many workers.",
                               .unit = "ns/task",
                               .counted = "producer"};
inline const load futures{
    .id = "future",
    .title = "a task with a future",
    .threads = {1},
    .more_threads = {4},
    .note =
        "Asks for 64 answers, then takes them, and so on. weir: its own future; weir_std_future: made a std::future. "
        "All others: std::packaged_task and std::future.",
    .unit = "ns/task",
    .counted = "producer"};
inline const load tree{.id = "tree",
                       .title = "tasks that post two tasks each",
                       .threads = {1},
                       .note =
                           "A tree whose 2^18 nodes are tasks (2^20 in a full run), from the first post to the end of "
                           "the last task.",
                       .unit = "ns/task",
                       .counted = "producer"};
inline const load micro{.id = "microsecond",
                        .title = "tasks of a microsecond",
                        .threads = {1},
                        .more_threads = {4},
                        .note = "Each looks at the clock until 1 us has gone by. Two workers could do one in 500 ns.",
                        .unit = "ns/task",
                        .counted = "producer"};
inline const load wake_median{
    .id = "wake_p50",
    .title = "from a post to an idle pool until the task begins: median",
    .threads = {1},
    .note =
        "The pool has had nothing to do for 100 us. The thread that has posted looks for the result without a pause.",
    .unit = "ns",
    .counted = "producer"};
inline const load wake_late{.id = "wake_p99",
                            .title = "from a post to an idle pool until the task begins: 99th of 100",
                            .threads = {1},
                            .note = "Of the same posts.",
                            .unit = "ns",
                            .counted = "producer"};
inline const load post_idle{.id = "post_idle",
                            .title = "how long a post to an idle pool takes: median",
                            .threads = {1},
                            .note = "Of the same posts.",
                            .unit = "ns",
                            .counted = "producer"};
inline const load idle{
    .id = "idle",
    .title = "what an idle pool uses of a processor",
    .threads = {1},
    .note = "In the 100 ms after 10 ms of rest: the processor time of all threads but the one that measures.",
    .unit = "% of a processor",
    .compared = false,
    .counted = "producer"};
inline const load allocated{
    .id = "post_allocations",
    .title = "allocations of 500 posted tasks",
    .threads = {1},
    .note =
        "By the thread that posts, after a time when 1000 had waited. std::function too has room for the 16 bytes of a "
        "task; what oneTBB's own allocator does is not seen. If weir's row allocates, that is an error of the run.",
    .unit = "allocations",
    .compared = false,
    .counted = "producer"};

// A pair is a thread that pushes and one that pops.

inline const load handing_over{
    .id = "hand_over",
    .title = "handing over 8 bytes through a queue of 1024",
    .threads = {1, 2, 4},
    .more_threads = {8},
    .note =
        "Wall time divided by the items. Those that push are held on one processor in turn, those that pop on the "
        "next, "
        "so that each item goes from one to another. Where a queue cannot wait, its threads try 32 times, then yield "
        "after each try. weir_: the adaptors of weir for the same three of Boost's. boost_stack is last in, first out.",
    .unit = "ns/item",
    .counted = "pair"};

void add_worker_pool(run& r, const char* suite, int round);
void add_queue(run& r, const char* suite, int round);

}  // namespace bench::pools
#endif
