//! What the pushers' keys say to those that wait: pure.

use std::collections::BTreeSet;

use super::{Live, Pushers, Revision};
use crate::model::{
    Balancer, InstanceId, InstanceName, MAX_LISTED, Prefix, PusherId, Routes, ServiceName,
    ServiceStatus,
};

/// How far the load balancers are with a change of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The live pushers that have applied it.
    pub by: BTreeSet<PusherId>,
    /// The live pushers that route the service and have not applied it yet.
    pub not_by: BTreeSet<PusherId>,
    /// The pushers that are silent and whose load balancers keep routing the service.
    pub unknown: BTreeSet<PusherId>,
    /// The live pushers of the service whose targets do not run: they get no requests.
    pub idle: BTreeSet<PusherId>,
    /// Targets that live pushers report as not running, and why. An nginx whose API listens elsewhere looks
    /// the same, so every message that all have applied the change also names these targets.
    pub stopped: Vec<Obstacle>,
}

/// What a load balancer may do wrong while its pusher is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It may send requests to an instance that was taken out.
    StillSends,
    /// It may not know which instances should take traffic, or how much.
    Unaware,
}

/// What a pusher publishes about an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The pusher.
    pub pusher: PusherId,
    /// The reason.
    pub reason: String,
}

/// How far the load balancers are with an instance that leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Which pushers have let go of it, have not, or are silent.
    pub applied: Applied,
    /// Pushers that report that it stays in rotation. These have answered: nothing waits for them.
    pub still: Vec<Obstacle>,
}

/// How far the load balancers are with an instance that should be routed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routed {
    /// Which pushers have applied its record, have not, or are silent.
    pub applied: Applied,
    /// Of those that have applied it: pushers that do not route it, because a target refuses it or cannot have it.
    pub refused: Vec<Obstacle>,
    /// Of those that have applied it: pushers that do not route it, because of a hold or a split.
    pub withheld: Vec<Obstacle>,
}

impl Applied {
    /// Whether no load balancer routes the service.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        self.by.is_empty() && self.not_by.is_empty() && self.unknown.is_empty()
    }

    /// Why no live pusher routes the service.
    #[must_use]
    pub fn nobody(&self, service: &ServiceName) -> String {
        let names = names(&self.idle);
        let doubt = self.doubt();
        match self.idle.len() {
            0 => format!("no live pusher routes {service}"),
            1 => format!("the load balancer of {service} does not run (pusher {names}){doubt}"),
            _ => format!("no load balancer of {service} runs (pushers {names}){doubt}"),
        }
    }

    /// The targets that only count as not running, as the end of a sentence; empty if there are none.
    #[must_use]
    pub fn doubt(&self) -> String {
        let one = |it: &Obstacle| format!("{} counts {}", it.pusher, it.reason);
        let doubt = joined(self.stopped.iter().map(one));
        doubt.map(|doubt| format!("; {doubt}")).unwrap_or_default()
    }

    /// As it is, for a wait that asks only live pushers.
    #[must_use]
    pub fn of_the_live(mut self) -> Self {
        self.unknown.clear();
        self
    }

    /// The missing pushers, as a message; `None` if none is missing.
    #[must_use]
    pub fn missing(&self, doubt: Doubt) -> Option<String> {
        let behind = (!self.not_by.is_empty())
            .then(|| format!("not yet applied by {}", names(&self.not_by)));
        let silent = (!self.unknown.is_empty()).then(|| silent(&self.unknown, doubt));
        joined(behind.into_iter().chain(silent))
    }
}

impl Leaving {
    /// Whether every load balancer has answered: it has let go, or says why it does not.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.applied.not_by.is_empty() && self.applied.unknown.is_empty()
    }

    /// What is missing; `None` if nothing is.
    #[must_use]
    pub fn missing(&self, doubt: Doubt) -> Option<String> {
        joined(self.applied.missing(doubt).into_iter().chain(self.still()))
    }

    /// Which pushers still route it and why; `None` if none does.
    #[must_use]
    pub fn still(&self) -> Option<String> {
        let one = |it: &Obstacle| format!("still routed by {}: {}", it.pusher, it.reason);
        joined(self.still.iter().map(one))
    }
}

/// The most parts in a sentence.
const MOST: usize = 5;

/// The parts of a sentence; `None` if there are none.
pub(crate) fn joined(parts: impl IntoIterator<Item = String>) -> Option<String> {
    let mut parts: Vec<_> = parts.into_iter().collect();
    let beyond = parts.len().saturating_sub(MOST);
    parts.truncate(MOST);
    if beyond > 0 {
        parts.push(format!("and {beyond} more"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// `edge-1, edge-2`
pub(crate) fn names(pushers: &BTreeSet<PusherId>) -> String {
    let mut names: Vec<_> = pushers.iter().take(MOST).map(ToString::to_string).collect();
    if let Some(beyond @ 1..) = pushers.len().checked_sub(MOST) {
        names.push(format!("and {beyond} more"));
    }
    names.join(", ")
}

/// The message for load balancers with a silent pusher.
fn silent(pushers: &BTreeSet<PusherId>, doubt: Doubt) -> String {
    let names = names(pushers);
    let may = match doubt {
        Doubt::StillSends => "may still send requests",
        Doubt::Unaware => "may not know of it yet",
    };
    match pushers.len() {
        1 => format!("pusher {names} is silent, and its load balancer {may}"),
        _ => format!("pushers {names} are silent, and their load balancers {may}"),
    }
}

impl Pushers {
    /// How far the load balancers are with `revision` of `service`, whose records have this `prefix`.
    ///
    /// A status record with a revision that etcd has not reached is from before a restore, and counts as
    /// nothing applied.
    #[must_use]
    pub fn applied(&self, prefix: &Prefix, service: &ServiceName, revision: Revision) -> Applied {
        let mut all = Applied {
            unknown: self.unknown(prefix, service),
            ..Applied::default()
        };
        for live in self.live() {
            let id = live.id;
            let Some(status) = live.status(prefix, service) else {
                continue;
            };
            let stopped = status.stopped.iter().map(|(target, error)| Obstacle {
                pusher: id.clone(),
                reason: format!("{target} as not running: {error}"),
            });
            all.stopped.extend(stopped);
            if status.idle {
                all.idle.insert(id.clone());
                continue;
            }
            let (applied, wanted) = match revision {
                Revision::Records(wanted) => (status.applied, wanted),
                Revision::Overrides(wanted) => (status.overrides, wanted),
            };
            if applied < wanted || applied > self.revision {
                all.not_by.insert(id.clone());
            } else {
                all.by.insert(id.clone());
            }
        }
        all
    }

    /// The oldest revision of the service's records that a live pusher has applied last; `None` without a live pusher.
    /// Changes before it are not needed. A pusher that has applied nothing yet does not count.
    #[must_use]
    pub fn oldest_applied(&self, prefix: &Prefix, service: &ServiceName) -> Option<i64> {
        let status = self.live().filter_map(|live| live.status(prefix, service));
        let applied = status
            .filter(|status| !status.idle)
            .map(|status| status.applied);
        applied
            .filter(|applied| (1..=self.revision).contains(applied))
            .min()
    }

    /// How far they are with an instance that has been leaving since `revision`.
    #[must_use]
    pub fn leaving(&self, prefix: &Prefix, id: &InstanceId, revision: i64) -> Leaving {
        let applied = self.applied(prefix, &id.service, Revision::Records(revision));
        let mut all = Leaving {
            applied,
            still: Vec::new(),
        };
        for live in self.live() {
            let pusher = live.id;
            let status = live.status(prefix, &id.service);
            let Some(status) = status.filter(|status| !status.idle) else {
                continue;
            };
            let applied = all.applied.by.contains(pusher);
            // A status from before the instance left says nothing about that.
            let told = applied || live.revision > revision;
            let listed = status.still_routed.listed.get(&id.instance);
            let reason = match listed {
                Some(reason) if told => reason.clone(),
                None if applied && status.still_routed.more > 0 => unlisted(),
                _ => continue,
            };
            all.applied.by.remove(pusher);
            all.applied.not_by.remove(pusher);
            let pusher = pusher.clone();
            all.still.push(Obstacle { pusher, reason });
        }
        all
    }

    /// How far they are with an instance that should be routed and whose record was written at `revision`.
    #[must_use]
    pub fn routed(&self, prefix: &Prefix, id: &InstanceId, revision: i64) -> Routed {
        let mut all = Routed {
            applied: self.applied(prefix, &id.service, Revision::Records(revision)),
            ..Routed::default()
        };
        for pusher in &all.applied.by {
            let live = self.live().find(|live| live.id == pusher);
            let status = live.and_then(|live| live.status(prefix, &id.service));
            let (list, reason) = match status.map(|status| status.routes(&id.instance)) {
                None | Some(Routes::Yes) => continue,
                Some(Routes::No(reason)) => (&mut all.refused, reason.to_owned()),
                Some(Routes::Withheld(reason)) => (&mut all.withheld, reason.to_owned()),
                Some(Routes::Unknown) => (&mut all.refused, unlisted()),
            };
            let pusher = pusher.clone();
            list.push(Obstacle { pusher, reason });
        }
        all
    }

    /// The instances of a service that have left and stay in rotation, according to the live pushers. If one has more of
    /// them than it lists, any other instance may be among those: then none is named.
    #[must_use]
    pub fn still_routed(
        &self,
        prefix: &Prefix,
        service: &ServiceName,
    ) -> Vec<(Option<InstanceName>, Obstacle)> {
        let mut all = Vec::new();
        for live in self.live() {
            let pusher = live.id;
            let status = live.status(prefix, service);
            let Some(status) = status.filter(|status| !status.idle) else {
                continue;
            };
            for (instance, reason) in &status.still_routed.listed {
                let (pusher, reason) = (pusher.clone(), reason.clone());
                all.push((Some(instance.clone()), Obstacle { pusher, reason }));
            }
            if status.still_routed.more > 0 {
                let (pusher, reason) = (pusher.clone(), unlisted());
                all.push((None, Obstacle { pusher, reason }));
            }
        }
        all
    }

    /// The silent pushers whose balancers route anything that no live pusher also feeds.
    #[must_use]
    pub fn silent(&self) -> BTreeSet<PusherId> {
        let mut silent = BTreeSet::new();
        for (_, balancer) in self.balancers() {
            for service in &balancer.services {
                silent.extend(self.unknown(&balancer.prefix, service));
            }
        }
        for live in self.live() {
            silent.remove(live.id);
        }
        silent
    }

    /// The silent pushers whose balancers route a service, except those whose upstreams of it all have a live pusher too.
    fn unknown(&self, prefix: &Prefix, service: &ServiceName) -> BTreeSet<PusherId> {
        let routes = |(_, balancer): &(&PusherId, &Balancer)| {
            balancer.prefix == *prefix && balancer.services.contains(service)
        };
        let lives = |id: &PusherId| {
            let live = self.live().find(|live| live.id == id);
            live.is_some_and(|live| live.status(prefix, service).is_some())
        };
        let (live, silent): (Vec<_>, Vec<_>) = (self.balancers())
            .filter(routes)
            .partition(|(id, _)| lives(id));
        let fed = live.iter().filter_map(|(_, it)| it.feeds(service));
        let fed: BTreeSet<_> = fed.flatten().collect();
        let is_fed = |balancer: &Balancer| {
            let feeds = balancer.feeds(service);
            feeds.is_some_and(|feeds| feeds.is_subset(&fed))
        };
        let unknown = silent.into_iter().filter(|(_, it)| !is_fed(it));
        unknown.map(|(id, _)| id.clone()).collect()
    }
}

impl<'a> Live<'a> {
    /// Its status of a service; `None` if it has none, or follows records with another prefix.
    fn status(self, prefix: &Prefix, service: &ServiceName) -> Option<&'a ServiceStatus> {
        let told = self.status_record.prefix.as_ref();
        let ours = told.is_none_or(|told| told == prefix);
        ours.then(|| self.status_record.services.get(service))
            .flatten()
    }
}

pub(crate) fn unlisted() -> String {
    format!("it has more to tell than the {MAX_LISTED} instances that it lists")
}
