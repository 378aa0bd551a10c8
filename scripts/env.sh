# Sourced by the other scripts: where tools are that setup.sh installed, and the versions it installs.
# shellcheck shell=bash disable=SC2034

node_oldest=20.0.0
node_installed=22.23.3
node_dir="$PWD/target/tools/node"
python_packages="$PWD/examples/python/requirements.txt"
python_dir="$PWD/target/tools/python"

export PATH="$node_dir/bin:${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
