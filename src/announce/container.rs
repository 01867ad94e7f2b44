//! The announcer of a container: one agent for each run of it.
//!
//! Whatever happens to the container ends the agent of that run, in good order where there is time for it, and
//! the next run gets an agent of its own: another port, another version, and nothing left over.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::reload::{self, Hangups, Mistakes, Origin, Reading, Reload, Rereading, Run};
use super::{Outcome, Settings, serve};
use crate::docker::client::Error;
use crate::docker::container::{Container, ContainerName};
use crate::docker::follow::{self, PERIOD, State, States, Why, follow};
use crate::docker::host::Surroundings;
use crate::docker::identity;
use crate::docker::{Client, Daemon};
use crate::etcd::client::Cluster;
use crate::systemd::notify;
use crate::util::shutdown;
use crate::util::shutdown::Stop;

/// Which container, and what to do about it.
#[derive(Debug, Clone)]
pub struct Pairing {
    /// Who knows it.
    pub daemon: Daemon,
    /// Its name or id.
    pub container: ContainerName,
    /// What was given; the container fills in the rest.
    pub wanted: identity::Wanted,
    /// What happens when it has ended.
    pub on_gone: OnGone,
    /// How long it may take to run for the first time where its end is the agent's; only while its daemon answers.
    pub start_timeout: Duration,
}

/// How often it is looked whether the surroundings have what they lack.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What an announcer does when its container has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnGone {
    /// It ends too, so that the service manager decides what comes next.
    #[default]
    Exit,
    /// It waits for the next run.
    Wait,
}

/// Why a container cannot be announced, in words: every problem on a line of its own.
#[derive(Debug, thiserror::Error)]
#[error("container {container}: {reason}")]
pub struct Refused {
    /// Which.
    pub container: ContainerName,
    /// Why not.
    pub reason: String,
}

/// Announces each run of the container until asked to stop, deposed, or, with [`OnGone::Exit`], until the container
/// has ended. `origin` makes the settings of one run, or says in words why it cannot; SIGHUP has it read them again.
///
/// # Errors
/// [`Refused`] when the first run cannot be announced. Later ones are waited out: an agent that
/// served does not end because somebody started its container with another port.
pub async fn run_paired(
    pairing: Pairing,
    origin: Origin<'_>,
    cluster: Cluster,
    mut stop: Stop,
    hangups: &mut Hangups,
) -> Result<Outcome, Refused> {
    let follower = follow(follow::Settings {
        daemon: pairing.daemon.clone(),
        container: pairing.container.clone(),
        period: PERIOD,
    });
    let mut served = false;
    let mut states = follower.states();
    let mut host = None;
    // What is waited for, told once.
    let mut lacking = String::new();
    loop {
        let next = next_run(&pairing, served, &mut states, &mut stop);
        let waiting = notify::Waiting::idly();
        let container = match hearing(hangups, origin, next).await {
            Next::Run(container) => container,
            Next::Over => return Ok(Outcome::Left),
            Next::TooLate(why) => return Ok(Outcome::NeverRan { why }),
        };
        let looking = surroundings(&pairing, host.take());
        // What is asked may keep silent for long.
        let known = tokio::select! {
            biased;
            () = stop.leave() => return Ok(Outcome::Left),
            known = hearing(hangups, origin, looking) => known,
        };
        host = Some(known.clone());
        drop(waiting);
        let run = Run {
            container,
            states: follower.states(),
            daemon: pairing.daemon.clone(),
            host: known,
        };
        // Of a run that is known there are settings, or mistakes.
        let place = Place::of(&pairing, &run.container);
        let made = origin(Reading::Last, Some(&run));
        match made.and_then(|settings| settings.ok_or_else(Mistakes::default)) {
            Ok(settings) => {
                served = true;
                lacking.clear();
                let session = end_with_run(place, follower.states(), stop.clone());
                let at = settings.record.endpoint.clone();
                let reread = || -> Rereading<'_> {
                    let reading = Reading::Again { at: Some(&at) };
                    Box::pin(reread(&pairing.daemon, origin, reading, &run))
                };
                let reload = Reload::new(hangups, &reread);
                let outcome = serve(settings, cluster.clone(), session, reload).await;
                if outcome != Outcome::Left || stop.is_asked() {
                    return Ok(outcome);
                }
                // What ended the session may be over by now: the same run is announced again then.
            }
            Err(mistakes) if !served && !mistakes.passing => {
                let container = pairing.container.clone();
                let reason = mistakes.said.join("\n  ");
                return Err(Refused { container, reason });
            }
            Err(mistakes) => {
                tell_once(&pairing, &mistakes, &mut lacking);
                let _waiting = notify::Waiting::idly();
                tokio::select! {
                    other = other_place(&place, &mut states, &mut stop) => {
                        if !other {
                            return Ok(Outcome::Left);
                        }
                    }
                    // With other settings it may be possible.
                    () = hangups.heard() => hear(hangups, origin),
                    () = sleep(LOOK_AGAIN), if mistakes.passing => {}
                }
            }
        }
    }
}

/// What is known of the host now. Its name and ours stay as they were, once they are known.
async fn surroundings(pairing: &Pairing, known: Option<Arc<Surroundings>>) -> Arc<Surroundings> {
    let choice = pairing.wanted.reach.host.as_ref();
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

/// Says why a container cannot be announced as it is now, unless that was said last.
fn tell_once(pairing: &Pairing, mistakes: &Mistakes, last: &mut String) {
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

/// Waits for `what`, and hears SIGHUP meanwhile.
async fn hearing<T>(hangups: &mut Hangups, origin: Origin<'_>, what: impl Future<Output = T>) -> T {
    let mut what = std::pin::pin!(what);
    loop {
        tokio::select! {
            biased;
            done = &mut what => return done,
            () = hangups.heard() => hear(hangups, origin),
        }
    }
}

/// Reads the settings again while no run is announced: the next one has them.
fn hear(hangups: &mut Hangups, origin: Origin<'_>) {
    if let Err(mistakes) = origin(Reading::Again { at: None }, None) {
        reload::refuse(&mistakes);
    }
    hangups.answered();
}

/// Reads the settings of a run again, with what its daemon says of it now.
async fn reread(
    daemon: &Daemon,
    origin: Origin<'_>,
    reading: Reading<'_>,
    run: &Run,
) -> Result<Settings, Mistakes> {
    let container = look(daemon, &run.container).await.map_err(|error| {
        Mistakes::from(vec![format!("container {}: {error}", run.container.name)])
    })?;
    let run = Run {
        container,
        ..run.clone()
    };
    origin(reading, Some(&run))?.ok_or_else(Mistakes::default)
}

/// The run as it is now. Where it is over, it stays as it was: the agent is about to hear of that.
async fn look(daemon: &Daemon, run: &Arc<Container>) -> Result<Arc<Container>, Error> {
    let Ok(id) = run.id.parse() else {
        return Ok(run.clone());
    };
    let client = Client::connect(daemon.clone()).await?;
    match client.inspect(&id).await {
        Ok(now) if now.same_run(run) => Ok(Arc::new(now)),
        Ok(_) | Err(Error::NoSuchContainer { .. }) => Ok(run.clone()),
        Err(error) => Err(error),
    }
}

/// What comes after the last run.
enum Next {
    /// Another one.
    Run(Arc<Container>),
    /// Nothing: asked to stop, or the container has ended and that is to be the end.
    Over,
    /// Nothing, since it did not run in time; how it is instead, in words.
    TooLate(String),
}

/// Waits until the container runs. One that has never been served may be about to be started: it has its time for that.
async fn next_run(pairing: &Pairing, served: bool, states: &mut States, stop: &mut Stop) -> Next {
    let ends = pairing.on_gone == OnGone::Exit;
    let mut left = pairing.start_timeout;
    // The end of a run was told with what became of its record.
    let mut told = served;
    loop {
        let state = states.borrow_and_update().clone();
        match &state {
            State::Running(container) => return Next::Run(container.clone()),
            State::Gone(_) if ends && served => {
                info!("leaving with container {}", pairing.container);
                return Next::Over;
            }
            _ => {
                let name = &pairing.container;
                match std::mem::take(&mut told) {
                    true => info!("waiting for container {name} to run again"),
                    false => info!("container {name} {state}: waiting for it"),
                }
                notify::status(&format!(
                    "waiting for container {}, which {state}",
                    pairing.container
                ));
            }
        }
        // A daemon that cannot be asked cannot start anything, and its containers may well run.
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

/// A run of a container, and what its address comes from.
struct Place {
    run: Arc<Container>,
    /// The network that was asked for.
    network: Option<String>,
}

impl Place {
    fn of(pairing: &Pairing, run: &Arc<Container>) -> Self {
        let network = pairing.wanted.reach.network.clone();
        let run = run.clone();
        Self { run, network }
    }

    /// Whether this run can still be reached there.
    fn stands(&self, state: &State) -> bool {
        let State::Running(now) = state else {
            return false;
        };
        let own = |container: &Container| {
            let network = self.network.as_ref()?;
            container.networks.get(network).cloned()
        };
        now.same_run(&self.run) && now.published == self.run.published && own(now) == own(&self.run)
    }
}

/// Waits until the container is in another state or place; `false` when asked to stop.
async fn other_place(place: &Place, states: &mut States, stop: &mut Stop) -> bool {
    let other = states.wait_for(|state| !place.stands(state));
    tokio::select! {
        () = stop.leave() => false,
        other = other => other.is_ok(),
    }
}

/// What asks the agent of one run to stop: whatever asks the whole to, and the end of the run.
fn end_with_run(place: Place, mut states: States, mut stop: Stop) -> Stop {
    let (stopper, session) = shutdown::channel();
    tokio::spawn(async move {
        let ends = async {
            // A daemon that is silent says nothing about the container: the probe decides meanwhile.
            let ended =
                |state: &State| !matches!(state, State::Unknown { .. }) && !place.stands(state);
            let name = &place.run.name;
            match states.wait_for(ended).await.as_deref() {
                Ok(State::Gone(why)) => {
                    // Nothing is left that could finish a request.
                    stopper.hurry(format!(
                        "container {name} {}: withdrawing at once",
                        death(why)
                    ));
                    return;
                }
                Ok(state) => info!("container {name} {state}"),
                Err(_) => return,
            }
            stopper.stop();
            let over = |state: &State| matches!(state, State::Gone(_) | State::Running(_));
            match states.wait_for(over).await.as_deref() {
                Ok(State::Gone(why)) => stopper.hurry(format!(
                    "container {name} {}: not waiting any longer",
                    death(why)
                )),
                Ok(_) => stopper.hurry(format!(
                    "container {name} runs again: not waiting any longer"
                )),
                Err(_) => {}
            }
        };
        let asked = async {
            stop.leave().await;
            stopper.stop();
            stop.hurry().await;
            stopper.stop();
        };
        tokio::select! {
            ((), ()) = async { tokio::join!(ends, asked) } => {}
            () = stopper.abandoned() => {}
        }
    });
    session
}

/// How a container came to its end, in words.
fn death(why: &Why) -> String {
    match why {
        Why::Exited { code } => format!("died (exit code {code})"),
        Why::Restarting { code } => format!("died (exit code {code}) and is being restarted"),
        Why::Ended => "died".to_owned(),
        other => other.to_string(),
    }
}
