// weir (BSL-1.0). Tests of base/detail/stripe.hpp.
#include <weir/base/detail/stripe.hpp>

#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#if __has_include(<sys/wait.h>)
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

using weir::detail::this_thread_slot;
using weir::detail::thread_slot_registry;
using weir::detail::unique_thread_slots;

static_assert(noexcept(this_thread_slot()));

/// The number that a new thread gets.
std::size_t slot_of_a_new_thread() {
    std::size_t slot = 0;
    std::thread{[&] { slot = this_thread_slot(); }}.join();
    return slot;
}

TEST(stripe, a_thread_keeps_its_number) {
    const auto mine = this_thread_slot();
    EXPECT_LT(mine, unique_thread_slots);
    EXPECT_NE(slot_of_a_new_thread(), mine);
    EXPECT_EQ(this_thread_slot(), mine);
}

TEST(stripe, a_new_thread_gets_the_smallest_free_number) {
    ASSERT_EQ(this_thread_slot(), 0U);  // the first to ask, see main thread below
    std::atomic<bool> leave{false};
    std::vector<std::size_t> slots(3);
    std::barrier asked{4};
    std::vector<std::thread> threads;
    for (auto& slot : slots) {
        threads.emplace_back([&] {
            slot = this_thread_slot();
            asked.arrive_and_wait();
            leave.wait(false);
        });
    }
    asked.arrive_and_wait();
    std::sort(slots.begin(), slots.end());
    EXPECT_EQ(slots, (std::vector<std::size_t>{1, 2, 3}));
    EXPECT_EQ(slot_of_a_new_thread(), 4U);
    EXPECT_EQ(slot_of_a_new_thread(), 4U) << "the number of a thread that ended is free again";
    leave = true;
    leave.notify_all();
    for (auto& each : threads) {
        each.join();
    }
    EXPECT_EQ(slot_of_a_new_thread(), 1U);
}

TEST(stripe, two_hundred_live_threads_have_two_hundred_numbers) {
    constexpr std::size_t count = 200;
    const auto mine = this_thread_slot();
    for (int round = 0; round < 2; ++round) {
        std::vector<std::size_t> slots(count);
        std::barrier all_live{static_cast<std::ptrdiff_t>(count)};
        std::vector<std::thread> threads;
        for (auto& slot : slots) {
            threads.emplace_back([&] {
                all_live.arrive_and_wait();  // so that they ask at once
                slot = this_thread_slot();
                all_live.arrive_and_wait();  // nobody leaves before all have asked
            });
        }
        for (auto& each : threads) {
            each.join();
        }
        slots.push_back(mine);
        std::sort(slots.begin(), slots.end());
        for (std::size_t i = 0; i <= count; ++i) {
            EXPECT_EQ(slots[i], i) << "round " << round;
        }
    }
}

TEST(stripe, numbers_stay_below_the_count_of_live_threads_and_are_never_held_twice) {
    constexpr std::size_t spawners = 3;
    constexpr std::size_t live_at_most = 1 + 2 * spawners;  // main, spawners, one child each
    static_cast<void>(this_thread_slot());
    std::array<std::atomic<int>, live_at_most> holders{};
    weir_test::findings wrong;
    const auto hold = [&] {
        const auto slot = this_thread_slot();
        if (slot >= live_at_most) {
            return wrong.add("number " + std::to_string(slot));
        }
        wrong.expect(holders[slot].fetch_add(1) == 0, "two holders of one number");
        std::this_thread::yield();
        wrong.expect(this_thread_slot() == slot, "the number changed");
        holders[slot].fetch_sub(1);
    };
    std::vector<std::thread> threads;
    for (std::size_t s = 0; s < spawners; ++s) {
        threads.emplace_back([&] {
            for (int i = 0; i < 200; ++i) {
                std::thread{hold}.join();
            }
        });
    }
    for (auto& each : threads) {
        each.join();
    }
    EXPECT_TRUE(wrong.none()) << wrong;
}

TEST(stripe, of_two_that_take_at_once_each_gets_a_number_of_its_own) {
    std::array<std::atomic<int>, 8> holders{};
    weir_test::findings wrong;
    std::atomic<int> ready{0};
    const auto work = [&] {
        ready.fetch_add(1);
        for (int i = 0; i < 1'000'000 && ready.load() < 2; ++i) {
            std::this_thread::yield();
        }
        for (int i = 0; i < 400'000; ++i) {
            const auto slot = thread_slot_registry::take();
            if (slot >= holders.size()) {
                return wrong.add("number " + std::to_string(slot));
            }
            wrong.expect(holders[slot].fetch_add(1, std::memory_order_relaxed) == 0, "two holders of one number");
            holders[slot].fetch_sub(1, std::memory_order_relaxed);
            thread_slot_registry::give_back(slot);
        }
    };
    std::thread other{work};
    work();
    other.join();
    EXPECT_TRUE(wrong.none()) << wrong;
}

/// Asks once more when its thread_local is destroyed.
struct asks_when_destroyed {
    std::size_t* answer = nullptr;
    std::atomic<int>* done = nullptr;
    asks_when_destroyed() noexcept {}  // not constexpr: constructed when first named, destroyed in the reverse order
    asks_when_destroyed(const asks_when_destroyed&) = delete;
    asks_when_destroyed& operator=(const asks_when_destroyed&) = delete;
    ~asks_when_destroyed() {
        if (answer != nullptr) {
            *answer = this_thread_slot();
        }
        if (done != nullptr) {
            done->fetch_add(1, std::memory_order_relaxed);
        }
    }
};
asks_when_destroyed& destroyed_before_the_hook() {
    static thread_local asks_when_destroyed object;
    return object;
}
asks_when_destroyed& destroyed_after_the_hook() {
    static thread_local asks_when_destroyed object;
    return object;
}

TEST(stripe, destructors_of_thread_locals_may_ask_before_and_after_the_exit_hook) {
    const auto expected = slot_of_a_new_thread();
    std::size_t alive = 99999;
    std::size_t before = 99999;
    std::size_t after = 99999;
    std::thread{[&] {
        destroyed_after_the_hook().answer = &after;
        alive = this_thread_slot();
        destroyed_before_the_hook().answer = &before;
    }}.join();
    EXPECT_EQ(alive, expected);
    EXPECT_EQ(before, expected);
    EXPECT_EQ(after, expected + unique_thread_slots) << "a shared number, on the same stripe";
    EXPECT_EQ(slot_of_a_new_thread(), expected) << "not leaked";
}

TEST(stripe, a_thread_may_ask_for_the_first_time_in_a_destructor_and_leaks_nothing) {
    const auto expected = slot_of_a_new_thread();
    std::size_t first = 99999;
    std::thread{[&] { destroyed_after_the_hook().answer = &first; }}.join();
    EXPECT_EQ(first, expected);
    EXPECT_EQ(slot_of_a_new_thread(), expected);
}

// Nothing but the slot itself orders the owners below: a thread sanitizer reports a missing edge from one owner to the
// next.
TEST(stripe, the_next_owner_sees_what_the_last_one_wrote) {
    constexpr int owners = 12;
    std::vector<int> written(unique_thread_slots, 0);  // plain, each element its slot owner's
    std::atomic<int> turn{0};
    weir_test::findings wrong;
    std::vector<std::size_t> slots(owners);
    std::vector<std::thread> threads;
    for (int i = 0; i < owners; ++i) {
        threads.emplace_back([&, i] {
            const auto end = std::chrono::steady_clock::now() + weir_test::patience;
            while (turn.load(std::memory_order_relaxed) != i) {
                if (std::chrono::steady_clock::now() > end) {
                    return wrong.add("no turn");
                }
                std::this_thread::yield();
            }
            destroyed_after_the_hook().done = &turn;  // the next turn begins when the slot has been given back
            const auto slot = this_thread_slot();
            slots[static_cast<std::size_t>(i)] = slot;
            wrong.expect(written[slot] == i, "the last owner's write is not there");
            written[slot] = i + 1;
        });
    }
    for (auto& each : threads) {
        each.join();
    }
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(std::count(slots.begin(), slots.end(), slots[0]), owners);
}

TEST(stripe, threads_beyond_the_unique_numbers_share_valid_ones) {
    const auto mine = this_thread_slot();
    std::vector<std::size_t> taken;
    for (std::size_t i = 0; i < unique_thread_slots; ++i) {
        const auto slot = thread_slot_registry::take();
        if (slot >= unique_thread_slots) {
            break;
        }
        taken.push_back(slot);
    }
    EXPECT_EQ(taken.size(), unique_thread_slots - 1) << "all but the main thread's";
    EXPECT_TRUE(std::is_sorted(taken.begin(), taken.end()));
    EXPECT_EQ(std::count(taken.begin(), taken.end(), mine), 0);

    std::size_t during = 0;
    std::size_t still = 0;
    std::thread{[&] {
        during = this_thread_slot();
        for (const auto slot : taken) {
            thread_slot_registry::give_back(slot);
        }
        still = this_thread_slot();
    }}.join();
    EXPECT_GE(during, unique_thread_slots);
    EXPECT_LT(during, 2 * unique_thread_slots);
    EXPECT_EQ(still, during) << "for life";
    EXPECT_EQ(slot_of_a_new_thread(), taken.front())
        << "the exit of a sharing thread freed nothing, and later ones are unique again";
}

#if __has_include(<sys/wait.h>)
TEST(stripe, a_forked_child_keeps_its_number_and_gives_out_others) {
    const auto mine = this_thread_slot();
    const auto next = slot_of_a_new_thread();
    const auto child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        _exit(this_thread_slot() != mine ? 1 : slot_of_a_new_thread() != next ? 2 : 0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}
#endif

// The main thread's slot is taken before any test and asked for once more after all thread_locals are gone.
const struct first_and_last {
    std::size_t slot = this_thread_slot();
    ~first_and_last() {
        const auto late = this_thread_slot();
        if (late == slot + unique_thread_slots) {
            return;
        }
        std::fprintf(stderr, "stripe: a static destructor got slot %zu, not %zu\n", late, slot + unique_thread_slots);
        std::_Exit(1);
    }
} main_thread;

}  // namespace
