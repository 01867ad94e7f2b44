//! The announcer of a container: one agent for each run of it.
//!
//! When a run of the container ends, its agent leaves, gracefully if there is time, and the next run gets an agent of its own:
//! another port, another version, and nothing left over.

mod place;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::agent::Agent;
use super::handover::Handover;
use super::reload::{Reload, ReloadEvent};
use super::{Outcome, Settings, serve};
use crate::docker::Daemon;
use crate::docker::container::{Container, ContainerName};
use crate::docker::follow::{self, PERIOD, State, States, follow};
use crate::docker::host::Surroundings;
use crate::docker::identity;
use crate::etcd::client::Cluster;
use crate::systemd::notify;
use crate::util::last_state;
use crate::util::shutdown;
use crate::util::shutdown::Stop;
use place::{Place, death, end_with_run, other_place};

/// A container and how to announce it.
#[derive(Debug, Clone)]
pub struct Pairing {
    /// The daemon that runs it.
    pub daemon: Daemon,
    /// Its name or id.
    pub container: ContainerName,
    /// The given settings; the container completes them.
    pub wanted: identity::Wanted,
    /// What to do when it has ended.
    pub on_gone: OnGone,
    /// How long the container may take to run for the first time with `--on-gone exit`; counted while its daemon answers.
    pub start_timeout: Duration,
}

/// The retry interval while the host is not ready.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What an announcer does when its container has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnGone {
    /// It exits too, and the service manager decides.
    #[default]
    Exit,
    /// It waits for the next run.
    Wait,
}

/// Why a container cannot be announced: each problem on its own line.
#[derive(Debug, thiserror::Error)]
#[error("container {container}: {reason}")]
pub struct Refused {
    /// Which.
    pub container: ContainerName,
    /// Why not.
    pub reason: String,
}

/// One run of a container.
#[derive(Debug, Clone)]
pub struct Run {
    /// The container.
    pub container: Arc<Container>,
    /// Its states, for probes.
    pub states: States,
    /// The daemon that runs it.
    pub daemon: Daemon,
    /// The host that it runs on.
    pub host: Arc<Surroundings>,
}

/// All mistakes in the settings of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// The mistakes, as messages.
    pub said: Vec<String>,
    /// Whether the flags are right and only the host is not ready yet.
    pub passing: bool,
}

/// Makes the settings of one run, or returns why it cannot.
pub type Origin<'a> = &'a dyn Fn(&Run) -> Result<Settings, Mistakes>;

/// Announces each run of the container until a stop, a newer announcer, a handover or, with [`OnGone::Exit`], the
/// container's end. Continues from `handover`.
///
/// # Errors
/// [`Refused`] when the first run cannot be announced. For later ones it waits: an agent that
/// served does not end because somebody started its container with another port.
pub async fn run_paired(
    pairing: Pairing,
    origin: Origin<'_>,
    cluster: Cluster,
    stop: Stop,
    reload: &mut Reload,
    handover: Handover,
) -> Result<Outcome, Refused> {
    let follower = follow(follow::Settings {
        daemon: pairing.daemon.clone(),
        container: pairing.container.clone(),
        period: PERIOD,
    });
    let mut paired = Paired {
        states: follower.states(),
        served: handover.served,
        former: Agent::resume(&handover),
        former_run: handover.run,
        pairing,
        cluster,
        stop,
    };
    let outcome = Box::pin(paired.run(origin, reload)).await;
    let stop = paired.stop.clone();
    paired.withdraw_former(stop).await;
    outcome
}

struct Paired {
    pairing: Pairing,
    cluster: Cluster,
    stop: Stop,
    states: States,
    /// Whether any run was announced.
    served: bool,
    /// The former image's agent, until it is known whether its run still runs.
    former: Option<Box<Agent>>,
    former_run: Option<String>,
}

impl Paired {
    async fn run(&mut self, origin: Origin<'_>, reload: &mut Reload) -> Result<Outcome, Refused> {
        let mut host = None;
        // What it waits for, logged once.
        let mut lacking = String::new();
        notify::reloaded();
        loop {
            let waiting = notify::Waiting::idly();
            let mut states = self.states.clone();
            let mut stop = self.stop.clone();
            let stands = self.former.is_some();
            let next = next_run(&self.pairing, self.served, stands, &mut states, &mut stop);
            let container = match self.hearing(reload, next).await {
                Some(Next::Run(container)) => container,
                Some(Next::NotNow) => {
                    self.withdraw_former(stop).await;
                    continue;
                }
                Some(Next::Over) => return Ok(Outcome::Left),
                Some(Next::TooLate(why)) => return Ok(Outcome::NeverRan { why }),
                None => return Ok(self.hand_over().await),
            };
            let looking = surroundings(&self.pairing, host.take());
            // The daemon may not answer for a long time.
            let known = tokio::select! {
                biased;
                () = stop.leave() => return Ok(Outcome::Left),
                known = self.hearing(reload, looking) => known,
            };
            let Some(known) = known else {
                return Ok(self.hand_over().await);
            };
            host = Some(known.clone());
            drop(waiting);
            let run = Run {
                container,
                states: self.states.clone(),
                daemon: self.pairing.daemon.clone(),
                host: known,
            };
            let place = Place::of(&run.container, self.pairing.wanted.address.network.as_ref());
            match origin(&run) {
                Ok(settings) => {
                    lacking.clear();
                    if let Some(outcome) = self.announce(place, &run, settings, reload).await {
                        return Ok(outcome);
                    }
                    // The session may have ended for a passing reason: announce the same run again.
                }
                Err(mistakes) if !self.served && !mistakes.passing => {
                    let container = self.pairing.container.clone();
                    let reason = mistakes.said.join("\n  ");
                    return Err(Refused { container, reason });
                }
                Err(mistakes) => {
                    log_once(&self.pairing, &mistakes, &mut lacking);
                    self.withdraw_former(stop.clone()).await;
                    let _waiting = notify::Waiting::idly();
                    let other = async {
                        tokio::select! {
                            other = other_place(&place, &mut states, &mut stop) => other,
                            () = sleep(LOOK_AGAIN), if mistakes.passing => true,
                        }
                    };
                    match self.hearing(reload, other).await {
                        Some(true) => {}
                        Some(false) => return Ok(Outcome::Left),
                        None => return Ok(self.hand_over().await),
                    }
                }
            }
        }
    }

    /// Announces one run until it ends; `None` when another one may follow.
    async fn announce(
        &mut self,
        place: Place,
        run: &Run,
        settings: Settings,
        reload: &mut Reload,
    ) -> Option<Outcome> {
        self.served = true;
        let name = run_name(&run.container);
        if self.former_run.take().is_some_and(|former| former != name) {
            let container = &self.pairing.container;
            let ended = format!("container {container} was restarted: withdrawing at once");
            self.withdraw_former(forced_stop(ended)).await;
        }
        let session = end_with_run(place, self.states.clone(), self.stop.clone());
        let (cluster, former) = (self.cluster.clone(), self.former.take());
        match Box::pin(serve(settings, cluster, session, reload, former)).await {
            Outcome::Left if !self.stop.is_asked() => None,
            Outcome::HandOver(mut handover) => {
                handover.served = true;
                handover.run = Some(name);
                Some(Outcome::HandOver(handover))
            }
            outcome => Some(outcome),
        }
    }

    /// Withdraws the former image's record, if its container has ended or can no longer be announced.
    async fn withdraw_former(&mut self, stop: Stop) {
        let Some(former) = self.former.take() else {
            return;
        };
        let state = self.states.borrow().clone();
        let stop = match &state {
            State::Gone(why) => {
                let container = &self.pairing.container;
                forced_stop(format!(
                    "container {container} {}: withdrawing at once",
                    death(why)
                ))
            }
            _ => stop,
        };
        former.leave(stop).await;
    }

    async fn hand_over(&mut self) -> Outcome {
        let mut handover = match self.former.take() {
            Some(former) => former.hand_over().await,
            None => Handover::default(),
        };
        handover.served = self.served;
        handover.run = self.former_run.take();
        Outcome::HandOver(Box::new(handover))
    }

    /// Waits for `what`, and handles SIGHUP in the meantime; `None` when it is time to hand over.
    async fn hearing<T>(&self, reload: &mut Reload, what: impl Future<Output = T>) -> Option<T> {
        let mut what = std::pin::pin!(what);
        loop {
            let event = tokio::select! {
                biased;
                done = &mut what => return Some(done),
                event = reload.next() => event,
            };
            match event {
                ReloadEvent::Hangup => reload.begin(&match &self.former {
                    Some(former) => former.handover(),
                    None => Handover::default(),
                }),
                ReloadEvent::Refused(_) => {}
                ReloadEvent::Tried => {
                    if reload.keep_signals(&self.stop).await {
                        return None;
                    }
                }
            }
        }
    }
}

/// Identifies a run across images of the program.
fn run_name(run: &Container) -> String {
    let started = run.started_at.map(|at| at.to_string());
    format!("{} {}", run.id, started.unwrap_or_default())
}

/// A forced shutdown, for this reason.
fn forced_stop(why: String) -> Stop {
    let (stopper, stop) = shutdown::channel();
    stopper.force(why);
    stop
}

/// The host's properties now. Its name and address stay once they are known.
async fn surroundings(pairing: &Pairing, known: Option<Arc<Surroundings>>) -> Arc<Surroundings> {
    let choice = pairing.wanted.address.host.as_ref();
    let wants_name = pairing.wanted.needs_host_name();
    match known {
        Some(known) if known.is_whole(wants_name) => {
            let mut known = Arc::unwrap_or_clone(known);
            known.look_again(choice).await;
            Arc::new(known)
        }
        _ => Arc::new(Surroundings::look(&pairing.daemon, choice, wants_name).await),
    }
}

/// Logs why a container cannot be announced now, unless it was logged last.
fn log_once(pairing: &Pairing, mistakes: &Mistakes, last: &mut String) {
    let why = mistakes.said.join("; ");
    let name = &pairing.container;
    if *last == why {
        return;
    }
    if mistakes.passing {
        warn!("container {name} cannot be announced yet: {why}; waiting for that");
        notify::status(&format!("waiting: {why}"));
    } else {
        warn!("container {name} cannot be announced as it is now: {why}");
    }
    *last = why;
}

/// What comes after the last run.
enum Next {
    /// Another one.
    Run(Arc<Container>),
    /// None yet, and the record in etcd belongs to one that no longer runs.
    NotNow,
    /// None: asked to stop, or the container has ended and the announcer ends with it.
    Over,
    /// None, because it did not run in time; its state instead.
    TooLate(String),
}

/// Waits until the container runs. One that was never announced has `start_timeout` for that.
///
/// A record that `stands` in etcd is kept until we know whether the container runs.
async fn next_run(
    pairing: &Pairing,
    served: bool,
    stands: bool,
    states: &mut States,
    stop: &mut Stop,
) -> Next {
    let ends = pairing.on_gone == OnGone::Exit;
    let mut left = pairing.start_timeout;
    // The end of a run was logged with its record.
    let mut told = served;
    loop {
        let state = states.borrow_and_update().clone();
        match &state {
            State::Running(container) => return Next::Run(container.clone()),
            State::Gone(_) if ends && served => {
                info!("leaving with container {}", pairing.container);
                return Next::Over;
            }
            State::Unknown { .. } => {}
            _ if stands => return Next::NotNow,
            _ => {}
        }
        let name = &pairing.container;
        let line = match std::mem::take(&mut told) {
            true => format!("waiting for container {name} to run again"),
            false => format!("container {name} {state}: waiting for it"),
        };
        last_state::tell("waits for container", name.as_str(), line);
        notify::status(&format!("waiting for container {name}, which {state}"));
        // A daemon that does not answer cannot start anything, and its containers may still run.
        let counts = ends && !served && !matches!(state, State::Unknown { .. });
        let from = Instant::now();
        tokio::select! {
            () = stop.leave() => return Next::Over,
            changed = states.changed() => if changed.is_err() {
                return Next::Over;
            },
            () = sleep(left), if counts => return Next::TooLate(state.to_string()),
        }
        if counts {
            left = left.saturating_sub(from.elapsed());
        }
    }
}
