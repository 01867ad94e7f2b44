//! The agent of one backend: its events, and how it handles them.

mod adopt;
mod former;
mod leave;
mod ready;
mod report;
mod resume;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use super::reload::{Reload, ReloadEvent};
use super::settings::{Outcome, Settings};
use crate::announce::gate::Gate;
use crate::announce::phase::{Phase, Wish};
use crate::etcd::client::Cluster;
use crate::etcd::lease;
use crate::etcd::lease::{Handed, LeaseKeeper, LeaseStatus, Wanted};
use crate::etcd::pushers;
use crate::model::{Nonce, State};
use crate::probe::{self, ProbeTask, Verdict};
use crate::systemd::notify;
use crate::systemd::notify::{Waiting, Watchdog};
use crate::util::clock;
use crate::util::duration;
use crate::util::shutdown::Stop;
use adopt::LeftBehind;
use former::Former;
use ready::Readiness;

pub(super) struct Agent {
    settings: Settings,
    cluster: Cluster,
    keeper: LeaseKeeper,
    lease: watch::Receiver<LeaseStatus>,
    /// None without probes.
    probe_task: Option<ProbeTask>,
    gate: Gate,
    phase: Phase,
    /// The reason of the newest failure.
    reason: Option<String>,
    /// Failures of a backend that has never been up.
    unproved: u32,
    pushers: pushers::Watch,
    readiness: Readiness,
    /// The former image's record, if this one has another address or lease.
    former: Option<Former>,
    /// Whether a newer agent replaces this one.
    is_replaced: bool,
    /// Whether every pusher that routes one of both records routes the other too.
    same_readers: bool,
    /// Whether etcd has, or may have, a record of an earlier announcer that this one has not overwritten.
    left_behind: LeftBehind,
    /// Whether etcd may have this agent's record: it was confirmed, and is not known to be gone.
    may_stand: bool,
    /// Whether the backend counts as up only because that record does.
    is_presumed: bool,
    /// Why the newest settings were refused.
    refused: Option<String>,
    /// The last STATUS= for systemd.
    last_status: String,
    watchdog: Option<Watchdog>,
    /// Set while the start waits for etcd.
    waiting: Option<Waiting>,
    pulse: watch::Receiver<()>,
}

/// What to do next.
enum Event {
    Leave,
    Verdict(Verdict),
    Lease,
    /// A pusher changed, or the wait for pushers timed out.
    Pushers,
    Pulse,
    Reload(ReloadEvent),
    FormerLeft,
}

impl Agent {
    /// Announces nothing yet.
    pub(super) fn new(mut settings: Settings, cluster: Cluster) -> Self {
        let nonce = Nonce::fresh();
        settings.record.nonce = Some(nonce.clone());
        settings.record.since = Some(clock::milliseconds());
        Self::keeping(settings, cluster, nonce, Handed::default())
    }

    /// Keeps the key as the former image left it.
    fn keeping(settings: Settings, cluster: Cluster, nonce: Nonce, handed: Handed) -> Self {
        let key = settings.prefix.key(&settings.id);
        let keeper = lease::resume(cluster.clone(), key, nonce, settings.ttl, handed);
        Self {
            lease: keeper.status(),
            pulse: keeper.pulse(),
            keeper,
            probe_task: None,
            gate: Gate::new(settings.rise, settings.fall),
            phase: Phase::Starting,
            reason: None,
            unproved: 0,
            pushers: pushers::Watch::new(cluster.clone(), settings.meta.clone()),
            readiness: Readiness::default(),
            former: None,
            is_replaced: false,
            same_readers: false,
            left_behind: LeftBehind::Nothing,
            may_stand: false,
            is_presumed: false,
            refused: None,
            last_status: String::new(),
            watchdog: Watchdog::of_unit(),
            waiting: None,
            cluster,
            settings,
        }
    }

    pub(super) async fn run(mut self, mut stop: Stop, reload: &mut Reload) -> Outcome {
        let is_new = self.phase == Phase::Starting;
        self.start_probing();
        if self.settings.probes.is_empty() {
            // The backend counts as up from the start.
            self.gate.assume_up();
            self.phase = Phase::Serving;
        }
        self.check_watchdog();
        if is_new {
            self.adopt().await;
        }
        self.enter(self.phase);
        if notify::is_up() {
            self.publish_status();
        }
        loop {
            self.note_waiting();
            self.former_may_leave(&stop);
            match self.next_event(&mut stop, reload).await {
                Event::Leave => return Box::pin(self.leave_with_former(stop)).await,
                Event::Pulse => {
                    self.renewed();
                    continue;
                }
                Event::Verdict(verdict) => self.judge(verdict),
                Event::Pushers => {}
                Event::FormerLeft => self.former = None,
                Event::Lease => {
                    let lease = self.lease.borrow_and_update().clone();
                    if let LeaseStatus::Deposed { by } = lease {
                        return deposed(&self.settings, by);
                    }
                    self.note(&lease);
                    self.may_stand = match lease {
                        LeaseStatus::Held { .. } => true,
                        LeaseStatus::Pending { .. } => self.may_stand,
                        _ => false,
                    };
                    if matches!(lease, LeaseStatus::Held { .. }) {
                        self.took_over();
                    }
                }
                Event::Reload(ReloadEvent::Hangup) => reload.begin(&self.handover()),
                Event::Reload(ReloadEvent::Refused(why)) => {
                    self.refused = Some(why);
                    // Somebody may look at the status after a reload.
                    self.last_status.clear();
                }
                Event::Reload(ReloadEvent::Tried) => {
                    if reload.keep_signals(&stop).await {
                        return Outcome::HandOver(Box::new(self.hand_over().await));
                    }
                }
            }
            self.check_ready();
            self.publish_status();
        }
    }

    fn publish_status(&mut self) {
        let mut status = self.status();
        if let Some(why) = &self.refused {
            status.push_str("; reload refused: ");
            status.push_str(why);
        }
        if status != self.last_status {
            notify::status(&status);
            self.last_status = status;
        }
    }

    /// Starts probing with the current settings; without grace where the first verdict is due.
    fn start_probing(&mut self) {
        let mut pace = self.settings.pace.clone();
        if self.phase != Phase::Starting {
            pace.grace = Duration::ZERO;
        }
        let probes = &self.settings.probes;
        self.probe_task = (!probes.is_empty()).then(|| ProbeTask::start(probes.clone(), pace));
    }

    async fn next_event(&mut self, stop: &mut Stop, reload: &mut Reload) -> Event {
        let waiting = self.readiness.waits_for_pushers();
        let overdue = self.readiness.overdue(self.settings.drain_timeout);
        let watched = self.watchdog.is_some();
        // Only one old record at a time.
        let may_reload = !matches!(self.former, Some(Former::Leaves(_)));
        tokio::select! {
            biased;
            () = stop.leave() => Event::Leave,
            Ok(()) = self.lease.changed() => Event::Lease,
            verdict = probe::next_verdict(&mut self.probe_task) => Event::Verdict(verdict),
            () = self.pushers.changed(), if waiting => Event::Pushers,
            () = overdue, if waiting => Event::Pushers,
            Ok(()) = self.pulse.changed(), if watched => Event::Pulse,
            () = Former::left(&mut self.former) => Event::FormerLeft,
            event = reload.next(), if may_reload => Event::Reload(event),
        }
    }

    /// A silent etcd is no reason to end the start.
    fn note_waiting(&mut self) {
        let pending = matches!(*self.lease.borrow(), LeaseStatus::Pending { .. });
        let waits = pending && !self.readiness.is_told();
        if waits != self.waiting.is_some() {
            self.waiting = waits.then(Waiting::to_be_up);
        }
    }

    /// A watchdog with a shorter period than anything the agent does would kill a healthy agent.
    fn check_watchdog(&self) {
        let heartbeat = self.settings.ttl / 3;
        let probing = self.settings.pace.interval + self.settings.pace.timeout;
        // While etcd is away the lease task makes progress once per attempt.
        let slowest = probing.max(heartbeat).max(lease::SLOWEST_ATTEMPT);
        if let Some(watchdog) = &self.watchdog
            && watchdog.limit() < 2 * slowest
        {
            warn!(
                "WatchdogSec={} is too short for this probe, TTL and an etcd that is away: make it {} or more, or systemd kills a healthy agent",
                duration::typed(watchdog.limit()),
                duration::typed(2 * slowest),
            );
        }
    }

    /// Without probes, a renewal is all the progress there is.
    fn renewed(&mut self) {
        let unprobed = self.settings.probes.is_empty();
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.renewed();
            if unprobed {
                watchdog.probed();
            }
        }
    }

    /// A verdict is progress; so is a lease task without a key to keep.
    fn note_progress(&mut self) {
        let idle = matches!(
            *self.lease.borrow(),
            LeaseStatus::Absent | LeaseStatus::NoSpace { .. }
        );
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.probed();
            if idle {
                watchdog.renewed();
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        let intent = match phase.wish(self.settings.on_failure) {
            Wish::Record(State::Up) => Wanted::Present(self.value(State::Up)),
            Wish::Record(state) => Wanted::PresentOrAbsent(self.value(state)),
            // Overwrite a leftover record before deleting it.
            Wish::Nothing(state) if self.left_behind == LeftBehind::Record => {
                Wanted::PresentOrAbsent(self.value(state))
            }
            Wish::Nothing(state) => Wanted::Absent {
                notice: Some(self.value(state)),
            },
        };
        self.keeper.set(intent);
    }

    /// The bytes of the record in `state`, with its reason.
    fn value(&self, state: State) -> Arc<[u8]> {
        let record = self.settings.record.with_state(state);
        let record = match (state, &self.reason) {
            (State::Up, _) | (State::Down, None) => record,
            (State::Down, Some(reason)) => record.because(reason),
            (State::Draining, _) => record.because("its announcer leaves it"),
        };
        record.encode(self.settings.format).into()
    }
}

fn deposed(settings: &Settings, by: Arc<str>) -> Outcome {
    report::forget(&settings.id);
    warn!("{} was taken over by {by}; leaving it alone", settings.id);
    notify::status(&format!("deposed by {by}"));
    Outcome::Deposed { by }
}
