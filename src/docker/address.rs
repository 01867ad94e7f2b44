//! The address at which others reach a container, and the reasons for it. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use super::chosen::chosen_host;
use super::container::{Container, NetworkMode, Status};
use super::host::Surroundings;
use super::host_address::Known;
use super::labels::Labels;
use super::port::ContainerPort;
use super::unreachable::{Unreachable, Wanted};
use crate::model::{Endpoint, Host};
use crate::util::sanitize::short;

/// The address of a container, with the reasons for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerAddress {
    /// Host and port.
    pub endpoint: Endpoint,
    /// The port inside the container.
    pub port: ContainerPort,
    /// Why this host.
    pub host_because: String,
    /// Why this port.
    pub port_because: String,
}

/// Finds the address of the container.
///
/// # Errors
///
/// [`Unreachable`] when there is none, or several to choose from.
pub fn find_address(
    wanted: &Wanted,
    container: &Container,
    host: &Surroundings,
) -> Result<ContainerAddress, Unreachable> {
    if let Some(said) = Labels::of(container, None).ignored() {
        return Err(Unreachable::Ignored(said.source.clone()));
    }
    match (&wanted.network, &container.network_mode) {
        (_, NetworkMode::Container(id)) => {
            let id = id.get(..12).unwrap_or(id);
            Err(Unreachable::SharedNetwork(short(id)))
        }
        (_, NetworkMode::None) => Err(Unreachable::NoNetwork),
        (Some(network), NetworkMode::Own) => in_network(wanted, container, network),
        (Some(network), NetworkMode::Host) if network == "host" => {
            on_hosts_network(wanted, container, host)
        }
        (Some(network), NetworkMode::Host) => Err(Unreachable::NotInNetwork {
            network: short(network),
            networks: vec!["host".to_owned()],
        }),
        (None, NetworkMode::Host) => on_hosts_network(wanted, container, host),
        (None, NetworkMode::Own) => published(wanted, container, host),
    }
}

/// How many ports of the container could be announced: the published ones, else the declared ones.
#[must_use]
pub fn ports_served(container: &Container) -> usize {
    let published = container.published.keys().copied();
    match container.published.len() {
        0 => announced(container, container.exposed.iter().copied()).len(),
        _ => announced(container, published).len(),
    }
}

/// The container's own address.
fn in_network(
    wanted: &Wanted,
    container: &Container,
    network: &str,
) -> Result<ContainerAddress, Unreachable> {
    let addresses = container
        .networks
        .get(network)
        .ok_or_else(|| Unreachable::NotInNetwork {
            network: short(network),
            networks: networks(container),
        })?;
    if let Some(choice) = &wanted.host {
        return Err(Unreachable::HostInNetwork(choice.to_string()));
    }
    let address = addresses.first();
    let address = address.ok_or(Unreachable::NotRunning(container.status))?;
    let (port, port_because) = own_port(wanted, container)?;
    Ok(ContainerAddress {
        endpoint: endpoint(Host::Ip(*address), port.number),
        port,
        host_because: format!("its own address in network {}", short(network)),
        port_because,
    })
}

/// The host's address and the container's own port.
fn on_hosts_network(
    wanted: &Wanted,
    container: &Container,
    host: &Surroundings,
) -> Result<ContainerAddress, Unreachable> {
    let (port, port_because) = own_port(wanted, container)?;
    let (address, because) = own_host(wanted, host, None)?;
    Ok(ContainerAddress {
        endpoint: endpoint(address, port.number),
        port,
        host_because: format!("the container uses the host's network; {because}"),
        port_because,
    })
}

/// A port on which the container itself listens: the chosen one, or the only declared one.
fn own_port(
    wanted: &Wanted,
    container: &Container,
) -> Result<(ContainerPort, String), Unreachable> {
    let declared = container.exposed.iter().chain(container.published.keys());
    let all: BTreeSet<_> = declared.copied().collect();
    let declared = announced(container, all.iter().copied());
    if let Some(choice) = wanted.container_port {
        let known = declared.iter().find(|port| choice.matches(**port)).copied();
        let port = known.unwrap_or_else(|| choice.port());
        return Ok((port, "--container-port".to_owned()));
    }
    match &declared[..] {
        [] if all.is_empty() => Err(Unreachable::NoPort),
        [] => Err(all_ignored(container, all)),
        [port] => Ok((
            *port,
            "the only port that the container declares".to_owned(),
        )),
        several => Err(Unreachable::WhichPort(
            several.iter().map(ContainerPort::to_string).collect(),
        )),
    }
}

/// The published address of a port.
fn published(
    wanted: &Wanted,
    container: &Container,
    host: &Surroundings,
) -> Result<ContainerAddress, Unreachable> {
    let ports = announced(container, container.published.keys().copied());
    let shown = || {
        let shown =
            |port: &ContainerPort| match container.published.get(port).and_then(|p| p.first()) {
                Some(place) => format!("{port} (host port {})", place.port()),
                None => port.to_string(),
            };
        ports.iter().map(shown).collect::<Vec<_>>()
    };
    let (port, because) = match (wanted.container_port, &ports[..]) {
        (_, []) if !container.published.is_empty() => {
            let published = container.published.keys().copied();
            return Err(all_ignored(container, published));
        }
        (_, []) => {
            return Err(match container.status {
                Status::Running | Status::Paused | Status::Stopping => {
                    let networks = networks(container);
                    Unreachable::NothingPublished { networks }
                }
                status => Unreachable::NotRunning(status),
            });
        }
        (Some(choice), _) => {
            let chosen = ports.iter().find(|port| choice.matches(**port));
            let mut all = container.published.keys();
            let port = chosen.ok_or_else(|| match all.find(|port| choice.matches(**port)) {
                Some(ignored) => Unreachable::IgnoredPort(with_reason(container, *ignored)),
                None => Unreachable::NotThatPort {
                    choice: choice.to_string(),
                    ports: shown(),
                },
            });
            (port, "chosen by --container-port")
        }
        (None, [port]) => (Ok(port), "the only one"),
        (None, _) => return Err(Unreachable::WhichPort(shown())),
    };
    let port = *port?;
    let places = container.published.get(&port).map_or(&[][..], |p| p);
    let (place, host, host_because) = place(wanted, port, places, host)?;
    Ok(ContainerAddress {
        endpoint: endpoint(host, place),
        port,
        host_because,
        port_because: format!("published for the container's port {port}, {because}"),
    })
}

/// One published address of a port.
fn place(
    wanted: &Wanted,
    port: ContainerPort,
    places: &[SocketAddr],
    host: &Surroundings,
) -> Result<(NonZeroU16, Host, String), Unreachable> {
    let number = |place: &SocketAddr| NonZeroU16::new(place.port()).unwrap_or(port.number);
    // A port on all addresses has an entry for each family, IPv4 first.
    if let Some(place) = places.iter().find(|place| place.ip().is_unspecified()) {
        let family = (!has_family(places, true)).then_some(place.ip());
        let (address, because) = own_host(wanted, host, family)?;
        let because = format!("published on all addresses of the host; {because}");
        return Ok((number(place), address, because));
    }
    let chosen = chosen_host(wanted, host, None)?;
    if let Some((Host::Ip(ip), because)) = &chosen
        && let Some(place) = places.iter().find(|place| place.ip() == *ip)
    {
        return Ok((number(place), Host::Ip(*ip), because.clone()));
    }
    let distinct: BTreeSet<_> = places.iter().collect();
    let elsewhere = |place: &&&SocketAddr| !place.ip().is_loopback();
    let reachable: Vec<_> = distinct.iter().filter(elsewhere).collect();
    let only = match (&reachable[..], distinct.first()) {
        ([only], _) => Some(***only),
        ([], Some(first)) => Some(**first),
        _ => None,
    };
    let Some(place) = only else {
        let places = distinct.iter().map(ToString::to_string).collect();
        return Err(Unreachable::WhichPlace { port, places });
    };
    match chosen {
        // A name of the host, or an address that leads to it from elsewhere.
        Some((host, because)) => Ok((number(&place), host, because)),
        None => {
            let because = "the address of the host on which it is published".to_owned();
            Ok((number(&place), Host::Ip(place.ip()), because))
        }
    }
}

fn has_family(places: &[SocketAddr], v4: bool) -> bool {
    let mut open = places.iter().filter(|place| place.ip().is_unspecified());
    open.any(|place| place.is_ipv4() == v4)
}

/// The host's own address: of this family if only that one is served, else IPv4 if it has one.
fn own_host(
    wanted: &Wanted,
    host: &Surroundings,
    only: Option<IpAddr>,
) -> Result<(Host, String), Unreachable> {
    if let Some(chosen) = chosen_host(wanted, host, only)? {
        return Ok(chosen);
    }
    if let Some(elsewhere) = &host.elsewhere {
        return Err(elsewhere.clone().into());
    }
    let addresses = &host.addresses;
    let families = match only {
        Some(IpAddr::V6(_)) => vec![&addresses.v6],
        Some(IpAddr::V4(_)) => vec![&addresses.v4],
        None => vec![&addresses.v4, &addresses.v6],
    };
    for known in families {
        match known {
            Known::DefaultRoute(address) => {
                let because = "the host's address on its default route".to_owned();
                return Ok((Host::Ip(*address), because));
            }
            Known::Candidates(several) => {
                let mut rest = several.iter();
                return match (rest.next(), rest.next()) {
                    (Some(only), None) => {
                        let because = "the only address of the host that others reach".to_owned();
                        Ok((Host::Ip(*only), because))
                    }
                    _ => Err(Unreachable::WhichHost(
                        several.iter().map(ToString::to_string).collect(),
                    )),
                };
            }
            Known::Nothing => {}
        }
    }
    Err(Unreachable::NoHost(addresses.trouble.clone()))
}

/// The ports without SERVICE_IGNORE.
fn announced(
    container: &Container,
    ports: impl Iterator<Item = ContainerPort>,
) -> Vec<ContainerPort> {
    ports
        .filter(|port| Labels::of(container, Some(*port)).ignored().is_none())
        .collect()
}

/// The error that all of these ports are ignored, each with the source of that.
fn all_ignored(
    container: &Container,
    ports: impl IntoIterator<Item = ContainerPort>,
) -> Unreachable {
    let ports = ports.into_iter().map(|port| with_reason(container, port));
    Unreachable::AllIgnored(ports.collect())
}

/// An ignored port, and the source of that.
fn with_reason(container: &Container, port: ContainerPort) -> String {
    let labels = Labels::of(container, Some(port));
    match labels.ignored() {
        Some(said) => format!("{port} ({})", said.source),
        None => port.to_string(),
    }
}

/// Each network to choose from, with the address that would be announced.
fn networks(container: &Container) -> Vec<String> {
    let shown = |(name, addresses): (&String, &Vec<IpAddr>)| match addresses.first() {
        Some(address) => format!("{} ({address})", short(name)),
        None => short(name),
    };
    container.networks.iter().map(shown).collect()
}

fn endpoint(host: Host, port: NonZeroU16) -> Endpoint {
    Endpoint { host, port }
}
