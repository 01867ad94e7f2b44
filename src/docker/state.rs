//! The state of a container, from events and inspect answers: pure.
//!
//! An event is fast and may be missed, late or about an earlier run; an inspect answer is certain. So an event that
//! reports an end is believed at once and an answer corrects it; every other event only triggers an inspection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::container::{Container, Status};
use super::events::{Action, Event};
use super::signal;

/// How much longer than its stop timeout a signalled container that still runs counts as stopping. `docker stop` may give
/// it more time than its own setting.
const SURVIVAL: Duration = Duration::from_secs(30);

/// The state of a container.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// The daemon has not answered. If the container ran, it may still run.
    Unknown {
        /// Since when.
        since: Instant,
        /// Why, after a failure.
        error: Option<Arc<str>>,
        /// The last known run.
        last: Option<Arc<Container>>,
    },
    /// It runs.
    Running(Arc<Container>),
    /// It is frozen.
    Paused(Arc<Container>),
    /// It was asked to stop and may still finish its requests.
    Stopping(Arc<Container>),
    /// It does not run.
    Gone(Why),
}

/// Why it does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was created and never started.
    NeverStarted,
    /// Its process has ended; how is not known yet.
    Ended,
    /// It ended.
    Exited {
        /// Its exit code.
        code: i64,
    },
    /// The kernel killed it for its memory use.
    OutOfMemory,
    /// It ended and the daemon will restart it.
    Restarting {
        /// Its exit code.
        code: i64,
    },
    /// It does not exist, or no longer.
    Removed,
    /// It has ended and could not be cleaned up.
    Dead,
}

impl State {
    /// The state that an inspect answer shows.
    #[must_use]
    pub fn of(container: Arc<Container>) -> Self {
        match container.status {
            Status::Running => Self::Running(container),
            Status::Stopping => Self::Stopping(container),
            Status::Paused => Self::Paused(container),
            Status::Created => Self::Gone(Why::NeverStarted),
            Status::Restarting { code } => Self::Gone(Why::Restarting { code }),
            Status::Exited {
                out_of_memory: true,
                ..
            } => Self::Gone(Why::OutOfMemory),
            Status::Exited { code, .. } => Self::Gone(Why::Exited { code }),
            Status::Removing => Self::Gone(Why::Removed),
            Status::Dead => Self::Gone(Why::Dead),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverStarted => f.write_str("was never started"),
            Self::Ended => f.write_str("has ended"),
            Self::Exited { code } => write!(f, "exited with {code}"),
            Self::OutOfMemory => f.write_str("was killed because it was out of memory"),
            Self::Restarting { code } => write!(f, "exited with {code} and is being restarted"),
            Self::Removed => f.write_str("does not exist"),
            Self::Dead => f.write_str("is dead"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown {
                error: Some(error), ..
            } => write!(f, "is not known: {error}"),
            Self::Unknown { .. } => f.write_str("is not known yet"),
            Self::Running(_) => f.write_str("runs"),
            Self::Paused(_) => f.write_str("is paused"),
            Self::Stopping(_) => f.write_str("is stopping"),
            Self::Gone(why) => why.fmt(f),
        }
    }
}

/// Decides the state.
#[derive(Debug)]
pub(super) struct Life {
    /// The container as last inspected.
    held: Option<Arc<Container>>,
    /// When this run was sent a signal that should end it.
    ending: Option<Instant>,
    /// The run whose process has ended. The daemon may notice later.
    ended: Option<Arc<Container>>,
    state: State,
}

impl Life {
    pub(super) fn new(now: Instant) -> Self {
        let state = State::Unknown {
            since: now,
            error: None,
            last: None,
        };
        Self {
            held: None,
            ending: None,
            ended: None,
            state,
        }
    }

    /// The state.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The current container.
    pub(super) fn held(&self) -> Option<&Arc<Container>> {
        self.held.as_ref()
    }

    /// Until when the container counts as stopping, if it still runs.
    pub(super) fn stopping_until(&self) -> Option<Instant> {
        let container = self.held.as_ref()?;
        Some(self.ending? + container.stop_timeout + SURVIVAL)
    }

    /// Applies an event.
    pub(super) fn on_event(&mut self, event: &Event, now: Instant) {
        let Some(container) = &self.held else { return };
        if !is_about(event, container) {
            return;
        }
        match event.action {
            Action::Died { code } => self.state = State::Gone(Why::Exited { code }),
            Action::Signalled { number } if number.is_some_and(|n| ends(container, n)) => {
                self.ending.get_or_insert(now);
                // A container that is gone or paused has no traffic to drain.
                if let State::Running(_) | State::Unknown { .. } = self.state {
                    self.state = State::Stopping(container.clone());
                }
            }
            Action::Signalled { .. } | Action::Other => {}
        }
    }

    /// The process of this run has ended.
    pub(super) fn on_process_end(&mut self, run: &Arc<Container>) {
        self.ended = Some(run.clone());
        if self.held.as_ref().is_some_and(|held| held.same_run(run)) {
            self.state = State::Gone(Why::Ended);
        }
    }

    /// Applies an inspect answer: a container, or none.
    pub(super) fn on_answer(&mut self, answer: Option<Arc<Container>>, now: Instant) {
        let Some(container) = answer else {
            self.ending = None;
            self.state = State::Gone(Why::Removed);
            return;
        };
        let same_run = |held: &Arc<Container>| held.same_run(&container);
        if !self.held.as_ref().is_some_and(same_run) {
            self.ending = None;
        }
        self.held = Some(container.clone());
        let ending = self.stopping_until().is_some_and(|until| now < until);
        if !ending {
            self.ending = None;
        }
        let ended = self.ended.as_ref();
        let ended = ended.is_some_and(|ended| ended.same_run(&container));
        self.state = match container.status {
            Status::Running | Status::Stopping | Status::Paused if ended => State::Gone(Why::Ended),
            Status::Running if ending => State::Stopping(container),
            _ => State::of(container),
        };
    }

    /// The daemon could not be asked. A container that did not run still counts as not running.
    pub(super) fn on_failure(&mut self, reason: &str, now: Instant) {
        let (since, last) = match &self.state {
            State::Unknown { since, last, .. } => (*since, last.clone()),
            State::Running(container) => (now, Some(container.clone())),
            State::Paused(_) | State::Stopping(_) | State::Gone(_) => return,
        };
        let error = Some(reason.into());
        self.state = State::Unknown { since, error, last };
    }
}

/// Whether it is about this run of this container, and not an earlier one.
fn is_about(event: &Event, container: &Container) -> bool {
    let started = container.started_at.map(|at| at.as_nanosecond());
    *event.id == *container.id && started.is_none_or(|started| i128::from(event.at) >= started)
}

/// Whether a container should end from this signal. Others (HUP, USR1, …) have other meanings for those that
/// handle them.
fn ends(container: &Container, signal: u8) -> bool {
    signal == container.stop_signal || [signal::TERM, signal::INT, signal::KILL].contains(&signal)
}

#[cfg(test)]
mod tests;
