// weir (BSL-1.0). Example: no more than two calls to a slow database at once, three that wait, and the rest are told so at once.
#include <weir/flow/bulkhead.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

int main() {
    weir::bulkhead database{{.max_concurrent = 2, .max_waiting = 3}};
    std::atomic<int> running{0};
    std::atomic<int> most{0};

    auto const query = [&] {
        auto const permit = database.acquire_for(1s);
        if (!permit) {
            return;  // permit.error() says why: bulkhead_full, or timed_out
        }
        int const now = ++running;
        int seen = most;
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        std::this_thread::sleep_for(100us);
        --running;
    };  // the permit is given back here

    std::vector<std::jthread> clients;
    for (int i = 0; i < 8; ++i) {
        clients.emplace_back([&] {
            for (int n = 0; n < 20; ++n) {
                query();
            }
        });
    }
    clients.clear();  // waits for them

    auto const s = database.stats();
    std::printf("at most %d queries at once\n", most.load());
    std::printf("all %s answered or refused\n", s.admitted + s.refused + s.timed_out == 160 ? "were" : "were not");
    std::printf("permits still out: %zu\n", s.in_use);
    return most <= 2 ? 0 : 1;
}
