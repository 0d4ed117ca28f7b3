// weir (BSL-1.0). bench bulkhead: a permit taken and given back, beside a mutex and one atomic.
#include "flow_catalog.hpp"
#include "flow_peers.hpp"
#include "flow_storm.hpp"
#include "harness.hpp"

#include <benchmark/benchmark.h>

#include <atomic>
#include <memory>

namespace bench::flow {
namespace {

struct take_and_return {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        const counted c = storm(r, threads, batch, [p = it.get()](std::size_t) { return p->use(); });
        must_be("let in", c.yes, c.calls);
        it->check(c.calls);
        return c;
    }
};

void add_permits(run& r, const char* suite, int round) {
    for (const int threads : r.threads(permits)) {
        rows all(r, suite, permits, threads, round);
        all.add<weir_bulkhead>(ours, take_and_return{});
        all.add<mutex_semaphore>(take_and_return{});
        all.add<atomic_bulkhead>(take_and_return{});
    }
}

/// One atomic, which counts as weir does who was let in.
struct counting_bulkhead {
    atomic_bulkhead it;
    weir::counter admitted;
    bool use() {
        admitted.add();
        return it.use();
    }
};
/// And never has more in it than its limit, not even for a moment.
struct exact_bulkhead {
    std::atomic<int> used{0};
    weir::counter admitted;
    bool use() {
        int seen = used.load();
        while (seen < 64) {
            if (used.compare_exchange_weak(seen, seen + 1)) {
                admitted.add();
                benchmark::ClobberMemory();
                used.fetch_sub(1);
                return true;
            }
        }
        return false;
    }
};

/// What a permit consists of.
void add_permit_parts(run& r, const char* suite, int round) {
    parts all(r, suite, permit_parts, permit_instructions, round);
    const auto add = [&all]<class Peer>(const char* part) {
        all.add(
            part, [] { return std::make_unique<Peer>(); }, [](Peer& p) { return p.use(); });
    };
    add.operator()<weir_bulkhead>(ours);
    add.operator()<exact_bulkhead>("counting_exact");
    add.operator()<counting_bulkhead>("counting");
    add.operator()<atomic_bulkhead>(atomic_bulkhead::id);
    all.add_counter();
    all.add_loop();
}

}  // namespace

void add_bulkhead(run& r, const char* suite, int round) {
    add_permits(r, suite, round);
    if (early(round)) {
        add_permit_parts(r, suite, round);
    }
}

}  // namespace bench::flow
