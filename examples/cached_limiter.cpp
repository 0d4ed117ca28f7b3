// weir (BSL-1.0). Example: check a peer by a ping once a minute; in between, whoever asks gets the last result.
#include <weir/flow/rate_limiter.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <string>

using namespace std::chrono_literals;

// For each peer one ping in any minute.
using ping_checks = weir::cached_limiter<std::string, bool, std::hash<std::string>, std::equal_to<std::string>, weir::manual_clock>;

bool ping(std::string const& peer) {
    static bool up = false;
    up = !up;
    std::printf("  pinging %s\n", peer.c_str());
    return up;
}

void check(ping_checks& checks, std::string const& peer) {
    auto answer = checks.acquire(peer);  // waits while another thread is pinging the same peer
    if (answer.admitted()) {
        bool const up = ping(peer);
        answer.permit().commit(up);
        std::printf("%s is %s\n", peer.c_str(), up ? "up" : "down");
    } else if (answer.cached()) {
        auto const age = std::chrono::round<std::chrono::seconds>(answer.age());
        std::printf("%s was %s %d s ago\n", peer.c_str(), answer.value() ? "up" : "down", static_cast<int>(age.count()));
    } else {
        auto const wait = std::chrono::ceil<std::chrono::seconds>(answer.why().retry_after);
        std::printf("nothing is known of %s for %d s\n", peer.c_str(), static_cast<int>(wait.count()));
    }
}

int main() {
    weir::manual_clock clock;  // so that the example need not wait; leave it out to go by the steady clock
    ping_checks checks{{.limit = 1, .window = 60s, .capacity = 1000}, clock};

    check(checks, "nara");
    clock.advance(30s);
    check(checks, "nara");
    clock.advance(30s);
    check(checks, "nara");
    {
        auto const lost = checks.try_acquire("kyoto");  // a ping that came to nothing
    }
    check(checks, "kyoto");
    auto const s = checks.stats();
    std::printf("%d pings, %d cached, %d denied\n", static_cast<int>(s.admitted), static_cast<int>(s.cached), static_cast<int>(s.denied));
}
