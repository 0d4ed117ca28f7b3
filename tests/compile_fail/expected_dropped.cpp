// weir (BSL-1.0). expected_dropped: nobody looks whether the call went well.
#include <weir/base/expected.hpp>

weir::expected<int, char> ask();

int main() {
    (void)ask();
#ifdef WEIR_MUST_FAIL
    ask();
#endif
}
