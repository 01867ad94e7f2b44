#!/usr/bin/env bash
# Builds as what is shipped is built: static programs, which need nothing of the system they run on. Arguments go to
# `cargo build`. Prints the folder that has `debug` or `release` in it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:$HOME/.cargo/bin

# Named, so that the flags are not for build scripts, which must stay able to load libraries.
host=$(rustc -vV | sed -n 's/^host: //p')
# Nothing of the caller's: not every linker makes a static program that starts.
export RUSTFLAGS='-C target-feature=+crt-static -C relocation-model=static'
# What cargo tells the tests that it runs would make ring anew, and all that uses it.
unset "${!CARGO_PKG_@}" "${!CARGO_MANIFEST_@}"
# Nobody debugs what a test has put into a container.
export CARGO_PROFILE_DEV_DEBUG=0
cargo build --locked --target "$host" "$@" >&2
realpath "${CARGO_TARGET_DIR:-target}/$host"
