// weir (BSL-1.0). counting_allocator: keeps a ledger of every block, refuses the n-th on demand, poisons what is freed.
#ifndef WEIR_TESTS_SUPPORT_COUNTING_ALLOCATOR_HPP
#define WEIR_TESTS_SUPPORT_COUNTING_ALLOCATOR_HPP
#include "faults.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <new>
#include <ostream>
#include <type_traits>

namespace weir_test {

/// What one thread has allocated since it last asked; see `cost_of` in costs.hpp.
inline thread_local std::size_t bytes_allocated_here = 0;
inline thread_local std::size_t largest_allocated_here = 0;

/// The account of one or more allocators. Any number of threads may allocate through it.
class ledger {
public:
    ledger() = default;
    ledger(ledger const&) = delete;
    ledger& operator=(ledger const&) = delete;

    [[nodiscard]] std::size_t live_bytes() const noexcept { return live_bytes_.load(); }
    [[nodiscard]] std::size_t live_blocks() const noexcept { return live_blocks_.load(); }
    [[nodiscard]] std::size_t peak_bytes() const noexcept { return peak_bytes_.load(); }
    [[nodiscard]] std::size_t allocations() const noexcept { return allocations_.load(); }
    [[nodiscard]] std::size_t refusals() const noexcept { return refusals_.load(); }
    /// Blocks given back with a wrong size or alignment, to a wrong allocator, twice, or written to outside their bounds.
    [[nodiscard]] std::size_t violations() const noexcept { return violations_.load(); }
    [[nodiscard]] bool settled() const noexcept { return live_blocks() == 0 && live_bytes() == 0 && violations() == 0; }

    /// The n-th allocation from now on, of whichever thread, throws std::bad_alloc; with `all`, so does each later one.
    /// 0: none does. For the n-th of one thread, beside other faults, see faults.hpp.
    void refuse(std::size_t nth, bool all = false) noexcept {
        all_.store(all);
        until_refusal_.store(static_cast<std::int64_t>(nth));
    }
    /// Each block of more than `bytes` is refused from now on.
    void refuse_above(std::size_t bytes) noexcept { most_.store(bytes); }
    void forget_peak() noexcept { peak_bytes_.store(live_bytes()); }

    [[nodiscard]] void* take(std::size_t bytes, std::size_t alignment) {
        if (bytes > most_.load() || refuses() || faults::due(fault::allocator)) {
            refusals_.fetch_add(1);
            throw std::bad_alloc{};
        }
        const std::size_t room = header_room(alignment);
        char* const raw = static_cast<char*>(::operator new(room + bytes + tail, std::align_val_t{raised(alignment)}));
        char* const block = raw + room;
        const header h{mark_live, bytes, alignment, this};
        std::memcpy(block - sizeof(header), &h, sizeof h);
        std::memset(block, 0xa5, bytes);
        std::memset(block + bytes, fence, tail);
        allocations_.fetch_add(1);
        live_blocks_.fetch_add(1);
        const std::size_t live = live_bytes_.fetch_add(bytes) + bytes;
        for (std::size_t peak = peak_bytes_.load(); peak < live && !peak_bytes_.compare_exchange_weak(peak, live);) {
        }
        bytes_allocated_here += bytes;
        largest_allocated_here = largest_allocated_here < bytes ? bytes : largest_allocated_here;
        return block;
    }

    void give_back(void* p, std::size_t bytes, std::size_t alignment) noexcept {
        char* const block = static_cast<char*>(p);
        header h;
        std::memcpy(&h, block - sizeof(header), sizeof h);
        if (h.mark != mark_live || h.bytes != bytes || h.alignment != alignment || h.owner != this) {
            violations_.fetch_add(1);  // the block is left alone: whose it is, is not known
            return;
        }
        for (std::size_t i = 0; i < tail; ++i) {
            if (block[bytes + i] != static_cast<char>(fence)) {
                violations_.fetch_add(1);
                break;
            }
        }
        h.mark = 0;
        std::memcpy(block - sizeof(header), &h, sizeof h);
        std::memset(block, 0xdb, bytes);
        live_blocks_.fetch_sub(1);
        live_bytes_.fetch_sub(bytes);
        ::operator delete(block - header_room(alignment), std::align_val_t{raised(alignment)});
    }

    friend std::ostream& operator<<(std::ostream& out, ledger const& l) {
        return out << l.live_blocks() << " blocks and " << l.live_bytes() << " bytes live, " << l.violations()
                   << " violations, " << l.allocations() << " allocations";
    }

private:
    struct header {
        std::uint64_t mark;
        std::size_t bytes;
        std::size_t alignment;
        ledger* owner;
    };
    static constexpr std::uint64_t mark_live = 0x6c6976652d626c6bULL;
    static constexpr unsigned char fence = 0xfe;
    static constexpr std::size_t tail = 8;

    static constexpr std::size_t raised(std::size_t alignment) noexcept {
        return alignment < sizeof(header) ? sizeof(header) : alignment;
    }
    static constexpr std::size_t header_room(std::size_t alignment) noexcept { return raised(alignment); }

    bool refuses() noexcept {
        if (until_refusal_.load() <= 0) {
            return false;
        }
        const std::int64_t left = until_refusal_.fetch_sub(1);
        if (left == 1 && all_.load()) {
            until_refusal_.store(1);
        }
        return left == 1;
    }

    std::atomic<std::size_t> live_bytes_{0};
    std::atomic<std::size_t> live_blocks_{0};
    std::atomic<std::size_t> peak_bytes_{0};
    std::atomic<std::size_t> allocations_{0};
    std::atomic<std::size_t> refusals_{0};
    std::atomic<std::size_t> violations_{0};
    std::atomic<std::int64_t> until_refusal_{0};
    std::atomic<bool> all_{false};
    std::atomic<std::size_t> most_{~std::size_t{0}};
};

/// A stateful allocator: equal only to those of the same ledger.
template <class T>
class counting_allocator {
public:
    using value_type = T;
    using is_always_equal = std::false_type;

    explicit counting_allocator(ledger& book) noexcept : book_(&book) {}
    template <class U>
    counting_allocator(counting_allocator<U> const& other) noexcept : book_(&other.book()) {}

    [[nodiscard]] T* allocate(std::size_t n) { return static_cast<T*>(book_->take(n * sizeof(T), alignof(T))); }
    void deallocate(T* p, std::size_t n) noexcept { book_->give_back(p, n * sizeof(T), alignof(T)); }

    [[nodiscard]] ledger& book() const noexcept { return *book_; }
    template <class U>
    friend bool operator==(counting_allocator const& a, counting_allocator<U> const& b) noexcept {
        return &a.book() == &b.book();
    }

private:
    ledger* book_;
};

/// The same account for std::pmr.
class counting_resource final : public std::pmr::memory_resource {
public:
    explicit counting_resource(ledger& book) noexcept : book_(&book) {}

private:
    void* do_allocate(std::size_t bytes, std::size_t alignment) override { return book_->take(bytes, alignment); }
    void do_deallocate(void* p, std::size_t bytes, std::size_t alignment) override {
        book_->give_back(p, bytes, alignment);
    }
    [[nodiscard]] bool do_is_equal(std::pmr::memory_resource const& other) const noexcept override {
        return this == &other;
    }

    ledger* book_;
};

}  // namespace weir_test
#endif
