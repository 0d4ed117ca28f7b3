// weir (BSL-1.0). fuzz_one: hands a fuzz target to libFuzzer, which takes an exception for the crash that it is.
#include "fuzz/fuzz.hpp"

#include <cstdio>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    try {
        return fuzz_one(data, size);
    } catch (std::exception const& wrong) {
        std::fprintf(stderr, "%s\n", wrong.what());
        std::abort();
    }
}
