//! etcd as sidekick uses it.
//!
//! - [`access`]: user, password and certificates.
//! - [`client`]: one connection at a time, rotating through the endpoints.
//! - [`watch`]: list, then watch, for ever.
//! - `history`: earlier changes and deletions. `former`: the former value of an unreadable split.
//! - [`lease`]: one key that exists exactly while its owner wants it and runs.
//! - [`oneshot`]: single calls, for commands that exit.
//! - [`pushers`]: whether every load balancer has applied a change.
//! - [`ttl`]: the lengths that a lease can have.

pub mod access;
mod calls;
pub mod client;
mod der;
mod error;
pub(crate) mod former;
pub(crate) mod fuzz;
pub(crate) mod history;
pub mod item;
mod keepalive;
pub mod lease;
mod member;
pub mod oneshot;
pub(crate) mod ownership;
pub mod pushers;
pub mod range;
pub(crate) mod recall;
pub mod store;
pub mod ttl;
pub mod update;
pub mod watch;

pub use error::{Error, Keys, Right};
