// weir (BSL-1.0). bench retry: calls that succeed at once, and budgets, beside what people write by hand.
#include "flow_catalog.hpp"
#include "flow_peers.hpp"
#include "flow_storm.hpp"
#include "harness.hpp"

#include <chrono>
#include <memory>
#include <thread>

namespace bench::flow {
namespace {

struct tell_success {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        const counted c = storm(r, threads, batch, [p = it.get()](std::size_t) {
            p->succeeded();
            return true;
        });
        it->check();
        return c;
    }
};
struct tell_both {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        const counted c = storm(r, threads, batch, [p = it.get()](std::size_t) {
            p->failed();
            benchmark::ClobberMemory();
            p->succeeded();
            return true;
        });
        it->check();
        return c;
    }
};

/// What people write: three attempts, and a sleep that grows.
u64 retry_by_hand(u64 x) {
    for (int attempt = 1;; ++attempt) {
        try {
            return work(x);
        } catch (...) {
            if (attempt == 3) {
                throw;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds{10 << attempt});
        }
    }
}

void add_budget_parts(run& r, const char* suite, int round) {
    parts all(r, suite, budget_parts, budget_instructions, round);
    all.add(
        ours, [] { return std::make_unique<weir_budget>(); },
        [](weir_budget& p) {
            p.succeeded();
            return true;
        });
    all.add(
        atomic_budget::id, [] { return std::make_unique<atomic_budget>(); },
        [](atomic_budget& p) {
            p.succeeded();
            return true;
        });
    all.add_one_load();
    all.add_loop();
}

}  // namespace

void add_retry(run& r, const char* suite, int round) {
    for (const int threads : r.threads(first_try)) {
        rows all(r, suite, first_try, threads, round);
        all.add(ours, [](const run& run_, int n) {
            weir::retry again;
            return call_through(run_, n, [p = &again](std::size_t i) { return *p->run([i] { return work(i); }).last; });
        });
        all.add("weir_budget", [](const run& run_, int n) {
            weir::token_retry_budget budget;
            weir::retry<steady, weir::thread_sleeper, weir::token_retry_budget> again{{}, budget};
            return call_through(run_, n, [p = &again](std::size_t i) { return *p->run([i] { return work(i); }).last; });
        });
        all.add("by_hand", [](const run& run_, int n) {
            return call_through(run_, n, [](std::size_t i) { return retry_by_hand(i); });
        });
        all.add("plain", call_plainly);
    }
    for (const int threads : r.threads(full_budget)) {
        rows all(r, suite, full_budget, threads, round);
        all.add<weir_budget>(ours, tell_success{});
        all.add<weir_window_budget>("weir_window", tell_success{});
        all.add<mutex_budget>(tell_success{});
        all.add<atomic_budget>(tell_success{});
    }
    for (const int threads : r.threads(used_budget)) {
        rows all(r, suite, used_budget, threads, round);
        all.add<weir_budget>(ours, tell_both{});
        all.add<mutex_budget>(tell_both{});
        all.add<atomic_budget>(tell_both{});
    }
    if (early(round)) {
        add_budget_parts(r, suite, round);
    }
}

}  // namespace bench::flow
