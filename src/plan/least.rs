//! How many servers are left taking traffic, whatever is planned.

use std::collections::{BTreeMap, BTreeSet};

use super::{Id, Peer, Step};
use crate::desired::Protection;
use crate::record::Endpoint;

/// Takes those steps out of a plan that would leave fewer servers taking traffic than the floor asks, as last read, and gives them: what
/// is only about to be added may be refused. What belongs to another service goes all the same.
///
/// A server counts whatever it is, also one that no record can name. Backups count where no other server is left, and go before others:
/// the last of those goes only in favour of backups that are wanted.
pub fn withhold(steps: &mut Vec<Step>, actual: &[Peer], protection: &Protection) -> Vec<Step> {
    if protection.floor == 0 {
        return Vec::new();
    }
    let peers: BTreeMap<Id, &Peer> = actual.iter().map(|peer| (peer.id, peer)).collect();
    let mut left = Left::of(actual, protection);
    if protection.hopeful {
        left.gain(steps, &peers);
    }
    let ending = steps.iter().filter_map(ends);
    let ending = ending.filter_map(|id| peers.get(&id).copied());
    let mut ending: Vec<&Peer> = ending.filter(|peer| peer.serves()).collect();
    ending.sort_by_key(|peer| !peer.backup);
    let stay: BTreeSet<Id> = ending
        .into_iter()
        .filter(|peer| {
            let endpoint = peer.endpoint();
            let is_taken = endpoint.is_some_and(|at| protection.taken.contains(&at));
            !left.lose(peer, if is_taken { 0 } else { protection.floor })
        })
        .map(|peer| peer.id)
        .collect();
    let stays = |step: &mut Step| ends(step).is_some_and(|id| stay.contains(&id));
    steps.extract_if(.., stays).collect()
}

/// How many servers are missing that are no backups, and how many backups where none of the former is to be had, for as many to take
/// traffic as the floor asks.
#[must_use]
pub fn missing(actual: &[Peer], protection: &Protection) -> (usize, usize) {
    let left = Left::of(actual, protection);
    let short_of = |count| protection.floor.saturating_sub(count);
    (short_of(left.count(0)), short_of(left.count(1)))
}

/// Why steps are withheld for a floor of so many servers.
#[must_use]
pub fn withheld_for(floor: usize) -> String {
    match floor {
        1 => {
            "it is the last server that takes traffic (min_servers); it goes when others have come"
                .to_owned()
        }
        _ => format!(
            "fewer than {floor} servers would take traffic (min_servers); it goes when others have come"
        ),
    }
}

/// The servers that take traffic: by name, how many of either kind.
#[derive(Debug)]
struct Left<'a> {
    protection: &'a Protection,
    names: BTreeMap<String, Kinds>,
    /// How many names there are of either kind.
    distinct: Kinds,
    /// How many of the backups are wanted, and not only kept.
    wanted: usize,
}

/// Of those that are no backups, and of backups.
type Kinds = [usize; 2];

impl<'a> Left<'a> {
    fn of(actual: &[Peer], protection: &'a Protection) -> Self {
        let mut left = Self {
            protection,
            names: BTreeMap::new(),
            distinct: [0, 0],
            wanted: 0,
        };
        for peer in actual.iter().filter(|peer| peer.serves()) {
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

    /// Adds what these steps bring in.
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

    /// How many of them get requests, when the last that went was of this kind.
    fn count(&self, kind: usize) -> usize {
        match (self.distinct, kind) {
            ([0, _], 0) => self.wanted,
            ([0, backups], _) => backups,
            ([others, _], _) => others,
        }
    }

    /// Takes one away, unless it is missed: fewer would get requests, and fewer than so many. Whether it did.
    fn lose(&mut self, peer: &Peer, floor: usize) -> bool {
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
        if is_last && after < floor && after < before {
            self.add(peer.name(), endpoint.as_ref(), peer.backup);
            return false;
        }
        true
    }
}

/// Which server gets no traffic any more by this step.
fn ends(step: &Step) -> Option<Id> {
    match step {
        Step::Remove { id, .. } | Step::Drain { id, .. } => Some(*id),
        Step::Change { id, change, .. } if change.down == Some(true) => Some(*id),
        Step::Add { .. } | Step::Change { .. } | Step::Write { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::desired::keep::{Reason, Spare};
    use crate::desired::{Parameters, Server};
    use crate::plan::{Cause, Tuning};
    use crate::record::State;

    fn peer(id: u64, server: &str, down: bool) -> Peer {
        Peer {
            id,
            server: server.to_owned(),
            weight: 1,
            down,
            drain: false,
            backup: false,
            child: false,
            srv: false,
            tuning: Tuning::default(),
        }
    }

    fn remove(id: u64, server: &str) -> Step {
        Step::Remove {
            id,
            server: server.to_owned(),
            endpoint: server.parse().ok(),
            cause: Cause::NoRecord,
        }
    }

    /// The ids of the servers that go, of these that are all to go.
    fn gone(floor: usize, taken: &[&str], actual: &[Peer]) -> Vec<u64> {
        let mut steps: Vec<_> = actual
            .iter()
            .map(|peer| remove(peer.id, &peer.server))
            .collect();
        let protection = Protection {
            floor,
            taken: taken.iter().map(|at| at.parse().unwrap()).collect(),
            ..Protection::default()
        };
        let all = steps.len();
        let withheld = withhold(&mut steps, actual, &protection);
        assert_eq!(steps.len() + withheld.len(), all);
        steps.iter().filter_map(ends).collect()
    }

    #[test]
    fn no_removal_leaves_fewer_than_the_floor_as_last_read() {
        let three = [
            peer(0, "10.0.0.1:80", false),
            peer(1, "10.0.0.2:80", true),
            peer(2, "10.0.0.3:80", false),
        ];
        assert_eq!(gone(0, &[], &three), [0, 1, 2]);
        assert_eq!(gone(1, &[], &three), [0, 1]);
        assert_eq!(
            gone(2, &[], &three),
            [1],
            "one that is down counts for nothing"
        );
        assert_eq!(gone(5, &[], &three), [1]);
    }

    #[test]
    fn one_of_two_with_the_same_address_is_no_loss_and_one_of_another_service_none_to_keep() {
        let twice = [peer(0, "10.0.0.1:80", false), peer(1, "10.0.0.1:80", false)];
        assert_eq!(gone(1, &[], &twice), [0]);
        assert_eq!(gone(1, &["10.0.0.1:80"], &twice), [0, 1]);
    }

    #[test]
    fn what_no_record_can_name_and_backups_are_never_the_last_to_go() {
        let backup = |id, server| Peer {
            backup: true,
            ..peer(id, server, false)
        };
        let unix = || peer(0, "unix:/x.sock", false);
        assert_eq!(gone(1, &[], &[unix()]), [0; 0]);
        assert_eq!(gone(1, &[], &[peer(0, "unix:/x.sock", true)]), [0]);
        let mixed = [unix(), backup(1, "10.0.0.1:80")];
        assert_eq!(gone(1, &[], &mixed), [1], "the backup gets no request");
        let backups = [backup(0, "10.0.0.1:80"), backup(1, "10.0.0.2:80")];
        assert_eq!(gone(1, &[], &backups), [0]);
        assert_eq!(gone(1, &["10.0.0.2:80"], &backups), [0, 1]);
    }

    #[test]
    fn a_server_whose_place_backups_take_may_go() {
        let backup = |id, server| Peer {
            backup: true,
            ..peer(id, server, false)
        };
        let actual = [
            peer(0, "unix:/x.sock", false),
            backup(1, "10.0.0.1:80"),
            backup(2, "10.0.0.2:80"),
        ];
        let mut steps = vec![remove(0, "unix:/x.sock")];
        let protection = Protection {
            floor: 2,
            ..Protection::default()
        };
        assert_eq!(withhold(&mut steps, &actual, &protection), []);
        let kept = Spare {
            server: Server {
                weight: NonZeroU16::MIN,
                state: State::Up,
                parameters: Parameters::default(),
            },
            recorded: None,
            reason: Reason::Vanished,
            guarded: true,
        };
        let spares = ["10.0.0.1:80", "10.0.0.2:80"].map(|at| (at.parse().unwrap(), kept));
        let with_spare = Protection {
            spares: spares.into(),
            ..protection.clone()
        };
        let mut steps = vec![remove(0, "unix:/x.sock")];
        let withheld = withhold(&mut steps, &actual, &with_spare);
        assert_eq!(
            withheld.len(),
            1,
            "backups that are only kept replace nobody"
        );
        // Two that become backups, one after the other.
        let twice = [
            peer(0, "10.0.0.1:80", false),
            peer(1, "10.0.0.2:80", false),
            backup(2, "10.0.0.1:80"),
            backup(3, "10.0.0.2:80"),
        ];
        let mut steps = vec![remove(0, "10.0.0.1:80"), remove(1, "10.0.0.2:80")];
        assert_eq!(withhold(&mut steps, &twice, &protection), []);
    }

    #[test]
    fn what_is_about_to_be_added_counts_only_for_a_plan_that_nobody_follows() {
        let actual = [peer(0, "unix:/x.sock", false)];
        let add = Step::Add {
            endpoint: "10.0.0.1:80".parse().unwrap(),
            weight: NonZeroU16::MIN,
            down: false,
            parameters: Default::default(),
        };
        for hopeful in [false, true] {
            let mut steps = vec![add.clone(), remove(0, "unix:/x.sock")];
            let protection = Protection {
                floor: 1,
                hopeful,
                ..Protection::default()
            };
            let withheld = withhold(&mut steps, &actual, &protection);
            assert_eq!(
                (withheld.len(), steps.len()),
                if hopeful { (0, 2) } else { (1, 1) }
            );
        }
    }

    #[test]
    fn additions_are_no_loss() {
        let mut steps = vec![Step::Add {
            endpoint: "10.0.0.1:80".parse().unwrap(),
            weight: NonZeroU16::MIN,
            down: false,
            parameters: Default::default(),
        }];
        let protection = Protection {
            floor: 3,
            ..Protection::default()
        };
        assert_eq!(withhold(&mut steps, &[], &protection), []);
        assert_eq!(steps.len(), 1);
    }
}
