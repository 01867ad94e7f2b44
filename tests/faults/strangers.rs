//! What a stranger writes into etcd, and the addresses that nobody may be sent to because of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What is no record, hold, split or status, by key.
pub(crate) const FOREIGN: [(&str, &[u8]); 8] = [
    (
        "/services/website/stranger",
        b"{\"host\":\"127.0.0.1; server 6.6.6.6\",\"port\":80}",
    ),
    ("/services/website/not-utf-8", b"\xff\xfe"),
    ("/services/website/a/b", b"127.0.0.1:1"),
    ("/services/website/\x1b[2J", b"127.0.0.1:1"),
    ("/sidekick/holds/website/nobody", b"until further notice"),
    ("/sidekick/splits/website", b"{\"v9\":100}"),
    (
        "/sidekick/pushers/ghost",
        b"{\"services\":{\"website\":{\"applied\":99}}}",
    ),
    ("/sidekick/balancers/ghost", b"[]"),
];

/// A record that can be read, in the place of an announcer's: its address is routed until the announcer has put its own back.
pub(crate) const OVERWRITTEN: &[u8] = b"127.0.0.1:9";

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Whether it stands in [`FOREIGN`], from where nothing may come into any nginx, not even for a moment.
pub(crate) fn is_foreign(address: SocketAddr) -> bool {
    address.ip() == IpAddr::V4(Ipv4Addr::new(6, 6, 6, 6))
        || [1, 80]
            .map(|port| SocketAddr::from((HERE, port)))
            .contains(&address)
}

/// Whether it is the address of [`OVERWRITTEN`].
pub(crate) fn is_overwritten(address: SocketAddr) -> bool {
    address == SocketAddr::from((HERE, 9))
}
