// weir (BSL-1.0). fifo_history: calls on a queue as recorded, and what they may do.
#ifndef WEIR_TESTS_LINEARIZABILITY_FIFO_HISTORY_HPP
#define WEIR_TESTS_LINEARIZABILITY_FIFO_HISTORY_HPP
#include "history_text.hpp"
#include "linearizability.hpp"

#include <cstddef>
#include <cstdint>
#include <istream>
#include <limits>
#include <ostream>
#include <vector>

namespace weir_test {

enum class fifo_call : std::uint8_t { push, pop };

/// One call on a queue, with its outcome.
struct fifo_action {
    fifo_call call = fifo_call::push;
    std::uint64_t value = 0;  // pushed, or popped
    bool done = false;        // no: the queue said that it was full, or empty

    friend bool operator==(fifo_action const&, fifo_action const&) = default;
};

using fifo_timed_call = timed_call<fifo_action>;

/// A queue. Many a lock-free one says "empty" though a value is there whose producer, or that of one before, is not done: with
/// `weak_empty` that is allowed at any time, and so is a "full" with `weak_full`. Values must still come in order, each once.
struct fifo_queue {
    std::size_t capacity = std::numeric_limits<std::size_t>::max();
    bool weak_empty = false;
    bool weak_full = false;
    std::vector<std::uint64_t> values{};

    friend bool operator==(fifo_queue const&, fifo_queue const&) = default;
    [[nodiscard]] std::size_t hash() const noexcept {
        std::size_t h = values.size();
        for (const std::uint64_t value : values) {
            h = (h ^ value) * 0x9e3779b97f4a7c15ULL;
            h ^= h >> 29;
        }
        return h;
    }

    static bool only_looks(fifo_action const& a) noexcept { return !a.done; }

    bool step(fifo_action const& a) {
        if (a.call == fifo_call::push) {
            if (!a.done) {
                return weak_full || values.size() == capacity;
            }
            values.push_back(a.value);
            return values.size() <= capacity;
        }
        if (!a.done) {
            return weak_empty || values.empty();
        }
        if (values.empty() || values.front() != a.value) {
            return false;
        }
        values.erase(values.begin());
        return true;
    }
};

inline constexpr char const* fifo_calls[] = {"push", "pop"};
inline constexpr char const* fifo_answers[] = {"refused", "done"};

inline std::ostream& operator<<(std::ostream& out, fifo_action const& a) {
    return out << fifo_calls[static_cast<std::size_t>(a.call)] << ' ' << a.value << " -> " << fifo_answers[a.done ? 1 : 0];
}
inline std::istream& operator>>(std::istream& in, fifo_action& a) {
    take_one_of(in, fifo_calls, a.call) >> a.value;
    return take_one_of(take(in, "->"), fifo_answers, a.done);
}

}  // namespace weir_test
#endif
