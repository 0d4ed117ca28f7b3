// weir (BSL-1.0). scenario: a case from a file: at which time what is done, and what must be answered.
#ifndef WEIR_TESTS_SCENARIOS_SCENARIO_HPP
#define WEIR_TESTS_SCENARIOS_SCENARIO_HPP
#include <weir/base/clock.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace weir_test {

using nlohmann::json;
using std::chrono::nanoseconds;

/// The file asks for something that there is not: an operation, an option, a field of an answer.
struct mistake : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// A number of ms as in the files, to the ns. Whole numbers are exact however large.
inline nanoseconds from_ms(json const& number) {
    if (!number.is_number()) {
        throw mistake{"a time must be a number of ms, and is " + number.dump()};
    }
    constexpr std::int64_t per_ms = 1'000'000;
    auto const value = number.get<double>();
    auto const whole = std::floor(value);
    if (!(std::fabs(whole) <= static_cast<double>(std::numeric_limits<std::int64_t>::max() / per_ms))) {
        throw mistake{"a time is out of range: " + number.dump()};
    }
    return nanoseconds{static_cast<std::int64_t>(whole) * per_ms + std::llround((value - whole) * per_ms)};
}

/// The members of an object, each to be asked for by name; those that nobody has asked for are unknown.
class members {
public:
    members(json const& object, std::string what) : object_(object), what_(std::move(what)) {
        if (!object_.is_object()) {
            throw mistake{what_ + " must be an object"};
        }
    }

    [[nodiscard]] bool has(std::string const& name) const {
        known_.insert(name);
        return object_.contains(name);
    }
    [[nodiscard]] json const& at(std::string const& name) const {
        if (!has(name)) {
            throw mistake{what_ + " has no " + name};
        }
        return object_.at(name);
    }
    template <class T>
    [[nodiscard]] T get(std::string const& name, T otherwise) const {
        return has(name) ? as<T>(name) : otherwise;
    }
    template <class T>
    [[nodiscard]] T get(std::string const& name) const {
        static_cast<void>(at(name));
        return as<T>(name);
    }
    [[nodiscard]] nanoseconds time(std::string const& name, nanoseconds otherwise) const {
        return has(name) ? from_ms(object_.at(name)) : otherwise;
    }
    [[nodiscard]] nanoseconds time(std::string const& name) const { return from_ms(at(name)); }
    /// The value that goes with one of these names.
    template <class T>
    [[nodiscard]] T choice(std::string const& name, std::initializer_list<std::pair<char const*, T>> choices, T otherwise) const {
        if (!has(name)) {
            return otherwise;
        }
        for (auto const& [word, value] : choices) {
            if (object_.at(name) == word) {
                return value;
            }
        }
        throw mistake{what_ + ": unknown " + name + " " + object_.at(name).dump()};
    }
    [[nodiscard]] members below(std::string const& name) const {
        return members{has(name) ? object_.at(name) : json::object(), what_ + ", " + name};
    }
    void ignore(std::initializer_list<char const*> names) const { known_.insert(names.begin(), names.end()); }

    /// To be called when all has been asked for.
    void no_others() const {
        for (auto const& [name, value] : object_.items()) {
            if (!known_.contains(name)) {
                throw mistake{what_ + ": unknown " + name};
            }
        }
    }

private:
    template <class T>
    [[nodiscard]] T as(std::string const& name) const {
        auto const& value = object_.at(name);
        bool good = true;
        if constexpr (std::is_same_v<T, bool>) {
            good = value.is_boolean();
        } else if constexpr (std::is_integral_v<T>) {
            good = value.is_number() && std::floor(value.get<double>()) == value.get<double>() &&
                   (std::is_signed_v<T> || value.get<double>() >= 0);
        } else if constexpr (std::is_floating_point_v<T>) {
            good = value.is_number();
        } else {
            good = value.is_string();
        }
        if (!good) {
            throw mistake{what_ + ": " + name + " cannot be " + value.dump()};
        }
        return value.get<T>();
    }

    json object_;
    std::string what_;
    mutable std::set<std::string> known_;
};

/// The time of a scenario. Copies share it.
class stage {
public:
    stage() : start_(clock.now()) {}
    void set(nanoseconds at) const { clock.set(start_ + at); }
    [[nodiscard]] nanoseconds now() const { return clock.now() - start_; }
    [[nodiscard]] nanoseconds when(weir::manual_clock::time_point t) const { return t - start_; }

    weir::manual_clock clock;

private:
    weir::manual_clock::time_point start_;
};

/// What an operation answers, by the names that the files use; a time, under a name that ends in _ms, in ns.
class answer {
public:
    answer() = default;
    answer& with(std::string const& name, json value) {
        fields_[name] = std::move(value);
        return *this;
    }
    answer& with(std::string const& name, nanoseconds time) { return with(name, json(time.count())); }
    [[nodiscard]] json const* find(std::string const& name) const {
        auto const it = fields_.find(name);
        return it == fields_.end() ? nullptr : &*it;
    }

private:
    json fields_ = json::object();
};

/// A component under test. Its constructor takes the config and throws std::invalid_argument if that makes no sense.
class subject {
public:
    subject() = default;
    subject(subject const&) = delete;
    subject& operator=(subject const&) = delete;
    virtual ~subject() = default;

    /// From several threads at once if `admits(op)`.
    virtual answer perform(std::string const& op, members const& args) = 0;
    /// Whether the operation takes one of something that is limited, so that the order of several at once does not matter.
    [[nodiscard]] virtual bool admits(std::string const& op) const = 0;
};

[[noreturn]] inline void unknown_operation(std::string const& op) { throw mistake{"unknown operation " + op}; }

}  // namespace weir_test
#endif
