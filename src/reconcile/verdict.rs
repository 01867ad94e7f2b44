//! What a look at the target says of each instance: pure.

use std::sync::Arc;

use crate::desired::{Desired, Instances, Out};
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
                (Some(Out::Leaving), false) => {}
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
        let placed: std::collections::BTreeSet<_> = placed.map(|placed| &placed.endpoint).collect();
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

/// How many servers take traffic in the target.
pub(super) fn serving(desired: &Desired, outcome: &Outcome) -> usize {
    match &outcome.serving {
        Some(serving) => serving.len(),
        None => {
            let mut endpoints = desired.servers.keys();
            let serving = endpoints
                .by_ref()
                .filter(|endpoint| takes_traffic(desired, outcome, endpoint));
            serving.count()
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU16;

    use super::*;
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
        assert_eq!(serving(&wanted, &unread), 1);
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
}
