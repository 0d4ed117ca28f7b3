// weir (BSL-1.0). map_calls: makes a call on a lock_free_map and records it with its outcome and its time.
#ifndef WEIR_TESTS_SUPPORT_MAP_CALLS_HPP
#define WEIR_TESTS_SUPPORT_MAP_CALLS_HPP
#include <weir/data/lock_free_map.hpp>

#include "linearizability/map_history.hpp"
#include "random.hpp"

#include <cstdint>
#include <optional>
#include <utility>

namespace weir_test {

inline std::uint64_t number_in(std::uint64_t value) noexcept { return value; }
template <class Value>
    requires requires(Value const& v) { v.number(); }
std::uint64_t number_in(Value const& value) noexcept {
    return value.number();
}

/// What a thread is to do next: any call, with values that nobody else stores (mostly) and a guess at what is there.
inline map_action any_action(random_numbers& dice, std::uint64_t key, std::uint64_t fresh, std::uint64_t guess) {
    map_action a;
    a.call = static_cast<map_call>(dice.below(map_calls));
    a.key = key;
    a.value = fresh;
    a.expected = guess;
    a.asked = static_cast<plan>(dice.below(3));
    return a;
}

/// Makes the call that `a` describes and fills in what came of it.
template <class Map>
void make_call(Map& map, map_action& a) {
    using value = typename Map::mapped_type;
    const typename Map::key_type key(a.key);
    const auto see = [&a](value const& v) { a.seen = number_in(v); };
    const auto see_optional = [&a](std::optional<value> const& v) {
        a.seen = v ? std::optional(number_in(*v)) : std::nullopt;
    };
    const auto replace = [&a](value const& v) {
        a.seen = number_in(v);
        return value(a.value);
    };
    switch (a.call) {
    case map_call::find:
        see_optional(map.find(key));
        break;
    case map_call::contains:
        a.yes = map.contains(key);
        break;
    case map_call::visit:
        a.yes = map.visit(key, see);
        break;
    case map_call::insert:
        a.yes = map.insert(typename Map::key_type(a.key), value(a.value));
        break;
    case map_call::insert_or_assign:
        a.yes = map.insert_or_assign(key, value(a.value));
        break;
    case map_call::assign:
        a.yes = map.assign(key, value(a.value));
        break;
    case map_call::insert_or_visit:
        a.yes = map.insert_or_visit({key, value(a.value)}, see);
        break;
    case map_call::exchange:
        see_optional(map.exchange(key, value(a.value)));
        break;
    case map_call::compare_exchange:
        a.yes = map.compare_exchange(key, value(a.expected), value(a.value));
        break;
    case map_call::erase:
        a.yes = map.erase(key);
        break;
    case map_call::extract:
        see_optional(map.extract(key));
        break;
    case map_call::compare_erase:
        a.yes = map.compare_erase(key, value(a.expected));
        break;
    case map_call::erase_if_odd:
        a.yes = map.erase_if(key, [](value const& v) { return number_in(v) % 2 == 1; });
        break;
    case map_call::update:
        a.yes = map.update(key, replace);
        if (!a.yes) {
            a.seen.reset();  // the function may have run before the key went away
        }
        break;
    case map_call::upsert:
        a.yes = map.upsert(key, value(a.value), replace);
        if (a.yes) {
            a.seen.reset();
        }
        break;
    case map_call::compute: {
        const auto done = map.compute(key, [&a](value const* v) {
            a.seen = v == nullptr ? std::nullopt : std::optional(number_in(*v));
            return a.asked == plan::keep     ? weir::decision<value>::keep()
                   : a.asked == plan::assign ? weir::decision<value>::assign(value(a.value))
                                             : weir::decision<value>::erase();
        });
        a.done = done == weir::compute_result::inserted   ? effect::inserted
                 : done == weir::compute_result::assigned ? effect::assigned
                 : done == weir::compute_result::erased   ? effect::erased
                                                          : effect::unchanged;
        break;
    }
    case map_call::find_or_create:
        a.seen = number_in(map.find_or_create(key, [&a] { return value(a.value); }));
        break;
    }
}

/// make_call, timed.
template <class Map>
map_timed_call timed(Map& map, std::uint32_t thread, map_action a) {
    const std::uint64_t called = tick();
    make_call(map, a);
    const std::uint64_t returned = tick();
    return {called, returned, thread, a};
}

}  // namespace weir_test
#endif
