//! `sidekick announce`.

use std::io::Write as _;

use crate::announce::container::{Pairing, Run, run_paired};
use crate::announce::handover::Handover;
use crate::announce::phase::OnFailure;
use crate::announce::reload::{self, Program, Reload};
use crate::announce::{self, Outcome, Settings};
use crate::cli::args::container::{self, Found, Looked};
use crate::cli::args::mistakes::Invalid;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::args::pace::PaceArgs;
use crate::cli::args::start_stop::Timing;
use crate::cli::args::{etcd, probe, record, start_stop};
use crate::cli::output::exit::Exit;
use crate::cli::output::stdout::Stdout;
use crate::docker::identity::{Identity, Problem, identify};
use crate::etcd::client::Cluster;
use crate::etcd::lease;
use crate::model::{Address, Format, InstanceId, Record};
use crate::systemd::notify;
use crate::systemd::stop_timeout::StopTimeout;
use crate::systemd::unit_file::Socket;
use crate::util::duration;
use crate::util::shutdown;

/// Announces one backend while it works.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Examples:
  sidekick announce website/nginx1 10.0.0.5:8080/52c7248a14 --probe /health
  sidekick announce --container nginx1 --probe /health")]
pub(crate) struct Args {
    /// Service and instance.
    #[arg(value_name = "SERVICE/INSTANCE", env = "SIDEKICK_INSTANCE")]
    id: Option<String>,
    /// Address for clients, and the version that runs there.
    #[arg(value_name = "HOST:PORT[/VERSION]", env = "SIDEKICK_ADDRESS")]
    address: Option<String>,

    #[command(flatten)]
    container: container::Flags,
    #[command(flatten)]
    probe: probe::Flags,

    /// What to do with the record of a backend that fails: withdraw it, or mark it as down.
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

    #[command(flatten)]
    start_stop: start_stop::Flags,

    #[command(flatten)]
    pub(crate) etcd: etcd::Args,
}

/// What to announce.
enum Subject {
    /// One instance, given completely.
    Instance(Box<Settings>),
    /// Each run of a container, which provides the rest.
    Container(Box<Pairing>),
}

impl Args {
    /// Announces; a `trial` only checks whether this program can take over from the handover on its standard input.
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
        let stop = shutdown::of_agent(notify::stopping)?;
        // The handlers stand: unblock the signals, also those that were sent to the former image.
        shutdown::unblock_signals();
        let stop_timeout = StopTimeout::of_main_process(std::process::id()).await;
        let (subject, cluster) = self.checked(mistakes, stop_timeout.as_ref()).await?;
        // It can be read only once: first check everything else.
        let mut handover = Handover::of_former_image().unwrap_or_default();
        loop {
            let (cluster, stop) = (cluster.clone(), stop.clone());
            let outcome = match &subject {
                Subject::Instance(settings) => {
                    let settings = (**settings).clone();
                    Box::pin(announce::run(
                        settings,
                        cluster,
                        stop,
                        &mut reload,
                        handover,
                    ))
                    .await
                }
                Subject::Container(pairing) => {
                    let origin = |run: &Run| self.settings_of_run(pairing, run).map(|(it, _)| it);
                    let pairing = (**pairing).clone();
                    let running =
                        run_paired(pairing, &origin, cluster, stop, &mut reload, handover);
                    let outcome = Box::pin(running).await;
                    outcome.map_err(|refused| Invalid::from(refused.to_string()))?
                }
            };
            match outcome {
                Outcome::Left => return Ok(Exit::Done),
                Outcome::Deposed { .. } => return Ok(Exit::Deposed),
                Outcome::NeverRan { why } => {
                    let (name, limit) = (self.container.container, self.container.start_timeout);
                    let name = name.unwrap_or_default();
                    anyhow::bail!(
                        "container {name} {why}, and has not run within {limit} (--start-timeout); give --on-gone wait to wait for it"
                    )
                }
                Outcome::HandOver(state) => {
                    reload.exec(&state).await;
                    handover = *state;
                }
            }
        }
    }

    /// Whether this program could take over: reads everything, and contacts nobody except the container's daemon.
    async fn try_out(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let handover = mistakes.check("handover", Handover::read(std::io::stdin()));
        // The process that runs the trial is the unit's main process.
        let main = std::os::unix::process::parent_id();
        let stop_timeout = StopTimeout::of_main_process(main).await;
        let (subject, _) = self.checked(mistakes, stop_timeout.as_ref()).await?;
        if let Subject::Container(pairing) = &subject
            && handover.is_some_and(|handover| handover.is_announced())
        {
            let run = container::find(pairing).await?;
            let Looked::Runs(run) = run else {
                anyhow::bail!("container {} does not run", pairing.container);
            };
            if let Err(mistakes) = self.settings_of_run(pairing, &run) {
                return Err(container::refused(pairing, &mistakes).into());
            }
        }
        writeln!(Stdout, "{}", reload::YES)?;
        Ok(Exit::Done)
    }

    /// What to announce, and where, if everything is right that does not depend on the container.
    async fn checked(
        &self,
        mut mistakes: Mistakes,
        stop_timeout: Option<&StopTimeout>,
    ) -> Result<(Subject, Cluster), Invalid> {
        self.start_stop
            .check_stop_timeout(&mut mistakes, stop_timeout);
        let cluster = self.etcd.cluster(&mut mistakes);
        self.check_name(&mut mistakes).await;
        let settings = self.settings(&mut mistakes, None);
        let subject = match self.is_paired() {
            true => {
                (self.pairing(&mut mistakes)).map(|pairing| Subject::Container(Box::new(pairing)))
            }
            false => settings.map(|settings| Subject::Instance(Box::new(settings))),
        };
        mistakes.none_or(subject.zip(cluster))
    }

    /// Which container, if the flags name one.
    pub(crate) fn pairing(&self, mistakes: &mut Mistakes) -> Option<Pairing> {
        let id = self.id.as_deref();
        let id = id.and_then(|text| mistakes.parse("SERVICE/INSTANCE", text));
        let address = self.address.as_deref();
        let address = address.and_then(|text| mistakes.parse("HOST:PORT[/VERSION]", text));
        self.container.pairing(mistakes, id, address)
    }

    /// Refuses a name that resolves only to this host's own addresses.
    pub(crate) async fn check_name(&self, mistakes: &mut Mistakes) {
        let address = self.address.as_deref();
        self.about.check_name(mistakes, address).await;
    }

    /// Whether the flags name a container.
    pub(crate) fn is_paired(&self) -> bool {
        self.container.container.is_some()
    }

    /// The daemon's socket.
    pub(crate) fn socket(&self) -> Socket {
        self.container.socket()
    }

    /// The likely name of its unit: the container's name, or the instance's.
    pub(crate) fn name(&self) -> Option<String> {
        let instance = self.id.as_deref().and_then(|id| id.split_once('/'));
        let instance = instance.map(|(_, instance)| instance);
        self.container
            .container
            .as_deref()
            .or(instance)
            .map(str::to_owned)
    }

    /// `HOST:CONTAINER`, the port that a container must publish to be reached at the announced address.
    pub(crate) fn published(&self) -> Option<String> {
        let address: Address = self.address.as_deref()?.parse().ok()?;
        let port = address.endpoint.port.to_string();
        let inside = self.container.container_port.as_deref().unwrap_or(&port);
        Some(format!("{port}:{inside}"))
    }

    /// The durations. Wrong ones count as none: they are refused elsewhere.
    pub(crate) fn timing(&self) -> Timing {
        let read = |text: &str| duration::read(text).unwrap_or_default();
        let (interval, timeout) = self.probe.pace_args().before(PaceArgs::default());
        Timing {
            slowest: (interval + timeout)
                .max(read(&self.ttl) / 3)
                .max(lease::SLOWEST_ATTEMPT),
            leaving: read(&self.start_stop.drain_timeout) + read(&self.start_stop.linger),
        }
    }

    /// The settings of one run; none while the container is not known, but mistakes are noted.
    pub(crate) fn settings(
        &self,
        mistakes: &mut Mistakes,
        found: Option<&Found<'_>>,
    ) -> Option<Settings> {
        // Check everything before the first `?`, to report every mistake at once.
        let id = self.identity(mistakes, found);
        let record = self.record(mistakes, found);
        let prefixes = self.etcd.prefixes(mistakes);
        let endpoint = record.as_ref().map(|record| &record.endpoint);
        let probes = (self.probe).probes(mistakes, endpoint, self.is_paired(), found);
        let pace = self.probe.pace(mistakes, found);
        let rise = self.probe.rise(mistakes);
        let fall = self.probe.fall(mistakes);
        let format = self.about.format(mistakes);
        let on_failure = self.on_failure(mistakes);
        let ttl = etcd::ttl(mistakes, &self.ttl);
        let ready = self.start_stop.ready(mistakes);
        let drain_timeout = mistakes.duration("--drain-timeout", &self.start_stop.drain_timeout);
        let linger = mistakes.duration("--linger", &self.start_stop.linger);
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

    /// The settings of a run, and their sources.
    pub(crate) fn settings_of_run(
        &self,
        pairing: &Pairing,
        run: &Run,
    ) -> Result<(Settings, Identity), announce::container::Mistakes> {
        let mut mistakes = Mistakes::default();
        let identity = match identify(&pairing.wanted, &run.container, &run.host) {
            Ok(identity) => identity,
            Err(problems) => {
                let said = problems.iter().map(ToString::to_string);
                return Err(announce::container::Mistakes {
                    said: said.collect(),
                    passing: problems.iter().all(Problem::is_passing),
                });
            }
        };
        for note in &identity.notes {
            tracing::warn!("{note}");
        }
        let found = Found {
            identity: &identity,
            run,
        };
        let settings = self.settings(&mut mistakes, Some(&found));
        match mistakes.none_or(settings).map_err(Invalid::into_mistakes) {
            Ok(settings) => Ok((settings, identity)),
            Err(said) => Err(announce::container::Mistakes {
                said,
                passing: false,
            }),
        }
    }

    fn identity(&self, mistakes: &mut Mistakes, found: Option<&Found<'_>>) -> Option<InstanceId> {
        if self.is_paired() {
            return found.map(|found| found.identity.id.clone());
        }
        mistakes
            .required("SERVICE/INSTANCE", self.id.as_deref())
            .and_then(|text| mistakes.parse("SERVICE/INSTANCE", text))
    }

    fn record(&self, mistakes: &mut Mistakes, found: Option<&Found<'_>>) -> Option<Record> {
        let base = self.base_record(mistakes, found);
        let resolved = found.map_or(&[][..], |found| &found.identity.resolved);
        self.about.complete_at(mistakes, base, resolved)
    }

    /// The record without the options that add to it.
    fn base_record(&self, mistakes: &mut Mistakes, found: Option<&Found<'_>>) -> Option<Record> {
        if self.is_paired() {
            return found.map(|found| found.identity.record());
        }
        let place = "HOST:PORT[/VERSION]";
        let address: Option<Address> = mistakes
            .required(place, self.address.as_deref())
            .and_then(|text| mistakes.parse(place, text));
        let beside = address.as_ref().and_then(|it| it.version.clone());
        let version = self.container.version(mistakes, beside);
        address.map(|address| Record {
            version,
            ..Record::from(address)
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
}

#[cfg(test)]
mod tests;
