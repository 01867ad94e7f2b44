//! Servers that leave, and what is known about them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Endpoint, InstanceName, State};
use crate::upstream::protection::{Reason, Spare};
use crate::upstream::server::{Origin, Server};
use crate::upstream::state::Desired;

/// The state of an instance's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    /// It exists, in whatever state.
    Present,
    /// It is gone after its withdrawal notice, all in one update.
    Withdrawn,
    /// There is none.
    Missing,
    /// There is none, in an etcd that has lost its memory: nobody has taken it away.
    Forgotten,
}

/// The servers that took traffic in a target at the first look.
#[derive(Debug, Default)]
pub struct Finding {
    /// Servers that take traffic although the listed records do not say so.
    pub extra: BTreeMap<Endpoint, (Server, Arc<Origin>)>,
    /// Servers that take no traffic although a record says so.
    pub lacking: BTreeSet<Endpoint>,
}

/// Whether a record that the upstream does not take names a server's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// No other record names it.
    Nobody,
    /// Another record of the service names it.
    Sibling,
    /// A record of another service has named it since then.
    Other(Instant),
}

impl RecordState {
    /// Why a server would go that the desired state no longer names.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Present => Reason::Deselected,
            Self::Withdrawn => Reason::Gone,
            Self::Missing | Self::Forgotten => Reason::Vanished,
        }
    }
}

/// A protected server that would take no traffic any more.
#[derive(Debug, Clone)]
pub(super) struct Left {
    pub(super) server: Server,
    pub(super) origin: Arc<Origin>,
    pub(super) reason: Reason,
    /// When it left.
    pub(super) at: Instant,
    /// Since when a record had named it then.
    pub(super) named_since: Instant,
    /// How long the guard holds it.
    pub(super) held_until: Option<Instant>,
    /// Whether the guard holds it only until the targets have taken its replacements.
    pub(super) awaits_swap: bool,
    /// Whether it was let go. It may still be better than no server.
    pub(super) let_go: bool,
}

/// Servers that have left, by address.
pub(super) type LeftServers = BTreeMap<Endpoint, Left>;

impl Left {
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

    /// How long its record existed beside one of another service, which has the address `since` then: until it left, or
    /// until `still` if it still has a record.
    pub(super) fn beside(&self, since: Instant, still: Option<Instant>) -> Duration {
        let until = still.unwrap_or(self.at);
        until.saturating_duration_since(since.max(self.named_since))
    }

    /// What a target needs to know about it.
    pub(super) fn spare(&self, endpoint: &Endpoint, wanted: &Desired) -> Spare {
        Spare {
            server: self.server,
            recorded: wanted.servers.get(endpoint).copied(),
            reason: self.reason,
            guarded: self.held_until.is_some(),
        }
    }
}

/// Updates those that left before: are they back, and what do their records say now?
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
            // Its record now has another address.
            (None, Reason::Vanished) => state(&one.origin.instance).reason(),
            (None, reason) => reason,
        };
        if one.reason != Reason::Vanished {
            one.held_until = None;
        }
    }
}

/// Whether etcd has forgotten the records of any of these servers.
pub(super) fn any_forgotten(
    servers: &[Endpoint],
    former: &Desired,
    state: &impl Fn(&InstanceName) -> RecordState,
) -> bool {
    let origins = servers
        .iter()
        .filter_map(|server| former.origins.get(server));
    let mut states = origins.map(|origin| state(&origin.instance));
    states.any(|state| state == RecordState::Forgotten)
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
