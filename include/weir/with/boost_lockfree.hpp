// weir (BSL-1.0). boost_lockfree: the containers of Boost.Lockfree as queues that weir's parts can be given.
#ifndef WEIR_WITH_BOOST_LOCKFREE_HPP
#define WEIR_WITH_BOOST_LOCKFREE_HPP
#include <weir/base/detail/unwatched.hpp>
#include <weir/base/queue.hpp>

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <boost/lockfree/stack.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

// When:     boost_spsc_queue where one thread produces and one consumes: a few ns a value. boost_queue and boost_stack where a
//           queue must be lock-free and is not visited for each small value.
// When not: many threads exchange many values: both make every operation a fight for one cache line.
// Source:   T. Blechmann, Boost.Lockfree: the queue of Michael and Scott (PODC 1996), Treiber's stack (1986), Lamport's ring (1983).
//
// All are bounded, and their nodes are allocated by the constructor: no operation allocates or frees.
// Thread sanitizers: Boost's free list reads words that others may be writing, and throws away what it read; these calls are
// made within a scope in which the sanitizer looks at atomics only (detail/unwatched.hpp). No suppression file is needed.
// Known limit: Boost guards queue and stack against ABA by tags of 16 bits. A thread that is suspended within a pop while others
// make a multiple of 65 536 of them may, if it then finds the same node in the same place, damage the container. Values must
// therefore be such that this is no disaster, or threads few; boost_spsc_queue has no tags and no such limit.

namespace weir::inline v0 {

/// A value that a shared lock-free node can hold: it may be copied while another thread takes it.
template <class T>
concept trivially_copied = std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T> && std::default_initializable<T>;

namespace detail {

inline constexpr std::size_t boost_most_nodes = 65'534;  // node numbers have 16 bits

inline std::size_t checked_capacity(std::size_t capacity, std::size_t most, char const* what) {
    if (capacity < 1 || capacity > most) {
        throw std::invalid_argument{what};
    }
    return capacity;
}

}  // namespace detail

/// First in, first out, for any number of threads.
/// Threads:  try_push and try_pop from any thread at once. Progress: lock-free.
template <trivially_copied T>
class boost_queue {
public:
    /// Throws: std::invalid_argument, std::bad_alloc.
    explicit boost_queue(std::size_t capacity)
        : capacity_(detail::checked_capacity(capacity, detail::boost_most_nodes - 1,
                                             "weir::boost_queue: capacity must be in [1, 65533]")),
          queue_(capacity_) {}

    [[nodiscard]] bool try_push(T value) {
        detail::unwatched const boosts_own_races;
        return queue_.bounded_push(value);
    }
    [[nodiscard]] std::optional<T> try_pop() {
        detail::unwatched const boosts_own_races;
        T value{};
        return queue_.pop(value) ? std::optional<T>{value} : std::nullopt;
    }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

private:
    std::size_t capacity_;
    boost::lockfree::queue<T, boost::lockfree::fixed_sized<true>> queue_;
};

/// Last in, first out, for any number of threads.
/// Threads:  try_push and try_pop from any thread at once. Progress: lock-free.
template <trivially_copied T>
class boost_stack {
public:
    /// Throws: std::invalid_argument, std::bad_alloc.
    explicit boost_stack(std::size_t capacity)
        : capacity_(detail::checked_capacity(capacity, detail::boost_most_nodes,
                                             "weir::boost_stack: capacity must be in [1, 65534]")),
          stack_(capacity_) {}

    [[nodiscard]] bool try_push(T value) {
        detail::unwatched const boosts_own_races;
        return stack_.bounded_push(value);
    }
    [[nodiscard]] std::optional<T> try_pop() {
        detail::unwatched const boosts_own_races;
        T value{};
        return stack_.pop(value) ? std::optional<T>{value} : std::nullopt;
    }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

private:
    std::size_t capacity_;
    boost::lockfree::stack<T, boost::lockfree::fixed_sized<true>> stack_;
};

/// First in, first out, from one thread to one other.
/// Threads:  try_push from one thread and try_pop from one thread at a time. Progress: wait-free.
template <std::copyable T>
class boost_spsc_queue {
public:
    static constexpr bool one_producer_one_consumer = true;

    /// Throws: std::invalid_argument, std::bad_alloc.
    explicit boost_spsc_queue(std::size_t capacity)
        : capacity_(detail::checked_capacity(capacity, std::size_t{1} << 31,
                                             "weir::boost_spsc_queue: capacity must be in [1, 2^31]")),
          queue_(capacity_) {}

    [[nodiscard]] bool try_push(T value) { return queue_.push(value); }
    [[nodiscard]] std::optional<T> try_pop() {
        std::optional<T> value;
        queue_.consume_one([&value](T& front) { value.emplace(std::move(front)); });
        return value;
    }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

private:
    std::size_t capacity_;
    boost::lockfree::spsc_queue<T> queue_;
};

}  // namespace weir::inline v0
#endif
