//! sidekick: announces working backends in etcd and keeps nginx's upstreams equal to them.
//!
//! Two agents share one binary. Both are chains of small parts; what decides is pure, what talks is not.
//!
//! **[`announce`]**, beside each backend:
//!
//! ```text
//! probe ─► gate ─► phase ─Wanted─► registry::lease ─► etcd      (LeaseStatus comes back)
//! ```
//!
//! - [`probe`] asks the backend, [`gate`] adds verdicts up, [`phase`] says what is to stand in etcd.
//! - [`registry::lease`] makes it stand there, [`registry::pushers`] waits for the load balancers.
//!
//! **[`push`]**, beside each nginx:
//!
//! ```text
//! etcd ─► registry::watch ─► desired ─► reconcile ─► upstream::{plus, upstream_conf, conf_file, vulcand}
//! ```
//!
//! - [`desired`] decides what every upstream should be: records, splits and holds, and what is kept when they vanish.
//!   [`plan`] says what leads there. [`push::config`] reads what goes where.
//! - [`reconcile`] keeps one upstream of one nginx so, through a driver in [`upstream`].
//!
//! What people and hooks do by hand is in [`hand`]; [`unit_file`] fills the units in.
//!
//! All stand on [`record`], the one place that spells a key or a field, and are started by [`cli`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod announce;
pub mod backoff;
pub mod cli;
pub mod command;
pub mod desired;
pub mod docker;
pub mod explain;
pub mod gate;
pub mod hand;
mod http;
pub mod log_limit;
pub mod nearest;
pub mod notify;
pub mod phase;
pub mod plan;
pub mod printable;
pub mod probe;
pub mod push;
pub mod reconcile;
pub mod record;
pub mod registry;
pub mod secret;
pub mod span;
pub mod stop;
pub mod tls;
pub mod unit;
pub mod unit_file;
pub mod upstream;
