//! What is said to this pusher: by the other ones, and by people.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::balancers::Balancers;
use super::settings::Settings;
use crate::etcd::client::Cluster;
use crate::etcd::store::{Delta, Store};
use crate::etcd::watch::{Update, Watcher};
use crate::model::{Kind, Nonce, PusherId, Quarantined};
use crate::target::UpstreamName;
use crate::upstream::overrides::Overrides;
use crate::upstream::records::Effect;
use crate::util::log_limit;

/// What has been said.
#[derive(Debug, Default)]
pub(super) struct Word {
    /// Which others there are is known for the first time, or has changed.
    pub(super) others: bool,
    /// Releases have come or gone.
    pub(super) releases: bool,
    /// Splits and holds have.
    pub(super) overrides: Effect,
    /// Who feeds what has changed.
    pub(super) balancers: bool,
}

impl Word {
    fn matters(&self) -> bool {
        self.others || self.releases || self.balancers || self.overrides != Effect::default()
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
            said: Said {
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
        self.said.overrides.is_listed()
    }

    /// Whether there are others, as far as is known.
    pub(super) fn are_any(&self) -> bool {
        !self.said.others.is_empty()
    }

    /// From now on other services may be routed.
    pub(super) fn route(&mut self, settings: &Settings) {
        self.said.balancers.route(settings);
        if self.said.overrides.route(&settings.services()) {
            // Its listing tells of the new ones.
            self.watcher = Watcher::new(self.cluster.clone(), settings.meta_range());
        }
    }

    /// What people have chosen.
    pub(super) fn overrides(&self) -> &Overrides {
        &self.said.overrides
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
        let first = !self.overrides.is_listed();
        let delta = self.overrides.take(update);
        let store = self.overrides.store();
        warn_of_releases(store, &delta);
        let releases = releases(store);
        if first {
            self.missed = releases.values().cloned().collect();
        }
        let others = others(store, &self.own);
        let word = Word {
            others: first || others != self.others,
            releases: releases != self.releases,
            balancers: self.balancers.hear(store),
            overrides: self.overrides.effect(delta),
        };
        (self.others, self.releases) = (others, releases);
        word
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
    let (unreadable, _) = store.news(delta, &[Kind::Release]);
    for Quarantined { key, reason, .. } in unreadable {
        if let Some(more) = log_limit::allows("release", &key) {
            warn!(%key, %reason, "quarantined: this release cannot be read{more}");
        }
    }
}

#[cfg(test)]
mod tests;
