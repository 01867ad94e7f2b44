//! What every upstream should be: the records of etcd, folded into servers.
//!
//! Pure. [`Records`] keeps the records of the routed services only, so what other services do costs nothing here, and
//! [`Choices`] their splits and holds; a [`Pool`] for each upstream makes a [`Desired`] state of those of its service.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Endpoint, InstanceName, ServiceName, State, Version};

pub use crate::upstream::choose::{Rule, Selection, SplitNotice, Terms};
pub use crate::upstream::guard::{Limits, MAX_PROTECT_FOR, Protection, RemovalGuard, Seen};
pub use crate::upstream::instances::{Instances, Out, Placed};
pub use crate::upstream::overrides::{Choice, Choices};
pub use crate::upstream::pool::{Pool, Wanted};
pub use crate::upstream::records::{Effect, Known, Records};

/// What an upstream's servers are told besides their addresses and weights. What is `None` is not managed: it stays as the
/// target has it, or at the target's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parameters {
    /// How many connections a server may have at once; 0 for no limit.
    pub max_conns: Option<u32>,
    /// How many failures within `fail_timeout` make a server unavailable; 0 does not count them.
    pub max_fails: Option<u32>,
    /// Within which time failures are counted, and for how long the server is unavailable then.
    pub fail_timeout: Option<Duration>,
    /// How long a server that has recovered takes to get its whole share.
    pub slow_start: Option<Duration>,
    /// Whether servers are used only when no other is left.
    pub backup: bool,
}

/// One server of an upstream, as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Its share of the traffic. Never 0: nginx has no such weight, and a record that says 0 is [`State::Down`] here.
    pub weight: NonZeroU16,
    /// What may be done with it.
    pub state: State,
    /// What else it is told.
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

    /// Whether it takes its share all the time.
    pub(super) fn is_no_backup(self) -> bool {
        !self.parameters.backup
    }

    /// What two instances with one address come to: up beats draining beats down, then the larger weight.
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

/// Whose servers they are, by address.
pub type Origins = BTreeMap<Endpoint, Arc<Origin>>;

/// Whose a server is, for targets that name their servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The instance; the first by name where several have one address.
    pub instance: InstanceName,
    /// What runs there.
    pub version: Option<Version>,
    /// Free labels. Foreign text.
    pub tags: Vec<String>,
    /// Free pairs. Foreign text.
    pub meta: BTreeMap<String, String>,
}

impl Origin {
    /// An instance of which nothing but the name is known.
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

/// What one upstream should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The service.
    pub service: ServiceName,
    /// The etcd revision up to which this includes every change of the service's records.
    pub revision: i64,
    /// The etcd revision up to which this includes every change of the service's split and holds.
    pub choices: i64,
    /// Its servers.
    pub servers: Servers,
    /// Whose they are: one for each server at least.
    pub origins: Origins,
    /// The instances that it takes, whether or not they are to take traffic.
    pub instances: Arc<Instances>,
    /// What of it a target decides by what it has.
    pub protection: Protection,
}

impl Desired {
    /// The revisions of the records and of the choices: another pair, another state.
    #[must_use]
    pub fn revisions(&self) -> (i64, i64) {
        (self.revision, self.choices)
    }

    /// How many servers take traffic.
    #[must_use]
    pub fn serving(&self) -> usize {
        let servers = self.servers.values();
        servers.filter(|server| server.state == State::Up).count()
    }
}

#[cfg(test)]
impl Desired {
    /// These servers of "website" at this revision.
    pub(crate) fn at(revision: i64, servers: &Servers) -> Self {
        Self {
            service: "website".parse().unwrap(),
            revision,
            choices: 0,
            servers: servers.clone(),
            origins: Origins::new(),
            instances: Arc::default(),
            protection: Protection::default(),
        }
    }
}

#[cfg(test)]
mod tests;
