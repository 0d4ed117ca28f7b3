// weir (BSL-1.0). expected_error: an expected must be able to say why.
#include <weir/base/expected.hpp>

weir::expected<void, int> right;
#ifdef WEIR_MUST_FAIL
weir::expected<int, void> wrong;
#endif
