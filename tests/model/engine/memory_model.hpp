// weir (BSL-1.0). memory_model: what an atomic load may return, and what it then knows.
#ifndef WEIR_TESTS_MODEL_MEMORY_MODEL_HPP
#define WEIR_TESTS_MODEL_MEMORY_MODEL_HPP
#include "clocks.hpp"

#include <array>
#include <cstdint>

// The C++20 model as a machine that runs. Each location keeps its last stores; their order is the order of execution, and so is
// the total order S of sequentially consistent operations. A load may return any store that nothing forbids:
//   coherence   no store older than one that the thread has written, read, or learned of (`view`);
//   S           a seq_cst load returns nothing older than a store that a seq_cst operation has written or read before; nor does
//               any load after a seq_cst fence that comes later in S; and what a thread knew at a seq_cst fence is known at
//               later seq_cst fences and to later seq_cst loads (`sc_view`).
// Two clocks per thread: `happened` is happens-before, which decides races; `view` adds what fences of S make visible.
// Sources: Batty et al., "Mathematizing C++ concurrency", POPL 2011; Lahav et al., "Repairing sequential consistency in C/C++11",
// PLDI 2017 (P0668, C++20); the execution by stores with clocks follows Norris and Demsky, "CDSChecker", OOPSLA 2013.
//
// What it does not show: a load that returns a store which is executed later (load buffering), and a store that enters the
// order of its location before one that was executed sooner (2+2W).
//
// membarrier(2) and the compiler's fences (atomic_signal_fence) are the asymmetric fences of P1202: a heavy one of the caller,
// and in every other thread a light one, which has no effect but towards heavy ones. A light fence comes before a heavy one,
// whose thread then sees what was before the light one; or after it, and sees what was before the heavy one.

namespace weir_model::engine {

enum order : int { relaxed = 0, consume = 1, acquire = 2, release = 3, acq_rel = 4, seq_cst = 5, dropped = 6 };
[[nodiscard]] constexpr bool acquires(int o) noexcept { return o == consume || o == acquire || o == acq_rel || o == seq_cst; }
[[nodiscard]] constexpr bool releases(int o) noexcept { return o == release || o == acq_rel || o == seq_cst; }

/// What a thread knows.
struct knowledge {
    vector_clock happened;
    vector_clock view;              // all of `happened`, and what fences showed
    vector_clock unfenced_happened;  // read without acquire: known after an acquire fence
    vector_clock unfenced_view;
    vector_clock fenced_happened;  // known at the last release fence: released by relaxed stores
    vector_clock fenced_view;
    vector_clock light_view;  // known at the last light fence
    std::uint32_t heavy_seen = 0;
};

/// One store in the history of a location.
struct store {
    std::uint64_t value;
    vector_clock happened, view;     // what a load that acquires it learns
    std::uint32_t seen[max_threads];  // the epoch in which each thread wrote or first read it; 0: never
    std::uint32_t sequential;         // the step in which a seq_cst operation wrote or first read it; 0: none did
    std::uint32_t step;
    int by;
    std::uintptr_t pc;
};

struct location {
    static constexpr int depth = 8;
    std::uintptr_t address;
    int size;
    int count;   // stores ever; the last `depth` of them are kept
    bool stale;  // the memory was written by other means: the history begins anew
    std::uint8_t stale_reads[max_threads];  // in a row
    std::array<store, depth> ring;

    [[nodiscard]] store& newest() noexcept { return ring[static_cast<unsigned>(count - 1) % depth]; }
    [[nodiscard]] store& back(int age) noexcept { return ring[static_cast<unsigned>(count - 1 - age) % depth]; }
};

/// Begins an execution.
void memory_begin() noexcept;
/// A new thread of `parent` (-1: the first).
void memory_thread(int id, int parent) noexcept;
/// `waiter` has seen `ended` end.
void memory_joined(int waiter, int ended) noexcept;
inline knowledge knows[max_threads];  // of each thread
[[nodiscard]] inline std::uint32_t epoch_of(int thread) noexcept { return knows[thread].happened.at[thread]; }
[[nodiscard]] inline bool happened_before(int thread, std::uint32_t epoch, int observer) noexcept {
    return epoch <= knows[observer].happened.at[thread];
}

/// The location of an atomic of `size` bytes, created or begun anew where needed.
location& location_at(std::uintptr_t address, int size);

/// How many of the newest stores a load by the running thread may return: at least 1.
[[nodiscard]] int readable(location& at, int order) noexcept;
void read_from(location& at, store& from, int order) noexcept;
/// Adds a store and writes the memory; of a read-modify-write if `continues`.
void write_to(location& at, std::uint64_t value, int order, bool continues, std::uintptr_t pc) noexcept;
/// A read-modify-write of two locations in one step: whoever acquires one of the stores knows the other one.
void write_both(location& low, std::uint64_t low_value, location& high, std::uint64_t high_value, int order,
                std::uintptr_t pc) noexcept;

void fence(int order) noexcept;
void light_fence() noexcept;
void heavy_fence() noexcept;

}  // namespace weir_model::engine
#endif
