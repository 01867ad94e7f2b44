//! The announcer of a container: one agent for each run of it.
//!
//! Whatever happens to the container ends the agent of that run, in good order where there is time for it, and
//! the next run gets an agent of its own: another port, another version, and nothing left over.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{info, warn};

use super::{Outcome, Settings, run};
use crate::docker::Daemon;
use crate::docker::container::{Container, ContainerName};
use crate::docker::derive::{self, Derived, derive};
use crate::docker::follow::{self, PERIOD, State, Why, follow};
use crate::docker::host_address::HostAddresses;
use crate::notify;
use crate::registry::client::Cluster;
use crate::stop::{self, Stop};

/// Which container, and what to do about it.
#[derive(Debug, Clone)]
pub struct Pairing {
    /// Who knows it.
    pub daemon: Daemon,
    /// Its name or id.
    pub container: ContainerName,
    /// What was given; the container fills in the rest.
    pub wanted: derive::Wanted,
    /// What happens when it has ended.
    pub on_gone: OnGone,
}

/// What an announcer does when its container has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnGone {
    /// It ends too, so that the service manager decides what comes next.
    #[default]
    Exit,
    /// It waits for the next run.
    Wait,
}

/// The states of the container, for probes that ask it.
pub type States = watch::Receiver<State>;

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
/// has ended. `settings` makes the settings of one run, or says in words why it cannot.
///
/// # Errors
/// [`Refused`] when the first run cannot be announced. Later ones are waited out: an agent that
/// served does not end because somebody started its container with another port.
pub async fn run_paired(
    pairing: Pairing,
    settings: impl Fn(&Derived, States) -> Result<Settings, String>,
    cluster: Cluster,
    mut stop: Stop,
) -> Result<Outcome, Refused> {
    let follower = follow(follow::Settings {
        daemon: pairing.daemon.clone(),
        container: pairing.container.clone(),
        period: PERIOD,
    });
    let mut served = false;
    let mut states = follower.states();
    loop {
        let on_gone = if served {
            pairing.on_gone
        } else {
            OnGone::Wait
        };
        let Some(container) = next_run(&pairing, on_gone, &mut states, &mut stop).await else {
            return Ok(Outcome::Left);
        };
        let derived = derive(&pairing.wanted, &container, &HostAddresses::find());
        let derived = derived.map_err(|problems| in_words(&problems));
        let made = derived.and_then(|derived| settings(&derived, follower.states()));
        match made {
            Ok(settings) => {
                served = true;
                let place = Place::of(&pairing, &container);
                let session = end_with_run(place, follower.states(), stop.clone());
                let outcome = run(settings, cluster.clone(), session).await;
                if outcome != Outcome::Left || stop.is_asked() {
                    return Ok(outcome);
                }
                // The run may go on by now: it may have been paused for a moment.
                continue;
            }
            Err(reason) if !served => {
                let container = pairing.container.clone();
                return Err(Refused { container, reason });
            }
            Err(reason) => {
                warn!(
                    "container {} cannot be announced as it is now: {reason}",
                    pairing.container
                );
            }
        }
        if !other_place(&Place::of(&pairing, &container), &mut states, &mut stop).await {
            return Ok(Outcome::Left);
        }
    }
}

fn in_words(problems: &[derive::Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n  ")
}

/// Waits until the container runs; `None` when asked to stop, or when it has ended and that is to be the end.
async fn next_run(
    pairing: &Pairing,
    on_gone: OnGone,
    states: &mut States,
    stop: &mut Stop,
) -> Option<Arc<Container>> {
    loop {
        let state = states.borrow_and_update().clone();
        match (&state, on_gone) {
            (State::Running(container), _) => return Some(container.clone()),
            (State::Gone(why), OnGone::Exit) => {
                info!("container {} {why}: leaving, too", pairing.container);
                return None;
            }
            _ => {
                info!("container {} {state}: waiting for it", pairing.container);
                notify::status(&format!(
                    "waiting for container {}, which {state}",
                    pairing.container
                ));
            }
        }
        tokio::select! {
            () = stop.leave() => return None,
            changed = states.changed() => changed.ok()?,
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
    let (stopper, session) = stop::channel();
    tokio::spawn(async move {
        let ends = async {
            // A daemon that is silent says nothing about the container: the probe decides meanwhile.
            let ended =
                |state: &State| !matches!(state, State::Unknown { .. }) && !place.stands(state);
            let name = &place.run.name;
            match states.wait_for(ended).await.as_deref() {
                Ok(state) => info!("container {name} {state}"),
                Err(_) => return,
            }
            stopper.stop();
            // Nothing is left that could finish a request, or it serves again: no waiting.
            let over = |state: &State| matches!(state, State::Gone(_) | State::Running(_));
            if states.wait_for(over).await.is_ok() {
                stopper.stop();
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

/// Whether the container works as far as its own daemon tells, for the probe `docker:`.
///
/// # Errors
/// What it says instead. Without `needs_healthcheck` a container that has none passes when it runs.
pub(crate) fn verdict(state: &State, needs_healthcheck: bool) -> Result<(), String> {
    use crate::docker::container::Health;
    let container = match state {
        State::Running(container) => container,
        // It ran when the daemon was heard last, and its daemon's restart is not its own failure.
        State::Unknown {
            last: Some(container),
            ..
        } => container,
        State::Gone(Why::Removed) => return Err("the container does not exist".to_owned()),
        other => return Err(format!("the container {other}")),
    };
    match &container.health {
        Some(Health::Healthy) => Ok(()),
        Some(Health::Starting) => Err("HEALTHCHECK: starting".to_owned()),
        Some(Health::Unhealthy { output }) => Err(format!("HEALTHCHECK: unhealthy: {output}")),
        None if needs_healthcheck => Err("the container has no HEALTHCHECK".to_owned()),
        None => Ok(()),
    }
}
