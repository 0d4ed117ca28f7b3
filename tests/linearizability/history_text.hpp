// weir (BSL-1.0). history_text: a history as text to be read back and judged again, and where the search for an order ended.
#ifndef WEIR_TESTS_LINEARIZABILITY_HISTORY_TEXT_HPP
#define WEIR_TESTS_LINEARIZABILITY_HISTORY_TEXT_HPP
#include "linearizability.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <istream>
#include <limits>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

// All of this works for any action that has `operator<<`; reading back needs an `operator>>` that takes what `<<` wrote.

namespace weir_test {

/// Takes the next word, which must be `word`.
inline std::istream& take(std::istream& in, char const* word) {
    std::string found;
    if (in >> found && found != word) {
        in.setstate(std::ios::failbit);
    }
    return in;
}

/// Takes the next word and sets `which` to its place among the first `count` of `names`.
template <class Enum, std::size_t Count>
std::istream& take_one_of(std::istream& in, char const* const (&names)[Count], Enum& which) {
    std::string found;
    if (in >> found) {
        const auto at = std::find(names, names + Count, found);
        if (at == names + Count) {
            in.setstate(std::ios::failbit);
        } else {
            which = static_cast<Enum>(at - names);
        }
    }
    return in;
}

/// One line for each call. Lines that begin with `#` are left for remarks.
template <class Action>
void write_history(std::ostream& out, std::vector<timed_call<Action>> const& calls) {
    for (auto const& call : calls) {
        out << "thread " << call.thread << " from " << call.called << " to " << call.returned << " : " << call.action << '\n';
    }
}

/// Reads what write_history wrote. Throws std::invalid_argument, naming the line, if it is anything else.
template <class Action>
std::vector<timed_call<Action>> read_history(std::istream& in) {
    std::vector<timed_call<Action>> calls;
    std::string line;
    for (std::size_t number = 1; std::getline(in, line); ++number) {
        if (line.empty() || line.front() == '#') {
            continue;
        }
        std::istringstream words(line);
        timed_call<Action> call;
        take(words, "thread") >> call.thread;
        take(words, "from") >> call.called;
        take(words, "to") >> call.returned;
        take(words, ":") >> call.action;
        if (!words || !(words >> std::ws).eof()) {
            throw std::invalid_argument("read_history: line " + std::to_string(number) + " is no call: " + line);
        }
        calls.push_back(call);
    }
    return calls;
}

inline std::ostream& operator<<(std::ostream& out, verdict v) {
    return out << (v == verdict::linearizable ? "linearizable" : v == verdict::refuted ? "refuted" : "undecided");
}

/// The same calls on a clock that began with the first.
template <class Action>
std::vector<timed_call<Action>> from_zero(std::vector<timed_call<Action>> calls) {
    std::uint64_t start = std::numeric_limits<std::uint64_t>::max();
    for (auto const& call : calls) {
        start = std::min(start, call.called);
    }
    for (auto& call : calls) {
        call.called -= start;
        call.returned -= start;
    }
    return calls;
}

/// Where the search ended: the last calls of the longest order that it found, those of which none could come next, and some
/// that were called later.
template <class Action>
std::string explain(std::vector<timed_call<Action>> const& calls, judgement const& found) {
    constexpr std::size_t some = 20;
    std::ostringstream out;
    out << found.is << ": " << found.deepest.size() << " of " << calls.size() << " calls could be put in order, "
        << found.configurations << " configurations\n";
    const auto print = [&](timed_call<Action> const& call) {
        out << "  ";
        write_history<Action>(out, {call});
    };
    std::vector<bool> placed(calls.size(), false);
    for (const std::size_t i : found.deepest) {
        placed[i] = true;
    }
    std::vector<std::size_t> left;
    std::uint64_t first_return = std::numeric_limits<std::uint64_t>::max();
    for (std::size_t i = 0; i < calls.size(); ++i) {
        if (!placed[i]) {
            left.push_back(i);
            first_return = std::min(first_return, calls[i].returned);
        }
    }
    std::sort(left.begin(), left.end(), [&](std::size_t a, std::size_t b) { return calls[a].called < calls[b].called; });
    out << "the last in this order:\n";
    for (std::size_t i = found.deepest.size() - std::min(found.deepest.size(), some); i < found.deepest.size(); ++i) {
        print(calls[found.deepest[i]]);
    }
    const auto later = std::find_if(left.begin(), left.end(), [&](std::size_t i) { return calls[i].called > first_return; });
    out << "could come next:\n";
    std::for_each(left.begin(), later, [&](std::size_t i) { print(calls[i]); });
    out << "were called later:\n";
    std::for_each(later, later + std::min<std::ptrdiff_t>(left.end() - later, some), [&](std::size_t i) { print(calls[i]); });
    return out.str();
}

/// The whole history of the key, which can be judged again, and where the search ended.
template <class Key, class Action>
std::ostream& operator<<(std::ostream& out, keyed_judgement<Key, Action> const& judged) {
    const auto calls = from_zero(judged.calls);
    out << "# key " << judged.key << '\n';
    write_history(out, calls);
    return out << "# key " << judged.key << ' ' << explain(calls, judged.found);
}

}  // namespace weir_test
#endif
