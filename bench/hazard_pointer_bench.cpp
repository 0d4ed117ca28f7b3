// weir (BSL-1.0). bench hazard_pointer: what it costs a reader to keep an object alive while it looks at it.
#include <weir/base/hazard_pointer.hpp>

#include "harness.hpp"

#include <memory>
#include <mutex>
#include <shared_mutex>

namespace bench {
namespace {

constexpr const char* suite_name = "hazard_pointer";

const load protect{.id = "protect",
                   .title = "reading a shared object that may be replaced",
                   .threads = {1, 2},
                   .note =
                       "All threads read the same object; nobody replaces it meanwhile. weir: protect with a hazard "
                       "pointer that the thread keeps, in the domain's default mode; weir_membarrier, weir_seq_cst: "
                       "in that mode; weir_made_anew: a hazard pointer taken and given back for each read. shared_ptr: "
                       "copied and destroyed, without what a writer would need besides. shared_mutex: locked shared. "
                       "unprotected: a plain load, the floor.",
                   .unit = "ns/read"};

struct object : weir::hazard_pointer_obj_base<object> {
    std::uint64_t value = 1;
};

struct world {
    object one;
    std::atomic<object*> current{&one};
    std::shared_ptr<const object> counted = std::make_shared<object>();
    std::shared_mutex lock;
};

template <class Prepare>
sample read_all(std::size_t reads, int threads, Prepare prepare) {
    std::atomic<std::uint64_t> sum{0};
    const std::size_t share = reads / static_cast<std::size_t>(threads);
    const double seconds = parallel<no_scope>(threads, [&](int) {
        auto read = prepare();
        std::uint64_t mine = 0;
        for (std::size_t i = 0; i != share; ++i) {
            mine += read();
        }
        sum += mine;
    });
    const std::uint64_t done = static_cast<std::uint64_t>(share) * static_cast<std::uint64_t>(threads);
    if (sum != done) {
        throw std::runtime_error("not every read saw the object");
    }
    return {seconds, static_cast<double>(done)};
}

/// Reads with a hazard pointer that lives as long as the thread's loop.
auto kept(world& w, weir::hazard_pointer_domain& domain) {
    return [&w, &domain] {
        return [&w, hazard = weir::make_hazard_pointer(domain)]() mutable { return hazard.protect(w.current)->value; };
    };
}

/// One domain for each mode, for ever: a domain outlives the hazard pointers that threads have taken from it.
weir::hazard_pointer_domain& domain_in(weir::hazard_pointer_mode mode) {
    static std::map<weir::hazard_pointer_mode, weir::hazard_pointer_domain> domains;
    return domains.try_emplace(mode, mode).first->second;
}

void add_cases(run& r, int round) {
    const auto w = std::make_shared<world>();
    const std::size_t reads = r.opt().smoke ? 1000 : 1'000'000;
    for (const int threads : protect.threads) {
        turns rows;
        const auto row = [&](const char* name, auto prepare) {
            rows.add([&r, w, name, threads, round, reads, prepare] {
                r.add(suite_name, protect, threads, name, round,
                      [w, reads, threads, prepare] { return read_all(reads, threads, prepare); });
            });
        };
        row(ours, kept(*w, weir::hazard_pointer_default_domain()));
        row("weir_made_anew",
            [&w = *w] { return [&w] { return weir::make_hazard_pointer().protect(w.current)->value; }; });
        for (const auto mode : {weir::hazard_pointer_mode::membarrier, weir::hazard_pointer_mode::seq_cst}) {
            if (weir::hazard_pointer_domain::supports(mode)) {
                const bool strict = mode == weir::hazard_pointer_mode::seq_cst;
                row(strict ? "weir_seq_cst" : "weir_membarrier", kept(*w, domain_in(mode)));
            }
        }
        row("shared_ptr", [&w = *w] {
            return [&w] {
                const std::shared_ptr<const object> copy = w.counted;
                return copy->value;
            };
        });
        row("shared_mutex", [&w = *w] {
            return [&w] {
                const std::shared_lock hold(w.lock);
                return w.one.value;
            };
        });
        row("unprotected", [&w = *w] {
            return [&w] { return w.current.load(std::memory_order_acquire)->value; };  // acquire: as protect's
        });
        rows.take(round);
    }
}

}  // namespace

suite hazard_pointer_suite() {
    const auto add = [](run& r) {
        r.declare(protect);
        for (int round = 0; round != r.rounds(); ++round) {
            add_cases(r, round);
        }
    };
    const auto tables = [](const run& r) {
        std::vector<table> all;
        if (!r.out().peers(protect.id).empty()) {
            all.push_back(load_table(r.out(), protect));
        }
        return all;
    };
    return {suite_name, add, tables};
}

}  // namespace bench
