// weir (BSL-1.0). headers: the other file. A function that is not inline in some header would be defined twice.
#include <weir/weir.hpp>

namespace weir_test {
weir::version_number const* version_seen_by_another_file();
weir::version_number const* version_seen_by_another_file() { return &weir::version; }
}  // namespace weir_test
