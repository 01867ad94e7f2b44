//! Servers about to leave, and what is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Endpoint, InstanceName, State};
use crate::upstream::protection::{Reason, Spare};
use crate::upstream::server::{Origin, Server};
use crate::upstream::state::Desired;

/// What became of the record of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    /// It stands, whatever it says.
    Present,
    /// It is gone after its withdrawal notice: all of it news at once.
    Withdrawn,
    /// There is none.
    Missing,
}

/// What was found to take traffic in a target when it was looked at for the first time.
#[derive(Debug, Default)]
pub struct Finding {
    /// The servers that do although the records, which have been told by then, do not say so.
    pub extra: BTreeMap<Endpoint, (Server, Arc<Origin>)>,
    /// Those that do not although the records say so.
    pub lacking: BTreeSet<Endpoint>,
}

/// What is known of a server's address beside the records that the upstream takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nobody else names it.
    Nobody,
    /// Another record of the service does, one that the upstream does not take.
    Sibling,
    /// A record of another service does, since then.
    Other(Instant),
}

impl RecordState {
    /// Why a server would go that nothing desired names any more.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Present => Reason::Deselected,
            Self::Withdrawn => Reason::Gone,
            Self::Missing => Reason::Vanished,
        }
    }
}

/// A server that would take no traffic any more, and is protected.
#[derive(Debug, Clone)]
pub(super) struct Left {
    pub(super) server: Server,
    pub(super) origin: Arc<Origin>,
    pub(super) reason: Reason,
    /// When it left.
    pub(super) at: Instant,
    /// Since when a record had named it by then.
    pub(super) named_since: Instant,
    /// Until when the guard holds it.
    pub(super) held_until: Option<Instant>,
    /// Whether the guard only holds it until the targets have taken what came in its place.
    pub(super) awaits_swap: bool,
    /// Whether it was let go. It may still be better than no server at all.
    pub(super) let_go: bool,
}

/// Those that have left, by address.
pub(super) type LeftServers = BTreeMap<Endpoint, Left>;

impl Left {
    /// It leaves now.
    pub(super) fn new(
        server: Server,
        origin: Arc<Origin>,
        reason: Reason,
        named_since: Instant,
        now: Instant,
    ) -> Self {
        Self {
            server,
            origin,
            reason,
            at: now,
            named_since,
            held_until: None,
            awaits_swap: false,
            let_go: false,
        }
    }

    /// For how long its record stood beside one of another service, which has the address `since` then: until it left, or until `still`,
    /// where it has a record yet.
    pub(super) fn beside(&self, since: Instant, still: Option<Instant>) -> Duration {
        let until = still.unwrap_or(self.at);
        until.saturating_duration_since(since.max(self.named_since))
    }

    /// What a target needs to know of it.
    pub(super) fn spare(&self, endpoint: &Endpoint, wanted: &Desired) -> Spare {
        Spare {
            server: self.server,
            recorded: wanted.servers.get(endpoint).copied(),
            reason: self.reason,
            guarded: self.held_until.is_some(),
        }
    }
}

/// What has left before: is it back, and what does its record say now?
pub(super) fn update(
    left: &mut LeftServers,
    wanted: &Desired,
    state: &impl Fn(&InstanceName) -> RecordState,
) {
    left.retain(|endpoint, _| !is_up(wanted, endpoint));
    for (endpoint, one) in left {
        one.reason = match (wanted.servers.get(endpoint), one.reason) {
            (Some(server), _) => reason_of(server.state),
            (None, Reason::Draining) => Reason::Gone,
            // Where it has a record, it is elsewhere now.
            (None, Reason::Vanished) => state(&one.origin.instance).reason(),
            (None, reason) => reason,
        };
        if one.reason != Reason::Vanished {
            one.held_until = None;
        }
    }
}

pub(super) fn reason_of(state: State) -> Reason {
    match state {
        State::Draining => Reason::Draining,
        State::Up | State::Down => Reason::Down,
    }
}

pub(super) fn is_up(desired: &Desired, endpoint: &Endpoint) -> bool {
    let server = desired.servers.get(endpoint);
    server.is_some_and(|server| server.state == State::Up)
}

/// The servers that take traffic.
pub(super) fn ups(desired: &Desired) -> impl Iterator<Item = (&Endpoint, &Server)> {
    let servers = desired.servers.iter();
    servers.filter(|(_, server)| server.state == State::Up)
}
