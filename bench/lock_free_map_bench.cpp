// weir (BSL-1.0). bench lock_free_map: reads, writes, growth, memory and iteration beside the peers, and the goals.
#include "harness.hpp"
#include "map_catalog.hpp"
#include "map_loads.hpp"
#include "map_peers.hpp"

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#ifdef __linux__
#include <unistd.h>
#endif

// Dead ends: what looked good and was rejected, with the figure that did it. Each has two lines in the report.
namespace bench {
namespace {
struct dead_end {
    const char* idea;
    const char* verdict;
};
constexpr std::array<dead_end, 6> dead_ends{{
    {"Growing at 3.25 entries for the 6 slots of a bucket of nodes instead of 4, for fewer overflow blocks",
     "Twice the table at 1e6 entries and a slower iteration; hits, misses and growth gained nothing."},
    {"Pieces of 2 MiB, advised to the kernel as huge pages",
     "In use according to the kernel, and no gain at 1e6 entries: hits 65 to 68 ns against 69 to 71 (on a virtual machine)."},
    {"Tags of 5 bits and a version of 27 for pairs in slots, instead of 4 and 34",
     "Less than half of the wrong matches, and no difference to be measured at 1e3 or 1e6. The longer version is worth more."},
    {"Comparing the key of a slot without a branch on whether a tag fits",
     "Two cycles more in cache, nothing gained out of it; and user-defined comparisons would meet keys that are none."},
    {"Not fetching the second cache line of a bucket of pairs before the header says where to look",
     "Hits at 1e6 took 72 to 84 ns instead of 67 to 70; misses were the same."},
    {"Headers in an array of their own, so that a miss touches a quarter of the memory",
     "In a bare copy of the layout misses at 1e6 took 18 instead of 26 ns, hits 35 instead of 33; rejected for nodes, whose hits "
     "would touch a third place. Not tried in the map itself."},
}};
// The cases.

struct shared {
    explicit shared(run& run_) : r(run_), in(sizes(run_.opt().smoke)) {}
    run& r;
    inputs in;
    stage at;
    std::map<std::string, std::string> natives;  // what became of a peer with its own hash: "throws", "capped"
    std::string left_out;                        // what this machine is too small for
    bool large_fits = true;                      // maps of 1e7 entries
    std::unique_ptr<key_set> curve_keys;         // of the curve's size that is measured
    std::size_t curve_keys_size = 0;
};
using shared_state = std::shared_ptr<shared>;

constexpr const char* suite_name = "lock_free_map";

std::string group_of(const char* what, int round) { return what + ('#' + std::to_string(round)); }
u64 seed_of(int round, int threads) { return static_cast<u64>(round) * 16 + static_cast<u64>(threads); }

/// The one map of its type that the loads of a group share. Entering another group destroys it.
template <class Peer>
std::unique_ptr<Peer>& resident_map(shared& s, const std::string& group) {
    static std::unique_ptr<Peer> map;
    s.at.enter(group);
    if (!map) {
        s.at.on_leave([] { map.reset(); });
    }
    return map;
}

/// That map, filled by the first load that asks.
template <class Peer, class KeyAt, class ValueOf>
Peer& ready_map(shared& s, const std::string& group, std::size_t entries, KeyAt key_at, ValueOf value) {
    auto& map = resident_map<Peer>(s, group);
    if (!map) {
        map = std::make_unique<Peer>(entries);
        fill(*map, entries, Peer::concurrent ? 2 : 1, key_at, value);
    }
    return *map;
}
template <class Peer>
Peer& number_map(shared& s, const std::string& group, std::size_t entries) {
    return ready_map<Peer>(s, group, entries, key_of, [](u64 key) { return value_of(key); });
}

/// What a peer must be able to do to have a row.
enum class need { nothing, put, reserve };
template <class Peer>
constexpr bool able(need n) {
    return n == need::nothing || (n == need::put && Peer::puts) || (n == need::reserve && Peer::reserves);
}

/// Adds f<Peer>(threads) for each number of threads of the load and each peer that may run with it, in turns.
template <class Key, class Value, bool WithAdd, need Need = need::nothing, class F>
void add_rows(const shared_state& s, const load& l, int round, F f) {
    for (const int threads : s->r.threads(l)) {
        turns rows;
        for_each_map_peer<Key, Value, shared_hash, WithAdd>([&]<class Peer>() {
            if constexpr (able<Peer>(Need)) {
                if (Peer::concurrent || threads == 1) {
                    rows.add([&s, &l, &f, round, threads] {
                        s->r.add(suite_name, l, threads, Peer::id, round,
                                 [f, threads] { return f.template operator()<Peer>(threads); });
                    });
                }
            }
        });
        rows.take(round);
    }
}

using number_peer = weir_peer<u64, u64, shared_hash>;

/// How many times as fast visit(span) finds the keys as single look-ups do.
double gain_of_many(const number_peer& map, const std::vector<u64>& keys) {
    u64 sum = 0;
    auto begin = clock::now();
    for (const u64 key : keys) {
        u64 value = 0;
        map.find(key, value);
        sum += value;
    }
    const double one_by_one = seconds_since(begin);
    u64 again = 0;
    begin = clock::now();
    const std::size_t found = map.find_many(keys, [&](u64, u64 value) { again += value; });
    const double together = seconds_since(begin);
    must_be("keys found", found, keys.size());
    must_be("the sum of their values", again, sum);
    return one_by_one / together;
}

void add_number_loads(const shared_state& s, int round) {
    // One map of each peer for all loads up to the mixed one: that which grew last.
    const std::string group = group_of("big", round);
    add_rows<u64, u64, false>(s, growth, round, [=]<class Peer>(int threads) {
        auto& map = resident_map<Peer>(*s, group);
        map.reset();
        stage::trim();
        const auto& keys = s->in.first_to_last();
        map = std::make_unique<Peer>(keys.size());
        const auto key_at = [&keys](std::size_t i) -> const u64& { return keys[i]; };
        const double seconds = fill(*map, keys.size(), threads, key_at, [](u64 key) { return value_of(key); });
        return sample{seconds, static_cast<double>(keys.size())};
    });
    add_rows<u64, u64, false>(s, hit, round, [=]<class Peer>(int threads) {
        auto& map = number_map<Peer>(*s, group, s->in.n.entries);
        return find_all<Peer, u64>(map, s->in.present(), s->in.n.operations, threads, seed_of(round, threads), true);
    });
    add_rows<u64, u64, false>(s, miss, round, [=]<class Peer>(int threads) {
        auto& map = number_map<Peer>(*s, group, s->in.n.entries);
        return find_all<Peer, u64>(map, s->in.absent(), s->in.n.operations, threads, seed_of(round, threads), false);
    });
    add_rows<u64, u64, false>(s, reads95, round, [=]<class Peer>(int threads) {
        auto& map = number_map<Peer>(*s, group, s->in.n.entries);
        return mix<u64>(map, s->in.present(), s->in.n.operations, threads, seed_of(round, threads), mostly_read);
    });
    add_rows<u64, u64, false>(s, mixed, round, [=]<class Peer>(int threads) {
        auto& map = number_map<Peer>(*s, group, s->in.n.entries);
        return mix<u64>(map, s->in.universe(), s->in.n.operations, threads, seed_of(round, threads), half_written);
    });
    const std::string small_group = group_of("small", round);
    add_rows<u64, u64, false>(s, hit_small, round, [=]<class Peer>(int threads) {
        auto& map = number_map<Peer>(*s, small_group, s->in.n.small);
        return find_all<Peer, u64>(map, s->in.few(), s->in.n.many, threads, seed_of(round, threads), true);
    });
    const std::string churn_group = group_of("churn", round);
    add_rows<u64, u64, false>(s, churn, round, [=]<class Peer>(int threads) {
        s->at.enter(churn_group);
        return slide<Peer>(s->in.n.window, s->in.n.many, threads);
    });
    const std::string upsert_group = group_of("upsert", round);
    add_rows<u64, u64, true>(s, upsert, round, [=]<class Peer>(int threads) {
        s->at.enter(upsert_group);
        return count_all<Peer>(s->in.counted(), threads);
    });
}

void add_walks(const shared_state& s, int round) {
    const std::string group = group_of("walks", round);
    s->r.add_value(suite_name, at_once, 1, number_peer::id, round, [s, group] {
        return gain_of_many(number_map<number_peer>(*s, group, s->in.n.entries), s->in.present());
    });
    add_rows<u64, u64, false>(s, iteration, round, [=]<class Peer>(int) {
        return walk(number_map<Peer>(*s, group, s->in.n.entries), s->in.n.entries);
    });
}

void add_wide_loads(const shared_state& s, int round) {
    const std::string group = group_of("wide", round);
    const auto map_of = [=]<class Peer>() -> Peer& {
        return ready_map<Peer>(*s, group, s->in.n.entries, key_of, [](u64 key) { return wide_of(key); });
    };
    add_rows<u64, wide, false>(s, hit_64, round, [=]<class Peer>(int threads) {
        auto& map = map_of.template operator()<Peer>();
        return find_all<Peer, wide>(map, s->in.present(), s->in.n.operations, threads, seed_of(round, threads), true);
    });
    if (!s->r.everything()) {
        return;
    }
    add_rows<u64, wide, false, need::put>(s, reads95_64, round, [=]<class Peer>(int threads) {
        auto& map = map_of.template operator()<Peer>();
        return mix<wide>(map, s->in.present(), s->in.n.operations, threads, seed_of(round, threads), mostly_read);
    });
    add_rows<u64, wide, false, need::put>(s, mixed_64, round, [=]<class Peer>(int threads) {
        auto& map = map_of.template operator()<Peer>();
        return mix<wide>(map, s->in.universe(), s->in.n.operations, threads, seed_of(round, threads), half_written);
    });
}

void add_zipf_loads(const shared_state& s, int round) {
    const std::string group = group_of("zipf", round);
    add_rows<u64, u64, false>(s, zipf_hit, round, [=]<class Peer>(int threads) {
        auto& map = number_map<Peer>(*s, group, s->in.n.entries);
        return find_all<Peer, u64>(map, s->in.wanted(), s->in.n.operations, threads, seed_of(round, threads), true);
    });
    add_rows<u64, u64, false>(s, zipf_reads95, round, [=]<class Peer>(int threads) {
        auto& map = number_map<Peer>(*s, group, s->in.n.entries);
        return mix<u64>(map, s->in.wanted(), s->in.n.operations, threads, seed_of(round, threads), mostly_read);
    });
    add_rows<u64, u64, false>(s, zipf_mixed, round, [=]<class Peer>(int threads) {
        auto& map = number_map<Peer>(*s, group, s->in.n.entries);
        return mix<u64>(map, s->in.wanted_universe(), s->in.n.operations, threads, seed_of(round, threads),
                        half_written);
    });
}

void add_reserved(const shared_state& s, int round) {
    const std::string group = group_of("reserved", round);
    add_rows<u64, u64, false, need::reserve>(s, growth_reserved, round, [=]<class Peer>(int threads) {
        s->at.enter(group);
        stage::trim();
        const auto& keys = s->in.first_to_last();
        const auto map = std::make_unique<Peer>(keys.size(), room::reserved);
        const auto key_at = [&keys](std::size_t i) -> const u64& { return keys[i]; };
        const double seconds = fill(*map, keys.size(), threads, key_at, [](u64 key) { return value_of(key); });
        return sample{seconds, static_cast<double>(keys.size())};
    });
}

/// The keys of one size, for as long as its group lasts.
const key_set& curve_keys(shared& s, const std::string& group, std::size_t entries) {
    s.at.enter(group);
    if (s.curve_keys == nullptr || s.curve_keys_size != entries) {
        s.curve_keys = std::make_unique<key_set>(entries);
        s.curve_keys_size = entries;
        s.at.on_leave([&s] { s.curve_keys.reset(); });
    }
    return *s.curve_keys;
}

constexpr std::size_t large = 10'000'000;

/// libcds takes longer with 1e7 entries than all others together.
template <class Peer>
bool too_slow(const curve_size& size) {
    return size.entries >= large && std::string(Peer::id) == "libcds";
}

void add_curve(const shared_state& s, const curve_size& size, int round) {
    const std::string group = group_of(("curve_" + size.name).c_str(), round);
    const std::size_t entries = s->r.opt().smoke ? s->in.n.small : size.entries;
    if (!size.shared_rest) {
        add_rows<u64, u64, false>(s, size.growth, round, [=, &size]<class Peer>(int threads) {
            if (too_slow<Peer>(size)) {
                return sample{};
            }
            auto& map = resident_map<Peer>(*s, group);
            map.reset();
            constexpr std::size_t inserts = 200'000;
            const std::size_t most = s->r.opt().smoke ? 2 : 64;
            const auto& keys = curve_keys(*s, group, entries).first_to_last;
            auto [measured, last] = fill_many<Peer>(keys, std::clamp<std::size_t>(inserts / entries, 1, most), threads);
            map = std::move(last);
            return measured;
        });
    }
    const std::size_t operations = entries > 100'000 ? s->in.n.operations : s->in.n.many;
    if (!size.shared_hit) {
        add_rows<u64, u64, false>(s, size.hit, round, [=, &size]<class Peer>(int threads) {
            if (too_slow<Peer>(size)) {
                return sample{};
            }
            const auto& keys = curve_keys(*s, group, entries).probes;
            auto& map = number_map<Peer>(*s, group, entries);
            return find_all<Peer, u64>(map, keys, operations, threads, seed_of(round, threads), true);
        });
    }
    if (!size.shared_rest) {
        add_rows<u64, u64, false>(s, size.reads95, round, [=, &size]<class Peer>(int threads) {
            if (too_slow<Peer>(size)) {
                return sample{};
            }
            const auto& keys = curve_keys(*s, group, entries).probes;
            auto& map = number_map<Peer>(*s, group, entries);
            return mix<u64>(map, keys, operations, threads, seed_of(round, threads), mostly_read);
        });
    }
}

/// Whether the maps of all peers with 1e7 entries fit into memory, which a full run needs.
bool fits_large() {
    std::ifstream in("/proc/meminfo");
    constexpr double enough = 10.0 * (1U << 20U);  // KiB
    std::string word;
    while (in >> word) {
        if (double kibibytes = 0; word == "MemAvailable:" && in >> kibibytes) {
            return kibibytes >= enough;
        }
    }
    return true;  // no way to know
}

/// The largest size takes minutes: three rounds have it.
bool has_large(const shared_state& s, int round) { return round < 3 && (s->r.opt().smoke || s->large_fits); }

void add_curves(const shared_state& s, int round) {
    for (const curve_size& size : curve_sizes()) {
        if (size.entries < large || has_large(s, round)) {
            add_curve(s, size, round);
        }
    }
}

void add_text_loads(const shared_state& s, int round) {
    const std::string group = group_of("texts", round);
    add_rows<std::string, u64, true>(s, string_hit, round, [=]<class Peer>(int threads) {
        const auto key_at = [](std::size_t i) { return text_of(key_of(i)); };
        auto& map = ready_map<Peer>(*s, group, s->in.n.entries, key_at, end_of);
        return find_all<Peer, u64>(map, s->in.texts(), s->in.n.operations, threads, seed_of(round, threads), true);
    });
    const std::string upsert_group = group_of("text_upsert", round);
    add_rows<std::string, u64, true>(s, string_upsert, round, [=]<class Peer>(int threads) {
        s->at.enter(upsert_group);
        return count_all<Peer>(s->in.counted_texts(), threads);
    });
}

void add_more_text_loads(const shared_state& s, int round) {
    const std::string group = group_of("more_texts", round);
    const auto map_of = [=]<class Peer>() -> Peer& {
        const auto key_at = [](std::size_t i) { return text_of(key_of(i)); };
        return ready_map<Peer>(*s, group, s->in.n.entries, key_at, end_of);
    };
    add_rows<std::string, u64, true>(s, string_miss, round, [=]<class Peer>(int threads) {
        auto& map = map_of.template operator()<Peer>();
        const auto& probes = s->in.absent_texts();
        return find_all<Peer, u64>(map, probes, s->in.n.operations, threads, seed_of(round, threads), false);
    });
    add_rows<std::string, u64, true, need::put>(s, string_reads95, round, [=]<class Peer>(int threads) {
        auto& map = map_of.template operator()<Peer>();
        return mix<u64>(map, s->in.texts(), s->in.n.operations, threads, seed_of(round, threads), mostly_read);
    });
}

template <class Keys>
void add_worst_of(const shared_state& s, const load& insert, const load& read, const std::string& group, int round,
                  Keys keys) {
    turns rows;
    for_each_map_peer<u64, u64, shared_hash, false>([&]<class Peer>() {
        if (Peer::concurrent && !(&insert == &worst_insert_large && std::string(Peer::id) == "libcds")) {
            rows.add([&] {
                s->r.add_value(suite_name, insert, 2, Peer::id, round, [s, &read, group, round, keys] {
                    s->at.enter(group);
                    const worst w = grow_and_read<Peer>(keys());
                    s->r.out().add(read.id, 2, Peer::id, round, w.read * 1e6);
                    return w.insert * 1e6;
                });
            });
        }
    });
    rows.take(round);
}

void add_worst(const shared_state& s, int round) {
    add_worst_of(s, worst_insert, worst_read, group_of("worst", round), round,
                 [s]() -> const std::vector<u64>& { return s->in.first_to_last(); });
    if (s->r.everything() && round == 0 && has_large(s, round)) {
        const std::string group = group_of("worst_large", round);
        const std::size_t entries = s->r.opt().smoke ? s->in.n.entries : large;
        add_worst_of(
            s, worst_insert_large, worst_read_large, group, round,
            [s, group, entries]() -> const std::vector<u64>& { return curve_keys(*s, group, entries).first_to_last; });
    }
}

void add_beside(const shared_state& s, int round) {
    const std::string group = group_of("beside", round);
    turns rows;
    for_each_map_peer<u64, u64, shared_hash, false>([&]<class Peer>() {
        if constexpr (Peer::concurrent && Peer::walks_beside && Peer::puts) {
            rows.add([&s, group, round] {
                s->r.add_value(suite_name, beside, 2, Peer::id, round, [s, group] {
                    s->at.enter(group);
                    return write_beside<Peer>(s->in.n.window, s->in.n.pause);
                });
            });
        }
    });
    rows.take(round);
}

/// A peer with the hash that it takes by default: 1e4 inserts, then as many finds.
template <class Peer>
double own_hash(shared& s, std::size_t which) {
    const auto key_at = [which](u64 i) { return which == 0 ? key_of(i) : which == 1 ? i : i << 20U; };
    constexpr double limit = 0.3;  // seconds
    const std::size_t n = s.in.n.native;
    const auto map = std::make_unique<Peer>(n);
    std::string& outcome = s.natives[natives[which].id + '/' + Peer::id];
    double seconds = 0;
    std::size_t done = 0;
    try {
        seconds = parallel<typename Peer::thread_scope>(1, [&](int) {
            const auto begin = clock::now();
            u64 lost = 0;
            for (; done != 2 * n; ++done) {
                if (done < n) {
                    lost += map->insert(key_at(done), value_of(key_at(done))) ? 0U : 1U;
                } else {
                    u64 value = 0;
                    lost += map->find(key_at(done - n), value) && belongs(key_at(done - n), value) ? 0U : 1U;
                }
                if (done % 16 == 15 && seconds_since(begin) > limit) {
                    break;
                }
            }
            must_be("keys refused or lost", lost, 0);
        });
    } catch (const wrong_result&) {
        throw;
    } catch (const std::exception& e) {
        constexpr std::size_t enough = 40;  // of the message, to know it by
        const std::string message = e.what();
        outcome = "throws: " + message.substr(0, enough) + (message.size() > enough ? " ..." : "");
        return std::nan("");
    }
    if (done != 2 * n) {
        outcome = "stopped at " + grouped(static_cast<double>(done)) + " of " + grouped(static_cast<double>(2 * n)) +
                  " after " + number(limit) + " s";
        return std::nan("");
    }
    return seconds * 1e9 / static_cast<double>(done);
}

void add_own_hashes(const shared_state& s) {
    for_each_map_peer<u64, u64, native_hash, false>([&]<class Peer>() {
        for (std::size_t which = 0; which != natives.size(); ++which) {
            s->r.add_value(suite_name, natives[which], 1, Peer::id, 0, [s, which] {
                s->at.enter("own");
                return own_hash<Peer>(*s, which);
            });
        }
    });
}

// Memory: each peer in a process of its own.

struct memory {
    double bytes = 0;  // per entry, when all are in
    double peak = 0;   // per entry, at the worst moment
};

#ifdef __linux__
double resident_bytes() {
    std::ifstream in("/proc/self/statm");
    double all = 0;
    double resident = 0;
    in >> all >> resident;
    return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}
double peak_bytes_so_far() {
    std::ifstream in("/proc/self/status");
    for (std::string word; in >> word;) {
        if (word == "VmHWM:") {
            double kibibytes = 0;
            in >> kibibytes;
            return kibibytes * 1024;
        }
    }
    return 0;
}

memory measured_in_child(const std::string& peer, std::size_t entries) {
    memory m;
    const std::string answer = output_of_child("--measure-memory=" + peer + ',' + std::to_string(entries));
    if (std::sscanf(answer.c_str(), "%lf %lf", &m.bytes, &m.peak) != 2) {
        throw std::runtime_error("the child process measured nothing");
    }
    return m;
}

void add_memory(const shared_state& s) {
    for_each_map_peer<u64, u64, shared_hash, false>([&]<class Peer>() {
        s->r.add_value(suite_name, bytes, 1, Peer::id, 0, [s] {
            const memory m = measured_in_child(Peer::id, s->in.n.entries);
            s->r.out().add(peak_bytes.id, 1, Peer::id, 0, m.peak);
            return m.bytes;
        });
    });
}
#else
void add_memory(const shared_state&) {}
#endif

// The tables that the other file does not know.

table own_hash_table(const shared& s) {
    table t{
        "Each map with its own default hash",
        "ns per operation, 1 thread, 1e4 inserts and as many finds, one run: what friendly and unfriendly keys do. Not "
        "comparable between rows, as the hashes differ. All other tables use one hash for all.",
        {"peer"},
        {},
        {}};
    for (const load& l : natives) {
        t.head.push_back(l.title.substr(l.title.find(", ") + 2));
    }
    for (const std::string& peer : s.r.out().peers(natives[0].id)) {
        if (peer == ours) {
            t.strong.push_back(t.rows.size());
        }
        std::vector<cell> row{peer};
        for (const load& l : natives) {
            const auto outcome = s.natives.find(l.id + '/' + peer);
            const spread value = s.r.out().value(l.id, 1, peer);
            row.emplace_back(value                        ? number(value.median)
                             : outcome != s.natives.end() ? outcome->second
                                                          : "-",
                             value ? mood::plain : mood::bad);
        }
        t.rows.push_back(std::move(row));
    }
    return t;
}

table rows_table() {
    table t{"What each row really does", {}, {}, {}, {}};
    std::vector<std::string> said;
    const auto say = [&]<class Peer>() {
        if (std::find(said.begin(), said.end(), Peer::about) == said.end()) {
            said.emplace_back(Peer::about);
            t.rows.push_back({Peer::id, Peer::about});
        }
    };
    say.operator()<plain_peer<std::string, u64, shared_hash>>();
    for_each_map_peer<u64, u64, shared_hash, false>(say);
    for_each_map_peer<u64, u64, shared_hash, true>(say);
    return t;
}

/// Tells the results what this run measures.
void declare_all(const shared_state& s) {
    run& r = s->r;
    for (const load* l :
         {&hit,          &hit_small,  &miss,          &reads95,    &mixed,      &growth,     &churn,
          &upsert,       &string_hit, &string_upsert, &hit_64,     &iteration,  &beside,     &at_once,
          &worst_insert, &worst_read, &bytes,         &peak_bytes, &natives[0], &natives[1], &natives[2]}) {
        r.declare(*l);
    }
    if (!r.everything()) {
        return;
    }
    for (const load* l : {&zipf_hit, &zipf_reads95, &zipf_mixed, &growth_reserved, &reads95_64, &mixed_64, &string_miss,
                          &string_reads95, &worst_insert_large, &worst_read_large}) {
        r.declare(*l);
    }
    for (const curve_size& size : curve_sizes()) {
        if (!size.shared_hit) {
            r.declare(size.hit);
        }
        if (!size.shared_rest) {
            r.declare(size.reads95);
            r.declare(size.growth);
        }
    }
    s->large_fits = fits_large();
    s->left_out = s->large_fits ? "libcds with 1e7 entries, which takes longer than all others together."
                                : "maps of 1e7 entries, for which 10 GiB of memory should be free.";
}

/// Fewer in a short run: these loads are not what it is for.
int extra_rounds(const run& r) { return r.opt().full ? r.rounds() : std::min(r.rounds(), 3); }

std::vector<table> all_tables(const shared& s) {
    const results& out = s.r.out();
    std::vector<table> all = map_tables(out);
    if (!out.peers(natives[0].id).empty()) {
        all.push_back(own_hash_table(s));
    }
    if (all.empty()) {
        return all;
    }
    if (!s.left_out.empty()) {
        all.push_back({"What was not measured", {}, {}, {{"Left out", s.left_out}}, {}});
    }
    all.push_back(rows_table());
    if (!dead_ends.empty()) {
        table t{"Dead ends", "What looked good and was rejected.", {}, {}, {}};
        for (const dead_end& d : dead_ends) {
            t.rows.push_back({d.idea, d.verdict});
        }
        all.push_back(std::move(t));
    }
    return all;
}

}  // namespace

suite lock_free_map_suite() {
    const auto state = std::make_shared<shared_state>();
    const auto add = [state](run& r) {
        const auto s = *state = std::make_shared<shared>(r);
        declare_all(s);
        r.stop_after(run::part_of(suite_name, false), 1);
        r.stop_after(run::part_of(suite_name, true), 1);
        for (int round = 0; round != r.rounds(); ++round) {
            add_number_loads(s, round);
            add_text_loads(s, round);
        }
        for (int round = 0; round != extra_rounds(r); ++round) {
            add_walks(s, round);
            add_wide_loads(s, round);
            add_worst(s, round);
            add_beside(s, round);
            if (r.everything()) {
                add_zipf_loads(s, round);
                add_reserved(s, round);
                add_more_text_loads(s, round);
                add_curves(s, round);
            }
        }
        add_own_hashes(s);
        add_memory(s);
    };
    const auto tables = [state](const run&) {
        (*state)->at.enter("end");  // the last maps go while their libraries are still there
        return all_tables(**state);
    };
    const auto overview = [](const results& out) { return map_overview(out); };
    return {suite_name, add, tables, map_summary, overview};
}

bool measure_memory(const std::string& what) {
#ifdef __linux__
    const std::size_t comma = what.find(',');
    const std::string peer = what.substr(0, comma);
    const std::size_t entries = comma == std::string::npos ? 0 : std::strtoull(what.c_str() + comma + 1, nullptr, 10);
    bool measured = false;
    for_each_map_peer<u64, u64, shared_hash, false>([&]<class Peer>() {
        if (peer != Peer::id || entries == 0) {
            return;
        }
        const double before = resident_bytes();
        const auto map = std::make_unique<Peer>(entries);
        for (u64 i = 0; i != entries; ++i) {
            map->insert(key_of(i), value_of(key_of(i)));
        }
        const double after = resident_bytes();
        const double peak = std::max(after, peak_bytes_so_far());
        const auto n = static_cast<double>(entries);
        std::printf("%f %f\n", (after - before) / n, (peak - before) / n);
        measured = map->size() == entries;
    });
    return measured;
#else
    return what.empty();
#endif
}

}  // namespace bench
