#!/usr/bin/env bash
# `make test`: everything that is tested, Rust suites first, then clients of other people under Node.js.
#
# The last line is the sum of both: `N passed, N failed`. It also stands in target/test-summary.txt. Exits non-zero on a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

target="${CARGO_TARGET_DIR:-target}"
summary="$target/test-summary.txt"
cargo_log="$target/test-cargo.log"
node_log="$target/test-node.log"

# Most tests wait for a server and not for a core, so more of them than cores run at a time.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}"

count() { # count PATTERN FILE: the sum of the first number after PATTERN
    { grep -oE "$1" "$2" || true; } | grep -oE '[0-9]+' | awk '{ sum += $1 } END { print sum + 0 }'
}

rust_suites() {
    scripts/build.sh build --bins
    scripts/build.sh test --no-run
    cargo test --release --locked --no-fail-fast 2>&1 | tee "$cargo_log"
}

node_suites() {
    (cd tests/clients && npm ci --no-audit --no-fund --loglevel error)
    HEARTH="$PWD/$target/release/hearth" node --test --test-force-exit --test-reporter=spec --test-concurrency=2 tests/clients/suites/ 2>&1 | tee "$node_log"
}

rm -f "$summary"
scripts/setup.sh test
mkdir -p "$target"
: >"$cargo_log"
: >"$node_log"
code=0
rust_suites || code=1
# Node.js runs against the binary that was just built; without one there is nothing to run it against.
if [ -x "$target/release/hearth" ]; then node_suites || code=1; else code=1; fi

passed=$(($(count 'test result: [a-zA-Z]+\. [0-9]+ passed' "$cargo_log") + $(count '^(ℹ|#) pass [0-9]+' "$node_log")))
# What node's runner cancelled did not pass either.
failed=$(($(count '[0-9]+ failed;' "$cargo_log") + $(count '^(ℹ|#) (fail|cancelled) [0-9]+' "$node_log")))
if [ "$code" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi # a suite that did not build or start is a failure too
if [ "$passed" = 0 ]; then code=1; fi
printf '\n%d passed, %d failed\n' "$passed" "$failed" | tee "$summary"
exit "$code"
