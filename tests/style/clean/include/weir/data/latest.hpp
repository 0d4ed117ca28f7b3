// weir (BSL-1.0). latest: a component with edges of every kind.
#ifndef WEIR_DATA_LATEST_HPP
#define WEIR_DATA_LATEST_HPP
#include <weir/base/detail/cache_line.hpp>

#include <atomic>

// Edges:
//   E1  a value is filled, then handed over  -> who takes it reads it
//   E2  the reader is done                   -> the writer fills the slot again
//   E3  the writer closes                    -> who sees it closed sees the last value
//   E4  the user's store, somewhere else     -> watch() acquires it

class latest {
public:
    int exchange(int mine) { return middle_.exchange(mine, std::memory_order_acq_rel); }  // E1 release, E2 acquire
    bool fresh() { return middle_.load(std::memory_order_relaxed) != 0; }                 // relaxed: a hint
    bool take(int& seen) {
        return middle_.compare_exchange_weak(seen, 0,
                                             std::memory_order_acq_rel,   // E2 release, E1 acquire
                                             std::memory_order_relaxed);  // relaxed: nothing was taken
    }
    void close() {
        // E3 release: a comment line above serves as well
        closed_.store(true, std::memory_order_release);
    }
    bool closed() { return closed_.load(); }  // E3 acquire
    bool watch(std::atomic<bool>& flag) { return flag.load(std::memory_order_acquire); }  // E4 acquire
    bool closing();

private:
    std::atomic<int> middle_{0};
    std::atomic<bool> closed_{false};
};

#include <weir/data/detail/latest_bodies.hpp>
#endif
