//! What a hold takes out of rotation: an instance, a whole service, or everything at a host.

use std::fmt;

use super::{Host, InstanceId, InstanceName, ServiceName};

/// What a hold takes out of rotation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldScope {
    /// One instance.
    Instance(InstanceId),
    /// All instances of a service.
    Service(ServiceName),
    /// All instances whose records name this host, of whatever service. Always [canonical](Host::canonical).
    Host(Host),
}

impl HoldScope {
    /// All instances at a host, however it is spelled.
    #[must_use]
    pub fn host(host: &Host) -> Self {
        Self::Host(host.canonical())
    }

    /// The service; `None` for a host.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Instance(id) => Some(&id.service),
            Self::Service(service) => Some(service),
            Self::Host(_) => None,
        }
    }

    /// Whether it covers this instance, whose record names this host. Hosts are compared as text, and never resolved.
    #[must_use]
    pub fn covers(&self, service: &ServiceName, instance: &InstanceName, host: &Host) -> bool {
        match self {
            Self::Instance(id) => id.service == *service && id.instance == *instance,
            Self::Service(held) => held == service,
            Self::Host(held) => *held == host.canonical(),
        }
    }

    /// The word for its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Instance(_) => "instance",
            Self::Service(_) => "service",
            Self::Host(_) => "host",
        }
    }
}

impl fmt::Display for HoldScope {
    /// `website/nginx1`, `website` or `host 10.0.0.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(id) => id.fmt(f),
            Self::Service(service) => service.fmt(f),
            Self::Host(host) => write!(f, "host {host}"),
        }
    }
}

#[cfg(test)]
mod tests;
