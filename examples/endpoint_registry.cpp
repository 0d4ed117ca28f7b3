// weir (BSL-1.0). Example: a registry of endpoints that is read and listed while others change it.
#include <weir/base/expected.hpp>
#include <weir/data/lock_free_map.hpp>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

struct endpoint {
    std::string model;
    bool healthy = true;
};
struct connection {
    explicit connection(std::string const& to) : peer(to) {}
    std::string peer;
};
using connection_ptr = std::shared_ptr<connection>;

int main() {
    weir::lock_free_map<std::string, endpoint> endpoints;
    weir::lock_free_map<std::string, connection_ptr> connections;
    std::atomic<int> built{0};

    endpoints.insert("http://a:8080", {"llama"});
    endpoints.insert("http://b:8080", {"mistral"});

    // One connection for each endpoint, whoever asks first; a factory that fails leaves nothing behind.
    const auto connect = [&](std::string const& url) {
        return connections.find_or_create(url, [&]() -> weir::expected<connection_ptr, std::string> {
            if (!endpoints.contains(url)) {
                return weir::unexpected<std::string>("unknown endpoint " + url);
            }
            ++built;
            return std::make_shared<connection>(url);
        });
    };
    {
        std::jthread checker([&] {  // a health check replaces values; whoever reads sees the old one or the new one
            endpoints.update("http://b:8080", [](endpoint const& e) { return endpoint{e.model, false}; });
        });
        const auto use = [&] { std::printf("connected: %d\n", connect("http://a:8080").has_value()); };
        std::jthread first(use);
        std::jthread second(use);
        endpoints.for_each([](std::string const& url, endpoint const&) { std::printf("listed %s\n", url.c_str()); });
    }
    std::printf("connections built: %d\n", built.load());

    endpoints.erase_if([](std::string const&, endpoint const& e) { return !e.healthy; });
    std::printf("healthy endpoints: %zu\n", endpoints.size());

    const auto refused = connect("http://c:8080");
    std::printf("%s\n", refused ? "connected" : refused.error().c_str());
}
