// weir (BSL-1.0). pool_core: the engine of the pools: queue, workers, sleep, growth, stop.
#ifndef WEIR_RUN_DETAIL_POOL_CORE_HPP
#define WEIR_RUN_DETAIL_POOL_CORE_HPP
#include <weir/base/clock.hpp>
#include <weir/base/detail/backoff.hpp>
#include <weir/base/detail/cache_line.hpp>
#include <weir/base/detail/parking.hpp>
#include <weir/base/detail/unique_function.hpp>
#include <weir/base/expected.hpp>
#include <weir/base/outcome.hpp>
#include <weir/data/stats.hpp>
#include <weir/run/detail/pool_fifo.hpp>
#include <weir/run/detail/pool_local.hpp>
#include <weir/run/detail/pool_mutex.hpp>
#include <weir/run/detail/pool_options.hpp>
#include <weir/run/detail/pool_task.hpp>

#include <atomic>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <new>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#endif

// One mutex, m_, guards nearly all. It is held for a few dozen instructions, and taken once for a batch of items by those who run
// them. Nothing of the user's is called while it is held, but that items are moved.
// Order of locks: m_, then the latch of a local. Nobody holds two latches.
//
// I1 (no wake-up is lost). Whenever m_ is free: if an item waits and a sleeper exists, then searching_ > 0, or the item is in the
//    local of a worker that has yet to look at wanted_. Who is counted in searching_ takes m_ before it sleeps.
//    Queue: it changes under m_; who adds wakes a sleeper if nobody searches; the last who ceases to search and takes something
//    wakes the next if anything is left.
//    Locals: the owner pushes under the local's latch, then reads wanted_. Who goes to sleep, or ceases to search while others
//    sleep, sets wanted_, then visits the locals of all who are awake. Of the push and the visit one is later: the visitor sees
//    the item, or the owner sees wanted_.
// I2 (bound). What waits in the queue or was handed to a local and has not begun is at most `capacity`, but for what workers
//    submit. Handed items only become fewer while m_ is held.
// I3 A worker that has nothing to do, and one that leaves, has an empty local.
// I4 Each accepted item comes to exactly one end: completed, failed, cancelled, dropped, expired or discarded.
//
// Edges (who hands what to whom):
//   E1  a slot is filled and linked into the list -> a thief that walks the list

namespace weir::inline v0 {
namespace detail {

inline constexpr std::int64_t pool_never = std::numeric_limits<std::int64_t>::max();
inline constexpr std::size_t pool_no_index = std::numeric_limits<std::size_t>::max();  // runs on no worker

template <class Item>
struct pool_entry {
    Item item;
    std::int64_t due;    // ticks; pool_never: it does not expire
    std::int64_t since;  // ticks when it was accepted; 0: nobody wanted to know
};

/// How a submit is meant.
struct pool_terms {
    using time_point = std::chrono::steady_clock::time_point;
    when_full full = when_full::wait;
    unsigned priority = 0;
    std::int64_t due = pool_never;
    time_point until = time_point::max();
    std::stop_token const* stop = nullptr;
};

/// What the calling thread works for.
struct pool_place {
    void const* pool = nullptr;
};
inline thread_local pool_place* pool_here = nullptr;

/// Who can be woken for new work: a worker, or an item that waits for something and helps meanwhile.
struct pool_sleeper {
    pool_sleeper* above = nullptr;
    pool_sleeper* below = nullptr;
    event_count* wake = nullptr;
    std::chrono::steady_clock::time_point since{};  // a worker's: when it fell asleep; none: nobody wanted to know
    bool listed = false;
    bool searching = false;  // counted in searching_
    bool worker = false;
    bool leave = false;  // a worker's: it is no longer counted and has to go
};

/// The sleepers, newest on top.
class pool_sleepers {
public:
    [[nodiscard]] pool_sleeper* top() const noexcept { return top_; }
    [[nodiscard]] pool_sleeper* bottom() const noexcept { return bottom_; }
    void push(pool_sleeper& s) noexcept {
        s.listed = true;
        s.above = nullptr;
        s.below = top_;
        (top_ == nullptr ? bottom_ : top_->above) = &s;
        top_ = &s;
    }
    void remove(pool_sleeper& s) noexcept {
        s.listed = false;
        (s.above == nullptr ? top_ : s.above->below) = s.below;
        (s.below == nullptr ? bottom_ : s.below->above) = s.above;
    }

private:
    pool_sleeper* top_ = nullptr;
    pool_sleeper* bottom_ = nullptr;
};

/// A counter that one thread writes and all may read. Who compares several of them looks into the locals in between, see count().
class pool_counter {
public:
    void add(std::uint64_t more = 1) noexcept {
        std::uint64_t const n = value_.load(std::memory_order_relaxed);  // relaxed: its own
        value_.store(n + more, std::memory_order_relaxed);               // relaxed: a number
    }
    [[nodiscard]] std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }  // relaxed: a number

private:
    std::atomic<std::uint64_t> value_{0};
};

struct pool_ends {
    pool_counter completed;
    pool_counter failed;
    pool_counter cancelled;
    pool_counter expired;
};

/// A worker's place: its thread, when it has one, and what it has to do. Lives as long as the pool, for one worker after another.
template <class Entry>
struct alignas(destructive_size) pool_slot : pool_place {
    enum class life : unsigned char { free, serving, gone };  // gone: the thread is about to end and waits to be joined

    pool_local<Entry> local;
    pool_ends ends;        // the worker
    pool_counter pushed;   // the worker
    unsigned takes = 0;    // the worker
    unsigned urgent = 0;   // the worker: takes from the queue in a row because something urgent waited
    unsigned depth = 0;    // the worker: items begun inside of others
    bool accepts = false;  // the worker: it may push to its local
    event_count wake;
    pool_sleeper sleeper;          // the pool's mutex, as all below
    unsigned handed_at_most = 0;   // local.handed() when somebody looked last
    life state = life::free;
    std::thread thread;
    std::size_t index = 0;
    std::atomic<pool_slot*> next{nullptr};  // set once
};

/// How threads are made; a test puts another in its place.
struct pool_spawn {
    template <class F>
    [[nodiscard]] std::thread operator()(F&& f) const {
        return std::thread(std::forward<F>(f));
    }
};

template <class Item>
using pool_drop_hook = unique_function<void(Item&&, refusal)>;

/// The engine.
/// Run:   run(item, stop_token, index) -> pool_end, may throw; abandon(item, refusal) noexcept.
/// Spawn: makes a thread that calls what it is given.
template <class Item, class Run, class Clock, class Spawn = pool_spawn>
class pool_core {
    static_assert(std::is_nothrow_move_constructible_v<Item> && std::is_nothrow_destructible_v<Item>);
    using entry = pool_entry<Item>;
    using lock = std::unique_lock<pool_mutex>;
    using slot_life = typename pool_slot<entry>::life;

public:
    using slot = pool_slot<entry>;
    using time_point = std::chrono::steady_clock::time_point;
    using answer = expected<void, refusal>;
    using stopped_type = stop_result<Item>;

    /// Throws: std::invalid_argument naming the option, std::bad_alloc, std::system_error if a thread cannot be made.
    pool_core(worker_pool_options o, Run run, Clock clock, pool_drop_hook<Item> on_drop, Spawn spawn = {});
    pool_core(pool_core const&) = delete;
    pool_core& operator=(pool_core const&) = delete;
    /// Drains, and waits for it. Not from a worker.
    ~pool_core();

    /// The item is moved from only if the answer is a success or refusal::dropped.
    answer submit(Item& item, pool_terms const& terms);
    answer submit_until(Item& item, time_point until, std::stop_token const& stop);
    /// As the options say.
    [[nodiscard]] pool_terms terms() const noexcept;

    [[nodiscard]] bool inside() const noexcept { return here() != nullptr; }
    /// Whether done() is true in time. On a worker, runs other items meanwhile.
    template <class Done>
    bool help_until(Done&& done, event_count& ec, time_point deadline, std::stop_token const& stop);
    answer wait_idle_until(time_point deadline, std::stop_token const& stop);

    expected<stopped_type, refusal> stop_until(time_point deadline, stop_mode mode, std::stop_token const& stop);
    /// Throws: std::system_error, std::bad_alloc; then it is stopped still.
    answer start();
    /// Throws: std::invalid_argument; std::system_error, std::bad_alloc if a thread cannot be made.
    void resize(std::size_t min, std::size_t max);

    [[nodiscard]] worker_pool_stats stats() const;
    [[nodiscard]] std::size_t workers_hint() const noexcept {
        return workers_.load(std::memory_order_relaxed);  // relaxed: a number
    }
    [[nodiscard]] std::size_t max_workers_hint() const noexcept {
        lock const l(m_);
        return max_;
    }
    [[nodiscard]] std::exception_ptr last_error() const;
    [[nodiscard]] histogram<> const& wait_times() const noexcept { return wait_times_; }
    [[nodiscard]] histogram<> const& run_times() const noexcept { return run_times_; }
    [[nodiscard]] Run& runner() noexcept { return run_; }
    [[nodiscard]] std::int64_t ticks_at(time_point_of<Clock> t) const noexcept { return saturating_between(epoch_, t).count(); }

    /// All that a worker does, from its start to its end. For a thread that Spawn has made.
    void work(slot& s);

private:
    enum class phase : unsigned char { starting, running, draining, leaving, stopped };
    enum class found : unsigned char { something, nothing, leave };
    enum class nap : unsigned char { again, leave };

    // Whom to notify once m_ is given up.
    class wake_up {
    public:
        wake_up() noexcept = default;
        explicit wake_up(event_count& who) noexcept : who_(&who) {}
        void operator()() noexcept {
            if (who_ != nullptr) {
                std::exchange(who_, nullptr)->notify_one();
            }
        }

    private:
        event_count* who_ = nullptr;
    };

    [[nodiscard]] std::int64_t ticks() const noexcept {
        std::int64_t const t = ticks_at(clock_.now());
        return t < 1 ? 1 : t;
    }
    [[nodiscard]] slot* here() const noexcept {
        pool_place* const p = pool_here;
        return p != nullptr && p->pool == this ? static_cast<slot*>(p) : nullptr;
    }
    [[nodiscard]] static bool passed(time_point deadline) noexcept {
        return deadline != time_point::max() && std::chrono::steady_clock::now() >= deadline;
    }
    // Whether the times of items are wanted.
    [[nodiscard]] bool stamps() const noexcept {
        return measure_ || can_grow_.load(std::memory_order_relaxed);  // relaxed: a hint
    }
    // With m_.
    template <class F>
    void each_slot(F&& f) const {
        for (slot* s = first_slot_.load(std::memory_order_relaxed); s != nullptr;  // relaxed: m_
             s = s->next.load(std::memory_order_relaxed)) {                        // relaxed: m_
            f(*s);
        }
    }

    // -- pool_submit.hpp. With m_, unless it says otherwise.
    [[nodiscard]] bool room() noexcept;
    void enqueue(Item& item, pool_terms const& terms, std::int64_t now);
    answer submit_inside(slot& s, Item& item, pool_terms const& terms);   // without m_
    answer submit_outside(Item& item, pool_terms const& terms);           // without m_
    answer refuse(refusal why) noexcept;
    answer submit_waiting(lock& l, Item& item, pool_terms const& terms, std::int64_t now);
    std::optional<refusal> wait_for_room(lock& l, pool_terms const& terms);
    answer drop_newest(lock& l, Item& item);
    answer drop_oldest(lock& l, Item& item, pool_terms const& terms, std::int64_t now);
    answer run_here(lock& l, Item& item, pool_terms const& terms);
    void drop(Item&& item, refusal why) noexcept;          // without m_
    void report(std::exception_ptr e) noexcept;            // without m_
    void keep_error(std::exception_ptr e) noexcept;        // without m_
    template <class F>
    void call_hook(F&& f) noexcept;                        // without m_

    // -- pool_take.hpp
    found next(slot& s, std::optional<entry>& e);                                  // without m_
    bool take_shared(slot& s, std::optional<entry>& e, lock& l, bool helping);     // gives m_ up if it returns true
    [[nodiscard]] unsigned pick_class() noexcept;
    void give_back_range(slot& s) noexcept;
    bool steal(slot& s, std::optional<entry>& e) noexcept;                         // without m_
    found seek(slot& s, std::optional<entry>& e);                                  // without m_
    nap rest(slot& s, lock& l);
    void execute(slot& s, std::optional<entry>& e) noexcept;                       // without m_
    template <class Destroy>
    void run_one(Item& item, std::int64_t since, std::size_t index, pool_ends& ends, Destroy destroy) noexcept;  // without m_

    // -- Sleepers
    void set_wanted() noexcept {
        wanted_.store(sleepers_.top() != nullptr && searching_ == 0, std::memory_order_relaxed);  // relaxed: I1
    }
    void begin_search(pool_sleeper& s) noexcept;
    void cease_search(pool_sleeper& s) noexcept;
    [[nodiscard]] wake_up wake_one() noexcept;      // if nobody searches
    [[nodiscard]] wake_up pass_on() noexcept;       // the same, if there is something to do
    [[nodiscard]] bool locals_busy() const noexcept;
    void fall_asleep(slot& s) noexcept;
    void get_up(pool_sleeper& s) noexcept;
    void quiet() noexcept;                          // looks whether all is done
    [[nodiscard]] bool idle() const noexcept;

    // -- pool_threads.hpp
    [[nodiscard]] bool wants_growth(std::size_t in_local) noexcept;
    void grow(lock& l);
    slot& enlist();                                         // throws std::bad_alloc
    void launch(lock& l, slot& s);                          // throws
    void dismiss(slot& s) noexcept;                         // it is no longer counted
    void depart(slot& s) noexcept;
    time_point shrink(pool_sleeper& s) noexcept;
    [[nodiscard]] bool coldest(pool_sleeper const& s) const noexcept;
    void set_can_grow() noexcept;
    void send_off(pool_sleeper& s) noexcept;
    void join_gone(lock& l) noexcept;
    void begin(lock& l);                                    // throws
    void sweep(std::vector<Item>& out);
    [[nodiscard]] std::size_t queued() const noexcept;
    [[nodiscard]] worker_pool_stats count() const noexcept;
    void free_slots() noexcept;                             // nobody else is there

    // How long a thread that is not a worker waits in here; the destructor waits for it.
    class guest {
    public:
        explicit guest(pool_core& pool) noexcept : pool_(pool) { ++pool_.guests_; }
        guest(guest const&) = delete;
        guest& operator=(guest const&) = delete;
        ~guest() {
            if (--pool_.guests_ == 0) {
                pool_.gone_.notify_all();  // with m_: then the pool is there still
            }
        }

    private:
        pool_core& pool_;
    };

    // Set once
    std::size_t const capacity_;
    when_full const full_;
    std::chrono::nanoseconds const submit_timeout_;
    unsigned const classes_;
    bool const measure_;
    unsigned const help_depth_;
    unsigned const grow_depth_;
    std::int64_t const grow_after_;
    std::chrono::nanoseconds const keep_alive_;
    std::chrono::nanoseconds const shrink_interval_;
    char name_[16] = {};
    unique_function<void(std::exception_ptr)> on_error_;
    unique_function<void(std::size_t)> on_start_;
    unique_function<void(std::size_t)> on_exit_;
    pool_drop_hook<Item> on_drop_;
    [[no_unique_address]] Run run_;
    [[no_unique_address]] Clock clock_;
    [[no_unique_address]] Spawn spawn_;
    time_point_of<Clock> const epoch_;
    std::stop_source stop_;  // changed while there are no workers
    std::stop_token token_;  // likewise

    alignas(destructive_size) mutable pool_mutex m_;
    // All below: m_, unless it says otherwise. Atomics are written under m_ and read as hints without it.
    std::atomic<std::size_t> waiting_{0};  // in all classes
    std::atomic<bool> wanted_{false};      // a sleeper exists and nobody searches
    std::atomic<bool> can_grow_{false};    // another worker may be added
    std::atomic<std::size_t> urgent_{0};   // waiting in classes above the first
    phase phase_ = phase::starting;
    bool refusing_ = false;  // stop_mode::discard: workers' submits too
    unsigned searching_ = 0;
    pool_sleepers sleepers_;
    std::size_t asleep_ = 0;  // workers in sleepers_
    std::atomic<std::size_t> workers_{0};
    std::size_t handed_at_most_ = 0;
    std::size_t blocked_ = 0;
    std::size_t untold_ = 0;  // of these, at most so many that nobody has woken
    std::size_t taken_ = 0;   // since the blocked were woken
    std::uint64_t submitted_ = 0;
    pool_fifo<entry> fifo_[4];
    pool_chunk_store<entry> chunks_;
    unsigned passed_over_[4] = {};  // items taken from a higher class while this one waited
    std::size_t min_ = 0;
    std::size_t max_ = 0;
    std::size_t threads_ = 0;   // that have not departed
    std::size_t spawning_ = 0;  // threads being made
    std::size_t guests_ = 0;
    std::size_t in_callers_ = 0;  // items that run on the thread that submitted them
    std::int64_t no_growth_until_ = 0;
    time_point last_left_{};
    slot* last_slot_ = nullptr;
    std::atomic<slot*> first_slot_{nullptr};  // set once
    std::size_t slots_ = 0;
    event_count room_;     // submits
    event_count idle_;     // wait_idle
    event_count stopped_;  // stop
    event_count gone_;     // the destructor
    pool_ends caller_ends_;
    std::uint64_t dropped_ = 0;
    std::uint64_t discarded_ = 0;
    std::uint64_t high_water_ = 0;
    std::uint64_t was_full_ = 0;
    std::uint64_t refused_ = 0;
    std::uint64_t growths_ = 0;
    std::uint64_t spawn_failures_ = 0;
    std::uint64_t hook_failures_ = 0;
    std::exception_ptr last_error_;
    histogram<> wait_times_;  // any worker
    histogram<> run_times_;   // any worker
};

}  // namespace detail
}  // namespace weir::inline v0

#include <weir/run/detail/pool_submit.hpp>
#include <weir/run/detail/pool_take.hpp>
#include <weir/run/detail/pool_threads.hpp>

#endif
