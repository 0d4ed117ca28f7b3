// weir (BSL-1.0). pool_options: what a pool can be told when it is made, and what it answers.
#ifndef WEIR_RUN_DETAIL_POOL_OPTIONS_HPP
#define WEIR_RUN_DETAIL_POOL_OPTIONS_HPP
#include <weir/base/detail/unique_function.hpp>
#include <weir/base/metrics.hpp>
#include <weir/base/outcome.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

namespace weir::inline v0 {

/// What a submit does when the queue is full.
enum class when_full : unsigned char {
    wait,           // until there is room, for submit_timeout at most
    reject,         // answer refusal::queue_full
    run_in_caller,  // run it at once, on the thread that submits
    drop_oldest,    // the oldest item of the lowest class that waits goes; the new one itself, if all that wait are more urgent
    drop_newest,    // the new one goes
};

/// How a pool stops.
enum class stop_mode : unsigned char {
    drain,    // all that is queued is run
    discard,  // what is queued is given back, what runs sees its stop token
};

/// What stop says.
template <class Item>
struct stop_result {
    std::vector<Item> not_run;  // stop_mode::discard
    std::size_t queued = 0;     // still
    std::size_t running = 0;    // still
    bool stopped = false;       // all is over and the threads are gone
};

namespace detail {

inline std::size_t default_workers() noexcept {
    unsigned const n = std::thread::hardware_concurrency();
    return n == 0 ? 1 : n;
}

}  // namespace detail

struct worker_pool_options {
    std::size_t min_workers = detail::default_workers();  // >= 1
    std::size_t max_workers = detail::default_workers();  // >= min_workers, at most 16384
    std::size_t capacity = 4096;                          // items that wait, 1 to 2^32; what workers submit comes on top
    when_full full = when_full::wait;
    std::chrono::nanoseconds submit_timeout = std::chrono::nanoseconds::max();  // of when_full::wait, >= 0; max: none
    unsigned priorities = 1;                                                    // classes, 1 to 4
    // A worker is added when none sleeps, and the queue is full, or an item has waited longer than this, > 0,
    std::chrono::nanoseconds grow_after = std::chrono::milliseconds{1};
    unsigned grow_depth = 1;  // or more than so many items wait for each worker
    std::chrono::nanoseconds keep_alive = std::chrono::seconds{10};            // then one that sleeps may leave, > 0
    std::chrono::nanoseconds shrink_interval = std::chrono::milliseconds{100};  // between two that leave, > 0
    // Items that a worker begins one inside the other while it waits, >= 1. Deeper down it begins only what it has submitted itself
    // (with priority 0), so that a recursion comes to its end.
    unsigned help_depth = 16;
    bool measure = false;     // fill wait_times() and run_times(): two or three looks at the clock for each item
    std::string_view name{};     // threads are called "<name>-<number>"; at most 9 bytes
    // Hooks. They are called by several threads at once, without any lock.
    detail::unique_function<void(std::exception_ptr)> on_error{};  // what an item has thrown; none: last_error() keeps it
    detail::unique_function<void(std::size_t)> on_start{};         // by each worker with its number, before its first item
    detail::unique_function<void(std::size_t)> on_exit{};          // and after its last
};

struct worker_pool_stats {
    // submitted = completed + failed + cancelled + dropped + expired + discarded + queued + running
    std::uint64_t submitted = 0;  // accepted, ever
    std::uint64_t completed = 0;  // returned
    std::uint64_t failed = 0;     // threw
    std::uint64_t cancelled = 0;  // by their future or group, before they began
    std::uint64_t dropped = 0;    // by when_full::drop_oldest, drop_newest
    std::uint64_t expired = 0;    // their time was over before they began
    std::uint64_t discarded = 0;  // given back by stop
    std::uint64_t queued = 0;
    std::uint64_t running = 0;  // and what has ended while this was put together
    std::uint64_t high_water = 0;  // most items that have waited in the queue at once
    std::uint64_t was_full = 0;    // submits that found no room
    std::uint64_t refused = 0;     // submits that were answered by a refusal and not counted as submitted
    std::uint64_t growths = 0;     // workers added under load
    std::uint64_t spawn_failures = 0;
    std::uint64_t hook_failures = 0;  // hooks that threw
    std::size_t workers = 0;
    std::size_t min_workers = 0;
    std::size_t max_workers = 0;
    std::size_t sleeping = 0;  // workers with nothing to do
    std::size_t blocked = 0;   // submits that wait for room
};
// A template so that only who shows the numbers pays for the tuple.
template <std::same_as<worker_pool_stats> S>
inline constexpr auto stats_fields<S> = std::tuple{
    counter_field("submitted", "items accepted", &S::submitted),
    counter_field("ended", "items that are over", &S::completed, metric_unit::none, {"end", "completed"}),
    counter_field("ended", "items that are over", &S::failed, metric_unit::none, {"end", "failed"}),
    counter_field("ended", "items that are over", &S::cancelled, metric_unit::none, {"end", "cancelled"}),
    counter_field("ended", "items that are over", &S::dropped, metric_unit::none, {"end", "dropped"}),
    counter_field("ended", "items that are over", &S::expired, metric_unit::none, {"end", "expired"}),
    counter_field("ended", "items that are over", &S::discarded, metric_unit::none, {"end", "discarded"}),
    gauge_field("queued", "items that wait", &S::queued),
    gauge_field("running", "items that run", &S::running),
    gauge_field("high_water", "most items that have waited at once", &S::high_water),
    counter_field("was_full", "submits that found no room", &S::was_full),
    counter_field("refused", "submits refused", &S::refused),
    counter_field("growths", "workers added under load", &S::growths),
    counter_field("spawn_failures", "threads that could not be made", &S::spawn_failures),
    counter_field("hook_failures", "hooks that threw", &S::hook_failures),
    gauge_field("workers", "workers, now", &S::workers),
    gauge_field("sleeping", "workers with nothing to do", &S::sleeping),
    gauge_field("blocked", "submits that wait for room", &S::blocked)};

namespace detail {

inline void require(bool fine, char const* complaint) {
    if (!fine) {
        throw std::invalid_argument(complaint);
    }
}

inline void check_pool_size(std::size_t min, std::size_t max) {
    require(min >= 1, "weir::worker_pool: min_workers must be >= 1");
    require(max >= min, "weir::worker_pool: max_workers must be >= min_workers");
    require(max <= 16384, "weir::worker_pool: max_workers must be <= 16384");
}

inline void check_pool_options(worker_pool_options const& o) {
    using std::chrono::nanoseconds;
    check_pool_size(o.min_workers, o.max_workers);
    require(o.capacity >= 1 && o.capacity <= (std::uint64_t{1} << 32), "weir::worker_pool: capacity must be 1 to 2^32");
    require(o.full <= when_full::drop_newest, "weir::worker_pool: full must be a when_full");
    require(o.submit_timeout >= nanoseconds::zero(), "weir::worker_pool: submit_timeout must be >= 0");
    require(o.priorities >= 1 && o.priorities <= 4, "weir::worker_pool: priorities must be 1 to 4");
    require(o.grow_after > nanoseconds::zero(), "weir::worker_pool: grow_after must be > 0");
    require(o.keep_alive > nanoseconds::zero(), "weir::worker_pool: keep_alive must be > 0");
    require(o.shrink_interval > nanoseconds::zero(), "weir::worker_pool: shrink_interval must be > 0");
    require(o.help_depth >= 1, "weir::worker_pool: help_depth must be >= 1");
    require(o.name.size() <= 9, "weir::worker_pool: name must be at most 9 bytes");
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
