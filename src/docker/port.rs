//! Ports inside a container.

use std::{fmt, num::NonZeroU16, str::FromStr};

use crate::printable::short;
use crate::record::Protocol;

/// Why a text is no port of a container.
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

    /// Reads `80/tcp`, `53/udp`, and `80`, which means TCP.
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

/// Which port of a container is meant: `80`, or `53/udp` where one number is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortChoice {
    number: NonZeroU16,
    protocol: Option<Protocol>,
}

impl PortChoice {
    /// Whether this port is meant.
    #[must_use]
    pub fn matches(self, port: ContainerPort) -> bool {
        let protocol = self
            .protocol
            .is_none_or(|protocol| protocol == port.protocol);
        protocol && self.number == port.number
    }

    /// The port itself, TCP where nothing else is said.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_port_without_a_protocol_is_tcp_and_a_choice_without_one_is_either() {
        let port: ContainerPort = "80".parse().unwrap();
        assert_eq!(port.to_string(), "80/tcp");
        let udp: ContainerPort = "53/udp".parse().unwrap();
        assert!("53".parse::<PortChoice>().unwrap().matches(udp));
        assert!(!"53/tcp".parse::<PortChoice>().unwrap().matches(udp));
        assert_eq!("53/udp".parse::<PortChoice>().unwrap().port(), udp);
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in ["", "0", "65536", "80/sctp", "80/", "http", "/tcp", "80-90"] {
            assert!(text.parse::<ContainerPort>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics_and_ports_come_back(text in any::<String>(), near in "[0-9+]{0,6}(/[a-z]{0,4})?") {
            for text in [text, near] {
                if let Ok(port) = text.parse::<ContainerPort>() {
                    prop_assert_eq!(port.to_string().parse::<ContainerPort>(), Ok(port));
                    let choice: PortChoice = text.parse().unwrap();
                    prop_assert!(choice.matches(port) && choice.port() == port);
                } else {
                    prop_assert!(text.parse::<PortChoice>().is_err());
                }
            }
        }
    }
}
