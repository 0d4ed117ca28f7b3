// weir (BSL-1.0). pool_threads: how workers come and go, and how a pool starts and stops. Edges: see pool_core.hpp.
#ifndef WEIR_RUN_DETAIL_POOL_THREADS_HPP
#define WEIR_RUN_DETAIL_POOL_THREADS_HPP
#include <weir/run/detail/pool_core.hpp>

namespace weir::inline v0 {
namespace detail {

template <class Item, class Run, class Clock, class Spawn>
pool_core<Item, Run, Clock, Spawn>::pool_core(worker_pool_options o, Run run, Clock clock, pool_drop_hook<Item> on_drop, Spawn spawn)
    : capacity_((check_pool_options(o), o.capacity)), full_(o.full), submit_timeout_(o.submit_timeout), classes_(o.priorities),
      measure_(o.measure), help_depth_(o.help_depth), grow_depth_(o.grow_depth), grow_after_(o.grow_after.count()),
      keep_alive_(o.keep_alive), shrink_interval_(o.shrink_interval), on_error_(std::move(o.on_error)),
      on_start_(std::move(o.on_start)), on_exit_(std::move(o.on_exit)), on_drop_(std::move(on_drop)), run_(std::move(run)),
      clock_(std::move(clock)), spawn_(std::move(spawn)), epoch_(clock_.now()), token_(stop_.get_token()), min_(o.min_workers),
      max_(o.max_workers) {
    for (std::size_t i = 0; i < o.name.size(); ++i) {
        name_[i] = o.name[i];
    }
    lock l(m_);
    try {
        begin(l);
    } catch (...) {
        free_slots();
        throw;
    }
}

template <class Item, class Run, class Clock, class Spawn>
pool_core<Item, Run, Clock, Spawn>::~pool_core() {
    assert(here() == nullptr && "weir::worker_pool: destroyed by one of its own workers");
    static_cast<void>(stop_until(time_point::max(), stop_mode::drain, {}));
    lock l(m_);
    while (guests_ != 0) {
        auto const key = gone_.prepare_wait();
        l.unlock();
        gone_.wait(key);
        l.lock();
    }
    l.unlock();
    free_slots();
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::free_slots() noexcept {
    for (auto& fifo : fifo_) {
        fifo.clear(chunks_);
    }
    for (slot* s = first_slot_.load(std::memory_order_relaxed); s != nullptr;) {      // relaxed: nobody else is there
        delete std::exchange(s, s->next.load(std::memory_order_relaxed));             // relaxed: likewise
    }
}

// -- Workers

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::work(slot& s) {
    pool_here = &s;
#if defined(__linux__)
    if (name_[0] != '\0') {
        char name[16] = {};
        std::size_t n = 0;
        for (; name_[n] != '\0'; ++n) {
            name[n] = name_[n];
        }
        name[n++] = '-';
        char digits[20];
        std::size_t k = 0;
        for (std::size_t i = s.index; k == 0 || i != 0; i /= 10) {
            digits[k++] = static_cast<char>('0' + i % 10);
        }
        while (k != 0 && n < 15) {
            name[n++] = digits[--k];
        }
        static_cast<void>(::pthread_setname_np(::pthread_self(), name));
    }
#endif
    if (on_start_) {
        call_hook([&] { on_start_(s.index); });
    }
    s.accepts = true;
    std::optional<entry> e;
    while (next(s, e) == found::something) {
        execute(s, e);
    }
    s.accepts = false;
    if (on_exit_) {
        call_hook([&] { on_exit_(s.index); });
    }
    pool_here = nullptr;
    depart(s);
}

template <class Item, class Run, class Clock, class Spawn>
template <class F>
void pool_core<Item, Run, Clock, Spawn>::call_hook(F&& f) noexcept {
    try {
        f();
    } catch (...) {
        keep_error(std::current_exception());
        lock const l(m_);
        ++hook_failures_;
    }
}

// A place for one worker more, which is counted from now on.
template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::enlist() -> slot& {
    slot* place = nullptr;
    each_slot([&place](slot& s) { place = place == nullptr && s.state == slot_life::free ? &s : place; });
    if (place == nullptr) {
        place = new slot;
        place->pool = this;
        place->index = slots_++;
        place->sleeper.worker = true;
        place->sleeper.wake = &place->wake;
        auto& link = last_slot_ == nullptr ? first_slot_ : last_slot_->next;
        link.store(place, std::memory_order_release);  // E1 release
        last_slot_ = place;
    }
    place->state = slot_life::serving;
    place->takes = 0;
    ++threads_;
    workers_.store(workers_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // relaxed: m_
    return *place;
}

// Makes the thread of a worker that is counted already; without one it is not counted any more.
template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::launch(lock& l, slot& s) {
    ++spawning_;
    set_can_grow();
    l.unlock();
    std::thread thread;
    std::exception_ptr failed;
    try {
        thread = spawn_([this, &s] { work(s); });
    } catch (...) {
        failed = std::current_exception();
    }
    l.lock();
    --spawning_;
    if (failed == nullptr) {
        s.thread = std::move(thread);
    } else {
        ++spawn_failures_;
        s.state = slot_life::free;
        --threads_;
        workers_.store(workers_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);  // relaxed: m_
    }
    set_can_grow();
    quiet();
    if (phase_ == phase::leaving && threads_ == 0 && spawning_ == 0) {
        phase_ = phase::stopped;
        stopped_.notify_all();
    }
    if (failed != nullptr) {
        std::rethrow_exception(failed);
    }
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::dismiss(slot& s) noexcept {
    cease_search(s.sleeper);
    give_back_range(s);
    pass_on()();
    workers_.store(workers_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);  // relaxed: m_
    set_can_grow();
    quiet();
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::depart(slot& s) noexcept {
    lock const l(m_);
    s.state = slot_life::gone;
    --threads_;
    if (phase_ == phase::leaving && threads_ == 0 && spawning_ == 0) {
        phase_ = phase::stopped;
        stopped_.notify_all();
    }
}

// Joins the threads that have departed; what remains of their lives is a few instructions.
template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::join_gone(lock& l) noexcept {
    for (slot* s = first_slot_.load(std::memory_order_relaxed); s != nullptr;  // relaxed: m_
         s = s->next.load(std::memory_order_relaxed)) {                        // relaxed: m_
        if (s->state == slot_life::gone && s->thread.joinable()) {
            std::thread thread = std::move(s->thread);
            l.unlock();
            thread.join();
            l.lock();
            s->state = slot_life::free;
        }
    }
}

// -- Growing and shrinking

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::set_can_grow() noexcept {
    can_grow_.store(phase_ == phase::running && spawning_ == 0 &&
                        workers_.load(std::memory_order_relaxed) < max_,  // relaxed: m_
                    std::memory_order_relaxed);                          // relaxed: m_, or a hint
}

template <class Item, class Run, class Clock, class Spawn>
bool pool_core<Item, Run, Clock, Spawn>::wants_growth(std::size_t in_local) noexcept {
    if (sleepers_.top() != nullptr || searching_ != 0) {
        return false;
    }
    std::size_t const waiting = waiting_.load(std::memory_order_relaxed) + in_local;  // relaxed: m_
    if (waiting > grow_depth_ * workers_.load(std::memory_order_relaxed)) {           // relaxed: m_
        return true;
    }
    std::int64_t oldest = 0;
    for (unsigned c = 0; c < classes_; ++c) {
        if (fifo_[c].size() != 0) {
            std::int64_t const since = fifo_[c].front().since;
            oldest = since != 0 && (oldest == 0 || since < oldest) ? since : oldest;
        }
    }
    return oldest != 0 && ticks() - oldest > grow_after_;
}

// One more worker, if that is possible; a failure is counted, and the next attempt has to wait.
template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::grow(lock& l) {
    if (!can_grow_.load(std::memory_order_relaxed) || (no_growth_until_ != 0 && ticks() < no_growth_until_)) {  // relaxed: m_
        return;
    }
    no_growth_until_ = 0;
    join_gone(l);
    if (!can_grow_.load(std::memory_order_relaxed)) {  // relaxed: m_
        return;
    }
    try {
        launch(l, enlist());
        ++growths_;
    } catch (...) {
        no_growth_until_ = ticks() + std::chrono::nanoseconds{std::chrono::milliseconds{100}}.count();
    }
}

// By the sleeper that sleeps longest of all, if it is a worker: it goes, if it may. Says when to look again.
template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::shrink(pool_sleeper& s) noexcept -> time_point {
    if (phase_ != phase::running || workers_.load(std::memory_order_relaxed) <= min_ || !coldest(s)) {  // relaxed: m_
        return time_point::max();
    }
    auto const now = std::chrono::steady_clock::now();
    if (s.since == time_point{}) {
        s.since = now;
    }
    auto const cold = saturating_add(s.since, keep_alive_);
    auto const turn = last_left_ == time_point{} ? now : saturating_add(last_left_, shrink_interval_);
    if (now < cold || now < turn) {
        return cold < turn ? turn : cold;
    }
    last_left_ = now;
    send_off(s);
    for (auto* next = sleepers_.bottom(); next != nullptr; next = next->above) {
        if (next->worker) {
            next->wake->notify_one();  // its turn to look
            break;
        }
    }
    return time_point::max();
}

template <class Item, class Run, class Clock, class Spawn>
bool pool_core<Item, Run, Clock, Spawn>::coldest(pool_sleeper const& s) const noexcept {
    for (auto const* colder = s.below; colder != nullptr; colder = colder->below) {
        if (colder->worker) {
            return false;
        }
    }
    return true;
}

// A worker that sleeps is not counted any more, and goes.
template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::send_off(pool_sleeper& s) noexcept {
    get_up(s);
    s.leave = true;
    workers_.store(workers_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);  // relaxed: m_
    set_can_grow();
    s.wake->notify_one();
}

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::resize(std::size_t min, std::size_t max) {
    check_pool_size(min, max);
    lock l(m_);
    min_ = min;
    max_ = max;
    no_growth_until_ = 0;
    set_can_grow();
    for (auto* s = sleepers_.bottom(); s != nullptr && workers_.load(std::memory_order_relaxed) > max_;) {  // relaxed: m_
        auto* const above = s->above;
        if (s->worker) {
            send_off(*s);
        }
        s = above;
    }
    for (auto* s = sleepers_.top(); s != nullptr; s = s->below) {
        if (s->worker) {
            s->wake->notify_one();  // when it may leave is another question now
        }
    }
    while (phase_ == phase::running && workers_.load(std::memory_order_relaxed) < min_) {  // relaxed: m_
        join_gone(l);
        launch(l, enlist());
    }
}

// -- Start and stop

template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::begin(lock& l) {
    phase_ = phase::starting;
    try {
        while (workers_.load(std::memory_order_relaxed) < min_) {  // relaxed: m_
            launch(l, enlist());
        }
    } catch (...) {
        phase_ = phase::draining;
        quiet();
        while (phase_ != phase::stopped) {
            auto const key = stopped_.prepare_wait();
            l.unlock();
            stopped_.wait(key);
            l.lock();
        }
        join_gone(l);
        throw;
    }
    phase_ = phase::running;
    set_can_grow();
    stopped_.notify_all();  // who waits to stop it
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::start() -> answer {
    if (inside()) {
        return unexpected<refusal>{refusal::inside_worker};
    }
    std::stop_source fresh;
    lock l(m_);
    if (phase_ == phase::running) {
        return {};
    }
    if (phase_ != phase::stopped) {
        return unexpected<refusal>{refusal::closed};
    }
    phase_ = phase::starting;
    join_gone(l);
    stop_ = std::move(fresh);
    token_ = stop_.get_token();
    refusing_ = false;
    each_slot([](slot& s) { s.local.close(false); });
    begin(l);
    return {};
}

template <class Item, class Run, class Clock, class Spawn>
std::size_t pool_core<Item, Run, Clock, Spawn>::queued() const noexcept {
    std::size_t n = waiting_.load(std::memory_order_relaxed);  // relaxed: m_
    each_slot([&n](slot const& s) { n += s.local.count(); });
    return n;
}

// Takes out all that is queued; from now on workers are refused too. Throws: std::bad_alloc, and then nothing has happened.
template <class Item, class Run, class Clock, class Spawn>
void pool_core<Item, Run, Clock, Spawn>::sweep(std::vector<Item>& out) {
    bool const before = std::exchange(refusing_, true);
    each_slot([](slot& s) { s.local.close(true); });
    try {
        out.reserve(queued());
    } catch (...) {
        refusing_ = before;
        each_slot([before](slot& s) { s.local.close(before); });
        throw;
    }
    for (unsigned c = 0; c < classes_; ++c) {
        while (fifo_[c].size() != 0) {
            auto range = fifo_[c].take(1);
            out.push_back(range.take_front().item);
            chunks_.give_back(range.chunk, 1);
        }
    }
    waiting_.store(0, std::memory_order_relaxed);  // relaxed: m_
    urgent_.store(0, std::memory_order_relaxed);   // relaxed: m_
    each_slot([&out](slot& s) {
        for (std::optional<entry> e; s.local.steal_surely(e);) {
            out.push_back(std::move(e->item));
        }
    });
    discarded_ += out.size();
}

template <class Item, class Run, class Clock, class Spawn>
expected<stop_result<Item>, refusal> pool_core<Item, Run, Clock, Spawn>::stop_until(time_point deadline, stop_mode mode,
                                                                                    std::stop_token const& stop) {
    if (inside()) {
        return unexpected<refusal>{refusal::inside_worker};
    }
    stopped_type result;
    lock l(m_);
    guest const here{*this};
    auto told = wait_result::notified;
    while (phase_ == phase::starting && told == wait_result::notified) {  // another thread is in start()
        auto const key = stopped_.prepare_wait();
        l.unlock();
        told = stopped_.wait_until(key, deadline, stop);
        l.lock();
    }
    if (phase_ == phase::running) {
        phase_ = phase::draining;
        set_can_grow();
        room_.notify_all();
    }
    if (phase_ == phase::draining && mode == stop_mode::discard) {
        sweep(result.not_run);
        auto source = stop_;
        l.unlock();
        source.request_stop();
        for (auto& item : result.not_run) {
            run_.abandon(item, refusal::closed);
        }
        l.lock();
    }
    quiet();
    while (phase_ != phase::stopped && told == wait_result::notified) {
        auto const key = stopped_.prepare_wait();
        l.unlock();
        told = stopped_.wait_until(key, deadline, stop);
        l.lock();
    }
    result.stopped = phase_ == phase::stopped;
    if (result.stopped) {
        join_gone(l);
    } else {
        auto const s = count();
        result.queued = static_cast<std::size_t>(s.queued);
        result.running = static_cast<std::size_t>(s.running);
    }
    return result;
}

template <class Item, class Run, class Clock, class Spawn>
auto pool_core<Item, Run, Clock, Spawn>::wait_idle_until(time_point deadline, std::stop_token const& stop) -> answer {
    if (inside()) {
        return unexpected<refusal>{refusal::inside_worker};
    }
    lock l(m_);
    guest const here{*this};
    auto told = wait_result::notified;
    for (;;) {
        if (idle()) {
            return {};
        }
        if (told != wait_result::notified) {
            return unexpected<refusal>{told == wait_result::timed_out ? refusal::timed_out : refusal::stopped};
        }
        auto const key = idle_.prepare_wait();
        l.unlock();
        told = idle_.wait_until(key, deadline, stop);
        l.lock();
    }
}

// -- Questions

// With m_. Ends are read first, then what is queued, then what was submitted: so nothing is in two of them. Looking into a local
// takes its latch: who takes an item from there afterwards ends it after the ends were read; of one that was taken before, it is
// seen that it was pushed.
template <class Item, class Run, class Clock, class Spawn>
worker_pool_stats pool_core<Item, Run, Clock, Spawn>::count() const noexcept {
    worker_pool_stats n;
    auto const add = [&n](pool_ends const& e) {
        n.completed += e.completed.value();
        n.failed += e.failed.value();
        n.cancelled += e.cancelled.value();
        n.expired += e.expired.value();
    };
    each_slot([&add](slot const& s) { add(s.ends); });
    add(caller_ends_);
    n.dropped = dropped_;
    n.discarded = discarded_;
    n.queued = queued();
    n.submitted = submitted_;
    each_slot([&n](slot const& s) { n.submitted += s.pushed.value(); });
    n.running = n.submitted - n.completed - n.failed - n.cancelled - n.dropped - n.expired - n.discarded - n.queued;
    return n;
}

template <class Item, class Run, class Clock, class Spawn>
worker_pool_stats pool_core<Item, Run, Clock, Spawn>::stats() const {
    lock const l(m_);
    auto n = count();
    n.high_water = high_water_;
    n.was_full = was_full_;
    n.refused = refused_;
    n.growths = growths_;
    n.spawn_failures = spawn_failures_;
    n.hook_failures = hook_failures_;
    n.workers = workers_.load(std::memory_order_relaxed);  // relaxed: m_
    n.min_workers = min_;
    n.max_workers = max_;
    n.sleeping = asleep_;
    n.blocked = blocked_;
    return n;
}

template <class Item, class Run, class Clock, class Spawn>
std::exception_ptr pool_core<Item, Run, Clock, Spawn>::last_error() const {
    lock const l(m_);
    return last_error_;
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
