// weir (BSL-1.0). cache_line: private to the library, so every folder may include it.
#ifndef WEIR_BASE_DETAIL_CACHE_LINE_HPP
#define WEIR_BASE_DETAIL_CACHE_LINE_HPP
#include <cstddef>
#endif
