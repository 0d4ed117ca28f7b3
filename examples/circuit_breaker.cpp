// weir (BSL-1.0). Example: a service that fails for a while is left alone, and found again by a probe.
#include <weir/flow/circuit_breaker.hpp>

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

int main() {
    weir::manual_clock clock;  // so that the example need not wait; leave it out to go by the steady clock
    weir::circuit_breaker<weir::consecutive_failures, weir::manual_clock> breaker{
        {.failures = 3}, {.open = 30s, .open_multiplier = 2, .half_open = {.permits = 1}}, clock};

    int calls = 0;
    auto const fetch = [&](int second) -> std::string {
        ++calls;
        if (second >= 20 && second < 90) {
            throw std::runtime_error("connection refused");
        }
        return "200 OK";
    };

    for (int second = 0; second <= 130; second += 5, clock.advance(5s)) {
        auto const answer = breaker.try_call(fetch, second);
        if (answer.has_value()) {
            std::printf("%3d s: %s\n", second, answer->c_str());
        } else if (answer.error().is_rejection()) {
            auto const wait = std::chrono::ceil<std::chrono::seconds>(answer.error().rejection().retry_after);
            std::printf("%3d s: not called, again in %d s\n", second, static_cast<int>(wait.count()));
        } else {
            try {
                answer.error().rethrow();
            } catch (std::exception const& e) {
                std::printf("%3d s: %s\n", second, e.what());
            }
        }
    }

    auto const s = breaker.stats();
    std::printf("%d calls made, %d not; opened %d times\n", calls, static_cast<int>(s.refused),
                static_cast<int>(s.opened));
}
