// weir (BSL-1.0). transparent_for: a hash that does not say that it may be given something else than keys.
#include <weir/base/concepts.hpp>

#include <functional>
#include <string>
#include <string_view>

struct transparent_hash : std::hash<std::string_view> {
    using is_transparent = void;
};

template <class Hash, weir::transparent_for<std::string, Hash, std::equal_to<>> Key>
class finder {};

finder<transparent_hash, std::string_view> right;
#ifdef WEIR_MUST_FAIL
finder<std::hash<std::string_view>, std::string_view> wrong;
#endif
