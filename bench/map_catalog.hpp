// weir (BSL-1.0). bench map catalog: the loads of the map's bench, and the goals of weir's map.
#ifndef WEIR_BENCH_MAP_CATALOG_HPP
#define WEIR_BENCH_MAP_CATALOG_HPP
#include "harness.hpp"

#include <array>
#include <cstddef>
#include <string>
#include <vector>

// The loads of a short run come first. The extra ones are measured after them and in fewer rounds; those that carry no
// goal of their own are for a full run only, as are 4 threads everywhere and 8 where nobody promised anything.

namespace bench {

inline const load hit{.id = "hit",
                      .title = "hit, 1e6 entries",
                      .threads = {1, 2},
                      .more_threads = {4, 8},
                      .note = "find of keys that are there, random order, u64 -> u64."};
inline const load hit_small{.id = "hit_1e3",
                            .title = "hit, 1e3 entries, in cache",
                            .threads = {1, 2},
                            .note = "find of keys that are there, random order, u64 -> u64."};
inline const load miss{
    .id = "miss", .title = "miss, 1e6 entries", .threads = {1, 2}, .note = "find of keys that are not there."};
inline const load reads95{.id = "95_5",
                          .title = "95/5, 1e6 entries",
                          .threads = {1, 2, 8},
                          .more_threads = {4},
                          .note = "95 % find, 5 % insert_or_assign of keys that are there."};
inline const load mixed{.id = "50_25_25",
                        .title = "50/25/25, 1e6 entries",
                        .threads = {1, 2, 8},
                        .more_threads = {4},
                        .note = "50 % find, 25 % insert_or_assign, 25 % erase over 2e6 keys, of which half are there."};
inline const load growth{
    .id = "growth",
    .title = "growth from empty to 1e6 entries",
    .threads = {1, 2, 8},
    .more_threads = {4},
    .note = "insert of new keys into a map of default capacity. Maps that cannot grow are sized before."};
inline const load churn{.id = "churn",
                        .title = "erase churn, 1e5 entries",
                        .threads = {1, 2},
                        .note = "A sliding window: insert a new key, erase the oldest; each counts as an operation."};
inline const load upsert{
    .id = "upsert",
    .title = "upsert from empty, 5e5 keys",
    .threads = {1, 2},
    .more_threads = {4, 8},
    .note = "Add one to the key's counter, or insert it: 1e6 operations. The sum of all counters is checked."};
inline const load string_hit{.id = "string_hit",
                             .title = "strings: hit, 1e6 entries",
                             .threads = {1, 2},
                             .note = "find by other strings than those stored, strings of 20 bytes -> u64."};
inline const load string_upsert{.id = "string_upsert",
                                .title = "strings: upsert from empty, 2.5e5 keys",
                                .threads = {1, 2},
                                .note = "As upsert, strings of 20 bytes -> u64: 5e5 operations."};

inline const load hit_64{.id = "hit_64_bytes",
                         .title = "values of 64 bytes: hit, 1e6 entries",
                         .threads = {1, 2},
                         .note = "find, the eight words of the value copied and compared.",
                         .extra = true};
inline const load iteration{.id = "iteration",
                            .title = "iteration of 1e6 entries",
                            .threads = {1},
                            .note = "for_each at rest, values summed up.",
                            .unit = "ns/entry",
                            .extra = true};
inline const load beside{.id = "writer_beside_iteration",
                         .title = "a writer beside an iterating thread, 1e5 entries",
                         .threads = {2},
                         .note =
                             "The part of its speed that a writer (insert_or_assign of keys that are there) keeps "
                             "while another thread iterates without pause.",
                         .unit = "part kept",
                         .more_is_better = true,
                         .extra = true};
inline const load at_once{.id = "many_at_once",
                          .title = "look-ups of many keys at once, 1e6 entries",
                          .threads = {1},
                          .note = "visit(span) against as many single look-ups of the same keys in the same round.",
                          .unit = "times as fast",
                          .more_is_better = true,
                          .extra = true};
inline const load worst_insert{.id = "worst_insert",
                               .title = "worst single insert while growing to 1e6",
                               .threads = {2},
                               .unit = "us",
                               .extra = true};
inline const load worst_read{
    .id = "worst_read", .title = "worst single read while growing to 1e6", .threads = {2}, .unit = "us", .extra = true};
inline const load bytes{
    .id = "bytes_per_entry", .title = "bytes per entry at 1e6", .threads = {1}, .unit = "bytes", .extra = true};
inline const load peak_bytes{.id = "peak_bytes_per_entry",
                             .title = "peak bytes per entry while growing to 1e6",
                             .threads = {1},
                             .unit = "bytes",
                             .extra = true};
inline const std::array<load, 3> natives{
    load{.id = "own_hash_random", .title = "own default hash, random keys", .threads = {1}, .extra = true},
    load{.id = "own_hash_sequential", .title = "own default hash, sequential keys", .threads = {1}, .extra = true},
    load{.id = "own_hash_stride", .title = "own default hash, keys of stride 2^20", .threads = {1}, .extra = true}};

inline const load zipf_hit{.id = "zipf_hit",
                           .title = "Zipf 0.99: hit, 1e6 entries",
                           .threads = {1, 2, 4, 8},
                           .note =
                               "As hit, but some keys are wanted far more often than others; the most wanted are "
                               "scattered over the map.",
                           .extra = true};
inline const load zipf_reads95{.id = "zipf_95_5",
                               .title = "Zipf 0.99: 95/5, 1e6 entries",
                               .threads = {1, 2, 4, 8},
                               .note = "As 95/5, reads and writes by Zipf's law.",
                               .extra = true};
inline const load zipf_mixed{.id = "zipf_50_25_25",
                             .title = "Zipf 0.99: 50/25/25, 1e6 entries",
                             .threads = {1, 2, 4, 8},
                             .note = "As 50/25/25, all operations by Zipf's law over the 2e6 keys.",
                             .extra = true};
inline const load growth_reserved{
    .id = "growth_reserved",
    .title = "growth into reserved room, 1e6 entries",
    .threads = {1, 2, 4, 8},
    .note = "As growth, but each map was made for 1e6 entries. Making it is not measured; its pages are fresh.",
    .extra = true};
inline const load reads95_64{.id = "95_5_64_bytes",
                             .title = "values of 64 bytes: 95/5, 1e6 entries",
                             .threads = {1, 2},
                             .note = "As 95/5. Maps without a safe replacement of such values have no row.",
                             .extra = true};
inline const load mixed_64{.id = "50_25_25_64_bytes",
                           .title = "values of 64 bytes: 50/25/25, 1e6 entries",
                           .threads = {1, 2},
                           .note = "As 50/25/25. Maps without a safe replacement of such values have no row.",
                           .extra = true};
inline const load string_miss{.id = "string_miss",
                              .title = "strings: miss, 1e6 entries",
                              .threads = {1, 2},
                              .note = "find of strings of 20 bytes that are not there.",
                              .extra = true};
inline const load string_reads95{.id = "string_95_5",
                                 .title = "strings: 95/5, 1e6 entries",
                                 .threads = {1, 2},
                                 .note = "As 95/5, strings of 20 bytes -> u64. Maps without a replacement have no row.",
                                 .extra = true};
inline const load worst_insert_large{.id = "worst_insert_1e7",
                                     .title = "worst single insert while growing to 1e7",
                                     .threads = {2},
                                     .unit = "us",
                                     .extra = true};
inline const load worst_read_large{.id = "worst_read_1e7",
                                   .title = "worst single read while growing to 1e7",
                                   .threads = {2},
                                   .unit = "us",
                                   .extra = true};

/// One size of the curves over sizes. Those of 1e3 and 1e6 share loads with the tables.
struct curve_size {
    std::size_t entries;
    std::string name;
    load hit, reads95, growth;
    bool shared_hit = false;  // measured as one of the loads above
    bool shared_rest = false;
};
const std::vector<curve_size>& curve_sizes();

enum class against { floor, boost_concurrent, best_packaged, itself_at_two, nothing };

struct map_goal {
    const load* what;
    int threads;
    against base;
    double limit;  // of weir's time to the base's time; of the value itself with `nothing`
    bool at_least = false;
};
const std::vector<map_goal>& goals();

// What is made of the results: map_tables.cpp.

std::vector<table> map_tables(const results& out);
/// For a file that a README takes in: the main loads with their goals.
std::vector<table> map_summary(const results& out);
/// All rows of the main loads and of the word count, as multiples of weir's time. Empty if nothing was measured.
std::string map_overview(const results& out);

}  // namespace bench
#endif
