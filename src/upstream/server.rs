//! A desired server of an upstream.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Endpoint, InstanceName, State, Version};

/// The parameters of servers besides address and weight. `None` is not managed: it stays as the
/// target has it, or at the target's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parameters {
    /// How many connections a server may have at once; 0 for no limit.
    pub max_conns: Option<u32>,
    /// How many failures within `fail_timeout` make a server unavailable; 0 does not count them.
    pub max_fails: Option<u32>,
    /// The time in which failures are counted, and for which the server is then unavailable.
    pub fail_timeout: Option<Duration>,
    /// How long a server that has recovered takes to get its whole share.
    pub slow_start: Option<Duration>,
    /// Whether servers are used only when no other is left.
    pub backup: bool,
}

/// A desired server of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Its share of the traffic. Never 0: nginx has no such weight, and a record that says 0 is [`State::Down`] here.
    pub weight: NonZeroU16,
    /// Whether it takes traffic, drains or is down.
    pub state: State,
    /// Its parameters.
    pub parameters: Parameters,
}

impl Server {
    pub(super) fn of(weight: u16, state: State, parameters: Parameters) -> Self {
        let weight = NonZeroU16::new(weight);
        Self {
            weight: weight.unwrap_or(NonZeroU16::MIN),
            state: match state {
                State::Up if weight.is_none() => State::Down,
                state => state,
            },
            parameters,
        }
    }

    /// Whether it takes traffic all the time.
    pub(super) fn is_no_backup(self) -> bool {
        !self.parameters.backup
    }

    /// Merges two instances with one address: up beats draining beats down, then the larger weight wins.
    pub(super) fn merge(self, other: Self) -> Self {
        let rank = |server: &Self| {
            let state = match server.state {
                State::Up => 2,
                State::Draining => 1,
                State::Down => 0,
            };
            (state, server.weight)
        };
        std::cmp::max_by_key(self, other, rank)
    }
}

/// The servers of an upstream by address.
pub type Servers = BTreeMap<Endpoint, Server>;

/// The instances of the servers, by address.
pub type Origins = BTreeMap<Endpoint, Arc<Origin>>;

/// The instance of a server, for targets that name their servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The instance; the first by name where several have one address.
    pub instance: InstanceName,
    /// Its version.
    pub version: Option<Version>,
    /// Tags. Foreign text.
    pub tags: Vec<String>,
    /// NAME=VALUE pairs. Foreign text.
    pub meta: BTreeMap<String, String>,
}

impl Origin {
    /// An instance of which only the name is known.
    #[must_use]
    pub fn named(instance: InstanceName) -> Self {
        Self {
            instance,
            version: None,
            tags: Vec::new(),
            meta: BTreeMap::new(),
        }
    }
}
