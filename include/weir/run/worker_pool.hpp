// weir (BSL-1.0). worker_pool: a bounded queue and the threads that empty it: as many as needed, stopped as you say.
#ifndef WEIR_RUN_WORKER_POOL_HPP
#define WEIR_RUN_WORKER_POOL_HPP
#include <weir/base/clock.hpp>
#include <weir/base/concepts.hpp>
#include <weir/base/detail/unique_function.hpp>
#include <weir/base/expected.hpp>
#include <weir/base/metrics.hpp>
#include <weir/base/outcome.hpp>
#include <weir/data/stats.hpp>
#include <weir/run/detail/future.hpp>
#include <weir/run/detail/pool_core.hpp>
#include <weir/run/detail/pool_group.hpp>
#include <weir/run/detail/pool_job.hpp>
#include <weir/run/detail/pool_map.hpp>
#include <weir/run/detail/pool_options.hpp>
#include <weir/run/detail/pool_task.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <type_traits>
#include <utility>

// When:     work comes in pieces, faster at times than it can be done, and somebody has to say how much may wait.
// When not: one piece of work with a thread of its own (std::jthread); calls that only have to be limited (bulkhead).
// Source:   one lock and batches of it, as in many; the rule "wake one, if somebody sleeps and nobody searches" is that of Go's
//           scheduler; growth and keep-alive as in Java's ThreadPoolExecutor, without its trap: it grows when work waits, not
//           when the queue is full. Stealing: Blumofe, Leiserson, FOCS 1994. detail/pool_core.hpp has the invariants.
//
//     weir::task_pool pool{{.min_workers = 2, .max_workers = 8, .capacity = 1000}};
//     auto sent = pool.submit([] { send_mail(); });                        // expected<void, refusal>
//     auto price = pool.async([id](std::stop_token const& stop) { return look_up(id, stop); });
//     auto answer = price.get_for(2s);                                     // outcome<...>: value, exception or refusal
//
// Order: with one worker, what one thread outside submits is begun in its order, within a class. What workers submit is begun last
// in, first out, before what waits in the queue, or by another worker. Nothing else is promised.
// Conservation: stats().submitted = completed + failed + cancelled + dropped + expired + discarded + queued + running, at any time.

namespace weir::inline v0 {

/// How one item is meant. The classes of priority begin with 0, the least urgent; see worker_pool_options::priorities.
template <clock_source Clock>
struct basic_task_options {
    unsigned priority = 0;                            // below worker_pool_options::priorities
    std::optional<time_point_of<Clock>> expires{};    // not begun from then on, but dropped with refusal::expired
};
using task_options = basic_task_options<std::chrono::steady_clock>;

/// What submit_bulk did: the first `accepted` of the items are the pool's; why it did not go on, if it did not.
struct bulk_answer {
    std::size_t accepted = 0;
    std::optional<refusal> why{};
};

/// Can process items of a pool: callable with Item&&, or with Item&& and a std::stop_token const&, by several threads at once.
template <class P, class Item>
concept processor_of = std::move_constructible<P> &&
                       (std::invocable<P&, Item&&, std::stop_token const&> || std::invocable<P&, Item&&>);

/// What both kinds of pool can do. Use it as worker_pool or task_pool.
/// Threads:  every member but constructor and destructor, from any thread at once, workers too; stop, start and the waits for
///           idleness are refused (refusal::inside_worker) on a worker.
/// Progress: may block: on a mutex that is held for some dozen instructions; a submit on a full queue as the options say; the waits
///           as they say. A submit on a worker of the pool never waits: it exceeds the bound instead.
/// Memory:   64 places at a time, which are kept and used again; a submit that finds one allocates nothing.
/// Lifetime: the destructor stops accepting, releases who waits to submit, runs what is queued and waits for all of it, as long as
///           that takes; stop_for before it, if it may take too long. Not on a worker.
template <class Item, class Run, clock_source Clock>
class basic_pool {
public:
    using options = worker_pool_options;
    using item_options = basic_task_options<Clock>;
    using time_point = std::chrono::steady_clock::time_point;
    using drop_hook = detail::pool_drop_hook<Item>;
    using answer = expected<void, refusal>;

    /// Queues an item. If the queue is full, when_full decides; a wait ends with refusal::timed_out after submit_timeout, and with
    /// refusal::stopped by `stop`. Refused: closed, queue_full, timed_out, stopped: then the item is not moved from.
    /// refusal::dropped: it was, and went to on_drop.
    /// Throws: std::bad_alloc; std::invalid_argument if there is no such class; then the item is not moved from.
    answer submit(Item&& item, item_options const& o = {}, std::stop_token const& stop = {});
    /// The same without waiting: queue_full instead of when_full::wait.
    answer try_submit(Item&& item, item_options const& o = {});
    /// The same, waiting until then at most.
    answer submit_until(time_point until, Item&& item, item_options const& o = {}, std::stop_token const& stop = {});
    answer submit_for(std::chrono::nanoseconds d, Item&& item, item_options const& o = {}, std::stop_token const& stop = {});
    /// Submits the items of a range, moving them out, until one is refused.
    /// Throws: as submit, and what the iterators throw; what was accepted before then stays accepted.
    template <class Range>
    bulk_answer submit_bulk(Range&& range, item_options const& o = {}, std::stop_token const& stop = {});

    /// Waits until nothing is queued and nothing runs. Refused: timed_out, stopped, inside_worker.
    answer wait_idle_until(time_point deadline, std::stop_token const& stop = {}) { return core_.wait_idle_until(deadline, stop); }
    answer wait_idle_for(std::chrono::nanoseconds d, std::stop_token const& stop = {});

    /// Stops: accepts nothing more but from workers (with discard: nothing), releases who waits to submit, ends the threads. What
    /// is not over by the deadline is reported, and the pool goes on stopping; call it again, with either mode. With discard the
    /// result has the items that were not run, and their futures say refusal::closed. On a pool that is stopped: does nothing.
    /// Throws: std::bad_alloc (discard), and then nothing was taken out.
    expected<stop_result<Item>, refusal> stop_until(time_point deadline, stop_mode mode = stop_mode::drain,
                                                    std::stop_token const& stop = {}) {
        return core_.stop_until(deadline, mode, stop);
    }
    expected<stop_result<Item>, refusal> stop_for(std::chrono::nanoseconds d, stop_mode mode = stop_mode::drain,
                                                  std::stop_token const& stop = {});
    /// The same without a deadline: returns when all that runs has returned.
    expected<stop_result<Item>, refusal> stop(stop_mode mode = stop_mode::drain) { return stop_until(time_point::max(), mode); }
    /// Starts again what has stopped. Refused: closed while it is stopping. If it runs: does nothing.
    /// Throws: std::system_error, std::bad_alloc; then it is stopped still.
    answer start() { return core_.start(); }
    /// Changes the bounds. Up to the new minimum workers are added at once; what is above the new maximum leaves once it is idle or
    /// has emptied its own list.
    /// Throws: std::invalid_argument naming the option; std::system_error, std::bad_alloc if a thread cannot be made: the bounds
    ///         hold then, and the missing workers are added under load.
    void resize(std::size_t min_workers, std::size_t max_workers) { core_.resize(min_workers, max_workers); }

    /// Whether the calling thread is a worker of this pool.
    [[nodiscard]] bool inside() const noexcept { return core_.inside(); }
    /// Its sum is right at any time. Cost: O(most workers there have been), with the pool's lock.
    [[nodiscard]] worker_pool_stats stats() const { return core_.stats(); }
    /// What an item or a hook has thrown last, and nobody was there to get it; null if there is none.
    [[nodiscard]] std::exception_ptr last_error() const { return core_.last_error(); }
    /// How long items have waited, and run; empty without worker_pool_options::measure.
    [[nodiscard]] histogram<> const& wait_times() const noexcept { return core_.wait_times(); }
    [[nodiscard]] histogram<> const& run_times() const noexcept { return core_.run_times(); }

protected:
    using core_type = detail::pool_core<Item, Run, Clock>;
    friend detail::pool_access;

    basic_pool(options&& o, Run run, drop_hook&& on_drop, Clock&& clock)
        : classes_(o.priorities), core_(std::move(o), std::move(run), std::move(clock), std::move(on_drop)) {}
    ~basic_pool() = default;

    [[nodiscard]] core_type& core() noexcept { return core_; }
    void mean(detail::pool_terms& t, item_options const& o) const;

private:
    unsigned const classes_;
    core_type core_;
};

namespace detail {

template <class Item, class Processor>
struct pool_processor {
    Processor process;

    pool_end run(Item& item, std::stop_token const& stop, std::size_t) {
        if constexpr (std::invocable<Processor&, Item&&, std::stop_token const&>) {
            static_cast<void>(process(std::move(item), stop));
        } else {
            static_cast<void>(process(std::move(item)));
        }
        return pool_end::completed;
    }
    void abandon(Item&, refusal) noexcept {}
};

struct pool_task_runner {
    static pool_end run(task& t, std::stop_token const& stop, std::size_t) { return t.run(stop); }
    static void abandon(task& t, refusal why) noexcept { t.abandon(why); }
};

}  // namespace detail

/// Many items, one function. `weir::worker_pool<request> pool{{.max_workers = 8}, [](request&& r) { serve(r); }};`
/// The default Processor holds any callable; naming the callable's own type saves an indirect call.
template <nothrow_movable Item, processor_of<Item> Processor = detail::unique_function<void(Item&&, std::stop_token const&)>,
          clock_source Clock = std::chrono::steady_clock>
class worker_pool : public basic_pool<Item, detail::pool_processor<Item, Processor>, Clock> {
    using base = basic_pool<Item, detail::pool_processor<Item, Processor>, Clock>;

public:
    using typename base::drop_hook;
    using typename base::options;

    /// Starts min_workers threads. on_drop(item, why) gets what is dropped or expired, on the thread that found it, without locks.
    /// Throws: std::invalid_argument naming the option, std::bad_alloc, std::system_error if a thread cannot be made.
    worker_pool(options o, Processor process, drop_hook on_drop = {}, Clock clock = {})
        : base(std::move(o), {std::move(process)}, std::move(on_drop), std::move(clock)) {}
    /// With the default Processor: any function of Item&&, or of Item&& and a stop token.
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, Processor> && processor_of<std::decay_t<F>, Item> &&
                 !std::invocable<std::decay_t<F>&, Item&&, std::stop_token const&> &&
                 std::same_as<Processor, detail::unique_function<void(Item&&, std::stop_token const&)>>)
    worker_pool(options o, F&& f, drop_hook on_drop = {}, Clock clock = {})
        : base(std::move(o),
               {Processor([f = std::decay_t<F>(std::forward<F>(f))](Item&& i, std::stop_token const&) mutable {
                   static_cast<void>(f(std::move(i)));
               })},
               std::move(on_drop), std::move(clock)) {}
};

/// Any callable is an item. `weir::task_pool` is that with the usual clock.
template <clock_source Clock = std::chrono::steady_clock>
class basic_task_pool : public basic_pool<task, detail::pool_task_runner, Clock> {
    using base = basic_pool<task, detail::pool_task_runner, Clock>;
    friend detail::pool_access;

public:
    using typename base::drop_hook;
    using typename base::item_options;
    using typename base::options;
    using typename base::time_point;

    /// As worker_pool's.
    explicit basic_task_pool(options o = {}, drop_hook on_drop = {}, Clock clock = {})
        : base(std::move(o), {}, std::move(on_drop), std::move(clock)) {}

    /// f(args...), or f(stop_token, args...), by a worker; its end is in the future. If the pool refuses it, the future says why.
    /// Cost: one allocation. Throws: as submit.
    template <class F, class... Args>
        requires detail::asynchronous_call<F, Args...>
    [[nodiscard]] auto async(F&& f, Args&&... args) -> future<detail::async_result<F, Args...>>;

    /// What the future holds, as its get_until. A worker of this pool runs other items meanwhile, so that it can wait for what is
    /// queued behind it; help_depth says how many inside each other.
    template <class R>
    [[nodiscard]] auto wait_until(future<R>& f, time_point deadline, std::stop_token const& stop = {});
    template <class R>
    [[nodiscard]] auto wait_for(future<R>& f, std::chrono::nanoseconds d, std::stop_token const& stop = {});

    /// As an executor, for weir::timeout and weir::hedge: submits the call. Throws: rejected_error if it is refused, and as submit.
    template <task_function F>
    void execute(F&& f);

    /// f of each element, so many at once as the options say; the outcomes in the order of the range. Helps as wait_until.
    template <class Range, class F>
    [[nodiscard]] auto map(Range&& range, F&& f, map_options const& o = {}) {
        return detail::map_on(this->core(), std::forward<Range>(range), std::forward<F>(f), o);
    }
    /// The same; sink(index, outcome) is called on this thread as they complete.
    template <class Range, class F, class Sink>
    void map_completed(Range&& range, F&& f, Sink&& sink, map_options const& o = {}) {
        detail::map_completed_on(this->core(), std::forward<Range>(range), std::forward<F>(f), std::forward<Sink>(sink), o);
    }
};

using task_pool = basic_task_pool<>;

// -- Bodies

template <class Item, class Run, clock_source Clock>
void basic_pool<Item, Run, Clock>::mean(detail::pool_terms& t, item_options const& o) const {
    detail::require(o.priority < classes_, "weir::task_options: priority must be below worker_pool_options::priorities");
    t.priority = o.priority;
    if (o.expires) {
        t.due = core_.ticks_at(*o.expires);
    }
}

template <class Item, class Run, clock_source Clock>
expected<void, refusal> basic_pool<Item, Run, Clock>::submit(Item&& item, item_options const& o, std::stop_token const& stop) {
    auto t = core_.terms();
    mean(t, o);
    t.stop = &stop;
    return core_.submit(item, t);
}

template <class Item, class Run, clock_source Clock>
expected<void, refusal> basic_pool<Item, Run, Clock>::try_submit(Item&& item, item_options const& o) {
    auto t = core_.terms();
    mean(t, o);
    t.full = t.full == when_full::wait ? when_full::reject : t.full;
    return core_.submit(item, t);
}

template <class Item, class Run, clock_source Clock>
expected<void, refusal> basic_pool<Item, Run, Clock>::submit_until(time_point until, Item&& item, item_options const& o,
                                                                   std::stop_token const& stop) {
    auto t = core_.terms();
    mean(t, o);
    t.until = until < t.until ? until : t.until;
    t.stop = &stop;
    return core_.submit(item, t);
}

template <class Item, class Run, clock_source Clock>
expected<void, refusal> basic_pool<Item, Run, Clock>::submit_for(std::chrono::nanoseconds d, Item&& item, item_options const& o,
                                                                 std::stop_token const& stop) {
    return submit_until(saturating_add(std::chrono::steady_clock::now(), d), std::move(item), o, stop);
}

template <class Item, class Run, clock_source Clock>
template <class Range>
bulk_answer basic_pool<Item, Run, Clock>::submit_bulk(Range&& range, item_options const& o, std::stop_token const& stop) {
    bulk_answer done;
    for (auto&& element : range) {
        auto t = core_.terms();
        mean(t, o);
        t.stop = &stop;
        expected<void, refusal> given;
        if constexpr (std::same_as<std::remove_cvref_t<decltype(element)>, Item>) {
            given = core_.submit(element, t);
        } else {
            Item item(std::move(element));
            given = core_.submit(item, t);
        }
        if (!given) {
            done.why = given.error();
            break;
        }
        ++done.accepted;
    }
    return done;
}

template <class Item, class Run, clock_source Clock>
expected<void, refusal> basic_pool<Item, Run, Clock>::wait_idle_for(std::chrono::nanoseconds d, std::stop_token const& stop) {
    return wait_idle_until(saturating_add(std::chrono::steady_clock::now(), d), stop);
}

template <class Item, class Run, clock_source Clock>
expected<stop_result<Item>, refusal> basic_pool<Item, Run, Clock>::stop_for(std::chrono::nanoseconds d, stop_mode mode,
                                                                            std::stop_token const& stop) {
    return stop_until(saturating_add(std::chrono::steady_clock::now(), d), mode, stop);
}

template <clock_source Clock>
template <task_function F>
void basic_task_pool<Clock>::execute(F&& f) {
    if (auto const sent = this->submit(task{std::forward<F>(f)}); !sent) {
        throw rejected_error{rejected{sent.error()}};
    }
}

template <clock_source Clock>
template <class F, class... Args>
    requires detail::asynchronous_call<F, Args...>
auto basic_task_pool<Clock>::async(F&& f, Args&&... args) -> future<detail::async_result<F, Args...>> {
    auto parts = detail::make_async(std::forward<F>(f), std::forward<Args>(args)...);
    task t{std::move(parts.entry)};
    if (auto const given = this->core().submit(t, this->core().terms()); !given) {
        t.abandon(given.error());
    }
    return std::move(parts.result);
}

template <clock_source Clock>
template <class R>
auto basic_task_pool<Clock>::wait_until(future<R>& f, time_point deadline, std::stop_token const& stop) {
    return detail::future_access::get_helping(f, deadline, stop, [this](auto& done, auto& ec, auto until, auto const& token) {
        return this->core().help_until(done, ec, until, token);
    });
}

template <clock_source Clock>
template <class R>
auto basic_task_pool<Clock>::wait_for(future<R>& f, std::chrono::nanoseconds d, std::stop_token const& stop) {
    return wait_until(f, saturating_add(std::chrono::steady_clock::now(), d), stop);
}

}  // namespace weir::inline v0
#endif
