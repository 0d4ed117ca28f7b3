// weir (BSL-1.0). hazard_thread: the free slots a thread keeps at hand, and how they go back when it ends.
#ifndef WEIR_BASE_DETAIL_HAZARD_THREAD_HPP
#define WEIR_BASE_DETAIL_HAZARD_THREAD_HPP

#include <weir/base/detail/hazard_record.hpp>

#include <array>
#include <bit>
#include <cstdint>

// Only the default domain's slots are kept: it outlives every thread, so nothing here can dangle. Two libraries that do
// not share their inline variables have a default domain and a thread state each; `domain` says whose slots these are,
// wherever they are looked at.
//
// Invariant: a slot in `free` is 0, its bit in its record is taken, and no hazard_pointer owns it. So is `brief`, but that it
// is not 0 while a brief_hazard uses it.
// The state is trivial and constant-initialized: a fast path reads it with no guard. Its address stays with its thread.
// The hook that empties it is registered when something is first kept. Other thread_local destructors may run after the
// hook: they find `leaving` and go to the domain's records for each slot.

namespace weir::inline v0 {
namespace detail {

/// A sweep that this thread is inside of: reclaiming must not start another one of the same domain, chains would nest
/// without bound.
struct hazard_sweep {
    hazard_pointer_domain const* domain;
    hazard_sweep const* outer;
};

struct hazard_thread {
    static constexpr std::uint32_t capacity = 16;

    hazard_pointer_domain* domain;        // null: nothing is kept
    hazard_record* home;                  // where this thread retires
    std::uint32_t count;                  // slots in free
    bool leaving;                         // the hook has run
    hazard_sweep const* sweeps;           // innermost first
    hazard_pointer_domain* brief_domain;  // null: there is no slot for brief_hazard
    hazard_slot* brief;
    std::array<hazard_slot*, capacity> free;

    /// Keeps a slot for the next hazard_pointer of this thread, or gives it back.
    void put(hazard_slot* slot) noexcept {
        if (record_of(slot).domain != domain || count == capacity) [[unlikely]] {
            give_back(*slot);
        } else {
            free[count++] = slot;
        }
    }

    /// Keeps the slots of a grant; the lowest, in the record's first cache line, will be used first.
    void put(hazard_records::grant const& granted) noexcept {
        std::uint32_t bits = granted.bits & hazard_record::all_slots;
        while (bits != 0) {
            const auto highest = static_cast<std::uint32_t>(std::bit_width(bits)) - 1;
            bits &= ~(1U << highest);
            put(&granted.record->slots[highest]);
        }
    }

    /// Gives everything back.
    void leave() noexcept {
        if (brief_domain != nullptr) {
            give_back(*brief);
        }
        brief_domain = nullptr;
        while (count != 0) {
            give_back(*free[--count]);
        }
        if (home != nullptr) {
            give_back(*home, hazard_record::home);
        }
        home = nullptr;
        domain = nullptr;
    }

    [[nodiscard]] bool sweeps_in(hazard_pointer_domain const& d) const noexcept {
        for (hazard_sweep const* s = sweeps; s != nullptr; s = s->outer) {
            if (s->domain == &d) {
                return true;
            }
        }
        return false;
    }
};

inline constinit thread_local hazard_thread hazards_of_this_thread{};

struct hazard_thread_exit {
    constexpr hazard_thread_exit() noexcept = default;
    hazard_thread_exit(hazard_thread_exit const&) = delete;
    hazard_thread_exit& operator=(hazard_thread_exit const&) = delete;
    ~hazard_thread_exit() {
        hazards_of_this_thread.leave();
        hazards_of_this_thread.leaving = true;
    }
};

inline void leave_at_thread_exit() noexcept {
    static thread_local hazard_thread_exit hook;
    static_cast<void>(&hook);
}

}  // namespace detail
}  // namespace weir::inline v0

#endif
