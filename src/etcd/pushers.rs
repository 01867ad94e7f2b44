//! What every load balancer has applied, and which of them are silent: the announcer's end of the closed chain.
//!
//! A pusher tells by two keys. Its status record lives as long as it does and says what it has applied. Its balancer key
//! outlives it: nginx goes on routing what it was told, whether its pusher was stopped, restarted, killed or frozen. So a
//! balancer without a live pusher is *unknown*, and whoever waits for all of them waits for its pusher's return.

mod answers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use answers::{Applied, Doubt, Leaving, Obstacle, Routed};
pub(crate) use answers::{joined, names, unlisted};

use super::client::Cluster;
use super::watch::{Change, Entry, Range, Update, Watcher};
use crate::model::{Balancer, MetaPrefix, Presence, PusherId};
use crate::util::log_limit;

/// The pushers and their balancers, as their keys tell.
#[derive(Debug, Default)]
pub struct Pushers {
    /// The live ones.
    presences: BTreeMap<PusherId, Live>,
    /// Those that may route, whether or not their pusher lives.
    balancers: BTreeMap<PusherId, Balancer>,
    /// The newest revision of etcd seen here.
    revision: i64,
}

/// A live pusher.
#[derive(Debug)]
struct Live {
    presence: Presence,
    /// When it was written.
    revision: i64,
}

/// Which of a pusher's keys an update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Presence,
    Balancer,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// A revision of the service's records.
    Records(i64),
    /// A revision of its split and holds.
    Choices(i64),
}

impl Pushers {
    /// What each live one tells.
    pub fn presences(&self) -> impl Iterator<Item = (&PusherId, &Presence)> {
        self.presences.iter().map(|(id, live)| (id, &live.presence))
    }

    /// Takes in what the watch of one kind of keys tells.
    fn update(&mut self, meta: &MetaPrefix, kind: Kind, update: Update) {
        match update {
            Update::Listed { revision, entries } => {
                match kind {
                    Kind::Presence => {
                        self.revision = revision;
                        self.presences.clear();
                    }
                    Kind::Balancer => self.balancers.clear(),
                }
                for entry in &entries {
                    self.put(meta, kind, entry);
                }
            }
            Update::Changed { revision, changes } => {
                if kind == Kind::Presence {
                    self.revision = self.revision.max(revision);
                }
                for change in &changes {
                    match change {
                        Change::Put(entry) => self.put(meta, kind, entry),
                        Change::Deleted { key, .. } => self.forget(meta, kind, key),
                    }
                }
            }
        }
    }

    fn forget(&mut self, meta: &MetaPrefix, kind: Kind, key: &[u8]) {
        match kind {
            Kind::Presence => {
                meta.pusher(key).map(|id| self.presences.remove(&id));
            }
            Kind::Balancer => {
                meta.balancer(key).map(|id| self.balancers.remove(&id));
            }
        }
    }

    /// An unreadable status record is as good as none: nobody can wait for what it does not say. What hangs on no lease was
    /// written by no pusher, or is left over from a restored etcd.
    fn put(&mut self, meta: &MetaPrefix, kind: Kind, entry: &Entry) {
        self.forget(meta, kind, &entry.key);
        let id = match kind {
            Kind::Presence => meta.pusher(&entry.key),
            Kind::Balancer => meta.balancer(&entry.key),
        };
        let Some(id) = id else {
            return;
        };
        let what = match kind {
            Kind::Presence => "the status record of a pusher",
            Kind::Balancer => "the balancer key of a pusher",
        };
        if entry.lease == 0 {
            if let Some(more) = log_limit::allows("a key without a lease", id.as_str()) {
                tracing::warn!(%id, "ignoring {what}: it has no lease, so no pusher keeps it{more}");
            }
            return;
        }
        let read = match kind {
            Kind::Presence => Presence::decode(&entry.value).map(|presence| {
                let revision = entry.mod_revision;
                let live = Live { presence, revision };
                self.presences.insert(id.clone(), live);
            }),
            Kind::Balancer => Balancer::decode(&entry.value).map(|balancer| {
                self.balancers.insert(id.clone(), balancer);
            }),
        };
        if let Err(reason) = read
            && let Some(more) = log_limit::allows(what, id.as_str())
        {
            tracing::warn!(%id, %reason, "ignoring {what}: it cannot be read{more}");
        }
    }
}

/// Waits for pushers.
#[derive(Debug)]
pub struct Watch {
    cluster: Cluster,
    presences: Watcher,
    balancers: Watcher,
    meta: MetaPrefix,
    pushers: Pushers,
    /// Nothing is known before the first listing of both.
    listed: (bool, bool),
}

impl Watch {
    /// A watch that has not asked yet.
    #[must_use]
    pub fn new(cluster: Cluster, meta: MetaPrefix) -> Self {
        let watcher = |range: String| {
            let range = Range::Prefix(range.into_bytes());
            Watcher::new(cluster.clone(), range)
        };
        Self {
            presences: watcher(meta.pushers_range()),
            balancers: watcher(meta.balancers_range()),
            cluster,
            meta,
            pushers: Pushers::default(),
            listed: (false, false),
        }
    }

    /// Forgets what it has heard, which ages while nobody waits: a pusher that was restarted meanwhile would be found gone
    /// before it is found back.
    pub fn forget(&mut self) {
        *self = Self::new(self.cluster.clone(), self.meta.clone());
    }

    /// The pushers; `None` before etcd has told of them.
    #[must_use]
    pub fn heard(&self) -> Option<&Pushers> {
        (self.listed == (true, true)).then_some(&self.pushers)
    }

    /// The pushers as far as etcd has told of them.
    #[must_use]
    pub fn known(&self) -> &Pushers {
        &self.pushers
    }

    /// Waits for news of any pusher. Waits for ever while etcd cannot be heard. Cancel safe.
    pub async fn changed(&mut self) {
        let (kind, update) = tokio::select! {
            update = self.presences.next() => (Kind::Presence, update),
            update = self.balancers.next() => (Kind::Balancer, update),
        };
        if matches!(update, Update::Listed { .. }) {
            match kind {
                Kind::Presence => self.listed.0 = true,
                Kind::Balancer => self.listed.1 = true,
            }
        }
        self.pushers.update(&self.meta, kind, update);
    }

    /// Waits until `enough` says yes about the pushers; it is asked again after every change. Waits for ever while etcd
    /// cannot be heard. Cancel safe.
    pub async fn until_so(&mut self, mut enough: impl FnMut(&Pushers) -> bool) {
        while !self.heard().is_some_and(&mut enough) {
            self.changed().await;
        }
    }
}
