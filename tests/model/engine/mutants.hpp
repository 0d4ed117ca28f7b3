// weir (BSL-1.0). mutants: each memory order of some headers weakened, one at a time, and the kernels that notice.
#ifndef WEIR_TESTS_MODEL_MUTANTS_HPP
#define WEIR_TESTS_MODEL_MUTANTS_HPP
#include "model.hpp"

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace weir_model {

/// A small program, and the bounds within which it is explored.
struct kernel {
    std::string suite;
    std::string name;
    std::function<void()> body;
    options with;
};

/// A mutant that no execution can tell from the original: where (a part of the line's text that names it), which, and why.
struct excuse {
    std::string header;
    std::string line;
    std::string from, to;  // memory orders, as in "acq_rel"
    std::string reason;
    char kind = 0;  // 'C': only if a compare-exchange succeeds, 'c': if it fails; 0: whatever it is
};

/// A line with an atomic operation that no kernel reaches, and why.
struct unreached {
    std::string header;
    std::string line;
    std::string reason;
};

/// A kernel that notices the mutants of some lines, and is therefore tried first: for those that few kernels notice.
struct killer {
    std::string header;
    std::string line;    // a part of its text
    std::string kernel;  // its name, in any suite
};

struct mutation_report {
    std::vector<std::string> problems;  // survivors without an excuse, excuses without a survivor, lines that nothing reaches
    std::size_t sites = 0;              // lines and kinds of operation whose order can be weakened
    std::size_t mutants = 0;
    std::size_t killed = 0;
    std::size_t explained = 0;
};

/// Explores the kernels with each mutant of the headers (paths from the project's include folder on) until one fails. Every
/// line of the headers with an atomic operation must be reached. `wide`: excused mutants too, none of which may be killed.
/// Runs in as many processes as there are processors, and prints a line for each mutant when it is judged.
mutation_report run_mutants(std::vector<kernel> const& kernels, std::vector<std::string> const& headers,
                            std::vector<excuse> const& excuses, std::vector<unreached> const& beyond,
                            std::vector<killer> const& killers, std::string const& include_folder, bool wide);

}  // namespace weir_model
#endif
