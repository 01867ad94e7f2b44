//! Nothing by accident: which servers of one upstream are protected although its records no longer say so. Pure.
//!
//! - The **floor**: an upstream never loses its last servers by following the records alone. Those that left last stay as
//!   they were until enough others take traffic.
//! - The **guard**: records that vanish without a withdrawal notice, more of them than may be, have ended for a reason that is not
//!   known: a network, an etcd, a rack of announcers. Their servers stay for a while, and only those go at once that
//!   turn out to be dead.
//! - **Refused is not there**: a server that a target refuses takes no traffic, so nobody goes in its favour. Nor does anybody go for
//!   good before the targets have taken those that come.
//! - **One address, one owner**: what is kept goes at once when a record of another service names its address.
//!
//! A server is kept only after a record named it or nginx was seen to send it traffic: nobody's word adds one. Which of them stay
//! in one nginx is decided there, by what it has: see [`Protection`](super::protection::Protection).
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
