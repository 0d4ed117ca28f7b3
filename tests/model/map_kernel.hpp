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

    action& record(action a);
    /// What was seen of a key by other means.
    void saw(number key, std::optional<number> value);
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
    map_scene(precedence order, weir::hazard_pointer_mode mode);
    ~map_scene();
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
    void has_a_full_bucket(unsigned sixteenth = 0);

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
    void has_begun_to_grow();
    /// As before, but that the first bucket is the only one that is still to be moved.
    void has_only_one_bucket_left_to_move();

    /// A table of eight buckets, which may shrink.
    void has_eight_buckets();
    /// A table of four buckets is linked behind one of eight, and no bucket is moved yet.
    void has_begun_to_shrink();
    /// As before, but that the first two buckets, which have one child, are the only ones that are still to be moved.
    void has_only_two_buckets_left_to_move();

    /// What a thread does. Not a template's parameter: there are hundreds of them to compile.
    using script = std::function<void(caller&)>;

    /// Runs one function for each thread, the last one in this thread. Whether all have ended: else one is frozen.
    bool play(script one, script two = nullptr, script three = nullptr);

    /// Runs `first` in its own thread until it has ended or is frozen, then `second` in this thread: for long ones, of which
    /// each step meets each other too often.
    bool play_in_turn(script first, script const& second);

    /// Looks at everything that is there, and judges.
    void judge();

private:
    using timed = weir_test::map_timed_call;
    using action = weir_test::map_action;
    struct part {
        script thread;
        caller& me;
        void operator()() const { thread(me); }
    };
    static constexpr std::uint64_t any_time = std::numeric_limits<std::uint64_t>::max();

    void stop_the_clock();

    void look_at_all();
    /// The keys of all calls, those of the threads first: how many there are, and how many of the threads.
    std::pair<std::size_t, std::size_t> mentioned(std::array<std::uint64_t, 32>& keys) const;

    /// What is wrong with the history, as text that stays; null if nothing is.
    const char* unexplained() const;
    static bool fits(std::vector<timed> const& calls, std::string& why_not);

    precedence order_;
    kernel_map* map_ = nullptr;  // on the heap: a frozen thread goes on using it
    bool all_ended_ = true;
    std::array<caller, 5> callers_;  // before; up to three threads; after
};

void run_scene(void (*body)(map_scene&), precedence order, weir::hazard_pointer_mode mode);

/// The same, where even the scene may get no memory: then there is nothing to see.
void run_scene_out_of_memory(void (*body)(map_scene&));


using map_scene_body = void (*)(map_scene&);

// Adds the explorations of a kernel to the tests of the program; see the macros below.
bool add_map_kernel(char const* suite, char const* name, map_scene_body body, char const* file, int line,
                           options const& with);
bool add_map_kernel_in_both_modes(char const* suite, char const* name, map_scene_body body, char const* file, int line,
                                         options const& with);
bool add_map_kernel_in_time(char const* suite, char const* name, map_scene_body body, char const* file, int line,
                                   options const& with);
bool add_map_kernel_out_of_memory(char const* suite, char const* name, map_scene_body body, char const* file, int line,
                                         options const& with);

}  // namespace WEIR_MAP_STORAGE
}  // namespace weir_model

#define WEIR_MAP_TEXT(text) WEIR_MAP_TEXT_OF(text)
#define WEIR_MAP_TEXT_OF(text) #text
#define WEIR_MAP_SCENE(add, suite, name, ...)                                                                          \
    static void name##_scene(::weir_model::map_scene& scene);                                                          \
    [[maybe_unused]] static const bool name##_added = ::weir_model::add(                                               \
        WEIR_MAP_TEXT(WEIR_MAP_SUITE(suite)), #name, &name##_scene, __FILE__, __LINE__, __VA_ARGS__);                  \
    static void name##_scene(::weir_model::map_scene& scene)

// Explored with stale reads, also for each mutant; and once more without them, judged by time.
#define WEIR_MAP_KERNEL(name, ...) WEIR_MAP_SCENE(add_map_kernel, lock_free_map, name, __VA_ARGS__)

// The same with both modes of hazard pointers.
#define WEIR_MAP_KERNEL_IN_BOTH_MODES(name, ...)                                                                       \
    WEIR_MAP_SCENE(add_map_kernel_in_both_modes, lock_free_map, name, __VA_ARGS__)

// One thread freezes for ever at each of its steps in turn, then nothing of what it uses can be given back.
#define WEIR_MAP_PROGRESS_KERNEL(name)                                                                                 \
    WEIR_MAP_SCENE(add_map_kernel_in_time, lock_free_map_progress, name,                                               \
                   {.preemptions = 1, .stale_reads = 0, .freezes = 1, .max_steps = 4000, .check_leaks = false})

// Each allocation fails in turn.
#define WEIR_MAP_FAILURE_KERNEL(name)                                                                                  \
    WEIR_MAP_SCENE(add_map_kernel_out_of_memory, lock_free_map_out_of_memory, name,                                    \
                   {.preemptions = 1, .stale_reads = 0, .allocation_failures = 1})

// TEST itself takes the name of the suite as it is written.
#define WEIR_MAP_TEST_OF(suite, name) TEST(suite, name)

// Of a map that the kernel makes itself.
#define WEIR_MAP_KERNEL_OF(suite, name, ...) WEIR_MODEL_KERNEL(suite, name, __VA_ARGS__)

#endif
