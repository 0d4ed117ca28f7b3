// weir (BSL-1.0). future<R>: the answer of a call that another thread makes, made of one allocation.
#ifndef WEIR_RUN_DETAIL_FUTURE_HPP
#define WEIR_RUN_DETAIL_FUTURE_HPP
#include <weir/base/clock.hpp>
#include <weir/base/detail/parking.hpp>
#include <weir/base/outcome.hpp>
#include <weir/run/detail/pool_job.hpp>

#include <atomic>
#include <cassert>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

// When:     a call is handed to other threads and its answer is wanted: task_pool::async.
// When not: nobody wants the answer (submit), or many calls end together (task_group, map).
//
// The state of a call is one allocation: the callable, its result and a word. It is shared by two: the job, that is the
// entry in a queue and then the worker; and the future, with whoever looks through it. Each bit of the word is set once:
//
//   begun     whoever sets it has the callable: the worker calls it, cancel() and a refusal destroy it
//   done      the result is there. Who sets it touches the state no more, but for what `watched` demands
//   watched   set before done: somebody sleeps, or has slept, until then. Set with done: the call was cancelled
//   left      watched only: the job will not touch the state again
//   dropped   the future will not touch the state again
//
// Who frees the state: the job, if it finds `dropped` when it sets done, or left. Otherwise the future, if the job has gone
// when it goes: done is there without watched, or left is. All are changes of one word, so exactly one of both frees it.
// So a call that nobody sleeps for costs two read-modify-writes on the worker's side, and one load on the other.
//
// Why no wake-up is lost: a sleeper sets watched, and then prepares to wait. Either done was set before watched, and the
// sleeper sees it; or who sets done finds watched, and notifies in way 3 of detail/parking.hpp.
//
// Edges (who hands what to whom):
//   E1  done hands over the result, and all that the job has done -> whoever looks at it, or frees it
//   E2  dropped hands over what the future's side has done with the state -> done or left, before the job frees it
//   E3  left hands over the job's last touch -> the future that goes, before it frees the state

namespace weir::inline v0 {

template <class R>
class future;

namespace detail {

class future_access;

// What a future<R> holds: a reference is kept as a pointer.
template <class R>
using future_value = std::conditional_t<std::is_reference_v<R>, std::add_pointer_t<R>, R>;

/// Another who waits: gets the result of a call whose future has gone. Deletes itself.
template <class R>
class future_link {
public:
    future_link(future_link const&) = delete;
    future_link& operator=(future_link const&) = delete;
    virtual void take(outcome<future_value<R>>&& result) noexcept = 0;

protected:
    future_link() = default;
    ~future_link() = default;
};

/// What all calls have in common: the word.
class future_state : public job {
public:
    using time_point = std::chrono::steady_clock::time_point;

    /// Progress: wait-free. Order: what the call did is visible once it is true.
    [[nodiscard]] bool done() const noexcept { return (word_.load(std::memory_order_acquire) & done_bit) != 0; }  // E1 acquire
    [[nodiscard]] bool cancel() noexcept;
    /// Blocks on the call's end, the deadline or the stop.
    wait_result wait_until(time_point deadline, std::stop_token const& stop) noexcept;
    /// To be called before somebody sleeps on events().
    void watch() noexcept;
    [[nodiscard]] event_count& events() noexcept { return events_; }
    /// The future's end of it: nobody will look any more.
    void drop() noexcept;

    void refuse(refusal why) noexcept final;

protected:
    static constexpr std::uint32_t begun_bit = 1;
    static constexpr std::uint32_t done_bit = 2;
    static constexpr std::uint32_t watched_bit = 4;
    static constexpr std::uint32_t left_bit = 8;
    static constexpr std::uint32_t dropped_bit = 16;

    future_state() = default;
    virtual ~future_state() = default;

    [[nodiscard]] bool begin() noexcept;
    /// The result is there. True: the future has gone before, so the state is the caller's, who must bury it.
    [[nodiscard]] bool complete() noexcept;
    /// The job of a call that was cancelled.
    void leave() noexcept;

    /// Destroys the callable; the result is this refusal.
    virtual void give_up(refusal why) noexcept = 0;
    /// Nobody looks any more: gives the result to the link if there is one, and frees the state. Once, by the last side.
    virtual void bury() noexcept = 0;

private:
    std::atomic<std::uint32_t> word_{0};  // both sides
    event_count events_;                  // done
};

/// Wins the callable, or comes too late.
inline bool future_state::begin() noexcept {
    // relaxed: decides who has the callable, which both know from before; hands over nothing
    return (word_.fetch_or(begun_bit, std::memory_order_relaxed) & begun_bit) == 0;
}

inline bool future_state::complete() noexcept {
    auto const before = word_.fetch_add(done_bit, std::memory_order_acq_rel);  // E1 release, E2 acquire
    if ((before & (watched_bit | dropped_bit)) == 0) {
        return false;
    }
    if ((before & watched_bit) == 0) {
        return true;
    }
    events_.notify_all_fenced();
    return (word_.fetch_add(left_bit, std::memory_order_acq_rel) & dropped_bit) != 0;  // E3 release, E2 acquire
}

inline void future_state::leave() noexcept {
    if ((word_.fetch_add(left_bit, std::memory_order_acq_rel) & dropped_bit) != 0) {  // E3 release, E2 acquire
        bury();
    }
}

inline void future_state::refuse(refusal why) noexcept {
    if (!begin()) {
        leave();
        return;
    }
    give_up(why);
    if (complete()) {
        bury();
    }
}

inline bool future_state::cancel() noexcept {
    if (!begin()) {
        return false;
    }
    give_up(refusal::cancelled);
    // Watched, because the job is still in its queue and has yet to leave.
    word_.fetch_or(done_bit | watched_bit, std::memory_order_release);  // E1 release
    events_.notify_all_fenced();
    return true;
}

inline void future_state::watch() noexcept {
    auto seen = word_.load(std::memory_order_relaxed);  // relaxed: a first guess
    // Not once it is done: then the job has gone without a word.
    while ((seen & (done_bit | watched_bit)) == 0 &&
           // relaxed: done() and the event_count hand over what there is
           !word_.compare_exchange_weak(seen, seen | watched_bit, std::memory_order_relaxed)) {
    }
}

inline wait_result future_state::wait_until(time_point deadline, std::stop_token const& stop) noexcept {
    if (done()) {
        return wait_result::notified;
    }
    watch();
    return await(events_, [this] { return done(); }, deadline, stop);
}

inline void future_state::drop() noexcept {
    auto const job_gone = [](std::uint32_t w) {
        return (w & left_bit) != 0 || ((w & done_bit) != 0 && (w & watched_bit) == 0);
    };
    if (job_gone(word_.load(std::memory_order_acquire)) ||  // E1 acquire, E3 acquire
        job_gone(word_.fetch_add(dropped_bit, std::memory_order_acq_rel))) {  // E2 release, E1 acquire, E3 acquire
        bury();
    }
}

/// A call that gives an R: its result.
template <class R>
class future_result : public future_state {
public:
    using value = future_value<R>;

    /// Once, when it is done.
    [[nodiscard]] outcome<value> take() noexcept;
    /// Instead of drop(): the result goes to the link, now or when it is there.
    void chain(future_link<R>& link) noexcept {
        next_ = &link;
        drop();
    }

protected:
    future_result() noexcept {}
    ~future_result() override {}  // bury() has destroyed the result; there is none where making the call's state fails

    void give_up(refusal why) noexcept override {
        std::construct_at(&result_, unexpect, rejected{why});
    }
    void bury() noexcept final;
    /// As bury(), of a call that has been made. Throws: what the call threw, if there is no link.
    void bury_call();

    // Made by whoever has begun the call, before done. In a union, for there is none before.
    union {
        outcome<value> result_;
    };

private:
    future_link<R>* next_ = nullptr;  // the future's until it drops the state, then the last side's
};

template <class R>
auto future_result<R>::take() noexcept -> outcome<value> {
    if constexpr (std::is_nothrow_move_constructible_v<outcome<value>>) {
        return std::move(result_);
    } else {
        try {
            return std::move(result_);
        } catch (...) {
            return unexpected<failure>{failure{std::current_exception()}};
        }
    }
}

template <class R>
void future_result<R>::bury() noexcept {
    if (next_ != nullptr) {
        next_->take(take());
    }
    std::destroy_at(&result_);
    delete this;
}

template <class R>
void future_result<R>::bury_call() {
    auto const unclaimed =
        next_ == nullptr && !result_.has_value() ? result_.error().exception() : std::exception_ptr{};
    bury();
    if (unclaimed != nullptr) {
        std::rethrow_exception(unclaimed);
    }
}

// Like std::jthread: the callable is given the stop token if it takes one in front of its arguments.
template <class F, class... Args>
inline constexpr bool takes_stop_token = std::is_invocable_v<F, std::stop_token, Args...>;

// void also for what is no call: so that the message is about the concept that is not satisfied.
template <class F, class... Args>
struct async_answer {
    using type = void;
};
template <class F, class... Args>
    requires(!takes_stop_token<F, Args...> && std::is_invocable_v<F, Args...>)
struct async_answer<F, Args...> {
    using type = std::invoke_result_t<F, Args...>;
};
template <class F, class... Args>
    requires takes_stop_token<F, Args...>
struct async_answer<F, Args...> {
    using type = std::invoke_result_t<F, std::stop_token, Args...>;
};

// What the future of a call gives: outcomes are passed on, lvalue references kept.
template <class Answer>
struct future_of_answer {
    using type = std::conditional_t<std::is_lvalue_reference_v<Answer>, Answer, std::remove_cvref_t<Answer>>;
};
template <class Answer>
    requires is_outcome<std::remove_cvref_t<Answer>>
struct future_of_answer<Answer> {
    using type = typename std::remove_cvref_t<Answer>::value_type;
};

/// Something that async can call: copies of F and Args, with a stop token in front or without.
template <class F, class... Args>
concept asynchronous_call = std::constructible_from<std::decay_t<F>, F> && (std::constructible_from<std::decay_t<Args>, Args> && ...) &&
    (takes_stop_token<std::decay_t<F>, std::decay_t<Args>...> || std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>) &&
    std::is_nothrow_destructible_v<std::decay_t<F>> && (std::is_nothrow_destructible_v<std::decay_t<Args>> && ...);

template <class F, class... Args>
using async_result =
    typename future_of_answer<typename async_answer<std::decay_t<F>, std::decay_t<Args>...>::type>::type;

/// The whole state of a call.
template <class R, class F, class... Args>
class future_call final : public future_result<R> {
public:
    template <class G, class... A>
    explicit future_call(std::in_place_t, G&& f, A&&... args) : call_(std::forward<G>(f), std::forward<A>(args)...) {}

    pool_end run(std::stop_token const& stop) override;

private:
    ~future_call() override {}  // the callable has gone long before

    void give_up(refusal why) noexcept override {
        std::destroy_at(&call_);
        future_result<R>::give_up(why);
    }
    decltype(auto) call([[maybe_unused]] std::stop_token const& stop) {
        // std::apply also for what std::invoke does: <functional> costs more to compile than this header.
        return std::apply(
            [&](F& f, Args&... args) -> decltype(auto) {
                if constexpr (takes_stop_token<F, Args...>) {
                    return std::apply(std::move(f), std::forward_as_tuple(stop, std::move(args)...));
                } else {
                    return std::apply(std::move(f), std::forward_as_tuple(std::move(args)...));
                }
            },
            call_);
    }

    union {
        std::tuple<F, Args...> call_;  // the job's and cancel()'s; gone once the call has been made or given up
    };
};

template <class R, class F, class... Args>
pool_end future_call<R, F, Args...>::run(std::stop_token const& stop) {
    if (!this->begin()) {
        this->leave();
        return pool_end::cancelled;
    }
    // In place, so that only what the call gives is moved, inside of outcome_of.
    ::new (static_cast<void*>(std::addressof(this->result_))) outcome<future_value<R>>(outcome_of([&]() -> decltype(auto) {
        if constexpr (std::is_lvalue_reference_v<R>) {
            return std::addressof(call(stop));
        } else {
            return call(stop);
        }
    }));
    std::destroy_at(&call_);  // before it is done: what the callable holds has gone when the future is ready
    bool const thrown = !this->result_.has_value() && !this->result_.error().is_rejection();
    if (this->complete()) {
        this->bury_call();
    }
    return thrown ? pool_end::failed : pool_end::completed;
}

}  // namespace detail

/// The answer of a call that is made elsewhere: its value, what it threw, or why it was not made.
/// A function that gives a reference gives its future a pointer; one that gives an outcome<T>, the future of a T.
/// Going without it leaves the call as it is; what the call then throws goes where the pool's unclaimed exceptions go.
/// Threads:  ready, cancel and the waits from several at once, the rest from one.
/// Memory:   a pointer; its state was allocated by whoever made it, in one piece with the callable and the result.
/// Lifetime: independent of the pool.
template <class R>
class [[nodiscard]] future {
public:
    using value_type = detail::future_value<R>;
    using time_point = std::chrono::steady_clock::time_point;

    /// One without a call: only valid() may be asked.
    future() noexcept = default;
    future(future&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    future& operator=(future&& other) noexcept {
        future taken{std::move(other)};
        std::swap(state_, taken.state_);
        return *this;
    }
    ~future() {
        if (state_ != nullptr) {
            state_->drop();
        }
    }

    /// Whether there is a call whose answer has not been taken. The members below want one that is.
    [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }
    /// Whether the answer is there.
    /// Progress: wait-free. Order: what the call did is visible once it is.
    [[nodiscard]] bool ready() const noexcept {
        assert(valid());
        return state_->done();
    }

    /// Takes the call back, if it has not begun: it is never made, what it holds is destroyed here, and the answer is
    /// refusal::cancelled. Its place in the queue is given back when its turn comes.
    /// Progress: lock-free, but for the destructors of what the call holds.
    bool cancel() noexcept {
        assert(valid());
        return state_->cancel();
    }

    /// Whether the answer is there at the end of the wait; not if the deadline came or the stop was requested before it.
    /// Progress: blocks until then. On a worker of the pool that is to make the call, task_pool::wait does better.
    bool wait_until(time_point deadline, std::stop_token const& stop = {}) const noexcept {
        assert(valid());
        return state_->wait_until(deadline, stop) == detail::wait_result::notified;
    }
    bool wait_for(std::chrono::nanoseconds d, std::stop_token const& stop = {}) const noexcept {
        return wait_until(saturating_add(std::chrono::steady_clock::now(), d), stop);
    }

    /// Takes the answer: the future is not valid any more. Or timed_out, or stopped, and the future stays valid: that tells
    /// them from the same words as the call's own answer. A value that throws when it is moved gives what it threw.
    /// Progress: as wait_until.
    [[nodiscard]] outcome<value_type> get_until(time_point deadline, std::stop_token const& stop = {}) noexcept {
        assert(valid());
        return answer(state_->wait_until(deadline, stop));
    }
    [[nodiscard]] outcome<value_type> get_for(std::chrono::nanoseconds d, std::stop_token const& stop = {}) noexcept {
        return get_until(saturating_add(std::chrono::steady_clock::now(), d), stop);
    }
    /// Without a deadline; so that nobody waits for ever without having said so, the token must be named.
    [[nodiscard]] outcome<value_type> get(std::stop_token const& stop) noexcept { return get_until(time_point::max(), stop); }

    /// The same answer as a std::future: refusals as a weir::rejected_error. This one is not valid any more.
    /// Cost:   two allocations.
    /// Throws: std::bad_alloc, and the future stays valid.
    [[nodiscard]] std::future<R> to_std() &&;

private:
    friend detail::future_access;
    explicit future(detail::future_result<R>& state) noexcept : state_(&state) {}

    outcome<value_type> answer(detail::wait_result how) noexcept {
        if (how != detail::wait_result::notified) {
            auto const why = how == detail::wait_result::stopped ? refusal::stopped : refusal::timed_out;
            return unexpected<failure>{failure{rejected{why}}};
        }
        future const taken{std::move(*this)};
        return taken.state_->take();
    }

    detail::future_result<R>* state_ = nullptr;
};

namespace detail {

/// A future, and the job that makes it ready.
template <class R>
struct async_parts {
    future<R> result;
    job_entry entry;
};

/// The way to a future's state, for pools.
class future_access {
public:
    template <class R, class F, class... Args>
    static async_parts<R> make(F&& f, Args&&... args) {
        auto* const call = new future_call<R, std::decay_t<F>, std::decay_t<Args>...>(std::in_place, std::forward<F>(f),
                                                                                      std::forward<Args>(args)...);
        return {future<R>{*call}, job_entry{*call}};
    }

    /// As get_until, but `help(done, events, deadline, stop)` waits until done(), and says whether it is.
    template <class R, class Help>
    static outcome<future_value<R>> get_helping(future<R>& f, future_state::time_point deadline, std::stop_token const& stop,
                                                Help&& help) {
        assert(f.valid());
        auto& state = *f.state_;
        auto const done = [&state] { return state.done(); };
        if (done()) {
            return f.answer(wait_result::notified);
        }
        state.watch();
        if (std::forward<Help>(help)(done, state.events(), deadline, stop)) {
            return f.answer(wait_result::notified);
        }
        return f.answer(stop.stop_requested() ? wait_result::stopped : wait_result::timed_out);
    }
};

/// The call f(args...), to be made by whoever runs the entry.
/// Cost: one allocation. Throws: std::bad_alloc, what copying f and args throws.
template <class F, class... Args>
    requires asynchronous_call<F, Args...>
[[nodiscard]] async_parts<async_result<F, Args...>> make_async(F&& f, Args&&... args) {
    return future_access::make<async_result<F, Args...>>(std::forward<F>(f), std::forward<Args>(args)...);
}

/// Where the answer of a future goes that has become a std::future.
template <class R>
class std_future_link final : public future_link<R> {
public:
    [[nodiscard]] std::future<R> future() { return promise_.get_future(); }

    void take(outcome<future_value<R>>&& result) noexcept override {
        try {
            if (!result.has_value()) {
                result.error().rethrow();
            }
            if constexpr (std::is_void_v<R>) {
                promise_.set_value();
            } else if constexpr (std::is_reference_v<R>) {
                promise_.set_value(**result);
            } else {
                promise_.set_value(std::move(*result));
            }
        } catch (...) {
            promise_.set_exception(std::current_exception());
        }
        delete this;
    }

private:
    std::promise<R> promise_;
};

}  // namespace detail

template <class R>
std::future<R> future<R>::to_std() && {
    assert(valid());
    auto link = std::make_unique<detail::std_future_link<R>>();
    auto result = link->future();
    std::exchange(state_, nullptr)->chain(*link.release());
    return result;
}

}  // namespace weir::inline v0
#endif
