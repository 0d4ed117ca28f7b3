// weir (BSL-1.0). bench harness: samples, their medians and ratios, and the way into Google Benchmark.
#include "harness.hpp"

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <stdexcept>

#ifdef __linux__
#include <sys/wait.h>
#include <spawn.h>
#include <unistd.h>
#endif

namespace bench {
namespace {

template <class Get>
void register_case(run& r, const std::string& suite, const load& l, int threads, const std::string& peer, int round,
                   Get get) {
    const std::string name =
        suite + '/' + l.id + "/threads:" + std::to_string(threads) + '/' + peer + "/round:" + std::to_string(round);
    auto body = [&r, part = run::part_of(suite, l.extra), id = l.id, unit = l.unit, name, threads, peer, round,
                 get](benchmark::State& state) {
        if (!r.admits(part, round)) {
            state.SkipWithError("no time left for this round");
            return;
        }
        for ([[maybe_unused]] auto once : state) {
            const auto begin = clock::now();
            try {
                const auto [seconds, value] = get();
                r.out().add(id, threads, peer, round, value);
                state.SetIterationTime(seconds);
                state.counters[unit] = value;
            } catch (const std::exception& e) {
                r.out().fail(name + ": " + e.what());
                state.SkipWithError("failed");
                break;
            }
            r.out().spend(id, seconds_since(begin));
        }
    };
    benchmark::RegisterBenchmark(name.c_str(), body)->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);
}

}  // namespace

spread spread_of(std::vector<double> values) {
    std::erase_if(values, [](double v) { return !std::isfinite(v); });
    if (values.empty()) {
        return {};
    }
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    const double middle = values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
    return {middle, values.front(), values.back(), static_cast<int>(values.size())};
}

void results::declare(load l) { loads_.push_back(std::move(l)); }

const load* results::find(const std::string& id) const {
    const auto at = std::find_if(loads_.begin(), loads_.end(), [&](const load& l) { return l.id == id; });
    return at == loads_.end() ? nullptr : &*at;
}

void results::add(const std::string& load, int threads, const std::string& peer, int round, double value) {
    samples_[{load, threads, peer}][round] = value;
    auto& known = peers_[load];
    if (std::find(known.begin(), known.end(), peer) == known.end()) {
        known.push_back(peer);
    }
}

bool results::has(const std::string& load, int threads, const std::string& peer) const {
    return samples_.count({load, threads, peer}) != 0;
}

spread results::value(const std::string& load, int threads, const std::string& peer) const {
    const auto at = samples_.find({load, threads, peer});
    std::vector<double> values;
    if (at != samples_.end()) {
        for (const auto& [round, value] : at->second) {
            values.push_back(value);
        }
    }
    return spread_of(std::move(values));
}

spread results::ratio(const std::string& load, int threads, const std::string& row, int base_threads,
                      const std::string& base) const {
    const auto above = samples_.find({load, threads, row});
    const auto below = samples_.find({load, base_threads, base});
    std::vector<double> values;
    if (above != samples_.end() && below != samples_.end()) {
        for (const auto& [round, value] : above->second) {
            const auto same = below->second.find(round);
            if (same != below->second.end() && same->second > 0) {
                values.push_back(value / same->second);
            }
        }
    }
    return spread_of(std::move(values));
}

std::vector<std::string> results::peers(const std::string& load) const {
    const auto at = peers_.find(load);
    return at == peers_.end() ? std::vector<std::string>{} : at->second;
}

std::vector<int> results::threads(const std::string& load) const {
    std::vector<int> all;
    for (const auto& [k, rounds] : samples_) {
        if (std::get<0>(k) == load && (all.empty() || all.back() != std::get<1>(k))) {
            all.push_back(std::get<1>(k));  // the samples are in this order
        }
    }
    return all;
}

void results::fail(const std::string& what) {
    constexpr std::size_t shown = 20;  // a wrong map is wrong in every case: no need to fill the terminal
    if (failures_.size() < shown) {
        std::fprintf(stderr, "weir_bench: ERROR: %s\n", what.c_str());
    }
    failures_.push_back(what);
}

int cores() { return static_cast<int>(std::max(1U, std::thread::hardware_concurrency())); }

#ifdef __linux__
std::string output_of_child(const std::string& argument, const std::string& variable) {
    int ends[2];
    if (pipe(ends) != 0) {
        throw std::runtime_error("no pipe for the child process");
    }
    std::string self = "/proc/self/exe";
    std::string what = argument;
    char* const arguments[] = {self.data(), what.data(), nullptr};
    std::string setting = variable;
    std::vector<char*> environment;
    for (char** one = environ; *one != nullptr; ++one) {
        environment.push_back(*one);
    }
    if (!setting.empty()) {
        environment.push_back(setting.data());
    }
    environment.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    pid_t child = 0;
    const int failed = posix_spawn(&child, self.c_str(), &actions, nullptr, arguments, environment.data());
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    std::string answer;
    char part[4096];
    for (ssize_t n = 0; failed == 0 && (n = read(ends[0], part, sizeof part)) > 0;) {
        answer.append(part, static_cast<std::size_t>(n));
    }
    close(ends[0]);
    int status = -1;
    if (failed == 0) {
        waitpid(child, &status, 0);
    }
    if (status != 0) {
        throw std::runtime_error("the child process failed: " + argument);
    }
    return answer;
}
#else
std::string output_of_child(const std::string&, const std::string&) { throw std::runtime_error("no child processes here"); }
#endif

std::vector<int> run::threads(const load& l) const {
    std::vector<int> all = l.threads;
    if (everything()) {
        all.insert(all.end(), l.more_threads.begin(), l.more_threads.end());
        std::sort(all.begin(), all.end());
    }
    return all;
}

void run::declare(const load& l) {
    load of_this_run = l;
    of_this_run.threads = threads(l);
    of_this_run.part = part_;
    results_.declare(std::move(of_this_run));
}

bool run::admits(const std::string& part, int round) {
    progress& p = progress_[part];
    if (round > p.round) {
        if (p.round >= 0) {
            p.longest = std::max(p.longest, seconds_since(p.begin));
        }
        if (round > 0 && p.limit > 0 && p.refused < 0 && seconds_since(begin_) + p.longest > p.limit) {
            p.refused = round;
        }
        p.round = round;
        p.begin = clock::now();
    }
    return p.refused < 0 || round < p.refused;
}

std::string run::left_out() const {
    std::string all;
    for (const auto& [part, p] : progress_) {
        if (p.refused >= 0) {
            all += (all.empty() ? "" : "; ") + part + ": " + std::to_string(p.refused) + " of " +
                   std::to_string(p.planned) + " rounds";
        }
    }
    return all;
}

void run::add(const std::string& suite, const load& l, int threads, const std::string& peer, int round,
              std::function<sample()> f) {
    const auto get = [threads, f = std::move(f)] {
        const sample s = f();
        const double per_operation = s.operations > 0 ? s.seconds * 1e9 / s.operations : std::nan("");
        return std::pair{s.seconds, per_operation * std::min(threads, cores())};
    };
    plan(part_of(suite, l.extra), round);
    register_case(*this, suite, l, threads, peer, round, get);
}

void run::add_value(const std::string& suite, const load& l, int threads, const std::string& peer, int round,
                    std::function<double()> f) {
    const auto get = [f = std::move(f)] {
        const auto begin = clock::now();
        const double value = f();
        return std::pair{seconds_since(begin), value};
    };
    plan(part_of(suite, l.extra), round);
    register_case(*this, suite, l, threads, peer, round, get);
}

std::string range_of(const spread& s) { return number(s.low) + " .. " + number(s.high); }

table load_table(const results& r, const load& l) {
    table t{l.title, l.note, {"peer"}, {}, {}};
    const std::vector<int> columns = r.threads(l.id);
    std::map<int, double> widest;
    for (const int threads : columns) {
        t.head.push_back(std::to_string(threads) + ' ' + l.counted + (threads == 1 ? ", " : "s, ") + l.unit);
        t.head.emplace_back("min .. max");
        t.head.emplace_back("/ weir");
        for (const std::string& peer : r.peers(l.id)) {
            widest[threads] = std::max(widest[threads], r.value(l.id, threads, peer).high);
        }
    }
    for (const std::string& peer : r.peers(l.id)) {
        std::vector<cell> row{peer};
        for (const int threads : columns) {
            const spread s = r.value(l.id, threads, peer);
            if (!s) {
                row.insert(row.end(), {"-", "", ""});
                continue;
            }
            cell time(number(s.median));
            const double whole = widest[threads] > 0 ? widest[threads] : 1;
            time.low = s.low / whole;
            time.middle = s.median / whole;
            time.high = s.high / whole;
            const spread ratio = r.ratio(l.id, threads, peer, ours);
            row.push_back(std::move(time));
            row.emplace_back(range_of(s));
            row.emplace_back(ratio ? number(ratio.median) : "-");
        }
        if (peer == ours) {
            t.strong.push_back(t.rows.size());
        }
        t.rows.push_back(std::move(row));
    }
    return t;
}

table losses_table(const results& r, const std::string& part) {
    struct loss {
        const load* where;
        int threads;
        std::string peer;
        spread ratio;
        bool shared;  // by threads
    };
    std::vector<loss> losses;
    std::size_t compared = 0;
    std::size_t shared = 0;
    for (const load& l : r.loads()) {
        if (l.part != part) {
            continue;
        }
        for (const std::string& peer : r.peers(l.id)) {
            for (const int threads : r.threads(l.id)) {
                const spread ratio =
                    l.more_is_better ? r.ratio(l.id, threads, peer, ours) : r.ratio(l.id, threads, ours, peer);
                const bool our_own = peer == ours || peer.rfind(std::string(ours) + '_', 0) == 0;  // or a variant
                if (!l.compared || our_own || !ratio) {
                    continue;
                }
                ++compared;
                if (ratio.median > 1) {
                    const bool synchronised =
                        peer != "floor" && peer != "plain" && peer != "unprotected" && peer != "nothing";
                    losses.push_back({&l, threads, peer, ratio, synchronised});
                    shared += synchronised ? 1U : 0U;
                }
            }
        }
    }
    table t{"Where weir loses: " + part, {}, {}, {}, {}, rank::losses};
    if (compared == 0) {
        t.note = "Nothing to say: this run has no row of weir's beside another.";
        return t;
    }
    t.note = "Every row of this run that beats weir's, out of " + std::to_string(compared) +
             " compared: " + std::to_string(shared) + " of others that threads may share, then " +
             std::to_string(losses.size() - shared) +
             " that do without any synchronisation (floor, plain, unprotected, nothing). The ratio is what weir takes, "
             "divided "
             "by what the other takes (time, bytes), in the same round.";
    if (losses.empty()) {
        t.rows.push_back({"Nowhere in this run."});
        return t;
    }
    std::sort(losses.begin(), losses.end(), [](const loss& a, const loss& b) {
        return a.shared != b.shared ? a.shared : a.ratio.median > b.ratio.median;
    });
    t.head = {"load", "threads", "against", "weir / it", "min .. max", "sure"};
    for (const loss& x : losses) {
        t.rows.push_back({x.where->title, std::to_string(x.threads), x.peer, number(x.ratio.median), range_of(x.ratio),
                          x.ratio.rounds == 1 ? "one round only"
                          : x.ratio.low > 1   ? "in every round"
                                              : "not in every round"});
    }
    return t;
}

table spent_table(const results& r) {
    std::vector<std::pair<double, std::string>> loads;
    double all = 0;
    for (const auto& [id, seconds] : r.spent()) {
        loads.emplace_back(seconds, id);
        all += seconds;
    }
    std::sort(loads.rbegin(), loads.rend());
    table t{"How the time of the run was spent",
            "Seconds of all rounds and rows, with what came before the clocks were started and after they were "
            "stopped: inputs, filled maps, checks.",
            {"load", "seconds", "part"},
            {},
            {}};
    for (const auto& [seconds, id] : loads) {
        t.rows.push_back({id, number(seconds), number(100 * seconds / all) + " %"});
    }
    return t;
}

}  // namespace bench
