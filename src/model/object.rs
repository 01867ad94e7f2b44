//! A key of sidekick's and its value, parsed.

use super::{
    Balancer, Hold, HoldScope, Host, InstanceId, MetaPrefix, Prefix, PusherId, PusherStatus,
    Reason, Record, Release, ServiceName, Split, codec,
};

/// The kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A backend.
    Record,
    /// A hold on a single instance.
    Hold,
    /// A hold on a whole service.
    ServiceHold,
    /// A hold on a host.
    HostHold,
    /// The split of a service.
    Split,
    /// The status of a live pusher.
    Pusher,
    /// The load balancers that a pusher feeds.
    Balancer,
    /// An operator's order that an upstream follow its records.
    Release,
}

/// The subject of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The record of this instance.
    Record(InstanceId),
    /// A hold of this scope.
    Hold(HoldScope),
    /// The split of this service.
    Split(ServiceName),
    /// The status record of this pusher.
    Pusher(PusherId),
    /// The balancer key of this pusher.
    Balancer(PusherId),
    /// The release of the upstream of this name, unchecked.
    Release(String),
}

/// A parsed value.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A backend.
    Record(Box<Record>),
    /// A hold.
    Hold(Box<Hold>),
    /// A split.
    Split(Box<Split>),
    /// A status record.
    Pusher(Box<PusherStatus>),
    /// A balancer key.
    Balancer(Box<Balancer>),
    /// A release.
    Release(Release),
}

/// A parsed key.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its service, even if the rest of it is wrong.
    pub service: Option<ServiceName>,
    /// Its subject.
    pub subject: Result<Subject, Reason>,
}

/// Both prefixes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// The records.
    pub records: Prefix,
    /// sidekick's own keys.
    pub meta: MetaPrefix,
}

impl Prefixes {
    /// Parses a key. Keys outside the meta prefix should be records; `None` for unknown keys below the meta prefix.
    #[must_use]
    pub fn key(&self, key: &[u8]) -> Option<Key> {
        let text = String::from_utf8_lossy(key);
        if let Some(own) = text.strip_prefix(&self.meta.range()) {
            let (kind, name) = own.split_once('/')?;
            return self.own_key(kind, name);
        }
        let (service, id) = self.records.parse_key(key);
        Some(Key {
            kind: Kind::Record,
            service,
            subject: id.map(Subject::Record),
        })
    }

    fn own_key(&self, kind: &str, name: &str) -> Option<Key> {
        let (kind, subject) = match kind {
            "holds" => (Kind::Hold, self.instance_hold(name)),
            "service-holds" => {
                let scope = name.parse().map(HoldScope::Service);
                (Kind::ServiceHold, read(scope, Subject::Hold))
            }
            "host-holds" => {
                let host = name.parse::<Host>().map_err(Reason::HostKey);
                let scope = host.map(|host| HoldScope::host(&host));
                (Kind::HostHold, scope.map(Subject::Hold))
            }
            "splits" => (Kind::Split, read(name.parse(), Subject::Split)),
            "pushers" => (Kind::Pusher, read(name.parse(), Subject::Pusher)),
            "balancers" => (Kind::Balancer, read(name.parse(), Subject::Balancer)),
            "releases" => (Kind::Release, Ok(Subject::Release(name.to_owned()))),
            _ => return None,
        };
        let service = subject.as_ref().ok().and_then(Subject::service).cloned();
        Some(Key {
            kind,
            service,
            subject,
        })
    }

    fn instance_hold(&self, name: &str) -> Result<Subject, Reason> {
        let id = name.parse::<InstanceId>().map(HoldScope::Instance);
        let shape = |_| Reason::Key(format!("{}/holds", self.meta));
        id.map(Subject::Hold).map_err(shape)
    }
}

fn read<T>(
    name: Result<T, super::NameError>,
    subject: impl FnOnce(T) -> Subject,
) -> Result<Subject, Reason> {
    name.map(subject).map_err(Reason::from)
}

impl Subject {
    /// The service that it is about; `None` if several or none.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Record(id) => Some(&id.service),
            Self::Hold(scope) => scope.service(),
            Self::Split(service) => Some(service),
            Self::Pusher(_) | Self::Balancer(_) | Self::Release(_) => None,
        }
    }

    /// Parses the value of such a key with this lease (0 for none).
    ///
    /// # Errors Why it is invalid. A pusher's keys have the pusher's lease: one without a lease was written by somebody
    /// else, or is left over from a restored etcd.
    pub fn decode(&self, value: &[u8], lease: i64) -> Result<Object, Reason> {
        Ok(match self {
            Self::Pusher(_) | Self::Balancer(_) if lease == 0 => return Err(Reason::NoLease),
            Self::Record(id) => Object::Record(codec::decode_value(id, value)?.into()),
            Self::Hold(_) => Object::Hold(Hold::decode(value)?.into()),
            Self::Split(_) => Object::Split(Split::decode(value)?.into()),
            Self::Pusher(_) => Object::Pusher(PusherStatus::decode(value)?.into()),
            Self::Balancer(_) => Object::Balancer(Balancer::decode(value)?.into()),
            Self::Release(_) => Object::Release(Release::decode(value)?),
        })
    }
}
