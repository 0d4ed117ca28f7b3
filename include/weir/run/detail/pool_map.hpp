// weir (BSL-1.0). pool_map: one function over many items on a pool, a bounded number at once, each with its own answer.
#ifndef WEIR_RUN_DETAIL_POOL_MAP_HPP
#define WEIR_RUN_DETAIL_POOL_MAP_HPP
#include <weir/base/detail/parking.hpp>
#include <weir/base/outcome.hpp>
#include <weir/run/detail/future.hpp>
#include <weir/run/detail/pool_job.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <iterator>
#include <mutex>
#include <optional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// When:     a request wants the answers of many similar calls: task_pool::map, map_completed.
// When not: the calls have nothing in common (task_group), or come one at a time (async).
//
// At most `in_flight` runners wait in the pool's queue or run. A runner takes the next item when it begins, and when it has
// answered submits itself again, so that the pool's other work has its turn in between. The caller adds those that are
// missing whenever it looks: patiently if there is none at all, else only as many as there is room for. Items, function and
// answers live in a state of their own: whoever goes last frees it, be it the caller, or a runner that came too late.
//
// Invariant: runners_ is the number of entries in the queue and of runs, waiting_ that of the entries; runners_ is at most
//            in_flight; next_ + waiting_ is at most the number of items, so a runner that begins finds one, or the end.
// Invariant: the answer of an item is written by its runner, before its number is in ready_, and read by the caller, after.
// All is guarded by m_: there are no other edges.

namespace weir::inline v0 {

/// How map goes about it. The deadline and the stop end the wait: items without an answer get timed_out, stopped.
struct map_options {
    std::size_t in_flight = 0;         // items that are queued or run at once; 0: twice the pool's workers
    bool stop_at_first_error = false;  // after it, items that have not begun are cancelled; those that have are waited for
    std::stop_token stop{};
    std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

namespace detail {

template <class Range>
using map_item = std::iter_value_t<decltype(std::begin(std::declval<Range&>()))>;

// f gets an item as an rvalue, or as an lvalue if it wants it so; in front of it the stop token if it takes one.
template <class F, class T>
inline constexpr bool maps_with_token = std::is_invocable_v<F&, std::stop_token, T> || std::is_invocable_v<F&, std::stop_token, T&>;

/// f(item), or f(stop_token, item): can be called for what is in Range.
template <class F, class Range>
concept maps = maps_with_token<std::decay_t<F>, map_item<Range>> || std::is_invocable_v<std::decay_t<F>&, map_item<Range>> ||
               std::is_invocable_v<std::decay_t<F>&, map_item<Range>&>;

// std::apply does what std::invoke does, without <functional>.
template <class F, class T>
decltype(auto) map_call(F& f, T& item, [[maybe_unused]] std::stop_token const& stop) {
    if constexpr (std::is_invocable_v<F&, std::stop_token, T>) {
        return std::apply(f, std::forward_as_tuple(stop, std::move(item)));
    } else if constexpr (std::is_invocable_v<F&, std::stop_token, T&>) {
        return std::apply(f, std::forward_as_tuple(stop, item));
    } else if constexpr (std::is_invocable_v<F&, T>) {
        return std::apply(f, std::forward_as_tuple(std::move(item)));
    } else {
        return std::apply(f, std::forward_as_tuple(item));
    }
}

template <class F, class Range>
using map_result = typename future_of_answer<decltype(map_call(
    std::declval<std::decay_t<F>&>(), std::declval<map_item<Range>&>(), std::declval<std::stop_token const&>()))>::type;

/// A map under way. Each entry in the queue stands for a runner; the caller holds it too, until it leaves.
template <class Core, class T, class F, class R>
class map_state final : public job {
public:
    using value = future_value<R>;
    using time_point = std::chrono::steady_clock::time_point;

    template <class Range, class G>
    map_state(Core& core, Range&& range, G&& f, std::size_t in_flight);

    pool_end run(std::stop_token const& stop) override;
    void refuse(refusal why) noexcept override;

    /// The caller's part: begins, and calls ready(i) as answers come, until all are there or nothing more will come.
    /// Throws: what ready throws, std::bad_alloc.
    template <class Ready>
    void drive(map_options const& o, Ready&& ready);
    [[nodiscard]] std::size_t size() const noexcept { return cells_.size(); }
    /// The caller's, once it has driven: the answer of item i; what was not answered says why.
    [[nodiscard]] outcome<value> answer(std::size_t i);
    [[nodiscard]] bool given(std::size_t i) const noexcept { return given_[i]; }
    /// The caller leaves; what has not begun will not.
    void leave() noexcept;

private:
    using lock = std::unique_lock<std::mutex>;
    static constexpr bool with_token = maps_with_token<F, T>;

    struct cell {
        explicit cell(T&& t) : item(std::move(t)) {}
        template <class U>
        explicit cell(std::in_place_t, U&& u) : item(std::forward<U>(u)) {}
        T item;
        std::optional<outcome<value>> answer{};  // its runner, then the caller
    };

    ~map_state() = default;

    [[nodiscard]] bool call(std::size_t i, std::stop_token const& stop);
    [[nodiscard]] bool enough_for_one_more() const noexcept { return !end_ && next_ + waiting_ < cells_.size(); }
    // Adds a runner that submit() has to bring into the queue.
    [[nodiscard]] bool add_runner() noexcept;
    [[nodiscard]] bool submit(time_point until, std::stop_token const& stop);
    void submit_again() noexcept;
    [[nodiscard]] bool help(map_options const& o);
    [[nodiscard]] bool late(map_options const& o);
    void remove_runner(lock& l) noexcept;
    void end(refusal why) noexcept;  // without m_, for it tells the calls that run
    [[nodiscard]] bool over() const noexcept { return end_ && runners_ == waiting_; }
    template <class Ready>
    void give(Ready& ready);

    Core& core_;
    F f_;                      // all runners at once
    std::vector<cell> cells_;  // each item its runner's
    std::size_t most_ = 1;     // set once
    std::stop_source stop_{std::nostopstate};  // set once

    std::mutex m_;
    std::size_t next_ = 0;             // m_: the first item that has not begun
    std::size_t runners_ = 0;          // m_
    std::size_t waiting_ = 0;          // m_
    bool stop_at_first_error_ = false; // the caller, before there is a runner
    bool caller_ = true;               // m_: it has not left
    bool caller_looks_ = false;        // m_: it will look for runners before it sleeps
    std::optional<refusal> end_;       // m_: why nothing more will begin
    std::vector<std::size_t> ready_;   // m_: items whose answers the caller has not seen
    event_count changed_;              // ready_ is not empty any more, or over()

    std::vector<std::size_t> news_;  // the caller
    std::vector<bool> given_;        // the caller
    std::size_t given_count_ = 0;    // the caller
};

template <class Core, class T, class F, class R>
template <class Range, class G>
map_state<Core, T, F, R>::map_state(Core& core, Range&& range, G&& f, std::size_t in_flight)
    : core_(core), f_(std::forward<G>(f)) {
    // A range that is only a view does not own what it shows; so items are copied, but those that cannot be.
    constexpr bool owned = std::is_same_v<Range, std::vector<T>> || (!std::is_lvalue_reference_v<Range> && !std::is_copy_constructible_v<T>);
    for (auto&& item : range) {
        if constexpr (owned) {
            cells_.emplace_back(std::in_place, std::move(item));
        } else {
            cells_.emplace_back(std::in_place, std::forward<decltype(item)>(item));
        }
    }
    most_ = std::max<std::size_t>(std::min(in_flight, cells_.size()), 1);
    ready_.reserve(cells_.size());
    news_.reserve(cells_.size());
    given_.resize(cells_.size());
    if constexpr (with_token) {
        stop_ = std::stop_source{};
    }
}

/// True: it threw.
template <class Core, class T, class F, class R>
bool map_state<Core, T, F, R>::call(std::size_t i, std::stop_token const& stop) {
    auto& c = cells_[i];
    auto const calls = [&](std::stop_token const& token) {
        return outcome_of([&]() -> decltype(auto) {
            if constexpr (std::is_lvalue_reference_v<R>) {
                return std::addressof(map_call(f_, c.item, token));
            } else {
                return map_call(f_, c.item, token);
            }
        });
    };
    if constexpr (with_token) {
        // Both the pool's stop and the end of this map reach the call.
        std::stop_callback const link{stop, [this]() noexcept { stop_.request_stop(); }};
        c.answer.emplace(calls(stop_.get_token()));
    } else {
        c.answer.emplace(calls(stop));
    }
    return !c.answer->has_value();
}

template <class Core, class T, class F, class R>
pool_end map_state<Core, T, F, R>::run(std::stop_token const& stop) {
    std::size_t mine = 0;
    {
        lock l{m_};
        --waiting_;
        if (end_) {
            remove_runner(l);
            return pool_end::cancelled;
        }
        mine = next_++;
    }
    bool const failed = call(mine, stop);
    if (failed && stop_at_first_error_) {
        end(refusal::cancelled);
    }
    {
        lock l{m_};
        ready_.push_back(mine);  // reserved
        if (ready_.size() == 1) {
            changed_.notify_all();
        }
        // Run by the caller, whose submit the pool has answered so: it goes on by itself.
        if (!enough_for_one_more() || !core_.inside()) {
            remove_runner(l);
            return failed ? pool_end::failed : pool_end::completed;
        }
        ++waiting_;
    }
    submit_again();  // nothing of the map is touched after it
    return failed ? pool_end::failed : pool_end::completed;
}

template <class Core, class T, class F, class R>
void map_state<Core, T, F, R>::refuse(refusal why) noexcept {
    lock l{m_};
    --waiting_;
    if (runners_ == 1 && !caller_looks_ && next_ < cells_.size() && !end_) {
        end_ = why;  // nobody is left to do it
    }
    remove_runner(l);
}

template <class Core, class T, class F, class R>
void map_state<Core, T, F, R>::end(refusal why) noexcept {
    {
        lock const l{m_};
        if (!end_) {
            end_ = why;
        }
    }
    stop_.request_stop();
}

template <class Core, class T, class F, class R>
bool map_state<Core, T, F, R>::add_runner() noexcept {
    if (runners_ >= most_ || !enough_for_one_more()) {
        return false;
    }
    ++runners_;
    ++waiting_;
    return true;
}

// For the caller: a runner that add_runner has counted.
template <class Core, class T, class F, class R>
bool map_state<Core, T, F, R>::submit(time_point until, std::stop_token const& stop) {
    task t{job_entry{*this}};
    auto const accepted = core_.submit_until(t, until, stop);
    if (!accepted.has_value()) {
        t.abandon(accepted.error());
    }
    return accepted.has_value();
}

template <class Core, class T, class F, class R>
void map_state<Core, T, F, R>::submit_again() noexcept {
    task t{job_entry{*this}};
    try {
        if (auto const accepted = core_.submit_until(t, time_point::min(), {}); !accepted.has_value()) {
            t.abandon(accepted.error());
        }
    } catch (...) {
        t.abandon(refusal::queue_full);  // there is no memory for it
    }
}

// Frees the state with the last one. Gives the lock up.
template <class Core, class T, class F, class R>
void map_state<Core, T, F, R>::remove_runner(lock& l) noexcept {
    --runners_;
    if (over() || runners_ == 0) {
        changed_.notify_all();
    }
    bool const last = runners_ == 0 && !caller_;
    l.unlock();
    if (last) {
        delete this;
    }
}

template <class Core, class T, class F, class R>
void map_state<Core, T, F, R>::leave() noexcept {
    end(refusal::cancelled);
    lock l{m_};
    caller_ = false;
    bool const last = runners_ == 0;
    l.unlock();
    if (last) {
        delete this;
    }
}

template <class Core, class T, class F, class R>
outcome<typename map_state<Core, T, F, R>::value> map_state<Core, T, F, R>::answer(std::size_t i) {
    if (given_[i]) {
        return std::move(*cells_[i].answer);
    }
    return unexpected<failure>{failure{rejected{*end_}}};
}

template <class Core, class T, class F, class R>
template <class Ready>
void map_state<Core, T, F, R>::give(Ready& ready) {
    {
        lock const l{m_};
        news_.swap(ready_);
    }
    for (auto const i : news_) {
        given_[i] = true;
        ++given_count_;
        ready(i);
    }
    news_.clear();
}

/// Waits for news: an answer, a missing runner, the end.
template <class Core, class T, class F, class R>
bool map_state<Core, T, F, R>::help(map_options const& o) {
    auto const news = [this]() noexcept {
        lock const l{m_};
        return !ready_.empty() || over() || (runners_ == 0 && enough_for_one_more());
    };
    return core_.help_until(news, changed_, o.deadline, o.stop);
}

template <class Core, class T, class F, class R>
bool map_state<Core, T, F, R>::late(map_options const& o) {
    return o.stop.stop_requested() || (o.deadline != time_point::max() && std::chrono::steady_clock::now() >= o.deadline);
}

template <class Core, class T, class F, class R>
template <class Ready>
void map_state<Core, T, F, R>::drive(map_options const& o, Ready&& ready) {
    stop_at_first_error_ = o.stop_at_first_error;
    bool room = true;  // as far as the last submit has shown
    while (given_count_ < cells_.size()) {
        bool add = false;
        bool patient = false;
        {
            lock const l{m_};
            if (over() && ready_.empty()) {
                return;
            }
            patient = runners_ == 0;
            add = (room || patient) && add_runner();
            caller_looks_ = add && !patient;
        }
        if (add) {
            room = submit(patient ? o.deadline : time_point::min(), o.stop);
            lock const l{m_};
            caller_looks_ = false;
        } else {
            room = true;
        }
        // Asked each time: where answers always wait, nobody sleeps until the deadline.
        if (late(o) || (!add && !help(o))) {
            end(o.stop.stop_requested() ? refusal::stopped : refusal::timed_out);
            give(ready);
            return;
        }
        give(ready);
    }
}

template <class State>
struct map_leaver {
    State* state;
    ~map_leaver() { state->leave(); }
};

template <class Core, class Range, class F>
using map_state_of = map_state<Core, map_item<Range>, std::decay_t<F>, map_result<F, Range>>;

template <class Core, class Range, class F>
auto* new_map(Core& core, Range&& range, F&& f, map_options const& o) {
    auto const in_flight = o.in_flight == 0 ? 2 * core.max_workers_hint() : o.in_flight;
    return new map_state_of<Core, Range, F>(core, std::forward<Range>(range), std::forward<F>(f), in_flight);
}

/// The answers in the order of the range.
template <class Core, class Range, class F>
    requires maps<F, Range>
[[nodiscard]] auto map_on(Core& core, Range&& range, F&& f, map_options const& o = {}) {
    auto* const state = new_map(core, std::forward<Range>(range), std::forward<F>(f), o);
    map_leaver<map_state_of<Core, Range, F>> const leaver{state};
    std::vector<outcome<future_value<map_result<F, Range>>>> all;
    all.reserve(state->size());
    state->drive(o, [](std::size_t) noexcept {});
    for (std::size_t i = 0; i < state->size(); ++i) {
        all.push_back(state->answer(i));
    }
    return all;
}

/// sink(index, outcome) on the calling thread: answers as they come, then what was not answered.
template <class Core, class Range, class F, class Sink>
    requires maps<F, Range>
void map_completed_on(Core& core, Range&& range, F&& f, Sink&& sink, map_options const& o = {}) {
    auto* const state = new_map(core, std::forward<Range>(range), std::forward<F>(f), o);
    map_leaver<map_state_of<Core, Range, F>> const leaver{state};
    state->drive(o, [&](std::size_t i) { sink(i, state->answer(i)); });
    for (std::size_t i = 0; i < state->size(); ++i) {
        if (!state->given(i)) {
            sink(i, state->answer(i));
        }
    }
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
