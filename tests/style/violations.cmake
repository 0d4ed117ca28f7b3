# weir (BSL-1.0). One rule broken at a time, in a tree that breaks none. Each is a test: the check must fail, for this
# reason and for no other.
# plant(<check> <name> <file> <text> <what takes its place> <the check's words>); "" for text: at the end of the file,
# which is made if need be.

plant(layers looks_up weir/data/latest.hpp
  "#include <atomic>" "#include <atomic>\n#include <weir/flow/gate.hpp>"
  "weir/data/latest.hpp:7: looks up at weir/flow/gate.hpp (data sorts before flow)")
plant(layers includes_a_sibling weir/data/object_pool.hpp
  "#include <boost/lockfree/stack.hpp>" "#include <weir/data/latest.hpp>"
  "weir/data/object_pool.hpp:4: includes its sibling weir/data/latest.hpp")
plant(layers detail_includes_a_stranger_of_its_folder weir/data/detail/latest_edges.hpp
  "#include <atomic>" "#include <weir/data/latest.hpp>"
  "weir/data/detail/latest_edges.hpp:4: includes its sibling weir/data/latest.hpp")
plant(layers reaches_into_another_folder weir/flow/gate.hpp
  "#include <weir/data/latest.hpp>" "#include <weir/data/detail/latest_edges.hpp>"
  "weir/flow/gate.hpp:5: reaches into weir/data/detail/latest_edges.hpp, private to data/")
plant(layers third_party_outside_with weir/data/latest.hpp
  "#include <atomic>" "#include <boost/lockfree/queue.hpp>"
  "weir/data/latest.hpp:6: boost/lockfree/queue.hpp is third party and belongs in weir/with/")
plant(layers exception_for_one_library_is_not_for_all weir/data/object_pool.hpp
  "boost/lockfree/stack.hpp" "boost/pool/pool.hpp"
  "weir/data/object_pool.hpp:4: boost/pool/pool.hpp is third party")
plant(layers third_party_without_a_folder weir/flow/gate.hpp
  "#include <chrono>" "#include <zlib.h>"
  "weir/flow/gate.hpp:7: zlib.h is third party")
plant(layers quoted_include weir/flow/gate.hpp
  "<weir/data/latest.hpp>" "\"../data/latest.hpp\""
  "weir/flow/gate.hpp:5: quoted include of ../data/latest.hpp")
plant(layers unknown_folder weir/flow/gate.hpp
  "<weir/data/latest.hpp>" "<weir/util/latest.hpp>"
  "weir/flow/gate.hpp:5: there is no folder util")
plant(layers header_outside_the_folders weir/util/odd.hpp
  "" "// weir (BSL-1.0). odd: nowhere.\n#ifndef WEIR_UTIL_ODD_HPP\n#define WEIR_UTIL_ODD_HPP\n#endif\n"
  "weir/util/odd.hpp: stands in none of the library's folders")
plant(layers wrong_guard weir/flow/gate.hpp
  "#ifndef WEIR_FLOW_GATE_HPP" "#ifndef WEIR_GATE_HPP"
  "weir/flow/gate.hpp:2: lines 2 and 3 are not the include guard WEIR_FLOW_GATE_HPP")
plant(layers no_licence weir/flow/gate.hpp
  "// weir (BSL-1.0). gate" "// gate"
  "weir/flow/gate.hpp:1: the first line is not")
plant(layers no_purpose weir/flow/gate.hpp
  "gate: a header that looks down." "gate."
  "weir/flow/gate.hpp:1: the first line is not")
string(REPEAT "//\n" 393 padding)
plant(layers public_header_too_long weir/flow/gate.hpp
  "" "${padding}"
  "weir/flow/gate.hpp: 401 lines, a public header has fewer than 400")
string(REPEAT "//\n" 592 padding)
plant(layers detail_header_too_long weir/data/detail/latest_edges.hpp
  "" "${padding}"
  "weir/data/detail/latest_edges.hpp: 602 lines, a detail header has fewer than 600")
plant(layers umbrella_forgets_a_header weir/weir.hpp
  "#include <weir/flow/gate.hpp>\n" ""
  "weir/weir.hpp: does not include weir/flow/gate.hpp")
plant(layers umbrella_takes_a_bridge weir/weir.hpp
  "#include <weir/flow/gate.hpp>" "#include <weir/flow/gate.hpp>\n#include <weir/with/fmt.hpp>"
  "weir/weir.hpp:9: weir/with/fmt.hpp does not belong in weir.hpp")
plant(layers umbrella_takes_a_detail weir/weir.hpp
  "#include <weir/flow/gate.hpp>" "#include <weir/flow/gate.hpp>\n#include <weir/base/detail/cache_line.hpp>"
  "weir/weir.hpp:9: weir/base/detail/cache_line.hpp does not belong in weir.hpp")
plant(layers part_includes_everything weir/with/fmt.hpp
  "<weir/data/latest.hpp>" "<weir/weir.hpp>"
  "weir/with/fmt.hpp:4: includes everything")
plant(layers wall_clock weir/flow/gate.hpp
  "#endif" "using clock = std::chrono::system_clock;\n#endif"
  "weir/flow/gate.hpp:8: uses system_clock")
plant(layers counting_semaphore weir/flow/gate.hpp
  "#endif" "std::counting_semaphore<1> s{1};\n#endif"
  "weir/flow/gate.hpp:8: uses counting_semaphore")
plant(layers atomic_shared_ptr weir/flow/gate.hpp
  "#endif" "std::atomic<std::shared_ptr<int>> p;\n#endif"
  "weir/flow/gate.hpp:8: uses atomic<std::shared_ptr")

plant(orders unexplained weir/data/latest.hpp
  "  // relaxed: a hint" ""
  "weir/data/latest.hpp:17: unexplained memory order")
plant(orders relaxed_without_a_reason weir/data/latest.hpp
  "  // relaxed: a hint" "  // relaxed"
  "weir/data/latest.hpp:17: unexplained memory order")
plant(orders unexplained_inside_a_call_of_several_lines weir/data/latest.hpp
  "  // relaxed: nothing was taken" ""
  "weir/data/latest.hpp:21: unexplained memory order")
plant(orders explained_by_the_statement_above weir/data/latest.hpp
  "    bool closing();" "    void a() { closed_.store(true, std::memory_order_release); }  // E3 release
    void b() { closed_.store(true, std::memory_order_release); }"
  "weir/data/latest.hpp:30: unexplained memory order")
plant(orders explained_two_lines_above weir/data/latest.hpp
  "    bool closing();" "    void a() {\n        // E3 release\n\n        closed_.store(true, std::memory_order_release); }"
  "weir/data/latest.hpp:32: unexplained memory order")
plant(orders spelled_as_a_scoped_enumerator weir/data/latest.hpp
  "    bool closing();" "    void a() { closed_.store(true, std::memory_order::release); }"
  "weir/data/latest.hpp:29: unexplained memory order")
plant(orders release_explained_as_relaxed weir/data/latest.hpp
  "    bool closing();" "    void a() { closed_.store(true, std::memory_order_release); }  // relaxed: a hint"
  "weir/data/latest.hpp:29: an order that is not relaxed, explained as relaxed")
plant(orders edge_loses_its_release_side weir/data/latest.hpp
  "        // E3 release: a comment line above serves as well
        closed_.store(true, std::memory_order_release);" "        closed_.store(true);"
  "weir/data/latest.hpp: edge E3 has no release side")
plant(orders edge_loses_its_acquire_side weir/data/latest.hpp
  "  // E3 acquire" ""
  "weir/data/latest.hpp: edge E3 has no acquire side")
plant(orders edge_missing_from_the_table weir/data/latest.hpp
  "//   E3  the writer closes                    -> who sees it closed sees the last value\n" ""
  "weir/data/latest.hpp: edge E3 is used but not in the header's table")
plant(orders edge_that_nothing_uses weir/data/latest.hpp
  "\nclass latest" "//   E5  nobody -> the user's nobody\n\nclass latest"
  "weir/data/latest.hpp: edge E5 is in the header's table, and nothing uses it")
plant(orders edge_declared_twice weir/data/latest.hpp
  "\nclass latest" "//   E3  again -> again\n\nclass latest"
  "weir/data/latest.hpp: an edge stands twice in the header's table")
plant(orders acquire_claims_to_release weir/data/latest.hpp
  "closed_.store(true, std::memory_order_release)" "closed_.load(std::memory_order_acquire)"
  "weir/data/latest.hpp:25: claims a release side, but its order does not release")
plant(orders relaxed_claims_to_acquire weir/data/latest.hpp
  "closed_.load();" "closed_.load(std::memory_order_relaxed);"
  "weir/data/latest.hpp:27: claims an acquire side, but its order does not acquire")
plant(orders acquire_explained_by_the_other_of_two_orders weir/data/latest.hpp
  "    bool closing();" "    bool a(int& i) {
        return middle_.compare_exchange_weak(i, 0, std::memory_order_release, std::memory_order_acquire);  // E1 release
    }"
  "weir/data/latest.hpp:30: acquires, and names no edge's acquire side")
plant(orders shared_table_lacks_a_side weir/data/detail/latest_bodies.hpp
  "latest_flag.store(true, std::memory_order_release);  // E1 release" "latest_flag.store(true);"
  "weir/data/detail/latest_edges.hpp: edge E1 has no release side")
plant(orders shared_table_lacks_an_edge weir/data/detail/latest_bodies.hpp
  "    return true;" "    latest_flag = latest_flag.load(std::memory_order_acquire);  // E2 acquire\n    return true;"
  "weir/data/detail/latest_edges.hpp: edge E2 is used but not in the header's table")
plant(orders shared_table_does_not_exist weir/data/detail/latest_edges.hpp
  "another header shares." "nobody shares. Edges: see nothing.hpp."
  "weir/data/detail/latest_edges.hpp:1: shares the edges of weir/data/detail/nothing.hpp, which does not exist")
plant(orders thread_fence weir/data/latest.hpp
  "    bool closing();" "    void a() { std::atomic_thread_fence(std::memory_order_seq_cst); }"
  "weir/data/latest.hpp:29: a fence")
plant(orders thread_fence_in_hazard_pointer weir/base/hazard_pointer.hpp
  "atomic_signal_fence" "atomic_thread_fence"
  "weir/base/hazard_pointer.hpp:12: a fence")
plant(orders signal_fence_elsewhere weir/data/latest.hpp
  "    bool closing();" "    void a() { std::atomic_signal_fence(std::memory_order_seq_cst); }"
  "weir/data/latest.hpp:29: a fence")
plant(orders builtin weir/data/latest.hpp
  "    bool closing();" "    int a(int* p) { return __atomic_load_n(p, 0); }"
  "weir/data/latest.hpp:29: an atomic builtin")
plant(orders consume weir/data/latest.hpp
  "    bool closing();" "    int a() { return middle_.load(std::memory_order_consume); }"
  "weir/data/latest.hpp:29: memory_order_consume")

plant(readme block_differs_by_a_space README.md
  "latest l;" "latest  l;"
  "README.md:5: differs from examples/latest.cpp")
plant(readme block_lacks_the_last_line README.md
  "\"a\\\\b\");\n}" "\"a\\\\b\");"
  "README.md:5: differs from examples/latest.cpp")
plant(readme example_changes examples/latest.cpp
  "exchange(1)" "exchange(2)"
  "README.md:5: differs from examples/latest.cpp")
plant(readme block_of_no_example README.md
  "| part | when |" "```cpp\nint main() {}\n```\n\n| part | when |"
  "README.md:22: a block that does not start with")
plant(readme block_of_an_example_that_is_gone README.md
  "| part | when |" "```cpp\n// examples/gone.cpp\nint main() {}\n```\n\n| part | when |"
  "README.md:22: shows examples/gone.cpp, which does not exist")
plant(readme block_under_another_name README.md
  "| part | when |" "```c++\nint main() {}\n```\n\n| part | when |"
  "README.md:22: a block fenced as c++, write cpp")
plant(readme block_without_a_name README.md
  "| part | when |" "```\nint main() {}\n```\n\n| part | when |"
  "README.md:22: a block that does not say what it holds")
plant(readme indented_block README.md
  "| part | when |" "   ```cpp\n   int main() {}\n   ```\n\n| part | when |"
  "README.md: a fence that does not start its line with three backquotes")
plant(readme open_fence README.md
  "" "\n```sh\nls\n"
  "README.md:31: a fence that is never closed")
plant(readme first_block_too_late README.md
  "One line." "One line.\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
  "README.md: the first example does not start before line 20 (it starts at `20`)")
plant(readme example_not_shown examples/gate.cpp
  "" "int main() {}\n"
  "README.md: does not show examples/gate.cpp")
plant(readme command_missing README.md
  "sh cmake/go.sh test" "cmake/go.sh"
  "README.md: does not say `sh cmake/go.sh test`")
plant(readme promise_without_a_test README.md
  "`latest.reader_sees_only_the_newest`" "by inspection"
  "README.md:28: a promise without a test")
plant(readme promise_with_a_test_that_is_gone README.md
  "`latest.reader_sees_only_the_newest`" "`latest.reader_sees`"
  "README.md:28: there is no test latest.reader_sees")
plant(readme no_promises README.md
  "the test that fails when it is broken" "trust us"
  "README.md: no table of promises")
