//! The announcer: one agent beside one backend.
//!
//! Verdicts of the probe go through the gate into a phase; the phase says what is to stand in etcd; the
//! lease task makes it so and reports back. On the way out the order is: say *draining*, wait until every
//! pusher has let go, then delete.

pub mod container;
pub mod gate;
mod leave;
pub mod phase;
mod ready;
pub mod reload;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::announce::gate::{Gate, Health};
use crate::announce::phase::{OnFailure, Phase, Wish};
use crate::etcd::client::Cluster;
use crate::etcd::lease;
use crate::etcd::lease::{LeaseKeeper, LeaseStatus, Wanted};
use crate::etcd::pushers;
use crate::model::{Format, InstanceId, MetaPrefix, Nonce, Prefix, Record, State};
use crate::probe::{self, Probe, Prober, Verdict};
use crate::systemd::notify;
use crate::systemd::notify::{Waiting, Watchdog};
use crate::util::duration;
use crate::util::log_limit;
use crate::util::shutdown::Stop;
use ready::Readiness;
use reload::{Hangups, Mistakes, Origin, Reading, Reload, Rereading};

/// What to announce, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which instance of which service.
    pub id: InstanceId,
    /// What is known of it; state, nonce and since are filled in by the announcer.
    pub record: Record,
    /// How the record is written.
    pub format: Format,
    /// Where records lie.
    pub prefix: Prefix,
    /// Where pushers tell what they have applied.
    pub meta: MetaPrefix,
    /// All must pass. Without any the record is kept unconditionally.
    pub probes: Vec<Probe>,
    /// How often they are asked.
    pub pace: probe::Pace,
    /// Passes in a row until the backend counts as up.
    pub rise: u32,
    /// Failures in a row until it counts as down.
    pub fall: u32,
    /// What happens to the record then.
    pub on_failure: OnFailure,
    /// How long the record outlives a killed announcer.
    pub ttl: Duration,
    /// What must have happened before systemd is told that the service is up.
    pub ready: Ready,
    /// How long leaving waits for the pushers at most.
    pub drain_timeout: Duration,
    /// How much longer it waits after they have let go.
    pub linger: Duration,
}

/// When the announcer counts as started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ready {
    /// etcd has confirmed the record.
    #[default]
    Announced,
    /// At least one live pusher routes the service, and all that do have applied the record and route this instance.
    Routed,
}

impl Ready {
    /// As options spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Routed => "routed",
        }
    }
}

/// How the announcer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to and left in good order.
    Left,
    /// Its container did not run in time.
    NeverRan {
        /// How it is instead, in words.
        why: String,
    },
    /// A newer announcer has the record.
    Deposed {
        /// Who, in words.
        by: Arc<str>,
    },
}

impl Settings {
    /// How long it takes at most until a backend that dies is known to be down; `None` without probes.
    #[must_use]
    pub fn detection_bound(&self) -> Option<Duration> {
        let rounds = self.pace.interval * self.fall;
        (!self.probes.is_empty()).then(|| rounds + self.pace.timeout)
    }

    /// The bounds that these settings promise, in words.
    #[must_use]
    pub fn bounds(&self) -> String {
        let ttl = duration::show(self.ttl);
        let killed = format!("the record outlives a killed announcer by at most {ttl}");
        match self.detection_bound() {
            Some(bound) => {
                let bound = duration::show(bound);
                format!("a dead backend is noticed within {bound}; {killed}")
            }
            None => format!("no probe: the record says nothing about the backend; {killed}"),
        }
    }
}

/// Announces until asked to stop or deposed. Never gives up on etcd. SIGHUP has the settings read again from `origin`.
pub async fn run(
    settings: Settings,
    origin: Origin<'_>,
    cluster: Cluster,
    stop: Stop,
    hangups: &mut Hangups,
) -> Outcome {
    let at = settings.record.endpoint.clone();
    let reread = || -> Rereading<'_> {
        let read = origin(Reading::Again { at: Some(&at) }, None);
        // Without a container there always are some.
        let read = read.and_then(|settings| settings.ok_or_else(Mistakes::default));
        Box::pin(std::future::ready(read))
    };
    serve(settings, cluster, stop, Reload::new(hangups, &reread)).await
}

async fn serve(settings: Settings, cluster: Cluster, stop: Stop, reload: Reload<'_>) -> Outcome {
    info!(
        "announcing {} at {} as {}",
        settings.id,
        settings.record.address(),
        settings.prefix.key(&settings.id),
    );
    info!("{}", settings.bounds());
    Agent::new(settings, cluster).run(stop, reload).await
}

struct Agent {
    settings: Settings,
    keeper: LeaseKeeper,
    lease: watch::Receiver<LeaseStatus>,
    /// None when there is nothing to ask.
    prober: Option<Prober>,
    gate: Gate,
    phase: Phase,
    /// The reason of the newest failure, for people.
    reason: Option<String>,
    /// Failures of a backend that has never been up.
    unproved: u32,
    pushers: pushers::Watch,
    readiness: Readiness,
    /// Why settings that were read again are not in force.
    refused: Option<String>,
    /// What systemd was told last.
    told_status: String,
    /// What was logged last of the record.
    noted: &'static str,
    watchdog: Option<Watchdog>,
    /// While etcd is waited for at the start.
    waiting: Option<Waiting>,
    pulse: watch::Receiver<()>,
}

/// What to do next.
enum Event {
    Leave,
    Verdict(Verdict),
    Lease,
    /// The pushers have something to tell, or were waited for long enough.
    Pushers,
    Pulse,
    Reread(Box<Result<Settings, Mistakes>>),
}

impl Agent {
    fn new(mut settings: Settings, cluster: Cluster) -> Self {
        let nonce = Nonce::fresh();
        settings.record.nonce = Some(nonce.clone());
        settings.record.since = Some(now());
        let key = settings.prefix.key(&settings.id);
        let keeper = lease::keep(cluster.clone(), key, nonce, settings.ttl);
        Self {
            lease: keeper.status(),
            pulse: keeper.pulse(),
            keeper,
            prober: None,
            gate: Gate::new(settings.rise, settings.fall),
            phase: Phase::Starting,
            reason: None,
            unproved: 0,
            pushers: pushers::Watch::new(cluster, settings.meta.clone()),
            readiness: Readiness::default(),
            refused: None,
            told_status: String::new(),
            noted: "",
            watchdog: Watchdog::of_unit(),
            waiting: None,
            settings,
        }
    }

    async fn run(mut self, mut stop: Stop, mut reload: Reload<'_>) -> Outcome {
        if self.settings.probes.is_empty() {
            // The backend counts as up from the start.
            self.gate.assume_up();
            self.enter(Phase::Serving);
        }
        self.start_probing(false);
        self.check_watchdog();
        loop {
            self.note_waiting();
            match self.next_event(&mut stop, &mut reload).await {
                Event::Leave => return self.leave(stop).await,
                Event::Pulse => {
                    self.renewed();
                    continue;
                }
                Event::Verdict(verdict) => self.judge(verdict),
                Event::Pushers => {}
                Event::Lease => {
                    let lease = self.lease.borrow_and_update().clone();
                    if let LeaseStatus::Deposed { by } = lease {
                        return deposed(&self.settings, by);
                    }
                    self.note(&lease);
                }
                Event::Reread(read) => {
                    self.reloaded(*read);
                    reload.answered();
                }
            }
            self.check_ready();
            let status = self.status();
            if status != self.told_status {
                notify::status(&status);
                self.told_status = status;
            }
        }
    }

    /// Asks the backend from now on as the settings say; without grace where the first verdict is due.
    fn start_probing(&mut self, first_verdict_is_due: bool) {
        let mut pace = self.settings.pace.clone();
        if first_verdict_is_due {
            pace.grace = Duration::ZERO;
        }
        let probes = &self.settings.probes;
        self.prober = (!probes.is_empty()).then(|| Prober::start(probes.clone(), pace));
    }

    async fn next_event(&mut self, stop: &mut Stop, reload: &mut Reload<'_>) -> Event {
        let waiting = self.readiness.waits_for_pushers();
        let overdue = self.readiness.overdue(self.settings.drain_timeout);
        let watched = self.watchdog.is_some();
        tokio::select! {
            biased;
            () = stop.leave() => Event::Leave,
            Ok(()) = self.lease.changed() => Event::Lease,
            verdict = probe::next_verdict(&mut self.prober) => Event::Verdict(verdict),
            () = self.pushers.changed(), if waiting => Event::Pushers,
            () = overdue, if waiting => Event::Pushers,
            Ok(()) = self.pulse.changed(), if watched => Event::Pulse,
            read = reload.next() => Event::Reread(Box::new(read)),
        }
    }

    /// That etcd does not answer is no reason to end the start.
    fn note_waiting(&mut self) {
        let pending = matches!(*self.lease.borrow(), LeaseStatus::Pending { .. });
        let waits = pending && !self.readiness.is_told();
        if waits != self.waiting.is_some() {
            self.waiting = waits.then(Waiting::to_be_up);
        }
    }

    /// A watchdog that wants feeding more often than the agent does anything would kill a healthy agent.
    fn check_watchdog(&self) {
        let heartbeat = self.settings.ttl / 3;
        let probing = self.settings.pace.interval + self.settings.pace.timeout;
        // While etcd is away the lease task shows itself once an attempt.
        let slowest = probing.max(heartbeat).max(lease::SLOWEST_ATTEMPT);
        if let Some(watchdog) = &self.watchdog
            && watchdog.limit() < 2 * slowest
        {
            warn!(
                "WatchdogSec={} is too short for this probe, TTL and an etcd that is away: make it {} or more, or systemd kills a healthy agent",
                duration::show(watchdog.limit()),
                duration::show(2 * slowest),
            );
        }
    }

    fn judge(&mut self, verdict: Verdict) {
        self.note_progress();
        let changed = self.gate.observe(verdict.is_ok());
        self.reason = verdict.err().map(|failure| failure.to_string());
        match (changed, &self.reason) {
            (Some(Health::Up), _) => info!("{} passes its probes", self.settings.id),
            (Some(Health::Down), Some(reason)) => {
                let fall = self.settings.fall;
                warn!(
                    "{} failed {fall} times in a row: {reason}",
                    self.settings.id
                );
            }
            (None, Some(reason)) => {
                tracing::debug!("probe failed: {reason}");
                self.note_unproved();
            }
            _ => {}
        }
        if let Some(health) = changed {
            self.enter(self.phase.after(health));
        }
    }

    /// Says once that a backend does not come up at all: it has no other failure to be told.
    fn note_unproved(&mut self) {
        if self.phase != Phase::Starting {
            return;
        }
        self.unproved = self.unproved.saturating_add(1);
        if self.unproved == self.settings.fall {
            warn!(
                "{} has failed {} times since the start and is announced as soon as it passes: {}",
                self.settings.id,
                self.unproved,
                self.reason.as_deref().unwrap_or_default()
            );
        }
    }

    /// Without probes there is no verdict to wait for.
    fn renewed(&mut self) {
        let unprobed = self.settings.probes.is_empty();
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.renewed();
            if unprobed {
                watchdog.probed();
            }
        }
    }

    /// A verdict is progress; so is a lease task that rightly has nothing to keep.
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
            Wish::Nothing(state) => Wanted::Absent {
                notice: Some(self.value(state)),
            },
        };
        self.keeper.set(intent);
    }

    /// The bytes of the record in `state`, with the reason for it.
    fn value(&self, state: State) -> Arc<[u8]> {
        let record = self.settings.record.with_state(state);
        let record = match (state, &self.reason) {
            (State::Up, _) | (State::Down, None) => record,
            (State::Down, Some(reason)) => record.because(reason),
            (State::Draining, _) => record.because("its announcer was asked to stop"),
        };
        record.encode(self.settings.format).into()
    }

    fn note(&mut self, lease: &LeaseStatus) {
        match lease {
            LeaseStatus::Held { revision, .. } => {
                let state = match self.phase {
                    Phase::Failing => "marked down",
                    _ => "announced",
                };
                let id = &self.settings.id;
                // Somebody overwrites it, as often as he likes.
                let again = std::mem::replace(&mut self.noted, state) == state;
                let more = match again {
                    true => log_limit::allows("announced again", id.to_string()),
                    false => Some(log_limit::More::default()),
                };
                if let Some(more) = more {
                    info!("{id} is {state} (etcd revision {revision}){more}");
                }
            }
            LeaseStatus::Absent | LeaseStatus::NoSpace { .. } => {
                self.noted = "withdrawn";
                info!("{} is withdrawn", self.settings.id);
            }
            // The lease task has said what is wrong.
            LeaseStatus::Pending { .. } | LeaseStatus::Deposed { .. } => {}
        }
    }

    /// The phase and the reason, in words.
    fn status(&self) -> String {
        let announced = match &*self.lease.borrow() {
            LeaseStatus::Held { revision, .. } => format!("announced at revision {revision}"),
            LeaseStatus::Absent => "not announced".to_owned(),
            LeaseStatus::NoSpace { .. } => "not announced, as etcd has no room".to_owned(),
            LeaseStatus::Pending { error: None } => "waiting for etcd".to_owned(),
            LeaseStatus::Pending { error: Some(error) } => format!("waiting for etcd: {error}"),
            LeaseStatus::Deposed { by } => format!("deposed by {by}"),
        };
        let waiting = self.readiness.in_words();
        let (against, needed) = self.gate.progress();
        let health = match (self.phase, &self.reason) {
            (Phase::Starting | Phase::Failing, Some(reason)) => format!("down: {reason}"),
            (Phase::Starting | Phase::Failing, None) => {
                format!("down, {against} of {needed} passes")
            }
            (Phase::Serving, Some(reason)) => {
                format!("up, {against} of {needed} failures: {reason}")
            }
            (Phase::Serving, None) => "up".to_owned(),
            (Phase::Leaving, _) => "leaving".to_owned(),
        };
        let refused = match &self.refused {
            Some(why) => format!("; reload refused: {why}"),
            None => String::new(),
        };
        format!("{health}; {announced}{waiting}{refused}")
    }
}

/// The time in whole milliseconds: finer ones only make the record longer.
fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

fn deposed(settings: &Settings, by: Arc<str>) -> Outcome {
    warn!("{} was taken over by {by}; leaving it alone", settings.id);
    notify::status(&format!("deposed by {by}"));
    Outcome::Deposed { by }
}
