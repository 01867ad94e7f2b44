//! The load balancers that a pusher feeds, which go on routing when the pusher is silent.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::codec::{self, Object};
use super::presence::MAX_LISTED;
use super::{Nonce, Prefix, Reason, ServiceName};
use crate::printable::printable;

/// The longest name of a target, in bytes. One that was cut has three dots more.
const MAX_TARGET: usize = 400;

/// The value under a balancer's key: what its targets go on routing, whether or not the pusher of the same id lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancer {
    /// Where the records lie that the pusher followed.
    pub prefix: Prefix,
    /// The services that are routed there.
    pub services: BTreeSet<ServiceName>,
    /// The targets, each named so that two pushers of one target name it alike. Foreign text where it was read.
    pub targets: BTreeSet<String>,
    /// Which process wrote it.
    pub nonce: Nonce,
    /// Since when that process is there.
    pub since: Timestamp,
}

/// As many targets as are read, each as it is shown.
fn as_read<'t>(targets: impl Iterator<Item = &'t str>) -> BTreeSet<String> {
    as_shown(targets.take(MAX_LISTED))
}

fn as_shown<'t>(targets: impl Iterator<Item = &'t str>) -> BTreeSet<String> {
    targets.map(|name| printable(name, MAX_TARGET)).collect()
}

impl Balancer {
    /// These targets as they are read again when they were written.
    #[must_use]
    pub fn read_back(targets: &BTreeSet<String>) -> BTreeSet<String> {
        as_read(targets.iter().map(String::as_str))
    }

    /// These targets as they are shown, also those beyond what is read again.
    #[must_use]
    pub fn shown(targets: &BTreeSet<String>) -> BTreeSet<String> {
        as_shown(targets.iter().map(String::as_str))
    }

    /// The value to write: compact JSON, one line, always the same bytes for the same content.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let services = self.services.iter().map(|name| Value::from(name.as_str()));
        let targets = self.targets.iter().map(|name| Value::from(name.as_str()));
        let mut object = Object::new();
        object.field("prefix", self.prefix.as_str());
        object.field("services", services.collect::<Vec<_>>());
        object.field("targets", targets.collect::<Vec<_>>());
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
        let prefix = fields.remove("prefix").ok_or(Reason::Missing("prefix"))?;
        let mut texts = |name: &'static str| match fields.remove(name) {
            None => Err(Reason::Missing(name)),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(Reason::Field(name, "a list of strings")),
        };
        let (services, targets) = (texts("services")?, texts("targets")?);
        let services = services.iter().filter_map(Value::as_str);
        let targets = targets.iter().filter_map(Value::as_str);
        Ok(Self {
            prefix: codec::parsed("prefix", "a prefix", &prefix)?,
            services: services.filter_map(|name| name.parse().ok()).collect(),
            targets: as_read(targets),
            nonce,
            since,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_balancer_is_one_line_of_json_in_the_contracts_order() {
        let balancer = Balancer {
            prefix: Prefix::default(),
            services: ["website".parse().unwrap()].into(),
            targets: ["http://10.0.0.1:8080/api".to_owned()].into(),
            nonce: "n1".parse().unwrap(),
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
        };
        let text = String::from_utf8(balancer.encode()).unwrap();
        let expected = concat!(
            r#"{"prefix":"/services","services":["website"],"targets":["http://10.0.0.1:8080/api"],"#,
            r#""nonce":"n1","since":"2026-01-02T03:04:05Z"}"#
        );
        assert_eq!(text, expected);
        assert_eq!(Balancer::decode(text.as_bytes()).unwrap(), balancer);
    }

    #[test]
    fn what_is_no_balancer_is_refused_with_a_reason() {
        for text in [
            "",
            "{}",
            r#"{"nonce":"n","since":"2026-01-02T03:04:05Z"}"#,
            r#"{"prefix":"x","services":[],"targets":[],"nonce":"n","since":"2026-01-02T03:04:05Z"}"#,
            r#"{"prefix":"/x","services":{},"targets":[],"nonce":"n","since":"2026-01-02T03:04:05Z"}"#,
        ] {
            assert!(Balancer::decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Balancer::decode(&bytes);
        }
    }
}
