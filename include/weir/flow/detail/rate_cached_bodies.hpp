// weir (BSL-1.0). rate_cached_bodies: what the members of cached_limiter do.
#ifndef WEIR_FLOW_DETAIL_RATE_CACHED_BODIES_HPP
#define WEIR_FLOW_DETAIL_RATE_CACHED_BODIES_HPP
#include <weir/flow/detail/rate_bodies.hpp>
#include <weir/flow/rate_limiter.hpp>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

// Edges: see rate_cached.hpp

namespace weir::inline v0 {

namespace detail {

inline cached_limiter_options checked_cached(cached_limiter_options const& o) {
    rate_need(o.limit >= 1 && o.limit <= (1 << 20), "weir::cached_limiter: limit must be in [1, 2^20]");
    rate_need(rate_time(o.window), "weir::cached_limiter: window must be in (0, 2^60] ns");
    rate_need(!o.max_age || rate_time(*o.max_age), "weir::cached_limiter: max_age must be in (0, 2^60] ns");
    static_cast<void>(checked_rate_capacity(o.capacity, "weir::cached_limiter: capacity must be in [1, 2^32]"));
    return o;
}

template <class Limiter, class Key, class V>
class cached_policy {
public:
    using is_policy = void;
    explicit cached_policy(Limiter& limiter, Key key) : limiter_(&limiter), key_(std::move(key)) {}

    template <class Context, class Next>
        requires std::same_as<std::invoke_result_t<Next, Context&>, outcome<V>>
    auto operator()(Context& context, Next&& next) const noexcept -> outcome<V> try {
        auto a = limiter_->try_acquire(key_);
        if (a.denied()) {
            return unexpected<failure>{failure{a.why()}};
        }
        if (a.cached()) {
            return a.value();
        }
        outcome<V> result = std::forward<Next>(next)(context);
        if (result.has_value()) {
            a.permit().commit(*result);
        }
        return result;
    } catch (...) {  // no memory for the answer, or no copy of it: no layer throws
        return unexpected<failure>{failure{std::current_exception()}};
    }

private:
    Limiter* limiter_;
    Key key_;
};

}  // namespace detail

/// Leave to make one call. Tell it the answer; if it goes without, there was none.
template <class Key, class V, class Hash, class KeyEqual, clock_source Clock>
    requires hasher_of<Hash, Key> && equivalence_of<KeyEqual, Key> && std::copy_constructible<Key>
class cached_limiter<Key, V, Hash, KeyEqual, Clock>::permit {
public:
    permit(permit&& other) noexcept(std::is_nothrow_move_constructible_v<Key>)
        : limiter_(other.limiter_),
          key_(std::move(other.key_)),
          hash_(other.hash_),
          sequence_(other.sequence_),
          flight_(std::move(other.flight_)) {}
    permit& operator=(permit&&) = delete;
    ~permit() {
        if (flight_ != nullptr) {
            flight_->end();
        }
    }

    /// Whether it was stored: unless the answer of a newer call is there. Those who wait for it get it in any case. The first counts.
    /// Throws: std::bad_alloc, what KeyEqual and copying a Key throw; then there was no answer.
    bool commit(V value) { return flight_ != nullptr && limiter_->commit(*this, std::move(value)); }

private:
    friend cached_limiter;
    permit(cached_limiter& limiter, Key const& key, std::uint64_t hash, std::shared_ptr<flight> f)
        : limiter_(&limiter), key_(key), hash_(hash), flight_(std::move(f)) {}

    cached_limiter* limiter_;
    Key key_;
    std::uint64_t hash_;
    std::uint64_t sequence_ = 0;      // of its admission
    std::shared_ptr<flight> flight_;  // none: has committed, or was moved from
};

template <class Key, class V, class Hash, class KeyEqual, clock_source Clock>
    requires hasher_of<Hash, Key> && equivalence_of<KeyEqual, Key> && std::copy_constructible<Key>
class cached_limiter<Key, V, Hash, KeyEqual, Clock>::answer {
public:
    [[nodiscard]] bool admitted() const noexcept { return permit_.has_value(); }
    [[nodiscard]] bool cached() const noexcept { return value_ != nullptr; }
    [[nodiscard]] bool denied() const noexcept { return !admitted() && !cached(); }

    /// Only if admitted.
    [[nodiscard]] cached_limiter::permit& permit() noexcept {
        assert(admitted());
        return *permit_;
    }
    /// Only if cached; lives as long as the answer. shared() lives as long as you like.
    [[nodiscard]] V const& value() const noexcept {
        assert(cached());
        return *value_;
    }
    [[nodiscard]] std::shared_ptr<V const> const& shared() const noexcept { return value_; }
    /// Of the value.
    [[nodiscard]] std::chrono::nanoseconds age() const noexcept { return age_; }
    /// Only if denied.
    [[nodiscard]] rejected why() const noexcept {
        assert(denied());
        return why_;
    }

private:
    friend cached_limiter;
    explicit answer(cached_limiter::permit&& p) : permit_(std::move(p)) {}
    answer(std::shared_ptr<V const> value, std::int64_t age) noexcept
        : value_(std::move(value)), age_(std::max(age, std::int64_t{0})) {}
    explicit answer(rejected why) noexcept : why_(why) {}

    std::optional<cached_limiter::permit> permit_;
    std::shared_ptr<V const> value_;
    std::chrono::nanoseconds age_{0};
    rejected why_{refusal::rate_limited};
};

template <class Key, class V, class Hash, class KeyEqual, clock_source Clock>
    requires hasher_of<Hash, Key> && equivalence_of<KeyEqual, Key> && std::copy_constructible<Key>
cached_limiter<Key, V, Hash, KeyEqual, Clock>::cached_limiter(options o, Clock clock, Hash hash, KeyEqual equal)
    : max_age_(detail::checked_cached(o).max_age.value_or(std::chrono::nanoseconds::max()).count()),
      clock_(std::move(clock)),
      epoch_(clock_.now()),
      hash_(std::move(hash), o.seed ? *o.seed : random_seed()),
      limits_(detail::log_rule(sliding_log_options{.limit = o.limit, .window = o.window}), o.capacity),
      answers_(o.capacity, std::move(equal)) {}

// With under_way: if a call of the key is under way, that goes there, and the answer means nothing.
template <class Key, class V, class Hash, class KeyEqual, clock_source Clock>
    requires hasher_of<Hash, Key> && equivalence_of<KeyEqual, Key> && std::copy_constructible<Key>
auto cached_limiter<Key, V, Hash, KeyEqual, Clock>::ask(Key const& key, time_point now, std::shared_ptr<flight>* under_way) -> answer {
    auto const hash = hash_(key);
    auto const t = detail::log_rule::time(time(now));
    auto const again = [this]() noexcept { return detail::log_rule::time(time(clock_.now())); };
    typename table::entry gone;
    auto& set = answers_.set_of(hash);
    std::lock_guard const hold(set.mutex);
    auto* e = answers_.find(set, hash, key);
    if (e != nullptr) {
        e->used = time(now);
        if (under_way != nullptr && table::called_for(*e)) {
            *under_way = e->under_way;
            return answer{rejected{refusal::rate_limited}};
        }
    }
    // All that can throw comes before the call is counted, but after a clock was set back.
    bool counted = false;
    auto d = limits_.look(hash, 1, t);
    if (!d.allowed) {
        d = limits_.template take<true>(hash, 1, t, again);
        counted = d.allowed;
    }
    if (d.allowed) {
        permit leave(*this, key, hash, std::make_shared<flight>());
        if (e == nullptr) {
            e = &answers_.make(set, hash, key, gone);
            e->used = time(now);
        }
        if (!counted) {
            static_cast<void>(limits_.template take<false>(hash, 1, t, again));  // as look() said: the mutex is held
        }
        // relaxed: only calls of one key are compared, and their mutex orders these
        leave.sequence_ = sequence_.fetch_add(1, std::memory_order_relaxed) + 1;
        e->under_way = leave.flight_;
        admitted_.add();
        return answer{std::move(leave)};
    }
    if (e != nullptr && e->value != nullptr && time(now) - e->at < max_age_) {
        cached_.add();
        return answer{e->value, time(now) - e->at};
    }
    denied_.add();
    return answer{d.rejection()};
}

template <class Key, class V, class Hash, class KeyEqual, clock_source Clock>
    requires hasher_of<Hash, Key> && equivalence_of<KeyEqual, Key> && std::copy_constructible<Key>
auto cached_limiter<Key, V, Hash, KeyEqual, Clock>::acquire(Key const& key, time_point deadline, std::stop_token const& stop)
    -> answer {
    using std::chrono::steady_clock;
    auto const refuse = [&](refusal why) {
        denied_.add();
        return answer{rejected{why}};
    };
    for (;;) {
        std::shared_ptr<flight> other;
        auto now = clock_.now();
        if (auto mine = ask(key, now, &other); other == nullptr) {
            return mine;
        }
        auto const until = deadline == time_point::max() ? steady_clock::time_point::max()
                                                         : saturating_add(steady_clock::now(), saturating_between(now, deadline));
        auto const over = [&] { return other->over.load(); };  // E1 acquire; seq_cst: event_count, way 1
        auto const result = detail::await(other->ended, over, until, stop);
        if (result != detail::wait_result::notified) {
            return refuse(result == detail::wait_result::stopped ? refusal::stopped : refusal::timed_out);
        }
        if (other->value != nullptr) {
            cached_.add();
            joined_.add();
            return answer{other->value, time(clock_.now()) - other->at};
        }
        // That call has come to nothing: ask again.
    }
}

template <class Key, class V, class Hash, class KeyEqual, clock_source Clock>
    requires hasher_of<Hash, Key> && equivalence_of<KeyEqual, Key> && std::copy_constructible<Key>
bool cached_limiter<Key, V, Hash, KeyEqual, Clock>::commit(permit& p, V value) {
    struct ends {
        std::shared_ptr<flight> call;
        ~ends() { call->end(); }
    };
    typename table::entry gone;
    std::shared_ptr<V const> old;
    ends const finally{std::move(p.flight_)};  // before what is gone is destroyed
    auto const made = std::make_shared<V const>(std::move(value));
    auto const t = time(clock_.now());
    auto& set = answers_.set_of(p.hash_);
    std::lock_guard const hold(set.mutex);
    auto* e = answers_.find(set, p.hash_, p.key_);
    if (e == nullptr) {
        e = &answers_.make(set, p.hash_, p.key_, gone);
    }
    if (e->under_way == finally.call) {
        e->under_way.reset();
    }
    bool const newer = e->value == nullptr || p.sequence_ > e->sequence;
    if (newer) {
        old = std::exchange(e->value, made);
        e->sequence = p.sequence_;
        e->at = t;
        e->used = t;
    }
    (newer ? stored_ : outdated_).add();
    finally.call->value = e->value;
    finally.call->at = e->at;
    return newer;
}

template <class Key, class V, class Hash, class KeyEqual, clock_source Clock>
    requires hasher_of<Hash, Key> && equivalence_of<KeyEqual, Key> && std::copy_constructible<Key>
auto cached_limiter<Key, V, Hash, KeyEqual, Clock>::policy(Key key) {
    return detail::cached_policy<cached_limiter, Key, V>{*this, std::move(key)};
}

template <class Key, class V, class Hash, class KeyEqual, clock_source Clock>
    requires hasher_of<Hash, Key> && equivalence_of<KeyEqual, Key> && std::copy_constructible<Key>
cached_limiter_stats cached_limiter<Key, V, Hash, KeyEqual, Clock>::stats() const noexcept {
    cached_limiter_stats s;
    s.admitted = admitted_.value();
    s.cached = cached_.value();
    s.denied = denied_.value();
    s.joined = joined_.value();
    s.stored = stored_.value();
    s.outdated = outdated_.value();
    s.evictions = answers_.evictions();
    s.keys = limits_.stats();
    return s;
}

}  // namespace weir::inline v0
#endif
