//! What every load balancer has applied, and which of them are silent, for announcers and commands that wait.
//!
//! A pusher has two keys. Its status record lives as long as the pusher and says what it has applied. Its balancer key
//! outlives it: nginx keeps routing when its pusher was stopped, restarted, killed or frozen. So a
//! balancer without a live pusher is *unknown*, and a wait for all of them waits for its pusher's return.

mod answers;
#[cfg(test)]
mod tests;

pub use answers::{Applied, Doubt, Leaving, Obstacle, Routed};
pub(crate) use answers::{joined, names, unlisted};

use super::client::Cluster;
use super::range::Range;
use super::store::Store;
use super::watch::{Update, Watcher};
use crate::model::{Balancer, Kind, MetaPrefix, Prefixes, PusherId, PusherStatus, Quarantined};
use crate::util::log_limit;

/// The pushers and their balancers, from their keys.
#[derive(Debug)]
pub struct Pushers {
    store: Store,
    /// The newest revision of etcd seen here.
    revision: i64,
}

/// The ranges of a store of pushers, by place.
const STATUS: usize = 0;
const BALANCERS: usize = 1;

/// A live pusher.
#[derive(Debug, Clone, Copy)]
struct Live<'a> {
    id: &'a PusherId,
    status_record: &'a PusherStatus,
    /// When it was written.
    revision: i64,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// A revision of the service's records.
    Records(i64),
    /// A revision of its split and holds.
    Overrides(i64),
}

impl Pushers {
    fn new(meta: MetaPrefix) -> Self {
        let ranges = ranges(&meta);
        let prefixes = Prefixes {
            meta,
            ..Prefixes::default()
        };
        Self {
            store: Store::new(prefixes, ranges, None),
            revision: 0,
        }
    }

    /// The status of each live pusher.
    pub fn status_records(&self) -> impl Iterator<Item = (&PusherId, &PusherStatus)> {
        self.live().map(|live| (live.id, live.status_record))
    }

    fn live(&self) -> impl Iterator<Item = Live<'_>> {
        let items = self
            .store
            .below(&self.store.prefixes().meta.pushers_range());
        items.filter_map(|(_, item)| {
            let (id, status_record) = item.pusher()?;
            let revision = item.revision;
            Some(Live {
                id,
                status_record,
                revision,
            })
        })
    }

    /// The balancers that may route, with or without a live pusher.
    fn balancers(&self) -> impl Iterator<Item = (&PusherId, &Balancer)> {
        let range = self.store.prefixes().meta.balancers_range();
        let items = self.store.below(&range);
        items.filter_map(|(_, item)| item.balancer())
    }

    /// Applies an update of one kind of keys. An unreadable status record counts as none: nobody can wait for
    /// its contents.
    fn update(&mut self, part: usize, update: &Update) {
        if part == STATUS {
            self.revision = match update {
                Update::Listed { revision, .. } => *revision,
                Update::Changed { revision, .. } => self.revision.max(*revision),
            };
        }
        let delta = self.store.update(part, update);
        let (unreadable, _) = self.store.news(&delta, &[Kind::Pusher, Kind::Balancer]);
        for Quarantined { key, reason, .. } in unreadable {
            if let Some(more) = log_limit::allows("the key of a pusher", &key) {
                tracing::warn!("ignoring {key}: {reason}{more}");
            }
        }
    }
}

fn ranges(meta: &MetaPrefix) -> [Range; 2] {
    let ranges = [meta.pushers_range(), meta.balancers_range()];
    ranges.map(|range| Range::Prefix(range.into_bytes()))
}

/// Waits for pushers.
#[derive(Debug)]
pub struct Watch {
    cluster: Cluster,
    watchers: [Watcher; 2],
    pushers: Pushers,
}

impl Watch {
    /// A watch that has not started yet.
    #[must_use]
    pub fn new(cluster: Cluster, meta: MetaPrefix) -> Self {
        let watcher = |range| Watcher::new(cluster.clone(), range);
        Self {
            watchers: ranges(&meta).map(watcher),
            cluster,
            pushers: Pushers::new(meta),
        }
    }

    /// Drops stale state and lists again: otherwise a pusher that was restarted in the meantime would first
    /// disappear and then return.
    pub fn forget(&mut self) {
        let meta = self.pushers.store.prefixes().meta.clone();
        *self = Self::new(self.cluster.clone(), meta);
    }

    /// The pushers; `None` before the first listing.
    #[must_use]
    pub fn listed(&self) -> Option<&Pushers> {
        self.pushers.store.is_listed().then_some(&self.pushers)
    }

    /// The pushers as far as known.
    #[must_use]
    pub fn known(&self) -> &Pushers {
        &self.pushers
    }

    /// Waits until any pusher changes. Waits for ever while etcd is unreachable. Cancel safe.
    pub async fn changed(&mut self) {
        let [status, balancers] = &mut self.watchers;
        let (part, update) = tokio::select! {
            update = status.next() => (STATUS, update),
            update = balancers.next() => (BALANCERS, update),
        };
        self.pushers.update(part, &update);
    }

    /// Waits until `enough` accepts the pushers; it is called after every change. Waits for ever while etcd
    /// is unreachable. Cancel safe.
    pub async fn until_so(&mut self, mut enough: impl FnMut(&Pushers) -> bool) {
        while !self.listed().is_some_and(&mut enough) {
            self.changed().await;
        }
    }
}
