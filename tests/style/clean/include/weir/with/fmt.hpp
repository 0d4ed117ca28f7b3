// weir (BSL-1.0). fmt: a bridge, opt in.
#ifndef WEIR_WITH_FMT_HPP
#define WEIR_WITH_FMT_HPP
#include <weir/data/latest.hpp>

#include <fmt/format.h>
#endif
