//! One line of what people see of a service.

use crate::model::{
    Hold, HoldScope, InstanceId, Quarantined, Reason, Record, ServiceName, Split, State,
};

/// A value as it was read, with what etcd says of its key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// The revision of the last write.
    pub revision: i64,
    /// The key's lease; 0 for none.
    pub lease: i64,
}

/// A hold, and what it takes out of rotation. An unreadable one still holds: whoever wrote it wanted that.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// What is out of rotation.
    pub scope: HoldScope,
    /// Why and until when, or why that cannot be read.
    pub hold: Result<Hold, Reason>,
}

/// The state of an instance, its hold included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// It takes traffic.
    Up,
    /// It finishes what runs.
    Draining,
    /// It takes no traffic.
    Down,
    /// Somebody has taken it out for a while.
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

/// One line of the picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A record.
    Record {
        /// Which.
        id: InstanceId,
        /// The record.
        record: Box<Found<Record>>,
        /// The holds on it, the narrowest first.
        holds: Vec<Held>,
    },
    /// A hold on a whole service or on a host.
    Hold(Found<Held>),
    /// How a service is split.
    Split {
        /// Which service.
        service: ServiceName,
        /// The split.
        split: Found<Split>,
    },
    /// What was quarantined.
    Quarantined(Quarantined),
}

impl Line {
    /// The state of a record, its holds included; `None` for all other lines.
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
