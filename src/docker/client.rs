//! Calls to a daemon. Every call ends within [`CALL_TIMEOUT`], whatever the daemon does.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, io};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as Cause;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecInspectResponse;
use bollard::query_parameters::{EventsOptions, EventsOptionsBuilder};
use futures_util::{Stream, StreamExt as _, stream};
use hyper::Method;
use hyper::body::Bytes;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::container::{Container, ContainerName, Incomplete};
use super::daemon::Daemon;
use super::events;
use super::events::Event;
use super::{raw, transport};
use crate::util::explain::{Peer, Received, explain};
use crate::util::sanitize::printable;

/// Timeout of one call, with the whole answer.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a daemon's message is shown, in bytes.
const WORDS_SHOWN: usize = 300;

/// Why a daemon call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such container.
    #[error("{daemon} knows no container {name}")]
    NoSuchContainer {
        /// The daemon.
        daemon: Daemon,
        /// For what.
        name: ContainerName,
    },
    /// The daemon cannot be reached, or ended the connection.
    #[error("{daemon}: {reason}")]
    Failed {
        /// The daemon.
        daemon: Daemon,
        /// Why, in words.
        reason: String,
    },
    /// It did not answer in time.
    #[error(
        "{daemon}: no whole answer within {}",
        crate::util::duration::show(CALL_TIMEOUT)
    )]
    Silent {
        /// The daemon.
        daemon: Daemon,
    },
    /// Its answer is not one of a daemon.
    #[error("{daemon}: {source}")]
    Incomplete {
        /// The daemon.
        daemon: Daemon,
        /// What is missing.
        source: Incomplete,
    },
}

/// A daemon with a known API version. Cheap to clone; opens a connection for each call.
#[derive(Clone)]
pub struct Client {
    daemon: Daemon,
    docker: Docker,
    /// Notified whenever a stream of events has begun.
    listening: Arc<Notify>,
    /// The version of Podman's own API, once asked for; `None` in it for Docker.
    pub(super) libpod_version: Arc<OnceLock<Option<String>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("daemon", &self.daemon)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to the daemon and agrees on an API version.
    ///
    /// # Errors
    ///
    /// When the daemon cannot be reached or does not answer.
    pub async fn connect(daemon: Daemon) -> Result<Self, Error> {
        let listening = Arc::new(Notify::new());
        let docker = docker(&daemon, &listening).map_err(|cause| failed(&daemon, &cause))?;
        let docker = within(&daemon, docker.negotiate_version()).await?;
        Ok(Self {
            daemon,
            docker,
            listening,
            libpod_version: Arc::default(),
        })
    }

    /// Inspects the container.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], or that the call failed.
    pub async fn inspect(&self, name: &ContainerName) -> Result<Container, Error> {
        let daemon = self.daemon.clone();
        let answer = match self.get(&format!("containers/{name}/json")).await? {
            Some(answer) => answer,
            None => {
                let name = name.clone();
                return Err(Error::NoSuchContainer { daemon, name });
            }
        };
        let mut container = Container::from_inspect(&answer)
            .map_err(|source| Error::Incomplete { daemon, source })?;
        if container.image_is_an_id() {
            container.image_names = self.image_names(&container.image_id).await?;
        }
        Ok(container)
    }

    /// Prepares a command inside a running container, and returns its id.
    pub(super) async fn create_exec(
        &self,
        container: &ContainerName,
        words: &[String],
    ) -> Result<String, Error> {
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(words.to_vec()),
            ..CreateExecOptions::default()
        };
        let asked = self.docker.create_exec(container.as_str(), options);
        let id = within(&self.daemon, asked).await?.id;
        // It becomes part of the paths of later requests.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let daemon = self.daemon.clone();
            let reason = "its answer cannot be read: it gives the command no id".to_owned();
            return Err(Error::Failed { daemon, reason });
        }
        Ok(id)
    }

    /// Starts a prepared command. The stream is its output, and must be read to its end: a daemon may end the command,
    /// or forget its result, when nobody reads.
    pub(super) async fn start_exec(
        &self,
        id: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + Unpin + use<>, Error> {
        let asked = self.docker.start_exec(id, None::<StartExecOptions>);
        let (output, input) = match within(&self.daemon, asked).await? {
            StartExecResults::Attached { output, input } => (Some(output), Some(input)),
            StartExecResults::Detached => (None, None),
        };
        let daemon = self.daemon.clone();
        let output = stream::iter(output).flatten();
        Ok(output.map(move |said| {
            // Both halves keep the connection open.
            let _ = &input;
            said.map(LogOutput::into_bytes)
                .map_err(|cause| failed(&daemon, &cause))
        }))
    }

    /// Inspects a started command; `None` if the daemon no longer knows it.
    pub(super) async fn inspect_exec(
        &self,
        id: &str,
    ) -> Result<Option<ExecInspectResponse>, Error> {
        let asked = async {
            match self.docker.inspect_exec(id).await {
                Err(cause) if is_not_found(&cause) => Ok(None),
                answer => answer.map(Some),
            }
        };
        within(&self.daemon, asked).await
    }

    /// The names of an image; empty if it has none any more.
    async fn image_names(&self, id: &str) -> Result<Vec<String>, Error> {
        let image = self.get(&format!("images/{id}/json")).await?;
        let names = image
            .as_ref()
            .and_then(|image| image["RepoTags"].as_array());
        let names = names.into_iter().flatten().filter_map(Value::as_str);
        Ok(names.map(str::to_owned).collect())
    }

    /// The daemon's name for its host.
    ///
    /// # Errors
    ///
    /// When the call failed.
    pub async fn host_name(&self) -> Result<Option<String>, Error> {
        let info = self.get("info").await?;
        let name = info.as_ref().and_then(|info| info["Name"].as_str());
        Ok(name.filter(|name| !name.is_empty()).map(str::to_owned))
    }

    /// Any JSON at this path of the API; `None` if there is nothing.
    async fn get(&self, path: &str) -> Result<Option<Value>, Error> {
        let asked = async {
            match raw::call(&self.daemon, Method::GET, &self.path(path)).await {
                Err(cause) if is_not_found(&cause) => Ok(None),
                answer => answer.map(|answer| Some(answer.body)),
            }
        };
        let Some(body) = within(&self.daemon, asked).await? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&body);
        read.map(Some).map_err(|error| Error::Failed {
            daemon: self.daemon.clone(),
            reason: format!("its answer cannot be read: {error}"),
        })
    }

    /// A path with the agreed API version.
    fn path(&self, path: &str) -> String {
        let version = self.docker.client_version();
        let (major, minor) = (version.major_version, version.minor_version);
        format!("/v{major}.{minor}/{path}")
    }

    /// The daemon.
    pub(super) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Streams the events of containers with one of these `names` or ids, and of all networks,
    /// from now on, or from `since` (nanoseconds since 1970 by the daemon's clock). The stream sends its request when
    /// it is first polled.
    pub(super) fn events(
        &self,
        names: &[&str],
        since: Option<i64>,
    ) -> impl Stream<Item = Result<Event, Error>> + Send + use<> {
        let of_containers = [
            ("type", vec!["container"]),
            ("container", names.to_vec()),
            ("event", events::ACTIONS.to_vec()),
        ];
        // A separate call: with a filter for containers, a daemon reports no networks.
        let of_networks = [
            ("type", vec!["network"]),
            ("event", events::NETWORK_ACTIONS.to_vec()),
        ];
        let of_containers = self.told(&of_containers, since);
        let of_networks = self.told(&of_networks, since);
        // When one of them ends, both do.
        stream::select(or_end(of_containers), or_end(of_networks))
            .take_while(|event| ready(event.is_some()))
            .filter_map(ready)
    }

    fn told(
        &self,
        filters: &[(&str, Vec<&str>)],
        since: Option<i64>,
    ) -> impl Stream<Item = Result<Event, Error>> + Send + use<> {
        let daemon = self.daemon.clone();
        let messages = self.docker.events(Some(wanted(filters, since)));
        messages.filter_map(move |message| {
            ready(match message {
                Ok(message) => events::read(message).map(Ok),
                Err(cause) => Some(Err(failed(&daemon, &cause))),
            })
        })
    }

    /// Waits until the event stream of one kind has begun: no later event is missed. Cancel safe.
    pub(super) async fn listening(&self) {
        self.listening.notified().await;
    }
}

fn docker(daemon: &Daemon, listening: &Arc<Notify>) -> Result<Docker, Cause> {
    let (daemon, listening) = (daemon.clone(), listening.clone());
    let send = move |request: bollard::BollardRequest| {
        let (daemon, listening) = (daemon.clone(), listening.clone());
        async move {
            let is_events = request.uri().path().ends_with("/events");
            let response = transport::send(daemon, request).await?;
            if is_events && response.status().is_success() {
                listening.notify_one();
            }
            Ok(response)
        }
    };
    let seconds = CALL_TIMEOUT.as_secs();
    // The address only completes the URI: `send` knows the socket.
    Docker::connect_with_custom_transport(
        send,
        Some("http://localhost"),
        seconds,
        bollard::API_DEFAULT_VERSION,
    )
}

/// The items of a stream; `None` at its end.
fn or_end<T>(stream: impl Stream<Item = T>) -> impl Stream<Item = Option<T>> {
    stream.map(Some).chain(stream::iter([None]))
}

fn wanted(filters: &[(&str, Vec<&str>)], since: Option<i64>) -> EventsOptions {
    let filters: HashMap<&str, Vec<&str>> = filters.iter().cloned().collect();
    let options = EventsOptionsBuilder::default().filters(&filters);
    let options = match since {
        Some(at) => options.since(&events::since(at)),
        None => options,
    };
    options.build()
}

/// A call with the timeout.
async fn within<T>(
    daemon: &Daemon,
    call: impl Future<Output = Result<T, Cause>>,
) -> Result<T, Error> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(|cause| failed(daemon, &cause)),
        Err(_) => Err(Error::Silent {
            daemon: daemon.clone(),
        }),
    }
}

pub(super) fn is_not_found(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::DockerResponseServerError {
            status_code: 404,
            ..
        }
    )
}

pub(super) fn failed(daemon: &Daemon, cause: &Cause) -> Error {
    let reason = match cause {
        Cause::IOError { err } => explain_io(daemon, err),
        Cause::RequestTimeoutError => {
            let daemon = daemon.clone();
            return Error::Silent { daemon };
        }
        Cause::DockerResponseServerError {
            status_code,
            message,
        } => format!("it answers {status_code}: {message}"),
        Cause::JsonDataError { message, .. } => format!("its answer cannot be read: {message}"),
        other => explain(other, peer(&daemon.to_string())),
    };
    Error::Failed {
        daemon: daemon.clone(),
        reason: printable(reason.trim(), WORDS_SHOWN),
    }
}

/// A bollard client for the API: over a socket, or `tcp://`, whose TLS reports its own errors.
const fn peer(place: &str) -> Peer<'_> {
    Peer {
        received: Received::Earlier,
        ..Peer::plain(place)
    }
}

/// What went wrong and what to do about it.
fn explain_io(daemon: &Daemon, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket: is the daemon running?".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied: run as root, or as a member of the group that owns the socket"
                .to_owned()
        }
        _ => explain(error, peer(&daemon.to_string())),
    }
}

#[cfg(test)]
mod tests;
