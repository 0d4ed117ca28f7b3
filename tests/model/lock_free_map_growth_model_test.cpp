// weir (BSL-1.0). Kernels of data/lock_free_map.hpp: a table that grows, against everything that may go on meanwhile.
#include "map_kernel.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>

// Who kills what; the table of lock_free_map_model_test.cpp goes on.
//
//   edge  site                                   weakened     killed by
//   E1    take_slots, fetch_or                   acquire      a_helper_that_sleeps_through_two_growths
//   E4    move_bucket, failed                    acquire      a_move_that_gets_no_memory_beside_one_that_does
//   E4    move_bucket, `moved`                   release      a_writer_knows_the_table_after_a_moved_bucket
//   E4    source::done                           acquire      none that is known
//   E4    move_bucket, done                      release      an_overflow_block_is_moved_by_two_threads
//   E4    measure                                acquire      the_statistics_beside_a_move, .._beside_a_growth
//   E4    try_move, after a failure              acquire      lock_free_map_progress_model_test.cpp
//   E5    resize, next                            release      a_growth_that_an_insert_begins
//   E5    help, the root                         release      a_reader_that_sleeps_through_two_growths
//   E5    pin_next                               acquire      a_growth_that_an_insert_begins
//   T2    mark_moved, all_chunks_moved           all          whoever_finds_all_chunks_moved_knows_what_was_done_before

namespace weir_model {
namespace {

// All in the first of four buckets. Of eight, the two on the left go to the first, the other one to the second.
constexpr std::uint64_t k = key_at(0, 0);
constexpr std::uint64_t twin = key_at(0, 1);
constexpr std::uint64_t right = key_at(2, 0);
// Not there, in the second bucket: whoever erases it helps to move a bucket.
constexpr std::uint64_t nothing = key_at(4, 15);

// ---- one bucket is left to move

WEIR_MAP_KERNEL(a_reader_beside_a_move, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([&](caller&) { scene.map().quiesce(); },
               [](caller& me) {
                   me.find(k);
                   me.find(k);
               });
}
WEIR_MAP_KERNEL(a_reader_of_a_value_that_is_erased_after_the_move, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.erase(k);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(me.find(k) || news == 1); });
}
WEIR_MAP_KERNEL(a_bucket_is_moved_by_two_threads, {.stale_reads = 1}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.erase(k); }, [](caller& me) { me.assign(right, 3); });
}
WEIR_MAP_KERNEL(a_key_is_erased_once_beside_a_move, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.erase(k); }, [](caller& me) { me.erase(k); });
}
WEIR_MAP_KERNEL(a_key_is_inserted_once_beside_a_move, {.stale_reads = 1}) {
    scene.has({{twin, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.insert(k, 2); });
}
WEIR_MAP_KERNEL(no_update_is_lost_in_a_move, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.update(k, 2); }, [](caller& me) { me.update(k, 3); });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_slow_helper_touches_nothing_that_is_freed, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [&](caller& me) {
            me.erase(k);
            scene.map().quiesce();
        },
        [](caller& me) { me.erase(nothing); });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_reader_of_a_bucket_that_is_gone_touches_nothing_that_is_freed, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.find(k); },
               [&](caller& me) {
                   me.erase(k);
                   scene.map().quiesce();
               });
}
WEIR_MAP_KERNEL(an_overflow_block_is_moved_by_two_threads, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.erase(k); }, [](caller& me) { me.assign(right, 3); });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_slow_helper_touches_no_overflow_block_that_is_freed, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [&](caller& me) {
            me.erase(k);
            scene.map().quiesce();
        },
        [](caller& me) { me.erase(nothing); });
}
WEIR_MAP_KERNEL(a_reader_beside_the_move_of_an_overflow_block, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([&](caller&) { scene.map().quiesce(); }, [](caller& me) { me.find(k); });
}

// ---- all entries, and statistics

WEIR_MAP_KERNEL_IN_BOTH_MODES(all_entries_beside_a_move, {.stale_reads = 1}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([&](caller&) { scene.map().quiesce(); },
               [&](caller&) {
                   std::uint64_t sum = 0;
                   scene.map().for_each([&](std::uint64_t, std::uint64_t value) { sum = 10 * sum + value; });
                   WEIR_MODEL_REQUIRE(sum == 12);
               });
}
WEIR_MAP_KERNEL(all_entries_one_by_one_beside_a_move, {.stale_reads = 1}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([&](caller&) { scene.map().quiesce(); },
               [&](caller&) {
                   std::uint64_t seen = 0;
                   scene.map().for_each_relaxed([&](std::uint64_t, std::uint64_t value) { seen |= value; });
                   WEIR_MODEL_REQUIRE(seen == 3);  // some perhaps twice
               });
}
WEIR_MAP_KERNEL(all_entries_are_erased_beside_a_move, {.preemptions = 1, .stale_reads = 1}) {
    scene.map().insert(k, 1);
    scene.map().insert(right, 2);
    scene.has_only_one_bucket_left_to_move();
    scene.play([&](caller&) { scene.map().quiesce(); },
               [&](caller&) {
                   const auto erased = scene.map().erase_if([](std::uint64_t key, std::uint64_t) { return key == k; });
                   WEIR_MODEL_REQUIRE(erased == 1);
               });
    WEIR_MODEL_REQUIRE(!scene.map().contains(k) && scene.map().find(right) == 2);
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(the_statistics_beside_a_move, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([&](caller&) { scene.map().quiesce(); },
               [&](caller&) {
                   const auto seen = scene.map().stats();
                   WEIR_MODEL_REQUIRE(seen.buckets == 4 || seen.buckets == 8);
                   WEIR_MODEL_REQUIRE(seen.size == slots + 1);
                   WEIR_MODEL_REQUIRE(seen.overflowed <= 1 && seen.longest_chain == slots + seen.overflowed);  // or just moving
                   WEIR_MODEL_REQUIRE(seen.growths == 1 && seen.failed_growths <= 1);
               });
}

// The statistics look into the new table as soon as one bucket is done.
WEIR_MAP_KERNEL(the_statistics_beside_a_growth, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([&](caller&) { scene.map().reserve(need_8_buckets); },
               [&](caller&) {
                   const auto seen = scene.map().stats();
                   WEIR_MODEL_REQUIRE((seen.buckets == 4 || seen.buckets == 8) && seen.longest_chain <= 1);
               });
}

// ---- a whole growth

// The entry is moved by one thread; the other one makes the new table the root, and comes in through it.
WEIR_MAP_KERNEL(what_others_moved_is_seen_through_the_new_root, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.erase(nothing); },
               [](caller& me) {
                   me.erase(nothing);
                   me.find(k);
               });
}
WEIR_MAP_KERNEL(a_reader_beside_a_growth, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([&](caller&) { scene.map().reserve(need_8_buckets); }, [](caller& me) { me.find(k); });
}
WEIR_MAP_KERNEL(an_insert_beside_a_growth, {.stale_reads = 1}) {
    scene.has({{twin, 1}});
    scene.play([&](caller&) { scene.map().reserve(need_8_buckets); }, [](caller& me) { me.insert(k, 2); });
}
WEIR_MAP_KERNEL(an_erase_beside_a_growth, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([&](caller&) { scene.map().reserve(need_8_buckets); }, [](caller& me) { me.erase(k); });
}
WEIR_MAP_KERNEL(a_replacement_beside_a_growth, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([&](caller&) { scene.map().reserve(need_8_buckets); }, [](caller& me) { me.assign(k, 2); });
}
WEIR_MAP_KERNEL(an_overflow_beside_a_growth, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.play([&](caller&) { scene.map().reserve(need_8_buckets); }, [](caller& me) { me.insert(k, 1); });
}
WEIR_MAP_KERNEL(an_erase_from_a_full_bucket_beside_a_growth, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.play([&](caller&) { scene.map().reserve(need_8_buckets); }, [](caller& me) { me.erase(k); });
}
WEIR_MAP_KERNEL(two_threads_reserve, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([&](caller&) { scene.map().reserve(need_8_buckets); }, [&](caller&) { scene.map().reserve(need_8_buckets); });
    WEIR_MODEL_REQUIRE(scene.map().stats().buckets == 8 && scene.map().stats().growths == 1);
}
WEIR_MAP_KERNEL(a_growth_that_an_insert_begins, {.preemptions = 1, .stale_reads = 0}) {
    scene.has_a_full_bucket();
    for (unsigned n = 0; n < need_8_buckets - slots; ++n) {  // the next one that overflows begins it
        scene.before().insert(key_at(4 + 4 * (n % 3), 4 + n), 100 + n);
    }
    scene.play([](caller& me) { me.insert(k, 1); },
               [](caller& me) {
                   me.insert(twin, 2);
                   me.erase(key_at(0, 8));
               });
    scene.map().quiesce();
    WEIR_MODEL_REQUIRE(scene.map().stats().buckets == 8);
}

// Whoever meets a moved bucket knows at once where to go: it never looks twice for the next table. The number of steps is
// exact within these bounds, which are therefore never widened; it changes with what a hazard pointer costs.
const options bounds_of_a_counted_call = {.preemptions = 1, .stale_reads = 3};
constexpr std::uint64_t most_steps = in_slots ? 82 : 83;
void a_writer_knows_the_table_after_a_moved_bucket_kernel() {
    run_scene(
        [](map_scene& scene) {
            scene.has({{k, 1}});
            scene.play([&](caller&) { WEIR_MODEL_REQUIRE(count_steps([&] { scene.map().erase(key_at(0, 15)); }) <= most_steps); },
                       [&](caller&) { scene.map().reserve(need_8_buckets); });
        },
        precedence::causal, weir::hazard_pointer_mode::seq_cst);
}
[[maybe_unused]] const bool counted_call_added =
    (kernels().push_back({suite_of_map, "a_writer_knows_the_table_after_a_moved_bucket",
                          &a_writer_knows_the_table_after_a_moved_bucket_kernel, bounds_of_a_counted_call}),
     true);
WEIR_MAP_TEST_OF(WEIR_MAP_SUITE(model_lock_free_map), a_writer_knows_the_table_after_a_moved_bucket) {
    const report r = explore(&a_writer_knows_the_table_after_a_moved_bucket_kernel, bounds_of_a_counted_call);
    EXPECT_FALSE(r.failed) << to_string(r);
    EXPECT_TRUE(r.complete) << to_string(r);
}
WEIR_MAP_KERNEL(a_growth_that_gets_no_memory_is_put_off, {.preemptions = 0, .stale_reads = 0}) {
    scene.has_a_full_bucket();
    for (unsigned n = 0; n < room(2) - slots; ++n) {  // the next one begins it
        scene.before().insert(key_at(4 + 4 * (n % 3), 4 + n), 100 + n);
    }
    memory_stop::armed = true;
    memory_stop::left = in_slots ? 1 : 2;  // a node, a block, and no table
    scene.before().insert(k, 1);
    memory_stop::armed = false;
    WEIR_MODEL_REQUIRE(scene.map().stats().failed_growths == 1 && scene.map().stats().growths == 0);
    scene.before().insert(twin, 2);
    WEIR_MODEL_REQUIRE(scene.map().stats().growths == 1);
}

// ---- which buckets of a large table are moved: of two pieces, that is, which no map has in these kernels

WEIR_MAP_KERNEL_OF(WEIR_MAP_SUITE(lock_free_map), whoever_finds_all_chunks_moved_knows_what_was_done_before, {}) {
    using table = weir::detail::map_table<kernel_storage>;
    std::allocator<weir::detail::map_unit> units;
    std::allocator<table::bucket> buckets;
    table* const t = table::make(units, table::piece_bits + 1);
    const std::size_t last = t->chunks() - 1;
    for (std::size_t i = 0; i < last; ++i) {
        t->mark_moved(i);
    }
    int news = 0;
    together(
        [&] {
            news = 1;
            t->mark_moved(last);
            WEIR_MODEL_REQUIRE(t->all_chunks_moved());
        },
        [&] { WEIR_MODEL_REQUIRE(!t->all_chunks_moved() || news == 1); });
    table::drop(units, buckets, t);
}

// ---- two growths

// The sleeper is the last one, which begins: it takes one switch to wake up too late.
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_reader_that_sleeps_through_two_growths, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [&](caller& me) {
            scene.map().reserve(need_16_buckets);
            me.erase(k);
            scene.map().quiesce();
        },
        [](caller& me) {
            me.find(k);
            me.find(k);
        });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_helper_that_sleeps_through_two_growths, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [&](caller& me) {
            scene.map().reserve(need_16_buckets);
            me.erase(k);
            scene.map().quiesce();
        },
        [](caller& me) { me.upsert(k, 2); });
    WEIR_MODEL_REQUIRE(scene.map().stats().buckets == 16);
}
WEIR_MAP_KERNEL(all_entries_through_two_growths, {.preemptions = 1, .stale_reads = 0}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([&](caller&) { scene.map().reserve(need_16_buckets); },
               [&](caller&) {
                   std::uint64_t sum = 0;
                   scene.map().for_each([&](std::uint64_t, std::uint64_t value) { sum = 10 * sum + value; });
                   WEIR_MODEL_REQUIRE(sum == 12);
               });
}

}  // namespace
}  // namespace weir_model
