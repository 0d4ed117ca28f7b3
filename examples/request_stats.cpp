// weir (BSL-1.0). Example: what each model of a service is asked, how long it takes, and how often it fails.
#include <weir/data/lock_free_map.hpp>
#include <weir/data/stats.hpp>

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

// One entry for each model, made when it is first asked, by whoever comes first.
weir::lock_free_map<std::string, weir::request_stats<>> models;

std::string answer(std::string const& model, int question) {
    if (question % 25 == 0) {
        throw std::runtime_error(model + " has no answer to that");
    }
    return std::string(static_cast<std::size_t>(question % 10), 'x');
}

std::string ask(std::string const& model, int question) {
    std::string text;
    models.try_emplace(model);  // does nothing if it is there
    models.visit(model, [&](weir::request_stats<>& stats) {
        const auto under_way = stats.in_flight();
        weir::stopwatch watch(stats);  // an exception counts as an error
        text = answer(model, question);
        watch.bytes(text.size());
    });
    return text;
}

int main() {
    {
        std::vector<std::jthread> clients;
        for (auto const* model : {"llama", "mistral"}) {
            clients.emplace_back([model] {
                for (int question = 1; question <= 1000; ++question) {
                    try {
                        ask(question % 4 == 0 ? "tiny" : model, question);
                    } catch (std::runtime_error const&) {  // has been counted
                    }
                }
            });
        }
    }
    models.for_each([](std::string const& model, weir::request_stats<>& stats) {
        const auto seen = stats.snapshot();
        std::printf("%-8s %4llu requests, %2llu failed, %4.0f bytes, %llu under way, p99 %s\n", model.c_str(),
                    static_cast<unsigned long long>(seen.requests), static_cast<unsigned long long>(seen.errors), seen.bytes,
                    static_cast<unsigned long long>(seen.in_flight),
                    seen.quantile(0.99) < std::chrono::seconds(1) ? "below a second" : "a second or more");
    });
}
