//! Probes that ask the daemon: a HEALTHCHECK that passes, or a container that runs.

use crate::docker::container::Health;
use crate::docker::follow::{State, States, Why};

/// Checks the state of the followed container, without a request.
#[derive(Debug, Clone)]
pub struct ContainerProbe {
    /// The container's states.
    pub states: States,
    /// Whether a container without a HEALTHCHECK fails.
    pub needs_healthcheck: bool,
}

impl ContainerProbe {
    /// The verdict from the container's state.
    ///
    /// # Errors
    /// Why it fails.
    pub(super) fn verdict(&self) -> Result<(), String> {
        verdict(&self.states.borrow(), self.needs_healthcheck)
    }

    /// Whether the container has a HEALTHCHECK, as far as known.
    #[must_use]
    pub fn has_healthcheck(&self) -> bool {
        matches!(&*self.states.borrow(), State::Running(run) if run.health.is_some())
    }
}

/// Whether the container works according to its daemon, for the probe `docker:`.
///
/// # Errors
/// Why it fails. Without `needs_healthcheck` a container without one passes while it runs.
fn verdict(state: &State, needs_healthcheck: bool) -> Result<(), String> {
    let container = match state {
        State::Running(container) => container,
        // It ran at the daemon's last answer, and the daemon's restart is not its failure.
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
