//! What this pusher reads below the meta prefix: other pushers, holds, splits, releases, balancers.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;
use tracing::warn;

use super::balancers::Balancers;
use super::settings::Settings;
use crate::etcd::client::Cluster;
use crate::etcd::recall::Recall;
use crate::etcd::store::{Delta, Store};
use crate::etcd::watch::{Update, Watcher};
use crate::model::{Kind, Nonce, PusherId, Quarantined};
use crate::target::UpstreamName;
use crate::upstream::overrides::Overrides;
use crate::upstream::records::Effect;
use crate::util::log_limit;

/// What an update changed.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// Which others there are is known for the first time, or has changed.
    pub(super) others: bool,
    /// Releases have come or gone.
    pub(super) releases: bool,
    /// Splits and holds have.
    pub(super) overrides: Effect,
    /// Who feeds what has changed.
    pub(super) balancers: bool,
}

impl Message {
    fn matters(&self) -> bool {
        self.others || self.releases || self.balancers || self.overrides != Effect::default()
    }
}

/// Watches it.
#[derive(Debug)]
pub(super) struct Peers {
    cluster: Cluster,
    watcher: Watcher,
    /// What the watcher told last, until it is complete.
    told: Option<Recall>,
    known: Known,
}

/// All that is known of it. Pure.
#[derive(Debug)]
struct Known {
    /// Which status record is the own one.
    own: Nonce,
    /// Which process each of the others is.
    others: BTreeMap<PusherId, Nonce>,
    releases: BTreeMap<UpstreamName, Nonce>,
    /// Those that were given before this pusher listened: they were meant for what others protected then.
    missed: BTreeSet<Nonce>,
    /// Everything below the meta prefix.
    overrides: Overrides,
    balancers: Balancers,
}

impl Peers {
    pub(super) fn new(cluster: &Cluster, settings: &Settings, own: Nonce) -> Self {
        let range = settings.meta_range();
        Self {
            cluster: cluster.clone(),
            watcher: Watcher::new(cluster.clone(), range),
            told: None,
            known: Known {
                balancers: Balancers::new(settings, own.clone()),
                own,
                others: BTreeMap::new(),
                releases: BTreeMap::new(),
                missed: BTreeSet::new(),
                overrides: Overrides::new(settings.meta.clone(), settings.services()),
            },
        }
    }

    /// The next that matters. Cancel safe.
    pub(super) async fn next(&mut self) -> Message {
        loop {
            let Some(told) = &mut self.told else {
                let update = self.watcher.next().await;
                let store = self.known.overrides.store();
                self.told = Some(Recall::new(&self.cluster, store, update));
                continue;
            };
            self.known.overrides.recall(told.done().await);
            let message = self.known.apply(&told.update);
            self.told = None;
            if message.matters() {
                return message;
            }
        }
    }

    /// Whether it is known who the others are and which overrides there are.
    pub(super) fn is_listed(&self) -> bool {
        self.known.overrides.is_listed()
    }

    /// Why it is not known, in words.
    pub(super) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.watcher.trouble()
    }

    /// Whether there are others, as far as is known.
    pub(super) fn are_any(&self) -> bool {
        !self.known.others.is_empty()
    }

    /// From now on other services may be routed.
    pub(super) fn route(&mut self, settings: &Settings) {
        self.known.balancers.route(settings);
        if self.known.overrides.route(&settings.services()) {
            // Its listing has the new ones.
            self.watcher = Watcher::new(self.cluster.clone(), settings.meta_range());
            self.told = None;
        }
    }

    /// Holds and splits.
    pub(super) fn overrides(&self) -> &Overrides {
        &self.known.overrides
    }

    /// Who feeds what.
    pub(super) fn balancers(&self) -> &Balancers {
        &self.known.balancers
    }

    /// The releases that stand.
    pub(super) fn releases(&self) -> &BTreeMap<UpstreamName, Nonce> {
        &self.known.releases
    }

    /// Whether this pusher listened when a release was given.
    pub(super) fn listened_to(&self, release: &Nonce) -> bool {
        !self.known.missed.contains(release)
    }
}

impl Known {
    fn apply(&mut self, update: &Update) -> Message {
        let first = !self.overrides.is_listed();
        let delta = self.overrides.take(update);
        let store = self.overrides.store();
        warn_of_releases(store, &delta);
        let releases = releases(store);
        if first {
            self.missed = releases.values().cloned().collect();
        }
        let others = others(store, &self.own);
        let message = Message {
            others: first || others != self.others,
            releases: releases != self.releases,
            balancers: self.balancers.apply(store),
            overrides: self.overrides.effect(delta),
        };
        (self.others, self.releases) = (others, releases);
        message
    }
}

/// Which process each of the other pushers is. The announcers say it where a status record cannot be read.
fn others(store: &Store, own: &Nonce) -> BTreeMap<PusherId, Nonce> {
    let range = store.prefixes().meta.pushers_range();
    let pushers = store.below(&range).filter_map(|(_, item)| item.pusher());
    let others = pushers.filter(|(_, status)| status.nonce != *own);
    others
        .map(|(id, status)| (id.clone(), status.nonce.clone()))
        .collect()
}

fn releases(store: &Store) -> BTreeMap<UpstreamName, Nonce> {
    let range = store.prefixes().meta.releases_range();
    let releases = store.below(&range).filter_map(|(_, item)| item.release());
    let known =
        releases.filter_map(|(upstream, it)| Some((upstream.parse().ok()?, it.nonce.clone())));
    known.collect()
}

fn warn_of_releases(store: &Store, delta: &Delta) {
    let (quarantined, _) = store.news(delta, &[Kind::Release]);
    for Quarantined { key, reason, .. } in quarantined {
        if let Some(more) = log_limit::allows("release", &key) {
            warn!(%key, %reason, "quarantined: this release cannot be read{more}");
        }
    }
}

#[cfg(test)]
mod tests;
