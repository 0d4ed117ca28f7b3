// weir (BSL-1.0). threads: what a program asks of the system, answered by the engine: threads, locks, conditions, futexes, clocks.
#include "model.hpp"

#include "memory_model.hpp"
#include "races.hpp"
#include "scheduler.hpp"
#include "search.hpp"
#include "trace.hpp"

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>

// Outside of executions every call goes on to the C library. A mutex is a word that is 0 or its owner's number + 1, and goes
// through the memory model like any atomic, so that it hands over what it must and nothing more.

namespace weir_model::engine {
namespace {

/// The function of this name that the engine stands in for.
template <class Function>
Function* original(char const* name) {
    return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

[[nodiscard]] std::uintptr_t address_of(void const* p) noexcept { return reinterpret_cast<std::uintptr_t>(p); }

constexpr std::uint64_t second = 1'000'000'000;

[[nodiscard]] std::uint64_t time_of(timespec const& t) noexcept {
    if (t.tv_sec < 0) {
        return 0;
    }
    if (static_cast<std::uint64_t>(t.tv_sec) > never / second - 1) {
        return never - 1;
    }
    return static_cast<std::uint64_t>(t.tv_sec) * second + static_cast<std::uint64_t>(t.tv_nsec);
}
[[nodiscard]] std::uint64_t after(std::uint64_t duration) noexcept {
    const std::uint64_t now = virtual_now();
    return duration > never - 1 - now ? never - 1 : now + duration;
}
[[nodiscard]] timespec as_timespec(std::uint64_t ns) noexcept {
    return {static_cast<time_t>(ns / second), static_cast<long>(ns % second)};
}

// ---- locks: words of the memory model

void take_word(std::uintptr_t word, std::uint32_t value, char const* what, std::uintptr_t pc) {
    note_toucher(word, running());
    location& l = location_at(word, 4);
    atomic_access(word, 4, true);
    trace_atomic(what, acquire, l, value, 0, pc);
    read_from(l, l.newest(), acquire);
    write_to(l, value, acquire, true, pc);
}
void give_word(std::uintptr_t word, std::uint32_t value, char const* what, std::uintptr_t pc) {
    note_toucher(word, running());
    location& l = location_at(word, 4);
    atomic_access(word, 4, true);
    trace_atomic(what, release, l, value, 0, pc);
    write_to(l, value, release, false, pc);
}
[[nodiscard]] std::uint32_t word_value(std::uintptr_t word) noexcept { return *reinterpret_cast<std::uint32_t const volatile*>(word); }

[[nodiscard]] bool is_recursive(pthread_mutex_t const* m) noexcept { return (m->__data.__kind & 3) == PTHREAD_MUTEX_RECURSIVE_NP; }

int lock(pthread_mutex_t* m, std::uint64_t until, std::uintptr_t pc) {
    const std::uintptr_t word = address_of(&m->__data.__lock);
    const auto me = static_cast<std::uint32_t>(running()) + 1;
    if (word_value(word) == me) {
        if (is_recursive(m)) {
            ++m->__data.__count;
            return 0;
        }
        fail("T%d locks a mutex that it holds, at %s", running(), place_of(pc).c_str());
    }
    if (!step(word, {condition::kind::zero, word, until})) {
        return ETIMEDOUT;
    }
    take_word(word, me, "locks", pc);
    return 0;
}

void unlock_word(pthread_mutex_t* m, std::uintptr_t pc) {
    const std::uintptr_t word = address_of(&m->__data.__lock);
    if (word_value(word) != static_cast<std::uint32_t>(running()) + 1) {
        fail("T%d unlocks a mutex that it does not hold, at %s", running(), place_of(pc).c_str());
    }
    give_word(word, 0, "unlocks", pc);
}

// ---- queues of waiting threads: of conditions and of futexes

bool wait_in(std::uintptr_t queue, std::uint64_t until) {
    const bool woken = step(several_objects, {condition::kind::woken, queue, until});
    state_touches(queue, true);
    return woken;
}

int wait_on(pthread_cond_t* c, pthread_mutex_t* m, std::uint64_t until, std::uintptr_t pc) {
    step(several_objects);
    const std::uintptr_t queue = address_of(c);
    state_touches(queue, true);
    unlock_word(m, pc);
    trace_event("waits for", queue, 0, pc);
    const bool spurious = choose_spurious_failure();
    const bool woken = spurious || wait_in(queue, until);
    lock(m, never, pc);
    return woken ? 0 : ETIMEDOUT;
}

int notify(std::uintptr_t queue, int count, std::uintptr_t pc) {
    step(several_objects);
    state_touches(queue, true);
    trace_event(count == 1 ? "notifies one of" : "notifies all of", queue, 0, pc);
    return wake(queue, count);
}

long futex(std::uintptr_t word, int operation, std::uint32_t value, timespec const* timeout, std::uintptr_t pc) {
    const int command = operation & FUTEX_CMD_MASK;
    if (command == FUTEX_WAKE || command == FUTEX_WAKE_BITSET) {
        const auto count = static_cast<std::uint32_t>(std::numeric_limits<int>::max()) < value ? std::numeric_limits<int>::max()
                                                                                               : static_cast<int>(value);
        return notify(word, count, pc);
    }
    if (command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET) {
        fail("futex operation %d is not modelled", command);
    }
    step(several_objects);
    note_toucher(word, running());
    location& l = location_at(word, 4);
    state_touches(word, true);
    if (static_cast<std::uint32_t>(l.newest().value) != value) {
        trace_atomic("does not sleep on", relaxed, l, l.newest().value, 0, pc);
        note_read(pc, word, l.newest().value);
        *errno_of_running() = EAGAIN;
        return -1;
    }
    trace_atomic("sleeps on", relaxed, l, value, 0, pc);
    std::uint64_t until = never;
    if (timeout != nullptr) {
        until = command == FUTEX_WAIT ? after(time_of(*timeout)) : time_of(*timeout);
    }
    if (choose_spurious_failure()) {
        *errno_of_running() = EINTR;
        return -1;
    }
    if (!wait_in(word, until)) {
        *errno_of_running() = ETIMEDOUT;
        return -1;
    }
    return 0;
}

long membarrier(int command, std::uintptr_t pc) {
    switch (command) {
    case MEMBARRIER_CMD_QUERY: return MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED: return 0;
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
        step(heavy_fence_object);
        state_touches(heavy_fence_object, true);
        state_touches(sequential_object, true);
        if (order_at(pc, 'M', seq_cst) == dropped) {
            return 0;
        }
        heavy_fence();
        trace_event("membarrier", 0, 0, pc);
        return 0;
    default: *errno_of_running() = EINVAL; return -1;
    }
}

std::uint64_t read_clock(std::uintptr_t pc) {
    step(clock_object);
    state_touches(clock_object, false);
    note_read(pc, clock_object, 0);
    trace_event("reads the clock", 0, virtual_now(), pc);
    return virtual_now();
}

void sleep_until(std::uint64_t until, std::uintptr_t pc) {
    trace_event("sleeps until", 0, until, pc);
    static_cast<void>(step(clock_object, {condition::kind::time, 0, until}));
    state_touches(clock_object, false);
}

// The C library would otherwise tell std::shared_ptr and others that a single thread needs no atomics.
[[gnu::constructor]] void say_that_there_are_threads() { __libc_single_threaded = 0; }

}  // namespace
}  // namespace weir_model::engine

namespace en = weir_model::engine;
using en::entry;

#define WEIR_PC reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))
#define WEIR_ORIGINAL(name, ...) (en::original<decltype(name)>(#name)(__VA_ARGS__))

extern "C" {

// ---- threads

int pthread_create(pthread_t* id, pthread_attr_t const* attributes, void* (*body)(void*), void* argument) noexcept {
    const entry e;
    if (!e) {
        return WEIR_ORIGINAL(pthread_create, id, attributes, body, argument);
    }
    en::step(en::nothing_shared);
    *id = static_cast<pthread_t>(en::thread_count()) + 1;
    en::trace_event("starts a thread", 0, 0, WEIR_PC);
    en::start_thread([body, argument] { body(argument); });
    return 0;
}
int pthread_join(pthread_t id, void** value) {
    const entry e;
    if (!e) {
        return WEIR_ORIGINAL(pthread_join, id, value);
    }
    const int other = static_cast<int>(id) - 1;
    en::step(en::nothing_shared, {en::condition::kind::ended, static_cast<std::uintptr_t>(other), en::never});
    en::memory_joined(en::running(), other);
    en::trace_event("joins", 0, 0, WEIR_PC);
    return 0;
}
int pthread_detach(pthread_t id) noexcept {
    const entry e;
    if (!e) {
        return WEIR_ORIGINAL(pthread_detach, id);
    }
    en::fail("a thread is detached: every thread of a body is to be joined");
}
pthread_t pthread_self() noexcept {
    const entry e;
    return e ? static_cast<pthread_t>(en::running()) + 1 : WEIR_ORIGINAL(pthread_self);
}
int sched_yield() noexcept {
    const entry e;
    if (e) {
        en::give_way();
    }
    return 0;
}
int* __errno_location() noexcept {
    if (en::running() >= 0 && en::inside) {
        return en::errno_of_running();
    }
    static auto* const real = en::original<int*()>("__errno_location");
    return real();
}

// ---- locks

int pthread_mutex_lock(pthread_mutex_t* m) noexcept {
    const entry e;
    return e ? en::lock(m, en::never, WEIR_PC) : 0;
}
int pthread_mutex_trylock(pthread_mutex_t* m) noexcept {
    const entry e;
    if (!e) {
        return 0;
    }
    const std::uintptr_t word = en::address_of(&m->__data.__lock);
    const auto me = static_cast<std::uint32_t>(en::running()) + 1;
    if (en::word_value(word) == me && en::is_recursive(m)) {
        ++m->__data.__count;
        return 0;
    }
    en::step(word);
    if (en::word_value(word) != 0) {
        en::note_read(WEIR_PC, word, en::word_value(word));
        return EBUSY;
    }
    en::take_word(word, me, "locks", WEIR_PC);
    return 0;
}
int pthread_mutex_timedlock(pthread_mutex_t* m, timespec const* until) noexcept {
    const entry e;
    return e ? en::lock(m, en::time_of(*until), WEIR_PC) : 0;
}
int pthread_mutex_clocklock(pthread_mutex_t* m, clockid_t, timespec const* until) noexcept {
    const entry e;
    return e ? en::lock(m, en::time_of(*until), WEIR_PC) : 0;
}
int pthread_mutex_unlock(pthread_mutex_t* m) noexcept {
    const entry e;
    if (!e) {
        return 0;
    }
    if (m->__data.__count != 0) {
        --m->__data.__count;
        return 0;
    }
    en::step(en::address_of(&m->__data.__lock));
    en::unlock_word(m, WEIR_PC);
    return 0;
}

// A shared mutex: the first word is the writer's number + 1, the second one counts the readers.
int pthread_rwlock_wrlock(pthread_rwlock_t* l) noexcept {
    const entry e;
    if (!e) {
        return 0;
    }
    const std::uintptr_t word = en::address_of(l);
    for (;;) {
        en::step(word + 4, {en::condition::kind::zero, word + 4, en::never});
        if (en::word_value(word) == 0) {
            break;
        }
        en::step(word, {en::condition::kind::zero, word, en::never});
        if (en::word_value(word + 4) == 0) {
            break;
        }
    }
    en::take_word(word + 4, 0, "waits for readers of", WEIR_PC);
    en::take_word(word, static_cast<std::uint32_t>(en::running()) + 1, "locks", WEIR_PC);
    return 0;
}
int pthread_rwlock_rdlock(pthread_rwlock_t* l) noexcept {
    const entry e;
    if (!e) {
        return 0;
    }
    const std::uintptr_t word = en::address_of(l);
    en::step(word, {en::condition::kind::zero, word, en::never});
    en::take_word(word, 0, "waits for the writer of", WEIR_PC);
    en::take_word(word + 4, en::word_value(word + 4) + 1, "locks shared", WEIR_PC);
    return 0;
}
int pthread_rwlock_unlock(pthread_rwlock_t* l) noexcept {
    const entry e;
    if (!e) {
        return 0;
    }
    const std::uintptr_t word = en::address_of(l);
    en::step(en::several_objects);
    if (en::word_value(word) == static_cast<std::uint32_t>(en::running()) + 1) {
        en::give_word(word, 0, "unlocks", WEIR_PC);
    } else {
        en::location& readers = en::location_at(word + 4, 4);
        en::atomic_access(word + 4, 4, true);
        en::read_from(readers, readers.newest(), en::relaxed);
        en::write_to(readers, readers.newest().value - 1, en::release, true, WEIR_PC);
    }
    return 0;
}

// ---- conditions

int pthread_cond_wait(pthread_cond_t* c, pthread_mutex_t* m) {
    const entry e;
    return e ? en::wait_on(c, m, en::never, WEIR_PC) : 0;
}
int pthread_cond_timedwait(pthread_cond_t* c, pthread_mutex_t* m, timespec const* until) {
    const entry e;
    return e ? en::wait_on(c, m, en::time_of(*until), WEIR_PC) : 0;
}
int pthread_cond_clockwait(pthread_cond_t* c, pthread_mutex_t* m, clockid_t, timespec const* until) {
    const entry e;
    return e ? en::wait_on(c, m, en::time_of(*until), WEIR_PC) : 0;
}
int pthread_cond_signal(pthread_cond_t* c) noexcept {
    const entry e;
    if (e) {
        en::notify(en::address_of(c), 1, WEIR_PC);
    }
    return 0;
}
int pthread_cond_broadcast(pthread_cond_t* c) noexcept {
    const entry e;
    if (e) {
        en::notify(en::address_of(c), std::numeric_limits<int>::max(), WEIR_PC);
    }
    return 0;
}
int pthread_cond_destroy(pthread_cond_t*) noexcept { return 0; }

// ---- statics and thread_locals. A guard: the first byte says that the object is there, the next word that a thread makes it.

int __cxa_guard_acquire(long long* guard) {
    const entry e;
    if (!e) {
        return WEIR_ORIGINAL(__cxa_guard_acquire, guard);
    }
    const std::uintptr_t busy = en::address_of(guard) + 4;
    en::step(en::several_objects, {en::condition::kind::zero, busy, en::never});
    if (*reinterpret_cast<std::uint8_t const volatile*>(guard) != 0) {
        en::location& l = en::location_at(en::address_of(guard), 1);
            en::atomic_access(en::address_of(guard), 1, false);
        en::read_from(l, l.newest(), en::acquire);
        return 0;
    }
    en::take_word(busy, static_cast<std::uint32_t>(en::running()) + 1, "begins to make the static of", WEIR_PC);
    return 1;
}
void __cxa_guard_release(long long* guard) {
    const entry e;
    if (!e) {
        WEIR_ORIGINAL(__cxa_guard_release, guard);
        return;
    }
    en::step(en::several_objects);
    en::location& l = en::location_at(en::address_of(guard), 1);
    en::atomic_access(en::address_of(guard), 1, true);
    en::write_to(l, 1, en::release, false, WEIR_PC);
    en::give_word(en::address_of(guard) + 4, 0, "has made the static of", WEIR_PC);
}
void __cxa_guard_abort(long long* guard) {
    const entry e;
    if (!e) {
        WEIR_ORIGINAL(__cxa_guard_abort, guard);
        return;
    }
    en::step(en::several_objects);
    en::give_word(en::address_of(guard) + 4, 0, "gives up the static of", WEIR_PC);
}
int __cxa_atexit(void (*call)(void*), void* object, void* library) noexcept {
    const entry e;
    if (!e) {
        static auto* const real = en::original<int(void (*)(void*), void*, void*)>("__cxa_atexit");
        return real(call, object, library);
    }
    en::at_execution_exit(call, object);
    return 0;
}
int __cxa_thread_atexit(void (*call)(void*), void* object, void* library) noexcept {
    const entry e;
    if (!e) {
        static auto* const real = en::original<int(void (*)(void*), void*, void*)>("__cxa_thread_atexit");
        return real(call, object, library);
    }
    en::at_thread_exit(call, object);
    return 0;
}

// ---- time

int clock_gettime(clockid_t clock, timespec* now) noexcept {
    const entry e;
    if (!e) {
        static auto* const real = en::original<int(clockid_t, timespec*)>("clock_gettime");
        return real(clock, now);
    }
    *now = en::as_timespec(en::read_clock(WEIR_PC));
    return 0;
}
int gettimeofday(timeval* now, void* zone) noexcept {
    const entry e;
    if (!e) {
        return WEIR_ORIGINAL(gettimeofday, now, zone);
    }
    const timespec t = en::as_timespec(en::read_clock(WEIR_PC));
    *now = {t.tv_sec, t.tv_nsec / 1000};
    return 0;
}
int clock_nanosleep(clockid_t clock, int flags, timespec const* duration, timespec* left) {
    const entry e;
    if (!e) {
        return WEIR_ORIGINAL(clock_nanosleep, clock, flags, duration, left);
    }
    en::sleep_until((flags & TIMER_ABSTIME) != 0 ? en::time_of(*duration) : en::after(en::time_of(*duration)), WEIR_PC);
    return 0;
}
int nanosleep(timespec const* duration, timespec* left) {
    const entry e;
    if (!e) {
        return WEIR_ORIGINAL(nanosleep, duration, left);
    }
    en::sleep_until(en::after(en::time_of(*duration)), WEIR_PC);
    return 0;
}
int usleep(useconds_t microseconds) {
    const entry e;
    if (!e) {
        return WEIR_ORIGINAL(usleep, microseconds);
    }
    en::sleep_until(en::after(std::uint64_t{microseconds} * 1000), WEIR_PC);
    return 0;
}

// ---- the rest

ssize_t getrandom(void* out, std::size_t bytes, unsigned flags) {
    const entry e;
    if (!e) {
        return WEIR_ORIGINAL(getrandom, out, bytes, flags);
    }
    std::memset(out, 0x5a, bytes);  // the same in each execution
    return static_cast<ssize_t>(bytes);
}
clock_t clock() noexcept {
    const entry e;
    return e ? 0 : WEIR_ORIGINAL(clock);
}
int timespec_get(timespec* now, int base) noexcept {
    const entry e;
    if (!e) {
        return WEIR_ORIGINAL(timespec_get, now, base);
    }
    *now = en::as_timespec(en::virtual_now());
    return base;
}
void abort() noexcept {
    if (en::inside) {
        en::inside = false;
        en::fail("the program called abort, or an exception met no handler, at %s", en::place_of(WEIR_PC).c_str());
    }
    static auto* const real = en::original<void()>("abort");
    real();
    __builtin_unreachable();
}
void __assert_fail(char const* what, char const* file, unsigned line, char const* function) noexcept {
    if (en::inside) {
        en::inside = false;
        en::fail("assertion `%s` failed at %s:%u", what, file, line);
    }
    static auto* const real = en::original<void(char const*, char const*, unsigned, char const*)>("__assert_fail");
    real(what, file, line, function);
    __builtin_unreachable();
}

long syscall(long number, ...) noexcept {
    std::va_list list;
    va_start(list, number);
    long a[6];
    for (long& x : a) {
        x = va_arg(list, long);
    }
    va_end(list);
    {
        const entry e;
        if (e) {
            switch (number) {
            case SYS_futex:
                return en::futex(static_cast<std::uintptr_t>(a[0]), static_cast<int>(a[1]), static_cast<std::uint32_t>(a[2]),
                                 reinterpret_cast<timespec const*>(a[3]), WEIR_PC);
            case SYS_membarrier: return en::membarrier(static_cast<int>(a[0]), WEIR_PC);
            case SYS_gettid: return en::running() + 1;
            default: en::fail("system call %ld is not modelled", number);
            }
        }
    }
    static auto* const real = en::original<long(long, long, long, long, long, long, long)>("syscall");
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

}  // extern "C"

// ---- processors: as many on each machine, or executions would differ

unsigned std::thread::hardware_concurrency() noexcept {
    if (en::inside) {
        return 2;
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? static_cast<unsigned>(online) : 0;
}

// ---- threads that may be frozen

namespace weir_model {

thread::thread(std::function<void()> body) {
    const entry e;
    en::step(en::nothing_shared);
    id_ = en::thread_count();
    en::start_thread(std::move(body));
}
thread::~thread() {
    if (!joined_) {
        const entry e;
        en::fail("a thread was not joined");
    }
}
bool thread::join() {
    const entry e;
    joined_ = true;
    en::step(en::nothing_shared, {en::condition::kind::ended_or_frozen, static_cast<std::uintptr_t>(id_), en::never});
    if (en::is_frozen(id_)) {
        return false;
    }
    en::memory_joined(en::running(), id_);
    return true;
}

}  // namespace weir_model
