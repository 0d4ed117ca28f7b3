// weir (BSL-1.0). lock_free_map_burial_test: a dead node is freed when no lookup can come to it any more, and not before.
#include <weir/base/hash.hpp>
#include <weir/data/lock_free_map.hpp>

#include "support/arena_allocator.hpp"
#include "support/map_storages.hpp"
#include "support/stopped_thread.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

// Nodes whose values change in place die before they are taken out of their bucket. If their eraser then gets no memory, they stay
// and are moved from table to table like any other node, until a writer takes them out and retires them. While two buckets become
// one, a writer may already be in the new bucket, and a lookup still in one of the old ones.

namespace {

using namespace weir_test;
using number = std::uint64_t;

/// Memory that can be refused, and is all zero when it is freed: a node there is alive, and its key is 0.
struct zeroing {
    inline static std::atomic<std::int64_t> left{std::int64_t{1} << 60};  // allocations, before they are refused
};
template <class T>
struct zeroing_allocator {
    using value_type = T;
    zeroing_allocator() = default;
    template <class U>
    zeroing_allocator(zeroing_allocator<U> const&) noexcept {}
    [[nodiscard]] T* allocate(std::size_t n) {
        if (zeroing::left.fetch_sub(1) <= 0) {
            throw std::bad_alloc();
        }
        return arena_allocator<T>().allocate(n);
    }
    void deallocate(T* p, std::size_t n) noexcept { std::memset(static_cast<void*>(p), 0, n * sizeof(T)); }
    template <class U>
    friend bool operator==(zeroing_allocator const&, zeroing_allocator<U> const&) noexcept {
        return true;
    }
};
template <class F>
void with_allocations(std::int64_t count, F const& f) {
    const auto before = zeroing::left.exchange(count);
    f();
    zeroing::left = before;
}

/// Too wide for a pair to stand in a slot, and hashed again whenever the hash is needed: a node is nothing but link, key and value.
struct wide_key {
    number n = 0;
    number more = 0;
    friend bool operator==(wide_key const&, wide_key const&) = default;
};
struct wide_hash {
    std::size_t operator()(wide_key const& k) const noexcept { return k.n; }
};
using map_type = weir::lock_free_map<wide_key, number, wide_hash, std::equal_to<wide_key>,
                                     zeroing_allocator<std::pair<wide_key const, number>>>;
static_assert(in_stamped_nodes<map_type>);
using layout = weir_test::detail::storage_of<map_type>::header;

void warm_up() {
    map_type map;
    for (number n = 0; n < 20; ++n) {
        map.insert({n}, n);
    }
    for (number n = 0; n < 20; ++n) {
        map.erase(wide_key{n});
    }
    map.shrink_to_fit();
    static_cast<void>(map.contains(wide_key{}));
}

/// Keys of the last of four buckets: of eight, `corpse` and `beside` are in the last one, all others in the one before.
class family {
public:
    static constexpr wide_key corpse{};

    family() {
        while (index(corpse) != 7) {
            ++seed_;
        }
        for (number n = 1; !complete(); ++n) {
            const wide_key k{n};
            if (index(k) == 7 && tag(k) != tag(corpse)) {
                beside_ = k;
            } else if (index(k) == 6 && tag(k) == tag(corpse)) {
                twin_ = k;
            } else if (index(k) == 6 && others_.size() < 9) {
                others_.push_back(k);
            } else if (index(k) == 0) {
                far_ = k;
            }
        }
    }
    [[nodiscard]] number seed() const noexcept { return seed_; }
    [[nodiscard]] wide_key beside() const { return *beside_; }
    [[nodiscard]] wide_key twin() const { return *twin_; }  // with the tag of the corpse
    [[nodiscard]] wide_key far() const { return *far_; }    // in another bucket
    [[nodiscard]] wide_key other(std::size_t i) const { return others_[i]; }

private:
    [[nodiscard]] number hash(wide_key k) const noexcept { return weir::seeded_hash(wide_hash{}, seed_)(k); }
    [[nodiscard]] number index(wide_key k) const noexcept { return hash(k) >> 61; }
    [[nodiscard]] number tag(wide_key k) const noexcept { return layout::tag(hash(k)); }
    [[nodiscard]] bool complete() const noexcept { return beside_ && twin_ && far_ && others_.size() == 9; }

    number seed_ = 1;
    std::optional<wide_key> beside_;
    std::optional<wide_key> twin_;
    std::optional<wide_key> far_;
    std::vector<wide_key> others_;
};

/// Four buckets, of which the last one is full; the corpse-to-be is in its overflow block.
void lay_out(map_type& map, family const& keys) {
    for (std::size_t i = 0; i < 6; ++i) {
        map.insert(keys.other(i), 1);
    }
    map.insert(keys.corpse, 1);
}

/// One function, so that its steps are the same each time.
[[gnu::noinline]] void erase_corpse(map_type& map) { map.erase(family::corpse); }

/// The step before which an erasure of the corpse-to-be has killed it, and has yet to take it out.
std::size_t step_after_the_kill(family const& keys) {
    std::size_t first = 0;
    for (std::size_t stride = std::size_t{1} << 12; stride != 0; stride /= 2) {
        arena::reset();
        map_type map({.seed = keys.seed(), .shrink_at = 0});
        lay_out(map, keys);
        bool alive = false;
        stop_at_step(first + stride, [&] { erase_corpse(map); }, [&] { alive = map.contains(keys.corpse); }, warm_up);
        first += alive ? stride : 0;
    }
    return first + 1;
}

/// A table of eight buckets: the corpse stands in a slot of the last one, beside another key; the one before has four.
void make_corpse(map_type& map, family const& keys, std::size_t step) {
    lay_out(map, keys);
    const auto before = zeroing::left.load();
    const bool stopped = stop_at_step(step, [&] { erase_corpse(map); }, [&] {
        EXPECT_FALSE(map.contains(keys.corpse));
        map.insert(keys.other(6), 1);  // the eraser has to make another block, and gets no memory for it
        zeroing::left = 0;
    }, warm_up);
    zeroing::left = before;
    ASSERT_TRUE(stopped);
    ASSERT_EQ(map.stats().overflowed, 2U) << "there is no corpse";
    map.reserve(17);
    ASSERT_EQ(map.stats().buckets, 8U);
    for (std::size_t i = 4; i < 7; ++i) {
        ASSERT_TRUE(map.erase(keys.other(i)));
    }
    map.insert(keys.beside(), 1);  // behind the corpse: who moves both still protects this one
    map.quiesce();
    ASSERT_EQ(map.stats().longest_chain, 4U);
}

/// Retires nodes until two more make this thread's bin free what it can.
void come_close_to_a_sweep(map_type& map, family const& keys) {
    const auto retire_one = [&] {
        map.insert(keys.far(), 1);
        map.erase(keys.far());
        return map.stats().pending_objects;
    };
    std::size_t most = 0;
    for (std::size_t pending = retire_one(); pending >= most; pending = retire_one()) {
        most = pending;
    }
    for (std::size_t i = 2; i <= most; ++i) {
        retire_one();
    }
}

enum class moved : unsigned char { nothing, the_first_bucket, everything };

/// Stops a move of the last two buckets before its n-th instruction. If a bucket is done then, lets a writer make its call and
/// retire, and looks. Returns what was done at least.
template <class Call>
moved look_beside_a_move(family const& keys, std::size_t step_of_kill, std::size_t n, Call call) {
    arena::reset();
    map_type map({.seed = keys.seed(), .shrink_at = 0});
    make_corpse(map, keys, step_of_kill);
    arrivals arrived;
    gate go_on;
    crew writer;
    writer.start([&] {
        come_close_to_a_sweep(map, keys);
        arrived.arrive();
        EXPECT_TRUE(go_on.wait());
        call(map);
        EXPECT_TRUE(map.erase(keys.other(0)));  // the last one before a sweep
        arrived.arrive();
    });
    EXPECT_TRUE(arrived.wait_for(1));
    with_allocations(1, [&] { EXPECT_THROW(map.shrink_to_fit(), std::bad_alloc); });  // nothing but the smaller table
    bool first_is_done = false;
    const bool stopped = stop_at_step(n, [&] { map.erase(keys.twin()); }, [&] {
        first_is_done = map.stats().longest_chain > 4;  // all is seen in the new bucket
        if (first_is_done) {
            go_on.open();
            EXPECT_TRUE(arrived.wait_for(2));
            EXPECT_EQ(map.find(keys.corpse), std::nullopt) << "a lookup was shown a node that is freed";
            EXPECT_EQ(map.find(keys.beside()), 1U);
        }
    }, warm_up);
    go_on.open();
    writer.join();
    map.quiesce();
    EXPECT_EQ(map.stats().buckets, 4U);
    EXPECT_FALSE(map.contains(keys.corpse));
    return !stopped ? moved::everything : first_is_done ? moved::the_first_bucket : moved::nothing;
}

template <class Call>
void look_between_two_done_buckets(Call call) {
    if (!can_stop_at_steps) {
        GTEST_SKIP() << "no single steps on this platform";
    }
    family const keys;
    const std::size_t kill = step_after_the_kill(keys);
    const auto look = [&](std::size_t n) { return look_beside_a_move(keys, kill, n, [&](map_type& map) { call(map, keys); }); };
    std::size_t n = 0;  // the last instruction before which no bucket is done
    for (std::size_t stride = std::size_t{1} << 13; stride != 0; stride /= 2) {
        n += look(n + stride) == moved::nothing ? stride : 0;
        ASSERT_FALSE(testing::Test::HasFailure());
    }
    EXPECT_EQ(look(n + 1), moved::the_first_bucket);
}

}  // namespace

TEST(lock_free_map_burial, a_writer_of_a_key_with_the_same_tag_leaves_the_dead_of_the_other_bucket) {
    look_between_two_done_buckets([](map_type& map, family const& keys) { EXPECT_FALSE(map.erase(keys.twin())); });
}

TEST(lock_free_map_burial, a_writer_that_needs_a_slot_leaves_the_dead_of_the_other_bucket) {
    look_between_two_done_buckets([](map_type& map, family const& keys) { EXPECT_TRUE(map.insert(keys.other(7), 1)); });
}
