// weir (BSL-1.0). replay_test: a fuzz target on every file of its kept corpus, with any compiler.
#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

TEST(WEIR_TEST_FUZZ_SUITE, finds_nothing_wrong_with_its_corpus) {
    std::vector<std::filesystem::path> files;
    for (auto const& entry : std::filesystem::directory_iterator(WEIR_TEST_FUZZ_CORPUS)) {
        files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    EXPECT_GE(files.size(), 10U) << "there is no corpus in " WEIR_TEST_FUZZ_CORPUS;
    for (auto const& file : files) {
        std::ifstream in(file, std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(in), {}};
        ASSERT_TRUE(in.good() && !text.empty()) << file << " cannot be read";
        const std::vector<std::uint8_t> bytes(text.begin(), text.end());
        try {
            EXPECT_EQ(fuzz_one(bytes.data(), bytes.size()), 0) << file;
        } catch (std::exception const& wrong) {
            ADD_FAILURE() << file << ": " << wrong.what();
        }
    }
}

TEST(WEIR_TEST_FUZZ_SUITE, takes_an_empty_input) { EXPECT_EQ(fuzz_one(nullptr, 0), 0); }
