// weir (BSL-1.0). engine_test: what the engine promises besides its memory model and the bugs that it finds.
#include "bounded_ring.hpp"
#include "engine/model.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace weir_model;
using namespace std::chrono_literals;
using enum std::memory_order;
using word = std::atomic<int>;
using texts = std::set<std::string>;

// Explores to the end, and nothing fails.
report passes(std::function<void()> const& body, options const& with = {}) {
    report r = explore(body, with);
    EXPECT_FALSE(r.failed) << to_string(r);
    EXPECT_TRUE(r.complete) << to_string(r);
    return r;
}

bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

std::string here(int line) { return "tests/model/engine_test.cpp:" + std::to_string(line); }

// ---- replay and trace

int const line_of_store = __LINE__ + 4;
int const line_of_load = __LINE__ + 6;
void reads_forty_two() {
    word x{0};
    together([&] { x.store(42, relaxed); },
             [&] {
                 // The value, who wrote it and where: a trace without these would not be one.
                 const int seen = x.load(relaxed);
                 WEIR_MODEL_REQUIRE(seen != 42);
             });
}

TEST(model_replay, shows_the_same_failure_again) {
    const report r = explore(reads_forty_two);
    ASSERT_TRUE(r.failed);
    EXPECT_FALSE(r.complete);
    EXPECT_TRUE(contains(r.message, "seen != 42")) << r.message;
    ASSERT_FALSE(r.replay.empty());

    const report again = explore(reads_forty_two, {.replay = r.replay});
    EXPECT_TRUE(again.failed);
    EXPECT_EQ(again.executions, 1U);
    EXPECT_EQ(again.message, r.message);
    EXPECT_EQ(again.trace, r.trace);
}

TEST(model_replay, of_a_random_search_shows_the_same_failure_again) {
    for (const strategy how : {strategy::random, strategy::pct}) {
        const report r = explore(reads_forty_two, {.how = how, .max_executions = 1000});
        ASSERT_TRUE(r.failed);
        const report again = explore(reads_forty_two, {.replay = r.replay});
        EXPECT_EQ(again.message, r.message);
    }
}

TEST(model_trace, names_places_values_and_who_wrote_them) {
    const report r = explore(reads_forty_two);
    ASSERT_TRUE(r.failed);
    EXPECT_TRUE(contains(r.trace, here(line_of_load))) << r.trace;
    EXPECT_TRUE(contains(r.trace, here(line_of_store))) << r.trace;
    EXPECT_TRUE(contains(r.trace, "stored by T1")) << r.trace;
    EXPECT_TRUE(contains(r.trace, "0x2a")) << r.trace;
    EXPECT_TRUE(contains(r.trace, "relaxed")) << r.trace;
    EXPECT_TRUE(contains(to_string(r), r.trace));
    EXPECT_TRUE(contains(to_string(r), r.replay));
    EXPECT_TRUE(contains(to_string(r), r.message));
}

TEST(model_trace, names_both_sides_of_a_race) {
    int const line_of_first = __LINE__ + 4;
    int const line_of_second = __LINE__ + 4;
    const report r = explore([] {
        const auto x = std::make_unique<int>(0);
        const auto one = [&] { *x = 1; };
        const auto two = [&] { *x = 2; };
        together(one, two);
    });
    ASSERT_TRUE(r.failed);
    EXPECT_TRUE(contains(r.message, "T0")) << r.message;
    EXPECT_TRUE(contains(r.message, "T1")) << r.message;
    EXPECT_TRUE(contains(r.trace, here(line_of_first))) << r.trace;
    EXPECT_TRUE(contains(r.trace, here(line_of_second))) << r.trace;
}

TEST(model_trace, names_the_place_of_a_leak) {
    int const line = __LINE__ + 2;
    const report r = explore([] {
        int* volatile const lost = new int(1);
        (void)lost;
    });
    ASSERT_TRUE(r.failed);
    EXPECT_TRUE(contains(r.message, here(line))) << r.message;
}

// ---- each execution begins in the same state

int plain_global = 5;
word atomic_global{6};
std::vector<int> grown_global;
std::array<char, 40> copied_global{};

void changes_globals() {
    WEIR_MODEL_REQUIRE(plain_global == 5);
    WEIR_MODEL_REQUIRE(atomic_global.load() == 6);
    WEIR_MODEL_REQUIRE(grown_global.empty());
    WEIR_MODEL_REQUIRE(std::count(copied_global.begin(), copied_global.end(), '\0') == 40);
    plain_global = 50;
    grown_global.assign(10, 1);
    std::memset(copied_global.data(), 7, copied_global.size());
    together([] { atomic_global.fetch_add(1); }, [] { atomic_global.fetch_add(1); });
}

TEST(model_execution, undoes_what_the_one_before_did_to_globals) {
    const report r = passes(changes_globals, {.check_leaks = false});
    EXPECT_GT(r.executions, 1U);
    EXPECT_EQ(plain_global, 5);
    EXPECT_EQ(atomic_global.load(), 6);
    EXPECT_TRUE(grown_global.empty());
    EXPECT_EQ(copied_global[39], '\0');
}

std::uint64_t statics_constructed = 0;
std::uint64_t statics_destroyed = 0;
struct counted_static {
    std::unique_ptr<int> memory = std::make_unique<int>(1);
    counted_static() {
        const outside o;
        ++statics_constructed;
    }
    ~counted_static() {
        const outside o;
        ++statics_destroyed;
    }
    counted_static(counted_static const&) = delete;
    counted_static& operator=(counted_static const&) = delete;
};

TEST(model_execution, constructs_and_destroys_its_statics) {
    const report r = passes([] {
        const auto use = [] {
            static counted_static one;
            WEIR_MODEL_REQUIRE(*one.memory == 1);
        };
        together(use, use);
    });
    EXPECT_GT(r.executions, 1U);
    EXPECT_EQ(statics_constructed, r.executions + r.lessons);
    EXPECT_EQ(statics_destroyed, r.executions + r.lessons);
}

thread_local int local = 3;
TEST(model_execution, gives_each_thread_its_thread_local_objects) {
    local = 9;
    passes([] {
        const auto use = [](int mine) {
            WEIR_MODEL_REQUIRE(local == 3);
            local = mine;
            std::this_thread::yield();
            word{0}.store(1);
            WEIR_MODEL_REQUIRE(local == mine);
        };
        together([&] { use(1); }, [&] { use(2); });
    });
    EXPECT_EQ(local, 9);
}

TEST(model_execution, of_a_body_that_is_not_deterministic_is_reported) {
    static int runs = 0;
    const report r = explore([] {
        bool odd = false;
        {
            const outside o;
            odd = ++runs % 2 != 0;
        }
        word x{0};
        const auto add = [&] {
            x.fetch_add(1);
            x.fetch_add(1);
            x.fetch_add(1);
        };
        if (odd) {
            together(add, add);
        } else {
            together(add, add, add);
        }
    });
    EXPECT_TRUE(r.failed);
    EXPECT_TRUE(contains(r.message, "not deterministic")) << r.message;
}

TEST(model_execution, that_leaves_by_a_null_pointer_is_reported) {
    const report r = explore([] {
        int* volatile nowhere = nullptr;
        WEIR_MODEL_REQUIRE(*nowhere == 1);
    });
    EXPECT_TRUE(r.failed);
    EXPECT_TRUE(contains(r.message, "null pointer")) << r.message;
}

// ---- threads

TEST(model_threads, have_ids_of_their_own) {
    passes([] {
        std::array<std::thread::id, 3> seen;
        seen[0] = std::this_thread::get_id();
        std::thread first([&] { seen[1] = std::this_thread::get_id(); });
        std::thread second([&] { seen[2] = std::this_thread::get_id(); });
        const auto first_id = first.get_id();
        const auto second_id = second.get_id();
        first.join();
        second.join();
        WEIR_MODEL_REQUIRE(seen[1] == first_id);
        WEIR_MODEL_REQUIRE(seen[2] == second_id);
        WEIR_MODEL_REQUIRE(seen[0] != seen[1]);
        WEIR_MODEL_REQUIRE(seen[0] != seen[2]);
        WEIR_MODEL_REQUIRE(seen[1] != seen[2]);
        WEIR_MODEL_REQUIRE(seen[0] == std::this_thread::get_id());
    });
}

TEST(model_threads, have_an_errno_of_their_own) {
    passes([] {
        word x{0};
        const auto use = [&](int mine) {
            errno = mine;
            x.fetch_add(1);
            WEIR_MODEL_REQUIRE(errno == mine);
        };
        together([&] { use(ENOENT); }, [&] { use(EINTR); });
    });
}

TEST(model_threads, may_be_frozen_and_are_then_not_joined) {
    const auto body = [] {
        word x{0};
        observe(together([&] { x.store(1); }, [] {}) ? "all have ended" : "one is frozen");
    };
    EXPECT_EQ(passes(body).outcomes, texts{"all have ended"});
    EXPECT_EQ(passes(body, {.freezes = 1}).outcomes, (texts{"all have ended", "one is frozen"}));
}

// ---- bounds

void three_threads_of_three_steps() {
    word x{0};
    const auto work = [&] {
        x.fetch_add(1);
        x.fetch_add(1);
        x.fetch_add(1);
    };
    together(work, work, work);
}

TEST(model_bounds, stop_after_so_many_executions) {
    const report r = explore(three_threads_of_three_steps, {.max_executions = 10});
    EXPECT_EQ(r.executions, 10U);
    EXPECT_FALSE(r.failed);
    EXPECT_FALSE(r.complete);
}

TEST(model_bounds, stop_after_so_much_time) {
    const report r = explore(three_threads_of_three_steps,
                             {.preemptions = options::unbounded, .max_seconds = 0.001, .reduce = false});
    EXPECT_FALSE(r.failed);
    EXPECT_FALSE(r.complete);
    EXPECT_LT(r.executions, 1680U);  // 9! / (3! 3! 3!), of the additions alone
}

TEST(model_bounds, cut_an_execution_of_too_many_steps) {
    const report r = explore(three_threads_of_three_steps, {.max_steps = 8});
    EXPECT_GT(r.cut, 0U);
    EXPECT_FALSE(r.failed);
    EXPECT_FALSE(r.complete);
}

TEST(model_bounds, end_a_body_that_never_ends) {
    const report r = explore(
        [] {
            word x{0};
            for (;;) {
                x.fetch_add(1);
            }
        },
        {.max_executions = 3, .max_steps = 1000});
    EXPECT_GT(r.cut, 0U);
    EXPECT_FALSE(r.complete);
}

TEST(model_bounds, on_preemptions_are_kept) {
    const auto body = [] {
        word x{0};
        int seen = -1;
        together(
            [&] {
                x.store(1);
                x.store(2);
            },
            [&] { seen = x.load(); });
        observe(std::to_string(seen));
    };
    // The second function runs in the thread that starts the first one's.
    EXPECT_EQ(passes(body, {.preemptions = 0}).outcomes, texts{"0"});
    EXPECT_EQ(passes(body, {.preemptions = 1, .stale_reads = 0}).outcomes, (texts{"0", "2"}));
    EXPECT_EQ(passes(body, {.preemptions = 2, .stale_reads = 0}).outcomes, (texts{"0", "1", "2"}));
}

TEST(model_bounds, on_stale_reads_are_kept) {
    const auto body = [] {
        word x{0};
        word y{0};
        word flag{0};
        int seen = -1;
        int missed = 0;
        together(
            [&] {
                x.store(1, relaxed);
                y.store(1, relaxed);
                flag.store(1, relaxed);
            },
            [&] {
                seen = flag.load(relaxed);
                missed = (x.load(relaxed) == 0 ? 1 : 0) + (y.load(relaxed) == 0 ? 1 : 0);
            });
        if (seen == 1) {
            observe(std::to_string(missed));
        }
    };
    EXPECT_EQ(passes(body, {.stale_reads = 0}).outcomes, texts{"0"});
    EXPECT_EQ(passes(body, {.stale_reads = 1}).outcomes, (texts{"0", "1"}));
    EXPECT_EQ(passes(body, {.stale_reads = 2}).outcomes, (texts{"0", "1", "2"}));
}

TEST(model_bounds, on_spurious_failures_are_kept) {
    const auto exchange = [](bool weak) {
        word x{0};
        int expected = 0;
        const bool done = weak ? x.compare_exchange_weak(expected, 1) : x.compare_exchange_strong(expected, 1);
        observe(done ? "done" : "not done");
    };
    EXPECT_EQ(passes([&] { exchange(true); }).outcomes, texts{"done"});
    EXPECT_EQ(passes([&] { exchange(true); }, {.spurious_failures = 1}).outcomes, (texts{"done", "not done"}));
    EXPECT_EQ(passes([&] { exchange(false); }, {.spurious_failures = 1}).outcomes, texts{"done"});
}

TEST(model_bounds, on_allocation_failures_are_kept) {
    const auto body = [] {
        std::string outcome;
        for (int i = 0; i < 2; ++i) {
            int* volatile const p = new (std::nothrow) int(1);
            outcome += p == nullptr ? '0' : '1';
            delete p;
        }
        observe(outcome);
    };
    EXPECT_EQ(passes(body).outcomes, texts{"11"});
    EXPECT_EQ(passes(body, {.allocation_failures = 1}).outcomes, (texts{"01", "10", "11"}));
    EXPECT_EQ(passes(body, {.allocation_failures = 2}).outcomes, (texts{"00", "01", "10", "11"}));
}

TEST(model_bounds, on_timeouts_are_kept) {
    const auto body = [] {
        std::mutex m;
        std::condition_variable changed;
        bool ready = false;
        bool came = false;
        together(
            [&] {
                const std::lock_guard hold(m);
                ready = true;
                changed.notify_one();
            },
            [&] {
                std::unique_lock hold(m);
                came = changed.wait_for(hold, 1h, [&] { return ready; });
            });
        observe(came ? "in time" : "too late");
    };
    EXPECT_EQ(passes(body, {.timeouts = 0}).outcomes, texts{"in time"});
    EXPECT_EQ(passes(body, {.timeouts = 1}).outcomes, (texts{"in time", "too late"}));
}

// ---- time

using steady = std::chrono::steady_clock;

TEST(model_clock, does_not_advance_by_itself) {
    passes([] {
        word x{0};
        const auto begin = steady::now();
        const auto wall = std::chrono::system_clock::now();
        together(
            [&] {
                for (int i = 0; i < 10; ++i) {
                    x.fetch_add(1);
                }
            },
            [] {});
        WEIR_MODEL_REQUIRE(steady::now() == begin);
        WEIR_MODEL_REQUIRE(std::chrono::system_clock::now() == wall);
    });
}

TEST(model_clock, advances_by_exactly_what_a_thread_sleeps) {
    passes([] {
        const auto begin = steady::now();
        std::this_thread::sleep_for(1234567ns);
        WEIR_MODEL_REQUIRE(steady::now() - begin == 1234567ns);
        std::this_thread::sleep_until(begin + 24h);
        WEIR_MODEL_REQUIRE(steady::now() - begin == 24h);
        std::this_thread::sleep_until(begin);
        WEIR_MODEL_REQUIRE(steady::now() - begin == 24h);
    });
}

TEST(model_clock, wakes_sleepers_in_the_order_of_their_deadlines) {
    const report r = passes(
        [] {
            word x{0};
            int first = -1;
            int second = -1;
            together(
                [&] {
                    std::this_thread::sleep_for(2s);
                    second = x.fetch_add(1);
                },
                [&] {
                    std::this_thread::sleep_for(1s);
                    first = x.fetch_add(1);
                });
            observe(first < second ? "in order" : "the other way round");
        },
        {.preemptions = 0, .timeouts = 0});
    EXPECT_EQ(r.outcomes, texts{"in order"});
}

TEST(model_clock, lets_a_wait_end_after_exactly_its_time) {
    passes([] {
        std::mutex m;
        std::condition_variable changed;
        std::unique_lock hold(m);
        const auto begin = steady::now();
        WEIR_MODEL_REQUIRE(changed.wait_for(hold, 250ms) == std::cv_status::timeout);
        WEIR_MODEL_REQUIRE(steady::now() - begin == 250ms);
        WEIR_MODEL_REQUIRE(changed.wait_until(hold, begin + 1s) == std::cv_status::timeout);
        WEIR_MODEL_REQUIRE(steady::now() - begin == 1s);
        WEIR_MODEL_REQUIRE(!changed.wait_for(hold, 1s, [] { return false; }));
        WEIR_MODEL_REQUIRE(steady::now() - begin == 2s);
    });
}

TEST(model_clock, advances_for_a_thread_that_polls_it) {
    passes([] {
        const auto deadline = steady::now() + 5ms;
        while (steady::now() < deadline) {
            std::this_thread::yield();
        }
    });
}

// ---- what a report counts

TEST(model_report, bounds_the_steps_of_wait_free_code) {
    const report r = passes(
        [] {
            word x{0};
            const auto work = [&] {
                count_steps([&] {
                    x.fetch_add(1);
                    (void)x.load();
                });
            };
            together(work, work);
        },
        {.preemptions = options::unbounded, .stale_reads = options::unbounded});
    EXPECT_EQ(r.most_steps, 2U);
}

TEST(model_report, shows_that_contention_costs_lock_free_code_more_steps) {
    const auto body = [](bool contended) {
        word x{0};
        const auto work = [&] {
            count_steps([&] {
                int old = x.load();
                while (!x.compare_exchange_weak(old, old + 1)) {
                }
            });
        };
        work();
        if (contended) {
            together(work, work);
        }
    };
    EXPECT_EQ(passes([&] { body(false); }).most_steps, 2U);
    EXPECT_GT(passes([&] { body(true); }).most_steps, 2U);
}

TEST(model_report, counts_live_memory_at_its_peak) {
    const report r = passes([] {
        for (int i = 0; i < 3; ++i) {
            const std::vector<char> kilobytes(4096);
        }
    });
    EXPECT_GE(r.most_live_bytes, 4096U);
    EXPECT_LT(r.most_live_bytes, 2U * 4096U);
}

TEST(model_report, numbers_steps_without_taking_any) {
    passes([] {
        word x{0};
        const auto before = steps();
        const auto time = now();
        WEIR_MODEL_REQUIRE(now() == time);
        x.store(1);
        WEIR_MODEL_REQUIRE(now() > time);
        WEIR_MODEL_REQUIRE(steps() == before + 1);
    });
}

TEST(model_report, lists_the_sites_and_a_weakened_one_fails) {
    const auto body = [] {
        word flag{0};
        int data = 0;
        together(
            [&] {
                data = 1;
                flag.store(1, release);
            },
            [&] {
                if (flag.load(acquire) == 1) {
                    WEIR_MODEL_REQUIRE(data == 1);
                }
            });
    };
    const report r = passes(body);
    int weakened = 0;
    for (site const& s : r.sites) {
        if ((s.kind == 'S' && s.order == __ATOMIC_RELEASE) || (s.kind == 'L' && s.order == __ATOMIC_ACQUIRE)) {
            ++weakened;
            const report mutated =
                explore(body, {.mutant = {.sites = {s.pc}, .kind = s.kind, .order = __ATOMIC_RELAXED}});
            EXPECT_TRUE(mutated.failed) << "order of " << s.kind << " weakened";
            EXPECT_TRUE(contains(mutated.message, "data race")) << mutated.message;
        }
    }
    EXPECT_EQ(weakened, 2);
}

TEST(model_report, of_a_random_search_depends_on_its_seed_only) {
    const auto steps_of = [](strategy how, std::uint64_t seed) {
        std::string all;
        const report r = explore(
            [] {
                word x{0};
                std::array<int, 3> seen{};
                const auto work = [&](std::size_t mine) {
                    x.fetch_add(1);
                    seen[mine] = x.fetch_add(1);
                };
                together([&] { work(0); }, [&] { work(1); }, [&] { work(2); });
                observe(std::to_string(seen[0]) + std::to_string(seen[1]) + std::to_string(seen[2]));
            },
            {.how = how, .max_executions = 8, .seed = seed});
        EXPECT_EQ(r.executions, 8U);
        EXPECT_FALSE(r.complete);
        for (std::string const& o : r.outcomes) {
            all += o + ' ';
        }
        return all;
    };
    for (const strategy how : {strategy::random, strategy::pct}) {
        EXPECT_EQ(steps_of(how, 1), steps_of(how, 1));
        texts different;
        for (std::uint64_t seed = 1; seed <= 5; ++seed) {
            different.insert(steps_of(how, seed));
        }
        EXPECT_GT(different.size(), 1U);
    }
}

// ---- the reduction

// Two cells, two threads of four calls each. What each call returned is the outcome.
template <class Work>
void ring_of_two_cells(Work work) {
    weir_test::bounded_ring<2> ring;
    std::string answers[2];
    std::thread first([&] { work(0, ring, answers[0]); });
    std::thread second([&] { work(1, ring, answers[1]); });
    first.join();
    second.join();
    observe(answers[0] + ' ' + answers[1]);
}

void push_into(weir_test::bounded_ring<2>& ring, int value, std::string& answers) {
    answers += ring.push(value) ? '+' : '-';
}
void pop_from(weir_test::bounded_ring<2>& ring, std::string& answers) {
    answers += static_cast<char>('0' + ring.pop().value_or(0));
}

void one_pushes_one_pops() {
    ring_of_two_cells([](int thread, weir_test::bounded_ring<2>& ring, std::string& answers) {
        for (int i = 1; i <= 4; ++i) {
            if (thread == 0) {
                push_into(ring, i, answers);
            } else {
                pop_from(ring, answers);
            }
        }
    });
}

void both_push_and_pop() {
    ring_of_two_cells([](int thread, weir_test::bounded_ring<2>& ring, std::string& answers) {
        for (int i = 1; i <= 2; ++i) {
            push_into(ring, i + 2 * thread, answers);
            pop_from(ring, answers);
        }
    });
}

// How many times fewer executions the reduction needs to show the same.
double saving(char const* name, void (*body)(), int preemptions) {
    const report all = passes(body, {.preemptions = preemptions, .max_seconds = 60, .reduce = false});
    const report reduced = passes(body, {.preemptions = preemptions, .max_seconds = 60, .reduce = true});
    EXPECT_EQ(reduced.outcomes, all.outcomes);
    EXPECT_GT(all.outcomes.size(), 40U);
    testing::Test::RecordProperty(name, std::to_string(all.executions));
    testing::Test::RecordProperty(std::string(name) + "_reduced", std::to_string(reduced.executions));
    std::cout << name << ": " << all.executions << " executions, " << reduced.executions << " with the reduction, "
              << all.outcomes.size() << " outcomes\n";
    return static_cast<double>(all.executions) / static_cast<double>(reduced.executions);
}

TEST(model_reduction, shows_the_same_of_a_ring_in_few_of_the_executions) {
    EXPECT_GE(saving("one_pushes_one_pops", one_pushes_one_pops, 2), 9);
    EXPECT_GE(saving("one_pushes_one_pops_with_3_preemptions", one_pushes_one_pops, 3), 10);
}

// Here next to all steps touch the same words: there is little to be left out.
TEST(model_reduction, shows_the_same_of_a_ring_where_all_threads_do_all) {
    EXPECT_GT(saving("both_push_and_pop", both_push_and_pop, 2), 1);
}

// Small programs by chance, with more outcomes than a few random executions would show.
struct operation {
    enum class kind { load, store, add, exchange, exchange_if_zero, fence, locked_addition } what;
    std::size_t word;
    int strength;  // 0 relaxed, 1 acquire and release, 2 seq_cst
};
using program = std::vector<std::vector<operation>>;  // by thread

struct program_state {
    std::array<word, 2> words{};
    std::mutex m;
    int counter = 0;
};

template <std::memory_order Load, std::memory_order Store, std::memory_order Both>
void apply(operation const& o, program_state& state, int value, std::string& answers) {
    const auto answer = [&answers](int n) { answers += static_cast<char>('0' + n); };
    word& w = state.words[o.word];
    int expected = 0;
    switch (o.what) {
        case operation::kind::load:
            answer(w.load(Load));
            break;
        case operation::kind::store:
            w.store(value, Store);
            break;
        case operation::kind::add:
            answer(w.fetch_add(1, Both));
            break;
        case operation::kind::exchange:
            answer(w.exchange(value, Both));
            break;
        case operation::kind::exchange_if_zero:
            w.compare_exchange_strong(expected, value, Both, Load);
            answer(expected);
            break;
        case operation::kind::fence:
            std::atomic_thread_fence(seq_cst);
            break;
        case operation::kind::locked_addition: {
            const std::lock_guard hold(state.m);
            answer(state.counter++);
            break;
        }
    }
}

void run(program const& p) {
    program_state state;
    std::array<std::string, 3> answers;
    const auto work = [&](std::size_t thread) {
        int value = static_cast<int>(thread) * 10;
        for (operation const& o : p[thread]) {
            ++value;
            switch (o.strength) {
                case 0:
                    apply<relaxed, relaxed, relaxed>(o, state, value, answers[thread]);
                    break;
                case 1:
                    apply<acquire, release, acq_rel>(o, state, value, answers[thread]);
                    break;
                default:
                    apply<seq_cst, seq_cst, seq_cst>(o, state, value, answers[thread]);
                    break;
            }
        }
    };
    if (p.size() == 2) {
        together([&] { work(0); }, [&] { work(1); });
    } else {
        together([&] { work(0); }, [&] { work(1); }, [&] { work(2); });
    }
    std::string last;
    for (word& w : state.words) {
        last += static_cast<char>('0' + w.load());
    }
    const outside o;
    observe(answers[0] + ' ' + answers[1] + ' ' + answers[2] + ' ' + last);
}

program random_program(unsigned seed, unsigned threads, unsigned operations) {
    std::mt19937 random(seed);
    const auto below = [&random](unsigned n) { return static_cast<unsigned>(random() % n); };
    program p(threads);
    for (auto& thread : p) {
        for (unsigned i = 0; i < operations; ++i) {
            const auto what =
                static_cast<operation::kind>(below(2) == 0 ? below(2) : below(7));  // loads and stores most
            const std::size_t which = below(2);
            thread.push_back({what, which, static_cast<int>(below(3))});
        }
    }
    return p;
}

std::string to_string(program const& p) {
    constexpr char const* kinds[] = {"load",  "store",          "add", "exchange", "exchange_if_zero",
                                     "fence", "locked_addition"};
    constexpr char const* strengths[] = {"relaxed", "acquire/release", "seq_cst"};
    std::string text;
    for (auto const& thread : p) {
        text += "  thread:";
        for (operation const& o : thread) {
            text += std::string(" ") + kinds[static_cast<int>(o.what)] + "(" + "xy"[o.word] + ", " +
                    strengths[o.strength] + ");";
        }
        text += '\n';
    }
    return text;
}

// Stops at the first program of this size that shows something else.
void expect_the_same_of_random_programs(unsigned count, unsigned threads, unsigned operations) {
    std::uint64_t all_executions = 0;
    std::uint64_t reduced_executions = 0;
    for (unsigned seed = 1; seed <= count; ++seed) {
        const program p = random_program(seed, threads, operations);
        for (const int preemptions : {1, 2, options::unbounded}) {
            for (const int stale_reads : {0, 2}) {
                options with{.preemptions = preemptions, .stale_reads = stale_reads, .reduce = false};
                const report all = passes([&p] { run(p); }, with);
                with.reduce = true;
                const report reduced = passes([&p] { run(p); }, with);
                all_executions += all.executions;
                reduced_executions += reduced.executions;
                ASSERT_EQ(reduced.outcomes, all.outcomes)
                    << preemptions << " preemptions, " << stale_reads << " stale reads\n"
                    << to_string(p);
            }
        }
    }
    std::cout << count << " programs of " << threads << " threads with " << operations
              << " operations: " << all_executions << " executions, " << reduced_executions << " with the reduction\n";
}

TEST(model_reduction, shows_the_same_of_random_programs_of_two_threads) {
    expect_the_same_of_random_programs(100, 2, 3);
    expect_the_same_of_random_programs(30, 2, 5);
}

TEST(model_reduction, shows_the_same_of_random_programs_of_three_threads) {
    expect_the_same_of_random_programs(100, 3, 2);
    expect_the_same_of_random_programs(10, 3, 3);
}

// A loop that looks a few times and then gives up is not a thread that waits for another one.
TEST(model_reduction, lets_a_thread_look_as_often_as_it_likes) {
    const auto body = [] {
        word x{0};
        int seen = 0;
        together([&] { x.store(1); },
                 [&] {
                     for (int i = 0; i < 6; ++i) {
                         seen += x.load();
                     }
                 });
        observe(std::to_string(seen));
    };
    for (const bool reduce : {true, false}) {
        EXPECT_EQ(passes(body, {.stale_reads = 0, .reduce = reduce}).outcomes,
                  (texts{"0", "1", "2", "3", "4", "5", "6"}));
    }
}

}  // namespace
