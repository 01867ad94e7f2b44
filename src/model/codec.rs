//! Records as bytes: three formats to read and two to write.

use std::fmt::Display;
use std::num::NonZeroU16;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{
    Endpoint, Format, Host, InstanceId, InstanceName, Nonce, Prefix, Protocol, Reason, Record,
    ServiceName, State, Version,
};
use crate::util::few::few;
use crate::util::sanitize::{printable, short};

/// The largest value that is read, in bytes. A record has a hundred; a larger value is a mistake or an attack.
pub(super) const MAX_VALUE: usize = 64 * 1024;

impl Record {
    /// The value to write: one line, always the same bytes for the same record.
    ///
    /// [`Format::Json`] omits defaults. [`Format::Plain`] has only host and port: state, weight,
    /// nonce and the rest are lost.
    #[must_use]
    pub fn encode(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Json => json(self),
            Format::Plain => self.endpoint.to_string().into_bytes(),
        }
    }
}

/// Compact JSON, one line, always the same bytes for the same content.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    // Fails only for values that JSON does not have, such as maps with keys that are not strings.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Defaults are not written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Serializes its `Display` text.
pub(super) fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

macro_rules! texts {
    ($($name:ty),+) => {
        $(impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                text(self, serializer)
            }
        })+
    };
}

texts!(
    Host,
    InstanceName,
    Nonce,
    Prefix,
    Protocol,
    ServiceName,
    State,
    Version
);

/// Reads the value of the record `id`, in any format.
///
/// A JSON object is a record when it has a host or a port. Anything else is `HOST:PORT`, or else free text under a key
/// whose last segment is `HOST:PORT`.
pub(super) fn decode_value(id: &InstanceId, value: &[u8]) -> Result<Record, Reason> {
    if value.len() > MAX_VALUE {
        return Err(Reason::TooLarge(value.len()));
    }
    let value = value.trim_ascii();
    if value.first() == Some(&b'{') {
        let fields = parse_object(value)?;
        let from_key = id.instance.endpoint();
        return match from_key {
            Some(endpoint) if !fields.contains_key("host") && !fields.contains_key("port") => {
                Ok(Record::new(endpoint))
            }
            _ => decode_fields(fields),
        };
    }
    let plain = std::str::from_utf8(value).ok().map(Endpoint::from_str);
    match (plain, id.instance.endpoint()) {
        (Some(Ok(endpoint)), _) | (_, Some(endpoint)) => Ok(Record::new(endpoint)),
        (Some(Err(_)), None) if value.is_empty() => Err(Reason::Empty),
        (Some(Err(error)), None) => Err(Reason::Unrecognised(error)),
        (None, None) => Err(Reason::NotText),
    }
}

/// The nonce in any JSON object, of a record or a status record.
pub(super) fn claimant(value: &[u8]) -> Option<Nonce> {
    let mut fields = parse_object(value).ok()?;
    fields.remove("nonce")?.as_str()?.parse().ok()
}

/// Since when the author of a value has the key, by the author's clock; `None` where the value does not tell.
pub(super) fn author_since(value: &[u8]) -> Option<Timestamp> {
    let mut fields = parse_object(value).ok()?;
    fields.remove("since")?.as_str()?.parse().ok()
}

/// The author of a value, as a message: what it is, where, and since when.
pub(super) fn author_in_words(value: &[u8]) -> String {
    let fields = parse_object(value).unwrap_or_default();
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Some(short(text)),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let who = match fields.get("targets") {
        // A status record, or the key of a load balancer.
        Some(Value::Object(targets)) => pusher_of(targets.keys().map(String::as_str)),
        Some(Value::Array(targets)) => pusher_of(targets.iter().filter_map(Value::as_str)),
        _ => "another announcer".to_owned(),
    };
    let place = text("host").zip(text("port"));
    let place = place.map(|(host, port)| format!("at {host}:{port}"));
    let since = text("since").map(|since| format!("since {since}"));
    let words: Vec<_> = [Some(who), place, since].into_iter().flatten().collect();
    words.join(" ")
}

/// A pusher, by what it feeds.
fn pusher_of<'t>(targets: impl Iterator<Item = &'t str>) -> String {
    const NAMED: usize = 5;
    let named = few(targets.map(short), NAMED);
    match named.is_empty() {
        true => "another pusher".to_owned(),
        false => format!("another pusher of {named}"),
    }
}

/// [`parse_object`], limited to [`MAX_VALUE`].
pub(super) fn parse_bounded(value: &[u8]) -> Result<Map<String, Value>, Reason> {
    if value.len() > MAX_VALUE {
        return Err(Reason::TooLarge(value.len()));
    }
    parse_object(value)
}

/// Takes the nonce and the start time out of the fields.
pub(super) fn author(fields: &mut Map<String, Value>) -> Result<(Nonce, Timestamp), Reason> {
    let nonce = fields.remove("nonce").ok_or(Reason::Missing("nonce"))?;
    let since = fields.remove("since").ok_or(Reason::Missing("since"))?;
    Ok((
        parsed("nonce", "a nonce", &nonce)?,
        parsed("since", "an RFC 3339 time", &since)?,
    ))
}

/// Parses a JSON object. Of a repeated field the last one counts, as with every common JSON parser.
pub(super) fn parse_object(value: &[u8]) -> Result<Map<String, Value>, Reason> {
    // The parser's messages have a position, never the content; they are shortened anyway.
    let json = |error: serde_json::Error| Reason::Json(printable(error.to_string(), 80));
    match serde_json::from_slice(value).map_err(json)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(Reason::NotAnObject),
    }
}

fn decode_fields(mut fields: Map<String, Value>) -> Result<Record, Reason> {
    let mut take = |name| fields.remove(name).filter(|value| !value.is_null());
    let host = take("host").ok_or(Reason::Missing("host"))?;
    let port = take("port").ok_or(Reason::Missing("port"))?;
    let endpoint = Endpoint {
        host: decode_host(&host)?,
        port: decode_port(&port)?,
    };
    let version = take("version");
    let state = take("state");
    let weight = take("weight");
    let tags = take("tags");
    let meta = take("meta");
    let protocol = take("protocol");
    let nonce = take("nonce");
    let since = take("since");
    let reason = take("reason");
    let weight = weight
        .map(|weight| decode_weight("weight", &weight))
        .transpose()?;
    Ok(Record {
        endpoint,
        version: optional("version", "a version", version)?,
        state: optional("state", "up, draining or down", state)?.unwrap_or_default(),
        weight,
        tags: tags.map(decode_tags).transpose()?.unwrap_or_default(),
        meta: meta.map(decode_meta).transpose()?.unwrap_or_default(),
        protocol: optional("protocol", "tcp or udp", protocol)?.unwrap_or_default(),
        nonce: optional("nonce", "a nonce", nonce)?,
        since: optional("since", "an RFC 3339 time", since)?,
        reason: reason.map(|reason| decode_reason(&reason)).transpose()?,
        extra: fields,
    })
}

/// Parses a string field.
pub(super) fn parsed<T: FromStr>(
    name: &'static str,
    expected: &'static str,
    value: &Value,
) -> Result<T, Reason> {
    let text = value.as_str().and_then(|text| text.parse().ok());
    text.ok_or(Reason::Field(name, expected))
}

pub(super) fn optional<T: FromStr>(
    name: &'static str,
    expected: &'static str,
    value: Option<Value>,
) -> Result<Option<T>, Reason> {
    value
        .map(|value| parsed(name, expected, &value))
        .transpose()
}

fn decode_host(value: &Value) -> Result<Host, Reason> {
    let text = value.as_str().ok_or(Reason::Field("host", "a string"))?;
    Ok(text.parse()?)
}

/// A port is a number, or, as shell scripts write it, a string of digits with space around them.
fn decode_port(value: &Value) -> Result<NonZeroU16, Reason> {
    let number = match value {
        Value::String(text) => digits(text.trim_ascii()),
        Value::Number(number) => number.as_u64(),
        _ => None,
    };
    let port = number.and_then(|number| u16::try_from(number).ok());
    let port = port.and_then(NonZeroU16::new);
    port.ok_or(Reason::Field("port", "a number from 1 to 65535"))
}

fn digits(text: &str) -> Option<u64> {
    // The parser would also accept a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

pub(super) fn decode_weight(name: &'static str, value: &Value) -> Result<u16, Reason> {
    let weight = value.as_u64().and_then(|weight| u16::try_from(weight).ok());
    weight.ok_or(Reason::Field(name, "a number from 0 to 65535"))
}

fn decode_tags(value: Value) -> Result<Vec<String>, Reason> {
    serde_json::from_value(value).map_err(|_| Reason::Field("tags", "a list of strings"))
}

/// A longer reason is cut: it is no reason to quarantine a record.
fn decode_reason(value: &Value) -> Result<String, Reason> {
    let text = value.as_str().ok_or(Reason::Field("reason", "a string"))?;
    Ok(super::cut_reason(text))
}

fn decode_meta(value: Value) -> Result<std::collections::BTreeMap<String, String>, Reason> {
    serde_json::from_value(value).map_err(|_| Reason::Field("meta", "an object of strings"))
}

#[cfg(test)]
mod tests;
