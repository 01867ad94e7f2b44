//! `sidekick check`.

use std::io::Write;

use tokio::time::sleep;

use super::announce;
use crate::announce::Settings;
use crate::cli::args::container;
use crate::cli::args::container::Looked;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::output::exit::Exit;
use crate::cli::output::stdout::Stdout;
use crate::docker::follow::State;
use crate::docker::identity::Identity;
use crate::probe::{self, Probe};
use crate::util::sanitize::short;

/// Shows what announce would do with the same arguments, and probes the backend. Writes nothing.
///
/// Exit code 0 when the backend passes, 1 when it does not.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick check --container nginx1 --probe /health")]
pub(crate) struct Args {
    /// How often to probe the backend, an interval apart; every probe must pass.
    #[arg(long, value_name = "N", default_value = "1", env = "SIDEKICK_COUNT")]
    count: String,

    #[command(flatten)]
    announce: announce::Args,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let count = mistakes.count("--count", &self.count);
        self.announce.etcd.cluster(&mut mistakes);
        self.announce.check_name(&mut mistakes).await;
        let Some(pairing) = self.announce.pairing(&mut mistakes) else {
            let settings = self.announce.settings(&mut mistakes, None);
            let (settings, count) = mistakes.none_or(settings.zip(count))?;
            return show_and_probe(&settings, None, count).await;
        };
        // Report every mistake that does not depend on the container before contacting anybody.
        self.announce.settings(&mut mistakes, None);
        let count = mistakes.none_or(count)?;
        let run = match container::find(&pairing).await? {
            Looked::Runs(run) => run,
            Looked::Otherwise(name, state) => return not_running(&name, &state),
        };
        let made = self.announce.settings_of_run(&pairing, &run);
        let (settings, identity) =
            made.map_err(|mistakes| container::refused(&pairing, &mistakes))?;
        show_and_probe(&settings, Some(&identity), count).await
    }
}

/// There is nothing to probe: an ended container has no address, and a paused one does not answer.
fn not_running(name: &str, state: &State) -> anyhow::Result<Exit> {
    let mut out = Stdout;
    writeln!(
        out,
        "probe    down: container {} {state}; announce waits until it runs",
        short(name)
    )?;
    Ok(Exit::No)
}

/// Whether nothing probes the backend itself: its container has no check of its own, and no flag gives one.
fn only_runs(settings: &Settings, identity: Option<&Identity>) -> bool {
    let asked = |probe: &Probe| match probe {
        Probe::Container(probe) => probe.has_healthcheck(),
        _ => true,
    };
    identity.is_some() && !settings.probes.iter().any(asked)
}

async fn show_and_probe(
    settings: &Settings,
    identity: Option<&Identity>,
    count: u32,
) -> anyhow::Result<Exit> {
    let mut out = Stdout;
    let value = settings.record.encode(settings.format);
    writeln!(out, "key      {}", settings.prefix.key(&settings.id))?;
    writeln!(out, "value    {}", String::from_utf8_lossy(&value))?;
    for reason in identity.iter().flat_map(|identity| &identity.reasons) {
        writeln!(
            out,
            "{:<8} {} ({})",
            reason.part, reason.value, reason.because
        )?;
    }
    for note in identity.iter().flat_map(|identity| &identity.notes) {
        writeln!(out, "note     {note}")?;
    }
    writeln!(out, "bounds   {}", settings.bounds())?;
    let mut exit = Exit::Done;
    for round in 0..count {
        if round > 0 {
            sleep(settings.pace.interval).await;
        }
        match probe::round(&settings.probes, settings.pace.timeout).await {
            Ok(()) if settings.probes.is_empty() => {
                writeln!(out, "probe    none: it counts as up")?
            }
            Ok(()) if only_runs(settings, identity) => writeln!(
                out,
                "probe    up: it runs; nothing probes its port, see --probe"
            )?,
            Ok(()) => writeln!(out, "probe    up")?,
            Err(failure) => {
                exit = Exit::No;
                writeln!(out, "probe    down: {failure}")?;
            }
        }
    }
    Ok(exit)
}
