// weir (BSL-1.0). pool_fifo: a queue in chunks, whose front can be handed over as a range that is emptied elsewhere.
#ifndef WEIR_RUN_DETAIL_POOL_FIFO_HPP
#define WEIR_RUN_DETAIL_POOL_FIFO_HPP

#include <cassert>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

// A taker gets a range of places, not the entries: moving them out is done after the lock is given up, by whoever runs them.
// Invariant: an entry's place belongs to the fifo until take(), to the taker until give_back().
// Invariant: a chunk is used again when all its places have been given back, and not before.

namespace weir::inline v0 {
namespace detail {

template <class Entry>
struct pool_chunk {
    static constexpr unsigned places = 64;

    pool_chunk* next = nullptr;  // the fifo's, or the store's
    unsigned returned = 0;       // places given back; the store's
    alignas(Entry) unsigned char bytes[places * sizeof(Entry)];

    // Without a word about bytes: they are not to be cleared.
    pool_chunk() noexcept {}  // NOLINT

    [[nodiscard]] void* place(unsigned i) noexcept { return bytes + i * sizeof(Entry); }
    [[nodiscard]] Entry& at(unsigned i) noexcept { return *std::launder(static_cast<Entry*>(place(i))); }
};

/// Places [begin, end) of a chunk.
template <class Entry>
struct pool_range {
    pool_chunk<Entry>* chunk = nullptr;
    unsigned begin = 0;
    unsigned end = 0;

    [[nodiscard]] unsigned size() const noexcept { return end - begin; }
    [[nodiscard]] Entry& front() const noexcept { return chunk->at(begin); }
    /// Moves the first out; its place is empty then.
    [[nodiscard]] Entry take_front() noexcept {
        Entry& e = chunk->at(begin++);
        Entry taken(std::move(e));
        e.~Entry();
        return taken;
    }
};

/// The chunks that are not in use, a few of them.
/// Threads: one at a time.
template <class Entry>
class pool_chunk_store {
public:
    using chunk = pool_chunk<Entry>;
    static constexpr unsigned keeps = 16;

    pool_chunk_store() noexcept = default;
    pool_chunk_store(pool_chunk_store const&) = delete;
    pool_chunk_store& operator=(pool_chunk_store const&) = delete;
    ~pool_chunk_store() {
        while (free_ != nullptr) {
            delete std::exchange(free_, free_->next);
        }
    }

    /// Throws: std::bad_alloc.
    [[nodiscard]] chunk* get() {
        if (free_ == nullptr) {
            return new chunk;
        }
        --kept_;
        chunk* const c = std::exchange(free_, free_->next);
        c->next = nullptr;
        c->returned = 0;
        return c;
    }

    /// So many places of c are empty and of no use to who had them.
    void give_back(chunk* c, unsigned places) noexcept {
        c->returned += places;
        assert(c->returned <= chunk::places);
        if (c->returned != chunk::places) {
            return;
        }
        if (kept_ == keeps) {
            delete c;
            return;
        }
        ++kept_;
        c->next = free_;
        free_ = c;
    }

private:
    chunk* free_ = nullptr;
    unsigned kept_ = 0;
};

/// First in, first out.
/// Threads: one at a time; a range that was taken is its taker's.
template <class Entry>
class pool_fifo {
public:
    using chunk = pool_chunk<Entry>;
    using range = pool_range<Entry>;
    using store = pool_chunk_store<Entry>;

    pool_fifo() noexcept = default;
    pool_fifo(pool_fifo const&) = delete;
    pool_fifo& operator=(pool_fifo const&) = delete;
    /// It must be empty; clear() gives its last chunk back.
    ~pool_fifo() { assert(size_ == 0 && head_ == nullptr); }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] Entry& front() noexcept {
        assert(size_ != 0);
        return head_->at(begin_);
    }

    /// Throws: std::bad_alloc, and then has done nothing.
    template <class... Args>
    void push(store& chunks, Args&&... args) {
        if (tail_ == nullptr || end_ == chunk::places) {
            chunk* const c = chunks.get();
            (tail_ == nullptr ? head_ : tail_->next) = c;
            if (tail_ == nullptr) {
                begin_ = 0;
            }
            tail_ = c;
            end_ = 0;
        }
        static_assert(noexcept(Entry{std::forward<Args>(args)...}));
        ::new (tail_->place(end_)) Entry{std::forward<Args>(args)...};
        ++end_;
        ++size_;
    }

    /// The first `most` at most, and as many as stand together: at least one. It must not be empty.
    [[nodiscard]] range take(unsigned most) noexcept {
        assert(size_ != 0 && most != 0);
        unsigned const limit = head_ == tail_ ? end_ : chunk::places;
        unsigned const n = most < limit - begin_ ? most : limit - begin_;
        range const r{head_, begin_, begin_ + n};
        begin_ += n;
        size_ -= n;
        if (begin_ == chunk::places) {
            head_ = head_->next;  // the chunk is in the takers' hands
            begin_ = 0;
            if (head_ == nullptr) {
                tail_ = nullptr;
                end_ = 0;
            }
        }
        return r;
    }

    /// Gives the places back that were never used. It must be empty.
    void clear(store& chunks) noexcept {
        assert(size_ == 0);
        if (tail_ != nullptr) {
            chunks.give_back(tail_, chunk::places - end_);
            head_ = tail_ = nullptr;
            begin_ = end_ = 0;
        }
    }

private:
    chunk* head_ = nullptr;
    chunk* tail_ = nullptr;
    unsigned begin_ = 0;  // in head_
    unsigned end_ = 0;    // in tail_
    std::size_t size_ = 0;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
