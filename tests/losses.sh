#!/usr/bin/env bash
# Prints one table of the requests that are lost under load: in rolling restarts, in departures while the pusher is away, by
# `podman stop`, and in a migration from plain records. Each row is a test of its own, which fails when it is not 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

printf '| load | requests | lost |\n| --- | --- | --- |\n'
# One after the other: each by itself is load enough.
cargo test --locked --test suite --quiet -- --test-threads 1 --nocapture \
    twenty_rolling_restarts_under_load twelve_departures_while podman_stop_under_load a_migration_from_plain_records 2>&1 |
    grep --line-buffered -oE '\| \([a-d]\) .*'
