// weir (BSL-1.0). mutants: each memory order of some headers weakened, one at a time, and the kernels that notice.
#include "mutants.hpp"

#include "trace.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <new>
#include <regex>
#include <set>
#include <sstream>
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
    std::vector<std::size_t> kernels;  // that reach it, the quickest first
};

struct verdict {
    enum : int { none, killed, survived, lost } is;
    int kernel;
    std::uint64_t executions;
    double seconds;
    char message[160];
};

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

void judge(mutant const& m, std::vector<kernel> const& kernels, verdict& out) {
    verdict v{};
    v.is = verdict::survived;
    v.kernel = -1;
    for (const std::size_t k : m.kernels) {
        options with = kernels[k].with;
        with.mutant = {m.pcs, m.at.kind, m.to};
        const report r = explore(kernels[k].body, with);
        v.executions += r.executions;
        v.seconds += r.seconds;
        if (r.failed) {
            v.is = verdict::killed;
            v.kernel = static_cast<int>(k);
            std::snprintf(v.message, sizeof v.message, "%s", r.message.c_str());
            break;
        }
    }
    out = v;
}

}  // namespace

mutation_report run_mutants(std::vector<kernel> const& kernels, std::vector<std::string> const& headers,
                            std::vector<excuse> const& excuses, std::vector<unreached> const& beyond,
                            std::string const& include_folder) {
    mutation_report result;
    std::map<std::string, std::vector<std::string>> text;
    for (std::string const& header : headers) {
        text[header] = lines_of(include_folder + '/' + header);
        if (text[header].size() < 2) {
            result.problems.push_back("cannot read " + header);
        }
    }

    // What the kernels reach, unharmed.
    std::map<place, std::pair<std::set<std::uintptr_t>, std::vector<std::size_t>>> reached;
    std::vector<double> seconds(kernels.size());
    for (std::size_t k = 0; k < kernels.size(); ++k) {
        const report r = explore(kernels[k].body, kernels[k].with);
        seconds[k] = r.seconds;
        if (r.failed) {
            result.problems.push_back(kernels[k].name + " fails without any mutant: " + r.message);
            return result;
        }
        std::vector<std::uintptr_t> pcs;
        for (site const& s : r.sites) {
            pcs.push_back(s.pc);
        }
        const std::vector<std::string> places = engine::places_of(pcs, engine::beyond::atomic);
        for (std::size_t i = 0; i < pcs.size(); ++i) {
            place p{{}, r.sites[i].kind, r.sites[i].order};
            if (parse(places[i], p.line) && text.contains(p.line.header)) {
                auto& [at, by] = reached[p];
                at.insert(pcs[i]);
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
    for (auto const& [p, found] : reached) {
        const std::vector<int> all = weaker(p.kind, p.order);
        result.sites += all.empty() ? 0U : 1U;
        for (const int to : all) {
            mutant m{p, to, {found.first.begin(), found.first.end()}, found.second};
            std::sort(m.kernels.begin(), m.kernels.end(), [&](std::size_t a, std::size_t b) { return seconds[a] < seconds[b]; });
            mutants.push_back(std::move(m));
        }
    }

    // Each process takes the next mutant.
    auto* const verdicts = shared_array<verdict>(mutants.size());
    auto* const next = ::new (shared_array<std::atomic<std::size_t>>(1)) std::atomic<std::size_t>(0);
    std::fflush(nullptr);
    const unsigned processes = std::max(1U, std::thread::hardware_concurrency());
    for (unsigned i = 0; i < processes; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            for (std::size_t m; (m = next->fetch_add(1)) < mutants.size();) {
                verdicts[m].is = verdict::lost;  // unless it comes back
                judge(mutants[m], kernels, verdicts[m]);
            }
            _exit(0);
        }
        if (child < 0) {
            result.problems.push_back("fork failed");
        }
    }
    for (int status = 0; wait(&status) > 0;) {
    }

    std::ostringstream table;
    std::vector<bool> excuse_used(excuses.size());
    for (std::size_t i = 0; i < mutants.size(); ++i) {
        mutant const& m = mutants[i];
        verdict const& v = verdicts[i];
        ++result.mutants;
        std::string const& code = text[m.at.line.header].at(m.at.line.number);
        std::ostringstream line;
        line << m.at.line.header << ':' << m.at.line.number << ' ' << m.at.kind << ' ' << name_of_order(m.at.order) << " -> "
             << name_of_order(m.to);
        std::string reason;
        for (std::size_t e = 0; e < excuses.size(); ++e) {
            excuse const& x = excuses[e];
            if (v.is == verdict::survived && x.header == m.at.line.header && code.find(x.line) != std::string::npos &&
                x.from == name_of_order(m.at.order) && x.to == name_of_order(m.to)) {
                excuse_used[e] = true;
                reason = x.reason;
            }
        }
        if (v.is == verdict::killed) {
            ++result.killed;
            table << "killed     " << line.str() << " by " << kernels[static_cast<std::size_t>(v.kernel)].name << ": " << v.message;
        } else if (!reason.empty()) {
            ++result.explained;
            table << "explained  " << line.str() << ": " << reason;
        } else {
            table << (v.is == verdict::survived ? "SURVIVES   " : "LOST       ") << line.str();
            const auto first = code.find_first_not_of(' ');
            result.problems.push_back((v.is == verdict::survived ? "survives: " : "its process died: ") + line.str() + ":  " +
                                      (first == std::string::npos ? code : code.substr(first)));
        }
        table << "  (" << v.executions << " executions, " << v.seconds << " s)\n";
    }
    for (std::size_t e = 0; e < excuses.size(); ++e) {
        if (!excuse_used[e]) {
            result.problems.push_back("an excuse for no survivor: " + excuses[e].header + ": " + excuses[e].line + ", " +
                                      excuses[e].from + " -> " + excuses[e].to);
        }
    }
    result.table = table.str();
    munmap(verdicts, mutants.size() * sizeof(verdict) + 1);
    munmap(next, sizeof *next + 1);
    return result;
}

}  // namespace weir_model
