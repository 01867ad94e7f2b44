//! Exit codes, and the messages that go with them.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};

use super::stdout;
use crate::cli::args::mistakes::Behind;
use crate::cli::args::mistakes::Invalid;

/// How a run ended, as the shell and systemd see it (after sysexits.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The answer is no.
    No = 1,
    /// Something would be changed.
    Different = 2,
    /// Wrong usage or configuration.
    Usage = 64,
    /// A needed service cannot be reached.
    Unavailable = 69,
    /// A defect in sidekick.
    Bug = 70,
    /// A newer process has taken over.
    Deposed = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Help and version go to standard output and succeed; anything else is wrong usage.
pub(crate) fn usage(error: &clap::Error, behind_secrets: &[Behind]) -> Exit {
    if let Some(Behind { option, .. }) = surplus(error, behind_secrets) {
        say(&format!(
            "sidekick: a word behind the value of --{option} belongs nowhere; it is not shown, as it may be a part of a \
            secret: put quotes around a value with spaces"
        ));
        return Exit::Usage;
    }
    let printed = error.print();
    if error.use_stderr() {
        // The terminal is closed: nobody can read an error.
        return Exit::Usage;
    }
    let printed = printed.and_then(|()| std::io::stdout().flush());
    let printed = printed.map_err(stdout::named);
    printed.map_or_else(|error| failure(&error.into()), |()| Exit::Done)
}

/// The word that clap did not understand, if it may be part of a secret.
fn surplus<'a>(error: &clap::Error, behind_secrets: &'a [Behind]) -> Option<&'a Behind> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let mut behind = behind_secrets.iter();
    behind.find(|behind| behind.word == *word)
}

/// Prints why the command failed, and returns its exit code.
pub(crate) fn failure(error: &anyhow::Error) -> Exit {
    let io = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(io) {
        // The reader closed the pipe, as `head` does.
        return Exit::Done;
    }
    say(&format!("sidekick: {error:#}"));
    if error.is::<Invalid>() {
        say("Try 'sidekick --help', or 'sidekick COMMAND --help'.");
        Exit::Usage
    } else {
        Exit::Unavailable
    }
}

/// Prints why a trial fails, one reason a line, for the program that runs it.
pub(crate) fn refusal(error: anyhow::Error) -> Exit {
    match error.downcast::<Invalid>() {
        Ok(invalid) => invalid.into_mistakes().iter().for_each(|text| say(text)),
        Err(error) => say(&format!("{error:#}")),
    }
    Exit::Usage
}

/// A panic is a defect: it ends the process with a message.
pub(crate) fn on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        say(&format!(
            "sidekick: a defect in sidekick {}, please report it: {panic}",
            env!("CARGO_PKG_VERSION")
        ));
        std::process::exit(i32::from(Exit::Bug as u8));
    }));
}

/// A note of a command on standard error.
pub(crate) fn note(text: impl fmt::Display) {
    say(&format!("sidekick: {text}"));
}

/// Prints a line on standard error; a closed one is no error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
