//! The settings of a pusher.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::route::Route;
use super::target::Target;
use crate::etcd::range::Range;
use crate::model::{Balancer, MetaPrefix, Prefix, PusherId, ServiceName};
use crate::push::reconcile::Pacing;

/// The default lifetime of the status record of a killed pusher.
pub const TTL: Duration = Duration::from_secs(15);
/// The default time after which announcers no longer wait for a load balancer without its pusher.
pub const FORGET_AFTER: Duration = Duration::from_secs(10 * 60);
/// The settings of a pusher.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of this pusher, unique among those of one etcd.
    pub id: PusherId,
    /// The prefix of the records.
    pub prefix: Prefix,
    /// The prefix of sidekick's own keys.
    pub meta: MetaPrefix,
    /// At least one.
    pub targets: Vec<Target>,
    /// How fast changes are applied.
    pub pacing: Pacing,
    /// How long the status record outlives a killed pusher.
    pub ttl: Duration,
    /// How long the targets count as routing after the pusher was last seen; `ttl` at least.
    pub forget_after: Duration,
}

impl Settings {
    /// `newer`, without the settings that cannot change while the process runs: calls `kept` with the name of each of
    /// those that differs.
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

    /// All routes with their targets, in the order of their numbers.
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

    /// The identities of its targets.
    pub(super) fn identities(&self) -> BTreeSet<String> {
        self.targets.iter().map(Target::identity).collect()
    }

    /// The upstreams of each service, for the balancer key.
    pub(super) fn fed(&self) -> BTreeMap<ServiceName, BTreeSet<String>> {
        let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (target, route) in self.routes() {
            let fed = Balancer::fed(&target.identity(), &route.in_words());
            all.entry(route.service.clone()).or_default().insert(fed);
        }
        all
    }

    /// The keys to watch: those of the service if it is only one, else those of all.
    pub(super) fn range(&self) -> Range {
        let services = self.services();
        let only = services.first().filter(|_| services.len() == 1);
        Range::Prefix(self.prefix.service_range(only).into_bytes())
    }

    /// The keys of other pushers and operators: one range, so that one watch delivers all of them in order.
    pub(super) fn meta_range(&self) -> Range {
        Range::Prefix(self.meta.range().into_bytes())
    }
}

#[cfg(test)]
mod tests;
