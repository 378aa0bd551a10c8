#!/usr/bin/env bash
# Builds with visible progress: `build.sh COMMAND ARGUMENTS...` runs `cargo COMMAND --profile release --locked ARGUMENTS...`.
#
# RocksDB is C++ and compiles for minutes, once: every target of the Makefile uses the one release profile.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

rocksdb_files=340 # object files that librocksdb-sys compiles, for the progress line
target="${CARGO_TARGET_DIR:-target}"

rocksdb_built() { compgen -G "$target/release/build/librocksdb-sys-*/out/librocksdb.a" >/dev/null; }
rocksdb_compiled() { find "$target"/release/build/librocksdb-sys-*/out -name '*.o' 2>/dev/null | wc -l; }

watch_rocksdb() {
    while sleep 30; do
        rocksdb_built && return
        local compiled
        compiled="$(rocksdb_compiled)"
        if [ "$compiled" -gt 0 ]; then
            printf '\r== RocksDB: %d of about %d files compiled\033[K\n' "$compiled" "$rocksdb_files" >&2
        fi
    done
}

if ! rocksdb_built; then
    echo "== First build: a quarter to half an hour on two cores, most of it RocksDB, which is compiled once; later builds take seconds to minutes." >&2
    watch_rocksdb &
    watcher=$!
    trap 'kill "$watcher" 2>/dev/null || true' EXIT
fi
command="$1"
shift
cargo "$command" --profile release --locked "$@"
