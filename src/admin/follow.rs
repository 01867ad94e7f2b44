//! The picture as etcd tells it: once, or for as long as it is looked at.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Place;
use super::overview::{Kind, Roster};
use crate::etcd::Error;
use crate::etcd::oneshot::list;
use crate::etcd::watch::{Range, Update, Watcher};
use crate::model::ServiceName;

const KINDS: [Kind; 5] = [
    Kind::Records,
    Kind::Holds,
    Kind::ServiceHolds,
    Kind::HostHolds,
    Kind::Splits,
];

/// How long etcd has to say why it has said nothing.
const LAST_LOOK: Duration = Duration::from_millis(500);

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

/// What a wait for the pushers reads.
#[must_use]
pub fn pusher_ranges(place: &Place) -> [Range; 2] {
    let ranges = [place.meta.pushers_range(), place.meta.balancers_range()];
    ranges.map(|range| Range::Prefix(range.into_bytes()))
}

/// What the picture of a service, or of all, is made of.
#[must_use]
pub fn ranges(place: &Place, only: Option<&ServiceName>) -> [Range; KINDS.len()] {
    KINDS.map(|kind| range(place, kind, only))
}

/// Why etcd has told nothing of these, in words: whoever watches waits for ever, also for a right that is missing. `None` when it
/// tells now.
pub async fn why_silent(place: &Place, ranges: &[Range]) -> Option<String> {
    for range in ranges {
        if let Err(error) = list(&place.cluster, LAST_LOOK, range).await {
            return Some(error.to_string());
        }
    }
    None
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
