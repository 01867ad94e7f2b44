//! What the upstream of one route should be, told to the reconcilers that make it so.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::settings::Route;
use crate::desired::keep::{Decision, Fate, Foreign, Keeper, Notice, Why};
use crate::desired::{Choices, Effect, Origin, Pool, Records, Server, SplitNotice};
use crate::plan::Serving;
use crate::reconcile::Published;
use crate::record::{Endpoint, InstanceName, Kept, KeptServer, Protocol, ServiceName, State};
use crate::upstream::Layer;

/// How many addresses are named in one line of the log.
const NAMED: usize = 5;

/// Decides what the upstream of one route should be, and tells the reconcilers.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) route: Arc<Route>,
    pool: Pool,
    keeper: Keeper,
    desired: watch::Sender<Published>,
    /// What the presence tells of the keeper, and for which of its decisions.
    rules: u32,
}

impl Publisher {
    /// Knows nothing yet, but for what a `former` one of the same upstream keeps.
    pub(super) fn new(route: Arc<Route>, former: Option<&Self>) -> Self {
        let keeper = former.map(|former| former.keeper.succeeded_by(route.limits));
        Self {
            pool: route.pool(),
            keeper: keeper.unwrap_or_else(|| Keeper::new(route.limits)),
            desired: watch::channel(None).0,
            rules: rules(&route),
            route,
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Published> {
        self.desired.subscribe()
    }

    pub(super) fn service(&self) -> &ServiceName {
        self.pool.service()
    }

    /// The records or what people have chosen have changed.
    pub(super) fn follow(&mut self, records: &Records, choices: &Choices, effect: &Effect) {
        let wanted = self.pool.decide(records, choices);
        let Some((wanted, known)) = wanted.zip(records.service(self.pool.service())) else {
            return;
        };
        self.say_split(wanted.split);
        let names = OnceCell::new();
        let named = || {
            known
                .records()
                .map(|(name, _)| name)
                .collect::<BTreeSet<_>>()
        };
        let service = self.pool.service();
        let fate = |instance: &InstanceName| {
            let goodbye = || {
                effect
                    .goodbyes
                    .contains(&(service.clone(), instance.clone()))
            };
            match names.get_or_init(named).contains(instance) {
                true => Fate::Recorded,
                false if goodbye() => Fate::SaidGoodbye,
                false => Fate::Unknown,
            }
        };
        let decision = self.keeper.follow(wanted.desired, fate, Instant::now());
        self.settle(decision);
    }

    /// Time has passed.
    pub(super) fn pass(&mut self, now: Instant) {
        let decision = self.keeper.pass(now);
        self.settle(decision);
    }

    /// When time has passed that matters.
    pub(super) fn due(&self) -> Option<Instant> {
        self.keeper.due()
    }

    /// Nobody answers there.
    pub(super) fn dead(&mut self, endpoint: &Endpoint) {
        let decision = self.keeper.dead(endpoint);
        self.settle(decision);
    }

    /// Lets go of what is kept; gives how many servers that are.
    pub(super) fn release(&mut self) -> u64 {
        let released = self.keeper.kept_for_any_sake();
        let decision = self.keeper.release();
        let upstream = &self.route.upstream;
        info!(%upstream, servers = released, "released: it follows its records until it is back at its floor");
        self.settle(decision);
        count(released)
    }

    /// What other pushers keep; `orphans` were kept by some that are gone.
    pub(super) fn honour<'a>(
        &mut self,
        kept: impl Iterator<Item = &'a KeptServer>,
        orphans: &[KeptServer],
        now: Instant,
    ) {
        let foreign = self.foreign(kept, now);
        let orphans = self.foreign(orphans.iter(), now);
        if !orphans.is_empty() {
            let decision = self.keeper.inherit(orphans, now);
            self.settle(decision);
        }
        let decision = self.keeper.honour(foreign);
        self.settle(decision);
    }

    /// These take traffic in a target of which nothing was known before.
    pub(super) fn find(&mut self, servers: &[Serving], now: Instant) {
        let parameters = self.route.selection.terms.parameters;
        // One of the other kind cannot stay as it is.
        let alike = servers
            .iter()
            .filter(|server| server.backup == parameters.backup);
        let found = alike.filter_map(|found| {
            let server = Server {
                weight: found.weight,
                state: State::Up,
                parameters,
            };
            let instance = found.endpoint.to_string().parse().ok()?;
            let origin = Arc::new(Origin::named(instance));
            Some((found.endpoint.clone(), (server, origin)))
        });
        let decision = self.keeper.find(found.collect(), now);
        if decision.desired.is_some() {
            let Route {
                upstream, limits, ..
            } = &*self.route;
            let min_servers = limits.min_servers;
            warn!(%upstream, min_servers, "nginx sends traffic to servers that no record names, and the records name too few: \
                they are treated as if their records had vanished just now");
        }
        self.settle(decision);
    }

    /// Those that the same rules took here.
    fn foreign<'a>(
        &self,
        kept: impl Iterator<Item = &'a KeptServer>,
        now: Instant,
    ) -> BTreeMap<Endpoint, Foreign> {
        let clock = Timestamp::now();
        let mut foreign = BTreeMap::<Endpoint, Foreign>::new();
        for server in kept.filter(|server| server.rules == self.rules) {
            let left =
                |until: Timestamp| until.duration_since(clock).max(jiff::SignedDuration::ZERO);
            let held_until = server.until.map(|until| now + left(until).unsigned_abs());
            let parameters = self.route.selection.terms.parameters;
            let (weight, state) = (server.weight, State::Up);
            let entry = foreign.entry(server.endpoint.clone());
            let entry = entry.or_insert_with(|| Foreign {
                server: Server {
                    weight,
                    state,
                    parameters,
                },
                origin: Arc::new(Origin::named(server.instance.clone())),
                held_until,
            });
            // The floor of one weighs more than the guard of another.
            entry.held_until = entry.held_until.and(held_until);
        }
        foreign
    }

    /// The servers that are to be probed.
    pub(super) fn suspects(&self) -> impl Iterator<Item = &Endpoint> {
        // Nothing is known of a UDP server that takes no TCP connection.
        let probed = self.route.selection.protocol == Protocol::Tcp;
        self.keeper.kept().guard.keys().filter(move |_| probed)
    }

    /// Adds what is kept here to what the presence tells.
    pub(super) fn tell(&self, told: &mut BTreeMap<String, Kept>, clock: &Clock) {
        let kept = self.keeper.kept();
        if kept.is_empty() {
            return;
        }
        let upstream = &self.route.upstream;
        let name = match self.route.layer {
            Layer::Http => upstream.to_string(),
            Layer::Stream => format!("stream/{upstream}"),
        };
        let entry = told.entry(name).or_default();
        entry.floor += count(kept.floor.len());
        entry.guard += count(kept.guard.len());
        let floor = kept.floor.iter();
        let floor = floor.map(|(endpoint, (server, origin))| (endpoint, server, origin, None));
        let guard = kept.guard.iter();
        let guard = guard.map(|(endpoint, (server, origin, until))| {
            (endpoint, server, origin, Some(clock.read(*until)))
        });
        for (endpoint, server, origin, until) in floor.chain(guard) {
            entry.until = entry.until.max(until);
            entry.servers.push(KeptServer {
                endpoint: endpoint.clone(),
                weight: server.weight,
                instance: origin.instance.clone(),
                until,
                rules: self.rules,
            });
        }
    }

    fn settle(&mut self, decision: Decision) {
        if let Some(desired) = decision.desired {
            self.desired.send_replace(Some(desired));
        }
        for notice in &decision.notices {
            self.say(notice);
        }
    }

    fn say_split(&self, notice: Option<SplitNotice>) {
        let (upstream, service) = (&self.route.upstream, &self.route.service);
        match notice {
            Some(SplitNotice::Ignored) => warn!(
                %upstream, %service,
                "the split matches no instance that takes traffic; it is not followed until one does"
            ),
            Some(SplitNotice::Followed) => info!(%upstream, %service, "the split is followed now"),
            None => {}
        }
    }

    fn say(&self, notice: &Notice) {
        let Route {
            upstream, limits, ..
        } = &*self.route;
        match notice {
            Notice::FloorKeeps(servers) => {
                let (servers, min_servers) = (named(servers), limits.min_servers);
                warn!(%upstream, %servers, min_servers, "the last servers: kept in rotation although their records say \
                    otherwise, until enough others take traffic; `sidekick release {upstream}` lets them go");
            }
            Notice::FloorEnds => info!(%upstream, "the last servers are not kept any longer"),
            Notice::GuardKeeps(servers) => {
                let (servers, hold) = (named(servers), humantime::format_duration(limits.hold));
                let max_removal = limits.max_removal;
                warn!(%upstream, %servers, %max_removal, %hold, "too many records vanished at once and without a goodbye: \
                    their servers stay for now, but for those that turn out to be dead; `sidekick release {upstream}` lets \
                    them go");
            }
            Notice::GuardLetsGo(servers, why) => {
                let servers = named(servers);
                let why = match why {
                    Why::Told => "their records are back, or say goodbye",
                    Why::Swapped => "as many others have come",
                    Why::Dead => "nobody answers there",
                    Why::Over => "their records did not come back in time",
                    Why::Released => "released",
                };
                info!(%upstream, %servers, "no longer kept without a record: {why}");
            }
            Notice::Honours(servers) => {
                let servers = named(servers);
                info!(%upstream, %servers, "kept in rotation because another pusher keeps them");
            }
        }
    }
}

/// Turns points in time into times of day, always the same ones.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    at: Timestamp,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            at: super::now(),
        }
    }

    fn read(&self, time: Instant) -> Timestamp {
        let since = time.saturating_duration_since(self.started);
        // Whole seconds: it is for people.
        let since = Duration::from_secs(since.as_secs());
        self.at.checked_add(since).unwrap_or(self.at)
    }
}

/// A number for the rules by which a route takes servers: pushers that share it make the same of the same records. Stable,
/// as they may be built apart (FNV-1a).
fn rules(route: &Route) -> u32 {
    let rules = (
        route.layer,
        &route.upstream,
        &route.service,
        &route.selection,
    );
    let text = format!("{rules:?}");
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn named(servers: &[Endpoint]) -> String {
    let shown: Vec<_> = servers
        .iter()
        .take(NAMED)
        .map(ToString::to_string)
        .collect();
    let shown = shown.join(", ");
    match servers.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
