// weir (BSL-1.0). stats_kernel: what the kernels of the statistics share: lanes that end with the body, threads without one.
#ifndef WEIR_TESTS_MODEL_STATS_KERNEL_HPP
#define WEIR_TESTS_MODEL_STATS_KERNEL_HPP
#include <weir/base/detail/cache_line.hpp>
#include <weir/data/detail/stat_lanes.hpp>

#include "kernels.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>

namespace weir_model {

/// Frees the lanes, which are kept for ever otherwise: so a leak in what uses them is a failure of the body. The first thing in
/// a body, where no thread is frozen.
class lanes_of_a_body {
public:
    lanes_of_a_body() = default;
    lanes_of_a_body(lanes_of_a_body const&) = delete;
    lanes_of_a_body& operator=(lanes_of_a_body const&) = delete;
    ~lanes_of_a_body() {
        auto& all = weir::detail::stat_lane_registry::instance;
        for (std::size_t slot = 0; slot < all.lanes_end.load(); ++slot) {
            if (auto* const lane = all.lanes[slot].load()) {
                free_all(lane->segments);
                free_one(lane);
            }
        }
        free_all(all.taken);
    }

private:
    static void free_one(void* words) { ::operator delete (words, std::align_val_t{weir::detail::destructive_size}); }
    template <class Links>
    static void free_all(Links& links) {
        for (std::size_t k = 0; k < 2; ++k) {  // no body comes further
            free_one(links[k].load());
        }
    }
};

/// The calling thread is in its last destructors: it can have no lane any more.
inline void leave_lanes() {
    weir::detail::stat_lane_registry::mine = &weir::detail::stat_lane_registry::nobody;
    weir::detail::stat_lane_registry::leaving = true;
}

/// As together(), but allocates nothing: for bodies in which allocations fail.
template <class F>
bool beside(F&& last) {
    last();
    return true;
}
template <class F, class... Others>
bool beside(F&& f, Others&&... others) {
    thread one{std::function<void()>(std::ref(f))};
    const bool rest = beside(others...);
    return one.join() && rest;
}

/// Shows what a body says, and hands nothing on.
struct hand_clock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<hand_clock, duration>;
    static constexpr bool is_steady = false;

    std::atomic<std::int64_t> const* ticks;
    [[nodiscard]] time_point now() const noexcept {
        return time_point{duration{ticks->load(std::memory_order_relaxed)}};
    }
};

}  // namespace weir_model

#endif
