#!/usr/bin/env bash
# Measures the shipped build: how soon nginx follows etcd, what idle agents cost, and how a pusher grows with the records. On a fresh Debian with Rust it
# first installs what is missing. Fails when a limit is missed; run it on an idle machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

tests/install.sh
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

# With --target, the flags are not for build scripts, which must stay able to load libraries.
host=$(rustc -vV | sed -n 's/^host: //p')
echo "Building what is shipped, for $host"
export RUSTFLAGS='-C target-feature=+crt-static -C relocation-model=static'
cargo build --locked --release --target "$host" --bin sidekick
# By itself: built together, the program would get the features that only tests and examples need.
cargo build --locked --release --target "$host" --example backend
unset RUSTFLAGS
shipped=$(realpath "${CARGO_TARGET_DIR:-target}/$host/release/sidekick")

echo
echo "Machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores," \
    "$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), Linux $(uname -r)"
echo "With: $(etcd --version | head -1), $(nginx -v 2>&1), $(rustc --version)"
echo "Binary: $(stat -c %s "$shipped" | awk '{ printf "%.2f MiB", $1 / 1048576 }')"
echo

# The benchmarks themselves need no release build: what is timed runs in other processes.
failed=0
for bench in latency footprint scale; do
    SIDEKICK_TEST_BINARY=$shipped cargo bench --locked --profile dev --quiet --bench "$bench" || failed=1
    echo
done
exit "$failed"
