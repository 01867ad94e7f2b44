//! What a pusher tells about itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::codec::{self, Object};
use super::released::{self, Released};
use super::{Endpoint, InstanceName, Nonce, Prefix, Reason, ServiceName};
use crate::printable::{printable, short};

/// How many entries each list of a status record has at most; what is beyond that is counted.
pub const MAX_LISTED: usize = 256;

/// Instances with a reason each, [`MAX_LISTED`] at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasons {
    /// Why, in words, by instance. Foreign text where it was read.
    pub listed: BTreeMap<InstanceName, String>,
    /// How many there are beyond those listed.
    pub more: u64,
}

/// Where a pusher stands with one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceStatus {
    /// The newest etcd revision of the service's records whose effect every target has confirmed; 0 where none is yet.
    pub applied: i64,
    /// The same of the service's split and holds.
    pub overrides: i64,
    /// Instances that take no traffic although their records are there: refused, or out of reach of a target, held or
    /// weightless.
    pub not_routed: Reasons,
    /// Instances that leave or have left and take traffic all the same.
    pub still_routed: Reasons,
    /// No target routes the service at present, since none accepts connections: nothing is waited for here.
    pub idle: bool,
    /// The targets that count as routing nothing, with what is seen of them, [`MAX_LISTED`] at most: an nginx whose API listens
    /// elsewhere looks alike. Foreign text where it was read.
    pub stopped: BTreeMap<String, String>,
}

/// Whether a pusher routes an instance, as far as its status record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routes<'a> {
    /// It is not listed as anything else.
    Yes,
    /// A target refuses it or cannot have it, for this reason.
    No(&'a str),
    /// It takes no traffic by somebody's decision, a hold or a split, and does once that ends.
    Withheld(&'a str),
    /// Not all could be listed, and this one is not.
    Unknown,
}

impl ServiceStatus {
    /// What the reason of a held instance in [`not_routed`](Self::not_routed) begins with.
    pub const HELD: &'static str = "held: ";
    /// What the reason of an instance without any weight there begins with, as under a split that leaves it out.
    pub const WEIGHTLESS: &'static str = "weightless: ";

    /// Whether `instance` is routed, once its revision is applied.
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

/// How one target of a pusher does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetStatus {
    /// Whether the target is equal to the records.
    pub ok: bool,
    /// What is wrong, each with the upstream in front.
    pub errors: Vec<String>,
    /// Its upstreams by name (`stream/NAME` for those of `stream {}`).
    pub upstreams: BTreeMap<String, UpstreamStatus>,
}

impl TargetStatus {
    /// The longest error that is told, in bytes. One that was cut has three dots more.
    pub const MAX_ERROR: usize = 240;
}

/// What an upstream of a target should have, and what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// How many servers should take traffic there.
    pub wanted: u64,
    /// How many do, as last read; absent where nothing was read yet.
    pub has: Option<u64>,
    /// Servers that stay without a record, or against it, [`MAX_LISTED`] at most.
    pub protected: Vec<Protected>,
    /// How many of those there are beyond that.
    pub protected_more: u64,
}

/// A server that stays in rotation although its record is gone or says otherwise. For people: nobody acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// Where it is.
    pub server: Endpoint,
    /// Why it stays, in words. Foreign text where it was read.
    pub why: String,
    /// Until when; absent where it stays until enough others take traffic.
    pub until: Option<Timestamp>,
}

/// The value under a pusher's key: what it has applied, and how its targets do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Where it stands with each service that it routes. A service that the pusher does not route is not named.
    pub services: BTreeMap<ServiceName, ServiceStatus>,
    /// The targets by name.
    pub targets: BTreeMap<String, TargetStatus>,
    /// What it has made of the releases that stand in etcd, by upstream. [`MAX_LISTED`] of them are told.
    pub releases: BTreeMap<String, Released>,
    /// Where the records lie that it follows; absent where an older pusher does not tell.
    pub prefix: Option<Prefix>,
    /// Which process wrote it.
    pub nonce: Nonce,
    /// Since when this process is present.
    pub since: Timestamp,
}

impl Reasons {
    /// Lists as many as there is room for, the first ones first, and counts the rest. An instance that comes twice keeps
    /// its first reason.
    #[must_use]
    pub fn of(reasons: impl IntoIterator<Item = (InstanceName, String)>) -> Self {
        let mut all = Self::default();
        for (instance, reason) in reasons {
            if all.listed.contains_key(&instance) {
                continue;
            }
            if all.listed.len() < MAX_LISTED {
                let reason = printable(reason, TargetStatus::MAX_ERROR);
                all.listed.insert(instance, reason);
            } else {
                all.more = all.more.saturating_add(1);
            }
        }
        all
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.more == 0
    }

    fn encode(&self) -> Object {
        let mut object = Object::new();
        for (instance, reason) in &self.listed {
            object.field(instance.as_str(), reason.as_str());
        }
        object
    }

    /// What has no name that an instance may have is counted, as its reason still is one.
    fn decode(listed: Option<&Value>, more: Option<&Value>) -> Self {
        let mut all = Self {
            more: more.and_then(Value::as_u64).unwrap_or(0),
            ..Self::default()
        };
        for (name, reason) in listed.and_then(Value::as_object).into_iter().flatten() {
            match (name.parse(), reason.as_str()) {
                (Ok(instance), Some(reason)) if all.listed.len() < MAX_LISTED => {
                    let reason = printable(reason, TargetStatus::MAX_ERROR + "...".len());
                    all.listed.insert(instance, reason);
                }
                _ => all.more = all.more.saturating_add(1),
            }
        }
        all
    }
}

impl ServiceStatus {
    fn encode(&self) -> Object {
        let mut object = Object::new();
        object.field("applied", self.applied);
        object.field("overrides", self.overrides);
        for (name, more, reasons) in [
            ("not_routed", "not_routed_more", &self.not_routed),
            ("still_routed", "still_routed_more", &self.still_routed),
        ] {
            object.object(name, &reasons.encode());
            if reasons.more > 0 {
                object.field(more, reasons.more);
            }
        }
        if self.idle {
            object.field("idle", true);
        }
        if !self.stopped.is_empty() {
            let mut stopped = Object::new();
            for (target, error) in self.stopped.iter().take(MAX_LISTED) {
                stopped.field(target, error.as_str());
            }
            object.object("stopped", &stopped);
        }
        object
    }

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
    fn encode(&self) -> Object {
        let mut object = Object::new();
        object.field("wanted", self.wanted);
        object.field("has", self.has);
        let listed = self.protected.iter().take(MAX_LISTED);
        let listed: Vec<Value> = listed.map(Protected::encode).collect();
        let beyond = self.protected.len().saturating_sub(listed.len());
        let more = u64::try_from(beyond).unwrap_or(u64::MAX);
        let more = more.saturating_add(self.protected_more);
        object.field("protected", listed);
        if more > 0 {
            object.field("protected_more", more);
        }
        object
    }

    /// What cannot be read is left out: the rest of a status record matters more.
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
    fn encode(&self) -> Value {
        let mut object = Map::new();
        object.insert("server".to_owned(), self.server.to_string().into());
        object.insert("why".to_owned(), self.why.as_str().into());
        if let Some(until) = self.until {
            object.insert("until".to_owned(), until.to_string().into());
        }
        object.into()
    }

    fn decode(value: &Value) -> Option<Self> {
        let text = |name| value.get(name).and_then(Value::as_str);
        Some(Self {
            server: text("server")?.parse().ok()?,
            why: short(text("why")?),
            until: text("until").and_then(|until| until.parse().ok()),
        })
    }
}

impl Presence {
    /// The value to write: compact JSON, one line, always the same bytes for the same content.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut services = Object::new();
        for (name, status) in &self.services {
            services.object(name.as_str(), &status.encode());
        }
        let mut targets = Object::new();
        for (name, status) in &self.targets {
            targets.object(name, &encode_target(status));
        }
        let mut object = Object::new();
        object.object("services", &services);
        object.object("targets", &targets);
        if !self.releases.is_empty() {
            let (releases, more) = released::encode_released(&self.releases);
            object.object("releases", &releases);
            if more > 0 {
                object.field("releases_more", more);
            }
        }
        if let Some(prefix) = &self.prefix {
            object.field("prefix", prefix.as_str());
        }
        object.field("nonce", self.nonce.as_str());
        object.field("since", self.since.to_string());
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

fn encode_target(status: &TargetStatus) -> Object {
    let mut upstreams = Object::new();
    for (name, upstream) in &status.upstreams {
        upstreams.object(name, &upstream.encode());
    }
    let mut object = Object::new();
    object.field("ok", status.ok);
    object.field("errors", status.errors.as_slice());
    object.object("upstreams", &upstreams);
    object
}

fn decode_stopped(value: Option<&Value>) -> BTreeMap<String, String> {
    let stopped = value.and_then(Value::as_object).into_iter().flatten();
    let stopped = stopped.take(MAX_LISTED).filter_map(|(target, error)| {
        let error = printable(error.as_str()?, TargetStatus::MAX_ERROR + "...".len());
        Some((short(target), error))
    });
    stopped.collect()
}

fn decode_target(value: &Value) -> TargetStatus {
    let errors = value.get("errors").and_then(Value::as_array);
    let errors = errors.into_iter().flatten().filter_map(Value::as_str);
    let errors = errors.map(|text| printable(text, TargetStatus::MAX_ERROR + "...".len()));
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn presence() -> Presence {
        let target = |errors: &[&str]| TargetStatus {
            ok: errors.is_empty(),
            errors: errors.iter().map(|text| (*text).to_owned()).collect(),
            upstreams: BTreeMap::new(),
        };
        let mut edge = target(&[]);
        let protected = Protected {
            server: "10.0.0.1:80".parse().unwrap(),
            why: "the last that takes traffic".to_owned(),
            until: None,
        };
        let upstream = UpstreamStatus {
            wanted: 3,
            has: Some(2),
            protected: vec![protected],
            protected_more: 0,
        };
        edge.upstreams.insert("website".to_owned(), upstream);
        let refused = ("nginx3".parse().unwrap(), "edge: no resolver".to_owned());
        let status = ServiceStatus {
            applied: 42,
            overrides: 7,
            not_routed: Reasons::of([refused]),
            still_routed: Reasons::default(),
            ..ServiceStatus::default()
        };
        Presence {
            services: [("website".parse().unwrap(), status)].into(),
            targets: [
                ("edge".to_owned(), edge),
                ("other".to_owned(), target(&["website: no answer"])),
            ]
            .into(),
            releases: BTreeMap::new(),
            prefix: Some(Prefix::default()),
            nonce: "n1".parse().unwrap(),
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_presence_is_one_line_of_json_in_the_contracts_order() {
        let text = String::from_utf8(presence().encode()).unwrap();
        let expected = concat!(
            r#"{"services":{"website":{"applied":42,"overrides":7,"#,
            r#""not_routed":{"nginx3":"edge: no resolver"},"still_routed":{}}},"#,
            r#""targets":{"edge":{"ok":true,"errors":[],"upstreams":{"website":{"wanted":3,"has":2,"#,
            r#""protected":[{"server":"10.0.0.1:80","why":"the last that takes traffic"}]}}},"#,
            r#""other":{"ok":false,"errors":["website: no answer"],"upstreams":{}}},"#,
            r#""prefix":"/services","nonce":"n1","since":"2026-01-02T03:04:05Z"}"#
        );
        assert_eq!(text, expected);
        assert_eq!(Presence::decode(text.as_bytes()).unwrap(), presence());
    }

    #[test]
    fn what_is_released_is_told_where_there_is_any() {
        let released = Released {
            nonce: "r1".parse().unwrap(),
            servers: Some(2),
        };
        let presence = Presence {
            releases: [("shop".to_owned(), released)].into(),
            ..presence()
        };
        let text = String::from_utf8(presence.encode()).unwrap();
        let expected = r#""releases":{"shop":{"nonce":"r1","servers":2}},"prefix""#;
        assert!(text.contains(expected), "{text}");
        assert_eq!(Presence::decode(text.as_bytes()).unwrap(), presence);
    }

    #[test]
    fn releases_are_bounded_and_those_of_own_upstreams_come_first() {
        let released = |servers| Released {
            nonce: "r".parse().unwrap(),
            servers,
        };
        let foreign = (0..300).map(|number| (format!("a{number}"), released(None)));
        let own = [("website".to_owned(), released(Some(0)))];
        let presence = Presence {
            releases: foreign.chain(own).collect(),
            ..presence()
        };
        let text = presence.encode();
        let read: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(read["releases_more"], 45);
        let read = Presence::decode(&text).unwrap();
        assert_eq!(read.releases.len(), MAX_LISTED);
        assert_eq!(read.releases["website"], released(Some(0)));
    }

    #[test]
    fn what_is_wrong_about_the_protected_and_released_is_left_out_and_harms_nothing_else() {
        for wrong in [
            "1",
            "{}",
            r#"{"a":1}"#,
            r#"{"a":{"protected":[1,{},{"server":"; }","why":"w"}]}}"#,
        ] {
            let text = format!(
                r#"{{"targets":{{"t":{{"upstreams":{wrong}}}}},"releases":{wrong},"nonce":"n","since":"2026-01-02T03:04:05Z"}}"#
            );
            let read = Presence::decode(text.as_bytes()).unwrap();
            let mut upstreams = read.targets["t"].upstreams.values();
            assert!(upstreams.all(|upstream| upstream.protected.is_empty()));
            assert!(read.releases.is_empty());
        }
    }

    #[test]
    fn unknown_fields_and_impossible_names_are_ignored() {
        let text =
            br#"{"x":1,"services":{"a":{"applied":1},"b/c":{}},"nonce":"n","since":"2026-01-02T03:04:05Z"}"#;
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
            r#"{"nonce":"n","since":"2026-01-02T03:04:05Z","services":{"a":{"applied":-1}}}"#,
            r#"{"nonce":"n","since":"2026-01-02T03:04:05Z","services":{"a":1}}"#,
            r#"{"nonce":"n","since":"2026-01-02T03:04:05Z","prefix":"services"}"#,
            r#"{"nonce":"n","since":"2026-01-02T03:04:05Z","services":[]}"#,
        ] {
            assert!(Presence::decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_are_bounded_and_what_is_not_listed_is_unknown() {
        let instance = |number: usize| (format!("i{number:03}").parse().unwrap(), "no".to_owned());
        let all = Reasons::of((0..MAX_LISTED + 2).map(instance));
        assert_eq!((all.listed.len(), all.more), (MAX_LISTED, 2));
        let status = ServiceStatus {
            not_routed: all,
            stopped: [("edge".to_owned(), "connection refused".to_owned())].into(),
            ..ServiceStatus::default()
        };
        assert_eq!(status.routes(&"i000".parse().unwrap()), Routes::No("no"));
        assert_eq!(status.routes(&"other".parse().unwrap()), Routes::Unknown);
        let text = status.encode().finish();
        let read: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(ServiceStatus::decode(&read).unwrap(), status);
        let none = ServiceStatus::default();
        assert_eq!(none.routes(&"other".parse().unwrap()), Routes::Yes);
    }

    #[test]
    fn who_is_held_or_weightless_is_told_from_who_is_refused() {
        let reason = |name: &str, why: &str| (name.parse().unwrap(), why.to_owned());
        let status = ServiceStatus {
            not_routed: Reasons::of([
                reason("held", "held: maintenance"),
                reason("split", "weightless: the split gives v1 nothing"),
                reason("refused", "edge: no resolver"),
            ]),
            ..ServiceStatus::default()
        };
        let routes = |name: &str| status.routes(&name.parse().unwrap());
        assert_eq!(routes("held"), Routes::Withheld("held: maintenance"));
        assert!(matches!(routes("split"), Routes::Withheld(_)));
        assert_eq!(routes("refused"), Routes::No("edge: no resolver"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Presence::decode(&bytes);
        }
    }
}
