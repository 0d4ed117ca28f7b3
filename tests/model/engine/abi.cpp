// weir (BSL-1.0). abi: the calls that -fsanitize=thread puts into the program, answered by the engine.
#include "arena.hpp"
#include "memory_model.hpp"
#include "races.hpp"
#include "scheduler.hpp"
#include "search.hpp"
#include "trace.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

// Outside of executions, and within the engine, each call does what its name says and nothing else.

namespace weir_model::engine {
namespace {

__extension__ using wide = unsigned __int128;

template <class T>
[[nodiscard]] std::uintptr_t address_of(T const volatile* at) noexcept {
    return reinterpret_cast<std::uintptr_t>(at);
}

// Only its own thread reaches a thread_local: the scheduler swaps the whole block, so that it needs no model.
template <class T>
[[nodiscard]] bool modelled(entry const& e, T const volatile* at) noexcept {
    return static_cast<bool>(e) && !is_thread_local(address_of(at));
}

void touch_sequential(int order) {
    if (order == seq_cst) {
        state_touches(sequential_object, false);
    }
}

template <class T>
T load(T const volatile* at, int order, std::uintptr_t pc) {
    const entry e;
    if (!modelled(e, at)) {
        return *at;
    }
    order = order_at(pc, 'L', order);
    step(address_of(at), {}, order != seq_cst);  // what a seq_cst load has read limits those that come later
    location& l = location_at(address_of(at), sizeof(T));
    touch_sequential(order);
    atomic_access(address_of(at), sizeof(T), false);
    const int age = choose_store(l, reads_newest() ? 1 : readable(l, order));
    store& from = l.back(age);
    trace_atomic("load", order, l, from.value, age, pc);
    read_from(l, from, order);
    note_read(pc, address_of(at), from.value);
    return static_cast<T>(from.value);
}

template <class T>
void store_to(T volatile* at, T value, int order, std::uintptr_t pc) {
    const entry e;
    if (!modelled(e, at)) {
        *at = value;
        return;
    }
    order = order_at(pc, 'S', order);
    step(address_of(at));
    location& l = location_at(address_of(at), sizeof(T));
    touch_sequential(order);
    atomic_access(address_of(at), sizeof(T), true);
    write_to(l, static_cast<std::uint64_t>(value), order, false, pc);
    trace_atomic("store", order, l, l.newest().value, 0, pc);
}

template <class T, class Change>
T modify(T volatile* at, int order, std::uintptr_t pc, Change change) {
    const entry e;
    if (!modelled(e, at)) {
        const T before = *at;
        *at = change(before);
        return before;
    }
    order = order_at(pc, 'R', order);
    step(address_of(at));
    location& l = location_at(address_of(at), sizeof(T));
    touch_sequential(order);
    atomic_access(address_of(at), sizeof(T), true);
    const T before = static_cast<T>(l.newest().value);
    trace_atomic("read-modify-write", order, l, static_cast<std::uint64_t>(change(before)), 0, pc);
    read_from(l, l.newest(), order);
    write_to(l, static_cast<std::uint64_t>(change(before)), order, true, pc);
    if (change(before) == before) {
        note_read(pc, address_of(at), before);
    }
    return before;
}

// A failure is a load, and may return what is not the newest, unless that is what was expected: then it has to look again.
template <class T>
bool compare_exchange(T volatile* at, T* expected, T desired, int order, int failure, bool weak, std::uintptr_t pc) {
    const entry e;
    if (!modelled(e, at)) {
        const T before = *at;
        if (before == *expected) {
            *at = desired;
            return true;
        }
        *expected = before;
        return false;
    }
    order = order_at(pc, 'C', order);
    failure = order_at(pc, 'c', failure);
    step(address_of(at));
    location& l = location_at(address_of(at), sizeof(T));
    atomic_access(address_of(at), sizeof(T), false);
    int ages[location::depth];
    int candidates = 0;
    const int window = reads_newest() ? 1 : readable(l, failure);
    for (int age = 0; age < window; ++age) {
        if (age == 0 || static_cast<T>(l.back(age).value) != *expected) {
            ages[candidates++] = age;
        }
    }
    const int age = ages[choose_store(l, candidates)];
    const bool equal = static_cast<T>(l.back(age).value) == *expected;
    if (equal && !(weak && choose_spurious_failure())) {
        touch_sequential(order);
        atomic_access(address_of(at), sizeof(T), true);
        trace_atomic("compare-exchange", order, l, static_cast<std::uint64_t>(desired), 0, pc);
        read_from(l, l.newest(), order);
        write_to(l, static_cast<std::uint64_t>(desired), order, true, pc);
        return true;
    }
    touch_sequential(failure);
    store& from = l.back(age);
    trace_atomic(equal ? "compare-exchange fails spuriously" : "compare-exchange fails", failure, l, from.value, age, pc);
    read_from(l, from, failure);
    note_read(pc, address_of(at), from.value);
    *expected = static_cast<T>(from.value);
    return false;
}

// Two locations of eight bytes, changed in one step: so that either half may also be used alone.
bool compare_exchange_wide(wide volatile* at, wide* expected, wide desired, int order, int failure, std::uintptr_t pc) {
    const entry e;
    if (!e) {
        const wide before = *at;
        if (before == *expected) {
            *at = desired;
            return true;
        }
        *expected = before;
        return false;
    }
    order = order_at(pc, 'C', order);
    failure = order_at(pc, 'c', failure);
    step(several_objects);
    const std::uintptr_t address = address_of(at);
    note_toucher(address, running());
    note_toucher(address + 8, running());
    location* const half[2] = {&location_at(address, 8), &location_at(address + 8, 8)};
    const std::uint64_t wanted[2] = {static_cast<std::uint64_t>(*expected), static_cast<std::uint64_t>(*expected >> 64)};
    const std::uint64_t values[2] = {static_cast<std::uint64_t>(desired), static_cast<std::uint64_t>(desired >> 64)};
    // A failure reads like two loads, and may be an old one; a success reads the newest.
    int ages[2];
    bool differ = false;
    for (int i = 0; i < 2; ++i) {
        ages[i] = choose_store(*half[i], reads_newest() ? 1 : readable(*half[i], failure));
        differ = differ || half[i]->back(ages[i]).value != wanted[i];
    }
    const bool equal = !differ && half[0]->newest().value == wanted[0] && half[1]->newest().value == wanted[1];
    if (!differ) {
        ages[0] = ages[1] = 0;
    }
    for (int i = 0; i < 2; ++i) {
        atomic_access(address + static_cast<std::uintptr_t>(8 * i), 8, equal);
        trace_atomic(equal ? "16-byte compare-exchange" : "16-byte compare-exchange fails", equal ? order : failure, *half[i],
                     equal ? values[i] : half[i]->back(ages[i]).value, equal ? 0 : ages[i], pc);
        read_from(*half[i], half[i]->back(ages[i]), equal ? order : failure);
    }
    touch_sequential(equal ? order : failure);
    if (!equal) {
        *expected = static_cast<wide>(half[1]->back(ages[1]).value) << 64 | half[0]->back(ages[0]).value;
        note_read(pc, address, half[0]->back(ages[0]).value ^ half[1]->back(ages[1]).value);
        return false;
    }
    write_both(*half[0], values[0], *half[1], values[1], order, pc);
    return true;
}

void thread_fence(int order, std::uintptr_t pc) {
    const entry e;
    if (!e) {
        return;
    }
    order = order_at(pc, 'F', order);
    if (order == relaxed || order == dropped) {
        return;
    }
    if (order == seq_cst) {  // the others change nothing that another thread could see
        step(sequential_object);
        state_touches(sequential_object, true);
        state_touches(heavy_fence_object, false);
    }
    fence(order);
    trace_event("fence", 0, 0, pc);
}

void signal_fence(int order, std::uintptr_t pc) {
    const entry e;
    if (!e) {
        return;
    }
    order = order_at(pc, 'G', order);
    if (order != seq_cst) {
        return;
    }
    step(heavy_fence_object);
    state_touches(heavy_fence_object, false);
    light_fence();
    trace_event("compiler's fence", 0, 0, pc);
}

void ignore(bool writes, int change) {
    const entry e;
    if (e) {
        ignored(writes) += change;
    }
}

void access(void const volatile* at, std::size_t size, bool writes, std::uintptr_t pc) {
    const entry e;
    if (!modelled(e, static_cast<char const volatile*>(at)) || ignored(writes) != 0) {
        return;
    }
    plain_access(reinterpret_cast<std::uintptr_t>(at), size, writes, pc);
}

void* allocate(std::size_t size, std::size_t alignment, std::uintptr_t pc) {
    const entry e;
    if (!e) {
        return alignment <= alignof(std::max_align_t) ? std::malloc(size == 0 ? 1 : size)
                                                      : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    }
    return arena_allocate(size, alignment, pc);
}
void* allocate_or_throw(std::size_t size, std::size_t alignment, std::uintptr_t pc) {
    void* const p = allocate(size, alignment, pc);
    if (p == nullptr) {
        throw std::bad_alloc();
    }
    return p;
}
void release_memory(void* p, std::uintptr_t pc) {
    const entry e;
    if (p == nullptr) {
        return;
    }
    if (!in_arena(reinterpret_cast<std::uintptr_t>(p))) {
        std::free(p);
    } else if (running() >= 0) {
        arena_free(p, pc);
    }
}

}  // namespace
}  // namespace weir_model::engine

namespace en = weir_model::engine;

#define WEIR_PC reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))

extern "C" {

#define WEIR_ATOMICS(bits, T)                                                                                              \
    T __tsan_atomic##bits##_load(T const volatile* a, int o) { return en::load(a, o, WEIR_PC); }                           \
    void __tsan_atomic##bits##_store(T volatile* a, T v, int o) { en::store_to(a, v, o, WEIR_PC); }                        \
    T __tsan_atomic##bits##_exchange(T volatile* a, T v, int o) {                                                          \
        return en::modify(a, o, WEIR_PC, [v](T) { return v; });                                                            \
    }                                                                                                                      \
    T __tsan_atomic##bits##_fetch_add(T volatile* a, T v, int o) {                                                         \
        return en::modify(a, o, WEIR_PC, [v](T b) { return static_cast<T>(b + v); });                                      \
    }                                                                                                                      \
    T __tsan_atomic##bits##_fetch_sub(T volatile* a, T v, int o) {                                                         \
        return en::modify(a, o, WEIR_PC, [v](T b) { return static_cast<T>(b - v); });                                      \
    }                                                                                                                      \
    T __tsan_atomic##bits##_fetch_and(T volatile* a, T v, int o) {                                                         \
        return en::modify(a, o, WEIR_PC, [v](T b) { return static_cast<T>(b & v); });                                      \
    }                                                                                                                      \
    T __tsan_atomic##bits##_fetch_or(T volatile* a, T v, int o) {                                                          \
        return en::modify(a, o, WEIR_PC, [v](T b) { return static_cast<T>(b | v); });                                      \
    }                                                                                                                      \
    T __tsan_atomic##bits##_fetch_xor(T volatile* a, T v, int o) {                                                         \
        return en::modify(a, o, WEIR_PC, [v](T b) { return static_cast<T>(b ^ v); });                                      \
    }                                                                                                                      \
    T __tsan_atomic##bits##_fetch_nand(T volatile* a, T v, int o) {                                                        \
        return en::modify(a, o, WEIR_PC, [v](T b) { return static_cast<T>(~(b & v)); });                                   \
    }                                                                                                                      \
    int __tsan_atomic##bits##_compare_exchange_strong(T volatile* a, T* c, T v, int o, int f) {                            \
        return en::compare_exchange(a, c, v, o, f, false, WEIR_PC);                                                        \
    }                                                                                                                      \
    int __tsan_atomic##bits##_compare_exchange_weak(T volatile* a, T* c, T v, int o, int f) {                              \
        return en::compare_exchange(a, c, v, o, f, true, WEIR_PC);                                                         \
    }                                                                                                                      \
    T __tsan_atomic##bits##_compare_exchange_val(T volatile* a, T c, T v, int o, int f) {                                  \
        en::compare_exchange(a, &c, v, o, f, false, WEIR_PC);                                                              \
        return c;                                                                                                          \
    }
WEIR_ATOMICS(8, std::uint8_t)
WEIR_ATOMICS(16, std::uint16_t)
WEIR_ATOMICS(32, std::uint32_t)
WEIR_ATOMICS(64, std::uint64_t)
#undef WEIR_ATOMICS

int __tsan_atomic128_compare_exchange_strong(en::wide volatile* a, en::wide* c, en::wide v, int o, int f) {
    return en::compare_exchange_wide(a, c, v, o, f, WEIR_PC);
}
int __tsan_atomic128_compare_exchange_weak(en::wide volatile* a, en::wide* c, en::wide v, int o, int f) {
    return en::compare_exchange_wide(a, c, v, o, f, WEIR_PC);
}
en::wide __tsan_atomic128_compare_exchange_val(en::wide volatile* a, en::wide c, en::wide v, int o, int f) {
    en::compare_exchange_wide(a, &c, v, o, f, WEIR_PC);
    return c;
}

void __tsan_atomic_thread_fence(int o) { en::thread_fence(o, WEIR_PC); }
void __tsan_atomic_signal_fence(int o) { en::signal_fence(o, WEIR_PC); }

#define WEIR_ACCESSES(size)                                                                                   \
    void __tsan_read##size(void* a) { en::access(a, size, false, WEIR_PC); }                                  \
    void __tsan_write##size(void* a) { en::access(a, size, true, WEIR_PC); }                                  \
    void __tsan_unaligned_read##size(void* a) { en::access(a, size, false, WEIR_PC); }                        \
    void __tsan_unaligned_write##size(void* a) { en::access(a, size, true, WEIR_PC); }                        \
    void __tsan_volatile_read##size(void* a) { en::access(a, size, false, WEIR_PC); }                         \
    void __tsan_volatile_write##size(void* a) { en::access(a, size, true, WEIR_PC); }                         \
    void __tsan_unaligned_volatile_read##size(void* a) { en::access(a, size, false, WEIR_PC); }               \
    void __tsan_unaligned_volatile_write##size(void* a) { en::access(a, size, true, WEIR_PC); }               \
    void __tsan_read_write##size(void* a) { en::access(a, size, true, WEIR_PC); }                             \
    void __tsan_unaligned_read_write##size(void* a) { en::access(a, size, true, WEIR_PC); }
WEIR_ACCESSES(1)
WEIR_ACCESSES(2)
WEIR_ACCESSES(4)
WEIR_ACCESSES(8)
WEIR_ACCESSES(16)
#undef WEIR_ACCESSES

void __tsan_read_range(void* a, std::size_t n) { en::access(a, n, false, WEIR_PC); }
void __tsan_write_range(void* a, std::size_t n) { en::access(a, n, true, WEIR_PC); }
void __tsan_vptr_update(void** a, void*) { en::access(a, sizeof *a, true, WEIR_PC); }
void __tsan_vptr_read(void** a) { en::access(a, sizeof *a, false, WEIR_PC); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void __tsan_ignore_thread_begin() {}
void __tsan_ignore_thread_end() {}

void AnnotateIgnoreReadsBegin(char const*, int) { en::ignore(false, 1); }
void AnnotateIgnoreReadsEnd(char const*, int) { en::ignore(false, -1); }
void AnnotateIgnoreWritesBegin(char const*, int) { en::ignore(true, 1); }
void AnnotateIgnoreWritesEnd(char const*, int) { en::ignore(true, -1); }

// g++ leaves calls of these as they are, clang calls the other names; the linker sends both here.
void* __real_memcpy(void* to, void const* from, std::size_t n);
void* __real_memmove(void* to, void const* from, std::size_t n);
void* __real_memset(void* to, int value, std::size_t n);
void* __wrap_memcpy(void* to, void const* from, std::size_t n) {
    if (en::inside) {
        en::access(from, n, false, WEIR_PC);
        en::access(to, n, true, WEIR_PC);
    }
    return __real_memcpy(to, from, n);
}
void* __wrap_memmove(void* to, void const* from, std::size_t n) {
    if (en::inside) {
        en::access(from, n, false, WEIR_PC);
        en::access(to, n, true, WEIR_PC);
    }
    return __real_memmove(to, from, n);
}
void* __wrap_memset(void* to, int value, std::size_t n) {
    if (en::inside) {
        en::access(to, n, true, WEIR_PC);
    }
    return __real_memset(to, value, n);
}
void* __tsan_memcpy(void* to, void const* from, std::size_t n) {
    en::access(from, n, false, WEIR_PC);
    en::access(to, n, true, WEIR_PC);
    return __real_memcpy(to, from, n);
}
void* __tsan_memmove(void* to, void const* from, std::size_t n) {
    en::access(from, n, false, WEIR_PC);
    en::access(to, n, true, WEIR_PC);
    return __real_memmove(to, from, n);
}
void* __tsan_memset(void* to, int value, std::size_t n) {
    en::access(to, n, true, WEIR_PC);
    return __real_memset(to, value, n);
}

}  // extern "C"

void* operator new(std::size_t n) { return en::allocate_or_throw(n, 1, WEIR_PC); }
void* operator new[](std::size_t n) { return en::allocate_or_throw(n, 1, WEIR_PC); }
void* operator new(std::size_t n, std::align_val_t a) { return en::allocate_or_throw(n, static_cast<std::size_t>(a), WEIR_PC); }
void* operator new[](std::size_t n, std::align_val_t a) { return en::allocate_or_throw(n, static_cast<std::size_t>(a), WEIR_PC); }
void* operator new(std::size_t n, std::nothrow_t const&) noexcept { return en::allocate(n, 1, WEIR_PC); }
void* operator new[](std::size_t n, std::nothrow_t const&) noexcept { return en::allocate(n, 1, WEIR_PC); }
void* operator new(std::size_t n, std::align_val_t a, std::nothrow_t const&) noexcept {
    return en::allocate(n, static_cast<std::size_t>(a), WEIR_PC);
}
void* operator new[](std::size_t n, std::align_val_t a, std::nothrow_t const&) noexcept {
    return en::allocate(n, static_cast<std::size_t>(a), WEIR_PC);
}
void operator delete(void* p) noexcept { en::release_memory(p, WEIR_PC); }
void operator delete[](void* p) noexcept { en::release_memory(p, WEIR_PC); }
void operator delete(void* p, std::size_t) noexcept { en::release_memory(p, WEIR_PC); }
void operator delete[](void* p, std::size_t) noexcept { en::release_memory(p, WEIR_PC); }
void operator delete(void* p, std::align_val_t) noexcept { en::release_memory(p, WEIR_PC); }
void operator delete[](void* p, std::align_val_t) noexcept { en::release_memory(p, WEIR_PC); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { en::release_memory(p, WEIR_PC); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { en::release_memory(p, WEIR_PC); }
void operator delete(void* p, std::nothrow_t const&) noexcept { en::release_memory(p, WEIR_PC); }
void operator delete[](void* p, std::nothrow_t const&) noexcept { en::release_memory(p, WEIR_PC); }
void operator delete(void* p, std::align_val_t, std::nothrow_t const&) noexcept { en::release_memory(p, WEIR_PC); }
void operator delete[](void* p, std::align_val_t, std::nothrow_t const&) noexcept { en::release_memory(p, WEIR_PC); }
