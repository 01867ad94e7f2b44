//! What a pusher tells about the releases that it has heard.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Nonce;
use super::codec::{Object, parsed};
use super::pusher_status::MAX_LISTED;
use crate::util::sanitize::short;

/// What a pusher has made of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Which release.
    pub nonce: Nonce,
    /// How many servers it let go; absent where it has no such upstream, or did not listen yet when it was given.
    pub servers: Option<u64>,
}

/// [`MAX_LISTED`] at most, those first that it has obeyed; and how many there are beyond.
pub(super) fn encode_released(released: &BTreeMap<String, Released>) -> (Object, u64) {
    let (own, others): (Vec<_>, Vec<_>) = released
        .iter()
        .partition(|(_, released)| released.servers.is_some());
    let beyond = released.len().saturating_sub(MAX_LISTED);
    let mut object = Object::new();
    for (upstream, released) in own.into_iter().chain(others).take(MAX_LISTED) {
        let mut one = Object::new();
        one.field("nonce", released.nonce.as_str());
        if let Some(servers) = released.servers {
            one.field("servers", servers);
        }
        object.object(upstream, &one);
    }
    (object, u64::try_from(beyond).unwrap_or(u64::MAX))
}

/// What cannot be read is left out.
pub(super) fn decode_released(value: Option<&Value>) -> BTreeMap<String, Released> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    let fields = fields.take(MAX_LISTED);
    let released = fields.filter_map(|(upstream, value)| {
        let nonce = parsed("nonce", "a nonce", value.get("nonce")?).ok()?;
        let servers = value.get("servers").and_then(Value::as_u64);
        Some((short(upstream), Released { nonce, servers }))
    });
    released.collect()
}
