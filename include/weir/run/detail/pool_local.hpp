// weir (BSL-1.0). pool_local: what one worker has to do next, and others may take from it.
#ifndef WEIR_RUN_DETAIL_POOL_LOCAL_HPP
#define WEIR_RUN_DETAIL_POOL_LOCAL_HPP
#include <weir/run/detail/pool_fifo.hpp>
#include <weir/run/detail/pool_latch.hpp>

#include <atomic>
#include <cassert>
#include <cstddef>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

// Two parts under one latch, which is the owner's nearly all the time: the range that it was handed from the queue, oldest first,
// and what its own items have submitted, newest first (the tree of a recursion is then walked in depth, and stays small).
// Source:   owner at one end, thieves at the other: R. Blumofe, C. Leiserson, "Scheduling multithreaded computations by work
//           stealing", FOCS 1994. Ours locks: an uncontended mutex costs less than the fences of a lock-free deque where each
//           item is moved out by hand.
// Invariant: only the owner adds. So the owner that reads 0 from size_ knows that there is nothing.

namespace weir::inline v0 {
namespace detail {

/// Threads: push, hand, take: the owner; the rest from any thread. Progress: blocks on the mutex, held for a few instructions.
template <class Entry>
class pool_local {
public:
    using range = pool_range<Entry>;

    pool_local() noexcept = default;
    pool_local(pool_local const&) = delete;
    pool_local& operator=(pool_local const&) = delete;
    ~pool_local() {
        assert(head_ == tail_ && range_.size() == 0);
        if (ring_ != nullptr) {
            std::allocator<Entry>{}.deallocate(ring_, mask_ + 1);
        }
    }

    /// How many there are: exact for the owner if it is 0, else a hint.
    [[nodiscard]] std::size_t size() const noexcept {
        return size_.load(std::memory_order_relaxed);  // relaxed: see the invariant; for others a hint
    }
    /// How many of them were handed over; never less than there are now.
    [[nodiscard]] unsigned handed() const noexcept {
        return handed_.load(std::memory_order_relaxed);  // relaxed: it only shrinks while the pool's mutex is held
    }

    /// Adds one that the owner's item submitted; false if it is closed, and then the entry is untouched. `count` is called under
    /// the mutex before anybody can take it. Throws: std::bad_alloc, and then has done nothing.
    template <class Count, class... Args>
    bool push(Count&& count, Args&&... args) {
        std::lock_guard<pool_latch> const hold{latch_};
        if (closed_) {
            return false;
        }
        if (ring_ == nullptr || tail_ - head_ == mask_ + 1) {
            grow();
        }
        static_assert(noexcept(Entry{std::forward<Args>(args)...}));
        ::new (static_cast<void*>(ring_ + (tail_ & mask_))) Entry{std::forward<Args>(args)...};
        ++tail_;
        count();
        set_size();
        return true;
    }

    /// Takes over `rest`, the end of a range `all` of the queue whose other places the owner empties itself. It must hold none.
    void hand(range all, range rest) noexcept {
        assert(emptied_.chunk == nullptr);
        emptied_ = all;
        if (rest.size() != 0) {
            std::lock_guard<pool_latch> const hold{latch_};
            range_ = rest;
            set_size();
        }
    }
    /// Whether a range is held, empty or not.
    [[nodiscard]] bool holds_range() const noexcept { return emptied_.chunk != nullptr; }
    /// The range that was handed over, for the store, if all its places are empty; else one without a chunk.
    [[nodiscard]] range take_emptied() noexcept {
        if (emptied_.chunk != nullptr) {
            std::lock_guard<pool_latch> const hold{latch_};  // who has emptied the last place has left it
            if (range_.size() == 0) {
                return std::exchange(emptied_, range{});
            }
        }
        return range{};
    }

    /// The newest of the owner's own, else the oldest of those handed over; the other way round if `handed_first`.
    bool take(std::optional<Entry>& out, bool handed_first = false) noexcept {
        if (size() == 0) {
            return false;
        }
        std::lock_guard<pool_latch> const hold{latch_};
        if (head_ != tail_ && !(handed_first && range_.size() != 0)) {
            --tail_;
            move_out(tail_, out);
        } else if (range_.size() != 0) {
            out.emplace(range_.take_front());
        } else {
            return false;
        }
        set_size();
        return true;
    }

    /// The newest of the owner's own.
    bool take_own(std::optional<Entry>& out) noexcept {
        if (size() == 0) {
            return false;
        }
        std::lock_guard<pool_latch> const hold{latch_};
        if (head_ == tail_) {
            return false;
        }
        --tail_;
        move_out(tail_, out);
        set_size();
        return true;
    }

    /// The oldest of the owner's own, else the oldest of those handed over.
    bool steal(std::optional<Entry>& out) noexcept {
        if (size() == 0) {
            return false;
        }
        return steal_surely(out);
    }
    /// The same without a look at the hint.
    bool steal_surely(std::optional<Entry>& out) noexcept {
        std::lock_guard<pool_latch> const hold{latch_};
        if (head_ != tail_) {
            move_out(head_, out);
            ++head_;
        } else if (range_.size() != 0) {
            out.emplace(range_.take_front());
        } else {
            return false;
        }
        set_size();
        return true;
    }

    /// How many there are, exactly. Who pushes afterwards sees what the caller has done before.
    [[nodiscard]] std::size_t count() const noexcept {
        std::lock_guard<pool_latch> const hold{latch_};
        return tail_ - head_ + range_.size();
    }
    /// From now on push() refuses, or accepts again.
    void close(bool closed) noexcept {
        std::lock_guard<pool_latch> const hold{latch_};
        closed_ = closed;
    }

private:
    void move_out(std::size_t i, std::optional<Entry>& out) noexcept {
        Entry& e = ring_[i & mask_];
        out.emplace(std::move(e));
        e.~Entry();
    }
    void set_size() noexcept {
        size_.store(tail_ - head_ + range_.size(), std::memory_order_relaxed);  // relaxed: a hint, or read by its writer
        handed_.store(range_.size(), std::memory_order_relaxed);                // relaxed: as in handed()
    }
    [[gnu::noinline]] void grow() {
        std::size_t const old = ring_ == nullptr ? 0 : mask_ + 1;
        if (old > std::numeric_limits<std::size_t>::max() / sizeof(Entry) / 4) {
            throw std::bad_alloc{};
        }
        std::size_t const wanted = old == 0 ? 32 : 2 * old;
        Entry* const bigger = std::allocator<Entry>{}.allocate(wanted);
        std::size_t const n = tail_ - head_;
        for (std::size_t i = 0; i < n; ++i) {
            Entry& e = ring_[(head_ + i) & mask_];
            ::new (static_cast<void*>(bigger + i)) Entry(std::move(e));
            e.~Entry();
        }
        if (ring_ != nullptr) {
            std::allocator<Entry>{}.deallocate(ring_, old);
        }
        ring_ = bigger;
        mask_ = wanted - 1;
        head_ = 0;
        tail_ = n;
    }

    mutable pool_latch latch_;
    Entry* ring_ = nullptr;  // latch_, as are all below
    std::size_t mask_ = 0;
    std::size_t head_ = 0;  // the oldest of the owner's own
    std::size_t tail_ = 0;
    range range_{};          // what is left of what was handed over
    range emptied_{};        // all of it; the owner's alone
    bool closed_ = false;
    std::atomic<std::size_t> size_{0};  // written under latch_
    std::atomic<unsigned> handed_{0};   // likewise
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
