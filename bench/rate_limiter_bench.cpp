// weir (BSL-1.0). bench rate_limiter: limiters of one key and of many, beside mutexes, one atomic, and tables behind a lock.
#include "flow_catalog.hpp"
#include "flow_peers.hpp"
#include "flow_storm.hpp"
#include "harness.hpp"

#include <cstddef>
#include <memory>
#include <vector>

namespace bench::flow {
namespace {

// Limiters of one key.

struct ask_one {
    stock kind;
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>(kind);
        counted c = storm(r, threads, batch, [p = it.get()](std::size_t) { return p->take(); });
        if (kind == stock::plenty) {
            Peer::check_yes(c.yes, c.calls);
        } else {
            must_be("let through", c.yes, 0);
        }
        it->check(c.yes * static_cast<u64>(Peer::tokens));
        c.operations *= static_cast<double>(Peer::tokens);
        return c;
    }
};

void add_one_key(run& r, const char* suite, int round, const load& l, stock kind) {
    const ask_one job{kind};
    for (const int threads : r.threads(l)) {
        rows all(r, suite, l, threads, round);
        all.add<weir_bucket<>>(ours, job);
        all.add<weir_bucket<weir::coarse_clock>>("weir_coarse", job);
        all.add<weir_bucket<steady, way::decide>>("weir_decision", job);
        all.add<weir_log>("weir_sliding_log", job);
        all.add<weir_sliding_counter>("weir_sliding_counter", job);
        all.add<one_mutex_bucket<false>>(job);
        all.add<atomic_bucket<false>>(job);
        all.add<one_mutex_log>(job);
        all.add_floor();
    }
}

void add_given_time(run& r, const char* suite, int round, const load& l, stock kind) {
    const ask_one job{kind};
    for (const int threads : r.threads(l)) {
        rows all(r, suite, l, threads, round);
        all.add<weir_bucket<given_clock, way::given>>(ours, job);
        if (kind == stock::plenty) {
            all.add<weir_bucket<given_clock, way::given, 16>>("weir_16_at_once", job);
        }
        all.add<one_mutex_bucket<true>>(job);
        all.add<atomic_bucket<true>>(job);
        all.add_floor();
    }
}

// Limiters of many keys.

template <class Peer>
auto full_of(const std::vector<u64>& all) {
    auto it = std::make_unique<Peer>(all.size());
    for (const u64 key : all) {
        need(it->take(key), "not even the first");
    }
    return it;
}

struct ask_many {
    bool by_zipf;
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const inputs& in = all_inputs(r);
        const auto it = full_of<Peer>(in.keys);
        const auto& order = by_zipf ? in.zipf : in.shuffled;
        counted c =
            storm(r, threads, order.size(), [p = it.get(), o = order.data()](std::size_t i) { return p->take(o[i]); });
        c.may_allocate = static_cast<u64>(threads);
        Peer::check_yes(c.yes, c.calls);
        it->check(in.keys, c.yes + in.keys.size());
        return c;
    }
};

void add_many_keys(run& r, const char* suite, int round, const load& l, bool by_zipf) {
    const ask_many job{by_zipf};
    for (const int threads : r.threads(l)) {
        rows all(r, suite, l, threads, round);
        all.add<weir_keys<2>>(ours, job);
        all.add<weir_keys<4>>("weir_4x", job);
        all.add<weir_keys<2, given_clock>>("weir_injected", job);
        all.add<weir_keys<4, given_clock>>("weir_4x_injected", job);
        all.add<shared_gcra_keys>(job);
        all.add<shared_bucket_keys>(job);
        all.add<mutex_log_keys>(job);
        all.add_floor();
    }
}

void add_bytes(run& r, const char* suite) {
    const auto row = [&]<class Peer>(const char* peer, std::size_t places_per_key) {
        r.add_value(suite, key_bytes, 1, peer, 0, [&r, places_per_key] {
            const std::vector<u64>& all = all_inputs(r).keys;
            return bytes_for_each(all.size() * places_per_key, [&all] { return full_of<Peer>(all); });
        });
    };
    row.operator()<weir_keys<2>>(ours, 2);
    row.operator()<shared_gcra_keys>(shared_gcra_keys::id, 1);
    row.operator()<shared_bucket_keys>(shared_bucket_keys::id, 1);
    row.operator()<mutex_log_keys>(mutex_log_keys::id, 1);
}

// Of very many keys.

template <class Peer>
auto full_of_keys(std::size_t n) {
    return full_of_very_many(n, [n] { return std::make_unique<Peer>(n); });
}

struct ask_very_many {
    template <class Peer>
    counted measure(const run& r, int threads) const {
        const std::size_t n = number_of_very_many(r);
        const auto it = full_of_keys<Peer>(n);
        counted c = walk_through(r, threads, *it, n);
        c.may_allocate = static_cast<u64>(threads);
        Peer::check_yes(c.yes, c.calls);
        return c;
    }
};

void add_very_many(run& r, const char* suite, int round) {
    for (const int threads : r.threads(keys_1e7)) {
        rows all(r, suite, keys_1e7, threads, round);
        all.add<weir_keys<2>>(ours, ask_very_many{});
        all.add<weir_keys<1>>("weir_1x", ask_very_many{});
        all.add<shared_gcra_keys>(ask_very_many{});
        all.add_floor();
    }
    for (const int threads : round == 0 ? r.threads(key_bytes_1e7) : std::vector<int>{}) {
        const auto row = [&]<class Peer>(const char* peer) {
            r.add_value(suite, key_bytes_1e7, threads, peer, round, [&r] {
                const std::size_t n = number_of_very_many(r);
                return bytes_for_each(n, [n] { return full_of_keys<Peer>(n); });
            });
        };
        row.operator()<weir_keys<2>>(ours);
        row.operator()<weir_keys<1>>("weir_1x");
        row.operator()<shared_gcra_keys>(shared_gcra_keys::id);
    }
}

/// What makes a number of a time in a token bucket.
struct ticks {
    weir::detail::gcra_rule rule{weir::token_bucket_options{}};
    steady::time_point epoch = steady::now();
    i64 now() const { return rule.time(weir::saturating_between(epoch, given_moment).count()); }
};

/// What a denial consists of, each part alone.
void add_denial_parts(run& r, const char* suite, int round) {
    using bucket = weir_bucket<given_clock, way::given>;
    using folly_like = atomic_bucket<true>;
    parts all(r, suite, denial_parts, denial_instructions, round);
    all.add(
        ours, [] { return std::make_unique<bucket>(stock::none); }, [](bucket& p) { return p.take(); });
    all.add(
        "ticks", [] { return std::make_unique<ticks>(); }, [](const ticks& t) { return t.now(); });
    all.add(
        folly_like::id, [] { return std::make_unique<folly_like>(stock::none); },
        [](folly_like& p) { return p.take(); });
    all.add_one_load();
    all.add_loop();
}

}  // namespace

void add_rate_limiter(run& r, const char* suite, int round) {
    add_one_key(r, suite, round, allowed, stock::plenty);
    add_one_key(r, suite, round, denied, stock::none);
    add_given_time(r, suite, round, allowed_given, stock::plenty);
    add_given_time(r, suite, round, denied_given, stock::none);
    add_many_keys(r, suite, round, keys, false);
    add_many_keys(r, suite, round, skewed, true);
    if (round == 0) {
        add_bytes(r, suite);
    }
    if (early(round)) {
        add_denial_parts(r, suite, round);
        add_very_many(r, suite, round);
    }
}

}  // namespace bench::flow
