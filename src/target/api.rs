//! Targets that are changed server by server, over an API that can be read back.
//!
//! - [`plus`]: the API of NGINX Plus, and of `examples/nginx-lua`. [`upstream_conf`]: the older one, by query.
//! - `stepwise`: one change after another, for both APIs; also what a target does not support.
//! - [`access`] and `web`: logins, certificates and requests.

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
