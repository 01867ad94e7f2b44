//! One key and its value, as they were read.

use tokio::time::Instant;

use crate::model::{
    Balancer, Hold, HoldScope, InstanceId, Kind, Object, PusherId, PusherStatus, Quarantined,
    Reason, Record, Release, ServiceName, Split, Subject,
};
use crate::util::sanitize::printable;

/// One key and its value, as they were read.
#[derive(Debug, Clone)]
pub struct Item {
    /// The kind of the key.
    pub kind: Kind,
    /// The service that the key names.
    pub service: Option<ServiceName>,
    /// What the key is about; `None` when it cannot be read.
    pub subject: Option<Subject>,
    /// What the value says, or why key or value cannot be read.
    pub object: Result<Object, Reason>,
    /// What a split said before it became unreadable: that stands.
    pub(super) former: Option<Object>,
    /// The revision of the last write.
    pub revision: i64,
    /// The key's lease; 0 for none.
    pub lease: i64,
    /// Since when a record has named its address.
    pub since: Instant,
}

impl Item {
    /// Takes over from what stood there before what outlives a write.
    pub(super) fn succeed(&mut self, before: &Self) {
        let address = |item: &Self| item.record().map(|it| (it.protocol, it.endpoint.clone()));
        if let Some(address_now) = address(self)
            && address(before) == Some(address_now)
        {
            self.since = before.since;
        }
        if self.kind == Kind::Split && self.object.is_err() {
            let object = before.object.as_ref().ok();
            self.former = object.or(before.former.as_ref()).cloned();
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        let told = |item: &Self| (item.revision, item.lease);
        told(self) == told(other) && self.object == other.object
    }

    /// Why it cannot be read; `None` when it can.
    #[must_use]
    pub fn quarantined(&self, key: &[u8]) -> Option<Quarantined> {
        let reason = self.object.as_ref().err()?.clone();
        let (key, service) = (shown(key), self.service.clone());
        Some(Quarantined {
            key,
            service,
            reason,
        })
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match &self.object {
            Ok(Object::Record(record)) => Some(record),
            _ => None,
        }
    }

    /// The instance whose record it is, and the record.
    #[must_use]
    pub fn instance(&self) -> Option<(&InstanceId, &Record)> {
        match &self.subject {
            Some(Subject::Record(id)) => Some((id, self.record()?)),
            _ => None,
        }
    }

    /// What is held, and the hold, or why that cannot be read: an unreadable one still holds, as whoever wrote it wanted that.
    #[must_use]
    pub fn hold(&self) -> Option<(&HoldScope, Result<&Hold, &Reason>)> {
        let Some(Subject::Hold(scope)) = &self.subject else {
            return None;
        };
        match &self.object {
            Ok(Object::Hold(hold)) => Some((scope, Ok(hold))),
            Err(reason) => Some((scope, Err(reason))),
            Ok(_) => None,
        }
    }

    /// The split; one that cannot be read changes nothing, so the one before it stands.
    #[must_use]
    pub fn split(&self) -> Option<&Split> {
        match self.object.as_ref().ok().or(self.former.as_ref()) {
            Some(Object::Split(split)) => Some(split),
            _ => None,
        }
    }

    /// The pusher whose status record it is, and what that says.
    #[must_use]
    pub fn pusher(&self) -> Option<(&PusherId, &PusherStatus)> {
        match (&self.subject, &self.object) {
            (Some(Subject::Pusher(id)), Ok(Object::Pusher(status))) => Some((id, status)),
            _ => None,
        }
    }

    /// The pusher whose balancer key it is, and what that says.
    #[must_use]
    pub fn balancer(&self) -> Option<(&PusherId, &Balancer)> {
        match (&self.subject, &self.object) {
            (Some(Subject::Balancer(id)), Ok(Object::Balancer(balancer))) => Some((id, balancer)),
            _ => None,
        }
    }

    /// The upstream that is to follow its records, unchecked, and the release.
    #[must_use]
    pub fn release(&self) -> Option<(&str, &Release)> {
        match (&self.subject, &self.object) {
            (Some(Subject::Release(upstream)), Ok(Object::Release(release))) => {
                Some((upstream, release))
            }
            _ => None,
        }
    }
}

pub(super) fn shown(key: &[u8]) -> String {
    printable(key, 300)
}
