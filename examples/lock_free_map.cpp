// weir (BSL-1.0). Example: a map that two threads count in and nobody locks.
#include <weir/data/lock_free_map.hpp>

#include <cstdio>
#include <string>
#include <thread>

int main() {
    weir::lock_free_map<std::string, int> hits;
    const auto count = [&](char const* page) { hits.upsert(page, 1, [](int n) { return n + 1; }); };

    std::jthread other([&] { count("/index"); });
    count("/index");
    other.join();

    std::printf("/index was seen %d times\n", hits.find("/index").value_or(0));
}
