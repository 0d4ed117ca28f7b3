// weir (BSL-1.0). worker_pool_stress_test: storms on pools: one end for each item, books that always balance, nobody hangs.
#include <weir/run/worker_pool.hpp>

#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using weir::refusal;
using weir::stop_mode;
using weir::task_pool;
using weir::when_full;
using weir::worker_pool_options;
using weir::worker_pool_stats;

using clock = std::chrono::steady_clock;
constexpr auto never = clock::time_point::max();

/// How often each item has ended.
class ends {
public:
    explicit ends(std::size_t items) : count_(items) {}

    void end(std::size_t item) noexcept { count_[item].fetch_add(1, std::memory_order_relaxed); }
    void expect_one_each() const {
        std::size_t right = 0;
        for (auto const& each : count_) {
            right += each.load() == 1 ? 1U : 0U;
        }
        EXPECT_EQ(right, count_.size());
    }

private:
    std::vector<std::atomic<int>> count_;
};

/// An item that is to end once. It counts as ended by a second end, too, if it is destroyed without one.
class ticket {
public:
    ticket(ends& book, std::size_t number) : book_(&book), number_(number) {}
    ticket(ticket&& other) noexcept : book_(std::exchange(other.book_, nullptr)), number_(other.number_), ended_(other.ended_) {}
    ticket& operator=(ticket&&) = delete;
    ~ticket() {
        if (book_ != nullptr && !ended_) {
            book_->end(number_);
            book_->end(number_);
        }
    }

    void end() noexcept {
        book_->end(number_);
        ended_ = true;
    }
    [[nodiscard]] std::size_t number() const noexcept { return number_; }

private:
    ends* book_;
    std::size_t number_;
    bool ended_ = false;
};

template <class Condition>
bool eventually(Condition&& condition) {
    for (auto const end = clock::now() + patience; !condition();) {
        if (clock::now() >= end) {
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

std::uint64_t ended(worker_pool_stats const& s) {
    return s.completed + s.failed + s.cancelled + s.dropped + s.expired + s.discarded;
}

/// Looks at every snapshot until it is told to stop: what is submitted has ended, is queued or runs, and no number goes back.
template <class Pool>
void watch(Pool const& pool, std::atomic<bool> const& over, findings& wrong) {
    worker_pool_stats before;
    while (!over.load()) {
        auto const s = pool.stats();
        wrong.expect(s.submitted == ended(s) + s.queued + s.running, "the books do not balance");
        wrong.expect(s.sleeping <= s.workers, "more sleep than there are");
        wrong.expect(s.submitted >= before.submitted && s.completed >= before.completed && s.failed >= before.failed &&
                         s.cancelled >= before.cancelled && s.dropped >= before.dropped && s.expired >= before.expired &&
                         s.discarded >= before.discarded && ended(s) >= ended(before),
                     "a number has gone back");
        before = s;
        std::this_thread::yield();
    }
}

void expect_at_rest(worker_pool_stats const& s) {
    EXPECT_EQ(s.submitted, ended(s));
    EXPECT_EQ(s.queued, 0U);
    EXPECT_EQ(s.running, 0U);
    EXPECT_EQ(s.blocked, 0U);
}

// ---- storms

/// Submitters, a resizer and one who stops and starts. What is refused, dropped or given back has ended too.
void storm(worker_pool_options options, std::size_t submitters, std::size_t each) {
    ends book(submitters * each);
    findings wrong;
    auto const max = options.max_workers;
    auto const classes = options.priorities;
    weir::worker_pool<ticket> pool(
        std::move(options),
        [](ticket&& mine) {
            mine.end();
            if (mine.number() % 64 == 0) {
                throw std::runtime_error("of no use");
            }
        },
        [](ticket&& mine, refusal) { mine.end(); });
    std::atomic<std::size_t> submitting{submitters};
    std::atomic<bool> over{false};
    std::atomic<std::uint64_t> accepted{0};
    run_together(submitters + 3, [&](std::size_t me) {
        random_numbers dice(run_seed() + me);
        if (me < submitters) {
            for (std::size_t i = 0; i < each; ++i) {
                ticket mine(book, me * each + i);
                weir::task_options o{.priority = static_cast<unsigned>(dice.below(classes))};
                if (dice.one_in(16)) {
                    o.expires = clock::now() + std::chrono::microseconds{dice.below(50)};
                }
                for (;;) {
                    auto const answer = dice.one_in(3)   ? pool.try_submit(std::move(mine), o)
                                        : dice.one_in(2) ? pool.submit_for(100us, std::move(mine), o)
                                                         : pool.submit(std::move(mine), o);
                    if (answer.has_value() || answer.error() == refusal::dropped) {
                        accepted.fetch_add(1);
                        if (dice.one_in(8)) {
                            std::this_thread::yield();  // so that dropping is not all there is
                        }
                        break;
                    }
                    if (answer.error() != refusal::closed) {
                        mine.end();
                        break;
                    }
                    std::this_thread::yield();  // it will be started again
                }
            }
            submitting.fetch_sub(1);
            return;
        }
        if (me == submitters) {
            while (submitting.load() != 0) {
                auto const most = 1 + dice.below(max);
                pool.resize(1 + dice.below(most), most);
                static_cast<void>(pool.wait_idle_for(20us));
            }
            return;
        }
        if (me == submitters + 1) {
            while (submitting.load() != 0) {
                std::this_thread::sleep_for(std::chrono::microseconds{dice.below(400)});
                auto const mode = dice.one_in(2) ? stop_mode::drain : stop_mode::discard;
                auto const deadline = dice.one_in(2) ? clock::now() + 50us : never;
                auto stopped = pool.stop_until(deadline, mode);
                wrong.expect(stopped.has_value(), "a stop was refused");
                for (auto& mine : stopped->not_run) {
                    mine.end();
                }
                auto const started = pool.start();
                wrong.expect(started.has_value() || !stopped->stopped, "a pool that has stopped does not start");
            }
            over.store(true);
            return;
        }
        watch(pool, over, wrong);
    });
    auto const stopped = pool.stop();
    ASSERT_TRUE(stopped.has_value() && stopped->stopped);
    EXPECT_TRUE(wrong.none()) << wrong;
    book.expect_one_each();
    auto const s = pool.stats();
    expect_at_rest(s);
    EXPECT_EQ(s.submitted, accepted.load());
}

TEST(worker_pool_storm, brings_each_item_to_one_end_with_every_policy_of_a_full_queue) {
    for (auto const full :
         {when_full::wait, when_full::reject, when_full::run_in_caller, when_full::drop_oldest, when_full::drop_newest}) {
        storm({.min_workers = 2,
               .max_workers = 4,
               .capacity = 8,
               .full = full,
               .priorities = 3,
               .grow_after = 20us,
               .keep_alive = 100us,
               .shrink_interval = 50us},
              4, scaled(8'000));
    }
}

TEST(worker_pool_storm, brings_each_item_of_one_worker_to_one_end) {
    storm({.min_workers = 1, .max_workers = 1, .capacity = 4}, 4, scaled(5'000));
}

TEST(task_pool_storm, completes_every_future_and_every_map_once_whatever_happens) {
    findings wrong;
    task_pool pool{{.min_workers = 1,
                    .max_workers = 4,
                    .capacity = 16,
                    .submit_timeout = 200us,
                    .grow_after = 20us,
                    .keep_alive = 100us,
                    .shrink_interval = 50us}};
    constexpr std::size_t callers = 4;
    std::atomic<std::size_t> calling{callers};
    std::atomic<bool> over{false};
    std::atomic<std::uint64_t> calls{0};
    std::atomic<std::uint64_t> values{0};
    run_together(callers + 2, [&](std::size_t me) {
        random_numbers dice(run_seed() + me);
        if (me < callers) {
            for (std::size_t i = 0, rounds = scaled(8'000, 100); i < rounds;) {
                bool closed = false;  // then it is tried again
                auto const look = [&](auto const& o) {
                    values += o.has_value() ? 1U : 0U;
                    wrong.expect(o.has_value() || o.error().is_rejection(), "not a rejection");
                    closed = !o.has_value() && o.error().is_rejection() && o.error().rejection().reason == refusal::closed;
                    return o.has_value();
                };
                switch (dice.below(4)) {
                    case 0: {
                        auto f = pool.async([&calls](int n) { return ++calls, n; }, 7);
                        auto const o = f.get_until(never);
                        wrong.expect(!look(o) || *o == 7, "another's answer");
                        break;
                    }
                    case 1: {
                        auto f = pool.async([&calls] { ++calls; });
                        bool const cancelled = f.cancel();
                        wrong.expect(!look(f.get_until(never)) || !cancelled, "cancelled, and made");
                        break;
                    }
                    case 2: {
                        std::array<int, 5> numbers{};
                        std::iota(numbers.begin(), numbers.end(), 0);
                        auto const all = pool.map(numbers, [&calls](int n) { return ++calls, 3 * n; });
                        wrong.expect(all.size() == numbers.size(), "not an answer for each");
                        for (std::size_t k = 0; k < all.size(); ++k) {
                            wrong.expect(!look(all[k]) || *all[k] == 3 * static_cast<int>(k), "another's answer");
                        }
                        break;
                    }
                    default: {
                        std::size_t accepted = 0;
                        std::size_t made = 0;
                        std::atomic<std::size_t> parts{0};
                        {
                            weir::task_group group{pool};
                            for (int k = 0; k < 3; ++k) {
                                accepted += group.run([&] { ++parts; }).has_value() ? 1U : 0U;
                            }
                            closed = accepted == 0;
                            if (dice.one_in(2)) {
                                group.cancel();
                            }
                            bool const fine = group.wait_until(never).has_value();
                            made = parts.load();
                            wrong.expect(made <= accepted && (!fine || made == accepted), "a part is missing");
                        }
                        wrong.expect(made == parts.load(), "a part came late");
                        calls += made;
                        values += made;
                    }
                }
                if (closed) {
                    std::this_thread::yield();
                } else {
                    ++i;
                }
            }
            if (calling.fetch_sub(1) == 1) {
                over.store(true);
            }
            return;
        }
        if (me == callers) {
            while (calling.load() != 0) {
                std::this_thread::sleep_for(std::chrono::microseconds{dice.below(1'000)});
                if (dice.one_in(2)) {
                    auto const most = 1 + dice.below(4);
                    pool.resize(1 + dice.below(most), most);
                } else {
                    auto const stopped = pool.stop(dice.one_in(2) ? stop_mode::drain : stop_mode::discard);
                    wrong.expect(stopped.has_value() && stopped->stopped, "a stop was refused");
                    wrong.expect(pool.start().has_value(), "a start was refused");
                }
            }
            return;
        }
        watch(pool, over, wrong);
    });
    ASSERT_TRUE(pool.stop().has_value());
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(calls.load(), values.load());  // nobody gave up waiting: so each call that was made was answered
    expect_at_rest(pool.stats());
}

// ---- many producers

TEST(worker_pool_storm, takes_from_a_hundred_producers_on_two_workers) {
    constexpr std::size_t producers = 100;
    std::size_t const each = scaled(300, 20);
    ends book(producers * each);
    {
        weir::worker_pool<ticket> pool({.min_workers = 2, .max_workers = 2, .capacity = 8}, [](ticket&& mine) { mine.end(); });
        run_together(producers, [&](std::size_t me) {
            for (std::size_t i = 0; i < each; ++i) {
                ticket mine(book, me * each + i);
                EXPECT_TRUE(pool.submit(std::move(mine)).has_value());
            }
        });
        EXPECT_LE(pool.stats().high_water, 8U);
    }
    book.expect_one_each();
}

TEST(worker_pool_storm, of_one_worker_keeps_the_order_of_each_producer) {
    struct numbered {
        std::size_t producer;
        std::size_t number;
    };
    constexpr std::size_t producers = 8;
    std::size_t const each = scaled(20'000, 100);
    std::array<std::size_t, producers> next{};
    std::size_t wrong = 0;
    {
        weir::worker_pool<numbered> pool({.min_workers = 1, .max_workers = 1, .capacity = 64}, [&](numbered&& n) {
            wrong += next[n.producer] == n.number ? 0U : 1U;
            next[n.producer] = n.number + 1;
        });
        run_together(producers, [&](std::size_t me) {
            for (std::size_t i = 0; i < each; ++i) {
                EXPECT_TRUE(pool.submit(numbered{me, i}).has_value());
            }
        });
    }
    EXPECT_EQ(wrong, 0U);
    EXPECT_EQ(std::accumulate(next.begin(), next.end(), std::size_t{0}), producers * each);
}

// The queue stays full, for each item puts another in its place from within: who waits for room is told of the places in between.
TEST(worker_pool_storm, lets_a_blocked_submitter_in_though_the_queue_does_not_get_shorter) {
    constexpr std::size_t capacity = 8;
    std::atomic<bool> in{false};
    std::atomic<std::size_t> left{scaled(400'000)};
    gate door;
    arrivals begun;
    std::optional<weir::worker_pool<int>> pool;
    pool.emplace(worker_pool_options{.min_workers = 1, .max_workers = 1, .capacity = capacity, .priorities = 2}, [&](int&& kind) {
        if (kind == 0) {
            begun.arrive();
            static_cast<void>(door.wait());
        } else if (kind == 1 && !in.load() && left.fetch_sub(1) > capacity) {
            EXPECT_TRUE(pool->submit(1, {.priority = 1}).has_value());
            std::this_thread::yield();
        }
    });
    ASSERT_TRUE(pool->submit(0).has_value());
    ASSERT_TRUE(begun.wait_for(1));
    for (std::size_t i = 0; i < capacity; ++i) {
        ASSERT_TRUE(pool->submit(1, {.priority = 1}).has_value());
    }
    crew submitter;
    submitter.start([&] {
        EXPECT_TRUE(pool->submit(2).has_value());
        in.store(true);
    });
    EXPECT_TRUE(eventually([&] { return pool->stats().blocked == 1; }));
    door.open();
    submitter.join();
    EXPECT_GT(left.load(), capacity) << "it got in only when nothing came any more";
    pool.reset();
}

// ---- workers that wait for each other

std::uint64_t sum_of(task_pool& pool, unsigned from, unsigned to, findings& wrong) {
    if (to - from <= 2) {
        std::uint64_t sum = 0;
        for (unsigned i = from; i < to; ++i) {
            sum += i;
        }
        return sum;
    }
    unsigned const middle = from + (to - from) / 2;
    auto left = pool.async([&pool, from, middle, &wrong] { return sum_of(pool, from, middle, wrong); });
    std::uint64_t const right = sum_of(pool, middle, to, wrong);
    auto const o = pool.wait_until(left, never);
    wrong.expect(o.has_value(), "no answer");
    return right + (o.has_value() ? *o : 0);
}

TEST(worker_pool_storm, lets_every_worker_submit_and_wait_for_others) {
    for (std::size_t const workers : {1U, 2U, 4U}) {
        findings wrong;
        task_pool pool{{.min_workers = workers, .max_workers = workers, .capacity = 4}};
        for (std::size_t round = 0, rounds = scaled(300, 4); round < rounds; ++round) {
            constexpr unsigned trees = 6;  // more than there are workers: each of them submits and waits
            run_together(trees, [&](std::size_t) {
                auto f = pool.async([&] { return sum_of(pool, 0, 256, wrong); });
                auto const o = f.get_until(never);
                wrong.expect(o.has_value() && *o == 256U * 255U / 2U, "not the sum");
            });
        }
        EXPECT_TRUE(wrong.none()) << wrong;
        ASSERT_TRUE(pool.wait_idle_for(patience).has_value());
        expect_at_rest(pool.stats());
    }
}

// ---- destruction

TEST(worker_pool_storm, may_be_destroyed_while_submitters_are_blocked) {
    constexpr std::size_t submitters = 4;
    for (std::size_t round = 0, rounds = scaled(1'000, 20); round < rounds; ++round) {
        std::size_t const workers = 1 + round % 2;
        std::size_t const given = workers + 1;  // they run, and fill the queue
        ends book(given + submitters);
        gate door;
        arrivals begun;
        std::optional<weir::worker_pool<ticket>> pool;
        pool.emplace(worker_pool_options{.min_workers = workers, .max_workers = workers, .capacity = 1}, [&](ticket&& mine) {
            if (mine.number() < workers) {
                begun.arrive();
                static_cast<void>(door.wait());
            }
            mine.end();
        });
        for (std::size_t i = 0; i < given; ++i) {
            ASSERT_TRUE(pool->submit(ticket(book, i)).has_value());
        }
        ASSERT_TRUE(begun.wait_for(workers));
        crew others;
        for (std::size_t i = 0; i < submitters; ++i) {
            others.start([&, number = given + i] {
                ticket mine(book, number);
                auto const answer = pool->submit(std::move(mine));
                if (!answer.has_value()) {
                    EXPECT_EQ(answer.error(), refusal::closed);
                    mine.end();
                }
            });
        }
        EXPECT_TRUE(eventually([&] { return pool->stats().blocked == submitters; }));
        crew opener;
        opener.start([&] { door.open(); });
        pool.reset();
        opener.join();
        others.join();
        book.expect_one_each();
    }
}

// ---- items whose destructor submits

using chain_pool = weir::worker_pool<std::unique_ptr<class link_of_a_chain>>;

/// Submits the next of its chain when it is destroyed, wherever that is.
class link_of_a_chain {
public:
    link_of_a_chain(chain_pool& pool, std::atomic<std::uint64_t>& gone, int more) : pool_(&pool), gone_(&gone), more_(more) {}
    link_of_a_chain(link_of_a_chain const&) = delete;
    link_of_a_chain& operator=(link_of_a_chain const&) = delete;
    ~link_of_a_chain() {
        gone_->fetch_add(1);
        if (more_ > 0) {
            // Refused: it goes at once, and so does the rest of the chain.
            static_cast<void>(pool_->submit(std::make_unique<link_of_a_chain>(*pool_, *gone_, more_ - 1)));
        }
    }

private:
    chain_pool* pool_;
    std::atomic<std::uint64_t>* gone_;
    int more_;
};

TEST(worker_pool_storm, runs_items_whose_destructor_submits) {
    constexpr int length = 5;
    for (auto const full : {when_full::wait, when_full::reject, when_full::drop_oldest, when_full::run_in_caller}) {
        for (auto const mode : {stop_mode::drain, stop_mode::discard}) {
            constexpr std::size_t submitters = 3;
            std::size_t const each = scaled(10'000, 50);
            std::atomic<std::uint64_t> gone{0};
            findings wrong;
            std::atomic<bool> over{false};
            chain_pool pool({.min_workers = 2, .max_workers = 2, .capacity = 4, .full = full},
                            [](std::unique_ptr<link_of_a_chain>&& mine) { mine.reset(); });
            run_together(submitters + 2, [&](std::size_t me) {
                if (me < submitters) {
                    for (std::size_t i = 0; i < each; ++i) {
                        static_cast<void>(pool.submit(std::make_unique<link_of_a_chain>(pool, gone, length - 1)));
                    }
                } else if (me == submitters) {
                    wrong.expect(eventually([&] { return gone.load() >= submitters * each; }), "too few have gone");
                    auto stopped = pool.stop(mode);
                    wrong.expect(stopped.has_value() && stopped->stopped, "a stop was refused");
                    stopped->not_run.clear();
                    over.store(true);
                } else {
                    watch(pool, over, wrong);
                }
            });
            EXPECT_TRUE(wrong.none()) << wrong;
            EXPECT_EQ(gone.load(), submitters * each * length);
            expect_at_rest(pool.stats());
        }
    }
}

}  // namespace
}  // namespace weir_test
