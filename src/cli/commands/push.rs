//! `sidekick push`.

mod report;

use std::path::PathBuf;

use humantime::format_duration;

use crate::cli::args::etcd;
use crate::cli::args::given::Given;
use crate::cli::args::host_name::host;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::args::names::with_default;
use crate::cli::output::exit::Exit;
use crate::etcd::client::Cluster;
use crate::push::config::{Config, File, FromFlags, Invalid};
use crate::push::reconcile::Pacing;
use crate::push::{
    self, DRAIN_TIMEOUT, FORGET_AFTER, Outcome, Reload, Retired, Route, Settings, TTL, TargetError,
};
use crate::systemd::notify;
use crate::target::ApiUrl;
use crate::target::api::REQUEST_TIMEOUT;
use crate::upstream::guard::{Limits, MAX_PROTECT_FOR};
use crate::util::secret::Secret;
use crate::util::shutdown;

/// Keeps nginx's upstreams equal to the records.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Examples:
  sidekick push --nginx http://127.0.0.1:8080/api --upstream website
  sidekick push --config /etc/sidekick/push.toml")]
pub(crate) struct Args {
    /// URL of nginx's upstream API, without the version. May be given several times: sidekick updates each.
    #[arg(
        long,
        value_name = "URL",
        env = "SIDEKICK_NGINX",
        hide_env_values = true,
        value_delimiter = ','
    )]
    nginx: Vec<Secret>,
    /// Upstream and service, UPSTREAM=SERVICE, or UPSTREAM alone if both have the same name. May be given several times.
    #[arg(
        long,
        value_name = "NAME[=SERVICE]",
        env = "SIDEKICK_UPSTREAM",
        value_delimiter = ','
    )]
    upstream: Vec<String>,
    /// Configuration file for many nginx instances and upstreams: see sidekick-push.toml(5). Other flags beat it. SIGHUP reads it
    /// again.
    #[arg(long, value_name = "FILE", env = "SIDEKICK_CONFIG")]
    config: Option<String>,
    /// Name of this pusher, unique in etcd; by default, the host's name.
    #[arg(long, value_name = "NAME", env = "SIDEKICK_ID")]
    id: Option<String>,
    /// Makes the upstreams equal once, and exits.
    #[arg(long, env = "SIDEKICK_ONCE")]
    once: bool,
    /// Prints what would change, and exits. Exit code 2 if anything would.
    #[arg(long, env = "SIDEKICK_DRY_RUN")]
    dry_run: bool,
    /// Prints what the file of --config means, or every mistake in it (exit code 64), and exits.
    #[arg(long, env = "SIDEKICK_CHECK_CONFIG")]
    check_config: bool,
    /// Removes the keys of the pusher --id from etcd, for a load balancer that is gone for good, and exits. Exit code 1
    /// if that pusher still runs. Without this, announcers that leave count its targets for --forget-after.
    #[arg(long, env = "SIDEKICK_RETIRE")]
    retire: bool,
    /// Takes over a file that is not sidekick's own, if it has only `upstream` blocks (as confd writes it). Says what it
    /// replaces.
    #[arg(long, env = "SIDEKICK_ADOPT")]
    adopt: bool,
    /// Output of --once and --dry-run: text, or json with one object for each upstream.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        env = "SIDEKICK_OUTPUT"
    )]
    output: String,

    #[arg(
        long,
        value_name = "TIME",
        env = "SIDEKICK_DEBOUNCE",
        help_heading = "Pace",
        help = with_default("How long to wait for further changes before applying one", format_duration(Pacing::default().debounce()))
    )]
    debounce: Option<String>,
    #[arg(
        long,
        value_name = "TIME",
        env = "SIDEKICK_RESYNC",
        help_heading = "Pace",
        help = with_default("How often to read nginx and repair it without a change in etcd", format_duration(Pacing::default().resync()))
    )]
    resync: Option<String>,
    #[arg(
        long,
        value_name = "TIME",
        env = "SIDEKICK_REQUEST_TIMEOUT",
        help_heading = "Pace",
        help = with_default("Timeout of one request to nginx", format_duration(REQUEST_TIMEOUT))
    )]
    request_timeout: Option<String>,
    #[arg(
        long,
        value_name = "TIME",
        env = "SIDEKICK_DRAIN_TIMEOUT",
        help_heading = "Pace",
        help = with_default("How long a draining server may take to finish before it is removed", format_duration(DRAIN_TIMEOUT))
    )]
    drain_timeout: Option<String>,
    #[arg(
        long,
        value_name = "TIME",
        env = "SIDEKICK_TTL",
        help_heading = "Pace",
        help = with_default("How long this pusher counts as alive after it was killed", format_duration(TTL))
    )]
    ttl: Option<String>,
    #[arg(
        long,
        value_name = "TIME",
        env = "SIDEKICK_FORGET_AFTER",
        help_heading = "Pace",
        help = with_default("How long announcers count the targets of a pusher that is away, as its nginx keeps routing", format_duration(FORGET_AFTER))
    )]
    forget_after: Option<String>,

    #[arg(
        long,
        value_name = "N",
        env = "SIDEKICK_MIN_SERVERS",
        help_heading = "Removal guard",
        help = with_default("Least number of servers that an upstream keeps in rotation, whatever their records say; 0 for none", Limits::default().min_servers)
    )]
    min_servers: Option<String>,
    #[arg(
        long,
        value_name = "N%|N",
        env = "SIDEKICK_MAX_REMOVAL",
        help_heading = "Removal guard",
        help = with_default("How much of an upstream may vanish within --hold without a withdrawal notice: a share, or a number of servers", Limits::default().max_removal)
    )]
    max_removal: Option<String>,
    #[arg(
        long,
        value_name = "TIME",
        env = "SIDEKICK_HOLD",
        help_heading = "Removal guard",
        help = with_default("How long vanished servers stay if more vanish than that, unless they are dead; 0s to let them go", format_duration(Limits::default().protect_for))
    )]
    hold: Option<String>,

    #[command(flatten)]
    etcd: etcd::Args,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes, given: &Given) -> anyhow::Result<Exit> {
        // Before reading the file: a SIGHUP that arrives now must not end the process.
        let stays = !(self.once || self.dry_run || self.check_config || self.retire);
        let hangups = stays.then(shutdown::hangups).transpose()?;
        shutdown::unblock_signals();
        // Check everything before the first `?`, to report every mistake at once.
        self.check_modes(&mut mistakes);
        let cluster = self.etcd.cluster(&mut mistakes);
        let overrides = self.overrides(&mut mistakes);
        if self.retire {
            return self.retire(&overrides, cluster, mistakes).await;
        }
        let file = self.config.as_ref().map(|path| File {
            path: PathBuf::from(path),
            overrides: overrides.clone(),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        });
        let settings = match &file {
            Some(file) => self.settings_of(file, &mut mistakes),
            None => self.settings_of_flags(&overrides, &mut mistakes),
        };
        if given.is_said("adopt")
            && let Some((settings, config)) = settings.as_ref().zip(self.config.as_ref())
            && !settings
                .targets
                .iter()
                .any(|target| target.settings().is_file())
        {
            mistakes.add(format!(
                "--adopt: {config} has no target with `file`, and nothing else can be taken over"
            ));
        }
        let output = mistakes.parse("--output", &self.output);
        let (settings, (cluster, output)) = mistakes.none_or(settings.zip(cluster.zip(output)))?;
        if self.check_config {
            return report::settings(&settings);
        }
        if self.dry_run {
            return report::differences(push::compare(&settings, &cluster).await?, output);
        }
        if self.once {
            let mut stop = shutdown::on_signals(notify::stopping)?;
            let done = tokio::select! {
                done = push::once(&settings, &cluster) => done?,
                () = stop.leave() => {
                    push::leave(&settings).await;
                    return Ok(Exit::No);
                }
            };
            return report::outcomes(done, output);
        }
        let reload = hangups.map(|hangups| Reload { file, hangups });
        let stop = shutdown::of_agent(notify::stopping)?;
        Ok(match push::run(settings, cluster, reload, stop).await {
            Outcome::Left => Exit::Done,
            Outcome::Deposed { .. } => Exit::Deposed,
            Outcome::Broken => Exit::Bug,
        })
    }

    /// Removes the keys of a pusher that does not come back.
    async fn retire(
        &self,
        overrides: &FromFlags,
        cluster: Option<Cluster>,
        mut mistakes: Mistakes,
    ) -> anyhow::Result<Exit> {
        let prefixes = self.etcd.prefixes(&mut mistakes);
        let id = overrides.id.as_ref().or(overrides.host.as_ref()).cloned();
        if id.is_none() {
            mistakes.add("--retire needs --id: this host's name cannot replace it");
        }
        let (id, (cluster, (_, meta))) = mistakes.none_or(id.zip(cluster.zip(prefixes)))?;
        let (line, exit) = match push::retire(&cluster, &meta, &id).await? {
            Retired::Lives => (
                format!(
                    "pusher {id} is running, or was killed just now: stop it, wait until its --ttl is over, and try again"
                ),
                Exit::No,
            ),
            Retired::Gone => (
                format!("pusher {id} is retired: announcers no longer wait for its load balancers"),
                Exit::Done,
            ),
            Retired::Unknown => (
                format!("there is no pusher {id} below {meta}/ in etcd: nothing to do"),
                Exit::Done,
            ),
        };
        report::line(&line)?;
        Ok(exit)
    }

    /// Refuses more than one mode at once.
    fn check_modes(&self, mistakes: &mut Mistakes) {
        let modes = [
            ("--once", self.once),
            ("--dry-run", self.dry_run),
            ("--check-config", self.check_config),
            ("--retire", self.retire),
        ];
        let given = modes.into_iter().filter(|(_, given)| *given);
        let given: Vec<_> = given.map(|(flag, _)| flag).collect();
        if given.len() > 1 {
            mistakes.add(format!("{}: give one of them", given.join(" and ")));
        }
        if self.check_config && self.config.is_none() {
            mistakes.add("--check-config needs --config FILE");
        }
    }

    /// Flags that beat the file. Wrong ones are noted and count as not given.
    fn overrides(&self, mistakes: &mut Mistakes) -> FromFlags {
        let (prefix, meta_prefix) = self.etcd.given_prefixes(mistakes);
        let mut time = |flag: &str, text: &Option<String>| mistakes.duration(flag, text.as_ref()?);
        let debounce = time("--debounce", &self.debounce);
        let resync = time("--resync", &self.resync);
        let request_timeout = time("--request-timeout", &self.request_timeout);
        let drain_timeout = time("--drain-timeout", &self.drain_timeout);
        let hold = time("--hold", &self.hold);
        if hold.is_some_and(|hold| hold > MAX_PROTECT_FOR) {
            let max = format_duration(MAX_PROTECT_FOR);
            mistakes.add(format!("--hold: longer than {max}"));
        }
        let usual = Pacing::default();
        let debounce = debounce.filter(|time| {
            let paced = usual.with_debounce(*time);
            mistakes.check("--debounce", paced).is_some()
        });
        let resync = resync.filter(|time| {
            let paced = usual.with_resync(*time);
            mistakes.check("--resync", paced).is_some()
        });
        let ttl = self.ttl.as_ref().and_then(|text| etcd::ttl(mistakes, text));
        let forget_after = self.forget_after.as_ref();
        let forget_after =
            forget_after.and_then(|text| etcd::length(mistakes, "--forget-after", text));
        FromFlags {
            id: self.id.as_ref().and_then(|id| mistakes.parse("--id", id)),
            host: host(),
            prefix,
            meta_prefix,
            debounce,
            resync,
            ttl,
            forget_after,
            request_timeout,
            drain_timeout,
            min_servers: self.min_servers(mistakes),
            max_removal: self
                .max_removal
                .as_ref()
                .and_then(|share| mistakes.parse("--max-removal", share)),
            hold,
            adopt: self.adopt,
        }
    }

    fn min_servers(&self, mistakes: &mut Mistakes) -> Option<usize> {
        let text = self.min_servers.as_ref()?;
        let number = text.parse().ok();
        if number.is_none() {
            let shown = crate::util::sanitize::short(text);
            mistakes.add(format!(
                "--min-servers {shown:?}: expected a number of servers"
            ));
        }
        number
    }

    fn settings_of(&self, file: &File, mistakes: &mut Mistakes) -> Option<Settings> {
        let given = [
            ("--nginx", !self.nginx.is_empty()),
            ("--upstream", !self.upstream.is_empty()),
        ];
        for (flag, given) in given {
            if given {
                mistakes.add(format!(
                    "{flag} and --config: the file has the targets and upstreams; give one of them"
                ));
            }
        }
        let read = file.read();
        let invalid = read.as_ref().err().into_iter();
        for line in invalid.flat_map(Invalid::lines) {
            mistakes.add(line);
        }
        read.ok()
    }

    /// The settings that the flags stand for, as a small file would.
    fn settings_of_flags(
        &self,
        overrides: &FromFlags,
        mistakes: &mut Mistakes,
    ) -> Option<Settings> {
        let torn = |url: &&Secret| url.reveal().contains('@') && !url.reveal().contains("://");
        if self.nginx.iter().any(|url| torn(&url)) {
            // Either half may contain part of the password.
            mistakes.add(
                "--nginx: a URL must begin with http:// or https://; a comma divides URLs: write %2C for one in a login",
            );
            return None;
        }
        let urls = self
            .nginx
            .iter()
            .map(|url| mistakes.parse_url("--nginx", url));
        let urls: Vec<Option<ApiUrl>> = urls.collect();
        let routes = self.upstream.iter();
        let routes: Vec<Option<Route>> = routes
            .map(|route| mistakes.parse("--upstream", route))
            .collect();
        for (flag, given) in [("--nginx", urls.len()), ("--upstream", routes.len())] {
            if given == 0 && !self.check_config {
                mistakes.add(format!("{flag} is missing"));
            }
        }
        let urls: Vec<_> = urls.into_iter().collect::<Option<_>>()?;
        let routes: Vec<_> = routes.into_iter().collect::<Option<_>>()?;
        for (number, route) in routes.iter().enumerate() {
            let mut former = routes[..number].iter();
            if former.any(|former| former.upstream == route.upstream) {
                let twice = TargetError::Twice(route.upstream.clone());
                mistakes.add(format!("--upstream: {twice}"));
                return None;
            }
        }
        let config = Config::of_flags(urls, &routes);
        let settings = overrides.settings(&config);
        let wrong = settings.as_ref().err().into_iter().flatten();
        wrong.for_each(|mistake| mistakes.add(mistake.text.as_str()));
        settings.ok()
    }
}
