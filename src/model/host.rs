//! The address of a backend: host, endpoint, and the compact notation with a version.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use super::Version;
use super::token::TokenError;
use crate::util::secret;

/// Why a text is not a host, endpoint or address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither an IP address nor a DNS name.
    #[error("\"{0}\" is neither an IP address nor a DNS name")]
    Host(String),
    /// An IPv6 address in brackets where none belong.
    #[error("\"{0}\": a host is written without brackets and without a port")]
    Bracketed(String),
    /// There is no port.
    #[error("\"{0}\" has no port: HOST:PORT is expected")]
    NoPort(String),
    /// More than one colon, but no brackets.
    #[error("\"{0}\": an IPv6 address is written in brackets before a port: [ADDRESS]:PORT")]
    Unbracketed(String),
    /// Brackets without an IPv6 address.
    #[error("\"{0}\": there is no IPv6 address in the brackets")]
    NotV6(String),
    /// The port is not a number from 1 to 65535.
    #[error("port \"{0}\" is not a number from 1 to 65535")]
    Port(String),
    /// The version after the `/` is not one.
    #[error(transparent)]
    Version(#[from] TokenError),
}

/// A valid DNS name in lower case, without a final dot. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<str>);

impl DnsName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Accepts letters, digits, hyphens and underscores, which container names have.
    fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() || name.len() > 253 || !name.split('.').all(is_label) {
            return None;
        }
        // Resolvers take a name that ends in a number (10.1, 10.0.0.256, 0x7f.1) for an IPv4 address, each in its own
        // way.
        let last = name.rsplit('.').next().unwrap_or(name);
        let number = last.bytes().all(|byte| byte.is_ascii_digit()) || is_hex_number(last);
        (!number).then(|| Self(name.to_ascii_lowercase().into()))
    }
}

fn is_label(label: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|&byte| edge(byte) || byte == b'-')
        && bytes.first().copied().is_some_and(edge)
        && bytes.last().copied().is_some_and(edge)
}

fn is_hex_number(label: &str) -> bool {
    let digits = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What clients connect to: an IP address or a DNS name.
///
/// Parses and shows an IPv6 address without brackets; [`Endpoint`] adds them before a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A name that the reader resolves.
    Dns(DnsName),
}

impl Host {
    /// The canonical form, for comparison: an IPv4-mapped IPv6 address becomes an IPv4 address. Names are in
    /// lower case already.
    #[must_use]
    pub fn canonical(&self) -> Self {
        match self {
            Self::Ip(ip) => Self::Ip(ip.to_canonical()),
            Self::Dns(name) => Self::Dns(name.clone()),
        }
    }
}

impl FromStr for Host {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        if text.starts_with('[') {
            return Err(AddressError::Bracketed(secret::url(text)));
        }
        let name = DnsName::parse(text).ok_or_else(|| AddressError::Host(secret::url(text)))?;
        Ok(Self::Dns(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Dns(name) => f.pad(name.as_str()),
        }
    }
}

/// Host and port: `10.0.0.5:8080`, `[2001:db8::5]:80`, `web.example:80`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The port, never 0.
    pub port: NonZeroU16,
}

impl Endpoint {
    /// The canonical form, for comparison: an IPv4-mapped IPv6 address becomes an IPv4
    /// address. Names are not resolved.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let host = match &self.host {
            Host::Ip(ip) => Host::Ip(ip.to_canonical()),
            Host::Dns(name) => Host::Dns(name.clone()),
        };
        Self {
            host,
            port: self.port,
        }
    }
}

impl FromStr for Endpoint {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inside, port) = rest
                    .split_once("]:")
                    .ok_or_else(|| AddressError::NoPort(secret::url(text)))?;
                let ip: Ipv6Addr = inside
                    .parse()
                    .map_err(|_| AddressError::NotV6(secret::url(text)))?;
                (Host::Ip(ip.into()), port)
            }
            None => {
                let (host, port) = text
                    .split_once(':')
                    .ok_or_else(|| AddressError::NoPort(secret::url(text)))?;
                if port.contains(':') {
                    return Err(AddressError::Unbracketed(secret::url(text)));
                }
                (host.parse()?, port)
            }
        };
        let port = parse_port(port)?;
        Ok(Self { host, port })
    }
}

/// Parses a decimal port without sign or leading zeros.
fn parse_port(text: &str) -> Result<NonZeroU16, AddressError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let port = if digits { text.parse().ok() } else { None };
    port.ok_or_else(|| AddressError::Port(secret::url(text)))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.host {
            Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
            host => format!("{host}:{}", self.port),
        };
        f.pad(&text)
    }
}

/// The compact notation `HOST:PORT[/VERSION]`.
///
/// The version begins after the first `/` and may contain more of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Host and port.
    pub endpoint: Endpoint,
    /// The version, if given.
    pub version: Option<Version>,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (endpoint, version) = match text.split_once('/') {
            Some((endpoint, version)) => (endpoint, Some(version.parse()?)),
            None => (text, None),
        };
        let endpoint = endpoint.parse()?;
        Ok(Self { endpoint, version })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => f.pad(&format!("{}/{version}", self.endpoint)),
            None => self.endpoint.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
