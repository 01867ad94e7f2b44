//! The desired state of the upstream of one route, published to its reconcilers.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::clock::Clock;
use super::notices;
use super::route::Route;
use crate::model::{
    Endpoint, InstanceName, MAX_LISTED, Protected, Protocol, ServiceName, State, UpstreamStatus,
};
use crate::push::reconcile::{Found, Published};
use crate::upstream::guard::{Claim, Decision, Finding, RecordState, RemovalGuard, Seen};
use crate::upstream::overrides::Overrides;
use crate::upstream::plan::Serving;
use crate::upstream::pool::Pool;
use crate::upstream::records::{Effect, Records};
use crate::upstream::server::{Origin, Parameters, Server};
use crate::util::log_limit;

/// Decides the desired state of the upstream of one route, and publishes it to the reconcilers.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) route: Arc<Route>,
    pool: Pool,
    guard: RemovalGuard,
    desired: watch::Sender<Published>,
    /// The numbers of its reconcilers.
    rows: BTreeSet<usize>,
}

impl Publisher {
    /// Empty, except for the servers that a `former` publisher of the same upstream protects.
    pub(super) fn new(route: Arc<Route>, former: Option<&Self>) -> Self {
        let guard = former.map(|former| former.guard.succeeded_by(route.limits));
        let pool = route.pool();
        Self {
            pool: match former {
                Some(former) => pool.succeeding(&former.pool),
                None => pool,
            },
            guard: guard.unwrap_or_else(|| RemovalGuard::new(route.limits)),
            desired: watch::channel(None).0,
            rows: BTreeSet::new(),
            route,
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Published> {
        self.desired.subscribe()
    }

    pub(super) fn service(&self) -> &ServiceName {
        self.pool.service()
    }

    /// The records or the overrides have changed.
    pub(super) fn follow(&mut self, records: &Records, overrides: &Overrides, effect: &Effect) {
        let wanted = self.pool.decide(records, overrides);
        let Some((wanted, known)) = wanted.zip(records.service(self.pool.service())) else {
            return;
        };
        notices::say_split(&self.route, wanted.split);
        let names = OnceCell::new();
        let named = || {
            known
                .records()
                .map(|(name, _)| name)
                .collect::<BTreeSet<_>>()
        };
        let service = self.pool.service();
        let state = |instance: &InstanceName| {
            let withdrawn = || {
                effect
                    .withdrawn
                    .contains(&(service.clone(), instance.clone()))
            };
            match names.get_or_init(named).contains(instance) {
                true => RecordState::Present,
                false if withdrawn() => RecordState::Withdrawn,
                false if effect.forgotten => RecordState::Forgotten,
                false => RecordState::Missing,
            }
        };
        let claims = self.claims(records);
        let now = Instant::now();
        let decision = self.guard.follow(wanted.desired, state, claims, now);
        self.apply(decision);
    }

    /// The records of other services have changed.
    pub(super) fn yield_to(&mut self, records: &Records) {
        if !self.guard.is_idle() {
            let claims = self.claims(records);
            let decision = self.guard.yield_to(claims, Instant::now());
            self.apply(decision);
        }
    }

    fn claims<'a>(&self, records: &'a Records) -> impl Fn(&Endpoint) -> Claim + use<'a> {
        claims(&self.route, records)
    }

    /// Time has passed.
    pub(super) fn pass(&mut self, now: Instant) {
        let decision = self.guard.pass(now);
        self.apply(decision);
    }

    /// When to call it after time has passed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.guard.due()
    }

    /// A server is dead.
    pub(super) fn dead(&mut self, endpoint: &Endpoint) {
        let decision = self.guard.dead(endpoint);
        self.apply(decision);
    }

    /// Lets the protected servers go; returns how many there were.
    pub(super) fn release(&mut self) -> u64 {
        let released = self.guard.count();
        let decision = self.guard.release();
        let upstream = &self.route.upstream;
        if let Some(more) = log_limit::allows("released", self.name()) {
            info!(%upstream, servers = released, "released: it follows its records until min_servers take traffic again{more}");
        }
        self.apply(decision);
        count(released)
    }

    /// These servers take traffic in a target that was not known before.
    pub(super) fn find(&mut self, found: &Found, records: &Records, now: Instant) {
        let finding = finding(&self.route, &found.servers, &found.lacking);
        self.see(found.number, &found.seen, now);
        let claims = self.claims(records);
        let decision = self.guard.find(finding, claims, now);
        if !decision.notices.is_empty() {
            let upstream = &self.route.upstream;
            warn!(%upstream, "nginx sends traffic to servers that no record names: at the start they are treated as if their \
                records had vanished just now. If they are announced, this pusher looks in the wrong place: check --prefix");
        }
        self.apply(decision);
    }

    /// A target reports the state of the servers.
    pub(super) fn see(&mut self, number: usize, seen: &Seen, now: Instant) {
        let decision = self.guard.see(number, seen.clone(), now);
        self.apply(decision);
        // It may have been the last missing report.
        let decision = self.guard.keep_targets(&self.rows, now);
        self.apply(decision);
    }

    /// Keeps only these reconcilers.
    pub(super) fn keep_rows(&mut self, rows: BTreeSet<usize>, now: Instant) {
        self.rows = rows;
        let decision = self.guard.keep_targets(&self.rows, now);
        self.apply(decision);
    }

    /// The servers to probe.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Endpoint> {
        // A UDP server without a TCP port cannot be probed.
        let probed = self.route.selection.protocol == Protocol::Tcp;
        self.guard.protected().guard.keys().filter(move |_| probed)
    }

    /// The servers that take traffic and can be probed by TCP.
    pub(super) fn servers(&self) -> Vec<Endpoint> {
        let desired = self.desired.borrow();
        let asked = desired
            .iter()
            .filter(|_| self.route.selection.protocol == Protocol::Tcp);
        let servers = asked.flat_map(|desired| &desired.servers);
        let servers = servers.filter(|(_, server)| server.state == State::Up);
        servers.map(|(endpoint, _)| endpoint.clone()).collect()
    }

    /// How many servers are protected.
    pub(super) fn protected(&self) -> usize {
        self.guard.count()
    }

    /// The upstream in messages: those of `stream {}` are marked.
    pub(super) fn name(&self) -> String {
        self.route.name()
    }

    /// Which servers stay without a record in the target of this reconciler, and why: those that take traffic there, if
    /// that is known.
    pub(super) fn protect(&self, number: usize, told: &mut UpstreamStatus, clock: &Clock) {
        let protected = self.guard.protected();
        let serving = self.guard.seen(number).filter(|seen| seen.current);
        let serving = serving.and_then(|seen| seen.serving.as_ref());
        let is_there = |server: &Endpoint| serving.is_none_or(|serving| serving.contains(server));
        let min_servers = protected
            .min_servers
            .keys()
            .filter(|server| is_there(server));
        let min_servers = min_servers.map(|server| Protected {
            server: server.clone(),
            why: "the last that takes traffic".to_owned(),
            until: None,
        });
        let guard = protected
            .guard
            .iter()
            .filter(|(server, _)| is_there(server));
        let guard = guard.map(|(server, (_, _, until))| Protected {
            server: server.clone(),
            why: "too many records vanished at once".to_owned(),
            until: Some(clock.read(*until)),
        });
        let mut protected = min_servers.chain(guard);
        told.protected = protected.by_ref().take(MAX_LISTED).collect();
        told.protected_more = count(protected.count());
    }

    fn apply(&mut self, decision: Decision) {
        if let Some(desired) = decision.desired {
            self.desired.send_replace(Some(desired));
        }
        for notice in &decision.notices {
            notices::say(&self.route, notice);
        }
    }
}

/// Which records, other than those that a route takes, name an address.
pub(super) fn claims<'a>(
    route: &Route,
    records: &'a Records,
) -> impl Fn(&Endpoint) -> Claim + use<'a> {
    let (service, protocol) = (route.service.clone(), route.selection.protocol);
    let (siblings, others) = (OnceCell::new(), OnceCell::new());
    move |endpoint| {
        let others = others.get_or_init(|| records.claims(&service, protocol));
        let siblings = siblings.get_or_init(|| {
            let known = records.service(&service);
            let records = known.into_iter().flat_map(|known| known.records());
            let records = records.filter(|(_, record)| record.protocol == protocol);
            records
                .map(|(_, record)| record.endpoint.canonical())
                .collect::<BTreeSet<_>>()
        });
        let endpoint = endpoint.canonical();
        match others.get(&endpoint) {
            Some(since) => Claim::Other(*since),
            None if siblings.contains(&endpoint) => Claim::Sibling,
            None => Claim::Nobody,
        }
    }
}

/// The found servers, as servers of the route.
pub(super) fn finding(route: &Route, servers: &[Serving], lacking: &[Endpoint]) -> Finding {
    let parameters = route.selection.terms.parameters;
    // Of two with one address, the one that is not a backup counts.
    let backups = servers.iter().filter(|server| server.backup);
    let others = servers.iter().filter(|server| !server.backup);
    let extra = backups.chain(others).filter_map(|found| {
        let server = Server {
            weight: found.weight,
            state: State::Up,
            parameters: Parameters {
                backup: found.backup,
                ..parameters
            },
        };
        let instance = found.endpoint.to_string().parse().ok()?;
        let origin = Arc::new(Origin::named(instance));
        Some((found.endpoint.clone(), (server, origin)))
    });
    Finding {
        extra: extra.collect(),
        lacking: lacking.iter().cloned().collect(),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
