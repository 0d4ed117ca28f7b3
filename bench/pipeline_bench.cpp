// weir (BSL-1.0). bench pipeline: a call through three layers, beside the same by hand and with mutexes, and what a look at the clock takes.
#include "flow_catalog.hpp"
#include "flow_peers.hpp"
#include "flow_storm.hpp"
#include "harness.hpp"

#include <benchmark/benchmark.h>

namespace bench::flow {
namespace {

template <class Clock>
struct guards {
    weir::circuit_breaker<> breaker{{.failures = too_many}};
    weir::token_bucket<Clock> bucket{{.limit = 10, .burst = 1'000'000'000}};
    typename weir::token_bucket<Clock>::time_point first = bucket.now();
    weir::bulkhead places{{.max_concurrent = 64}};

    guards() { need(bucket.try_acquire(1, first), "not even the first"); }
    void check(u64 calls) {
        must_be("admitted", places.stats().admitted, calls);
        must_be("tokens left", static_cast<u64>(bucket.balance(first)), 1'000'000'000 - 1 - calls);
        need(breaker.current() == weir::breaker_state::closed, "the breaker is not closed any more");
    }
};

template <class Clock>
counted call_through_pipeline(const run& r, int threads) {
    guards<Clock> g;
    const auto p = g.breaker.policy() | g.bucket.policy() | g.places.policy();
    const counted c = call_through(r, threads, [&p](std::size_t i) { return *p([i] { return work(i); }); });
    g.check(c.calls);
    return c;
}

weir::outcome<u64> nested_by_hand(guards<steady>& g, u64 x) {
    auto leave = g.breaker.acquire();
    if (!leave.has_value()) {
        return weir::unexpected<weir::failure>{weir::failure{leave.error()}};
    }
    if (const auto d = g.bucket.allow(); !d) {
        leave->ignore();
        return weir::unexpected<weir::failure>{weir::failure{d.rejection()}};
    }
    auto place = g.places.try_acquire();
    if (!place.has_value()) {
        leave->ignore();
        return weir::unexpected<weir::failure>{weir::failure{place.error()}};
    }
    auto result = weir::outcome_of(work, x);
    place->release();
    leave->report(weir::default_verdict{}(result));
    return result;
}

/// What people write who have a mutex in each part.
struct mutex_guards {
    mutex_breaker breaker;
    one_mutex_bucket<false> bucket{stock::plenty};
    mutex_semaphore places;

    weir::outcome<u64> call(u64 x) {
        u64 generation = 0;
        if (!breaker.before(generation)) {
            return weir::unexpected<weir::failure>{weir::failure{weir::rejected{weir::refusal::breaker_open}}};
        }
        if (!bucket.take()) {
            return weir::unexpected<weir::failure>{weir::failure{weir::rejected{weir::refusal::rate_limited}}};
        }
        places.acquire();
        auto result = weir::outcome_of(work, x);
        places.release();
        breaker.after(generation, !result.has_value());
        return result;
    }
};

}  // namespace

void add_pipeline(run& r, const char* suite, int round) {
    for (const int threads : r.threads(layers)) {
        rows all(r, suite, layers, threads, round);
        all.add(ours, call_through_pipeline<steady>);
        all.add("weir_coarse", call_through_pipeline<weir::coarse_clock>);
        all.add("weir_empty", [](const run& run_, int n) {
            constexpr weir::pipeline<> p;
            return call_through(run_, n, [&p](std::size_t i) { return *p([i] { return work(i); }); });
        });
        all.add("by_hand", [](const run& run_, int n) {
            guards<steady> g;
            const counted c = call_through(run_, n, [&g](std::size_t i) { return *nested_by_hand(g, i); });
            g.check(c.calls);
            return c;
        });
        all.add("mutexes", [](const run& run_, int n) {
            mutex_guards g;
            const counted c = call_through(run_, n, [&g](std::size_t i) { return *g.call(i); });
            g.breaker.check_closed(c.calls, 0);
            g.bucket.check(c.calls);
            g.places.check(c.calls);
            return c;
        });
        all.add("plain", call_plainly);
    }
    for (const int threads : r.threads(clocks)) {
        rows all(r, suite, clocks, threads, round);
        const auto look = [](auto now) {
            return [now](const run& run_, int n) {
                return storm(run_, n, batch, [now](std::size_t) {
                    benchmark::DoNotOptimize(now());
                    return true;
                });
            };
        };
        all.add("steady_clock", look([] { return steady::now(); }));
        all.add("weir_coarse_clock", look([] { return weir::coarse_clock::now(); }));
        all.add("injected", look([] { return given_clock{}.now(); }));
    }
}

}  // namespace bench::flow
