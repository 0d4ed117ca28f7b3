// weir (BSL-1.0). search: which of the possible executions are run, one after the other.
#include "search.hpp"

#include "arena.hpp"
#include "scheduler.hpp"
#include "trace.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

namespace weir_model::engine {
namespace {

/// A choice that was made.
struct point {
    bool of_thread;
    std::uint8_t chosen;
    std::uint8_t count;  // the ways that there are; of a thread: the usual one
    std::uint8_t ready;  // of a thread: a mask of those to try
    std::uint8_t done;   // of a thread: a mask of those that were tried
    std::uint32_t number;  // of all choices of its kind in this execution
};

options with;
report result;
std::vector<point> points;  // of this execution, as far as they were made; before that of the one it repeats
std::size_t position;
std::map<std::uint32_t, int> replayed_threads, replayed_ways;  // by number: what differs from the usual
bool replaying, learning;
std::uint32_t thread_choices, way_choices;  // of this execution
std::uint64_t random_state;
int preemptions, stale_reads, spurious, timeouts, failures, freezes;  // left in this execution
std::uint64_t longest = 100;          // steps of an execution, for pct
std::uint64_t change_points[16];      // pct
int priorities[max_threads];          // pct

// The state so far, and what each step was.
std::uint64_t state;
std::vector<std::uint64_t> past;  // by number: which thread's step it was, and its how manieth
std::uint32_t own_steps[max_threads];
std::uint32_t asked[max_threads];  // how often a thread was asked whether something seldom happens
struct touched {
    std::uint64_t last_write = 0;
    std::uint64_t since = 0;  // of the accesses since then, whatever their order
};
std::map<std::uintptr_t, touched> touched_objects;
std::uint64_t returned;  // the calls that have returned

// What is shared: open addressing by address.
constexpr std::size_t sharing_slots = 1U << 15;
struct sharing {
    std::uintptr_t object;
    int owner;  // max_threads: more than one
};
std::vector<sharing> sharings(sharing_slots);
std::size_t sharing_count;
bool learned_more;

constexpr std::uint64_t enough_lessons = 4;  // in a row that taught nothing

// Threads that sleep, and what each of them would do.
unsigned asleep;
struct pending {
    std::uintptr_t object = several_objects;
    bool only_reads = false;
} pendings[max_threads];

// States that were reached, with what was left then.
struct reached {
    std::uint64_t state;  // 0: none
    std::int32_t preemptions;
    std::int16_t stale_reads;
    std::uint16_t asleep;
};
std::vector<reached> states;
std::size_t state_count;
constexpr std::size_t most_states = 1U << 24;  // 256 MiB of memory; beyond that nothing is left out any more

// Sites: open addressing by return address and kind.
constexpr std::size_t site_slots = 1U << 13;
site sites[site_slots];
std::size_t site_count;

std::uint64_t random_number() noexcept {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

[[nodiscard]] bool exhaustive() noexcept { return with.how == strategy::exhaustive; }

[[noreturn]] void not_deterministic() {
    fail("the body is not deterministic: it does not repeat what it did after the same choices");
}

// The finalizer of SplitMix64 on one number, then on its sum with the other: not symmetric.
[[nodiscard]] constexpr std::uint64_t scrambled(std::uint64_t z) noexcept {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ z >> 27) * 0x94D049BB133111EBULL;
    return z ^ z >> 31;
}
[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t a, std::uint64_t b) noexcept {
    return scrambled(scrambled(a + 0x9E3779B97F4A7C15ULL) + b);
}

[[nodiscard]] sharing& sharing_of(std::uintptr_t object) noexcept {
    for (std::size_t at = mixed(object, 0);; ++at) {
        sharing& s = sharings[at % sharing_slots];
        if (s.object == object || s.object == 0) {
            return s;
        }
    }
}

void grow_states() {
    std::vector<reached> before = std::exchange(states, std::vector<reached>(std::max<std::size_t>(1U << 12, 2 * states.size())));
    for (reached const& r : before) {
        if (r.state != 0) {
            std::size_t at = r.state;
            while (states[at % states.size()].state != 0) {
                ++at;
            }
            states[at % states.size()] = r;
        }
    }
}

/// Where this state is, or would be.
reached& find_state(std::uint64_t key) {
    for (std::size_t at = key;; ++at) {
        reached& r = states[at % states.size()];
        if (r.state == key || r.state == 0) {
            return r;
        }
    }
}

/// Whether the present state was reached before with as much left. If not, it is now. `current`: as in choose_thread. From a
/// state in which another thread was running, going on with this one would cost a preemption.
bool reached_before(int current) {
    const std::uint64_t now = mixed(state, state_of_threads());
    const auto key = [now](int running_there) { return mixed(now, static_cast<std::uint64_t>(running_there + 1)) | 1U; };
    if (state_count * 2 >= states.size()) {
        grow_states();
    }
    const bool bounded = with.preemptions < options::unbounded;
    for (int other = bounded ? -1 : current; other < (bounded ? thread_count() : current + 1); ++other) {
        reached const& r = find_state(key(bounded ? other : -1));
        const int left = r.preemptions - (other == current || other < 0 ? 0 : 1);
        if (r.state != 0 && r.stale_reads >= stale_reads && (r.asleep & ~asleep) == 0 && (!bounded || left >= preemptions)) {
            return true;
        }
    }
    reached& here = find_state(key(bounded ? current : -1));
    if (here.state != 0 || state_count < most_states) {
        state_count += here.state == 0 ? 1 : 0;
        here = {key(bounded ? current : -1), preemptions, static_cast<std::int16_t>(std::min(stale_reads, 30'000)),
                static_cast<std::uint16_t>(asleep)};
    }
    return false;
}

[[noreturn]] void give_up_known() {
    ++result.known;
    end_execution();
}

int new_point(point p) {
    if (points.size() > 1U << 16) {
        cut_execution();
    }
    points.push_back(p);
    position = points.size();
    return p.chosen;
}

[[nodiscard]] int replayed_of(std::map<std::uint32_t, int> const& kind, std::uint32_t number, int usual) {
    const auto there = kind.find(number);
    return there == kind.end() ? usual : there->second;
}

/// A choice of one of `count` that is not of a thread; `usual` picks in random searches.
template <class Usual>
int decide(int count, Usual usual) {
    if (count <= 1) {
        return 0;
    }
    const std::uint32_t number = ++way_choices;
    if (position < points.size()) {
        point const& p = points[position++];
        if (p.of_thread || p.count != count) {
            not_deterministic();
        }
        return p.chosen;
    }
    int way = 0;
    if (replaying) {
        way = std::min(replayed_of(replayed_ways, number, 0), count - 1);
    } else if (!exhaustive() || learning) {
        way = usual();
    }
    return new_point({false, static_cast<std::uint8_t>(way), static_cast<std::uint8_t>(count), 0, 0, number});
}

bool seldom(int& left) {
    if (left <= 0) {
        return false;
    }
    const bool yes = decide(2, [] { return random_number() % 16 == 0 ? 1 : 0; }) == 1;
    ++asked[running()];
    if (yes) {
        --left;
        state += mixed(asked[running()], static_cast<std::uint64_t>(running()) + 1000);
    }
    return yes;
}

int by_priority(unsigned ready) {
    int best = std::countr_zero(ready);
    for (unsigned rest = ready; rest != 0; rest &= rest - 1) {
        const int t = std::countr_zero(rest);
        best = priorities[t] > priorities[best] ? t : best;
    }
    return best;
}

int any_of(unsigned ready, unsigned avoided) {
    const unsigned from = (ready & ~avoided) != 0 && random_number() % 8 != 0 ? ready & ~avoided : ready;
    unsigned rest = from;
    for (auto skip = random_number() % static_cast<unsigned>(std::popcount(from)); skip != 0; --skip) {
        rest &= rest - 1;
    }
    return std::countr_zero(rest);
}

void begin_execution() {
    position = 0;
    preemptions = with.preemptions;
    stale_reads = with.stale_reads;
    spurious = with.spurious_failures;
    timeouts = with.timeouts;
    failures = with.allocation_failures;
    freezes = with.freezes;
    thread_choices = way_choices = 0;
    state = 1;
    past.assign(1, 0);
    std::fill(std::begin(own_steps), std::end(own_steps), 0U);
    std::fill(std::begin(asked), std::end(asked), 0U);
    touched_objects.clear();
    returned = 0;
    asleep = 0;
    if (!exhaustive() || replaying || learning) {
        points.clear();
    }
    for (auto& p : priorities) {
        p = 100 + static_cast<int>(random_number() % 1000);
    }
    for (auto& c : change_points) {
        c = 1 + random_number() % longest;
    }
}

/// Goes to the next execution of a depth-first search; false: there is none.
bool next_execution() {
    points.resize(std::min(points.size(), position));
    for (; !points.empty(); points.pop_back()) {
        point& p = points.back();
        if (!p.of_thread) {
            if (p.chosen + 1 < p.count) {
                ++p.chosen;
                return true;
            }
            continue;
        }
        p.done = static_cast<std::uint8_t>(p.done | 1U << p.chosen);
        if (const unsigned left = p.ready & ~static_cast<unsigned>(p.done)) {
            p.chosen = static_cast<std::uint8_t>(std::countr_zero(left));
            return true;
        }
    }
    return false;
}

// Thread choices as t<number>=<thread>, others as c<number>=<way>, where they are not the usual ones.
std::string choices_as_text() {
    std::ostringstream text;
    text << '.';
    for (std::size_t i = 0; i < position; ++i) {
        point const& p = points[i];
        if (p.of_thread ? p.chosen != p.count : p.chosen != 0) {
            text << (p.of_thread ? 't' : 'c') << p.number << '=' << static_cast<unsigned>(p.chosen) << '.';
        }
    }
    return text.str();
}

void read_choices(std::string const& text) {
    replayed_threads.clear();
    replayed_ways.clear();
    std::istringstream in(text);
    for (std::string choice; std::getline(in, choice, '.');) {
        if (const auto equals = choice.find('='); equals != std::string::npos) {
            auto& kind = choice[0] == 't' ? replayed_threads : replayed_ways;
            kind[static_cast<std::uint32_t>(std::strtoul(choice.c_str() + 1, nullptr, 10))] = std::atoi(choice.c_str() + equals + 1);
        }
    }
}

void forget_states() {
    states.clear();
    state_count = 0;
    points.clear();
    position = 0;
}

}  // namespace

options const& chosen() noexcept { return with; }

int choose(int count) {
    return decide(count, [count] { return static_cast<int>(random_number() % static_cast<unsigned>(count)); });
}

bool choose_allocation_failure() { return seldom(failures); }
bool choose_freeze() { return seldom(freezes); }
bool choose_spurious_failure() { return seldom(spurious); }
bool freezing_left() noexcept { return freezes > 0; }
bool timeouts_left() noexcept { return timeouts > 0; }

int choose_store(location& at, int count) {
    std::uint8_t& in_a_row = at.stale_reads[running()];
    if (count <= 1 || stale_reads <= 0 || in_a_row >= 2) {  // a store becomes visible at last
        in_a_row = 0;
        return 0;
    }
    if (exhaustive() && with.reduce && !learning && !replaying && position == points.size() && reached_before(running())) {
        give_up_known();
    }
    const int age = decide(count, [count] {
        return random_number() % 2 == 0 ? 0 : static_cast<int>(random_number() % static_cast<unsigned>(count));
    });
    if (age != 0) {
        --stale_reads;
        ++in_a_row;
    } else {
        in_a_row = 0;
    }
    return age;
}

int choose_thread(unsigned ready, unsigned late, int current, unsigned avoided, std::uintptr_t object) {
    const std::uint32_t number = ++thread_choices;
    const bool reduces = exhaustive() && with.reduce && !learning && !replaying;
    if (exhaustive() && current >= 0 && !replaying && (preemptions <= 0 || (reduces && !is_shared(object)))) {
        return current;
    }
    if (reduces && (ready &= ~asleep) == 0) {
        give_up_known();
    }
    if (std::has_single_bit(ready)) {
        return std::countr_zero(ready);
    }
    const int usual = current >= 0 ? current
                                   : std::countr_zero((ready & ~avoided) != 0 ? ready & ~avoided
                                                      : (ready & ~late) != 0  ? ready & ~late
                                                                              : ready);
    int next = usual;
    if (position < points.size()) {
        point const& p = points[position++];
        if (!p.of_thread || p.ready != ready) {
            not_deterministic();
        }
        next = p.chosen;
    } else {
        if (replaying) {
            next = replayed_of(replayed_threads, number, usual);
            next = (ready >> next & 1) != 0 ? next : usual;
        } else if (learning) {
            next = random_number() % 4 == 0 ? any_of(ready, avoided) : usual;
        } else if (with.how == strategy::random) {
            next = any_of(ready, avoided);
        } else if (with.how == strategy::pct) {
            const unsigned often = (ready & ~avoided) != 0 && random_number() % 8 != 0 ? ready & ~avoided : ready;
            next = by_priority(often);
            for (int i = 0; i + 1 < with.pct_depth && i < 16; ++i) {
                if (change_points[i] == current_step()) {
                    priorities[next] = i + 1;
                    next = by_priority(often);
                }
            }
        } else if (reduces && reached_before(current)) {
            give_up_known();
        }
        new_point({true, static_cast<std::uint8_t>(next), static_cast<std::uint8_t>(usual), static_cast<std::uint8_t>(ready), 0, number});
    }
    if (reduces) {
        const unsigned tried = points[position - 1].done;
        asleep |= tried & (with.preemptions >= options::unbounded ? ~0U : current >= 0 && next != current ? 1U << current : 0U);
        asleep &= ~(1U << next);
    }
    preemptions -= current >= 0 && next != current ? 1 : 0;
    timeouts -= (late >> next & 1) != 0 ? 1 : 0;
    return next;
}

void note_pending(int thread, std::uintptr_t object, bool only_reads) noexcept { pendings[thread] = {object, only_reads}; }
void wake_sleepers(std::uintptr_t object, bool only_reads) noexcept {
    for (unsigned rest = asleep; rest != 0; rest &= rest - 1) {
        const int t = std::countr_zero(rest);
        pending const& p = pendings[t];
        if (p.object < 8 || (object < 8 && object != nothing_shared) || (p.object == object && !(p.only_reads && only_reads))) {
            asleep &= ~(1U << t);
        }
    }
}

void wake_for_the_blocked() noexcept {
    if (with.preemptions < options::unbounded) {
        asleep = 0;
    }
}

void state_step(int thread, std::uint32_t number) {
    past.resize(number + 1U);
    past[number] = mixed(static_cast<std::uint64_t>(thread) + 1, ++own_steps[thread]);
    state += past[number];
}
// Commutative, so that the order of steps which do not depend on each other leaves no mark.
void state_reads(std::uint32_t from) { state += mixed(past.back(), past[from] + 1); }
void state_writes(std::uint32_t over) { state += mixed(past.back(), ~past[over]); }
void state_touches(std::uintptr_t object, bool writes) {
    touched& t = touched_objects[object];
    const std::uint64_t me = past.back();
    state += mixed(mixed(me, object), writes ? mixed(t.last_write, t.since) : t.last_write);
    if (writes) {
        t = {me, 0};
    } else {
        t.since += mixed(me, 3);
    }
}
void state_decides(int thread) { state += mixed(past.back(), static_cast<std::uint64_t>(thread) + 77); }

void state_calls() { state += mixed(past.back(), returned + 5); }
void state_returns() { returned += mixed(past.back(), 6); }

bool is_shared(std::uintptr_t object) noexcept {
    if (object < 8) {
        return object != nothing_shared;
    }
    return sharing_of(object).owner == max_threads;
}
void note_toucher(std::uintptr_t object, int thread) {
    if (object < 8) {
        return;
    }
    if (sharing_count > sharing_slots / 2) {
        fail("the engine has no room for more shared objects");  // taking them for private would hide executions
    }
    sharing& s = sharing_of(object);
    if (s.object == 0) {
        s = {object, thread};
        ++sharing_count;
    } else if (s.owner != thread && s.owner != max_threads) {
        s.owner = max_threads;
        learned_more = true;
    }
}

int order_at(std::uintptr_t pc, char kind, int order) {
    present_pc = pc;
    for (std::size_t at = (pc * 0x9E3779B97F4A7C15ULL ^ static_cast<unsigned char>(kind)) >> 51;; at = (at + 1) % site_slots) {
        site& s = sites[at % site_slots];
        if (s.pc == pc && s.kind == kind) {
            break;
        }
        if (s.pc == 0) {
            if (++site_count > site_slots / 2) {
                fail("the engine has no room for more sites");
            }
            s = {pc, kind, order};
            result.sites.push_back(s);
            break;
        }
    }
    mutation const& m = with.mutant;
    return m.kind == kind && std::find(m.sites.begin(), m.sites.end(), pc) != m.sites.end() ? m.order : order;
}

void failed(std::string message) {
    if (!result.failed) {
        result.failed = true;
        result.message = std::move(message);
        result.replay = choices_as_text();
    }
}
void note_observed(std::string const& outcome) {
    if (!learning) {  // or a mistake of the reduction might not show
        result.outcomes.insert(outcome);
    }
}
void note_count(std::uint64_t steps) { result.most_steps = std::max(result.most_steps, steps); }
void cut_execution() {
    ++result.cut;
    end_execution();
}

}  // namespace weir_model::engine

namespace weir_model {

using namespace engine;

report explore(std::function<void()> const& body, options const& limits) {
    const auto begin = std::chrono::steady_clock::now();
    const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
    with = limits;
    result = {};
    points.clear();
    std::memset(static_cast<void*>(sites), 0, sizeof sites);
    site_count = 0;
    random_state = with.seed * 0x9E3779B97F4A7C15ULL | 1U;
    replaying = !with.replay.empty();
    if (replaying) {
        read_choices(with.replay);
    }
    trace_begin(replaying);
    forget_states();
    std::fill(sharings.begin(), sharings.end(), sharing{});
    sharing_count = 0;
    std::uint64_t lessons = with.reduce && exhaustive() && !replaying ? enough_lessons : 0;
    for (bool more = true; more;) {
        learning = lessons != 0;
        lessons -= learning ? 1 : 0;
        learned_more = false;
        begin_execution();
        run_execution(body);
        ++(learning ? result.lessons : result.executions);
        result.steps += current_step();
        longest = current_step() + 1U;
        result.most_live_bytes = std::max(result.most_live_bytes, most_live_bytes());
        if (result.failed || replaying) {
            break;
        }
        if (learning || (learned_more && with.reduce)) {
            lessons = learning && learned_more ? enough_lessons : lessons;
            forget_states();
        } else if (exhaustive()) {
            more = next_execution();
            result.complete = !more && result.cut == 0;
        }
        more = more && result.executions < with.max_executions && ((result.executions & 63U) != 0 || seconds() < with.max_seconds);
    }
    result.seconds = seconds();
    if (result.failed && !replaying && with.mutant.kind == 0) {
        report first = std::move(result);
        result = {};
        replaying = true;
        learning = false;
        read_choices(first.replay);
        trace_begin(true);
        begin_execution();
        run_execution(body);
        first.trace = trace_text();
        if (result.message != first.message) {
            first.trace += "  (when repeated, this execution ended otherwise: " + (result.failed ? result.message : "it passed") + ")\n";
        }
        result = std::move(first);
    } else if (replaying) {
        result.trace = trace_text();
    }
    trace_begin(false);
    return std::move(result);
}

std::string to_string(report const& r) {
    std::ostringstream text;
    text << (r.failed ? "FAILED" : r.complete ? "passed, complete" : "passed, not complete") << ": " << r.executions
         << " executions (" << r.known << " of them met a known state, " << r.cut << " were cut), " << r.steps << " steps, " << r.seconds << " s";
    if (!r.message.empty()) {
        text << "\n  " << r.message << "\n  replay: " << r.replay << '\n' << r.trace;
    }
    return text.str();
}

void require(bool good, char const* what) {
    if (!good) {
        inside = false;
        fail("%s", what);
    }
}
void observe(std::string const& outcome) {
    const entry e;
    note_observed(std::string(outcome.c_str()));
}
std::uint64_t now() { return current_step(); }
void begin_interval() { engine::begin_interval(); }
interval end_interval() {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    engine::end_interval(first, last);
    return {first, last};
}
std::uint64_t steps() { return steps_of_running(); }
std::uint64_t count_steps(std::function<void()> const& call) {
    const std::uint64_t before = steps_of_running();
    call();
    const std::uint64_t taken = steps_of_running() - before;
    const entry e;
    note_count(taken);
    return taken;
}

outside::outside() : before_(inside) { inside = false; }
outside::~outside() { inside = before_; }

}  // namespace weir_model
