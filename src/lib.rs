//! sidekick: announces working backends in etcd and keeps nginx's upstreams equal to them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod backoff;
pub mod desired;
mod http;
pub mod notify;
pub mod plan;
pub mod printable;
pub mod push;
pub mod reconcile;
pub mod record;
pub mod registry;
pub mod stop;
pub mod tls;
pub mod upstream;
