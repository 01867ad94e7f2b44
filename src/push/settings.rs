//! What to push, where to, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::route::Route;
use super::target::Target;
use crate::etcd::range::Range;
use crate::model::{Balancer, MetaPrefix, Prefix, PusherId, ServiceName};
use crate::push::reconcile::Pacing;

/// How long a status record outlives a killed pusher where nothing else is said.
pub const TTL: Duration = Duration::from_secs(15);
/// How long a load balancer may go on routing without its pusher before nobody waits for that any more, where nothing else is
/// said.
pub const FORGET_AFTER: Duration = Duration::from_secs(10 * 60);
/// What to push, where to, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of this pusher, unique among those of one etcd.
    pub id: PusherId,
    /// The prefix of the records.
    pub prefix: Prefix,
    /// Where the status record goes.
    pub meta: MetaPrefix,
    /// At least one.
    pub targets: Vec<Target>,
    /// How fast changes are followed.
    pub pacing: Pacing,
    /// How long the status record outlives a killed pusher.
    pub ttl: Duration,
    /// How long the targets count as routing after the pusher was last there; `ttl` at least.
    pub forget_after: Duration,
}

impl Settings {
    /// `newer`, but for what stays as it is as long as the process runs: `kept` is told the name of each that should have
    /// changed.
    pub(super) fn succeeded_by(&self, newer: Self, mut kept: impl FnMut(&'static str)) -> Self {
        let changes = [
            ("id", self.id != newer.id),
            ("prefix", self.prefix != newer.prefix),
            ("meta_prefix", self.meta != newer.meta),
            ("ttl", self.ttl != newer.ttl),
            ("forget_after", self.forget_after != newer.forget_after),
        ];
        let changed = changes.into_iter().filter(|(_, changed)| *changed);
        changed.for_each(|(name, _)| kept(name));
        Self {
            id: self.id.clone(),
            prefix: self.prefix.clone(),
            meta: self.meta.clone(),
            ttl: self.ttl,
            forget_after: self.forget_after,
            ..newer
        }
    }

    /// All routes with their targets, in the order in which they are numbered.
    pub(super) fn routes(&self) -> impl Iterator<Item = (&Target, &Arc<Route>)> {
        let routes = |target| {
            Target::routes(target)
                .iter()
                .map(move |route| (target, route))
        };
        self.targets.iter().flat_map(routes)
    }

    /// The services that are routed.
    pub(super) fn services(&self) -> BTreeSet<ServiceName> {
        self.routes()
            .map(|(_, route)| route.service.clone())
            .collect()
    }

    /// What its targets are, whatever they are called.
    pub(super) fn identities(&self) -> BTreeSet<String> {
        self.targets.iter().map(Target::identity).collect()
    }

    /// What is fed of each service, as other pushers are to know it.
    pub(super) fn fed(&self) -> BTreeMap<ServiceName, BTreeSet<String>> {
        let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (target, route) in self.routes() {
            let fed = Balancer::fed(&target.identity(), &route.in_words());
            all.entry(route.service.clone()).or_default().insert(fed);
        }
        all
    }

    /// The keys to watch: those of the service when there is only one, else those of all.
    pub(super) fn range(&self) -> Range {
        let services = self.services();
        let only = services.first().filter(|_| services.len() == 1);
        Range::Prefix(self.prefix.service_range(only).into_bytes())
    }

    /// The keys to watch for what other pushers and people say: one range for all of it, as what one watch tells is in order.
    pub(super) fn meta_range(&self) -> Range {
        Range::Prefix(self.meta.range().into_bytes())
    }
}

#[cfg(test)]
mod tests;
