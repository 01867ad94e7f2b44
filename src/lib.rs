//! sidekick: announces working backends in etcd and keeps nginx's upstreams equal to them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod backoff;
pub mod desired;
mod http;
pub mod plan;
pub mod printable;
pub mod record;
pub mod registry;
pub mod tls;
pub mod upstream;
