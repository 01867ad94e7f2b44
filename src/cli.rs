//! The command line: raw arguments in, validated settings out, outcomes to exit codes.
//!
//! clap only splits the command line. Values stay text until a command checks all of them, so that one run
//! reports every mistake.
//!
//! - [`commands`]: one file a verb. [`args`]: groups of flags, and what is wrong with them.
//! - `line`: flags, files and variables as one. [`output`]: tables, JSON, the log, and exit codes (`output::exit`).

pub mod args;
pub mod commands;
pub(crate) mod line;
pub mod output;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use args::mistakes::Mistakes;
use line::{Line, Parsed};
use output::exit::Exit;

use crate::announce::reload::Program;
use crate::util::last_state;
use crate::util::shutdown;

/// Announces backends while they work, and keeps load balancers equal to that.
#[derive(Debug, Parser)]
#[command(
    name = "sidekick",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
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
    /// file, and the file beats the environment. Of several files, with colons between them, the last one counts; prefix a
    /// file with - to make it optional. announce reads them again on SIGHUP.
    #[arg(
        long,
        global = true,
        value_name = "FILE[:FILE...]",
        env = "SIDEKICK_ENV_FILE",
        allow_hyphen_values = true
    )]
    env_file: Option<String>,
    #[command(flatten)]
    log: crate::cli::output::log::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    Announce(Box<crate::cli::commands::announce::Args>),
    Check(Box<crate::cli::commands::check::Args>),
    Push(Box<crate::cli::commands::push::Args>),
    Register(Box<crate::cli::commands::register::Args>),
    Deregister(Box<crate::cli::commands::deregister::Args>),
    List(Box<crate::cli::commands::list::Args>),
    Watch(Box<crate::cli::commands::watch::Args>),
    Wait(Box<crate::cli::commands::wait::Args>),
    Status(Box<crate::cli::commands::status::Args>),
    Hold(Box<crate::cli::commands::hold::Args>),
    Split(Box<crate::cli::commands::split::Args>),
    Release(Box<crate::cli::commands::release::Args>),
    Roles(Box<crate::cli::commands::roles::Args>),
    Unit(Box<crate::cli::commands::unit::Args>),
    Completions(crate::cli::commands::manual::Completions),
    Man(crate::cli::commands::manual::Man),
}

/// Parses the command line, runs the command, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    // An agent hears what comes meanwhile as soon as its handlers stand.
    shutdown::block_signals();
    crate::cli::output::exit::on_panic();
    let line = Line::of_process();
    let program = Program::of_process(line.words());
    let (line, trial) = line.without_trial();
    let ended = match line.parse() {
        Ok(parsed) => run(&line, parsed, program.clone(), trial),
        Err(crate::cli::line::Error::Usage(error)) => Ok(crate::cli::output::exit::usage(
            &error,
            &line.behind_secrets(),
        )),
        Err(crate::cli::line::Error::File(invalid)) => Err(invalid.into()),
    };
    let exit = match ended {
        Ok(exit) => exit,
        Err(error) if trial => crate::cli::output::exit::refusal(error),
        Err(error) => crate::cli::output::exit::failure(&error),
    };
    if exit == Exit::Usage && !trial {
        program.start_again();
    }
    exit.into()
}

fn run(line: &Line, parsed: Parsed, program: Program, trial: bool) -> anyhow::Result<Exit> {
    if trial || !matches!(parsed.cli.command, Command::Announce(_) | Command::Push(_)) {
        shutdown::unblock_signals();
    }
    let mut mistakes = Mistakes::hiding(line.behind_secrets());
    crate::cli::args::needs::check(&parsed.given, &mut mistakes);
    if trial && !matches!(parsed.cli.command, Command::Announce(_)) {
        mistakes.add("only announce hands over");
    }
    parsed.cli.global.log.init(&mut mistakes);
    for note in parsed.notes.iter().filter(|_| !trial) {
        tracing::warn!("{note}");
    }
    // One thread: an agent runs beside every container and must cost next to nothing.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // A signal that such a thread took could be lost when the process is handed over.
        .on_thread_start(shutdown::block_signals)
        .build()?;
    let Parsed { cli, given, .. } = parsed;
    let ended = match cli.command {
        Command::Announce(args) => runtime.block_on(args.run(mistakes, program, trial)),
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
        Command::Unit(args) => args.run(mistakes, &Cli::command()),
        Command::Completions(args) => args.run(mistakes, Cli::command()),
        Command::Man(args) => args.run(mistakes, Cli::command()),
        Command::Release(args) => runtime.block_on(args.run(mistakes)),
    };
    // A name that is being resolved has no end that could be waited for; what must be finished, its owner has waited for.
    runtime.shutdown_background();
    // Agents leave lines out, and would log the last of them later.
    last_state::tell_all();
    ended
}
