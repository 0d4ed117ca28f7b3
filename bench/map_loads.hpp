// weir (BSL-1.0). bench map loads: keys, values and what the workers do with them, for any peer of map_peers.hpp.
#ifndef WEIR_BENCH_MAP_LOADS_HPP
#define WEIR_BENCH_MAP_LOADS_HPP
#include "harness.hpp"
#include "map_peers.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#ifdef __GLIBC__
#include <malloc.h>
#endif

// What keeps the tables honest:
// * keys are full-width random numbers, and they come from an array in random order; nothing is computed per operation
//   but the check of the value, and the random number that chooses the operation of a mixed load;
// * probe strings are separate allocations in random order, never the strings that are in the map;
// * every value read is checked against its key, all bytes of it; what was inserted and erased must add up;
// * maps start empty at their default capacity, but for the loads that say so, the heap trimmed before;
// * workers read the clocks, threads run already;
// * a round measures the rows of a load in turns; each round builds its maps anew.

namespace bench {

/// A bijection, so that different numbers are different keys.
inline u64 key_of(u64 number) {
    u64 x = number + 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31U);
}

/// A value says which key it belongs to; its lowest byte is free.
inline u64 value_of(u64 key, u64 tag = 0) {
    return (((key ^ 0x2545f4914f6cdd1dU) * 0xd1342543de82ef95U) & ~u64{255}) | tag;
}
inline bool belongs(u64 key, u64 value) { return (value & ~u64{255}) == value_of(key); }

struct wide {
    std::array<u64, 8> words{};
};
inline wide wide_of(u64 key, u64 tag = 0) {
    wide w;
    w.words.fill(value_of(key, tag));
    return w;
}
inline bool belongs(u64 key, const wide& w) {
    u64 different = 0;
    for (const u64 word : w.words) {
        different |= word ^ w.words[0];
    }
    return different == 0 && belongs(key, w.words[0]);
}

/// Twenty bytes, beyond what a std::string holds in itself.
inline std::string text_of(u64 key) {
    constexpr const char* digits = "0123456789abcdef";
    std::string text = "key:";
    for (int shift = 60; shift >= 0; shift -= 4) {
        text += digits[(key >> shift) & 15U];
    }
    return text;
}

/// The end of the text as a number: the value that is stored under it.
inline u64 end_of(const std::string& text) {
    u64 end = 0;
    std::memcpy(&end, text.data() + text.size() - sizeof end, sizeof end);
    return end;
}
inline bool belongs(const std::string& key, u64 value) { return value == end_of(key); }

/// What is stored under a key.
template <class Value>
Value made_for(u64 key, u64 tag = 0) {
    if constexpr (std::is_same_v<Value, wide>) {
        return wide_of(key, tag);
    } else {
        return value_of(key, tag);
    }
}
template <class Value>
Value made_for(const std::string& key, u64 = 0) {
    return end_of(key);
}

/// Numbers below n by Zipf's law: the r-th most wanted is drawn with a probability proportional to 1 / r^exponent.
/// Exact, by the inverse of the cumulative distribution, and all before a clock is started.
/// Source: the skew of 0.99 and the scattering of the ranks over the keys are those of YCSB (Cooper, Silberstein, Tam,
/// Ramakrishnan, Sears, "Benchmarking Cloud Serving Systems with YCSB", SoCC 2010), whose generator is the faster
/// approximation of Gray, Sundaresan, Englert, Baclawski, Weinberger, "Quickly Generating Billion-Record Synthetic
/// Databases", SIGMOD 1994.
inline std::vector<u64> zipf_numbers(std::size_t count, std::size_t n, double exponent, u64 seed) {
    std::vector<double> up_to(n);  // the weight of all ranks up to this one
    double sum = 0;
    for (std::size_t rank = 0; rank != n; ++rank) {
        sum += std::pow(static_cast<double>(rank + 1), -exponent);
        up_to[rank] = sum;
    }
    std::vector<u64> of_rank(n);  // so that the most wanted are not neighbours, nor inserted one after the other
    std::iota(of_rank.begin(), of_rank.end(), u64{0});
    shuffle(of_rank, seed);
    random_numbers random{key_of(seed)};
    std::vector<u64> drawn(count);
    for (u64& number : drawn) {
        const double at = static_cast<double>(random() >> 11U) * 0x1p-53 * sum;
        const auto rank = static_cast<std::size_t>(std::upper_bound(up_to.begin(), up_to.end(), at) - up_to.begin());
        number = of_rank[std::min(rank, n - 1)];
    }
    return drawn;
}

struct sizes {
    explicit sizes(bool smoke)
        : entries(smoke ? 3000 : 1'000'000),
          small(smoke ? 200 : 1000),
          operations(smoke ? 6000 : 600'000),
          many(smoke ? 8000 : 1'000'000),
          window(smoke ? 800 : 100'000),
          native(smoke ? 1000 : 10'000),
          pause(smoke ? 0.005 : 0.06) {}
    std::size_t entries, small;
    std::size_t operations, many;  // where an operation misses the caches, and where most do not
    std::size_t window, native;
    double pause;  // seconds of the loads that run for a time
};

constexpr double longest = 1.5;  // seconds after which a load on a ready map stops early: a lock-step peer ends too

/// What the workers saw. One per worker, added up when they are done.
struct alignas(64) tally {
    u64 operations = 0;
    u64 found = 0;
    u64 reads = 0;
    u64 wrong = 0;  // values that do not belong to their keys, answers that cannot be
    long gained = 0;
};
inline tally sum_of(const std::vector<tally>& each) {
    tally all;
    for (const tally& t : each) {
        all.operations += t.operations;
        all.found += t.found;
        all.reads += t.reads;
        all.wrong += t.wrong;
        all.gained += t.gained;
    }
    return all;
}

/// Runs step(tally, random, i) `operations` times, dealt to the threads; each begins at another place of a sequence of
/// `length` and walks on from there.
template <class Peer, class Step>
std::pair<double, tally> run_steps(int threads, std::size_t operations, std::size_t length, u64 seed, Step step) {
    std::vector<tally> each(static_cast<std::size_t>(threads));
    const std::size_t share = operations / each.size();
    const double seconds = parallel<typename Peer::thread_scope>(threads, [&](int index) {
        const auto me = static_cast<std::size_t>(index);
        tally t;
        random_numbers random{key_of(seed * 64 + me)};
        std::size_t at = (length / each.size() * me + static_cast<std::size_t>(random.below(length))) % length;
        const auto begin = clock::now();
        for (std::size_t i = 0; i != share; ++i) {
            step(t, random, at);
            at = at + 1 == length ? 0 : at + 1;
            if (i % 512 == 511 && seconds_since(begin) > longest) {
                t.operations = i + 1;
                break;
            }
        }
        t.operations = t.operations != 0 ? t.operations : share;
        each[me] = t;
    });
    return {seconds, sum_of(each)};
}

/// Maps that live through several loads of a round. Entering another group destroys those of the group before, so that
/// no row finds more memory in use than another.
class stage {
public:
    void enter(const std::string& group) {
        if (group == group_) {
            return;
        }
        group_ = group;
        for (auto& leave : std::exchange(leave_, {})) {
            leave();
        }
        trim();
    }
    void on_leave(std::function<void()> f) { leave_.push_back(std::move(f)); }
    /// Free memory goes back to the system, so that each map that grows meets fresh pages.
    static void trim() {
#ifdef __GLIBC__
        malloc_trim(0);
#endif
    }

private:
    std::string group_;
    std::vector<std::function<void()>> leave_;
};

/// The keys of a map of one size, for the curves over sizes.
struct key_set {
    explicit key_set(std::size_t entries) : first_to_last(entries) {
        std::iota(first_to_last.begin(), first_to_last.end(), u64{0});
        std::transform(first_to_last.begin(), first_to_last.end(), first_to_last.begin(), key_of);
        // Few keys make a long sequence too: a short one would be learned by heart by the branch predictor.
        constexpr std::size_t long_enough = 1U << 16U;
        random_numbers random{23};
        probes = first_to_last;
        while (probes.size() < long_enough) {
            probes.push_back(first_to_last[random.below(entries)]);
        }
        shuffle(probes, 24);
    }
    std::vector<u64> first_to_last, probes;
};

/// Arrays that all peers share, made when first wanted.
struct inputs {
    explicit inputs(const sizes& s) : n(s) {}

    /// The keys that are there, in the order in which maps are filled.
    const std::vector<u64>& first_to_last() {
        return made(first_to_last_, [&](auto& v) {
            for (u64 i = 0; i != n.entries; ++i) {
                v.push_back(key_of(i));
            }
        });
    }
    /// The same in another order, so that nobody meets nodes in the order of their allocation.
    const std::vector<u64>& present() {
        return made(present_, [&](auto& v) { numbered(v, n.entries, 0, 11); });
    }
    const std::vector<u64>& absent() {
        return made(absent_, [&](auto& v) { numbered(v, n.entries, n.entries * 4, 12); });
    }
    /// Those that are there, and as many others.
    const std::vector<u64>& universe() {
        return made(universe_, [&](auto& v) { numbered(v, 2 * n.entries, 0, 13); });
    }
    /// Few keys, a long sequence: a short one would be learned by heart by the branch predictor.
    const std::vector<u64>& few() {
        return made(few_, [&](auto& v) { drawn(v, std::max<std::size_t>(n.small, 1U << 16U), n.small, 14); });
    }
    const std::vector<u64>& counted() {
        return made(counted_, [&](auto& v) { drawn(v, n.many, n.many / 2, 15); });
    }
    const std::vector<std::string>& texts() {
        return made(texts_, [&](auto& v) {
            for (std::size_t i = 0; i != n.entries; ++i) {
                v.push_back(text_of(key_of(i)));
            }
            shuffle(v, 16);  // moves the strings, so that the blocks they own are in random order too
        });
    }
    const std::vector<std::string>& absent_texts() {
        return made(absent_texts_, [&](auto& v) {
            for (std::size_t i = 0; i != n.operations; ++i) {
                v.push_back(text_of(key_of(4 * n.entries + i)));
            }
            shuffle(v, 19);  // as above
        });
    }
    /// Zipf's law over those that are there.
    const std::vector<u64>& wanted() {
        return made(wanted_, [&](auto& v) { v = by_zipf(n.many, n.entries, 25); });
    }
    /// The same over those that are there and as many others.
    const std::vector<u64>& wanted_universe() {
        return made(wanted_universe_, [&](auto& v) { v = by_zipf(n.many, 2 * n.entries, 26); });
    }
    const std::vector<std::string>& counted_texts() {
        return made(counted_texts_, [&](auto& v) {
            std::vector<u64> keys;
            drawn(keys, n.many / 2, n.many / 4, 17);
            for (const u64 key : keys) {
                v.push_back(text_of(key));
            }
            shuffle(v, 18);  // as above
        });
    }

    sizes n;

private:
    template <class T, class Make>
    static const std::vector<T>& made(std::vector<T>& v, Make make) {
        if (v.empty()) {
            make(v);
        }
        return v;
    }
    static void numbered(std::vector<u64>& v, std::size_t count, u64 first, u64 seed) {
        v.resize(count);
        std::iota(v.begin(), v.end(), first);
        std::transform(v.begin(), v.end(), v.begin(), key_of);
        shuffle(v, seed);
    }
    static void drawn(std::vector<u64>& v, std::size_t count, u64 from, u64 seed) {
        random_numbers random{seed};
        for (std::size_t i = 0; i != count; ++i) {
            v.push_back(key_of(random.below(from)));
        }
    }
    static std::vector<u64> by_zipf(std::size_t count, std::size_t from, u64 seed) {
        std::vector<u64> v = zipf_numbers(count, from, 0.99, seed);
        std::transform(v.begin(), v.end(), v.begin(), key_of);
        return v;
    }
    std::vector<u64> first_to_last_, present_, absent_, universe_, few_, counted_, wanted_, wanted_universe_;
    std::vector<std::string> texts_, absent_texts_, counted_texts_;
};

/// Inserts key_at(0) .. key_at(entries - 1), which are all new, with the values that belong to them.
template <class Peer, class KeyAt, class ValueOf>
double fill(Peer& map, std::size_t entries, int threads, KeyAt key_at, ValueOf value) {
    std::vector<tally> each(static_cast<std::size_t>(threads));
    const double seconds = parallel<typename Peer::thread_scope>(threads, [&](int index) {
        const auto me = static_cast<std::size_t>(index);
        tally t;
        const std::size_t end = entries * (me + 1) / each.size();
        for (std::size_t i = entries * me / each.size(); i != end; ++i) {
            const auto& key = key_at(i);
            t.gained += map.insert(key, value(key)) ? 1 : 0;
        }
        each[me] = t;
    });
    must_be("new keys inserted", static_cast<u64>(sum_of(each).gained), entries);
    must_be("size after inserting", map.size(), entries);
    return seconds;
}

/// The same for a row of `maps` small maps, which each thread fills one after the other: one alone would be full before
/// a clock has seen anything. Gives the last of them too.
template <class Peer>
std::pair<sample, std::unique_ptr<Peer>> fill_many(const std::vector<u64>& keys, std::size_t maps, int threads) {
    stage::trim();
    std::vector<std::unique_ptr<Peer>> all(maps);
    for (auto& map : all) {
        map = std::make_unique<Peer>(keys.size());
    }
    std::vector<tally> each(static_cast<std::size_t>(threads));
    const double seconds = parallel<typename Peer::thread_scope>(threads, [&](int index) {
        const auto me = static_cast<std::size_t>(index);
        const std::size_t end = keys.size() * (me + 1) / each.size();
        tally t;
        for (const auto& map : all) {
            for (std::size_t i = keys.size() * me / each.size(); i != end; ++i) {
                t.gained += map->insert(keys[i], value_of(keys[i])) ? 1 : 0;
            }
        }
        each[me] = t;
    });
    must_be("new keys inserted", static_cast<u64>(sum_of(each).gained), maps * keys.size());
    for (const auto& map : all) {
        must_be("size after inserting", map->size(), keys.size());
    }
    return {sample{seconds, static_cast<double>(maps * keys.size())}, std::move(all.back())};
}

template <class Peer, class Value, class Key>
sample find_all(Peer& map, const std::vector<Key>& probes, std::size_t operations, int threads, u64 seed, bool there) {
    const auto step = [&](tally& t, random_numbers&, std::size_t at) {
        Value value{};
        if (map.find(probes[at], value)) {
            ++t.found;
            t.wrong += belongs(probes[at], value) ? 0U : 1U;
        }
    };
    const auto [seconds, t] = run_steps<Peer>(threads, operations, probes.size(), seed, step);
    must_be("values of other keys", t.wrong, 0);
    must_be("keys found", t.found, there ? t.operations : 0);
    return {seconds, static_cast<double>(t.operations)};
}

/// Of a mixed load, in parts of `all`; the rest erases.
struct parts {
    u64 reads = 0;
    u64 puts = 0;
    static constexpr u64 all = 65536;
};
constexpr parts mostly_read{parts::all * 95 / 100, parts::all - parts::all * 95 / 100};
constexpr parts half_written{parts::all / 2, parts::all / 4};

template <class Value, class Peer, class Key>
sample mix(Peer& map, const std::vector<Key>& keys, std::size_t operations, int threads, u64 seed, parts p) {
    const auto before = static_cast<long>(map.size());
    const auto step = [&](tally& t, random_numbers& random, std::size_t at) {
        const Key& key = keys[at];
        const u64 dice = random() >> 48U;
        if (dice < p.reads) {
            Value value{};
            ++t.reads;
            if (map.find(key, value)) {
                ++t.found;
                t.wrong += belongs(key, value) ? 0U : 1U;
            }
        } else if (dice < p.reads + p.puts) {
            t.gained += map.put(key, made_for<Value>(key, dice & 255U));
        } else {
            t.gained -= map.erase(key) ? 1 : 0;
        }
    };
    const auto [seconds, t] = run_steps<Peer>(threads, operations, keys.size(), seed, step);
    must_be("values of other keys", t.wrong, 0);
    must_be("entries, after what came and went", map.size(), static_cast<u64>(before + t.gained));
    if (p.reads + p.puts == parts::all && put_is_atomic<Peer>()) {
        must_be("keys found that nobody erases", t.found, t.reads);
    }
    return {seconds, static_cast<double>(t.operations)};
}

/// Each thread slides its own window over its own keys.
template <class Peer>
sample slide(std::size_t window, std::size_t operations, int threads) {
    stage::trim();
    const auto map = std::make_unique<Peer>(window);
    const auto n = static_cast<std::size_t>(threads);
    const std::size_t live = window / n;
    const auto key = [](std::size_t thread, std::size_t i) { return key_of((u64{thread} << 40U) + i); };
    std::vector<tally> each(n);
    parallel<typename Peer::thread_scope>(threads, [&](int index) {
        for (std::size_t i = 0; i != live; ++i) {
            const u64 k = key(static_cast<std::size_t>(index), i);
            map->insert(k, value_of(k));
        }
    });
    const double seconds = parallel<typename Peer::thread_scope>(threads, [&](int index) {
        const auto me = static_cast<std::size_t>(index);
        const auto begin = clock::now();
        tally t;
        for (std::size_t i = 0; t.operations + 2 <= operations / n; ++i, t.operations += 2) {
            const u64 fresh = key(me, i + live);
            t.wrong += map->insert(fresh, value_of(fresh)) ? 0U : 1U;
            t.wrong += map->erase(key(me, i)) ? 0U : 1U;
            if (i % 512 == 511 && seconds_since(begin) > longest) {
                t.operations += 2;
                break;
            }
        }
        each[me] = t;
    });
    const tally t = sum_of(each);
    must_be("inserts of new keys and erases of old ones that failed", t.wrong, 0);
    must_be("entries after the churn", map->size(), live * n);
    return {seconds, static_cast<double>(t.operations)};
}

template <class Peer, class Key>
sample count_all(const std::vector<Key>& keys, int threads) {
    stage::trim();
    const auto map = std::make_unique<Peer>(keys.size() / 2);
    const auto n = static_cast<std::size_t>(threads);
    const double seconds = parallel<typename Peer::thread_scope>(threads, [&](int index) {
        const auto me = static_cast<std::size_t>(index);
        const std::size_t end = keys.size() * (me + 1) / n;
        for (std::size_t i = keys.size() * me / n; i != end; ++i) {
            map->add(keys[i], u64{1});
        }
    });
    u64 sum = 0;
    map->for_each([&sum](const Key&, u64 value) { sum += value; });
    must_be("sum of all counters", sum, keys.size());
    return {seconds, static_cast<double>(keys.size())};
}

template <class Peer>
sample walk(Peer& map, std::size_t entries) {
    u64 seen = 0;
    u64 sum = 0;
    u64 keys = 0;
    const double seconds = parallel<typename Peer::thread_scope>(1, [&](int) {
        map.for_each([&](u64 key, u64 value) {
            ++seen;
            sum += value;
            keys ^= key;
        });
    });
    u64 right = 0;
    for (u64 i = 0; i != entries; ++i) {
        right += value_of(key_of(i));
        keys ^= key_of(i);
    }
    must_be("entries seen", seen, entries);
    must_be("sum of all values seen", sum, right);
    must_be("exclusive or of all keys seen", keys, 0);
    return {seconds, static_cast<double>(entries)};
}

/// What part of its speed a writer keeps beside an iterating thread.
template <class Peer>
double write_beside(std::size_t entries, double seconds) {
    const auto map = std::make_unique<Peer>(entries);
    std::vector<u64> keys(entries);
    for (std::size_t i = 0; i != entries; ++i) {
        keys[i] = key_of(i);
    }
    fill(*map, entries, 1, key_of, [](u64 key) { return value_of(key); });
    shuffle(keys, 21);
    std::atomic<bool> done{false};
    const auto write = [&] {
        const auto begin = clock::now();
        std::size_t n = 0;
        double elapsed = 0;
        for (std::size_t at = 0; elapsed < seconds; at = at + 1 == entries ? 0 : at + 1) {
            map->put(keys[at], value_of(keys[at], n & 255U));
            if (++n % 64 == 0) {
                elapsed = seconds_since(begin);
            }
        }
        return static_cast<double>(n) / elapsed;
    };
    double alone = 0;
    parallel<typename Peer::thread_scope>(1, [&](int) { alone = write(); });
    double accompanied = 0;
    u64 wrong_values = 0;
    u64 short_walks = 0;
    parallel<typename Peer::thread_scope>(2, [&](int index) {
        if (index == 0) {
            accompanied = write();
            done = true;
            return;
        }
        do {
            std::size_t seen = 0;
            map->for_each([&](u64 key, u64 value) {
                ++seen;
                wrong_values += belongs(key, value) ? 0U : 1U;
            });
            short_walks += seen != entries ? 1U : 0U;
        } while (!done);
    });
    must_be("values of other keys seen by the walks", wrong_values, 0);
    if (Peer::id == std::string(ours)) {
        must_be("walks that did not see every key exactly once", short_walks, 0);
    }
    return accompanied / alone;
}

struct worst {
    double insert = 0;  // seconds
    double read = 0;
};

/// One thread inserts until the map has all entries, another reads what is there already; each operation is timed.
template <class Peer>
worst grow_and_read(const std::vector<u64>& keys) {
    stage::trim();
    const auto map = std::make_unique<Peer>(keys.size());
    std::atomic<std::size_t> there{0};
    worst w;
    u64 lost = 0;
    parallel<typename Peer::thread_scope>(2, [&](int index) {
        auto before = clock::now();
        const auto lap = [&before](double& longest_so_far) {
            const auto now = clock::now();
            longest_so_far = std::max(longest_so_far, std::chrono::duration<double>(now - before).count());
            before = now;
        };
        if (index == 0) {
            for (std::size_t i = 0; i != keys.size(); ++i) {
                map->insert(keys[i], value_of(keys[i]));
                lap(w.insert);
                if (i % 64 == 63 || i + 1 == keys.size()) {
                    there = i + 1;
                    before = clock::now();
                }
            }
            return;
        }
        random_numbers random{22};
        for (std::size_t n = there; n != keys.size(); n = there) {
            before = clock::now();
            for (std::size_t i = 0; n != 0 && i != 64; ++i) {
                const u64 key = keys[random.below(n)];
                u64 value = 0;
                lost += map->find(key, value) && belongs(key, value) ? 0U : 1U;
                lap(w.read);
            }
        }
    });
    must_be("keys not found, or found with a wrong value, while the map grew", lost, 0);
    return w;
}

}  // namespace bench
#endif
