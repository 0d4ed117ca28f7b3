// weir (BSL-1.0). bench flow catalog: the loads of the bench of breakers, limiters and their like.
#ifndef WEIR_BENCH_FLOW_CATALOG_HPP
#define WEIR_BENCH_FLOW_CATALOG_HPP
#include "chapters.hpp"
#include "harness.hpp"

#include <string>
#include <utility>

namespace bench::flow {

inline const load closed_calls{
    .id = "closed",
    .title = "a call through a closed breaker, which succeeds",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note =
        "Ask, and say that it went well; nothing is called between. weir: 5 failures in a row open it. count_window: "
        "50 % "
        "of the last 100 calls. time_window: of 10 buckets of 1 s. injected: the clock says what somebody has looked "
        "up "
        "before. floor: one look at steady_clock. As in all tables of this bench, a compiler barrier follows each "
        "operation, and who was let through is counted."};
inline const load failing_calls{.id = "failing",
                                .title = "a call through a closed breaker, 1 of 64 fails",
                                .threads = {1, 2},
                                .more_threads = {4, 8},
                                .note = "The same, with failures by chance, drawn before; too few to open it."};
inline const load open_calls{.id = "open",
                             .title = "a call refused by an open breaker",
                             .threads = {1, 2},
                             .more_threads = {4, 8},
                             .note = "It stays open for an hour. weir counts what it refuses; the others do not."};

inline const load allowed{
    .id = "allowed",
    .title = "one key: a call is allowed",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note =
        "There are always tokens; logs let 1000 through in 5 us. weir: a token bucket with steady_clock; coarse: with "
        "coarse_clock; decision: allow(), which says what remains and when. floor: one look at steady_clock."};
inline const load denied{.id = "denied",
                         .title = "one key: a call is denied",
                         .threads = {1, 2},
                         .more_threads = {4, 8},
                         .note = "All tokens are gone for an hour; logs: 10 calls, all in the window of an hour."};
inline const load allowed_given{
    .id = "allowed_given",
    .title = "one key, and the time is given: a call is allowed",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note =
        "As above, but nobody looks at a clock, save floor. 16_at_once: so many tokens in one "
        "call, per token."};
inline const load denied_given{.id = "denied_given",
                               .title = "one key, and the time is given: a call is denied",
                               .threads = {1, 2},
                               .more_threads = {4, 8},
                               .note = "As above, but nobody looks at a clock, save floor."};
inline const load keys{.id = "keys",
                       .title = "1e5 keys in shuffled order: a call is allowed",
                       .threads = {1, 2},
                       .more_threads = {4, 8},
                       .note =
                           "Numbers of 64 bits; each thread goes through the same order from another place on. All are "
                           "known before. weir has "
                           "room for twice as many keys, 4x for four times. floor: one look at steady_clock."};
inline const load skewed{.id = "skewed",
                         .title = "1e5 keys by Zipf's law: a call is allowed",
                         .threads = {1, 2},
                         .more_threads = {4, 8},
                         .note = "The same, but the n-th most frequent key comes 1/n times as often as the first."};
inline const load key_bytes{
    .id = "key_bytes",
    .title = "bytes of a key",
    .threads = {1},
    .note =
        "As malloc counts them, of 1e5 keys that have been here once. weir: for each of the places that "
        "it has, used or not.",
    .unit = "bytes",
    .compared = false};

inline const load keys_1e7{
    .id = "keys_1e7",
    .title = "1e7 keys, each thread in an order of its own: a call is allowed",
    .threads = {},
    .more_threads = {1, 2},
    .note =
        "Of a full run alone. All are known before. weir has room for twice as many keys, 1x for just as many: then "
        "keys have to go, and the marks of their sets keep their limits. floor: one look at steady_clock."};
inline const load key_bytes_1e7{
    .id = "key_bytes_1e7",
    .title = "1e7 keys: bytes for each",
    .threads = {},
    .more_threads = {1},
    .note = "As malloc counts them. Here the places that are not used count for the others.",
    .unit = "bytes",
    .compared = false};

inline const load first_try{.id = "first_try",
                            .title = "a call that may be retried, and succeeds at once",
                            .threads = {1, 2},
                            .more_threads = {4, 8},
                            .note = "The call gives back its argument. plain: calls it and does nothing else."};
inline const load full_budget{
    .id = "full_budget",
    .title = "a success is told to a full retry budget",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note = "weir: tokens as in gRPC. window: of the calls of the last 10 s, as in Finagle, with coarse_clock."};
inline const load used_budget{.id = "used_budget",
                              .title = "a failure, and a success that pays it back",
                              .threads = {1, 2},
                              .more_threads = {4, 8},
                              .note = "Told to a budget that is full before and after."};

inline const load permits{
    .id = "permits",
    .title = "a permit of a bulkhead is taken and given back",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note = "64 permits, so nobody waits. weir counts the permits that it gives; the others do not."};

inline const load repeated{
    .id = "repeated",
    .title = "1e5 keys in shuffled order: a duplicate",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note = "All are known. weir has room for four times as many. floor: one look at steady_clock."};
inline const load fresh{
    .id = "fresh",
    .title = "a key that is new",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note = "Keys never come again, and are forgotten after 1 ms. weir has room for 65536, its default."};

inline const load repeated_1e7{.id = "repeated_1e7",
                               .title = "1e7 keys, each thread in an order of its own: a duplicate",
                               .threads = {},
                               .more_threads = {1, 2},
                               .note = "Of a full run alone. All are known. weir has room for four times as many."};
inline const load mark_bytes_1e7{.id = "mark_bytes_1e7",
                                 .title = "1e7 known keys: bytes for each",
                                 .threads = {},
                                 .more_threads = {1},
                                 .note = "As malloc counts them, with the places that are not used.",
                                 .unit = "bytes",
                                 .compared = false};

inline const load layers{.id = "layers",
                         .title = "a call through a breaker, a limiter and a bulkhead",
                         .threads = {1, 2},
                         .more_threads = {4, 8},
                         .note =
                             "weir: a pipeline of the three. by_hand: the same three, asked one after the other. "
                             "mutexes: a breaker, a token bucket "
                             "and a semaphore with a mutex each, by hand. coarse: the limiter has coarse_clock. empty: "
                             "a pipeline of nothing. "
                             "plain: the call alone."};
inline const load clocks{.id = "clocks",
                         .title = "a look at the clock",
                         .threads = {1, 2},
                         .more_threads = {4, 8},
                         .note = "What the goals that say `and a clock` have to add.",
                         .compared = false};

// What a call consists of, each part alone: the same rows in ns and in instructions.

inline load parts_in_ns(std::string id) {
    return {.id = std::move(id), .title = {}, .threads = {1}, .compared = false};
}
inline load parts_in_instructions(std::string id) {
    return {.id = std::move(id), .title = {}, .threads = {1}, .unit = "instructions", .compared = false};
}
inline const load refusal_parts = parts_in_ns("refusal_parts");
inline const load refusal_instructions = parts_in_instructions("refusal_instructions");
inline const load denial_parts = parts_in_ns("denial_parts");
inline const load denial_instructions = parts_in_instructions("denial_instructions");
inline const load budget_parts = parts_in_ns("budget_parts");
inline const load budget_instructions = parts_in_instructions("budget_instructions");
inline const load permit_parts = parts_in_ns("permit_parts");
inline const load permit_instructions = parts_in_instructions("permit_instructions");

void add_circuit_breaker(run& r, const char* suite, int round);
void add_rate_limiter(run& r, const char* suite, int round);
void add_retry(run& r, const char* suite, int round);
void add_bulkhead(run& r, const char* suite, int round);
void add_dedup_cache(run& r, const char* suite, int round);
void add_pipeline(run& r, const char* suite, int round);

}  // namespace bench::flow
#endif
