//! The arguments of an announcer that runs: as they were read last, and read again.

use std::cell::RefCell;

use super::line::{Error, Given, Line, Parsed};
use crate::announce::Settings;
use crate::announce::reload::{self, Reading, Run};
use crate::cli::commands::announce::{Args, Found};
use crate::cli::{Command, Invalid, Mistakes};
use crate::docker::identity::{Problem, derive};
use crate::model::Endpoint;
use crate::systemd::stop_timeout::StopTimeout;

/// What is used once, at the start, and then no more.
const FIXED: [&str; 14] = [
    "container",
    "docker_host",
    "on_gone",
    "start_timeout",
    "endpoints",
    "cacert",
    "cert",
    "key",
    "user",
    "password",
    "password_file",
    "verbose",
    "log_level",
    "log_format",
];

/// The arguments that are in force.
pub(crate) struct Kept {
    line: Line,
    now: RefCell<(Args, Given)>,
    stop_timeout: Option<StopTimeout>,
}

impl Kept {
    pub(crate) fn new(
        line: Line,
        args: Args,
        given: Given,
        stop_timeout: Option<StopTimeout>,
    ) -> Self {
        let now = RefCell::new((args, given));
        Self {
            line,
            now,
            stop_timeout,
        }
    }

    /// The settings of one run. What is read again comes into force only when all of it is right.
    pub(crate) fn settings(
        &self,
        reading: Reading<'_>,
        run: Option<&Run>,
    ) -> Result<Option<Settings>, reload::Mistakes> {
        match reading {
            Reading::Last => self.make(&self.now.borrow().0, run, None),
            Reading::Again { at } => {
                let (args, given) = self.read()?;
                let settings = self.make(&args, run, at)?;
                self.note_ignored(&given);
                self.now.replace((args, given));
                Ok(settings)
            }
        }
    }

    fn read(&self) -> Result<(Args, Given), reload::Mistakes> {
        let parsed = match self.line.parse() {
            Ok(parsed) => parsed,
            Err(Error::File(invalid)) => return Err(invalid.into_mistakes().into()),
            Err(Error::Usage(error)) => {
                return Err(vec![first_paragraph(&error.to_string())].into());
            }
        };
        let Parsed { cli, given, notes } = parsed;
        for note in notes {
            tracing::warn!("{note}");
        }
        match cli.command {
            Command::Announce(args) => Ok((*args, given)),
            // The words of the command line do not change.
            _ => Err(reload::Mistakes::default()),
        }
    }

    fn make(
        &self,
        args: &Args,
        run: Option<&Run>,
        at: Option<&Endpoint>,
    ) -> Result<Option<Settings>, reload::Mistakes> {
        let mut mistakes = Mistakes::default();
        let mut passing = 0;
        let pairing = args.pairing(&mut mistakes);
        args.check_stop_timeout(&mut mistakes, self.stop_timeout.as_ref());
        let made = match (run, pairing) {
            (Some(run), Some(pairing)) => {
                let derived = derive(&pairing.wanted, &run.container, &run.host);
                match derived {
                    Ok(derived) => {
                        for note in &derived.notes {
                            tracing::warn!("{note}");
                        }
                        let found = Found {
                            derived: &derived,
                            run,
                        };
                        args.settings(&mut mistakes, Some(&found), at)
                    }
                    Err(problems) => {
                        args.settings(&mut mistakes, None, at);
                        let problems = problems.iter();
                        passing = problems
                            .clone()
                            .filter(|it| Problem::is_passing(it))
                            .count();
                        problems.for_each(|problem| mistakes.add(problem.to_string()));
                        None
                    }
                }
            }
            _ => args.settings(&mut mistakes, None, at),
        };
        let checked = mistakes.none_or(Some(made));
        checked.map_err(Invalid::into_mistakes).map_err(|said| {
            let passing = passing == said.len();
            reload::Mistakes { said, passing }
        })
    }

    fn note_ignored(&self, given: &Given) {
        let differing = self.now.borrow().1.differing(given, &FIXED);
        if !differing.is_empty() {
            let flags = differing
                .iter()
                .map(|id| format!("--{}", id.replace('_', "-")));
            tracing::warn!(
                "counts only from the start, and stays as it was until a restart: {}",
                flags.collect::<Vec<_>>().join(", ")
            );
        }
    }
}

/// What clap says, without its hints for the keyboard, on one line.
fn first_paragraph(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.is_empty());
    let lines: Vec<_> = lines.map(str::trim).collect();
    lines.join(" ")
}
