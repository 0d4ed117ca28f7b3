// weir (BSL-1.0). search: looks for an order of overlapping calls that a sequential model allows.
#ifndef WEIR_TESTS_LINEARIZABILITY_SEARCH_HPP
#define WEIR_TESTS_LINEARIZABILITY_SEARCH_HPP
#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory_resource>
#include <stdexcept>
#include <utility>
#include <vector>

// Source: Wing and Gong, "Testing and verifying concurrent objects", JPDC 17 (1993): depth-first search over the calls that
//   may come next. Lowe, "Testing for linearizability", CCPE 29 (2017): a configuration that led nowhere is not entered
//   again, and a call is placed as late as it can be. Horn and Kroening, "Faster linearizability checking via
//   P-compositionality", FORTE 2015: one search per key.
// What we changed:
//   - Calls are numbered in the order of their returns. `now` is the first that is not placed; all that may come next were
//     called before it returned. So a configuration is `now`, a bit for each overlapping call (its slot: a call hands its slot
//     on when it has returned), and the model: a few words, however long the history.
//   - A call that only looks (see `only_looks`) is placed as soon as its answer is right, and that is never taken back:
//     from an order in which it comes later it can be moved to here, and all others see what they saw.
//   - Only configurations that failed are remembered. On the way forward no configuration is met twice, so that a history
//     whose calls fit at once costs no look into the memory of failures at all.

namespace weir_test {

/// One finished call. `called` and `returned` are readings of one clock that all threads share.
template <class Action>
struct timed_call {
    std::uint64_t called = 0;
    std::uint64_t returned = 0;
    std::uint32_t thread = 0;
    Action action{};

    friend bool operator==(timed_call const&, timed_call const&) = default;
};

/// The object as one thread would see it. `step` says whether a call with this outcome may happen now, and does it;
/// what `step` leaves behind after a refusal is thrown away.
template <class Model, class Action>
concept sequential_model = std::copyable<Model> && std::equality_comparable<Model> &&
                           requires(Model m, Model const c, Action const& a) {
                               { m.step(a) } -> std::same_as<bool>;
                               { c.hash() } -> std::convertible_to<std::size_t>;
                           };

/// A model may say which calls, with the outcome that they had, change nothing in any state that allows them. It makes the
/// search much faster; a wrong yes makes it wrong.
template <class Model, class Action>
concept tells_who_only_looks = requires(Action const& a) {
    { Model::only_looks(a) } -> std::same_as<bool>;
};

namespace linearizability_detail {

inline constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

/// Who may come before whom: all that the search needs to know of the clock.
template <class Action, class Model>
class timetable {
public:
    struct entry {
        Action const* action;
        std::uint32_t index;    // in the history
        std::uint32_t slot;     // of all calls that may be pending while this is the first to return, no two have the same
        std::uint32_t arrived;  // so many calls were made before this one returned: those in by_call()[0 .. arrived)
        std::uint32_t after;    // the call that this thread made before, if the clock stood still in between; or none
        bool only_looks;
    };

    timetable(std::pmr::vector<timed_call<Action> const*> const& calls, std::pmr::memory_resource& memory)
        : by_return_(calls.size(), &memory), by_call_(calls.size(), &memory) {
        if (calls.size() >= none) {
            throw std::invalid_argument("judge: too many calls");
        }
        std::pmr::vector<interval> spans(&memory);
        sort_by_call(calls, spans);
        sort_by_return(spans);
        for (std::uint32_t place = 0; place < spans.size(); ++place) {
            entry& e = by_return_[by_call_[place]];
            e.index = spans[place].index;
            e.action = &calls[e.index]->action;
            if constexpr (tells_who_only_looks<Model, Action>) {
                e.only_looks = Model::only_looks(*e.action);
            }
        }
        follow_threads(calls, spans);
        give_slots(spans);
    }

    [[nodiscard]] std::size_t size() const noexcept { return by_return_.size(); }
    [[nodiscard]] entry const& operator[](std::size_t id) const noexcept { return by_return_[id]; }
    [[nodiscard]] std::uint32_t by_call(std::size_t place) const noexcept { return by_call_[place]; }
    [[nodiscard]] std::uint32_t slots() const noexcept { return slots_; }
    [[nodiscard]] bool clock_stood_still() const noexcept { return stood_still_; }

private:
    struct interval {
        std::uint64_t called;
        std::uint64_t returned;
        std::uint32_t index;
    };

    void sort_by_call(std::pmr::vector<timed_call<Action> const*> const& calls, std::pmr::vector<interval>& spans) {
        spans.reserve(calls.size());
        for (std::uint32_t i = 0; i < calls.size(); ++i) {
            if (calls[i]->returned < calls[i]->called) {
                throw std::invalid_argument("judge: a call returned before it was called");
            }
            spans.push_back({calls[i]->called, calls[i]->returned, i});
        }
        std::sort(spans.begin(), spans.end(), [](interval const& a, interval const& b) {
            return a.called != b.called       ? a.called < b.called
                   : a.returned != b.returned ? a.returned < b.returned
                                              : a.index < b.index;
        });
    }

    /// Insertion, because calls are nearly in this order already: each passes only those that it overlaps.
    void sort_by_return(std::pmr::vector<interval> const& spans) {
        std::pmr::vector<std::uint32_t> places(spans.size(), by_call_.get_allocator());
        for (std::uint32_t place = 0; place < spans.size(); ++place) {
            std::uint32_t at = place;
            for (; at > 0 && spans[places[at - 1]].returned > spans[place].returned; --at) {
                places[at] = places[at - 1];
            }
            places[at] = place;
        }
        for (std::uint32_t id = 0; id < places.size(); ++id) {
            by_call_[places[id]] = id;
        }
    }

    void follow_threads(std::pmr::vector<timed_call<Action> const*> const& calls, std::pmr::vector<interval> const& spans) {
        std::pmr::vector<std::uint32_t> threads(by_call_.get_allocator());
        for (auto const* const call : calls) {
            if (threads.empty() || threads.back() != call->thread) {
                threads.push_back(call->thread);
            }
        }
        std::sort(threads.begin(), threads.end());
        threads.erase(std::unique(threads.begin(), threads.end()), threads.end());
        std::pmr::vector<std::uint32_t> last(threads.size(), none, by_call_.get_allocator());  // its latest call's place
        for (std::uint32_t place = 0; place < spans.size(); ++place) {
            const auto thread = std::lower_bound(threads.begin(), threads.end(), calls[spans[place].index]->thread);
            const std::uint32_t before = std::exchange(last[static_cast<std::size_t>(thread - threads.begin())], place);
            entry& e = by_return_[by_call_[place]];
            e.after = none;
            if (before != none && spans[place].called <= spans[before].returned) {
                if (spans[place].called < spans[before].returned) {
                    throw std::invalid_argument("judge: two calls of one thread overlap");
                }
                e.after = by_call_[before];
                stood_still_ = true;
            }
        }
    }

    void give_slots(std::pmr::vector<interval> const& spans) {
        std::pmr::vector<std::uint32_t> free(by_call_.get_allocator());
        std::pmr::vector<std::uint64_t> returned(spans.size(), by_call_.get_allocator());
        for (std::uint32_t place = 0; place < spans.size(); ++place) {
            returned[by_call_[place]] = spans[place].returned;
        }
        std::uint32_t arrived = 0;
        for (std::uint32_t id = 0; id < by_return_.size(); ++id) {
            for (; arrived < spans.size() && spans[arrived].called <= returned[id]; ++arrived) {
                if (free.empty()) {
                    free.push_back(slots_++);
                }
                by_return_[by_call_[arrived]].slot = free.back();
                free.pop_back();
            }
            by_return_[id].arrived = arrived;
            free.push_back(by_return_[id].slot);
        }
    }

    std::pmr::vector<entry> by_return_;
    std::pmr::vector<std::uint32_t> by_call_;  // the numbers of the calls, in the order in which they were made
    std::uint32_t slots_ = 0;
    bool stood_still_ = false;
};

/// A set of slots.
template <std::size_t Words>
class slot_set {
public:
    void add(std::uint32_t slot) noexcept { words_[slot / 64] |= bit(slot); }
    void remove(std::uint32_t slot) noexcept { words_[slot / 64] &= ~bit(slot); }
    [[nodiscard]] bool has(std::uint32_t slot) const noexcept { return (words_[slot / 64] & bit(slot)) != 0; }

    /// Calls `see(slot)` for each member until it returns true.
    template <class See>
    void find(See see) const {
        for (std::uint32_t w = 0; w < Words; ++w) {
            for (std::uint64_t left = words_[w]; left != 0; left &= left - 1) {
                if (see(w * 64 + static_cast<std::uint32_t>(std::countr_zero(left)))) {
                    return;
                }
            }
        }
    }
    [[nodiscard]] std::size_t hash(std::size_t h) const noexcept {
        for (const std::uint64_t word : words_) {
            h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
            h ^= h >> 29;
        }
        return h;
    }
    friend slot_set operator&(slot_set a, slot_set const& b) noexcept {
        for (std::size_t w = 0; w < Words; ++w) {
            a.words_[w] &= b.words_[w];
        }
        return a;
    }
    friend slot_set operator-(slot_set a, slot_set const& b) noexcept {
        for (std::size_t w = 0; w < Words; ++w) {
            a.words_[w] &= ~b.words_[w];
        }
        return a;
    }
    friend bool operator==(slot_set const&, slot_set const&) = default;

private:
    static std::uint64_t bit(std::uint32_t slot) noexcept { return std::uint64_t{1} << slot % 64; }
    std::array<std::uint64_t, Words> words_{};
};

template <class Model, std::size_t Words>
struct configuration {
    std::uint32_t now;       // every call before this one is placed
    slot_set<Words> placed;  // later ones that are
    Model model;

    [[nodiscard]] std::size_t hash() const noexcept {
        return placed.hash((static_cast<std::size_t>(model.hash()) ^ now) * 0x9e3779b97f4a7c15ULL);
    }
    friend bool operator==(configuration const&, configuration const&) = default;
};

/// Configurations from which no order was found: a hash table with open addressing.
template <class Configuration>
class failures {
public:
    explicit failures(std::pmr::memory_resource& memory) : all_(&memory), table_(&memory) {}

    [[nodiscard]] bool has(Configuration const& c) const {
        if (all_.empty() || c.now > latest_) {
            return false;
        }
        for (std::size_t at = c.hash();; ++at) {
            const std::uint32_t found = table_[at & (table_.size() - 1)];
            if (found == none || all_[found] == c) {
                return found != none;
            }
        }
    }
    void add(Configuration const& c) {
        all_.push_back(c);
        latest_ = std::max(latest_, c.now);
        if (table_.size() < 2 * all_.size()) {
            table_.assign(std::max<std::size_t>(16, 2 * table_.size()), none);
            for (std::uint32_t i = 0; i < all_.size(); ++i) {
                enter(i);
            }
        } else {
            enter(static_cast<std::uint32_t>(all_.size() - 1));
        }
    }

private:
    void enter(std::uint32_t i) {
        std::size_t at = all_[i].hash();
        while (table_[at & (table_.size() - 1)] != none) {
            ++at;
        }
        table_[at & (table_.size() - 1)] = i;
    }

    std::pmr::vector<Configuration> all_;
    std::pmr::vector<std::uint32_t> table_;  // indices in all_
    std::uint32_t latest_ = 0;               // no member's `now` is beyond
};

enum class outcome { order_found, no_order, budget_spent };

template <class Action, class Model, std::size_t Words>
class search {
public:
    search(timetable<Action, Model> const& times, Model const& start, std::pmr::memory_resource& memory)
        : times_(times),
          at_{0, {}, start},
          pending_call_(times.slots(), none, &memory),
          order_(&memory),
          deepest_(&memory),
          choices_(&memory),
          failed_(memory) {
        order_.reserve(times.size());
        choices_.reserve(times.size());
    }

    outcome run(std::size_t budget) {
        if (times_.size() == 0) {
            return outcome::order_found;
        }
        arrive(0, times_[0].arrived);
        place_all_that_look();
        std::uint32_t from = 0;  // calls before this one were tried
        bool entered = true;     // this configuration is new on the way
        while (order_.size() < times_.size()) {
            if (entered && failed_.has(at_)) {
                if (!go_back(from)) {
                    return outcome::no_order;
                }
            }
            entered = false;
            const std::uint32_t id = next_candidate(from);
            if (id == none) {
                failed_.add(at_);
                if (!go_back(from)) {
                    return outcome::no_order;
                }
                continue;
            }
            from = id + 1;
            Model next = at_.model;
            if (next.step(*times_[id].action)) {
                if (configurations_ >= budget) {
                    keep_deepest();
                    return outcome::budget_spent;
                }
                choices_.push_back({id, static_cast<std::uint32_t>(order_.size()), at_});
                at_.model = std::move(next);
                place(id);
                unseen_ = pending_;
                place_all_that_look();
                from = 0;
                entered = true;
            }
        }
        return outcome::order_found;
    }

    [[nodiscard]] std::size_t configurations() const noexcept { return configurations_; }
    [[nodiscard]] std::vector<std::size_t> longest_order() {
        keep_deepest();
        std::vector<std::size_t> indices(deepest_.size());
        std::transform(deepest_.begin(), deepest_.end(), indices.begin(), [this](std::uint32_t id) { return times_[id].index; });
        return indices;
    }

private:
    struct choice {
        std::uint32_t id;     // was placed
        std::uint32_t depth;  // so many were placed before
        configuration<Model, Words> before;
    };

    [[nodiscard]] bool is_placed(std::uint32_t id) const noexcept {
        return id < at_.now || at_.placed.has(times_[id].slot);
    }
    /// False while an earlier call of its thread is not placed, which the clock need not tell.
    [[nodiscard]] bool may_come(std::uint32_t id) const noexcept {
        return times_[id].after == none || is_placed(times_[id].after);
    }

    /// The first to return of the calls that may come next, from number `from` on. Calls that only look wait for their state.
    [[nodiscard]] std::uint32_t next_candidate(std::uint32_t from) const {
        std::uint32_t best = none;
        (pending_ - at_.placed - looking_).find([&](std::uint32_t slot) {
            const std::uint32_t id = pending_call_[slot];
            if (id >= from && id < best && may_come(id)) {
                best = id;
            }
            return false;
        });
        return best;
    }

    void place_all_that_look() {
        for (bool more = true; more;) {
            more = false;
            ((unseen_ & looking_) - at_.placed).find([&](std::uint32_t slot) {
                const std::uint32_t id = pending_call_[slot];
                unseen_.remove(slot);
                if (may_come(id)) {
                    Model same = at_.model;
                    if (same.step(*times_[id].action)) {
                        const std::uint32_t before = at_.now;
                        place(id);
                        more = at_.now != before || times_.clock_stood_still();  // others may come now
                    }
                }
                return more;
            });
        }
    }

    void place(std::uint32_t id) {
        ++configurations_;
        order_.push_back(id);
        if (times_.clock_stood_still()) {
            unseen_ = pending_;
        }
        at_.placed.add(times_[id].slot);
        while (at_.now < times_.size() && at_.placed.has(times_[at_.now].slot)) {
            forward();
        }
    }

    /// The first pending call, which is placed, returns; others arrive.
    void forward() {
        const auto& gone = times_[at_.now];
        at_.placed.remove(gone.slot);
        pending_.remove(gone.slot);
        looking_.remove(gone.slot);
        if (++at_.now < times_.size()) {
            arrive(gone.arrived, times_[at_.now].arrived);
        }
    }
    /// Takes forward() back, but for the set of those placed.
    void backward() {
        const std::uint32_t arrived = at_.now < times_.size() ? times_[at_.now].arrived : times_[at_.now - 1].arrived;
        --at_.now;
        for (std::uint32_t place = times_[at_.now].arrived; place < arrived; ++place) {
            const std::uint32_t slot = times_[times_.by_call(place)].slot;
            pending_.remove(slot);
            looking_.remove(slot);
        }
        come(at_.now);
    }
    void arrive(std::uint32_t place, std::uint32_t end) {
        for (; place < end; ++place) {
            come(times_.by_call(place));
        }
    }
    void come(std::uint32_t id) {
        auto const& call = times_[id];
        pending_call_[call.slot] = id;
        pending_.add(call.slot);
        unseen_.add(call.slot);
        if (call.only_looks) {
            looking_.add(call.slot);
        }
    }

    /// Takes the latest choice back; false if there is none.
    bool go_back(std::uint32_t& from) {
        keep_deepest();
        if (choices_.empty()) {
            return false;
        }
        choice& last = choices_.back();
        while (at_.now > last.before.now) {
            backward();
        }
        at_ = std::move(last.before);
        from = last.id + 1;
        order_.resize(last.depth);
        common_ = std::min(common_, order_.size());
        choices_.pop_back();
        return true;
    }

    void keep_deepest() {
        if (order_.size() > deepest_.size()) {
            deepest_.resize(common_);
            deepest_.insert(deepest_.end(), order_.begin() + static_cast<std::ptrdiff_t>(common_), order_.end());
            common_ = deepest_.size();
        }
    }

    timetable<Action, Model> const& times_;
    configuration<Model, Words> at_;
    slot_set<Words> pending_;   // called before times_[at_.now] returned, and not before now themselves
    slot_set<Words> looking_;   // pending ones that only look
    slot_set<Words> unseen_;    // pending ones that were not asked since the state changed
    std::pmr::vector<std::uint32_t> pending_call_;  // per slot
    std::pmr::vector<std::uint32_t> order_;
    std::pmr::vector<std::uint32_t> deepest_;
    std::size_t common_ = 0;  // so many calls at the beginning of order_ and deepest_ are the same
    std::pmr::vector<choice> choices_;
    failures<configuration<Model, Words>> failed_;
    std::size_t configurations_ = 0;
};

}  // namespace linearizability_detail
}  // namespace weir_test
#endif
