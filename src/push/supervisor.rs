//! The running tasks: a restart_watch for each target, a reconciler for each upstream of it.
//!
//! A new configuration is compared with the running tasks. Unchanged ones are not touched: their drains, backoff and
//! decisions continue. New ones start, removed ones stop; their servers stay as they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::info;

use super::clock::Clock;
use super::publisher::Publisher;
use super::publishers::Publishers;
use super::route::{Place, Route};
use super::settings::Settings;
use super::status::Status;
use super::target::Target;
use crate::etcd::client::Cluster;
use crate::model::TargetStatus;
use crate::push::reconcile;
use crate::push::reconcile::{Found, Links, Pacing, Published, Report};
use crate::upstream::guard::Seen;
use crate::upstream::overrides::Overrides;
use crate::upstream::records::{Effect, Records};
use crate::util::few::count;

/// Between two checks whether nginx was restarted. A check is one small request; until a restart is noticed, clients of
/// an upstream that has lost its servers get errors.
const LOOK: Duration = Duration::from_secs(1);

/// All running tasks.
#[derive(Debug)]
pub(super) struct Supervisor {
    tasks: JoinSet<()>,
    targets: Vec<Running>,
    /// Unfinished work of former targets: none may be left in the middle of a change.
    ending: JoinSet<()>,
    /// By service, so that a change wakes only the upstreams of that service.
    publishers: Publishers,
    /// The publisher of each reconciler, by number.
    deciders: BTreeMap<usize, usize>,
    pacing: watch::Sender<Pacing>,
    /// Whether other pushers have newer information now.
    deferring: watch::Sender<bool>,
    reports: mpsc::UnboundedSender<Report>,
    finds: mpsc::UnboundedSender<Found>,
    /// For targets in etcd.
    cluster: Cluster,
    /// Never reused: a late report of a stopped reconciler must match no other.
    next_number: usize,
}

/// A running target.
#[derive(Debug)]
struct Running {
    /// As it was at its start: all its upstreams share its state, including later ones.
    target: Target,
    permits: Arc<Semaphore>,
    restarts: watch::Receiver<u64>,
    restart_watch: AbortHandle,
    rows: BTreeMap<Place, Row>,
}

/// One upstream of a target.
#[derive(Debug)]
struct Row {
    route: Arc<Route>,
    number: usize,
    publisher: usize,
    reconciler: AbortHandle,
}

impl Supervisor {
    /// Nothing runs yet; every task will report here.
    pub(super) fn new(
        reports: mpsc::UnboundedSender<Report>,
        finds: mpsc::UnboundedSender<Found>,
        cluster: Cluster,
    ) -> Self {
        Self {
            tasks: JoinSet::new(),
            targets: Vec::new(),
            ending: JoinSet::new(),
            publishers: Publishers::default(),
            deciders: BTreeMap::new(),
            pacing: watch::Sender::new(Pacing::default()),
            deferring: watch::Sender::new(false),
            reports,
            finds,
            cluster,
            next_number: 0,
        }
    }

    /// Starts and stops tasks for these settings. New ones have no desired state yet.
    pub(super) fn apply(&mut self, settings: &Settings, status: &mut Status) {
        self.pacing.send_replace(settings.pacing);
        while self.ending.try_join_next().is_some() {}
        let formerly = std::mem::take(&mut self.targets);
        let wanted: HashMap<_, _> = settings
            .targets
            .iter()
            .map(|target| (target.name().clone(), target))
            .collect();
        for running in formerly {
            let now = wanted.get(running.target.name()).copied();
            self.keep(running, now, status);
        }
        let running = self.targets.iter().enumerate();
        let places: HashMap<_, _> = running
            .map(|(place, running)| (running.target.name().clone(), place))
            .collect();
        for target in &settings.targets {
            let known = places.get(target.name()).copied();
            let place = known.unwrap_or_else(|| self.watch(target));
            for route in target.routes() {
                if !self.targets[place].has(route) {
                    self.start(place, route, status);
                }
            }
        }
        self.drop_unused_publishers();
    }

    /// Drops the publishers without a reconciler. Call this after all tasks have stopped: they must not see a publisher end.
    fn drop_unused_publishers(&mut self) {
        let rows = self.targets.iter().flat_map(|it| it.rows.values());
        self.deciders = rows.map(|row| (row.number, row.publisher)).collect();
        let mut rows_of = BTreeMap::<usize, Vec<usize>>::new();
        for (number, publisher) in &self.deciders {
            rows_of.entry(*publisher).or_default().push(*number);
        }
        self.publishers
            .retain(|number| rows_of.contains_key(&number));
        let now = Instant::now();
        for (number, rows) in rows_of {
            if let Some(publisher) = self.publishers.get_mut(number) {
                publisher.keep_rows(rows.into_iter().collect(), now);
            }
        }
    }

    /// Stops the upstreams that a target no longer has; all of them if it is gone (`now` is `None`).
    fn keep(&mut self, mut running: Running, now: Option<&Target>, status: &mut Status) {
        let same = now.filter(|target| target.is_told_as(&running.target));
        let routes = now.into_iter().flat_map(Target::routes);
        let wanted: HashMap<_, _> = routes.map(|route| (route.place(), route)).collect();
        let stays = |place: &Place, row: &Row| {
            let wanted = wanted.get(place).copied();
            same.is_some() && wanted == Some(&row.route)
        };
        let rows = running.rows.into_iter();
        let (stay, go): (BTreeMap<_, _>, BTreeMap<_, _>) =
            rows.partition(|(place, row)| stays(place, row));
        for (place, row) in go {
            row.reconciler.abort();
            status.remove(row.number);
            let (name, upstream) = (running.target.name(), &row.route.upstream);
            if !wanted.contains_key(&place) {
                info!(
                    target = %name, %upstream,
                    "not pushed any more; its servers stay as they are, and no announcer waits for it any more: take the upstream \
                    out of there too"
                );
            }
        }
        running.rows = stay;
        match same {
            Some(_) => self.targets.push(running),
            None => {
                running.restart_watch.abort();
                let former = running.target;
                self.ending
                    .spawn(async move { former.driver().leave().await });
            }
        }
    }

    /// Starts the watch of a target; returns its index in the list.
    fn watch(&mut self, target: &Target) -> usize {
        let (restart, restarts) = watch::channel(0);
        let watch = target
            .driver()
            .clone()
            .watch(LOOK, restart, self.cluster.clone());
        let restart_watch = self.tasks.spawn(watch);
        self.targets.push(Running {
            target: target.clone(),
            permits: Arc::new(Semaphore::new(target.concurrency())),
            restarts,
            restart_watch,
            rows: BTreeMap::new(),
        });
        self.targets.len() - 1
    }

    fn start(&mut self, place: usize, route: &Arc<Route>, status: &mut Status) {
        let (publisher, desired) = self.subscribe(route);
        let number = self.next_number;
        self.next_number += 1;
        let running = &mut self.targets[place];
        let target = &running.target;
        let links = Links {
            number,
            target: target.name().clone(),
            upstream: route.upstream.as_str().into(),
            desired,
            restarts: running.restarts.clone(),
            reports: self.reports.clone(),
            finds: self.finds.clone(),
            permits: running.permits.clone(),
            pacing: self.pacing.subscribe(),
            deferring: self.deferring.subscribe(),
        };
        status.add(number, target, route);
        let (name, upstream, service) = (target.name(), &route.upstream, &route.service);
        info!(target = %name, %upstream, %service, "pushing");
        let Some(upstream) = target.upstream(route, &self.cluster) else {
            // A file is rendered with all its upstreams: never with one that it does not know.
            return;
        };
        let reconciler = self.tasks.spawn(reconcile::run(upstream, links));
        let row = Row {
            route: route.clone(),
            number,
            publisher,
            reconciler,
        };
        running.rows.insert(route.place(), row);
    }

    /// The publisher of a route. A route of several targets has one.
    fn subscribe(&mut self, route: &Arc<Route>) -> (usize, watch::Receiver<Published>) {
        let (number, publisher) = self.publishers.of(route);
        let mut subscriber = publisher.subscribe();
        if subscriber.borrow().is_some() {
            // Send what is already known to tasks that start now.
            subscriber.mark_changed();
        }
        (number, subscriber)
    }

    /// Sends the new desired state to the reconcilers of the changed services.
    pub(super) fn publish(&mut self, records: &Records, overrides: &Overrides, effect: &Effect) {
        let changed = |publisher: &&mut Publisher| effect.services.contains(publisher.service());
        self.publishers
            .iter_mut()
            .filter(changed)
            .for_each(|publisher| publisher.follow(records, overrides, effect));
        self.publishers
            .iter_mut()
            .filter(|publisher| !effect.services.contains(publisher.service()))
            .for_each(|publisher| publisher.yield_to(records));
    }

    /// Sends the desired state to reconcilers that never got one.
    pub(super) fn publish_new(&mut self, records: &Records, overrides: &Overrides) {
        let effect = Effect::default();
        self.publishers
            .iter_mut()
            .filter(|publisher| publisher.subscribe().borrow().is_none())
            .for_each(|publisher| publisher.follow(records, overrides, &effect));
    }

    /// The publishers: one for each route.
    pub(super) fn publishers(&self) -> impl Iterator<Item = &Publisher> {
        self.publishers.iter()
    }

    /// Which upstreams protect servers, as the end of a message.
    pub(super) fn protecting(&self) -> String {
        let protecting = self.publishers();
        let protecting = protecting.filter(|publisher| publisher.protected() > 0);
        let protected = protecting.map(|publisher| {
            let (upstream, servers) = (publisher.name(), publisher.protected() as u64);
            format!("; {upstream} protects {}", count(servers, "server"))
        });
        protected.collect()
    }

    /// The publishers, mutable.
    pub(super) fn publishers_mut(&mut self) -> impl Iterator<Item = &mut Publisher> {
        self.publishers.iter_mut()
    }

    /// Passes on what a reconciler has found in its target.
    pub(super) fn find(&mut self, found: &Found, records: &Records, now: Instant) {
        if let Some(publisher) = self.publisher_of(found.number) {
            publisher.find(found, records, now);
        }
    }

    /// Passes on the state of the servers in a reconciler's target.
    pub(super) fn see(&mut self, number: usize, seen: &Seen, now: Instant) {
        if let Some(publisher) = self.publisher_of(number) {
            publisher.see(number, seen, now);
        }
    }

    /// The publisher of a reconciler.
    fn publisher_of(&mut self, number: usize) -> Option<&mut Publisher> {
        let publisher = self.deciders.get(&number)?;
        self.publishers.get_mut(*publisher)
    }

    /// For each upstream of each target, the servers that are protected there.
    pub(super) fn protect(&self, told: &mut BTreeMap<String, TargetStatus>, clock: &Clock) {
        for running in &self.targets {
            let name = running.target.name();
            for row in running.rows.values() {
                let Some(publisher) = self.publishers.get(row.publisher) else {
                    continue;
                };
                if publisher.protected() > 0 {
                    let target = told.entry(name.to_string()).or_default();
                    let upstream = target.upstreams.entry(publisher.name()).or_default();
                    publisher.protect(row.number, upstream, clock);
                }
            }
        }
    }

    /// Whether other pushers have newer information now.
    pub(super) fn is_deferring(&self) -> bool {
        *self.deferring.borrow()
    }

    /// Sets whether other pushers have newer information now.
    pub(super) fn defer(&self, defer: bool) {
        self.deferring
            .send_if_modified(|deferring| std::mem::replace(deferring, defer) != defer);
    }

    /// Waits for the end of a task that should never end. Cancel safe.
    pub(super) async fn broken(&mut self) {
        loop {
            match self.tasks.join_next().await {
                Some(Err(stopped)) if stopped.is_cancelled() => {}
                Some(_) => return,
                // Only between two configurations.
                None => std::future::pending().await,
            }
        }
    }

    /// Stops all tasks. No target is left in the middle of a change.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
        let leaving = self
            .targets
            .iter()
            .map(|running| running.target.driver().leave());
        futures_util::future::join_all(leaving).await;
        while self.ending.join_next().await.is_some() {}
    }
}

impl Running {
    fn has(&self, route: &Arc<Route>) -> bool {
        let known = self.rows.get(&route.place());
        known.is_some_and(|row| row.route == *route)
    }
}

#[cfg(test)]
mod tests;
