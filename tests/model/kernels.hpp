// weir (BSL-1.0). kernels: small programs that the model checker explores, each one a test and a killer of mutants.
#ifndef WEIR_TESTS_MODEL_KERNELS_HPP
#define WEIR_TESTS_MODEL_KERNELS_HPP
#include "engine/model.hpp"
#include "engine/mutants.hpp"

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

// A kernel is a body with bounds. It is explored as the test `model.<suite>.<name>`, and again, with the same bounds, for each
// mutant of the headers that the program's mutation test names.
//
//   WEIR_MODEL_KERNEL(hazard_pointer, a_protected_object_is_not_deleted, {.preemptions = 3}) {
//       ...
//       weir_model::together([&] { ... }, [&] { ... });
//       WEIR_MODEL_REQUIRE(...);
//   }

namespace weir_model {

/// The kernels of this program, in the order of their definitions.
inline std::vector<kernel>& kernels() {
    static std::vector<kernel> all;
    return all;
}

inline bool add_kernel(char const* suite, char const* name, void (*body)(), options with) {
    kernels().push_back({suite, name, body, std::move(with)});
    return true;
}

/// Explores it to the end of its bounds: whatever stays unexplored is a failure too. With WEIR_MODEL_LONG in the environment
/// the bounds are wider, and time ends the search.
inline void check_kernel(void (*body)(), options with) {
    const bool wide = std::getenv("WEIR_MODEL_LONG") != nullptr;
    if (with.how == strategy::exhaustive) {
        with.max_seconds = 600;  // a slow machine is no reason to leave something out
    }
    if (wide) {
        with.preemptions += 1;
        with.stale_reads += with.stale_reads == 0 ? 0 : 2;  // none: the kernel counts on it
        with.max_seconds = 120;
        with.max_executions = ~0ULL;
    }
    const report r = explore(body, with);
    ::testing::Test::RecordProperty("executions", std::to_string(r.executions));
    EXPECT_FALSE(r.failed) << to_string(r);
    if (with.how == strategy::exhaustive && !wide && !r.failed) {
        EXPECT_TRUE(r.complete) << "not explored to the end: " << to_string(r);
    }
}

}  // namespace weir_model

#define WEIR_MODEL_KERNEL(suite, kernel_name, ...)                                                                     \
    static void suite##_##kernel_name##_kernel();                                                                      \
    static ::weir_model::options suite##_##kernel_name##_options() { return __VA_ARGS__; }                             \
    [[maybe_unused]] static const bool suite##_##kernel_name##_added = ::weir_model::add_kernel(                       \
        #suite, #kernel_name, &suite##_##kernel_name##_kernel, suite##_##kernel_name##_options());                     \
    TEST(model_##suite, kernel_name) {                                                                                 \
        ::weir_model::check_kernel(&suite##_##kernel_name##_kernel, suite##_##kernel_name##_options());                \
    }                                                                                                                  \
    static void suite##_##kernel_name##_kernel()

#endif
