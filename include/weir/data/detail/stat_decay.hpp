// weir (BSL-1.0). stat_decay: one thread's part of rates over the last minutes, with no ticker.
#ifndef WEIR_DATA_DETAIL_STAT_DECAY_HPP
#define WEIR_DATA_DETAIL_STAT_DECAY_HPP
#include <weir/data/detail/stat_latch.hpp>
#include <weir/data/detail/stat_shards.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

// Source:   exponentially weighted moving averages as in Unix' load average (1, 5, 15 minutes); by the time of the events instead
//           of a ticker, with the start's bias taken out as in Kingma and Ba, "Adam", ICLR 2015, section 3.
//
// An event of age a weighs exp(-a / T); the sum of all weights over T is the rate. Events of one second are counted together,
// as if they had come in its middle; at the first event of a later second all weights are brought up to date.
// What stands here is written and read by stat_latch's edges.

namespace weir::inline v0 {
namespace detail {

inline constexpr std::array<double, 3> decay_seconds{60.0, 300.0, 900.0};

class decay_block : public stat_block {
    enum : std::size_t { second, fresh, total, weight_1, weight_5, weight_15, words };

public:
    /// `times` events in the second `now`, or in the last one that this block has seen. Progress: wait-free. For the owner only.
    void mark(std::uint64_t now, std::uint64_t times) noexcept {
        auto const count = sums_.own(fresh);
        auto const all = sums_.own(total) + times;
        if (now <= sums_.own(second)) [[likely]] {
            sums_.set(std::index_sequence<fresh, total>{}, count + times, all);
            return;
        }
        auto const past = static_cast<double>(now - sums_.own(second));
        auto const aged = [&](std::size_t i) noexcept {
            return std::bit_cast<std::uint64_t>(
                weight(std::bit_cast<double>(sums_.own(weight_1 + i)), count, past, decay_seconds[i]));
        };
        sums_.set(std::make_index_sequence<words>{}, now, times, all, aged(0), aged(1), aged(2));
    }

    /// Adds the weights at `now`, in seconds, and the number of all events. Progress: lock-free, see stat_latch.
    void read(double now, std::array<double, 3>& weights, std::uint64_t& count) const noexcept {
        auto const seen = sums_.read();
        auto const past = std::max(0.0, now - static_cast<double>(seen[second]));
        for (std::size_t i = 0; i < weights.size(); ++i) {
            weights[i] += weight(std::bit_cast<double>(seen[weight_1 + i]), seen[fresh], past, decay_seconds[i]);
        }
        count += seen[total];
    }

private:
    // What old weights and `count` events of a second weigh, `past` seconds after that one began.
    static double weight(double old, std::uint64_t count, double past, double span) noexcept {
        auto const age = past < 1 ? past / 2 : past - 0.5;  // on average
        return old * std::exp(-past / span) + static_cast<double>(count) * std::exp(-age / span);
    }

    stat_latch<words> sums_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
