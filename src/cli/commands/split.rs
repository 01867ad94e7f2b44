//! `sidekick split`.

use std::collections::BTreeMap;
use std::io::Write;

use crate::admin::split;
use crate::admin::split::{Preview, preview, versions_in_words};
use crate::admin::{Place, follow};
use crate::cli::args::etcd;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::args::names::service;
use crate::cli::output::confirm;
use crate::cli::output::confirm::wait;
use crate::cli::output::exit::{Exit, note};
use crate::cli::output::records::split_in_words;
use crate::cli::output::stdout::Stdout;
use crate::cli::output::table::{Cell, Column, table};
use crate::etcd::pushers::Doubt;
use crate::model::{ServiceName, Split, Version};
use crate::systemd::notify;
use crate::util::clock;
use crate::util::did_you_mean::suggestion;
use crate::util::sanitize::short;
use crate::util::shutdown;

const SHARES: [Column; 3] = [("INSTANCE", 60), ("ADDRESS", 70), ("SHARE", 7)];

/// Shares the traffic of a service among its versions: blue/green and canary.
///
/// Each version gets its weight's share of the sum, spread over its instances. A version that is
/// not named gets none. The same command goes back. A split that no live instance matches is refused with exit code 1.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Examples:
  sidekick split demo v0.1.0=90 v0.2.0=10
  sidekick split demo v0.2.0=100
  sidekick split demo --clear")]
pub(crate) struct Args {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    /// A version and its weight, 0 to 65535.
    #[arg(value_name = "VERSION=WEIGHT")]
    weights: Vec<String>,
    /// Ends the split: all versions share the traffic again.
    #[arg(long, env = "SIDEKICK_CLEAR")]
    clear: bool,
    #[command(flatten)]
    drain: confirm::Args,

    #[command(flatten)]
    etcd: etcd::OneShot,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        mistakes.required("SERVICE", self.service.as_deref());
        let service = service(&mut mistakes, self.service.as_deref());
        let wanted = self.wanted(&mut mistakes);
        let within = self.drain.parse(&mut mistakes);
        let place = self.etcd.place(&mut mistakes);
        let all = service.zip(wanted).zip(within.zip(place));
        let ((service, wanted), (within, place)) = mistakes.none_or(all)?;
        let (revision, what) = match &wanted {
            Some(wanted) => {
                let Some(preview) = look(&place, &service, wanted).await? else {
                    return Ok(Exit::No);
                };
                let revision = split::split(&place, &service, wanted).await?;
                Stdout.write_all(shares(&preview).as_bytes())?;
                let what = format!("{service} is split {}", split_in_words(wanted));
                (revision, what)
            }
            None => match split::clear(&place, &service).await? {
                Some(revision) => (revision, format!("{service} is no longer split")),
                None => {
                    writeln!(Stdout, "{service} is not split: nothing to do")?;
                    return Ok(Exit::Done);
                }
            },
        };
        let mut stop = shutdown::on_signals(notify::stopping)?;
        let (exit, how) = wait(
            &place,
            &service,
            revision,
            within,
            &mut stop,
            &what,
            Doubt::Unaware,
        )
        .await;
        writeln!(Stdout, "{what}: {how}")?;
        Ok(exit)
    }

    /// The split; `None` inside to end it.
    fn wanted(&self, mistakes: &mut Mistakes) -> Option<Option<Split>> {
        if self.clear {
            if !self.weights.is_empty() {
                mistakes.add("--clear ends the split: give it, or VERSION=WEIGHT");
            }
            return Some(None);
        }
        if self.weights.is_empty() {
            mistakes.add("VERSION=WEIGHT is missing; --clear ends a split");
            return None;
        }
        let mut weights = BTreeMap::new();
        let mut whole = true;
        for text in &self.weights {
            let Some((version, weight)) = pair(mistakes, text) else {
                whole = false;
                continue;
            };
            if weights.insert(version, weight).is_some() {
                mistakes.add(format!("{text}: this version is given twice"));
            }
        }
        if !whole {
            return None;
        }
        let now = Some(clock::seconds());
        mistakes
            .check("VERSION=WEIGHT", Split::new(weights, now))
            .map(Some)
    }
}

/// A version may contain a `=`, a weight cannot.
fn pair(mistakes: &mut Mistakes, text: &str) -> Option<(Version, u16)> {
    let Some((version, weight)) = text.rsplit_once('=') else {
        let text = short(text);
        mistakes.add(format!("{text:?}: expected VERSION=WEIGHT"));
        return None;
    };
    let version = mistakes.parse(text, version);
    let number = weight.parse().ok();
    if number.is_none() {
        let weight = short(weight);
        mistakes.add(format!(
            "{}: the weight {weight:?} is not a number from 0 to 65535",
            short(text)
        ));
    }
    version.zip(number)
}

/// Prints what the split would do; `None`, with the reason printed, if no instance would get traffic.
async fn look(
    place: &Place,
    service: &ServiceName,
    wanted: &Split,
) -> anyhow::Result<Option<Preview>> {
    let overview = follow::read(place, Some(service)).await?;
    let versions = overview.versions(service);
    let preview = preview(wanted, &overview, service);
    let names: Vec<_> = versions.keys().flatten().map(Version::as_str).collect();
    let missing = |version: &Version| {
        let meant = match names.contains(&version.as_str()) {
            true => String::new(),
            false => suggestion(version.as_str(), names.iter().copied()),
        };
        format!("no live instance of {service} has version {version}{meant}")
    };
    let Some(preview) = preview else {
        let none = wanted.weights().iter().filter(|(_, weight)| **weight > 0);
        for (version, _) in none {
            note(format_args!("{}", missing(version)));
        }
        let meant = match versions.is_empty() {
            true => {
                // Not every user may read the service with the closest name.
                let all = follow::read(place, None).await.unwrap_or(overview);
                suggestion(service.as_str(), all.services())
            }
            false => String::new(),
        };
        note(format_args!(
            "the split of {service} is refused: no instance would get its traffic; {}{meant}",
            versions_in_words(&versions)
        ));
        return Ok(None);
    };
    for version in &preview.missing {
        note(format_args!(
            "{}; until one has, the others get its share",
            missing(version)
        ));
    }
    Ok(Some(preview))
}

fn shares(preview: &Preview) -> String {
    let rows = preview.shares.iter().map(|(id, address, share)| {
        vec![
            Cell::new(id.to_string()),
            Cell::new(address.to_string()),
            Cell::new(format!("{:.1} %", share * 100.0)),
        ]
    });
    table(&SHARES, &rows.collect::<Vec<_>>())
}
