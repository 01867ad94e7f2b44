//! The desired state of an upstream, and the steps that lead there. No I/O.
//!
//! ```text
//! records, overrides ─► pool (choose, instances) ─► Desired ─► guard ─► plan
//! ```

pub mod choose;
pub mod guard;
pub mod instances;
pub mod overrides;
pub mod plan;
pub mod pool;
pub mod protection;
pub mod records;
pub mod server;
pub mod state;
