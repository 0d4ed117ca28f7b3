// weir (BSL-1.0). hazard_set: a small set of addresses on the stack, for one pass over retired objects.
#ifndef WEIR_BASE_DETAIL_HAZARD_SET_HPP
#define WEIR_BASE_DETAIL_HAZARD_SET_HPP

#include <array>
#include <cstddef>
#include <cstdint>

// When:     a scan has read which addresses are protected and asks, object by object, whether this one is.
//
// Open addressing with linear probing. At most half full, so that a question costs about one probe and always meets an
// empty cell.

namespace weir::inline v0 {
namespace detail {

/// Threads:  one at a time.
/// Memory:   4 KiB, no allocation.
class hazard_set {
public:
    static constexpr std::size_t capacity = 256;  // addresses it holds at most

    /// Adds an address other than 0. Returns false if it is new and there is no room for it.
    bool insert(std::uintptr_t address) noexcept {
        std::size_t cell = first_cell(address);
        while (cells_[cell] != 0) {
            if (cells_[cell] == address) {
                return true;
            }
            cell = (cell + 1) % cells;
        }
        if (size_ == capacity) {
            return false;
        }
        cells_[cell] = address;
        ++size_;
        return true;
    }

    [[nodiscard]] bool contains(std::uintptr_t address) const noexcept {
        if (size_ == 0) {
            return false;
        }
        std::size_t cell = first_cell(address);
        while (cells_[cell] != 0) {
            if (cells_[cell] == address) {
                return true;
            }
            cell = (cell + 1) % cells;
        }
        return false;
    }

    void clear() noexcept {
        if (size_ != 0) {
            cells_.fill(0);
            size_ = 0;
        }
    }

private:
    static constexpr std::size_t cells = 2 * capacity;
    static_assert((cells & (cells - 1)) == 0);

    // Multiplicative hashing: addresses of one allocator differ in the middle bits, the product's top bits depend on
    // all of them.
    static std::size_t first_cell(std::uintptr_t address) noexcept {
        return static_cast<std::size_t>((std::uint64_t{address} * 0x9e3779b97f4a7c15U) >> 32) % cells;
    }

    std::array<std::uintptr_t, cells> cells_{};
    std::size_t size_ = 0;
};

}  // namespace detail
}  // namespace weir::inline v0

#endif
