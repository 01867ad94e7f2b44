//! The picture as etcd tells it: once, or for as long as it is looked at.

use std::collections::BTreeSet;

use super::Place;
use super::roster::{Kind, Roster};
use crate::record::ServiceName;
use crate::registry::Error;
use crate::registry::oneshot::list;
use crate::registry::watch::{Range, Update, Watcher};

const KINDS: [Kind; 5] = [
    Kind::Records,
    Kind::Holds,
    Kind::ServiceHolds,
    Kind::HostHolds,
    Kind::Splits,
];

/// Reads all of one service, or of all services, once.
///
/// # Errors
///
/// When no member answers.
pub async fn read(place: &Place, only: Option<&ServiceName>) -> Result<Roster, Error> {
    let mut roster = Roster::new(place, only.cloned());
    for kind in KINDS {
        let (revision, entries) =
            list(&place.cluster, place.patience, &range(place, kind, only)).await?;
        roster.update(kind, &Update::Listed { revision, entries });
    }
    Ok(roster)
}

pub(super) fn range(place: &Place, kind: Kind, only: Option<&ServiceName>) -> Range {
    let prefix = match kind {
        Kind::Records => place.prefix.service_range(only),
        Kind::Holds => place.meta.holds_range(),
        Kind::ServiceHolds => place.meta.service_holds_range(),
        Kind::HostHolds => place.meta.host_holds_range(),
        Kind::Splits => place.meta.splits_range(),
    };
    Range::Prefix(prefix.into_bytes())
}

/// Keeps the picture true.
#[derive(Debug)]
pub struct Follow {
    watchers: [Watcher; KINDS.len()],
    listed: [bool; KINDS.len()],
    roster: Roster,
}

impl Follow {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(place: &Place, only: Option<&ServiceName>) -> Self {
        let watcher = |kind| Watcher::new(place.cluster.clone(), range(place, kind, only));
        Self {
            watchers: KINDS.map(watcher),
            listed: [false; KINDS.len()],
            roster: Roster::new(place, only.cloned()),
        }
    }

    /// The picture; `None` before all of it was told.
    #[must_use]
    pub fn roster(&self) -> Option<&Roster> {
        self.listed
            .iter()
            .all(|listed| *listed)
            .then_some(&self.roster)
    }

    /// Waits for news; gives the keys whose lines may have changed. Never gives up on etcd. Cancel safe.
    pub async fn next(&mut self) -> BTreeSet<Vec<u8>> {
        let [records, holds, services, hosts, splits] = &mut self.watchers;
        let (kind, update) = tokio::select! {
            update = records.next() => (Kind::Records, update),
            update = holds.next() => (Kind::Holds, update),
            update = services.next() => (Kind::ServiceHolds, update),
            update = hosts.next() => (Kind::HostHolds, update),
            update = splits.next() => (Kind::Splits, update),
        };
        if matches!(update, Update::Listed { .. }) {
            for (listed, of) in self.listed.iter_mut().zip(KINDS) {
                *listed |= of == kind;
            }
        }
        self.roster.update(kind, &update)
    }
}
