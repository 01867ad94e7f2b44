//! Targets that are changed server by server, over an API that can be read back.

pub mod access;
#[cfg(test)]
pub(crate) mod fake_http;
pub mod plus;
pub(crate) mod stepwise;
pub mod upstream_conf;
pub(crate) mod url;
pub(crate) mod web;
