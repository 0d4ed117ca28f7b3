// weir (BSL-1.0). Kernels of data/object_pool.hpp: magazines, gates, threads that exit, turns, and who dies first.
#include <weir/data/object_pool.hpp>

#include "kernels.hpp"
#include "mutation.hpp"
#include "stats_kernel.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

// The depot of these kernels hands over addresses and nothing else: it orders nothing, so what a magazine holds goes by the edge of its
// state alone. Boost's own stack, which orders more, has a kernel at the end. As nothing orders the making of a magazine either, those that
// threads exchange are made before.
//
// Who kills what:
//
//   edge       site                             weakened   killed by
//   block E1   look inside                      acquire    what_is_cleared_is_in_no_other_hands
//   block E2   open; enter                      rel; acq   who_comes_after_a_clear_finds_its_block_as_it_was_left
//   block E3   turn                             both       what_is_cleared_is_in_no_other_hands (handshake)
//   store E1   link; walk                       rel; acq   a_clear_finds_the_block_of_a_new_thread
//   store E2   state; claim                     rel; acq   magazines_change_threads_whole
//   store E3   end of a visit                   release    a_visitor_is_out_or_sees_that_it_is_shut
//   store      visitors_, shut_                 seq_cst    a_visitor_is_out_or_sees_that_it_is_shut
//   store E4   slot: take; give back            acq; rel   what_an_exited_thread_had_is_found, an_adopted_block_goes_to_the_next_owner
//   turns E1   give back; take                  rel; acq   what_is_done_in_a_turn_is_seen_in_the_next
//   core E1    objects_                         both       the_last_one_out_deletes_the_core

namespace weir_model {
namespace {

using weir::detail::object_bounds;
using weir::detail::object_chain;
using weir::detail::object_item;
using weir::detail::object_magazine;
using weir::detail::object_store;
using weir::detail::object_turns;

constexpr auto never = std::chrono::steady_clock::time_point::max();

struct weak_depot {
    std::array<std::atomic<object_magazine*>, 3> slots{};

    explicit weak_depot(std::size_t) noexcept {}
    [[nodiscard]] bool try_push(object_magazine* m) noexcept {
        for (auto& each : slots) {
            object_magazine* none = nullptr;
            if (each.compare_exchange_strong(none, m, std::memory_order_relaxed)) {
                return true;
            }
        }
        return false;
    }
    [[nodiscard]] std::optional<object_magazine*> try_pop() noexcept {
        for (auto& each : slots) {
            if (each.load(std::memory_order_relaxed) != nullptr) {
                if (auto* const m = each.exchange(nullptr, std::memory_order_relaxed)) {
                    return m;
                }
            }
        }
        return std::nullopt;
    }
};
using store = object_store<weak_depot>;

/// Magazines of one item: a block has room for two.
constexpr object_bounds small(bool asymmetric) { return {64, 0, false, asymmetric}; }

/// An item whose owner writes into it.
struct box {
    object_item item{nullptr};
    int uses = 0;
};
box& box_of(object_item* item) { return *reinterpret_cast<box*>(item); }
void use(object_item* item) { ++box_of(item).uses; }

std::size_t use_all(object_chain const& all) {
    std::size_t n = 0;
    for (auto* item = all.first; item != nullptr; item = item->next) {
        use(item);
        ++n;
    }
    WEIR_MODEL_REQUIRE(n == all.count);
    return n;
}
void keep(store& s, box& b) { WEIR_MODEL_REQUIRE(s.keep(&b.item)); }
std::size_t take(store& s) {
    auto* const item = s.take();
    if (item != nullptr) {
        use(item);
    }
    return item != nullptr ? 1 : 0;
}

/// Leaves n empty magazines, and the calling thread with an empty block.
template <std::size_t N>
void stock(store& s) {
    std::array<box, N + 2> boxes;
    for (auto& b : boxes) {
        keep(s, b);
    }
    WEIR_MODEL_REQUIRE(s.trim(0).count == N + 2);
}

// ---- magazines and the depot

WEIR_MODEL_KERNEL(object_pool, magazines_change_threads_whole, {.preemptions = 2, .stale_reads = 2}) {
    lanes_of_a_body const lanes;
    store s(small(false));
    stock<1>(s);
    std::array<box, 3> boxes;
    std::size_t taken = 0;
    together(
        [&] {
            for (auto& b : boxes) {
                use(&b.item);
                keep(s, b);
            }
        },
        [&] { taken = take(s); });
    auto const left = s.close();
    WEIR_MODEL_REQUIRE(taken + use_all(left) == 3);
    WEIR_MODEL_REQUIRE(boxes[0].uses + boxes[1].uses + boxes[2].uses == 6);
}

WEIR_MODEL_KERNEL(object_pool, a_magazine_is_filled_after_it_was_emptied, {.preemptions = 2, .stale_reads = 2}) {
    lanes_of_a_body const lanes;
    store s(small(false));
    std::array<box, 3> before;
    for (auto& b : before) {
        keep(s, b);
    }
    std::array<box, 3> boxes;
    std::size_t taken = 0;
    together([&] { taken = take(s); },
             [&] {
                 for (auto& b : boxes) {
                     keep(s, b);
                 }
             });
    WEIR_MODEL_REQUIRE(taken == 1 && use_all(s.close()) == 5);
}

// A depot without a place for a magazine: it waits until somebody trims.
struct no_depot {
    explicit no_depot(std::size_t) noexcept {}
    [[nodiscard]] bool try_push(object_magazine*) noexcept { return false; }
    [[nodiscard]] std::optional<object_magazine*> try_pop() noexcept { return std::nullopt; }
};
WEIR_MODEL_KERNEL(object_pool, what_the_depot_has_forgotten_is_found, {.preemptions = 2, .stale_reads = 1}) {
    lanes_of_a_body const lanes;
    object_store<no_depot> s(small(false));
    std::array<box, 3> boxes;
    for (auto& b : boxes) {
        WEIR_MODEL_REQUIRE(s.keep(&b.item));
    }
    WEIR_MODEL_REQUIRE(s.trim(0).count == 3);
    std::size_t gone = 0;
    together([&] { gone = use_all(s.trim(0)); },
             [&] {
                 for (auto& b : boxes) {
                     if (!s.keep(&b.item)) {
                         use(&b.item);
                     }
                 }
             });
    WEIR_MODEL_REQUIRE(gone <= 3);
    WEIR_MODEL_REQUIRE(s.holdings().items + gone <= 3);
    static_cast<void>(use_all(s.close()));
    WEIR_MODEL_REQUIRE(boxes[0].uses == 1 && boxes[1].uses == 1 && boxes[2].uses == 1);
}

WEIR_MODEL_KERNEL(object_pool, the_last_item_of_the_depot_goes_to_one, {.preemptions = 2, .stale_reads = 2}) {
    lanes_of_a_body const lanes;
    store s({1, 0, true, false});
    box b;
    keep(s, b);
    std::size_t got[2] = {};
    together([&] { got[0] = take(s); }, [&] { got[1] = take(s); });
    WEIR_MODEL_REQUIRE(got[0] + got[1] == 1 && b.uses == 1);
    WEIR_MODEL_REQUIRE(s.close().count == 0);
}

WEIR_MODEL_KERNEL(object_pool, the_last_slot_goes_to_one, {.preemptions = 2, .stale_reads = 1}) {
    lanes_of_a_body const lanes;
    store s({1, 0, true, false});
    std::array<box, 2> boxes;
    bool kept[2] = {};
    together([&] { kept[0] = s.keep(&boxes[0].item); }, [&] { kept[1] = s.keep(&boxes[1].item); });
    WEIR_MODEL_REQUIRE(kept[0] != kept[1]);
    WEIR_MODEL_REQUIRE(s.holdings().items == 1 && s.close().count == 1);
}

// ---- gates

void clear_beside_an_owner(bool asymmetric) {
    lanes_of_a_body const lanes;
    store s(small(asymmetric));
    std::array<box, 2> boxes;
    keep(s, boxes[0]);
    std::size_t gone = 0, taken = 0;
    bool kept = false;
    together([&] { gone = use_all(s.trim(0)); },
             [&] {
                 taken = take(s);
                 kept = s.keep(&boxes[1].item);
             });
    WEIR_MODEL_REQUIRE(gone + taken + use_all(s.close()) == 1U + (kept ? 1U : 0U));
    WEIR_MODEL_REQUIRE(boxes[0].uses == 1 && boxes[1].uses == (kept ? 1 : 0));
}
WEIR_MODEL_KERNEL(object_pool, what_is_cleared_is_in_no_other_hands, {.preemptions = 2, .stale_reads = 2}) { clear_beside_an_owner(false); }
WEIR_MODEL_KERNEL(object_pool, what_is_cleared_by_barrier_is_in_no_other_hands, {.preemptions = 2, .stale_reads = 2}) {
    clear_beside_an_owner(true);
}

WEIR_MODEL_KERNEL(object_pool, who_comes_after_a_clear_finds_its_block_as_it_was_left, {.preemptions = 2, .stale_reads = 2}) {
    lanes_of_a_body const lanes;
    store s(small(true));
    std::array<box, 2> boxes;
    keep(s, boxes[0]);
    together([&] { WEIR_MODEL_REQUIRE(use_all(s.trim(0)) <= 1); },
             [&] {
                 if (take(s) == 0) {
                     static_cast<void>(s.keep(&boxes[1].item));
                 }
             });
    static_cast<void>(s.close());
    WEIR_MODEL_REQUIRE(boxes[0].uses == 1);
}

WEIR_MODEL_KERNEL(object_pool, a_clear_finds_the_block_of_a_new_thread, {.preemptions = 2, .stale_reads = 2}) {
    lanes_of_a_body const lanes;
    store s(small(false));
    box b;
    std::atomic<bool> put{false};
    together(
        [&] {
            keep(s, b);
            put.store(true, std::memory_order_relaxed);
        },
        [&] {
            auto const before = put.load(std::memory_order_relaxed);
            auto const gone = s.trim(0).count;
            WEIR_MODEL_REQUIRE(gone <= 1);
            static_cast<void>(before);
        });
    static_cast<void>(s.close());
}

void close_beside(bool asymmetric, bool with_lane, bool alone) {
    lanes_of_a_body const lanes;
    auto s = std::make_unique<store>(object_bounds{64, 0, alone, asymmetric});
    box b;
    bool kept = false;
    together(
        [&] {
            if (!with_lane) {
                leave_lanes();
            }
            use(&b.item);
            kept = s->keep(&b.item);
        },
        [&] {
            auto const left = s->close();
            WEIR_MODEL_REQUIRE(use_all(left) <= 1);
        });
    WEIR_MODEL_REQUIRE(b.uses == (kept ? 2 : 1));
    WEIR_MODEL_REQUIRE(s->take() == nullptr);
    WEIR_MODEL_REQUIRE(!s->keep(&b.item));
}
WEIR_MODEL_KERNEL(object_pool, an_item_is_kept_and_found_or_not_kept, {.preemptions = 2, .stale_reads = 2}) { close_beside(false, true, false); }
WEIR_MODEL_KERNEL(object_pool, an_item_is_kept_and_found_by_barrier_or_not_kept, {.preemptions = 2, .stale_reads = 2}) {
    close_beside(true, true, false);
}
WEIR_MODEL_KERNEL(object_pool, a_visitor_is_out_or_sees_that_it_is_shut, {.preemptions = 3, .stale_reads = 2}) { close_beside(false, false, false); }
WEIR_MODEL_KERNEL(object_pool, a_visitor_alone_is_out_or_sees_that_it_is_shut, {.preemptions = 3, .stale_reads = 2}) {
    close_beside(false, true, true);
}

// ---- threads that exit

WEIR_MODEL_KERNEL(object_pool, what_an_exited_thread_had_is_found, {.preemptions = 2, .stale_reads = 2}) {
    lanes_of_a_body const lanes;
    store s(small(false));
    std::array<box, 2> boxes;
    static_cast<void>(s.take());  // this thread has its slot, and its block
    thread other([&] {
        for (auto& b : boxes) {
            use(&b.item);
            keep(s, b);
        }
    });
    auto const early = take(s);
    WEIR_MODEL_REQUIRE(other.join());
    auto const late = early + take(s) + take(s);
    WEIR_MODEL_REQUIRE(late == 2);
    WEIR_MODEL_REQUIRE(boxes[0].uses == 2 && boxes[1].uses == 2);
    WEIR_MODEL_REQUIRE(s.close().count == 0);
}

WEIR_MODEL_KERNEL(object_pool, an_adopted_block_goes_to_the_next_owner, {.preemptions = 2, .stale_reads = 2}) {
    lanes_of_a_body const lanes;
    store s(small(false));
    std::array<box, 2> boxes;
    static_cast<void>(s.take());
    thread first([&] { keep(s, boxes[0]); });
    WEIR_MODEL_REQUIRE(first.join());
    std::size_t taken = 0, mine = 0;
    together(
        [&] {
            keep(s, boxes[1]);  // with the slot of the first, or with another
            taken = take(s);
        },
        [&] { mine = take(s); });
    WEIR_MODEL_REQUIRE(taken + mine + use_all(s.close()) == 2);
    WEIR_MODEL_REQUIRE(boxes[0].uses == 1 && boxes[1].uses == 1);
}

WEIR_MODEL_KERNEL(object_pool, an_exit_beside_a_clear_loses_nothing, {.preemptions = 2, .stale_reads = 2}) {
    lanes_of_a_body const lanes;
    store s(small(false));
    std::array<box, 2> boxes;
    keep(s, boxes[1]);
    std::size_t gone = 0;
    bool kept = false;
    together([&] { kept = s.keep(&boxes[0].item); }, [&] { gone = use_all(s.trim(0)); });
    gone += take(s) + take(s);
    WEIR_MODEL_REQUIRE(gone == (kept ? 2 : 1));
    WEIR_MODEL_REQUIRE(s.close().count == 0);
}

// ---- progress

WEIR_MODEL_KERNEL(object_pool, a_suspended_thread_stops_no_other, {.preemptions = 2, .stale_reads = 1, .freezes = 1, .check_leaks = false}) {
    auto* const s = new store(small(false));
    stock<3>(*s);
    auto* const boxes = new std::array<box, 4>;
    keep(*s, (*boxes)[0]);
    keep(*s, (*boxes)[1]);
    together(
        [&] {
            static_cast<void>(s->take());
            static_cast<void>(s->keep(&(*boxes)[2].item));
        },
        [&] {
            WEIR_MODEL_REQUIRE(s->keep(&(*boxes)[3].item));
            WEIR_MODEL_REQUIRE(s->take() != nullptr);
            WEIR_MODEL_REQUIRE(s->take() != nullptr);
        });
}

// ---- turns

WEIR_MODEL_KERNEL(object_turns, what_is_done_in_a_turn_is_seen_in_the_next, {.preemptions = 3}) {
    object_turns turns(1);
    int guarded = 0;
    int taken = 0;
    auto const taker = [&] {
        if (turns.try_take()) {
            ++guarded;
            ++taken;
            turns.give_back();
        }
    };
    together(taker, taker);
    WEIR_MODEL_REQUIRE(guarded == taken && taken >= 1);
}

WEIR_MODEL_KERNEL(object_turns, who_waits_is_told, {.preemptions = 3}) {
    object_turns turns(1);
    int guarded = 0;
    WEIR_MODEL_REQUIRE(turns.try_take());
    together(
        [&] {
            WEIR_MODEL_REQUIRE(turns.take_until(never, {}));
            ++guarded;
            turns.give_back();
        },
        [&] {
            ++guarded;
            turns.give_back();
        });
    WEIR_MODEL_REQUIRE(guarded == 2 && turns.waiting() == 0 && turns.try_take());
}

WEIR_MODEL_KERNEL(object_turns, two_who_wait_pass_on_one_turn, {.preemptions = 2, .stale_reads = 1}) {
    object_turns turns(1);
    int guarded = 0;
    WEIR_MODEL_REQUIRE(turns.try_take());
    auto const waiter = [&] {
        WEIR_MODEL_REQUIRE(turns.take_until(never, {}));
        ++guarded;
        turns.give_back();
    };
    together(waiter, waiter, [&] { turns.give_back(); });
    WEIR_MODEL_REQUIRE(guarded == 2 && turns.waiting() == 0);
}

WEIR_MODEL_KERNEL(object_turns, a_deadline_or_a_turn_ends_a_wait, {.preemptions = 3}) {
    object_turns turns(1);
    int guarded = 0;
    WEIR_MODEL_REQUIRE(turns.try_take());
    bool served = false;
    together(
        [&] {
            served = turns.take_until(std::chrono::steady_clock::now() + std::chrono::seconds{1}, {});
            if (served) {
                ++guarded;
                turns.give_back();
            }
        },
        [&] {
            ++guarded;
            turns.give_back();
        });
    WEIR_MODEL_REQUIRE(guarded == (served ? 2 : 1) && turns.waiting() == 0 && turns.try_take());
}

// ---- the whole

template <class T>
using pool_of = weir::object_pool<T, weir::default_factory<T>, weir::no_reset, weir::coarse_clock, weak_depot>;

struct counted {
    std::atomic<bool>* gone = nullptr;
    int uses = 0;
    ~counted() {
        if (gone != nullptr) {
            gone->store(true, std::memory_order_relaxed);
        }
    }
};

WEIR_MODEL_KERNEL(object_pool, there_is_never_more_than_one_object_where_one_may_live, {.preemptions = 2, .stale_reads = 2}) {
    lanes_of_a_body const lanes;
    pool_of<counted> pool({.max_live = 1});
    auto const user = [&] {
        leave_lanes();
        if (auto const one = pool.try_acquire()) {
            ++one->uses;
        }
    };
    together(user, user);
    auto const s = pool.stats();
    WEIR_MODEL_REQUIRE(s.high_water == 1 && s.objects == 1 && s.misses == 1);
}

void last_one_out(std::size_t max_live, bool with_lane) {
    lanes_of_a_body const lanes;
    auto pool = std::make_unique<pool_of<counted>>(weir::object_pool_options<counted>{.max_live = max_live});
    auto one = pool->acquire();
    std::atomic<bool> gone{false};
    one->gone = &gone;
    together(
        [&] {
            if (!with_lane) {
                leave_lanes();
            }
            ++one->uses;
            one.reset();
        },
        [&] { pool.reset(); });
    WEIR_MODEL_REQUIRE(gone.load(std::memory_order_relaxed));
}
WEIR_MODEL_KERNEL(object_pool, the_last_one_out_deletes_the_core, {.preemptions = 2, .stale_reads = 2}) { last_one_out(0, true); }
WEIR_MODEL_KERNEL(object_pool, the_last_one_out_without_a_lane_deletes_the_core, {.preemptions = 2, .stale_reads = 2}) { last_one_out(0, false); }
WEIR_MODEL_KERNEL(object_pool, the_last_one_out_where_there_is_a_cap_deletes_the_core, {.preemptions = 2, .stale_reads = 2}) {
    last_one_out(2, false);
}

WEIR_MODEL_KERNEL(object_pool, of_two_who_pass_by_one_shrinks_and_nothing_is_lost, {.preemptions = 2, .stale_reads = 1}) {
    lanes_of_a_body const lanes;
    std::atomic<std::int64_t> ticks{0};
    weir::object_pool<counted, weir::default_factory<counted>, weir::no_reset, hand_clock, weak_depot> pool(
        {.max_idle = 64, .shrink_after = std::chrono::nanoseconds{10}}, {}, {}, hand_clock{&ticks});
    auto one = pool.acquire();
    auto two = pool.acquire();
    pool.acquire().reset();
    ticks.store(10);
    auto const back = [](weir::pooled<counted>& mine) {
        ++mine->uses;
        mine.reset();
    };
    together([&] { back(one); }, [&] { back(two); });
    auto const s = pool.stats();
    WEIR_MODEL_REQUIRE(s.live == 0 && s.objects == s.idle && s.idle + s.trimmed + s.discarded == 3);
}

WEIR_MODEL_KERNEL(object_pool, two_who_come_back_late_leave_together, {.preemptions = 2, .stale_reads = 2}) {
    lanes_of_a_body const lanes;
    auto pool = std::make_unique<pool_of<counted>>();
    auto one = pool->acquire();
    auto two = pool->acquire();
    pool.reset();
    together([&] { one.reset(); }, [&] { static_cast<void>(two.release()); });
}

TEST(mutants_of_object_pool, every_weakened_order_is_noticed) {
    check_mutants({"weir/data/detail/object_pool_block.hpp", "weir/data/detail/object_pool_store.hpp", "weir/data/detail/object_pool_store_bodies.hpp",
                   "weir/data/detail/object_pool_turns.hpp", "weir/data/detail/object_pool_core.hpp"});
}

// With the depot that users have: Boost's plain accesses are not watched, its atomics are.
TEST(object_pool_with_boost, an_object_is_in_one_hand_at_a_time) {
    check_kernel(
        [] {
            lanes_of_a_body const lanes;
            weir::object_pool<counted> pool({.max_idle = 2});
            auto const user = [&] {
                leave_lanes();
                auto const one = pool.acquire();
                ++one->uses;
            };
            together(user, user);
            WEIR_MODEL_REQUIRE(pool.stats().live == 0);
        },
        {.preemptions = 1, .stale_reads = 0});
}

}  // namespace
}  // namespace weir_model
