//! Ports inside a container.

use std::{fmt, num::NonZeroU16, str::FromStr};

use crate::model::Protocol;
use crate::util::sanitize::short;

/// Why a text is not a port of a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not PORT, PORT/tcp or PORT/udp")]
pub struct PortError(String);

/// A port inside a container: `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerPort {
    /// The number, never 0.
    pub number: NonZeroU16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl FromStr for ContainerPort {
    type Err = PortError;

    /// Parses `80/tcp`, `53/udp`, and `80`, which means TCP.
    fn from_str(text: &str) -> Result<Self, PortError> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let wrong = || PortError(short(text));
        Ok(Self {
            number: number.parse().map_err(|_| wrong())?,
            protocol: protocol.parse().map_err(|_| wrong())?,
        })
    }
}

impl fmt::Display for ContainerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// A choice of a container's port: `80`, or `53/udp` if one number is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortChoice {
    number: NonZeroU16,
    protocol: Option<Protocol>,
}

impl PortChoice {
    /// Whether it matches this port.
    #[must_use]
    pub fn matches(self, port: ContainerPort) -> bool {
        let protocol = self
            .protocol
            .is_none_or(|protocol| protocol == port.protocol);
        protocol && self.number == port.number
    }

    /// The port itself, TCP by default.
    #[must_use]
    pub fn port(self) -> ContainerPort {
        ContainerPort {
            number: self.number,
            protocol: self.protocol.unwrap_or_default(),
        }
    }
}

impl FromStr for PortChoice {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let port: ContainerPort = text.parse()?;
        Ok(Self {
            number: port.number,
            protocol: text.contains('/').then_some(port.protocol),
        })
    }
}

impl fmt::Display for PortChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Some(protocol) => write!(f, "{}/{protocol}", self.number),
            None => self.number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
