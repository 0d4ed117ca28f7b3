// weir (BSL-1.0). other_subjects: backoff, retry, its budgets, dedup_cache and bulkhead as scenarios speak of them.
#ifndef WEIR_TESTS_SCENARIOS_OTHER_SUBJECTS_HPP
#define WEIR_TESTS_SCENARIOS_OTHER_SUBJECTS_HPP
#include <weir/data/dedup_cache.hpp>
#include <weir/flow/bulkhead.hpp>
#include <weir/flow/retry.hpp>

#include "scenario.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace weir_test {

inline weir::backoff_options backoff_from(members const& config) {
    weir::backoff_options o;
    o.base = config.time("base_ms", o.base);
    o.max = config.time("max_ms", std::max(o.base, o.max));
    o.multiplier = config.get("multiplier", o.multiplier);
    o.factor = config.get("factor", o.factor);
    o.shape = config.choice<weir::backoff_shape>(
        "shape", {{"exponential", weir::backoff_shape::exponential}, {"linear", weir::backoff_shape::linear}}, o.shape);
    o.jitter = config.choice<weir::backoff_jitter>("jitter",
                                                   {{"none", weir::backoff_jitter::none},
                                                    {"full", weir::backoff_jitter::full},
                                                    {"equal", weir::backoff_jitter::equal},
                                                    {"factor", weir::backoff_jitter::factor},
                                                    {"decorrelated", weir::backoff_jitter::decorrelated}},
                                                   o.jitter);
    return o;
}

class backoff_subject final : public subject {
public:
    explicit backoff_subject(members const& config) : options_(backoff_from(config)) {
        config.no_others();
        options_ = weir::backoff::checked(options_);
    }
    [[nodiscard]] bool admits(std::string const&) const override { return false; }
    answer perform(std::string const& op, members const& args) override {
        if (op != "bounds") {
            unknown_operation(op);
        }
        auto const k = args.get<std::uint64_t>("retry");
        auto const range = weir::backoff::bounds(options_, k);
        // The delays that are really taken must lie there.
        for (std::uint64_t seed = 0; seed < 8; ++seed) {
            weir::backoff delays(options_, seed);
            for (std::uint64_t i = 1; i < k; ++i) {
                static_cast<void>(delays.next());
            }
            if (auto const d = delays.next(); d < range.least || d > range.most) {
                return answer{}.with("lo_ms", d).with("hi_ms", d);
            }
        }
        return answer{}.with("lo_ms", range.least).with("hi_ms", range.most);
    }

private:
    weir::backoff_options options_;
};

class retry_subject final : public subject {
public:
    retry_subject(members const& config, stage const& s)
        : stage_(s), retry_(options_from(config), s.clock, weir::manual_sleeper{s.clock}) {
        config.no_others();
    }
    [[nodiscard]] bool admits(std::string const&) const override { return false; }

    // F: a failure that may pass; N: one that does not; S: success.
    answer perform(std::string const& op, members const& args) override {
        if (op != "run") {
            unknown_operation(op);
        }
        auto const outcomes = args.get<std::string>("outcomes");
        if (outcomes.empty() || outcomes.find_first_not_of("FNS") != std::string::npos) {
            throw mistake{"unknown outcomes " + outcomes};
        }
        std::size_t calls = 0;
        bool passing = false;
        auto const attempt = [&] {
            auto const outcome = outcomes.at(calls++);
            passing = outcome == 'F';
            if (outcome != 'S') {
                throw std::runtime_error{"as planned"};
            }
        };
        auto const advise = [&](weir::outcome<void> const&) noexcept { return weir::retry_advice{.again = passing}; };
        auto const before = stage_.now();
        auto const r = retry_.run(attempt, {}, {}, advise);
        if (stage_.now() - before != r.slept || calls != r.attempts || r.last.has_value() != (r.why == weir::retry_stop::success)) {
            throw std::logic_error{"retry_result does not say what has happened"};
        }
        return answer{}
            .with("attempts", r.attempts)
            .with("slept_ms", r.slept)
            .with("result", r.last.has_value() ? "success" : "failure")
            .with("stop", name_of(r.why))
            .with("error", nullptr);
    }

private:
    static weir::retry_options options_from(members const& config) {
        weir::retry_options o;
        o.attempts = config.get("max_attempts", o.attempts);
        if (config.has("deadline_ms")) {
            o.deadline = config.time("deadline_ms");
        }
        o.delay = backoff_from(config);
        return o;
    }
    static char const* name_of(weir::retry_stop s) {
        switch (s) {
            case weir::retry_stop::success: return "success";
            case weir::retry_stop::not_retryable: return "not_retryable";
            case weir::retry_stop::attempts: return "attempts";
            case weir::retry_stop::budget: return "budget";
            case weir::retry_stop::deadline: return "deadline";
            case weir::retry_stop::stopped: return "stopped";
            case weir::retry_stop::hint_too_far: return "hint_too_far";
        }
        return "?";
    }

    stage stage_;
    weir::retry<weir::manual_clock, weir::manual_sleeper> retry_;
};

template <class Budget>
class budget_subject final : public subject {
public:
    template <class... Args>
    explicit budget_subject(Args&&... args) : budget_(std::forward<Args>(args)...) {}
    [[nodiscard]] bool admits(std::string const& op) const override { return op == "withdraw" || op == "can"; }
    answer perform(std::string const& op, members const&) override {
        if (op == "can" || op == "withdraw") {
            return answer{}.with("value", budget_.try_retry());
        }
        if (op == "deposit") {
            budget_.started();
        } else if (op == "ok") {
            budget_.succeeded();
        } else if (op == "fail") {
            budget_.failed();
        } else {
            unknown_operation(op);
        }
        return {};
    }

private:
    Budget budget_;
};

inline std::unique_ptr<subject> make_budget(members const& config, stage const& s) {
    weir::token_retry_budget_options tokens;
    tokens.max_tokens = config.get("max_tokens", tokens.max_tokens);
    tokens.token_ratio = config.get("token_ratio", tokens.token_ratio);
    weir::window_retry_budget_options window;
    window.ttl = config.time("ttl_ms", window.ttl);
    window.min_per_second = config.get("min_per_sec", window.min_per_second);
    window.retry_ratio = config.get("retry_ratio", window.retry_ratio);
    static_cast<void>(config.at("kind"));
    bool const by_tokens = config.choice<bool>("kind", {{"token", true}, {"window", false}}, true);
    config.no_others();
    if (by_tokens) {
        return std::make_unique<budget_subject<weir::token_retry_budget>>(tokens);
    }
    return std::make_unique<budget_subject<weir::window_retry_budget<weir::manual_clock>>>(window, s.clock);
}

class dedup_subject final : public subject {
public:
    dedup_subject(members const& config, stage const& s) : cache_(options_from(config), s.clock) {}
    [[nodiscard]] bool admits(std::string const& op) const override { return op == "check"; }
    answer perform(std::string const& op, members const& args) override {
        if (op == "check") {
            return answer{}.with("value", cache_.check_and_mark(args.get<std::string>("key")));
        }
        if (op == "mark") {
            return answer{}.with("value", cache_.mark(args.get<std::string>("key")));
        }
        if (op == "seen") {
            return answer{}.with("value", cache_.seen(args.get<std::string>("key")));
        }
        if (op == "stats") {
            auto const t = cache_.stats();
            return answer{}
                .with("evicted_live", t.evicted_live)
                .with("fresh", t.fresh)
                .with("duplicates", t.duplicates)
                .with("refused", t.refused)
                .with("capacity", t.capacity);
        }
        unknown_operation(op);
    }

private:
    static weir::dedup_cache_options options_from(members const& config) {
        weir::dedup_cache_options o;
        o.capacity = config.get("capacity", o.capacity);
        o.ttl = config.time("ttl_ms", o.ttl);
        o.sliding = config.get("sliding", o.sliding);
        o.when_full = config.choice<weir::dedup_full>(
            "when_full", {{"evict_oldest", weir::dedup_full::evict_oldest}, {"refuse_new", weir::dedup_full::refuse_new}}, o.when_full);
        config.no_others();
        return o;
    }

    weir::dedup_cache<std::string, std::hash<std::string>, weir::manual_clock> cache_;
};

class bulkhead_subject final : public subject {
public:
    explicit bulkhead_subject(members const& config) : bulkhead_(options_from(config)) {}
    [[nodiscard]] bool admits(std::string const& op) const override { return op == "acquire"; }
    answer perform(std::string const& op, members const&) override {
        if (op == "acquire") {
            auto p = bulkhead_.try_acquire();
            bool const got = p.has_value();
            if (got) {
                std::lock_guard const hold(mutex_);
                permits_.push_back(std::move(*p));
            }
            return answer{}.with("value", got);
        }
        if (op == "release") {
            if (permits_.empty()) {
                throw mistake{"there is no permit to release"};
            }
            permits_.pop_back();
            return {};
        }
        unknown_operation(op);
    }

private:
    static weir::bulkhead_options options_from(members const& config) {
        weir::bulkhead_options o;
        o.max_concurrent = config.get("max_concurrent", o.max_concurrent);
        config.no_others();
        return o;
    }

    weir::bulkhead bulkhead_;
    std::mutex mutex_;
    std::vector<weir::bulkhead::permit> permits_;  // given back before the bulkhead goes
};

}  // namespace weir_test
#endif
