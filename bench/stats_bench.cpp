// weir (BSL-1.0). bench stats: writing, reading and keeping counters, histograms and statistics of requests.
#include "stats_peers.hpp"

#include "harness.hpp"
#include "shapes.hpp"
#include "stats_catalog.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <numbers>
#include <numeric>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#ifdef __GLIBC__
#include <malloc.h>
#if __GLIBC_PREREQ(2, 33)
#define WEIR_BENCH_HAS_MALLINFO2 1
#endif
#endif

// What keeps the tables honest:
// * every row of a load gets the same inputs, drawn before; what a row has counted at the end is what was recorded;
// * a compiler barrier follows each operation, so nothing is merged or kept in a register over it;
// * threads run until one common time is over, so that all rows are measured as long, however slow;
// * what depends on the threads that have lived, or on the heap, is measured in a process of its own.
//
// Dead ends: what looked good and was rejected, with the figure that did it. Each has two lines in the report.

namespace bench::stats {
namespace {

const std::vector<std::pair<const char*, const char*>> dead_ends{
    {"Measuring what a read costs in the same process as the writes",
     "A counter's value takes 3 ns after 2 threads have lived and 56 after 64, and so it stays: the second round would "
     "have measured the first one's threads."},
};

constexpr const char* suite_name = "stats";
constexpr std::size_t batch = 4096;  // operations between two looks at the clock
constexpr std::size_t most_threads = 8;

// The inputs.

struct request_input {
    i64 ns;
    std::uint32_t bytes;
    bool failed;
};

struct inputs {
    std::vector<i64> ns;
    std::vector<request_input> requests;
    std::vector<std::uint32_t> order;  // of many counters: each once, then some again to make whole batches
};

constexpr std::size_t many_counters = 100'000;

/// exp of a normal variable (Box and Muller, 1958), by its median and the deviation of its logarithm.
double lognormal(random_numbers& random, double median, double deviation) {
    const auto uniform = [&] { return (static_cast<double>(random() >> 11U) + 0.5) * 0x1p-53; };
    const double normal = std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform());
    return median * std::exp(deviation * normal);
}

const inputs& all_inputs() {
    static const inputs made = [] {
        inputs in;
        random_numbers random{2024};
        for (std::size_t i = 0; i != 4 * batch; ++i) {
            const i64 ns = static_cast<i64>(lognormal(random, 1e5, 1));
            const auto bytes = static_cast<std::uint32_t>(std::min(lognormal(random, 2000, 1.5), 4e9));
            in.ns.push_back(ns);
            in.requests.push_back({ns, bytes, random.below(32) == 0});
        }
        in.order.resize(many_counters);
        std::iota(in.order.begin(), in.order.end(), 0U);
        shuffle(in.order, 7);
        while (in.order.size() % batch != 0) {
            in.order.push_back(in.order[in.order.size() - many_counters]);
        }
        return in;
    }();
    return made;
}

// Writing.

/// Threads call op(thread, input) with one input after the other, each from another place on, until the time is over.
template <class Op>
sample storm(const run& r, int threads, std::size_t inputs, Op op) {
    const std::chrono::milliseconds span{r.opt().smoke ? 0 : threads > cores() ? 60 : 30};
    std::atomic<clock::rep> over{0};  // of all threads: set by the first
    std::atomic<u64> done{0};
    const double seconds = parallel<no_scope>(threads, [&](int thread) {
        clock::rep end = 0;
        const clock::rep own_end = (clock::now() + span).time_since_epoch().count();
        if (over.compare_exchange_strong(end, own_end)) {
            end = own_end;
        }
        Op mine = op;  // its address goes nowhere, so the barrier does not touch it
        std::size_t at = inputs / batch * static_cast<std::size_t>(thread) / most_threads * batch;
        u64 count = 0;
        do {
            for (std::size_t i = at; i != at + batch; ++i) {
                mine(thread, i);
                benchmark::ClobberMemory();
            }
            count += batch;
            at = at + batch == inputs ? 0 : at + batch;
        } while (clock::now().time_since_epoch().count() < end);
        done += count;
    });
    return {seconds, static_cast<double>(done)};
}

u64 whole(const sample& s) { return static_cast<u64>(s.operations); }

struct count_up {
    template <class Peer>
    sample measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        const sample s = storm(r, threads, batch, [p = it.get()](int thread, std::size_t) { p->add(thread); });
        must_be("counted", it->value(), whole(s));
        return s;
    }
};

struct up_and_down {
    template <class Peer>
    sample measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        const sample s =
            storm(r, threads, batch, [p = it.get()](int, std::size_t i) { p->change(i % 2 == 0 ? 1 : -1); });
        must_be("left in the gauge", static_cast<u64>(it->value()), 0);
        return s;
    }
};

struct record_durations {
    template <class Peer>
    sample measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>(fine);
        const auto& ns = all_inputs().ns;
        const sample s = storm(r, threads, ns.size(),
                               [p = it.get(), v = ns.data()](int thread, std::size_t i) { p->record(thread, v[i]); });
        must_be("recorded", it->count(), whole(s));
        return s;
    }
};

struct record_requests {
    template <class Peer>
    sample measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>();
        const auto& all = all_inputs().requests;
        const sample s = storm(r, threads, all.size(), [p = it.get(), v = all.data()](int, std::size_t i) {
            p->record(v[i].ns, v[i].bytes, v[i].failed);
        });
        must_be("recorded", it->count(), whole(s));
        return s;
    }
};

/// The rows of one load with so many threads: each says its name and how it is measured.
class rows {
public:
    rows(run& r, const load& l, int threads, int round) : run_(r), load_(l), threads_(threads), round_(round) {}
    ~rows() { turns_.take(round_); }
    rows(const rows&) = delete;
    rows& operator=(const rows&) = delete;

    template <class F>
    void add(const char* peer, F f) {
        turns_.add([&r = run_, l = load_, threads = threads_, round = round_, peer, f] {
            r.add(suite_name, l, threads, peer, round, [&r, threads, f] { return f(r, threads); });
        });
    }
    template <class Peer, class Job>
    void add(Job job) {
        add(Peer::id, [job](const run& r, int threads) { return job.template measure<Peer>(r, threads); });
    }

private:
    run& run_;
    const load& load_;
    int threads_;
    int round_;
    turns turns_;
};

void add_writes(run& r, int round) {
    for (const int threads : r.threads(counting)) {
        rows all(r, counting, threads, round);
        for_each_counter([&]<class Peer>() { all.add<Peer>(count_up{}); });
    }
    for (const int threads : r.threads(recording)) {
        rows all(r, recording, threads, round);
        for_each_histogram<64>([&]<class Peer>() { all.add<Peer>(record_durations{}); });
        all.add<log_linear_per_thread<64>>(record_durations{});
    }
    for (const int threads : r.threads(requests)) {
        rows all(r, requests, threads, round);
        for_each_requests([&]<class Peer>() { all.add<Peer>(record_requests{}); });
    }
    for (const int threads : r.threads(gauging)) {
        rows all(r, gauging, threads, round);
        for_each_gauge([&]<class Peer>() { all.add<Peer>(up_and_down{}); });
    }
}

/// Nanoseconds between two looks at steady_clock, with nothing between them but what the compiler may not move.
i64 nothing_timed() {
    const auto begin = clock::now();
    benchmark::ClobberMemory();
    return std::chrono::nanoseconds{clock::now() - begin}.count();
}

template <class Clock>
auto with_stopwatch(Clock c) {
    return [c](const run& r, int threads) {
        weir::histogram<> h;
        const sample s = storm(r, threads, batch, [p = &h, c](int, std::size_t) {
            const weir::stopwatch lap(*p, c);
            benchmark::ClobberMemory();
        });
        must_be("recorded", h.snapshot().count(), whole(s));
        return s;
    };
}

struct time_and_record {
    template <class Peer>
    sample measure(const run& r, int threads) const {
        const auto it = std::make_unique<Peer>(fine);
        const sample s =
            storm(r, threads, batch, [p = it.get()](int thread, std::size_t) { p->record(thread, nothing_timed()); });
        must_be("recorded", it->count(), whole(s));
        return s;
    }
};

void add_timing(run& r, int round) {
    for (const int threads : r.threads(timing)) {
        rows all(r, timing, threads, round);
        all.add(ours, with_stopwatch(std::chrono::steady_clock{}));
        all.add("weir_coarse", with_stopwatch(weir::coarse_clock{}));
        all.add<log_linear_atomic<64>>(time_and_record{});
        all.add<log_linear_mutex<64>>(time_and_record{});
#ifdef WEIR_BENCH_PROMETHEUS
        all.add<prometheus_histogram<64>>(time_and_record{});
#endif
        all.add("floor", [](const run& run_, int n) {
            return storm(run_, n, batch, [](int, std::size_t) { benchmark::DoNotOptimize(nothing_timed()); });
        });
    }
}

void add_parts(run& r, int round) {
    for (const int threads : r.threads(parts)) {
        rows all(r, parts, threads, round);
        all.add<weir_counter>(count_up{});
        all.add("weir_gauge", [](const run& run_, int n) { return up_and_down{}.measure<weir_gauge>(run_, n); });
        all.add("weir_histogram",
                [](const run& run_, int n) { return record_durations{}.measure<weir_histogram<64>>(run_, n); });
        all.add("weir_request_stats",
                [](const run& run_, int n) { return record_requests{}.measure<weir_requests>(run_, n); });
        all.add("weir_meter", [](const run& run_, int n) {
            weir::meter<> it;
            const sample s = storm(run_, n, batch, [p = &it](int, std::size_t) { p->mark(); });
            must_be("marked", it.read().count, whole(s));
            return s;
        });
        all.add("weir_windowed_counter", [](const run& run_, int n) {
            weir::windowed<weir::counter> it;
            const sample s = storm(run_, n, batch, [p = &it](int, std::size_t) { p->add(); });
            must_be("counted", it.value(), whole(s));
            return s;
        });
        all.add("weir_windowed_histogram", [](const run& run_, int n) {
            weir::windowed<weir::histogram<>> it;
            const auto& ns = all_inputs().ns;
            const sample s = storm(run_, n, ns.size(), [p = &it, v = ns.data()](int, std::size_t i) {
                p->record(std::chrono::nanoseconds{v[i]});
            });
            must_be("recorded", it.snapshot().count(), whole(s));
            return s;
        });
        all.add("floor", [](const run& run_, int n) {
            return storm(run_, n, batch, [](int, std::size_t) { benchmark::DoNotOptimize(weir::coarse_clock::now()); });
        });
    }
}

struct count_many {
    template <class Peer>
    sample measure(const run& r, int threads) const {
        const auto all = std::make_unique<Peer[]>(many_counters);
        const auto& order = all_inputs().order;
        const sample s = storm(r, threads, order.size(),
                               [p = all.get(), o = order.data()](int thread, std::size_t i) { p[o[i]].add(thread); });
        u64 sum = 0;
        for (std::size_t i = 0; i != many_counters; ++i) {
            sum += all[i].value();
        }
        must_be("counted", sum, whole(s));
        return s;
    }
};

struct alone_on_its_line : padded_atomic {
    static constexpr const char* id = "atomic_padded";
    void add(int) { it.fetch_add(1, relaxed); }
    u64 value() const { return it.load(relaxed); }
};

void add_many(run& r, int round) {
    for (const int threads : r.threads(many)) {
        rows all(r, many, threads, round);
        all.add<weir_counter>(count_many{});
        all.add<atomic_counter>(count_many{});
        all.add<alone_on_its_line>(count_many{});
        all.add<mutex_counter>(count_many{});
#ifdef WEIR_BENCH_PROMETHEUS
        all.add<prometheus_counter>(count_many{});
#endif
    }
}

// In a process of its own: what a row was measured with, one line each.

void say(const load& l, const std::string& peer, double value) {
    std::printf("%s %s %.6g\n", l.id.c_str(), peer.c_str(), value);
}

/// Takes over what a child has said; returns what it said of our row of `wanted`.
double ask_child(run& r, const std::string& argument, const load& wanted, int threads, int round) {
    std::istringstream answer(output_of_child("--measure-stats=" + argument));
    double own = std::nan("");
    std::string id;
    std::string peer;
    for (double value = 0; answer >> id >> peer >> value;) {
        r.out().add(id, threads, peer, round, value);
        own = id == wanted.id && peer == ours ? value : own;
    }
    return own;
}

/// Threads that are all alive at once; each calls write() once.
template <class Write>
void live(int threads, Write write) {
    std::atomic<int> alive{0};
    parallel<no_scope>(threads, [&](int) {
        write();
        ++alive;
        while (alive != threads) {
            std::this_thread::yield();
        }
    });
}

/// ns for one read() while a thread calls write(i) without pause.
template <class Write, class Read>
double beside_a_writer(std::chrono::milliseconds span, Write write, Read read) {
    std::atomic<bool> begun{false};
    std::atomic<bool> enough{false};
    std::thread writer([&] {
        std::size_t i = 0;
        do {
            for (std::size_t n = 0; n != 64; ++n) {
                write(i);
                benchmark::ClobberMemory();
                i = i + 1 == 4 * batch ? 0 : i + 1;
            }
            begun.store(true, relaxed);
        } while (!enough.load(relaxed));
    });
    while (!begun) {
        std::this_thread::yield();
    }
    const auto begin = clock::now();
    double reads = 0;
    do {
        for (int n = 0; n != 16; ++n) {
            benchmark::DoNotOptimize(read());
            benchmark::ClobberMemory();
        }
        reads += 16;
    } while (clock::now() - begin < span);
    const double seconds = seconds_since(begin);
    enough = true;
    writer.join();
    return seconds * 1e9 / reads;
}

/// What is read: all objects first, so that every thread that lives writes to each of them.
class read_rows {
public:
    explicit read_rows(std::chrono::milliseconds span) : span_(span) {}

    /// write(object, input), read(object)
    template <class Object, class Write, class Read>
    void add(const load& l, const char* peer, std::shared_ptr<Object> object, Write write, Read read) {
        touch_.push_back([object, write] { write(*object, std::size_t{0}); });
        rows_.push_back({&l, peer, [object, write, read, span = span_] {
                             return beside_a_writer(
                                 span, [p = object.get(), write](std::size_t i) { write(*p, i); },
                                 [p = object.get(), read] { return read(*p); });
                         }});
    }
    void measure(int lived, int round) {
        live(lived, [&] {
            for (const auto& touch : touch_) {
                touch();
            }
        });
        std::vector<double> values(rows_.size());
        for (std::size_t i = 0; i != rows_.size(); ++i) {
            const std::size_t at = (i + static_cast<std::size_t>(round)) % rows_.size();
            values[at] = rows_[at].measure();
        }
        for (std::size_t i = 0; i != rows_.size(); ++i) {
            say(*rows_[i].what, rows_[i].peer, values[i]);
        }
    }

private:
    struct row {
        const load* what;
        std::string peer;
        std::function<double()> measure;
    };
    std::chrono::milliseconds span_;
    std::vector<std::function<void()>> touch_;
    std::vector<row> rows_;
};

bool measure_reads(int lived, int round, bool smoke) {
    read_rows all(std::chrono::milliseconds{smoke ? 0 : 5});
    const auto& in = all_inputs();
    const auto adds = [](auto& c, std::size_t) { c.add(0); };
    const auto records = [v = in.ns.data()](auto& h, std::size_t i) { h.record(0, v[i]); };
    const auto requested = [v = in.requests.data()](auto& s, std::size_t i) {
        s.record(v[i].ns, v[i].bytes, v[i].failed);
    };
    const auto reading = [](const auto& x) { return x.read(); };

    for_each_counter([&]<class Peer>() { all.add(value_read, Peer::id, std::make_shared<Peer>(), adds, reading); });
    all.add(
        value_read, "weir_windowed", std::make_shared<weir::windowed<weir::counter>>(),
        [](auto& c, std::size_t) { c.add(); }, [](const auto& c) { return c.value(); });
    all.add(taken, ours, std::make_shared<weir_counter>(), adds, [](auto& c) { return c.it.take(); });
    all.add(taken, atomic_counter::id, std::make_shared<atomic_counter>(), adds,
            [](auto& c) { return c.it.exchange(0, relaxed); });
    for_each_histogram<64>(
        [&]<class Peer>() { all.add(snapshot, Peer::id, std::make_shared<Peer>(fine), records, reading); });
    all.add(
        snapshot, "weir_windowed", std::make_shared<weir::windowed<weir::histogram<>>>(),
        [v = in.ns.data()](auto& h, std::size_t i) { h.record(std::chrono::nanoseconds{v[i]}); },
        [](const auto& h) { return h.snapshot().count(); });
    for_each_histogram<256>(
        [&]<class Peer>() { all.add(large_snapshot, Peer::id, std::make_shared<Peer>(finest), records, reading); });
    for_each_requests(
        [&]<class Peer>() { all.add(requests_read, Peer::id, std::make_shared<Peer>(), requested, reading); });
    all.measure(lived, round);
    return true;
}

// A new thread's first write.

constexpr int new_threads = 12;

double median_of(std::vector<double> values) { return spread_of(std::move(values)).median; }

/// ns that write() takes, called by a thread that has just begun; it stays alive until the end of all.
class newcomers {
public:
    newcomers() = default;
    newcomers(const newcomers&) = delete;
    newcomers& operator=(const newcomers&) = delete;
    ~newcomers() {
        {
            const std::lock_guard hold(lock_);
            end_ = true;
        }
        changed_.notify_all();
        for (std::thread& t : threads_) {
            t.join();
        }
    }
    template <class Write>
    double measure(Write write) {
        std::vector<double> each;
        for (int i = 0; i != new_threads; ++i) {
            each.push_back(timed(write, true));
        }
        return median_of(std::move(each));
    }
    /// The same by threads that come one after the other; one more before has written there.
    template <class Write>
    double measure_followers(Write write) {
        timed(write, false);
        std::vector<double> each;
        for (int i = 0; i != new_threads; ++i) {
            each.push_back(timed(write, false));
        }
        return median_of(std::move(each));
    }

private:
    template <class Write>
    double timed(Write write, bool stays) {
        double ns = -1;
        std::thread t([&, write, stays] {
            benchmark::DoNotOptimize(std::make_unique<int>(0));  // malloc's own preparations are not to be measured
            const auto begin = clock::now();
            write();
            const double took = seconds_since(begin) * 1e9;
            std::unique_lock hold(lock_);
            ns = took;
            changed_.notify_all();
            if (stays) {
                changed_.wait(hold, [&] { return end_; });
            }
        });
        std::unique_lock hold(lock_);
        changed_.wait(hold, [&] { return ns >= 0; });
        hold.unlock();
        if (stays) {
            threads_.push_back(std::move(t));
        } else {
            t.join();
        }
        return ns;
    }
    std::mutex lock_;
    std::condition_variable changed_;
    bool end_ = false;
    std::vector<std::thread> threads_;
};

bool measure_firsts() {
    newcomers threads;
    const auto row = [&](const load& first, const load& next, const char* peer, auto write) {
        say(next, peer, threads.measure_followers(write));
        say(first, peer, threads.measure(write));
    };
    const auto counters = [&]<class Peer>() {
        const auto it = std::make_shared<Peer>();
        row(first_counter, next_counter, Peer::id, [it] { it->add(0); });
    };
    const auto histograms = [&]<class Peer>() {
        const auto it = std::make_shared<Peer>(fine);
        row(first_histogram, next_histogram, Peer::id, [it] { it->record(0, 100'000); });
    };
    const auto of_requests = [&]<class Peer>() {
        const auto it = std::make_shared<Peer>();
        row(first_requests, next_requests, Peer::id, [it] { it->record(100'000, 100, false); });
    };
    for_each_counter(counters);
    for_each_histogram<64>(histograms);
    for_each_requests(of_requests);
    return true;
}

// Bytes.

#ifdef WEIR_BENCH_HAS_MALLINFO2
double bytes_in_use() {
    const auto m = mallinfo2();
    return static_cast<double>(m.uordblks) + static_cast<double>(m.hblkhd);
}

/// Objects in an array: their own size, and what they have allocated; then the same when 4 threads have written.
template <class Object, class Write>
void weigh(const load& idle, const load& busy, const char* peer, std::size_t count, Write write) {
    constexpr int writers = 4;
    const auto n = static_cast<double>(count);
    const double before = bytes_in_use();
    const auto all = std::make_unique<Object[]>(count);
    const double made = bytes_in_use();
    live(writers, [&] {
        for (std::size_t i = 0; i != count; ++i) {
            write(all[i]);
        }
    });
    const double written = bytes_in_use();
    say(idle, peer, std::round((made - before) / n));
    say(busy, peer, std::round((written - before) / n));
}

template <class Peer>
struct made_fine : Peer {
    made_fine() : Peer(fine) {}
};

bool measure_sizes() {
    live(4, [] {});  // what the first threads of a process allocate for good
    for_each_counter(
        []<class Peer>() { weigh<Peer>(idle_counter, busy_counter, Peer::id, 10'000, [](Peer& c) { c.add(0); }); });
    for_each_histogram<64>([]<class Peer>() {
        weigh<made_fine<Peer>>(idle_histogram, busy_histogram, Peer::id, 500, [](Peer& h) { h.record(0, 100'000); });
    });
    for_each_requests([]<class Peer>() {
        weigh<Peer>(idle_requests, busy_requests, Peer::id, 500, [](Peer& s) { s.record(100'000, 100, false); });
    });
    return true;
}
#else
bool measure_sizes() { return true; }
#endif

void add_in_children(run& r, int round) {
    for (const int lived : value_read.threads) {
        r.add_value(suite_name, value_read, lived, ours, round, [&r, lived, round] {
            const std::string what =
                std::to_string(lived) + ',' + std::to_string(round) + (r.opt().smoke ? ",1" : ",0");
            return ask_child(r, "reads," + what, value_read, lived, round);
        });
    }
    r.add_value(suite_name, first_counter, 1, ours, round,
                [&r, round] { return ask_child(r, "firsts", first_counter, 1, round); });
}

table peers_table() {
    table t{"What each row of the statistics really does", {}, {}, {}, {}};
    const auto say_of = [&]<class Peer>() {
        if constexpr (requires { Peer::about; }) {
            t.rows.push_back({Peer::id, Peer::about});
        }
    };
    for_each_counter(say_of);
    for_each_histogram<64>(say_of);
    say_of.operator()<log_linear_per_thread<64>>();
    for_each_requests(say_of);
    return t;
}

}  // namespace
}  // namespace bench::stats

namespace bench {

suite stats_suite() {
    using namespace stats;
    const auto add = [](run& r) {
        for (const load* l : {&counting, &recording, &requests, &gauging, &timing, &parts, &many}) {
            r.declare(*l);
        }
        for (const load* l : reads) {
            r.declare(*l);
        }
        for (const load* l : firsts) {
            r.declare(*l);
        }
        for (const load* l : sizes) {
            r.declare(*l);
        }
        r.stop_after(run::part_of(suite_name, false), 1);
        for (int round = 0; round != r.rounds(); ++round) {
            add_writes(r, round);
            add_timing(r, round);
            add_parts(r, round);
            add_many(r, round);
            add_in_children(r, round);
        }
#ifdef WEIR_BENCH_HAS_MALLINFO2
        r.add_value(suite_name, idle_counter, 1, ours, 0, [&r] { return ask_child(r, "sizes", idle_counter, 1, 0); });
#endif
    };
    const auto tables = [](const run& r) {
        std::vector<table> all = tables_of(r.out());
        if (!all.empty()) {
            all.push_back(peers_table());
            table dead{"Dead ends of the statistics", "What looked good and was rejected.", {}, {}, {}};
            for (const auto& [idea, verdict] : dead_ends) {
                dead.rows.push_back({idea, verdict});
            }
            all.push_back(std::move(dead));
        }
        return all;
    };
    return {suite_name, add, tables, summary_of, overview_of, "statistics"};
}

bool measure_stats(const std::string& what) {
    int lived = 0;
    int round = 0;
    int smoke = 0;
    if (std::sscanf(what.c_str(), "reads,%d,%d,%d", &lived, &round, &smoke) == 3) {
        return stats::measure_reads(lived, round, smoke != 0);
    }
    if (what == "firsts") {
        return stats::measure_firsts();
    }
    return what == "sizes" && stats::measure_sizes();
}

}  // namespace bench
