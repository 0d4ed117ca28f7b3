// weir (BSL-1.0). hazard_domain: how a domain keeps what is retired, and the sweeps that reclaim it.
#ifndef WEIR_BASE_DETAIL_HAZARD_DOMAIN_HPP
#define WEIR_BASE_DETAIL_HAZARD_DOMAIN_HPP

#include <weir/base/detail/hazard_record.hpp>
#include <weir/base/detail/hazard_set.hpp>
#include <weir/base/detail/hazard_thread.hpp>
#include <weir/base/detail/membarrier.hpp>
#include <weir/base/hazard_pointer.hpp>

#include <atomic>
#include <bit>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <utility>

// The bodies of hazard_pointer_domain. Edges: see hazard_record.hpp.
//
// Retired objects wait in lists that are pushed one by one and taken whole, so that no list can suffer from ABA: one in
// each record, for the thread at home there, and one of the domain for all others. Every list can be taken by any
// thread; that one ends, or sleeps for ever, keeps nothing from being reclaimed. Threads count what they push in steps
// of hazard_batch; whoever finds the count at the threshold sets it to 0 and sweeps all lists. What is protected goes
// back to the domain's list and is counted again.
//
// Bound: `listed_` stays below the threshold but for what is being swept, each list's last step is uncounted, and a
// sweep keeps at most one object for each slot, which is half a threshold.

namespace weir::inline v0 {

namespace detail {

inline constexpr std::size_t hazard_least_sweep = 1024;  // smaller: the barrier shows; larger: garbage, no speed
inline constexpr std::size_t hazard_batch = 64;          // retirements that a list may leave uncounted

// Thread sanitizers do not know membarrier.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool thread_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool thread_sanitizer = true;
#else
inline constexpr bool thread_sanitizer = false;
#endif
#else
inline constexpr bool thread_sanitizer = false;
#endif

}  // namespace detail

inline bool hazard_pointer_domain::supports(hazard_pointer_mode mode) noexcept {
    return mode == hazard_pointer_mode::seq_cst ||
           (mode == hazard_pointer_mode::membarrier && detail::membarrier_available());
}

inline hazard_pointer_mode hazard_pointer_domain::default_mode() noexcept {
    return !detail::thread_sanitizer && detail::membarrier_available() ? hazard_pointer_mode::membarrier
                                                                       : hazard_pointer_mode::seq_cst;
}

inline hazard_pointer_mode hazard_pointer_domain::checked(hazard_pointer_mode mode) {
    if (!supports(mode)) {
        throw std::invalid_argument("weir::hazard_pointer_domain: the mode is not supported here");
    }
    return mode;
}

inline hazard_pointer_mode hazard_pointer_domain::mode() const noexcept {
    auto mode = mode_.load(std::memory_order_relaxed);  // relaxed: a constant once it is decided
    if (mode == hazard_pointer_mode{}) {
        const auto mine = default_mode();
        if (mode_.compare_exchange_strong(mode, mine, std::memory_order_relaxed)) {  // relaxed: as above
            mode = mine;
        }
    }
    return mode;
}

inline std::size_t hazard_pointer_domain::sweep_threshold() const noexcept {
    const std::size_t slots = records_.size() * detail::hazard_record::slot_count;
    return 2 * slots > detail::hazard_least_sweep ? 2 * slots : detail::hazard_least_sweep;
}

inline hazard_pointer_stats hazard_pointer_domain::stats() const noexcept {
    const std::uint64_t reclaimed = reclaimed_.load(std::memory_order_acquire);  // E6 acquire
    std::uint64_t retired = retired_count_.load(std::memory_order_relaxed);      // relaxed: a figure
    for (auto* r = records_.first(); r != nullptr; r = r->next) {
        retired += r->retired_count.load(std::memory_order_relaxed);  // relaxed: a figure
    }
    return {.hazard_pointers = records_.size() * detail::hazard_record::slot_count,
            .pending = static_cast<std::size_t>(retired - reclaimed),
            .reclaimed = static_cast<std::size_t>(reclaimed)};
}

// The default domain's first use by a thread: from now on it has a record, and slots at hand.
inline bool hazard_pointer_domain::attach(detail::hazard_thread& thread) noexcept {
    if (this != &hazard_pointer_default_domain() || thread.leaving || thread.domain != nullptr) {
        return thread.domain == this;
    }
    using detail::hazard_record;
    const auto granted = records_.take(*this, asymmetric(), [](std::uint32_t taken) {
        return (taken & hazard_record::home) != 0 ? 0 : hazard_record::home | (hazard_record::all_slots & ~taken);
    });
    if (granted.record == nullptr) {
        return false;
    }
    thread.domain = this;
    thread.home = granted.record;
    thread.put(granted);
    detail::leave_at_thread_exit();
    return true;
}

[[gnu::noinline]] inline detail::hazard_slot* hazard_pointer_domain::take_slot() {
    auto& thread = detail::hazards_of_this_thread;
    using detail::hazard_record;
    const bool keeps = attach(thread);
    if (keeps && thread.count != 0) {
        return thread.free[--thread.count];
    }
    const auto granted = records_.take(*this, asymmetric(), [keeps](std::uint32_t taken) {
        const std::uint32_t free = hazard_record::all_slots & ~taken;
        return keeps ? free : free & (~free + 1);
    });
    if (granted.record == nullptr) {
        throw std::bad_alloc();
    }
    if (!keeps) {
        return &granted.record->slots[static_cast<std::size_t>(std::countr_zero(granted.bits))];
    }
    thread.put(granted);
    return thread.free[--thread.count];
}

inline void hazard_pointer_domain::push(std::atomic<hazard_link*>& list, hazard_link* first,
                                        hazard_link* last) noexcept {
    last->next_retired = list.load(std::memory_order_relaxed);  // relaxed: a guess, the exchange decides
    while (!list.compare_exchange_weak(last->next_retired, first, std::memory_order_release,  // E5 release
                                       std::memory_order_relaxed)) {                          // relaxed: a new guess
    }
}

// Counted before it is pushed: whoever reclaims it has seen the count (E5), so that stats never shows more reclaimed
// than retired.
inline void hazard_pointer_domain::retire(detail::hazard_garbage& object) noexcept {
    auto& thread = detail::hazards_of_this_thread;
    std::uint64_t count = 0;
    if (thread.domain == this || attach(thread)) [[likely]] {
        auto& record = *thread.home;
        count = record.retired_count.load(std::memory_order_relaxed) + 1;  // relaxed: only this thread writes it
        record.retired_count.store(count, std::memory_order_relaxed);      // relaxed: published by the push
        push(record.retired, &object, &object);
    } else {
        count = retired_count_.fetch_add(1, std::memory_order_relaxed) + 1;  // relaxed: published by the push
        push(retired_, &object, &object);
    }
    if (count % detail::hazard_batch != 0) [[likely]] {
        return;
    }
    count = detail::hazard_batch +
            listed_.fetch_add(detail::hazard_batch, std::memory_order_relaxed);  // relaxed: says when, not what
    if (count >= sweep_threshold()) {
        sweep_above_threshold();
    }
}

// Takes all lists and chains them; all but the first found are walked to their end.
inline hazard_link* hazard_pointer_domain::take_retired() noexcept {
    hazard_link* all = nullptr;
    const auto take = [&all](std::atomic<hazard_link*>& list) {
        if (list.load(std::memory_order_relaxed) == nullptr) {  // relaxed: saves an exchange
            return;
        }
        hazard_link* const first = list.exchange(nullptr, std::memory_order_acquire);  // E5 acquire
        if (first != nullptr && all != nullptr) {
            hazard_link* last = first;
            while (last->next_retired != nullptr) {
                last = last->next_retired;
            }
            last->next_retired = all;
        }
        all = first != nullptr ? first : all;
    };
    take(retired_);
    for (auto* r = records_.first(); r != nullptr; r = r->next) {
        take(r->retired);
    }
    return all;
}

template <std::invocable<hazard_link*> Reclaim>
hazard_link* hazard_pointer_domain::sweep(hazard_link* list, Reclaim&& reclaim) noexcept {
    if (list == nullptr) {
        return nullptr;
    }
    detail::hazard_scan scan(records_, asymmetric());
    if (scan.blind()) {
        return list;
    }
    hazard_link* kept = nullptr;
    hazard_link** kept_end = &kept;
    // Moves the protected of the list to `kept`; what becomes of the others is told by `other`.
    const auto part = [&](detail::hazard_set const& found, auto&& other) {
        for (hazard_link* object = std::exchange(list, nullptr); object != nullptr;) {
            hazard_link* const next = object->next_retired;
            if (found.contains(detail::hazard_address(object))) {
                *kept_end = object;
                kept_end = &object->next_retired;
            } else {
                other(object);
            }
            object = next;
        }
    };
    detail::hazard_set found;
    while (scan.fill(found)) {  // more addresses are protected than the set has room for: sort out these, then look on
        hazard_link** rest_end = &list;
        part(found, [&](hazard_link* object) {
            *rest_end = object;
            rest_end = &object->next_retired;
        });
        *rest_end = nullptr;
        found.clear();
    }
    part(found, reclaim);
    *kept_end = nullptr;
    return kept;
}

// One sweep over all that is retired.
inline std::size_t hazard_pointer_domain::sweep_retired() noexcept {
    std::size_t reclaimed = 0;
    hazard_link* const kept = sweep(take_retired(), [&](hazard_link* object) {
        auto& garbage = static_cast<detail::hazard_garbage&>(*object);
        garbage.reclaim_retired(garbage);
        ++reclaimed;
    });
    if (kept != nullptr) {
        std::size_t count = 1;
        hazard_link* last = kept;
        for (; last->next_retired != nullptr; last = last->next_retired) {
            ++count;
        }
        push(retired_, kept, last);
        listed_.fetch_add(count, std::memory_order_relaxed);  // relaxed: says when, not what
    }
    reclaimed_.fetch_add(reclaimed, std::memory_order_release);  // E6 release
    return reclaimed;
}

[[gnu::noinline]] inline void hazard_pointer_domain::sweep_above_threshold() noexcept {
    auto& thread = detail::hazards_of_this_thread;
    if (thread.sweeps_in(*this)) {
        return;  // the sweep around this deleter looks again when it is done
    }
    const detail::hazard_sweep here{this, thread.sweeps};
    thread.sweeps = &here;
    std::size_t listed = listed_.load(std::memory_order_relaxed);  // relaxed: says when, not what
    while (listed >= sweep_threshold()) {
        if (listed_.compare_exchange_weak(listed, 0, std::memory_order_relaxed)) {  // relaxed: elects one of several
            if (sweep_retired() == 0) {
                break;
            }
            listed = listed_.load(std::memory_order_relaxed);  // relaxed: says when, not what
        }
    }
    thread.sweeps = here.outer;
}

inline std::size_t hazard_pointer_domain::reclaim() noexcept {
    auto& thread = detail::hazards_of_this_thread;
    if (thread.sweeps_in(*this)) {
        return 0;
    }
    const detail::hazard_sweep here{this, thread.sweeps};
    thread.sweeps = &here;
    std::size_t total = 0;
    for (std::size_t round = 1; round != 0; total += round) {
        listed_.store(0, std::memory_order_relaxed);  // relaxed: says when, not what
        round = sweep_retired();
    }
    thread.sweeps = here.outer;
    return total;
}

// With no hazard pointer left there is nobody to ask.
inline void hazard_pointer_domain::reclaim_everything() noexcept {
    auto& thread = detail::hazards_of_this_thread;
    const detail::hazard_sweep here{this, thread.sweeps};
    thread.sweeps = &here;
    while (hazard_link* list = take_retired()) {
        while (list != nullptr) {
            auto& garbage = static_cast<detail::hazard_garbage&>(*std::exchange(list, list->next_retired));
            garbage.reclaim_retired(garbage);
        }
    }
    thread.sweeps = here.outer;
}

inline hazard_pointer_domain::~hazard_pointer_domain() {
    reclaim_everything();
    assert(records_.idle());  // else a hazard pointer of this domain is left
    records_.clear();
}

inline void hazard_pointer_domain::reset(hazard_pointer_mode mode) {
    mode_.store(checked(mode), std::memory_order_relaxed);  // relaxed: the domain is at rest
    reclaim_everything();
    if (detail::hazards_of_this_thread.domain == this) {
        detail::hazards_of_this_thread.leave();
    }
    records_.restart(mode == hazard_pointer_mode::membarrier);
    retired_count_.store(0, std::memory_order_relaxed);  // relaxed: as above
    listed_.store(0, std::memory_order_relaxed);         // relaxed: as above
    reclaimed_.store(0, std::memory_order_relaxed);      // relaxed: as above
}

}  // namespace weir::inline v0

#endif
