//! Records: which backends there are, as they lie in etcd.
//!
//! This is the one place that spells a key or a field. Everything read from etcd is untrusted: [`decode`] gives a typed
//! value or the reason why there is none, and nothing else in the program looks at the bytes.
//!
//! A record is read in any of three formats without being told which:
//!
//! - JSON: `{"host":"10.0.0.5","port":8080,"version":"52c7248a14"}`, with whatever spaces, and the port as a number or as
//!   a string of digits. `null` means absent. A field of the table with a wrong type or value makes the whole
//!   record unreadable: half a record is no record.
//! - plain: `10.0.0.5:8080`.
//! - key form: the instance's name is itself `HOST:PORT` and the value is free text.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::util::sanitize::printable;

mod balancer;
mod codec;
mod hold;
mod hold_scope;
mod host;
mod key;
mod name;
mod object;
mod pusher_status;
mod reasons;
mod release;
mod released;
mod split;
mod token;

pub use balancer::Balancer;
pub use hold::Hold;
pub use hold_scope::HoldScope;
pub use host::{Address, AddressError, DnsName, Endpoint, Host};
pub use key::{MetaPrefix, Prefix, PrefixError};
pub(crate) use name::check as check_name;
pub use name::{InstanceId, InstanceName, MAX_NAME, NameError, PusherId, ServiceName};
pub use object::{Key, Kind, Object, Prefixes, Subject};
pub use pusher_status::{
    Protected, PusherStatus, Routes, ServiceStatus, TargetStatus, UpstreamStatus,
};
pub use reasons::{MAX_LISTED, Reasons};
pub use release::Release;
pub use released::Released;
pub use split::{MAX_VERSIONS, Share, Split, SplitError};
pub use token::{MAX_TOKEN, Nonce, TokenError, Version};

/// A word that a field does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct UnknownWord {
    /// The words that it knows.
    pub expected: &'static str,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $expected:literal, { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// The word for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { expected: $expected }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words!(
    /// What may be done with an instance.
    State, "up, draining or down", {
        /// It takes traffic.
        #[default]
        Up = "up",
        /// It finishes what runs and is sent nothing new.
        Draining = "draining",
        /// It is known and takes no traffic.
        Down = "down",
    }
);
words!(
    /// What an instance speaks below its own protocol.
    Protocol, "tcp or udp", {
        /// TCP.
        #[default]
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
);
words!(
    /// How a record is written.
    Format, "json or plain", {
        /// Compact JSON with everything.
        #[default]
        Json = "json",
        /// `HOST:PORT` and nothing else, for readers that know no better.
        Plain = "plain",
    }
);

/// How many characters the reason of a state has at most.
pub const MAX_REASON: usize = 200;

fn cut_reason(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Where clients connect to.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// What runs there.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub version: Option<Version>,
    /// What may be done with it.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub state: State,
    /// Its share of the traffic; see [`Record::effective_weight`].
    #[serde(skip_serializing_if = "codec::is_default")]
    pub weight: Option<u16>,
    /// Free labels. Foreign text: to be made [printable](crate::util::sanitize) before it is shown.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub tags: Vec<String>,
    /// Free pairs. Foreign text, as the tags are.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub meta: BTreeMap<String, String>,
    /// TCP or UDP.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub protocol: Protocol,
    /// Which announcer process wrote it.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub nonce: Option<Nonce>,
    /// When this announcer first published it.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub since: Option<Timestamp>,
    /// Why it takes no traffic, in words, where it does not. Foreign text, as the tags are.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub reason: Option<String>,
    /// The fields that this version does not know, kept when a record is rewritten.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Record {
    /// A record that says nothing but where the instance is.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            version: None,
            state: State::default(),
            weight: None,
            tags: Vec::new(),
            meta: BTreeMap::new(),
            protocol: Protocol::default(),
            nonce: None,
            since: None,
            reason: None,
            extra: Map::new(),
        }
    }

    /// The same record in another state, without the reason for its old one.
    #[must_use]
    pub fn with_state(&self, state: State) -> Self {
        Self {
            state,
            reason: None,
            ..self.clone()
        }
    }

    /// The same record with the reason for its state, made printable and cut to [`MAX_REASON`] characters.
    #[must_use]
    pub fn because(self, reason: &str) -> Self {
        let reason = cut_reason(&printable(reason, 4 * MAX_REASON));
        Self {
            reason: (!reason.is_empty()).then_some(reason),
            ..self
        }
    }

    /// The share of the traffic: 1 where nothing else is said.
    #[must_use]
    pub fn effective_weight(&self) -> u16 {
        self.weight.unwrap_or(1)
    }

    /// The record in the compact notation `HOST:PORT[/VERSION]`.
    #[must_use]
    pub fn address(&self) -> Address {
        Address {
            endpoint: self.endpoint.clone(),
            version: self.version.clone(),
        }
    }
}

impl From<Address> for Record {
    fn from(address: Address) -> Self {
        Self {
            version: address.version,
            ..Self::new(address.endpoint)
        }
    }
}

/// Why a key and value are no record. Tells nothing of the bytes but what is printable and short.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The key is not made as a record's key is.
    #[error("the key is not {0}/SERVICE/INSTANCE")]
    Key(String),
    /// The key of a hold on a host does not name one.
    #[error("the key does not end with a host: {0}")]
    HostKey(AddressError),
    /// A part of the key is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The value is too large, in bytes.
    #[error("the value has {0} bytes; at most {max} are read", max = codec::MAX_VALUE)]
    TooLarge(usize),
    /// There is no value.
    #[error("the value is empty")]
    Empty,
    /// The value is not UTF-8.
    #[error("the value is not text")]
    NotText,
    /// The value is neither an object nor `HOST:PORT`.
    #[error("the value is neither a JSON object nor HOST:PORT: {0}")]
    Unrecognised(AddressError),
    /// The value begins like JSON but is not.
    #[error("the value is not valid JSON: {0}")]
    Json(String),
    /// The value is JSON, but no object.
    #[error("the value is not a JSON object")]
    NotAnObject,
    /// A field without which it does not work is not there.
    #[error("the field \"{0}\" is missing")]
    Missing(&'static str),
    /// A field holds something else than it should.
    #[error("the field \"{0}\" is not {1}")]
    Field(&'static str, &'static str),
    /// A key that ends with its pusher has no lease.
    #[error("it has no lease, so no pusher keeps it")]
    NoLease,
    /// The host is none.
    #[error("the field \"host\": {0}")]
    Host(#[from] AddressError),
}

/// A key and value that are no record, quarantined so that they disturb nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {}", self.why())]
pub struct Quarantined {
    /// The key, printable and cut where it is long.
    pub key: String,
    /// The service, where the key tells it.
    pub service: Option<ServiceName>,
    /// Why.
    pub reason: Reason,
    /// What stands in its place.
    pub instead: Instead,
}

impl Quarantined {
    /// Why, and whether something stands in its place.
    #[must_use]
    pub fn why(&self) -> String {
        let stands = match self.instead {
            Instead::Former => "; the one before it stands",
            Instead::Nothing | Instead::Unknown(_) => "",
        };
        format!("{}{stands}", self.reason)
    }
}

/// What stands in the place of what cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Instead {
    /// Nothing.
    #[default]
    Nothing,
    /// What the same key said before.
    Former,
    /// Nothing, as what the key said before is not known for this reason.
    Unknown(&'static str),
}

/// Reads a record from what etcd holds.
///
/// # Errors
///
/// [`Quarantined`], with the reason, when key or value are not those of a record.
pub fn decode(
    prefix: &Prefix,
    key: &[u8],
    value: &[u8],
) -> Result<(InstanceId, Record), Quarantined> {
    let (service, id) = prefix.parse_key(key);
    let read = id.and_then(|id| {
        let record = codec::decode_value(&id, value)?;
        Ok((id, record))
    });
    read.map_err(|reason| Quarantined {
        key: printable(key, 300),
        service,
        reason,
        instead: Instead::Nothing,
    })
}

/// Which process wrote a record or a status record: the `nonce` of any JSON object.
#[must_use]
pub fn claimant(value: &[u8]) -> Option<Nonce> {
    codec::claimant(value)
}

/// Who wrote a record or a key of a pusher, for people: what it is, where, and since when. Printable.
#[must_use]
pub fn author_in_words(value: &[u8]) -> String {
    codec::author_in_words(value)
}
