// weir (BSL-1.0). clocks: vector clocks, one lane for each thread and one for fences.
#ifndef WEIR_TESTS_MODEL_CLOCKS_HPP
#define WEIR_TESTS_MODEL_CLOCKS_HPP
#include <cstdint>

namespace weir_model::engine {

inline constexpr int max_threads = 7;
inline constexpr int fence_lane = max_threads;

/// For each thread the epoch up to which its events are known. The last lane: the step of the newest seq_cst fence known.
struct vector_clock {
    std::uint32_t at[max_threads + 1]{};

    void join(vector_clock const& other) noexcept {
        for (int i = 0; i <= max_threads; ++i) {
            at[i] = at[i] < other.at[i] ? other.at[i] : at[i];
        }
    }
};

}  // namespace weir_model::engine
#endif
