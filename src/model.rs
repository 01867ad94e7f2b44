//! Records: the backends, as etcd stores them.
//!
//! Only this module knows keys and fields. Everything read from etcd is untrusted: [`decode`] returns a typed
//! value or the reason why it cannot, and no other code looks at the bytes.
//!
//! A record is in one of three formats, which are detected:
//!
//! - JSON: `{"host":"10.0.0.5","port":8080,"version":"52c7248a14"}`, with any spaces, and the port as a number or as
//!   a string of digits. `null` means absent. A known field with a wrong type or value makes the whole
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

/// An unknown word in a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct UnknownWord {
    /// The words that the field accepts.
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
    /// Whether an instance takes traffic.
    State, "up, draining or down", {
        /// It takes traffic.
        #[default]
        Up = "up",
        /// It finishes its requests and gets no new ones.
        Draining = "draining",
        /// It takes no traffic.
        Down = "down",
    }
);
words!(
    /// The transport protocol of an instance.
    Protocol, "tcp or udp", {
        /// TCP.
        #[default]
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
);
words!(
    /// The format of a record.
    Format, "json or plain", {
        /// Compact JSON, complete.
        #[default]
        Json = "json",
        /// Only `HOST:PORT`, for simple readers.
        Plain = "plain",
    }
);

/// The longest reason of a state, in characters.
pub const MAX_REASON: usize = 200;

fn cut_reason(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// The address for clients.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Its version.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub version: Option<Version>,
    /// Whether it takes traffic.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub state: State,
    /// Its share of the traffic; see [`Record::effective_weight`].
    #[serde(skip_serializing_if = "codec::is_default")]
    pub weight: Option<u16>,
    /// Tags. Foreign text: make them [printable](crate::util::sanitize) before showing them.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub tags: Vec<String>,
    /// NAME=VALUE pairs. Foreign text.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub meta: BTreeMap<String, String>,
    /// TCP or UDP.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub protocol: Protocol,
    /// The announcer process that wrote it.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub nonce: Option<Nonce>,
    /// When this announcer first published it.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub since: Option<Timestamp>,
    /// Why it takes no traffic, if it takes none. Foreign text.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub reason: Option<String>,
    /// Fields that this version does not know, kept when the record is rewritten.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Record {
    /// A record with only an address.
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

    /// The weight, 1 by default.
    #[must_use]
    pub fn effective_weight(&self) -> u16 {
        self.weight.unwrap_or(1)
    }

    /// The record in compact notation, `HOST:PORT[/VERSION]`.
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

/// Why a key and value are not a record. Contains only short, printable parts of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The key does not have the form of a record's key.
    #[error("the key is not {0}/SERVICE/INSTANCE")]
    Key(String),
    /// The key of a hold on a host does not name one.
    #[error("the key does not end with a host: {0}")]
    HostKey(AddressError),
    /// A part of the key is not a valid name.
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
    /// The value is JSON, but not an object.
    #[error("the value is not a JSON object")]
    NotAnObject,
    /// A required field is missing.
    #[error("the field \"{0}\" is missing")]
    Missing(&'static str),
    /// A field has a wrong type or value.
    #[error("the field \"{0}\" is not {1}")]
    Field(&'static str, &'static str),
    /// A pusher's key has no lease.
    #[error("it has no lease, so no pusher keeps it")]
    NoLease,
    /// The host is invalid.
    #[error("the field \"host\": {0}")]
    Host(#[from] AddressError),
}

/// A key and value that cannot be read, quarantined so that they disturb nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {}", self.why())]
pub struct Quarantined {
    /// The key, printable, and cut if it is long.
    pub key: String,
    /// The service, if the key names it.
    pub service: Option<ServiceName>,
    /// Why.
    pub reason: Reason,
    /// What is used in its place.
    pub instead: Instead,
}

impl Quarantined {
    /// Why, and whether something else is used.
    #[must_use]
    pub fn why(&self) -> String {
        let stands = match self.instead {
            Instead::Former => "; the former one stays",
            Instead::Nothing | Instead::Unknown(_) => "",
        };
        format!("{}{stands}", self.reason)
    }
}

/// What is used in place of an unreadable value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Instead {
    /// Nothing.
    #[default]
    Nothing,
    /// The former value of the same key.
    Former,
    /// Nothing, because the former value is not known, for this reason.
    Unknown(&'static str),
}

/// Parses a record from etcd.
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

/// The process that wrote a record or a status record: the `nonce` of any JSON object.
#[must_use]
pub fn claimant(value: &[u8]) -> Option<Nonce> {
    codec::claimant(value)
}

/// Since when the process that wrote a value has its key, by that process's clock; `None` where the value does not tell.
#[must_use]
pub fn author_since(value: &[u8]) -> Option<jiff::Timestamp> {
    codec::author_since(value)
}

/// The author of a record or of a pusher's key, as a message: what it is, where, and since when. Printable.
#[must_use]
pub fn author_in_words(value: &[u8]) -> String {
    codec::author_in_words(value)
}
