//! Targets: what pushers keep equal to the records.
//!
//! Each driver has its own module: `Settings` that implement [`DriverSettings`], a [`Driver`] that they open, and an
//! [`Upstream`] that reads the current state, makes the missing changes, reads again, and reports "converged" only of
//! what it has read. It keeps no state that a restart of the target makes wrong. Another driver is another module, and
//! another line in [`TargetSettings`].

pub mod api;
mod driver;
mod error;
pub mod file;
pub(crate) mod files;
mod name;
mod restart_watch;
pub(crate) mod settings;
pub mod vulcand;

pub use api::url::{ApiUrl, ApiUrlError};
pub use driver::{Driver, DriverSettings, OpenError, Outcome, Progress, TargetFlags, Upstream};
pub(crate) use driver::{FromTable, Syntax};
pub use error::Error;
pub use files::Unreadable;
pub use name::{Layer, UpstreamName};
pub use settings::TargetSettings;
