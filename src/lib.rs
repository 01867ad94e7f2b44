//! sidekick: announces working backends in etcd and keeps nginx's upstreams equal to them.
//!
//! Two agents share one binary. Both are chains of small parts: what decides is pure, what does I/O decides nothing.
//!
//! **[`announce`]** runs beside each backend:
//!
//! ```text
//! probe ─► announce::gate ─► announce::phase ─► etcd::lease ─► etcd
//! ```
//!
//! - [`probe`] asks the backend, [`announce::gate`] turns its verdicts into up or down, [`announce::phase`] says what belongs in etcd.
//! - [`etcd::lease`] keeps it there, [`etcd::pushers`] waits until the load balancers have applied it.
//!
//! **[`push`]** runs beside each nginx:
//!
//! ```text
//! etcd ─► etcd::watch ─► upstream ─► push::reconcile ─► target::{api, file, vulcand}
//! ```
//!
//! - [`upstream`] decides what an upstream should be (records, holds, splits, protected servers) and [`upstream::plan`] the steps there.
//! - [`push::config`] reads what goes where. [`push::reconcile`] keeps one upstream of one nginx so, through a driver in [`target`].
//!
//! Where to look for the rest:
//!
//! | for | see |
//! |---|---|
//! | a verb of the command line, a flag, an exit code | [`cli`] |
//! | what people and hooks do once: register, hold, split, release, wait, status | [`admin`] |
//! | SIGHUP, an upgraded program, what a crash left behind | [`announce::reload`], [`announce::handover`] |
//! | a container that dies, starts anew or waits | [`announce::container`] |
//! | containers: which one, its state, address and labels | [`docker`] |
//! | a key or a field in etcd | [`model`] |
//! | units, readiness and stop timeouts | [`systemd`] |
//! | durations, backoff, secrets, log limits | [`util`] |
//!
//! Rooms import downwards only: cli → announce, push, admin → probe, docker, target → upstream, etcd → model → systemd → util.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod announce;
pub mod cli;
pub mod docker;
pub mod etcd;
#[doc(hidden)]
pub mod fuzz;
pub mod model;
pub mod probe;
pub mod push;
pub mod systemd;
pub mod target;
pub mod upstream;
pub mod util;
