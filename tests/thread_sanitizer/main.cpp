// weir (BSL-1.0). thread_sanitizer: a stranger's program that passes objects between threads, under their own sanitizer.
#include <weir/data/object_pool.hpp>
#include <weir/with/boost_lockfree.hpp>

#include <boost/lockfree/stack.hpp>

#include <cstddef>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#ifdef WEIR_TEST_RAW
// What weir's calls are wrapped for. The sanitizer has to find this, or its silence on the rest says nothing.
struct raw_stack {
    boost::lockfree::stack<int*, boost::lockfree::fixed_sized<true>> in{64};
    bool try_push(int* p) { return in.bounded_push(p); }
    int* try_pop() {
        int* p = nullptr;
        return in.pop(p) ? p : nullptr;
    }
};
using stack = raw_stack;
#else
struct our_stack {
    weir::boost_stack<int*> in{64};
    bool try_push(int* p) { return in.try_push(p); }
    int* try_pop() { return in.try_pop().value_or(nullptr); }
};
using stack = our_stack;
#endif

template <class Work>
void four_times(Work const& work) {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back(work);
    }
}

int main() {
    constexpr int rounds = 20'000;
    std::vector<int> numbers(32);
    stack shared;
    for (auto& each : numbers) {
        shared.try_push(&each);
    }
    four_times([&] {
        for (int i = 0; i < rounds; ++i) {
            if (i % 64 == 0) {
                std::this_thread::yield();  // or each thread would be done before the next one begins
            }
            int* const a = shared.try_pop();
            int* const b = shared.try_pop();
            for (int* const mine : {a, b}) {
                if (mine != nullptr) {
                    ++*mine;
                    static_cast<void>(shared.try_push(mine));
                }
            }
        }
    });

    weir::object_pool<int> objects{{.max_idle = 128}};
    weir::object_pool<int> few{{.max_idle = 8, .max_live = 6}};
    four_times([&] {
        std::vector<weir::pooled<int>> mine;
        for (int i = 0; i < rounds; ++i) {
            mine.push_back(objects.acquire());
            ++*mine.back();
            if (mine.size() == 40) {
                mine.clear();
            }
            if (auto const one = few.try_acquire()) {
                ++*one;
            }
        }
    });
    std::printf("%zu objects are idle\n", objects.stats().idle + few.stats().idle);
}
