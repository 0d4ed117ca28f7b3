// weir (BSL-1.0). dedup_history: calls on a dedup_cache as recorded, and what they may answer.
#ifndef WEIR_TESTS_LINEARIZABILITY_DEDUP_HISTORY_HPP
#define WEIR_TESTS_LINEARIZABILITY_DEDUP_HISTORY_HPP
#include "history_text.hpp"
#include "linearizability.hpp"

#include <cstddef>
#include <cstdint>
#include <istream>
#include <optional>
#include <ostream>

namespace weir_test {

enum class dedup_call : std::uint8_t { check, seen };

/// One call, with its outcome, and what the cache's clock said right before and right after it.
struct dedup_action {
    dedup_call call = dedup_call::check;
    std::uint64_t key = 0;
    bool yes = false;  // check: it was new; seen: it was marked
    std::int64_t before = 0;
    std::int64_t after = 0;

    friend bool operator==(dedup_action const&, dedup_action const&) = default;
};

using dedup_timed_call = timed_call<dedup_action>;

/// One key that is never evicted. A call looked at the clock somewhere between `before` and `after`, and nobody knows where: so the
/// key is forgotten at a moment between `first` and `last`, and a call may fall on either side of it.
struct dedup_entry {
    std::int64_t ttl = 0;
    bool marked = false;
    std::int64_t first = 0;
    std::int64_t last = 0;

    friend bool operator==(dedup_entry const&, dedup_entry const&) = default;
    [[nodiscard]] std::size_t hash() const noexcept {
        return marked ? static_cast<std::size_t>(first) * 31 + static_cast<std::size_t>(last) + 1 : 0;
    }

    static bool only_looks(dedup_action const& a) noexcept { return a.call == dedup_call::seen || !a.yes; }

    bool step(dedup_action const& a) {
        const bool may_be_there = marked && a.before < last;
        const bool may_be_gone = !marked || a.after >= first;
        if (a.call == dedup_call::seen) {
            return a.yes ? may_be_there : may_be_gone;
        }
        if (!a.yes) {
            return may_be_there;
        }
        marked = true;
        first = a.before + ttl;
        last = a.after + ttl;
        return may_be_gone;
    }
};

/// A cache with one place, in which no time passes: it knows the key that was new last, and no other.
struct dedup_place {
    std::optional<std::uint64_t> key{};

    friend bool operator==(dedup_place const&, dedup_place const&) = default;
    [[nodiscard]] std::size_t hash() const noexcept { return key ? static_cast<std::size_t>(*key) + 1 : 0; }

    static bool only_looks(dedup_action const& a) noexcept { return a.call == dedup_call::seen || !a.yes; }

    bool step(dedup_action const& a) {
        const bool there = key == a.key;
        if (a.call == dedup_call::seen) {
            return a.yes == there;
        }
        key = a.key;
        return a.yes == !there;
    }
};

inline constexpr char const* dedup_calls[] = {"check", "seen"};
inline constexpr char const* dedup_answers[] = {"no", "yes"};

inline std::ostream& operator<<(std::ostream& out, dedup_action const& a) {
    return out << dedup_calls[static_cast<std::size_t>(a.call)] << " key " << a.key << " at " << a.before << " to " << a.after
               << " -> " << dedup_answers[a.yes ? 1 : 0];
}
inline std::istream& operator>>(std::istream& in, dedup_action& a) {
    take(take_one_of(in, dedup_calls, a.call), "key") >> a.key;
    take(in, "at") >> a.before;
    take(in, "to") >> a.after;
    return take_one_of(take(in, "->"), dedup_answers, a.yes);
}

}  // namespace weir_test
#endif
