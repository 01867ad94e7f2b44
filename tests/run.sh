#!/usr/bin/env bash
# Runs every test: units, properties, and whole processes against real etcd and nginx. On a fresh Debian it
# first installs what is missing. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests/install.sh
# Debian keeps nginx in sbin, rustup puts cargo into the home folder.
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

# Before the tests rather than beside them: what goes into the image. Most of it is built once.
tests/static.sh --bin sidekick >/dev/null

# Most tests wait for a lease or a probe rather than for a core.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 4))}

# With arguments, what they name.
[ $# -eq 0 ] || exec cargo test --locked "$@"

# Five minutes of faults at random wait for links and leases too: the other tests run beside them. Both are built before.
cargo test --locked --no-run
random=everything_breaks
report=$(mktemp)
set -m # in a process group of their own, which is ended as a whole
cargo test --locked --quiet --test faults -- --nocapture "$random" >"$report" 2>&1 &
faults=$!
set +m
trap 'kill -- "-$faults" 2>/dev/null || true; rm -f "$report"' EXIT
failed=0
# Behind the faults: a backend that gets no core for seconds counts as one that does not work.
nice -n 10 cargo test --locked -- --skip "$random" || failed=1
# Waited for in any case: only at its own end does it take away its containers and its mount.
echo 'Faults at random:'
wait "$faults" || { cat "$report"; exit 1; }
grep -E '^(faults|not tested):' "$report"
exit "$failed"
