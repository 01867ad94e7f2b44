//! What runs for what is to be pushed: a sentinel for each target, a reconciler for each upstream of it.
//!
//! A new configuration is compared with what runs. What did not change is not touched: its drains, its backoff and what
//! was decided about it go on. What is new starts, what is gone stops; its servers stay as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::info;

use super::LOOK;
use super::publisher::{Clock, Publisher};
use super::reckoning::Reckoning;
use super::settings::{Route, Settings};
use super::target::Target;
use crate::desired::{Choices, Effect, Records, Seen};
use crate::reconcile::{self, Found, Links, Pacing, Published, Report};
use crate::record::TargetStatus;
use crate::registry::client::Cluster;

/// All that runs.
#[derive(Debug)]
pub(super) struct Roster {
    tasks: JoinSet<()>,
    targets: Vec<Running>,
    /// What happens to one service wakes the upstreams of no other.
    publishers: Vec<Publisher>,
    pacing: watch::Sender<Pacing>,
    /// Whether other pushers know better at the moment.
    deferring: watch::Sender<bool>,
    reports: mpsc::UnboundedSender<Report>,
    finds: mpsc::UnboundedSender<Found>,
    /// For targets that lie in etcd.
    cluster: Cluster,
    /// Never given twice: what a stopped reconciler still has to say is nobody else's.
    next_number: usize,
}

/// A target that is pushed to.
#[derive(Debug)]
struct Running {
    /// As it was when it started: all its upstreams share what it holds, those that were added later too.
    target: Target,
    permits: Arc<Semaphore>,
    restarts: watch::Receiver<u64>,
    sentinel: AbortHandle,
    rows: Vec<Row>,
}

/// One upstream of a target.
#[derive(Debug)]
struct Row {
    route: Arc<Route>,
    number: usize,
    reconciler: AbortHandle,
}

impl Roster {
    /// Nothing runs yet; everything will report here.
    pub(super) fn new(
        reports: mpsc::UnboundedSender<Report>,
        finds: mpsc::UnboundedSender<Found>,
        cluster: Cluster,
    ) -> Self {
        Self {
            tasks: JoinSet::new(),
            targets: Vec::new(),
            publishers: Vec::new(),
            pacing: watch::Sender::new(Pacing::default()),
            deferring: watch::Sender::new(false),
            reports,
            finds,
            cluster,
            next_number: 0,
        }
    }

    /// Makes what runs what the settings say. What is new is told nothing yet.
    pub(super) fn apply(&mut self, settings: &Settings, reckoning: &mut Reckoning) {
        self.pacing.send_replace(settings.pacing);
        let formerly = std::mem::take(&mut self.targets);
        for running in formerly {
            let name = running.target.name().clone();
            let mut targets = settings.targets.iter();
            let now = targets.find(|target| *target.name() == name);
            self.keep(running, now, reckoning);
        }
        for target in &settings.targets {
            let place = self.place_of(target);
            for route in target.routes() {
                if !self.targets[place].has(route) {
                    self.start(place, route, reckoning);
                }
            }
        }
        // Only now: what was stopped must not see the end of its publisher.
        let routed: Vec<_> = settings.routes().map(|(_, route)| route).collect();
        self.publishers
            .retain(|publisher| routed.contains(&&publisher.route));
        let now = Instant::now();
        for publisher in &mut self.publishers {
            let rows = self.targets.iter().flat_map(|running| &running.rows);
            let rows = rows.filter(|row| row.route == publisher.route);
            publisher.keep_rows(rows.map(|row| row.number).collect(), now);
        }
    }

    /// Stops what is not so any more in a target that is `now` so, or gone.
    fn keep(&mut self, mut running: Running, now: Option<&Target>, reckoning: &mut Reckoning) {
        let same = now.filter(|target| target.is_told_as(&running.target));
        let stays = |row: &Row| same.is_some_and(|target| target.routes().contains(&row.route));
        let (stay, go): (Vec<_>, Vec<_>) = running.rows.into_iter().partition(stays);
        for row in go {
            row.reconciler.abort();
            reckoning.remove(row.number);
            let (name, upstream) = (running.target.name(), &row.route.upstream);
            let successor = now.is_some_and(|target| {
                let mut routes = target.routes().iter();
                routes.any(|route| route.is_upstream_of(&row.route))
            });
            if !successor {
                info!(target = %name, %upstream, "not pushed any more; its servers stay as they are");
            }
        }
        running.rows = stay;
        match same {
            Some(_) => self.targets.push(running),
            None => running.sentinel.abort(),
        }
    }

    /// Where a target stands in the list; it is started when it does not.
    fn place_of(&mut self, target: &Target) -> usize {
        let mut known = self.targets.iter();
        if let Some(place) = known.position(|running| running.target.name() == target.name()) {
            return place;
        }
        let (restart, restarts) = watch::channel(0);
        let watch = target.clone().watch(LOOK, restart, self.cluster.clone());
        let sentinel = self.tasks.spawn(watch);
        self.targets.push(Running {
            target: target.clone(),
            permits: Arc::new(Semaphore::new(target.concurrency())),
            restarts,
            sentinel,
            rows: Vec::new(),
        });
        self.targets.len() - 1
    }

    fn start(&mut self, place: usize, route: &Arc<Route>, reckoning: &mut Reckoning) {
        let desired = self.subscribe(route);
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
        reckoning.add(number, target, route);
        let (name, upstream, service) = (target.name(), &route.upstream, &route.service);
        info!(target = %name, %upstream, %service, "pushing");
        let Some(driver) = target.driver(route, &self.cluster) else {
            // A file is made anew with all its upstreams: never one that it was not made with.
            return;
        };
        let reconciler = self.tasks.spawn(reconcile::run(driver, links));
        let route = route.clone();
        running.rows.push(Row {
            route,
            number,
            reconciler,
        });
    }

    /// What the upstream of a route should be. A route that several targets take is decided once, for all.
    fn subscribe(&mut self, route: &Arc<Route>) -> watch::Receiver<Published> {
        let mut known = self.publishers.iter();
        if let Some(publisher) = known.find(|known| known.route == *route) {
            let mut subscriber = publisher.subscribe();
            // What is known already is news to whoever starts now.
            subscriber.mark_changed();
            return subscriber;
        }
        let mut former = self.publishers.iter();
        let former = former.find(|former| former.route.is_upstream_of(route));
        let publisher = Publisher::new(route.clone(), former);
        let subscriber = publisher.subscribe();
        self.publishers.push(publisher);
        subscriber
    }

    /// Tells the reconcilers of the services that have changed what should be.
    pub(super) fn publish(&mut self, records: &Records, choices: &Choices, effect: &Effect) {
        let changed = |publisher: &&mut Publisher| effect.services.contains(publisher.service());
        self.publishers
            .iter_mut()
            .filter(changed)
            .for_each(|publisher| publisher.follow(records, choices, effect));
        self.publishers
            .iter_mut()
            .filter(|publisher| !effect.services.contains(publisher.service()))
            .for_each(|publisher| publisher.yield_to(records));
    }

    /// Tells those that were never told anything.
    pub(super) fn publish_new(&mut self, records: &Records, choices: &Choices) {
        let effect = Effect::default();
        self.publishers
            .iter_mut()
            .filter(|publisher| publisher.subscribe().borrow().is_none())
            .for_each(|publisher| publisher.follow(records, choices, &effect));
    }

    /// Who decides what the upstreams should be: one for each route.
    pub(super) fn publishers(&self) -> impl Iterator<Item = &Publisher> {
        self.publishers.iter()
    }

    /// The same, to be told something.
    pub(super) fn publishers_mut(&mut self) -> impl Iterator<Item = &mut Publisher> {
        self.publishers.iter_mut()
    }

    /// Takes into account what a reconciler has found in its target.
    pub(super) fn find(&mut self, found: &Found, records: &Records, now: Instant) {
        if let Some(publisher) = self.publisher_of(found.number) {
            publisher.find(found, records, now);
        }
    }

    /// Takes into account what the target of a reconciler makes of the servers.
    pub(super) fn see(&mut self, number: usize, seen: &Seen, now: Instant) {
        if let Some(publisher) = self.publisher_of(number) {
            publisher.see(number, seen, now);
        }
    }

    /// Who decides what the upstream of a reconciler should be.
    fn publisher_of(&mut self, number: usize) -> Option<&mut Publisher> {
        let mut rows = self.targets.iter().flat_map(|running| &running.rows);
        let row = rows.find(|row| row.number == number)?;
        let mut publishers = self.publishers.iter_mut();
        publishers.find(|publisher| publisher.route == row.route)
    }

    /// Tells of each upstream of each target which servers stay there without a record.
    pub(super) fn protect(&self, told: &mut BTreeMap<String, TargetStatus>, clock: &Clock) {
        for running in &self.targets {
            let name = running.target.name();
            for row in &running.rows {
                let mut publishers = self.publishers.iter();
                let Some(publisher) = publishers.find(|known| known.route == row.route) else {
                    continue;
                };
                if publisher.kept() > 0 {
                    let target = told.entry(name.to_string()).or_default();
                    let upstream = target.upstreams.entry(publisher.name()).or_default();
                    publisher.protect(row.number, upstream, clock);
                }
            }
        }
    }

    /// Whether other pushers know better at the moment.
    pub(super) fn is_deferring(&self) -> bool {
        *self.deferring.borrow()
    }

    /// Says whether other pushers know better at the moment; whether that is news.
    pub(super) fn defer(&self, defer: bool) -> bool {
        self.deferring
            .send_if_modified(|deferring| std::mem::replace(deferring, defer) != defer)
    }

    /// Waits until something ends that never should. Cancel safe.
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

    /// Stops everything. No target is left in the middle of a change.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
        let leaving = self.targets.iter().map(|running| running.target.leave());
        futures_util::future::join_all(leaving).await;
    }
}

impl Running {
    fn has(&self, route: &Arc<Route>) -> bool {
        self.rows.iter().any(|row| row.route == *route)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::push::config::{Overrides, read};
    use crate::record::{MetaPrefix, Prefix};
    use crate::registry::client;
    use crate::registry::watch::Update;

    fn settings(text: &str) -> Settings {
        let (config, mistakes) = read(text, None);
        assert_eq!(mistakes, []);
        let overrides = Overrides {
            id: "edge".parse().ok(),
            ..Overrides::default()
        };
        overrides.settings(&config).unwrap()
    }

    /// What runs: the target, the upstream and the number of each reconciler.
    fn running(roster: &Roster) -> BTreeSet<(String, String, usize)> {
        let targets = roster.targets.iter();
        let rows = targets.flat_map(|running| {
            let name = running.target.name();
            let rows = running.rows.iter();
            rows.map(move |row| (name.to_string(), row.route.upstream.to_string(), row.number))
        });
        rows.collect()
    }

    fn rows(rows: &[(&str, &str, usize)]) -> BTreeSet<(String, String, usize)> {
        let rows = rows.iter();
        rows.map(|(target, upstream, number)| {
            ((*target).to_owned(), (*upstream).to_owned(), *number)
        })
        .collect()
    }

    /// Nobody listens at these ports.
    const TWO: &str = r#"
        [[nginx]]
        name = "a"
        api = "http://127.0.0.1:1/"
        [[nginx]]
        name = "b"
        api = "http://127.0.0.1:1/"
    "#;
    const X: &str = "[[upstream]]\nname = \"x\"\n";
    const Y: &str = "[[upstream]]\nname = \"y\"\n";

    struct Stage {
        roster: Roster,
        reckoning: Reckoning,
        _reports: mpsc::UnboundedReceiver<Report>,
    }

    impl Stage {
        fn new() -> Self {
            let (report, reports) = mpsc::unbounded_channel();
            let (find, _) = mpsc::unbounded_channel();
            Self {
                roster: Roster::new(report, find, Cluster::new(client::Settings::default())),
                reckoning: Reckoning::default(),
                _reports: reports,
            }
        }

        fn apply(&mut self, text: &str) -> BTreeSet<(String, String, usize)> {
            self.roster.apply(&settings(text), &mut self.reckoning);
            running(&self.roster)
        }
    }

    #[tokio::test]
    async fn what_did_not_change_is_not_touched() {
        let mut stage = Stage::new();
        let first = rows(&[("a", "x", 0), ("b", "x", 1)]);
        assert_eq!(stage.apply(&format!("{TWO}{X}")), first);
        assert_eq!(stage.apply(&format!("resync = \"9s\"\n{TWO}{X}")), first);
        let more = stage.apply(&format!("{TWO}{Y}nginx = [\"b\"]\n{X}"));
        assert_eq!(more, rows(&[("a", "x", 0), ("b", "x", 1), ("b", "y", 2)]));
        let fewer = stage.apply(&format!("{TWO}{X}nginx = [\"a\"]\n{Y}nginx = [\"b\"]\n"));
        assert_eq!(fewer, rows(&[("a", "x", 0), ("b", "y", 2)]));
        assert_eq!(stage.roster.publishers.len(), 2);
        assert_eq!(stage.reckoning.services().len(), 2);
    }

    #[tokio::test]
    async fn what_changed_starts_anew() {
        let mut stage = Stage::new();
        stage.apply(&format!("{TWO}{X}{Y}"));
        let changed = stage.apply(&format!("{TWO}{X}drain_timeout = \"1s\"\n{Y}"));
        let expected = [("a", "x", 4), ("b", "x", 5), ("a", "y", 1), ("b", "y", 3)];
        assert_eq!(changed, rows(&expected));
        let elsewhere = TWO.replacen(":1/", ":2/", 1);
        let moved = stage.apply(&format!("{elsewhere}{X}drain_timeout = \"1s\"\n{Y}"));
        let expected = [("a", "x", 6), ("b", "x", 5), ("a", "y", 7), ("b", "y", 3)];
        assert_eq!(moved, rows(&expected));
        assert_eq!(stage.roster.publishers.len(), 2);
    }

    #[tokio::test]
    async fn a_route_is_decided_once_and_told_to_whoever_takes_it_later() {
        let mut stage = Stage::new();
        stage.apply(&format!("{TWO}{X}nginx = [\"a\"]\n{Y}nginx = [\"b\"]\n"));
        let mut records = Records::new(
            Prefix::default(),
            ["x", "y"].map(|name| name.parse().unwrap()),
        );
        let entries = Vec::new();
        records.update(&Update::Listed {
            revision: 7,
            entries,
        });
        let mut choices = Choices::new(
            MetaPrefix::default(),
            ["x", "y"].map(|name| name.parse().unwrap()),
        );
        let nothing = Update::Listed {
            revision: 7,
            entries: Vec::new(),
        };
        let effect = choices.update(&nothing);
        stage.roster.publish(&records, &choices, &effect);
        let settings = settings(&format!("{TWO}{X}{Y}nginx = [\"b\"]\n"));
        let route = settings.targets[0].routes()[0].clone();
        let late = stage.roster.subscribe(&route);
        assert_eq!(stage.roster.publishers.len(), 2, "it is known");
        assert!(
            late.has_changed().unwrap(),
            "what was decided before is news"
        );
    }

    #[tokio::test]
    async fn what_was_stopped_is_not_what_broke() {
        let mut stage = Stage::new();
        stage.apply(&format!("{TWO}{X}{Y}"));
        stage.apply(&format!("{TWO}{X}"));
        tokio::select! {
            biased;
            () = stage.roster.broken() => panic!("a stopped task counts as broken"),
            () = async { for _ in 0..100 { tokio::task::yield_now().await; } } => {}
        }
    }
}
