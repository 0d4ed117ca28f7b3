// weir (BSL-1.0). scheduler: the threads under test, each a fiber, of which one runs.
#ifndef WEIR_TESTS_MODEL_SCHEDULER_HPP
#define WEIR_TESTS_MODEL_SCHEDULER_HPP
#include "memory_model.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

// A thread runs until its next visible operation: an atomic one, or a call that the engine answers. There the search decides
// who goes on. A fiber has its own stack, exceptions in flight, errno, and its own copy of the program's thread_local block,
// which lies at the one place where compiled code looks for it while the fiber runs.

namespace weir_model::engine {

/// Whether code under test is running: only then do the instrumented calls mean anything.
inline bool inside = false;

/// Where the running thread called the engine last.
inline std::uintptr_t present_pc = 0;

/// The engine at work: until its end, what the engine itself does is not part of the model.
class entry {
public:
    entry() noexcept : on_(inside) { inside = false; }
    ~entry() { inside = on_; }
    entry(entry const&) = delete;
    entry& operator=(entry const&) = delete;
    explicit operator bool() const noexcept { return on_; }

private:
    bool on_;
};

/// What every access asks for, set by the scheduler alone.
namespace now {
inline int running = -1, threads = 0;
inline std::uint32_t step = 0;
inline char* local_block = nullptr;  // the program's thread_local objects
inline std::size_t local_size = 0;
}  // namespace now

[[nodiscard]] inline int running() noexcept { return now::running; }  // -1: no execution is under way
[[nodiscard]] inline int thread_count() noexcept { return now::threads; }
[[nodiscard]] inline std::uint32_t current_step() noexcept { return now::step; }
[[nodiscard]] std::uint64_t steps_of_running() noexcept;
[[nodiscard]] std::uint64_t virtual_now() noexcept;  // ns
[[nodiscard]] bool on_a_stack(std::uintptr_t address) noexcept;
[[nodiscard]] inline bool is_thread_local(std::uintptr_t address) noexcept {
    return address - reinterpret_cast<std::uintptr_t>(now::local_block) < now::local_size;
}
[[nodiscard]] int* errno_of_running() noexcept;
/// How many annotations are open that hide the plain reads or writes of the running thread.
[[nodiscard]] int& ignored(bool writes) noexcept;
[[nodiscard]] std::string stack_name(std::uintptr_t address);

/// The steps of a call: see weir_model::timed.
void begin_interval() noexcept;
void end_interval(std::uint32_t& first, std::uint32_t& last) noexcept;

/// Ends the execution as failed.
[[noreturn]] void fail(char const* format, ...) __attribute__((format(printf, 1, 2)));
/// Ends the execution.
[[noreturn]] void end_execution();

inline constexpr std::uint64_t never = ~std::uint64_t{0};

/// What a thread must see before it goes on. `until`: a virtual time at which it goes on in any case.
struct condition {
    enum class kind : std::uint8_t { none, zero, ended, ended_or_frozen, woken, time } what = kind::none;
    std::uintptr_t object = 0;  // zero: this 32-bit word is; ended: this thread has; woken: the queue in which it waits
    std::uint64_t until = never;
};

/// What a step is about: an address, or one of these.
inline constexpr std::uintptr_t nothing_shared = 0;  // no other thread can tell when it happens
inline constexpr std::uintptr_t clock_object = 1, heavy_fence_object = 2, sequential_object = 3, several_objects = 4;

/// A scheduling point, and the number of a step: returns when it is the caller's turn and the condition holds (true), or when
/// its time has come first (false). `only_reads`: it changes nothing that another thread could see.
bool step(std::uintptr_t object, condition what = {}, bool only_reads = false);

/// What decides the future besides the steps that were taken.
[[nodiscard]] std::uint64_t state_of_threads() noexcept;
/// Something has changed that a spinning thread may wait for.
void note_write() noexcept;
/// The running thread has seen this value here, and changed nothing: again and again, and it waits for another thread.
void note_read(std::uintptr_t pc, std::uintptr_t address, std::uint64_t value) noexcept;
/// The running thread is to read the newest values: it has spun while nobody wrote.
[[nodiscard]] bool reads_newest() noexcept;
/// The running thread would rather not be next.
void give_way() noexcept;
/// Lets `count` of the threads that wait in the queue go on; which, is a choice. Returns how many.
int wake(std::uintptr_t queue, int count);

int start_thread(std::function<void()> function);
/// To be called when the thread ends, by its own fiber.
using destructor = void (*)(void*);
void at_thread_exit(destructor call, void* object);
void at_execution_exit(destructor call, void* object);
[[nodiscard]] bool has_ended(int thread) noexcept;
[[nodiscard]] bool is_frozen(int thread) noexcept;
[[nodiscard]] bool any_frozen() noexcept;

/// Runs the body as the first thread, to the end of the execution.
void run_execution(std::function<void()> const& body);

}  // namespace weir_model::engine
#endif
