// weir (BSL-1.0). pool_submit: how an item comes into a pool. Edges: see pool_core.hpp.
#ifndef WEIR_RUN_DETAIL_POOL_SUBMIT_HPP
#define WEIR_RUN_DETAIL_POOL_SUBMIT_HPP
#include <weir/run/detail/pool_core.hpp>

namespace weir::inline v0 {
namespace detail {

template <class Item, class Run, class Clock, class Spawn>
pool_terms pool_core<Item, Run, Clock, Spawn>::terms() const noexcept {
    return pool_terms{.full = full_,
                      .until = submit_timeout_ == std::chrono::nanoseconds::max()
                                   ? time_point::max()
                                   : saturating_add(std::chrono::steady_clock::now(), submit_timeout_)};
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::submit(Item& item, pool_terms const& t) -> answer {
    if (slot* const s = here()) {
        return submit_inside(*s, item, t);
    }
    return submit_outside(item, t);
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::submit_until(Item& item, time_point until, std::stop_token const& stop) -> answer {
    auto t = terms();
    t.until = until < t.until ? until : t.until;
    t.stop = &stop;
    return submit(item, t);
}

template <class Item, class Run, class Clock, class Spawn>
bool pool_core<Item, Run, Clock, Spawn>::room() noexcept {
    std::size_t const waiting = waiting_.load(std::memory_order_relaxed);  // relaxed: m_
    if (waiting + handed_at_most_ < capacity_) {
        return true;
    }
    if (waiting >= capacity_) {
        return false;
    }
    handed_at_most_ = 0;
    each_slot([this](slot& s) {
        s.handed_at_most = s.local.handed();
        handed_at_most_ += s.handed_at_most;
    });
    return waiting + handed_at_most_ < capacity_;
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::enqueue(Item& item, pool_terms const& t, std::int64_t now) {
    fifo_[t.priority].push(chunks_, std::move(item), t.due, now);
    ++submitted_;
    std::size_t const waiting = waiting_.load(std::memory_order_relaxed) + 1;  // relaxed: m_
    waiting_.store(waiting, std::memory_order_relaxed);                        // relaxed: m_
    if (waiting > high_water_) {
        high_water_ = waiting;
    }
    if (t.priority != 0) {
        urgent_.store(urgent_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // relaxed: m_
    }
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::submit_inside(slot& s, Item& item, pool_terms const& t) -> answer {
    std::int64_t const now = stamps() ? ticks() : 0;
    if (t.priority == 0 && s.accepts) {
        if (!s.local.push([&s]() noexcept { s.pushed.add(); }, std::move(item), t.due, now)) {
            lock const l(m_);
            return refuse(refusal::closed);
        }
        if (wanted_.load(std::memory_order_relaxed)) {  // relaxed: I1
            wake_up wake;
            {
                lock const l(m_);
                wake = wake_one();
            }
            wake();
        }
        if (can_grow_.load(std::memory_order_relaxed) && s.local.size() > grow_depth_) {  // relaxed: a hint
            lock l(m_);
            if (wants_growth(s.local.size())) {
                grow(l);
            }
        }
        return {};
    }
    lock l(m_);
    if (phase_ == phase::leaving || phase_ == phase::stopped || phase_ == phase::starting || refusing_) {
        return refuse(refusal::closed);
    }
    enqueue(item, t, now);
    auto wake = wake_one();
    l.unlock();
    wake();
    return {};
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::submit_outside(Item& item, pool_terms const& t) -> answer {
    std::int64_t const now = stamps() ? ticks() : 0;
    lock l(m_);
    if (phase_ != phase::running) [[unlikely]] {
        return refuse(refusal::closed);
    }
    if (!room()) [[unlikely]] {
        ++was_full_;
        if (can_grow_.load(std::memory_order_relaxed) && sleepers_.top() == nullptr && searching_ == 0) {  // relaxed: m_
            guest const here{*this};
            grow(l);
            if (phase_ != phase::running) {
                return refuse(refusal::closed);
            }
        }
    }
    if (!room()) [[unlikely]] {
        switch (t.full) {
            case when_full::wait: return submit_waiting(l, item, t, now);
            case when_full::reject: return refuse(refusal::queue_full);
            case when_full::run_in_caller: return run_here(l, item, t);
            case when_full::drop_oldest: return drop_oldest(l, item, t, now);
            case when_full::drop_newest: return drop_newest(l, item);
        }
    }
    enqueue(item, t, now);
    auto wake = wake_one();
    if (can_grow_.load(std::memory_order_relaxed) && wants_growth(0)) [[unlikely]] {  // relaxed: m_
        grow(l);
    }
    l.unlock();
    wake();
    return {};
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::refuse(refusal why) noexcept -> answer {
    ++refused_;
    return unexpected<refusal>{why};
}

// Who has waited may come out while the pool is being destroyed: it gives m_ up for good only when it needs the pool no more.
template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::submit_waiting(lock& l, Item& item, pool_terms const& t, std::int64_t now) -> answer {
    guest const here{*this};
    if (auto const why = wait_for_room(l, t)) {
        return refuse(*why);
    }
    enqueue(item, t, now);
    wake_one()();
    if (can_grow_.load(std::memory_order_relaxed) && wants_growth(0)) {  // relaxed: m_
        grow(l);
    }
    return {};
}

// None if there is room.
template <class Item, class Run, class Clock, class Spawn>
std::optional<refusal> pool_core<Item, Run, Clock, Spawn>::wait_for_room(lock& l, pool_terms const& t) {
    auto result = wait_result::notified;
    for (;;) {
        if (phase_ != phase::running) {
            return refusal::closed;
        }
        if (room()) {
            return std::nullopt;
        }
        if (result != wait_result::notified) {
            return result == wait_result::timed_out ? refusal::timed_out : refusal::stopped;
        }
        ++blocked_;
        ++untold_;
        auto const key = room_.prepare_wait();
        l.unlock();
        result = t.stop == nullptr ? room_.wait_until(key, t.until) : room_.wait_until(key, t.until, *t.stop);
        l.lock();
        --blocked_;
    }
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::drop_newest(lock& l, Item& item) -> answer {
    ++submitted_;
    ++dropped_;
    l.unlock();
    drop(std::move(item), refusal::dropped);
    return unexpected<refusal>{refusal::dropped};
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::drop_oldest(lock& l, Item& item, pool_terms const& t, std::int64_t now) -> answer {
    unsigned lowest = 0;
    while (lowest <= t.priority && fifo_[lowest].size() == 0) {
        ++lowest;
    }
    if (lowest > t.priority) {
        return drop_newest(l, item);
    }
    auto const most_before = high_water_;
    enqueue(item, t, now);  // before anything goes, for it may throw
    high_water_ = most_before;
    auto range = fifo_[lowest].take(1);
    pool_entry<Item> oldest = range.take_front();
    chunks_.give_back(range.chunk, 1);
    waiting_.store(waiting_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);  // relaxed: m_
    if (lowest != 0) {
        urgent_.store(urgent_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);  // relaxed: m_
    }
    ++dropped_;
    auto wake = wake_one();
    l.unlock();
    wake();
    drop(std::move(oldest.item), refusal::dropped);
    return {};
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::run_here(lock& l, Item& item, pool_terms const&) -> answer {
    ++submitted_;
    ++in_callers_;
    guest const here{*this};
    l.unlock();
    pool_ends ends;
    std::optional<Item> mine(std::move(item));
    run_one(*mine, 0, pool_no_index, ends, [&mine] { mine.reset(); });
    l.lock();
    --in_callers_;
    caller_ends_.completed.add(ends.completed.value());
    caller_ends_.failed.add(ends.failed.value());
    caller_ends_.cancelled.add(ends.cancelled.value());
    quiet();
    return {};
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::drop(Item&& item, refusal why) noexcept {
    Item mine(std::move(item));
    run_.abandon(mine, why);
    if (on_drop_) {
        call_hook([&] { on_drop_(std::move(mine), why); });
    }
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::report(std::exception_ptr e) noexcept {
    keep_error(e);
    if (on_error_) {
        call_hook([&] { on_error_(std::move(e)); });
    }
}

// What was kept before goes without the lock, for its destructor is the user's.
template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::keep_error(std::exception_ptr e) noexcept {
    lock const l(m_);
    std::swap(last_error_, e);
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
