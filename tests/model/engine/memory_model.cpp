// weir (BSL-1.0). memory_model: what an atomic load may return, and what it then knows.
#include "memory_model.hpp"

#include "races.hpp"
#include "scheduler.hpp"
#include "search.hpp"

#include <cstring>
#include <vector>

namespace weir_model::engine {
namespace {

vector_clock sc_view;     // what was known at seq_cst fences
vector_clock heavy_view;  // what was known at the last heavy fence
std::uint32_t heavy_fences;

std::vector<location>& locations() {
    static std::vector<location> all(1U << 12);  // never grows: granules keep indices, code keeps references
    return all;
}
std::size_t used;

// What the running thread does next is not known to those who learn what it did so far.
void next_epoch(knowledge& k, int me) noexcept {
    ++k.happened.at[me];
    k.view.at[me] = k.happened.at[me];
}

void learn(knowledge& k, vector_clock const& happened, vector_clock const& view) noexcept {
    k.happened.join(happened);
    k.view.join(happened);
    k.view.join(view);
}

std::uint64_t memory_at(std::uintptr_t address, int size) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, reinterpret_cast<void const*>(address), static_cast<std::size_t>(size));
    return value;
}

}  // namespace

void memory_begin() noexcept {
    used = 0;
    sc_view = heavy_view = {};
    heavy_fences = 0;
}

void memory_thread(int id, int parent) noexcept {
    knows[id] = {};
    if (parent >= 0) {
        knows[id].happened = knows[parent].happened;
        knows[id].view = knows[parent].view;
        next_epoch(knows[parent], parent);
    }
    knows[id].happened.at[id] = knows[id].view.at[id] = 1;
    knows[id].light_view = knows[id].view;
    knows[id].heavy_seen = heavy_fences;
}

void memory_joined(int waiter, int ended) noexcept { learn(knows[waiter], knows[ended].happened, knows[ended].view); }

location& location_at(std::uintptr_t address, int size) {
    std::int16_t& index = location_index(address, size);
    if (index < 0) {
        if (used == locations().size()) {
            fail("the engine has no room for more atomic objects");
        }
        index = static_cast<std::int16_t>(used++);
        location& fresh = locations()[static_cast<std::size_t>(index)];
        fresh.address = address;
        fresh.size = size;
        fresh.stale = true;
    }
    location& at = locations()[static_cast<std::size_t>(index)];
    const std::uint64_t value = memory_at(address, size);
    if (at.stale || at.size != size || at.newest().value != value) {
        at.stale = false;
        at.size = size;
        at.count = 1;
        std::memset(at.stale_reads, 0, sizeof at.stale_reads);
        store& first = at.ring[0];
        first = {};
        first.value = value;
        first.by = -1;
        for (auto& seen : first.seen) {
            seen = 1;  // known to every thread from its beginning
        }
    }
    return at;
}

void forget_location(int index, int bytes) noexcept {
    location& at = locations()[static_cast<std::size_t>(index)];
    at.stale = at.stale || (bytes & ((1 << at.size) - 1)) != 0;
}

int readable(location& at, int order) noexcept {
    vector_clock known = knows[running()].view;
    const std::uint32_t fenced = known.at[fence_lane];
    if (order == seq_cst) {
        known.join(sc_view);
    }
    const int kept = at.count < location::depth ? at.count : location::depth;
    for (int age = 0; age < kept; ++age) {
        store const& s = at.back(age);
        bool last = s.sequential != 0 && (order == seq_cst || s.sequential < fenced);
        for (int t = 0; t < max_threads && !last; ++t) {
            last = s.seen[t] != 0 && s.seen[t] <= known.at[t];
        }
        if (last) {
            return age + 1;
        }
    }
    return kept;
}

void read_from(location&, store& from, int order) noexcept {
    state_reads(from.step);
    const int me = running();
    knowledge& k = knows[me];
    if (from.seen[me] == 0) {
        from.seen[me] = k.happened.at[me];
    }
    if (order == seq_cst && from.sequential == 0) {
        from.sequential = current_step();
    }
    k.unfenced_happened.join(from.happened);
    k.unfenced_view.join(from.view);
    if (acquires(order)) {
        learn(k, from.happened, from.view);
    }
}

namespace {
// In the present epoch of the running thread, which is to end then.
void put(location& at, std::uint64_t value, int order, vector_clock const& happened, vector_clock const& view, std::uintptr_t pc) noexcept {
    const int me = running();
    state_writes(at.newest().step);
    if (value != at.newest().value) {  // who spins waits for another value
        note_write();
    }
    ++at.count;
    store& s = at.newest();
    s = {};
    s.value = value;
    s.happened = happened;
    s.view = view;
    s.seen[me] = knows[me].happened.at[me];
    s.sequential = order == seq_cst ? current_step() : 0;
    s.step = current_step();
    s.by = me;
    s.pc = pc;
    std::memcpy(reinterpret_cast<void*>(at.address), &value, static_cast<std::size_t>(at.size));
}
}  // namespace

void write_to(location& at, std::uint64_t value, int order, bool continues, std::uintptr_t pc) noexcept {
    knowledge& k = knows[running()];
    vector_clock happened = releases(order) ? k.happened : k.fenced_happened;
    vector_clock view = releases(order) ? k.view : k.fenced_view;
    if (continues) {  // a release sequence: C++20 continues it by read-modify-writes only
        happened.join(at.newest().happened);
        view.join(at.newest().view);
    }
    put(at, value, order, happened, view, pc);
    next_epoch(k, running());
}

void write_both(location& low, std::uint64_t low_value, location& high, std::uint64_t high_value, int order,
                std::uintptr_t pc) noexcept {
    knowledge& k = knows[running()];
    vector_clock happened = releases(order) ? k.happened : k.fenced_happened;
    vector_clock view = releases(order) ? k.view : k.fenced_view;
    for (location const* at : {&low, &high}) {
        store const& before = at->ring[static_cast<unsigned>(at->count - 1) % location::depth];
        happened.join(before.happened);
        view.join(before.view);
    }
    put(low, low_value, order, happened, view, pc);
    put(high, high_value, order, happened, view, pc);
    next_epoch(k, running());
}

void fence(int order) noexcept {
    const int me = running();
    knowledge& k = knows[me];
    if (acquires(order)) {
        learn(k, k.unfenced_happened, k.unfenced_view);
    }
    if (order == seq_cst) {
        k.view.join(sc_view);
        k.view.at[fence_lane] = current_step();
        sc_view.join(k.view);
        k.light_view = k.view;
    }
    if (releases(order)) {
        k.fenced_happened = k.happened;
        k.fenced_view = k.view;
        next_epoch(k, me);
    }
}

void light_fence() noexcept {
    knowledge& k = knows[running()];
    if (k.heavy_seen != heavy_fences) {
        k.heavy_seen = heavy_fences;
        k.view.join(heavy_view);
    }
    k.light_view = k.view;
    next_epoch(k, running());
}

void heavy_fence() noexcept {
    for (int t = 0; t < thread_count(); ++t) {
        if (t != running()) {
            sc_view.join(knows[t].light_view);
        }
    }
    fence(seq_cst);
    heavy_view = sc_view;
    knows[running()].heavy_seen = ++heavy_fences;
}

}  // namespace weir_model::engine
