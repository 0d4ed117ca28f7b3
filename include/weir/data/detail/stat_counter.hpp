// weir (BSL-1.0). stat_counter: counter, by itself for those parts of weir that count.
#ifndef WEIR_DATA_DETAIL_STAT_COUNTER_HPP
#define WEIR_DATA_DETAIL_STAT_COUNTER_HPP
#include <weir/base/concepts.hpp>
#include <weir/data/detail/stat_lanes.hpp>

#include <atomic>
#include <cstdint>

// When, when not: see data/stats.hpp, which users include.
// Edges (who hands what to whom):
//   E1  take() notes what it has taken -> a later take() sees at least as much of each thread's words

namespace weir::inline v0 {

/// A number that only grows. Modulo 2^64, which takes 100 years at 5 thousand million a second.
/// Threads:  every member but constructor and destructor, from any thread at once.
/// Memory:   32 bytes, and 8 to 16 for each number of threads that have lived at once and written to any counter.
/// Lifetime: nobody may be using it when the destructor begins.
class counter {
public:
    /// Throws: std::bad_alloc, std::length_error after a thousand million statistics.
    counter() : cell_(detail::stat_cell::acquire()) {}
    counter(counter const&) = delete;
    counter& operator=(counter const&) = delete;
    ~counter() { cell_.release(); }

    /// Progress: wait-free. Cost: a load and a store.
    void add(std::uint64_t n = 1) noexcept;
    /// All that was added before, and perhaps what is being added now. No smaller than what this thread has read before.
    /// Progress: wait-free. Cost: O(most threads that have lived at once).
    [[nodiscard]] std::uint64_t value() const noexcept;
    /// What was added since the last take(): each unit goes to exactly one of them. value() goes on.
    /// Progress: lock-free.
    [[nodiscard]] std::uint64_t take() noexcept;

private:
    [[gnu::noinline, gnu::cold]] inline void add_first(std::uint64_t n) noexcept;

    detail::stat_cell cell_;
    detail::stat_word shared_{0};  // of threads without words of their own
    detail::stat_word taken_{0};   // of value(); whoever takes
};

inline void counter::add(std::uint64_t n) noexcept {
    auto* const word = cell_.own();
    if (word == nullptr) [[unlikely]] {
        add_first(n);
        return;
    }
    word->store(word->load(std::memory_order_relaxed) + n, std::memory_order_relaxed);  // relaxed: ours; publishes nothing
}

void counter::add_first(std::uint64_t n) noexcept {
    if (auto* const word = cell_.make()) {
        word->store(word->load(std::memory_order_relaxed) + n, std::memory_order_relaxed);  // relaxed: as above
    } else {
        shared_.fetch_add(n, std::memory_order_relaxed);  // relaxed: publishes nothing
    }
}

inline std::uint64_t counter::value() const noexcept {
    return cell_.sum() + shared_.load(std::memory_order_relaxed);  // relaxed: publishes nothing
}

inline std::uint64_t counter::take() noexcept {
    auto before = taken_.load(std::memory_order_acquire);  // E1 acquire
    for (;;) {
        auto const now = value();  // at least what any earlier take() has seen, word by word
        if (now == before) {
            return 0;
        }
        if (taken_.compare_exchange_weak(before, now, std::memory_order_release,  // E1 release
                                         std::memory_order_acquire)) {            // E1 acquire
            return now - before;
        }
    }
}

template <>
inline constexpr bool is_internally_synchronized<counter> = true;

}  // namespace weir::inline v0
#endif
