// weir (BSL-1.0). Tests of base/detail/cache_line.hpp.
#include <weir/base/detail/cache_line.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

namespace {

using weir::detail::cache_line_size;
using weir::detail::destructive_size;
using weir::detail::padded;

static_assert(cache_line_size == 64, "layouts are measured against it, and layouts do not change with the target");
static_assert(destructive_size % cache_line_size == 0);
static_assert(std::is_aggregate_v<padded<int>>);

struct alignas(512) wide {
    char bytes[512];
};
struct larger {
    char bytes[destructive_size + 1];
};

template <class Padded>
std::uintptr_t address(const Padded& p) {
    return reinterpret_cast<std::uintptr_t>(&p.value);
}

TEST(cache_line, neighbours_in_an_array_share_no_line) {
    std::array<padded<std::atomic<int>>, 3> row{};
    for (std::size_t i = 0; i < row.size(); ++i) {
        EXPECT_EQ(address(row[i]) % destructive_size, 0U);
        EXPECT_EQ(row[i].value.load(), 0);
    }
    EXPECT_EQ(address(row[1]) - address(row[0]), destructive_size);
}

TEST(cache_line, members_of_a_class_share_no_line) {
    struct two {
        padded<int> a{1};
        int between = 2;
        padded<int> b{3};
    } t;
    EXPECT_GE(address(t.b) - address(t.a), 2 * destructive_size);
    EXPECT_EQ(t.a.value + t.between + t.b.value, 6);
}

TEST(cache_line, memory_can_be_saved_down_to_one_line) {
    EXPECT_EQ(sizeof(padded<int, cache_line_size>), cache_line_size);
    EXPECT_EQ(alignof(padded<int, cache_line_size>), cache_line_size);
}

TEST(cache_line, values_keep_a_stricter_alignment_and_a_larger_size) {
    EXPECT_EQ(alignof(padded<wide>), 512U);
    EXPECT_EQ(sizeof(padded<wide>), 512U);
    EXPECT_EQ(alignof(padded<larger>), destructive_size);
    EXPECT_EQ(sizeof(padded<larger>), 2 * destructive_size);
}

TEST(cache_line, values_on_the_heap_are_aligned_and_destroyed) {
    const auto row = std::make_unique<padded<std::string>[]>(2);
    row[1].value = "longer than what fits into the string itself";
    EXPECT_EQ(address(row[0]) % destructive_size, 0U);
    EXPECT_EQ(address(row[1]) % destructive_size, 0U);
}

}  // namespace
