//! A pusher's answers to releases.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::Value;

use super::Nonce;
use super::codec::{self, parsed};
use super::reasons::MAX_LISTED;
use crate::util::sanitize::short;

/// A pusher's answer to a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Released {
    /// The nonce of the release.
    pub nonce: Nonce,
    /// How many servers it let go; absent if it has no such upstream, or was not running when the release was given.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub servers: Option<u64>,
}

/// [`MAX_LISTED`] at most, applied ones first; and the number of the rest.
pub(super) fn serialize<S: Serializer>(
    released: &BTreeMap<String, Released>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let applied = |released: &Released| released.servers.is_some();
    let (own, others): (Vec<_>, Vec<_>) = released.iter().partition(|(_, one)| applied(one));
    let listed = own.into_iter().chain(others).take(MAX_LISTED);
    let mut map = serializer.serialize_map(None)?;
    if !released.is_empty() {
        map.serialize_entry("releases", &listed.collect::<BTreeMap<_, _>>())?;
    }
    if released.len() > MAX_LISTED {
        map.serialize_entry("releases_more", &(released.len() - MAX_LISTED))?;
    }
    map.end()
}

/// Invalid entries are left out.
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
