// weir (BSL-1.0). library: one of the test's shared libraries; the build says under which name it answers.
#include "shelf.hpp"

// Static: a function of the program with this name must not take its place.
static shelf_test::library answer() noexcept { return shelf_test::this_library(); }

extern "C" [[gnu::visibility("default")]] void WEIR_TEST_LIBRARY(shelf_test::library* out);
extern "C" void WEIR_TEST_LIBRARY(shelf_test::library* out) { *out = answer(); }
