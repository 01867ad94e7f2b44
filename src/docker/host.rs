//! The host of a container: its name, and which of its addresses to announce.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::client::{Client, Error};
use super::container::{ContainerName, NetworkMode};
use super::daemon::Daemon;
use super::host_address::HostAddresses;
use crate::model::{AddressError, DnsName, Host};
use crate::util::sanitize::short;

/// Timeout for resolving a name.
const RESOLVING: Duration = Duration::from_secs(5);

/// The longest name of an interface.
const MAX_INTERFACE: usize = 15;

/// Which address of the host to announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostChoice {
    /// This one.
    Address(IpAddr),
    /// That of the interface with this name, else of this DNS name.
    Name(DnsName),
    /// That of the interface with this name, which is not a DNS name.
    Interface(String),
    /// The one in this network.
    Network {
        /// An address in it.
        address: IpAddr,
        /// The prefix length.
        bits: u8,
    },
}

/// Why a text is not one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostChoiceError {
    /// It has a slash and is not a network.
    #[error("\"{0}\" is no network: ADDRESS/BITS is expected, as in 10.0.0.0/8")]
    Network(String),
    /// It is none of these.
    #[error("{0}; an interface (eth1) or a network (10.0.0.0/8) is taken, too")]
    Host(AddressError),
}

impl FromStr for HostChoice {
    type Err = HostChoiceError;

    fn from_str(text: &str) -> Result<Self, HostChoiceError> {
        if let Some((address, bits)) = text.split_once('/') {
            let wrong = || HostChoiceError::Network(short(text));
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most);
            let bits = bits.ok_or_else(wrong)?;
            return Ok(Self::Network { address, bits });
        }
        match text.parse() {
            Ok(Host::Ip(address)) => Ok(Self::Address(address)),
            Ok(Host::Dns(name)) if name.as_str() == text => Ok(Self::Name(name)),
            // Names of interfaces may have capitals.
            Ok(Host::Dns(name)) if !is_interface_name(text) => Ok(Self::Name(name)),
            Err(error) if !is_interface_name(text) => Err(HostChoiceError::Host(error)),
            Ok(_) | Err(_) => Ok(Self::Interface(text.to_owned())),
        }
    }
}

/// A valid interface name that does not look like an address.
fn is_interface_name(text: &str) -> bool {
    let begins = text.starts_with(|it: char| it.is_ascii_alphabetic());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    begins && text.len() <= MAX_INTERFACE && text.bytes().all(allowed)
}

impl fmt::Display for HostChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name.as_str()),
            Self::Interface(name) => f.write_str(name),
            Self::Network { address, bits } => write!(f, "{address}/{bits}"),
        }
    }
}

/// Whether an address lies in the network of another one.
#[must_use]
pub fn in_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let same = |own: u128, other: u128, width: u32| {
        let shift = width.saturating_sub(bits.into());
        own.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
    };
    match (address, network) {
        (IpAddr::V4(own), IpAddr::V4(other)) => {
            same(own.to_bits().into(), other.to_bits().into(), 32)
        }
        (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
        _ => false,
    }
}

/// Why this process's addresses are not those of the container's host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Elsewhere {
    /// This process runs in a container with its own network.
    #[error("sidekick runs in container {0} and sees that container's addresses, not the host's")]
    InContainer(String),
    /// The daemon runs on another machine.
    #[error("the daemon at {0} is on another host, whose addresses are not known here")]
    OtherHost(String),
}

/// What is known about the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Its name according to the daemon.
    pub name: Option<String>,
    /// Why the name is not known.
    pub nameless: Option<String>,
    /// The addresses of this process.
    pub addresses: HostAddresses,
    /// Why those are not the host's.
    pub elsewhere: Option<Elsewhere>,
    /// The addresses of the chosen name, or why it has none.
    pub resolved: Option<(DnsName, Result<Vec<IpAddr>, String>)>,
}

impl Surroundings {
    /// Looks up everything that is needed.
    pub async fn look(daemon: &Daemon, choice: Option<&HostChoice>, wants_name: bool) -> Self {
        let mut found = Self {
            addresses: HostAddresses::find(),
            ..Self::default()
        };
        let asked = found.ask(daemon, wants_name).await;
        if let Err(error) = asked {
            found.nameless = Some(error.to_string());
        }
        found.resolve(choice).await;
        found
    }

    /// Whether everything is known that does not change.
    #[must_use]
    pub fn is_whole(&self, wants_name: bool) -> bool {
        let named = self
            .name
            .as_deref()
            .is_some_and(|name| !name.starts_with("localhost"));
        self.nameless.is_none() && (named || !wants_name)
    }

    /// Looks up again what may have changed.
    pub async fn look_again(&mut self, choice: Option<&HostChoice>) {
        self.addresses = HostAddresses::find();
        self.resolve(choice).await;
    }

    async fn ask(&mut self, daemon: &Daemon, wants_name: bool) -> Result<(), Error> {
        let client = Client::connect(daemon.clone()).await?;
        self.elsewhere = match daemon.remote() {
            Some(place) if !self.is_own(place).await => Some(Elsewhere::OtherHost(short(place))),
            _ => in_container(&client).await?,
        };
        if wants_name {
            self.name = client.host_name().await?;
        }
        Ok(())
    }

    /// Whether `HOST:PORT` is on this machine.
    async fn is_own(&self, place: &str) -> bool {
        let Ok(Ok(places)) = timeout(RESOLVING, lookup_host(place)).await else {
            return false;
        };
        let mut places = places.map(|place| place.ip().to_canonical());
        places.all(|ip| ip.is_loopback() || self.addresses.has(&ip))
    }

    async fn resolve(&mut self, choice: Option<&HostChoice>) {
        self.resolved = match choice {
            Some(HostChoice::Name(name)) if self.addresses.interface(name.as_str()).is_none() => {
                Some((name.clone(), resolve(name).await))
            }
            _ => None,
        };
    }
}

/// Resolves a name.
///
/// # Errors
/// Why it cannot be resolved.
pub async fn resolve(name: &DnsName) -> Result<Vec<IpAddr>, String> {
    match timeout(RESOLVING, lookup_host((name.as_str(), 0))).await {
        Ok(Ok(found)) => Ok(found.map(|found| found.ip().to_canonical()).collect()),
        Ok(Err(error)) => Err(short(error.to_string())),
        Err(_) => Err("no answer of the name server".to_owned()),
    }
}

/// The container in which this process runs, unless that uses the host's network.
async fn in_container(client: &Client) -> Result<Option<Elsewhere>, Error> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut id = own_id(&mounts).and_then(|id| id.parse::<ContainerName>().ok());
    // It may use the network of another container.
    for _ in 0..3 {
        let Some(asked) = id else { return Ok(None) };
        let own = match client.inspect(&asked).await {
            Ok(own) => own,
            // The daemon runs in the same container, or is unrelated to it.
            Err(Error::NoSuchContainer { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        id = match &own.network_mode {
            NetworkMode::Host => return Ok(None),
            NetworkMode::Container(other) => other.parse().ok(),
            NetworkMode::Own | NetworkMode::None => {
                return Ok(Some(Elsewhere::InContainer(short(&own.name))));
            }
        };
    }
    Ok(None)
}

/// The id of the container whose files these mounts show: daemons mount some of their own files into each container, from
/// a folder with the container's id as its name.
fn own_id(mountinfo: &str) -> Option<&str> {
    let shown = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
    let mut ids = mountinfo.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|it| it.is_ascii_hexdigit());
        let id = root.split('/').find(is_id)?;
        shown.contains(&at).then_some(id)
    });
    ids.next()
}

#[cfg(test)]
mod tests;
