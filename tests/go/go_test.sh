#!/bin/sh
# weir (BSL-1.0). usage: go_test.sh <case> <go.sh> <scratch folder>. Runs go.sh where every program is a stand-in that
# writes down how it was called, and compares.
# shellcheck disable=SC2016 # the stand-ins expand what stands in single quotes
set -eu
case=$1
rm -rf "$3"
mkdir -p "$3/tree/cmake" "$3/tree/build/bench/bench" "$3/bin" "$3/elsewhere"
cp "$2" "$3/tree/cmake/go.sh"
cd "$3"
here=$PWD
log=$here/log
: >"$log"

# stand_in <name> <text of a script>
stand_in() {
    printf '#!/bin/sh\n%s\n' "$2" >"$here/bin/$1"
    chmod +x "$here/bin/$1"
}
for real in sh cat env sed grep head dirname getconf mkdir rm; do
    ln -s "$(command -v $real)" bin/$real
done
noted='printf "%s\n" "${0##*/} $*" >>"$LOG"; if read -r answer; then echo "read $answer" >>"$LOG"; fi'
for name in ninja c++ clang++-19 ctest apt-get dpkg-deb; do stand_in $name "$noted"; done
stand_in cmake '[ "$1" != --version ] || { echo "cmake version ${CMAKE_IS:-3.25.1}"; exit; }
'"$noted"'; [ "$1" != --build ] || exit "${BUILD_FAILS:-0}"'
stand_in id 'echo "${USER_IS:-0}"'
stand_in sudo '[ -n "${SUDO_WORKS:-}" ] && [ "$1" = -n ] || exit 1; shift; '"$noted"'; "$@"'

stand_in dpkg-query 'for package; do :; done
case $package in
libboost1.\*-dev) [ -z "${BOOST:-}" ] || echo "installed $BOOST" ;;
*) case " $INSTALLED " in *" $package "*) printf installed ;; *) exit 1 ;; esac ;;
esac'
printf '#!/bin/sh\n(printf "weir_bench in %%s" "$PWD"; printf " <%%s>" "$@"; echo) >>"$LOG"\n' >tree/build/bench/bench/weir_bench
chmod +x tree/build/bench/bench/weir_bench

# go [<variable>=<value>...] -- <argument>...: runs go.sh; leaves $status, the file said, and the log
go() {
    settings=""
    while [ "$1" != -- ]; do
        case $1 in INSTALLED=*) INSTALLED=${1#*=} ;; *) settings="$settings $1" ;; esac
        shift
    done
    shift
    status=0
    # shellcheck disable=SC2086 # a list of settings
    (cd elsewhere && yes 2>/dev/null | head -n 100 |
        env -i PATH="$here/bin" LOG="$log" INSTALLED="${INSTALLED:-}" $settings \
            sh ../tree/cmake/go.sh "$@" >../said 2>&1) || status=$?
    cat said log
}
fail() {
    echo "FAILED: $*"
    exit 1
}
ends_with() { [ "$status" -eq "$1" ] || fail "status $status instead of $1"; }
logged() { grep -qxF -e "$1" "$log" || fail "not called: $1"; }
not_logged() { ! grep -q -e "$1" "$log" || fail "called: $1"; }
says() { grep -qF -e "$1" said || fail "not said: $1"; }

all_for_test="g++ cmake ninja-build libgtest-dev libfmt-dev nlohmann-json3-dev pkg-config libboost1.81-dev"
install="apt-get -o DPkg::Lock::Timeout=300 install -q --no-install-recommends --no-remove -y"

case $case in
refuses_what_it_does_not_know)
    for arguments in "" all "test fast" --help "test --long" "model fast" "model --long --long"; do
        # shellcheck disable=SC2086
        go -- $arguments
        ends_with 2
        says usage
    done
    not_logged .
    ;;
installs_what_is_missing_and_only_that)
    go "INSTALLED=g++ ninja-build pkg-config" -- test
    ends_with 0
    logged "apt-get update -qq"
    logged "$install cmake libgtest-dev libfmt-dev nlohmann-json3-dev libboost1.81-dev"
    logged "ctest --preset test"
    ;;
installs_nothing_when_nothing_is_missing)
    go "INSTALLED=$all_for_test" -- test
    ends_with 0
    not_logged apt-get
    ;;
never_lets_apt_remove_a_package)
    for what in test tsan asan model bench; do
        go -- $what
        ends_with 0
    done
    [ "$(grep -c '^apt-get.* install .*--no-remove' "$log")" -eq 5 ] || fail "not five times --no-remove"
    not_logged 'apt-get.* \(remove\|purge\|autoremove\|[a-z-]*upgrade\) '
    ;;
without_root_it_prints_the_line_and_stops_with_status_2)
    go USER_IS=1000 "INSTALLED=g++" -- tsan
    ends_with 2
    says "apt-get update && apt-get install --no-install-recommends --no-remove -y cmake ninja-build libgtest-dev libfmt-dev nlohmann-json3-dev clang-19 libclang-rt-19-dev libboost1.81-dev"
    not_logged .
    ;;
takes_sudo_where_it_needs_no_password)
    go USER_IS=1000 SUDO_WORKS=yes "INSTALLED=$all_for_test" -- asan
    ends_with 0
    logged "sudo apt-get update -qq"
    logged "sudo env DEBIAN_FRONTEND=noninteractive $install clang-19 libclang-rt-19-dev"
    ;;
reads_no_answer)
    go -- test
    ends_with 0
    logged "ctest --preset test"
    not_logged "^read"
    ;;
keeps_another_boost)
    go BOOST=libboost1.74-dev -- bench
    ends_with 0
    says "libboost1.74-dev stays"
    not_logged libboost
    logged "cmake --preset bench -D WEIR_BENCH_REQUIRE_PEERS=OFF"
    go BOOST=libboost1.81-dev -- bench
    logged "cmake --preset bench -D WEIR_BENCH_REQUIRE_PEERS=ON"
    ;;
works_without_apt_if_the_tools_are_there)
    rm bin/apt-get
    go -- test
    ends_with 0
    logged "ctest --preset test"
    ;;
without_apt_and_tools_it_says_what_is_needed)
    rm bin/apt-get bin/ninja
    go -- test
    ends_with 2
    says "there is no ninja"
    says "${all_for_test% libboost*}"
    not_logged .
    ;;
refuses_an_old_cmake)
    for version in 2.99.9 3.9.1 3.24.4; do
        go CMAKE_IS=$version -- test
        ends_with 2
        says "cmake is too old: cmake version $version"
    done
    not_logged ctest
    go CMAKE_IS=4.0.0 -- test
    ends_with 0
    ;;
tells_the_model_checker_how_long_its_bounds_are)
    stand_in ctest 'echo "${0##*/} $*, long: ${WEIR_MODEL_LONG:-no}" >>"$LOG"'
    go "INSTALLED=g++ cmake ninja-build libgtest-dev nlohmann-json3-dev" -- model
    ends_with 0
    logged "$install binutils libboost1.81-dev"
    logged "cmake --preset model -D WEIR_REQUIRE_TOOLS=OFF"
    logged "ctest --preset model, long: no"
    go -- model --long
    ends_with 0
    logged "ctest --preset model, long: 1"
    go WEIR_MODEL_LONG=1 -- model
    [ "$(grep -c "ctest --preset model, long: no" "$log")" -eq 2 ] || fail "long bounds that nobody asked for"
    ;;
takes_every_promised_compiler_where_nobody_waits)
    for what in test model; do
        go CI=true -- $what
        ends_with 0
        logged "cmake --preset $what -D WEIR_REQUIRE_TOOLS=ON"
    done
    [ "$(grep -c '^apt-get.* install .* clang-16 clang-19 libboost1.81-dev$' "$log")" -eq 2 ] || fail "not both times clang"
    ;;
fetches_promtool_without_its_service_where_nobody_waits)
    for what in test tsan; do
        go CI=true -- $what
        ends_with 0
        logged "apt-get -q download prometheus"
        logged "dpkg-deb -x prometheus_*.deb ."
        not_logged 'apt-get.* install .*prometheus'
        : >"$log"
    done
    mkdir -p tree/build/tools/usr/bin
    cp bin/ninja tree/build/tools/usr/bin/promtool
    go CI=true -- test
    ends_with 0
    not_logged download
    rm tree/build/tools/usr/bin/promtool
    for what in test asan; do
        go -- $what
        ends_with 0
    done
    go CI=true -- model
    not_logged download
    ;;
hands_files_to_the_bench_from_where_it_was_called)
    go -- bench "one file" two
    ends_with 0
    logged "cmake --preset bench -D WEIR_BENCH_REQUIRE_PEERS=ON"
    logged "weir_bench in $here/elsewhere <--report> <$here/tree/build/bench/report> <one file> <two>"
    ;;
ends_with_the_status_of_what_fails)
    go BUILD_FAILS=7 -- test
    ends_with 7
    not_logged ctest
    go BUILD_FAILS=7 -- bench
    ends_with 7
    not_logged weir_bench
    ;;
*) fail "no such case" ;;
esac
