// weir (BSL-1.0). Example: count the words of files by several threads in one map.
#include <weir/data/lock_free_map.hpp>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

// Looks up a string_view without making a string of it.
struct word_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view word) const noexcept { return std::hash<std::string_view>{}(word); }
};
using counts = weir::lock_free_map<std::string, int, word_hash, std::equal_to<>>;

void count_words(std::string const& file, counts& words) {
    std::ifstream in(file);
    std::printf("%s %s\n", in ? "counting" : "cannot read", file.c_str());
    for (std::string line; std::getline(in, line);) {
        const auto is_part = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; };
        for (auto at = line.begin(); (at = std::find_if(at, line.end(), is_part)) != line.end();) {
            const auto end = std::find_if_not(at, line.end(), is_part);
            words.upsert(std::string_view(at, end), 1, [](int n) { return n + 1; });
            at = end;
        }
    }
}

int main(int argc, char** argv) {
    const std::vector<std::string> files(argv + 1, argv + argc);
    counts words;
    std::atomic<std::size_t> next{0};
    {
        std::vector<std::jthread> threads(2);
        for (auto& thread : threads) {
            thread = std::jthread([&] {
                for (std::size_t i; (i = next++) < files.size();) {
                    count_words(files[i], words);
                }
            });
        }
    }
    std::vector<std::pair<int, std::string>> top;
    words.for_each([&](std::string const& word, int n) { top.emplace_back(n, word); });
    std::sort(top.rbegin(), top.rend());
    for (std::size_t i = 0; i < top.size() && i < 5; ++i) {
        std::printf("%6d %s\n", top[i].first, top[i].second.c_str());
    }
    std::printf("%zu different words\n", words.size());
}
