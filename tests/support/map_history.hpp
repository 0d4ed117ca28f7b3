// weir (BSL-1.0). map_history: calls on one key of a map as recorded, the clock they are timed with, and what they may do.
#ifndef WEIR_TESTS_SUPPORT_MAP_HISTORY_HPP
#define WEIR_TESTS_SUPPORT_MAP_HISTORY_HPP
#include "linearizability.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <vector>

namespace weir_test {

/// A cheap clock on which "a returned before b was called" can be read off. A shared counter would order the threads that
/// use it, and so hide the very mistakes that the test looks for.
inline std::uint64_t tick() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_lfence();  // neither side of the reading may drift across it
    const std::uint64_t now = __builtin_ia32_rdtsc();
    __builtin_ia32_lfence();
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
};

/// One key of a map.
struct map_entry {
    std::optional<std::uint64_t> value;

    friend bool operator==(map_entry const&, map_entry const&) = default;
    [[nodiscard]] std::size_t hash() const noexcept { return value ? *value * 2 + 1 : 0; }

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

inline std::ostream& operator<<(std::ostream& out, map_action const& a) {
    static constexpr const char* names[] = {"find", "contains", "visit", "insert", "insert_or_assign", "assign",
        "insert_or_visit", "exchange", "compare_exchange", "erase", "extract", "compare_erase", "erase_if_odd", "update",
        "upsert", "compute", "find_or_create"};
    static constexpr const char* plans[] = {"keep", "assign", "erase"};
    static constexpr const char* effects[] = {"unchanged", "inserted", "assigned", "erased"};
    out << names[static_cast<std::size_t>(a.call)] << '(' << a.key << ") value " << a.value << " expected " << a.expected
        << " -> " << (a.yes ? "true" : "false") << ", saw ";
    if (a.seen) {
        out << *a.seen;
    } else {
        out << "nothing";
    }
    if (a.call == map_call::compute) {
        out << ", asked " << plans[static_cast<std::size_t>(a.asked)] << ", did " << effects[static_cast<std::size_t>(a.done)];
    }
    return out;
}

/// The calls of the key around the place where no order could be continued: `*` marks those that were placed.
inline std::ostream& operator<<(std::ostream& out, keyed_judgement<std::uint64_t, map_action> const& j) {
    out << (j.found.is == verdict::undecided ? "undecided" : "refuted") << ": key " << j.key << ", " << j.calls.size()
        << " calls, of which " << j.found.deepest.size() << " could be put in order\n";
    std::vector<bool> placed(j.calls.size(), false);
    for (const std::size_t i : j.found.deepest) {
        placed[i] = true;
    }
    std::vector<std::size_t> by_time(j.calls.size());
    for (std::size_t i = 0; i < by_time.size(); ++i) {
        by_time[i] = i;
    }
    std::sort(by_time.begin(), by_time.end(),
              [&](std::size_t a, std::size_t b) { return j.calls[a].called < j.calls[b].called; });
    const auto stuck = std::find_if(by_time.begin(), by_time.end(), [&](std::size_t i) { return !placed[i]; });
    const auto at = stuck - by_time.begin();
    const std::uint64_t start = j.calls.empty() ? 0 : j.calls[by_time.front()].called;
    for (auto i = std::max<std::ptrdiff_t>(0, at - 20); i < std::min<std::ptrdiff_t>(at + 20, std::ssize(by_time)); ++i) {
        const std::size_t call = by_time[static_cast<std::size_t>(i)];
        out << (placed[call] ? " * " : "   ") << "thread " << j.calls[call].thread << " ["
            << j.calls[call].called - start << ", " << j.calls[call].returned - start << "] " << j.calls[call].action << '\n';
    }
    return out;
}

}  // namespace weir_test
#endif
