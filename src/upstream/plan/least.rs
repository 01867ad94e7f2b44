//! Keeps enough servers taking traffic, whatever is planned.

use std::collections::{BTreeMap, BTreeSet};

use super::{Id, Peer, Step};
use crate::model::Endpoint;
use crate::upstream::protection::Protection;

/// Removes and returns the steps that would leave fewer servers taking traffic, as last read, than `min_servers`:
/// servers about to be added may still be refused. A server whose address belongs to another service goes anyway.
///
/// Every server counts. Backups count where no other server is left, and go before others: the last other server goes
/// only in favour of backups that are desired. Servers that no record can name stay together until enough others take
/// traffic, because it is not known which of them answers.
pub fn withhold(steps: &mut Vec<Step>, actual: &[Peer], protection: &Protection) -> Vec<Step> {
    if protection.min_servers == 0 {
        return Vec::new();
    }
    let peers: BTreeMap<Id, &Peer> = actual.iter().map(|peer| (peer.id, peer)).collect();
    let mut left = Left::of(actual, protection);
    if protection.hopeful {
        left.gain(steps, &peers);
    }
    let ending = steps.iter().filter_map(ends);
    let ending = ending.filter_map(|id| peers.get(&id).copied());
    let ending = ending.filter(|peer| peer.serves());
    let (unnamed, mut named): (Vec<&Peer>, Vec<_>) = ending.partition(|peer| peer.is_stranger());
    named.sort_by_key(|peer| !peer.backup);
    named.retain(|peer| {
        let endpoint = peer.endpoint();
        let is_taken = endpoint.is_some_and(|at| protection.taken.contains(&at));
        !left.lose(peer, if is_taken { 0 } else { protection.min_servers })
    });
    for peer in &unnamed {
        left.lose(peer, 0);
    }
    let unnamed = unnamed
        .into_iter()
        .filter(|_| left.count(0) < protection.min_servers);
    let stay: BTreeSet<Id> = named
        .into_iter()
        .chain(unnamed)
        .map(|peer| peer.id)
        .collect();
    let stays = |step: &mut Step| ends(step).is_some_and(|id| stay.contains(&id));
    steps.extract_if(.., stays).collect()
}

/// Whether fewer servers that a record can name take traffic than `min_servers`.
#[must_use]
pub fn is_short(actual: &[Peer], protection: &Protection) -> bool {
    let named = actual.iter().filter(|peer| !peer.is_stranger());
    Left::of(named, protection).count(0) < protection.min_servers
}

/// Why steps are withheld, with this `min_servers`.
#[must_use]
pub fn withheld_for(min_servers: usize) -> String {
    match min_servers {
        1 => {
            "it is the last server that takes traffic (min_servers); it goes when others have come"
                .to_owned()
        }
        _ => format!(
            "fewer than {min_servers} servers would take traffic (min_servers); it goes when others have come"
        ),
    }
}

/// The servers that take traffic: by name, how many of each kind.
#[derive(Debug)]
struct Left<'a> {
    protection: &'a Protection,
    names: BTreeMap<String, Kinds>,
    /// How many names there are of each kind.
    distinct: Kinds,
    /// How many of the backups are desired, not only kept.
    wanted: usize,
}

/// Normal servers, and backups.
type Kinds = [usize; 2];

impl<'a> Left<'a> {
    fn of<'p>(actual: impl IntoIterator<Item = &'p Peer>, protection: &'a Protection) -> Self {
        let mut left = Self {
            protection,
            names: BTreeMap::new(),
            distinct: [0, 0],
            wanted: 0,
        };
        for peer in actual.into_iter().filter(|peer| peer.serves()) {
            left.add(peer.name(), peer.endpoint().as_ref(), peer.backup);
        }
        left
    }

    fn is_spare(&self, endpoint: Option<&Endpoint>) -> bool {
        endpoint.is_none_or(|at| self.protection.spares.contains_key(at))
    }

    fn add(&mut self, name: String, endpoint: Option<&Endpoint>, backup: bool) {
        let kind = usize::from(backup);
        let is_wanted = backup && !self.is_spare(endpoint);
        let count = &mut self.names.entry(name).or_default()[kind];
        *count += 1;
        if *count == 1 {
            self.distinct[kind] += 1;
            self.wanted += usize::from(is_wanted);
        }
    }

    /// Adds the servers that these steps add.
    fn gain(&mut self, steps: &[Step], peers: &BTreeMap<Id, &Peer>) {
        for step in steps {
            match step {
                Step::Add {
                    endpoint,
                    down: false,
                    parameters,
                    ..
                } => self.add(endpoint.to_string(), Some(endpoint), parameters.backup),
                Step::Change {
                    id,
                    endpoint,
                    change,
                } if change.down == Some(false) || change.drain == Some(false) => {
                    if let Some(peer) = peers.get(id).filter(|peer| !peer.serves()) {
                        self.add(peer.name(), Some(endpoint), peer.backup);
                    }
                }
                _ => {}
            }
        }
    }

    /// How many get requests, after the last removal was of this kind.
    fn count(&self, kind: usize) -> usize {
        match (self.distinct, kind) {
            ([0, _], 0) => self.wanted,
            ([0, backups], _) => backups,
            ([others, _], _) => others,
        }
    }

    /// Removes one, unless too few would then get requests. Returns whether it did.
    fn lose(&mut self, peer: &Peer, min_servers: usize) -> bool {
        let (kind, before) = (usize::from(peer.backup), self.count(1));
        let endpoint = peer.endpoint();
        let is_wanted = peer.backup && !self.is_spare(endpoint.as_ref());
        let Some(counts) = self.names.get_mut(&peer.name()) else {
            return true;
        };
        let is_last = counts.iter().sum::<usize>() == 1;
        counts[kind] -= 1;
        if counts[kind] == 0 {
            self.distinct[kind] -= 1;
            self.wanted -= usize::from(is_wanted);
        }
        let after = self.count(kind);
        if is_last && after < min_servers && after < before {
            self.add(peer.name(), endpoint.as_ref(), peer.backup);
            return false;
        }
        true
    }
}

/// The server that takes no traffic any more after this step.
fn ends(step: &Step) -> Option<Id> {
    match step {
        Step::Remove { id, .. } | Step::Drain { id, .. } => Some(*id),
        Step::Change { id, change, .. } if change.down == Some(true) => Some(*id),
        Step::Add { .. } | Step::Change { .. } | Step::Write { .. } => None,
    }
}

#[cfg(test)]
mod tests;
