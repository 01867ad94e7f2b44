//! Reads the overview from etcd: once, or continuously.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;

use super::Place;
use super::overview::{self, KINDS, Overview};
use crate::etcd::Error;
use crate::etcd::former::{self, Formers};
use crate::etcd::oneshot::{list, patiently};
use crate::etcd::range::Range;
use crate::etcd::watch::{Entry, Update, Watcher};
use crate::model::{Kind, ServiceName};

/// Timeout for finding out why etcd does not answer.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// Reads all of one service, or of all services, once.
///
/// # Errors
///
/// When no member answers.
pub async fn read(place: &Place, only: Option<&ServiceName>) -> Result<Overview, Error> {
    let mut overview = Overview::new(place, only.cloned());
    for (kind, range) in KINDS.into_iter().zip(ranges(place, only)) {
        let (revision, entries) = list(&place.cluster, place.patience, &range).await?;
        let update = Update::Listed { revision, entries };
        let unseen = overview.unseen(&update);
        if !unseen.is_empty() {
            overview.recall(recall(place, &unseen).await);
        }
        overview.update(kind, &update);
    }
    Ok(overview)
}

/// The former values of unreadable splits; empty if etcd does not answer in time.
async fn recall(place: &Place, unreadable: &[Entry]) -> Formers {
    let prefixes = place.prefixes();
    let reading = patiently(&place.cluster, LAST_LOOK, async |connection| {
        former::read(connection, &prefixes, unreadable).await
    });
    let read = timeout(LAST_LOOK, reading).await;
    read.ok().and_then(Result::ok).unwrap_or_default()
}

/// The ranges that a wait for the pushers reads.
#[must_use]
pub fn pusher_ranges(place: &Place) -> [Range; 2] {
    let ranges = [place.meta.pushers_range(), place.meta.balancers_range()];
    ranges.map(|range| Range::Prefix(range.into_bytes()))
}

/// The ranges of the overview, of one service or of all.
#[must_use]
pub fn ranges(place: &Place, only: Option<&ServiceName>) -> [Range; KINDS.len()] {
    overview::ranges(&place.prefixes(), only)
}

/// Why etcd does not answer for these ranges, since a watch waits for ever, even for a missing permission. `None` if it
/// answers now.
pub async fn why_silent(place: &Place, ranges: &[Range]) -> Option<Error> {
    for range in ranges {
        if let Err(error) = list(&place.cluster, LAST_LOOK, range).await {
            return Some(error);
        }
    }
    None
}

/// Keeps the overview up to date.
#[derive(Debug)]
pub struct Follow {
    watchers: [Watcher; KINDS.len()],
    overview: Overview,
}

impl Follow {
    /// An empty overview.
    #[must_use]
    pub fn new(place: &Place, only: Option<&ServiceName>) -> Self {
        let watcher = |range| Watcher::new(place.cluster.clone(), range);
        Self {
            watchers: ranges(place, only).map(watcher),
            overview: Overview::new(place, only.cloned()),
        }
    }

    /// The overview; `None` before all of it was received.
    #[must_use]
    pub fn overview(&self) -> Option<&Overview> {
        self.overview.is_listed().then_some(&self.overview)
    }

    /// Waits for changes; returns the keys whose lines may have changed. Never gives up on etcd. Cancel safe.
    pub async fn next(&mut self) -> BTreeSet<Vec<u8>> {
        let [records, holds, services, hosts, splits] = &mut self.watchers;
        let (kind, update) = tokio::select! {
            update = records.next() => (Kind::Record, update),
            update = holds.next() => (Kind::Hold, update),
            update = services.next() => (Kind::ServiceHold, update),
            update = hosts.next() => (Kind::HostHold, update),
            update = splits.next() => (Kind::Split, update),
        };
        self.overview.update(kind, &update)
    }
}
