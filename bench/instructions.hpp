// weir (BSL-1.0). bench instructions: how many instructions an operation takes, counted one by one.
#ifndef WEIR_BENCH_INSTRUCTIONS_HPP
#define WEIR_BENCH_INSTRUCTIONS_HPP
#include <benchmark/benchmark.h>

#include <cstddef>
#include <functional>

namespace bench {

/// Instructions that a copy of this process executes in f, and a constant number around it; NaN where no process may be traced.
double steps_of(const std::function<void()>& f);

/// Instructions of op(), and of the loop around it; what only the first calls do is not counted.
template <class Op>
double instructions_of(Op op) {
    constexpr std::size_t calls = 16;
    const auto call = [&op](std::size_t n) {
        for (std::size_t i = 0; i != n; ++i) {
            benchmark::DoNotOptimize(op());
            benchmark::ClobberMemory();
        }
    };
    const auto step = [&](std::size_t n) { return steps_of([&call, n] { call(n); }); };
    call(calls);
    const double once = step(calls);
    return (step(2 * calls) - once) / static_cast<double>(calls);
}

}  // namespace bench
#endif
