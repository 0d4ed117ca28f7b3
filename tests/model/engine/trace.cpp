// weir (BSL-1.0). trace: an execution in words, and names for addresses and places in the source.
#include "trace.hpp"

#include "arena.hpp"
#include "scheduler.hpp"
#include "search.hpp"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

namespace weir_model::engine {
namespace {

struct line {
    std::uint32_t step;
    int thread;
    std::string text;
    std::uintptr_t pc;
    std::uintptr_t writer_pc;  // 0: none
    std::string after;
};
std::vector<line> lines;
constexpr std::size_t most_lines = 4000;

std::uintptr_t* map_allocation_pcs() {
    void* const p = mmap(nullptr, arena_size / 16 * sizeof(std::uintptr_t), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        std::abort();
    }
    return static_cast<std::uintptr_t*>(p);
}
std::uintptr_t* const allocation_pcs = map_allocation_pcs();

[[nodiscard]] std::uintptr_t load_address() {
    static const std::uintptr_t base = [] {
        std::uintptr_t found = 0;
        dl_iterate_phdr(
            [](dl_phdr_info* info, std::size_t, void* out) {
                *static_cast<std::uintptr_t*>(out) = info->dlpi_addr;
                return 1;
            },
            &found);
        return found;
    }();
    return base;
}

char const* order_name(int order) {
    static constexpr char const* names[] = {"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst", "dropped"};
    return order < 0 || order > dropped ? "" : names[order];
}

void add(std::string text, std::uintptr_t pc, std::uintptr_t writer_pc = 0, std::string after = {}) {
    if (lines.size() < most_lines) {
        lines.push_back({current_step(), running(), std::move(text), pc, writer_pc, std::move(after)});
    }
}

std::string hex(std::uint64_t value) {
    char text[32];
    std::snprintf(text, sizeof text, value < 10 ? "%llu" : "0x%llx", static_cast<unsigned long long>(value));
    return text;
}
std::string value_name(std::uint64_t value) { return in_arena(value & ~std::uint64_t{7}) ? name_of(value) : hex(value); }

}  // namespace

void trace_begin(bool on) {
    tracing_on = on;
    lines.clear();
}

void trace_event_slow(char const* what, std::uintptr_t address, std::uint64_t value, std::uintptr_t pc) {
    std::string text = what;
    if (address != 0) {
        text += ' ' + name_of(address);
    }
    if (value != 0) {
        text += " (" + std::to_string(value) + ')';
    }
    add(std::move(text), pc);
}

void trace_atomic_slow(char const* what, int order, location& at, std::uint64_t value, int age, std::uintptr_t pc) {
    store const& from = at.back(age);
    const bool told = from.by >= 0 && from.step != current_step();  // a store need not say that it was stored
    std::string after = from.by < 0 ? " [its first value]" : !told ? "" : " [stored by T" + std::to_string(from.by) + " in step " + std::to_string(from.step);
    std::string end = told ? "]" : "";
    if (age != 0) {
        end += ", not the newest: " + value_name(at.newest().value);
    }
    add(std::string(what) + ' ' + order_name(order) + ' ' + name_of(at.address) + " = " + value_name(value) + after, pc,
        told ? from.pc : 0, end);
}

void trace_access_slow(std::uintptr_t address, std::size_t size, bool writes, std::uintptr_t pc) {
    if (!on_a_stack(address) || !stack_name(address).starts_with("T" + std::to_string(running()) + "'")) {
        add((writes ? "writes " : "reads ") + name_of(address) + " (" + std::to_string(size) + " bytes)", pc);
    }
}

void trace_failure(char const* message) {
    if (tracing_on) {
        add(std::string("FAILS: ") + message, 0);
    }
}

std::string trace_text() {
    std::vector<std::uintptr_t> pcs;
    for (line const& l : lines) {
        pcs.push_back(l.pc);
        pcs.push_back(l.writer_pc);
    }
    const std::vector<std::string> places = places_of(pcs, beyond::library);
    std::string text;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        line const& l = lines[i];
        char head[32];
        std::snprintf(head, sizeof head, "%5u T%d  ", l.step, l.thread);
        text += head + l.text;
        if (l.writer_pc != 0) {
            text += " at " + places[2 * i + 1];
        }
        text += l.after;
        if (l.pc != 0) {
            text += "  " + places[2 * i];
        }
        text += '\n';
    }
    return text;
}

std::string name_of(std::uintptr_t address) {
    if (in_arena(address)) {
        std::uintptr_t begin = address & ~std::uintptr_t{15};
        const std::uint32_t serial = block_at(begin).serial;
        while (block_at(begin).state != arena_block::nothing && block_at(begin).units == 0 && in_arena(begin - 16) &&
               block_at(begin - 16).serial == serial) {
            begin -= 16;
        }
        arena_block const& b = block_at(begin);
        char text[80];
        if (b.state == arena_block::nothing) {
            std::snprintf(text, sizeof text, "heap+0x%zx", static_cast<std::size_t>(address - arena_begin));
        } else {
            std::snprintf(text, sizeof text, "block#%u+0x%zx", b.serial, static_cast<std::size_t>(address - begin));
        }
        return text;
    }
    if (on_a_stack(address)) {
        return stack_name(address);
    }
    return hex(address - load_address());
}

std::vector<std::string> places_of(std::vector<std::uintptr_t> const& pcs, beyond skipped) {
    static std::unordered_map<std::uintptr_t, std::string> known_beyond[2];
    auto& known = known_beyond[static_cast<std::size_t>(skipped)];
    std::vector<std::uintptr_t> asked;
    for (const std::uintptr_t pc : pcs) {
        if (pc != 0 && known.try_emplace(pc).second) {
            asked.push_back(pc);
        }
    }
    for (std::size_t first = 0; first < asked.size(); first += 500) {
        // -a: each answer begins with its address, then the inlined functions from the innermost out
        std::string command = "addr2line -a -i -e /proc/" + std::to_string(getpid()) + "/exe";
        char text[4096];
        for (std::size_t i = first; i < asked.size() && i < first + 500; ++i) {
            std::snprintf(text, sizeof text, " %zx", static_cast<std::size_t>(asked[i] - 1 - load_address()));
            command += text;
        }
        std::FILE* const answers = popen(command.c_str(), "r");
        if (answers == nullptr) {
            break;
        }
        std::size_t at = first;
        bool begun = false;
        while (std::fgets(text, sizeof text, answers) != nullptr) {
            std::string answer = text;
            while (!answer.empty() && (answer.back() == '\n' || answer.back() == ' ')) {
                answer.pop_back();
            }
            if (answer.starts_with("0x")) {
                at += begun ? 1 : 0;
                begun = true;
                continue;
            }
            if (const auto extra = answer.find(" (disc"); extra != std::string::npos) {
                answer.resize(extra);
            }
            std::string& place = known[asked[at]];
            const auto of = [&place](char const* text_of_it) { return place.find(text_of_it) != std::string::npos; };
            if (place.empty() || of("/bits/atomic_base.h:") || of("/atomic:") ||
                (skipped == beyond::library && (of("/c++/") || place.starts_with("/usr/")) && !answer.starts_with('?'))) {
                place = answer;
            }
        }
        pclose(answers);
    }
    std::vector<std::string> all;
    all.reserve(pcs.size());
    for (const std::uintptr_t pc : pcs) {
        std::string place = pc == 0 ? std::string() : known[pc];
        for (char const* const root : {"/include/weir/", "/tests/"}) {  // from the project's root on
            if (const auto cut = place.rfind(root); cut != std::string::npos) {
                place.erase(0, cut + 1);
                break;
            }
        }
        all.push_back(place);
    }
    return all;
}

std::string place_of(std::uintptr_t pc) {
    if (chosen().mutant.kind != 0 || pc == 0) {
        return hex(pc);  // a mutant's failure is counted, not read
    }
    return places_of({pc}, beyond::library).front();
}

void note_allocation(std::uintptr_t block, std::uintptr_t pc) noexcept { allocation_pcs[(block - arena_begin) / 16] = pc; }
std::string allocation_place(std::uintptr_t block) { return block == 0 ? "?" : place_of(allocation_pcs[(block - arena_begin) / 16]); }

}  // namespace weir_model::engine
