//! The command line: raw arguments in, validated settings out, outcomes to exit codes.
//!
//! clap only splits the command line. Values stay text until a command checks all of them, so that one run
//! reports every mistake.

mod announce;
mod check;
mod deregister;
mod env_file;
mod etcd;
mod exit;
mod hold;
mod kept;
mod line;
mod list;
mod log;
mod manual;
mod mistakes;
mod needs;
mod output;
mod pace;
mod probes;
mod progress;
mod push;
mod record;
mod register;
mod release;
mod roles;
mod settled;
mod split;
mod status;
mod stdout;
mod table;
mod unit;
mod wait;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Exit;
use line::{Line, Parsed};
use mistakes::{Invalid, Mistakes};

use crate::hand::Place;
use crate::hand::named::{self, Named};
use crate::record::{InstanceId, ServiceName};

/// Keeps load balancers true: announces containers that work, and only those.
#[derive(Debug, Parser)]
#[command(
    name = "sidekick",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct Global {
    /// File of environment variables (NAME=VALUE lines, as systemd's EnvironmentFile=) that stand for flags. A flag beats the
    /// file, and the file beats the environment. Of several files, with colons between them, the last one counts; one behind
    /// a - need not be there. announce reads them again on SIGHUP.
    #[arg(
        long,
        global = true,
        value_name = "FILE[:FILE...]",
        env = "SIDEKICK_ENV_FILE",
        allow_hyphen_values = true
    )]
    env_file: Option<String>,
    #[command(flatten)]
    log: log::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    Announce(Box<announce::Args>),
    Check(Box<check::Args>),
    Push(Box<push::Args>),
    Register(Box<register::Args>),
    Deregister(Box<deregister::Args>),
    List(Box<list::Args>),
    Watch(Box<watch::Args>),
    Wait(Box<wait::Args>),
    Status(Box<status::Args>),
    Hold(Box<hold::Args>),
    Split(Box<split::Args>),
    Release(Box<release::Args>),
    Roles(Box<roles::Args>),
    Unit(Box<unit::Args>),
    Completions(manual::Completions),
    Man(manual::Man),
}

/// Parses the command line, runs the command, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    exit::on_panic();
    let line = Line::of_process();
    let ended = match line.parse() {
        Ok(parsed) => run(line, parsed),
        Err(line::Error::Usage(error)) => {
            return exit::usage(&error, &line.behind_secrets()).into();
        }
        Err(line::Error::File(invalid)) => Err(invalid.into()),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => exit::failure(&error).into(),
    }
}

fn run(line: Line, parsed: Parsed) -> anyhow::Result<Exit> {
    let mut mistakes = Mistakes::hiding(line.behind_secrets());
    needs::check(&parsed.given, &mut mistakes);
    parsed.cli.global.log.init(&mut mistakes);
    for note in &parsed.notes {
        tracing::warn!("{note}");
    }
    // One thread: an agent runs beside every container and must cost next to nothing.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let Parsed { cli, given, .. } = parsed;
    let ended = match cli.command {
        Command::Announce(args) => runtime.block_on(args.run(mistakes, line, given)),
        Command::Check(args) => runtime.block_on(args.run(mistakes)),
        Command::Push(args) => runtime.block_on(args.run(mistakes, &given)),
        Command::Register(args) => runtime.block_on(args.run(mistakes)),
        Command::Deregister(args) => runtime.block_on(args.run(mistakes)),
        Command::List(args) => runtime.block_on(args.run(mistakes)),
        Command::Watch(args) => runtime.block_on(args.run(mistakes)),
        Command::Wait(args) => runtime.block_on(args.run(mistakes)),
        Command::Status(args) => runtime.block_on(args.run(mistakes)),
        Command::Hold(args) => runtime.block_on(args.run(mistakes)),
        Command::Split(args) => runtime.block_on(args.run(mistakes)),
        Command::Roles(args) => args.run(mistakes),
        Command::Unit(args) => args.run(mistakes),
        Command::Completions(args) => args.run(mistakes),
        Command::Man(args) => args.run(mistakes),
        Command::Release(args) => runtime.block_on(args.run(mistakes)),
    };
    // A name that is being resolved has no end that could be waited for; what must be finished, its owner has waited for.
    runtime.shutdown_background();
    ended
}

/// Reads `SERVICE/INSTANCE`, which must be given.
fn instance(mistakes: &mut Mistakes, text: Option<&str>) -> Option<InstanceId> {
    let place = "SERVICE/INSTANCE";
    let text = mistakes.required(place, text)?;
    mistakes.parse(place, text)
}

/// The instance that is meant where a container's name alone was given.
async fn named(place: &Place, id: InstanceId) -> anyhow::Result<InstanceId> {
    let said = id.to_string();
    match named::named(place, id).await? {
        Named::One(id) => Ok(id),
        Named::Several(several) => {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            let mut mistakes = Mistakes::default();
            mistakes.add(format!(
                "{said} may be any of {}: say which",
                several.join(", ")
            ));
            Ok(mistakes.none_or(None)?)
        }
    }
}

/// Reads `SERVICE`, where it is given.
fn service(mistakes: &mut Mistakes, text: Option<&str>) -> Option<ServiceName> {
    mistakes.parse("SERVICE", text?)
}

/// The help of a flag that cannot leave its default to clap, because it must be known whether it was given.
fn with_default(help: &str, default: impl std::fmt::Display) -> String {
    format!("{help} [default: {default}]")
}
