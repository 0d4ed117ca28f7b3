// weir (BSL-1.0). stats_registry: one part for each name and labels, rules that hold, bounds that hold, and nothing half done.
#include <weir/data/stats.hpp>
#include <weir/data/stats_registry.hpp>

#include "support/failing_new.hpp"
#include "support/faults.hpp"
#include "support/sweep.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace weir_test {
namespace {

// What a registry shows: name{labels}, and the value.
class listing final : public weir::metric_sink {
public:
    std::vector<std::pair<std::string, double>> lines;
    explicit listing(weir::stats_registry const& registry) { registry.collect(*this); }
    void number(weir::metric_series const& s, weir::metric_field const& f, weir::metric_number n) override {
        lines.emplace_back(title(s, f), n.value());
    }
    void distribution(weir::metric_series const& s, weir::metric_field const& f, weir::metric_distribution const& d) override {
        lines.emplace_back(title(s, f), static_cast<double>(d.count()));
    }

private:
    static std::string title(weir::metric_series const& s, weir::metric_field const& f) {
        std::string text(s.name);
        text.append(f.name.empty() ? "" : ".").append(f.name);
        for (auto const& label : s.labels) {
            text.append(" ").append(label.name).append("=").append(label.value);
        }
        return text;
    }
};
using lines = std::vector<std::pair<std::string, double>>;

template <class Exception, class F>
std::string what_of(F f) {
    try {
        f();
    } catch (Exception const& e) {
        return e.what();
    }
    return "nothing was thrown";
}

TEST(stats_registry, the_same_name_and_labels_give_the_same_part_whatever_their_order) {
    weir::stats_registry registry;
    auto& a = registry.get<weir::counter>("hits", "what came", {{"path", "/"}, {"method", "get"}});
    auto& b = registry.get<weir::counter>("hits", "what came", {{"method", "get"}, {"path", "/"}});
    auto& c = registry.get<weir::counter>("hits", "", {{"method", "put"}, {"path", "/"}});
    auto& d = registry.get<weir::counter>("hits", "what came");
    EXPECT_EQ(&a, &b);
    EXPECT_NE(&a, &c);
    EXPECT_NE(&a, &d);
    EXPECT_EQ(registry.stats().names, 1U);
    EXPECT_EQ(registry.stats().series, 3U);
}

TEST(stats_registry, parts_stay_where_they_are) {
    weir::stats_registry registry;
    auto& first = registry.get<weir::counter>("c0", "");
    first.add(7);
    for (int i = 1; i < 1000; ++i) {
        registry.get<weir::counter>("c" + std::to_string(i), "");
    }
    EXPECT_EQ(&registry.get<weir::counter>("c0", ""), &first);
    EXPECT_EQ(first.value(), 7U);
}

TEST(stats_registry, a_part_is_made_of_the_arguments_given_when_it_is_new) {
    weir::stats_registry registry;
    auto& g = registry.get<weir::gauge>("level", "", {}, 5);
    EXPECT_EQ(g.value(), 5);
    EXPECT_EQ(registry.get<weir::gauge>("level", "", {}, 6).value(), 5);
    using sizes = weir::histogram<std::uint64_t>;
    auto& h = registry.get<sizes>("sizes", "", {}, sizes::options{.highest = 10});
    h.record(11);
    EXPECT_EQ(h.snapshot().above(), 1U);
}

TEST(stats_registry, a_label_without_a_value_is_no_label) {
    weir::stats_registry registry;
    EXPECT_EQ(&registry.get<weir::counter>("hits", "", {{"method", ""}}), &registry.get<weir::counter>("hits", ""));
}

TEST(stats_registry, shows_series_by_name_then_by_labels) {
    weir::stats_registry registry;
    registry.get<weir::counter>("b", "", {{"x", "2"}}).add(1);
    registry.get<weir::counter>("b", "", {{"x", "10"}}).add(2);
    registry.get<weir::counter>("a_b", "").add(3);
    registry.get<weir::gauge>("a", "").set(4);
    registry.get<weir::counter>("b", "", {{"w", "9"}}).add(5);
    registry.get<weir::counter>("b", "").add(6);
    EXPECT_EQ(listing(registry).lines, (lines{{"a", 4}, {"a_b", 3}, {"b", 6}, {"b w=9", 5}, {"b x=10", 2}, {"b x=2", 1}}));
}

TEST(stats_registry, refuses_by_name_what_the_exposition_format_forbids) {
    weir::stats_registry registry;
    auto const refused = [&](std::string_view name, weir::metric_labels labels, std::string_view help = "") {
        return what_of<std::invalid_argument>([&] { registry.get<weir::counter>(name, help, labels); });
    };
    EXPECT_EQ(refused("two words", {}), "weir::stats_registry: two words is no name: it must match [a-zA-Z_:][a-zA-Z0-9_:]*");
    EXPECT_EQ(refused("", {}), "weir::stats_registry:  is no name: it must match [a-zA-Z_:][a-zA-Z0-9_:]*");
    EXPECT_EQ(refused("a", {{"b:c", "1"}}),
              "weir::stats_registry: a: label b:c is no label's name: it must match [a-zA-Z_][a-zA-Z0-9_]* and not begin with __");
    EXPECT_NE(refused("a", {{"__name__", "1"}}).find("label __name__ is no label's name"), std::string::npos);
    EXPECT_NE(refused("a", {{"b-c", ""}}).find("label b-c is no label's name"), std::string::npos) << "also without a value";
    EXPECT_EQ(refused("a", {{"b", "1"}, {"c", "1"}, {"b", "2"}}), "weir::stats_registry: a: label b stands there twice");
    EXPECT_EQ(refused("a", {{"b", "\xff"}}), "weir::stats_registry: a: label b has a value that is not UTF-8");
    EXPECT_EQ(refused("a", {}, "\xc3"), "weir::stats_registry: a: its help text must be UTF-8");
    std::vector<std::string> names;
    for (int i = 0; i < 33; ++i) {
        names.push_back("l" + std::to_string(i));
    }
    std::vector<weir::metric_label> labels;
    for (auto const& n : names) {
        labels.push_back({n, "1"});
    }
    EXPECT_EQ(refused("a", labels), "weir::stats_registry: a has more than 32 labels");
    labels.pop_back();
    EXPECT_EQ(refused("a", labels), "nothing was thrown");
    EXPECT_EQ(registry.stats().series, 1U);
}

TEST(stats_registry, refuses_labels_that_the_part_sets_itself) {
    weir::stats_registry registry;
    auto const refused = [&]<class Part>(std::type_identity<Part>, std::string_view label) {
        return what_of<std::invalid_argument>([&] { registry.get<Part>("a", "", {{label, "1"}}); });
    };
    std::type_identity<weir::histogram<>> const histogram;
    EXPECT_EQ(refused(histogram, "le"), "weir::stats_registry: a: label le is one that this part sets itself");
    EXPECT_NE(refused(std::type_identity<weir::windowed<weir::histogram<>>>{}, "quantile"), "nothing was thrown");
    EXPECT_NE(refused(std::type_identity<weir::request_stats<>>{}, "outcome"), "nothing was thrown");
    EXPECT_NE(refused(std::type_identity<weir::request_stats<>>{}, "le"), "nothing was thrown");
    EXPECT_NE(refused(std::type_identity<weir::meter<>>{}, "window"), "nothing was thrown");
    EXPECT_EQ(registry.stats().series, 0U);
    EXPECT_EQ(refused(histogram, "quantile"), "nothing was thrown");
    EXPECT_EQ(what_of<std::invalid_argument>([&] { registry.get<weir::counter>("b", "", {{"le", "1"}}); }), "nothing was thrown");
}

TEST(stats_registry, a_name_has_one_kind_and_one_help_text) {
    weir::stats_registry registry;
    registry.get<weir::counter>("a", "apples", {{"x", "1"}});
    EXPECT_EQ(what_of<std::invalid_argument>([&] { registry.get<weir::gauge>("a", "apples", {{"x", "2"}}); }),
              "weir::stats_registry: a is of another kind already");
    EXPECT_EQ(what_of<std::invalid_argument>([&] { registry.get<weir::gauge>("a", "apples", {{"x", "1"}}); }),
              "weir::stats_registry: a with these labels is a part of another type");
    for (auto const* label : {"1", "2"}) {
        EXPECT_EQ(what_of<std::invalid_argument>([&] { registry.get<weir::counter>("a", "pears", {{"x", label}}); }),
                  "weir::stats_registry: a has another help text already");
    }
    registry.get<weir::counter>("a", "", {{"x", "0"}});
    registry.get<weir::counter>("a", "apples", {{"x", "0"}});
    EXPECT_EQ(what_of<std::invalid_argument>([&] { registry.get<weir::counter>("a", "pears", {{"x", "0"}}); }),
              "weir::stats_registry: a has another help text already")
        << "also where the text was left out at first";
    EXPECT_EQ(registry.stats().series, 2U);
}

TEST(stats_registry, two_names_are_never_shown_as_one) {
    weir::stats_registry registry;
    registry.get<weir::counter>("hits", "");
    EXPECT_EQ(what_of<std::invalid_argument>([&] { registry.get<weir::counter>("hits_total", ""); }),
              "weir::stats_registry: hits_total would be shown under a name that another one is shown under");
    registry.get<weir::histogram<std::uint64_t>>("size", "");
    for (auto const* name : {"size_count", "size_sum", "size_bucket"}) {
        EXPECT_THROW(registry.get<weir::gauge>(name, ""), std::invalid_argument) << name;
    }
    registry.get<weir::gauge>("latency_seconds_count", "");
    EXPECT_THROW(registry.get<weir::histogram<>>("latency", ""), std::invalid_argument);
    registry.get<weir::request_stats<>>("http", "");
    EXPECT_THROW(registry.get<weir::counter>("http_requests", ""), std::invalid_argument);
    EXPECT_EQ(registry.stats().names, 4U);
}

TEST(stats_registry, the_number_of_series_is_bounded_and_the_error_says_so) {
    weir::stats_registry registry({.max_series = 5, .max_series_per_name = 3});
    for (auto const* value : {"1", "2", "3"}) {
        registry.get<weir::counter>("a", "", {{"x", value}});
    }
    EXPECT_EQ(what_of<std::length_error>([&] { registry.get<weir::counter>("a", "", {{"x", "4"}}); }),
              "weir::stats_registry: a has max_series_per_name label values already");
    registry.get<weir::counter>("b", "");
    registry.get<weir::counter>("c", "");
    EXPECT_EQ(what_of<std::length_error>([&] { registry.get<weir::counter>("d", ""); }),
              "weir::stats_registry: d: the registry has max_series already");
    registry.get<weir::counter>("a", "", {{"x", "2"}});
    EXPECT_EQ(registry.stats().series, 5U);
    EXPECT_EQ(registry.stats().names, 3U);
}

TEST(stats_registry, options_that_make_no_sense_are_refused_by_name) {
    EXPECT_EQ(what_of<std::invalid_argument>([] { weir::stats_registry({.max_series = 0}); }),
              "weir::stats_registry: max_series must be >= 1");
    EXPECT_EQ(what_of<std::invalid_argument>([] { weir::stats_registry({.max_series_per_name = 0}); }),
              "weir::stats_registry: max_series_per_name must be >= 1");
}

TEST(stats_registry, try_get_gives_null_and_counts_where_get_would_throw) {
    weir::stats_registry registry({.max_series = 2, .max_series_per_name = 1});
    auto* const a = registry.try_get<weir::counter>("a", "", {{"x", "1"}});
    ASSERT_NE(a, nullptr);
    EXPECT_EQ(registry.try_get<weir::counter>("a", "", {{"x", "1"}}), a);
    EXPECT_EQ(registry.try_get<weir::counter>("a", "", {{"x", "2"}}), nullptr);
    EXPECT_EQ(registry.try_get<weir::counter>("a", "", {{"x", "\xff"}}), nullptr);
    EXPECT_EQ(registry.try_get<weir::gauge>("a", "", {{"x", "1"}}), nullptr);
    EXPECT_EQ(registry.try_get<weir::counter>("", ""), nullptr);
    ASSERT_NE(registry.try_get<weir::counter>("b", ""), nullptr);
    EXPECT_EQ(registry.try_get<weir::counter>("c", ""), nullptr);
    auto const stats = registry.stats();
    EXPECT_EQ(stats.full, 2U);
    EXPECT_EQ(stats.invalid, 3U);
    EXPECT_EQ(stats.lost, 0U);
    EXPECT_EQ(stats.series, 2U);
    using sizes = weir::histogram<std::uint64_t>;
    EXPECT_THROW(static_cast<void>(registry.try_get<sizes>("s", "", {}, sizes::options{.lowest = 0})), std::invalid_argument)
        << "what a part's own constructor throws is the caller's to know";
}

TEST(stats_registry, shows_a_part_that_stands_elsewhere_while_it_is_registered) {
    weir::stats_registry registry;
    weir::counter mine;
    mine.add(3);
    {
        auto const shown = registry.attach("mine", "", {{"x", "1"}}, mine);
        EXPECT_EQ(listing(registry).lines, (lines{{"mine x=1", 3}}));
        mine.add();
        EXPECT_EQ(listing(registry).lines, (lines{{"mine x=1", 4}}));
        EXPECT_THROW(static_cast<void>(registry.attach("mine", "", {{"x", "1"}}, mine)), std::invalid_argument);
        EXPECT_THROW(registry.get<weir::counter>("mine", "", {{"x", "1"}}), std::invalid_argument) << "it is not the registry's";
        registry.get<weir::counter>("mine", "", {{"x", "2"}}).add(9);
        EXPECT_EQ(listing(registry).lines, (lines{{"mine x=1", 4}, {"mine x=2", 9}}));
    }
    EXPECT_EQ(listing(registry).lines, (lines{{"mine x=2", 9}}));
}

TEST(stats_registry, a_name_whose_last_series_is_gone_is_free) {
    weir::stats_registry registry;
    weir::histogram<std::uint64_t> h;
    auto shown = registry.attach("size", "how big", {}, h);
    EXPECT_THROW(registry.get<weir::gauge>("size_count", ""), std::invalid_argument);
    shown.reset();
    shown.reset();
    registry.get<weir::gauge>("size", "something else");
    registry.get<weir::gauge>("size_count", "");
    EXPECT_EQ(registry.stats().names, 2U);
}

TEST(stats_registry, shows_what_functions_give) {
    weir::stats_registry registry;
    int n = 0;
    auto const a = registry.observe("calls", "", {}, [&n] { return ++n; }, weir::metric_kind::counter);
    auto const b = registry.observe("age", "", {}, [] { return std::chrono::minutes(2); });
    auto const c = registry.observe("self", "", {}, [&] { return registry.stats(); });
    EXPECT_EQ(listing(registry).lines, (lines{{"age", 120},
                                              {"calls", 1},
                                              {"self.names", 3},
                                              {"self.series", 3},
                                              {"self.refused", 0},
                                              {"self.refused", 0},
                                              {"self.refused", 0}}));
    EXPECT_EQ(n, 1);
}

TEST(stats_registry, what_an_observed_function_throws_reaches_who_collects) {
    weir::stats_registry registry;
    bool bad = true;
    auto const a = registry.observe("a", "", {}, [&bad] { return bad ? throw std::runtime_error("no") : 1; });
    EXPECT_THROW(listing{registry}, std::runtime_error);
    bad = false;
    EXPECT_EQ(listing(registry).lines, (lines{{"a", 1}})) << "and nothing is left locked";
}

TEST(stats_registry, a_registration_can_be_moved_and_may_outlive_the_registry) {
    std::optional<weir::stats_registry> registry(std::in_place);
    auto a = registry->observe("a", "", {}, [] { return 1; });
    auto b = std::move(a);
    a.reset();
    EXPECT_EQ(registry->stats().series, 1U);
    b = registry->observe("b", "", {}, [] { return 2; });
    EXPECT_EQ(listing(*registry).lines, (lines{{"b", 2}}));
    registry.reset();
    b.reset();
}

TEST(stats_registry, memory_that_fails_at_any_point_leaves_nothing_half_registered) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is not ours here";
    }
    auto const swept = for_each_fault(fault::operator_new, [](sweep_run& run) {
        weir::stats_registry registry;
        registry.get<weir::counter>("other", "");
        if (run.threw([&] { registry.get<weir::histogram<>>("latency_of_everything", "how long it takes", {{"method", "get"}}); })) {
            EXPECT_EQ(registry.stats().series, 1U);
            EXPECT_EQ(registry.stats().names, 1U);
            EXPECT_EQ(listing(registry).lines, (lines{{"other", 0}}));
            // All the names it would have been shown under are free.
            registry.get<weir::gauge>("latency_of_everything_seconds_bucket", "");
            registry.get<weir::gauge>("latency_of_everything_seconds", "");
        } else {
            EXPECT_EQ(registry.stats().series, 2U);
        }
    });
    EXPECT_GE(swept.thrown, 8U);
    auto const tried = for_each_fault(fault::operator_new, [](sweep_run& run) {
        weir::stats_registry registry;
        weir::counter* c = nullptr;
        EXPECT_FALSE(run.threw([&] { c = registry.try_get<weir::counter>("a", "b", {{"x", "1"}}); }));
        EXPECT_EQ(registry.stats().series, c == nullptr ? 0U : 1U);
        EXPECT_EQ(registry.stats().lost, c == nullptr ? 1U : 0U);
    });
    EXPECT_GE(tried.points, 5U);
}

TEST(stats_registry, memory_that_fails_leaves_a_name_with_the_series_that_it_had) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is not ours here";
    }
    auto const swept = for_each_fault(fault::operator_new, [](sweep_run& run) {
        weir::stats_registry registry;
        registry.get<weir::counter>("a", "", {{"x", "1"}});
        if (run.threw([&] { registry.get<weir::counter>("a", "", {{"x", "2"}}); })) {
            EXPECT_EQ(listing(registry).lines, (lines{{"a x=1", 0}}));
            registry.get<weir::counter>("a", "", {{"x", "2"}}).add();
            EXPECT_EQ(listing(registry).lines, (lines{{"a x=1", 0}, {"a x=2", 1}}));
        }
    });
    EXPECT_GE(swept.thrown, 4U);
}

TEST(stats_registry, memory_that_fails_while_attaching_leaves_nothing_attached) {
    if (!news_can_fail) {
        GTEST_SKIP() << "operator new is not ours here";
    }
    auto const swept = for_each_fault(fault::operator_new, [](sweep_run& run) {
        weir::stats_registry registry;
        weir::counter mine;
        weir::stats_registration shown;
        if (run.threw([&] { shown = registry.attach("mine", "help", {{"x", "1"}}, mine); })) {
            EXPECT_EQ(registry.stats().series, 0U);
            shown = registry.attach("mine", "help", {{"x", "1"}}, mine);
        }
        EXPECT_EQ(registry.stats().series, 1U);
    });
    EXPECT_GE(swept.thrown, 5U);
}

TEST(stats_registry, threads_that_ask_for_the_same_series_get_the_same_part) {
    constexpr int threads = 4;
    constexpr int rounds = 200;
    weir::stats_registry registry;
    std::barrier start(threads);
    std::atomic<int> differ{0};
    std::vector<std::atomic<weir::counter*>> seen(rounds);
    {
        std::vector<std::jthread> crowd;
        for (int t = 0; t < threads; ++t) {
            crowd.emplace_back([&] {
                for (std::size_t i = 0; i < rounds; ++i) {
                    start.arrive_and_wait();
                    auto& mine = registry.get<weir::counter>("c", "help", {{"i", std::to_string(i)}});
                    mine.add();
                    weir::counter* first = nullptr;
                    if (!seen[i].compare_exchange_strong(first, &mine) && first != &mine) {
                        ++differ;
                    }
                }
            });
        }
    }
    EXPECT_EQ(differ.load(), 0);
    listing const shown(registry);
    ASSERT_EQ(shown.lines.size(), static_cast<std::size_t>(rounds));
    for (auto const& [title, value] : shown.lines) {
        EXPECT_EQ(value, threads) << title;
    }
}

TEST(stats_registry, a_bound_holds_also_when_many_threads_reach_it_at_once) {
    weir::stats_registry registry({.max_series = 50, .max_series_per_name = 50});
    std::atomic<std::uint64_t> got{0};
    std::atomic<std::uint64_t> refused{0};
    {
        std::vector<std::jthread> crowd;
        for (int t = 0; t < 4; ++t) {
            crowd.emplace_back([&, t] {
                for (int i = 0; i < 100; ++i) {
                    auto const value = std::to_string(t * 1000 + i);
                    ++(registry.try_get<weir::counter>("c", "", {{"i", value}}) != nullptr ? got : refused);
                }
            });
        }
    }
    EXPECT_EQ(got.load(), 50U);
    EXPECT_EQ(refused.load(), 350U);
    EXPECT_EQ(registry.stats().series, 50U);
    EXPECT_EQ(registry.stats().full, 350U);
}

TEST(stats_registry, what_ends_while_others_are_shown_is_not_read_any_more) {
    weir::stats_registry registry;
    int reads = 0;
    weir::stats_registration b;
    auto const a = registry.observe("a", "", {}, [&] {
        b.reset();  // collect() is to come to it next
        return 1;
    });
    b = registry.observe("b", "", {}, [&] { return ++reads; });
    EXPECT_EQ(listing(registry).lines, (lines{{"a", 1}}));
    EXPECT_EQ(reads, 0);
}

TEST(stats_registry, the_end_of_a_registration_waits_for_a_function_that_is_running) {
    weir::stats_registry registry;
    std::atomic<bool> running{false};
    std::atomic<bool> ended{false};
    bool too_early = false;
    auto a = registry.observe("a", "", {}, [&] {
        running = true;
        for (int i = 0; i < 5000 && !too_early; ++i) {
            std::this_thread::yield();
            too_early = ended;
        }
        return 1;
    });
    std::jthread other([&] {
        while (!running) {
            std::this_thread::yield();
        }
        a.reset();
        ended = true;
    });
    listing const shown(registry);
    other.join();
    EXPECT_FALSE(too_early);
    EXPECT_TRUE(ended);
}

// Each round an object is registered, and gone right after its registration: whoever reads it then is told on by a sanitizer,
// and by its mark.
TEST(stats_registry, nobody_reads_what_is_not_registered_any_more) {
    weir::stats_registry registry;
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> read{0};
    std::atomic<std::uint64_t> dead{0};
    std::atomic<std::uint64_t> wrong{0};
    {
        std::vector<std::jthread> readers;
        for (int t = 0; t < 2; ++t) {
            readers.emplace_back([&] {
                while (!done) {
                    for (auto const& [title, value] : listing(registry).lines) {
                        ++(value == 1 ? read : dead);
                    }
                    // Finds the series or does not; must not make one, hence the text.
                    wrong += registry.try_get<weir::gauge>("a", "\xff") == nullptr ? 1 : 0;
                    std::this_thread::yield();
                }
            });
        }
        for (int i = 0; i < 20'000 && (i < 300 || read < 20); ++i) {
            auto alive = std::make_unique<int>(1);
            auto a = registry.observe("a", "", {}, [&one = *alive] { return one; });
            auto b = registry.observe("b", "", {{"i", std::to_string(i % 7)}}, [&one = *alive] { return one; });
            std::this_thread::yield();
            a.reset();
            b.reset();
            *alive = 0;
        }
        done = true;
    }
    EXPECT_GE(read.load(), 20U);
    EXPECT_EQ(dead.load(), 0U);
    EXPECT_EQ(registry.stats().invalid, wrong.load());
    EXPECT_EQ(registry.stats().series, 0U);
}

TEST(stats_registry, an_observed_function_may_ask_the_registry_for_more) {
    weir::stats_registry registry;
    auto const a = registry.observe("a", "", {}, [&] { return registry.get<weir::counter>("b", "").value(); });
    EXPECT_EQ(listing(registry).lines, (lines{{"a", 0}}));
    EXPECT_EQ(listing(registry).lines, (lines{{"a", 0}, {"b", 0}}));
}

}  // namespace
}  // namespace weir_test
