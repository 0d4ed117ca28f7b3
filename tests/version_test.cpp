// weir (BSL-1.0). version: the numbers agree with one another and with what the packages say.
#include <weir/base/version.hpp>

#include <gtest/gtest.h>

#include <string>

namespace {

TEST(version, is_the_one_that_the_build_and_the_packages_carry) {
    const std::string text = std::to_string(weir::version.major) + "." + std::to_string(weir::version.minor) + "." +
                             std::to_string(weir::version.patch);
    EXPECT_EQ(text, WEIR_TEST_PROJECT_VERSION);
}

TEST(version, one_number_for_the_preprocessor_says_the_same) {
    EXPECT_EQ(WEIR_VERSION, weir::version.major * 10000 + weir::version.minor * 100 + weir::version.patch);
    static_assert(WEIR_VERSION_MINOR < 100 && WEIR_VERSION_PATCH < 100, "two digits each");
}

TEST(version, compares_in_the_order_of_releases) {
    using number = weir::version_number;
    EXPECT_LT((number{0, 9, 9}), (number{1, 0, 0}));
    EXPECT_LT((number{1, 2, 9}), (number{1, 10, 0}));
    EXPECT_LT((number{1, 2, 3}), (number{1, 2, 4}));
    EXPECT_EQ((number{1, 2, 3}), (number{1, 2, 3}));
}

}  // namespace
