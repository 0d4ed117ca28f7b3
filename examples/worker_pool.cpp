// weir (BSL-1.0). Example: answers from calls made elsewhere, many calls at once, and jobs in the background that do not end in time.
#include <weir/run/worker_pool.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <latch>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

int price(int item) {
    return item < 100 ? item * 3 : throw std::out_of_range{"no such item"};
}

int main() {
    weir::task_pool pool{{.min_workers = 2, .max_workers = 2, .capacity = 100}};

    auto one = pool.async(price, 14);
    auto const answer = one.get_for(10s);  // a value, what the call threw, or why it was not made
    std::printf("price of item 14: %d\n", answer.value());

    std::vector<int> const items{1, 2, 300};
    for (auto const& each : pool.map(items, price, {.in_flight = 2})) {
        try {
            each.has_value() ? std::printf("  %d\n", *each) : (each.error().rethrow(), 0);
        } catch (std::exception const& e) {
            std::printf("  %s\n", e.what());
        }
    }

    // Two jobs that go on until they are told to stop, and ten that wait for them.
    std::latch begun{2};
    for (int i = 0; i < 2; ++i) {
        static_cast<void>(pool.submit([&begun](std::stop_token const& stop) {
            for (begun.count_down(); !stop.stop_requested();) {
                std::this_thread::sleep_for(1ms);
            }
        }));
    }
    begun.wait();
    for (int i = 0; i < 10; ++i) {
        if (auto const sent = pool.submit([] { std::puts("never printed"); }); !sent) {
            std::printf("not taken: %s\n", to_string(sent.error()));
        }
    }
    auto const early = pool.stop_for(20ms);  // lets all that is queued run, if the time suffices
    std::printf("after 20 ms: %zu run, %zu wait\n", early->running, early->queued);
    auto const late = pool.stop(weir::stop_mode::discard);
    std::printf("stopped: %s, given back: %zu\n", late->stopped ? "yes" : "no", late->not_run.size());
    return late->stopped && pool.submit([] {}).error() == weir::refusal::closed ? 0 : 1;
}
