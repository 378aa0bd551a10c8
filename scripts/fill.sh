#!/usr/bin/env bash
# Makes the directories with stored events that scripts/figures.sh asks for: `scripts/fill.sh DATA SIZE ...`, sizes 200k, 1m, 10m.
#
# `hearth bench fill` publishes them to hearth (`DATA/hearth-1m`; 10m takes 15 to 30 minutes and 7 GB); the peers of figures.sh that
# are given get the same events of 200k and 1m: strfry (STRFRY and STRFRY_CONF) by its import, from a file of lines, nostr-rs-relay
# (NOSTR_RS_RELAY) as hearth does, which takes it 10 minutes a million and more.
set -euo pipefail
cd "$(dirname "$0")/.."

hearth="${HEARTH:-target/release/hearth}"
[ $# -ge 2 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
mkdir -p "$1"
data="$(realpath "$1")"
out="$data"
shift
# shellcheck source=scripts/measure.sh
source scripts/measure.sh

count() {
    case "$1" in
    200k) echo 200000 ;;
    1m) echo 1000000 ;;
    10m) echo 10000000 ;;
    *)
        echo "sizes are 200k, 1m and 10m" >&2
        exit 2
        ;;
    esac
}

fill_hearth() {
    [ -e "$data/hearth-$1.json" ] && return 0
    settings "$data/fill.toml" $'[store]\ndurability = "os"\n'
    serve "fill-$1" "$data/fill.toml" "$data/hearth-$1"
    "$hearth" bench fill --url "$url" --server-pid "$pid" --label "hearth,os" --events "$(count "$1")" --out "$data/hearth-$1.new"
    stop "$pid"
    mv "$data/hearth-$1.new" "$data/hearth-$1.json"
}

fill_strfry() {
    local to="$data/strfry-$1"
    [ -n "${STRFRY:-}" ] && [ -n "${STRFRY_CONF:-}" ] && [ ! -e "$to/done" ] || return 0
    mkdir -p "$to/db"
    sed -e "s#^db = .*#db = \"$to/db/\"#" -e 's/nofiles = .*/nofiles = 0/' \
        -e 's/rejectEventsOlderThanSeconds = .*/rejectEventsOlderThanSeconds = 946080000/' "$STRFRY_CONF" >"$to/strfry.conf"
    (cd "$to" && "$STRFRY" "--config=$to/strfry.conf" import <"$data/lines-$1") >"$data/logs/strfry-$1.log" 2>&1
    touch "$to/done"
}

fill_nrr() {
    local to="$data/nrr-$1" port
    [ -n "${NOSTR_RS_RELAY:-}" ] && [ ! -e "$to/done" ] || return 0
    mkdir -p "$to"
    port="$(free_port)"
    printf '[database]\ndata_directory = "%s"\n[network]\naddress = "127.0.0.1"\nport = %d\n' "$to" "$port" >"$to/config.toml"
    # Not by its bulk loader: that one leaves out the tags, and queries for them find nothing.
    "$NOSTR_RS_RELAY" --db "$to" --config "$to/config.toml" >"$data/logs/nrr-$1.log" 2>&1 &
    local pid=$!
    started+=("$pid")
    listening "$port" "$pid"
    "$hearth" bench fill --url "ws://127.0.0.1:$port" --events "$(count "$1")" >/dev/null
    stop "$pid"
    touch "$to/done"
}

mkdir -p "$data/logs"
for size in "$@"; do count "$size" >/dev/null; done
for size in "$@"; do
    fill_hearth "$size"
    [ "$size" = 10m ] && continue
    if [ -n "${STRFRY:-}" ] && [ ! -e "$data/strfry-$size/done" ]; then
        "$hearth" bench fill --events "$(count "$size")" --lines "$data/lines-$size" >/dev/null
        fill_strfry "$size"
        rm -f "$data/lines-$size"
    fi
    fill_nrr "$size"
done
du -sh "$data"/*-*k "$data"/*-*m 2>/dev/null || true
