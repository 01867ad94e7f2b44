//! What `tests/fuzz` calls.

use super::lines;
use super::status::Status;
use crate::target::api::stepwise::Running;

/// The servers of an upstream, one a line.
///
/// # Errors
/// What is wrong with the first line that is no server.
pub fn conf_lines(body: &[u8]) -> Result<String, String> {
    lines::read(body).map(|peers| format!("{peers:?}"))
}

/// The state of an upstream, by the `status` module.
///
/// # Errors
/// Why it is none.
pub fn conf_status(body: &[u8]) -> Result<String, String> {
    let status: Status = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(format!("{:?}", Running::from(status)))
}
