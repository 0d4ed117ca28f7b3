// weir (BSL-1.0). detail::map_creation: a value of the lock-free map that one thread is making, and others wait for.
#ifndef WEIR_DATA_DETAIL_MAP_CREATION_HPP
#define WEIR_DATA_DETAIL_MAP_CREATION_HPP
#include <weir/base/detail/parking.hpp>

#include <atomic>
#include <stop_token>
#include <thread>

// over_ is stored and loaded seq_cst: against a waiter that announces itself and then looks at it, as event_count demands.

namespace weir::inline v0 {
namespace detail {

class map_creation {
public:
    [[nodiscard]] bool by_this_thread() const noexcept { return by_ == std::this_thread::get_id(); }
    [[nodiscard]] bool over() const noexcept { return over_.load(); }
    void end() noexcept {
        over_.store(true);
        ended_.notify_all();
    }
    /// True: it is over. False: stopped before.
    [[nodiscard]] bool wait(std::stop_token const& stop) noexcept {
        return await(ended_, [this]() noexcept { return over(); }, stop) == wait_result::notified;
    }

private:
    std::thread::id const by_ = std::this_thread::get_id();
    std::atomic<bool> over_{false};
    event_count ended_;  // the creator notifies once
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
