// weir (BSL-1.0). rate_table: the words of one key, and those of very many in memory that never grows.
#ifndef WEIR_FLOW_DETAIL_RATE_TABLE_HPP
#define WEIR_FLOW_DETAIL_RATE_TABLE_HPP
#include <weir/base/concepts.hpp>
#include <weir/base/detail/cache_line.hpp>
#include <weir/base/detail/entropy.hpp>
#include <weir/data/stats.hpp>
#include <weir/flow/detail/rate_decision.hpp>
#include <weir/flow/detail/rate_latch.hpp>
#include <weir/flow/detail/rate_stats.hpp>

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

// A refusal is decided without the latch: the words are read, and the latch's version says whether they stood so at one moment.
// Whoever would be let through takes the latch, looks again and changes the words.
// Edges: see rate_decision.hpp
//
// The table. Sets of eight keys: a line of eight hashes, then the words of the eight. A key is its 64-bit hash, made with a secret
// seed; two keys with one hash would share a limit.
//   drop rule   a key goes freely if what is known of it is no more than of one that never came (`fresh`)
//   watermark   if all eight are needed, the one that loses least goes (`rank`), and the set remembers how much that was at most;
//               a key that is not there starts as if that had been its own
// Invariant: a key that comes back has no more left than when it went. So nobody frees a key by sending others.

namespace weir::inline v0 {
namespace detail {

// Only the hash of a key is kept, so whatever has the hash of a key will do.
template <class K, class Key, class Hash>
concept rate_key =
    std::convertible_to<K const&, Key const&> || (hasher_of<Hash, K> && requires { typename Hash::is_transparent; });

// What was asked, under the latch. `again` looks at the clock: a caller that was suspended after it did must not be taken for
// a clock that was set back. `healed` is told if it was.
template <bool Whole, class Rule, class Words, class Again, class Healed>
rate_decision rate_take(Rule const& rule, Words const& w, std::int64_t n, std::int64_t now, Again const& again, Healed const& healed) {
    bool allowed = rule.admits(w, n, now);
    if (!allowed && rule.impossible(w, now)) [[unlikely]] {
        if (now = again(); rule.impossible(w, now)) {
            rule.heal(w, now);
            healed();
        }
        allowed = rule.admits(w, n, now);
    }
    if (allowed && n > 0) {
        rule.commit(w, n, now);
    }
    if constexpr (Whole) {
        return rule.describe(w, n, now, allowed);
    }
    return {.allowed = allowed};
}

// The words of one key, and a latch.
template <class Rule>
class rate_cell {
public:
    explicit rate_cell(Rule rule) : rule_(std::move(rule)), memory_(rule_.words()), words_{memory_.data()} {}
    [[nodiscard]] Rule const& rule() const noexcept { return rule_; }
    [[nodiscard]] rate_words words() const noexcept { return words_; }
    [[nodiscard]] std::uint64_t heals() const noexcept { return static_cast<std::uint64_t>(heals_.value()); }

    template <bool Whole, class Again>
    [[nodiscard]] rate_decision take(std::int64_t n, std::int64_t now, Again const& again) noexcept {
        auto const& w = words_;
        if (auto const seen = latch_.begin(); rate_latch::free(seen) && !rule_.admits(w, n, now) && !rule_.impossible(w, now)) {
            rate_decision refused;
            if constexpr (Whole) {
                refused = rule_.describe(w, n, now, false);
            }
            if (latch_.same(seen)) {
                return refused;
            }
        }
        std::lock_guard const hold(latch_);
        return rate_take<Whole>(rule_, w, n, now, again, [this]() noexcept { heals_.add(); });
    }
    [[nodiscard]] rate_decision look(std::int64_t n, std::int64_t now) const noexcept {
        auto const& w = words_;
        if (auto const seen = latch_.begin(); rate_latch::free(seen)) {
            auto const d = rule_.describe(w, n, now, rule_.admits(w, n, now));
            if (latch_.same(seen)) {
                return d;
            }
        }
        std::lock_guard const hold(latch_);
        return rule_.describe(w, n, now, rule_.admits(w, n, now));
    }

private:
    Rule rule_;
    std::vector<std::atomic<std::int64_t>> memory_;  // who holds the latch
    rate_words words_;                               // in it
    mutable rate_latch latch_;
    gauge heals_;  // any thread; too rare for a counter, which takes memory of each
};

template <class Rule>
class rate_table {
    static constexpr std::size_t ways = 8;
    static constexpr std::size_t in_line = cache_line_size / sizeof(std::int64_t);
    struct set_head {
        mutable rate_latch latch;
        std::atomic<std::int64_t> mark{rate_no_mark};  // who holds the latch
    };

public:
    rate_table(Rule rule, std::size_t capacity)
        : rule_(std::move(rule)),
          words_(rule_.words()),
          heads_(capacity / ways + (capacity % ways != 0 ? 1 : 0)),
          memory_(heads_.size() * ways * (1 + words_) + in_line - 1) {
        // Sets begin with a cache line.
        auto const past = reinterpret_cast<std::uintptr_t>(memory_.data()) % cache_line_size / sizeof(std::int64_t);
        first_ = memory_.data() + (in_line - past) % in_line;
    }
    [[nodiscard]] Rule const& rule() const noexcept { return rule_; }

    template <bool Whole, class Again>
    [[nodiscard]] rate_decision take(std::uint64_t hash, std::int64_t n, std::int64_t now, Again const& again) noexcept {
        auto const name = name_of(hash);
        auto const set = set_of(hash);
        auto& head = heads_[set];
        std::size_t way = ways;
        if (auto const seen = head.latch.begin(); rate_latch::free(seen) && (way = find(set, name)) != ways) {
            auto const w = words(set, way);
            if (!rule_.admits(w, n, now) && !rule_.impossible(w, now)) {
                rate_decision refused;
                if constexpr (Whole) {
                    refused = rule_.describe(w, n, now, false);
                }
                if (head.latch.same(seen)) {
                    return refused;
                }
            }
        }
        std::lock_guard const hold(head.latch);
        if (way == ways || names(set).at(way) != name) {
            way = find(set, name);
        }
        return way != ways ? rate_take<Whole>(rule_, words(set, way), n, now, again, [] {})
                           : come<Whole>(set, name, n, now, again);
    }

    [[nodiscard]] rate_decision look(std::uint64_t hash, std::int64_t n, std::int64_t now) const noexcept {
        auto const set = set_of(hash);
        auto const& head = heads_[set];
        auto const answer = [&] {
            auto const judge = [&](auto const& w) { return rule_.describe(w, n, now, rule_.admits(w, n, now)); };
            auto const way = find(set, name_of(hash));
            return way != ways ? judge(words(set, way)) : judge(unknown(head, now));
        };
        if (auto const seen = head.latch.begin(); rate_latch::free(seen)) {
            auto const d = answer();
            if (head.latch.same(seen)) {
                return d;
            }
        }
        std::lock_guard const hold(head.latch);
        return answer();
    }

    // Forgets keys that are as good as gone, in so many sets; goes on where the last call ended.
    std::size_t clean(std::size_t budget, std::int64_t now) noexcept {
        std::size_t gone = 0;
        for (auto sets = std::min(budget, heads_.size()); sets > 0; --sets) {
            // relaxed: says where to look, hands over nothing
            auto const set = static_cast<std::size_t>(next_.fetch_add(1, std::memory_order_relaxed) % heads_.size());
            std::lock_guard const hold(heads_[set].latch);
            for (std::size_t way = 0; way < ways; ++way) {
                if (names(set).at(way) != 0 && rule_.fresh(words(set, way), now)) {
                    names(set).set(way, 0);
                    ++gone;
                }
            }
        }
        if (gone > 0) {
            removed_.add(gone);
        }
        return gone;
    }

    [[nodiscard]] keyed_rate_limiter_stats stats() const noexcept {
        // In this order: a key is never seen to go that was not seen to come.
        auto const removed = removed_.value();
        return {static_cast<std::size_t>(inserted_.value() - removed), heads_.size() * ways, evicted_.value(), denied_.value()};
    }

private:
    [[nodiscard]] static std::int64_t name_of(std::uint64_t hash) noexcept {
        return static_cast<std::int64_t>(hash == 0 ? 1 : hash);  // 0: a free place
    }
    [[nodiscard]] std::size_t set_of(std::uint64_t hash) const noexcept {
        return static_cast<std::size_t>(multiply_high(hash, heads_.size()));
    }
    [[nodiscard]] rate_words names(std::size_t set) const noexcept {
        return {first_ + set * ways * (1 + words_)};
    }
    [[nodiscard]] rate_words words(std::size_t set, std::size_t way) const noexcept {
        return {names(set).first + ways + way * words_};
    }
    [[nodiscard]] std::size_t find(std::size_t set, std::int64_t name) const noexcept {
        auto const all = names(set);
        std::size_t way = 0;
        while (way < ways && all.at(way) != name) {
            ++way;
        }
        return way;
    }
    [[nodiscard]] rate_unknown_key<Rule> unknown(set_head const& head, std::int64_t now) const noexcept {
        return {rule_, head.mark.load(std::memory_order_acquire), now};  // E2 acquire
    }

    // A key that is not there. Under the latch.
    template <bool Whole, class Again>
    rate_decision come(std::size_t set, std::int64_t name, std::int64_t n, std::int64_t now, Again const& again) noexcept {
        auto& head = heads_[set];
        auto const mark = [&](std::int64_t m) { head.mark.store(m, std::memory_order_release); };  // E2 release
        if (rule_.impossible_mark(unknown(head, now).mark, now)) [[unlikely]] {
            now = again();
            heal(set, now);
        }
        auto const start = unknown(head, now);
        bool const allowed = rule_.admits(start, n, now);
        if (!allowed || n == 0) {
            if (!allowed && rule_.admits(rate_unknown_key<Rule>{rule_, rate_no_mark, now}, n, now)) {
                denied_.add();
            }
            return Whole ? rule_.describe(start, n, now, allowed) : rate_decision{.allowed = allowed};
        }
        auto way = place(set, now);
        if (names(set).at(way) != 0 && rule_.impossible(words(set, way), now)) [[unlikely]] {
            heal(set, again());
            way = place(set, now);
        }
        auto const w = words(set, way);
        if (names(set).at(way) == 0) {
            inserted_.add();
        } else if (!rule_.fresh(w, now)) {
            evicted_.add();
            mark(std::max(start.mark, rule_.rank(w, now)));
        }
        for (std::size_t i = 0; i < words_; ++i) {
            w.set(i, start.at(i));
        }
        names(set).set(way, name);
        rule_.commit(w, n, now);
        return Whole ? rule_.describe(w, n, now, true) : rate_decision{.allowed = true};
    }

    // The clock was set back: no mark, and no key that is evicted, may stand for a time that will not come again for long.
    [[gnu::noinline, gnu::cold]] void heal(std::size_t set, std::int64_t now) noexcept {
        if (rule_.impossible_mark(unknown(heads_[set], now).mark, now)) {
            // relaxed: nothing else that a look without the latch reads with it changes here
            heads_[set].mark.store(rule_.healed_mark(now), std::memory_order_relaxed);
        }
        for (std::size_t way = 0; way < ways; ++way) {
            if (names(set).at(way) != 0 && rule_.impossible(words(set, way), now)) {
                rule_.heal(words(set, way), now);
            }
        }
    }

    // Free, or as good as free, or the one that loses least.
    [[nodiscard]] std::size_t place(std::size_t set, std::int64_t now) const noexcept {
        std::size_t best = ways;
        std::size_t least = 0;
        for (std::size_t way = 0; way < ways; ++way) {
            if (names(set).at(way) == 0) {
                return way;
            }
            if (best == ways && rule_.fresh(words(set, way), now)) {
                best = way;
            }
            if (rule_.rank(words(set, way), now) < rule_.rank(words(set, least), now)) {
                least = way;
            }
        }
        return best != ways ? best : least;
    }

    Rule rule_;
    std::size_t words_;             // of a key
    std::vector<set_head> heads_;
    std::vector<std::atomic<std::int64_t>> memory_;  // who holds the latch of the set
    std::atomic<std::int64_t>* first_;               // in it: of the first set
    std::atomic<std::uint64_t> next_{0};  // who cleans
    counter inserted_;
    counter removed_;
    counter evicted_;
    counter denied_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
