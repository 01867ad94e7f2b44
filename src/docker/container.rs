//! The relevant parts of an inspect answer. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde_json::Value;

use super::port::ContainerPort;
use super::signal;
use crate::util::duration;
use crate::util::sanitize::short;

/// The default time between a container's stop signal and SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A field that every container has is missing in an inspect answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer has no {0}")]
pub struct Incomplete(&'static str);

/// Why a text is not a container's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no name or id of a container: letters, digits and _.- are allowed, the first a letter or digit"
)]
pub struct NameError(String);

/// A name, an id or the beginning of an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerName(Box<str>);

impl ContainerName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // Daemons show names with a leading slash.
        let name = text.strip_prefix('/').unwrap_or(text);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let first = name.bytes().next();
        if first.is_some_and(|byte| byte.is_ascii_alphanumeric()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(NameError(short(text)))
        }
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A container. Its texts are foreign, except `id`.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// The whole id.
    pub id: Box<str>,
    /// The name, without the leading slash.
    pub name: String,
    /// The image that the container was made from: `shop/web:1.2`, or an id.
    pub image: String,
    /// The image's id, `sha256:…`.
    pub image_id: String,
    /// The image's names, looked up if `image` is an id.
    pub image_names: Vec<String>,
    /// Labels, including the image's.
    pub labels: BTreeMap<String, String>,
    /// Environment, including the image's.
    pub env: BTreeMap<String, String>,
    /// Its status.
    pub status: Status,
    /// The pid of its first process while it runs, in the daemon's namespace.
    pub pid: Option<u32>,
    /// The result of its HEALTHCHECK, if it has one.
    pub health: Option<Health>,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// Its network mode.
    pub network_mode: NetworkMode,
    /// Its addresses in each network, IPv4 first; empty while it does not run.
    pub networks: BTreeMap<String, Vec<IpAddr>>,
    /// Its published ports, in the daemon's order.
    pub published: BTreeMap<ContainerPort, Vec<SocketAddr>>,
    /// Ports that it or its image declares.
    pub exposed: BTreeSet<ContainerPort>,
    /// The number of its stop signal.
    pub stop_signal: u8,
    /// Its stop timeout before SIGKILL, unless `docker stop` gives another.
    pub stop_timeout: Duration,
}

/// The status of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was created and never started.
    Created,
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It was asked to stop and still runs. Only Podman reports this.
    Stopping,
    /// It has ended and the daemon will restart it.
    Restarting {
        /// Its exit code.
        code: i64,
    },
    /// It is being removed.
    Removing,
    /// It has ended.
    Exited {
        /// Its exit code.
        code: i64,
        /// The kernel killed it for its memory use.
        out_of_memory: bool,
    },
    /// It has ended and could not be cleaned up.
    Dead,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("never started"),
            Self::Running => f.write_str("running"),
            Self::Paused => f.write_str("paused"),
            Self::Stopping => f.write_str("stopping"),
            Self::Restarting { code } => write!(f, "exited with {code} and is being restarted"),
            Self::Removing => f.write_str("being removed"),
            Self::Exited {
                out_of_memory: true,
                ..
            } => f.write_str("killed because it was out of memory"),
            Self::Exited { code, .. } => write!(f, "exited with {code}"),
            Self::Dead => f.write_str("dead"),
        }
    }
}

/// The result of a container's HEALTHCHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// None yet.
    Starting,
    /// It passes.
    Healthy,
    /// It fails.
    Unhealthy {
        /// The check's last output, as one printable line.
        output: String,
    },
}

/// The network mode of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode {
    /// Networks of its own.
    Own,
    /// The host's.
    Host,
    /// Another container's, by its id.
    Container(String),
    /// None.
    None,
}

impl Container {
    /// Parses an inspect answer of Docker or Podman. Only the id and the state are required, and unknown words and
    /// fields are ignored: every version of the daemons adds some.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] when it is not such an answer.
    pub fn from_inspect(answer: &Value) -> Result<Self, Incomplete> {
        let state = &answer["State"];
        if !state.is_object() {
            return Err(Incomplete("State"));
        }
        let config = &answer["Config"];
        let settings = &answer["NetworkSettings"];
        let network_mode = answer["HostConfig"]["NetworkMode"].as_str();
        let is_id = |id: &&str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = answer["Id"].as_str().filter(is_id);
        Ok(Self {
            id: id.ok_or(Incomplete("Id"))?.into(),
            name: text(&answer["Name"]).trim_start_matches('/').to_owned(),
            image: text(&config["Image"]).to_owned(),
            image_id: text(&answer["Image"]).to_owned(),
            image_names: Vec::new(),
            labels: labels(config),
            env: env(config),
            status: status(state),
            pid: pid(state),
            health: health(&state["Health"]),
            started_at: started_at(state),
            network_mode: network_mode.map_or(NetworkMode::Own, mode),
            networks: networks(&settings["Networks"]),
            published: published(&settings["Ports"]),
            exposed: exposed(config),
            stop_signal: stop_signal(config),
            stop_timeout: stop_timeout(config),
        })
    }

    /// The short id.
    #[must_use]
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// Whether `image` is an id and not a name.
    #[must_use]
    pub fn image_is_an_id(&self) -> bool {
        let id = self.image_id.trim_start_matches("sha256:");
        let image = self.image.trim_start_matches("sha256:");
        image.is_empty() || (image.len() >= 4 && id.starts_with(image))
    }

    /// Whether it is the same run of the same container.
    #[must_use]
    pub fn same_run(&self, other: &Self) -> bool {
        self.id == other.id && self.started_at == other.started_at
    }
}

/// A string; empty if the value is not one.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The fields of an object; empty if the value is not one.
fn parts(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Podman has fewer fields than Docker, and neither sets all of them in every state.
fn status(state: &Value) -> Status {
    let flag = |name: &str| state[name].as_bool().unwrap_or(false);
    let code = state["ExitCode"].as_i64().unwrap_or_default();
    let exited = Status::Exited {
        code,
        out_of_memory: flag("OOMKilled"),
    };
    match text(&state["Status"]) {
        "created" | "configured" | "initialized" => Status::Created,
        // Since 5.8 Podman has no other word for stopping here, because Docker has none.
        "running" if state["Running"] == false && !flag("Paused") && !flag("Restarting") => {
            Status::Stopping
        }
        "running" => Status::Running,
        "paused" => Status::Paused,
        "stopping" => Status::Stopping,
        "restarting" => Status::Restarting { code },
        "removing" => Status::Removing,
        "dead" => Status::Dead,
        // Podman reports stopped until it has cleaned up.
        "exited" | "stopped" => exited,
        // By its flags, a restarting or paused container is running too.
        _ if flag("Restarting") => Status::Restarting { code },
        _ if flag("Paused") => Status::Paused,
        _ if flag("Running") => Status::Running,
        _ if flag("Dead") => Status::Dead,
        _ => exited,
    }
}

fn pid(state: &Value) -> Option<u32> {
    let pid = state["Pid"].as_u64()?.try_into().ok()?;
    (pid != 0).then_some(pid)
}

/// Podman has an empty status without a check.
fn health(answer: &Value) -> Option<Health> {
    let last = || {
        let log = answer["Log"].as_array()?.last()?;
        log["Output"].as_str().map(|text| short(text.trim()))
    };
    match text(&answer["Status"]) {
        "starting" => Some(Health::Starting),
        "healthy" => Some(Health::Healthy),
        "unhealthy" => Some(Health::Unhealthy {
            output: last().unwrap_or_default(),
        }),
        _ => None,
    }
}

/// `None` for the year 1, which means never.
fn started_at(state: &Value) -> Option<Timestamp> {
    let time: Timestamp = state["StartedAt"].as_str()?.parse().ok()?;
    (time > Timestamp::UNIX_EPOCH).then_some(time)
}

fn labels(config: &Value) -> BTreeMap<String, String> {
    let labels = parts(&config["Labels"]);
    labels
        .map(|(name, value)| (name.clone(), text(value).to_owned()))
        .collect()
}

fn env(config: &Value) -> BTreeMap<String, String> {
    let pairs = config["Env"].as_array().into_iter().flatten();
    let pairs = pairs.filter_map(|pair| pair.as_str()?.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn mode(text: &str) -> NetworkMode {
    match text {
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        _ => match text.strip_prefix("container:") {
            Some(id) => NetworkMode::Container(id.to_owned()),
            None => NetworkMode::Own,
        },
    }
}

/// Includes networks without an address: they exist but cannot be chosen now.
fn networks(networks: &Value) -> BTreeMap<String, Vec<IpAddr>> {
    let addresses = |settings: &Value| {
        let texts = [&settings["IPAddress"], &settings["GlobalIPv6Address"]];
        let addresses = texts.into_iter().filter_map(|it| text(it).parse().ok());
        addresses.collect()
    };
    parts(networks)
        .map(|(name, settings)| (name.clone(), addresses(settings)))
        .collect()
}

fn published(ports: &Value) -> BTreeMap<ContainerPort, Vec<SocketAddr>> {
    let mut published = BTreeMap::new();
    for (port, bindings) in parts(ports) {
        let Ok(port) = port.parse::<ContainerPort>() else {
            continue;
        };
        let bindings = bindings.as_array().into_iter().flatten();
        let places = bindings
            .filter_map(|binding| place(text(&binding["HostIp"]), text(&binding["HostPort"])));
        let places: Vec<_> = places.collect();
        if !places.is_empty() {
            published.insert(port, places);
        }
    }
    published
}

/// Podman has an empty address for a port that is published on all of them.
fn place(ip: &str, port: &str) -> Option<SocketAddr> {
    let ip = match ip {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => ip.parse().ok()?,
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some(SocketAddr::new(ip, port))
}

fn exposed(config: &Value) -> BTreeSet<ContainerPort> {
    let ports = parts(&config["ExposedPorts"]);
    ports.filter_map(|(port, _)| port.parse().ok()).collect()
}

/// Podman writes the number, Docker what was given.
fn stop_signal(config: &Value) -> u8 {
    let number = || u8::try_from(config["StopSignal"].as_u64()?).ok();
    let given = signal::number(text(&config["StopSignal"])).or_else(number);
    given.filter(|number| *number > 0).unwrap_or(signal::TERM)
}

/// Podman writes 0 if none was given.
fn stop_timeout(config: &Value) -> Duration {
    let given = config["StopTimeout"].as_u64().filter(|it| *it > 0);
    let given = given.map(Duration::from_secs);
    given.map_or(STOP_TIMEOUT, |given| given.min(duration::LONGEST))
}

#[cfg(test)]
mod tests;
