//! The status that a pusher publishes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::codec;
use super::reasons::{MAX_LISTED, MAX_TEXT, Reasons, read_text};
use super::released::{self, Released};
use super::{Endpoint, InstanceName, Nonce, Prefix, Reason, ServiceName};
use crate::util::sanitize::short;

/// The status of one service at a pusher.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// The newest etcd revision of the service's records whose effect every target has confirmed; 0 if none.
    pub applied: i64,
    /// The same for the service's split and holds.
    pub overrides: i64,
    /// Instances with a record that take no traffic: refused, out of reach of a target, held or
    /// weightless.
    #[serde(flatten, serialize_with = "not_routed")]
    pub not_routed: Reasons,
    /// Instances that are leaving or have left and still take traffic.
    #[serde(flatten, serialize_with = "still_routed")]
    pub still_routed: Reasons,
    /// No target routes the service now, because none accepts connections: announcers do not wait for this pusher.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub idle: bool,
    /// The targets that count as not routing, with the reason, [`MAX_LISTED`] at most: an nginx whose API listens
    /// elsewhere looks the same. Foreign text where it was read.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub stopped: BTreeMap<String, String>,
}

/// Whether a pusher routes an instance, according to its status record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routes<'a> {
    /// It is in no list.
    Yes,
    /// A target refuses or cannot have it, for this reason.
    No(&'a str),
    /// A hold or a split keeps it from taking traffic, until that ends.
    Withheld(&'a str),
    /// The lists are not complete, and this one is in none.
    Unknown,
}

impl ServiceStatus {
    /// Prefix of the reason of a held instance in [`not_routed`](Self::not_routed).
    pub const HELD: &'static str = "held: ";
    /// Prefix of the reason of an instance without any weight there, such as one that a split leaves out.
    pub const WEIGHTLESS: &'static str = "weightless: ";

    /// Whether `instance` is routed, after its revision is applied.
    #[must_use]
    pub fn routes(&self, instance: &InstanceName) -> Routes<'_> {
        let withheld = |reason: &str| {
            let mut marks = [Self::HELD, Self::WEIGHTLESS].into_iter();
            marks.any(|mark| reason.starts_with(mark))
        };
        match self.not_routed.listed.get(instance) {
            Some(reason) if withheld(reason) => Routes::Withheld(reason),
            Some(reason) => Routes::No(reason),
            None if self.not_routed.more > 0 => Routes::Unknown,
            None => Routes::Yes,
        }
    }
}

/// The status of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TargetStatus {
    /// Whether the target is equal to the records.
    pub ok: bool,
    /// What is wrong, each with its upstream first.
    pub errors: Vec<String>,
    /// Its upstreams by name (`stream/NAME` for those of `stream {}`).
    pub upstreams: BTreeMap<String, UpstreamStatus>,
}

impl TargetStatus {
    /// The longest error that is published, in bytes, without the three dots of one that was cut.
    pub const MAX_ERROR: usize = MAX_TEXT;
}

/// The desired and actual servers of an upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UpstreamStatus {
    /// How many servers should take traffic there.
    pub wanted: u64,
    /// How many do, as last read; absent before anything was read.
    pub has: Option<u64>,
    /// Servers that stay without a record, or against it, [`MAX_LISTED`] at most.
    pub protected: Vec<Protected>,
    /// How many more there are.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub protected_more: u64,
}

/// A server that stays in rotation although its record is gone or says otherwise. For display only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Protected {
    /// Its address.
    #[serde(serialize_with = "codec::text")]
    pub server: Endpoint,
    /// Why it stays. Foreign text where it was read.
    pub why: String,
    /// Until when; absent if it stays until enough others take traffic.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub until: Option<Timestamp>,
}

/// The value under a pusher's key: what it has applied, and the status of its targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PusherStatus {
    /// The services that it routes; a missing service is not routed.
    pub services: BTreeMap<ServiceName, ServiceStatus>,
    /// The targets by name.
    pub targets: BTreeMap<String, TargetStatus>,
    /// Its answers to the releases in etcd, by upstream, [`MAX_LISTED`] at most.
    #[serde(flatten, serialize_with = "released::serialize")]
    pub releases: BTreeMap<String, Released>,
    /// The prefix of the records that it follows; older pushers do not publish it.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub prefix: Option<Prefix>,
    /// The process that wrote it.
    pub nonce: Nonce,
    /// When this process started.
    pub since: Timestamp,
}

impl ServiceStatus {
    fn decode(value: &Value) -> Result<Self, Reason> {
        let fields = value.as_object();
        let fields = fields.ok_or(Reason::Field("services", "an object of objects"))?;
        let revision = |name: &'static str| match fields.get(name) {
            None => Ok(0),
            Some(value) => {
                let revision = value.as_i64().filter(|revision| *revision >= 0);
                revision.ok_or(Reason::Field(name, "an etcd revision"))
            }
        };
        let reasons =
            |listed: &str, more: &str| Reasons::decode(fields.get(listed), fields.get(more));
        Ok(Self {
            applied: revision("applied")?,
            overrides: revision("overrides")?,
            not_routed: reasons("not_routed", "not_routed_more"),
            still_routed: reasons("still_routed", "still_routed_more"),
            idle: fields.get("idle").and_then(Value::as_bool).unwrap_or(false),
            stopped: decode_stopped(fields.get("stopped")),
        })
    }
}

impl UpstreamStatus {
    /// Invalid parts are left out: the rest of a status record matters more.
    fn decode(value: &Value) -> Self {
        let count = |name| value.get(name).and_then(Value::as_u64);
        let protected = value.get("protected").and_then(Value::as_array);
        let protected = protected.into_iter().flatten().take(MAX_LISTED);
        Self {
            wanted: count("wanted").unwrap_or(0),
            has: count("has"),
            protected: protected.filter_map(Protected::decode).collect(),
            protected_more: count("protected_more").unwrap_or(0),
        }
    }
}

impl Protected {
    fn decode(value: &Value) -> Option<Self> {
        let text = |name| value.get(name).and_then(Value::as_str);
        Some(Self {
            server: text("server")?.parse().ok()?,
            why: short(text("why")?),
            until: text("until").and_then(|until| until.parse().ok()),
        })
    }
}

impl PusherStatus {
    /// The value to write: compact JSON, one line, always the same bytes for the same content.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::json(self)
    }

    /// Parses a value. Unknown fields and services with invalid names are ignored.
    ///
    /// # Errors
    ///
    /// A [`Reason`] when it is no such JSON object.
    pub fn decode(value: &[u8]) -> Result<Self, Reason> {
        let mut fields = codec::parse_object(value)?;
        let (nonce, since) = codec::author(&mut fields)?;
        let mut services = BTreeMap::new();
        for (name, value) in object("services", fields.remove("services"))? {
            let status = ServiceStatus::decode(&value)?;
            if let Ok(name) = name.parse() {
                services.insert(name, status);
            }
        }
        let targets = object("targets", fields.remove("targets"))?;
        let targets = targets.iter();
        let prefix = fields.remove("prefix").filter(|value| !value.is_null());
        Ok(Self {
            services,
            targets: targets
                .map(|(name, value)| (short(name), decode_target(value)))
                .collect(),
            releases: released::decode_released(fields.get("releases")),
            prefix: codec::optional("prefix", "a prefix", prefix)?,
            nonce,
            since,
        })
    }
}

fn not_routed<S: Serializer>(reasons: &Reasons, serializer: S) -> Result<S::Ok, S::Error> {
    reasons.serialize("not_routed", "not_routed_more", serializer)
}

fn still_routed<S: Serializer>(reasons: &Reasons, serializer: S) -> Result<S::Ok, S::Error> {
    reasons.serialize("still_routed", "still_routed_more", serializer)
}

fn decode_stopped(value: Option<&Value>) -> BTreeMap<String, String> {
    let stopped = value.and_then(Value::as_object).into_iter().flatten();
    let stopped = stopped
        .take(MAX_LISTED)
        .filter_map(|(target, error)| Some((short(target), read_text(error.as_str()?))));
    stopped.collect()
}

fn decode_target(value: &Value) -> TargetStatus {
    let errors = value.get("errors").and_then(Value::as_array);
    let errors = errors.into_iter().flatten().filter_map(Value::as_str);
    let errors = errors.map(read_text);
    let upstreams = value.get("upstreams").and_then(Value::as_object);
    let upstreams = upstreams.into_iter().flatten();
    TargetStatus {
        ok: value.get("ok").and_then(Value::as_bool).unwrap_or(false),
        errors: errors.take(MAX_LISTED).collect(),
        upstreams: upstreams
            .map(|(name, value)| (short(name), UpstreamStatus::decode(value)))
            .collect(),
    }
}

fn object(name: &'static str, value: Option<Value>) -> Result<Map<String, Value>, Reason> {
    match value {
        None => Ok(Map::new()),
        Some(Value::Object(fields)) => Ok(fields),
        Some(_) => Err(Reason::Field(name, "an object")),
    }
}

#[cfg(test)]
mod tests;
