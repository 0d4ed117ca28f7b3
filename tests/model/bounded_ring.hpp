// weir (BSL-1.0). bounded_ring: a queue whose memory orders can be chosen wrong, for the engine's own tests.
#ifndef WEIR_TESTS_MODEL_BOUNDED_RING_HPP
#define WEIR_TESTS_MODEL_BOUNDED_RING_HPP
#include <atomic>
#include <cstddef>
#include <optional>

// Source: D. Vyukov, "Bounded MPMC queue", 1024cores.net.

namespace weir_test {

/// Publish and Take are the orders in which a cell goes from a push to a pop; release and acquire are right.
template <std::size_t Cells, std::memory_order Publish = std::memory_order::release,
          std::memory_order Take = std::memory_order::acquire>
class bounded_ring {
public:
    bounded_ring() {
        for (std::size_t i = 0; i < Cells; ++i) {
            cells_[i].turn.store(i, std::memory_order::relaxed);
        }
    }

    bool push(int value) {
        cell* const c = claim(pushes_, 0);
        if (c == nullptr) {
            return false;
        }
        c->value = value;
        c->turn.store(c->claimed + 1, Publish);
        return true;
    }

    std::optional<int> pop() {
        cell* const c = claim(pops_, 1);
        if (c == nullptr) {
            return {};
        }
        const int value = c->value;
        c->turn.store(c->claimed + Cells, std::memory_order::release);
        return value;
    }

private:
    struct cell {
        std::atomic<std::size_t>
            turn;             // the ticket that may come next: the push of a round, then the pop, then the next push
        std::size_t claimed;  // the ticket's number; of whoever has the turn
        int value;            // likewise
    };

    // The cell of the next ticket, if that many have come before it in the cell; nullptr if the ring is full, or empty.
    cell* claim(std::atomic<std::size_t>& tickets, std::size_t after) {
        std::size_t ticket = tickets.load(std::memory_order::relaxed);
        for (;;) {
            cell& c = cells_[ticket % Cells];
            const auto ahead = static_cast<std::ptrdiff_t>(c.turn.load(Take) - (ticket + after));
            if (ahead < 0) {
                return nullptr;
            }
            if (ahead > 0) {
                ticket = tickets.load(std::memory_order::relaxed);
            } else if (tickets.compare_exchange_weak(ticket, ticket + 1, std::memory_order::relaxed)) {
                c.claimed = ticket;
                return &c;
            }
        }
    }

    cell cells_[Cells];
    alignas(64) std::atomic<std::size_t> pushes_{0};
    alignas(64) std::atomic<std::size_t> pops_{0};
};

}  // namespace weir_test
#endif
