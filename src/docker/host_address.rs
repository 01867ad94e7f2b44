//! The host's own addresses, at which others reach its published ports.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;

/// The kernel's description of the interfaces.
const INTERFACES: &str = "/sys/class/net";

/// Prefixes of the interfaces that container runtimes and hypervisors create.
const OF_CONTAINERS: [&str; 16] = [
    "docker0",
    "docker_gwbridge",
    "podman",
    "cni",
    "veth",
    "virbr",
    "vnet",
    "lxcbr",
    "lxdbr",
    "incusbr",
    "nerdctl",
    "flannel",
    "cali",
    "cilium",
    "kube-bridge",
    "vmnet",
];

/// What is known about the host's addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// IPv4.
    pub v4: Known,
    /// IPv6.
    pub v6: Known,
    /// Every interface.
    pub interfaces: Vec<Interface>,
    /// Why the interfaces are not known.
    pub trouble: Option<String>,
}

/// The addresses of one family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Known {
    /// The source address of the default route.
    DefaultRoute(IpAddr),
    /// Without a default route: the addresses that others may reach, if any.
    Candidates(BTreeSet<IpAddr>),
    /// Nothing.
    #[default]
    Nothing,
}

/// An interface of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `eth1`
    pub name: String,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether only this host's containers and virtual machines are behind it.
    pub is_bridge: bool,
    /// Its addresses in the kernel's order, including those that no other host reaches.
    pub addresses: Vec<IpAddr>,
}

impl Interface {
    /// Its addresses that another host could reach.
    pub fn reachable(&self) -> impl Iterator<Item = IpAddr> {
        let addresses = self.addresses.iter().copied();
        addresses.filter(|address| self.is_up && reachable(address))
    }
}

impl HostAddresses {
    /// Looks them up, without sending anything.
    #[must_use]
    pub fn find() -> Self {
        let (interfaces, trouble) = match getifaddrs() {
            Ok(found) => (collect(found), None),
            Err(error) => {
                let trouble = format!(
                    "the host's interfaces cannot be listed ({}): a unit with RestrictAddressFamilies= must allow AF_NETLINK",
                    error.desc()
                );
                (Vec::new(), Some(trouble))
            }
        };
        // Documentation addresses: only the default route leads there.
        let v4_far = IpAddr::from(Ipv4Addr::new(203, 0, 113, 1));
        let v6_far = IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        let v4 = source_towards(v4_far);
        let v6 = source_towards(v6_far);
        let others = |is_v4| candidates(&interfaces, is_v4);
        Self {
            v4: v4.map_or_else(|| others(true), Known::DefaultRoute),
            v6: v6.map_or_else(|| others(false), Known::DefaultRoute),
            interfaces,
            trouble,
        }
    }

    /// The interface with this name.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|own| own.name == name)
    }

    /// Whether one of its interfaces has this address.
    #[must_use]
    pub fn has(&self, address: &IpAddr) -> bool {
        let mut all = self.interfaces.iter().flat_map(|own| &own.addresses);
        all.any(|own| own == address)
    }
}

/// The source address that the host would use: connecting a UDP socket only asks the routing table.
fn source_towards(far: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match far {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(far, 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    reachable(&own).then_some(own)
}

/// The addresses of one family that others may reach, if no route decides.
fn candidates(interfaces: &[Interface], is_v4: bool) -> Known {
    let outward = interfaces.iter().filter(|own| !own.is_bridge);
    let addresses = outward.flat_map(Interface::reachable);
    let found: BTreeSet<_> = addresses.filter(|own| own.is_ipv4() == is_v4).collect();
    if found.is_empty() {
        Known::Nothing
    } else {
        Known::Candidates(found)
    }
}

/// Whether another host could reach it.
pub(super) fn reachable(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || link_local)
}

/// Groups one line for every address into interfaces.
fn collect(found: impl Iterator<Item = InterfaceAddress>) -> Vec<Interface> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for line in found {
        let storage = line.address.as_ref();
        let v4 = storage.and_then(|it| it.as_sockaddr_in().map(|it| it.ip().into()));
        let v6 = || storage.and_then(|it| it.as_sockaddr_in6().map(|it| it.ip().into()));
        let address = v4.or_else(v6);
        let known = interfaces
            .iter_mut()
            .find(|own| own.name == line.interface_name);
        if let Some(known) = known {
            known.addresses.extend(address);
            continue;
        }
        let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
        interfaces.push(Interface {
            is_up: line.flags.contains(up),
            is_bridge: is_bridge(Path::new(INTERFACES), &line.interface_name),
            addresses: address.into_iter().collect(),
            name: line.interface_name,
        });
    }
    interfaces
}

/// Whether only this host's containers and virtual machines are behind an interface. A bridge with a network card in it
/// connects hosts of virtual machines to the network.
fn is_bridge(interfaces: &Path, name: &str) -> bool {
    let own_of_docker = name
        .strip_prefix("br-")
        .is_some_and(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if own_of_docker || OF_CONTAINERS.iter().any(|known| name.starts_with(known)) {
        return true;
    }
    let Ok(ports) = fs::read_dir(interfaces.join(name).join("brif")) else {
        return false;
    };
    let leads_out = |port: &Path| {
        let kind = fs::read_to_string(port.join("uevent")).unwrap_or_default();
        // A card, or made of cards, such as a bond or a VLAN; the end of a cable into a container is neither.
        port.join("device").exists() || kind.contains("DEVTYPE=")
    };
    let mut ports = ports
        .flatten()
        .map(|port| interfaces.join(port.file_name()));
    !ports.any(|port| leads_out(&port))
}

#[cfg(test)]
mod tests;
