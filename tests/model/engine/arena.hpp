// weir (BSL-1.0). arena: the heap of the threads under test, which knows what is alive.
#ifndef WEIR_TESTS_MODEL_ARENA_HPP
#define WEIR_TESTS_MODEL_ARENA_HPP
#include <cstddef>
#include <cstdint>

// Each thread has a part of its own, so that addresses depend on what a thread does and not on when: executions that differ
// only in the order of independent steps use the same addresses. What a thread frees is what it gets next, for the same size;
// between any two blocks lie 16 bytes that belong to nobody.

namespace weir_model::engine {

inline constexpr std::uintptr_t arena_begin = 0x100000000000;
inline constexpr std::size_t arena_size = std::size_t{32} << 20;

[[nodiscard]] inline bool in_arena(std::uintptr_t address) noexcept { return address - arena_begin < arena_size; }

/// What is known of 16 bytes of the arena.
struct arena_block {
    enum : std::uint8_t { nothing, alive, dead } state;
    std::uint8_t thread;    // who allocated it
    std::uint32_t units;    // of the whole block, kept in its first 16 bytes
    std::uint32_t epoch;    // of that thread
    std::uint32_t serial;   // of the allocation
    std::uint32_t execution;
};

inline constexpr std::size_t arena_unit = 16;
extern arena_block* const arena_blocks;
extern std::uint32_t arena_execution;
[[nodiscard]] inline arena_block const& block_at(std::uintptr_t address) noexcept {
    arena_block& b = arena_blocks[(address - arena_begin) / arena_unit];
    if (b.execution != arena_execution) {
        b = {};
        b.execution = arena_execution;
    }
    return b;
}

void arena_begin_execution() noexcept;
/// nullptr when an allocation failure was chosen.
void* arena_allocate(std::size_t bytes, std::size_t alignment, std::uintptr_t pc);
void arena_free(void* p, std::uintptr_t pc);
/// Fails the execution if the memory is the arena's and not alive.
void check_alive(std::uintptr_t address, std::size_t size, char const* what, std::uintptr_t pc);

[[nodiscard]] std::size_t live_bytes() noexcept;
[[nodiscard]] std::size_t most_live_bytes() noexcept;
/// Where the first of the blocks that are alive was allocated; 0: none is.
[[nodiscard]] std::uintptr_t oldest_live(std::size_t& bytes) noexcept;

}  // namespace weir_model::engine
#endif
