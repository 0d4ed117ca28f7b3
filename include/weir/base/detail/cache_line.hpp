// weir (BSL-1.0). cache_line: how far apart words must stand so that threads do not slow each other down.
#ifndef WEIR_BASE_DETAIL_CACHE_LINE_HPP
#define WEIR_BASE_DETAIL_CACHE_LINE_HPP

#include <cstddef>

// When:     a word that one thread writes often would share a line with a word of another thread.
// When not: the words are always touched together; then one line is what they should share.
// Source:   Intel 64 and IA-32 Architectures Optimization Reference Manual, "Data Prefetching" (the spatial prefetcher
//           fetches the other half of a 128-byte pair of lines).
//
// Why constants of our own: std::hardware_destructive_interference_size changes with the tuning flags (g++ warns of
// that), and two translation units that disagree on it would disagree on the layout of every class that uses it.

namespace weir::inline v0 {
namespace detail {

// Bytes in one cache line: what a layout that wants to be read with a single miss is measured against. It is 64 on
// x86-64 and on most aarch64 cores. Some aarch64 cores have 128-byte lines; there a 64-byte bucket is half a line,
// which costs no second miss.
inline constexpr std::size_t cache_line_size = 64;

// Bytes to keep between words written by different threads. Two lines: x86-64 cores that prefetch lines in pairs, and
// aarch64 cores with 128-byte lines, would still pull a neighbour 64 bytes away back and forth. Cores that do neither
// lose only the memory.
inline constexpr std::size_t destructive_size = 128;

/// A value alone in its `Apart` bytes: neighbours in an array or a class are written without disturbing it.
/// Memory: rounds sizeof(T) up to a multiple of `Apart`; pass cache_line_size where there are many and memory counts.
template <class T, std::size_t Apart = destructive_size>
struct alignas(T) alignas(Apart) padded {
    T value{};
};

}  // namespace detail
}  // namespace weir::inline v0

#endif
