// weir (BSL-1.0). hazard_record: the slots in which readers announce what they read, and how scanners get to see them.
#ifndef WEIR_BASE_DETAIL_HAZARD_RECORD_HPP
#define WEIR_BASE_DETAIL_HAZARD_RECORD_HPP

#include <weir/base/detail/cache_line.hpp>
#include <weir/base/detail/hazard_set.hpp>
#include <weir/base/detail/membarrier.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

// Source:   M. Michael, "Hazard Pointers: Safe Memory Reclamation for Lock-Free Objects", IEEE TPDS 15(6), 2004.
//           Changed: the store-load fence between announcing and validating is asymmetric (P1202) or a handshake of
//           read-modify-writes (below).
//
// A reader announces an object and then looks whether it is still linked; a scanner comes after the unlinking and then
// looks whether the object is announced. Safe means: one of the two sees the other. Two ways to get there, chosen per
// domain:
//
//   asymmetric  The reader's store and its second look are kept in order by the compiler alone (signal fence). The
//               scanner calls membarrier: it puts a full fence into every reader, either before the reader's second
//               look (which then sees the unlinking) or after its announcement (which the scanner then sees).
//   handshake   Each record has a word, `turn`, that changes by read-modify-writes only. The reader does one between
//               its announcement and its second look, the scanner does one between the unlinking and reading the slots.
//               They are totally ordered and each synchronises with the next (E2). Reader first: its announcement
//               happens before the scanner's loads, which see it or what came after. Scanner first: the unlinking
//               happens before the reader's second look, which sees it.
//
// Neither way asks anything of the user's unlinking but to happen before the object is retired. A plain exchange of the
// slot in place of `turn` would not do: the store that clears the slot ends the chain of read-modify-writes, and a
// reader that comes after it would synchronise with nobody. Hence the word of its own, and clearing stays a store.
//
// Invariant: while a domain is in use, records are only ever added to its list.
// Invariant: a slot's bit in `taken` is set while it has an owner; only the owner writes the slot; a free slot is 0.
//
// Edges (who hands what to whom):
//   E1  a slot's store (0, or another address) releases the reader's last access -> the scanner's load acquires it
//       before deleting
//   E2  a `turn` read-modify-write of a reader or a scanner -> the next one of the same record
//   E3  giving back a slot or a record releases what its owner wrote there -> the next owner's compare-exchange
//       acquires it
//   E4  appending a record releases its fields; and what the thread that appends has seen -> loads of the list's head
//       acquire it; a scanner in handshake mode reads the head by a read-modify-write, so that whoever appends later
//       has seen the unlinking
//   E5  retiring releases the unlinked object (push) -> the sweep that takes the list acquires it
//   E6  a sweep releases its count of reclaimed objects, and what it knows of their retirement -> stats acquires it

namespace weir::inline v0 {
struct hazard_link;
class hazard_pointer_domain;

namespace detail {

using hazard_slot = std::atomic<std::uintptr_t>;  // an address, compared and never followed; 0: protects nothing

/// What one thread needs: slots, and a list of what it retired. The slots used first share the first cache line.
struct alignas(destructive_size) hazard_record {
    static constexpr std::uint32_t slot_count = 10;
    static constexpr std::uint32_t all_slots = (1U << slot_count) - 1;  // bits of `taken`: slots
    static constexpr std::uint32_t home = 1U << slot_count;             // bit of `taken`: some thread retires here

    hazard_record(hazard_pointer_domain* owner, bool light, std::uint32_t bits) noexcept
        : domain(owner), asymmetric(light), taken(bits) {}

    hazard_pointer_domain* const domain;
    hazard_record* next = nullptr;       // fixed once the record is in the list
    bool asymmetric;                     // changes only when the domain is at rest
    std::atomic<std::uint32_t> turn{0};  // handshake mode
    std::atomic<std::uint32_t> taken;    // who has what
    std::array<hazard_slot, slot_count> slots{};
    std::atomic<hazard_link*> retired{nullptr};   // pushed by the thread at home here, taken whole by any scanner
    std::atomic<std::uint64_t> retired_count{0};  // ever pushed; written by the thread at home here
};
static_assert(sizeof(hazard_record) == destructive_size, "a slot finds its record by rounding its address down");

inline hazard_record& record_of(hazard_slot* slot) noexcept {
    return *reinterpret_cast<hazard_record*>(reinterpret_cast<std::uintptr_t>(slot) &
                                             ~std::uintptr_t{destructive_size - 1});
}

/// Announces an address. A load that follows finds the object unlinked if a scanner may have missed the announcement.
inline void announce(hazard_slot& slot, std::uintptr_t address) noexcept {
    slot.store(address, std::memory_order_release);  // E1 release
    hazard_record& record = record_of(&slot);
    if (record.asymmetric) [[likely]] {
        std::atomic_signal_fence(std::memory_order_seq_cst);  // the scanner's membarrier turns it into a real fence
    } else {
        record.turn.fetch_add(1, std::memory_order_acq_rel);  // E2 release, E2 acquire
    }
}

inline void withdraw(hazard_slot& slot) noexcept {
    slot.store(0, std::memory_order_release);  // E1 release
}

/// Gives slots (or the record's home) back to whoever wants them next.
inline void give_back(hazard_record& record, std::uint32_t bits) noexcept {
    record.taken.fetch_and(~bits, std::memory_order_release);  // E3 release
}

[[gnu::noinline]] inline void give_back(hazard_slot& slot) noexcept {
    hazard_record& record = record_of(&slot);
    give_back(record, 1U << static_cast<std::uint32_t>(&slot - record.slots.data()));
}

/// The records of one domain: a list that only grows.
class hazard_records {
public:
    struct grant {
        hazard_record* record = nullptr;  // nullptr: out of memory
        std::uint32_t bits = 0;           // what was free and is now the caller's
    };

    constexpr hazard_records() noexcept = default;

    /// Takes what `choose(taken)` names (0: nothing to be had here) from the first record that has it, else from a new
    /// record.
    /// Progress: lock-free but for memory allocation.
    template <class Choose>
    grant take(hazard_pointer_domain& owner, bool asymmetric, Choose choose) noexcept {
        for (hazard_record* r = first(); r != nullptr; r = r->next) {
            std::uint32_t taken = r->taken.load(std::memory_order_relaxed);  // relaxed: a guess, the exchange decides
            while (const std::uint32_t bits = choose(taken)) {
                if (r->taken.compare_exchange_weak(taken, taken | bits, std::memory_order_acquire,  // E3 acquire
                                                   std::memory_order_relaxed)) {  // relaxed: a new guess
                    return {r, bits};
                }
            }
        }
        const std::uint32_t bits = choose(0);
        auto* r = new (std::nothrow) hazard_record(&owner, asymmetric, bits);
        if (r == nullptr) {
            return {};
        }
        count_.fetch_add(1, std::memory_order_relaxed);   // relaxed: a figure
        r->next = head_.load(std::memory_order_relaxed);  // relaxed: a guess, the exchange decides
        while (!head_.compare_exchange_weak(r->next, r, std::memory_order_acq_rel,  // E4 release, E4 acquire
                                            std::memory_order_relaxed)) {           // relaxed: a new guess
        }
        return {r, bits};
    }

    [[nodiscard]] hazard_record* first() const noexcept {
        return head_.load(std::memory_order_acquire);  // E4 acquire
    }

    /// The head as a scanner in handshake mode must read it (E4).
    [[nodiscard]] hazard_record* first_by_handshake() noexcept {
        return head_.fetch_add(0, std::memory_order_acq_rel);  // E4 release, E4 acquire
    }

    /// Records in existence: a hint while others append.
    [[nodiscard]] std::size_t size() const noexcept {
        return count_.load(std::memory_order_relaxed);  // relaxed: a figure
    }

    /// Nobody has a slot or a record.
    [[nodiscard]] bool idle() const noexcept {
        for (hazard_record* r = first(); r != nullptr; r = r->next) {
            if (r->taken.load(std::memory_order_relaxed) != 0) {  // relaxed: the domain is at rest
                return false;
            }
        }
        return true;
    }

    /// Starts again in another mode. Nothing may be protected; records stay if some thread has one.
    void restart(bool asymmetric) noexcept {
        if (idle()) {
            clear();
            return;
        }
        for (hazard_record* r = first(); r != nullptr; r = r->next) {
            r->asymmetric = asymmetric;
            r->retired_count.store(0, std::memory_order_relaxed);  // relaxed: the domain is at rest
        }
    }

    /// Deletes all records; they must be idle.
    void clear() noexcept {
        hazard_record* r = head_.exchange(nullptr, std::memory_order_relaxed);  // relaxed: the domain is at rest
        while (r != nullptr) {
            delete std::exchange(r, r->next);
        }
        count_.store(0, std::memory_order_relaxed);  // relaxed: the domain is at rest
    }

private:
    std::atomic<hazard_record*> head_{nullptr};
    std::atomic<std::size_t> count_{0};
};

/// One scanner's walk over all slots. Everything it is to judge was unlinked before it was made.
class hazard_scan {
public:
    hazard_scan(hazard_records& records, bool asymmetric) noexcept {
        if (!asymmetric) {
            record_ = records.first_by_handshake();
        } else if (membarrier_everywhere()) {
            record_ = records.first();  // after the barrier: whoever appends now sees the unlinking
        } else {
            blind_ = true;
        }
    }

    /// No barrier could be had: anything may be protected.
    [[nodiscard]] bool blind() const noexcept { return blind_; }

    /// Reads slots into `found` until all are read (false) or there is no room for the next (true).
    bool fill(hazard_set& found) noexcept {
        for (; record_ != nullptr; record_ = record_->next, slot_ = 0) {
            if (slot_ == 0 && !record_->asymmetric) {
                record_->turn.fetch_add(1, std::memory_order_acq_rel);  // E2 release, E2 acquire
            }
            for (; slot_ < hazard_record::slot_count; ++slot_) {
                const std::uintptr_t address = record_->slots[slot_].load(std::memory_order_acquire);  // E1 acquire
                if (address != 0 && !found.insert(address)) {
                    return true;
                }
            }
        }
        return false;
    }

private:
    hazard_record* record_ = nullptr;
    std::uint32_t slot_ = 0;
    bool blind_ = false;
};

}  // namespace detail
}  // namespace weir::inline v0

#endif
