//! How many servers are left taking traffic, whatever is planned.

use std::collections::BTreeMap;

use super::{Peer, Step};
use crate::desired::Protection;
use crate::record::Endpoint;

/// Takes those steps out of a plan that would leave fewer servers taking traffic than the floor asks, as last read, and gives them: what
/// is only about to be added may be refused. What belongs to another service goes all the same.
pub fn withhold(steps: &mut Vec<Step>, actual: &[Peer], protection: &Protection) -> Vec<Step> {
    if protection.floor == 0 {
        return Vec::new();
    }
    let serving: BTreeMap<_, _> = actual
        .iter()
        .filter_map(|peer| Some((peer.id, peer.serving()?.endpoint)))
        .collect();
    let mut counts: BTreeMap<&Endpoint, usize> = BTreeMap::new();
    for endpoint in serving.values() {
        *counts.entry(endpoint).or_default() += 1;
    }
    let mut left = counts.len();
    let mut withheld = Vec::new();
    steps.retain(|step| {
        let endpoint = ends(step).and_then(|id| serving.get(&id));
        let Some((endpoint, count)) = endpoint.and_then(|at| Some((at, counts.get_mut(at)?)))
        else {
            return true;
        };
        let is_last = *count == 1;
        if is_last && left <= protection.floor && !protection.taken.contains(endpoint) {
            withheld.push(step.clone());
            return false;
        }
        *count -= 1;
        left -= usize::from(is_last);
        true
    });
    withheld
}

/// Which server gets no traffic any more by this step.
fn ends(step: &Step) -> Option<super::Id> {
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
    use crate::plan::{Cause, Tuning};

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
