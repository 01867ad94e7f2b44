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

mod access;
mod attackers;
mod bounds;
mod by_hand;
mod by_hand_shifted;
mod by_hand_shown;
mod conf_file;
mod conf_file_faults;
mod conf_file_names;
mod conf_file_others;
mod conf_file_pushers;
mod conf_file_reloads;
mod config;
mod config_kinds;
mod container_exec;
mod contests;
mod docker;
mod etcd_rights;
mod etcd_troubles;
mod events;
mod examples;
mod faults;
mod handover;
mod harness;
mod healing;
mod holds;
mod hostile;
mod install;
mod keeping;
mod leaving;
mod leaving_matrix;
mod log_floods;
mod logins;
mod nginx_faults;
mod once;
mod ownership;
mod paired;
mod parameters;
mod podman_stop;
mod probes;
mod push;
mod pusher_status;
mod refused;
mod reload;
mod renewed_access;
mod restarts;
mod rights;
mod rolling;
mod routed;
mod said;
mod security;
mod several;
mod silent;
mod steady;
mod story;
mod strangers;
mod surroundings;
mod systemd;
mod timelines;
mod tls;
mod units;
mod upstream_conf;
mod usage;
mod versions;
mod vulcand;
mod words;
