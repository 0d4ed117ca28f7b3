// weir (BSL-1.0). Kernels of data/lock_free_map.hpp: threads suspended for ever at each step, waiting, memory that runs out.
#include "map_kernel.hpp"

#include <cstddef>
#include <cstdint>
#include <new>

// Progress: of the first function's thread each step is its last one in turn; the second one must come to its end all the
// same, with answers that the history explains, whether or not the frozen call has had its effect.
//
//   edge  site                                   weakened     killed by
//         map_creation, over_                    seq_cst      a_value_is_created_once
//   E4    try_move, after a failure              acquire      a_move_that_gets_no_memory_beside_one_that_does

namespace weir_model {
namespace {

constexpr std::uint64_t k = key_at(0, 0);
constexpr std::uint64_t twin = key_at(0, 1);
constexpr std::uint64_t right = key_at(2, 0);
constexpr std::uint64_t far = key_at(12, 0);
constexpr std::uint64_t nothing = key_at(4, 15);

/// Everything that one thread may want of a key and its bucket.
void use(caller& me, std::uint64_t key) {
    me.find(key);
    me.insert(key, 50);
    me.update(key, 51);
    me.erase(key);
    me.upsert(key, 52);
    me.extract(key);
}

// ---- frozen in an operation on an entry

WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_a_first_insert) {
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { use(me, k); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_an_insert) {
    scene.has({{far, 9}});
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { use(me, k); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_a_replacement) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.insert_or_assign(k, 2); }, [](caller& me) { use(me, k); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_an_erase) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.erase(k); }, [](caller& me) { use(me, k); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_a_reader) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.find(k); }, [](caller& me) { use(me, k); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_an_insert_into_a_full_bucket) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.insert(k, 1); },
               [](caller& me) {
                   use(me, k);
                   me.erase(key_at(0, 8));
                   me.insert(twin, 3);
               });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_an_erase_from_a_full_bucket) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.erase(key_at(0, 8)); },
               [](caller& me) {
                   me.insert(k, 2);
                   use(me, twin);
                   me.insert(key_at(0, 8), 4);
               });
}
// The eraser had no time to free its slot: who needs one does it, if the word of the slot tells that the entry is dead.
WEIR_MAP_PROGRESS_KERNEL(a_dead_slot_is_freed_by_who_needs_it) {
    scene.has_a_full_bucket();
    scene.play_in_turn([](caller& me) { me.erase(key_at(0, 8)); },
                       [&](caller& me) {
                           const std::size_t too_many = me.contains(key_at(0, 8)) ? 1 : 0;
                           me.insert(k, 2);
                           const auto seen = scene.map().stats();
                           WEIR_MODEL_REQUIRE(seen.overflowed == too_many);
                       });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_a_change_of_an_overflow_block) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}, {twin, 2}});
    scene.play([](caller& me) { me.erase(k); },
               [](caller& me) {
                   use(me, k);
                   use(me, twin);
               });
}
// All slots of the bucket but one may be used, whatever became of the reserved one.
WEIR_MAP_PROGRESS_KERNEL(a_slot_that_stays_reserved_is_one_slot_less) {
    scene.has({{far, 9}});
    const bool all = scene.play([](caller& me) { me.insert(k, 1); },
                                [](caller& me) {
                                    for (unsigned n = 8; n < 7 + slots; ++n) {
                                        me.insert(key_at(0, n), n);
                                    }
                                });
    const auto seen = scene.map().stats();
    WEIR_MODEL_REQUIRE(seen.overflowed == 0 && (!all || seen.size == slots + 1));
}

// ---- frozen in what goes through all entries

WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_who_looks_at_all_entries) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.play([&](caller&) { scene.map().for_each([](std::uint64_t, std::uint64_t) {}); },
               [&](caller& me) {
                   use(me, k);
                   scene.map().quiesce();
               });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_who_erases_all_entries) {
    scene.map().insert(far, 9);
    scene.map().insert(k, 1);
    const auto erase_all_but_twin = [&scene] {
        scene.map().erase_if([](std::uint64_t key, std::uint64_t) { return key != twin; });
    };
    scene.play([=](caller&) { erase_all_but_twin(); },
               [&](caller& me) {
                   use(me, twin);
                   scene.map().insert_or_assign(k, 2);
                   erase_all_but_twin();
                   WEIR_MODEL_REQUIRE(!scene.map().contains(k) && !scene.map().contains(far));
               });
}
// "A stopped reader keeps one value, one overflow block and two tables, whatever others write."
WEIR_MAP_PROGRESS_KERNEL(a_stopped_reader_keeps_one_value_and_one_block) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.find(k); },
               [&](caller& me) {
                   for (std::uint64_t value = 2; value < 6; ++value) {
                       me.assign(k, value);
                   }
                   scene.map().quiesce();
                   WEIR_MODEL_REQUIRE(scene.map().stats().pending_objects <= 2);
               });
}

// ---- frozen in a growth

/// Ends the growth, and another one, whoever is frozen in it.
void grow_on(map_scene& scene, caller& me) {
    use(me, k);
    me.assign(right, 60);
    scene.map().reserve(need_16_buckets);
    use(me, k);
    me.assign(right, 61);
    scene.map().quiesce();
    WEIR_MODEL_REQUIRE(scene.map().stats().buckets == 16);
}
/// And a stopped thread keeps no more than a value, a block and two tables.
void grow_on_and_free(map_scene& scene, caller& me) {
    grow_on(scene, me);
    WEIR_MODEL_REQUIRE(scene.map().stats().pending_objects <= 4);
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_who_moves_the_last_bucket) {
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play_in_turn([](caller& me) { me.erase(nothing); }, [&](caller& me) { grow_on_and_free(scene, me); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_who_moves_an_overflow_block) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play_in_turn([](caller& me) { me.erase(k); }, [&](caller& me) { grow_on(scene, me); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_who_grows) {
    scene.has({{k, 1}, {right, 2}});
    scene.play_in_turn([&](caller&) { scene.map().reserve(need_8_buckets); }, [&](caller& me) { grow_on(scene, me); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_an_insert_beside_a_growth) {
    scene.has({{right, 2}});
    scene.play_in_turn([](caller& me) { me.insert(k, 1); }, [&](caller& me) { grow_on_and_free(scene, me); });
}
WEIR_MAP_PROGRESS_KERNEL(nobody_waits_for_who_sweeps) {
    scene.has({{k, 1}, {right, 2}});
    scene.before().assign(k, 3);
    scene.play_in_turn([&](caller&) { scene.map().quiesce(); }, [&](caller& me) { grow_on(scene, me); });
}

// ---- one thread makes what others wait for

constexpr std::uint64_t warm = key_at(15, 15);  // whoever is created first makes the table of those that are being created

WEIR_MAP_KERNEL(a_value_is_created_once, {.stale_reads = 1}) {
    scene.before().find_or_create(warm, 9);
    int made = 0;
    const auto create = [&](caller&) {
        const std::uint64_t value = scene.map().find_or_create(k, [&made] {
            ++made;
            return kernel_value{1};
        });
        WEIR_MODEL_REQUIRE(value == 1);
    };
    scene.play(create, create);
    WEIR_MODEL_REQUIRE(made == 1);
}
WEIR_MAP_KERNEL(a_factory_that_throws_leaves_it_to_the_next, {.stale_reads = 1}) {
    struct refusal {};
    scene.before().find_or_create(warm, 9);
    scene.play(
        [&](caller&) {
            try {
                const auto value = scene.map().find_or_create(k, []() -> kernel_value { throw refusal{}; });
                WEIR_MODEL_REQUIRE(value == 2);
            } catch (refusal const&) {
            }
        },
        [](caller& me) { me.find_or_create(k, 2); });
}
WEIR_MAP_KERNEL(a_creation_beside_an_insert, {.stale_reads = 1}) {
    scene.before().find_or_create(warm, 9);
    scene.play([](caller& me) { me.find_or_create(k, 1); }, [](caller& me) { me.insert(k, 2); });
}
WEIR_MAP_KERNEL(a_creation_beside_an_erase, {.stale_reads = 1}) {
    scene.before().find_or_create(warm, 9);
    scene.play([](caller& me) { me.find_or_create(k, 1); }, [](caller& me) { me.erase(k); });
}

// ---- what is promised of a call alone

// One load for the bins, one for each of at most 64 of them.
WEIR_MAP_KERNEL(the_size_takes_no_more_steps_than_there_are_bins, {.stale_reads = 0}) {
    scene.has({{far, 9}});
    scene.play([](caller& me) { me.insert(k, 1); },
               [&](caller&) { WEIR_MODEL_REQUIRE(count_steps([&] { static_cast<void>(scene.map().size()); }) <= 65); });
}

// ---- frozen in a creation: who creates the same key waits, nobody else

WEIR_MAP_PROGRESS_KERNEL(only_creators_of_the_same_key_wait_for_a_creator) {
    scene.before().find_or_create(far, 9);
    scene.play([](caller& me) { me.find_or_create(k, 1); },
               [](caller& me) {
                   me.find_or_create(twin, 2);
                   use(me, k);
               });
}

// ---- an allocation fails: the call that throws has had no effect, the next one works, nothing leaks

/// The second try: at most one allocation fails.
void insert_at_last(caller& me, std::uint64_t key, std::uint64_t value) {
    me.insert(key, value);
    me.insert(key, value + 1);
    WEIR_MODEL_REQUIRE(me.contains(key) || me.contains(key));
}
WEIR_MAP_FAILURE_KERNEL(two_first_inserts) {
    scene.play([](caller& me) { insert_at_last(me, k, 1); }, [](caller& me) { insert_at_last(me, far, 3); });
}
WEIR_MAP_FAILURE_KERNEL(two_inserts_of_one_key) {
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { insert_at_last(me, k, 3); });
}
WEIR_MAP_FAILURE_KERNEL(a_replacement_beside_an_update) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.insert_or_assign(k, 2); }, [](caller& me) { me.update(k, 3); });
}
WEIR_MAP_FAILURE_KERNEL(an_upsert_beside_an_erase) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.upsert(k, 2); }, [](caller& me) { me.erase(k); });
}
WEIR_MAP_FAILURE_KERNEL(an_overflow_beside_an_erase) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { insert_at_last(me, k, 1); }, [](caller& me) { me.erase(key_at(0, 8)); });
}
WEIR_MAP_FAILURE_KERNEL(an_overflow_block_that_shrinks) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}, {twin, 2}});
    scene.play([](caller& me) { me.erase(k); }, [](caller& me) { me.erase(twin); });
}
WEIR_MAP_FAILURE_KERNEL(a_move_beside_an_insert) {
    scene.has({{right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.erase(right); }, [](caller& me) { insert_at_last(me, k, 1); });
}
WEIR_MAP_FAILURE_KERNEL(a_move_of_an_overflow_block) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}, {right, 2}});
    scene.has_only_one_bucket_left_to_move();
    scene.play([](caller& me) { me.erase(k); },
               [](caller& me) {
                   me.assign(right, 3);
                   me.assign(right, 4);
               });
}
WEIR_MAP_FAILURE_KERNEL(a_growth_beside_an_insert) {
    scene.has({{right, 2}});
    scene.play(
        [&](caller&) {
            try {
                scene.map().reserve(need_8_buckets);
            } catch (std::bad_alloc const&) {
            }
        },
        [](caller& me) { insert_at_last(me, k, 1); });
}
WEIR_MAP_FAILURE_KERNEL(all_entries) {
    scene.has({{k, 1}, {right, 2}});
    scene.play(
        [&](caller&) {
            try {
                scene.map().for_each([](std::uint64_t, std::uint64_t) {});
            } catch (std::bad_alloc const&) {
            }
        },
        [](caller& me) { me.erase(k); });
}
WEIR_MAP_FAILURE_KERNEL(a_creation) {
    scene.play([](caller& me) { me.find_or_create(k, 1); }, [](caller& me) { me.find_or_create(k, 2); });
}

// One thread gets no memory for the new table's buckets while the other one moves them: then they are moved.
WEIR_MAP_KERNEL_OF(WEIR_MAP_SUITE(lock_free_map_out_of_memory), a_move_that_gets_no_memory_beside_one_that_does,
                  {.preemptions = 1, .stale_reads = 1, .allocation_failures = 1}) {
    try {
        map_scene scene(precedence::causal, weir::hazard_pointer_mode::seq_cst);
        scene.has({{k, 1}});
        scene.has_begun_to_grow();
        scene.play([](caller& me) { me.assign(k, 2); }, [](caller& me) { me.erase(k); });
        scene.judge();
    } catch (std::bad_alloc const&) {
    }
}

}  // namespace
}  // namespace weir_model
