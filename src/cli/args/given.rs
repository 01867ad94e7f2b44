//! Which values were given, and by what.

use clap::ArgMatches;
use clap::parser::ValueSource;

/// The values as they were given, by the names of their arguments.
#[derive(Debug)]
pub(crate) struct Given(pub(crate) ArgMatches);

impl Given {
    /// The command, and what it was told.
    pub(crate) fn subcommand(&self) -> Option<(&str, &ArgMatches)> {
        self.0.subcommand()
    }

    /// Whether the command line itself says this argument of the subcommand.
    pub(crate) fn is_said(&self, id: &str) -> bool {
        self.subcommand().is_some_and(|(_, matches)| {
            let known = matches.try_contains_id(id).unwrap_or(false);
            known && matches.value_source(id) == Some(ValueSource::CommandLine)
        })
    }
}
