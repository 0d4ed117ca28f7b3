// weir (BSL-1.0). lookup_key: a string_view where only a string will do.
#include <weir/base/concepts.hpp>

#include <functional>
#include <string>
#include <string_view>

template <weir::lookup_key<std::string, std::hash<std::string>, std::equal_to<>> Key>
class finder {};

finder<std::string const&> right;
#ifdef WEIR_MUST_FAIL
finder<std::string_view> wrong;
#endif
