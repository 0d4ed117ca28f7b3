// weir (BSL-1.0). Example: call again what failed, later each time, and not more often than a budget allows.
#include <weir/flow/retry.hpp>

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

// Answers every third time.
std::string fetch() {
    static int calls = 0;
    if (++calls % 3 != 0) {
        throw std::runtime_error{"connection reset"};
    }
    return "200 OK";
}

int main() {
    weir::manual_clock clock;  // so that the example need not wait; leave both out to sleep really
    weir::manual_sleeper sleep{clock};
    weir::token_retry_budget budget{{.max_tokens = 10, .token_ratio = 0.1}};  // one for all calls to one service
    weir::retry again{
        {.attempts = 4, .delay = {.base = 100ms, .max = 2s, .jitter = weir::backoff_jitter::none}, .deadline = 10s},
        budget,
        clock,
        sleep};

    for (int i = 0; i < 5; ++i) {
        auto const r = again.run(fetch);
        auto const slept = std::chrono::duration_cast<std::chrono::milliseconds>(r.slept).count();
        if (r.last.has_value()) {
            std::printf("%s after %u attempts and %d ms\n", r.last->c_str(), r.attempts, static_cast<int>(slept));
        } else {
            std::printf("given up after %u attempts%s\n", r.attempts,
                        r.why == weir::retry_stop::budget ? ", out of budget" : "");
        }
    }

    // What does not pass by itself is not tried again.
    auto const only_resets = [](weir::outcome<std::string> const& o) noexcept {
        return weir::retry_advice{.again = !o.error().is_rejection()};
    };
    auto const r = again.run(
        []() -> weir::outcome<std::string> {
            return weir::unexpected{weir::failure{weir::rejected{weir::refusal::over_capacity}}};
        },
        {}, {}, only_resets);
    std::printf("%u attempt at what cannot work\n", r.attempts);
}
