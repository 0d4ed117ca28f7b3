// weir (BSL-1.0). mutants: each memory order of some headers weakened, one at a time, and the kernels that notice.
#ifndef WEIR_TESTS_MODEL_MUTANTS_HPP
#define WEIR_TESTS_MODEL_MUTANTS_HPP
#include "model.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace weir_model {

/// A small program, and the bounds within which it is explored.
struct kernel {
    std::string suite;
    std::string name;
    void (*body)();
    options with;
};

/// A mutant that no execution can tell from the original: where (a part of the line's text that names it), which, and why.
struct excuse {
    std::string header;
    std::string line;
    std::string from, to;  // memory orders, as in "acq_rel"
    std::string reason;
};

/// A line with an atomic operation that no kernel reaches, and why.
struct unreached {
    std::string header;
    std::string line;
    std::string reason;
};

struct mutation_report {
    std::vector<std::string> problems;  // survivors without an excuse, excuses without a survivor, lines that nothing reaches
    std::string table;                  // a line for each mutant
    std::size_t sites = 0;              // lines and kinds of operation whose order can be weakened
    std::size_t mutants = 0;
    std::size_t killed = 0;
    std::size_t explained = 0;
};

/// Explores the kernels with each mutant of the headers (paths from the project's include folder on) until one fails. Every
/// line of the headers with an atomic operation must be reached. Runs in as many processes as there are processors.
mutation_report run_mutants(std::vector<kernel> const& kernels, std::vector<std::string> const& headers,
                            std::vector<excuse> const& excuses, std::vector<unreached> const& beyond,
                            std::string const& include_folder);

}  // namespace weir_model
#endif
