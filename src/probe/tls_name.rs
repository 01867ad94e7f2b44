//! A TLS server name that is not the URL's host.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::DnsName;
use tokio::net::lookup_host;

/// A DNS name to send as SNI, and for which the certificate must be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsName(String);

/// Why a text is not such a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a DNS name such as web.example, as certificates have it")]
pub struct TlsNameError;

impl TlsName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TlsName {
    type Err = TlsNameError;

    fn from_str(text: &str) -> Result<Self, TlsNameError> {
        match DnsName::try_from(text) {
            Ok(name) => Ok(Self(name.as_ref().to_owned())),
            Err(_) => Err(TlsNameError),
        }
    }
}

impl fmt::Display for TlsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Resolves every name to the addresses of this host.
#[derive(Debug)]
pub(super) struct Elsewhere(pub(super) String);

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = lookup_host((host.as_str(), 0)).await?.collect();
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests;
