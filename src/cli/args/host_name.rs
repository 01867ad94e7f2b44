//! The name of a pusher where none is given.

use crate::model::PusherId;

/// What this host is called, where that can name a pusher.
pub(crate) fn host() -> Option<PusherId> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    lasting(name.trim())
}

/// The name as one of a pusher, unless it is a container's random id, which another start would not have.
fn lasting(name: &str) -> Option<PusherId> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let random = name.len() == 12 && name.bytes().all(is_hex);
    name.parse().ok().filter(|_| !random)
}

#[cfg(test)]
mod tests;
