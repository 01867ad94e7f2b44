//! Why a container has no address to announce, with the choices if there are several. Pure.

use super::container::Status;
use super::host::{Elsewhere, HostChoice};
use super::port::{ContainerPort, PortChoice};

/// How many choices are shown.
const SHOWN: usize = 10;

/// The given choices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The port inside the container.
    pub container_port: Option<PortChoice>,
    /// The network of the container's own address.
    pub network: Option<String>,
    /// The host's address.
    pub host: Option<HostChoice>,
}

/// Why a container has no address to announce, with the choices if there are several.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// It does not run, and has addresses only while it does.
    #[error("the container is {0}: it has no address while it does not run")]
    NotRunning(Status),
    /// It asks not to be announced.
    #[error("the container asks not to be announced ({0})")]
    Ignored(String),
    /// No port is published, and no network was given.
    #[error(
        "the container publishes no port on the host: publish one (docker run -p), or name the network in which it is \
         reached with --network: {}", list(.networks, "it is in none")
    )]
    NothingPublished {
        /// The networks that it is in.
        networks: Vec<String>,
    },
    /// It has ports, but all of them are ignored.
    #[error("every port asks not to be announced: {}", list(.0, "none"))]
    AllIgnored(Vec<String>),
    /// The chosen port is ignored.
    #[error("port {0} asks not to be announced")]
    IgnoredPort(String),
    /// There are several ports.
    #[error("the container has several ports: choose one with --container-port: {}", list(.0, "none"))]
    WhichPort(Vec<String>),
    /// No port is declared.
    #[error("the container declares no port: name it with --container-port")]
    NoPort,
    /// The chosen port does not exist.
    #[error(
        "the container does not publish port {choice} on the host: --container-port can be {}", list(.ports, "none")
    )]
    NotThatPort {
        /// The choice.
        choice: String,
        /// The container's ports.
        ports: Vec<String>,
    },
    /// One port is published in several places.
    #[error("port {port} is published in several places: choose one with --host: {}", list(.places, "none"))]
    WhichPlace {
        /// The port.
        port: ContainerPort,
        /// Its published addresses.
        places: Vec<String>,
    },
    /// It is not in the given network.
    #[error("the container is not in network \"{network}\": --network can be {}", list(.networks, "none"))]
    NotInNetwork {
        /// The given network.
        network: String,
        /// Its networks.
        networks: Vec<String>,
    },
    /// It uses another container's network.
    #[error(
        "the container uses the network of container {0}: give HOST:PORT, or announce that container"
    )]
    SharedNetwork(String),
    /// It uses no network.
    #[error("the container has no network: nobody can reach it")]
    NoNetwork,
    /// The host has several addresses, and none is the default.
    #[error("the host has several addresses and no default route: choose one with --host: {}", list(.0, "none"))]
    WhichHost(Vec<String>),
    /// The host has no address that others could reach.
    #[error("the host has no address that others could reach{}: give one with --host", because(.0))]
    NoHost(Option<String>),
    /// This process's addresses are not the host's.
    #[error("{0}: give the host's address with --host")]
    Elsewhere(#[from] Elsewhere),
    /// Several addresses match the choice.
    #[error("--host {choice} fits several addresses of the host: choose one: {}", list(.addresses, "none"))]
    SeveralFit {
        /// The choice.
        choice: String,
        /// The matches.
        addresses: Vec<String>,
    },
    /// No address matches the choice.
    #[error("--host {choice}: {why}{}", because(.trouble))]
    NoneFits {
        /// The choice.
        choice: String,
        /// The available ones, as text.
        why: String,
        /// Why the addresses are not known.
        trouble: Option<String>,
    },
    /// Both the container's own address and the host's were given.
    #[error(
        "--host {0} with --network: in a network the container's own address is announced; give one of the two"
    )]
    HostInNetwork(String),
}

impl Unreachable {
    /// Whether it may end by itself, because only the surroundings are not ready.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::WhichHost(_) | Self::NoHost(_) | Self::NoneFits { .. }
        )
    }
}

fn because(trouble: &Option<String>) -> String {
    let trouble = trouble.as_ref();
    trouble.map_or_else(String::new, |trouble| format!(", and {trouble}"))
}

/// The choices, ten at most, and the number of the rest.
fn list(choices: &[String], none: &str) -> String {
    let shown = choices.iter().take(SHOWN).map(String::as_str);
    let shown = shown.collect::<Vec<_>>().join(", ");
    match choices.len().checked_sub(SHOWN) {
        _ if choices.is_empty() => none.to_owned(),
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}
