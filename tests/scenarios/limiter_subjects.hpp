// weir (BSL-1.0). limiter_subjects: the rate limiters as scenarios speak of them.
#ifndef WEIR_TESTS_SCENARIOS_LIMITER_SUBJECTS_HPP
#define WEIR_TESTS_SCENARIOS_LIMITER_SUBJECTS_HPP
#include <weir/flow/rate_limiter.hpp>

#include "scenario.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weir_test {

inline answer answer_of(weir::rate_decision const& d, bool never) {
    return answer{}
        .with("allowed", d.allowed)
        .with("remaining", d.remaining)
        .with("retry_after_ms", d.retry_after)
        .with("reset_after_ms", d.reset_after)
        .with("error", never ? json("insufficient_capacity") : json(nullptr));
}
inline answer answer_of(weir::rate_decision const& d) {
    return answer_of(d, !d.allowed && d.retry_after == weir::rate_decision::never);
}

inline weir::token_bucket_options bucket_from(members const& config) {
    weir::token_bucket_options o;
    o.limit = config.get("limit", o.limit);
    o.period = config.time("period_ms", o.period);
    o.burst = config.get("burst", o.burst);
    if (config.has("initial_tokens")) {
        o.initial_tokens = config.get<std::int64_t>("initial_tokens");
    }
    o.max_reserve = config.time("max_reserve_ms", o.max_reserve);
    return o;
}

class bucket_subject final : public subject {
    using bucket = weir::token_bucket<weir::manual_clock>;

public:
    bucket_subject(members const& config, stage const& s) : stage_(s), bucket_(options_from(config), s.clock) {}
    [[nodiscard]] bool admits(std::string const& op) const override { return op == "allow"; }

    answer perform(std::string const& op, members const& args) override {
        if (op == "allow") {
            return answer_of(bucket_.allow(args.get<std::int64_t>("n", 1)));
        }
        if (op == "allow_at_most") {
            auto const g = bucket_.allow_at_most(args.get<std::int64_t>("n"));
            return answer{}
                .with("granted", g.granted)
                .with("remaining", g.remaining)
                .with("retry_after_ms", g.retry_after)
                .with("reset_after_ms", g.reset_after)
                .with("error", nullptr);
        }
        if (op == "balance") {
            return answer{}.with("tokens", bucket_.balance());
        }
        if (op == "reserve") {
            return reserve(args);
        }
        if (op == "cancel") {
            auto const it = reservations_.find(args.get<std::string>("reservation"));
            if (it == reservations_.end()) {
                throw mistake{"there is no reservation " + args.get<std::string>("reservation")};
            }
            auto r = std::exchange(it->second, std::nullopt);
            return answer{}.with("restored", r ? bucket_.cancel(std::move(*r)) : 0);
        }
        if (op == "run") {
            return run(args.time("every_ms"), args.time("until_ms"));
        }
        if (op == "run_wait") {
            return run_wait(args.get<unsigned>("count"), args.time("step_ms"));
        }
        unknown_operation(op);
    }

private:
    static weir::token_bucket_options options_from(members const& config) {
        auto const o = bucket_from(config);
        config.no_others();
        return o;
    }
    answer reserve(members const& args) {
        auto r = bucket_.reserve(args.get<std::int64_t>("n", 1), args.time("max_wait_ms", nanoseconds::max()));
        auto const name = args.get<std::string>("as", "");
        bool const ok = r.has_value();
        answer a;
        a.with("ok", ok).with("act_at_ms", nullptr).with("retry_after_ms", nanoseconds{-1}).with("error", nullptr);
        if (ok) {
            a.with("act_at_ms", stage_.when(r->at()));
        } else {
            a.with("retry_after_ms", r.error().retry_after);
            if (r.error().reason == weir::refusal::over_capacity) {
                a.with("error", "insufficient_capacity");
            }
        }
        if (!name.empty()) {
            reservations_[name] = ok ? std::optional(std::move(*r)) : std::nullopt;
        }
        return a;
    }
    // Somebody who asks every so often, from now on to a time.
    answer run(nanoseconds every, nanoseconds until) {
        if (every.count() <= 0) {
            throw mistake{"every_ms must be > 0"};
        }
        std::int64_t admitted = 0;
        for (auto at = stage_.now(); at < until; at += every) {
            stage_.set(at);
            admitted += bucket_.try_acquire() ? 1 : 0;
        }
        return answer{}.with("admitted", admitted);
    }
    // So many times: asks until it is refused; waits a step; then what it is told must be the exact time at which it would succeed.
    answer run_wait(unsigned count, nanoseconds step) {
        unsigned conforming = 0;
        for (unsigned i = 0; i < count; ++i) {
            while (bucket_.try_acquire()) {
            }
            stage_.set(stage_.now() + step);
            while (bucket_.try_acquire()) {
            }
            auto const wait = bucket_.allow().retry_after;
            auto const then = stage_.now() + wait;
            stage_.set(then - nanoseconds{1});
            bool const early = bucket_.try_acquire();
            stage_.set(then);
            conforming += wait.count() > 0 && !early && bucket_.try_acquire() ? 1U : 0U;
        }
        return answer{}.with("conforming", conforming);
    }

    stage stage_;
    bucket bucket_;
    std::map<std::string, std::optional<bucket::reservation>> reservations_;  // none: was refused, or is cancelled
};

class limits_subject final : public subject {
public:
    limits_subject(members const& config, stage const& s) : limits_(options_from(config), s.clock) {}
    [[nodiscard]] bool admits(std::string const& op) const override { return op == "allow"; }
    answer perform(std::string const& op, members const& args) override {
        if (op == "allow") {
            return answer_of(limits_.allow(args.get<std::int64_t>("n", 1)));
        }
        unknown_operation(op);
    }

private:
    static std::vector<weir::token_bucket_options> options_from(members const& config) {
        std::vector<weir::token_bucket_options> all;
        auto const& limits = config.at("limits");
        if (!limits.is_array()) {
            throw mistake{"config: limits must be a list"};
        }
        for (auto const& each : limits) {
            members const one(each, "config, limits");
            all.push_back(bucket_from(one));
            one.no_others();
        }
        config.no_others();
        return all;
    }

    weir::rate_limits<weir::manual_clock> limits_;
};

class keyed_subject final : public subject {
public:
    keyed_subject(members const& config, stage const& s) : limiter_(bucket_from(config), options_from(config), s.clock) {}
    [[nodiscard]] bool admits(std::string const& op) const override { return op == "allow"; }
    answer perform(std::string const& op, members const& args) override {
        if (op == "allow") {
            auto const key = args.get<std::string>("key");
            {
                std::lock_guard const hold(mutex_);
                asked_.insert(key);
            }
            return answer_of(limiter_.allow(key, args.get<std::int64_t>("n", 1)));
        }
        if (op == "flood") {
            auto const prefix = args.get<std::string>("prefix");
            for (std::uint64_t i = 0; i < args.get<std::uint64_t>("keys"); ++i) {
                static_cast<void>(limiter_.allow(prefix + std::to_string(i)));
                asked_.insert(prefix + std::to_string(i));
            }
            return {};
        }
        if (op == "cleanup") {
            limiter_.cleanup();
            // A limiter cannot list its keys: those of which it still knows something, and it must have as many.
            json keys = json::array();
            for (auto const& key : asked_) {
                if (limiter_.peek(key).reset_after.count() > 0) {
                    keys.push_back(key);
                }
            }
            if (limiter_.stats().evictions_live == 0 && limiter_.stats().live != keys.size()) {
                keys.push_back("... and keys as good as new: it has " + std::to_string(limiter_.stats().live));
            }
            return answer{}.with("keys", keys);
        }
        unknown_operation(op);
    }

private:
    static weir::keyed_rate_limiter_options options_from(members const& config) {
        static_cast<void>(bucket_from(config));  // whose names are known, too
        weir::keyed_rate_limiter_options o;
        o.capacity = config.get("capacity", o.capacity);
        config.no_others();
        return o;
    }

    weir::keyed_rate_limiter<std::string, weir::token_bucket<weir::manual_clock>> limiter_;
    std::mutex mutex_;
    std::set<std::string> asked_;
};

class log_subject final : public subject {
public:
    log_subject(members const& config, stage const& s) : log_(options_from(config), s.clock) {}
    [[nodiscard]] bool admits(std::string const& op) const override { return op == "allow" || op == "check"; }
    answer perform(std::string const& op, members const& args) override {
        auto const n = args.get<std::int64_t>("n", 1);
        if (op == "allow") {
            return answer_of(log_.allow(n));
        }
        if (op == "check") {
            return answer_of(log_.check(n));
        }
        unknown_operation(op);
    }

private:
    static weir::sliding_log_options options_from(members const& config) {
        weir::sliding_log_options o;
        o.limit = config.get("limit", o.limit);
        o.window = config.time("window_ms", o.window);
        config.no_others();
        return o;
    }

    weir::sliding_log<weir::manual_clock> log_;
};

class counter_subject final : public subject {
public:
    counter_subject(members const& config, stage const& s) : counter_(options_from(config), s.clock) {}
    [[nodiscard]] bool admits(std::string const& op) const override { return op == "allow"; }
    answer perform(std::string const& op, members const& args) override {
        if (op == "allow") {
            return answer_of(counter_.allow(args.get<std::int64_t>("n", 1)));
        }
        if (op == "estimate") {
            return answer{}.with("estimate", counter_.estimate());
        }
        unknown_operation(op);
    }

private:
    static weir::sliding_counter_options options_from(members const& config) {
        weir::sliding_counter_options o;
        o.limit = config.get("limit", o.limit);
        o.window = config.time("window_ms", o.window);
        config.no_others();
        return o;
    }

    weir::sliding_counter<weir::manual_clock> counter_;
};

// One key; its answers are whatever the file gives.
class cached_subject final : public subject {
    using limiter = weir::cached_limiter<std::string, json, std::hash<std::string>, std::equal_to<std::string>, weir::manual_clock>;

public:
    cached_subject(members const& config, stage const& s) : limiter_(options_from(config), s.clock) {}
    [[nodiscard]] bool admits(std::string const& op) const override { return op == "try"; }
    answer perform(std::string const& op, members const& args) override {
        if (op == "try") {
            auto const name = args.get<std::string>("as", "");
            auto got = std::make_unique<limiter::answer>(limiter_.try_acquire("key"));
            answer a;
            a.with("kind", got->admitted() ? "admitted" : got->cached() ? "cached" : "denied");
            a.with("value", got->cached() ? got->value() : json(nullptr));
            a.with("retry_after_ms", got->denied() ? got->why().retry_after : nanoseconds{-1});
            std::lock_guard const hold(mutex_);
            if (name.empty()) {
                nameless_.push_back(std::move(got));
            } else {
                tokens_[name] = std::move(got);
            }
            return a;
        }
        if (op == "commit") {
            auto const it = tokens_.find(args.get<std::string>("token"));
            if (it == tokens_.end()) {
                throw mistake{"there is no token " + args.get<std::string>("token")};
            }
            auto const& value = args.at("value");
            return answer{}.with("stored", it->second->admitted() && it->second->permit().commit(value));
        }
        unknown_operation(op);
    }

private:
    static weir::cached_limiter_options options_from(members const& config) {
        weir::cached_limiter_options o;
        o.limit = config.get("limit", o.limit);
        o.window = config.time("window_ms", o.window);
        if (config.has("max_age_ms")) {
            o.max_age = config.time("max_age_ms");
        }
        config.no_others();
        return o;
    }

    limiter limiter_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<limiter::answer>> nameless_;
    std::map<std::string, std::unique_ptr<limiter::answer>> tokens_;
};

}  // namespace weir_test
#endif
