// weir (BSL-1.0). Kernels of data/lock_free_map.hpp: what two or three threads do to one table, in every order.
#include "map_kernel.hpp"
#include "mutation.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// Who kills what. Edges E1 to E6 are those of detail/map_core.hpp; T those of detail/map_table.hpp, G of detail/map_garbage.hpp.
// A kernel is named by its first words. Those about growth stand in lock_free_map_growth_model_test.cpp, those about frozen
// threads and failing allocations in lock_free_map_progress_model_test.cpp, .._move_ and .._shrink_; all are linked into one
// program, three times: for pairs, nodes and stamped nodes.
//
//   edge  site                                   weakened     killed by
//   E1    replace_node, erase_node               release      of_two_replacements_all_entries_show_the_first_one_first
//   E1    search, first look at a slot           acquire      an_absence_that_is_seen
//   E1    search, second look at a slot          acquire      an_address_that_comes_back_in_its_place_deceives_no_reader
//   E1    search, second look at a block         acquire      an_overflow_block_that_is_gone_brings_the_news
//   E1    hold_nodes,   first look at a slot     acquire      of_two_replacements_all_entries_show_the_first_one_first
//   E1    hold_nodes,   second look at a slot    acquire      an_address_that_comes_back_in_its_place_beside_all_entries
//   E1    hold_nodes,   second look at a block   acquire      all_entries_beside_a_replacement_in_an_overflow_block
//   E1    visit_nodes,   first look at a slot    acquire      a_missing_entry_that_is_seen_one_by_one
//   E1    visit_nodes,   second look at a slot   acquire      an_address_that_comes_back_in_its_place_.._one_by_one
//   E1    visit_nodes,   the header meanwhile    acquire      all_entries_one_by_one_find_no_slot_before_its_entry
//   E1    free_dead_slot, slot                   acquire      a_full_bucket_tells_of_the_absence_it_frees
//   E1    exchange_both                          seq_cst      an_overflow_block_is_seen_whole
//   E1    take_slots, fetch_or                   acquire      lock_free_map_growth_model_test.cpp
//   E2    publish                                release      a_value_that_is_seen, a_value_that_is_erased
//   E2    reserve or publish, failed             acquire      of_two_inserts_of_a_key
//   E2    look_up, mutate_bucket: the header     acquire      a_value_that_is_seen
//   E4    visit_nodes: the header after slots    acquire      a_missing_entry_of_an_overflow_block_that_is_seen_one_by_one
//   E2    walk, visit_nodes: the header          acquire      all_entries_beside_an_insert, all_entries_one_by_one_beside
//   E3    map_pairs::read; write                 both         a_copy_of_a_slot_that_is_used_again; a_reader_beside_a_..
//   E3    reservation::store                     release      what_is_there_all_the_time_is_visited_once
//   E3    reservation::blank                     release      a_slot_that_was_given_back_brings_the_news_of_its_eraser
//   E4    free_dead_slot, first load, failed     acquire      an_overflow_beside_an_erase
//   E4    free_dead_slot, the exchange           release      an_absence_that_is_seen
//   E4    a slot given back; reserved            both         none, see the excuses below
//   E4    move_bucket, done; measure             all          lock_free_map_growth_model_test.cpp
//   E5    create_root                            release      the_first_insert_is_seen_whole_by_a_lookup
//   E5    grow, help, pin_next                   all          lock_free_map_growth_model_test.cpp
//   E6    create_root, my_bin                    both         two_first_inserts
//   E6    size, quiesce, pending                 acquire      the_first_insert_is_seen_whole_by_size, .._by_quiesce, .._by_stats
//   T1    touch; peek                            all          two_threads_need_one_piece
//   T2    mark_moved, all_chunks_moved           all          lock_free_map_growth_model_test.cpp
//   G1    push; take                             both         what_one_thread_erases_another_frees

namespace weir_model {
namespace {

using weir_test::plan;

// All in the first bucket of any table of at most 16: two with one tag, one with another. And one far away.
constexpr std::uint64_t k = key_at(0, 0);
constexpr std::uint64_t twin = key_at(0, 1);
constexpr std::uint64_t other = key_at(0, 14);
constexpr std::uint64_t far = key_at(12, 0);

// ---- the first of everything

WEIR_MAP_KERNEL(the_first_insert_is_seen_whole_by_a_lookup, {.stale_reads = 1}) {
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.find(k); });
}
WEIR_MAP_KERNEL(the_first_insert_is_seen_whole_by_size, {.stale_reads = 1}) {
    scene.play([](caller& me) { me.insert(k, 1); }, [&](caller&) { WEIR_MODEL_REQUIRE(scene.map().size() <= 1); });
}
WEIR_MAP_KERNEL(the_first_insert_is_seen_whole_by_quiesce, {.stale_reads = 1}) {
    scene.play([](caller& me) { me.insert(k, 1); }, [&](caller&) { scene.map().quiesce(); });
}
WEIR_MAP_KERNEL(the_first_insert_is_seen_whole_by_stats, {.stale_reads = 1}) {
    scene.play([](caller& me) { me.insert(k, 1); },
               [&](caller&) {
                   const auto seen = scene.map().stats();
                   WEIR_MODEL_REQUIRE(seen.size <= 1 && (seen.buckets == 0 || seen.buckets == 4));
                   WEIR_MODEL_REQUIRE(seen.longest_chain <= 1 && seen.overflowed == 0 && seen.pending_objects == 0);
               });
}
WEIR_MAP_KERNEL(two_first_inserts_make_one_map, {.stale_reads = 1}) {
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.insert(far, 2); });
}
WEIR_MAP_KERNEL(two_threads_need_one_piece_of_a_table, {.stale_reads = 1}) {
    scene.map().reserve(1);
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.insert(far, 2); });
}
WEIR_MAP_KERNEL(a_piece_that_is_seen_is_empty_or_filled, {.stale_reads = 1}) {
    scene.map().reserve(1);
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.find(far); });
}

// The number of bins is found out once for all maps.
WEIR_MAP_KERNEL_OF(WEIR_MAP_SUITE(lock_free_map), two_maps_are_made_at_once, {}) {
    const auto make = [] { WEIR_MODEL_REQUIRE(kernel_map({.capacity = 1, .seed = 1}).empty()); };
    together(make, make);
    weir::hazard_pointer_default_domain().reset(weir::hazard_pointer_mode::seq_cst);
}

// ---- inserts

WEIR_MAP_KERNEL(of_two_inserts_of_a_key_one_wins, {}) {
    scene.has({{other, 9}});
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.insert(k, 2); });
}
WEIR_MAP_KERNEL(of_three_inserts_of_a_key_one_wins, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{far, 9}});
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.insert(k, 2); },
               [](caller& me) { me.insert(k, 3); });
}
WEIR_MAP_KERNEL(two_keys_of_one_tag_are_both_stored, {.stale_reads = 1}) {
    scene.has({{far, 9}});
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.insert(twin, 2); });
}
WEIR_MAP_KERNEL(an_insert_that_lost_gives_its_slot_back, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{far, 9}});
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.insert(k, 2); },
               [](caller& me) { me.insert(twin, 3); });
    for (unsigned n = 8; n < 6 + slots; ++n) {  // as many in all as there are slots: none may overflow
        scene.after().insert(key_at(0, n), n);
    }
    WEIR_MODEL_REQUIRE(scene.map().stats().overflowed == 0);
}

// ---- what is seen brings with it all that was done before it. `news` is plain: reading it too early is a race.

WEIR_MAP_KERNEL(a_value_that_is_seen_brings_the_news, {}) {
    scene.has({{far, 9}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.insert(k, 1);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(!me.find(k) || news == 1); });
}
WEIR_MAP_KERNEL(a_value_that_is_erased_brings_the_news, {}) {
    scene.has({{far, 9}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.insert(k, 1);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(!me.erase(k) || news == 1); });
}
WEIR_MAP_KERNEL(an_insert_that_fails_brings_the_news, {}) {
    scene.has({{far, 9}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.insert(k, 1);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(me.insert(k, 2) || news == 1); });
}
WEIR_MAP_KERNEL(what_is_replaced_is_seen_whole, {}) {
    scene.has({{k, 1}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.assign(k, 2);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(me.find(k) != 2 || news == 1); });
}
WEIR_MAP_KERNEL(what_is_replaced_is_seen_whole_by_who_replaces_it, {}) {
    scene.has({{k, 1}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.assign(k, 2);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(me.exchange(k, 3) != 2 || news == 1); });
}
WEIR_MAP_KERNEL(an_absence_that_is_seen_brings_the_news, {}) {
    scene.has({{k, 1}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.erase(k);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(me.find(k) || news == 1); });
}
WEIR_MAP_KERNEL(an_absence_that_a_writer_sees_brings_the_news, {}) {
    scene.has({{k, 1}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.erase(k);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(me.assign(k, 2) || news == 1); });
}
WEIR_MAP_KERNEL(an_absence_that_is_filled_brings_the_news, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.erase(k);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(!me.insert(k, 2) || news == 1); });
}

// ---- one key

WEIR_MAP_KERNEL(no_update_is_lost, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.update(k, 2); }, [](caller& me) { me.update(k, 3); });
}
WEIR_MAP_KERNEL(of_two_upserts_one_inserts, {.stale_reads = 1}) {
    scene.has({{far, 9}});
    scene.play([](caller& me) { me.upsert(k, 1); }, [](caller& me) { me.upsert(k, 2); });
}
WEIR_MAP_KERNEL(of_two_erasers_one_erases, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.erase(k); }, [](caller& me) { me.erase(k); });
}
WEIR_MAP_KERNEL(an_insert_beside_an_erase, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.insert(k, 2); }, [](caller& me) { me.erase(k); });
}
WEIR_MAP_KERNEL(an_update_beside_an_erase, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.update(k, 2); }, [](caller& me) { me.erase(k); });
}
WEIR_MAP_KERNEL(an_extract_beside_an_erase, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.extract(k); }, [](caller& me) { me.erase(k); });
}
WEIR_MAP_KERNEL(an_extract_returns_what_it_erased, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.extract(k); }, [](caller& me) { me.assign(k, 2); });
}
WEIR_MAP_KERNEL(an_exchange_returns_what_it_replaced, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.exchange(k, 2); }, [](caller& me) { me.exchange(k, 3); });
}
WEIR_MAP_KERNEL(of_two_compare_exchanges_one_succeeds, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.compare_exchange(k, 1, 2); }, [](caller& me) { me.compare_exchange(k, 1, 3); });
}
WEIR_MAP_KERNEL(a_compare_erase_beside_a_replacement, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.compare_erase(k, 1); }, [](caller& me) { me.insert_or_assign(k, 2); });
}
WEIR_MAP_KERNEL(a_compute_beside_a_replacement, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.compute(k, plan::erase); }, [](caller& me) { me.compute(k, plan::assign, 2); });
}
WEIR_MAP_KERNEL(a_reader_never_sees_an_older_value_after_a_newer_one, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play(
        [](caller& me) {
            me.assign(k, 2);
            me.assign(k, 3);
        },
        [](caller& me) {
            me.find(k);
            me.find(k);
        });
}

// ---- a slot that is used again

WEIR_MAP_KERNEL(a_reader_beside_the_reuse_of_a_slot, {}) {
    scene.has({{k, 1}});
    scene.play(
        [](caller& me) {
            me.erase(k);
            me.insert(twin, 2);
        },
        [](caller& me) { me.find(twin); });
}
WEIR_MAP_KERNEL(an_insert_beside_the_reuse_of_a_slot, {}) {
    scene.has({{k, 1}});
    scene.play(
        [](caller& me) {
            me.erase(k);
            me.insert(twin, 2);
        },
        [](caller& me) { me.insert(twin, 3); });
}
WEIR_MAP_KERNEL(an_upsert_beside_the_reuse_of_a_slot, {}) {
    scene.has({{k, 1}});
    scene.play(
        [](caller& me) {
            me.erase(k);
            me.insert(k, 2);
        },
        [](caller& me) { me.upsert(k, 3); });
}
WEIR_MAP_KERNEL(a_slot_is_given_back_and_used_by_another, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{far, 9}});
    scene.play(
        [](caller& me) { me.insert(k, 1); },
        [](caller& me) {
            me.insert(k, 2);
            me.insert(twin, 3);
        });
}

// A replaced pair leaves its slot to the next one: a copy of the one's key with the other's value would be found.

WEIR_MAP_KERNEL(a_reader_beside_a_replacement_whose_slot_is_used_again, {}) {
    scene.has({{k, 1}});
    scene.play(
        [](caller& me) {
            me.assign(k, 2);
            me.insert(twin, 3);
        },
        [](caller& me) {
            me.find(k);
            me.find(twin);
        });
}
WEIR_MAP_KERNEL(a_reader_beside_a_replacement_that_comes_back_to_its_slot, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play(
        [](caller& me) {
            me.assign(k, 2);
            me.assign(k, 3);
            me.assign(k, 4);
        },
        [](caller& me) {
            me.find(k);
            me.find(k);
        });
}
WEIR_MAP_KERNEL(a_writer_beside_a_replacement_that_comes_back_to_its_slot, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play(
        [](caller& me) {
            me.assign(k, 2);
            me.assign(k, 3);
        },
        [](caller& me) { me.update(k, 4); });
}
WEIR_MAP_KERNEL(an_eraser_beside_a_replacement_that_comes_back_to_its_slot, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play(
        [](caller& me) {
            me.assign(k, 2);
            me.assign(k, 3);
        },
        [](caller& me) { me.extract(k); });
}
WEIR_MAP_KERNEL(of_three_replacements_none_is_lost, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.exchange(k, 2); }, [](caller& me) { me.exchange(k, 3); },
               [](caller& me) { me.exchange(k, 4); });
}
// The reader comes with an old header; the value in the slot is of another key by then.
WEIR_MAP_KERNEL(a_copy_of_a_slot_that_is_used_again_brings_the_news, {}) {
    scene.has({{k, 1}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.erase(k);
            me.insert(twin, 2);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(me.find(k) == 1 || news == 1); });
}
WEIR_MAP_KERNEL(two_replacements_in_one_bucket, {.stale_reads = 1}) {
    scene.has({{k, 1}, {twin, 2}});
    scene.play([](caller& me) { me.assign(k, 3); }, [](caller& me) { me.assign(twin, 4); });
}
WEIR_MAP_KERNEL(a_replacement_beside_an_insert, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.assign(k, 3); }, [](caller& me) { me.insert(twin, 4); });
}

// ---- a full bucket and its overflow block

WEIR_MAP_KERNEL(of_two_inserts_into_a_full_bucket_one_wins, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.insert(k, 2); });
}
WEIR_MAP_KERNEL(two_keys_overflow_at_once, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.insert(twin, 2); });
}
WEIR_MAP_KERNEL(the_last_slot_and_the_overflow_hold_no_key_twice, {.stale_reads = 1}) {
    for (unsigned n = 8; n < 7 + slots; ++n) {
        scene.before().insert(key_at(0, n), n);
    }
    scene.play([](caller& me) { me.insert(k, 1); }, [](caller& me) { me.insert(k, 2); });
}
WEIR_MAP_KERNEL(an_overflow_beside_an_erase, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.erase(key_at(0, 8)); }, [](caller& me) { me.insert(k, 1); });
}
WEIR_MAP_KERNEL(a_late_eraser_frees_no_slot_of_another, {}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.erase(key_at(0, 8)); },
               [](caller& me) {
                   me.insert(k, 1);
                   me.find(k);
               });
}
WEIR_MAP_KERNEL(a_full_bucket_tells_of_the_absence_it_frees, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.erase(key_at(0, 8));
        },
        [&](caller& me) {
            me.insert(k, 1);
            WEIR_MODEL_REQUIRE(me.find(key_at(0, 8)) || news == 1);
        });
}
WEIR_MAP_KERNEL(an_overflow_block_is_seen_whole, {}) {
    scene.has_a_full_bucket();
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.insert(k, 1);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(!me.find(k) || news == 1); });
}
WEIR_MAP_KERNEL(an_overflow_block_that_is_gone_brings_the_news, {}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.erase(k);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(me.find(k) || news == 1); });
}
WEIR_MAP_KERNEL(a_change_of_one_overflowed_entry_keeps_the_other, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}, {twin, 2}});
    scene.play([](caller& me) { me.erase(k); }, [](caller& me) { me.update(twin, 3); });
}
WEIR_MAP_KERNEL(an_overflowed_entry_is_upserted_and_erased, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.erase(k); }, [](caller& me) { me.upsert(k, 2); });
}

// A pair is replaced where there is no slot for the new one: it goes into the overflow block.

constexpr std::uint64_t here = key_at(0, 8);
constexpr std::uint64_t beside = key_at(0, 9);

WEIR_MAP_KERNEL(a_reader_beside_a_replacement_in_a_full_bucket, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.assign(here, 1); },
               [](caller& me) {
                   me.find(here);
                   me.find(here);
               });
}
WEIR_MAP_KERNEL(an_erase_beside_a_replacement_in_a_full_bucket, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.assign(here, 1); }, [](caller& me) { me.erase(here); });
}
WEIR_MAP_KERNEL(of_two_replacements_in_a_full_bucket_none_is_lost, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.exchange(here, 1); }, [](caller& me) { me.exchange(here, 2); });
}
WEIR_MAP_KERNEL(two_entries_are_replaced_in_a_full_bucket, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.assign(here, 1); }, [](caller& me) { me.update(beside, 2); });
}
WEIR_MAP_KERNEL(an_overflow_beside_a_replacement_in_a_full_bucket, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.insert(k, 1); },
               [](caller& me) {
                   me.assign(here, 2);
                   me.find(here);
               });
}
WEIR_MAP_KERNEL(a_replacement_in_a_full_bucket_that_has_a_block, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.assign(here, 2); }, [](caller& me) { me.erase(k); });
}
WEIR_MAP_KERNEL(a_replacement_in_a_full_bucket_is_seen_whole, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.assign(here, 1);
        },
        [&](caller& me) { WEIR_MODEL_REQUIRE(me.find(here) != 1 || news == 1); });
}
WEIR_MAP_KERNEL(all_entries_beside_a_replacement_in_a_full_bucket, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.assign(here, 1); },
               [&](caller&) {
                   unsigned times = 0;
                   scene.map().for_each([&](std::uint64_t, std::uint64_t) { ++times; });
                   WEIR_MODEL_REQUIRE(times == slots);
               });
}
// What is not in the block by its set of bits, and is, comes and goes.
WEIR_MAP_KERNEL(a_key_that_an_overflow_block_lacks_beside_another_one, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{key_at(0, 15), 1}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            me.insert(k, 2);
            news = 1;
            me.erase(k);
        },
        [&](caller& me) {
            if (me.find(k)) {
                WEIR_MODEL_REQUIRE(me.find(k) || news == 1);
            }
        });
}

// ---- memory that is read, retired and used again

/// Looks at all entries, each of which must be one that may be there.
void visit_all(map_scene& scene, bool relaxed, bool (*fits)(std::uint64_t key, std::uint64_t value)) {
    const auto look = [&](std::uint64_t key, std::uint64_t value) { WEIR_MODEL_REQUIRE(fits(key, value)); };
    relaxed ? scene.map().for_each_relaxed(look) : scene.map().for_each(look);
}
bool is_k_with_1_or_2(std::uint64_t key, std::uint64_t value) { return key == k && (value == 1 || value == 2); }
bool is_k_with_1_to_3(std::uint64_t key, std::uint64_t value) { return key == k && value >= 1 && value <= 3; }

/// The second new node has the address of the old one.
void replace_twice_in_one_place(map_scene& scene, caller& me) {
    me.assign(k, 2);
    scene.map().quiesce();
    me.assign(k, 3);
}

WEIR_MAP_KERNEL(what_one_thread_erases_another_frees, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.erase(k); }, [&](caller&) { scene.map().quiesce(); });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_reader_keeps_what_is_erased, {}) {
    scene.has({{k, 1}});
    scene.play(
        [&](caller& me) {
            me.erase(k);
            scene.map().quiesce();
        },
        [](caller& me) { me.visit(k); });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_writer_keeps_what_is_replaced, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play(
        [&](caller& me) {
            me.assign(k, 2);
            scene.map().quiesce();
        },
        [](caller& me) { me.update(k, 3); });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_reader_keeps_an_overflow_block_and_its_entry, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.play(
        [&](caller& me) {
            me.assign(k, 2);
            scene.map().quiesce();
        },
        [](caller& me) { me.find(k); });
}
// The node of the new entry has the address of the old one's.
WEIR_MAP_KERNEL_IN_BOTH_MODES(an_address_that_comes_back_deceives_nobody, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play(
        [&](caller& me) {
            me.erase(k);
            scene.map().quiesce();
            me.insert(twin, 2);
        },
        [](caller& me) { me.update(k, 3); });
}
// Only the slot's word comes back here: the header does not change at all.
WEIR_MAP_KERNEL(an_address_that_comes_back_in_its_place_deceives_no_reader, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([&](caller& me) { replace_twice_in_one_place(scene, me); }, [](caller& me) { me.find(k); });
}
WEIR_MAP_KERNEL(an_address_that_comes_back_in_its_place_beside_all_entries, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([&](caller& me) { replace_twice_in_one_place(scene, me); },
               [&](caller&) { visit_all(scene, false, is_k_with_1_to_3); });
}
WEIR_MAP_KERNEL(an_address_that_comes_back_in_its_place_beside_all_entries_one_by_one, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play([&](caller& me) { replace_twice_in_one_place(scene, me); },
               [&](caller&) { visit_all(scene, true, is_k_with_1_to_3); });
}
// The word that marks the slot dead is not the eraser's: another thread had the slot, and lost.
WEIR_MAP_KERNEL(a_slot_that_was_given_back_brings_the_news_of_its_eraser,
                {.preemptions = of_plain_nodes ? 2 : 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    int news = 0;
    scene.play([&](caller& me) { WEIR_MODEL_REQUIRE(me.find(k) || news == 1); }, [](caller& me) { me.insert(twin, 3); },
               [&](caller& me) {
                   news = 1;
                   me.erase(k);
                   me.insert(twin, 2);
               });
}
// The node that was in a slot and was not published.
WEIR_MAP_KERNEL_IN_BOTH_MODES(a_node_that_lost_is_kept_from_late_readers, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play(
        [&](caller& me) {
            me.erase(k);
            me.insert(twin, 2);
            scene.map().quiesce();
        },
        [](caller& me) { me.insert(twin, 3); }, [](caller& me) { me.find(k); });
}

// ---- all entries

WEIR_MAP_KERNEL(all_entries_beside_an_insert, {}) {
    scene.has({{far, 9}});
    scene.play([](caller& me) { me.insert(k, 1); },
               [&](caller&) {
                   visit_all(scene, false, [](std::uint64_t key, std::uint64_t value) { return value == (key == k ? 1 : 9); });
               });
}
WEIR_MAP_KERNEL(all_entries_one_by_one_beside_an_insert, {}) {
    scene.has({{far, 9}});
    scene.play([](caller& me) { me.insert(k, 1); },
               [&](caller&) {
                   visit_all(scene, true, [](std::uint64_t key, std::uint64_t value) { return value == (key == k ? 1 : 9); });
               });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(all_entries_beside_a_replacement, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play(
        [&](caller& me) {
            me.assign(k, 2);
            scene.map().quiesce();
        },
        [&](caller&) { visit_all(scene, false, is_k_with_1_or_2); });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(all_entries_one_by_one_beside_a_replacement, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play(
        [&](caller& me) {
            me.assign(k, 2);
            scene.map().quiesce();
        },
        [&](caller&) { visit_all(scene, true, is_k_with_1_or_2); });
}
// The version moves while the first slot is looked at, and the second one is filled.
WEIR_MAP_KERNEL(all_entries_one_by_one_beside_an_insert_and_an_erase, {}) {
    scene.has({{k, 1}});
    scene.play(
        [](caller& me) {
            me.insert(other, 2);
            me.erase(k);
        },
        [&](caller&) {
            visit_all(scene, true, [](std::uint64_t key, std::uint64_t value) { return value == (key == k ? 1 : 2); });
        });
}
// The version moves while the first slot is looked at; the second one is free by then, the third one was never used before.
WEIR_MAP_KERNEL(all_entries_one_by_one_find_no_slot_before_its_entry, {.preemptions = 1, .stale_reads = 3}) {
    scene.has({{k, 1}, {other, 2}});
    scene.play(
        [](caller& me) {
            me.insert(twin, 3);
            me.erase(other);
        },
        [&](caller&) {
            visit_all(scene, true,
                      [](std::uint64_t key, std::uint64_t value) { return value == (key == k ? 1 : key == other ? 2 : 3); });
        });
}
WEIR_MAP_KERNEL(what_is_there_all_the_time_is_visited_once, {.stale_reads = 1}) {
    scene.has({{other, 9}, {k, 1}});
    scene.play(
        [](caller& me) {
            me.erase(other);
            me.insert(twin, 2);
        },
        [&](caller&) {
            int times = 0;
            scene.map().for_each([&](std::uint64_t key, std::uint64_t) { times += key == k ? 1 : 0; });
            WEIR_MODEL_REQUIRE(times == 1);
        });
}
WEIR_MAP_KERNEL(of_two_replacements_all_entries_show_the_first_one_first, {.preemptions = 1, .stale_reads = 1}) {
    scene.has({{k, 1}, {other, 1}});
    scene.play(
        [](caller& me) {
            me.assign(k, 2);
            me.assign(other, 2);
        },
        [&](caller&) {
            std::uint64_t first = 0;
            std::uint64_t second = 0;
            scene.map().for_each([&](std::uint64_t key, std::uint64_t value) { (key == k ? first : second) = value; });
            WEIR_MODEL_REQUIRE(first >= second);
        });
}
WEIR_MAP_KERNEL(many_keys_at_once_beside_an_erase_and_an_insert, {.stale_reads = 1}) {
    scene.has({{k, 1}, {twin, 2}});
    scene.play(
        [](caller& me) {
            me.erase(k);
            me.insert(other, 3);
        },
        [&](caller&) {
            const kernel_key keys[] = {twin, k, other};
            std::uint64_t sum = 0;
            const auto found = scene.map().visit(keys, [&](std::uint64_t, std::uint64_t value) { sum += value; });
            WEIR_MODEL_REQUIRE(found == (sum == 6 || sum == 2 ? sum / 2 : 2));  // 2, 2 + 1, 2 + 3, 2 + 1 + 3
        });
}
WEIR_MAP_KERNEL(all_entries_show_an_insert_with_what_came_after_it, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play(
        [](caller& me) {
            me.insert(other, 2);
            me.assign(k, 2);
        },
        [&](caller&) {
            bool inserted = false;
            std::uint64_t value = 0;
            scene.map().for_each([&](std::uint64_t key, std::uint64_t v) {
                value = key == k ? v : value;
                inserted = inserted || key == other;
            });
            WEIR_MODEL_REQUIRE(value == 1 || inserted);
        });
}
WEIR_MAP_KERNEL(all_entries_beside_a_replacement_whose_slot_is_used_again, {.stale_reads = 1}) {
    scene.has({{k, 1}});
    scene.play(
        [](caller& me) {
            me.assign(k, 2);
            me.insert(other, 3);
        },
        [&](caller&) {
            std::uint64_t of_k = 0;
            std::uint64_t of_other = 0;
            scene.map().for_each([&](std::uint64_t key, std::uint64_t value) { (key == k ? of_k : of_other) += value; });
            WEIR_MODEL_REQUIRE((of_k == 1 && of_other == 0) || (of_k == 2 && (of_other == 0 || of_other == 3)));
        });
}
WEIR_MAP_KERNEL(all_entries_beside_an_overflow, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.insert(k, 1); },
               [&](caller&) {
                   int times = 0;
                   scene.map().for_each([&](std::uint64_t key, std::uint64_t) { times += key != k ? 1 : 0; });
                   WEIR_MODEL_REQUIRE(times == static_cast<int>(slots));
               });
}
WEIR_MAP_KERNEL(all_entries_beside_a_replacement_in_an_overflow_block, {.preemptions = 1, .stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.play([](caller& me) { me.assign(k, 2); },
               [&](caller&) {
                   visit_all(scene, false,
                             [](std::uint64_t key, std::uint64_t value) { return key == k ? value <= 2 : value >= 80; });
               });
}
WEIR_MAP_KERNEL(all_entries_one_by_one_beside_an_overflow, {.stale_reads = 2}) {
    scene.has_a_full_bucket();
    scene.play([](caller& me) { me.insert(k, 1); },
               [&](caller&) {
                   visit_all(scene, true,
                             [](std::uint64_t key, std::uint64_t value) { return key == k ? value == 1 : value >= 80; });
               });
}
WEIR_MAP_KERNEL_IN_BOTH_MODES(all_entries_keep_an_overflow_block, {.stale_reads = 1}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    scene.play(
        [&](caller& me) {
            me.erase(k);
            scene.map().quiesce();
        },
        [&](caller&) {
            visit_all(scene, true, [](std::uint64_t key, std::uint64_t value) { return key == k ? value == 1 : value >= 80; });
        });
}
WEIR_MAP_KERNEL(a_missing_entry_that_all_entries_show_brings_the_news, {}) {
    scene.has({{k, 1}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.erase(k);
        },
        [&](caller&) {
            bool there = false;
            scene.map().for_each([&](std::uint64_t, std::uint64_t) { there = true; });
            WEIR_MODEL_REQUIRE(there || news == 1);
        });
}
WEIR_MAP_KERNEL(a_missing_entry_that_is_seen_one_by_one_brings_the_news, {}) {
    scene.has({{k, 1}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.erase(k);
        },
        [&](caller&) {
            bool there = false;
            scene.map().for_each_relaxed([&](std::uint64_t, std::uint64_t) { there = true; });
            WEIR_MODEL_REQUIRE(there || news == 1);
        });
}
WEIR_MAP_KERNEL(a_missing_entry_of_an_overflow_block_that_is_seen_one_by_one_brings_the_news, {}) {
    scene.has_a_full_bucket();
    scene.has({{k, 1}});
    int news = 0;
    scene.play(
        [&](caller& me) {
            news = 1;
            me.erase(k);
        },
        [&](caller&) {
            bool there = false;
            scene.map().for_each_relaxed([&](std::uint64_t key, std::uint64_t) { there = there || key == k; });
            WEIR_MODEL_REQUIRE(there || news == 1);
        });
}
// What the predicate refuses stays, whoever stores it in between. (Calls that are not recorded on keys that no record names.)
WEIR_MAP_KERNEL(an_entry_that_changes_is_judged_again, {.stale_reads = 1}) {
    scene.map().insert(k, 1);
    scene.play([&](caller&) { scene.map().erase_if([](std::uint64_t, std::uint64_t value) { return value != 2; }); },
               [&](caller&) { scene.map().insert_or_assign(k, 2); });
    WEIR_MODEL_REQUIRE(scene.map().find(k) == 2);
}
WEIR_MAP_KERNEL(what_was_there_before_is_cleared, {.stale_reads = 1}) {
    scene.map().insert(k, 1);
    scene.play([&](caller&) { scene.map().clear(); }, [&](caller&) { scene.map().insert(twin, 2); });
    WEIR_MODEL_REQUIRE(!scene.map().contains(k));
}

#if !defined WEIR_MODEL_MAP_OF_NODES && !defined WEIR_MODEL_MAP_OF_STAMPED_NODES  // once, with the kernels of all maps
TEST(mutants_of_lock_free_map, every_weakened_order_is_noticed) {
    const std::string folder = "weir/data/detail/";
    const std::string change = folder + "map_change.hpp";
    const std::string growth = folder + "map_growth.hpp";
    const std::string move = folder + "map_move.hpp";
    const std::string two_stores =
        "the last word of who gave a slot back comes before the first one of its next owner: else an entry is marked dead that "
        "is not. The engine orders the stores of a word as they are executed, so that it never shows the opposite";
    std::vector<std::string> headers{"weir/data/lock_free_map.hpp", "weir/base/detail/hazard_brief.hpp"};
    for (auto const& file : std::filesystem::directory_iterator(WEIR_MODEL_INCLUDE_FOLDER "/" + folder)) {
        const std::string name = file.path().filename().string();
        if (name.starts_with("map_")) {
            headers.push_back(folder + name);
        }
    }
    check_mutants(headers,
                  {{move, "compare_exchange_weak(h, h & ~mask", "release", "relaxed", two_stores},
                   {change, "compare_exchange_strong(header, with_mine", "acquire", "relaxed", two_stores, 'C'},
                   {growth, "root_.load(std::memory_order_acquire) != &t", "acquire", "relaxed",
                    "who finds the third table through the second one knows then that all is moved into that one. To lack this "
                    "a growth must begin in a table that was not entered as the root: 33 entries and three threads"}},
                  {{change, "mine.store(*d.put", "no atomic operation: reservation::store(), which is reached"}},
                  {{change, "= b.header.load(std::memory_order_acquire)", "an_overflow_beside_an_erase"},
                   {change, "map_slot::dead) != 0 &&", "a_full_bucket_tells_of_the_absence_it_frees"},
                   {change, "!b.header.compare_exchange_weak(header, layout::bump", "an_overflow_beside_an_erase"},
                   {growth, "const auto header = b == nullptr ? 0", "a_move_that_gets_no_memory_beside_one_that_does"},
                   {growth, "const auto header = b == nullptr ? 0", "the_statistics_beside_a_move"},
                   {growth, "const auto header = b == nullptr ? 0", "the_statistics_beside_a_growth"},
                   {move, "store(map_slot::dead, std::memory_order_release)", "a_slot_that_was_given_back_brings_the_news_of_its_eraser"},
                   {move, "store(map_slot::dead, std::memory_order_release)", "a_node_that_lost_is_kept_from_late_readers"},
                   {move, "s.at->header.compare_exchange_weak", "a_writer_knows_the_table_after_a_moved_bucket"},
                   {move, "s.at->header.compare_exchange_weak", "a_move_that_gets_no_memory_beside_one_that_does"},
                   {move, "child.header.compare_exchange_strong", "a_late_mover_disturbs_no_reader"}});
}
#endif

}  // namespace
}  // namespace weir_model
