//! What a single look decides, as a pusher does at its start: a server that takes traffic without a record counts as one
//! whose record vanished just now. No process stays to protect servers afterwards, so the servers that the guard would
//! protect are reported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::publisher::{claims, finding};
use super::route::Route;
use crate::model::{Endpoint, InstanceName, State};
use crate::push::reconcile::{found, lacking};
use crate::target::Outcome;
use crate::upstream::guard::RemovalGuard;
use crate::upstream::guard::{RecordState, Seen};
use crate::upstream::plan::Plan;
use crate::upstream::protection::Protection;
use crate::upstream::records::Records;
use crate::upstream::state::Desired;

/// The number of the only target.
const TARGET: usize = 0;

/// The decisions of one look at one target.
#[derive(Debug)]
pub(super) struct Look {
    route: Arc<Route>,
    guard: RemovalGuard,
    desired: Arc<Desired>,
}

impl Look {
    /// The target needs this `plan` to be as `desired`. Missing servers count when the target has taken them.
    pub(super) fn new(
        desired: &Desired,
        plan: &Plan,
        route: &Arc<Route>,
        records: &Records,
    ) -> Self {
        let seen = found(desired, &lacking(plan), &plan.leaving);
        Self::with(desired, plan, route, records, Some(seen))
    }

    /// The same, as if the target took all missing servers.
    pub(super) fn hopeful(
        desired: &Desired,
        plan: &Plan,
        route: &Arc<Route>,
        records: &Records,
    ) -> Self {
        Self::with(desired, plan, route, records, None)
    }

    fn with(
        desired: &Desired,
        plan: &Plan,
        route: &Arc<Route>,
        records: &Records,
        seen: Option<Seen>,
    ) -> Self {
        let (claims, now) = (claims(route, records), Instant::now());
        let state = |_: &InstanceName| RecordState::Missing;
        let mut guard = RemovalGuard::new(route.limits);
        let followed = guard.follow(desired.clone(), state, &claims, now).desired;
        let saw = seen.and_then(|seen| guard.see(TARGET, seen, now).desired);
        let finding = finding(route, &plan.leaving, &lacking(plan));
        // Each of them returns only what is new.
        let found = guard.find(finding, &claims, now).desired;
        let decided = found.or(saw).or(followed);
        Self {
            route: route.clone(),
            guard,
            desired: decided.unwrap_or_else(|| Arc::new(desired.clone())),
        }
    }

    /// The desired state of the target.
    pub(super) fn desired(&self) -> &Desired {
        &self.desired
    }

    /// The desired state after all steps of a plan.
    pub(super) fn end(&self) -> Desired {
        Desired {
            protection: Protection {
                hopeful: true,
                ..self.desired.protection.clone()
            },
            ..Desired::clone(&self.desired)
        }
    }

    /// The target ended like this; returns whether the desired state is another now.
    pub(super) fn see(&mut self, outcome: &Outcome) -> bool {
        let seen = crate::push::reconcile::seen(&self.desired, outcome);
        let decision = self.guard.see(TARGET, seen, Instant::now());
        let news = decision.desired.is_some();
        self.desired = decision.desired.unwrap_or_else(|| self.desired.clone());
        news
    }

    /// The steps that `min_servers` and the guard do not allow, with the reasons.
    pub(super) fn withheld(&self) -> BTreeMap<String, String> {
        let protected = self.guard.protected();
        let seen = self.guard.seen(TARGET);
        let serving: Option<&BTreeSet<Endpoint>> = seen.and_then(|seen| seen.serving.as_deref());
        let is_there = |at: &&Endpoint| serving.is_none_or(|serving| serving.contains(*at));
        let min_servers = protected.min_servers.keys().filter(is_there);
        let min_servers = min_servers.map(|at| (self.step(at), self.min_servers_reason()));
        let guard = protected.guard.keys().filter(is_there);
        let guard = guard.map(|at| (self.step(at), self.guard_reason()));
        min_servers.chain(guard).collect()
    }

    fn step(&self, endpoint: &Endpoint) -> String {
        let spare = self.desired.protection.spares.get(endpoint);
        let recorded = spare.and_then(|spare| spare.recorded);
        match recorded.map(|server| server.state) {
            Some(State::Draining) => format!("drain {endpoint}"),
            Some(State::Down) => format!("change {endpoint} down=true"),
            Some(State::Up) | None => format!("remove {endpoint}"),
        }
    }

    fn min_servers_reason(&self) -> String {
        let least = self.route.limits.min_servers;
        format!(
            "fewer servers than --min-servers ({least}) would take traffic; it goes when others have come, or now with a lower \
             --min-servers"
        )
    }

    fn guard_reason(&self) -> String {
        let (share, hold) = (self.route.limits.max_removal, self.route.limits.protect_for);
        let hold = crate::util::duration::typed(hold);
        format!(
            "it takes traffic and no record names it; more than --max-removal ({share}) would go at once: write the records first, \
             or leave it to a running pusher, which lets go of it when --hold ({hold}) is over, and at once when it is dead"
        )
    }
}
