// weir (BSL-1.0). arena: the heap of the threads under test, which knows what is alive.
#include "arena.hpp"

#include "clocks.hpp"
#include "memory_model.hpp"
#include "races.hpp"
#include "scheduler.hpp"
#include "search.hpp"
#include "trace.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace weir_model::engine {
namespace {

constexpr std::size_t unit = arena_unit;
constexpr std::size_t part = arena_size / (max_threads + 1);
constexpr std::size_t small = 64;  // in units; larger blocks are not handed out again

char* map_arena() {
    void* const wanted = reinterpret_cast<void*>(arena_begin);
    void* const p = mmap(wanted, arena_size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != wanted) {
        std::abort();
    }
    return static_cast<char*>(p);
}
arena_block* map_blocks() {
    void* const p = mmap(nullptr, arena_size / unit * sizeof(arena_block), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        std::abort();
    }
    return static_cast<arena_block*>(p);
}

[[maybe_unused]] char* const memory = map_arena();

struct heap {
    std::size_t used;               // of its part
    std::uintptr_t free[small];     // by units; the next one is kept in the memory itself
} heaps[max_threads];
std::uint32_t serial;
std::size_t live, most;

arena_block& block(std::uintptr_t address) noexcept { return arena_blocks[(address - arena_begin) / unit]; }

}  // namespace

arena_block* const arena_blocks = map_blocks();
std::uint32_t arena_execution;

void arena_begin_execution() noexcept {
    ++arena_execution;
    serial = 0;
    live = most = 0;
    std::memset(static_cast<void*>(heaps), 0, sizeof heaps);
}

void* arena_allocate(std::size_t bytes, std::size_t alignment, std::uintptr_t pc) {
    if (choose_allocation_failure()) {
        trace_event("fails to allocate", 0, bytes, pc);
        return nullptr;
    }
    const int me = running();
    heap& mine = heaps[me];
    const std::size_t units = bytes == 0 ? 1 : (bytes + unit - 1) / unit;
    std::uintptr_t at = 0;
    if (chosen().reuse_memory && units < small && alignment <= unit && mine.free[units] != 0) {
        at = mine.free[units];
        std::memcpy(&mine.free[units], reinterpret_cast<void const*>(at), sizeof at);
    } else {
        const std::uintptr_t base = arena_begin + static_cast<std::size_t>(me) * part;
        const std::uintptr_t mask = (alignment < unit ? unit : alignment) - 1;
        at = (base + mine.used + unit + mask) & ~mask;
        if (bytes > part || at + units * unit > base + part) {
            fail("the engine's heap is full");
        }
        mine.used = at + units * unit - base;
    }
    ++serial;
    for (std::size_t i = 0; i < units; ++i) {
        block(at + i * unit) = {arena_block::alive, static_cast<std::uint8_t>(me), static_cast<std::uint32_t>(i == 0 ? units : 0),
                                epoch_of(me), serial, arena_execution};
    }
    live += units * unit;
    most = most < live ? live : most;
    note_allocation(at, pc);
    trace_event("allocates", at, bytes, pc);
    return reinterpret_cast<void*>(at);
}

void arena_free(void* p, std::uintptr_t pc) {
    const auto at = reinterpret_cast<std::uintptr_t>(p);
    arena_block const& b = block_at(at);
    if (b.state == arena_block::dead) {
        fail("double free of %s at %s", name_of(at).c_str(), place_of(pc).c_str());
    }
    if (b.state != arena_block::alive || b.units == 0 || at % unit != 0) {
        fail("free of %s, which was not allocated, at %s", name_of(at).c_str(), place_of(pc).c_str());
    }
    trace_event("frees", at, 0, pc);
    const std::size_t units = b.units;
    freed(at, units * unit);
    for (std::size_t i = 0; i < units; ++i) {
        block(at + i * unit).state = arena_block::dead;
    }
    live -= units * unit;
    if (units < small) {
        heap& mine = heaps[running()];
        std::memcpy(p, &mine.free[units], sizeof at);
        mine.free[units] = at;
    }
}

void check_alive(std::uintptr_t address, std::size_t size, char const* what, std::uintptr_t pc) {
    if (!in_arena(address)) {
        if (address < 4096) {
            fail("%s through a null pointer at %s", what, place_of(pc).c_str());
        }
        return;
    }
    for (std::uintptr_t a = address; a < address + size; a = (a / unit + 1) * unit) {
        const auto state = block_at(a).state;
        if (state != arena_block::alive) {
            fail(state == arena_block::dead ? "use after free: %s of %s at %s" : "%s of %s at %s, outside of all blocks", what,
                 name_of(address).c_str(), place_of(pc).c_str());
        }
    }
}

std::size_t live_bytes() noexcept { return live; }
std::size_t most_live_bytes() noexcept { return most; }

std::uintptr_t oldest_live(std::size_t& bytes) noexcept {
    std::uintptr_t found = 0;
    std::uint32_t lowest = ~0U;
    for (int t = 0; t < max_threads; ++t) {
        const std::uintptr_t base = arena_begin + static_cast<std::size_t>(t) * part;
        for (std::uintptr_t a = base; a < base + heaps[t].used; a += unit) {
            arena_block const& b = block_at(a);
            if (b.state == arena_block::alive && b.units != 0 && b.serial < lowest) {
                lowest = b.serial;
                found = a;
                bytes = b.units * unit;
            }
        }
    }
    return found;
}

}  // namespace weir_model::engine
