// weir (BSL-1.0). Kernels of data/stats.hpp: what a reader sees of numbers that belong together while they are written.
#include <weir/data/stats.hpp>

#include "kernels.hpp"
#include "mutation.hpp"
#include "stats_kernel.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <optional>
#include <thread>
#include <utility>

// Who kills what. The edges of stat_lanes and stat_shards, and take() of counter, are in stats_lanes_model_test.cpp.
//
//   edge               site                             weakened   killed by
//   stat_latch E1      set, version_ + 1 and + 2        release    each_read_is_of_one_moment
//   stat_latch E1      read, version_                   acquire    each_read_is_of_one_moment
//   stat_latch E2      set, both copies                 release    each_read_is_of_one_moment
//   stat_latch E2      read, a word                     acquire    each_read_is_of_one_moment
//   stat_buckets E1    put; read, a bucket              rel; acq   least_and_most_cover
//   stat_buckets E1    read, least, most, below         acquire    a_histogram_that_is_used_again
//   stat_requests E1   finish; read_finished            rel; acq   as_many_have_begun_as_have_ended
//   stat_bodies E1     finish; snapshot, the other ends rel; acq   as_many_have_begun_as_have_ended_without_memory
//   stat_window E1     put; count                       rel; acq   a_slice_that_is_used_again
//   stat_window E2     enter; read, the number          rel; acq   a_slice_that_is_used_again

namespace weir_model {
namespace {

using weir::detail::counter_slice;
using weir::detail::decay_block;
using weir::detail::histogram_slice;
using weir::detail::make_stat_block;
using weir::detail::request_block;
using weir::detail::request_sums;
using weir::detail::stat_block;
using weir::detail::stat_counts;
using weir::detail::stat_latch;
using weir::detail::stat_recorder;
using weir::detail::stat_shards;
using weir::detail::stat_word;

using namespace std::chrono_literals;

using word = std::uint64_t;
constexpr word none = std::numeric_limits<word>::max();

// ---- stat_latch

using pair_latch = stat_latch<2>;
constexpr std::index_sequence<0, 1> both{};

void write_pair(pair_latch& latch, word n) { latch.set(both, n, 100 + n); }

/// The n of a pair that was written as one; 0 is the beginning.
word read_pair(pair_latch const& latch) {
    auto const seen = latch.read();
    WEIR_MODEL_REQUIRE(seen[1] == (seen[0] == 0 ? 0 : 100 + seen[0]));
    return seen[0];
}

WEIR_MODEL_KERNEL(stat_latch, each_read_is_of_one_moment_and_none_goes_back, {.preemptions = 4, .stale_reads = 3}) {
    pair_latch latch;
    together(
        [&] {
            write_pair(latch, 1);
            write_pair(latch, 2);
            WEIR_MODEL_REQUIRE(latch.own(0) == 2 && latch.own(1) == 102);
        },
        [&] {
            const word first = read_pair(latch);
            const word second = read_pair(latch);
            WEIR_MODEL_REQUIRE(second >= first);
        });
    WEIR_MODEL_REQUIRE(read_pair(latch) == 2);
}

// Words that a write leaves out stay as they were, in both copies.
WEIR_MODEL_KERNEL(stat_latch, what_a_write_leaves_out_stays, {.preemptions = 4, .stale_reads = 3}) {
    stat_latch<3> latch;
    latch.set(std::index_sequence<0, 1, 2>{}, word{1}, word{1}, word{7});
    together(
        [&] {
            latch.set(both, word{2}, word{2});
            latch.set(std::index_sequence<2>{}, word{8});
        },
        [&] {
            auto const seen = latch.read();
            WEIR_MODEL_REQUIRE(seen[0] == seen[1] && (seen[0] == 1 || seen[0] == 2));
            WEIR_MODEL_REQUIRE(seen[2] == 7 || (seen[2] == 8 && seen[0] == 2));
        });
}

// What was written before, by whatever hands that on, is in the state that is read.
WEIR_MODEL_KERNEL(stat_latch, what_was_written_before_is_read, {.preemptions = 4, .stale_reads = 3}) {
    pair_latch latch;
    std::atomic<word> done{0};
    together(
        [&] {
            for (const word n : {word{1}, word{2}}) {
                write_pair(latch, n);
                done.store(n, std::memory_order_release);
            }
        },
        [&] {
            const word known = done.load(std::memory_order_acquire);
            WEIR_MODEL_REQUIRE(read_pair(latch) >= known);
        });
}

// A writer that stands still leaves a state to be read at each of its steps, and a write takes the same steps always.
WEIR_MODEL_KERNEL(stat_latch, a_suspended_writer_delays_no_reader, {.freezes = 1}) {
    pair_latch latch;
    together(
        [&] {
            write_pair(latch, 1);
            write_pair(latch, 2);
        },
        [&] {
            // Four steps a look. Each half of a write may spoil one, and an old value another.
            WEIR_MODEL_REQUIRE(count_steps([&] { static_cast<void>(read_pair(latch)); }) <= 4 * (1 + 4 + 2));
            static_cast<void>(read_pair(latch));
        });
}
WEIR_MODEL_KERNEL(stat_latch, a_write_takes_the_same_steps_always, {.freezes = 1}) {
    pair_latch latch;
    together([&] { static_cast<void>(read_pair(latch)); },
             [&] {
                 WEIR_MODEL_REQUIRE(count_steps([&] { write_pair(latch, 1); }) == 7);
                 WEIR_MODEL_REQUIRE(count_steps([&] { write_pair(latch, 2); }) == 7);
             });
}

struct latch_block : stat_block {
    pair_latch latch;
    void write() noexcept {
        const word n = latch.own(0) + 1;
        latch.set(both, n, 100 + n);
    }
};

struct latch_shards {
    stat_shards<latch_block> blocks;
    void write() noexcept {
        if (auto* const block = blocks.own()) {
            return block->write();
        }
        blocks.write_first([] { return make_stat_block<latch_block>(0); }, [](latch_block& b) { b.write(); });
    }
    [[nodiscard]] word sum() const {
        word n = 0;
        blocks.for_each([&](latch_block const& b) { n += read_pair(b.latch); });
        return n;
    }
};

void two_write_and_one_reads(bool with_lanes) {
    const lanes_of_a_body lanes;
    latch_shards s;
    const auto write = [&] {
        if (!with_lanes) {
            leave_lanes();
        }
        s.write();
    };
    together(
        write,
        [&] {
            const word first = s.sum();
            const word second = s.sum();
            WEIR_MODEL_REQUIRE(first <= second && second <= 2);
        },
        write);
    WEIR_MODEL_REQUIRE(s.sum() == 2);
}
// From hand to hand: a block that is claimed for each write.
WEIR_MODEL_KERNEL(stat_latch, the_next_who_claims_a_block_goes_on_with_it, {}) { two_write_and_one_reads(false); }
// The same through the slot of a thread that ends while the other begins.
WEIR_MODEL_KERNEL(stat_latch, the_next_owner_of_a_slot_goes_on_with_its_block, {}) { two_write_and_one_reads(true); }

// ---- stat_recorder

/// Two buckets: values below 4, and others.
struct small_recorder {
    stat_recorder recorder;
    stat_word buckets[2]{};

    void record(word v) noexcept { recorder.record(buckets[v < 4 ? 0 : 1], v, v, 1, v); }
    [[nodiscard]] stat_counts read() const {
        stat_counts seen(2);
        recorder.read(buckets, seen);
        return seen;
    }
};

// The values are 5, 2, 9 in this order: how many there are says their sum.
void check_counts(stat_counts const& seen) {
    static constexpr word sums[] = {0, 5, 7, 16};
    WEIR_MODEL_REQUIRE(seen.counted <= 3 && seen.sum == sums[seen.counted]);
    const word there = seen.buckets[0] + seen.buckets[1];
    WEIR_MODEL_REQUIRE(there >= seen.counted && there <= 3);
    WEIR_MODEL_REQUIRE(seen.buckets[1] == 0 || (seen.least <= 5 && seen.most >= 5));
    WEIR_MODEL_REQUIRE(seen.buckets[0] == 0 || seen.least <= 2);
    WEIR_MODEL_REQUIRE(seen.buckets[1] < 2 || seen.most >= 9);
}

WEIR_MODEL_KERNEL(stat_recorder, least_and_most_cover_what_is_in_the_buckets, {.preemptions = 4, .stale_reads = 3}) {
    small_recorder r;
    together(
        [&] {
            r.record(5);
            r.record(2);
            r.record(9);
        },
        [&] { check_counts(r.read()); });
    const auto last = r.read();
    check_counts(last);
    WEIR_MODEL_REQUIRE(last.counted == 3 && last.least == 2 && last.most == 9);
}

// Whoever knows of a value finds it in all numbers.
WEIR_MODEL_KERNEL(stat_recorder, what_was_recorded_before_is_in_all_numbers, {.preemptions = 4, .stale_reads = 3}) {
    small_recorder r;
    std::atomic<bool> done{false};
    together(
        [&] {
            r.record(5);
            done.store(true, std::memory_order_release);
            r.record(2);
        },
        [&] {
            const bool known = done.load(std::memory_order_acquire);
            const auto seen = r.read();
            check_counts(seen);
            WEIR_MODEL_REQUIRE(!known || (seen.counted >= 1 && seen.buckets[1] == 1 && seen.most == 5));
        });
}

// The carry into the third word of the sum.
WEIR_MODEL_KERNEL(stat_recorder, a_sum_of_more_than_a_word_is_whole_too, {.preemptions = 4, .stale_reads = 3}) {
    small_recorder r;
    r.record(none - 1);
    together([&] { r.record(none - 1); },
             [&] {
                 const auto seen = r.read();
                 WEIR_MODEL_REQUIRE(seen.sum == weir::detail::stat_wide{none - 1} * seen.counted);
             });
}

WEIR_MODEL_KERNEL(stat_recorder, recording_takes_a_bounded_number_of_steps, {.freezes = 1, .check_leaks = false}) {
    auto* const h = new weir::histogram<int, 4>{{.lowest = 1, .highest = 3}};
    together([&] { h->record(1); },
             [&] {
                 h->record(2);
                 // Two looks for the block, one each at least and most, two for the bucket, four at the sums, seven to set them.
                 WEIR_MODEL_REQUIRE(count_steps([&] { h->record(2); }) <= 17);
                 // Two more for a value that is the most so far.
                 WEIR_MODEL_REQUIRE(count_steps([&] { h->record(3); }) <= 18);
             });
}

// A whole histogram: two threads record, one without a lane.
WEIR_MODEL_KERNEL(histogram, a_snapshot_has_each_value_in_all_its_numbers, {}) {
    const lanes_of_a_body lanes;
    weir::histogram<int, 4> h{{.lowest = 1, .highest = 1}};
    together([&] { h.record(1); },
             [&] {
                 leave_lanes();
                 h.record(-1);
             });
    const auto s = h.snapshot();
    WEIR_MODEL_REQUIRE(s.count() == 2 && s.sum() == 1.0 && s.min() == 0 && s.max() == 1);
    WEIR_MODEL_REQUIRE(s.below() == 1 && s.above() == 0 && s.lost() == 0);
}

// ---- request_stats

using requests = weir::request_stats<4, hand_clock>;

void check_requests(requests::snapshot_type const& s, word most) {
    WEIR_MODEL_REQUIRE(s.requests <= most && s.in_flight <= most);
    WEIR_MODEL_REQUIRE(s.bytes == 2 * std::round(s.duration.count() * 1e9));
    WEIR_MODEL_REQUIRE(s.errors <= s.requests);
    WEIR_MODEL_REQUIRE(s.success.count() + s.error.count() >= s.requests);
}

WEIR_MODEL_KERNEL(request_stats, no_snapshot_mixes_two_requests, {.preemptions = 1}) {
    const lanes_of_a_body lanes;
    const std::atomic<std::int64_t> now{0};
    requests r(hand_clock{&now});
    const auto record = [&](std::int64_t d, weir::request_outcome o) {
        r.record(std::chrono::nanoseconds{d}, 2 * static_cast<word>(d), o);
    };
    together(
        [&] {
            record(1, weir::request_outcome::success);
            record(2, weir::request_outcome::success);
        },
        [&] { record(4, weir::request_outcome::error); }, [&] { check_requests(r.snapshot(), 3); });
    const auto last = r.snapshot();
    check_requests(last, 3);
    WEIR_MODEL_REQUIRE(last.requests == 3 && last.errors == 1 && last.bytes == 14.0);
}

// One block only, and more of what may come between: nothing is in one number and not in another.
WEIR_MODEL_KERNEL(request_stats, no_read_of_a_block_mixes_two_requests, {.preemptions = 4, .stale_reads = 3}) {
    request_block b;
    together(
        [&] {
            b.record(1, 2, false);
            b.record(2, 4, true);
        },
        [&] {
            request_sums s;
            b.read(s);
            WEIR_MODEL_REQUIRE(s.bytes == 2 * s.ticks && s.requests <= 2);
            WEIR_MODEL_REQUIRE(s.ticks == (s.requests == 0 ? 0U : s.requests == 1 ? 1U : 3U));
            WEIR_MODEL_REQUIRE(s.errors == (s.requests == 2 ? 1U : 0U));
        });
}

// A guard that began on one thread ends on another: whoever has seen the end has seen the beginning. All have a block before, so
// that no new block tells.
void a_guard_ends_elsewhere(void (*finisher)()) {
    const lanes_of_a_body lanes;
    const std::atomic<std::int64_t> now{0};
    std::optional<requests> r;
    try {
        r.emplace(hand_clock{&now});
    } catch (std::bad_alloc const&) {
        return;
    }
    { const auto here = r->in_flight(); }
    std::optional<requests::in_flight_guard> handed;
    std::atomic<bool> there{false};
    const auto check = [&] {
        try {
            WEIR_MODEL_REQUIRE(r->snapshot().in_flight <= 2);
        } catch (std::bad_alloc const&) {
        }
    };
    beside(
        [&] {
            { const auto here = r->in_flight(); }
            finisher();
            if (there.load(std::memory_order_acquire)) {
                handed.reset();
            }
        },
        check,
        [&] {
            handed.emplace(r->in_flight());
            there.store(true, std::memory_order_release);
        });
    handed.reset();
    try {
        const auto last = r->snapshot();
        WEIR_MODEL_REQUIRE(last.in_flight == 0);
    } catch (std::bad_alloc const&) {
    }
}
WEIR_MODEL_KERNEL(request_stats, as_many_have_begun_as_have_ended, {.preemptions = 1, .stale_reads = 1}) {
    a_guard_ends_elsewhere([] {});
}
// The block that the end would have gone into cannot be had.
WEIR_MODEL_KERNEL(request_stats, as_many_have_begun_as_have_ended_without_memory,
                  {.preemptions = 0, .stale_reads = 1, .allocation_failures = 1}) {
    a_guard_ends_elsewhere(&leave_lanes);
}

// ---- stat_window

// The owner comes to the same slice of its ring again. What is read under a number was counted under it.
WEIR_MODEL_KERNEL(stat_window, a_slice_that_is_used_again_has_nothing_old, {.preemptions = 4, .stale_reads = 3}) {
    counter_slice slice;
    const auto add = [&](word number, word n) {
        slice.enter(number, [&] { slice.clear(); });
        slice.add(n);
    };
    add(1, 5);
    together(
        [&] {
            add(3, 70);
            add(3, 7);
            add(5, 900);
        },
        [&] {
            for (const word number : {word{1}, word{3}}) {
                word seen = 0;
                if (slice.read(number, 1, [&] { seen = slice.count(); })) {
                    if (number == 1) {
                        WEIR_MODEL_REQUIRE(seen == 5);
                    } else {
                        WEIR_MODEL_REQUIRE(seen == 0 || seen == 70 || seen == 77);
                    }
                }
            }
        });
}

// The same with a recorder: each of its numbers tells that the slice has become another's.
WEIR_MODEL_KERNEL(stat_window, a_histogram_that_is_used_again_has_nothing_old, {.preemptions = 3}) {
    histogram_slice slice;
    std::array<stat_word, 2> buckets{};
    const auto record = [&](word number, word v, std::size_t bucket) {
        slice.enter(number, [&] { slice.recorder.clear(buckets.data(), buckets.size()); });
        slice.recorder.below(1);
        slice.recorder.record(buckets[bucket], v, v, 1, v);
    };
    record(1, 5, 0);
    together([&] { record(3, 7, 1); },
             [&] {
                 for (const word number : {word{1}, word{3}}) {
                     stat_counts seen(2);
                     const auto read = [&] {
                         seen.clear();
                         slice.recorder.read(buckets.data(), seen);
                     };
                     if (slice.read(number, 1, read)) {
                         if (number == 1) {
                             WEIR_MODEL_REQUIRE(seen.counted == 1 && seen.sum == 5 && seen.below == 1);
                             WEIR_MODEL_REQUIRE(seen.buckets[0] == 1 && seen.buckets[1] == 0);
                             WEIR_MODEL_REQUIRE(seen.least == 5 && seen.most == 5);
                         } else {
                             WEIR_MODEL_REQUIRE(seen.counted <= 1 && seen.sum == 7 * seen.counted && seen.below <= 1);
                             WEIR_MODEL_REQUIRE(seen.buckets[0] == 0 && seen.buckets[1] <= 1);
                             WEIR_MODEL_REQUIRE(seen.least == none || seen.least == 7);
                             WEIR_MODEL_REQUIRE(seen.most == 0 || seen.most == 7);
                         }
                     }
                 }
             });
}

WEIR_MODEL_KERNEL(stat_window, a_suspended_owner_delays_no_reader, {.freezes = 1}) {
    counter_slice slice;
    slice.enter(1, [&] { slice.clear(); });
    slice.add(5);
    together(
        [&] {
            slice.enter(3, [&] { slice.clear(); });
            slice.add(7);
        },
        [&] {
            word seen = 0;
            WEIR_MODEL_REQUIRE(
                count_steps([&] { static_cast<void>(slice.read(3, 3, [&] { seen = slice.count(); })); }) <= 3 * 4);
            WEIR_MODEL_REQUIRE(count_steps([&] { slice.enter(1, [] {}); }) <= 4);
        });
}

using window = weir::windowed<weir::counter, hand_clock>;

// The clock moves on while two threads add. None of what they add is lost, in whichever slice it is counted.
WEIR_MODEL_KERNEL(windowed, two_threads_may_come_to_a_new_slice_at_once, {.preemptions = 1, .spurious_failures = 1}) {
    const lanes_of_a_body lanes;
    std::atomic<std::int64_t> now{0};
    window w({.window = 20ns, .slices = 2}, hand_clock{&now});
    const auto add = [&] {
        now.store(10, std::memory_order_relaxed);
        w.add(1);
    };
    together(add, add, [&] { WEIR_MODEL_REQUIRE(w.value() <= 2); });
    WEIR_MODEL_REQUIRE(w.value() == 2 && w.lost() == 0);
    now.store(20);
    WEIR_MODEL_REQUIRE(w.value() == 2);
    now.store(30);
    WEIR_MODEL_REQUIRE(w.value() == 0);
}

// One thread has seen a later time than the other: no slice is counted under an earlier number then, and nothing is forgotten.
WEIR_MODEL_KERNEL(windowed, a_clock_that_steps_back_loses_nothing, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    std::atomic<std::int64_t> now{15};
    window w({.window = 20ns, .slices = 2}, hand_clock{&now});
    now.store(45);  // the fourth slice
    w.add(1);
    together(
        [&] {
            now.store(15, std::memory_order_relaxed);
            w.add(10);
        },
        [&] {
            w.add(100);
            const word seen = w.value();
            WEIR_MODEL_REQUIRE(seen == 101 || seen == 111);
        });
    WEIR_MODEL_REQUIRE(w.value() == 111);
}

// A reader beside an owner whose ring comes round: what is over is seen or not, and never what is older than the window.
WEIR_MODEL_KERNEL(windowed, a_reader_sees_no_slice_that_is_over, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    std::atomic<std::int64_t> now{0};
    window w({.window = 10ns, .slices = 1}, hand_clock{&now});
    w.add(1);
    now.store(10);
    w.add(10);
    together(
        [&] {
            now.store(20, std::memory_order_relaxed);
            w.add(100);  // another thread: a ring of its own
        },
        [&] {
            const word seen = w.value();
            WEIR_MODEL_REQUIRE(seen == 10 || seen == 0 || seen == 100);
            w.add(1000);
        });
    const word last = w.value();
    WEIR_MODEL_REQUIRE(last == 1100 || last == 100);  // the clock may have been read before it moved
}

// Two share a spare block; one has been stopped since it looked at the clock. What the other counted meanwhile stays.
WEIR_MODEL_KERNEL(windowed, who_comes_late_clears_nothing_newer, {.preemptions = 3}) {
    const lanes_of_a_body lanes;
    std::atomic<std::int64_t> now{0};
    window w({.window = 10ns, .slices = 1}, hand_clock{&now});
    together(
        [&] {
            leave_lanes();
            w.add(1);
        },
        [&] {
            leave_lanes();
            now.store(20, std::memory_order_relaxed);
            w.add(10);
        });
    WEIR_MODEL_REQUIRE(w.value() == 10 || w.value() == 11);
}

WEIR_MODEL_KERNEL(windowed, a_histogram_beside_a_reader, {.preemptions = 1}) {
    const lanes_of_a_body lanes;
    std::atomic<std::int64_t> now{0};
    weir::windowed<weir::histogram<int, 4>, hand_clock> w({.window = 10ns, .slices = 1}, {.lowest = 1, .highest = 1},
                                                          hand_clock{&now});
    together(
        [&] {
            w.record(1);
            now.store(20, std::memory_order_relaxed);
            w.record(0);  // in the same place of the ring
        },
        [&] {
            const auto s = w.snapshot();
            WEIR_MODEL_REQUIRE(s.count() <= 1 && s.lost() == 0);
            WEIR_MODEL_REQUIRE(s.count() == 0 || s.min() == s.max());
        });
    WEIR_MODEL_REQUIRE(w.snapshot().count() == 1 && w.snapshot().max() == 0);
}

// ---- meter

WEIR_MODEL_KERNEL(meter, the_weights_are_those_of_the_events_counted, {}) {
    auto* const b = make_stat_block<decay_block>(0);
    // What a reader at the third second may see, with 0, 1, 2 and 3 events.
    const auto read = [&] {
        std::array<double, 3> weights{};
        word count = 0;
        b->read(3.0, weights, count);
        return std::pair{count, weights};
    };
    std::array<std::array<double, 3>, 4> expected{};
    {
        auto* const twin = make_stat_block<decay_block>(0);
        const auto look = [&](std::size_t n) {
            word count = 0;
            twin->read(3.0, expected[n], count);
        };
        twin->mark(1, 1);
        look(1);
        twin->mark(2, 1);
        look(2);
        twin->mark(2, 1);
        look(3);
        ::operator delete (static_cast<void*>(twin), std::align_val_t{weir::detail::cache_line_size});
    }
    together(
        [&] {
            b->mark(1, 1);
            b->mark(2, 1);
            b->mark(2, 1);
        },
        [&] {
            const auto seen = read();
            WEIR_MODEL_REQUIRE(seen.first <= 3 && seen.second == expected[seen.first]);
        });
    WEIR_MODEL_REQUIRE(read().first == 3 && read().second == expected[3]);
    ::operator delete (static_cast<void*>(b), std::align_val_t{weir::detail::cache_line_size});
}

WEIR_MODEL_KERNEL(meter, events_of_two_threads_are_all_counted, {}) {
    const lanes_of_a_body lanes;
    const std::atomic<std::int64_t> now{0};
    weir::meter<hand_clock> m(hand_clock{&now});
    together([&] { m.mark(); }, [&] { m.mark(2); });
    WEIR_MODEL_REQUIRE(m.read().count == 3 && m.read().lost == 0);
}

// ---- gauge

WEIR_MODEL_KERNEL(gauge, its_marks_are_as_far_out_as_it_has_been, {.spurious_failures = 1}) {
    weir::gauge g;
    std::array<std::int64_t, 4> been{};
    together(
        [&] {
            been[0] = g.add(2);
            been[1] = g.sub(1);
        },
        [&] {
            been[2] = g.sub(3);
            been[3] = g.add(2);
        });
    WEIR_MODEL_REQUIRE(g.value() == 0);
    WEIR_MODEL_REQUIRE(g.high_water() == std::max({std::int64_t{0}, been[0], been[1], been[2], been[3]}));
    WEIR_MODEL_REQUIRE(g.low_water() == std::min({std::int64_t{0}, been[0], been[1], been[2], been[3]}));
}

WEIR_MODEL_KERNEL(gauge, a_mark_is_as_far_out_as_what_was_read, {.preemptions = 3}) {
    weir::gauge g;
    together([&] { g.set(5); }, [&] { g.sub(7); },
             [&] {
                 const auto seen = g.value();
                 WEIR_MODEL_REQUIRE(g.high_water() >= seen && g.low_water() <= seen);
             });
}

WEIR_MODEL_KERNEL(gauge, a_guard_takes_back_what_it_added, {.preemptions = 3}) {
    weir::gauge g;
    const auto use = [&] { const auto here = g.guard(); };
    together(use, use, [&] { WEIR_MODEL_REQUIRE(g.value() >= 0 && g.value() <= 2); });
    WEIR_MODEL_REQUIRE(g.value() == 0 && g.high_water() >= 1 && g.low_water() == 0);
}

TEST(mutants_of_stats, every_weakened_order_is_noticed) {
    check_mutants({"weir/data/detail/stat_latch.hpp", "weir/data/detail/stat_lanes.hpp",
                   "weir/data/detail/stat_shards.hpp", "weir/data/detail/stat_buckets.hpp",
                   "weir/data/detail/stat_requests.hpp", "weir/data/detail/stat_window.hpp",
                   "weir/data/detail/stat_counter.hpp", "weir/data/detail/stat_bodies.hpp"});
}

}  // namespace
}  // namespace weir_model
