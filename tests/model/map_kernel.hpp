// weir (BSL-1.0). map_kernel: a small lock_free_map, threads that call it, and the judgement of what they saw.
#ifndef WEIR_TESTS_MODEL_MAP_KERNEL_HPP
#define WEIR_TESTS_MODEL_MAP_KERNEL_HPP
#include <weir/base/hash.hpp>
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/lock_free_map.hpp>

#include "kernels.hpp"
#include "support/map_calls.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

// A kernel of a map says what is there before, and what each thread does:
//
//   WEIR_MAP_KERNEL(of_two_inserts_of_a_key_one_wins, {.preemptions = 3}) {
//       scene.has({{other, 1}});
//       scene.play([](caller& me) { me.insert(k, 2); }, [](caller& me) { me.insert(k, 3); });
//   }
//
// Each call through a `caller` is recorded. When the threads have ended, the scene looks at what is in the map now, and asks
// whether some order of all calls explains it. After that it destroys the map, so that what leaks is seen.
//
// Each kernel is compiled into its program once for each form in which a map stores entries: pairs in its slots; nodes, with
// WEIR_MODEL_MAP_OF_NODES defined; nodes whose values change in place, with WEIR_MODEL_MAP_OF_STAMPED_NODES. Its test names the
// form: model_lock_free_map_of_pairs.of_two_inserts_of_a_key_one_wins.
//
// What may come before what. A thread of the C++ memory model may read an old value of a word long after another thread has
// written a new one, so that time says nothing about the calls of different threads: only the order within each thread
// and what happened before or after all of them counts. That is how a kernel is judged with stale reads. It is explored again
// without them; then a call that has returned comes before a call that was made later.

#if defined WEIR_MODEL_MAP_OF_NODES
#define WEIR_MAP_STORAGE of_nodes
#define WEIR_MAP_SUITE(name) name##_of_nodes
#elif defined WEIR_MODEL_MAP_OF_STAMPED_NODES
#define WEIR_MAP_STORAGE of_stamped_nodes
#define WEIR_MAP_SUITE(name) name##_of_stamped_nodes
#else
#define WEIR_MAP_STORAGE of_pairs
#define WEIR_MAP_SUITE(name) name##_of_pairs
#endif

namespace weir_model {
inline namespace WEIR_MAP_STORAGE {

// ---- the storage under test

/// A number that is not copied as bytes.
class boxed_number {
public:
    boxed_number(std::uint64_t number) noexcept : number_(number) {}  // implicit: kernels store and compare plain numbers
    boxed_number(boxed_number const& other) noexcept : number_(other.number_) {}
    boxed_number& operator=(boxed_number const& other) noexcept {
        number_ = other.number_;
        return *this;
    }
    operator std::uint64_t() const noexcept { return number_; }
    [[nodiscard]] std::uint64_t number() const noexcept { return number_; }

private:
    std::uint64_t number_;
};

#if defined WEIR_MODEL_MAP_OF_NODES
inline constexpr char suite_of_map[] = "lock_free_map_of_nodes";
using kernel_key = std::uint64_t;
using kernel_value = boxed_number;
#elif defined WEIR_MODEL_MAP_OF_STAMPED_NODES
inline constexpr char suite_of_map[] = "lock_free_map_of_stamped_nodes";
using kernel_key = boxed_number;
using kernel_value = std::uint64_t;
#else
inline constexpr char suite_of_map[] = "lock_free_map_of_pairs";
using kernel_key = std::uint64_t;
using kernel_value = std::uint64_t;
#endif

struct itself_hash {
    using is_avalanching = void;
    std::size_t operator()(std::uint64_t x) const noexcept { return x; }
};

using kernel_storage = weir::detail::map_storage<kernel_key, kernel_value, itself_hash>;
inline constexpr bool in_slots = kernel_storage::in_slots;
using layout = kernel_storage::header;
#if defined WEIR_MODEL_MAP_OF_NODES || defined WEIR_MODEL_MAP_OF_STAMPED_NODES
static_assert(!in_slots);
#else
static_assert(in_slots);
#endif
inline constexpr bool of_plain_nodes = !in_slots && !kernel_storage::stamped;
inline constexpr unsigned slots = unsigned{layout::slots};  // of a bucket

/// As many entries as a table of 2^bits buckets holds before it grows.
[[nodiscard]] constexpr std::size_t room(int bits) noexcept { return (kernel_storage::doubled_load << bits) / 2; }
inline constexpr std::size_t need_8_buckets = room(2) + 1;
inline constexpr std::size_t need_16_buckets = room(3) + 1;

// ---- keys whose place is known

/// The key's hash begins with this sixteenth: its bucket in a table of 16, half of it in a table of 8, a quarter in one of 4.
/// Those with n < 8 share a tag, and a bit of overflow blocks; each of the others has a tag of its own, and another bit.
[[nodiscard]] constexpr std::uint64_t key_at(unsigned sixteenth, unsigned n) noexcept { return sixteenth * 16 + n; }

/// What to hash so that the map finds the place of each key.
class key_places {
public:
    static constexpr std::uint64_t seed = 1;

    key_places() {
        const weir::seeded_hash<itself_hash> hash(itself_hash{}, seed);
        for (std::uint64_t key = 0; key < hashed_.size(); ++key) {
            const std::uint64_t n = key % 16;
            const std::uint64_t tag = n < 8 ? 3 : n - 4;  // to 11: less than both layouts have
            const auto bit = weir::detail::map_overflow::word{1} << (n < 8 ? 0 : 1 + n % 3);
            std::uint64_t x = key << 32;
            while (hash(x) >> 60 != key / 16 || layout::tag(hash(x)) != tag ||
                   weir::detail::map_overflow::bit(hash(x)) != bit) {
                ++x;
            }
            hashed_[key] = x;
        }
    }
    [[nodiscard]] std::uint64_t operator[](std::uint64_t key) const noexcept { return hashed_[key]; }

private:
    std::array<std::uint64_t, 256> hashed_{};
};
inline const key_places places;

struct placing_hash {
    using is_avalanching = void;
    std::size_t operator()(std::uint64_t key) const noexcept { return places[key]; }
};

// ---- memory that can be refused, to stop a growth where it begins

struct memory_stop {
    inline static bool armed = false;  // changes only while there is one thread
    inline static std::size_t left = 0;
};

template <class T>
struct kernel_allocator {
    using value_type = T;
    kernel_allocator() = default;
    template <class U>
    kernel_allocator(kernel_allocator<U> const&) noexcept {}  // implicit, as allocators are

    T* allocate(std::size_t n) {
        if (memory_stop::armed && memory_stop::left-- == 0) {
            memory_stop::left = 0;
            throw std::bad_alloc();
        }
        return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{alignof(T)}));
    }
    void deallocate(T* p, std::size_t n) noexcept { ::operator delete(p, n * sizeof(T), std::align_val_t{alignof(T)}); }
    friend bool operator==(kernel_allocator const&, kernel_allocator const&) = default;
};

using kernel_map = weir::lock_free_map<kernel_key, kernel_value, placing_hash, std::equal_to<kernel_key>,
                                       kernel_allocator<std::pair<kernel_key const, kernel_value>>>;

// ---- who calls, and when

enum class precedence {
    causal,   // calls of different threads come in any order
    in_time,  // what has returned comes before what is called later
};

/// A thread as the history knows it. A call that throws std::bad_alloc is one that was not made.
class caller {
public:
    using action = weir_test::map_action;
    using call = weir_test::map_call;
    using number = std::uint64_t;

    std::optional<number> find(number key) { return record({.call = call::find, .key = key}).seen; }
    bool contains(number key) { return record({.call = call::contains, .key = key}).yes; }
    std::optional<number> visit(number key) { return record({.call = call::visit, .key = key}).seen; }
    bool insert(number key, number value) { return record({.call = call::insert, .key = key, .value = value}).yes; }
    bool insert_or_assign(number key, number value) {
        return record({.call = call::insert_or_assign, .key = key, .value = value}).yes;
    }
    bool assign(number key, number value) { return record({.call = call::assign, .key = key, .value = value}).yes; }
    std::optional<number> exchange(number key, number value) {
        return record({.call = call::exchange, .key = key, .value = value}).seen;
    }
    bool compare_exchange(number key, number expected, number value) {
        return record({.call = call::compare_exchange, .key = key, .value = value, .expected = expected}).yes;
    }
    bool erase(number key) { return record({.call = call::erase, .key = key}).yes; }
    std::optional<number> extract(number key) { return record({.call = call::extract, .key = key}).seen; }
    bool compare_erase(number key, number expected) {
        return record({.call = call::compare_erase, .key = key, .expected = expected}).yes;
    }
    bool update(number key, number value) { return record({.call = call::update, .key = key, .value = value}).yes; }
    bool upsert(number key, number value) { return record({.call = call::upsert, .key = key, .value = value}).yes; }
    void compute(number key, weir_test::plan asked, number value = 0) {
        record({.call = call::compute, .key = key, .value = value, .asked = asked});
    }
    std::optional<number> find_or_create(number key, number value) {
        return record({.call = call::find_or_create, .key = key, .value = value}).seen;
    }

private:
    friend class map_scene;
    using timed = weir_test::map_timed_call;
    static constexpr std::size_t most_calls = 26;

    /// Four stamps for each step: of what reads the same, setting up comes before the threads, they before the end.
    [[nodiscard]] std::uint64_t stamp(std::uint64_t step) const noexcept { return 4 * (still_ != 0 ? still_ : step) + part_; }

    action& record(action a) {
        require(count_ < most_calls, "the kernel makes more calls than a caller records");
        timed* at = nullptr;
        {
            const outside here;
            at = ::new (static_cast<void*>(memory_ + count_ * sizeof(timed))) timed{stamp(now()), 0, thread_, a};
            open_ = true;
        }
        const bool timed_exactly = still_ == 0;  // else time says nothing, and the search need not try each order of calls
        if (timed_exactly) {
            begin_interval();
        }
        bool made = true;
        try {
            weir_test::make_call(*map_, at->action);
        } catch (std::bad_alloc const&) {
            made = false;
            at->action.yes = false;
            at->action.seen.reset();
        }
        const interval took = timed_exactly ? end_interval() : interval{};
        open_ = false;
        if (made) {
            const outside here;
            at->called = stamp(took.first);
            at->returned = stamp(took.last);
            ++count_;
        }
        return at->action;
    }
    /// What was seen of a key by other means.
    void saw(number key, std::optional<number> value) {
        const outside here;
        ::new (static_cast<void*>(memory_ + count_ * sizeof(timed)))
            timed{stamp(now()), stamp(now()), thread_, {.call = call::find, .key = key, .seen = value}};
        ++count_;
    }
    [[nodiscard]] timed const& operator[](std::size_t i) const noexcept {
        return *std::launder(reinterpret_cast<timed const*>(memory_ + i * sizeof(timed)));
    }

    kernel_map* map_ = nullptr;
    std::uint32_t thread_ = 0;
    std::uint64_t part_ = 0;
    std::uint64_t still_ = 0;  // what the clock shows for ever; 0: it goes
    std::size_t count_ = 0;
    bool open_ = false;
    alignas(timed) std::byte memory_[most_calls * sizeof(timed)];  // filled as calls are made: clearing it costs time
};

/// A map from its beginning to its end, and who calls it.
class map_scene {
public:
    map_scene(precedence order, weir::hazard_pointer_mode mode) : order_(order) {
        weir::hazard_pointer_default_domain().reset(mode);
        map_ = new kernel_map({.capacity = 0, .seed = key_places::seed});
        for (std::uint32_t i = 0; i < callers_.size(); ++i) {
            callers_[i].map_ = map_;
            callers_[i].thread_ = i;
            callers_[i].part_ = i == 0 ? 0 : i + 1 < callers_.size() ? 1 : 2;
        }
    }
    ~map_scene() {
        if (all_ended_) {
            delete map_;
            weir::hazard_pointer_default_domain().reset(weir::hazard_pointer_mode::seq_cst);
        }
    }
    map_scene(map_scene const&) = delete;
    map_scene& operator=(map_scene const&) = delete;

    /// For calls that are not recorded.
    [[nodiscard]] kernel_map& map() noexcept { return *map_; }
    /// Makes calls before and after the threads.
    [[nodiscard]] caller& before() noexcept { return callers_.front(); }
    [[nodiscard]] caller& after() noexcept { return callers_.back(); }

    void has(std::initializer_list<std::pair<std::uint64_t, std::uint64_t>> entries) {
        for (auto const& [key, value] : entries) {
            before().insert(key, value);
        }
    }
    /// Entries with tags of their own: no slot is left in the bucket, the values are 80 and more.
    void has_a_full_bucket(unsigned sixteenth = 0) {
        for (unsigned n = 8; n < 8 + slots; ++n) {
            before().insert(key_at(sixteenth, n), 72 + n);
        }
    }

    /// Does what it can with so many allocations; the next ones fail.
    template <class F>
    static void with_allocations(std::size_t count, F const& f) {
        memory_stop::armed = true;
        memory_stop::left = count;
        try {
            f();
        } catch (std::bad_alloc const&) {
        }
        memory_stop::armed = false;
    }

    /// A table of eight buckets is linked behind one of four, and no bucket is moved yet.
    void has_begun_to_grow() {
        with_allocations(1, [&] { map().reserve(need_8_buckets); });  // not of the first piece of the new table
    }
    /// As before, but that the first bucket is the only one that is still to be moved.
    void has_only_one_bucket_left_to_move() {
        has_begun_to_grow();
        for (int i = 0; i < 3; ++i) {
            before().erase(key_at(4, 15));  // not there: in the second bucket
        }
    }

    /// A table of eight buckets, which may shrink.
    void has_eight_buckets() {
        map().reserve(need_8_buckets);
        with_allocations(0, [&] { map().shrink_to_fit(); });  // lowers the floor, and does no more
    }
    /// A table of four buckets is linked behind one of eight, and no bucket is moved yet.
    void has_begun_to_shrink() {
        with_allocations(1, [&] { map().shrink_to_fit(); });
    }
    /// As before, but that the first two buckets, which have one child, are the only ones that are still to be moved.
    void has_only_two_buckets_left_to_move() {
        has_begun_to_shrink();
        with_allocations(0, [&] { map().shrink_to_fit(); });  // each time one bucket is chosen to be moved: now both have been
        for (int i = 0; i < 6; ++i) {
            before().erase(key_at(15, 15));  // not there: in the last bucket
        }
    }

    /// Runs one function for each thread, the last one in this thread. Whether all have ended: else one is frozen.
    template <class... Threads>
    bool play(Threads... threads) {
        static_assert(sizeof...(Threads) + 2 <= std::tuple_size_v<decltype(callers_)>);
        stop_the_clock();
        std::size_t next = 1;
        // On the heap: a frozen thread has read it, and no later frame of this thread may be taken for a race with that.
        std::unique_ptr<std::tuple<part<Threads>...>> parts(
            new std::tuple<part<Threads>...>{part<Threads>{threads, callers_[next++]}...});
        all_ended_ = std::apply([](auto&... each) { return together(each...); }, *parts);
        if (!all_ended_) {
            static_cast<void>(parts.release());
        }
        return all_ended_;
    }

    /// Runs `first` in its own thread until it has ended or is frozen, then `second` in this thread: for long ones, of which
    /// each step meets each other too often.
    template <class First, class Second>
    bool play_in_turn(First first, Second second) {
        const auto* const kept = new part<First>{std::move(first), callers_[1]};  // see above
        thread one([kept] { (*kept)(); });
        all_ended_ = one.join();
        if (all_ended_) {
            delete kept;
        }
        second(callers_[2]);
        return all_ended_;
    }

    /// Looks at everything that is there, and judges.
    void judge() {
        look_at_all();
        const char* wrong = nullptr;
        {
            const outside here;
            wrong = unexplained();
        }
        if (wrong != nullptr) {
            require(false, wrong);
        }
    }

private:
    using timed = weir_test::map_timed_call;
    using action = weir_test::map_action;
    template <class Thread>
    struct part {
        Thread thread;
        caller& me;
        void operator()() const { thread(me); }
    };
    static constexpr std::uint64_t any_time = std::numeric_limits<std::uint64_t>::max();

    void stop_the_clock() {
        if (order_ == precedence::causal) {
            const std::uint64_t begun = now();
            for (std::size_t i = 1; i + 1 < callers_.size(); ++i) {
                callers_[i].still_ = begun;
            }
        }
    }

    void look_at_all() {
        std::array<std::pair<std::uint64_t, std::uint64_t>, 32> there{};
        std::size_t count = 0;
        bool whole = true;
        try {
            map_->for_each([&](std::uint64_t key, std::uint64_t value) {
                require(count < there.size(), "the kernel stores more entries than can be looked at");
                for (std::size_t i = 0; i < count; ++i) {
                    require(there[i].first != key, "a key is in the map twice");
                }
                there[count++] = {key, value};
            });
        } catch (std::bad_alloc const&) {
            whole = false;
        }
        require(!all_ended_ || !whole || map_->size() == count, "size() is the number of entries, when all is at rest");
        std::array<std::uint64_t, 32> keys{};
        const auto [all, asked] = mentioned(keys);
        for (std::size_t i = 0; whole && i < all; ++i) {
            std::optional<std::uint64_t> value;
            for (std::size_t j = 0; j < count; ++j) {
                if (there[j].first == keys[i]) {
                    value = there[j].second;
                }
            }
            after().saw(keys[i], value);
        }
        for (std::size_t i = 0; i < asked; ++i) {
            after().find(keys[i]);
        }
    }
    /// The keys of all calls, those of the threads first: how many there are, and how many of the threads.
    std::pair<std::size_t, std::size_t> mentioned(std::array<std::uint64_t, 32>& keys) const {
        const outside here;
        std::size_t count = 0;
        const auto take = [&](caller const& from) {
            for (std::size_t i = 0; i < from.count_ + (from.open_ ? 1U : 0U); ++i) {
                const std::uint64_t key = from[i].action.key;
                bool known = false;
                for (std::size_t j = 0; j < count; ++j) {
                    known = known || keys[j] == key;
                }
                if (!known && count < keys.size()) {
                    keys[count++] = key;
                }
            }
        };
        for (std::size_t i = 1; i + 1 < callers_.size(); ++i) {
            take(callers_[i]);
        }
        const std::size_t asked = count;
        take(callers_.front());
        return {count, asked};
    }

    /// What is wrong with the history, as text that stays; null if nothing is.
    const char* unexplained() const {
        std::vector<timed> calls;
        timed const* open = nullptr;
        for (caller const& c : callers_) {
            for (std::size_t i = 0; i < c.count_; ++i) {
                calls.push_back(c[i]);
            }
            if (c.open_) {
                open = &c[c.count_];
            }
        }
        static char text[4096];
        std::string first;
        if (fits(calls, first)) {
            return nullptr;
        }
        if (open != nullptr) {  // a frozen thread is inside this call, which may have had its effect, and any answer
            std::vector<std::optional<std::uint64_t>> seen{std::nullopt, open->action.value};
            for (timed const& c : calls) {
                if (c.action.key == open->action.key && c.action.value != 0) {
                    seen.push_back(c.action.value);
                }
            }
            for (auto const& s : seen) {
                for (const bool yes : {false, true}) {
                    auto with = calls;
                    with.push_back(*open);
                    with.back().returned = any_time;
                    with.back().action.seen = s;
                    with.back().action.yes = yes;
                    std::string ignored;
                    if (fits(with, ignored)) {
                        return nullptr;
                    }
                }
            }
        }
        std::memcpy(text, first.c_str(), std::min(first.size() + 1, sizeof text - 1));
        return text;
    }
    static bool fits(std::vector<timed> const& calls, std::string& why_not) {
        const auto judged = weir_test::judge_each_key(calls, weir_test::map_entry{}, [](action const& a) { return a.key; });
        if (judged.found.is == weir_test::verdict::linearizable) {
            return true;
        }
        std::ostringstream text;
        text << judged;
        why_not = text.str();
        return false;
    }

    precedence order_;
    kernel_map* map_ = nullptr;  // on the heap: a frozen thread goes on using it
    bool all_ended_ = true;
    std::array<caller, 5> callers_;  // before; up to three threads; after
};

inline void run_scene(void (*body)(map_scene&), precedence order, weir::hazard_pointer_mode mode) {
    map_scene scene(order, mode);
    body(scene);
    scene.judge();
}

/// The same, where even the scene may get no memory: then there is nothing to see.
inline void run_scene_out_of_memory(void (*body)(map_scene&)) {
    try {
        run_scene(body, precedence::in_time, weir::hazard_pointer_mode::seq_cst);
    } catch (std::bad_alloc const&) {
    }
}

/// The same bounds where time orders the calls.
[[nodiscard]] inline options without_stale_reads(options with) {
    with.stale_reads = 0;
    return with;
}

}  // namespace WEIR_MAP_STORAGE
}  // namespace weir_model

// Not WEIR_MODEL_KERNEL and TEST themselves: those take the name of the suite as it is written.
#define WEIR_MAP_KERNEL_OF(suite, name, ...) WEIR_MODEL_KERNEL(suite, name, __VA_ARGS__)
#define WEIR_MAP_TEST_OF(suite, name) TEST(suite, name)

// Explored with stale reads, also for each mutant; and once more without them, judged by time.
#define WEIR_MAP_KERNEL(name, ...)                                                                                     \
    static void name##_scene(::weir_model::map_scene& scene);                                                          \
    WEIR_MAP_KERNEL_OF(WEIR_MAP_SUITE(lock_free_map), name, __VA_ARGS__) {                                             \
        ::weir_model::run_scene(name##_scene, ::weir_model::precedence::causal, weir::hazard_pointer_mode::seq_cst);   \
    }                                                                                                                  \
    WEIR_MAP_TEST_OF(WEIR_MAP_SUITE(model_lock_free_map), name##_in_time) {                                            \
        ::weir_model::check_kernel(                                                                                    \
            [] {                                                                                                       \
                ::weir_model::run_scene(name##_scene, ::weir_model::precedence::in_time,                               \
                                        weir::hazard_pointer_mode::seq_cst);                                           \
            },                                                                                                         \
            ::weir_model::without_stale_reads(__VA_ARGS__));                                                           \
    }                                                                                                                  \
    static void name##_scene(::weir_model::map_scene& scene)

// The same with both modes of hazard pointers.
#define WEIR_MAP_KERNEL_IN_BOTH_MODES(name, ...)                                                                       \
    static void name##_scene(::weir_model::map_scene& scene);                                                          \
    WEIR_MAP_KERNEL_OF(WEIR_MAP_SUITE(lock_free_map), name##_behind_a_barrier, __VA_ARGS__) {                          \
        ::weir_model::run_scene(name##_scene, ::weir_model::precedence::causal, weir::hazard_pointer_mode::membarrier); \
    }                                                                                                                  \
    WEIR_MAP_KERNEL(name, __VA_ARGS__)

// One thread freezes for ever at each of its steps in turn, then nothing of what it uses can be given back.
#define WEIR_MAP_PROGRESS_KERNEL(name)                                                                                 \
    static void name##_scene(::weir_model::map_scene& scene);                                                          \
    WEIR_MAP_KERNEL_OF(WEIR_MAP_SUITE(lock_free_map_progress), name,                                                   \
                      {.preemptions = 1, .stale_reads = 0, .freezes = 1, .max_steps = 4000, .check_leaks = false}) {   \
        ::weir_model::run_scene(name##_scene, ::weir_model::precedence::in_time, weir::hazard_pointer_mode::seq_cst);  \
    }                                                                                                                  \
    static void name##_scene(::weir_model::map_scene& scene)

// Each allocation fails in turn.
#define WEIR_MAP_FAILURE_KERNEL(name)                                                                                  \
    static void name##_scene(::weir_model::map_scene& scene);                                                          \
    WEIR_MAP_KERNEL_OF(WEIR_MAP_SUITE(lock_free_map_out_of_memory), name,                                              \
                      {.preemptions = 1, .stale_reads = 0, .allocation_failures = 1}) {                                \
        ::weir_model::run_scene_out_of_memory(name##_scene);                                                           \
    }                                                                                                                  \
    static void name##_scene(::weir_model::map_scene& scene)

#endif
