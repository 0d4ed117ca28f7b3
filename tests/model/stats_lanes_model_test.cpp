// weir (BSL-1.0). Kernels of data/detail/stat_lanes.hpp and stat_shards.hpp, and of counter: words and blocks that go from
// thread to thread, and whoever sums them up meanwhile.
#include <weir/data/stats.hpp>

#include "kernels.hpp"
#include "stats_kernel.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <thread>

// Who kills what.
//
//   edge             site                                weakened           killed by
//   stat_lanes E1    enter_stat_lane; for_each, a lane   release; acquire   a_first_add_is_in_the_sum
//   stat_lanes E2    make; for_each, a segment           release; acquire   a_first_add_is_in_the_sum
//   stat_lanes E3    release; take_from                  release; acquire   one_that_is_acquired_again
//   stat_lanes E4    open, won; lost                     release; acquire   two_that_are_acquired_at_once
//   stat_lanes E4    acquire_from, the look              acquire            two_that_are_acquired_at_once
//   stat_shards E1   write_first; for_each, a block      release; acquire   a_block_is_whole
//   stat_shards E2   claim, the link                     release            who_has_no_lane
//   stat_shards E2   claim, the look                     acquire            who_has_no_lane
//   stat_shards E2   for_each, the list                  acquire            spare_blocks_are_whole
//   stat_shards E3   write_first; claim, the exchange    release; acquire   who_has_no_lane
//   stat_counter E1  take, the look                      acquire            each_unit_is_taken_once
//   stat_counter E1  take, the exchange and its failure  release; acquire   each_unit_is_taken_once

namespace weir_model {
namespace {

using weir::counter;
using weir::detail::make_stat_block;
using weir::detail::stat_block;
using weir::detail::stat_cell;
using weir::detail::stat_lane_registry;
using weir::detail::stat_shards;
using weir::detail::stat_word;
using weir::detail::this_thread_slot;
using weir::detail::thread_slot_registry;

using word = std::uint64_t;

// ---- counter: lanes of several threads

WEIR_MODEL_KERNEL(stat_lanes, a_first_add_is_in_the_sum_or_not_yet, {}) {
    const lanes_of_a_body lanes;
    counter c;
    together([&] { c.add(1); }, [&] { c.add(10); },
             [&] {
                 const word first = c.value();
                 WEIR_MODEL_REQUIRE(first == 0 || first == 1 || first == 10 || first == 11);
                 const word second = c.value();
                 WEIR_MODEL_REQUIRE(second >= first && second <= 11);
             });
    WEIR_MODEL_REQUIRE(c.value() == 11);
}

// The lane is there, the segment is new: cells beyond the first 64.
WEIR_MODEL_KERNEL(stat_lanes, a_segment_that_is_new_is_in_the_sum_or_not_yet, {}) {
    const lanes_of_a_body lanes;
    const counter first_one;
    stat_lane_registry::instance.taken[0].load()->store(~word{0});
    stat_lane_registry::instance.first_free.store(64);
    counter beyond;
    const auto write = [&] {
        beyond.add(1);
        beyond.add(2);
    };
    together(write, write, [&] {
        const word seen = beyond.value();
        WEIR_MODEL_REQUIRE(seen <= 6);
    });
    WEIR_MODEL_REQUIRE(beyond.value() == 6);
}

// What was added before is seen, also by who has looked before the adding thread had a lane.
WEIR_MODEL_KERNEL(stat_lanes, what_was_added_before_is_in_the_sum, {}) {
    const lanes_of_a_body lanes;
    counter c;
    std::atomic<int> done{0};
    const auto add = [&] {
        c.add(1);
        done.fetch_add(1, std::memory_order_release);
    };
    together(add, add, [&] {
        const word before = c.value();
        const int known = done.load(std::memory_order_acquire);
        const word after = c.value();
        WEIR_MODEL_REQUIRE(after >= before && after >= static_cast<word>(known) && after <= 2);
    });
}

// Slots go from threads that end to threads that begin, and what was added stays.
WEIR_MODEL_KERNEL(stat_lanes, an_ending_thread_leaves_its_lane_to_a_new_one, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    counter c;
    const auto live = [&] { c.add(1); };
    together([&] { std::thread{live}.join(); }, live);
    WEIR_MODEL_REQUIRE(c.value() == 2);
    WEIR_MODEL_REQUIRE(stat_lane_registry::instance.lanes_end.load() <= 2);
}

/// Adds when its thread ends.
struct adds_at_exit {
    adds_at_exit() noexcept = default;
    adds_at_exit(adds_at_exit const&) = delete;
    adds_at_exit& operator=(adds_at_exit const&) = delete;
    ~adds_at_exit() {
        if (to != nullptr) {
            to->add(1);
        }
    }
    counter* to = nullptr;
};

// Made after the first add: destroyed while the lane is still its thread's. Made between the slot and the lane: after the
// lane has gone, before the slot has. Made before the slot: after both.
WEIR_MODEL_KERNEL(stat_lanes, what_a_thread_adds_in_its_last_destructors_counts, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    counter c;
    together(
        [&] {
            static thread_local adds_at_exit before_the_slot;
            before_the_slot.to = &c;
            static_cast<void>(this_thread_slot());
            static thread_local adds_at_exit before_the_lane;
            before_the_lane.to = &c;
            c.add(1);
            static thread_local adds_at_exit last;
            last.to = &c;
        },
        [&] {
            c.add(1);
            c.add(1);
        });
    WEIR_MODEL_REQUIRE(c.value() == 6);
}

WEIR_MODEL_KERNEL(stat_lanes, threads_without_a_lane_count_too, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    counter c;
    c.add(1);
    together(
        [&] {
            leave_lanes();
            c.add(10);
        },
        [&] {
            leave_lanes();
            c.add(100);
            const word seen = c.value();
            WEIR_MODEL_REQUIRE(seen == 111 || seen == 101);
        });
    WEIR_MODEL_REQUIRE(c.value() == 111);
}

// More threads than slots: the registry has none left.
WEIR_MODEL_KERNEL(stat_lanes, threads_without_a_slot_count_too, {}) {
    const lanes_of_a_body lanes;
    counter c;
    for (auto& bits : thread_slot_registry::taken) {
        bits.store(~word{0}, std::memory_order_relaxed);
    }
    together([&] { c.add(1); }, [&] { c.add(10); });
    WEIR_MODEL_REQUIRE(c.value() == 11);
    WEIR_MODEL_REQUIRE(stat_lane_registry::instance.lanes_end.load() == 0);
}

WEIR_MODEL_KERNEL(stat_lanes, without_memory_for_a_lane_nothing_is_lost, {.allocation_failures = 2}) {
    const lanes_of_a_body lanes;
    std::optional<counter> c;
    try {
        c.emplace();
    } catch (std::bad_alloc const&) {
        return;
    }
    const auto add = [&] {
        c->add(1);
        c->add(1);
    };
    beside(add, add);
    WEIR_MODEL_REQUIRE(c->value() == 4);
}

// ---- cells that are taken, given back and taken again

// Two threads make the first counters there are. Both may make the bits, and one of the two is thrown away.
WEIR_MODEL_KERNEL(stat_cells, two_that_are_acquired_at_once_are_different, {}) {
    const lanes_of_a_body lanes;
    together([] { WEIR_MODEL_REQUIRE(counter{}.value() == 0); },
             [] {
                 counter c;
                 c.add(1);
                 WEIR_MODEL_REQUIRE(c.value() == 1);
             });
}

// The index goes from thread to thread, and is zero in every lane: in the first one's, in that of who added to it before.
WEIR_MODEL_KERNEL(stat_cells, one_that_is_acquired_again_begins_at_zero, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    counter other;
    std::optional<counter> old{std::in_place};
    old->add(1);
    std::atomic<bool> done{false};
    together(
        [&] {
            if (done.load(std::memory_order_acquire)) {
                old.reset();
            }
        },
        [&] {
            old->add(10);
            done.store(true, std::memory_order_release);
            counter c;
            c.add(100);
            other.add(7);
            WEIR_MODEL_REQUIRE(c.value() == 100);
        });
    WEIR_MODEL_REQUIRE(other.value() == 7);
}

// One index is free among the first 64. Whatever two threads have done to the hint: it is found again before there are more.
WEIR_MODEL_KERNEL(stat_cells, an_index_that_was_given_back_is_found_again, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    auto& all = stat_lane_registry::instance;
    {
        const counter first;  // the bits are there
    }
    auto* const taken = all.taken[0].load();
    taken->store(~word{1});
    const auto use = [] { const counter c; };
    together(use, use);
    WEIR_MODEL_REQUIRE(taken->load() == ~word{1});
    if (auto* const next = all.taken[1].load()) {
        next[0].store(~word{0});
        next[1].store(~word{0});
    }
    const counter last;
    WEIR_MODEL_REQUIRE(taken->load() == ~word{0} && all.taken[2].load() == nullptr);
}

WEIR_MODEL_KERNEL(stat_cells, two_that_are_given_back_at_once_are_free, {.spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    std::array<std::optional<counter>, 3> all;
    for (auto& c : all) {
        c.emplace();
    }
    together([&] { all[0].reset(); },
             [&] {
                 all[1].reset();
                 const counter a;
                 const counter b;
             });
    WEIR_MODEL_REQUIRE(stat_lane_registry::instance.taken[0].load()->load() == word{1} << 2);
}

// ---- take

WEIR_MODEL_KERNEL(counter, each_unit_is_taken_once, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    counter c;
    c.add(1);
    word one = 0;
    word two = 0;
    together([&] { c.add(10); }, [&] { one = c.take(); }, [&] { two = c.take(); });
    WEIR_MODEL_REQUIRE(one <= 11 && two <= 11);
    WEIR_MODEL_REQUIRE(one + two + c.take() == 11);
    WEIR_MODEL_REQUIRE(c.value() == 11);
}

// Each of the two has seen one more than the other knows of.
WEIR_MODEL_KERNEL(counter, each_unit_of_two_threads_is_taken_once, {}) {
    const lanes_of_a_body lanes;
    counter c;
    word one = 0;
    word two = 0;
    together([&] { one = c.take(); }, [&] { c.add(1); },
             [&] {
                 c.add(10);
                 two = c.take();
                 WEIR_MODEL_REQUIRE(two <= 11);
             });
    WEIR_MODEL_REQUIRE(one <= 11);
    WEIR_MODEL_REQUIRE(one + two + c.take() == 11);
}

// ---- shards: blocks

/// A race where two write at once, or where a block is handed on without an edge.
struct plain_block : stat_block {
    word const whole = 7;
    word written = 0;
    stat_word shown{0};

    void add(word n) noexcept {
        written += n;
        shown.store(shown.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
};

struct plain_shards {
    stat_shards<plain_block> blocks;

    bool add(word n) noexcept {
        if (auto* const block = blocks.own()) {
            block->add(n);
            return true;
        }
        return blocks.write_first([] { return make_stat_block<plain_block>(0); }, [n](plain_block& b) { b.add(n); });
    }
    [[nodiscard]] word shown() const {
        word sum = 0;
        blocks.for_each([&](plain_block const& b) {
            WEIR_MODEL_REQUIRE(b.whole == 7);
            sum += b.shown.load(std::memory_order_relaxed);
        });
        return sum;
    }
    // Where nobody writes.
    [[nodiscard]] word written() const {
        word sum = 0;
        blocks.for_each([&](plain_block const& b) { sum += b.written; });
        return sum;
    }
    [[nodiscard]] std::size_t count() const {
        std::size_t n = 0;
        blocks.for_each([&](plain_block const&) { ++n; });
        return n;
    }
};

WEIR_MODEL_KERNEL(stat_shards, a_block_is_whole_for_whoever_reads_all, {}) {
    const lanes_of_a_body lanes;
    plain_shards s;
    const auto write = [&] {
        WEIR_MODEL_REQUIRE(s.add(1));
        WEIR_MODEL_REQUIRE(s.add(10));
    };
    together(write, write, [&] {
        const word first = s.shown();
        const word second = s.shown();
        WEIR_MODEL_REQUIRE(first <= second && second <= 22);
    });
    WEIR_MODEL_REQUIRE(s.written() == 22 && s.blocks.lost() == 0);
    WEIR_MODEL_REQUIRE(s.count() <= 2);
}

WEIR_MODEL_KERNEL(stat_shards, an_ending_thread_leaves_its_block_to_a_new_one, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    plain_shards s;
    const auto live = [&] { WEIR_MODEL_REQUIRE(s.add(1)); };
    together([&] { std::thread{live}.join(); }, live);
    WEIR_MODEL_REQUIRE(s.written() == 2);
    WEIR_MODEL_REQUIRE(s.count() <= 2);
}

/// Writes when its thread ends.
struct writes_at_exit {
    writes_at_exit() noexcept = default;
    writes_at_exit(writes_at_exit const&) = delete;
    writes_at_exit& operator=(writes_at_exit const&) = delete;
    ~writes_at_exit() {
        if (to != nullptr) {
            to->add(1);
        }
    }
    plain_shards* to = nullptr;
};

// Who has no lane any more writes into no block that the next owner of the slot has got.
WEIR_MODEL_KERNEL(stat_shards, the_last_destructors_of_a_thread_write_into_no_block_of_another, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    plain_shards s;
    together(
        [&] {
            static thread_local writes_at_exit before_the_slot;
            before_the_slot.to = &s;
            static_cast<void>(this_thread_slot());
            static thread_local writes_at_exit before_the_lane;
            before_the_lane.to = &s;
            s.add(1);
            static thread_local writes_at_exit last;
            last.to = &s;
        },
        [&] {
            s.add(1);
            s.add(1);
        });
    WEIR_MODEL_REQUIRE(s.written() == 6 && s.blocks.lost() == 0);
}

// Two writers without a lane: never two in one block, each finds the other's when it is free. But for looks that are too old.
WEIR_MODEL_KERNEL(stat_shards, who_has_no_lane_has_a_block_to_itself, {.preemptions = 4, .stale_reads = 0}) {
    const lanes_of_a_body lanes;
    plain_shards s;
    const auto write = [&] {
        leave_lanes();
        WEIR_MODEL_REQUIRE(s.add(1));
        WEIR_MODEL_REQUIRE(s.add(10));
    };
    together(write, write);
    WEIR_MODEL_REQUIRE(s.written() == 22 && s.blocks.lost() == 0);
    WEIR_MODEL_REQUIRE(s.count() <= 2);
}

WEIR_MODEL_KERNEL(stat_shards, spare_blocks_are_whole_for_whoever_reads_all, {.spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    plain_shards s;
    const auto write = [&] {
        leave_lanes();
        WEIR_MODEL_REQUIRE(s.add(1));
    };
    together(write, write, [&] {
        const word first = s.shown();
        const word second = s.shown();
        WEIR_MODEL_REQUIRE(first <= second && second <= 2);
    });
    WEIR_MODEL_REQUIRE(s.written() == 2 && s.count() <= 2);
}

WEIR_MODEL_KERNEL(stat_shards, writers_with_and_without_a_lane_do_not_meet, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    plain_shards s;
    together(
        [&] {
            leave_lanes();
            WEIR_MODEL_REQUIRE(s.add(1));
            WEIR_MODEL_REQUIRE(s.add(10));
        },
        [&] {
            WEIR_MODEL_REQUIRE(s.add(100));
            WEIR_MODEL_REQUIRE(s.add(1000));
        },
        [&] { WEIR_MODEL_REQUIRE(s.shown() <= 1111); });
    WEIR_MODEL_REQUIRE(s.written() == 1111 && s.count() == 2);
}

// Whatever is refused: each write is in a block, or counted as lost.
WEIR_MODEL_KERNEL(stat_shards, without_memory_writes_are_counted_as_lost,
                  {.stale_reads = 1, .allocation_failures = 2}) {
    const lanes_of_a_body lanes;
    std::optional<plain_shards> s;
    try {
        s.emplace();
    } catch (std::bad_alloc const&) {
        return;
    }
    std::array<word, 2> written{};
    const auto write = [&](std::size_t me) {
        for (int i = 0; i < 2; ++i) {
            written[me] += s->add(1) ? 1U : 0U;
        }
    };
    beside([&] { write(0); }, [&] { write(1); });
    const word all = written[0] + written[1];
    WEIR_MODEL_REQUIRE(s->written() == all && s->blocks.lost() == 4 - all);
}

// The index of what is destroyed goes to another one: no block goes with it.
WEIR_MODEL_KERNEL(stat_shards, a_new_one_has_no_block_of_an_old_one, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    std::optional<plain_shards> old{std::in_place};
    std::atomic<bool> done{false};
    together(
        [&] {
            if (done.load(std::memory_order_acquire)) {
                old.reset();
            }
        },
        [&] {
            old->add(1);
            done.store(true, std::memory_order_release);
            plain_shards s;
            s.add(10);
            WEIR_MODEL_REQUIRE(s.written() == 10);
        });
}

// ---- progress

// A thread with a lane needs the same steps whatever the others do, wherever they stand.
WEIR_MODEL_KERNEL(stat_lanes, adding_takes_three_steps, {.freezes = 1, .check_leaks = false}) {
    auto* const c = new counter;
    auto* const s = new plain_shards;
    together(
        [&] {
            c->add(1);
            s->add(1);
        },
        [&] {
            // The first time: two for the slot, and two for each other thread that takes one; three for the lane, and one for
            // each other that has got one; three for the segment and two for the word.
            WEIR_MODEL_REQUIRE(count_steps([&] { c->add(1); }) <= 14);
            // The segment is there: two looks at it, two at the word, which is set, and one for what is written.
            WEIR_MODEL_REQUIRE(count_steps([&] { s->add(1); }) <= 8);
            // Then: the segment, the word, and the word; the segment, the word, and what is written.
            WEIR_MODEL_REQUIRE(count_steps([&] { c->add(1); }) == 3);
            WEIR_MODEL_REQUIRE(count_steps([&] { s->add(1); }) == 4);
            static_cast<void>(c->value());
            static_cast<void>(s->shown());
        });
}

// Who stands still in a spare block keeps that block and nothing else.
WEIR_MODEL_KERNEL(stat_shards, whoever_is_suspended_delays_nobody,
                  {.stale_reads = 0, .freezes = 1, .check_leaks = false}) {
    auto* const s = new plain_shards;
    together(
        [&] {
            leave_lanes();
            s->add(1);
        },
        [&] {
            leave_lanes();
            WEIR_MODEL_REQUIRE(s->add(10));
            WEIR_MODEL_REQUIRE(s->add(100));
            const word seen = s->shown();
            WEIR_MODEL_REQUIRE(seen == 110 || seen == 111);
            WEIR_MODEL_REQUIRE(s->count() <= 2);
        });
}

}  // namespace
}  // namespace weir_model
