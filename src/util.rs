//! What every room uses and no room owns.

pub mod backoff;
pub mod clock;
pub mod command;
pub mod did_you_mean;
pub mod duration;
pub mod explain;
pub mod few;
pub(crate) mod http;
pub mod last_state;
pub mod log_limit;
#[cfg(test)]
pub(crate) mod logged;
pub mod sanitize;
pub mod secret;
pub mod shutdown;
pub mod tls;
pub mod toml;
pub mod troubles;
