// weir (BSL-1.0). scheduler: the threads under test, each a fiber, of which one runs.
#include "scheduler.hpp"

#include "arena.hpp"
#include "races.hpp"
#include "search.hpp"
#include "trace.hpp"

#include <cxxabi.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

// Saves the callee's registers on the stack, leaves the stack pointer in *save and goes on with the other stack.
extern "C" void weir_model_switch(void** save, void* to);
asm(".text\n.globl weir_model_switch\n.type weir_model_switch,@function\nweir_model_switch:\n"
    " push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
    " mov %rsp,(%rdi)\n mov %rsi,%rsp\n"
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n"
    ".size weir_model_switch,.-weir_model_switch\n");

namespace weir_model::engine {
namespace {

constexpr std::size_t stack_size = 256U << 10;
constexpr std::size_t guard_size = 4096;
constexpr std::uint64_t time_zero = 1'000'000'000;
constexpr std::uint64_t idle_tick = 1'000'000;  // ns by which time goes on for those who poll the clock
constexpr int most_idle_rounds = 40;
constexpr int most_looks = 20;  // at one place, at one value, while nobody writes: then a thread is taken to wait for another

struct exit_call {
    destructor call;
    void* object;
};

struct sighting {
    std::uintptr_t pc, address;
    std::uint64_t value;
    int times;
};

struct fiber {
    enum class state : std::uint8_t { none, alive, ended, frozen } is = state::none;
    condition waits;
    bool woken = false;
    bool late = false;       // its deadline has passed
    bool polite = false;     // would rather not be next
    bool spinning = false;   // waits for somebody's write
    bool fresh = false;      // reads the newest values: it has spun for long enough
    bool polls_clock = false;
    bool starting = false;   // runs for the first time, up to its first step, within the call that created it
    int parent = -1;
    std::uint64_t spun_at = 0;  // the number of writes when it began to
    std::uint64_t seen_at = 0;  // ... when `seen` was begun
    int seen_count = 0;
    sighting seen[8];
    std::unique_ptr<std::function<void()>> body;
    std::vector<exit_call> at_exit;
    std::uint64_t steps = 0;
    bool in_interval = false;
    std::uint32_t interval_first = 0;  // the first step since begin_interval
    std::uint32_t last_step = 0;
    int error = 0;
    int ignored[2]{};  // open annotations: of reads, of writes
    void* stack_pointer = nullptr;
    char exceptions[16];  // of __cxa_get_globals
};

fiber fibers[max_threads];
char* stacks[max_threads];
std::vector<char> locals[max_threads];  // each thread's thread_local block while it does not run
int& count = now::threads;
int& current = now::running;
void* host_stack;
std::uint32_t& step_number = now::step;
std::uint64_t writes, now_ns;
int idle_rounds;
std::vector<exit_call> at_end;

// ---- thread_local

char*& local_block = now::local_block;
std::size_t& local_size = now::local_size;
std::vector<char> local_image;

int find_locals(dl_phdr_info* info, std::size_t, void*) {
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        auto const& segment = info->dlpi_phdr[i];
        if (segment.p_type == PT_TLS && info->dlpi_tls_data != nullptr) {
            local_block = static_cast<char*>(info->dlpi_tls_data);
            local_size = segment.p_memsz;
            local_image.assign(local_size, 0);
            std::memcpy(local_image.data(), reinterpret_cast<void const*>(info->dlpi_addr + segment.p_vaddr), segment.p_filesz);
        }
    }
    return 1;  // the program itself comes first; the libraries' blocks are not ours to swap
}

void save_context(int t) {
    std::memcpy(fibers[t].exceptions, abi::__cxa_get_globals(), sizeof fibers[t].exceptions);
    std::memcpy(locals[t].data(), local_block, local_size);
}
void load_context(int t) {
    std::memcpy(static_cast<void*>(abi::__cxa_get_globals()), fibers[t].exceptions, sizeof fibers[t].exceptions);
    std::memcpy(local_block, locals[t].data(), local_size);
}

void switch_to(int next) {
    if (next == current) {
        return;
    }
    const int before = current;
    save_context(before);
    current = next;
    load_context(next);
    weir_model_switch(&fibers[before].stack_pointer, fibers[next].stack_pointer);
}

// ---- who may go on

[[nodiscard]] bool holds(fiber const& f) noexcept {
    switch (f.waits.what) {
    case condition::kind::none: return true;
    case condition::kind::zero: return *reinterpret_cast<std::uint32_t const volatile*>(f.waits.object) == 0;
    case condition::kind::ended: return has_ended(static_cast<int>(f.waits.object));
    case condition::kind::ended_or_frozen:
        return has_ended(static_cast<int>(f.waits.object)) || is_frozen(static_cast<int>(f.waits.object));
    case condition::kind::woken: return f.woken;
    case condition::kind::time: return false;
    }
    return false;
}
[[nodiscard]] bool ready(fiber const& f) noexcept {
    return f.is == fiber::state::alive && !(f.spinning && f.spun_at == writes) && (f.late || f.waits.until <= now_ns || holds(f));
}
[[nodiscard]] bool waits_for_time(fiber const& f) noexcept {
    return f.is == fiber::state::alive && f.waits.until != never && !f.late && !holds(f);
}

void pass_deadline(int t) {
    fibers[t].late = true;
    if (now_ns < fibers[t].waits.until) {
        now_ns = fibers[t].waits.until;
        ++writes;
    }
    state_touches(clock_object, true);
    state_decides(t);
    wake_sleepers(clock_object, false);
}

[[nodiscard]] unsigned earliest_deadline() noexcept {
    std::uint64_t earliest = never;
    unsigned who = 0;
    for (int t = 0; t < count; ++t) {
        if (waits_for_time(fibers[t]) && fibers[t].waits.until <= earliest) {
            who = fibers[t].waits.until == earliest ? who | 1U << t : 1U << t;
            earliest = fibers[t].waits.until;
        }
    }
    return who;
}

// Nobody can go on as things are. Returns if that has changed.
void idle() {
    bool spinners = false;
    bool pollers = false;
    bool only_joins = true;  // somebody waits for something else than the end of a frozen thread
    for (int t = 0; t < count; ++t) {
        fiber& f = fibers[t];
        if (f.is != fiber::state::alive) {
            continue;
        }
        spinners = spinners || f.spinning;
        pollers = pollers || (f.spinning && f.polls_clock);
        only_joins = only_joins && f.waits.what == condition::kind::ended && is_frozen(static_cast<int>(f.waits.object));
    }
    if (spinners && ++idle_rounds <= most_idle_rounds) {
        if (pollers) {
            now_ns += idle_tick << idle_rounds / 2;
        }
        for (int t = 0; t < count; ++t) {
            fibers[t].fresh = fibers[t].spinning;
            fibers[t].spinning = false;
            fibers[t].seen_count = 0;
        }
        return;
    }
    if (const unsigned first = earliest_deadline()) {
        idle_rounds = 0;
        pass_deadline(__builtin_ctz(first));
        return;
    }
    char const* const how = spinners ? "spin for ever" : "wait for ever";
    if (any_frozen()) {
        fail(only_joins ? "a frozen thread is joined: use weir_model::thread%s" : "not lock-free: one thread is frozen, and the others %s",
             only_joins ? "" : how);
    }
    fail("%s: all threads %s", spinners ? "livelock" : "deadlock", how);
}

// `object`: what the running thread wants to do next, if it is to go on.
int pick(std::uintptr_t object) {
    for (;;) {
        unsigned can = 0;
        for (int t = 0; t < count; ++t) {
            can |= ready(fibers[t]) ? 1U << t : 0;
        }
        if (can == 0) {
            idle();
            continue;
        }
        const unsigned late = timeouts_left() ? earliest_deadline() & ~can : 0;
        fiber& me = fibers[current];
        const bool stay = (can >> current & 1) != 0 && !(me.polite && (can & ~(1U << current)) != 0);
        me.polite = false;
        if (me.is == fiber::state::alive && (can >> current & 1) == 0) {
            wake_for_the_blocked();
        }
        const unsigned avoided = late | (stay ? 0 : 1U << current);
        const int next = choose_thread(can | late, late, stay ? current : -1, avoided, object);
        if ((late >> next & 1) != 0) {
            pass_deadline(next);
        }
        return next;
    }
}

// ---- a fiber's life

void run_exit_calls(std::vector<exit_call>& calls) {
    while (!calls.empty()) {
        const exit_call c = calls.back();
        calls.pop_back();
        inside = true;
        c.call(c.object);
        inside = false;
    }
}

[[noreturn]] void end_of_first() {
    for (int t = 1; t < count; ++t) {
        if (fibers[t].is == fiber::state::alive) {
            fail("the body ended before thread T%d, which was not joined", t);
        }
    }
    run_exit_calls(at_end);
    if (chosen().check_leaks && live_bytes() != 0 && !any_frozen()) {
        std::size_t bytes = 0;
        const std::uintptr_t first = oldest_live(bytes);
        fail("leak: %zu bytes are live at the end; the oldest block, of %zu bytes, was allocated at %s", live_bytes(), bytes,
             allocation_place(first).c_str());
    }
    end_execution();
}

[[noreturn]] void fiber_main() noexcept {
    {
        std::function<void()> body = std::move(*fibers[current].body);
        inside = true;
        body();
        body = nullptr;  // its captures go while the thread still runs
        inside = false;
    }
    run_exit_calls(fibers[current].at_exit);
    trace_event("ends", 0, 0, 0);
    fibers[current].is = fiber::state::ended;
    note_write();
    if (fibers[current].starting) {
        fibers[current].starting = false;
        switch_to(fibers[current].parent);
    }
    if (current == 0) {
        fibers[0].is = fiber::state::alive;  // statics are destroyed by the first thread
        end_of_first();
    }
    switch_to(pick(several_objects));
    std::abort();
}

void on_fault(int signal_number, siginfo_t* info, void*) {
    if (current < 0) {
        signal(signal_number, SIG_DFL);
        return;
    }
    inside = false;
    fail("the program crashed: signal %d at address %p", signal_number, info->si_addr);
}

void set_up() {
    if (stacks[0] != nullptr) {
        return;
    }
    dl_iterate_phdr(find_locals, nullptr);
    for (int t = 0; t < max_threads; ++t) {
        void* const p = mmap(nullptr, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED || mprotect(p, guard_size, PROT_NONE) != 0) {
            std::abort();
        }
        stacks[t] = static_cast<char*>(p);
        locals[t].resize(local_size);
    }
    static char alternative[64U << 10];
    const stack_t other{alternative, 0, sizeof alternative};
    sigaltstack(&other, nullptr);
    struct sigaction act {};
    act.sa_sigaction = on_fault;
    act.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &act, nullptr);
    sigaction(SIGBUS, &act, nullptr);
    sigaction(SIGFPE, &act, nullptr);
}

}  // namespace

std::uint64_t state_of_threads() noexcept {
    std::uint64_t flags = now_ns;
    for (int t = 0; t < count; ++t) {
        fiber const& f = fibers[t];
        flags = flags * 4 + (f.spinning && f.spun_at == writes ? 1U : 0U) + (f.fresh ? 2U : 0U);
    }
    return flags;
}
std::uint64_t steps_of_running() noexcept { return fibers[current].steps; }
std::uint64_t virtual_now() noexcept { return now_ns; }
int& ignored(bool writes_them) noexcept { return fibers[current].ignored[writes_them ? 1 : 0]; }
void begin_interval() noexcept {
    fibers[current].interval_first = 0;
    fibers[current].in_interval = true;
}
void end_interval(std::uint32_t& first, std::uint32_t& last) noexcept {
    fiber& f = fibers[current];
    first = f.interval_first == 0 ? step_number : f.interval_first;
    last = f.interval_first == 0 ? step_number : f.last_step;
    f.in_interval = false;
    state_returns();
}
int* errno_of_running() noexcept { return &fibers[current].error; }
bool has_ended(int thread) noexcept { return fibers[thread].is == fiber::state::ended; }
bool is_frozen(int thread) noexcept { return fibers[thread].is == fiber::state::frozen; }
bool any_frozen() noexcept {
    for (int t = 0; t < count; ++t) {
        if (is_frozen(t)) {
            return true;
        }
    }
    return false;
}
bool on_a_stack(std::uintptr_t address) noexcept {
    for (char const* stack : stacks) {
        if (address - reinterpret_cast<std::uintptr_t>(stack) < stack_size) {
            return true;
        }
    }
    return false;
}
std::string stack_name(std::uintptr_t address) {
    for (int t = 0; t < max_threads; ++t) {
        const std::uintptr_t top = reinterpret_cast<std::uintptr_t>(stacks[t]) + stack_size;
        if (address < top && top - address <= stack_size) {
            char text[64];
            std::snprintf(text, sizeof text, "T%d's stack-0x%zx", t, static_cast<std::size_t>(top - address));
            return text;
        }
    }
    return {};
}

void fail(char const* format, ...) {
    inside = false;
    char text[1200];
    std::va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    trace_failure(text);
    failed(text);
    end_execution();
}

void end_execution() {
    void* dropped;
    inside = false;
    weir_model_switch(&dropped, host_stack);
    std::abort();
}

bool step(std::uintptr_t object, condition what, bool only_reads) {
    const std::uintptr_t touched = object;
    fiber& me = fibers[current];
    const bool calls = me.in_interval && me.interval_first == 0;
    if (calls) {  // whose call comes after whose return is part of a history
        object = several_objects;
        only_reads = false;
    }
    note_pending(current, object, only_reads);
    me.waits = what;
    me.late = false;
    if (step_number >= chosen().max_steps) {
        cut_execution();
    }
    if (me.starting) {
        me.starting = false;
        switch_to(me.parent);
    } else {
        switch_to(pick(object));
    }
    const bool in_time = holds(me);
    me.waits = {};
    me.woken = false;
    ++step_number;
    ++me.steps;
    me.last_step = step_number;
    me.interval_first = me.interval_first == 0 ? step_number : me.interval_first;
    state_step(current, step_number);
    if (calls) {
        state_calls();
    }
    note_toucher(touched, current);
    wake_sleepers(object, only_reads);
    if (current != 0 && freezing_left() && choose_freeze()) {
        trace_event("is frozen", 0, 0, 0);
        me.is = fiber::state::frozen;
        note_write();
        switch_to(pick(several_objects));
        std::abort();
    }
    return in_time;
}

void note_write() noexcept {
    ++writes;
    idle_rounds = 0;
}

void note_read(std::uintptr_t pc, std::uintptr_t address, std::uint64_t value) noexcept {
    fiber& me = fibers[current];
    if (me.seen_at != writes) {
        me.seen_at = writes;
        me.seen_count = 0;
        me.polls_clock = false;
    }
    me.fresh = false;
    me.polls_clock = me.polls_clock || address == clock_object;
    for (int i = 0; i < me.seen_count; ++i) {
        sighting& s = me.seen[i];
        if (s.pc == pc && s.address == address && (s.value == value || address == clock_object)) {
            if (++s.times >= most_looks) {
                me.spinning = true;
                me.spun_at = writes;
            }
            return;
        }
    }
    me.seen[me.seen_count < 8 ? me.seen_count++ : static_cast<int>(me.steps % 8)] = {pc, address, value, 1};
}

bool reads_newest() noexcept { return fibers[current].fresh; }

void give_way() noexcept { fibers[current].polite = true; }

int wake(std::uintptr_t queue, int limit) {
    int woken = 0;
    while (woken < limit) {
        int waiting[max_threads];
        int n = 0;
        for (int t = 0; t < count; ++t) {
            fiber const& f = fibers[t];
            if (f.is == fiber::state::alive && f.waits.what == condition::kind::woken && f.waits.object == queue && !f.woken && !f.late) {
                waiting[n++] = t;
            }
        }
        if (n == 0) {
            break;
        }
        const int next = waiting[limit - woken >= n ? 0 : choose(n)];
        fibers[next].woken = true;
        state_decides(next);
        ++woken;
    }
    note_write();
    return woken;
}

// A new thread runs at once as far as its first step: what it does before can be seen by nobody, and so its first choice is
// between steps like any other.
int start_thread(std::function<void()> function) {
    if (count == max_threads) {
        fail("more than %d threads", max_threads);
    }
    const int id = count++;
    fiber& f = fibers[id];
    f = {};
    f.is = fiber::state::alive;
    f.body = std::make_unique<std::function<void()>>(std::move(function));
    f.parent = current;
    std::memset(f.exceptions, 0, sizeof f.exceptions);
    memory_thread(id, current);
    std::memcpy(locals[id].data(), local_image.data(), local_size);
    void** top = reinterpret_cast<void**>(stacks[id] + stack_size - 64);
    *--top = nullptr;  // the end for those who walk the stack
    *--top = reinterpret_cast<void*>(&fiber_main);
    for (int i = 0; i < 6; ++i) {
        *--top = nullptr;
    }
    f.stack_pointer = top;
    if (current >= 0) {
        f.starting = true;
        switch_to(id);
    }
    return id;
}

void at_thread_exit(destructor call, void* object) { fibers[current].at_exit.push_back({call, object}); }
void at_execution_exit(destructor call, void* object) { at_end.push_back({call, object}); }

void run_execution(std::function<void()> const& body) {
    set_up();
    memory_begin();
    races_begin();
    arena_begin_execution();
    at_end.clear();
    count = 0;
    step_number = 0;
    writes = 0;
    now_ns = time_zero;
    idle_rounds = 0;

    std::vector<char> host_locals(local_block, local_block + local_size);
    char host_exceptions[16];
    std::memcpy(host_exceptions, abi::__cxa_get_globals(), sizeof host_exceptions);
    const int first = start_thread(body);
    current = first;
    load_context(first);
    weir_model_switch(&host_stack, fibers[first].stack_pointer);
    current = -1;
    inside = false;
    std::memcpy(static_cast<void*>(abi::__cxa_get_globals()), host_exceptions, sizeof host_exceptions);
    std::memcpy(local_block, host_locals.data(), local_size);
    for (int t = 0; t < count; ++t) {
        fibers[t].at_exit.clear();
        fibers[t].body.reset();
    }
    races_end();
}

}  // namespace weir_model::engine
