//! `sidekick announce`.

use std::io::Write as _;
use std::time::Duration;

use regex_lite::Regex;
use reqwest::header::HeaderValue;

use super::unit::Timing;
use crate::announce::container::{OnGone, Pairing, Run, run_paired};
use crate::announce::handover::Handover;
use crate::announce::phase::OnFailure;
use crate::announce::reload::{self, Program, Reload};
use crate::announce::{self, Outcome, Ready, Settings};
use crate::cli::args::container;
use crate::cli::args::container::Looked;
use crate::cli::args::pace::Said;
use crate::cli::args::probes::{check_whole, container_probe, header, own_checks, probe};
use crate::cli::args::{etcd, record};
use crate::cli::output::stdout::Stdout;
use crate::cli::{Exit, Invalid, Mistakes};
use crate::docker::Daemon;
use crate::docker::address;
use crate::docker::identity;
use crate::docker::identity::Derived;
use crate::etcd::client::{CALL_TIMEOUT, Cluster};
use crate::etcd::lease;
use crate::model::{Address, Endpoint, Format, InstanceId, Record, Version};
use crate::probe::{Authorities, HttpOptions, Pace, Probe};
use crate::systemd::notify;
use crate::systemd::stop_timeout::StopTimeout;
use crate::systemd::unit_file::Socket;
use crate::util::duration;
use crate::util::secret;
use crate::util::secret::Secret;
use crate::util::shutdown;

/// Announces one backend for as long as it works.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Examples:
  sidekick announce website/nginx1 10.0.0.5:8080/52c7248a14 --probe /health
  sidekick announce --container nginx1 --probe /health")]
pub(crate) struct Args {
    /// Which instance of which service.
    #[arg(value_name = "SERVICE/INSTANCE", env = "SIDEKICK_INSTANCE")]
    id: Option<String>,
    /// Where clients reach it, and what runs there.
    #[arg(value_name = "HOST:PORT[/VERSION]", env = "SIDEKICK_ADDRESS")]
    address: Option<String>,

    /// Container that is announced, by name or id; what is not given is taken from it: the service from its label or env
    /// SERVICE_NAME or its image, the instance from the host's and its own name (HOST:CONTAINER), the address from its published
    /// port, the version from its image.
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDEKICK_CONTAINER",
        help_heading = "Container"
    )]
    container: Option<String>,
    /// Where the Docker or Podman daemon listens; its usual sockets when absent.
    #[arg(
        long,
        value_name = "unix:///PATH",
        env = "DOCKER_HOST",
        help_heading = "Container"
    )]
    docker_host: Option<String>,
    /// Port inside the container that is meant, when it has several: 80 or 53/udp.
    #[arg(
        long,
        value_name = "PORT",
        env = "SIDEKICK_CONTAINER_PORT",
        help_heading = "Container"
    )]
    container_port: Option<String>,
    /// Network in which the container's own address is announced, instead of the port published on the host.
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDEKICK_NETWORK",
        help_heading = "Container"
    )]
    network: Option<String>,
    /// This host's address as others reach it: an address, a name, an interface (eth1) or a network (10.0.0.0/8) in which it
    /// lies; the one on its default route when absent.
    #[arg(
        long,
        value_name = "HOST",
        env = "SIDEKICK_HOST",
        help_heading = "Container"
    )]
    host: Option<String>,
    /// What this host is called in the names of its instances, HOST:CONTAINER; what the daemon says when absent.
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDEKICK_HOST_NAME",
        help_heading = "Container"
    )]
    host_name: Option<String>,
    /// What runs there; the container's label or env SERVICE_VERSION, else its image's tag, label or digest when absent.
    #[arg(
        long,
        value_name = "VERSION",
        env = "SIDEKICK_SERVICE_VERSION",
        help_heading = "Container"
    )]
    service_version: Option<String>,
    /// Takes SERVICE_* from the container's labels only, not from its environment.
    #[arg(long, env = "SIDEKICK_LABELS_ONLY", help_heading = "Container")]
    labels_only: bool,
    /// How long the container may take to run for the first time, counted while its daemon answers; with --on-gone exit the
    /// announcer then ends with code 69.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1m",
        env = "SIDEKICK_START_TIMEOUT",
        help_heading = "Container"
    )]
    start_timeout: String,
    /// What happens when the container has ended: exit (so that the service manager decides) or wait for its next run.
    #[arg(
        long,
        value_name = "ACTION",
        default_value = "exit",
        env = "SIDEKICK_ON_GONE",
        help_heading = "Container"
    )]
    on_gone: String,

    /// What must work: a path (/health, asked at the announced address), http://…, https://…,
    /// tcp://HOST:PORT, grpc://HOST:PORT[/SERVICE] (grpc.health.v1), exec:COMMAND (exit code 0) or docker: (the container's HEALTHCHECK). May be given several times: all must pass. Without it a container is asked what its SERVICE_CHECK_ labels or its HEALTHCHECK say, or else only whether it runs; without a container the record is kept unconditionally.
    #[arg(
        long,
        value_name = "PROBE",
        env = "SIDEKICK_PROBE",
        hide_env_values = true,
        help_heading = "Probe"
    )]
    probe: Vec<Secret>,
    /// Between two rounds, up to a tenth less (Kubernetes: periodSeconds) [default: what the container says, else 2s, or
    /// the timeout where that is longer].
    #[arg(
        long,
        value_name = "TIME",
        env = "SIDEKICK_INTERVAL",
        help_heading = "Probe"
    )]
    interval: Option<String>,
    /// For one attempt; no longer than the interval (timeoutSeconds) [default: what the container says, else 1s, or the
    /// interval where that is shorter].
    #[arg(
        long,
        value_name = "TIME",
        env = "SIDEKICK_TIMEOUT",
        help_heading = "Probe"
    )]
    timeout: Option<String>,
    /// Passes in a row until the backend is up; it starts down (successThreshold).
    #[arg(
        long,
        value_name = "N",
        default_value = "2",
        env = "SIDEKICK_RISE",
        help_heading = "Probe"
    )]
    rise: String,
    /// Failures in a row until it is down (failureThreshold).
    #[arg(
        long,
        value_name = "N",
        default_value = "3",
        env = "SIDEKICK_FALL",
        help_heading = "Probe"
    )]
    fall: String,
    /// Before the first attempt (initialDelaySeconds).
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0s",
        env = "SIDEKICK_GRACE",
        help_heading = "Probe"
    )]
    grace: String,
    /// HTTP status codes that pass: 200-399, or a list such as 200,204.
    #[arg(
        long,
        value_name = "CODES",
        default_value = "200-399",
        env = "SIDEKICK_EXPECT_STATUS",
        help_heading = "Probe"
    )]
    expect_status: String,

    /// What the first 64 KiB of an HTTP answer must match, a regular expression.
    #[arg(
        long,
        value_name = "REGEX",
        env = "SIDEKICK_EXPECT_BODY",
        help_heading = "Probe"
    )]
    expect_body: Option<String>,
    /// A header that an HTTP answer must have, with what its value must match. May be given several times.
    #[arg(
        long,
        value_name = "NAME: REGEX",
        env = "SIDEKICK_EXPECT_HEADER",
        help_heading = "Probe"
    )]
    expect_header: Vec<String>,
    /// Method of HTTP probes.
    #[arg(
        long,
        value_name = "METHOD",
        default_value = "GET",
        env = "SIDEKICK_PROBE_METHOD",
        help_heading = "Probe"
    )]
    probe_method: String,
    /// A header to send with HTTP probes. May be given several times.
    #[arg(
        long,
        value_name = "NAME: VALUE",
        env = "SIDEKICK_PROBE_HEADER",
        hide_env_values = true,
        help_heading = "Probe"
    )]
    probe_header: Vec<Secret>,
    /// Certificate authority that https:// probes accept in place of the system's.
    #[arg(
        long,
        value_name = "FILE",
        env = "SIDEKICK_PROBE_CACERT",
        help_heading = "Probe"
    )]
    probe_cacert: Option<String>,
    /// Name that https:// probes ask for (SNI) and that the certificate must be for; the URL's host when absent.
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDEKICK_PROBE_TLS_NAME",
        help_heading = "Probe"
    )]
    probe_tls_name: Option<String>,
    /// Accepts any certificate from https:// probes.
    #[arg(long, env = "SIDEKICK_PROBE_INSECURE", help_heading = "Probe")]
    probe_insecure: bool,

    /// What happens to the record of a backend that fails: withdraw it, or mark it as down.
    #[arg(
        long,
        value_name = "ACTION",
        default_value = "withdraw",
        env = "SIDEKICK_ON_FAILURE",
        help_heading = "Record"
    )]
    on_failure: String,
    /// How long the record outlives a killed announcer.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "15s",
        env = "SIDEKICK_TTL",
        help_heading = "Record"
    )]
    ttl: String,
    #[command(flatten)]
    about: record::Args,

    /// When systemd is told that the service is up: announced (etcd has the record) or routed (every load
    /// balancer sends it traffic).
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "announced",
        env = "SIDEKICK_READY",
        help_heading = "Start and stop"
    )]
    ready: String,
    /// How long stopping waits at most until every load balancer has let go.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        env = "SIDEKICK_DRAIN_TIMEOUT",
        help_heading = "Start and stop"
    )]
    drain_timeout: String,
    /// How much longer it waits then.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0s",
        env = "SIDEKICK_LINGER",
        help_heading = "Start and stop"
    )]
    linger: String,

    #[command(flatten)]
    pub(crate) etcd: etcd::Args,
}

/// What is known of the container.
pub(crate) struct Found<'a> {
    pub(crate) derived: &'a Derived,
    pub(crate) run: &'a Run,
}

impl Args {
    /// Announces, or, for a `trial`, only says whether this program could go on from the handover on its standard input.
    pub(crate) async fn run(
        self,
        mistakes: Mistakes,
        program: Program,
        trial: bool,
    ) -> anyhow::Result<Exit> {
        if trial {
            return self.try_out(mistakes).await;
        }
        let mut reload = Reload::listen(program)?;
        let stop = shutdown::on_signals(notify::stopping)?;
        // From here on whoever asks to stop is heard, also one who asked the image before this one.
        shutdown::unblock_signals();
        let handover = Handover::of_former_image();
        let stop_timeout = StopTimeout::of_main_process(std::process::id()).await;
        let (settings, pairing, cluster) = self.checked(mistakes, stop_timeout.as_ref()).await?;
        let mut handover = handover.unwrap_or_default();
        loop {
            let outcome = match (&settings, &pairing) {
                (_, Some(pairing)) => {
                    let origin =
                        |run: &Run| container::settings(&self, pairing, run).map(|(it, _)| it);
                    let (pairing, cluster, stop) = (pairing.clone(), cluster.clone(), stop.clone());
                    let running =
                        run_paired(pairing, &origin, cluster, stop, &mut reload, handover);
                    match Box::pin(running).await {
                        Ok(outcome) => outcome,
                        Err(refused) => return Err(Invalid::from(refused.to_string()).into()),
                    }
                }
                (Some(settings), None) => {
                    let (settings, cluster, stop) =
                        (settings.clone(), cluster.clone(), stop.clone());
                    let running = announce::run(settings, cluster, stop, &mut reload, handover);
                    Box::pin(running).await
                }
                // One of them is there, or there was a mistake.
                (None, None) => return Ok(Exit::Bug),
            };
            match outcome {
                Outcome::Left => return Ok(Exit::Done),
                Outcome::Deposed { .. } => return Ok(Exit::Deposed),
                Outcome::NeverRan { why } => {
                    let (name, limit) = (self.container.unwrap_or_default(), self.start_timeout);
                    anyhow::bail!(
                        "container {name} {why}, and has not run within {limit} (--start-timeout); give --on-gone wait to wait for it"
                    )
                }
                Outcome::HandOver(state) => {
                    let error = reload.exec(&state).await;
                    tracing::error!(
                        "the program cannot be started anew, and goes on as it was: {error}"
                    );
                    handover = *state;
                }
            }
        }
    }

    /// Whether this program could go on: everything is read, and nothing is asked but the container's daemon.
    async fn try_out(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let handover = mistakes.check("handover", Handover::read(std::io::stdin()));
        // The process that waits for the answer is the main process of the unit.
        let main = std::os::unix::process::parent_id();
        let stop_timeout = StopTimeout::of_main_process(main).await;
        let (_, pairing, _) = self.checked(mistakes, stop_timeout.as_ref()).await?;
        if let Some(pairing) = &pairing
            && handover.is_some_and(|handover| handover.is_announced())
        {
            let run = container::find(pairing).await?;
            let Looked::Runs(run) = run else {
                anyhow::bail!("container {} does not run", pairing.container);
            };
            if let Err(mistakes) = container::settings(&self, pairing, &run) {
                return Err(container::refused(pairing, &mistakes).into());
            }
        }
        writeln!(Stdout, "{}", reload::YES)?;
        Ok(Exit::Done)
    }

    /// What does not hang on the container, right as a whole: the settings of an instance, or the container that is to be found.
    async fn checked(
        &self,
        mut mistakes: Mistakes,
        stop_timeout: Option<&StopTimeout>,
    ) -> Result<(Option<Settings>, Option<Pairing>, Cluster), Invalid> {
        self.check_stop_timeout(&mut mistakes, stop_timeout);
        let cluster = self.etcd.cluster(&mut mistakes);
        self.check_name(&mut mistakes).await;
        let pairing = self.pairing(&mut mistakes);
        let settings = self.settings(&mut mistakes, None);
        let cluster = mistakes.none_or(cluster)?;
        Ok((settings, pairing, cluster))
    }

    /// Which container, if one was named.
    pub(crate) fn pairing(&self, mistakes: &mut Mistakes) -> Option<Pairing> {
        let container = mistakes.parse("--container", self.container.as_deref()?);
        let daemon = self
            .docker_host
            .as_deref()
            .map_or(Some(Daemon::local()), |text| {
                mistakes.parse("--docker-host", text).map(Daemon::at)
            });
        let id: Option<InstanceId> =
            (self.id.as_deref()).and_then(|text| mistakes.parse("SERVICE/INSTANCE", text));
        let address: Option<Address> =
            (self.address.as_deref()).and_then(|text| mistakes.parse("HOST:PORT[/VERSION]", text));
        let reach = address::Wanted {
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
                reach,
                host_name,
                labels_only: self.labels_only,
            },
            on_gone,
            start_timeout: start_timeout?,
        })
    }

    /// What runs there, where that was said: beside the address or by itself.
    fn version(&self, mistakes: &mut Mistakes, beside: Option<Version>) -> Option<Version> {
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

    /// Refuses a name for the address that only leads to this host.
    pub(crate) async fn check_name(&self, mistakes: &mut Mistakes) {
        let address = self.address.as_deref();
        self.about.check_name(mistakes, address).await;
    }

    /// What its unit is probably called: the container's name, or the instance's.
    pub(crate) fn name(&self) -> Option<String> {
        let instance = self.id.as_deref().and_then(|id| id.split_once('/'));
        let instance = instance.map(|(_, instance)| instance);
        self.container.as_deref().or(instance).map(str::to_owned)
    }

    /// Where a container is looked for.
    pub(crate) fn socket(&self) -> Socket {
        match self.docker_host.as_deref() {
            None => Socket::Docker,
            Some(host) if host.contains("docker") => Socket::Docker,
            Some(host) if host.ends_with("/run/podman/podman.sock") => Socket::Podman,
            Some(_) => Socket::Any,
        }
    }

    /// `HOST:CONTAINER` of the port that a container must publish to be reached where it is announced.
    pub(crate) fn published(&self) -> Option<String> {
        let address: Address = self.address.as_deref()?.parse().ok()?;
        let port = address.endpoint.port.to_string();
        let inside = self.container_port.as_deref().unwrap_or(&port);
        Some(format!("{port}:{inside}"))
    }

    /// How long things take. What cannot be read counts as nothing: it is refused elsewhere.
    pub(crate) fn timing(&self) -> Timing {
        let read = |text: &str| duration::read(text).unwrap_or_default();
        let flags = Said {
            interval: self.interval.as_deref().and_then(duration::read),
            timeout: self.timeout.as_deref().and_then(duration::read),
        };
        let (interval, timeout) = flags.before(Said::default());
        Timing {
            slowest: (interval + timeout)
                .max(read(&self.ttl) / 3)
                .max(lease::SLOWEST_ATTEMPT),
            leaving: read(&self.drain_timeout) + read(&self.linger),
        }
    }

    /// The settings of one run. With a container and nothing found yet there are none, but mistakes are noted.
    pub(crate) fn settings(
        &self,
        mistakes: &mut Mistakes,
        found: Option<&Found<'_>>,
    ) -> Option<Settings> {
        // Everything is looked at before the first `?`, so that one run reports every mistake.
        let id = self.identity(mistakes, found);
        let record = self.record(mistakes, found);
        let prefixes = self.etcd.prefixes(mistakes);
        let endpoint = record.as_ref().map(|record| &record.endpoint);
        let probes = self.probes(mistakes, endpoint, found);
        let pace = self.pace(mistakes, found);
        let rise = count(mistakes, "--rise", &self.rise);
        let fall = count(mistakes, "--fall", &self.fall);
        let format = self.about.format(mistakes);
        let on_failure = self.on_failure(mistakes);
        let ttl = etcd::ttl(mistakes, &self.ttl);
        let ready = self.ready(mistakes);
        let drain_timeout = mistakes.duration("--drain-timeout", &self.drain_timeout);
        let linger = mistakes.duration("--linger", &self.linger);
        if format == Some(Format::Plain) && self.on_failure == "mark" {
            record::refuse_in_plain(mistakes, "--on-failure mark");
        }
        let (prefix, meta) = prefixes?;
        Some(Settings {
            id: id?,
            record: record?,
            format: format?,
            runs_since: found.and_then(|found| found.run.container.started_at),
            prefix,
            meta,
            probes: probes?,
            pace: pace?,
            rise: rise?,
            fall: fall?,
            on_failure: on_failure?,
            ttl: ttl?,
            ready: ready?,
            drain_timeout: drain_timeout?,
            linger: linger?,
        })
    }

    /// Notes when leaving may take longer than systemd waits. What is no time is noted elsewhere.
    pub(crate) fn check_stop_timeout(&self, mistakes: &mut Mistakes, limit: Option<&StopTimeout>) {
        let times = duration::read(&self.drain_timeout).zip(duration::read(&self.linger));
        if let (Some(limit), Some((drain_timeout, linger))) = (limit, times)
            && let Err(too_short) = limit.check(drain_timeout, linger, 2 * CALL_TIMEOUT)
        {
            mistakes.add(too_short.to_string());
        }
    }

    fn identity(&self, mistakes: &mut Mistakes, found: Option<&Found<'_>>) -> Option<InstanceId> {
        if self.container.is_some() {
            return found.map(|found| found.derived.id.clone());
        }
        mistakes
            .required("SERVICE/INSTANCE", self.id.as_deref())
            .and_then(|text| mistakes.parse("SERVICE/INSTANCE", text))
    }

    fn record(&self, mistakes: &mut Mistakes, found: Option<&Found<'_>>) -> Option<Record> {
        let base = self.base_record(mistakes, found);
        let resolved = found.map_or(&[][..], |found| &found.derived.resolved);
        self.about.complete_at(mistakes, base, resolved)
    }

    /// The record before the options that add to it.
    fn base_record(&self, mistakes: &mut Mistakes, found: Option<&Found<'_>>) -> Option<Record> {
        if self.container.is_some() {
            return found.map(|found| found.derived.record());
        }
        let place = "HOST:PORT[/VERSION]";
        let address: Option<Address> = mistakes
            .required(place, self.address.as_deref())
            .and_then(|text| mistakes.parse(place, text));
        let beside = address.as_ref().and_then(|it| it.version.clone());
        let version = self.version(mistakes, beside);
        address.map(|address| Record {
            version,
            ..Record::from(address)
        })
    }

    /// The given ones; else, with a container, those that it asks for; else what its daemon says of it.
    fn probes(
        &self,
        mistakes: &mut Mistakes,
        own: Option<&Endpoint>,
        found: Option<&Found<'_>>,
    ) -> Option<Vec<Probe>> {
        let options = self.http_options(mistakes);
        if let (true, Some(own), Some(found)) = (self.probe.is_empty(), own, found) {
            return own_checks(mistakes, own, found, &options);
        }
        let probes = self.probe.iter().map(|text| {
            let text = text.reveal();
            let probe = match (text, found) {
                ("docker:", Some(found)) => Ok(container_probe(found, true)),
                // What it would look at is not found yet.
                ("docker:", None) if self.container.is_some() => return None,
                _ => probe(text, own, &options),
            };
            mistakes.check(&format!("--probe {:?}", secret::probe(text)), probe)
        });
        // All are looked at, also behind one that is wrong.
        let probes: Vec<_> = probes.collect();
        probes.into_iter().collect()
    }

    /// How HTTP probes ask; whatever is wrong is noted, and left out.
    fn http_options(&self, mistakes: &mut Mistakes) -> HttpOptions {
        let mut options = HttpOptions {
            insecure: self.probe_insecure,
            ..HttpOptions::default()
        };
        if let Some(statuses) = mistakes.parse("--expect-status", &self.expect_status) {
            options.expect_status = statuses;
        }
        if let Some(method) = mistakes.parse("--probe-method", &self.probe_method) {
            options.method = method;
        }
        let pattern = self.expect_body.as_deref().map(Regex::new);
        options.expect_body = pattern.and_then(|pattern| mistakes.check("--expect-body", pattern));
        for text in &self.expect_header {
            let expected = header(text).and_then(|(name, pattern)| {
                let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
                Ok((name, pattern))
            });
            let expected = mistakes.check(&format!("--expect-header {text:?}"), expected);
            options.expect_headers.extend(expected);
        }
        for text in &self.probe_header {
            let text = text.reveal();
            let sent = header(text).and_then(|(name, value)| {
                check_whole(text, value)?;
                let value = value.parse::<HeaderValue>();
                Ok((name, value.map_err(|error| error.to_string())?))
            });
            let place = format!("--probe-header {:?}", secret::header(text));
            if let Some((name, mut value)) = mistakes.check(&place, sent) {
                value.set_sensitive(true);
                options.headers.append(name, value);
            }
        }
        if let Some(name) = &self.probe_tls_name {
            options.tls_name = mistakes.parse("--probe-tls-name", name);
        }
        if let Some(file) = &self.probe_cacert {
            let authorities = etcd::read_pem(file, etcd::CERTIFICATE).and_then(|pem| {
                Authorities::from_pem(pem).map_err(|error| format!("{file}: {error}"))
            });
            let authorities = mistakes.check("--probe-cacert", authorities);
            options.authorities = authorities.unwrap_or_default();
        }
        options
    }

    /// What flags say beats what the container asks for, and the rest fits it.
    fn pace(&self, mistakes: &mut Mistakes, found: Option<&Found<'_>>) -> Option<Pace> {
        let mut time = |flag, text: &Option<String>| {
            let time = text.as_ref().map(|text| mistakes.duration(flag, text));
            if time == Some(Some(Duration::ZERO)) {
                mistakes.add(format!("{flag} 0s: expected more than no time at all"));
            }
            time
        };
        let interval = time("--interval", &self.interval);
        let timeout = time("--timeout", &self.timeout);
        let grace = mistakes.duration("--grace", &self.grace);
        let flags = Said {
            interval: interval.flatten(),
            timeout: timeout.flatten(),
        };
        let container = found.map_or_else(Said::default, |found| Said {
            interval: found.derived.interval,
            timeout: found.derived.timeout,
        });
        if let Some((timeout, interval)) = flags.contradiction() {
            mistakes.add(format!(
                "--timeout {timeout} must not be longer than --interval {interval}, or one attempt runs into the next"
            ));
        }
        if flags == Said::default()
            && let Some((timeout, interval)) = container.contradiction()
        {
            mistakes.add(format!(
                "the container's SERVICE_CHECK_TIMEOUT {timeout} is longer than its SERVICE_CHECK_INTERVAL {interval}: one attempt would run into the next; --timeout or --interval beat them"
            ));
        }
        // Given, but no time.
        if interval == Some(None) || timeout == Some(None) {
            return None;
        }
        let (interval, timeout) = flags.before(container);
        Some(Pace {
            interval,
            timeout,
            grace: grace?,
        })
    }

    fn on_failure(&self, mistakes: &mut Mistakes) -> Option<OnFailure> {
        match self.on_failure.as_str() {
            "withdraw" => Some(OnFailure::Withdraw),
            "mark" => Some(OnFailure::Mark),
            other => {
                mistakes.add(format!("--on-failure {other:?}: expected withdraw or mark"));
                None
            }
        }
    }

    fn ready(&self, mistakes: &mut Mistakes) -> Option<Ready> {
        match self.ready.as_str() {
            "announced" => Some(Ready::Announced),
            "routed" => Some(Ready::Routed),
            other => {
                mistakes.add(format!("--ready {other:?}: expected announced or routed"));
                None
            }
        }
    }
}

/// A small number.
pub(crate) fn count(mistakes: &mut Mistakes, flag: &str, text: &str) -> Option<u32> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (1..=1_000).contains(count));
    if count.is_none() {
        mistakes.add(format!("{flag} {text:?}: expected a number from 1 to 1000"));
    }
    count
}

#[cfg(test)]
mod tests;
