//! `sidekick hold`.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin::hold::StillRouted;
use crate::admin::overview::Overview;
use crate::admin::{Place, follow, hold};
use crate::cli::args::etcd;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::output::confirm;
use crate::cli::output::confirm::wait;
use crate::cli::output::exit::{Exit, note};
use crate::cli::output::stdout::Stdout;
use crate::etcd::pushers::Doubt;
use crate::model::{Hold, HoldScope, Host, Nonce, ServiceName};
use crate::systemd::notify;
use crate::util::clock;
use crate::util::did_you_mean::suggestion;
use crate::util::sanitize::short;
use crate::util::shutdown;
use crate::util::shutdown::Stop;

/// The longest reason, in bytes.
const MAX_REASON: usize = 200;

/// How many instances a sentence names.
const NAMED: usize = 5;

/// Takes an instance, a whole service, or every instance at a host out of rotation for a while, or puts it back.
///
/// It drains on every load balancer, as if it were leaving, and stays out until the time is over, even when this command
/// is killed; instances that are announced in the meantime are held too. Exit code 1 when there is no such instance,
/// service or host. Exit code 1 also when the hold is set but not every load balancer has applied it in time, or one
/// still sends traffic there: the last --min-servers of an upstream stay.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Examples:
  sidekick hold website/nginx1 --for 10m --reason 'disk full'
  sidekick hold --host 10.0.0.5 --for 1h --reason 'new kernel'
  sidekick hold website/nginx1 --release")]
pub(crate) struct Args {
    /// Service, or one instance of it.
    #[arg(value_name = "SERVICE[/INSTANCE]", env = "SIDEKICK_INSTANCE")]
    id: Option<String>,
    /// All instances at this host instead, of every service: an address or a name, as their records have it.
    #[arg(long, value_name = "HOST", env = "SIDEKICK_HOLD_HOST")]
    host: Option<String>,
    /// How long it stays out.
    #[arg(long = "for", value_name = "TIME", env = "SIDEKICK_HOLD_FOR")]
    length: Option<String>,
    /// Reason, for everybody who sees the hold.
    #[arg(long, value_name = "TEXT", env = "SIDEKICK_REASON")]
    reason: Option<String>,
    /// Puts it back at once.
    #[arg(long, env = "SIDEKICK_RELEASE")]
    release: bool,
    #[command(flatten)]
    drain: confirm::Args,

    #[command(flatten)]
    etcd: etcd::OneShot,
}

/// What to do.
enum Wish {
    Hold { reason: String, length: Duration },
    Release,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let scope = self.scope(&mut mistakes);
        let wish = self.wish(&mut mistakes);
        let within = self.drain.parse(&mut mistakes);
        let place = self.etcd.place(&mut mistakes);
        let all = scope.zip(wish).zip(within.zip(place));
        let ((scope, wish), (within, place)) = mistakes.none_or(all)?;
        let scope = match scope {
            HoldScope::Instance(id) => {
                HoldScope::Instance(crate::cli::args::names::named(&place, id).await?)
            }
            other => other,
        };
        match wish {
            Wish::Hold { reason, length } => take_out(&place, &scope, reason, length, within).await,
            Wish::Release => end(&place, &scope, within).await,
        }
    }

    fn scope(&self, mistakes: &mut Mistakes) -> Option<HoldScope> {
        const NAME: &str = "SERVICE[/INSTANCE]";
        match (self.id.as_deref(), self.host.as_deref()) {
            (None, None) => {
                mistakes.add(format!("{NAME} is missing, or --host HOST"));
                None
            }
            (Some(id), Some(host)) => {
                mistakes.add(format!(
                    "--host {host:?}: either a host is held or {NAME}, here {id:?}"
                ));
                None
            }
            (Some(id), None) if id.contains('/') => {
                mistakes.parse(NAME, id).map(HoldScope::Instance)
            }
            (Some(service), None) => mistakes.parse(NAME, service).map(HoldScope::Service),
            (None, Some(host)) => {
                let host: Option<Host> = mistakes.parse("--host", host);
                host.map(|host| HoldScope::host(&host))
            }
        }
    }

    fn wish(&self, mistakes: &mut Mistakes) -> Option<Wish> {
        if self.release {
            return Some(Wish::Release);
        }
        let length = mistakes.required("--for", self.length.as_deref());
        let length = length.and_then(|text| etcd::length(mistakes, "--for", text));
        let reason = mistakes.required("--reason", self.reason.as_deref());
        let reason = reason.map(str::trim);
        if reason.is_some_and(|reason| reason.is_empty()) {
            mistakes.add("--reason is empty: say why");
        }
        if reason.is_some_and(|reason| reason.len() > MAX_REASON) {
            mistakes.add(format!("--reason: longer than {MAX_REASON} bytes"));
        }
        if reason.is_some_and(|reason| reason.chars().any(char::is_control)) {
            mistakes.add("--reason: must be one line without control characters");
        }
        Some(Wish::Hold {
            reason: reason?.to_owned(),
            length: length?,
        })
    }
}

async fn take_out(
    place: &Place,
    scope: &HoldScope,
    reason: String,
    length: Duration,
    within: Duration,
) -> anyhow::Result<Exit> {
    let overview = follow::read(place, scope.service()).await?;
    let services = services(&overview, scope);
    if services.is_empty() {
        // The closest name may be of another service, which not every user may read.
        let all = follow::read(place, None).await.unwrap_or(overview);
        note(format_args!("{}", nothing(&all, scope)));
        return Ok(Exit::No);
    }
    // The lease counts from when etcd grants it, a moment later.
    let until = clock::seconds_from_now(length);
    let wanted = Hold {
        reason,
        until,
        by: somebody(),
        nonce: Some(Nonce::fresh()),
    };
    let revision = hold::hold(place, scope, &wanted, length).await?;
    // Only now: until something is written, a signal ends the command.
    let mut stop = shutdown::on_signals(notify::stopping)?;
    let what = format!("draining {scope}");
    let (exit, how) = wait_for_all(
        place,
        &services,
        revision,
        within,
        &mut stop,
        &what,
        Doubt::StillSends,
    )
    .await;
    let length = crate::util::duration::show(length);
    let until = until.map(|until| format!(", until {until}"));
    let until = until.unwrap_or_default();
    let whom = whom(&overview, scope);
    let still = hold::still_routed(place, &overview, scope).await;
    let but = still.as_deref().map(but).unwrap_or_default();
    writeln!(
        Stdout,
        "{scope}{whom} is held for {length}{until}: {how}{but}"
    )?;
    let still = still?;
    for StillRouted { id, pusher, reason } in still.iter().take(NAMED) {
        let reason = short(reason);
        note(format_args!(
            "{id} still takes traffic by {pusher}: {reason}"
        ));
    }
    if let Some(more @ 1..) = still.len().checked_sub(NAMED) {
        note(format_args!("and {more} more still take traffic"));
    }
    Ok(if still.is_empty() { exit } else { Exit::No })
}

/// Which instances still take traffic despite the hold; their reasons are printed apart.
fn but(still: &[StillRouted]) -> String {
    let ids: BTreeSet<_> = still.iter().map(|it| it.id.to_string()).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    match ids.len() {
        0 => String::new(),
        1 => format!(", but {} still takes traffic", named(&ids)),
        _ => format!(", but {} still take traffic", named(&ids)),
    }
}

async fn end(place: &Place, scope: &HoldScope, within: Duration) -> anyhow::Result<Exit> {
    let mut out = Stdout;
    let Some(revision) = hold::end(place, scope).await? else {
        writeln!(
            out,
            "{scope} is not held: nothing to do{}",
            others(place, scope).await?
        )?;
        return Ok(Exit::Done);
    };
    // Only now: until something is written, a signal ends the command.
    let mut stop = shutdown::on_signals(notify::stopping)?;
    let overview = follow::read(place, scope.service()).await?;
    let mut services = services(&overview, scope);
    services.extend(scope.service().cloned());
    let what = format!("ending the hold on {scope}");
    let (exit, how) = wait_for_all(
        place,
        &services,
        revision,
        within,
        &mut stop,
        &what,
        Doubt::Unaware,
    )
    .await;
    writeln!(
        out,
        "the hold on {scope} has ended: {how}{}",
        others(place, scope).await?
    )?;
    Ok(exit)
}

/// The services that have an instance in this scope.
fn services(overview: &Overview, scope: &HoldScope) -> BTreeSet<ServiceName> {
    let covered = overview.covered(scope);
    covered.map(|(id, _)| id.service.clone()).collect()
}

/// Why there is nothing to hold.
fn nothing(overview: &Overview, scope: &HoldScope) -> String {
    match scope {
        HoldScope::Instance(id) => {
            let known: Vec<_> = overview.ids().map(ToString::to_string).collect();
            let meant = suggestion(&id.to_string(), known.iter().map(String::as_str));
            format!("there is no instance {id}{meant}")
        }
        HoldScope::Service(service) => {
            let meant = suggestion(service.as_str(), overview.services());
            format!("there are no records of {service}{meant}")
        }
        HoldScope::Host(host) => {
            let known: BTreeSet<_> = overview.hosts().map(|host| host.to_string()).collect();
            let meant = suggestion(&host.to_string(), known.iter().map(String::as_str));
            format!("no record is at the host {host}{meant}")
        }
    }
}

/// Which instances the scope covers, unless it names the instance itself.
fn whom(overview: &Overview, scope: &HoldScope) -> String {
    if matches!(scope, HoldScope::Instance(_)) {
        return String::new();
    }
    let all: Vec<_> = overview
        .covered(scope)
        .map(|(id, _)| id.to_string())
        .collect();
    format!(" ({})", named(&all))
}

/// Instances of the scope that another hold still covers.
async fn others(place: &Place, scope: &HoldScope) -> anyhow::Result<String> {
    let overview = follow::read(place, scope.service()).await?;
    let held = services(&overview, scope).into_iter().flat_map(|service| {
        let instances = overview.instances(&service);
        let held = instances.filter_map(|(id, record, held)| {
            let host = &record.value.endpoint.host;
            let covered = scope.covers(&id.service, &id.instance, host);
            Some((id, held.filter(|_| covered)?))
        });
        let words = held.map(|(id, held)| match &held.scope {
            HoldScope::Instance(_) => id.to_string(),
            HoldScope::Service(_) => format!("{id} (as all of {service})"),
            HoldScope::Host(host) => format!("{id} (by host {host})"),
        });
        words.collect::<Vec<_>>()
    });
    let held: Vec<_> = held.collect();
    Ok(if held.is_empty() {
        String::new()
    } else {
        format!("; still held by another hold: {}", named(&held))
    })
}

fn named(all: &[String]) -> String {
    let shown = all.iter().take(NAMED).cloned().collect::<Vec<_>>();
    let shown = shown.join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Waits for the pushers of every service, with one timeout for all.
async fn wait_for_all(
    place: &Place,
    services: &BTreeSet<ServiceName>,
    revision: i64,
    within: Duration,
    stop: &mut Stop,
    what: &str,
    doubt: Doubt,
) -> (Exit, String) {
    if services.is_empty() {
        return (Exit::Done, "no instance matches it".to_owned());
    }
    let deadline = Instant::now() + within;
    let (mut exit, mut words) = (Exit::Done, Vec::new());
    for service in services {
        let left = deadline.saturating_duration_since(Instant::now());
        let (of_this, how) = wait(place, service, revision, left, stop, what, doubt).await;
        exit = match exit {
            Exit::Done => of_this,
            no => no,
        };
        words.push(match services.len() {
            1 => how,
            _ => format!("{service}: {how}"),
        });
    }
    (exit, words.join("; "))
}

/// `user@host`, as far as known.
fn somebody() -> Option<String> {
    let names = ["SUDO_USER", "USER", "LOGNAME"];
    let user = names.into_iter().find_map(|name| std::env::var(name).ok());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match (user, host.trim()) {
        (Some(user), "") => Some(user),
        (Some(user), host) => Some(format!("{user}@{host}")),
        (None, "") => None,
        (None, host) => Some(host.to_owned()),
    }
}
