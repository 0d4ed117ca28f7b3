// weir (BSL-1.0). Example: a limit for each client of a service, and when to come again.
#include <weir/flow/rate_limiter.hpp>

#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;

// 5 requests a second for each client, 3 of them at once; in 64 KiB, however many clients there are.
using limiter = weir::keyed_rate_limiter<std::string, weir::token_bucket<weir::manual_clock>>;

void serve(limiter& limit, std::string const& client) {
    if (auto const d = limit.allow(client)) {
        std::printf("%s: 200, %d more at once\n", client.c_str(), static_cast<int>(d.remaining));
    } else {
        auto const wait = std::chrono::ceil<std::chrono::milliseconds>(d.retry_after);
        std::printf("%s: 429, retry after %d ms\n", client.c_str(), static_cast<int>(wait.count()));
    }
}

int main() {
    weir::manual_clock clock;  // so that the example need not wait; leave it out to go by the steady clock
    limiter limit{{.limit = 5, .burst = 3}, {.capacity = 3000}, clock};

    for (int i = 0; i < 4; ++i) {
        serve(limit, "alice");
    }
    serve(limit, "bob");
    clock.advance(200ms);
    serve(limit, "alice");

    // Somebody sends as many addresses as he likes: memory stays, and alice's limit too.
    for (int i = 0; i < 100'000; ++i) {
        static_cast<void>(limit.try_acquire("spoofed " + std::to_string(i)));
    }
    serve(limit, "alice");
    std::printf("keys remembered: at most %zu\n", limit.stats().capacity);
}
