#!/bin/sh
# weir (BSL-1.0). usage: ci_test.sh <.ci/run> <scratch folder>. The summary line and the status of an unattended run, for
# suites that end in every way there is. A stand-in for go.sh writes the reports that ctest would write.
set -eu
rm -rf "$2"
mkdir -p "$2/.ci" "$2/cmake"
cp "$1" "$2/.ci/run"
cd "$2"

cat >cmake/go.sh <<'END'
report() {
    mkdir -p "build/$suite"
    printf '<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="(empty)"\n\ttests="%s"\n\tfailures="%s"\n' \
        "$1" "$2" >"build/$suite/junit.xml"
    printf '\tdisabled="0"\n\tskipped="%s"\n\ttime="1"\n\t>\n\t<testcase name="a tests=&quot;7&quot;" tests="7">\n' \
        "$3" >>"build/$suite/junit.xml"
    printf '\t<testcase name="%s" classname="%s" time="0.1" status="%s">\n' one.runs one.runs run two.ends two.ends "$4" \
        >>"build/$suite/junit.xml"
}
suite=$1
case $(cat "ends.$suite" 2>/dev/null) in
"") report 10 0 0 run ;;
failures) report 10 3 0 fail; exit 8 ;;
no_tests) report 0 0 0 run ;;
no_build) exit 1 ;;
skips) report 10 0 2 run ;;
only_skips) report 4 0 4 run ;;
crash) report 10 0 0 run; exit 139 ;;
esac
END

# ends <suite> <how> <the last line> <status> [<what the line before it names as failed>]
ends() {
    rm -f ends.*
    echo "$2" >"ends.$1"
    status=0
    .ci/run >said 2>&1 || status=$?
    line=$(tail -n 1 said)
    if [ "$line" != "$3" ] || [ "$status" -ne "$4" ]; then
        cat said
        echo "FAILED: $1 with $2: '$line' and status $status, not '$3' and $4"
        exit 1
    fi
    before=$(tail -n 2 said | sed -n '1s/^FAILED: //p')
    if [ "$before" != "${5:-}" ]; then
        cat said
        echo "FAILED: $1 with $2: named '$before', not '${5:-}'"
        exit 1
    fi
}
ends test "" "41 passed, 0 failed" 0
ends test failures "38 passed, 3 failed" 1 "test: two.ends"
ends tsan no_tests "31 passed, 1 failed" 1 "tsan: no test ran"
ends asan no_build "31 passed, 1 failed" 1 "asan: no test ran" # and an old report must not count
ends bench no_build "40 passed, 1 failed" 1 "bench --smoke: ended with status 1"
ends test skips "39 passed, 0 failed" 0
ends model no_build "31 passed, 1 failed" 1 "model: no test ran"
ends asan only_skips "31 passed, 1 failed" 1 "asan: no test ran"
ends tsan crash "41 passed, 1 failed" 1 "tsan: ended with status 139"
