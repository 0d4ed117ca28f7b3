// weir (BSL-1.0). map_kernel: what its scenes and callers do. Apart, so that it is compiled once for each form of the map.
#include "map_kernel.hpp"

#include "support/map_calls.hpp"

#include <algorithm>
#include <cstring>
#include <sstream>

namespace weir_model {
inline namespace WEIR_MAP_STORAGE {

caller::action& caller::record(action a) {
    require(count_ < most_calls, "the kernel makes more calls than a caller records");
    timed* at = nullptr;
    {
        const outside here;
        at = ::new (static_cast<void*>(memory_ + count_ * sizeof(timed))) timed{stamp(now()), 0, thread_, a};
        open_ = true;
    }
    const bool timed_exactly = still_ == 0;  // else time says nothing, and the search need not try each order of calls
    if (timed_exactly) {
        begin_interval();
    }
    bool made = true;
    try {
        weir_test::make_call(*map_, at->action);
    } catch (std::bad_alloc const&) {
        made = false;
        at->action.yes = false;
        at->action.seen.reset();
    }
    const interval took = timed_exactly ? end_interval() : interval{};
    open_ = false;
    if (made) {
        const outside here;
        at->called = stamp(took.first);
        at->returned = stamp(took.last);
        ++count_;
    }
    return at->action;
}

void caller::saw(number key, std::optional<number> value) {
    const outside here;
    ::new (static_cast<void*>(memory_ + count_ * sizeof(timed)))
        timed{stamp(now()), stamp(now()), thread_, {.call = call::find, .key = key, .seen = value}};
    ++count_;
}

map_scene::map_scene(precedence order, weir::hazard_pointer_mode mode) : order_(order) {
    weir::hazard_pointer_default_domain().reset(mode);
    map_ = new kernel_map({.capacity = 0, .seed = key_places::seed});
    for (std::uint32_t i = 0; i < callers_.size(); ++i) {
        callers_[i].map_ = map_;
        callers_[i].thread_ = i;
        callers_[i].part_ = i == 0 ? 0 : i + 1 < callers_.size() ? 1 : 2;
    }
}

map_scene::~map_scene() {
    if (all_ended_) {
        delete map_;
        weir::hazard_pointer_default_domain().reset(weir::hazard_pointer_mode::seq_cst);
    }
}

void map_scene::has_a_full_bucket(unsigned sixteenth) {
    for (unsigned n = 8; n < 8 + slots; ++n) {
        before().insert(key_at(sixteenth, n), 72 + n);
    }
}

void map_scene::has_begun_to_grow() {
    with_allocations(1, [&] { map().reserve(need_8_buckets); });  // not of the first piece of the new table
}

void map_scene::has_only_one_bucket_left_to_move() {
    has_begun_to_grow();
    for (int i = 0; i < 3; ++i) {
        before().erase(key_at(4, 15));  // not there: in the second bucket
    }
}

void map_scene::has_eight_buckets() {
    map().reserve(need_8_buckets);
    with_allocations(0, [&] { map().shrink_to_fit(); });  // lowers the floor, and does no more
}

void map_scene::has_begun_to_shrink() {
    with_allocations(1, [&] { map().shrink_to_fit(); });
}

void map_scene::has_only_two_buckets_left_to_move() {
    has_begun_to_shrink();
    with_allocations(0, [&] { map().shrink_to_fit(); });  // each time one bucket is chosen to be moved: now both have been
    for (int i = 0; i < 6; ++i) {
        before().erase(key_at(15, 15));  // not there: in the last bucket
    }
}

void map_scene::judge() {
    look_at_all();
    const char* wrong = nullptr;
    {
        const outside here;
        wrong = unexplained();
    }
    if (wrong != nullptr) {
        require(false, wrong);
    }
}

bool map_scene::play(script one, script two, script three) {
    stop_the_clock();
    // On the heap: a frozen thread has read it, and no later frame of this thread may be taken for a race with that.
    const int threads = two == nullptr ? 1 : three == nullptr ? 2 : 3;
    std::unique_ptr<std::array<part, 3>> parts(new std::array<part, 3>{
        part{std::move(one), callers_[1]}, part{std::move(two), callers_[2]}, part{std::move(three), callers_[3]}});
    auto& [first, second, third] = *parts;
    all_ended_ = threads == 1   ? together(first)
                 : threads == 2 ? together(first, second)
                                : together(first, second, third);
    if (!all_ended_) {
        static_cast<void>(parts.release());
    }
    return all_ended_;
}

bool map_scene::play_in_turn(script first, script const& second) {
    const auto* const kept = new part{std::move(first), callers_[1]};  // see above
    thread one([kept] { (*kept)(); });
    all_ended_ = one.join();
    if (all_ended_) {
        delete kept;
    }
    second(callers_[2]);
    return all_ended_;
}

void map_scene::stop_the_clock() {
    if (order_ == precedence::causal) {
        const std::uint64_t begun = now();
        for (std::size_t i = 1; i + 1 < callers_.size(); ++i) {
            callers_[i].still_ = begun;
        }
    }
}

void map_scene::look_at_all() {
    std::array<std::pair<std::uint64_t, std::uint64_t>, 32> there{};
    std::size_t count = 0;
    bool whole = true;
    try {
        map_->for_each([&](std::uint64_t key, std::uint64_t value) {
            require(count < there.size(), "the kernel stores more entries than can be looked at");
            for (std::size_t i = 0; i < count; ++i) {
                require(there[i].first != key, "a key is in the map twice");
            }
            there[count++] = {key, value};
        });
    } catch (std::bad_alloc const&) {
        whole = false;
    }
    require(!all_ended_ || !whole || map_->size() == count, "size() is the number of entries, when all is at rest");
    std::array<std::uint64_t, 32> keys{};
    const auto [all, asked] = mentioned(keys);
    for (std::size_t i = 0; whole && i < all; ++i) {
        std::optional<std::uint64_t> value;
        for (std::size_t j = 0; j < count; ++j) {
            if (there[j].first == keys[i]) {
                value = there[j].second;
            }
        }
        after().saw(keys[i], value);
    }
    for (std::size_t i = 0; i < asked; ++i) {
        after().find(keys[i]);
    }
}

std::pair<std::size_t, std::size_t> map_scene::mentioned(std::array<std::uint64_t, 32>& keys) const {
    const outside here;
    std::size_t count = 0;
    const auto take = [&](caller const& from) {
        for (std::size_t i = 0; i < from.count_ + (from.open_ ? 1U : 0U); ++i) {
            const std::uint64_t key = from[i].action.key;
            bool known = false;
            for (std::size_t j = 0; j < count; ++j) {
                known = known || keys[j] == key;
            }
            if (!known && count < keys.size()) {
                keys[count++] = key;
            }
        }
    };
    for (std::size_t i = 1; i + 1 < callers_.size(); ++i) {
        take(callers_[i]);
    }
    const std::size_t asked = count;
    take(callers_.front());
    return {count, asked};
}

const char* map_scene::unexplained() const {
    std::vector<timed> calls;
    timed const* open = nullptr;
    for (caller const& c : callers_) {
        for (std::size_t i = 0; i < c.count_; ++i) {
            calls.push_back(c[i]);
        }
        if (c.open_) {
            open = &c[c.count_];
        }
    }
    static char text[4096];
    std::string first;
    if (fits(calls, first)) {
        return nullptr;
    }
    if (open != nullptr) {  // a frozen thread is inside this call, which may have had its effect, and any answer
        std::vector<std::optional<std::uint64_t>> seen{std::nullopt, open->action.value};
        for (timed const& c : calls) {
            if (c.action.key == open->action.key && c.action.value != 0) {
                seen.push_back(c.action.value);
            }
        }
        for (auto const& s : seen) {
            for (const bool yes : {false, true}) {
                auto with = calls;
                with.push_back(*open);
                with.back().returned = any_time;
                with.back().action.seen = s;
                with.back().action.yes = yes;
                std::string ignored;
                if (fits(with, ignored)) {
                    return nullptr;
                }
            }
        }
    }
    std::memcpy(text, first.c_str(), std::min(first.size() + 1, sizeof text - 1));
    return text;
}

bool map_scene::fits(std::vector<timed> const& calls, std::string& why_not) {
    const auto judged = weir_test::judge_each_key(calls, weir_test::map_entry{}, [](action const& a) { return a.key; });
    if (judged.found.is == weir_test::verdict::linearizable) {
        return true;
    }
    std::ostringstream text;
    text << judged;
    why_not = text.str();
    return false;
}

void run_scene(void (*body)(map_scene&), precedence order, weir::hazard_pointer_mode mode) {
    map_scene scene(order, mode);
    body(scene);
    scene.judge();
}

void run_scene_out_of_memory(void (*body)(map_scene&)) {
    try {
        run_scene(body, precedence::in_time, weir::hazard_pointer_mode::seq_cst);
    } catch (std::bad_alloc const&) {
    }
}

/// The same bounds where time orders the calls.
[[nodiscard]] static options without_stale_reads(options with) {
    with.stale_reads = 0;
    return with;
}

[[nodiscard]] static std::function<void()> scene_of(map_scene_body body, precedence order, weir::hazard_pointer_mode mode) {
    return [=] { run_scene(body, order, mode); };
}
bool add_map_kernel(char const* suite, char const* name, map_scene_body body, char const* file, int line,
                           options const& with) {
    constexpr auto mode = weir::hazard_pointer_mode::seq_cst;
    add_kernel(suite, name, scene_of(body, precedence::causal, mode), file, line, with);
    add_exploration(suite, std::string(name) + "_in_time", scene_of(body, precedence::in_time, mode),
                    without_stale_reads(with), file, line);
    return true;
}
bool add_map_kernel_in_both_modes(char const* suite, char const* name, map_scene_body body, char const* file, int line,
                                         options const& with) {
    add_kernel(suite, std::string(name) + "_behind_a_barrier",
               scene_of(body, precedence::causal, weir::hazard_pointer_mode::membarrier), file, line, with);
    return add_map_kernel(suite, name, body, file, line, with);
}
bool add_map_kernel_in_time(char const* suite, char const* name, map_scene_body body, char const* file, int line,
                                   options const& with) {
    return add_kernel(suite, name, scene_of(body, precedence::in_time, weir::hazard_pointer_mode::seq_cst), file, line, with);
}
bool add_map_kernel_out_of_memory(char const* suite, char const* name, map_scene_body body, char const* file, int line,
                                         options const& with) {
    return add_kernel(suite, name, [body] { run_scene_out_of_memory(body); }, file, line, with);
}

}  // namespace WEIR_MAP_STORAGE
}  // namespace weir_model
