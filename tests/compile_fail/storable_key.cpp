// weir (BSL-1.0). storable_key: a key whose bytes do not say which one it is.
#include <weir/data/dedup_cache.hpp>

#include <cstdint>
#include <string>

using right = weir::exact_dedup_cache<std::uint64_t>;
[[maybe_unused]] right* made = nullptr;
#ifdef WEIR_MUST_FAIL
using wrong = weir::exact_dedup_cache<std::string>;
[[maybe_unused]] wrong* never_made = nullptr;
#endif
