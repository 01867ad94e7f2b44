//! `sidekick hold`.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::settled::{self, wait};
use super::{Exit, Mistakes, etcd, instance};
use crate::hand::{Place, follow, hold};
use crate::nearest::suggestion;
use crate::record::{Hold, InstanceId, Nonce};
use crate::stop;

/// The longest reason, in bytes.
const MAX_REASON: usize = 200;

/// Takes an instance out of rotation for a while, or puts it back.
///
/// It drains as if it were leaving, on every load balancer, and stays out until the time is over, whatever happens to
/// the one who asked. Exit code 1 when there is no such instance, or when not every load balancer has applied it in time:
/// the hold stands all the same.
///
/// Examples: sidekick hold website/nginx1 --for 10m --reason 'disk full',
/// and sidekick hold website/nginx1 --release
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Which instance of which service.
    #[arg(value_name = "SERVICE/INSTANCE", env = "SIDEKICK_INSTANCE")]
    id: Option<String>,
    /// How long it is out.
    #[arg(long = "for", value_name = "TIME", env = "SIDEKICK_HOLD_FOR")]
    length: Option<String>,
    /// Why, for everybody who wonders.
    #[arg(long, value_name = "TEXT", env = "SIDEKICK_REASON")]
    reason: Option<String>,
    /// Puts it back at once.
    #[arg(long, env = "SIDEKICK_RELEASE")]
    release: bool,
    #[command(flatten)]
    drain: settled::Args,

    #[command(flatten)]
    etcd: etcd::OneShot,
}

/// What is asked for.
enum Wish {
    Hold { reason: String, length: Duration },
    Release,
}

impl Args {
    pub(super) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let id = instance(&mut mistakes, self.id.as_deref());
        let wish = self.wish(&mut mistakes);
        let within = self.drain.parse(&mut mistakes);
        let place = self.etcd.place(&mut mistakes);
        let all = id.zip(wish).zip(within.zip(place));
        let ((id, wish), (within, place)) = mistakes.none_or(all)?;
        match wish {
            Wish::Hold { reason, length } => take_out(&place, &id, reason, length, within).await,
            Wish::Release => put_back(&place, &id, within).await,
        }
    }

    fn wish(&self, mistakes: &mut Mistakes) -> Option<Wish> {
        if self.release {
            for (flag, given) in [("--for", &self.length), ("--reason", &self.reason)] {
                if given.is_some() {
                    mistakes.add(format!(
                        "{flag}: --release ends a hold and needs nothing else"
                    ));
                }
            }
            return Some(Wish::Release);
        }
        let length = mistakes.required("--for", self.length.as_deref());
        let length = length.and_then(|text| etcd::length(mistakes, "--for", text));
        let reason = mistakes.required("--reason", self.reason.as_deref());
        let reason = reason.map(str::trim);
        if reason.is_some_and(|reason| reason.is_empty()) {
            mistakes.add("--reason is empty: somebody will wonder");
        }
        if reason.is_some_and(|reason| reason.len() > MAX_REASON) {
            mistakes.add(format!("--reason: longer than {MAX_REASON} bytes"));
        }
        if reason.is_some_and(|reason| reason.chars().any(char::is_control)) {
            mistakes.add("--reason: one line without control characters, please");
        }
        Some(Wish::Hold {
            reason: reason?.to_owned(),
            length: length?,
        })
    }
}

async fn take_out(
    place: &Place,
    id: &InstanceId,
    reason: String,
    length: Duration,
    within: Duration,
) -> anyhow::Result<Exit> {
    let roster = follow::read(place, None).await?;
    if !roster
        .instances(&id.service)
        .any(|(known, _, _)| known == id)
    {
        let known: Vec<_> = roster.ids().map(ToString::to_string).collect();
        let meant = suggestion(&id.to_string(), known.iter().map(String::as_str));
        super::exit::say(&format!("sidekick: there is no instance {id}{meant}"));
        return Ok(Exit::No);
    }
    // The lease counts from when etcd grants it, a moment after this.
    let until = Timestamp::now().checked_add(length).ok();
    let until = until.and_then(|until| Timestamp::from_second(until.as_second()).ok());
    let wanted = Hold {
        reason,
        until,
        by: somebody(),
        nonce: Some(Nonce::fresh()),
    };
    let mut stop = stop::on_signals()?;
    let revision = hold::hold(place, id, &wanted, length).await?;
    let what = format!("draining {id}");
    let service = &id.service;
    let (exit, how) = wait(place, service, revision, within, &mut stop, &what).await;
    let length = humantime::format_duration(length);
    let until = until.map(|until| format!(", until {until}"));
    let until = until.unwrap_or_default();
    writeln!(std::io::stdout(), "{id} is held for {length}{until}: {how}")?;
    Ok(exit)
}

async fn put_back(place: &Place, id: &InstanceId, within: Duration) -> anyhow::Result<Exit> {
    let mut stop = stop::on_signals()?;
    let mut out = std::io::stdout();
    let Some(revision) = hold::release(place, id).await? else {
        writeln!(out, "{id} is not held: nothing to do")?;
        return Ok(Exit::Done);
    };
    let what = format!("putting back {id}");
    let service = &id.service;
    let (exit, how) = wait(place, service, revision, within, &mut stop, &what).await;
    writeln!(out, "{id} is released: {how}")?;
    Ok(exit)
}

/// `user@host`, as far as that is known.
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
