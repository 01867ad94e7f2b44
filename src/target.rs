//! Targets: what is made equal to the records.
//!
//! A driver stands in a module of its own: `Settings` that implement [`DriverSettings`], a [`Driver`] that they open, and an [`Upstream`] that
//! reads what is there, does what is missing, reads it back, and says "converged" only of what it has read. It keeps nothing that a
//! restart of the target makes wrong. Another driver is another module here, and another line in [`TargetSettings`].

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
