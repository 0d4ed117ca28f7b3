// weir (BSL-1.0). hostile_keys_test: the attacks on hash tables that other tests use do work on who has no defence.
#include "support/hostile_keys.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_set>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace weir_test;

struct marked_identity {
    using is_avalanching = void;
    std::size_t operator()(std::uint64_t x) const noexcept { return x; }
};

template <class Hash>
void expect_that_the_attack_works() {
    for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0x1234'5678'9abc'def0}, ~std::uint64_t{0}}) {
        const auto keys = flooding_keys<Hash>(2000, seed, 16, 8);
        EXPECT_EQ(std::unordered_set<std::uint64_t>(keys.begin(), keys.end()).size(), 2000U) << "seed " << seed;
        const weir::seeded_hash<Hash> hash(Hash{}, seed);
        const std::uint64_t agreed = hash(keys[0]);
        EXPECT_TRUE(std::all_of(keys.begin(), keys.end(), [&](std::uint64_t key) {
            return hash(key) >> 48 == agreed >> 48 && (hash(key) & 0xff) == (agreed & 0xff);
        })) << "seed " << seed;
    }
}

}  // namespace

TEST(flooding_keys, meet_in_bucket_and_tag_under_the_seed_they_were_made_for) {
    expect_that_the_attack_works<std::hash<std::uint64_t>>();
    expect_that_the_attack_works<marked_identity>();
}

TEST(preimages, are_those_of_exactly_the_result_that_was_asked_for) {
    const preimages attack(7);
    const weir::seeded_hash<std::hash<std::uint64_t>> hash({}, 7);
    std::size_t found = 0;
    for (std::uint64_t key = 1; key <= 1000; ++key) {
        if (const auto other = attack.of<std::hash<std::uint64_t>>(hash(key))) {
            EXPECT_EQ(hash(*other), hash(key));
            ++found;
        }
    }
    EXPECT_EQ(found, 1000U) << "each of these results has a preimage";
}

TEST(key_patterns, have_no_key_twice) {
    constexpr std::uint64_t count = 1 << 16;
    for (key_pattern const& pattern : key_patterns) {
        std::vector<std::uint64_t> keys;
        for (std::uint64_t i = 0; i < count; ++i) {
            keys.push_back(pattern.key(i));
        }
        std::sort(keys.begin(), keys.end());
        EXPECT_EQ(std::unique(keys.begin(), keys.end()), keys.end()) << pattern.name;
    }
}
