//! sidekick as its users run it: whole processes against real etcd and nginx. Needs `etcd` and `nginx` with lua on
//! the PATH; `tests/run.sh` installs them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test says no"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the benchmarks share it, and neither needs all of it"
)]
#[path = "../support/mod.rs"]
mod support;

mod docker;
mod events;
mod healing;
mod hostile;
mod leaving;
mod ownership;
mod paired;
mod probes;
mod push;
mod rig;
mod rolling;
mod security;
mod steady;
mod story;
mod systemd;
mod usage;
