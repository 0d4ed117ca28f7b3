// weir (BSL-1.0). Kernels of base/detail/stripe.hpp: threads that come and go, and what is written under their slots.
#include <weir/base/detail/stripe.hpp>

#include "kernels.hpp"
#include "mutation.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

// Who kills what.
//
//   edge  site                    weakened    killed by
//   E1    take, fetch_or          acquire     what_is_written_under_a_slot
//   E1    give_back, fetch_and    release     what_is_written_under_a_slot
//
// `overflow` is reached by when_all_are_taken.

namespace weir_model {
namespace {

using weir::detail::this_thread_slot;
using weir::detail::thread_slot_registry;
using weir::detail::unique_thread_slots;

void take_all() {
    for (auto& word : thread_slot_registry::taken) {
        word.store(~std::uint64_t{0});
    }
}

// Plain writes: two owners at a time, or a hand-over without an edge, are a race.
WEIR_MODEL_KERNEL(stripe, what_is_written_under_a_slot_is_its_owners, {}) {
    std::array<int, 3> under{};
    const auto owner = [&](int me) {
        return [&under, me] {
            const std::size_t slot = this_thread_slot();
            WEIR_MODEL_REQUIRE(slot < under.size());  // three threads at most
            const int before = under[slot];
            under[slot] = before + me;
            WEIR_MODEL_REQUIRE(this_thread_slot() == slot);
            WEIR_MODEL_REQUIRE(under[slot] == before + me);
        };
    };
    together(owner(1), owner(10), owner(100));
    WEIR_MODEL_REQUIRE(under[0] + under[1] + under[2] == 111);
    // Those who have ended gave theirs back.
    WEIR_MODEL_REQUIRE(thread_slot_registry::taken[0].load() == std::uint64_t{1} << this_thread_slot());
}

WEIR_MODEL_KERNEL(stripe, threads_that_live_at_once_have_different_slots, {}) {
    std::array<std::size_t, 2> inner{};
    together(
        [&] {
            inner[0] = this_thread_slot();
            std::thread{[&] {
                inner[1] = this_thread_slot();
                WEIR_MODEL_REQUIRE(inner[1] != inner[0]);
            }}.join();
            WEIR_MODEL_REQUIRE(this_thread_slot() == inner[0]);
        },
        [] { WEIR_MODEL_REQUIRE(this_thread_slot() < 3); });
    WEIR_MODEL_REQUIRE(this_thread_slot() != inner[0] || inner[0] != inner[1]);
}

// One slot is left for two threads: one gets it, the other a shared number, or both get it one after the other.
WEIR_MODEL_KERNEL(stripe, the_last_slot_has_one_owner_at_a_time, {}) {
    take_all();
    constexpr std::size_t last = 5;
    thread_slot_registry::taken[0].store(~(std::uint64_t{1} << last));
    int under = 0;
    const auto owner = [&] {
        const std::size_t slot = this_thread_slot();
        if (slot < unique_thread_slots) {
            WEIR_MODEL_REQUIRE(slot == last);
            ++under;
        }
    };
    together(owner, owner, [] {});
    WEIR_MODEL_REQUIRE(under == 1 || under == 2);
}

WEIR_MODEL_KERNEL(stripe, when_all_are_taken_the_numbers_are_shared_ones, {}) {
    take_all();
    std::array<std::size_t, 2> slots{};
    together([&] { slots[0] = this_thread_slot(); }, [&] { slots[1] = this_thread_slot(); });
    WEIR_MODEL_REQUIRE(slots[0] >= unique_thread_slots && slots[0] < 2 * unique_thread_slots);
    WEIR_MODEL_REQUIRE(slots[1] >= unique_thread_slots && slots[1] < 2 * unique_thread_slots);
    WEIR_MODEL_REQUIRE(slots[0] != slots[1]);
    WEIR_MODEL_REQUIRE(thread_slot_registry::taken[0].load() == ~std::uint64_t{0});  // a shared one is not given back
}

/// Asks when its thread ends.
struct asks_at_exit {
    asks_at_exit() noexcept = default;
    asks_at_exit(asks_at_exit const&) = delete;
    asks_at_exit& operator=(asks_at_exit const&) = delete;
    ~asks_at_exit() {
        if (answer != nullptr) {
            *answer = this_thread_slot();
        }
    }
    std::size_t* answer = nullptr;
};

// Made after the first question: destroyed while the slot is still its thread's. Made before: after the slot has gone.
WEIR_MODEL_KERNEL(stripe, the_slot_lasts_for_what_was_made_after_the_question, {}) {
    std::size_t mine = 0;
    std::size_t during = 0;
    std::size_t after = 0;
    together(
        [&] {
            static thread_local asks_at_exit made_before;
            made_before.answer = &after;
            mine = this_thread_slot();
            static thread_local asks_at_exit made_after;
            made_after.answer = &during;
        },
        [] { static_cast<void>(this_thread_slot()); });
    WEIR_MODEL_REQUIRE(during == mine);
    WEIR_MODEL_REQUIRE(after == mine + unique_thread_slots);
}

WEIR_MODEL_KERNEL(stripe, whoever_is_suspended_delays_nobody, {.freezes = 1}) {
    const auto ask = [] { static_cast<void>(this_thread_slot()); };
    together(ask, ask, [&] {
        // One load, one attempt for each other thread that takes or gives back a bit, one of its own.
        WEIR_MODEL_REQUIRE(count_steps(ask) <= 1 + 4 + 1);
        WEIR_MODEL_REQUIRE(count_steps(ask) == 0);
    });
}

TEST(mutants_of_stripe, every_weakened_order_is_noticed) { check_mutants({"weir/base/detail/stripe.hpp"}); }

}  // namespace
}  // namespace weir_model
