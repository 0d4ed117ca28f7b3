// weir (BSL-1.0). latest: an example that stands in the README.
#include <weir/data/latest.hpp>

#include <cstdio>

int main() {
    latest l;
    std::printf("%d [%s];\n", l.exchange(1), "a\\b");
}
