// weir (BSL-1.0). values: keys and values that notice when a container mistreats them.
#ifndef WEIR_TESTS_SUPPORT_VALUES_HPP
#define WEIR_TESTS_SUPPORT_VALUES_HPP
#include "faults.hpp"
#include "random.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>

namespace weir_test {

/// How many values of a kind there are, and what was done to dead ones. One set of counters per Tag.
template <class Tag>
struct census {
    inline static std::atomic<std::int64_t> alive{0};
    inline static std::atomic<std::int64_t> created{0};
    inline static std::atomic<std::int64_t> misuses{0};  // uses and destructions of what is not alive

    static void reset() noexcept {
        alive = 0;
        created = 0;
        misuses = 0;
    }
};

enum class on_copy { counts, throws };
enum class on_move { counts, throws };

/// A number in a body that knows whether it is alive: a second destruction and a use after the end are counted.
template <class Tag, on_copy Copy = on_copy::counts, on_move Move = on_move::counts>
class tracked {
public:
    using people = census<Tag>;

    explicit tracked(std::uint64_t n) noexcept : number_(n) { born(); }
    tracked(tracked const& other) : number_(other.number()) {
        if constexpr (Copy == on_copy::throws) {
            faults::point();
        }
        born();
    }
    tracked(tracked&& other) noexcept(Move == on_move::counts) : number_(other.number()) {
        if constexpr (Move == on_move::throws) {
            faults::point();
        }
        born();
    }
    tracked& operator=(tracked const& other) {
        if constexpr (Copy == on_copy::throws) {
            faults::point();
        }
        number_ = other.number();
        return *this;
    }
    tracked& operator=(tracked&& other) noexcept(Move == on_move::counts) {
        if constexpr (Move == on_move::throws) {
            faults::point();
        }
        number_ = other.number();
        return *this;
    }
    ~tracked() {
        if (pulse_ != living) {
            people::misuses.fetch_add(1);
        }
        const_cast<std::uint64_t volatile&>(pulse_) = dead;  // volatile: the last write of an object is dropped else
        people::alive.fetch_sub(1);
    }

    [[nodiscard]] std::uint64_t number() const noexcept {
        if (const_cast<std::uint64_t const volatile&>(pulse_) != living) {
            people::misuses.fetch_add(1);
        }
        return number_;
    }
    friend bool operator==(tracked const& a, tracked const& b) noexcept { return a.number() == b.number(); }

private:
    static constexpr std::uint64_t living = 0x616c697665217777ULL;
    static constexpr std::uint64_t dead = 0xdeaddeaddeaddeadULL;

    void born() noexcept {
        people::created.fetch_add(1);
        people::alive.fetch_add(1);
    }

    std::uint64_t pulse_ = living;
    std::uint64_t number_;
};

/// A value of eight words of which seven follow from the first: a torn copy does not add up.
struct wide_value {
    std::uint64_t word[8];

    wide_value() noexcept : wide_value(0) {}
    explicit wide_value(std::uint64_t n) noexcept {
        for (std::uint64_t i = 0; i < 8; ++i) {
            word[i] = n + i * step;
        }
    }
    [[nodiscard]] std::uint64_t number() const noexcept { return word[0]; }
    [[nodiscard]] bool whole() const noexcept {
        for (std::uint64_t i = 1; i < 8; ++i) {
            if (word[i] != word[0] + i * step) {
                return false;
            }
        }
        return true;
    }
    friend bool operator==(wide_value const&, wide_value const&) = default;

private:
    static constexpr std::uint64_t step = 0x9e3779b97f4a7c15ULL;
};

/// Lets another thread run, now and then, in the middle of whatever calls it. With few cores it is this that makes
/// operations overlap; the numbers differ from thread to thread and are the same in each run.
inline void stumble(std::uint64_t one_in) {
    static std::atomic<std::uint64_t> threads{0};
    thread_local random_numbers dice(threads.fetch_add(1) + 1);
    if (dice.one_in(one_in)) {
        std::this_thread::yield();
    }
}

/// Functors and values that stumble in the middle of the operation that uses them.
template <class Key>
struct stumbling_hash {
    std::size_t operator()(Key const& key) const noexcept {
        const std::size_t hash = std::hash<Key>{}(key);
        stumble(16);
        return hash;
    }
};
template <class Key>
struct stumbling_equal {
    bool operator()(Key const& a, Key const& b) const noexcept {
        const bool same = a == b;
        stumble(8);
        return same;
    }
};

}  // namespace weir_test
#endif
