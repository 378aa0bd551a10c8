#!/usr/bin/env bash
# `make run`: builds hearth, starts it with its data in ./data, and on the first run makes a demo connection with money to try.
#
# Settings by environment: LISTEN (127.0.0.1:7777), ADMIN_LISTEN (127.0.0.1:7778), DATA (./data). Ctrl-C stops it in order.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

listen="${LISTEN:-127.0.0.1:7777}"
admin_listen="${ADMIN_LISTEN:-127.0.0.1:7778}"
data="${DATA:-data}"
hearth="${CARGO_TARGET_DIR:-target}/release/hearth"

demo_balance_msat=1000000000 # 1,000,000 sat of play money
demo_budget_msat=100000000   # 100,000 sat a day
ready_wait_s=120             # a large data directory may take a while to recover

fail() {
    printf '\nhearth: %s\n' "$*" >&2
    exit 1
}

taken() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; }

check_ports() {
    local address
    for address in "$listen" "$admin_listen"; do
        if taken "$address"; then
            fail "$address is in use already, by another hearth or another program.
        Stop it, or choose other ports:  LISTEN=127.0.0.1:8777 ADMIN_LISTEN=127.0.0.1:8778 DATA=./data2 make run"
        fi
    done
}

start_server() {
    ready="$(mktemp -u)"
    mkfifo -m 600 "$ready"
    # Its own process group: Ctrl-C reaches this script alone, which then stops the server once and waits for it.
    set -m
    "$hearth" --data "$data" serve --listen "$listen" --admin-listen "$admin_listen" >"$ready" &
    server=$!
    set +m
    trap stop_server INT TERM HUP
    local line=""
    read -r -t "$ready_wait_s" line <"$ready" || true
    rm -f "$ready"
    if [ -z "$line" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" || fail "the server did not start (exit code $?); its words stand above"
        fail "the server did not start; its words stand above"
    fi
    printf '\n%s\n' "$line"
}

# shellcheck disable=SC2317 # called by the trap
stop_server() {
    trap - INT TERM HUP
    printf '\nStopping ...\n'
    kill -TERM "$server" 2>/dev/null || true
    local code=0
    wait "$server" || code=$?
    [ "$code" = 0 ] && echo "hearth has stopped."
    exit "$code"
}

command_line() { "$hearth" --data "$data" "$@"; }

has_demo() { command_line wallet list --json | grep -q '"name": *"demo"'; }

demo_connection() {
    echo
    echo "A demo connection for a wallet app; it is shown once, its secret is not stored:"
    echo
    command_line wallet connect demo --account demo --budget-msat "$demo_budget_msat" --renewal daily
    command_line wallet fund demo "$demo_balance_msat" >/dev/null
    echo
    echo "It spends from the account \"demo\" (1,000,000 sat of play money), at most 100,000 sat a day."
}

later_run() {
    echo
    echo "The data of the last run in $data is used again, the demo connection with it (its secret was shown once)."
}

explain() {
    cat <<EOF

The wallet inside is of the kind "embedded": it settles only between the accounts of this hearth.
It is not connected to Lightning: invoices of other wallets cannot be paid, and others cannot pay yours.

  another connection    $hearth --data $data wallet connect NAME
  one with a budget     $hearth --data $data wallet connect NAME --account demo --budget-msat 1000000 --renewal daily
  what there is         $hearth --data $data wallet list
  everything else       $hearth --help

Ctrl-C stops the server.
EOF
}

scripts/setup.sh build
scripts/build.sh build --bin hearth
check_ports
start_server
if has_demo; then later_run; else demo_connection; fi
explain

code=0
wait "$server" || code=$?
fail "the server has ended by itself (exit code $code); its words stand above"
