// weir (BSL-1.0). lock_free_map_fuzz: any sequence of calls on lock_free_map against a std::unordered_map.
#include <weir/base/expected.hpp>
#include <weir/data/lock_free_map.hpp>

#include "fuzz/fuzz.hpp"
#include "support/counting_allocator.hpp"
#include "support/faults.hpp"
#include "support/map_storages.hpp"
#include "support/values.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

// The first bytes choose the types, how many keys there are and how many of them share a hash; then come calls, each some
// bytes long: what to call, the key, the value. The model is a map from number to number in all kinds. In the kind that
// throws, a call may be told to fail at its n-th point: then it must be as if it had not been made.

namespace {

using namespace weir_test;
using number = std::uint64_t;

/// Sends each number to itself, to one of a few, or all to the same.
struct chosen_hash {
    number modulus = 0;  // 0: none
    [[nodiscard]] std::size_t of(number n) const { return modulus == 0 ? n : n % modulus; }
};

struct numbers {
    struct hash : chosen_hash {
        std::size_t operator()(number n) const noexcept { return of(n); }
    };
    using key = number;
    using value = number;
    using equal = std::equal_to<>;
    static key make_key(number n) { return n; }
    static value make_value(number n) { return n; }
    static number read(number n) { return n; }
};

/// The same in nodes, and in slots of one word.
struct numbers_in_nodes : numbers {
    using value = node_number;
    static value make_value(number n) { return n; }
};
struct stamped_numbers : numbers {  // nodes whose values are changed in place
    using key = node_number;
    static key make_key(number n) { return n; }
};
struct halves : numbers {
    using key = std::uint32_t;
    using value = std::uint32_t;
    static key make_key(number n) { return static_cast<key>(n); }
    static value make_value(number n) { return static_cast<value>(n); }
};

struct texts {
    struct hash : chosen_hash {  // transparent: string_views are looked up as they are
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const noexcept { return of(std::hash<std::string_view>{}(text)); }
    };
    using key = std::string;
    using value = std::string;
    using equal = std::equal_to<>;
    static std::string make_key(number n) { return (n % 2 == 0 ? "" : "a key that does not fit into the string ") + std::to_string(n); }
    static std::string make_value(number n) { return make_key(n); }
    static number read(std::string_view text) { return std::stoull(std::string(text.substr(text.rfind(' ') + 1))); }
};

struct throwers {
    struct tag {};
    using body = tracked<tag, on_copy::throws>;
    struct hash : chosen_hash {
        std::size_t operator()(body const& b) const {
            faults::point();
            return of(b.number());
        }
    };
    using key = body;
    using value = body;
    using equal = throwing_equal<body>;
    static body make_key(number n) { return body(n); }
    static body make_value(number n) { return body(n); }
    static number read(body const& b) { return b.number(); }
};

template <class Kind>
class twins {
public:
    using key = typename Kind::key;
    using value = typename Kind::value;
    using allocator = counting_allocator<std::pair<key const, value>>;
    using map_type = weir::lock_free_map<key, value, typename Kind::hash, typename Kind::equal, allocator>;
    using decision = weir::decision<value>;

    static_assert(in_slots<map_type> == (std::is_same_v<Kind, numbers> || std::is_same_v<Kind, halves>));

    explicit twins(fuzz_bytes& in) : in_(in) {
        constexpr number moduli[] = {0, 0, 3, 1};
        constexpr number key_counts[] = {3, 12, 200, 0x10000};
        hash_.modulus = moduli[in.below(4)];
        keys_ = hash_.modulus == 1 ? 60 : key_counts[in.below(4)];
        seed_ = in.byte();
        const unsigned sizes = in.byte();  // the lowest bit: whether there is a capacity; the next two: when it shrinks
        constexpr double parts[] = {0.125, 0.25, 0.25, 0};
        shrink_at_ = parts[sizes >> 1 & 3];
        map_ = fresh((sizes & 1) != 0 ? in.byte() * 8U : 0U);
    }

    void run() {
        std::size_t calls = 0;
        for (; !in_.empty() && calls < 2000; ++calls) {
            step_ = "call " + std::to_string(calls);
            step();
        }
        step_ = "the end";
        compare();
        map_->quiesce();
        expect_same(map_->stats().pending_objects, 0U, step_ + ": garbage is left after quiesce");
        map_.reset();
        expect_that(book_.settled(), "the map has not given its memory back");
    }

private:
    [[nodiscard]] std::unique_ptr<map_type> fresh(std::size_t capacity) {
        return std::make_unique<map_type>(weir::lock_free_map_options{.capacity = capacity, .seed = seed_, .shrink_at = shrink_at_}, hash_,
                                          typename Kind::equal{}, allocator(book_));
    }

    void step() {
        const unsigned what = in_.below(40);
        const number n = in_.number(keys_ > 256 ? 2 : 1) % keys_;
        const number v = in_.byte();
        step_ += ", what " + std::to_string(what) + ", key " + std::to_string(n) + ": ";
        if (what >= 34) {
            const unsigned fails = in_.below(26);  // a call on one key
            step_ += "fails " + std::to_string(fails) + ": ";
            faults::arm(1 + in_.below(16), fault::user_code | fault::allocator);
            try {
                call(fails, n, v);
            } catch (planned_fault const&) {
                as_before(n);
            } catch (std::bad_alloc const&) {
                as_before(n);
            }
            faults::disarm();
        } else {
            call(what, n, v);
        }
        same(map_->size(), model_.size(), "size");
    }

    void as_before(number n) {
        faults::disarm();
        const auto there = model_.find(n);
        same(read(map_->find(Kind::make_key(n))), there == model_.end() ? std::nullopt : std::optional(there->second),
             "after a call that threw");
        same(map_->size(), model_.size(), "size after a call that threw");
    }

    /// One call on both. The map first: if it throws, the model does not change.
    void call(unsigned what, number n, number v) {
        const auto there = model_.find(n);
        const std::optional<number> old = there == model_.end() ? std::nullopt : std::optional(there->second);
        const bool was = old.has_value();
        const key k = Kind::make_key(n);
        std::optional<number> seen;
        const auto see = [&](value const& x) { seen = Kind::read(x); };
        const auto successor = [](value const& x) { return Kind::make_value(Kind::read(x) + 1); };
        map_type& map = *map_;
        using weir::compute_result;
        switch (what) {
        case 0: same(read(map.find(k)), old, "find"); break;
        case 1: same(map.contains(k), was, "contains"); break;
        case 2:
            same(map.visit(k, see), was, "visit");
            same(seen, old, "what visit saw");
            break;
        case 3:
        case 4:
            same(map.try_emplace(k, Kind::make_value(v)), !was, "try_emplace");
            model_.try_emplace(n, v);
            break;
        case 5:
            same(map.insert(Kind::make_key(n), Kind::make_value(v)), !was, "insert");
            model_.try_emplace(n, v);
            break;
        case 6:
            same(map.insert(typename map_type::value_type(k, Kind::make_value(v))), !was, "insert of a pair");
            model_.try_emplace(n, v);
            break;
        case 7:
            same(map.insert_or_visit(typename map_type::value_type(k, Kind::make_value(v)), see), !was, "insert_or_visit");
            same(seen, old, "what insert_or_visit saw");
            model_.try_emplace(n, v);
            break;
        case 8:
            same(map.try_emplace_or_visit(k, Kind::make_value(v), see), !was, "try_emplace_or_visit");
            same(seen, old, "what try_emplace_or_visit saw");
            model_.try_emplace(n, v);
            break;
        case 9:
            same(Kind::read(map.find_or_create(k, [&] { return Kind::make_value(v); })), old.value_or(v), "find_or_create");
            model_.try_emplace(n, v);
            break;
        case 10: {
            std::stop_source source;
            if (v % 2 == 1) {
                source.request_stop();
            }
            const auto made = map.find_or_create(k, [&] { return Kind::make_value(v); }, source.get_token());
            same(made.has_value(), true, "find_or_create that need not wait");
            same(Kind::read(*made), old.value_or(v), "find_or_create with a stop_token");
            model_.try_emplace(n, v);
            break;
        }
        case 11: {
            const auto refused = map.find_or_create(
                k, [&]() -> weir::expected<value, int> { return weir::unexpected<int>(static_cast<int>(v)); });
            same(refused.has_value(), was, "find_or_create with a factory that fails");
            same(was ? 0 : refused.error(), was ? 0 : static_cast<int>(v), "why it failed");
            break;
        }
        case 12:
        case 13:
            same(map.insert_or_assign(k, Kind::make_value(v)), !was, "insert_or_assign");
            model_[n] = v;
            break;
        case 14:
            same(map.assign(k, Kind::make_value(v)), was, "assign");
            if (was) {
                model_[n] = v;
            }
            break;
        case 15:
            same(read(map.exchange(k, Kind::make_value(v))), old, "exchange");
            model_[n] = v;
            break;
        case 16: {
            const number guess = v % 3 == 0 ? v : old.value_or(v);
            same(map.compare_exchange(k, Kind::make_value(guess), Kind::make_value(v + 1)), old == guess, "compare_exchange");
            if (old == guess) {
                model_[n] = v + 1;
            }
            break;
        }
        case 17:
            same(map.update(k, successor), was, "update");
            if (was) {
                ++model_[n];
            }
            break;
        case 18:
            same(map.upsert(k, Kind::make_value(v), successor), !was, "upsert");
            model_[n] = was ? *old + 1 : v;
            break;
        case 19: {
            const auto done = map.compute(k, [&](value const* x) {
                seen = x == nullptr ? std::nullopt : std::optional(Kind::read(*x));
                if (v % 3 == 0) {
                    return decision::keep();
                }
                if (v % 3 == 1) {
                    return decision::erase();
                }
                return decision::assign(Kind::make_value(v));
            });
            same(seen, old, "what compute saw");
            if (v % 3 == 2) {
                same(done, was ? compute_result::assigned : compute_result::inserted, "compute that assigns");
                model_[n] = v;
            } else if (v % 3 == 1) {
                same(done, was ? compute_result::erased : compute_result::unchanged, "compute that erases");
                model_.erase(n);
            } else {
                same(done, compute_result::unchanged, "compute that keeps");
            }
            break;
        }
        case 20:
        case 21:
            same(map.erase(k), was, "erase");
            model_.erase(n);
            break;
        case 22:
            same(read(map.extract(k)), old, "extract");
            model_.erase(n);
            break;
        case 23:
            same(map.erase_if(k, [](value const& x) { return Kind::read(x) % 2 == 0; }), was && *old % 2 == 0, "erase_if of a key");
            if (was && *old % 2 == 0) {
                model_.erase(n);
            }
            break;
        case 24: {
            const number guess = v % 2 == 0 ? v : old.value_or(v);
            same(map.compare_erase(k, Kind::make_value(guess)), old == guess, "compare_erase");
            if (old == guess) {
                model_.erase(n);
            }
            break;
        }
        case 25:
            if constexpr (requires { map.find(std::string_view()); }) {
                same(read(map.find(std::string_view(k))), old, "find by a view");
                same(map.try_emplace(std::string_view(k), Kind::make_value(v)), !was, "try_emplace by a view");
                model_.try_emplace(n, v);
            } else {
                same(map.empty(), model_.empty(), "empty");
            }
            break;
        case 26: nested(n, v); break;
        default: whole(what, n, v); break;
        }
    }

    /// Callbacks that use the map themselves.
    void nested(number n, number v) {
        const number other = (n + 1 + v) % keys_;
        map_->visit(Kind::make_key(n), [&](value const& x) {
            const number before = Kind::read(x);
            map_->erase(Kind::make_key(n));
            map_->insert_or_assign(Kind::make_key(other), Kind::make_value(v));
            same(Kind::read(x), before, "a value that is erased while it is looked at");
        });
        if (model_.erase(n) != 0) {
            model_[other] = v;
        }
    }

    /// What concerns all entries. These change one entry after the other, so no fault is planned here.
    void whole(unsigned what, number n, number v) {
        faults::disarm();
        map_type& map = *map_;
        switch (what) {
        case 27: compare(); break;
        case 28: v % 4 == 3 ? map.shrink_to_fit() : map.reserve((n + v) % 3000); break;
        case 29: {
            const auto chosen = [&](number k, number x) { return (k + x) % 4 == v % 4; };
            same(map.erase_if([&](key const& k, value const& x) { return chosen(Kind::read(k), Kind::read(x)); }),
                 std::erase_if(model_, [&](auto const& e) { return chosen(e.first, e.second); }), "erase_if");
            break;
        }
        case 30:
            if (v < 64) {
                map.clear();
                model_.clear();
            } else {
                map.quiesce();
            }
            break;
        case 31: {  // a copy takes the place of the map
            auto copy = fresh(v % 2 == 0 ? 0 : map.size());
            map.for_each([&](key const& k, value const& x) { same(copy->try_emplace(k, x), true, "a key that came twice"); });
            map_ = std::move(copy);
            break;
        }
        case 32:
            for (number i = n; i < n + v && i < keys_; ++i) {
                same(map.try_emplace(Kind::make_key(i), Kind::make_value(v)), model_.try_emplace(i, v).second, "insertion of many");
            }
            break;
        default:
            for (number i = n; i < n + v && i < keys_; ++i) {
                same(map.erase(Kind::make_key(i)), model_.erase(i) == 1, "erasure of many");
            }
            break;
        }
    }

    void compare() {
        std::unordered_map<number, number> seen;
        map_->for_each([&](key const& k, value const& x) {
            same(seen.emplace(Kind::read(k), Kind::read(x)).second, true, "for_each: a key that came twice");
        });
        same(seen, model_, "for_each");
        seen.clear();
        map_->for_each_relaxed([&](key const& k, value const& x) { seen[Kind::read(k)] = Kind::read(x); });
        same(seen, model_, "for_each_relaxed");
        const auto s = map_->stats();
        same(s.size, model_.size(), "stats().size");
        same(s.longest_chain <= model_.size() && s.overflowed <= model_.size(), true, "stats()");
    }

    [[nodiscard]] static std::optional<number> read(std::optional<value> const& x) {
        return x ? std::optional(Kind::read(*x)) : std::nullopt;
    }
    template <class T, class U>
    void same(T const& came, U const& wanted, char const* of) const {
        if (!(came == wanted)) {
            throw mismatch(step_ + of);
        }
    }

    fuzz_bytes& in_;
    typename Kind::hash hash_;
    number keys_ = 0;
    number seed_ = 0;
    double shrink_at_ = 0;
    std::string step_;
    ledger book_;
    std::unique_ptr<map_type> map_;
    std::unordered_map<number, number> model_;
};

}  // namespace

int fuzz_one(std::uint8_t const* data, std::size_t size) {
    fuzz_bytes in(data, size);
    const unsigned kind = in.byte();
    switch (kind % 3) {
    case 0:
        switch (kind / 3 % 4) {
        case 0: twins<numbers_in_nodes>(in).run(); break;
        case 1: twins<halves>(in).run(); break;
        case 2: twins<stamped_numbers>(in).run(); break;
        default: twins<numbers>(in).run(); break;
        }
        break;
    case 1: twins<texts>(in).run(); break;
    default:
        census<throwers::tag>::reset();
        twins<throwers>(in).run();
        expect_same(census<throwers::tag>::alive.load(), 0, "keys or values are left");
        expect_same(census<throwers::tag>::misuses.load(), 0, "a dead key or value was used");
        break;
    }
    return 0;
}
