// weir (BSL-1.0). pool_take: how an item comes out of a pool, and what a worker does that finds none. Edges: see pool_core.hpp.
#ifndef WEIR_RUN_DETAIL_POOL_TAKE_HPP
#define WEIR_RUN_DETAIL_POOL_TAKE_HPP
#include <weir/run/detail/pool_core.hpp>

namespace weir::inline v0 {
namespace detail {

// -- Sleepers

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::begin_search(pool_sleeper& s) noexcept {
    s.searching = true;
    ++searching_;
    set_wanted();
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::cease_search(pool_sleeper& s) noexcept {
    if (s.searching) {
        s.searching = false;
        --searching_;
        set_wanted();
    }
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::wake_one() noexcept -> wake_up {
    pool_sleeper* const s = sleepers_.top();
    if (s == nullptr || searching_ != 0) {
        return {};
    }
    get_up(*s);
    begin_search(*s);
    if (!s->worker) {
        s->wake->notify_all();  // with m_: it is gone once it has had m_
        return {};
    }
    return wake_up{*s->wake};
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::pass_on() noexcept -> wake_up {
    if (sleepers_.top() != nullptr && searching_ == 0 &&
        (waiting_.load(std::memory_order_relaxed) != 0 || locals_busy())) {  // relaxed: m_
        return wake_one();
    }
    return {};
}

// Who sleeps has nothing in its local (I3).
template <class Item, class Run, class Clock, class Spawn>
bool pool_core<Item, Run, Clock, Spawn>::locals_busy() const noexcept {
    bool busy = false;
    each_slot([&busy](slot const& s) {
        busy = busy || (s.state == slot_life::serving && !s.sleeper.listed && s.local.count() != 0);
    });
    return busy;
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::fall_asleep(slot& s) noexcept {
    ++asleep_;
    sleepers_.push(s.sleeper);
    set_wanted();
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::get_up(pool_sleeper& s) noexcept {
    sleepers_.remove(s);
    asleep_ -= s.worker ? 1 : 0;
    set_wanted();
}

template <class Item, class Run, class Clock, class Spawn>
bool pool_core<Item, Run, Clock, Spawn>::idle() const noexcept {
    return asleep_ == workers_.load(std::memory_order_relaxed) && in_callers_ == 0 &&  // relaxed: m_
           waiting_.load(std::memory_order_relaxed) == 0;                             // relaxed: m_
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::quiet() noexcept {
    if (!idle()) {
        return;
    }
    idle_.notify_all();
    if (phase_ == phase::draining) {
        phase_ = phase::leaving;
        while (sleepers_.top() != nullptr) {
            send_off(*sleepers_.top());
        }
        if (threads_ == 0 && spawning_ == 0) {
            phase_ = phase::stopped;
            stopped_.notify_all();
        }
    }
}

// -- What to do next

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::next(slot& s, std::optional<entry>& e) -> found {
    ++s.takes;
    bool const fair = s.takes % 61 == 0;  // what came from outside has its turn, however much the worker submits itself
    bool queue_first = fair;
    if (urgent_.load(std::memory_order_relaxed) != 0) [[unlikely]] {  // relaxed: a hint
        queue_first = ++s.urgent % 8 != 0;
    } else if (fair && s.local.handed() != 0) {
        queue_first = false;  // that came before what is in the queue
    }
    if (!queue_first && s.local.take(e, fair)) {
        return found::something;
    }
    if (waiting_.load(std::memory_order_relaxed) != 0 ||                        // relaxed: a hint
        (queue_first && can_grow_.load(std::memory_order_relaxed))) {           // relaxed: a hint
        lock l(m_);
        if (workers_.load(std::memory_order_relaxed) > max_ && s.local.size() == 0) {  // relaxed: m_
            dismiss(s);
            return found::leave;
        }
        if (take_shared(s, e, l, false)) {
            return found::something;
        }
        if (queue_first && can_grow_.load(std::memory_order_relaxed) && wants_growth(s.local.size())) {  // relaxed: m_
            grow(l);
        }
    }
    if (queue_first && s.local.take(e)) {
        return found::something;
    }
    return seek(s, e);
}

// The class to serve: the highest that waits, but each that waits gets one in eight.
template <class Item, class Run, class Clock, class Spawn>
unsigned pool_core<Item, Run, Clock, Spawn>::pick_class() noexcept {
    if (classes_ == 1) {
        return 0;
    }
    unsigned best = 0;
    for (unsigned c = classes_; c-- > 0;) {
        if (fifo_[c].size() != 0) {
            best = c;
            break;
        }
    }
    unsigned chosen = best;
    for (unsigned c = 0; c < best; ++c) {
        if (fifo_[c].size() != 0 && passed_over_[c] >= 7) {
            chosen = c;
            break;
        }
    }
    for (unsigned c = 0; c < classes_; ++c) {
        passed_over_[c] = c == chosen || fifo_[c].size() == 0 ? 0 : passed_over_[c] + 1;
    }
    if (chosen != 0) {
        urgent_.store(urgent_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);  // relaxed: m_
    }
    return chosen;
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::give_back_range(slot& s) noexcept {
    auto const r = s.local.take_emptied();
    if (r.chunk != nullptr) {
        chunks_.give_back(r.chunk, r.size());
        handed_at_most_ -= s.handed_at_most;
        s.handed_at_most = 0;
    }
}

template <class Item, class Run, class Clock, class Spawn>
bool pool_core<Item, Run, Clock, Spawn>::take_shared(slot& s, std::optional<entry>& e, lock& l, bool helping) {
    std::size_t const waiting = waiting_.load(std::memory_order_relaxed);  // relaxed: m_
    if (waiting == 0) {
        return false;
    }
    if (s.local.holds_range()) {
        give_back_range(s);
    }
    unsigned const c = pick_class();
    bool const hands = !s.local.holds_range();
    unsigned most = 1;
    if (hands && !helping && classes_ == 1) {
        std::size_t const share = waiting / (2 * workers_.load(std::memory_order_relaxed));  // relaxed: m_
        most = share < 1 ? 1 : share > 32 ? 32 : static_cast<unsigned>(share);
    }
    auto range = fifo_[c].take(most);
    unsigned const n = range.size();
    waiting_.store(waiting - n, std::memory_order_relaxed);  // relaxed: m_
    if (hands) {
        auto rest = range;
        ++rest.begin;
        s.local.hand(range, rest);
        s.handed_at_most = n - 1;
        handed_at_most_ += n - 1;
    } else {
        e.emplace(range.take_front());
        chunks_.give_back(range.chunk, 1);
    }
    taken_ += n;
    bool const tell = untold_ != 0 && (waiting - n <= capacity_ / 2 || taken_ >= capacity_);
    if (tell || untold_ == 0) {
        taken_ = 0;
        untold_ = 0;
    }
    wake_up wake;
    if (s.sleeper.searching) {
        cease_search(s.sleeper);
        wake = pass_on();
    }
    bool const may_grow = can_grow_.load(std::memory_order_relaxed);  // relaxed: m_
    if (may_grow && wants_growth(s.local.size())) [[unlikely]] {
        grow(l);
    }
    l.unlock();
    wake();
    if (tell) {
        room_.notify_all();
    }
    if (hands) {
        e.emplace(range.take_front());
    }
    if (may_grow && e->since != 0 && ticks() - e->since > grow_after_) [[unlikely]] {
        l.lock();
        if (can_grow_.load(std::memory_order_relaxed) && sleepers_.top() == nullptr) {  // relaxed: m_
            grow(l);
        }
        l.unlock();
    }
    return true;
}

template <class Item, class Run, class Clock, class Spawn>
bool pool_core<Item, Run, Clock, Spawn>::steal(slot& s, std::optional<entry>& e) noexcept {
    slot* victim = &s;
    for (;;) {
        victim = victim->next.load(std::memory_order_acquire);  // E1 acquire
        if (victim == nullptr) {
            victim = first_slot_.load(std::memory_order_relaxed);  // relaxed: set, and whole, before there was a worker
        }
        if (victim == &s) {
            return false;
        }
        if (victim->local.steal(e)) {
            return true;
        }
    }
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::seek(slot& s, std::optional<entry>& e) -> found {
    lock l(m_);
    for (;;) {
        if (take_shared(s, e, l, false)) {
            return found::something;
        }
        if (!s.sleeper.searching) {
            begin_search(s.sleeper);
        }
        l.unlock();
        bool stolen = false;
        for (backoff pause;;) {
            stolen = steal(s, e);
            if (stolen || waiting_.load(std::memory_order_relaxed) != 0 || !pause.spin()) {  // relaxed: a hint
                break;
            }
        }
        l.lock();
        if (stolen) {
            cease_search(s.sleeper);
            auto wake = pass_on();
            l.unlock();
            wake();
            return found::something;
        }
        if (waiting_.load(std::memory_order_relaxed) == 0 && rest(s, l) == nap::leave) {  // relaxed: m_
            return found::leave;
        }
    }
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::rest(slot& s, lock& l) -> nap {
    cease_search(s.sleeper);
    give_back_range(s);
    if (phase_ == phase::leaving || workers_.load(std::memory_order_relaxed) > max_) {  // relaxed: m_
        dismiss(s);
        return nap::leave;
    }
    fall_asleep(s);
    if (locals_busy()) {
        get_up(s.sleeper);
        return nap::again;
    }
    s.sleeper.since = min_ < max_ ? std::chrono::steady_clock::now() : time_point{};
    quiet();
    while (s.sleeper.listed) {
        time_point const until = shrink(s.sleeper);
        if (!s.sleeper.listed) {
            break;
        }
        auto const key = s.wake.prepare_wait();
        l.unlock();
        static_cast<void>(s.wake.wait_until(key, until));
        l.lock();
    }
    return std::exchange(s.sleeper.leave, false) ? nap::leave : nap::again;
}

// -- Running

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::execute(slot& s, std::optional<entry>& e) noexcept {
    if (e->due != pool_never && ticks() >= e->due) [[unlikely]] {
        drop(std::move(e->item), refusal::expired);
        e.reset();
        s.ends.expired.add();
        return;
    }
    run_one(e->item, e->since, s.index, s.ends, [&e] { e.reset(); });
}

// Counts it once it is gone: who waits for idleness, or compares numbers, finds nothing of it left.
template <class Item, class Run, class Clock, class Spawn>
template <class Destroy>
void pool_core<Item, Run, Clock, Spawn>::run_one(Item& item, std::int64_t since, std::size_t index, pool_ends& ends,
                                                 Destroy destroy) noexcept {
    std::chrono::steady_clock::time_point start{};
    if (measure_) [[unlikely]] {
        start = std::chrono::steady_clock::now();
        if (since != 0) {
            wait_times_.record(std::chrono::nanoseconds{ticks() - since});
        }
    }
    auto end = pool_end::failed;
    try {
        end = run_.run(item, token_, index);
    } catch (...) {
        report(std::current_exception());
    }
    if (measure_) [[unlikely]] {
        run_times_.record(std::chrono::steady_clock::now() - start);
    }
    destroy();
    (end == pool_end::completed ? ends.completed : end == pool_end::failed ? ends.failed : ends.cancelled).add();
}

template <class Item, class Run, class Clock, class Spawn>
template <class Done>
bool pool_core<Item, Run, Clock, Spawn>::help_until(Done&& done, event_count& ec, time_point deadline,
                                                     std::stop_token const& stop) {
    slot* const s = here();
    if (s == nullptr || !s->accepts) {
        return await(ec, done, deadline, stop) == wait_result::notified;
    }
    std::optional<entry> e;
    if (s->depth >= help_depth_) {
        // What this worker has submitted itself is begun all the same: it may be what is waited for, and nobody else may come.
        while (!done() && !stop.stop_requested() && !passed(deadline) && s->local.take_own(e)) {
            execute(*s, e);
        }
        return await(ec, done, deadline, stop) == wait_result::notified;
    }
    struct level {
        slot& s;
        explicit level(slot& of) noexcept : s(of) { ++s.depth; }
        level(level const&) = delete;
        level& operator=(level const&) = delete;
        ~level() { --s.depth; }
    } const deeper{*s};
    for (;;) {
        if (done()) {
            return true;
        }
        if (stop.stop_requested() || passed(deadline)) {
            return false;
        }
        if (s->local.take(e)) {
            execute(*s, e);
            continue;
        }
        if (waiting_.load(std::memory_order_relaxed) != 0) {  // relaxed: a hint
            lock l(m_);
            if (take_shared(*s, e, l, true)) {
                execute(*s, e);
                continue;
            }
        }
        if (steal(*s, e)) {
            execute(*s, e);
            continue;
        }
        auto const key = ec.prepare_wait();
        if (done()) {
            ec.cancel_wait();
            return true;
        }
        lock l(m_);
        if (take_shared(*s, e, l, true)) {
            ec.cancel_wait();
            execute(*s, e);
            continue;
        }
        pool_sleeper me;
        me.wake = &ec;
        sleepers_.push(me);
        set_wanted();
        if (locals_busy()) {
            get_up(me);
            l.unlock();
            ec.cancel_wait();
            continue;
        }
        l.unlock();
        static_cast<void>(ec.wait_until(key, deadline, stop));
        l.lock();
        wake_up wake;
        if (me.listed) {
            get_up(me);
        } else {
            cease_search(me);
            wake = pass_on();
        }
        l.unlock();
        wake();
    }
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
