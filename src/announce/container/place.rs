//! The address of one run of a container: how long it stays valid, and how its end stops the agent.

use std::sync::Arc;

use crate::docker::Container;
use crate::docker::follow::{State, States, Why};
use crate::util::last_state;
use crate::util::shutdown;
use crate::util::shutdown::Stop;

/// A run of a container, and the source of its address.
pub(super) struct Place {
    run: Arc<Container>,
    /// The given network.
    network: Option<String>,
}

impl Place {
    pub(super) fn of(run: &Arc<Container>, network: Option<&String>) -> Self {
        let (run, network) = (run.clone(), network.cloned());
        Self { run, network }
    }

    /// Whether this run is still reachable there.
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

/// Waits until the container's state or address changes; `false` when asked to stop.
pub(super) async fn other_place(place: &Place, states: &mut States, stop: &mut Stop) -> bool {
    let other = states.wait_for(|state| !place.stands(state));
    tokio::select! {
        () = stop.leave() => false,
        other = other => other.is_ok(),
    }
}

/// Requests to stop the agent of one run: those to the whole process, and the end of the run.
pub(super) fn end_with_run(place: Place, mut states: States, mut stop: Stop) -> Stop {
    let (stopper, session) = shutdown::channel();
    tokio::spawn(async move {
        let ends = async {
            // A silent daemon says nothing about the container: the probe decides.
            let ended =
                |state: &State| !matches!(state, State::Unknown { .. }) && !place.stands(state);
            let name = &place.run.name;
            match states.wait_for(ended).await.as_deref() {
                Ok(State::Gone(why)) => {
                    // No process is left that could finish a request.
                    stopper.force(format!(
                        "container {name} {}: withdrawing at once",
                        death(why)
                    ));
                    return;
                }
                Ok(state) => last_state::tell("ends", name, format!("container {name} {state}")),
                Err(_) => return,
            }
            stopper.stop();
            let over = |state: &State| matches!(state, State::Gone(_) | State::Running(_));
            match states.wait_for(over).await.as_deref() {
                Ok(State::Gone(why)) => stopper.force(format!(
                    "container {name} {}: not waiting any longer",
                    death(why)
                )),
                Ok(_) => stopper.force(format!(
                    "container {name} runs again: not waiting any longer"
                )),
                Err(_) => {}
            }
        };
        let asked = async {
            stop.leave().await;
            stopper.stop();
            stop.forced().await;
            stopper.stop();
        };
        tokio::select! {
            ((), ()) = async { tokio::join!(ends, asked) } => {}
            () = stopper.abandoned() => {}
        }
    });
    session
}

/// How a container ended, as a message.
pub(super) fn death(why: &Why) -> String {
    match why {
        Why::Exited { code } => format!("died (exit code {code})"),
        Why::Restarting { code } => format!("died (exit code {code}) and is being restarted"),
        Why::Ended => "died".to_owned(),
        other => other.to_string(),
    }
}
