// weir (BSL-1.0). Example: a fallback, retries, a circuit breaker and a rate limit around one call.
#include <weir/flow/circuit_breaker.hpp>
#include <weir/flow/pipeline.hpp>
#include <weir/flow/rate_limiter.hpp>
#include <weir/flow/retry.hpp>

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

int main() {
    weir::manual_clock clock;  // so that the example need not wait; leave it out to go by the steady clock
    weir::manual_sleeper sleep{clock};
    weir::retry again{{.attempts = 3, .delay = {.base = 100ms}}, clock, sleep};
    weir::circuit_breaker breaker{weir::consecutive_failures{.failures = 4}, {.open = 30s}, clock};
    weir::token_bucket limit{{.limit = 10, .burst = 10}, clock};

    auto const cached = [](weir::failure const& why) {
        return std::string{"cached price ("} +
               (why.is_rejection() ? to_string(why.rejection().reason) : "the call failed") + ")";
    };
    // The outermost layer comes first: each retry is a call of its own to the breaker and to the limiter.
    auto const guarded =
        weir::fallback(cached) | weir::timeout(2s) | again.policy() | breaker.policy() | limit.policy();

    bool healthy = true;
    int calls = 0;
    auto const price = [&](auto& context, std::string const& what) {
        ++calls;
        if (!healthy) {
            throw std::runtime_error{"no route to host, attempt " + std::to_string(context.attempt)};
        }
        return "price of " + what;
    };
    auto const ask = [&] {
        calls = 0;
        weir::call_context<weir::manual_clock> context{.clock = clock};
        auto const answer = guarded.run(context, price, "tea");
        std::printf("%s; calls made: %d\n", answer->c_str(), calls);
    };

    ask();
    healthy = false;
    ask();  // three attempts
    ask();  // the next failure opens the breaker, which refuses the rest
    ask();
    healthy = true;
    clock.advance(31s);
    ask();  // a probe
    ask();
}
