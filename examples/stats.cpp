// weir (BSL-1.0). Example: time a function, and see how long it takes: quantiles, and a plot.
#include <weir/data/stats.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

weir::histogram<> latency;  // of durations, 1 ns to 1 h, to within 1/64; a thread records in a few nanoseconds

// The function: its time depends on its argument, now and then a lot.
std::uint64_t digest(std::uint64_t n) {
    const weir::stopwatch watch(latency);
    for (std::uint64_t rounds = n % 50 == 0 ? 2000 : 20 + n % 7 * 10; rounds > 0; --rounds) {
        n = (n ^ (n >> 31)) * 0x9e3779b97f4a7c15;
    }
    return n;
}

int main() {
    std::uint64_t sums[2] = {0, 0};
    {
        std::vector<std::jthread> threads;
        for (auto& sum : sums) {
            threads.emplace_back([&sum] {
                for (std::uint64_t i = 0; i < 5000; ++i) {
                    sum += digest(i);
                }
            });
        }
    }
    const auto seen = latency.snapshot();
    std::printf("%llu calls, both threads agree: %s\n", static_cast<unsigned long long>(seen.count()),
                sums[0] == sums[1] ? "yes" : "no");
    for (const double q : {0.5, 0.9, 0.99, 0.999, 1.0}) {
        std::printf("%5.1f %% took at most %8lld ns\n", q * 100, static_cast<long long>(seen.quantile(q).count()));
    }
    // A bar for each power of two.
    std::vector<std::uint64_t> bars;
    seen.for_each([&](std::chrono::nanoseconds first, std::chrono::nanoseconds, std::uint64_t count) {
        std::size_t bar = 0;
        while (first.count() >> bar > 1) {
            ++bar;
        }
        bars.resize(std::max(bars.size(), bar + 1));
        bars[bar] += count;
    });
    const auto most = *std::max_element(bars.begin(), bars.end());
    for (std::size_t i = 0; i < bars.size(); ++i) {
        if (bars[i] != 0) {
            std::printf("%8llu ns %s\n", 1ULL << i, std::string(1 + bars[i] * 50 / most, '#').c_str());
        }
    }
}
