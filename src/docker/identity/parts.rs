//! What is announced for a container, with the reason for each part.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::docker::labels::Check;
use crate::model::{Endpoint, InstanceId, Protocol, Record, Version};

/// One part of what is announced, and why it is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Which part: `service`.
    pub part: &'static str,
    /// What it is, printable.
    pub value: String,
    /// Why, in words.
    pub because: String,
}

/// What is announced for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Service and instance.
    pub id: InstanceId,
    /// Where clients reach it. It may be an address that only this host reaches; who calls decides on that.
    pub endpoint: Endpoint,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The addresses that its host's name leads to, where it has a name that was looked up.
    pub resolved: Vec<IpAddr>,
    /// What runs there.
    pub version: Option<Version>,
    /// Its share of the traffic, where it says so.
    pub weight: Option<u16>,
    /// Free labels. Foreign text.
    pub tags: Vec<String>,
    /// Free pairs. Foreign text.
    pub meta: BTreeMap<String, String>,
    /// What the container asks to be checked.
    pub checks: Vec<Check>,
    /// How often, where it says so.
    pub interval: Option<Duration>,
    /// How long one attempt may take, where it says so.
    pub timeout: Option<Duration>,
    /// Why each part is as it is.
    pub reasons: Vec<Reason>,
    /// What the container asks for and does not get, in words.
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
