//! The agent: receives every event, and passes it to the part that handles it.
//!
//! Nothing is done before the first whole listing, and nothing is undone on the way out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::clock::until;
use super::namesake::IdWatch;
use super::own_keys::{KeyEvent, OwnKeys};
use super::peers::{Message, Peers};
use super::protection::{Protection, ProtectionEvent};
use super::quarantined::log_quarantined;
use super::reload::{Reload, Reloads};
use super::settings::Settings;
use super::start::Start;
use super::status::Status;
use super::status_record::StatusRecord;
use super::supervisor::Supervisor;
use super::unheard::Unheard;
use crate::etcd::client::Cluster;
use crate::etcd::watch::{Update, Watcher};
use crate::model::Nonce;
use crate::push::reconcile::{Found, Report};
use crate::systemd::notify;
use crate::upstream::records::{Effect, Records};
use crate::util::clock;
use crate::util::log_limit::PER_KIND;
use crate::util::shutdown::Stop;
use crate::util::troubles::Troubles;

/// How long the first changes wait until announcers can know of this pusher.
const UNANNOUNCED: Duration = Duration::from_secs(1);

/// How the pusher ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to stop, and left gracefully.
    Left,
    /// A newer pusher has the id.
    Deposed {
        /// A description of the newer pusher.
        by: Arc<str>,
    },
    /// A task that never ends has ended: a bug.
    Broken,
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
    reloads: Reloads,
    records: Records,
    /// Whether the records were received.
    listed: bool,
    watcher: Watcher,
    unheard: Unheard,
    supervisor: Supervisor,
    /// Status, splits, holds and releases: what other pushers and operators write.
    peers: Peers,
    protection: Protection,
    reports: mpsc::UnboundedReceiver<Report>,
    finds: mpsc::UnboundedReceiver<Found>,
    status: Status,
    record: StatusRecord,
    keys: OwnKeys,
    start: Start,
    is_ready: bool,
    last_status: String,
    /// That other pushers know better.
    deferring: Troubles,
    id: IdWatch,
}

/// The next event.
enum Event {
    Leave,
    Keys(KeyEvent),
    Unannounced,
    Unheard,
    Report(Report),
    Found(Found),
    Update(Update),
    Reload,
    Message(Message),
    Protection(ProtectionEvent),
    Write,
    TaskEnded,
}

impl Pusher {
    fn new(settings: Settings, cluster: Cluster, reload: Option<Reload>) -> Self {
        let (nonce, since) = (Nonce::fresh(), clock::seconds());
        let watcher = Watcher::new(cluster.clone(), settings.range());
        let peers = Peers::new(&cluster, &settings, nonce.clone());
        let (report, reports) = mpsc::unbounded_channel();
        let (find, finds) = mpsc::unbounded_channel();
        let mut pusher = Self {
            records: Records::new(settings.prefix.clone(), settings.services()),
            listed: false,
            unheard: Unheard::by(&watcher, &peers),
            watcher,
            supervisor: Supervisor::new(report, find, cluster.clone()),
            peers,
            keys: OwnKeys::new(&cluster, &settings, &nonce, since),
            protection: Protection::new(),
            reports,
            finds,
            status: Status::default(),
            record: StatusRecord::new(settings.prefix.clone(), nonce, since),
            start: Start::Unlisted,
            is_ready: false,
            last_status: String::new(),
            deferring: Troubles::default(),
            id: IdWatch::new(settings.id.clone()),
            reloads: Reloads::new(reload),
            settings,
            cluster,
        };
        pusher
            .supervisor
            .apply(&pusher.settings, &mut pusher.status);
        pusher
    }

    async fn run(mut self, mut stop: Stop) -> Outcome {
        // Before etcd has answered; logged at once.
        let mut waiting = Some(notify::Waiting::to_be_up());
        self.publish_status();
        loop {
            if self.is_ready {
                drop(waiting.take());
            }
            match self.next_event(&mut stop).await {
                Event::Leave => return self.leave(stop).await,
                Event::Keys(KeyEvent::Changed) => self.note_keys(),
                Event::Keys(KeyEvent::Deposed { by }) => {
                    error!(%by, "another pusher has this id now: this one ends");
                    self.supervisor.shutdown().await;
                    return Outcome::Deposed { by };
                }
                Event::Write => self.record.pass(),
                Event::Unannounced => self.go_unannounced(),
                Event::Unheard => {}
                Event::Report(report) => self.note_report(report),
                Event::Found(found) => {
                    self.supervisor.find(&found, &self.records, Instant::now());
                    self.protection.watch(&self.supervisor);
                }
                Event::Update(update) => {
                    self.listed = true;
                    let effect = self.records.update(&update);
                    self.take_in(&effect);
                }
                Event::Reload => {
                    notify::reloading();
                    if let Some(settings) = self.reloads.read() {
                        self.adopt(settings);
                    }
                    self.publish_status();
                    notify::reloaded();
                }
                Event::Message(message) => self.apply_overrides(&message),
                Event::Protection(event) => {
                    event.decide(&mut self.supervisor);
                    self.protection.watch(&self.supervisor);
                }
                Event::TaskEnded | Event::Keys(KeyEvent::Ended) => {
                    error!("a task ended that never should; please report this");
                    self.supervisor.shutdown().await;
                    return Outcome::Broken;
                }
            }
            self.publish_status();
        }
    }

    async fn next_event(&mut self, stop: &mut Stop) -> Event {
        let Self {
            keys,
            reports,
            finds,
            watcher,
            supervisor,
            reloads,
            peers,
            protection,
            record,
            start,
            unheard,
            ..
        } = self;
        tokio::select! {
            biased;
            () = stop.leave() => Event::Leave,
            news = keys.changed() => Event::Keys(news),
            Some(report) = reports.recv() => Event::Report(report),
            Some(found) = finds.recv() => Event::Found(found),
            () = reloads.asked() => Event::Reload,
            update = watcher.next() => Event::Update(update),
            message = peers.next() => Event::Message(message),
            event = protection.next() => Event::Protection(event),
            () = record.due() => Event::Write,
            () = supervisor.broken() => Event::TaskEnded,
            () = until(start.deadline()) => Event::Unannounced,
            () = unheard.changed(*start == Start::Unlisted) => Event::Unheard,
        }
    }

    /// Continues when both keys are in etcd.
    fn note_keys(&mut self) {
        if self.keys.both_stand() {
            self.open();
        }
        if self.keys.has_status_record() && self.start == Start::Open && !self.is_ready {
            self.is_ready = true;
            notify::ready();
        }
    }

    /// The keys are not in etcd yet: start without them, unless etcd refuses them.
    fn go_unannounced(&mut self) {
        if let Some(denied) = self.keys.trouble().filter(|trouble| trouble.denied) {
            warn!(
                %denied,
                "nothing is done before that right is granted: no announcer could know that it should wait for this pusher"
            );
            self.start = Start::Denied;
            return;
        }
        warn!(
            "the status record is not in etcd yet: announcers do not know that they should wait for this pusher"
        );
        self.open();
        self.note_keys();
    }

    fn note_report(&mut self, (number, status): Report) {
        if let Some(seen) = &status.seen {
            self.supervisor.see(number, seen, Instant::now());
            self.protection.watch(&self.supervisor);
        }
        let balancers = self.peers.balancers();
        let candidates = |target: &str| balancers.also_feeding(target);
        self.status.update(number, status, candidates);
    }

    fn take_in(&mut self, effect: &Effect) {
        log_quarantined(effect);
        match self.start {
            Start::Unlisted => self.begin(),
            Start::Announcing(_) | Start::Denied => {}
            Start::Open => self.publish(effect),
        }
    }

    /// Announces itself once everything is listed and the id is free. The status record comes before the servers: a
    /// pusher that routes must be known to the announcers that wait for the routing.
    fn begin(&mut self) {
        if self.listed && self.peers.is_listed() && !self.is_taken() {
            self.start = Start::Announcing(Instant::now() + UNANNOUNCED);
        }
    }

    /// Whether another pusher has the id.
    fn is_taken(&mut self) -> bool {
        let namesake = self.peers.balancers().namesake();
        self.id.is_taken(namesake)
    }

    /// Publishes changes from now on, starting with everything known.
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
        self.supervisor
            .publish(&self.records, self.peers.overrides(), effect);
        self.protection.watch(&self.supervisor);
    }

    /// Applies releases, holds and splits.
    fn apply_overrides(&mut self, message: &Message) {
        if message.releases {
            self.record
                .apply_releases(&self.peers, &mut self.supervisor);
        }
        // Overrides are not combined with records that may be old: the next listing of the records publishes both.
        if self.watcher.is_current() {
            self.take_in(&message.overrides);
        } else {
            log_quarantined(&message.overrides);
        }
        self.protection.watch(&self.supervisor);
    }

    /// Once our status record has expired, others do not wait for us, and we may have servers that they have rightly
    /// removed or drained: while there are other pushers, we undo none of their changes.
    fn defer(&mut self) {
        let unheard = self.keys.unheard().is_some();
        // The records are old until they are listed again.
        let behind = self.supervisor.is_deferring() && !self.watcher.is_current();
        let defer = (unheard || behind) && self.peers.are_any();
        self.supervisor.defer(defer);
        if !defer {
            self.deferring.end();
        } else if let Some(more) = self.deferring.tell("", "defers", PER_KIND) {
            let why = self.keys.unheard().map_or_else(
                || "the records are not listed again yet".to_owned(),
                |trouble| format!("the status record is not in etcd ({trouble})"),
            );
            info!("{why}: other pushers know better, so only restarts of nginx are repaired{more}");
        }
    }

    /// Applies new settings, except those that a running pusher cannot change.
    fn adopt(&mut self, settings: Settings) {
        let settings = self.settings.succeeded_by(settings, |what| {
            warn!("a new {what} takes effect at the next start; the old one stays in use");
        });
        let range = settings.range();
        let widened = self.records.route(&settings.services(), &range);
        if widened || range != self.settings.range() {
            // Its listing has the new services, and what happened to the old ones in the meantime.
            self.watcher = Watcher::new(self.cluster.clone(), range);
        }
        self.peers.route(&settings);
        self.unheard = Unheard::by(&self.watcher, &self.peers);
        self.keys.route(&settings);
        self.settings = settings;
        self.supervisor.apply(&self.settings, &mut self.status);
        if self.start == Start::Unlisted {
            self.begin();
        } else if self.start == Start::Open {
            self.supervisor
                .publish_new(&self.records, self.peers.overrides());
            self.protection.watch(&self.supervisor);
        }
    }

    /// Publishes changes to etcd and systemd.
    fn publish_status(&mut self) {
        self.defer();
        let status = self.summary();
        if status != self.last_status {
            notify::status(&status);
            self.last_status = status;
        }
        if self.start == Start::Unlisted {
            return;
        }
        let (status, supervisor, peers) = (&self.status, &self.supervisor, &self.peers);
        if let Some(value) = self.record.update(status, supervisor, peers) {
            self.keys.write(value);
        }
    }

    /// The status in one line, for systemd.
    fn summary(&self) -> String {
        let refused = self.reloads.refused();
        let refused =
            refused.map(|why| format!("the new configuration is wrong and not used: {why}; "));
        let unheard = self.unheard.in_words();
        let progress =
            (self.start).in_words(&self.id, &self.keys, &self.status, unheard.as_deref());
        refused.unwrap_or_default() + &progress + &self.supervisor.protecting()
    }

    /// The servers stay as they are, and so does the balancer key; the status record is deleted.
    async fn leave(mut self, mut stop: Stop) -> Outcome {
        info!("leaving; the servers stay as they are");
        self.supervisor.shutdown().await;
        tokio::select! {
            () = self.keys.withdraw() => {}
            () = stop.forced() => {}
        }
        Outcome::Left
    }
}
