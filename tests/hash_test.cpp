// weir (BSL-1.0). hash: what seeded_hash promises about spread, and that no key set made without the seed undoes it.
#include <weir/base/hash.hpp>

#include "support/hostile_keys.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

namespace {

using weir::seeded_hash;
__extension__ using wide = unsigned __int128;

// The hash that leaves all the work to us, as std::hash<int> does in libstdc++.
struct identity {
    std::uint64_t operator()(std::uint64_t x) const noexcept { return x; }
};
// The same, claiming that there is no work left.
struct marked_identity : identity {
    using is_avalanching = void;
};
// One that may claim so.
struct avalanching : identity {
    using is_avalanching = std::true_type;
    std::uint64_t operator()(std::uint64_t x) const noexcept { return weir::detail::splitmix64(x); }
};

// Numbers for tests, the same in every run.
class numbers {
public:
    explicit numbers(std::uint64_t start) : state_(start) {}
    std::uint64_t operator()() { return weir::detail::splitmix64(state_, ++drawn_); }

private:
    std::uint64_t state_;
    std::uint64_t drawn_ = 0;
};

struct spread {
    std::size_t longest = 0;  // keys in the fullest bucket
    double pairs = 0;         // pairs of keys in one bucket
};

// Throws keys into 2^bits buckets by the top bits of their hash, as a table does.
template <class Hash>
spread spread_of(Hash const& hash, std::vector<std::uint64_t> const& keys, int bits) {
    std::vector<std::size_t> buckets(std::size_t{1} << bits);
    spread result;
    for (std::uint64_t const key : keys) {
        std::size_t& load = buckets[hash(key) >> (64 - bits)];
        result.pairs += static_cast<double>(load);
        result.longest = std::max(result.longest, ++load);
    }
    return result;
}

double pairs_by_chance(std::size_t keys, int bits) {
    return static_cast<double>(keys) * static_cast<double>(keys - 1) / 2 / std::exp2(bits);
}

// --- What the documentation shows ------------------------------------------------------------------------------------

TEST(seeded_hash, agrees_with_another_of_the_same_seed_and_with_no_other) {
    seeded_hash<std::hash<std::string>> const first;
    seeded_hash<std::hash<std::string>> const same(std::hash<std::string>{}, first.seed());
    seeded_hash<std::hash<std::string>> const other;
    EXPECT_EQ(first("weir"), same("weir"));
    EXPECT_NE(first.seed(), other.seed());
    EXPECT_NE(first("weir"), other("weir"));
}

TEST(seeded_hash, gives_the_same_results_on_every_machine) {
    static_assert(weir::detail::splitmix64(1234567, 1) == 6457827717110365317u, "SplitMix64 as published");
    static_assert(weir::detail::splitmix64(1234567, 2) == 3203168211198807973u);
    // The formula in the header, worked out with integers of any size.
    EXPECT_EQ((seeded_hash<identity>(identity{}, 42)(7u)), 5882444435969977253u);
    EXPECT_EQ((seeded_hash<identity>(identity{}, 42)(~std::uint64_t{0})), 3694389876724893510u);
    EXPECT_EQ((seeded_hash<marked_identity>(marked_identity{}, 42)(7u)), 3522482360739169854u);
}

TEST(seeded_hash, keeps_the_hash_it_was_given) {
    struct salted {
        std::uint64_t salt;
        std::uint64_t operator()(std::uint64_t x) const { return x + salt; }
    };
    seeded_hash<salted> const hash(salted{5}, 1);
    EXPECT_EQ(hash.inner().salt, 5u);
    EXPECT_EQ(hash(7u), (seeded_hash<salted>(salted{0}, 1)(12u)));
}

TEST(seeded_hash, takes_lambdas_function_pointers_and_final_classes) {
    struct last final : identity {};
    auto const lambda = [](std::uint64_t x) { return x; };
    std::uint64_t (*const pointer)(std::uint64_t) = lambda;
    std::uint64_t const wanted = seeded_hash<identity>(identity{}, 3)(9u);
    EXPECT_EQ((seeded_hash<last>(last{}, 3)(9u)), wanted);
    EXPECT_EQ((seeded_hash(lambda, 3)(9u)), wanted);
    EXPECT_EQ((seeded_hash(pointer, 3)(9u)), wanted);
}

TEST(seeded_hash, passes_every_type_that_the_hash_takes_straight_on) {
    struct length {
        std::size_t operator()(std::string_view text) const { return text.size(); }
        std::size_t operator()(int n) const { return static_cast<std::size_t>(n); }
    };
    seeded_hash<length> const hash(length{}, 1);
    EXPECT_EQ(hash("four"), hash(4));
    EXPECT_EQ(hash(std::string("four")), hash(4));
}

TEST(seeded_hash, is_as_large_as_its_three_words_if_the_hash_is_empty) {
    EXPECT_EQ(sizeof(seeded_hash<identity>), 3 * sizeof(std::uint64_t));
}

TEST(seeded_hash, is_noexcept_exactly_when_the_hash_is) {
    struct may_throw {
        std::size_t operator()(int x) const { return static_cast<std::size_t>(x); }
        std::size_t operator()(char x) const noexcept { return static_cast<std::size_t>(x); }
    };
    struct sizelike {
        operator std::size_t() const { return 1; }  // may throw, too
    };
    struct late {
        sizelike operator()(int) const noexcept { return {}; }
    };
    static_assert(noexcept(std::declval<seeded_hash<identity> const&>()(1u)));
    static_assert(!noexcept(std::declval<seeded_hash<may_throw> const&>()(1)));
    static_assert(noexcept(std::declval<seeded_hash<may_throw> const&>()('a')));
    static_assert(!noexcept(std::declval<seeded_hash<late> const&>()(1)));
}

TEST(seeded_hash, lets_the_exceptions_of_the_hash_through) {
    struct throwing {
        std::size_t operator()(int) const { throw std::runtime_error("no hash today"); }
    };
    seeded_hash<throwing> const hash;
    EXPECT_THROW((void)hash(1), std::runtime_error);
}

TEST(is_avalanching, is_read_from_the_hash_as_boost_reads_it) {
    struct by_void {
        using is_avalanching = void;
    };
    struct by_true {
        using is_avalanching = std::true_type;
    };
    struct by_false {
        using is_avalanching = std::false_type;
    };
    static_assert(weir::is_avalanching<by_void>);
    static_assert(weir::is_avalanching<by_true>);
    static_assert(!weir::is_avalanching<by_false>);
    static_assert(!weir::is_avalanching<identity>);
    static_assert(!weir::is_avalanching<std::hash<std::string>>);
    static_assert(!weir::is_avalanching<std::size_t (*)(int)>);
}

// --- Spread ----------------------------------------------------------------------------------------------------------

TEST(seeded_hash, flips_each_result_bit_half_of_the_time_when_any_key_bit_flips) {
    constexpr int samples = 2000;
    numbers draw(1);
    for (int round = 0; round < 4; ++round) {
        seeded_hash<identity> const hash(identity{}, round == 0 ? 0 : draw());
        for (int in = 0; in < 64; ++in) {
            std::array<int, 64> flips{};
            for (int i = 0; i < samples; ++i) {
                std::uint64_t const key = draw();
                std::uint64_t const changed = hash(key) ^ hash(key ^ (std::uint64_t{1} << in));
                for (std::size_t out = 0; out < 64; ++out) {
                    flips[out] += static_cast<int>(changed >> out & 1);
                }
            }
            for (std::size_t out = 0; out < 64; ++out) {  // 10 % are nine standard deviations
                ASSERT_NEAR(flips[out], 0.5 * samples, 0.1 * samples) << "key bit " << in << ", result bit " << out;
            }
        }
    }
}

template <class Hash>
void expect_ordinary_keys_to_spread(Hash inner) {
    constexpr int bits = 12;
    constexpr std::size_t count = std::size_t{1} << bits;
    numbers draw(2);
    for (int shift = 0; shift <= 52; shift += 4) {
        seeded_hash<Hash> const hash(inner, draw());
        std::vector<std::uint64_t> keys;
        for (std::size_t i = 0; i < count; ++i) {
            keys.push_back(0x00007f3a5c0012e0u + (static_cast<std::uint64_t>(i) << shift));  // stride 16: pointers
        }
        spread const found = spread_of(hash, keys, bits);
        EXPECT_LE(found.longest, 12u) << "stride 2^" << shift;  // by chance: once in 300 000 trials
        EXPECT_NEAR(found.pairs, pairs_by_chance(count, bits), 0.15 * pairs_by_chance(count, bits));
    }
}

TEST(seeded_hash, spreads_sequences_strides_and_pointers_like_chance) { expect_ordinary_keys_to_spread(identity{}); }

TEST(seeded_hash, leaves_the_spread_of_an_avalanching_hash_as_it_is) { expect_ordinary_keys_to_spread(avalanching{}); }

// The proof in the header, by counting: over all seeds, two different keys share chosen bits at most twice as often as
// two random numbers would. Without the lower half of the multiplier the far differences fail, without the upper half
// the near ones.
template <class Hash>
void expect_universal(Hash inner) {
    constexpr int seeds = 20000;
    constexpr int bits = 6;
    numbers draw(3);
    for (std::uint64_t const difference : {std::uint64_t{1}, std::uint64_t{3} << 20, std::uint64_t{5} << 40,
                                           std::uint64_t{1} << 56, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
        std::uint64_t const key = draw();
        int same_bucket = 0;
        int same_tag = 0;
        int same_middle = 0;
        for (int i = 0; i < seeds; ++i) {
            seeded_hash<Hash> const hash(inner, draw());
            std::uint64_t const x = hash(key);
            std::uint64_t const y = hash(key + difference);
            same_bucket += (x >> (64 - bits)) == (y >> (64 - bits));
            same_tag += (x << (64 - bits)) == (y << (64 - bits));
            same_middle += (x >> 29 & ((1u << bits) - 1)) == (y >> 29 & ((1u << bits) - 1));
        }
        int const bound = 2 * seeds / (1 << bits) + 130;  // five standard deviations
        EXPECT_LE(same_bucket, bound) << "difference " << difference;
        EXPECT_LE(same_tag, bound) << "difference " << difference;
        EXPECT_LE(same_middle, bound) << "difference " << difference;
    }
}

TEST(seeded_hash, lets_no_two_keys_meet_more_than_twice_as_often_as_chance) { expect_universal(identity{}); }

TEST(seeded_hash, lets_no_two_results_of_an_avalanching_hash_meet_more_than_twice_as_often_as_chance) {
    expect_universal(marked_identity{});
}

// --- Flooding --------------------------------------------------------------------------------------------------------

template <class Hash>
void expect_that_crafted_keys_spread() {
    std::vector<std::uint64_t> const keys = weir_test::flooding_keys<Hash>(20000, 0, 16, 8);
    ASSERT_EQ(keys.size(), 20000u);
    ASSERT_EQ(std::unordered_set<std::uint64_t>(keys.begin(), keys.end()).size(), keys.size());
    ASSERT_EQ(spread_of(seeded_hash<Hash>(Hash{}, 0), keys, 16).longest, keys.size()) << "the attack itself must work";

    constexpr int bits = 15;  // a table of 20 000 entries
    numbers draw(5);
    for (int round = 0; round < 50; ++round) {
        seeded_hash<Hash> const hash(Hash{}, round == 0 ? 1 : draw());  // 1: the nearest to the one they were made for
        spread const found = spread_of(hash, keys, bits);
        EXPECT_LE(found.longest, 12u) << "seed " << hash.seed();  // by chance: once in ten million trials
        EXPECT_NEAR(found.pairs, pairs_by_chance(keys.size(), bits), 0.1 * pairs_by_chance(keys.size(), bits));
        auto const tag_of_first = hash(keys[0]) & 0xff;
        auto const same_tag = std::count_if(keys.begin(), keys.end(),
                                            [&](std::uint64_t key) { return (hash(key) & 0xff) == tag_of_first; });
        EXPECT_LE(same_tag, 20000 / 256 + 80);
    }
}

TEST(seeded_hash, spreads_keys_crafted_against_a_guessed_seed_like_chance) {
    expect_that_crafted_keys_spread<identity>();
}

TEST(seeded_hash, spreads_keys_crafted_against_an_avalanching_hash_like_chance) {
    expect_that_crafted_keys_spread<marked_identity>();
}

TEST(seeded_hash, spreads_them_also_under_the_seeds_that_objects_draw_for_themselves) {
    std::vector<std::uint64_t> const keys = weir_test::flooding_keys<identity>(20000, 0, 16, 8);
    ASSERT_EQ(keys.size(), 20000u);
    for (int round = 0; round < 10; ++round) {
        EXPECT_LE(spread_of(seeded_hash<identity>(), keys, 15).longest, 14u);
    }
}

// --- Seeds -----------------------------------------------------------------------------------------------------------

TEST(random_seed, never_comes_twice_and_is_no_sequence) {
    constexpr int count = 50000;
    std::unordered_set<std::uint64_t> seen;
    std::unordered_set<std::uint64_t> steps;
    std::array<int, 64> ones{};
    std::uint64_t last = weir::random_seed();
    for (int i = 0; i < count; ++i) {
        std::uint64_t const seed = weir::random_seed();
        seen.insert(seed);
        steps.insert(seed - std::exchange(last, seed));
        for (std::size_t bit = 0; bit < 64; ++bit) {
            ones[bit] += static_cast<int>(seed >> bit & 1);
        }
    }
    EXPECT_EQ(seen.size(), std::size_t{count});
    EXPECT_EQ(steps.size(), std::size_t{count});
    for (int const n : ones) {
        EXPECT_NEAR(n, 0.5 * count, 1200);  // more than ten standard deviations
    }
}

TEST(random_seed, comes_once_also_when_threads_draw_together) {
    constexpr std::size_t threads = 4;
    constexpr std::size_t each = 30000;
    std::array<std::vector<std::uint64_t>, threads> drawn;
    std::barrier together(threads);
    {
        std::vector<std::jthread> running;
        running.reserve(threads);
        for (auto& mine : drawn) {
            running.emplace_back([&mine, &together] {
                mine.reserve(each);
                together.arrive_and_wait();
                for (std::size_t i = 0; i < each; ++i) {
                    mine.push_back(weir::random_seed());
                }
            });
        }
    }
    std::unordered_set<std::uint64_t> all;
    for (auto const& mine : drawn) {
        all.insert(mine.begin(), mine.end());
    }
    EXPECT_EQ(all.size(), threads * each);
}

TEST(random_seed, is_drawn_from_what_the_system_gives) {
    weir::detail::process_secret got{};
    ASSERT_TRUE(weir::detail::system_entropy(got));
    weir::detail::process_secret again{};
    ASSERT_TRUE(weir::detail::system_entropy(again));
    EXPECT_NE(got.first, again.first);
    EXPECT_NE(got.second, again.second);
    EXPECT_NE(got.first, got.second);
}

TEST(random_seed, does_without_the_system_where_that_has_nothing_to_give) {
    using weir::detail::process_secret;
    process_secret const refused = weir::detail::draw_secret([](process_secret&) { return false; });
    process_secret const thrown =
        weir::detail::draw_secret([](process_secret&) -> bool { throw std::runtime_error("no device"); });
    EXPECT_NE(refused.first, refused.second);
    EXPECT_NE(thrown.first, thrown.second);
}

TEST(multiply_high, by_parts_is_the_upper_half_of_the_product) {
    using weir::detail::multiply_high;
    using weir::detail::multiply_high_by_parts;
    constexpr std::uint64_t most = ~std::uint64_t{0};
    static_assert(multiply_high_by_parts(most, most) == most - 1);
    static_assert(multiply_high_by_parts(std::uint64_t{1} << 63, 2) == 1);
    numbers draw(6);
    for (int i = 0; i < 10000; ++i) {
        std::uint64_t const a = draw() >> draw() % 64;
        std::uint64_t const b = draw() >> draw() % 64;
        auto const wanted = static_cast<std::uint64_t>(wide{a} * b >> 64);
        ASSERT_EQ(multiply_high_by_parts(a, b), wanted);
        ASSERT_EQ(multiply_high(a, b), wanted);
    }
}

}  // namespace
