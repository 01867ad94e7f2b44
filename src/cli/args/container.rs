//! The flags that name a container, and the lookup of that container.

use std::sync::Arc;

use tokio::sync::watch;

use crate::announce::container;
use crate::announce::container::{OnGone, Pairing, Run};
use crate::cli::args::mistakes::Invalid;
use crate::cli::args::mistakes::Mistakes;
use crate::docker::follow::State;
use crate::docker::host::Surroundings;
use crate::docker::identity::Identity;
use crate::docker::{Client, Daemon, identity};
use crate::model::{Address, InstanceId, Version};
use crate::systemd::unit_file::Socket;

/// Which container, where its daemon listens, and what to announce of it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Container")]
#[group(skip)]
pub(crate) struct Flags {
    /// Container to announce, by name or id. Its service comes from its label or env SERVICE_NAME or its image, the
    /// instance from the names of the host and the container (HOST:CONTAINER), the address from its published port, the
    /// version from its image, unless they are given.
    #[arg(long, value_name = "NAME", env = "SIDEKICK_CONTAINER")]
    pub(crate) container: Option<String>,
    /// Where the Docker or Podman daemon listens; its usual sockets when absent.
    #[arg(long, value_name = "unix:///PATH", env = "DOCKER_HOST")]
    pub(crate) docker_host: Option<String>,
    /// Port inside the container, when it has several: 80 or 53/udp.
    #[arg(long, value_name = "PORT", env = "SIDEKICK_CONTAINER_PORT")]
    pub(crate) container_port: Option<String>,
    /// Announces the container's own address in this network, instead of the port published on the host.
    #[arg(long, value_name = "NAME", env = "SIDEKICK_NETWORK")]
    pub(crate) network: Option<String>,
    /// This host's address as others reach it: an address, a name, an interface (eth1) or a network (10.0.0.0/8) that it
    /// is in; by default, the address on its default route.
    #[arg(long, value_name = "HOST", env = "SIDEKICK_HOST")]
    pub(crate) host: Option<String>,
    /// This host's name in its instances' names, HOST:CONTAINER; by default, the name that the daemon reports.
    #[arg(long, value_name = "NAME", env = "SIDEKICK_HOST_NAME")]
    pub(crate) host_name: Option<String>,
    /// Version that runs there; by default, the container's label or env SERVICE_VERSION, else its image's tag, label or
    /// digest.
    #[arg(long, value_name = "VERSION", env = "SIDEKICK_SERVICE_VERSION")]
    pub(crate) service_version: Option<String>,
    /// Reads SERVICE_* from the container's labels only, not from its environment.
    #[arg(long, env = "SIDEKICK_LABELS_ONLY")]
    pub(crate) labels_only: bool,
    /// How long the container may take to run for the first time, counted while its daemon answers; with --on-gone exit the
    /// announcer then exits with code 69.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1m",
        env = "SIDEKICK_START_TIMEOUT"
    )]
    pub(crate) start_timeout: String,
    /// What to do when the container has ended: exit (the service manager decides) or wait for its next run.
    #[arg(
        long,
        value_name = "ACTION",
        default_value = "exit",
        env = "SIDEKICK_ON_GONE"
    )]
    pub(crate) on_gone: String,
}

/// What is known about the container.
pub(crate) struct Found<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) run: &'a Run,
}

impl Flags {
    /// Which container, if the flags name one. An instance given on the command line beats the container's labels.
    pub(crate) fn pairing(
        &self,
        mistakes: &mut Mistakes,
        id: Option<InstanceId>,
        address: Option<Address>,
    ) -> Option<Pairing> {
        let container = mistakes.parse("--container", self.container.as_deref()?);
        let daemon = self
            .docker_host
            .as_deref()
            .map_or(Some(Daemon::local()), |text| {
                mistakes.parse("--docker-host", text).map(Daemon::at)
            });
        let wanted_address = crate::docker::unreachable::Wanted {
            container_port: (self.container_port.as_deref())
                .and_then(|text| mistakes.parse("--container-port", text)),
            network: self.network.clone(),
            host: (self.host.as_deref()).and_then(|text| mistakes.parse("--host", text)),
        };
        let on_gone = match self.on_gone.as_str() {
            "exit" => OnGone::Exit,
            "wait" => OnGone::Wait,
            other => {
                mistakes.add(format!("--on-gone {other:?}: expected exit or wait"));
                OnGone::default()
            }
        };
        let host_name =
            (self.host_name.as_deref()).and_then(|text| mistakes.parse("--host-name", text));
        let start_timeout = mistakes.duration("--start-timeout", &self.start_timeout);
        let (service, instance) = id.map(|id| (id.service, id.instance)).unzip();
        let (endpoint, version) = address.map(|a| (a.endpoint, a.version)).unzip();
        let version = self.version(mistakes, version.flatten());
        Some(Pairing {
            daemon: daemon?,
            container: container?,
            wanted: identity::Wanted {
                service,
                instance,
                endpoint,
                version,
                address: wanted_address,
                host_name,
                labels_only: self.labels_only,
            },
            on_gone,
            start_timeout: start_timeout?,
        })
    }

    /// The version, if given: with the address or by its own flag.
    pub(crate) fn version(
        &self,
        mistakes: &mut Mistakes,
        beside: Option<Version>,
    ) -> Option<Version> {
        let Some(text) = self.service_version.as_deref() else {
            return beside;
        };
        let version: Option<Version> = mistakes.parse("--service-version", text);
        if let (Some(version), Some(beside)) = (&version, &beside)
            && version != beside
        {
            mistakes.add(format!(
                "--service-version {version}: the address says version {beside}; give one of them"
            ));
        }
        version
    }

    /// The daemon's socket.
    pub(crate) fn socket(&self) -> Socket {
        match self.docker_host.as_deref() {
            None => Socket::Docker,
            Some(host) if host.contains("docker") => Socket::Docker,
            Some(host) if host.ends_with("/run/podman/podman.sock") => Socket::Podman,
            Some(_) => Socket::Any,
        }
    }
}

/// What the lookup of the container found.
pub(crate) enum Looked {
    /// It is running.
    Runs(Run),
    /// It is not running: its name and its state.
    Otherwise(String, State),
}

/// Why the container cannot be announced, as a message.
pub(crate) fn refused(pairing: &Pairing, mistakes: &container::Mistakes) -> Invalid {
    let name = &pairing.container;
    let said = mistakes
        .said
        .iter()
        .map(|it| format!("container {name}: {it}"));
    Invalid::from(said.collect::<Vec<_>>())
}

/// Looks the container up once.
pub(crate) async fn find(pairing: &Pairing) -> anyhow::Result<Looked> {
    let client = Client::connect(pairing.daemon.clone()).await?;
    let container = Arc::new(client.inspect(&pairing.container).await?);
    let state = State::of(container.clone());
    if !matches!(state, State::Running(_)) {
        return Ok(Looked::Otherwise(container.name.clone(), state));
    }
    let wanted = &pairing.wanted;
    let choice = wanted.address.host.as_ref();
    let wants_name = wanted.needs_host_name();
    let host = Surroundings::look(&pairing.daemon, choice, wants_name).await;
    // A single lookup needs no updates.
    let (_, states) = watch::channel(state);
    Ok(Looked::Runs(Run {
        container,
        states,
        daemon: pairing.daemon.clone(),
        host: Arc::new(host),
    }))
}
