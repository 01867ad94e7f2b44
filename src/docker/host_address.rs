//! The host's own address, at which others reach the ports that it passes on to containers.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// What is known about the host's addresses, for each family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// IPv4.
    pub v4: Known,
    /// IPv6.
    pub v6: Known,
}

/// What is known of one family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Known {
    /// The address from which the host speaks to the world.
    DefaultRoute(IpAddr),
    /// There is no default route: the addresses that others may reach, none, one or several.
    Candidates(BTreeSet<IpAddr>),
    /// Nothing.
    #[default]
    Nothing,
}

impl HostAddresses {
    /// Looks. Sends nothing.
    #[must_use]
    pub fn find() -> Self {
        // Addresses that are for documentation: nothing but the default route leads there.
        let v4_far = IpAddr::from(Ipv4Addr::new(203, 0, 113, 1));
        let v6_far = IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        let v4 = source_towards(v4_far);
        let v6 = source_towards(v6_far);
        Self {
            v4: v4.map_or_else(|| candidates(v4_addresses()), Known::DefaultRoute),
            v6: v6.map_or_else(|| candidates(v6_addresses()), Known::DefaultRoute),
        }
    }
}

/// Which of its addresses the host would use: connecting a UDP socket asks the routing table and nobody else.
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

fn candidates(addresses: impl IntoIterator<Item = IpAddr>) -> Known {
    let found: BTreeSet<_> = addresses.into_iter().filter(reachable).collect();
    if found.is_empty() {
        Known::Nothing
    } else {
        Known::Candidates(found)
    }
}

/// Whether another host could reach it.
fn reachable(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || link_local)
}

fn v4_addresses() -> Vec<IpAddr> {
    parse_fib_trie(&fs::read_to_string("/proc/net/fib_trie").unwrap_or_default())
}

fn v6_addresses() -> Vec<IpAddr> {
    parse_if_inet6(&fs::read_to_string("/proc/net/if_inet6").unwrap_or_default())
}

/// The kernel's routing table as a tree; an address of the host itself is followed by a line `/32 host LOCAL`.
fn parse_fib_trie(text: &str) -> Vec<IpAddr> {
    let pairs = text.lines().zip(text.lines().skip(1));
    let own = pairs.filter(|(_, next)| next.trim() == "/32 host LOCAL");
    own.filter_map(|(line, _)| line.trim().strip_prefix("|-- ")?.parse().ok())
        .collect()
}

/// Lines of 32 hexadecimal digits and five further fields.
fn parse_if_inet6(text: &str) -> Vec<IpAddr> {
    let digits = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let numbers = digits.filter_map(|digits| u128::from_str_radix(digits, 16).ok());
    numbers
        .map(|number| IpAddr::V6(Ipv6Addr::from(number)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn own_addresses_are_read_from_the_kernels_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
            |-- 10.0.0.5\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n     \
            |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n     |-- 10.0.0.5\n        /32 host LOCAL\n";
        let found = candidates(parse_fib_trie(trie));
        let expected: BTreeSet<IpAddr> = ["10.0.0.5".parse().unwrap()].into();
        assert_eq!(found, Known::Candidates(expected));

        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
            fd000000000000000000000000000002 04 40 00 80     eth0\n\
            fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n";
        let expected: BTreeSet<IpAddr> = ["fd00::2".parse().unwrap()].into();
        assert_eq!(
            candidates(parse_if_inet6(inet6)),
            Known::Candidates(expected)
        );
        assert_eq!(candidates(parse_fib_trie("garbage")), Known::Nothing);
    }

    #[test]
    fn what_is_found_on_this_machine_could_be_reached_from_another() {
        let HostAddresses { v4, v6 } = HostAddresses::find();
        for known in [v4, v6] {
            match known {
                Known::DefaultRoute(address) => assert!(reachable(&address)),
                Known::Candidates(several) => assert!(several.iter().all(reachable)),
                Known::Nothing => {}
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_tables_never_panic(text in any::<String>(), near in "( *(\\|-- )?[0-9./ a-zA-Z]{0,20}\n){0,9}") {
            for text in [text, near] {
                let lines = text.lines().count();
                prop_assert!(parse_fib_trie(&text).len() <= lines);
                prop_assert!(parse_if_inet6(&text).len() <= lines);
            }
        }
    }
}
