// weir (BSL-1.0). bench object pool catalog: the loads of the bench of object pools and allocators.
#ifndef WEIR_BENCH_OBJECT_POOL_CATALOG_HPP
#define WEIR_BENCH_OBJECT_POOL_CATALOG_HPP
#include "chapters.hpp"
#include "harness.hpp"

namespace bench::objects {

inline const load one_small{
    .id = "pool_1_of_64",
    .title = "getting a 64-byte object and putting it back",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note =
        "Each object's first and last byte are written while it is out; nothing else is done to it. weir: get and put; "
        "weir_handle: acquire, and the handle's end. A compiler barrier follows each call.",
    .unit = "ns/get+put"};
inline const load some_small{.id = "pool_16_of_64",
                             .title = "getting 16 objects of 64 bytes and putting them back",
                             .threads = {1, 2},
                             .more_threads = {4, 8},
                             .note = "The same; the first that came goes back first.",
                             .unit = "ns/get+put"};
inline const load one_large{.id = "pool_1_of_32k",
                            .title = "getting a 32 KiB object and putting it back",
                            .threads = {1, 2},
                            .more_threads = {4, 8},
                            .note = "The same. The first and the last byte are on two pages.",
                            .unit = "ns/get+put"};
inline const load some_large{.id = "pool_16_of_32k",
                             .title = "getting 16 objects of 32 KiB and putting them back",
                             .threads = {1, 2},
                             .more_threads = {4, 8},
                             .note = "The same: where an allocator gives memory back to the system, it is fetched anew.",
                             .unit = "ns/get+put"};
inline const load across_small{
    .id = "pool_across_64",
    .title = "getting a 64-byte object in one thread and putting it back in another",
    .threads = {1},
    .more_threads = {2, 4},
    .note =
        "Wall time divided by the objects, of which 1024 are on the way at most, in a boost::lockfree::spsc_queue of "
        "pointers: nothing is that queue alone, with the same object again and again.",
    .unit = "ns/object",
    .counted = "pair"};
inline const load across_large{.id = "pool_across_32k",
                               .title = "getting a 32 KiB object in one thread and putting it back in another",
                               .threads = {1},
                               .more_threads = {2, 4},
                               .note = "The same, with 64 on the way at most.",
                               .unit = "ns/object",
                               .counted = "pair"};
inline const load steady{
    .id = "pool_allocations",
    .title = "allocations of 100000 gets and puts",
    .threads = {1},
    .note = "16 objects at a time, when as many have been out before. If weir's row allocates, that is an error of the run.",
    .unit = "allocations",
    .compared = false};

void add_object_pool(run& r, const char* suite, int round);

}  // namespace bench::objects
#endif
