// weir (BSL-1.0). Example: handle each message of a stream once, though it is delivered several times, by two threads.
#include <weir/data/dedup_cache.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

int main() {
    using namespace std::chrono_literals;
    // Ids are not kept, but their hashes: a view of a message's id will do.
    weir::dedup_cache<std::string_view> seen{{.capacity = 1000, .ttl = 10min}};

    std::vector<std::string> stream;
    for (int i = 0; i < 100; ++i) {
        stream.push_back("order-" + std::to_string(i % 40));  // most orders come two or three times
    }
    std::atomic<int> handled{0};
    {
        std::vector<std::jthread> consumers(2);
        for (auto& consumer : consumers) {
            consumer = std::jthread([&] {
                for (auto const& id : stream) {  // and each consumer gets all of them
                    if (seen.check_and_mark(id)) {
                        ++handled;
                    }
                }
            });
        }
    }
    std::printf("delivered: %zu\nhandled: %d\n", 2 * stream.size(), handled.load());
    std::printf("duplicates: %llu\n", static_cast<unsigned long long>(seen.stats().duplicates));
    for (auto const* id : {"order-7", "order-40"}) {
        std::printf("%s %s\n", id, seen.seen(id) ? "was seen" : "is new");
    }
}
