#!/usr/bin/env bash
# Breaks everything at random, two things at a time, for so many minutes (60), and says what was violated: the seed is printed, and
# the same seed draws the same faults. `tests/run.sh` does it for five minutes, with the same seed every time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

tests/install.sh
export SIDEKICK_FAULTS_MINUTES=${1:-60} SIDEKICK_FAULTS_SEED=${2:-$RANDOM}
cargo build --locked --quiet --example backend
exec cargo test --locked --test faults -- --nocapture everything_breaks
