//! What is said to this pusher: by the other ones, and by people.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::balancers::Balancers;
use super::settings::Settings;
use crate::etcd::client::Cluster;
use crate::etcd::watch::{Change, Entry, Update, Watcher};
use crate::model::{MetaPrefix, Nonce, Presence, PusherId, Release};
use crate::target::UpstreamName;
use crate::upstream::desired::{Choices, Effect};

/// What has been said.
#[derive(Debug, Default)]
pub(super) struct Word {
    /// Which others there are is known for the first time, or has changed.
    pub(super) others: bool,
    /// Releases have come or gone.
    pub(super) releases: bool,
    /// Splits and holds have.
    pub(super) choices: Effect,
    /// Who feeds what has changed.
    pub(super) balancers: bool,
}

impl Word {
    fn matters(&self) -> bool {
        self.others || self.releases || self.balancers || self.choices != Effect::default()
    }
}

/// Hears what is said.
#[derive(Debug)]
pub(super) struct Peers {
    cluster: Cluster,
    watcher: Watcher,
    said: Said,
}

/// All that is said at the moment. Pure.
#[derive(Debug)]
struct Said {
    meta: MetaPrefix,
    /// Which presence is the own one.
    own: Nonce,
    listed: bool,
    /// Which process each of the others is.
    others: BTreeMap<PusherId, Nonce>,
    releases: BTreeMap<UpstreamName, Nonce>,
    /// Those that were given before this pusher listened: they were meant for what others kept then.
    missed: BTreeSet<Nonce>,
    choices: Choices,
    balancers: Balancers,
}

impl Peers {
    pub(super) fn new(cluster: &Cluster, settings: &Settings, own: Nonce) -> Self {
        let range = settings.meta_range();
        Self {
            cluster: cluster.clone(),
            watcher: Watcher::new(cluster.clone(), range),
            said: Said {
                meta: settings.meta.clone(),
                balancers: Balancers::new(settings, own.clone()),
                own,
                listed: false,
                others: BTreeMap::new(),
                releases: BTreeMap::new(),
                missed: BTreeSet::new(),
                choices: Choices::new(settings.meta.clone(), settings.services()),
            },
        }
    }

    /// The next that matters. Cancel safe.
    pub(super) async fn next(&mut self) -> Word {
        loop {
            let update = self.watcher.next().await;
            let word = self.said.hear(&update);
            if word.matters() {
                return word;
            }
        }
    }

    /// Whether it is known who the others are and what people have chosen.
    pub(super) fn is_listed(&self) -> bool {
        self.said.listed
    }

    /// Whether there are others, as far as is known.
    pub(super) fn are_any(&self) -> bool {
        !self.said.others.is_empty()
    }

    /// From now on other services may be routed.
    pub(super) fn route(&mut self, settings: &Settings) {
        self.said.balancers.route(settings);
        if self.said.choices.route(&settings.services()) {
            // Its listing tells of the new ones.
            self.watcher = Watcher::new(self.cluster.clone(), settings.meta_range());
        }
    }

    /// What people have chosen.
    pub(super) fn choices(&self) -> &Choices {
        &self.said.choices
    }

    /// Who feeds what.
    pub(super) fn balancers(&self) -> &Balancers {
        &self.said.balancers
    }

    /// The releases that stand.
    pub(super) fn releases(&self) -> &BTreeMap<UpstreamName, Nonce> {
        &self.said.releases
    }

    /// Whether this pusher listened when a release was given.
    pub(super) fn has_heard(&self, release: &Nonce) -> bool {
        !self.said.missed.contains(release)
    }
}

impl Said {
    fn hear(&mut self, update: &Update) -> Word {
        let first = !std::mem::replace(&mut self.listed, true);
        let releases = self.hear_releases(update);
        if first {
            self.missed = self.releases.values().cloned().collect();
        }
        Word {
            others: self.hear_presences(update) || first,
            releases,
            choices: self.choices.update(update),
            balancers: self.balancers.hear(update),
        }
    }

    /// Whether there are others than before.
    fn hear_presences(&mut self, update: &Update) -> bool {
        let before = self.others.clone();
        match update {
            Update::Listed { entries, .. } => {
                self.others.clear();
                entries.iter().for_each(|entry| self.note(entry));
            }
            Update::Changed { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Put(entry) => self.note(entry),
                        Change::Deleted { key, .. } => {
                            let id = self.meta.pusher(key);
                            id.map(|id| self.others.remove(&id));
                        }
                    }
                }
            }
        }
        before != self.others
    }

    fn note(&mut self, entry: &Entry) {
        let Some(id) = self.meta.pusher(&entry.key) else {
            return;
        };
        self.others.remove(&id);
        // A pusher's key ends with its pusher: what has no lease was written by somebody else.
        if entry.lease == 0 {
            return;
        }
        // The announcers say it where a presence cannot be read.
        if let Ok(presence) = Presence::decode(&entry.value)
            && presence.nonce != self.own
        {
            self.others.insert(id, presence.nonce);
        }
    }

    fn hear_releases(&mut self, update: &Update) -> bool {
        let before = self.releases.clone();
        match update {
            Update::Listed { entries, .. } => {
                self.releases.clear();
                entries.iter().for_each(|entry| self.take(entry));
            }
            Update::Changed { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Put(entry) => self.take(entry),
                        Change::Deleted { key, .. } => {
                            let upstream = self.upstream(key);
                            upstream.map(|upstream| self.releases.remove(&upstream));
                        }
                    }
                }
            }
        }
        before != self.releases
    }

    fn take(&mut self, entry: &Entry) {
        let Some(upstream) = self.upstream(&entry.key) else {
            return;
        };
        match Release::decode(&entry.value) {
            Ok(release) => {
                self.releases.insert(upstream, release.nonce);
            }
            Err(reason) => {
                if let Some(more) = crate::util::log_limit::allows("release", upstream.as_str()) {
                    warn!(%upstream, %reason, "ignoring a release: it cannot be read{more}");
                }
            }
        }
    }

    fn upstream(&self, key: &[u8]) -> Option<UpstreamName> {
        self.meta.released(key)?.parse().ok()
    }
}

#[cfg(test)]
mod tests;
