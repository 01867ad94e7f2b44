//! The desired state of an upstream, as the targets get it.

use std::sync::Arc;

use super::instances::Instances;
use super::protection::Protection;
use super::server::{Origins, Servers};
use crate::model::{ServiceName, State};

/// The desired state of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The service.
    pub service: ServiceName,
    /// The etcd revision up to which this includes every change of the service's records.
    pub revision: i64,
    /// The etcd revision up to which this includes every change of the service's split and holds.
    pub overrides: i64,
    /// Its servers.
    pub servers: Servers,
    /// Their instances: at least one for each server.
    pub origins: Origins,
    /// The instances that it takes, including those that should take no traffic.
    pub instances: Arc<Instances>,
    /// The part that each target decides by the servers that it has.
    pub protection: Protection,
}

impl Desired {
    /// The revisions of the records and of the overrides, which identify a state.
    #[must_use]
    pub fn revisions(&self) -> (i64, i64) {
        (self.revision, self.overrides)
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
            overrides: 0,
            servers: servers.clone(),
            origins: Origins::new(),
            instances: Arc::default(),
            protection: Protection::default(),
        }
    }
}

#[cfg(test)]
mod tests;
