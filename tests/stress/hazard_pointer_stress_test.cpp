// weir (BSL-1.0). hazard_pointer_stress_test: the race that hazard pointers stand or fall by, run often and on purpose.
#include <weir/base/hazard_pointer.hpp>

#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#endif

namespace {

using weir::hazard_link;
using weir::hazard_pointer;
using weir::hazard_pointer_domain;
using weir::hazard_pointer_mode;
using weir::make_hazard_pointer;
using weir_test::scaled;

// Two threads that go step for step together, as close as the machine lets them.
class lockstep {
public:
    // Waits for the other one at the n-th step, from 1. Nobody leaves while the other is on the way.
    void meet(std::uint64_t n) {
        arrived_.fetch_add(1);
        for (std::uint64_t spins = 1; arrived_.load() < 2 * n; ++spins) {
            if (spins % 512 == 0) {
                std::this_thread::yield();
            }
        }
    }

private:
    std::atomic<std::uint64_t> arrived_{0};
};

// Two threads that take turns on one processor never race: give each one its own, where there are two to be had.
void run_on_own_processor(std::size_t me) {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0 && CPU_COUNT(&allowed) > 1) {
        std::size_t nth = 0;
        for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &allowed) && nth++ == me) {
                cpu_set_t own;
                CPU_ZERO(&own);
                CPU_SET(cpu, &own);
                static_cast<void>(sched_setaffinity(0, sizeof(own), &own));  // a refusal costs chances, no correctness
            }
        }
    }
#else
    static_cast<void>(me);
#endif
}

// Lets the other one go first, now and then: by a little where the two run at once, by a turn where they share a
// processor.
void hesitate(weir_test::random_numbers& dice) {
    if (dice.one_in(64)) {
        std::this_thread::yield();
    }
    for (std::uint64_t i = dice.below(64); i != 0; --i) {
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
}

class hazard_pointer_race : public testing::TestWithParam<hazard_pointer_mode> {
protected:
    void SetUp() override {
        if (!hazard_pointer_domain::supports(GetParam())) {
            GTEST_SKIP() << "this kernel has no membarrier";
        }
    }
};

std::string name_of(testing::TestParamInfo<hazard_pointer_mode> const& info) {
    return info.param == hazard_pointer_mode::membarrier ? "membarrier" : "seq_cst";
}
INSTANTIATE_TEST_SUITE_P(modes, hazard_pointer_race,
                         testing::Values(hazard_pointer_mode::membarrier, hazard_pointer_mode::seq_cst), name_of);

// Each round has one object, one reader and one sweeper. The reader may win (it protects the object, the sweep keeps
// it) or the sweeper may (it reclaims the object, the reader's second look sees that it is gone). Both at once is the
// failure that everything rests on not happening: neither the announcement nor the unlinking was seen by the other
// side. Processors do it whenever they may delay a store past a load.
TEST_P(hazard_pointer_race, a_reader_and_a_sweep_never_both_win) {
    struct object : hazard_link {};
    hazard_pointer_domain domain(GetParam());
    object thing{};
    struct alignas(64) line {
        std::atomic<std::uint64_t> value{0};
    };
    std::array<line, 16> in_the_way;
    std::atomic<object*> src{&thing};
    lockstep steps;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    std::atomic<bool> over{false};  // a machine with much else to do gets through fewer rounds; the reader says when, for both
    bool reader_won = false;
    bool sweeper_won = false;
    std::array<std::uint64_t, 3> outcomes{};  // neither, reader, sweeper
    weir_test::findings wrong;
    const std::uint64_t rounds =
        scaled(GetParam() == hazard_pointer_mode::membarrier ? 20'000 : 200'000, 5000);  // a barrier is slow

    weir_test::run_together(2, [&](std::size_t me) {
        run_on_own_processor(me);
        weir_test::random_numbers dice(weir_test::run_seed() + me);
        auto h = me == 0 ? make_hazard_pointer(domain) : hazard_pointer();
        for (std::uint64_t round = 0; round < rounds; ++round) {
            if (me == 0 && round % 64 == 0) {
                over = std::chrono::steady_clock::now() > end;
            }
            steps.meet(2 * round + 1);
            if (over) {
                return;
            }
            hesitate(dice);
            if (me == 0) {
                // The source is at hand, and before the announcement other stores have to be made: the second look will
                // come long before the announcement, if nothing keeps them in order.
                static_cast<void>(src.load(std::memory_order_relaxed));
                for (auto& each : in_the_way) {
                    each.value.store(round, std::memory_order_relaxed);
                }
                object* wanted = &thing;
                reader_won = h.try_protect(wanted, src);
            } else {
                src.store(nullptr, std::memory_order_release);  // the weakest unlinking there is
                sweeper_won = false;
                static_cast<void>(domain.sweep(&thing, [&](hazard_link*) { sweeper_won = true; }));
            }
            steps.meet(2 * round + 2);
            if (me == 0) {
                h.reset_protection();
            } else {
                wrong.expect(!(reader_won && sweeper_won), "an object was protected and reclaimed");
                ++outcomes[reader_won ? 1 : sweeper_won ? 2 : 0];
                src.store(&thing, std::memory_order_release);
                for (auto& each : in_the_way) {
                    each.value.store(round, std::memory_order_relaxed);
                }
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    RecordProperty("reader_won", std::to_string(outcomes[1]));
    RecordProperty("sweeper_won", std::to_string(outcomes[2]));
    if (outcomes[0] + outcomes[1] + outcomes[2] == rounds) {
        EXPECT_GT(outcomes[1], 0U) << "the reader never won: this test has shown nothing";
        EXPECT_GT(outcomes[2], 0U) << "the sweeper never won: this test has shown nothing";
    }
}

}  // namespace
