//! The keys in etcd: the records' prefix and sidekick's own.

use std::fmt;
use std::str::FromStr;

use super::name::{self, NameError};
use super::{Endpoint, HoldScope, Host, InstanceId, InstanceName, PusherId, Reason, ServiceName};
use crate::util::sanitize::short;

/// The longest prefix, in bytes.
const MAX_PREFIX: usize = 512;

/// Why a text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// It does not begin with `/`, or nothing follows.
    #[error("\"{0}\" is not a prefix: /NAME or /NAME/NAME... is expected")]
    Shape(String),
    /// It is too long.
    #[error("the prefix is {0} bytes long; at most {MAX_PREFIX} are allowed")]
    TooLong(usize),
    /// One of its segments is not a valid name.
    #[error(transparent)]
    Segment(#[from] NameError),
}

/// Parses `/NAME[/NAME...]`; a final slash is dropped.
fn parse_prefix(text: &str) -> Result<Box<str>, PrefixError> {
    let trimmed = text.strip_suffix('/').unwrap_or(text);
    let Some(segments) = trimmed.strip_prefix('/') else {
        return Err(PrefixError::Shape(short(text)));
    };
    if trimmed.len() > MAX_PREFIX {
        return Err(PrefixError::TooLong(trimmed.len()));
    }
    for segment in segments.split('/') {
        name::check("prefix segment", segment)?;
    }
    Ok(trimmed.into())
}

macro_rules! prefix {
    ($(#[$doc:meta])* $name:ident, $default:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The prefix, with a slash at its start and none at its end.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default.into())
            }
        }

        impl FromStr for $name {
            type Err = PrefixError;

            fn from_str(text: &str) -> Result<Self, PrefixError> {
                parse_prefix(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

prefix!(
    /// The prefix of the records; `/services` by default.
    Prefix,
    "/services"
);
prefix!(
    /// The prefix of sidekick's own keys; `/sidekick` by default. Must be apart from the records (see
    /// [`MetaPrefix::is_apart_from`]).
    MetaPrefix,
    "/sidekick"
);

impl Prefix {
    /// Whether neither of the two prefixes lies inside the other.
    #[must_use]
    pub fn is_apart_from(&self, other: &Self) -> bool {
        are_apart(self, other)
    }

    /// The key of one record.
    #[must_use]
    pub fn key(&self, id: &InstanceId) -> String {
        format!("{self}/{id}")
    }

    /// The prefix of the keys of all records, or of one service's records.
    #[must_use]
    pub fn service_range(&self, service: Option<&ServiceName>) -> String {
        match service {
            Some(service) => format!("{self}/{service}/"),
            None => format!("{self}/"),
        }
    }

    fn strip<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        let key = std::str::from_utf8(key).ok()?;
        key.strip_prefix(self.as_str())?.strip_prefix('/')
    }

    /// Parses a record's key. Returns the service even if the rest of the key is wrong.
    pub(super) fn parse_key(
        &self,
        key: &[u8],
    ) -> (Option<ServiceName>, Result<InstanceId, Reason>) {
        // Even in a key that is not all text, the service may be.
        let key = String::from_utf8_lossy(key);
        let rest = self.strip(key.as_bytes());
        let Some((service, instance)) = rest.and_then(|rest| rest.split_once('/')) else {
            return (None, Err(Reason::Key(self.to_string())));
        };
        let service: ServiceName = match service.parse() {
            Ok(service) => service,
            Err(error) => return (None, Err(error.into())),
        };
        if instance.contains('/') {
            return (Some(service), Err(Reason::Key(self.to_string())));
        }
        let id = instance.parse().map_err(Reason::from);
        let id = id.map(|instance| InstanceId {
            service: service.clone(),
            instance,
        });
        (Some(service), id)
    }
}

impl InstanceName {
    /// The endpoint in the name itself, as in keys written by tools that leave the value empty.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.as_str().parse().ok()
    }
}

impl MetaPrefix {
    /// The prefix of all of sidekick's own keys.
    #[must_use]
    pub fn range(&self) -> String {
        format!("{self}/")
    }

    /// The key of a pusher's status record.
    #[must_use]
    pub fn pusher_key(&self, id: &PusherId) -> String {
        format!("{self}/pushers/{id}")
    }

    /// The prefix of the keys of all pushers.
    #[must_use]
    pub fn pushers_range(&self) -> String {
        format!("{self}/pushers/")
    }

    /// The pusher with the status record `key`.
    #[must_use]
    pub fn pusher(&self, key: &[u8]) -> Option<PusherId> {
        let key = std::str::from_utf8(key).ok()?;
        key.strip_prefix(&self.pushers_range())?.parse().ok()
    }

    /// The key of the load balancers that a pusher feeds; it stays while they may keep routing without the pusher.
    #[must_use]
    pub fn balancer_key(&self, id: &PusherId) -> String {
        format!("{self}/balancers/{id}")
    }

    /// The prefix of the keys of all balancers.
    #[must_use]
    pub fn balancers_range(&self) -> String {
        format!("{self}/balancers/")
    }

    /// The pusher with the balancer key `key`.
    #[must_use]
    pub fn balancer(&self, key: &[u8]) -> Option<PusherId> {
        let key = std::str::from_utf8(key).ok()?;
        key.strip_prefix(&self.balancers_range())?.parse().ok()
    }

    /// The key of a service's split.
    #[must_use]
    pub fn split_key(&self, service: &ServiceName) -> String {
        format!("{self}/splits/{service}")
    }

    /// The prefix of the keys of all splits.
    #[must_use]
    pub fn splits_range(&self) -> String {
        format!("{self}/splits/")
    }

    /// The service with the split `key`.
    #[must_use]
    pub fn split(&self, key: &[u8]) -> Option<ServiceName> {
        let key = std::str::from_utf8(key).ok()?;
        key.strip_prefix(&self.splits_range())?.parse().ok()
    }

    /// The key of a hold.
    #[must_use]
    pub fn hold_key(&self, scope: &HoldScope) -> String {
        match scope {
            HoldScope::Instance(id) => format!("{self}/holds/{id}"),
            HoldScope::Service(service) => format!("{self}/service-holds/{service}"),
            HoldScope::Host(host) => format!("{self}/host-holds/{host}"),
        }
    }

    /// The prefix of the keys of all holds on single instances.
    #[must_use]
    pub fn holds_range(&self) -> String {
        format!("{self}/holds/")
    }

    /// The prefix of the keys of all holds on whole services.
    #[must_use]
    pub fn service_holds_range(&self) -> String {
        format!("{self}/service-holds/")
    }

    /// The prefix of the keys of all holds on hosts.
    #[must_use]
    pub fn host_holds_range(&self) -> String {
        format!("{self}/host-holds/")
    }

    /// The scope of the hold `key`. Several keys may spell one host.
    #[must_use]
    pub fn hold(&self, key: &[u8]) -> Option<HoldScope> {
        let key = std::str::from_utf8(key).ok()?;
        let below = |range: String| key.strip_prefix(&*range).map(str::to_owned);
        if let Some(id) = below(self.holds_range()) {
            return id.parse().ok().map(HoldScope::Instance);
        }
        if let Some(service) = below(self.service_holds_range()) {
            return service.parse().ok().map(HoldScope::Service);
        }
        let host: Host = below(self.host_holds_range())?.parse().ok()?;
        Some(HoldScope::host(&host))
    }

    /// The key of an upstream's release.
    #[must_use]
    pub fn release_key(&self, upstream: &str) -> String {
        format!("{self}/releases/{upstream}")
    }

    /// The prefix of the keys of all releases.
    #[must_use]
    pub fn releases_range(&self) -> String {
        format!("{self}/releases/")
    }

    /// The upstream with the release `key`, unchecked.
    #[must_use]
    pub fn released<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        let key = std::str::from_utf8(key).ok()?;
        key.strip_prefix(&self.releases_range())
    }

    /// Whether neither of the two prefixes lies inside the other: readers of the records must see only records.
    #[must_use]
    pub fn is_apart_from(&self, other: &Prefix) -> bool {
        are_apart(self, other)
    }
}

/// Whether neither of two prefixes lies inside the other.
fn are_apart(one: &impl fmt::Display, other: &impl fmt::Display) -> bool {
    let (one, other) = (format!("{one}/"), format!("{other}/"));
    !one.starts_with(&other) && !other.starts_with(&one)
}

#[cfg(test)]
mod tests;
