// weir (BSL-1.0). litmus_test: the engine's memory model, outcome by outcome, against what C++20 allows and forbids.
#include <weir/base/detail/double_word.hpp>
#include <weir/base/detail/membarrier.hpp>

#include "engine/model.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <ostream>
#include <set>
#include <string>
#include <thread>

#include <gtest/gtest.h>

// Each program is tiny and asks about one outcome. All other outcomes are listed too, so that a search which shows too little
// fails like one that shows too much. The names of the shapes are those of the literature: J. Alglave, L. Maranget,
// M. Tautschnig, "Herding Cats", TOPLAS 2014.
//
// A gap is an outcome that the standard allows and the engine never shows: it executes a thread's operations in their order,
// and a store is newer than all that were executed before it.

namespace {

using namespace weir_model;
using enum std::memory_order;
using word = std::atomic<int>;

// One digit for each value that a program read.
template <class... Int>
void saw(Int... values) {
    const char digits[] = {static_cast<char>('0' + static_cast<int>(values))..., '\0'};
    observe(digits);
}

// ---- two threads, two words, x and y, zero at first

enum class fenced { neither, reader, writer, both };

template <std::memory_order Store, std::memory_order Load, fenced Fences = fenced::neither>
void message_passing() {
    word x{0};
    word y{0};
    int flag = -1;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            if constexpr (Fences == fenced::writer || Fences == fenced::both) {
                std::atomic_thread_fence(release);
            }
            y.store(1, Store);
        },
        [&] {
            flag = y.load(Load);
            if constexpr (Fences == fenced::reader || Fences == fenced::both) {
                std::atomic_thread_fence(acquire);
            }
            data = x.load(relaxed);
        });
    saw(flag, data);
}

template <std::memory_order Write, std::memory_order Read>
void message_passing_by_exchange_and_fetch_add() {
    word x{0};
    word y{0};
    int flag = -1;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            (void)y.exchange(1, Write);
        },
        [&] {
            flag = y.fetch_add(0, Read);
            data = x.load(relaxed);
        });
    saw(flag, data);
}

template <std::memory_order Store, std::memory_order Load>
void store_buffering() {
    word x{0};
    word y{0};
    int r = -1;
    int s = -1;
    together(
        [&] {
            x.store(1, Store);
            r = y.load(Load);
        },
        [&] {
            y.store(1, Store);
            s = x.load(Load);
        });
    saw(r, s);
}

template <std::memory_order Exchange, std::memory_order Load>
void store_buffering_by_exchange() {
    word x{0};
    word y{0};
    int r = -1;
    int s = -1;
    together(
        [&] {
            (void)x.exchange(1, Exchange);
            r = y.load(Load);
        },
        [&] {
            (void)y.exchange(1, Exchange);
            s = x.load(Load);
        });
    saw(r, s);
}

template <bool First, bool Second>
void store_buffering_with_fences() {
    word x{0};
    word y{0};
    int r = -1;
    int s = -1;
    together(
        [&] {
            x.store(1, relaxed);
            if constexpr (First) {
                std::atomic_thread_fence(seq_cst);
            }
            r = y.load(relaxed);
        },
        [&] {
            y.store(1, relaxed);
            if constexpr (Second) {
                std::atomic_thread_fence(seq_cst);
            }
            s = x.load(relaxed);
        });
    saw(r, s);
}

void store_buffering_with_operations_against_a_fence() {
    word x{0};
    word y{0};
    int r = -1;
    int s = -1;
    together(
        [&] {
            x.store(1, seq_cst);
            r = y.load(seq_cst);
        },
        [&] {
            y.store(1, relaxed);
            std::atomic_thread_fence(seq_cst);
            s = x.load(relaxed);
        });
    saw(r, s);
}

void load_buffering() {
    word x{0};
    word y{0};
    int r = -1;
    int s = -1;
    together(
        [&] {
            r = x.load(relaxed);
            y.store(1, relaxed);
        },
        [&] {
            s = y.load(relaxed);
            x.store(1, relaxed);
        });
    saw(r, s);
}

// 2+2W: the last values of x and y.
template <std::memory_order Order>
void two_writers() {
    word x{0};
    word y{0};
    together(
        [&] {
            x.store(1, Order);
            y.store(2, Order);
        },
        [&] {
            y.store(1, Order);
            x.store(2, Order);
        });
    saw(x.load(), y.load());
}

// The last value of x, and what was read from y: the order of the writes to x matters even after both.
void order_of_two_writes() {
    word x{0};
    word y{0};
    int read = -1;
    together(
        [&] {
            x.store(1, relaxed);
            read = y.load(relaxed);
        },
        [&] {
            x.store(2, relaxed);
            y.store(1, relaxed);
        });
    saw(x.load(), read);
}

// S: what was read from y, and the last value of x.
void write_after_a_message() {
    word x{0};
    word y{0};
    int flag = -1;
    together(
        [&] {
            x.store(2, relaxed);
            y.store(1, release);
        },
        [&] {
            flag = y.load(acquire);
            x.store(1, relaxed);
        });
    saw(flag, x.load());
}

// ---- one word: coherence

void two_reads_of_one_word() {
    word x{0};
    int first = -1;
    int second = -1;
    together(
        [&] {
            x.store(1, relaxed);
            x.store(2, relaxed);
        },
        [&] {
            first = x.load(relaxed);
            second = x.load(relaxed);
        });
    saw(first, second);
}

void a_read_of_what_the_thread_wrote() {
    word x{0};
    int read = -1;
    together(
        [&] {
            x.store(1, relaxed);
            read = x.load(relaxed);
        },
        [&] { x.store(2, relaxed); });
    saw(read);
}

void two_exchanges_of_one_value() {
    word x{0};
    bool first = false;
    bool second = false;
    together(
        [&] {
            int expected = 0;
            first = x.compare_exchange_strong(expected, 1, relaxed);
        },
        [&] {
            int expected = 0;
            second = x.compare_exchange_strong(expected, 2, relaxed);
        });
    saw(first, second);
}

void two_additions() {
    word x{0};
    int first = -1;
    int second = -1;
    together([&] { first = x.fetch_add(1, relaxed); }, [&] { second = x.fetch_add(1, relaxed); });
    saw(first, second, x.load());
}

// ---- more threads

// IRIW: two readers look at two independent writes in opposite order.
template <std::memory_order Store, std::memory_order Load>
void independent_reads_of_independent_writes() {
    word x{0};
    word y{0};
    int read[4] = {-1, -1, -1, -1};
    together([&] { x.store(1, Store); }, [&] { y.store(1, Store); },
             [&] {
                 read[0] = x.load(Load);
                 read[1] = y.load(Load);
             },
             [&] {
                 read[2] = y.load(Load);
                 read[3] = x.load(Load);
             });
    saw(read[0], read[1], read[2], read[3]);
}

// WRC: the middle thread hands on what it has read.
template <std::memory_order Store, std::memory_order Load>
void write_to_read_causality() {
    word x{0};
    word y{0};
    int flag = -1;
    int data = -1;
    together([&] { x.store(1, relaxed); }, [&] { y.store(x.load(relaxed), Store); },
             [&] {
                 flag = y.load(Load);
                 data = x.load(relaxed);
             });
    saw(flag, data);
}

// ISA2: the middle thread hands on what it was handed.
void message_through_a_third_thread() {
    word x{0};
    word y{0};
    word z{0};
    int flag = -1;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            y.store(1, release);
        },
        [&] { z.store(y.load(acquire), release); },
        [&] {
            flag = z.load(acquire);
            data = x.load(relaxed);
        });
    saw(flag, data);
}

// RWC: the fences order two threads by way of a third one, which has none.
template <bool Fences>
void read_to_write_causality() {
    word x{0};
    word y{0};
    int a = -1;
    int b = -1;
    int c = -1;
    together([&] { x.store(1, relaxed); },
             [&] {
                 a = x.load(relaxed);
                 if constexpr (Fences) {
                     std::atomic_thread_fence(seq_cst);
                 }
                 b = y.load(relaxed);
             },
             [&] {
                 y.store(1, relaxed);
                 if constexpr (Fences) {
                     std::atomic_thread_fence(seq_cst);
                 }
                 c = x.load(relaxed);
             });
    saw(a, b, c);
}

// If a is 0, the first fence comes before the second one; and what the second one so learned goes on with the messages.
void messages_after_a_fence() {
    word x{0};
    word y{0};
    word z{0};
    word relayed{0};
    int a = -1;
    int flag = -1;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            std::atomic_thread_fence(seq_cst);
            a = z.load(relaxed);
        },
        [&] {
            z.store(1, relaxed);
            std::atomic_thread_fence(seq_cst);
            y.store(1, release);
        },
        [&] { relayed.store(y.load(acquire), release); },
        [&] {
            flag = relayed.load(acquire);
            data = x.load(relaxed);
        });
    saw(a, flag, data);
}

// ---- release sequences

void release_sequence_through_a_compare_exchange() {
    word x{0};
    word y{0};
    int flag = -1;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            y.store(1, release);
        },
        [&] {
            int expected = 1;
            (void)y.compare_exchange_strong(expected, 2, relaxed);
        },
        [&] {
            flag = y.load(acquire);
            data = x.load(relaxed);
        });
    saw(flag, data);
}

void release_sequence_through_an_exchange() {
    word x{0};
    word y{0};
    int taken = -1;
    int flag = -1;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            y.store(1, release);
        },
        [&] { taken = y.exchange(2, relaxed); },
        [&] {
            flag = y.load(acquire);
            data = x.load(relaxed);
        });
    saw(taken, flag, data);
}

void release_sequence_of_additions() {
    word x{0};
    word y{0};
    int flag = -1;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            (void)y.fetch_add(1, release);
        },
        [&] {
            (void)y.fetch_add(1, relaxed);
            (void)y.fetch_add(1, relaxed);
        },
        [&] {
            flag = y.load(acquire);
            data = x.load(relaxed);
        });
    saw(flag, data);
}

void release_sequence_cut_by_a_store() {
    word x{0};
    word y{0};
    int flag = -1;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            y.store(1, release);
            y.store(2, relaxed);
        },
        [&] {
            flag = y.load(acquire);
            data = x.load(relaxed);
        });
    saw(flag, data);
}

// ---- a failed compare-exchange is a load with an order of its own

template <std::memory_order Success, std::memory_order Failure>
void failed_compare_exchange() {
    word x{0};
    word y{0};
    int flag = 5;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            y.store(1, release);
        },
        [&] {
            (void)y.compare_exchange_strong(flag, 6, Success, Failure);
            data = x.load(relaxed);
        });
    saw(flag, data);
}

// ---- 16 bytes at once, and their halves

struct alignas(16) two_words {
    std::atomic<std::uint64_t> low{0};
    std::atomic<std::uint64_t> high{0};

    bool exchange(std::uint64_t expected_low, std::uint64_t expected_high, std::uint64_t low_then,
                  std::uint64_t high_then) {
        return weir::detail::compare_exchange_16(this, expected_low, expected_high, low_then, high_then);
    }
};

template <bool HighFirst, std::memory_order Load>
void halves_of_a_wide_exchange() {
    two_words w;
    std::uint64_t first = 9;
    std::uint64_t second = 9;
    together([&] { (void)w.exchange(0, 0, 1, 1); },
             [&] {
                 first = (HighFirst ? w.high : w.low).load(Load);
                 second = (HighFirst ? w.low : w.high).load(Load);
             });
    saw(first, second);
}

void two_wide_exchanges() {
    two_words w;
    bool first = false;
    bool second = false;
    together([&] { first = w.exchange(0, 0, 1, 1); }, [&] { second = w.exchange(0, 0, 2, 2); });
    saw(first, second, w.low.load(), w.high.load());
}

void wide_exchange_against_an_addition_to_a_half() {
    two_words w;
    bool exchanged = false;
    together([&] { exchanged = w.exchange(0, 0, 1, 1); }, [&] { (void)w.low.fetch_add(2, relaxed); });
    saw(exchanged, w.low.load(), w.high.load());
}

void wide_exchange_publishes() {
    two_words w;
    word x{0};
    std::uint64_t flag = 9;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            (void)w.exchange(0, 0, 1, 1);
        },
        [&] {
            flag = w.high.load(acquire);
            data = x.load(relaxed);
        });
    saw(flag, data);
}

// Reads what was released to one half, whether it succeeds or fails.
template <bool Succeeds>
void wide_exchange_acquires() {
    two_words w;
    word x{0};
    bool exchanged = false;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            w.low.store(1, release);
        },
        [&] {
            exchanged = w.exchange(Succeeds ? 1 : 0, 0, 2, 0);
            data = x.load(relaxed);
        });
    saw(exchanged, data);
}

// ---- membarrier(2): one side of Dekker's race pays for both

template <bool LightSide, bool HeavySide>
void asymmetric_store_buffering() {
    word x{0};
    word y{0};
    int light = -1;
    int heavy = -1;
    together(
        [&] {
            x.store(1, relaxed);
            if constexpr (LightSide) {
                std::atomic_signal_fence(seq_cst);
            }
            light = y.load(relaxed);
        },
        [&] {
            y.store(1, relaxed);
            if constexpr (HeavySide) {
                WEIR_MODEL_REQUIRE(weir::detail::membarrier_everywhere());
            } else {
                std::atomic_signal_fence(seq_cst);
            }
            heavy = x.load(relaxed);
        });
    saw(light, heavy);
}

// ---- what the library hands over

void mutex_hand_over() {
    std::mutex m;
    bool done = false;
    word x{0};
    bool was_done = false;
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            const std::lock_guard hold(m);
            done = true;
        },
        [&] {
            {
                const std::lock_guard hold(m);
                was_done = done;
            }
            data = x.load(relaxed);
        });
    saw(was_done, data);
}

void condition_variable_hand_over() {
    std::mutex m;
    std::condition_variable changed;
    bool done = false;
    word x{0};
    int data = -1;
    together(
        [&] {
            x.store(1, relaxed);
            {
                const std::lock_guard hold(m);
                done = true;
            }
            changed.notify_one();
        },
        [&] {
            {
                std::unique_lock hold(m);
                while (!done) {
                    changed.wait(hold);
                }
            }
            data = x.load(relaxed);
        });
    saw(data);
}

void thread_creation_hands_over() {
    word x{0};
    int data = -1;
    x.store(1, relaxed);
    std::thread t([&] { data = x.load(relaxed); });
    t.join();
    saw(data);
}

void join_hands_over() {
    word x{0};
    std::thread t([&] { x.store(1, relaxed); });
    t.join();
    saw(x.load(relaxed));
}

// ---- the table

enum class verdict { allowed, forbidden, a_gap };

struct row {
    char const* program;
    void (*body)();
    char const* outcome;
    verdict is;
    std::set<std::string> others;
};

// All strings of so many binary digits.
std::set<std::string> bits(int count) {
    std::set<std::string> all{""};
    for (int i = 0; i < count; ++i) {
        std::set<std::string> longer;
        for (std::string const& s : all) {
            longer.insert({s + '0', s + '1'});
        }
        all = longer;
    }
    return all;
}

std::set<std::string> expected(row const& r) {
    std::set<std::string> all = r.others;
    if (r.is == verdict::allowed) {
        all.insert(r.outcome);
    } else {
        all.erase(r.outcome);
    }
    return all;
}

std::string name_of(row const& r) {
    constexpr char const* verdicts[] = {"_is_allowed", "_is_forbidden", "_is_a_gap"};
    return std::string(r.program) + "_" + r.outcome + verdicts[static_cast<int>(r.is)];
}

void PrintTo(row const& r, std::ostream* out) { *out << name_of(r); }

// A row that is not binary lists its other outcomes.
row const rows[] = {
    {"message_passing_relaxed", message_passing<relaxed, relaxed>, "10", verdict::allowed, bits(2)},
    {"message_passing_release_acquire", message_passing<release, acquire>, "10", verdict::forbidden, bits(2)},
    {"message_passing_release_relaxed", message_passing<release, relaxed>, "10", verdict::allowed, bits(2)},
    {"message_passing_relaxed_acquire", message_passing<relaxed, acquire>, "10", verdict::allowed, bits(2)},
    {"message_passing_two_fences", message_passing<relaxed, relaxed, fenced::both>, "10", verdict::forbidden, bits(2)},
    {"message_passing_reader_fence", message_passing<relaxed, relaxed, fenced::reader>, "10", verdict::allowed,
     bits(2)},
    {"message_passing_writer_fence", message_passing<relaxed, relaxed, fenced::writer>, "10", verdict::allowed,
     bits(2)},
    {"message_passing_writer_fence_acquire", message_passing<relaxed, acquire, fenced::writer>, "10",
     verdict::forbidden, bits(2)},
    {"message_passing_release_reader_fence", message_passing<release, relaxed, fenced::reader>, "10",
     verdict::forbidden, bits(2)},
    {"message_passing_exchange_relaxed", message_passing_by_exchange_and_fetch_add<relaxed, relaxed>, "10",
     verdict::allowed, bits(2)},
    {"message_passing_exchange_release_relaxed", message_passing_by_exchange_and_fetch_add<release, relaxed>, "10",
     verdict::allowed, bits(2)},
    {"message_passing_exchange_relaxed_acquire", message_passing_by_exchange_and_fetch_add<relaxed, acquire>, "10",
     verdict::allowed, bits(2)},
    {"message_passing_exchange_release_acquire", message_passing_by_exchange_and_fetch_add<release, acquire>, "10",
     verdict::forbidden, bits(2)},

    {"store_buffering_relaxed", store_buffering<relaxed, relaxed>, "00", verdict::allowed, bits(2)},
    {"store_buffering_release_acquire", store_buffering<release, acquire>, "00", verdict::allowed, bits(2)},
    {"store_buffering_seq_cst", store_buffering<seq_cst, seq_cst>, "00", verdict::forbidden, bits(2)},
    {"store_buffering_seq_cst_acquire", store_buffering<seq_cst, acquire>, "00", verdict::allowed, bits(2)},
    {"store_buffering_two_fences", store_buffering_with_fences<true, true>, "00", verdict::forbidden, bits(2)},
    {"store_buffering_one_fence", store_buffering_with_fences<true, false>, "00", verdict::allowed, bits(2)},
    {"store_buffering_operations_against_a_fence", store_buffering_with_operations_against_a_fence, "00",
     verdict::forbidden, bits(2)},
    {"store_buffering_exchange_acq_rel", store_buffering_by_exchange<acq_rel, acquire>, "00", verdict::allowed,
     bits(2)},
    {"store_buffering_exchange_seq_cst_relaxed", store_buffering_by_exchange<seq_cst, relaxed>, "00", verdict::allowed,
     bits(2)},
    {"store_buffering_exchange_seq_cst", store_buffering_by_exchange<seq_cst, seq_cst>, "00", verdict::forbidden,
     bits(2)},

    {"load_buffering_relaxed", load_buffering, "11", verdict::a_gap, bits(2)},
    {"two_writers_relaxed", two_writers<relaxed>, "11", verdict::a_gap, {"12", "21", "22"}},
    {"two_writers_seq_cst", two_writers<seq_cst>, "11", verdict::forbidden, {"12", "21", "22"}},
    {"order_of_two_writes", order_of_two_writes, "10", verdict::allowed, {"11", "20", "21"}},
    {"write_after_a_message", write_after_a_message, "12", verdict::forbidden, {"01", "02", "11"}},

    {"coherence_of_two_reads", two_reads_of_one_word, "21", verdict::forbidden, {"00", "01", "02", "11", "12", "22"}},
    {"coherence_of_two_reads", two_reads_of_one_word, "10", verdict::forbidden, {"00", "01", "02", "11", "12", "22"}},
    {"coherence_of_two_reads", two_reads_of_one_word, "01", verdict::allowed, {"00", "02", "11", "12", "22"}},
    {"coherence_of_write_and_read", a_read_of_what_the_thread_wrote, "0", verdict::forbidden, {"1", "2"}},
    {"compare_exchange_both_succeed", two_exchanges_of_one_value, "11", verdict::forbidden, {"01", "10"}},
    {"additions_one_lost", two_additions, "001", verdict::forbidden, {"012", "102"}},

    {"independent_reads_acquire", independent_reads_of_independent_writes<release, acquire>, "1010", verdict::allowed,
     bits(4)},
    {"independent_reads_seq_cst", independent_reads_of_independent_writes<seq_cst, seq_cst>, "1010", verdict::forbidden,
     bits(4)},
    {"independent_reads_seq_cst_of_relaxed_writes", independent_reads_of_independent_writes<relaxed, seq_cst>, "1010",
     verdict::forbidden, bits(4)},
    {"write_to_read_causality_release_acquire", write_to_read_causality<release, acquire>, "10", verdict::forbidden,
     bits(2)},
    {"write_to_read_causality_relaxed", write_to_read_causality<relaxed, relaxed>, "10", verdict::allowed, bits(2)},
    {"message_through_a_third_thread", message_through_a_third_thread, "10", verdict::forbidden, bits(2)},
    {"read_to_write_causality_with_fences", read_to_write_causality<true>, "100", verdict::forbidden, bits(3)},
    {"read_to_write_causality_without_fences", read_to_write_causality<false>, "100", verdict::allowed, bits(3)},

    {"messages_after_a_fence", messages_after_a_fence, "010", verdict::forbidden, bits(3)},

    {"release_sequence_through_a_compare_exchange",
     release_sequence_through_a_compare_exchange,
     "20",
     verdict::forbidden,
     {"00", "01", "11", "21"}},
    {"release_sequence_through_an_exchange",
     release_sequence_through_an_exchange,
     "120",
     verdict::forbidden,
     {"000", "001", "011", "020", "021", "100", "101", "111", "121"}},
    {"release_sequence_of_additions",
     release_sequence_of_additions,
     "30",
     verdict::forbidden,
     {"00", "01", "10", "11", "20", "21", "31"}},
    {"release_sequence_cut_by_a_store",
     release_sequence_cut_by_a_store,
     "20",
     verdict::allowed,
     {"00", "01", "11", "21"}},

    {"failed_compare_exchange_acquire", failed_compare_exchange<acq_rel, acquire>, "10", verdict::forbidden, bits(2)},
    {"failed_compare_exchange_relaxed", failed_compare_exchange<acq_rel, relaxed>, "10", verdict::allowed, bits(2)},
    {"failed_compare_exchange_release_but_acquire_on_failure", failed_compare_exchange<release, acquire>, "10",
     verdict::forbidden, bits(2)},

    {"halves_of_a_wide_exchange_high_first", halves_of_a_wide_exchange<true, acquire>, "10", verdict::forbidden,
     bits(2)},
    {"halves_of_a_wide_exchange_low_first", halves_of_a_wide_exchange<false, acquire>, "10", verdict::forbidden,
     bits(2)},
    {"halves_of_a_wide_exchange_relaxed", halves_of_a_wide_exchange<true, relaxed>, "10", verdict::allowed, bits(2)},
    {"two_wide_exchanges", two_wide_exchanges, "1122", verdict::forbidden, {"0122", "1011"}},
    {"wide_exchange_loses_an_addition",
     wide_exchange_against_an_addition_to_a_half,
     "111",
     verdict::forbidden,
     {"020", "131"}},
    {"wide_exchange_publishes", wide_exchange_publishes, "10", verdict::forbidden, bits(2)},
    {"wide_exchange_acquires", wide_exchange_acquires<true>, "10", verdict::forbidden, bits(2)},
    {"failed_wide_exchange_acquires", wide_exchange_acquires<false>, "00", verdict::forbidden, {"01", "10", "11"}},

    {"asymmetric_store_buffering", asymmetric_store_buffering<true, true>, "00", verdict::forbidden, bits(2)},
    {"asymmetric_store_buffering_without_signal_fence", asymmetric_store_buffering<false, true>, "00", verdict::allowed,
     bits(2)},
    {"asymmetric_store_buffering_without_membarrier", asymmetric_store_buffering<true, false>, "00", verdict::allowed,
     bits(2)},

    {"mutex_hand_over", mutex_hand_over, "10", verdict::forbidden, bits(2)},
    {"condition_variable_hand_over", condition_variable_hand_over, "0", verdict::forbidden, {"1"}},
    {"thread_creation_hands_over", thread_creation_hands_over, "0", verdict::forbidden, {"1"}},
    {"join_hands_over", join_hands_over, "0", verdict::forbidden, {"1"}},
};

class litmus : public testing::TestWithParam<row> {
protected:
    // All that there is: the same with and without the reduction, or the reduction leaves out more than it may.
    static void explore_all(bool reduce) {
        const report r = explore(GetParam().body, {.preemptions = options::unbounded,
                                                   .stale_reads = options::unbounded,
                                                   .max_seconds = 45,
                                                   .reduce = reduce});
        RecordProperty("executions", std::to_string(r.executions));
        EXPECT_FALSE(r.failed) << to_string(r);
        EXPECT_TRUE(r.complete) << to_string(r);
        EXPECT_EQ(r.outcomes, expected(GetParam()));
    }
};

INSTANTIATE_TEST_SUITE_P(cpp20, litmus, testing::ValuesIn(rows), [](auto const& one) { return name_of(one.param); });

TEST_P(litmus, shows_what_the_standard_allows_and_nothing_else) { explore_all(true); }

TEST_P(litmus, shows_the_same_without_reduction) { explore_all(false); }

TEST_P(litmus, shows_the_same_without_reduction_within_bounds) {
    for (int preemptions = 0; preemptions < 4; ++preemptions) {
        for (int stale_reads = 0; stale_reads < 2; ++stale_reads) {
            options with{.preemptions = preemptions, .stale_reads = stale_reads, .reduce = true};
            const report reduced = explore(GetParam().body, with);
            with.reduce = false;
            const report all = explore(GetParam().body, with);
            EXPECT_TRUE(reduced.complete && all.complete);
            EXPECT_EQ(reduced.outcomes, all.outcomes)
                << "with " << preemptions << " preemptions and " << stale_reads << " stale reads";
        }
    }
}

}  // namespace
