//! Keeps one upstream of one target equal to what is desired, for ever.
//!
//! Level-based: a change (coalesced), a restart of the target, the resync period, a retry or a watched drain
//! wakes it; then it always does the same: converge on the newest desired state, and report the status.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::model::Endpoint;
use crate::target::{Error, Outcome, Progress, Upstream};
use crate::upstream::guard::Seen;
use crate::upstream::plan::{Plan, Serving, Step};
use crate::upstream::state::Desired;

mod contest;
mod health;
mod pace;
mod refusals;
mod status;
mod verdict;

use contest::Contest;
use health::Health;
pub use pace::{DEBOUNCE_LIMIT, Pacing, PacingError};
use pace::{Next, Pace};
pub use status::UpstreamStatus;
pub use verdict::Verdict;
pub(crate) use verdict::{found, seen};

/// How long a target must refuse connections before it counts as not routing: a restart is shorter.
const REFUSING: Duration = Duration::from_secs(3);

/// The newest desired state, or none yet.
pub type Published = Option<Arc<Desired>>;

/// A reconciler's report: its number and its status.
pub type Report = (usize, UpstreamStatus);

/// Servers that took traffic in the target at the first look, and would take none any more.
#[derive(Debug)]
pub struct Found {
    /// The number of the reconciler.
    pub number: usize,
    /// The servers. Untrusted.
    pub servers: Vec<Serving>,
    /// Servers that should take traffic but did not.
    pub lacking: Vec<Endpoint>,
    /// The state of all servers in the target.
    pub seen: Seen,
    /// Dropped when the desired state takes them into account; the reconciler waits for that.
    pub heard: oneshot::Sender<()>,
}

/// A reconciler's connections to the rest of the pusher.
#[derive(Debug)]
pub struct Links {
    /// The number in its reports.
    pub number: usize,
    /// The target, for the log.
    pub target: Arc<str>,
    /// The upstream, for the log.
    pub upstream: Arc<str>,
    /// The desired state.
    pub desired: watch::Receiver<Published>,
    /// Changes when the target may have forgotten everything.
    pub restarts: watch::Receiver<u64>,
    /// Whether other pushers have newer information: then nothing is done only because time has passed.
    pub deferring: watch::Receiver<bool>,
    /// Receives status changes.
    pub reports: mpsc::UnboundedSender<Report>,
    /// Receives what the first look finds.
    pub finds: mpsc::UnboundedSender<Found>,
    /// Limits how many upstreams of the target converge at once.
    pub permits: Arc<Semaphore>,
    /// The pace; a new value applies from the next look on.
    pub pacing: watch::Receiver<Pacing>,
}

/// Runs until the desired state has no sender. May be aborted at any time.
pub async fn run(upstream: Box<dyn Upstream>, links: Links) {
    let health = Health::new(links.target.clone(), links.upstream.clone());
    let pacing = *links.pacing.borrow();
    let reconciler = Reconciler {
        upstream,
        links,
        pace: Pace::new(pacing),
        health,
        status: UpstreamStatus::default(),
        reported: UpstreamStatus::default(),
        looked_for: (0, 0),
        is_first: true,
        refusing_since: None,
        contest: Contest::default(),
    };
    reconciler.run().await;
}

struct Reconciler {
    upstream: Box<dyn Upstream>,
    links: Links,
    pace: Pace,
    health: Health,
    status: UpstreamStatus,
    reported: UpstreamStatus,
    /// The revisions of the last look.
    looked_for: (i64, i64),
    /// Whether the target has not been looked at yet.
    is_first: bool,
    /// Since when the target refuses connections.
    refusing_since: Option<Instant>,
    contest: Contest,
}

impl Reconciler {
    async fn run(mut self) {
        let mut next = Next::Change;
        while self.wait(next).await.is_some() {
            let published = self.links.desired.borrow_and_update().clone();
            let Some(desired) = published else {
                next = Next::Change;
                continue;
            };
            let found = match self.is_first {
                true => self.find(&desired).await,
                false => None,
            };
            next = match found {
                Some(next) => next,
                None => self.look(&desired).await,
            };
        }
    }

    /// Sends the servers that take traffic in the target, and waits until the desired state takes them into account:
    /// records that are missing from the start may have vanished while no pusher ran. `None` when there is nothing to
    /// send.
    async fn find(&mut self, desired: &Arc<Desired>) -> Option<Next> {
        let compared = {
            let _permit = self.links.permits.acquire().await;
            self.upstream.compare(desired).await
        };
        let now = Instant::now();
        match compared {
            Ok(plan) => {
                self.is_first = false;
                if plan.leaving.is_empty() {
                    return None;
                }
                let (heard, hears) = oneshot::channel();
                let lacking = lacking(&plan);
                let found = Found {
                    number: self.links.number,
                    seen: found(desired, &lacking, &plan.leaving),
                    lacking,
                    servers: plan.leaving,
                    heard,
                };
                // The receiver is gone only when the process ends.
                let _ = self.links.finds.send(found);
                let _ = hears.await;
                Some(Next::At(now))
            }
            // A file cannot be read: converging reports what is wrong with it.
            Err(Error::File { .. } | Error::Template(_)) => {
                self.is_first = false;
                None
            }
            Err(error) => {
                let failed = Err(error);
                self.health.observe(&failed, desired, now);
                self.report(desired, &failed, now);
                Some(self.next(&failed, now))
            }
        }
    }

    /// Waits until the upstream must be looked at; `None` when the desired state has no sender.
    async fn wait(&mut self, next: Next) -> Option<()> {
        let Links {
            desired,
            restarts,
            deferring,
            ..
        } = &mut self.links;
        // In a contest, a wake-up by somebody else's change waits.
        let wakes = self.upstream.forgets() || self.contest.pause().is_none();
        let (going_on, restarted) = match next {
            Next::Change => (changed(desired, &self.pace).await, false),
            Next::ChangeOr(at) => tokio::select! {
                changed = changed(desired, &self.pace) => (changed, false),
                () = restarted(restarts), if wakes => (Some(()), true),
                () = due(at, deferring) => (Some(()), false),
            },
            // Changes wait as well: a failing target is not asked more often because more changes.
            Next::At(at) => {
                let restarted = tokio::select! {
                    () = restarted(restarts) => true,
                    () = sleep_until(at) => false,
                };
                (desired.has_changed().ok().map(drop), restarted)
            }
        };
        if restarted {
            self.upstream.forgotten();
        }
        going_on
    }

    async fn look(&mut self, desired: &Arc<Desired>) -> Next {
        self.pace.set(*self.links.pacing.borrow());
        if self.status.confirmed > desired.revision {
            // etcd was restored: the confirmed revision belongs to another history.
            self.status.confirmed = 0;
        }
        self.status.overrides = self.status.overrides.min(desired.overrides);
        if self.looked_for != desired.revisions() {
            self.looked_for = desired.revisions();
            self.pace.restart();
        }
        let result = {
            // The semaphore is never closed; if it were, working without a permit would still be right.
            let _permit = self.links.permits.acquire().await;
            self.upstream.converge(desired).await
        };
        let now = Instant::now();
        self.health.observe(&result, desired, now);
        self.report(desired, &result, now);
        self.next(&result, now)
    }

    /// When to look again: sooner where a target refuses connections, to decide whether it routes.
    fn next(&mut self, result: &Result<Outcome, Error>, now: Instant) -> Next {
        let decided = self.refusing_since.map(|since| since + REFUSING);
        match (self.pace.after(result, now), decided) {
            (Next::At(at), Some(decided)) if decided > now => Next::At(at.min(decided)),
            (Next::ChangeOr(at), _) if is_converged(result) => {
                Next::ChangeOr(self.next_repair(at, now))
            }
            (next, _) => next,
        }
    }

    /// When to look for changes by others: at this time at the latest, unless there is a contest.
    fn next_repair(&self, at: Instant, now: Instant) -> Instant {
        match self.contest.pause() {
            None => at,
            Some(pause) if self.upstream.forgets() => at.max(now + pause),
            // Nothing wakes it in the meantime.
            Some(pause) => now + pause,
        }
    }

    fn report(&mut self, desired: &Arc<Desired>, result: &Result<Outcome, Error>, now: Instant) {
        self.status.errors = self.health.errors();
        self.status.wanted = desired.serving();
        match result {
            Ok(outcome) => self.report_outcome(desired, outcome, now),
            Err(error) if error.is_not_routing() => {
                self.upstream.forgotten();
                // When it comes back it may have forgotten everything.
                self.status.confirmed = 0;
                self.status.overrides = 0;
                let since = *self.refusing_since.get_or_insert(now);
                self.status.routing &= now - since < REFUSING;
                self.status.has = Some(0).filter(|_| !self.status.routing);
                self.doubt(false);
            }
            Err(_) => {
                self.refusing_since = None;
                self.status.routing = true;
                self.doubt(true);
            }
        }
        if self.status != self.reported {
            self.reported = self.status.clone();
            // The receiver is gone only when the process ends.
            let _ = self
                .links
                .reports
                .send((self.links.number, self.status.clone()));
        }
    }

    /// After an error keep the old refusals; what took traffic may still do so if the target routes.
    fn doubt(&mut self, routing: bool) {
        if let Some(seen) = &mut self.status.seen {
            seen.current = false;
            seen.serving = seen.serving.take().filter(|_| routing);
        }
    }

    fn report_outcome(&mut self, desired: &Arc<Desired>, outcome: &Outcome, now: Instant) {
        self.refusing_since = None;
        self.status.routing = true;
        match outcome.progress {
            // An unfinished convergence has no result yet.
            Progress::Unfinished => return,
            Progress::Converged => {
                self.status.confirmed = desired.revision;
                self.status.overrides = desired.overrides;
                let restarts = match self.upstream.forgets() {
                    true => *self.links.restarts.borrow(),
                    false => 0,
                };
                let contest = &mut self.contest;
                self.status.contested = contest.note(desired, restarts, outcome.changed, now);
            }
            Progress::Draining { confirmed, .. } => {
                self.status.confirmed = confirmed.max(self.status.confirmed);
            }
        }
        let serving = verdict::serving(desired, outcome);
        self.status.wanted = verdict::wanted(desired, &serving);
        self.status.has = Some(serving.len());
        self.status.seen = Some(seen(desired, outcome));
        self.status.verdict = Verdict::of(desired, outcome);
    }
}

fn is_converged(result: &Result<Outcome, Error>) -> bool {
    let progress = result.as_ref().map(|outcome| outcome.progress);
    progress == Ok(Progress::Converged)
}

/// The servers that a plan gives traffic.
pub(crate) fn lacking(plan: &Plan) -> Vec<Endpoint> {
    let lacking = plan.steps.iter().filter_map(|step| match step {
        Step::Add {
            endpoint,
            down: false,
            ..
        } => Some(endpoint.clone()),
        Step::Change {
            endpoint, change, ..
        } if change.down == Some(false) || change.drain == Some(false) => Some(endpoint.clone()),
        _ => None,
    });
    lacking.collect()
}

/// Waits for a change, and until no other follows closely; `None` when the desired state has no sender.
async fn changed(desired: &mut watch::Receiver<Published>, pace: &Pace) -> Option<()> {
    desired.changed().await.ok()?;
    let first = Instant::now();
    loop {
        let quiet = pace.quiet_at(first, Instant::now());
        match timeout_at(quiet, desired.changed()).await {
            Ok(changed) => changed.ok()?,
            Err(_) => return Some(()),
        }
    }
}

/// Waits until this time, and then until no other pusher has newer information.
async fn due(at: Instant, deferring: &mut watch::Receiver<bool>) {
    sleep_until(at).await;
    // The sender is gone: no other pusher has newer information.
    let _ = deferring.wait_for(|deferring| !deferring).await;
}

/// Waits until the target may have forgotten everything.
async fn restarted(restarts: &mut watch::Receiver<u64>) {
    if restarts.changed().await.is_err() {
        // Nothing watches the target for restarts.
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
