// weir (BSL-1.0). hazard_pointer: keeps an object alive while you read it, though another thread has removed it.
#ifndef WEIR_BASE_HAZARD_POINTER_HPP
#define WEIR_BASE_HAZARD_POINTER_HPP

#include <weir/base/detail/hazard_record.hpp>
#include <weir/base/detail/hazard_thread.hpp>
#include <weir/base/metrics.hpp>

#include <atomic>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

// When:     readers follow atomic pointers that writers replace, and must not wait, lock or count references.
// When not: one owner at a time (std::unique_ptr), or readers that keep what they found for long (std::shared_ptr).
// Source:   M. Michael, "Hazard Pointers", IEEE TPDS 15(6), 2004; the interface is C++26's [saferecl.hp] (P2530), with
//           domains.
//
//     struct config : weir::hazard_pointer_obj_base<config> { int limit = 0; };
//     std::atomic<config*> current{new config};
//     reader:  auto h = weir::make_hazard_pointer();  config* c = h.protect(current);  use(c->limit);
//     writer:  current.exchange(new config)->retire();
//
// A reader announces the address, then looks whether it is still linked; a sweep comes after the unlinking, then looks
// who has announced it. One of the two always sees the other: detail/hazard_record.hpp says why.
//
// Libraries: those that share inline variables (default visibility) share the default domain. One built with hidden
//            visibility, opened by dlopen with RTLD_LOCAL, or linked with -Bsymbolic, may have its own. An object is
//            safe if all who protect and retire it name one domain; so what crosses such a border carries a pointer to
//            its domain, as weir's containers do. A library with a domain of its own must stay loaded: threads keep
//            slots of it.
// fork:      nothing blocks in the child. What threads of the parent protected, or had taken in a sweep, stays as it is
//            for ever.
// Exit:      the default domain serves before the first static constructor and after the last destructor, thread_local
//            ones too. What is retired and not reclaimed when the process ends is not destroyed.
//
// Edges (who hands what to whom):
//   E1  the store to src that published the object (the user's, release) -> the second look of protect and try_protect
// All others stand in detail/hazard_record.hpp.

namespace weir::inline v0 {

class hazard_pointer;

/// How readers and sweeps get to see each other.
enum class hazard_pointer_mode : unsigned char {
    membarrier = 1,  // readers pay a plain store, each sweep a system call; Linux 4.14 and later
    seq_cst = 2,     // readers pay one atomic read-modify-write; everywhere, and thread sanitizers follow it
};

/// What a container that keeps its own garbage gives its objects: the word that links them once they are retired.
struct hazard_link {
    hazard_link* next_retired;
};

/// A snapshot of a domain. pending + reclaimed is what was ever retired; exact while no thread is inside a call.
struct hazard_pointer_stats {
    std::size_t hazard_pointers = 0;  // in existence, used or not
    std::size_t pending = 0;          // objects retired and not yet reclaimed
    std::size_t reclaimed = 0;        // objects reclaimed; those of sweep() are their container's to count
};

template <>
inline constexpr auto stats_fields<hazard_pointer_stats> = std::tuple{
    gauge_field("hazard_pointers", "hazard pointers in existence, used or not", &hazard_pointer_stats::hazard_pointers),
    gauge_field("pending", "objects retired and not yet reclaimed", &hazard_pointer_stats::pending),
    counter_field("reclaimed", "objects reclaimed", &hazard_pointer_stats::reclaimed)};

/// What hazard pointers can protect: an object with one hazard_link (or hazard_pointer_obj_base), public and not
/// virtual, for a virtual base is found through the object, which may be gone. Or an object that has none: then its own
/// address is protected.
template <class T>
concept hazard_protectable = !std::is_base_of_v<hazard_link, T> || requires(hazard_link const* link) {
    static_cast<T const*>(link);
};

/// Deletes a T, as std::default_delete<T> does.
template <class D, class T>
concept hazard_deleter = std::default_initializable<D> && std::is_move_assignable_v<D> && std::invocable<D&, T*>;

namespace detail {

class brief_hazard;

struct hazard_garbage : hazard_link {
    void (*reclaim_retired)(hazard_garbage&) noexcept;
};

union hazard_default_domain;

}  // namespace detail

/// Hazard pointers and the objects they keep: an object must be protected and retired in the same domain.
/// Threads:  everything but reset and destruction may be called at any time by any thread; nothing from a signal
///           handler.
/// Memory:   a record of 128 bytes for each thread that uses the domain at once, or for 10 hazard pointers; kept for
///           the next ones. Retired and not yet reclaimed: at most sweep_threshold() objects, and 64 for each record
///           and for the domain, however long readers are stopped; as much again for each thread that is inside a
///           sweep. A kernel that comes to refuse its barrier (a sandbox closed after the start) breaks this bound:
///           then all is kept, for nobody can tell what is safe.
/// Lifetime: outlives its hazard pointers, and whoever retires to it. The default domain never ends.
class hazard_pointer_domain {
public:
    [[nodiscard]] static bool supports(hazard_pointer_mode mode) noexcept;
    /// membarrier where the kernel has it, except in thread sanitizer builds. The first call in a process registers
    /// with the kernel, which takes some milliseconds once there are other threads.
    [[nodiscard]] static hazard_pointer_mode default_mode() noexcept;

    hazard_pointer_domain() noexcept : mode_(default_mode()) {}
    /// Throws:   std::invalid_argument if the mode is not supported here.
    explicit hazard_pointer_domain(hazard_pointer_mode mode) : mode_(checked(mode)) {}
    /// Reclaims everything that is retired. No hazard pointer of the domain may be left.
    ~hazard_pointer_domain();
    hazard_pointer_domain(hazard_pointer_domain const&) = delete;
    hazard_pointer_domain& operator=(hazard_pointer_domain const&) = delete;

    [[nodiscard]] hazard_pointer_mode mode() const noexcept;
    [[nodiscard]] hazard_pointer_stats stats() const noexcept;
    /// Retired objects that are worth a sweep: 1024, or twice the hazard pointers in existence, so that half of them
    /// can go.
    [[nodiscard]] std::size_t sweep_threshold() const noexcept;

    /// Reclaims what is retired and not protected, and what that retires in turn; returns how many. What a sweep of
    /// another thread has taken meanwhile is that one's to reclaim. Within a deleter: does nothing.
    /// Progress: lock-free, but for the deleters and, in membarrier mode, the kernel.
    std::size_t reclaim() noexcept;

    /// Reclaims everything that is retired and starts again in the given mode, for tests. No hazard pointer of the
    /// domain may be left, and no other thread may be inside one of its functions.
    /// Throws:   std::invalid_argument if the mode is not supported here.
    void reset(hazard_pointer_mode mode);

    /// For containers that keep their own garbage: calls reclaim(link) for each object of the list that no hazard
    /// pointer of this domain protects, in the list's order, and returns the list of the others. All were unlinked
    /// before the call. `reclaim` must not throw; it may retire, sweep and make hazard pointers.
    /// Progress: lock-free, but for `reclaim` and, in membarrier mode, the kernel.
    /// Cost:     one barrier; each slot is read once, each object is looked up once per 256 protected addresses; 4 KiB
    ///           of stack.
    template <std::invocable<hazard_link*> Reclaim>
    [[nodiscard]] hazard_link* sweep(hazard_link* list, Reclaim&& reclaim) noexcept;

private:
    template <class T, class D>
    friend class hazard_pointer_obj_base;
    friend hazard_pointer make_hazard_pointer(hazard_pointer_domain& domain);
    friend union detail::hazard_default_domain;

    struct undecided {};
    explicit constexpr hazard_pointer_domain(undecided) noexcept {}

    static hazard_pointer_mode checked(hazard_pointer_mode mode);
    [[nodiscard]] bool asymmetric() const noexcept { return mode() == hazard_pointer_mode::membarrier; }

    bool attach(detail::hazard_thread& thread) noexcept;
    detail::hazard_slot* take_slot();
    void retire(detail::hazard_garbage& object) noexcept;
    hazard_link* take_retired() noexcept;
    std::size_t sweep_retired() noexcept;
    void sweep_above_threshold() noexcept;
    void reclaim_everything() noexcept;
    static void push(std::atomic<hazard_link*>& list, hazard_link* first, hazard_link* last) noexcept;

    // Read by everyone, seldom written.
    alignas(detail::destructive_size) detail::hazard_records records_;
    mutable std::atomic<hazard_pointer_mode> mode_{};  // 0 until the default domain has asked the kernel
    // Written by whoever retires or sweeps.
    alignas(detail::destructive_size) std::atomic<hazard_link*> retired_{
        nullptr};                                  // by threads with no record; kept by sweeps
    std::atomic<std::uint64_t> retired_count_{0};  // ever pushed by threads with no record
    std::atomic<std::size_t> listed_{0};           // objects in all lists, to within 64 for each thread
    std::atomic<std::uint64_t> reclaimed_{0};      // ever, by sweeps
};

namespace detail {

// Never destroyed: threads and static objects may use it to the very end, and what it holds stays reachable for leak
// checkers.
union hazard_default_domain {
    constexpr hazard_default_domain() noexcept : domain(hazard_pointer_domain::undecided{}) {}
    ~hazard_default_domain() {}
    hazard_pointer_domain domain;
};
inline constinit hazard_default_domain the_hazard_default_domain{};

}  // namespace detail

/// The domain that is used where none is named: one per process, or one per shared library that hides its inline
/// variables. It serves from before the first static constructor until after the last destructor; what is then still
/// retired is not destroyed.
[[nodiscard]] inline hazard_pointer_domain& hazard_pointer_default_domain() noexcept {
    return detail::the_hazard_default_domain.domain;
}

/// Base of the objects that hazard pointers protect: `struct node : hazard_pointer_obj_base<node>`, public and not
/// virtual. A copy is a new object that is not retired; copying reads nothing here, so that a protected object may be
/// copied while it is retired.
template <class T, class D = std::default_delete<T>>
class hazard_pointer_obj_base : public detail::hazard_garbage {
public:
    /// Hands over an object that no new reader can find: d(object) is called once, when no hazard pointer protects it,
    /// by some thread inside retire or reclaim. Must not throw; what it retires in turn waits until the sweep around it
    /// is done.
    /// Progress: lock-free, but for the deleters and, in membarrier mode, the kernel.
    /// Order:    what happened before the retirement, and what readers did under protection, happens before the deleter
    ///           is called.
    /// Cost:     one compare-exchange, and a sweep in about every sweep_threshold() calls. No allocation but the
    ///           thread's first.
    void retire(D d = D(), hazard_pointer_domain& domain = hazard_pointer_default_domain()) noexcept;
    void retire(hazard_pointer_domain& domain) noexcept { retire(D(), domain); }

protected:
    hazard_pointer_obj_base() = default;
    hazard_pointer_obj_base(hazard_pointer_obj_base const&) noexcept(std::is_nothrow_default_constructible_v<D>)
        : hazard_pointer_obj_base() {}
    hazard_pointer_obj_base& operator=(hazard_pointer_obj_base const&) noexcept { return *this; }
    ~hazard_pointer_obj_base() = default;

private:
    [[no_unique_address]] D deleter_{};
};

/// Owns one hazard pointer, or is empty.
/// Threads:  one at a time; may be moved to another thread.
/// Memory:   one pointer.
class hazard_pointer {
public:
    hazard_pointer() noexcept = default;
    hazard_pointer(hazard_pointer&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
    hazard_pointer& operator=(hazard_pointer&& other) noexcept {
        hazard_pointer(std::move(other)).swap(*this);
        return *this;
    }
    /// Ends the protection.
    ~hazard_pointer() {
        if (slot_ != nullptr) {
            detail::withdraw(*slot_);
            detail::hazards_of_this_thread.put(slot_);
        }
    }

    [[nodiscard]] bool empty() const noexcept { return slot_ == nullptr; }

    /// Protects what src points to and returns it. *this is not empty: here and in all that follows.
    /// Progress: lock-free; tries again when src has changed meanwhile.
    /// Order:    acquires the store to src that it read.
    template <class T>
    T* protect(std::atomic<T*> const& src) noexcept;

    /// Protects ptr if src still points to it; else protects nothing, puts what src holds into ptr and returns false.
    /// Progress: wait-free.
    template <class T>
    bool try_protect(T*& ptr, std::atomic<T*> const& src) noexcept;

    /// Announces ptr and ends the former protection. ptr is protected if it is retired later, or if a load (acquire)
    /// that follows still finds it linked: so a caller can validate in its own way. That another hazard pointer
    /// protects it is not enough: a sweep may have read this slot before the announcement, and reads the other one
    /// after that has let go. Swap or move instead.
    /// Progress: wait-free.
    template <class T>
    void reset_protection(T const* ptr) noexcept;
    void reset_protection(std::nullptr_t = nullptr) noexcept {
        assert(!empty());
        detail::withdraw(*slot_);
    }

    void swap(hazard_pointer& other) noexcept { std::swap(slot_, other.slot_); }
    friend void swap(hazard_pointer& a, hazard_pointer& b) noexcept { a.swap(b); }

private:
    friend hazard_pointer make_hazard_pointer(hazard_pointer_domain& domain);
    friend detail::brief_hazard;
    explicit hazard_pointer(detail::hazard_slot* slot) noexcept : slot_(slot) {}
    [[nodiscard]] detail::hazard_slot* release() noexcept { return std::exchange(slot_, nullptr); }

    detail::hazard_slot* slot_ = nullptr;
};

/// Makes a hazard pointer that protects nothing yet.
/// Progress: wait-free if the thread has one at hand (default domain: the last 16 it freed), else lock-free but for
///           memory allocation.
/// Throws:   std::bad_alloc.
[[nodiscard]] inline hazard_pointer make_hazard_pointer(
    hazard_pointer_domain& domain = hazard_pointer_default_domain()) {
    auto& thread = detail::hazards_of_this_thread;
    if (thread.domain != &domain || thread.count == 0) [[unlikely]] {
        return hazard_pointer(domain.take_slot());
    }
    return hazard_pointer(thread.free[--thread.count]);
}

// ---- bodies

namespace detail {

// What is announced for an object is what a sweep will look for: the address of its hazard_link, or of an object that
// has none.
template <class T>
std::uintptr_t hazard_address(T const* object) noexcept {
    if constexpr (std::is_base_of_v<hazard_link, T>) {
        return reinterpret_cast<std::uintptr_t>(static_cast<hazard_link const*>(object));
    } else {
        return reinterpret_cast<std::uintptr_t>(object);
    }
}

}  // namespace detail

template <class T>
T* hazard_pointer::protect(std::atomic<T*> const& src) noexcept {
    static_assert(hazard_protectable<T>);
    T* ptr = src.load(std::memory_order_relaxed);  // relaxed: a guess, the second look acquires
    for (;;) {
        reset_protection(ptr);
        T* const found = src.load(std::memory_order_acquire);  // E1 acquire
        if (found == ptr) [[likely]] {
            return ptr;
        }
        ptr = found;
    }
}

template <class T>
bool hazard_pointer::try_protect(T*& ptr, std::atomic<T*> const& src) noexcept {
    static_assert(hazard_protectable<T>);
    T* const wanted = ptr;
    reset_protection(wanted);
    ptr = src.load(std::memory_order_acquire);  // E1 acquire
    if (ptr == wanted) [[likely]] {
        return true;
    }
    reset_protection();
    return false;
}

template <class T>
void hazard_pointer::reset_protection(T const* ptr) noexcept {
    static_assert(hazard_protectable<T>);
    assert(!empty());
    detail::announce(*slot_, detail::hazard_address(ptr));
}

template <class T, class D>
void hazard_pointer_obj_base<T, D>::retire(D d, hazard_pointer_domain& domain) noexcept {
    static_assert(hazard_deleter<D, T>);  // not sooner: T is complete only now
    deleter_ = std::move(d);
    this->reclaim_retired = [](detail::hazard_garbage& garbage) noexcept {
        auto& base = static_cast<hazard_pointer_obj_base&>(garbage);
        D deleter{};
        deleter = std::move(base.deleter_);  // it would be destroyed in its own call
        deleter(static_cast<T*>(&base));
    };
    domain.retire(*this);
}

}  // namespace weir::inline v0

#include <weir/base/detail/hazard_domain.hpp>  // the domain's bodies: they need all of the above

#endif
