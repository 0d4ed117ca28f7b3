// weir (BSL-1.0). concepts: where the headers of other folders meet.
#ifndef WEIR_BASE_CONCEPTS_HPP
#define WEIR_BASE_CONCEPTS_HPP
#include <concepts>
#endif
