//! sidekick under a real systemd: hosts with systemd as their first process, and etcd, nginx, backends and sidekicks as
//! its units. Needs root and what `tests/run.sh` installs; the first run makes an image of Debian, which takes a minute
//! or two.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test says no"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the other tests, and none needs all of it"
)]
#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod crashes;
mod hooks;
mod host_harness;
mod image;
mod network;
mod order;
mod podman;
mod units;
mod upgrade;
mod versions;
mod waiting;
