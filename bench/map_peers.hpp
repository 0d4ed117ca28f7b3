// weir (BSL-1.0). bench map peers: one interface over weir's map and its role models.
#ifndef WEIR_BENCH_MAP_PEERS_HPP
#define WEIR_BENCH_MAP_PEERS_HPP
#include <weir/data/lock_free_map.hpp>

#include "harness.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

#ifdef WEIR_BENCH_TBB
#include <oneapi/tbb/concurrent_hash_map.h>
#include <oneapi/tbb/version.h>
#endif
#ifdef WEIR_BENCH_LIBCUCKOO
#include <libcuckoo/cuckoohash_map.hh>
#endif
#ifdef WEIR_BENCH_XENIUM
#include <xenium/harris_michael_hash_map.hpp>
#include <xenium/reclamation/generic_epoch_based.hpp>
#include <xenium/vyukov_hash_map.hpp>
#endif
#ifdef WEIR_BENCH_LIBCDS
#include <cds/container/michael_list_hp.h>
#include <cds/container/split_list_map.h>
#include <cds/gc/hp.h>
#include <cds/init.h>
#include <cds/version.h>
#endif
#ifdef WEIR_BENCH_BOOST
#include <boost/functional/hash.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/version.hpp>
#if BOOST_VERSION >= 108300
#include <boost/unordered/concurrent_flat_map.hpp>
#define WEIR_BENCH_HAS_BOOST_CONCURRENT 1
#endif
#endif

// A peer is a class template of <Key, Value, Hash> with
//   id, about                 its name in the tables; what the adapter really does
//   concurrent, packaged      may threads share it; is it one of the peers that Debian packages
//   puts, erases, adds        which of the operations below it has
//   walks, walks_beside       may it be iterated at rest; beside writers
//   reserves                  may it be made with room for what is expected
//   thread_scope              an object that each using thread holds
//   find(key, out)            bool; a copy of the value
//   insert(key, value)        bool: was it new
//   put(key, value)           insert or assign; how many entries the map has gained
//   erase(key)                bool: was it there
//   add(key, n)               value += n, or insert n
//   for_each(f(key, value)), size()
// Keys may be given as string_view where the map's key is a string. `expected` in the constructor is always for the
// maps that cannot grow, and for the others if room is reserved; else they start from their default capacity.

namespace bench {

/// The hash of all rows of the main tables: each bit of a key changes each bit of the result.
struct shared_hash {
    using is_avalanching = void;
    using is_transparent = void;

    std::size_t operator()(std::uint64_t key) const noexcept {
        return folded(key ^ 0x2d358dccaa6c78a5U, folded(key ^ 0x8bb84b93962eacc9U, 0x9e3779b97f4a7c15U));
    }
    std::size_t operator()(std::string_view key) const noexcept {
        const char* at = key.data();
        std::size_t left = key.size();
        std::uint64_t seed = 0x4b33a62ed433d4a3U ^ left;
        for (; left > 16; left -= 16, at += 16) {
            seed = folded(read<std::uint64_t>(at) ^ 0x8bb84b93962eacc9U, read<std::uint64_t>(at + 8) ^ seed);
        }
        std::uint64_t a = 0;
        std::uint64_t b = 0;
        if (left >= 8) {
            a = read<std::uint64_t>(at);
            b = read<std::uint64_t>(at + left - 8);
        } else if (left >= 4) {
            a = read<std::uint32_t>(at);
            b = read<std::uint32_t>(at + left - 4);
        } else if (left > 0) {
            a = static_cast<unsigned char>(at[0]);
            b = static_cast<std::uint64_t>(static_cast<unsigned char>(at[left / 2])) << 8U |
                static_cast<unsigned char>(at[left - 1]);
        }
        return folded(0x9e3779b97f4a7c15U, folded(a ^ 0x2d358dccaa6c78a5U, b ^ seed));
    }

private:
    template <class T>
    static T read(const char* from) noexcept {
        T value;
        std::memcpy(&value, from, sizeof value);
        return value;
    }
    static std::uint64_t folded(std::uint64_t a, std::uint64_t b) noexcept {
        __extension__ using wide = unsigned __int128;
        const wide product = static_cast<wide>(a) * b;
        return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
    }
};

/// Whether a map is made for as many entries as will come, where it can be.
enum class room { grows, reserved };

/// In place of a hash: each peer takes the one it takes by default.
struct native_hash {};

template <class Hash, class Native>
using hash_or = std::conditional_t<std::is_same_v<Hash, native_hash>, Native, Hash>;
template <class Hash>
using equal_for = std::conditional_t<std::is_same_v<Hash, native_hash>, void, std::equal_to<>>;

/// Whether there is a `value += n`.
template <class Value>
inline constexpr bool countable = std::is_same_v<Value, std::uint64_t>;

/// The key as the map's own type, for the maps that look up nothing else. No allocation once the buffer is long enough.
template <class Key, class K>
const Key& as_key(const K& key) {
    if constexpr (std::is_same_v<Key, K>) {
        return key;
    } else {
        thread_local Key buffer;
        buffer.assign(key.data(), key.size());
        return buffer;
    }
}

/// An unsynchronised map's `value += n, or insert`, with one lookup where the types allow it.
template <class Key, class Map, class K, class Value>
void add_to(Map& map, const K& key, const Value& n) {
    if constexpr (std::is_same_v<Key, K>) {
        map.try_emplace(key, Value{}).first->second += n;
    } else if (const auto at = map.find(key); at != map.end()) {
        at->second += n;
    } else {
        map.emplace(Key(key), n);
    }
}

template <class Key, class Value, class Hash>
using std_map = std::conditional_t<std::is_same_v<Hash, native_hash>, std::unordered_map<Key, Value>,
                                   std::unordered_map<Key, Value, Hash, std::equal_to<>>>;

/// One std::unordered_map, one thread: what the word counts are checked against.
template <class Key, class Value, class Hash>
struct plain_peer {
    static constexpr const char* id = "plain";
    static constexpr const char* about = "std::unordered_map on one thread, no synchronisation.";
    static constexpr bool concurrent = false;
    static constexpr bool packaged = false;
    static constexpr bool puts = true, erases = true, adds = countable<Value>, walks = true, walks_beside = false;
    static constexpr bool reserves = false;
    using thread_scope = no_scope;

    explicit plain_peer(std::size_t) {}
    bool find(const auto& key, Value& out) const {
        const auto at = map.find(key);
        return at != map.end() && (out = at->second, true);
    }
    bool insert(const Key& key, const Value& value) { return map.try_emplace(key, value).second; }
    long put(const Key& key, const Value& value) { return map.insert_or_assign(key, value).second ? 1 : 0; }
    bool erase(const Key& key) { return map.erase(key) != 0; }
    void add(const auto& key, const Value& n) { add_to<Key>(map, key, n); }
    void for_each(auto f) const {
        for (const auto& [key, value] : map) {
            f(key, value);
        }
    }
    std::size_t size() const { return map.size(); }

    std_map<Key, Value, Hash> map;
};

#ifdef WEIR_BENCH_BOOST
template <class Key, class Value, class Hash>
struct floor_peer {
    static constexpr const char* id = "floor";
    static constexpr const char* about =
        "boost::unordered_flat_map on one thread, no synchronisation: what no concurrent map can be expected to reach.";
    static constexpr bool concurrent = false;
    static constexpr bool packaged = false;
    static constexpr bool puts = true, erases = true, adds = countable<Value>, walks = true, walks_beside = false;
    static constexpr bool reserves = true;
    using thread_scope = no_scope;

    explicit floor_peer(std::size_t expected, room r = room::grows) {
        if (r == room::reserved) {
            map.reserve(expected);
        }
    }
    bool find(const auto& key, Value& out) const {
        const auto at = map.find(key);
        return at != map.end() && (out = at->second, true);
    }
    bool insert(const Key& key, const Value& value) { return map.try_emplace(key, value).second; }
    long put(const Key& key, const Value& value) { return map.insert_or_assign(key, value).second ? 1 : 0; }
    bool erase(const Key& key) { return map.erase(key) != 0; }
    void add(const auto& key, const Value& n) { add_to<Key>(map, key, n); }
    void for_each(auto f) const {
        for (const auto& [key, value] : map) {
            f(key, value);
        }
    }
    std::size_t size() const { return map.size(); }

    boost::unordered_flat_map<Key, Value, hash_or<Hash, boost::hash<Key>>, std::equal_to<>> map;
};
#endif

template <class Key, class Value, class Hash>
struct std_shards_peer {
    static constexpr const char* id = "std_shards";
    static constexpr const char* about =
        "64 times a std::mutex and a std::unordered_map, chosen by the hash. Iteration locks one shard after the "
        "other.";
    static constexpr bool concurrent = true;
    static constexpr bool packaged = true;
    static constexpr bool puts = true, erases = true, adds = countable<Value>, walks = true, walks_beside = true;
    static constexpr bool reserves = true;
    using thread_scope = no_scope;

    explicit std_shards_peer(std::size_t expected, room r = room::grows) {
        if (r == room::reserved) {
            for (shard& s : shards) {
                s.map.reserve(expected / shards.size() * 9 / 8 + 16);  // no hash deals quite evenly
            }
        }
    }
    bool find(const auto& key, Value& out) {
        shard& s = of(key);
        const std::lock_guard hold(s.lock);
        const auto at = s.map.find(key);
        return at != s.map.end() && (out = at->second, true);
    }
    bool insert(const Key& key, const Value& value) {
        shard& s = of(key);
        const std::lock_guard hold(s.lock);
        return s.map.try_emplace(key, value).second;
    }
    long put(const Key& key, const Value& value) {
        shard& s = of(key);
        const std::lock_guard hold(s.lock);
        return s.map.insert_or_assign(key, value).second ? 1 : 0;
    }
    bool erase(const Key& key) {
        shard& s = of(key);
        const std::lock_guard hold(s.lock);
        return s.map.erase(key) != 0;
    }
    void add(const auto& key, const Value& n) {
        shard& s = of(key);
        const std::lock_guard hold(s.lock);
        add_to<Key>(s.map, key, n);
    }
    void for_each(auto f) {
        for (shard& s : shards) {
            const std::lock_guard hold(s.lock);
            for (const auto& [key, value] : s.map) {
                f(key, value);
            }
        }
    }
    std::size_t size() {
        std::size_t sum = 0;
        for (shard& s : shards) {
            const std::lock_guard hold(s.lock);
            sum += s.map.size();
        }
        return sum;
    }

private:
    struct alignas(64) shard {
        std::mutex lock;
        std_map<Key, Value, Hash> map;
    };
    shard& of(const auto& key) {
        const std::size_t h = hash_or<Hash, std::hash<Key>>{}(key);
        return shards[(h * 0x9e3779b97f4a7c15U) >> 58U];  // also for a native hash, which may leave the high bits empty
    }
    std::array<shard, 64> shards;
};

#ifdef WEIR_BENCH_TBB
template <class Key, class Value, class Hash>
struct tbb_peer {
    static constexpr const char* id = "onetbb";
    static constexpr const char* about =
        "tbb::concurrent_hash_map. A find copies the value under a const_accessor, put and add work under an accessor. "
        "Its iteration is not safe beside writers.";
    static constexpr bool concurrent = true;
    static constexpr bool packaged = true;
    static constexpr bool puts = true, erases = true, adds = countable<Value>, walks = true, walks_beside = false;
    static constexpr bool reserves = true;
    using thread_scope = no_scope;

    explicit tbb_peer(std::size_t expected, room r = room::grows) {
        if (r == room::reserved) {
            map.rehash(expected);
        }
    }
    bool find(const auto& key, Value& out) {
        typename map_type::const_accessor at;
        return map.find(at, key) && (out = at->second, true);
    }
    bool insert(const Key& key, const Value& value) { return map.insert({key, value}); }
    long put(const Key& key, const Value& value) {
        typename map_type::accessor at;
        const bool inserted = map.insert(at, key);
        at->second = value;
        return inserted ? 1 : 0;
    }
    bool erase(const Key& key) { return map.erase(key); }
    void add(const auto& key, const Value& n) {
        typename map_type::accessor at;
        map.insert(at, key);
        at->second += n;
    }
    void for_each(auto f) const {
        for (const auto& [key, value] : map) {
            f(key, value);
        }
    }
    std::size_t size() const { return map.size(); }

private:
    struct compare {
        using is_transparent = void;
        std::size_t hash(const auto& key) const { return Hash{}(key); }
        bool equal(const auto& a, const auto& b) const { return a == b; }
    };
    using map_type = std::conditional_t<std::is_same_v<Hash, native_hash>, tbb::concurrent_hash_map<Key, Value>,
                                        tbb::concurrent_hash_map<Key, Value, compare>>;
    map_type map;
};
#endif

#ifdef WEIR_BENCH_LIBCUCKOO
template <class Key, class Value, class Hash>
struct libcuckoo_peer {
    static constexpr const char* id = "libcuckoo";
    static constexpr const char* about =
        "libcuckoo::cuckoohash_map, from its default capacity (2^18 slots). Iteration is lock_table(), which stops all "
        "others.";
    static constexpr bool concurrent = true;
    static constexpr bool packaged = true;
    static constexpr bool puts = true, erases = true, adds = countable<Value>, walks = true, walks_beside = true;
    static constexpr bool reserves = true;
    using thread_scope = no_scope;

    explicit libcuckoo_peer(std::size_t expected, room r = room::grows) {
        if (r == room::reserved) {
            map.reserve(expected);
        }
    }
    bool find(const auto& key, Value& out) const { return map.find(key, out); }
    bool insert(const Key& key, const Value& value) { return map.insert(key, value); }
    long put(const Key& key, const Value& value) { return map.insert_or_assign(key, value) ? 1 : 0; }
    bool erase(const Key& key) { return map.erase(key); }
    void add(const auto& key, const Value& n) {
        map.upsert(
            key, [&n](Value& value) { value += n; }, n);
    }
    void for_each(auto f) {
        const auto held = map.lock_table();
        for (const auto& [key, value] : held) {
            f(key, value);
        }
    }
    std::size_t size() const { return map.size(); }

private:
    libcuckoo::cuckoohash_map<Key, Value, hash_or<Hash, std::hash<Key>>, std::equal_to<>> map;
};
#endif

/// A value that threads may update in place: for the maps that leave that to the value.
template <class Value>
struct in_place {
    Value value{};
    in_place() = default;
    explicit in_place(const Value& v) : value(v) {}
    Value load() const { return value; }
};
template <>
struct in_place<std::uint64_t> {
    std::atomic<std::uint64_t> value{0};
    in_place() = default;
    explicit in_place(std::uint64_t v) : value(v) {}
    in_place(const in_place& other) : value(other.load()) {}
    in_place& operator=(const in_place&) = delete;
    std::uint64_t load() const { return value.load(std::memory_order_relaxed); }  // relaxed: one word, no others
    void store(std::uint64_t v) { value.store(v, std::memory_order_relaxed); }    // relaxed: one word, no others
    void add(std::uint64_t n) { value.fetch_add(n, std::memory_order_relaxed); }  // relaxed: a counter
};

#ifdef WEIR_BENCH_XENIUM
using xenium_reclaimer = xenium::policy::reclaimer<xenium::reclamation::new_epoch_based<>>;

template <class Key, class Value, class Hash>
struct xenium_vyukov_peer {
    static constexpr const char* id = "xenium";
    static constexpr const char* about =
        "xenium::vyukov_hash_map with epochs where keys and values are 8-byte integers and nothing is added to a "
        "value. It "
        "has no update: put erases and inserts again, which is not atomic (others may miss the key in between). Its "
        "erase "
        "crashes for other types, so they are stored in xenium::harris_michael_hash_map, see there.";
    static constexpr bool concurrent = true;
    static constexpr bool packaged = true;
    static constexpr bool puts = true, erases = true, adds = false, walks = true, walks_beside = true;
    static constexpr bool put_is_atomic = false;
    static constexpr bool reserves = true;
    using thread_scope = no_scope;

    explicit xenium_vyukov_peer(std::size_t expected, room r = room::grows)
        : map(r == room::reserved ? expected : default_capacity) {}
    bool find(const Key& key, Value& out) const {
        typename map_type::accessor at;
        return map.try_get_value(key, at) && (out = *at, true);
    }
    bool insert(const Key& key, const Value& value) { return map.emplace(key, value); }
    long put(const Key& key, const Value& value) {
        for (long gained = 1;;) {
            gained -= map.erase(key) ? 1 : 0;
            if (map.emplace(key, value)) {
                return gained;
            }
        }
    }
    bool erase(const Key& key) { return map.erase(key); }
    void for_each(auto f) {
        for (auto at = map.begin(); at != map.end(); ++at) {
            const auto entry = *at;
            f(entry.first, entry.second);
        }
    }
    std::size_t size() {
        std::size_t n = 0;
        for_each([&n](auto&&...) { ++n; });
        return n;
    }

private:
    static constexpr std::size_t default_capacity = 128;
    using map_type =
        xenium::vyukov_hash_map<Key, Value, xenium_reclaimer, xenium::policy::hash<hash_or<Hash, xenium::hash<Key>>>>;
    map_type map;
};

template <class Key, class Value, class Hash>
struct xenium_list_peer {
    static constexpr const char* id = "xenium";
    static constexpr const char* about =
        "(word count, upsert, strings, 64-byte values) xenium::harris_michael_hash_map with epochs. Its number of "
        "buckets is "
        "fixed when compiled: 2^20 here, made before the clock starts. Counters are atomics added to in place. Strings "
        "are "
        "looked up by a per-thread std::string, as it takes nothing else.";
    static constexpr bool concurrent = true;
    static constexpr bool packaged = true;
    static constexpr bool puts = false, erases = true, adds = countable<Value>, walks = true;
    static constexpr bool walks_beside = false;
    static constexpr bool reserves = false;
    using thread_scope = no_scope;

    explicit xenium_list_peer(std::size_t, room = room::grows) : map(std::make_unique<map_type>()) {}
    bool find(const auto& key, Value& out) {
        const auto at = map->find(as_key<Key>(key));
        return at != map->end() && (out = at->second.load(), true);
    }
    bool insert(const Key& key, const Value& value) { return map->get_or_emplace(key, value).second; }
    bool erase(const Key& key) { return map->erase(key); }
    void add(const auto& key, const Value& n) {
        const Key& k = as_key<Key>(key);
        if (const auto at = map->find(k); at != map->end()) {
            at->second.add(n);
        } else if (const auto [entry, inserted] = map->get_or_emplace(k, n); !inserted) {
            entry->second.add(n);
        }
    }
    void for_each(auto f) {
        for (auto at = map->begin(); at != map->end(); ++at) {
            f(at->first, at->second.load());
        }
    }
    std::size_t size() {
        std::size_t n = 0;
        for_each([&n](auto&&...) { ++n; });
        return n;
    }

private:
    using map_type =
        xenium::harris_michael_hash_map<Key, in_place<Value>, xenium_reclaimer, xenium::policy::buckets<(1U << 20U)>,
                                        xenium::policy::hash<hash_or<Hash, xenium::hash<Key>>>>;
    std::unique_ptr<map_type> map;
};
#endif

#ifdef WEIR_BENCH_LIBCDS
/// Held by main: libcds wants to be started, and to know each thread.
struct cds_runtime {
    cds_runtime() {
        cds::Initialize();
        hazards = std::make_unique<cds::gc::HP>();
        cds::threading::Manager::attachThread();
    }
    ~cds_runtime() {
        cds::threading::Manager::detachThread();
        hazards.reset();
        cds::Terminate();
    }
    cds_runtime(const cds_runtime&) = delete;
    cds_runtime& operator=(const cds_runtime&) = delete;
    std::unique_ptr<cds::gc::HP> hazards;
};
struct cds_scope {
    cds_scope() { cds::threading::Manager::attachThread(); }
    ~cds_scope() { cds::threading::Manager::detachThread(); }
    cds_scope(const cds_scope&) = delete;
    cds_scope& operator=(const cds_scope&) = delete;
};

template <class Key, class Value, class Hash>
struct libcds_peer {
    static constexpr const char* id = "libcds";
    static constexpr const char* about =
        "cds::container::SplitListMap with hazard pointers, over MichaelList. Its directory is sized at construction, "
        "which "
        "it needs; each thread is attached before the clock starts. Counters are atomics added to in place. Its "
        "iterator is "
        "documented for debugging only.";
    static constexpr bool concurrent = true;
    static constexpr bool packaged = true;
    static constexpr bool puts = countable<Value>, erases = true, adds = puts, walks = true;
    static constexpr bool walks_beside = true;  // the writer beside it erases nothing
    static constexpr bool reserves = true;
    using thread_scope = cds_scope;

    explicit libcds_peer(std::size_t expected, room = room::grows) : map(expected, 1) {}
    bool find(const auto& key, Value& out) {
        return map.find(key, [&out](entry& e) { out = e.second.load(); });
    }
    bool insert(const Key& key, const Value& value) { return map.insert(key, in_place<Value>(value)); }
    long put(const Key& key, const Value& value) {
        // An update that inserts would show the new entry to others before it has its value.
        for (;;) {
            if (map.update(
                       key, [&value](bool, entry& e) { e.second.store(value); }, false)
                    .first) {
                return 0;
            }
            if (map.insert(key, in_place<Value>(value))) {
                return 1;
            }
        }
    }
    bool erase(const Key& key) { return map.erase(key); }
    void add(const auto& key, const Value& n) {
        if (!map.find(key, [&n](entry& e) { e.second.add(n); })) {
            map.update(key, [&n](bool, entry& e) { e.second.add(n); });
        }
    }
    void for_each(auto f) {
        for (auto at = map.begin(); at != map.end(); ++at) {
            f(at->first, at->second.load());
        }
    }
    std::size_t size() const { return map.size(); }

private:
    struct list_traits : cds::container::michael_list::traits {
        using less = std::less<>;
    };
    struct traits : cds::container::split_list::traits {
        using ordered_list = cds::container::michael_list_tag;
        using hash = hash_or<Hash, std::hash<Key>>;
        using ordered_list_traits = list_traits;
    };
    using entry = std::pair<const Key, in_place<Value>>;
    cds::container::SplitListMap<cds::gc::HP, Key, in_place<Value>, traits> map;
};
#endif

#ifdef WEIR_BENCH_HAS_BOOST_CONCURRENT
template <class Key, class Value, class Hash>
struct boost_concurrent_peer {
    static constexpr const char* id = "boost_concurrent";
    static constexpr const char* about = "boost::concurrent_flat_map (Boost >= 1.83): visit, try_emplace_or_visit.";
    static constexpr bool concurrent = true;
    static constexpr bool packaged = false;
    static constexpr bool puts = true, erases = true, adds = countable<Value>, walks = true, walks_beside = true;
    static constexpr bool reserves = true;
    using thread_scope = no_scope;

    explicit boost_concurrent_peer(std::size_t expected, room r = room::grows) {
        if (r == room::reserved) {
            map.reserve(expected);
        }
    }
    bool find(const auto& key, Value& out) const {
        return map.cvisit(key, [&out](const auto& entry) { out = entry.second; }) != 0;
    }
    bool insert(const Key& key, const Value& value) { return map.try_emplace(key, value); }
    long put(const Key& key, const Value& value) { return map.insert_or_assign(key, value) ? 1 : 0; }
    bool erase(const Key& key) { return map.erase(key) != 0; }
    void add(const auto& key, const Value& n) {
        const auto more = [&n](auto& entry) { entry.second += n; };
        if constexpr (std::is_same_v<Key, std::decay_t<decltype(key)>>) {
            map.try_emplace_or_visit(key, n, more);
        } else if (map.visit(key, more) == 0) {
            map.try_emplace_or_visit(Key(key), n, more);
        }
    }
    void for_each(auto f) const {
        map.cvisit_all([&f](const auto& entry) { f(entry.first, entry.second); });
    }
    std::size_t size() const { return map.size(); }

private:
    boost::concurrent_flat_map<Key, Value, hash_or<Hash, boost::hash<Key>>, std::equal_to<>> map;
};
#endif

template <class Key, class Value, class Hash>
struct weir_peer {
    static constexpr const char* id = "weir";
    static constexpr const char* about =
        "weir::lock_free_map with default options: find, insert, insert_or_assign, erase, upsert, for_each.";
    static constexpr bool concurrent = true;
    static constexpr bool packaged = false;
    static constexpr bool puts = true, erases = true, adds = countable<Value>, walks = true;
    static constexpr bool walks_beside = true;
    static constexpr bool reserves = true;
    using thread_scope = no_scope;

    explicit weir_peer(std::size_t expected, room r = room::grows)
        : map(options{.capacity = r == room::reserved ? expected : 0}) {}
    bool find(const auto& key, Value& out) const {
        const auto value = map.find(key);
        return value && (out = *value, true);
    }
    std::size_t find_many(std::span<const Key> keys, auto f) const { return map.visit(keys, f); }
    bool insert(const Key& key, const Value& value) { return map.insert(key, value); }
    long put(const Key& key, const Value& value) { return map.insert_or_assign(key, value) ? 1 : 0; }
    bool erase(const Key& key) { return map.erase(key); }
    void add(const auto& key, const Value& n) {
        map.upsert(key, n, [&n](const Value& value) { return value + n; });
    }
    void for_each(auto f) const {
        map.for_each([&f](const Key& key, const Value& value) { f(key, value); });
    }
    std::size_t size() const { return map.size(); }

private:
    using options = weir::lock_free_map_options;
    weir::lock_free_map<Key, Value, hash_or<Hash, std::hash<Key>>, std::equal_to<>> map;
};

template <class Peer>
constexpr bool put_is_atomic() {
    if constexpr (requires { Peer::put_is_atomic; }) {
        return Peer::put_is_atomic;
    } else {
        return true;
    }
}

/// Whether `id` is one of the concurrent peers that Debian packages.
inline bool packaged_peer(const std::string& id) {
    return id == "std_shards" || id == "onetbb" || id == "libcuckoo" || id == "xenium" || id == "libcds";
}

/// Calls f.template operator()<Peer>() for weir and for each peer that this build has. `WithAdd`: the loads that add to
/// a value in place, or whose types are more than 8-byte integers, which decides xenium's map.
template <class Key, class Value, class Hash, bool WithAdd, class F>
void for_each_map_peer(F f) {
    f.template operator()<weir_peer<Key, Value, Hash>>();
    f.template operator()<std_shards_peer<Key, Value, Hash>>();
#ifdef WEIR_BENCH_TBB
    f.template operator()<tbb_peer<Key, Value, Hash>>();
#endif
#ifdef WEIR_BENCH_LIBCUCKOO
    f.template operator()<libcuckoo_peer<Key, Value, Hash>>();
#endif
#ifdef WEIR_BENCH_XENIUM
    if constexpr (WithAdd || !std::is_same_v<Key, std::uint64_t> || !std::is_same_v<Value, std::uint64_t>) {
        f.template operator()<xenium_list_peer<Key, Value, Hash>>();
    } else {
        f.template operator()<xenium_vyukov_peer<Key, Value, Hash>>();
    }
#endif
#ifdef WEIR_BENCH_LIBCDS
    f.template operator()<libcds_peer<Key, Value, Hash>>();
#endif
#ifdef WEIR_BENCH_HAS_BOOST_CONCURRENT
    f.template operator()<boost_concurrent_peer<Key, Value, Hash>>();
#endif
#ifdef WEIR_BENCH_BOOST
    f.template operator()<floor_peer<Key, Value, Hash>>();
#endif
}

}  // namespace bench
#endif
