// weir (BSL-1.0). bench circuit_breaker: calls through closed breakers, and refused by open ones, beside a mutex and three atomics.
#include "flow_catalog.hpp"
#include "flow_peers.hpp"
#include "flow_storm.hpp"
#include "harness.hpp"

#include <memory>

namespace bench::flow {
namespace {

struct through_closed {
    bool some_fail;
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        const auto& failed = all_inputs(r).failed;
        const counted c = some_fail
                              ? storm(r, threads, failed.size(),
                                      [p = it.get(), f = failed.data()](std::size_t i) { return p->call(f[i] != 0); })
                              : storm(r, threads, batch, [p = it.get()](std::size_t) { return p->call(false); });
        must_be("let through", c.yes, c.calls);
        it->check_closed(c.calls, some_fail ? c.calls / 64 : 0);
        return c;
    }
};

struct refused_by_open {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        it->open();
        const counted c = storm(r, threads, batch, [p = it.get()](std::size_t) { return p->call(false); });
        must_be("let through", c.yes, 0);
        it->check_open(c.calls);
        return c;
    }
};

/// weir's own way to make a call, instead of a permit by hand.
struct weir_calls : weir_breaker<> {
    bool call(bool) {
        return it.try_call([] { return 1; }).has_value();
    }
    void check_closed(u64, u64) {
        need(it.current() == weir::breaker_state::closed, "the breaker is not closed any more");
    }
};

void add_breakers(run& r, const char* suite, int round) {
    using weir::count_window;
    using weir::time_window;
    for (const int threads : r.threads(closed_calls)) {
        rows all(r, suite, closed_calls, threads, round);
        const through_closed job{false};
        all.add<weir_breaker<>>(ours, job);
        all.add<weir_calls>("weir_try_call", job);
        all.add<weir_breaker<count_window>>("weir_count_window", job);
        all.add<weir_breaker<time_window>>("weir_time_window", job);
        all.add<weir_breaker<time_window, given_clock>>("weir_time_window_injected", job);
        all.add<mutex_breaker>(job);
        all.add<seed_breaker>(job);
        all.add_floor();
    }
    for (const int threads : r.threads(failing_calls)) {
        rows all(r, suite, failing_calls, threads, round);
        const through_closed job{true};
        all.add<weir_breaker<>>(ours, job);
        all.add<weir_breaker<count_window>>("weir_count_window", job);
        all.add<weir_breaker<time_window>>("weir_time_window", job);
        all.add<weir_breaker<time_window, given_clock>>("weir_time_window_injected", job);
        all.add<mutex_breaker>(job);
        all.add<seed_breaker>(job);
    }
    for (const int threads : r.threads(open_calls)) {
        rows all(r, suite, open_calls, threads, round);
        all.add<weir_breaker<>>(ours, refused_by_open{});
        all.add<weir_breaker<weir::consecutive_failures, given_clock>>("weir_injected", refused_by_open{});
        all.add<mutex_breaker>(refused_by_open{});
        all.add<seed_breaker>(refused_by_open{});
        all.add_floor();
    }
}

using opened = weir_breaker<weir::consecutive_failures, given_clock>;

[[gnu::noinline]] weir::expected<decltype(opened::it)::permit, weir::rejected> answer_of(weir::rejected why) {
    return weir::unexpected<weir::rejected>{why};
}

/// What a refusal consists of, each part alone.
void add_refusal_parts(run& r, const char* suite, int round) {
    const auto open_breaker = [] {
        auto it = std::make_unique<opened>();
        it->open();
        return it;
    };
    parts all(r, suite, refusal_parts, refusal_instructions, round);
    all.add(ours, open_breaker, [](opened& p) { return p.call(false); });
    all.add("question", open_breaker, [](opened& p) { return p.it.would_admit(); });
    all.add_counter();
    all.add(
        "answer", [] { return std::make_unique<weir::rejected>(weir::refusal::breaker_open, an_hour); },
        [](weir::rejected& why) { return answer_of(why).has_value(); });
    all.add_one_load();
    all.add_loop();
}

}  // namespace

void add_circuit_breaker(run& r, const char* suite, int round) {
    add_breakers(r, suite, round);
    if (early(round)) {
        add_refusal_parts(r, suite, round);
    }
}

}  // namespace bench::flow
