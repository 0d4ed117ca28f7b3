// weir (BSL-1.0). map_history: calls on one key of a map as recorded, the clock they are timed with, and what they may do.
#ifndef WEIR_TESTS_LINEARIZABILITY_MAP_HISTORY_HPP
#define WEIR_TESTS_LINEARIZABILITY_MAP_HISTORY_HPP
#include "history_text.hpp"
#include "linearizability.hpp"

#include <cstddef>
#include <cstdint>
#include <istream>
#include <optional>
#include <ostream>
#if !defined(__x86_64__) && !defined(__aarch64__)
#include <chrono>
#endif

namespace weir_test {

/// A cheap clock on which "a returned before b was called" can be read off. A shared counter would order the threads that
/// use it, and so hide the very mistakes that the test looks for; a core's own counter orders nothing.
/// Assumed: the counters of all cores run alike and at the same rate (on x86 an invariant TSC that the system has set off at
/// the same moment, on aarch64 the system counter, of which the architecture says so). The barriers keep the reading between
/// the loads before and after it. They do not wait until the thread's stores are seen by others: a call that returns before
/// its effect can be seen is late, and is to be found out.
inline std::uint64_t tick() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_lfence();
    const std::uint64_t now = __builtin_ia32_rdtsc();
    __builtin_ia32_lfence();
    return now;
#elif defined(__aarch64__)
    std::uint64_t now = 0;
    __asm__ volatile("dsb ishld\n\tisb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(now) : : "memory");
    return now;
#else
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

enum class map_call : std::uint8_t {
    find, contains, visit, insert, insert_or_assign, assign, insert_or_visit, exchange, compare_exchange,
    erase, extract, compare_erase, erase_if_odd, update, upsert, compute, find_or_create
};
inline constexpr std::uint64_t map_calls = 17;

/// What a compute function is told to answer.
enum class plan : std::uint8_t { keep, assign, erase };

/// The effect that compute reports.
enum class effect : std::uint8_t { unchanged, inserted, assigned, erased };

/// One call on one key, with its outcome.
struct map_action {
    map_call call = map_call::find;
    std::uint64_t key = 0;
    std::uint64_t value = 0;            // what it wanted to store
    std::uint64_t expected = 0;         // what it compared with
    bool yes = false;                   // the bool it returned
    std::optional<std::uint64_t> seen = std::nullopt;  // the value it returned, or showed to its function last
    plan asked = plan::keep;
    effect done = effect::unchanged;

    friend bool operator==(map_action const&, map_action const&) = default;
};

/// One key of a map.
struct map_entry {
    std::optional<std::uint64_t> value;

    friend bool operator==(map_entry const&, map_entry const&) = default;
    [[nodiscard]] std::size_t hash() const noexcept { return value ? *value * 2 + 1 : 0; }

    /// Calls that, with this outcome, leave every entry alone that allows them.
    static bool only_looks(map_action const& a) noexcept {
        switch (a.call) {
        case map_call::find:
        case map_call::contains:
        case map_call::visit:
            return true;
        case map_call::insert:
        case map_call::assign:
        case map_call::insert_or_visit:
        case map_call::compare_exchange:
        case map_call::erase:
        case map_call::compare_erase:
        case map_call::erase_if_odd:
        case map_call::update:
            return !a.yes;
        case map_call::extract:
            return !a.seen;
        case map_call::compute:
            return a.done == effect::unchanged;
        case map_call::find_or_create:
            return a.seen != a.value;
        case map_call::insert_or_assign:
        case map_call::exchange:
        case map_call::upsert:
            return false;
        }
        return false;
    }

    bool step(map_action const& a) {
        const bool there = value.has_value();
        switch (a.call) {
        case map_call::find:
            return a.seen == value;
        case map_call::contains:
            return a.yes == there;
        case map_call::visit:
            return a.yes == there && a.seen == value;
        case map_call::insert:
            return a.yes == !there && (there || store(a.value));
        case map_call::insert_or_assign:
            return a.yes == !there && store(a.value);
        case map_call::assign:
            return a.yes == there && (!there || store(a.value));
        case map_call::insert_or_visit:
            return a.yes == !there && (there ? a.seen == value : store(a.value));
        case map_call::exchange:
            return a.seen == value && store(a.value);
        case map_call::compare_exchange:
            return a.yes == (value == a.expected) && (!a.yes || store(a.value));
        case map_call::erase:
            return a.yes == there && clear();
        case map_call::extract:
            return a.seen == value && clear();
        case map_call::compare_erase:
            return a.yes == (value == a.expected) && (!a.yes || clear());
        case map_call::erase_if_odd:
            return a.yes == (there && *value % 2 == 1) && (!a.yes || clear());
        case map_call::update:
            return a.yes == there && (!there || (a.seen == value && store(a.value)));
        case map_call::upsert:
            return a.yes == !there && (!there || a.seen == value) && store(a.value);
        case map_call::compute:
            return a.seen == value && a.done == effect_of(a.asked, there) && compute(a);
        case map_call::find_or_create:
            return there ? a.seen == value : a.seen == a.value && store(a.value);
        }
        return false;
    }

private:
    static effect effect_of(plan p, bool there) noexcept {
        switch (p) {
        case plan::assign:
            return there ? effect::assigned : effect::inserted;
        case plan::erase:
            return there ? effect::erased : effect::unchanged;
        default:
            return effect::unchanged;
        }
    }
    bool compute(map_action const& a) {
        return a.asked == plan::assign ? store(a.value) : a.asked == plan::erase ? clear() : true;
    }
    bool store(std::uint64_t v) {
        value = v;
        return true;
    }
    bool clear() {
        value.reset();
        return true;
    }
};

using map_timed_call = timed_call<map_action>;

inline constexpr char const* map_call_names[] = {"find", "contains", "visit", "insert", "insert_or_assign", "assign",
    "insert_or_visit", "exchange", "compare_exchange", "erase", "extract", "compare_erase", "erase_if_odd", "update",
    "upsert", "compute", "find_or_create"};
inline constexpr char const* plan_names[] = {"keep", "assign", "erase"};
inline constexpr char const* effect_names[] = {"unchanged", "inserted", "assigned", "erased"};
inline constexpr char const* yes_names[] = {"false", "true"};

inline std::ostream& operator<<(std::ostream& out, map_action const& a) {
    out << map_call_names[static_cast<std::size_t>(a.call)] << " key " << a.key << " value " << a.value << " expected "
        << a.expected << " asked " << plan_names[static_cast<std::size_t>(a.asked)] << " -> " << yes_names[a.yes ? 1 : 0]
        << " saw ";
    if (a.seen) {
        out << *a.seen;
    } else {
        out << "nothing";
    }
    return out << " did " << effect_names[static_cast<std::size_t>(a.done)];
}
inline std::istream& operator>>(std::istream& in, map_action& a) {
    a = {};
    take(take_one_of(in, map_call_names, a.call), "key") >> a.key;
    take(in, "value") >> a.value;
    take(in, "expected") >> a.expected;
    take_one_of(take(in, "asked"), plan_names, a.asked);
    take_one_of(take(in, "->"), yes_names, a.yes);
    take(in, "saw") >> std::ws;
    if (in.peek() == 'n') {
        take(in, "nothing");
    } else {
        in >> a.seen.emplace();
    }
    return take_one_of(take(in, "did"), effect_names, a.done);
}

}  // namespace weir_test
#endif
