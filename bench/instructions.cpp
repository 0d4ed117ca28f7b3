// weir (BSL-1.0). bench instructions: a child process, stepped by its parent from one stop to the next.
#include "instructions.hpp"

#include <limits>

#if defined(__linux__) && defined(__x86_64__)
#include <csignal>

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

double bench::steps_of(const std::function<void()>& f) {
    const pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0) {
            raise(SIGSTOP);
            f();
            raise(SIGSTOP);
        }
        _exit(0);
    }
    constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
    if (child < 0) {
        return unknown;
    }
    constexpr long most = 1'000'000;  // then something went wrong
    long steps = 0;
    int status = 0;
    const auto stopped_by = [&](int signal) {
        return waitpid(child, &status, 0) == child && WIFSTOPPED(status) && WSTOPSIG(status) == signal;
    };
    bool whole = stopped_by(SIGSTOP);
    while (whole && steps != most && ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) == 0 && stopped_by(SIGTRAP)) {
        ++steps;
    }
    whole = whole && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP;
    if (WIFSTOPPED(status)) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    return whole ? static_cast<double>(steps) : unknown;
}
#else
double bench::steps_of(const std::function<void()>&) { return std::numeric_limits<double>::quiet_NaN(); }
#endif
