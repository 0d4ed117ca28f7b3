// weir (BSL-1.0). expected_value: a reference cannot be the value of an expected.
#include <weir/base/expected.hpp>

weir::expected<int, char> right;
#ifdef WEIR_MUST_FAIL
weir::expected<int&, char> wrong;
#endif
