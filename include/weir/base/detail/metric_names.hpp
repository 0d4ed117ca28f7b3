// weir (BSL-1.0). metric_names: what a name may look like, and how the name of a field is made.
#ifndef WEIR_BASE_DETAIL_METRIC_NAMES_HPP
#define WEIR_BASE_DETAIL_METRIC_NAMES_HPP
#include <weir/base/metrics.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

// Source:   "Exposition formats" and "Metric and label naming", prometheus.io: the character sets, base units, _total.
//
// The name of a field: that of the whole, `_` and the field's own, the unit, and `_total` for a counter, each unless it ends so
// already: a counter of bytes called `sent` or `sent_total` is `sent_bytes_total`.

namespace weir::inline v0 {
namespace detail {

// Whether it is UTF-8 as in RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
constexpr bool is_utf8(std::string_view text) noexcept {
    auto const at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    for (std::size_t i = 0; i < text.size();) {
        auto const lead = at(i++);
        if (lead < 0x80) {
            continue;
        }
        std::size_t const more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || text.size() - i < more) {
            return false;
        }
        unsigned const low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        unsigned const high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (at(i) < low || at(i) > high) {
            return false;
        }
        for (std::size_t k = 1; k < more; ++k) {
            if (at(i + k) < 0x80 || at(i + k) > 0xbf) {
                return false;
            }
        }
        i += more;
    }
    return true;
}

// Throws: std::bad_alloc.
inline std::string metric_name(std::string_view whole, metric_field const& field) {
    std::string name;
    name.reserve(whole.size() + field.name.size() + 16);
    name += whole;
    if (!field.name.empty()) {
        name += '_';
        name += field.name;
    }
    if (field.kind == metric_kind::counter && name.ends_with("_total")) {
        name.resize(name.size() - std::string_view("_total").size());
    }
    auto const unit = std::string_view(field.unit == metric_unit::seconds ? "_seconds"
                                       : field.unit == metric_unit::bytes ? "_bytes"
                                                                          : "");
    if (!name.ends_with(unit)) {
        name += unit;
    }
    if (field.kind == metric_kind::counter) {
        name += "_total";
    }
    return name;
}

// What the names of a distribution's samples have at their end.
inline constexpr std::string_view distribution_suffixes[] = {"_bucket", "_sum", "_count"};

constexpr bool is_distribution(metric_kind kind) noexcept {
    return kind == metric_kind::histogram || kind == metric_kind::summary;
}

}  // namespace detail
}  // namespace weir::inline v0
#endif
