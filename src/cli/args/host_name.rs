//! The default name of a pusher.

use crate::model::PusherId;

/// This host's name, if it is valid as the id of a pusher.
pub(crate) fn host() -> Option<PusherId> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    lasting(name.trim())
}

/// Refuses a container's random id: it changes with every start.
fn lasting(name: &str) -> Option<PusherId> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let random = name.len() == 12 && name.bytes().all(is_hex);
    name.parse().ok().filter(|_| !random)
}

#[cfg(test)]
mod tests;
