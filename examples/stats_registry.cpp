// weir (BSL-1.0). Example: what a service answers to GET /metrics.
#include <weir/data/lock_free_map.hpp>
#include <weir/data/stats.hpp>
#include <weir/data/stats_registry.hpp>
#include <weir/with/prometheus.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

int main() {
    weir::lock_free_map<std::string, std::string> sessions;
    weir::stats_registry registry;

    // Names, help texts and labels are given once; what is kept is a reference.
    auto& hits = registry.get<weir::counter>("http_requests", "Requests answered.", {{"method", "get"}});
    auto& latency = registry.get<weir::histogram<>>("http_latency", "Time to answer.");
    auto& open = registry.get<weir::gauge>("connections", "Connections open.");
    // What stands elsewhere is shown as long as the registration lives.
    const auto shown = registry.observe("sessions", "Sessions known.", {}, [&] { return sessions.size(); });

    const auto serve = [&] {
        const auto connection = open.guard();
        for (int i = 0; i < 1000; ++i) {
            const weir::stopwatch watch(latency);
            sessions.insert_or_assign("user" + std::to_string(i % 10), "here");
            hits.add();
        }
    };
    std::jthread other(serve);
    serve();
    other.join();

    std::string text;
    weir::write_prometheus(text, registry, {.prefix = "shop", .seconds_bounds = {1e-6, 1e-3, 1}});
    std::printf("Content-Type: %s\n\n%s", weir::prometheus_content_type.data(), text.c_str());
}
