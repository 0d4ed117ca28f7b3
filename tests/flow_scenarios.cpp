// weir (BSL-1.0). flow_scenarios: runs the scenarios of files against the real classes, with a clock that is moved by hand.
#include "scenarios/breaker_subject.hpp"
#include "scenarios/limiter_subjects.hpp"
#include "scenarios/other_subjects.hpp"
#include "scenarios/scenario.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// usage: flow_scenarios --scenarios FILE [--scenarios FILE ...]
// A file is an object with a list `scenarios`, or such a list. A scenario: id, component, config, steps; `concurrent`: its operations
// that take something are also run by several threads, and the answers must be the same ones, in any order. A step: at_ms, op, args,
// expect, repeat. Whatever is not known is a failure, with its name. The last line is `N passed, N failed`; status 0 if none failed.

namespace weir_test {
namespace {

struct step {
    std::size_t number;  // from 1 on, in the file
    nanoseconds at;
    std::string op;
    json args;
    json expect;
    std::uint64_t repeat;
};

/// A component whose options made no sense, in place of one that has been made.
class refused_subject final : public subject {
public:
    explicit refused_subject(std::string why) : why_(std::move(why)) {}
    [[nodiscard]] bool admits(std::string const&) const override { return false; }
    answer perform(std::string const&, members const&) override {
        return answer{}.with("error", "invalid_config").with("what", why_);
    }

private:
    std::string why_;
};

struct scenario {
    explicit scenario(json const& text) {
        members const all(text, "scenario");
        id = all.get<std::string>("id");
        component = all.get<std::string>("component");
        config = all.has("config") ? all.at("config") : json::object();
        concurrent = all.get("concurrent", false);
        all.ignore({"source", "note"});
        auto const& list = all.at("steps");
        if (!list.is_array() || list.empty()) {
            throw mistake{"scenario: steps must be a list, and not empty"};
        }
        for (auto const& each : list) {
            members const one(each, "step " + std::to_string(steps.size() + 1));
            one.ignore({"peer_expect", "note"});
            auto const object = [&](char const* name) {
                auto const value = one.has(name) ? one.at(name) : json(nullptr);
                return value.is_null() ? json::object() : value;
            };
            steps.push_back({steps.size() + 1, one.time("at_ms"), one.get<std::string>("op"), object("args"), object("expect"),
                             one.get<std::uint64_t>("repeat", 1)});
            one.no_others();
        }
        all.no_others();
    }

    std::string id;
    std::string component;
    json config;
    std::vector<step> steps;
    bool concurrent = false;
};

std::unique_ptr<subject> make(scenario const& s, stage const& where) {
    members const config(s.config, "config");
    auto const& what = s.component;
    try {
        if (what == "breaker") {
            nanoseconds longest{0};
            for (auto const& each : s.steps) {
                if (each.args.contains("duration_ms")) {
                    longest = std::max(longest, from_ms(each.args.at("duration_ms")) - each.at);
                }
            }
            return make_breaker(config, where, longest);
        }
        if (what == "token_bucket") {
            return std::make_unique<bucket_subject>(config, where);
        }
        if (what == "token_bucket_all") {
            return std::make_unique<limits_subject>(config, where);
        }
        if (what == "keyed_token_bucket") {
            return std::make_unique<keyed_subject>(config, where);
        }
        if (what == "sliding_log") {
            return std::make_unique<log_subject>(config, where);
        }
        if (what == "sliding_counter") {
            return std::make_unique<counter_subject>(config, where);
        }
        if (what == "cached_limiter") {
            return std::make_unique<cached_subject>(config, where);
        }
        if (what == "backoff") {
            return std::make_unique<backoff_subject>(config);
        }
        if (what == "retry") {
            return std::make_unique<retry_subject>(config, where);
        }
        if (what == "retry_budget") {
            return make_budget(config, where);
        }
        if (what == "dedup") {
            return std::make_unique<dedup_subject>(config, where);
        }
        if (what == "bulkhead") {
            return std::make_unique<bulkhead_subject>(config);
        }
    } catch (std::invalid_argument const& e) {
        return std::make_unique<refused_subject>(e.what());
    }
    throw mistake{"unknown component " + what};
}

// -- Answers

bool ends_in(std::string_view name, std::string_view end) { return name.size() > end.size() && name.ends_with(end); }
bool is_time(std::string const& name) { return ends_in(name, "_ms"); }

// In a form in which equal ones are the same: times in ns, other numbers to the millionth, lists sorted.
json normal(std::string const& name, json value, bool expected) {
    if (value.is_number() && is_time(name)) {
        if (!expected) {
            return value;
        }
        return value == -1 ? json(-1) : json(from_ms(value).count());
    }
    if (value.is_number()) {
        auto const number = value.get<double>();
        return std::fabs(number) < 1e12 ? json(std::llround(number * 1e6)) : json(number);
    }
    if (value.is_array()) {
        std::sort(value.begin(), value.end());
    }
    return value;
}

// What was got of what was expected; in the form of the file.
json shown(json const& expect, answer const& got) {
    json object = json::object();
    for (auto const& [name, value] : expect.items()) {
        auto const* const field = got.find(name);
        if (field == nullptr) {
            continue;
        }
        bool const in_ns = field->is_number() && is_time(name) && *field != -1;
        object[name] = in_ns ? json(field->get<double>() / 1e6) : *field;
    }
    for (auto const* const more : {"error", "what", "admitted"}) {
        if (auto const* const field = got.find(more); field != nullptr && !field->is_null() && !object.contains(more)) {
            object[more] = *field;
        }
    }
    return object;
}

bool matches(std::string const& name, json const& value, answer const& got) {
    if (auto const* const field = got.find(name)) {
        return normal(name, *field, false) == normal(name, value, true);
    }
    for (auto const& [end, sign] : {std::pair{"_min", 1}, std::pair{"_max", -1}}) {
        auto const* const field = ends_in(name, end) ? got.find(name.substr(0, name.size() - 4)) : nullptr;
        if (field != nullptr && value.is_number()) {
            return sign * (field->get<double>() - value.get<double>()) >= 0;
        }
    }
    if (auto const* const error = got.find("error"); error != nullptr && *error == "invalid_config") {
        return false;
    }
    throw mistake{"unknown expectation " + name};
}

// None: as expected.
std::optional<std::string> check(step const& s, answer const& got) {
    bool good = true;
    for (auto const& [name, value] : s.expect.items()) {
        good = matches(name, value, got) && good;
    }
    if (auto const* const error = got.find("error"); error != nullptr && *error == "invalid_config" && !s.expect.contains("error")) {
        good = false;
    }
    if (good) {
        return {};
    }
    return "expected " + s.expect.dump() + ", got " + shown(s.expect, got).dump();
}

// -- Runs

std::string place(step const& s) {
    char at[64];
    std::snprintf(at, sizeof at, "%.12g", static_cast<double>(s.at.count()) / 1e6);
    return "step " + std::to_string(s.number) + " (" + s.op + (s.args.empty() ? "" : " " + s.args.dump()) + " at " + at + " ms): ";
}

answer perform(subject& what, step const& s) {
    members const args(s.args, "args");
    auto const got = what.perform(s.op, args);
    if (got.find("what") == nullptr) {  // else nobody has looked at them
        args.no_others();
    }
    return got;
}

// `construct` is the same for all: it has been done already.
answer perform_or_construct(subject& what, step const& s) {
    if (s.op == "construct" && dynamic_cast<refused_subject*>(&what) == nullptr) {
        return answer{}.with("error", nullptr);
    }
    return perform(what, s);
}

std::optional<std::string> run_steps(subject& what, stage const& where, step const* first, step const* last) {
    for (; first != last; ++first) {
        where.set(first->at);
        for (std::uint64_t i = 0; i < first->repeat; ++i) {
            where.set(first->at);
            std::optional<std::string> wrong;
            try {
                wrong = check(*first, perform_or_construct(what, *first));
            } catch (std::exception const& e) {
                wrong = e.what();
            }
            if (wrong) {
                return place(*first) + (first->repeat > 1 ? "time " + std::to_string(i + 1) + ": " : "") + *wrong;
            }
        }
    }
    return {};
}

std::optional<std::string> run_in_order(scenario const& s) {
    stage const where;
    auto const what = make(s, where);
    return run_steps(*what, where, s.steps.data(), s.steps.data() + s.steps.size());
}

std::vector<std::string> names_in(json const& object) {
    std::vector<std::string> names;
    for (auto const& [name, value] : object.items()) {
        names.push_back(name);
    }
    return names;
}

// Steps at one time, by several threads: the answers must be those expected, in any order.
std::optional<std::string> run_at_once(subject& what, stage const& where, step const* first, step const* last) {
    std::vector<step const*> calls;
    json expected = json::array();
    for (auto const* s = first; s != last; ++s) {
        json normal_form = json::object();
        for (auto const& [name, value] : s->expect.items()) {
            normal_form[name] = normal(name, value, true);
        }
        for (std::uint64_t i = 0; i < s->repeat; ++i) {
            calls.push_back(s);
            expected.push_back(normal_form);
        }
    }
    where.set(first->at);
    std::vector<json> got(calls.size());
    auto const threads = std::min<std::size_t>(8, calls.size());
    run_together(threads, [&](std::size_t who) {
        for (std::size_t i = who; i < calls.size(); i += threads) {
            auto const a = perform(what, *calls[i]);
            got[i] = json::object();
            for (auto const& [name, value] : calls[i]->expect.items()) {
                auto const* const field = a.find(name);
                if (field == nullptr) {
                    throw mistake{"unknown expectation " + name};
                }
                got[i][name] = normal(name, *field, false);
            }
        }
    });
    std::sort(got.begin(), got.end());
    std::sort(expected.begin(), expected.end());
    if (json(got) != expected) {
        return "by " + std::to_string(threads) + " threads: expected " + expected.dump() + " in any order, got " + json(got).dump();
    }
    return {};
}

std::optional<std::string> run_concurrently(scenario const& s) {
    stage const where;
    auto const what = make(s, where);
    auto const* const end = s.steps.data() + s.steps.size();
    for (auto const* first = s.steps.data(); first != end;) {
        auto const* last = first + 1;
        if (!what->admits(first->op)) {
            if (auto wrong = run_steps(*what, where, first, last)) {
                return wrong;
            }
        } else {
            while (last != end && last->at == first->at && what->admits(last->op) && names_in(last->expect) == names_in(first->expect)) {
                ++last;
            }
            std::optional<std::string> wrong;
            try {
                wrong = run_at_once(*what, where, first, last);
            } catch (std::exception const& e) {
                wrong = e.what();
            }
            if (wrong) {
                return place(*first) + *wrong;
            }
        }
        first = last;
    }
    return {};
}

std::optional<std::string> run(scenario const& s) {
    for (int round = 0; s.concurrent && round < 20; ++round) {
        if (auto wrong = run_concurrently(s)) {
            return "concurrently: " + *wrong;
        }
    }
    return run_in_order(s);
}

struct tally {
    std::size_t passed = 0;
    std::size_t failed = 0;

    void fail(std::string const& who, std::string const& why) {
        ++failed;
        std::printf("FAILED %s: %s\n", who.c_str(), why.c_str());
    }
};

void run_one(json const& text, std::string const& file, std::size_t number, tally& t) {
    auto name = file + ", scenario " + std::to_string(number);
    if (text.is_object() && text.contains("id") && text["id"].is_string()) {
        name = text["id"].get<std::string>();
    }
    try {
        auto const wrong = run(scenario(text));
        if (wrong) {
            t.fail(name, *wrong);
        } else {
            ++t.passed;
        }
    } catch (std::exception const& e) {
        t.fail(name, e.what());
    }
}

void run_file(std::string const& file, tally& t) {
    json text;
    try {
        std::ifstream in(file);
        if (!in) {
            throw mistake{"cannot be read"};
        }
        text = json::parse(in);
        json const list = text.is_array() ? text : members(text, "the file").at("scenarios");
        if (!list.is_array() || list.empty()) {
            throw mistake{"holds no scenarios"};
        }
        if (text.is_object() && text.contains("count") && text["count"] != list.size()) {
            throw mistake{"holds " + std::to_string(list.size()) + " scenarios, and says " + text["count"].dump()};
        }
        for (std::size_t i = 0; i < list.size(); ++i) {
            run_one(list[i], file, i + 1, t);
        }
    } catch (std::exception const& e) {
        t.fail(file, e.what());
    }
}

int main_with(std::vector<std::string> const& arguments) {
    if (arguments.empty() || arguments.size() % 2 != 0) {
        std::fprintf(stderr, "usage: flow_scenarios --scenarios FILE [--scenarios FILE ...]\n");
        return 2;
    }
    tally t;
    for (std::size_t i = 0; i < arguments.size(); i += 2) {
        if (arguments[i] != "--scenarios") {
            std::fprintf(stderr, "flow_scenarios: unknown argument %s\n", arguments[i].c_str());
            return 2;
        }
        run_file(arguments[i + 1], t);
    }
    std::printf("%zu passed, %zu failed\n", t.passed, t.failed);
    return t.failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace weir_test

int main(int argc, char** argv) { return weir_test::main_with({argv + 1, argv + argc}); }
