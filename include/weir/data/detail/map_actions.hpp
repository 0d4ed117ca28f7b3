// weir (BSL-1.0). detail::map_actions: what each operation of lock_free_map decides about an entry; map_core carries it out.
#ifndef WEIR_DATA_DETAIL_MAP_ACTIONS_HPP
#define WEIR_DATA_DETAIL_MAP_ACTIONS_HPP
#include <weir/base/concepts.hpp>
#include <weir/base/expected.hpp>
#include <weir/data/detail/map_change.hpp>
#include <weir/data/detail/map_core.hpp>
#include <weir/data/detail/map_creation.hpp>
#include <weir/data/detail/map_growth.hpp>
#include <weir/data/detail/map_lookup.hpp>
#include <weir/data/detail/map_move.hpp>
#include <weir/data/detail/map_walk.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir::inline v0 {
namespace detail {

template <class Key, class T, class Hash, class KeyEqual, class Allocator>
class map_actions {
public:
    using core_type = map_core<Key, T, Hash, KeyEqual, Allocator>;
    using entry = typename core_type::entry;
    using reference = std::conditional_t<is_internally_synchronized<T>, T&, T const&>;

    struct put_result {
        bool was_there = false;
        bool stored = false;
    };

    map_actions(std::uint64_t seed, double shrink_at, Hash&& hash, KeyEqual&& equal, Allocator&& allocator)
        : creations_(seed, shrink_at, hash, equal, allocator),
          core_(seed, shrink_at, std::move(hash), std::move(equal), std::move(allocator)) {}

    [[nodiscard]] static constexpr std::size_t max_size() noexcept { return core_type::max_size(); }
    [[nodiscard]] core_type& core() noexcept { return core_; }
    [[nodiscard]] core_type const& core() const noexcept { return core_; }

    void make_room(std::size_t entries, char const* too_many) {
        if (entries > max_size()) {
            throw std::length_error(too_many);
        }
        if (entries != 0) {
            core_.reserve(entries);
        }
    }

    template <class K, class F>
    bool visit(K const& key, F&& f) const {
        auto const& k = as_key(key);
        return core_.look_up(core_.hasher()(k), matcher(k), [&](entry const& n) { f(handed_out(n)); });
    }

    /// Calls f(key, value) for each of the keys that is there, in their order.
    template <class F>
    std::size_t visit(std::span<Key const> keys, F&& f) const {
        std::array<std::uint64_t, 16> hashes{};  // as many as a core can wait for at once, or about
        std::size_t found = 0;
        while (!keys.empty()) {
            const auto batch = keys.first(std::min(keys.size(), hashes.size()));
            for (std::size_t i = 0; i < batch.size(); ++i) {
                hashes[i] = core_.hasher()(batch[i]);
            }
            core_.bring_near(std::span(hashes).first(batch.size()));
            for (std::size_t i = 0; i < batch.size(); ++i) {
                Key const& key = batch[i];
                found += core_.look_up(hashes[i], matcher(key), [&](entry const& n) { f(key, handed_out(n)); }) ? 1U : 0U;
            }
            keys = keys.subspan(batch.size());
        }
        return found;
    }

    template <class K>
    std::optional<T> find(K const& key) const {
        std::optional<T> copy;
        visit(key, [&](T const& value) { copy.emplace(value); });
        return copy;
    }

    /// Stores T(args...) if the key is absent, else calls on_found(value). True: stored.
    template <class K, class OnFound, class... Args>
    bool emplace_or(K&& key, OnFound&& on_found, Args&&... args) {
        auto&& k = as_key(std::forward<K>(key));
        const auto hash = core_.hasher()(k);
        bool stored = false;
        draft fresh(core_);
        core_.mutate(hash, matcher(k, fresh), [&](entry const* found) -> step {
            stored = found == nullptr;
            if (!stored) {
                on_found(handed_out(*found));
                return {};
            }
            if (fresh.empty()) {
                fresh.make(hash, std::forward<decltype(k)>(k), std::forward<Args>(args)...);
            }
            return {.put = &fresh};
        });
        return stored;
    }

    template <class K, class Tuple, std::size_t... I>
    bool emplace_or_last(K&& key, Tuple&& args_and_f, std::index_sequence<I...>) {
        return emplace_or(std::forward<K>(key), std::get<sizeof...(I)>(args_and_f),
                          std::get<I>(std::forward<Tuple>(args_and_f))...);
    }

    /// Stores the value if `judge(T const*)`, null if absent, says so.
    template <class K, class Judge>
    put_result put_when(K&& key, T&& value, Judge&& judge) {
        auto&& k = as_key(std::forward<K>(key));
        const auto hash = core_.hasher()(k);
        put_result result;
        draft fresh(core_);
        core_.mutate(hash, matcher(k, fresh), [&](entry const* found) -> step {
            result.was_there = found != nullptr;
            result.stored = judge(value_of(found));
            if (!result.stored) {
                return {};
            }
            if (fresh.empty()) {
                found == nullptr ? fresh.make(hash, std::forward<decltype(k)>(k), std::move(value))
                                 : fresh.make_instead(hash, std::forward<decltype(k)>(k), std::move(value));
            }
            return {.put = &fresh};
        });
        return result;
    }

    template <class K>
    std::optional<T> exchange(K&& key, T&& value) {
        std::optional<T> before;
        put_when(std::forward<K>(key), std::move(value), [&](T const* old) {
            copy_to(before, old);
            return true;
        });
        return before;
    }

    template <class K, class F>
    bool update(K const& key, F& f) {
        auto const& k = as_key(key);
        const auto hash = core_.hasher()(k);
        bool found_it = false;
        draft fresh(core_);
        core_.mutate(hash, matcher(k), [&](entry const* found) -> step {
            found_it = found != nullptr;
            if (!found_it) {
                return {};
            }
            fresh.make_instead(hash, found->value.first, f(std::as_const(found->value.second)));
            return {.put = &fresh};
        });
        return found_it;
    }

    template <class K, class F>
    bool upsert(K&& key, T&& init, F& f) {
        auto&& k = as_key(std::forward<K>(key));
        const auto hash = core_.hasher()(k);
        bool inserted = false;
        draft first(core_);    // kept when it loses a race: init is in it
        draft changed(core_);  // made anew from each value it meets
        core_.mutate(hash, matcher(k, first), [&](entry const* found) -> step {
            inserted = found == nullptr;
            if (!inserted) {
                changed.make_instead(hash, found->value.first, f(std::as_const(found->value.second)));
                return {.put = &changed};
            }
            if (first.empty()) {
                first.make(hash, std::forward<decltype(k)>(k), std::move(init));
            }
            return {.put = &first};
        });
        return inserted;
    }

    template <class Result, class K, class F>
    Result compute(K&& key, F& f) {
        auto&& k = as_key(std::forward<K>(key));
        const auto hash = core_.hasher()(k);
        Result result{};
        draft fresh(core_);
        core_.mutate(hash, matcher(k), [&](entry const* found) -> step {
            auto wanted = f(value_of(found));
            if (wanted.erases()) {
                result = found == nullptr ? Result::unchanged : Result::erased;
                return {.erase = true};
            }
            if (!wanted.value()) {
                result = Result::unchanged;
                return {};
            }
            result = found == nullptr ? Result::inserted : Result::assigned;
            if (found == nullptr) {
                fresh.make(hash, std::as_const(k), std::move(*wanted.value()));
            } else {
                fresh.make_instead(hash, found->value.first, std::move(*wanted.value()));
            }
            return {.put = &fresh};
        });
        return result;
    }

    template <class K, class Judge>
    bool erase_when(K const& key, Judge&& judge) {
        auto const& k = as_key(key);
        bool erased = false;
        core_.mutate(core_.hasher()(k), matcher(k), [&](entry const* found) -> step {
            erased = found != nullptr && judge(std::as_const(found->value.second));
            return {.erase = erased};
        });
        return erased;
    }

    template <class K>
    std::optional<T> extract(K const& key) {
        std::optional<T> before;
        const bool erased = erase_when(key, [&](T const& value) {
            copy_to(before, &value);
            return true;
        });
        if (!erased) {
            before.reset();  // it may hold what a first try saw, and another thread took
        }
        return before;
    }

    template <bool Exact, class F>
    void for_each(F& f) const {
        core_.template walk<Exact>([&](entry const& n) { f(n.value.first, handed_out(n)); });
    }

    template <class P>
    std::size_t erase_all(P& p) {
        std::size_t erased = 0;
        core_.template walk<true>([&](entry const& n) {
            if (p(n.value.first, std::as_const(n.value.second))) {
                const bool done = erase_when(n.value.first, [&](T const& value) {
                    return std::addressof(value) == std::addressof(n.value.second) || p(n.value.first, value);
                });
                erased += done ? 1U : 0U;
            }
        });
        return erased;
    }

    static T const* value_in(T const& made) noexcept { return std::addressof(made); }
    template <class E>
    static T const* value_in(expected<T, E> const& made) noexcept {
        return made ? std::addressof(*made) : nullptr;
    }
    /// What find_or_create returns: the factory's expected<T, E>, else a T.
    template <class F>
    using created = std::conditional_t<is_expected<std::remove_cvref_t<std::invoke_result_t<F&>>>,
                                       std::remove_cvref_t<std::invoke_result_t<F&>>, T>;

    template <class F>
    static constexpr bool makes = requires {
        requires is_expected<std::remove_cvref_t<std::invoke_result_t<F&>>> ||
                     std::is_convertible_v<std::invoke_result_t<F&>, T>;
        value_in(std::declval<created<F> const&>());
    };

    template <class K, class F>
    auto find_or_create(K&& key, F& factory) -> created<F> {
        auto const& k = as_key(key);
        std::optional<T> there;
        std::optional<registration> mine;
        static_cast<void>(find_or_register(k, there, mine, std::stop_token()));
        if (there) {
            return std::move(*there);
        }
        return create<created<F>>(k, factory);
    }

    template <class K, class F>
    auto find_or_create(K&& key, F& factory, std::stop_token const& stop) -> std::optional<created<F>> {
        auto const& k = as_key(key);
        std::optional<T> there;
        std::optional<registration> mine;
        if (!find_or_register(k, there, mine, stop)) {
            return std::nullopt;
        }
        if (there) {
            return std::move(*there);
        }
        return create<created<F>>(k, factory);
    }

    template <class Stats>
    [[nodiscard]] Stats stats() const {
        const auto shape = core_.measure();
        const auto pending = core_.pending();
        const auto entries = core_.size();
        const auto slots = static_cast<double>(shape.buckets * std::size_t{core_type::slots});
        return {.size = entries,
                .buckets = shape.buckets,
                .load = shape.buckets == 0 ? 0.0 : static_cast<double>(entries) / slots,
                .longest_chain = shape.longest,
                .overflowed = shape.overflowed,
                .growths = core_.growths(),
                .shrinks = core_.shrinks(),
                .failed_growths = core_.failed_growths(),
                .pending_objects = pending.objects,
                .pending_bytes = pending.bytes};
    }

private:
    using draft = typename core_type::draft;
    using step = typename core_type::decision;
    using creations = map_core<Key, std::shared_ptr<map_creation>, Hash, KeyEqual, Allocator>;

    /// Registers this thread as the creator of a key, unless there is one. The end of it, however the factory ended, wakes
    /// who waits, who then finds the value or becomes the creator.
    class registration {
    public:
        template <class K>
        registration(map_actions& map, K const& key) : map_(map), hash_(map.core_.hasher()(key)) {
            typename creations::draft fresh(map.creations_);
            map.creations_.mutate(hash_, map.matcher(key), [&](typename creations::entry const* found) -> typename creations::decision {
                other_ = found == nullptr || found->value.second->over() ? nullptr : found->value.second;
                if (other_ != nullptr) {
                    return {};
                }
                if (fresh.empty()) {
                    mine_ = std::make_shared<map_creation>();
                    fresh.make(hash_, key, mine_);
                }
                key_ = std::addressof(fresh.key());
                return {.put = &fresh};
            });
        }
        registration(registration const&) = delete;
        registration& operator=(registration const&) = delete;
        ~registration() {
            if (other_ == nullptr) {
                mine_->end();
                try {
                    // Only we take it out, so the address of the stored key is identity enough, and cannot throw.
                    map_.creations_.mutate(hash_, [this](Key const& stored) { return std::addressof(stored) == key_; },
                                           [](typename creations::entry const*) -> typename creations::decision {
                                               return {.erase = true};
                                           });
                } catch (std::bad_alloc const&) {  // it stays until the next creator of this key takes its place
                }
            }
        }
        [[nodiscard]] map_creation* other() const noexcept { return other_.get(); }

    private:
        map_actions& map_;
        std::uint64_t hash_;
        Key const* key_ = nullptr;
        std::shared_ptr<map_creation> mine_;
        std::shared_ptr<map_creation> other_;  // of the thread that is creating the key already
    };

    /// Ends with the value of the key in `there`, or with this thread registered as its creator; false: stopped.
    template <class K>
    bool find_or_register(K const& key, std::optional<T>& there, std::optional<registration>& mine,
                          std::stop_token const& stop) {
        for (;;) {
            there = find(key);
            if (there) {
                return true;
            }
            mine.emplace(*this, key);
            map_creation* const other = mine->other();
            if (other == nullptr) {
                there = find(key);  // created between the look and the registration
                return true;
            }
            if (other->by_this_thread()) {
                throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                                        "weir::lock_free_map: find_or_create: the factory asked for its own key");
            }
            if (!other->wait(stop)) {
                return false;
            }
        }
    }

    /// Stores a copy of what the factory makes, which itself is the result: nothing can throw after it is stored.
    template <class Result, class K, class F>
    Result create(K const& key, F& factory) {
        Result made(factory());
        if (T const* const value = value_in(made)) {
            emplace_or(key, [&made](T const& there) { made = there; }, *value);
        }
        return made;
    }

    template <class K>
    static decltype(auto) as_key(K&& key) {
        if constexpr (lookup_key<K, Key, Hash, KeyEqual>) {
            return std::forward<K>(key);
        } else {
            return Key(std::forward<K>(key));
        }
    }

    static reference handed_out(entry const& n) noexcept { return const_cast<entry&>(n).value.second; }
    static T const* value_of(entry const* n) noexcept { return n == nullptr ? nullptr : std::addressof(n->value.second); }
    static void copy_to(std::optional<T>& to, T const* from) {
        to.reset();
        if (from != nullptr) {
            to.emplace(*from);
        }
    }

    template <class K>
    auto matcher(K const& key) const {
        return [this, &key](Key const& stored) -> bool { return core_.equal()(stored, key); };
    }
    /// Once a draft has been made, and the key perhaps moved into it, the draft's key is compared.
    template <class K>
    auto matcher(K const& key, draft const& made) const {
        return [this, &key, &made](Key const& stored) -> bool {
            return made.empty() ? core_.equal()(stored, key) : core_.equal()(stored, made.key());
        };
    }

    creations creations_;  // what find_or_create is making: nothing allocated before the first
    core_type core_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
