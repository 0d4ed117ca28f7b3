// weir (BSL-1.0). Program: the rates of many hotels from a vendor that gives one at a time, by loaders that share one token.
//
// Customers ask for the rates of some dozen hotels each and want them by a deadline, all that there are by then. The vendor has a
// call for one hotel only, wants a token that wears out, and must not get more than so many calls at once. So there is one pool
// of loaders, between a lower and an upper number of them; each request is a map over its hotels, and each hotel has an answer of
// its own: a rate, what went wrong, or that it came too late. At the end the pool stops and says what it has left undone.
#include <weir/run/worker_pool.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct token_worn_out : std::runtime_error {
    token_worn_out() : std::runtime_error("token is worn out") {}
};

/// What stands for the vendor: a call takes a millisecond, a token serves for 30 calls, hotel 13 answers when the customer has gone,
/// and there are no hotels from 1000 on.
class vendor {
public:
    static constexpr int calls_per_token = 30;

    std::string log_in() {
        std::this_thread::sleep_for(2ms);
        std::lock_guard const hold(mutex_);
        ++log_ins_;
        needless_ += left_ > 0 ? 1 : 0;
        left_ = calls_per_token;
        return name();
    }

    int rate(std::string const& token, int hotel, std::stop_token const& stop) {
        {
            std::lock_guard const hold(mutex_);
            if (left_ <= 0 || token != name()) {
                throw token_worn_out{};
            }
            --left_;
            most_at_once_ = std::max(most_at_once_, ++at_once_);
        }
        do {
            std::this_thread::sleep_for(1ms);
        } while (hotel == 13 && !stop.stop_requested());
        std::lock_guard const hold(mutex_);
        --at_once_;
        if (hotel >= 1000) {
            throw std::out_of_range("no such hotel");
        }
        return 50 + hotel % 100;
    }

    struct account {
        int log_ins, needless, most_at_once;
    };
    account bill() {
        std::lock_guard const hold(mutex_);
        return {log_ins_, needless_, most_at_once_};
    }

private:
    [[nodiscard]] std::string name() const { return "token " + std::to_string(log_ins_); }

    std::mutex mutex_;
    int log_ins_ = 0;
    int needless_ = 0;  // while the token before had calls left
    int left_ = 0;
    int at_once_ = 0;
    int most_at_once_ = 0;
};

/// The token that all loaders use. One that is worn out is replaced once, however many have noticed; they wait for it.
class shared_token {
public:
    explicit shared_token(vendor& v) : vendor_(v) {}

    /// The token; a new one if it is still the one that is known to be worn out.
    std::string after(std::string const& worn_out) {
        std::lock_guard const hold(mutex_);
        if (token_ == worn_out) {
            token_ = vendor_.log_in();
        }
        return token_;
    }

private:
    vendor& vendor_;
    std::mutex mutex_;
    std::string token_;
};

class rate_service {
public:
    explicit rate_service(vendor& v)
        : vendor_(v), token_(v), loaders_({.min_workers = 2, .max_workers = 8, .capacity = 64, .name = "loader"}) {}

    /// One outcome for each hotel, in their order.
    std::vector<weir::outcome<int>> rates(std::vector<int> const& hotels, std::chrono::milliseconds patience) {
        return loaders_.map(
            hotels, [this](std::stop_token const& stop, int hotel) { return load(hotel, stop); },
            {.in_flight = 8, .deadline = std::chrono::steady_clock::now() + patience});
    }

    /// No more requests; those under way may end by then. What is not over is told to, and given up.
    void stop(std::chrono::milliseconds patience) {
        auto end = loaders_.stop_for(patience);
        if (!end->stopped) {
            end = loaders_.stop(weir::stop_mode::discard);
        }
        std::printf("loaders stopped: %s, rates not loaded: %zu\n", end->stopped ? "yes" : "no", end->not_run.size());
    }
    [[nodiscard]] weir::worker_pool_stats stats() const { return loaders_.stats(); }

private:
    int load(int hotel, std::stop_token const& stop) {
        std::string token;  // none is as good as one that is worn out
        for (int attempt = 1;; ++attempt) {
            token = token_.after(attempt == 1 ? std::string{} : token);
            try {
                return vendor_.rate(token, hotel, stop);
            } catch (token_worn_out const&) {
                if (attempt == 10) {
                    throw;
                }
            }
        }
    }

    vendor& vendor_;
    shared_token token_;
    weir::task_pool loaders_;
};

struct tally {
    std::size_t rates = 0, unknown = 0, late = 0, wrong = 0;
};

tally ask(rate_service& service, std::vector<int> const& hotels) {
    auto const answers = service.rates(hotels, 1500ms);
    tally t;
    t.wrong += answers.size() == hotels.size() ? 0U : 1U;
    for (std::size_t i = 0; i < answers.size(); ++i) {
        if (answers[i].has_value()) {
            ++t.rates;
            t.wrong += *answers[i] == 50 + hotels[i] % 100 ? 0U : 1U;
        } else if (!answers[i].error().is_rejection()) {
            ++t.unknown;  // answers[i].error().rethrow() says what the vendor said
        } else {
            ++t.late;
        }
    }
    return t;
}

}  // namespace

int main() {
    vendor hotels_inc;
    rate_service service{hotels_inc};

    constexpr std::size_t customers = 5;
    constexpr std::size_t hotels_each = 40;
    std::vector<tally> tallies(customers);
    std::vector<std::jthread> requests;
    for (std::size_t c = 0; c < customers; ++c) {
        requests.emplace_back([&, c] {
            std::vector<int> hotels(hotels_each);
            std::iota(hotels.begin(), hotels.end(), static_cast<int>(c) * 100 + 20);
            hotels[7] = 1000 + static_cast<int>(c);
            if (c == 0) {
                hotels[3] = 13;
            }
            tallies[c] = ask(service, hotels);
        });
    }
    requests.clear();  // waits for them
    service.stop(5000ms);

    tally all;
    for (auto const& t : tallies) {
        all.rates += t.rates;
        all.unknown += t.unknown;
        all.late += t.late;
        all.wrong += t.wrong;
    }
    auto const bill = hotels_inc.bill();
    auto const s = service.stats();
    std::printf("%zu rates, %zu unknown hotels, %zu too late\n", all.rates, all.unknown, all.late);
    std::printf("log-ins: %d, needless: %d; calls at once: at most %d of 8\n", bill.log_ins, bill.needless, bill.most_at_once);
    std::printf("loaders: 2, and %llu more when it was busy\n", static_cast<unsigned long long>(s.growths));

    bool const each_answered = all.rates + all.unknown + all.late == customers * hotels_each && all.wrong == 0;
    bool const books = s.submitted == s.completed + s.failed + s.cancelled + s.dropped + s.expired + s.discarded && s.queued == 0;
    std::printf("every hotel has its answer: %s\n", each_answered ? "yes" : "no");
    std::printf("every call is accounted for: %s\n", books ? "yes" : "no");
    return each_answered && books && bill.needless == 0 && bill.most_at_once <= 8 ? 0 : 1;
}
