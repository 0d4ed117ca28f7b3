// weir (BSL-1.0). bench dedup_cache: keys that are known and keys that are new, beside one mutex.
#include "flow_catalog.hpp"
#include "flow_peers.hpp"
#include "flow_storm.hpp"
#include "harness.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

namespace bench::flow {
namespace {

struct all_known {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const inputs& in = all_inputs(r);
        Peer it(4 * in.keys.size(), an_hour);
        for (const u64 key : in.keys) {
            it.take(key);
        }
        const auto& order = in.shuffled;
        counted c =
            storm(r, threads, order.size(), [p = &it, o = order.data()](std::size_t i) { return p->take(o[i]); });
        c.may_allocate = 2 * static_cast<u64>(threads);  // of the first key that is new, too
        // Few keys have more than seven others in their set; who has to go is new when it comes again.
        need(c.yes * 100 <= c.calls, "known keys are new");
        it.check(in.keys.size() + c.calls);
        return c;
    }
};

struct all_new {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        Peer it(weir::dedup_cache_options{}.capacity, std::chrono::milliseconds{1});
        std::atomic<u64> begun{0};
        struct op {
            Peer* it;
            std::atomic<u64>* begun;
            u64 next = 0;
            op(Peer* p, std::atomic<u64>* b) : it(p), begun(b) {}
            op(const op& o)
                : it(o.it), begun(o.begun), next(begun->fetch_add(1) << 40U) {}  // each thread has its own keys
            bool operator()(std::size_t) { return it->take(++next * 0x9e3779b97f4a7c15U); }
        };
        counted c = storm(r, threads, batch, op{&it, &begun});
        c.may_allocate = static_cast<u64>(threads);
        // One in 500 million is taken for another.
        need(c.yes <= c.calls && c.calls - c.yes <= 3, "new keys were known");
        it.check(c.calls);
        return c;
    }
};

void add_dedup(run& r, const char* suite, int round) {
    for (const int threads : r.threads(repeated)) {
        rows all(r, suite, repeated, threads, round);
        all.add<weir_fingerprints>(ours, all_known{});
        all.add<weir_exact_keys>("weir_exact", all_known{});
        all.add<mutex_dedup>(all_known{});
        all.add_floor();
    }
    for (const int threads : r.threads(fresh)) {
        rows all(r, suite, fresh, threads, round);
        all.add<weir_fingerprints>(ours, all_new{});
        all.add<weir_exact_keys>("weir_exact", all_new{});
        all.add<mutex_dedup>(all_new{});
        all.add_floor();
    }
}

// Very many keys.

template <class Peer>
auto full_of_marks(std::size_t n) {
    return full_of_very_many(n, [n] { return std::make_unique<Peer>(4 * n, an_hour); });
}

struct very_many_known {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const std::size_t n = number_of_very_many(r);
        const auto it = full_of_marks<Peer>(n);
        counted c = walk_through(r, threads, *it, n);
        c.may_allocate = 2 * static_cast<u64>(threads);
        need(c.yes * 100 <= c.calls, "known keys are new");
        it->check(n + c.calls);
        return c;
    }
};

void add_very_many(run& r, const char* suite, int round) {
    for (const int threads : r.threads(repeated_1e7)) {
        rows all(r, suite, repeated_1e7, threads, round);
        all.add<weir_fingerprints>(ours, very_many_known{});
        all.add<weir_exact_keys>("weir_exact", very_many_known{});
        all.add<mutex_dedup>(very_many_known{});
        all.add_floor();
    }
    for (const int threads : round == 0 ? r.threads(mark_bytes_1e7) : std::vector<int>{}) {
        const auto row = [&]<class Peer>(const char* peer) {
            r.add_value(suite, mark_bytes_1e7, threads, peer, round, [&r] {
                const std::size_t n = number_of_very_many(r);
                return bytes_for_each(n, [n] { return full_of_marks<Peer>(n); });
            });
        };
        row.operator()<weir_fingerprints>(ours);
        row.operator()<weir_exact_keys>("weir_exact");
        row.operator()<mutex_dedup>(mutex_dedup::id);
    }
}

}  // namespace

void add_dedup_cache(run& r, const char* suite, int round) {
    add_dedup(r, suite, round);
    if (early(round)) {
        add_very_many(r, suite, round);
    }
}

}  // namespace bench::flow
