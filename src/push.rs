//! The companion: keeps the upstreams of every nginx equal to the records.
//!
//! The watches of the records and of what people have chosen feed the desired state, a reconciler per upstream makes it so, and what all targets have
//! confirmed is told in the pusher's presence, for the announcers to wait for. Nothing is done before the
//! first whole listing, and nothing is undone on the way out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::desired::{Effect, Records};
use crate::notify;
use crate::reconcile::{self, Links, Published, Report};
use crate::record::{Endpoint, Nonce, Presence, Released};
use crate::registry::client::Cluster;
use crate::registry::lease::{self, Holder, Intent, Tenure};
use crate::registry::watch::{Update, Watcher};
use crate::stop::Stop;

mod driver;
mod oneshot;
mod peers;
mod prober;
mod publisher;
mod reckoning;
mod settings;

pub use oneshot::{Difference, RouteResult, compare, once};
use peers::{Peers, Word};
use prober::Prober;
use publisher::{Clock, Publisher};
use reckoning::Reckoning;
pub use settings::{
    DRAIN_TIMEOUT, Kind, REQUEST_TIMEOUT, Route, RouteError, Settings, TTL, Target, TargetError,
};

/// How many upstreams of one target are converged at once.
const CONCURRENCY: usize = 8;
/// Between two looks at whether nginx was restarted. One small request costs it nothing; until it is noticed, clients of an
/// upstream that has lost its servers get errors.
const LOOK: Duration = Duration::from_secs(1);
/// How long the first changes wait until announcers can know that there is somebody to wait for.
const UNANNOUNCED: Duration = Duration::from_secs(1);
/// How long leaving waits until the presence is withdrawn; what is left of it then goes with its lease.
const WITHDRAWAL: Duration = Duration::from_secs(2);

/// How the pusher ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to, and left in good order.
    Left,
    /// A newer pusher has the id.
    Deposed {
        /// Who, in words.
        by: Arc<str>,
    },
    /// A task that never ends has ended: a bug.
    Broken,
}

/// Pushes until asked to stop or deposed. Never gives up on etcd or a target.
pub async fn run(settings: Settings, cluster: Cluster, stop: Stop) -> Outcome {
    for (target, route) in settings.routes() {
        let (nginx, upstream, service) = (target.name(), &route.upstream, &route.service);
        info!(%nginx, %upstream, %service, "pushing");
    }
    Pusher::new(settings, cluster).run(stop).await
}

struct Pusher {
    records: Records,
    watcher: Watcher,
    /// What happens to one service wakes the upstreams of no other.
    publishers: Vec<Publisher>,
    /// What other pushers and people say.
    peers: Peers,
    /// Looks after the servers that are kept without a record.
    prober: Prober,
    dead: mpsc::UnboundedReceiver<Endpoint>,
    /// Whether other pushers know better at the moment.
    deferring: watch::Sender<bool>,
    /// When a decision changes without anything happening.
    due: Option<Instant>,
    clock: Clock,
    /// The reconcilers, and a sentinel for each target.
    tasks: JoinSet<()>,
    reports: mpsc::UnboundedReceiver<Report>,
    reckoning: Reckoning,
    presence: Presence,
    holder: Holder,
    tenure: watch::Receiver<Tenure>,
    start: Start,
    told_ready: bool,
    told_status: String,
}

/// How far the start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// etcd has not told the records yet.
    Unlisted,
    /// The presence is being written; at this time it is no longer waited for.
    Announcing(Instant),
    /// Whatever comes is published.
    Open,
}

/// What to do next.
enum Event {
    Leave,
    Tenure,
    Unannounced,
    Report(Report),
    Update(Update),
    Word(Word),
    Dead(Endpoint),
    Due,
    TaskEnded,
}

impl Pusher {
    fn new(settings: Settings, cluster: Cluster) -> Self {
        let nonce = Nonce::fresh();
        let key = settings.meta.pusher_key(&settings.id);
        let holder = lease::hold(cluster.clone(), key, nonce.clone(), settings.ttl);
        let peers = Peers::new(&cluster, &settings, nonce.clone());
        let (prober, dead) = Prober::new();
        let (report, reports) = mpsc::unbounded_channel();
        let mut pusher = Self {
            records: Records::new(settings.prefix.clone(), settings.services()),
            watcher: Watcher::new(cluster, settings.range()),
            publishers: Vec::new(),
            peers,
            prober,
            dead,
            deferring: watch::channel(false).0,
            due: None,
            clock: Clock::new(),
            tasks: JoinSet::new(),
            reports,
            reckoning: Reckoning::new(settings.routes()),
            presence: Presence {
                services: BTreeMap::new(),
                choices: BTreeMap::new(),
                targets: BTreeMap::new(),
                kept: BTreeMap::new(),
                releases: BTreeMap::new(),
                nonce,
                since: now(),
            },
            tenure: holder.tenure(),
            holder,
            start: Start::Unlisted,
            told_ready: false,
            told_status: String::new(),
        };
        pusher.start_tasks(&settings, &report);
        pusher
    }

    fn start_tasks(&mut self, settings: &Settings, report: &mpsc::UnboundedSender<Report>) {
        let mut number = 0;
        for target in &settings.targets {
            let permits = Arc::new(Semaphore::new(CONCURRENCY));
            let (restart, restarts) = watch::channel(0);
            self.tasks.spawn(target.clone().watch(LOOK, restart));
            for route in target.routes() {
                let links = Links {
                    number,
                    target: target.name().clone(),
                    upstream: route.upstream.as_str().into(),
                    desired: self.subscribe(route),
                    restarts: restarts.clone(),
                    deferring: self.deferring.subscribe(),
                    reports: report.clone(),
                    permits: permits.clone(),
                };
                let driver = target.driver(route);
                self.tasks
                    .spawn(reconcile::run(driver, links, settings.pacing));
                number += 1;
            }
        }
    }

    /// What the upstream of a route should be. A route that several targets take is decided once, for all.
    fn subscribe(&mut self, route: &Arc<Route>) -> watch::Receiver<Published> {
        let mut known = self.publishers.iter();
        if let Some(publisher) = known.find(|known| Arc::ptr_eq(&known.route, route)) {
            return publisher.subscribe();
        }
        let publisher = Publisher::new(route.clone());
        let subscriber = publisher.subscribe();
        self.publishers.push(publisher);
        subscriber
    }

    async fn run(mut self, mut stop: Stop) -> Outcome {
        loop {
            match self.next_event(&mut stop).await {
                Event::Leave => return self.leave(stop).await,
                Event::Tenure => {
                    let tenure = self.tenure.borrow_and_update().clone();
                    if let Tenure::Deposed { by } = tenure {
                        error!(%by, "another pusher has this id now; it is left to that one");
                        return Outcome::Deposed { by };
                    }
                    self.note(&tenure);
                }
                Event::Unannounced => {
                    warn!(
                        "the presence is not in etcd yet: announcers do not know that they should wait for this pusher"
                    );
                    self.open();
                }
                Event::Report((number, standing)) => self.reckoning.update(number, standing),
                Event::Update(update) => {
                    let effect = self.records.update(&update);
                    self.take_in(&effect);
                }
                Event::Word(word) => self.heed(&word),
                Event::Dead(endpoint) => self.decide(|publisher| publisher.dead(&endpoint)),
                Event::Due => {
                    let now = Instant::now();
                    self.decide(|publisher| publisher.pass(now));
                }
                Event::TaskEnded => {
                    error!("a task ended that never should; please report this");
                    return Outcome::Broken;
                }
            }
            self.tell();
        }
    }

    async fn next_event(&mut self, stop: &mut Stop) -> Event {
        let Self {
            tenure,
            reports,
            watcher,
            tasks,
            peers,
            dead,
            due,
            ..
        } = self;
        let overdue = async {
            match self.start {
                Start::Announcing(until) => sleep_until(until).await,
                Start::Unlisted | Start::Open => std::future::pending().await,
            }
        };
        let due = async {
            match *due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.leave() => Event::Leave,
            changed = tenure.changed() => if changed.is_ok() { Event::Tenure } else { Event::TaskEnded },
            Some(report) = reports.recv() => Event::Report(report),
            update = watcher.next() => Event::Update(update),
            word = peers.next() => Event::Word(word),
            Some(endpoint) = dead.recv() => Event::Dead(endpoint),
            () = due => Event::Due,
            Some(_) = tasks.join_next() => Event::TaskEnded,
            () = overdue => Event::Unannounced,
        }
    }

    fn note(&mut self, tenure: &Tenure) {
        if let Tenure::Held { .. } = tenure {
            // What others keep is known by now: nothing is announced before.
            self.open();
            if !self.told_ready {
                self.told_ready = true;
                notify::ready();
            }
        }
    }

    fn take_in(&mut self, effect: &Effect) {
        log_quarantine(effect);
        match self.start {
            Start::Unlisted if !(self.records.is_listed() && self.peers.is_listed()) => {}
            // Whoever routes must be known to those who wait for the routing: first the presence, then the servers.
            Start::Unlisted => self.start = Start::Announcing(Instant::now() + UNANNOUNCED),
            Start::Announcing(_) => {}
            Start::Open => self.publish(effect),
        }
    }

    /// From now on changes are published, beginning with all that is known.
    fn open(&mut self) {
        if let Start::Announcing(_) = self.start {
            self.start = Start::Open;
            self.publish(&Effect {
                services: self.records.services().cloned().collect(),
                ..Effect::default()
            });
        }
    }

    fn publish(&mut self, effect: &Effect) {
        let Self {
            publishers,
            records,
            peers,
            ..
        } = self;
        let changed = |publisher: &&mut Publisher| effect.services.contains(publisher.service());
        for publisher in publishers.iter_mut().filter(changed) {
            publisher.follow(records, peers.choices(), effect);
        }
        self.look_after();
    }

    /// Every upstream decides something.
    fn decide(&mut self, each: impl FnMut(&mut Publisher)) {
        self.publishers.iter_mut().for_each(each);
        self.look_after();
    }

    /// Sees to what is kept now, in the presence too.
    fn look_after(&mut self) {
        let publishers = self.publishers.iter();
        self.due = publishers.filter_map(Publisher::due).min();
        let suspects = self.publishers.iter().flat_map(Publisher::suspects);
        self.prober
            .watch(&suspects.cloned().collect::<BTreeSet<_>>());
        self.presence.kept.clear();
        for publisher in &self.publishers {
            publisher.tell(&mut self.presence.kept, &self.clock);
        }
    }

    /// Does what others say.
    fn heed(&mut self, word: &Word) {
        if let Some(orphans) = &word.kept {
            let now = Instant::now();
            for publisher in &mut self.publishers {
                publisher.honour(self.peers.kept(), orphans, now);
            }
        }
        if word.releases {
            self.heed_releases();
        }
        self.take_in(&word.choices);
        self.look_after();
    }

    /// Obeys each release once, and says so for as long as it stands.
    fn heed_releases(&mut self) {
        let mut obeyed = BTreeMap::new();
        for (upstream, nonce) in self.peers.releases() {
            let name = upstream.to_string();
            let known = self.presence.releases.remove(&name);
            let known = known.filter(|released| released.nonce == *nonce);
            let released = known.unwrap_or_else(|| {
                let publishers = self.publishers.iter_mut();
                let named = publishers.filter(|publisher| publisher.route.upstream == *upstream);
                let servers = named.map(Publisher::release);
                Released {
                    nonce: nonce.clone(),
                    servers: servers.reduce(u64::saturating_add),
                }
            });
            obeyed.insert(name, released);
        }
        self.presence.releases = obeyed;
    }

    /// Who has not heard etcd for as long as a presence lasts is not waited for any more, and may know of servers that others have
    /// rightly removed or drained: while there are such others, it undoes nothing of what they do.
    fn defer(&self) {
        let unheard = matches!(*self.tenure.borrow(), Tenure::Pending { error: Some(_) });
        let defer = unheard && self.peers.are_any();
        let changed = self
            .deferring
            .send_if_modified(|deferring| std::mem::replace(deferring, defer) != defer);
        if changed && defer {
            info!(
                "etcd is out of reach: other pushers know better; only restarts of nginx are repaired for now"
            );
        }
    }

    /// Tells etcd and systemd what has changed.
    fn tell(&mut self) {
        self.defer();
        let status = self.status();
        if status != self.told_status {
            notify::status(&status);
            self.told_status = status;
        }
        // Once it is, all that others say has been read: it is not written over what a predecessor of this name has kept.
        if self.start == Start::Unlisted {
            return;
        }
        self.presence.services = self.reckoning.services();
        self.presence.choices = self.reckoning.choices();
        self.presence.targets = self.reckoning.targets();
        self.holder
            .set(Intent::Present(self.presence.encode().into()));
    }

    fn status(&self) -> String {
        let kept = self.presence.kept.iter();
        let kept = kept.map(|(upstream, kept)| {
            let servers = kept.floor + kept.guard;
            format!("; {upstream} keeps {servers} servers against its records")
        });
        self.progress() + &kept.collect::<String>()
    }

    fn progress(&self) -> String {
        match (self.start, &*self.tenure.borrow()) {
            (Start::Unlisted, _) => "waiting for etcd to tell the records".to_owned(),
            (_, Tenure::Pending { error: Some(error) }) => {
                format!("{}; etcd: {error}", self.reckoning)
            }
            _ => self.reckoning.to_string(),
        }
    }

    /// The servers stay as they are; the presence goes, so that nobody waits for this pusher.
    async fn leave(mut self, mut stop: Stop) -> Outcome {
        info!("leaving; the servers stay as they are");
        self.tasks.shutdown().await;
        tokio::select! {
            () = self.holder.release(None, WITHDRAWAL) => {}
            () = stop.hurry() => {}
        }
        Outcome::Left
    }
}

fn log_quarantine(effect: &Effect) {
    for quarantined in &effect.quarantined {
        let (key, reason) = (&quarantined.key, &quarantined.reason);
        warn!(%key, %reason, "set aside: this cannot be read; everything else goes on");
    }
    for key in &effect.released {
        info!(%key, "no longer set aside");
    }
}

/// The time in whole seconds.
fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}
