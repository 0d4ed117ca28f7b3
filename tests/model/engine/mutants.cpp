// weir (BSL-1.0). mutants: each memory order of some headers weakened, one at a time, and the kernels that notice.
#include "mutants.hpp"

#include "trace.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <map>
#include <new>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <tuple>

namespace weir_model {
namespace {

using engine::order;

char const* name_of_order(int o) {
    static constexpr char const* names[] = {"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst", "dropped"};
    return names[o];
}

/// What a kind of operation with this order can be weakened to, by one step or wholly.
std::vector<int> weaker(char kind, int from) {
    const bool loads = kind == 'L' || kind == 'c';
    const bool stores = kind == 'S';
    switch (from) {
    case order::seq_cst:
        if (kind == 'G' || kind == 'M') {
            return {order::dropped};
        }
        if (loads) {
            return {order::acquire, order::relaxed};
        }
        if (stores) {
            return {order::release, order::relaxed};
        }
        return kind == 'F' ? std::vector<int>{order::acq_rel, order::dropped}
                           : std::vector<int>{order::acq_rel, order::acquire, order::release};
    case order::acq_rel: return {order::acquire, order::release};
    case order::acquire:
    case order::release: return {order::relaxed};
    default: return {};
    }
}

struct line_of_code {
    std::string header;
    std::size_t number = 0;
    friend auto operator<=>(line_of_code const&, line_of_code const&) = default;
};

struct place {
    line_of_code line;
    char kind;
    int order;
    friend auto operator<=>(place const&, place const&) = default;
};

struct mutant {
    place at;
    int to;
    std::vector<std::uintptr_t> pcs;
    std::vector<std::size_t> kernels;  // that reach it
    std::vector<std::size_t> likely{};  // of those
    excuse const* excused = nullptr;
};

struct verdict {
    enum : int { none, killed, survived, given_up } is;
    int kernel;
    std::uint64_t executions;
    double seconds;
    char message[160];
};

std::string name_of(mutant const& m) {
    return m.at.line.header + ':' + std::to_string(m.at.line.number) + ' ' + m.at.kind + ' ' + name_of_order(m.at.order) +
           " -> " + name_of_order(m.to);
}

/// A mutant that crashes the whole process is noticed, too.
bool is_crash(int number) { return number == SIGABRT || number == SIGSEGV || number == SIGFPE || number == SIGILL; }

/// What a kernel reaches, and what it costs. Lies in memory that processes share.
struct coverage {
    static constexpr std::size_t most_sites = 1000;
    bool done;
    double seconds;
    std::size_t count;
    site sites[most_sites];
    std::atomic<int> kills;
};

/// How far each kernel is explored with a mutant, before any goes further: most of them are killed at once, but not by any
/// kernel that reaches them.
struct depth {
    int preemptions, stale_reads;
    std::uint64_t executions;
};
constexpr depth depths[] = {{1, 1, 100}, {1, 1, 1000}, {options::unbounded, options::unbounded, 2000},
                            {options::unbounded, options::unbounded, ~0ULL}};
constexpr std::uint64_t lessons = 150;       // random executions that show what a kernel reaches
constexpr double most_seconds_of_one = 40;  // of processor time, with short bounds: then a mutant counts as a survivor

std::vector<std::string> lines_of(std::string const& path) {
    std::vector<std::string> lines{""};  // numbered from 1
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
        lines.push_back(line);
    }
    return lines;
}

/// "include/weir/base/x.hpp:12" as header "weir/base/x.hpp" and 12.
bool parse(std::string const& text, line_of_code& out) {
    const auto begin = text.find("weir/");
    const auto colon = text.rfind(':');
    if (begin == std::string::npos || colon == std::string::npos || colon < begin) {
        return false;
    }
    out = {text.substr(begin, colon - begin), static_cast<std::size_t>(std::strtoul(text.c_str() + colon + 1, nullptr, 10))};
    return true;
}

template <class T>
T* shared_array(std::size_t count) {
    void* const p = mmap(nullptr, count * sizeof(T) + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        throw std::bad_alloc();
    }
    return static_cast<T*>(p);
}

/// Calls f(0) to f(count - 1), each in a process of its own, as many at a time as there are processors. Returns the signals
/// that have ended some of them, by number; 0: none.
template <class F>
std::vector<int> in_processes(std::size_t count, F const& f) {
    std::fflush(nullptr);
    const std::size_t most = std::max(1U, std::thread::hardware_concurrency());
    std::vector<int> signals(count);
    std::map<pid_t, std::size_t> at_work;
    for (std::size_t next = 0; next < count || !at_work.empty();) {
        if (next < count && at_work.size() < most) {
            const pid_t child = fork();
            if (child == 0) {
                f(next);
                _exit(0);
            }
            if (child > 0) {
                at_work[child] = next++;
                continue;
            }
            if (at_work.empty()) {
                throw std::runtime_error("fork failed");
            }
        }
        int status = 0;
        const pid_t ended = wait(&status);
        if (const auto at = at_work.find(ended); at != at_work.end()) {
            signals[at->second] = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
            at_work.erase(at);
        }
    }
    return signals;
}

/// What the kernel reaches, unharmed. That it passes is another test's matter.
void look_at(kernel const& k, coverage& out) {
    options with = k.with;
    with.how = strategy::random;
    with.max_executions = lessons;
    report r = explore(k.body, with);
    if (r.failed) {  // not made for any number of preemptions
        with.how = strategy::exhaustive;
        r = explore(k.body, with);
    }
    out.seconds = r.seconds / static_cast<double>(r.executions + r.lessons);
    out.count = std::min(r.sites.size(), coverage::most_sites);
    std::copy_n(r.sites.begin(), out.count, out.sites);
    out.done = !r.failed && r.sites.size() <= coverage::most_sites;
}

void judge(mutant const& m, std::vector<kernel> const& kernels, coverage* known, bool wide, verdict& out) {
    verdict v{};
    v.is = verdict::survived;
    v.kernel = -1;
    std::vector<bool> finished(kernels.size());
    const auto kills = [&](std::size_t k, depth const& d) {
        if (finished[k]) {
            return false;
        }
        options with = kernels[k].with;
        const bool whole = with.preemptions <= d.preemptions && with.stale_reads <= d.stale_reads;
        with.preemptions = std::min(with.preemptions, d.preemptions);
        with.stale_reads = std::min(with.stale_reads, d.stale_reads);
        with.max_executions = std::min(with.max_executions, d.executions);
        with.mutant = {m.pcs, m.at.kind, m.to};
        const report r = explore(kernels[k].body, with);
        v.executions += r.executions;
        v.seconds += r.seconds;
        finished[k] = whole && r.complete;
        if (r.failed) {
            v.is = verdict::killed;
            v.kernel = static_cast<int>(k);
            std::snprintf(v.message, sizeof v.message, "%s", r.message.substr(0, r.message.find('\n')).c_str());
            ++known[k].kills;
        }
        return r.failed;
    };
    const auto search = [&] {
        for (const std::size_t k : m.likely) {
            if (kills(k, std::end(depths)[-1])) {
                return;
            }
        }
        for (depth const& d : depths) {
            // Who has noticed other mutants first, then the quick ones.
            std::vector<std::tuple<int, double, std::size_t>> order;
            for (const std::size_t k : m.kernels) {
                order.emplace_back(-known[k].kills.load(), known[k].seconds, k);
            }
            std::sort(order.begin(), order.end());
            for (auto const& next : order) {
                if (kills(std::get<2>(next), d)) {
                    return;
                }
                if (!wide && static_cast<double>(std::clock()) / CLOCKS_PER_SEC > most_seconds_of_one) {  // of this process
                    v.is = verdict::given_up;
                    return;
                }
            }
        }
    };
    search();
    out = v;
}

}  // namespace

mutation_report run_mutants(std::vector<kernel> const& kernels, std::vector<std::string> const& headers,
                            std::vector<excuse> const& excuses, std::vector<unreached> const& beyond,
                            std::vector<killer> const& killers, std::string const& include_folder, bool wide) {
    mutation_report result;
    std::map<std::string, std::vector<std::string>> text;
    for (std::string const& header : headers) {
        text[header] = lines_of(include_folder + '/' + header);
        if (text[header].size() < 2) {
            result.problems.push_back("cannot read " + header);
        }
    }

    // What the kernels reach.
    auto* const known = shared_array<coverage>(kernels.size());
    in_processes(kernels.size(), [&](std::size_t k) { look_at(kernels[k], known[k]); });
    std::map<std::uintptr_t, line_of_code> lines_of_pcs;
    for (std::size_t k = 0; k < kernels.size(); ++k) {
        if (!known[k].done) {
            result.problems.push_back(kernels[k].suite + '.' + kernels[k].name + " fails without any mutant");
            return result;
        }
        for (std::size_t i = 0; i < known[k].count; ++i) {
            lines_of_pcs[known[k].sites[i].pc];
        }
    }
    {
        std::vector<std::uintptr_t> pcs;
        for (auto const& [pc, line] : lines_of_pcs) {
            pcs.push_back(pc);
        }
        const std::vector<std::string> places = engine::places_of(pcs, engine::beyond::atomic);
        for (std::size_t i = 0; i < pcs.size(); ++i) {
            line_of_code line;
            if (parse(places[i], line) && text.contains(line.header)) {
                lines_of_pcs[pcs[i]] = line;
            }
        }
    }
    std::map<place, std::pair<std::set<std::uintptr_t>, std::vector<std::size_t>>> reached;
    for (std::size_t k = 0; k < kernels.size(); ++k) {
        for (std::size_t i = 0; i < known[k].count; ++i) {
            site const& s = known[k].sites[i];
            if (line_of_code const& line = lines_of_pcs[s.pc]; line.number != 0) {
                auto& [at, by] = reached[{line, s.kind, s.order}];
                at.insert(s.pc);
                if (by.empty() || by.back() != k) {
                    by.push_back(k);
                }
            }
        }
    }

    // Every line that names an order or calls an atomic operation must be among them; a call may begin some lines above.
    std::set<line_of_code> lines;
    for (auto const& [p, unused] : reached) {
        lines.insert(p.line);
    }
    static const std::regex atomic_line(
        R"(memory_order_(relaxed|acquire|release|acq_rel|seq_cst)|\.(load|store|fetch_add|fetch_sub|fetch_or|fetch_and|compare_exchange_weak|compare_exchange_strong)\()");
    std::vector<bool> beyond_used(beyond.size());
    for (auto const& [header, all] : text) {
        for (std::size_t n = 1; n < all.size(); ++n) {
            const std::string code = all[n].substr(0, all[n].find("//"));
            bool found = !std::regex_search(code, atomic_line);
            for (std::size_t above = 0; above < 4 && above < n && !found; ++above) {
                found = lines.contains({header, n - above});
            }
            for (std::size_t i = 0; i < beyond.size() && !found; ++i) {
                if (beyond[i].header == header && code.find(beyond[i].line) != std::string::npos) {
                    beyond_used[i] = found = true;
                }
            }
            if (!found) {
                result.problems.push_back("no kernel reaches " + header + ':' + std::to_string(n) + ": " + all[n]);
            }
        }
    }
    for (std::size_t i = 0; i < beyond.size(); ++i) {
        if (!beyond_used[i]) {
            result.problems.push_back("said to be out of reach, and is not, or does not exist: " + beyond[i].header + ": " + beyond[i].line);
        }
    }

    std::vector<mutant> mutants;
    std::vector<bool> excuse_used(excuses.size());
    for (killer const& x : killers) {
        if (std::none_of(kernels.begin(), kernels.end(), [&](kernel const& k) { return k.name == x.kernel; }) ||
            !text.contains(x.header) ||
            std::none_of(text[x.header].begin(), text[x.header].end(),
                         [&](std::string const& line) { return line.find(x.line) != std::string::npos; })) {
            result.problems.push_back("no such line or kernel: " + x.header + ": " + x.line + ", " + x.kernel);
        }
    }
    for (auto const& [p, found] : reached) {
        const std::vector<int> all = weaker(p.kind, p.order);
        result.sites += all.empty() ? 0U : 1U;
        for (const int to : all) {
            mutant m{p, to, {found.first.begin(), found.first.end()}, found.second};
            std::string const& code = text[p.line.header].at(p.line.number);
            for (std::size_t e = 0; e < excuses.size(); ++e) {
                excuse const& x = excuses[e];
                if (x.header == p.line.header && code.find(x.line) != std::string::npos && x.from == name_of_order(p.order) &&
                    x.to == name_of_order(to) && (x.kind == 0 || x.kind == p.kind)) {
                    excuse_used[e] = true;
                    m.excused = &x;
                }
            }
            for (killer const& x : killers) {
                if (x.header == p.line.header && code.find(x.line) != std::string::npos) {
                    std::copy_if(m.kernels.begin(), m.kernels.end(), std::back_inserter(m.likely),
                                 [&](std::size_t k) { return kernels[k].name == x.kernel; });
                }
            }
            mutants.push_back(std::move(m));
        }
    }

    // With short bounds what is excused is believed.
    auto* const verdicts = shared_array<verdict>(mutants.size());
    const auto code_of = [&](mutant const& m) {
        std::string const& code = text[m.at.line.header].at(m.at.line.number);
        const auto first = code.find_first_not_of(' ');
        return first == std::string::npos ? code : code.substr(first);
    };
    const std::vector<int> signals = in_processes(mutants.size(), [&](std::size_t i) {
        mutant const& m = mutants[i];
        verdict& v = verdicts[i];
        std::ostringstream line;
        if (!wide && m.excused != nullptr) {
            line << "believed   " << name_of(m) << ": " << m.excused->reason << '\n';
        } else {
            judge(m, kernels, known, wide, v);
            line << (v.is == verdict::killed     ? "killed     "
                     : v.is == verdict::survived ? "SURVIVES   "
                                                 : "GIVEN UP   ")
                 << name_of(m);
            if (v.is == verdict::killed) {
                kernel const& k = kernels[static_cast<std::size_t>(v.kernel)];
                line << " by " << k.suite << '.' << k.name << ": " << v.message;
            } else if (m.excused != nullptr) {
                line << ": " << m.excused->reason;
            }
            line << "  (" << m.kernels.size() << " kernels, " << v.executions << " executions, " << v.seconds << " s)\n";
        }
        const std::string whole = line.str();  // in one piece: others write too
        static_cast<void>(!write(STDOUT_FILENO, whole.data(), whole.size()));
    });

    for (std::size_t i = 0; i < mutants.size(); ++i) {
        mutant const& m = mutants[i];
        verdict const& v = verdicts[i];
        ++result.mutants;
        const std::string where = name_of(m) + ":  " + code_of(m);
        if (v.is == verdict::killed || is_crash(signals[i])) {
            ++result.killed;
            if (m.excused != nullptr) {
                result.problems.push_back("an excuse for no survivor: " + where);
            }
        } else if (m.excused != nullptr && (v.is == verdict::survived || !wide)) {
            ++result.explained;
        } else {
            result.problems.push_back((v.is == verdict::survived   ? "survives: "
                                       : v.is == verdict::given_up ? "given up: "
                                                                   : "its process died: ") +
                                      where);
        }
    }
    for (std::size_t e = 0; e < excuses.size(); ++e) {
        if (!excuse_used[e]) {
            result.problems.push_back("an excuse for no mutant: " + excuses[e].header + ": " + excuses[e].line + ", " +
                                      excuses[e].from + " -> " + excuses[e].to);
        }
    }
    munmap(verdicts, mutants.size() * sizeof(verdict) + 1);
    munmap(known, kernels.size() * sizeof(coverage) + 1);
    return result;
}

}  // namespace weir_model
