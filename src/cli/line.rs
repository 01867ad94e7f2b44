//! The command line, completed from `--env-file` and the environment.
//!
//! A flag beats the file, and the file beats the environment.
//! The file can change while the process runs; a reload reads it again, see `announce::reload`.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;

use clap::builder::{BoolishValueParser, Resettable};
use clap::{Arg, ArgAction, Args as _, Command, CommandFactory as _, FromArgMatches as _};

use super::args::env_file;
use super::args::env_file::{Assignment, Found};
use super::args::given::Given;
use super::args::mistakes::Behind;
use crate::announce::reload::TRIAL;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::commands::{announce, push};
use crate::cli::output::short_help::shorten;
use crate::cli::{Cli, Global};
use crate::util::sanitize::short;

/// Prefix of sidekick's own variables.
const OWN: &str = "SIDEKICK_";
/// How many lines without effect are listed.
const NOTED: usize = 20;
/// The variable of `--env-file` itself.
const ENV_FILE: &str = "SIDEKICK_ENV_FILE";

/// The arguments that the process was started with.
#[derive(Debug, Clone)]
pub(crate) struct Line(Vec<OsString>);

/// Options whose values may be secrets with spaces in them.
const SECRETS: [&str; 4] = ["probe", "probe-header", "user", "password"];

/// The parsed arguments, completed from the file and the environment.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) cli: Cli,
    pub(crate) given: Given,
    /// Lines of the file that have no effect.
    pub(crate) notes: Vec<String>,
}

/// Why the arguments cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line is wrong, or asks for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The file is wrong.
    #[error(transparent)]
    File(crate::cli::args::mistakes::Invalid),
}

impl Line {
    /// The arguments of this process.
    pub(crate) fn of_process() -> Self {
        Self(std::env::args_os().collect())
    }

    /// Removes the trial option, which comes first, and says whether it was there.
    pub(crate) fn without_trial(mut self) -> (Self, bool) {
        let trial = self.0.get(1).is_some_and(|word| word == TRIAL);
        if trial {
            self.0.remove(1);
        }
        (self, trial)
    }

    /// All arguments, with the name of the program.
    pub(crate) fn words(&self) -> Vec<OsString> {
        self.0.clone()
    }

    #[cfg(test)]
    pub(crate) fn of(words: impl Iterator<Item = impl Into<OsString>>) -> Self {
        Self(words.map(Into::into).collect())
    }

    /// The words after the value of an option that may be a secret, each with that option: they are the rest of a value
    /// that was not quoted.
    pub(crate) fn behind_secrets(&self) -> Vec<Behind> {
        let mut behind = Vec::new();
        let mut secret = None;
        let mut words = self.0.iter().skip(1).map(|word| word.to_string_lossy());
        while let Some(word) = words.next() {
            if let Some(flag) = word.strip_prefix("--") {
                let (flag, value) = flag.split_once('=').unzip();
                let flag = flag.unwrap_or_else(|| word.trim_start_matches('-'));
                secret = SECRETS.iter().find(|secret| **secret == flag);
                if secret.is_some() && value.is_none() {
                    words.next();
                }
            } else if word.starts_with('-') {
                secret = None;
            } else if let Some(option) = secret {
                behind.push(Behind {
                    option,
                    word: word.into_owned(),
                });
            }
        }
        behind
    }

    /// Reads the env file, if given, and parses everything.
    pub(crate) fn parse(&self) -> Result<Parsed, Error> {
        let (command, notes) = match self.env_file()? {
            None => (self.command(), Vec::new()),
            Some(files) => {
                let Found {
                    assignments,
                    mut notes,
                } = env_file::read(&files).map_err(all_wrong)?;
                let command = self.command();
                notes.extend(meaningless(&command, &assignments));
                (fill(command, &assignments).map_err(all_wrong)?, notes)
            }
        };
        let command = as_etcdctl_does(command);
        let matches = command.try_get_matches_from(&self.0)?;
        let cli = Cli::from_arg_matches(&matches)?;
        Ok(Parsed {
            cli,
            given: Given(matches),
            notes,
        })
    }

    /// The value of `--env-file`.
    fn env_file(&self) -> Result<Option<String>, clap::Error> {
        let command = as_etcdctl_does(self.command());
        let matches = command.try_get_matches_from(&self.0)?;
        Ok(Cli::from_arg_matches(&matches)?.global.env_file)
    }

    /// The parser for this line. An agent's parser leaves the other commands out: the heap that they take for a moment
    /// would stay with a process that runs for years.
    fn command(&self) -> Command {
        let command = self.whole_command();
        match self.0.iter().any(|word| word == "-h") {
            true => shorten(command),
            false => command,
        }
    }

    fn whole_command(&self) -> Command {
        let agent = match self.0.get(1).and_then(|word| word.to_str()) {
            Some("announce") => announce::Args::augment_args(Command::new("announce")),
            Some("push") => push::Args::augment_args(Command::new("push")),
            _ => return Cli::command(),
        };
        let program = Command::new("sidekick")
            .version(env!("CARGO_PKG_VERSION"))
            .propagate_version(true)
            .max_term_width(100)
            .subcommand_required(true);
        // The global options come first, to keep their place in the help.
        Global::augment_args(program).subcommand(agent)
    }
}

fn all_wrong(wrong: Vec<String>) -> Error {
    let mut mistakes = Mistakes::default();
    wrong.into_iter().for_each(|text| mistakes.add(text));
    Error::File(mistakes.into())
}

/// The environment variable of an argument.
fn variable(arg: &Arg) -> Option<&str> {
    arg.get_env().and_then(std::ffi::OsStr::to_str)
}

/// Changes every argument, of the program and of its commands.
fn each_arg(command: Command, mut change: impl FnMut(Arg) -> Arg) -> Command {
    let command = command.mut_args(&mut change);
    command.mut_subcommands(|subcommand| subcommand.mut_args(&mut change))
}

/// An empty variable counts as unset, and a switch accepts 1 and 0 beside true and false: etcdctl does the same, and
/// compose files rely on it.
fn as_etcdctl_does(command: Command) -> Command {
    each_arg(command, |arg| {
        let set = variable(&arg).and_then(std::env::var_os);
        let arg = match set {
            Some(value) if value.is_empty() => arg.env(Resettable::Reset),
            _ => arg,
        };
        match arg.get_action() {
            ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
            _ => arg,
        }
    })
}

/// Whether the word is a valid value of a switch.
fn is_boolish(word: &str) -> bool {
    let words = [
        "y", "yes", "t", "true", "on", "1", "n", "no", "f", "false", "off", "0",
    ];
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Makes the file's assignments the defaults, in place of the environment's. An empty one counts as unset.
fn fill(command: Command, found: &[Assignment]) -> Result<Command, Vec<String>> {
    let mut mistakes = Vec::new();
    // As in systemd, the last assignment counts.
    let last: HashMap<&str, &Assignment> = found.iter().map(|it| (&*it.name, it)).collect();
    let fill_one = |arg: Arg| {
        let assigned = variable(&arg).and_then(|name| last.get(name).copied());
        let Some(assignment) = assigned.filter(|it| it.name != ENV_FILE) else {
            return arg;
        };
        let Assignment {
            name,
            value,
            line,
            file,
        } = assignment;
        if value.is_empty() {
            return arg.env(Resettable::Reset);
        }
        let expected = match arg.get_action() {
            ArgAction::SetTrue if !is_boolish(value) => Some("true or false"),
            ArgAction::Count if value.parse::<u8>().is_err() => Some("a number from 0 to 255"),
            _ => None,
        };
        if let Some(expected) = expected {
            mistakes.push(format!("{file}: line {line}: {name}: expected {expected}"));
            return arg;
        }
        arg.env(Resettable::Reset).default_value(value.clone())
    };
    let command = each_arg(command, fill_one);
    mistakes.dedup();
    if mistakes.is_empty() {
        Ok(command)
    } else {
        Err(mistakes)
    }
}

/// The variables of all arguments of the program and its commands.
fn names(command: &Command) -> HashSet<String> {
    let own = command.get_arguments();
    let all = own.chain(command.get_subcommands().flat_map(Command::get_arguments));
    all.filter_map(variable).map(str::to_owned).collect()
}

/// Variables that start with our prefix but belong to no option. Other variables may be for other programs.
fn meaningless(command: &Command, found: &[Assignment]) -> Vec<String> {
    let known = names(command);
    // The full set of commands takes half a megabyte: build it only for an unknown name.
    let mut all = None;
    let mut notes = Vec::new();
    let mut more = 0_usize;
    for Assignment {
        name, line, file, ..
    } in found
    {
        let text = if name == ENV_FILE {
            "is ignored: a file does not name another"
        } else if name.starts_with(OWN)
            && !known.contains(name)
            && !all
                .get_or_insert_with(|| names(&Cli::command()))
                .contains(name)
        {
            "belongs to no option; ignored"
        } else {
            continue;
        };
        if notes.len() < NOTED {
            notes.push(format!("{file}: line {line}: {} {text}", short(name)));
        } else {
            more += 1;
        }
    }
    match more {
        0 => {}
        1 => notes.push("1 more line like these is ignored".to_owned()),
        _ => notes.push(format!("{more} more lines like these are ignored")),
    }
    notes
}

#[cfg(test)]
mod tests;
