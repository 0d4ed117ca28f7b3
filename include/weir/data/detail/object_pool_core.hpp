// weir (BSL-1.0). object_pool_core: what lives as long as an object_pool or one of its objects; the bodies of object_pool.
#ifndef WEIR_DATA_DETAIL_OBJECT_POOL_CORE_HPP
#define WEIR_DATA_DETAIL_OBJECT_POOL_CORE_HPP
#include <weir/base/clock.hpp>
#include <weir/base/detail/membarrier.hpp>
#include <weir/base/detail/unwatched.hpp>
#include <weir/data/detail/object_pool_magazine.hpp>
#include <weir/data/detail/object_pool_store.hpp>
#include <weir/data/detail/object_pool_turns.hpp>
#include <weir/data/detail/stat_counter.hpp>
#include <weir/data/object_pool.hpp>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <new>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <utility>

// Why a handle may come back while the pool dies. It runs into a gate (object_pool_block.hpp) or a visit that is shut, and destroys its
// object; or it was inside before, and then the destructor waits until it is out and finds the object in the store. Once an
// object is in the store, who put it there does not touch the core any more. Until then the object itself keeps the core.
//
// Why max_live bounds idle objects too. Who makes an object has a permit and has found the depot empty. An object that exists is in
// the depot or stands for a permit: the permit is given back after the object is in the depot, and E1 of object_pool_turns.hpp
// shows it to all who take a permit later. So at that moment permits are at least as many as objects, with the new one.
//
// Invariant: objects_ is 1 for the pool until it is gone, and 1 for each object that exists or is being made.
// Edges (who hands what to whom):
//   E1  whoever has taken its part from objects_ is done with the core -> who takes the last part deletes it

namespace weir::inline v0 {
namespace detail {

/// Where an object stands behind its object_item.
template <class T>
struct object_place {
    static constexpr std::size_t alignment = std::max(alignof(T), alignof(object_item));
    static constexpr std::size_t offset = (sizeof(object_item) + alignof(T) - 1) / alignof(T) * alignof(T);
    static constexpr bool over_aligned = alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__;

    static void* allocate() {
        if constexpr (over_aligned) {
            return ::operator new(offset + sizeof(T), std::align_val_t{alignment});
        } else {
            return ::operator new(offset + sizeof(T));
        }
    }
    static void free(void* raw) noexcept {
        if constexpr (over_aligned) {
            ::operator delete(raw, std::align_val_t{alignment});
        } else {
            ::operator delete(raw);
        }
    }
    static void* behind(void* raw) noexcept { return static_cast<std::byte*>(raw) + offset; }
    static T* object(object_item* item) noexcept {
        return std::launder(reinterpret_cast<T*>(reinterpret_cast<std::byte*>(item) + offset));
    }
    static object_item* item(T* object) noexcept {
        return std::launder(reinterpret_cast<object_item*>(reinterpret_cast<std::byte*>(object) - offset));
    }
    static void destroy(object_item* item) noexcept {
        object(item)->~T();
        free(item);
    }
};

template <class T, class Factory, class Reset, class Clock, class Depot>
class object_core : public object_home {
    using place = object_place<T>;
    using store = object_store<Depot>;

public:
    using options = object_pool_options<T>;

    object_core(options o, Factory factory, Reset reset, Clock clock, bool asymmetric)
        : object_home{&give_to, &discard_to, &detach_from},
          options_(std::move(o)),
          plain_(!options_.size_of && !options_.keep && options_.max_live == 0 && options_.shrink_after.count() == 0),
          factory_(std::move(factory)),
          reset_(std::move(reset)),
          clock_(std::move(clock)),
          epoch_(clock_.now()),
          due_(options_.shrink_after.count()),
          store_(bounds_of(options_, asymmetric)) {
        if (options_.max_live != 0) {
            turns_.emplace(static_cast<std::uint32_t>(options_.max_live));
        }
    }
    object_core(object_core const&) = delete;
    object_core& operator=(object_core const&) = delete;

    static options checked(options o);

    /// Whether taking may mean waiting.
    [[nodiscard]] bool has_turns() const noexcept { return turns_.has_value(); }
    T* take();
    T* take_until(std::chrono::steady_clock::time_point deadline, std::stop_token const& stop);
    T* try_take();
    void give(object_item* item) noexcept;
    void discard(object_item* item) noexcept;
    void detach(object_item* item) noexcept;
    std::size_t prewarm(std::size_t n);
    std::size_t trim(std::size_t n) noexcept { return destroy_idle(store_.trim(n)); }
    [[nodiscard]] object_pool_stats stats() const noexcept;
    /// The pool is gone.
    void close() noexcept {
        destroy_idle(store_.close());
        drop(1);
    }

private:
    ~object_core() = default;

    // Gives a permit back unless it was used.
    struct permit {
        object_turns* turns;
        ~permit() {
            if (turns != nullptr) {
                turns->give_back();
            }
        }
    };

    static void give_to(object_home* home, object_item* item) noexcept { static_cast<object_core*>(home)->give(item); }
    static void discard_to(object_home* home, object_item* item) noexcept { static_cast<object_core*>(home)->discard(item); }
    static void detach_from(object_home* home, object_item* item) noexcept { static_cast<object_core*>(home)->detach(item); }

    static constexpr auto most_bytes = std::numeric_limits<std::size_t>::max() / 4;
    static object_bounds bounds_of(options const& o, bool asymmetric) noexcept {
        return {o.max_idle, !o.size_of ? 0 : o.max_idle_bytes != 0 ? o.max_idle_bytes : most_bytes, o.max_live != 0, asymmetric};
    }
    T* take_new();
    object_item* make();
    object_item* make_idle();
    std::size_t prewarm_in_turn(std::size_t n);
    template <class F>
    bool without_error(F f) noexcept;
    void give_with_care(object_item* item) noexcept;
    void pass_by() noexcept;
    std::size_t destroy_idle(object_chain all) noexcept;
    void destroy(object_item* item) noexcept {
        place::destroy(item);
        exist_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: a figure
    }
    void drop(std::size_t n) noexcept {
        if (n != 0 && objects_.fetch_sub(n, std::memory_order_acq_rel) == n) {  // E1 release, E1 acquire
            delete this;
        }
    }

    options const options_;
    bool const plain_;  // nothing but a reset is to be done with an object that comes back
    [[no_unique_address]] Factory factory_;
    [[no_unique_address]] Reset reset_;
    [[no_unique_address]] Clock clock_;
    time_point_of<Clock> epoch_;
    std::atomic<std::int64_t> due_;         // ns since epoch_: the next shrink; who takes its turn at it
    std::atomic<std::size_t> objects_{1};   // any thread
    std::atomic<std::size_t> exist_{0};     // figures, of any thread: objects, and
    std::atomic<std::size_t> most_{0};      // the most there have been
    std::optional<object_turns> turns_;       // where there is a max_live
    counter misses_;
    counter discarded_;
    counter detached_;
    counter prewarmed_;
    counter trimmed_;
    counter looked_at_;  // idle objects that prewarm took out and put back
    counter errors_;
    counter refused_;
    store store_;
};

template <class T, class Factory, class Reset, class Clock, class Depot>
object_pool_options<T> object_core<T, Factory, Reset, Clock, Depot>::checked(options o) {
    if (o.max_idle < 1 || o.max_idle > 1'000'000) {
        throw std::invalid_argument{"weir::object_pool: max_idle must be in [1, 1000000]"};
    }
    if (o.max_live > 60'000) {
        throw std::invalid_argument{"weir::object_pool: max_live must be at most 60000"};
    }
    if (o.max_live != 0 && o.max_idle > 60'000) {
        throw std::invalid_argument{"weir::object_pool: max_idle must be at most 60000 with max_live"};
    }
    if (o.max_idle_bytes != 0 && !o.size_of) {
        throw std::invalid_argument{"weir::object_pool: max_idle_bytes must come with size_of"};
    }
    if (o.max_idle_bytes > most_bytes) {
        throw std::invalid_argument{"weir::object_pool: max_idle_bytes must be at most 2^62"};
    }
    if (o.shrink_after.count() < 0) {
        throw std::invalid_argument{"weir::object_pool: shrink_after must be >= 0"};
    }
    return o;
}

template <class T, class Factory, class Reset, class Clock, class Depot>
inline T* object_core<T, Factory, Reset, Clock, Depot>::take_until(std::chrono::steady_clock::time_point deadline,
                                                                 std::stop_token const& stop) {
    if (turns_ && !turns_->take_until(deadline, stop)) {
        refused_.add();
        return nullptr;
    }
    return take();
}

template <class T, class Factory, class Reset, class Clock, class Depot>
inline T* object_core<T, Factory, Reset, Clock, Depot>::try_take() {
    if (turns_ && !turns_->try_take()) {
        refused_.add();
        return nullptr;
    }
    return take();
}

// With a permit, where it takes one.
template <class T, class Factory, class Reset, class Clock, class Depot>
inline T* object_core<T, Factory, Reset, Clock, Depot>::take() {
    if (auto* const item = store_.take()) [[likely]] {
        item->idle = false;
        return place::object(item);
    }
    return take_new();
}

template <class T, class Factory, class Reset, class Clock, class Depot>
[[gnu::noinline]] T* object_core<T, Factory, Reset, Clock, Depot>::take_new() {
    permit mine{turns_ ? &*turns_ : nullptr};
    auto* const item = make();
    mine.turns = nullptr;
    misses_.add();
    return place::object(item);
}

template <class T, class Factory, class Reset, class Clock, class Depot>
[[gnu::noinline]] object_item* object_core<T, Factory, Reset, Clock, Depot>::make() {
    void* const raw = place::allocate();
    objects_.fetch_add(1, std::memory_order_relaxed);  // relaxed: the pool itself is still counted
    try {
        ::new (place::behind(raw)) T(std::as_const(factory_)());
    } catch (...) {
        place::free(raw);
        drop(1);
        throw;
    }
    auto const now = exist_.fetch_add(1, std::memory_order_relaxed) + 1;  // relaxed: a figure, as the next
    auto most = object_read(most_);
    // relaxed: a figure
    while (most < now && !most_.compare_exchange_weak(most, now, std::memory_order_relaxed)) {
    }
    return ::new (raw) object_item{this};
}

// f(): whether the object is to have a next use.
template <class T, class Factory, class Reset, class Clock, class Depot>
template <class F>
inline bool object_core<T, Factory, Reset, Clock, Depot>::without_error(F f) noexcept {
    try {
        return f();
    } catch (...) {
        errors_.add();
        if (options_.on_error) {
            options_.on_error(std::current_exception());
        }
        return false;
    }
}

template <class T, class Factory, class Reset, class Clock, class Depot>
inline void object_core<T, Factory, Reset, Clock, Depot>::give(object_item* item) noexcept {
    assert(item->home == this && "weir::object_pool: an object of another pool");
    assert(!item->idle && "weir::object_pool: an object given back twice");
    if (!plain_) [[unlikely]] {
        give_with_care(item);
        return;
    }
    if (!store_.closed() && without_error([&] { return std::as_const(reset_)(*place::object(item)), true; })) [[likely]] {
        item->idle = true;
        if (store_.keep(item)) [[likely]] {
            return;  // the core may be gone
        }
        item->idle = false;
    }
    discard(item);
}

template <class T, class Factory, class Reset, class Clock, class Depot>
[[gnu::noinline]] void object_core<T, Factory, Reset, Clock, Depot>::give_with_care(object_item* item) noexcept {
    if (options_.shrink_after.count() != 0) {
        pass_by();
    }
    auto const ready = [&] {
        T& object = *place::object(item);
        std::as_const(reset_)(object);
        if (options_.size_of) {
            item->bytes = std::min(options_.size_of(object), most_bytes);
        }
        return !options_.keep || options_.keep(object);
    };
    if (!store_.closed() && without_error(ready)) {
        item->idle = true;
        if (!turns_) {
            if (store_.keep(item)) {
                return;  // the core may be gone
            }
        } else {
            typename store::visit const here(store_);
            if (here.open() && store_.keep_visiting(item)) {
                turns_->give_back();
                return;
            }
        }
        item->idle = false;
    }
    discard(item);
}

template <class T, class Factory, class Reset, class Clock, class Depot>
[[gnu::noinline]] void object_core<T, Factory, Reset, Clock, Depot>::discard(object_item* item) noexcept {
    assert(item->home == this && !item->idle);
    discarded_.add();
    destroy(item);
    if (turns_) {
        turns_->give_back();
    }
    drop(1);
}

template <class T, class Factory, class Reset, class Clock, class Depot>
void object_core<T, Factory, Reset, Clock, Depot>::detach(object_item* item) noexcept {
    assert(item->home == this && !item->idle);
    item->home = nullptr;
    detached_.add();
    exist_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: a figure
    if (turns_) {
        turns_->give_back();
    }
    drop(1);
}

template <class T, class Factory, class Reset, class Clock, class Depot>
std::size_t object_core<T, Factory, Reset, Clock, Depot>::destroy_idle(object_chain all) noexcept {
    for (auto* item = all.first; item != nullptr;) {
        destroy(std::exchange(item, item->next));
    }
    if (all.count != 0) {
        trimmed_.add(all.count);
        drop(all.count);
    }
    return all.count;
}

template <class T, class Factory, class Reset, class Clock, class Depot>
[[gnu::noinline]] void object_core<T, Factory, Reset, Clock, Depot>::pass_by() noexcept {
    auto const now = std::chrono::time_point<Clock, std::chrono::nanoseconds>{saturating_between(epoch_, clock_.now())};
    auto due = object_read(due_);
    if (now.time_since_epoch().count() < due) {
        return;
    }
    auto const next = saturating_add(now, options_.shrink_after).time_since_epoch().count();
    if (due_.compare_exchange_strong(due, next, std::memory_order_relaxed)) {  // relaxed: one of those who find it due does it
        destroy_idle(store_.shrink());
    }
}

// A new object, ready to be idle.
template <class T, class Factory, class Reset, class Clock, class Depot>
object_item* object_core<T, Factory, Reset, Clock, Depot>::make_idle() {
    auto* const item = make();
    if (options_.size_of) {
        try {
            item->bytes = std::min(options_.size_of(*place::object(item)), most_bytes);
        } catch (...) {
            destroy(item);
            drop(1);
            throw;
        }
    }
    item->idle = true;
    return item;
}

template <class T, class Factory, class Reset, class Clock, class Depot>
std::size_t object_core<T, Factory, Reset, Clock, Depot>::prewarm(std::size_t n) {
    n = std::min(n, options_.max_idle);
    if (turns_) {
        return prewarm_in_turn(n);
    }
    std::size_t made = 0;
    for (auto idle = store_.holdings().items; idle < n; ++idle, ++made) {
        auto* const item = make_idle();
        if (!store_.keep(item)) {
            destroy(item);
            drop(1);
            break;
        }
        prewarmed_.add();
    }
    return made;
}

// As others may do nothing but with a permit and an empty depot, it takes permits for all n, and all idle objects, first.
template <class T, class Factory, class Reset, class Clock, class Depot>
std::size_t object_core<T, Factory, Reset, Clock, Depot>::prewarm_in_turn(std::size_t n) {
    std::size_t made = 0;
    struct all_back {
        object_core& core;
        object_chain items{};
        ~all_back() {
            object_chain no_room;
            while (auto* const item = items.first) {
                items.first = item->next;
                if (!core.store_.keep(item)) {
                    no_room.push(item);
                }
                core.turns_->give_back();
            }
            core.destroy_idle(no_room);
        }
    } taken{*this};
    while (taken.items.count < n && turns_->try_take()) {
        permit mine{&*turns_};
        auto* item = store_.take();
        if (item != nullptr) {
            looked_at_.add();
        } else {
            item = make_idle();
            prewarmed_.add();
            ++made;
        }
        mine.turns = nullptr;
        taken.items.push(item);
    }
    return made;
}

template <class T, class Factory, class Reset, class Clock, class Depot>
object_pool_stats object_core<T, Factory, Reset, Clock, Depot>::stats() const noexcept {
    auto const held = store_.holdings();
    object_pool_stats s;
    s.prewarmed = prewarmed_.value();
    auto const again = looked_at_.value();
    s.hits = held.hits - std::min(held.hits, again);
    s.misses = misses_.value();
    s.acquired = s.hits + s.misses;
    s.kept = held.kept - std::min(held.kept, s.prewarmed + again);
    s.discarded = discarded_.value();
    s.released = s.kept + s.discarded;
    s.detached = detached_.value();
    s.trimmed = trimmed_.value();
    s.errors = errors_.value();
    s.refused = refused_.value();
    s.idle = std::min(held.items, options_.max_idle);
    auto const gone = s.released + s.detached;
    s.live = static_cast<std::size_t>(s.acquired > gone ? s.acquired - gone : 0);
    s.objects = object_read(exist_);
    s.high_water = object_read(most_);
    s.bytes = held.bytes;
    s.waiting = turns_ ? turns_->waiting() : 0;
    return s;
}

}  // namespace detail

// ---- the handle

template <class T>
void pool_delete<T>::operator()(T* object) const noexcept {
    detail::object_place<T>::destroy(detail::object_place<T>::item(object));
}

template <class T>
void pooled<T>::reset() noexcept {
    if (auto* const object = std::exchange(object_, nullptr)) {
        auto* const item = detail::object_place<T>::item(object);
        item->home->give(item->home, item);
    }
}

template <class T>
typename pooled<T>::detached pooled<T>::release() noexcept {
    auto* const object = std::exchange(object_, nullptr);
    if (object != nullptr) {
        auto* const item = detail::object_place<T>::item(object);
        item->home->detach(item->home, item);
    }
    return detached{object};
}

template <class T>
void pooled<T>::discard() noexcept {
    if (auto* const object = std::exchange(object_, nullptr)) {
        auto* const item = detail::object_place<T>::item(object);
        item->home->discard(item->home, item);
    }
}

// ---- the pool

template <poolable T, factory_of<T> F, resetter_of<T> R, clock_source C, class D>
object_pool<T, F, R, C, D>::object_pool(options o, F factory, R reset, C clock)
    : core_(new core(core::checked(std::move(o)), std::move(factory), std::move(reset), std::move(clock),
                     !WEIR_THREAD_IS_WATCHED && detail::membarrier_available())) {}  // sanitizers do not know that barrier

template <poolable T, factory_of<T> F, resetter_of<T> R, clock_source C, class D>
object_pool<T, F, R, C, D>::~object_pool() {
    core_->close();
}

template <poolable T, factory_of<T> F, resetter_of<T> R, clock_source C, class D>
pooled<T> object_pool<T, F, R, C, D>::acquire_for(std::chrono::nanoseconds wait, std::stop_token const& stop) {
    return acquire_until(saturating_add(std::chrono::steady_clock::now(), wait), stop);
}

template <poolable T, factory_of<T> F, resetter_of<T> R, clock_source C, class D>
inline T* object_pool<T, F, R, C, D>::get() {
    return !core_->has_turns() ? core_->take() : core_->take_until(time_point::max(), {});
}

template <poolable T, factory_of<T> F, resetter_of<T> R, clock_source C, class D>
inline T* object_pool<T, F, R, C, D>::get_until(time_point deadline, std::stop_token const& stop) {
    return core_->take_until(deadline, stop);
}

template <poolable T, factory_of<T> F, resetter_of<T> R, clock_source C, class D>
inline T* object_pool<T, F, R, C, D>::try_get() {
    return core_->try_take();
}

template <poolable T, factory_of<T> F, resetter_of<T> R, clock_source C, class D>
inline void object_pool<T, F, R, C, D>::put(T* object) noexcept {
    core_->give(detail::object_place<T>::item(object));
}

template <poolable T, factory_of<T> F, resetter_of<T> R, clock_source C, class D>
void object_pool<T, F, R, C, D>::discard(T* object) noexcept {
    core_->discard(detail::object_place<T>::item(object));
}

template <poolable T, factory_of<T> F, resetter_of<T> R, clock_source C, class D>
std::size_t object_pool<T, F, R, C, D>::prewarm(std::size_t n) {
    return core_->prewarm(n);
}

template <poolable T, factory_of<T> F, resetter_of<T> R, clock_source C, class D>
std::size_t object_pool<T, F, R, C, D>::trim(std::size_t n) noexcept {
    return core_->trim(n);
}

template <poolable T, factory_of<T> F, resetter_of<T> R, clock_source C, class D>
object_pool_stats object_pool<T, F, R, C, D>::stats() const noexcept {
    return core_->stats();
}

}  // namespace weir::inline v0
#endif
