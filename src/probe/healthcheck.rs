//! Probes that ask the daemon: a HEALTHCHECK that passes, or a container that runs.

use crate::docker::container::Health;
use crate::docker::follow::{State, States, Why};

/// Looks at the state of the container that is followed; asks nobody.
#[derive(Debug, Clone)]
pub struct ContainerProbe {
    /// The states.
    pub states: States,
    /// Whether a container without a HEALTHCHECK fails.
    pub needs_healthcheck: bool,
}

impl ContainerProbe {
    /// What the daemon says of the container.
    ///
    /// # Errors
    /// Why it does not work.
    pub(super) fn verdict(&self) -> Result<(), String> {
        verdict(&self.states.borrow(), self.needs_healthcheck)
    }

    /// Whether the container has a HEALTHCHECK, as far as is known.
    #[must_use]
    pub fn has_healthcheck(&self) -> bool {
        matches!(&*self.states.borrow(), State::Running(run) if run.health.is_some())
    }
}

/// Whether the container works as far as its own daemon tells, for the probe `docker:`.
///
/// # Errors
/// What it says instead. Without `needs_healthcheck` a container that has none passes when it runs.
fn verdict(state: &State, needs_healthcheck: bool) -> Result<(), String> {
    let container = match state {
        State::Running(container) => container,
        // It ran at the daemon's last answer, and a restart of the daemon is not its own failure.
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
