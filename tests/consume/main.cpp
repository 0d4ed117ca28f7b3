// weir (BSL-1.0). consume: a stranger's program. It succeeds when it was built with the version it is told.
#include <weir/weir.hpp>

#include <iostream>
#include <string>
#include <thread>

int main(int argc, char** argv) {
    std::string seen;
    std::thread{[&seen] {  // links only if threads came along
        seen = std::to_string(weir::version.major) + "." + std::to_string(weir::version.minor) + "." +
               std::to_string(weir::version.patch);
    }}.join();
    std::cout << "built with weir " << seen << '\n';
    return argc == 2 && seen == argv[1] ? 0 : 1;
}
