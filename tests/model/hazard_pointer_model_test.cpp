// weir (BSL-1.0). Kernels of base/hazard_pointer.hpp: readers, writers and sweeps, in both modes, in every order.
#include <weir/base/hazard_pointer.hpp>

#include "kernels.hpp"
#include "mutation.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <new>
#include <thread>
#include <utility>
#include <vector>

// Who kills what. A kernel is named by its first words; "by handshake" and "behind a barrier" are its two modes.
//
//   edge  site                                 weakened              killed by
//   E1'   protect, second look                 acquire               what_was_published..by_protect
//   E1'   try_protect, the look                acquire               what_was_published..by_try_protect
//   E1    announce, the slot's store           release               a_reader_that_moves_on
//   E1    withdraw                             release               a_protected_object (both modes)
//   E1    fill, a slot's load                  acquire               a_protected_object (both modes)
//         announce, the signal fence           dropped               a_protected_object behind a barrier
//   E2    announce, turn                       acquire, release      a_protected_object by handshake
//   E2    fill, turn                           acquire, release      a_protected_object by handshake
//   E3    give_back; take, taken               release; acquire      the_next_thread_at_a_record
//   E4    take, head                           release               a_record_that_is_new (a race on its fields)
//   E4    take, head                           acquire               a_record_that_is_new by handshake
//   E4    first                                acquire               a_record_that_is_new behind a barrier
//   E4    first_by_handshake                   acquire, release      a_record_that_is_new by handshake
//   E5    push; take_retired                   release; acquire      what_one_thread_retires
//   E6    sweep_retired; stats                 release; acquire      what_one_thread_retires
//
// E1' is the edge of hazard_pointer.hpp, the others are those of detail/hazard_record.hpp. What is relaxed is reached
// by the same kernels, by the_last_of_a_thousand (the threshold) and the_mode_is_decided_once (the default mode).

namespace weir_model {
namespace {

using weir::hazard_pointer;
using weir::hazard_pointer_default_domain;
using weir::hazard_pointer_domain;
using weir::hazard_pointer_mode;
using weir::hazard_pointer_stats;
using weir::make_hazard_pointer;

#define WEIR_IN_BOTH_MODES(body, ...)                                                                                  \
    WEIR_MODEL_KERNEL(hazard_pointer, body##_behind_a_barrier, __VA_ARGS__) { body(hazard_pointer_mode::membarrier); } \
    WEIR_MODEL_KERNEL(hazard_pointer, body##_by_handshake, __VA_ARGS__) { body(hazard_pointer_mode::seq_cst); }

/// Deleted too soon it is a race with its reader, or a use of freed memory.
struct thing : weir::hazard_pointer_obj_base<thing> {
    explicit thing(int v) noexcept : value(v) {}
    int value;
};

using thing_link = std::atomic<thing*>;

// The weakest unlinking that there is: the domain asks nothing of it.
thing* unlink(thing_link& from) { return from.exchange(nullptr, std::memory_order_relaxed); }

void read_if_linked(hazard_pointer& h, thing_link const& from, int value) {
    if (thing const* const found = h.protect(from)) {
        WEIR_MODEL_REQUIRE(found->value == value);
    }
}

/// The default domain for the length of a body. It keeps its records for ever, so they are given back by a reset.
class default_domain {
public:
    explicit default_domain(hazard_pointer_mode mode) { hazard_pointer_default_domain().reset(mode); }
    ~default_domain() {
        if (!left_as_it_is_) {
            hazard_pointer_default_domain().reset(hazard_pointer_mode::seq_cst);
        }
    }
    default_domain(default_domain const&) = delete;
    default_domain& operator=(default_domain const&) = delete;

    hazard_pointer_domain& operator*() const noexcept { return hazard_pointer_default_domain(); }
    hazard_pointer_domain* operator->() const noexcept { return &hazard_pointer_default_domain(); }
    /// A thread is frozen inside of it.
    void leave_as_it_is() noexcept { left_as_it_is_ = true; }

private:
    bool left_as_it_is_ = false;
};

// ---- a reader against a sweep

void a_protected_object_outlives_its_retirement(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    thing_link link{new thing{1}};
    hazard_pointer h = make_hazard_pointer(domain);
    together(
        [&] {
            read_if_linked(h, link, 1);
            h.reset_protection();
        },
        [&] {
            unlink(link)->retire(domain);
            domain.reclaim();
        });
}
WEIR_IN_BOTH_MODES(a_protected_object_outlives_its_retirement, {.preemptions = 3})

void a_record_that_is_new_is_seen_by_a_sweep(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    thing_link link{new thing{1}};
    together(
        [&] {
            hazard_pointer h = make_hazard_pointer(domain);
            read_if_linked(h, link, 1);
        },
        [&] {
            unlink(link)->retire(domain);
            domain.reclaim();
        });
}
WEIR_IN_BOTH_MODES(a_record_that_is_new_is_seen_by_a_sweep, {.preemptions = 3, .spurious_failures = 1})

void a_reader_that_moves_on_has_done_with_the_former(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    thing_link first{new thing{1}};
    thing second{2};
    const thing_link other{&second};
    hazard_pointer h = make_hazard_pointer(domain);
    together(
        [&] {
            read_if_linked(h, first, 1);
            read_if_linked(h, other, 2);
        },
        [&] {
            unlink(first)->retire(domain);
            domain.reclaim();
        });
}
WEIR_IN_BOTH_MODES(a_reader_that_moves_on_has_done_with_the_former, {.preemptions = 3})

// ---- what was published

void what_was_published_is_seen(bool (*look)(hazard_pointer&, thing*&, thing_link const&)) {
    hazard_pointer_domain domain(hazard_pointer_mode::membarrier);
    thing_link link{nullptr};
    hazard_pointer h = make_hazard_pointer(domain);
    together(
        [&] {
            thing* found = nullptr;
            if (look(h, found, link) && found != nullptr) {
                WEIR_MODEL_REQUIRE(found->value == 1);
            }
        },
        [&] { link.store(new thing{1}, std::memory_order_release); });
    delete link.load();
}
WEIR_MODEL_KERNEL(hazard_pointer, what_was_published_is_seen_by_protect, {}) {
    what_was_published_is_seen([](hazard_pointer& h, thing*& found, thing_link const& link) {
        found = h.protect(link);
        return true;
    });
}
WEIR_MODEL_KERNEL(hazard_pointer, what_was_published_is_seen_by_try_protect, {}) {
    what_was_published_is_seen([](hazard_pointer& h, thing*& found, thing_link const& link) {
        found = link.load(std::memory_order_relaxed);
        return h.try_protect(found, link);
    });
}

// ---- more than one of a kind

void two_readers_are_both_heard(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    thing_link link{new thing{1}};
    hazard_pointer one = make_hazard_pointer(domain);
    hazard_pointer two = make_hazard_pointer(domain);
    together(
        [&] {
            read_if_linked(one, link, 1);
            one.reset_protection();
        },
        [&] {
            read_if_linked(two, link, 1);
            two.reset_protection();
        },
        [&] {
            unlink(link)->retire(domain);
            domain.reclaim();
        });
}
WEIR_IN_BOTH_MODES(two_readers_are_both_heard, {})

// Two threads replace what a third one reads until the end: that object stays, and nothing else.
void a_stalled_reader_keeps_its_own_object_only(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    thing_link link{new thing{0}};
    hazard_pointer h = make_hazard_pointer(domain);
    thing const* const kept = h.protect(link);
    const auto replace = [&](int value) {
        link.exchange(new thing{value}, std::memory_order_acq_rel)->retire(domain);
        domain.reclaim();
    };
    together([&] { replace(1); }, [&] { replace(2); });
    const hazard_pointer_stats stats = domain.stats();
    WEIR_MODEL_REQUIRE(stats.pending == 1);
    WEIR_MODEL_REQUIRE(stats.reclaimed == 1);
    WEIR_MODEL_REQUIRE(kept->value == 0);
    h.reset_protection();
    WEIR_MODEL_REQUIRE(domain.reclaim() == 1);
    delete link.load();
}
WEIR_IN_BOTH_MODES(a_stalled_reader_keeps_its_own_object_only, {})

// What a domain protects is nothing to another one, and its own sweeps see it.
void two_domains_do_not_mix(hazard_pointer_mode mode) {
    hazard_pointer_domain one(mode);
    hazard_pointer_domain two(hazard_pointer_mode::seq_cst);
    thing_link first{new thing{1}};
    thing_link second{new thing{2}};
    hazard_pointer of_one = make_hazard_pointer(one);
    hazard_pointer of_two = make_hazard_pointer(two);
    together(
        [&] {
            thing const* const a = of_one.protect(first);
            thing const* const b = of_two.protect(second);
            WEIR_MODEL_REQUIRE(a == nullptr || a->value == 1);
            WEIR_MODEL_REQUIRE(b == nullptr || b->value == 2);
        },
        [&] {
            unlink(first)->retire(one);
            unlink(second)->retire(two);
            one.reclaim();
            two.reclaim();
        });
}
WEIR_IN_BOTH_MODES(two_domains_do_not_mix, {})

// ---- retiring and reclaiming

// The one who reclaims reads what the one who retires wrote, and stats never shows more reclaimed than retired.
void what_one_thread_retires_another_reclaims(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    together([&] { (new thing{1})->retire(domain); }, [&] { domain.reclaim(); },
             [&] {
                 const hazard_pointer_stats stats = domain.stats();
                 WEIR_MODEL_REQUIRE(stats.pending + stats.reclaimed <= 1);
                 WEIR_MODEL_REQUIRE(stats.pending <= 1);
             });
    domain.reclaim();
    WEIR_MODEL_REQUIRE(domain.stats().reclaimed == 1);
    WEIR_MODEL_REQUIRE(domain.stats().pending == 0);
}
WEIR_IN_BOTH_MODES(what_one_thread_retires_another_reclaims, {.spurious_failures = 1})

/// Its deleter retires the next one and asks for a sweep inside of the sweep.
struct chained : weir::hazard_pointer_obj_base<chained, void (*)(chained*)> {
    hazard_pointer_domain* domain = nullptr;
    chained* next = nullptr;
    std::atomic<int>* deleted = nullptr;

    static void end(chained* object) {
        object->deleted->fetch_add(1, std::memory_order_relaxed);
        if (object->next != nullptr) {
            object->next->retire(&end, *object->domain);
        }
        WEIR_MODEL_REQUIRE(object->domain->reclaim() == 0);
        delete object;
    }
};

void a_deleter_may_retire_more(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    std::atomic<int> deleted{0};
    auto* const child = new chained;
    auto* const parent = new chained;
    child->domain = parent->domain = &domain;
    child->deleted = parent->deleted = &deleted;
    parent->next = child;
    together(
        [&] {
            parent->retire(&chained::end, domain);
            domain.reclaim();
        },
        [&] { domain.reclaim(); });
    WEIR_MODEL_REQUIRE(deleted == 2);
    WEIR_MODEL_REQUIRE(domain.reclaim() == 0);
}
WEIR_IN_BOTH_MODES(a_deleter_may_retire_more, {})

// What two threads retire and nobody reclaims ends with the domain: else it leaks.
void a_domain_takes_its_garbage_along(hazard_pointer_mode mode) {
    auto domain = std::make_unique<hazard_pointer_domain>(mode);
    std::atomic<int> deleted{0};
    auto* const child = new chained;
    auto* const parent = new chained;
    child->domain = parent->domain = domain.get();
    child->deleted = parent->deleted = &deleted;
    parent->next = child;
    together([&] { (new thing{1})->retire(*domain); }, [&] { parent->retire(&chained::end, *domain); });
    domain.reset();
    WEIR_MODEL_REQUIRE(deleted == 2);
}
WEIR_IN_BOTH_MODES(a_domain_takes_its_garbage_along, {})

/// A node of a container that keeps its own garbage.
struct node : weir::hazard_link {
    int value = 0;
};

void a_list_is_swept_in_its_order(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    std::array<std::unique_ptr<node>, 3> nodes;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        nodes[i] = std::make_unique<node>();
        nodes[i]->value = static_cast<int>(i);
    }
    std::atomic<node*> link{nodes[1].get()};
    hazard_pointer h = make_hazard_pointer(domain);
    together(
        [&] {
            if (node const* const found = h.protect(link)) {
                WEIR_MODEL_REQUIRE(found->value == 1);
            }
        },
        [&] {
            link.store(nullptr, std::memory_order_relaxed);
            nodes[0]->next_retired = nodes[1].get();
            nodes[1]->next_retired = nodes[2].get();
            nodes[2]->next_retired = nullptr;
            int last = -1;
            weir::hazard_link* const kept = domain.sweep(nodes[0].get(), [&](weir::hazard_link* object) {
                const int value = static_cast<node*>(object)->value;
                WEIR_MODEL_REQUIRE(value > last);
                last = value;
                nodes[static_cast<std::size_t>(value)].reset();
            });
            WEIR_MODEL_REQUIRE(last == 2);
            WEIR_MODEL_REQUIRE(kept == nodes[1].get());  // or null, as everything was reclaimed
            WEIR_MODEL_REQUIRE(kept == nullptr || kept->next_retired == nullptr);
        });
}
WEIR_IN_BOTH_MODES(a_list_is_swept_in_its_order, {.preemptions = 3})

// ---- what a reader may do with its hazard pointers

void own_validation_serves_as_well(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    thing* const object = new thing{1};
    std::atomic<bool> linked{true};
    hazard_pointer h = make_hazard_pointer(domain);
    together(
        [&] {
            h.reset_protection(object);
            if (linked.load(std::memory_order_acquire)) {
                WEIR_MODEL_REQUIRE(object->value == 1);
            }
            h.reset_protection();
        },
        [&] {
            linked.store(false, std::memory_order_relaxed);
            object->retire(domain);
            domain.reclaim();
        });
}
WEIR_IN_BOTH_MODES(own_validation_serves_as_well, {.preemptions = 3})

void a_protection_survives_swap_and_move(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    thing_link link{new thing{1}};
    hazard_pointer one = make_hazard_pointer(domain);
    hazard_pointer two = make_hazard_pointer(domain);
    together(
        [&] {
            if (thing const* const found = one.protect(link)) {
                one.swap(two);
                one.reset_protection();
                WEIR_MODEL_REQUIRE(found->value == 1);
                one = std::move(two);
                WEIR_MODEL_REQUIRE(found->value == 1);
            }
        },
        [&] {
            unlink(link)->retire(domain);
            domain.reclaim();
        });
}
WEIR_IN_BOTH_MODES(a_protection_survives_swap_and_move, {})

void try_protect_refuses_what_is_gone(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    thing* const object = new thing{1};
    thing_link link{object};
    hazard_pointer h = make_hazard_pointer(domain);
    together(
        [&] {
            thing* found = object;
            if (h.try_protect(found, link)) {
                WEIR_MODEL_REQUIRE(found->value == 1);
            } else {
                WEIR_MODEL_REQUIRE(found == nullptr);
            }
        },
        [&] {
            unlink(link)->retire(domain);
            domain.reclaim();
        });
}
WEIR_IN_BOTH_MODES(try_protect_refuses_what_is_gone, {})

WEIR_MODEL_KERNEL(hazard_pointer, a_slot_at_hand_costs_no_step, {}) {
    const default_domain domain(hazard_pointer_mode::seq_cst);
    hazard_pointer h = make_hazard_pointer();
    h = hazard_pointer();
    WEIR_MODEL_REQUIRE(count_steps([&] { h = make_hazard_pointer(); }) == 0);
}

WEIR_MODEL_KERNEL(hazard_pointer, announcing_takes_a_bounded_number_of_steps, {}) {
    for (const auto mode : {hazard_pointer_mode::membarrier, hazard_pointer_mode::seq_cst}) {
        hazard_pointer_domain domain(mode);
        thing_link link{new thing{1}};
        hazard_pointer h = make_hazard_pointer(domain);
        together(
            [&] {
                thing* found = nullptr;
                WEIR_MODEL_REQUIRE(count_steps([&] { h.try_protect(found, link); }) <= 4);
                WEIR_MODEL_REQUIRE(count_steps([&] { h.reset_protection(found); }) <= 3);
                WEIR_MODEL_REQUIRE(count_steps([&] { h.reset_protection(); }) == 1);
            },
            [&] { link.exchange(new thing{2})->retire(domain); });
        delete link.load();
    }
}

// The thread that made it ends, and with it go its other slots and its record; the protection stays.
void a_protection_may_be_handed_to_another_thread(hazard_pointer_mode mode) {
    const default_domain domain(mode);
    thing_link link{new thing{1}};
    {
        hazard_pointer handed;
        thing const* found = nullptr;
        together(
            [&] {
                hazard_pointer h = make_hazard_pointer();
                found = h.protect(link);
                handed = std::move(h);
            },
            [&] {
                unlink(link)->retire();
                domain->reclaim();
            });
        domain->reclaim();
        WEIR_MODEL_REQUIRE(found == nullptr || found->value == 1);
    }
    domain->reclaim();
    WEIR_MODEL_REQUIRE(domain->stats().pending == 0);
}
WEIR_IN_BOTH_MODES(a_protection_may_be_handed_to_another_thread, {})

// ---- threads that come and go

// The count of a record goes on where the former thread left it.
void the_next_thread_at_a_record_goes_on_with_its_count(hazard_pointer_mode mode) {
    const default_domain domain(mode);
    together([] { (new thing{1})->retire(); }, [] { (new thing{2})->retire(); }, [] {});
    WEIR_MODEL_REQUIRE(domain->stats().pending == 2);
    WEIR_MODEL_REQUIRE(domain->reclaim() == 2);
    WEIR_MODEL_REQUIRE(domain->stats().pending == 0);
}
WEIR_IN_BOTH_MODES(the_next_thread_at_a_record_goes_on_with_its_count, {})

// A thread comes, reads and goes while another one does the same and sweeps.
void a_thread_may_come_and_go_during_a_sweep(hazard_pointer_mode mode) {
    const default_domain domain(mode);
    thing_link link{new thing{1}};
    together(
        [&] {
            hazard_pointer h = make_hazard_pointer();
            read_if_linked(h, link, 1);
        },
        [&] {
            unlink(link)->retire();
            domain->reclaim();
        });
    domain->reclaim();
    WEIR_MODEL_REQUIRE(domain->stats().pending == 0);
}
WEIR_IN_BOTH_MODES(a_thread_may_come_and_go_during_a_sweep, {})

// A slot that one thread gives back, another takes: the protection is the new owner's.
void a_slot_serves_its_next_owner(hazard_pointer_mode mode) {
    hazard_pointer_domain domain(mode);
    thing_link link{new thing{1}};
    const auto read = [&] {
        hazard_pointer h = make_hazard_pointer(domain);
        read_if_linked(h, link, 1);
    };
    together(read, read, [&] {
        unlink(link)->retire(domain);
        domain.reclaim();
    });
}
WEIR_IN_BOTH_MODES(a_slot_serves_its_next_owner, {.preemptions = 1, .stale_reads = 1})

// At rest a domain changes its mode though a thread keeps a record of it.
WEIR_MODEL_KERNEL(hazard_pointer, a_record_that_a_thread_keeps_follows_a_reset, {}) {
    const default_domain domain(hazard_pointer_mode::membarrier);
    thing_link link{new thing{1}};
    together(
        [&] {
            (new thing{0})->retire();
            std::thread([&] { domain->reset(hazard_pointer_mode::seq_cst); }).join();
            WEIR_MODEL_REQUIRE(domain->stats().reclaimed == 0);
            hazard_pointer h = make_hazard_pointer();
            read_if_linked(h, link, 1);
        },
        [] {});
    WEIR_MODEL_REQUIRE(domain->stats().pending == 0);
    together(
        [&] {
            hazard_pointer h = make_hazard_pointer();
            read_if_linked(h, link, 1);
        },
        [&] {
            unlink(link)->retire();
            domain->reclaim();
        });
}

// Nobody has reset the default domain: two threads ask at once for the mode that it will have.
WEIR_MODEL_KERNEL(hazard_pointer, the_mode_is_decided_once, {}) {
    hazard_pointer_domain& domain = hazard_pointer_default_domain();
    std::array<hazard_pointer_mode, 2> seen{};
    together([&] { seen[0] = domain.mode(); }, [&] { seen[1] = domain.mode(); });
    WEIR_MODEL_REQUIRE(seen[0] == seen[1]);
    WEIR_MODEL_REQUIRE(seen[0] == hazard_pointer_domain::default_mode());
}

// Two threads ask the kernel at once whether it has the barrier.
WEIR_MODEL_KERNEL(hazard_pointer, the_kernel_is_asked_by_any_thread, {}) {
    std::array<bool, 2> seen{};
    together([&] { seen[0] = hazard_pointer_domain::supports(hazard_pointer_mode::membarrier); },
             [&] { seen[1] = hazard_pointer_domain::supports(hazard_pointer_mode::membarrier); });
    WEIR_MODEL_REQUIRE(seen[0] && seen[1]);
}

// ---- the threshold

/// Nothing to free: a thousand of them stand in an array.
struct counted : weir::hazard_pointer_obj_base<counted, void (*)(counted*)> {
    bool deleted = false;
    static void end(counted* object) {
        WEIR_MODEL_REQUIRE(!object->deleted);
        object->deleted = true;
    }
};

// The retirement that reaches the threshold sweeps, whatever another thread reclaims meanwhile.
WEIR_MODEL_KERNEL(hazard_pointer, the_last_of_a_thousand_sweeps, {.preemptions = 1, .stale_reads = 1}) {
    hazard_pointer_domain domain(hazard_pointer_mode::seq_cst);
    std::vector<counted> objects(domain.sweep_threshold());
    for (std::size_t i = 1; i < objects.size(); ++i) {
        objects[i].retire(&counted::end, domain);
    }
    WEIR_MODEL_REQUIRE(!objects[1].deleted);
    together([&] { objects[0].retire(&counted::end, domain); }, [&] { domain.reclaim(); });
    domain.reclaim();
    WEIR_MODEL_REQUIRE(domain.stats().pending == 0);
    WEIR_MODEL_REQUIRE(domain.stats().reclaimed == objects.size());
}

WEIR_MODEL_KERNEL(hazard_pointer, no_more_than_a_thousand_are_kept, {}) {
    hazard_pointer_domain domain(hazard_pointer_mode::membarrier);
    std::vector<counted> objects(domain.sweep_threshold());
    for (counted& object : objects) {
        object.retire(&counted::end, domain);
    }
    WEIR_MODEL_REQUIRE(domain.stats().reclaimed == objects.size());
}

// ---- out of memory

// A thread that gets no record reads nothing, and still retires.
void without_memory_everything_is_reclaimed_all_the_same(hazard_pointer_mode mode) {
    const default_domain domain(mode);
    std::array<counted, 2> objects;
    std::atomic<counted*> link{&objects[0]};
    try {
        together(
            [&] {
                try {
                    hazard_pointer h = make_hazard_pointer();
                    if (counted const* const found = h.protect(link)) {
                        WEIR_MODEL_REQUIRE(!found->deleted);
                    }
                } catch (std::bad_alloc const&) {
                }
                objects[1].retire(&counted::end);
            },
            [&] {
                link.store(nullptr, std::memory_order_relaxed);
                objects[0].retire(&counted::end);
                domain->reclaim();
            });
    } catch (std::bad_alloc const&) {
        return;  // no memory for the threads
    }
    domain->reclaim();
    WEIR_MODEL_REQUIRE(objects[0].deleted && objects[1].deleted);
    WEIR_MODEL_REQUIRE(domain->stats().pending == 0);
}
WEIR_IN_BOTH_MODES(without_memory_everything_is_reclaimed_all_the_same,
                   {.preemptions = 1, .stale_reads = 1, .allocation_failures = 1})

// ---- a thread that is suspended for ever

// It keeps what it protects, or has taken in a sweep, and stops nobody.
void a_frozen_reader_keeps_one_object(hazard_pointer_mode mode) {
    default_domain domain(mode);
    thing_link link{new thing{0}};
    const bool all = together(
        [&] {
            hazard_pointer h = make_hazard_pointer();
            thing const* const found = h.protect(link);
            WEIR_MODEL_REQUIRE(found->value <= 2);
        },
        [&] {
            for (int i = 1; i <= 2; ++i) {
                link.exchange(new thing{i}, std::memory_order_acq_rel)->retire();
                domain->reclaim();
            }
            hazard_pointer h = make_hazard_pointer();
            WEIR_MODEL_REQUIRE(h.protect(link)->value == 2);
            h.reset_protection();
            WEIR_MODEL_REQUIRE(domain->stats().pending <= 1);
        });
    if (all) {
        domain->reclaim();
        WEIR_MODEL_REQUIRE(domain->stats().pending == 0);
        delete link.load();
    } else {
        domain.leave_as_it_is();
    }
}
WEIR_IN_BOTH_MODES(a_frozen_reader_keeps_one_object, {.preemptions = 1, .stale_reads = 1, .freezes = 1})

void a_frozen_sweep_keeps_what_it_has_taken(hazard_pointer_mode mode) {
    default_domain domain(mode);
    const bool all = together(
        [&] {
            (new thing{0})->retire();
            domain->reclaim();
        },
        [&] {
            for (int i = 1; i <= 2; ++i) {
                (new thing{i})->retire();
                domain->reclaim();
            }
            // Its own, and what it took of ours.
            WEIR_MODEL_REQUIRE(domain->stats().pending <= 2);
        });
    if (all) {
        domain->reclaim();
        WEIR_MODEL_REQUIRE(domain->stats().pending == 0);
    } else {
        domain.leave_as_it_is();
    }
}
WEIR_IN_BOTH_MODES(a_frozen_sweep_keeps_what_it_has_taken, {.preemptions = 1, .stale_reads = 1, .freezes = 1})

#undef WEIR_IN_BOTH_MODES

TEST(mutants_of_hazard_pointer, every_weakened_order_is_noticed) {
    check_mutants({"weir/base/hazard_pointer.hpp", "weir/base/detail/hazard_domain.hpp",
                   "weir/base/detail/hazard_record.hpp", "weir/base/detail/hazard_set.hpp",
                   "weir/base/detail/hazard_thread.hpp", "weir/base/detail/membarrier.hpp"});
}

}  // namespace
}  // namespace weir_model
