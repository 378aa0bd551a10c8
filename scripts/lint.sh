#!/usr/bin/env bash
# `make lint`: formatting, clippy with warnings as errors, and, where cargo-deny is installed, licences and advisories.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

scripts/setup.sh build
cargo fmt --check
scripts/build.sh clippy --all-targets -- -D warnings
if command -v cargo-deny >/dev/null; then
    cargo deny --locked check
else
    echo "cargo-deny is not installed, so deny.toml was not checked (cargo install --locked cargo-deny)"
fi
