#!/usr/bin/env bash
# Makes the figures of benches/README.md, the most valuable ones first: `scripts/figures.sh [-r ROUNDS] [-o DIRECTORY] [STAGE ...]`
#
# Stages (all, in this order, where none is named; about 40 minutes with three peers and 3 rounds):
#   wallet       one wallet inside, behind gRPC and outside (scripts/wallet-figures.sh)                           8 min
#   compare      publish, fan-out, distinct filters, wallet outside: hearth and the peers in turn                  9 min
#   idle         memory of a connection and of a subscription: 10,000 x 1 and 10,000 x 10                          1 min
#   start        from the start of the process to its ready line, with 1,000,000 and 10,000,000 events          seconds
#   cost         cost of an event on 10,000, 200,000, 1,000,000 and 10,000,000 stored ones                         1 min
#   queries-1m   7 shapes x limits 1, 100, 500 on 1,000,000 events, and the feed alone                             7 min
#   queries-200k the same on 200,000 events, with the peer that keeps events in memory too                        10 min
#   alone        hearth alone: longer runs, 98,000 subscriptions                                                   2 min
#   cores        hearth on one core and on two; the load generator has the second one                              2 min
#   cold         queries right after a start, with empty caches (the page cache too, where it may be dropped)      1 min
#
# DATA names the directory with the stored events (`hearth-200k`, `hearth-1m`, `hearth-10m`, and of the peers `strfry-1m`, `nrr-1m`,
# ...); scripts/fill.sh makes it. Peers are measured where they are given: STRFRY and STRFRY_CONF (its sample configuration),
# NOSTR_RS_RELAY, RELAY_BUILDER (a relay of the nostr-relay-builder crate that takes a port). What is measured already in DIRECTORY is
# not measured again, so a run that was broken off goes on. Each run has a time-out; what did not end in it is missing from its table
# and named in a .failed file.
set -euo pipefail
cd "$(dirname "$0")/.."

hearth="${HEARTH:-target/release/hearth}"
data="${DATA:+$(realpath "$DATA")}"
rounds=3
out=""
while getopts "r:o:" option; do
    case "$option" in
    r) rounds="$OPTARG" ;;
    o) out="$OPTARG" ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ -x "$hearth" ] || { echo "$hearth is missing: cargo build --release --bin hearth" >&2; exit 1; }
[ -n "$out" ] || out="$(mktemp -d)"
mkdir -p "$out"
# shellcheck source=scripts/measure.sh
source scripts/measure.sh
world="$(mktemp -d)"
trap 'stop_all; rm -rf "$world"' EXIT
top="$out"

# stored NAME: whether that directory with stored events is there; sets filled.
stored() {
    filled="$data/$1"
    [ -n "$data" ] && [ -e "$filled" ] && return 0
    echo "   no $1 under DATA: scripts/fill.sh makes it" >&2
    return 1
}

# The relays of a comparison: "label url pid" each.
relays=()

add_hearth() {
    settings "$world/hearth.toml"
    serve hearth "$world/hearth.toml" "$1"
    relays+=("hearth,sync $url $pid")
}

# How each peer is started, and the process that it is now.
declare -A commands=() pids=()

# launch LABEL PORT: starts a peer and waits until it listens.
launch() {
    local -a command
    eval "command=(${commands[$1]})"
    (cd "$world" && exec "${command[@]}") >>"$out/logs/${1%%,*}.log" 2>&1 &
    pids[$1]=$!
    started+=("${pids[$1]}")
    listening "$2" "${pids[$1]}"
}

# add_peer LABEL PORT COMMAND ...
add_peer() {
    local label="$1" port="$2"
    shift 2
    commands[$label]="$(printf '%q ' "$@")"
    if launch "$label" "$port"; then
        relays+=("$label ws://127.0.0.1:$port ${pids[$label]}")
    else
        echo "   $label did not start: see $out/logs/${label%%,*}.log" >&2
    fi
}

# add_strfry DIRECTORY
add_strfry() {
    [ -n "${STRFRY:-}" ] && [ -n "${STRFRY_CONF:-}" ] || return 0
    local port
    port="$(free_port)"
    mkdir -p "$1"
    # Its limits let the generator's events in, its rates are off as they are; everything else is as it comes.
    sed -e "s#^db = .*#db = \"$1/\"#" -e "s/port = 7777/port = $port/" -e 's/nofiles = .*/nofiles = 0/' \
        -e 's/rejectEventsOlderThanSeconds = .*/rejectEventsOlderThanSeconds = 946080000/' "$STRFRY_CONF" >"$world/strfry.conf"
    add_peer strfry,sync "$port" "$STRFRY" "--config=$world/strfry.conf" relay
}

# add_nrr DIRECTORY
add_nrr() {
    [ -n "${NOSTR_RS_RELAY:-}" ] || return 0
    local port
    port="$(free_port)"
    mkdir -p "$1"
    printf '[database]\ndata_directory = "%s"\n[network]\naddress = "127.0.0.1"\nport = %d\n' "$1" "$port" >"$world/nrr.toml"
    add_peer nostr-rs-relay,nosync "$port" "$NOSTR_RS_RELAY" --db "$1" --config "$world/nrr.toml"
}

add_builder() {
    [ -n "${RELAY_BUILDER:-}" ] || return 0
    local port
    port="$(free_port)"
    add_peer relay-builder,memory "$port" "$RELAY_BUILDER" "$port"
}

# ask LABEL URL PID FILE SECONDS WORKLOAD ...: measures; a peer that crashes under it is started again, three times at most.
ask() {
    local label="$1" url="$2" pid="$3" file="$4" seconds="$5" tries
    shift 5
    for ((tries = 0; tries < 4; tries++)); do
        pid="${pids[$label]:-$pid}"
        measure "$file" "$seconds" "$@" --url "$url" --server-pid "$pid" --label "$label"
        [ ! -s "$file" ] && [ -n "${commands[$label]:-}" ] || return 0
        # A process that aborts is there for a moment yet.
        sleep 1
        kill -0 "$pid" 2>/dev/null && return 0
        echo "   $label crashed and is started again" >&2
        launch "$label" "${url##*:}" || return 0
    done
}

# in_turn SECONDS FILE: the workloads of a file on all relays, round by round; a number "M/N" is M for hearth and N for the peers,
# which would take minutes for what hearth does in a second, and in "M/N/K" K is for nostr-rs-relay.
in_turn() {
    local seconds="$1" list="$2" round relay label url pid line number file files=() workload
    for ((round = 1; round <= rounds; round++)); do
        number=0
        while read -r line; do
            [ -n "$line" ] && [ "${line#\#}" = "$line" ] || continue
            number=$((number + 1))
            for relay in "${relays[@]}"; do
                read -r label url pid <<<"$relay"
                file="$out/$number-${label%%,*}-$round.json"
                case "$label" in
                hearth,*) read -r -a workload <<<"$(sed -E 's#([0-9]+)(/[0-9]+)+#\1#g' <<<"$line")" ;;
                nostr-rs-relay,*) read -r -a workload <<<"$(sed -E 's#([0-9]+/)+([0-9]+)#\2#g' <<<"$line")" ;;
                *) read -r -a workload <<<"$(sed -E 's#[0-9]+/([0-9]+)(/[0-9]+)?#\1#g' <<<"$line")" ;;
                esac
                # What a relay could not do in the first round costs no further time-outs.
                [ "$round" -gt 1 ] && [ -e "$out/$number-${label%%,*}-1.json.failed" ] && continue
                printf '== %s, round %d of %d: %s: %s\n' "$(date +%H:%M:%S)" "$round" "$rounds" "$label" "${workload[*]}" >&2
                ask "$label" "$url" "$pid" "$file" "$seconds" "${workload[@]}"
                [ -s "$file" ] && files+=("$file")
            done
        done <"$list"
    done
    table "${files[@]}"
}

table() {
    [ $# -gt 0 ] || { echo "nothing was measured" >&2; return 0; }
    "$hearth" bench report "$@" --html "$out/report.html" | tee "$out/report.txt"
}

stage_wallet() {
    HEARTH="$hearth" scripts/wallet-figures.sh -r "$rounds" -o "$out"
}

stage_compare() {
    add_hearth "$world/hearth"
    add_strfry "$world/strfry"
    add_nrr "$world/nrr"
    add_builder
    in_turn 120 benches/workloads/compare.txt
}

# $1: 200k or 1m
queries() {
    stored "hearth-$1" || return 0
    add_hearth "$filled"
    if [ -n "${STRFRY:-}" ] && stored "strfry-$1"; then add_strfry "$filled/db"; fi
    if [ -n "${NOSTR_RS_RELAY:-}" ] && stored "nrr-$1"; then add_nrr "$filled"; fi
    if [ "$1" = 200k ]; then
        add_builder
        for relay in "${relays[@]}"; do
            read -r label url pid <<<"$relay"
            [ "$label" = relay-builder,memory ] && timeout 120 "$hearth" bench fill --url "$url" --events 200000 --repeats 1 >/dev/null
        done
    fi
    in_turn 75 "benches/workloads/queries-$1.txt"
}

stage_queries_1m() { queries 1m; }
stage_queries_200k() { queries 200k; }

stage_idle() {
    local round subscriptions files=()
    settings "$world/idle.toml"
    for ((round = 1; round <= rounds; round++)); do
        for subscriptions in 1 10; do
            # A server that was just started, each time: later ones reuse memory that they kept.
            serve "idle-$subscriptions-$round" "$world/idle.toml" "$world/idle-$subscriptions-$round"
            file="$out/$subscriptions-$round.json"
            measure "$file" 120 idle --connections 10000 --at-once 64 --subscriptions "$subscriptions" --hold 3 --url "$url" \
                --server-pid "$pid" --label hearth
            [ -s "$file" ] && files+=("$file")
            stop "$pid"
        done
    done
    table "${files[@]}"
    # The notes hold the memory of a connection: that of each round, because a median of notes is none.
    for file in "${files[@]}"; do printf '%s: %s\n' "$(basename "$file")" "$(sed -n 's/.*"note": "\(.*\)",/\1/p' "$file")"; done |
        tee -a "$out/report.txt"
}

# The page cache is emptied where that is allowed; says whether it was.
drop_caches() {
    sync
    if (echo 3 >/proc/sys/vm/drop_caches) 2>/dev/null; then echo "page cache dropped"; else echo "page cache kept"; fi
}

stage_start() {
    local size round began ready cache
    settings "$world/start.toml"
    for size in 1m 10m; do
        stored "hearth-$size" || continue
        for ((round = 0; round <= rounds; round++)); do
            cache="page cache as it was"
            [ "$round" -eq 0 ] && cache="$(drop_caches)"
            began=$(date +%s%N)
            serve "start-$size" "$world/start.toml" "$filled"
            ready=$(date +%s%N)
            printf 'start with %s events: %d ms to the ready line (looked for every 50 ms), %s, %d MB resident\n' "$size" \
                $(((ready - began) / 1000000)) "$cache" "$(($(sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$pid/status") / 1024))" |
                tee -a "$out/report.txt"
            stop "$pid"
        done
    done
}

stage_cost() {
    local size round files=()
    settings "$world/cost.toml"
    for ((round = 1; round <= rounds; round++)); do
        for size in 10k 200k 1m 10m; do
            case "$size" in
            10k) filled="$world/cost-10k-$round" ;;
            200k)
                stored hearth-200k || continue
                cp -r "$filled" "$world/cost-200k-$round"
                filled="$world/cost-200k-$round"
                ;;
            *) stored "hearth-$size" || continue ;;
            esac
            file="$out/$size-$round.json"
            [ -s "$file" ] && files+=("$file") && continue
            serve "cost-$size-$round" "$world/cost.toml" "$filled"
            [ "$size" = 10k ] && timeout 60 "$hearth" bench fill --url "$url" --events 10000 --repeats 1 >/dev/null
            printf '== %s, round %d of %d: publish on %s events\n' "$(date +%H:%M:%S)" "$round" "$rounds" "$size" >&2
            measure "$file" 90 publish --connections 8 --window 32 --events 60000 --warmup 5000 --url "$url" --server-pid "$pid" \
                --label "$size events stored"
            [ -s "$file" ] && files+=("$file")
            stop "$pid"
            case "$size" in 10k | 200k) rm -rf "$filled" ;; esac
        done
    done
    table "${files[@]}"
}

stage_alone() {
    add_hearth "$world/alone"
    in_turn 120 benches/workloads/alone.txt
}

stage_cores() {
    local cores round line number files=() workload loader
    [ "$(nproc)" -ge 2 ] || { echo "   this machine has one core" >&2; return 0; }
    command -v taskset >/dev/null || { echo "   taskset is missing" >&2; return 0; }
    stored hearth-200k || return 0
    settings "$world/cores.toml"
    cp -r "$filled" "$world/cores"
    for ((round = 1; round <= rounds; round++)); do
        for cores in 0 0,1; do
            serve "cores-$cores-$round" "$world/cores.toml" "$world/cores" taskset -c "$cores"
            timeout 30 "$hearth" --config "$world/cores.toml" --data "$world/cores" wallet connect "c$cores-$round" --account c --json </dev/null |
                sed -n 's/.*"uri": *"\([^"]*\)".*/\1/p' >"$world/cores.uri"
            number=0
            while read -r line; do
                [ -n "$line" ] && [ "${line#\#}" = "$line" ] || continue
                number=$((number + 1))
                read -r -a workload <<<"${line//URIS/$world/cores.uri}"
                file="$out/$number-${cores/,/and}-$round.json"
                printf '== %s, round %d of %d: cores %s: %s\n' "$(date +%H:%M:%S)" "$round" "$rounds" "$cores" "$line" >&2
                loader="taskset -c 1" measure "$file" 60 "${workload[@]}" --url "$url" --server-pid "$pid" \
                    --label "hearth on cores $cores, generator on 1"
                [ -s "$file" ] && files+=("$file")
            done <benches/workloads/cores.txt
            stop "$pid"
        done
    done
    table "${files[@]}"
}

stage_cold() {
    local size round cache files=()
    settings "$world/cold.toml"
    for ((round = 1; round <= rounds; round++)); do
        for size in 1m:1000000 10m:10000000; do
            stored "hearth-${size%%:*}" || continue
            file="$out/${size%%:*}-$round.json"
            [ -s "$file" ] && files+=("$file") && continue
            cache="$(drop_caches)"
            serve "cold-${size%%:*}" "$world/cold.toml" "$filled"
            measure "$file" 120 query --cold --stored "${size##*:}" --queries 300 --connections 1 --limits 1,100 --url "$url" \
                --server-pid "$pid" --label "${size%%:*} events, $cache"
            [ -s "$file" ] && files+=("$file")
            stop "$pid"
        done
    done
    table "${files[@]}"
}

[ $# -gt 0 ] || set -- wallet compare idle start cost queries-1m queries-200k alone cores cold
for stage in "$@"; do
    declare -F "stage_${stage//-/_}" >/dev/null || { echo "there is no stage $stage" >&2; exit 2; }
done
for stage in "$@"; do
    began=$SECONDS
    out="$top/$stage"
    mkdir -p "$out/logs"
    relays=() commands=() pids=()
    printf '=== %s: %s\n' "$(date +%H:%M:%S)" "$stage" >&2
    # A stage that fails does not keep the others from being measured; what it started ends with it.
    set +e
    (
        set -e
        trap stop_all EXIT
        "stage_${stage//-/_}"
    )
    ended=$?
    set -e
    [ "$ended" -eq 0 ] || echo "   $stage did not end well" >&2
    printf '=== %s took %d s\n' "$stage" $((SECONDS - began)) | tee -a "$top/times.txt" >&2
done
cat "$top"/*/report.txt "$top"/wallet/wallet.txt 2>/dev/null >"$top/all.txt" || true
echo "all tables are in $top/all.txt"
