//! What to announce for a container, with the reason for each part. Pure.

mod parts;

use std::borrow::Cow;
use std::net::IpAddr;

pub use parts::{Identity, Reason};

use super::address::{self, ContainerAddress, find_address};
use super::container::Container;
use super::host::Surroundings;
use super::image::{Reference, short_digest};
use super::labels::{Check, Labels};
use super::port::ContainerPort;
pub use super::problem::{HostName, HostNameError, Problem};
use super::unreachable;
use crate::model::{
    Endpoint, Host, InstanceId, InstanceName, NameError, Protocol, ServiceName, Version,
};
use crate::util::sanitize::short;

/// The label of an image's version.
const VERSION_LABEL: &str = "org.opencontainers.image.version";

/// The given settings; the container completes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The service.
    pub service: Option<ServiceName>,
    /// The instance.
    pub instance: Option<InstanceName>,
    /// The address for clients.
    pub endpoint: Option<Endpoint>,
    /// The version.
    pub version: Option<Version>,
    /// How to choose the address if none is given.
    pub address: unreachable::Wanted,
    /// The host's name, if it is not taken from the daemon.
    pub host_name: Option<HostName>,
    /// Whether the container's environment is ignored.
    pub labels_only: bool,
}

impl Wanted {
    /// Whether the daemon must be asked for the host's name.
    #[must_use]
    pub const fn needs_host_name(&self) -> bool {
        self.instance.is_none() && self.host_name.is_none()
    }
}

/// Completes the given settings.
///
/// # Errors
///
/// Every [`Problem`].
pub fn identify(
    wanted: &Wanted,
    container: &Container,
    host: &Surroundings,
) -> Result<Identity, Vec<Problem>> {
    let mut container = Cow::Borrowed(container);
    if wanted.labels_only {
        container.to_mut().env.clear();
    }
    let container = &*container;
    let mut builder = IdentityBuilder::default();
    let place = builder.place(wanted, container, host);
    let port = match &place {
        Some((_, port)) => *port,
        None => wanted.address.container_port.map(|choice| choice.port()),
    };
    let labels = Labels::of(container, port);
    let service = builder.service(wanted, container, &labels);
    let instance = builder.instance(wanted, container, host, &labels, port);
    let version = builder.version(wanted, container, &labels);
    let weight = builder.checked(labels.weight());
    let checks = builder.checks(&labels);
    let interval = builder.checked(labels.duration("check_interval"));
    let timeout = builder.checked(labels.duration("check_timeout"));
    let IdentityBuilder {
        reasons,
        notes,
        problems,
    } = builder;
    match (place, service, instance) {
        (Some((endpoint, port)), Some(service), Some(instance)) if problems.is_empty() => {
            Ok(Identity {
                id: InstanceId { service, instance },
                resolved: resolved(&endpoint, host),
                endpoint,
                protocol: port.map(|port| port.protocol).unwrap_or_default(),
                version,
                weight: weight.flatten(),
                tags: labels.tags(),
                meta: labels.meta(),
                checks,
                interval: interval.flatten(),
                timeout: timeout.flatten(),
                reasons,
                notes,
            })
        }
        _ => Err(problems),
    }
}

/// The parts so far.
#[derive(Default)]
struct IdentityBuilder {
    reasons: Vec<Reason>,
    notes: Vec<String>,
    problems: Vec<Problem>,
}

impl IdentityBuilder {
    fn because(&mut self, part: &'static str, value: impl ToString, because: impl Into<String>) {
        let because = because.into();
        let value = short(value.to_string());
        self.reasons.push(Reason {
            part,
            value,
            because,
        });
    }

    fn checked<T, P: Into<Problem>>(&mut self, value: Result<T, P>) -> Option<T> {
        value
            .map_err(|problem| self.problems.push(problem.into()))
            .ok()
    }

    fn name<T: std::str::FromStr<Err = NameError>>(
        &mut self,
        text: &str,
        source_text: &str,
    ) -> Option<T> {
        self.checked(text.parse().map_err(|error| Problem::Name {
            source_text: source_text.to_owned(),
            error,
        }))
    }

    /// The address, and the port inside the container if it matters.
    fn place(
        &mut self,
        wanted: &Wanted,
        container: &Container,
        host: &Surroundings,
    ) -> Option<(Endpoint, Option<ContainerPort>)> {
        if let Some(endpoint) = &wanted.endpoint {
            self.because("address", endpoint, "given");
            return Some((endpoint.clone(), port_behind(wanted, container, endpoint)));
        }
        let found = find_address(&wanted.address, container, host);
        let ContainerAddress {
            endpoint,
            port,
            host_because,
            port_because,
        } = self.checked(found)?;
        self.because("host", &endpoint.host, host_because);
        self.because("port", endpoint.port, port_because);
        Some((endpoint, Some(port)))
    }

    /// Never with a port at its end: a service's name must not depend on how many ports its container has.
    fn service(
        &mut self,
        wanted: &Wanted,
        container: &Container,
        labels: &Labels,
    ) -> Option<ServiceName> {
        if let Some(service) = &wanted.service {
            self.because("service", service, "given");
            return Some(service.clone());
        }
        let (text, source) = match labels.get("name") {
            Some(said) => (said.value.clone(), said.source.clone()),
            None => self.image_base(container)?,
        };
        let service = self.name(&text, &source)?;
        self.because("service", &service, source);
        Some(service)
    }

    fn image_base(&mut self, container: &Container) -> Option<(String, String)> {
        let source = "the name of its image".to_owned();
        if !container.image_is_an_id() {
            return Some((Reference::of(&container.image).base.to_owned(), source));
        }
        let names = container.image_names.iter();
        let mut bases: Vec<_> = names.map(|name| Reference::of(name).base).collect();
        bases.sort_unstable();
        bases.dedup();
        let problem = match bases[..] {
            [base] => return Some((base.to_owned(), source)),
            [] => "which has no name".to_owned(),
            _ => format!("which has several names ({})", short(bases.join(", "))),
        };
        self.problems.push(Problem::NoService(problem));
        None
    }

    /// With the host's name first: the same container on two hosts is two instances.
    fn instance(
        &mut self,
        wanted: &Wanted,
        container: &Container,
        host: &Surroundings,
        labels: &Labels,
        port: Option<ContainerPort>,
    ) -> Option<InstanceName> {
        if let Some(instance) = &wanted.instance {
            self.because("instance", instance, "given");
            return Some(instance.clone());
        }
        if let Some(said) = labels.get("id") {
            let instance = self.name(&said.value, &said.source)?;
            self.because("instance", &instance, said.source.clone());
            return Some(instance);
        }
        let (host, source) = self.host_name(wanted, host)?;
        let mut text = format!("{}:{}", host.0, container.name);
        let mut because = format!("{source} and the container's");
        if let Some(port) = port
            && address::ports_served(container) > 1
        {
            text.push_str(&format!(":{}", port.number));
            because.push_str(", and the port, since the container serves several");
        }
        if port.is_some_and(|port| has_tcp_twin(container, port)) {
            text.push_str(":udp");
            because.push_str(", and the protocol, since the port is used for TCP too");
        }
        let instance = self.name(&text, "the host's and the container's name")?;
        self.because("instance", &instance, because);
        Some(instance)
    }

    fn host_name(
        &mut self,
        wanted: &Wanted,
        host: &Surroundings,
    ) -> Option<(HostName, &'static str)> {
        if let Some(name) = &wanted.host_name {
            return Some((name.clone(), "--host-name"));
        }
        let Some(name) = &host.name else {
            let why = host
                .nameless
                .as_deref()
                .unwrap_or("its daemon does not tell");
            self.problems.push(Problem::NoHostName(short(why)));
            return None;
        };
        let name = self.checked(name.parse().map_err(Problem::HostName))?;
        Some((name, "the host's name"))
    }

    /// An invalid version is skipped: it is only informative.
    fn version(
        &mut self,
        wanted: &Wanted,
        container: &Container,
        labels: &Labels,
    ) -> Option<Version> {
        if let Some(version) = &wanted.version {
            self.because("version", version, "given");
            return Some(version.clone());
        }
        for (text, because) in versions(container, labels) {
            match text.parse::<Version>() {
                Ok(version) => {
                    self.because("version", &version, because);
                    return Some(version);
                }
                Err(error) => self.notes.push(format!("{because} is not used: {error}")),
            }
        }
        None
    }

    fn checks(&mut self, labels: &Labels) -> Vec<Check> {
        for said in labels.unknown_checks() {
            let note = format!("{} is not known here: give --probe instead", said.source);
            self.notes.push(note);
        }
        self.notes.extend(labels.left_out());
        let checks = labels.checks();
        for (check, said) in &checks {
            self.because("check", check, said.source.clone());
        }
        checks.into_iter().map(|(check, _)| check).collect()
    }
}

/// The container's port behind a given address, for labels about ports.
fn port_behind(
    wanted: &Wanted,
    container: &Container,
    endpoint: &Endpoint,
) -> Option<ContainerPort> {
    if let Some(choice) = wanted.address.container_port {
        return Some(choice.port());
    }
    let leads_there = |places: &Vec<std::net::SocketAddr>| {
        places
            .iter()
            .any(|place| place.port() == endpoint.port.get())
    };
    let mut published = container.published.iter();
    let found = published.find(|(_, places)| leads_there(places));
    found.map(|(port, _)| *port)
}

/// Whether the container also serves the port's number by TCP.
fn has_tcp_twin(container: &Container, port: ContainerPort) -> bool {
    let twin = ContainerPort {
        protocol: Protocol::Tcp,
        ..port
    };
    port.protocol == Protocol::Udp
        && (container.published.contains_key(&twin) || container.exposed.contains(&twin))
}

/// The addresses of the name in an address, if it was resolved.
fn resolved(endpoint: &Endpoint, host: &Surroundings) -> Vec<IpAddr> {
    match (&endpoint.host, &host.resolved) {
        (Host::Dns(name), Some((asked, Ok(found)))) if asked == name => found.clone(),
        _ => Vec::new(),
    }
}

/// Candidates for the version, best first. Images inherit the label from their base images, so it says less
/// than the tag.
fn versions(container: &Container, labels: &Labels) -> Vec<(String, String)> {
    let mut versions = Vec::new();
    if let Some(said) = labels.get("version") {
        versions.push((said.value.clone(), said.source.clone()));
    }
    let is_id = container.image_is_an_id();
    let reference = match (&container.image_names[..], is_id) {
        ([only], true) => Reference::of(only),
        (_, true) => Reference::of(""),
        (_, false) => Reference::of(&container.image),
    };
    if let Some(tag) = reference.tag.filter(|tag| *tag != "latest") {
        versions.push((tag.to_owned(), "the image's tag".to_owned()));
    }
    if let Some(label) = container.labels.get(VERSION_LABEL)
        && !label.is_empty()
    {
        versions.push((label.clone(), format!("label {VERSION_LABEL}")));
    }
    if let Some(digest) = reference.digest {
        let digest = short_digest(digest).to_owned();
        versions.push((digest, "the image's digest".to_owned()));
    }
    let id = short_digest(&container.image_id).to_owned();
    if !id.is_empty() {
        versions.push((id, "the image's id".to_owned()));
    }
    versions
}

#[cfg(test)]
mod tests;
