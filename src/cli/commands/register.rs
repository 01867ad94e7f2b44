//! `sidekick register`.

use std::io::Write;

use crate::admin::register::{Outcome, Wanted, register};
use crate::cli::args::mistakes::Mistakes;
use crate::cli::args::names::instance;
use crate::cli::args::{etcd, record};
use crate::cli::output::exit::{Exit, note};
use crate::cli::output::stdout::Stdout;
use crate::model::{Address, Record};

/// Writes a record once and exits: for programs that nobody probes, and for ExecStartPost=.
///
/// The record stays until it is deregistered, or with --ttl until that time is over. Registering the same record again
/// only restarts that time. An announcer that keeps the record is deposed: it exits with code 75.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick register website/nginx1 10.0.0.5:8080/52c7248a14 --ttl 60s")]
pub(crate) struct Args {
    /// Service and instance.
    #[arg(value_name = "SERVICE/INSTANCE", env = "SIDEKICK_INSTANCE")]
    id: Option<String>,
    /// Address for clients, and the version that runs there.
    #[arg(value_name = "HOST:PORT[/VERSION]", env = "SIDEKICK_ADDRESS")]
    address: Option<String>,
    /// How long the record lasts; by default, for ever.
    #[arg(long, value_name = "TIME", env = "SIDEKICK_REGISTER_TTL")]
    ttl: Option<String>,

    #[command(flatten)]
    about: record::Args,

    #[command(flatten)]
    etcd: etcd::OneShot,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let wanted = self.wanted(&mut mistakes);
        let place = self.etcd.place(&mut mistakes);
        let address = self.address.as_deref();
        self.about.check_name(&mut mistakes, address).await;
        let (wanted, place) = mistakes.none_or(wanted.zip(place))?;
        let (id, address) = (wanted.id.clone(), wanted.record.address());
        let lasting = wanted.ttl.map(|ttl| {
            let ttl = crate::util::duration::show(ttl);
            format!(" for {ttl}")
        });
        let lasting = lasting.unwrap_or_default();
        let mut out = Stdout;
        match register(&place, wanted).await? {
            Outcome::Written { revision, deposed } => {
                if let Some(name) = deposed {
                    note(format_args!(
                        "{name} had {id}: if it still runs, it gives up now and ends with code 75"
                    ));
                }
                writeln!(
                    out,
                    "registered {id} at {address}{lasting} (etcd revision {revision})"
                )?;
            }
            Outcome::Unchanged => writeln!(out, "{id} is registered already at {address}")?,
            Outcome::Renewed => writeln!(out, "renewed {id} at {address}{lasting}")?,
            Outcome::Refused { by } => {
                note(format_args!(
                    "{by} has {id}, and a plain record cannot say that somebody newer wrote it: it would be written back at once. Stop that one first, or use --format json, or --ttl"
                ));
                return Ok(Exit::No);
            }
        }
        Ok(Exit::Done)
    }

    fn wanted(&self, mistakes: &mut Mistakes) -> Option<Wanted> {
        let id = instance(mistakes, self.id.as_deref());
        let place = "HOST:PORT[/VERSION]";
        let address: Option<Address> = mistakes
            .required(place, self.address.as_deref())
            .and_then(|text| mistakes.parse(place, text));
        let record = self.about.complete(mistakes, address.map(Record::from));
        let format = self.about.format(mistakes);
        let ttl = self
            .ttl
            .as_deref()
            .map(|text| etcd::length(mistakes, "--ttl", text));
        Some(Wanted {
            id: id?,
            record: record?,
            format: format?,
            ttl: match ttl {
                Some(ttl) => Some(ttl?),
                None => None,
            },
        })
    }
}
