//! What is announced for a container where its owner left it open, with the reason for each part. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::container::Container;
use super::conventions::{Check, Conventions, Meaningless};
use super::host_address::HostAddresses;
use super::image::{Reference, short_digest};
use super::port::ContainerPort;
use super::reach::{self, Reach, Unreachable, reach};
use crate::printable::short;
use crate::record::{
    Endpoint, InstanceId, InstanceName, NameError, Protocol, Record, ServiceName, Version,
};

/// The label by which images say which version they are.
const VERSION_LABEL: &str = "org.opencontainers.image.version";

/// What was given; the container fills in the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The service.
    pub service: Option<ServiceName>,
    /// The instance.
    pub instance: Option<InstanceName>,
    /// Where clients reach it.
    pub endpoint: Option<Endpoint>,
    /// What runs there.
    pub version: Option<Version>,
    /// How its address is chosen when it was not given.
    pub reach: reach::Wanted,
}

/// Why nothing can be announced for a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It has no address, or it takes a choice.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// A name is none.
    #[error("{source_text}: {error}")]
    Name {
        /// Where it stands.
        source_text: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// The image has no name, or several.
    #[error(
        "the service cannot be told from the image, {0}: give SERVICE/INSTANCE, or the container a label SERVICE_NAME"
    )]
    NoService(String),
    /// A value of the container's conventions means nothing.
    #[error(transparent)]
    Meaningless(#[from] Meaningless),
}

/// One part of what is announced, and why it is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Which part: `service`.
    pub part: &'static str,
    /// What it is, printable.
    pub value: String,
    /// Why, in words.
    pub because: String,
}

/// What is announced for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// Which instance of which service.
    pub id: InstanceId,
    /// Where clients reach it. It may be an address that only this host reaches; who calls decides on that.
    pub endpoint: Endpoint,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// What runs there.
    pub version: Option<Version>,
    /// Free labels. Foreign text.
    pub tags: Vec<String>,
    /// Free pairs. Foreign text.
    pub meta: BTreeMap<String, String>,
    /// What the container asks to be checked.
    pub checks: Vec<Check>,
    /// How often, where it says so.
    pub interval: Option<Duration>,
    /// How long one attempt may take, where it says so.
    pub timeout: Option<Duration>,
    /// Why each part is as it is.
    pub reasons: Vec<Reason>,
    /// What the container asks for in vain, in words.
    pub notes: Vec<String>,
}

impl Derived {
    /// The record to announce.
    #[must_use]
    pub fn record(&self) -> Record {
        Record {
            version: self.version.clone(),
            protocol: self.protocol,
            tags: self.tags.clone(),
            meta: self.meta.clone(),
            ..Record::new(self.endpoint.clone())
        }
    }
}

/// Fills in what was not given.
///
/// # Errors
///
/// Every [`Problem`] there is.
pub fn derive(
    wanted: &Wanted,
    container: &Container,
    host: &HostAddresses,
) -> Result<Derived, Vec<Problem>> {
    let mut deriving = Deriving::default();
    let place = deriving.place(wanted, container, host);
    let port = match &place {
        Some((_, port)) => *port,
        None => wanted.reach.container_port.map(|choice| choice.port()),
    };
    let conventions = Conventions::of(container, port);
    let service = deriving.service(wanted, container, &conventions, port);
    let instance = deriving.instance(wanted, container, &conventions, port);
    let version = deriving.version(wanted, container);
    let checks = deriving.checks(&conventions);
    let interval = deriving.checked(conventions.duration("check_interval"));
    let timeout = deriving.checked(conventions.duration("check_timeout"));
    let Deriving {
        reasons,
        notes,
        problems,
    } = deriving;
    match (place, service, instance) {
        (Some((endpoint, port)), Some(service), Some(instance)) if problems.is_empty() => {
            Ok(Derived {
                id: InstanceId { service, instance },
                endpoint,
                protocol: port.map(|port| port.protocol).unwrap_or_default(),
                version,
                tags: conventions.tags(),
                meta: conventions.meta(),
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

/// What has come together so far.
#[derive(Default)]
struct Deriving {
    reasons: Vec<Reason>,
    notes: Vec<String>,
    problems: Vec<Problem>,
}

impl Deriving {
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

    /// The address, and the port inside the container where it matters.
    fn place(
        &mut self,
        wanted: &Wanted,
        container: &Container,
        host: &HostAddresses,
    ) -> Option<(Endpoint, Option<ContainerPort>)> {
        if let Some(endpoint) = &wanted.endpoint {
            self.because("address", endpoint, "given");
            return Some((endpoint.clone(), port_behind(wanted, container, endpoint)));
        }
        let found = reach(&wanted.reach, container, host);
        let Reach {
            endpoint,
            port,
            host_because,
            port_because,
        } = self.checked(found)?;
        self.because("host", &endpoint.host, host_because);
        self.because("port", endpoint.port, port_because);
        Some((endpoint, Some(port)))
    }

    /// A service of several ports has several names, as registrator's users expect: else all of them would be
    /// one instance.
    fn service(
        &mut self,
        wanted: &Wanted,
        container: &Container,
        conventions: &Conventions,
        port: Option<ContainerPort>,
    ) -> Option<ServiceName> {
        if let Some(service) = &wanted.service {
            self.because("service", service, "given");
            return Some(service.clone());
        }
        let (base, source) = match conventions.get("name") {
            Some(said) if said.about_port => {
                let service = self.name(&said.value, &said.source)?;
                self.because("service", &service, said.source.clone());
                return Some(service);
            }
            Some(said) => (said.value.clone(), said.source.clone()),
            None => self.image_base(container)?,
        };
        let (text, because) = match port {
            Some(port) if reach::ports_served(container) > 1 => (
                format!("{base}-{}", port.number),
                format!("{source}, and the port, since the container has several"),
            ),
            _ => (base, source.clone()),
        };
        let service = self.name(&text, &source)?;
        self.because("service", &service, because);
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

    fn instance(
        &mut self,
        wanted: &Wanted,
        container: &Container,
        conventions: &Conventions,
        port: Option<ContainerPort>,
    ) -> Option<InstanceName> {
        if let Some(instance) = &wanted.instance {
            self.because("instance", instance, "given");
            return Some(instance.clone());
        }
        if let Some(said) = conventions.get("id") {
            let instance = self.name(&said.value, &said.source)?;
            self.because("instance", &instance, said.source.clone());
            return Some(instance);
        }
        let mut text = container.name.clone();
        let mut because = "the container's name".to_owned();
        if port.is_some_and(|port| has_tcp_twin(container, port)) {
            text.push_str(":udp");
            because.push_str(", and the protocol, since the port is used for TCP too");
        }
        let instance = self.name(&text, "the container's name")?;
        self.because("instance", &instance, because);
        Some(instance)
    }

    /// A version that is none is passed over: it helps people, and nothing depends on it.
    fn version(&mut self, wanted: &Wanted, container: &Container) -> Option<Version> {
        if let Some(version) = &wanted.version {
            self.because("version", version, "given");
            return Some(version.clone());
        }
        for (text, because) in versions(container) {
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

    fn checks(&mut self, conventions: &Conventions) -> Vec<Check> {
        for said in conventions.unknown_checks() {
            let note = format!("{} is not known here: give --probe instead", said.source);
            self.notes.push(note);
        }
        let checks = conventions.checks();
        for (check, said) in &checks {
            self.because("check", check, said.source.clone());
        }
        checks.into_iter().map(|(check, _)| check).collect()
    }
}

/// Which port of the container a given address leads to, for the conventions that are about ports.
fn port_behind(
    wanted: &Wanted,
    container: &Container,
    endpoint: &Endpoint,
) -> Option<ContainerPort> {
    if let Some(choice) = wanted.reach.container_port {
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

/// Whether the same number is served by TCP too.
fn has_tcp_twin(container: &Container, port: ContainerPort) -> bool {
    let twin = ContainerPort {
        protocol: Protocol::Tcp,
        ..port
    };
    port.protocol == Protocol::Udp
        && (container.published.contains_key(&twin) || container.exposed.contains(&twin))
}

/// What may be the version, the best first.
fn versions(container: &Container) -> Vec<(String, String)> {
    let mut versions = Vec::new();
    if let Some(label) = container.labels.get(VERSION_LABEL)
        && !label.is_empty()
    {
        versions.push((label.clone(), format!("label {VERSION_LABEL}")));
    }
    let is_id = container.image_is_an_id();
    let reference = match (&container.image_names[..], is_id) {
        ([only], true) => Reference::of(only),
        (_, true) => Reference::of(""),
        (_, false) => Reference::of(&container.image),
    };
    if let Some(tag) = reference.tag {
        versions.push((tag.to_owned(), "the image's tag".to_owned()));
    } else if let Some(digest) = reference.digest {
        let digest = short_digest(digest).to_owned();
        versions.push((digest, "the image's digest".to_owned()));
    } else if !is_id {
        let because = "the image's tag, since none was named".to_owned();
        versions.push(("latest".to_owned(), because));
    }
    let id = short_digest(&container.image_id).to_owned();
    if !id.is_empty() {
        versions.push((id, "the image's id".to_owned()));
    }
    versions
}

#[cfg(test)]
#[path = "registrator_tests.rs"]
mod registrator_tests;
#[cfg(test)]
#[path = "derive_tests.rs"]
mod tests;
