// weir (BSL-1.0). breaker_subject: a circuit_breaker as scenarios speak of it.
#ifndef WEIR_TESTS_SCENARIOS_BREAKER_SUBJECT_HPP
#define WEIR_TESTS_SCENARIOS_BREAKER_SUBJECT_HPP
#include <weir/flow/circuit_breaker.hpp>

#include "scenario.hpp"

#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace weir_test {

inline char const* name_of(weir::breaker_state s) {
    switch (s) {
        case weir::breaker_state::closed: return "closed";
        case weir::breaker_state::open: return "open";
        case weir::breaker_state::half_open: return "half_open";
        case weir::breaker_state::forced_open: return "forced_open";
        case weir::breaker_state::disabled: return "disabled";
        case weir::breaker_state::metrics_only: return "metrics_only";
    }
    return "?";
}

template <weir::breaker_mode Mode>
class breaker_subject final : public subject {
    using breaker = weir::circuit_breaker<Mode, weir::manual_clock>;
    using permit = typename breaker::permit;

public:
    breaker_subject(Mode mode, weir::circuit_breaker_options o, stage const& s) : stage_(s), breaker_(mode, o, s.clock) {}

    [[nodiscard]] bool admits(std::string const& op) const override { return op == "acquire" || op == "would_admit"; }

    answer perform(std::string const& op, members const& args) override {
        if (op == "acquire") {
            return acquire(args.get<std::string>("as", ""));
        }
        if (op == "call") {
            auto const v = verdict_of(args);
            return args.has("duration_ms") ? call_of(v, args.time("duration_ms")) : call(v);
        }
        if (op == "success" || op == "failure" || op == "ignore") {
            return report(args.get<std::string>("permit"), op == "success"   ? weir::verdict::success
                                                           : op == "failure" ? weir::verdict::failure
                                                                             : weir::verdict::ignore);
        }
        if (op == "state") {
            return answer{}.with("state", name_of(breaker_.current()));
        }
        if (op == "would_admit") {
            return answer{}.with("value", breaker_.would_admit());
        }
        if (op == "metrics" || op == "events") {
            auto const s = breaker_.stats();
            return answer{}
                .with("state", name_of(s.state))
                .with("total", s.calls)
                .with("failed", s.failed)
                .with("slow", s.slow)
                .with("failure_rate_pct", s.failure_rate)
                .with("slow_rate_pct", s.slow_rate)
                .with("not_permitted", s.not_permitted)
                .with("late_results", s.late_results)
                .with("threshold_events", s.thresholds);
        }
        return by_hand(op, args);
    }

private:
    static weir::verdict verdict_of(members const& args) {
        static_cast<void>(args.at("outcome"));
        return args.choice<weir::verdict>("outcome",
                                          {{"success", weir::verdict::success},
                                           {"failure", weir::verdict::failure},
                                           {"ignore", weir::verdict::ignore}},
                                          {});
    }
    static answer refused(weir::rejected r) {
        return answer{}
            .with("admitted", false)
            .with("reason", r.reason == weir::refusal::breaker_open          ? "open"
                            : r.reason == weir::refusal::breaker_half_open   ? "half_open_full"
                            : r.reason == weir::refusal::breaker_forced_open ? "forced_open"
                                                                             : "?")
            .with("retry_after_ms", r.retry_after);
    }
    static answer admitted() {
        return answer{}.with("admitted", true).with("reason", nullptr).with("retry_after_ms", weir::rejected::unknown);
    }

    // A permit is kept until it is reported by its name, or until the end.
    answer acquire(std::string const& name) {
        auto p = breaker_.acquire();
        if (!p.has_value()) {
            return refused(p.error());
        }
        std::lock_guard const hold(mutex_);
        kept_.push_back(std::move(*p));
        if (!name.empty()) {
            named_[name] = &kept_.back();
        }
        return admitted();
    }
    answer report(std::string const& name, weir::verdict v) {
        auto const it = named_.find(name);
        if (it == named_.end()) {
            throw mistake{"there is no permit " + name};
        }
        auto const late = breaker_.stats().late_results;
        it->second->report(v);
        return answer{}.with("effect", breaker_.stats().late_results != late ? "stale" : "counted");
    }
    answer call(weir::verdict v) {
        auto p = breaker_.acquire();
        if (!p.has_value()) {
            return refused(p.error());
        }
        p->report(v);
        return admitted();
    }
    // A call that ends now and has taken so long. Whether it is let through is decided now; then that permit is given back, and one
    // acquired at the earlier time: what is closed, or half open with a probe to spare, does not ask the time.
    answer call_of(weir::verdict v, nanoseconds duration) {
        auto now = breaker_.acquire();
        if (!now.has_value()) {
            return refused(now.error());
        }
        now->ignore();
        auto const time = stage_.now();
        stage_.set(time - duration);
        auto earlier = breaker_.acquire();
        stage_.set(time);
        if (!earlier.has_value()) {
            throw mistake{"a call with a duration cannot be made here"};
        }
        earlier->report(v);
        return admitted();
    }

    answer by_hand(std::string const& op, members const& args) {
        if (op == "trip") {
            breaker_.trip();
        } else if (op == "trip_for") {
            breaker_.trip_for(args.time("ms"));
        } else if (op == "reset") {
            breaker_.reset();
        } else if (op == "force_open") {
            breaker_.force_open();
        } else if (op == "disable") {
            breaker_.disable();
        } else if (op == "metrics_only") {
            breaker_.metrics_only();
        } else if (op == "half_open") {
            return answer{}.with("effect", breaker_.half_open() ? "done" : "illegal");
        } else {
            unknown_operation(op);
        }
        return answer{}.with("effect", "done");
    }

    stage stage_;
    breaker breaker_;
    std::mutex mutex_;
    std::list<permit> kept_;  // given back before the breaker goes
    std::map<std::string, permit*> named_;
};

/// `longest`: of all calls with a duration; the breaker is made so much earlier, that none begins before it.
inline std::unique_ptr<subject> make_breaker(members const& config, stage const& s, nanoseconds longest) {
    weir::circuit_breaker_options o;
    o.open = config.time("open_ms", o.open);
    auto const backoff = config.below("open_backoff");
    o.open_multiplier = backoff.get("multiplier", o.open_multiplier);
    o.max_open = backoff.time("max_ms", std::max(o.open, o.max_open));
    backoff.no_others();
    if (config.has("backoff_reset_after_ms")) {
        o.backoff_reset_after = config.time("backoff_reset_after_ms");
    }
    o.reset_trips_on_close = config.get("reset_trips_on_close", o.reset_trips_on_close);
    auto const half = config.below("half_open");
    o.half_open.permits = half.get("permits", o.half_open.permits);
    o.half_open.required_successes = half.get("required_successes", o.half_open.required_successes);
    o.half_open.timeout = half.time("timeout_ms", o.half_open.timeout);
    o.half_open.verdict = half.choice<weir::probe_verdict>(
        "verdict", {{"early", weir::probe_verdict::early}, {"full", weir::probe_verdict::full}}, o.half_open.verdict);
    o.half_open.on_timeout = half.choice<weir::probe_timeout>(
        "on_timeout",
        {{"reopen", weir::probe_timeout::reopen}, {"reissue", weir::probe_timeout::reissue}, {"close", weir::probe_timeout::close}},
        o.half_open.on_timeout);
    half.no_others();

    enum class kind { consecutive, count, time };
    static_cast<void>(config.at("mode"));
    auto const mode = config.choice<kind>(
        "mode", {{"consecutive", kind::consecutive}, {"count", kind::count}, {"time", kind::time}}, kind::consecutive);
    weir::call_rates rates;
    rates.failure_rate = config.get("failure_rate_pct", rates.failure_rate);
    rates.slow_call = config.time("slow_call_ms", rates.slow_call);
    rates.slow_rate = config.get("slow_rate_pct", rates.slow_rate);
    auto const count = weir::count_window{}.calls;
    weir::consecutive_failures failures;
    failures.failures = config.get("failure_threshold", failures.failures);
    weir::count_window calls{.calls = config.get("window", count), .rates = rates};
    calls.rates.min_calls = config.get("min_calls", std::min(rates.min_calls, static_cast<unsigned>(calls.calls)));
    weir::time_window time{.window = config.time("window_ms", weir::time_window{}.window), .rates = rates};
    time.rates.min_calls = config.get("min_calls", rates.min_calls);
    auto const bucket = config.time("bucket_ms", time.window / static_cast<std::int64_t>(time.buckets));
    if (bucket.count() <= 0 || time.window.count() % bucket.count() != 0) {
        throw mistake{"config: bucket_ms must divide window_ms"};
    }
    time.buckets = static_cast<std::size_t>(time.window / bucket);
    config.no_others();

    s.set(-((longest + bucket - nanoseconds{1}) / bucket) * bucket);  // whole buckets, which begin when it is made
    switch (mode) {
        case kind::consecutive: return std::make_unique<breaker_subject<weir::consecutive_failures>>(failures, o, s);
        case kind::count: return std::make_unique<breaker_subject<weir::count_window>>(calls, o, s);
        case kind::time: break;
    }
    return std::make_unique<breaker_subject<weir::time_window>>(time, o, s);
}

}  // namespace weir_test
#endif
