//! What to announce for a container, with the reason for each part.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::docker::labels::Check;
use crate::model::{Endpoint, InstanceId, Protocol, Record, Version};

/// One part, and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Its name: `service`.
    pub part: &'static str,
    /// Its value, printable.
    pub value: String,
    /// The reason.
    pub because: String,
}

/// What to announce for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Service and instance.
    pub id: InstanceId,
    /// The address for clients. Only this host may reach it; the caller decides about that.
    pub endpoint: Endpoint,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The addresses of the host's name, if it was resolved.
    pub resolved: Vec<IpAddr>,
    /// The version.
    pub version: Option<Version>,
    /// The weight, if given.
    pub weight: Option<u16>,
    /// Tags. Foreign text.
    pub tags: Vec<String>,
    /// NAME=VALUE pairs. Foreign text.
    pub meta: BTreeMap<String, String>,
    /// The container's own checks.
    pub checks: Vec<Check>,
    /// Their interval, if given.
    pub interval: Option<Duration>,
    /// Their timeout, if given.
    pub timeout: Option<Duration>,
    /// The reason for each part.
    pub reasons: Vec<Reason>,
    /// Settings of the container that are not used, as messages.
    pub notes: Vec<String>,
}

impl Identity {
    /// The record to announce.
    #[must_use]
    pub fn record(&self) -> Record {
        Record {
            version: self.version.clone(),
            weight: self.weight,
            protocol: self.protocol,
            tags: self.tags.clone(),
            meta: self.meta.clone(),
            ..Record::new(self.endpoint.clone())
        }
    }
}
