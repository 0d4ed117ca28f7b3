// weir (BSL-1.0). headers: one of two files of a program that both include the whole library.
#include <weir/weir.hpp>

#include <gtest/gtest.h>

namespace weir_test {
weir::version_number const* version_seen_by_another_file();
}

TEST(headers, two_files_of_one_program_include_everything_and_share_it) {
    EXPECT_EQ(&weir::version, weir_test::version_seen_by_another_file());
}
