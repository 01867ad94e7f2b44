//! Decides the announcer's record from what it knows: pure.

use serde::{Deserialize, Serialize};

use crate::announce::gate::Health;
use crate::model::State;

/// What to do with the record of a backend that fails its probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// Delete it.
    #[default]
    Withdraw,
    /// Keep it, with the state `down`.
    Mark,
}

/// The announcer's phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The backend has not proved itself yet.
    Starting,
    /// It works.
    Serving,
    /// It worked and does not now.
    Failing,
    /// The announcer is stopping.
    Leaving,
}

/// The desired record in etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A record in this state.
    Record(State),
    /// No record; an existing one is first rewritten in this state, as a withdrawal notice.
    Nothing(State),
}

impl Phase {
    /// The phase after a change of health. Leaving is final.
    #[must_use]
    pub fn after(self, health: Health) -> Self {
        match (self, health) {
            (Self::Leaving, _) => Self::Leaving,
            (_, Health::Up) => Self::Serving,
            (Self::Starting, Health::Down) => Self::Starting,
            (Self::Serving | Self::Failing, Health::Down) => Self::Failing,
        }
    }

    /// The desired record in this phase.
    #[must_use]
    pub fn wish(self, on_failure: OnFailure) -> Wish {
        match (self, on_failure) {
            (Self::Starting, _) | (Self::Failing, OnFailure::Withdraw) => {
                Wish::Nothing(State::Down)
            }
            (Self::Failing, OnFailure::Mark) => Wish::Record(State::Down),
            (Self::Serving, _) => Wish::Record(State::Up),
            (Self::Leaving, _) => Wish::Nothing(State::Draining),
        }
    }
}

#[cfg(test)]
mod tests;
