//! What a look at the target says of each instance: pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::desired::{Desired, Instances, Out, Seen};
use crate::plan::Serving;
use crate::record::{Endpoint, InstanceName, ServiceStatus, State};
use crate::upstream::Outcome;

/// What became of an upstream's instances in one target, where that is not simply what was to become of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Those that it takes.
    pub instances: Arc<Instances>,
    /// Those that are to take traffic and do not, as the target refuses them.
    pub refused: Vec<(InstanceName, String)>,
    /// Those that are held or have no weight.
    pub withheld: Vec<(InstanceName, String)>,
    /// Those that are not to take traffic, or have no record any more, and take some all the same.
    pub kept: Vec<(InstanceName, String)>,
}

impl Verdict {
    /// What a convergence that ended as `outcome` came to.
    pub(super) fn of(desired: &Desired, outcome: &Outcome) -> Self {
        let mut verdict = Self {
            instances: desired.instances.clone(),
            ..Self::default()
        };
        for (instance, placed) in &*desired.instances {
            let endpoint = &placed.endpoint;
            match (&placed.out, takes_traffic(desired, outcome, endpoint)) {
                (None, true) => {}
                (None, false) => {
                    let reason = refusal(desired, outcome, endpoint);
                    let refused = reason.map(|reason| (instance.clone(), reason));
                    verdict.refused.extend(refused);
                }
                (Some(_), true) => {
                    let reason = why_kept(desired, endpoint);
                    verdict.kept.push((instance.clone(), reason));
                }
                (Some(Out::Leaving | Out::Gone(_)), false) => {}
                (Some(Out::Held(why)), false) => {
                    let reason = format!("{}{why}", ServiceStatus::HELD);
                    verdict.withheld.push((instance.clone(), reason));
                }
                (Some(Out::Weightless(why)), false) => {
                    let reason = format!("{}{why}", ServiceStatus::WEIGHTLESS);
                    verdict.withheld.push((instance.clone(), reason));
                }
            }
        }
        verdict.note_unrecorded(desired, outcome);
        verdict
    }

    /// Servers that take traffic without a record of their own.
    fn note_unrecorded(&mut self, desired: &Desired, outcome: &Outcome) {
        let placed = desired.instances.values();
        let placed: BTreeSet<_> = placed.map(|placed| &placed.endpoint).collect();
        for (endpoint, origin) in &desired.origins {
            let recorded = placed.contains(endpoint) || self.takes(&origin.instance);
            if !recorded && takes_traffic(desired, outcome, endpoint) {
                let reason = format!("its record is gone, but {endpoint} is protected for now");
                self.kept.push((origin.instance.clone(), reason));
            }
        }
    }

    /// Whether the upstream wants this instance to take traffic.
    #[must_use]
    pub fn takes(&self, instance: &InstanceName) -> bool {
        let placed = self.instances.get(instance);
        placed.is_some_and(|placed| placed.out.is_none())
    }
}

/// The servers that take traffic in the target.
pub(super) fn serving(desired: &Desired, outcome: &Outcome) -> BTreeSet<Endpoint> {
    match &outcome.serving {
        Some(serving) => serving.clone(),
        None => {
            let endpoints = desired.servers.keys();
            let serving = endpoints.filter(|endpoint| takes_traffic(desired, outcome, endpoint));
            serving.cloned().collect()
        }
    }
}

/// How many servers should take traffic in the target, where these do. What is kept is wanted only where it is needed, which is where
/// it stays.
pub(super) fn wanted(desired: &Desired, serving: &BTreeSet<Endpoint>) -> usize {
    let spares = &desired.protection.spares;
    let up = desired.servers.iter();
    let up = up.filter(|(endpoint, server)| {
        server.state == State::Up
            && (!spares.contains_key(*endpoint) || serving.contains(*endpoint))
    });
    up.count()
}

/// What the target makes of the servers.
pub(crate) fn seen(desired: &Desired, outcome: &Outcome) -> Seen {
    let serving = serving(desired, outcome);
    let missing = outcome.missing.keys();
    let refused = missing.filter(|endpoint| !serving.contains(*endpoint));
    Seen {
        refused: Arc::new(refused.cloned().collect()),
        serving: Some(Arc::new(serving)),
        current: true,
    }
}

fn takes_traffic(desired: &Desired, outcome: &Outcome, endpoint: &Endpoint) -> bool {
    match &outcome.serving {
        Some(serving) => serving.contains(endpoint),
        None => {
            let server = desired.servers.get(endpoint);
            let up = server.is_some_and(|server| server.state == State::Up);
            up && !outcome.missing.contains_key(endpoint)
        }
    }
}

/// Why a server that is to take traffic does not; `None` for a backup server that waits until it is needed.
fn refusal(desired: &Desired, outcome: &Outcome, endpoint: &Endpoint) -> Option<String> {
    let reason = outcome.missing.get(endpoint).cloned();
    let server = desired.servers.get(endpoint);
    let waits = server.is_some_and(|server| server.parameters.backup);
    reason.or_else(|| (!waits).then(|| format!("{endpoint} takes no traffic there")))
}

/// Why a server takes traffic although an instance at its address is to take none.
fn why_kept(desired: &Desired, endpoint: &Endpoint) -> String {
    let mut others = desired.instances.iter();
    let other = others.find(|(_, other)| other.endpoint == *endpoint && other.out.is_none());
    match other {
        Some((other, _)) => format!("the record of {other} has the same address {endpoint}"),
        None => "min_servers keeps it: too few others take traffic".to_owned(),
    }
}

/// What a target makes of the servers when it is looked at for the first time.
pub(crate) fn found(desired: &Desired, lacking: &[Endpoint], leaving: &[Serving]) -> Seen {
    let up = desired.servers.iter();
    let up = up.filter(|(_, server)| server.state == State::Up);
    let lacking: BTreeSet<_> = lacking.iter().collect();
    let there = up.map(|(endpoint, _)| endpoint);
    let there = there.filter(|endpoint| !lacking.contains(endpoint));
    let leaving = leaving.iter().map(|serving| &serving.endpoint);
    Seen {
        refused: Arc::default(),
        serving: Some(Arc::new(there.chain(leaving).cloned().collect())),
        current: true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU16;

    use super::*;
    use crate::desired::keep::{Reason, Spare};
    use crate::desired::{Origin, Parameters, Placed, Server};
    use crate::upstream::Progress;

    const A: &str = "10.0.0.1:80";
    const B: &str = "10.0.0.2:80";

    fn desired(instances: &[(&str, &str, Option<Out>)]) -> Desired {
        let mut desired = Desired::at(1, &BTreeMap::new());
        let mut placed = Instances::new();
        for (name, endpoint, out) in instances {
            let endpoint: Endpoint = endpoint.parse().unwrap();
            let server = Server {
                weight: NonZeroU16::MIN,
                state: State::Up,
                parameters: Parameters::default(),
            };
            if out.is_none() {
                desired.servers.insert(endpoint.clone(), server);
            }
            let origin = Arc::new(Origin::named(name.parse().unwrap()));
            desired.origins.entry(endpoint.clone()).or_insert(origin);
            let out = out.clone();
            placed.insert(name.parse().unwrap(), Placed { endpoint, out });
        }
        desired.instances = Arc::new(placed);
        desired
    }

    fn read(serving: &[&str], missing: &[(&str, &str)]) -> Outcome {
        let serving = serving.iter().map(|endpoint| endpoint.parse().unwrap());
        let missing = missing.iter();
        let missing = missing.map(|(endpoint, why)| (endpoint.parse().unwrap(), (*why).to_owned()));
        Outcome {
            serving: Some(serving.collect()),
            missing: missing.collect(),
            ..Outcome::new(Progress::Converged)
        }
    }

    fn told(list: &[(InstanceName, String)]) -> Vec<String> {
        let told = list.iter().map(|(name, why)| format!("{name}: {why}"));
        told.collect()
    }

    #[test]
    fn who_is_refused_is_told_with_the_targets_reason() {
        let wanted = desired(&[("a", A, None), ("b", B, None)]);
        let verdict = Verdict::of(&wanted, &read(&[A], &[(B, "no resolver")]));
        assert_eq!(told(&verdict.refused), ["b: no resolver"]);
        assert!(verdict.kept.is_empty() && verdict.withheld.is_empty());
        // A weight that cannot be set keeps nobody from taking traffic.
        let verdict = Verdict::of(&wanted, &read(&[A, B], &[(B, "no such weight")]));
        assert!(verdict.refused.is_empty());
        let unread = Outcome {
            serving: None,
            ..read(&[], &[(B, "no address")])
        };
        assert_eq!(
            told(&Verdict::of(&wanted, &unread).refused),
            ["b: no address"]
        );
        assert_eq!(serving(&wanted, &unread).len(), 1);
    }

    #[test]
    fn who_is_held_or_weightless_is_told_apart_from_who_leaves() {
        let nothing = || {
            Some(Out::Weightless(
                "the split gives version v1 nothing".to_owned(),
            ))
        };
        let wanted = desired(&[
            ("a", A, nothing()),
            ("b", B, Some(Out::Held("maintenance".to_owned()))),
            ("c", "10.0.0.3:80", Some(Out::Leaving)),
        ]);
        let verdict = Verdict::of(&wanted, &read(&[], &[]));
        assert_eq!(
            told(&verdict.withheld),
            [
                "a: weightless: the split gives version v1 nothing",
                "b: held: maintenance"
            ]
        );
        assert!(verdict.refused.is_empty() && verdict.kept.is_empty());
    }

    #[test]
    fn who_leaves_and_takes_traffic_all_the_same_is_told_with_the_reason() {
        let wanted = desired(&[
            ("new", A, None),
            ("old", A, Some(Out::Leaving)),
            ("last", B, Some(Out::Leaving)),
        ]);
        let verdict = Verdict::of(&wanted, &read(&[A, B], &[]));
        assert_eq!(
            told(&verdict.kept),
            [
                "last: min_servers keeps it: too few others take traffic",
                "old: the record of new has the same address 10.0.0.1:80"
            ]
        );
        let mut wanted = desired(&[("a", A, None)]);
        let gone = Arc::new(Origin::named("gone".parse().unwrap()));
        wanted.origins.insert(B.parse().unwrap(), gone);
        assert_eq!(Verdict::of(&wanted, &read(&[A], &[])).kept, []);
        assert_eq!(
            told(&Verdict::of(&wanted, &read(&[A, B], &[])).kept),
            ["gone: its record is gone, but 10.0.0.2:80 is protected for now"]
        );
    }

    #[test]
    fn a_server_that_serves_is_not_refused_though_a_change_of_it_is() {
        let read = read(&[A], &[(A, "no such weight"), (B, "no resolver")]);
        let seen = seen(&desired(&[]), &read);
        assert_eq!(*seen.refused, [B.parse().unwrap()].into());
        assert_eq!(*seen.serving.unwrap(), [A.parse().unwrap()].into());
    }

    #[test]
    fn what_is_kept_is_wanted_only_where_it_stays() {
        let mut kept = desired(&[("a", A, None), ("b", B, None)]);
        let spare = Spare {
            server: kept.servers[&B.parse().unwrap()],
            recorded: None,
            reason: Reason::Gone,
            guarded: false,
        };
        let spares = &mut kept.protection.spares;
        spares.insert(B.parse().unwrap(), spare);
        let wants = |there: &[&str]| wanted(&kept, &serving(&kept, &read(there, &[])));
        assert_eq!((wants(&[A, B]), wants(&[A]), wants(&[B])), (2, 1, 2));
    }
}
