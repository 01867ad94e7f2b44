//! The JSON of the upstream API, as far as the driver looks at it.

use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::desired::Parameters;
use crate::plan::{Change, Peer, Tuning, read_time, write_time};
use crate::printable::short;
use crate::upstream::stepwise::{Addition, Running};
use crate::upstream::web::first_line;

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

/// What is told, as far as it can be read; what is not told is as nginx has it by itself.
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

/// A time in words, or, as old versions have it, in seconds.
fn time(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => read_time(text),
        other => other.as_u64().map(Duration::from_secs),
    }
}

/// What is set of a server; what is `None` is not sent.
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

/// Which process of nginx it is, and which configuration it has. Another value of any of these means another state of mind.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Identity {
    #[serde(default)]
    generation: Value,
    #[serde(default)]
    load_timestamp: Value,
    #[serde(default)]
    ppid: Value,
}

/// What the API says in place of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    /// What programs go by; empty when the answer was not the API's own.
    pub(super) code: String,
    /// What people go by.
    pub(super) text: String,
}

impl Fault {
    /// Reads the body of an answer that is no success. Around an API stands nginx, whose own errors are pages of HTML.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_documented_server_object_is_read() {
        let text = r#"{"id":0,"server":"10.0.0.1:8088","weight":5,"max_conns":0,"max_fails":1,"fail_timeout":"10s",
            "slow_start":"0s","route":"","backup":false,"down":true}"#;
        let peer: Peer = serde_json::from_str::<ServerObject>(text).unwrap().into();
        assert_eq!(
            (peer.id, peer.server.as_str(), peer.weight),
            (0, "10.0.0.1:8088", 5)
        );
        assert!(peer.down && !peer.drain && !peer.backup && !peer.child && !peer.srv);
        for parent in ["1", "\"1\"", "0"] {
            let text = format!(r#"{{"id":2,"server":"a:80","parent":{parent},"host":"x"}}"#);
            let peer: Peer = serde_json::from_str::<ServerObject>(&text).unwrap().into();
            assert!(peer.child);
        }
    }

    #[test]
    fn a_fault_is_read_from_json_and_from_a_page() {
        let fault = Fault::read(br#"{"error":{"status":404,"text":"upstream not found","code":"UpstreamNotFound"},"request_id":"x"}"#);
        assert_eq!(
            (fault.code.as_str(), fault.text.as_str()),
            ("UpstreamNotFound", "upstream not found")
        );
        let page = b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<center>";
        let fault = Fault::read(page);
        assert_eq!(
            (fault.code.as_str(), fault.text.as_str()),
            ("", "403 Forbidden")
        );
        let fault = Fault::read(br#"{"error":{"text":"\u001b[2J","code":"A\nB"}}"#);
        assert_eq!(
            (fault.code.as_str(), fault.text.as_str()),
            ("A\\x0aB", "\\x1b[2J")
        );
        for junk in [&b""[..], b"{}", b"[]", b"\xff\xfe", b"{\"error\":1}"] {
            assert_eq!(Fault::read(junk).code, "");
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_in_place_of_an_answer_is_shown_short_and_printable(body: Vec<u8>, text: String) {
            let json = serde_json::json!({"error": {"text": text, "code": text}}).to_string();
            for fault in [Fault::read(&body), Fault::read(json.as_bytes()), Fault::read(text.as_bytes())] {
                let shown = fault.code + &fault.text;
                prop_assert!(shown.len() < 300 && shown.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
            }
        }
    }

    #[test]
    fn a_patch_says_only_what_changes() {
        let patch = Change {
            down: Some(false),
            parameters: Parameters {
                slow_start: Some(Duration::from_secs(90)),
                ..Parameters::default()
            },
            ..Change::default()
        };
        let sent = serde_json::to_string(&ServerSettings::from(&patch)).unwrap();
        assert_eq!(sent, r#"{"down":false,"slow_start":"90s"}"#);
    }

    #[test]
    fn parameters_are_read_in_every_spelling_and_nonsense_is_no_value() {
        let tuning = |fields: &str| {
            let text = format!(r#"{{"id":1,"server":"a:80"{fields}}}"#);
            Peer::from(serde_json::from_str::<ServerObject>(&text).unwrap()).tuning
        };
        assert_eq!(tuning(""), Tuning::default());
        let normal = r#","max_conns":0,"max_fails":1,"fail_timeout":"10s","slow_start":0"#;
        assert_eq!(tuning(normal), Tuning::default());
        let odd = r#","max_conns":7,"fail_timeout":"1m30s","slow_start":30,"max_fails":0"#;
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let expected = Tuning {
            max_conns: Some(7),
            max_fails: Some(0),
            fail_timeout: seconds(90),
            slow_start: seconds(30),
        };
        assert_eq!(tuning(odd), expected);
        let nonsense = r#","max_conns":-1,"max_fails":"x","fail_timeout":"soon","slow_start":{}"#;
        let unreadable = Tuning {
            max_conns: None,
            max_fails: None,
            fail_timeout: None,
            slow_start: None,
        };
        assert_eq!(tuning(nonsense), unreadable);
    }

    proptest! {
        #[test]
        fn arbitrary_answers_are_servers_or_an_error(body: Vec<u8>, id: u64, server: String, weight: u32, parent: Option<i64>) {
            let _ = serde_json::from_slice::<Vec<ServerObject>>(&body);
            let object = serde_json::json!([{"id": id, "server": server, "weight": weight, "parent": parent, "x": {}}]);
            if let Ok(servers) = serde_json::from_value::<Vec<ServerObject>>(object) {
                let peers: Vec<Peer> = servers.into_iter().map(Peer::from).collect();
                prop_assert_eq!((peers[0].id, &peers[0].server), (id, &server));
            }
        }
    }
}
