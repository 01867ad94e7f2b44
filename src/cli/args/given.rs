//! Which values were given, and whether by flag, variable or default.

use clap::ArgMatches;
use clap::parser::ValueSource;

/// The given values, by the names of their arguments.
#[derive(Debug)]
pub(crate) struct Given(pub(crate) ArgMatches);

impl Given {
    /// The subcommand and its arguments.
    pub(crate) fn subcommand(&self) -> Option<(&str, &ArgMatches)> {
        self.0.subcommand()
    }

    /// Whether the command line itself gives this argument of the subcommand.
    pub(crate) fn is_said(&self, id: &str) -> bool {
        self.subcommand().is_some_and(|(_, matches)| {
            let known = matches.try_contains_id(id).unwrap_or(false);
            known && matches.value_source(id) == Some(ValueSource::CommandLine)
        })
    }
}
