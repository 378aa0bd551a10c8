# What the measuring scripts share: settings of a relay that is measured, starting and stopping it, runs with a time-out that are kept.
# Read by `source`; it needs `out` (a directory) and `hearth` (the program).
# shellcheck shell=bash

# Processes started here, and what stops them however the script ends.
started=()
stop_all() {
    local pid
    for pid in "${started[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    started=()
}
trap stop_all EXIT
trap 'exit 130' INT TERM

# stop PID: in order, and by force after 30 s.
stop() {
    kill -TERM "$1" 2>/dev/null || return 0
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# settings FILE [TEXT]: hearth's configuration for measuring, on free ports.
settings() {
    {
        printf '[relay]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n[rates]\nenabled = false\n[log]\nlevel = "warn"\n'
        printf '%s\n' "${2:-}"
    } >"$1"
}

# serve NAME SETTINGS DATA [COMMAND ...]: starts hearth (behind a command such as taskset) and waits until it serves. Sets pid and url.
serve() {
    local name="$1" file="$2" data="$3" tries
    shift 3
    mkdir -p "$out/logs"
    "$@" "$hearth" --config "$file" --data "$data" serve >"$out/logs/$name.log" 2>&1 &
    pid=$!
    started+=("$pid")
    for ((tries = 0; tries < 1200; tries++)); do
        url="$(sed -n 's#^hearth is serving at \(ws://[0-9.:]*\)/.*#\1#p' "$out/logs/$name.log" | head -n 1)"
        [ -n "$url" ] && return 0
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    echo "hearth ($name) did not start; it said:" >&2
    tail -n 5 "$out/logs/$name.log" >&2
    return 1
}

# A port of 127.0.0.1 that nobody listens at.
free_port() {
    local port
    for ((;;)); do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# listening PORT PID: waits until a process listens.
listening() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        kill -0 "$2" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# measure FILE SECONDS ARGUMENTS ...: `hearth bench ARGUMENTS` into FILE, unless it is there already (an earlier run that was broken
# off). What takes longer or fails is noted in FILE.failed and keeps nothing else from being measured.
measure() {
    local file="$1" seconds="$2" began=$SECONDS
    shift 2
    [ -s "$file" ] && return 0
    if timeout --kill-after=5 "$seconds" ${loader:-} "$hearth" bench "$@" --repeats 1 --out "$file.new" >/dev/null 2>"$file.failed" </dev/null; then
        mv "$file.new" "$file"
        rm -f "$file.failed"
    else
        echo "(ended with $? after $((SECONDS - began)) s)" >>"$file.failed"
        printf '   not measured: %s: %s\n' "$*" "$(tr '\n' ' ' <"$file.failed")" >&2
    fi
}
