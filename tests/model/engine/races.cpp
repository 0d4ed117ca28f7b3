// weir (BSL-1.0). races: who touched which byte when, accesses that nothing orders, and what globals held before.
#include "races.hpp"

#include "arena.hpp"
#include "memory_model.hpp"
#include "scheduler.hpp"
#include "trace.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace weir_model::engine {
namespace {

struct epoch {
    std::uint32_t clock : 24;
    std::uint32_t bytes : 8;
};

struct word {
    std::uintptr_t key;        // address / 8
    std::uint32_t execution;   // whose contents these are; another one's count as none
    std::uint32_t block;       // of arena memory: which allocation
    epoch written[max_threads];
    epoch read[max_threads];
    epoch atomically_written[max_threads];
    epoch atomically_read[max_threads];
    std::int16_t location[8];  // by the first byte
    std::uint8_t threads;      // a mask of those that have touched it
    bool atomic;               // has a location
};

constexpr std::size_t hashed_words = 1U << 16;

template <class T>
T* reserve(std::size_t count) {
    void* const p = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        std::abort();
    }
    return static_cast<T*>(p);
}

word* const arena_words = reserve<word>(arena_size / 8);
word* const other_words = reserve<word>(hashed_words);
std::uint32_t execution;
std::size_t hashed;

struct kept {
    std::uintptr_t address;
    std::uint64_t value;
};
std::vector<kept>& globals() {
    static std::vector<kept> all;
    return all;
}

void clear(word& w, std::uintptr_t key) noexcept {
    std::memset(static_cast<void*>(&w), 0, sizeof w);
    w.key = key;
    w.execution = execution;
    std::memset(w.location, -1, sizeof w.location);
}

[[nodiscard]] std::uint8_t mask_of(std::uintptr_t address, std::size_t size) noexcept {
    return static_cast<std::uint8_t>(((1U << size) - 1U) << (address & 7));
}

word& word_at(std::uintptr_t address) {
    const std::uintptr_t key = address >> 3;
    if (in_arena(address)) {
        word& w = arena_words[(address - arena_begin) >> 3];
        arena_block const& b = block_at(address);
        if (w.execution != execution || w.block != b.serial) {
            clear(w, key);
            w.block = b.serial;
            w.written[b.thread] = {b.epoch & 0xffffff, 0xff};  // handing memory out counts as writing it
            w.threads = static_cast<std::uint8_t>(1U << b.thread);
        }
        return w;
    }
    std::size_t at = (key * 0x9E3779B97F4A7C15ULL) >> 48;
    static_assert(hashed_words == 1U << 16);
    for (;; at = (at + 1) & (hashed_words - 1)) {
        word& w = other_words[at];
        if (w.execution != execution) {
            if (++hashed > hashed_words / 2) {
                fail("the engine has no room for more memory outside of its heap");
            }
            clear(w, key);
            if (!on_a_stack(address)) {
                kept k{key << 3, 0};
                std::memcpy(&k.value, reinterpret_cast<void const*>(k.address), sizeof k.value);
                globals().push_back(k);
            }
            return w;
        }
        if (w.key == key) {
            return w;
        }
    }
}

[[gnu::cold, gnu::noinline]] void report(char const* mine, char const* theirs, std::uintptr_t address, int other) {
    fail("data race: %s by T%d and %s by T%d at %s, and neither happens before the other; found at %s", mine, running(), theirs,
         other, name_of(address).c_str(), place_of(present_pc).c_str());
}

void check(unsigned others, epoch const* them, std::uint8_t bytes, char const* mine, char const* theirs, std::uintptr_t address) {
    const int me = running();
    for (; others != 0; others &= others - 1) {
        const int t = std::countr_zero(others);
        if ((them[t].bytes & bytes) != 0 && !happened_before(t, them[t].clock, me)) {
            report(mine, theirs, address, t);
        }
    }
}

[[nodiscard]] unsigned others_at(word const& w) noexcept { return w.threads & ~(1U << running()); }

void mark(word& w, epoch* me, std::uint8_t bytes) noexcept {
    w.threads = static_cast<std::uint8_t>(w.threads | 1U << running());
    epoch& e = me[running()];
    const std::uint32_t clock = epoch_of(running());
    e.bytes = static_cast<std::uint8_t>(e.clock == clock ? e.bytes | bytes : bytes);
    e.clock = clock & 0xffffff;  // steps are fewer
}

/// The running thread has done the same in its present epoch: who has touched the word since then has found the race, if it is one.
[[nodiscard]] bool done_before(epoch const* me, std::uint8_t bytes) noexcept {
    epoch const& e = me[running()];
    return e.clock == epoch_of(running()) && (e.bytes & bytes) == bytes;
}

void plain_word(std::uintptr_t address, std::size_t size, bool writes) {
    word& w = word_at(address);
    const std::uint8_t bytes = mask_of(address, size);
    if (!done_before(writes ? w.written : w.read, bytes)) {
        if (const unsigned others = others_at(w)) {
            char const* const mine = writes ? "a plain write" : "a plain read";
            check(others, w.written, bytes, mine, "a plain write", address);
            check(others, w.atomically_written, bytes, mine, "an atomic write", address);
            if (writes) {
                check(others, w.read, bytes, mine, "a plain read", address);
                check(others, w.atomically_read, bytes, mine, "an atomic read", address);
            }
        }
        mark(w, writes ? w.written : w.read, bytes);
    }
    if (writes && w.atomic) {
        for (int i = 0; i < 8; ++i) {
            if (w.location[i] >= 0) {
                forget_location(w.location[i], bytes >> i);
            }
        }
    }
}

}  // namespace

void races_begin() noexcept {
    ++execution;
    hashed = 0;
}

void races_end() noexcept {
    std::vector<kept>& all = globals();
    for (kept const& k : all) {
        void* const at = reinterpret_cast<void*>(k.address);
        if (std::memcmp(at, &k.value, sizeof k.value) != 0) {  // what was only read may be read-only
            std::memcpy(at, &k.value, sizeof k.value);
        }
    }
    all.clear();
}

void plain_access(std::uintptr_t address, std::size_t size, bool writes, std::uintptr_t pc) {
    present_pc = pc;
    check_alive(address, size, writes ? "a write" : "a read", pc);
    trace_access(address, size, writes, pc);
    while (size != 0) {
        const std::size_t here = std::min(size, 8 - (address & 7));
        plain_word(address, here, writes);
        address += here;
        size -= here;
    }
}

void atomic_access(std::uintptr_t address, int size, bool writes) {
    word& w = word_at(address);
    if (writes) {
        check(others_at(w), w.read, mask_of(address, static_cast<std::size_t>(size)), "an atomic write", "a plain read", address);
    }
    mark(w, writes ? w.atomically_written : w.atomically_read, mask_of(address, static_cast<std::size_t>(size)));
}

std::int16_t& location_index(std::uintptr_t address, int size) {
    check_alive(address, static_cast<std::size_t>(size), "an atomic access", present_pc);
    word& w = word_at(address);
    w.atomic = true;
    check(others_at(w), w.written, mask_of(address, static_cast<std::size_t>(size)), "an atomic access", "a plain write", address);
    return w.location[address & 7];
}

void freed(std::uintptr_t begin, std::size_t size) {
    for (std::uintptr_t a = begin; a < begin + size; a += 8) {
        word& w = arena_words[(a - arena_begin) >> 3];
        if (w.execution == execution && w.block == block_at(a).serial) {
            const unsigned others = others_at(w);
            check(others, w.written, 0xff, "giving the memory back", "a plain write", a);
            check(others, w.atomically_written, 0xff, "giving the memory back", "an atomic write", a);
            check(others, w.read, 0xff, "giving the memory back", "a plain read", a);
            check(others, w.atomically_read, 0xff, "giving the memory back", "an atomic read", a);
        }
    }
}

void keep_global(std::uintptr_t address, std::size_t size) {
    for (std::uintptr_t a = address & ~std::uintptr_t{7}; a < address + size; a += 8) {
        if (!in_arena(a)) {
            static_cast<void>(word_at(a));
        }
    }
}

}  // namespace weir_model::engine
