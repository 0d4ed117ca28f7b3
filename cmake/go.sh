#!/bin/sh
# weir (BSL-1.0). From a bare Debian machine to results: installs what is missing, builds, runs.
# It asks nothing, removes nothing, and a second run installs nothing.
set -eu

usage() {
    cat >&2 <<'END'
usage: sh cmake/go.sh test              build and run every test
       sh cmake/go.sh tsan              the same under the thread sanitizer
       sh cmake/go.sh asan              the same under the address and undefined behaviour sanitizers
       sh cmake/go.sh model [--long]    explore small programs in every way that the memory model allows; --long: with
                                        bounds for a night instead of minutes
       sh cmake/go.sh bench [--full] [--only=map|stats|flow|run] [--markdown=FILE] [--svg=FILE] [file...]
                                        count the words of these files (of all headers in /usr/include) with every
                                        concurrent map there is, measure them and the statistics beside their peers, and
                                        write a report; --full: every load
END
    exit 2
}

say() { printf 'go.sh: %s\n' "$*" >&2; }

[ $# -ge 1 ] || usage
what=$1
shift
case $what in
test | tsan | asan) [ $# -eq 0 ] || usage ;;
model)
    unset WEIR_MODEL_LONG
    if [ $# -eq 1 ] && [ "$1" = --long ]; then
        export WEIR_MODEL_LONG=1
    elif [ $# -ne 0 ]; then
        usage
    fi
    ;;
bench) ;;
*) usage ;;
esac

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
ci=${CI:-}
exec </dev/null # nothing below may wait for an answer

# --- what it takes -----------------------------------------------------------------------------------------------

packages="g++ cmake ninja-build"
commands="c++ cmake ninja"
case $what in
test)
    packages="$packages libgtest-dev libfmt-dev nlohmann-json3-dev pkg-config"
    # An unattended run checks the headers with every compiler that the library promises.
    [ -z "$ci" ] || packages="$packages clang-16 clang-19"
    ;;
tsan | asan)
    packages="$packages libgtest-dev libfmt-dev nlohmann-json3-dev clang-19 libclang-rt-19-dev"
    commands="cmake ninja clang++-19"
    ;;
model)
    packages="$packages libgtest-dev nlohmann-json3-dev binutils"
    # An unattended run puts the objects of every compiler that the library promises under the model checker.
    [ -z "$ci" ] || packages="$packages clang-16 clang-19"
    ;;
bench)
    packages="$packages libbenchmark-dev libtbb-dev libcuckoo-dev libxenium-dev libcds-dev prometheus-cpp-dev libconcurrentqueue-dev"
    packages="$packages libmimalloc2.0 libjemalloc2"
    ;;
esac

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Debian's Boost versions exclude one another. 1.81 is the one to have; another one that is there already stays.
other_boost() {
    dpkg-query -W -f='${db:Status-Status} ${Package}\n' 'libboost1.*-dev' 2>/dev/null |
        sed -n 's/^installed \(libboost1\.[0-9]*-dev\)$/\1/p' | grep -vx libboost1.81-dev | head -n 1
}

# Runs a command as root, or fails without asking for a password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

install_with_apt() {
    require_peers=ON
    boost=$(other_boost)
    if [ -z "$boost" ]; then
        packages="$packages libboost1.81-dev"
    elif [ "$what" = bench ]; then
        say "$boost stays; any Boost from 1.74 on serves, but the floor row of the tables needs libboost1.81-dev"
        require_peers=OFF
    fi
    missing=""
    for package in $packages; do
        installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0

    # shellcheck disable=SC2086 # a list of words
    set -- $missing
    say "missing: $*"
    if ! { [ "$(id -u)" -eq 0 ] || { command -v sudo && sudo -n true; }; } >/dev/null 2>&1; then
        say "to install them, run this line as root, then this command again:"
        say "  apt-get update && apt-get install --no-install-recommends --no-remove -y $*"
        exit 2
    fi
    as_root apt-get update -qq || say "apt-get update failed; trying with the package lists that are there"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install \
        -q --no-install-recommends --no-remove -y "$@"
}

# One test has Prometheus' own tool read what we write, where it is there. An unattended run fetches it: out of its package, for
# installing that one would start a service.
fetch_promtool() {
    tools=$root/build/tools
    PATH=$PATH:$tools/usr/bin
    export PATH
    ! command -v promtool >/dev/null 2>&1 || return 0
    say "missing: promtool; taking it out of the package prometheus, which is not installed"
    mkdir -p "$tools"
    (
        cd "$tools"
        apt-get -q download prometheus || { as_root apt-get update -qq && apt-get -q download prometheus; }
        dpkg-deb -x prometheus_*.deb .
        rm -rf prometheus_*.deb etc lib var usr/share usr/bin/prometheus
    )
}

require_peers=OFF # where peers cannot be installed, one that is not there has no row
if command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1; then
    install_with_apt
    case $what in test | tsan | asan) [ -z "$ci" ] || fetch_promtool ;; esac
fi

for command in $commands; do
    if ! command -v "$command" >/dev/null 2>&1; then
        say "there is no $command. On Debian it takes these packages: $packages"
        exit 2
    fi
done
version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
if [ "${version% *}" -lt 3 ] || { [ "${version% *}" -eq 3 ] && [ "${version#* }" -lt 25 ]; }; then
    say "cmake is too old: $(cmake --version | sed 1q), and 3.25 is needed"
    exit 2
fi

# --- build and run -----------------------------------------------------------------------------------------------

jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN)}
[ "$jobs" -le 8 ] || jobs=8 # each may take a gigabyte
require_tools=OFF
[ -z "$ci" ] || require_tools=ON

case $what in
bench)
    (
        cd "$root"
        cmake --preset bench -D WEIR_BENCH_REQUIRE_PEERS=$require_peers
        cmake --build --preset bench --parallel "$jobs"
    )
    "$root/build/bench/bench/weir_bench" --report "$root/build/bench/report" "$@"
    ;;
*)
    cd "$root"
    cmake --preset "$what" -D WEIR_REQUIRE_TOOLS=$require_tools
    cmake --build --preset "$what" --parallel "$jobs"
    ctest --preset "$what"
    ;;
esac
