//! `sidekick push`.

use std::io::Write;
use std::sync::Arc;

use super::{Exit, Mistakes, etcd};
use crate::desired::{Limits, MAX_HOLD};
use crate::push::{self, Kind, Outcome, Route, RouteResult, Settings, Target};
use crate::reconcile::Pacing;
use crate::record::PusherId;
use crate::registry::client::Cluster;
use crate::stop;
use crate::upstream::{self, ApiUrl, Progress};

/// Keeps nginx's upstreams equal to the records.
///
/// Example: sidekick push --nginx http://127.0.0.1:8080/api --upstream website
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Where nginx serves its upstream API, without the version. May be given several times: each is kept equal.
    #[arg(
        long,
        value_name = "URL",
        env = "SIDEKICK_NGINX",
        value_delimiter = ','
    )]
    nginx: Vec<String>,
    /// Which upstream takes which service; the same name where no service is given. May be given several times.
    #[arg(
        long,
        value_name = "NAME[=SERVICE]",
        env = "SIDEKICK_UPSTREAM",
        value_delimiter = ','
    )]
    upstream: Vec<String>,
    /// Name of this pusher, unique in etcd; the host's name when absent.
    #[arg(long, value_name = "NAME", env = "SIDEKICK_ID")]
    id: Option<String>,
    /// Makes the upstreams equal once, and ends.
    #[arg(long, env = "SIDEKICK_ONCE")]
    once: bool,
    /// Says what would be changed, and ends: with 2 when anything would be.
    #[arg(long, env = "SIDEKICK_DRY_RUN")]
    dry_run: bool,

    /// How long a change waits for others to follow it.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5ms",
        env = "SIDEKICK_DEBOUNCE",
        help_heading = "Pace"
    )]
    debounce: String,
    /// How often nginx is read and repaired although nothing changed.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        env = "SIDEKICK_RESYNC",
        help_heading = "Pace"
    )]
    resync: String,
    /// How long nginx may take to answer one request.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "2s",
        env = "SIDEKICK_REQUEST_TIMEOUT",
        help_heading = "Pace"
    )]
    request_timeout: String,
    /// How long a draining server may take to finish before it is removed.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        env = "SIDEKICK_DRAIN_TIMEOUT",
        help_heading = "Pace"
    )]
    drain_timeout: String,
    /// How long this pusher counts as alive after it was killed.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "15s",
        env = "SIDEKICK_TTL",
        help_heading = "Pace"
    )]
    ttl: String,

    /// How many servers an upstream keeps in rotation at least, whatever their records say; 0 for none.
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        env = "SIDEKICK_MIN_SERVERS",
        help_heading = "Nothing by accident"
    )]
    min_servers: String,
    /// How much of an upstream may vanish without a goodbye within --hold: a share, or a number of servers.
    #[arg(
        long,
        value_name = "N%|N",
        default_value = "50%",
        env = "SIDEKICK_MAX_REMOVAL",
        help_heading = "Nothing by accident"
    )]
    max_removal: String,
    /// How long those that vanish stay when they are more, unless they are dead; 0s to let them go.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1m",
        env = "SIDEKICK_HOLD",
        help_heading = "Nothing by accident"
    )]
    hold: String,

    #[command(flatten)]
    etcd: etcd::Args,
}

impl Args {
    pub(super) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let settings = self.settings(&mut mistakes);
        let cluster = self.etcd.cluster(&mut mistakes);
        let (settings, cluster) = mistakes.none_or(settings.zip(cluster))?;
        if self.dry_run {
            return dry_run(&settings, &cluster).await;
        }
        if self.once {
            return once(&settings, &cluster).await;
        }
        let stop = stop::on_signals()?;
        Ok(match push::run(settings, cluster, stop).await {
            Outcome::Left => Exit::Done,
            Outcome::Deposed { .. } => Exit::Deposed,
            Outcome::Broken => Exit::Bug,
        })
    }

    fn settings(&self, mistakes: &mut Mistakes) -> Option<Settings> {
        // Everything is looked at before the first `?`, so that one run reports every mistake.
        let id = self.id(mistakes);
        let prefixes = self.etcd.prefixes(mistakes);
        let targets = self.targets(mistakes);
        let pacing = self.pacing(mistakes);
        let ttl = etcd::ttl(mistakes, &self.ttl);
        if self.once && self.dry_run {
            mistakes.add("--once and --dry-run: give one of them");
        }
        let (prefix, meta) = prefixes?;
        Some(Settings {
            id: id?,
            prefix,
            meta,
            targets: targets?,
            pacing: pacing?,
            ttl: ttl?,
        })
    }

    fn id(&self, mistakes: &mut Mistakes) -> Option<PusherId> {
        if let Some(id) = &self.id {
            return mistakes.parse("--id", id);
        }
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let id = name.trim().parse();
        if id.is_err() {
            mistakes.add("--id is missing, and this host's name cannot stand for it");
        }
        id.ok()
    }

    fn targets(&self, mistakes: &mut Mistakes) -> Option<Vec<Target>> {
        let urls = self.nginx.iter().map(|url| mistakes.parse("--nginx", url));
        let urls: Vec<Option<ApiUrl>> = urls.collect();
        let routes = self.upstream.iter();
        let routes: Vec<Option<Route>> = routes
            .map(|route| mistakes.parse("--upstream", route))
            .collect();
        let timeout = mistakes.duration("--request-timeout", &self.request_timeout);
        let drain_timeout = mistakes.duration("--drain-timeout", &self.drain_timeout);
        let limits = self.limits(mistakes);
        for (flag, given) in [("--nginx", urls.len()), ("--upstream", routes.len())] {
            if given == 0 {
                mistakes.add(format!("{flag} is missing"));
            }
        }
        let urls: Vec<_> = urls.into_iter().collect::<Option<_>>()?;
        let routes: Vec<_> = routes.into_iter().collect::<Option<_>>()?;
        let (timeout, drain_timeout) = timeout.zip(drain_timeout)?;
        let limits = limits?;
        if urls.is_empty() || routes.is_empty() {
            return None;
        }
        let routes = routes.into_iter().map(|route| {
            Arc::new(Route {
                drain_timeout,
                limits,
                ..route
            })
        });
        let routes: Vec<_> = routes.collect();
        let targets = urls.into_iter().map(|url| {
            let name = url.to_string();
            let kind = mistakes.check("--nginx", Kind::plus(url, timeout))?;
            mistakes.check("--upstream", Target::new(&name, kind, routes.clone()))
        });
        targets.collect()
    }

    fn limits(&self, mistakes: &mut Mistakes) -> Option<Limits> {
        let min_servers = self.min_servers.parse().ok();
        if min_servers.is_none() {
            let shown = crate::printable::short(&self.min_servers);
            mistakes.add(format!(
                "--min-servers {shown:?}: expected a number of servers"
            ));
        }
        let max_removal = mistakes.parse("--max-removal", &self.max_removal);
        let hold = mistakes.duration("--hold", &self.hold);
        if hold.is_some_and(|hold| hold > MAX_HOLD) {
            let max = humantime::format_duration(MAX_HOLD);
            mistakes.add(format!("--hold {}: longer than {max}", self.hold));
        }
        Some(Limits {
            min_servers: min_servers?,
            max_removal: max_removal?,
            hold: hold?,
        })
    }

    fn pacing(&self, mistakes: &mut Mistakes) -> Option<Pacing> {
        let debounce = mistakes.duration("--debounce", &self.debounce);
        let resync = mistakes.duration("--resync", &self.resync);
        let debounced = debounce.map(|debounce| Pacing::default().with_debounce(debounce));
        let debounced = debounced.and_then(|pacing| mistakes.check("--debounce", pacing));
        let resynced = resync.map(|resync| debounced.unwrap_or_default().with_resync(resync));
        let resynced = resynced.and_then(|pacing| mistakes.check("--resync", pacing));
        debounced.and(resynced)
    }
}

/// Says what would be changed.
async fn dry_run(settings: &Settings, cluster: &Cluster) -> anyhow::Result<Exit> {
    let results = push::compare(settings, cluster).await?;
    report(results, |difference, say| {
        if difference.is_none() {
            say("equal to the records")?;
            return Ok(Exit::Done);
        }
        let lines = difference.to_string();
        lines.lines().try_for_each(say)?;
        Ok(Exit::Different)
    })
}

/// Makes every upstream equal, and says so.
async fn once(settings: &Settings, cluster: &Cluster) -> anyhow::Result<Exit> {
    let results = push::once(settings, cluster).await?;
    report(results, |outcome, say| {
        let done = outcome.progress == Progress::Converged;
        say(match done {
            true => "equal to the records",
            false => "still draining",
        })?;
        for (step, reason) in &outcome.refused {
            say(&format!("cannot {step}: {reason}"))?;
        }
        let equal = done && outcome.refused.is_empty();
        Ok(if equal { Exit::Done } else { Exit::No })
    })
}

/// Says a line, under the name of its upstream.
type Say<'a> = &'a mut dyn FnMut(&str) -> std::io::Result<()>;

/// Says what became of every upstream; the gravest exit code counts.
fn report<T>(
    results: Vec<RouteResult<T>>,
    each: impl Fn(&T, Say<'_>) -> std::io::Result<Exit>,
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    let mut out = std::io::stdout().lock();
    for RouteResult {
        target,
        route,
        result,
    } in results
    {
        let place = format!("{target} {}", route.upstream);
        let mut say = |line: &str| writeln!(out, "{place}: {line}");
        exit = exit.max(match result {
            Ok(found) => each(&found, &mut say)?,
            Err(error) => unreachable(&place, &error),
        });
    }
    Ok(exit)
}

fn unreachable(place: &str, error: &upstream::Error) -> Exit {
    super::exit::say(&format!("sidekick: {place}: {error}"));
    Exit::Unavailable
}
