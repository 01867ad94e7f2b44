//! What a look at the target shows about each instance: pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{Endpoint, InstanceName, ServiceStatus, State};
use crate::target::Outcome;
use crate::upstream::guard::Seen;
use crate::upstream::instances::{Instances, Out};
use crate::upstream::plan::Serving;
use crate::upstream::state::Desired;

/// How an upstream's instances ended up in one target, where that differs from the desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// All its instances.
    pub instances: Arc<Instances>,
    /// Instances that should take traffic but that the target refuses.
    pub refused: Vec<(InstanceName, String)>,
    /// Instances that are held or have no weight.
    pub withheld: Vec<(InstanceName, String)>,
    /// Instances that should take no traffic, or have no record any more, but still take some.
    pub still_routed: Vec<(InstanceName, String)>,
}

impl Verdict {
    /// The result of a convergence that ended as `outcome`.
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
                    let reason = why_still_routed(desired, endpoint);
                    verdict.still_routed.push((instance.clone(), reason));
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
                self.still_routed.push((origin.instance.clone(), reason));
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

/// How many servers should take traffic in the target, where these do. A protected server counts only where it is needed,
/// which is where it stays.
pub(super) fn wanted(desired: &Desired, serving: &BTreeSet<Endpoint>) -> usize {
    let spares = &desired.protection.spares;
    let up = desired.servers.iter();
    let up = up.filter(|(endpoint, server)| {
        server.state == State::Up
            && (!spares.contains_key(*endpoint) || serving.contains(*endpoint))
    });
    up.count()
}

/// The state of the servers in the target.
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

/// Why a server that should take traffic does not; `None` for a backup server that waits until it is needed.
fn refusal(desired: &Desired, outcome: &Outcome, endpoint: &Endpoint) -> Option<String> {
    let reason = outcome.missing.get(endpoint).cloned();
    let server = desired.servers.get(endpoint);
    let waits = server.is_some_and(|server| server.parameters.backup);
    reason.or_else(|| (!waits).then(|| format!("{endpoint} takes no traffic there")))
}

/// Why a server takes traffic although an instance at its address should not.
fn why_still_routed(desired: &Desired, endpoint: &Endpoint) -> String {
    let mut others = desired.instances.iter();
    let other = others.find(|(_, other)| other.endpoint == *endpoint && other.out.is_none());
    match other {
        Some((other, _)) => format!("the record of {other} has the same address {endpoint}"),
        None => "min_servers protects it: too few others take traffic".to_owned(),
    }
}

/// The state of the servers when a target is looked at for the first time.
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
mod tests;
