//! What an upstream should be, and the steps that lead there. Nothing in here does I/O.
//!
//! ```text
//! records, overrides ─► pool (choose, instances) ─► Desired ─► guard ─► plan
//! ```

pub(crate) mod choose;
pub mod guard;
pub(crate) mod instances;
pub(crate) mod overrides;
pub mod plan;
pub(crate) mod pool;
pub(crate) mod records;
mod server;
mod state;

/// What every upstream should be: the records of etcd, folded into servers.
///
/// [`Records`](desired::Records) keeps the records of the routed services only, so what other services do costs nothing here, and
/// [`Overrides`](desired::Overrides) their splits and holds; a [`Pool`](desired::Pool) for each upstream makes a
/// [`Desired`](desired::Desired) state of those of its service.
pub mod desired {
    pub use super::choose::{Rule, Selection, SplitNotice, Terms};
    pub use super::guard::{Limits, MAX_PROTECT_FOR, Protection, RemovalGuard, Seen};
    pub use super::instances::{Instances, Out, Placed};
    pub use super::overrides::{Overrides, ServiceOverrides};
    pub use super::pool::{Pool, Wanted};
    pub use super::records::{Effect, Known, Records};
    pub use super::server::{Origin, Origins, Parameters, Server, Servers};
    pub use super::state::Desired;
}
