//! Output of commands that wait for the pushers.

use std::time::Duration;

use super::progress::Progress;
use crate::admin::Place;
use crate::admin::confirm::{Awaited, Confirmation, confirm};
use crate::cli::args::mistakes::Mistakes;
use crate::cli::output::exit::Exit;
use crate::etcd::pushers::{Applied, Doubt, Leaving};
use crate::model::ServiceName;
use crate::util::shutdown::Stop;

/// The option of these commands.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// How long to wait at most for every load balancer to apply it.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        env = "SIDEKICK_DRAIN_TIMEOUT"
    )]
    drain_timeout: String,
}

impl Args {
    pub(crate) fn parse(&self, mistakes: &mut Mistakes) -> Option<Duration> {
        mistakes.duration("--drain-timeout", &self.drain_timeout)
    }
}

/// `applied by 1 of 2 pushers, waiting for edge-2`
pub(crate) fn in_words(progress: &Leaving) -> String {
    let Leaving { applied, still } = progress;
    let Applied {
        by,
        not_by,
        unknown,
        idle: _,
        stopped: _,
    } = applied;
    let of = by.len() + not_by.len() + unknown.len() + still.len();
    let behind = not_by.iter().map(ToString::to_string);
    let silent = unknown.iter().map(|id| format!("{id} (silent)"));
    let names: Vec<_> = behind.chain(silent).collect();
    let (by, names) = (by.len(), names.join(", "));
    format!("applied by {by} of {of} pushers, waiting for {names}")
}

/// Why it may not be applied by all.
pub(crate) fn why_not(confirmation: &Confirmation, doubt: Doubt) -> String {
    match confirmation {
        Confirmation::NotBy(progress) | Confirmation::Answered(progress) => {
            progress.missing(doubt).unwrap_or_default()
        }
        Confirmation::Unknown(why) => {
            let why = why.as_ref().map(|why| format!(": {why}"));
            "etcd did not list the pushers".to_owned() + &why.unwrap_or_default()
        }
        Confirmation::Stopped => "the pushers were not waited for any longer".to_owned(),
        Confirmation::NoPusher(why) => why.clone(),
    }
}

/// Waits for the pushers to apply `what` (a split or a hold), and returns the end of the sentence about it.
pub(crate) async fn wait(
    place: &Place,
    service: &ServiceName,
    revision: i64,
    within: Duration,
    stop: &mut Stop,
    what: &str,
    doubt: Doubt,
) -> (Exit, String) {
    let mut progress = Progress::new();
    let mut tell = |now: &Leaving| progress.say(&format!("{what}: {}", in_words(now)));
    let awaited = Awaited::Overrides(service, revision);
    let confirmation = confirm(place, awaited, within, stop, &mut tell).await;
    drop(progress);
    match &confirmation {
        Confirmation::Answered(progress) => {
            let pushers = progress.applied.by.len();
            let doubt = progress.applied.doubt();
            let how = format!("applied by {pushers} of {pushers} pushers{doubt}");
            (Exit::Done, how)
        }
        Confirmation::NoPusher(why) => (
            Exit::Done,
            format!("{why}, so no load balancer has been changed"),
        ),
        _ => (Exit::No, why_not(&confirmation, doubt)),
    }
}
