// weir (BSL-1.0). stats_registry: names, help texts and labels, and the statistics that stand under them.
#ifndef WEIR_DATA_STATS_REGISTRY_HPP
#define WEIR_DATA_STATS_REGISTRY_HPP
#include <weir/base/concepts.hpp>
#include <weir/base/metrics.hpp>
#include <weir/data/detail/registry_table.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <stdexcept>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

// When:     somebody outside of the program is to see its numbers: weir/with/prometheus.hpp and fmt.hpp show a whole registry.
// When not: the numbers stay inside: a member of type weir::counter needs no name.
// Source:   names, labels and what is refused as in Prometheus' data model and its Go client; get or create as in Micrometer.
//
// A series is a name and a set of labels. What may stand under it is any metric_source: counter, gauge, histogram, windowed,
// meter and request_stats of weir/data/stats.hpp, any object with described stats(), or a function.
// One that has several numbers is shown under several names, each made of the given one: see base/detail/metric_names.hpp.

namespace weir::inline v0 {

struct stats_registry_options {
    std::size_t max_series = 10'000;          // >= 1; more are refused: labels that anybody may choose would fill the memory
    std::size_t max_series_per_name = 1'000;  // >= 1
};

/// What a registry holds, and how often try_get() gave nothing.
struct stats_registry_stats {
    std::size_t names = 0;
    std::size_t series = 0;
    std::uint64_t full = 0;     // calls of try_get that got nothing: a bound of the options
    std::uint64_t invalid = 0;  // the same: what get() would refuse by std::invalid_argument
    std::uint64_t lost = 0;     // the same: no memory
};
template <>
inline constexpr auto stats_fields<stats_registry_stats> = std::tuple{
    gauge_field("names", "names registered", &stats_registry_stats::names),
    gauge_field("series", "series registered", &stats_registry_stats::series),
    counter_field("refused", "series that were not registered", &stats_registry_stats::full, metric_unit::none, {"reason", "full"}),
    counter_field("refused", "series that were not registered", &stats_registry_stats::invalid, metric_unit::none,
                  {"reason", "invalid"}),
    counter_field("refused", "series that were not registered", &stats_registry_stats::lost, metric_unit::none,
                  {"reason", "memory"})};

/// A function without arguments that gives a metric_value or described stats.
template <class F>
concept metric_callback = std::move_constructible<F> && requires(F& f) {
    requires metric_value<std::remove_cvref_t<decltype(f())>> || metric_source<std::remove_cvref_t<decltype(f())>>;
};

/// Keeps in a registry what stands elsewhere: a part that was attached, or a function. Ends it when it goes.
/// Threads:  one at a time. Lifetime: may outlive the registry.
class [[nodiscard]] stats_registration {
public:
    stats_registration() noexcept = default;
    stats_registration(stats_registration&& other) noexcept = default;
    stats_registration& operator=(stats_registration&& other) noexcept {
        stats_registration ended(std::move(*this));
        table_ = std::move(other.table_);
        entry_ = std::move(other.entry_);
        return *this;
    }
    ~stats_registration() { reset(); }

    /// When it returns, the part or function is not being used any more, and will not be.
    /// Progress: waits for a collect() that reads it just now, and for who changes the registry. Not from the function itself.
    void reset() noexcept {
        if (auto const table = std::exchange(table_, nullptr)) {
            table->remove(entry_);
            entry_->detach();
            entry_ = nullptr;
        }
    }

private:
    friend class stats_registry;
    stats_registration(std::shared_ptr<detail::registry_table> table, std::shared_ptr<detail::registry_entry> entry) noexcept
        : table_(std::move(table)), entry_(std::move(entry)) {}

    std::shared_ptr<detail::registry_table> table_;  // none: nothing to end
    std::shared_ptr<detail::registry_entry> entry_;
};

/// Threads:  every member but constructor and destructor, from any thread at once.
/// Memory:   about 500 bytes a series, its text and the part itself.
/// Lifetime: parts from get() live as long as the registry. Keep the reference: get() looks it up each time.
/// Names must match [a-zA-Z_:][a-zA-Z0-9_:]*, names of labels [a-zA-Z_][a-zA-Z0-9_]* without __ at their beginning, values and
/// help must be UTF-8; at most 32 labels. An empty value is the same as no label. All series of a name have one kind and one
/// help text; who comes later may leave the text empty. Whatever breaks a rule: std::invalid_argument that says which name.
class stats_registry {
public:
    using options = stats_registry_options;
    using registration = stats_registration;

    /// Throws: std::invalid_argument naming the option, std::bad_alloc.
    explicit stats_registry(options o = {})
        : table_(std::make_shared<detail::registry_table>(checked(o).max_series, o.max_series_per_name)) {}
    stats_registry(stats_registry const&) = delete;
    stats_registry& operator=(stats_registry const&) = delete;

    /// The part of this name and these labels; made of `args` if it is not there.
    /// Progress: may block: a look-up while a series is added or removed, an addition also while others look up.
    /// Cost:     a hash and a comparison of the text. Constructs a Part in vain if two threads add the same series at once.
    /// Throws:   std::invalid_argument, std::length_error if a bound of the options is reached, std::bad_alloc, and what Part's
    ///           constructor throws. Nothing has changed then.
    template <metric_source Part, class... Args>
        requires std::constructible_from<Part, Args...>
    Part& get(std::string_view name, std::string_view help, metric_labels labels = {}, Args&&... args) {
        auto const [part, verdict] = find_or_make<Part>(name, help, labels, std::forward<Args>(args)...);
        if (part == nullptr) {
            detail::throw_refusal(verdict, name);
        }
        return *part;
    }

    /// The same where names or labels come with each call and none may be an accident: null, and stats() counts it, where get()
    /// would throw for its own reasons. Throws: what Part's constructor throws, but for std::bad_alloc.
    template <metric_source Part, class... Args>
        requires std::constructible_from<Part, Args...>
    [[nodiscard]] Part* try_get(std::string_view name, std::string_view help, metric_labels labels = {}, Args&&... args) {
        try {
            auto const [part, verdict] = find_or_make<Part>(name, help, labels, std::forward<Args>(args)...);
            if (part == nullptr) {
                bool const full = verdict.why >= detail::registry_refusal::full;
                count(full ? full_ : invalid_);
            }
            return part;
        } catch (std::bad_alloc const&) {
            count(lost_);
            return nullptr;
        }
    }

    /// Shows a part that stands elsewhere until the registration ends. The part must live longer.
    /// Progress: may block, as get(). Throws: as get(); std::invalid_argument also if the series exists.
    template <metric_source Part>
    [[nodiscard]] registration attach(std::string_view name, std::string_view help, metric_labels labels, Part const& part) {
        return observe(name, help, labels, [&part]() -> Part const& { return part; });
    }

    /// Shows what f() gives, each time anew, until the registration ends: its fields, if that is described; a histogram, if it
    /// is a distribution; else a number that is a gauge, or a counter: then it may never become less.
    /// f is never called twice at once. It may call the registry, but not end its own registration. What it throws leaves collect().
    /// Progress: may block, as get(). Throws: as attach(), and what moving f throws.
    template <metric_callback F>
    [[nodiscard]] registration observe(std::string_view name, std::string_view help, metric_labels labels, F f,
                                       metric_kind kind = metric_kind::gauge);

    /// Writes all series into the sink, ordered by name, then by labels. Meanwhile others may come and go.
    /// Progress: may block: while a series is added or removed, and while another collect() is in the same function.
    /// Throws:   what the sink and observed functions throw, std::bad_alloc.
    void collect(metric_sink& sink) const {
        for (auto const& entry : table_->all()) {
            entry->write(sink);
        }
    }

    /// Progress: may block, as a look-up.
    [[nodiscard]] stats_registry_stats stats() const {
        auto const [names, series] = table_->names_and_series();
        auto const read = [](std::atomic<std::uint64_t> const& n) {
            return n.load(std::memory_order_relaxed);  // relaxed: a number, publishes nothing
        };
        return {.names = names, .series = series, .full = read(full_), .invalid = read(invalid_), .lost = read(lost_)};
    }

private:
    template <class Part>
    class owned;
    template <class F>
    class observed;

    static options const& checked(options const& o) {
        if (o.max_series < 1) {
            throw std::invalid_argument{"weir::stats_registry: max_series must be >= 1"};
        }
        if (o.max_series_per_name < 1) {
            throw std::invalid_argument{"weir::stats_registry: max_series_per_name must be >= 1"};
        }
        return o;
    }
    static void count(std::atomic<std::uint64_t>& n) noexcept {
        n.fetch_add(1, std::memory_order_relaxed);  // relaxed: a number, publishes nothing
    }

    // Tells part types apart by their names, which are the same in every shared library.
    template <class Part>
    static constexpr std::string_view type_name() noexcept {
        return __PRETTY_FUNCTION__;
    }

    template <class Part, class... Args>
    std::pair<Part*, detail::registry_verdict> find_or_make(std::string_view name, std::string_view help, metric_labels labels,
                                                            Args&&... args);

    std::shared_ptr<detail::registry_table> table_;  // constant; what it points to goes with the last registration
    std::atomic<std::uint64_t> full_{0};
    std::atomic<std::uint64_t> invalid_{0};
    std::atomic<std::uint64_t> lost_{0};
};

template <>
inline constexpr bool is_internally_synchronized<stats_registry> = true;

template <class Part>
class stats_registry::owned final : public detail::registry_entry {
public:
    template <class... Args>
    owned(detail::series_key const& key, std::string_view help, Args&&... args)
        : registry_entry(key, help, metric_shape<Part>()), part_(std::forward<Args>(args)...) {}

    void write(metric_sink& sink) const override { write_metrics(series(), part_, sink); }
    [[nodiscard]] void* part(std::string_view type) noexcept override { return type == type_name<Part>() ? &part_ : nullptr; }

private:
    Part part_;
};

template <class F>
class stats_registry::observed final : public detail::registry_entry {
    using value = std::remove_cvref_t<decltype(std::declval<F&>()())>;

    static std::span<metric_field const> shape_of(metric_kind kind) noexcept {
        if constexpr (metric_source<value>) {
            return metric_shape<value>();
        } else {
            static constexpr auto unit = detail::unit_of<value>(metric_unit::none);
            static constexpr metric_field shapes[] = {{{}, {}, metric_kind::counter, unit},
                                                      {{}, {}, metric_kind::gauge, unit},
                                                      {{}, {}, metric_kind::histogram, unit},
                                                      {{}, {}, metric_kind::summary, unit}};
            if constexpr (distribution_snapshot<value>) {
                kind = kind == metric_kind::summary ? kind : metric_kind::histogram;
            } else {
                kind = kind == metric_kind::counter ? kind : metric_kind::gauge;
            }
            return {&shapes[static_cast<std::size_t>(kind)], 1};
        }
    }

public:
    observed(detail::series_key const& key, std::string_view help, F f, metric_kind kind)
        : registry_entry(key, help, shape_of(kind)), f_(std::move(f)) {}

    void write(metric_sink& sink) const override {
        std::lock_guard const lock(busy_);
        if (!attached_) {
            return;
        }
        if constexpr (metric_source<value>) {
            write_metrics(series(), f_(), sink);
        } else {
            write_metric(series(), shape().front(), f_(), sink);
        }
    }
    void detach() noexcept override {
        std::lock_guard const lock(busy_);
        attached_ = false;
    }

private:
    mutable std::mutex busy_;  // of what follows
    mutable F f_;
    bool attached_ = true;
};

template <class Part, class... Args>
auto stats_registry::find_or_make(std::string_view name, std::string_view help, metric_labels labels, Args&&... args)
    -> std::pair<Part*, detail::registry_verdict> {
    detail::series_key const key(name, labels);
    constexpr auto type = type_name<Part>();
    if (auto const known = table_->find(key, type, help); known.found) {
        return {static_cast<Part*>(known.part), known.verdict};
    }
    if (auto const verdict = detail::check_series(key, help, metric_shape<Part>()); verdict.why != detail::registry_refusal::none) {
        return {nullptr, verdict};
    }
    auto const made = std::make_shared<owned<Part>>(key, help, std::forward<Args>(args)...);
    auto const answer = table_->add(made, type, help);
    return {static_cast<Part*>(answer.part), answer.verdict};
}

template <metric_callback F>
auto stats_registry::observe(std::string_view name, std::string_view help, metric_labels labels, F f, metric_kind kind)
    -> registration {
    detail::series_key const key(name, labels);
    auto entry = std::make_shared<observed<F>>(key, help, std::move(f), kind);
    auto verdict = detail::check_series(key, help, entry->shape());
    if (verdict.why == detail::registry_refusal::none) {
        auto const answer = table_->add(entry, {}, help);
        verdict = answer.found ? detail::registry_verdict{detail::registry_refusal::exists} : answer.verdict;
    }
    if (verdict.why != detail::registry_refusal::none) {
        detail::throw_refusal(verdict, name);
    }
    return {table_, std::move(entry)};
}

}  // namespace weir::inline v0
#endif
