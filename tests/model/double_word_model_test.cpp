// weir (BSL-1.0). Kernels of base/detail/double_word.hpp: 16-byte exchanges against 8-byte operations on their halves.
#include <weir/base/detail/double_word.hpp>

#include "kernels.hpp"
#include "mutation.hpp"

#include <array>
#include <atomic>
#include <cstdint>

// Who kills what. There is one site, which is seq_cst: (S) below is the order of two stores before two loads, as in
// Dekker's algorithm.
//
//   site                       weakened             killed by
//   the exchange, success      seq_cst (S)          an_exchange_is_in_the_one_order
//   the exchange, success      release              what_comes_before_an_exchange
//   the exchange, success      acquire              what_comes_before_either_half
//   the exchange, failure      seq_cst (S)          a_failed_exchange_is_in_the_one_order
//   the exchange, failure      acquire              a_failed_exchange_acquires

namespace weir_model {
namespace {

using weir::detail::compare_exchange_16;

struct alignas(16) pair {
    std::atomic<std::uint64_t> low{0};
    std::atomic<std::uint64_t> high{0};

    bool exchange(std::uint64_t from_low, std::uint64_t from_high, std::uint64_t to_low, std::uint64_t to_high) {
        return compare_exchange_16(this, from_low, from_high, to_low, to_high);
    }
};

// ---- atomic

WEIR_MODEL_KERNEL(double_word, one_of_two_exchanges_wins, {.preemptions = options::unbounded}) {
    pair at;
    bool first = false;
    bool second = false;
    together([&] { first = at.exchange(0, 0, 1, 2); }, [&] { second = at.exchange(0, 0, 3, 4); });
    WEIR_MODEL_REQUIRE(first != second);
    WEIR_MODEL_REQUIRE(at.low == (first ? 1U : 3U) && at.high == (first ? 2U : 4U));
}

WEIR_MODEL_KERNEL(double_word, no_change_of_a_half_is_lost, {.preemptions = options::unbounded}) {
    pair at;
    bool done = false;
    together([&] { done = at.exchange(0, 0, 1, 1); }, [&] { at.low.fetch_add(2); }, [&] { at.high.fetch_add(4); });
    // The exchange came before both, or failed.
    WEIR_MODEL_REQUIRE(at.low == (done ? 3U : 2U) && at.high == (done ? 5U : 4U));
}

WEIR_MODEL_KERNEL(double_word, an_exchange_of_a_half_is_seen_whole_or_not_at_all, {.preemptions = options::unbounded}) {
    pair at;
    bool wide = false;
    bool narrow = false;
    together([&] { wide = at.exchange(0, 0, 1, 1); },
             [&] {
                 std::uint64_t expected = 0;
                 narrow = at.high.compare_exchange_strong(expected, 7);
             });
    WEIR_MODEL_REQUIRE(wide != narrow);
    WEIR_MODEL_REQUIRE(at.low == (wide ? 1U : 0U) && at.high == (wide ? 1U : 7U));
}

// An exchange that lost may be tried again: a counter in one half, a tag in the other.
WEIR_MODEL_KERNEL(double_word, a_repeated_exchange_gets_through, {}) {
    pair at;
    const auto count = [&] {
        for (;;) {
            const std::uint64_t low = at.low.load();
            const std::uint64_t high = at.high.load();
            if (at.exchange(low, high, low + 1, high + 2)) {
                return;
            }
        }
    };
    together(
        count, [&] { at.high.fetch_add(1); }, count);
    WEIR_MODEL_REQUIRE(at.low == 2 && at.high == 5);
}

WEIR_MODEL_KERNEL(double_word, the_halves_change_together, {.preemptions = options::unbounded}) {
    pair at;
    together([&] { WEIR_MODEL_REQUIRE(at.exchange(0, 0, 1, 1)); },
             [&] {
                 const std::uint64_t low = at.low.load();
                 const std::uint64_t high = at.high.load();
                 WEIR_MODEL_REQUIRE(low <= high);
             },
             [&] {
                 const std::uint64_t high = at.high.load();
                 const std::uint64_t low = at.low.load();
                 WEIR_MODEL_REQUIRE(high <= low);
             });
}

// ---- ordered

WEIR_MODEL_KERNEL(double_word, what_comes_before_an_exchange_is_seen_through_either_half,
                  {.preemptions = options::unbounded}) {
    pair at;
    int data = 0;
    const auto read = [&](std::atomic<std::uint64_t> const& half) {
        if (half.load(std::memory_order_acquire) == 1) {
            WEIR_MODEL_REQUIRE(data == 1);
        }
    };
    together(
        [&] {
            data = 1;
            WEIR_MODEL_REQUIRE(at.exchange(0, 0, 1, 1));
        },
        [&] { read(at.low); }, [&] { read(at.high); });
}

WEIR_MODEL_KERNEL(double_word, what_comes_before_either_half_is_seen_by_an_exchange,
                  {.preemptions = options::unbounded}) {
    pair at;
    int of_low = 0;
    int of_high = 0;
    together(
        [&] {
            of_low = 1;
            at.low.store(1, std::memory_order_release);
        },
        [&] {
            of_high = 1;
            at.high.store(1, std::memory_order_release);
        },
        [&] {
            if (at.exchange(1, 1, 2, 2)) {
                WEIR_MODEL_REQUIRE(of_low == 1 && of_high == 1);
            }
        });
}

WEIR_MODEL_KERNEL(double_word, a_failed_exchange_acquires, {.preemptions = options::unbounded}) {
    pair at;
    int data = 0;
    together(
        [&] {
            data = 1;
            at.high.store(1, std::memory_order_release);
        },
        [&] {
            if (!at.exchange(0, 0, 2, 2)) {
                WEIR_MODEL_REQUIRE(data == 1);
            }
        });
}

// Two threads change something and then look at what the other changed: one at least sees it.
WEIR_MODEL_KERNEL(double_word, an_exchange_is_in_the_one_order, {.preemptions = options::unbounded}) {
    pair at;
    std::atomic<int> other{0};
    int seen_by_first = 0;
    std::uint64_t seen_by_second = 0;
    together(
        [&] {
            WEIR_MODEL_REQUIRE(at.exchange(0, 0, 1, 1));
            seen_by_first = other.load();
        },
        [&] {
            other.store(1);
            seen_by_second = at.high.load();
        });
    WEIR_MODEL_REQUIRE(seen_by_first == 1 || seen_by_second == 1);
}

WEIR_MODEL_KERNEL(double_word, a_failed_exchange_is_in_the_one_order, {.preemptions = options::unbounded}) {
    pair at;
    std::atomic<int> other{0};
    bool found = false;
    int seen = 0;
    together(
        [&] {
            other.store(1);
            found = at.exchange(1, 0, 2, 2);
        },
        [&] {
            at.low.store(1);
            seen = other.load();
        });
    WEIR_MODEL_REQUIRE(found || seen == 1);
}

TEST(mutants_of_double_word, every_weakened_order_is_noticed) { check_mutants({"weir/base/detail/double_word.hpp"}); }

}  // namespace
}  // namespace weir_model
