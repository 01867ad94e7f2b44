//! Everything breaks at random, two things at a time, and nothing may be lost: three members of etcd, two nginx with lua, one with a
//! file, a stand-in of NGINX Plus, three pushers, ten announcers, five of them paired with containers of a real Docker, and clients
//! that never stop asking. `tests/faults.sh` runs it for an hour.
//!
//! | invariant | |
//! | --- | --- |
//! | I1 | no dead backend, and no address that a stranger wrote, gets requests beyond its bound |
//! | I2 | no healthy one is without requests by a fault elsewhere |
//! | I3 | all is right within 10 s of the last fault |
//! | I4 | no agent ends, grows, spins, or floods its log |
//! | I5 | nothing that says "routed" or "drained" is wrong at that moment |
//! | I6 | no POST is lost in a departure in good order |
//!
//! What breaks is in `fault`, `draw`, `strike` and `departures`, what must hold in `judge` (requests and statements),
//! `conduct` (processes) and `converged`. All judge by what nginx's answers and /proc tell, not by what sidekick says.
//!
//! What is not judged, or not strictly:
//!
//! - I4 lets an agent log 60 lines in a minute. Lines that tell what was done with a server (add, change, drain, remove) are an
//!   exception: there are as many as there are changes, so 300 of them are let pass. The report has the most of both.
//! - I4 sees the tasks within a process only as the memory that they take, and as threads.
//! - I5 judges READY=1, "is drained everywhere", and `sidekick wait` for "routed" and for "gone". `status` and `list` show the same
//!   status records, and are not judged beside them.
//! - A bad way between one load balancer and one backend can only be had for the first nginx and three of the processes: the address
//!   of a backend is its key for all, so it is a proxy that must know who asks, by a header.
//! - While one member of etcd is faulted, everything holds but for the seconds of an election. Where two members do not hear each
//!   other while the third hears both, leaders come and go, and I1 is not judged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says no by a panic"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the tests share it, and neither needs all of it"
)]
#[path = "../support/mod.rs"]
mod support;

mod agents;
mod clock;
mod cluster;
mod conduct;
mod converged;
mod departures;
mod disk;
mod door;
mod draw;
mod fault;
mod judge;
mod load;
mod monitor;
mod net;
mod places;
mod plus;
mod records;
mod run;
mod strangers;
mod strike;
mod tried;
mod watcher;
mod world;

use std::time::Duration;

/// How long it runs where `SIDEKICK_FAULTS_MINUTES` does not say.
const MINUTES: u64 = 5;

/// Draws the faults where `SIDEKICK_FAULTS_SEED` does not say: the same ones every day.
const SEED: u64 = 11;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text}: a number is needed")),
        Err(_) => default,
    }
}

#[tokio::test]
async fn everything_breaks_and_nothing_is_lost_and_nothing_said_is_wrong() {
    let minutes = setting("SIDEKICK_FAULTS_MINUTES", MINUTES);
    let seed = setting("SIDEKICK_FAULTS_SEED", SEED);
    Box::pin(run::run(seed, Duration::from_secs(minutes * 60))).await;
}
