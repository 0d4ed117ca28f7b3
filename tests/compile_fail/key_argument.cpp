// weir (BSL-1.0). key_argument: what is no key, and does not turn into one by itself.
#include <weir/base/concepts.hpp>

#include <functional>
#include <string>
#include <string_view>

template <weir::key_argument<std::string, std::hash<std::string>, std::equal_to<>> Key>
class finder {};

finder<char const*> right;
#ifdef WEIR_MUST_FAIL
finder<std::string_view> wrong;
#endif
