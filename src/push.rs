//! The pusher: keeps the upstreams of every nginx equal to the records.
//!
//! The watches of the records and of the overrides feed the desired state (`publisher`), a reconciler per upstream
//! applies it ([`reconcile`], run by the `supervisor`), and the pusher's status record (`status_record`) publishes what
//! all targets have confirmed (`status`), for announcers to wait for. The `agent` connects the parts.

mod agent;
mod balancer_key;
mod balancers;
mod clock;
pub mod config;
mod healed;
mod identity;
mod liveness;
mod look;
mod namesake;
mod notices;
mod oneshot;
mod own_keys;
mod peers;
mod protection;
mod publisher;
mod publishers;
mod quarantined;
pub mod reconcile;
mod reload;
mod retire;
mod route;
mod settings;
mod start;
mod status;
mod status_record;
mod supervisor;
mod target;
mod unheard;
mod write_pace;

pub use agent::{Outcome, run};
pub use oneshot::{Difference, RouteResult, compare, leave, once};
pub use reload::Reload;
pub use retire::{Retired, retire};
pub use route::{DRAIN_TIMEOUT, Route, RouteError};
pub use settings::{FORGET_AFTER, Settings, TTL};
pub use target::{Target, TargetError};
