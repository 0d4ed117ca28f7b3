// weir (BSL-1.0). Kernels of data/dedup_cache.hpp: of those who mark a key at once one is the first.
#include <weir/data/dedup_cache.hpp>

#include "kernels.hpp"
#include "linearizability/dedup_history.hpp"
#include "linearizability/linearizability.hpp"
#include "mutation.hpp"
#include "stats_kernel.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

// Who kills what:
//
//   edge           site                       weakened   killed by
//   dedup_set E1   unlock with a time; begin  rel; acq   what_is_over_is_not_seen_again
//   dedup_set E1   unlock; begin              release    who_only_looked_hands_on_what_was_marked_before
//   dedup_set E1   lock                       acquire    a_new_key_has_one_first
//   dedup_set E2   a mark: set; read          rel; acq   no_key_has_the_fingerprint_of_another, a_key_that_moves_is_not_missed
//   dedup_set E2   words of a key: set; read  rel; acq   no_key_is_made_of_two

namespace weir_model {
namespace {

using weir::dedup_answer;
using weir::detail::dedup_moment;
using weir::detail::dedup_rules;
using weir::detail::dedup_sets;

using namespace std::chrono_literals;

int as_int(bool b) { return b ? 1 : 0; }

/// One set of `places` places, in which keys stay for 5 ms. A key is its hash, which is its fingerprint too.
template <std::size_t KeyWords = 0>
struct small_set {
    using sets = dedup_sets<KeyWords>;
    using key = typename sets::key;

    sets marks;
    explicit small_set(std::size_t places, bool evict = true, bool sliding = false)
        : marks(dedup_rules{places, 5, sliding, evict}) {}

    static dedup_moment at(std::int64_t ms) { return dedup_moment::at(ms * 1'000'000); }
    /// `ms` is what the clock said, and `late` what it says if asked again.
    dedup_answer mark(key const& k, std::int64_t ms, std::int64_t late) {
        return marks.mark(k, at(ms), [late] { return at(late); }).answer;
    }
    dedup_answer mark(key const& k, std::int64_t ms) { return mark(k, ms, ms); }
    bool seen(key const& k, std::int64_t ms) const { return marks.seen(k, at(ms)); }
    std::size_t clean(std::int64_t ms) {
        return marks.clean(1, [ms] { return at(ms); });
    }
};
using keyless = small_set<>;

WEIR_MODEL_KERNEL(dedup_set, a_new_key_has_one_first, {.preemptions = 3}) {
    keyless s(2);
    int n[2] = {};
    together([&] { n[0] = as_int(s.mark({7, {}}, 0) == dedup_answer::fresh); },
             [&] { n[1] = as_int(s.mark({7, {}}, 0) == dedup_answer::fresh); });
    WEIR_MODEL_REQUIRE(n[0] + n[1] == 1);
    WEIR_MODEL_REQUIRE(s.seen({7, {}}, 0) && s.marks.live(keyless::at(0)) == 1);
}

WEIR_MODEL_KERNEL(dedup_set, of_three_who_mark_a_new_key_one_is_the_first, {.preemptions = 1, .stale_reads = 1}) {
    keyless s(2);
    int n[3] = {};
    const auto mark = [&](int& won) { won = as_int(s.mark({7, {}}, 0) == dedup_answer::fresh); };
    together([&] { mark(n[0]); }, [&] { mark(n[1]); }, [&] { mark(n[2]); });
    WEIR_MODEL_REQUIRE(n[0] + n[1] + n[2] == 1);
}

WEIR_MODEL_KERNEL(dedup_set, a_key_whose_time_is_over_has_one_first, {.preemptions = 3}) {
    keyless s(2);
    WEIR_MODEL_REQUIRE(s.mark({7, {}}, 0) == dedup_answer::fresh);
    int n[2] = {};
    together([&] { n[0] = as_int(s.mark({7, {}}, 5) == dedup_answer::fresh); },
             [&] { n[1] = as_int(s.mark({7, {}}, 6) == dedup_answer::fresh); });
    WEIR_MODEL_REQUIRE(n[0] + n[1] == 1);
}

// One comes before the time is over and the other after: then the first is no winner, however late it gets its turn.
WEIR_MODEL_KERNEL(dedup_set, who_looked_at_the_clock_long_ago_is_not_the_first, {.preemptions = 3}) {
    keyless s(2);
    WEIR_MODEL_REQUIRE(s.mark({7, {}}, 0) == dedup_answer::fresh);
    together([&] { WEIR_MODEL_REQUIRE(s.mark({7, {}}, 4, 5) == dedup_answer::duplicate); },
             [&] { WEIR_MODEL_REQUIRE(s.mark({7, {}}, 5) == dedup_answer::fresh); });
    WEIR_MODEL_REQUIRE(s.seen({7, {}}, 9) && !s.seen({7, {}}, 10));
}

// Nor is it taken for a clock that was set back, which would make all marks end sooner.
WEIR_MODEL_KERNEL(dedup_set, who_looked_at_the_clock_long_ago_makes_no_mark_end_sooner, {.preemptions = 3}) {
    keyless s(2);
    together([&] { static_cast<void>(s.mark({7, {}}, 0, 10)); },
             [&] { WEIR_MODEL_REQUIRE(s.mark({8, {}}, 10) == dedup_answer::fresh); });
    WEIR_MODEL_REQUIRE(s.seen({8, {}}, 14) && !s.seen({8, {}}, 15));
}

// One place: the other key takes it. Then the first is new again, and is told so once.
WEIR_MODEL_KERNEL(dedup_set, a_key_that_had_to_go_is_new_once, {.preemptions = 3}) {
    keyless s(1);
    WEIR_MODEL_REQUIRE(s.mark({7, {}}, 0) == dedup_answer::fresh);
    dedup_answer again{};
    together([&] { WEIR_MODEL_REQUIRE(s.mark({8, {}}, 0) == dedup_answer::fresh); }, [&] { again = s.mark({7, {}}, 0); });
    WEIR_MODEL_REQUIRE(again == dedup_answer::fresh || again == dedup_answer::duplicate);
    WEIR_MODEL_REQUIRE(s.seen({7, {}}, 0) == (again == dedup_answer::fresh));
    WEIR_MODEL_REQUIRE(s.seen({8, {}}, 0) == (again == dedup_answer::duplicate));
}

WEIR_MODEL_KERNEL(dedup_set, the_last_place_goes_to_one, {.preemptions = 3}) {
    keyless s(2, false);
    WEIR_MODEL_REQUIRE(s.mark({6, {}}, 0) == dedup_answer::fresh);
    dedup_answer one{}, other{};
    together([&] { one = s.mark({7, {}}, 0); }, [&] { other = s.mark({8, {}}, 0); });
    WEIR_MODEL_REQUIRE((one == dedup_answer::fresh && other == dedup_answer::refused) ||
                       (one == dedup_answer::refused && other == dedup_answer::fresh));
    WEIR_MODEL_REQUIRE(s.seen({6, {}}, 0) && s.seen({7, {}}, 0) != s.seen({8, {}}, 0));
}

WEIR_MODEL_KERNEL(dedup_set, two_keys_find_two_places, {.preemptions = 3}) {
    keyless s(2);
    together([&] { WEIR_MODEL_REQUIRE(s.mark({7, {}}, 0) == dedup_answer::fresh); },
             [&] { WEIR_MODEL_REQUIRE(s.mark({8, {}}, 0) == dedup_answer::fresh); });
    WEIR_MODEL_REQUIRE(s.seen({7, {}}, 0) && s.seen({8, {}}, 0));
}

WEIR_MODEL_KERNEL(dedup_set, marked_twice_it_stays_until_the_later_end, {.preemptions = 3}) {
    keyless s(2, true, true);
    WEIR_MODEL_REQUIRE(s.mark({7, {}}, 0) == dedup_answer::fresh);
    together([&] { WEIR_MODEL_REQUIRE(s.mark({7, {}}, 2, 3) == dedup_answer::duplicate); },
             [&] { WEIR_MODEL_REQUIRE(s.mark({7, {}}, 3) == dedup_answer::duplicate); });
    WEIR_MODEL_REQUIRE(s.seen({7, {}}, 7) && !s.seen({7, {}}, 8));
}

WEIR_MODEL_KERNEL(dedup_set, cleaning_forgets_no_key_that_is_marked_again, {.preemptions = 3}) {
    keyless s(2);
    WEIR_MODEL_REQUIRE(s.mark({7, {}}, 0) == dedup_answer::fresh);
    std::size_t gone = 0;
    together([&] { gone = s.clean(5); }, [&] { WEIR_MODEL_REQUIRE(s.mark({7, {}}, 5) == dedup_answer::fresh); });
    WEIR_MODEL_REQUIRE(gone <= 1 && s.seen({7, {}}, 9));
}

// The low half of an expiry means nothing without the time that stood there with it.
WEIR_MODEL_KERNEL(dedup_set, what_is_over_is_not_seen_again, {.preemptions = 3}) {
    keyless s(2);
    WEIR_MODEL_REQUIRE(s.mark({7, {}}, 0) == dedup_answer::fresh);
    together([&] { WEIR_MODEL_REQUIRE(s.mark({8, {}}, 10) == dedup_answer::fresh); },
             [&] {
                 WEIR_MODEL_REQUIRE(!s.seen({7, {}}, 10));
                 WEIR_MODEL_REQUIRE(s.marks.live(keyless::at(10)) <= 1);
             });
}

// The clock was set back by 100 ms. The key is remembered for its 5 ms from now and no more, and at each moment in between.
WEIR_MODEL_KERNEL(dedup_set, a_clock_that_was_set_back_keeps_keys_no_longer, {.preemptions = 3}) {
    keyless s(2);
    WEIR_MODEL_REQUIRE(s.mark({7, {}}, 100) == dedup_answer::fresh);
    together([&] { WEIR_MODEL_REQUIRE(s.mark({8, {}}, 0) == dedup_answer::fresh); },
             [&] {
                 WEIR_MODEL_REQUIRE(s.seen({7, {}}, 0));
                 WEIR_MODEL_REQUIRE(s.mark({7, {}}, 0) == dedup_answer::duplicate);
             });
    WEIR_MODEL_REQUIRE(s.seen({7, {}}, 5) && !s.seen({7, {}}, 6));
}

// Marked again in another place, at the moment when its time is over: who looked at the clock before that sees it all the time.
WEIR_MODEL_KERNEL(dedup_set, a_key_that_moves_is_not_missed, {.preemptions = 3}) {
    keyless s(2);
    WEIR_MODEL_REQUIRE(s.mark({8, {}}, 0) == dedup_answer::fresh);
    WEIR_MODEL_REQUIRE(s.mark({7, {}}, 0) == dedup_answer::fresh);
    together([&] { WEIR_MODEL_REQUIRE(s.mark({7, {}}, 5) == dedup_answer::fresh); },
             [&] { WEIR_MODEL_REQUIRE(s.seen({7, {}}, 4)); });
}

// The reader in the middle may need the latch; it leaves all as it was.
WEIR_MODEL_KERNEL(dedup_set, who_only_looked_hands_on_what_was_marked_before, {.preemptions = 2}) {
    keyless s(1);
    WEIR_MODEL_REQUIRE(s.mark({7, {}}, 0) == dedup_answer::fresh);
    together([&] { WEIR_MODEL_REQUIRE(s.mark({8, {}}, 10) == dedup_answer::fresh); },
             [&] { static_cast<void>(s.seen({9, {}}, 10)); }, [&] { WEIR_MODEL_REQUIRE(!s.seen({7, {}}, 10)); });
}

// Each key of two words has another in its only place. None is seen that was not marked: not one of new and old words, nor one of
// a new fingerprint and old words.
WEIR_MODEL_KERNEL(dedup_set, no_key_is_made_of_two, {.preemptions = 3}) {
    small_set<2> s(1);
    WEIR_MODEL_REQUIRE(s.mark({7, {1, 1}}, 0) == dedup_answer::fresh);
    together([&] { WEIR_MODEL_REQUIRE(s.mark({7, {2, 2}}, 0) == dedup_answer::fresh); },
             [&] {
                 WEIR_MODEL_REQUIRE(!s.seen({7, {2, 1}}, 0));
                 WEIR_MODEL_REQUIRE(!s.seen({7, {1, 2}}, 0));
             });
}
WEIR_MODEL_KERNEL(dedup_set, no_key_has_the_fingerprint_of_another, {.preemptions = 3}) {
    small_set<1> s(1);
    WEIR_MODEL_REQUIRE(s.mark({7, {1}}, 0) == dedup_answer::fresh);
    together([&] { WEIR_MODEL_REQUIRE(s.mark({8, {2}}, 0) == dedup_answer::fresh); },
             [&] {
                 WEIR_MODEL_REQUIRE(!s.seen({8, {1}}, 0));
                 WEIR_MODEL_REQUIRE(!s.seen({7, {2}}, 0));
             });
    WEIR_MODEL_REQUIRE(s.seen({8, {2}}, 0));
}

// A duplicate is found without the latch, and is of one moment too.
WEIR_MODEL_KERNEL(dedup_set, no_duplicate_is_made_of_two, {.preemptions = 3}) {
    small_set<2> s(1, false);
    WEIR_MODEL_REQUIRE(s.mark({7, {1, 1}}, 0) == dedup_answer::fresh);
    together([&] { WEIR_MODEL_REQUIRE(s.mark({7, {2, 2}}, 5) == dedup_answer::fresh); },
             [&] { WEIR_MODEL_REQUIRE(s.mark({7, {2, 1}}, 4, 5) != dedup_answer::duplicate); });
}

WEIR_MODEL_KERNEL(dedup_set, a_duplicate_waits_for_no_suspended_duplicate, {.freezes = 1, .check_leaks = false}) {
    auto* const s = new small_set<1>(2);
    WEIR_MODEL_REQUIRE(s->mark({7, {7}}, 0) == dedup_answer::fresh);
    together([&] { static_cast<void>(s->mark({7, {7}}, 1)); },
             [&] {
                 // The head twice, the mark twice, one word.
                 WEIR_MODEL_REQUIRE(
                     count_steps([&] { WEIR_MODEL_REQUIRE(s->mark({7, {7}}, 1) == dedup_answer::duplicate); }) <= 5);
                 WEIR_MODEL_REQUIRE(s->seen({7, {7}}, 1));
             });
}

// ---- Judged

/// Calls on a set of one place, which threads record and a judge puts in order after each execution. Time says what came first, so
/// that none of them may read what is no longer there: no kernel for mutants.
class judged_place {
public:
    void mark(std::uint32_t thread, std::uint64_t k) {
        record(thread, weir_test::dedup_call::check, k, [&] { return set_.mark({k, {}}, 0) == dedup_answer::fresh; });
    }
    void look(std::uint32_t thread, std::uint64_t k) {
        record(thread, weir_test::dedup_call::seen, k, [&] { return set_.seen({k, {}}, 0); });
    }
    /// When all threads have ended.
    void judge() {
        bool good = false;
        {
            const outside o;
            std::vector<weir_test::dedup_timed_call> calls;
            for (auto const& mine : calls_) {
                calls.insert(calls.end(), mine.begin(), mine.end());
            }
            good = weir_test::judge(calls, weir_test::dedup_place{}).is == weir_test::verdict::linearizable;
        }
        WEIR_MODEL_REQUIRE(good);
    }

private:
    template <class Call>
    void record(std::uint32_t thread, weir_test::dedup_call call, std::uint64_t k, Call const& make) {
        bool yes = false;
        const auto when = timed([&] { yes = make(); });
        calls_[thread][made_[thread]++] = {when.first, when.last, thread, {call, k, yes, 0, 0}};
    }

    keyless set_{1};
    std::array<std::array<weir_test::dedup_timed_call, 2>, 3> calls_{};
    std::array<std::size_t, 3> made_{};
};

void marks_and_looks_at_once() {
    judged_place p;
    together(
        [&] {
            p.mark(0, 7);
            p.mark(0, 8);
        },
        [&] {
            p.mark(1, 7);
            p.look(1, 8);
        },
        [&] {
            p.look(2, 7);
            p.mark(2, 7);
        });
    p.judge();
}
void looks_at_what_comes_and_goes() {
    judged_place p;
    together(
        [&] {
            p.mark(0, 7);
            p.mark(0, 8);
        },
        [&] {
            p.mark(1, 8);
            p.mark(1, 7);
        },
        [&] {
            p.look(2, 7);
            p.look(2, 8);
        });
    p.judge();
}
[[maybe_unused]] const bool judged = [] {
    const options with{.preemptions = 2, .stale_reads = 0};
    add_exploration("dedup_set", "marks_and_looks_take_effect_one_after_the_other", &marks_and_looks_at_once, with, __FILE__, __LINE__);
    add_exploration("dedup_set", "looks_see_what_comes_and_goes_in_its_order", &looks_at_what_comes_and_goes, with, __FILE__, __LINE__);
    return true;
}();

// The front door.
WEIR_MODEL_KERNEL(dedup_cache, a_new_key_is_handled_once, {.preemptions = 2, .stale_reads = 1}) {
    const lanes_of_a_body lanes;
    const std::atomic<std::int64_t> now{0};
    weir::exact_dedup_cache<int, std::hash<int>, hand_clock> c({.capacity = 2, .ttl = 5ms, .seed = 1}, hand_clock{&now});
    int n[2] = {};
    together([&] { n[0] = as_int(c.check_and_mark(7)); }, [&] { n[1] = as_int(c.check_and_mark(7)); });
    WEIR_MODEL_REQUIRE(n[0] + n[1] == 1);
    const auto s = c.stats();
    WEIR_MODEL_REQUIRE(s.fresh == 1 && s.duplicates == 1 && s.refused == 0 && s.evicted_live == 0);
}

TEST(mutants_of_dedup_cache, every_weakened_order_is_noticed) {
    check_mutants({"weir/data/dedup_cache.hpp", "weir/data/detail/dedup_set.hpp"});
}

}  // namespace
}  // namespace weir_model
