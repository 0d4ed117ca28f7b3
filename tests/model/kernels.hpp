// weir (BSL-1.0). kernels: small programs that the model checker explores, each one a test and a killer of mutants.
#ifndef WEIR_TESTS_MODEL_KERNELS_HPP
#define WEIR_TESTS_MODEL_KERNELS_HPP
#include "engine/model.hpp"
#include "engine/mutants.hpp"

#include <cstdlib>
#include <functional>
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

/// Explores it to the end of its bounds: whatever stays unexplored is a failure too. With WEIR_MODEL_LONG in the environment
/// the bounds are wider, and time ends the search.
inline void check_kernel(std::function<void()> const& body, options with) {
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

/// A test of what is not a kernel for mutants: known to GoogleTest like one that TEST defines, which costs more to compile.
inline void add_exploration(char const* suite, std::string const& name, std::function<void()> body, options const& with,
                            char const* file, int line) {
    class exploration : public ::testing::Test {
    public:
        exploration(std::function<void()> body, options with) : body_(std::move(body)), with_(std::move(with)) {}
        void TestBody() override { check_kernel(body_, with_); }

    private:
        std::function<void()> body_;
        options with_;
    };
    ::testing::RegisterTest((std::string("model_") + suite).c_str(), name.c_str(), nullptr, nullptr, file, line,
                            [body = std::move(body), with]() -> ::testing::Test* { return new exploration(body, with); });
}

inline bool add_kernel(char const* suite, std::string const& name, std::function<void()> body, char const* file, int line,
                       options const& with) {
    kernels().push_back({suite, name, body, with});
    add_exploration(suite, name, std::move(body), with, file, line);
    return true;
}

}  // namespace weir_model

#define WEIR_MODEL_KERNEL(suite, kernel_name, ...)                                                                     \
    static void suite##_##kernel_name##_kernel();                                                                      \
    [[maybe_unused]] static const bool suite##_##kernel_name##_added = ::weir_model::add_kernel(                       \
        #suite, #kernel_name, &suite##_##kernel_name##_kernel, __FILE__, __LINE__, __VA_ARGS__);                       \
    static void suite##_##kernel_name##_kernel()

#endif
