//! What a pusher tells about itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::codec::{self, Object};
use super::kept::{self, Kept, Released};
use super::{Nonce, Reason, ServiceName};
use crate::printable::{printable, short};

/// How one target of a pusher does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetHealth {
    /// Whether the target is equal to the records.
    pub ok: bool,
    /// Why not, when it is not.
    pub error: Option<String>,
}

impl TargetHealth {
    /// The longest error that is told, in bytes. One that was cut has three dots more.
    pub const MAX_ERROR: usize = 240;
}

/// The value under a pusher's key: what it has applied, and how its targets do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The newest etcd revision of each service's records whose effect every target has confirmed; 0 where none is yet.
    /// A service that the pusher does not route is not named.
    pub services: BTreeMap<ServiceName, i64>,
    /// The newest etcd revision of each service's split and holds whose effect every target has confirmed, likewise.
    pub choices: BTreeMap<ServiceName, i64>,
    /// The targets by name.
    pub targets: BTreeMap<String, TargetHealth>,
    /// What it keeps although the records no longer say so, by upstream (`stream/NAME` for those of `stream {}`).
    pub kept: BTreeMap<String, Kept>,
    /// What it has made of the releases that stand in etcd, by upstream.
    pub releases: BTreeMap<String, Released>,
    /// Which process wrote it.
    pub nonce: Nonce,
    /// Since when this process is present.
    pub since: Timestamp,
}

impl Presence {
    /// The value to write: compact JSON, one line, always the same bytes for the same content.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut targets = Object::new();
        for (name, health) in &self.targets {
            let mut target = Object::new();
            target.field("ok", health.ok);
            target.field("error", health.error.clone());
            targets.object(name, &target);
        }
        let mut object = Object::new();
        object.object("services", &encode_revisions(&self.services));
        object.object("targets", &targets);
        if !self.kept.is_empty() {
            object.object("kept", &kept::encode_kept(&self.kept));
        }
        if !self.releases.is_empty() {
            object.object("releases", &kept::encode_released(&self.releases));
        }
        object.field("nonce", self.nonce.as_str());
        object.field("since", self.since.to_string());
        object.object("choices", &encode_revisions(&self.choices));
        object.finish()
    }

    /// Reads a value. Unknown fields are ignored, and so are services whose name is none.
    ///
    /// # Errors
    ///
    /// A [`Reason`] when it is no such JSON object.
    pub fn decode(value: &[u8]) -> Result<Self, Reason> {
        let mut fields = codec::parse_object(value)?;
        let (nonce, since) = codec::author(&mut fields)?;
        Ok(Self {
            services: decode_revisions("services", fields.remove("services"))?,
            choices: decode_revisions("choices", fields.remove("choices"))?,
            targets: decode_targets(fields.remove("targets"))?,
            kept: kept::decode_kept(fields.get("kept")),
            releases: kept::decode_released(fields.get("releases")),
            nonce,
            since,
        })
    }
}

fn encode_revisions(revisions: &BTreeMap<ServiceName, i64>) -> Object {
    let mut object = Object::new();
    for (name, revision) in revisions {
        object.field(name.as_str(), *revision);
    }
    object
}

fn decode_revisions(
    field: &'static str,
    value: Option<Value>,
) -> Result<BTreeMap<ServiceName, i64>, Reason> {
    let mut revisions = BTreeMap::new();
    for (name, revision) in object(field, value)? {
        let revision = revision.as_i64().filter(|revision| *revision >= 0);
        let revision = revision.ok_or(Reason::Field(field, "an object of etcd revisions"))?;
        if let Ok(name) = name.parse() {
            revisions.insert(name, revision);
        }
    }
    Ok(revisions)
}

fn decode_targets(value: Option<Value>) -> Result<BTreeMap<String, TargetHealth>, Reason> {
    let fields = object("targets", value)?;
    let health = |(name, value): (String, Value)| {
        let ok = value.get("ok").and_then(Value::as_bool).unwrap_or(false);
        let error = value.get("error").and_then(Value::as_str);
        let error = error.map(|text| printable(text, TargetHealth::MAX_ERROR + "...".len()));
        (short(name), TargetHealth { ok, error })
    };
    Ok(fields.into_iter().map(health).collect())
}

fn object(name: &'static str, value: Option<Value>) -> Result<Map<String, Value>, Reason> {
    match value {
        None => Ok(Map::new()),
        Some(Value::Object(fields)) => Ok(fields),
        Some(_) => Err(Reason::Field(name, "an object")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn presence() -> Presence {
        let health = |error: Option<&str>| TargetHealth {
            ok: error.is_none(),
            error: error.map(str::to_owned),
        };
        Presence {
            services: [("website".parse().unwrap(), 42)].into(),
            choices: [("website".parse().unwrap(), 7)].into(),
            targets: [
                ("edge".to_owned(), health(None)),
                ("other".to_owned(), health(Some("no answer"))),
            ]
            .into(),
            kept: BTreeMap::new(),
            releases: BTreeMap::new(),
            nonce: "n1".parse().unwrap(),
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_presence_is_one_line_of_json_in_the_contracts_order() {
        let text = String::from_utf8(presence().encode()).unwrap();
        let expected = concat!(
            r#"{"services":{"website":42},"targets":{"edge":{"ok":true,"error":null},"#,
            r#""other":{"ok":false,"error":"no answer"}},"nonce":"n1","since":"2026-01-02T03:04:05Z","#,
            r#""choices":{"website":7}}"#
        );
        assert_eq!(text, expected);
        assert_eq!(Presence::decode(text.as_bytes()).unwrap(), presence());
    }

    #[test]
    fn what_is_kept_and_released_is_told_where_there_is_any() {
        let until = Some("2026-01-02T03:05:05Z".parse().unwrap());
        let server = |address: &str, until| super::super::KeptServer {
            endpoint: address.parse().unwrap(),
            weight: std::num::NonZeroU16::MIN,
            instance: "i1".parse().unwrap(),
            until,
            rules: 7,
        };
        let kept = Kept {
            floor: 1,
            guard: 1,
            until,
            servers: vec![server("10.0.0.1:80", None), server("10.0.0.2:80", until)],
        };
        let released = Released {
            nonce: "r1".parse().unwrap(),
            servers: Some(2),
        };
        let presence = Presence {
            kept: [("website".to_owned(), kept)].into(),
            releases: [("shop".to_owned(), released)].into(),
            ..presence()
        };
        let text = String::from_utf8(presence.encode()).unwrap();
        let expected = concat!(
            r#""kept":{"website":{"floor":1,"guard":1,"until":"2026-01-02T03:05:05Z","servers":["#,
            r#"{"instance":"i1","rules":7,"server":"10.0.0.1:80","weight":1},"#,
            r#"{"instance":"i1","rules":7,"server":"10.0.0.2:80","until":"2026-01-02T03:05:05Z","weight":1}]}},"#,
            r#""releases":{"shop":{"nonce":"r1","servers":2}},"nonce""#,
        );
        assert!(text.contains(expected), "{text}");
        assert_eq!(Presence::decode(text.as_bytes()).unwrap(), presence);
    }

    #[test]
    fn what_is_wrong_about_the_kept_is_left_out_and_harms_nothing_else() {
        for kept in [
            "1",
            "{}",
            r#"{"a":1}"#,
            r#"{"a":{"servers":[1,{},{"server":"; }","weight":0,"instance":"a/b"}]}}"#,
        ] {
            let text = format!(
                r#"{{"kept":{kept},"releases":{kept},"nonce":"n","since":"2026-01-02T03:04:05Z"}}"#
            );
            let read = Presence::decode(text.as_bytes()).unwrap();
            assert!(read.kept.values().all(|kept| kept.servers.is_empty()));
            assert!(read.releases.is_empty());
        }
    }

    #[test]
    fn unknown_fields_and_impossible_names_are_ignored() {
        let text =
            br#"{"x":1,"services":{"a":1,"b/c":2},"nonce":"n","since":"2026-01-02T03:04:05Z"}"#;
        let read = Presence::decode(text).unwrap();
        assert_eq!(read.services.len(), 1);
        assert!(read.targets.is_empty());
    }

    #[test]
    fn what_is_no_presence_is_refused_with_a_reason() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"nonce":"n"}"#,
            r#"{"nonce":"n","since":"now"}"#,
            r#"{"nonce":"n","since":"2026-01-02T03:04:05Z","services":{"a":-1}}"#,
            r#"{"nonce":"n","since":"2026-01-02T03:04:05Z","services":[]}"#,
        ] {
            assert!(Presence::decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Presence::decode(&bytes);
        }
    }
}
