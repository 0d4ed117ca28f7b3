// weir (BSL-1.0). object_pool_stress_test: storms of threads: one hand for each object, bounds at every moment, flat memory.
#include <weir/data/object_pool.hpp>
#include <weir/with/boost_lockfree.hpp>

#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using weir::object_pool;
using weir::object_pool_options;
using weir::pooled;

std::atomic<std::int64_t> alive{0};
std::atomic<std::int64_t> alive_bytes{0};

/// Says which thread has it; its words are plain, so that a thread sanitizer sees two hands too.
class buffer {
public:
    buffer() { alive.fetch_add(1); }
    buffer(buffer const&) = delete;
    buffer& operator=(buffer const&) = delete;
    ~buffer() {
        alive.fetch_sub(1);
        alive_bytes.fetch_sub(static_cast<std::int64_t>(size_));
    }

    [[nodiscard]] bool take(std::size_t me) noexcept {
        auto const free = holder_ == 0;
        holder_ = me + 1;
        return free;
    }
    [[nodiscard]] bool let_go(std::size_t me) noexcept {
        auto const mine = holder_ == me + 1;
        holder_ = 0;
        return mine;
    }
    void resize(std::size_t bytes) noexcept {
        alive_bytes.fetch_add(static_cast<std::int64_t>(bytes) - static_cast<std::int64_t>(size_));
        size_ = bytes;
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    std::size_t holder_ = 0;
    std::size_t size_ = 0;
};

void expect_at_rest(weir::object_pool_stats const& s, std::size_t held = 0) {
    EXPECT_EQ(s.live, held);
    EXPECT_EQ(s.objects, s.idle + s.live);
    EXPECT_EQ(s.acquired, s.hits + s.misses);
    EXPECT_EQ(s.released, s.kept + s.discarded);
    EXPECT_EQ(s.idle, s.kept + s.prewarmed - s.hits - s.trimmed);
    EXPECT_EQ(static_cast<std::int64_t>(s.objects), alive.load());
}

TEST(object_pool_storm, no_object_is_in_two_hands_whatever_else_happens) {
    findings wrong;
    {
        object_pool pool(object_pool_options<buffer>{.max_idle = 256, .shrink_after = 1ms}, weir::default_factory<buffer>{},
                         weir::no_reset{}, std::chrono::steady_clock{});
        run_together(6, [&](std::size_t me) {
            random_numbers dice(run_seed() + me);
            std::vector<pooled<buffer>> mine;
            for (std::size_t i = 0; i < scaled(150'000); ++i) {
                if (mine.size() < 60 && dice.below(2) == 0) {
                    mine.push_back(pool.acquire());
                    wrong.expect(mine.back()->take(me), "in two hands");
                } else if (!mine.empty()) {
                    std::swap(mine[dice.below(mine.size())], mine.back());
                    wrong.expect(mine.back()->let_go(me), "not mine");
                    mine.pop_back();
                }
                if (dice.one_in(2000)) {
                    pool.trim(dice.below(300));
                } else if (dice.one_in(2000)) {
                    pool.prewarm(dice.below(300));
                } else if (dice.one_in(100)) {
                    std::this_thread::yield();
                }
            }
            for (auto& each : mine) {
                wrong.expect(each->let_go(me), "not mine at the end");
            }
        });
        expect_at_rest(pool.stats());
        EXPECT_LE(pool.stats().idle, 256U);
    }
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(alive.load(), 0);
}

// Threads come and go: what they leave behind is neither lost nor doubled.
TEST(object_pool_storm, threads_that_come_and_go_leave_their_objects_to_others) {
    findings wrong;
    {
        object_pool<buffer> pool;
        run_together(4, [&](std::size_t me) {
            for (std::size_t i = 0; i < scaled(400, 20); ++i) {
                std::thread([&] {
                    std::vector<pooled<buffer>> mine;
                    for (int k = 0; k < 40; ++k) {
                        mine.push_back(pool.acquire());
                        wrong.expect(mine.back()->take(me), "in two hands");
                    }
                    for (auto& each : mine) {
                        wrong.expect(each->let_go(me), "not mine");
                    }
                }).join();
            }
        });
        auto const s = pool.stats();
        expect_at_rest(s);
        EXPECT_LE(s.high_water, 4U * 40U * 3U) << "what exited threads had was found again";
    }
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(alive.load(), 0);
}

// The idle bytes are what exists, less what the threads hold. Each of them may be about to add to or take from its own share.
TEST(object_pool_storm, idle_bytes_stay_within_their_bound_with_sizes_up_to_a_megabyte) {
    constexpr std::size_t most = 2'000'000;
    constexpr std::size_t largest = 1'000'000;
    constexpr std::size_t threads = 4;
    alive_bytes = 0;
    std::atomic<std::int64_t> held{0};
    findings wrong;
    {
        object_pool_options<buffer> o;
        o.max_idle_bytes = most;
        o.size_of = [](buffer const& b) { return b.size(); };
        o.keep = [](buffer const& b) { return b.size() <= 900'000; };
        object_pool<buffer> pool(o);
        run_together(threads, [&](std::size_t me) {
            random_numbers dice(run_seed() + me);
            std::vector<pooled<buffer>> mine;
            for (std::size_t i = 0; i < scaled(400'000); ++i) {
                if (mine.size() < 40 && dice.below(2) == 0) {
                    auto one = pool.acquire();
                    wrong.expect(one->take(me), "in two hands");
                    wrong.expect(one->size() <= 900'000, "was not worth keeping");
                    held.fetch_add(static_cast<std::int64_t>(one->size()));
                    auto const size = dice.below(std::size_t{1} << dice.below(21)) % largest;
                    held.fetch_add(static_cast<std::int64_t>(size) - static_cast<std::int64_t>(one->size()));
                    one->resize(size);
                    mine.push_back(std::move(one));
                } else if (!mine.empty()) {
                    wrong.expect(mine.back()->let_go(me), "not mine");
                    held.fetch_sub(static_cast<std::int64_t>(mine.back()->size()));
                    mine.pop_back();
                }
                if (i % 16 == 0) {
                    auto const seen = alive_bytes.load() - held.load();
                    wrong.expect(seen <= static_cast<std::int64_t>(most + 2 * threads * largest), "too much is idle");
                    wrong.expect(pool.stats().idle <= 1024, "too many are idle");
                }
            }
            for (auto& each : mine) {
                wrong.expect(each->let_go(me), "not mine at the end");
                held.fetch_sub(static_cast<std::int64_t>(each->size()));
            }
        });
        auto const s = pool.stats();
        expect_at_rest(s);
        EXPECT_LE(s.bytes, most);
        EXPECT_EQ(static_cast<std::int64_t>(s.bytes), alive_bytes.load());
        EXPECT_EQ(held.load(), 0);
        EXPECT_GT(s.discarded, scaled(400'000) / 100) << "the storm reaches the bound";
        pool.clear();
        EXPECT_EQ(pool.stats().bytes, 0U);
    }
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(alive.load(), 0);
}

// One thread takes, another gives back: nothing piles up, and after the start nothing is made.
TEST(object_pool_storm, pairs_of_producer_and_consumer_keep_memory_flat) {
    findings wrong;
    constexpr std::size_t pairs = 2;
    constexpr std::size_t queued = 64;
    {
        object_pool<buffer> pool;
        std::vector<std::unique_ptr<weir::boost_spsc_queue<buffer*>>> queues;
        for (std::size_t i = 0; i < pairs; ++i) {
            queues.push_back(std::make_unique<weir::boost_spsc_queue<buffer*>>(queued));
        }
        auto const items = scaled(400'000);
        run_together(2 * pairs, [&](std::size_t me) {
            auto& queue = *queues[me / 2];
            for (std::size_t i = 0; i < items; ++i) {
                if (me % 2 == 0) {
                    auto* const one = pool.get();
                    wrong.expect(one->take(me), "in two hands");
                    while (!queue.try_push(one)) {
                        std::this_thread::yield();
                    }
                } else {
                    auto one = queue.try_pop();
                    while (!one) {
                        std::this_thread::yield();
                        one = queue.try_pop();
                    }
                    wrong.expect((*one)->let_go(me - 1), "not what was sent");
                    pool.put(*one);
                }
            }
        });
        auto const s = pool.stats();
        expect_at_rest(s);
        EXPECT_EQ(s.acquired, pairs * items);
        EXPECT_LE(s.high_water, 1024U + pairs * (queued + 2));
        EXPECT_LE(s.misses, s.high_water + s.discarded);
    }
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(alive.load(), 0);
}

TEST(object_pool_storm, where_few_may_live_all_who_wait_are_served) {
    findings wrong;
    {
        object_pool<buffer> pool(object_pool_options<buffer>{.max_idle = 2, .max_live = 3});
        std::atomic<std::size_t> served{0};
        auto const rounds = scaled(4'000);
        run_together(8, [&](std::size_t me) {
            random_numbers dice(run_seed() + me);
            for (std::size_t i = 0; i < rounds; ++i) {
                auto one = dice.one_in(8) ? pool.acquire_for(std::chrono::microseconds{dice.below(50)}) : pool.acquire();
                if (one) {
                    served.fetch_add(1);
                    wrong.expect(one->take(me), "in two hands");
                    wrong.expect(alive.load() <= 3, "too many live");
                    if (dice.one_in(4)) {
                        std::this_thread::yield();
                    }
                    wrong.expect(one->let_go(me), "not mine");
                    if (dice.one_in(10)) {
                        one.discard();
                    }
                }
            }
        });
        auto const s = pool.stats();
        expect_at_rest(s);
        EXPECT_LE(s.high_water, 3U);
        EXPECT_EQ(s.acquired, served.load());
        EXPECT_EQ(s.acquired + s.refused, 8 * rounds);
    }
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_EQ(alive.load(), 0);
}

TEST(object_pool_storm, pools_that_die_under_their_handles_destroy_each_object_once) {
    findings wrong;
    for (std::size_t round = 0; round < scaled(200, 20); ++round) {
        auto pool = std::make_unique<object_pool<buffer>>(object_pool_options<buffer>{.max_idle = round % 2 == 0 ? 1024U : 8U});
        std::atomic<std::size_t> busy{0};
        std::atomic<bool> over{false};
        crew threads;
        for (std::size_t me = 0; me < 3; ++me) {
            threads.start([&, me] {
                std::vector<pooled<buffer>> mine;
                while (mine.size() < 50) {
                    mine.push_back(pool->acquire());
                }
                busy.fetch_add(1);
                while (!over.load()) {
                    std::this_thread::yield();
                }
                for (auto& each : mine) {
                    wrong.expect(each->take(me) && each->let_go(me), "in two hands");
                    each.reset();
                }
            });
        }
        while (busy.load() != 3) {
            std::this_thread::yield();
        }
        over = true;
        pool.reset();
        threads.join();
        ASSERT_EQ(alive.load(), 0);
    }
    EXPECT_TRUE(wrong.none()) << wrong;
}

}  // namespace
}  // namespace weir_test
