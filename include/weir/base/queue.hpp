// weir (BSL-1.0). queue: what weir asks of a queue that you choose: try_push and try_pop.
#ifndef WEIR_BASE_QUEUE_HPP
#define WEIR_BASE_QUEUE_HPP
#include <concepts>
#include <cstddef>
#include <optional>
#include <utility>

// When:     a part of weir takes the queue as a template parameter, and you have one that suits your threads better.
// Note: names as in P0260, "C++ Concurrent Queues", and Boost.Lockfree's bounded containers. The order in which values come out
//       is the queue's own: a stack is a queue in this sense.

namespace weir::inline v0 {

/// An object that takes values of type T and gives each back once.
/// try_push(v) answers false if there is no room now, and then has not taken v; try_pop() answers nothing if there is none.
/// Neither waits. What happened before a push is visible to whoever pops that value.
template <class Q, class T>
concept queue_of = std::movable<T> && requires(Q& queue, T value) {
    { queue.try_push(std::move(value)) } -> std::same_as<bool>;
    { queue.try_pop() } -> std::same_as<std::optional<T>>;
};

/// True for a queue which one thread alone may push to, and one alone pop from. Specialise it for your own, or declare
/// `static constexpr bool one_producer_one_consumer = true;` in it.
template <class Q>
inline constexpr bool is_one_to_one = requires { requires Q::one_producer_one_consumer; };

/// A queue that any number of threads may push to and pop from at once.
template <class Q, class T>
concept shared_queue_of = queue_of<Q, T> && !is_one_to_one<Q>;

/// A queue that says how many values it has room for.
template <class Q, class T>
concept bounded_queue_of = queue_of<Q, T> && requires(Q const& queue) {
    { queue.capacity() } -> std::convertible_to<std::size_t>;
};

}  // namespace weir::inline v0
#endif
