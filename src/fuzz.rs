//! Parsers of foreign bytes that are private otherwise, for `tests/fuzz` alone.
//!
//! Each takes bytes as they arrive. `Ok` is what was understood, as text; `Err` is the message about it.

pub use crate::cli::args::env_file::fuzz::env_file;
pub use crate::docker::fuzz::docker_event;
pub use crate::etcd::fuzz::validity;
pub use crate::target::api::plus::fuzz::{api_fault, api_identity, api_servers, api_status};
pub use crate::target::api::upstream_conf::fuzz::{conf_lines, conf_status};
pub use crate::target::file::fuzz::{file_blocks, foreign_blocks, rendered, words};
pub use crate::target::vulcand::fuzz::vulcand_servers;
