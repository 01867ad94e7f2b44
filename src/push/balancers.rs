//! The load balancers that pushers feed, as etcd has them, and which pushers feed them now.

use std::collections::{BTreeMap, BTreeSet};

use super::namesake::Namesake;
use super::settings::Settings;
use crate::etcd::store::Store;
use crate::model::{Balancer, Nonce, PusherId};

/// What the keys of all pushers say about their targets.
#[derive(Debug)]
pub(super) struct Balancers {
    id: PusherId,
    /// This pusher's own keys.
    own: Nonce,
    /// This pusher's targets, as they are shown.
    targets: BTreeSet<String>,
    /// The same as others read them.
    read_back: BTreeSet<String>,
    /// The process of each live pusher.
    live: BTreeMap<PusherId, Nonce>,
    /// The targets of each pusher, live or not, and the processes that wrote them.
    feeding: BTreeMap<PusherId, (Nonce, BTreeSet<String>)>,
}

impl Balancers {
    /// Nothing is known yet.
    pub(super) fn new(settings: &Settings, own: Nonce) -> Self {
        Self {
            id: settings.id.clone(),
            own,
            targets: Balancer::shown(&settings.identities()),
            read_back: Balancer::read_back(&settings.identities()),
            live: BTreeMap::new(),
            feeding: BTreeMap::new(),
        }
    }

    /// Changes this pusher's targets.
    pub(super) fn route(&mut self, settings: &Settings) {
        self.targets = Balancer::shown(&settings.identities());
        self.read_back = Balancer::read_back(&settings.identities());
    }

    /// Applies the current keys; `true` if anything changed.
    pub(super) fn apply(&mut self, store: &Store) -> bool {
        let meta = &store.prefixes().meta;
        let pushers = store.below(&meta.pushers_range());
        let pushers = pushers.filter_map(|(_, item)| item.pusher());
        let live = pushers.map(|(id, status)| (id.clone(), status.nonce.clone()));
        let balancers = store.below(&meta.balancers_range());
        let balancers = balancers.filter_map(|(_, item)| item.balancer());
        let feeding =
            balancers.map(|(id, it)| (id.clone(), (it.nonce.clone(), it.targets.clone())));
        let new = (live.collect(), feeding.collect());
        let news = new
            != (
                std::mem::take(&mut self.live),
                std::mem::take(&mut self.feeding),
            );
        (self.live, self.feeding) = new;
        news
    }

    /// Why this pusher's id is not free, if it is not: another process than a former self has it, or had it last. A
    /// former self that fed only this pusher's targets leaves nothing behind.
    pub(super) fn namesake(&self) -> Option<Namesake> {
        let lives = self.live.get(&self.id);
        let lives = lives.filter(|nonce| **nonce != self.own);
        let fed = self.feeding.get(&self.id);
        let fed = fed.filter(|(author, _)| *author != self.own);
        match (lives, fed) {
            (Some(nonce), Some((author, targets))) if nonce == author => {
                (*targets != self.read_back).then(|| Namesake::Lives(targets.clone()))
            }
            // Between writing its first key and its second.
            (Some(_), _) => Some(Namesake::Unknown),
            (None, Some((_, targets))) => {
                let foreign: BTreeSet<_> = targets - &self.targets;
                (!foreign.is_empty()).then_some(Namesake::Silent(foreign))
            }
            (None, None) => None,
        }
    }

    /// The other live pushers that feed this target too.
    pub(super) fn also_feeding(&self, target: &str) -> Vec<&PusherId> {
        let target = Balancer::read_back(&[target.to_owned()].into());
        let others = self.live.iter().filter(|(_, nonce)| **nonce != self.own);
        let others = others.filter(|(id, nonce)| {
            let feeding = self.feeding.get(*id);
            feeding
                .is_some_and(|(author, targets)| author == *nonce && targets.is_superset(&target))
        });
        others.map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
impl Balancers {
    /// For a pusher of this id and with these targets.
    pub(super) fn of(id: &str, own: &str, targets: &[&str]) -> Self {
        let targets = targets.iter().map(|target| (*target).to_owned());
        let targets: BTreeSet<_> = targets.collect();
        Self {
            id: id.parse().unwrap(),
            own: own.parse().unwrap(),
            read_back: targets.clone(),
            targets,
            live: BTreeMap::new(),
            feeding: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests;
