// weir (BSL-1.0). Kernels of data/lock_free_map.hpp: who moves a bucket and is late, or is helped, or gets no memory.
#include "map_kernel.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>

// The mover is the thread that set `moved` of the first source: it alone writes the slots of the children. A helper gives them
// blocks instead, and leaves the slots reserved for the mover. In most kernels the mover is the last thread, which begins: one
// switch lets it sleep at any step, while the others do all that they have to do.

namespace weir_model {
namespace {

// All in the first of four buckets. Of eight, the two on the left go to the first, the other one to the second.
constexpr std::uint64_t k = key_at(0, 0);
constexpr std::uint64_t twin = key_at(0, 1);
constexpr std::uint64_t right = key_at(2, 0);
// Not there, in the second bucket: whoever erases it helps to move a bucket.
constexpr std::uint64_t nothing = key_at(4, 15);
// The same for a table that shrinks, in the last bucket.
constexpr std::uint64_t nothing_far = key_at(15, 15);

void help(caller& me) { me.erase(nothing); }
void help_to_shrink(caller& me) { me.erase(nothing_far); }

/// When these are erased nothing is left in the bucket, and all its slots can be used.
void all_slots_are_free(map_scene& scene, std::initializer_list<std::uint64_t> in_the_way) {
    for (const std::uint64_t key : in_the_way) {
        scene.after().erase(key);
    }
    WEIR_MODEL_REQUIRE(scene.map().stats().overflowed == 0);
    for (unsigned n = 8; n < 8 + slots; ++n) {
        scene.after().insert(key_at(0, n), n);
    }
    WEIR_MODEL_REQUIRE(scene.map().stats().overflowed == 0);
}

// ---- a late mover gives its slots back

WEIR_MAP_KERNEL(a_mover_that_was_helped_gives_its_slots_back, {.stale_reads = 0}) {
    scene.has({{k, 1}, {twin, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(help, help);
    all_slots_are_free(scene, {k, twin});
}
WEIR_MAP_KERNEL(a_mover_of_a_block_that_was_helped_gives_its_slots_back, {.preemptions = 1, .stale_reads = 0}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(help, help);
    for (unsigned n = 8; n < 8 + slots; ++n) {
        scene.after().erase(key_at(0, n));
    }
    all_slots_are_free(scene, {k});
}
WEIR_MAP_KERNEL(a_mover_of_two_that_was_helped_gives_its_slots_back, {.preemptions = 1, .stale_reads = 0}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play(help_to_shrink, help_to_shrink);
    all_slots_are_free(scene, {k, right});
}
// Here others have used the child before: erased all of it, and freed that.
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_mover_that_wakes_up_when_all_is_gone_gives_its_slots_back, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}, {twin, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [&](caller& me) {
            me.erase(k);
            me.erase(twin);
            scene.map().quiesce();
        },
        help);
    all_slots_are_free(scene, {});
}

// ---- and disturbs nobody who uses the child

WEIR_MAP_KERNEL(a_late_mover_disturbs_no_insert_and_no_replacement, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [](caller& me) {
            me.assign(k, 3);
            me.insert(twin, 4);
            me.erase(k);
            me.find(twin);
        },
        help);
}
WEIR_MAP_KERNEL(a_late_mover_disturbs_no_reader, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [](caller& me) {
            help(me);
            me.find(k);
            me.find(right);
            me.find(k);
        },
        help);
}
// The slots that come back are used at once.
WEIR_MAP_KERNEL(the_slots_of_a_late_mover_are_used_again, {.stale_reads = 0}) {
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [](caller& me) {
            me.assign(k, 3);
            me.insert(twin, 4);
        },
        help);
}
WEIR_MAP_KERNEL(a_reader_beside_the_slots_of_a_late_mover, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.find(k); }, [](caller& me) { me.assign(k, 3); }, help);
}
WEIR_MAP_KERNEL(all_entries_beside_a_late_mover, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [&](caller& me) {
            me.assign(k, 3);
            std::uint64_t sum = 0;
            scene.map().for_each([&](std::uint64_t, std::uint64_t value) { sum = 10 * sum + value; });
            WEIR_MODEL_REQUIRE(sum == 32);
        },
        help);
}
WEIR_MAP_KERNEL(a_mover_and_two_helpers, {.preemptions = 1, .stale_reads = 0}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.assign(k, 3); }, [](caller& me) { me.erase(right); }, help);
}
WEIR_MAP_KERNEL(a_mover_of_a_block_and_two_helpers, {.preemptions = 1, .stale_reads = 0}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.assign(k, 3); }, [](caller& me) { me.erase(right); }, help);
}
WEIR_MAP_KERNEL(two_late_movers_of_two, {.preemptions = 1, .stale_reads = 0}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([](caller& me) { me.assign(right, 3); }, [](caller& me) { me.erase(k); }, help_to_shrink);
}
WEIR_MAP_KERNEL(a_late_mover_of_two_disturbs_nobody, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play(
        [](caller& me) {
            me.assign(right, 3);
            me.insert(twin, 4);
            me.erase(k);
            me.find(twin);
        },
        help_to_shrink);
}

// ---- the child itself is moved, or gone with its table

WEIR_MAP_KERNEL_IN_BOTH_MODES(a_mover_that_is_late_by_a_growth, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [&](caller& me) {
            help(me);
            scene.map().reserve(need_16_buckets);
            me.assign(k, 3);
            scene.map().quiesce();
        },
        help);
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_mover_that_is_late_by_a_shrinking, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [&](caller& me) {
            help(me);
            scene.map().shrink_to_fit();
            me.assign(right, 3);
            scene.map().quiesce();
        },
        help);
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_mover_of_two_that_is_late_by_a_growth, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play(
        [&](caller& me) {
            help_to_shrink(me);
            scene.map().reserve(need_8_buckets);
            me.assign(right, 3);
            scene.map().quiesce();
        },
        help_to_shrink);
}

// ---- frozen

/// Everything that one thread may want of a key and its bucket.
void use(caller& me, std::uint64_t key) {
    me.find(key);
    me.insert(key, 50);
    me.update(key, 51);
    me.erase(key);
    me.upsert(key, 52);
}
// What a frozen mover keeps are slots of the child, until that is moved too.
WEIR_MAP_PROGRESS_KERNEL(what_a_frozen_mover_was_to_fill_is_moved_on) {
    scene.has({{k, 1}, {twin, 2}, {right, 3}});
    scene.has_only_one_bucket_left_to_move();
    scene.play_in_turn(help,
                       [&](caller& me) {
                           use(me, k);
                           scene.map().shrink_to_fit();
                           use(me, right);
                           scene.map().reserve(need_8_buckets);
                           use(me, twin);
                           for (unsigned n = 8; n < 7 + slots; ++n) {
                               me.insert(key_at(0, n), n);
                           }
                           scene.map().quiesce();
                       });
}
// Two pairs or nodes of a full bucket are replaced, where there is no slot for the new ones.
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_a_replacement_in_a_full_bucket) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.assign(key_at(0, 8), 1); },
               [](caller& me) {
                   use(me, key_at(0, 8));
                   me.assign(key_at(0, 9), 2);
                   use(me, k);
               });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_a_replacement_that_takes_the_last_slot) {
    for (unsigned n = 8; n < 7 + slots; ++n) {
        scene.before().insert(key_at(0, n), n);
    }
    scene.play([](caller& me) { me.assign(key_at(0, 8), 1); },
               [](caller& me) {
                   use(me, key_at(0, 8));
                   me.assign(key_at(0, 9), 2);
                   me.insert(k, 3);
               });
}

// ---- an allocation fails

WEIR_MAP_FAILURE_KERNEL(a_mover_and_a_helper) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.assign(k, 3); },
               [](caller& me) {
                   help(me);
                   me.assign(right, 4);
               });
}
WEIR_MAP_FAILURE_KERNEL(a_mover_of_a_block_and_a_helper) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}, {twin, 2}, {right, 3}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.assign(k, 4); },
               [](caller& me) {
                   help(me);
                   me.assign(right, 5);
               });
}
WEIR_MAP_FAILURE_KERNEL(a_mover_of_two_and_a_helper) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([](caller& me) { me.assign(right, 3); },
               [](caller& me) {
                   help_to_shrink(me);
                   me.assign(k, 4);
               });
}
WEIR_MAP_FAILURE_KERNEL(a_replacement_in_a_full_bucket) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.assign(key_at(0, 8), 1); }, [](caller& me) { me.update(key_at(0, 8), 2); });
}

}  // namespace
}  // namespace weir_model
