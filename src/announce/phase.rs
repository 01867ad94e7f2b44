//! What the announcer wants, given what it knows: pure.

use serde::{Deserialize, Serialize};

use crate::announce::gate::Health;
use crate::model::State;

/// What to do with the record of a backend that fails its probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// Take it away.
    #[default]
    Withdraw,
    /// Keep it, with the state `down`.
    Mark,
}

/// Where the announcer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The backend has not proved itself yet.
    Starting,
    /// It works.
    Serving,
    /// It worked and does not now.
    Failing,
    /// The announcer is on its way out.
    Leaving,
}

/// What is to stand in etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A record in this state.
    Record(State),
    /// No record; one that stands there is first rewritten in this state, as a withdrawal notice.
    Nothing(State),
}

impl Phase {
    /// The phase after the health changed. Leaving is final.
    #[must_use]
    pub fn after(self, health: Health) -> Self {
        match (self, health) {
            (Self::Leaving, _) => Self::Leaving,
            (_, Health::Up) => Self::Serving,
            (Self::Starting, Health::Down) => Self::Starting,
            (Self::Serving | Self::Failing, Health::Down) => Self::Failing,
        }
    }

    /// What is to stand in etcd in this phase.
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
