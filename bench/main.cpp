// weir (BSL-1.0). weir_bench: runs every bench in interleaved rounds, prints the tables, writes one report.
#include "harness.hpp"
#include "map_peers.hpp"
#include "plot.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

#ifdef __unix__
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>
#endif

namespace bench {
namespace {

constexpr const char* usage = R"(weir_bench [options] [files or directories]

Counts the words of every header under /usr/include (or of what is named) with several threads by several maps, then
measures weir beside its peers, and writes a report. Exit status: 0; 1 if a row gave a wrong result; 2 for bad options.

  --report=DIR     where index.html is written (bench-report)
  --rounds=N       interleaved rounds (5)
  --max-mib=N      count at most so much text (384)
  --max-seconds=N  begin no round that would likely end later (270; with --full 2700)
  --full           every load (Zipf, reserved, more of strings and 64 bytes), sizes from 1e3 to 1e7, 1 to 8 threads
  --only=A,B       these parts alone: word_count, stats, stats_registry, lock_free_map, hazard_pointer, circuit_breaker,
                   rate_limiter, retry, bulkhead, dedup_cache, pipeline, worker_pool, queue, object_pool; map: 1st, 4th
                   and 5th; flow: 6th to 11th; run: 12th and after
  --markdown=FILE  write the main rows, the goals and where weir loses as Markdown
  --svg=FILE       write the plots of all main loads as a file of its own
  --smoke          tiny sizes, one round, every load and every check
  --benchmark_...  as for every Google Benchmark program, e.g. --benchmark_filter=word_count or =hit/.*threads:2
)";

/// The value of --name=value or --name value; moves `i` over what it used.
std::optional<std::string> value_of(const char* name, int argc, char** argv, int& i) {
    const std::string argument = argv[i];
    const std::string flag = std::string("--") + name;
    if (argument.rfind(flag + '=', 0) == 0) {
        return argument.substr(flag.size() + 1);
    }
    if (argument == flag && i + 1 < argc) {
        return argv[++i];
    }
    return std::nullopt;
}

[[noreturn]] void refuse(const std::string& why) {
    std::fprintf(stderr, "weir_bench: %s\n%s", why.c_str(), usage);
    std::exit(2);
}

long whole_number(const std::string& text, const char* what) {
    char* end = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || value < 1 || value > 1'000'000) {
        refuse(std::string(what) + " must be a whole number from 1 to 1000000");
    }
    return value;
}

std::vector<suite> all_suites() {
    std::vector<suite> all{word_count_suite(), stats_suite(), stats_registry_suite()};
    for (const auto& of_part : {flow_suites(), run_suites()}) {
        all.insert(all.end(), of_part.begin(), of_part.end());
    }
    all.push_back(lock_free_map_suite());
    all.push_back(hazard_pointer_suite());
    return all;
}

/// The names between commas, each that of a suite.
std::vector<std::string> suites_named(const std::string& text) {
    const std::vector<suite> known = all_suites();
    std::vector<std::string> all;
    std::istringstream in(text);
    for (std::string name; std::getline(in, name, ',');) {
        if (name == "map") {
            all.insert(all.end(), {"word_count", "lock_free_map", "hazard_pointer"});
            continue;
        }
        const std::size_t before = all.size();
        for (const suite& s : known) {
            if (s.name == name || s.part == name) {
                all.push_back(s.name);
            }
        }
        if (all.size() == before) {
            refuse("--only: no such part: " + name);
        }
    }
    if (all.empty()) {
        refuse("--only: no part is named");
    }
    return all;
}

options parse(int argc, char** argv) {
    options o;
    bool limited = false;
    bool in_time = false;
    for (int i = 1; i < argc; ++i) {
        if (const auto dir = value_of("report", argc, argv, i)) {
            o.report = *dir;
        } else if (const auto rounds = value_of("rounds", argc, argv, i)) {
            o.rounds = static_cast<int>(whole_number(*rounds, "--rounds"));
        } else if (const auto mib = value_of("max-mib", argc, argv, i)) {
            o.max_bytes = static_cast<std::size_t>(whole_number(*mib, "--max-mib")) << 20U;
            limited = true;
        } else if (const auto seconds = value_of("max-seconds", argc, argv, i)) {
            o.max_seconds = static_cast<double>(whole_number(*seconds, "--max-seconds"));
            in_time = true;
        } else if (const auto markdown = value_of("markdown", argc, argv, i)) {
            o.markdown = *markdown;
        } else if (const auto svg = value_of("svg", argc, argv, i)) {
            o.svg = *svg;
        } else if (const auto only = value_of("only", argc, argv, i)) {
            o.only = suites_named(*only);
        } else if (std::strcmp(argv[i], "--full") == 0) {
            o.full = true;
        } else if (std::strcmp(argv[i], "--smoke") == 0) {
            o.smoke = true;
        } else if (argv[i][0] == '-' && argv[i][1] == '-') {
            refuse(std::string("no such option: ") + argv[i]);
        } else {
            o.files.emplace_back(argv[i]);
        }
    }
    for (const std::string& root : o.files.empty() ? std::vector<std::string>{"/usr/include"} : o.files) {
        std::error_code error;
        if (!std::filesystem::exists(root, error)) {
            refuse("no such file: " + root);
        }
    }
    if (o.full && !in_time) {
        o.max_seconds = 2700;
    }
    if (o.smoke && !limited) {
        o.max_bytes = 1U << 20U;
    }
    return o;
}

/// Shows no line per case (there are a thousand), but each suite's tables as soon as all its cases have run.
class tables_reporter : public benchmark::BenchmarkReporter {
public:
    tables_reporter(run& r, std::vector<suite> suites) : run_(r), suites_(std::move(suites)) {}

    bool ReportContext(const Context&) override { return true; }
    void ReportRuns(const std::vector<Run>& runs) override {
        const std::string name = runs.empty() ? std::string{} : runs.front().benchmark_name();
        const std::string suite = name.substr(0, name.find('/'));
        if (suite != current_) {
            show_current();
            current_ = suite;
            std::fprintf(stderr, "weir_bench: %s ...\n", suite.c_str());
        }
    }
    void Finalize() override { show_current(); }

    std::vector<table> take() { return std::move(shown_); }

private:
    void show_current() {
        const std::string name = std::exchange(current_, {});
        for (const suite& s : suites_) {
            if (s.name == name) {
                for (table& t : s.tables(run_)) {
                    std::fputs(to_text(t).c_str(), stdout);
                    shown_.push_back(std::move(t));
                }
                std::fflush(stdout);
            }
        }
    }

    run& run_;
    std::vector<suite> suites_;
    std::string current_;
    std::vector<table> shown_;
};

// What to know about the machine and the build.

struct processor_time {
    double busy = 0;    // of all processes, seconds
    double stolen = 0;  // taken by the hypervisor
    double own = 0;
};

processor_time processor_now() {
    processor_time t;
#ifdef __linux__
    std::ifstream in("/proc/stat");
    std::string cpu;
    double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0;
    if (in >> cpu >> user >> nice >> system >> idle >> wait >> irq >> soft >> t.stolen) {
        const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
        t.busy = (user + nice + system + irq + soft) / ticks;
        t.stolen /= ticks;
    }
#endif
#ifdef __unix__
    for (const auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
        rusage use{};
        getrusage(who, &use);
        t.own += static_cast<double>(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                 static_cast<double>(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    }
#endif
    return t;
}

std::string processor_name() {
    std::ifstream in("/proc/cpuinfo");
    for (std::string line; std::getline(in, line);) {
        if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos) {
            return line.substr(line.find(": ") + 2);
        }
    }
    return "unknown processor";
}

std::string system_name() {
#ifdef __unix__
    utsname name{};
    if (uname(&name) == 0) {
        return std::string(name.sysname) + ' ' + name.release + ' ' + name.machine;
    }
#endif
    return "unknown";
}

std::string memory_size() {
    std::ifstream in("/proc/meminfo");
    std::string word;
    double kibibytes = 0;
    return in >> word >> kibibytes ? number(kibibytes / (1 << 20)) + " GiB" : "unknown";
}

std::string libraries() {
    std::string all;
#ifdef WEIR_BENCH_BOOST
    all += "Boost " + std::to_string(BOOST_VERSION / 100000) + '.' + std::to_string(BOOST_VERSION / 100 % 1000);
#else
    all += "no Boost with unordered_flat_map";
#endif
#ifdef WEIR_BENCH_HAS_BOOST_CONCURRENT
    all += " (with concurrent_flat_map)";
#else
    all += " (without concurrent_flat_map, which came with 1.83)";
#endif
#ifdef WEIR_BENCH_TBB
    all += ", oneTBB " + std::to_string(TBB_VERSION_MAJOR) + '.' + std::to_string(TBB_VERSION_MINOR);
#else
    all += ", no oneTBB";
#endif
#ifdef WEIR_BENCH_LIBCDS
    all += ", libcds " CDS_VERSION_STRING;
#else
    all += ", no libcds";
#endif
#ifdef WEIR_BENCH_LIBCUCKOO
    all += ", libcuckoo";
#else
    all += ", no libcuckoo";
#endif
#ifdef WEIR_BENCH_XENIUM
    all += ", xenium";
#else
    all += ", no xenium";
#endif
#ifdef WEIR_BENCH_PROMETHEUS
    all += ", prometheus-cpp";
#else
    all += ", no prometheus-cpp";
#endif
#ifdef WEIR_BENCH_MOODYCAMEL
    all += ", moodycamel's queues";
#else
    all += ", no moodycamel";
#endif
    return all;
}

std::string compiler() {
    std::string flags = WEIR_BENCH_FLAGS;
#ifndef __OPTIMIZE__
    flags += "  BUILT WITHOUT OPTIMISATION: no figure here means anything";
#endif
#if defined(__clang__)
    return "clang " __clang_version__ "; " + flags;
#else
    return "g++ " __VERSION__ "; " + flags;
#endif
}

std::string now() {
    const std::time_t t = std::time(nullptr);
    char text[64];
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", std::gmtime(&t));
    return text;
}

bool write(const std::filesystem::path& file, const std::string& text) {
    std::error_code error;
    if (file.has_parent_path()) {
        std::filesystem::create_directories(file.parent_path(), error);
    }
    std::ofstream out(file, std::ios::binary);
    out << text;
    out.close();
    if (!out) {
        std::fprintf(stderr, "weir_bench: cannot write %s\n", file.c_str());
        return false;
    }
    std::printf("%s: %s\n", file.extension() == ".html" ? "report" : "written",
                std::filesystem::absolute(file).lexically_normal().c_str());
    return true;
}

std::vector<std::string> parts_of(const std::vector<suite>& suites) {
    std::vector<std::string> all;
    for (const suite& s : suites) {
        if (std::find(all.begin(), all.end(), s.part) == all.end()) {
            all.push_back(s.part);
        }
    }
    return all;
}

/// What a README takes in: no date, but the machine and how the run was.
std::string summary_of(const run& r, const std::vector<suite>& suites, const report& page) {
    std::string text;
    for (const suite& s : suites) {
        for (const table& t : s.summary ? s.summary(r.out()) : std::vector<table>{}) {
            text += to_markdown(t);
        }
    }
    for (const std::string& part : parts_of(suites)) {
        text += to_markdown(losses_table(r.out(), part));
    }
    std::string facts;
    for (const auto& [name, fact] : page.facts) {
        if (name != "date") {
            facts += "* " + name + ": " + fact + '\n';
        }
    }
    return text + facts;
}

int run_all(const options& o, int argc, char** argv) {
    const std::string date = now();
    const auto begin = clock::now();
    const processor_time before = processor_now();
    run r(o);
    std::vector<suite> suites = all_suites();
    std::erase_if(suites, [&](const suite& s) {
        return !o.only.empty() && std::find(o.only.begin(), o.only.end(), s.name) == o.only.end();
    });
    for (const suite& s : suites) {
        r.begin_part(s.part);
        s.add(r);
    }
    tables_reporter reporter(r, suites);
    const std::size_t ran = benchmark::RunSpecifiedBenchmarks(&reporter);
    for (int i = 0; i != argc; ++i) {
        if (std::strncmp(argv[i], "--benchmark_list_tests", 22) == 0) {
            return 0;
        }
    }
    if (ran == 0) {
        refuse("no benchmark matches the filter");
    }

    report page{.title = "weir: the benches", .facts = {}, .tables = reporter.take()};
    for (const std::string& part : parts_of(suites)) {
        page.tables.push_back(losses_table(r.out(), part));
        std::fputs(to_text(page.tables.back()).c_str(), stdout);
    }

    page.tables.push_back(spent_table(r.out()));

    std::vector<table> ordered;
    for (const rank place : {rank::main_job, rank::goals, rank::plots, rank::losses, rank::detail}) {
        for (const table& t : page.tables) {
            if (t.place == place) {
                ordered.push_back(t);
            }
        }
    }
    page.tables = std::move(ordered);

    const processor_time after = processor_now();
    const double seconds = seconds_since(begin);
    const double whole = seconds * cores();
    const double others = std::max(0.0, after.busy - before.busy - (after.own - before.own)) / whole;
    const double stolen = (after.stolen - before.stolen) / whole;
    page.facts = {
        {"date", date},
        {"machine",
         processor_name() + ", " + std::to_string(cores()) + " processors, " + memory_size() + ", " + system_name()},
        {"compiler", compiler()},
        {"libraries", libraries()},
        {"rounds", std::to_string(r.rounds()) + (o.full ? "" : " at most, of the words 4, of the dearest loads 3") +
                       ", interleaved; figures are medians, with the smallest and the largest round"},
        {"times",
         "ns of CPU per operation: wall time * min(threads, processors) / operations; the last column of each "
         "number of threads is that row's time divided by weir's in the same round"},
        {"the run", number(seconds) + " s; other processes used " + number(100 * others, 2) +
                        " % of the processors meanwhile, the hypervisor took " + number(100 * stolen, 2) + " %"},
    };
    if (const std::string left_out = r.left_out(); !left_out.empty()) {
        page.facts.emplace_back("left out", left_out + ", for lack of time (--max-seconds)");
    }
    if (o.smoke) {
        page.facts.emplace_back(
            "smoke", "tiny sizes, not those that the headings name: this run checks results, its times mean nothing");
    }
    for (const std::string& failure : r.out().failures()) {
        page.facts.emplace_back("WRONG", failure);
    }
    std::puts("");
    for (const auto& [name, text] : page.facts) {
        std::printf("%-10s %s\n", name.c_str(), text.c_str());
    }

    bool written = write(std::filesystem::path(o.report) / "index.html", to_html(page));
    if (!o.markdown.empty()) {
        written = write(o.markdown, summary_of(r, suites, page)) && written;
    }
    if (!o.svg.empty()) {
        std::vector<std::string> plots;
        for (const suite& s : suites) {
            plots.push_back(s.overview ? s.overview(r.out()) : std::string{});
        }
        const std::string file = svg_file(plots);
        if (file.empty()) {
            std::fprintf(stderr, "weir_bench: nothing to plot for %s\n", o.svg.c_str());
        }
        written = (file.empty() || write(o.svg, file)) && written;
    }
    const auto failures = r.out().failures().size();
    if (failures != 0) {
        std::printf("errors: %zu, see above\n", failures);
    }
    return failures == 0 && written ? 0 : 1;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
#ifdef WEIR_BENCH_LIBCDS
    const bench::cds_runtime libcds;
#endif
    constexpr std::array<std::pair<std::string_view, bool (*)(const std::string&)>, 3> children{
        {{"--measure-memory=", bench::measure_memory},
         {"--measure-stats=", bench::measure_stats},
         {"--measure-malloc=", bench::measure_malloc}}};
    for (const auto& [flag, measure] : children) {
        if (argc == 2 && std::string_view(argv[1]).substr(0, flag.size()) == flag) {
            return measure(argv[1] + flag.size()) ? 0 : 1;
        }
    }
    for (int i = 1; i != argc; ++i) {
        if (std::strcmp(argv[i], "--help") == 0 || std::strcmp(argv[i], "-h") == 0) {
            std::fputs(bench::usage, stdout);
            return 0;
        }
    }
    const std::vector<char*> given(argv, argv + argc);
    benchmark::Initialize(&argc, argv);  // takes its own flags out of argv
    const bench::options o = bench::parse(argc, argv);
    return bench::run_all(o, static_cast<int>(given.size()), const_cast<char**>(given.data()));
}
