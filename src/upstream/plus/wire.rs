//! The JSON of the upstream API, as far as the driver looks at it.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::Peer;
use crate::printable::short;

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
        Self {
            id: object.id,
            server: object.server,
            weight: object.weight,
            down: object.down,
            drain: object.drain,
            backup: object.backup,
            child: object.parent.is_some(),
            srv: object.service.is_some(),
        }
    }
}

/// What is set of a server; what is `None` is not sent.
#[derive(Debug, Default, Serialize)]
pub(super) struct ServerSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) down: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) drain: Option<bool>,
}

/// The state of an upstream.
#[derive(Debug, Deserialize)]
pub(super) struct StatusObject {
    pub(super) peers: Vec<PeerStatus>,
    /// Servers that were removed and still have requests.
    #[serde(default)]
    pub(super) zombies: u64,
}

/// The state of one server.
#[derive(Debug, Deserialize)]
pub(super) struct PeerStatus {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) server: String,
    /// The requests that run on it.
    pub(super) active: u64,
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
                text: short(first_line(body)),
            },
        }
    }
}

/// The first words of a page, without its markup.
fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..1024).unwrap_or(body));
    let mut inside = false;
    let mut plain = String::new();
    for character in text.chars() {
        match character {
            '<' => inside = true,
            '>' => inside = false,
            other if !inside => plain.push(other),
            _ => {}
        }
    }
    let line = plain.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or_default().to_owned()
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
        let patch = ServerSettings {
            down: Some(false),
            ..ServerSettings::default()
        };
        assert_eq!(serde_json::to_string(&patch).unwrap(), r#"{"down":false}"#);
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
