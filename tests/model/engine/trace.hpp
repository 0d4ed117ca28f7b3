// weir (BSL-1.0). trace: an execution in words, and names for addresses and places in the source.
#ifndef WEIR_TESTS_MODEL_TRACE_HPP
#define WEIR_TESTS_MODEL_TRACE_HPP
#include "memory_model.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace weir_model::engine {

inline bool tracing_on = false;

void trace_begin(bool on);
void trace_event_slow(char const* what, std::uintptr_t address, std::uint64_t value, std::uintptr_t pc);
void trace_atomic_slow(char const* what, int order, location& at, std::uint64_t value, int age, std::uintptr_t pc);
void trace_access_slow(std::uintptr_t address, std::size_t size, bool writes, std::uintptr_t pc);

inline void trace_event(char const* what, std::uintptr_t address, std::uint64_t value, std::uintptr_t pc) {
    if (tracing_on) [[unlikely]] {
        trace_event_slow(what, address, value, pc);
    }
}
/// An operation on the location, of which the running thread got the store `age` from the newest. Called before it changes.
inline void trace_atomic(char const* what, int order, location& at, std::uint64_t value, int age, std::uintptr_t pc) {
    if (tracing_on) [[unlikely]] {
        trace_atomic_slow(what, order, at, value, age, pc);
    }
}
inline void trace_access(std::uintptr_t address, std::size_t size, bool writes, std::uintptr_t pc) {
    if (tracing_on) [[unlikely]] {
        trace_access_slow(address, size, writes, pc);
    }
}
void trace_failure(char const* message);
[[nodiscard]] std::string trace_text();

/// An address of the program under test, as the same text in each run.
[[nodiscard]] std::string name_of(std::uintptr_t address);

/// file:line of calls. Slow: asks addr2line. Of the functions inlined there it is the innermost one that is not of <atomic>, or
/// not of the standard library at all.
enum class beyond : bool { atomic, library };
[[nodiscard]] std::vector<std::string> places_of(std::vector<std::uintptr_t> const& pcs, beyond skipped);
[[nodiscard]] std::string place_of(std::uintptr_t pc);

void note_allocation(std::uintptr_t block, std::uintptr_t pc) noexcept;
[[nodiscard]] std::string allocation_place(std::uintptr_t block);

}  // namespace weir_model::engine
#endif
