// weir (BSL-1.0). object_pool_store_bodies: how a pool_store moves items between blocks and depot, and empties both.
#ifndef WEIR_DATA_DETAIL_OBJECT_POOL_STORE_BODIES_HPP
#define WEIR_DATA_DETAIL_OBJECT_POOL_STORE_BODIES_HPP
#include <weir/data/detail/object_pool_store.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

// Edges: see object_pool_store.hpp.

namespace weir::inline v0 {
namespace detail {

// ---- the owner of a block, within its gate

// As take() and keep(), where there is no item or no room, or items have sizes. They leave the block.
template <class Depot>
[[gnu::noinline]] object_item* object_store<Depot>::take_within(object_block& b) noexcept {
    if (object_read(b.count) == 0 && !refill(b)) {
        b.leave();
        return take_otherwise();
    }
    auto* const item = pop_from(b, object_read(b.count));
    if (sized()) {
        object_write(b.bytes, object_read(b.bytes) - item->bytes);
        settle(b);
    }
    b.leave();
    return item;
}

template <class Depot>
[[gnu::noinline]] bool object_store<Depot>::keep_within(object_block& b, object_item* item) noexcept {
    bool const fits = has_room(b, item->bytes) || make_room(b, item->bytes);
    if (fits) {
        if (sized()) {
            object_write(b.bytes, object_read(b.bytes) + item->bytes);
        }
        push_to(b, object_read(b.count), item);
    }
    b.leave();
    return fits;
}

// Bytes that are reserved for more than two units of nothing go back: others may need them.
template <class Depot>
[[gnu::noinline]] void object_store<Depot>::settle(object_block& b) noexcept {
    auto const spare = object_read(b.bytes_limit) - object_read(b.bytes);
    if (spare > 2 * bytes_unit_) {
        object_write(b.bytes_limit, object_read(b.bytes_limit) - (spare - bytes_unit_));
        give_back(bytes_reserved_, spare - bytes_unit_);
    }
}

// The block is empty: a magazine of the depot, with its slots.
template <class Depot>
[[gnu::noinline]] bool object_store<Depot>::refill(object_block& b) noexcept {
    auto* const m = take_full();
    if (m == nullptr) {
        return false;
    }
    for (std::size_t i = 0; i < m->count; ++i) {
        b.items[i] = m->items[i];
    }
    auto const slots = object_read(b.limit) + m->count;
    auto const most = std::max(2 * magazine_, m->count);
    object_write(b.count, m->count);
    object_write(b.moved, object_read(b.moved) + m->count);
    object_write(b.limit, std::min(slots, most));
    give_back(reserved_, slots - std::min(slots, most));
    if (sized()) {
        object_write(b.bytes, m->bytes);
        object_write(b.bytes_limit, object_read(b.bytes_limit) + m->bytes);
    }
    put_back_empty(*m);
    return true;
}

template <class Depot>
[[gnu::noinline]] bool object_store<Depot>::make_room(object_block& b, std::size_t bytes) noexcept {
    if (object_read(b.count) >= 2 * magazine_ && !unload(b, magazine_)) {
        return false;
    }
    if (object_read(b.count) == object_read(b.limit)) {
        auto const wanted = std::max<std::size_t>(std::min(magazine_, 2 * magazine_ - object_read(b.limit)), 1);
        auto got = reserve(reserved_, bounds_.items, 1, wanted);
        if (got == 0 && adopt_exited()) {
            got = reserve(reserved_, bounds_.items, 1, wanted);
        }
        if (got == 0) {
            return false;
        }
        object_write(b.limit, object_read(b.limit) + got);
    }
    if (sized()) {
        auto const spare = object_read(b.bytes_limit) - object_read(b.bytes);
        if (spare < bytes) {
            auto const least = bytes - spare;
            auto got = reserve(bytes_reserved_, bounds_.bytes, least, std::max(least, bytes_unit_));
            if (got == 0 && adopt_exited()) {
                got = reserve(bytes_reserved_, bounds_.bytes, least, std::max(least, bytes_unit_));
            }
            if (got == 0) {
                return false;
            }
            object_write(b.bytes_limit, object_read(b.bytes_limit) + got);
        }
    }
    return true;
}

// The n items that have been there for longest go to the depot, with their slots.
template <class Depot>
[[gnu::noinline]] bool object_store<Depot>::unload(object_block& b, std::size_t n) noexcept {
    auto* const m = empty_magazine();
    if (m == nullptr) {
        return false;
    }
    auto const count = object_read(b.count);
    m->count = n;
    m->bytes = 0;
    for (std::size_t i = 0; i < n; ++i) {
        m->items[i] = b.items[i];
        m->bytes += b.items[i]->bytes;
    }
    for (std::size_t i = n; i < count; ++i) {
        b.items[i - n] = b.items[i];
    }
    object_write(b.count, count - n);
    object_write(b.moved, object_read(b.moved) - n);
    object_write(b.limit, object_read(b.limit) - n);
    if (sized()) {
        object_write(b.bytes, object_read(b.bytes) - m->bytes);
        object_write(b.bytes_limit, object_read(b.bytes_limit) - m->bytes);
    }
    put_full(*m);
    return true;
}

// ---- those who have no block, or nothing in it

template <class Depot>
[[gnu::noinline]] object_item* object_store<Depot>::take_otherwise() noexcept {
    if (has_blocks() && !closed() && own() == nullptr && make_own() != nullptr) {
        return take();
    }
    object_item* item = nullptr;
    {
        visit const here(*this);
        if (!here.open()) {
            return nullptr;
        }
        item = take_visiting();
        if (item == nullptr && has_blocks() && adopt_exited()) {
            item = take_visiting();
        }
    }
    return item;
}

template <class Depot>
[[gnu::noinline]] bool object_store<Depot>::keep_otherwise(object_item* item) noexcept {
    if (has_blocks() && !closed() && own() == nullptr && make_own() != nullptr) {
        return keep(item);
    }
    visit const here(*this);
    return here.open() && keep_visiting(item);
}

template <class Depot>
[[gnu::noinline]] object_item* object_store<Depot>::take_visiting() noexcept {
    auto* const m = take_full();
    if (m == nullptr) {
        return nullptr;
    }
    auto* const item = m->items[--m->count];
    m->bytes -= item->bytes;
    give_back(reserved_, 1);
    if (sized()) {
        give_back(bytes_reserved_, item->bytes);
    }
    if (m->count != 0) {
        put_full(*m);
    } else {
        put_back_empty(*m);
    }
    hits_.add();
    return item;
}

template <class Depot>
[[gnu::noinline]] bool object_store<Depot>::keep_visiting(object_item* item) noexcept {
    auto const slot = [this] { return reserve(reserved_, bounds_.items, 1, 1) != 0; };
    if (!slot() && !(has_blocks() && adopt_exited() && slot())) {
        return false;
    }
    if (sized() && reserve(bytes_reserved_, bounds_.bytes, item->bytes, item->bytes) != item->bytes) {
        give_back(reserved_, 1);
        return false;
    }
    auto* m = has_blocks() ? take_full() : nullptr;  // a depot beside blocks has nodes for magazines that are mostly full
    if (m != nullptr && m->count == object_magazine_size) {
        put_full(*m);
        m = nullptr;
    }
    if (m == nullptr) {
        m = empty_magazine();
        if (m == nullptr) {
            give_back(reserved_, 1);
            give_back(bytes_reserved_, sized() ? item->bytes : 0);
            return false;
        }
        m->count = 0;
        m->bytes = 0;
    }
    m->items[m->count++] = item;
    m->bytes += item->bytes;
    kept_.add();
    put_full(*m);
    return true;
}

template <class Depot>
[[gnu::noinline, gnu::cold]] object_block* object_store<Depot>::make_own() noexcept {
    auto* const word = cell_.make();
    if (word == nullptr) {
        return nullptr;
    }
    // relaxed: as in own(). The thread is new to its lane, but an earlier owner may have left a block.
    if (auto* const block = to_block(word->load(std::memory_order_relaxed))) {
        return block;
    }
    auto const slot = this_thread_slot();
    auto* const block = new (std::nothrow)
        object_block(bounds_.asymmetric, &thread_slot_registry::taken[slot / thread_slot_registry::word_bits], slot);
    if (block == nullptr) {
        return nullptr;
    }
    std::lock_guard const hold(mutex_);
    if (closed()) {
        delete block;
        return nullptr;
    }
    block->next = blocks_.load(std::memory_order_relaxed);  // relaxed: changes under the mutex only
    blocks_.store(block, std::memory_order_release);        // E1 release
    word->store(static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(block)),
                std::memory_order_relaxed);  // relaxed: for this thread, and the next owner of its slot
    return block;
}

// True: something was given to the depot, or back.
template <class Depot>
bool object_store<Depot>::adopt_exited() noexcept {
    bool gained = false;
    for_each_block([&](object_block& b) noexcept {
        auto const bit = std::uint64_t{1} << (b.slot % thread_slot_registry::word_bits);
        // relaxed: looks before the exchange, which decides
        if (object_read(b.limit) != 0 && (b.slot_word->load(std::memory_order_relaxed) & bit) == 0 &&
            (b.slot_word->fetch_or(bit, std::memory_order_acquire) & bit) == 0) {  // E4 acquire
            if (b.enter()) {
                gained = adopt(b) || gained;
                b.leave();
            }
            b.slot_word->fetch_and(~bit, std::memory_order_release);  // E4 release
        }
    });
    return gained;
}

template <class Depot>
bool object_store<Depot>::adopt(object_block& b) noexcept {
    while (object_read(b.count) != 0 && unload(b, std::min(object_read(b.count), object_magazine_size))) {
    }
    give_back(reserved_, object_read(b.limit) - object_read(b.count));
    object_write(b.limit, object_read(b.count));
    give_back(bytes_reserved_, object_read(b.bytes_limit) - object_read(b.bytes));
    object_write(b.bytes_limit, object_read(b.bytes));
    return true;
}

// All of `wanted`, or what there is of it, or nothing if that is less than `least`.
template <class Depot>
std::size_t object_store<Depot>::reserve(std::atomic<std::size_t>& from, std::size_t most, std::size_t least,
                                       std::size_t wanted) noexcept {
    auto seen = object_read(from);
    for (;;) {
        auto const room = most - seen;
        if (room < least) {
            return 0;
        }
        auto const got = std::min(room, wanted);
        if (from.compare_exchange_weak(seen, seen + got, std::memory_order_relaxed)) {  // relaxed: a number within a bound
            return got;
        }
    }
}

// ---- the depot

template <class Depot>
object_magazine* object_store<Depot>::take_out(Depot& stack, place where) noexcept {
    for (int tries = 0; tries < 64; ++tries) {  // a damaged stack may have no end
        auto const m = stack.try_pop();
        if (!m) {
            break;
        }
        if (claim(**m, where)) [[likely]] {
            return *m;
        }
    }
    return nullptr;
}

template <class Depot>
object_magazine* object_store<Depot>::empty_magazine() noexcept {
    if (auto* const m = take_out(empty_, in_empty)) {
        return m;
    }
    auto* const m = new (std::nothrow) object_magazine;
    if (m != nullptr) {
        m->next_made = object_read(made_);
        // relaxed: followed with all gates shut, whose edges hand it over
        while (!made_.compare_exchange_weak(m->next_made, m, std::memory_order_relaxed)) {
        }
    }
    return m;
}

template <class Depot>
void object_store<Depot>::put_back_empty(object_magazine& m) noexcept {
    m.state.store(in_empty, std::memory_order_release);  // E2 release
    static_cast<void>(empty_.try_push(&m));              // no node for it: it waits for the end
}

template <class Depot>
void object_store<Depot>::put_full(object_magazine& m) noexcept {
    in_depot_.fetch_add(m.count, std::memory_order_relaxed);  // relaxed: a figure
    if (sized()) {
        bytes_in_depot_.fetch_add(m.bytes, std::memory_order_relaxed);  // relaxed: a figure
    }
    m.state.store(in_full, std::memory_order_release);  // E2 release
    static_cast<void>(full_.try_push(&m));              // no node for it: the next trim finds it
}

template <class Depot>
object_magazine* object_store<Depot>::take_full() noexcept {
    auto* const m = take_out(full_, in_full);
    if (m == nullptr) {
        object_write(low_, std::size_t{0});
        return nullptr;
    }
    auto const left = in_depot_.fetch_sub(m->count, std::memory_order_relaxed) - m->count;  // relaxed: a figure
    if (left < object_read(low_)) {
        object_write(low_, left);
    }
    give_back(bytes_in_depot_, sized() ? m->bytes : 0);
    return m;
}

// ---- with all gates shut

template <class Depot>
template <class F>
void object_store<Depot>::for_each_block(F f) const {
    for (auto* b = blocks_.load(std::memory_order_acquire); b != nullptr; b = b->next) {  // E1 acquire
        f(*b);
    }
}

// Under the mutex. False: there is no barrier; all gates are open.
template <class Depot>
bool object_store<Depot>::shut_all() noexcept {
    shut_.store(true);  // seq_cst, see visit
    for_each_block([](object_block& b) noexcept { b.close(); });
    if (!object_barrier(bounds_.asymmetric)) {
        open_all();
        return false;
    }
    for_each_block([](object_block& b) noexcept { b.wait_until_empty(); });
    for (backoff wait; visitors_.load() != 0;) {  // seq_cst, see visit; E3 acquire
        if (!wait.spin()) {
            std::this_thread::yield();
        }
    }
    return true;
}

template <class Depot>
void object_store<Depot>::open_all() noexcept {
    for_each_block([](object_block& b) noexcept { b.open(); });
    shut_.store(false, std::memory_order_relaxed);  // relaxed: what the depot holds goes by E2
}

template <class Depot>
void object_store<Depot>::drain(object_magazine& m, object_chain& out, std::size_t n) noexcept {
    for (; n != 0 && m.count != 0; --n) {
        auto* const item = m.items[--m.count];
        m.bytes -= item->bytes;
        give_back(reserved_, 1);
        give_back(bytes_reserved_, sized() ? item->bytes : 0);
        out.push(item);
    }
    if (m.count != 0) {
        put_full(m);
    } else {
        put_back_empty(m);
    }
}

// Up to n items.
template <class Depot>
void object_store<Depot>::drain_depot(object_chain& out, std::size_t n) noexcept {
    auto const end = out.count + n;
    while (out.count < end) {
        auto* const m = take_full();
        if (m == nullptr) {
            break;
        }
        drain(*m, out, end - out.count);
    }
}

// Up to n items, and all that is reserved and not used.
template <class Depot>
void object_store<Depot>::drain(object_block& b, object_chain& out, std::size_t n) noexcept {
    for (auto count = object_read(b.count); n != 0 && count != 0; --n) {
        auto* const item = b.items[--count];
        object_write(b.count, count);
        object_write(b.moved, object_read(b.moved) - 1);
        if (sized()) {
            object_write(b.bytes, object_read(b.bytes) - item->bytes);
        }
        out.push(item);
    }
    give_back(reserved_, object_read(b.limit) - object_read(b.count));
    object_write(b.limit, object_read(b.count));
    give_back(bytes_reserved_, object_read(b.bytes_limit) - object_read(b.bytes));
    object_write(b.bytes_limit, object_read(b.bytes));
}

template <class Depot>
object_chain object_store<Depot>::trim(std::size_t n) noexcept {
    object_chain out;
    std::lock_guard const hold(mutex_);
    auto const above = [&] {
        auto const items = holdings().items;
        return items > n ? items - n : 0;
    };
    if (!has_blocks()) {
        drain_depot(out, above());
        return out;
    }
    if (above() == 0) {
        return out;
    }
    if (!shut_all()) {
        drain_depot(out, above());
        return out;
    }
    drain_depot(out, above());
    for (auto* m = object_read(made_); m != nullptr && above() != 0; m = m->next_made) {
        if (claim(*m, in_full)) {  // its stack has forgotten it
            in_depot_.fetch_sub(m->count, std::memory_order_relaxed);  // relaxed: a figure
            give_back(bytes_in_depot_, sized() ? m->bytes : 0);
            drain(*m, out, above());
        }
    }
    for_each_block([&](object_block& b) noexcept { drain(b, out, above()); });
    open_all();
    return out;
}

template <class Depot>
object_chain object_store<Depot>::shrink() noexcept {
    object_chain out;
    std::unique_lock const hold(mutex_, std::try_to_lock);
    if (!hold.owns_lock() || closed()) {
        return out;
    }
    drain_depot(out, std::min(object_read(low_), object_read(in_depot_)));
    bool unused = false;
    for_each_block([&](object_block& b) noexcept {
        unused = unused || (object_read(b.limit) != 0 && b.activity() == b.seen_activity);
    });
    if (unused && shut_all()) {
        for_each_block([&](object_block& b) noexcept {
            if (b.activity() == b.seen_activity) {
                drain(b, out, object_block::capacity);
            }
        });
        open_all();
    }
    for_each_block([](object_block& b) noexcept { b.seen_activity = b.activity(); });
    object_write(low_, object_read(in_depot_));
    return out;
}

template <class Depot>
object_chain object_store<Depot>::close() noexcept {
    object_chain out;
    std::lock_guard const hold(mutex_);
    closed_.store(true, std::memory_order_relaxed);  // relaxed: a hint, the gates decide
    if (!shut_all()) {  // a sandbox forbids the barrier: there is no safe moment, and items stay in blocks for ever
        drain_depot(out, std::numeric_limits<std::size_t>::max() / 2);
        return out;
    }
    drain_depot(out, std::numeric_limits<std::size_t>::max() / 2);
    for (auto* m = object_read(made_); m != nullptr; m = m->next_made) {
        if (claim(*m, in_full)) {
            drain(*m, out, m->count);
        }
    }
    for_each_block([&](object_block& b) noexcept { drain(b, out, object_block::capacity); });
    return out;  // the gates stay shut
}

template <class Depot>
object_holdings object_store<Depot>::holdings() const noexcept {
    object_holdings all{hits_.value(), kept_.value(), object_read(in_depot_), object_read(bytes_in_depot_)};
    for_each_block([&](object_block& b) noexcept {
        all.hits += b.hits();
        all.kept += object_read(b.kept);
        all.items += object_read(b.count);
        all.bytes += object_read(b.bytes);
    });
    return all;
}

template <class Depot>
object_store<Depot>::~object_store() {
    for (auto* b = object_read(blocks_); b != nullptr;) {
        delete std::exchange(b, b->next);
    }
    for (auto* m = object_read(made_); m != nullptr;) {
        delete std::exchange(m, m->next_made);
    }
    cell_.release();
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
