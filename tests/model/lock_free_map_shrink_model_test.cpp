// weir (BSL-1.0). Kernels of data/lock_free_map.hpp: a table that shrinks, against everything that may go on meanwhile.
#include "map_kernel.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>

namespace weir_model {
namespace {

// Of eight buckets, the first one has the two on the left, the second one the other; of four, the first one has them all.
constexpr std::uint64_t k = key_at(0, 0);
constexpr std::uint64_t twin = key_at(0, 1);
constexpr std::uint64_t right = key_at(2, 0);
constexpr std::uint64_t far = key_at(8, 0);
// Not there, in the last bucket: whoever erases it helps to move two buckets.
constexpr std::uint64_t nothing = key_at(15, 15);

/// What all entries show: the values, and whether a key came twice.
struct all_shown {
    std::array<std::uint64_t, 16> values{};  // by the key's sixteenth
    bool twice = false;

    all_shown(kernel_map& map, bool relaxed) {
        const auto look = [&](std::uint64_t key, std::uint64_t value) {
            twice = twice || values[key / 16] != 0;
            values[key / 16] = value;
        };
        relaxed ? map.for_each_relaxed(look) : map.for_each(look);
    }
};

// ---- two buckets are left to move

WEIR_MAP_KERNEL(a_reader_beside_a_move_of_two, {.stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([&](caller&) { scene.map().quiesce(); },
               [](caller& me) {
                   me.find(right);
                   me.find(k);
               });
    WEIR_MODEL_REQUIRE(scene.map().stats().buckets == 4 && scene.map().stats().shrinks == 1);
}
WEIR_MAP_KERNEL(a_reader_of_a_value_that_is_erased_after_the_move_of_two, {.stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{right, 1}});
    scene.has_only_two_buckets_left_to_move();
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.erase(right);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(me.find(right) || news == 1); });
}
// Each thread comes from its own side.
WEIR_MAP_KERNEL(two_buckets_are_moved_from_both_sides, {.stale_reads = 0}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([](caller& me) { me.erase(k); }, [](caller& me) { me.assign(right, 3); });
}
WEIR_MAP_KERNEL(two_buckets_are_moved_from_both_sides_with_old_values, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([](caller& me) { me.assign(right, 3); }, [](caller& me) { me.erase(k); });
}
WEIR_MAP_KERNEL(a_key_is_erased_once_beside_a_move_of_two, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{right, 1}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([](caller& me) { me.erase(right); }, [](caller& me) { me.erase(right); });
}
WEIR_MAP_KERNEL(a_key_is_inserted_once_beside_a_move_of_two, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{twin, 1}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([](caller& me) { me.insert(right, 1); }, [](caller& me) { me.insert(right, 2); });
}
WEIR_MAP_KERNEL(no_update_is_lost_in_a_move_of_two, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{right, 1}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([](caller& me) { me.update(right, 2); }, [](caller& me) { me.update(right, 3); });
}
WEIR_MAP_KERNEL(three_threads_move_two_buckets, {.preemptions = 1, .stale_reads = 0}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([](caller& me) { me.erase(k); }, [](caller& me) { me.assign(right, 3); },
               [](caller& me) { me.insert(twin, 4); });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_slow_mover_of_two_touches_nothing_that_is_freed, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play(
        [&](caller& me) {
            me.erase(k);
            me.assign(right, 3);
            scene.map().quiesce();
        },
        [](caller& me) { me.erase(nothing); });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_reader_of_two_buckets_that_are_gone_touches_nothing_that_is_freed,
                              {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play(
        [](caller& me) {
            me.find(right);
            me.find(right);
        },
        [&](caller& me) {
            me.erase(right);
            scene.map().quiesce();
        });
}

// ---- with overflow blocks

/// Both have one, of two entries and of one.
void have_two_full_buckets(map_scene& scene) {
    scene.has_eight_buckets();
    scene.has_a_full_bucket(0);
    scene.has_a_full_bucket(2);
    scene.has({{k, 1}, {twin, 2}, {right, 3}});
    scene.has_only_two_buckets_left_to_move();
}
WEIR_MAP_KERNEL(two_overflow_blocks_are_moved_from_both_sides, {.preemptions = 1, .stale_reads = 1}) {
    have_two_full_buckets(scene);
    scene.play([](caller& me) { me.erase(k); }, [](caller& me) { me.assign(right, 4); });
    WEIR_MODEL_REQUIRE(scene.map().size() == 2 * slots + 2);
}
WEIR_MAP_KERNEL(a_reader_beside_the_move_of_two_overflow_blocks, {.preemptions = 1, .stale_reads = 1}) {
    have_two_full_buckets(scene);
    scene.play([&](caller&) { scene.map().quiesce(); },
               [](caller& me) {
                   me.find(right);
                   me.find(k);
                   me.find(key_at(2, 8));
               });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_slow_mover_touches_no_second_overflow_block_that_is_freed, {.preemptions = 1, .stale_reads = 1}) {
    have_two_full_buckets(scene);
    scene.play(
        [&](caller& me) {
            me.erase(right);
            scene.map().quiesce();
        },
        [](caller& me) { me.erase(nothing); });
}
WEIR_MAP_KERNEL(all_entries_beside_the_move_of_two_overflow_blocks, {.preemptions = 1, .stale_reads = 0}) {
    have_two_full_buckets(scene);
    scene.play([&](caller&) { scene.map().quiesce(); },
               [&](caller&) {
                   std::size_t shown = 0;
                   scene.map().for_each([&](std::uint64_t, std::uint64_t) { ++shown; });
                   WEIR_MODEL_REQUIRE(shown == 2 * slots + 3);
               });
}

// ---- all entries, and statistics

WEIR_MAP_KERNEL_IN_BOTH_MODES(all_entries_beside_a_move_of_two, {.stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}, {far, 3}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([&](caller&) { scene.map().quiesce(); },
               [&](caller&) {
                   const all_shown seen(scene.map(), false);
                   WEIR_MODEL_REQUIRE(!seen.twice && seen.values[0] == 1 && seen.values[2] == 2 && seen.values[8] == 3);
               });
}
WEIR_MAP_KERNEL(all_entries_one_by_one_beside_a_move_of_two, {.stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}, {far, 3}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([&](caller&) { scene.map().quiesce(); },
               [&](caller&) {
                   const all_shown seen(scene.map(), true);  // some perhaps twice
                   WEIR_MODEL_REQUIRE(seen.values[0] == 1 && seen.values[2] == 2 && seen.values[8] == 3);
               });
}
// What comes into the half that has been shown already is not shown, or shown once.
WEIR_MAP_KERNEL(all_entries_beside_a_move_of_two_and_an_insert, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([](caller& me) { me.insert(key_at(1, 0), 4); },
               [&](caller&) {
                   const all_shown seen(scene.map(), false);
                   WEIR_MODEL_REQUIRE(!seen.twice && seen.values[0] == 1 && seen.values[2] == 2);
                   WEIR_MODEL_REQUIRE(seen.values[1] == 0 || seen.values[1] == 4);
               });
}
WEIR_MAP_KERNEL(all_entries_are_erased_beside_a_move_of_two, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.map().insert(k, 1);
    scene.map().insert(right, 2);
    scene.has_only_two_buckets_left_to_move();
    scene.play([&](caller&) { scene.map().quiesce(); },
               [&](caller&) {
                   const auto erased = scene.map().erase_if([](std::uint64_t key, std::uint64_t) { return key == right; });
                   WEIR_MODEL_REQUIRE(erased == 1);
               });
    WEIR_MODEL_REQUIRE(!scene.map().contains(right) && scene.map().find(k) == 1);
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(the_statistics_beside_a_move_of_two, {.preemptions = 1, .stale_reads = 1}) {
    have_two_full_buckets(scene);
    scene.play([&](caller&) { scene.map().quiesce(); },
               [&](caller&) {
                   const auto seen = scene.map().stats();
                   WEIR_MODEL_REQUIRE(seen.buckets == 4 || seen.buckets == 8);
                   WEIR_MODEL_REQUIRE(seen.size == 2 * slots + 3);
                   WEIR_MODEL_REQUIRE(seen.shrinks == 1 && seen.longest_chain <= 2 * slots + 3);
               });
}

// ---- a whole shrinking

WEIR_MAP_KERNEL(a_reader_beside_a_shrinking, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.play([&](caller&) { scene.map().shrink_to_fit(); },
               [](caller& me) {
                   me.find(k);
                   me.find(right);
               });
}
WEIR_MAP_KERNEL(an_insert_beside_a_shrinking, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{twin, 1}});
    scene.play([&](caller&) { scene.map().shrink_to_fit(); }, [](caller& me) { me.insert(right, 2); });
}
WEIR_MAP_KERNEL(an_erase_beside_a_shrinking, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{right, 1}});
    scene.play([&](caller&) { scene.map().shrink_to_fit(); }, [](caller& me) { me.erase(right); });
}
WEIR_MAP_KERNEL(a_replacement_beside_a_shrinking, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{right, 1}});
    scene.play([&](caller&) { scene.map().shrink_to_fit(); }, [](caller& me) { me.assign(right, 2); });
}
WEIR_MAP_KERNEL(an_overflow_beside_a_shrinking, {.preemptions = 1, .stale_reads = 0}) {
    scene.has_eight_buckets();
    scene.has_a_full_bucket(2);
    scene.play([&](caller&) { scene.map().shrink_to_fit(); }, [](caller& me) { me.insert(right, 1); });
}
WEIR_MAP_KERNEL(all_entries_beside_a_shrinking, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}, {far, 3}});
    scene.play([&](caller&) { scene.map().shrink_to_fit(); },
               [&](caller&) {
                   const all_shown seen(scene.map(), false);
                   WEIR_MODEL_REQUIRE(!seen.twice && seen.values[0] == 1 && seen.values[2] == 2 && seen.values[8] == 3);
               });
}
WEIR_MAP_KERNEL(the_statistics_beside_a_shrinking, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.play([&](caller&) { scene.map().shrink_to_fit(); },
               [&](caller&) {
                   const auto seen = scene.map().stats();
                   WEIR_MODEL_REQUIRE((seen.buckets == 4 || seen.buckets == 8) && seen.longest_chain <= 2);
               });
}
WEIR_MAP_KERNEL(two_threads_shrink, {.preemptions = 1, .stale_reads = 0}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.play([&](caller&) { scene.map().shrink_to_fit(); }, [&](caller&) { scene.map().shrink_to_fit(); });
    WEIR_MODEL_REQUIRE(scene.map().stats().buckets == 4 && scene.map().stats().shrinks == 1);
}
WEIR_MAP_KERNEL(one_thread_shrinks_and_another_one_reserves, {.preemptions = 1, .stale_reads = 0}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.play([&](caller&) { scene.map().shrink_to_fit(); }, [&](caller&) { scene.map().reserve(need_8_buckets); });
    const auto seen = scene.map().stats();
    WEIR_MODEL_REQUIRE((seen.buckets == 4 && seen.shrinks == 1) || (seen.buckets == 8 && seen.shrinks == seen.growths));
}
// Who counts to a multiple of eight looks at the size: here the first one, whose entry comes and goes.
WEIR_MAP_KERNEL(a_shrinking_that_an_erase_begins, {.preemptions = 1, .stale_reads = 0}) {
    scene.has_eight_buckets();
    scene.has({{right, 1}});
    scene.play(
        [](caller& me) {
            me.insert(twin, 2);
            me.erase(twin);
        },
        [](caller& me) {
            me.update(right, 3);
            me.insert(k, 4);
        });
    scene.map().quiesce();
    WEIR_MODEL_REQUIRE(scene.map().stats().buckets == 4 && scene.map().stats().shrinks == 1);
}
WEIR_MAP_KERNEL(what_was_reserved_is_kept, {.preemptions = 0, .stale_reads = 0}) {
    scene.map().reserve(need_8_buckets);
    scene.play([](caller& me) {
        me.insert(twin, 2);
        me.erase(twin);
    });
    WEIR_MODEL_REQUIRE(scene.map().stats().buckets == 8 && scene.map().stats().shrinks == 0);
}
WEIR_MAP_KERNEL(a_shrinking_that_gets_no_memory_is_put_off, {.preemptions = 0, .stale_reads = 0}) {
    scene.has_eight_buckets();
    scene.before().insert(k, 1);
    scene.with_allocations(0, [&] { scene.before().erase(k); });
    WEIR_MODEL_REQUIRE(scene.map().stats().failed_growths == 1 && scene.map().stats().shrinks == 0);
    scene.before().insert(k, 2);
    scene.before().erase(k);
    WEIR_MODEL_REQUIRE(scene.map().stats().shrinks == 1);
}

// ---- smaller, larger, smaller: threads that sleep through it. They are the last ones, which begin.

/// From four buckets, of which one is still to be moved, to eight and back.
void grow_and_shrink(map_scene& scene, caller& me) {
    scene.map().quiesce();
    scene.map().shrink_to_fit();
    me.erase(k);
    scene.map().quiesce();
}
/// From eight buckets, of which two are still to be moved, to four and back.
void shrink_and_grow(map_scene& scene, caller& me) {
    scene.map().quiesce();
    scene.map().reserve(need_8_buckets);
    me.erase(right);
    scene.map().quiesce();
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_reader_that_sleeps_through_a_growth_and_a_shrinking, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([&](caller& me) { grow_and_shrink(scene, me); },
               [](caller& me) {
                   me.find(k);
                   me.find(right);
               });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_helper_that_sleeps_through_a_growth_and_a_shrinking, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([&](caller& me) { grow_and_shrink(scene, me); }, [](caller& me) { me.upsert(k, 3); });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_reader_that_sleeps_through_a_shrinking_and_a_growth, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([&](caller& me) { shrink_and_grow(scene, me); },
               [](caller& me) {
                   me.find(right);
                   me.find(k);
               });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_helper_that_sleeps_through_a_shrinking_and_a_growth, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([&](caller& me) { shrink_and_grow(scene, me); }, [](caller& me) { me.upsert(right, 3); });
}
WEIR_MAP_KERNEL(all_entries_through_a_shrinking_and_a_growth, {.preemptions = 1, .stale_reads = 0}) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}, {far, 3}});
    scene.has_only_two_buckets_left_to_move();
    scene.play(
        [&](caller&) {
            scene.map().quiesce();
            scene.map().reserve(need_8_buckets);
        },
        [&](caller&) {
            const all_shown seen(scene.map(), false);
            WEIR_MODEL_REQUIRE(!seen.twice && seen.values[0] == 1 && seen.values[2] == 2 && seen.values[8] == 3);
        });
}
WEIR_MAP_KERNEL(all_entries_through_a_growth_and_a_shrinking, {.preemptions = 1, .stale_reads = 0}) {
    scene.has({{k, 1}, {right, 2}, {far, 3}});
    scene.has_only_one_bucket_left_to_move();
    scene.play(
        [&](caller&) {
            scene.map().quiesce();
            scene.map().shrink_to_fit();
        },
        [&](caller&) {
            const all_shown seen(scene.map(), false);
            WEIR_MODEL_REQUIRE(!seen.twice && seen.values[0] == 1 && seen.values[2] == 2 && seen.values[8] == 3);
        });
}

// ---- frozen in a shrinking

/// Everything that one thread may want of a key and its bucket.
void use(caller& me, std::uint64_t key) {
    me.find(key);
    me.insert(key, 50);
    me.update(key, 51);
    me.erase(key);
    me.upsert(key, 52);
}
/// Ends the shrinking, and grows again, whoever is frozen in it.
void shrink_on(map_scene& scene, caller& me) {
    use(me, right);
    me.assign(k, 60);
    scene.map().shrink_to_fit();
    WEIR_MODEL_REQUIRE(scene.map().stats().buckets == 4);
    scene.map().reserve(need_8_buckets);
    use(me, right);
    me.assign(k, 61);
    scene.map().quiesce();
    WEIR_MODEL_REQUIRE(scene.map().stats().buckets == 8);
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_who_moves_two_buckets) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play_in_turn([](caller& me) { me.erase(nothing); }, [&](caller& me) { shrink_on(scene, me); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_who_moves_two_overflow_blocks) {
    have_two_full_buckets(scene);
    scene.play_in_turn([](caller& me) { me.erase(right); },
                       [&](caller& me) {
                           use(me, right);
                           me.assign(k, 60);
                           scene.map().quiesce();
                           WEIR_MODEL_REQUIRE(scene.map().stats().buckets == 4);
                       });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_who_shrinks) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.play_in_turn([&](caller&) { scene.map().shrink_to_fit(); }, [&](caller& me) { shrink_on(scene, me); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_an_insert_beside_a_shrinking) {
    scene.has_eight_buckets();
    scene.has({{k, 1}});
    scene.play_in_turn([](caller& me) { me.insert(right, 2); }, [&](caller& me) { shrink_on(scene, me); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_who_looks_at_all_entries_beside_a_shrinking) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.play_in_turn([&](caller&) { scene.map().for_each([](std::uint64_t, std::uint64_t) {}); },
                       [&](caller& me) { shrink_on(scene, me); });
}

// ---- an allocation fails

WEIR_MAP_FAILURE_KERNEL(a_shrinking_beside_an_insert) {
    scene.has_eight_buckets();
    scene.has({{k, 1}});
    scene.play(
        [&](caller&) {
            try {
                scene.map().shrink_to_fit();
            } catch (std::bad_alloc const&) {
            }
        },
        [](caller& me) {
            me.insert(right, 2);
            me.insert(right, 3);
            WEIR_MODEL_REQUIRE(me.contains(right) || me.contains(right));
        });
}
WEIR_MAP_FAILURE_KERNEL(a_move_of_two_buckets_from_both_sides) {
    scene.has_eight_buckets();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_two_buckets_left_to_move();
    scene.play([](caller& me) { me.erase(k); },
               [](caller& me) {
                   me.assign(right, 3);
                   me.assign(right, 4);
               });
}
WEIR_MAP_FAILURE_KERNEL(a_move_of_two_overflow_blocks) {
    have_two_full_buckets(scene);
    scene.play([](caller& me) { me.erase(k); },
               [](caller& me) {
                   me.assign(right, 4);
                   me.assign(right, 5);
               });
}

}  // namespace
}  // namespace weir_model
