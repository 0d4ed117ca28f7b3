// weir (BSL-1.0). races: who touched which byte when, accesses that nothing orders, and what globals held before.
#ifndef WEIR_TESTS_MODEL_RACES_HPP
#define WEIR_TESTS_MODEL_RACES_HPP
#include <cstddef>
#include <cstdint>

// Two accesses to a byte race if one of them writes, not both are atomic, and neither happens before the other. For each word
// of eight bytes, and each thread, the last access of each kind is kept as an epoch of its vector clock (Flanagan and Freund,
// "FastTrack", PLDI 2009), so that a race is found whatever the order in which an execution happens to run the two.

namespace weir_model::engine {

void races_begin() noexcept;
/// Puts back what the execution has changed in globals.
void races_end() noexcept;

/// A plain access of the running thread.
void plain_access(std::uintptr_t address, std::size_t size, bool writes, std::uintptr_t pc);
/// An atomic access of the running thread, after location_index.
void atomic_access(std::uintptr_t address, int size, bool writes);
/// Where the index of the location is kept, -1 before there is one. Checks that an atomic access may happen here.
std::int16_t& location_index(std::uintptr_t address, int size);
/// All accesses to [begin, begin + size) must have happened before this point, at which its memory is given back.
void freed(std::uintptr_t begin, std::size_t size);
/// Keeps what a global holds, before the engine itself writes there.
void keep_global(std::uintptr_t address, std::size_t size);

/// Of memory_model: these bytes, counted from where the location begins, were written. If it is in them, the next access begins
/// its history anew.
void forget_location(int index, int bytes) noexcept;

}  // namespace weir_model::engine
#endif
