#!/usr/bin/env bash
# Measures several relays in turn, round by round, and compares them: `scripts/compare.sh [-r ROUNDS] [-o DIRECTORY] NAME=URL[,PID] ...`
#
# The relays run already (each with its rate limits off, on an empty or an equal store); NAME goes into the report and should say the
# durability ("hearth,sync"). With PID, its CPU time, memory and disk writes are in the rows. The first relay is what the others are
# compared with. What is run is in WORKLOADS, one `hearth bench` line each, or the lines of the file that WORKLOADS names.
set -euo pipefail

hearth="${HEARTH:-target/release/hearth}"
rounds=3
out="$(mktemp -d)"
while getopts "r:o:" option; do
    case "$option" in
    r) rounds="$OPTARG" ;;
    o) out="$OPTARG" ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [ $# -eq 0 ]; then
    sed -n '2,6s/^# //p' "$0" >&2
    exit 2
fi
mkdir -p "$out"

workloads="publish --connections 8 --window 32
publish --connections 64 --window 32
publish --connections 1 --window 1 --events 2000
fanout --subscribers 1000 --events 300
fanout --subscribers 1000 --events 1000 --window 16
fanout --subscribers 980 --subscriptions 10 --audience distinct --events 1000
outside --clients 1 --requests 2000
outside --clients 16"
[ -n "${WORKLOADS:-}" ] && workloads="$(cat "$WORKLOADS")"

files=()
for ((round = 1; round <= rounds; round++)); do
    number=0
    while read -r -a workload; do
        [ ${#workload[@]} -eq 0 ] && continue
        number=$((number + 1))
        for relay in "$@"; do
            name="${relay%%=*}" address="${relay#*=}"
            url="${address%%,*}" pid=()
            [ "$url" = "$address" ] || pid=(--server-pid "${address##*,}")
            file="$out/$number-${name//[^A-Za-z0-9._-]/_}-$round.json"
            # Queries ask for what `fill` stored with its own seed.
            seed=(--seed "$round")
            [ "${workload[0]}" = query ] && seed=()
            printf '== round %d of %d: %s: %s\n' "$round" "$rounds" "$name" "${workload[*]}" >&2
            # A relay that cannot do a workload does not keep the others from being measured.
            if "$hearth" bench "${workload[@]}" --url "$url" "${pid[@]}" --label "$name" "${seed[@]}" --repeats 1 --out "$file" >/dev/null </dev/null; then
                files+=("$file")
            fi
        done
    done <<<"$workloads"
done
"$hearth" bench report "${files[@]}" --html "$out/compare.html"
echo "the rounds and compare.html are in $out"
