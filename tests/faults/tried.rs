//! Whom a load balancer sends a request to, by the address that it tells.

use std::net::{Ipv4Addr, SocketAddr};

/// One attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    /// One of our backends, by number.
    Ours(usize),
    /// An address that none of ours has.
    Stranger(SocketAddr),
    /// There was nobody to send it to: nginx tells the upstream's name then, or the address that stands for nobody.
    Nobody,
}

/// What nginx's configuration has where lua chooses the server; it is never connected to.
const NEVER_USED: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);

impl Tried {
    /// `told` is what the load balancer tells of one attempt; `instances` are the addresses of ours.
    pub(crate) fn of(told: &str, instances: &[SocketAddr]) -> Self {
        let Ok(address) = told.parse::<SocketAddr>() else {
            return Self::Nobody;
        };
        if address.ip() == NEVER_USED {
            return Self::Nobody;
        }
        let ours = instances.iter().position(|known| *known == address);
        ours.map_or(Self::Stranger(address), Self::Ours)
    }

    /// The number of ours.
    pub(crate) fn ours(self) -> Option<usize> {
        match self {
            Self::Ours(instance) => Some(instance),
            Self::Stranger(_) | Self::Nobody => None,
        }
    }
}
