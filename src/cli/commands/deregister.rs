//! `sidekick deregister`.

use std::io::Write;

use crate::admin::confirm::Confirmation;
use crate::admin::deregister::{Event, Outcome, Waiting, deregister};
use crate::cli::args::etcd;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::args::names::instance;
use crate::cli::output::confirm;
use crate::cli::output::confirm::in_words;
use crate::cli::output::exit::{Exit, note};
use crate::cli::output::progress::Progress;
use crate::cli::output::stdout::Stdout;
use crate::etcd::pushers::Doubt;
use crate::model::InstanceId;
use crate::systemd::notify;
use crate::util::shutdown;

/// Removes a record in order: it drains, every load balancer lets go, then it is deleted.
///
/// Exit code 0 also when there is no such record, so it can stand in ExecStop= and ExecStopPost=. A record that a running
/// announcer keeps is left alone, with exit code 1. A signal ends the waiting, not the deletion. A second signal, or one
/// that comes before it is known whether such an announcer lives, ends the command with exit code 1. A load balancer
/// whose pusher is silent is waited for until --drain-timeout, and then named: it may still send requests.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick deregister website/nginx1 --drain-timeout 30s")]
pub(crate) struct Args {
    /// Service and instance.
    #[arg(value_name = "SERVICE/INSTANCE", env = "SIDEKICK_INSTANCE")]
    id: Option<String>,
    #[command(flatten)]
    drain: confirm::Args,
    /// How long to wait after that, for requests in flight.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0s",
        env = "SIDEKICK_LINGER"
    )]
    linger: String,

    #[command(flatten)]
    etcd: etcd::OneShot,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let id = instance(&mut mistakes, self.id.as_deref());
        let drain_timeout = self.drain.parse(&mut mistakes);
        let linger = mistakes.duration("--linger", &self.linger);
        let place = self.etcd.place(&mut mistakes);
        let waiting = drain_timeout.zip(linger);
        let waiting = waiting.map(|(drain_timeout, linger)| Waiting {
            drain_timeout,
            linger,
        });
        let ((id, waiting), place) = mistakes.none_or(id.zip(waiting).zip(place))?;
        let id = crate::cli::args::names::named(&place, id).await?;
        let mut stop = shutdown::on_signals(notify::stopping)?;
        let mut progress = Progress::new();
        let mut begun = false;
        let mut tell = |event: Event<'_>| {
            begun |= !matches!(event, Event::Checking(..));
            progress.say(&event_in_words(&id, &event));
        };
        let work = deregister(&place, &id, waiting, stop.clone(), &mut tell);
        let outcome = tokio::select! {
            biased;
            outcome = work => Some(outcome),
            () = stop.forced() => None,
        };
        drop(progress);
        match outcome {
            Some(outcome) => Ok(report(&id, &outcome?)?),
            None => Ok(given_up(&id, begun)),
        }
    }
}

/// A second signal ends the command without waiting for etcd.
fn given_up(id: &InstanceId, begun: bool) -> Exit {
    let draining = if begun { " as draining" } else { "" };
    note(format_args!(
        "asked again to stop: {id} may still be registered{draining}"
    ));
    Exit::No
}

fn event_in_words(id: &InstanceId, event: &Event<'_>) -> String {
    match event {
        Event::Checking(name, within) => {
            let within = crate::util::duration::show(*within);
            format!("{name} has {id}: checking whether it is alive, for {within} at most")
        }
        Event::Draining => format!("draining {id}"),
        Event::Waiting(progress) => format!("draining {id}: {}", in_words(progress)),
        Event::NoSpace => format!("etcd has no room: {id} is deleted without draining"),
        Event::Lingering => format!("draining {id}: lingering"),
        Event::Quarantined(quarantined) => {
            format!("{quarantined}: it cannot drain, and is deleted as it is")
        }
    }
}

fn report(id: &InstanceId, outcome: &Outcome) -> std::io::Result<Exit> {
    let mut out = Stdout;
    match outcome {
        Outcome::Absent { silent } => {
            writeln!(out, "{id} is not registered: nothing to do")?;
            if let Some(silent) = silent {
                note(format_args!("{silent}"));
            }
        }
        Outcome::Gone(confirmation) => {
            let how = match confirmation {
                Confirmation::Answered(progress) if progress.still.is_empty() => {
                    let pushers = progress.applied.by.len();
                    let doubt = progress.applied.doubt();
                    format!(", let go by {pushers} of {pushers} pushers{doubt}")
                }
                Confirmation::NoPusher(why) => format!("; {why}"),
                _ => {
                    format!(
                        ", but {}",
                        confirm::why_not(confirmation, Doubt::StillSends)
                    )
                }
            };
            writeln!(out, "deregistered {id}{how}")?;
        }
        Outcome::Undrained => writeln!(
            out,
            "deregistered {id} without draining, as etcd has no room to say that it drains: load balancers may send requests for a while"
        )?,
        Outcome::Kept { by } => {
            note(format_args!(
                "{by} keeps {id} and would write it back: stop it (it deregisters by itself), or take the instance out for a while with sidekick hold {id}"
            ));
            return Ok(Exit::No);
        }
        Outcome::Interrupted { by } => {
            note(format_args!(
                "stopped before it was known whether {by} is alive: {id} is left alone"
            ));
            return Ok(Exit::No);
        }
        Outcome::TakenOver => {
            note(format_args!(
                "somebody else has written {id} in the meantime; it is left alone"
            ));
            return Ok(Exit::Deposed);
        }
    }
    Ok(Exit::Done)
}
