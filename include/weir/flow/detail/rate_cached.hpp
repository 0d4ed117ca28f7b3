// weir (BSL-1.0). rate_cached: the last answer for each key, and the calls that are under way for the next one.
#ifndef WEIR_FLOW_DETAIL_RATE_CACHED_HPP
#define WEIR_FLOW_DETAIL_RATE_CACHED_HPP
#include <weir/base/detail/cache_line.hpp>
#include <weir/base/detail/entropy.hpp>
#include <weir/base/detail/parking.hpp>
#include <weir/data/stats.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

// Sets of eight entries, each set with a mutex. An entry that has to go is the one that was used longest ago, before it one that
// nobody is calling for. A call under way (`flight`) lives as long as its permit or somebody who waits for it, whether or not its
// entry is still there.
//
// Edges (who hands what to whom):
//   E1  end() of a flight hands over its value -> who waited for it, in acquire

namespace weir::inline v0 {
namespace detail {

/// One call under way.
template <class V>
struct rate_flight {
    event_count ended;
    std::atomic<bool> over{false};  // its permit
    std::shared_ptr<V const> value;  // its permit, before it is over; none: no answer
    std::int64_t at = 0;             // as value: when it came

    void end() noexcept {
        over.store(true);  // E1 release; seq_cst: event_count, way 1
        ended.notify_all();
    }
};

/// As std::equal_to, whose header takes a tenth of the time that all of this one take. (std::hash is in <optional>, too.)
struct equal_keys {
    template <class Key>
        requires requires(Key const& a, Key const& b) { { a == b } -> std::convertible_to<bool>; }
    [[nodiscard]] bool operator()(Key const& a, Key const& b) const noexcept(noexcept(a == b)) {
        return a == b;
    }
};

template <class Key, class V, class KeyEqual>
class cached_table {
    static constexpr std::size_t ways = 8;

public:
    using flight = rate_flight<V>;
    struct entry {
        std::optional<Key> key;           // none: free
        std::uint64_t hash = 0;
        std::uint64_t sequence = 0;       // of the call whose answer it is
        std::int64_t at = 0;              // when the answer came
        std::int64_t used = 0;            // last looked for
        std::shared_ptr<V const> value;   // none: no answer yet
        std::shared_ptr<flight> under_way;  // none: nobody is calling
    };
    struct alignas(cache_line_size) set {
        std::mutex mutex;
        std::array<entry, ways> entries;  // who holds the mutex
    };

    cached_table(std::size_t capacity, KeyEqual equal)
        : equal_(std::move(equal)), sets_(capacity / ways + (capacity % ways != 0 ? 1 : 0)) {}

    [[nodiscard]] set& set_of(std::uint64_t hash) noexcept {
        return sets_[static_cast<std::size_t>(multiply_high(hash, sets_.size()))];
    }
    // The rest: with the mutex of the set.
    [[nodiscard]] entry* find(set& s, std::uint64_t hash, Key const& key) const {
        for (auto& e : s.entries) {
            if (e.key && e.hash == hash && equal_(*e.key, key)) {
                return &e;
            }
        }
        return nullptr;
    }
    /// An entry for the key, which is not there. What has to go for it goes to `gone`, to be destroyed without the mutex.
    [[nodiscard]] entry& make(set& s, std::uint64_t hash, Key const& key, entry& gone) {
        auto& e = *std::min_element(s.entries.begin(), s.entries.end(), [](entry const& a, entry const& b) {
            return worth(a) < worth(b);
        });
        std::optional<Key> mine(std::in_place, key);
        if (e.key) {
            evictions_.add();
        }
        gone = std::exchange(e, entry{});
        e.key.swap(mine);
        e.hash = hash;
        return e;
    }
    [[nodiscard]] static bool called_for(entry const& e) noexcept {
        // relaxed: no value is read for it; who waits for a call that is over finds that out by `over` itself
        return e.under_way != nullptr && !e.under_way->over.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t evictions() const noexcept { return evictions_.value(); }

private:
    [[nodiscard]] static std::pair<int, std::int64_t> worth(entry const& e) noexcept {
        return {!e.key ? 0 : !called_for(e) ? 1 : 2, e.used};
    }

    [[no_unique_address]] KeyEqual equal_;
    std::vector<set> sets_;
    counter evictions_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
