// weir (BSL-1.0). bench stats_registry: finding a series by its name and labels, and writing all of them as text.
#include <weir/data/stats.hpp>
#include <weir/data/stats_registry.hpp>
#include <weir/with/prometheus.hpp>

#include "harness.hpp"

#ifdef WEIR_BENCH_PROMETHEUS
#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#endif

#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace bench {
namespace {

constexpr const char* suite_name = "stats_registry";
constexpr const char* metric = "requests_total";
constexpr const char* help_text = "Requests.";

const load look_up{.id = "series_look_up",
                   .title = "counting in a series that is looked up each time, 1e3 series",
                   .threads = {1, 2},
                   .note = "Each operation finds the counter of one name and two labels and adds 1. weir: stats_registry::get; "
                           "prometheus_cpp: Family::Add; mutex_map: one mutex around an unordered_map from a string made "
                           "of name and labels. weir_kept: the reference that get gave before, what a service would use."};
const load scrape{.id = "series_as_text",
                  .title = "writing 1e4 counters as text for a scraper",
                  .threads = {1},
                  .note = "Prometheus' text format, into a string. weir: write_prometheus; prometheus_cpp: Collect and "
                          "TextSerializer.",
                  .unit = "ns/series"};

struct label_values {
    std::string path, code;
};

std::vector<label_values> series_of(std::size_t count) {
    std::vector<label_values> all;
    for (std::size_t i = 0; i != count; ++i) {
        all.push_back({"/path/" + std::to_string(i / 4), std::to_string(200 + i % 4)});
    }
    return all;
}

weir::counter& find(weir::stats_registry& registry, label_values const& l) {
    return registry.get<weir::counter>(metric, help_text, {{"path", l.path}, {"code", l.code}});
}

/// All threads go through the series in turns; `add(i)` counts in series i, `total()` is what all have.
template <class Add, class Total>
sample add_to_all(std::size_t series, std::size_t operations, int threads, Add add, Total total) {
    const std::size_t share = operations / static_cast<std::size_t>(threads);
    const std::uint64_t before = total();
    const double seconds = parallel<no_scope>(threads, [&](int t) {
        std::size_t i = static_cast<std::size_t>(t) * series / 2;
        for (std::size_t n = 0; n != share; ++n) {
            add(i % series);
            i += 617;  // a prime that divides no number of series here
        }
    });
    const std::uint64_t done = static_cast<std::uint64_t>(share) * static_cast<std::uint64_t>(threads);
    if (total() - before != done) {
        throw std::runtime_error("not every increment was counted");
    }
    return {seconds, static_cast<double>(done)};
}

struct world {
    explicit world(std::size_t count) : labels(series_of(count)), ours_all({.max_series = 100'000, .max_series_per_name = 100'000}) {
        for (label_values const& l : labels) {
            kept.push_back(&find(ours_all, l));
#ifdef WEIR_BENCH_PROMETHEUS
            family.Add({{"path", l.path}, {"code", l.code}});
#endif
            locked_map[key_of(l)] = 0;
        }
    }
    static std::string key_of(label_values const& l) { return std::string(metric) + '{' + l.path + ',' + l.code + '}'; }

    std::vector<label_values> labels;
    weir::stats_registry ours_all;
    std::vector<weir::counter*> kept;
#ifdef WEIR_BENCH_PROMETHEUS
    std::shared_ptr<prometheus::Registry> theirs = std::make_shared<prometheus::Registry>();
    prometheus::Family<prometheus::Counter>& family =
        prometheus::BuildCounter().Name(metric).Help(help_text).Register(*theirs);
#endif
    std::mutex lock;
    std::unordered_map<std::string, std::uint64_t> locked_map;
};

void add_look_ups(run& r, int round, const std::shared_ptr<world>& w) {
    const std::size_t count = r.opt().smoke ? 2000 : 200'000;
    for (const int threads : look_up.threads) {
        turns rows;
        const auto row = [&](const char* name, auto add, auto total) {
            rows.add([&r, w, name, threads, round, count, add, total] {
                r.add(suite_name, look_up, threads, name, round, [w, count, threads, add, total] {
                    return add_to_all(w->labels.size(), count, threads, [&](std::size_t i) { add(*w, i); },
                                      [&] { return total(*w); });
                });
            });
        };
        const auto ours_total = [](world& all) {
            std::uint64_t sum = 0;
            for (weir::counter const* c : all.kept) {
                sum += c->value();
            }
            return sum;
        };
        row(ours, [](world& all, std::size_t i) { find(all.ours_all, all.labels[i]).add(); }, ours_total);
        row("weir_kept", [](world& all, std::size_t i) { all.kept[i]->add(); }, ours_total);
#ifdef WEIR_BENCH_PROMETHEUS
        row("prometheus_cpp",
            [](world& all, std::size_t i) {
                all.family.Add({{"path", all.labels[i].path}, {"code", all.labels[i].code}}).Increment();
            },
            [](world& all) {
                double sum = 0;
                for (const auto& family : all.theirs->Collect()) {
                    for (const auto& one : family.metric) {
                        sum += one.counter.value;
                    }
                }
                return static_cast<std::uint64_t>(sum);
            });
#endif
        row("mutex_map",
            [](world& all, std::size_t i) {
                const std::string key = world::key_of(all.labels[i]);
                const std::lock_guard hold(all.lock);
                ++all.locked_map[key];
            },
            [](world& all) {
                std::uint64_t sum = 0;
                for (const auto& [key, n] : all.locked_map) {
                    sum += n;
                }
                return sum;
            });
        rows.take(round);
    }
}

std::size_t lines_of(const std::string& text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

template <class Write>
sample write_all(std::size_t series, Write write) {
    const auto begin = clock::now();
    const std::string text = write();
    const double seconds = seconds_since(begin);
    if (lines_of(text) != series + 2) {  // and what it is: HELP and TYPE
        throw std::runtime_error("the text has not a line for each series");
    }
    return {seconds, static_cast<double>(series)};
}

void add_scrapes(run& r, int round, const std::shared_ptr<world>& w) {
    turns rows;
    rows.add([&r, w, round] {
        r.add(suite_name, scrape, 1, ours, round, [w] {
            return write_all(w->labels.size(), [&] {
                std::string text;
                weir::write_prometheus(text, w->ours_all);
                return text;
            });
        });
    });
#ifdef WEIR_BENCH_PROMETHEUS
    rows.add([&r, w, round] {
        r.add(suite_name, scrape, 1, "prometheus_cpp", round, [w] {
            return write_all(w->labels.size(), [&] { return prometheus::TextSerializer().Serialize(w->theirs->Collect()); });
        });
    });
#endif
    rows.take(round);
}

}  // namespace

suite stats_registry_suite() {
    const auto add = [](run& r) {
        r.declare(look_up);
        r.declare(scrape);
        const auto few = std::make_shared<world>(r.opt().smoke ? 100 : 1000);
        const auto many = std::make_shared<world>(r.opt().smoke ? 100 : 10'000);
        for (int round = 0; round != r.rounds(); ++round) {
            add_look_ups(r, round, few);
            add_scrapes(r, round, many);
        }
    };
    const auto tables = [](const run& r) {
        std::vector<table> all;
        for (load const& l : {look_up, scrape}) {
            if (!r.out().peers(l.id).empty()) {
                all.push_back(load_table(r.out(), l));
            }
        }
        return all;
    };
    return {suite_name, add, tables, {}, {}, "statistics"};
}

}  // namespace bench
