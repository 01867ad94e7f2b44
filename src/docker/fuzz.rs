//! What `tests/fuzz` calls.

use super::events;

/// One event of a daemon.
///
/// # Errors
/// Why it is none.
pub fn docker_event(line: &[u8]) -> Result<String, String> {
    let message = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let event = events::read(message).ok_or("not an event of a container")?;
    let concerned = event.concerns(Some("ab"), "web1");
    let since = events::since(event.at);
    Ok(format!("{event:?} {concerned} {since}"))
}
