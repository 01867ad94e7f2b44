//! The command line: raw arguments in, validated settings out, outcomes to exit codes.
//!
//! clap only splits the command line. Values stay text until a command checks all of them, so that one run
//! reports every mistake.

mod announce;
mod check;
mod etcd;
mod exit;
mod log;
mod mistakes;
mod probes;
mod push;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Exit;
use mistakes::{Invalid, Mistakes};

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
    log: log::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Announce(Box<announce::Args>),
    Check(Box<check::Args>),
    Push(Box<push::Args>),
}

/// Parses the command line, runs the command, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    exit::on_panic();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error).into(),
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => exit::failure(&error).into(),
    }
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let mut mistakes = Mistakes::default();
    cli.log.init(&mut mistakes);
    // One thread: an agent runs beside every container and must cost next to nothing.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match cli.command {
        Command::Announce(args) => runtime.block_on(args.run(mistakes)),
        Command::Check(args) => runtime.block_on(args.run(mistakes)),
        Command::Push(args) => runtime.block_on(args.run(mistakes)),
    }
}

/// The help of a flag that cannot leave its default to clap, because it must be known whether it was given.
fn with_default(help: &str, default: impl std::fmt::Display) -> String {
    format!("{help} [default: {default}]")
}
