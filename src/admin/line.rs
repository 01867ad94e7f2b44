//! One line of the overview of a service.

use crate::model::{
    Hold, HoldScope, InstanceId, Quarantined, Reason, Record, ServiceName, Split, State,
};

/// A value with its key's metadata.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// The revision of the last write.
    pub revision: i64,
    /// The key's lease; 0 for none.
    pub lease: i64,
}

/// A hold and its scope. An unreadable one still holds: its author wanted that.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Its scope.
    pub scope: HoldScope,
    /// The hold, or why it cannot be read.
    pub hold: Result<Hold, Reason>,
}

/// The state of an instance, its hold included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// It takes traffic.
    Up,
    /// It drains.
    Draining,
    /// It takes no traffic.
    Down,
    /// An operator has taken it out for a while.
    Held,
}

impl InstanceState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Held => "held",
        }
    }
}

/// One line of the overview.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A record.
    Record {
        /// The instance.
        id: InstanceId,
        /// The record.
        record: Box<Found<Record>>,
        /// The holds on it, the narrowest first.
        holds: Vec<Held>,
    },
    /// A hold on a whole service or on a host.
    Hold(Found<Held>),
    /// A split.
    Split {
        /// The service.
        service: ServiceName,
        /// The split.
        split: Found<Split>,
    },
    /// A quarantined key.
    Quarantined(Quarantined),
}

impl Line {
    /// The state of a record with its holds; `None` for all other lines.
    #[must_use]
    pub fn state(&self) -> Option<InstanceState> {
        let Self::Record { record, holds, .. } = self else {
            return None;
        };
        Some(match (record.value.state, holds.is_empty()) {
            (State::Up, true) => InstanceState::Up,
            (State::Up, false) => InstanceState::Held,
            (State::Draining, _) => InstanceState::Draining,
            (State::Down, _) => InstanceState::Down,
        })
    }
}
