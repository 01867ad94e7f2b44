//! The companion: keeps the upstreams of every nginx equal to the records.
//!
//! The watches of the records and of what people have chosen feed the desired state, a reconciler per upstream makes it so,
//! and what all targets have confirmed is told in the pusher's presence, for the announcers to wait for. Nothing is done before the
//! first whole listing, and nothing is undone on the way out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::etcd::client::Cluster;
use crate::etcd::lease;
use crate::etcd::lease::{LeaseKeeper, LeaseStatus, Trouble, Wanted};
use crate::etcd::watch::{Update, Watcher};
use crate::model::{Endpoint, Nonce, Presence, Released};
use crate::push::reconcile::{Found, Report};
use crate::systemd::notify;
use crate::upstream::desired::{Effect, Records};
use crate::util::clock;
use crate::util::log_limit;
use crate::util::shutdown::Stop;

mod balancer_key;
mod balancers;
pub mod config;
mod identity;
mod liveness;
mod look;
mod namesake;
mod oneshot;
mod peers;
mod publisher;
mod publishers;
pub mod reconcile;
mod retire;
mod settings;
mod status;
mod supervisor;
mod target;
mod write_pace;

use balancer_key::BalancerKey;
use liveness::Prober;
use namesake::Namesake;
pub use oneshot::{Difference, RouteResult, compare, leave, once};
use peers::{Peers, Word};
use publisher::{Clock, Publisher};
pub use retire::{Retired, retire};
pub use settings::{DRAIN_TIMEOUT, FORGET_AFTER, Route, RouteError, Settings, TTL};
use status::Reckoning;
use supervisor::Roster;
pub use target::{Target, TargetError};
use write_pace::WritePace;

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

/// Where a new configuration comes from.
#[derive(Debug)]
pub struct Reload {
    /// What is read; without one there is nothing to read again, and that is said.
    pub file: Option<config::File>,
    /// When: see [`stop::hangups`](crate::util::shutdown::hangups).
    pub hangups: Signal,
}

/// Pushes until asked to stop or deposed. Never gives up on etcd or a target.
pub async fn run(
    settings: Settings,
    cluster: Cluster,
    reload: Option<Reload>,
    stop: Stop,
) -> Outcome {
    Pusher::new(settings, cluster, reload).run(stop).await
}

struct Pusher {
    settings: Settings,
    cluster: Cluster,
    reload: Option<Reload>,
    /// What is wrong with the configuration that was read last and is not in force.
    refused: Option<String>,
    records: Records,
    /// Whether etcd has told the records.
    listed: bool,
    watcher: Watcher,
    roster: Roster,
    /// What other pushers and people say.
    peers: Peers,
    /// Looks after the servers that are kept without a record.
    prober: Prober,
    dead: mpsc::UnboundedReceiver<Endpoint>,
    /// When a decision changes without anything happening.
    due: Option<Instant>,
    clock: Clock,
    reports: mpsc::UnboundedReceiver<Report>,
    finds: mpsc::UnboundedReceiver<Found>,
    reckoning: Reckoning,
    presence: Presence,
    keeper: LeaseKeeper,
    lease: watch::Receiver<LeaseStatus>,
    /// The key that outlives this process.
    balancer: BalancerKey,
    /// The presence as it was written last.
    written: Arc<[u8]>,
    /// When it may be written again.
    write_pace: WritePace,
    start: Start,
    told_ready: bool,
    told_status: String,
    /// Why the id is not free, as it was said last.
    namesake: Option<Namesake>,
}

/// How far the start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// etcd has not told the records yet.
    Unlisted,
    /// The presence is being written; at this time it is no longer waited for.
    Announcing(Instant),
    /// A right to its own keys is missing, so no announcer could know of it: nothing is done before both stand.
    Denied,
    /// Whatever comes is published.
    Open,
}

/// What to do next.
enum Event {
    Leave,
    Lease,
    Unannounced,
    Report(Report),
    Found(Found),
    Update(Update),
    Reload,
    Word(Word),
    Dead(Endpoint),
    Due,
    Balancer,
    Write,
    TaskEnded,
}

impl Pusher {
    fn new(settings: Settings, cluster: Cluster, reload: Option<Reload>) -> Self {
        let (nonce, since) = (Nonce::fresh(), clock::seconds());
        let key = settings.meta.pusher_key(&settings.id);
        let balancer = BalancerKey::new(cluster.clone(), &settings, nonce.clone(), since);
        let keeper = lease::keep(cluster.clone(), key, nonce.clone(), settings.ttl);
        let peers = Peers::new(&cluster, &settings, nonce.clone());
        let (prober, dead) = Prober::new();
        let (report, reports) = mpsc::unbounded_channel();
        let (find, finds) = mpsc::unbounded_channel();
        let mut pusher = Self {
            records: Records::new(settings.prefix.clone(), settings.services()),
            listed: false,
            watcher: Watcher::new(cluster.clone(), settings.range()),
            roster: Roster::new(report, find, cluster.clone()),
            peers,
            prober,
            dead,
            due: None,
            clock: Clock::new(),
            reports,
            finds,
            reckoning: Reckoning::default(),
            presence: Presence {
                services: BTreeMap::new(),
                targets: BTreeMap::new(),
                releases: BTreeMap::new(),
                prefix: Some(settings.prefix.clone()),
                nonce,
                since,
            },
            lease: keeper.status(),
            keeper,
            balancer,
            written: Arc::new([]),
            write_pace: WritePace::default(),
            start: Start::Unlisted,
            told_ready: false,
            told_status: String::new(),
            namesake: None,
            refused: None,
            settings,
            cluster,
            reload,
        };
        pusher.roster.apply(&pusher.settings, &mut pusher.reckoning);
        pusher
    }

    async fn run(mut self, mut stop: Stop) -> Outcome {
        // Until etcd has answered, and that is told at once.
        let mut waiting = Some(notify::Waiting::to_be_up());
        self.tell();
        loop {
            if self.told_ready {
                drop(waiting.take());
            }
            match self.next_event(&mut stop).await {
                Event::Leave => return self.leave(stop).await,
                Event::Lease => {
                    let lease = self.lease.borrow_and_update().clone();
                    if let LeaseStatus::Deposed { by } = lease {
                        error!(%by, "another pusher has this id now; it is left to that one");
                        self.roster.shutdown().await;
                        return Outcome::Deposed { by };
                    }
                    self.note();
                }
                Event::Balancer => self.note(),
                Event::Write => self.write_pace.pass(),
                Event::Unannounced => self.go_unannounced(),
                Event::Report((number, standing)) => {
                    if let Some(seen) = &standing.seen {
                        self.roster.see(number, seen, Instant::now());
                        self.look_after();
                    }
                    let balancers = self.peers.balancers();
                    let suspects = |target: &str| balancers.also_feeding(target);
                    self.reckoning.update(number, standing, suspects);
                }
                Event::Found(found) => {
                    self.roster.find(&found, &self.records, Instant::now());
                    self.look_after();
                }
                Event::Update(update) => {
                    self.listed = true;
                    let effect = self.records.update(&update);
                    self.take_in(&effect);
                }
                Event::Reload => {
                    notify::reloading();
                    self.reload();
                    self.tell();
                    notify::reloaded();
                }
                Event::Word(word) => self.heed(&word),
                Event::Dead(endpoint) => self.decide(|publisher| publisher.dead(&endpoint)),
                Event::Due => {
                    let now = Instant::now();
                    self.decide(|publisher| publisher.pass(now));
                }
                Event::TaskEnded => {
                    error!("a task ended that never should; please report this");
                    self.roster.shutdown().await;
                    return Outcome::Broken;
                }
            }
            self.tell();
        }
    }

    async fn next_event(&mut self, stop: &mut Stop) -> Event {
        let Self {
            lease,
            reports,
            finds,
            watcher,
            roster,
            reload,
            peers,
            dead,
            due,
            balancer,
            write_pace,
            ..
        } = self;
        let hangup = async {
            let heard = match reload {
                Some(reload) => reload.hangups.recv().await,
                None => None,
            };
            if heard.is_none() {
                std::future::pending().await
            }
        };
        let overdue = async {
            match self.start {
                Start::Announcing(until) => sleep_until(until).await,
                Start::Unlisted | Start::Denied | Start::Open => std::future::pending().await,
            }
        };
        let due = async {
            match *due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let write = async {
            match write_pace.due() {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.leave() => Event::Leave,
            changed = lease.changed() => if changed.is_ok() { Event::Lease } else { Event::TaskEnded },
            Some(report) = reports.recv() => Event::Report(report),
            Some(found) = finds.recv() => Event::Found(found),
            () = hangup => Event::Reload,
            update = watcher.next() => Event::Update(update),
            word = peers.next() => Event::Word(word),
            Some(endpoint) = dead.recv() => Event::Dead(endpoint),
            () = due => Event::Due,
            () = balancer.changed() => Event::Balancer,
            () = write => Event::Write,
            () = roster.broken() => Event::TaskEnded,
            () = overdue => Event::Unannounced,
        }
    }

    /// Goes on when both keys stand: first the presence, as the newest pusher of an id has both.
    fn note(&mut self) {
        if !matches!(*self.lease.borrow(), LeaseStatus::Held { .. }) {
            return;
        }
        self.balancer.claim();
        if self.balancer.is_held() {
            self.open();
        }
        if self.start == Start::Open && !self.told_ready {
            self.told_ready = true;
            notify::ready();
        }
    }

    /// The keys do not stand yet: an etcd that is slow is not waited for, but one that refuses them.
    fn go_unannounced(&mut self) {
        if let Some(denied) = self.trouble().filter(|trouble| trouble.denied) {
            warn!(
                %denied,
                "nothing is done before that right is granted: no announcer could know that it should wait for this pusher"
            );
            self.start = Start::Denied;
            return;
        }
        warn!(
            "the presence is not in etcd yet: announcers do not know that they should wait for this pusher"
        );
        self.open();
        self.note();
    }

    /// Why its own keys do not stand in etcd.
    fn trouble(&self) -> Option<Trouble> {
        match &*self.lease.borrow() {
            LeaseStatus::Pending { error } => error.clone(),
            _ => self.balancer.trouble(),
        }
    }

    fn take_in(&mut self, effect: &Effect) {
        log_quarantine(effect);
        match self.start {
            Start::Unlisted => self.begin(),
            Start::Announcing(_) | Start::Denied => {}
            Start::Open => self.publish(effect),
        }
    }

    /// Announces itself once etcd has told everything and the id is free: whoever routes must be known to those who wait for the
    /// routing, so first the presence, then the servers.
    fn begin(&mut self) {
        if self.listed && self.peers.is_listed() && !self.has_namesake() {
            self.start = Start::Announcing(Instant::now() + UNANNOUNCED);
        }
    }

    /// Whether somebody else has the id: that is no former self, and is waited for.
    fn has_namesake(&mut self) -> bool {
        let namesake = self.peers.balancers().namesake();
        let namesake = namesake.filter(|it| self.namesake.is_some() || !self.succeeds(it));
        if namesake != self.namesake {
            let id = &self.settings.id;
            match &namesake {
                Some(namesake) => {
                    if let Some(more) = log_limit::allows("namesake", id.as_str()) {
                        warn!("{}{more}", namesake.in_words(id));
                    }
                }
                None => {
                    if let Some(more) = log_limit::allows("no namesake", id.as_str()) {
                        info!(%id, "the id is free now{more}");
                    }
                }
            }
            self.namesake = namesake;
        }
        self.namesake.is_some()
    }

    /// Whether this pusher takes the id over: it was started anew with other targets. Who has waited for another pusher does not,
    /// however long that is away.
    fn succeeds(&self, namesake: &Namesake) -> bool {
        let Some(left) = namesake.left_behind(&self.settings.id) else {
            return false;
        };
        if let Some(more) = log_limit::allows("left behind", self.settings.id.as_str()) {
            warn!("{left}{more}");
        }
        true
    }

    /// From now on changes are published, beginning with all that is known.
    fn open(&mut self) {
        if let Start::Announcing(_) | Start::Denied = self.start {
            self.start = Start::Open;
            self.publish(&Effect {
                services: self.records.services().cloned().collect(),
                ..Effect::default()
            });
        }
    }

    fn publish(&mut self, effect: &Effect) {
        self.roster
            .publish(&self.records, self.peers.choices(), effect);
        self.look_after();
    }

    /// Every upstream decides something.
    fn decide(&mut self, each: impl FnMut(&mut Publisher)) {
        self.roster.publishers_mut().for_each(each);
        self.look_after();
    }

    /// Sees to what is kept now.
    fn look_after(&mut self) {
        let publishers = || self.roster.publishers();
        self.due = publishers().filter_map(Publisher::due).min();
        let suspects = publishers().flat_map(Publisher::suspects);
        let suspects: BTreeSet<_> = suspects.cloned().collect();
        let others = match suspects.is_empty() {
            true => BTreeSet::new(),
            false => publishers().flat_map(Publisher::servers).collect(),
        };
        self.prober.watch(&suspects, &others);
    }

    /// Does what others say.
    fn heed(&mut self, word: &Word) {
        if word.releases {
            self.heed_releases();
        }
        // A choice is not combined with records of which it is not known whether they still hold: their listing publishes both.
        if self.watcher.is_current() {
            self.take_in(&word.choices);
        } else {
            log_quarantine(&word.choices);
        }
        self.look_after();
    }

    /// Obeys each release once, and says so for as long as it stands.
    fn heed_releases(&mut self) {
        let mut obeyed = BTreeMap::new();
        for (upstream, nonce) in self.peers.releases() {
            let name = upstream.to_string();
            let known = self.presence.releases.remove(&name);
            let known = known.filter(|released| released.nonce == *nonce);
            let heard = self.peers.has_heard(nonce);
            let released = known.unwrap_or_else(|| {
                let publishers = self.roster.publishers_mut();
                let named =
                    publishers.filter(|publisher| heard && publisher.route.upstream == *upstream);
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
        let unheard = matches!(
            *self.lease.borrow(),
            LeaseStatus::Pending { error: Some(_) }
        );
        // What is known is still of the time before until the records are listed anew.
        let behind = self.roster.is_deferring() && !self.watcher.is_current();
        let defer = (unheard || behind) && self.peers.are_any();
        if self.roster.defer(defer) && defer {
            info!(
                "etcd is out of reach: other pushers know better; only restarts of nginx are repaired for now"
            );
        }
    }

    /// Reads the configuration again: whole or not at all.
    fn reload(&mut self) {
        let Some(reload) = &self.reload else { return };
        let Some(file) = &reload.file else {
            info!("asked to read the configuration again, but flags cannot change: see --config");
            return;
        };
        let read = file.read();
        let file = file.path.display();
        match read {
            Err(invalid) => {
                for line in invalid.lines() {
                    error!("{line}");
                }
                error!(%file, "the new configuration is wrong; nothing of it is used, the old one stands");
                let more = match invalid.mistakes.len() {
                    0 | 1 => String::new(),
                    several => format!(" (and {} more)", several - 1),
                };
                self.refused = invalid.lines().next().map(|line| line + &more);
            }
            Ok(settings) => {
                info!(%file, "the configuration was read again");
                self.refused = None;
                self.adopt(settings);
            }
        }
    }

    /// Does from now on what these settings say, but for what a running pusher cannot change.
    fn adopt(&mut self, settings: Settings) {
        let settings = self.settings.succeeded_by(settings, |what| {
            warn!("a new {what} counts only from the next start on; the old one stands");
        });
        let range = settings.range();
        let widened = self.records.route(&settings.services());
        if widened || range != self.settings.range() {
            // Its listing tells of the new services, and of what happened to the old ones meanwhile.
            self.watcher = Watcher::new(self.cluster.clone(), range);
        }
        self.peers.route(&settings);
        self.balancer.route(&settings);
        self.settings = settings;
        self.roster.apply(&self.settings, &mut self.reckoning);
        if self.start == Start::Unlisted {
            self.begin();
        } else if self.start == Start::Open {
            self.roster.publish_new(&self.records, self.peers.choices());
            self.look_after();
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
        if self.start == Start::Unlisted {
            return;
        }
        if self.write_pace.due().is_some() {
            return;
        }
        self.presence.services = self.reckoning.services();
        let balancers = self.peers.balancers();
        let targets = self
            .reckoning
            .targets(|target| balancers.also_feeding(target));
        self.presence.targets = targets;
        self.roster.protect(&mut self.presence.targets, &self.clock);
        let value: Arc<[u8]> = self.presence.encode().into();
        // What comes meanwhile is written together with it.
        if value == self.written || !self.write_pace.allows(Instant::now()) {
            return;
        }
        self.written = value.clone();
        self.keeper.set(Wanted::Present(value));
    }

    fn status(&self) -> String {
        let keeping = self.roster.publishers();
        let keeping = keeping.filter(|publisher| publisher.kept() > 0);
        let kept = keeping.map(|publisher| {
            let (upstream, servers) = (publisher.name(), publisher.kept());
            format!("; {upstream} keeps {servers} servers against its records")
        });
        let refused = self
            .refused
            .as_ref()
            .map(|refused| format!("the new configuration is wrong and not used: {refused}; "));
        refused.unwrap_or_default() + &self.progress() + &kept.collect::<String>()
    }

    fn progress(&self) -> String {
        match (self.start, &*self.lease.borrow()) {
            (Start::Unlisted, _) => match &self.namesake {
                Some(namesake) => format!("waiting: {}", namesake.in_words(&self.settings.id)),
                None => "waiting for etcd to tell the records".to_owned(),
            },
            (Start::Denied, _) => {
                let trouble = self.trouble();
                let trouble = trouble.map(|trouble| format!(": {trouble}"));
                format!(
                    "waiting for its own keys in etcd{}",
                    trouble.unwrap_or_default()
                )
            }
            (_, LeaseStatus::Pending { error: Some(error) }) => {
                format!("{}; etcd: {error}", self.reckoning)
            }
            _ => self.reckoning.to_string(),
        }
    }

    /// The servers stay as they are, and so does the key that says where they may still get requests; the presence goes.
    async fn leave(mut self, mut stop: Stop) -> Outcome {
        info!("leaving; the servers stay as they are");
        self.roster.shutdown().await;
        tokio::select! {
            _ = self.keeper.withdraw(None, WITHDRAWAL) => {}
            () = stop.hurry() => {}
        }
        Outcome::Left
    }
}

fn log_quarantine(effect: &Effect) {
    for quarantined in &effect.quarantined {
        let (key, reason) = (&quarantined.key, &quarantined.reason);
        if let Some(more) = log_limit::allows("quarantined", key) {
            warn!(%key, %reason, "set aside: this cannot be read; everything else goes on{more}");
        }
    }
    for key in &effect.released {
        if let Some(more) = log_limit::allows("readable again", key) {
            info!(%key, "no longer set aside{more}");
        }
    }
}
