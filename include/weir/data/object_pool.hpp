// weir (BSL-1.0). object_pool: objects that are dear to make, used again, at a few ns each, and never more kept than you say.
#ifndef WEIR_DATA_OBJECT_POOL_HPP
#define WEIR_DATA_OBJECT_POOL_HPP
#include <weir/base/clock.hpp>
#include <weir/base/queue.hpp>
#include <weir/data/detail/object_pool_depot.hpp>
#include <weir/data/detail/object_pool_magazine.hpp>
#include <weir/data/detail/object_pool_store.hpp>
#include <weir/data/detail/object_pool_turns.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stop_token>
#include <type_traits>
#include <utility>

// When:     an object costs far more to make than to wipe: large buffers, parsers, compressors, connections.
// When not: the object is small and plain: a good allocator is as fast; or each thread can have one of its own.
// Source:   J. Bonwick and J. Adams, "Magazines and Vmem", USENIX 2001, over the stack of Boost.Lockfree; detail/object_pool_block.hpp and
//           object_pool_store.hpp have the algorithm, its invariants and edges.
//
//     weir::object_pool<std::vector<char>> buffers{{.max_idle = 256, .keep = [](auto const& b) { return b.capacity() <= 65536; }},
//                                                  {}, [](auto& b) { b.clear(); }};
//     auto buffer = buffers.acquire();      // gives itself back; `*buffer`, `buffer->data()`
//
// Promise: an object is in one hand at a time, and is destroyed exactly once.
// Promise: idle objects are never more than max_idle, nor more than max_idle_bytes, at any moment. It may keep fewer: a thread
//          keeps up to 1/32 of either to itself, in objects or in room for them, until it exits or somebody trims. With
//          max_idle < 64 or with max_live no thread keeps any: then each call goes through the depot.
// Promise: with max_live, handed-out and idle objects together are never more than that.
// Life:    who holds a pool: its own object counts as one, and each object that exists as one more; so handing out and giving back
//          touch no shared number. The destructor of the pool destroys what is idle, in whatever thread's hands it would have come
//          next; what is handed out then destroys itself when it comes back, and the last one frees the rest.
// Threads that exit leave what they had at hand to the next thread, or to whoever finds the depot empty.
// fork: the child must not use a pool that other threads were using.

namespace weir::inline v0 {

/// An object that can be pooled: destroyed without throwing. It is made in place and never moves.
template <class T>
concept poolable = std::is_object_v<T> && !std::is_array_v<T> && !std::is_const_v<T> && std::is_nothrow_destructible_v<T>;

/// A function object whose call returns a T by value. Must be safe from several threads at once.
template <class F, class T>
concept factory_of = std::move_constructible<F> && requires(F const& f) {
    { f() } -> std::same_as<T>;
};

/// A function object that can be called with a T& before the object is used again. Must be safe from several threads at once.
template <class R, class T>
concept resetter_of = std::move_constructible<R> && std::invocable<R const&, T&>;

/// Makes a T by its default constructor.
template <class T>
struct default_factory {
    T operator()() const { return T(); }
};

/// Leaves the object as it is.
struct no_reset {
    template <class T>
    void operator()(T&) const noexcept {}
};

template <class T>
struct object_pool_options {
    std::size_t max_idle = 1024;                         // objects, 1 to 1 000 000; with max_live at most 60 000
    std::size_t max_idle_bytes = 0;                      // of these in all, by size_of; 0: no bound
    std::size_t max_live = 0;                            // objects handed out or idle, at most 60 000; 0: no cap
    std::chrono::nanoseconds shrink_after{0};            // what nobody needed for so long goes; 0: it stays
    std::function<std::size_t(T const&)> size_of{};      // bytes, when an object is given back
    std::function<bool(T const&)> keep{};                // whether an object is worth it, after the reset; none: all are
    std::function<void(std::exception_ptr)> on_error{};  // reset, size_of or keep threw; must not throw
};

struct object_pool_stats {
    std::uint64_t acquired = 0;   // hits + misses
    std::uint64_t hits = 0;       // an idle object was handed out
    std::uint64_t misses = 0;     // one was made
    std::uint64_t released = 0;   // kept + discarded
    std::uint64_t kept = 0;
    std::uint64_t discarded = 0;  // no room, not worth keeping, reset threw, discard(), or the pool was gone
    std::uint64_t detached = 0;   // the caller's for good
    std::uint64_t prewarmed = 0;
    std::uint64_t trimmed = 0;    // destroyed while idle
    std::uint64_t errors = 0;     // exceptions of reset, size_of and keep
    std::uint64_t refused = 0;    // calls that ended without an object: full, too late, stopped
    std::size_t idle = 0;
    std::size_t live = 0;         // handed out
    std::size_t objects = 0;      // that exist
    std::size_t high_water = 0;   // the most there have been
    std::size_t bytes = 0;        // of idle objects, by size_of
    std::size_t waiting = 0;      // threads that wait for an object
};

/// Frees an object that was detached from its pool.
template <class T>
struct pool_delete {
    void operator()(T* object) const noexcept;
};

/// An object from a pool, to which it goes back at the end. Move-only; empty when moved from.
/// Threads:  as a unique_ptr. May outlive the pool, and end in any thread.
template <class T>
class pooled {
public:
    using detached = std::unique_ptr<T, pool_delete<T>>;

    pooled() noexcept = default;
    pooled(pooled&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    pooled& operator=(pooled&& other) noexcept {
        pooled taken{std::move(other)};
        std::swap(object_, taken.object_);
        return *this;
    }
    ~pooled() { reset(); }

    [[nodiscard]] T* get() const noexcept { return object_; }
    [[nodiscard]] T& operator*() const noexcept { return *object_; }
    [[nodiscard]] T* operator->() const noexcept { return object_; }
    [[nodiscard]] explicit operator bool() const noexcept { return object_ != nullptr; }

    /// Gives the object back now.
    void reset() noexcept;
    /// The object is the caller's from now on, and the pool forgets it.
    [[nodiscard]] detached release() noexcept;
    /// Destroys the object instead of giving it back: it is broken.
    void discard() noexcept;

private:
    template <poolable U, factory_of<U> F, resetter_of<U> R, clock_source C, class D>
    friend class object_pool;
    explicit pooled(T* object) noexcept : object_(object) {}
    T* object_ = nullptr;
};

namespace detail {
template <class T, class Factory, class Reset, class Clock, class Depot>
class object_core;
}

/// Threads:  every member but constructor and destructor, from any thread at once.
/// Progress: wait-free between visits to the depot, which are one in 16 and lock-free; but for your own functions, the allocator, and
///           a thread's first call, which takes a short lock. trim, clear and shrink_after block each other, and wait for
///           who is within some ten instructions of a call. Acquiring waits where there is a max_live, in the order of arrival.
/// Order:    what was done with an object before it was given back is visible to whoever gets it next.
/// Memory:   32 bytes in front of each object; 512 for each number of threads that have lived at once and used it; 16 KiB, 32 for
///           each magazine of the bound and 192 for each in use. Steady use allocates nothing.
/// Lifetime: handles may outlive it, and so may threads; no call of a member may be under way when the destructor begins.
template <poolable T, factory_of<T> Factory = default_factory<T>, resetter_of<T> Reset = no_reset,
          clock_source Clock = coarse_clock, class Depot = detail::object_pool_depot>
class object_pool {
    using core = detail::object_core<T, Factory, Reset, Clock, Depot>;

public:
    using options = object_pool_options<T>;
    using handle = pooled<T>;
    using time_point = std::chrono::steady_clock::time_point;

    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit object_pool(options o = {}, Factory factory = {}, Reset reset = {}, Clock clock = {});
    object_pool(object_pool const&) = delete;
    object_pool& operator=(object_pool const&) = delete;
    /// Destroys all idle objects. Waits for who is within some ten instructions of giving an object back.
    ~object_pool();

    /// An object: the one given back last by this thread, or any other that is idle, or a new one.
    /// Throws: what Factory throws, std::bad_alloc; then nothing has happened.
    [[nodiscard]] handle acquire() { return handle{get()}; }
    /// The same; empty if there are max_live, and none came back until the deadline or the stop.
    [[nodiscard]] handle acquire_until(time_point deadline, std::stop_token const& stop = {}) {
        return handle{get_until(deadline, stop)};
    }
    [[nodiscard]] handle acquire_for(std::chrono::nanoseconds wait, std::stop_token const& stop = {});
    [[nodiscard]] handle acquire(std::stop_token const& stop) { return handle{get_until(time_point::max(), stop)}; }
    /// The same; empty at once if there are max_live, or others wait.
    [[nodiscard]] handle try_acquire() { return handle{try_get()}; }

    /// Without a handle, for those who must. Every object has to come back by put() or discard(), to this pool, while it exists.
    [[nodiscard]] T* get();
    [[nodiscard]] T* get_until(time_point deadline, std::stop_token const& stop = {});
    [[nodiscard]] T* try_get();
    /// Resets the object and keeps it, or destroys it. Not null; an object of another pool, or given back before, is a broken
    /// contract.
    void put(T* object) noexcept;
    void discard(T* object) noexcept;

    /// Makes objects until n are idle, or there is no room; says how many it made. Throws: as acquire; what is made is kept.
    std::size_t prewarm(std::size_t n);
    /// Destroys idle objects until n are left; says how many. Others go on: they find no idle object meanwhile, and what they
    /// give back is destroyed.
    std::size_t trim(std::size_t n) noexcept;
    std::size_t clear() noexcept { return trim(0); }

    /// live = acquired - released - detached; objects = idle + live; exact at rest.
    [[nodiscard]] object_pool_stats stats() const noexcept;

private:
    core* core_;  // together with the objects that exist
};

template <class T, class F, class R = no_reset, class C = coarse_clock>
object_pool(object_pool_options<T>, F, R = {}, C = {}) -> object_pool<T, F, R, C>;

}  // namespace weir::inline v0

#include <weir/data/detail/object_pool_core.hpp>

#endif
