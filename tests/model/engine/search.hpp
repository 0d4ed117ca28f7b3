// weir (BSL-1.0). search: which of the possible executions are run, one after the other.
#ifndef WEIR_TESTS_MODEL_SEARCH_HPP
#define WEIR_TESTS_MODEL_SEARCH_HPP
#include "model.hpp"

#include "memory_model.hpp"

#include <cstdint>
#include <string>

// An execution is decided by choices: which thread goes on, and what is left open besides (which store a load returns, who is
// woken, whether an allocation fails). Depth-first: the next execution repeats all choices but the last that has another way.
//
// The reduction leaves out what cannot make a difference, and nothing within the bounds that could:
// * Where the running thread is about to touch something that no other thread ever touches, nobody else is tried: the others
//   could as well go first at its next step. What threads share is learned in some random executions beforehand; should a
//   later one touch more, the search begins anew.
// * Where the running thread u gives way to another one, it has gone on first in an earlier execution. Going on later is the
//   same, until somebody has done what conflicts with its next step: until then u sleeps. (Godefroid, "Partial-order methods
//   for the verification of concurrent systems", LNCS 1032: sleep sets.) To move a step of the running thread forward to where
//   it was interrupted takes no further preemption, unless a thread was blocked until that step came: then, too, u wakes up. To
//   move another one's step may take one, so that the others sleep in unbounded searches only.
// * Executions that reach the same state by another order of the same steps go on alike. A state is told by the steps of each
//   thread, each with the store that it read or the store that it replaced, and the order of steps on what is no location. An
//   execution that comes to a state which was there before, with as much left of each bound, is given up. (Musuvathi and
//   Qadeer, "Partial-order reduction for context-bounded state exploration", MSR-TR-2007-12.) A state is kept as 64 bits: two
//   different ones are taken for the same with a probability of about n^2 / 2^65 for n states.

namespace weir_model::engine {

[[nodiscard]] options const& chosen() noexcept;

/// One of `count` ways; 0 is the usual one.
int choose(int count);
/// One of the threads of the mask `ready`. `current`: the one that has run so far if it could go on, else -1. `late`: threads
/// that could only go on because their deadline passes. `avoided`: those that are not the usual way. `object`: what the step of
/// `current` is about.
int choose_thread(unsigned ready, unsigned late, int current, unsigned avoided, std::uintptr_t object);
/// Whether something happens that seldom does; counted against a bound.
bool choose_allocation_failure();
bool choose_freeze();
bool choose_spurious_failure();
/// How old a store this load returns, of `count` that it may.
int choose_store(location& at, int count);

/// The state: a step was begun; it reads from the store of that step; it replaces it; it touches something else, in an order
/// that matters; something was decided about a thread.
void state_step(int thread, std::uint32_t step);
void state_reads(std::uint32_t from);
void state_writes(std::uint32_t over);
void state_touches(std::uintptr_t object, bool writes);
void state_decides(int thread);
/// In histories it matters which calls begin after which ones have returned, though no step depends on it.
void state_calls();
void state_returns();
/// What a thread will do next, whenever it is its turn.
void note_pending(int thread, std::uintptr_t object, bool only_reads) noexcept;
/// The thread has done that.
void wake_sleepers(std::uintptr_t object, bool only_reads) noexcept;
/// The running thread cannot go on, and leaving it costs no preemption: sleepers may be who it waits for.
void wake_for_the_blocked() noexcept;
/// The thread has touched the object.
void note_toucher(std::uintptr_t object, int thread);
[[nodiscard]] bool is_shared(std::uintptr_t object) noexcept;

/// The order that a site uses: its own, or the mutant's.
int order_at(std::uintptr_t pc, char kind, int order);

void failed(std::string message);
void note_observed(std::string const& outcome);
void note_count(std::uint64_t steps);
void cut_execution();
[[nodiscard]] bool freezing_left() noexcept;
[[nodiscard]] bool timeouts_left() noexcept;

}  // namespace weir_model::engine
#endif
