#!/usr/bin/env bash
# Measures one wallet in three places, in turn, round by round, by the same clients: `scripts/wallet-figures.sh [-r ROUNDS] [-o DIRECTORY]`
#
#   inside    accounts inside hearth (backend = "embedded"), every payment synced to the disk
#   grpc      the example wallet as a process behind hearth's gRPC handler; what is paid are invoices of another node
#   outside   a wallet service as a process that answers over hearth as an ordinary relay: once in memory only, once with a journal
#             that is synced before an answer goes out
#
# get_balance, make_invoice and pay_invoice by 1, 16, 64 and 256 clients (CLIENTS="1 64", METHODS=... for fewer). Server CPU is that
# of hearth and of the wallet's process together. Takes about 8 minutes; what is in DIRECTORY already is not measured again.
set -euo pipefail
cd "$(dirname "$0")/.."

hearth="${HEARTH:-target/release/hearth}"
wallet="${WALLET_BACKEND:-target/release/examples/wallet_backend}"
rounds=3
out=""
connections=64
while getopts "r:o:" option; do
    case "$option" in
    r) rounds="$OPTARG" ;;
    o) out="$OPTARG" ;;
    *) exit 2 ;;
    esac
done
for program in "$hearth" "$wallet"; do
    [ -x "$program" ] || { echo "$program is missing: cargo build --release --bin hearth --example wallet_backend" >&2; exit 1; }
done
[ -n "$out" ] || out="$(mktemp -d)"
mkdir -p "$out"
# shellcheck source=scripts/measure.sh
source scripts/measure.sh
world="$(mktemp -d)"
trap 'stop_all; rm -rf "$world"' EXIT

# accounts SETTINGS DATA URIS: makes the connections, each with an account of its own that has money.
accounts() {
    local number
    : >"$3"
    for ((number = 1; number <= connections; number++)); do
        timeout 30 "$hearth" --config "$1" --data "$2" wallet connect "bench$number" --account "bench$number" --json </dev/null |
            sed -n 's/.*"uri": *"\([^"]*\)".*/\1/p' >>"$3"
    done
    [ "$(wc -l <"$3")" -eq "$connections" ] || { echo "the connections could not be made" >&2; exit 1; }
}

common=$'[wallet]\ninvoices_per_connection = 100000\n'
settings "$world/inside.toml" "$common"
serve inside "$world/inside.toml" "$world/inside"
inside_pid=$pid
accounts "$world/inside.toml" "$world/inside" "$world/inside.uris"
for ((number = 1; number <= connections; number++)); do
    timeout 30 "$hearth" --config "$world/inside.toml" --data "$world/inside" wallet fund "bench$number" 1000000000 >/dev/null
done

mkdir "$world/wallet"
"$wallet" --listen "unix:$world/wallet/sock" --state "$world/wallet/state" --neighbours "$world/wallet/neighbours" \
    --balance-msat 1000000000000 >"$out/logs/example-wallet.log" 2>&1 &
wallet_pid=$!
started+=("$wallet_pid")
for ((tries = 0; tries < 100; tries++)); do
    grep -q listening "$out/logs/example-wallet.log" && break
    sleep 0.1
done
settings "$world/grpc.toml" "${common}backend = \"grpc\"
[wallet.grpc]
address = \"unix:$world/wallet/sock\""
serve grpc "$world/grpc.toml" "$world/grpc"
grpc_pid=$pid
accounts "$world/grpc.toml" "$world/grpc" "$world/grpc.uris"
for ((number = 1; number <= connections; number++)); do
    timeout 30 "$hearth" --config "$world/grpc.toml" --data "$world/grpc" wallet move main "bench$number" 1000000000 >/dev/null
done

settings "$world/outside.toml" $'[wallet]\nenabled = false\n'
serve outside "$world/outside.toml" "$world/outside"
outside_pid=$pid
# service NAME SEED [ARGUMENTS]: a wallet service over that relay; sets service_pid.
service() {
    local name="$1" seed="$2" tries
    shift 2
    "$hearth" bench wallet-service --url "$url" --threads 2 --seed "$seed" --connections "$connections" \
        --uri-file "$world/$name.uris" "$@" >"$out/logs/$name-service.log" 2>&1 &
    service_pid=$!
    started+=("$service_pid")
    for ((tries = 0; tries < 100; tries++)); do
        [ -e "$world/$name.uris" ] && return 0
        sleep 0.1
    done
    echo "the wallet service did not start: see $out/logs/$name-service.log" >&2
    return 1
}
service outside 1
memory_pid=$service_pid
service journal 2 --journal "$world/journal"
journal_pid=$service_pid

# How many requests: so many that a run takes a second or two.
requests() {
    case "$1 $2" in
    "get_balance 1") echo 4000 ;;
    "get_balance "*) echo 15000 ;;
    *" 1") echo 1500 ;;
    *) echo 6000 ;;
    esac
}

files=()
for ((round = 1; round <= rounds; round++)); do
    for method in ${METHODS:-get_balance make_invoice pay_invoice}; do
        for clients in ${CLIENTS:-1 16 64 256}; do
            for place in inside grpc outside journal; do
                printf '== round %d of %d: %s, %d clients, %s\n' "$round" "$rounds" "$method" "$clients" "$place" >&2
                more=()
                case "$place" in
                inside) pids=$inside_pid label="inside,sync" ;;
                grpc) pids=$grpc_pid,$wallet_pid label="grpc,sync" ;;
                outside) pids=$outside_pid,$memory_pid label="outside,memory" ;;
                journal) pids=$outside_pid,$journal_pid label="outside,sync" ;;
                esac
                [ "$place $method" = "grpc pay_invoice" ] && more=(--neighbours "$world/wallet/neighbours")
                file="$out/$method-$clients-$place-$round.json"
                measure "$file" 90 nwc --uri-file "$world/$place.uris" --method "$method" --clients "$clients" \
                    --requests "$(requests "$method" "$clients")" --server-pid "$pids" --label "$label" "${more[@]}"
                [ -s "$file" ] && files+=("$file")
            done
        done
    done
done
[ ${#files[@]} -gt 0 ] || { echo "nothing was measured" >&2; exit 1; }
"$hearth" bench report "${files[@]}" --html "$out/wallet.html" | tee "$out/wallet.txt"
stop "$memory_pid"
stop "$journal_pid"
cat "$out/logs/outside-service.log" "$out/logs/journal-service.log"
