// weir (BSL-1.0). Tests of run/detail/future.hpp: the answers of calls that somebody else makes.
#include <weir/run/detail/future.hpp>

#include "support/failing_new.hpp"
#include "support/faults.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

// The tests are the executor: they hold the entry of a call, and run it, refuse it or let it go.

namespace weir_test {
namespace {

using namespace std::chrono_literals;
using weir::future;
using weir::outcome;
using weir::refusal;
using weir::detail::asynchronous_call;
using weir::detail::future_access;
using weir::detail::job_entry;
using weir::detail::make_async;
using weir::detail::pool_end;
using clock_type = std::chrono::steady_clock;

constexpr auto never = clock_type::time_point::max();
constexpr auto at_once = clock_type::time_point::min();

template <class T>
std::string words_of(outcome<T> const& o) {
    if (o.has_value()) {
        return "value";
    }
    try {
        o.error().rethrow();
    } catch (std::exception const& e) {
        return e.what();
    }
}

template <class T>
bool is(outcome<T> const& o, refusal why) {
    return !o.has_value() && o.error().is_rejection() && o.error().rejection().reason == why;
}

/// Says when the last one of its kind has gone, and where.
struct presence {
    explicit presence(int& n) : count(&n) { ++*count; }
    presence(presence&& other) noexcept : count(other.count) { ++*count; }
    presence& operator=(presence&&) = delete;
    ~presence() { --*count; }
    int* count;
};

// ---- what a call gives

TEST(future, gives_what_the_call_gave) {
    auto call = make_async([](int a, int b) { return a * b; }, 6, 7);
    static_assert(std::is_same_v<decltype(call.result), future<int>>);
    EXPECT_TRUE(call.result.valid());
    EXPECT_FALSE(call.result.ready());
    EXPECT_EQ(call.entry({}), pool_end::completed);
    EXPECT_TRUE(call.result.ready());
    EXPECT_EQ(call.result.get_until(at_once).value(), 42);
    EXPECT_FALSE(call.result.valid());
}

TEST(future, gives_what_the_call_threw) {
    auto call = make_async([]() -> int { throw std::runtime_error{"lost"}; });
    EXPECT_EQ(call.entry({}), pool_end::failed);
    EXPECT_EQ(words_of(call.result.get({})), "lost");
    EXPECT_FALSE(call.result.valid());
}

TEST(future, gives_nothing_after_a_call_that_gives_nothing) {
    int calls = 0;
    auto good = make_async([&] { ++calls; });
    static_assert(std::is_same_v<decltype(good.result), future<void>>);
    EXPECT_EQ(good.entry({}), pool_end::completed);
    EXPECT_TRUE(good.result.get({}).has_value());
    auto bad = make_async([&] { throw std::runtime_error{std::to_string(++calls)}; });
    EXPECT_EQ(bad.entry({}), pool_end::failed);
    EXPECT_EQ(words_of(bad.result.get({})), "2");
}

TEST(future, gives_a_reference_as_a_pointer) {
    int number = 1;
    auto call = make_async([&]() -> int& { return number; });
    static_assert(std::is_same_v<decltype(call.result), future<int&>>);
    static_assert(std::is_same_v<future<int&>::value_type, int*>);
    EXPECT_EQ(call.entry({}), pool_end::completed);
    EXPECT_EQ(call.result.get({}).value(), &number);
    auto bad = make_async([]() -> int const& { throw std::runtime_error{"none"}; });
    static_assert(std::is_same_v<decltype(bad.result), future<int const&>>);
    EXPECT_EQ(bad.entry({}), pool_end::failed);
    EXPECT_EQ(words_of(bad.result.get({})), "none");
}

TEST(future, gives_a_copy_of_what_dies_and_no_qualifiers) {
    auto moved = make_async([s = std::string{"short-lived"}]() mutable -> std::string&& { return std::move(s); });
    static_assert(std::is_same_v<decltype(moved.result), future<std::string>>);
    EXPECT_EQ(moved.entry({}), pool_end::completed);
    EXPECT_EQ(moved.result.get({}).value(), "short-lived");
    static_assert(std::is_same_v<weir::detail::async_result<std::string const (*)()>, std::string>);
}

TEST(future, carries_what_can_only_be_moved_in_and_out) {
    auto call = make_async([extra = std::make_unique<int>(1)](std::unique_ptr<int> p) {
        *p += *extra;
        return p;
    }, std::make_unique<int>(7));
    EXPECT_EQ(call.entry({}), pool_end::completed);
    EXPECT_EQ(*call.result.get({}).value(), 8);
}

TEST(future, passes_on_an_outcome) {
    auto call = make_async([]() -> outcome<int> { return weir::unexpected{weir::failure{weir::rejected{refusal::rate_limited}}}; });
    static_assert(std::is_same_v<decltype(call.result), future<int>>);
    EXPECT_EQ(call.entry({}), pool_end::completed);
    EXPECT_TRUE(is(call.result.get({}), refusal::rate_limited));
}

TEST(future, calls_a_member) {
    struct account {
        int sum = 0;
        int add(int n) { return sum += n; }
    } a;
    auto call = make_async(&account::add, &a, 5);
    EXPECT_EQ(call.entry({}), pool_end::completed);
    EXPECT_EQ(call.result.get({}).value(), 5);
    EXPECT_EQ(a.sum, 5);
}

TEST(future, hands_the_stop_token_to_a_call_that_takes_one) {
    std::stop_source stop;
    auto call = make_async([](std::stop_token const& s, int n) { return s.stop_requested() ? n : -n; }, 3);
    auto other = make_async([](std::stop_token s) { return s.stop_requested(); });
    EXPECT_EQ(other.entry(stop.get_token()), pool_end::completed);
    EXPECT_FALSE(other.result.get({}).value());
    stop.request_stop();
    EXPECT_EQ(call.entry(stop.get_token()), pool_end::completed);
    EXPECT_EQ(call.result.get({}).value(), 3);
}

TEST(future, holds_copies_of_what_the_call_is_given) {
    std::string word = "before";
    auto call = make_async([](std::string const& s) { return s; }, word);
    word = "after";
    EXPECT_EQ(call.entry({}), pool_end::completed);
    EXPECT_EQ(call.result.get({}).value(), "before");
}

TEST(future, what_cannot_be_called_or_destroyed_quietly_is_no_call) {
    struct loud {
        void operator()() const {}
        ~loud() noexcept(false) {}
    };
    auto const plain = [] {};
    auto const of_int = [](int) {};
    static_assert(asynchronous_call<decltype(plain)> && asynchronous_call<decltype(of_int), int>);
    static_assert(!asynchronous_call<loud> && !asynchronous_call<decltype(of_int)> && !asynchronous_call<decltype(plain), int>);
    static_assert(!std::is_copy_constructible_v<future<int>> && std::is_nothrow_move_constructible_v<future<int>>);
    static_assert(sizeof(future<int>) == sizeof(void*) && sizeof(job_entry) == sizeof(void*));
}

// ---- validity

TEST(future, is_empty_until_it_gets_a_call) {
    future<int> f;
    EXPECT_FALSE(f.valid());
    auto call = make_async([] { return 1; });
    f = std::move(call.result);
    EXPECT_TRUE(f.valid());
    EXPECT_FALSE(call.result.valid());  // NOLINT: what is left behind is promised
    future<int> other{std::move(f)};
    EXPECT_FALSE(f.valid());  // NOLINT
    EXPECT_EQ(call.entry({}), pool_end::completed);
    EXPECT_EQ(other.get({}).value(), 1);
}

TEST(future, lets_go_of_its_call_when_it_gets_another) {
    auto first = make_async([] { return 1; });
    auto second = make_async([] { return 2; });
    first.result = std::move(second.result);
    EXPECT_EQ(first.entry({}), pool_end::completed);
    EXPECT_EQ(second.entry({}), pool_end::completed);
    EXPECT_EQ(first.result.get({}).value(), 2);
}

TEST(future, costs_one_allocation) {
    auto const in_all = [](auto&& f) {
        std::size_t n = 0;
        for (;; ++n) {
            faults::arm(n + 1, fault::operator_new);
            bool threw = false;
            try {
                f();
            } catch (std::bad_alloc const&) {
                threw = true;
            }
            faults::disarm();
            if (!threw) {
                return n;
            }
        }
    };
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    EXPECT_EQ(in_all([] {
                  std::uint64_t const a[5] = {1, 2, 3, 4, 5};
                  auto call = make_async([a](std::uint64_t b) { return a[0] + b; }, 7);
                  EXPECT_EQ(call.entry({}), pool_end::completed);
                  EXPECT_EQ(call.result.get({}).value(), 8U);
              }),
              1U);
}

TEST(future, an_allocation_that_fails_or_an_argument_that_cannot_be_copied_leaves_nothing) {
    struct heavy {
        explicit heavy(int& n) : here(n) {}
        heavy(heavy const& other) : here(*other.here.count) { throw std::runtime_error{"too heavy"}; }
        presence here;
    };
    int count = 0;
    {
        heavy const h{count};
        EXPECT_THROW(static_cast<void>(make_async([](heavy const&) {}, h)), std::runtime_error);
        EXPECT_EQ(count, 1);
    }
    EXPECT_EQ(count, 0);
}

// ---- what throws on the way

struct throws_when_moved {
    throws_when_moved() = default;
    throws_when_moved(throws_when_moved&& other) : left(other.left) {
        if (left-- == 0) {
            throw std::runtime_error{"cannot move"};
        }
    }
    throws_when_moved& operator=(throws_when_moved&&) = delete;
    int left = 100;
};

TEST(future, what_moving_the_value_throws_is_its_answer) {
    // Into the state
    throws_when_moved source;
    source.left = 0;
    auto in = make_async([&]() -> throws_when_moved&& { return std::move(source); });
    EXPECT_EQ(in.entry({}), pool_end::failed);
    EXPECT_EQ(words_of(in.result.get({})), "cannot move");
    // Out of it
    source.left = 1;
    auto out = make_async([&]() -> throws_when_moved&& { return std::move(source); });
    EXPECT_EQ(out.entry({}), pool_end::completed);
    EXPECT_TRUE(out.result.ready());
    EXPECT_EQ(words_of(out.result.get({})), "cannot move");
    EXPECT_FALSE(out.result.valid());
}

TEST(future, a_callable_that_throws_when_it_moves_is_refused_before_anything_has_begun) {
    struct awkward {
        explicit awkward(int& n) : here(n) {}
        awkward(awkward&& other) : here(std::move(other.here)) { throw std::runtime_error{"cannot move"}; }
        awkward& operator=(awkward&&) = delete;
        void operator()() const {}
        presence here;
    };
    int count = 0;
    {
        awkward f{count};
        EXPECT_THROW(static_cast<void>(make_async(std::move(f))), std::runtime_error);
    }
    EXPECT_EQ(count, 0);
}

TEST(future, an_exception_that_nobody_waits_for_is_thrown_on) {
    auto call = make_async([]() -> int { throw std::runtime_error{"lost"}; });
    call.result = {};
    EXPECT_THROW(static_cast<void>(call.entry({})), std::runtime_error);
    // Also when it was waited for before
    auto other = make_async([]() -> int { throw std::runtime_error{"lost"}; });
    EXPECT_FALSE(other.result.wait_for(0ns));
    other.result = {};
    EXPECT_THROW(static_cast<void>(other.entry({})), std::runtime_error);
    // But not a refusal, nor a value
    auto quiet = make_async([] { return 1; });
    quiet.result = {};
    EXPECT_EQ(quiet.entry({}), pool_end::completed);
}

// ---- what a call holds

TEST(future, the_callable_has_gone_before_the_answer_is_there) {
    int count = 0;
    auto call = make_async([p = presence{count}] { return 1; });
    EXPECT_EQ(count, 1);
    EXPECT_EQ(call.entry({}), pool_end::completed);
    EXPECT_EQ(count, 0);
    EXPECT_TRUE(call.result.ready());
}

TEST(future, the_answer_goes_with_the_last_who_could_look) {
    int count = 0;
    for (int order = 0; order < 4; ++order) {
        {
            auto call = make_async([&] { return presence{count}; });
            if (order == 1) {
                EXPECT_FALSE(call.result.wait_for(0ns));
            }
            if (order == 2) {
                call.result = {};
            }
            EXPECT_EQ(call.entry({}), pool_end::completed);
            EXPECT_EQ(count, order == 2 ? 0 : 1);
            if (order == 3) {
                auto const taken = call.result.get({});
                EXPECT_EQ(count, 1);
            }
        }
        EXPECT_EQ(count, 0) << order;
    }
}

TEST(future, a_call_that_is_never_made_frees_what_it_holds) {
    int count = 0;
    {
        auto call = make_async([p = presence{count}] {});
        EXPECT_EQ(count, 1);
    }
    EXPECT_EQ(count, 0);
    {
        auto call = make_async([p = presence{count}] {});
        call.result = {};
        EXPECT_EQ(count, 1);
        call.entry = {};
        EXPECT_EQ(count, 0);
    }
}

// ---- waits

TEST(future, a_wait_for_a_call_that_is_not_made_ends_at_its_deadline) {
    auto call = make_async([] { return 1; });
    EXPECT_FALSE(call.result.wait_until(at_once));
    EXPECT_FALSE(call.result.wait_for(1ns));
    EXPECT_FALSE(call.result.wait_for(-1h));
    EXPECT_TRUE(is(call.result.get_for(1us), refusal::timed_out));
    EXPECT_TRUE(call.result.valid());
    EXPECT_EQ(call.entry({}), pool_end::completed);
    EXPECT_TRUE(call.result.wait_until(at_once));
    EXPECT_TRUE(call.result.wait_for(std::chrono::nanoseconds::max()));
    EXPECT_EQ(call.result.get_for(0ns).value(), 1);
}

TEST(future, a_stop_ends_a_wait_and_leaves_the_call) {
    std::stop_source stop;
    auto call = make_async([] { return 1; });
    stop.request_stop();
    EXPECT_FALSE(call.result.wait_until(never, stop.get_token()));
    EXPECT_TRUE(is(call.result.get(stop.get_token()), refusal::stopped));
    EXPECT_TRUE(call.result.valid());
    EXPECT_EQ(call.entry(stop.get_token()), pool_end::completed);
    EXPECT_EQ(call.result.get(stop.get_token()).value(), 1);  // it is there, so there is no wait to stop
}

TEST(future, the_own_answer_of_a_call_is_told_from_the_end_of_a_wait) {
    auto call = make_async([] { return 1; });
    call.entry.refuse(refusal::timed_out);
    EXPECT_TRUE(is(call.result.get({}), refusal::timed_out));
    EXPECT_FALSE(call.result.valid());
}

// That they end at all shows that nobody's wake-up was lost.
TEST(future, the_end_of_a_call_wakes_who_waits) {
    for (int i = 0; i < 300; ++i) {
        auto call = make_async([i] { return i; });
        crew one;
        one.start([entry = std::make_shared<job_entry>(std::move(call.entry))] { (*entry)({}); });
        EXPECT_EQ(call.result.get({}).value(), i);
        one.join();
    }
}

TEST(future, all_who_wait_are_woken) {
    for (int i = 0; i < 50; ++i) {
        auto call = make_async([i] { return i; });
        auto const& shared = call.result;
        crew all;
        std::atomic<int> woken{0};
        for (int n = 0; n < 3; ++n) {
            all.start([&] { woken += shared.wait_until(never) ? 1 : 0; });
        }
        switch (i % 3) {
            case 0: static_cast<void>(call.entry({})); break;
            case 1: EXPECT_TRUE(call.result.cancel()); break;
            default: call.entry.refuse(refusal::dropped); break;
        }
        all.join();
        EXPECT_EQ(woken, 3);
    }
}

TEST(future, a_stop_wakes_who_waits) {
    for (int i = 0; i < 50; ++i) {
        auto call = make_async([i] { return i; });
        std::stop_source stop;
        crew one;
        one.start([&] { stop.request_stop(); });
        EXPECT_TRUE(is(call.result.get(stop.get_token()), refusal::stopped));
        one.join();
        EXPECT_TRUE(call.result.valid());
    }
}

TEST(future, one_who_gave_up_waiting_may_wait_again) {
    for (int i = 0; i < 100; ++i) {
        auto call = make_async([i] { return i; });
        EXPECT_FALSE(call.result.wait_for(0ns));
        crew one;
        one.start([entry = std::make_shared<job_entry>(std::move(call.entry))] { (*entry)({}); });
        EXPECT_EQ(call.result.get({}).value(), i);
        one.join();
    }
}

TEST(future, another_way_to_wait_is_told_when_it_is_done) {
    auto call = make_async([] { return 5; });
    std::stop_source stop;
    auto const never_done = [&](auto const& done, auto&, auto, auto const&) { return done(); };
    EXPECT_TRUE(is(future_access::get_helping(call.result, never, stop.get_token(), never_done), refusal::timed_out));
    stop.request_stop();
    EXPECT_TRUE(is(future_access::get_helping(call.result, never, stop.get_token(), never_done), refusal::stopped));
    EXPECT_TRUE(call.result.valid());
    auto const helps = [&](auto const& done, auto&, auto, auto const&) {
        EXPECT_FALSE(done());
        static_cast<void>(call.entry({}));
        return done();
    };
    EXPECT_EQ(future_access::get_helping(call.result, never, {}, helps).value(), 5);
    EXPECT_FALSE(call.result.valid());
    // One that sleeps is woken, though the future itself has never been waited for.
    auto asleep = make_async([] { return 7; });
    crew one;
    auto const sleeps = [&](auto const& done, auto& events, auto, auto const& token) {
        one.start([&] {
            for (auto const end = clock_type::now() + patience; events.waiters() == 0 && clock_type::now() < end;) {
                std::this_thread::yield();
            }
            static_cast<void>(asleep.entry({}));
        });
        return weir::detail::await(events, done, clock_type::now() + patience, token) == weir::detail::wait_result::notified;
    };
    auto const begin = clock_type::now();
    EXPECT_EQ(future_access::get_helping(asleep.result, never, {}, sleeps).value(), 7);
    EXPECT_LT(clock_type::now() - begin, patience);
    one.join();
    auto at_hand = make_async([] { return 6; });
    static_cast<void>(at_hand.entry({}));
    EXPECT_EQ(future_access::get_helping(at_hand.result, never, {}, helps).value(), 6);
}

// ---- cancel

TEST(future, a_cancelled_call_is_not_made_and_says_so) {
    int count = 0;
    int calls = 0;
    auto call = make_async([&, p = presence{count}] { ++calls; });
    EXPECT_TRUE(call.result.cancel());
    EXPECT_EQ(count, 0);
    EXPECT_TRUE(call.result.ready());
    EXPECT_FALSE(call.result.cancel());
    EXPECT_EQ(call.entry({}), pool_end::cancelled);
    EXPECT_EQ(calls, 0);
    EXPECT_TRUE(is(call.result.get({}), refusal::cancelled));
}

TEST(future, what_is_cancelled_goes_with_the_last_of_future_and_entry) {
    for (int order = 0; order < 6; ++order) {
        auto call = make_async([s = std::string(100, 'x')] { return s; });
        if (order >= 3) {
            EXPECT_FALSE(call.result.wait_for(0ns));
        }
        EXPECT_TRUE(call.result.cancel());
        switch (order % 3) {
            case 0:
                call.result = {};
                EXPECT_EQ(call.entry({}), pool_end::cancelled);
                break;
            case 1:
                EXPECT_EQ(call.entry({}), pool_end::cancelled);
                EXPECT_TRUE(is(call.result.get({}), refusal::cancelled));
                break;
            default:
                call.entry.refuse(refusal::dropped);
                EXPECT_TRUE(is(call.result.get({}), refusal::cancelled));
                break;
        }
    }
}

TEST(future, a_call_that_has_begun_cannot_be_cancelled) {
    future<int>* mine = nullptr;
    auto call = make_async([&] { return mine->cancel() ? 1 : 2; });
    mine = &call.result;
    EXPECT_EQ(call.entry({}), pool_end::completed);
    EXPECT_FALSE(call.result.cancel());
    EXPECT_EQ(call.result.get({}).value(), 2);
}

TEST(future, a_cancel_and_the_worker_agree_on_who_was_first) {
    int cancelled = 0;
    for (int i = 0; i < 2000; ++i) {
        int calls = 0;
        auto call = make_async([&calls, s = std::make_unique<int>(i)] {
            ++calls;
            return *s;
        });
        std::atomic<int> ready{0};
        auto const meet = [&] {
            ready.fetch_add(1);
            while (ready.load() < 2) {
                std::this_thread::yield();
            }
        };
        pool_end end{};
        std::thread worker([&] {
            meet();
            end = call.entry({});
        });
        meet();
        bool const won = call.result.cancel();
        auto const answer = call.result.get({});
        worker.join();
        cancelled += won ? 1 : 0;
        ASSERT_EQ(calls, won ? 0 : 1);
        ASSERT_EQ(end, won ? pool_end::cancelled : pool_end::completed);
        ASSERT_TRUE(won ? is(answer, refusal::cancelled) : answer.has_value() && *answer == i);
    }
    RecordProperty("cancelled", cancelled);
}

TEST(future, a_future_that_goes_and_its_call_leave_nothing_behind) {
    for (int i = 0; i < 1000; ++i) {
        auto call = make_async([s = std::make_unique<int>(i)] { return std::make_unique<int>(*s); });
        std::thread worker([entry = std::move(call.entry)]() mutable { static_cast<void>(entry({})); });
        if (i % 4 == 1) {
            call.result.wait_for(0ns);
        } else if (i % 4 == 2) {
            static_cast<void>(call.result.cancel());
        } else if (i % 4 == 3) {
            EXPECT_TRUE(call.result.wait_until(never));
        }
        call.result = {};
        worker.join();
    }
}

// ---- broken

TEST(future, a_call_that_its_pool_lets_go_is_closed) {
    auto call = make_async([] { return 1; });
    { job_entry const gone{std::move(call.entry)}; }
    EXPECT_TRUE(call.result.ready());
    EXPECT_TRUE(is(call.result.get({}), refusal::closed));
}

TEST(future, a_call_that_is_refused_says_why) {
    for (auto const why : {refusal::queue_full, refusal::dropped, refusal::expired, refusal::closed, refusal::cancelled}) {
        int count = 0;
        auto call = make_async([p = presence{count}] { return 1; });
        call.entry.refuse(why);
        EXPECT_EQ(count, 0);
        EXPECT_FALSE(static_cast<bool>(call.entry));
        call.entry.refuse(refusal::stopped);  // no second time
        EXPECT_EQ(call.entry({}), pool_end::cancelled);
        EXPECT_FALSE(call.result.cancel());
        EXPECT_TRUE(is(call.result.get({}), why));
    }
}

TEST(future, a_call_is_a_task) {
    auto call = make_async([](int a) { return a + 1; }, 1);
    weir::task t{std::move(call.entry)};
    EXPECT_EQ(t.run({}), pool_end::completed);
    EXPECT_EQ(call.result.get({}).value(), 2);
    auto dropped = make_async([] {});
    weir::task u{std::move(dropped.entry)};
    u.abandon(refusal::dropped);
    EXPECT_TRUE(is(dropped.result.get({}), refusal::dropped));
}

// ---- std::future

TEST(future, becomes_a_std_future) {
    auto before = make_async([] { return 1; });
    auto a = std::move(before.result).to_std();
    EXPECT_FALSE(before.result.valid());  // NOLINT: promised
    EXPECT_EQ(a.wait_for(0s), std::future_status::timeout);
    EXPECT_EQ(before.entry({}), pool_end::completed);
    EXPECT_EQ(a.get(), 1);

    auto after = make_async([] { return std::make_unique<int>(2); });
    EXPECT_EQ(after.entry({}), pool_end::completed);
    EXPECT_EQ(*std::move(after.result).to_std().get(), 2);

    auto waited = make_async([] { return 3; });
    EXPECT_FALSE(waited.result.wait_for(0ns));
    auto c = std::move(waited.result).to_std();
    EXPECT_EQ(waited.entry({}), pool_end::completed);
    EXPECT_EQ(c.get(), 3);

    int number = 4;
    auto reference = make_async([&]() -> int& { return number; });
    auto d = std::move(reference.result).to_std();
    static_assert(std::is_same_v<decltype(d), std::future<int&>>);
    EXPECT_EQ(reference.entry({}), pool_end::completed);
    EXPECT_EQ(&d.get(), &number);

    auto nothing = make_async([] {});
    auto e = std::move(nothing.result).to_std();
    EXPECT_EQ(nothing.entry({}), pool_end::completed);
    EXPECT_NO_THROW(e.get());
}

TEST(future, a_std_future_throws_what_the_call_threw_or_its_refusal) {
    auto thrown = make_async([]() -> int { throw std::runtime_error{"lost"}; });
    auto a = std::move(thrown.result).to_std();
    EXPECT_EQ(thrown.entry({}), pool_end::failed);
    EXPECT_THROW(a.get(), std::runtime_error);

    auto cancelled = make_async([] { return 1; });
    EXPECT_TRUE(cancelled.result.cancel());
    auto b = std::move(cancelled.result).to_std();
    cancelled.entry = {};
    try {
        static_cast<void>(b.get());
        FAIL() << "a cancelled call has no value";
    } catch (weir::rejected_error const& e) {
        EXPECT_EQ(e.why().reason, refusal::cancelled);
    }

    auto closed = make_async([] { return 1; });
    auto c = std::move(closed.result).to_std();
    closed.entry = {};
    EXPECT_THROW(c.get(), weir::rejected_error);

    auto heavy = make_async([] { return throws_when_moved{}; });
    auto d = std::move(heavy.result).to_std();
    EXPECT_EQ(heavy.entry({}), pool_end::completed);
    EXPECT_NO_THROW(static_cast<void>(d.wait_for(0s)));
}

TEST(future, an_allocation_that_fails_leaves_it_valid) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is the sanitizer's";
    }
    std::size_t failed = 0;
    for (std::size_t n = 1;; ++n) {
        auto call = make_async([] { return 1; });
        std::future<int> f;
        faults::arm(n, fault::operator_new);
        try {
            f = std::move(call.result).to_std();
        } catch (std::bad_alloc const&) {
        }
        faults::disarm();
        static_cast<void>(call.entry({}));
        if (f.valid()) {
            EXPECT_EQ(f.get(), 1);
            break;
        }
        ++failed;
        ASSERT_TRUE(call.result.valid());  // NOLINT: promised
        EXPECT_EQ(call.result.get({}).value(), 1);
    }
    EXPECT_GE(failed, 2U);
}

TEST(future, becomes_a_std_future_while_it_is_made_ready) {
    for (int i = 0; i < 500; ++i) {
        auto call = make_async([i] { return i; });
        std::thread worker([entry = std::move(call.entry)]() mutable { static_cast<void>(entry({})); });
        EXPECT_EQ(std::move(call.result).to_std().get(), i);
        worker.join();
    }
}

}  // namespace
}  // namespace weir_test
