// weir (BSL-1.0). registry_table: names and labels, checked, and what stands under them.
#ifndef WEIR_DATA_DETAIL_REGISTRY_TABLE_HPP
#define WEIR_DATA_DETAIL_REGISTRY_TABLE_HPP
#include <weir/base/detail/metric_names.hpp>
#include <weir/base/metrics.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

// One table for look-ups by hash, and one in the order in which the entries are shown. A shared mutex guards both; entries
// themselves never move, and whoever shows them has let go of the mutex.
//
// Invariant: an entry stands in both tables or in none, and a family has entries.
// Invariant: no two families are shown under one name, those of the samples of a distribution among them.

namespace weir::inline v0 {
namespace detail {

/// Why a series is not to be had. The order is that in which they are looked for.
enum class registry_refusal : unsigned char {
    none,
    other_part,
    other_help,
    name,
    help_text,
    label_count,
    label_name,
    label_twice,
    label_of_part,
    label_value,
    other_fields,
    name_of_other,
    exists,
    full,
    name_full
};

struct registry_verdict {
    registry_refusal why = registry_refusal::none;
    std::string_view label{};  // that it is about
};

[[noreturn]] inline void throw_refusal(registry_verdict verdict, std::string_view name) {
    auto const text = [&](std::string_view what) { return std::string("weir::stats_registry: ").append(name).append(what); };
    auto const about_label = [&](std::string_view what) {
        return text(": label ").append(verdict.label).append(what);
    };
    switch (verdict.why) {
        case registry_refusal::other_part:
            throw std::invalid_argument{text(" with these labels is a part of another type")};
        case registry_refusal::other_help:
            throw std::invalid_argument{text(" has another help text already")};
        case registry_refusal::name:
            throw std::invalid_argument{text(" is no name: it must match [a-zA-Z_:][a-zA-Z0-9_:]*")};
        case registry_refusal::help_text:
            throw std::invalid_argument{text(": its help text must be UTF-8")};
        case registry_refusal::label_count:
            throw std::invalid_argument{text(" has more than 32 labels")};
        case registry_refusal::label_name:
            throw std::invalid_argument{
                about_label(" is no label's name: it must match [a-zA-Z_][a-zA-Z0-9_]* and not begin with __")};
        case registry_refusal::label_twice:
            throw std::invalid_argument{about_label(" stands there twice")};
        case registry_refusal::label_of_part:
            throw std::invalid_argument{about_label(" is one that this part sets itself")};
        case registry_refusal::label_value:
            throw std::invalid_argument{about_label(" has a value that is not UTF-8")};
        case registry_refusal::other_fields:
            throw std::invalid_argument{text(" is of another kind already")};
        case registry_refusal::name_of_other:
            throw std::invalid_argument{text(" would be shown under a name that another one is shown under")};
        case registry_refusal::exists:
            throw std::invalid_argument{text(" with these labels exists already")};
        case registry_refusal::full:
            throw std::length_error{text(": the registry has max_series already")};
        default:
            throw std::length_error{text(" has max_series_per_name label values already")};
    }
}

/// Name and labels of one series, borrowed. The labels are sorted, and have values.
struct series_key {
    static constexpr std::size_t most_labels = 32;

    std::string_view name;
    std::array<metric_label, most_labels> storage{};
    std::size_t size = 0;
    bool too_many = false;

    // A label without a value is the same as no label.
    series_key(std::string_view n, metric_labels labels) noexcept : name(n) {
        for (auto const& label : labels) {
            if (label.value.empty() && is_label_name(label.name)) {
                continue;
            }
            if (size == most_labels) {
                too_many = true;
                break;
            }
            storage[size++] = label;
        }
        std::sort(storage.begin(), storage.begin() + static_cast<std::ptrdiff_t>(size));
    }
    [[nodiscard]] std::span<metric_label const> labels() const noexcept { return {storage.data(), size}; }
};

[[nodiscard]] inline bool labels_before(std::span<metric_label const> a, std::span<metric_label const> b) noexcept {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
}

/// What is shown under one name and one set of labels.
class registry_entry {
public:
    /// Throws: std::bad_alloc.
    registry_entry(series_key const& key, std::string_view help, std::span<metric_field const> shape) : shape_(shape) {
        std::size_t length = key.name.size() + help.size();
        for (auto const& label : key.labels()) {
            length += label.name.size() + label.value.size();
        }
        text_.reserve(length);
        labels_.reserve(key.size);
        auto const keep = [&](std::string_view text) {
            auto const at = text_.size();
            text_ += text;
            return std::string_view(text_).substr(at);
        };
        name_ = keep(key.name);
        help_ = keep(help);
        for (auto const& label : key.labels()) {
            auto const name = keep(label.name);
            labels_.push_back({name, keep(label.value)});
        }
    }
    registry_entry(registry_entry const&) = delete;
    registry_entry& operator=(registry_entry const&) = delete;
    virtual ~registry_entry() = default;

    virtual void write(metric_sink& sink) const = 0;
    /// The part, if it is the registry's own and of this type; else null.
    [[nodiscard]] virtual void* part(std::string_view) noexcept { return nullptr; }
    /// Whoever has called this is sure that nothing that the entry shows is being read, or will be.
    virtual void detach() noexcept {}

    [[nodiscard]] std::string_view name() const noexcept { return name_; }
    [[nodiscard]] std::string_view help() const noexcept { return help_; }
    [[nodiscard]] std::span<metric_label const> labels() const noexcept { return labels_; }
    [[nodiscard]] std::span<metric_field const> shape() const noexcept { return shape_; }
    [[nodiscard]] metric_series series() const noexcept { return {name_, help_, labels_}; }

private:
    std::string text_;  // constant, as all of it: the views below look into it
    std::string_view name_;
    std::string_view help_;
    std::vector<metric_label> labels_;
    std::span<metric_field const> shape_;  // static
};

// What shall be shown must be the same for all series of a name.
[[nodiscard]] inline bool same_shape(std::span<metric_field const> a, std::span<metric_field const> b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](metric_field const& x, metric_field const& y) {
        return x.name == y.name && x.kind == y.kind && x.unit == y.unit && x.label == y.label;
    });
}

/// What can be known about a series before the table is looked at.
[[nodiscard]] inline registry_verdict check_series(series_key const& key, std::string_view help,
                                                   std::span<metric_field const> shape) noexcept {
    if (!is_metric_name(key.name)) {
        return {registry_refusal::name};
    }
    if (!is_utf8(help)) {
        return {registry_refusal::help_text};
    }
    if (key.too_many) {
        return {registry_refusal::label_count};
    }
    for (std::size_t i = 0; i < key.size; ++i) {
        auto const& [name, value] = key.storage[i];
        if (!is_label_name(name)) {
            return {registry_refusal::label_name, name};
        }
        if (i > 0 && key.storage[i - 1].name == name) {
            return {registry_refusal::label_twice, name};
        }
        for (auto const& field : shape) {
            if (field.label.name == name || (field.kind == metric_kind::histogram && name == "le") ||
                (field.kind == metric_kind::summary && name == "quantile")) {
                return {registry_refusal::label_of_part, name};
            }
        }
        if (!is_utf8(value)) {
            return {registry_refusal::label_value, name};
        }
    }
    return {};
}

class registry_table {
public:
    using entry_ptr = std::shared_ptr<registry_entry>;
    struct answer {
        void* part = nullptr;  // the registry's own, of the right type
        registry_verdict verdict{};
        bool found = false;  // there is such a series, whatever it is
    };

    registry_table(std::size_t max_series, std::size_t max_per_name) noexcept
        : max_series_(max_series), max_per_name_(max_per_name) {}

    /// Progress: waits for whoever adds or removes a series.
    [[nodiscard]] answer find(series_key const& key, std::string_view type, std::string_view help) const {
        std::shared_lock const lock(mutex_);
        auto const it = index_.find(key);
        return it == index_.end() ? answer{} : ask(**it, type, help);
    }

    /// Adds it, or finds the one that has its name and labels. Nothing is changed if it throws or refuses.
    /// Progress: waits for whoever reads or changes the table. Throws: std::bad_alloc.
    [[nodiscard]] answer add(entry_ptr const& entry, std::string_view type, std::string_view help) {
        std::unique_lock const lock(mutex_);
        if (auto const it = index_.find(entry); it != index_.end()) {
            return ask(**it, type, help);
        }
        auto at = families_.find(entry->name());
        if (at != families_.end()) {
            auto const& first = **at->second.series.begin();
            if (!same_shape(first.shape(), entry->shape())) {
                return {nullptr, {registry_refusal::other_fields}};
            }
            if (!entry->help().empty() && entry->help() != at->second.help) {
                return {nullptr, {registry_refusal::other_help}};
            }
        }
        if (index_.size() >= max_series_) {
            return {nullptr, {registry_refusal::full}};
        }
        if (at != families_.end() && at->second.series.size() >= max_per_name_) {
            return {nullptr, {registry_refusal::name_full}};
        }
        // From here on each step that may fail is followed by steps that take it back.
        bool const first = at == families_.end();
        if (first) {
            auto names = shown_names(*entry);
            if (std::any_of(names.begin(), names.end(), [&](std::string const& n) { return names_.contains(n); })) {
                return {nullptr, {registry_refusal::name_of_other}};
            }
            at = families_.emplace(std::string(entry->name()), family{std::string(entry->help()), {}}).first;
            try {
                for (auto& name : names) {
                    names_.emplace(std::move(name), at->first);
                }
            } catch (...) {
                forget(at);
                throw;
            }
        }
        try {
            auto const inserted = at->second.series.insert(entry).first;
            try {
                index_.insert(entry);
            } catch (...) {
                at->second.series.erase(inserted);
                throw;
            }
        } catch (...) {
            if (first) {
                forget(at);
            }
            throw;
        }
        return {entry->part(type), {}, false};
    }

    /// Progress: waits for whoever reads or changes the table.
    void remove(entry_ptr const& entry) noexcept {
        std::unique_lock const lock(mutex_);
        index_.erase(entry);
        auto const at = families_.find(entry->name());
        at->second.series.erase(entry);
        if (at->second.series.empty()) {
            forget(at);
        }
    }

    /// By name, then by labels. Progress: waits for whoever adds or removes a series. Throws: std::bad_alloc.
    [[nodiscard]] std::vector<entry_ptr> all() const {
        std::vector<entry_ptr> entries;
        std::shared_lock const lock(mutex_);
        entries.reserve(index_.size());
        for (auto const& [name, one] : families_) {
            entries.insert(entries.end(), one.series.begin(), one.series.end());
        }
        return entries;
    }

    [[nodiscard]] std::pair<std::size_t, std::size_t> names_and_series() const {
        std::shared_lock const lock(mutex_);
        return {families_.size(), index_.size()};
    }

private:
    struct by_labels {
        bool operator()(entry_ptr const& a, entry_ptr const& b) const noexcept { return labels_before(a->labels(), b->labels()); }
    };
    struct hash {
        using is_transparent = void;
        static std::size_t of(std::string_view name, std::span<metric_label const> labels) noexcept {
            auto const one = std::hash<std::string_view>{};
            auto h = one(name);
            for (auto const& label : labels) {
                h = (h ^ one(label.name)) * 0x9fb21c651e98df25u;
                h = ((h ^ (h >> 32)) + one(label.value)) * 0x9e3779b97f4a7c15u;
            }
            return h ^ (h >> 29);
        }
        std::size_t operator()(series_key const& key) const noexcept { return of(key.name, key.labels()); }
        std::size_t operator()(entry_ptr const& entry) const noexcept { return of(entry->name(), entry->labels()); }
    };
    struct equal {
        using is_transparent = void;
        static bool same(std::string_view a, std::span<metric_label const> x, std::string_view b,
                         std::span<metric_label const> y) noexcept {
            return a == b && std::equal(x.begin(), x.end(), y.begin(), y.end());
        }
        bool operator()(series_key const& a, entry_ptr const& b) const noexcept {
            return same(a.name, a.labels(), b->name(), b->labels());
        }
        bool operator()(entry_ptr const& a, series_key const& b) const noexcept { return operator()(b, a); }
        bool operator()(entry_ptr const& a, entry_ptr const& b) const noexcept {
            return same(a->name(), a->labels(), b->name(), b->labels());
        }
    };
    struct family {
        std::string help;
        std::set<entry_ptr, by_labels> series;
    };
    using families = std::map<std::string, family, std::less<>>;

    // Under the mutex: once it is gone, so may be an entry that somebody has attached.
    [[nodiscard]] answer ask(registry_entry& entry, std::string_view type, std::string_view help) const noexcept {
        auto* const part = entry.part(type);
        if (part == nullptr) {
            return {nullptr, {registry_refusal::other_part}, true};
        }
        // Where an entry was added without a text, its family may have one.
        if (!help.empty() && help != entry.help() && help != families_.find(entry.name())->second.help) {
            return {nullptr, {registry_refusal::other_help}, true};
        }
        return {part, {}, true};
    }

    // Every name that a scraper will see, once each.
    static std::vector<std::string> shown_names(registry_entry const& entry) {
        std::vector<std::string> names;
        for (auto const& field : entry.shape()) {
            auto const name = metric_name(entry.name(), field);
            names.push_back(name);
            if (is_distribution(field.kind)) {
                for (auto const suffix : distribution_suffixes) {
                    names.push_back(name + std::string(suffix));
                }
            }
        }
        std::sort(names.begin(), names.end());
        names.erase(std::unique(names.begin(), names.end()), names.end());
        return names;
    }

    void forget(families::iterator at) noexcept {
        std::erase_if(names_, [&](auto const& name) { return name.second == at->first; });
        families_.erase(at);
    }

    std::size_t max_series_;   // constant
    std::size_t max_per_name_;  // constant
    mutable std::shared_mutex mutex_;  // of all that follows
    families families_;
    std::unordered_set<entry_ptr, hash, equal> index_;
    std::map<std::string, std::string_view, std::less<>> names_;  // shown names, and the family that shows them
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
