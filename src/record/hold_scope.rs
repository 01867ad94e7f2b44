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

    /// The service that it is about; `None` for a host.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Instance(id) => Some(&id.service),
            Self::Service(service) => Some(service),
            Self::Host(_) => None,
        }
    }

    /// Whether it holds this instance, whose record names this host. Names of hosts are compared as text, and never resolved.
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
mod tests {
    use super::*;

    #[test]
    fn a_host_is_held_however_its_address_is_spelled() {
        let covers = |held: &str, host: &str| {
            let scope = HoldScope::host(&held.parse().unwrap());
            let (service, instance) = ("web".parse().unwrap(), "a".parse().unwrap());
            scope.covers(&service, &instance, &host.parse().unwrap())
        };
        assert!(covers("10.0.0.5", "10.0.0.5"));
        assert!(covers("::ffff:10.0.0.5", "10.0.0.5"));
        assert!(covers("10.0.0.5", "::ffff:10.0.0.5"));
        assert!(covers("2001:DB8::5", "2001:db8:0:0::5"));
        assert!(covers("Web-1.Example.COM", "web-1.example.com."));
        assert!(!covers("10.0.0.5", "10.0.0.50"));
        assert!(!covers("web-1", "web-1.example.com"));
    }

    #[test]
    fn an_instance_and_a_service_are_held_by_name() {
        let host = "10.0.0.5".parse().unwrap();
        let covers = |scope: HoldScope, id: &str| {
            let id: InstanceId = id.parse().unwrap();
            scope.covers(&id.service, &id.instance, &host)
        };
        let one = || HoldScope::Instance("web/a".parse().unwrap());
        assert!(covers(one(), "web/a"));
        assert!(!covers(one(), "web/b") && !covers(one(), "shop/a"));
        let all = || HoldScope::Service("web".parse().unwrap());
        assert!(covers(all(), "web/a") && covers(all(), "web/b"));
        assert!(!covers(all(), "shop/a"));
    }
}
