// weir (BSL-1.0). brief_hazard: a thread's own hazard pointer, for sections so short that taking one would be most of them.
#ifndef WEIR_BASE_DETAIL_HAZARD_BRIEF_HPP
#define WEIR_BASE_DETAIL_HAZARD_BRIEF_HPP

#include <weir/base/detail/hazard_record.hpp>
#include <weir/base/detail/hazard_thread.hpp>
#include <weir/base/hazard_pointer.hpp>

#include <atomic>

// When:     a container looks something up and needs one protection until it has found it.
// When not: the protection outlasts the scope, or user code runs inside as a rule: the second on a thread gets none.
// Invariant: the slot is 0 unless a brief_hazard of this thread is using it. Only this thread writes it, until it exits.
//
// Edges (who hands what to whom):
//   E1  the store to src that published the object (the user's, release) -> the second look of protect
// All others stand in hazard_record.hpp.

namespace weir::inline v0 {
namespace detail {

class brief_hazard {
public:
    /// Empty: one is in use further out on this thread, the thread is exiting, or the domain is not its default one.
    /// Throws:   std::bad_alloc, the first time on a thread.
    explicit brief_hazard(hazard_pointer_domain& domain) {
        auto& thread = hazards_of_this_thread;
        if (thread.brief_domain != &domain && !take(thread, domain)) [[unlikely]] {
            return;
        }
        if (thread.brief->load(std::memory_order_relaxed) == 0) [[likely]] {  // relaxed: only this thread writes it
            slot_ = thread.brief;
        }
    }
    brief_hazard(brief_hazard const&) = delete;
    brief_hazard& operator=(brief_hazard const&) = delete;
    ~brief_hazard() { end(); }

    [[nodiscard]] bool empty() const noexcept { return slot_ == nullptr; }

    /// As hazard_pointer::protect.
    template <class T>
    [[nodiscard]] T* protect(std::atomic<T*> const& src) noexcept {
        T* ptr = src.load(std::memory_order_relaxed);  // relaxed: a guess, the second look acquires
        for (;;) {
            announce(*slot_, hazard_address(ptr));
            T* const found = src.load(std::memory_order_acquire);  // E1 acquire
            if (found == ptr) [[likely]] {
                return ptr;
            }
            ptr = found;
        }
    }
    void end() noexcept {
        if (slot_ != nullptr) {
            withdraw(*slot_);
            slot_ = nullptr;
        }
    }

private:
    [[gnu::noinline]] static bool take(hazard_thread& thread, hazard_pointer_domain& domain) {
        hazard_pointer one = make_hazard_pointer(domain);
        if (thread.domain != &domain || thread.brief_domain != nullptr) {
            return false;
        }
        thread.brief = one.release();
        thread.brief_domain = &domain;
        return true;
    }

    hazard_slot* slot_ = nullptr;
};

}  // namespace detail
}  // namespace weir::inline v0

#endif
