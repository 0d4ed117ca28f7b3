// weir (BSL-1.0). costs: what one operation made its thread do: hash calls, comparisons, bytes allocated.
#ifndef WEIR_TESTS_SUPPORT_COSTS_HPP
#define WEIR_TESTS_SUPPORT_COSTS_HPP
#include "counting_allocator.hpp"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <type_traits>
#include <utility>

namespace weir_test {

inline thread_local std::size_t hashes_here = 0;
inline thread_local std::size_t comparisons_here = 0;

template <class Key, class Hash = std::hash<Key>>
struct counted_hash {
    std::size_t operator()(Key const& key) const noexcept(std::is_nothrow_invocable_v<Hash const&, Key const&>) {
        ++hashes_here;
        return Hash{}(key);
    }
};
template <class Key>
struct counted_equal {
    bool operator()(Key const& a, Key const& b) const {
        ++comparisons_here;
        return a == b;
    }
};

struct costs {
    std::size_t hashes = 0;
    std::size_t comparisons = 0;
    std::size_t bytes = 0;     // in all
    std::size_t largest = 0;   // in one allocation

    void raise_to(costs const& other) noexcept {
        hashes = std::max(hashes, other.hashes);
        comparisons = std::max(comparisons, other.comparisons);
        bytes = std::max(bytes, other.bytes);
        largest = std::max(largest, other.largest);
    }
};

/// What `operation` cost the calling thread.
template <class F>
costs cost_of(F&& operation) {
    hashes_here = comparisons_here = bytes_allocated_here = largest_allocated_here = 0;
    std::forward<F>(operation)();
    return {hashes_here, comparisons_here, bytes_allocated_here, largest_allocated_here};
}

}  // namespace weir_test
#endif
