// weir (BSL-1.0). Lock-freedom of lock_free_map: one thread is stopped at whatever instruction a signal happens to find it, and stays
// stopped; all others must finish what they do, on the same keys, through several growths.
#include <weir/data/lock_free_map.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "support/random.hpp"
#include "support/scale.hpp"

namespace {

// malloc takes locks, so a thread stopped inside it would stop the others there. This takes none, and gives nothing back.
class arena {
public:
    static void* take(std::size_t bytes, std::size_t alignment) {
        static char* const memory = reserve();
        const std::size_t at = used.fetch_add(bytes + alignment) + alignment - 1;
        if (at + bytes > size) {
            std::abort();
        }
        return memory + at / alignment * alignment;
    }
    static void reset() { used = 0; }

private:
    static constexpr std::size_t size = std::size_t{1} << 32;
    static char* reserve() {
        void* const p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        return p == MAP_FAILED ? nullptr : static_cast<char*>(p);
    }
    static inline std::atomic<std::size_t> used{0};
};

template <class T>
struct arena_allocator {
    using value_type = T;
    arena_allocator() = default;
    template <class U>
    arena_allocator(arena_allocator<U> const&) {}
    T* allocate(std::size_t n) { return static_cast<T*>(arena::take(n * sizeof(T), alignof(T))); }
    void deallocate(T*, std::size_t) {}
    friend bool operator==(arena_allocator const&, arena_allocator const&) { return true; }
};

using key = std::uint64_t;
using map_type = weir::lock_free_map<key, std::uint64_t, std::hash<key>, std::equal_to<key>,
                                     arena_allocator<std::pair<key const, std::uint64_t>>>;

std::atomic<bool> stopped{false};
std::atomic<bool> released{false};

void stay(int) {
    stopped = true;
    while (!released) {
        poll(nullptr, 0, 1);
    }
}

constexpr key hot_keys = 24;

void use(map_type& map, weir_test::random_numbers& random, key filler) {
    const key k = random.below(hot_keys);
    switch (random.below(8)) {
    case 0: map.insert(k, 1); break;
    case 1: map.erase(k); break;
    case 2: map.insert_or_assign(k, 2); break;
    case 3: map.upsert(k, 1, [](std::uint64_t v) { return v + 1; }); break;
    case 4: static_cast<void>(map.find(k)); break;
    case 5: map.for_each_relaxed([](key, std::uint64_t) {}); break;
    default: map.insert(hot_keys + filler, filler); break;
    }
}

// Everything that is named lock-free, on every hot key, and enough new keys for three growths.
void use_everything(map_type& map, key first_filler) {
    for (key k = 0; k < hot_keys; ++k) {
        map.insert(k, 1);
        map.insert_or_assign(k, 2);
        map.update(k, [](std::uint64_t v) { return v + 1; });
        static_cast<void>(map.extract(k));
        map.compute(k, [](std::uint64_t const*) { return weir::decision<std::uint64_t>::assign(7); });
        EXPECT_LE(map.find(k).value_or(0), 1000U);
    }
    const auto before = map.stats().growths;
    for (key k = first_filler; map.stats().growths < before + 3; k += 64) {
        for (key i = 0; i < 64; ++i) {
            map.insert(k + i, k);
        }
    }
    std::size_t seen = 0;
    map.for_each([&](key, std::uint64_t) { ++seen; });
    EXPECT_GT(seen, std::size_t{0});
    for (key k = 0; k < hot_keys; ++k) {
        map.erase(k);
    }
    map.reserve(4 * map.size());
}

// Fails the test program when `work` does not end: there is nothing else to do then.
template <class Work>
void must_end(Work work) {
    auto end = std::async(std::launch::async, std::move(work));
    if (end.wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
        std::fputs("a stopped thread stops others\n", stderr);
        std::_Exit(1);
    }
    end.get();
}

void warm_up() {  // whatever a thread allocates once by malloc
    map_type map;
    weir_test::random_numbers random(1);
    for (key i = 0; i < 200; ++i) {
        use(map, random, i);
    }
}

TEST(lock_free_map_progress, a_thread_stopped_at_any_instruction_stops_no_other) {
    struct sigaction action {};
    action.sa_handler = stay;
    ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
    const std::size_t rounds = weir_test::scaled(100, 20);
    for (std::size_t round = 0; round < rounds; ++round) {
        arena::reset();
        map_type map;
        stopped = released = false;
        std::atomic<bool> over{false};
        std::atomic<key> done{0};
        std::thread victim([&] {
            warm_up();
            weir_test::random_numbers random(round);
            for (key i = 0; !over; ++i) {
                use(map, random, i);
                done = i;
            }
        });
        weir_test::random_numbers random(round + 1000);
        const key some = random.below(400);
        while (done < some) {
            std::this_thread::yield();
        }
        pthread_kill(victim.native_handle(), SIGUSR1);
        while (!stopped) {
            std::this_thread::yield();
        }
        must_end([&] {
            std::thread other([&] { use_everything(map, key{1} << 32); });
            use_everything(map, key{1} << 33);
            other.join();
        });
        over = true;
        released = true;
        victim.join();
    }
}

}  // namespace
