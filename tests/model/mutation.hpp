// weir (BSL-1.0). mutation: the test that no memory order of some headers can be weakened without a kernel noticing.
#ifndef WEIR_TESTS_MODEL_MUTATION_HPP
#define WEIR_TESTS_MODEL_MUTATION_HPP
#include "kernels.hpp"

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace weir_model {

/// Explores all kernels of this program with each mutant of the headers. A survivor needs an excuse, and at most one mutant in
/// twenty may have one; each line of the headers with an atomic operation is reached by a kernel, or listed in `beyond`.
inline void check_mutants(std::vector<std::string> const& headers, std::vector<excuse> const& excuses = {},
                          std::vector<unreached> const& beyond = {}, std::vector<killer> const& killers = {}) {
    const mutation_report r = run_mutants(kernels(), headers, excuses, beyond, killers, WEIR_MODEL_INCLUDE_FOLDER,
                                          std::getenv("WEIR_MODEL_LONG") != nullptr);
    std::cout << r.sites << " sites, " << r.mutants << " mutants, " << r.killed << " killed, " << r.explained
              << " explained\n";
    for (std::string const& problem : r.problems) {
        ADD_FAILURE() << problem;
    }
    EXPECT_GT(r.mutants, 0U);
    EXPECT_LE(r.explained * 20, r.mutants) << "more than 5 % of the mutants are explained instead of killed";
}

}  // namespace weir_model
#endif
