// weir (BSL-1.0). lock_free_map_pairs_test: which entries stand in the slots of the map, and that these are as good as any.
#include <weir/base/concepts.hpp>
#include <weir/data/lock_free_map.hpp>

#include "support/faults.hpp"
#include "support/map_storages.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/values.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace weir_test;
using weir::compute_result;
using number = std::uint64_t;

// Types that may stand in slots, each with something that others do not have.

enum class colour : std::uint16_t { red, green, blue };

struct padded {  // three bytes of nothing in the middle
    std::uint8_t small;
    std::uint32_t large;
    friend bool operator==(padded const&, padded const&) = default;
};
struct padded_hash {
    std::size_t operator()(padded const& p) const noexcept { return std::size_t{p.small} << 32 | p.large; }
};
/// Two that are equal, with different bytes between their members.
padded with_noise(std::uint8_t small, std::uint32_t large, unsigned char noise) {
    padded p;
    std::memset(static_cast<void*>(&p), noise, sizeof p);
    p.small = small;
    p.large = large;
    return p;
}

class opaque {  // no default constructor, no assignment
public:
    explicit constexpr opaque(number n) noexcept : number_(n) {}
    opaque(opaque const&) = default;
    opaque& operator=(opaque const&) = delete;
    [[nodiscard]] constexpr number value() const noexcept { return number_; }
    friend bool operator==(opaque const&, opaque const&) = default;

private:
    number number_;
};
struct opaque_hash {
    std::size_t operator()(opaque const& o) const noexcept { return o.value(); }
};

class moved_only {  // trivially copyable all the same
public:
    explicit moved_only(number n) noexcept : number_(n) {}
    moved_only(moved_only const&) = delete;
    moved_only(moved_only&&) = default;
    [[nodiscard]] number value() const noexcept { return number_; }

private:
    number number_;
};

struct nothing {
    friend bool operator==(nothing const&, nothing const&) = default;
};

struct text_of_eight {  // looked up by a string_view
    std::array<char, 8> letters{};
    text_of_eight() = default;
    explicit text_of_eight(std::string_view text) { text.copy(letters.data(), letters.size()); }
    [[nodiscard]] std::string_view view() const noexcept {
        const std::string_view all(letters.data(), letters.size());
        return all.substr(0, all.find('\0'));
    }
};
struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
    std::size_t operator()(text_of_eight const& text) const noexcept { return (*this)(text.view()); }
};
struct text_equal {
    using is_transparent = void;
    static std::string_view of(std::string_view text) noexcept { return text; }
    static std::string_view of(text_of_eight const& text) noexcept { return text.view(); }
    bool operator()(auto const& a, auto const& b) const noexcept { return of(a) == of(b); }
};

// Types that may not.

struct three_words {
    number word[3];
};
struct has_destructor {
    number n = 0;
    ~has_destructor() {}  // NOLINT: not trivial is the point
};
struct rooted {
    explicit rooted(number n) : first(n) {}
    rooted(rooted const&) = delete;
    rooted& operator=(rooted const&) = delete;
    number first;
};
struct synchronised {
    number n = 0;
};
struct throwing_hash_of_numbers {
    std::size_t operator()(number n) const { return n; }
};
struct alignas(32) over_aligned {
    number n;
};

template <class Key, class T, class Hash = std::hash<Key>>
constexpr bool pairs = in_slots<weir::lock_free_map<Key, T, Hash>>;

}  // namespace
template <>
inline constexpr bool weir::is_internally_synchronized<synchronised> = true;

// Which storage each kind of type gets.

static_assert(pairs<number, number> && pairs<std::uint32_t, std::uint32_t> && pairs<std::uint32_t, std::uint16_t>);
static_assert(pairs<int*, int*> && pairs<number, std::uint8_t> && pairs<number, bool> && pairs<bool, bool>);
static_assert(pairs<colour, colour> && pairs<number, double> && pairs<double, float> && pairs<char, char>);
static_assert(pairs<number, std::chrono::nanoseconds> && pairs<number, std::nullptr_t> && pairs<number, nothing>);
static_assert(pairs<number, opaque> && pairs<opaque, number, opaque_hash> && pairs<number, moved_only>);
static_assert(pairs<padded, padded, padded_hash> && pairs<text_of_eight, int, text_hash>);
static_assert(pairs<number, std::array<std::uint8_t, 8>> && pairs<number, void (*)()>);

static_assert(!pairs<number, std::string> && !pairs<std::string, number> && !pairs<std::string_view, number>);
static_assert(!pairs<number, std::unique_ptr<int>> && !pairs<number, std::shared_ptr<int>> && !pairs<number, has_destructor>);
static_assert(!pairs<number, std::atomic<int>> && !pairs<number, synchronised> && !pairs<number, rooted>);
static_assert(!pairs<number, std::pair<int, int>>, "its assignment is not trivial");
static_assert(!pairs<number, three_words> && !pairs<number, std::array<std::uint8_t, 9>> && !pairs<number, over_aligned>);
static_assert(!pairs<number, number, throwing_hash_of_numbers>, "a move needs the hash and must not fail");
static_assert(!pairs<number, node_number> && !pairs<number, wide_value>);

// Which nodes are changed in place.

template <class Key, class T, class Hash = std::hash<Key>>
constexpr bool stamps = in_stamped_nodes<weir::lock_free_map<Key, T, Hash>>;
static_assert(stamps<std::string, number> && stamps<std::string, bool> && stamps<std::string, double> && stamps<std::string, int*>);
static_assert(stamps<std::string, colour> && stamps<std::string, padded> && stamps<std::string, opaque>);
static_assert(stamps<number, number, throwing_hash_of_numbers> && stamps<node_number, number, std::hash<number>>);
static_assert(!stamps<std::string, std::string> && !stamps<std::string, three_words> && !stamps<std::string, has_destructor>);
static_assert(!stamps<std::string, std::atomic<int>> && !stamps<std::string, synchronised> && !stamps<number, node_number>);
static_assert(!stamps<number, number> && !stamps<std::string, std::unique_ptr<int>>);

// One word a pair, or two, with or without padding.

namespace {

template <class Key, class T, class Hash = std::hash<Key>>
struct pair_kind {
    using map = weir::lock_free_map<Key, T, Hash>;
};
struct one_word : pair_kind<std::uint32_t, std::uint32_t> {
    static std::uint32_t key(number n) { return static_cast<std::uint32_t>(n); }
    static std::uint32_t value(number n) { return static_cast<std::uint32_t>(n); }
};
struct two_words : pair_kind<number, number> {
    static number key(number n) { return n; }
    static number value(number n) { return n; }
};
struct less_than_a_word : pair_kind<std::uint16_t, std::uint8_t> {
    static std::uint16_t key(number n) { return static_cast<std::uint16_t>(n); }
    static std::uint8_t value(number n) { return static_cast<std::uint8_t>(n); }
};
struct truths : pair_kind<number, bool> {
    static number key(number n) { return n; }
    static bool value(number n) { return n % 2 == 1; }
};
struct with_padding : pair_kind<padded, padded, padded_hash> {
    static padded key(number n) {
        return with_noise(static_cast<std::uint8_t>(n % 7), static_cast<std::uint32_t>(n), static_cast<unsigned char>(n * 31));
    }
    static padded value(number n) {
        return with_noise(static_cast<std::uint8_t>(n), static_cast<std::uint32_t>(n), static_cast<unsigned char>(n));
    }
};
struct without_default : pair_kind<opaque, opaque, opaque_hash> {
    static opaque key(number n) { return opaque(n); }
    static opaque value(number n) { return opaque(n); }
};
struct stamped : pair_kind<node_number, number, std::hash<number>> {
    static node_number key(number n) { return n; }
    static number value(number n) { return n; }
};
struct nodes : pair_kind<number, node_number> {
    static number key(number n) { return n; }
    static node_number value(number n) { return n; }
};

template <class Kind>
class lock_free_map_pairs : public testing::Test {};
using pair_kinds = testing::Types<one_word, two_words, less_than_a_word, truths, with_padding, without_default, stamped, nodes>;
TYPED_TEST_SUITE(lock_free_map_pairs, pair_kinds);

constexpr number most = std::numeric_limits<number>::max();

}  // namespace

TYPED_TEST(lock_free_map_pairs, all_bits_zero_and_all_bits_one_are_keys_and_values_like_others) {
    using kind = TypeParam;
    typename kind::map map;
    EXPECT_FALSE(map.contains(kind::key(0)));
    EXPECT_FALSE(map.erase(kind::key(0)));
    for (const number k : {number{0}, most}) {
        for (const number v : {number{0}, most}) {
            EXPECT_TRUE(map.insert(kind::key(k), kind::value(v)));
            EXPECT_FALSE(map.insert(kind::key(k), kind::value(1)));
            EXPECT_EQ(map.find(kind::key(k)), std::optional(kind::value(v)));
            EXPECT_EQ(map.size(), 1U);
            EXPECT_EQ(map.extract(kind::key(k)), std::optional(kind::value(v)));
            EXPECT_FALSE(map.contains(kind::key(k)));
        }
    }
    EXPECT_TRUE(map.empty());
}

TYPED_TEST(lock_free_map_pairs, every_value_comes_back_from_slots_and_from_beyond_them) {
    using kind = TypeParam;
    typename kind::map map({.shrink_at = 0.25});
    for (int round = 0; round < 3; ++round) {
        for (number n = 0; n < 3000; ++n) {
            ASSERT_TRUE(map.insert(kind::key(n), kind::value(n * 3))) << n;
        }
        EXPECT_GT(map.stats().overflowed, 0U) << "too few for a full bucket";
        for (number n = 0; n < 3000; ++n) {
            ASSERT_EQ(map.find(kind::key(n)), std::optional(kind::value(n * 3))) << n;
            ASSERT_FALSE(map.insert_or_assign(kind::key(n), kind::value(n * 5)));
        }
        std::size_t seen = 0;
        map.for_each([&](auto const& key, auto const& value) {
            ++seen;
            EXPECT_EQ(map.find(key), std::optional(value));
        });
        EXPECT_EQ(seen, 3000U);
        for (number n = 0; n < 3000; ++n) {
            ASSERT_EQ(map.extract(kind::key(n)), std::optional(kind::value(n * 5))) << n;
            ASSERT_EQ(map.extract(kind::key(n)), std::nullopt) << n;
        }
        EXPECT_TRUE(map.empty());
    }
    EXPECT_GT(map.stats().shrinks, 0U);
}

TYPED_TEST(lock_free_map_pairs, exchange_extract_and_comparisons_tell_exactly_what_was_there) {
    using kind = TypeParam;
    typename kind::map map;
    const auto key = kind::key(7);
    const auto a = kind::value(10);
    const auto b = kind::value(21);
    EXPECT_EQ(map.exchange(key, a), std::nullopt);
    EXPECT_EQ(map.exchange(key, b), std::optional(a));
    EXPECT_EQ(map.find(key), std::optional(b));
    EXPECT_FALSE(map.compare_exchange(key, a, a));
    EXPECT_TRUE(map.compare_exchange(key, b, a));
    EXPECT_TRUE(map.compare_exchange(key, a, a)) << "nothing changes, but it was as expected";
    EXPECT_FALSE(map.compare_exchange(kind::key(8), a, b)) << "absent";
    EXPECT_FALSE(map.contains(kind::key(8)));
    EXPECT_FALSE(map.compare_erase(key, b));
    EXPECT_EQ(map.find(key), std::optional(a));
    EXPECT_TRUE(map.compare_erase(key, a));
    EXPECT_FALSE(map.compare_erase(key, a));
    EXPECT_EQ(map.extract(key), std::nullopt);
    EXPECT_TRUE(map.insert(key, b));
    EXPECT_EQ(map.extract(key), std::optional(b));
    EXPECT_TRUE(map.empty());
}

TYPED_TEST(lock_free_map_pairs, visitors_are_shown_what_they_cannot_change) {
    using kind = TypeParam;
    using map_type = typename kind::map;
    using key_type = typename map_type::key_type;
    using value_type = typename map_type::mapped_type;
    static_assert(std::is_same_v<typename map_type::reference, value_type const&>);
    map_type map;
    EXPECT_TRUE(map.insert(kind::key(1), kind::value(1)));
    int visits = 0;
    const auto one = [&](auto&& v) {
        static_assert(std::is_same_v<decltype(v), value_type const&>);
        ++visits;
    };
    const auto two = [&](auto&& k, auto&& v) {
        static_assert(std::is_same_v<decltype(k), key_type const&> && std::is_same_v<decltype(v), value_type const&>);
        ++visits;
    };
    EXPECT_TRUE(std::as_const(map).visit(kind::key(1), one));
    EXPECT_FALSE(map.insert_or_visit({kind::key(1), kind::value(2)}, one));
    EXPECT_FALSE(map.try_emplace_or_visit(kind::key(1), kind::value(2), one));
    std::as_const(map).for_each(two);
    std::as_const(map).for_each_relaxed(two);
    const std::array keys{kind::key(1)};
    EXPECT_EQ(std::as_const(map).visit(std::span<key_type const>(keys), two), 1U);
    EXPECT_EQ(map.erase_if([&](auto&& k, auto&& v) {
        two(k, v);
        return false;
    }), 0U);
    EXPECT_EQ(visits, 7);
}

TEST(lock_free_map_pairs, a_visitor_holds_a_copy_that_outlasts_the_entry) {
    two_words::map map;
    EXPECT_TRUE(map.insert(1, 10));
    EXPECT_TRUE(map.visit(1, [&](number const& seen) {
        EXPECT_TRUE(map.erase(1));
        EXPECT_TRUE(map.insert(1, 11));
        for (number n = 100; n < 1000; ++n) {  // the bucket moves several times
            EXPECT_TRUE(map.insert(n, n));
        }
        EXPECT_EQ(seen, 10U);
    }));
    EXPECT_EQ(map.find(1), 11U);
    std::vector<number> seen;
    map.for_each([&](number const& key, number const& value) {
        map.erase(key);
        EXPECT_EQ(value, key == 1 ? 11U : key);
        seen.push_back(key);
    });
    EXPECT_EQ(std::set<number>(seen.begin(), seen.end()).size(), seen.size());
    EXPECT_EQ(seen.size(), 901U);
}

TEST(lock_free_map_pairs, keys_are_compared_by_their_equality_and_never_by_their_bytes) {
    with_padding::map map;
    EXPECT_TRUE(map.insert(with_noise(1, 2, 0x00), with_noise(3, 4, 0x00)));
    EXPECT_FALSE(map.insert(with_noise(1, 2, 0xff), with_noise(3, 5, 0xff)));
    EXPECT_TRUE(map.contains(with_noise(1, 2, 0xaa)));
    EXPECT_TRUE(map.compare_exchange(with_noise(1, 2, 0x55), with_noise(3, 4, 0xcc), with_noise(3, 6, 0x11)));
    EXPECT_TRUE(map.compare_erase(with_noise(1, 2, 0x77), with_noise(3, 6, 0x00)));
    EXPECT_TRUE(map.empty());
    weir::lock_free_map<double, double> reals;
    EXPECT_TRUE(reals.insert(1.5, 0.0));
    EXPECT_TRUE(reals.compare_exchange(1.5, -0.0, 2.5)) << "equal, with another sign bit";
    EXPECT_EQ(reals.find(1.5), 2.5);
    EXPECT_TRUE(reals.insert(0.0, 1.0));
    EXPECT_FALSE(reals.insert(-0.0, 2.0)) << "std::hash and == take them for one";
}

TEST(lock_free_map_pairs, keys_that_are_equal_are_one_key_whatever_is_done_with_them) {
    struct residue {
        std::size_t operator()(number n) const noexcept { return n % 10; }
    };
    struct same_residue {
        bool operator()(number a, number b) const noexcept { return a % 10 == b % 10; }
    };
    using classes = weir::lock_free_map<number, number, residue, same_residue>;
    static_assert(in_slots<classes>);
    classes map;
    EXPECT_TRUE(map.insert(3, 1));
    EXPECT_FALSE(map.insert(13, 2));
    EXPECT_EQ(map.find(123), 1U);
    EXPECT_TRUE(map.update(23, [](number v) { return v + 1; }));
    EXPECT_FALSE(map.upsert(33, 0, [](number v) { return v + 1; }));
    EXPECT_EQ(map.compute(43, [](number const* v) { return weir::decision<number>::assign(*v + 1); }), compute_result::assigned);
    EXPECT_FALSE(map.insert_or_assign(53, 9));
    EXPECT_EQ(map.find(3), 9U);
    EXPECT_EQ(map.size(), 1U);
    for (number n = 100; n < 110; ++n) {  // ten classes in all, however many keys
        map.insert(n, n);
    }
    EXPECT_EQ(map.size(), 10U);
    map.reserve(1000);
    EXPECT_EQ(map.find(7), 107U);
    EXPECT_EQ(map.extract(63), 9U);
    EXPECT_EQ(map.find(3), std::nullopt);
}

TEST(lock_free_map_pairs, are_looked_up_by_whatever_the_hash_knows) {
    weir::lock_free_map<text_of_eight, int, text_hash, text_equal> map;
    static_assert(in_slots<decltype(map)>);
    EXPECT_TRUE(map.try_emplace(std::string_view("one"), 1));
    EXPECT_FALSE(map.try_emplace(text_of_eight("one"), 2));
    EXPECT_EQ(map.find(std::string_view("one")), 1);
    EXPECT_FALSE(map.insert_or_assign(std::string_view("one"), 2));
    EXPECT_TRUE(map.update(std::string_view("one"), [](int v) { return v + 1; }));
    EXPECT_EQ(map.exchange(std::string_view("two"), 5), std::nullopt);
    EXPECT_EQ(map.find_or_create(std::string_view("three"), [] { return 7; }), 7);
    EXPECT_EQ(map.find_or_create(std::string_view("three"), [] { return 8; }), 7);
    EXPECT_EQ(map.extract(std::string_view("one")), 3);
    EXPECT_EQ(map.erase_if([](text_of_eight const& key, int) { return key.view() == "two"; }), 1U);
    EXPECT_EQ(map.size(), 1U);
}

TEST(lock_free_map_pairs, values_are_made_as_they_would_be_in_place) {
    weir::lock_free_map<number, number> numbers;
    EXPECT_TRUE(numbers.try_emplace(1U));
    EXPECT_EQ(numbers.find(1), 0U) << "T() is zero";
    weir::lock_free_map<number, padded> aggregates;
    EXPECT_TRUE(aggregates.try_emplace(1U));
    EXPECT_EQ(aggregates.find(1), (std::optional<padded>{{0, 0}}));
    weir::lock_free_map<number, moved_only> moved;
    EXPECT_TRUE(moved.try_emplace(1U, 5U));
    EXPECT_FALSE(moved.insert_or_assign(1U, moved_only(6)));
    EXPECT_TRUE(moved.update(1U, [](moved_only const& m) { return moved_only(m.value() + 1); }));
    EXPECT_TRUE(moved.visit(1U, [](moved_only const& m) { EXPECT_EQ(m.value(), 7U); }));
    EXPECT_TRUE(moved.erase(1U));
    weir::lock_free_map<number, nothing> set;
    EXPECT_TRUE(set.try_emplace(1U));
    EXPECT_FALSE(set.try_emplace(1U));
    EXPECT_EQ(set.find(1), std::optional(nothing{}));
    weir::lock_free_map<number, nothing>::options grow_only{.shrink_at = 0};
    EXPECT_EQ(grow_only.shrink_at, 0);
}

TEST(lock_free_map_pairs, a_function_that_throws_changes_no_pair) {
    struct throwing_same {
        bool operator()(number a, number b) const {
            faults::point();
            return a == b;
        }
    };
    weir::lock_free_map<number, number, std::hash<number>, throwing_same> map;
    static_assert(in_slots<decltype(map)>);
    for (number n = 0; n < 200; ++n) {
        EXPECT_TRUE(map.insert(n, n));
    }
    const auto fails = [&](auto&& call) {
        faults::arm(1);
        EXPECT_THROW(call(), planned_fault);
        faults::disarm();
    };
    for (number n = 0; n < 200; ++n) {
        fails([&] { map.erase(n); });
        fails([&] { map.insert_or_assign(n, 1000); });
        fails([&] { (void)map.find(n); });
        fails([&] { map.update(n, [](number) { return number{1000}; }); });
        fails([&] { (void)map.extract(n); });
        EXPECT_EQ(map.find(n), n);
    }
    EXPECT_EQ(map.size(), 200U);
}

TEST(lock_free_map_pairs, ask_the_allocator_for_no_node) {
    booked<two_words::map> pairs_of;
    booked<nodes::map> nodes_of;
    const auto allocations = [](auto& b) {
        b.map.reserve(1000);
        for (number n = 0; n < 64; ++n) {  // whatever buckets they need
            b.map.insert(n, n);
        }
        const auto before = b.book.allocations();
        for (number round = 0; round < 100; ++round) {
            for (number n = 0; n < 64; ++n) {
                b.map.insert_or_assign(n, round);
                b.map.erase(n);
                b.map.insert(n, n);
            }
        }
        return b.book.allocations() - before;
    };
    EXPECT_LE(allocations(pairs_of), 64U) << "an overflow block now and then";
    EXPECT_GE(allocations(nodes_of), 2 * 6400U);
    pairs_of.map.quiesce();
    EXPECT_EQ(pairs_of.map.stats().pending_objects, 0U);
}

TEST(lock_free_map_pairs, take_40_bytes_an_entry_at_most) {
    const std::size_t count = under_thread_sanitizer ? 250'000 : 1'000'000;  // a quarter fills a table as far
    booked<two_words::map> b;
    for (number n = 0; n < count; ++n) {
        b.map.insert(n, n);
    }
    b.map.quiesce();
    EXPECT_LE(static_cast<double>(b.book.live_bytes()) / static_cast<double>(count), 40.0);
    RecordProperty("bytes_per_entry", std::to_string(b.book.live_bytes() / count));
}
