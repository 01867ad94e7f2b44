//! The difference between the desired and the actual upstream, as ordered steps.
//!
//! Pure. Applying a plan and reading back gives the next plan; the upstream is as desired when there are no steps
//! left and nothing to [wait](Plan::waiting) for.

use std::collections::BTreeMap;

use crate::model::{Endpoint, State};
use crate::upstream::server::{Server, Servers};
use crate::util::sanitize::short;

mod backups;
mod drain;
mod least;
mod peer;
mod setting;
mod step;

pub use backups::without_backups;
pub use drain::Drains;
pub use least::{is_short, withheld_for, withhold};
pub use peer::{Peer, Serving, Tuning, taking_traffic};
pub use setting::{Setting, read_time, write_time};
pub use step::{Cause, Change, Id, Step};

/// Requests in flight on each server, by id, where known.
pub type Activity = BTreeMap<Id, u64>;

/// The steps to take, and what to wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps: add, then change, then drain, then remove, so that a swap never passes through an empty upstream.
    pub steps: Vec<Step>,
    /// The draining servers, with their requests in flight where known.
    pub waiting: Vec<(Endpoint, Option<u64>)>,
    /// The servers that take traffic and would take none any more, if a record can name them.
    pub leaving: Vec<Serving>,
    /// The steps that are left out, because too few servers would take traffic.
    pub withheld: Vec<Step>,
}

/// Compares the actual upstream with the desired one.
///
/// - A server that is up or down in `desired` is added when it is missing and changed when it differs.
/// - A draining server is not added; an existing one is drained, and removed when `activity` says that it has no requests
///   or when `drains` says that its time is over.
/// - Everything else goes at once. nginx does not cut requests that run on a removed server.
/// - Of two servers with one address one stays. Children of a resolved name are left alone: they go with their parent.
/// - A server that changes between backup and normal is first added as the new kind; the old one goes when the new one
///   exists.
#[must_use]
pub fn plan(desired: &Servers, actual: &[Peer], activity: &Activity, drains: &Drains) -> Plan {
    let mut sorted = Sorted::default();
    let mut present: BTreeMap<Endpoint, Vec<&Peer>> = BTreeMap::new();
    for peer in actual.iter().filter(|peer| !peer.child) {
        match peer.endpoint() {
            Some(endpoint) if desired.contains_key(&endpoint) => {
                present.entry(endpoint).or_default().push(peer)
            }
            _ => sorted.remove(peer, Cause::NoRecord),
        }
    }
    for (endpoint, server) in desired {
        let peers = present.remove(endpoint).unwrap_or_default();
        match server.state {
            State::Draining => sorted.drain(endpoint, &peers, activity, drains),
            State::Up | State::Down => {
                let same_kind = |peer: &&Peer| peer.backup == server.parameters.backup;
                let (peers, others) = peers.into_iter().partition(same_kind);
                sorted.keep(endpoint, *server, peers, others);
            }
        }
    }
    let stays = |serving: &Serving| {
        let server = desired.get(&serving.endpoint);
        server.is_some_and(|server| server.state == State::Up)
    };
    let leaving = actual.iter().filter_map(Peer::serving);
    let leaving = leaving.filter(|serving| !stays(serving)).collect();
    Plan {
        leaving,
        ..sorted.into_plan()
    }
}

/// The steps by kind.
#[derive(Default)]
struct Sorted {
    adds: Vec<Step>,
    changes: Vec<Step>,
    /// Separate, because servers go out of service only after others come in.
    changes_to_down: Vec<Step>,
    drains: Vec<Step>,
    removals: Vec<Step>,
    waiting: Vec<(Endpoint, Option<u64>)>,
}

impl Sorted {
    fn remove(&mut self, peer: &Peer, cause: Cause) {
        self.removals.push(Step::Remove {
            id: peer.id,
            server: short(&peer.server),
            endpoint: peer.endpoint(),
            cause,
        });
    }

    /// `others` have the same address, but are of the other kind, backup or normal.
    fn keep(&mut self, endpoint: &Endpoint, server: Server, peers: Vec<&Peer>, others: Vec<&Peer>) {
        let endpoint = endpoint.clone();
        // Keep the one that needs the fewest changes, so that a second run of the plan picks the same one.
        let kept = peers
            .iter()
            .min_by_key(|peer| (peer.change_to(server) != Change::default(), peer.id));
        let Some(kept) = kept else {
            let (weight, down) = (server.weight, server.state == State::Down);
            self.adds.push(Step::Add {
                endpoint,
                weight,
                down,
                parameters: server.parameters,
            });
            // The existing one of the other kind stays until this one exists.
            return;
        };
        let (id, change) = (kept.id, kept.change_to(server));
        if change != Change::default() {
            let changes = match change.down {
                Some(true) => &mut self.changes_to_down,
                _ => &mut self.changes,
            };
            changes.push(Step::Change {
                id,
                endpoint,
                change,
            });
        }
        for surplus in peers.iter().filter(|peer| peer.id != id) {
            self.remove(surplus, Cause::Surplus);
        }
        for replaced in others {
            self.remove(replaced, Cause::Replaced);
        }
    }

    fn drain(
        &mut self,
        endpoint: &Endpoint,
        peers: &[&Peer],
        activity: &Activity,
        drains: &Drains,
    ) {
        for peer in peers {
            let (id, active) = (peer.id, activity.get(&peer.id).copied());
            if !peer.is_quiesced() {
                let endpoint = endpoint.clone();
                self.drains.push(Step::Drain { id, endpoint });
            } else if active == Some(0) {
                self.remove(peer, Cause::Drained);
            } else if drains.is_over(endpoint) {
                self.remove(peer, Cause::TimedOut);
            } else {
                self.waiting.push((endpoint.clone(), active));
            }
        }
    }

    fn into_plan(self) -> Plan {
        let steps = [
            self.adds,
            self.changes,
            self.changes_to_down,
            self.drains,
            self.removals,
        ];
        Plan {
            steps: steps.into_iter().flatten().collect(),
            waiting: self.waiting,
            leaving: Vec::new(),
            withheld: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
