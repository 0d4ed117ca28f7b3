// weir (BSL-1.0). lock_free_map_property_test: random operations on every kind of map against a plain one.
#include <weir/base/concepts.hpp>
#include <weir/data/lock_free_map.hpp>

#include "support/counting_allocator.hpp"
#include "support/faults.hpp"
#include "support/map_storages.hpp"
#include "support/random.hpp"
#include "support/scale.hpp"
#include "support/values.hpp"

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>

#include <gtest/gtest.h>

// A kind of map tells its types, how to make a key and a value from a number, and how to get the number back. The model is
// always a std::unordered_map from number to number. What may vary without another type is a variant of a kind.

namespace {

using namespace weir_test;
using number = std::uint64_t;

struct kind_base {
    static constexpr bool copies = true;           // values can be copied
    static constexpr bool moves = true;            // values can be moved
    static constexpr bool compares = true;         // values have ==
    static constexpr bool throws = false;          // copies, hashes and comparisons pass fault points
    static constexpr std::uint64_t keys = 600;     // how many different ones
    static constexpr std::size_t variants = 1;
    static number any_value(number random) { return random >> 8; }
    static void begin(std::size_t /* variant */) {}
    static void end() {}
    static auto allocator() { return std::monostate{}; }
};

std::string long_text(number n) { return "a text that does not fit into the string itself, number " + std::to_string(n); }
number number_of(std::string_view text) { return std::stoull(std::string(text.substr(text.rfind(' ') + 1))); }

struct plain_numbers : kind_base {  // few, and so many that the table grows a dozen times
    static constexpr std::size_t variants = 2;
    inline static std::uint64_t keys = 0;
    static void begin(std::size_t variant) { keys = variant == 0 ? 600 : 30000; }
    using map = weir::lock_free_map<number, number>;
    static number key(number n) { return n; }
    static number value(number n) { return n; }
    static number read(number v) { return v; }
    static number key_number(number k) { return k; }
};

struct halves : kind_base {  // a pair is one word
    using half = std::uint32_t;
    using map = weir::lock_free_map<half, half>;
    static half key(number n) { return static_cast<half>(n); }
    static number any_value(number random) { return random % (1U << 31); }
    static half value(number n) { return static_cast<half>(n); }
    static number read(half v) { return v; }
    static number key_number(half k) { return k; }
};

struct numbers_in_nodes : kind_base {
    using map = weir::lock_free_map<number, node_number>;
    static number key(number n) { return n; }
    static node_number value(number n) { return n; }
    static number read(node_number const& v) { return v; }
    static number key_number(number k) { return k; }
};

struct stamped_numbers : kind_base {  // nodes whose values are changed in place
    using map = weir::lock_free_map<std::string, number>;
    static std::string key(number n) { return n % 2 == 0 ? "short " + std::to_string(n) : long_text(n); }
    static number value(number n) { return n; }
    static number read(number v) { return v; }
    static number key_number(std::string const& k) { return number_of(k); }
    static_assert(in_stamped_nodes<map>);
};

struct texts : kind_base {
    using map = weir::lock_free_map<std::string, std::string>;
    static std::string key(number n) { return n % 2 == 0 ? "short " + std::to_string(n) : long_text(n); }
    static std::string value(number n) { return long_text(n); }
    static number read(std::string const& v) { return number_of(v); }
    static number key_number(std::string const& k) { return number_of(k); }
};

struct transparent_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
        return poor ? text.size() % 2 : std::hash<std::string_view>{}(text);
    }
    inline static bool poor = false;
};
struct text_views : texts {  // looked up by something that is no key, well and badly hashed; `key` must outlive the call
    static constexpr std::size_t variants = 2;
    inline static std::uint64_t keys = 0;
    static void begin(std::size_t variant) {
        transparent_hash::poor = variant == 1;
        keys = variant == 0 ? 600 : 100;
    }
    using map = weir::lock_free_map<std::string, std::string, transparent_hash, std::equal_to<>>;
    static std::string_view key(number n) {
        thread_local std::string held;
        held = texts::key(n);
        return held;
    }
};

struct move_only_values : kind_base {
    static constexpr bool copies = false;
    static constexpr bool compares = false;
    using map = weir::lock_free_map<number, std::unique_ptr<number>>;
    static number key(number n) { return n; }
    static std::unique_ptr<number> value(number n) { return std::make_unique<number>(n); }
    static number read(std::unique_ptr<number> const& v) { return *v; }
    static number key_number(number k) { return k; }
};

struct pinned_values : kind_base {
    static constexpr bool copies = false;
    static constexpr bool moves = false;
    static constexpr bool compares = false;
    struct pinned {
        explicit pinned(number n) : first(n), self(this) {}
        pinned(pinned const&) = delete;
        pinned& operator=(pinned const&) = delete;
        std::atomic<number> first;
        pinned const* self;
    };
    using map = weir::lock_free_map<number, pinned>;
    static number key(number n) { return n; }
    static number value(number n) { return n; }
    static number read(pinned const& v) { return v.self == &v ? v.first.load() : ~number{0}; }
    static number key_number(number k) { return k; }
};

struct over_aligned : kind_base {
    struct alignas(128) line {
        number first;
        number check;
        friend bool operator==(line const&, line const&) = default;
    };
    using map = weir::lock_free_map<number, line>;
    static number key(number n) { return n; }
    static line value(number n) { return {n, ~n}; }
    static number read(line const& v) {
        return reinterpret_cast<std::uintptr_t>(&v) % alignof(line) == 0 && v.check == ~v.first ? v.first : ~number{0};
    }
    static number key_number(number k) { return k; }
};

struct no_default_constructor : kind_base {
    struct tag {};
    using body = tracked<tag>;
    struct hash {
        std::size_t operator()(body const& b) const { return std::hash<number>{}(b.number()); }
    };
    using map = weir::lock_free_map<body, body, hash>;
    static body key(number n) { return body(n); }
    static body value(number n) { return body(n); }
    static number read(body const& v) { return v.number(); }
    static number key_number(body const& k) { return k.number(); }
    static void begin(std::size_t) { census<tag>::reset(); }
    static void end() {
        EXPECT_EQ(census<tag>::alive.load(), 0);
        EXPECT_EQ(census<tag>::misuses.load(), 0);
    }
};

struct throwing : kind_base {
    static constexpr bool throws = true;
    static constexpr std::uint64_t keys = 100;
    struct tag {};
    using body = tracked<tag, on_copy::throws>;
    struct shared_hash {
        std::size_t operator()(body const& b) const noexcept { return std::hash<number>{}(b.number() / 4); }  // four keys share one
    };
    using map = weir::lock_free_map<body, body, throwing_hash<body, shared_hash>, throwing_equal<body>>;
    static body key(number n) { return body(n); }
    static body value(number n) { return body(n); }
    static number read(body const& v) { return v.number(); }
    static number key_number(body const& k) { return k.number(); }
    static void begin(std::size_t) { census<tag>::reset(); }
    static void end() {
        EXPECT_EQ(census<tag>::alive.load(), 0);
        EXPECT_EQ(census<tag>::misuses.load(), 0);
    }
};

struct stateful_allocator : plain_numbers {
    static constexpr std::size_t variants = 1;
    using allocator_type = counting_allocator<std::pair<number const, number>>;
    using map = weir::lock_free_map<number, number, std::hash<number>, std::equal_to<number>, allocator_type>;
    inline static std::unique_ptr<ledger> book;
    static void begin(std::size_t variant) {
        plain_numbers::begin(variant);
        book = std::make_unique<ledger>();
    }
    static void end() { EXPECT_TRUE(book->settled()) << *book; }
    static auto allocator() { return allocator_type(*book); }
};

struct polymorphic_allocator : kind_base {  // of a resource that frees all at once, and of one that frees each block
    using allocator_type = std::pmr::polymorphic_allocator<std::pair<number const, std::string>>;
    using map = weir::lock_free_map<number, std::string, std::hash<number>, std::equal_to<number>, allocator_type>;
    inline static std::unique_ptr<ledger> book;
    inline static std::unique_ptr<counting_resource> counted;
    inline static std::unique_ptr<std::pmr::memory_resource> resource;
    static constexpr std::size_t variants = 2;
    static void begin(std::size_t variant) {
        book = std::make_unique<ledger>();
        counted = std::make_unique<counting_resource>(*book);
        if (variant == 0) {
            resource = std::make_unique<std::pmr::monotonic_buffer_resource>(counted.get());
        } else {
            resource = std::make_unique<std::pmr::synchronized_pool_resource>(counted.get());
        }
    }
    static void end() {  // the resource dies right after the map
        resource.reset();
        EXPECT_TRUE(book->settled()) << *book;
        counted.reset();
        book.reset();
    }
    static auto allocator() { return allocator_type(resource.get()); }
    static number key(number n) { return n; }
    static std::string value(number n) { return long_text(n); }
    static number read(std::string const& v) { return number_of(v); }
    static number key_number(number k) { return k; }
};

struct good_hash {
    using is_avalanching = void;
    std::size_t operator()(number n) const noexcept { return random_numbers(n).next(); }
};
struct avalanching : plain_numbers {
    static constexpr std::size_t variants = 1;
    using map = weir::lock_free_map<number, number, good_hash>;
};

struct constant_hash : plain_numbers {  // and functions that nothing can be derived from
    struct hash final {
        std::size_t operator()(number) const noexcept { return 0; }
    };
    struct equal final {
        bool operator()(number a, number b) const noexcept { return a == b; }
    };
    static constexpr std::size_t variants = 1;
    static constexpr std::uint64_t keys = 200;
    using map = weir::lock_free_map<number, number, hash, equal>;
};

template <class Map, class Allocator>
std::unique_ptr<Map> make_map(weir::lock_free_map_options o, Allocator const& allocator) {
    if constexpr (std::is_same_v<Allocator, std::monostate>) {
        return std::make_unique<Map>(o);
    } else {
        return std::make_unique<Map>(o, typename Map::hasher{}, typename Map::key_equal{}, allocator);
    }
}

/// The map and its model side by side; each step does one random operation on both and compares.
template <class Kind>
class twins {
public:
    using map_type = typename Kind::map;
    using value_type = typename map_type::mapped_type;

    explicit twins(std::uint64_t seed)
        : dice_(seed),
          map_(make_map<map_type>({.capacity = dice_.one_in(2) ? 0 : dice_.below(5000),
                                   .seed = dice_.next(),
                                   .shrink_at = 0.125 * static_cast<double>(dice_.below(3))},
                                  Kind::allocator())) {}

    [[nodiscard]] std::uint64_t shrinks() const { return map_->stats().shrinks; }

    void step() {
        const number n = dice_.below(Kind::keys);
        if constexpr (Kind::throws) {
            if (dice_.one_in(3)) {
                faults::arm(1 + dice_.below(10));
            }
            try {
                step_on(n);
                faults::disarm();
            } catch (planned_fault const&) {  // as if the call had not been made: the model has not made it either
                ASSERT_EQ(map_->contains(Kind::key(n)), model_.contains(n));
                map_->visit(Kind::key(n), [&](value_type const& x) { EXPECT_EQ(Kind::read(x), model_.at(n)); });
                EXPECT_EQ(map_->size(), model_.size());
            }
        } else {
            step_on(n);
        }
    }
    /// Everything that is in one is in the other.
    void compare() {
        std::unordered_map<number, number> seen;
        map_->for_each([&](auto const& key, value_type const& value) {
            EXPECT_TRUE(seen.emplace(Kind::key_number(key), Kind::read(value)).second) << "twice: " << Kind::key_number(key);
        });
        EXPECT_EQ(seen, model_);
        seen.clear();
        map_->for_each_relaxed([&](auto const& key, value_type const& value) { seen[Kind::key_number(key)] = Kind::read(value); });
        EXPECT_EQ(seen, model_);
        for (number n = 0; n < Kind::keys; ++n) {
            ASSERT_EQ(map_->contains(Kind::key(n)), model_.contains(n)) << n;
        }
        EXPECT_EQ(map_->size(), model_.size());
        const auto s = map_->stats();
        EXPECT_EQ(s.size, model_.size());
        EXPECT_LE(s.longest_chain, model_.size());
        EXPECT_LE(s.overflowed, model_.size());
        EXPECT_EQ(s.failed_growths, 0U);
    }

private:
    void step_on(number n) {
        const auto key = [n]() -> decltype(auto) { return Kind::key(n); };
        const number v = Kind::any_value(dice_.next());
        const auto there = model_.find(n);
        const bool was = there != model_.end();
        const auto old = was ? std::optional(there->second) : std::nullopt;
        switch (dice_.below(24)) {
        case 0:
        case 1:
            EXPECT_EQ(map_->contains(key()), was);
            break;
        case 2:
        case 3: {
            std::optional<number> seen;
            EXPECT_EQ(map_->visit(key(), [&](value_type const& x) { seen = Kind::read(x); }), was);
            EXPECT_EQ(seen, old);
            break;
        }
        case 4:
        case 5:
            EXPECT_EQ(map_->try_emplace(key(), Kind::value(v)), !was);
            model_.try_emplace(n, v);
            break;
        case 6: {
            std::optional<number> seen;
            EXPECT_EQ(map_->try_emplace_or_visit(key(), Kind::value(v), [&](value_type const& x) { seen = Kind::read(x); }), !was);
            EXPECT_EQ(seen, old);
            model_.try_emplace(n, v);
            break;
        }
        case 7:
        case 8:
            EXPECT_EQ(map_->erase(key()), was);
            model_.erase(n);
            break;
        case 9:
            EXPECT_EQ(map_->erase_if(key(), [](value_type const& x) { return Kind::read(x) % 2 == 0; }), was && *old % 2 == 0);
            if (was && *old % 2 == 0) {
                model_.erase(n);
            }
            break;
        case 10:
            whole();
            break;
        case 11:
        case 12:
        case 13:
        case 14:
        case 15:
            if constexpr (Kind::moves) {
                with_moves(n, v, old);
            }
            break;
        case 16:
        case 17:
        case 18:
        case 19:
            if constexpr (Kind::copies) {
                with_copies(n, v, old);
            }
            break;
        case 20:
        case 21:
            if constexpr (Kind::compares) {
                with_comparisons(n, v, old);
            }
            break;
        default:
            EXPECT_EQ(map_->size(), model_.size());
            EXPECT_EQ(map_->empty(), model_.empty());
            break;
        }
    }

    /// The rarer calls that touch all entries.
    void whole() {
        switch (dice_.below(60)) {
        case 0:
            faults::disarm();  // clear and erase_if change one entry after the other
            map_->clear();
            model_.clear();
            break;
        case 1: {
            faults::disarm();
            const number residue = dice_.below(5);
            const auto chosen = [&](number n, number v) { return (n + v) % 5 == residue; };
            const std::size_t expected = std::erase_if(model_, [&](auto const& e) { return chosen(e.first, e.second); });
            EXPECT_EQ(map_->erase_if([&](auto const& k, value_type const& x) { return chosen(Kind::key_number(k), Kind::read(x)); }),
                      expected);
            break;
        }
        case 2:
            map_->reserve(dice_.below(3000));
            break;
        case 3:
            map_->quiesce();
            break;
        case 4:
        case 5:
            map_->shrink_to_fit();
            break;
        case 6: {
            faults::disarm();
            const number kept = dice_.below(20);  // most of them go, one by one, and the table after them
            for (auto at = model_.begin(); model_.size() > kept;) {
                EXPECT_TRUE(map_->erase(Kind::key(at->first)));
                at = model_.erase(at);
            }
            break;
        }
        default:
            break;
        }
    }

    void with_moves(number n, number v, std::optional<number> old) {
        const bool was = old.has_value();
        const auto key = [n]() -> decltype(auto) { return Kind::key(n); };
        const auto next = [](value_type const& x) { return Kind::value(Kind::read(x) + 1); };
        switch (dice_.below(6)) {
        case 0:
            if constexpr (std::same_as<typename map_type::key_type, std::remove_cvref_t<decltype(key())>>) {
                EXPECT_EQ(map_->insert(key(), Kind::value(v)), !was);
                model_.try_emplace(n, v);
            }
            break;
        case 1:
            EXPECT_EQ(map_->insert_or_assign(key(), Kind::value(v)), !was);
            model_[n] = v;
            break;
        case 2:
            EXPECT_EQ(map_->assign(key(), Kind::value(v)), was);
            if (was) {
                model_[n] = v;
            }
            break;
        case 3:
            EXPECT_EQ(map_->update(key(), next), was);
            if (was) {
                ++model_[n];
            }
            break;
        case 4:
            EXPECT_EQ(map_->upsert(key(), Kind::value(v), next), !was);
            model_[n] = was ? *old + 1 : v;
            break;
        default: {
            const std::uint64_t plan = dice_.below(3);
            std::optional<number> seen;
            const auto done = map_->compute(key(), [&](value_type const* x) {
                seen = x == nullptr ? std::nullopt : std::optional(Kind::read(*x));
                return plan == 0   ? weir::decision<value_type>::keep()
                       : plan == 1 ? weir::decision<value_type>::assign(Kind::value(v))
                                   : weir::decision<value_type>::erase();
            });
            using weir::compute_result;
            EXPECT_EQ(seen, old);
            EXPECT_EQ(done, plan == 0   ? compute_result::unchanged
                            : plan == 1 ? (was ? compute_result::assigned : compute_result::inserted)
                                        : (was ? compute_result::erased : compute_result::unchanged));
            if (plan == 1) {
                model_[n] = v;
            } else if (plan == 2) {
                model_.erase(n);
            }
            break;
        }
        }
    }

    void with_copies(number n, number v, std::optional<number> old) {
        const auto key = [n]() -> decltype(auto) { return Kind::key(n); };
        const auto read = [](std::optional<value_type> const& x) {
            return x ? std::optional(Kind::read(*x)) : std::nullopt;
        };
        switch (dice_.below(5)) {
        case 0:
            EXPECT_EQ(read(map_->find(key())), old);
            break;
        case 1:
            EXPECT_EQ(read(map_->exchange(key(), Kind::value(v))), old);
            model_[n] = v;
            break;
        case 2:
            EXPECT_EQ(read(map_->extract(key())), old);
            model_.erase(n);
            break;
        case 3:
            if constexpr (std::same_as<typename map_type::key_type, std::remove_cvref_t<decltype(key())>>) {
                std::optional<number> seen;
                EXPECT_EQ(map_->insert_or_visit(typename map_type::value_type(key(), Kind::value(v)),
                                                [&](value_type const& x) { seen = Kind::read(x); }),
                          !old);
                EXPECT_EQ(seen, old);
                model_.try_emplace(n, v);
            }
            break;
        default:
            EXPECT_EQ(Kind::read(map_->find_or_create(key(), [&] { return Kind::value(v); })), old.value_or(v));
            model_.try_emplace(n, v);
            break;
        }
    }

    void with_comparisons(number n, number v, std::optional<number> old) {
        const auto key = [n]() -> decltype(auto) { return Kind::key(n); };
        const number guess = dice_.one_in(2) ? old.value_or(v) : v + 1;
        const bool right = old == guess;
        if (dice_.one_in(2)) {
            EXPECT_EQ(map_->compare_exchange(key(), Kind::value(guess), Kind::value(v)), right);
            if (right) {
                model_[n] = v;
            }
        } else {
            EXPECT_EQ(map_->compare_erase(key(), Kind::value(guess)), right);
            if (right) {
                model_.erase(n);
            }
        }
    }

    random_numbers dice_;
    std::unique_ptr<map_type> map_;
    std::unordered_map<number, number> model_;
};

template <class Kind>
class lock_free_map_property : public testing::Test {};

using kinds = testing::Types<plain_numbers, halves, numbers_in_nodes, stamped_numbers, texts, text_views, move_only_values,
                             pinned_values, over_aligned, no_default_constructor, throwing, stateful_allocator,
                             polymorphic_allocator, avalanching, constant_hash>;
TYPED_TEST_SUITE(lock_free_map_property, kinds);

}  // namespace

TYPED_TEST(lock_free_map_property, does_what_a_plain_map_does) {
    const std::size_t rounds = scaled(6, 2);
    for (std::size_t variant = 0; variant < TypeParam::variants; ++variant) {
        std::uint64_t shrinks = 0;
        for (std::size_t round = 0; round < rounds; ++round) {
            SCOPED_TRACE("WEIR_TEST_SEED=" + std::to_string(run_seed()) + ", variant " + std::to_string(variant) + ", round " +
                         std::to_string(round));
            TypeParam::begin(variant);
            {
                twins<TypeParam> both(run_seed() + round);
                const std::size_t steps = scaled(round % 2 == 0 ? 5000 : 50000);
                for (std::size_t i = 0; i < steps; ++i) {
                    both.step();
                    if (i % 5000 == 4999) {
                        both.compare();
                    }
                    if (this->HasFailure()) {
                        FAIL() << "step " << i;
                    }
                }
                both.compare();
                shrinks += both.shrinks();
            }
            TypeParam::end();
            if (this->HasFailure()) {
                FAIL() << "after step";
            }
        }
        EXPECT_GT(shrinks, 0U) << "variant " << variant;
    }
}
