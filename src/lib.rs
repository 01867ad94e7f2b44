//! sidekick: announces working backends in etcd and keeps nginx's upstreams equal to them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod announce;
pub mod backoff;
pub mod cli;
pub mod gate;
pub mod notify;
pub mod phase;
pub mod printable;
pub mod probe;
pub mod record;
pub mod registry;
pub mod stop;
pub mod tls;
