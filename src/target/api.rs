//! Targets that are changed server by server, over an API that can be read back.

pub mod access;
#[cfg(test)]
pub(crate) mod fake_http;
pub mod plus;
mod settings;
pub(crate) mod stepwise;
pub mod upstream_conf;
pub(crate) mod url;
pub(crate) mod web;

pub use settings::{ApiSettings, REQUEST_TIMEOUT};
