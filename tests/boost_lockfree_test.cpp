// weir (BSL-1.0). Tests of with/boost_lockfree.hpp and base/queue.hpp: Boost's containers are queues, bounded, and lose nothing.
#include <weir/with/boost_lockfree.hpp>

#include "support/scale.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weir_test {
namespace {

using weir::boost_queue;
using weir::boost_spsc_queue;
using weir::boost_stack;

static_assert(weir::shared_queue_of<boost_queue<int>, int> && weir::bounded_queue_of<boost_queue<int>, int>);
static_assert(weir::shared_queue_of<boost_stack<int>, int> && weir::bounded_queue_of<boost_stack<int>, int>);
static_assert(weir::queue_of<boost_spsc_queue<std::string>, std::string> && !weir::shared_queue_of<boost_spsc_queue<int>, int>);
static_assert(weir::bounded_queue_of<boost_spsc_queue<int>, int>);

/// A queue of one's own needs two functions.
struct plain_queue {
    std::deque<std::unique_ptr<int>> in;
    bool try_push(std::unique_ptr<int> p) { return in.push_back(std::move(p)), true; }
    std::optional<std::unique_ptr<int>> try_pop() {
        if (in.empty()) {
            return std::nullopt;
        }
        std::optional<std::unique_ptr<int>> first{std::move(in.front())};
        in.pop_front();
        return first;
    }
};
static_assert(weir::queue_of<plain_queue, std::unique_ptr<int>> && !weir::bounded_queue_of<plain_queue, std::unique_ptr<int>>);
static_assert(!weir::queue_of<plain_queue, int> && !weir::queue_of<std::vector<int>, int>);

template <class Q>
void fill_and_empty(std::size_t capacity, bool first_in_first_out) {
    Q queue(capacity);
    EXPECT_EQ(queue.capacity(), capacity);
    for (int round = 0; round < 3; ++round) {
        EXPECT_FALSE(queue.try_pop());
        for (std::size_t i = 0; i < capacity; ++i) {
            ASSERT_TRUE(queue.try_push(static_cast<int>(i)));
        }
        EXPECT_FALSE(queue.try_push(-1));
        for (std::size_t i = 0; i < capacity; ++i) {
            auto const expected = static_cast<int>(first_in_first_out ? i : capacity - 1 - i);
            ASSERT_EQ(queue.try_pop(), expected);
        }
    }
}

TEST(boost_lockfree, queues_take_as_many_as_they_say_and_give_them_back_in_order) {
    for (std::size_t const capacity : {1U, 2U, 7U, 1000U}) {
        fill_and_empty<boost_queue<int>>(capacity, true);
        fill_and_empty<boost_spsc_queue<int>>(capacity, true);
        fill_and_empty<boost_stack<int>>(capacity, false);
    }
    boost_queue<int> const largest(65'533);
    boost_stack<int> const highest(65'534);
}

template <class Q>
std::string refusal_of(std::size_t capacity) {
    try {
        Q const queue(capacity);
    } catch (std::invalid_argument const& e) {
        return e.what();
    }
    return "taken";
}

TEST(boost_lockfree, capacities_that_make_no_sense_are_refused_by_name) {
    EXPECT_EQ(refusal_of<boost_queue<int>>(0), "weir::boost_queue: capacity must be in [1, 65533]");
    EXPECT_EQ(refusal_of<boost_queue<int>>(65'534), "weir::boost_queue: capacity must be in [1, 65533]");
    EXPECT_EQ(refusal_of<boost_stack<int>>(0), "weir::boost_stack: capacity must be in [1, 65534]");
    EXPECT_EQ(refusal_of<boost_stack<int>>(65'535), "weir::boost_stack: capacity must be in [1, 65534]");
    EXPECT_EQ(refusal_of<boost_spsc_queue<int>>(0), "weir::boost_spsc_queue: capacity must be in [1, 2^31]");
    EXPECT_EQ(refusal_of<boost_spsc_queue<int>>((std::size_t{1} << 31) + 1), "weir::boost_spsc_queue: capacity must be in [1, 2^31]");
}

TEST(boost_lockfree, the_ring_of_one_producer_holds_values_that_own_memory) {
    boost_spsc_queue<std::string> queue(2);
    EXPECT_TRUE(queue.try_push(std::string(100, 'a')));
    EXPECT_TRUE(queue.try_push(std::string(200, 'b')));
    EXPECT_FALSE(queue.try_push("no room"));
    EXPECT_EQ(queue.try_pop(), std::string(100, 'a'));
    EXPECT_TRUE(queue.try_push(std::string(300, 'c')));  // one is left when it ends
}

struct parcel {
    std::size_t content = 0;  // plain, for a thread sanitizer to watch
    std::atomic<int> seen{0};
};

template <class Q>
void each_value_comes_out_once(std::size_t producers, std::size_t consumers) {
    auto const each = scaled(40'000);
    std::vector<parcel> parcels(producers * each);
    Q queue(128);
    std::atomic<std::size_t> left{parcels.size()};
    findings wrong;
    run_together(producers + consumers, [&](std::size_t me) {
        if (me < producers) {
            for (std::size_t i = 0; i < each; ++i) {
                auto& mine = parcels[me * each + i];
                mine.content = me * each + i;
                while (!queue.try_push(&mine)) {
                    std::this_thread::yield();
                }
            }
            return;
        }
        while (left.load() != 0) {
            if (auto const got = queue.try_pop()) {
                wrong.expect((*got)->content == static_cast<std::size_t>(*got - parcels.data()), "not whole");
                wrong.expect((*got)->seen.fetch_add(1) == 0, "came out twice");
                left.fetch_sub(1);
            } else {
                std::this_thread::yield();
            }
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_FALSE(queue.try_pop());
}

TEST(boost_lockfree, each_value_comes_out_once_with_all_that_was_written_before) {
    each_value_comes_out_once<boost_queue<parcel*>>(2, 2);
    each_value_comes_out_once<boost_stack<parcel*>>(2, 2);
    each_value_comes_out_once<boost_spsc_queue<parcel*>>(1, 1);
}

}  // namespace
}  // namespace weir_test
