//! Prevents accidents: which servers of one upstream are protected although its records no longer name them. Pure.
//!
//! - **`min_servers`**: records alone never remove an upstream's last servers. Those that left last stay as
//!   they were until enough others take traffic.
//! - The **guard**: when more records vanish without a withdrawal notice than `max_removal` allows, the cause is unknown:
//!   a network, an etcd, a rack of announcers. Their servers stay for a while; only those that turn out to be dead
//!   go at once.
//! - **Refused is not there**: a server that a target refuses is no replacement, so no other server is removed for it. No
//!   server is removed for good before the targets have taken its replacements.
//! - **One address, one owner**: a protected server goes at once when a record of another service names its address.
//!
//! A server is protected only after a record named it or nginx was seen to send it traffic: no other pusher's list adds one. Which
//! of them stay in one nginx depends on what that nginx has: see [`Protection`](super::protection::Protection).
//!
//! Time is passed in.

mod fit;
mod left;
mod limits;
mod named;
mod protected;
mod removal_guard;
mod seen;
mod share;
mod window;

pub use fit::Sight;
pub use left::{Claim, Finding, RecordState};
pub use limits::{Limits, MAX_PROTECT_FOR};
pub use protected::{Decision, Notice, Protected, Why};
pub use removal_guard::RemovalGuard;
pub use seen::Seen;
pub use share::{Share, ShareError};
