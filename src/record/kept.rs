//! What a pusher tells about the servers that it keeps although their records no longer say so.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use jiff::Timestamp;
use serde_json::Value;

use super::codec::{Object, parsed};
use super::{Endpoint, InstanceName, Nonce, Reason};
use crate::printable::short;

/// How many servers are told and read at most: their numbers are told however many there are, and a presence must fit
/// into etcd.
pub const MAX_KEPT: usize = 2_000;

/// What is kept of one upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// How many servers the floor keeps.
    pub floor: u64,
    /// How many the guard keeps.
    pub guard: u64,
    /// Until when the guard keeps the last of them.
    pub until: Option<Timestamp>,
    /// Which servers, as far as they fit.
    pub servers: Vec<KeptServer>,
}

/// A server that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptServer {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Its share of the traffic.
    pub weight: NonZeroU16,
    /// Whose it was.
    pub instance: InstanceName,
    /// Until when the guard keeps it; absent where the floor does.
    pub until: Option<Timestamp>,
    /// Which rules took it, as a number: a pusher with other rules has nothing to do with it.
    pub rules: u32,
}

/// What a pusher has made of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Which release.
    pub nonce: Nonce,
    /// How many servers it let go; absent where it has no such upstream.
    pub servers: Option<u64>,
}

impl Kept {
    fn encode(&self, room: &mut usize) -> Object {
        let mut object = Object::new();
        object.field("floor", self.floor);
        object.field("guard", self.guard);
        if let Some(until) = self.until {
            object.field("until", until.to_string());
        }
        let told = self.servers.len().min(*room);
        *room -= told;
        let servers = self.servers.iter().take(told).map(KeptServer::encode);
        object.field("servers", servers.collect::<Vec<Value>>());
        object
    }

    fn decode(value: &Value, room: &mut usize) -> Self {
        let count = |name| value.get(name).and_then(Value::as_u64).unwrap_or_default();
        let servers = value.get("servers").and_then(Value::as_array);
        let servers = servers.into_iter().flatten().take(*room);
        let servers: Vec<_> = servers
            .filter_map(|value| KeptServer::decode(value).ok())
            .collect();
        *room -= servers.len();
        Self {
            floor: count("floor"),
            guard: count("guard"),
            until: time(value),
            servers,
        }
    }
}

impl KeptServer {
    fn encode(&self) -> Value {
        let mut object = serde_json::Map::new();
        object.insert("server".to_owned(), self.endpoint.to_string().into());
        object.insert("weight".to_owned(), self.weight.get().into());
        object.insert("instance".to_owned(), self.instance.to_string().into());
        if let Some(until) = self.until {
            object.insert("until".to_owned(), until.to_string().into());
        }
        object.insert("rules".to_owned(), self.rules.into());
        object.into()
    }

    fn decode(value: &Value) -> Result<Self, Reason> {
        let text = |name| value.get(name).ok_or(Reason::Missing(name));
        let number = |name| value.get(name).and_then(Value::as_u64);
        let weight = number("weight").and_then(|weight| u16::try_from(weight).ok());
        let rules = number("rules").and_then(|rules| u32::try_from(rules).ok());
        Ok(Self {
            endpoint: parsed("server", "HOST:PORT", text("server")?)?,
            weight: weight
                .and_then(NonZeroU16::new)
                .ok_or(Reason::Missing("weight"))?,
            instance: parsed("instance", "a name", text("instance")?)?,
            until: time(value),
            rules: rules.ok_or(Reason::Missing("rules"))?,
        })
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.get("until")?.as_str()?.parse().ok()
}

/// The upstreams of which something is kept.
pub(super) fn encode_kept(kept: &BTreeMap<String, Kept>) -> Object {
    let mut object = Object::new();
    let mut room = MAX_KEPT;
    for (upstream, kept) in kept {
        object.object(upstream, &kept.encode(&mut room));
    }
    object
}

/// What cannot be read is left out: the rest of a presence matters more.
pub(super) fn decode_kept(value: Option<&Value>) -> BTreeMap<String, Kept> {
    let mut room = MAX_KEPT;
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    let kept = fields.map(|(upstream, value)| (short(upstream), Kept::decode(value, &mut room)));
    kept.collect()
}

pub(super) fn encode_released(released: &BTreeMap<String, Released>) -> Object {
    let mut object = Object::new();
    for (upstream, released) in released {
        let mut one = Object::new();
        one.field("nonce", released.nonce.as_str());
        if let Some(servers) = released.servers {
            one.field("servers", servers);
        }
        object.object(upstream, &one);
    }
    object
}

/// What cannot be read is left out.
pub(super) fn decode_released(value: Option<&Value>) -> BTreeMap<String, Released> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    let released = fields.filter_map(|(upstream, value)| {
        let nonce = parsed("nonce", "a nonce", value.get("nonce")?).ok()?;
        let servers = value.get("servers").and_then(Value::as_u64);
        Some((short(upstream), Released { nonce, servers }))
    });
    released.collect()
}
