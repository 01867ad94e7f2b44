//! The JSON of the upstream API, as far as the driver uses it.

use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::target::api::stepwise::{Addition, Running};
use crate::target::api::web::first_line;
use crate::upstream::plan::{Change, Peer, Tuning, read_time, write_time};
use crate::upstream::server::Parameters;
use crate::util::sanitize::short;

/// A server of an upstream, as listed. Unknown fields are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct ServerObject {
    id: u64,
    server: String,
    #[serde(default = "one")]
    weight: u64,
    #[serde(default)]
    down: bool,
    #[serde(default)]
    drain: bool,
    #[serde(default)]
    backup: bool,
    max_conns: Option<Value>,
    max_fails: Option<Value>,
    fail_timeout: Option<Value>,
    slow_start: Option<Value>,
    #[serde(default)]
    parent: Option<IgnoredAny>,
    #[serde(default)]
    service: Option<IgnoredAny>,
}

fn one() -> u64 {
    1
}

impl From<ServerObject> for Peer {
    fn from(object: ServerObject) -> Self {
        let normal = Tuning::default();
        Self {
            id: object.id,
            server: object.server,
            weight: object.weight,
            down: object.down,
            drain: object.drain,
            backup: object.backup,
            child: object.parent.is_some(),
            srv: object.service.is_some(),
            tuning: Tuning {
                max_conns: told(object.max_conns, normal.max_conns, Value::as_u64),
                max_fails: told(object.max_fails, normal.max_fails, Value::as_u64),
                fail_timeout: told(object.fail_timeout, normal.fail_timeout, time),
                slow_start: told(object.slow_start, normal.slow_start, time),
            },
        }
    }
}

/// The value, if it can be read; nginx's default if it is absent.
fn told<T>(
    value: Option<Value>,
    normal: Option<T>,
    read: impl Fn(&Value) -> Option<T>,
) -> Option<T> {
    match value {
        Some(value) => read(&value),
        None => normal,
    }
}

/// A time as text, or, in old versions, in seconds.
fn time(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => read_time(text),
        other => other.as_u64().map(Duration::from_secs),
    }
}

/// The settings of a server to change; `None` is not sent.
#[derive(Debug, Default, Serialize)]
pub(super) struct ServerSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    down: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_conns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_fails: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fail_timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<bool>,
}

impl From<&Parameters> for ServerSettings {
    fn from(parameters: &Parameters) -> Self {
        Self {
            max_conns: parameters.max_conns,
            max_fails: parameters.max_fails,
            fail_timeout: parameters.fail_timeout.map(write_time),
            slow_start: parameters.slow_start.map(write_time),
            backup: parameters.backup.then_some(true),
            ..Self::default()
        }
    }
}

impl From<&Addition<'_>> for ServerSettings {
    fn from(server: &Addition<'_>) -> Self {
        Self {
            server: Some(server.endpoint.to_string()),
            weight: Some(server.weight.get()),
            down: server.down.then_some(true),
            ..Self::from(&server.parameters)
        }
    }
}

impl From<&Change> for ServerSettings {
    fn from(change: &Change) -> Self {
        Self {
            weight: change.weight.map(std::num::NonZeroU16::get),
            down: change.down,
            drain: change.drain,
            ..Self::from(&change.parameters)
        }
    }
}

/// The state of an upstream.
#[derive(Debug, Deserialize)]
pub(super) struct StatusObject {
    peers: Vec<PeerStatus>,
    /// Servers that were removed and still have requests.
    #[serde(default)]
    zombies: u64,
}

impl From<StatusObject> for Running {
    fn from(status: StatusObject) -> Self {
        let peers = status.peers.into_iter();
        Self {
            peers: peers
                .map(|peer| (peer.id, peer.server, peer.active))
                .collect(),
            zombies: status.zombies,
        }
    }
}

/// The state of one server.
#[derive(Debug, Deserialize)]
struct PeerStatus {
    id: u64,
    #[serde(default)]
    server: String,
    /// The requests that run on it.
    active: u64,
}

/// Identifies the nginx process and its configuration. If any value changes, nginx was restarted or reloaded.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Identity {
    #[serde(default)]
    generation: Value,
    #[serde(default)]
    load_timestamp: Value,
    #[serde(default)]
    ppid: Value,
}

/// An error of the API.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    /// The code; empty if the answer was not the API's own.
    pub(super) code: String,
    /// The message.
    pub(super) text: String,
}

impl Fault {
    /// Reads the body of an error answer. nginx's own errors, around the API, are pages of HTML.
    pub(super) fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Envelope {
            error: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            #[serde(default)]
            text: String,
            #[serde(default)]
            code: String,
        }
        match serde_json::from_slice::<Envelope>(body) {
            Ok(Envelope { error }) => Self {
                code: short(error.code),
                text: short(error.text),
            },
            Err(_) => Self {
                code: String::new(),
                text: first_line(body),
            },
        }
    }
}

#[cfg(test)]
mod tests;
