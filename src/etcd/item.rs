//! One key and its value, parsed.

use tokio::time::Instant;

use super::former::Former;
use crate::model::{
    Balancer, Hold, HoldScope, InstanceId, Instead, Kind, Object, PusherId, PusherStatus,
    Quarantined, Reason, Record, Release, ServiceName, Split, Subject,
};
use crate::util::sanitize::printable;

/// One key and its value, parsed.
#[derive(Debug, Clone)]
pub struct Item {
    /// The kind of the key.
    pub kind: Kind,
    /// The service that the key names.
    pub service: Option<ServiceName>,
    /// The subject of the key; `None` if it cannot be read.
    pub subject: Option<Subject>,
    /// The value, or why key or value cannot be read.
    pub object: Result<Object, Reason>,
    /// The former value of a split that is now unreadable.
    pub(super) former: Former,
    /// The revision of the last write.
    pub revision: i64,
    /// The key's lease; 0 for none.
    pub lease: i64,
    /// Since when a record has had its address.
    pub since: Instant,
}

impl Item {
    /// Takes over the parts of the former item that outlive a write. `recalled` is a split's value in etcd's history.
    pub(super) fn succeed(&mut self, before: Option<&Self>, recalled: Option<Former>) {
        if self.kind == Kind::Split && self.object.is_err() {
            let seen = before.map(|before| match &before.object {
                Ok(object) => Former::Stands(object.clone()),
                Err(_) => before.former.clone(),
            });
            self.former = match (recalled, seen) {
                (None | Some(Former::Unknown(_)), Some(seen)) => seen,
                (recalled, _) => recalled.unwrap_or_default(),
            };
        }
        let Some(before) = before else {
            return;
        };
        let address = |item: &Self| item.record().map(|it| (it.protocol, it.endpoint.clone()));
        if let Some(address_now) = address(self)
            && address(before) == Some(address_now)
        {
            self.since = before.since;
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        let told = |item: &Self| (item.revision, item.lease);
        told(self) == told(other) && self.object == other.object
    }

    /// Why it cannot be read; `None` if it can.
    #[must_use]
    pub fn quarantined(&self, key: &[u8]) -> Option<Quarantined> {
        let reason = self.object.as_ref().err()?.clone();
        let (key, service) = (shown(key), self.service.clone());
        let instead = match self.former {
            Former::Nothing => Instead::Nothing,
            Former::Stands(_) => Instead::Former,
            Former::Unknown(why) => Instead::Unknown(why),
        };
        Some(Quarantined {
            key,
            service,
            reason,
            instead,
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

    /// The instance of a record, and the record.
    #[must_use]
    pub fn instance(&self) -> Option<(&InstanceId, &Record)> {
        match &self.subject {
            Some(Subject::Record(id)) => Some((id, self.record()?)),
            _ => None,
        }
    }

    /// The scope of a hold, and the hold or why it cannot be read: an unreadable one still holds, because its author
    /// wanted that.
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

    /// The split; an unreadable one changes nothing, so its former value stays.
    #[must_use]
    pub fn split(&self) -> Option<&Split> {
        match (&self.object, &self.former) {
            (Ok(Object::Split(split)), _) | (Err(_), Former::Stands(Object::Split(split))) => {
                Some(split)
            }
            _ => None,
        }
    }

    /// The pusher of a status record, and its status.
    #[must_use]
    pub fn pusher(&self) -> Option<(&PusherId, &PusherStatus)> {
        match (&self.subject, &self.object) {
            (Some(Subject::Pusher(id)), Ok(Object::Pusher(status))) => Some((id, status)),
            _ => None,
        }
    }

    /// The pusher of a balancer key, and its value.
    #[must_use]
    pub fn balancer(&self) -> Option<(&PusherId, &Balancer)> {
        match (&self.subject, &self.object) {
            (Some(Subject::Balancer(id)), Ok(Object::Balancer(balancer))) => Some((id, balancer)),
            _ => None,
        }
    }

    /// The upstream of a release, unchecked, and the release.
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
